//! The patients of a run: table, outcomes and, where there are images, the encoder's features of them.

use crate::config::{RunConfig, Source};
use crate::encode::{Encoder, PatientFeatures};
use anyhow::Context;
use oncograph::core::{FollowUp, Table};
use oncograph::datasets::crlm::{CrlmCohort, CrlmImages, Endpoint, Structure, SubjectFiles, write_phantom};
use oncograph::spatiotemporal::PatientMasks;
use oncograph::train::StopFlag;
use oncograph_examples::progress;
use rayon::prelude::*;
use std::path::Path;

/// Everything that cross-validation needs, patient by patient.
pub struct Patients {
    /// Clinical covariates; the identifiers name the rows of everything else.
    pub clinical: Table,
    /// Recurrence and survival.
    pub outcomes: Vec<[FollowUp; 2]>,
    pub strata: Vec<usize>,
    /// `None` where image nodes are absent.
    pub images: Option<Vec<PatientFeatures>>,
    pub subjects: Vec<SubjectFiles>,
    pub phantom: bool,
    /// What a reader of the report must know about the data.
    pub notes: Vec<String>,
}

impl Patients {
    /// Opens or generates the cohort and encodes its images.
    pub fn load(config: &RunConfig, out: &Path, encoder: &Encoder, stop: &StopFlag) -> anyhow::Result<Self> {
        let cohort = open(config, out)?;
        let with_images = cohort.subjects.iter().filter(|s| s.images.is_some()).count();
        let all = cohort.subjects.len();
        let mut notes = vec![];
        // A graph without its image nodes is another input: patients are compared on one kind only.
        let use_images = config.images && with_images > 0;
        let keep: Vec<usize> =
            (0..all).filter(|&i| !use_images || cohort.subjects[i].images.is_some()).collect();
        if !use_images {
            let why = if config.images { "the folder holds no images" } else { "--no-images was given" };
            notes.push(format!("Image nodes are absent ({why}): {all} patients, clinical covariates only."));
        } else if keep.len() < all {
            notes.push(format!("{} of {all} patients have no images and are left out.", all - keep.len()));
        }
        for line in cohort.clinical.audit() {
            notes.push(format!("Contradiction in the table: {line}"));
        }
        let subjects: Vec<SubjectFiles> = keep.iter().map(|&i| cohort.subjects[i].clone()).collect();
        let images = if use_images { Some(encode(config, encoder, &subjects, stop)?) } else { None };
        let clinical = cohort.clinical.features(config.features)?.select(&keep);
        let (first, second) =
            (cohort.clinical.outcomes(config.endpoint), cohort.clinical.outcomes(Endpoint::OverallSurvival));
        let strata = cohort.clinical.strata();
        Ok(Patients {
            clinical,
            outcomes: keep.iter().map(|&i| [first[i], second[i]]).collect(),
            strata: keep.iter().map(|&i| strata[i]).collect(),
            images,
            subjects,
            phantom: cohort.phantom,
            notes,
        })
    }

    pub fn ids(&self) -> &[String] {
        self.clinical.ids()
    }

    pub fn len(&self) -> usize {
        self.clinical.len()
    }

    /// The times of one task (0 recurrence, 1 survival) of some patients.
    pub fn follow_up(&self, task: usize, rows: &[usize]) -> Vec<FollowUp> {
        rows.iter().map(|&i| self.outcomes[i][task]).collect()
    }

    /// The times of one task of all patients.
    pub fn task(&self, task: usize) -> Vec<FollowUp> {
        self.outcomes.iter().map(|o| o[task]).collect()
    }
}

fn open(config: &RunConfig, out: &Path) -> anyhow::Result<CrlmCohort> {
    match &config.source {
        Source::Folder { root, clinical: Some(table) } => Ok(CrlmCohort::open_with(root, table)?),
        Source::Folder { root, clinical: None } => Ok(CrlmCohort::open(root)?),
        Source::Phantom(phantom) => {
            let folder = out.join("phantom_crlm").join(format!("seed_{}", phantom.seed));
            let bar = progress(phantom.patients as u64, "phantom cohort");
            std::fs::create_dir_all(&folder).with_context(|| folder.display().to_string())?;
            write_phantom(&folder, phantom, |done, _| bar.set_position(done as u64))?;
            bar.finish();
            Ok(CrlmCohort::open(&folder)?)
        }
    }
}

fn encode(
    config: &RunConfig,
    encoder: &Encoder,
    subjects: &[SubjectFiles],
    stop: &StopFlag,
) -> anyhow::Result<Vec<PatientFeatures>> {
    let bar = progress(subjects.len() as u64, "encoding images");
    // Small volumes do not fill a convolution's threads: several patients at once do.
    let one = |subject: &SubjectFiles| {
        if stop.is_requested() {
            return Err(oncograph::train::Error::Stopped.into());
        }
        let features = encoder.subject(subject, config);
        bar.inc(1);
        features
    };
    // Collected before the first error is taken: which one is told does not depend on the threads.
    let all: Vec<anyhow::Result<PatientFeatures>> = subjects.par_iter().map(one).collect();
    let features = all.into_iter().collect::<anyhow::Result<Vec<_>>>()?;
    bar.finish();
    Ok(features)
}

/// The masks as the network names them.
pub fn masks(images: &CrlmImages) -> PatientMasks {
    let of = |s: Structure| images.masks.get(&s).cloned();
    PatientMasks {
        liver: of(Structure::Liver),
        remnant: of(Structure::LiverRemnant),
        hepatic: of(Structure::HepaticVeins),
        portal: of(Structure::PortalVeins),
        tumour: images.tumors().next().is_some().then(|| images.tumor_union()),
    }
}
