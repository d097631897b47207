//! The mutations: each a mistake that a careful person could make.

use crate::mutate::{Mutation, mutations};

/// All of them.
pub const MUTATIONS: &[Mutation] = mutations! {
    "GCN: no self loops", "crates/oncograph-gnn/src/gcn.rs",
        "if !(self.config.add_self_loops && self.config.normalize)" => "if true", "gcn_edge_weight";
    "GCN: the weight is transposed", "crates/oncograph-gnn/src/gcn.rs",
        "let mapped = source.matmul(&self.lin.weight().t()?)?;" => "let mapped = source.matmul(self.lin.weight())?;", "gcn_edge_weight";
    "SAGE: the root's term is missing", "crates/oncograph-nn/src/segment/propagate.rs",
        "matmul((count, features, out), x, Mat::rows(root, out), y, true);" => "let _ = root;", "sage_mean";
    "SAGE: the gradient of the root's matrix is lost", "crates/oncograph-nn/src/segment/propagate.rs",
        "matmul((out, count, features), dy.t(), x, droot, true);" => "let _ = &droot;", "sage_mean";
    "SAGE: sources are projected without ReLU", "crates/oncograph-gnn/src/sage.rs",
        "Some(lin) => oncograph_nn::relu(&lin.forward(source)?)?," => "Some(lin) => lin.forward(source)?,", "sage_mean_project";
    "Welch's test: variances over n (ddof swapped)", "crates/oncograph-metrics/src/hypothesis/welch.rs",
        "/ (n - 1.0) / n" => "/ n / n", "nonparametric";
    "Nelson-Aalen: deaths over those who survive the time", "crates/oncograph-metrics/src/survival/nelson_aalen.rs",
        "hazard += d / n;" => "hazard += d / (n - d).max(1.0);", "survival_ipcw";
    "Brier score: cases without their censoring weight", "crates/oncograph-metrics/src/survival/brier.rs",
        "sum += s * s * case_weight[i];" => "sum += s * s;", "survival_ipcw";
    "Cox loss: Efron's correction is missing", "crates/oncograph-losses/src/cox.rs",
        "let share = k as f64 / count as f64;" => "let share = 0.0 * k as f64;", "cox_";
    "InfoNCE: times the temperature", "crates/oncograph-losses/src/contrastive.rs",
        "/ temperature)?;\n    own_column(&logits, (0..n)" => "* temperature)?;\n    own_column(&logits, (0..n)", "info_nce";
    "NT-Xent: a view is its own negative", "crates/oncograph-losses/src/contrastive.rs",
        "let itself = -1000.0 - 2.0 / temperature;" => "let itself = 0.0 * temperature;", "nt_xent";
    "Grad-CAM: negative evidence is kept", "crates/oncograph-explain/src/grad_cam.rs",
        "Ok(if positive { relu(&cam)? } else { cam })" => "let _ = (positive, relu(&cam)?); Ok(cam)", "gradcam3d";
    "brain network encoder: the sum instead of the mean of regions", "crates/oncograph-brain/src/network_encoder.rs",
        "pool: Reduce::Mean," => "pool: Reduce::Sum,", "glioma_brainnet";
    "STG: the survival head's gradient stops at the recurrence", "crates/oncograph-spatiotemporal/src/model.rs",
        "if self.config.detach_cascade {" => "if true {", "stg_decoupled";
    "radius graph: the radius is not squared", "crates/oncograph-graph/src/geometry/radius.rs",
        "let limit = T::of(r * r);" => "let limit = T::of(r);", "radius_graph";
    "STG: no edges in time", "crates/oncograph-graph/src/graph.rs",
        "if chain {" => "if chain && steps == 0 {", "stg_unified";
    "batch norm: the running variance is the biased one (ddof swapped)", "crates/oncograph-nn/src/norm/batch_norm.rs",
        "let unbiased = count as f64 / (count as f64 - 1.0);" => "let unbiased = 1.0 + 0.0 * count as f64;", "batchnorm3d_train";
    "attention: logits are not scaled", "crates/oncograph-nn/src/attention.rs",
        "(split(&q)? * (1.0 / (width as f64).sqrt()))?" => "(split(&q)? * (1.0 + 0.0 * width as f64))?", "mha_self";
    "transformer: norms before instead of behind", "crates/oncograph-nn/src/transformer/encoder_layer.rs",
        "if self.config.norm_first {" => "if !self.config.norm_first {", "transformer_encoder_layer";
    "Adam: decay is decoupled", "crates/oncograph-nn/src/optim/adam.rs",
        "l2: if $decoupled { 0.0 } else { self.weight_decay }," => "l2: 0.0,", "optimizers";
    "SGD: Nesterov's step is the plain one", "crates/oncograph-nn/src/optim/sgd.rs",
        "*p -= lr * if self.nesterov { g + momentum * *b } else { *b };" => "*p -= lr * *b;", "optimizers";
};
