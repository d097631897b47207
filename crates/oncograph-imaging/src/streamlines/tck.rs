//! TCK: lines of text, then triplets of numbers, NaN behind each streamline and infinity behind the last.

use super::Streamlines;
use super::source::Source;
use crate::error::{Error, Result};

pub(super) const MAGIC: &[u8] = b"mrtrix tracks";

/// A header that is longer is none: histories of commands have some kilobytes.
const LONGEST_HEADER: u64 = 1 << 22;

/// How numbers are written.
#[derive(Clone, Copy)]
struct Kind {
    wide: bool,
    big: bool,
}

#[derive(Default)]
struct Header {
    kind: Option<String>,
    file: Option<String>,
    count: Option<String>,
    /// Bytes up to the end of the header.
    length: u64,
}

pub(super) fn read(mut source: Source<'_>) -> Result<Streamlines> {
    let header = header(&mut source)?;
    let mut lines = Streamlines::default();
    let kind = kind(&source, &header, &mut lines.notes)?;
    let offset = offset(&source, &header, &mut lines.notes)?;
    source.seek(offset)?;
    let width = if kind.wide { 24 } else { 12 };
    let damaged = |detail: String| Error::format(source.path, "TCK", detail);
    let count = match &header.count {
        None => None,
        Some(text) => {
            let count: u64 = text.parse().map_err(|_| damaged(format!("its count is {text:?}")))?;
            if count > source.left / width {
                let detail =
                    format!("it states {count} streamlines, more than fit into its {} bytes", source.length);
                return Err(damaged(detail));
            }
            Some(count)
        }
    };
    let path = source.path;
    loop {
        let number = lines.len();
        let damaged = |detail: &str| Error::format(path, "TCK", format!("streamline {number}: {detail}"));
        let Some(point) = triplet(&mut source, kind)? else {
            return Err(damaged("the file is cut off: no infinity ends it"));
        };
        let open = lines.points.len() > lines.ends.last().copied().unwrap_or(0);
        if point.iter().all(|v| v.is_nan()) {
            lines.close();
        } else if point.iter().all(|v| v.is_infinite()) {
            if open {
                return Err(damaged("no NaN ends it"));
            }
            break;
        } else {
            let point = point.map(|v| v as f32);
            if !point.iter().all(|v| v.is_finite()) {
                return Err(damaged("a coordinate is not finite"));
            }
            lines.points.push(point);
        }
    }
    let (found, stated) = (lines.len() as u64, count.unwrap_or(lines.len() as u64));
    if stated > found {
        let detail = format!("it states {stated} streamlines and holds {found}");
        return Err(Error::format(path, "TCK", detail));
    }
    if stated < found {
        lines.notes.push(format!("the header states {stated} streamlines, all {found} are read"));
    }
    if source.left > 0 {
        lines.notes.push(format!("{} bytes behind the last streamline are passed over", source.left));
    }
    Ok(lines)
}

fn header(source: &mut Source<'_>) -> Result<Header> {
    let mut header = Header::default();
    loop {
        let room = LONGEST_HEADER.saturating_sub(source.length - source.left);
        let Some(line) = source.line(room)? else {
            return Err(Error::format(source.path, "TCK", "its header has no line END"));
        };
        if line == "END" {
            header.length = source.length - source.left;
            return Ok(header);
        }
        // Lines of a history have no key, or one that is not looked for.
        let Some((key, value)) = line.split_once(':') else { continue };
        let place = match key.trim() {
            "datatype" => &mut header.kind,
            "file" => &mut header.file,
            "count" => &mut header.count,
            _ => continue,
        };
        place.get_or_insert_with(|| value.trim().to_owned());
    }
}

