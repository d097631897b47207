use crate::{EdgeGate, Encoders, GliomaNetConfig, NoCross, NodeAttention, NodeHead};
use oncograph_losses::{BiLevelConfig, Denominator};

/// The networks of the rows of table 4: encoders, losses and attention.
pub fn published_variants(base: &GliomaNetConfig) -> Vec<(String, GliomaNetConfig)> {
    let set = |image, surface, network| Encoders { image, surface, network };
    let sets = [
        ("f^I", set(true, false, false)),
        ("f^P", set(false, true, false)),
        ("f^B", set(false, false, true)),
        ("f^I+f^P", set(true, true, false)),
        ("f^B+f^P", set(false, true, true)),
        ("f^I+f^B", set(true, false, true)),
    ];
    let mut rows = vec![];
    for (name, encoders) in sets {
        // Without L the cross entropy is all there is to learn from.
        rows.push((name.to_string(), base.clone().encoders(encoders).losses(None, 1.0)));
    }
    for (name, encoders) in &sets[3..] {
        rows.push((format!("{name}+L"), base.clone().encoders(*encoders)));
    }
    rows.push(("no attention".into(), base.clone().attention(false, false)));
    rows.push(("no L_multi".into(), base.clone().losses(None, 1.0)));
    rows.push(("full".into(), base.clone()));
    rows
}

/// The network with one decision changed at a time.
pub fn switched_variants(base: &GliomaNetConfig) -> Vec<(String, GliomaNetConfig)> {
    let include = BiLevelConfig::default().denominator(Denominator::IncludePositive);
    let unimodal = match base.unimodal > 0.0 {
        true => ("G-23: no loss on embeddings alone".into(), base.clone().unimodal(0.0)),
        false => ("G-23: embeddings alone learn, too".into(), base.clone().unimodal(1.0)),
    };
    vec![
        ("full".into(), base.clone()),
        ("no attention over tracts".into(), base.clone().attention(false, true)),
        ("no attention over regions".into(), base.clone().attention(true, false)),
        ("G-09: attention not scaled".into(), base.clone().points_attention(false, NoCross::One)),
        ("G-10: tracts without a crossing vanish".into(), base.clone().points_attention(true, NoCross::Zero)),
        ("G-11: messages gated".into(), base.clone().edge_gate(EdgeGate::Messages)),
        ("G-14: linear".into(), base.clone().node_weight(NodeHead::Linear, true, base.node_weight)),
        ("G-16: raw cosine".into(), base.clone().node_weight(NodeHead::Mlp, true, NodeAttention::Raw)),
        ("G-18: positive in the denominator".into(), base.clone().losses(Some(include), base.classification)),
        unimodal,
        ("G-23: contrastive loss alone".into(), base.clone().losses(Some(BiLevelConfig::default()), 0.0)),
    ]
}
