//! The layers of `oncograph-nn` against PyTorch: values, gradients and buffers.

use super::{Operation, Outcome};
use crate::fixture::{Fixture, unsupported};
use candle_core::{DType, Device, Tensor, Var};
use libtest_mimic::Failed;
use oncograph_nn::conv3d::*;
use oncograph_nn::lstm::LstmConfig;
use oncograph_nn::norm::{BatchNormConfig, GroupNormConfig, InstanceNormConfig};
use oncograph_nn::pool::*;
use oncograph_nn::transformer::*;
use oncograph_nn::{
    Activation, AttentionMasks, InterpolateConfig, InterpolateMode, Mode, MultiheadAttentionConfig,
    ParamStore, Seed, VarBuilder, interpolate,
};
use serde_json::Value;

/// The operations of this crate.
pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "conv3d",
        reference: "torch.nn.Conv3d",
        items: &["oncograph_nn::conv3d::Conv3d"],
        run: conv3d,
    },
    Operation {
        name: "conv_transpose3d",
        reference: "torch.nn.ConvTranspose3d",
        items: &["oncograph_nn::conv3d::ConvTranspose3d"],
        run: conv_transpose3d,
    },
    Operation {
        name: "interpolate",
        reference: "torch.nn.functional.interpolate",
        items: &["oncograph_nn::interpolate"],
        run: interpolated,
    },
    Operation {
        name: "mha",
        reference: "torch.nn.MultiheadAttention",
        items: &["oncograph_nn::MultiheadAttention"],
        run: attention,
    },
    Operation {
        name: "transformer_encoder_layer",
        reference: "torch.nn.TransformerEncoderLayer",
        items: &["oncograph_nn::transformer::TransformerEncoderLayer"],
        run: transformer,
    },
    Operation {
        name: "transformer_encoder",
        reference: "torch.nn.TransformerEncoder",
        items: &["oncograph_nn::transformer::TransformerEncoder"],
        run: transformer,
    },
    Operation {
        name: "max_pool3d",
        reference: "torch.nn.functional.max_pool3d",
        items: &["oncograph_nn::pool::max_pool3d", "oncograph_nn::pool::max_pool3d_with_indices"],
        run: |f| pool(f, max_pool3d),
    },
    Operation {
        name: "avg_pool3d",
        reference: "torch.nn.functional.avg_pool3d",
        items: &["oncograph_nn::pool::avg_pool3d"],
        run: |f| pool(f, avg_pool3d),
    },
    Operation {
        name: "adaptive_avg_pool3d",
        reference: "torch.nn.functional.adaptive_avg_pool3d",
        items: &["oncograph_nn::pool::adaptive_avg_pool3d"],
        run: |f| adaptive(f, adaptive_avg_pool3d),
    },
    Operation {
        name: "adaptive_max_pool3d",
        reference: "torch.nn.functional.adaptive_max_pool3d",
        items: &["oncograph_nn::pool::adaptive_max_pool3d"],
        run: |f| adaptive(f, adaptive_max_pool3d),
    },
    Operation {
        name: "batchnorm3d",
        reference: "torch.nn.BatchNorm3d",
        items: &["oncograph_nn::norm::BatchNorm"],
        run: batch_norm,
    },
    Operation {
        name: "batchnorm1d",
        reference: "torch.nn.BatchNorm1d",
        items: &["oncograph_nn::norm::BatchNorm"],
        run: batch_norm,
    },
    Operation {
        name: "batchnorm2d",
        reference: "torch.nn.BatchNorm2d",
        items: &["oncograph_nn::norm::BatchNorm"],
        run: batch_norm,
    },
    Operation {
        name: "groupnorm_instancenorm3d",
        reference: "torch.nn.GroupNorm, torch.nn.InstanceNorm3d",
        items: &["oncograph_nn::norm::GroupNorm", "oncograph_nn::norm::InstanceNorm"],
        run: group_and_instance_norm,
    },
    Operation { name: "lstm", reference: "torch.nn.LSTM", items: &["oncograph_nn::lstm::Lstm"], run: lstm },
];

