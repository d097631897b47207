//! What the targets share: files for readers, which take paths where a fuzzer gives bytes, and an account of memory.

mod attributes;
mod ct;
mod parts;

pub use attributes::change_attribute;
pub use ct::series;
pub use parts::{parts, zipped};

use peak_alloc::PeakAlloc;
use rustix::time::{ClockId, clock_gettime};
use std::backtrace::Backtrace;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::PathBuf;
use std::sync::{Mutex, Once, PoisonError};
use std::time::Duration;

#[global_allocator]
static MEMORY: PeakAlloc = PeakAlloc;

/// What a reader may use besides 20 times its input: 256 MB.
const ALLOWED: usize = 256 << 20;

/// The last panic: where, and how it came there.
static LAST: Mutex<Option<(String, Backtrace)>> = Mutex::new(None);

/// The time of the processor that a reader may take. The clock on the wall goes on where others have the processor.
const LONGEST: Duration = Duration::from_secs(10);

/// Runs readers on an input. A panic that leaves them is a finding (decoders of pixels may panic within), and so are more memory
/// than 20 times the input and 256 MB and more than 10 s.
pub fn within_bounds(data: &[u8], read: impl FnOnce()) {
    static HOOK: Once = Once::new();
    HOOK.call_once(|| {
        std::panic::set_hook(Box::new(|panic| {
            let seen = (panic.to_string(), Backtrace::force_capture());
            *LAST.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        }));
    });
    let (before, start) = (MEMORY.current_usage(), processor_time());
    MEMORY.reset_peak_usage();
    let outcome = catch_unwind(AssertUnwindSafe(read));
    let used = MEMORY.peak_usage().saturating_sub(before);
    if outcome.is_err() {
        if let Some((panic, trace)) = &*LAST.lock().unwrap_or_else(PoisonError::into_inner) {
            eprintln!("{panic}\n{trace}");
        }
        std::process::abort();
    }
    let took = processor_time().saturating_sub(start);
    if used > 20 * data.len() + ALLOWED || took > LONGEST {
        eprintln!("{used} bytes of memory and {took:.1?} for {} bytes of input", data.len());
        std::process::abort();
    }
}

fn processor_time() -> Duration {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    Duration::new(time.tv_sec.unsigned_abs(), time.tv_nsec as u32)
}

/// A file with these bytes; the same file at every call, since thousands of them would fill the disk.
pub fn file(name: &str, data: &[u8]) -> PathBuf {
    let path = folder().join(name);
    std::fs::write(&path, data).expect("a temporary file");
    path
}

/// The folder of this process.
pub fn folder() -> PathBuf {
    let folder = std::env::temp_dir().join(format!("oncograph_fuzz_{}", std::process::id()));
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}

/// A folder within that of this process, and empty.
pub fn empty_folder(name: &str) -> PathBuf {
    let folder = folder().join(name);
    std::fs::remove_dir_all(&folder).ok();
    std::fs::create_dir_all(&folder).expect("a temporary folder");
    folder
}
