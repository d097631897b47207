//! Cases of work that are timed here and in a peer on the same inputs.
//!
//! A case is one function: it makes its inputs, hands them to `Bench::give`, runs the work under `Bench::time` and
//! hands its result to `Bench::result`. One process runs one case, so that the peak memory is the case's own. Inputs,
//! parameters and results go into `DIR/CASE.safetensors`, where the peer finds what it must run on and agree with.

mod device;
mod encoders;
mod graphs;
mod images;
mod models;
mod points;
mod process;
mod survival;

use anyhow::{Context, Result, ensure};
use candle_core::{DType, Device, Tensor};
use oncograph_nn::testing::pattern;
use oncograph_nn::{ParamStore, Seed, VarBuilder, save_tensors};
use std::collections::HashMap;
use std::hint::black_box;
use std::path::PathBuf;
use std::time::Instant;

/// One kind of work, under a name.
pub struct Case {
    /// As on the command line, `encoder/r3d_18`.
    pub name: &'static str,
    run: fn(&mut Bench) -> Result<()>,
}

/// Every case, in the order of the page.
pub fn cases() -> Vec<Case> {
    let groups = [
        encoders::CASES,
        graphs::CASES,
        models::CASES,
        survival::CASES,
        points::CASES,
        images::CASES,
        process::CASES,
        device::CASES,
    ];
    groups.into_iter().flatten().map(|&(name, run)| Case { name, run }).collect()
}

/// How a case is run.
#[derive(Debug, Clone)]
pub struct Settings {
    /// Receives the tensors of the case and holds the files that it reads.
    pub dir: PathBuf,
    /// Runs that count, at least three.
    pub runs: usize,
    /// How long short work is repeated \[s\].
    pub seconds: f64,
    /// Where the work is done; cases of images, points, survival and processes are of the CPU alone.
    pub device: Device,
    /// Whether inputs are so small that only the way is tested.
    pub tiny: bool,
}

/// What one case took.
#[derive(Debug, serde::Serialize)]
pub struct Measured {
    /// Wall seconds of each run.
    pub wall: Vec<f64>,
    /// Processor seconds of all threads of each run.
    pub cpu: Vec<f64>,
    /// The largest resident size of the process \[MB\].
    pub peak_mb: f64,
    /// The memory of the GPU that is taken at the end, with what the process keeps for later \[MB\].
    #[serde(skip_serializing_if = "Option::is_none")]
    pub device_mb: Option<f64>,
    /// Operations that have no kernel and ran on the CPU.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub by_host: Vec<&'static str>,
    /// Bytes that one run reads and writes, where the case is about those.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bytes: Option<usize>,
}

/// What a case talks to.
pub struct Bench {
    settings: Settings,
    bytes: Option<usize>,
    /// Whether the work is done by other processes, whose memory counts.
    processes: bool,
    store: ParamStore,
    kept: HashMap<String, Tensor>,
    measured: Option<Measured>,
}

impl Case {
    /// Runs the case.
    ///
    /// # Errors
    /// What the case runs into, or a device that it does not run on.
    pub fn run(&self, settings: &Settings) -> Result<Measured> {
        let portable =
            ["encoder/", "graph/", "model/", "device/"].iter().any(|group| self.name.starts_with(group));
        ensure!(portable || settings.device.is_cpu(), "{}: a case of the CPU", self.name);
        let store = ParamStore::new(Seed::new(1));
        let processes = self.name.starts_with("process/");
        let settings = settings.clone();
        let mut bench =
            Bench { settings, bytes: None, processes, store, kept: HashMap::new(), measured: None };
        (self.run)(&mut bench)?;
        let dir = &bench.settings.dir;
        std::fs::create_dir_all(dir).with_context(|| dir.display().to_string())?;
        let kept = |(n, t): (String, Tensor)| Ok((n, t.to_device(&Device::Cpu)?.contiguous()?));
        let kept = bench.kept.into_iter().map(kept).collect::<Result<HashMap<_, _>>>()?;
        save_tensors(&kept, dir.join(format!("{}.safetensors", self.name.replace('/', "_"))))?;
        bench.measured.with_context(|| format!("{}: the case timed nothing", self.name))
    }
}

