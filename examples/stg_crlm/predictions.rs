//! All patients of a folder: a table and a page of them, and the files of each.

use crate::cli::Args;
use crate::names::endpoint;
use crate::predict::{FOLDER, write};
use anyhow::bail;
use oncograph_core::write_file;
use oncograph_datasets::crlm::{CrlmPatients, SubjectFiles};
use oncograph_report::{Banner, Cell, RESEARCH_ONLY, Report, ReportTable};
use oncograph_spatiotemporal::{StgPatient, StgPrediction, StgPredictor};
use oncograph_study::cli::{STOPPED, progress_bar, stop_on_ctrl_c, workers};
use oncograph_study::side_by_side;
use oncograph_train::RunDir;
use std::path::Path;

/// What became of a patient.
enum Outcome {
    /// The files are written.
    Predicted(Box<StgPrediction>),
    /// There is no prediction, and why.
    Failed { patient: String, why: String },
    /// The program was to stop before it began.
    NotBegun,
}

pub fn run(args: &Args, root: &Path, predictor: &StgPredictor, bundle: &str) -> anyhow::Result<()> {
    let stop = stop_on_ctrl_c()?;
    let patients = match &args.clinical {
        Some(table) => CrlmPatients::open_with(root, table)?,
        None => CrlmPatients::open(root)?,
    };
    let notes = notes(&patients, predictor.has_images());
    notes.iter().for_each(|note| eprintln!("{note}"));
    let out = RunDir::create(&args.study.out.join(FOLDER))?;
    let bar = progress_bar(patients.subjects.len() as u64, "predicting");
    let one = |subject: &SubjectFiles| -> anyhow::Result<Outcome> {
        if stop.is_requested() {
            return Ok(Outcome::NotBegun);
        }
        let predicted = patient(subject, &patients).and_then(|patient| Ok(predictor.predict(&patient)?));
        bar.inc(1);
        match predicted {
            Ok(mut answer) => {
                write_whole(&answer, &out, bundle)?;
                // The images of one patient at a time for each worker, not those of all.
                answer.prepared = None;
                Ok(Outcome::Predicted(Box::new(answer)))
            }
            Err(e) => {
                Ok(Outcome::Failed { patient: subject.id.clone(), why: e.to_string().replace('\n', " ") })
            }
        }
    };
    let outcomes = side_by_side(&patients.subjects, workers(), one)?;
    bar.finish_and_clear();
    let (mut answers, mut failed) = (vec![], vec![]);
    for outcome in outcomes {
        match outcome {
            Outcome::Predicted(answer) => answers.push(*answer),
            Outcome::Failed { patient, why } => failed.push([patient, why]),
            Outcome::NotBegun => {}
        }
    }
    let found = Found { answers: &answers, failed: &failed, notes: &notes, all: patients.subjects.len() };
    found.write(&out, bundle, patients.phantom)?;
    if stop.is_requested() && found.done() < found.all {
        eprintln!("stopped on request before {} of {} patients", found.all - found.done(), found.all);
        std::process::exit(i32::from(STOPPED));
    }
    found.verdict(args.leave_out_faulty)
}

/// What has to be known of the folder before any number of it is read.
fn notes(patients: &CrlmPatients, images: bool) -> Vec<String> {
    let mut notes = patients.table.as_ref().map(|table| table.notes.clone()).unwrap_or_default();
    let with_images = patients.subjects.iter().filter(|s| s.images.is_some()).count();
    if !images && with_images > 0 {
        notes.push(format!(
            "The models have no image nodes: the images of {with_images} patients have no part in this."
        ));
    }
    let row = |s: &&SubjectFiles| patients.table.as_ref().is_some_and(|t| t.position(&s.id).is_some());
    let without = patients.subjects.iter().filter(|s| !row(s)).count();
    if without > 0 {
        notes.push(format!(
            "{without} patients have no clinical row: all of their covariates count as missing."
        ));
    }
    notes
}

fn patient(subject: &SubjectFiles, patients: &CrlmPatients) -> anyhow::Result<StgPatient> {
    let mut patient = StgPatient::new(&subject.id);
    if let Some(images) = &subject.images {
        patient = patient.images(images.clone());
    }
    Ok(match patients.table.as_ref().filter(|table| table.position(&subject.id).is_some()) {
        Some(table) => patient.clinical(table.of_patient(&subject.id)?),
        None => patient,
    })
}

/// Writes a patient's folder under a hidden name, and names it when it is whole.
fn write_whole(answer: &StgPrediction, out: &RunDir, bundle: &str) -> anyhow::Result<()> {
    let begun = RunDir::open(&out.folder(&format!(".{}", answer.patient))?)?;
    write(answer, &begun, bundle)?;
    Ok(std::fs::rename(begun.path(), out.file(&answer.patient))?)
}

/// All that a folder gave.
struct Found<'a> {
    answers: &'a [StgPrediction],
    /// Patient and reason.
    failed: &'a [[String; 2]],
    notes: &'a [String],
    /// Patients in all.
    all: usize,
}

