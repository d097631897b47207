use crate::{Error, Result};
use candle_core::Device;
use oncograph_core::Argument;
use oncograph_nn::{DeviceSpec, Precision, with_precision};
use oncograph_train::StopFlag;
use std::error::Error as StdError;
use std::process::ExitCode;
use std::sync::OnceLock;

/// The exit status of a run that was stopped and can be resumed, as of a shell command after Ctrl-C.
pub const STOPPED: u8 = 130;

/// Runs a program: warnings go to standard error (the environment variable `RUST_LOG` chooses which), an error is one line
/// there and status 2, a stop on request status 130.
pub fn program<E: Into<Box<dyn StdError + Send + Sync>>>(
    run: impl FnOnce() -> std::result::Result<(), E>,
) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_default_env();
    let filter = filter.unwrap_or_else(|_| tracing_subscriber::EnvFilter::new("warn"));
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).without_time().init();
    let Err(error) = run() else { return ExitCode::SUCCESS };
    let error: Box<dyn StdError + Send + Sync> = error.into();
    let stopped = is_stopped(error.as_ref());
    eprintln!("{}{}", if stopped { "" } else { "error: " }, one_line(error.as_ref()));
    ExitCode::from(if stopped { STOPPED } else { 2 })
}

fn chain<'a>(error: &'a (dyn StdError + 'static)) -> impl Iterator<Item = &'a (dyn StdError + 'static)> {
    std::iter::successors(Some(error), |e: &&'a (dyn StdError + 'static)| (*e).source())
}

fn is_stopped(error: &(dyn StdError + 'static)) -> bool {
    chain(error).any(|e| {
        matches!(e.downcast_ref(), Some(oncograph_train::Error::Stopped))
            || e.downcast_ref::<Error>().is_some_and(Error::is_stopped)
    })
}

/// The causes of an error without those that an outer one already spells out.
fn one_line(error: &(dyn StdError + 'static)) -> String {
    let mut parts: Vec<String> = vec![];
    for cause in chain(error) {
        let text = cause.to_string().replace('\n', " ");
        if !parts.last().is_some_and(|outer| outer.contains(&text)) {
            parts.push(text);
        }
    }
    parts.join(": ")
}

/// A flag that Ctrl-C sets; a second Ctrl-C ends the program at once.
///
/// # Errors
/// If another handler is installed already.
pub fn stop_on_ctrl_c() -> Result<StopFlag> {
    let stop = StopFlag::new();
    let flag = stop.clone();
    ctrlc::set_handler(move || {
        if flag.is_requested() {
            std::process::exit(i32::from(STOPPED));
        }
        eprintln!("\nstopping after this step; press Ctrl-C again to stop at once");
        flag.request();
    })
    .map_err(Error::system)?;
    Ok(stop)
}

/// Opens the device that `--device` names: `cpu`, `cuda` or `cuda:N`; see [`DeviceSpec::open`].
///
/// # Errors
/// If the name is another one, or what keeps the device from being opened.
pub fn device(name: &str) -> Result<Device> {
    let bad = |_| Argument::new("--device", "name", "cpu, cuda or cuda:N", name);
    let spec: DeviceSpec = name.parse().map_err(bad)?;
    spec.open().map_err(|e| Error::system(format!("--device {name}: {e}")))
}

/// Runs `run` with products in the precision that `--precision` names: training, answers and all that the worker threads of a
/// study do.
///
/// # Errors
/// As [`device`]; if the device does not have the precision; an error of `run`.
pub fn in_precision<R, E: From<Error>>(
    device_name: &str,
    precision: Precision,
    run: impl FnOnce() -> std::result::Result<R, E>,
) -> std::result::Result<R, E> {
    let refused = |e| Error::system(format!("--device {device_name}: {e}"));
    precision.check_device(&device(device_name)?).map_err(refused)?;
    with_precision(precision, run)
}

/// How a run was begun that this process goes on with.
static BEGUN: OnceLock<String> = OnceLock::new();

/// Keeps how the run was begun that this process goes on with: what is made of it is made by that command.
pub(super) fn begun_by(command: &str) {
    // A process goes on with one run.
    BEGUN.get_or_init(|| command.to_string());
}

/// The command line as typed, without the path of the program; that of the run's beginning where one is gone on with.
pub fn command_line(program: &str) -> String {
    if let Some(begun) = BEGUN.get() {
        return begun.clone();
    }
    std::iter::once(program.to_string()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}

/// How many jobs run at once, where the program has started itself anew.
const WORKERS: &str = "ONCOGRAPH_WORKERS";

/// Starts the program anew with one thread for each tensor and as many jobs at once as it would have had threads.
///
/// candle keeps a separate thread pool, with `RAYON_NUM_THREADS` threads or one per processor, whose threads wait in a
/// loop: on two processors they took 40 % of a run whose folds train side by side. Its size can only be set by the
/// environment of the process.
///
/// # Errors
/// If the program cannot be started again.
#[cfg(unix)]
pub fn one_thread_per_tensor() -> Result<()> {
    use std::os::unix::process::CommandExt;
    let threads = rayon::current_num_threads();
    if threads == 1 || std::env::var_os(WORKERS).is_some() {
        return Ok(());
    }
    let mut again = std::process::Command::new(std::env::current_exe().map_err(Error::system)?);
    again.args(std::env::args_os().skip(1)).env("RAYON_NUM_THREADS", "1").env(WORKERS, threads.to_string());
    // Gives an error or does not return: the process becomes the new program.
    Err(Error::system(again.exec()))
}

/// As on other systems, where a process cannot become another program.
///
/// # Errors
/// None.
#[cfg(not(unix))]
pub fn one_thread_per_tensor() -> Result<()> {
    Ok(())
}

/// How many jobs run at once: as many as the program had threads before [`one_thread_per_tensor`].
pub fn workers() -> usize {
    let chosen = std::env::var(WORKERS).ok().and_then(|n| n.parse().ok());
    chosen.unwrap_or_else(rayon::current_num_threads)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_are_told_once() {
        let full = oncograph_core::AtFile::new("a/b", std::io::Error::other("disk full"));
        let error = Error::Job { job: "stg-0-1".into(), source: Box::new(full.into()) };
        assert_eq!(one_line(&error), "stg-0-1: a/b: disk full");
    }

    #[test]
    fn a_stop_is_found_below_what_wraps_it() {
        assert!(is_stopped(&Error::from(oncograph_train::Error::Stopped)));
        assert!(is_stopped(&Error::system(Error::from(oncograph_train::Error::Stopped))));
        assert!(!is_stopped(&Error::system("broken")));
    }

    #[test]
    fn a_precision_is_that_of_all_that_runs() {
        let run = || Ok::<_, Error>(Precision::current());
        assert_eq!(in_precision("cpu", Precision::F32, run).unwrap(), Precision::F32);
        let error = in_precision("cpu", Precision::Bf16, run).unwrap_err().to_string();
        assert!(error.starts_with("--device cpu: precision: bf16 must be f32"), "{error}");
    }

    #[test]
    fn devices_are_named() {
        assert!(matches!(device("cpu"), Ok(Device::Cpu)));
        let text = device("tpu").unwrap_err().to_string();
        assert_eq!(text, "--device: name must be cpu, cuda or cuda:N, got tpu");
        assert!(device("cuda:x").is_err());
        if cfg!(not(feature = "cuda")) {
            let text = device("cuda").unwrap_err().to_string();
            assert!(text.starts_with("--device cuda: this program was built without CUDA"), "{text}");
        }
    }
}
