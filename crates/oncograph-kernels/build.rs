//! Compiles the kernels to PTX, with the feature `nvcc`.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The modules, each `cuda/NAME.cu`.
const MODULES: [&str; 17] = [
    "assemble",
    "attention",
    "attention_v2",
    "conv3d",
    "cox",
    "dropout",
    "edge_conditioned",
    "elementwise",
    "interpolate",
    "lstm",
    "norm",
    "optim",
    "pool",
    "propagate",
    "rows",
    "segment",
    "softmax",
];

/// The types that each module is compiled for: the ending of its file, and the name in C.
const TYPES: [(&str, &str); 2] = [("f32", "float"), ("f64", "double")];

fn main() -> Result<(), String> {
    println!("cargo::rerun-if-changed=cuda");
    ["NVCC", "CUDA_HOME", "PATH"].iter().for_each(|name| println!("cargo::rerun-if-env-changed={name}"));
    if std::env::var_os("CARGO_FEATURE_NVCC").is_none() {
        return Ok(());
    }
    let out = std::env::var_os("OUT_DIR").map(PathBuf::from).ok_or("OUT_DIR is not set")?;
    let nvcc = compiler();
    let (nvcc, out) = (&nvcc, &out);
    let passes = MODULES.iter().flat_map(|name| TYPES.map(|(suffix, real)| (*name, suffix, real)));
    std::thread::scope(|scope| {
        let runs: Vec<_> = passes.map(|pass| scope.spawn(move || compile(nvcc, pass, out))).collect();
        runs.into_iter().try_for_each(|run| run.join().map_err(|_| "a compilation panicked")?)
    })
}

fn compiler() -> PathBuf {
    if let Some(nvcc) = std::env::var_os("NVCC") {
        return nvcc.into();
    }
    let of_home = std::env::var_os("CUDA_HOME").map(|home| Path::new(&home).join("bin/nvcc"));
    of_home.filter(|nvcc| nvcc.is_file()).unwrap_or_else(|| "nvcc".into())
}

/// PTX of the oldest architecture that is supported: drivers compile it for the GPU that is there.
fn compile(nvcc: &Path, (name, suffix, real): (&str, &str, &str), out: &Path) -> Result<(), String> {
    let source = format!("cuda/{name}.cu");
    let output = Command::new(nvcc)
        .args(["--ptx", "-arch=compute_80", "-std=c++17", "-O3"])
        .arg(format!("-DREAL={real}"))
        .arg("-o")
        .args([&out.join(format!("{name}_{suffix}.ptx")), Path::new(&source)])
        .output()
        .map_err(|e| format!("cannot start {}: {e} (the CUDA toolkit has it)", nvcc.display()))?;
    if !output.status.success() {
        return Err(format!("{} on {source}: {}", nvcc.display(), String::from_utf8_lossy(&output.stderr)));
    }
    Ok(())
}
