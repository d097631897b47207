//! Tests of the stand-in for CUDA (`xtask/cuda-sim`): that it computes what a kernel says, and that it finds each of the
//! mistakes that its README promises. On a GPU they are ignored.

use libtest_mimic::{Arguments, Failed, Trial};
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::Arc;
use tempfile::TempDir;

fn main() {
    let arguments = Arguments::from_args();
    let home = std::env::var_os("CUDASIM_HOME").map(PathBuf::from);
    let listed: [(&'static str, Check); 15] = [
        ("a_kernel_computes", sums),
        ("launches_products_and_copies_are_counted", counted),
        ("what_the_driver_refuses_is_refused", refused),
        ("fresh_memory_is_nan", fresh),
        ("an_access_behind_the_end_names_kernel_and_thread", guarded),
        ("the_reverse_order_shows_a_race", race),
        ("a_lane_that_leaves_early_is_found", early),
        ("a_torn_barrier_is_found", torn),
        ("a_failed_assert_makes_later_calls_fail", failed_assert),
        ("a_missing_call_is_named", missing),
        ("a_kernel_without_a_c_name_is_not_found", mangled),
        ("a_source_is_compiled_at_run_time", nvrtc),
        ("a_convolution_and_its_gradients_are_transposes", convolution),
        ("nvcc_names_a_source_that_does_not_compile", broken_source),
        ("a_library_that_was_changed_is_taken_in_its_place", changed),
    ];
    let trials = match home {
        None => {
            eprintln!("skip stand_in: not on the stand-in");
            listed.map(|(name, _)| Trial::test(name, || Ok(())).with_ignored_flag(true)).into()
        }
        Some(home) => {
            let program = Arc::new(Program::build(&home));
            let trial = |(name, check): (&'static str, Check)| {
                let program = program.clone();
                Trial::test(name, move || check(program.as_ref().as_ref().map_err(|cause| cause.as_str())?))
            };
            listed.into_iter().map(trial).collect()
        }
    };
    libtest_mimic::run(&arguments, trials).exit();
}

type Check = fn(&Program) -> Result<(), Failed>;

/// The program of the cases, and its kernels.
struct Program {
    folder: TempDir,
}

impl Program {
    fn build(home: &Path) -> Result<Self, String> {
        let folder = tempfile::tempdir().map_err(|e| e.to_string())?;
        let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/cuda-sim/tests");
        let mut nvcc = nvcc();
        // As a build script of this workspace calls it.
        nvcc.args(["--ptx", "-arch=compute_80", "-O3", "--output-directory"]).arg(folder.path());
        done(nvcc.arg(sources.join("kernels.cu")))?;
        let mut cxx = Command::new(std::env::var_os("CXX").unwrap_or_else(|| "c++".into()));
        cxx.args(["-std=c++17", "-O1", "-o"]).arg(folder.path().join("main"));
        cxx.args(["main.cpp", "cudnn.cpp"].map(|file| sources.join(file)));
        cxx.arg("-L").arg(home.join("lib64")).args(["-lcuda", "-lnvrtc", "-lcudnn"]);
        done(&mut cxx)?;
        Ok(Program { folder })
    }

    /// Runs a case with switches of the stand-in.
    fn run(&self, case: &str, switches: &[(&str, &str)]) -> Result<Output, Failed> {
        let mut command = Command::new(self.folder.path().join("main"));
        for switch in ["CUDASIM_GUARD", "CUDASIM_ORDER", "CUDASIM_STATS", "CUDASIM_KERNELS"] {
            command.env_remove(switch);
        }
        command.envs(switches.iter().copied()).env("TMPDIR", self.folder.path());
        Ok(command.arg(self.folder.path().join("kernels.ptx")).arg(case).output()?)
    }

    /// What a case that ends well prints.
    fn prints(&self, case: &str, switches: &[(&str, &str)]) -> Result<String, Failed> {
        let output = self.run(case, switches)?;
        if !output.status.success() {
            return Err(format!("{case}: {output:?}").into());
        }
        Ok(String::from_utf8(output.stdout)?)
    }
}

fn nvcc() -> Command {
    Command::new(std::env::var_os("NVCC").unwrap_or_else(|| "nvcc".into()))
}

fn done(command: &mut Command) -> Result<(), String> {
    let output = command.output().map_err(|e| format!("cannot start {command:?}: {e}"))?;
    if output.status.success() {
        return Ok(());
    }
    Err(format!("{command:?}: {}", String::from_utf8_lossy(&output.stderr)))
}

/// Every one of the parts is in the text.
fn contains(text: &str, parts: &[&str]) -> Result<(), Failed> {
    match parts.iter().find(|part| !text.contains(**part)) {
        None => Ok(()),
        Some(part) => Err(format!("no {part:?} in:\n{text}").into()),
    }
}

fn equal(got: &str, want: &str) -> Result<(), Failed> {
    if got == want { Ok(()) } else { Err(format!("got {got:?}, expected {want:?}").into()) }
}

fn sums(program: &Program) -> Result<(), Failed> {
    // Twice the sums of 0..64 and 64..128, and of each 32.
    let want = "blocks: 4032 12224\nwarps: 992 3040 5088 7136\n";
    equal(&program.prints("sums", &[])?, want)?;
    equal(&program.prints("sums", &[("CUDASIM_ORDER", "reverse"), ("CUDASIM_GUARD", "1")])?, want)
}

fn counted(program: &Program) -> Result<(), Failed> {
    let output = program.run("sums", &[("CUDASIM_STATS", "1")])?;
    let text = String::from_utf8_lossy(&output.stderr).split_whitespace().collect::<Vec<_>>().join(" ");
    let up = "1 x copy host to device 512 bytes";
    let (number, down) = ("1 x copy of a number to the host 8 bytes", "1 x copy device to host 16 bytes");
    contains(
        &text,
        &[
            "1 x kernel scale",
            "1 x kernel block_sum",
            up,
            number,
            down,
            "3 x malloc 536 bytes",
            "peak memory 0.001 MB",
        ],
    )
}

fn refused(program: &Program) -> Result<(), Failed> {
    let text = program.prints("refused", &[])?;
    contains(
        &text,
        &[
            "empty: 1 launch of scale refused: an empty grid",
            "wide: 1 launch of scale refused: over 1,024 threads in a block",
            "shared: 1 launch of scale refused: more shared memory than the kernel may use",
            // A launch that is refused leaves the device usable.
            "after: 0 ",
            "x: 0\n",
        ],
    )
}

fn fresh(program: &Program) -> Result<(), Failed> {
    equal(&program.prints("fresh", &[])?, "x: -nan -nan\n")
}

fn guarded(program: &Program) -> Result<(), Failed> {
    let output = program.run("beyond", &[("CUDASIM_GUARD", "1")])?;
    if output.status.success() {
        return Err("the access went through".into());
    }
    let text = String::from_utf8_lossy(&output.stderr);
    contains(
        &text,
        &["in kernel beyond (block 0,0,0 thread 7,0,0), 0 bytes behind the end of an allocation of 32"],
    )
}

fn race(program: &Program) -> Result<(), Failed> {
    let forward = program.prints("race", &[])?;
    let reverse = program.prints("race", &[("CUDASIM_ORDER", "reverse")])?;
    equal(&forward, "x: 2 3 4 3\n")?;
    equal(&reverse, "x: 4 3 2 1\n")
}

/// The launch succeeds, as on a GPU; the next call fails and says why.
fn breaks(program: &Program, case: &str, why: &str) -> Result<(), Failed> {
    contains(&program.prints(case, &[])?, &["launch: 0 ", &format!("later: 710 kernel {case}: {why}")])
}

fn early(program: &Program) -> Result<(), Failed> {
    let why = "block 0,0,0: 31 threads are in a warp exchange whose mask names lanes that do not come; 0 wait at \
               __syncthreads, 1 have ended";
    breaks(program, "early", why)
}

fn torn(program: &Program) -> Result<(), Failed> {
    let why = "block 0,0,0: 16 threads are in a warp exchange whose mask names lanes that do not come; 16 wait at \
               __syncthreads, 0 have ended";
    breaks(program, "torn", why)
}

fn failed_assert(program: &Program) -> Result<(), Failed> {
    breaks(program, "checked", "assert(x[threadIdx.x] < 2) failed (block 0,0,0 thread 2,0,0)")
}

fn missing(program: &Program) -> Result<(), Failed> {
    contains(&program.prints("missing", &[])?, &["call: 801 cuGraphCreate is not part of the stand-in"])
}

fn mangled(program: &Program) -> Result<(), Failed> {
    contains(
        &program.prints("mangled", &[])?,
        &["find: 500 no extern \"C\" kernel mangled in ", "kernels.cu"],
    )
}

fn nvrtc(program: &Program) -> Result<(), Failed> {
    equal(&program.prints("nvrtc", &[])?, "x: 0.5 1.5 2.5 3.5\n")
}

fn convolution(program: &Program) -> Result<(), Failed> {
    let text = program.prints("cudnn", &[])?;
    for line in text.lines() {
        let numbers: Vec<&str> = line.split_whitespace().skip(1).collect();
        if numbers.len() < 2 || numbers[0] == "0" || numbers.iter().any(|n| *n != numbers[0]) {
            return Err(format!("not equal, or 0: {line}").into());
        }
    }
    contains(&text, &["corner: ", "transposes: "])
}

fn broken_source(program: &Program) -> Result<(), Failed> {
    let source = program.folder.path().join("broken.cu");
    std::fs::write(&source, "extern \"C\" __global__ void f(float *x) { x[0] = undeclared; }\n")?;
    let output = nvcc().args(["--ptx", "-odir"]).arg(program.folder.path()).arg(&source).output()?;
    if output.status.success() {
        return Err("compiled".into());
    }
    contains(&String::from_utf8_lossy(&output.stderr), &["broken.cu", "undeclared"])
}

fn changed(program: &Program) -> Result<(), Failed> {
    let sources = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../xtask/cuda-sim/tests");
    let folder = program.folder.path().join("changed");
    std::fs::create_dir_all(&folder)?;
    let name = folder.to_string_lossy().into_owned();
    let sums = || program.prints("sums", &[("CUDASIM_KERNELS", &name)]);
    let before = sums()?; // the folder is empty
    equal(&before, &program.prints("sums", &[])?)?;
    let text =
        std::fs::read_to_string(sources.join("kernels.cu"))?.replace("x[i] *= factor", "x[i] -= factor");
    std::fs::write(folder.join("kernels.cu"), text)?;
    done(nvcc().args(["--ptx", "-odir"]).arg(&folder).arg(folder.join("kernels.cu")))?;
    if sums()? == before { Err("the change is not seen".into()) } else { Ok(()) }
}
