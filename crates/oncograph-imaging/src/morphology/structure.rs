use crate::error::{Error, Result};
use serde::{Deserialize, Serialize};

/// Which voxels count as neighbours of a voxel.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Connectivity {
    /// The 6 that share a face.
    #[default]
    Faces,
    /// The 18 that share a face or an edge.
    Edges,
    /// The 26 that share a face, an edge or a corner.
    Corners,
}

impl Connectivity {
    /// The connectivity of 6, 18 or 26 neighbours.
    ///
    /// # Errors
    /// Another number.
    pub fn of_neighbours(count: usize) -> Result<Self> {
        match count {
            6 => Ok(Self::Faces),
            18 => Ok(Self::Edges),
            26 => Ok(Self::Corners),
            _ => Err(Error::argument("Connectivity::of_neighbours", "count", "6, 18 or 26", count)),
        }
    }

    /// In how many axes a neighbour may differ: scipy's `generate_binary_structure(3, rank)`.
    pub fn rank(self) -> usize {
        self as usize + 1
    }
}

/// The shape with which a mask is dilated or eroded, around its centre.
///
/// # Example
/// ```
/// use oncograph_imaging::morphology::{Connectivity, StructuringElement};
///
/// assert_eq!(StructuringElement::from(Connectivity::Edges).offsets().len(), 19);
/// assert_eq!(StructuringElement::ball(2.0, [1.0, 1.0, 2.0])?.offsets().len(), 15);
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct StructuringElement {
    offsets: Vec<[i64; 3]>,
}

impl From<Connectivity> for StructuringElement {
    fn from(connectivity: Connectivity) -> Self {
        let near = |o: &[i64; 3]| o.iter().filter(|v| **v != 0).count() <= connectivity.rank();
        Self { offsets: around([1; 3]).filter(near).collect() }
    }
}

impl StructuringElement {
    /// The structure of the elements of a box of `shape` (odd along x, y, z; x fastest) that are true.
    ///
    /// # Errors
    /// An even size, another number of elements, no element.
    pub fn new(shape: [usize; 3], elements: &[bool]) -> Result<Self> {
        let odd = shape.iter().all(|n| n % 2 == 1);
        if !odd || elements.len() != shape.iter().product::<usize>() || !elements.contains(&true) {
            return Err(Error::argument(
                "StructuringElement::new",
                "shape and elements",
                "odd sizes, as many elements as the box has, at least one true",
                format!("shape {shape:?}, {} elements", elements.len()),
            ));
        }
        let inside = around(shape.map(|n| n / 2)).zip(elements).filter(|(_, e)| **e);
        Ok(Self { offsets: inside.map(|(o, _)| o).collect() })
    }

    /// All voxels whose centres lie within `radius` mm, for voxels of `spacing` mm.
    ///
    /// # Errors
    /// A radius or spacing that is not positive, or a ball of more than 10^7 voxels.
    pub fn ball(radius: f64, spacing: [f64; 3]) -> Result<Self> {
        let reach = spacing.map(|s| radius / s);
        let size: f64 = reach.iter().map(|r| 2.0 * r + 1.0).product();
        if !(radius > 0.0 && spacing.iter().all(|s| *s > 0.0) && size < 1e7) {
            return Err(Error::argument(
                "StructuringElement::ball",
                "radius and spacing",
                "positive, and a ball of at most 10^7 voxels",
                format!("{radius} mm and {spacing:?} mm"),
            ));
        }
        let length = |o: &[i64; 3]| (0..3).map(|a| (o[a] as f64 * spacing[a]).powi(2)).sum::<f64>();
        let limit = radius * radius * (1.0 + 1e-12);
        Ok(Self { offsets: around(reach.map(|r| r as usize)).filter(|o| length(o) <= limit).collect() })
    }

    /// The elements as steps (x, y, z) from the centre.
    pub fn offsets(&self) -> &[[i64; 3]] {
        &self.offsets
    }
}

/// All steps of a box, x fastest.
fn around(radius: [usize; 3]) -> impl Iterator<Item = [i64; 3]> {
    let [x, y, z] = radius.map(|r| r as i64);
    (-z..=z).flat_map(move |k| (-y..=y).flat_map(move |j| (-x..=x).map(move |i| [i, j, k])))
}
