use super::*;
use crate::testing::{assert_gradient_coverage, check_gradients, device, pattern};
use crate::{ParamStore, Seed};
use candle_core::DType;

/// in, out, kernel, config, input size.
type Case = (usize, usize, [usize; 3], ConvTranspose3dConfig, [usize; 3]);

fn cases() -> Vec<Case> {
    let c = ConvTranspose3dConfig::new;
    vec![
        (3, 2, [2; 3], c().stride([2; 3]), [3, 4, 5]),
        (2, 3, [3; 3], c().stride([2; 3]).padding([1; 3]).output_padding([1, 0, 1]), [3, 2, 4]),
        (2, 2, [3, 1, 2], c().padding([1, 0, 0]).dilation([2, 1, 3]), [3, 2, 4]),
        // Output padding beyond the stride, below the dilation.
        (2, 2, [2; 3], c().dilation([3; 3]).output_padding([2, 1, 0]), [2, 3, 2]),
        (4, 6, [3, 2, 1], c().stride([1, 3, 2]).groups(2), [2, 3, 3]),
        (3, 3, [3; 3], c().stride([3, 2, 1]).padding([4, 3, 1]).groups(3), [5, 4, 3]),
        (2, 2, [1; 3], c(), [2, 3, 2]),
    ]
}

fn tensors((input, out, k, c, size): &Case) -> [Tensor; 3] {
    let shape = |a: usize, b: usize, s: [usize; 3]| [a, b, s[0], s[1], s[2]];
    [
        pattern(&shape(2, *input, *size), 1).unwrap(),
        pattern(&shape(*input, out / c.groups, *k), 2).unwrap(),
        pattern(&[*out], 3).unwrap(),
    ]
}

#[test]
fn gradients_match_finite_differences_and_kernels_agree() {
    for case in cases() {
        let run = |t: &[Tensor], a| transposed_with(&t[0], &t[1], Some(&t[2]), &case.3, a);
        let inputs = tensors(&case);
        check_gradients(|t| run(t, Algorithm::Auto), &inputs, 1e-6, 1e-7).unwrap();
        check_gradients(|t| run(t, Algorithm::Plain), &inputs, 1e-6, 1e-7).unwrap();
        let (a, b) = (run(&inputs, Algorithm::Auto).unwrap(), run(&inputs, Algorithm::Plain).unwrap());
        let gap = (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap();
        assert!(gap < 1e-12, "{case:?}: {gap}");
    }
}

#[test]
fn by_hand_along_one_axis() {
    let line = |v: &[f64]| Tensor::from_slice(v, (1, 1, 1, 1, v.len()), &device()).unwrap();
    let c = ConvTranspose3dConfig::new().stride([1, 1, 2]).output_padding([0, 0, 1]);
    let y = conv_transpose3d(&line(&[1.0, 10.0]), &line(&[1.0, 2.0, 3.0]), None, &c).unwrap();
    assert_eq!(y.flatten_all().unwrap().to_vec1::<f64>().unwrap(), [1.0, 2.0, 13.0, 20.0, 30.0, 0.0]);
}

#[test]
fn the_layer_covers_its_parameters_and_names_what_does_not_fit() {
    let store = ParamStore::new(Seed::new(1));
    let config =
        ConvTranspose3dLayerConfig::new(2, 3, [2; 3]).conv(ConvTranspose3dConfig::new().stride([2; 3]));
    let layer = config.build(store.var_builder(DType::F64, &device())).unwrap();
    let x = pattern(&[1, 2, 2, 3, 2], 1).unwrap();
    let loss = layer.forward(&x).unwrap().sqr().unwrap().sum_all().unwrap();
    assert_gradient_coverage(&store, &loss).unwrap();
    assert_eq!(layer.forward_to_size(&x, [5, 6, 4]).unwrap().dims(), [1, 3, 5, 6, 4]);
    let error = layer.forward_to_size(&x, [6, 6, 4]).unwrap_err().to_string();
    assert!(error.contains("a size from 4 to 5 along dimension 2"), "{error}");
    assert!(layer.forward(&pattern(&[1, 3, 2, 3, 2], 1).unwrap()).is_err());
    assert!(ConvTranspose3dConfig::new().output_padding([1, 0, 0]).validate().is_err());
    assert!(ConvTranspose3dLayerConfig::new(2, 3, [1; 3]).conv(config.conv.groups(2)).validate().is_err());
}
