//! The different values of a volume and how often each occurs.

use crate::error::{Error, Result};
use crate::volume::{Mask, Volume};
use crate::voxel::Voxel;
use rayon::prelude::*;

/// Values of a task; fixed, so that nothing depends on the number of threads.
const CHUNK: usize = 1 << 16;

/// Buckets with more values than this are counted in a table, others are sorted.
const TABLE_FROM: usize = 1 << 13;

/// Ascending values and, for each, the number of voxels that have it.
pub(super) struct Distinct {
    pub values: Vec<f64>,
    counts: Vec<u64>,
    /// Where values whose key begins with each 16-bit number start in `values`, if all are `f32` numbers.
    starts: Option<Vec<u32>>,
}

impl Distinct {
    /// Of the foreground, or of all voxels without a mask.
    pub fn new<T: Voxel>(operation: &'static str, volume: &Volume<T>, mask: Option<&Mask>) -> Result<Self> {
        volume.require_finite(operation)?;
        if let Some(mask) = mask {
            volume.require_same_space(operation, mask)?;
        }
        let data = volume.as_slice();
        let exact = |v: &T| f64::from(v.to_f64() as f32) == v.to_f64();
        let found = if data.par_iter().with_min_len(CHUNK).all(exact) {
            Self::of_keys(foreground(data, mask, |v| key(v.to_f64() as f32)))
        } else {
            Self::of_numbers(foreground(data, mask, |v| v.to_f64() + 0.0))
        };
        if found.values.is_empty() {
            return Err(Error::argument(operation, "mask", "at least one foreground voxel", "an empty mask"));
        }
        Ok(found)
    }

    /// By sorting.
    fn of_numbers(mut numbers: Vec<f64>) -> Self {
        numbers.par_sort_unstable_by(f64::total_cmp);
        let (mut values, mut counts) = (vec![], vec![]);
        for run in numbers.chunk_by(|a, b| a == b) {
            values.push(run[0]);
            counts.push(run.len() as u64);
        }
        Self { values, counts, starts: None }
    }

    /// By the upper half of the keys first, then by the lower half within each bucket.
    fn of_keys(keys: Vec<u32>) -> Self {
        let mut starts = vec![0_usize; (1 << 16) + 1];
        keys.iter().for_each(|k| starts[(k >> 16) as usize + 1] += 1);
        (0..1 << 16).for_each(|i| starts[i + 1] += starts[i]);
        let mut next = starts.clone();
        let mut low = vec![0_u16; keys.len()];
        for k in keys {
            let place = &mut next[(k >> 16) as usize];
            low[*place] = k as u16;
            *place += 1;
        }
        let mut buckets = Vec::new();
        let mut rest = &mut low[..];
        for high in 0..1_u32 << 16 {
            let (bucket, others) = rest.split_at_mut(starts[high as usize + 1] - starts[high as usize]);
            rest = others;
            if !bucket.is_empty() {
                buckets.push((high, bucket));
            }
        }
        let count = |table: &mut Vec<u32>, (high, bucket): (u32, &mut [u16])| (high, runs(bucket, table));
        let counted: Vec<_> = buckets.into_par_iter().map_init(Vec::new, count).collect();
        let (mut values, mut counts) = (vec![], vec![]);
        let mut first = vec![0_u32; (1 << 16) + 1];
        for (high, runs) in counted {
            for (low, count) in &runs {
                values.push(f64::from(number(high << 16 | u32::from(*low))));
                counts.push(*count);
            }
            first[high as usize + 1] = runs.len() as u32;
        }
        (0..1 << 16).for_each(|i| first[i + 1] += first[i]);
        Self { values, counts, starts: Some(first) }
    }

    /// The share of voxels up to each value.
    pub fn shares(&self) -> Vec<f64> {
        let total = self.counts.iter().sum::<u64>() as f64;
        let mut before = 0;
        let up_to = |count: &u64| {
            before += count;
            before as f64 / total
        };
        self.counts.iter().map(up_to).collect()
    }

    /// The place of a value that occurs.
    pub fn place(&self, value: f64) -> usize {
        let range = match &self.starts {
            Some(starts) => {
                let high = (key(value as f32) >> 16) as usize;
                starts[high] as usize..starts[high + 1] as usize
            }
            None => 0..self.values.len(),
        };
        range.start + self.values[range].partition_point(|v| *v < value)
    }
}

/// Applies `convert` to every foreground voxel.
fn foreground<T: Voxel, U: Send>(data: &[T], mask: Option<&Mask>, convert: impl Fn(T) -> U + Sync) -> Vec<U> {
    match mask {
        None => data.par_iter().with_min_len(CHUNK).map(|v| convert(*v)).collect(),
        Some(mask) => {
            let inside = data.iter().zip(mask.as_slice()).filter(|(_, m)| **m != 0);
            inside.map(|(v, _)| convert(*v)).collect()
        }
    }
}

/// An integer in the order of the numbers; -0 is 0.
fn key(value: f32) -> u32 {
    let bits = (value + 0.0).to_bits();
    if bits >> 31 == 1 { !bits } else { bits | 1 << 31 }
}

/// The number of a key.
fn number(key: u32) -> f32 {
    f32::from_bits(if key >> 31 == 1 { key & !(1 << 31) } else { !key })
}

/// The different numbers of a bucket, ascending, with their counts.
fn runs(bucket: &mut [u16], table: &mut Vec<u32>) -> Vec<(u16, u64)> {
    if bucket.len() < TABLE_FROM {
        bucket.sort_unstable();
        return bucket.chunk_by(|a, b| a == b).map(|run| (run[0], run.len() as u64)).collect();
    }
    table.clear();
    table.resize(1 << 16, 0);
    bucket.iter().for_each(|v| table[usize::from(*v)] += 1);
    let counted = table.iter().zip(0_u16..=u16::MAX).filter(|(count, _)| **count > 0);
    counted.map(|(count, value)| (value, u64::from(*count))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_keep_the_order_and_give_numbers_back() {
        let ascending = [f32::MIN, -2.5, -1e-40, 0.0, 1e-45, 3.0, f32::MAX];
        assert!(ascending.windows(2).all(|w| key(w[0]) < key(w[1])));
        assert!(ascending.iter().all(|v| number(key(*v)) == *v));
        assert_eq!(key(-0.0), key(0.0));
    }

    #[test]
    fn counting_equals_sorting() {
        // Many values of few kinds, and few of many.
        for (count, kinds, scale) in
            [(1, 1, 1.0), (40_000, 7, 0.5), (60_000, 5000, 1.0), (9001, 1 << 23, 1e-3)]
        {
            let numbers: Vec<f32> =
                (0..count).map(|i: u64| ((i * 48_271 % kinds) as f32 - kinds as f32 / 3.0) * scale).collect();
            let counted = Distinct::of_keys(numbers.iter().map(|v| key(*v)).collect());
            let sorted = Distinct::of_numbers(numbers.iter().map(|v| f64::from(*v)).collect());
            assert_eq!((&counted.values, &counted.counts), (&sorted.values, &sorted.counts));
            assert_eq!(counted.shares().last(), Some(&1.0));
            for (place, value) in sorted.values.iter().enumerate() {
                assert_eq!((counted.place(*value), sorted.place(*value)), (place, place));
            }
        }
    }
}
