//! The recurrence, both ways, with and without lengths and a first state.

use candle_core::{DType, Tensor};
use candle_nn::VarBuilder;
use oncograph_nn::Result;
use oncograph_nn::lstm::LstmConfig;
use oncograph_nn::testing::{check_devices, pattern};
use std::collections::HashMap;

/// Runs a layer whose weights are among the inputs, so that their gradients are compared, too.
fn run(config: &LstmConfig, t: &[Tensor], names: &[String], lengths: Option<&[usize]>) -> Result<Tensor> {
    let weights: HashMap<_, _> = names.iter().cloned().zip(t[1..].iter().cloned()).collect();
    let vb = VarBuilder::from_tensors(weights, t[0].dtype(), t[0].device());
    let out = config.build(vb)?.forward_with(&t[0], None, lengths)?;
    Ok(Tensor::cat(&[out.output.flatten_all()?, out.hidden.flatten_all()?, out.cell.flatten_all()?], 0)?)
}

fn check((batch, time, width): (usize, usize, usize), hidden: usize, lengths: Option<&[usize]>) {
    let config = LstmConfig::new(width, hidden).bidirectional(true);
    let mut inputs = vec![pattern(&[batch, time, width], 1).unwrap()];
    let mut names = vec![];
    for suffix in ["", "_reverse"] {
        let shapes = [("weight_ih", vec![4 * hidden, width]), ("weight_hh", vec![4 * hidden, hidden])];
        let biases = ["bias_ih", "bias_hh"].map(|name| (name, vec![4 * hidden]));
        for (name, shape) in shapes.into_iter().chain(biases) {
            inputs.push(pattern(&shape, names.len() as u64 + 2).unwrap());
            names.push(format!("{name}_l0{suffix}"));
        }
    }
    check_devices(&inputs, |t| run(&config, t, &names, lengths)).unwrap();
}

#[test]
fn sizes() {
    for (sizes, hidden) in [((1, 1, 1), 1), ((3, 5, 2), 4), ((19, 3, 7), 33)] {
        check(sizes, hidden, None);
    }
}

#[test]
fn lengths() {
    check((4, 5, 3), 6, Some(&[5, 0, 2, 1]));
}

#[test]
fn the_gradient_of_a_first_state() {
    let config = LstmConfig::new(2, 3);
    let store = oncograph_nn::ParamStore::new(oncograph_nn::Seed::new(1));
    let cpu = config.build(store.var_builder(DType::F64, &candle_core::Device::Cpu)).unwrap();
    drop(cpu);
    let inputs = [&[2, 4, 2][..], &[1, 2, 3], &[1, 2, 3]].map(|s| pattern(s, s[0] as u64).unwrap());
    check_devices(&inputs, |t| {
        let weights = store.names().into_iter().map(|name| {
            let value = store.get(&name).ok_or_else(|| candle_core::Error::Msg(name.clone()))?;
            Ok((name, value.to_dtype(t[0].dtype())?.to_device(t[0].device())?))
        });
        let weights = weights.collect::<candle_core::Result<HashMap<_, _>>>()?;
        let lstm = config.build(VarBuilder::from_tensors(weights, t[0].dtype(), t[0].device()))?;
        Ok(lstm.forward_with(&t[0], Some((&t[1], &t[2])), None)?.output)
    })
    .unwrap();
}
