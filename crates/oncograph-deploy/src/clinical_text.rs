//! The clinical report for people.

use crate::clinical_report::{ClinicalReport, Direction, Prediction};
use oncograph_report::{Cell, ReportTable};
use std::fmt::Write;

impl ClinicalReport {
    /// The report as Markdown.
    pub fn to_markdown(&self) -> String {
        let mut out = String::new();
        let mark = if self.phantom { "PHANTOM DATA: " } else { "" };
        // Writing into a string cannot fail.
        let _ = writeln!(out, "# {mark}Prediction for {}\n", plain(&self.patient));
        if self.phantom {
            let _ = writeln!(
                out,
                "**PHANTOM DATA: the models were trained on generated patients, not people. The numbers say nothing about a \
                 patient.**\n"
            );
        }
        let _ = writeln!(out, "**{}**\n", self.notice);
        let m = &self.model;
        let _ = writeln!(out, "Model: {}, {}, `{}`\n", plain(&m.name), plain(&m.version), m.hash);
        for prediction in &self.predictions {
            section(&mut out, prediction);
        }
        let table = ReportTable::new("Data of the patient", ["Table", "Values", "Of"]);
        let table = self.data.iter().fold(table, |t, d| {
            let observed = match d.observed {
                0 => Cell::missing("not there"),
                n => Cell::count(n),
            };
            t.row([Cell::text(d.table.clone()), observed, Cell::count(d.columns)])
        });
        out += &part("Data", &table);
        if !self.modalities.is_empty() {
            out += &part("Modalities", &self.modality_table());
        }
        if !self.features.is_empty() {
            let caption = format!("Against a patient with average values; {}", self.explained);
            let table = ReportTable::new(caption, ["Table", "Feature", "z-score", "Attribution", "Effect"]);
            let table = self.features.iter().fold(table, |t, f| {
                let effect = match f.direction {
                    Direction::Raises => "raises",
                    Direction::Lowers => "lowers",
                };
                t.row([
                    Cell::text(f.table.clone()),
                    Cell::text(f.name.clone()),
                    Cell::number(f.z_score, 2),
                    Cell::number(f.attribution, 4),
                    Cell::text(effect),
                ])
            });
            out += &part("Features that the prediction rests on", &table);
        }
        for note in &self.notes {
            let _ = writeln!(out, "- {}", plain(note));
        }
        out
    }

    fn modality_table(&self) -> ReportTable {
        let caption = "Share of attention; the network looked there, which is not what it needed";
        self.modalities.iter().fold(ReportTable::new(caption, ["Modality", "Share"]), |t, m| {
            t.row([Cell::text(m.name.clone()), Cell::number_or(m.share, 3, "not there")])
        })
    }
}

fn section(out: &mut String, prediction: &Prediction) {
    match prediction {
        Prediction::Survival { task, risk, percentile, survival } => {
            let _ = writeln!(
                out,
                "## {}\n\nRisk {risk:.3}, larger than that of {:.0} % of the reference patients.\n",
                plain(task),
                100.0 * percentile
            );
            if !survival.is_empty() {
                let table = survival.iter().fold(
                    ReportTable::new("Without the event", ["Years", "Probability"]),
                    |t, s| {
                        let probability = match s.interval {
                            Some([low, high]) => Cell::interval(s.probability, low, high, 3),
                            None => Cell::number(s.probability, 3),
                        };
                        t.row([Cell::number(s.years, 1), probability])
                    },
                );
                let _ = writeln!(out, "{}", table.to_markdown());
            }
        }
        Prediction::Classes { task, classes: list } | Prediction::Events { task, events: list } => {
            let table =
                list.iter().fold(ReportTable::new(task.clone(), ["Outcome", "Probability"]), |t, p| {
                    t.row([Cell::text(p.name.clone()), Cell::number(p.probability, 3)])
                });
            *out += &part(task, &table);
            if let Some(entropy) = prediction.entropy() {
                let _ = writeln!(
                    out,
                    "Entropy {entropy:.2}: 0 where one outcome is certain, 1 where all are equally likely.\n"
                );
            }
        }
        Prediction::NotLearnt { task, reason } => {
            let _ = writeln!(out, "## {}\n\n{}\n", plain(task), plain(reason));
        }
    }
}

fn part(heading: &str, table: &ReportTable) -> String {
    format!("## {}\n\n{}\n", plain(heading), table.to_markdown())
}

/// The text on one line, with its markup escaped.
fn plain(text: &str) -> String {
    let mut out = String::new();
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '_' | '[' | ']' | '<' | '>' | '#' | '|' => {
                out.push('\\');
                out.push(c);
            }
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::clinical_report::{ClinicalReport, ModelIdentity, Prediction, SurvivalAt};

    #[test]
    fn a_model_without_attention_has_no_table_of_it_and_a_curve_is_of_any_event() {
        let model = ModelIdentity { name: "net".into(), version: "1".into(), hash: String::new() };
        let survival = vec![SurvivalAt { years: 1.0, probability: 0.9, interval: None }];
        let report = ClinicalReport::new("P-1", model).prediction(Prediction::Survival {
            task: "recurrence".into(),
            risk: 0.1,
            percentile: 0.5,
            survival,
        });
        let text = report.to_markdown();
        assert!(text.contains("Without the event") && !text.contains("Modalities"), "{text}");
        assert!(report.modality("genomics", None).to_markdown().contains("## Modalities"));
    }
}
