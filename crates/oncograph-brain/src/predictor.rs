use crate::attention::TractAttention;
use crate::pipeline::{
    GliomaCohort, GliomaSubject, PatientSpace, Placement, RegistrationConfig, place_on_atlas, prepare, voxels,
};
use crate::presets::GliomaConfig;
use crate::stages::{AttributeScalers, GliomaEmbeddings, StageCost, matrix, scaled_rows};
use crate::systems::{PopulationModel, sigmoid};
use crate::{
    Autoencoder, BrainNetwork, Error, GliomaNet, Neighbour, PopulationClassifier, Result, StoredNetwork,
    TractEncoder, Tumour, weights,
};
use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use oncograph_core::Argument;
use oncograph_datasets::cache::ContentHash;
use oncograph_datasets::glioma::{BrainAtlas, GliomaImages, StandardBrain};
use oncograph_datasets::scaler::ZScore;
use oncograph_deploy::{Bundle, ClinicalReport, Prediction, Probability};
use oncograph_nn::{ParamStore, Seed};
use oncograph_report::ModelCard;
use std::path::Path;
use std::time::Instant;

/// The system's name in its bundles.
pub const GLIOMA_SYSTEM: &str = "glioma";

/// The files of a bundle.
pub(crate) mod files {
    pub const CONFIG: &str = "config.json";
    pub const ATLAS: &str = "atlas.safetensors";
    pub const AUTOENCODER: &str = "autoencoder.safetensors";
    pub const TRACTS: &str = "tracts.safetensors";
    pub const NET: &str = "network.safetensors";
    pub const SCALERS: &str = "attribute_scalers.json";
    pub const POPULATION: &str = "population.json";
    pub const CLASSIFIER: &str = "population.safetensors";
    pub const CARD: &str = "model_card.json";
}

/// How many patients of the bank and how many tracts are named.
const NEAREST: usize = 5;
const TRACTS: usize = 10;

/// A trained system for one new patient, from a bundle alone.
pub struct GliomaPredictor {
    config: GliomaConfig,
    atlas: BrainAtlas,
    autoencoder: Autoencoder,
    tracts: TractEncoder,
    net: GliomaNet,
    scalers: Option<AttributeScalers>,
    population: PopulationModel,
    classifier: PopulationClassifier,
    card: ModelCard,
    bundle: Bundle,
    device: Device,
}

/// A tract that a tumour's surface crosses.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub struct CrossedTract {
    /// The region that it begins in.
    pub from: String,
    /// The region that it ends in.
    pub to: String,
    /// Its weight.
    pub attention: f32,
    /// The points of the surface that cross it.
    pub points: usize,
}

/// The answer for one patient.
#[derive(Debug, Clone)]
pub struct GliomaPrediction {
    /// The patient on the grid of the atlas.
    pub subject: GliomaSubject,
    /// The probability of an IDH mutation.
    pub probability: f64,
    /// The most similar patients of half B.
    pub nearest: Vec<Neighbour>,
    /// The crossed tracts of the largest weights.
    pub tracts: Vec<CrossedTract>,
    /// The weight of every tract, 0 where no point crosses it; empty for a network without attention over tracts.
    pub weights: Vec<f64>,
    /// What the attention over tracts is good for, where it is not much.
    pub attention_note: Option<String>,
    /// The patient's edge vector.
    pub link: Vec<f64>,
    /// The patient's brain network and the points of the tumour surface.
    pub network: StoredNetwork,
    /// The clinical report.
    pub report: ClinicalReport,
    /// Time and memory of each step.
    pub costs: Vec<StageCost>,
}

/// Parameters that the file `name` of a bundle holds, in a network that `build` makes.
fn loaded<T>(
    bundle: &Bundle,
    name: &str,
    device: &Device,
    build: impl FnOnce(VarBuilder) -> Result<T>,
) -> Result<T> {
    let store = ParamStore::new(Seed::new(0));
    let network = build(store.var_builder(DType::F32, device))?;
    weights::restore(&store, &bundle.bytes(name)?)?;
    Ok(network)
}

impl GliomaPredictor {
    /// Opens a bundle that [`crate::write_glioma_bundle`] wrote.
    ///
    /// # Errors
    /// A bundle of another system, or one whose files do not go with each other.
    pub fn open(bundle: &Bundle, device: &Device) -> Result<Self> {
        let bundle = bundle.clone().of_system(GLIOMA_SYSTEM)?;
        let config: GliomaConfig = bundle.json(files::CONFIG)?;
        let population: PopulationModel = bundle.json(files::POPULATION)?;
        let mut classifier = config.classifier.clone();
        classifier.features = population.bank.nodes.first().map_or(0, Vec::len);
        Ok(GliomaPredictor {
            atlas: BrainAtlas::from_safetensors(&bundle.bytes(files::ATLAS)?)?,
            autoencoder: loaded(&bundle, files::AUTOENCODER, device, |vb| config.autoencoder.build(vb))?,
            tracts: loaded(&bundle, files::TRACTS, device, |vb| config.tracts.build(vb))?,
            net: loaded(&bundle, files::NET, device, |vb| config.model.build(vb))?,
            classifier: loaded(&bundle, files::CLASSIFIER, device, |vb| classifier.build(vb))?,
            scalers: bundle.json(files::SCALERS)?,
            card: bundle.json(files::CARD)?,
            population,
            config,
            bundle,
            device: device.clone(),
        })
    }

