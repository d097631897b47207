#![no_main]
//! Clinical tables as text.
use libfuzzer_sys::fuzz_target;
use oncograph_datasets::crlm::{ClinicalTable, CovariateTable};
use oncograph_datasets::glioma::{BratsNames, GliomaTable};
use oncograph_fuzz::{file, within_bounds};

fuzz_target!(|data: &[u8]| {
    let path = file("clinical.csv", data);
    within_bounds(data, || {
        ClinicalTable::read(&path).ok();
        CovariateTable::read(&path).ok();
        GliomaTable::read(&path).ok();
        BratsNames::read(&path).ok();
    });
});
