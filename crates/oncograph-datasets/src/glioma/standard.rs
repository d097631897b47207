use super::{AtlasTract, BrainAtlas};
use crate::error::{Error, Result};
use oncograph_imaging::atlas::{GeodesicOptions, LabelMap, TractAtlas, geodesic_tracts};
use oncograph_imaging::{Grid, Interpolation, Mask, ResampleOptions, Volume, nifti, resample};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

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

/// The standard brain (MNI152) that patients are brought to, and how its atlas is made (decision G-36): a folder with
/// `templates/MNI152_T1_2mm_brain.nii.gz`, `templates/MNI152_T1_2mm_brain_mask.nii.gz`, `templates/MNI_FA_template.nii.gz`,
/// `atlases/aal.nii.gz` and `atlases/aal.nii.txt`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StandardBrain {
    /// The folder.
    pub folder: PathBuf,
    /// Millimetres per voxel of the grid that patients are brought to.
    pub spacing: f64,
    /// How many tracts are generated where there are no maps of them.
    pub tracts: usize,
    /// Maps in place of generated tracts.
    #[serde(default)]
    pub tract_maps: Option<TractMaps>,
}

/// AAL numbers up to this one are the cerebrum.
const CEREBRUM: i16 = 90;

impl StandardBrain {
    /// The standard brain without skull that patients are registered to.
    pub fn brain(&self) -> PathBuf {
        self.folder.join("templates/MNI152_T1_2mm_brain.nii.gz")
    }

    /// The mask of the standard brain.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn mask(&self) -> Result<Mask> {
        let mask: Volume<f32> = nifti::read(self.folder.join("templates/MNI152_T1_2mm_brain_mask.nii.gz"))?;
        Ok(mask.map(|v| u8::from(v > 0.5)))
    }

    /// The fractional anisotropy of a group mean on a grid: that of no patient.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn anisotropy(&self, grid: &Grid) -> Result<Volume<f32>> {
        let linear = ResampleOptions::new(Interpolation::Linear).outside(0.0);
        let fa: Volume<f32> = nifti::read(self.folder.join("templates/MNI_FA_template.nii.gz"))?;
        Ok(resample(&fa, grid, &linear)?.map(|v| v.max(0.0)))
    }

    /// AAL regions, and tracts from maps or generated through the white matter between regions, on a grid that holds the
    /// brain and whose axes point right, anterior and superior.
    ///
    /// # Errors
    /// A file that cannot be read; [`Error::AtFile`] for an empty brain mask; tracts that end in no region of the cerebrum.
    pub fn atlas(&self) -> Result<BrainAtlas> {
        let mask = self.mask()?;
        let grid = self.grid(&mask)?;
        let nearest = ResampleOptions::new(Interpolation::Nearest).outside(0.0);
        let inside = resample(&mask, &grid, &nearest)?;
        let labels = self.folder.join("atlases");
        let regions = LabelMap::read(labels.join("aal.nii.gz"), labels.join("aal.nii.txt"))?;
        let regions = regions.keep(|l| l <= CEREBRUM).onto(&grid)?;
        let found = match &self.tract_maps {
            Some(tracts) => TractAtlas::read(&tracts.maps, &tracts.ends, tracts.threshold, &grid)?,
            None => {
                let options = GeodesicOptions::new(self.tracts).sigma(0.6 * self.spacing);
                geodesic_tracts(&regions, &self.anisotropy(&grid)?, &inside, &options)?
            }
        };
        let numbers: Vec<i16> = regions.regions().map(|(label, _)| label).collect();
        let pairs = found.between(&numbers)?;
        let tracts = found.tracts().iter().zip(pairs);
        let source = format!("AAL regions of a standard brain; tracts {}", found.source());
        Ok(BrainAtlas {
            names: regions.regions().map(|(_, name)| name.to_string()).collect(),
            centres: numbers.iter().filter_map(|l| regions.centroid(*l)).collect(),
            grey: regions.volume().as_slice().iter().map(|l| *l > 0).collect(),
            regions: numbers.iter().map(|l| regions.voxels(*l)).collect(),
            tracts: tracts.map(|(t, pair)| AtlasTract { pair, voxels: t.voxels.clone() }).collect(),
            brain: inside.as_slice().iter().map(|v| *v > 0).collect(),
            grid,
            source,
        })
    }

    /// A grid of this spacing around the brain.
    fn grid(&self, mask: &Mask) -> Result<Grid> {
        let empty = || Error::at(&self.folder, "the brain mask of the template is empty");
        let (low, high) = mask.bounding_box().ok_or_else(empty)?;
        let ends = [low, high].map(|corner| mask.grid().index_to_world(corner.map(|i| i as f64)));
        let origin: [f64; 3] = std::array::from_fn(|k| ends[0][k].min(ends[1][k]));
        let shape: [usize; 3] =
            std::array::from_fn(|k| ((ends[0][k] - ends[1][k]).abs() / self.spacing).ceil() as usize + 1);
        Ok(Grid::axis_aligned(shape, [self.spacing; 3], origin)?)
    }
}
