use super::super::{Algorithm, BlockedConv3d, BlockedVolume, Conv3dConfig, conv3d, conv3d_with};
use super::choice::{Kernel, fastest, fastest_among_tensors};
use super::*;
use crate::testing::cpu_pattern as pattern;
use candle_core::{DType, Tensor, Var};

fn input(shape: &[usize], salt: u64) -> Tensor {
    pattern(shape, salt).unwrap().to_dtype(DType::F32).unwrap()
}

fn values(t: &Tensor) -> Vec<f64> {
    t.to_dtype(DType::F64).unwrap().flatten_all().unwrap().to_vec1().unwrap()
}

/// The largest gap, relative to the largest value of `b`.
fn gap(a: &Tensor, b: &Tensor) -> f64 {
    assert_eq!(a.dims(), b.dims());
    let (a, b) = (values(a), values(b));
    let scale = b.iter().fold(1e-3f64, |m, v| m.max(v.abs()));
    a.iter().zip(&b).fold(0f64, |m, (a, b)| m.max((a - b).abs())) / scale
}

const BOUNDS: [(Algorithm, f64); 2] = [(Algorithm::Winograd2, 2e-6), (Algorithm::Winograd4, 3e-5)];

/// Odd sizes, sizes below a tile, channels around a block.
const SIZES: [[usize; 3]; 5] = [[1, 1, 1], [5, 7, 9], [2, 3, 17], [3, 4, 8], [7, 2, 5]];
const CHANNELS: [(usize, usize); 7] = [(1, 1), (3, 15), (15, 16), (16, 17), (17, 64), (64, 3), (80, 130)];

fn outcome(tensors: &[Tensor; 3], config: &Conv3dConfig, algorithm: Algorithm) -> Vec<Tensor> {
    let vars = tensors.each_ref().map(|t| Var::from_tensor(&t.copy().unwrap()).unwrap());
    let y = conv3d_with(&vars[0], &vars[1], Some(vars[2].as_tensor()), config, algorithm).unwrap();
    let cotangent = pattern(y.dims(), 4).unwrap().to_dtype(y.dtype()).unwrap();
    let grads = (&y * cotangent).unwrap().sum_all().unwrap().backward().unwrap();
    let mut all = vec![y];
    all.extend(vars.iter().map(|v| grads.get(v).unwrap().clone()));
    all
}

fn check(size: [usize; 3], channels: (usize, usize), batch: usize, padding: [usize; 3], gradients: bool) {
    check_kernel([3; 3], size, channels, batch, padding, gradients);
}

fn check_kernel(
    kernel: [usize; 3],
    size: [usize; 3],
    (ci, co): (usize, usize),
    batch: usize,
    padding: [usize; 3],
    gradients: bool,
) {
    let ([d, h, w], [a, b, c]) = (size, kernel);
    let config = Conv3dConfig::new().padding(padding);
    let tensors = [input(&[batch, ci, d, h, w], 1), input(&[co, ci, a, b, c], 2), input(&[co], 3)];
    let wide = tensors.each_ref().map(|t| t.to_dtype(DType::F64).unwrap());
    for (algorithm, bound) in BOUNDS {
        let what = format!("{algorithm:?} {kernel:?} {size:?} {ci}->{co} batch {batch} padding {padding:?}");
        if gradients {
            let exact = outcome(&wide, &config, Algorithm::Im2col);
            for (i, (a, b)) in outcome(&tensors, &config, algorithm).iter().zip(&exact).enumerate() {
                // The gradient of the weight is a sum over the whole volume, with the rounding of that in f32.
                let bound = if i == 2 { bound.max(1e-5) } else { bound };
                assert!(gap(a, b) < bound, "{what}, output {i}: {}", gap(a, b));
            }
        } else {
            let [x, w, b] = &tensors;
            let y = conv3d_with(x, w, Some(b), &config, algorithm).unwrap();
            let exact = conv3d_with(&wide[0], &wide[1], Some(&wide[2]), &config, Algorithm::Im2col).unwrap();
            assert!(gap(&y, &exact) < bound, "{what}: {}", gap(&y, &exact));
        }
    }
}

