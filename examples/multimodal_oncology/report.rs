//! The report of a run, as one HTML file.

use crate::settings::Settings;
use crate::{NAME, Result, explanation};
use oncograph_datasets::omics::TableAccount;
use oncograph_metrics::MulticlassConfusion;
use oncograph_omics::{GridRow, OmicsExtras, OmicsFindings, OmicsStudyCohort, OmicsVariant};
use oncograph_report::chart::{Bar, bars};
use oncograph_report::{Banner, Cell, ModelCard, RESEARCH_ONLY, Report, ReportTable};
use oncograph_study::cli::command_line;
use oncograph_study::{
    Answer, Cohort, Metric, Plan, ScoreTable, Scores, StudyResults, Target, Task, learning_curve,
    risk_tertiles,
};
use std::cmp::Ordering;
use std::path::Path;

/// Everything that the page shows.
pub struct Page<'a> {
    pub settings: &'a Settings,
    pub cohort: &'a OmicsStudyCohort,
    pub results: &'a StudyResults,
    pub scores: &'a Scores,
    pub grid: Vec<GridRow>,
    pub findings: OmicsFindings,
}

impl Page<'_> {
    pub fn write(&self, path: &Path) -> Result<()> {
        let mut report = self.head();
        report = report.section("Results", |s| {
            self.tables().into_iter().for_each(|table| {
                s.table(table);
            });
            s.paragraph(self.verdict());
            s.table(published());
        });
        for task in self.cohort.tasks() {
            report = self.task(report, task);
        }
        report = self.importance(report);
        report = explanation::section(report, self.cohort, &self.findings);
        report = self.federation(report)?;
        let sizes = self.sizes()?;
        report = report.section("Training", |s| {
            let network = OmicsVariant::Full.name();
            s.figure_or_reason("Learning curves", learning_curve(self.results, &network));
            s.table(sizes);
        });
        Ok(report.model_card(&self.model_card()).write(path)?)
    }

    /// The tables on the terminal.
    pub fn print(&self) {
        for table in self.tables() {
            println!("{}", table.to_text());
        }
        if self.cohort.dataset().phantom {
            println!("PHANTOM data: generated patients; the numbers say nothing about real ones.");
        }
        println!("{RESEARCH_ONLY}");
    }

    fn head(&self) -> Report {
        let dataset = self.cohort.dataset();
        let mut report = Report::new(format!("Multi-modal graph network: {}", dataset.name));
        if dataset.phantom {
            report = report.banner(Banner::Phantom(
                "Every value and outcome here was generated. The numbers say whether the program works, nothing about \
                 patients."
                    .into(),
            ));
        }
        let settings = self.settings;
        report = report.banner(Banner::Notice(RESEARCH_ONLY.into())).facts(&[
            ("Data", dataset.name.clone()),
            ("Patients", self.cohort.ids().len().to_string()),
            ("Command", command_line(NAME)),
            ("Seed", settings.seed.to_string()),
            ("Preset", format!("{:?}", settings.preset).to_lowercase()),
            ("Version", format!("oncograph {}", settings.version)),
            ("Cross-validation", plan(&settings.plan)),
        ]);
        report.section("Data", |s| {
            s.paragraph(
                "Columns are selected by variance, imputed and scaled on the training patients of each fold alone. A \
                 patient that lacks a table lacks its nodes: nothing is filled in.",
            );
            for note in &dataset.cohort.notes {
                s.paragraph(note.clone());
            }
            let table = ReportTable::new("Tables", ["Table", "Columns", "Patients"]);
            s.table(dataset.cohort.tables.iter().fold(table, |t, (name, (features, rows))| {
                let here = rows.iter().flatten().count();
                t.row([Cell::text(name.clone()), Cell::count(features.len()), Cell::count(here)])
            }));
            s.table(self.known());
            if !dataset.cohort.accounts.is_empty() {
                s.table(accounts(&dataset.cohort.accounts));
            }
        })
    }

    /// Of how many patients the outcome of each task is known.
    fn known(&self) -> ReportTable {
        let table = ReportTable::new("Outcomes", ["Task", "Known of", "Patients"]);
        self.cohort.tasks().iter().fold(table, |t, task| {
            let all = task.target.len();
            let known = (0..all).filter(|p| task.target.known(*p)).count();
            t.row([Cell::text(task.name.clone()), Cell::count(known), Cell::count(all)])
        })
    }

    /// What each trained model costs.
    fn sizes(&self) -> Result<ReportTable> {
        let header = ["Model", "Parameters", "Operations (millions)"];
        let caption = "Trained parameters, and floating point operations of the forward pass of one patient who has every table: \
                       products in linear layers, attention and messages";
        let mut table = ReportTable::new(caption, header);
        for model in self.results.models() {
            let Some(job) = self.results.of_model(model).next() else { continue };
            let flops = OmicsExtras::of(job)?.flops;
            if flops > 0 {
                let millions = Cell::number(flops as f64 / 1e6, 2);
                table = table.row([Cell::text(model.to_string()), Cell::count(job.parameters), millions]);
            }
        }
        Ok(table)
    }

    /// One table per task, the constant predictor emphasised.
    fn tables(&self) -> Vec<ReportTable> {
        let kind = if self.cohort.dataset().phantom { "PHANTOM data; " } else { "" };
        let table = |task: &Task| {
            let rows = self.scores.of_task(&task.name).map(|r| r.rows).max().unwrap_or(0);
            let caption = format!(
                "{}: {kind}{rows} patients, out of fold; means over repetitions, each scored by itself, with 95 % \
                 intervals over patients and repetitions; patients of one fold are ranked with each other only",
                task.name
            );
            let table = ScoreTable::new(caption).parameters();
            match task.target {
                Target::Survival(_) => table.metrics([Metric::CIndex, Metric::AucAt3Years]),
                _ => table,
            }
            .of(self.scores, &task.name)
        };
        self.cohort.tasks().iter().map(table).collect()
    }

    /// The comparisons of the tables in sentences, whichever way they went.
    fn verdict(&self) -> String {
        let others = [
            OmicsVariant::ShuffledEdges.name(),
            OmicsVariant::LATE_FUSION.to_string(),
            OmicsVariant::AttentionFusion.name(),
            "Cox / logistic regression, ridge".to_string(),
            "random forest".to_string(),
        ];
        let mut sentences = vec![];
        for task in self.cohort.tasks() {
            for other in &others {
                let Some(row) = self.scores.row(other, &task.name) else { continue };
                let (Some(d), Some((metric, _))) = (row.behind, row.metrics.first()) else { continue };
                let word = match d.side_of(0.0) {
                    Some(Ordering::Greater) => "above",
                    Some(_) => "below",
                    None => "not distinguishable from",
                };
                sentences.push(format!(
                    "{}: the graph network's {} is {word} that of {other}; difference {d}.",
                    task.name,
                    metric.name(),
                ));
            }
        }
        sentences.join(" ")
    }

    /// Risk groups or the confusion matrix of a task.
    fn task(&self, report: Report, task: &Task) -> Report {
        let network = OmicsVariant::Full.name();
        match &task.target {
            Target::Survival(_) => report.section("Risk groups", |s| {
                let figure = risk_tertiles(self.results, self.cohort, &network, &task.name);
                s.figure_or_reason("Kaplan-Meier by risk tertile", figure);
            }),
            Target::Classes { names, classes } => match self.confusion(task, names, classes) {
                Some(table) => report.section(format!("Confusion: {}", task.name), |s| {
                    s.table(table);
                }),
                None => report,
            },
            Target::Labels { .. } => report,
        }
    }

    fn confusion(&self, task: &Task, names: &[String], truth: &[Option<usize>]) -> Option<ReportTable> {
        let held = self.results.held(&OmicsVariant::Full.name(), task);
        let (mut actual, mut called) = (vec![], vec![]);
        for (truth, held) in truth.iter().zip(held.first()?) {
            if let (Some(truth), Some(held)) = (truth, held)
                && let Answer::Probabilities(p) = &held.answer
            {
                actual.push(*truth);
                called.push((0..names.len()).max_by(|&a, &b| p[a].total_cmp(&p[b]))?);
            }
        }
        MulticlassConfusion::new(&actual, &called, names.len()).ok()?;
        let header = std::iter::once("Truth".to_string()).chain(names.iter().map(|n| format!("called {n}")));
        let table = ReportTable::new(
            format!("{}: out-of-fold calls of the graph network (first repetition)", task.name),
            header,
        );
        Some((0..names.len()).fold(table, |t, a| {
            let count = |c: usize| actual.iter().zip(&called).filter(|(x, y)| **x == a && **y == c).count();
            let cells = (0..names.len()).map(|c| Cell::count(count(c)));
            t.row(std::iter::once(Cell::text(names[a].clone())).chain(cells).collect::<Vec<_>>())
        }))
    }

    fn importance(&self, report: Report) -> Report {
        report.section("Importance of modalities", |s| {
            let shares: Vec<Bar> =
                self.findings.importance.iter().map(|m| Bar::new(m.name.clone(), m.share)).collect();
            let figure = bars(&shares, "mean share of attention among patients that have the modality");
            s.figure_or_reason("Importance", figure);
            s.paragraph(
                "Attention shows what the network looked at, not what it needed; the grid below shows the latter.",
            );
            if !self.grid.is_empty() {
                s.table(self.grid_table());
            }
        })
    }

    fn grid_table(&self) -> ReportTable {
        let tasks = self.cohort.tasks().iter().map(|t| t.name.clone());
        let header = std::iter::once("Modalities that are there".to_string()).chain(tasks);
        let caption = "The one network, when modalities are missing: the first metric of each task";
        self.grid.iter().fold(ReportTable::new(caption, header), |t, row| {
            let cells = row.scores.iter().map(|(_, v)| Cell::number_or(*v, 3, "undefined"));
            t.row(std::iter::once(Cell::text(row.present.join(" + "))).chain(cells).collect::<Vec<_>>())
        })
    }

    /// What a federation cost, where there was one.
    fn federation(&self, report: Report) -> Result<Report> {
        let header = ["Model", "Rounds", "Best round", "MB sent"];
        let mut table = ReportTable::new("Per fold, means over folds", header);
        let mut any = false;
        for variant in [OmicsVariant::FedAvg, OmicsVariant::FedProx] {
            let name = variant.name();
            let jobs: Vec<_> = self.results.of_model(&name).collect();
            let sent =
                jobs.iter().map(|j| Ok(OmicsExtras::of(j)?.sent as f64)).collect::<Result<Vec<_>>>()?;
            if jobs.is_empty() {
                continue;
            }
            any = true;
            let mean = |values: Vec<f64>| values.iter().sum::<f64>() / jobs.len() as f64;
            table = table.row([
                Cell::text(name.clone()),
                Cell::number(mean(jobs.iter().map(|j| j.history.len() as f64).collect()), 1),
                Cell::number(mean(jobs.iter().map(|j| j.best_epoch as f64 + 1.0).collect()), 1),
                Cell::number(mean(sent) / 1e6, 1),
            ]);
        }
        if !any {
            return Ok(report);
        }
        Ok(report.section("Federation", |s| {
            s.paragraph(
                "Centres train in turns; only parameters move, there and back in each round, until the last. Simulated on \
                 one machine, without encryption or noise. The graph network of the tables above is the one with pooled \
                 patients.",
            );
            s.table(table);
        }))
    }

    pub fn model_card(&self) -> ModelCard {
        let dataset = self.cohort.dataset();
        let network = self.scores.rows.iter().filter(|r| r.model == OmicsVariant::Full.name());
        let performance = network.filter_map(|r| {
            let (metric, e) = r.metrics.first()?;
            let e = e.as_ref()?;
            Some(format!("{} {} {e}", r.task, metric.name()))
        });
        ModelCard::new("OmicsNet", format!("Research on multi-modal prognosis. {RESEARCH_ONLY}"))
            .version(format!("oncograph {}", self.settings.version))
            .data(if dataset.phantom { "Phantom cohort.".into() } else { dataset.name.clone() })
            .sample_size(format!("{} patients", self.cohort.ids().len()))
            .missing_data("Median of the training patients within a table; an absent table is absent nodes.")
            .method(format!("{:?}", self.settings.system.net))
            .validation(format!("{}; no external data.", plan(&self.settings.plan)))
            .performance(performance.collect::<Vec<_>>().join("; "))
            .limitations(
                "No external validation. Survival, classes and events are calibrated on the patients that chose the epoch, where \
                 enough are known; of a task that was not learnt nothing is predicted.",
            )
    }
}

