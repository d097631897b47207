use crate::{Error, Result};
use oncograph_graph::{HeteroGraph, HeteroGraphBuilder, Schema};
use std::sync::Arc;

/// The anatomical nodes, in their order in the graph: nodes 0 to 4.
pub const ANATOMY: [&str; 5] =
    ["liver parenchyma", "remnant liver", "hepatic veins", "portal veins", "tumour"];

/// What one patient's nodes carry.
#[derive(Debug, Clone, PartialEq)]
pub struct PatientNodes {
    /// Features of the five anatomical nodes and then of the CT node, one after the other; `None` without images.
    pub images: Option<Vec<f32>>,
    /// Centroid of each anatomical node, each coordinate in \[0, 1\] of the volume.
    pub centroids: [[f32; 3]; 5],
    /// Clinical covariates.
    pub clinical: Vec<f32>,
}

/// The schema of a patient graph whose image nodes have `image` features and whose clinical node has `clinical`.
pub fn patient_schema(image: usize, clinical: usize) -> Schema {
    Schema::new()
        .node("anatomy", image)
        .node("ct", image)
        .node("clinical", clinical)
        .edge("ct", "contains", "anatomy", 3)
        .edge("anatomy", "within", "ct", 3)
        .edge("clinical", "describes", "anatomy", 3)
        .edge("anatomy", "described_by", "clinical", 3)
}

/// The graph of one patient: nodes 0 to 4 anatomical, 5 CT, 6 clinical; twenty directed edges.
///
/// CT and clinical node are each joined to every anatomical node in both directions (S-06), the first with the
/// anatomical node's centroid as attribute, the second with \[1, 0, 0\]. Without images only the clinical node
/// is there, and no edge.
///
/// # Errors
/// [`Error::Input`] if features do not have the schema's width, or an error of the graph for a value that is
/// not finite.
///
/// # Example
///
/// ```
/// use oncograph_spatiotemporal::{PatientNodes, patient_graph, patient_schema};
/// use std::sync::Arc;
///
/// let nodes = PatientNodes { images: Some(vec![0.0; 6 * 2]), centroids: [[0.5; 3]; 5], clinical: vec![1.0; 3] };
/// let graph = patient_graph(&Arc::new(patient_schema(2, 3)), &nodes)?;
/// assert_eq!((graph.node_count(), graph.edge_count()), (7, 20));
/// # Ok::<(), oncograph_spatiotemporal::Error>(())
/// ```
pub fn patient_graph(schema: &Arc<Schema>, nodes: &PatientNodes) -> Result<HeteroGraph> {
    let builder = HeteroGraph::builder(schema.clone()).nodes("clinical", 1, nodes.clinical.clone());
    let Some(images) = &nodes.images else { return Ok(builder.build()?) };
    let width = schema.node_types()[schema.node_index("anatomy")?].features;
    if images.len() != 6 * width {
        return Err(Error::input("image features", format!("6 x {width} values"), images.len()));
    }
    let (anatomy, ct) = images.split_at(5 * width);
    let builder = builder.nodes("anatomy", 5, anatomy.to_vec()).nodes("ct", 1, ct.to_vec());
    Ok(with_edges(builder, nodes.centroids).build()?)
}

/// As [`patient_graph`], with features in tables of the cohort: six image rows from `first_image` on, if there are images,
/// and the clinical row `clinical`.
pub(crate) fn patient_rows(
    schema: &Arc<Schema>,
    first_image: Option<u32>,
    clinical: u32,
    centroids: [[f32; 3]; 5],
) -> Result<HeteroGraph> {
    let builder = HeteroGraph::builder(schema.clone()).table_rows("clinical", vec![clinical]);
    let Some(first) = first_image else { return Ok(builder.build()?) };
    let builder =
        builder.table_rows("anatomy", (first..first + 5).collect()).table_rows("ct", vec![first + 5]);
    Ok(with_edges(builder, centroids).build()?)
}

