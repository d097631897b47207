use crate::{BrainNetwork, Error, Incidence, Result, Tumour};
use oncograph_core::{AtFile, write_file};
use oncograph_datasets::glioma::BrainAtlas;
use oncograph_graph::NodeStore;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::path::Path;

const OP: &str = "StoredNetwork";

/// The key of the file's metadata: one, so that equal networks are equal bytes.
const ABOUT: &str = "oncograph.network";

/// A patient's brain network and the points of the tumour surface, as a file.
///
/// The file is safetensors, which `safetensors.numpy.load_file` of Python opens, too:
///
/// | array | type | shape | what |
/// |---|---|---|---|
/// | `regions` | f32 | regions x attributes | v^N |
/// | `tracts` | f32 | tracts x attributes | v^E |
/// | `pairs` | u32 | tracts x 2 | the regions that each tract joins |
/// | `points` | f32 | points x 3 | the surface in mm (RAS+) |
/// | `crossings` | u32 | crossings x 2 | a point and a tract that it crosses |
///
/// Names, the atlas and the hash of what the numbers depend on are JSON in the metadata, under `oncograph.network`.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredNetwork {
    /// Who and from what.
    pub about: NetworkOrigin,
    /// Regions and tracts with their attributes.
    pub network: BrainNetwork,
    /// The points of the surface in mm.
    pub points: Vec<[f32; 3]>,
    /// Which points cross which tracts.
    pub incidence: Incidence,
}

/// Who a [`StoredNetwork`] is of and what it was made from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NetworkOrigin {
    /// The scan.
    pub id: String,
    /// The names of the regions.
    pub regions: Vec<String>,
    /// Where regions and tracts come from, in words.
    pub atlas: String,
    /// Changes with everything that the numbers depend on: images, settings, atlas, trained encoders, version.
    pub content: String,
}

impl StoredNetwork {
    /// The network and the points of a patient on an atlas; `content` is the hash of what they depend on.
    pub fn new(
        id: impl Into<String>,
        atlas: &BrainAtlas,
        tumour: &Tumour,
        content: impl Into<String>,
    ) -> Self {
        let about = NetworkOrigin {
            id: id.into(),
            regions: atlas.names.clone(),
            atlas: atlas.source.clone(),
            content: content.into(),
        };
        StoredNetwork {
            about,
            network: tumour.network().clone(),
            points: tumour.points().to_vec(),
            incidence: tumour.incidence().clone(),
        }
    }

    /// The network if it was made from what `content` is the hash of.
    ///
    /// # Errors
    /// [`Error::Input`] for one of other images, settings or encoders.
    pub fn made_from(self, content: &str) -> Result<Self> {
        if self.about.content == content {
            return Ok(self);
        }
        let expected = format!("the network of {} made from {content}", self.about.id);
        Err(Error::input(OP, expected, self.about.content))
    }

    /// Writes the file, whole or not at all.
    ///
    /// # Errors
    /// A file that cannot be written.
    pub fn write(&self, path: impl AsRef<Path>) -> Result<()> {
        Ok(write_file(path, &self.to_safetensors()?)?)
    }