fn kind(source: &Source<'_>, header: &Header, notes: &mut Vec<String>) -> Result<Kind> {
    let Some(text) = &header.kind else {
        return Err(Error::format(source.path, "TCK", "its header has no datatype"));
    };
    let (wide, order) = match text.to_ascii_lowercase() {
        text if text.starts_with("float32") => (false, text["float32".len()..].to_owned()),
        text if text.starts_with("float64") => (true, text["float64".len()..].to_owned()),
        _ => (false, "none".to_owned()),
    };
    match order.as_str() {
        "le" => Ok(Kind { wide, big: false }),
        "be" => Ok(Kind { wide, big: true }),
        "" => {
            notes.push(format!(
                "its datatype {text} has no byte order: the lowest byte is taken to be the first"
            ));
            Ok(Kind { wide, big: false })
        }
        _ => Err(Error::unsupported(
            source.path,
            "TCK",
            format!("datatype {text}; Float32LE, Float32BE, Float64LE and Float64BE are read"),
        )),
    }
}

/// Where the streamlines begin.
fn offset(source: &Source<'_>, header: &Header, notes: &mut Vec<String>) -> Result<u64> {
    let damaged = |detail: String| Err(Error::format(source.path, "TCK", detail));
    let Some(text) = &header.file else {
        notes.push("its header does not tell where streamlines begin: they are taken to follow it".into());
        return Ok(header.length);
    };
    let Some((".", offset)) = text.split_once(' ').map(|(file, offset)| (file, offset.trim())) else {
        let detail = format!("streamlines in another file ({text})");
        return Err(Error::unsupported(source.path, "TCK", detail));
    };
    match offset.parse::<u64>() {
        Ok(offset) if offset > source.length => damaged(format!(
            "streamlines begin at byte {offset}, outside of the file of {} bytes",
            source.length
        )),
        Ok(offset) if offset < header.length => damaged(format!(
            "streamlines begin at byte {offset}, within the header of {} bytes",
            header.length
        )),
        Ok(offset) => Ok(offset),
        Err(_) => damaged(format!("streamlines begin at byte {offset:?}")),
    }
}

fn triplet(source: &mut Source<'_>, kind: Kind) -> Result<Option<[f64; 3]>> {
    Ok(match kind.wide {
        false => source.take::<12>()?.map(|bytes| {
            let number = |b: &[u8; 4]| if kind.big { f32::from_be_bytes(*b) } else { f32::from_le_bytes(*b) };
            std::array::from_fn(|k| f64::from(number(&bytes.as_chunks().0[k])))
        }),
        true => source.take::<24>()?.map(|bytes| {
            let number = |b: &[u8; 8]| if kind.big { f64::from_be_bytes(*b) } else { f64::from_le_bytes(*b) };
            std::array::from_fn(|k| number(&bytes.as_chunks().0[k]))
        }),
    })
}

#[cfg(test)]
mod tests {
    use crate::streamlines::Streamlines;

    /// The bytes of a number.
    type Number = fn(f64) -> Vec<u8>;

    const NAN: [f64; 3] = [f64::NAN; 3];
    const END: [f64; 3] = [f64::INFINITY; 3];

    /// A file with this header, whose streamlines follow it, and with these triplets.
    fn file(keys: &str, triplets: &[[f64; 3]], number: Number) -> Vec<u8> {
        let header = format!("mrtrix tracks    \n{keys}\n");
        // The number itself is part of the header.
        let offset = header.len() + "file: . 100\nEND\n".len();
        assert!((100..1000).contains(&offset), "{offset}");
        let header = format!("{header}file: . {offset}\nEND\n");
        [header.into_bytes(), triplets.iter().flatten().flat_map(|v| number(*v)).collect()].concat()
    }

    fn le(v: f64) -> Vec<u8> {
        (v as f32).to_le_bytes().into()
    }

    fn read(bytes: &[u8]) -> Result<Streamlines, String> {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.tck");
        std::fs::write(&path, bytes).unwrap();
        Streamlines::read(&path).map_err(|e| e.to_string())
    }

    const LE: &str =
        "datatype: Float32LE\ncount: 0000000002\ncommand_history: tckgen a b\ntotal_count: 9\nroi: x";

