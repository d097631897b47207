use super::*;
use crate::testing::{assert_gradient_coverage, check_gradients, cpu_pattern, device, pattern};
use crate::{ParamStore, Seed};
use candle_core::{DType, Var};

/// in, out, kernel, config, input size: odd sizes, every option, and more than one tile and channel block.
type Case = (usize, usize, [usize; 3], Conv3dConfig, [usize; 3]);

fn cases() -> Vec<Case> {
    let c = Conv3dConfig::new;
    vec![
        (3, 4, [3; 3], c().padding([1; 3]), [5, 7, 9]),
        (3, 4, [3; 3], c(), [3, 3, 3]),
        (2, 5, [1; 3], c(), [4, 5, 3]),
        (2, 3, [1; 3], c().stride([2; 3]), [5, 4, 7]),
        (2, 3, [1; 3], c().padding([1; 3]), [3, 2, 3]),
        (1, 2, [3, 7, 7], c().stride([1, 2, 2]).padding([1, 3, 3]), [4, 11, 13]),
        (3, 2, [3; 3], c().stride([2; 3]).padding([1; 3]), [7, 6, 5]),
        (2, 3, [2, 3, 2], c().stride([2, 1, 3]).padding([0, 2, 1]).dilation([1, 2, 3]), [7, 8, 9]),
        (2, 2, [3; 3], c().padding([4; 3]), [3, 4, 5]),
        (2, 2, [2; 3], c().stride([3; 3]), [8, 7, 6]),
        (4, 6, [3; 3], c().padding([1; 3]).groups(2), [4, 5, 6]),
        (4, 4, [3, 1, 2], c().padding([1, 0, 1]).groups(4), [5, 4, 6]),
        (4, 8, [3; 3], c().stride([2; 3]).padding([1; 3]).groups(4), [5, 4, 6]),
        (20, 130, [3; 3], c().padding([1; 3]), [3, 4, 5]),
        (17, 9, [3; 3], c().padding([1; 3]), [6, 20, 37]),
        (17, 9, [3; 3], c().stride([1, 2, 2]).padding([1; 3]), [6, 20, 37]),
    ]
}

fn inputs(case: &Case, batch: usize) -> [Tensor; 3] {
    let (ci, co, [a, b, c], config, [d, h, w]) = *case;
    [
        cpu_pattern(&[batch, ci, d, h, w], 1).unwrap(),
        cpu_pattern(&[co, ci / config.groups, a, b, c], 2).unwrap(),
        cpu_pattern(&[co], 3).unwrap(),
    ]
}

/// Output and all three gradients of a weighted sum of it, as one vector.
fn everything(inputs: &[Tensor; 3], config: &Conv3dConfig, algorithm: Algorithm) -> Vec<f64> {
    let vars = inputs.each_ref().map(|t| Var::from_tensor(&t.copy().unwrap()).unwrap());
    let y = conv3d_with(&vars[0], &vars[1], Some(vars[2].as_tensor()), config, algorithm).unwrap();
    let cotangent = cpu_pattern(y.dims(), 4).unwrap().to_dtype(y.dtype()).unwrap();
    let grads = (&y * cotangent).unwrap().sum_all().unwrap().backward().unwrap();
    let mut tensors = vec![y];
    tensors.extend(vars.iter().map(|v| grads.get(v).unwrap().clone()));
    tensors
        .iter()
        .flat_map(|t| t.flatten_all().unwrap().to_dtype(DType::F64).unwrap().to_vec1().unwrap())
        .collect()
}

#[test]
fn im2col_equals_the_definition() {
    for case in cases() {
        for batch in [1, 2] {
            let inputs = inputs(&case, batch);
            let (a, b) = (
                everything(&inputs, &case.3, Algorithm::Im2col),
                everything(&inputs, &case.3, Algorithm::Plain),
            );
            let gap = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
            assert!(a.len() == b.len() && gap < 1e-11, "{case:?} batch {batch}: {gap}");
        }
    }
}

#[test]
fn f32_equals_f64_to_its_precision() {
    for case in cases() {
        let wide = inputs(&case, 2);
        let narrow = wide.each_ref().map(|t| t.to_dtype(DType::F32).unwrap());
        let (a, b) =
            (everything(&narrow, &case.3, Algorithm::Auto), everything(&wide, &case.3, Algorithm::Plain));
        let scale = b.iter().fold(0f64, |m, v| m.max(v.abs()));
        let gap = a.iter().zip(&b).map(|(a, b)| (a - b).abs()).fold(0.0, f64::max);
        assert!(gap < 2e-6 * scale, "{case:?}: {gap} of {scale}");
    }
}

