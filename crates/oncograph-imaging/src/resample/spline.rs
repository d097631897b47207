//! One axis: which source samples, with which weights, make the value at a coordinate; and the spline prefilter.

use super::{Border, Interpolation, ResampleOptions, snap};

/// The index of a tap that lies outside and has the border's constant value.
pub(super) const OUTSIDE: usize = usize::MAX;

/// The samples and weights at one coordinate; the first `order + 1` entries are in use.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub(super) struct Taps {
    pub index: [usize; 6],
    pub weight: [f64; 6],
}

impl Taps {
    /// Sample `i` itself.
    pub(super) fn own(i: usize) -> Self {
        Self { index: [i, 0, 0, 0, 0, 0], weight: [1.0, 0.0, 0.0, 0.0, 0.0, 0.0] }
    }
}

/// Samples added on each side before the prefilter.
///
/// The prefilter handles mirrored and periodic borders only; a repeated edge or a constant is spelled out for 12
/// samples, after which the cubic filter has decayed to 1e-7. scipy pads by the same number.
pub(super) fn padding(options: &ResampleOptions) -> usize {
    let spelled = matches!(options.border, Border::Nearest | Border::GridConstant(_));
    if options.filters() && spelled { 12 } else { 0 }
}

/// The taps at a source coordinate on an axis of `n` samples (of `n + 2 * padding` after padding), or `None`
/// outside.
pub(super) fn taps(coordinate: f64, n: usize, options: &ResampleOptions) -> Option<Taps> {
    let (interpolation, border) = (options.interpolation, options.border);
    let mut at = if options.exact_coordinates { coordinate } else { snap(coordinate) };
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
    let pad = padding(options);
    match border {
        Border::Nearest => at = at.clamp(-(pad as f64), last + pad as f64) + pad as f64,
        Border::GridConstant(_) => at += pad as f64,
        Border::Wrap => at = wrapped(at, last),
        _ => {}
    }
    let n = n + 2 * pad;
    let order = interpolation.order();
    let mut taps = Taps::default();
    // Odd orders begin at the voxel below, even ones at the nearest.
    let centre = if order % 2 == 1 { at.floor() } else { (at + 0.5).floor() };
    weights(interpolation, at - centre, &mut taps.weight);
    let first = centre as i64 - (order / 2) as i64;
    for (k, index) in taps.index.iter_mut().enumerate().take(order + 1) {
        *index = extended(first + k as i64, n, border, interpolation)?;
    }
    Some(taps)
}

/// A coordinate repeated with the period of `last`: the last voxel lies on the first one.
fn wrapped(at: f64, last: f64) -> f64 {
    if last == 0.0 {
        0.0
    } else if at < 0.0 {
        at + last * ((-at / last).floor() + 1.0)
    } else if at > last {
        at - last * (at / last).floor()
    } else {
        at
    }
}

/// The sample behind index `i` of the extended axis; `None` where a whole sample is outside.
fn extended(i: i64, n: usize, border: Border, interpolation: Interpolation) -> Option<usize> {
    let last = n as i64 - 1;
    Some(match border {
        Border::Nearest => i.clamp(0, last) as usize,
        // ITK takes the edge voxel in the outer half voxel of a linear image; its spline is mirrored like scipy's.
        Border::Fill(_) if interpolation.order() < 2 => i.clamp(0, last) as usize,
        Border::Reflect => fold(i, 2 * n as i64, -1, n),
        Border::GridWrap => i.rem_euclid(n as i64) as usize,
        Border::GridConstant(_) if (0..=last).contains(&i) => i as usize,
        Border::GridConstant(_) if interpolation == Interpolation::Nearest => return None,
        Border::GridConstant(_) => OUTSIDE,
        Border::Fill(_) | Border::Constant(_) | Border::Mirror | Border::Wrap => {
            fold(i, 2 * n as i64 - 2, 0, n)
        }
    })
}

/// Index `i` of a signal that repeats after `period` and whose second half runs backwards.
fn fold(i: i64, period: i64, shift: i64, n: usize) -> usize {
    if n == 1 {
        return 0;
    }
    let i = i.rem_euclid(period);
    if (i as usize) < n { i as usize } else { (period - i + shift) as usize }
}

