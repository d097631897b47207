//! The report of a run, as one HTML file, and what is printed.

use crate::Shown;
use anyhow::Context;
use oncograph::brain::EmbeddingVector::{self, Both, Network, Tumour};
use oncograph::brain::{
    GliomaCohort, GliomaConfig, GliomaExplanations, GliomaStages, GliomaSubject, PopulationReport, StageCost,
    StageProgress, TractAttention, glioma_connectome, names, population_figure, slices_figure,
};
use oncograph::core::Split;
use oncograph::explain::kept_tracts;
use oncograph::imaging::nifti;
use oncograph::metrics::{Binning, RocCurve, calibration_curve};
use oncograph::report::chart::{LearningCurve, RocSeries, calibration, learning_curves, roc};
use oncograph::report::connectome::Connectome;
use oncograph::report::{Banner, Cell, Figure, ModelCard, RESEARCH_ONLY, Report, ReportTable, Section};
use oncograph::study::cli::ProgressBar;
use oncograph::study::cli::{command_line, progress_bar};
use oncograph::study::{Answer, Metric, ScoreTable, Scores, StudyResults};
use oncograph::train::{EpochRecord, RunDir};
use std::path::Path;
use std::sync::Mutex;

pub const TABLE_2: &str = "Table 2: node and edge vectors of the population graph, inductive";
pub const TABLE_3: &str = "Table 3: heads on the same embeddings";
pub const TABLE_4: &str = "Table 4: encoders, losses and attention, MLP head";
pub const SWITCHES: &str = "Switches, MLP head";
pub const PHANTOM: &str =
    "PHANTOM data: generated patients and a generated atlas; the numbers say nothing about real ones.";

/// The rows of table 3 in the order of the paper, then the baselines.
pub const HEADS: [&str; 5] = [names::INDUCTIVE, names::TRANSDUCTIVE, names::SHUFFLED, names::MLP, names::SVM];
const BASELINES: [&str; 2] = [names::AGE_AND_SEX, names::PREVALENCE];

/// The rows of table 2: node and edge vectors.
pub const PAIRS: [(&str, EmbeddingVector, EmbeddingVector); 5] = [
    ("u^T ; r(u^B)", Tumour, Network),
    ("u^B ; r(u^T)", Network, Tumour),
    ("<u^T,u^B> ; r(u^B)", Both, Network),
    ("<> ; r(u^T)", Both, Tumour),
    ("<> ; r(<>)", Both, Both),
];

const METRICS: [Metric; 7] = [
    Metric::Auroc,
    Metric::Auprc,
    Metric::Accuracy,
    Metric::Sensitivity,
    Metric::Specificity,
    Metric::Brier,
    Metric::CalibrationError,
];

/// Patients whose slices are shown.
const SHOWN: usize = 3;

/// A bar for each stage, one after the other.
#[derive(Default)]
pub struct StageBars(Mutex<Option<(String, ProgressBar)>>);

impl StageBars {
    /// Moves the bar of a stage; another stage begins another bar.
    pub fn update(&self, progress: &StageProgress<'_>) {
        let Ok(mut bar) = self.0.lock() else { return };
        if bar.as_ref().is_none_or(|b| b.0 != progress.stage) {
            if let Some((_, old)) = bar.take() {
                old.finish_with_message("");
            }
            *bar = Some((progress.stage.into(), progress_bar(progress.of as u64, progress.stage)));
        }
        if let Some((_, bar)) = bar.as_ref() {
            bar.set_position(progress.done as u64);
            if let Some(epoch) = progress.epoch {
                bar.set_message(format!("loss {:.4}", epoch.score));
            }
        }
    }

    /// Ends the last bar.
    pub fn finish(&self) {
        if let Ok(Some((_, bar))) = self.0.lock().map(|mut bar| bar.take()) {
            bar.finish_with_message("");
        }
    }
}

/// What `roles.json` holds: who trains which stage.
pub fn roles(cohort: &GliomaCohort, split: &Split) -> serde_json::Value {
    serde_json::json!({
        "networks": GliomaStages::network_rows(cohort, split),
        "encoders": split.train,
        "classifier": split.validation,
        "test": split.test,
    })
}

