use super::testing::{Put, gzip, write_text, write_workbook};
use super::*;
use Put::{Error as Wrong, Formatted, Formula, Nothing, Number, Text, Truth};

/// The texts of all rows, the header first.
fn texts(sheet: &Sheet) -> Vec<Vec<String>> {
    let row = |row: Row<'_>| (0..sheet.header.len()).map(|c| row.text(c).unwrap().into_owned()).collect();
    std::iter::once(sheet.header.clone()).chain(sheet.rows().map(row)).collect()
}

fn read(name: &str, bytes: impl AsRef<[u8]>) -> Result<Sheet> {
    let dir = tempfile::tempdir().unwrap();
    Sheet::read(&write_text(dir.path(), name, bytes))
}

fn error(name: &str, bytes: impl AsRef<[u8]>) -> String {
    read(name, bytes).err().unwrap().to_string()
}

#[test]
fn one_table_in_every_spelling_is_the_same() {
    let expected = [["id", "größe", "note"], ["A", "1.5", "x, y"], ["B", "", "–"]];
    let comma = "id,größe,note\nA,1.5,\"x, y\"\nB,,–\n";
    let tab = "id\tgröße\tnote\nA\t1.5\tx, y\nB\t\t–\n";
    let utf16 = |swap: bool| -> Vec<u8> {
        let bytes = |unit: u16| if swap { unit.to_be_bytes() } else { unit.to_le_bytes() };
        format!("\u{feff}{tab}").encode_utf16().flat_map(bytes).collect()
    };
    let western = b"id,gr\xf6\xdfe,note\nA,1.5,\"x, y\"\nB,,\x96\n".to_vec();
    let note = |text: &str| vec![text.to_string()];
    for (name, bytes, notes) in [
        ("a.csv", comma.as_bytes().to_vec(), vec![]),
        ("a.csv.gz", gzip(comma), vec![]),
        ("a.csv", gzip(comma), vec![]),
        ("a.csv.gz", comma.as_bytes().to_vec(), vec![]),
        ("a.csv", format!("\u{feff}{comma}").into_bytes(), vec![]),
        ("a.csv", comma.replace('\n', "\r\n").into_bytes(), vec![]),
        ("a.csv", comma.replace('\n', "\r").into_bytes(), note("carriage returns")),
        ("a.csv", format!("{comma},,\n , ,\n\n").into_bytes(), vec![]),
        ("a.csv", comma.replace("B,", ",,\n\u{a0},,\nB,").into_bytes(), note("2 blank rows between others")),
        ("a.tsv", tab.as_bytes().to_vec(), vec![]),
        ("a.csv", tab.as_bytes().to_vec(), note("cells separated by tabs")),
        ("a.tsv", comma.as_bytes().to_vec(), note("cells separated by commas")),
        ("a.csv", tab.replace('\t', ";").into_bytes(), note("cells separated by semicolons")),
        ("a.txt", utf16(false), note("UTF-16LE")),
        ("a.txt", utf16(true), note("UTF-16BE")),
        ("a.csv", western, note("Windows-1252, first in line 1: \"größe\"")),
    ] {
        let sheet = read(name, &bytes).unwrap_or_else(|e| panic!("{name}: {e}"));
        assert_eq!(texts(&sheet), expected, "{name}: {:?}", sheet.notes);
        assert_eq!(sheet.notes.len(), notes.len(), "{name}: {:?}", sheet.notes);
        for (said, part) in sheet.notes.iter().zip(notes) {
            assert!(said.starts_with(name) && said.contains(&part), "{said} lacks {part}");
        }
    }
}

#[test]
fn numbers_are_read_in_the_notation_of_the_table_and_in_no_other() {
    let number = |text: &str, row: usize| {
        let sheet = read("a.csv", text).unwrap();
        let found = sheet.rows().nth(row).unwrap();
        found.number(1).map_err(|e| e.to_string())
    };
    assert_eq!(number("id;x\nA;1,5\nB;-2\n", 0), Ok(Some(1.5)));
    assert_eq!(number("id;x\nA;1,5\nB;-2,5E-1\n", 1), Ok(Some(-0.25)));
    assert_eq!(number("id\tx\nA\t0,5\nB\t1,234\n", 1), Ok(Some(1.234)));
    assert_eq!(number("id;x\nA;1.5\n", 0), Ok(Some(1.5)));
    for (text, row, part) in [
        ("id;x\nA;1.5\nB;2,5\n", 1, "row 3, column `x`: expected a number with a decimal point"),
        ("id,x\nA,\"3,5\"\n", 0, "expected a number with a decimal point"),
        ("id\tx\nA\t1,234\n", 0, "expected a number with a decimal point"),
        ("id,x\nA,May-25\n", 0, "expected a number, got \"May-25\""),
        ("id,x\nA,45%\n", 0, "expected a number, got \"45%\""),
    ] {
        let error = number(text, row).unwrap_err();
        assert!(error.contains(part), "{error}");
    }
    // Commas in the rows that were looked at, a point later.
    let rows: String = (0..9999).map(|i| format!("P{i};0,25\n")).collect();
    let text = format!("id;x\n{rows}Q;1.234\n");
    assert!(
        number(&text, 9999)
            .unwrap_err()
            .contains("row 10001, column `x`: expected a number with a decimal comma")
    );
    assert_eq!(number(&text, 9998), Ok(Some(0.25)));
}

