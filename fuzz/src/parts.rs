//! Archives as plain text: behind checksums and compression, changed bytes would never reach a reader.

use std::io::{Cursor, Write};
use zip::ZipWriter;
use zip::write::SimpleFileOptions;

/// What begins a part; the rest of the line is its name.
const MARK: &[u8] = b"\n--- ";

/// Named parts of an input, `\n--- NAME\nCONTENT` one behind the other, and what is before the first.
pub fn parts(data: &[u8]) -> (&[u8], Vec<(String, &[u8])>) {
    let mut starts: Vec<usize> =
        data.windows(MARK.len()).enumerate().filter(|(_, bytes)| *bytes == MARK).map(|(at, _)| at).collect();
    starts.push(data.len());
    let part = |pair: &[usize]| {
        let part = &data[pair[0] + MARK.len()..pair[1]];
        let end = part.iter().position(|b| *b == b'\n').unwrap_or(part.len());
        (String::from_utf8_lossy(&part[..end]).into_owned(), part.get(end + 1..).unwrap_or_default())
    };
    (&data[..starts[0]], starts.windows(2).map(part).collect())
}

/// The input as a zip archive of its parts; an input that is an archive is taken as it is.
pub fn zipped(data: &[u8]) -> Vec<u8> {
    if data.starts_with(b"PK") {
        return data.to_vec();
    }
    let mut zip = ZipWriter::new(Cursor::new(vec![]));
    for (name, content) in parts(data).1 {
        // A name that is there twice.
        if zip.start_file(name, SimpleFileOptions::default()).is_ok() {
            zip.write_all(content).expect("memory");
        }
    }
    zip.finish().map(Cursor::into_inner).unwrap_or_default()
}
