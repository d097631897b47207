#![no_main]
//! A folder of DICOM objects, which lie one behind the other in the input: each begins 128 bytes before its mark.
use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use oncograph_fuzz::{change_attribute, empty_folder, within_bounds};
use oncograph_imaging::dicom::{SeriesOptions, read_series, survey};

fn objects(data: &[u8]) -> Vec<&[u8]> {
    let marks = data.windows(4).enumerate().filter(|(at, bytes)| *at >= 128 && *bytes == b"DICM");
    let mut starts: Vec<usize> = marks.map(|(at, _)| at - 128).filter(|at| *at > 0).take(8).collect();
    starts.insert(0, 0);
    starts.push(data.len());
    starts.windows(2).filter_map(|pair| data.get(pair[0]..pair[1])).collect()
}

fuzz_target!(|data: &[u8]| {
    let folder = empty_folder("series");
    for (i, object) in objects(data).into_iter().enumerate() {
        std::fs::write(folder.join(format!("{i}.dcm")), object).expect("a temporary file");
    }
    within_bounds(data, || {
        survey(&folder).ok();
        read_series(&folder, &SeriesOptions::new()).ok();
        read_series(
            &folder,
            &SeriesOptions::new().skip_unreadable(true).spacing_tolerance(0.5).padding(-1024.0),
        )
        .ok();
    });
});

fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    // The first object alone: it is what is read as one.
    let first = objects(&data[..size]).first().map_or(0, |object| object.len());
    if first == size {
        return change_attribute(data, size, max_size, seed);
    }
    let rest = data[first..size].to_vec();
    let changed = change_attribute(data, first, max_size - rest.len(), seed);
    data[changed..changed + rest.len()].copy_from_slice(&rest);
    changed + rest.len()
});