    /// The settings of the run that the models are of.
    pub fn config(&self) -> &GliomaConfig {
        &self.config
    }

    /// Regions and tracts.
    pub fn atlas(&self) -> &BrainAtlas {
        &self.atlas
    }

    /// Half B.
    pub fn bank(&self) -> &crate::PopulationBank {
        &self.population.bank
    }

    /// How well the models did on the patients that they were not trained on, in the words of their card.
    pub fn held_out(&self) -> Option<&str> {
        self.card.stated_performance()
    }

    /// Whether the models were trained on generated patients.
    pub fn phantom(&self) -> bool {
        self.bundle.phantom()
    }

    /// The answer for one patient. Native images are registered to the standard brain in the folder `templates`, with the
    /// registration's files in `work`; images on the brain of the atlas need neither.
    ///
    /// # Errors
    /// Native images without templates, or for models of a generated head, which no patient has; images that cannot be used: with
    /// a skull, or of a brain that does not lie where the regions are.
    pub fn predict(
        &self,
        images: &GliomaImages,
        space: PatientSpace,
        templates: Option<&Path>,
        (registration, work): (&RegistrationConfig, &Path),
    ) -> Result<GliomaPrediction> {
        let start = Instant::now();
        let subject = self
            .place(images, space, templates, (registration, work))
            .map_err(|e| e.of_patient(&images.id))?;
        let registration = StageCost::since("registration", start, false);
        let mut prediction = self.predict_placed(subject)?;
        prediction.costs.insert(0, registration);
        Ok(prediction)
    }

    /// The answer for one patient who is on the grid of the atlas already.
    ///
    /// # Errors
    /// An error of the networks.
    pub fn predict_placed(&self, subject: GliomaSubject) -> Result<GliomaPrediction> {
        let mut costs = vec![];
        let mut lap = |stage: &str, start: Instant| costs.push(StageCost::since(stage, start, false));
        let start = Instant::now();
        let tumour = self.tumour(&subject)?;
        lap("tumour image, points and brain network", start);
        let start = Instant::now();
        let embeddings = GliomaEmbeddings::new(&self.net, std::slice::from_ref(&tumour), &self.device)?;
        let attention = TractAttention::new(&self.net, &tumour, &self.device)?;
        lap("embedding", start);
        let start = Instant::now();
        let scalers = self.population.scalers.as_ref();
        let rows = |rows: Vec<Vec<f64>>, scaler: Option<&ZScore>| match scaler {
            Some(scaler) => scaler.transform(&rows),
            None => Ok(rows),
        };
        let nodes = rows(embeddings.rows(self.config.population.0), scalers.map(|s| &s.0))?;
        let links = rows(embeddings.rows(self.config.population.1), scalers.map(|s| &s.1))?;
        let bank = &self.population.bank;
        let logits = bank.predict(&self.classifier, &nodes, &links, &self.device)?;
        let logit =
            logits.first().copied().ok_or_else(|| Error::input("GliomaPredictor", "a logit", "none"))?;
        let nearest = bank.nearest(&links[0], NEAREST);
        lap("population graph", start);
        let probability = sigmoid(logit);
        Ok(GliomaPrediction {
            report: self.report(&subject, probability, &nearest),
            tracts: attention.as_ref().map(|a| self.crossed(a)).unwrap_or_default(),
            attention_note: attention.as_ref().and_then(TractAttention::flat),
            weights: attention.map(|a| a.weights()).unwrap_or_default(),
            link: links[0].clone(),
            network: StoredNetwork::new(&subject.id, &self.atlas, &tumour, self.content(&subject)?),
            subject,
            probability,
            nearest,
            costs,
        })
    }

