//! The options of the decisions S-06 to S-23: what each of them does to a network or a training step.

#![allow(clippy::unwrap_used)] // helpers of tests are tests

mod small;

use candle_core::{DType, Tensor};
use oncograph_nn::optim::AdamWConfig;
use oncograph_spatiotemporal::{
    AugmentConfig, CtNode, EdgeDirection, LossConfig, NodeIdentity, NodeSubset, RiskSet, StgConfig,
    StgLearner, SurvivalLoss, TargetUnit, TaskWeighting, TimeLoss, TrainingConfig, Unify, ViewContrast,
};
use oncograph_train::{FitConfig, Learner, OptimizerConfig, StepLoss, StopFlag, fit};
use small::{COVARIATES, FEATURES, Setup, model, small};

fn decoupled() -> StgConfig {
    small(StgConfig::decoupled(COVARIATES))
}

/// One step on all seven training patients as they are.
fn plain(loss: LossConfig) -> TrainingConfig {
    TrainingConfig::new(3).batch(7).loss(loss).augment(AugmentConfig::default().expansion(1))
}

fn number(scalar: &Tensor) -> f64 {
    f64::from(scalar.to_scalar::<f32>().unwrap())
}

fn part(step: &StepLoss, name: &str) -> f64 {
    number(&step.parts.iter().find(|part| part.0 == name).unwrap().1)
}

fn values(t: &Tensor) -> Vec<f32> {
    t.flatten_all().unwrap().to_vec1().unwrap()
}

/// S-16: with risk sets of all training patients one epoch of small batches has, of the same network, the loss of one batch of
/// all of them, and it goes on from the end of an epoch with the same bits.
#[test]
fn risk_sets_reach_beyond_the_batch() {
    let setup = Setup::new(true);
    let training = |batch: usize, risk_set: RiskSet| {
        plain(LossConfig::default().risk_set(risk_set).contrast(None)).batch(batch)
    };
    for loss in [SurvivalLoss::Cox, SurvivalLoss::MseCox] {
        let (_, model) = model(&small(StgConfig::decoupled(COVARIATES)).survival_loss(loss), DType::F32);
        // The sum over events of one task, which batches share out.
        let sum = |batch: usize, risk_set: RiskSet| {
            let mut learner = setup.learner_with(&model, training(batch, risk_set), 1).unwrap();
            let part = |learner: &mut StgLearner<'_>, step| {
                let parts = learner.train_step(0, step).unwrap().parts;
                f64::from(parts[1].1.to_scalar::<f32>().unwrap())
            };
            (0..learner.steps(0)).map(|step| part(&mut learner, step)).collect::<Vec<f64>>()
        };
        let whole = sum(7, RiskSet::Batch)[0];
        approx::assert_relative_eq!(sum(7, RiskSet::Training)[0], whole, max_relative = 1e-6);
        // One patient each: a batch alone has nothing to rank by, all seven of them weigh as in one batch.
        if loss == SurvivalLoss::Cox {
            let events = (0..7).filter(|p| p % 3 != 0).count() as f64;
            assert!(sum(1, RiskSet::Batch).iter().all(|loss| loss.abs() < 1e-6));
            let one_by_one = sum(1, RiskSet::Training).iter().sum::<f64>() / events;
            approx::assert_relative_eq!(one_by_one, whole, max_relative = 1e-5);
        }
    }
    let (_, hazards) = model(&small(StgConfig::full(COVARIATES)), DType::F32);
    let error = setup.learner_with(&hazards, training(7, RiskSet::Training), 1).unwrap_err().to_string();
    assert!(error.contains("loss.risk_set must be batch, unless the loss is cox or mse_cox"), "{error}");
}