/// The end of a run whose last stage is not the fourth.
pub fn finish_early(stages: &GliomaStages<'_>, run: &RunDir) -> anyhow::Result<()> {
    run.write_json("costs.json", &stages.costs())?;
    println!("{}\nartefacts: {}", costs(&stages.costs()).to_text(), stages.cache().display());
    Ok(())
}

/// Time and memory per stage.
pub fn costs(costs: &[StageCost]) -> ReportTable {
    let table =
        ReportTable::new("Time and memory", ["Stage", "Seconds", "Peak so far (MB)", "From the cache"]);
    let rows = costs.iter().fold(table, |table, c| {
        table.row([
            Cell::text(c.stage.clone()),
            Cell::number(c.seconds, 1),
            Cell::number_or(c.peak_mb, 0, "not told by this system"),
            Cell::text(if c.cached { "yes" } else { "no" }),
        ])
    });
    rows.note("Wall-clock seconds; the peak is that of the whole process up to the end of the stage.")
}

/// Writes the view to turn beside the report and returns the flat figure.
pub fn drawn(
    network: &Connectome,
    view: &Path,
    title: &str,
    banner: Option<&Banner>,
) -> anyhow::Result<Figure> {
    network.write_view(view, title, banner).with_context(|| view.display().to_string())?;
    let name = view.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default();
    Ok(network.figure()?.titled(format!("{title}; to turn it, open {name} beside this report")))
}

/// What the page of a run is made of.
pub struct Page<'a> {
    pub config: &'a GliomaConfig,
    pub cohort: &'a GliomaCohort,
    pub split: &'a Split,
    pub stages: &'a GliomaStages<'a>,
    pub results: &'a StudyResults,
    pub scores: &'a Scores,
}

