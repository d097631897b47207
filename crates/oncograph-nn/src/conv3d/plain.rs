//! The definition of the convolution and of its gradients, one loop per sum: the reference of the fast kernels.

use super::config::Geometry;
use crate::element::Element;

/// Calls `f(output index, input index, weight index)` for every product of the convolution.
fn for_each_product(g: &Geometry, mut f: impl FnMut(usize, usize, usize)) {
    let ([od, oh, ow], [_, ih, iw], [kd, kh, kw]) = (g.output, g.input, g.kernel);
    for n in 0..g.batch {
        for out in 0..g.groups * g.co {
            for (d, h, w) in triples(od, oh, ow) {
                let y = (((n * g.groups * g.co + out) * od + d) * oh + h) * ow + w;
                for c in 0..g.ci {
                    let channel = n * g.groups * g.ci + out / g.co * g.ci + c;
                    for (a, b, e) in triples(kd, kh, kw) {
                        let (Some(i), Some(j), Some(l)) =
                            (g.source(0, d, a), g.source(1, h, b), g.source(2, w, e))
                        else {
                            continue;
                        };
                        let x = ((channel * g.input[0] + i) * ih + j) * iw + l;
                        f(y, x, (((out * g.ci + c) * kd + a) * kh + b) * kw + e);
                    }
                }
            }
        }
    }
}

fn triples(d: usize, h: usize, w: usize) -> impl Iterator<Item = (usize, usize, usize)> {
    (0..d * h * w).map(move |i| (i / (h * w), i / w % h, i % w))
}

pub(super) fn forward<T: Element>(g: &Geometry, x: &[T], weight: &[T], bias: Option<&[T]>) -> Vec<T> {
    let pixels = g.out_pixels();
    let mut y = vec![0f64; g.batch * g.groups * g.co * pixels];
    for_each_product(g, |o, i, k| y[o] += x[i].to_f64() * weight[k].to_f64());
    let offset = |o: usize| bias.map_or(0.0, |b| b[o / pixels % (g.groups * g.co)].to_f64());
    y.iter().enumerate().map(|(o, v)| T::from_f64(v + offset(o))).collect()
}

pub(super) fn input_gradient<T: Element>(g: &Geometry, weight: &[T], dy: &[T]) -> Vec<T> {
    let mut dx = vec![0f64; g.batch * g.groups * g.ci * g.in_pixels()];
    for_each_product(g, |o, i, k| dx[i] += dy[o].to_f64() * weight[k].to_f64());
    dx.into_iter().map(T::from_f64).collect()
}

pub(super) fn weight_gradient<T: Element>(g: &Geometry, x: &[T], dy: &[T]) -> Vec<T> {
    let mut dw = vec![0f64; g.groups * g.co * g.ci * g.taps()];
    for_each_product(g, |o, i, k| dw[k] += dy[o].to_f64() * x[i].to_f64());
    dw.into_iter().map(T::from_f64).collect()
}
