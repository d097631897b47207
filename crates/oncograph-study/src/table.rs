use crate::{Estimate, Metric, ScoreRow, Scores};
use oncograph_report::{Cell, ReportTable};

/// How the scores of one task are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreTable {
    caption: String,
    metrics: Option<Vec<Metric>>,
    emphasised: String,
    parameters: bool,
    digits: usize,
    lead: bool,
    names: Vec<(String, String)>,
}

impl ScoreTable {
    /// All metrics of a task under a caption, the row called `constant` emphasised.
    pub fn new(caption: impl Into<String>) -> Self {
        ScoreTable {
            caption: caption.into(),
            metrics: None,
            emphasised: "constant".into(),
            parameters: false,
            digits: 3,
            lead: true,
            names: vec![],
        }
    }

    /// Sets which metrics are shown, and in which order.
    pub fn metrics(mut self, metrics: impl IntoIterator<Item = Metric>) -> Self {
        self.metrics = Some(metrics.into_iter().collect());
        self
    }

    /// Sets the model whose row is emphasised.
    pub fn emphasise(mut self, model: impl Into<String>) -> Self {
        self.emphasised = model.into();
        self
    }

    /// Adds a column with the number of trained parameters.
    pub fn parameters(mut self) -> Self {
        self.parameters = true;
        self
    }

    /// Leaves out how far the reference model is ahead.
    pub fn without_lead(mut self) -> Self {
        self.lead = false;
        self
    }

    /// Sets what models are called on the page, as pairs of their name in the study and that on the page; others keep theirs.
    pub fn names<'a>(mut self, names: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        self.names = names.into_iter().map(|(model, name)| (model.into(), name.into())).collect();
        self
    }

    fn name(&self, model: &str) -> String {
        let named = self.names.iter().find(|(own, _)| own == model);
        named.map_or_else(|| model.to_string(), |(_, name)| name.clone())
    }

    /// The table of a task.
    pub fn of(&self, scores: &Scores, task: &str) -> ReportTable {
        let rows: Vec<&ScoreRow> = scores.of_task(task).collect();
        let metrics = self.metrics.clone().unwrap_or_else(|| {
            let mut all: Vec<Metric> = vec![];
            for (metric, _) in rows.iter().flat_map(|r| &r.metrics) {
                if !all.contains(metric) {
                    all.push(*metric);
                }
            }
            all
        });
        let lead = self.lead && rows.iter().any(|r| r.behind.is_some());
        let header = std::iter::once("Model".to_string())
            .chain(self.parameters.then(|| "Parameters".to_string()))
            .chain(metrics.iter().map(|m| m.name()))
            .chain(lead.then(|| format!("{} ahead by", self.name(&scores.reference))));
        let cell = |e: Option<Estimate>, why: &str| match e {
            Some(e) => e.cell(self.digits),
            None => Cell::missing(why),
        };
        let empty = ReportTable::new(self.caption.clone(), header);
        let table = rows.iter().fold(empty, |table, row| {
            let mut cells = vec![Cell::text(self.name(&row.model))];
            if self.parameters {
                cells.push(match row.parameters {
                    0 => Cell::missing("no network"),
                    n => Cell::count(n),
                });
            }
            // What a model does not give is not the same as what has no value on these rows.
            let why = |m| if row.metrics.iter().any(|own| own.0 == m) { "undefined" } else { "" };
            cells.extend(metrics.iter().map(|m| cell(row.metric(*m), why(*m))));
            if lead {
                cells.push(cell(row.behind, ""));
            }
            match row.model == self.emphasised {
                true => table.emphasised_row(cells),
                false => table.row(cells),
            }
        });
        let shown = |row: &&ScoreRow| {
            let lead = row.behind.filter(|_| lead);
            metrics.iter().filter_map(|m| row.metric(*m)).chain(lead).any(|e| e.interval().is_none())
        };
        let alone = rows.iter().any(shown).then(|| NO_INTERVAL.to_string());
        patients(&rows).into_iter().chain(alone).fold(table, |table, note| table.note(note))
    }
}

/// What a number without an interval means.
const NO_INTERVAL: &str =
    "No interval stands where every resample of the patients gives the same number; that is no certainty.";

/// The sentence that names who is scored.
fn patients(rows: &[&ScoreRow]) -> Option<String> {
    let range = |of: &dyn Fn(&ScoreRow) -> Option<usize>| {
        let all: Vec<usize> = rows.iter().filter_map(|row| of(row)).collect();
        let (low, high) = (all.iter().min()?, all.iter().max()?);
        Some(if low == high { low.to_string() } else { format!("{low} to {high}") })
    };
    let events = match range(&|row| row.events) {
        Some(events) => format!(", {events} of them with the event"),
        None => String::new(),
    };
    let rows = range(&|row| Some(row.rows))?;
    Some(format!("Over {rows} rows with a known outcome and a prediction in every repetition{events}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_a_column_on_request() {
        let row = |model: &str, parameters| ScoreRow {
            model: model.into(),
            task: "survival".into(),
            rows: 3,
            parameters,
            events: Some(2),
            metrics: vec![(Metric::CIndex, None)],
            behind: None,
            over_repeats: vec![],
            folds: vec![],
        };
        let scores = Scores { rows: vec![row("net", 1234), row("constant", 0)], reference: "net".into() };
        let plain = ScoreTable::new("c").of(&scores, "survival").to_text();
        let counted = ScoreTable::new("c").parameters().of(&scores, "survival").to_text();
        assert!(
            !plain.contains("1234") && counted.contains("1234") && counted.contains("no network"),
            "{counted}"
        );
        assert!(plain.contains("Over 3 rows with a known outcome"), "{plain}");
        assert!(plain.contains("2 of them with the event"), "{plain}");
        let named = ScoreTable::new("c").names([("net", "the network")]).of(&scores, "survival").to_text();
        assert!(named.contains("the network") && named.contains("constant"), "{named}");
        let other = ScoreTable::new("c").metrics([Metric::BrierAt3Years]).of(&scores, "survival").to_text();
        assert!(plain.contains("undefined") && other.contains("–"), "{other}");
    }
}
