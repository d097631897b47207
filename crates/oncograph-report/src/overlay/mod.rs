//! Image slices with coloured masks and heat maps, as PNG.

mod picture;

use crate::error::{Error, Result, check_length, check_not_empty};
use crate::figure::Figure;
use crate::palette::Rgb;
use crate::text::short;
use oncograph_core::Argument;
use picture::{Picture, heat_colour, mix};

/// How much of a mask's colour covers the gray inside its contour.
const MASK_OPACITY: f32 = 0.35;
/// The most pixels that a picture may have, so that a wrong spacing cannot fill the memory.
const MOST_PIXELS: f64 = 64e6;
/// Black pixels between the slices of a contact sheet.
const GUTTER: usize = 6;

/// A mask to be drawn over a slice: every value above zero belongs to it.
#[derive(Debug, Clone, Copy)]
pub struct OverlayMask<'a> {
    /// The name in the legend.
    pub name: &'a str,
    /// One value per pixel, in the layout of the slice.
    pub pixels: &'a [u8],
    /// The colour, for example one of [`OKABE_ITO`](crate::palette::OKABE_ITO).
    pub colour: Rgb,
}

/// One slice of an image with what is drawn over it.
///
/// # Example
/// ```
/// use oncograph_report::{overlay::{OverlayMask, OverlaySlice, slice_overlay}, palette::OKABE_ITO};
/// let gray = [0.1, 0.2, 0.8, 0.9];
/// let tumour = OverlayMask { name: "tumour", pixels: &[0, 0, 1, 1], colour: OKABE_ITO[1] };
/// let slice = OverlaySlice::new(&gray, 2, 2).spacing([0.8, 2.5]).mask(tumour);
/// let figure = slice_overlay(&slice, 10.0)?;
/// assert!(figure.png().is_some());
/// # Ok::<(), oncograph_report::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OverlaySlice<'a> {
    gray: &'a [f32],
    width: usize,
    height: usize,
    spacing: [f64; 2],
    masks: Vec<OverlayMask<'a>>,
    heat: Option<(&'a str, &'a [f32])>,
    title: String,
    outlined: bool,
    label: String,
    sides: Option<[char; 2]>,
}

impl<'a> OverlaySlice<'a> {
    /// A slice of gray values in [0, 1], row by row from the top; values outside are drawn black or white.
    pub fn new(gray: &'a [f32], width: usize, height: usize) -> Self {
        Self {
            gray,
            width,
            height,
            spacing: [1.0; 2],
            masks: Vec::new(),
            heat: None,
            title: String::new(),
            outlined: false,
            label: String::new(),
            sides: None,
        }
    }

    /// Sets the distance between pixel centres along x (columns) and y (rows), in mm; 1 mm if not set.
    pub fn spacing(mut self, mm: [f64; 2]) -> Self {
        self.spacing = mm;
        self
    }

    /// Adds a mask over those already there.
    pub fn mask(mut self, mask: OverlayMask<'a>) -> Self {
        self.masks.push(mask);
        self
    }

    /// Adds a map of values in [0, 1], such as Grad-CAM, under the masks: the higher, the brighter and the more
    /// opaque.
    pub fn heat(mut self, name: &'a str, values: &'a [f32]) -> Self {
        self.heat = Some((name, values));
        self
    }

    /// Names the slice in the caption, for example by its position.
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Draws masks as contours alone, so that what lies within them is seen.
    pub fn outlined(mut self) -> Self {
        self.outlined = true;
        self
    }

    /// Writes a word into the upper left corner, for example the sequence; what does not fit is cut off, and what is not ASCII is left
    /// out.
    pub fn label(mut self, word: impl Into<String>) -> Self {
        self.label = word.into();
        self
    }

    /// Writes letters at the left and the right border: for a slice as a radiologist sees it `R` and `L`, the patient's sides.
    pub fn sides(mut self, left: char, right: char) -> Self {
        self.sides = Some([left, right]);
        self
    }

