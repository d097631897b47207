use crate::error::{Error, Result};
use nalgebra::Matrix4;
use oncograph_imaging::Grid;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::HashMap;

/// A tract between two regions of a [`BrainAtlas`].
#[derive(Debug, Clone, PartialEq)]
pub struct AtlasTract {
    /// The regions that it joins, as positions in the atlas.
    pub pair: [u32; 2],
    /// How strongly it joins them, where the atlas was made from streamlines or a connectome: a number of streamlines or a weight.
    pub weight: Option<f32>,
    /// Voxels in raster order with the probability that the tract is there; tracts overlap.
    pub voxels: Vec<(u32, f32)>,
}

/// Regions and tracts of a brain on the grid that patients are brought to.
///
/// On disk it is a safetensors file that keeps every number exactly, so that a model on another machine reads the
/// same voxels.
#[derive(Debug, Clone, PartialEq)]
pub struct BrainAtlas {
    /// The grid.
    pub grid: Grid,
    /// The name of each region.
    pub names: Vec<String>,
    /// The centre of each region in mm.
    pub centres: Vec<[f64; 3]>,
    /// Voxels of each region in raster order.
    pub regions: Vec<Vec<u32>>,
    /// The tracts.
    pub tracts: Vec<AtlasTract>,
    /// Whether each voxel is in the brain.
    pub brain: Vec<bool>,
    /// Whether there is grey matter in each voxel.
    pub grey: Vec<bool>,
    /// Where it comes from, in words that every page repeats.
    pub source: String,
}

/// An array of the file: name, type, shape and bytes.
type Part<'a> = (&'a str, Dtype, Vec<usize>, Vec<u8>);

/// Lists end to end, and where each ends.
fn joined<'a>(lists: impl Iterator<Item = &'a Vec<u32>>) -> (Vec<u32>, Vec<u32>) {
    let (mut values, mut ends) = (vec![], vec![]);
    for list in lists {
        values.extend_from_slice(list);
        ends.push(values.len() as u32);
    }
    (values, ends)
}

