//! How a table in a text file is written: what separates its cells, and how its numbers have their decimals.

/// The decimal mark of numbers in text cells.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(crate) enum Decimal {
    #[default]
    Point,
    Comma,
}

impl Decimal {
    /// A number in this notation. The other mark is refused, never guessed at: 1.234 beside 0,5 may mean 1234.
    pub fn parse(self, text: &str) -> Option<f64> {
        match self {
            Decimal::Point => text.parse().ok(),
            Decimal::Comma if text.contains('.') => None,
            Decimal::Comma => text.replacen(',', ".", 1).parse().ok(),
        }
    }

    /// What is expected in place of a text that is no number in this notation.
    pub fn expected(self, text: &str) -> &'static str {
        let number = |text: String| text.parse::<f64>().is_ok();
        match self {
            Decimal::Point if text.contains(',') && number(text.replacen(',', ".", 1)) => {
                "a number with a decimal point, as in the rest of the table"
            }
            Decimal::Comma if text.contains('.') && number(text.replace(',', "")) => {
                "a number with a decimal comma, as in the rest of the table"
            }
            _ => "a number",
        }
    }
}

/// How a table in a text file is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Dialect {
    /// What separates cells: a comma, a tab or a semicolon.
    pub delimiter: u8,
    pub decimal: Decimal,
    /// Whether the header lacks a name for the first column, as R writes the names of rows.
    pub row_names: bool,
}

impl Dialect {
    pub fn delimiter_name(self) -> &'static str {
        match self.delimiter {
            b'\t' => "tabs",
            b';' => "semicolons",
            _ => "commas",
        }
    }

    /// The dialect of a table of which these are the first bytes, cut after a line unless they are all.
    ///
    /// The separator is the one that cuts every row into as many cells as the header, then the one that cuts the header into
    /// most cells, then the one that leaves most numbers.
    pub fn of(head: &[u8]) -> Self {
        let looks: Vec<Look> = [b'\t', b';', b','].map(|d| Look::new(head, d)).into();
        let best =
            looks.into_iter().filter(|look| look.width > 1).max_by(|a, b| a.rank().total_cmp(&b.rank()));
        best.map_or(Dialect { delimiter: b',', decimal: Decimal::Point, row_names: false }, |best| Dialect {
            delimiter: best.delimiter,
            decimal: best.decimal,
            row_names: best.row_names,
        })
    }
}

/// A table's first rows as one separator cuts them.
struct Look {
    delimiter: u8,
    width: usize,
    even: bool,
    row_names: bool,
    /// The share of filled cells that are numbers.
    numbers: f64,
    decimal: Decimal,
}

impl Look {
    fn new(head: &[u8], delimiter: u8) -> Self {
        let mut builder = csv::ReaderBuilder::new();
        let mut reader = builder.delimiter(delimiter).has_headers(false).flexible(true).from_reader(head);
        let blank = |r: &csv::ByteRecord| r.iter().all(|c| c.trim_ascii().is_empty());
        let mut records = reader.byte_records().map_while(Result::ok).filter(|r| !blank(r));
        let header = records.next().unwrap_or_default();
        let body: Vec<csv::ByteRecord> = records.collect();
        let width = header.len();
        let row_names = !body.is_empty()
            && body.iter().all(|r| r.len() == width + 1)
            && body.iter().any(|r| !r[width].trim_ascii().is_empty());
        let marks = Marks::of(&body);
        // A comma that separates cells is no decimal mark, unless cells are in quotation marks; then it may as well separate
        // thousands, and is refused where a number is needed.
        let decimal = match delimiter {
            b';' if marks.points == 0 && marks.commas + marks.thousands > 0 => Decimal::Comma,
            b'\t' if marks.points == 0 && marks.commas > 0 => Decimal::Comma,
            _ => Decimal::Point,
        };
        Look {
            delimiter,
            width,
            even: row_names || body.iter().all(|r| r.len() == width),
            row_names,
            numbers: marks.numbers(decimal),
            decimal,
        }
    }

    fn rank(&self) -> f64 {
        1e9 * f64::from(u8::from(self.even)) + self.width as f64 + 0.5 * self.numbers
    }
}

/// How the numbers of a table's first rows are written.
#[derive(Default)]
struct Marks {
    filled: usize,
    whole: usize,
    points: usize,
    commas: usize,
    /// Such as 1,234: with a decimal comma or one between thousands.
    thousands: usize,
}

