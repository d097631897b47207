//! What the model's answers rest on: a class activation map of the tumour image, the attention of the surface, and the tracts
//! that the network's half of the answer needs.

use crate::cohort::Cohort;
use crate::images_config::ImagesConfig;
use crate::prepare::crop_grid;
use crate::stages::{Roles, Stages};
use candle_core::Tensor;
use oncograph::brain::{GliomaNet, Tumour, TumourBatch};
use oncograph::explain::{
    GnnExplainer, GnnExplainerConfig, ModelResult, NodeMaskType, Objective, TractComparison,
    cam_point_correlation, cam_volume, compare_tracts, grad_cam, kept_tracts, tract_density,
};
use oncograph::imaging::{Volume, nifti};
use oncograph::nn::Seed;
use oncograph::report::{Cell, ReportTable};
use oncograph::train::RunDir;
use oncograph_examples::progress;

/// One explained patient.
pub struct Explained {
    pub patient: usize,
    /// The mask of every tract.
    pub tracts: Vec<f64>,
    /// Spearman's correlation of the class activation map and the attention of surface points.
    pub agreement: Option<f64>,
}

/// Explanations of some test patients.
pub struct Explanations {
    pub patients: Vec<Explained>,
    pub comparison: Option<TractComparison>,
    /// Steps of GNNExplainer.
    pub steps: usize,
    pub files: Vec<String>,
}

/// Explains the first test patients and writes maps of the first few as NIfTI into the run.
pub fn explain(
    stages: &Stages,
    tumours: &[Tumour],
    roles: &Roles,
    model: &GliomaNet,
    run: &RunDir,
) -> anyhow::Result<Explanations> {
    let config: &ImagesConfig = stages.config;
    let cohort: &Cohort = stages.cohort;
    let shown: Vec<usize> = roles.test.iter().copied().take(config.explain.patients).collect();
    let bar = progress(shown.len() as u64, "explaining");
    let mut found =
        Explanations { patients: vec![], comparison: None, steps: config.explain.steps, files: vec![] };
    let folder = RunDir::open(&run.folder("explanations")?)?;
    for (k, &patient) in shown.iter().enumerate() {
        let batch = TumourBatch::new(&[&tumours[patient]], None, &stages.device)?;
        let id = &cohort.subjects[patient].id;
        let seed = Seed::new(config.seed).stream("explain").stream(id);
        let tracts = tract_masks(model, &batch, config.explain.steps, seed)?;
        let cam = activation(model, &batch, cohort, patient, config)?;
        let attention = model.forward(&batch, false)?.point_attention;
        let agreement = match (&cam, attention) {
            (Some(cam), Some(attention)) => {
                let weights: Vec<f64> = attention.to_vec1::<f32>()?.into_iter().map(f64::from).collect();
                // A map that is 0 everywhere has no ranks to compare.
                cam_point_correlation(cam, tumours[patient].points(), &weights).ok().map(|c| c.coefficient)
            }
            _ => None,
        };
        if k < 3 {
            let lists: Vec<Vec<(u32, f32)>> = cohort.atlas.tracts.iter().map(|t| t.voxels.clone()).collect();
            let density = tract_density(cohort.subjects[patient].tumour.grid(), &lists, &tracts)?;
            for (name, volume) in [("cam", cam.as_ref()), ("tract_density", Some(&density))] {
                if let Some(volume) = volume {
                    let file = format!("{id}_{name}.nii.gz");
                    nifti::write(folder.file(&file), volume)?;
                    found.files.push(format!("explanations/{file}"));
                }
            }
        }
        found.patients.push(Explained { patient, tracts, agreement });
        bar.inc(1);
    }
    bar.finish();
    let masks: Vec<Vec<f64>> = found.patients.iter().map(|p| p.tracts.clone()).collect();
    let mutant: Vec<bool> = shown.iter().map(|&i| cohort.subjects[i].idh == Some(true)).collect();
    found.comparison = compare_tracts(&masks, &mutant, 0.5).ok();
    Ok(found)
}

fn logit(said: oncograph::brain::GliomaNetOutput) -> ModelResult {
    Ok(said.logit.ok_or("the model has no classifier")?)
}

