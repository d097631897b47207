#![no_main]
//! A tractogram, TCK or TRK by its first bytes.
use libfuzzer_sys::fuzz_target;
use oncograph_fuzz::{file, within_bounds};
use oncograph_imaging::streamlines::Streamlines;

fuzz_target!(|data: &[u8]| {
    let path = file("s.tck", data);
    within_bounds(data, || {
        if let Ok(lines) = Streamlines::read(&path) {
            assert!(lines.iter().flatten().flatten().all(|v| v.is_finite()));
        }
    });
});
