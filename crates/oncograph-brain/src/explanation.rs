//! What answers rest on: a class activation map of the tumour image, the attention of the surface, and the tracts that the
//! network's half of the answer needs.

use crate::pipeline::{GliomaCohort, crop_grid};
use crate::stages::GliomaStages;
use crate::{Error, GliomaExplainOptions, GliomaNet, GliomaNetOutput, Result, TumourBatch};
use candle_core::Tensor;
use oncograph_core::Split;
use oncograph_explain::{
    GnnExplainer, GnnExplainerCoefficients, GnnExplainerConfig, ModelResult, NodeMaskType, Objective,
    RankStability, TractComparison, cam_point_correlation, cam_volume, compare_tracts, grad_cam,
    rank_stability, tract_density,
};
use oncograph_imaging::Volume;
use oncograph_metrics::roc_auc;
use oncograph_nn::Seed;

/// Patients whose maps are kept as volumes.
const MAPPED: usize = 3;
/// A tract is kept by an explanation from this mask on.
const KEPT: f64 = 0.5;
/// Tracts of the largest masks that several starting points should agree on.
const STABLE: usize = 10;

/// What the answer for one patient rests on.
#[derive(Debug, Clone)]
pub struct GliomaExplanation {
    /// The row of the cohort.
    pub row: usize,
    /// The mask of every tract, in [0, 1].
    pub tracts: Vec<f64>,
    /// Whether the surface of the tumour crosses each tract.
    pub met: Vec<bool>,
    /// How alike the masks of several starting points are; of the first patients alone.
    pub stability: Option<RankStability>,
    /// Spearman's correlation of the class activation map and the attention of surface points.
    pub agreement: Option<f64>,
    /// The class activation map and the density of kept tracts on the grid of the patient, by name; of the first patients
    /// alone.
    pub maps: Vec<(&'static str, Volume<f32>)>,
}

/// What the answers for some test patients rest on.
#[derive(Debug, Clone)]
pub struct GliomaExplanations {
    /// The patients.
    pub patients: Vec<GliomaExplanation>,
    /// Tracts kept in mutants against wild types, where there are both.
    pub comparison: Option<TractComparison>,
    /// How they were explained.
    pub options: GliomaExplainOptions,
}

impl GliomaExplanations {
    /// How well masks tell the tracts that tumours meet from the others: the AUROC within each patient who has both, averaged. `None` where
    /// nobody has both.
    pub fn met_ranking(&self) -> Option<f64> {
        let of = |p: &GliomaExplanation| roc_auc(&p.met, &p.tracts).ok();
        let known: Vec<f64> = self.patients.iter().filter_map(of).collect();
        (!known.is_empty()).then(|| known.iter().sum::<f64>() / known.len() as f64)
    }
}

impl GliomaStages<'_> {
    /// Explains the answers of the multi-modal network's own classifier for the first held-out patients.
    ///
    /// # Errors
    /// A network without a classifier; an error of the explainer.
    pub fn explain(&self, cohort: &GliomaCohort, split: &Split) -> Result<GliomaExplanations> {
        let options = self.config().explain;
        let shown: Vec<usize> = split.test.iter().copied().take(options.patients).collect();
        let mut patients = vec![];
        for (k, &row) in shown.iter().enumerate() {
            self.stop.check()?;
            patients.push(self.explain_one(cohort, split, row, k < MAPPED)?);
            self.report("explaining", k + 1, shown.len(), None);
        }
        let masks: Vec<Vec<f64>> = patients.iter().map(|p| p.tracts.clone()).collect();
        let comparison = compare_tracts(&masks, &cohort.mutants(&shown), KEPT).ok();
        Ok(GliomaExplanations { patients, comparison, options })
    }