/// A store of the type of the case's inputs.
fn store(f: &Fixture) -> (ParamStore, VarBuilder<'static>) {
    let store = ParamStore::new(Seed::new(0));
    let double = f.with_prefix("in.").values().any(|t| t.dtype() == DType::F64);
    let vb = store.var_builder(if double { DType::F64 } else { DType::F32 }, &Device::Cpu);
    (store, vb)
}

/// The first of several names of an option that the case uses.
fn named<'a>(f: &Fixture, names: &[&'a str]) -> &'a str {
    names.iter().find(|name| !f.option(name).is_null()).unwrap_or(&names[0])
}

fn conv3d(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let padding = f.option("padding").as_str();
    let conv = Conv3dConfig::new()
        .stride(f.triple("stride", 1)?)
        .padding(if padding.is_some() { [0; 3] } else { f.triple("padding", 0)? })
        .dilation(f.triple("dilation", 1)?)
        .groups(f.number("groups", 1.0) as usize);
    let same = match padding {
        Some("same") => true,
        None | Some("valid") => false,
        Some(other) => return Err(unsupported(format!("padding={other}"))),
    };
    let mode = f.text("padding_mode", "zeros");
    let mode: PaddingMode =
        serde_json::from_value(mode.into()).map_err(|_| unsupported(format!("padding_mode={mode}")))?;
    f.described_by_shapes(&["bias"]);
    let (cin, cout) = (named(f, &["cin", "in_channels"]), named(f, &["cout", "out_channels"]));
    let config = Conv3dLayerConfig::new(f.usize(cin)?, f.usize(cout)?, f.triple("kernel_size", 1)?);
    let config = config.conv(conv).padding_mode(mode).same_padding(same).bias(f.has("param.bias"));
    let layer = config.build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let x = f.var("in.x")?;
    f.check_all(&[("y", &layer.forward(&x)?)], &[("x", &x)], &store)
}

fn conv_transpose3d(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let mode = f.text("padding_mode", "zeros");
    if mode != "zeros" {
        return Err(unsupported(format!("padding_mode={mode}")));
    }
    let conv = ConvTranspose3dConfig::new()
        .stride(f.triple("stride", 1)?)
        .padding(f.triple("padding", 0)?)
        .output_padding(f.triple("output_padding", 0)?)
        .dilation(f.triple("dilation", 1)?)
        .groups(f.number("groups", 1.0) as usize);
    f.described_by_shapes(&["bias"]);
    let (cin, cout) = (named(f, &["cin", "in_channels"]), named(f, &["cout", "out_channels"]));
    let config = ConvTranspose3dLayerConfig::new(f.usize(cin)?, f.usize(cout)?, f.triple("kernel_size", 1)?);
    let layer = config.conv(conv).bias(f.has("param.bias")).build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let x = f.var("in.x")?;
    let y = match f.option("output_size") {
        Value::Null => layer.forward(&x)?,
        _ => layer.forward_to_size(&x, f.triple("output_size", 1)?)?,
    };
    f.check_all(&[("y", &y)], &[("x", &x)], &store)
}

/// A number or a list of them.
pub(super) fn list<T: serde::de::DeserializeOwned>(value: &Value) -> Result<Vec<T>, Failed> {
    let value = if value.is_array() { value.clone() } else { Value::Array(vec![value.clone()]) };
    Ok(serde_json::from_value(value)?)
}

