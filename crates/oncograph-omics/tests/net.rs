//! The network as a whole: the defects of the article's listing, and the checks of the specification's section 13.

#![allow(clippy::unwrap_used)]

use candle_core::{DType, Tensor, Var};
use oncograph_core::{FollowUp, Split};
use oncograph_nn::testing::{assert_gradient_coverage, check_gradients, device, pattern};
use oncograph_nn::{Mode, ParamStore, Seed};
use oncograph_omics::*;
use oncograph_study::Target;
use std::collections::BTreeMap;

/// Genes and proteins in one graph, proteins alone, laboratory values and images.
fn config() -> OmicsNetConfig {
    OmicsNetConfig::new(
        3,
        vec![
            NodeTypeConfig::diag("gene", 5),
            NodeTypeConfig::diag("protein", 4),
            NodeTypeConfig::diag("clinical_feature", 3),
            NodeTypeConfig::rows("imaging_feature", 6),
        ],
        vec![
            ModalityConfig::new("genomics", ["gene", "protein"]).pooled(["gene"]),
            ModalityConfig::new("proteomics", ["protein"]),
            ModalityConfig::new("clinical", ["clinical_feature"]),
            ModalityConfig::new("imaging", ["imaging_feature"]),
        ],
        vec![
            TaskConfig::new("survival", TaskKind::SurvivalCox),
            TaskConfig::new("response", TaskKind::Classes(3)),
            TaskConfig::new("toxicity", TaskKind::Labels(2)),
        ],
    )
    .hidden(8)
    .heads(2)
    .layers(2)
    .fusion(1, 12)
    .trunk(6)
}

fn edges() -> Vec<TypedEdges> {
    vec![
        TypedEdges::new("gene", "gene", vec![(0, 1), (2, 3)]),
        TypedEdges::new("gene", "protein", vec![(0, 0), (3, 2), (4, 3)]),
        TypedEdges::new("protein", "protein", vec![(0, 1), (1, 2)]),
        TypedEdges::new("clinical_feature", "clinical_feature", vec![(0, 2)]),
    ]
}

fn net(config: &OmicsNetConfig, dtype: DType) -> (ParamStore, OmicsNet, SharedGraphs) {
    let store = ParamStore::new(Seed::new(7));
    let net = config.build(store.var_builder(dtype, &device())).unwrap();
    (store, net, SharedGraphs::new(config, &edges()).unwrap())
}

/// Patient 0 has everything, 1 lacks proteins, 2 lacks genes and images, 3 has images only, 4 nothing.
fn whole() -> OmicsBatch {
    let owner = vec![0, 0, 1, 3, 3, 3];
    let edges = consecutive_edges(&owner);
    OmicsBatch::new(pattern(&[5, 3], 1).unwrap())
        .with_values("gene", pattern(&[5, 5], 2).unwrap(), vec![true, true, false, false, false])
        .with_values("protein", pattern(&[5, 4], 3).unwrap(), vec![true, false, true, false, false])
        .with_values("clinical_feature", pattern(&[5, 3], 4).unwrap(), vec![true, true, true, false, false])
        .with_rows("imaging_feature", pattern(&[6, 6], 5).unwrap(), owner, edges)
}

/// One patient of [`whole`].
fn single(batch: &OmicsBatch, p: usize) -> OmicsBatch {
    let mut one = OmicsBatch::new(batch.patient.narrow(0, p, 1).unwrap());
    for (name, nodes) in &batch.nodes {
        one = match nodes {
            Nodes::Values { values, present } => {
                one.with_values(name, values.narrow(0, p, 1).unwrap(), vec![present[p]])
            }
            Nodes::Rows { features, patient, .. } => {
                let at: Vec<usize> = (0..patient.len()).filter(|i| patient[*i] as usize == p).collect();
                if at.is_empty() {
                    continue;
                }
                let owner = vec![0; at.len()];
                let edges = consecutive_edges(&owner);
                one.with_rows(name, features.narrow(0, at[0], at.len()).unwrap(), owner, edges)
            }
        };
    }
    one
}

