use crate::{Error, Result};
use candle_core::{Device, Tensor};
use oncograph_graph::Graph;
use oncograph_nn::segment::Adjacency;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// The brain network of one patient: regions, the tracts between them, and what was learned of the voxels of each.
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
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct BrainNetwork {
    pairs: Vec<[u32; 2]>,
    width: usize,
    region_attributes: Vec<f32>,
    tract_attributes: Vec<f32>,
}

impl BrainNetwork {
    /// From the pair of regions that each tract joins and, row by row, `width` attributes of every region and tract.
    ///
    /// # Errors
    /// [`Error::Input`] for lengths that do not fit, a tract that begins and ends in one region or in one that is not
    /// there, or a value that is not finite.
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
        if let Some(value) = region_attributes.iter().chain(&tract_attributes).find(|v| !v.is_finite()) {
            return Err(Error::input(OP, "finite attributes", value));
        }
        Ok(BrainNetwork { pairs, width, region_attributes, tract_attributes })
    }

    /// How many regions there are.
    pub fn regions(&self) -> usize {
        self.region_attributes.len() / self.width
    }

    /// How many tracts there are.
    pub fn tracts(&self) -> usize {
        self.pairs.len()
    }

    /// Attributes of a region or tract.
    pub fn width(&self) -> usize {
        self.width
    }

    /// The regions that each tract joins.
    pub fn pairs(&self) -> &[[u32; 2]] {
        &self.pairs
    }

    /// v^N, region by region.
    pub fn region_attributes(&self) -> &[f32] {
        &self.region_attributes
    }

    /// v^E, tract by tract.
    pub fn tract_attributes(&self) -> &[f32] {
        &self.tract_attributes
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
        let width = first.width;
        if let Some(other) = networks.iter().find(|n| n.width != width) {
            return Err(Error::input("BatchNetwork", format!("{width} attributes"), other.width));
        }
        let (mut regions, mut tracts, mut patient_of_region) = (vec![], vec![], vec![]);
        let (mut from, mut to) = (vec![], vec![]);
        for (patient, network) in networks.iter().enumerate() {
            let start = patient_of_region.len() as u32;
            from.extend(network.pairs.iter().map(|p| start + p[0]));
            to.extend(network.pairs.iter().map(|p| start + p[1]));
            regions.extend_from_slice(&network.region_attributes);
            tracts.extend_from_slice(&network.tract_attributes);
            patient_of_region.extend(vec![patient as u32; network.regions()]);
        }
        let nodes = patient_of_region.len();
        let (sources, targets) = ([from.clone(), to.clone()].concat(), [to, from].concat());
        Ok(BatchNetwork {
            regions: Tensor::from_vec(regions, (nodes, width), device)?,
            tracts: Tensor::from_vec(tracts, (sources.len() / 2, width), device)?,
            adjacency: Arc::new(Adjacency::new(nodes, nodes, &sources, &targets)?),
            patient_of_region,
            patients: networks.len(),
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

    #[test]
    fn tracts_are_mirrored_and_patients_kept_apart() {
        let a = BrainNetwork::new(vec![[0, 1], [1, 2]], 1, vec![1.0, 2.0, 3.0], vec![5.0, 6.0]).unwrap();
        let b = BrainNetwork::new(vec![[1, 0]], 1, vec![7.0, 8.0], vec![9.0]).unwrap();
        let batch = BatchNetwork::new(&[&a, &b], &Device::Cpu).unwrap();
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
        assert!(BatchNetwork::new(&[], &Device::Cpu).is_err());
    }
}