impl BrainAtlas {
    /// The atlas as safetensors, the same bytes for equal atlases.
    ///
    /// # Errors
    /// [`Error::Argument`] for lists whose lengths do not go with each other.
    pub fn to_safetensors(&self) -> Result<Vec<u8>> {
        let bytes = |values: &mut dyn Iterator<Item = [u8; 8]>| values.flatten().collect::<Vec<u8>>();
        let of_u32 = |v: &[u32]| v.iter().flat_map(|x| x.to_le_bytes()).collect::<Vec<u8>>();
        let (regions, region_ends) = joined(self.regions.iter());
        let voxels: Vec<Vec<u32>> =
            self.tracts.iter().map(|t| t.voxels.iter().map(|v| v.0).collect()).collect();
        let (tracts, tract_ends) = joined(voxels.iter());
        let probability: Vec<u8> =
            self.tracts.iter().flat_map(|t| t.voxels.iter().flat_map(|v| v.1.to_le_bytes())).collect();
        let pairs: Vec<u32> = self.tracts.iter().flat_map(|t| t.pair).collect();
        let shape = self.grid.shape().map(|n| n as u32);
        let affine = bytes(&mut self.grid.affine().transpose().iter().map(|v| v.to_le_bytes()));
        let centres = bytes(&mut self.centres.iter().flatten().map(|v| v.to_le_bytes()));
        let flags = |v: &[bool]| v.iter().map(|b| u8::from(*b)).collect::<Vec<u8>>();
        let mut parts: Vec<Part<'_>> = vec![
            ("grid.shape", Dtype::U32, vec![3], of_u32(&shape)),
            ("grid.affine", Dtype::F64, vec![4, 4], affine),
            ("centres", Dtype::F64, vec![self.centres.len(), 3], centres),
            ("regions.voxels", Dtype::U32, vec![regions.len()], of_u32(&regions)),
            ("regions.ends", Dtype::U32, vec![region_ends.len()], of_u32(&region_ends)),
            ("tracts.pairs", Dtype::U32, vec![self.tracts.len(), 2], of_u32(&pairs)),
            ("tracts.voxels", Dtype::U32, vec![tracts.len()], of_u32(&tracts)),
            ("tracts.probability", Dtype::F32, vec![tracts.len()], probability),
            ("tracts.ends", Dtype::U32, vec![tract_ends.len()], of_u32(&tract_ends)),
            ("brain", Dtype::U8, vec![self.brain.len()], flags(&self.brain)),
            ("grey", Dtype::U8, vec![self.grey.len()], flags(&self.grey)),
        ];
        if self.tracts.iter().any(|t| t.weight.is_some()) {
            let weights = self.tracts.iter().flat_map(|t| t.weight.unwrap_or(f32::NAN).to_le_bytes());
            parts.push((WEIGHTS, Dtype::F32, vec![self.tracts.len()], weights.collect()));
        }
        let refuse = |e: &dyn std::fmt::Display| Error::argument(OP, "atlas", "lists of one length", e);
        let views = parts
            .iter()
            .map(|(name, kind, shape, data)| Ok((*name, TensorView::new(*kind, shape.clone(), data)?)))
            .collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>()
            .map_err(|e| refuse(&e))?;
        let names = serde_json::to_string(&(&self.names, &self.source)).map_err(|e| refuse(&e))?;
        let metadata = HashMap::from([(NAMES.to_string(), names)]);
        safetensors::serialize(views, Some(metadata)).map_err(|e| refuse(&e))
    }

    /// The atlas that [`BrainAtlas::to_safetensors`] wrote.
    ///
    /// # Errors
    /// [`Error::Argument`] for bytes that hold something else.
    pub fn from_safetensors(bytes: &[u8]) -> Result<Self> {
        let (_, header) = SafeTensors::read_metadata(bytes).map_err(damaged)?;
        let text = header.metadata().as_ref().and_then(|m| m.get(NAMES));
        let text = text.ok_or_else(|| damaged("it has no names"))?;
        let (names, source): (Vec<String>, String) = serde_json::from_str(text).map_err(damaged)?;
        let file = Stored(SafeTensors::deserialize(bytes).map_err(damaged)?);
        let shape: [usize; 3] = match file.u32("grid.shape")?[..] {
            [x, y, z] => [x, y, z].map(|n| n as usize),
            _ => return Err(damaged("its grid has no three axes")),
        };
        let affine = file.f64("grid.affine")?;
        if affine.len() != 16 {
            return Err(damaged("its grid has no affine"));
        }
        let grid = Grid::new(shape, Matrix4::from_row_slice(&affine))?;
        let centres = file.f64("centres")?.as_chunks::<3>().0.to_vec();
        let regions = file.lists("regions")?;
        let voxels = file.lists("tracts")?;
        let probability = file.f32("tracts.probability")?;
        let pairs = file.u32("tracts.pairs")?;
        let sizes = (voxels.iter().map(Vec::len).sum::<usize>(), 2 * voxels.len());
        if sizes != (probability.len(), pairs.len()) {
            return Err(damaged("its tracts have lists of several lengths"));
        }
        // An atlas that was not made from weights has none.
        let weights = match file.0.names().contains(&WEIGHTS) {
            true => file.f32(WEIGHTS)?,
            false => vec![f32::NAN; voxels.len()],
        };
        if weights.len() != voxels.len() {
            return Err(damaged("its tracts have weights of another number"));
        }
        let mut at = 0;
        let tracts =
            voxels.into_iter().zip(pairs.as_chunks::<2>().0).zip(weights).map(|((list, pair), weight)| {
                let p = &probability[at..at + list.len()];
                at += list.len();
                let weight = (!weight.is_nan()).then_some(weight);
                AtlasTract { pair: *pair, weight, voxels: list.into_iter().zip(p.iter().copied()).collect() }
            });
        let tracts: Vec<AtlasTract> = tracts.collect();
        let (brain, grey) = (file.flags("brain")?, file.flags("grey")?);
        let atlas = BrainAtlas { grid, names, centres, regions, tracts, brain, grey, source };
        atlas.check()?;
        Ok(atlas)
    }

    /// Whether every list has the length and every position the range that it must have.
    fn check(&self) -> Result<()> {
        let (n, regions) = (self.grid.len(), self.regions.len());
        let voxels = self
            .regions
            .iter()
            .flatten()
            .chain(self.tracts.iter().flat_map(|t| t.voxels.iter().map(|v| &v.0)));
        let fits = [self.names.len(), self.centres.len()].iter().all(|l| *l == regions)
            && [self.brain.len(), self.grey.len()].iter().all(|l| *l == n)
            && voxels.into_iter().all(|v| (*v as usize) < n)
            && self.tracts.iter().all(|t| t.pair.iter().all(|r| (*r as usize) < regions));
        if fits { Ok(()) } else { Err(damaged("its lists do not go with each other")) }
    }
}

