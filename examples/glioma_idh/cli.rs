//! The command line.

use anyhow::bail;
use clap::{ArgGroup, Parser, ValueEnum};
use oncograph_brain::{
    GliomaConfig, GliomaFilesConfig, GliomaPreset, GliomaSource, IntensityConfig, IntensityReference,
    NetworkPatients, PatientSpace, RegistrationConfig, RegistrationTool, SusanConfig,
};
use oncograph_datasets::glioma::{
    ConnectomeFile, GliomaFiles, GliomaPhantomConfig, LabelConvention, StandardBrain, StreamlineFile,
    TractMaps, TractMasks, TractSource, TumourLabel,
};
use oncograph_study::cli::{StudyArgs, read_config};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// The program, as its runs are called.
pub const NAME: &str = "glioma_idh";

/// The options that have an effect beside each of those that train no run.
pub const MODES: [(&str, &[&str]); 2] = [
    (
        "predict",
        &[
            "mask",
            "labels",
            "registered",
            "registration",
            "programs",
            "templates",
            "bundle",
            "run",
            "device",
            "precision",
            "write_networks",
        ],
    ),
    ("planted", &["seed", "preset", "patients", "epochs", "network_patients", "device", "precision"]),
];

/// Predict the IDH genotype of glioma from four MRI sequences and a tumour mask: tumour image, tumour surface and brain
/// network are learned together, and a graph of patients gives the answer.
///
/// Without --data a phantom cohort is generated: nothing in it was measured on a person. Threads: all, or as many as the
/// environment variable RAYON_NUM_THREADS sets; results have the same bits either way. For research only, not a medical
/// device.
#[derive(Debug, Parser)]
#[command(name = NAME, version)]
#[command(group(ArgGroup::new("images").args(["data", "predict"]).multiple(true)))]
#[command(group(ArgGroup::new("tract_source").args(["tracts", "connectome", "streamlines", "tract_masks"])))]
// One split in three parts: these are refused with the reason.
#[command(mut_arg("folds", |a| a.hide(true)), mut_arg("repeats", |a| a.hide(true)))]
pub struct Args {
    #[command(flatten)]
    pub study: StudyArgs,
    /// A cohort of images: scans with T1, contrast T1, T2, FLAIR and a segmentation on one grid, without skull, named as in BraTS
    /// 2018 to 2024, the TCGA collections or UCSF-PDGM, and with fractional anisotropy where there is some. Tables of names in DIR
    /// (name_mapping.csv, BraTS2021_MappingToTCIA.xlsx and the like) lead from names of BraTS to those of --idh
    #[arg(long, value_name = "DIR", requires = "labels", requires = "idh", requires = "templates")]
    pub data: Option<PathBuf>,
    /// IDH status, age and sex of --data: the metadata of UCSF-PDGM, table S1 of Ceccarelli 2016, or a table of your own with the
    /// columns id, idh (1 mutant), site, age, sex [.csv, .tsv, .xlsx, .parquet]
    #[arg(long, value_name = "FILE", requires = "data")]
    pub idh: Option<PathBuf>,
    /// A further table of names, which may be given several times
    #[arg(long, value_name = "FILE", requires = "data")]
    pub names: Vec<PathBuf>,
    /// What the names of the segmentations of --data end in [default: seg, tumor_segmentation, GlistrBoost_ManuallyCorrected]
    #[arg(long, value_name = "ENDING", requires = "data")]
    pub segmentation: Option<String>,
    /// End with the list of scans that cannot be used, instead of leaving them out and listing them in the report
    #[arg(long, requires = "data")]
    pub strict: bool,
    /// Take the segmentations of --data by --labels even where most of them look as if they followed another convention
    #[arg(long, requires = "data")]
    pub trust_labels: bool,
    /// Match the histograms of every scan of --data to those of the one in DIR, which is left out of the cohort; a new patient of
    /// --predict is matched, too
    #[arg(long, value_name = "DIR", requires = "data")]
    pub match_histograms: Option<PathBuf>,
    /// Smooth the scans of --data, and new patients, by SUSAN, which keeps edges
    #[arg(long, requires = "data")]
    pub susan: bool,
    /// The images of --data or --predict are on the standard brain (MNI152) already: none is registered
    #[arg(long, requires = "images")]
    pub registered: bool,
    /// The program that registers images which are not: elastix and transformix, or antsRegistration and antsApplyTransforms
    #[arg(long, value_enum, default_value_t = Tool::Elastix, conflicts_with = "registered")]
    pub registration: Tool,
    /// The folder of these programs [default: found by the PATH]
    #[arg(long, value_name = "DIR", conflicts_with = "registered")]
    pub programs: Option<PathBuf>,
    /// Choices that the paper leaves open: `paper` reads it literally, `robust` is what we would run, `quick` is `robust`,
    /// small and short [default: quick]
    #[arg(long, value_enum)]
    pub preset: Option<Preset>,
    /// Who trains the encoders of regions and tracts, which need no label; never a patient of the other parts [default: unlabelled
    /// with --preset paper and for a phantom cohort, else unlabelled-and-half-a]
    #[arg(long, value_enum)]
    pub network_patients: Option<NetworkPatientsArg>,
    /// Test on the patients of one site of --idh, and train on the others: leave-site-out, or an external cohort that lies in --data
    /// and has a site of its own in the table
    #[arg(long, value_name = "SITE", requires = "data")]
    pub test_site: Option<String>,
    /// Do the whole run with so many seeds, from --seed on (other splits and starting weights; other patients of a phantom), and
    /// show the spread over them
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=50))]
    pub seeds: Option<u8>,
    /// Patients with a label in the phantom cohort [default: 240]
    #[arg(long, conflicts_with = "data")]
    pub patients: Option<usize>,
    /// Folder with templates/ and atlases/ (MNI152 brain and mask at 2 mm, FA template, AAL labels): the phantom's heads get
    /// their regions, and tracts generated between them. Needed by --data, and to register a patient of --predict
    #[arg(long, value_name = "DIR")]
    pub templates: Option<PathBuf>,
    /// A probabilistic atlas of tracts on the standard brain in place of generated ones: a volume of four dimensions, one tract
    /// after the other [.nii, .nii.gz]
    #[arg(long, value_name = "FILE", requires = "templates", requires = "tract_ends")]
    pub tracts: Option<PathBuf>,
    /// The numbers of the two AAL regions that each volume of --tracts joins, one line per tract [.txt]
    #[arg(long, value_name = "FILE", requires = "tracts")]
    pub tract_ends: Option<PathBuf>,
    /// A connectome in place of generated tracts: a matrix of streamlines or weights between AAL regions, with or without names. The
    /// joined pairs become tracts, whose ways are generated [.csv, .tsv, .xlsx, .parquet]
    #[arg(long, value_name = "FILE", requires = "templates")]
    pub connectome: Option<PathBuf>,
    /// The weight of --connectome from which a pair has a tract [default: every weight above 0]
    #[arg(long, value_name = "WEIGHT", requires = "connectome", value_parser = weight)]
    pub least_weight: Option<f64>,
    /// Streamlines in place of generated tracts, in the millimetres of the standard brain: those between two AAL regions are a tract
    /// [.tck, .trk]
    #[arg(long, value_name = "FILE", requires = "templates")]
    pub streamlines: Option<PathBuf>,
    /// Streamlines that a tract of --streamlines needs [default: 3]
    #[arg(long, value_name = "N", requires = "streamlines")]
    pub fewest_streamlines: Option<usize>,
    /// Masks of tracts in place of generated ones, such as the white matter of JHU: a volume with the number of a tract in each voxel.
    /// A tract joins the AAL regions that its ends touch most [.nii, .nii.gz]
    #[arg(long, value_name = "FILE", requires = "templates", requires = "tract_names")]
    pub tract_masks: Option<PathBuf>,
    /// A number and a name of each tract of --tract-masks, one per line [.txt]
    #[arg(long, value_name = "FILE", requires = "tract_masks")]
    pub tract_names: Option<PathBuf>,
    /// Also write every patient's brain network and surface points, to networks/ in the folder of the run or of the prediction
    #[arg(long)]
    pub write_networks: bool,
    /// Predict one patient with a trained model instead of training: a folder with T1, contrast T1, T2 and FLAIR on one grid,
    /// without skull. Needs --mask and --labels, and the installed programs of --registration unless --registered
    #[arg(long, value_name = "DIR", requires = "mask", requires = "labels")]
    pub predict: Option<PathBuf>,
    /// The patient's segmentation [.nii, .nii.gz]
    #[arg(long, value_name = "FILE", requires = "predict")]
    pub mask: Option<PathBuf>,
    /// What the numbers of --mask and of the segmentations of --data mean
    #[arg(long, value_enum, requires = "images")]
    pub labels: Option<Labels>,
    /// The bundle that predicts; it may have been copied from another machine [default: that of --run]
    #[arg(long, value_name = "DIR", requires = "predict", conflicts_with = "run")]
    pub bundle: Option<PathBuf>,
    /// The run whose bundle predicts [default: the newest in --out]
    #[arg(long, value_name = "RUN", requires = "predict")]
    pub run: Option<PathBuf>,
    /// Epochs of every stage [default: that of the preset]
    #[arg(long)]
    pub epochs: Option<usize>,
    /// The last stage to run: 1 and 2 regions and tracts, 3 the multi-modal network, 4 the population graph
    #[arg(long, value_parser = clap::value_parser!(u8).range(1..=4))]
    pub stage: Option<u8>,
    /// Also train what a table of the paper compares: 2 node and edge vectors (always made), 3 image networks, 4 encoders,
    /// losses and attention
    #[arg(long, value_parser = clap::value_parser!(u8).range(2..=4))]
    pub table: Option<u8>,
    /// Also train the network with one decision changed at a time
    #[arg(long)]
    pub ablate: bool,
    /// Phantoms in which tumour shape, texture or spread along tracts alone depends on the genotype: print which encoders
    /// find it, and end
    #[arg(long)]
    pub planted: bool,
    /// Now a separate program: glioma_tables
    #[arg(long, value_name = "FILE", hide = true)]
    pub clinical: Option<PathBuf>,
    /// Now a separate program: paper_audit
    #[arg(long, hide = true)]
    pub paper_audit: bool,
}

