//! Checkpoint files of torchvision's models.

use libtest_mimic::{Failed, Trial};
use oncograph_encoder::{Checkpoint, VideoResNetConfig};
use oncograph_tests::fixture::Fixture;
use oncograph_tests::parity::encoder::build;
use oncograph_tests::trial;
use std::path::Path;

type Outcome = Result<(), Failed>;

pub fn trials() -> Vec<Trial> {
    let mut trials = Vec::new();
    for file in ["r3d18_small_eval.pth", "r3d18_small_eval.dataparallel.pth.tar"] {
        let path = format!("fixtures/{file}");
        let run = move |root: &Path| checkpoint(root, file);
        trials.push(trial(&format!("checkpoint {file}"), &[&path], run));
    }
    let partial = "fixtures/r3d18_small_eval.legacy_partial.pth";
    trials.push(trial("checkpoint of the old format", &[partial], move |root| old_format(root, partial)));
    trials
}

fn checkpoint(root: &Path, file: &str) -> Outcome {
    let name = file.split('.').next().unwrap_or(file);
    let f = Fixture::load(&root.join("fixtures"), name)?;
    let (store, model) = build(&f, VideoResNetConfig::r3d_18)?;
    let checkpoint = Checkpoint::read(root.join("fixtures").join(file))?;
    checkpoint.load_strict(&store)?;
    f.check("out.logits", &model.forward(f.tensor("in.x")?, false)?)?;
    f.agrees()
}

/// A file of the format before PyTorch 1.6 that holds a part of the case's weights.
fn old_format(root: &Path, file: &str) -> Outcome {
    let f = Fixture::load(&root.join("fixtures"), "r3d18_small_eval")?;
    let (store, _) = build(&f, VideoResNetConfig::r3d_18)?;
    let checkpoint = Checkpoint::read(root.join(file))?;
    let report = checkpoint.load_into(&store)?;
    if report.loaded.is_empty() || !report.unexpected.is_empty() || !report.misshaped.is_empty() {
        return Err(format!("{report:?}").into());
    }
    for name in &report.loaded {
        f.check(&format!("param.{name}"), store.get(name).ok_or("no parameter")?.as_tensor())?;
    }
    f.agrees()
}
