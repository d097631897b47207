//! Tables and figures that a page about this system shows.

use crate::Result;
use crate::attention::TractAttention;
use crate::explanation::GliomaExplanations;
use crate::pipeline::GliomaCohort;
use crate::predictor::GliomaPrediction;
use crate::presets::GliomaConfig;
use crate::stages::{StageCost, StageCurve};
use crate::systems::{PopulationReport, names};
use oncograph_core::Split;
use oncograph_datasets::glioma::BrainAtlas;
use oncograph_explain::{RankStability, kept_tracts};
use oncograph_report::chart::{LearningCurve, learning_curves};
use oncograph_report::{Cell, Figure, ModelCard, RESEARCH_ONLY, ReportTable};
use oncograph_study::Scores;
use oncograph_train::EpochRecord;

/// Tracts and patients that a table names.
const TRACTS: usize = 10;
const PATIENTS: usize = 8;
const NEAREST: usize = 3;
/// Scans whose registration a table shows.
const REGISTERED: usize = 20;

fn status(mutant: bool) -> &'static str {
    GliomaCohort::CLASSES[usize::from(mutant)]
}

/// The two names of a tract, and further cells.
fn tract_row(atlas: &BrainAtlas, tract: usize, more: impl IntoIterator<Item = Cell>) -> Vec<Cell> {
    let ends = atlas.tracts[tract].pair.map(|r| Cell::text(atlas.names[r as usize].clone()));
    ends.into_iter().chain(more).collect()
}

/// Time and memory per stage.
pub fn stage_costs(costs: &[StageCost]) -> ReportTable {
    let table =
        ReportTable::new("Time and memory", ["Stage", "Seconds", "Peak so far (MB)", "From the cache"]);
    let rows = costs.iter().fold(table, |table, c| {
        table.row([
            Cell::text(c.stage.clone()),
            Cell::number(c.seconds, 1),
            Cell::number_or(c.peak_mb, 0, "not reported by this system"),
            Cell::text(if c.cached { "yes" } else { "no" }),
        ])
    });
    rows.note("Wall-clock seconds; the peak is that of the whole process up to the end of the stage.")
}

impl StageCurve {
    /// Training loss and score by epoch.
    ///
    /// # Errors
    /// A curve without epochs.
    pub fn figure(&self) -> Result<Figure> {
        let points = |f: fn(&EpochRecord) -> f64| {
            self.history.iter().map(|e| (e.epoch as f64 + 1.0, f(e))).collect::<Vec<_>>()
        };
        let series = [
            LearningCurve::new("training", points(|e| e.train_loss)),
            LearningCurve::new("score", points(|e| e.score)).dashed().colour(1),
        ];
        Ok(learning_curves(&series, "Epoch", "Loss")?.titled(format!("Stage {}", self.stage)))
    }
}

impl TractAttention {
    /// The crossed tracts of the largest weights.
    pub fn table(&self, atlas: &BrainAtlas, caption: impl Into<String>) -> ReportTable {
        let header = ["From", "To", "Attention (mean 1)", "Points that cross"];
        self.strongest(TRACTS).into_iter().fold(ReportTable::new(caption, header), |table, t| {
            let cells = [Cell::number(f64::from(self.attention[t]), 3), Cell::count(self.crossings[t])];
            table.row(tract_row(atlas, t, cells))
        })
    }
}

impl GliomaCohort {
    /// How well the brains lie on that of the atlas, the worst first.
    pub fn registration_table(&self) -> ReportTable {
        let overlaps = self.worst_registered().into_iter().take(REGISTERED).map(|i| &self.subjects[i]);
        let caption = match self.subjects.len() > REGISTERED {
            true => format!("Registration: the worst {REGISTERED} of {} scans", self.subjects.len()),
            false => "Registration".to_string(),
        };
        let header = ["Scan", "Program", "Dice before", "Dice", "Correlation of T1", "Remark"];
        let table = overlaps.fold(ReportTable::new(caption, header), |table, subject| {
            let found = &subject.overlap;
            table.row([
                Cell::text(subject.id.clone()),
                Cell::text(found.tool.clone()),
                Cell::number(found.before, 3),
                Cell::number(found.after, 3),
                Cell::number_or(found.correlation, 3, "no standard brain to compare with"),
                Cell::text(found.failure().or_else(|| found.doubt()).unwrap_or_default()),
            ])
        });
        table.note(
            "Dice of the brain with that of the atlas by the files' own coordinates and after registration; correlation of T1 \
             with that of the standard brain within it.",
        )
    }

