use crate::{BatchIncidence, BatchNetwork, BrainNetwork, Error, Incidence, Result};
use candle_core::{Device, Tensor};
use nalgebra::{Matrix3, Rotation3, Vector3};
use oncograph_imaging::{Border, Frame, Grid, Interpolation, ResampleOptions, Volume, affine_transform};
use oncograph_nn::Seed;
use rand::Rng;

/// The image of a tumour \[channels, z, y, x\], of which only the box that is not 0 is kept: a masked tumour fills little of
/// the cube that an encoder takes.
#[derive(Debug, Clone, PartialEq)]
pub struct TumourImage {
    /// Channels, then voxels along z, y and x.
    shape: [usize; 4],
    /// The first voxel of the box along z, y and x, and its size.
    origin: [usize; 3],
    size: [usize; 3],
    /// Channel by channel.
    values: Vec<f32>,
}

impl TumourImage {
    /// From all voxels.
    ///
    /// # Errors
    /// [`Error::Input`] for another number of voxels, or one that is not finite.
    pub fn new(image: &[f32], shape: [usize; 4]) -> Result<Self> {
        const OP: &str = "TumourImage";
        let voxels: usize = shape.iter().product();
        if image.len() != voxels || voxels == 0 {
            return Err(Error::input(
                OP,
                format!("an image of {shape:?}"),
                format!("{} values", image.len()),
            ));
        }
        if let Some(bad) = image.iter().find(|v| !v.is_finite()) {
            return Err(Error::input(OP, "finite voxels", bad));
        }
        let [_, depth, height, width] = shape;
        let (mut low, mut high) = ([depth, height, width], [0; 3]);
        for (i, _) in image.iter().enumerate().filter(|(_, v)| **v != 0.0) {
            let at = [i / (height * width) % depth, i / width % height, i % width];
            for k in 0..3 {
                (low[k], high[k]) = (low[k].min(at[k]), high[k].max(at[k] + 1));
            }
        }
        let size: [usize; 3] = std::array::from_fn(|k| high[k].saturating_sub(low[k]));
        let origin = if size.contains(&0) { [0; 3] } else { low };
        let mut whole = TumourImage { shape, origin, size, values: vec![] };
        let mut values = Vec::with_capacity(shape[0] * size.iter().product::<usize>());
        whole.rows(|row| values.extend_from_slice(&image[row]));
        whole.values = values;
        Ok(whole)
    }

    /// Channels, then voxels along z, y and x.
    pub fn shape(&self) -> [usize; 4] {
        self.shape
    }

    /// All voxels.
    pub fn to_vec(&self) -> Vec<f32> {
        let mut image = vec![0.0; self.shape.iter().product()];
        let width = self.size[2].max(1);
        let mut kept = self.values.chunks(width);
        self.rows(|row| {
            if let Some(values) = kept.next() {
                image[row].copy_from_slice(values);
            }
        });
        image
    }

    /// The rows of the box in the whole image.
    fn rows(&self, mut each: impl FnMut(std::ops::Range<usize>)) {
        let [channels, depth, height, width] = self.shape;
        for c in 0..channels {
            for z in self.origin[0]..self.origin[0] + self.size[0] {
                for y in self.origin[1]..self.origin[1] + self.size[1] {
                    let start = ((c * depth + z) * height + y) * width + self.origin[2];
                    each(start..start + self.size[2]);
                }
            }
        }
    }
}

/// What the encoders see of one patient.
#[derive(Debug, Clone, PartialEq)]
pub struct Tumour {
    image: TumourImage,
    points: Vec<[f32; 3]>,
    incidence: Incidence,
    network: BrainNetwork,
}

