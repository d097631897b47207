//! One axis: which source samples, with which weights, make the value at a coordinate; and the cubic prefilter.

use super::{Border, Interpolation, snap};

/// The samples and weights at one coordinate. Nearest uses the first entry, linear two, cubic four.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Taps {
    pub index: [usize; 4],
    pub weight: [f64; 4],
}

/// Number of entries of [`Taps`] in use.
pub(super) fn width(interpolation: Interpolation) -> usize {
    match interpolation {
        Interpolation::Nearest => 1,
        Interpolation::Linear => 2,
        Interpolation::Cubic => 4,
    }
}

/// Samples added on each side before the prefilter.
///
/// The prefilter knows mirrored borders only; a repeated edge is spelled out for 12 samples, after which the
/// filter has decayed to 1e-7. scipy pads by the same number.
pub(super) fn padding(interpolation: Interpolation, border: Border) -> usize {
    if interpolation == Interpolation::Cubic && border == Border::Nearest { 12 } else { 0 }
}

/// The taps at a source coordinate on an axis of `n` samples (of `n + 2 * padding` after padding), or `None`
/// outside.
pub(super) fn taps(coordinate: f64, n: usize, interpolation: Interpolation, border: Border) -> Option<Taps> {
    let mut at = snap(coordinate);
    let last = (n - 1) as f64;
    let inside = match border {
        Border::Fill(_) => at >= -0.5 && at < last + 0.5,
        Border::Constant(_) => (0.0..=last).contains(&at),
        // Further out than any index can be counted.
        _ => at.abs() < 1e15,
    };
    if !inside {
        return None;
    }
    let pad = padding(interpolation, border);
    if border == Border::Nearest {
        at = at.clamp(-(pad as f64), last + pad as f64) + pad as f64;
    }
    let n = n + 2 * pad;
    let mut taps = Taps::default();
    let first = match interpolation {
        Interpolation::Nearest => {
            taps.weight[0] = 1.0;
            (at + 0.5).floor()
        }
        Interpolation::Linear => {
            let t = at - at.floor();
            taps.weight = [1.0 - t, t, 0.0, 0.0];
            at.floor()
        }
        Interpolation::Cubic => {
            taps.weight = cubic_weights(at - at.floor());
            at.floor() - 1.0
        }
    };
    // ITK takes the edge voxel in the outer half voxel of a linear image; its spline is mirrored like scipy's.
    let clamped = matches!(border, Border::Nearest)
        || (matches!(border, Border::Fill(_)) && interpolation != Interpolation::Cubic);
    for (k, index) in taps.index.iter_mut().enumerate().take(width(interpolation)) {
        let i = first as i64 + k as i64;
        *index = if clamped {
            i.clamp(0, n as i64 - 1) as usize
        } else if border == Border::Reflect {
            fold(i, 2 * n as i64, -1, n)
        } else {
            fold(i, 2 * n as i64 - 2, 0, n)
        };
    }
    Some(taps)
}

/// Index `i` of a signal that repeats after `period` and whose second half runs backwards.
fn fold(i: i64, period: i64, shift: i64, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let i = i.rem_euclid(period);
    if (i as usize) < n { i as usize } else { (period - i + shift) as usize }
}

/// Cubic B-spline weights of the samples -1, 0, 1, 2 at offset `t` in [0, 1).
fn cubic_weights(t: f64) -> [f64; 4] {
    let s = 1.0 - t;
    let outer = |u: f64| u * u * u / 6.0;
    let inner = |u: f64| (u * u * (u - 2.0) * 3.0 + 4.0) / 6.0;
    [outer(s), inner(t), inner(s), outer(t)]
}

