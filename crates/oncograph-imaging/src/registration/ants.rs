use super::command::Tool;
use super::{Registrar, Transform, begin, finish, fresh_folder, is_finished, remove};
use crate::error::Result;
use crate::nifti;
use crate::volume::{Mask, Volume};
use oncograph_core::write_file;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TOOL: Tool =
    Tool { name: "ANTs", install: "a release from github.com/ANTsX/ANTs with its `bin` folder on the PATH" };

/// Registration by ANTs 2: affine, then symmetric normalisation, both on mutual information.
///
/// Not run by this crate's tests: no package of the common distributions carries ANTs. [`super::Elastix`] is.
///
/// # Reference
/// Avants et al., "Symmetric diffeomorphic image registration with cross-correlation", Medical Image Analysis 12 (2008).
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Ants {
    /// For each call of a program; 2 hours.
    pub limit: Duration,
    /// Where the programs lie; from the PATH where this is `None`.
    pub programs: Option<PathBuf>,
}

impl Default for Ants {
    fn default() -> Self {
        Ants { limit: Duration::from_secs(7200), programs: None }
    }
}

impl Ants {
    /// From the PATH.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the time after which a call is ended.
    pub fn limit(mut self, limit: Duration) -> Self {
        self.limit = limit;
        self
    }

    /// Sets the folder of the programs.
    pub fn programs(mut self, folder: impl Into<PathBuf>) -> Self {
        self.programs = Some(folder.into());
        self
    }

    fn program(&self, name: &str) -> PathBuf {
        self.programs.as_ref().map_or_else(|| PathBuf::from(name), |folder| folder.join(name))
    }

    fn transform(&self, fixed: &Volume<f32>, folder: &Path) -> Box<dyn Transform> {
        let fixed = fixed.map(|_| 0);
        Box::new(AntsTransform { ants: self.clone(), folder: folder.into(), fixed })
    }
}

impl Registrar for Ants {
    fn version(&self) -> Result<String> {
        TOOL.version(&self.program("antsRegistration"), "--version")
    }

    fn register(
        &self,
        fixed: &Volume<f32>,
        moving: &Volume<f32>,
        folder: &Path,
    ) -> Result<Box<dyn Transform>> {
        fixed.require_finite("the fixed volume")?;
        moving.require_finite("the moving volume")?;
        let version = self.version()?;
        begin(folder)?;
        let path = folder.join("version.txt");
        write_file(&path, format!("{version}\n").as_bytes())?;
        let (fixed_path, moving_path) = (folder.join("fixed.nii.gz"), folder.join("moving.nii.gz"));
        nifti::write(&fixed_path, fixed)?;
        nifti::write(&moving_path, moving)?;
        TOOL.run(&self.program("antsRegistration"), &arguments(), folder, "ants.out", self.limit)?;
        for file in FILES {
            TOOL.written(&folder.join(file))?;
        }
        remove(&fixed_path)?;
        remove(&moving_path)?;
        // Where the results go: only its place counts.
        nifti::write(folder.join(GRID), &fixed.map(|_| 0u8))?;
        finish(folder, &self.settings())?;
        Ok(self.transform(fixed, folder))
    }

    fn restore(&self, fixed: &Volume<f32>, folder: &Path) -> Result<Option<Box<dyn Transform>>> {
        Ok(is_finished(folder, &self.settings())?.then(|| self.transform(fixed, folder)))
    }

    fn settings(&self) -> String {
        format!("{}\n{}", TOOL.name, arguments().join(" "))
    }
}

/// The arguments of the registration, files by their names in its folder.
fn arguments() -> Vec<String> {
    let pair = "fixed.nii.gz,moving.nii.gz";
    [
        "--dimensionality 3 --float 1 --random-seed 42 --collapse-output-transforms 1",
        "--output transform",
        &format!("--initial-moving-transform [{pair},1]"),
        &format!("--transform Affine[0.1] --metric MI[{pair},1,32,Regular,0.25]"),
        "--convergence [1000x500x250,1e-6,10] --shrink-factors 8x4x2 --smoothing-sigmas 3x2x1vox",
        &format!("--transform SyN[0.1,3,0] --metric MI[{pair},1,32]"),
        "--convergence [100x70x50,1e-6,10] --shrink-factors 4x2x1 --smoothing-sigmas 2x1x0vox",
    ]
    .iter()
    .flat_map(|line| line.split(' ').map(String::from))
    .collect()
}

/// A volume on the grid of the results.
const GRID: &str = "grid.nii.gz";

/// The parts of a transform, applied from the last to the first.
const FILES: [&str; 2] = ["transform1Warp.nii.gz", "transform0GenericAffine.mat"];

struct AntsTransform {
    ants: Ants,
    folder: PathBuf,
    /// Its grid and frame are those of every result.
    fixed: Mask,
}

impl AntsTransform {
    fn transformed(&self, moving: &Volume<f32>, name: &str, interpolation: &str) -> Result<Volume<f32>> {
        moving.require_finite(name)?;
        let out = self.folder.join(name);
        fresh_folder(&out)?;
        let (input, result) = (out.join("input.nii.gz"), out.join("result.nii.gz"));
        nifti::write(&input, moving)?;
        let mut arguments = "-d 3 -i input.nii.gz -r ../grid.nii.gz -o result.nii.gz".to_string();
        for file in FILES {
            arguments += &format!(" -t ../{file}");
        }
        arguments += &format!(" -n {interpolation}");
        let arguments: Vec<String> = arguments.split(' ').map(String::from).collect();
        let program = self.ants.program("antsApplyTransforms");
        TOOL.run(&program, &arguments, &out, "apply.out", self.ants.limit)?;
        TOOL.written(&result)?;
        let moved: Volume<f32> = nifti::read(&result)?;
        remove(&input)?;
        remove(&result)?;
        Volume::new(self.fixed.grid().clone(), self.fixed.frame().clone(), moved.into_parts().2)
    }
}

impl Transform for AntsTransform {
    fn apply(&self, moving: &Volume<f32>, name: &str) -> Result<Volume<f32>> {
        self.transformed(moving, name, "Linear")
    }

    fn apply_labels(&self, moving: &Mask, name: &str) -> Result<Mask> {
        Ok(self.transformed(&moving.cast(), name, "NearestNeighbor")?.map(|v| v.round() as u8))
    }
}
