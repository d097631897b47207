//! `oncograph-losses` against torch and the contrastive losses' formulae.

use super::{Operation, Outcome};
use crate::fixture::{Fixture, unsupported};
use candle_core::Tensor;
use oncograph_losses::{BinaryCrossEntropyOptions, CrossEntropyOptions, Reduction};
use oncograph_losses::{
    absolute_error, binary_cross_entropy, cross_entropy, huber, info_nce, info_nce_symmetric,
};
use oncograph_losses::{nt_xent, smooth_l1, squared_error};
use oncograph_nn::{ParamStore, Seed};

pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "losses_basic",
        reference: "torch.nn.functional.cross_entropy, binary_cross_entropy_with_logits, mse_loss, huber_loss, \
                    smooth_l1_loss, l1_loss",
        items: &[
            "oncograph_losses::cross_entropy",
            "oncograph_losses::binary_cross_entropy",
            "oncograph_losses::squared_error",
            "oncograph_losses::absolute_error",
            "oncograph_losses::huber",
            "oncograph_losses::smooth_l1",
        ],
        run: basic,
    },
    Operation {
        name: "info_nce",
        reference: "the loss of CLIP",
        items: &["oncograph_losses::info_nce", "oncograph_losses::info_nce_symmetric"],
        run: contrast,
    },
    Operation {
        name: "nt_xent",
        reference: "the loss of SimCLR, monai.losses.ContrastiveLoss",
        items: &["oncograph_losses::nt_xent"],
        run: normalised,
    },
];

fn basic(f: &Fixture) -> Outcome {
    let (logits, btarget) = (f.var("in.logits")?, f.var("in.btarget")?);
    let target: Vec<i64> = f.values("in.target")?.iter().map(|v| *v as i64).collect();
    let weights = if f.has("in.weight") { Some(f.values("in.weight")?) } else { None };
    let reduction = match f.text("reduction", "mean") {
        "mean" => Reduction::Mean,
        "sum" => Reduction::Sum,
        "none" => Reduction::None,
        other => return Err(unsupported(format_args!("reduction={other}"))),
    };
    let plain = CrossEntropyOptions::new().reduction(reduction);
    let mut weighted = plain.clone().label_smoothing(f.number("label_smoothing", 0.1));
    weighted.weight = weights;
    weighted.ignore_index = f.option("ignore_index").as_i64();
    let mut plain_binary = BinaryCrossEntropyOptions::new().reduction(reduction);
    if f.has("in.bweight") {
        plain_binary = plain_binary.weight(f.tensor("in.bweight")?.clone());
    }
    let mut outputs: Vec<(String, Tensor)> = Vec::new();
    for name in f.with_prefix("out.").into_keys() {
        let loss = match name.as_str() {
            "ce" => cross_entropy(&logits, &target, &plain)?,
            "ce_w" => cross_entropy(&logits, &target, &weighted)?,
            "bce" => binary_cross_entropy(&logits, &btarget, &plain_binary)?,
            "bce_pw" => {
                let options = plain_binary.clone().pos_weight(f.tensor("in.pos_weight")?.clone());
                binary_cross_entropy(&logits, &btarget, &options)?
            }
            "mse" => squared_error(&logits, &btarget, reduction)?,
            "l1" | "mae" => absolute_error(&logits, &btarget, reduction)?,
            // The peer's case is the smooth L1 loss with beta 0.5, which is Huber's over beta.
            "huber" if f.option("delta").is_null() => {
                smooth_l1(&logits, &btarget, f.number("beta", 0.5), reduction)?
            }
            "huber" => huber(&logits, &btarget, f.number("delta", 1.0), reduction)?,
            "smooth_l1" => smooth_l1(&logits, &btarget, f.number("beta", 1.0), reduction)?,
            other => return Err(unsupported(other)),
        };
        outputs.push((name, loss));
    }
    let outputs: Vec<(&str, &Tensor)> = outputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    f.check_all(&outputs, &[("logits", &logits), ("btarget", &btarget)], &ParamStore::new(Seed::new(0)))
}

fn contrast(f: &Fixture) -> Outcome {
    let (a, b, tau) = (f.var("in.a")?, f.var("in.b")?, f.number("tau", 0.07));
    let mut outputs: Vec<(String, Tensor)> = Vec::new();
    for name in f.with_prefix("out.").into_keys() {
        let loss = match name.as_str() {
            "symmetric" => info_nce_symmetric(&a, &b, tau)?,
            "a_to_b" => info_nce(&a, &b, tau)?,
            "b_to_a" => info_nce(&b, &a, tau)?,
            other => return Err(unsupported(other)),
        };
        outputs.push((name, loss));
    }
    let outputs: Vec<(&str, &Tensor)> = outputs.iter().map(|(n, t)| (n.as_str(), t)).collect();
    f.check_all(&outputs, &[("a", &a), ("b", &b)], &ParamStore::new(Seed::new(0)))
}

fn normalised(f: &Fixture) -> Outcome {
    let (a, b) = (f.var("in.z1")?, f.var("in.z2")?);
    let loss = nt_xent(&a, &b, f.number("tau", 0.5))?;
    // The peer computes this number in single precision.
    let value = loss.to_dtype(candle_core::DType::F64)?.to_scalar::<f64>()?;
    if let Ok(expected) = f.scalars("monai_contrastive_loss") {
        f.compare("scalars/monai_contrastive_loss", &[value], &expected, |e| 1e-5 * e.abs().max(1.0));
    }
    f.check_all(&[("y", &loss)], &[("z1", &a), ("z2", &b)], &ParamStore::new(Seed::new(0)))
}