/// Turns samples into cubic B-spline coefficients, for `lanes` interleaved signals of `n` samples at once.
///
/// The interpolating coefficients are the samples filtered by `6 / (z + 4 + 1/z)`: one recursion forwards and one
/// backwards with the pole `sqrt(3) - 2`, started exactly for a mirrored signal.
///
/// # Reference
/// Unser, Aldroubi, Eden, "B-spline signal processing", IEEE Trans. Signal Processing 41 (1993).
pub(super) fn prefilter(data: &mut [f64], n: usize, lanes: usize, border: Border) {
    if n < 2 {
        return;
    }
    let pole = 3.0_f64.sqrt() - 2.0;
    let reflect = matches!(border, Border::Reflect | Border::Nearest);
    data.iter_mut().for_each(|v| *v *= 6.0);

    // First forward value: the sum of pole^k over the mirrored past, closed over one period.
    let mut start = data[..lanes].to_vec();
    let period = if reflect { 2 * n } else { 2 * n - 2 };
    let mut power = 1.0;
    for k in 1..period {
        power *= pole;
        if power.abs() < 1e-18 {
            break;
        }
        // The sample k steps before the first.
        let i = if reflect {
            fold(-(k as i64), 2 * n as i64, -1, n)
        } else {
            fold(k as i64, period as i64, 0, n)
        };
        start.iter_mut().zip(&data[i * lanes..(i + 1) * lanes]).for_each(|(s, v)| *s += power * v);
    }
    let closing = 1.0 / (1.0 - pole.powi(period.min(4096) as i32));
    data[..lanes].iter_mut().zip(&start).for_each(|(v, s)| *v = s * closing);

    for i in 1..n {
        let (before, here) = data[(i - 1) * lanes..(i + 1) * lanes].split_at_mut(lanes);
        here.iter_mut().zip(before).for_each(|(v, p)| *v += pole * *p);
    }
    let end = (n - 1) * lanes;
    for lane in 0..lanes {
        data[end + lane] = if reflect {
            data[end + lane] * pole / (pole - 1.0)
        } else {
            (pole * data[end - lanes + lane] + data[end + lane]) * pole / (pole * pole - 1.0)
        };
    }
    for i in (0..n - 1).rev() {
        let (here, after) = data[i * lanes..(i + 2) * lanes].split_at_mut(lanes);
        here.iter_mut().zip(after).for_each(|(v, a)| *v = pole * (*a - *v));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn weights_sum_to_one_and_mirror() {
        for t in [0.0, 0.1, 0.5, 0.77] {
            let w = cubic_weights(t);
            assert!((w.iter().sum::<f64>() - 1.0).abs() < 1e-15);
            let m = cubic_weights(1.0 - t);
            assert!((0..4).all(|k| (w[k] - m[3 - k]).abs() < 1e-15));
        }
    }

    #[test]
    fn folding_follows_both_mirrors() {
        let mirror: Vec<usize> = (-3..6).map(|i| fold(i, 4, 0, 3)).collect();
        assert_eq!(mirror, [1, 2, 1, 0, 1, 2, 1, 0, 1]);
        let reflect: Vec<usize> = (-3..6).map(|i| fold(i, 6, -1, 3)).collect();
        assert_eq!(reflect, [2, 1, 0, 0, 1, 2, 2, 1, 0]);
    }

    #[test]
    fn coefficients_give_the_samples_back_for_every_border_and_length() {
        for border in [Border::Mirror, Border::Reflect] {
            for n in 1..9_usize {
                let samples: Vec<f64> = (0..2 * n).map(|i| ((i * 7 + 3) % 5) as f64 - 1.3).collect();
                let mut coefficients = samples.clone();
                prefilter(&mut coefficients, n, 2, border);
                for i in 0..n {
                    let t = taps(i as f64, n, Interpolation::Cubic, border).unwrap();
                    for lane in 0..2 {
                        let value: f64 = if n == 1 {
                            coefficients[lane]
                        } else {
                            (0..4).map(|k| t.weight[k] * coefficients[t.index[k] * 2 + lane]).sum()
                        };
                        assert!((value - samples[2 * i + lane]).abs() < 1e-13, "{border:?} n={n} i={i}");
                    }
                }
            }
        }
    }
}