fn largest_difference(a: &Tensor, b: &Tensor) -> f64 {
    (a - b).unwrap().abs().unwrap().max_all().unwrap().to_scalar::<f64>().unwrap()
}

fn all_variants() -> Vec<OmicsNetConfig> {
    let base = config();
    let mut named = base.clone();
    named.node_types.iter_mut().take(3).for_each(|t| t.input = NodeInput::Named);
    vec![
        base.clone(),
        named,
        base.clone().fusion_tokens(FusionTokens::Set),
        base.clone().token_norm(TokenNorm::None),
        base.clone().token_norm(TokenNorm::Layer),
        base.clone().pooling(Pooling::Attention),
        base.clone().hetero_edges(HeteroEdges::Gat { threshold: 0.3 }),
        base.clone().ablate(Ablate { intra: true, inter: false }),
        base.ablate(Ablate { intra: false, inter: true }),
    ]
}

#[test]
fn the_literal_preset_has_5992068_parameters() {
    let store = ParamStore::new(Seed::new(1));
    OmicsNetConfig::literal().build(store.var_builder(DType::F32, &device())).unwrap();
    let count = |prefix: &str| {
        let those = store.trainable().into_iter().filter(|(n, _)| n.starts_with(prefix));
        those.map(|(_, v)| v.elem_count()).sum::<usize>()
    };
    assert_eq!(count("embeddings."), 947_968);
    assert_eq!(count("intra."), 801_792);
    assert_eq!(count("intra.proteomics."), 200_448);
    assert_eq!(count("inter."), 4_208_384);
    assert_eq!(count("inter.attention."), 263_168);
    assert_eq!(count("heads."), 33_924);
    assert_eq!(store.parameter_count(), 5_992_068);
}

#[test]
fn a_batch_equals_its_patients_one_by_one_in_every_variant() {
    for config in all_variants() {
        let (_, net, graphs) = net(&config, DType::F64);
        let batch = whole();
        let all = net.forward(&batch, &graphs, Mode::Eval).unwrap();
        for p in 0..batch.len() {
            let one = net.forward(&single(&batch, p), &graphs, Mode::Eval).unwrap();
            assert!(largest_difference(&all.z.narrow(0, p, 1).unwrap(), &one.z) < 1e-12, "{config:?}");
            for (task, x) in &one.tasks {
                assert!(largest_difference(&all.tasks[task].narrow(0, p, 1).unwrap(), x) < 1e-12);
            }
        }
    }
}

#[test]
fn absent_modalities_never_give_nan_and_importances_sum_to_one_over_present_ones() {
    for config in all_variants() {
        let (_, net, graphs) = net(&config, DType::F64);
        let out = net.forward(&whole(), &graphs, Mode::Eval).unwrap();
        for x in out.tasks.values().chain([&out.z]) {
            assert!(x.flatten_all().unwrap().to_vec1::<f64>().unwrap().iter().all(|v| v.is_finite()));
        }
        let Some(importance) = out.importance else { continue };
        let rows = importance.to_vec2::<f64>().unwrap();
        let present =
            [[true; 4], [true, false, true, true], [false, true, true, false], [false, false, false, true]];
        for (row, present) in rows.iter().zip(present) {
            assert!((row.iter().sum::<f64>() - 1.0).abs() < 1e-12, "{row:?}");
            assert!(row.iter().zip(present).all(|(v, p)| (*v > 0.0) == p), "{row:?}");
        }
        assert_eq!(rows[4], [0.0; 4]);
    }
}

#[test]
fn what_an_absent_modality_would_have_held_does_not_matter() {
    let (_, net, graphs) = net(&config(), DType::F64);
    let batch = whole();
    let mut other = batch.clone();
    if let Some(Nodes::Values { values, .. }) = other.nodes.get_mut("protein") {
        let mut rows = values.to_vec2::<f64>().unwrap();
        rows[1] = vec![1e6; 4];
        *values = Tensor::new(rows, &device()).unwrap();
    }
    let (a, b) = (net.forward(&batch, &graphs, Mode::Eval), net.forward(&other, &graphs, Mode::Eval));
    assert_eq!(largest_difference(&a.unwrap().z, &b.unwrap().z), 0.0);
}

