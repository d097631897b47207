//! Tables that print as HTML, as plain text for a terminal and as Markdown.

use crate::text::{escape, fixed};
use std::fmt::Write;

/// One cell of a [`ReportTable`].
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub enum Cell {
    /// Words, left-aligned.
    Text(String),
    /// A whole number.
    Count(u64),
    /// A number with fixed decimals; NaN and infinities print as missing.
    Number {
        /// The value.
        value: f64,
        /// Decimals.
        digits: usize,
    },
    /// An estimate with its interval, printed as `0.71 (0.63 to 0.78)`.
    Interval {
        /// The point estimate.
        estimate: f64,
        /// Lower end.
        low: f64,
        /// Upper end.
        high: f64,
        /// Decimals.
        digits: usize,
    },
    /// A p-value: three decimals, or `< 0.001`.
    PValue(f64),
    /// No value, and why; without a reason it prints as a dash.
    Missing(String),
}

impl Cell {
    /// Words.
    pub fn text(text: impl Into<String>) -> Self {
        Self::Text(text.into())
    }

    /// A whole number.
    pub fn count(count: usize) -> Self {
        Self::Count(count as u64)
    }

    /// A number with `digits` decimals.
    pub fn number(value: f64, digits: usize) -> Self {
        Self::Number { value, digits }
    }

    /// An estimate with its interval.
    pub fn interval(estimate: f64, low: f64, high: f64, digits: usize) -> Self {
        Self::Interval { estimate, low, high, digits }
    }

    /// A p-value.
    pub fn p_value(p: f64) -> Self {
        Self::PValue(p)
    }

    /// No value, and why.
    pub fn missing(why: impl Into<String>) -> Self {
        Self::Missing(why.into())
    }

    /// A dash, where there is nothing that a value could be of.
    pub fn dash() -> Self {
        Self::Missing(String::new())
    }

    /// The number, or missing with this reason if there is none.
    pub fn number_or(value: Option<f64>, digits: usize, why: impl Into<String>) -> Self {
        value.map_or_else(|| Self::missing(why), |value| Self::number(value, digits))
    }

    fn is_numeric(&self) -> bool {
        matches!(self, Self::Count(_) | Self::Number { .. } | Self::Interval { .. } | Self::PValue(_))
    }

    /// The printed value, or the reason for having none.
    fn value(&self) -> Result<String, String> {
        match self {
            Self::Text(text) => Ok(text.clone()),
            Self::Count(count) => Ok(count.to_string()),
            Self::Number { value, digits } => finite(*value).map(|v| fixed(v, *digits)),
            Self::Interval { estimate, low, high, digits } => {
                let estimate = fixed(finite(*estimate)?, *digits);
                Ok(if low.is_finite() && high.is_finite() {
                    format!("{estimate} ({} to {})", fixed(*low, *digits), fixed(*high, *digits))
                } else {
                    format!("{estimate} (no interval)")
                })
            }
            Self::PValue(p) => finite(*p).map(|p| match p {
                p if p < 0.001 => "< 0.001".to_owned(),
                p => fixed(p, 3),
            }),
            Self::Missing(why) => Err(why.clone()),
        }
    }

    fn plain(&self) -> String {
        // One line per row: line breaks and control characters would break the layout or the terminal.
        let text = self.value().unwrap_or_else(|why| absent(&why));
        single_line(&text)
    }
}

fn absent(why: &str) -> String {
    match why {
        "" => "–".to_owned(),
        why => format!("n/a ({why})"),
    }
}

fn finite(value: f64) -> Result<f64, String> {
    match value {
        v if v.is_nan() => Err("not a number".to_owned()),
        v if v.is_infinite() => Err("infinite".to_owned()),
        v => Ok(v),
    }
}

