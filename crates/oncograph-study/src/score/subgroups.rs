use super::{Estimate, Metric, ScoreOptions, Scorer, mean, times::Censoring};
use crate::{Cohort, Result, StudyResults};
use oncograph_core::Argument;
use oncograph_report::{Cell, ReportTable};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;

/// A covariate by which patients are grouped.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Grouping {
    /// What tables call it.
    pub name: String,
    /// The level of each row of the cohort; `None` where it is not known.
    pub levels: Vec<Option<String>>,
}

/// The main metric of a model on the rows of one level of a covariate.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct SubgroupScore {
    /// The covariate; empty for the row of all patients.
    pub grouping: String,
    /// Its level.
    pub level: String,
    /// Rows that are scored.
    pub rows: usize,
    /// Those of them whose event was seen; `None` for a task without times.
    pub events: Option<usize>,
    /// The main metric of the task.
    pub metric: Metric,
    /// Its value, where there is one.
    pub estimate: Option<Estimate>,
}

impl StudyResults {
    /// The main metric of a model on all patients and in subgroups, by the rule of [`Scores`](crate::Scores): a metric that
    /// ranks compares rows of one fold and one level.
    ///
    /// # Errors
    /// A task that the cohort does not have, a grouping of another length, an option outside its range.
    pub fn subgroups(
        &self,
        data: &(impl Cohort + ?Sized),
        (model, task): (&str, &str),
        groupings: &[Grouping],
        options: &ScoreOptions,
    ) -> Result<Vec<SubgroupScore>> {
        let operation = "StudyResults::subgroups";
        let task = data.tasks().iter().find(|t| t.name == task);
        let task = task.ok_or_else(|| Argument::new(operation, "task", "one of the cohort", "another"))?;
        let (held, censoring) = (self.held(model, task), Censoring::new(self, task));
        let groups = data.groups();
        let (groups, seed) = (groups.as_deref(), self.seed);
        let scorer = Scorer { task, groups, held: &held, censoring: &censoring, options, seed };
        let known = scorer.rows();
        let Some(metric) = Metric::of(&task.target, &held).first().copied().filter(|_| !known.is_empty())
        else {
            return Ok(vec![]);
        };
        options.bootstrap(known.len(), held.len()).validate()?;
        let ready = scorer.ready(metric);
        let score = |grouping: &str, level: &str, rows: &[usize]| SubgroupScore {
            grouping: grouping.to_string(),
            level: level.to_string(),
            rows: rows.len(),
            events: scorer.events(rows),
            metric,
            estimate: scorer.interval(rows, &|draw, repeats| mean(&ready, draw, repeats)),
        };
        let mut all = vec![score("", "all patients", &known)];
        for grouping in groupings {
            if grouping.levels.len() != task.target.len() {
                let expected = format!("one for each of {} rows", task.target.len());
                return Err(Argument::new(operation, "levels", expected, grouping.levels.len()).into());
            }
            let level = |row: usize| grouping.levels[row].as_deref().unwrap_or("unknown");
            let levels: BTreeSet<&str> = known.iter().map(|&r| level(r)).collect();
            for one in levels {
                let rows: Vec<usize> = known.iter().copied().filter(|&r| level(r) == one).collect();
                all.push(score(&grouping.name, one, &rows));
            }
        }
        Ok(all)
    }
}

/// The subgroups of a model as a table.
pub fn subgroup_table(caption: impl Into<String>, scores: &[SubgroupScore]) -> ReportTable {
    let metric = scores.first().map_or_else(String::new, |s| s.metric.name());
    let header = ["Subgroup".to_string(), "Patients".into(), "Events".into(), metric];
    let row = |score: &SubgroupScore| {
        let name = match score.grouping.as_str() {
            "" => score.level.clone(),
            grouping => format!("{grouping}: {}", score.level),
        };
        let events = score.events.map_or_else(Cell::dash, Cell::count);
        let value = match score.estimate {
            Some(e) => e.cell(3),
            None => Cell::missing("undefined"),
        };
        [Cell::text(name), Cell::count(score.rows), events, value]
    };
    scores.iter().fold(ReportTable::new(caption, header), |table, score| table.row(row(score)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::{Signed, Toy};
    use crate::{Study, Target};
    use oncograph_train::RunDir;

    #[test]
    fn a_subgroup_is_scored_by_its_own_pairs() {
        let (toy, folder) = (Toy::new(120), tempfile::tempdir().unwrap());
        let run = RunDir::create(folder.path()).unwrap();
        let right = Signed(1.0);
        let results = Study::new(&toy, &run).cross_validation(4, 2).model("right", &right).run().unwrap();
        let level = |i: usize| [Some("a"), Some("b"), Some("b"), None][i % 4].map(String::from);
        let grouping = Grouping { name: "letter".into(), levels: (0..120).map(level).collect() };
        let options = ScoreOptions::default().replicates(50);
        let found = results
            .subgroups(&toy, ("right", "survival"), std::slice::from_ref(&grouping), &options)
            .unwrap();
        let rows: Vec<(&str, usize)> = found.iter().map(|s| (s.level.as_str(), s.rows)).collect();
        assert_eq!(rows, [("all patients", 120), ("a", 30), ("b", 60), ("unknown", 30)]);
        let whole = results.score(&toy, &options).unwrap();
        assert_eq!(found[0].estimate, whole.row("right", "survival").unwrap().first());
        // The same as the metric of a cohort in which nobody else's outcome is known.
        let mut alone = toy.tasks()[0].clone();
        let Target::Survival(times) = &mut alone.target else { panic!() };
        let of_a = |i: &usize| level(*i).as_deref() == Some("a");
        (0..120).filter(|i| !of_a(i)).for_each(|i| times[i] = None);
        let expected = results.main_metric("right", &alone).unwrap();
        assert!((found[1].estimate.unwrap().value - expected).abs() < 1e-12);
        let text = subgroup_table("c", &found).to_text();
        assert!(text.contains("letter: b") && text.contains("C-index"), "{text}");
        let short = Grouping { levels: vec![None], ..grouping };
        assert!(results.subgroups(&toy, ("right", "survival"), &[short], &options).is_err());
    }
}
