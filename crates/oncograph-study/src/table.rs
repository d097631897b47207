use crate::{Estimate, Metric, ScoreRow, Scores};
use oncograph_report::{Cell, ReportTable};

/// How the scores of one task are shown.
#[derive(Debug, Clone, PartialEq)]
pub struct ScoreTable {
    caption: String,
    metrics: Option<Vec<Metric>>,
    emphasised: String,
    digits: usize,
}

impl ScoreTable {
    /// All metrics of a task under a caption, the row called `constant` emphasised.
    pub fn new(caption: impl Into<String>) -> Self {
        ScoreTable { caption: caption.into(), metrics: None, emphasised: "constant".into(), digits: 3 }
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
        let lead = rows.iter().any(|r| r.behind.is_some());
        let header = std::iter::once("Model".to_string())
            .chain(metrics.iter().map(|m| m.name()))
            .chain(lead.then(|| format!("{} ahead by", scores.reference)));
        let cell = |e: Option<Estimate>, why: &str| match e {
            Some(e) => Cell::interval(e.value, e.low, e.high, self.digits),
            None => Cell::missing(why),
        };
        rows.iter().fold(ReportTable::new(self.caption.clone(), header), |table, row| {
            let mut cells = vec![Cell::text(row.model.clone())];
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
