use super::fused::Rule;
use super::*;
use crate::Seed;
use crate::testing::{device, pattern};
use candle_core::DType;

fn every_optimizer() -> Vec<Box<dyn Optimizer>> {
    vec![
        Box::new(AdamW::new(AdamWConfig::new(0.05)).unwrap()),
        Box::new(Adam::new(AdamConfig::new(0.05).weight_decay(0.1).amsgrad(true)).unwrap()),
        Box::new(Sgd::new(SgdConfig::new(0.02).momentum(0.9).nesterov(true)).unwrap()),
        Box::new(RmsProp::new(RmsPropConfig::new(0.01).momentum(0.5).centered(true)).unwrap()),
    ]
}

fn store(dtype: DType, n: usize) -> (ParamStore, Tensor) {
    let store = ParamStore::new(Seed::new(3));
    let vb = store.var_builder(dtype, &device());
    let init = candle_nn::Init::Uniform { lo: -1.0, up: 1.0 };
    vb.get_with_hints(n, "unused", init).unwrap();
    let w = vb.get_with_hints(n, "w", init).unwrap();
    (store, w)
}

fn train(optimizer: &mut dyn Optimizer, store: &ParamStore, w: &Tensor, steps: usize) {
    let target = pattern(w.dims(), 9).unwrap().to_dtype(w.dtype()).unwrap();
    for _ in 0..steps {
        let loss = (w - &target).unwrap().sqr().unwrap().sum_all().unwrap();
        optimizer.step(store, &store.backward(&loss).unwrap()).unwrap();
    }
}

fn bits(store: &ParamStore, name: &str) -> Vec<u64> {
    let values = store.get(name).unwrap().to_dtype(DType::F64).unwrap().to_vec1::<f64>().unwrap();
    values.into_iter().map(f64::to_bits).collect()
}

#[test]
fn the_first_steps_by_hand() {
    let one = |optimizer: &mut dyn Optimizer| {
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F64, &device());
        let w = vb.get_with_hints(1, "w", candle_nn::Init::Const(2.0)).unwrap();
        optimizer.step(&store, &store.backward(&(w * 3.0).unwrap().sum_all().unwrap()).unwrap()).unwrap();
        store.get("w").unwrap().to_vec1::<f64>().unwrap()[0]
    };
    // The first Adam step has length lr; AdamW shrinks by lr * decay before.
    let adam = one(&mut Adam::new(AdamConfig::new(0.1)).unwrap());
    approx::assert_relative_eq!(adam, 1.9, epsilon = 1e-8);
    let adamw = one(&mut AdamW::new(AdamWConfig::new(0.1).weight_decay(0.5)).unwrap());
    approx::assert_relative_eq!(adamw, 2.0 * 0.95 - 0.1, epsilon = 1e-8);
    let sgd = one(&mut Sgd::new(SgdConfig::new(0.1).weight_decay(0.5)).unwrap());
    approx::assert_relative_eq!(sgd, 2.0 - 0.1 * (3.0 + 0.5 * 2.0), epsilon = 1e-12);
    let rms = one(&mut RmsProp::new(RmsPropConfig::new(0.1)).unwrap());
    approx::assert_relative_eq!(rms, 2.0 - 0.1 * 3.0 / (0.3 + 1e-8), epsilon = 1e-12);
}

#[test]
fn resuming_from_a_saved_state_gives_the_same_bits() {
    for (mut full, mut resumed) in every_optimizer().into_iter().zip(every_optimizer()) {
        for dtype in [DType::F32, DType::F64] {
            let ((a, wa), (b, wb)) = (store(dtype, 40), store(dtype, 40));
            train(full.as_mut(), &a, &wa, 3);
            b.restore(&a.snapshot().unwrap()).unwrap();
            resumed.load_state(&full.state().unwrap()).unwrap();
            train(full.as_mut(), &a, &wa, 3);
            train(resumed.as_mut(), &b, &wb, 3);
            assert_eq!(bits(&a, "w"), bits(&b, "w"));
        }
    }
}

