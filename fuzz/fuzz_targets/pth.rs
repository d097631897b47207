#![no_main]
//! Checkpoints of PyTorch.
use libfuzzer_sys::fuzz_target;
use oncograph_encoder::Checkpoint;
use oncograph_fuzz::{file, parts, within_bounds, zipped};

fuzz_target!(|data: &[u8]| {
    // Without parts it is a file of the time before the archives.
    let archive = !parts(data).1.is_empty();
    let path = file("c.pth", &if archive { zipped(data) } else { data.to_vec() });
    within_bounds(data, || drop(Checkpoint::read(path)));
});
