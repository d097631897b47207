use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Stroke, draw, elide, text_width};
use super::plot::{Plot, WIDTH};
use crate::error::{Error, Result, check_not_empty, check_values};
use crate::figure::Figure;
use crate::palette::{GREY, GRID, INK, OKABE_ITO};
use crate::text::{fixed, plural, short};

/// Height of a bar with its gap, in pixels.
const ROW: f64 = 26.0;

/// One bar of [`bars`].
#[derive(Debug, Clone, PartialEq)]
pub struct Bar {
    label: String,
    value: f64,
    interval: Option<(f64, f64)>,
    reference: bool,
}

impl Bar {
    /// A bar from zero to `value`.
    pub fn new(label: impl Into<String>, value: f64) -> Self {
        Self { label: label.into(), value, interval: None, reference: false }
    }

    /// Adds a whisker from `low` to `high`.
    pub fn interval(mut self, low: f64, high: f64) -> Self {
        self.interval = Some((low, high));
        self
    }

    /// Draws the bar in grey: the baseline that the others are compared with.
    pub fn reference(mut self) -> Self {
        self.reference = true;
        self
    }
}

/// Horizontal bars, for example of importance or of an ablation, in the order given.
///
/// # Errors
/// No bar, a value that is not finite, an interval whose low end is above its high end.
///
/// # Example
/// ```
/// use oncograph_report::chart::{Bar, bars};
/// let bars = bars(
///     &[Bar::new("full model", 0.71).interval(0.63, 0.78), Bar::new("stage only", 0.62).reference()],
///     "C-index",
/// )?;
/// assert!(bars.alt().contains("full model 0.710 (0.630 to 0.780)"));
/// # Ok::<(), oncograph_report::Error>(())
/// ```
pub fn bars(bars: &[Bar], x_label: &str) -> Result<Figure> {
    let operation = "bars";
    check_not_empty(operation, "bars", bars.len(), "at least one bar")?;
    let values: Vec<f64> = bars.iter().map(|b| b.value).collect();
    check_values(operation, "value", &values, "a finite number", f64::is_finite)?;
    let (mut low, mut high) = (0.0f64, 0.0f64);
    for bar in bars {
        let (l, h) = bar.interval.unwrap_or((bar.value, bar.value));
        if !(l <= h && l.is_finite() && h.is_finite()) {
            let got = format!("{l} to {h} of `{}`", bar.label);
            let expected = "finite ends in ascending order";
            return Err(Error::argument(operation, "interval", expected, got));
        }
        low = low.min(bar.value).min(l);
        high = high.max(bar.value).max(h);
    }
    check_values(operation, "range", &[high - low], "a range of values below 1e300", |s| s < 1e300)?;
    // Three digits of the largest value, and the same decimals for all.
    let digits = (2.0 - low.abs().max(high).max(1e-6).log10().floor()).clamp(0.0, 6.0) as usize;
    let mut plot = Plot::new(Axis::nice(x_label, low, high), Axis::probability(""), Vec::new());
    let widest = bars.iter().map(|b| text_width(&b.label)).fold(0.0, f64::max);
    plot.left = widest.min(260.0) + 20.0;
    // The value stands to the right of the panel, where it cannot meet a whisker.
    plot.right = WIDTH - bars.iter().map(|b| text_width(&value_text(b, digits))).fold(0.0, f64::max) - 16.0;
    plot.bottom = plot.top + bars.len() as f64 * ROW + 6.0;
    let svg = draw(operation, WIDTH, plot.height(), |canvas| {
        for &tick in &plot.x.ticks {
            let x = plot.px(tick);
            canvas.line(&[(x, plot.top), (x, plot.bottom)], Stroke::new(GRID, 1.0))?;
        }
        for (row, bar) in bars.iter().enumerate() {
            draw_bar(
                canvas,
                &plot,
                bar,
                plot.top + 3.0 + (row as f64 + 0.5) * ROW,
                &value_text(bar, digits),
            )?;
        }
        let zero = plot.px(0.0);
        canvas.line(&[(zero, plot.top), (zero, plot.bottom)], Stroke::new(INK, 1.0))?;
        plot.horizontal_axis(canvas)
    })?;
    let texts: Vec<String> = bars.iter().map(|b| format!("{} {}", b.label, value_text(b, digits))).collect();
    let alt = format!("Bar chart of {x_label} with {}: {}.", plural(bars.len(), "bar"), texts.join("; "));
    Ok(Figure::svg_chart(svg, caption(bars, x_label), alt))
}

fn value_text(bar: &Bar, digits: usize) -> String {
    let text = |v: f64| if v.abs() < 1e6 { fixed(v, digits) } else { short(v) };
    match bar.interval {
        Some((low, high)) => format!("{} ({} to {})", text(bar.value), text(low), text(high)),
        None => text(bar.value),
    }
}

fn draw_bar(canvas: &mut Canvas, plot: &Plot, bar: &Bar, y: f64, value: &str) -> Result<()> {
    let colour = if bar.reference { GREY } else { OKABE_ITO[6] };
    let half = ROW * 0.34;
    canvas.rect((plot.px(0.0), y - half), (plot.px(bar.value), y + half), colour, 1.0)?;
    if let Some((low, high)) = bar.interval {
        let (from, to) = (plot.px(low), plot.px(high));
        let stroke = Stroke::new(INK, 1.4);
        canvas.line(&[(from, y), (to, y)], stroke)?;
        for x in [from, to] {
            canvas.line(&[(x, y - 4.0), (x, y + 4.0)], stroke)?;
        }
    }
    canvas.text((plot.left - 8.0, y), &elide(&bar.label, plot.left - 12.0), Anchor::Right)?;
    canvas.text((plot.right + 10.0, y), value, Anchor::Left)
}

fn caption(bars: &[Bar], label: &str) -> String {
    let mut text = format!("{label}.");
    if bars.iter().any(|b| b.interval.is_some()) {
        text.push_str(" Whiskers are the intervals in parentheses.");
    }
    if bars.iter().any(|b| b.reference) {
        text.push_str(" Grey is the reference.");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn negative_and_zero_bars_are_drawn() {
        let figure = bars(&[Bar::new("a", -0.2), Bar::new("b", 0.0), Bar::new("c", 0.1)], "Δ").unwrap();
        // One background and three bars.
        assert_eq!(figure.svg().unwrap().matches("<rect").count(), 4);
        assert!(bars(&[Bar::new("a", 0.0)], "x").is_ok());
    }

    #[test]
    fn bad_input_is_an_error() {
        assert!(bars(&[], "x").is_err());
        assert!(bars(&[Bar::new("a", f64::INFINITY)], "x").is_err());
        assert!(bars(&[Bar::new("a", 1.0).interval(2.0, 0.0)], "x").is_err());
        assert!(bars(&[Bar::new("a", 1.0).interval(f64::NAN, 2.0)], "x").is_err());
    }
}