impl Tumour {
    /// From the masked image, whose axes point right, anterior and superior in equal steps, the points of the tumour surface
    /// in mm, their incidence and the brain network.
    ///
    /// # Errors
    /// [`Error::Input`] for lengths that do not fit, no points, or a coordinate that is not finite.
    pub fn new(
        image: TumourImage,
        points: Vec<[f32; 3]>,
        incidence: Incidence,
        network: BrainNetwork,
    ) -> Result<Self> {
        const OP: &str = "Tumour";
        if points.is_empty() || incidence.points() != points.len() {
            let expected = format!("an incidence of {} points, at least 1", points.len());
            return Err(Error::input(OP, expected, incidence.points()));
        }
        if incidence.tracts() != network.tracts() {
            return Err(Error::input(OP, format!("{} tracts", network.tracts()), incidence.tracts()));
        }
        if let Some(bad) = points.as_flattened().iter().find(|v| !v.is_finite()) {
            return Err(Error::input(OP, "finite points", bad));
        }
        Ok(Tumour { image, points, incidence, network })
    }

    /// The points of the surface in mm.
    pub fn points(&self) -> &[[f32; 3]] {
        &self.points
    }

    /// The image.
    pub fn image(&self) -> &TumourImage {
        &self.image
    }

    /// Which points cross which tracts.
    pub fn incidence(&self) -> &Incidence {
        &self.incidence
    }

    /// The brain network.
    pub fn network(&self) -> &BrainNetwork {
        &self.network
    }

    /// The points around their centroid, the farthest at distance 1, turned by `rotation` (G-06).
    fn scaled_points(&self, rotation: &Matrix3<f64>) -> Vec<f32> {
        let n = self.points.len() as f64;
        let vector = |p: &[f32; 3]| Vector3::new(f64::from(p[0]), f64::from(p[1]), f64::from(p[2]));
        let centroid = self.points.iter().map(vector).sum::<Vector3<f64>>() / n;
        let radius = self.points.iter().map(|p| (vector(p) - centroid).norm()).fold(0.0, f64::max);
        let scale = if radius > 0.0 { 1.0 / radius } else { 0.0 };
        let turned = |p: &[f32; 3]| rotation * (vector(p) - centroid) * scale;
        self.points.iter().flat_map(|p| turned(p).iter().map(|v| *v as f32).collect::<Vec<_>>()).collect()
    }

    /// The image turned about its centre.
    fn turned_image(&self, rotation: &Matrix3<f64>) -> Result<Vec<f32>> {
        let [channels, z, y, x] = self.image.shape;
        let image = self.image.to_vec();
        let grid = Grid::axis_aligned([x, y, z], [1.0; 3], [0.0; 3])?;
        // Where a voxel of the result comes from: the inverse of a rotation is its transpose.
        let back = rotation.transpose();
        let centre = Vector3::new(x as f64 - 1.0, y as f64 - 1.0, z as f64 - 1.0) / 2.0;
        let offset = centre - back * centre;
        let options = ResampleOptions::new(Interpolation::Linear).border(Border::Constant(0.0));
        let mut turned = Vec::with_capacity(image.len());
        for channel in image.chunks(image.len() / channels) {
            let volume = Volume::new(grid.clone(), Frame::default(), channel.to_vec())?;
            turned.extend(affine_transform(&volume, back, offset, [x, y, z], &options)?.into_parts().2);
        }
        Ok(turned)
    }
}

/// A rotation by up to `degrees` about each axis, x first (G-34).
pub fn random_rotation(degrees: f64, seed: Seed) -> Matrix3<f64> {
    if degrees <= 0.0 {
        return Matrix3::identity();
    }
    let mut rng = seed.rng();
    let [x, y, z] = std::array::from_fn(|_| rng.random_range(-degrees..=degrees).to_radians());
    Rotation3::from_euler_angles(x, y, z).into_inner()
}

/// Some patients on a device.
#[derive(Debug, Clone)]
pub struct TumourBatch {
    /// \[patients, channels, z, y, x\].
    pub image: Tensor,
    /// \[points, 3\], around the centroid of each surface in units of its radius; in host memory, where neighbours are
    /// searched.
    pub points: Tensor,
    /// The patient of every point, ascending.
    pub patient_of_point: Vec<u32>,
    /// Which points cross which tracts: of the points in mm, before any rotation.
    pub incidence: BatchIncidence,
    /// The brain networks.
    pub network: BatchNetwork,
}