fn interpolated(f: &Fixture) -> Outcome {
    let config = match (f.option("size"), f.option("scale_factor")) {
        (Value::Null, factor) => InterpolateConfig::by_factor(&list::<f64>(factor)?),
        (size, _) => InterpolateConfig::to_size(&list::<usize>(size)?),
    };
    let mode = f.text("mode", "nearest");
    let mode: InterpolateMode =
        serde_json::from_value(mode.into()).map_err(|_| unsupported(format!("mode={mode}")))?;
    if f.bool("antialias", false) {
        return Err(unsupported("antialias=true"));
    }
    let config = config.mode(mode).align_corners(f.bool("align_corners", false));
    let config = config.recompute_scale_factor(f.bool("recompute_scale_factor", false));
    let x = f.var("in.x")?;
    f.check_all(&[("y", &interpolate(&x, &config)?)], &[("x", &x)], &store(f).0)
}

fn attention(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let names = match f.has("in.q") {
        true => ["in.q", "in.k", if f.has("in.v") { "in.v" } else { "in.k" }],
        false => ["in.x"; 3],
    };
    let (embed, heads) = (named(f, &["E", "embed_dim"]), named(f, &["heads", "num_heads"]));
    let mut config = MultiheadAttentionConfig::new(f.usize(embed)?, f.usize(heads)?)
        .bias(f.has("param.in_proj_bias"))
        .add_bias_kv(f.has("param.bias_k"))
        .add_zero_attn(f.bool("add_zero_attn", false))
        .batch_first(f.bool("batch_first", true));
    if f.has("param.k_proj_weight") {
        let width = |name: &str| Ok::<_, Failed>(f.tensor(name)?.dims()[1]);
        config = config.kdim(width("param.k_proj_weight")?).vdim(width("param.v_proj_weight")?);
    }
    f.described_by_shapes(&["B", "L", "S", "bias", "cross", "kpm", "kdim", "vdim", "add_bias_kv"]);
    refuse_dropout(f)?;
    let layer = config.build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let mut vars: Vec<(&str, Var)> = Vec::new();
    for name in names {
        if !vars.iter().any(|(known, _)| *known == name) {
            vars.push((name, f.var(name)?));
        }
    }
    let get = |name: &str| vars.iter().find(|(n, _)| *n == name).map(|(_, v)| v.as_tensor());
    let [q, k, v] = names.map(|name| get(name).ok_or("no input"));
    let causal = f.bool("causal", false) | f.bool("is_causal", false);
    let masks = masks(f, ["in.attn_mask", "in.key_padding_mask"], causal)?;
    let out = layer.forward(q?, k?, v?, &masks, Mode::Eval)?;
    let average = f.bool("average_attn_weights", true);
    let weights = if average { out.average_weights()? } else { out.weights.clone() };
    f.bool("need_weights", true);
    let inputs: Vec<(&str, &Var)> = vars.iter().map(|(n, v)| (&n[3..], v)).collect();
    let mut outputs = vec![("y", &out.output)];
    if f.has("out.w") {
        outputs.push(("w", &weights));
    }
    f.check_all(&outputs, &inputs, &store)
}

/// The masks of a case; `causal` alone makes one where the case holds none.
fn masks<'a>(
    f: &'a Fixture,
    [attention, padding]: [&str; 2],
    causal: bool,
) -> Result<AttentionMasks<'a>, Failed> {
    let given = |name: &str| f.has(name).then(|| f.tensor(name)).transpose();
    let masks = AttentionMasks::none().attention(given(attention)?).key_padding(given(padding)?);
    Ok(masks.causal(causal && !f.has(attention)))
}

fn refuse_dropout(f: &Fixture) -> Outcome {
    match f.number("dropout", 0.0) {
        0.0 => Ok(()),
        _ if f.option("train").as_bool() == Some(false) => Ok(()),
        p => Err(unsupported(format!("dropout={p} in training: another generator"))),
    }
}