impl Found<'_> {
    fn done(&self) -> usize {
        self.answers.len() + self.failed.len()
    }

    fn write(&self, out: &RunDir, bundle: &str, phantom: bool) -> anyhow::Result<()> {
        if self.answers.is_empty() {
            // Nobody was predicted: nothing is left behind.
            return Ok(std::fs::remove_dir_all(out.path())?);
        }
        write_file(out.file("predictions.csv"), &self.csv()?)?;
        self.page(bundle, phantom).write(out.file("report.html"))?;
        if self.answers.iter().any(|a| a.trained_on_phantom) {
            println!("PHANTOM: the models were trained on generated patients: the answers mean nothing.");
        }
        println!("{} of {} patients are predicted. {RESEARCH_ONLY}", self.answers.len(), self.all);
        println!("report: {}", out.file("report.html").display());
        Ok(())
    }

    /// The list of those who failed, as an error unless they may be left out.
    fn verdict(&self, leave_out: bool) -> anyhow::Result<()> {
        let list: Vec<String> =
            self.failed.iter().map(|[patient, why]| format!("{patient}: {why}")).collect();
        if self.failed.is_empty() || (leave_out && !self.answers.is_empty()) {
            list.iter().for_each(|line| eprintln!("not predicted: {line}"));
            return Ok(());
        }
        let (failed, all) = (self.failed.len(), self.all);
        bail!(
            "{failed} of {all} patients are not predicted, --leave-out-faulty accepts that of some: {}",
            list.join("; ")
        )
    }

    /// One line per patient and task.
    fn csv(&self) -> anyhow::Result<Vec<u8>> {
        let years = self.answers.iter().flat_map(|a| &a.tasks).map(|t| t.survival.len()).max().unwrap_or(0);
        let first =
            ["patient", "task", "years", "years_low", "years_high", "risk", "percentile", "risk_group"];
        let header = first.map(String::from).into_iter().chain((1..=years).map(|y| format!("survival_{y}y")));
        let mut writer = csv::Writer::from_writer(vec![]);
        writer.write_record(header.chain(["missing_structures", "missing_covariates"].map(String::from)))?;
        for answer in self.answers {
            for t in &answer.tasks {
                let [low, high] = t.models_years;
                let numbers = [t.years, low, high, t.risk, t.percentile].map(|v| v.to_string());
                let curve = (0..years).map(|y| t.survival.get(y).map(f64::to_string).unwrap_or_default());
                let line = [answer.patient.clone(), t.task.into()].into_iter().chain(numbers);
                let line = line.chain([t.risk_group.to_string()]).chain(curve);
                writer.write_record(
                    line.chain([answer.missing_structures.join("; "), answer.missing_covariates.join("; ")]),
                )?;
            }
        }
        Ok(writer.into_inner()?)
    }

    fn page(&self, bundle: &str, phantom: bool) -> Report {
        let mut report = Report::new(format!("STG: predictions for {} patients", self.answers.len()));
        if self.answers.iter().any(|a| a.trained_on_phantom) {
            report = report.banner(Banner::PhantomModels(
                "The models behind this page were trained on generated patients: the answers mean nothing."
                    .into(),
            ));
        }
        if phantom {
            report = report.banner(Banner::Phantom("The patients of this page were generated.".into()));
        }
        let model = &self.answers[0].report.model;
        let facts = [
            ("Bundle", bundle.to_string()),
            ("Models", self.answers[0].models.to_string()),
            ("Version", model.version.clone()),
            ("Hash", model.hash.clone()),
            ("Patients", format!("{}, {} of them predicted", self.all, self.answers.len())),
        ];
        let report = report.banner(Banner::Notice(RESEARCH_ONLY.into())).facts(&facts);
        let report = report.section("Predictions", |s| {
            self.notes.iter().for_each(|note| {
                s.paragraph(note);
            });
            if self.done() < self.all {
                s.paragraph(format!("Stopped on request before {} patients.", self.all - self.done()));
            }
            s.table(self.table());
        });
        if self.failed.is_empty() {
            return report;
        }
        report.section("Not predicted", |s| {
            let table = ReportTable::new("Patients of whom there is no prediction", ["Patient", "Why"]);
            let row = |table: ReportTable, [patient, why]: &[String; 2]| {
                table.row([Cell::text(patient.clone()), Cell::text(why.clone())])
            };
            s.table(self.failed.iter().fold(table, row));
        })
    }

    fn table(&self) -> ReportTable {
        let header =
            ["Patient", "Endpoint", "Years", "Range of the models", "Percentile", "Risk group", "Missing"];
        let caption = format!("Predictions by {} models", self.answers[0].models);
        let mut table = ReportTable::new(caption, header);
        for answer in self.answers {
            let structures = answer.missing_structures.iter().map(|s| s.to_string());
            let covariates = answer.missing_covariates.iter().map(|c| crate::names::covariate(c));
            let missing: Vec<String> = structures.chain(covariates).collect();
            for t in &answer.tasks {
                let [low, high] = t.models_years;
                table = table.row([
                    Cell::text(answer.patient.clone()),
                    Cell::text(endpoint(t.task)),
                    Cell::number(t.years, 1),
                    Cell::text(format!("{low:.1} to {high:.1}")),
                    Cell::number(100.0 * t.percentile, 0),
                    Cell::text(t.risk_group),
                    Cell::text(missing.join(", ")),
                ]);
            }
        }
        table.note(
            "Percentile: the share of the run's own patients with a smaller risk, in percent; risk groups are their thirds. \
             The range is the disagreement of the models, not a confidence interval. Missing: structures that were left out \
             and covariates taken from the training median.",
        )
    }
}
