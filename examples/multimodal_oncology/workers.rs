//! Jobs side by side, one thread each: the tensors of one fold are too small to share out.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

/// How many jobs run at once, where the program has started itself anew.
const WORKERS: &str = "ONCOGRAPH_WORKERS";

/// Starts the program anew with one thread for each tensor and as many jobs at once as it would have had threads.
///
/// candle keeps a pool of its own, as wide as `RAYON_NUM_THREADS` says or as there are processors, whose threads wait in a loop: on two
/// processors they took 40 % of a run whose folds train side by side. It can only be told so by the environment of the process.
#[cfg(unix)]
pub fn one_thread_per_tensor() -> anyhow::Result<()> {
    use std::os::unix::process::CommandExt;
    let threads = rayon::current_num_threads();
    if threads == 1 || std::env::var_os(WORKERS).is_some() {
        return Ok(());
    }
    let mut again = std::process::Command::new(std::env::current_exe()?);
    again.args(std::env::args_os().skip(1)).env("RAYON_NUM_THREADS", "1").env(WORKERS, threads.to_string());
    // Gives an error or does not return: the process becomes the new program.
    Err(again.exec().into())
}

/// As on other systems, where a process cannot become another program.
#[cfg(not(unix))]
pub fn one_thread_per_tensor() -> anyhow::Result<()> {
    Ok(())
}

fn workers() -> usize {
    let told = std::env::var(WORKERS).ok().and_then(|n| n.parse().ok());
    told.unwrap_or_else(rayon::current_num_threads)
}

/// As the main thread has; gradients are walked recursively.
const STACK: usize = 8 << 20;

/// What `job` makes of each of `items`, in their order.
///
/// # Errors
/// The first error that a worker meets; jobs that have not begun are left out then.
pub fn side_by_side<T: Sync, R: Send>(
    items: &[T],
    job: impl Fn(&T) -> anyhow::Result<R> + Sync,
) -> anyhow::Result<Vec<R>> {
    let next = AtomicUsize::new(0);
    let work = || -> anyhow::Result<Vec<(usize, R)>> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).stack_size(STACK).build()?;
        let mut done = vec![];
        while let Some((i, item)) = take(&next, items) {
            match pool.install(|| job(item)) {
                Ok(result) => done.push((i, result)),
                Err(error) => {
                    next.store(items.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(done)
    };
    let workers = workers().clamp(1, items.len().max(1));
    let parts: Vec<anyhow::Result<Vec<(usize, R)>>> = std::thread::scope(|scope| {
        let started: Vec<_> = (0..workers).map(|_| scope.spawn(work)).collect();
        started.into_iter().map(|w| w.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    });
    let mut all: Vec<(usize, R)> = vec![];
    for part in parts {
        all.extend(part?);
    }
    all.sort_by_key(|(i, _)| *i);
    Ok(all.into_iter().map(|(_, result)| result).collect())
}

fn take<'a, T>(next: &AtomicUsize, items: &'a [T]) -> Option<(usize, &'a T)> {
    // No overflow: a worker that finds nothing ends.
    let i = next.fetch_add(1, Ordering::Relaxed);
    Some((i, items.get(i)?))
}