#[test]
fn a_row_of_another_length_is_named_with_its_line() {
    for (text, line, cells, separator) in [
        ("a,b\n1,2\n1,2,3\n", 3, 3, "commas"),
        ("a;b;c\n1;2;3\n\n4;5\n", 4, 2, "semicolons"),
        ("a\tb\r1\t2\r3\r", 3, 1, "tabs"),
        ("a,b\n\"x\ny\",2\n1,2,\n", 4, 3, "commas"),
    ] {
        let error = error("a.csv", text);
        let said = format!("a.csv: line {line} has {cells} cells");
        assert!(error.contains(&said) && error.contains(separator), "{error}");
    }
    let error = error("a.csv", "a,b\n1,\"x\n2,y\n3,z\n");
    assert!(error.contains("line 2: a quotation mark is opened and never closed"), "{error}");
    // Names of rows as R writes them.
    let sheet = read("a.csv", "\"TP53\",\"EGFR\"\n\"S1\",1,2\n").unwrap();
    assert_eq!((texts(&sheet)[0][0].as_str(), texts(&sheet)[1][0].as_str()), ("", "S1"));
    assert!(sheet.notes[0].contains("names of rows"), "{:?}", sheet.notes);
}

#[test]
fn what_is_no_table_is_told_apart() {
    for (name, bytes, part) in [
        ("a.csv", &b""[..], "there is no header"),
        ("a.csv", b"\n\n", "there is no header"),
        ("a.csv", b"a\x00,b\n", "zero bytes"),
        ("a.csv", b"<!DOCTYPE html>\n<html>", "a web page"),
        ("a.csv", b"version https://git-lfs.github.com/spec/v1\noid sha256:0\n", "Git LFS"),
        ("a.csv", b"\x28\xb5\x2f\xfd....", "packed by Zstandard"),
        ("a.csv.bz2", b"BZh91AY", "packed by bzip2"),
        ("a.xlsx", b"id,x\n", "not a readable xlsx file"),
        ("a.csv", b"PK\x03\x04", "not a readable xlsx file"),
        ("a.xls", b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1", "not a readable xlsx file"),
    ] {
        let error = error(name, bytes);
        assert!(error.contains(name) && error.contains(part), "{error} lacks {part}");
    }
    let packed = gzip("a,b\n1,2\n");
    assert!(error("a.csv.gz", &packed[..packed.len() - 9]).contains("a.csv.gz"));
    assert!(Sheet::read(Path::new("none.csv")).err().unwrap().to_string().contains("none.csv"));
}

/// Two rows below `id` and `x`.
fn book(one: Put<'_>, two: Put<'_>) -> Sheet {
    let dir = tempfile::tempdir().unwrap();
    let rows = vec![vec![Text("id"), Text("x")], vec![Text("A"), one], vec![Text("B"), two]];
    Sheet::read(&write_workbook(&dir.path().join("a.xlsx"), &[("S", true, rows)])).unwrap()
}

#[test]
fn typed_cells_of_a_workbook_are_numbers_or_named() {
    let number = |put: Put<'_>| {
        let sheet = book(Number(0.5), put);
        let row = sheet.rows().nth(1).unwrap();
        row.number(1).map_err(|e| e.to_string())
    };
    for (put, expected) in [
        (Number(4.5), Some(4.5)),
        (Nothing, None),
        (Text("4.5"), Some(4.5)),
        (Formula("1+1", Some(2.0)), Some(2.0)),
        // A percent sign in quotation marks or as a width is no percent format.
        (Formatted(45.0, 3), Some(45.0)),
        (Formatted(45.0, 7), Some(45.0)),
    ] {
        assert_eq!(number(put), Ok(expected));
    }
    for (put, part) in [
        (Formatted(45780.0, 1), "the date 2025-05-03"),
        (Formatted(45780.25, 5), "the date 2025-05-03 06:00:00"),
        (Formatted(0.25, 6), "the date 06:00:00"),
        (Formatted(0.45, 2), "45 % (the number 0.45 in a percent format)"),
        (Formatted(0.5, 4), "50 % (the number 0.5 in a percent format)"),
        (Formula("A1+1", None), "a formula without a stored value"),
        (Wrong("#DIV/0!"), "#DIV/0!"),
        (Truth(true), "true"),
        (Text("3,5"), "a number with a decimal point"),
    ] {
        let error = number(put).unwrap_err();
        assert!(error.contains("a.xlsx, sheet `S`: row 3, column `x`: expected a number"), "{error}");
        assert!(error.contains(part), "{error} lacks {part}");
    }
    let sheet = book(Formatted(45780.0, 1), Nothing);
    let date = sheet.rows().next().unwrap();
    assert!(date.text(1).unwrap() == "2025-05-03" && date.identifier(1).is_err());
}