#[test]
fn the_definition_has_the_gradients_of_finite_differences() {
    let config = Conv3dConfig::new().stride([2, 1, 1]).padding([1, 0, 1]).dilation([1, 2, 1]).groups(2);
    let case = (2, 4, [2, 2, 3], config, [3, 4, 3]);
    for algorithm in [Algorithm::Plain, Algorithm::Im2col] {
        let f = |t: &[Tensor]| conv3d_with(&t[0], &t[1], Some(&t[2]), &config, algorithm);
        check_gradients(f, &inputs(&case, 2), 1e-5, 1e-8).unwrap();
    }
}

#[test]
fn strided_inputs_are_read_in_order() {
    let (x, w) = (cpu_pattern(&[6, 5, 4, 3, 2], 1).unwrap(), cpu_pattern(&[2, 3, 2, 3, 3], 2).unwrap());
    let (x_view, w_view) = (x.permute((4, 3, 2, 1, 0)).unwrap(), w.permute((0, 1, 3, 4, 2)).unwrap());
    let config = Conv3dConfig::new().padding([1; 3]);
    let a = conv3d(&x_view, &w_view, None, &config).unwrap();
    let b = conv3d(&x_view.contiguous().unwrap(), &w_view.contiguous().unwrap(), None, &config).unwrap();
    assert_eq!((a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap(), 0.0);
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    for case in cases() {
        let inputs = inputs(&case, 2).map(|t| t.to_dtype(DType::F32).unwrap());
        let run = |threads| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            pool.install(|| everything(&inputs, &case.3, Algorithm::Auto))
        };
        assert_eq!(run(1), run(3), "{case:?}");
    }
}

#[test]
fn gradients_that_nobody_asked_for_are_not_computed() {
    let [x, w, b] = inputs(&cases()[0], 1);
    let w = Var::from_tensor(&w).unwrap();
    let y = conv3d(&x, &w, Some(&b), &cases()[0].3).unwrap();
    let grads = y.sum_all().unwrap().backward().unwrap();
    assert!(grads.get(&x).is_none() && grads.get(&b).is_none() && grads.get(&w).is_some());
}

#[test]
fn a_layer_gives_every_parameter_a_gradient_in_both_padding_modes() {
    for mode in [PaddingMode::Zeros, PaddingMode::Replicate] {
        let store = ParamStore::new(Seed::new(1));
        let config = Conv3dLayerConfig::new(2, 4, [3; 3]).padding_mode(mode);
        let config = config.conv(Conv3dConfig::new().padding([1; 3]).groups(2));
        let layer = config.build(store.var_builder(DType::F64, &device())).unwrap();
        let x = pattern(&[1, 2, 3, 4, 3], 1).unwrap();
        let y = layer.forward(&x).unwrap();
        assert_eq!(y.dims(), [1, 4, 3, 4, 3]);
        assert_gradient_coverage(&store, &y.sqr().unwrap().sum_all().unwrap()).unwrap();
        check_gradients(|x| layer.forward(&x[0]), &[x], 1e-5, 1e-8).unwrap();
    }
}

#[test]
fn shapes_that_do_not_fit_are_named() {
    let x = pattern(&[1, 3, 2, 2, 2], 1).unwrap();
    let message = |w: &[usize], config: Conv3dConfig| {
        conv3d(&x, &pattern(w, 2).unwrap(), None, &config).unwrap_err().to_string()
    };
    let c = Conv3dConfig::new;
    assert_eq!(
        message(&[2, 3, 3, 3, 3], c()),
        "conv3d: expected a padded size of at least 3 along dimension 2, got [1, 3, 2, 2, 2]"
    );
    assert!(message(&[2, 4, 1, 1, 1], c()).contains("[batch, 1 x 4, D, H, W]"));
    assert!(message(&[2, 3, 1, 1], c()).contains("rank 5"));
    assert!(message(&[2, 3, 1, 1, 1], c().stride([0, 1, 1])).contains("stride must be at least 1"));
    // On the CPU, since the stand-in for CUDA has no half precision.
    let half = |t: Tensor| t.to_device(&candle_core::Device::Cpu).unwrap().to_dtype(DType::F16).unwrap();
    let (half, w) = (half(x.clone()), half(pattern(&[2, 3, 1, 1, 1], 1).unwrap()));
    assert!(conv3d(&half, &w, None, &c()).unwrap_err().to_string().contains("f32 or f64"));
}
