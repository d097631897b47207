use super::*;
use crate::tumour::tests::patient;
use crate::{GeometryEncoderConfig, ImageEncoderConfig, NetworkEncoderConfig, NoCross, Tumour, TumourBatch};
use candle_core::{DType, Tensor};
use oncograph_core::Split;
use oncograph_losses::BiLevelConfig;
use oncograph_nn::optim::AdamConfig;
use oncograph_nn::testing::device;
use oncograph_nn::{Gradients, ParamStore, Seed, testing};
use oncograph_train::{FitConfig, Keep, Learner, OptimizerConfig, StopFlag, fit};

fn small() -> GliomaNetConfig {
    GliomaNetConfig::default()
        .parts(
            ImageEncoderConfig::default().input(2, [12; 3]).channels([3, 4]).dense([8, 4]),
            GeometryEncoderConfig::default().channels([6, 5]).dense([6, 4]).radius(0.7, 1.5, 8),
            NetworkEncoderConfig::default().input(3, 3).channels([6, 5]).dense([6, 4]),
        )
        .projections([6, 5], [4])
        .classifier([5])
}

/// With the tracts that the surface crosses beside the pooled regions.
fn pooling() -> GliomaNetConfig {
    let mut config = small();
    config.network = config.network.pool_tracts(true);
    config
}

fn model(config: &GliomaNetConfig) -> (ParamStore, GliomaNet) {
    let store = ParamStore::new(Seed::new(5));
    let model = config.build(store.var_builder(DType::F32, &device())).unwrap();
    (store, model)
}

fn patients(count: u64) -> Vec<Tumour> {
    (1..=count).map(patient).collect()
}

/// Section 6 and G-14.
#[test]
fn parameter_counts_of_the_heads_equal_the_specification() {
    let config = GliomaNetConfig::default()
        .parts(
            ImageEncoderConfig::default().input(4, [32; 3]),
            GeometryEncoderConfig::default(),
            NetworkEncoderConfig::default(),
        )
        .losses(Some(BiLevelConfig::default()), 0.0);
    let (store, _) = model(&config);
    let parameters = |prefix: &str| -> usize {
        let those = store.trainable().into_iter().filter(|(n, _)| n.starts_with(prefix));
        those.map(|(_, v)| v.elem_count()).sum()
    };
    for head in ["g_i.", "g_p.", "g_b."] {
        assert_eq!(parameters(head), 26_944);
    }
    assert_eq!((parameters("g_t."), parameters("g_n.")), (28_992, 18_656));
    assert_eq!((config.tumour_features(), config.features()), (64, 96));
}

#[test]
fn every_parameter_receives_a_gradient_whatever_is_switched() {
    let all = patients(3);
    let tumours: Vec<&Tumour> = all.iter().collect();
    let batch = TumourBatch::new(&tumours, None, &device()).unwrap();
    let encoders = |image, surface, network| small().encoders(Encoders { image, surface, network });
    let weights = |w| small().node_weight(NodeHead::Linear, false, w);
    let configs = [
        small(),
        pooling(),
        small().unimodal(0.5),
        small().attention(false, false),
        small().edge_gate(EdgeGate::Messages).points_attention(false, NoCross::Epsilon(0.1)),
        weights(NodeAttention::Shifted),
        weights(NodeAttention::Softmax),
        encoders(true, true, false),
        encoders(false, true, true),
        encoders(true, false, true),
        encoders(false, true, false),
    ];
    for config in configs {
        let (store, model) = model(&config);
        let said = model.forward(&batch, true).unwrap();
        let mut loss = said.logit.as_ref().unwrap().sqr().unwrap().sum_all().unwrap();
        for z in said.projections.iter().chain(&said.unimodal).flatten() {
            loss = (loss + z.sqr().unwrap().sum_all().unwrap()).unwrap();
        }
        if let Err(error) = testing::assert_gradient_coverage(&store, &loss) {
            // Softmax does not see what is added to all of its logits: this gradient is 0 but for rounding.
            let error = error.to_string();
            let shift = "missing [], unexpected [\"geometry.pool.gate_nn.0.bias\"], wrong shape []";
            assert!(error.ends_with(shift), "{config:?}: {error}");
        }
    }
}