    fn check(&self, operation: &'static str, scale: f64) -> Result<(usize, usize)> {
        let pixels = self.width.saturating_mul(self.height);
        check_not_empty(operation, "slice", pixels, "at least one pixel")?;
        check_length(operation, "gray", self.gray.len(), pixels)?;
        for mask in &self.masks {
            check_length(operation, "mask", mask.pixels.len(), pixels)?;
        }
        if let Some((_, values)) = self.heat {
            check_length(operation, "heat", values.len(), pixels)?;
            check_finite(operation, "heat", values)?;
        }
        check_finite(operation, "gray", self.gray)?;
        for (option, value) in
            [("spacing.x", self.spacing[0]), ("spacing.y", self.spacing[1]), ("scale", scale)]
        {
            if !(value.is_finite() && value > 0.0) {
                let expected = "a finite number above 0";
                return Err(Error::argument(operation, option, expected, value));
            }
        }
        let side = |n: usize, mm: f64| (n as f64 * mm * scale).round().max(1.0);
        let (width, height) = (side(self.width, self.spacing[0]), side(self.height, self.spacing[1]));
        // An f64 product cannot overflow into something that looks small.
        check_size(operation, width * height)?;
        Ok((width as usize, height as usize))
    }

    /// The slice at its size in millimetres times the scale.
    fn render(&self, (width, height): (usize, usize)) -> Picture {
        let mut picture = Picture::black(width, height);
        let (sx, sy) = (self.width as f64 / width as f64, self.height as f64 / height as f64);
        let nearest = |x: usize, y: usize| {
            let column = (((x as f64 + 0.5) * sx) as usize).min(self.width - 1);
            let row = (((y as f64 + 0.5) * sy) as usize).min(self.height - 1);
            row * self.width + column
        };
        for y in 0..height {
            for x in 0..width {
                let at = ((x as f64 + 0.5) * sx - 0.5, (y as f64 + 0.5) * sy - 0.5);
                let gray = self.linear(self.gray, at).clamp(0.0, 1.0) * 255.0;
                let mut colour = [gray; 3];
                if let Some((_, values)) = self.heat {
                    let value = self.linear(values, at).clamp(0.0, 1.0);
                    colour = mix(colour, heat_colour(value), 0.75 * value);
                }
                for mask in self.masks.iter().filter(|m| m.pixels[nearest(x, y)] > 0) {
                    let inside = if self.outlined { 0.0 } else { MASK_OPACITY };
                    let opacity =
                        if self.is_edge(mask, (x, y), (width, height), nearest) { 1.0 } else { inside };
                    colour = mix(colour, mask.colour.map(f32::from), opacity);
                }
                picture.set(x, y, colour.map(|v| v.round() as u8));
            }
        }
        // A letter is about a twelfth of the slice, in whole pixels.
        let size = (width.min(height) / 96).max(1);
        let letter = 8 * size;
        picture.write(&self.label, 1, 1, size);
        if let Some([left, right]) = self.sides {
            let middle = height.saturating_sub(letter) / 2;
            picture.write(&left.to_string(), 1, middle, size);
            picture.write(&right.to_string(), width.saturating_sub(letter + 1), middle, size);
        }
        picture
    }

    /// A pixel of the mask is on its contour if a neighbour is outside it, or outside the picture.
    fn is_edge(
        &self,
        mask: &OverlayMask,
        (x, y): (usize, usize),
        (width, height): (usize, usize),
        nearest: impl Fn(usize, usize) -> usize,
    ) -> bool {
        let border = x == 0 || y == 0 || x + 1 == width || y + 1 == height;
        border
            || [(x - 1, y), (x + 1, y), (x, y - 1), (x, y + 1)]
                .iter()
                .any(|&(x, y)| mask.pixels[nearest(x, y)] == 0)
    }

    /// Bilinear interpolation at pixel coordinates, held at the border.
    fn linear(&self, values: &[f32], (x, y): (f64, f64)) -> f32 {
        let axis = |v: f64, n: usize| {
            let v = v.clamp(0.0, (n - 1) as f64);
            let low = v.floor() as usize;
            (low, (low + 1).min(n - 1), (v - v.floor()) as f32)
        };
        let (x0, x1, fx) = axis(x, self.width);
        let (y0, y1, fy) = axis(y, self.height);
        let at = |x: usize, y: usize| values[y * self.width + x];
        let top = at(x0, y0) * (1.0 - fx) + at(x1, y0) * fx;
        let bottom = at(x0, y1) * (1.0 - fx) + at(x1, y1) * fx;
        top * (1.0 - fy) + bottom * fy
    }
}

