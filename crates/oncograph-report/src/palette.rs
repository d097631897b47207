//! The colours of all figures.

/// A colour as red, green, blue.
pub type Rgb = [u8; 3];

/// The Okabe–Ito colours, which people with any common colour blindness can tell apart, in the order of use.
///
/// Yellow comes last because thin lines of it are hard to see on white.
///
/// # Reference
/// Okabe & Ito, Color Universal Design, 2008.
pub const OKABE_ITO: [Rgb; 8] = [
    [0, 114, 178],
    [213, 94, 0],
    [0, 158, 115],
    [204, 121, 167],
    [0, 0, 0],
    [230, 159, 0],
    [86, 180, 233],
    [240, 228, 66],
];

/// The places in [`OKABE_ITO`] of low, middle and high risk: blue, orange and vermilion, in every figure.
pub const RISK: [usize; 3] = [0, 5, 1];

/// Text and axes.
pub(crate) const INK: Rgb = [34, 34, 34];
/// Secondary lines, such as the identity.
pub(crate) const GREY: Rgb = [120, 120, 120];
/// Grid lines.
pub(crate) const GRID: Rgb = [228, 228, 228];

/// The `index`-th colour of [`OKABE_ITO`], starting again after the last.
pub fn colour(index: usize) -> Rgb {
    OKABE_ITO[index % OKABE_ITO.len()]
}

/// `#rrggbb`.
pub(crate) fn hex([r, g, b]: Rgb) -> String {
    format!("#{r:02x}{g:02x}{b:02x}")
}
