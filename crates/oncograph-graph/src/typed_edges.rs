use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// Directed edges `source -> target` between positions of two node types.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct TypedEdges {
    /// The node type that edges start from.
    pub from: String,
    /// The node type that they end in.
    pub to: String,
    /// (source, target) positions.
    pub pairs: Vec<(u32, u32)>,
}

impl TypedEdges {
    /// Edges as given.
    pub fn new(from: impl Into<String>, to: impl Into<String>, pairs: Vec<(u32, u32)>) -> Self {
        TypedEdges { from: from.into(), to: to.into(), pairs }
    }

    /// Checks that every edge joins one of `from` nodes to one of `to` nodes.
    ///
    /// # Errors
    /// [`Error::Mismatch`] with the largest position that is out of range.
    pub fn validate(&self, from: usize, to: usize) -> Result<()> {
        let largest = [self.pairs.iter().map(|p| p.0).max(), self.pairs.iter().map(|p| p.1).max()];
        for (count, largest) in [from, to].into_iter().zip(largest) {
            if let Some(largest) = largest.filter(|l| *l as usize >= count) {
                let what = format!("edges {} -> {}", self.from, self.to);
                return Err(Error::mismatch(what, format!("positions below {count}"), largest));
            }
        }
        Ok(())
    }
}
