use crate::error::Result;
use crate::figure::Figure;
use crate::model_card::ModelCard;
use crate::table::ReportTable;
use crate::text::escape;
use oncograph_core::write_file;
use std::fmt::{Display, Write};
use std::path::Path;

/// Nothing may be loaded from anywhere; styles stand in the page and pictures are data URIs.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; img-src data:";

/// The sentence at the end of every report.
pub const RESEARCH_ONLY: &str = "For research only. Not a medical device; not for diagnosis or treatment.";

/// What a page is marked with whose models were trained on generated patients.
const PHANTOM_MODELS: &str = "MODEL TRAINED ON PHANTOM DATA";

/// A message at the top of a report, repeated at its end.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum Banner {
    /// The data are simulated. Also marks the browser's title and every table and figure.
    Phantom(String),
    /// The data are real, and the models that speak of them were trained on simulated ones: their numbers mean nothing. Also marks the
    /// browser's title and every table and figure, without calling the data simulated.
    PhantomModels(String),
    /// Any other notice at the top of the report.
    Notice(String),
}

impl Banner {
    pub(crate) fn to_html(&self) -> String {
        match self {
            Self::Phantom(text) => format!(
                "<div class=\"banner phantom\" role=\"note\"><p><strong>PHANTOM DATA: NOT PATIENTS</strong>{}</p></div>\n",
                escape(text)
            ),
            Self::PhantomModels(text) => format!(
                "<div class=\"banner phantom\" role=\"note\"><p><strong>{PHANTOM_MODELS}</strong>{}</p></div>\n",
                escape(text)
            ),
            Self::Notice(text) => {
                format!("<div class=\"banner notice\" role=\"note\"><p>{}</p></div>\n", escape(text))
            }
        }
    }
}

#[derive(Debug, Clone, PartialEq)]
enum Block {
    Paragraph(String),
    Absent { what: String, why: String },
    Table(ReportTable),
    Figure(Box<Figure>),
    Columns(Vec<Block>),
}

impl Block {
    fn write_html(&self, out: &mut String, tag: &str) {
        match self {
            Block::Paragraph(text) => {
                let _ = writeln!(out, "<p>{}</p>", escape(text));
            }
            Block::Absent { what, why } => {
                let (what, why) = (escape(what), escape(why));
                let _ = writeln!(out, "<p class=\"missing\">{what}: not shown ({why}).</p>");
            }
            Block::Table(table) => out.push_str(&table.to_html(tag)),
            Block::Figure(figure) => out.push_str(&figure.to_html(tag)),
            Block::Columns(blocks) => {
                out.push_str("<div class=\"columns\">\n");
                for block in blocks {
                    out.push_str("<div>\n");
                    block.write_html(out, tag);
                    out.push_str("</div>\n");
                }
                out.push_str("</div>\n");
            }
        }
    }
}

/// A part of a [`Report`] under one heading.
#[derive(Debug, Clone, PartialEq)]
pub struct Section {
    heading: String,
    blocks: Vec<Block>,
}

impl Section {
    /// Adds plain text; markup in it is shown, not obeyed.
    pub fn paragraph(&mut self, text: impl Into<String>) -> &mut Self {
        self.push(Block::Paragraph(text.into()))
    }

    /// Adds a table.
    pub fn table(&mut self, table: ReportTable) -> &mut Self {
        self.push(Block::Table(table))
    }

    /// Adds a figure.
    pub fn figure(&mut self, figure: Figure) -> &mut Self {
        self.push(Block::Figure(Box::new(figure)))
    }

    /// Adds the figure, or in its place a line with the reason why `what` cannot be shown.
    pub fn figure_or_reason<E: Display>(&mut self, what: &str, figure: Result<Figure, E>) -> &mut Self {
        match figure {
            Ok(figure) => self.figure(figure),
            Err(why) => self.push(Block::Absent { what: what.to_owned(), why: why.to_string() }),
        }
    }

    /// Adds what `fill` writes in two columns, row by row; in one on a narrow page. For figures and small tables.
    pub fn columns(&mut self, fill: impl FnOnce(&mut Section)) -> &mut Self {
        let mut inner = Section { heading: String::new(), blocks: Vec::new() };
        fill(&mut inner);
        self.push(Block::Columns(inner.blocks))
    }

    fn push(&mut self, block: Block) -> &mut Self {
        self.blocks.push(block);
        self
    }

    fn to_html(&self, tag: &str) -> String {
        let mut out = format!("<section>\n<h2>{}</h2>\n", escape(&self.heading));
        self.blocks.iter().for_each(|block| block.write_html(&mut out, tag));
        out + "</section>\n"
    }
}

