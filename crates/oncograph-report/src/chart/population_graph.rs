use super::canvas::{Stroke, draw};
use super::plot::{Entry, Key, Legend, WIDTH};
use crate::error::{Error, Result, check_length, check_not_empty};
use crate::figure::Figure;
use crate::palette::{Rgb, colour};
use crate::text::{fixed, plural};

/// Height of the drawing in pixels, without the legend.
const HEIGHT: f64 = 560.0;
const MARGIN: f64 = 16.0;
const EDGE: Rgb = [206, 206, 206];
/// Steps of the layout.
const STEPS: usize = 200;

/// Patients and the edges between them, drawn so that joined patients are close together.
///
/// The layout is that of forces between discs: edges pull in proportion to their weight, all pairs push, and a weak pull to
/// the middle keeps parts together that no edge joins. It starts from fixed places and runs a fixed number of steps, so that the
/// same graph gives the same picture; distances in it have no unit. Its time grows with the square of the number of
/// patients: about 200 n² steps.
///
/// `groups[i]` is the place of patient `i`'s group in `names`, by colour; a patient whose group was not `known` to the model,
/// such as one of the test set, is hollow. Edges are pairs of patients with a weight above 0; the direction does not matter.
///
/// The caption compares the share of edges that join patients of one group with the share expected if the same edges
/// ended in patients at random (the product of the groups' shares of edge ends): a graph can only help where the first is
/// larger.
///
/// # Errors
/// No patient, slices of different lengths, a group without name, an edge to a patient that is not there, or a weight
/// that is not above 0 and finite.
///
/// # Example
/// ```
/// use oncograph_report::chart::population_graph;
/// let edges = [(0, 1, 0.9), (1, 2, 0.6), (2, 3, 0.8)];
/// let figure = population_graph(&[0, 0, 1, 1], &["wild type", "mutant"], &[true, true, true, false], &edges)?;
/// assert!(figure.caption().contains("66.7 % of edges join patients of one group"));
/// # Ok::<(), oncograph_report::Error>(())
/// ```
///
/// # Reference
/// Fruchterman & Reingold, Graph drawing by force-directed placement, 1991; assortative mixing as in Newman, 2003.
pub fn population_graph(
    groups: &[usize],
    names: &[&str],
    known: &[bool],
    edges: &[(usize, usize, f64)],
) -> Result<Figure> {
    const OP: &str = "population_graph";
    check_not_empty(OP, "groups", groups.len(), "at least one patient")?;
    check_length(OP, "known", known.len(), groups.len())?;
    let refuse = |option, expected, got: String| Err(Error::argument(OP, option, expected, got));
    if let Some(group) = groups.iter().find(|g| **g >= names.len()) {
        return refuse("groups", "places in `names`", format!("{group} of {}", names.len()));
    }
    let bad = |e: &&(usize, usize, f64)| e.0.max(e.1) >= groups.len() || !(e.2.is_finite() && e.2 > 0.0);
    if let Some(edge) = edges.iter().find(bad) {
        return refuse("edges", "two patients and a weight above 0", format!("{edge:?}"));
    }
    let legend = legend(names, known);
    let top = legend.height();
    let places = fitted(&layout(groups.len(), edges), top);
    let svg = draw(OP, WIDTH, top + HEIGHT, |canvas| {
        legend.draw(canvas)?;
        for &(a, b, _) in edges {
            canvas.line(&[places[a], places[b]], Stroke::new(EDGE, 0.7))?;
        }
        for ((at, group), known) in places.iter().zip(groups).zip(known) {
            // A hollow disc hides the edges below it.
            canvas.circle(*at, 4.6, [255; 3], true)?;
            canvas.circle(*at, 4.6, colour(*group), *known)?;
        }
        Ok(())
    })?;
    let (n, m) = (plural(groups.len(), "patient"), plural(edges.len(), "edge"));
    let alone = isolated(groups.len(), edges);
    let caption = format!(
        "{n}, {m}; {}{}.",
        mixing(groups, names.len(), edges),
        match alone {
            0 => String::new(),
            k => format!("; {} without an edge", plural(k, "patient")),
        }
    );
    let counts: Vec<String> = names
        .iter()
        .enumerate()
        .map(|(g, name)| format!("{} {name}", groups.iter().filter(|x| **x == g).count()))
        .collect();
    let alt = format!("Graph of {n} ({}) with {m}, joined patients close together.", counts.join(", "));
    Ok(Figure::svg_chart(svg, caption, alt))
}

