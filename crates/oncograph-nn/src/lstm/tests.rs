use super::*;
use crate::testing::{assert_gradient_coverage, check_gradients, device, pattern};
use crate::{ParamStore, Seed};

fn largest_gap(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap()
}

#[test]
fn the_kernel_equals_the_composed_recurrence() {
    // 19 sequences: more than one block of the kernel, the last one incomplete.
    let (time, batch, hidden) = (4, 19, 3);
    let gates = pattern(&[time, batch, 4 * hidden], 1).unwrap();
    let weight = pattern(&[4 * hidden, hidden], 2).unwrap();
    let state = pattern(&[2, batch, hidden], 3).unwrap();
    let lengths: Vec<usize> = (0..batch).map(|b| b % (time + 1)).collect();
    for reverse in [false, true] {
        for lengths in [None, Some(lengths.as_slice())] {
            let fused = cell::run(&gates, &weight, &state, lengths, reverse).unwrap();
            let plain = composed::run(&gates, &weight, &state, lengths, reverse).unwrap();
            assert!(largest_gap(&fused, &plain) < 1e-14);
        }
    }
}

#[test]
fn the_kernels_gradients_match_finite_differences() {
    let inputs =
        [pattern(&[3, 3, 8], 1).unwrap(), pattern(&[8, 2], 2).unwrap(), pattern(&[2, 3, 2], 3).unwrap()];
    for reverse in [false, true] {
        for lengths in [None, Some(&[3, 1, 0][..])] {
            check_gradients(|t| cell::run(&t[0], &t[1], &t[2], lengths, reverse), &inputs, 1e-6, 1e-8)
                .unwrap();
            check_gradients(|t| composed::run(&t[0], &t[1], &t[2], lengths, reverse), &inputs, 1e-6, 1e-8)
                .unwrap();
        }
    }
}

#[test]
fn every_parameter_gets_a_gradient() {
    let store = ParamStore::new(Seed::new(1));
    let vb = store.var_builder(DType::F64, &device());
    let lstm = LstmConfig::new(3, 4).num_layers(2).bidirectional(true).build(vb).unwrap();
    let x = pattern(&[2, 5, 3], 1).unwrap();
    let out = lstm.forward(&x).unwrap();
    let weights = pattern(&[2, 5, 8], 4).unwrap();
    assert_gradient_coverage(&store, &(out.output * weights).unwrap().sum_all().unwrap()).unwrap();
    assert_eq!(store.names().len(), 16);
    assert!(store.get("weight_hh_l1_reverse").is_some());
}

#[test]
fn a_padded_sequence_equals_the_short_one() {
    let store = ParamStore::new(Seed::new(1));
    let vb = store.var_builder(DType::F64, &device());
    let lstm = LstmConfig::new(3, 4).num_layers(2).bidirectional(true).build(vb).unwrap();
    let x = pattern(&[2, 5, 3], 1).unwrap();
    let padded = lstm.forward_with(&x, None, Some(&[2, 5])).unwrap();
    let short = lstm.forward(&x.narrow(0, 0, 1).unwrap().narrow(1, 0, 2).unwrap()).unwrap();
    let first = padded.output.narrow(0, 0, 1).unwrap();
    assert!(largest_gap(&first.narrow(1, 0, 2).unwrap(), &short.output) < 1e-14);
    assert_eq!(
        first.narrow(1, 2, 3).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap(),
        0.0
    );
    assert!(largest_gap(&padded.hidden.narrow(1, 0, 1).unwrap(), &short.hidden) < 1e-14);
    assert!(largest_gap(&padded.cell.narrow(1, 0, 1).unwrap(), &short.cell) < 1e-14);
}

