//! Opening a GPU, and each way in which it can fail. A failure needs a process of its own, since the driver is asked
//! once, and the stand-in of `cargo xtask test-cuda`, whose switches make it; on a GPU those tests only say so.
#![cfg(feature = "cuda")]
#![allow(clippy::unwrap_used)] // helpers of tests are tests

use candle_core::{DType, Tensor};
use oncograph_nn::{DeviceSpec, InterpolateConfig, interpolate};
use std::process::Command;

const SPEC: &str = "ONCOGRAPH_TEST_SPEC";

/// The child of the other tests: opens what the environment names, and enlarges a volume of 1 MiB to 8 MiB there.
#[test]
#[ignore = "started by the other tests"]
fn child() {
    let Ok(spec) = std::env::var(SPEC) else { return };
    let run = || -> oncograph_nn::Result<Tensor> {
        let device = spec.parse::<DeviceSpec>()?.open()?;
        let x = Tensor::zeros((1, 1, 64, 64, 64), DType::F32, &device)?;
        interpolate(&x, &InterpolateConfig::to_size(&[128; 3]))
    };
    match run() {
        Ok(_) => println!("outcome: opened"),
        Err(error) => println!("outcome: {error}"),
    }
}

/// What the child prints for a device and switches of the stand-in; none on a GPU.
fn outcome(spec: &str, switches: &[(&str, &str)]) -> Option<String> {
    if std::env::var_os("CUDASIM_HOME").is_none() {
        eprintln!("skipped: not on the stand-in");
        return None;
    }
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--ignored", "--exact", "child", "--nocapture"]).env(SPEC, spec);
    let output = command.envs(switches.iter().copied()).output().unwrap();
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let start = text.find("outcome: ").unwrap_or_else(|| panic!("{output:?}"));
    Some(text[start + "outcome: ".len()..].lines().next().unwrap_or_default().to_string())
}

fn assert_outcome(spec: &str, switches: &[(&str, &str)], words: &str) {
    if let Some(text) = outcome(spec, switches) {
        assert!(text.contains(words), "{text}");
    }
}

#[test]
fn a_gpu_is_opened_by_its_number() {
    assert_outcome("cuda", &[], "opened");
    assert_outcome("cuda:2", &[("CUDASIM_DEVICES", "3")], "opened");
}

#[test]
fn each_failure_names_its_cause() {
    assert_outcome(
        "cuda",
        &[("CUDASIM_DRIVER", "0")],
        "NVIDIA's driver does not start (libcuda.so.1 is a stub for linking)",
    );
    assert_outcome("cuda", &[("CUDASIM_DEVICES", "0")], "NVIDIA's driver finds no GPU");
    assert_outcome("cuda:1", &[], "there is no cuda:1: the driver finds 1 GPU, cuda:0");
    assert_outcome("cuda:5", &[("CUDASIM_DEVICES", "2")], "the driver finds 2 GPUs, cuda:0 to cuda:1");
    let old = [("CUDASIM_CAPABILITY", "75")];
    assert_outcome(
        "cuda",
        &old,
        "stand-in on the CPU has compute capability 7.5 and does not run the kernels",
    );
    assert_outcome("cuda", &old, "build with CUDA_COMPUTE_CAP=75");
}

#[test]
fn a_full_memory_says_what_was_asked_for() {
    let small = [("CUDASIM_MEMORY", "8000000")];
    assert_outcome("cuda", &small, "interpolate needs 8.0 MiB of the GPU's memory: ");
    assert_outcome("cuda", &small, " of 7.6 MiB are free");
}

/// Tensors of two devices do not meet in one operation, and a stream of each thread would not wait for another's.
#[test]
fn threads_share_a_device() {
    let open = || DeviceSpec::Cuda(0).open().unwrap();
    let made = std::thread::spawn(move || Tensor::new(&[1f32, 2.0], &open()).unwrap()).join().unwrap();
    let here = Tensor::new(&[3f32, 4.0], &open()).unwrap();
    assert!(made.device().same_device(here.device()));
    assert_eq!((made + here).unwrap().to_vec1::<f32>().unwrap(), [4.0, 6.0]);
    assert!(!open().as_cuda_device().unwrap().is_event_tracking());
}
