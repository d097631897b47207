//! Exact squared distances to a set of voxels, in time proportional to the voxels.

/// The squared distance of every voxel to the nearest one of `set`; infinite where the set is empty.
///
/// The last axis is the fastest in memory.
pub(super) fn squared(set: &[bool], shape: [usize; 3], spacing: [f64; 3]) -> Vec<f64> {
    let mut data: Vec<f64> = set.iter().map(|s| if *s { 0.0 } else { f64::INFINITY }).collect();
    let strides = [shape[1] * shape[2], shape[2], 1];
    let mut line = Vec::new();
    let mut envelope = Vec::new();
    for axis in 0..3 {
        let (n, stride) = (shape[axis], strides[axis]);
        for start in (0..data.len()).filter(|i| i / stride % n == 0) {
            line.clear();
            line.extend((0..n).map(|i| data[start + i * stride]));
            lower(&line, spacing[axis], &mut envelope, |i, v| data[start + i * stride] = v);
        }
    }
    data
}

/// `out[i] = min_j (step (i - j))² + line[j]`: the lower envelope of parabolas (place, height, lowest from).
///
/// Felzenszwalb & Huttenlocher 2012.
fn lower(line: &[f64], step: f64, envelope: &mut Vec<(f64, f64, f64)>, mut write: impl FnMut(usize, f64)) {
    envelope.clear();
    for (i, &height) in line.iter().enumerate().filter(|(_, h)| h.is_finite()) {
        let place = i as f64 * step;
        let mut from = f64::NEG_INFINITY;
        while let Some(&(p, h, f)) = envelope.last() {
            let meets = ((height + place * place) - (h + p * p)) / (2.0 * (place - p));
            if meets > f {
                from = meets;
                break;
            }
            envelope.pop();
        }
        envelope.push((place, height, from));
    }
    let mut k = 0;
    for i in 0..line.len() {
        let place = i as f64 * step;
        while envelope.get(k + 1).is_some_and(|next| next.2 < place) {
            k += 1;
        }
        write(i, envelope.get(k).map_or(f64::INFINITY, |(p, h, _)| (place - p) * (place - p) + h));
    }
}