#[test]
fn bits_do_not_depend_on_the_number_of_threads() {
    let inputs =
        [pattern(&[5, 50, 16], 1).unwrap(), pattern(&[16, 4], 2).unwrap(), pattern(&[2, 50, 4], 3).unwrap()];
    let run = |threads| {
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
        pool.install(|| {
            let vars: Vec<_> = inputs.iter().map(|t| candle_core::Var::from_tensor(t).unwrap()).collect();
            let y = cell::run(&vars[0], &vars[1], &vars[2], None, false).unwrap();
            let grads = y.sqr().unwrap().sum_all().unwrap().backward().unwrap();
            let mut all = y.flatten_all().unwrap().to_vec1::<f64>().unwrap();
            vars.iter().for_each(|v| {
                all.extend(grads.get(v).unwrap().flatten_all().unwrap().to_vec1::<f64>().unwrap())
            });
            all
        })
    };
    assert_eq!(run(1), run(4));
}

#[test]
fn wrong_lengths_and_widths_are_refused() {
    let store = ParamStore::new(Seed::new(1));
    let lstm = LstmConfig::new(3, 4).build(store.var_builder(DType::F64, &device())).unwrap();
    let x = pattern(&[2, 5, 3], 1).unwrap();
    let error = lstm.forward_with(&x, None, Some(&[6, 1])).unwrap_err().to_string();
    assert_eq!(error, "Lstm lengths: expected 2 numbers up to 5, got [6, 1]");
    assert!(lstm.forward(&pattern(&[2, 5, 4], 1).unwrap()).is_err());
    assert!(LstmConfig::new(3, 0).validate().is_err());
}

#[test]
fn a_projection_is_applied_at_every_step() {
    let store = ParamStore::new(Seed::new(1));
    let vb = store.var_builder(DType::F64, &device());
    let config = LstmConfig::new(3, 4).num_layers(2).bidirectional(true).proj_size(2);
    let lstm = config.build(vb.pp("a")).unwrap();
    let x = pattern(&[2, 5, 3], 1).unwrap();
    let out = lstm.forward_with(&x, None, Some(&[2, 5])).unwrap();
    assert_eq!(
        (out.output.dims(), out.hidden.dims(), out.cell.dims()),
        (&[2, 5, 4][..], &[4, 2, 2][..], &[4, 2, 4][..])
    );
    let weights = pattern(&[2, 5, 4], 4).unwrap();
    let loss = (&out.output * weights).unwrap().sum_all().unwrap();
    let grads = store.backward(&loss).unwrap();
    assert_eq!(grads.len(), store.trainable().len());
    let state = [pattern(&[4, 2, 2], 5).unwrap(), pattern(&[4, 2, 4], 6).unwrap()];
    let run = |t: &[Tensor]| {
        let out = lstm.forward_with(&t[0], Some((&t[1], &t[2])), Some(&[2, 5]))?;
        Ok(Tensor::cat(&[out.output.flatten_all()?, out.hidden.flatten_all()?, out.cell.flatten_all()?], 0)?)
    };
    check_gradients(run, &[x.clone(), state[0].clone(), state[1].clone()], 1e-6, 1e-7).unwrap();
    let short = lstm.forward(&x.narrow(0, 0, 1).unwrap().narrow(1, 0, 2).unwrap()).unwrap();
    let first = out.output.narrow(0, 0, 1).unwrap().narrow(1, 0, 2).unwrap();
    assert!(largest_gap(&first, &short.output) < 1e-14);
    // From a state of zeros the first step does not see the recurrent weight: it is the plain one, projected.
    let one = LstmConfig::new(3, 4).proj_size(2).build(vb.pp("b")).unwrap();
    let plain = LstmConfig::new(3, 4).build(vb.pp("c")).unwrap();
    for name in ["weight_ih_l0", "bias_ih_l0", "bias_hh_l0"] {
        let from = store.get(&format!("b.{name}")).unwrap();
        store.get(&format!("c.{name}")).unwrap().set(&from.copy().unwrap()).unwrap();
    }
    let step = x.narrow(1, 0, 1).unwrap().contiguous().unwrap();
    let projection = store.get("b.weight_hr_l0").unwrap().t().unwrap();
    let expected = plain.forward(&step).unwrap().output.squeeze(1).unwrap().matmul(&projection).unwrap();
    assert!(largest_gap(&one.forward(&step).unwrap().output.squeeze(1).unwrap(), &expected) < 1e-14);
    assert!(LstmConfig::new(3, 4).proj_size(4).validate().is_err());
}
