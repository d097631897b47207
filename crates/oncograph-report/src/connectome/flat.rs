use super::Connectome;
use super::config::link_colour;
use crate::chart::canvas::{Anchor, Canvas, Point, Stroke, draw};
use crate::error::Result;
use crate::figure::Figure;
use crate::palette::{GREY, INK};
use crate::text::{plural, short};

/// Width of the figure in pixels.
const WIDTH: f64 = 900.0;
/// Room around the panels, between them and for their titles, in pixels.
const MARGIN: f64 = 24.0;
const GAP: f64 = 48.0;
const TITLE: f64 = 26.0;

/// A projection: its name, the axes across and up, and the letters at the left and the right.
const VIEWS: [(&str, [usize; 2], [&str; 2]); 3] = [
    ("from the right", [1, 2], ["P", "A"]),
    ("from behind", [0, 2], ["L", "R"]),
    ("from above", [0, 1], ["L", "R"]),
];

/// Where one projection is drawn: millimetres to pixels.
struct Panel {
    axes: [usize; 2],
    /// The pixel of the lowest millimetres, at the lower left.
    corner: Point,
    low: [f64; 2],
    scale: f64,
}

impl Panel {
    fn at(&self, (x, y): (f64, f64)) -> Point {
        (self.corner.0 + (x - self.low[0]) * self.scale, self.corner.1 - (y - self.low[1]) * self.scale)
    }

    fn of(&self, position: [f64; 3]) -> Point {
        self.at((position[self.axes[0]], position[self.axes[1]]))
    }
}

impl Connectome {
    /// The network in three projections, as in a glass brain: from the right, from behind and from above, so that the left
    /// of the patient is at the left. Surfaces are drawn as the convex outlines of their projections.
    ///
    /// # Errors
    /// The drawing library refuses.
    pub fn figure(&self) -> Result<Figure> {
        let (low, high) = self.extent();
        let size: [f64; 3] = std::array::from_fn(|k| (high[k] - low[k]).max(1.0));
        let across: f64 = VIEWS.iter().map(|(_, axes, _)| size[axes[0]]).sum();
        let scale = (WIDTH - 2.0 * MARGIN - 2.0 * GAP) / across;
        let tallest = size[1].max(size[2]) * scale;
        let height = TITLE + tallest + 2.0 * MARGIN;
        let svg = draw("Connectome", WIDTH, height, |canvas| {
            let mut x = MARGIN;
            for (name, axes, sides) in VIEWS {
                let [width, tall] = axes.map(|a| size[a] * scale);
                let bottom = TITLE + MARGIN + (tallest + tall) / 2.0;
                let panel = Panel { axes, corner: (x, bottom), low: axes.map(|a| low[a]), scale };
                canvas.text((x + width / 2.0, TITLE / 2.0), name, Anchor::Centre)?;
                let middle = bottom - tall / 2.0;
                canvas.coloured_text((x - 12.0, middle), sides[0], Anchor::Centre, GREY)?;
                canvas.coloured_text((x + width + 12.0, middle), sides[1], Anchor::Centre, GREY)?;
                self.paint(canvas, &panel)?;
                x += width + GAP;
            }
            Ok(())
        })?;
        let legend = self.surfaces.iter().map(|s| (s.name.clone(), s.colour)).collect();
        Ok(Figure::svg_chart(svg, self.caption(), self.alt()).with_legend(legend))
    }

    fn paint(&self, canvas: &mut Canvas, panel: &Panel) -> Result<()> {
        for surface in &self.surfaces {
            let outline: Vec<Point> = surface.outline(panel.axes).into_iter().map(|p| panel.at(p)).collect();
            let alpha = if surface.glass { 0.12 } else { 0.55 };
            canvas.polygon(&outline, surface.colour, alpha)?;
        }
        let largest = self.largest();
        for link in &self.links {
            let ends = link.ends.map(|e| panel.of(self.regions[e].position));
            let strength = self.strength(link);
            let width = 0.6 + 3.0 * strength.abs() / largest;
            canvas.line(&ends, Stroke::new(link_colour(strength, largest), width))?;
        }
        for (region, linked) in self.regions.iter().zip(self.linked()) {
            let (radius, colour) = if linked { (3.4, INK) } else { (1.8, GREY) };
            canvas.circle(panel.of(region.position), radius, colour, true)?;
        }
        Ok(())
    }

    /// The lowest and highest millimetres of everything that is drawn.
    fn extent(&self) -> ([f64; 3], [f64; 3]) {
        let (mut low, mut high) = ([f64::INFINITY; 3], [f64::NEG_INFINITY; 3]);
        let vertices = self.surfaces.iter().flat_map(|s| s.vertices.iter().copied());
        for point in self.regions.iter().map(|r| r.position).chain(vertices) {
            for k in 0..3 {
                (low[k], high[k]) = (low[k].min(point[k]), high[k].max(point[k]));
            }
        }
        (low, high)
    }