fn legend(names: &[&str], known: &[bool]) -> Legend {
    let entry = |name: String, colour, filled| Entry { name, colour, key: Key::Disc { filled } };
    let mut entries: Vec<Entry> =
        names.iter().enumerate().map(|(g, n)| entry(n.to_string(), colour(g), true)).collect();
    if known.contains(&false) {
        entries.push(entry("hollow: group not known to the model".into(), crate::palette::GREY, false));
    }
    Legend::new(entries)
}

fn isolated(patients: usize, edges: &[(usize, usize, f64)]) -> usize {
    let mut joined = vec![false; patients];
    edges.iter().filter(|e| e.0 != e.1).for_each(|e| (joined[e.0], joined[e.1]) = (true, true));
    joined.iter().filter(|j| !**j).count()
}

/// How often edges join patients of one group, and how often they would at random.
fn mixing(groups: &[usize], names: usize, edges: &[(usize, usize, f64)]) -> String {
    if edges.is_empty() {
        return "no edge joins any".into();
    }
    let mut ends = vec![0.0; names];
    let mut same = 0;
    for &(a, b, _) in edges {
        ends[groups[a]] += 1.0;
        ends[groups[b]] += 1.0;
        same += usize::from(groups[a] == groups[b]);
    }
    let all = edges.len() as f64;
    let random: f64 = ends.iter().map(|e| (e / (2.0 * all)).powi(2)).sum();
    let percent = |share: f64| fixed(100.0 * share, 1);
    format!(
        "{} % of edges join patients of one group ({} % at random)",
        percent(same as f64 / all),
        percent(random)
    )
}

/// Places from the forces, around 0.
fn layout(patients: usize, edges: &[(usize, usize, f64)]) -> Vec<[f64; 2]> {
    // Places that fill the square evenly and need no trigonometry: Roberts' R2 sequence.
    let start = |i: usize| {
        [0.754_877_666_246_693, 0.569_840_290_998_053].map(|a| (a * (i as f64 + 1.0)).fract() - 0.5)
    };
    let mut places: Vec<[f64; 2]> = (0..patients).map(start).collect();
    let ideal = (1.0 / patients as f64).sqrt();
    let largest = edges.iter().map(|e| e.2).fold(f64::MIN_POSITIVE, f64::max);
    for step in 0..STEPS {
        let mut force: Vec<[f64; 2]> = places.iter().map(|p| p.map(|v| -v * 0.6)).collect();
        for a in 0..patients {
            for b in 0..a {
                let d = [places[a][0] - places[b][0], places[a][1] - places[b][1]];
                let push = ideal * ideal / (d[0] * d[0] + d[1] * d[1]).max(1e-6);
                for k in 0..2 {
                    force[a][k] += d[k] * push;
                    force[b][k] -= d[k] * push;
                }
            }
        }
        for &(a, b, weight) in edges {
            let d = [places[a][0] - places[b][0], places[a][1] - places[b][1]];
            let pull = (d[0] * d[0] + d[1] * d[1]).sqrt() / ideal * (weight / largest);
            for k in 0..2 {
                force[a][k] -= d[k] * pull;
                force[b][k] += d[k] * pull;
            }
        }
        let most = 0.1 * (1.0 - step as f64 / STEPS as f64);
        for (place, f) in places.iter_mut().zip(&force) {
            let size = (f[0] * f[0] + f[1] * f[1]).sqrt().max(1e-12);
            (0..2).for_each(|k| place[k] += f[k] / size * size.min(most));
        }
    }
    places
}

