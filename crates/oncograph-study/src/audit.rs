use crate::{Answer, Cohort, Result, StudyResults, Target, Task};
use oncograph_core::write_file;
use oncograph_datasets::scaler::Matrix;
use oncograph_report::{Cell, ReportTable};
use serde::{Deserialize, Serialize};
use std::collections::{HashMap, HashSet};
use std::path::Path;

/// A covariate that alone ranks better than this is suspected to be made from the outcome.
const SUSPECT: f64 = 0.9;
/// Findings that are named.
const NAMED: usize = 5;

/// A cohort whose covariates can be changed, to prove that rows that are held out do not reach those that are learnt from.
pub trait DisturbInputs: Cohort + Sized {
    /// The same cohort in which every known covariate of `rows` has another value; what is missing stays missing.
    ///
    /// # Errors
    /// An error of the cohort's table.
    fn disturbed(&self, rows: &[usize]) -> Result<Self>;
}

/// One check of a [`LeakageAudit`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct AuditCheck {
    /// What was checked.
    pub check: String,
    /// Whether nothing was found.
    pub passed: bool,
    /// What was found, or what was looked at.
    pub found: String,
}

/// What a program checks on its own run: whether outcomes or held-out rows could have reached what was learnt.
///
/// It looks at splits, outcomes and the covariates that baselines are given; what a network makes of images is not covered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeakageAudit {
    /// The checks, in the order of the table.
    pub checks: Vec<AuditCheck>,
}

impl LeakageAudit {
    /// Checks a run:
    ///
    /// 1. no patient is held out and learnt from in one fold;
    /// 2. no two patients with equal covariates and outcomes are on both sides of a split;
    /// 3. covariates of the rows that are learnt from stay the same, bit for bit, when those of held-out rows change;
    /// 4. no covariate alone ranks better than 0.9 by the main metric of a task, in either direction;
    /// 5. no covariate is among `known_later`, the columns that are not known when a prediction is made.
    ///
    /// # Errors
    /// An error of [`Cohort::design`].
    pub fn new<D: DisturbInputs>(results: &StudyResults, data: &D, known_later: &[&str]) -> Result<Self> {
        let all: Vec<usize> = (0..data.ids().len()).collect();
        let design = data.design(&all)?;
        let checks = vec![
            held_out(results, data),
            alike(results, data, &design),
            scaling(results, data)?,
            single_covariates(results, data, &design),
            later(&design, known_later),
        ];
        Ok(LeakageAudit { checks })
    }

    /// Whether every check passed.
    pub fn passed(&self) -> bool {
        self.checks.iter().all(|c| c.passed)
    }

    /// The checks as a table.
    pub fn table(&self) -> ReportTable {
        let caption = "Leakage audit: checks that the program made on this run";
        let empty = ReportTable::new(caption, ["Check", "Result", "Found"]);
        let table = self.checks.iter().fold(empty, |table, c| {
            let result = if c.passed { "passed" } else { "failed" };
            table.row([Cell::text(&*c.check), Cell::text(result), Cell::text(&*c.found)])
        });
        table.note("On splits, outcomes and covariates; features of images are not covered.")
    }

    /// Writes the checks as JSON.
    ///
    /// # Errors
    /// [`crate::Error::AtFile`] with the path.
    pub fn write(&self, path: &Path) -> Result<()> {
        let json = serde_json::to_vec_pretty(self).map_err(crate::Error::system)?;
        Ok(write_file(path, &json)?)
    }
}

fn check(what: &str, findings: &[String], looked_at: String) -> AuditCheck {
    let found = match findings {
        [] => looked_at,
        _ => {
            let more = findings.len().saturating_sub(NAMED);
            let named = findings[..findings.len() - more].join("; ");
            if more > 0 { format!("{named}; and {more} more") } else { named }
        }
    };
    AuditCheck { check: what.into(), passed: findings.is_empty(), found }
}

/// What all rows of a patient share.
fn patients(data: &impl Cohort) -> Vec<usize> {
    data.groups().unwrap_or_else(|| (0..data.ids().len()).collect())
}

fn held_out(results: &StudyResults, data: &impl Cohort) -> AuditCheck {
    let patient = patients(data);
    let mut findings = vec![];
    for fold in results.splits() {
        let split = &fold.split;
        let learnt: HashSet<usize> =
            split.train.iter().chain(&split.validation).map(|&r| patient[r]).collect();
        let twice = split.test.iter().filter(|&&r| learnt.contains(&patient[r]));
        findings.extend(twice.map(|&r| format!("{} in fold {}-{}", data.ids()[r], fold.repeat, fold.fold)));
    }
    let looked_at = format!("{} splits", results.splits().len());
    check("no patient is held out and learnt from in one fold", &findings, looked_at)
}