#[test]
fn output_and_gradients_equal_the_definition() {
    for size in SIZES {
        for channels in CHANNELS {
            for batch in [1, 3] {
                check(size, channels, batch, [1; 3], true);
            }
        }
    }
    check([40, 33, 17], (3, 17), 1, [1; 3], true);
    check([40, 33, 17], (16, 64), 3, [1; 3], false);
}

#[test]
fn without_padding_too() {
    for padding in [[0; 3], [0, 1, 1], [1, 0, 1], [1, 1, 0]] {
        for size in [[3, 3, 3], [5, 7, 9], [4, 6, 10], [9, 8, 5]] {
            check(size, (17, 20), 2, padding, true);
        }
    }
}

#[test]
fn kernels_of_one_plane_too() {
    for size in SIZES {
        for channels in CHANNELS {
            check_kernel([1, 3, 3], size, channels, 2, [0, 1, 1], true);
        }
    }
    for padding in [[0; 3], [0, 0, 1]] {
        check_kernel([1, 3, 3], [4, 6, 10], (17, 20), 2, padding, true);
    }
    check_kernel([1, 3, 3], [40, 33, 17], (16, 144), 2, [0, 1, 1], false);
}

/// The stated error: numbers of size 1, 64 channels, against f64.
#[test]
fn errors_grow_with_the_tile_as_documented() {
    let (x, w) = (input(&[1, 64, 6, 24, 24], 1), input(&[64, 64, 3, 3, 3], 2));
    let config = Conv3dConfig::new().padding([1; 3]);
    let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
    let exact = conv3d(&wide(&x), &wide(&w), None, &config).unwrap();
    let error = |a| gap(&conv3d_with(&x, &w, None, &config, a).unwrap(), &exact);
    let errors = [Algorithm::Im2col, Algorithm::Winograd2, Algorithm::Winograd4].map(error);
    println!("relative errors of matrix products, tiles of 2, tiles of 4: {errors:?}");
    assert!(errors[0] < 1e-6 && errors[1] < 2e-6 && errors[2] < 3e-5, "{errors:?}");
    assert!(errors[1] < errors[2], "{errors:?}");
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for ((ci, co), size, batch) in
        [((64, 64), [9, 26, 30], 2), ((80, 130), [3, 9, 7], 3), ((16, 16), [11, 70, 66], 1)]
    {
        let [d, h, w] = size;
        let tensors = [input(&[batch, ci, d, h, w], 1), input(&[co, ci, 3, 3, 3], 2), input(&[co], 3)];
        for algorithm in [Algorithm::Winograd2, Algorithm::Winograd4] {
            let run = |threads| {
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
                let config = Conv3dConfig::new().padding([1; 3]);
                pool.install(|| outcome(&tensors, &config, algorithm))
                    .iter()
                    .flat_map(values)
                    .collect::<Vec<_>>()
            };
            assert_eq!(run(1), run(2), "{algorithm:?} {size:?}");
        }
    }
}

