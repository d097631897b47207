use super::axis::Axis;
use super::canvas::{Anchor, Canvas, Point, Stroke, draw, elide, text_width};
use super::plot::{Entry, Key, LINE, Plot};
use crate::error::{Error, Result, check_values};
use crate::figure::Figure;
use crate::palette::{Rgb, colour};
use crate::text::{fixed, p_value, plural, short};
use oncograph_metrics::{KaplanMeier, Survival, log_rank};

/// The most groups in one chart: more curves cannot be told apart.
const MOST_GROUPS: usize = 4;
const OPERATION: &str = "kaplan_meier";

/// One group of patients in [`kaplan_meier`].
#[derive(Debug, Clone, Copy)]
pub struct SurvivalGroup<'a> {
    /// The name in the legend.
    pub name: &'a str,
    /// Time of the event or of the last observation.
    pub time: &'a [f64],
    /// True where the event was seen, false where censored.
    pub event: &'a [bool],
    /// Its place in [`OKABE_ITO`](crate::palette::OKABE_ITO); `None`: that of the group among the others.
    pub colour: Option<usize>,
}

impl<'a> SurvivalGroup<'a> {
    /// A group with its follow-up.
    pub fn new(name: &'a str, time: &'a [f64], event: &'a [bool]) -> Self {
        Self { name, time, event, colour: None }
    }

    /// Sets the place of its colour in [`OKABE_ITO`](crate::palette::OKABE_ITO).
    pub fn colour(mut self, place: usize) -> Self {
        self.colour = Some(place);
        self
    }
}

/// Number at risk just before each of `ticks`: those with `time ≥ tick`.
///
/// # Example
/// ```
/// use oncograph_report::chart::numbers_at_risk;
/// assert_eq!(numbers_at_risk(&[2.0, 5.0, 5.0, 9.0], &[0.0, 5.0, 6.0]), [4, 3, 1]);
/// ```
pub fn numbers_at_risk(time: &[f64], ticks: &[f64]) -> Vec<usize> {
    ticks.iter().map(|tick| time.iter().filter(|t| **t >= *tick).count()).collect()
}

/// Kaplan–Meier curves of one to four groups with pointwise log(−log) confidence bands, censoring ticks, the
/// numbers at risk under the axis, and the log-rank test in the caption.
///
/// The vertical axis is the probability of no event yet: survival where the event is death.
/// The curves are right-continuous and start at 1; they end at the last observation of each group.
/// `level` is the confidence level of the bands, for example 0.95. Where the test has no value, the caption
/// gives the reason.
///
/// # Units
/// Times in `time_unit`, a plural noun such as `months`, which labels the axis.
///
/// # Errors
/// No group or more than four, an empty group, an invalid time, a level outside (0, 1).
///
/// # Example
/// ```
/// use oncograph_report::chart::{SurvivalGroup, kaplan_meier};
/// let low = SurvivalGroup::new("low risk", &[12.0, 20.0, 31.0], &[false, true, false]);
/// let high = SurvivalGroup::new("high risk", &[3.0, 8.0, 11.0], &[true, true, true]);
/// let figure = kaplan_meier(&[low, high], "months", 0.95)?;
/// assert!(figure.caption().contains("Log-rank test"));
/// # Ok::<(), oncograph_report::Error>(())
/// ```
///
/// # Reference
/// Numbers from [`KaplanMeier`] and [`log_rank`]; layout after Morris et al., BMJ Open 2019.
pub fn kaplan_meier(groups: &[SurvivalGroup], time_unit: &str, level: f64) -> Result<Figure> {
    if groups.is_empty() || groups.len() > MOST_GROUPS {
        let got = groups.len().to_string();
        return Err(Error::argument(OPERATION, "groups", "1 to 4 groups", got));
    }
    let mut curves = Vec::new();
    for group in groups {
        curves.push(KaplanMeier::fit(&Survival::new(group.time, group.event)?, level)?);
    }
    let last = curves.iter().filter_map(|c| c.time.last()).copied().fold(0.0, f64::max);
    check_values(OPERATION, "time", &[last], "a time below 1e300", |t| t < 1e300)?;
    let colours = colours(groups);
    let legend = groups.iter().zip(&colours).map(|(group, &colour)| Entry {
        name: elide(group.name, 260.0) + &counts(group),
        colour,
        key: Key::Line { dashed: false },
    });
    let axis = Axis::time(&format!("Time ({time_unit})"), time_unit, last);
    let mut plot = Plot::new(axis, Axis::probability("Event-free probability"), legend.collect());
    let names = groups.iter().map(|g| text_width(g.name)).fold(text_width("At risk"), f64::max);
    plot.left = plot.left.max(names.min(150.0) + 40.0);
    let height = plot.height() + (groups.len() + 1) as f64 * LINE + 8.0;
    let svg = draw(OPERATION, plot.width(), height, |canvas| {
        plot.frame(canvas)?;
        for (curve, &colour) in curves.iter().zip(&colours) {
            draw_band(canvas, &plot, curve, colour)?;
        }
        for (curve, &colour) in curves.iter().zip(&colours) {
            draw_curve(canvas, &plot, curve, colour)?;
        }
        draw_table(canvas, &plot, groups)
    })?;
    Ok(Figure::svg_chart(svg, caption(groups, level), alt(groups, &curves, time_unit)))
}