/// A whole run, as it is written into the run's folder.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunConfig {
    /// The table of the paper whose models are trained, too.
    #[serde(default)]
    pub table: Option<u8>,
    /// Whether the network is also trained with one decision changed at a time.
    #[serde(default)]
    pub ablate: bool,
    /// How many runs there are, each with the next seed; none for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seeds: Option<u8>,
    /// Everything else; with several seeds, of the first.
    #[serde(flatten)]
    pub system: GliomaConfig,
}

impl RunConfig {
    /// The settings of the run with a seed, for a phantom of that seed.
    pub fn with_seed(&self, seed: u64) -> Self {
        let mut own = self.clone();
        (own.seeds, own.system.seed) = (None, seed);
        if let GliomaSource::Phantom(phantom) = &mut own.system.source {
            phantom.seed = seed;
        }
        own
    }
}

impl Args {
    /// Names the program that an option has become.
    pub fn moved(&self) -> anyhow::Result<()> {
        if let Some(file) = &self.clinical {
            bail!(
                "--clinical is now a separate program: cargo run --release --example glioma_tables -- {}",
                file.display()
            );
        }
        if self.paper_audit {
            bail!("--paper-audit is now a separate program: cargo run --release --example paper_audit");
        }
        if self.study.folds.is_some() || self.study.repeats.is_some() {
            bail!(
                "--folds and --repeats are options of glioma_tables; this program has one split in three parts"
            );
        }
        let heads = self.table.is_some() || self.ablate;
        if heads && self.stage.is_some_and(|stage| stage < 4) {
            bail!("--table and --ablate have no effect beside a --stage before the fourth");
        }
        if self.seeds.is_some() && self.stage.is_some_and(|stage| stage < 4) {
            bail!("--seeds compares the scores of the fourth --stage");
        }
        Ok(())
    }

