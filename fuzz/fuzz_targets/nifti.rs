#![no_main]
//! A NIfTI file, plain, packed, and as the header and the image of a pair.
use libfuzzer_sys::fuzz_target;
use oncograph_fuzz::{file, within_bounds};
use oncograph_imaging::nifti::{ReadOptions, read_4d, read_noted, read_with};

fuzz_target!(|data: &[u8]| {
    let (single, header) = (file("v.nii", data), file("p.hdr", data));
    file("p.img", data.get(348..).unwrap_or_default());
    within_bounds(data, || {
        let lenient = ReadOptions::new().allow_pixdim_geometry(true).allow_nan(true);
        read_noted::<f32>(&single, &lenient).ok();
        read_with::<u8>(&single, &ReadOptions::new()).ok();
        read_4d::<f32>(&single, &lenient).ok();
        read_noted::<i16>(header, &lenient).ok();
    });
});
