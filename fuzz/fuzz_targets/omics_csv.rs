#![no_main]
//! Molecular tables and networks as text.
use libfuzzer_sys::fuzz_target;
use oncograph_datasets::omics::{OmicsTable, read_bioplex, read_map, read_scored_edges, read_trrust};
use oncograph_fuzz::{file, within_bounds};
use oncograph_omics::OmicsPatient;

fuzz_target!(|data: &[u8]| {
    let path = file("t.csv", data);
    within_bounds(data, || {
        if let Ok(table) = OmicsTable::read(&path) {
            table.of_patients(&"01".parse().expect("a type of sample"));
        }
        read_bioplex(&path, 0.5).ok();
        read_scored_edges(&path, ["a", "b", "score"], 0.5).ok();
        read_trrust(&path).ok();
        read_map(&path, "a", "b").ok();
        OmicsPatient::read(&path).ok();
    });
});
