//! Convolutions in bf16: the device against the CPU, by cuDNN where it is built in, and without it.

use candle_core::{DType, Device, Tensor, Var};
use oncograph_nn::conv3d::{Conv3dConfig, ConvTranspose3dConfig, conv_transpose3d, conv3d};
use oncograph_nn::testing::{device, pattern};
use oncograph_nn::{Precision, Result, with_precision};

type Answers = Vec<Vec<f32>>;

/// The result of `f` on f32 and the gradient for each input, all in `precision`.
fn answers(
    inputs: &[Tensor],
    device: &Device,
    precision: Precision,
    f: &impl Fn(&[Tensor]) -> Result<Tensor>,
) -> Answers {
    let on = |x: &Tensor| x.to_device(&Device::Cpu).unwrap().to_dtype(DType::F32).unwrap();
    let vars: Vec<Var> =
        inputs.iter().map(|x| Var::from_tensor(&on(x).to_device(device).unwrap()).unwrap()).collect();
    let tensors: Vec<Tensor> = vars.iter().map(|v| v.as_tensor().clone()).collect();
    let y = with_precision(precision, || f(&tensors)).unwrap();
    let weights = pattern(y.dims(), 9).unwrap().to_dtype(DType::F32).unwrap().to_device(device).unwrap();
    // Gradients are asked for outside: each operation has kept its precision.
    let gradients = (&y * weights).unwrap().sum_all().unwrap().backward().unwrap();
    let numbers = |x: &Tensor| x.flatten_all().unwrap().to_vec1::<f32>().unwrap();
    std::iter::once(numbers(&y)).chain(vars.iter().map(|v| numbers(gradients.get(v).unwrap()))).collect()
}

fn bits(answers: &Answers) -> Vec<Vec<u32>> {
    answers.iter().map(|values| values.iter().map(|v| v.to_bits()).collect()).collect()
}

/// That bf16 on the device is that of the CPU up to one unit of a result, that its bits repeat, and that it differs from
/// f32 by less than `bound` of the largest magnitude, but differs.
fn check(inputs: &[Tensor], f: impl Fn(&[Tensor]) -> Result<Tensor>) {
    // 8 bits for each of two factors, which by the shapes here do not add up to more.
    const BOUND: f32 = 1.5e-2;
    let cpu = answers(inputs, &Device::Cpu, Precision::Bf16, &f);
    let exact = answers(inputs, &Device::Cpu, Precision::F32, &f);
    let run = || {
        let first = answers(inputs, &device(), Precision::Bf16, &f);
        assert_eq!(
            bits(&first),
            bits(&answers(inputs, &device(), Precision::Bf16, &f)),
            "the same bits twice"
        );
        for (k, ((gpu, cpu), exact)) in first.iter().zip(&cpu).zip(&exact).enumerate() {
            assert_eq!(gpu.len(), cpu.len());
            let scale = exact.iter().fold(0f32, |m, v| m.max(v.abs()));
            for (i, ((gpu, cpu), exact)) in gpu.iter().zip(cpu).zip(exact).enumerate() {
                // Sums of f32 in another order may be rounded to the next bf16.
                assert!((gpu - cpu).abs() <= cpu.abs() / 128.0 + 1e-6 * scale, "{k} at {i}: {gpu}, {cpu}");
                assert!((gpu - exact).abs() <= BOUND * scale, "{k} at {i}: {gpu}, {exact} of {scale}");
            }
        }
        assert_ne!(bits(&first)[0], bits(&exact)[0]);
    };
    run();
    #[cfg(feature = "cuda")]
    oncograph_nn::cuda::without_cudnn(run);
}

