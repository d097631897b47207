//! A report with one of everything, from made-up numbers.
//!
//! `cargo run -p oncograph-report --example report [report.html]`

use oncograph_metrics::{RocCurve, Survival, survival_calibration};
use oncograph_report::chart::{self, Bar, LearningCurve, RocSeries, SurvivalGroup};
use oncograph_report::overlay::{OverlayMask, OverlaySlice, contact_sheet};
use oncograph_report::palette::OKABE_ITO;
use oncograph_report::{Banner, Cell, Error, ModelCard, Report, ReportTable, Section};

/// Numbers between 0 and 1 that look random and are the same in every run.
fn noise(index: usize) -> f64 {
    (12.9898 * (index as f64 + 1.0)).sin().abs() * 43758.5453 % 1.0
}

struct Cohort {
    months: Vec<f64>,
    died: Vec<bool>,
    risk: Vec<f64>,
}

fn cohort() -> Cohort {
    let risk: Vec<f64> = (0..120).map(|i| noise(i) * 2.0 - 1.0).collect();
    let months = |(i, r): (usize, &f64)| 1.0 - 36.0 * (1.0 - noise(i + 500)).ln() * (-1.3 * r).exp();
    let event: Vec<f64> = risk.iter().enumerate().map(months).collect();
    let censor = |i: usize| 12.0 + 70.0 * noise(i + 900);
    Cohort {
        months: event.iter().enumerate().map(|(i, t)| t.min(censor(i))).collect(),
        died: event.iter().enumerate().map(|(i, t)| *t <= censor(i)).collect(),
        risk,
    }
}

fn training(s: &mut Section) -> Result<(), Error> {
    let curve = |fold: usize, end: f64, rise: f64| -> Vec<(f64, f64)> {
        let loss = |e: f64| end + 0.9 * (-e / 9.0).exp() + rise * e * e / 4000.0;
        let wobble = |e: usize| 0.03 * (noise(e + 100 * fold) - 0.5);
        (1..=40).map(|e| (e as f64, loss(e as f64) + wobble(e))).collect()
    };
    let mut series = Vec::new();
    for fold in 0..3 {
        let name = |kind: &str| format!("fold {}, {kind}", fold + 1);
        series.push(LearningCurve::new(name("training"), curve(fold, 0.3, 0.0)).colour(fold).dashed());
        let validation = curve(fold + 5, 0.45 + 0.05 * fold as f64, 0.6);
        let best = validation.iter().min_by(|a, b| a.1.total_cmp(&b.1)).map_or(0.0, |p| p.0);
        series.push(LearningCurve::new(name("validation"), validation).colour(fold).mark(best));
    }
    s.paragraph("Three folds, 40 epochs; the weights of the epoch with the lowest validation loss are kept.");
    s.figure(chart::learning_curves(&series, "Epoch", "Loss")?.titled("Learning curves"));
    Ok(())
}

fn performance(s: &mut Section, cohort: &Cohort) -> Result<(), Error> {
    let table =
        ReportTable::new("Test patients (n = 120)", ["Model", "C-index (95 % interval)", "MAE, months", "p"])
            .row([
                Cell::text("network"),
                Cell::interval(0.712, 0.634, 0.781, 2),
                Cell::number(9.42, 1),
                Cell::p_value(0.0004),
            ])
            .row([
                Cell::text("clinical Cox model"),
                Cell::interval(0.655, 0.571, 0.732, 2),
                Cell::number(11.08, 1),
                Cell::p_value(0.031),
            ])
            .emphasised_row([
                Cell::text("trivial baseline: median of the training set"),
                Cell::number(0.5, 2),
                Cell::number(14.91, 1),
                Cell::missing("reference"),
            ])
            .note("p: likelihood-ratio test against the trivial baseline.");
    println!("{}", table.to_text());
    s.table(table);
    let half = |high: bool| -> (Vec<f64>, Vec<bool>) {
        let members = (0..cohort.risk.len()).filter(|&i| (cohort.risk[i] > 0.0) == high);
        members.map(|i| (cohort.months[i], cohort.died[i])).unzip()
    };
    let (low, high) = (half(false), half(true));
    let groups =
        [SurvivalGroup::new("low risk", &low.0, &low.1), SurvivalGroup::new("high risk", &high.0, &high.1)];
    s.figure(chart::kaplan_meier(&groups, "months", 0.95)?.titled("Survival by predicted risk"));
    let predicted: Vec<f64> = cohort.risk.iter().map(|r| 30.0 * (-1.1 * r).exp()).collect();
    let observed = chart::scatter(&predicted, &cohort.months, &cohort.died, "months")?;
    s.figure(observed.titled("Predicted and observed survival"));
    let follow_up = Survival::new(&cohort.months, &cohort.died)?;
    let survival: Vec<f64> = cohort.risk.iter().map(|r| (-24.0 / 36.0 * (1.2 * r).exp()).exp()).collect();
    let calibration = survival_calibration(&follow_up, &survival, 24.0, 5)?;
    s.figure(chart::calibration_at_horizon(&calibration, "months")?.titled("Calibration at two years"));
    let roc = RocCurve::new(&cohort.died, &cohort.risk)?;
    let weak: Vec<f64> = cohort.risk.iter().enumerate().map(|(i, r)| r + 3.0 * noise(i + 40)).collect();
    let weak = RocCurve::new(&cohort.died, &weak)?;
    let curves = [
        RocSeries::new("network", &roc).interval(0.61, 0.8),
        RocSeries::new("clinical model with age, stage, size and number of lesions", &weak),
    ];
    s.figure(chart::roc(&curves)?.titled("Death during follow-up"));
    s.figure_or_reason("Precision and recall", Err::<_, &str>("fewer than 10 events in the test set"));
    Ok(())
}

