//! A drawing surface in CSS pixels over plotters' SVG backend.

use crate::error::{Error, Result};
use crate::palette::{INK, Rgb};
use plotters::backend::{DrawingBackend, SVGBackend};
use plotters::style::text_anchor::{HPos, Pos, VPos};
use plotters::style::{Color, FontTransform, IntoFont, RGBColor, ShapeStyle, TextStyle};

/// The backend rounds to whole units; with 10 units in a pixel, lines and markers fall where they should.
const UNITS: f64 = 10.0;
/// plotters divides font sizes by this factor when it writes SVG.
const FONT_FACTOR: f64 = 1.24;

/// Size of tick labels, legends and other text in figures, in pixels.
pub(crate) const TEXT: f64 = 13.0;

pub(crate) type Point = (f64, f64);

/// A line's looks.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Stroke {
    pub colour: Rgb,
    pub width: f64,
    pub dashed: bool,
}

impl Stroke {
    pub(crate) fn new(colour: Rgb, width: f64) -> Self {
        Self { colour, width, dashed: false }
    }

    pub(crate) fn dashed(self, dashed: bool) -> Self {
        Self { dashed, ..self }
    }
}

/// Where a text stands relative to its point.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Anchor {
    Left,
    Right,
    Below,
    Centre,
}

/// Draws one SVG document of the given size in pixels.
pub(crate) fn draw(
    operation: &'static str,
    width: f64,
    height: f64,
    paint: impl FnOnce(&mut Canvas) -> Result<()>,
) -> Result<String> {
    let mut svg = String::new();
    let size = ((width * UNITS).round() as u32, (height * UNITS).round() as u32);
    let mut canvas = Canvas { backend: SVGBackend::with_string(&mut svg, size), operation };
    canvas.rect((0.0, 0.0), (width, height), [255, 255, 255], 1.0)?;
    paint(&mut canvas)?;
    canvas.finish()?;
    drop(canvas);
    // The document's natural size is in pixels, its coordinates are in units.
    let natural = format!("<svg width=\"{}\" height=\"{}\" ", width.round(), height.round());
    let opening = format!("<svg width=\"{}\" height=\"{}\" ", size.0, size.1);
    Ok(svg.replacen(&opening, &natural, 1))
}

pub(crate) struct Canvas<'a> {
    backend: SVGBackend<'a>,
    operation: &'static str,
}

fn unit((x, y): Point) -> (i32, i32) {
    ((x * UNITS).round() as i32, (y * UNITS).round() as i32)
}

fn style([r, g, b]: Rgb, alpha: f64, width: f64) -> ShapeStyle {
    let width = (width * UNITS).round() as u32;
    ShapeStyle { color: RGBColor(r, g, b).mix(alpha), filled: true, stroke_width: width }
}

impl Canvas<'_> {
    fn check<E: std::fmt::Display>(&self, result: Result<(), E>) -> Result<()> {
        result.map_err(|e| Error::Draw { operation: self.operation, detail: e.to_string() })
    }

    fn finish(&mut self) -> Result<()> {
        let result = self.backend.present();
        self.check(result)
    }

    /// A polyline; fewer than two points draw nothing.
    pub(crate) fn line(&mut self, points: &[Point], stroke: Stroke) -> Result<()> {
        if points.len() < 2 {
            return Ok(());
        }
        let pieces = if stroke.dashed { dashes(points) } else { vec![points.to_vec()] };
        for piece in pieces {
            let path: Vec<_> = piece.into_iter().map(unit).collect();
            let result = self.backend.draw_path(path, &style(stroke.colour, 1.0, stroke.width));
            self.check(result)?;
        }
        Ok(())
    }

    pub(crate) fn polygon(&mut self, points: &[Point], colour: Rgb, alpha: f64) -> Result<()> {
        let path: Vec<_> = points.iter().copied().map(unit).collect();
        let result = self.backend.fill_polygon(path, &style(colour, alpha, 1.0));
        self.check(result)
    }

    pub(crate) fn rect(&mut self, from: Point, to: Point, colour: Rgb, alpha: f64) -> Result<()> {
        let low = unit((from.0.min(to.0), from.1.min(to.1)));
        let high = unit((from.0.max(to.0), from.1.max(to.1)));
        let result = self.backend.draw_rect(low, high, &style(colour, alpha, 1.0), true);
        self.check(result)
    }

    pub(crate) fn circle(&mut self, centre: Point, radius: f64, colour: Rgb, filled: bool) -> Result<()> {
        let radius = (radius * UNITS).round() as u32;
        let result = self.backend.draw_circle(unit(centre), radius, &style(colour, 1.0, 1.6), filled);
        self.check(result)
    }

    pub(crate) fn text(&mut self, at: Point, text: &str, anchor: Anchor) -> Result<()> {
        self.styled_text(at, text, anchor, INK, FontTransform::None)
    }

    pub(crate) fn coloured_text(&mut self, at: Point, text: &str, anchor: Anchor, colour: Rgb) -> Result<()> {
        self.styled_text(at, text, anchor, colour, FontTransform::None)
    }

    /// Text that reads upwards, centred on `at`.
    pub(crate) fn vertical_text(&mut self, at: Point, text: &str) -> Result<()> {
        self.styled_text(at, text, Anchor::Centre, INK, FontTransform::Rotate270)
    }

    fn styled_text(
        &mut self,
        at: Point,
        text: &str,
        anchor: Anchor,
        [r, g, b]: Rgb,
        turn: FontTransform,
    ) -> Result<()> {
        let (h, v) = match anchor {
            Anchor::Left => (HPos::Left, VPos::Center),
            Anchor::Right => (HPos::Right, VPos::Center),
            Anchor::Below => (HPos::Center, VPos::Top),
            Anchor::Centre => (HPos::Center, VPos::Center),
        };
        let font = ("sans-serif", TEXT * UNITS * FONT_FACTOR).into_font().transform(turn);
        let colour = RGBColor(r, g, b);
        let style = TextStyle::from(font).color(&colour).pos(Pos::new(h, v));
        // XML has no control characters, not even escaped.
        let text: String = text.chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        let result = self.backend.draw_text(&text, &style, unit(at));
        self.check(result)
    }
}

