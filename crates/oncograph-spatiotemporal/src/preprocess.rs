use crate::intensities::intensities;
use crate::{Error, Result, mask_numbers};
use candle_core::{Device, Tensor};
use nalgebra::Vector4;
use oncograph_imaging::filters::{GaussianOptions, gaussian};
use oncograph_imaging::morphology::{self, Edge};
use oncograph_imaging::{
    Border, ClaheOptions, Grid, Interpolation, Mask, ResampleOptions, Volume, clahe, reorient, resample,
    resample_area, window,
};
use serde::{Deserialize, Serialize};

/// The slice that the block of slices is centred on (S-25). The bifurcation that the paper names is not labelled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CropCentre {
    /// The centroid of the portal veins; that of the liver where they are missing.
    Portal,
    /// The slice with most portal vein; the liver's centroid where they are missing.
    LargestPortalSlice,
    /// The centroid of the liver.
    Liver,
}

/// How images come onto the coarser grid of the encoder.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Sampling {
    /// The CT is smoothed before it is thinned, by a Gaussian of `(f - 1) / 2` voxels where every `f`-th is kept; a mask
    /// becomes the share of each voxel that is inside. Nothing that was segmented gets lost between samples.
    Mean,
    /// The CT as it is, and the mask's nearest voxel, as published: a lesion between samples vanishes.
    Nearest,
}

impl Sampling {
    /// How runs without this setting were made.
    fn nearest() -> Self {
        Sampling::Nearest
    }
}

/// From a CT in Hounsfield units to the encoder's input (section 2).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct PreprocessConfig {
    /// Slices, from feet to head; 40.
    pub slices: usize,
    /// Voxels along each in-plane axis; 128.
    pub in_plane: usize,
    /// Slices are brought to this distance in mm first; `None` takes them as they are, so that the block spans from
    /// 32 to 300 mm (S-25).
    pub slice_spacing: Option<f64>,
    /// In-plane extent in mm of a square around the liver's centroid; `None` takes the whole field of view of the
    /// scan, as the paper does, so that a voxel's size differs from scan to scan.
    pub field_of_view: Option<f64>,
    /// The slice that the block of slices is centred on (S-25), as far as it stays within the scan.
    pub crop_centre: CropCentre,
    /// How images come onto the block.
    #[serde(default = "Sampling::nearest")]
    pub sampling: Sampling,
    /// Hounsfield units that become 0 and 1 (S-24).
    pub window: [f64; 2],
    /// Adaptive equalisation of each slice; `None` leaves it out.
    pub clahe: Option<ClaheOptions>,
    /// Whether tumours and vessels are taken out of the liver parenchyma (S-05).
    pub exclusive_parenchyma: bool,
}

impl Default for PreprocessConfig {
    /// The preset `paper`, but for [`Sampling::Mean`].
    fn default() -> Self {
        PreprocessConfig {
            slices: 40,
            in_plane: 128,
            slice_spacing: None,
            field_of_view: None,
            crop_centre: CropCentre::Portal,
            sampling: Sampling::Mean,
            window: [-160.0, 240.0],
            clahe: Some(ClaheOptions::new()),
            exclusive_parenchyma: false,
        }
    }
}

impl PreprocessConfig {
    /// Sets the size of the encoder's input.
    pub fn size(mut self, slices: usize, in_plane: usize) -> Self {
        (self.slices, self.in_plane) = (slices, in_plane);
        self
    }

    /// Sets the distance of slices in mm.
    pub fn slice_spacing(mut self, spacing: Option<f64>) -> Self {
        self.slice_spacing = spacing;
        self
    }

    /// Sets the in-plane extent in mm around the liver.
    pub fn field_of_view(mut self, extent: Option<f64>) -> Self {
        self.field_of_view = extent;
        self
    }

    /// Sets how images come onto the block.
    pub fn sampling(mut self, sampling: Sampling) -> Self {
        self.sampling = sampling;
        self
    }