fn explanation(s: &mut Section, cohort: &Cohort) -> Result<(), Error> {
    let ablation = [
        Bar::new("all node types", 0.712).interval(0.634, 0.781),
        Bar::new("without images", 0.661).interval(0.58, 0.735),
        Bar::new("without edges between time points", 0.69).interval(0.61, 0.76),
        Bar::new("no covariates", 0.5).reference(),
    ];
    s.figure(chart::bars(&ablation, "C-index")?.titled("Ablation"));
    s.figure(chart::histogram(&cohort.risk, 12, "Predicted log risk")?.titled("Distribution of the risk"));
    let (width, height) = (48, 30);
    let disc = |cx: f64, cy: f64, r: f64| -> Vec<u8> {
        let inside = |i: usize| {
            let (x, y) = ((i % width) as f64 - cx, (i / width) as f64 - cy);
            u8::from((x * 1.0).hypot(y * 1.6) < r)
        };
        (0..width * height).map(inside).collect()
    };
    let (body, liver, tumour) = (disc(24.0, 15.0, 22.5), disc(18.0, 14.0, 13.0), disc(14.0, 12.0, 4.5));
    let gray: Vec<f32> = (0..width * height)
        .map(|i| (0.35 * body[i] as f32 + 0.25 * liver[i] as f32 + 0.08 * noise(i) as f32).min(1.0))
        .collect();
    let heat: Vec<f32> = (0..width * height)
        .map(|i| {
            let (x, y) = ((i % width) as f32 - 15.0, (i / width) as f32 - 13.0);
            (-(x * x + 2.56 * y * y) / 60.0).exp()
        })
        .collect();
    let plain = OverlaySlice::new(&gray, width, height).spacing([5.0, 8.0]);
    let masks = plain
        .clone()
        .mask(OverlayMask { name: "liver", pixels: &liver, colour: OKABE_ITO[6] })
        .mask(OverlayMask { name: "metastasis", pixels: &tumour, colour: OKABE_ITO[1] });
    let slices = [
        plain.clone().titled("image"),
        masks.titled("segmentation"),
        plain.heat("Grad-CAM", &heat).titled("Grad-CAM"),
    ];
    s.figure(contact_sheet(&slices, 3, 1.1)?.titled("Axial slice"));
    Ok(())
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    let path = std::env::args().nth(1).unwrap_or_else(|| "report.html".to_owned());
    let cohort = cohort();
    let card = ModelCard::new("example", "Shows the layout of a report; predicts nothing.")
        .data("Made-up numbers.")
        .outcome("Months from resection to death of any cause; censored at the last visit.")
        .predictors("One made-up risk score.")
        .missing_data("None.")
        .limitations("No patient was involved.");
    Report::new("Survival after resection of colorectal liver metastases")
        .banner(Banner::Phantom(
            "All images and outcomes are simulated. No number here is a clinical result.".into(),
        ))
        .facts(&[
            ("Data", "phantom cohort, 120 subjects".to_owned()),
            ("Seed", "42".to_owned()),
            ("Version", env!("CARGO_PKG_VERSION").to_owned()),
            ("Command", "cargo run -p oncograph-report --example report".to_owned()),
        ])
        .try_section("Training", training)?
        .try_section("Performance", |s| performance(s, &cohort))?
        .try_section("What the model looks at", |s| explanation(s, &cohort))?
        .model_card(&card)
        .write(&path)?;
    println!("report: {path}");
    Ok(())
}