fn alike(results: &StudyResults, data: &impl Cohort, design: &Matrix) -> AuditCheck {
    let patient = patients(data);
    let key = |row: usize| -> (Vec<u64>, String) {
        let outcomes: Vec<String> = data.tasks().iter().map(|t| outcome(&t.target, row)).collect();
        (design.rows[row].iter().map(|v| v.to_bits()).collect(), outcomes.join(" "))
    };
    let keys: Vec<_> = (0..data.ids().len()).map(key).collect();
    let (mut findings, mut seen) = (vec![], HashSet::new());
    for fold in results.splits() {
        let learnt: HashMap<_, usize> =
            fold.split.train.iter().chain(&fold.split.validation).map(|&r| (&keys[r], r)).collect();
        for &row in &fold.split.test {
            let Some(&other) = learnt.get(&keys[row]).filter(|&&o| patient[o] != patient[row]) else {
                continue;
            };
            if seen.insert((row.min(other), row.max(other))) {
                findings.push(format!("{} and {}", data.ids()[row], data.ids()[other]));
            }
        }
    }
    let looked_at = format!("{} rows", keys.len());
    let what = "no two patients with equal covariates and outcomes are on both sides of a split";
    check(what, &findings, looked_at)
}

/// What is known of a row, as text that is equal where it is.
fn outcome(target: &Target, row: usize) -> String {
    match target {
        Target::Survival(times) => format!("{:?}", times[row]),
        Target::Classes { classes, .. } => format!("{:?}", classes[row]),
        Target::Labels { labels, .. } => format!("{:?}", labels[row]),
    }
}

fn scaling(results: &StudyResults, data: &impl DisturbInputs) -> Result<AuditCheck> {
    let first: Vec<_> = results.splits().iter().filter(|s| s.repeat == 0).collect();
    let mut findings = vec![];
    for fold in &first {
        let mut learnt = [fold.split.train.clone(), fold.split.validation.clone()].concat();
        learnt.sort_unstable();
        let (own, other) = (data.design(&learnt)?, data.disturbed(&fold.split.test)?.design(&learnt)?);
        let same = |r: &usize| {
            own.rows[*r].iter().map(|v| v.to_bits()).eq(other.rows[*r].iter().map(|v| v.to_bits()))
        };
        if !learnt.iter().all(same) {
            findings.push(format!("fold {} is scaled by rows that it holds out", fold.fold));
        } else if fold.split.test.iter().all(same) {
            findings.push(format!("the held-out rows of fold {} could not be changed", fold.fold));
        }
    }
    let looked_at =
        format!("{} folds of the first repetition, each with other values in its held-out rows", first.len());
    Ok(check("scaling and imputation do not depend on held-out rows", &findings, looked_at))
}

fn single_covariates(results: &StudyResults, data: &impl Cohort, design: &Matrix) -> AuditCheck {
    let (mut findings, mut best) = (vec![], (0.5, String::from("none")));
    for task in data.tasks() {
        for (column, name) in design.names.iter().enumerate() {
            let values: Vec<f64> = design.rows.iter().map(|r| r[column]).collect();
            let Some(ranks) = alone(results, task, &values).map(|c| c.max(1.0 - c)) else { continue };
            let named = format!("{name} ranks {} by {ranks:.3}", task.name);
            if ranks > SUSPECT {
                findings.push(named.clone());
            }
            if ranks > best.0 {
                best = (ranks, named);
            }
        }
    }
    let looked_at = format!("{} columns; the best: {}", design.names.len(), best.1);
    check(&format!("no covariate alone ranks better than {SUSPECT}"), &findings, looked_at)
}

/// The main metric of a column as it is; `None` for what it cannot rank.
fn alone(results: &StudyResults, task: &Task, values: &[f64]) -> Option<f64> {
    let answer = |v: f64| match &task.target {
        Target::Survival(_) => Some(Answer::risk(v)),
        Target::Classes { names, .. } if names.len() == 2 => Some(Answer::Probabilities(vec![-v, v])),
        _ => None,
    };
    let model = results.models().first()?.to_string();
    let mut jobs = vec![];
    for job in results.of_model(&model) {
        let answers = job.test.iter().map(|&r| answer(values[r])).collect::<Option<Vec<_>>>()?;
        jobs.push(crate::JobResult { answers: [(task.name.clone(), answers)].into(), ..job.clone() });
    }
    results.with_only(jobs).main_metric(&model, task)
}

