use super::axis::Axis;
use super::canvas::{Stroke, draw};
use super::plot::{Entry, Key, Plot};
use crate::error::{Result, check_not_empty, check_values};
use crate::figure::Figure;
use crate::palette::{GREY, OKABE_ITO};
use crate::text::{fixed, plural, short};
use oncograph_metrics::{CalibrationBin, CalibrationGroup, SurvivalCalibration};

/// One group of subjects in a calibration plot.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct CalibrationPoint {
    /// Subjects in the group.
    pub count: usize,
    /// Mean predicted probability.
    pub predicted: f64,
    /// Observed probability; `None` where it is unknown, for example after the end of follow-up.
    pub observed: Option<f64>,
    /// Confidence interval of the observed probability.
    pub interval: Option<(f64, f64)>,
}

impl From<&CalibrationGroup> for CalibrationPoint {
    fn from(g: &CalibrationGroup) -> Self {
        Self { count: g.count, predicted: g.predicted, observed: g.observed, interval: g.interval }
    }
}

impl From<&CalibrationBin> for CalibrationPoint {
    fn from(b: &CalibrationBin) -> Self {
        Self { count: b.count, predicted: b.predicted, observed: Some(b.observed), interval: None }
    }
}

/// Observed against predicted probability by groups, with the line of identity.
///
/// `quantity` names what is predicted, for example `probability of recurrence`. Groups without an observed
/// value are not drawn, and the caption counts them.
///
/// # Errors
/// No group with an observed value; a value outside [0, 1].
///
/// # Example
/// ```
/// use oncograph_report::chart::calibration;
/// use oncograph_metrics::{Binning, calibration_curve};
/// let bins = calibration_curve(&[false, true, true, false], &[0.1, 0.6, 0.9, 0.4], 2, Binning::Uniform)?;
/// let points: Vec<_> = bins.iter().map(Into::into).collect();
/// let figure = calibration(&points, "probability of recurrence")?;
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn calibration(points: &[CalibrationPoint], quantity: &str) -> Result<Figure> {
    let operation = "calibration";
    let drawn: Vec<(&CalibrationPoint, f64)> =
        points.iter().filter_map(|p| p.observed.map(|o| (p, o))).collect();
    check_not_empty(operation, "points", drawn.len(), "at least one group with an observed value")?;
    let ends = |p: &CalibrationPoint| p.interval.map(|(l, h)| [l, h]).into_iter().flatten();
    let values: Vec<f64> =
        points.iter().flat_map(|p| ends(p).chain(p.observed).chain([p.predicted])).collect();
    let in_range = |v: f64| (0.0..=1.0).contains(&v);
    check_values(operation, "points", &values, "a probability in [0, 1]", in_range)?;
    let label = |kind: &str| Axis::probability(&format!("{kind} {quantity}"));
    let legend =
        vec![Entry { name: "group mean".to_owned(), colour: OKABE_ITO[0], key: Key::Disc { filled: true } }];
    let plot = Plot::new(label("Predicted"), label("Observed"), legend).square();
    let svg = draw(operation, plot.width(), plot.height(), |canvas| {
        plot.frame(canvas)?;
        let line = [(0.0, 0.0), (1.0, 1.0)].map(|p| plot.at(p));
        canvas.line(&line, Stroke::new(GREY, 1.2).dashed(true))?;
        let path: Vec<_> = drawn.iter().map(|(p, o)| plot.at((p.predicted, *o))).collect();
        canvas.line(&path, Stroke::new(OKABE_ITO[0], 1.0))?;
        for (point, observed) in &drawn {
            if let Some((low, high)) = point.interval {
                let ends = [(point.predicted, low), (point.predicted, high)].map(|p| plot.at(p));
                canvas.line(&ends, Stroke::new(OKABE_ITO[0], 1.6))?;
            }
            canvas.circle(plot.at((point.predicted, *observed)), 4.5, OKABE_ITO[0], true)?;
        }
        Ok(())
    })?;
    Ok(Figure::svg_chart(svg, caption(points, drawn.len()), alt(&drawn, quantity)))
}

