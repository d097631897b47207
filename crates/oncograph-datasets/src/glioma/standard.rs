use super::tract_source::Place;
use super::{AtlasTract, BrainAtlas, TractSource};
use crate::error::{Error, Result};
use oncograph_imaging::atlas::{GeodesicOptions, LabelMap};
use oncograph_imaging::{Grid, Interpolation, Mask, ResampleOptions, Volume, nifti, resample};
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

/// The standard brain (MNI152) that patients are brought to, and how its atlas is made (decision G-36): a folder with
/// `templates/MNI152_T1_2mm_brain.nii.gz`, `templates/MNI152_T1_2mm_brain_mask.nii.gz`, `templates/MNI_FA_template.nii.gz`,
/// `atlases/aal.nii.gz` and `atlases/aal.nii.txt`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct StandardBrain {
    /// The folder.
    pub folder: PathBuf,
    /// Millimetres per voxel of the grid that patients are brought to.
    pub spacing: f64,
    /// How many tracts are generated where they come from nowhere else.
    pub tracts: usize,
    /// Where tracts come from in place of generated ones. The name is that of the first such source.
    #[serde(default)]
    pub tract_maps: Option<TractSource>,
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

    /// AAL regions, and tracts of a [`TractSource`] or generated through the white matter between regions, on a grid that holds the
    /// brain and whose axes point right, anterior and superior.
    ///
    /// # Errors
    /// A file that cannot be read; [`Error::AtFile`] for an empty brain mask; tracts that end in no region of the cerebrum; as
    /// the functions that make tracts.
    pub fn atlas(&self) -> Result<BrainAtlas> {
        Ok(self.atlas_noted()?.0)
    }

    /// As [`StandardBrain::atlas`], with remarks on its tracts that have to be shown beside results.
    ///
    /// # Errors
    /// As [`StandardBrain::atlas`].
    pub fn atlas_noted(&self) -> Result<(BrainAtlas, Vec<String>)> {
        let mask = self.mask()?;
        let grid = self.grid(&mask)?;
        let nearest = ResampleOptions::new(Interpolation::Nearest).outside(0.0);
        let inside = resample(&mask, &grid, &nearest)?;
        let labels = self.folder.join("atlases");
        let all = LabelMap::read(labels.join("aal.nii.gz"), labels.join("aal.nii.txt"))?;
        let cerebrum = all.keep(|l| l <= CEREBRUM);
        let regions = cerebrum.onto(&grid)?;
        let place = Place {
            all: &all,
            cerebrum: &cerebrum,
            regions: &regions,
            inside: &inside,
            options: GeodesicOptions::new(self.tracts).sigma(0.6 * self.spacing),
        };
        let (found, notes) = match &self.tract_maps {
            Some(source) => source.tracts(&place, || self.anisotropy(&grid))?,
            None => (place.generated(&self.anisotropy(&grid)?)?, vec![]),
        };
        let numbers: Vec<i16> = regions.regions().map(|(label, _)| label).collect();
        let pairs = found.between(&numbers)?;
        let tracts = found.tracts().iter().zip(pairs);
        let source = format!("AAL regions of a standard brain; tracts {}", found.source());
        let atlas = BrainAtlas {
            names: regions.regions().map(|(_, name)| name.to_string()).collect(),
            centres: numbers.iter().filter_map(|l| regions.centroid(*l)).collect(),
            grey: regions.volume().as_slice().iter().map(|l| *l > 0).collect(),
            regions: numbers.iter().map(|l| regions.voxels(*l)).collect(),
            tracts: tracts
                .map(|(t, pair)| AtlasTract { pair, weight: t.weight, voxels: t.voxels.clone() })
                .collect(),
            brain: inside.as_slice().iter().map(|v| *v > 0).collect(),
            grid,
            source,
        };
        Ok((atlas, notes))
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
