use super::Connectome;
use super::config::link_colour;
use crate::error::Result;
use crate::palette::hex;
use crate::report::{Banner, RESEARCH_ONLY};
use crate::text::{escape, fixed};
use oncograph_core::write_file;
use std::path::Path;

/// Nothing may be loaded from anywhere. The one script of the page is this crate's own; what the caller gives goes into a
/// block of data and into escaped text.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; script-src 'unsafe-inline'";

impl Connectome {
    /// Writes a page on which the network can be turned, with the three projections below: one file that needs no network and
    /// no graphics processor. The file appears whole or not at all.
    ///
    /// The view is drawn by about 200 lines of script on a plain canvas, without WebGL, which remote desktops and locked-down
    /// workstations often lack, and without a library to keep up to date. It shows what [`Connectome::figure`] shows, and
    /// no image volume.
    ///
    /// # Errors
    /// As [`Connectome::figure`]; the folder does not exist or cannot be written.
    pub fn write_view(&self, path: impl AsRef<Path>, title: &str, banner: Option<&Banner>) -> Result<()> {
        Ok(write_file(path, self.to_view(title, banner)?.as_bytes())?)
    }

    /// The page of [`Connectome::write_view`].
    ///
    /// # Errors
    /// As [`Connectome::figure`].
    pub fn to_view(&self, title: &str, banner: Option<&Banner>) -> Result<String> {
        let figure = self.figure()?;
        let (prefix, tag) = match banner {
            Some(Banner::Phantom(_)) => ("PHANTOM DATA: ", "<span class=\"tag\">PHANTOM DATA</span>"),
            _ => ("", ""),
        };
        let (title, alt) = (escape(title), escape(&self.alt()));
        let message = banner.map(Banner::to_html).unwrap_or_default();
        let (style, own) = (include_str!("../report.css"), include_str!("view.css"));
        Ok(format!(
            "<!DOCTYPE html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n\
             <meta http-equiv=\"Content-Security-Policy\" content=\"{POLICY}\">\n\
             <meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n\
             <title>{prefix}{title}</title>\n<style>\n{style}{own}</style>\n</head>\n<body>\n{message}\
             <header>\n<h1>{title}</h1>\n</header>\n<main>\n\
             <div id=\"tools\"></div>\n<div id=\"stage\">\
             <canvas id=\"view\" tabindex=\"0\" role=\"img\" aria-label=\"{alt}\"></canvas>\
             <div id=\"tip\" hidden></div></div>\n\
             <noscript><p>Without scripts only the projections below are shown.</p></noscript>\n\
             <p class=\"note\">Drag or use the arrow keys to turn, the wheel or + and - to zoom. Point at a region for its \
             name.</p>\n{}</main>\n<footer>\n<p>{RESEARCH_ONLY}</p>\n\
             <p>Made with oncograph-report {}.</p>\n</footer>\n\
             <script type=\"application/json\" id=\"data\">{}</script>\n<script>\n{}</script>\n</body>\n</html>\n",
            figure.to_html(tag),
            env!("CARGO_PKG_VERSION"),
            self.to_json(),
            include_str!("view.js"),
        ))
    }

    /// The data of the page; text in it cannot end the block.
    fn to_json(&self) -> String {
        let largest = self.largest();
        let point = |p: &[f64; 3]| format!("[{}]", p.map(|v| fixed(v, 1)).join(","));
        let list = |items: Vec<String>| format!("[{}]", items.join(","));
        let regions = self.regions.iter().zip(self.linked());
        let regions = regions.map(|(r, linked)| {
            format!("{{\"name\":{},\"at\":{},\"linked\":{linked}}}", quoted(&r.name), point(&r.position))
        });
        let links = self.links.iter().map(|l| {
            let (colour, [a, b]) = (hex(link_colour(self.strength(l), largest)), l.ends);
            let share = fixed(self.strength(l).abs() / largest, 4);
            format!(
                "{{\"ends\":[{a},{b}],\"share\":{share},\"weight\":\"{:.4e}\",\"colour\":\"{colour}\"}}",
                l.weight
            )
        });
        let surfaces = self.surfaces.iter().map(|s| {
            let vertices = list(s.vertices.iter().map(point).collect());
            let triangles = list(s.triangles.iter().map(|[a, b, c]| format!("[{a},{b},{c}]")).collect());
            let [r, g, b] = s.colour;
            format!(
                "{{\"name\":{},\"glass\":{},\"colour\":[{r},{g},{b}],\"vertices\":{vertices},\"triangles\":{triangles}}}",
                quoted(&s.name),
                s.glass
            )
        });
        format!(
            "{{\"weight\":{},\"regions\":{},\"links\":{},\"surfaces\":{}}}",
            quoted(&self.weight),
            list(regions.collect()),
            list(links.collect()),
            list(surfaces.collect())
        )
    }
}

/// A JSON string without a character that means anything to HTML.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for c in text.chars() {
        match c {
            '"' | '\\' => out.extend(['\\', c]),
            '<' | '>' | '&' | '\u{2028}' | '\u{2029}' => out.push_str(&format!("\\u{:04x}", c as u32)),
            c if c.is_control() => out.push(' '),
            c => out.push(c),
        }
    }
    out + "\""
}

#[cfg(test)]
mod tests {
    use super::super::config::tests::example;
    use super::super::surface::tests::sphere;
    use super::super::{Connectome, Region, Surface};
    use super::*;

    fn data(html: &str) -> serde_json::Value {
        let (_, rest) = html.split_once("id=\"data\">").unwrap();
        serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
    }

    #[test]
    fn the_page_has_all_data_and_asks_for_nothing() {
        let (vertices, triangles) = sphere(6, 50.0);
        let brain = Surface::new("brain", &vertices, &triangles, [120; 3]).unwrap().glass();
        let html = example().surface(brain).to_view("T", None).unwrap();
        let data = data(&html);
        assert_eq!(data["regions"][1]["at"], serde_json::json!([-10.0, 5.0, 10.0]));
        assert_eq!(data["links"][2]["ends"], serde_json::json!([0, 1]));
        assert_eq!(data["links"][2]["share"], 1.0);
        assert_eq!(data["surfaces"][0]["triangles"].as_array().unwrap().len(), triangles.len());
        assert!(html.contains(&format!("content=\"{POLICY}\"")));
        for forbidden in ["http://", "https://", "url(", "@import", "<link", "<iframe", "href=", "src="] {
            assert!(!html.contains(forbidden), "{forbidden}");
        }
    }

    #[test]
    fn no_name_becomes_markup_or_script() {
        let bad = "</script><script>alert(1)</script>\"\\\u{1b}\n\u{2028}";
        let surface = Surface::new(bad, &[[0.0; 3]], &[], [0; 3]).unwrap();
        let region = Region::new(bad, [0.0; 3]);
        let network = Connectome::new(vec![region], vec![], bad).unwrap().source(bad).surface(surface);
        let html = network.to_view(bad, Some(&Banner::Phantom(bad.into()))).unwrap();
        assert_eq!(html.matches("<script").count(), 2, "the data and the crate's own");
        assert_eq!(html.matches("</script>").count(), 2);
        assert!(data(&html)["regions"][0]["name"].as_str().unwrap().starts_with("</script><script>"));
        assert!(
            html.contains("<title>PHANTOM DATA: ")
                && html.contains("<span class=\"tag\">PHANTOM DATA</span>")
        );
    }

    #[test]
    fn the_file_is_the_page() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("view.html");
        example().write_view(&path, "T", None).unwrap();
        assert_eq!(std::fs::read_to_string(path).unwrap(), example().to_view("T", None).unwrap());
    }
}