    /// The settings given on the command line.
    pub fn config(&self) -> anyhow::Result<RunConfig> {
        if let Some(path) = &self.study.config {
            let asked: RunConfig = read_config(NAME, path)?;
            asked.system.validate()?;
            return Ok(asked);
        }
        let preset = self.preset.unwrap_or(Preset::Quick);
        let seed = self.study.seed.unwrap_or(1);
        let source = match &self.data {
            Some(folder) => GliomaSource::Files(self.files(folder, preset)?),
            None => {
                let mut phantom = GliomaPhantomConfig::new(self.patients.unwrap_or(240), seed);
                phantom.templates.clone_from(&self.templates);
                phantom.tract_maps = self.tract_source();
                GliomaSource::Phantom(phantom)
            }
        };
        let config = GliomaConfig::preset(preset.into(), source, seed)
            .device(&self.study.device)
            .precision(self.study.precision);
        let mut system = match self.epochs {
            Some(epochs) => config.epochs(epochs),
            None => config,
        };
        if let Some(patients) = self.network_patients {
            system.network_patients = patients.into();
        }
        system.test_site.clone_from(&self.test_site);
        system.validate()?;
        Ok(RunConfig { table: self.table, ablate: self.ablate, seeds: self.seeds, system })
    }

    /// The cohort that `--data` and the options beside it name.
    fn files(&self, folder: &Path, preset: Preset) -> anyhow::Result<GliomaFilesConfig> {
        let (Some(labels), Some(idh), Some(templates)) = (self.labels, &self.idh, &self.templates) else {
            bail!("--data needs --labels, --idh and --templates");
        };
        // The published sizes are those of the standard brain at 2 mm.
        let (spacing, tracts) = if preset == Preset::Quick { (5.0, 240) } else { (2.0, 2309) };
        let tract_maps = self.tract_source();
        Ok(GliomaFilesConfig {
            folder: folder.into(),
            labels: labels.into(),
            tumour: TumourLabel::Core,
            segmentation: self.segmentation.clone(),
            idh: idh.clone(),
            names: self.names.clone(),
            standard: StandardBrain { folder: templates.clone(), spacing, tracts, tract_maps },
            space: self.space(),
            registration: self.registration(),
            intensities: self.intensities(labels)?,
            strict: self.strict,
            trust_labels: self.trust_labels,
        })
    }

