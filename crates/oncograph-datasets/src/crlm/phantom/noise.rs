//! Noise from a hash of the place, fast and independent of the order of evaluation.

/// The finalizer of splitmix64 (Steele, Lea and Flood 2014).
#[inline]
fn mix(mut z: u64) -> u64 {
    z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    z ^ (z >> 31)
}

/// A number of mean 0 and standard deviation 1, close to normal: the sum of four uniform ones.
#[inline]
pub(super) fn gauss(key: u64, index: u64) -> f32 {
    let bits = mix(key.wrapping_add(index.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
    let sum = (bits & 0xffff) + (bits >> 16 & 0xffff) + (bits >> 32 & 0xffff) + (bits >> 48);
    // Mean 2 * 65535; standard deviation sqrt(4 / 12) * 65536.
    (sum as f32 - 131_070.0) * (1.0 / 37_837.0)
}

/// Smooth noise of about standard deviation 1 whose grains are one unit wide: values on a lattice, interpolated.
pub(super) fn grains(key: u64, point: [f32; 3]) -> f32 {
    let base = point.map(f32::floor);
    let t: [f32; 3] = std::array::from_fn(|a| {
        let t = point[a] - base[a];
        t * t * (3.0 - 2.0 * t)
    });
    let corner = |bits: usize| {
        let at: [u64; 3] = std::array::from_fn(|a| (base[a] as i64 + (bits >> a & 1) as i64) as u64);
        gauss(
            key,
            at[0].wrapping_mul(73_856_093) ^ at[1].wrapping_mul(19_349_663) ^ at[2].wrapping_mul(83_492_791),
        )
    };
    let mut sum = 0.0;
    for bits in 0..8 {
        let weight: f32 = (0..3).map(|a| if bits >> a & 1 == 1 { t[a] } else { 1.0 - t[a] }).product();
        sum += weight * corner(bits);
    }
    // Interpolation averages neighbours, which shrinks the deviation to about 0.64 over a cell.
    sum * 1.6
}

#[cfg(test)]
mod tests {
    use super::*;

    fn moments(values: &[f32]) -> (f64, f64) {
        let n = values.len() as f64;
        let mean = values.iter().map(|v| f64::from(*v)).sum::<f64>() / n;
        (mean, (values.iter().map(|v| (f64::from(*v) - mean).powi(2)).sum::<f64>() / n).sqrt())
    }

    #[test]
    fn both_noises_have_mean_zero_and_deviation_one() {
        let white: Vec<f32> = (0..100_000).map(|i| gauss(7, i)).collect();
        let (mean, sd) = moments(&white);
        assert!(mean.abs() < 0.02 && (sd - 1.0).abs() < 0.02, "{mean} {sd}");
        let coloured: Vec<f32> = (0..64_000_u32)
            .map(|i| grains(7, [i % 40, i / 40 % 40, i / 1600].map(|v| v as f32 * 0.71 - 9.0)))
            .collect();
        let (mean, sd) = moments(&coloured);
        assert!(mean.abs() < 0.1 && (sd - 1.0).abs() < 0.15, "{mean} {sd}");
    }
}