/// How many rows of each table have a part, and why the others have none.
fn accounts(accounts: &[TableAccount]) -> ReportTable {
    let table =
        ReportTable::new("Rows that have a part", ["Table", "File", "Rows", "Used", "Left out, and why"]);
    accounts.iter().fold(table, |t, a| {
        let reason = |(reason, ids): &(String, Vec<String>)| {
            let shown = ids.iter().take(5).map(String::as_str).collect::<Vec<_>>().join(", ");
            let more = if ids.len() > 5 { ", ..." } else { "" };
            format!("{}: {reason} ({shown}{more})", ids.len())
        };
        let reasons = a.left_out.iter().map(reason).collect::<Vec<_>>().join("; ");
        t.row([
            Cell::text(a.table.clone()),
            Cell::text(a.file.clone()),
            Cell::count(a.rows),
            Cell::count(a.used),
            Cell::text(reasons),
        ])
    })
}

fn plan(plan: &Plan) -> String {
    match plan {
        Plan::CrossValidation { folds, repeats } => format!("{folds} folds, {repeats} repetition(s)"),
        Plan::LeaveOneCentreOut { least } => {
            format!("one centre held out at a time, those with fewer than {least} patients together")
        }
        Plan::Given(splits) => format!("{} given splits", splits.len()),
    }
}

/// Section 7's rows, which nobody can check.
fn published() -> ReportTable {
    let table = ReportTable::new(
        "The article's table, on 2,847 patients that are not released: reference only, not reproducible",
        ["Method", "C-index", "Response accuracy", "Toxicity AUROC"],
    )
    .published();
    let rows = [
        ("clinical only", 0.62, 0.713, 0.68),
        ("genomics only", 0.68, 0.741, 0.72),
        ("imaging only", 0.65, 0.698, 0.66),
        ("late fusion", 0.71, 0.765, 0.75),
        ("attention fusion", 0.74, 0.782, 0.78),
        ("full GNN", 0.79, 0.824, 0.83),
    ];
    rows.iter().fold(table, |t, (name, c, a, auc)| {
        t.row([Cell::text(*name), Cell::number(*c, 2), Cell::number(*a, 3), Cell::number(*auc, 2)])
    })
}
