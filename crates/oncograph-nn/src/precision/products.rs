//! candle's switch for TF32 in products of matrices, which belongs to the process.

use candle_core::cuda_backend::{gemm_reduced_precision_f32, set_gemm_reduced_precision_f32};
use std::sync::{Mutex, MutexGuard, PoisonError};

/// What threads have made of the switch.
struct Switch {
    /// How many are within a reduced precision.
    threads: usize,
    /// How it was before the first of them.
    before: bool,
}

fn switch() -> MutexGuard<'static, Switch> {
    static SWITCH: Mutex<Switch> = Mutex::new(Switch { threads: 0, before: false });
    SWITCH.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Counts a thread that goes from one precision to another, each reduced or not.
pub(super) fn change(from: bool, to: bool) {
    if from == to {
        return;
    }
    let mut switch = switch();
    if to {
        if switch.threads == 0 {
            switch.before = gemm_reduced_precision_f32();
            set_gemm_reduced_precision_f32(true);
        }
        switch.threads += 1;
    } else {
        switch.threads -= 1;
        if switch.threads == 0 {
            set_gemm_reduced_precision_f32(switch.before);
        }
    }
}

/// Whether the program itself has turned it on, and not a thread with a precision of its own.
pub(super) fn allowed_by_the_program() -> bool {
    let switch = switch();
    if switch.threads > 0 { switch.before } else { gemm_reduced_precision_f32() }
}
