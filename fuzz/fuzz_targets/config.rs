#![no_main]
//! The settings of runs, the description of a cohort folder, and a patient to predict.
use libfuzzer_sys::fuzz_target;
use oncograph_brain::{GliomaConfig, GliomaTablesConfig};
use oncograph_datasets::omics::CohortSchema;
use oncograph_fuzz::{file, within_bounds};
use oncograph_omics::{OmicsPatient, OmicsSystemConfig};
use oncograph_spatiotemporal::StgSystemConfig;
use oncograph_study::cli::read_config;

fuzz_target!(|data: &[u8]| {
    let path = file("config.json", data);
    within_bounds(data, || {
        read_config::<StgSystemConfig>("stg_crlm", &path).ok().map(|c| c.validate());
        read_config::<GliomaConfig>("glioma_idh", &path).ok().map(|c| c.validate());
        read_config::<GliomaTablesConfig>("glioma_tables", &path).ok().map(|c| c.validate());
        read_config::<OmicsSystemConfig>("multimodal_oncology", &path).ok().map(|c| c.validate());
        OmicsPatient::read(&path).ok();
        serde_json::from_slice::<CohortSchema>(data).ok().map(|c| c.validate());
    });
});
