//! The report of a run on images, as one HTML file.

use crate::cohort::{Cohort, SEQUENCES, Subject};
use crate::evaluate::{calibration, table};
use crate::explain::Explanations;
use crate::images::Evaluation;
use crate::images_config::ImagesConfig;
use crate::pictures;
use crate::report::{RESEARCH, command};
use crate::stages::{Roles, StageCost};
use oncograph::brain::{GliomaNet, Tumour};
use oncograph::report::chart::{LearningCurve, RocSeries, learning_curves, roc};
use oncograph::report::overlay::{OverlayMask, OverlaySlice, contact_sheet};
use oncograph::report::palette::OKABE_ITO;
use oncograph::report::{Banner, Cell, Figure, ModelCard, Report, ReportTable};

use oncograph::imaging::{Volume, percentile, reorient, window};
use oncograph::metrics::RocCurve;

/// Patients whose slices are shown.
const SHOWN: usize = 3;

#[allow(clippy::too_many_arguments)] // each is a thing of its own, given once
pub fn write(
    path: &std::path::Path,
    config: &ImagesConfig,
    cohort: &Cohort,
    roles: &Roles,
    tumours: &[Tumour],
    model: &GliomaNet,
    explained: &Explanations,
    evaluation: &Evaluation,
) -> anyhow::Result<()> {
    let mut report = Report::new("Glioma: IDH genotype from tumour image, tumour surface and brain network");
    if cohort.phantom {
        report = report.banner(Banner::Phantom(
            "Every image, atlas, covariate and label here was generated. The numbers say whether the program works, nothing \
             about patients."
                .into(),
        ));
    }
    for note in [format!("Atlas: {}", cohort.atlas.source)].iter().chain(&cohort.notes) {
        report = report.banner(Banner::Notice(format!("{note}.")));
    }
    report = report.banner(Banner::Notice(RESEARCH.into()));
    report = report.facts(&facts(config, cohort, roles));
    report = report.section("Results", |s| {
        for (caption, rows) in &evaluation.tables {
            s.table(table(caption.clone(), rows, Some("age and sex")));
        }
        s.figure_or_reason("ROC", curves(evaluation));
        if let Some(first) = evaluation.scores.first() {
            s.figure_or_reason("Calibration", calibration(first, &evaluation.labels));
        }
    });
    report = report.section("Patients", |s| {
        s.figure_or_reason("Slices with the tumour", slices(cohort, roles));
        s.table(nearest(cohort, roles, evaluation));
        s.figure_or_reason(
            "Population graph",
            pictures::population(&evaluation.bank, &evaluation.links, &evaluation.labels),
        );
        for subject in roles.test.iter().map(|&i| &cohort.subjects[i]).filter(|s| !s.flags.is_empty()) {
            s.paragraph(format!("{}: {}.", subject.id, subject.flags.join("; ")));
        }
    });
    report = report.section("Attention", |s| {
        match Crossed::of_first(cohort, roles, tumours, model) {
            Ok(crossed) => {
                s.table(crossed.table(cohort));
                s.figure_or_reason("Brain network", crossed.network(path, cohort));
            }
            Err(error) => {
                s.paragraph(format!("No tracts: {error}"));
            }
        };
    });
    report = report.section("Explanations", |s| {
        s.paragraph(explained.agreement());
        for table in [explained.tract_table(cohort), explained.comparison_table(cohort)].into_iter().flatten()
        {
            s.table(table);
        }
        s.paragraph(format!("Maps on the grid of the patient, as NIfTI: {}.", explained.files.join(", ")));
    });
    report = report.section("Training", |s| {
        for curve in &evaluation.curves {
            let points = |f: fn(&oncograph::train::EpochRecord) -> f64| {
                curve.history.iter().map(|e| (e.epoch as f64 + 1.0, f(e))).collect::<Vec<_>>()
            };
            let series = [
                LearningCurve::new("training", points(|e| e.train_loss)),
                LearningCurve::new("score", points(|e| e.score)).dashed().colour(1),
            ];
            let figure = learning_curves(&series, "Epoch", "Loss");
            s.figure_or_reason(&curve.stage, figure.map(|f| f.titled(format!("Stage {}", curve.stage))));
        }
        s.table(costs(&evaluation.costs));
    });
    report = report.model_card(&card(config, cohort, roles, evaluation));
    Ok(report.write(path)?)
}