impl Marks {
    fn of(body: &[csv::ByteRecord]) -> Self {
        let mut marks = Marks::default();
        for cell in body.iter().flatten().map(<[u8]>::trim_ascii).filter(|c| !c.is_empty()) {
            marks.filled += 1;
            let Ok(text) = std::str::from_utf8(cell) else { continue };
            match (text.contains('.'), Decimal::Comma.parse(text), text.parse::<f64>()) {
                (true, _, Ok(_)) => marks.points += 1,
                (false, Some(_), Err(_)) if is_grouped(text) => marks.thousands += 1,
                (false, Some(_), Err(_)) => marks.commas += 1,
                (false, _, Ok(_)) => marks.whole += 1,
                _ => {}
            }
        }
        marks
    }

    fn numbers(&self, decimal: Decimal) -> f64 {
        let marked = match decimal {
            Decimal::Point => self.points,
            Decimal::Comma => self.commas + self.thousands,
        };
        (self.whole + marked) as f64 / self.filled.max(1) as f64
    }
}

/// Whether a number may have its comma between thousands: one to three digits, the first of them not 0, and three behind.
fn is_grouped(text: &str) -> bool {
    let text = text.trim_start_matches(['+', '-']);
    let digits = |part: &str| part.bytes().all(|b| b.is_ascii_digit());
    text.split_once(',').is_some_and(|(whole, rest)| {
        (1..=3).contains(&whole.len())
            && !whole.starts_with('0')
            && digits(whole)
            && rest.len() == 3
            && digits(rest)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn dialect(text: &str) -> (char, Decimal, bool) {
        let found = Dialect::of(text.as_bytes());
        (char::from(found.delimiter), found.decimal, found.row_names)
    }

    #[test]
    fn the_separator_is_the_one_that_every_row_obeys() {
        for (text, delimiter) in [
            ("a,b\n1,2\n", ','),
            ("a\tb\n1\t2\n", '\t'),
            ("a;b\n1;2\n", ';'),
            ("a\n1\n", ','),
            // Separators within names and lists within cells.
            ("a;size, cm;bmi, kg\nA;1;25,5\n", ';'),
            ("a,drugs,b\nA,x;y;z,1\nB,,2\n", ','),
            ("a,\"x;y\",\"u;v\"\n1,2,3\n", ','),
            ("a\tgenes\nA\tB,C;D\nB\tX\n", '\t'),
            ("id,a;b,c\nx,1;2,3\n", ','),
            // A header alone, and rows of which one is ragged.
            ("a;b;c\n", ';'),
            ("a;b;c\n1;2;3\n1;2;3;4\n", ';'),
        ] {
            assert_eq!(dialect(text).0, delimiter, "{text}");
        }
        // As many commas as semicolons: that which leaves numbers.
        assert_eq!(dialect("id;size, cm;bmi, kg\nA;5,5;25,5\n"), (';', Decimal::Comma, false));
    }

    #[test]
    fn a_comma_is_decimal_only_where_nothing_speaks_against_it() {
        for (text, decimal) in [
            ("a;b\nA;1,5\n", Decimal::Comma),
            ("a;b\nA;1,234\n", Decimal::Comma),
            ("a;b\nA;1.5\n", Decimal::Point),
            ("a;b\nA;1,5\nB;1.5\n", Decimal::Point),
            ("a\tb\nA\t0,5\n", Decimal::Comma),
            ("a\tb\nA\t1,234\n", Decimal::Point),
            ("a,b\nA,\"1,5\"\n", Decimal::Point),
        ] {
            assert_eq!(dialect(text).1, decimal, "{text}");
        }
        assert_eq!(Decimal::Comma.parse("-1,5e-3"), Some(-1.5e-3));
        assert_eq!((Decimal::Comma.parse("1.234"), Decimal::Comma.parse("1,2,3")), (None, None));
        assert!(Decimal::Point.expected("1,5").contains("decimal point"));
        assert_eq!(Decimal::Point.expected("May-25"), "a number");
    }

    #[test]
    fn names_of_rows_have_no_name_themselves() {
        assert!(dialect("\"TP53\" \t\"EGFR\"\n\"S1\"\t1\t2\n").2);
        assert!(!dialect("a\tb\nS1\t1\t\nS2\t2\t\n").2);
        assert!(!dialect("a\tb\nS1\t1\t2\nS2\t2\n").2);
    }
}