#[test]
fn the_order_of_nodes_does_not_matter() {
    let (store, net, graphs) = net(&config(), DType::F64);
    let batch = whole();
    let before = net.forward(&batch, &graphs, Mode::Eval).unwrap().z;
    // Position i of the new order holds gene order[i].
    let order = [3usize, 0, 4, 1, 2];
    let index = Tensor::new(&order.map(|o| o as u32), &device()).unwrap();
    let weight = store.get("embeddings.gene.weight").unwrap();
    weight.set(&weight.index_select(&index, 1).unwrap()).unwrap();
    let mut other = batch.clone();
    if let Some(Nodes::Values { values, .. }) = other.nodes.get_mut("gene") {
        *values = values.index_select(&index, 1).unwrap();
    }
    let place = |g: u32| order.iter().position(|o| *o == g as usize).unwrap() as u32;
    let mut moved = edges();
    moved[0].pairs.iter_mut().for_each(|p| *p = (place(p.0), place(p.1)));
    moved[1].pairs.iter_mut().for_each(|p| p.0 = place(p.0));
    let graphs = SharedGraphs::new(&config(), &moved).unwrap();
    let after = net.forward(&other, &graphs, Mode::Eval).unwrap().z;
    assert!(largest_difference(&before, &after) < 1e-12);
}

#[test]
fn gradients_reach_every_parameter_of_every_variant() {
    for config in all_variants() {
        let (store, net, graphs) = net(&config, DType::F64);
        let out = net.forward(&whole(), &graphs, Mode::Eval).unwrap();
        let loss =
            out.tasks.values().map(|x| (x * pattern(x.dims(), 9).unwrap()).unwrap().sum_all().unwrap());
        let loss = loss.reduce(|a, b| (a + b).unwrap()).unwrap();
        assert_gradient_coverage(&store, &loss).unwrap();
    }
}

#[test]
fn defect_1_and_2_every_edge_type_is_used() {
    let (_, net, _) = net(&config(), DType::F64);
    let z = |edges: &[TypedEdges]| {
        let graphs = SharedGraphs::new(&config(), edges).unwrap();
        net.forward(&whole(), &graphs, Mode::Eval).unwrap().z
    };
    let all = z(&edges());
    for left_out in 0..4 {
        let mut fewer = edges();
        fewer.remove(left_out);
        assert!(largest_difference(&all, &z(&fewer)) > 1e-9, "edges {left_out} change nothing");
    }
    let mut unlinked = whole();
    if let Some(Nodes::Rows { edges, .. }) = unlinked.nodes.get_mut("imaging_feature") {
        edges.clear();
    }
    let graphs = SharedGraphs::new(&config(), &edges()).unwrap();
    let without = net.forward(&unlinked, &graphs, Mode::Eval).unwrap().z;
    assert!(largest_difference(&all, &without) > 1e-9, "spatial_adjacent changes nothing");
    // has_gene, has_protein, has_clinical and has_imaging: the patient attends to its nodes (M-05).
    let joined = config().hetero_edges(HeteroEdges::Gat { threshold: 0.3 });
    let (store, _, _) = self::net(&joined, DType::F64);
    for name in ["genomics", "proteomics", "clinical", "imaging"] {
        assert!(store.get(&format!("hetero.{name}.lin_src.weight")).is_some());
    }
}

#[test]
fn defect_4_the_proteomics_module_is_called_and_importances_are_of_what_is_called() {
    let (store, net, graphs) = net(&config(), DType::F64);
    let out = net.forward(&whole(), &graphs, Mode::Eval).unwrap();
    assert_eq!(out.importance.unwrap().dims(), [5, 4]);
    let gradients = store.backward(&out.z.sqr().unwrap().sum_all().unwrap()).unwrap();
    assert!(gradients.get("intra.proteomics.convs.0.lin.weight").is_some());
    let store = ParamStore::new(Seed::new(1));
    let literal = OmicsNetConfig::literal().hidden(8);
    let literal = literal.build(store.var_builder(DType::F32, &device())).unwrap();
    assert_eq!(literal.config().active().count(), 3);
}

