//! Work on all lines of a volume along one axis, in parallel, many lines side by side.

use rayon::prelude::*;

/// Signals that are worked on side by side: enough for the processor's vector units, few enough to stay in cache.
pub(crate) const LANES: usize = 16;

/// Makes one line of results of each line of samples.
pub(crate) trait LineKernel<S, U>: Sync {
    /// Memory that is used again for every block of lines.
    type Scratch: Default;

    /// Number of results of a line.
    fn outputs(&self) -> usize;

    /// Runs `lanes` (at most [`LANES`]) lines; `read(i, lane)` gives sample `i` of a line, every result is written.
    fn run(
        &self,
        lanes: usize,
        scratch: &mut Self::Scratch,
        read: impl Fn(usize, usize) -> S,
        write: impl FnMut(usize, usize, U),
    );
}

/// Runs `kernel` on all lines along `axis` of `data` (x fastest).
///
/// The result has `kernel.outputs()` values along that axis and the same size along the others.
pub(crate) fn along<S, U, K>(data: &[S], shape: [usize; 3], axis: usize, kernel: &K) -> Vec<U>
where
    S: Copy + Send + Sync,
    U: Copy + Default + Send + Sync,
    K: LineKernel<S, U>,
{
    let n = shape[axis];
    let inner: usize = shape[..axis].iter().product();
    let outer: usize = shape[axis + 1..].iter().product();
    let m = kernel.outputs();
    let mut out = vec![U::default(); inner * m * outer];
    if axis == 0 {
        // Lines are contiguous: 16 of them are read transposed.
        let blocks = out.par_chunks_mut(m * LANES).zip(data.par_chunks(n * LANES));
        blocks.for_each_init(K::Scratch::default, |scratch, (out, data)| {
            let lanes = data.len() / n;
            kernel.run(lanes, scratch, |i, lane| data[lane * n + i], |i, lane, v| out[lane * m + i] = v);
        });
    } else if outer > 1 {
        let blocks = out.par_chunks_mut(m * inner).zip(data.par_chunks(n * inner));
        blocks.for_each_init(K::Scratch::default, |scratch, (out, data)| {
            for first in (0..inner).step_by(LANES) {
                let lanes = LANES.min(inner - first);
                let read = |i: usize, lane: usize| data[i * inner + first + lane];
                kernel.run(lanes, scratch, read, |i, lane, v| out[i * inner + first + lane] = v);
            }
        });
    } else {
        one_slab(data, inner, kernel, &mut out);
    }
    out
}

/// Lines that run through the whole volume: columns are computed in blocks, then laid out slice by slice, both in
/// parallel.
fn one_slab<S, U, K>(data: &[S], inner: usize, kernel: &K, out: &mut [U])
where
    S: Copy + Send + Sync,
    U: Copy + Default + Send + Sync,
    K: LineKernel<S, U>,
{
    let m = kernel.outputs();
    let width = LANES * 8;
    let blocks: Vec<Vec<U>> = (0..inner.div_ceil(width))
        .into_par_iter()
        .map_init(K::Scratch::default, |scratch, block| {
            let (start, end) = (block * width, inner.min((block + 1) * width));
            let mut columns = vec![U::default(); m * (end - start)];
            for first in (start..end).step_by(LANES) {
                let lanes = LANES.min(end - first);
                let read = |i: usize, lane: usize| data[i * inner + first + lane];
                let at = |i: usize, lane: usize| i * (end - start) + first - start + lane;
                kernel.run(lanes, scratch, read, |i, lane, v| columns[at(i, lane)] = v);
            }
            columns
        })
        .collect();
    out.par_chunks_mut(inner).enumerate().for_each(|(i, slice)| {
        for (part, block) in slice.chunks_mut(width).zip(&blocks) {
            part.copy_from_slice(&block[i * part.len()..(i + 1) * part.len()]);
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Differences to the next sample: one value fewer than samples.
    struct Difference(usize);

    impl LineKernel<i64, i64> for Difference {
        type Scratch = ();
        fn outputs(&self) -> usize {
            self.0 - 1
        }
        fn run(
            &self,
            lanes: usize,
            _: &mut (),
            read: impl Fn(usize, usize) -> i64,
            mut write: impl FnMut(usize, usize, i64),
        ) {
            for i in 0..self.0 - 1 {
                (0..lanes).for_each(|lane| write(i, lane, read(i + 1, lane) - read(i, lane)));
            }
        }
    }

    #[test]
    fn every_line_of_every_axis_is_seen_once() {
        let shape = [19, 18, 23];
        let weight = [1, 100, 10_000];
        let value = |x: usize, y: usize, z: usize| (x * weight[0] + y * weight[1] + z * weight[2]) as i64;
        let mut data = Vec::new();
        for z in 0..shape[2] {
            for y in 0..shape[1] {
                data.extend((0..shape[0]).map(|x| value(x, y, z)));
            }
        }
        for axis in 0..3 {
            let out = along(&data, shape, axis, &Difference(shape[axis]));
            assert_eq!(out.len(), data.len() / shape[axis] * (shape[axis] - 1));
            assert!(out.iter().all(|v| *v == weight[axis] as i64), "axis {axis}");
        }
    }
}
