use crate::features::{NODES, PYRAMID_LEVELS};
use candle_core::{CpuStorage, CustomOp1, CustomOp2, Layout, Result, Shape, Tensor};
#[cfg(feature = "cuda")]
use candle_core::{CudaDevice, CudaStorage, backend::BackendStorage as _};
use oncograph_nn::Seed;
#[cfg(feature = "cuda")]
use oncograph_nn::cuda::{OnDevice, assemble as cuda};
use oncograph_nn::portable::rows_at;
use rand_distr::{Distribution, StandardNormal};
use rayon::prelude::*;
use std::sync::Arc;

/// Where one node of a batch gets its features from.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Source {
    /// A row of the image table, which holds six nodes per patient, with Gaussian noise of this deviation.
    Image { row: u32, sigma: f32 },
    /// A row of the clinical nodes' features.
    Clinical(u32),
}

impl Source {
    /// Which of the seven nodes it is.
    pub(crate) fn kind(&self) -> u32 {
        match *self {
            Source::Image { row, .. } => row % NODES as u32,
            Source::Clinical(_) => NODES as u32,
        }
    }
}

/// The pyramid levels of all images, \[rows, 3, d\]; empty without images.
#[derive(Debug, Default)]
pub(crate) struct Images {
    pub values: Vec<f32>,
    #[cfg(feature = "cuda")]
    on_device: OnDevice<cuda::Pyramids>,
}

impl From<Vec<f32>> for Images {
    fn from(values: Vec<f32>) -> Self {
        Images {
            values,
            #[cfg(feature = "cuda")]
            on_device: OnDevice::default(),
        }
    }
}

/// The node features of a batch in one pass: image nodes mixed from their pyramid levels, with noise, and clinical
/// nodes copied to their places.
///
/// Written as tensor operations this makes half a dozen copies of the largest array of a training step, and as many
/// gradients that are not needed: only the mixture's weights and the clinical features are trained.
#[derive(Debug, Clone)]
pub(crate) struct Assemble {
    pub table: Arc<Images>,
    pub width: usize,
    /// Whether seven columns encode which node it is (S-07).
    pub one_hot: bool,
    pub nodes: Vec<Source>,
    pub seed: Seed,
    #[cfg(feature = "cuda")]
    pub on_device: OnDevice<cuda::NodeSources>,
}

impl Assemble {
    fn levels(&self, row: u32) -> impl Iterator<Item = &[f32]> {
        let at = row as usize * PYRAMID_LEVELS * self.width;
        self.table.values[at..at + PYRAMID_LEVELS * self.width].chunks(self.width)
    }

    /// Columns of the result.
    fn columns(&self) -> usize {
        self.width + if self.one_hot { 7 } else { 0 }
    }

    fn fill(&self, weights: &[f32], clinical: &[f32], out: &mut [f32]) {
        out.par_chunks_mut(self.columns()).zip(&self.nodes).enumerate().for_each(|(node, (out, source))| {
            let (out, which) = out.split_at_mut(self.width);
            match *source {
                Source::Clinical(row) => {
                    out.copy_from_slice(&clinical[row as usize * self.width..][..self.width]);
                }
                Source::Image { row, sigma } => {
                    self.noise(node, sigma, out);
                    for (level, &w) in self.levels(row).zip(weights) {
                        out.iter_mut().zip(level).for_each(|(o, &v)| *o += w * v);
                    }
                }
            }
            if let Some(own) = which.get_mut(source.kind() as usize) {
                *own = (self.width as f32).sqrt();
            }
        });
    }

    /// The noise of an image node, where there is any.
    fn noise(&self, node: usize, sigma: f32, out: &mut [f32]) {
        if sigma > 0.0 {
            let mut rng = self.seed.at(node as u64).rng();
            out.fill_with(|| sigma * Distribution::<f32>::sample(&StandardNormal, &mut rng));
        }
    }