#[test]
fn a_column_of_percentages_alone_is_read_as_stored_and_a_mixed_one_is_not() {
    let numbers = |one, two| {
        let sheet = book(one, two);
        let found: Vec<_> = sheet.rows().map(|r| r.number(1).map_err(|e| e.to_string())).collect();
        (found, sheet.notes)
    };
    // As in the published workbook of the liver metastases, where -999 is plain.
    for other in [Formatted(0.7, 4), Number(-999.0), Number(0.0), Nothing] {
        let (found, notes) = numbers(Formatted(0.45, 2), other);
        assert_eq!(found[0], Ok(Some(0.45)));
        assert!(
            found[1].is_ok()
                && notes[0].contains("a.xlsx: columns in a percent format")
                && notes[0].ends_with(": x"),
            "{notes:?}"
        );
    }
    for other in [Number(30.0), Text("30"), Number(0.3)] {
        let (found, notes) = numbers(Formatted(0.45, 2), other);
        assert!(
            found[0].as_ref().is_err_and(|e| e.contains("45 % (the number 0.45 in a percent format)"))
                && notes.is_empty()
        );
    }
}

#[test]
fn hidden_and_further_sheets_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a.xlsx");
    let rows = |x: f64| vec![vec![Text("id"), Text("x")], vec![Text("A"), Number(x)]];
    let other = || vec![vec![Text("remarks")]];
    let fits = |header: &[String]| header.iter().any(|h| h == "id");
    let wanted = Wanted::new("a column `id`", &fits);
    let value = |sheet: &Sheet| sheet.rows().next().unwrap().number(1).unwrap();
    write_workbook(&path, &[("old", false, rows(1.0)), ("info", true, other()), ("new", true, rows(2.0))]);
    let sheet = Sheet::read_where(&path, &wanted).unwrap();
    assert_eq!((value(&sheet), sheet.name.as_deref()), (Some(2.0), Some("new")));
    assert_eq!(sheet.notes, ["a.xlsx: sheet `new` is read; hidden sheets are passed over: `old`"]);
    write_workbook(&path, &[("one", true, rows(1.0)), ("two", true, rows(2.0))]);
    let sheet = Sheet::read_where(&path, &wanted).unwrap();
    assert!(value(&sheet) == Some(1.0) && sheet.notes[0].contains("and not `two`"), "{:?}", sheet.notes);
    write_workbook(&path, &[("old", false, rows(1.0)), ("info", true, other())]);
    let error = Sheet::read_where(&path, &wanted).err().unwrap().to_string();
    assert!(
        error.contains("no visible sheet has a column `id`; sheets: info; a hidden sheet has it (`old`)"),
        "{error}"
    );
    // The same workbook in gzip, and under the name of another kind.
    write_workbook(&path, &[("S", true, rows(3.0))]);
    let bytes = std::fs::read(&path).unwrap();
    for (name, bytes) in [("b.xlsx.gz", gzip(&bytes)), ("b.csv", bytes)] {
        assert_eq!(value(&read(name, bytes).unwrap()), Some(3.0));
    }
}

#[test]
fn a_sheet_may_begin_anywhere_and_end_in_blank_rows() {
    let dir = tempfile::tempdir().unwrap();
    let rows = vec![
        vec![],
        vec![Nothing, Text("id"), Nothing, Text("x")],
        vec![Nothing, Text("A"), Nothing, Number(1.0)],
        vec![Nothing, Text(" "), Nothing, Text("")],
        vec![Nothing, Text("B"), Nothing, Nothing],
        vec![Nothing, Text(" "), Nothing, Text("")],
    ];
    let sheet = Sheet::read(&write_workbook(&dir.path().join("a.xlsx"), &[("S", true, rows)])).unwrap();
    assert_eq!(texts(&sheet), [["id", "x"], ["A", "1"], ["B", ""]]);
    assert_eq!(sheet.rows().map(|r| r.number).collect::<Vec<_>>(), [3, 5]);
}

#[test]
fn a_column_is_one_or_an_error_that_names_both() {
    for text in ["id,x,x\nA,1,2\n", "id;x;x\nA;1;2\n", "id\tx\tx\nA\t1\t2\n"] {
        let sheet = read("a.csv", text).unwrap();
        assert_eq!(sheet.place("id").unwrap(), Some(0));
        let error = sheet.require("x").unwrap_err().to_string();
        assert!(error.contains("a.csv: column `x` is there twice, as columns 2 and 3"), "{error}");
    }
    let sheet = read("a.csv", "id,Age ,age\nA,1,2\n").unwrap();
    let error = sheet.place_where(|h| h.eq_ignore_ascii_case("age")).unwrap_err().to_string();
    assert!(error.contains("column `Age` or `age` is there twice, as columns 2 and 3"), "{error}");
    assert!(sheet.require("sex").unwrap_err().to_string().contains("no column `sex`; found: id, Age, age"));
}
