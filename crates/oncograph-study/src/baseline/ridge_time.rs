use super::cox::{FOLDS, TRIED};
use super::{Baseline, HORIZON, Inputs, known_times};
use crate::{Answer, Error, Result, Target, Task};
use nalgebra::{DMatrix, DVector};
use oncograph_core::{Argument, Seed};
use oncograph_datasets::splits::stratified_k_fold;

/// Ridge regression of the time to the event in years, on the training rows whose event was seen: a censored time is only a
/// lower bound, and as a target it would teach how long patients were followed.
///
/// So its times are those of patients who have the event while they are followed, shorter than those of all. The penalty is
/// the best of 13 between a thousandth and ten times the number of rows, by the squared error of five inner folds; the
/// intercept is not penalised. Its risk is the negative time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RidgeTime {
    name: String,
    columns: Option<Vec<String>>,
}

impl RidgeTime {
    /// A model on all columns.
    pub fn by_inner_folds() -> Self {
        RidgeTime { name: "ridge regression on time".into(), columns: None }
    }

    /// Sets what tables call it.
    pub fn named(mut self, name: impl Into<String>) -> Self {
        self.name = name.into();
        self
    }

    /// Uses some columns by name.
    pub fn columns<S: Into<String>>(mut self, columns: impl IntoIterator<Item = S>) -> Self {
        self.columns = Some(columns.into_iter().map(Into::into).collect());
        self
    }
}

impl Baseline for RidgeTime {
    fn name(&self) -> String {
        self.name.clone()
    }

    fn columns(&self) -> Option<&[String]> {
        self.columns.as_deref()
    }

    fn answer(&self, task: &Task, inputs: &Inputs<'_>) -> Result<Option<Vec<Answer>>> {
        let Target::Survival(times) = &task.target else { return Ok(None) };
        let (rows, known) = known_times(times, inputs.train);
        let seen = rows.into_iter().zip(known).filter(|(_, f)| f.event());
        let (rows, years): (Vec<usize>, Vec<f64>) = seen.map(|(r, f)| (r, f.in_years())).unzip();
        if rows.is_empty() {
            return Err(Argument::new("RidgeTime", "train", "a row with the event", "none").into());
        }
        let train = inputs.rows(&rows);
        let share = best_share(&train, &years, inputs.seed.stream("ridge on time").stream(&task.name))?;
        let model = Ridge::fit(&train, &years, share)?;
        let answer = |row: &Vec<f64>| {
            let years = model.predict(row);
            let inside = years.clamp(0.0, HORIZON as f64);
            Answer::Survival { risk: -years, years: Some(inside), survival: None }
        };
        Ok(Some(inputs.rows(inputs.test).iter().map(answer).collect()))
    }
}

/// Least squares with the penalty `share * rows * |beta|^2`.
struct Ridge {
    means: Vec<f64>,
    coefficients: DVector<f64>,
    mean: f64,
}

impl Ridge {
    fn fit(x: &[Vec<f64>], y: &[f64], share: f64) -> Result<Self> {
        let (n, width) = (x.len(), x.first().map_or(0, Vec::len));
        let mean_of = |column: usize| x.iter().map(|r| r[column]).sum::<f64>() / n as f64;
        let means: Vec<f64> = (0..width).map(mean_of).collect();
        let mean = y.iter().sum::<f64>() / n as f64;
        let centred = DMatrix::from_fn(n, width, |r, c| x[r][c] - means[c]);
        let target = DVector::from_iterator(n, y.iter().map(|y| y - mean));
        let mut normal = centred.tr_mul(&centred);
        (0..width).for_each(|c| normal[(c, c)] += share * n as f64);
        let factor =
            normal.cholesky().ok_or_else(|| Error::system("ridge regression: no finite solution"))?;
        Ok(Ridge { means, coefficients: factor.solve(&centred.tr_mul(&target)), mean })
    }

    fn predict(&self, row: &[f64]) -> f64 {
        let terms = row.iter().zip(&self.means).zip(&self.coefficients);
        self.mean + terms.map(|((x, mean), b)| (x - mean) * b).sum::<f64>()
    }
}

/// The penalty, of those that [`super::CoxRidge::by_inner_folds`] tries, with the smallest squared error on rows that it was
/// not fitted on, the strongest of equals.
fn best_share(x: &[Vec<f64>], y: &[f64], seed: Seed) -> Result<f64> {
    if y.len() < 2 {
        return Ok(TRIED[0]);
    }
    let folds = stratified_k_fold(&vec![0; y.len()], FOLDS.min(y.len()), seed)?;
    let pick =
        |rows: &[usize]| -> (Vec<Vec<f64>>, Vec<f64>) { rows.iter().map(|&r| (x[r].clone(), y[r])).unzip() };
    let mut best = (f64::INFINITY, TRIED[0]);
    for share in TRIED {
        let mut error = 0.0;
        for fold in &folds {
            let (train, years) = pick(&fold.train);
            let model = Ridge::fit(&train, &years, share)?;
            error += fold.test.iter().map(|&r| (model.predict(&x[r]) - y[r]).powi(2)).sum::<f64>();
        }
        if error < best.0 {
            best = (error, share);
        }
    }
    Ok(best.1)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `sklearn.linear_model.Ridge(alpha=2)` of scikit-learn 1.9.1 on the same rows.
    #[test]
    fn coefficients_and_intercept_are_those_of_scikit_learn() {
        let x = [[0.0, 1.0], [1.0, 3.0], [2.0, 0.5], [4.0, 2.0]].map(|r| r.to_vec());
        let model = Ridge::fit(&x, &[1.0, 2.0, 2.5, 6.0], 0.5).unwrap();
        let expected = [0.8539094650205765, 1.8559670781893007, 1.0185185185185188];
        for (row, expected) in [[0.0, 0.0], [1.0, 0.0], [0.0, 1.0]].iter().zip(expected) {
            assert!((model.predict(row) - expected).abs() < 1e-12, "{}", model.predict(row));
        }
    }

    #[test]
    fn noise_gets_the_strongest_penalty_and_a_line_the_weakest() {
        let x: Vec<Vec<f64>> = (0..40).map(|i| vec![f64::from(i) / 20.0 - 1.0]).collect();
        let line: Vec<f64> = x.iter().map(|x| 3.0 + 2.0 * x[0]).collect();
        assert_eq!(best_share(&x, &line, Seed::new(1)).unwrap(), TRIED[TRIED.len() - 1]);
        let noise: Vec<f64> = (0..40).map(|i| f64::from((i * 17 + 5) % 7 % 2)).collect();
        assert_eq!(best_share(&x, &noise, Seed::new(1)).unwrap(), TRIED[0]);
    }
}
