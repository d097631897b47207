use crate::{Error, Result};
use candle_core::{Device, Tensor};
use oncograph_graph::{Adjacency, Graph, HeteroBatch, HeteroGraph, Schema};
use std::sync::Arc;

/// The edge type of the tracts; each is one edge from one of its regions to the other.
const TRACT: (&str, &str, &str) = ("region", "tract", "region");

/// The schema of a brain network whose regions and tracts have `width` attributes: regions and the tracts between them.
pub fn brain_schema(width: usize) -> Schema {
    Schema::new().node("region", width).edge(TRACT.0, TRACT.1, TRACT.2, width)
}

/// The brain network of one patient: a graph of regions and the tracts between them ([`brain_schema`]), with what was
/// learned of the voxels of each.
///
/// # Example
/// ```
/// use oncograph_brain::BrainNetwork;
///
/// // Three regions and the tract between the first two, with two attributes each.
/// let network = BrainNetwork::new(vec![[0, 1]], 2, vec![0.1, 0.2, 0.3, 0.4, 0.5, 0.6], vec![1.0, 2.0])?;
/// assert_eq!((network.regions(), network.tracts()), (3, 1));
/// assert!(BrainNetwork::new(vec![[0, 3]], 2, vec![0.0; 6], vec![1.0, 2.0]).is_err());
/// # Ok::<(), oncograph_brain::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
pub struct BrainNetwork {
    graph: HeteroGraph,
}

impl BrainNetwork {
    /// From the pair of regions that each tract joins and, row by row, `width` attributes of every region and tract.
    ///
    /// # Errors
    /// [`Error::Input`] for lengths that do not fit or a tract that begins and ends in one region or in one that is not
    /// there; [`Error::Graph`] for a value that is not finite.
    pub fn new(
        pairs: Vec<[u32; 2]>,
        width: usize,
        region_attributes: Vec<f32>,
        tract_attributes: Vec<f32>,
    ) -> Result<Self> {
        const OP: &str = "BrainNetwork";
        let regions = region_attributes.len() / width.max(1);
        if width == 0 || regions == 0 || region_attributes.len() != regions * width {
            let got = region_attributes.len();
            return Err(Error::input(OP, format!("rows of {width} attributes of regions"), got));
        }
        if tract_attributes.len() != pairs.len() * width {
            let expected = format!("{width} attributes of {} tracts", pairs.len());
            return Err(Error::input(OP, expected, tract_attributes.len()));
        }
        if let Some(pair) = pairs.iter().find(|[a, b]| a == b || *a.max(b) as usize >= regions) {
            return Err(Error::input(
                OP,
                format!("tracts between two of {regions} regions"),
                format!("{pair:?}"),
            ));
        }
        let (from, to) = pairs.into_iter().map(|[from, to]| (from, to)).unzip();
        let graph = HeteroGraph::builder(Arc::new(brain_schema(width)))
            .nodes("region", regions, region_attributes)
            .edges(TRACT, from, to, tract_attributes)
            .build()?;
        Ok(BrainNetwork { graph })
    }

    /// The regions and tracts as a graph; each tract is one edge.
    pub fn graph(&self) -> &HeteroGraph {
        &self.graph
    }

    /// How many regions there are.
    pub fn regions(&self) -> usize {
        self.graph.node_count()
    }

    /// How many tracts there are.
    pub fn tracts(&self) -> usize {
        self.graph.edge_count()
    }

    /// Attributes of a region or tract.
    pub fn width(&self) -> usize {
        self.graph.schema().node_types()[0].features
    }
}

/// The networks of a batch of patients side by side. Every tract is an edge in both directions with the same attributes
/// (G-12): first all tracts as they are given, then all mirrored.
#[derive(Debug, Clone)]
pub struct BatchNetwork {
    /// v^N \[all regions, width\].
    pub regions: Tensor,
    /// v^E \[all tracts, width\], each once.
    pub tracts: Tensor,
    adjacency: Arc<Adjacency>,
    patient_of_region: Vec<u32>,
    patients: usize,
}

impl BatchNetwork {
    /// Joins patients.
    ///
    /// # Errors
    /// [`Error::Input`] if there are none, or they have other widths; an error of candle.
    pub fn new(networks: &[&BrainNetwork], device: &Device) -> Result<Self> {
        let Some(first) = networks.first() else {
            return Err(Error::input("BatchNetwork", "one patient or more", 0));
        };
        let width = first.width();
        if let Some(other) = networks.iter().find(|n| n.width() != width) {
            return Err(Error::input("BatchNetwork", format!("{width} attributes"), other.width()));
        }
        let graphs: Vec<&HeteroGraph> = networks.iter().map(|n| &n.graph).collect();
        let batch = HeteroBatch::new(&graphs, device)?;
        let once = batch.adjacency(TRACT)?;
        let (from, to) = (once.sources(), once.targets());
        let (sources, targets) = ([from, to].concat(), [to, from].concat());
        let nodes = once.source_count();
        Ok(BatchNetwork {
            regions: batch.features("region")?.clone(),
            tracts: batch.edge_attributes(TRACT)?.clone(),
            adjacency: Arc::new(Adjacency::new(nodes, nodes, &sources, &targets)?),
            patient_of_region: batch.graph_of_node("region")?,
            patients: batch.graph_count(),
        })
    }

    /// How many patients there are.
    pub fn patients(&self) -> usize {
        self.patients
    }

    /// The patient of every region.
    pub fn patient_of_region(&self) -> &[u32] {
        &self.patient_of_region
    }

    /// The graph with these attributes of the tracts, for instance [`BatchNetwork::tracts`] times their attention.
    ///
    /// # Errors
    /// An error if there are other tracts.
    pub fn graph(&self, tracts: &Tensor) -> Result<Graph> {
        let mirrored = Tensor::cat(&[tracts, tracts], 0)?;
        let (adjacency, of_region) = (self.adjacency.clone(), &self.patient_of_region);
        Ok(Graph::new(adjacency, Some(mirrored), of_region, self.patients)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_nn::testing::device;

    #[test]
    fn tracts_are_mirrored_and_patients_kept_apart() {
        let a = BrainNetwork::new(vec![[0, 1], [1, 2]], 1, vec![1.0, 2.0, 3.0], vec![5.0, 6.0]).unwrap();
        let b = BrainNetwork::new(vec![[1, 0]], 1, vec![7.0, 8.0], vec![9.0]).unwrap();
        let batch = BatchNetwork::new(&[&a, &b], &device()).unwrap();
        let graph = batch.graph(&batch.tracts).unwrap();
        assert_eq!(graph.adjacency().sources(), [0, 1, 4, 1, 2, 3]);
        assert_eq!(graph.adjacency().targets(), [1, 2, 3, 0, 1, 4]);
        let attributes = graph.edge_attributes().unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(attributes, [5.0, 6.0, 9.0, 5.0, 6.0, 9.0]);
        assert_eq!((batch.patient_of_region(), graph.graph_count()), (&[0, 0, 0, 1, 1][..], 2));
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let error = BrainNetwork::new(vec![[0, 0]], 1, vec![1.0, 2.0], vec![5.0]).unwrap_err().to_string();
        assert_eq!(error, "BrainNetwork: expected tracts between two of 2 regions, got [0, 0]");
        assert!(BrainNetwork::new(vec![[0, 1]], 1, vec![1.0, f32::NAN], vec![5.0]).is_err());
        assert!(BrainNetwork::new(vec![[0, 1]], 2, vec![1.0, 2.0, 3.0], vec![5.0, 1.0]).is_err());
        assert!(BatchNetwork::new(&[], &device()).is_err());
    }
}