/// Calibration of predicted survival at a horizon, with the observed-to-expected ratio and the calibration
/// slope in the caption.
///
/// # Errors
/// No group whose follow-up reaches the horizon.
///
/// # Example
/// ```
/// use oncograph_report::chart::calibration_at_horizon;
/// use oncograph_metrics::{self as metrics, Survival};
/// let follow_up = Survival::new(&[1.0, 2.0, 3.0, 4.0], &[true, false, true, true])?;
/// let calibration = metrics::survival_calibration(&follow_up, &[0.2, 0.4, 0.7, 0.9], 2.5, 2)?;
/// let figure = calibration_at_horizon(&calibration, "months")?;
/// assert!(figure.alt().contains("survival at 2.5 months"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn calibration_at_horizon(calibration: &SurvivalCalibration, time_unit: &str) -> Result<Figure> {
    let points: Vec<CalibrationPoint> = calibration.groups.iter().map(Into::into).collect();
    let horizon = short(calibration.horizon);
    let figure = self::calibration(&points, &format!("survival at {horizon} {time_unit}"))?;
    let ratio = match calibration.observed_expected {
        Some(ratio) => format!("observed / expected events {}", fixed(ratio, 2)),
        None => "observed / expected events unknown".to_owned(),
    };
    let slope = match (calibration.slope, calibration.slope_standard_error) {
        (Some(slope), Some(error)) => {
            format!("calibration slope {} (standard error {})", fixed(slope, 2), fixed(error, 2))
        }
        _ => "calibration slope could not be fitted".to_owned(),
    };
    Ok(figure.with_remark(format!(
        "Observed values are Kaplan–Meier estimates with 95 % intervals; \
         {ratio}; {slope} (1 is ideal for both)."
    )))
}

fn caption(points: &[CalibrationPoint], drawn: usize) -> String {
    let subjects: usize = points.iter().map(|p| p.count).sum();
    let mut text = format!(
        "{} in {} by predicted value. The dashed line is perfect calibration.",
        plural(subjects, "subject"),
        plural(points.len(), "group")
    );
    if drawn < points.len() {
        let absent = plural(points.len() - drawn, "group");
        text.push_str(&format!(" Not drawn because the observed value is unknown: {absent}."));
    }
    text
}

fn alt(drawn: &[(&CalibrationPoint, f64)], quantity: &str) -> String {
    let pairs = drawn.iter().map(|(p, o)| format!("{} against {}", fixed(p.predicted, 2), fixed(*o, 2)));
    let pairs: Vec<String> = pairs.collect();
    format!("Calibration plot of {quantity}; predicted against observed: {}.", pairs.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    const POINT: CalibrationPoint =
        CalibrationPoint { count: 10, predicted: 0.25, observed: Some(0.5), interval: Some((0.2, 0.75)) };

    #[test]
    fn groups_without_a_value_are_counted() {
        let unknown = CalibrationPoint { observed: None, interval: None, ..POINT };
        let figure = calibration(&[POINT, unknown], "survival").unwrap();
        assert!(figure.caption().starts_with("20 subjects in 2 groups"), "{}", figure.caption());
        assert!(figure.caption().contains("unknown: 1 group."), "{}", figure.caption());
        assert!(figure.alt().contains("0.25 against 0.50"));
        assert!(calibration(&[unknown], "survival").is_err());
    }

    #[test]
    fn values_that_are_not_probabilities_are_errors() {
        for bad in [f64::NAN, 1.2, -0.1] {
            assert!(calibration(&[CalibrationPoint { predicted: bad, ..POINT }], "p").is_err());
            assert!(calibration(&[CalibrationPoint { observed: Some(bad), ..POINT }], "p").is_err());
            assert!(calibration(&[CalibrationPoint { interval: Some((0.0, bad)), ..POINT }], "p").is_err());
        }
    }
}