#[test]
fn defect_5_patients_keep_their_own_rows() {
    let (_, net, graphs) = net(&config(), DType::F64);
    let out = net.forward(&whole(), &graphs, Mode::Eval).unwrap();
    assert_eq!(out.z.dims(), [5, 8]);
    let (a, b) = (out.z.narrow(0, 0, 1).unwrap(), out.z.narrow(0, 1, 1).unwrap());
    assert!(largest_difference(&a, &b) > 1e-6);
}

#[test]
fn defect_6_several_tokens_let_modalities_reach_the_fusion_and_one_cannot() {
    // With W_v = 0 the query gathers nothing: a single token then receives nothing from the modalities, a set does.
    let sees = |tokens: FusionTokens| {
        let config = config().fusion_tokens(tokens);
        let (store, net, graphs) = net(&config, DType::F64);
        let packed = store.get("inter.attention.in_proj_weight").unwrap();
        let mut rows = packed.to_vec2::<f64>().unwrap();
        rows[16..].iter_mut().for_each(|row| row.fill(0.0));
        packed.set(&Tensor::new(rows, &device()).unwrap()).unwrap();
        let with = net.forward(&whole(), &graphs, Mode::Eval).unwrap().z;
        let without = net.forward(&whole().without(&["clinical_feature"]), &graphs, Mode::Eval).unwrap().z;
        largest_difference(&with, &without) > 1e-9
    };
    assert!(sees(FusionTokens::Set));
    assert!(!sees(FusionTokens::Single));
}

#[test]
fn defect_7_every_task_has_outputs_of_its_own_for_every_patient() {
    let (_, net, graphs) = net(&config(), DType::F64);
    let out = net.forward(&whole(), &graphs, Mode::Eval).unwrap();
    let dims = |t: &str| out.tasks[t].dims().to_vec();
    assert_eq!((dims("survival"), dims("response"), dims("toxicity")), (vec![5, 1], vec![5, 3], vec![5, 2]));
    let store = ParamStore::new(Seed::new(1));
    let mut literal = OmicsNetConfig::literal().quick();
    literal.head = HeadKind::Joint;
    literal.build(store.var_builder(DType::F32, &device())).unwrap();
    assert_eq!(store.get("heads.classifier.weight").unwrap().dims(), [4, 32]);
}

#[test]
fn defect_8_the_contrast_is_on_z_and_its_view_keeps_node_types_apart() {
    let (store, net, graphs) = net(&config(), DType::F32);
    let vb = store.var_builder(DType::F32, &device());
    let contrast = Contrast::new(&ContrastConfig::default(), 8, vb).unwrap();
    let f32s = |batch: OmicsBatch| {
        let mut batch = batch;
        batch.patient = batch.patient.to_dtype(DType::F32).unwrap();
        for nodes in batch.nodes.values_mut() {
            match nodes {
                Nodes::Values { values: x, .. } | Nodes::Rows { features: x, .. } => {
                    *x = x.to_dtype(DType::F32).unwrap()
                }
            }
        }
        batch
    };
    let batch = f32s(whole());
    let (view, thinned) = contrast.config().view(&batch, &graphs, Seed::new(3)).unwrap();
    assert_eq!(view.nodes.keys().collect::<Vec<_>>(), batch.nodes.keys().collect::<Vec<_>>());
    assert_eq!(view.present("protein"), batch.present("protein"));
    let a = net.forward(&batch, &graphs, Mode::Eval).unwrap();
    let b = net.forward(&view, &thinned, Mode::Eval).unwrap();
    let loss = contrast.loss(&a.z, &b.z).unwrap();
    assert!(store.backward(&loss).unwrap().get("embeddings.gene.weight").is_some());
    // The logits have another width than the projection.
    assert!(contrast.loss(&a.tasks["response"], &b.tasks["response"]).is_err());
}