fn transformer(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let (model, heads) = (named(f, &["E", "d_model"]), named(f, &["heads", "nhead"]));
    let activation = match f.text("activation", "relu") {
        "relu" => Activation::Relu,
        "gelu" => Activation::Gelu,
        other => return Err(unsupported(format!("activation={other}"))),
    };
    let hidden = f.number(named(f, &["ff", "dim_feedforward"]), 2048.0) as usize;
    let layers = f.with_prefix("param.layers.");
    let first = if layers.is_empty() { "param." } else { "param.layers.0." };
    let config = TransformerEncoderLayerConfig::new(f.usize(model)?, f.usize(heads)?)
        .dim_feedforward(hidden)
        .dropout(0.0)
        .activation(activation)
        .layer_norm_eps(f.number(named(f, &["layer_norm_eps", "eps"]), 1e-5))
        .norm_first(f.bool("norm_first", false))
        .batch_first(f.bool("batch_first", true))
        .bias(f.has(&format!("{first}linear1.bias")));
    f.described_by_shapes(&["B", "L", "bias", "num_layers", "norm", "kpm", "mask"]);
    refuse_dropout(f)?;
    let causal = f.bool("causal", false) | f.bool("is_causal", false);
    let mask = ["in.src_mask", "in.attn_mask", "in.mask"].into_iter().find(|name| f.has(name));
    let masks = masks(f, [mask.unwrap_or("in.src_mask"), "in.src_key_padding_mask"], causal)?;
    let x = f.var(if f.has("in.x") { "in.x" } else { "in.src" })?;
    let y = if layers.is_empty() {
        let layer = config.build(vb)?;
        store.restore(&f.with_prefix("param."))?;
        layer.forward(&x, &masks, Mode::Eval)?
    } else {
        let depth = layers.keys().filter_map(|k| k.split('.').next()?.parse::<usize>().ok()).max();
        let stack = TransformerEncoderConfig::new(config, depth.map_or(1, |last| last + 1));
        let stack = stack.norm(f.has("param.norm.weight")).build(vb)?;
        store.restore(&f.with_prefix("param."))?;
        stack.forward(&x, &masks, Mode::Eval)?
    };
    f.check_all(&[("y", &y)], &[(if f.has("in.x") { "x" } else { "src" }, &x)], &store)
}

fn pool(f: &Fixture, run: fn(&Tensor, &Pool3dConfig) -> oncograph_nn::Result<Tensor>) -> Outcome {
    let kernel = f.triple(named(f, &["k", "kernel_size"]), 1)?;
    let stride = named(f, &["s", "stride"]);
    let stride = if f.option(stride).is_null() { kernel } else { f.triple(stride, 1)? };
    let config = Pool3dConfig::new(kernel)
        .stride(stride)
        .padding(f.triple(named(f, &["p", "padding"]), 0)?)
        .dilation(f.triple(named(f, &["d", "dilation"]), 1)?)
        .ceil_mode(f.bool("ceil_mode", false))
        .count_include_pad(f.bool("count_include_pad", true))
        .divisor_override(f.option("divisor_override").as_u64().map(|n| n as usize));
    f.described_by_shapes(&["return_indices"]);
    let x = f.var("in.x")?;
    if f.has("out.indices") {
        f.check("out.indices", &max_pool3d_with_indices(&x, &config)?.1)?;
    }
    f.check_all(&[("y", &run(&x, &config)?)], &[("x", &x)], &store(f).0)
}

fn adaptive(f: &Fixture, run: fn(&Tensor, [usize; 3]) -> oncograph_nn::Result<Tensor>) -> Outcome {
    let x = f.var("in.x")?;
    // `null` keeps the size of the input.
    let mut size = list::<Option<usize>>(f.option("output_size"))?;
    if size.len() == 1 {
        size = vec![size[0]; 3];
    }
    let size: Vec<usize> = size.iter().zip(&x.dims()[2..]).map(|(s, n)| s.unwrap_or(*n)).collect();
    let size: [usize; 3] = size.try_into().map_err(|_| "not three output sizes")?;
    f.described_by_shapes(&["return_indices"]);
    if f.has("out.indices") {
        f.check("out.indices", &adaptive_max_pool3d_with_indices(&x, size)?.1)?;
    }
    f.check_all(&[("y", &run(&x, size)?)], &[("x", &x)], &store(f).0)
}

