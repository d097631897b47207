//! Two runs of one example program: how far apart are the losses of their epochs?

use anyhow::{Context, Result, bail, ensure};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How far apart two losses may be, relative to the larger of the first and 1.
pub const BOUND: f64 = 1e-3;

/// Prints how far the runs in two folders are apart; false where the losses are further apart than [`BOUND`].
pub fn compare(cpu: &Path, gpu: &Path) -> Result<bool> {
    let (cpu, gpu) = (losses(cpu)?, losses(gpu)?);
    let (largest, count) = apart(&cpu, &gpu)?;
    println!("{}", json!({ "losses": count, "difference": largest, "bound": BOUND }));
    Ok(largest <= BOUND)
}

/// The losses of every epoch by the file that has them.
type Losses = BTreeMap<String, Vec<f64>>;

/// Those of the only run in a folder.
fn losses(folder: &Path) -> Result<Losses> {
    let entries = std::fs::read_dir(folder).with_context(|| folder.display().to_string())?;
    let runs = entries.map(|entry| Ok(entry?.path())).collect::<Result<Vec<PathBuf>>>()?;
    let [run] = runs.as_slice() else { bail!("{} has {} runs instead of one", folder.display(), runs.len()) };
    let folds = run.join("folds");
    let mut all = BTreeMap::new();
    for entry in std::fs::read_dir(&folds).with_context(|| folds.display().to_string())? {
        let path = entry?.path();
        if path.extension().is_some_and(|e| e == "json") {
            let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            all.insert(name, history(&serde_json::from_str(&text)?));
        }
    }
    Ok(all)
}

/// The training losses in the result of a fold; a baseline has none.
fn history(fold: &Value) -> Vec<f64> {
    let epochs = fold["history"].as_array().into_iter().flatten();
    epochs.map(|epoch| epoch["train_loss"].as_f64().unwrap_or(f64::NAN)).collect()
}

/// The largest difference, and how many losses there are.
fn apart(cpu: &Losses, gpu: &Losses) -> Result<(f64, usize)> {
    ensure!(cpu.keys().eq(gpu.keys()), "the runs have other folds: {:?} and {:?}", cpu.keys(), gpu.keys());
    let (mut largest, mut count) = (0f64, 0);
    for ((name, a), b) in cpu.iter().zip(gpu.values()) {
        ensure!(a.len() == b.len(), "{name}: {} epochs and {}", a.len(), b.len());
        for (a, b) in a.iter().zip(b) {
            let far = (a - b).abs() / a.abs().max(1.0);
            // `max` would drop a NaN.
            largest = largest.max(if far.is_nan() { f64::INFINITY } else { far });
        }
        count += a.len();
    }
    ensure!(count > 0, "the runs have no losses");
    Ok((largest, count))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(values: &[f64]) -> Losses {
        BTreeMap::from([("a-0-0.result.json".to_string(), values.to_vec())])
    }

    #[test]
    fn the_largest_difference_counts() {
        let (far, count) = apart(&of(&[2.0, 0.5]), &of(&[2.2, 0.5])).unwrap();
        assert!((far - 0.1).abs() < 1e-12 && count == 2);
        assert_eq!(apart(&of(&[1.0]), &of(&[f64::NAN])).unwrap().0, f64::INFINITY);
        assert_eq!(apart(&of(&[f64::NAN, 1.0]), &of(&[1.0, 1.0])).unwrap().0, f64::INFINITY);
    }

    #[test]
    fn other_folds_and_no_losses_are_errors() {
        assert!(apart(&of(&[1.0]), &of(&[1.0, 1.0])).is_err());
        assert!(apart(&of(&[]), &of(&[])).is_err());
        assert!(apart(&of(&[1.0]), &BTreeMap::new()).is_err());
    }

    #[test]
    fn a_fold_has_the_losses_of_its_epochs() {
        let fold = json!({ "history": [{ "train_loss": 0.5, "score": 1 }, { "train_loss": 0.25 }] });
        assert_eq!(history(&fold), [0.5, 0.25]);
        assert!(history(&json!({ "history": [] })).is_empty());
    }
}