#[test]
fn every_instruction_set_gives_the_same_numbers_up_to_rounding() {
    let (x, w) = (input(&[2, 20, 4, 9, 11], 1), input(&[70, 20, 3, 3, 3], 2));
    let volume = BlockedVolume::from_tensor(&x).unwrap();
    let config = Conv3dConfig::new().padding([1; 3]);
    let exact = conv3d_with(&x, &w, None, &config, Algorithm::Im2col).unwrap();
    let dy = input(exact.dims(), 3);
    let blocked_dy = BlockedVolume::from_tensor(&dy).unwrap();
    let var = Var::from_tensor(&w).unwrap();
    let y = conv3d_with(&x, &var, None, &config, Algorithm::Im2col).unwrap();
    let dw = (y * &dy).unwrap().sum_all().unwrap().backward().unwrap().get(&var).unwrap().clone();
    for isa in Isa::all() {
        for m in [2, 4] {
            let source = Source { outputs: 70, inputs: 20, depth: 3, flipped: false };
            let weights = Weights::new(isa, m, &w.flatten_all().unwrap().to_vec1().unwrap(), source);
            let mut y = BlockedVolume::zeros(2, 70, [4, 9, 11]);
            let extra = Extra { bias: None, residual: None, relu: false };
            Run { isa, x: &volume, weights: &weights, padding: [1; 3], extra }.write(&mut y);
            let y = y.to_tensor().unwrap();
            assert!(gap(&y, &exact) < 3e-5, "{isa:?} {m}: {}", gap(&y, &exact));
            let got = gradient::weight_gradient(isa, m, &volume, &blocked_dy, 3, [1; 3]);
            let got = Tensor::from_vec(got, w.dims(), w.device()).unwrap();
            assert!(gap(&got, &dw) < 3e-5, "{isa:?} {m}: {}", gap(&got, &dw));
        }
    }
}

#[test]
fn volumes_come_back_from_blocks() {
    for shape in [[1, 1, 1, 1, 1], [2, 17, 3, 5, 4], [3, 32, 1, 2, 9]] {
        let x = input(&shape, 1);
        let volume = BlockedVolume::from_tensor(&x).unwrap();
        assert_eq!(values(&volume.to_tensor().unwrap()), values(&x));
        let inside: f64 = values(&x).iter().sum();
        let all: f64 = volume.data.iter().map(|v| f64::from(*v)).sum();
        assert!((inside - all).abs() < 1e-9, "the border must be zeros");
    }
}

#[test]
fn prepared_convolutions_add_bias_and_residual_and_cut_negatives() {
    let c = Conv3dConfig::new;
    let cases = [
        (20, 70, [3; 3], c().padding([1; 3]), [4, 9, 11]),
        (20, 70, [3; 3], c().padding([1; 3]).stride([2; 3]), [5, 9, 12]),
        (40, 130, [1; 3], c().stride([2; 3]), [5, 9, 12]),
        (20, 33, [3, 1, 1], c().padding([1, 0, 0]), [3, 6, 5]),
        (20, 33, [1, 3, 3], c().padding([0, 1, 1]).stride([1, 2, 2]), [3, 6, 5]),
        (20, 70, [1, 3, 3], c().padding([0, 1, 1]), [7, 6, 5]),
        (130, 16, [3; 3], c().padding([2, 0, 1]), [1, 6, 7]),
        (17, 9, [3; 3], c().padding([1; 3]), [1, 1, 1]),
    ];
    for (ci, co, [a, b, e], config, [d, h, w]) in cases {
        let (x, weight) = (input(&[2, ci, d, h, w], 1), input(&[co, ci, a, b, e], 2));
        let bias = input(&[co], 3);
        let exact = conv3d_with(&x, &weight, Some(&bias), &config, Algorithm::Im2col).unwrap();
        let residual = (input(exact.dims(), 5) * 10.0).unwrap();
        let exact = crate::relu(&(&exact + &residual).unwrap()).unwrap();
        let mut kernels = vec![Algorithm::Auto, Algorithm::Im2col];
        let g = Geometry::new(x.dims(), weight.dims(), &config).unwrap();
        if winograd_fits(&g) {
            kernels.extend([Algorithm::Winograd2, Algorithm::Winograd4]);
        }
        for kernel in kernels {
            let conv = BlockedConv3d::new(&weight, Some(&bias), config).unwrap().algorithm(kernel);
            let volume = BlockedVolume::from_tensor(&x).unwrap();
            let residual = BlockedVolume::from_tensor(&residual).unwrap();
            let y = conv.forward(&volume, Some(&residual), true).unwrap();
            assert_eq!(
                y.data,
                BlockedVolume::from_tensor(&y.to_tensor().unwrap()).unwrap().data,
                "the border must stay zeros"
            );
            let spare = SpareVolumes::default();
            let mut other = y.clone();
            let inside = BlockedVolume::from_tensor(&(exact.ones_like().unwrap() * 7.0).unwrap()).unwrap();
            other.data.copy_from_slice(&inside.data);
            spare.put(other);
            let again = conv.forward_reusing(&volume, Some(&residual), true, &spare).unwrap();
            assert_eq!(again.data, y.data, "reused memory must not show");
            let error = gap(&y.to_tensor().unwrap(), &exact);
            assert!(error < 3e-5, "{kernel:?} {ci}->{co} {config:?}: {error}");
        }
    }
}

