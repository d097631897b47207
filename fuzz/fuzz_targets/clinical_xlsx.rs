#![no_main]
//! Clinical tables as workbooks.
use libfuzzer_sys::fuzz_target;
use oncograph_datasets::crlm::{ClinicalTable, CovariateTable};
use oncograph_fuzz::{file, within_bounds, zipped};

fuzz_target!(|data: &[u8]| {
    let path = file("clinical.xlsx", &zipped(data));
    within_bounds(data, || {
        ClinicalTable::read(&path).ok();
        CovariateTable::read(&path).ok();
    });
});
