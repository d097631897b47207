#![no_main]
//! The feature cache, and the numbers of images that STG keeps in its format.
use libfuzzer_sys::fuzz_target;
use oncograph_datasets::cache::Features;
use oncograph_datasets::omics::RowStore;
use oncograph_fuzz::{file, within_bounds};

fuzz_target!(|data: &[u8]| {
    let path = file("f.safetensors", data);
    within_bounds(data, || {
        Features::read(&path, "fuzz").ok();
        if let Ok(store) = RowStore::open(&path) {
            store.rows(&[0]).ok();
        }
    });
});