    fn explain_one(
        &self,
        cohort: &GliomaCohort,
        split: &Split,
        row: usize,
        mapped: bool,
    ) -> Result<GliomaExplanation> {
        let networks = self.networks(cohort, split)?;
        let trained = self.net(cohort, split, &self.config().model)?;
        let (net, tumour, subject) = (&trained.net, &networks.tumours[row], &cohort.subjects[row]);
        let batch = TumourBatch::new(&[tumour], None, self.device())?;
        let seed = self.seed().stream("explain").stream(&subject.id);
        let options = self.config().explain;
        let starts = if mapped { options.starts.max(1) } else { 1 };
        let masks = (0..starts).map(|k| tract_masks(net, &batch, &options, seed.at(k as u64)));
        let masks = masks.collect::<Result<Vec<_>>>()?;
        let stability = rank_stability(&masks, STABLE.min(masks[0].len())).ok();
        let tracts = masks.into_iter().next().unwrap_or_default();
        let met = tumour.incidence().crossings_per_tract().into_iter().map(|n| n > 0).collect();
        let cam = match activation(net, &batch)? {
            Some(cam) => Some(cam_volume(&cam, &crop_grid(subject, &self.config().prepare)?)?),
            None => None,
        };
        let agreement = match (&cam, net.forward(&batch, false)?.point_attention) {
            (Some(cam), Some(attention)) => {
                let weights: Vec<f64> = attention.to_vec1::<f32>()?.into_iter().map(f64::from).collect();
                // A map that is 0 everywhere has no ranks to compare.
                cam_point_correlation(cam, tumour.points(), &weights).ok().map(|c| c.coefficient)
            }
            _ => None,
        };
        let mut maps = vec![];
        if mapped {
            let lists: Vec<Vec<(u32, f32)>> = cohort.atlas.tracts.iter().map(|t| t.voxels.clone()).collect();
            maps.extend(cam.map(|cam| ("cam", cam)));
            maps.push(("tract_density", tract_density(subject.tumour.grid(), &lists, &tracts)?));
        }
        Ok(GliomaExplanation { row, tracts, met, stability, agreement, maps })
    }
}

fn logit(output: GliomaNetOutput) -> ModelResult {
    Ok(output.logit.ok_or("the network has no classifier")?)
}

/// GNNExplainer on regions and tracts, with one factor for both directions of a tract.
fn tract_masks(
    net: &GliomaNet,
    batch: &TumourBatch,
    options: &GliomaExplainOptions,
    seed: Seed,
) -> Result<Vec<f64>> {
    let tracts = batch.network.tracts.dim(0)?;
    let image = match net.image_encoder() {
        Some(f) => Some(f.forward(&batch.image, false)?.detach()),
        None => None,
    };
    let mut coefficients = GnnExplainerCoefficients::default();
    (coefficients.edge_size, coefficients.edge_ent) = (options.size, options.entropy);
    let config = GnnExplainerConfig::new()
        .epochs(options.steps)
        .lr(options.rate)
        .coefficients(coefficients)
        .objective(Objective::Binary)
        .node_mask_type(Some(NodeMaskType::Attributes));
    let run =
        |regions: &Tensor, factors: &Tensor| logit(net.masked(batch, image.clone(), regions, factors)?);
    let explainer = GnnExplainer::new(config)?;
    let found = explainer.explain(&batch.network.regions, tracts, None, seed, run)?;
    let edge = found.masks.edge.map(|m| m.to_vec1::<f32>()).transpose()?.unwrap_or_default();
    Ok(edge.into_iter().map(f64::from).collect())
}

/// The class activation map of the last convolution (decision G-37) for the logit of the network's own classifier, or for its
/// negative where the answer is the wild type: the evidence for the predicted class, not for mutation.
fn activation(net: &GliomaNet, batch: &TumourBatch) -> Result<Option<Tensor>> {
    let Some(encoder) = net.image_encoder() else { return Ok(None) };
    let map = encoder.feature_map(&batch.image, false)?;
    let mutant = |map: &Tensor| -> ModelResult {
        Ok(logit(net.after_image(batch, Some(encoder.head(map)?))?)?.unsqueeze(1)?)
    };
    let answer = mutant(&map).map_err(|e| Error::input("activation", "a logit", e))?;
    let sign = if answer.flatten_all()?.to_vec1::<f32>()?.iter().any(|z| *z < 0.0) { -1.0 } else { 1.0 };
    let head = |map: &Tensor| -> ModelResult { Ok((mutant(map)? * sign)?) };
    Ok(Some(grad_cam(&map, &[0], true, head)?))
}