    /// Reads a file that [`StoredNetwork::write`] wrote, to the same bits.
    ///
    /// # Errors
    /// [`Error::AtFile`] for a file that cannot be read, is damaged, or holds something else.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| AtFile::new(path, e).during("read"))?;
        Self::from_safetensors(&bytes)
            .map_err(|e| AtFile::new(path, format!("no stored network: {e}")).into())
    }

    /// The file's bytes, the same for equal networks.
    ///
    /// # Errors
    /// A network whose attributes are not its own.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let graph = self.network.graph();
        let [nodes] = graph.node_sets() else {
            return Err(Error::input(OP, "nodes of one type", graph.node_sets().len()));
        };
        let [edges] = graph.edge_sets() else {
            return Err(Error::input(OP, "edges of one type", graph.edge_sets().len()));
        };
        let NodeStore::Owned(regions) = &nodes.store else {
            return Err(Error::input(OP, "attributes of its own", "rows of a table"));
        };
        let (count, width) = (self.network.regions(), self.network.width());
        let of_f32 = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
        let of_u32 = |pairs: &mut dyn Iterator<Item = [u32; 2]>| {
            pairs.flatten().flat_map(u32::to_le_bytes).collect::<Vec<u8>>()
        };
        let pairs = of_u32(&mut edges.sources.iter().zip(&edges.targets).map(|(a, b)| [*a, *b]));
        let crossings = of_u32(&mut self.incidence.pairs().iter().map(|(point, tract)| [*point, *tract]));
        let parts = [
            ("regions", Dtype::F32, [count, width], of_f32(regions)),
            ("tracts", Dtype::F32, [edges.sources.len(), width], of_f32(&edges.attributes)),
            ("pairs", Dtype::U32, [edges.sources.len(), 2], pairs),
            ("points", Dtype::F32, [self.points.len(), 3], of_f32(self.points.as_flattened())),
            ("crossings", Dtype::U32, [self.incidence.pairs().len(), 2], crossings),
        ];
        let refuse = |e: &dyn std::fmt::Display| Error::input(OP, "what a file can hold", e);
        let views = parts
            .iter()
            .map(|(name, kind, shape, data)| Ok((*name, TensorView::new(*kind, shape.to_vec(), data)?)))
            .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| refuse(&e))?;
        let about = serde_json::to_string(&self.about).map_err(|e| refuse(&e))?;
        let metadata = HashMap::from([(ABOUT.to_owned(), about)]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| refuse(&e))
    }

    /// The network that [`StoredNetwork::to_safetensors`] wrote.
    ///
    /// # Errors
    /// [`Error::Input`] for bytes that hold something else, or arrays that do not go with each other.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let text = header.metadata().as_ref().and_then(|m| m.get(ABOUT));
        let about: NetworkOrigin =
            serde_json::from_str(text.ok_or_else(|| damaged("it says of nothing where it is from"))?)
                .map_err(damaged)?;
        let file = SafeTensors::deserialize(bytes).map_err(damaged)?;
        let array = |name: &str, kind: Dtype| {
            let view = file.tensor(name).map_err(damaged)?;
            match (view.dtype() == kind, view.shape()) {
                (true, &[rows, columns]) => Ok((rows, columns, view.data())),
                _ => Err(damaged(format!("{name} is {:?} {:?}", view.dtype(), view.shape()))),
            }
        };
        let floats =
            |data: &[u8]| data.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect::<Vec<f32>>();
        let pairs = |name: &str| {
            let (_, columns, data) = array(name, Dtype::U32)?;
            let values: Vec<u32> = data.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect();
            match columns {
                2 => Ok(values.as_chunks::<2>().0.to_vec()),
                _ => Err(damaged(format!("{name} has rows of {columns}"))),
            }
        };
        let (count, width, regions) = array("regions", Dtype::F32)?;
        let (_, _, tracts) = array("tracts", Dtype::F32)?;
        let network = BrainNetwork::new(pairs("pairs")?, width, floats(regions), floats(tracts))?;
        let (rows, columns, points) = array("points", Dtype::F32)?;
        if columns != 3 || count != about.regions.len() {
            return Err(damaged("its points have no three coordinates, or its regions other names"));
        }
        let points = floats(points).as_chunks::<3>().0.to_vec();
        if !points.as_flattened().iter().all(|v| v.is_finite()) {
            return Err(damaged("a point is not finite"));
        }
        let mut crossed = vec![vec![]; rows];
        for [point, tract] in pairs("crossings")? {
            let place = crossed.get_mut(point as usize);
            place.ok_or_else(|| damaged(format!("point {point} of {rows} crosses a tract")))?.push(tract);
        }
        let incidence = Incidence::new(network.tracts(), &crossed)?;
        Ok(StoredNetwork { about, network, points, incidence })
    }
}

fn damaged(cause: impl std::fmt::Display) -> Error {
    Error::input(OP, "the arrays of a stored network", cause)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stored() -> StoredNetwork {
        let regions = vec![0.1, -0.0, f32::MIN_POSITIVE / 4.0, 0.4, 0.5, 0.6];
        let network =
            BrainNetwork::new(vec![[0, 1], [2, 1]], 2, regions, vec![1.0, 2.0, 3.0, 1e-30]).unwrap();
        let about = NetworkOrigin {
            id: "P 1".into(),
            regions: ["a", "b", "ç"].map(String::from).to_vec(),
            atlas: "made up".into(),
            content: "networks-0123".into(),
        };
        let incidence = Incidence::new(2, &[vec![1, 0], vec![], vec![1]]).unwrap();
        let points = vec![[1.0, 2.0, -3.5], [0.1, 0.2, 0.3], [7.0, 8.0, 9.0]];
        StoredNetwork { about, network, points, incidence }
    }

    #[test]
    fn a_network_comes_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.safetensors");
        let written = stored();
        written.write(&path).unwrap();
        let read = StoredNetwork::read(&path).unwrap();
        assert_eq!(read, written);
        // -0 and 0 are equal, and not the same bits.
        assert_eq!(read.to_safetensors().unwrap(), std::fs::read(&path).unwrap());
        assert_eq!(read.clone().made_from("networks-0123").unwrap(), written);
        let error = read.made_from("networks-4567").unwrap_err().to_string();
        assert_eq!(
            error,
            "StoredNetwork: expected the network of P 1 made from networks-4567, got networks-0123"
        );
    }

    #[test]
    fn damaged_files_are_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("p.safetensors");
        let error = |bytes: &[u8]| {
            std::fs::write(&path, bytes).unwrap();
            StoredNetwork::read(&path).unwrap_err().to_string()
        };
        let whole = stored().to_safetensors().unwrap();
        assert!(error(&whole[..whole.len() - 3]).contains("p.safetensors: no stored network"));
        let none = safetensors::serialize(Vec::<(&str, TensorView<'_>)>::new(), None).unwrap();
        assert!(error(&none).contains("it says of nothing where it is from"), "{}", error(&none));
        let mut other = stored();
        other.about.regions.pop();
        assert!(error(&other.to_safetensors().unwrap()).contains("its regions other names"));
        let mut other = stored();
        other.points[1][2] = f32::NAN;
        assert!(error(&other.to_safetensors().unwrap()).contains("a point is not finite"));
        let mut other = stored();
        other.points.truncate(2);
        assert!(error(&other.to_safetensors().unwrap()).contains("point 2 of 2 crosses a tract"));
    }
}