    /// The scans that cannot be used, with the reasons; `None` where all can.
    pub fn left_out_table(&self) -> Option<ReportTable> {
        let table = ReportTable::new("Scans that are left out", ["Scan and reason"]);
        let filled = self.left_out.iter().fold(table, |table, fault| table.row([Cell::text(fault.clone())]));
        (!self.left_out.is_empty()).then_some(filled)
    }

    /// The rows by how well the brains lie on that of the atlas, the worst first: by Dice, then by the order of the cohort.
    pub(crate) fn worst_registered(&self) -> Vec<usize> {
        let mut rows: Vec<usize> = (0..self.subjects.len()).collect();
        rows.sort_by(|a, b| {
            let dice = |i: &usize| self.subjects[*i].overlap.after;
            dice(a).total_cmp(&dice(b)).then(a.cmp(b))
        });
        rows
    }
}

impl PopulationReport {
    /// The most similar patients of half B to some held-out patients, with their probabilities of a mutation.
    pub fn nearest_table(&self, cohort: &GliomaCohort, rows: &[usize], probabilities: &[f64]) -> ReportTable {
        let header =
            ["Patient", "IDH", "Probability of mutation", "Nearest training patients (similarity, IDH)"];
        let table = ReportTable::new("Nearest patients in the population graph", header);
        let shown = rows.iter().zip(&self.links).zip(probabilities).take(PATIENTS);
        shown.fold(table, |table, ((&i, link), p)| {
            let near = self.bank.nearest(link, NEAREST);
            let near = near.iter().map(|n| format!("{} ({:.2}, {})", n.id, n.similarity, status(n.mutant)));
            table.row([
                Cell::text(cohort.subjects[i].id.clone()),
                Cell::text(status(cohort.idh(i) == Some(true))),
                Cell::number(*p, 3),
                Cell::text(near.collect::<Vec<_>>().join(", ")),
            ])
        })
    }
}

impl GliomaExplanations {
    /// The tracts that the first patient's answer rests on: those whose mask exceeds a half or, where there is none, the first.
    pub fn tract_table(&self, cohort: &GliomaCohort) -> Option<ReportTable> {
        let first = self.patients.first()?;
        let id = &cohort.subjects[first.row].id;
        let mut caption =
            format!("Tracts that the answer for {id} rests on (GNNExplainer, mask above 0.5, largest first)");
        let mut rows = kept_tracts(&first.tracts, 0.5, TRACTS);
        if rows.is_empty() {
            caption = format!(
                "No tract is kept for {id}: no mask of GNNExplainer exceeds 0.5 after {} steps; the largest",
                self.options.steps
            );
            rows = kept_tracts(&first.tracts, 0.0, TRACTS);
        }
        let table = ReportTable::new(caption, ["From", "To", "Mask"]);
        Some(rows.into_iter().fold(table, |table, t| {
            table.row(tract_row(&cohort.atlas, t, [Cell::number(first.tracts[t], 3)]))
        }))
    }

    /// What the masks are worth, in sentences: whether they point to the tumour, and whether another starting point gives the same.
    pub fn quality(&self) -> Vec<String> {
        let mut sentences = vec![];
        if let Some(auroc) = self.met_ranking() {
            let worth = match auroc {
                a if a >= 0.6 => "they point to where the tumour is",
                _ => "little more than chance: they do not say where the tumour spreads",
            };
            sentences.push(format!(
                "Masks rank the tracts that the tumour's surface crosses above the others with an AUROC of {auroc:.2}, the mean over \
                 patients: {worth}."
            ));
        }
        let stable: Vec<_> = self.patients.iter().filter_map(|p| p.stability.as_ref()).collect();
        if !stable.is_empty() {
            let mean = |of: &dyn Fn(&RankStability) -> f64| {
                stable.iter().map(|s| of(s)).sum::<f64>() / stable.len() as f64
            };
            sentences.push(format!(
                "{} starting points of the explainer, {} patients: Kendall's tau of the masks {:.2}, and {:.0} % of the ten largest in \
                 common ({:.0} % by chance).",
                self.options.starts,
                stable.len(),
                mean(&|s| s.kendall),
                100.0 * mean(&|s| s.top_overlap),
                100.0 * mean(&|s| s.chance),
            ));
        }
        if self.patients.iter().all(|p| kept_tracts(&p.tracts, 0.5, 1).is_empty()) {
            sentences.push(
                "No mask exceeds 0.5 in any patient: the answers stay the same when all tracts are weakened together, so that the \
                 penalty on the size of the mask decides. The answers do not rest on single tracts."
                    .into(),
            );
        }
        sentences
    }

