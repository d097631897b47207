use super::axis::Axis;
use super::canvas::{Point, Stroke, draw};
use super::plot::{Entry, Key, Plot};
use crate::error::{Error, Result, check_not_empty, check_values};
use crate::figure::Figure;
use crate::palette::{Rgb, colour};
use crate::text::{plural, short};

/// One line of [`learning_curves`].
#[derive(Debug, Clone, PartialEq)]
pub struct LearningCurve {
    name: String,
    points: Vec<Point>,
    dashed: bool,
    colour: Option<usize>,
    mark: Option<f64>,
}

impl LearningCurve {
    /// A solid line through `points` (x, y), in the next colour of the palette.
    pub fn new(name: impl Into<String>, points: Vec<(f64, f64)>) -> Self {
        Self { name: name.into(), points, dashed: false, colour: None, mark: None }
    }

    /// Draws the line dashed, for example for training next to a solid validation line.
    pub fn dashed(mut self) -> Self {
        self.dashed = true;
        self
    }

    /// Takes the `index`-th colour of the palette, so that the two lines of one fold can share it.
    pub fn colour(mut self, index: usize) -> Self {
        self.colour = Some(index);
        self
    }

    /// Marks the point at `x`, the best epoch, with a disc.
    pub fn mark(mut self, x: f64) -> Self {
        self.mark = Some(x);
        self
    }
}

/// Lines such as training and validation loss against epochs, with the best epoch marked.
///
/// A y that is not finite (a loss that diverged) leaves a gap, and the caption counts them.
///
/// # Errors
/// No series, a series without a finite point, an x that is not finite, a mark where there is no point.
///
/// # Example
/// ```
/// use oncograph_report::chart::{LearningCurve, learning_curves};
/// let train = LearningCurve::new("train", vec![(1.0, 0.9), (2.0, 0.6), (3.0, 0.5)]).colour(0).dashed();
/// let validation = LearningCurve::new("validation", vec![(1.0, 0.9), (2.0, 0.7), (3.0, 0.8)]).colour(0).mark(2.0);
/// let figure = learning_curves(&[train, validation], "Epoch", "Loss")?;
/// assert!(figure.svg().is_some());
/// # Ok::<(), oncograph_report::Error>(())
/// ```
pub fn learning_curves(series: &[LearningCurve], x_label: &str, y_label: &str) -> Result<Figure> {
    let operation = "learning_curves";
    check_not_empty(operation, "series", series.len(), "at least one series")?;
    let mut bounds = Bounds::new();
    let (mut gaps, mut marks) = (0, Vec::new());
    for s in series {
        let x: Vec<f64> = s.points.iter().map(|p| p.0).collect();
        check_values(operation, "points.x", &x, "a finite number", f64::is_finite)?;
        let drawn = s.points.iter().filter(|p| p.1.is_finite()).count();
        check_not_empty(operation, "points", drawn, "at least one finite point")?;
        gaps += s.points.len() - drawn;
        s.points.iter().filter(|p| p.1.is_finite()).for_each(|p| bounds.add(*p));
        if let Some(mark) = s.mark {
            let point = s.points.iter().find(|p| p.0 == mark && p.1.is_finite());
            let expected = "the x of a finite point";
            let point = *point.ok_or_else(|| Error::argument(operation, "mark", expected, mark))?;
            marks.push((s.name.clone(), point));
        }
    }
    bounds.check(operation)?;
    let colour_of = |index: usize, s: &LearningCurve| colour(s.colour.unwrap_or(index));
    let entry = |(i, s): (usize, &LearningCurve)| Entry {
        name: s.name.clone(),
        colour: colour_of(i, s),
        key: Key::Line { dashed: s.dashed },
    };
    let legend = series.iter().enumerate().map(entry).collect();
    let plot = Plot::new(
        Axis::nice(x_label, bounds.low.0, bounds.high.0),
        Axis::nice(y_label, bounds.low.1, bounds.high.1),
        legend,
    );
    let svg = draw(operation, plot.width(), plot.height(), |canvas| {
        plot.frame(canvas)?;
        for (i, s) in series.iter().enumerate() {
            draw_series(canvas, &plot, s, colour_of(i, s))?;
        }
        Ok(())
    })?;
    Ok(Figure::svg_chart(svg, caption(y_label, x_label, &marks, gaps), alt(series, x_label, y_label, &marks)))
}