/// The twenty edges between the seven nodes.
fn with_edges(builder: HeteroGraphBuilder, centroids: [[f32; 3]; 5]) -> HeteroGraphBuilder {
    let (organs, hub) = ((0..5).collect::<Vec<u32>>(), vec![0; 5]);
    let centroids = centroids.as_flattened().to_vec();
    let clinical = [1.0, 0.0, 0.0].repeat(5);
    builder
        .edges(("ct", "contains", "anatomy"), hub.clone(), organs.clone(), centroids.clone())
        .edges(("anatomy", "within", "ct"), organs.clone(), hub.clone(), centroids)
        .edges(("clinical", "describes", "anatomy"), hub.clone(), organs.clone(), clinical.clone())
        .edges(("anatomy", "described_by", "clinical"), organs, hub, clinical)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::Device;
    use oncograph_graph::HeteroBatch;

    fn nodes() -> PatientNodes {
        let mut centroids = [[0.0; 3]; 5];
        for (i, c) in centroids.iter_mut().enumerate() {
            *c = [i as f32 / 10.0, 0.5, 0.25];
        }
        PatientNodes { images: Some((0..12).map(|v| v as f32).collect()), centroids, clinical: vec![7.0] }
    }

    /// Section 14: twenty directed edges.
    #[test]
    fn twenty_directed_edges_and_none_between_ct_and_clinical() {
        let graph = patient_graph(&Arc::new(patient_schema(2, 1)), &nodes()).unwrap();
        let (graph, _) = HeteroBatch::new(&[&graph], &Device::Cpu).unwrap().to_homogeneous().unwrap();
        let a = graph.adjacency();
        let mut edges: Vec<(u32, u32)> =
            a.sources().iter().copied().zip(a.targets().iter().copied()).collect();
        edges.sort_unstable();
        let mut expected = vec![];
        for organ in 0..5 {
            for hub in [5, 6] {
                expected.extend([(organ, hub), (hub, organ)]);
            }
        }
        expected.sort_unstable();
        assert_eq!(edges, expected);
        assert_eq!(edges.len(), 20);
        // The attribute of CT -> organ 3 is that organ's centroid, of clinical -> organ 3 the unit vector.
        let attributes = graph.edge_attributes().unwrap().to_vec2::<f32>().unwrap();
        let attribute_of = |s: u32, t: u32| {
            let at = (0..20).find(|&e| (a.sources()[e], a.targets()[e]) == (s, t)).unwrap();
            attributes[at].clone()
        };
        assert_eq!(attribute_of(5, 3), [0.3, 0.5, 0.25]);
        assert_eq!(attribute_of(3, 5), [0.3, 0.5, 0.25]);
        assert_eq!(attribute_of(6, 3), [1.0, 0.0, 0.0]);
    }

    #[test]
    fn without_images_only_the_clinical_node_is_there() {
        let nodes = PatientNodes { images: None, ..nodes() };
        let graph = patient_graph(&Arc::new(patient_schema(2, 1)), &nodes).unwrap();
        assert_eq!((graph.node_count(), graph.edge_count()), (1, 0));
    }

    #[test]
    fn a_patient_of_a_table_has_its_rows_and_the_edges_of_any_patient() {
        // The first whole number that f32 lacks.
        let first = (1 << 24) + 1;
        let graph = patient_rows(&Arc::new(patient_schema(2, 1)), Some(first), 9, nodes().centroids).unwrap();
        let batch = HeteroBatch::new(&[&graph, &graph], &Device::Cpu).unwrap();
        let anatomy: Vec<u32> = (first..first + 5).collect();
        assert_eq!(batch.rows("anatomy").unwrap(), anatomy.repeat(2));
        assert_eq!(batch.rows("ct").unwrap(), [first + 5; 2]);
        assert_eq!(batch.rows("clinical").unwrap(), [9; 2]);
        let owned = patient_graph(graph.schema(), &nodes()).unwrap();
        assert_eq!(graph.edge_sets(), owned.edge_sets());
        let without = patient_rows(graph.schema(), None, 9, nodes().centroids).unwrap();
        assert_eq!((without.node_count(), without.edge_count()), (1, 0));
    }

    #[test]
    fn a_wrong_width_is_named() {
        let nodes = PatientNodes { images: Some(vec![0.0; 11]), ..nodes() };
        let error = patient_graph(&Arc::new(patient_schema(2, 1)), &nodes).unwrap_err();
        assert_eq!(error.to_string(), "image features: expected 6 x 2 values, got 11");
    }
}
