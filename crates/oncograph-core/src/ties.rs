use serde::{Deserialize, Serialize};

/// How the Cox partial likelihood treats events at equal times.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Ties {
    /// Every tied event keeps all tied events in its risk set.
    Breslow,
    /// Tied events leave the risk set in equal parts: more accurate with many ties.
    Efron,
}