/// GNNExplainer on regions and tracts, with one factor for both directions of a tract.
fn tract_masks(model: &GliomaNet, batch: &TumourBatch, steps: usize, seed: Seed) -> anyhow::Result<Vec<f64>> {
    let tracts = batch.network.tracts.dim(0)?;
    let image = match model.image_encoder() {
        Some(f) => Some(f.forward(&batch.image, false)?.detach()),
        None => None,
    };
    let config = GnnExplainerConfig::new()
        .epochs(steps)
        .objective(Objective::Binary)
        .node_mask_type(Some(NodeMaskType::Attributes));
    let run =
        |regions: &Tensor, factors: &Tensor| logit(model.masked(batch, image.clone(), regions, factors)?);
    let explainer = GnnExplainer::new(config)?;
    let found = explainer.explain(&batch.network.regions, tracts, None, seed, run)?;
    let edge = found.masks.edge.map(|m| m.to_vec1::<f32>()).transpose()?.unwrap_or_default();
    Ok(edge.into_iter().map(f64::from).collect())
}

/// G-37: the class activation map of the last convolution for the logit of the model's own classifier, or for its negative
/// where the model answers with the wild type: what speaks for the answer, not for mutation.
fn activation(
    model: &GliomaNet,
    batch: &TumourBatch,
    cohort: &Cohort,
    patient: usize,
    config: &ImagesConfig,
) -> anyhow::Result<Option<Volume<f32>>> {
    let Some(encoder) = model.image_encoder() else { return Ok(None) };
    let map = encoder.feature_map(&batch.image, false)?;
    let mutant = |map: &Tensor| -> ModelResult {
        Ok(logit(model.after_image(batch, Some(encoder.head(map)?))?)?.unsqueeze(1)?)
    };
    let answer = mutant(&map).map_err(anyhow::Error::from_boxed)?.flatten_all()?.to_vec1::<f32>()?;
    let sign = if answer.iter().any(|z| *z < 0.0) { -1.0 } else { 1.0 };
    let head = |map: &Tensor| -> ModelResult { Ok((mutant(map)? * sign)?) };
    let cam = grad_cam(&map, &[0], true, head)?;
    Ok(Some(cam_volume(&cam, &crop_grid(&cohort.subjects[patient], &config.prepare)?)?))
}

impl Explanations {
    /// The tracts that the first patient's answer rests on: those whose mask exceeds a half or, where there is none, the first.
    pub fn tract_table(&self, cohort: &Cohort) -> Option<ReportTable> {
        let first = self.patients.first()?;
        let id = &cohort.subjects[first.patient].id;
        let mut caption =
            format!("Tracts that the answer for {id} rests on (GNNExplainer, mask above 0.5, largest first)");
        let mut rows = kept_tracts(&first.tracts, 0.5, 10);
        if rows.is_empty() {
            caption = format!(
                "No tract is kept for {id}: no mask of GNNExplainer exceeds 0.5 after {} steps; the largest",
                self.steps
            );
            rows = kept_tracts(&first.tracts, 0.0, 10);
        }
        let table = rows.into_iter().fold(ReportTable::new(caption, ["From", "To", "Mask"]), |table, t| {
            let [a, b] = cohort.atlas.tracts[t].pair;
            table.row([
                Cell::text(cohort.atlas.names[a as usize].clone()),
                Cell::text(cohort.atlas.names[b as usize].clone()),
                Cell::number(first.tracts[t], 3),
            ])
        });
        Some(table)
    }

    /// Mutants against wild types, in words and by tract.
    pub fn comparison_table(&self, cohort: &Cohort) -> Option<ReportTable> {
        let found = self.comparison.as_ref()?;
        let p = found.p_value.map_or_else(|| "undefined".into(), |p| format!("{p:.3}"));
        let caption = format!(
            "Tracts kept by explanations: {:.1} per mutant, {:.1} per wild type (Mann-Whitney p {p})",
            found.mean_mutants, found.mean_wild_types
        );
        let header = ["From", "To", "Mutants", "Wild types", "Fisher p", "Benjamini-Hochberg"];
        let rows = found.tracts.iter().take(8);
        Some(rows.fold(ReportTable::new(caption, header), |table, t| {
            let [a, b] = cohort.atlas.tracts[t.tract].pair;
            table.row([
                Cell::text(cohort.atlas.names[a as usize].clone()),
                Cell::text(cohort.atlas.names[b as usize].clone()),
                Cell::count(t.mutants),
                Cell::count(t.wild_types),
                Cell::p_value(t.p_value),
                Cell::p_value(t.adjusted),
            ])
        }))
    }

    /// Whether image and surface agree on what matters.
    pub fn agreement(&self) -> String {
        let known: Vec<f64> = self.patients.iter().filter_map(|p| p.agreement).collect();
        if known.is_empty() {
            return "No patient has both a class activation map and attention of the surface.".into();
        }
        let mean = known.iter().sum::<f64>() / known.len() as f64;
        format!(
            "Class activation map of the image against the attention of surface points: mean Spearman correlation {mean:.2} over \
             {} patients.",
            known.len()
        )
    }
}