impl TumourBatch {
    /// Joins patients; with `rotation` (degrees and seed) image and points of each are turned alike (G-34).
    ///
    /// # Errors
    /// [`Error::Input`] if there are none, or images of several shapes.
    pub fn new(patients: &[&Tumour], rotation: Option<(f64, Seed)>, device: &Device) -> Result<Self> {
        let Some(first) = patients.first() else {
            return Err(Error::input("TumourBatch", "one patient or more", 0));
        };
        if let Some(other) = patients.iter().find(|p| p.image.shape != first.image.shape) {
            let expected = format!("images of {:?}", first.image.shape);
            return Err(Error::input("TumourBatch", expected, format!("{:?}", other.image.shape)));
        }
        let (mut image, mut points, mut patient_of_point) = (vec![], vec![], vec![]);
        for (i, patient) in patients.iter().enumerate() {
            let turn = rotation.map(|(degrees, seed)| random_rotation(degrees, seed.at(i as u64)));
            match &turn {
                Some(turn) => image.extend(patient.turned_image(turn)?),
                None => image.extend(patient.image.to_vec()),
            }
            points.extend(patient.scaled_points(&turn.unwrap_or_else(Matrix3::identity)));
            patient_of_point.extend(vec![i as u32; patient.points.len()]);
        }
        let [c, z, y, x] = first.image.shape;
        let count = patient_of_point.len();
        let incidences: Vec<&Incidence> = patients.iter().map(|p| &p.incidence).collect();
        let networks: Vec<&BrainNetwork> = patients.iter().map(|p| &p.network).collect();
        Ok(TumourBatch {
            image: Tensor::from_vec(image, (patients.len(), c, z, y, x), device)?,
            points: Tensor::from_vec(points, (count, 3), &Device::Cpu)?,
            patient_of_point,
            incidence: BatchIncidence::new(&incidences)?,
            network: BatchNetwork::new(&networks, device)?,
        })
    }

