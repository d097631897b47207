use crate::baseline::HORIZON;
use crate::csv_file::write_csv;
use crate::results::Held;
use crate::score::survival_at;
use crate::{Answer, Cohort, Error, Result, StudyResults, Target};
use oncograph_core::FollowUp;
use std::collections::BTreeMap;
use std::path::Path;

/// The names of thirds of risk, from low to high.
pub(crate) const TERTILES: [&str; 3] = ["low", "middle", "high"];

/// The third of the held-out risks of its fold that each row is in, 0 for the lowest: risks of two folds' models are not
/// comparable, and what a model would have given its training rows is not kept. `None` without a known time or a risk.
pub(crate) fn tertiles(held: &[Option<Held>], times: &[Option<FollowUp>]) -> Vec<Option<usize>> {
    let mut folds: BTreeMap<usize, Vec<(f64, usize)>> = BTreeMap::new();
    for (row, (held, time)) in held.iter().zip(times).enumerate() {
        let (Some(held), Some(_)) = (held, time) else { continue };
        if let Answer::Survival { risk, .. } = held.answer {
            folds.entry(held.fold).or_default().push((risk, row));
        }
    }
    let mut groups = vec![None; held.len()];
    for mut fold in folds.into_values() {
        fold.sort_by(|a, b| a.0.total_cmp(&b.0));
        let n = fold.len();
        fold.iter().enumerate().for_each(|(i, (_, row))| groups[*row] = Some(3 * i / n));
    }
    groups
}

impl StudyResults {
    /// Writes one line per patient, model and task with times as CSV.
    ///
    /// | column | what it is |
    /// |---|---|
    /// | `fold`, `risk`, `risk_group` | of the first repetition; the group is the third of the held-out risks of that fold, as in [`risk_tertiles`](crate::risk_tertiles) |
    /// | `years`, `survival_1y`, ... | the means over repetitions |
    /// | `years_low`, `years_high` | the smallest and largest predicted time of the repetitions, where there are several |
    /// | `observed_years`, `event` | what is known; empty where nothing is |
    ///
    /// What a model does not give is empty.
    ///
    /// # Errors
    /// [`crate::Error::AtFile`] with the path.
    pub fn write_patients(&self, data: &(impl Cohort + ?Sized), path: &Path) -> Result<()> {
        let mut writer = csv::Writer::from_writer(vec![]);
        let first =
            ["patient", "model", "task", "fold", "risk", "risk_group", "years", "years_low", "years_high"];
        let curve = (1..=HORIZON).map(|year| format!("survival_{year}y"));
        let header = first.into_iter().map(String::from).chain(curve);
        let header: Vec<String> = header.chain(["observed_years", "event"].map(String::from)).collect();
        writer.write_record(header).map_err(Error::system)?;
        for task in data.tasks() {
            let Target::Survival(times) = &task.target else { continue };
            for model in self.models() {
                let held = self.held(model, task);
                let groups = held.first().map(|first| tertiles(first, times)).unwrap_or_default();
                for (row, patient) in data.ids().iter().enumerate() {
                    let all: Option<Vec<&Held>> = held.iter().map(|r| r[row].as_ref()).collect();
                    let Some(all) = all.filter(|a| !a.is_empty()) else { continue };
                    let names = [patient, model, task.name.as_str()].map(String::from);
                    let group = groups[row].map_or("", |g| TERTILES[g]);
                    let line = names.into_iter().chain(numbers(&all, group)).chain(outcome(times[row]));
                    writer.write_record(line).map_err(Error::system)?;
                }
            }
        }
        write_csv(writer, path)
    }
}

