//! The parts that all charts share: legend, axes, grid.

use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Point, Stroke, TEXT, elide, text_width};
use crate::error::Result;
use crate::palette::{GRID, INK, Rgb};

/// Width of every chart in pixels.
pub(crate) const WIDTH: f64 = 720.0;
/// Height of the area between the axes in pixels.
pub(crate) const PANEL: f64 = 320.0;
/// Height of one line of text in pixels.
pub(crate) const LINE: f64 = 20.0;

/// How a legend shows an entry.
#[derive(Debug, Clone, Copy)]
pub(crate) enum Key {
    Line { dashed: bool },
    Disc { filled: bool },
}

/// One entry of a legend.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    pub name: String,
    pub colour: Rgb,
    pub key: Key,
}

impl Entry {
    fn width(&self) -> f64 {
        text_width(&self.name) + 52.0
    }
}

/// Entries cut to the chart's width and broken into rows.
pub(crate) struct Legend(Vec<Vec<Entry>>);

impl Legend {
    pub(crate) fn new(entries: Vec<Entry>) -> Self {
        let mut rows: Vec<Vec<Entry>> = Vec::new();
        let mut used = f64::INFINITY;
        for mut entry in entries {
            entry.name = elide(&entry.name, WIDTH - 80.0);
            if used + entry.width() > WIDTH {
                rows.push(Vec::new());
                used = 10.0;
            }
            used += entry.width();
            if let Some(row) = rows.last_mut() {
                row.push(entry);
            }
        }
        Self(rows)
    }

    pub(crate) fn height(&self) -> f64 {
        self.0.len() as f64 * LINE + 8.0
    }

    fn width(&self) -> f64 {
        let row = |row: &Vec<Entry>| 10.0 + row.iter().map(Entry::width).sum::<f64>();
        self.0.iter().map(row).fold(0.0, f64::max)
    }

    pub(crate) fn draw(&self, canvas: &mut Canvas) -> Result<()> {
        for (index, row) in self.0.iter().enumerate() {
            let (mut x, y) = (10.0, 12.0 + index as f64 * LINE);
            for entry in row {
                match entry.key {
                    Key::Line { dashed } => {
                        let stroke = Stroke::new(entry.colour, 2.2).dashed(dashed);
                        canvas.line(&[(x, y), (x + 26.0, y)], stroke)?;
                    }
                    Key::Disc { filled } => canvas.circle((x + 13.0, y), 4.5, entry.colour, filled)?,
                }
                canvas.text((x + 33.0, y), &entry.name, Anchor::Left)?;
                x += entry.width();
            }
        }
        Ok(())
    }
}

/// Two axes at their place on the canvas.
pub(crate) struct Plot {
    pub x: Axis,
    pub y: Axis,
    pub left: f64,
    pub right: f64,
    pub top: f64,
    pub bottom: f64,
    legend: Legend,
}

impl Plot {
    pub(crate) fn new(x: Axis, y: Axis, legend: Vec<Entry>) -> Self {
        let legend = Legend::new(legend);
        let widest = y.ticks.iter().map(|t| text_width(&y.tick_text(*t))).fold(0.0, f64::max);
        let left = widest + if y.label.is_empty() { 16.0 } else { 40.0 };
        let top = legend.height() + 10.0;
        Self { x, y, left, right: WIDTH - 24.0, top, bottom: top + PANEL, legend }
    }

    /// A square panel, for charts whose two axes are the same quantity.
    pub(crate) fn square(self) -> Self {
        let side = 400.0;
        Self { right: self.left + side, bottom: self.top + side, ..self }
    }

    /// Height of the drawing with the axis label below the panel.
    pub(crate) fn height(&self) -> f64 {
        self.bottom + 2.0 * LINE + 12.0
    }

    pub(crate) fn width(&self) -> f64 {
        (self.right + 24.0).max(self.legend.width()).min(WIDTH)
    }

    pub(crate) fn px(&self, x: f64) -> f64 {
        self.left + self.x.share(x) * (self.right - self.left)
    }

    pub(crate) fn py(&self, y: f64) -> f64 {
        self.bottom - self.y.share(y) * (self.bottom - self.top)
    }

    pub(crate) fn at(&self, (x, y): Point) -> Point {
        (self.px(x), self.py(y))
    }

    /// Legend, grid, axes, ticks and labels.
    pub(crate) fn frame(&self, canvas: &mut Canvas) -> Result<()> {
        self.legend.draw(canvas)?;
        let (ink, grid) = (Stroke::new(INK, 1.0), Stroke::new(GRID, 1.0));
        for &tick in &self.y.ticks {
            let y = self.py(tick);
            canvas.line(&[(self.left, y), (self.right, y)], grid)?;
            canvas.text((self.left - 8.0, y), &self.y.tick_text(tick), Anchor::Right)?;
        }
        self.horizontal_axis(canvas)?;
        canvas.line(&[(self.left, self.top), (self.left, self.bottom)], ink)?;
        let middle = (self.top + self.bottom) / 2.0;
        if !self.y.label.is_empty() {
            canvas.vertical_text((TEXT, middle), &elide(&self.y.label, self.bottom - self.top))?;
        }
        Ok(())
    }

    /// The line of the lower axis, for charts whose bars cover it.
    pub(crate) fn baseline(&self, canvas: &mut Canvas) -> Result<()> {
        canvas.line(&[(self.left, self.bottom), (self.right, self.bottom)], Stroke::new(INK, 1.0))
    }

    /// The lower axis alone.
    pub(crate) fn horizontal_axis(&self, canvas: &mut Canvas) -> Result<()> {
        let ink = Stroke::new(INK, 1.0);
        for &tick in &self.x.ticks {
            let x = self.px(tick);
            canvas.line(&[(x, self.bottom), (x, self.bottom + 5.0)], ink)?;
            canvas.text((x, self.bottom + 8.0), &self.x.tick_text(tick), Anchor::Below)?;
        }
        self.baseline(canvas)?;
        let middle = (self.left + self.right) / 2.0;
        let label = elide(&self.x.label, self.right - self.left);
        canvas.text((middle, self.bottom + 12.0 + LINE), &label, Anchor::Below)
    }
}