fn facts(config: &ImagesConfig, cohort: &Cohort, roles: &Roles) -> Vec<(&'static str, String)> {
    let sizes = [&roles.networks, &roles.encoders, &roles.classifier, &roles.test].map(|r| r.len());
    vec![
        ("Data", cohort.origin.clone()),
        (
            "Patients",
            format!(
                "{} for regions and tracts, {} half A, {} half B, {} test",
                sizes[0], sizes[1], sizes[2], sizes[3]
            ),
        ),
        ("Command", command()),
        ("Seed", config.seed.to_string()),
        ("Preset", format!("{:?}", config.preset).to_lowercase()),
        ("Version", format!("oncograph {}", config.version)),
        ("Network", format!("{} regions, {} tracts", cohort.atlas.regions.len(), cohort.atlas.tracts.len())),
    ]
}

/// Time and memory per stage.
pub fn costs(costs: &[StageCost]) -> ReportTable {
    let rows = costs.iter().fold(
        ReportTable::new("Time and memory", ["Stage", "Seconds", "Peak so far (MB)", "From the cache"]),
        |table, c| {
            table.row([
                Cell::text(c.stage.clone()),
                Cell::number(c.seconds, 1),
                Cell::number_or(c.peak_mb, 0, "not told by this system"),
                Cell::text(if c.cached { "yes" } else { "no" }),
            ])
        },
    );
    rows.note("Wall-clock seconds; the peak is that of the whole process up to the end of the stage.")
}

fn curves(evaluation: &Evaluation) -> anyhow::Result<Figure> {
    let varied = |p: &[f64]| p.windows(2).any(|w| w[0] != w[1]);
    let shown: Vec<_> = evaluation.scores.iter().filter(|s| varied(&s.probability)).collect();
    let curves = shown.iter().map(|s| RocCurve::new(&evaluation.labels, &s.probability));
    let curves = curves.collect::<Result<Vec<_>, _>>()?;
    let series: Vec<_> = curves.iter().zip(&shown).map(|(c, s)| RocSeries::new(&s.model, c)).collect();
    Ok(roc(&series)?)
}

fn slices(cohort: &Cohort, roles: &Roles) -> anyhow::Result<Figure> {
    let shown: Vec<&Subject> = roles.test.iter().take(SHOWN).map(|&i| &cohort.subjects[i]).collect();
    slices_of(&shown)
}

/// The slice with most tumour, all four sequences of each patient, as a radiologist sees it: anterior at the top, the
/// patient's right on the left.
pub fn slices_of(shown: &[&Subject]) -> anyhow::Result<Figure> {
    let mut pictures = vec![];
    for subject in shown {
        let tumour = reorient(&subject.tumour, "LPS")?;
        let [x, y, z] = tumour.shape();
        let area =
            |k: usize| tumour.as_slice()[k * x * y..(k + 1) * x * y].iter().filter(|v| **v > 0).count();
        let k = (0..z).max_by_key(|&k| (area(k), std::cmp::Reverse(k))).unwrap_or(0);
        for (volume, name) in subject.volumes.iter().zip(SEQUENCES) {
            let title = format!("{}, {name}, slice {} of {z}", subject.id, k + 1);
            pictures.push((windowed(&reorient(volume, "LPS")?)?, tumour.clone(), k * x * y, title));
        }
    }
    let sheet = pictures.iter().map(|(volume, tumour, start, title)| {
        let ([x, y, _], [dx, dy, _]) = (volume.shape(), volume.grid().spacing());
        let range = *start..start + x * y;
        let pixels = &tumour.as_slice()[range.clone()];
        let mask = OverlayMask { name: "tumour", pixels, colour: OKABE_ITO[1] };
        OverlaySlice::new(&volume.as_slice()[range], x, y).spacing([dx, dy]).mask(mask).titled(title)
    });
    let figure = contact_sheet(&sheet.collect::<Vec<_>>(), 4, 2.0)?;
    Ok(figure
        .titled("The four sequences with the tumour mask; anterior is up, the patient's right on the left"))
}

/// Gray values from black, the background, to the brightest but for one voxel in two hundred of the head.
fn windowed(volume: &Volume<f32>) -> anyhow::Result<Volume<f32>> {
    let head = volume.map(|v| u8::from(v != 0.0));
    let high = percentile(volume, 99.5, Some(&head))?;
    Ok(if high > 0.0 { window(volume, 0.0, high)? } else { volume.clone() })
}

/// The most alike training patients of a few test patients.
fn nearest(cohort: &Cohort, roles: &Roles, evaluation: &Evaluation) -> ReportTable {
    let header = ["Patient", "IDH", "Probability of mutation", "Nearest training patients (similarity, IDH)"];
    let status = |mutant: bool| if mutant { "mutant" } else { "wild type" };
    let rows = roles.test.iter().enumerate().take(8);
    rows.fold(ReportTable::new("Nearest patients in the population graph", header), |table, (k, &i)| {
        let near = evaluation.bank.nearest(&evaluation.links[k], 3);
        let near = near.iter().map(|n| format!("{} ({:.2}, {})", n.id, n.similarity, status(n.mutant)));
        let subject = &cohort.subjects[i];
        table.row([
            Cell::text(subject.id.clone()),
            Cell::text(status(subject.idh == Some(true))),
            Cell::number(evaluation.probability[k], 3),
            Cell::text(near.collect::<Vec<_>>().join(", ")),
        ])
    })
}