/// B-spline weights of the samples at offset `t` from the centre tap.
fn weights(interpolation: Interpolation, t: f64, out: &mut [f64; 6]) {
    match interpolation {
        Interpolation::Nearest => out[0] = 1.0,
        Interpolation::Linear => out[..2].copy_from_slice(&[1.0 - t, t]),
        Interpolation::Cubic => out[..4].copy_from_slice(&cubic_weights(t)),
        Interpolation::Quadratic => {
            (0..3).for_each(|k| out[k] = quadratic((t + 1.0 - k as f64).abs()));
        }
        Interpolation::Quartic => {
            (0..5).for_each(|k| out[k] = quartic((t + 2.0 - k as f64).abs()));
        }
        Interpolation::Quintic => {
            (0..6).for_each(|k| out[k] = quintic((t + 2.0 - k as f64).abs()));
        }
    }
}

/// The quadratic B-spline at distance `x`.
fn quadratic(x: f64) -> f64 {
    if x < 0.5 { 0.75 - x * x } else { 0.5 * (1.5 - x).powi(2) }
}

/// The quartic B-spline at distance `x`.
fn quartic(x: f64) -> f64 {
    if x < 0.5 {
        let y = x * x;
        y * (y * 0.25 - 0.625) + 115.0 / 192.0
    } else if x < 1.5 {
        (55.0 + x * (20.0 + x * (-120.0 + x * (80.0 - 16.0 * x)))) / 96.0
    } else {
        (5.0 - 2.0 * x).powi(4) / 384.0
    }
}

/// The quintic B-spline at distance `x`.
fn quintic(x: f64) -> f64 {
    if x < 1.0 {
        let y = x * x;
        y * (y * (0.25 - x / 12.0) - 0.5) + 0.55
    } else if x < 2.0 {
        0.425 + x * (0.625 + x * (-1.75 + x * (1.25 + x * (-0.375 + x / 24.0))))
    } else {
        (3.0 - x).powi(5) / 120.0
    }
}

/// Cubic B-spline weights of the samples -1, 0, 1, 2 at offset `t` in [0, 1).
fn cubic_weights(t: f64) -> [f64; 4] {
    let s = 1.0 - t;
    let outer = |u: f64| u * u * u / 6.0;
    let inner = |u: f64| (u * u * (u - 2.0) * 3.0 + 4.0) / 6.0;
    [outer(s), inner(t), inner(s), outer(t)]
}

/// The poles of the filter that turns samples into spline coefficients.
fn poles(interpolation: Interpolation) -> Vec<f64> {
    match interpolation {
        Interpolation::Nearest | Interpolation::Linear => Vec::new(),
        Interpolation::Quadratic => vec![8.0_f64.sqrt() - 3.0],
        Interpolation::Cubic => vec![3.0_f64.sqrt() - 2.0],
        Interpolation::Quartic => {
            let (a, b) = (438_976.0_f64.sqrt(), 304.0_f64.sqrt());
            vec![(664.0 - a).sqrt() + b - 19.0, (664.0 + a).sqrt() - b - 19.0]
        }
        Interpolation::Quintic => {
            let (a, b) = (4436.25_f64.sqrt(), 26.25_f64.sqrt());
            vec![(67.5 - a).sqrt() + b - 6.5, (67.5 + a).sqrt() - b - 6.5]
        }
    }
}

/// How a signal goes on beyond its ends, for the prefilter.
#[derive(Clone, Copy, PartialEq)]
enum Extension {
    Mirror,
    Reflect,
    Periodic,
}

/// Turns samples into B-spline coefficients, for `lanes` interleaved signals of `n` samples at once.
///
/// The interpolating coefficients are the samples filtered by one recursion forwards and one backwards for each
/// pole of the inverse of the sampled B-spline (for the cubic one `6 / (z + 4 + 1/z)`), started exactly for a
/// mirrored or periodic signal.
///
/// # Reference
/// Unser, Aldroubi, Eden, "B-spline signal processing", IEEE Trans. Signal Processing 41 (1993).
pub(super) fn prefilter(data: &mut [f64], n: usize, lanes: usize, options: &ResampleOptions) {
    let poles = poles(options.interpolation);
    if n < 2 || poles.is_empty() {
        return;
    }
    let extension = match options.border {
        Border::Reflect | Border::Nearest => Extension::Reflect,
        Border::GridWrap => Extension::Periodic,
        _ => Extension::Mirror,
    };
    let gain: f64 = match options.interpolation {
        Interpolation::Cubic => 6.0,
        _ => poles.iter().map(|z| (1.0 - z) * (1.0 - 1.0 / z)).product(),
    };
    data.iter_mut().for_each(|v| *v *= gain);
    for pole in poles {
        recursion(data, n, lanes, pole, extension);
    }
}

