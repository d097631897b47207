//! The command line that programs share: options, progress bars, Ctrl-C, exit codes.
//!
//! # Example
//! ```no_run
//! use clap::Parser;
//! use oncograph_study::cli::{StudyArgs, device, parse, program, stop_on_ctrl_c};
//!
//! #[derive(Parser)]
//! struct Args {
//!     #[command(flatten)]
//!     study: StudyArgs,
//! }
//!
//! fn main() -> std::process::ExitCode {
//!     let args: Args = parse(&[], &[]);
//!     program(|| {
//!         let stop = stop_on_ctrl_c()?;
//!         let device = device(&args.study.device)?;
//!         // ...
//!         Ok::<(), oncograph_study::Error>(())
//!     })
//! }
//! ```

mod args;
mod process;
mod progress;
mod run;

pub use args::{StudyArgs, parse};
pub use indicatif::ProgressBar;
pub use process::{
    STOPPED, command_line, device, in_precision, one_thread_per_tensor, program, stop_on_ctrl_c, workers,
};
pub use progress::{StudyProgress, progress_bar};
pub use run::{open_run, patched, read_config};
