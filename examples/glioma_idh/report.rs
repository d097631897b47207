//! The report of a run, as one HTML file, and what is printed.

use crate::Shown;
use anyhow::{Context, ensure};
use oncograph_brain::EmbeddingVector::{self, Both, Network, Tumour};
use oncograph_brain::{
    GliomaCohort, GliomaConfig, GliomaExplanations, GliomaStages, GliomaSubject, PopulationReport,
    StageProgress, TractAttention, glioma_connectome, names, population_figure, slices_figure, stage_costs,
};
use oncograph_core::Split;
use oncograph_imaging::nifti;
use oncograph_report::connectome::Connectome;
use oncograph_report::{Banner, Figure, ModelCard, RESEARCH_ONLY, Report, ReportTable, Section};
use oncograph_study::cli::ProgressBar;
use oncograph_study::cli::{command_line, progress_bar};
use oncograph_study::{
    Answer, Grouping, Metric, ScoreOptions, ScoreTable, Scores, StudyResults, calibration_plot, roc_curves,
    subgroup_table,
};
use oncograph_train::RunDir;
use std::path::Path;
use std::sync::Mutex;

pub const TABLE_2: &str = "Table 2: node and edge vectors of the population graph, inductive";
pub const TABLE_3: &str = "Table 3: heads on the same embeddings";
pub const TABLE_4: &str = "Table 4: encoders, losses and attention, MLP head";
pub const SWITCHES: &str = "Switches, MLP head";
pub const PHANTOM: &str =
    "PHANTOM data: generated patients and a generated atlas; the numbers say nothing about real ones.";

/// The rows of table 3 in the order of the paper, then the baselines.
pub const HEADS: [&str; 5] =
    [names::INDUCTIVE, names::TRANSDUCTIVE, names::WITH_AGE_AND_SEX, names::MLP, names::SVM];
/// What shows whether the edges of the first row are worth anything: beside every table.
pub const CONTROLS: [&str; 2] = [names::SHUFFLED, names::NO_EDGES];
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

/// Patients of at least this age are called older: IDH mutations are rare beyond it.
const OLDER: f64 = 50.0;

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

/// Whether half B has patients for every head.
pub fn enough_for_heads(cohort: &GliomaCohort, split: &Split) -> anyhow::Result<()> {
    let mutants = cohort.mutants(&split.validation);
    let count = mutants.iter().filter(|m| **m).count();
    ensure!(
        count.min(mutants.len() - count) >= 2,
        "half B has {count} mutants and {} wild types: the support vector machine needs two of each (--patients for generated ones)",
        mutants.len() - count
    );
    Ok(())
}

/// What `roles.json` holds: who trains which stage.
pub fn roles(
    stages: &GliomaStages<'_>,
    cohort: &GliomaCohort,
    split: &Split,
) -> anyhow::Result<serde_json::Value> {
    Ok(serde_json::json!({
        "networks": stages.network_rows(cohort, split)?,
        "encoders": split.train,
        "classifier": split.validation,
        "test": split.test,
    }))
}

