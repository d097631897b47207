//! Jobs side by side, one thread each: the tensors of one fold are too small to share out.

use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

/// As the main thread has; gradients are walked recursively.
const STACK: usize = 8 << 20;

/// What `job` makes of each of `items`, in their order; as many at once as rayon has threads.
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
    let workers = rayon::current_num_threads().clamp(1, items.len().max(1));
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