fn single_line(text: &str) -> String {
    text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect()
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::text(text)
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<usize> for Cell {
    fn from(count: usize) -> Self {
        Self::count(count)
    }
}

#[derive(Debug, Clone, PartialEq)]
struct Row {
    cells: Vec<Cell>,
    emphasised: bool,
}

/// A table with a caption; the first column names the rows.
///
/// A row that is shorter than the header is filled with missing cells, and a longer one adds columns without
/// a heading: no value is lost.
///
/// # Example
/// ```
/// use oncograph_report::{Cell, ReportTable};
/// let table = ReportTable::new("Performance on the test patients", ["Model", "C-index"])
///     .row([Cell::text("network"), Cell::interval(0.71, 0.63, 0.78, 2)])
///     .emphasised_row([Cell::text("stage only"), Cell::missing("no event")]);
/// assert!(table.to_text().contains("network     0.71 (0.63 to 0.78)"));
/// assert!(table.to_markdown().contains("| network | 0.71 (0.63 to 0.78) |"));
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct ReportTable {
    caption: String,
    header: Vec<String>,
    rows: Vec<Row>,
    notes: Vec<String>,
    published: bool,
}

impl ReportTable {
    /// A table without rows.
    pub fn new<S: Into<String>>(caption: impl Into<String>, header: impl IntoIterator<Item = S>) -> Self {
        let header = header.into_iter().map(Into::into).collect();
        Self { caption: caption.into(), header, rows: Vec::new(), notes: Vec::new(), published: false }
    }

    /// Marks a table of published figures, which are not those of the page's data: on a page of phantom data it is not called
    /// phantom.
    pub fn published(mut self) -> Self {
        self.published = true;
        self
    }

    /// Adds a row.
    pub fn row<C: Into<Cell>>(self, cells: impl IntoIterator<Item = C>) -> Self {
        self.push(cells, false)
    }

    /// Adds a row that stands out, such as the trivial baseline that a model has to beat.
    pub fn emphasised_row<C: Into<Cell>>(self, cells: impl IntoIterator<Item = C>) -> Self {
        self.push(cells, true)
    }

    /// Adds a note under the table.
    pub fn note(mut self, note: impl Into<String>) -> Self {
        self.notes.push(note.into());
        self
    }

    /// What the table shows.
    pub fn caption(&self) -> &str {
        &self.caption
    }

    /// Number of rows, without the header.
    pub fn len(&self) -> usize {
        self.rows.len()
    }

    /// True if there is no row.
    pub fn is_empty(&self) -> bool {
        self.rows.is_empty()
    }

    fn push<C: Into<Cell>>(mut self, cells: impl IntoIterator<Item = C>, emphasised: bool) -> Self {
        let cells = cells.into_iter().map(Into::into).collect();
        self.rows.push(Row { cells, emphasised });
        self
    }

    fn columns(&self) -> usize {
        self.rows.iter().map(|r| r.cells.len()).chain([self.header.len()]).max().unwrap_or(0)
    }

    fn heading(&self, column: usize) -> &str {
        self.header.get(column).map_or("", String::as_str)
    }

    fn cell(row: &Row, column: usize) -> Cell {
        row.cells.get(column).cloned().unwrap_or_else(|| Cell::missing("not given"))
    }

    /// A column is right-aligned if it has a number and no words.
    fn is_numeric(&self, column: usize) -> bool {
        let mut cells = self.rows.iter().filter_map(|r| r.cells.get(column));
        cells.clone().any(Cell::is_numeric) && !cells.any(|c| matches!(c, Cell::Text(_)))
    }

    /// Aligned plain text for a terminal: caption, header, rule, rows, notes. An emphasised row starts with `*`.
    pub fn to_text(&self) -> String {
        let mark = self.rows.iter().any(|r| r.emphasised);
        let mut lines: Vec<Vec<String>> =
            vec![(0..self.columns()).map(|c| single_line(self.heading(c))).collect()];
        for row in &self.rows {
            lines.push((0..self.columns()).map(|c| Self::cell(row, c).plain()).collect());
        }
        if mark {
            lines[0][0].insert_str(0, "  ");
            for (line, row) in lines[1..].iter_mut().zip(&self.rows) {
                line[0].insert_str(0, if row.emphasised { "* " } else { "  " });
            }
        }
        let width = |c: usize| lines.iter().map(|l| l[c].chars().count()).max().unwrap_or(0);
        let widths: Vec<usize> = (0..self.columns()).map(width).collect();
        let mut out = format!("{}\n", single_line(&self.caption));
        for (index, line) in lines.iter().enumerate() {
            let mut text = String::new();
            for (c, (cell, &width)) in line.iter().zip(&widths).enumerate() {
                let gap = if c == 0 { "" } else { "  " };
                let _ = match self.is_numeric(c) {
                    true => write!(text, "{gap}{cell:>width$}"),
                    false => write!(text, "{gap}{cell:<width$}"),
                };
            }
            out.push_str(text.trim_end());
            out.push('\n');
            if index == 0 {
                let rule = widths.iter().sum::<usize>() + 2 * widths.len().saturating_sub(1);
                out.push_str(&"-".repeat(rule));
                out.push('\n');
            }
        }
        for note in &self.notes {
            out.push_str(&single_line(note));
            out.push('\n');
        }
        out
    }

    /// A GitHub-flavoured Markdown table; an emphasised row is bold.
    pub fn to_markdown(&self) -> String {
        let plain = |text: &str| escape(&single_line(text)).replace('|', "\\|");
        let mut out = format!("{}\n\n|", plain(&self.caption));
        for c in 0..self.columns() {
            let _ = write!(out, " {} |", plain(self.heading(c)));
        }
        out.push_str("\n|");
        for c in 0..self.columns() {
            out.push_str(if self.is_numeric(c) { "---:|" } else { "---|" });
        }
        for row in &self.rows {
            out.push_str("\n|");
            for c in 0..self.columns() {
                let text = plain(&Self::cell(row, c).plain());
                let bold = if row.emphasised { "**" } else { "" };
                let _ = write!(out, " {bold}{text}{bold} |");
            }
        }
        out.push('\n');
        for note in &self.notes {
            let _ = write!(out, "\n{}\n", plain(note));
        }
        out
    }

    /// The `<table>` element; `tag` is put before the caption, unless the table is a published one.
    pub(crate) fn to_html(&self, tag: &str) -> String {
        let numeric: Vec<bool> = (0..self.columns()).map(|c| self.is_numeric(c)).collect();
        let class = |c: usize| if numeric[c] { " class=\"n\"" } else { "" };
        let tag = if self.published { "" } else { tag };
        let mut out =
            format!("<div class=\"scroll\"><table>\n<caption>{tag}{}</caption>\n", escape(&self.caption));
        out.push_str("<thead><tr>");
        for c in 0..self.columns() {
            let _ = write!(out, "<th scope=\"col\"{}>{}</th>", class(c), escape(self.heading(c)));
        }
        out.push_str("</tr></thead>\n<tbody>\n");
        for row in &self.rows {
            out.push_str(if row.emphasised { "<tr class=\"strong\">" } else { "<tr>" });
            for c in 0..self.columns() {
                let inner = match Self::cell(row, c).value() {
                    Ok(text) => escape(&text),
                    Err(why) => format!("<span class=\"missing\">{}</span>", escape(&absent(&why))),
                };
                let _ = match c {
                    0 => write!(out, "<th scope=\"row\"{}>{inner}</th>", class(c)),
                    _ => write!(out, "<td{}>{inner}</td>", class(c)),
                };
            }
            out.push_str("</tr>\n");
        }
        out.push_str("</tbody></table></div>\n");
        for note in &self.notes {
            let _ = writeln!(out, "<p class=\"note\">{}</p>", escape(note));
        }
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> ReportTable {
        ReportTable::new("Errors", ["Model", "MAE", "Patients"])
            .row([Cell::text("network"), Cell::interval(7.25, 6.0, 8.5, 1), Cell::count(120)])
            .emphasised_row([Cell::text("median"), Cell::number(-0.001, 1), Cell::missing("no follow-up")])
            .note("Months.")
    }

    #[test]
    fn text_is_aligned() {
        let rule = "-".repeat(9 + 2 + 16 + 2 + 18);
        let expected = [
            "Errors",
            "  Model                 MAE            Patients",
            &rule,
            "  network  7.2 (6.0 to 8.5)                 120",
            "* median                0.0  n/a (no follow-up)",
            "Months.",
            "",
        ];
        assert_eq!(table().to_text(), expected.join("\n"));
    }

    #[test]
    fn markdown_escapes_pipes_and_marks_emphasis() {
        let text = ReportTable::new("a", ["x|y"]).emphasised_row(["<b>"]).to_markdown();
        assert_eq!(text, "a\n\n| x\\|y |\n|---|\n| **&lt;b&gt;** |\n");
    }

    #[test]
    fn html_has_scopes_alignment_and_reasons() {
        let html = table().to_html("");
        for part in [
            "<th scope=\"col\">Model</th><th scope=\"col\" class=\"n\">MAE</th>",
            "<th scope=\"row\">network</th><td class=\"n\">7.2 (6.0 to 8.5)</td>",
            "<tr class=\"strong\"><th scope=\"row\">median</th><td class=\"n\">0.0</td>",
            "n/a (no follow-up)",
            "<p class=\"note\">Months.</p>",
        ] {
            assert!(html.contains(part), "{part} is not in\n{html}");
        }
    }

    #[test]
    fn values_that_are_not_finite_are_missing() {
        let text = ReportTable::new("t", ["a"])
            .row([Cell::number(f64::NAN, 2)])
            .row([Cell::p_value(f64::INFINITY)])
            .row([Cell::interval(0.5, f64::NAN, 1.0, 2)])
            .row([Cell::p_value(0.0)])
            .to_text();
        for part in ["n/a (not a number)", "n/a (infinite)", "0.50 (no interval)", "< 0.001"] {
            assert!(text.contains(part), "{text}");
        }
    }

    #[test]
    fn what_cannot_have_a_value_is_a_dash() {
        let table = ReportTable::new("t", ["a", "b"]).row([Cell::text("x"), Cell::dash()]);
        assert!(table.to_text().contains("\nx  –\n"), "{:?}", table.to_text());
        assert!(table.to_html("").contains("<span class=\"missing\">–</span>"));
    }

    #[test]
    fn ragged_rows_lose_nothing() {
        let text = ReportTable::new("t", ["a", "b"]).row(["1"]).row(["2", "3", "4"]).to_text();
        assert!(text.contains("n/a (not given)") && text.contains('4'), "{text}");
        assert_eq!(ReportTable::new("t", Vec::<String>::new()).to_text(), "t\n\n\n");
    }

    #[test]
    fn control_characters_cannot_reach_the_terminal() {
        assert!(!ReportTable::new("t\u{1b}[2J", ["a"]).row(["x\ny\u{1b}"]).to_text().contains('\u{1b}'));
    }
}