/// One slice with its masks, resampled so that the picture has square pixels in mm.
///
/// Gray and heat are interpolated linearly, masks keep their pixels; a mask is a tint with a solid contour.
///
/// # Units
/// `scale` in picture pixels per mm.
///
/// # Errors
/// No pixel, a layer of another size, values that are not finite, a spacing or scale that is not above 0, a
/// picture of more than 64 million pixels.
pub fn slice_overlay(slice: &OverlaySlice, scale: f64) -> Result<Figure> {
    contact("slice_overlay", std::slice::from_ref(slice), 1, scale)
}

/// Several slices in a grid, row by row; slices of different sizes are centred in cells of one size.
///
/// # Units
/// `scale` in picture pixels per mm.
///
/// # Errors
/// As [`slice_overlay`], for any of the slices; no slice, no column.
///
/// # Example
/// ```
/// use oncograph_report::overlay::{OverlaySlice, contact_sheet};
/// let gray = [0.5; 12];
/// let slices = [1, 2, 3].map(|z| OverlaySlice::new(&gray, 4, 3).titled(format!("z = {z}")));
/// assert!(contact_sheet(&slices, 2, 8.0)?.caption().contains("z = 1, z = 2; z = 3"));
/// # Ok::<(), oncograph_report::Error>(())
/// ```
pub fn contact_sheet(slices: &[OverlaySlice], columns: usize, scale: f64) -> Result<Figure> {
    contact("contact_sheet", slices, columns, scale)
}

fn contact(operation: &'static str, slices: &[OverlaySlice], columns: usize, scale: f64) -> Result<Figure> {
    check_not_empty(operation, "slices", slices.len(), "at least one slice")?;
    if columns == 0 {
        let expected = "at least 1";
        return Err(Error::argument(operation, "columns", expected, 0));
    }
    let columns = columns.min(slices.len());
    let sizes = slices.iter().map(|s| s.check(operation, scale)).collect::<Result<Vec<_>>>()?;
    let cell = sizes.iter().fold((0, 0), |cell, size| (cell.0.max(size.0), cell.1.max(size.1)));
    let rows = slices.len().div_ceil(columns);
    let side = |cells: usize, size: usize| cells * size + (cells - 1) * GUTTER;
    let (width, height) = (side(columns, cell.0), side(rows, cell.1));
    check_size(operation, width as f64 * height as f64)?;
    let mut sheet = Picture::black(width, height);
    for (index, (slice, size)) in slices.iter().zip(&sizes).enumerate() {
        let left = (index % columns) * (cell.0 + GUTTER) + (cell.0 - size.0) / 2;
        let top = (index / columns) * (cell.1 + GUTTER) + (cell.1 - size.1) / 2;
        sheet.paste(&slice.render(*size), left, top);
    }
    let legend = legend(slices);
    let (caption, alt) = words(slices, columns, &legend, scale);
    Ok(Figure::png_picture(sheet.encode()?, width as u32, caption, alt).with_legend(legend))
}

fn check_size(operation: &'static str, pixels: f64) -> Result<()> {
    if pixels <= MOST_PIXELS {
        return Ok(());
    }
    let expected = "a picture of at most 64 million pixels";
    Err(Error::argument(operation, "scale", expected, format!("{pixels:.0} pixels")))
}

fn check_finite(operation: &'static str, argument: &'static str, values: &[f32]) -> Result<()> {
    match values.iter().position(|v| !v.is_finite()) {
        Some(index) => {
            let at = format!("{argument}[{index}]");
            Err(Argument::new(operation, at, "a finite number", values[index]).into())
        }
        None => Ok(()),
    }
}

/// Every mask that has a pixel somewhere, and the heat maps, each once, in order of appearance.
fn legend(slices: &[OverlaySlice]) -> Vec<(String, Rgb)> {
    let mut entries: Vec<(String, Rgb)> = Vec::new();
    let mut add = |entry: (String, Rgb)| {
        if !entries.contains(&entry) {
            entries.push(entry);
        }
    };
    for slice in slices {
        let drawn = slice.masks.iter().filter(|m| m.pixels.iter().any(|p| *p > 0));
        drawn.for_each(|m| add((m.name.to_owned(), m.colour)));
        if let Some((name, _)) = slice.heat {
            add((format!("{name} (high)"), heat_colour(0.8).map(|v| v.round() as u8)));
        }
    }
    entries
}