#[test]
fn convolutions_and_their_gradients() {
    let with = |x: &[usize], w: &[usize], config: Conv3dConfig| {
        let inputs = [pattern(x, 1).unwrap(), pattern(w, 2).unwrap(), pattern(&w[..1], 3).unwrap()];
        check(&inputs[..2], |t| conv3d(&t[0], &t[1], None, &config));
        check(&inputs, |t| conv3d(&t[0], &t[1], Some(&t[2]), &config));
    };
    with(&[2, 3, 4, 5, 6], &[4, 3, 3, 3, 3], Conv3dConfig::new().padding([1; 3]));
    with(&[1, 2, 5, 7, 6], &[3, 2, 3, 2, 1], Conv3dConfig::new().stride([2, 1, 3]).padding([1, 0, 2]));
    with(&[2, 4, 5, 6, 7], &[6, 2, 2, 3, 2], Conv3dConfig::new().dilation([2, 1, 3]).groups(2));
    with(&[2, 5, 3, 4, 5], &[7, 5, 1, 1, 1], Conv3dConfig::new());
    // Enough channels for Winograd's kernels in f32.
    with(&[1, 17, 4, 6, 6], &[18, 17, 3, 3, 3], Conv3dConfig::new().padding([1; 3]));
}

#[test]
fn transposed_convolutions() {
    let inputs = |x: &[usize], w: &[usize], channels: usize| {
        [pattern(x, 1).unwrap(), pattern(w, 2).unwrap(), pattern(&[channels], 3).unwrap()]
    };
    let odd =
        ConvTranspose3dConfig::new().stride([2; 3]).padding([1, 0, 1]).output_padding([1, 0, 1]).groups(2);
    check(&inputs(&[1, 4, 3, 2, 3], &[4, 3, 3, 2, 3], 6), |t| {
        conv_transpose3d(&t[0], &t[1], Some(&t[2]), &odd)
    });
    // An output that the convolution back does not reach, which cuDNN does not take.
    let far = ConvTranspose3dConfig::new().dilation([3; 3]).output_padding([2, 1, 0]);
    check(&inputs(&[2, 2, 2, 3, 2], &[2, 2, 2, 2, 2], 2)[..2], |t| {
        conv_transpose3d(&t[0], &t[1], None, &far)
    });
}

#[test]
fn special_values_come_through_and_f64_stays() {
    let subnormal = f32::from_bits(0x800b_0001);
    let values = [f32::NAN, f32::INFINITY, subnormal, 1.0 + 1.0 / 256.0, 1.0 + 3.0 / 256.0, 3.4e38, 0.0];
    let subnormal = f32::from_bits(0x800b_0000);
    let rounded = [f32::NAN, f32::INFINITY, subnormal, 1.0, 1.0 + 4.0 / 256.0, f32::INFINITY, 0.0];
    let run = || {
        let x = Tensor::new(&values, &device()).unwrap().reshape((7, 1, 1, 1, 1)).unwrap();
        let one = Tensor::ones((1, 1, 1, 1, 1), DType::F32, &device()).unwrap();
        let config = Conv3dConfig::new();
        let y = with_precision(Precision::Bf16, || conv3d(&x, &one, None, &config)).unwrap();
        for (y, expected) in y.flatten_all().unwrap().to_vec1::<f32>().unwrap().iter().zip(rounded) {
            assert!(*y == expected || y.is_nan() && expected.is_nan(), "{y:e}, {expected:e}");
        }
        let wide = Tensor::full(1.003f64, (1, 1, 1, 1, 1), &device()).unwrap();
        let y = with_precision(Precision::Bf16, || conv3d(&wide, &wide, None, &config)).unwrap();
        assert_eq!(y.flatten_all().unwrap().to_vec1::<f64>().unwrap(), [1.003 * 1.003]);
        let none = Tensor::zeros((0, 1, 2, 2, 2), DType::F32, &device()).unwrap();
        let y = with_precision(Precision::Bf16, || conv3d(&none, &one, None, &config)).unwrap();
        assert_eq!(y.dims(), [0, 1, 2, 2, 2]);
    };
    run();
    #[cfg(feature = "cuda")]
    oncograph_nn::cuda::without_cudnn(run);
}

/// In one test: the switch belongs to the process.
#[cfg(feature = "cuda")]
#[test]
fn products_of_matrices_are_of_tf32_as_long_as_a_thread_wants_it() {
    use candle_core::cuda_backend::gemm_reduced_precision_f32 as tf32;
    with_precision(Precision::Tf32, || {
        assert!(tf32());
        let inner = std::thread::spawn(|| with_precision(Precision::Bf16, tf32)).join().unwrap();
        assert!(inner && tf32());
    });
}
