use crate::{Error, Result};
use linfa::dataset::{Dataset, Pr};
use linfa::traits::{Fit, Predict};
use linfa_svm::Svm;
use ndarray::{Array1, Array2};
use oncograph_datasets::patients::PatientGroups;
use oncograph_nn::Seed;
use rand::seq::SliceRandom;
use serde::{Deserialize, Serialize};

/// Configuration of [`SvmHead`]: the values that the inner cross-validation chooses from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct SvmHeadConfig {
    /// The penalties C.
    pub penalties: Vec<f64>,
    /// γ of the kernel `exp(-γ |a - b|^2)`, in units of one over the number of features.
    pub gammas: Vec<f64>,
    /// Folds of the inner cross-validation; as many as a class has patients, where that is fewer.
    pub folds: usize,
}

impl Default for SvmHeadConfig {
    fn default() -> Self {
        SvmHeadConfig { penalties: vec![0.1, 1.0, 10.0], gammas: vec![0.1, 1.0, 10.0], folds: 5 }
    }
}

impl SvmHeadConfig {
    /// Sets the values to choose from.
    pub fn grid(mut self, penalties: impl Into<Vec<f64>>, gammas: impl Into<Vec<f64>>) -> Self {
        (self.penalties, self.gammas) = (penalties.into(), gammas.into());
        self
    }

    /// Sets the folds of the inner cross-validation.
    pub fn folds(mut self, folds: usize) -> Self {
        self.folds = folds;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        const NAME: &str = "SvmHead";
        for (field, values) in [("penalties", &self.penalties), ("gammas", &self.gammas)] {
            if values.is_empty() || !values.iter().all(|v| *v > 0.0 && v.is_finite()) {
                return Err(Error::config(NAME, field, "one or more numbers above 0", format!("{values:?}")));
            }
        }
        if self.folds < 2 {
            return Err(Error::config(NAME, "folds", "at least 2", self.folds));
        }
        Ok(())
    }

    /// Chooses C and γ by the inner cross-validation's log loss on the training rows, and fits all of them.
    ///
    /// # Errors
    /// [`Error::Input`] for rows of several lengths, or fewer than two patients of a class; an error of the solver.
    pub fn fit(&self, rows: &[Vec<f64>], labels: &[bool], seed: Seed) -> Result<SvmHead> {
        self.fit_by_patient(rows, labels, &(0..rows.len()).collect::<Vec<_>>(), seed)
    }

    /// As [`SvmHeadConfig::fit`], where rows with equal numbers are of one patient and stay in one inner fold.
    ///
    /// # Errors
    /// As [`SvmHeadConfig::fit`].
    pub fn fit_by_patient(
        &self,
        rows: &[Vec<f64>],
        labels: &[bool],
        patients: &[usize],
        seed: Seed,
    ) -> Result<SvmHead> {
        self.validate()?;
        let width = rows.first().map_or(0, Vec::len);
        let numbers = [labels.len(), patients.len()];
        if width == 0 || numbers != [rows.len(); 2] || rows.iter().any(|r| r.len() != width) {
            let got = format!("{} rows, {} labels of {} scans", rows.len(), labels.len(), patients.len());
            return Err(Error::input(OP, "a label for each of some rows of one length", got));
        }
        let (fold, folds) = self.folds_of(labels, patients, seed)?;
        let mut best: Option<(f64, f64, f64)> = None;
        for &penalty in &self.penalties {
            for &share in &self.gammas {
                let gamma = share / width as f64;
                let loss = inner_loss((rows, labels), (&fold, folds), penalty, gamma)?;
                if best.is_none_or(|(least, _, _)| loss < least) {
                    best = Some((loss, penalty, gamma));
                }
            }
        }
        let (_, penalty, gamma) = best.unwrap_or((0.0, 1.0, 1.0 / width as f64));
        let all: Vec<usize> = (0..rows.len()).collect();
        Ok(SvmHead { svm: solve(rows, labels, &all, penalty, gamma)?, width, penalty, gamma })
    }

    /// The inner fold of every row, stratified by patient, and how many folds there are.
    fn folds_of(&self, labels: &[bool], patients: &[usize], seed: Seed) -> Result<(Vec<usize>, usize)> {
        let all: Vec<usize> = (0..labels.len()).collect();
        let patients = PatientGroups::by(patients).among(&all);
        let of = |class: bool| -> Vec<&Vec<usize>> {
            patients.members().iter().filter(|rows| labels[rows[0]] == class).collect()
        };
        let fewest = of(false).len().min(of(true).len());
        if fewest < 2 {
            return Err(Error::input(OP, "2 patients of each class", fewest));
        }
        let folds = self.folds.min(fewest);
        let mut fold = vec![0; labels.len()];
        for class in [false, true] {
            let mut members = of(class);
            members.shuffle(&mut seed.stream("folds").at(u64::from(class)).rng());
            for (k, rows) in members.into_iter().enumerate() {
                rows.iter().for_each(|&row| fold[row] = k % folds);
            }
        }
        Ok((fold, folds))
    }
}

/// The log loss over the folds, each scored by the machine that was fitted on the others.
fn inner_loss(
    (rows, labels): (&[Vec<f64>], &[bool]),
    (fold, folds): (&[usize], usize),
    penalty: f64,
    gamma: f64,
) -> Result<f64> {
    let mut loss = 0.0;
    for held in 0..folds {
        let train: Vec<usize> = (0..rows.len()).filter(|&i| fold[i] != held).collect();
        let svm = solve(rows, labels, &train, penalty, gamma)?;
        for i in (0..rows.len()).filter(|&i| fold[i] == held) {
            let p = probability(&svm, &rows[i]).clamp(1e-7, 1.0 - 1e-7);
            loss -= if labels[i] { p.ln() } else { (1.0 - p).ln() };
        }
    }
    Ok(loss)
}