/// Cuts a polyline into dashes of 6 pixels with gaps of 4; the pattern runs through the corners.
fn dashes(points: &[Point]) -> Vec<Vec<Point>> {
    const PATTERN: [f64; 2] = [6.0, 4.0];
    let mut pieces = vec![vec![points[0]]];
    let (mut phase, mut left) = (0, PATTERN[0]);
    for pair in points.windows(2) {
        let ((x0, y0), (x1, y1)) = (pair[0], pair[1]);
        let length = (x1 - x0).hypot(y1 - y0);
        let mut done = 0.0;
        while length - done > left {
            done += left;
            let at = (x0 + (x1 - x0) * done / length, y0 + (y1 - y0) * done / length);
            match (phase, pieces.last_mut()) {
                (0, Some(piece)) => piece.push(at),
                _ => pieces.push(vec![at]),
            }
            phase = 1 - phase;
            left = PATTERN[phase];
        }
        left -= length - done;
        if let (0, Some(piece)) = (phase, pieces.last_mut()) {
            piece.push((x1, y1));
        }
    }
    pieces.retain(|p| p.len() > 1);
    pieces
}

/// About how wide `text` is in pixels. The browser picks the font, so this leans to the wide side.
pub(crate) fn text_width(text: &str) -> f64 {
    let em = |c: char| match c {
        'i' | 'j' | 'l' | '.' | ',' | ':' | ';' | '\'' | '|' | ' ' | '(' | ')' | 'f' | 't' | 'r' => 0.4,
        'm' | 'w' | 'M' | 'W' | '%' | '@' => 0.95,
        c if c.is_ascii_uppercase() => 0.72,
        c if (c as u32) >= 0x1100 => 1.0,
        _ => 0.62,
    };
    text.chars().map(em).sum::<f64>() * TEXT
}

/// `text`, cut with an ellipsis if it is wider than `width` pixels.
pub(crate) fn elide(text: &str, width: f64) -> String {
    if text_width(text) <= width {
        return text.to_owned();
    }
    let mut kept = String::new();
    for c in text.chars() {
        kept.push(c);
        if text_width(&kept) + TEXT > width {
            kept.pop();
            break;
        }
    }
    kept + "…"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dashes_follow_the_corner() {
        let pieces = dashes(&[(0.0, 0.0), (3.0, 0.0), (3.0, 20.0)]);
        assert_eq!(pieces[0], [(0.0, 0.0), (3.0, 0.0), (3.0, 3.0)]);
        assert_eq!(pieces[1], [(3.0, 7.0), (3.0, 13.0)]);
        assert_eq!(pieces[2], [(3.0, 17.0), (3.0, 20.0)]);
    }

    #[test]
    fn text_is_escaped_and_has_no_control_characters() {
        let svg = draw("test", 10.0, 10.0, |c| c.text((1.0, 1.0), "<script>\u{1b}&", Anchor::Left)).unwrap();
        assert!(svg.contains("&lt;script&gt; &amp;"), "{svg}");
        assert!(svg.starts_with("<svg width=\"10\" height=\"10\" viewBox=\"0 0 100 100\""), "{svg}");
        assert!(svg.trim_end().ends_with("</svg>"), "{svg}");
    }

    #[test]
    fn long_names_are_cut() {
        let cut = elide(&"subject".repeat(30), 100.0);
        assert!(cut.ends_with('…') && text_width(&cut) <= 101.0, "{cut}");
        assert_eq!(elide("short", 100.0), "short");
    }
}