    #[test]
    fn every_type_of_numbers_is_read() {
        let points = [[1.5, -2.0, 3.25], [4.0, 5.0, -6.5], NAN, NAN, [-7.0, 0.0, 0.125], NAN, END];
        let kinds: [(&str, Number); 4] = [
            ("Float32LE", le),
            ("Float32BE", |v| (v as f32).to_be_bytes().into()),
            ("Float64LE", |v| v.to_le_bytes().into()),
            ("Float64BE", |v| v.to_be_bytes().into()),
        ];
        for (kind, number) in kinds {
            let keys = LE.replace("Float32LE", kind).replace("0002", "0003");
            let lines = read(&file(&keys, &points, number)).unwrap();
            let found: Vec<_> = lines.iter().map(<[_]>::to_vec).collect();
            let expected = [vec![[1.5, -2.0, 3.25], [4.0, 5.0, -6.5]], vec![], vec![[-7.0, 0.0, 0.125]]];
            assert_eq!((found, lines.notes().len()), (expected.to_vec(), 0), "{kind}");
        }
    }

    #[test]
    fn doubts_leave_notes() {
        let points = [[1.0; 3], NAN, [2.0; 3], NAN, [3.0; 3], NAN, END];
        let notes = |bytes: &[u8]| read(bytes).unwrap().notes().join("; ");
        assert_eq!(notes(&file(LE, &points, le)), "the header states 2 streamlines, all 3 are read");
        let long = [file(&LE.replace("0002", "0003"), &points, le), vec![0; 5]].concat();
        assert_eq!(notes(&long), "5 bytes behind the last streamline are passed over");
        let keys = LE.replace("0002", "0003").replace("LE", "");
        assert!(notes(&file(&keys, &points, le)).contains("has no byte order"));
        let bare = b"mrtrix tracks\ndatatype: Float32LE\nEND\n";
        let bytes: Vec<u8> = points.iter().flatten().flat_map(|v| le(*v)).collect();
        assert!(notes(&[&bare[..], &bytes].concat()).contains("taken to follow it"));
    }

    #[test]
    fn damage_is_named() {
        let points = [[1.0; 3], NAN, [2.0; 3], NAN, END];
        let whole = file(LE, &points, le);
        assert_eq!(read(&whole).unwrap().len(), 2);
        let error = |bytes: &[u8]| read(bytes).unwrap_err();
        let cut = error(&whole[..whole.len() - 7]);
        assert!(
            cut.ends_with("not a readable TCK file: streamline 2: the file is cut off: no infinity ends it"),
            "{cut}"
        );
        let changed = |from: &str, to: &str| error(&file(&LE.replace(from, to), &points, le));
        for (found, part) in [
            (changed("0002", "0003"), "it states 3 streamlines and holds 2"),
            (changed("0002", "99999999999"), "more than fit into its"),
            (changed("0002", "-2"), "its count is \"000000-2\""),
            (changed("Float32LE", "Int16LE"), "unsupported TCK content: datatype Int16LE"),
            (changed("Float32LE", "Float32é"), "unsupported TCK content"),
            (changed("datatype", "kind"), "no datatype"),
            (error(&file(LE, &[[1.0; 3], END], le)), "streamline 0: no NaN ends it"),
            (error(&file(LE, &[[1.0, f64::NAN, 1.0], NAN, END], le)), "a coordinate is not finite"),
            (error(b"mrtrix tracks\ndatatype: Float32LE\n"), "no line END"),
        ] {
            assert!(found.contains(part), "{found}");
        }
        let wide =
            file(&LE.replace("Float32", "Float64"), &[[1e300; 3], NAN, NAN, END], |v| v.to_le_bytes().into());
        assert!(error(&wide).contains("a coordinate is not finite"));
        for (place, part) in
            [(". 9000", "byte 9000, outside of the file"), (". 12", "byte 12, within the header")]
        {
            let bytes = format!("mrtrix tracks\ndatatype: Float32LE\nfile: {place}\nEND\n");
            assert!(error(bytes.as_bytes()).contains(part), "{}", error(bytes.as_bytes()));
        }
        let other = error(b"mrtrix tracks\ndatatype: Float32LE\nfile: tracks.dat 0\nEND\n");
        assert!(other.contains("streamlines in another file (tracks.dat 0)"), "{other}");
    }
}
