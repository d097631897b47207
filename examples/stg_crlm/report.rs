//! The report of a run, as one HTML file.

use crate::cohort::{Patients, masks};
use crate::config::{RunConfig, Source};
use crate::cross_validation::{FoldResult, STG, WITHOUT_IMAGES};
use crate::encode::PatientFeatures;
use crate::evaluate::{CONSTANT, Estimate, Evaluation, OutOfFold, Row, TASKS};
use oncograph::report::chart::{LearningCurve, SurvivalGroup, kaplan_meier, learning_curves, scatter};
use oncograph::report::overlay::{OverlayMask, OverlaySlice, contact_sheet};
use oncograph::report::palette::OKABE_ITO;
use oncograph::report::{Banner, Cell, Figure, ModelCard, Report, ReportTable};
use oncograph::spatiotemporal::{ANATOMY, PreparedImages, preprocess};

/// Patients whose slices are shown.
const SHOWN: usize = 3;

pub const RESEARCH: &str =
    "For research only. Not a medical device; not validated for any clinical decision.";

fn cell(estimate: &Estimate) -> Cell {
    Cell::interval(estimate.value, estimate.low, estimate.high, 3)
}

/// The metrics of one task, the constant predictor emphasised.
pub fn table(evaluation: &Evaluation, task: usize) -> ReportTable {
    let header = [
        "Model",
        "C-index",
        "TAA",
        "TAA, events",
        "TAA, censoring-aware",
        "MSE (years²)",
        "MAE (years)",
        "AUC at 3 years",
    ];
    let caption = format!(
        "Time to {}: out-of-fold predictions of every patient, 95 % bootstrap intervals",
        TASKS[task]
    );
    let cells = |r: &Row| -> Vec<Cell> {
        vec![
            Cell::text(r.model.clone()),
            r.c_index.as_ref().map_or_else(|| Cell::missing("0.5 by definition"), cell),
            cell(&r.taa_all),
            Cell::number_or(r.taa_events, 3, "no event"),
            Cell::number(r.taa_censor_aware, 3),
            cell(&r.mse),
            cell(&r.mae),
            Cell::number_or(r.auc_3y, 3, "no ranking"),
        ]
    };
    let rows = evaluation.rows.iter().filter(|r| r.task == TASKS[task]);
    let table = rows.fold(ReportTable::new(caption, header), |table, row| {
        if row.model == CONSTANT { table.emphasised_row(cells(row)) } else { table.row(cells(row)) }
    });
    table.note(
        "TAA: share predicted within 2 years, censored patients as if observed, as in the paper; beside it on events \
         only, and counting a censored patient as right unless predicted more than 2 years too early. The constant \
         row takes, per metric, the best constant of each fold's training patients.",
    )
}

pub fn write(
    path: &std::path::Path,
    config: &RunConfig,
    patients: &Patients,
    evaluation: &Evaluation,
    results: &[FoldResult],
    command: &str,
) -> anyhow::Result<()> {
    let mut report =
        Report::new("STG: recurrence and survival after resection of colorectal liver metastases");
    if patients.phantom {
        report = report.banner(Banner::Phantom(
            "Every image, covariate and outcome here was generated. The numbers say whether the program works, \
             nothing about patients."
                .into(),
        ));
    }
    report = report.banner(Banner::Notice(RESEARCH.into()));
    report = report.facts(&facts(config, patients, command));
    let notes = patients.notes.clone();
    report = report.section("Data", |s| {
        s.paragraph(data_paragraph(config, patients));
        for note in &notes {
            s.paragraph(note.clone());
        }
        if let Some(images) = &patients.images {
            s.table(missing_structures(images));
        }
    });
    report = report.section("Results", |s| {
        s.table(table(evaluation, 0));
        s.table(table(evaluation, 1));
        s.paragraph(verdict(evaluation));
    });
    let Some(main) = evaluation.models.first() else { anyhow::bail!("there is no trained model to report") };
    for (task, name) in TASKS.iter().enumerate() {
        report = report.section(format!("Risk groups: {name}"), |s| {
            s.figure_or_reason("Kaplan-Meier by risk tertile", tertiles(main, patients, task));
            let (time, event): (Vec<f64>, Vec<bool>) =
                patients.task(task).iter().map(|o| (o.in_years(), o.event())).unzip();
            s.figure_or_reason(
                "Predicted against observed",
                scatter(&main.years[task], &time, &event, "years"),
            );
        });
    }
    report = report.section("Training", |s| {
        s.figure_or_reason("Learning curves", curves(results));
        if !evaluation.node_drop.is_empty() {
            let points = evaluation.node_drop.iter().map(|(share, c)| (100.0 * share, *c)).collect();
            let figure = learning_curves(
                &[LearningCurve::new("survival C-index", points)],
                "anatomical nodes removed (%)",
                "C-index",
            );
            s.figure_or_reason("Robustness to missing nodes", figure);
        }
    });
    if patients.images.is_some() {
        report = report.section("What the network sees", |s| {
            s.figure_or_reason("Slices with masks", slices(config, patients));
        });
    }
    report = report.model_card(&card(config, patients, evaluation));
    Ok(report.write(path)?)
}

