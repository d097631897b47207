#![no_main]
//! Gene sets.
use libfuzzer_sys::fuzz_target;
use oncograph_datasets::omics::GeneSets;
use oncograph_fuzz::{file, within_bounds};

fuzz_target!(|data: &[u8]| {
    let path = file("s.gmt", data);
    within_bounds(data, || drop(GeneSets::read(path)));
});