fn batch_norm(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let x = f.var("in.x")?;
    let mut config = BatchNormConfig::new(x.dims()[1]).track_running_stats(f.has("param.running_mean"));
    // A momentum of null is a choice (the cumulative mean), an absent one the default.
    let options = f.options();
    const READ: [&str; 6] = ["momentum", "eps", "train", "affine", "track_running_stats", "num_features"];
    if let Some(other) =
        options.as_object().into_iter().flatten().map(|(k, _)| k).find(|k| !READ.contains(&k.as_str()))
    {
        return Err(unsupported(format!("option {other}")));
    }
    if let Some(momentum) = options.get("momentum") {
        config = config.momentum(momentum.as_f64());
    }
    if let Some(eps) = options["eps"].as_f64() {
        config = config.eps(eps);
    }
    let layer = config.affine(f.has("param.weight")).build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    let y = layer.forward(&x, f.bool("train", true))?;
    f.check_all(&[("y", &y)], &[("x", &x)], &store)?;
    f.check_buffers(&store)
}

fn group_and_instance_norm(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let channels = f.tensor("in.x")?.dims()[1];
    let groups = f.number(named(f, &["num_groups", "groups", "G"]), 2.0) as usize;
    let eps = f.number("eps", 1e-5);
    if f.bool("track_running_stats", false) {
        return Err(unsupported("track_running_stats=true of an instance norm"));
    }
    let group = GroupNormConfig::new(groups, channels).eps(eps).affine(f.has("param.gn.weight"));
    let instance = InstanceNormConfig::new(channels).eps(eps).affine(f.has("param.inn.weight"));
    let (group, instance) = (group.build(vb.pp("gn"))?, instance.build(vb.pp("inn"))?);
    f.described_by_shapes(&["affine", "channels", "C"]);
    store.restore(&f.with_prefix("param."))?;
    let x = f.var("in.x")?;
    f.check_all(&[("gn", &group.forward(&x)?), ("inn", &instance.forward(&x)?)], &[("x", &x)], &store)
}

fn lstm(f: &Fixture) -> Outcome {
    let (store, vb) = store(f);
    let layer = LstmConfig::new(f.usize("I")?, f.usize("H")?)
        .num_layers(f.number("num_layers", 1.0) as usize)
        .bidirectional(f.bool("bidirectional", false))
        .batch_first(f.bool("batch_first", false))
        .bias(f.has("param.bias_ih_l0"))
        .proj_size(f.number("proj_size", 0.0) as usize)
        .build(vb)?;
    store.restore(&f.with_prefix("param."))?;
    refuse_dropout(f)?;
    let lengths: Option<Vec<usize>> = serde_json::from_value(f.option("lengths").clone())?;
    f.described_by_shapes(&["B", "T", "bias", "enforce_sorted"]);
    let x = f.var("in.x")?;
    let state = if f.has("in.h0") { Some((f.var("in.h0")?, f.var("in.c0")?)) } else { None };
    let given = state.as_ref().map(|(h, c)| (h.as_tensor(), c.as_tensor()));
    let out = layer.forward_with(&x, given, lengths.as_deref())?;
    let mut inputs: Vec<(&str, &Var)> = vec![("x", &x)];
    if let Some((h, c)) = &state {
        inputs.extend([("h0", h), ("c0", c)]);
    }
    // A packed sequence comes back as long as its longest member.
    let time = usize::from(f.bool("batch_first", false));
    let y = out.output.narrow(time, 0, f.tensor("out.y")?.dims()[time].min(out.output.dims()[time]))?;
    f.check_all(&[("y", &y), ("hn", &out.hidden), ("cn", &out.cell)], &inputs, &store)
}
