//! Compiles our kernels for real GPUs and reads what the assembler says of each one: registers, spills, shared memory.
//!
//! The build makes PTX only, of which this is not known yet: a driver assembles it when a program starts.

use anyhow::{Context, Result, bail};
use std::path::{Path, PathBuf};
use std::process::Command;

/// The architectures.
const ARCHITECTURES: [&str; 2] = ["80", "90"];

/// The types, as the build script of the kernels has them.
pub const TYPES: [(&str, &str); 2] = [("f32", "float"), ("f64", "double")];

/// Bytes of shared memory that a block may have without asking for more.
const MOST_SHARED: u32 = 48 * 1024;

/// Registers that each thread of our largest blocks, of 512, may have: a kernel with more would not start.
const MOST_REGISTERS: u32 = 65_536 / 512;

/// How many kernels are printed.
const PRINTED: usize = 10;

/// What the assembler says of a kernel.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Usage {
    kernel: String,
    real: &'static str,
    architecture: String,
    registers: u32,
    /// Bytes that it stores to and loads from local memory for want of registers.
    spilled: u32,
    shared: u32,
}

impl Usage {
    fn is_too_much(&self) -> bool {
        self.spilled > 0 || self.registers > MOST_REGISTERS || self.shared > MOST_SHARED
    }
}

/// Compiles all kernels with this nvcc and prints those with the most registers; false if one spills, or needs too
/// many registers or too much shared memory for a block.
pub(super) fn check(root: &Path, nvcc: &Path, folder: &Path) -> Result<bool> {
    let mut all = vec![];
    for source in sources(&root.join("crates/oncograph-kernels/cuda"))? {
        for (name, real) in TYPES {
            let text = compile(nvcc, &source, real, &folder.join("kernels.fatbin"))?;
            let found = usages(&text, name)?;
            if found.is_empty() {
                bail!("{} has no kernel, or ptxas writes in another form: {text}", source.display());
            }
            all.extend(found);
        }
    }
    all.sort_by(|a, b| b.registers.cmp(&a.registers).then_with(|| a.kernel.cmp(&b.kernel)));
    let bad: Vec<&Usage> = all.iter().filter(|usage| usage.is_too_much()).collect();
    let kernels = all.len() / TYPES.len() / ARCHITECTURES.len();
    println!("check-cuda: {kernels} kernels in f32 and f64, most registers first:");
    print(all.iter().take(PRINTED));
    if !bad.is_empty() {
        println!(
            "check-cuda: {} spill, or have more than {MOST_REGISTERS} registers or {MOST_SHARED} bytes of shared memory:",
            bad.len()
        );
        print(bad.iter().copied());
    }
    Ok(bad.is_empty())
}

fn print<'a>(usages: impl Iterator<Item = &'a Usage>) {
    println!(
        "{:<32} {:<4} {:<6} {:>9} {:>7} {:>7}",
        "kernel", "type", "GPU", "registers", "spilled", "shared"
    );
    for Usage { kernel, real, architecture, registers, spilled, shared } in usages {
        println!("{kernel:<32} {real:<4} {architecture:<6} {registers:>9} {spilled:>7} {shared:>7}");
    }
}

fn sources(folder: &Path) -> Result<Vec<PathBuf>> {
    let read = || format!("cannot read {}", folder.display());
    let entries = std::fs::read_dir(folder).with_context(read)?;
    let mut found = entries.map(|e| Ok(e?.path())).collect::<std::io::Result<Vec<_>>>().with_context(read)?;
    found.retain(|path| path.extension().is_some_and(|e| e == "cu"));
    found.sort();
    Ok(found)
}

/// What nvcc and its assembler write; the machine code is not kept.
fn compile(nvcc: &Path, source: &Path, real: &str, output: &Path) -> Result<String> {
    let mut command = Command::new(nvcc);
    command.args(["--fatbin", "-std=c++17", "-O3", "-Xptxas", "-v"]).arg(format!("-DREAL={real}"));
    for number in ARCHITECTURES {
        command.arg(format!("-gencode=arch=compute_{number},code=sm_{number}"));
    }
    let run = command.arg("-o").args([output, source]).output();
    let run = run.with_context(|| format!("cannot start {}", nvcc.display()))?;
    let text = String::from_utf8_lossy(&run.stderr).into_owned() + &String::from_utf8_lossy(&run.stdout);
    if !run.status.success() {
        bail!("{} does not compile with REAL={real}: {text}", source.display());
    }
    // Removed rather than written to /dev/null, which nvcc replaces where it may.
    std::fs::remove_file(output).with_context(|| format!("cannot remove {}", output.display()))?;
    Ok(text)
}

/// The kernels of `ptxas -v`. Functions that were not inlined count to the kernel before them.
fn usages(text: &str, real: &'static str) -> Result<Vec<Usage>> {
    let mut found: Vec<Usage> = vec![];
    for line in text.lines() {
        if let Some((_, names)) = line.split_once("Compiling entry function '") {
            let mut names = names.split('\'');
            let (kernel, architecture) = (names.next().unwrap_or_default(), names.nth(1).unwrap_or_default());
            let (kernel, architecture) = (kernel.to_string(), architecture.to_string());
            found.push(Usage { kernel, real, architecture, registers: 0, spilled: 0, shared: 0 });
            continue;
        }
        let Some(last) = found.last_mut() else { continue };
        for (number, what) in numbers(line) {
            match what {
                "bytes spill stores" | "bytes spill loads" => last.spilled += number,
                "registers" => last.registers = number,
                "bytes smem" => last.shared = number,
                _ => {}
            }
        }
    }
    if let Some(usage) = found.iter().find(|usage| usage.registers == 0) {
        bail!("ptxas -v writes no registers for {}: {text}", usage.kernel);
    }
    Ok(found)
}

/// The parts of a line between commas that are a number and its name.
fn numbers(line: &str) -> impl Iterator<Item = (u32, &str)> {
    let line = line.rsplit_once(": Used ").map_or(line, |(_, used)| used);
    line.split(',').filter_map(|part| {
        let (number, what) = part.trim().split_once(' ')?;
        Some((number.parse().ok()?, what))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = "ptxas info    : 0 bytes gmem\n\
        ptxas info    : Compiling entry function 'a' for 'sm_80'\n\
        ptxas info    : Function properties for a\n    8 bytes stack frame, 0 bytes spill stores, 0 bytes spill loads\n\
        ptxas info    : Function properties for helper\n    8 bytes stack frame, 4 bytes spill stores, 8 bytes spill loads\n\
        ptxas info    : Used 40 registers, used 1 barriers, 8704 bytes smem, 412 bytes cmem[0]\n\
        ptxas info    : Compiling entry function 'b' for 'sm_90'\n";

    #[test]
    fn registers_spills_and_shared_memory_are_read() {
        let text = TEXT.to_string() + "ptxas info    : Used 9 registers, 400 bytes cmem[0]\n";
        let usage = |kernel: &str, architecture: &str, registers, spilled, shared| Usage {
            kernel: kernel.into(),
            real: "f32",
            architecture: architecture.into(),
            registers,
            spilled,
            shared,
        };
        let want = [usage("a", "sm_80", 40, 12, 8704), usage("b", "sm_90", 9, 0, 0)];
        let found = usages(&text, "f32").unwrap();
        assert_eq!(found, want);
        assert_eq!(found.iter().map(Usage::is_too_much).collect::<Vec<_>>(), [true, false]);
    }

    #[test]
    fn a_kernel_without_registers_is_another_form_of_the_text() {
        assert!(usages(TEXT, "f32").is_err());
    }
}
