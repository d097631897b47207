//! What a step of training costs a CUDA device, as the stand-in counts it, against what it may cost.

use crate::device::DeviceSpec;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;

/// What one step does beside computing.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepCost {
    /// Launches of kernels, and calls of cuBLAS and cuDNN.
    pub launches: u64,
    /// Copies to the device.
    pub copies_up: u64,
    /// Their bytes.
    pub bytes_up: u64,
    /// Copies of a number to the host.
    pub numbers_down: u64,
    /// Copies of more than a number to the host.
    pub arrays_down: u64,
}

/// That a step costs at most what `tests/cuda/budgets.json` says under `name`. It is step number `step` of the ignored
/// test `child` of this test program, which is run as another process. On a GPU nothing is counted, and nothing checked.
///
/// # Errors
/// What costs more than it may, what the file lacks, and a child that fails.
pub fn check_budget(name: &str, child: &str, step: usize) -> Result<(), String> {
    if std::env::var_os("CUDASIM_HOME").is_none() {
        println!("skip the budget of {name}: not on the stand-in, which counts");
        return Ok(());
    }
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../tests/cuda/budgets.json");
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    let budgets: BTreeMap<String, StepCost> =
        serde_json::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))?;
    let cost = measure(child, step)?;
    println!("{name}: {cost:?}");
    let budget =
        budgets.get(name).ok_or_else(|| format!("{} has no {name:?}; it costs {cost:?}", file.display()))?;
    let over = [
        ("launches", cost.launches, budget.launches),
        ("copies_up", cost.copies_up, budget.copies_up),
        ("bytes_up", cost.bytes_up, budget.bytes_up),
        ("numbers_down", cost.numbers_down, budget.numbers_down),
        ("arrays_down", cost.arrays_down, budget.arrays_down),
    ];
    match over.iter().find(|(_, cost, budget)| cost > budget) {
        Some((what, cost, budget)) => Err(format!("{name}: {cost} {what}, at most {budget} are allowed")),
        None => Ok(()),
    }
}

/// What the stand-in counts in one step of an ignored test.
fn measure(child: &str, step: usize) -> Result<StepCost, String> {
    // Opened here, so that a device that cannot be opened is the error.
    DeviceSpec::Cuda(0).open().map_err(|e| e.to_string())?;
    let program = std::env::current_exe().map_err(|e| e.to_string())?;
    let output = Command::new(program)
        .args(["--ignored", "--exact", child])
        // Steps of other threads would be counted, too.
        .env("RAYON_NUM_THREADS", "1")
        .env("CUDASIM_STATS", "1")
        .env("ONCOGRAPH_PROFILE_STEP", step.to_string())
        .output()
        .map_err(|e| e.to_string())?;
    let errors = String::from_utf8_lossy(&output.stderr);
    if !output.status.success() {
        return Err(format!("{child} failed: {errors}{}", String::from_utf8_lossy(&output.stdout)));
    }
    read(&errors).ok_or_else(|| format!("{child} has no step {step}"))
}

/// The cost in the lines of a range; none without such a line.
fn read(lines: &str) -> Option<StepCost> {
    let mut cost = StepCost::default();
    let mut any = false;
    for line in lines.lines() {
        let Some((calls, rest)) = line.strip_prefix("cudasim range:").and_then(|l| l.split_once(" x "))
        else {
            continue;
        };
        let bytes = rest.split(" bytes").next().and_then(|l| l.split_whitespace().last());
        let (calls, bytes): (u64, u64) = (calls.trim().parse().ok()?, bytes?.parse().ok()?);
        any = true;
        match rest {
            r if r.starts_with("copy host to device") => {
                (cost.copies_up, cost.bytes_up) = (cost.copies_up + calls, cost.bytes_up + bytes);
            }
            r if r.starts_with("copy of a number") => cost.numbers_down += calls,
            r if r.starts_with("copy device to host") => cost.arrays_down += calls,
            r if ["kernel ", "gemm ", "cudnn "].iter().any(|kind| r.starts_with(kind)) => {
                cost.launches += calls
            }
            _ => {}
        }
    }
    any.then_some(cost)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_a_range_are_read() {
        let lines = "cudasim:  9 x kernel a    0 bytes  1.000 ms\n\
            cudasim range:         3 x kernel badd_f32                  0 bytes      0.100 ms\n\
            cudasim range:         2 x gemm f32                       128 bytes      0.100 ms\n\
            cudasim range:         4 x copy host to device             64 bytes      0.100 ms\n\
            cudasim range:         1 x copy of a number to the host     4 bytes      0.100 ms\n\
            cudasim range:         7 x malloc                         256 bytes      0.100 ms\n";
        let want = StepCost { launches: 5, copies_up: 4, bytes_up: 64, numbers_down: 1, arrays_down: 0 };
        assert_eq!(read(lines), Some(want));
        assert_eq!(read("cudasim: 1 x kernel a 0 bytes 1 ms"), None);
    }
}
