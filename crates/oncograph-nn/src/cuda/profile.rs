//! One step of training as the range that a profiler records.

use candle_core::cuda_backend::cudarc::driver::Profiler;
use std::sync::LazyLock;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The variable of the environment that names the step to record.
const VARIABLE: &str = "ONCOGRAPH_PROFILE_STEP";

/// While it lives, a profiler records: `nsys profile --capture-range=cudaProfilerApi`, for one.
pub struct ProfiledStep {
    _range: Option<Profiler>,
}

impl ProfiledStep {
    /// Begins the next step of training of this process. It is recorded if `ONCOGRAPH_PROFILE_STEP` holds its number,
    /// counted from 1; without the variable nothing happens.
    pub fn begin() -> Self {
        static WANTED: LazyLock<Option<usize>> =
            LazyLock::new(|| std::env::var(VARIABLE).ok().and_then(|number| number.parse().ok()));
        static STEPS: AtomicUsize = AtomicUsize::new(0);
        let step = STEPS.fetch_add(1, Ordering::Relaxed) + 1;
        // Without a GPU there is nothing to record.
        ProfiledStep { _range: if *WANTED == Some(step) { Profiler::new().ok() } else { None } }
    }
}
