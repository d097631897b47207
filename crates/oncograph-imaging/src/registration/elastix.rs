use super::command::Tool;
use super::{Registrar, Transform, begin, finish, fresh_folder, is_finished, remove};
use crate::error::{Error, Result};
use crate::nifti;
use crate::volume::{Mask, Volume};
use oncograph_core::write_file;
use std::path::{Path, PathBuf};
use std::time::Duration;

const TOOL: Tool = Tool {
    name: "elastix",
    install: "`apt-get install elastix` on Debian and Ubuntu, or a release from elastix.dev on the PATH",
};

/// What is common to both stages: mutual information on random points, coarse to fine.
const COMMON: &str = r#"(FixedInternalImagePixelType "float")
(MovingInternalImagePixelType "float")
(UseDirectionCosines "true")
(Registration "MultiResolutionRegistration")
(Interpolator "BSplineInterpolator")
(BSplineInterpolationOrder 1)
(ResampleInterpolator "FinalBSplineInterpolator")
(FinalBSplineInterpolationOrder 1)
(Resampler "DefaultResampler")
(FixedImagePyramid "FixedSmoothingImagePyramid")
(MovingImagePyramid "MovingSmoothingImagePyramid")
(Optimizer "AdaptiveStochasticGradientDescent")
(Metric "AdvancedMattesMutualInformation")
(NumberOfHistogramBins 32)
(AutomaticScalesEstimation "true")
(NumberOfResolutions 3)
(NewSamplesEveryIteration "true")
(ImageSampler "RandomCoordinate")
(RandomSeed 42)
(HowToCombineTransforms "Compose")
(WriteResultImage "false")
(ResultImagePixelType "float")
(ResultImageFormat "nii.gz")
(DefaultPixelValue 0)
"#;

/// One registration of a sequence: a parameter map of elastix.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ElastixStage {
    /// Six degrees of freedom: other sequences of the same head.
    Rigid,
    /// Twelve degrees of freedom: another head, roughly.
    Affine,
    /// A free form with control points this many millimetres apart: another head, finely.
    BSpline(u32),
    /// A parameter map of the user's own.
    Map(String),
}

impl ElastixStage {
    /// The text of its parameter file.
    pub fn parameters(&self) -> String {
        let start = "(AutomaticTransformInitialization \"true\")\n\
                     (AutomaticTransformInitializationMethod \"CenterOfGravity\")\n";
        let linear = |name: &str| {
            format!(
                "{COMMON}(Transform \"{name}\")\n{start}(MaximumNumberOfIterations 300)\n(NumberOfSpatialSamples 4096)\n"
            )
        };
        match self {
            ElastixStage::Rigid => linear("EulerTransform"),
            ElastixStage::Affine => linear("AffineTransform"),
            ElastixStage::BSpline(spacing) => format!(
                "{COMMON}(Transform \"BSplineTransform\")\n(MaximumNumberOfIterations 500)\n\
                 (NumberOfSpatialSamples 8192)\n(FinalGridSpacingInPhysicalUnits {spacing})\n"
            ),
            ElastixStage::Map(text) => text.clone(),
        }
    }
}

/// Registration by elastix 5 (`elastix` and `transformix`).
///
/// # Reference
/// Klein et al., "elastix: a toolbox for intensity-based medical image registration", IEEE TMI 29 (2010).
///
/// # Example
/// ```no_run
/// use oncograph_imaging::nifti;
/// use oncograph_imaging::registration::{Elastix, Registrar, Transform};
/// use std::path::Path;
///
/// let (template, t1) = (nifti::read("MNI152_T1_2mm_brain.nii.gz")?, nifti::read("t1.nii.gz")?);
/// let transform = Elastix::new().register(&template, &t1, Path::new("registration"))?;
/// let tumour = transform.apply_labels(&nifti::read("seg.nii.gz")?, "tumour")?;
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct Elastix {
    /// One after the other; affine, then B-splines 12 mm apart.
    pub stages: Vec<ElastixStage>,
    /// Threads; 1, with which the same input gives the same transform.
    pub threads: usize,
    /// For each call of a program; 30 minutes.
    pub limit: Duration,
    /// Where the programs lie; from the PATH where this is `None`.
    pub programs: Option<PathBuf>,
}

impl Default for Elastix {
    fn default() -> Self {
        let stages = vec![ElastixStage::Affine, ElastixStage::BSpline(12)];
        Elastix { stages, threads: 1, limit: Duration::from_secs(1800), programs: None }
    }
}

impl Elastix {
    /// From the PATH, affine and then B-splines.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the stages.
    pub fn stages(mut self, stages: impl Into<Vec<ElastixStage>>) -> Self {
        self.stages = stages.into();
        self
    }

