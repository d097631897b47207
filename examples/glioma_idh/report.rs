//! What every report of this program says.

pub const RESEARCH: &str =
    "For research only. Not a medical device; not validated for any clinical decision.";

/// The command line as typed, without the path of the program.
pub fn command() -> String {
    std::iter::once("glioma_idh".to_string()).chain(std::env::args().skip(1)).collect::<Vec<_>>().join(" ")
}