/// What every encoder gets from the cross entropy of its own embedding does not depend on the others.
#[test]
fn embeddings_alone_have_their_part_in_the_loss() {
    let all = patients(4);
    let data = GliomaNetData { tumours: &all, mutants: &[true, false, false, true] };
    let split = Split { train: vec![0, 1, 2, 3], ..Split::default() };
    let of = |config: &GliomaNetConfig| {
        let (_, model) = model(config);
        let training = GliomaNetTraining::default().batch(4, None).rotation(0.0);
        let mut learner =
            GliomaNetLearner::new(&model, data, &split, training, Seed::new(3), &device()).unwrap();
        let step = learner.train_step(0, 0).unwrap();
        let value = |t: &Tensor| t.to_scalar::<f32>().unwrap();
        let parts: Vec<(&str, f32)> = step.parts.iter().map(|(name, t)| (*name, value(t))).collect();
        (value(&step.loss), parts)
    };
    let config = small().losses(None, 2.0);
    let (joint, parts) = of(&config);
    assert_eq!(parts.len(), 1);
    let (loss, parts) = of(&config.unimodal(0.5));
    let alone: f32 = parts[1..].iter().map(|(_, v)| v).sum();
    assert_eq!(
        parts.iter().map(|p| p.0).collect::<Vec<_>>(),
        ["classification", "unimodal", "unimodal", "unimodal"]
    );
    approx::assert_relative_eq!(loss, joint + 2.0 * 0.5 * alone, epsilon = 1e-5);
    assert!(
        small()
            .encoders(Encoders { image: true, surface: false, network: false })
            .unimodal(1.0)
            .validate()
            .is_err()
    );
}

#[test]
fn attention_is_scaled_and_gradients_reach_the_surface_through_the_network() {
    let all = patients(2);
    let batch = TumourBatch::new(&[&all[0], &all[1]], None, &device()).unwrap();
    let (store, model) = model(&small());
    let said = model.forward(&batch, false).unwrap();
    let attention = said.point_attention.unwrap().to_vec1::<f32>().unwrap();
    for patient in attention.chunks(40) {
        approx::assert_abs_diff_eq!(patient.iter().sum::<f32>() / 40.0, 1.0, epsilon = 1e-4);
    }
    assert_eq!(said.tract_attention.unwrap().dims(), [8]);
    let regions = said.region_attention.unwrap().to_vec1::<f32>().unwrap();
    assert!(regions.iter().all(|a| (-1.0..=1.0).contains(a)) && regions.len() == 8);
    // u^B alone moves the gate of the surface's attention: through a^P, a^E and the tracts.
    let loss = said.network.unwrap().sqr().unwrap().sum_all().unwrap();
    let gradients = store.backward(&loss).unwrap();
    let gate = gradients.get("geometry.pool.gate_nn.0.weight").unwrap();
    assert!(gate.abs().unwrap().sum_all().unwrap().to_scalar::<f32>().unwrap() > 0.0);
}

#[test]
fn masks_of_one_change_nothing_and_of_zero_silence_all_tracts() {
    let all = patients(2);
    let batch = TumourBatch::new(&[&all[0], &all[1]], None, &device()).unwrap();
    for config in [small(), pooling()] {
        masks_of_one_and_of_zero(&batch, &config);
    }
}

fn masks_of_one_and_of_zero(batch: &TumourBatch, config: &GliomaNetConfig) {
    let (_, model) = model(config);
    let image = model.image_encoder().unwrap().forward(&batch.image, false).unwrap();
    let plain = model.after_image(batch, Some(image.clone())).unwrap();
    let logit = |factor: f64| {
        let factors = (Tensor::ones(8, DType::F32, &device()).unwrap() * factor).unwrap();
        let said = model.masked(batch, Some(image.clone()), &batch.network.regions, &factors).unwrap();
        said.logit.unwrap().to_vec1::<f32>().unwrap()
    };
    let plain = plain.logit.unwrap().to_vec1::<f32>().unwrap();
    plain.iter().zip(logit(1.0)).for_each(|(a, b)| approx::assert_abs_diff_eq!(*a, b, epsilon = 1e-5));
    assert_ne!(logit(0.0), plain);
}

/// The attributes of tracts reach u^B in full, not through the weights of attention alone.
#[test]
fn pooled_tracts_reach_the_answer() {
    let all = patients(2);
    let mut batch = TumourBatch::new(&[&all[0], &all[1]], None, &device()).unwrap();
    let network = |batch: &TumourBatch, config: &GliomaNetConfig| {
        let only = config.clone().encoders(Encoders { image: false, surface: false, network: true });
        let said = model(&only).1.forward(batch, false).unwrap();
        said.network.unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap()
    };
    let before = [small(), pooling()].map(|c| network(&batch, &c));
    // Softmax does not see what is added to all of its logits; the mean does.
    batch.network.tracts = (&batch.network.tracts + 1.0).unwrap();
    let after = [small(), pooling()].map(|c| network(&batch, &c));
    let moved = |i: usize| {
        before[i].iter().zip(&after[i]).map(|(a, b): (&f32, &f32)| (a - b).abs()).fold(0.0, f32::max)
    };
    assert!(moved(1) > 10.0 * moved(0) && moved(1) > 1e-2, "{} {}", moved(0), moved(1));
}