    /// The gradient of each weight: per node first, then over nodes in their order.
    fn weight_gradient(&self, dy: &[f32]) -> Vec<f32> {
        let of_node = |(dy, source): (&[f32], &Source)| -> [f64; PYRAMID_LEVELS] {
            let mut sums = [0.0; PYRAMID_LEVELS];
            if let Source::Image { row, .. } = *source {
                for (sum, level) in sums.iter_mut().zip(self.levels(row)) {
                    *sum = f64::from(dot(&dy[..self.width], level));
                }
            }
            sums
        };
        let parts: Vec<[f64; PYRAMID_LEVELS]> =
            dy.par_chunks(self.columns()).zip(&self.nodes).map(of_node).collect();
        let sum = |level: usize| parts.iter().map(|p| p[level]).sum::<f64>() as f32;
        (0..PYRAMID_LEVELS).map(sum).collect()
    }
}

#[cfg(feature = "cuda")]
impl Assemble {
    fn copies(&self, device: &CudaDevice) -> Result<(Arc<cuda::Pyramids>, Arc<cuda::NodeSources>)> {
        let nodes = self.nodes.iter().map(|source| match *source {
            Source::Clinical(row) => (true, row),
            Source::Image { row, .. } => (false, row),
        });
        let table = &self.table;
        Ok((
            table.on_device.get(device, || cuda::Pyramids::new(&table.values, self.width, device))?,
            self.on_device.get(device, || cuda::NodeSources::new(nodes, device))?,
        ))
    }

    /// The noise of all nodes, drawn on the CPU so that it is the same on every device; nothing without any.
    fn all_noise(&self) -> Option<Vec<f32>> {
        let sigma = |source: &Source| if let Source::Image { sigma, .. } = *source { sigma } else { 0.0 };
        self.nodes.iter().any(|source| sigma(source) > 0.0).then(|| {
            let mut all = vec![0.0; self.nodes.len() * self.width];
            let rows = all.par_chunks_mut(self.width).zip(&self.nodes).enumerate();
            rows.for_each(|(node, (out, source))| self.noise(node, sigma(source), out));
            all
        })
    }
}

/// Eight sums side by side, which the compiler turns into one vector.
fn dot(a: &[f32], b: &[f32]) -> f32 {
    let mut sums = [0f32; 8];
    let (x, y) = (a.chunks_exact(8), b.chunks_exact(8));
    let rest: f32 = x.remainder().iter().zip(y.remainder()).map(|(a, b)| a * b).sum();
    for (x, y) in x.zip(y) {
        (0..8).for_each(|i| sums[i] += x[i] * y[i]);
    }
    sums.iter().sum::<f32>() + rest
}

fn f32s<'a>(storage: &'a CpuStorage, layout: &Layout) -> Result<&'a [f32]> {
    let Some((from, to)) = layout.contiguous_offsets() else {
        candle_core::bail!("node assembly needs contiguous input")
    };
    Ok(&storage.as_slice::<f32>()?[from..to])
}

/// Weights \[3\], clinical features \[rows, d\] -> \[nodes, d\].
impl CustomOp2 for Assemble {
    fn name(&self) -> &'static str {
        "node assembly"
    }

    fn cpu_fwd(
        &self,
        weights: &CpuStorage,
        weights_layout: &Layout,
        clinical: &CpuStorage,
        clinical_layout: &Layout,
    ) -> Result<(CpuStorage, Shape)> {
        let mut out = vec![0f32; self.nodes.len() * self.columns()];
        self.fill(f32s(weights, weights_layout)?, f32s(clinical, clinical_layout)?, &mut out);
        Ok((CpuStorage::F32(out), Shape::from((self.nodes.len(), self.columns()))))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(
        &self,
        weights: &CudaStorage,
        weights_layout: &Layout,
        clinical: &CudaStorage,
        clinical_layout: &Layout,
    ) -> Result<(CudaStorage, Shape)> {
        let (table, nodes) = self.copies(weights.device())?;
        let operands = [(weights, weights_layout), (clinical, clinical_layout)];
        cuda::assemble(operands, &table, &nodes, self.all_noise().as_deref(), self.one_hot)
    }

    fn bwd(
        &self,
        _: &Tensor,
        clinical: &Tensor,
        _: &Tensor,
        dy: &Tensor,
    ) -> Result<(Option<Tensor>, Option<Tensor>)> {
        let dy = dy.contiguous()?;
        let of_weights = dy.apply_op1_no_bwd(&WeightGradient(self.clone()))?;
        // Each clinical row stands for one node, in the order of the rows.
        let mut at = vec![0u32; clinical.dim(0)?];
        for (node, source) in self.nodes.iter().enumerate() {
            if let Source::Clinical(row) = *source {
                at[row as usize] = node as u32;
            }
        }
        let of_clinical = rows_at(&dy, &at)?.narrow(1, 0, self.width)?;
        Ok((Some(of_weights), Some(of_clinical)))
    }
}