/// A report as one HTML file that needs no network, no script and no other file.
///
/// The page forbids every request by its content security policy, so that it can be opened from an archive or
/// an isolated workstation. The same input gives the same bytes: a date appears only if it is among the facts.
///
/// # Example
/// ```
/// use oncograph_report::{Banner, Cell, Report, ReportTable, chart};
/// let low = chart::SurvivalGroup::new("low risk", &[12.0, 20.0, 31.0], &[false, true, false]);
/// let high = chart::SurvivalGroup::new("high risk", &[3.0, 8.0, 11.0], &[true, true, true]);
/// let report = Report::new("Liver metastases: survival")
///     .banner(Banner::Phantom("Simulated volumes and outcomes.".into()))
///     .facts(&[("Seed", "42".to_owned()), ("Data", "phantom cohort, 6 patients".to_owned())])
///     .try_section("Performance", |s| {
///         s.table(
///             ReportTable::new("Test patients", ["Model", "C-index"])
///                 .row([Cell::text("network"), Cell::interval(0.71, 0.63, 0.78, 2)])
///                 .emphasised_row([Cell::text("no covariates"), Cell::number(0.5, 2)]),
///         );
///         s.figure(chart::kaplan_meier(&[low, high], "months", 0.95)?.titled("Survival by risk group"));
///         Ok::<(), oncograph_report::Error>(())
///     })?;
/// let folder = tempfile::tempdir().unwrap();
/// report.write(folder.path().join("report.html"))?;
/// # Ok::<(), oncograph_report::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    title: String,
    banners: Vec<Banner>,
    facts: Vec<(String, String)>,
    sections: Vec<Section>,
}

impl Report {
    /// An empty report.
    pub fn new(title: impl Into<String>) -> Self {
        Self { title: title.into(), banners: Vec::new(), facts: Vec::new(), sections: Vec::new() }
    }

    /// Adds a banner.
    pub fn banner(mut self, banner: Banner) -> Self {
        self.banners.push(banner);
        self
    }

    /// Adds facts to the list under the title: seed, versions, command, data source, date.
    pub fn facts(mut self, facts: &[(&str, String)]) -> Self {
        self.facts.extend(facts.iter().map(|(name, value)| (name.to_string(), value.clone())));
        self
    }

    /// Adds a section that `fill` writes.
    pub fn section(mut self, heading: impl Into<String>, fill: impl FnOnce(&mut Section)) -> Self {
        let mut section = Section { heading: heading.into(), blocks: Vec::new() };
        fill(&mut section);
        self.sections.push(section);
        self
    }

    /// Adds a section that `fill` writes or fails to write.
    ///
    /// # Errors
    /// The error of `fill`.
    pub fn try_section<E>(
        self,
        heading: impl Into<String>,
        fill: impl FnOnce(&mut Section) -> std::result::Result<(), E>,
    ) -> std::result::Result<Self, E> {
        let mut outcome = Ok(());
        let report = self.section(heading, |s| outcome = fill(s));
        outcome.map(|()| report)
    }

    /// Adds a section with the model card.
    pub fn model_card(self, card: &ModelCard) -> Self {
        self.section(format!("Model card: {}", card.name()), |s| {
            s.table(card.to_table());
        })
    }