    /// Mutants against wild types, in words and by tract.
    pub fn comparison_table(&self, cohort: &GliomaCohort) -> Option<ReportTable> {
        let found = self.comparison.as_ref()?;
        let p = found.p_value.map_or_else(|| "undefined".into(), |p| format!("{p:.3}"));
        let caption = format!(
            "Tracts kept by explanations: {:.1} per mutant, {:.1} per wild type (Mann-Whitney p {p})",
            found.mean_mutants, found.mean_wild_types
        );
        let header = ["From", "To", "Mutants", "Wild types", "Fisher p", "Benjamini-Hochberg"];
        Some(found.tracts.iter().take(PATIENTS).fold(ReportTable::new(caption, header), |table, t| {
            let counts = [t.mutants, t.wild_types].map(Cell::count);
            let tests = [t.p_value, t.adjusted].map(Cell::p_value);
            table.row(tract_row(&cohort.atlas, t.tract, counts.into_iter().chain(tests)))
        }))
    }

    /// Whether image and surface agree on what matters, in a sentence.
    pub fn agreement(&self) -> String {
        let known: Vec<f64> = self.patients.iter().filter_map(|p| p.agreement).collect();
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
}

impl GliomaPrediction {
    /// The answer, and how well the brain lies on that of the atlas.
    pub fn table(&self) -> ReportTable {
        let overlap = &self.subject.overlap;
        let correlation = Cell::number_or(overlap.correlation, 3, "no standard brain to compare with");
        let overlap = [overlap.before, overlap.after].map(|d| Cell::number(d, 3));
        let [before, after] = overlap;
        ReportTable::new(format!("IDH genotype of {}", self.subject.id), ["", ""])
            .row([Cell::text("Probability of a mutation"), Cell::number(self.probability, 3)])
            .row([Cell::text("Dice of the brain masks before registration"), before])
            .row([Cell::text("after"), after])
            .row([Cell::text("Correlation of T1 with the standard brain"), correlation])
    }

    /// The most similar patients of half B.
    pub fn nearest_table(&self) -> ReportTable {
        let header = ["Patient of the run", "Similarity", "IDH"];
        let table = ReportTable::new("Nearest patients in the population graph", header);
        self.nearest.iter().fold(table, |t, n| {
            t.row([Cell::text(n.id.clone()), Cell::number(n.similarity, 3), Cell::text(status(n.mutant))])
        })
    }

    /// The crossed tracts of the largest weights.
    pub fn tract_table(&self) -> ReportTable {
        let header = ["From", "To", "Attention (mean 1)", "Points that cross"];
        let table = ReportTable::new("Tracts that the tumour surface crosses", header);
        self.tracts.iter().fold(table, |t, c| {
            let [from, to] = [&c.from, &c.to].map(|n| Cell::text(n.clone()));
            t.row([from, to, Cell::number(f64::from(c.attention), 3), Cell::count(c.points)])
        })
    }
}

/// The model card of a run.
pub fn glioma_model_card(
    config: &GliomaConfig,
    cohort: &GliomaCohort,
    split: &Split,
    scores: &Scores,
) -> ModelCard {
    let best = scores.row(names::INDUCTIVE, GliomaCohort::TASK).and_then(|r| r.first());
    let performance = best.map_or_else(|| "none".into(), |e| format!("{}: AUROC {e}", names::INDUCTIVE));
    let data = match cohort.phantom {
        true => "Phantom cohort: generated images, atlas, covariates and labels.",
        false => "The cohort named above, as found on disk.",
    };
    let [a, b, test] = [&split.train, &split.validation, &split.test].map(Vec::len);
    ModelCard::new("Glioma IDH", format!("Research on the genotype of glioma from images. {RESEARCH_ONLY}"))
        .version(format!("oncograph {}", config.version))
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