const OP: &str = "BrainAtlas";
const NAMES: &str = "oncograph.names";
const WEIGHTS: &str = "tracts.weight";

fn damaged(cause: impl std::fmt::Display) -> Error {
    Error::argument(OP, "bytes", "those of an atlas", cause)
}

/// The arrays of a file.
struct Stored<'a>(SafeTensors<'a>);

impl Stored<'_> {
    fn data(&self, name: &str, kind: Dtype) -> Result<&[u8]> {
        let view = self.0.tensor(name).map_err(damaged)?;
        if view.dtype() != kind {
            return Err(damaged(format!("{name} holds {:?}", view.dtype())));
        }
        Ok(view.data())
    }

    fn u32(&self, name: &str) -> Result<Vec<u32>> {
        Ok(self.data(name, Dtype::U32)?.as_chunks().0.iter().map(|b| u32::from_le_bytes(*b)).collect())
    }

    fn f32(&self, name: &str) -> Result<Vec<f32>> {
        Ok(self.data(name, Dtype::F32)?.as_chunks().0.iter().map(|b| f32::from_le_bytes(*b)).collect())
    }

    fn f64(&self, name: &str) -> Result<Vec<f64>> {
        Ok(self.data(name, Dtype::F64)?.as_chunks().0.iter().map(|b| f64::from_le_bytes(*b)).collect())
    }

    fn flags(&self, name: &str) -> Result<Vec<bool>> {
        Ok(self.data(name, Dtype::U8)?.iter().map(|b| *b > 0).collect())
    }

    /// Lists that [`joined`] laid end to end.
    fn lists(&self, name: &str) -> Result<Vec<Vec<u32>>> {
        let values = self.u32(&format!("{name}.voxels"))?;
        let ends = self.u32(&format!("{name}.ends"))?;
        let mut from = 0;
        let one = |end: &u32| {
            let range = from..*end as usize;
            from = *end as usize;
            values
                .get(range)
                .map(<[u32]>::to_vec)
                .ok_or_else(|| damaged(format!("{name} ends beyond its voxels")))
        };
        ends.iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glioma::{GliomaPhantom, GliomaPhantomConfig};

    #[test]
    fn an_atlas_comes_back_bit_for_bit() {
        let config = GliomaPhantomConfig {
            shape: [12, 14, 12],
            regions: 10,
            tracts: 12,
            ..GliomaPhantomConfig::new(1, 1)
        };
        let atlas = GliomaPhantom::new(config).unwrap().atlas().clone();
        let bytes = atlas.to_safetensors().unwrap();
        let back = BrainAtlas::from_safetensors(&bytes).unwrap();
        assert_eq!(back, atlas);
        assert_eq!(back.to_safetensors().unwrap(), bytes);
        let mut weighted = atlas.clone();
        (weighted.tracts[0].weight, weighted.tracts[2].weight) = (Some(12.0), Some(0.25));
        let of_weights = weighted.to_safetensors().unwrap();
        assert_ne!(of_weights, bytes);
        assert_eq!(BrainAtlas::from_safetensors(&of_weights).unwrap(), weighted);
        let mut broken = atlas;
        broken.tracts[0].pair[0] = 10;
        let refused = BrainAtlas::from_safetensors(&broken.to_safetensors().unwrap()).unwrap_err();
        assert!(refused.to_string().contains("do not go with each other"), "{refused}");
        assert!(BrainAtlas::from_safetensors(&bytes[..40]).is_err());
    }
}
