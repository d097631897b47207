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
            .chain(lead.then(|| format!("{} ahead by", scores.reference)));
        let cell = |e: Option<Estimate>, why: &str| match e {
            Some(e) => Cell::interval(e.value, e.low, e.high, self.digits),
            None => Cell::missing(why),
        };
        rows.iter().fold(ReportTable::new(self.caption.clone(), header), |table, row| {
            let mut cells = vec![Cell::text(row.model.clone())];
            if self.parameters {
                cells.push(match row.parameters {
                    0 => Cell::missing("no network"),
                    n => Cell::count(n),
                });
            }
            cells.extend(metrics.iter().map(|m| cell(row.metric(*m), "undefined")));
            if lead {
                cells.push(cell(row.behind, "-"));
            }
            match row.model == self.emphasised {
                true => table.emphasised_row(cells),
                false => table.row(cells),
            }
        })
    }
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
    }
}
