//! What a part of the pack is, and what it leaves.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What is in a folder, as `pack.json` has it.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Pack {
    /// The commit that was built; empty outside of git.
    pub commit: String,
    /// Whether the programs are for the stand-in: then no time in the results means anything.
    pub stand_in: bool,
    /// Whether inputs are small.
    pub tiny: bool,
    /// Whether convolutions go to cuDNN.
    pub cudnn: bool,
    /// Seconds that the parts of each group may take together.
    pub groups: BTreeMap<String, f64>,
    /// The parts in the order in which they run.
    pub parts: Vec<Part>,
}

/// A piece of work with a result of its own.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Part {
    /// The name of its result.
    pub name: String,
    /// The group whose time it takes from.
    pub group: String,
    /// Seconds that it may take.
    pub limit: f64,
    /// Command lines, one after the other up to the first that fails, in the pack's folder.
    pub steps: Vec<Vec<String>>,
    /// What it cannot do without.
    pub needs: Vec<Need>,
    /// Files that no later part reads.
    pub removes: Vec<PathBuf>,
}

/// Something that a machine has or has not.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Need {
    /// A program on PATH.
    Program(String),
    /// A statement that Python runs.
    Python(String),
}

/// How a part ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum State {
    /// With the status 0.
    Passed,
    /// With another status, or it did not start.
    Failed,
    /// It was killed at its limit.
    TimedOut,
    /// It was not begun.
    Skipped,
}

impl State {
    /// The word for it.
    pub fn word(self) -> &'static str {
        match self {
            State::Passed => "passed",
            State::Failed => "failed",
            State::TimedOut => "timed out",
            State::Skipped => "skipped",
        }
    }
}

/// What a part leaves in `results/NAME.json`.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Outcome {
    /// The part.
    pub name: String,
    /// Its group.
    pub group: String,
    /// How it ended.
    pub state: State,
    /// Why it did not pass; empty where it did.
    pub reason: String,
    /// Seconds that it took.
    pub seconds: f64,
    /// Seconds that it had.
    pub limit: f64,
    /// The JSON objects that it printed, one a line.
    pub answers: Vec<Value>,
    /// The end of what it printed.
    pub output: String,
}
