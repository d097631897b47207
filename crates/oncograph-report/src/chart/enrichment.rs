use super::axis::Axis;
use super::canvas::{Point, Stroke, draw};
use super::learning_curves::Bounds;
use super::plot::Plot;
use crate::error::{Error, Result, check_not_empty, check_values};
use crate::figure::Figure;
use crate::palette::{GREY, colour};
use crate::text::{fixed, plural};

/// The running sum of a gene set down a ranking, with a tick at each of the set's genes and the peak marked.
///
/// `sums` has one value per ranked gene, `hits` the positions of the set's genes, ascending; both as
/// `oncograph_explain::Prerank` gives them.
///
/// # Errors
/// No value or no hit, a value that is not finite, hits out of order or beyond the ranking.
///
/// # Example
/// ```
/// let figure = oncograph_report::chart::enrichment(&[0.5, 0.0, 0.5, 0.0], &[0, 2], "growth")?;
/// assert!(figure.alt().contains("2 genes"));
/// # Ok::<(), oncograph_report::Error>(())
/// ```
pub fn enrichment(sums: &[f64], hits: &[usize], name: &str) -> Result<Figure> {
    let operation = "enrichment";
    check_not_empty(operation, "sums", sums.len(), "at least one gene")?;
    check_not_empty(operation, "hits", hits.len(), "at least one gene of the set")?;
    check_values(operation, "sums", sums, "a finite number", f64::is_finite)?;
    if hits.windows(2).any(|w| w[0] >= w[1]) || hits[hits.len() - 1] >= sums.len() {
        let expected = "ascending positions in the ranking";
        return Err(Error::argument(operation, "hits", expected, format!("{hits:?}")));
    }
    // Between two hits the sum is a straight line: its corners are enough.
    let corners = hits.iter().flat_map(|h| [h.saturating_sub(1), *h]).chain([sums.len() - 1]);
    let mut points: Vec<Point> = corners.map(|i| (i as f64 + 1.0, sums[i])).collect();
    points.dedup();
    if hits[0] > 0 {
        points.insert(0, (1.0, sums[0]));
    }
    let far = |best: usize, i: usize| if sums[i].abs() > sums[best].abs() { i } else { best };
    let peak = (1..sums.len()).fold(0, far);
    let mut bounds = Bounds::new();
    bounds.add((1.0, 0.0));
    points.iter().for_each(|p| bounds.add(*p));
    bounds.check(operation)?;
    let x = Axis::nice("Rank", 1.0, (sums.len() as f64).max(2.0));
    let plot = Plot::new(x, Axis::nice("Running sum", bounds.low.1, bounds.high.1), vec![]);
    let svg = draw(operation, plot.width(), plot.height(), |canvas| {
        plot.frame(canvas)?;
        let zero = [(plot.left, plot.py(0.0)), (plot.right, plot.py(0.0))];
        canvas.line(&zero, Stroke::new(GREY, 1.2).dashed(true))?;
        for hit in hits {
            let x = plot.px(*hit as f64 + 1.0);
            canvas.line(&[(x, plot.bottom - 14.0), (x, plot.bottom)], Stroke::new(GREY, 1.0))?;
        }
        let path: Vec<Point> = points.iter().map(|p| plot.at(*p)).collect();
        canvas.line(&path, Stroke::new(colour(0), 2.0))?;
        canvas.circle(plot.at((peak as f64 + 1.0, sums[peak])), 5.0, colour(0), true)
    })?;
    let caption = format!(
        "{name}: running sum down the ranking; ticks are the set's genes, the disc is the enrichment score."
    );
    let alt = format!(
        "Running sum of {name}, {} in a ranking of {}: {} at rank {}.",
        plural(hits.len(), "gene"),
        sums.len(),
        fixed(sums[peak], 3),
        peak + 1
    );
    Ok(Figure::svg_chart(svg, caption, alt))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_peak_is_told_and_wrong_hits_are_refused() {
        let sums = [-0.25, 0.5, 0.25, -0.75, 0.0];
        let figure = enrichment(&sums, &[1, 4], "a").unwrap();
        assert_eq!(figure.alt(), "Running sum of a, 2 genes in a ranking of 5: -0.750 at rank 4.");
        for bad in [&[4, 1][..], &[1, 5], &[1, 1], &[]] {
            assert!(enrichment(&sums, bad, "a").is_err(), "{bad:?}");
        }
        assert!(enrichment(&[f64::NAN], &[0], "a").is_err() && enrichment(&[], &[0], "a").is_err());
        assert!(enrichment(&[1.0], &[0], "a").is_ok());
    }
}