/// One pole: forwards, then backwards.
fn recursion(data: &mut [f64], n: usize, lanes: usize, pole: f64, extension: Extension) {
    // First forward value: the sum of pole^k over the extended past, closed over one period.
    let mut start = data[..lanes].to_vec();
    let period = match extension {
        Extension::Mirror => 2 * n - 2,
        Extension::Reflect => 2 * n,
        Extension::Periodic => n,
    };
    let closing = 1.0 / (1.0 - pole.powi(period.min(4096) as i32));
    let mut power = 1.0;
    for k in 1..period {
        power *= pole;
        if power.abs() < 1e-18 {
            break;
        }
        // The sample k steps before the first.
        let i = match extension {
            Extension::Mirror => fold(k as i64, period as i64, 0, n),
            Extension::Reflect => fold(-(k as i64), period as i64, -1, n),
            Extension::Periodic => n - k,
        };
        start.iter_mut().zip(&data[i * lanes..(i + 1) * lanes]).for_each(|(s, v)| *s += power * v);
    }
    data[..lanes].iter_mut().zip(&start).for_each(|(v, s)| *v = s * closing);

    for i in 1..n {
        let (before, here) = data[(i - 1) * lanes..(i + 1) * lanes].split_at_mut(lanes);
        here.iter_mut().zip(before).for_each(|(v, p)| *v += pole * *p);
    }
    let end = (n - 1) * lanes;
    match extension {
        Extension::Reflect => data[end..].iter_mut().for_each(|v| *v = *v * pole / (pole - 1.0)),
        Extension::Mirror => {
            for lane in 0..lanes {
                let before = data[end - lanes + lane];
                data[end + lane] = (pole * before + data[end + lane]) * pole / (pole * pole - 1.0);
            }
        }
        Extension::Periodic => {
            let mut last = data[end..end + lanes].to_vec();
            let mut power = 1.0;
            for row in data[..end].chunks_exact(lanes) {
                power *= pole;
                if power.abs() < 1e-18 {
                    break;
                }
                last.iter_mut().zip(row).for_each(|(s, v)| *s += power * v);
            }
            data[end..].iter_mut().zip(&last).for_each(|(v, s)| *v = -pole * s * closing);
        }
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
    fn weights_of_every_order_sum_to_one_and_reproduce_a_line() {
        for interpolation in Interpolation::ALL {
            for at in [5.0, 5.1, 5.49, 5.77] {
                let options = ResampleOptions::new(interpolation).border(Border::Mirror);
                let t = taps(at, 12, &options).unwrap();
                assert!((t.weight.iter().sum::<f64>() - 1.0).abs() < 1e-14, "{interpolation:?} {at}");
                if interpolation != Interpolation::Nearest {
                    let line: f64 = (0..6).map(|k| t.weight[k] * t.index[k] as f64).sum();
                    assert!((line - at).abs() < 1e-13, "{interpolation:?} {at} {line}");
                }
            }
        }
    }

    #[test]
    fn coefficients_give_the_samples_back_for_every_border_order_and_length() {
        for border in [Border::Mirror, Border::Reflect, Border::GridWrap] {
            for interpolation in Interpolation::ALL {
                let options = ResampleOptions::new(interpolation).border(border);
                for n in 1..9_usize {
                    let samples: Vec<f64> = (0..2 * n).map(|i| ((i * 7 + 3) % 5) as f64 - 1.3).collect();
                    let mut coefficients = samples.clone();
                    prefilter(&mut coefficients, n, 2, &options);
                    for i in 0..n {
                        let t = taps(i as f64, n, &options).unwrap();
                        for lane in 0..2 {
                            let value: f64 =
                                (0..6).map(|k| t.weight[k] * coefficients[t.index[k] * 2 + lane]).sum();
                            let expected = samples[2 * i + lane];
                            assert!(
                                (value - expected).abs() < 1e-12,
                                "{border:?} {interpolation:?} n={n} i={i}"
                            );
                        }
                    }
                }
            }
        }
    }
}
