//! New patients, from files to reports, with a bundle alone.

use crate::cli::{Args, ImageArgs};
use crate::predictions;
use anyhow::{Context, bail};
use oncograph_datasets::crlm::{CovariateTable, ImageFiles};
use oncograph_deploy::Bundle;
use oncograph_report::{Banner, Cell, RESEARCH_ONLY, Report, ReportTable};
use oncograph_spatiotemporal::{STG_BUNDLE, StgPatient, StgPrediction, StgPredictor, slices_with_masks};
use oncograph_study::cli::{StudyArgs, device, in_precision, one_thread_per_tensor};
use oncograph_train::RunDir;
use std::path::PathBuf;

/// The folder of all predictions below `--out`.
pub const FOLDER: &str = "stg_crlm_predictions";

pub fn run(args: &Args) -> anyhow::Result<()> {
    if args.data.is_some() {
        one_thread_per_tensor()?;
    }
    let path = bundle(args)?;
    let bundle = Bundle::open(&path)?;
    let StudyArgs { device: name, precision, .. } = &args.study;
    let path = path.display().to_string();
    in_precision(name, *precision, || {
        let mut predictor = StgPredictor::open(&bundle, &device(name)?)?;
        if args.images != ImageArgs::default() {
            let options = args.images.load_options();
            options.series.validate()?;
            predictor = predictor.load_options(options);
        }
        match &args.data {
            Some(root) => predictions::run(args, root, &predictor, &path),
            None => one(args, &predictor, &path),
        }
    })
}

fn one(args: &Args, predictor: &StgPredictor, bundle: &str) -> anyhow::Result<()> {
    match (predictor.has_images(), &args.ct, &args.row) {
        (true, None, _) => bail!("--ct is missing: the models of {bundle} have image nodes"),
        (false, Some(_), _) => {
            bail!("--ct would have no effect: the models of {bundle} have no image nodes, they need --row")
        }
        _ => {}
    }
    if args.leave_out_faulty {
        bail!("--leave-out-faulty would have no effect: it is for the patients of --data");
    }
    let answer = predictor.predict(&patient(args)?)?;
    let out = RunDir::create(&args.study.out.join(FOLDER))?;
    write(&answer, &out, bundle)?;
    println!("{}\n{RESEARCH_ONLY}", table(&answer).to_text());
    answer.cautions().iter().for_each(|line| println!("{line}"));
    println!("report: {}", out.file("report.html").display());
    Ok(())
}

/// Writes the files of one patient.
pub fn write(answer: &StgPrediction, out: &RunDir, bundle: &str) -> anyhow::Result<()> {
    out.write_json("prediction.json", answer)?;
    answer.report.write(out.path(), "clinical_report")?;
    Ok(page(answer, bundle).write(out.file("report.html"))?)
}

/// The bundle given on the command line, else that of the newest run.
fn bundle(args: &Args) -> anyhow::Result<PathBuf> {
    let root = args.study.out.join("stg_crlm");
    let run = match (&args.bundle, &args.run) {
        (Some(bundle), _) => return Ok(bundle.clone()),
        (None, Some(run)) => RunDir::open(run)?,
        (None, None) => {
            RunDir::latest_with(&root, &format!("{STG_BUNDLE}/bundle.json"))?.with_context(|| {
                format!(
                    "{}: no finished run to predict with; train one first, or name a --bundle",
                    root.display()
                )
            })?
        }
    };
    let bundle = run.file(STG_BUNDLE);
    if !bundle.exists() {
        bail!("{}: this run is not finished; resume it with --resume", run.path().display());
    }
    Ok(bundle)
}

fn patient(args: &Args) -> anyhow::Result<StgPatient> {
    let patient = match args.row.as_deref() {
        Some([file, id]) => StgPatient::new(id).clinical(CovariateTable::read(file)?.of_patient(id)?),
        _ => StgPatient::new("new patient"),
    };
    let Some(ct) = &args.ct else { return Ok(patient) };
    Ok(patient.images(match &args.seg {
        Some(seg) => {
            ImageFiles::Dicom { ct: ct.clone(), seg: Some(seg.clone()), series: None, unreadable: vec![] }
        }
        None => ImageFiles::nifti_in(ct)?
            .with_context(|| format!("{}: no ct.nii.gz; a CT series needs --seg", ct.display()))?,
    }))
}

fn table(answer: &StgPrediction) -> ReportTable {
    let header = ["Endpoint", "Years", "Range of the models", "Risk group"];
    let caption = format!("Prediction for {} by {} models", answer.patient, answer.models);
    answer.tasks.iter().fold(ReportTable::new(caption, header), |table, t| {
        let range = format!("{:.1} to {:.1}", t.models_years[0], t.models_years[1]);
        table.row([Cell::text(t.task), Cell::number(t.years, 1), Cell::text(range), Cell::text(t.risk_group)])
    })
}

fn page(answer: &StgPrediction, bundle: &str) -> Report {
    let mut report = Report::new(format!("STG: prediction for {}", answer.patient));
    if answer.trained_on_phantom {
        report = report.banner(Banner::PhantomModels(
            "The models behind this page were trained on generated patients: the answer means nothing for this one."
                .into(),
        ));
    }
    let model = &answer.report.model;
    let facts = [
        ("Bundle", bundle.to_string()),
        ("Models", answer.models.to_string()),
        ("Version", model.version.clone()),
        ("Hash", model.hash.clone()),
    ];
    report.banner(Banner::Notice(RESEARCH_ONLY.into())).facts(&facts).section("Prediction", |s| {
        s.table(table(answer));
        for line in answer.cautions() {
            s.paragraph(line);
        }
        if let Some(images) = &answer.prepared {
            let shown = [(answer.patient.clone(), images.clone())];
            s.figure_or_reason("Slices with masks", slices_with_masks(&shown));
        }
    })
}