fn draw_series(
    canvas: &mut super::canvas::Canvas,
    plot: &Plot,
    s: &LearningCurve,
    colour: Rgb,
) -> Result<()> {
    let stroke = Stroke::new(colour, 2.0).dashed(s.dashed);
    for run in s.points.split(|p| !p.1.is_finite()).filter(|r| !r.is_empty()) {
        let path: Vec<Point> = run.iter().map(|p| plot.at(*p)).collect();
        canvas.line(&path, stroke)?;
        if let [point] = path[..] {
            canvas.circle(point, 2.0, colour, true)?;
        }
    }
    match s.points.iter().find(|p| Some(p.0) == s.mark) {
        Some(point) => canvas.circle(plot.at(*point), 5.0, colour, true),
        None => Ok(()),
    }
}

fn caption(y: &str, x: &str, marks: &[(String, Point)], gaps: usize) -> String {
    let mut text = format!("{y} against {}.", lower_first(x));
    if !marks.is_empty() {
        text.push_str(" Discs mark the chosen point of a line.");
    }
    if gaps > 0 {
        text.push_str(&format!(" {} not finite and not drawn.", plural_is(gaps)));
    }
    text
}

fn plural_is(gaps: usize) -> String {
    format!("{} {}", plural(gaps, "value"), if gaps == 1 { "is" } else { "are" })
}

fn lower_first(text: &str) -> String {
    let mut chars = text.chars();
    chars.next().map_or(String::new(), |c| c.to_lowercase().chain(chars).collect())
}

fn alt(series: &[LearningCurve], x: &str, y: &str, marks: &[(String, Point)]) -> String {
    let mut text = format!("Line chart of {y} against {x} with {}", plural(series.len(), "line"));
    for s in series {
        let finite = || s.points.iter().filter(|p| p.1.is_finite());
        if let (Some(first), Some(last)) = (finite().next(), finite().next_back()) {
            text.push_str(&format!("; {}: from {} to {}", s.name, short(first.1), short(last.1)));
        }
    }
    for (name, (at, value)) in marks {
        text.push_str(&format!("; {name} marked at {}, value {}", short(*at), short(*value)));
    }
    text + "."
}

/// The box around points.
pub(crate) struct Bounds {
    pub low: Point,
    pub high: Point,
}

impl Bounds {
    pub(crate) fn new() -> Self {
        Self { low: (f64::INFINITY, f64::INFINITY), high: (f64::NEG_INFINITY, f64::NEG_INFINITY) }
    }

    pub(crate) fn add(&mut self, (x, y): Point) {
        self.low = (self.low.0.min(x), self.low.1.min(y));
        self.high = (self.high.0.max(x), self.high.1.max(y));
    }

    /// Refuses ranges that overflow.
    pub(crate) fn check(&self, operation: &'static str) -> Result<()> {
        let spans = [self.high.0 - self.low.0, self.high.1 - self.low.1];
        let expected = "a range of values below 1e300";
        check_values(operation, "range", &spans, expected, |s| s.is_finite() && s < 1e300)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn gaps_are_counted_and_marks_are_checked() {
        let points = vec![(1.0, 0.5), (2.0, f64::NAN), (3.0, 0.4)];
        let figure =
            learning_curves(&[LearningCurve::new("a", points.clone()).mark(3.0)], "Epoch", "Loss").unwrap();
        assert!(figure.caption().contains("1 value is not finite"), "{}", figure.caption());
        assert!(figure.alt().contains("a marked at 3, value 0.4"), "{}", figure.alt());
        assert!(learning_curves(&[LearningCurve::new("a", points).mark(2.0)], "Epoch", "Loss").is_err());
    }

    #[test]
    fn nothing_to_draw_is_an_error() {
        assert!(learning_curves(&[], "x", "y").is_err());
        assert!(learning_curves(&[LearningCurve::new("a", vec![(1.0, f64::NAN)])], "x", "y").is_err());
        assert!(learning_curves(&[LearningCurve::new("a", vec![(f64::NAN, 1.0)])], "x", "y").is_err());
        assert!(
            learning_curves(&[LearningCurve::new("a", vec![(0.0, -1e308), (1.0, 1e308)])], "x", "y").is_err()
        );
    }
}