fn words(slices: &[OverlaySlice], columns: usize, legend: &[(String, Rgb)], scale: f64) -> (String, String) {
    let titles: Vec<&str> = slices.iter().map(|s| s.title.as_str()).collect();
    let rows: Vec<String> = titles.chunks(columns).map(|row| row.join(", ")).collect();
    let titles = match titles.iter().all(|t| t.is_empty()) {
        true => String::new(),
        false if slices.len() == 1 => format!("{}. ", rows.concat()),
        false if rows.len() == 1 => format!("From left to right: {}. ", rows.concat()),
        false => format!("Row by row: {}. ", rows.join("; ")),
    };
    let caption = format!("{titles}One mm is {} pixels in both directions.", short(scale));
    let names: Vec<&str> = legend.iter().map(|(name, _)| name.as_str()).collect();
    let over = match names.is_empty() {
        true => "without a mask".to_owned(),
        false => format!("with {}", names.join(", ")),
    };
    let count =
        if slices.len() == 1 { "Image slice".to_owned() } else { format!("{} image slices", slices.len()) };
    (caption, format!("{count} {over}. {titles}").trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Width, height and RGB of a figure's PNG.
    fn decode(figure: &Figure) -> (usize, usize, Vec<u8>) {
        let mut reader = png::Decoder::new(std::io::Cursor::new(figure.png().unwrap())).read_info().unwrap();
        let mut rgb = vec![0; reader.output_buffer_size().unwrap()];
        let info = reader.next_frame(&mut rgb).unwrap();
        (info.width as usize, info.height as usize, rgb)
    }

    fn pixel(rgb: &[u8], width: usize, x: usize, y: usize) -> Rgb {
        let at = (y * width + x) * 3;
        [rgb[at], rgb[at + 1], rgb[at + 2]]
    }

    #[test]
    fn pixels_are_square_in_millimetres() {
        let slice = OverlaySlice::new(&[0.5; 6], 3, 2).spacing([1.0, 4.5]);
        let (width, height, rgb) = decode(&slice_overlay(&slice, 2.0).unwrap());
        assert_eq!((width, height), (6, 18));
        assert!(rgb.iter().all(|v| *v == 128));
    }

    #[test]
    fn a_mask_is_a_tint_with_a_solid_contour() {
        let mut mask = [0; 25];
        for (x, y) in [(1, 1), (2, 1), (3, 1), (1, 2), (2, 2), (3, 2), (1, 3), (2, 3), (3, 3)] {
            mask[y * 5 + x] = 7;
        }
        let slice = OverlaySlice::new(&[1.0; 25], 5, 5).mask(OverlayMask {
            name: "m",
            pixels: &mask,
            colour: [0, 100, 200],
        });
        let (width, _, rgb) = decode(&slice_overlay(&slice, 1.0).unwrap());
        assert_eq!(pixel(&rgb, width, 0, 0), [255; 3], "outside");
        assert_eq!(pixel(&rgb, width, 1, 2), [0, 100, 200], "contour");
        // 255 · 0.65 + colour · 0.35.
        assert_eq!(pixel(&rgb, width, 2, 2), [166, 201, 236], "inside");
    }

    #[test]
    fn outlines_leave_what_is_inside_and_letters_are_at_their_sides() {
        let gray = [0.5; 400];
        let mask: Vec<u8> = (0..400).map(|i| u8::from((8..12).contains(&(i % 20)))).collect();
        let tumour = OverlayMask { name: "m", pixels: &mask, colour: [0, 100, 200] };
        let plain = OverlaySlice::new(&gray, 20, 20).outlined().mask(tumour);
        let (width, _, rgb) = decode(&slice_overlay(&plain, 1.0).unwrap());
        assert_eq!((pixel(&rgb, width, 8, 9), pixel(&rgb, width, 9, 9)), ([0, 100, 200], [128; 3]));
        let letters = plain.sides('R', 'L');
        let (_, _, lettered) = decode(&slice_overlay(&letters, 1.0).unwrap());
        let changed = |columns: std::ops::Range<usize>| {
            columns
                .flat_map(|x| (0..20).map(move |y| (x, y)))
                .filter(|&(x, y)| pixel(&rgb, 20, x, y) != pixel(&lettered, 20, x, y))
                .count()
        };
        assert!(changed(0..10) > 20 && changed(10..20) > 10, "{} {}", changed(0..10), changed(10..20));
        // The foot of an L is at its left.
        let white = |x: usize| (0..20).filter(|&y| pixel(&lettered, 20, x, y) == [255; 3]).count();
        assert!((11..15).map(white).sum::<usize>() > (15..19).map(white).sum::<usize>());
        // Words that do not fit, or are no ASCII, are no error.
        let long = OverlaySlice::new(&gray, 20, 20).label("contrast-enhanced T1 \u{3b1}");
        slice_overlay(&long, 1.0).unwrap();
        slice_overlay(&OverlaySlice::new(&[0.5], 1, 1).label("T1").sides('R', 'L'), 1.0).unwrap();
    }

    #[test]
    fn a_sheet_centres_its_slices_and_leaves_gutters() {
        let (white, one) = ([1.0; 4], [1.0; 1]);
        let slices =
            [OverlaySlice::new(&white, 2, 2), OverlaySlice::new(&white, 2, 2), OverlaySlice::new(&one, 1, 2)];
        assert!(contact_sheet(&slices, 2, 1.0).is_err(), "the third slice lacks a pixel");
        let slices = [slices[0].clone(), slices[1].clone(), OverlaySlice::new(&one, 1, 1)];
        let (width, height, rgb) = decode(&contact_sheet(&slices, 2, 1.0).unwrap());
        assert_eq!((width, height), (2 + GUTTER + 2, 2 + GUTTER + 2));
        assert_eq!(pixel(&rgb, width, 2 + GUTTER, 0), [255; 3]);
        assert_eq!(pixel(&rgb, width, 2, 0), [0; 3], "gutter");
        assert_eq!(pixel(&rgb, width, 0, 2 + GUTTER), [255; 3], "the small slice");
        assert_eq!(pixel(&rgb, width, 1, 2 + GUTTER), [0; 3], "beside the small slice");
    }

    #[test]
    fn heat_is_clear_at_zero_and_bright_at_one() {
        let slice = OverlaySlice::new(&[0.5; 2], 2, 1).heat("Grad-CAM", &[0.0, 1.0]);
        let figure = slice_overlay(&slice, 1.0).unwrap();
        let (width, _, rgb) = decode(&figure);
        assert_eq!(pixel(&rgb, width, 0, 0), [128; 3]);
        // 127.5 · 0.25 + (252, 255, 164) · 0.75.
        assert_eq!(pixel(&rgb, width, 1, 0), [221, 223, 155]);
        assert!(figure.alt().contains("Grad-CAM"));
    }

    #[test]
    fn the_legend_has_only_what_is_drawn() {
        let mask = |name, pixels| OverlayMask { name, pixels, colour: [1, 2, 3] };
        let slice = OverlaySlice::new(&[0.0], 1, 1).mask(mask("liver", &[1])).mask(mask("tumour <b>", &[0]));
        let html = slice_overlay(&slice, 1.0).unwrap().to_html("");
        assert!(html.contains("<li><span style=\"background:#010203\"></span>liver</li>"), "{html}");
        assert!(!html.contains("tumour"), "{html}");
    }

    #[test]
    fn bad_input_is_an_error() {
        let good = OverlaySlice::new(&[0.5; 4], 2, 2);
        assert!(slice_overlay(&OverlaySlice::new(&[0.5; 3], 2, 2), 1.0).is_err());
        assert!(slice_overlay(&OverlaySlice::new(&[], 0, 2), 1.0).is_err());
        assert!(slice_overlay(&OverlaySlice::new(&[f32::NAN], 1, 1), 1.0).is_err());
        assert!(slice_overlay(&good.clone().spacing([0.0, 1.0]), 1.0).is_err());
        assert!(slice_overlay(&good, f64::NAN).is_err());
        assert!(slice_overlay(&good, 1e9).is_err());
        assert!(slice_overlay(&good.clone().heat("h", &[0.0]), 1.0).is_err());
        assert!(
            slice_overlay(&good.clone().mask(OverlayMask { name: "m", pixels: &[1], colour: [0; 3] }), 1.0)
                .is_err()
        );
        assert!(contact_sheet(&[], 1, 1.0).is_err());
        assert!(contact_sheet(&[good], 0, 1.0).is_err());
    }
}