#[test]
fn training_with_all_at_risk_goes_on_from_an_epochs_end() {
    let setup = Setup::new(true);
    let config = small(StgConfig::decoupled(COVARIATES)).survival_loss(SurvivalLoss::Cox);
    let training = || TrainingConfig::new(4).batch(5).loss(LossConfig::default().risk_set(RiskSet::Training));
    let options = |epochs| FitConfig::new(epochs, OptimizerConfig::AdamW(AdamWConfig::new(5e-3)));
    let folder = tempfile::tempdir().unwrap();
    let run = |epochs: usize, checkpoint: Option<&std::path::Path>| {
        let (store, model) = model(&config, DType::F32);
        let mut learner = setup.learner_with(&model, training(), 3).unwrap();
        fit(&mut learner, &store, &options(epochs), checkpoint, &StopFlag::new(), |_| ()).unwrap();
        let values = |v: &candle_core::Var| v.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        store.trainable().iter().flat_map(|(_, v)| values(v)).map(f32::to_bits).collect::<Vec<u32>>()
    };
    let path = folder.path().join("checkpoint.safetensors");
    let half = run(2, Some(&path));
    let whole = run(4, None);
    assert_ne!(half, whole);
    assert_eq!(run(4, Some(&path)), whole);
}

/// S-21: at the start both variances are 1, and the contrastive and the temporal loss keep their weights.
#[test]
fn uncertainty_takes_the_place_of_alpha_and_beta() {
    let setup = Setup::new(true);
    for (loss, k) in [(SurvivalLoss::Mse, 0.5), (SurvivalLoss::Cox, 1.0)] {
        let config = decoupled().weighting(TaskWeighting::Uncertainty).survival_loss(loss);
        let (store, model) = model(&config, DType::F32);
        let mut learner = setup.learner_with(&model, plain(LossConfig::default()), 1).unwrap();
        let mut step = || learner.train_step(0, 0).unwrap();
        let others = |s: &StepLoss| 0.1 * part(s, "contrast") + 0.01 * part(s, "temporal");
        let first = step();
        let expected = k * (part(&first, "recurrence") + part(&first, "survival")) + others(&first);
        approx::assert_relative_eq!(number(&first.loss), expected, max_relative = 1e-5);
        let log_variance = Tensor::new(&[0.7f32, -0.2], &oncograph_nn::testing::device()).unwrap();
        store.get("task.log_variance").unwrap().set(&log_variance).unwrap();
        let moved = step();
        let weighed = |name: &str, s: f64| k * (-s).exp() * part(&moved, name) + 0.5 * s;
        let expected = weighed("recurrence", 0.7) + weighed("survival", -0.2) + others(&moved);
        approx::assert_relative_eq!(number(&moved.loss), expected, max_relative = 1e-5);
    }
}

/// S-20: heads are linear, so that the mean of the risks over the steps is the risk of the patient.
#[test]
fn a_risk_that_falls_with_the_years_is_penalised() {
    let setup = Setup::new(true);
    let all: Vec<usize> = (0..7).collect();
    for config in [decoupled(), small(StgConfig::full(COVARIATES))] {
        let config = config.survival_loss(SurvivalLoss::Cox);
        let (_, model) = model(&config, DType::F32);
        let loss = LossConfig::default().temporal(TimeLoss::MonotoneRisk).contrast(None);
        let mut learner = setup.learner_with(&model, plain(loss), 1).unwrap();
        let output = learner.output(&all).unwrap();
        let risks = model.step_risks(&output).unwrap().to_vec3::<f32>().unwrap();
        let mut falls = 0.0;
        for (patient, steps) in risks.iter().enumerate() {
            for (task, head) in [&output.recurrence, &output.survival].into_iter().enumerate() {
                let mean = steps.iter().map(|r| r[task]).sum::<f32>() / steps.len() as f32;
                let of_head = head.to_vec2::<f32>().unwrap()[patient][0];
                approx::assert_relative_eq!(mean, of_head, epsilon = 1e-5);
                falls += steps.windows(2).map(|w| f64::from((w[0][task] - w[1][task]).max(0.0))).sum::<f64>();
            }
        }
        let step = learner.train_step(0, 0).unwrap();
        approx::assert_relative_eq!(part(&step, "temporal"), falls / (7.0 * 3.0 * 2.0), max_relative = 1e-4);
    }
    // A larger time is a smaller risk.
    let (_, times) = model(&decoupled(), DType::F32);
    let output = setup.learner(&times, 1, 1).output(&all).unwrap();
    let risks = times.step_risks(&output).unwrap().mean(1).unwrap().to_vec2::<f32>().unwrap();
    let time = output.recurrence.to_vec2::<f32>().unwrap();
    assert!(risks.iter().zip(&time).all(|(risk, time)| (risk[0] + time[0]).abs() < 1e-5));
    let joined = small(StgConfig::full(COVARIATES)).unify(Unify::Concat);
    let (_, joined) = model(&joined, DType::F32);
    let output = setup.learner(&joined, 1, 1).output(&all).unwrap();
    assert!(joined.step_risks(&output).unwrap_err().to_string().contains("unify must be stack"));
}