const OP: &str = "SvmHead";

fn solve(
    rows: &[Vec<f64>],
    labels: &[bool],
    which: &[usize],
    penalty: f64,
    gamma: f64,
) -> Result<Svm<f64, Pr>> {
    let width = rows[which[0]].len();
    let values: Vec<f64> = which.iter().flat_map(|&i| rows[i].iter().copied()).collect();
    let bad = |e: &dyn std::fmt::Display| Error::input(OP, "a problem that can be solved", e.to_string());
    let records = Array2::from_shape_vec((which.len(), width), values).map_err(|e| bad(&e))?;
    let targets: Array1<bool> = which.iter().map(|&i| labels[i]).collect();
    // linfa's kernel is exp(-|a - b|^2 / eps).
    let params = Svm::<f64, Pr>::params().pos_neg_weights(penalty, penalty).gaussian_kernel(1.0 / gamma);
    params.fit(&Dataset::new(records, targets)).map_err(|e| bad(&e))
}

fn probability(svm: &Svm<f64, Pr>, row: &[f64]) -> f64 {
    let p: Pr = svm.predict(Array1::from_vec(row.to_vec()));
    f64::from(*p)
}

/// A support vector machine with a Gaussian kernel on frozen embeddings, its margins made probabilities by Platt's
/// scaling on the training rows. C and γ are chosen by an inner cross-validation.
///
/// # Example
/// ```
/// use oncograph_brain::SvmHeadConfig;
/// use oncograph_nn::Seed;
///
/// let rows: Vec<Vec<f64>> = (0..40).map(|i| vec![f64::from(i % 2) * 2.0 - 1.0, f64::from(i) / 40.0]).collect();
/// let labels: Vec<bool> = (0..40).map(|i| i % 2 == 1).collect();
/// let head = SvmHeadConfig::default().fit(&rows, &labels, Seed::new(1))?;
/// assert!(head.probability(&[1.0, 0.5])? > 0.5 && head.probability(&[-1.0, 0.5])? < 0.5);
/// # Ok::<(), oncograph_brain::Error>(())
/// ```
///
/// # Reference
/// `linfa-svm` (the solver of LIBSVM); Platt 1999.
#[derive(Debug, Clone)]
pub struct SvmHead {
    svm: Svm<f64, Pr>,
    width: usize,
    /// The penalty C that was chosen.
    pub penalty: f64,
    /// γ that was chosen.
    pub gamma: f64,
}

impl SvmHead {
    /// The probability of a mutation.
    ///
    /// # Errors
    /// [`Error::Input`] for another number of features.
    pub fn probability(&self, row: &[f64]) -> Result<f64> {
        if row.len() != self.width {
            return Err(Error::input(OP, format!("{} features", self.width), row.len()));
        }
        Ok(probability(&self.svm, row))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Inside a ring or on it: no line divides them.
    #[test]
    #[cfg_attr(
        feature = "cuda",
        ignore = "minutes in a build without optimised dependencies, and no tensor in it"
    )]
    fn a_ring_is_learned_and_a_seed_repeats() {
        let rows: Vec<Vec<f64>> = (0..80)
            .map(|i| {
                let (angle, radius) = (i as f64 * 0.7, if i % 2 == 0 { 0.4 } else { 1.4 });
                vec![radius * angle.cos(), radius * angle.sin()]
            })
            .collect();
        let labels: Vec<bool> = (0..80).map(|i| i % 2 == 0).collect();
        let fit = || SvmHeadConfig::default().fit(&rows, &labels, Seed::new(2)).unwrap();
        let (head, again) = (fit(), fit());
        for (row, label) in rows.iter().zip(&labels) {
            let p = head.probability(row).unwrap();
            assert_eq!(p > 0.5, *label, "{row:?} {p}");
            assert_eq!(p.to_bits(), again.probability(row).unwrap().to_bits());
        }
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let config = SvmHeadConfig::default();
        let error = config.fit(&[vec![1.0]], &[true], Seed::new(1)).unwrap_err().to_string();
        assert_eq!(error, "SvmHead: expected 2 patients of each class, got 0");
        // Three of one class are fewer than five folds.
        let rows: Vec<Vec<f64>> = (0..9).map(|i| vec![f64::from(i), f64::from(i % 2)]).collect();
        let labels: Vec<bool> = (0..9).map(|i| i < 3).collect();
        let head = config.fit(&rows, &labels, Seed::new(1)).unwrap();
        assert!(head.probability(&rows[0]).unwrap() > head.probability(&rows[8]).unwrap());
        // Scans of one patient are in one inner fold.
        let patients = [0, 1, 2, 0, 3, 4, 4, 1, 2, 5, 5, 3];
        let labels: Vec<bool> = patients.iter().map(|p| p % 2 == 0).collect();
        let (fold, folds) = config.folds_of(&labels, &patients, Seed::new(1)).unwrap();
        assert_eq!(folds, 3);
        for (i, j) in (0..12).flat_map(|i| (0..12).map(move |j| (i, j))) {
            assert!(patients[i] != patients[j] || fold[i] == fold[j]);
        }
        assert!(config.clone().grid([], [1.0]).validate().is_err());
        assert!(config.folds(1).validate().is_err());
    }
}
