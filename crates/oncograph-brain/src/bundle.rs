use crate::Result;
use crate::pipeline::GliomaCohort;
use crate::predictor::{GLIOMA_SYSTEM, files};
use crate::stages::GliomaStages;
use oncograph_core::Split;
use oncograph_deploy::{Bundle, BundleWriter};
use oncograph_report::ModelCard;
use oncograph_study::{JOBS, JobResult};
use oncograph_train::RunDir;

/// Writes the bundle of a finished run to `run/bundle`: settings, atlas, the weights of all four stages, scalers, half B and
/// the model card; one that is there already is opened. `population` is the result of the deployed [`crate::PopulationHead`].
///
/// # Errors
/// An artefact or a file of the head that is not there.
pub fn write_glioma_bundle(
    run: &RunDir,
    stages: &GliomaStages<'_>,
    (cohort, split): (&GliomaCohort, &Split),
    population: &JobResult,
    card: &ModelCard,
) -> Result<Bundle> {
    let path = run.file("bundle");
    if path.exists() {
        return Ok(Bundle::open(path)?);
    }
    let networks = stages.networks(cohort, split)?;
    let net = stages.net(cohort, split, &stages.config().model)?;
    let artefact = |name: &str| stages.cache().join(format!("{name}.safetensors"));
    let head = |file: &str| run.path().join(JOBS).join(format!("{}.{file}", population.name()));
    let mut writer = BundleWriter::create(path, GLIOMA_SYSTEM)?.phantom(cohort.phantom);
    writer.json(files::CONFIG, stages.config())?;
    writer.bytes(files::ATLAS, &cohort.atlas.to_safetensors()?)?;
    writer.copy(files::AUTOENCODER, &artefact(&networks.autoencoder))?;
    writer.copy(files::TRACTS, &artefact(&networks.tracts))?;
    writer.copy(files::NET, &artefact(&net.name))?;
    writer.json(files::SCALERS, &networks.scalers)?;
    for file in [files::POPULATION, files::CLASSIFIER] {
        writer.copy(file, &head(file))?;
    }
    writer.json(files::CARD, card)?;
    Ok(writer.finish()?)
}