/// S-22: the gradient reaches what makes node features, and nothing behind it.
#[test]
fn images_are_compared_with_the_clinical_node_before_the_graph_layers() {
    let setup = Setup::new(true);
    let loss = LossConfig::default().contrast(Some(ViewContrast::CrossModal { temperature: 0.2 }));
    let (store, model) = model(&decoupled().node_type(NodeIdentity::OneHot), DType::F32);
    let mut learner = setup.learner_with(&model, plain(loss.clone()), 1).unwrap();
    let step = learner.train_step(0, 0).unwrap();
    let contrast = step.parts.iter().find(|part| part.0 == "contrast").unwrap().1.clone();
    assert!(number(&contrast) > 0.0);
    let gradients = store.backward(&contrast).unwrap();
    for (name, _) in store.trainable() {
        let moved = gradients.get(&name).is_some_and(|g| values(g).iter().any(|v| *v != 0.0));
        assert_eq!(moved, name.starts_with("nodes."), "{name}");
    }
    let error = |t: f64| {
        let loss = LossConfig::default().contrast(Some(ViewContrast::CrossModal { temperature: t }));
        setup.learner_with(&model, plain(loss), 1).unwrap().train_step(0, 0).is_err()
    };
    assert!(error(0.0) && !error(0.1));
    // Nothing to compare.
    let images = small::model(&decoupled().nodes(NodeSubset::Images), DType::F32).1;
    let graphs = setup.graphs.iter().map(|g| NodeSubset::Images.of(g).unwrap()).collect();
    let alone = Setup { graphs, ..Setup::new(true) };
    let mut learner = alone.learner_with(&images, plain(loss.clone()), 1).unwrap();
    assert_eq!(part(&learner.train_step(0, 0).unwrap(), "contrast"), 0.0);
    let without = Setup::new(false);
    let mut learner = without.learner_with(&model, plain(loss), 1).unwrap();
    assert_eq!(part(&learner.train_step(0, 0).unwrap(), "contrast"), 0.0);
}

/// S-09: the seed decides what is dropped, on any number of threads, and nothing is outside of training.
#[test]
fn dropout_is_of_training_alone() {
    let setup = Setup::new(true);
    for config in [decoupled().last_linear(true), small(StgConfig::full(COVARIATES)).last_linear(true)] {
        let (_, plain_model) = model(&config, DType::F32);
        let (_, dropped) = model(&config.dropout(0.5), DType::F32);
        let all: Vec<usize> = (0..7).collect();
        let output = |model| values(&setup.learner(model, 1, 1).output(&all).unwrap().survival);
        assert_eq!(output(&plain_model), output(&dropped));
        let validate = |model| setup.learner(model, 1, 1).validate(0).unwrap().score;
        assert_eq!(validate(&plain_model), validate(&dropped));
        let on = |threads: usize, seed: u64| {
            let pool = rayon::ThreadPoolBuilder::new().num_threads(threads).build().unwrap();
            let step = || setup.learner(&dropped, 1, seed).train_step(0, 0).unwrap();
            number(&pool.install(step).loss).to_bits()
        };
        assert_eq!(on(1, 4), on(2, 4));
        let loss = |model| number(&setup.learner(model, 1, 4).train_step(0, 0).unwrap().loss);
        assert_ne!(loss(&plain_model), loss(&dropped));
    }
}

/// S-06: what one direction leaves out does not reach the other side.
#[test]
fn edges_can_go_one_way() {
    let setup = Setup::new(true);
    let risk = |edges: EdgeDirection| {
        let (_, model) = model(&decoupled().edges(edges), DType::F32);
        values(&setup.learner(&model, 1, 1).output(&[2]).unwrap().survival)
    };
    let all = [EdgeDirection::Both, EdgeDirection::FromAnatomy, EdgeDirection::ToAnatomy].map(risk);
    assert!(all[0] != all[1] && all[1] != all[2] && all[0] != all[2]);
}