    /// What the page is marked with.
    fn mark(&self) -> Option<&'static str> {
        let is = |of: fn(&Banner) -> bool| self.banners.iter().any(of);
        match (is(|b| matches!(b, Banner::Phantom(_))), is(|b| matches!(b, Banner::PhantomModels(_)))) {
            (true, _) => Some("PHANTOM DATA"),
            (false, true) => Some(PHANTOM_MODELS),
            (false, false) => None,
        }
    }

    /// The whole page.
    pub fn to_html(&self) -> String {
        let mark = self.mark();
        let prefix = mark.map(|mark| format!("{mark}: ")).unwrap_or_default();
        let tag = mark.map(|mark| format!("<span class=\"tag\">{mark}</span>")).unwrap_or_default();
        let title = escape(&self.title);
        let banners: String = self.banners.iter().map(Banner::to_html).collect();
        let mut out = format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <meta name=\"generator\" content=\"oncograph-report {}\">\n\
             <title>{prefix}{title}</title>\n<style>\n{}</style>\n</head>\n<body>\n{banners}",
            env!("CARGO_PKG_VERSION"),
            include_str!("report.css"),
        );
        let _ = writeln!(out, "<header>\n<h1>{title}</h1>");
        if !self.facts.is_empty() {
            out.push_str("<dl class=\"facts\">\n");
            for (name, value) in &self.facts {
                let _ = writeln!(out, "<dt>{}</dt><dd>{}</dd>", escape(name), escape(value));
            }
            out.push_str("</dl>\n");
        }
        out.push_str("</header>\n<main>\n");
        self.sections.iter().for_each(|s| out.push_str(&s.to_html(&tag)));
        let _ = write!(
            out,
            "</main>\n<footer>\n{banners}<p>{RESEARCH_ONLY}</p>\n<p>Made with oncograph-report {}.</p>\n\
             </footer>\n</body>\n</html>\n",
            env!("CARGO_PKG_VERSION"),
        );
        out
    }

    /// Writes the page to `path`, whole or not at all, replacing a file that is there.
    ///
    /// # Errors
    /// The folder does not exist or cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(write_file(path, self.to_html().as_bytes())?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Cell;
    use crate::chart::{SurvivalGroup, kaplan_meier};

    fn hostile() -> Report {
        let bad = "<script>alert('x')</script>\" onload=\"y";
        let group = SurvivalGroup::new(bad, &[1.0, 2.0], &[true, false]);
        Report::new(bad)
            .banner(Banner::Phantom(bad.into()))
            .banner(Banner::Notice(bad.into()))
            .facts(&[(bad, bad.to_owned())])
            .section(bad, |s| {
                s.paragraph(bad);
                s.table(
                    ReportTable::new(bad, [bad]).row([Cell::text(bad)]).row([Cell::missing(bad)]).note(bad),
                );
                s.figure(kaplan_meier(&[group], bad, 0.95).unwrap().titled(bad).with_remark(bad));
                s.figure_or_reason(bad, Err(bad));
            })
            .model_card(&ModelCard::new(bad, bad))
    }

    #[test]
    fn no_input_becomes_markup() {
        let html = hostile().to_html();
        assert!(!html.contains("<script"), "a script element got through");
        assert!(!html.contains("\" onload"), "a quote got through");
        assert!(html.contains("&lt;script&gt;alert(&#39;x&#39;)"));
    }

    #[test]
    fn the_policy_forbids_requests_and_there_are_none() {
        let html = hostile().to_html();
        let policy = "<meta http-equiv=\"Content-Security-Policy\" \
                      content=\"default-src 'none'; style-src 'unsafe-inline'; img-src data:\">";
        assert!(html.contains(policy));
        for forbidden in ["http://", "https://", "url(", "@import", "<link", "<script", "<iframe", "href="] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn an_address_in_the_text_stays_text() {
        let html = Report::new("T").facts(&[("Source", "https://example.org/a?b&c".into())]).to_html();
        assert!(html.contains("<dd>https://example.org/a?b&amp;c</dd>"));
        assert_eq!(html.matches("http").count(), 2, "the address, and http-equiv of the policy");
    }

    #[test]
    fn phantom_data_are_marked_everywhere() {
        let html = hostile().to_html();
        assert!(html.contains("<title>PHANTOM DATA: "));
        assert_eq!(html.matches("PHANTOM DATA: NOT PATIENTS").count(), 2, "top and footer");
        let captions = html.matches("<caption>").count() + html.matches("<figcaption>").count();
        assert_eq!(html.matches("<span class=\"tag\">PHANTOM DATA</span>").count(), captions);
        assert!(!Report::new("real").section("s", |_| ()).to_html().contains("PHANTOM"));
    }

    #[test]
    fn published_figures_are_not_called_phantom() {
        let table = ReportTable::new("The paper's table", ["Model", "AUC"]).published();
        let page = Report::new("T").banner(Banner::Phantom("x".into())).section("s", |s| {
            s.table(table);
        });
        assert!(page.to_html().contains("<caption>The paper"));
    }

    #[test]
    fn columns_hold_each_block_in_a_cell_of_its_own() {
        let page = Report::new("T").section("s", |s| {
            s.paragraph("wide").columns(|s| {
                s.paragraph("left").figure_or_reason("Right", Err("no event"));
            });
        });
        let cells = "<p>wide</p>\n<div class=\"columns\">\n<div>\n<p>left</p>\n</div>\n<div>\n<p class=\"missing\">Right";
        assert!(page.to_html().contains(cells));
    }

    #[test]
    fn the_same_input_gives_the_same_bytes() {
        assert_eq!(hostile().to_html(), hostile().to_html());
    }

    #[test]
    fn the_structure_is_complete() {
        let report = Report::new("T").facts(&[("Seed", "7".into())]).section("Results", |s| {
            s.paragraph("Two groups.").figure_or_reason("Calibration", Err("no event"));
        });
        let html = report.to_html();
        for part in [
            "<html lang=\"en\">",
            "<h1>T</h1>",
            "<dt>Seed</dt><dd>7</dd>",
            "<h2>Results</h2>\n<p>Two groups.</p>",
            "<p class=\"missing\">Calibration: not shown (no event).</p>",
            RESEARCH_ONLY,
        ] {
            assert!(html.contains(part), "{part}");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        report.write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), html);
    }

    #[test]
    fn a_page_replaces_the_old_one_and_leaves_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("report.html");
        Report::new("old").write(&path).unwrap();
        Report::new("new").write(&path).unwrap();
        assert_eq!(std::fs::read_to_string(&path).unwrap(), Report::new("new").to_html());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
        let absent = folder.path().join("absent").join("report.html");
        let error = Report::new("new").write(absent).unwrap_err().to_string();
        assert!(error.starts_with("write ") && error.contains("report.html"), "{error}");
    }

    #[test]
    fn a_failed_section_gives_its_error() {
        assert_eq!(Report::new("T").try_section("s", |_| Err("why")).unwrap_err(), "why");
    }
}