fn colours(groups: &[SurvivalGroup]) -> Vec<Rgb> {
    groups.iter().enumerate().map(|(place, group)| colour(group.colour.unwrap_or(place))).collect()
}

fn counts(group: &SurvivalGroup) -> String {
    let events = group.event.iter().filter(|e| **e).count();
    format!(" (n = {}, {})", group.time.len(), plural(events, "event"))
}

/// Corners of a right-continuous step function that is 1 before the first time.
fn steps(time: &[f64], value: &[f64]) -> Vec<Point> {
    let (mut path, mut level) = (vec![(0.0, 1.0)], 1.0);
    for (&t, &v) in time.iter().zip(value) {
        path.push((t, level));
        if v != level {
            path.push((t, v));
            level = v;
        }
    }
    path
}

fn draw_band(canvas: &mut Canvas, plot: &Plot, curve: &KaplanMeier, colour: Rgb) -> Result<()> {
    let mut outline = steps(&curve.time, &curve.upper);
    outline.extend(steps(&curve.time, &curve.lower).into_iter().rev());
    let outline: Vec<Point> = outline.into_iter().map(|p| plot.at(p)).collect();
    canvas.polygon(&outline, colour, 0.14)
}

fn draw_curve(canvas: &mut Canvas, plot: &Plot, curve: &KaplanMeier, colour: Rgb) -> Result<()> {
    let path: Vec<Point> = steps(&curve.time, &curve.survival).into_iter().map(|p| plot.at(p)).collect();
    canvas.line(&path, Stroke::new(colour, 2.2))?;
    for i in (0..curve.time.len()).filter(|&i| curve.censored[i] > 0) {
        let (x, y) = plot.at((curve.time[i], curve.survival[i]));
        canvas.line(&[(x, y - 5.0), (x, y + 5.0)], Stroke::new(colour, 1.4))?;
    }
    Ok(())
}

fn draw_table(canvas: &mut Canvas, plot: &Plot, groups: &[SurvivalGroup]) -> Result<()> {
    let top = plot.height() + 4.0;
    canvas.text((8.0, top), "At risk", Anchor::Left)?;
    for (row, (group, colour)) in groups.iter().zip(colours(groups)).enumerate() {
        let y = top + (row + 1) as f64 * LINE;
        canvas.coloured_text((8.0, y), &elide(group.name, plot.left - 34.0), Anchor::Left, colour)?;
        for (&tick, count) in plot.x.ticks.iter().zip(numbers_at_risk(group.time, &plot.x.ticks)) {
            canvas.text((plot.px(tick), y), &count.to_string(), Anchor::Centre)?;
        }
    }
    Ok(())
}

fn caption(groups: &[SurvivalGroup], level: f64) -> String {
    let mut text = format!(
        "Kaplan–Meier estimates with {} % log(−log) confidence bands; vertical ticks are censored patients; \
         the numbers at risk are those just before each time.",
        short(level * 100.0)
    );
    if groups.len() > 1 {
        let test = test(groups);
        text.push_str(&test.unwrap_or_else(|e| format!(" Log-rank test: no value ({e}).")));
    }
    text
}

