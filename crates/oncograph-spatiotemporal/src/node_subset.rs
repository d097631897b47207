use crate::Result;
use oncograph_graph::HeteroGraph;
use serde::{Deserialize, Serialize};

/// Which of the seven nodes a patient's graph has, where there are images.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum NodeSubset {
    /// All seven.
    #[default]
    All,
    /// Those of the images: anatomy and CT.
    Images,
    /// The CT and the clinical node, without anatomy and so without an edge.
    CtAndClinical,
    /// The CT node alone.
    Ct,
}

impl NodeSubset {
    /// Whether the anatomical nodes are among them.
    pub fn has_anatomy(self) -> bool {
        matches!(self, NodeSubset::All | NodeSubset::Images)
    }

    /// Whether the clinical node is among them.
    pub fn has_clinical(self) -> bool {
        matches!(self, NodeSubset::All | NodeSubset::CtAndClinical)
    }

    /// A patient's graph with these nodes and the edges between them.
    ///
    /// # Errors
    /// A graph of another schema.
    pub fn of(self, graph: &HeteroGraph) -> Result<HeteroGraph> {
        if self == NodeSubset::All {
            return Ok(graph.clone());
        }
        let anatomy = vec![self.has_anatomy(); graph.nodes("anatomy")?.count];
        let clinical = vec![self.has_clinical(); graph.nodes("clinical")?.count];
        Ok(graph.retain_nodes("anatomy", &anatomy)?.retain_nodes("clinical", &clinical)?)
    }
}