#[test]
fn a_parameter_without_gradient_is_left_alone() {
    for mut optimizer in every_optimizer() {
        let (store, w) = store(DType::F32, 4);
        let before = (bits(&store, "unused"), bits(&store, "w"));
        train(optimizer.as_mut(), &store, &w, 2);
        assert_eq!(bits(&store, "unused"), before.0);
        assert_ne!(bits(&store, "w"), before.1);
        assert!(!optimizer.state().unwrap().keys().any(|k| k.ends_with(".unused")));
    }
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let run = |threads, which: usize| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let (store, w) = store(DType::F32, 50_000);
            train(every_optimizer()[which].as_mut(), &store, &w, 3);
            bits(&store, "w")
        })
    };
    for which in 0..4 {
        assert_eq!(run(1, which), run(3, which));
    }
}

fn fused_equals_tensors<R: Rule>(rule: R) {
    let mut tensors = vec![Tensor::zeros(30, DType::F64, &device()).unwrap(); rule.moments().len()];
    let mut plain = pattern(&[30], 1).unwrap();
    let mut slices = vec![vec![0f64; 30]; rule.moments().len()];
    let mut fused = plain.to_vec1::<f64>().unwrap();
    for step in 1..4 {
        let grad = pattern(&[30], 10 + step).unwrap();
        plain = rule.update_tensor(step, &plain, &grad, &mut tensors).unwrap();
        let mut moments: Vec<&mut [f64]> = slices.iter_mut().map(Vec::as_mut_slice).collect();
        rule.update(step, &mut fused, &grad.to_vec1::<f64>().unwrap(), &mut moments);
    }
    for (a, b) in plain.to_vec1::<f64>().unwrap().iter().zip(&fused) {
        approx::assert_relative_eq!(a, b, epsilon = 1e-12);
    }
}

#[test]
fn the_tensor_path_equals_the_fused_one() {
    fused_equals_tensors(AdamWConfig::new(0.1).amsgrad(true));
    fused_equals_tensors(AdamConfig::new(0.1).weight_decay(0.1));
    fused_equals_tensors(SgdConfig::new(0.1).momentum(0.9).dampening(0.2).weight_decay(0.1));
    fused_equals_tensors(SgdConfig::new(0.1).momentum(0.9).nesterov(true));
    fused_equals_tensors(RmsPropConfig::new(0.1).momentum(0.4).weight_decay(0.1));
    fused_equals_tensors(RmsPropConfig::new(0.1).centered(true));
}

#[test]
#[cfg_attr(feature = "cuda", ignore = "the stand-in for CUDA has no half precision")]
fn half_precision_parameters_take_the_tensor_path() {
    let (store, w) = store(DType::BF16, 8);
    let before = bits(&store, "w");
    train(&mut AdamW::new(AdamWConfig::new(0.1)).unwrap(), &store, &w, 2);
    assert_ne!(bits(&store, "w"), before);
}

#[test]
fn a_state_that_does_not_fit_is_refused() {
    let (store, w) = store(DType::F32, 4);
    let mut adam = AdamW::new(AdamWConfig::new(0.1)).unwrap();
    train(&mut adam, &store, &w, 1);
    let mut state = adam.state().unwrap();
    state.remove("exp_avg.w");
    state.insert("momentum_buffer.w".into(), w.copy().unwrap());
    let message = adam.load_state(&state).unwrap_err().to_string();
    assert!(message.contains(r#"missing ["exp_avg.w"], unexpected ["momentum_buffer.w"]"#), "{message}");
    // A state of other shapes is found out at the next step, before anything changes.
    let other = ParamStore::new(Seed::new(1));
    let v = other.var_builder(DType::F32, &device()).get(7, "w").unwrap();
    let before = bits(&other, "w");
    let grads = other.backward(&v.sqr().unwrap().sum_all().unwrap()).unwrap();
    assert!(adam.step(&other, &grads).unwrap_err().to_string().contains("AdamW"));
    assert_eq!(bits(&other, "w"), before);
}

#[test]
fn configurations_out_of_range_are_refused() {
    assert!(AdamW::new(AdamWConfig::new(-1.0)).is_err());
    assert!(Adam::new(AdamConfig::new(0.1).betas(1.0, 0.9)).is_err());
    assert!(Sgd::new(SgdConfig::new(0.1).nesterov(true)).is_err());
    assert!(RmsProp::new(RmsPropConfig::new(f64::NAN)).is_err());
}