    /// Sets the number of threads.
    pub fn threads(mut self, threads: usize) -> Self {
        self.threads = threads;
        self
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
        Box::new(ElastixTransform { elastix: self.clone(), folder: folder.into(), fixed })
    }
}

impl Registrar for Elastix {
    fn version(&self) -> Result<String> {
        TOOL.version(&self.program("elastix"), "--version")
    }

    fn register(
        &self,
        fixed: &Volume<f32>,
        moving: &Volume<f32>,
        folder: &Path,
    ) -> Result<Box<dyn Transform>> {
        if self.stages.is_empty() || self.threads == 0 {
            return Err(Error::argument(
                "elastix",
                "stages and threads",
                "at least 1",
                format!("{} and {}", self.stages.len(), self.threads),
            ));
        }
        fixed.require_finite("the fixed volume")?;
        moving.require_finite("the moving volume")?;
        let version = self.version()?;
        begin(folder)?;
        let write = |name: &str, text: &str| write_file(folder.join(name), text.as_bytes());
        write("version.txt", &format!("{version}\n"))?;
        let (fixed_path, moving_path) = (folder.join("fixed.nii.gz"), folder.join("moving.nii.gz"));
        nifti::write(&fixed_path, fixed)?;
        nifti::write(&moving_path, moving)?;
        let mut arguments = ["-f", "fixed.nii.gz", "-m", "moving.nii.gz"].map(String::from).to_vec();
        for (i, stage) in self.stages.iter().enumerate() {
            let name = format!("parameters.{i}.txt");
            write(&name, &stage.parameters())?;
            arguments.extend(["-p".into(), name]);
        }
        arguments.extend(["-out".into(), ".".into(), "-threads".into(), self.threads.to_string()]);
        TOOL.run(&self.program("elastix"), &arguments, folder, "elastix.out", self.limit)?;
        for i in 0..self.stages.len() {
            TOOL.written(&folder.join(format!("TransformParameters.{i}.txt")))?;
        }
        remove(&fixed_path)?;
        remove(&moving_path)?;
        finish(folder, &self.settings())?;
        Ok(self.transform(fixed, folder))
    }

    fn restore(&self, fixed: &Volume<f32>, folder: &Path) -> Result<Option<Box<dyn Transform>>> {
        Ok(is_finished(folder, &self.settings())?.then(|| self.transform(fixed, folder)))
    }

    fn settings(&self) -> String {
        let stages: Vec<String> = self.stages.iter().map(ElastixStage::parameters).collect();
        format!("{}\n{}", TOOL.name, stages.join("\n"))
    }
}

/// The files of a transform, in the folder of its registration.
struct ElastixTransform {
    elastix: Elastix,
    folder: PathBuf,
    /// Its grid and frame are those of every result.
    fixed: Mask,
}

impl ElastixTransform {
    /// Writes the parameter files with another interpolation order, each of which names the one before it; the name of the last.
    fn parameters(&self, out: &Path, order: usize) -> Result<String> {
        let mut last = String::from("NoInitialTransform");
        for i in 0..self.elastix.stages.len() {
            let path = self.folder.join(format!("TransformParameters.{i}.txt"));
            let text = std::fs::read_to_string(&path).map_err(|e| Error::io("read", &path, e))?;
            let replaced = |line: &str| {
                let key = line.trim_start_matches('(').split_whitespace().next();
                match key {
                    Some("FinalBSplineInterpolationOrder") => {
                        format!("(FinalBSplineInterpolationOrder {order})")
                    }
                    Some("InitialTransformParametersFileName" | "InitialTransformParameterFileName") => {
                        format!("(InitialTransformParametersFileName \"{last}\")")
                    }
                    _ => line.to_string(),
                }
            };
            let text: Vec<String> = text.lines().map(replaced).collect();
            last = format!("TransformParameters.{i}.txt");
            write_file(out.join(&last), (text.join("\n") + "\n").as_bytes())?;
        }
        Ok(last)
    }

    fn transformed(&self, moving: &Volume<f32>, name: &str, order: usize) -> Result<Volume<f32>> {
        moving.require_finite(name)?;
        let out = self.folder.join(name);
        fresh_folder(&out)?;
        let (input, result) = (out.join("input.nii.gz"), out.join("result.nii.gz"));
        nifti::write(&input, moving)?;
        let (parameters, threads) = (self.parameters(&out, order)?, self.elastix.threads.to_string());
        let arguments = ["-in", "input.nii.gz", "-tp", &parameters, "-out", ".", "-threads", &threads];
        let arguments = arguments.map(String::from);
        let program = self.elastix.program("transformix");
        TOOL.run(&program, &arguments, &out, "transformix.out", self.elastix.limit)?;
        TOOL.written(&result)?;
        let moved: Volume<f32> = nifti::read(&result)?;
        let (grid, frame) = (self.fixed.grid(), self.fixed.frame());
        if !moved.grid().approx_eq(grid, 1e-3) {
            let detail = format!("{} lies on another grid than the fixed volume", result.display());
            return Err(Error::Tool { tool: TOOL.name, detail });
        }
        remove(&input)?;
        remove(&result)?;
        Volume::new(grid.clone(), frame.clone(), moved.into_parts().2)
    }
}

