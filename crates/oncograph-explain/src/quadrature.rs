//! Nodes and weights of integrals over \[0, 1\].

/// The `n` nodes of Gauss and Legendre, ascending, with their weights; exact for polynomials up to degree 2 n - 1.
pub(crate) fn gauss_legendre(n: usize) -> Vec<(f64, f64)> {
    let mut nodes = vec![(0.0, 0.0); n];
    for i in 0..n.div_ceil(2) {
        // Newton's method on the Legendre polynomial from Tricomi's first guess of its roots.
        let mut x = (std::f64::consts::PI * (i as f64 + 0.75) / (n as f64 + 0.5)).cos();
        let mut slope = 0.0;
        for _ in 0..100 {
            let (value, derivative) = legendre(n, x);
            slope = derivative;
            let step = value / derivative;
            x -= step;
            if step.abs() < 1e-16 {
                break;
            }
        }
        let weight = 1.0 / ((1.0 - x * x) * slope * slope);
        nodes[i] = ((1.0 - x) / 2.0, weight);
        nodes[n - 1 - i] = ((1.0 + x) / 2.0, weight);
    }
    nodes
}

/// The Legendre polynomial of degree `n` at `x`, and its derivative.
fn legendre(n: usize, x: f64) -> (f64, f64) {
    let (mut before, mut value) = (1.0, x);
    for k in 2..=n {
        let k = k as f64;
        (before, value) = (value, ((2.0 * k - 1.0) * x * value - (k - 1.0) * before) / k);
    }
    if n == 0 {
        return (1.0, 0.0);
    }
    (value, n as f64 * (x * value - before) / (x * x - 1.0))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn polynomials_are_integrated_exactly() {
        for n in [1, 2, 3, 8, 50] {
            let nodes = gauss_legendre(n);
            assert!(nodes.is_sorted_by(|a, b| a.0 < b.0));
            for degree in 0..(2 * n).min(30) {
                let sum: f64 = nodes.iter().map(|(x, w)| w * x.powi(degree as i32)).sum();
                approx::assert_relative_eq!(sum, 1.0 / (degree as f64 + 1.0), epsilon = 1e-13);
            }
        }
    }
}
