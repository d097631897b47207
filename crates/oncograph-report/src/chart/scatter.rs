use super::axis::Axis;
use super::canvas::{Stroke, draw};
use super::learning_curves::Bounds;
use super::plot::{Entry, Key, Plot};
use crate::error::{Result, check_length, check_not_empty, check_values};
use crate::figure::Figure;
use crate::palette::{GREY, OKABE_ITO};
use crate::text::{plural, short};

/// Observed against predicted values with the line of identity.
///
/// A filled disc is an observed event; a hollow one is censored, so that the true value is at or above it.
/// Pass all true where nothing is censored. Both axes have the same range.
///
/// # Units
/// Both values in `unit`, a plural noun such as `months`.
///
/// # Errors
/// No subject, slices of different lengths, a value that is not finite.
///
/// # Example
/// ```
/// use oncograph_report::chart::scatter;
/// let figure = scatter(&[10.0, 22.0, 31.0], &[12.0, 20.0, 40.0], &[true, true, false], "months")?;
/// assert!(figure.caption().contains("1 censored"));
/// # Ok::<(), oncograph_report::Error>(())
/// ```
pub fn scatter(predicted: &[f64], observed: &[f64], event: &[bool], unit: &str) -> Result<Figure> {
    let operation = "scatter";
    check_not_empty(operation, "predicted", predicted.len(), "at least one subject")?;
    check_length(operation, "observed", observed.len(), predicted.len())?;
    check_length(operation, "event", event.len(), predicted.len())?;
    check_values(operation, "predicted", predicted, "a finite number", f64::is_finite)?;
    check_values(operation, "observed", observed, "a finite number", f64::is_finite)?;
    let mut bounds = Bounds::new();
    predicted.iter().chain(observed).for_each(|&v| bounds.add((v, v)));
    bounds.check(operation)?;
    let censored = event.iter().filter(|e| !**e).count();
    let axis = |label: String| Axis::nice(&label, bounds.low.0, bounds.high.0);
    let entry = |name: &str, filled: bool| Entry {
        name: name.to_owned(),
        colour: OKABE_ITO[usize::from(!filled)],
        key: Key::Disc { filled },
    };
    let mut legend = vec![entry("event observed", true)];
    if censored > 0 {
        legend.push(entry("censored", false));
    }
    let (x, y) = (axis(format!("Predicted ({unit})")), axis(format!("Observed ({unit})")));
    let plot = Plot::new(x, y, legend).square();
    let svg = draw(operation, plot.width(), plot.height(), |canvas| {
        plot.frame(canvas)?;
        let ends = [(plot.x.low, plot.x.low), (plot.x.high, plot.x.high)].map(|p| plot.at(p));
        canvas.line(&ends, Stroke::new(GREY, 1.2).dashed(true))?;
        for ((&x, &y), &event) in predicted.iter().zip(observed).zip(event) {
            canvas.circle(plot.at((x, y)), 3.6, OKABE_ITO[usize::from(!event)], event)?;
        }
        Ok(())
    })?;
    let n = plural(predicted.len(), "subject");
    let caption = match censored {
        0 => format!("{n}. The dashed line is perfect prediction."),
        c => format!(
            "{n}, {c} censored (hollow: the true value is at or above the point). The dashed line is perfect \
             prediction."
        ),
    };
    let alt = format!(
        "Scatter plot of observed against predicted {unit} of {n}, {censored} censored; both axes from {} to {}.",
        short(plot.x.low),
        short(plot.x.high)
    );
    Ok(Figure::svg_chart(svg, caption, alt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filled_and_hollow_points_are_counted() {
        let figure = scatter(&[1.0, 2.0, 3.0], &[1.5, 2.0, 2.5], &[true, false, true], "months").unwrap();
        let svg = figure.svg().unwrap();
        // Two events and a censored subject, and one entry of each in the legend.
        assert_eq!(svg.matches("<circle").count(), 5);
        assert_eq!(svg.matches("fill=\"none\" stroke=\"#D55E00\"").count(), 2);
    }

    #[test]
    fn bad_input_is_an_error() {
        assert!(scatter(&[], &[], &[], "months").is_err());
        assert!(scatter(&[1.0], &[1.0, 2.0], &[true], "months").is_err());
        assert!(scatter(&[1.0], &[1.0], &[], "months").is_err());
        assert!(scatter(&[f64::NAN], &[1.0], &[true], "months").is_err());
    }
}