impl Transform for ElastixTransform {
    fn apply(&self, moving: &Volume<f32>, name: &str) -> Result<Volume<f32>> {
        self.transformed(moving, name, 1)
    }

    fn apply_labels(&self, moving: &Mask, name: &str) -> Result<Mask> {
        Ok(self.transformed(&moving.cast(), name, 0)?.map(|v| v.round() as u8))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Frame, Grid};

    #[test]
    fn a_missing_program_says_how_to_install_it_and_writes_nothing() {
        let folder = tempfile::tempdir().unwrap();
        let out = folder.path().join("out");
        let grid = Grid::axis_aligned([4, 4, 4], [1.0; 3], [0.0; 3]).unwrap();
        let volume = Volume::filled(grid, Frame::default(), 1f32);
        let elastix = Elastix::new().programs("no-such-folder");
        let error = elastix.register(&volume, &volume, &out).err().unwrap().to_string();
        assert!(error.contains("is not installed: `apt-get install elastix`"), "{error}");
        assert!(!out.exists());
        let mut broken = volume.clone();
        broken.set([1, 2, 3], f32::NAN);
        let error = elastix.register(&volume, &broken, &out).err().unwrap().to_string();
        assert!(error.starts_with("the moving volume: 1 voxels are not finite"), "{error}");
        assert!(elastix.clone().stages([]).register(&volume, &volume, &out).is_err());
    }

    #[test]
    fn stages_are_parameter_maps() {
        for (stage, transform) in [
            (ElastixStage::Rigid, "EulerTransform"),
            (ElastixStage::Affine, "AffineTransform"),
            (ElastixStage::BSpline(7), "BSplineTransform"),
        ] {
            let text = stage.parameters();
            assert!(text.contains(&format!("(Transform \"{transform}\")")));
            assert!(text.lines().all(|l| l.starts_with('(') && l.ends_with(')')), "{text}");
        }
        assert!(ElastixStage::BSpline(7).parameters().contains("(FinalGridSpacingInPhysicalUnits 7)"));
    }

    /// Programs that leave the files of elastix and transformix without looking at an image.
    #[cfg(unix)]
    fn stand_in(folder: &Path) -> Elastix {
        use std::os::unix::fs::PermissionsExt;
        let find = "[ \"$1\" = --version ] && echo 'elastix 0' && exit; echo '(A 1)' > TransformParameters.0.txt; \
                    cp TransformParameters.0.txt TransformParameters.1.txt";
        for (name, script) in [("elastix", find), ("transformix", "cp input.nii.gz result.nii.gz")] {
            let path = folder.join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{script}\n")).unwrap();
            std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
        }
        Elastix::new().programs(folder)
    }

    #[cfg(unix)]
    #[test]
    fn a_transform_is_found_again_and_no_image_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let (elastix, out) = (stand_in(folder.path()), folder.path().join("out"));
        let grid = Grid::axis_aligned([4, 4, 4], [1.0; 3], [0.0; 3]).unwrap();
        let volume = Volume::filled(grid, Frame::default(), 3f32);
        assert!(elastix.restore(&volume, &out).unwrap().is_none());
        let transform = elastix.register(&volume, &volume, &out).unwrap();
        assert_eq!(transform.apply(&volume, "t1").unwrap().as_slice(), volume.as_slice());
        let again = elastix.restore(&volume, &out).unwrap().unwrap();
        assert_eq!(again.apply_labels(&volume.map(|_| 1), "t1").unwrap().count(), 64);
        let mut left = vec![];
        for folder in [out.clone(), out.join("t1")] {
            left.extend(std::fs::read_dir(folder).unwrap().map(|f| f.unwrap().file_name()));
        }
        assert!(left.iter().all(|name| !name.to_string_lossy().contains(".nii")), "{left:?}");
        // With other parameters it is another transform; so is one whose registration was killed.
        assert!(elastix.clone().stages([ElastixStage::Affine]).restore(&volume, &out).unwrap().is_none());
        std::fs::remove_file(out.join(super::super::FINISHED)).unwrap();
        assert!(elastix.restore(&volume, &out).unwrap().is_none());
    }
}