fn facts(config: &RunConfig, patients: &Patients, command: &str) -> Vec<(&'static str, String)> {
    let source = match &config.source {
        Source::Phantom(p) => format!("phantom cohort, seed {}", p.seed),
        Source::Folder { root, .. } => {
            root.file_name().map_or_else(|| root.display().to_string(), |n| n.to_string_lossy().into_owned())
        }
    };
    vec![
        ("Data", source),
        ("Patients", patients.len().to_string()),
        ("Command", command.to_string()),
        ("Seed", config.seed.to_string()),
        ("Preset", format!("{:?}", config.preset).to_lowercase()),
        ("Version", format!("oncograph {}", config.version)),
        (
            "Backbone",
            match &config.encoder.weights {
                Some(path) => path.display().to_string(),
                None => "r3d_18 with random weights drawn from the seed, frozen".into(),
            },
        ),
        ("Cross-validation", format!("{} folds, {} repetition(s)", config.folds, config.repeats)),
    ]
}

fn data_paragraph(config: &RunConfig, patients: &Patients) -> String {
    let events = |task: usize| patients.outcomes.iter().filter(|o| o[task].event()).count();
    let kind = if patients.phantom { "phantom (generated)" } else { "real" };
    format!(
        "{} {kind} patients; {} recurrences and {} deaths. {} clinical covariates ({:?}), imputed with the training \
         median and a flag, scaled by training ranges. Scalers are fitted on each fold's training patients only.",
        patients.len(),
        events(0),
        events(1),
        patients.clinical.width(),
        config.features,
    )
}

fn missing_structures(images: &[PatientFeatures]) -> ReportTable {
    let table =
        ReportTable::new("Anatomical nodes without a mask (their image is all zeros)", ["Node", "Patients"]);
    ANATOMY.iter().enumerate().fold(table, |table, (node, name)| {
        let missing = images.iter().filter(|p| p.empty[node]).count();
        table.row([Cell::text(*name), Cell::count(missing)])
    })
}

/// In words, what the table says, whichever way it went.
pub fn verdict(evaluation: &Evaluation) -> String {
    let mut sentences = vec![];
    for (task, name) in TASKS.iter().enumerate() {
        let Some(constant) = evaluation.row(CONSTANT, task) else { continue };
        for model in [STG, WITHOUT_IMAGES] {
            let Some(row) = evaluation.row(model, task) else { continue };
            let ranks = row.c_index.as_ref().is_some_and(|c| c.low > 0.5);
            let closer = row.mae.value < constant.mae.value;
            sentences.push(format!(
                "{name}, {model}: {} chance in ranking; its absolute error is {} the constant's ({:.2} against {:.2} years).",
                if ranks { "better than" } else { "not shown to be better than" },
                if closer { "below" } else { "not below" },
                row.mae.value,
                constant.mae.value
            ));
        }
    }
    sentences.join(" ")
}

/// Kaplan-Meier curves of patients by thirds of predicted risk.
fn tertiles(model: &OutOfFold, patients: &Patients, task: usize) -> oncograph::report::Result<Figure> {
    let mut order: Vec<usize> = (0..patients.len()).collect();
    order.sort_by(|&a, &b| model.risk[task][a].total_cmp(&model.risk[task][b]));
    let n = order.len();
    let group = |range: std::ops::Range<usize>| -> (Vec<f64>, Vec<bool>) {
        patients.follow_up(task, &order[range]).iter().map(|o| (o.in_years(), o.event())).unzip()
    };
    let groups = [group(0..n / 3), group(n / 3..2 * n / 3), group(2 * n / 3..n)];
    let named: Vec<_> = ["low risk", "middle", "high risk"]
        .into_iter()
        .zip(&groups)
        .map(|(name, (time, event))| SurvivalGroup::new(name, time, event))
        .collect();
    let figure = kaplan_meier(&named, "years", 0.95)?;
    Ok(figure.titled(format!("Freedom from {} by tertile of out-of-fold risk", TASKS[task])))
}