#[test]
fn the_first_layer_reads_plain_planes() {
    for (ci, config, [d, h, w]) in [
        (1, Conv3dConfig::new().stride([1, 2, 2]).padding([1, 3, 3]), [4, 13, 18]),
        (3, Conv3dConfig::new().stride([2, 1, 3]).padding([3, 0, 5]), [2, 9, 10]),
    ] {
        let (x, weight) = (input(&[2, ci, d, h, w], 1), input(&[70, ci, 3, 7, 7], 2));
        let conv = BlockedConv3d::new(&weight, None, config).unwrap();
        let y = conv.forward_tensor(&x, false, &SpareVolumes::default()).unwrap().to_tensor().unwrap();
        let exact = conv3d_with(&x, &weight, None, &config, Algorithm::Im2col).unwrap();
        assert!(gap(&y, &exact) < 2e-6, "{}", gap(&y, &exact));
    }
}

#[test]
fn the_choice_follows_the_sizes() {
    let g = |ci, co, [d, h, w]: [usize; 3], stride| {
        let config = Conv3dConfig::new().padding([1; 3]).stride([stride; 3]);
        Geometry::new(&[1, ci, d, h, w], &[co, ci, 3, 3, 3], &config).unwrap()
    };
    assert_eq!(fastest(&g(64, 64, [40, 64, 64], 1)), Kernel::Winograd(4));
    assert_eq!(fastest(&g(64, 128, [40, 64, 64], 2)), Kernel::Direct);
    assert_eq!(fastest(&g(16, 16, [1, 1, 1], 1)), Kernel::Direct);
    assert_eq!(fastest_among_tensors(&g(64, 64, [40, 64, 64], 1)), Some(4));
    assert_eq!(fastest_among_tensors(&g(8, 64, [40, 64, 64], 1)), None);
    assert_eq!(fastest_among_tensors(&g(512, 512, [1, 2, 2], 1)), None);
}

#[test]
fn what_does_not_fit_is_named() {
    let (x, w) = (input(&[1, 2, 4, 5, 5], 1), input(&[3, 2, 3, 3, 3], 2));
    let error = |x: &Tensor, w: &Tensor, c: Conv3dConfig| {
        conv3d_with(x, w, None, &c, Algorithm::Winograd4).unwrap_err().to_string()
    };
    assert!(error(&x, &w, Conv3dConfig::new().stride([2; 3])).contains("for Winograd"));
    assert!(error(&x, &w, Conv3dConfig::new().padding([2; 3])).contains("for Winograd"));
    let wide = |t: &Tensor| t.to_dtype(DType::F64).unwrap();
    assert!(error(&wide(&x), &wide(&w), Conv3dConfig::new()).contains("for Winograd"));
    let conv = BlockedConv3d::new(&w, None, Conv3dConfig::new().padding([2; 3])).unwrap();
    let volume = BlockedVolume::from_tensor(&x).unwrap();
    assert!(conv.forward(&volume, None, false).unwrap_err().to_string().contains("padding"));
    let conv = BlockedConv3d::new(&w, None, Conv3dConfig::new()).unwrap();
    let error = conv.forward(&volume, Some(&volume), false).unwrap_err().to_string();
    assert!(error.contains("residual"), "{error}");
    assert!(BlockedConv3d::new(&w, None, Conv3dConfig::new().groups(2)).is_err());
    assert!(BlockedVolume::from_tensor(&wide(&x)).is_err());
}