    /// Sets whether tumours and vessels are taken out of the parenchyma.
    pub fn exclusive_parenchyma(mut self, exclusive: bool) -> Self {
        self.exclusive_parenchyma = exclusive;
        self
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Argument`] with the field.
    pub fn validate(&self) -> Result<()> {
        if self.slices == 0 || self.in_plane < 16 {
            let got = format!("{} x {}", self.slices, self.in_plane);
            return Err(Error::config("PreprocessConfig", "size", "at least 1 slice of 16 x 16 voxels", got));
        }
        for (field, value) in [("slice_spacing", self.slice_spacing), ("field_of_view", self.field_of_view)] {
            if value.is_some_and(|v| v.is_nan() || v <= 0.0) {
                return Err(Error::config("PreprocessConfig", field, "positive", format!("{value:?}")));
            }
        }
        Ok(())
    }
}

/// The masks of one patient on the grid of the CT; `None` where a structure was not segmented.
#[derive(Debug, Clone, Default)]
pub struct PatientMasks {
    /// The whole liver, tumours and vessels included.
    pub liver: Option<Mask>,
    /// What remains after the resection.
    pub remnant: Option<Mask>,
    /// Hepatic veins.
    pub hepatic: Option<Mask>,
    /// Portal veins.
    pub portal: Option<Mask>,
    /// All tumours together.
    pub tumour: Option<Mask>,
}

/// What the encoder sees of one patient.
#[derive(Debug, Clone)]
pub struct PreparedImages {
    /// The CT, windowed to \[0, 1\] and equalised.
    pub ct: Volume<f32>,
    /// The share of each voxel that is inside each anatomical structure, in the order of [`crate::ANATOMY`]; 0 where it
    /// is missing.
    pub masks: [Volume<f32>; 5],
    /// Centroid of each mask, each coordinate (x, y, z) in \[0, 1\] of the block; its middle where empty.
    pub centroids: [[f32; 3]; 5],
    /// Which structures are missing or lie outside the block: they are no nodes of the patient's graph.
    pub empty: [bool; 5],
    /// The share of each structure's volume that lies on the block, before its holes are closed; `None` where it was not
    /// segmented.
    pub kept: [Option<f32>; 5],
    /// The [`MASK_NUMBERS`](crate::MASK_NUMBERS) of the patient.
    pub numbers: [Option<f64>; 4],
    /// The mean and the standard deviation in HU of each structure's voxels, as they were scanned; `None` where it is missing.
    pub intensities: [Option<[f32; 2]>; 5],
    /// Remarks of the readers that have to be shown beside results.
    pub notes: Vec<String>,
}

impl PreparedImages {
    /// The encoder's inputs: the CT within each anatomical mask and 0 elsewhere, then the whole CT.
    ///
    /// # Shapes
    /// \[6, 1, slices, rows, columns\]
    ///
    /// # Errors
    /// An error of candle.
    pub fn to_tensor(&self, device: &Device) -> Result<Tensor> {
        let [x, y, z] = self.ct.shape();
        let mut values = Vec::with_capacity(6 * x * y * z);
        for mask in &self.masks {
            values.extend(self.ct.as_slice().iter().zip(mask.as_slice()).map(|(&v, &m)| v * m));
        }
        values.extend_from_slice(self.ct.as_slice());
        Ok(Tensor::from_vec(values, (6, 1, z, y, x), device)?)
    }
}

/// Brings one patient's CT and masks into the encoder's frame.
///
/// The volume is turned so that columns run to the left, rows to the back and slices to the head; the block of
/// slices is centred as configured, within the scan. A scan with fewer slices is filled up with -1024 HU, as much at
/// the feet as at the head. In-plane the whole field of view is resampled (cubic for the CT, masks by
/// [`PreprocessConfig::sampling`]); then window, CLAHE, and closing of the masks by 3 x 3 x 3.
///
/// # Units
/// Hounsfield units, mm.
///
/// # Errors
/// [`Error::Input`] without a liver, or where none of it lies on the block; an error of [`PreprocessConfig::validate`] or
/// of the images.
pub fn preprocess(
    ct: &Volume<f32>,
    masks: &PatientMasks,
    config: &PreprocessConfig,
) -> Result<PreparedImages> {
    config.validate()?;
    let turn = |mask: &Option<Mask>| mask.as_ref().map(|m| reorient(m, "LPS")).transpose();
    let ct = reorient(ct, "LPS")?;
    let liver = turn(&masks.liver)?.filter(|m| m.count() > 0);
    let Some(liver) = liver else { return Err(Error::input("liver", "a mask with voxels", "none")) };
    let (remnant, tumour) = (turn(&masks.remnant)?, turn(&masks.tumour)?);
    let (hepatic, portal) = (turn(&masks.hepatic)?, turn(&masks.portal)?);
    let centre = centre_slice(&liver, portal.as_ref(), config.crop_centre);
    let middle = liver.centroid_index().unwrap_or_default();
    let target = block(ct.grid(), [middle[0], middle[1], centre], config)?;
    let parenchyma = match config.exclusive_parenchyma {
        true => without(&liver, [&hepatic, &portal, &tumour])?,
        false => liver,
    };
    let mut prepared = window(&on_block(&ct, &target, config.sampling)?, config.window[0], config.window[1])?;
    if let Some(options) = &config.clahe {
        prepared = clahe(&prepared, options)?;
    }
    let structures = [Some(parenchyma), remnant, hepatic, portal, tumour];
    let intensity = |mask: &Option<Mask>| mask.as_ref().and_then(|mask| intensities(&ct, mask));
    let intensities = structures.each_ref().map(intensity);
    let structures = structures.iter().map(|mask| Structure::new(mask.as_ref(), &target, config.sampling));
    let structures = structures.collect::<Result<Vec<_>>>()?;
    if structures[0].centroid.is_none() {
        return Err(Error::input("liver on the network's grid", "some voxels", "none"));
    }
    let of = |i: usize| &structures[i];
    Ok(PreparedImages {
        ct: prepared,
        centroids: std::array::from_fn(|i| of(i).centroid.unwrap_or([0.5; 3])),
        empty: std::array::from_fn(|i| of(i).centroid.is_none()),
        kept: std::array::from_fn(|i| of(i).kept),
        numbers: mask_numbers(masks)?,
        intensities,
        masks: std::array::from_fn(|i| of(i).share.clone()),
        notes: vec![],
    })
}

/// The CT on the block, with air beyond the scan.
fn on_block(ct: &Volume<f32>, target: &Grid, sampling: Sampling) -> Result<Volume<f32>> {
    let air = ResampleOptions::new(Interpolation::Cubic).border(Border::Fill(-1024.0));
    let (old, new) = (ct.grid().spacing(), target.spacing());
    let sigma: [f64; 3] = std::array::from_fn(|a| 0.5 * (new[a] / old[a] - 1.0).max(0.0));
    if sampling == Sampling::Nearest || sigma.iter().all(|s| *s < 0.05) {
        return Ok(resample(ct, target, &air)?);
    }
    let smooth = gaussian(ct, sigma, &GaussianOptions::new().border(Border::Nearest))?.cast::<f32>();
    Ok(resample(&smooth, target, &air)?)
}

/// One structure on the block.
struct Structure {
    share: Volume<f32>,
    kept: Option<f32>,
    centroid: Option<[f32; 3]>,
}

impl Structure {
    fn new(mask: Option<&Mask>, target: &Grid, sampling: Sampling) -> Result<Self> {
        let Some(mask) = mask.filter(|mask| mask.count() > 0) else {
            let share = Volume::filled(target.clone(), Default::default(), 0.0);
            return Ok(Structure { share, kept: None, centroid: None });
        };
        let mut share = match sampling {
            Sampling::Mean => resample_area(mask, target, 0.0)?,
            Sampling::Nearest => resample(mask, target, &ResampleOptions::label())?.cast::<f32>(),
        };
        let voxel = |grid: &Grid| grid.spacing().iter().product::<f64>();
        let inside: f64 = share.as_slice().iter().map(|v| f64::from(*v)).sum();
        let kept = inside * voxel(target) / (mask.count() as f64 * voxel(mask.grid()));
        let most = share.map(|share| u8::from(share >= 0.5));
        let closed = morphology::close(&most, [1; 3], Edge::Ignore)?;
        share.as_mut_slice().iter_mut().zip(closed.as_slice()).for_each(|(s, c)| *s = s.max(f32::from(*c)));
        let centroid = centroid(&share);
        Ok(Structure { share, kept: Some(kept as f32), centroid })
    }
}

/// The middle of what is inside, each coordinate in \[0, 1\] of the volume; none where nothing is.
fn centroid(share: &Volume<f32>) -> Option<[f32; 3]> {
    let shape = share.shape();
    let (mut sum, mut at) = (0.0, [0.0; 3]);
    for (i, &v) in share.as_slice().iter().enumerate().filter(|(_, v)| **v > 0.0) {
        let index = [i % shape[0], i / shape[0] % shape[1], i / (shape[0] * shape[1])];
        sum += f64::from(v);
        at.iter_mut().zip(index).for_each(|(a, i)| *a += f64::from(v) * i as f64);
    }
    let last = |axis: usize| shape[axis].max(2).saturating_sub(1) as f64;
    (sum > 0.0).then(|| std::array::from_fn(|axis| (at[axis] / sum / last(axis)) as f32))
}

fn without(liver: &Mask, others: [&Option<Mask>; 3]) -> Result<Mask> {
    let mut rest = liver.clone();
    for other in others.into_iter().flatten() {
        liver.require_same_space("exclusive parenchyma", other)?;
        rest.as_mut_slice().iter_mut().zip(other.as_slice()).for_each(|(r, &o)| *r *= u8::from(o == 0));
    }
    Ok(rest)
}

/// The slice index that the block is centred on.
fn centre_slice(liver: &Mask, portal: Option<&Mask>, rule: CropCentre) -> f64 {
    let of_liver = || liver.centroid_index().map_or(0.0, |c| c[2]);
    let portal = portal.filter(|p| p.count() > 0);
    match (rule, portal) {
        (CropCentre::Portal, Some(portal)) => portal.centroid_index().map_or_else(of_liver, |c| c[2]),
        (CropCentre::LargestPortalSlice, Some(portal)) => {
            let [x, y, _] = portal.shape();
            let counts = portal.as_slice().chunks(x * y).map(|s| s.iter().filter(|v| **v != 0).count());
            // The first of several equal slices.
            let best = counts.enumerate().max_by_key(|&(i, n)| (n, std::cmp::Reverse(i)));
            best.map_or_else(of_liver, |(i, _)| i as f64)
        }
        _ => of_liver(),
    }
}

/// The encoder's grid: the field of view in-plane, and `slices` slices around `centre`, which is an index.
fn block(grid: &Grid, centre: [f64; 3], config: &PreprocessConfig) -> Result<Grid> {
    let (shape, spacing) = (grid.shape(), grid.spacing());
    let in_plane = |axis: usize| match config.field_of_view {
        None => shape[axis] as f64 / config.in_plane as f64,
        Some(mm) => mm / spacing[axis] / config.in_plane as f64,
    };
    let step = [in_plane(0), in_plane(1), config.slice_spacing.map_or(1.0, |mm| mm / spacing[2])];
    // The middle of the first new voxel, in old indices: voxels are boxes, so the outer faces coincide.
    let start = |axis: usize| match config.field_of_view {
        None => 0.5 * (step[axis] - 1.0),
        Some(_) => centre[axis] - 0.5 * (config.in_plane - 1) as f64 * step[axis],
    };
    let first = [start(0), start(1), first_slice(shape[2], centre[2], step[2], config)];
    let mut affine = *grid.affine();
    let origin = affine * Vector4::new(first[0], first[1], first[2], 1.0);
    for (axis, step) in step.into_iter().enumerate() {
        affine.column_mut(axis).scale_mut(step);
    }
    affine.set_column(3, &origin);
    Ok(Grid::new([config.in_plane, config.in_plane, config.slices], affine)?)
}

/// The old index of the block's first slice, of which each is `step` old ones: around `centre` within a scan of `n` slices,
/// or with as much air below it as above.
fn first_slice(n: usize, centre: f64, step: f64, config: &PreprocessConfig) -> f64 {
    // Whole slices stay where they are when the distance does not change.
    let (n, whole) = (n as f64, config.slice_spacing.is_none());
    let span = config.slices as f64 * step;
    // Slices are boxes: the lower face of the first lies half a slice below its middle.
    let low = |first: f64| first + 0.5 * (step - 1.0);
    if span >= n {
        let below = 0.5 * (span - n);
        return low(-if whole { below.floor() } else { below });
    }
    let around = match whole {
        true => centre.round() - (config.slices / 2) as f64,
        false => centre - 0.5 * (config.slices - 1) as f64 * step,
    };
    around.clamp(low(0.0), low(n - span))
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_imaging::Frame;

    /// A CT of 64 x 64 x 10 voxels, RAS, whose liver is a box of 100 HU in soft tissue of 0 HU.
    fn patient(code: &str) -> (Volume<f32>, PatientMasks) {
        let grid = Grid::axis_aligned([64, 64, 10], [2.0, 2.0, 5.0], [-10.0, 4.0, 100.0]).unwrap();
        let inside = |i: [usize; 3], low: [usize; 3], high: [usize; 3]| {
            (0..3).all(|a| (low[a]..high[a]).contains(&i[a]))
        };
        let liver = |i| inside(i, [8, 8, 2], [40, 40, 8]);
        let portal = |i| inside(i, [20, 20, 6], [28, 28, 8]);
        let frame = Frame::default;
        let ct = Volume::from_fn(grid.clone(), frame(), |i| if liver(i) { 100.0 } else { 0.0 });
        let mask = |f: &dyn Fn([usize; 3]) -> bool| Mask::from_fn(grid.clone(), frame(), |i| u8::from(f(i)));
        let masks = PatientMasks {
            liver: Some(reorient(&mask(&liver), code).unwrap()),
            portal: Some(reorient(&mask(&portal), code).unwrap()),
            tumour: Some(reorient(&mask(&|i| inside(i, [30, 30, 3], [36, 36, 5])), code).unwrap()),
            ..PatientMasks::default()
        };
        (reorient(&ct, code).unwrap(), masks)
    }

    fn config() -> PreprocessConfig {
        PreprocessConfig { clahe: None, ..PreprocessConfig::default() }.size(8, 32)
    }

    #[test]
    fn the_block_is_centred_on_the_portal_veins_within_the_scan() {
        let (ct, masks) = patient("RAS");
        let p = preprocess(&ct, &masks, &config()).unwrap();
        assert_eq!(p.ct.shape(), [32, 32, 8]);
        assert_eq!(p.ct.grid().orientation(), "LPS");
        // The portal veins' centroid is slice 6.5, rounded to 7; the block would start at slice 3, and does at 2.
        assert_eq!(p.ct.grid().affine()[(2, 3)], 110.0);
        assert!(p.ct.as_slice().iter().any(|v| *v > 0.0));
        assert_eq!(p.empty, [false, true, true, false, false]);
        assert_eq!(p.kept.map(|k| k.is_some()), [true, false, false, true, true]);
        assert_eq!(p.centroids[1], [0.5; 3]);
        let tumour = p.centroids[4];
        // x 30..36 of 64 in RAS is 28..34 counted from the other side: the middle is 30.5 of 64.
        approx::assert_relative_eq!(tumour[0], (30.5 / 2.0 - 0.25) / 31.0, epsilon = 0.02);
        let x = p.to_tensor(&Device::Cpu).unwrap();
        assert_eq!(x.dims(), [6, 1, 8, 32, 32]);
        let absent = x.get(1).unwrap().abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap();
        assert_eq!(absent, 0.0);
    }

    #[test]
    fn a_short_scan_has_as_much_air_below_as_above() {
        let (ct, masks) = patient("RAS");
        let slices = |config: &PreprocessConfig| {
            let p = preprocess(&ct, &masks, config).unwrap();
            let middle = p.ct.shape()[0] / 2;
            let at = |z: usize| p.ct.get([middle, middle, z]).unwrap() > 0.0;
            (0..p.ct.shape()[2]).map(at).collect::<Vec<bool>>()
        };
        // Ten slices of 5 mm.
        let seen = slices(&config().size(15, 32));
        assert_eq!((seen.iter().position(|s| *s), seen.iter().rposition(|s| *s)), (Some(2), Some(11)));
        let seen = slices(&config().size(14, 32).slice_spacing(Some(5.0)));
        assert_eq!((seen.iter().position(|s| *s), seen.iter().rposition(|s| *s)), (Some(2), Some(11)));
        // All of the scan lies between two samples, 40 mm apart.
        let p = preprocess(&ct, &masks, &config().size(2, 32).slice_spacing(Some(40.0))).unwrap();
        assert!(p.kept[4].unwrap() > 0.99 && !p.empty[4]);
    }

    #[test]
    fn a_small_tumour_is_not_lost_between_samples() {
        let (ct, mut masks) = patient("RAS");
        let grid = ct.grid().clone();
        let spot = |at: [usize; 3]| Mask::from_fn(grid.clone(), Frame::default(), |i| u8::from(i == at));
        let (mut nearest, places) = (0, 4 * 4 * 4);
        for place in 0..places {
            masks.tumour = Some(spot([20 + place % 4, 20 + place / 4 % 4, 2 + place / 16]));
            let run = |sampling| {
                preprocess(&ct, &masks, &config().size(3, 16).slice_spacing(Some(15.0)).sampling(sampling))
            };
            let mean = run(Sampling::Mean).unwrap();
            assert!(!mean.empty[4] && (mean.kept[4].unwrap() - 1.0).abs() < 1e-5);
            nearest += usize::from(run(Sampling::Nearest).unwrap().empty[4]);
        }
        assert!(nearest > places / 2, "{nearest} of {places} were lost, the test is of nothing");
    }

    #[test]
    fn the_orientation_of_the_file_does_not_matter() {
        let reference = patient("RAS");
        let a = preprocess(&reference.0, &reference.1, &config()).unwrap();
        for code in ["LPS", "LAI", "PIR"] {
            let (ct, masks) = patient(code);
            let b = preprocess(&ct, &masks, &config()).unwrap();
            assert_eq!(a.centroids, b.centroids);
            for (x, y) in a.ct.as_slice().iter().zip(b.ct.as_slice()) {
                approx::assert_relative_eq!(x, y, epsilon = 1e-5);
            }
        }
    }

    #[test]
    fn slices_can_be_brought_to_a_distance_and_the_parenchyma_made_exclusive() {
        let (ct, masks) = patient("RAS");
        let wide = config().slice_spacing(Some(10.0));
        let p = preprocess(&ct, &masks, &wide).unwrap();
        approx::assert_relative_eq!(p.ct.grid().spacing()[2], 10.0, epsilon = 1e-9);
        let volume = |p: PreparedImages| p.masks[0].as_slice().iter().sum::<f32>();
        let inclusive = volume(preprocess(&ct, &masks, &config()).unwrap());
        let exclusive = volume(preprocess(&ct, &masks, &config().exclusive_parenchyma(true)).unwrap());
        assert!(exclusive < inclusive);
    }

    #[test]
    fn a_field_of_view_in_mm_follows_the_liver() {
        let (ct, masks) = patient("RAS");
        let p = preprocess(&ct, &masks, &config().field_of_view(Some(96.0))).unwrap();
        approx::assert_relative_eq!(p.ct.grid().spacing()[0], 3.0, epsilon = 1e-9);
        let liver = p.centroids[0];
        assert!((liver[0] - 0.5).abs() < 0.03 && (liver[1] - 0.5).abs() < 0.03, "{liver:?}");
        assert!(preprocess(&ct, &masks, &config().field_of_view(Some(0.0))).is_err());
    }

    #[test]
    fn a_patient_without_a_liver_is_refused() {
        let (ct, masks) = patient("RAS");
        let none = PatientMasks { liver: None, ..masks };
        let error = preprocess(&ct, &none, &config()).unwrap_err();
        assert_eq!(error.to_string(), "liver: expected a mask with voxels, got none");
        assert!(preprocess(&ct, &none, &config().size(0, 32)).is_err());
    }
}