impl Bench {
    /// Where the parameters of the case's model come from.
    fn vb(&self) -> VarBuilder<'static> {
        self.store.var_builder(DType::F32, &self.settings.device)
    }

    /// Numbers in (-1, 1) without a pattern that matters, on the device.
    fn random(&self, dims: &[usize], salt: u64) -> Result<Tensor> {
        Ok(random(dims, salt)?.to_device(&self.settings.device)?)
    }

    /// A size, or a small one where only the way is tested.
    fn size(&self, full: usize, tiny: usize) -> usize {
        if self.settings.tiny { tiny } else { full }
    }

    /// An input that the peer shall have, too.
    fn give(&mut self, name: &str, value: &Tensor) {
        self.kept.insert(format!("in.{name}"), value.clone());
    }

    /// A result that the peer compares with its own.
    fn result(&mut self, name: &str, value: &Tensor) {
        self.kept.insert(format!("out.{name}"), value.detach());
    }

    /// Runs `work` once to warm up and then the requested number of times, at least three, for the requested time if it is
    /// short. A run ends when the device has ended it.
    fn time<T>(&mut self, mut work: impl FnMut() -> Result<T>) -> Result<T> {
        // The parameters as they are before the work changes them.
        self.kept.extend(self.store.snapshot()?.into_iter().map(|(n, v)| (format!("param.{n}"), v)));
        let device = self.settings.device.clone();
        let mut last = black_box(work()?);
        device.synchronize()?;
        let peak_of = if self.processes { children_peak_mb } else { peak_mb };
        let (mut wall, mut cpu) = (vec![], vec![]);
        let begun = Instant::now();
        let Settings { runs, seconds, .. } = self.settings;
        while wall.len() < runs.max(3) || (begun.elapsed().as_secs_f64() < seconds && wall.len() < 200) {
            let (start, start_cpu) = (Instant::now(), processor_seconds());
            let value = black_box(work()?);
            device.synchronize()?;
            wall.push(start.elapsed().as_secs_f64());
            cpu.push(processor_seconds() - start_cpu);
            last = value;
        }
        ensure!(self.measured.is_none(), "a case is one piece of work");
        let (device_mb, by_host) = device_state(&device);
        self.measured =
            Some(Measured { wall, cpu, peak_mb: peak_of(), device_mb, by_host, bytes: self.bytes });
        Ok(last)
    }

    /// A file that was made for all sides.
    fn file(&self, name: &str) -> Result<PathBuf> {
        let path = self.settings.dir.join(name);
        ensure!(path.exists(), "{}: absent; `bench.py files` makes it", path.display());
        Ok(path)
    }
}

/// Numbers in (-1, 1) without a pattern that matters.
fn random(dims: &[usize], salt: u64) -> Result<Tensor> {
    Ok(pattern(dims, salt)?.to_dtype(DType::F32)?)
}

/// The memory of a GPU that is taken \[MB\], and the operations that did not run there.
#[cfg(feature = "cuda")]
fn device_state(device: &Device) -> (Option<f64>, Vec<&'static str>) {
    use candle_core::cuda_backend::cudarc::driver::result::mem_get_info;
    let memory = if device.is_cuda() { mem_get_info().ok() } else { None };
    (memory.map(|(free, total)| (total - free) as f64 / (1 << 20) as f64), oncograph_nn::cuda::by_host())
}

#[cfg(not(feature = "cuda"))]
fn device_state(_: &Device) -> (Option<f64>, Vec<&'static str>) {
    (None, vec![])
}

#[cfg(unix)]
fn processor_seconds() -> f64 {
    let time = rustix::time::clock_gettime(rustix::time::ClockId::ProcessCPUTime);
    time.tv_sec as f64 + time.tv_nsec as f64 * 1e-9
}

#[cfg(not(unix))]
fn processor_seconds() -> f64 {
    f64::NAN
}

/// The high-water mark that Linux keeps; NaN elsewhere.
fn peak_mb() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|l| l.strip_prefix("VmHWM:"));
    line.and_then(|l| l.trim().trim_end_matches(" kB").parse::<f64>().ok()).map_or(f64::NAN, |kb| kb / 1024.0)
}

/// The largest resident size that a process of ours which has ended had.
#[cfg(unix)]
fn children_peak_mb() -> f64 {
    use nix::sys::resource::{UsageWho, getrusage};
    getrusage(UsageWho::RUSAGE_CHILDREN).map_or(f64::NAN, |usage| usage.max_rss() as f64 / 1024.0)
}

#[cfg(not(unix))]
fn children_peak_mb() -> f64 {
    f64::NAN
}
