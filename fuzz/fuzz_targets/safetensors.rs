#![no_main]
//! Weights and the state of a training as safetensors.
use libfuzzer_sys::fuzz_target;
use oncograph_encoder::Checkpoint;
use oncograph_fuzz::{file, within_bounds};
use oncograph_train::TrainingCheckpoint;

fuzz_target!(|data: &[u8]| {
    let path = file("c.safetensors", data);
    within_bounds(data, || {
        Checkpoint::read(&path).ok();
        TrainingCheckpoint::load(&path).ok();
    });
});
