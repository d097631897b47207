//! Workbooks for tests, written by hand.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// A cell of a test's sheet.
#[derive(Clone, Copy)]
pub(crate) enum Put<'a> {
    Nothing,
    Text(&'a str),
    Number(f64),
    Truth(bool),
    /// A number in one of the [`FORMATS`].
    Formatted(f64, usize),
    /// A formula with the value that is stored of it, if one is.
    Formula(&'a str, Option<f64>),
    Error(&'a str),
}

/// Formats of numbers, by the number of the style.
pub(crate) const FORMATS: [&str; 8] = [
    "General",
    "dd.mm.yyyy",
    "0%",
    "0.0\" %\"",
    "0.00%;[Red]\\-0.00%",
    "d\\. mmm",
    "[h]:mm:ss",
    "#,##0.00\\ _%",
];

pub(crate) type PutSheet<'a> = (&'a str, bool, Vec<Vec<Put<'a>>>);

/// Writes a workbook: of each sheet the name, whether it is visible, and its rows.
pub(crate) fn write_workbook(path: &Path, sheets: &[PutSheet<'_>]) -> PathBuf {
    let (mut list, mut relations, mut files) = (String::new(), String::new(), vec![]);
    for (i, (name, visible, rows)) in sheets.iter().enumerate() {
        let (id, state) = (i + 1, if *visible { "visible" } else { "hidden" });
        writeln!(list, r#"<sheet name="{name}" sheetId="{id}" state="{state}" r:id="rId{id}"/>"#).unwrap();
        relations += &relation(id, "worksheet", &format!("worksheets/sheet{id}.xml"));
        files.push((format!("xl/worksheets/sheet{id}.xml"), sheet_xml(rows)));
    }
    relations += &relation(sheets.len() + 1, "styles", "styles.xml");
    let main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
    let office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    let package = "http://schemas.openxmlformats.org/package/2006";
    let workbook =
        format!(r#"<workbook xmlns="{main}" xmlns:r="{office}"><sheets>{list}</sheets></workbook>"#);
    let related =
        |of: &str| format!(r#"<Relationships xmlns="{package}/relationships">{of}</Relationships>"#);
    files.push(("[Content_Types].xml".into(), format!(r#"<Types xmlns="{package}/content-types"/>"#)));
    files.push(("_rels/.rels".into(), related(&relation(1, "officeDocument", "xl/workbook.xml"))));
    files.push(("xl/_rels/workbook.xml.rels".into(), related(&relations)));
    files.push(("xl/workbook.xml".into(), workbook));
    files.push(("xl/styles.xml".into(), styles_xml(main)));
    std::fs::write(path, stored_zip(&files)).unwrap();
    path.to_owned()
}

fn relation(id: usize, kind: &str, target: &str) -> String {
    let office = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
    format!(r#"<Relationship Id="rId{id}" Type="{office}/{kind}" Target="{target}"/>"#)
}

fn styles_xml(main: &str) -> String {
    let escaped = |format: &str| format.replace('&', "&amp;").replace('"', "&quot;");
    let formats = FORMATS.iter().enumerate();
    let codes: String = formats
        .clone()
        .map(|(i, f)| format!(r#"<numFmt numFmtId="{}" formatCode="{}"/>"#, 164 + i, escaped(f)))
        .collect();
    let cells: String =
        formats.map(|(i, _)| format!(r#"<xf numFmtId="{}" applyNumberFormat="1"/>"#, 164 + i)).collect();
    format!(r#"<styleSheet xmlns="{main}"><numFmts>{codes}</numFmts><cellXfs>{cells}</cellXfs></styleSheet>"#)
}

fn sheet_xml(rows: &[Vec<Put<'_>>]) -> String {
    let mut xml = String::from(
        r#"<worksheet xmlns="http://schemas.openxmlformats.org/spreadsheetml/2006/main"><sheetData>"#,
    );
    for (r, row) in rows.iter().enumerate() {
        write!(xml, r#"<row r="{}">"#, r + 1).unwrap();
        for (c, cell) in row.iter().enumerate() {
            let at =
                format!("{}{}{}", if c >= 26 { "A" } else { "" }, char::from(b'A' + (c % 26) as u8), r + 1);
            match cell {
                Put::Nothing => {}
                Put::Text(text) => {
                    write!(xml, r#"<c r="{at}" t="inlineStr"><is><t>{text}</t></is></c>"#).unwrap();
                }
                Put::Number(value) => write!(xml, r#"<c r="{at}"><v>{value}</v></c>"#).unwrap(),
                Put::Truth(value) => {
                    write!(xml, r#"<c r="{at}" t="b"><v>{}</v></c>"#, u8::from(*value)).unwrap()
                }
                Put::Formatted(value, style) => {
                    write!(xml, r#"<c r="{at}" s="{style}"><v>{value}</v></c>"#).unwrap();
                }
                Put::Formula(formula, Some(value)) => {
                    write!(xml, r#"<c r="{at}"><f>{formula}</f><v>{value}</v></c>"#).unwrap();
                }
                Put::Formula(formula, None) => {
                    write!(xml, r#"<c r="{at}"><f>{formula}</f><v></v></c>"#).unwrap();
                }
                Put::Error(error) => write!(xml, r#"<c r="{at}" t="e"><v>{error}</v></c>"#).unwrap(),
            }
        }
        xml += "</row>";
    }
    xml + "</sheetData></worksheet>"
}

/// A zip archive of files that are not compressed.
fn stored_zip(files: &[(String, String)]) -> Vec<u8> {
    let (mut archive, mut directory) = (vec![], vec![]);
    for (name, content) in files {
        let mut sum = flate2::Crc::new();
        sum.update(content.as_bytes());
        let length = content.len() as u32;
        // Version, flags, method, time and date; checksum and lengths; lengths of the name and of what is behind it.
        let mut head = vec![20, 0, 0, 0, 0, 0, 0, 0, 0x21, 0];
        [sum.sum(), length, length, name.len() as u32].iter().for_each(|n| head.extend(n.to_le_bytes()));
        let start = archive.len() as u32;
        archive.extend(b"PK\x03\x04");
        archive.extend(&head);
        archive.extend(name.as_bytes());
        archive.extend(content.as_bytes());
        directory.extend(b"PK\x01\x02\x14\x00");
        directory.extend(&head);
        // Lengths and attributes that are 0, then where the file begins.
        directory.extend([0; 10]);
        directory.extend(start.to_le_bytes());
        directory.extend(name.as_bytes());
    }
    let (start, count) = (archive.len() as u32, files.len() as u16);
    archive.extend(&directory);
    archive.extend(b"PK\x05\x06\x00\x00\x00\x00");
    [count, count].iter().for_each(|n| archive.extend(n.to_le_bytes()));
    [directory.len() as u32, start].iter().for_each(|n| archive.extend(n.to_le_bytes()));
    archive.extend([0, 0]);
    archive
}

/// Writes a text file and gives its path.
pub(crate) fn write_text(folder: &Path, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
    let path = folder.join(name);
    std::fs::write(&path, content).unwrap();
    path
}

/// Packs bytes by gzip.
pub(crate) fn gzip(bytes: impl AsRef<[u8]>) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(vec![], flate2::Compression::fast());
    std::io::Write::write_all(&mut packed, bytes.as_ref()).unwrap();
    packed.finish().unwrap()
}
