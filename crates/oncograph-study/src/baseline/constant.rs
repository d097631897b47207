use super::{
    Baseline, HORIZON, Inputs, curve_years, known_classes, known_times, one_by_one, years_and_events,
};
use crate::{Answer, Result, Target, Task};
use oncograph_core::FollowUp;
use oncograph_metrics::{KaplanMeier, Survival, TaaMode, time_adjacent_accuracy};

/// The best that can be answered without looking at a row: for times the best constant by each metric and Kaplan and Meier's survival, for classes and
/// labels their shares among the training rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Constant;

impl Baseline for Constant {
    fn name(&self) -> String {
        "constant".into()
    }

    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>> {
        Ok(Some(match &task.target {
            Target::Survival(times) => {
                let (_, known) = known_times(times, inputs.train);
                vec![best(&known)?; inputs.test.len()]
            }
            Target::Classes { names, classes } => {
                let (_, known) = known_classes(classes, inputs.train);
                let share =
                    |c: usize| known.iter().filter(|k| **k == c).count() as f64 / known.len().max(1) as f64;
                vec![Answer::Probabilities((0..names.len()).map(share).collect()); inputs.test.len()]
            }
            Target::Labels { names, labels } => one_by_one(labels, names.len(), inputs, |_, known| {
                let share = known.iter().filter(|l| **l).count() as f64 / known.len().max(1) as f64;
                Ok(vec![share; inputs.test.len()])
            })?,
        }))
    }
}

/// The constants that are best on the given times.
fn best(times: &[FollowUp]) -> Result<Answer> {
    let (time, event) = years_and_events(times);
    let mut years = time.clone();
    years.sort_by(f64::total_cmp);
    let n = years.len();
    let survival = Survival::new(&time, &event)?;
    let mut best = (f64::NEG_INFINITY, 0.0);
    // Up to the horizon of all predicted times.
    for tenth in 0..=HORIZON * 10 {
        let constant = tenth as f64 / 10.0;
        let share = time_adjacent_accuracy(&survival, &vec![constant; n], 2.0, TaaMode::All)?;
        if share > best.0 {
            best = (share, constant);
        }
    }
    let median = 0.5 * (years[(n - 1) / 2] + years[n / 2]);
    let curve = KaplanMeier::fit(&survival, 0.95)?;
    let yearly = curve_years(survival.last_time()).iter().map(|year| curve.at(*year)).collect();
    let mean = years.iter().sum::<f64>() / n as f64;
    Ok(Answer::ConstantTime { mean, median, adjacent: best.1, survival: yearly })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_best_constants_by_hand() {
        let times: Vec<FollowUp> =
            [1.0, 2.0, 3.0, 10.0].iter().map(|y| FollowUp::years(*y, true).unwrap()).collect();
        let found = best(&times).unwrap();
        let survival = Some([vec![0.75, 0.5], vec![0.25; 7], vec![0.0]].concat());
        assert_eq!(found, Answer::ConstantTime { mean: 4.0, median: 2.5, adjacent: 1.0, survival });
        assert!(best(&[]).is_err());
    }
}