fn curves(results: &[FoldResult]) -> oncograph::report::Result<Figure> {
    // One model is enough to read: the first, which has images where there are any.
    let shown = results.iter().filter(|r| r.repeat == 0 && r.model == results[0].model);
    let line = |result: &FoldResult| {
        let points = result.history.iter().map(|e| (e.epoch as f64 + 1.0, e.score)).collect();
        let best = result.best_epoch as f64 + 1.0;
        LearningCurve::new(format!("fold {}", result.fold + 1), points).colour(result.fold).mark(best)
    };
    let series: Vec<LearningCurve> = shown.map(line).collect();
    learning_curves(&series, "Epoch", "Validation loss")
}

fn prepared(config: &RunConfig, patients: &Patients, index: usize) -> anyhow::Result<PreparedImages> {
    let images = patients.subjects[index].load(&config.load)?;
    Ok(preprocess(&images.ct, &masks(&images), &config.preprocess)?)
}

fn slices(config: &RunConfig, patients: &Patients) -> anyhow::Result<Figure> {
    let shown: Vec<(String, PreparedImages)> = (0..patients.len().min(SHOWN))
        .map(|i| Ok((patients.ids()[i].clone(), prepared(config, patients, i)?)))
        .collect::<anyhow::Result<_>>()?;
    figure_of(&shown)
}

/// The slice with most tumour, and two beside it, of each patient.
pub fn figure_of(shown: &[(String, PreparedImages)]) -> anyhow::Result<Figure> {
    let colours = [OKABE_ITO[3], OKABE_ITO[2], OKABE_ITO[0], OKABE_ITO[4], OKABE_ITO[1]];
    let mut sheet = vec![];
    for (id, images) in shown {
        let [x, y, z] = images.ct.shape();
        let (pixels, spacing) = (x * y, images.ct.grid().spacing());
        let marked = if images.empty[4] { &images.masks[0] } else { &images.masks[4] };
        let area =
            |k: usize| marked.as_slice()[k * pixels..(k + 1) * pixels].iter().filter(|v| **v > 0).count();
        let middle = (0..z).max_by_key(|&k| (area(k), std::cmp::Reverse(k))).unwrap_or(0);
        let step = (z / 8).max(1);
        for k in [middle.saturating_sub(step), middle, (middle + step).min(z - 1)] {
            let range = k * pixels..(k + 1) * pixels;
            let slice = OverlaySlice::new(&images.ct.as_slice()[range.clone()], x, y)
                .spacing([spacing[0], spacing[1]]);
            let slice = images.masks.iter().enumerate().fold(slice, |slice, (m, mask)| {
                slice.mask(OverlayMask {
                    name: ANATOMY[m],
                    pixels: &mask.as_slice()[range.clone()],
                    colour: colours[m],
                })
            });
            sheet.push(slice.titled(format!("{id}, slice {} of {z}", k + 1)));
        }
    }
    let figure = contact_sheet(&sheet, 3, 0.8)?;
    Ok(figure
        .titled("The encoder's input: windowed, equalised CT with the masks of the five anatomical nodes"))
}

fn card(config: &RunConfig, patients: &Patients, evaluation: &Evaluation) -> ModelCard {
    let data = if patients.phantom {
        "Phantom cohort: generated images, covariates and outcomes.".to_string()
    } else {
        "The cohort named above, as found on disk.".to_string()
    };
    let of = |task: usize| match evaluation.row(STG, task).or(evaluation.row(WITHOUT_IMAGES, task)) {
        Some(Row { c_index: Some(c), .. }) => {
            format!("{} C-index {:.3} ({:.3} to {:.3})", TASKS[task], c.value, c.low, c.high)
        }
        _ => format!("{}: none", TASKS[task]),
    };
    let events = |task: usize| patients.outcomes.iter().filter(|o| o[task].event()).count();
    let model = &config.model;
    ModelCard::new(
        "STG",
        format!("Research on prognosis after resection of colorectal liver metastases. {RESEARCH}"),
    )
    .version(format!("oncograph {}", config.version))
    .data(data)
    .outcome("Time to recurrence or progression, and overall survival, in years from resection.")
    .predictors(format!("Covariates: {}.", patients.clinical.columns().join(", ")))
    .sample_size(format!("{} patients, {} recurrences, {} deaths", patients.len(), events(0), events(1)))
    .missing_data("Training median and a flag; a missing structure is a node whose image is all zeros.")
    .method(format!(
        "{:?} architecture, {:?}, hidden width {}, loss {:?}.",
        model.architecture, model.gnn, model.hidden, model.survival_loss
    ))
    .validation(format!(
        "{}-fold cross-validation, {} repetition(s); no external data.",
        config.folds, config.repeats
    ))
    .performance([of(0), of(1)].join("; "))
    .limitations(
        "Image features come from a frozen backbone, with random weights unless a checkpoint was given. No \
             external validation. Out-of-fold risks of several models are ranked together.",
    )
}
