#![no_main]
//! Molecular and clinical tables in Parquet files.
use libfuzzer_sys::fuzz_target;
use oncograph_datasets::crlm::ClinicalTable;
use oncograph_datasets::omics::OmicsTable;
use oncograph_fuzz::{file, within_bounds};

fuzz_target!(|data: &[u8]| {
    let path = file("t.parquet", data);
    within_bounds(data, || {
        OmicsTable::read(&path).ok();
        ClinicalTable::read(&path).ok();
    });
});