/// The end of a run whose last stage is not the fourth.
pub fn finish_early(stages: &GliomaStages<'_>, run: &RunDir) -> anyhow::Result<()> {
    run.write_json("costs.json", &stages.costs())?;
    println!("{}\nartefacts: {}", stage_costs(&stages.costs()).to_text(), stages.cache().display());
    Ok(())
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

/// A table of tracts, what their weights are good for, and the network.
type Attention = (ReportTable, Option<String>, anyhow::Result<Figure>);

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
        println!("{}", stage_costs(&self.stages.costs()).to_text());
        if self.cohort.phantom {
            println!("{PHANTOM}");
        }
        println!("{RESEARCH_ONLY}");
    }

    /// The rows of one table with the baselines.
    fn table(&self, (caption, models): &Shown) -> ReportTable {
        let row = |name: &str| self.scores.row(name, GliomaCohort::TASK).cloned();
        let rows =
            models.iter().map(String::as_str).chain(CONTROLS).chain(BASELINES).filter_map(row).collect();
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
        (missing, explained): (&Scores, &oncograph_brain::Result<GliomaExplanations>),
        card: &ModelCard,
    ) -> anyhow::Result<()> {
        let maps = explained.as_ref().map_or(Ok(vec![]), |explained| self.write_maps(run, explained))?;
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
            .try_section("Subgroups", |s| self.subgroups_section(s))?
            .section("A missing sequence", |s| {
                s.table(self.missing_table(missing));
            })
            .section("Patients", |s| self.patients_section(s))
            .section("Registration", |s| self.registration_section(s))
            .section("Attention", |s| match self.attention(run) {
                Ok((table, note, network)) => {
                    s.table(table);
                    note.into_iter().for_each(|note| {
                        s.paragraph(note);
                    });
                    s.figure_or_reason("Brain network", network);
                }
                Err(error) => {
                    s.paragraph(format!("No tracts: {error}"));
                }
            })
            .section("Explanations", |s| match explained {
                Ok(explained) => self.explanations_section(s, explained, &maps),
                Err(error) => {
                    s.paragraph(format!("No explanations: {error}."));
                }
            })
            .section("Training", |s| {
                for curve in self.stages.curves() {
                    s.figure_or_reason(&curve.stage, curve.figure());
                }
                s.table(stage_costs(&self.stages.costs()));
            })
            .model_card(card);
        Ok(report.write(run.file("report.html"))?)
    }

    fn explanations_section(&self, s: &mut Section, explained: &GliomaExplanations, maps: &[String]) {
        s.paragraph(explained.agreement());
        explained.quality().into_iter().for_each(|sentence| {
            s.paragraph(sentence);
        });
        let tables = [explained.tract_table(self.cohort), explained.comparison_table(self.cohort)];
        tables.into_iter().flatten().for_each(|table| {
            s.table(table);
        });
        s.paragraph(format!("Maps on the grid of the patient, as NIfTI: {}.", maps.join(", ")));
    }

    fn facts(&self) -> Vec<(&'static str, String)> {
        let (config, split) = (self.config, self.split);
        let networks = self.stages.network_rows(self.cohort, split).map_or(0, |rows| rows.len());
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
        let heads = tables.first().into_iter().flat_map(|t| t.1.iter().map(String::as_str));
        let shown: Vec<&str> = heads.chain([names::AGE_AND_SEX]).collect();
        let task = GliomaCohort::TASK;
        s.figure_or_reason("ROC", roc_curves(self.results, self.cohort, self.scores, &shown, task));
        let plot = calibration_plot(self.results, self.cohort, names::INDUCTIVE, task);
        s.figure_or_reason("Calibration", plot);
    }

    /// The population graph's ranking by what is known of the patients.
    fn subgroups_section(&self, s: &mut Section) -> anyhow::Result<()> {
        let grouping = |name: &str, level: &dyn Fn(&GliomaSubject) -> Option<String>| Grouping {
            name: name.into(),
            levels: self.cohort.subjects.iter().map(level).collect(),
        };
        let word =
            |yes: bool, [no_word, yes_word]: [&str; 2]| if yes { yes_word } else { no_word }.to_string();
        let groupings = [
            grouping("sex", &|p| p.male.map(|male| word(male, ["female", "male"]))),
            grouping("age", &|p| p.age.map(|age| word(age >= OLDER, ["below 50 years", "50 years or more"]))),
            grouping("WHO grade", &|p| p.groups.grade.map(|grade| grade.to_string())),
            grouping("contrast enhancement", &|p| p.groups.enhancing.map(|yes| word(yes, ["no", "yes"]))),
            grouping("site", &|p| p.groups.site.clone()),
        ];
        // What is known of nobody, or the same of all, divides nobody.
        let test = &self.split.test;
        let divides = |g: &Grouping| test.iter().any(|&row| g.levels[row] != g.levels[test[0]]);
        let groupings: Vec<Grouping> = groupings.into_iter().filter(divides).collect();
        let model = (names::INDUCTIVE, GliomaCohort::TASK);
        let scores = self.results.subgroups(self.cohort, model, &groupings, &ScoreOptions::default())?;
        s.table(subgroup_table(names::INDUCTIVE, &scores));
        s.paragraph(
            "Test patients of one subgroup are compared with each other. Small subgroups have few pairs: an interval that holds 0.5, \
             or another subgroup's value, shows no difference. By the classification of 2021 the grade contains the genotype.",
        );
        Ok(())
    }

    /// What remains when one sequence was not taken.
    fn missing_table(&self, missing: &Scores) -> ReportTable {
        let table = ScoreTable::new(format!("{}, with a sequence missing", names::INDUCTIVE));
        let table = table.metrics([Metric::Auroc, Metric::Auprc, Metric::Brier]);
        table.of(missing, GliomaCohort::TASK).note(
            "Nothing is trained anew: the models of the tables above are asked again with 0 in every voxel of that sequence. How far \
             all sequences are ahead is what the models make of it.",
        )
    }

    /// How the scans came to the standard brain, and which did not; a generated cohort is on its own.
    fn registration_section(&self, s: &mut Section) {
        if let Some(table) = self.cohort.left_out_table() {
            s.table(table);
        }
        if self.cohort.phantom {
            s.paragraph("None: the generated heads are on the grid of the atlas.");
            return;
        }
        s.table(self.cohort.registration_table());
        match self.cohort.registration_figures() {
            Ok(figures) => figures.into_iter().for_each(|figure| {
                s.figure(figure);
            }),
            Err(error) => {
                s.paragraph(format!("No pictures of the registration: {error}"));
            }
        }
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
                s.table(kept.nearest_table(self.cohort, test, &self.probabilities(names::INDUCTIVE)));
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

    /// The tracts that the first test patient's surface weighs most, and the network by that attention.
    fn attention(&self, run: &RunDir) -> anyhow::Result<Attention> {
        let &first = self.split.test.first().context("there is no test patient")?;
        let networks = self.stages.networks(self.cohort, self.split)?;
        let net = self.stages.net(self.cohort, self.split, &self.config.model)?;
        let found = TractAttention::new(&net.net, &networks.tumours[first], self.stages.device())?;
        let found = found.context("the model has no attention over tracts")?;
        let subject = &self.cohort.subjects[first];
        let title = format!("Tracts that the tumour surface of {} crosses", subject.id);
        let table = found.table(&self.cohort.atlas, format!("{title}, by attention"));
        let banner = "The head, its tracts and the tumour were generated.";
        let banner = self.cohort.phantom.then(|| Banner::Phantom(banner.into()));
        let network = glioma_connectome(&self.cohort.atlas, subject, &found.weights(), "attention")?;
        Ok((table, found.flat(), drawn(&network, &run.file("connectome.html"), &title, banner.as_ref())))
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
}
