use super::axis::Axis;
use super::canvas::{Stroke, draw};
use super::plot::{Entry, Key, Plot};
use crate::error::{Result, check_length, check_not_empty, check_values};
use crate::figure::Figure;
use crate::palette::{GREY, colour};
use crate::text::{fixed, plural};
use oncograph_metrics::RocCurve;

/// One curve of [`roc`].
#[derive(Debug, Clone, PartialEq)]
pub struct RocSeries<'a> {
    name: &'a str,
    curve: &'a RocCurve,
    interval: Option<(f64, f64)>,
}

impl<'a> RocSeries<'a> {
    /// A named curve.
    pub fn new(name: &'a str, curve: &'a RocCurve) -> Self {
        Self { name, curve, interval: None }
    }

    /// Adds the confidence interval of the area, for example from `oncograph_metrics::delong_interval`.
    pub fn interval(mut self, low: f64, high: f64) -> Self {
        self.interval = Some((low, high));
        self
    }

    fn label(&self) -> String {
        let auc = fixed(self.curve.auc(), 2);
        match self.interval {
            Some((low, high)) => {
                format!("{}: AUC {auc} ({} to {})", self.name, fixed(low, 2), fixed(high, 2))
            }
            None => format!("{}: AUC {auc}", self.name),
        }
    }
}

/// ROC curves with their areas in the legend and the diagonal of chance.
///
/// # Errors
/// No curve, a curve of fewer than two points, rates or interval ends outside [0, 1].
///
/// # Example
/// ```
/// use oncograph_report::chart::{RocSeries, roc};
/// use oncograph_metrics::RocCurve;
/// let curve = RocCurve::new(&[true, false, true], &[0.9, 0.5, 0.5])?;
/// let figure = roc(&[RocSeries::new("network", &curve)])?;
/// assert!(figure.svg().unwrap().contains("network: AUC 0.75"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn roc(series: &[RocSeries]) -> Result<Figure> {
    let operation = "roc";
    check_not_empty(operation, "series", series.len(), "at least one curve")?;
    for s in series {
        let (x, y) = (&s.curve.false_positive_rate, &s.curve.true_positive_rate);
        check_length(operation, "true_positive_rate", y.len(), x.len())?;
        check_not_empty(operation, "curve", x.len().saturating_sub(1), "at least two points")?;
        let ends: Vec<f64> = s.interval.map(|(l, h)| vec![l, h]).unwrap_or_default();
        for (name, values) in [("false_positive_rate", x), ("true_positive_rate", y), ("interval", &ends)] {
            check_values(operation, name, values, "a value in [0, 1]", |v| (0.0..=1.0).contains(&v))?;
        }
    }
    let entry = |(i, s): (usize, &RocSeries)| Entry {
        name: s.label(),
        colour: colour(i),
        key: Key::Line { dashed: false },
    };
    let axes = (Axis::probability("1 − specificity"), Axis::probability("Sensitivity"));
    let plot = Plot::new(axes.0, axes.1, series.iter().enumerate().map(entry).collect()).square();
    let svg = draw(operation, plot.width(), plot.height(), |canvas| {
        plot.frame(canvas)?;
        let chance = [(0.0, 0.0), (1.0, 1.0)].map(|p| plot.at(p));
        canvas.line(&chance, Stroke::new(GREY, 1.2).dashed(true))?;
        for (i, s) in series.iter().enumerate() {
            let points = s.curve.false_positive_rate.iter().zip(&s.curve.true_positive_rate);
            let path: Vec<_> = points.map(|(&x, &y)| plot.at((x, y))).collect();
            canvas.line(&path, Stroke::new(colour(i), 2.2))?;
        }
        Ok(())
    })?;
    let labels: Vec<String> = series.iter().map(RocSeries::label).collect();
    let alt = format!("ROC {}: {}.", plural(series.len(), "curve"), labels.join("; "));
    let caption = "Receiver operating characteristic; AUC is the area under the curve, and the dashed diagonal is \
                   chance.";
    Ok(Figure::svg_chart(svg, caption.to_owned(), alt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_legend_has_the_area_with_its_interval() {
        let curve = RocCurve::new(&[true, false, true], &[0.9, 0.5, 0.5]).unwrap();
        let figure = roc(&[RocSeries::new("a", &curve).interval(0.5, 1.0)]).unwrap();
        assert_eq!(figure.alt(), "ROC 1 curve: a: AUC 0.75 (0.50 to 1.00).");
        assert!(roc(&[]).is_err());
        assert!(roc(&[RocSeries::new("a", &curve).interval(f64::NAN, 1.0)]).is_err());
    }
}