impl Page<'_> {
    pub fn print(&self, tables: &[Shown]) {
        tables.iter().for_each(|shown| println!("{}", self.table(shown).to_text()));
        println!("{}", costs(&self.stages.costs()).to_text());
        if self.cohort.phantom {
            println!("{PHANTOM}");
        }
        println!("{RESEARCH_ONLY}");
    }

    /// The rows of one table with the baselines.
    fn table(&self, (caption, models): &Shown) -> ReportTable {
        let row = |name: &str| self.scores.row(name, GliomaCohort::TASK).cloned();
        let rows = models.iter().map(String::as_str).chain(BASELINES).filter_map(row).collect();
        let scores = Scores { rows, reference: self.scores.reference.clone() };
        let table = ScoreTable::new(caption).metrics(METRICS).emphasise(names::PREVALENCE);
        table.of(&scores, GliomaCohort::TASK).note(
            "Positive class: IDH mutation. 95 % bootstrap intervals over the test patients, the same resamples for every model. \
             Sensitivity is recall of mutants; the paper's tables print recall of wild types under that name.",
        )
    }

    pub fn write(
        &self,
        run: &RunDir,
        tables: &[Shown],
        explained: &GliomaExplanations,
        card: &ModelCard,
    ) -> anyhow::Result<()> {
        let maps = self.write_maps(run, explained)?;
        let mut report =
            Report::new("Glioma: IDH genotype from tumour image, tumour surface and brain network");
        if self.cohort.phantom {
            report = report.banner(Banner::Phantom(
                "Every image, atlas, covariate and label here was generated. The numbers say whether the program works, nothing \
                 about patients."
                    .into(),
            ));
        }
        for note in [format!("Atlas: {}", self.cohort.atlas.source)].iter().chain(&self.cohort.notes) {
            report = report.banner(Banner::Notice(format!("{note}.")));
        }
        let report = report
            .banner(Banner::Notice(RESEARCH_ONLY.into()))
            .facts(&self.facts())
            .section("Results", |s| self.results_section(s, tables))
            .section("Patients", |s| self.patients_section(s))
            .section("Attention", |s| match self.attention(run) {
                Ok((table, network)) => {
                    s.table(table).figure_or_reason("Brain network", network);
                }
                Err(error) => {
                    s.paragraph(format!("No tracts: {error}"));
                }
            })
            .section("Explanations", |s| {
                s.paragraph(agreement(explained));
                for table in [self.tracts(explained), self.comparison(explained)].into_iter().flatten() {
                    s.table(table);
                }
                s.paragraph(format!("Maps on the grid of the patient, as NIfTI: {}.", maps.join(", ")));
            })
            .section("Training", |s| self.training_section(s))
            .model_card(card);
        Ok(report.write(run.file("report.html"))?)
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let (config, split) = (self.config, self.split);
        let networks = GliomaStages::network_rows(self.cohort, split).len();
        let [a, b, test] = [&split.train, &split.validation, &split.test].map(Vec::len);
        let patients = format!("{networks} for regions and tracts, {a} half A, {b} half B, {test} test");
        let atlas = &self.cohort.atlas;
        vec![
            ("Data", self.cohort.origin.clone()),
            ("Patients", patients),
            ("Command", command_line("glioma_idh")),
            ("Seed", config.seed.to_string()),
            ("Preset", format!("{:?}", config.preset).to_lowercase()),
            ("Version", format!("oncograph {}", config.version)),
            ("Network", format!("{} regions, {} tracts", atlas.regions.len(), atlas.tracts.len())),
        ]
    }

    /// The probabilities of a model for the test patients.
    fn probabilities(&self, model: &str) -> Vec<f64> {
        let job = self.results.of_model(model).next();
        let answers = job.and_then(|j| j.answers.get(GliomaCohort::TASK)).into_iter().flatten();
        answers
            .filter_map(|a| if let Answer::Probabilities(p) = a { p.get(1).copied() } else { None })
            .collect()
    }

    fn results_section(&self, s: &mut Section, tables: &[Shown]) {
        tables.iter().for_each(|shown| {
            s.table(self.table(shown));
        });
        s.figure_or_reason("ROC", self.roc(tables));
        let labels = self.cohort.mutants(&self.split.test);
        let bins = calibration_curve(&labels, &self.probabilities(names::INDUCTIVE), 10, Binning::Quantile);
        let figure = bins.map_err(anyhow::Error::from).and_then(|bins| {
            let points: Vec<_> = bins.iter().map(Into::into).collect();
            Ok(calibration(&points, "probability of an IDH mutation")?.titled(names::INDUCTIVE))
        });
        s.figure_or_reason("Calibration", figure);
    }

    fn roc(&self, tables: &[Shown]) -> anyhow::Result<Figure> {
        let labels = self.cohort.mutants(&self.split.test);
        let heads = tables.first().into_iter().flat_map(|t| t.1.iter().map(String::as_str));
        let shown: Vec<&str> = heads.chain([names::AGE_AND_SEX]).collect();
        let curves = shown.iter().map(|m| RocCurve::new(&labels, &self.probabilities(m)));
        let curves = curves.collect::<Result<Vec<_>, _>>()?;
        let series: Vec<_> = curves.iter().zip(&shown).map(|(c, m)| RocSeries::new(*m, c)).collect();
        Ok(roc(&series)?)
    }

    /// What the study kept of the deployed population graph.
    fn population(&self) -> anyhow::Result<PopulationReport> {
        let job = self.results.of_model(names::INDUCTIVE).next().context("no population graph")?;
        Ok(serde_json::from_value(job.extras.clone())?)
    }

    fn patients_section(&self, s: &mut Section) {
        let test = &self.split.test;
        let subjects: Vec<&GliomaSubject> = test.iter().map(|&i| &self.cohort.subjects[i]).collect();
        s.figure_or_reason("Slices with the tumour", slices_figure(&subjects[..SHOWN.min(subjects.len())]));
        match self.population() {
            Ok(kept) => {
                s.table(self.nearest(&kept));
                let figure = population_figure(&kept.bank, &kept.links, &self.cohort.mutants(test));
                s.figure_or_reason("Population graph", figure);
            }
            Err(error) => {
                s.paragraph(format!("No population graph: {error}"));
            }
        }
        for subject in subjects.iter().filter(|s| !s.flags.is_empty()) {
            s.paragraph(format!("{}: {}.", subject.id, subject.flags.join("; ")));
        }
    }

    /// The most alike training patients of a few test patients.
    fn nearest(&self, kept: &PopulationReport) -> ReportTable {
        let header =
            ["Patient", "IDH", "Probability of mutation", "Nearest training patients (similarity, IDH)"];
        let status = |mutant: bool| GliomaCohort::CLASSES[usize::from(mutant)];
        let probability = self.probabilities(names::INDUCTIVE);
        let rows = self.split.test.iter().zip(&kept.links).zip(probability).take(8);
        rows.fold(
            ReportTable::new("Nearest patients in the population graph", header),
            |table, ((&i, link), p)| {
                let near = kept.bank.nearest(link, 3);
                let near =
                    near.iter().map(|n| format!("{} ({:.2}, {})", n.id, n.similarity, status(n.mutant)));
                table.row([
                    Cell::text(self.cohort.subjects[i].id.clone()),
                    Cell::text(status(self.cohort.idh(i) == Some(true))),
                    Cell::number(p, 3),
                    Cell::text(near.collect::<Vec<_>>().join(", ")),
                ])
            },
        )
    }

    /// The two names and further cells of a tract.
    fn tract_row(&self, tract: usize, more: impl IntoIterator<Item = Cell>) -> Vec<Cell> {
        let atlas = &self.cohort.atlas;
        let ends = atlas.tracts[tract].pair.map(|r| Cell::text(atlas.names[r as usize].clone()));
        ends.into_iter().chain(more).collect()
    }

    /// The tracts that the first test patient's surface weighs most, and the network by that attention.
    fn attention(&self, run: &RunDir) -> anyhow::Result<(ReportTable, anyhow::Result<Figure>)> {
        let &first = self.split.test.first().context("there is no test patient")?;
        let networks = self.stages.networks(self.cohort, self.split)?;
        let net = self.stages.net(self.cohort, self.split, &self.config.model)?;
        let found = TractAttention::new(&net.net, &networks.tumours[first], self.stages.device())?;
        let found = found.context("the model has no attention over tracts")?;
        let subject = &self.cohort.subjects[first];
        let title = format!("Tracts that the tumour surface of {} crosses", subject.id);
        let header = ["From", "To", "Attention (mean 1)", "Points that cross"];
        let table = ReportTable::new(format!("{title}, by attention"), header);
        let table = found.strongest(10).into_iter().fold(table, |table, t| {
            let cells = [Cell::number(f64::from(found.attention[t]), 3), Cell::count(found.crossings[t])];
            table.row(self.tract_row(t, cells))
        });
        let banner = "The head, its tracts and the tumour were generated.";
        let banner = self.cohort.phantom.then(|| Banner::Phantom(banner.into()));
        let network = glioma_connectome(&self.cohort.atlas, subject, &found.weights(), "attention")?;
        Ok((table, drawn(&network, &run.file("connectome.html"), &title, banner.as_ref())))
    }

    /// Writes the maps of the first explained patients as NIfTI and returns their names.
    fn write_maps(&self, run: &RunDir, explained: &GliomaExplanations) -> anyhow::Result<Vec<String>> {
        let folder = run.folder("explanations")?;
        let mut files = vec![];
        for patient in &explained.patients {
            for (name, volume) in &patient.maps {
                let file = format!("{}_{name}.nii.gz", self.cohort.subjects[patient.row].id);
                nifti::write(folder.join(&file), volume)?;
                files.push(format!("explanations/{file}"));
            }
        }
        Ok(files)
    }

    /// The tracts that the first patient's answer rests on: those whose mask exceeds a half or, where there is none, the first.
    fn tracts(&self, explained: &GliomaExplanations) -> Option<ReportTable> {
        let first = explained.patients.first()?;
        let id = &self.cohort.subjects[first.row].id;
        let mut caption =
            format!("Tracts that the answer for {id} rests on (GNNExplainer, mask above 0.5, largest first)");
        let mut rows = kept_tracts(&first.tracts, 0.5, 10);
        if rows.is_empty() {
            caption = format!(
                "No tract is kept for {id}: no mask of GNNExplainer exceeds 0.5 after {} steps; the largest",
                explained.steps
            );
            rows = kept_tracts(&first.tracts, 0.0, 10);
        }
        let table = ReportTable::new(caption, ["From", "To", "Mask"]);
        Some(
            rows.into_iter()
                .fold(table, |table, t| table.row(self.tract_row(t, [Cell::number(first.tracts[t], 3)]))),
        )
    }

    /// Mutants against wild types, in words and by tract.
    fn comparison(&self, explained: &GliomaExplanations) -> Option<ReportTable> {
        let found = explained.comparison.as_ref()?;
        let p = found.p_value.map_or_else(|| "undefined".into(), |p| format!("{p:.3}"));
        let caption = format!(
            "Tracts kept by explanations: {:.1} per mutant, {:.1} per wild type (Mann-Whitney p {p})",
            found.mean_mutants, found.mean_wild_types
        );
        let header = ["From", "To", "Mutants", "Wild types", "Fisher p", "Benjamini-Hochberg"];
        Some(found.tracts.iter().take(8).fold(ReportTable::new(caption, header), |table, t| {
            let counts = [t.mutants, t.wild_types].map(Cell::count);
            let tests = [t.p_value, t.adjusted].map(Cell::p_value);
            table.row(self.tract_row(t.tract, counts.into_iter().chain(tests)))
        }))
    }

    fn training_section(&self, s: &mut Section) {
        for curve in self.stages.curves() {
            let points = |f: fn(&EpochRecord) -> f64| {
                curve.history.iter().map(|e| (e.epoch as f64 + 1.0, f(e))).collect::<Vec<_>>()
            };
            let series = [
                LearningCurve::new("training", points(|e| e.train_loss)),
                LearningCurve::new("score", points(|e| e.score)).dashed().colour(1),
            ];
            let figure = learning_curves(&series, "Epoch", "Loss");
            s.figure_or_reason(&curve.stage, figure.map(|f| f.titled(format!("Stage {}", curve.stage))));
        }
        s.table(costs(&self.stages.costs()));
    }

    pub fn card(&self) -> ModelCard {
        let best = self.scores.row(names::INDUCTIVE, GliomaCohort::TASK).and_then(|r| r.first());
        let performance = best.map_or_else(
            || "none".into(),
            |e| format!("{}: AUROC {:.3} ({:.3} to {:.3})", names::INDUCTIVE, e.value, e.low, e.high),
        );
        let data = match self.cohort.phantom {
            true => "Phantom cohort: generated images, atlas, covariates and labels.",
            false => "The cohort named above, as found on disk.",
        };
        let [a, b, test] = [&self.split.train, &self.split.validation, &self.split.test].map(Vec::len);
        ModelCard::new("Glioma IDH", format!("Research on the genotype of glioma from images. {RESEARCH_ONLY}"))
            .version(format!("oncograph {}", self.config.version))
            .data(data)
            .outcome("Mutation of IDH1 or IDH2.")
            .predictors("T1, contrast T1, T2, FLAIR and a tumour mask; age and sex in the baseline alone.")
            .sample_size(format!("{a} patients train the encoders, {b} the classifier, {test} test"))
            .missing_data("A patient without a sequence or with an empty tumour is refused.")
            .method("Three encoders with hierarchical attention and a bi-level contrastive loss; graph attention over patients.")
            .validation("One split into encoder, classifier and test patients; no external data.")
            .performance(performance)
            .limitations(
                "The atlas of tracts is generated, not measured. One split: intervals are those of the test patients alone.",
            )
    }
}

/// Whether image and surface agree on what matters.
fn agreement(explained: &GliomaExplanations) -> String {
    let known: Vec<f64> = explained.patients.iter().filter_map(|p| p.agreement).collect();
    if known.is_empty() {
        return "No patient has both a class activation map and attention of the surface.".into();
    }
    let mean = known.iter().sum::<f64>() / known.len() as f64;
    format!(
        "Class activation map of the image against the attention of surface points: mean Spearman correlation {mean:.2} over \
         {} patients.",
        known.len()
    )
}