    /// How many patients there are.
    pub fn patients(&self) -> usize {
        self.network.patients()
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A patient with an image of 12 x 12 x 12, forty points and four regions in a ring.
    pub(crate) fn patient(seed: u64) -> Tumour {
        let mut rng = Seed::new(seed).rng();
        let mut draw = |n: usize| (0..n).map(|_| rng.random_range(-1.0f32..1.0)).collect::<Vec<_>>();
        let image = draw(2 * 12 * 12 * 12);
        let points: Vec<[f32; 3]> =
            draw(120).chunks(3).map(|p| [20.0 * p[0], 9.0 * p[1], 5.0 + p[2]]).collect();
        let crossed: Vec<Vec<u32>> = (0..40).map(|i| if i % 3 == 0 { vec![i % 4] } else { vec![] }).collect();
        let incidence = Incidence::new(4, &crossed).unwrap();
        let pairs = vec![[0, 1], [1, 2], [2, 3], [3, 0]];
        let network = BrainNetwork::new(pairs, 3, draw(12), draw(12)).unwrap();
        let image = TumourImage::new(&image, [2, 12, 12, 12]).unwrap();
        Tumour::new(image, points, incidence, network).unwrap()
    }

    /// Section 13: the incidence is that of the unrotated points.
    #[test]
    fn a_rotation_leaves_the_incidence_and_the_shape_of_the_surface() {
        let (a, b) = (patient(1), patient(2));
        let plain = TumourBatch::new(&[&a, &b], None, &Device::Cpu).unwrap();
        let turned = TumourBatch::new(&[&a, &b], Some((15.0, Seed::new(3))), &Device::Cpu).unwrap();
        let attention = Tensor::from_vec((0..80).map(|i| i as f32).collect(), 80, &Device::Cpu).unwrap();
        let incidence_of = |batch: &TumourBatch| {
            batch.incidence.edge_attention(&attention, crate::NoCross::One).unwrap().to_vec1::<f32>().unwrap()
        };
        assert_eq!(incidence_of(&plain), incidence_of(&turned));
        let distances = |batch: &TumourBatch| {
            let p = batch.points.to_vec2::<f32>().unwrap();
            let gap = |i: usize, j: usize| (0..3).map(|k| (p[i][k] - p[j][k]).powi(2)).sum::<f32>().sqrt();
            (1..40).map(|i| gap(0, i)).collect::<Vec<_>>()
        };
        for (a, b) in distances(&plain).iter().zip(distances(&turned)) {
            approx::assert_abs_diff_eq!(*a, b, epsilon = 1e-5);
        }
        let gap = (&plain.points - &turned.points).unwrap().abs().unwrap().max_all().unwrap();
        assert!(gap.to_scalar::<f32>().unwrap() > 0.01);
    }

    /// A bright voxel moves as the point beside it does.
    #[test]
    fn image_and_points_turn_alike() {
        let mut a = patient(1);
        let mut image = vec![0.0; 2 * 1728];
        // At x, y, z = 9, 5, 6 of a volume around 5.5: the direction (3.5, -0.5, 0.5).
        image[6 * 144 + 5 * 12 + 9] = 1.0;
        a.image = TumourImage::new(&image, [2, 12, 12, 12]).unwrap();
        a.points = vec![[3.5, -0.5, 0.5], [-3.5, 0.5, -0.5]];
        a.incidence = Incidence::new(4, &[vec![], vec![]]).unwrap();
        let turn = Rotation3::from_euler_angles(0.2, -0.1, 0.25).into_inner();
        let image = a.turned_image(&turn).unwrap();
        let mut centre = Vector3::zeros();
        let mut total = 0.0;
        for (i, v) in image.iter().take(1728).enumerate() {
            let at = Vector3::new((i % 12) as f64, (i / 12 % 12) as f64, (i / 144) as f64);
            centre += f64::from(*v) * at;
            total += f64::from(*v);
        }
        let centre = centre / total - Vector3::repeat(5.5);
        let point = a.scaled_points(&turn);
        let radius = (3.5f64 * 3.5 + 0.5).sqrt();
        for k in 0..3 {
            // The weights of linear interpolation are not quite balanced in a turned grid.
            approx::assert_abs_diff_eq!(centre[k], radius * f64::from(point[k]), epsilon = 0.2);
        }
        // And the rotation is no small one.
        assert!((radius * f64::from(point[1]) + 0.5).abs() > 0.5);
    }

    #[test]
    fn an_image_comes_back_from_its_box() {
        let mut image = vec![0.0f32; 2 * 4 * 5 * 6];
        assert_eq!(TumourImage::new(&image, [2, 4, 5, 6]).unwrap().to_vec(), image);
        for (i, v) in [(31, 1.0), (40, 2.0), (199, -3.0)] {
            image[i] = v;
        }
        let kept = TumourImage::new(&image, [2, 4, 5, 6]).unwrap();
        assert_eq!(kept.to_vec(), image);
        assert!(kept.values.len() < image.len());
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let a = patient(1);
        let error = TumourImage::new(&[0.0; 5], [2, 12, 12, 12]).unwrap_err().to_string();
        assert_eq!(error, "TumourImage: expected an image of [2, 12, 12, 12], got 5 values");
        assert!(TumourImage::new(&[f32::NAN], [1; 4]).is_err());
        let incidence = Incidence::new(4, &[vec![]]).unwrap();
        assert!(Tumour::new(a.image.clone(), a.points.clone(), incidence, a.network.clone()).is_err());
        let mut bad = a.points.clone();
        bad[3][1] = f32::NAN;
        assert!(Tumour::new(a.image.clone(), bad, a.incidence.clone(), a.network.clone()).is_err());
    }
}