/// The places as pixels below `top`, in proportion.
fn fitted(places: &[[f64; 2]], top: f64) -> Vec<(f64, f64)> {
    let range = |k: usize| {
        let values = places.iter().map(|p| p[k]);
        (values.clone().fold(f64::INFINITY, f64::min), values.fold(f64::NEG_INFINITY, f64::max))
    };
    let ((x0, x1), (y0, y1)) = (range(0), range(1));
    let scale =
        ((WIDTH - 2.0 * MARGIN) / (x1 - x0).max(1e-9)).min((HEIGHT - 2.0 * MARGIN) / (y1 - y0).max(1e-9));
    let at = |p: &[f64; 2]| {
        (
            WIDTH / 2.0 + (p[0] - (x0 + x1) / 2.0) * scale,
            top + HEIGHT / 2.0 + (p[1] - (y0 + y1) / 2.0) * scale,
        )
    };
    places.iter().map(at).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Two cliques of `n` patients with one edge between them.
    fn cliques(n: usize) -> Vec<(usize, usize, f64)> {
        let inside = |base: usize| (0..n).flat_map(move |a| (0..a).map(move |b| (base + a, base + b, 0.9)));
        inside(0).chain(inside(n)).chain([(0, n, 0.5)]).collect()
    }

    #[test]
    fn joined_patients_are_close_together() {
        let places = layout(16, &cliques(8));
        let distance = |a: usize, b: usize| (places[a][0] - places[b][0]).hypot(places[a][1] - places[b][1]);
        let mean = |pairs: &[(usize, usize)]| {
            pairs.iter().map(|p| distance(p.0, p.1)).sum::<f64>() / pairs.len() as f64
        };
        let (mut inside, mut across) = (vec![], vec![]);
        for a in 0..16 {
            for b in 0..a {
                if (a < 8) == (b < 8) { inside.push((a, b)) } else { across.push((a, b)) }
            }
        }
        assert!(mean(&inside) * 2.0 < mean(&across), "{} {}", mean(&inside), mean(&across));
    }

    #[test]
    fn mixing_is_compared_with_chance() {
        // Ends: group 0 has 3 of 6, so chance is 1/4 + 1/4.
        let edges = [(0, 1, 1.0), (1, 2, 1.0), (2, 3, 1.0)];
        let text = mixing(&[0, 0, 1, 1], 2, &edges);
        assert_eq!(text, "66.7 % of edges join patients of one group (50.0 % at random)");
    }

    #[test]
    fn hollow_and_lonely_patients_are_told() {
        let figure = population_graph(&[0, 1, 1], &["a", "b"], &[true, true, false], &[(0, 1, 1.0)]).unwrap();
        assert!(figure.caption().ends_with("; 1 patient without an edge."), "{}", figure.caption());
        let hollow = |svg: &str| svg.split("<circle").skip(1).filter(|c| c.contains("fill=\"none\"")).count();
        assert_eq!(hollow(figure.svg().unwrap()), 2, "one patient, one entry");
        let again = population_graph(&[0, 1, 1], &["a", "b"], &[true, true, false], &[(0, 1, 1.0)]).unwrap();
        assert_eq!(figure, again);
    }

    #[test]
    fn one_patient_and_doubled_edges_are_drawn() {
        let one = population_graph(&[0], &["a"], &[true], &[(0, 0, 1.0)]).unwrap();
        assert!(!one.svg().unwrap().contains("NaN") && one.caption().contains("1 patient without an edge"));
        assert!(population_graph(&[0, 0], &["a"], &[true; 2], &[(0, 1, 1e-300), (1, 0, 1e300)]).is_ok());
    }

    #[test]
    fn bad_graphs_are_refused() {
        assert!(population_graph(&[], &["a"], &[], &[]).is_err());
        assert!(population_graph(&[0], &["a"], &[], &[]).is_err());
        let error = population_graph(&[1], &["a"], &[true], &[]).unwrap_err().to_string();
        assert!(error.contains("groups must be places in `names`, got 1 of 1"), "{error}");
        for bad in [(0, 1, 1.0), (0, 0, 0.0), (0, 0, f64::NAN)] {
            let error = population_graph(&[0], &["a"], &[true], &[bad]).unwrap_err().to_string();
            assert!(error.contains("edges must be two patients and a weight above 0"), "{error}");
        }
    }
}