/// The columns between the names and the outcome, from the answers of all repetitions.
fn numbers(all: &[&Held], group: &str) -> Vec<String> {
    let text = |value: Option<f64>| value.map(|v| v.to_string()).unwrap_or_default();
    let mean = |of: &dyn Fn(&Answer) -> Option<f64>| {
        let values: Option<Vec<f64>> = all.iter().map(|h| of(&h.answer)).collect();
        values.map(|v| v.iter().sum::<f64>() / v.len() as f64)
    };
    let years = |answer: &Answer| match answer {
        Answer::Survival { years, .. } => *years,
        Answer::ConstantTime { median, .. } => Some(*median),
        Answer::Probabilities(_) => None,
    };
    let risk = match all[0].answer {
        Answer::Survival { risk, .. } => Some(risk),
        _ => None,
    };
    let end = |better: fn(f64, f64) -> f64| {
        let several = all.len() > 1;
        all.iter().filter_map(|h| years(&h.answer)).reduce(better).filter(|_| several)
    };
    let first = [text(risk), group.to_string(), text(mean(&years)), text(end(f64::min)), text(end(f64::max))];
    let curve = (1..=HORIZON).map(|year| text(mean(&|answer| survival_at(answer, year))));
    std::iter::once(all[0].fold.to_string()).chain(first).chain(curve).collect()
}

fn outcome(time: Option<FollowUp>) -> [String; 2] {
    match time {
        Some(known) => [known.in_years().to_string(), u8::from(known.event()).to_string()],
        None => Default::default(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Toy;
    use crate::{Constant, CoxRidge, Study};
    use oncograph_train::RunDir;

    #[test]
    fn a_line_holds_what_the_repetitions_say_and_what_happened() {
        let (toy, folder) = (Toy::new(45), tempfile::tempdir().unwrap());
        let run = RunDir::create(folder.path()).unwrap();
        let study = Study::new(&toy, &run).cross_validation(3, 2);
        let results = study.baseline(CoxRidge::new(1.0)).baseline(Constant).run().unwrap();
        let path = folder.path().join("patients.csv");
        results.write_patients(&toy, &path).unwrap();
        let mut reader = csv::Reader::from_path(&path).unwrap();
        let header = reader.headers().unwrap().clone();
        let lines: Vec<csv::StringRecord> = reader.records().map(|r| r.unwrap()).collect();
        assert_eq!(lines.len(), 2 * 45);
        let column = |name: &str| header.iter().position(|h| h == name).unwrap();
        let number = |line: &csv::StringRecord, name: &str| line[column(name)].parse::<f64>().ok();
        let task = &toy.tasks()[0];
        let held = results.held("Cox, ridge", task);
        let years = |repeat: usize| match held[repeat][4].as_ref().unwrap().answer {
            Answer::Survival { years: Some(years), .. } => years,
            _ => panic!(),
        };
        assert_eq!(number(&lines[4], "years"), Some(0.5 * (years(0) + years(1))));
        assert_eq!(number(&lines[4], "years_low"), Some(years(0).min(years(1))));
        assert!(number(&lines[4], "survival_1y") > number(&lines[4], "survival_3y"));
        // Of 15 held-out patients of a fold five are in each third, the riskiest in the highest.
        for fold in 0..3 {
            let fold: Vec<_> =
                lines[..45].iter().filter(|l| l[column("fold")] == *fold.to_string()).collect();
            let high = |l: &&&csv::StringRecord| l[column("risk_group")] == *"high";
            let least = fold.iter().filter(high).filter_map(|l| number(l, "risk")).reduce(f64::min).unwrap();
            assert_eq!(fold.iter().filter(high).count(), 5);
            assert_eq!(fold.iter().filter(|l| number(l, "risk").unwrap() >= least).count(), 5);
        }
        let Target::Survival(times) = &task.target else { panic!() };
        assert_eq!(number(&lines[44], "observed_years"), times[44].map(|f| f.in_years()));
        // The constant ranks nobody.
        assert_eq!((&lines[45][column("risk")], &lines[45][column("risk_group")]), ("", ""));
        assert!(number(&lines[45], "survival_1y").is_some());
    }
}
