//! The basic types of all oncograph crates, without tensors: seeds, censored times, splits, patient tables, whole-file
//! writes, and the two parts that every error enum embeds.

mod error;
mod file;
mod follow_up;
mod seed;
mod split;
mod stand_in;
mod table;
mod ties;

pub use error::{Argument, AtFile};
pub use file::{WholeFile, write_file, write_file_with};
pub use follow_up::{FollowUp, TimeUnit};
pub use seed::Seed;
pub use split::Split;
pub use stand_in::stand_in;
pub use table::Table;
pub use ties::Ties;

pub use rand_chacha;

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
