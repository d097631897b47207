use crate::figure::with_times;
use crate::results::Held;
use crate::score::survival_at;
use crate::wide::tertiles;
use crate::{Cohort, Result, StudyResults};
use oncograph_core::{Argument, FollowUp, TimeUnit};
use oncograph_metrics::{KaplanMeier, Survival};
use oncograph_report::chart::{LearningCurve, learning_curves};
use oncograph_report::{Figure, palette};

impl StudyResults {
    /// The third of a model's held-out risks that each row is in, 0 for the lowest: within its fold, in the first repetition. `None`
    /// for a row without a known time or a risk.
    ///
    /// # Errors
    /// A task without times.
    pub fn thirds(
        &self,
        data: &(impl Cohort + ?Sized),
        model: &str,
        task: &str,
    ) -> Result<Vec<Option<usize>>> {
        let (task, times) = with_times(data, task, "StudyResults::thirds")?;
        let held = self.held(model, task);
        Ok(held.first().map_or_else(|| vec![None; times.len()], |first| tertiles(first, times)))
    }
}

/// The mean predicted probability to be free of the event at the end of each year by thirds of a model's held-out risk in the
/// first repetition, beside the Kaplan-Meier estimate of the same rows (dashed), as far as one of them was followed.
///
/// # Errors
/// A task without times, a model without survival curves, a third without a row.
pub fn predicted_survival(
    results: &StudyResults,
    data: &(impl Cohort + ?Sized),
    model: &str,
    task: &str,
) -> Result<Figure> {
    const OP: &str = "predicted_survival";
    let (of_task, times) = with_times(data, task, OP)?;
    let thirds = results.thirds(data, model, task)?;
    let held = results.held(model, of_task);
    let mut curves = vec![];
    for (third, name) in ["low risk", "middle", "high risk"].into_iter().enumerate() {
        let rows = thirds.iter().enumerate().filter(|(_, own)| **own == Some(third));
        let rows = rows.filter_map(|(row, _)| Some((held.first()?[row].as_ref()?, times[row]?)));
        let (answers, known): (Vec<&Held>, Vec<FollowUp>) = rows.unzip();
        let predicted = mean_curve(&answers);
        if predicted.len() < 2 {
            return Err(Argument::new(OP, "model", "one with survival curves for three thirds", model).into());
        }
        let estimate = KaplanMeier::fit(&Survival::of(&known, TimeUnit::Years)?, 0.95)?;
        let years = (0..predicted.len()).map(|year| year as f64);
        let observed =
            years.map_while(|year| Some((year, if year > 0.0 { estimate.at(year)? } else { 1.0 })));
        let predicted = predicted.iter().enumerate().map(|(year, p)| (year as f64, *p));
        curves.push(
            LearningCurve::new(format!("{name}, predicted"), predicted.collect())
                .colour(palette::RISK[third]),
        );
        let observed = LearningCurve::new(format!("{name}, Kaplan-Meier"), observed.collect());
        curves.push(observed.colour(palette::RISK[third]).dashed());
    }
    let figure = learning_curves(&curves, "Years", "Event-free probability")?;
    let figure = figure.with_remark("Dashed: the Kaplan-Meier estimate of the same rows.");
    let figure = match held.len() {
        0 | 1 => figure,
        n => figure.with_remark(format!("Of the first of {n} repetitions of the cross-validation.")),
    };
    Ok(figure
        .titled(format!("Predicted and observed curves, {task}: tertiles of the held-out risk of {model}")))
}

/// The mean of the curves from year 0 on, as far as all of them go.
fn mean_curve(held: &[&Held]) -> Vec<f64> {
    let at = |year: usize| {
        let all: Option<Vec<f64>> = held.iter().map(|h| survival_at(&h.answer, year)).collect();
        all.filter(|all| !all.is_empty()).map(|all| all.iter().sum::<f64>() / all.len() as f64)
    };
    std::iter::once(1.0).chain((1..).map_while(at)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::Toy;
    use crate::{Answer, CoxLasso, CoxRidge, Study};
    use oncograph_train::RunDir;

    #[test]
    fn thirds_differ_in_what_is_predicted_and_in_what_happened() {
        let (toy, folder) = (Toy::new(150), tempfile::tempdir().unwrap());
        let run = RunDir::create(folder.path()).unwrap();
        let study = Study::new(&toy, &run).baseline(CoxRidge::new(1.0)).baseline(CoxLasso::new());
        let results = study.run().unwrap();
        let figure = predicted_survival(&results, &toy, "Cox, ridge", "survival").unwrap();
        for part in ["low risk, predicted", "high risk, Kaplan-Meier"] {
            assert!(figure.svg().unwrap().contains(part), "{part}");
        }
        let thirds = results.thirds(&toy, "Cox, ridge", "survival").unwrap();
        let count = |third| thirds.iter().filter(|t| **t == Some(third)).count();
        assert_eq!([0, 1, 2].map(count), [50; 3]);
        let error = predicted_survival(&results, &toy, "Cox, lasso", "survival").unwrap_err().to_string();
        assert!(error.contains("survival curves"), "{error}");
        assert!(results.thirds(&toy, "Cox, ridge", "response").is_err());
    }

    #[test]
    fn a_mean_curve_ends_with_the_shortest() {
        let held = |curve: &[f64]| Held {
            fold: 0,
            answer: Answer::Survival { risk: 0.0, years: None, survival: Some(curve.to_vec()) },
        };
        let (a, b) = (held(&[0.75, 0.5, 0.25]), held(&[0.25, 0.0]));
        assert_eq!(mean_curve(&[&a, &b]), [1.0, 0.5, 0.25]);
        assert_eq!(mean_curve(&[]), [1.0]);
    }
}
