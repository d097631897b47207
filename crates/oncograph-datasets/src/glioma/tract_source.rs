use super::ConnectomeMatrix;
use crate::error::Result;
use oncograph_imaging::atlas::{
    GeodesicOptions, LabelMap, MaskTractOptions, StreamlineOptions, TractAtlas, geodesic_tracts,
    geodesic_tracts_between, mask_tracts, streamline_tracts,
};
use oncograph_imaging::streamlines::Streamlines;
use oncograph_imaging::{Mask, Volume};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// Where the tracts of a [`StandardBrain`](super::StandardBrain) come from, if they are not generated. All lie on the standard brain
/// (MNI152): those of one patient have to be brought there first.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
#[non_exhaustive]
pub enum TractSource {
    /// A probabilistic atlas.
    Maps(TractMaps),
    /// Which regions are joined, without the ways between them.
    Connectome(ConnectomeFile),
    /// A tractogram.
    Streamlines(StreamlineFile),
    /// Masks of tracts that do not record what they join.
    Masks(TractMasks),
}

/// A probabilistic atlas of tracts on the standard brain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TractMaps {
    /// A volume of four dimensions, one tract after the other.
    pub maps: PathBuf,
    /// The AAL numbers of the regions that each joins.
    pub ends: PathBuf,
    /// The probability from which a voxel belongs to a tract.
    pub threshold: f32,
}

/// A connectome of AAL regions; the ways of its tracts are geodesic.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ConnectomeFile {
    /// The matrix ([`ConnectomeMatrix`]).
    pub connectome: PathBuf,
    /// The weight from which a pair of regions has a tract; with 0 every weight above it.
    pub least: f64,
}

/// A tractogram in the millimetres of the standard brain.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StreamlineFile {
    /// The file, TCK or TRK.
    pub streamlines: PathBuf,
    /// Streamlines that a pair of regions needs to have a tract.
    pub fewest: usize,
    /// How far from its end a streamline may have its region \[mm\].
    pub reach: f64,
}

impl StreamlineFile {
    /// A file with the options of [`StreamlineOptions`].
    pub fn new(streamlines: impl Into<PathBuf>) -> Self {
        let StreamlineOptions { fewest, reach, .. } = StreamlineOptions::new();
        StreamlineFile { streamlines: streamlines.into(), fewest, reach }
    }
}

/// Masks of tracts, such as the white matter of JHU.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct TractMasks {
    /// A volume with the number of a tract in each voxel.
    pub masks: PathBuf,
    /// A number and a name on each line.
    pub names: PathBuf,
    /// How far from its end a tract may touch a region \[mm\].
    pub reach: f64,
}

impl TractMasks {
    /// Masks and their names with the options of [`MaskTractOptions`].
    pub fn new(masks: impl Into<PathBuf>, names: impl Into<PathBuf>) -> Self {
        TractMasks { masks: masks.into(), names: names.into(), reach: MaskTractOptions::new().reach }
    }
}

/// What tracts are made on.
pub(super) struct Place<'a> {
    /// All regions, and those of the cerebrum, at the sizes of voxels of their file.
    pub all: &'a LabelMap,
    pub cerebrum: &'a LabelMap,
    /// Those of the cerebrum on the grid that tracts get.
    pub regions: &'a LabelMap,
    pub inside: &'a Mask,
    pub options: GeodesicOptions,
}

impl Place<'_> {
    /// Tracts generated between the regions.
    pub fn generated(&self, anisotropy: &Volume<f32>) -> Result<TractAtlas> {
        Ok(geodesic_tracts(self.regions, anisotropy, self.inside, &self.options)?)
    }
}

impl TractSource {
    /// The tracts, and remarks on them.
    pub(super) fn tracts(
        &self,
        place: &Place<'_>,
        anisotropy: impl FnOnce() -> Result<Volume<f32>>,
    ) -> Result<(TractAtlas, Vec<String>)> {
        let grid = place.regions.volume().grid();
        Ok(match self {
            TractSource::Maps(maps) => {
                (TractAtlas::read(&maps.maps, &maps.ends, maps.threshold, grid)?, vec![])
            }
            TractSource::Connectome(file) => {
                let connectome = ConnectomeMatrix::read(&file.connectome)?;
                let (connections, notes) = connectome.connections(place.all, place.cerebrum, file.least)?;
                let (regions, inside, fa) = (place.regions, place.inside, anisotropy()?);
                (geodesic_tracts_between(regions, &fa, inside, &connections, &place.options)?, notes)
            }
            TractSource::Streamlines(file) => {
                let lines = Streamlines::read(&file.streamlines)?;
                let options = StreamlineOptions::new().fewest(file.fewest).reach(file.reach);
                let source = file.streamlines.display().to_string();
                let found = streamline_tracts(place.cerebrum, &lines, grid, &options, &source)?;
                let notes = lines.notes().iter().cloned().chain(found.note());
                let notes = notes.map(|note| format!("{source}: {note}")).collect();
                (found.atlas, notes)
            }
            TractSource::Masks(file) => {
                let masks = LabelMap::read(&file.masks, &file.names)?;
                let options = MaskTractOptions::new().reach(file.reach);
                let source = file.masks.display().to_string();
                let found = mask_tracts(&masks, place.cerebrum, grid, &options, &source)?;
                let left_out =
                    found.left_out.iter().map(|why| format!("{source}: left out: {why}")).collect();
                (found.atlas, left_out)
            }
        })
    }
}