/// S-07: without what encodes them, organs that swap their content are one patient; with it they are another.
#[test]
fn an_embedding_tells_organs_apart() {
    let (width, patients) = (FEATURES * 3, 2);
    let wave: Vec<f32> = (0..patients * 6 * width).map(|i| (i as f32 * 0.7).sin()).collect();
    let mut swapped = wave.clone();
    swapped[..width].copy_from_slice(&wave[width..2 * width]);
    swapped[width..2 * width].copy_from_slice(&wave[..width]);
    let risk = |images: &[f32], identity: NodeIdentity| {
        let (_, model) = model(&decoupled().node_type(identity), DType::F32);
        let device = oncograph_nn::testing::device();
        let clinical = vec![0.3; patients * COVARIATES];
        let table = oncograph_spatiotemporal::NodeTable::new(
            Some(images.to_vec()),
            FEATURES,
            clinical,
            COVARIATES,
            &device,
        );
        let table = table.unwrap();
        let graph = table.graph(0, [[0.5; 3]; 5]).unwrap();
        f64::from(values(&table.output(&model, &[&graph]).unwrap().survival)[0])
    };
    let gap = |identity| (risk(&wave, identity) - risk(&swapped, identity)).abs();
    assert!(gap(NodeIdentity::None) < 1e-6, "{}", gap(NodeIdentity::None));
    assert!(gap(NodeIdentity::Embedding) > 1e-3 && gap(NodeIdentity::OneHot) > 1e-3);
}

/// S-19: the squared error is in square years.
#[test]
fn times_can_stay_in_years() {
    let setup = Setup::new(true);
    let (_, model) = model(&decoupled(), DType::F32);
    let training = plain(LossConfig::default().contrast(None)).time_unit(TargetUnit::Years);
    let mut learner = setup.learner_with(&model, training, 1).unwrap();
    let all: Vec<usize> = (0..7).collect();
    let predicted = values(&learner.output(&all).unwrap().recurrence);
    let error = |p: usize| (f64::from(predicted[p]) - setup.outcomes[p][0].in_years()).powi(2);
    let expected = all.iter().map(|&p| error(p)).sum::<f64>() / 7.0;
    let step = learner.train_step(0, 0).unwrap();
    approx::assert_relative_eq!(part(&step, "recurrence"), expected, max_relative = 1e-5);
    assert_eq!(learner.scales()[0].years(3.5), 3.5);
}

/// S-23: a patient's first graph is the original, or augmented as the others.
#[test]
fn the_original_can_be_left_out() {
    let setup = Setup::new(true);
    let (_, model) = model(&decoupled(), DType::F32);
    let recurrence = |original: bool, strength: (f64, f64)| {
        let augment = AugmentConfig::default().expansion(1).original(original);
        let training = plain(LossConfig::default().contrast(None));
        let training = training.augment(augment.strength(strength.0, strength.1));
        part(&setup.learner_with(&model, training, 1).unwrap().train_step(0, 0).unwrap(), "recurrence")
    };
    assert_eq!(recurrence(true, (0.5, 0.1)), recurrence(true, (0.0, 0.0)));
    assert_ne!(recurrence(false, (0.5, 0.1)), recurrence(true, (0.5, 0.1)));
    assert_eq!(recurrence(false, (0.0, 0.0)), recurrence(true, (0.0, 0.0)));
}

/// S-01 and S-04: a cohort without images has nothing to map, and trains all the same.
#[test]
fn learned_maps_of_images_rest_without_images() {
    for config in
        [decoupled().features(16).ct_node(CtNode::Gap), decoupled().features(16).image_nodes(1, Some(4))]
    {
        let (store, model) = model(&config, DType::F32);
        // A table on a device is one of nodes of one width.
        let setup = Setup::new(false);
        let mut learner = setup.learner(&model, 30, 1);
        let options = FitConfig::new(30, OptimizerConfig::AdamW(AdamWConfig::new(5e-3)));
        let outcome = fit(&mut learner, &store, &options, None, &StopFlag::new(), |_| ()).unwrap();
        assert!(outcome.history[29].train_loss < 0.8 * outcome.history[0].train_loss);
    }
}
