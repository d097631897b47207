use crate::{Error, Result};
use std::fmt::Debug;
use std::ops::{Add, Div, Mul, Range, Sub};

mod sealed {
    pub trait Sealed {}
    impl Sealed for f32 {}
    impl Sealed for f64 {}
}

/// The type of a coordinate: `f32` or `f64`. Distances are computed in it.
pub trait Coordinate:
    sealed::Sealed
    + Copy
    + PartialOrd
    + Debug
    + Send
    + Sync
    + Add<Output = Self>
    + Sub<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + 'static
{
    /// The nearest value of this type.
    fn of(value: f64) -> Self;
    /// The value as f64.
    fn to_f64(self) -> f64;
}

impl Coordinate for f32 {
    fn of(value: f64) -> Self {
        value as f32
    }

    fn to_f64(self) -> f64 {
        self.into()
    }
}

impl Coordinate for f64 {
    fn of(value: f64) -> Self {
        value
    }

    fn to_f64(self) -> f64 {
        self
    }
}

/// Points as rows of coordinates, in one cloud or several.
#[derive(Debug, Clone)]
pub struct Points<'a, T> {
    values: &'a [T],
    dim: usize,
    /// The first point of each cloud, and the number of points at the end.
    starts: Vec<usize>,
}

impl<'a, T: Coordinate> Points<'a, T> {
    /// One cloud of points of `dim` coordinates each, row by row.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if `dim` is 0 or does not divide the number of values, or if there are more points than a
    /// `u32` can count; [`Error::NotFinite`] for a NaN or an infinity.
    pub fn new(values: &'a [T], dim: usize) -> Result<Self> {
        if dim == 0 || !values.len().is_multiple_of(dim) {
            let expected = format!("rows of {dim} coordinates, at least 1");
            return Err(Error::mismatch("points", expected, format!("{} values", values.len())));
        }
        let count = values.len() / dim;
        if u32::try_from(count).is_err() {
            return Err(Error::mismatch("points", format!("at most {}", u32::MAX), count));
        }
        if let Some(index) = values.iter().position(|v| !v.to_f64().is_finite()) {
            let value = values[index].to_f64() as f32;
            return Err(Error::NotFinite { what: "points".into(), index, value });
        }
        Ok(Points { values, dim, starts: vec![0, count] })
    }

    /// The same points as several clouds: per point the number of its cloud, in ascending order.
    ///
    /// # Errors
    /// [`Error::Mismatch`] if there is not one number per point, or if the numbers descend.
    pub fn batch(mut self, batch: &[u32]) -> Result<Self> {
        if batch.len() != self.len() {
            return Err(Error::mismatch("batch", format!("{} numbers", self.len()), batch.len()));
        }
        if let Some(at) = batch.windows(2).position(|w| w[0] > w[1]) {
            let got = format!("{} before {}", batch[at], batch[at + 1]);
            return Err(Error::mismatch("batch", "clouds in ascending order", got));
        }
        let clouds = batch.last().map_or(0, |last| *last as usize + 1);
        self.starts = (0..=clouds).map(|c| batch.partition_point(|b| (*b as usize) < c)).collect();
        Ok(self)
    }

    /// How many points there are.
    pub fn len(&self) -> usize {
        self.values.len() / self.dim
    }

    /// Whether there are no points.
    pub fn is_empty(&self) -> bool {
        self.values.is_empty()
    }

    /// Coordinates per point.
    pub fn dim(&self) -> usize {
        self.dim
    }

    /// The coordinates of one point.
    pub(super) fn row(&self, point: usize) -> &'a [T] {
        self.rows(point..point + 1)
    }

    pub(super) fn rows(&self, points: Range<usize>) -> &'a [T] {
        &self.values[points.start * self.dim..points.end * self.dim]
    }

    /// The points of each cloud.
    pub(super) fn clouds(&self) -> impl Iterator<Item = Range<usize>> {
        self.starts.windows(2).map(|w| w[0]..w[1])
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn clouds_may_be_empty() {
        let points = Points::new(&[0f32, 0.0, 0.0], 1).unwrap().batch(&[0, 2, 2]).unwrap();
        assert_eq!(points.clouds().collect::<Vec<_>>(), [0..1, 1..1, 1..3]);
    }

    #[test]
    fn what_does_not_fit_is_named() {
        let message = |r: Result<Points<f32>>| r.unwrap_err().to_string();
        assert_eq!(message(Points::new(&[0.0, f32::NAN], 2)), "points: value 1 is NaN");
        assert!(message(Points::new(&[0.0; 5], 2)).contains("rows of 2 coordinates"));
        let points = || Points::new(&[0f32; 3], 1).unwrap();
        assert_eq!(message(points().batch(&[0, 1])), "batch: expected 3 numbers, got 2");
        assert!(message(points().batch(&[0, 1, 0])).contains("1 before 0"));
    }
}
