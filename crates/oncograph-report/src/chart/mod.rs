//! Charts as SVG: each function takes plain numbers and returns a [`Figure`](crate::Figure).
//!
//! Colours are those of [`palette::OKABE_ITO`](crate::palette::OKABE_ITO). Text is set in the reader's
//! sans-serif font; no font file is needed.

mod axis;
mod bars;
mod calibration;
pub(crate) mod canvas;
mod enrichment;
mod histogram;
mod kaplan_meier;
mod learning_curves;
mod plot;
mod population_graph;
mod roc;
mod scatter;

pub use bars::{Bar, bars};
pub use calibration::{CalibrationPoint, calibration, calibration_at_horizon};
pub use enrichment::enrichment;
pub use histogram::histogram;
pub use kaplan_meier::{SurvivalGroup, kaplan_meier, numbers_at_risk};
pub use learning_curves::{LearningCurve, learning_curves};
pub use population_graph::population_graph;
pub use roc::{RocSeries, roc};
pub use scatter::scatter;

#[cfg(test)]
mod tests {
    use super::*;

    const EXTREMES: [f64; 9] = [0.0, -0.0, 5e-324, -1e-310, 1e-200, 1e15, 1e15 + 0.125, 1e299, -1e299];

    fn check(figure: crate::Result<crate::Figure>) {
        if let Ok(figure) = figure {
            let svg = figure.svg().unwrap();
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }

    #[test]
    fn extreme_values_neither_panic_nor_break_the_drawing() {
        for a in EXTREMES {
            for b in EXTREMES {
                check(scatter(&[a], &[b], &[true], "x"));
                check(histogram(&[a, b], 3, "x"));
                check(bars(&[Bar::new("a", a), Bar::new("b", b)], "x"));
                check(learning_curves(&[LearningCurve::new("a", vec![(a, b), (b, a)]).dashed()], "x", "y"));
                check(kaplan_meier(&[SurvivalGroup::new("a", &[a, b], &[true, false])], "months", 0.95));
            }
        }
    }

    #[test]
    fn names_cannot_leave_the_text() {
        let bad = "</text><script>x</script>\u{0}";
        let curve = oncograph_metrics::RocCurve::new(&[true, false], &[1.0, 0.0]).unwrap();
        let point = CalibrationPoint { count: 1, predicted: 0.5, observed: Some(0.5), interval: None };
        let figures = [
            learning_curves(&[LearningCurve::new(bad, vec![(0.0, 1.0)])], bad, bad),
            kaplan_meier(&[SurvivalGroup::new(bad, &[1.0], &[true])], bad, 0.95),
            scatter(&[1.0], &[1.0], &[true], bad),
            calibration(&[point], bad),
            roc(&[RocSeries::new(bad, &curve)]),
            bars(&[Bar::new(bad, 1.0)], bad),
            histogram(&[1.0], 1, bad),
            enrichment(&[1.0, 0.0], &[0], bad),
        ];
        for figure in figures {
            let figure = figure.unwrap();
            let html = figure.to_html("");
            assert!(!html.contains("<script") && !html.contains('\u{0}'), "{html}");
            assert!(!html.contains("http"), "{html}");
            assert_eq!(figure.svg().unwrap().matches("<svg").count(), 1);
        }
    }
}
