use oncograph_nn::Seed;
use rand::Rng;
use rand::seq::index::sample;
use rayon::prelude::*;

/// A sparse random projection that is drawn and never trained: each output is the sum of few inputs with random signs, scaled so that
/// squared lengths are kept on average.
///
/// Of `n` inputs each output sees about the root, which keeps distances as well as a dense Gaussian matrix does, of which
/// 37,376 x 4096 numbers would take 612 MB.
///
/// # Reference
/// Achlioptas, *Database-friendly random projections*, 2003; Li, Hastie and Church, *Very sparse random projections*, KDD 2006.
#[derive(Debug, Clone)]
pub(crate) struct RandomProjection {
    /// For each output the inputs that it sees, and whether they are added or subtracted.
    entries: Vec<Vec<(u32, bool)>>,
    scale: f32,
}

impl RandomProjection {
    pub(crate) fn new(inputs: usize, outputs: usize, seed: Seed) -> Self {
        let seen = (inputs as f64).sqrt().ceil() as usize;
        let of = |output: usize| {
            let mut rng = seed.at(output as u64).rng();
            let which = sample(&mut rng, inputs, seen).into_vec();
            which.into_iter().map(|i| (i as u32, rng.random::<bool>())).collect()
        };
        let entries = (0..outputs).into_par_iter().map(of).collect();
        // An input is seen by an output with probability seen / inputs.
        let scale = (inputs as f64 / (seen * outputs) as f64).sqrt() as f32;
        RandomProjection { entries, scale }
    }

    pub(crate) fn apply(&self, values: &[f32]) -> Vec<f32> {
        let signed = |&(i, plus): &(u32, bool)| {
            let value = f64::from(values[i as usize]);
            if plus { value } else { -value }
        };
        let one = |entries: &Vec<(u32, bool)>| (entries.iter().map(signed).sum::<f64>()) as f32 * self.scale;
        self.entries.par_iter().map(one).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn squared_lengths_and_distances_are_kept_and_the_seed_decides() {
        let (inputs, outputs) = (2000, 800);
        let projection = RandomProjection::new(inputs, outputs, Seed::new(3));
        let wave = |k: f64| (0..inputs).map(|i| (i as f64 * k).sin() as f32).collect::<Vec<f32>>();
        let square = |v: &[f32]| v.iter().map(|v| f64::from(v * v)).sum::<f64>();
        for (a, b) in [(0.7, 1.3), (2.1, 0.2)] {
            let (a, b) = (wave(a), wave(b));
            let gap: Vec<f32> = a.iter().zip(&b).map(|(a, b)| a - b).collect();
            let (pa, pb) = (projection.apply(&a), projection.apply(&b));
            let projected: Vec<f32> = pa.iter().zip(&pb).map(|(a, b)| a - b).collect();
            // Four standard errors of a sum of 800 squares.
            let ratio = square(&projected) / square(&gap);
            assert!((ratio - 1.0).abs() < 4.0 * (2f64 / 800.0).sqrt(), "{ratio}");
        }
        let x = wave(0.4);
        assert_eq!(projection.apply(&x), RandomProjection::new(inputs, outputs, Seed::new(3)).apply(&x));
        assert_ne!(projection.apply(&x), RandomProjection::new(inputs, outputs, Seed::new(4)).apply(&x));
    }
}
