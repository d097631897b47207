//! Jobs side by side, one thread each: the tensors of one fold are too small to share out.

use oncograph_nn::{Precision, with_precision};
use std::panic::resume_unwind;
use std::sync::atomic::{AtomicUsize, Ordering};

/// As the main thread has; gradients are walked recursively.
const STACK: usize = 8 << 20;

/// The results of `job` for each of `items`, in their order, by `workers` threads at once, in the precision of this one.
///
/// # Errors
/// The first error that a worker meets; jobs that have not begun are left out then.
pub fn side_by_side<T: Sync, R: Send, E: Send + From<Unavailable>>(
    items: &[T],
    workers: usize,
    job: impl Fn(&T) -> Result<R, E> + Sync,
) -> Result<Vec<R>, E> {
    let workers = workers.clamp(1, items.len().max(1));
    if workers == 1 {
        return items.iter().map(job).collect();
    }
    let (next, precision) = (AtomicUsize::new(0), Precision::current());
    let work = || -> Result<Vec<(usize, R)>, E> {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(1).stack_size(STACK).build();
        let pool = pool.map_err(|e| E::from(Unavailable(e.to_string())))?;
        let mut done = vec![];
        while let Some((i, item)) = take(&next, items) {
            match pool.install(|| with_precision(precision, || job(item))) {
                Ok(result) => done.push((i, result)),
                Err(error) => {
                    next.store(items.len(), Ordering::Relaxed);
                    return Err(error);
                }
            }
        }
        Ok(done)
    };
    let parts: Vec<Result<Vec<(usize, R)>, E>> = std::thread::scope(|scope| {
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

/// The system gives no more threads.
#[derive(Debug, thiserror::Error)]
#[error("no thread for another worker: {0}")]
pub struct Unavailable(String);

impl From<Unavailable> for crate::Error {
    fn from(error: Unavailable) -> Self {
        crate::Error::system(error)
    }
}

fn take<'a, T>(next: &AtomicUsize, items: &'a [T]) -> Option<(usize, &'a T)> {
    // No overflow: a worker that finds nothing ends.
    let i = next.fetch_add(1, Ordering::Relaxed);
    Some((i, items.get(i)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn results_are_in_order_and_the_first_error_ends_the_rest() {
        let items: Vec<u32> = (0..50).collect();
        let squares = side_by_side(&items, 4, |i| Ok::<_, Error>(i * i)).unwrap();
        assert_eq!(squares, items.iter().map(|i| i * i).collect::<Vec<_>>());
        let precisions = with_precision(Precision::Bf16, || {
            side_by_side(&items, 4, |_| Ok::<_, Error>(Precision::current())).unwrap()
        });
        assert_eq!(precisions, [Precision::Bf16; 50]);
        let begun = AtomicUsize::new(0);
        let failed = side_by_side(&items, 2, |i| {
            begun.fetch_add(1, Ordering::Relaxed);
            if *i == 3 { Err(Error::system("third")) } else { Ok(()) }
        });
        assert_eq!(failed.unwrap_err().to_string(), "third");
        assert!(begun.into_inner() < 50);
    }
}