    fn place(
        &self,
        images: &GliomaImages,
        space: PatientSpace,
        templates: Option<&Path>,
        (registration, work): (&RegistrationConfig, &Path),
    ) -> Result<GliomaSubject> {
        let standard = self.config.source.standard();
        let same = images.sequences[0].grid().approx_eq(&self.atlas.grid, 1e-2);
        if standard.is_none() && (space == PatientSpace::Native || !same) {
            let expected = "those of the phantom patients that the models were trained on: their regions are those of a \
                            generated head, which no patient has; train models with --templates";
            return Err(Argument::new("GliomaPredictor", "images", expected, &images.id).into());
        }
        // The paths of the run's own machine mean nothing here.
        let standard = standard.zip(templates).map(|(s, t)| StandardBrain { folder: t.into(), ..s });
        let registrar = registration.registrar();
        let placement = match (space, &standard) {
            (PatientSpace::Standard, standard) => Placement::Standard(standard.as_ref()),
            (PatientSpace::Native, Some(standard)) => {
                Placement::Native { standard, registrar: registrar.as_ref(), work }
            }
            (PatientSpace::Native, None) => {
                let expected = "the folder of templates (--templates), which native images are registered to";
                return Err(Argument::new("GliomaPredictor", "templates", expected, "none").into());
            }
        };
        let intensities = self.config.source.intensities();
        let subject = place_on_atlas(images.clone(), &self.atlas, placement, &intensities)?;
        match subject.overlap.failure() {
            Some(why) => {
                Err(Error::input("GliomaPredictor", "a brain where the regions of the models are", why))
            }
            None => Ok(subject),
        }
    }

    /// The patient as the multi-modal network takes it, by the steps of the stages.
    fn tumour(&self, subject: &GliomaSubject) -> Result<Tumour> {
        let seed = Seed::new(self.config.seed).stream("prepare").stream(&subject.id);
        let options = &self.config.prepare;
        let prepared = prepare(subject, &self.atlas, options, seed)?;
        let seen = voxels(subject, &self.atlas, options, seed)?;
        let encoded = self.autoencoder.encode(&matrix(seen.regions.iter(), &self.device)?)?;
        let mut regions = encoded.to_vec2::<f32>()?;
        let mut tracts = self.tracts.encode(&matrix(seen.tracts.iter(), &self.device)?)?.to_vec2::<f32>()?;
        if let Some(scalers) = &self.scalers {
            regions = scaled_rows(&scalers.regions, regions)?;
            tracts = scaled_rows(&scalers.tracts, tracts)?;
        }
        let pairs = self.atlas.tracts.iter().map(|t| t.pair).collect();
        let network =
            BrainNetwork::new(pairs, self.config.network_width(), regions.concat(), tracts.concat())?;
        Tumour::new(prepared.image, prepared.points, prepared.incidence, network)
    }

    /// The hash of what a patient's network depends on: the bundle, and the images as the encoders see them.
    fn content(&self, subject: &GliomaSubject) -> Result<String> {
        let hash = ContentHash::new().text(&self.bundle.identity().hash).text(&subject.id);
        Ok(format!("prediction-{}", &hash.text(&subject.content()?).hex()[..16]))
    }

    fn crossed(&self, attention: &TractAttention) -> Vec<CrossedTract> {
        let name = |region: u32| self.atlas.names[region as usize].clone();
        let tract = |t: usize| {
            let [from, to] = self.atlas.tracts[t].pair.map(name);
            CrossedTract { from, to, attention: attention.attention[t], points: attention.crossings[t] }
        };
        attention.strongest(TRACTS).into_iter().map(tract).collect()
    }

    fn report(&self, subject: &GliomaSubject, probability: f64, nearest: &[Neighbour]) -> ClinicalReport {
        let class = |(name, probability): (&str, f64)| Probability { name: name.into(), probability };
        let classes =
            GliomaCohort::CLASSES.into_iter().zip([1.0 - probability, probability]).map(class).collect();
        let status = |mutant: bool| GliomaCohort::CLASSES[usize::from(mutant)];
        let near: Vec<String> =
            nearest.iter().map(|n| format!("{} ({}, {:.2})", n.id, status(n.mutant), n.similarity)).collect();
        let mut report = ClinicalReport::new(&subject.id, self.bundle.identity())
            .phantom(self.bundle.phantom())
            .data("MRI sequences", subject.volumes.len(), subject.volumes.len())
            .prediction(Prediction::Classes { task: GliomaCohort::TASK.into(), classes })
            .note(format!("Atlas: {}.", self.atlas.source))
            .note(format!("Registration: {}.", subject.overlap))
            .note(format!("Nearest patients of the population graph: {}.", near.join(", ")));
        if self.bundle.phantom() {
            report = report.note(PHANTOM_MODELS);
        }
        if let Some(held_out) = self.held_out() {
            report = report.note(format!("On patients that the models had not seen: {held_out}."));
        }
        subject.flags.iter().fold(report, |report, flag| report.note(format!("Flag: {flag}.")))
    }
}

/// The warning in every prediction of models that were trained on a phantom.
pub const PHANTOM_MODELS: &str =
    "The models were trained on generated patients: the answer says NOTHING about this one.";
