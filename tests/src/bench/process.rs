//! A whole process: one new patient from DICOM and SEG to a report.

use super::Bench;
use anyhow::{Context, Result, ensure};
use candle_core::{Device, Tensor};
use std::path::PathBuf;
use std::process::{Command, Stdio};

type Run = fn(&mut Bench) -> Result<()>;

pub(super) const CASES: &[(&str, Run)] = &[("process/patient", patient)];

/// `cargo xtask bench` trains the run that predicts, with the preset `paper`.
fn patient(bench: &mut Bench) -> Result<()> {
    let (ct, seg, out) = (bench.file("dicom")?, bench.file("seg.dcm")?, bench.file("patient")?);
    let here = std::env::current_exe()?;
    let program = here.with_file_name("examples").join(format!("stg_crlm{}", std::env::consts::EXE_SUFFIX));
    bench.time(|| {
        let mut command = Command::new(&program);
        command.arg("--predict").arg("--ct").arg(&ct).arg("--seg").arg(&seg).arg("--out").arg(&out);
        let status = command.stdout(Stdio::null()).stderr(Stdio::null()).status();
        let status = status.with_context(|| program.display().to_string())?;
        ensure!(status.success(), "{}: {status}", program.display());
        Ok(())
    })?;
    let mut answers: Vec<PathBuf> = std::fs::read_dir(out.join("stg_crlm_predictions"))?
        .map(|entry| Ok(entry?.path()))
        .collect::<std::io::Result<_>>()?;
    answers.sort();
    let path = answers.last().context("no prediction")?.join("prediction.json");
    let answer: serde_json::Value = serde_json::from_slice(&std::fs::read(&path)?)?;
    let tasks = answer["tasks"].as_array().context("no tasks")?;
    let years: Vec<f32> = tasks.iter().filter_map(|t| t["years"].as_f64()).map(|y| y as f32).collect();
    bench.result("years", &Tensor::new(years, &Device::Cpu)?);
    Ok(())
}