fn test(groups: &[SurvivalGroup]) -> Result<String> {
    let time: Vec<f64> = groups.iter().flat_map(|g| g.time).copied().collect();
    let event: Vec<bool> = groups.iter().flat_map(|g| g.event).copied().collect();
    let member = |(index, g): (usize, &SurvivalGroup)| vec![index; g.time.len()];
    let member: Vec<usize> = groups.iter().enumerate().flat_map(member).collect();
    let test = log_rank(&Survival::new(&time, &event)?, &member)?;
    Ok(format!(
        " Log-rank test: χ² = {}, {} of freedom, p {}.",
        fixed(test.chi_squared, 2),
        if test.degrees_of_freedom == 1 {
            "1 degree".to_owned()
        } else {
            format!("{} degrees", test.degrees_of_freedom)
        },
        p_value(test.p_value)
    ))
}

fn alt(groups: &[SurvivalGroup], curves: &[KaplanMeier], unit: &str) -> String {
    let mut text = format!("Kaplan–Meier curves of {}", plural(groups.len(), "group"));
    for (group, curve) in groups.iter().zip(curves) {
        let median = match curve.median() {
            Some(median) => format!("median {} {unit}", short(median)),
            None => "median not reached".to_owned(),
        };
        text.push_str(&format!("; {}{}: {median}", group.name, counts(group)));
    }
    text + "."
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn steps_are_right_continuous_and_start_at_one() {
        // Censored at 2, so no step there; the curve drops at 1 and at 3, after a level piece.
        let path = steps(&[1.0, 2.0, 3.0], &[0.75, 0.75, 0.0]);
        assert_eq!(path, [(0.0, 1.0), (1.0, 1.0), (1.0, 0.75), (2.0, 0.75), (3.0, 0.75), (3.0, 0.0)]);
    }

    #[test]
    fn numbers_at_risk_by_hand() {
        // Whoever has the event or leaves exactly at the tick is still at risk just before it.
        let time = [6.0, 6.0, 12.0, 13.0, 24.0];
        assert_eq!(numbers_at_risk(&time, &[0.0, 6.0, 12.0, 18.0, 24.0]), [5, 5, 3, 1, 1]);
    }

    #[test]
    fn the_caption_has_the_test() {
        // Worked out by hand: expected 5/6 of 2 in the first group, variance 1/4 + 2/9, χ² = (7/6)² / (17/36).
        let a = SurvivalGroup::new("a", &[1.0, 2.0], &[true, true]);
        let b = SurvivalGroup::new("b", &[3.0, 4.0], &[true, true]);
        let figure = kaplan_meier(&[a, b], "months", 0.95).unwrap();
        let expected = "Log-rank test: χ² = 2.88, 1 degree of freedom, p = 0.090.";
        assert!(figure.caption().contains(expected), "{}", figure.caption());
        assert!(figure.alt().contains("a (n = 2, 2 events): median 1 months"), "{}", figure.alt());
    }

    #[test]
    fn no_event_is_said_and_not_an_error() {
        let a = SurvivalGroup::new("a", &[1.0], &[false]);
        let figure = kaplan_meier(&[a, SurvivalGroup { name: "b", ..a }], "months", 0.95).unwrap();
        assert!(figure.caption().contains("no value (log_rank is undefined"), "{}", figure.caption());
        assert!(figure.alt().contains("median not reached"));
    }

    #[test]
    fn bad_input_is_an_error() {
        let good = SurvivalGroup::new("a", &[1.0], &[true]);
        assert!(kaplan_meier(&[], "months", 0.95).is_err());
        assert!(kaplan_meier(&[good; 5], "months", 0.95).is_err());
        assert!(kaplan_meier(&[good], "months", 1.0).is_err());
        assert!(kaplan_meier(&[SurvivalGroup::new("a", &[f64::NAN], &[true])], "months", 0.95).is_err());
        assert!(kaplan_meier(&[SurvivalGroup::new("a", &[], &[])], "months", 0.95).is_err());
    }
}