    /// What is done to the values of images.
    fn intensities(&self, labels: Labels) -> anyhow::Result<IntensityConfig> {
        let reference = |folder: &PathBuf| {
            let scan = GliomaFiles::find(folder, self.segmentation.as_deref())?;
            Ok::<_, anyhow::Error>(IntensityReference::new(scan.read(labels.into(), TumourLabel::Whole)?)?)
        };
        let reference = self.match_histograms.as_ref().map(reference).transpose()?;
        Ok(IntensityConfig { reference, susan: self.susan.then(SusanConfig::default) })
    }

    /// How images are registered.
    pub fn registration(&self) -> RegistrationConfig {
        let tool = match self.registration {
            Tool::Elastix => RegistrationTool::Elastix,
            Tool::Ants => RegistrationTool::Ants,
        };
        RegistrationConfig { tool, programs: self.programs.clone() }
    }

    /// Where the images lie.
    pub fn space(&self) -> PatientSpace {
        if self.registered { PatientSpace::Standard } else { PatientSpace::Native }
    }

    /// Where tracts come from, if an option names it.
    fn tract_source(&self) -> Option<TractSource> {
        if let (Some(maps), Some(ends)) = (self.tracts.clone(), self.tract_ends.clone()) {
            return Some(TractSource::Maps(TractMaps { maps, ends, threshold: 0.1 }));
        }
        if let (Some(masks), Some(names)) = (&self.tract_masks, &self.tract_names) {
            return Some(TractSource::Masks(TractMasks::new(masks, names)));
        }
        if let Some(streamlines) = &self.streamlines {
            let file = StreamlineFile::new(streamlines);
            let fewest = self.fewest_streamlines.unwrap_or(file.fewest);
            return Some(TractSource::Streamlines(StreamlineFile { fewest, ..file }));
        }
        let (connectome, least) = (self.connectome.clone()?, self.least_weight.unwrap_or(0.0));
        Some(TractSource::Connectome(ConnectomeFile { connectome, least }))
    }
}

/// A weight of a connectome.
fn weight(text: &str) -> Result<f64, String> {
    let weight: f64 = text.parse().map_err(|e| format!("{e}"))?;
    if weight.is_finite() && weight >= 0.0 { Ok(weight) } else { Err("not a number from 0 on".into()) }
}

/// What the numbers of a segmentation mean. There is no default: the same number is another tissue in the other.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Labels {
    /// 1 necrotic or not enhancing, 2 oedema, 4 enhancing (BraTS up to 2020 and 2021, TCGA, UCSF-PDGM).
    Brats2020,
    /// 1 necrotic or not enhancing, 2 oedema, 3 enhancing (BraTS 2023).
    Brats2023,
    /// As 2023, and 4 resection cavity, which is no tumour (BraTS 2024, after surgery).
    Brats2024,
    /// 1 oedema, 2 not enhancing, 3 enhancing (Medical Segmentation Decathlon).
    Decathlon,
}

impl From<Labels> for LabelConvention {
    fn from(labels: Labels) -> Self {
        match labels {
            Labels::Brats2020 => LabelConvention::Brats2020,
            Labels::Brats2023 => LabelConvention::Brats2023,
            Labels::Brats2024 => LabelConvention::Brats2024,
            Labels::Decathlon => LabelConvention::Decathlon,
        }
    }
}

/// The programs that register.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Tool {
    /// Affine, then B-splines.
    Elastix,
    /// Affine, then symmetric normalisation.
    Ants,
}

/// Who trains the encoders of regions and tracts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum NetworkPatientsArg {
    /// Those whose IDH status is not known.
    Unlabelled,
    /// Half A.
    HalfA,
    /// Both.
    UnlabelledAndHalfA,
}

impl From<NetworkPatientsArg> for NetworkPatients {
    fn from(patients: NetworkPatientsArg) -> Self {
        match patients {
            NetworkPatientsArg::Unlabelled => NetworkPatients::Unlabelled,
            NetworkPatientsArg::HalfA => NetworkPatients::HalfA,
            NetworkPatientsArg::UnlabelledAndHalfA => NetworkPatients::UnlabelledAndHalfA,
        }
    }
}

/// G-01 to G-37 at once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Preset {
    /// The literal reading of the paper, at its sizes.
    Paper,
    /// What we would run: momentum, shifted node attention, a loss on each embedding alone.
    Robust,
    /// `robust`, small and short.
    Quick,
}

impl From<Preset> for GliomaPreset {
    fn from(preset: Preset) -> Self {
        match preset {
            Preset::Paper => GliomaPreset::Paper,
            Preset::Robust => GliomaPreset::Robust,
            Preset::Quick => GliomaPreset::Quick,
        }
    }
}
