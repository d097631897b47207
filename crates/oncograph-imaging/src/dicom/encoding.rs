//! Why pixels cannot be decoded: an encoding that is not read, with a way out, or damage.

use super::attributes::Attributes;
use crate::error::Error;
use dicom_dictionary_std::tags;
use dicom_object::DefaultDicomObject;
use std::path::Path;

/// The error of pixels that the decoders refuse for `cause`.
pub(super) fn refusal(object: &DefaultDicomObject, path: &Path, cause: String) -> Error {
    let syntax = object.meta().transfer_syntax();
    let bits = Attributes::new(object, path).integer(tags::BITS_STORED).unwrap_or_default();
    match unread(syntax, bits) {
        Some((name, way_out)) => {
            let detail = format!("pixels encoded as {name} ({syntax}); {way_out}");
            Error::unsupported(path, "DICOM", detail)
        }
        None if cause.to_ascii_lowercase().contains("unsupported") => {
            let detail =
                format!("pixels of transfer syntax {syntax} ({cause}); convert it, e.g. with `{RAW}`");
            Error::unsupported(path, "DICOM", detail)
        }
        None => Error::format(path, "DICOM", cause),
    }
}

const RAW: &str = "gdcmconv --raw IN OUT";

/// The name of an encoding that is not decoded here, and what to do.
fn unread(syntax: &str, bits: i64) -> Option<(&'static str, String)> {
    let convert = |other: &str| format!("convert the file, e.g. with `{RAW}` or `{other}`");
    let feature = if cfg!(feature = "jpeg-ls") { "" } else { "build with the feature `jpeg-ls`, or " };
    match syntax.strip_prefix("1.2.840.10008.1.2.4.")? {
        "50" | "51" | "53" | "55" if bits > 8 => {
            Some(("JPEG Extended of 12 bits", convert("dcmdjpeg IN OUT")))
        }
        "80" if !cfg!(feature = "jpeg-ls") => {
            Some(("JPEG-LS Lossless", format!("{feature}{}", convert("dcmdjpls IN OUT"))))
        }
        "81" if !cfg!(feature = "jpeg-ls") => {
            Some(("JPEG-LS Near-lossless", format!("{feature}{}", convert("dcmdjpls IN OUT"))))
        }
        "100" | "101" | "102" | "103" | "104" | "105" | "106" | "107" | "108" => {
            Some(("MPEG video", "which is no stack of slices".into()))
        }
        "110" | "111" | "112" => Some(("JPEG XL", "convert the file with a tool that decodes it".into())),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Phantom, parts};
    use super::super::{SeriesOptions, read_series};
    use super::unread;

    #[test]
    fn an_encoding_that_is_not_read_is_named_with_a_way_out() {
        let cases = [
            ("1.2.840.10008.1.2.4.51", "12 bits", "dcmdjpeg"),
            ("1.2.840.10008.1.2.4.112", "JPEG XL", "convert"),
        ];
        for (syntax, name, way_out) in cases {
            let folder = tempfile::tempdir().unwrap();
            for path in Phantom::axial().jpeg_lossless().write(folder.path()) {
                let [start, mut meta, mut data] = parts(&path);
                // The transfer syntax is the last UID before the implementation's; written over in place.
                let old = b"1.2.840.10008.1.2.4.70";
                let at = meta.windows(old.len()).position(|w| w == old).unwrap();
                meta[at - 2] = syntax.len().next_multiple_of(2) as u8;
                let mut new = syntax.as_bytes().to_vec();
                new.resize(syntax.len().next_multiple_of(2), 0);
                meta.splice(at..at + old.len(), new);
                // The frame's header: sequential with 12 bits in place of lossless with 16.
                let at = data.windows(5).position(|w| w == [0xff, 0xc3, 0, 11, 16]).unwrap();
                data[at..at + 5].copy_from_slice(&[0xff, 0xc1, 0, 11, 12]);
                std::fs::write(&path, [start, meta, data].concat()).unwrap();
            }
            let text = read_series(folder.path(), &SeriesOptions::new()).unwrap_err().to_string();
            assert!(text.contains(name) && text.contains(way_out) && text.contains(syntax), "{text}");
        }
    }

    #[test]
    fn only_what_is_not_decoded_is_refused_by_name() {
        for syntax in ["1.2.840.10008.1.2.1", "1.2.840.10008.1.2.4.70", "1.2.840.10008.1.2.4.90"] {
            assert_eq!(unread(syntax, 12), None, "{syntax}");
        }
        assert_eq!(unread("1.2.840.10008.1.2.4.51", 8), None);
        assert_eq!(unread("1.2.840.10008.1.2.4.80", 12).is_none(), cfg!(feature = "jpeg-ls"));
        assert!(unread("1.2.840.10008.1.2.4.103", 8).unwrap().1.contains("no stack"));
    }
}