struct WeightGradient(Assemble);

impl CustomOp1 for WeightGradient {
    fn name(&self) -> &'static str {
        "node assembly gradient"
    }

    fn cpu_fwd(&self, dy: &CpuStorage, layout: &Layout) -> Result<(CpuStorage, Shape)> {
        Ok((CpuStorage::F32(self.0.weight_gradient(f32s(dy, layout)?)), Shape::from(PYRAMID_LEVELS)))
    }

    #[cfg(feature = "cuda")]
    fn cuda_fwd(&self, dy: &CudaStorage, layout: &Layout) -> Result<(CudaStorage, Shape)> {
        let (table, nodes) = self.0.copies(dy.device())?;
        cuda::level_gradient((dy, layout), &table, &nodes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{Device, Var};

    fn assemble(table: Vec<f32>, (width, one_hot): (usize, bool), nodes: Vec<Source>, seed: u64) -> Assemble {
        let (table, seed) = (Arc::new(Images::from(table)), Seed::new(seed));
        Assemble {
            table,
            width,
            one_hot,
            nodes,
            seed,
            #[cfg(feature = "cuda")]
            on_device: OnDevice::default(),
        }
    }

    #[test]
    fn equals_the_plain_operations_and_their_gradients() {
        const WIDTH: usize = 11;
        let wave = |n: usize, k: f32| (0..n).map(|i| (i as f32 * k).sin()).collect::<Vec<_>>();
        let table = wave(4 * 3 * WIDTH, 0.7);
        let image = |row| Source::Image { row, sigma: 0.0 };
        let nodes = vec![image(2), Source::Clinical(1), image(0), image(2), Source::Clinical(0)];
        let weights = Var::new(&[0.2f32, 0.5, 0.3], &Device::Cpu).unwrap();
        let clinical = Var::from_vec(wave(2 * WIDTH, 1.1), (2, WIDTH), &Device::Cpu).unwrap();
        let cotangent = Tensor::from_vec(wave(5 * WIDTH, 0.3), (5, WIDTH), &Device::Cpu).unwrap();

        let plain_table = Tensor::from_vec(table.clone(), (4, 3, WIDTH), &Device::Cpu).unwrap();
        let mixed = plain_table.broadcast_mul(&weights.reshape((1, 3, 1)).unwrap()).unwrap().sum(1).unwrap();
        let all = Tensor::cat(&[&mixed, clinical.as_tensor()], 0).unwrap();
        let order = Tensor::new(&[2u32, 5, 0, 2, 4], &Device::Cpu).unwrap();
        let plain = all.index_select(&order, 0).unwrap();
        let close = |a: &Tensor, b: &Tensor| {
            let difference = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f32>().unwrap();
            assert!(difference < 1e-5, "{difference}");
        };
        let gradients = |y: &Tensor| (y * &cotangent).unwrap().sum_all().unwrap().backward().unwrap();
        for one_hot in [false, true] {
            let op = assemble(table.clone(), (WIDTH, one_hot), nodes.clone(), 1);
            let whole = weights.apply_op2(clinical.as_tensor(), op).unwrap();
            let fast = whole.narrow(1, 0, WIDTH).unwrap();
            close(&fast, &plain);
            let (f, p) = (gradients(&fast), gradients(&plain));
            close(f.get(&weights).unwrap(), p.get(&weights).unwrap());
            close(f.get(&clinical).unwrap(), p.get(&clinical).unwrap());
            if one_hot {
                let which = whole.narrow(1, WIDTH, 7).unwrap().to_vec2::<f32>().unwrap();
                for (row, kind) in which.iter().zip([2, 6, 0, 2, 6]) {
                    let expected: Vec<f32> =
                        (0..7).map(|k| if k == kind { 11f32.sqrt() } else { 0.0 }).collect();
                    assert_eq!(*row, expected);
                }
            }
        }
    }

    #[test]
    fn noise_has_its_deviation_and_depends_on_the_node_alone() {
        const WIDTH: usize = 4096;
        let nodes = vec![Source::Image { row: 0, sigma: 0.1 }; 3];
        let op = assemble(vec![0.0; 3 * WIDTH], (WIDTH, false), nodes, 4);
        let run = |op: &Assemble| {
            let mut out = vec![0f32; op.nodes.len() * WIDTH];
            op.fill(&[0.0; 3], &[], &mut out);
            out
        };
        let all = run(&op);
        let deviation = (all.iter().map(|v| f64::from(v * v)).sum::<f64>() / all.len() as f64).sqrt();
        // Four standard errors of a standard deviation over 12288 draws.
        assert!((deviation - 0.1).abs() < 4.0 * 0.1 / (2.0 * 12288f64).sqrt(), "{deviation}");
        assert_ne!(all[..WIDTH], all[WIDTH..2 * WIDTH]);
        let two = Assemble { nodes: op.nodes[..2].to_vec(), ..op.clone() };
        assert_eq!(run(&two), all[..2 * WIDTH]);
    }

    #[test]
    fn every_device_has_the_same_nodes_and_gradients() {
        const WIDTH: usize = 37;
        // Nodes for three warps of the kernel that sums over them.
        const PATIENTS: usize = 24;
        const NODES: usize = 3 * PATIENTS;
        let wave = |n: usize, k: f32| (0..n).map(|i| (i as f32 * k).sin()).collect::<Vec<_>>();
        let node = |i: u32| match i % 3 {
            0 => Source::Clinical(i / 3),
            _ => Source::Image { row: i * 7 % 12, sigma: if i > 9 { 0.1 } else { 0.0 } },
        };
        let gpu = oncograph_nn::testing::device();
        for one_hot in [false, true] {
            let nodes = (0..NODES as u32).map(node).collect();
            let op = assemble(wave(12 * 3 * WIDTH, 0.7), (WIDTH, one_hot), nodes, 5);
            let run = |device: &Device| {
                let on = |v: Vec<f32>, rows: usize| {
                    Var::from_vec(v.clone(), (rows, v.len() / rows), device).unwrap()
                };
                let weights = Var::new(&[0.2f32, 0.5, 0.3], device).unwrap();
                let clinical = on(wave(PATIENTS * WIDTH, 1.1), PATIENTS);
                let y = weights.apply_op2(clinical.as_tensor(), op.clone()).unwrap();
                let dy = on(wave(y.elem_count(), 0.3), NODES);
                let gradients = (&y * dy.as_tensor()).unwrap().sum_all().unwrap().backward().unwrap();
                let of = |var: &Var| gradients.get(var).unwrap().clone();
                [y, of(&weights), of(&clinical)].map(|t| t.flatten_all().unwrap().to_vec1::<f32>().unwrap())
            };
            for (a, b) in run(&Device::Cpu).iter().zip(&run(&gpu)) {
                assert_eq!(a.len(), b.len());
                assert!(a.iter().zip(b).all(|(a, b)| (a - b).abs() < 1e-5));
            }
        }
        #[cfg(feature = "cuda")]
        assert!(!oncograph_nn::cuda::by_host().iter().any(|name| name.contains("assembly")));
    }
}
