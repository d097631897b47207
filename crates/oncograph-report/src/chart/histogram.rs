use super::axis::Axis;
use super::canvas::draw;
use super::plot::Plot;
use crate::error::{Error, Result, check_not_empty, check_values};
use crate::figure::Figure;
use crate::palette::OKABE_ITO;
use crate::text::{plural, short};

/// A histogram with bins of equal width over the range of the finite values.
///
/// A bin holds its lower edge, the last one also its upper edge. Values that are not finite are not drawn, and
/// the caption counts them.
///
/// # Errors
/// No finite value; no bin or more than 1000.
///
/// # Example
/// ```
/// use oncograph_report::chart::histogram;
/// let figure = histogram(&[61.0, 64.0, 70.0, 72.0, 58.0], 5, "Age (years)")?;
/// assert!(figure.caption().contains("5 values"));
/// # Ok::<(), oncograph_report::Error>(())
/// ```
pub fn histogram(values: &[f64], bins: usize, x_label: &str) -> Result<Figure> {
    let operation = "histogram";
    if !(1..=1000).contains(&bins) {
        let expected = "1 to 1000 bins";
        return Err(Error::argument(operation, "bins", expected, bins));
    }
    let finite: Vec<f64> = values.iter().copied().filter(|v| v.is_finite()).collect();
    check_not_empty(operation, "values", finite.len(), "at least one finite value")?;
    let low = finite.iter().copied().fold(f64::INFINITY, f64::min);
    let high = finite.iter().copied().fold(f64::NEG_INFINITY, f64::max);
    check_values(operation, "range", &[high - low], "a range of values below 1e300", |s| s < 1e300)?;
    let axis = Axis::nice(x_label, low, high);
    // One value only: a bin of some width around it.
    let (low, high) = if high > low { (low, high) } else { (axis.low, axis.high) };
    let counts = count(&finite, low, high, bins);
    let most = counts.iter().copied().max().unwrap_or(0);
    let plot = Plot::new(axis, Axis::counts("Count", most), Vec::new());
    let svg = draw(operation, plot.width(), plot.height(), |canvas| {
        plot.frame(canvas)?;
        let edge = |i: usize| plot.px(low + (high - low) * i as f64 / bins as f64);
        for (i, &n) in counts.iter().enumerate().filter(|(_, n)| **n > 0) {
            let gap = if edge(i + 1) - edge(i) > 3.0 { 0.5 } else { 0.0 };
            let corners = ((edge(i) + gap, plot.py(n as f64)), (edge(i + 1) - gap, plot.bottom));
            canvas.rect(corners.0, corners.1, OKABE_ITO[6], 1.0)?;
        }
        plot.baseline(canvas)
    })?;
    let mut caption = format!(
        "{x_label}: {} from {} to {}, {} of equal width.",
        plural(finite.len(), "value"),
        short(finite.iter().copied().fold(f64::INFINITY, f64::min)),
        short(finite.iter().copied().fold(f64::NEG_INFINITY, f64::max)),
        plural(bins, "bin"),
    );
    if finite.len() < values.len() {
        caption.push_str(&format!(" {} not finite and not drawn.", values.len() - finite.len()));
    }
    let alt = format!("Histogram. {caption} The largest bin holds {most}.");
    Ok(Figure::svg_chart(svg, caption, alt))
}

fn count(values: &[f64], low: f64, high: f64, bins: usize) -> Vec<usize> {
    let mut counts = vec![0; bins];
    for value in values {
        let place = (value - low) / (high - low) * bins as f64;
        counts[(place as usize).min(bins - 1)] += 1;
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_hold_their_lower_edge_and_the_last_its_upper() {
        assert_eq!(count(&[0.0, 1.0, 1.5, 2.0, 4.0], 0.0, 4.0, 4), [1, 2, 1, 1]);
    }

    #[test]
    fn values_that_are_not_finite_are_counted() {
        let figure = histogram(&[1.0, 2.0, f64::NAN], 2, "x").unwrap();
        assert!(
            figure.caption().contains("2 values from 1 to 2") && figure.caption().contains(" 1 not finite")
        );
        assert!(histogram(&[f64::NAN], 2, "x").is_err());
        assert!(histogram(&[1.0], 0, "x").is_err());
        assert!(histogram(&[3.0; 4], 3, "x").is_ok());
    }
}