fn gap(a: &Gradients, b: &Gradients) -> f64 {
    let worst = |(name, g): (&str, &Tensor)| {
        let d = (g - b.get(name).unwrap()).unwrap().abs().unwrap().max_all().unwrap();
        f64::from(d.to_scalar::<f32>().unwrap())
    };
    assert_eq!(a.len(), b.len());
    a.iter().map(worst).fold(0.0, f64::max)
}

/// With surface and network, which have no batch norm, micro-batches have the gradients of the whole batch (G-04).
#[test]
fn cached_gradients_are_those_of_the_whole_batch() {
    let all = patients(6);
    let labels = [true, false, true, false, false, true];
    let config = small().encoders(Encoders { image: false, surface: true, network: true });
    let gradients = |micro: Option<usize>| {
        let (store, model) = model(&config);
        let training = GliomaNetTraining::default().batch(6, micro).rotation(0.0).balance(true);
        let data = GliomaNetData { tumours: &all, mutants: &labels };
        let split = Split::new((0..6).collect(), vec![], vec![]);
        let mut learner =
            GliomaNetLearner::new(&model, data, &split, training, Seed::new(1), &device()).unwrap();
        let step = learner.step_gradients(&store, 0, 0).unwrap();
        let plain = store.backward(&learner.train_step(0, 0).unwrap().loss).unwrap();
        (step, plain)
    };
    let (whole, plain) = gradients(None);
    assert!(gap(&whole.gradients, &plain) < 1e-6);
    let (micro, _) = gradients(Some(2));
    assert!((micro.loss - whole.loss).abs() < 1e-5);
    let gap = gap(&micro.gradients, &whole.gradients);
    assert!(gap < 2e-5, "{gap}");
    assert_eq!(micro.parts.iter().map(|p| p.0).collect::<Vec<_>>(), ["contrastive", "classification"]);
}

/// Stage 2 goes on from its checkpoint to the same bits.
#[test]
fn training_that_is_stopped_resumes_to_the_same_bits() {
    let all = patients(8);
    let labels: Vec<bool> = (0..8).map(|i| i % 3 == 0).collect();
    let config =
        FitConfig::new(4, OptimizerConfig::Adam(AdamConfig::new(1e-3))).step_decay(2, 0.9).keep(Keep::Last);
    let dir = tempfile::tempdir().unwrap();
    let run = |checkpoint: Option<&std::path::Path>, epochs: usize| {
        let (store, model) = model(&small());
        let training = GliomaNetTraining::default().batch(4, Some(2));
        let data = GliomaNetData { tumours: &all, mutants: &labels };
        let split = Split::new((0..8).collect(), vec![], vec![]);
        let mut learner =
            GliomaNetLearner::new(&model, data, &split, training, Seed::new(1), &device()).unwrap();
        let mut config = config.clone();
        config.epochs = epochs;
        fit(&mut learner, &store, &config, checkpoint, &StopFlag::new(), |_| ()).unwrap();
        let wide = |v: &candle_core::Var| v.flatten_all().unwrap().to_dtype(DType::F64).unwrap();
        let bits = |v: &candle_core::Var| wide(v).to_vec1::<f64>().unwrap();
        let names = store.names().into_iter().map(|n| store.get(&n).unwrap());
        names.flat_map(|v| bits(&v)).map(f64::to_bits).collect::<Vec<_>>()
    };
    let path = dir.path().join("c.safetensors");
    run(Some(&path), 2);
    assert_eq!(run(Some(&path), 4), run(None, 4));
}

#[test]
fn switches_that_do_not_go_together_are_named() {
    let surface = Encoders { image: false, surface: true, network: false };
    let error = GliomaNetConfig { encoders: surface, ..small() }.validate().unwrap_err().to_string();
    assert_eq!(error, "GliomaNet: edge_attention must be off without surface and network, got on");
    let none = small().losses(None, 0.0).validate().unwrap_err().to_string();
    assert_eq!(none, "GliomaNet: classification must be above 0 without a contrastive loss, got 0");
    let (_, model) = model(&small());
    let all = patients(2);
    let training = GliomaNetTraining::default().batch(1, None);
    let data = GliomaNetData { tumours: &all, mutants: &[true, false] };
    let split = Split::new(vec![0, 1], vec![], vec![]);
    let error = GliomaNetLearner::new(&model, data, &split, training, Seed::new(1), &device());
    assert_eq!(error.unwrap_err().to_string(), "GliomaNetLearner: batch must be at least 2, got 1");
}
