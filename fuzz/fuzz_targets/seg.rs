#![no_main]
//! A segmentation beside a CT that is whole.
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use oncograph_fuzz::{change_attribute, file, series, within_bounds};
use oncograph_imaging::dicom::Series;
use oncograph_imaging::seg::{DecodeOptions, read};
use std::sync::LazyLock;

static CT: LazyLock<Series> = LazyLock::new(series);

fuzz_target!(|data: &[u8]| {
    let (path, ct) = (file("seg.dcm", data), &*CT);
    within_bounds(data, || {
        let Ok(object) = read(path) else { return };
        object.decode_onto_series(ct, &DecodeOptions::new()).ok();
        object.decode_onto_series(ct, &DecodeOptions::new().resample(true)).ok();
        object.decode_onto(ct.volume.grid(), ct.volume.frame()).ok();
    });
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    change_attribute(data, size, max_size, seed)
});
