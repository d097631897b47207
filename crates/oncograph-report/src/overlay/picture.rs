//! Pixels of a picture.

use crate::error::Result;
use crate::palette::Rgb;

/// A dark-to-light ramp whose brightness grows evenly: readable in gray and with any colour blindness.
const HEAT: [[f32; 3]; 5] =
    [[0.0, 0.0, 4.0], [87.0, 16.0, 110.0], [188.0, 55.0, 84.0], [249.0, 142.0, 9.0], [252.0, 255.0, 164.0]];

/// An RGB picture in memory.
pub(super) struct Picture {
    width: usize,
    height: usize,
    rgb: Vec<u8>,
}

impl Picture {
    pub(super) fn black(width: usize, height: usize) -> Self {
        Self { width, height, rgb: vec![0; width * height * 3] }
    }

    pub(super) fn set(&mut self, x: usize, y: usize, colour: Rgb) {
        let at = (y * self.width + x) * 3;
        self.rgb[at..at + 3].copy_from_slice(&colour);
    }

    pub(super) fn paste(&mut self, other: &Self, left: usize, top: usize) {
        for y in 0..other.height {
            let to = ((top + y) * self.width + left) * 3;
            let from = y * other.width * 3;
            self.rgb[to..to + other.width * 3].copy_from_slice(&other.rgb[from..from + other.width * 3]);
        }
    }

    pub(super) fn encode(&self) -> Result<Vec<u8>> {
        let mut bytes = Vec::new();
        let mut encoder = png::Encoder::new(&mut bytes, self.width as u32, self.height as u32);
        encoder.set_color(png::ColorType::Rgb);
        encoder.set_depth(png::BitDepth::Eight);
        let mut writer = encoder.write_header()?;
        writer.write_image_data(&self.rgb)?;
        writer.finish()?;
        Ok(bytes)
    }
}

/// `over` laid on `under`.
pub(super) fn mix(under: [f32; 3], over: [f32; 3], opacity: f32) -> [f32; 3] {
    std::array::from_fn(|c| under[c] * (1.0 - opacity) + over[c] * opacity)
}

/// The colour of a value in [0, 1].
pub(super) fn heat_colour(value: f32) -> [f32; 3] {
    let place = value.clamp(0.0, 1.0) * (HEAT.len() - 1) as f32;
    let low = (place as usize).min(HEAT.len() - 2);
    mix(HEAT[low], HEAT[low + 1], place - low as f32)
}