#[test]
fn defect_10_the_gradient_of_an_output_is_asked_of_the_gene_tensor() {
    let (_, net, graphs) = net(&config(), DType::F64);
    let genes = Var::from_tensor(&pattern(&[5, 5], 2).unwrap()).unwrap();
    let mut batch = whole();
    if let Some(Nodes::Values { values, .. }) = batch.nodes.get_mut("gene") {
        *values = genes.as_tensor().clone();
    }
    let out = net.forward(&batch, &graphs, Mode::Eval).unwrap();
    let gradient = out.tasks["survival"].sum_all().unwrap().backward().unwrap();
    let gradient = gradient.get(&genes).unwrap().to_vec2::<f64>().unwrap();
    assert!(gradient[0].iter().all(|v| *v != 0.0) && gradient[2] == vec![0.0; 5]);
    let f = |x: &[Tensor]| {
        let mut batch = whole();
        if let Some(Nodes::Values { values, .. }) = batch.nodes.get_mut("gene") {
            *values = x[0].clone();
        }
        let out = net.forward(&batch, &graphs, Mode::Eval).map_err(candle_core::Error::wrap)?;
        Ok(out.tasks["survival"].clone())
    };
    check_gradients(f, &[pattern(&[5, 5], 2).unwrap()], 1e-5, 1e-6).unwrap();
}

#[test]
fn training_learns_a_planted_signal_and_repeats_its_bits() {
    use oncograph_nn::optim::AdamWConfig;
    use oncograph_train::{FitConfig, OptimizerConfig, StopFlag, fit};
    let config = OmicsNetConfig::new(
        1,
        vec![NodeTypeConfig::diag("gene", 6)],
        vec![ModalityConfig::new("genomics", ["gene"])],
        vec![
            TaskConfig::new("survival", TaskKind::SurvivalCox),
            TaskConfig::new("class", TaskKind::Classes(2)),
        ],
    )
    .quick();
    let n = 60;
    let genes: Vec<Vec<f32>> = pattern(&[n, 6], 8).unwrap().to_dtype(DType::F32).unwrap().to_vec2().unwrap();
    let time = |g: &Vec<f32>| FollowUp::years((-2.0 * g[1]).exp() as f64, g[2] > -0.8).unwrap();
    let times = genes.iter().map(|g| Some(time(g))).collect();
    let classes =
        genes.iter().enumerate().map(|(i, g)| (i % 4 > 0).then_some(usize::from(g[0] > 0.0))).collect();
    let names = ["low", "high"].map(String::from).to_vec();
    let targets = BTreeMap::from([
        ("survival".to_string(), Target::Survival(times)),
        ("class".to_string(), Target::Classes { names, classes }),
    ]);
    let rows: Vec<_> = genes.iter().cloned().map(Some).collect();
    let cohort = MemoryCohort::new(&vec![vec![1.0]; n], &device()).unwrap().with("gene", &rows).unwrap();
    let graphs =
        SharedGraphs::new(&config, &[TypedEdges::new("gene", "gene", vec![(0, 1), (1, 2), (3, 4)])]).unwrap();
    let (train, validation) = (0..n).partition(|i| i % 3 > 0);
    let split = Split::new(train, validation, vec![]);
    let run = || {
        let store = ParamStore::new(Seed::new(1));
        let vb = store.var_builder(DType::F32, &device());
        let net = config.build(vb.clone()).unwrap();
        let weights = MultiTaskLoss::new(Weighting::Uncertainty, &config, vb.clone()).unwrap();
        let contrast = Contrast::new(&ContrastConfig::default(), 32, vb).unwrap();
        let data = OmicsData { source: &cohort, graphs: &graphs, targets: &targets };
        let learner = OmicsLearner::new(&net, data, &weights, &split, 20, Seed::new(2)).unwrap();
        let mut learner = learner.contrast(&contrast);
        let options = FitConfig::new(25, OptimizerConfig::AdamW(AdamWConfig::new(3e-3)));
        let outcome = fit(&mut learner, &store, &options, None, &StopFlag::new(), |_| ()).unwrap();
        (outcome.history[0].score, outcome.history[outcome.best_epoch].score)
    };
    let (first, best) = run();
    assert!(best < 0.8 * first, "{first} to {best}");
    assert_eq!((first, best), run());
}