/// The attention of a patient's tumour surface to tracts, and how many of its points cross each.
struct Crossed<'a> {
    subject: &'a Subject,
    attention: Vec<f32>,
    crossings: Vec<usize>,
}

impl<'a> Crossed<'a> {
    /// Of the first test patient.
    fn of_first(
        cohort: &'a Cohort,
        roles: &Roles,
        tumours: &[Tumour],
        model: &GliomaNet,
    ) -> anyhow::Result<Self> {
        let Some(&first) = roles.test.first() else { anyhow::bail!("there is no test patient") };
        let batch = oncograph::brain::TumourBatch::new(&[&tumours[first]], None, &candle_core::Device::Cpu)?;
        let Some(attention) = model.forward(&batch, false)?.tract_attention else {
            anyhow::bail!("the model has no attention over tracts")
        };
        let crossings = tumours[first].incidence().crossings_per_tract();
        Ok(Crossed { subject: &cohort.subjects[first], attention: attention.to_vec1()?, crossings })
    }

    /// The tracts that it weighs most.
    fn table(&self, cohort: &Cohort) -> ReportTable {
        let Crossed { subject, attention, crossings } = self;
        let mut order: Vec<usize> = (0..attention.len()).filter(|&t| crossings[t] > 0).collect();
        order.sort_by(|a, b| attention[*b].total_cmp(&attention[*a]).then(a.cmp(b)));
        let caption = format!("Tracts that the tumour surface of {} crosses, by attention", subject.id);
        let header = ["From", "To", "Attention (mean 1)", "Points that cross"];
        order.into_iter().take(10).fold(ReportTable::new(caption, header), |table, t| {
            let [a, b] = cohort.atlas.tracts[t].pair;
            table.row([
                Cell::text(cohort.atlas.names[a as usize].clone()),
                Cell::text(cohort.atlas.names[b as usize].clone()),
                Cell::number(f64::from(attention[t]), 3),
                Cell::count(crossings[t]),
            ])
        })
    }

    /// The network by that attention; the view to turn lies beside the report.
    fn network(&self, report: &std::path::Path, cohort: &Cohort) -> anyhow::Result<Figure> {
        let weights = pictures::crossed(&self.attention, &self.crossings);
        let drawn = pictures::connectome(cohort, self.subject, &weights, "attention")?;
        let said = "The head, its tracts and the tumour were generated.";
        let banner = cohort.phantom.then(|| Banner::Phantom(said.into()));
        let title = format!("Tracts that the tumour surface of {} crosses", self.subject.id);
        pictures::drawn(&drawn, &report.with_file_name("connectome.html"), &title, banner.as_ref())
    }
}

fn card(config: &ImagesConfig, cohort: &Cohort, roles: &Roles, evaluation: &Evaluation) -> ModelCard {
    let best = evaluation.tables.first().and_then(|t| t.1.first());
    let performance = match best {
        Some(r) => match &r.auc {
            Some(a) => format!("{}: AUC {:.3} ({:.3} to {:.3})", r.model, a.value, a.low, a.high),
            None => r.model.clone(),
        },
        None => "none".into(),
    };
    let data = if cohort.phantom {
        "Phantom cohort: generated images, atlas, covariates and labels."
    } else {
        "The cohort named above, as found on disk."
    };
    ModelCard::new("Glioma IDH", format!("Research on the genotype of glioma from images. {RESEARCH}"))
        .version(format!("oncograph {}", config.version))
        .data(data)
        .outcome("Mutation of IDH1 or IDH2.")
        .predictors("T1, contrast T1, T2, FLAIR and a tumour mask; age and sex in the baseline alone.")
        .sample_size(format!(
            "{} patients train the encoders, {} the classifier, {} test",
            roles.encoders.len(),
            roles.classifier.len(),
            roles.test.len()
        ))
        .missing_data("A patient without a sequence or with an empty tumour is refused.")
        .method("Three encoders with hierarchical attention and a bi-level contrastive loss; graph attention over patients.")
        .validation("One split into encoder, classifier and test patients; no external data.")
        .performance(performance)
        .limitations(
            "The atlas of tracts is generated, not measured. One split: intervals are those of the test patients alone.",
        )
}
