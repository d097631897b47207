//! Pixels of a picture.

use crate::error::Result;
use crate::palette::Rgb;
use font8x8::legacy::BASIC_LEGACY;

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

    /// Writes white letters of 8 x 8 squares of `size` pixels with a dark rim; what lies outside of the picture is cut off.
    pub(super) fn write(&mut self, text: &str, left: usize, top: usize, size: usize) {
        for (place, letter) in text.chars().filter(char::is_ascii).enumerate() {
            let glyph = BASIC_LEGACY[letter as usize];
            let is_set = |x: isize, y: isize| {
                let row = usize::try_from(y).ok().and_then(|y| glyph.get(y));
                (0..8).contains(&x) && row.is_some_and(|row| row >> x & 1 == 1)
            };
            for y in -1..9 {
                for x in -1..9 {
                    let near = || (-1..=1).any(|dy| (-1..=1).any(|dx| is_set(x + dx, y + dy)));
                    let colour = match is_set(x, y) {
                        true => [255; 3],
                        false if near() => [0; 3],
                        false => continue,
                    };
                    self.square((left + 8 * size * place, top), (x, y), size, colour);
                }
            }
        }
    }

    /// A square of `size` pixels, `(x, y)` squares from a corner.
    fn square(&mut self, (left, top): (usize, usize), (x, y): (isize, isize), size: usize, colour: Rgb) {
        let at = |start: usize, step: isize| start.checked_add_signed(step * size as isize);
        let (Some(left), Some(top)) = (at(left, x), at(top, y)) else { return };
        for y in top..(top + size).min(self.height) {
            for x in left..(left + size).min(self.width) {
                self.set(x, y, colour);
            }
        }
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