fn later(design: &Matrix, known_later: &[&str]) -> AuditCheck {
    let used = design.names.iter().filter(|name| known_later.contains(&name.as_str())).cloned();
    let looked_at =
        format!("{} columns against {} that are known later", design.names.len(), known_later.len());
    check("no covariate is known only after the prediction is made", &used.collect::<Vec<_>>(), looked_at)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Toy;
    use crate::{Constant, FoldSplit, Plan, Study};
    use oncograph_core::Split;
    use oncograph_train::RunDir;

    fn results(data: &impl Cohort, plan: Plan) -> StudyResults {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDir::create(folder.path()).unwrap();
        Study::new(data, &run).plan(plan).baseline(Constant).run().unwrap()
    }

    const FOLDS: Plan = Plan::CrossValidation { folds: 3, repeats: 2 };

    fn failed(audit: &LeakageAudit) -> Vec<usize> {
        (0..audit.checks.len()).filter(|&k| !audit.checks[k].passed).collect()
    }

    /// The times of a [`Toy`]; leaky, its covariates are centred by all rows, and have the outcome among them.
    struct Times {
        toy: Toy,
        leaky: bool,
    }

    impl Times {
        fn clean(toy: Toy) -> Self {
            Times { toy, leaky: false }
        }
    }

    impl Cohort for Times {
        fn ids(&self) -> &[String] {
            self.toy.ids()
        }

        fn tasks(&self) -> &[Task] {
            &self.toy.tasks()[..1]
        }

        fn groups(&self) -> Option<Vec<usize>> {
            self.toy.groups()
        }

        fn design(&self, train: &[usize]) -> Result<Matrix> {
            let mut design = self.toy.design(train)?;
            if !self.leaky {
                return Ok(design);
            }
            let mean = self.toy.x.iter().sum::<f64>() / self.toy.x.len() as f64;
            let Target::Survival(times) = &self.tasks()[0].target else { panic!() };
            for (row, time) in design.rows.iter_mut().zip(times) {
                row[0] -= mean;
                row.push(time.map_or(0.0, |f| f.in_years()));
            }
            design.names.push("years".into());
            Ok(design)
        }
    }

    impl DisturbInputs for Times {
        fn disturbed(&self, rows: &[usize]) -> Result<Self> {
            Ok(Times { toy: self.toy.disturbed(rows)?, leaky: self.leaky })
        }
    }

    #[test]
    fn a_clean_run_passes_and_is_written() {
        let data = Times::clean(Toy::new(60));
        let audit = LeakageAudit::new(&results(&data, FOLDS), &data, &["later"]).unwrap();
        assert!(audit.passed(), "{audit:?}");
        assert!(audit.checks[3].found.contains("x ranks"), "{audit:?}");
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("leakage.json");
        audit.write(&path).unwrap();
        let read: LeakageAudit = serde_json::from_slice(&std::fs::read(path).unwrap()).unwrap();
        assert_eq!(read, audit);
        assert!(audit.table().to_text().contains("passed"));
    }

    #[test]
    fn scans_of_a_held_out_patient_are_found() {
        let mut data = Times::clean(Toy::new(60));
        let made = results(&data, FOLDS);
        data.toy.groups = Some((0..60).map(|i| i / 2).collect());
        assert_eq!(failed(&LeakageAudit::new(&made, &data, &[]).unwrap()), [0]);
    }

    #[test]
    fn a_patient_who_is_there_twice_is_found() {
        let split = |fold: usize| {
            let (test, train): (Vec<usize>, Vec<usize>) = (0..60).partition(|r| r / 20 == fold);
            FoldSplit { repeat: 0, fold, split: Split::new(train, vec![], test) }
        };
        let splits = (0..3).map(split).collect();
        let twice = Times::clean(Toy::new(60).repeated(0, 40));
        let audit = LeakageAudit::new(&results(&twice, Plan::Given(splits)), &twice, &[]).unwrap();
        assert_eq!(failed(&audit), [1]);
        assert_eq!(audit.checks[1].found, "toy-001 and toy-041");
    }

    #[test]
    fn scaling_by_all_rows_and_a_column_made_from_the_outcome_are_found() {
        let data = Times { toy: Toy::new(60), leaky: true };
        let audit = LeakageAudit::new(&results(&data, FOLDS), &data, &["noise"]).unwrap();
        assert_eq!(failed(&audit), [2, 3, 4]);
        assert!(audit.checks[3].found.starts_with("years ranks survival by"), "{audit:?}");
        assert_eq!(audit.checks[4].found, "noise");
    }
}