    /// What is shown, and where the links come from.
    pub(super) fn caption(&self) -> String {
        let links = match self.all == self.links.len() {
            true => plural(self.all, "link"),
            false => format!("the strongest {} of {}", self.links.len(), plural(self.all, "link")),
        };
        let source = if self.source.is_empty() { String::new() } else { format!(" ({})", self.source) };
        let signs = match self.links.iter().any(|l| self.strength(l) < 0.0) {
            true => format!("orange above {0}, blue below", short(self.neutral)),
            false => "orange".to_owned(),
        };
        let measured = match self.neutral == 0.0 {
            true => "absolute values".to_owned(),
            false => format!("distances from {}", short(self.neutral)),
        };
        let full = match self.neutral == 0.0 {
            true => String::new(),
            false => format!(", in full colour at {}", short(self.largest())),
        };
        let range = match (self.links.first(), self.links.last()) {
            (Some(weakest), Some(strongest)) => format!(
                " Width and colour: {}, {measured} from {} to {}{full}; {signs}.",
                self.weight,
                short(self.strength(weakest).abs()),
                short(self.strength(strongest).abs()),
            ),
            _ => String::new(),
        };
        format!(
            "{}, {links}{source}.{range} L, R: the patient's left and right; A, P: front and back.",
            plural(self.regions.len(), "region")
        )
    }

    pub(super) fn alt(&self) -> String {
        let name = |i: usize| &self.regions[i].name;
        let strongest = self.links.iter().rev().take(3);
        let listed: Vec<_> =
            strongest.map(|l| format!("{} to {}", name(l.ends[0]), name(l.ends[1]))).collect();
        let end = match listed.is_empty() {
            true => "without links".to_owned(),
            false => format!("the strongest links are {}", listed.join(", ")),
        };
        format!(
            "Three projections of a network of {} on the brain; {end}.",
            plural(self.regions.len(), "region")
        )
    }
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::example;
    use super::super::surface::tests::sphere;
    use super::super::{Connectome, Link, Region, Surface};

    #[test]
    fn each_projection_has_every_region_and_link() {
        let (vertices, triangles) = sphere(8, 60.0);
        let brain = Surface::new("brain", &vertices, &triangles, [120; 3]).unwrap().glass();
        let figure = example().surface(brain).figure().unwrap();
        let svg = figure.svg().unwrap();
        assert_eq!(svg.matches("<circle").count(), 3 * 4);
        assert_eq!(svg.matches("<polyline").count(), 3 * 3);
        assert_eq!(svg.matches("<polygon").count(), 3);
        assert!(!svg.contains("NaN"), "{svg}");
        assert!(figure.to_html("").contains("brain</li>"));
    }

    #[test]
    fn the_left_of_the_patient_is_at_the_left() {
        let regions = vec![Region::new("left", [-50.0, 0.0, 0.0]), Region::new("right", [50.0, 0.0, 0.0])];
        let links = vec![Link { ends: [0, 1], weight: 1.0 }];
        let figure = Connectome::new(regions, links, "w").unwrap().figure().unwrap();
        let svg = figure.svg().unwrap();
        let x = |circle: &str| {
            circle.split("cx=\"").nth(1).unwrap().split('"').next().unwrap().parse::<i32>().unwrap()
        };
        let circles: Vec<i32> = svg.split("<circle").skip(1).map(|c| x(&format!("<circle{c}"))).collect();
        // Two in each projection: together from the right, apart from behind and above.
        assert_eq!(circles[0], circles[1]);
        assert!(circles[2] < circles[3] && circles[4] < circles[5], "{circles:?}");
    }

    #[test]
    fn the_caption_says_what_was_left_out_and_where_links_come_from() {
        let figure = example().strongest(2).source("tracts generated by an algorithm").figure().unwrap();
        let caption = figure.caption();
        assert!(
            caption.starts_with("4 regions, the strongest 2 of 3 links (tracts generated by an algorithm).")
        );
        assert!(
            caption.contains("attention, absolute values from 2 to 3; orange above 0, blue below."),
            "{caption}"
        );
        assert!(figure.alt().ends_with("the strongest links are r0 to r1, r1 to r2."), "{}", figure.alt());
    }

    #[test]
    fn one_region_and_extreme_places_are_drawn() {
        for place in [[0.0; 3], [1e4; 3], [-1e-300; 3]] {
            let one = Connectome::new(vec![Region::new("<script>", place)], vec![], "w").unwrap();
            let figure = one.figure().unwrap();
            assert!(!figure.svg().unwrap().contains("NaN") && !figure.to_html("").contains("<script"));
        }
    }
}
