//! Which kernel is the fastest for a convolution, from a count of its work.

use super::lanes::LANES;
use crate::conv3d::config::Geometry;

/// The kernels on volumes with sixteen channels side by side.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kernel {
    Direct,
    /// Winograd's, with tiles of 2 or 4.
    Winograd(usize),
}

/// Whether the transforms apply: a 3x3x3 kernel with padding 0 or 1 or a 1x3x3 kernel without padding in depth, stride 1,
/// not dilated, one group.
pub(crate) fn winograd_fits(g: &Geometry) -> bool {
    let plain = g.groups == 1 && g.dilation == [1; 3] && g.stride == [1; 3];
    let padding = |most: usize| g.padding[0] <= most && g.padding[1] <= 1 && g.padding[2] <= 1;
    plain && (g.kernel == [3; 3] && padding(1) || g.kernel == [1, 3, 3] && padding(0))
}

/// Whether the gradient of the input is a convolution of the same kind.
pub(crate) fn same_size(g: &Geometry) -> bool {
    g.padding == [g.kernel[0] / 2, 1, 1]
}

/// Cycles of one AVX-512 core, about: products at 32 multiplications a cycle, memory at 8 bytes.
pub(crate) fn cost(g: &Geometry, kernel: Kernel, weights_are_ready: bool) -> f64 {
    let [ci, co] = [g.ci, g.co].map(|c| c.next_multiple_of(LANES) as f64);
    let [d, h, w] = g.output.map(|s| s as f64);
    let batch = g.batch as f64;
    let Kernel::Winograd(m) = kernel else {
        // 0.85 of the peak; every plane reads all weights.
        let weights = ci * co * g.taps() as f64;
        return batch * d * h * w * weights / 32.0 / 0.85 + weights * 4.0 / 8.0;
    };
    let tiles = batch * d * (h / m as f64).ceil() * (w / m as f64).ceil();
    let points = ((m + 2) * (m + 2)) as f64;
    let weights = points * g.kernel[0] as f64 * ci * co;
    let products = tiles * weights / 32.0 / 0.85;
    let transforms = tiles * points * (ci + co) * 0.25;
    products + transforms + weights * if weights_are_ready { 4.0 / 8.0 } else { 1.5 }
}

/// The cheapest kernel for inference with weights that are made ready once.
pub(crate) fn fastest(g: &Geometry) -> Kernel {
    let direct = (Kernel::Direct, cost(g, Kernel::Direct, true));
    if !winograd_fits(g) {
        return Kernel::Direct;
    }
    let all = [2, 4].map(Kernel::Winograd).map(|k| (k, cost(g, k, true)));
    all.into_iter().fold(direct, |best, one| if one.1 < best.1 { one } else { best }).0
}

/// The tile size for a convolution among plain tensors, or `None` where matrix products over patches are faster.
///
/// At least sixteen channels on both sides: with fewer, most of the work would be on zeros.
pub(crate) fn fastest_among_tensors(g: &Geometry) -> Option<usize> {
    if !winograd_fits(g) || g.ci < LANES || g.co < LANES || g.batch * g.out_pixels() == 0 {
        return None;
    }
    // The products over patches reach 0.7 of the direct kernel's speed.
    let patches = cost(g, Kernel::Direct, true) / 0.8;
    let layout = (g.ci + g.co) as f64 * g.batch as f64 * g.out_pixels() as f64;
    let all = [2, 4].map(|m| (m, cost(g, Kernel::Winograd(m), false) + layout));
    let best = if all[0].1 < all[1].1 { all[0] } else { all[1] };
    (best.1 < patches).then_some(best.0)
}
