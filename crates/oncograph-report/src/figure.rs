//! Figures: a chart or a picture with caption and alternative text.

use crate::palette::{Rgb, hex};
use crate::text::escape;
use base64::Engine;
use std::fmt::Write;

#[derive(Debug, Clone, PartialEq)]
enum Image {
    Svg(String),
    Png { bytes: Vec<u8>, width: u32 },
}

/// A chart (SVG) or a picture (PNG) with its caption and the text that stands for it where it cannot be seen.
///
/// Made by the functions of [`chart`](crate::chart) and [`overlay`](crate::overlay).
#[derive(Debug, Clone, PartialEq)]
pub struct Figure {
    image: Image,
    title: String,
    caption: String,
    alt: String,
    legend: Vec<(String, Rgb)>,
}

impl Figure {
    pub(crate) fn svg_chart(svg: String, caption: String, alt: String) -> Self {
        Self { image: Image::Svg(svg), title: String::new(), caption, alt, legend: Vec::new() }
    }

    pub(crate) fn png_picture(bytes: Vec<u8>, width: u32, caption: String, alt: String) -> Self {
        Self { image: Image::Png { bytes, width }, title: String::new(), caption, alt, legend: Vec::new() }
    }

    pub(crate) fn with_legend(mut self, legend: Vec<(String, Rgb)>) -> Self {
        self.legend = legend;
        self
    }

    /// Sets the title, printed in bold before the caption and spoken before the alternative text.
    pub fn titled(mut self, title: impl Into<String>) -> Self {
        self.title = title.into();
        self
    }

    /// Adds sentences after the caption that the figure already has, such as the statistics behind it.
    pub fn with_remark(mut self, remark: impl AsRef<str>) -> Self {
        self.caption = format!("{} {}", self.caption, remark.as_ref()).trim().to_owned();
        self
    }

    /// Replaces the alternative text.
    pub fn with_alt(mut self, alt: impl Into<String>) -> Self {
        self.alt = alt.into();
        self
    }

    /// The caption, without the title.
    pub fn caption(&self) -> &str {
        &self.caption
    }

    /// The alternative text, without the title.
    pub fn alt(&self) -> &str {
        &self.alt
    }

    /// The chart as a stand-alone SVG document; `None` for a picture.
    pub fn svg(&self) -> Option<&str> {
        match &self.image {
            Image::Svg(svg) => Some(svg),
            Image::Png { .. } => None,
        }
    }

    /// The picture as a PNG file; `None` for a chart.
    pub fn png(&self) -> Option<&[u8]> {
        match &self.image {
            Image::Png { bytes, .. } => Some(bytes),
            Image::Svg(_) => None,
        }
    }

    fn spoken(&self) -> String {
        match self.title.is_empty() {
            true => escape(&self.alt),
            false => escape(&format!("{}. {}", self.title, self.alt)),
        }
    }

    /// The `<figure>` element; `tag` is put before the caption.
    pub(crate) fn to_html(&self, tag: &str) -> String {
        let mut out = String::from("<figure>\n<div class=\"scroll\">");
        match &self.image {
            Image::Svg(svg) => {
                // Inside HTML the namespace is implied, and width and height belong to the style sheet.
                let natural = svg.split('"').nth(1).unwrap_or("720");
                let view = svg.find("viewBox").and_then(|i| svg[i..].split('"').nth(1)).unwrap_or("");
                let body = svg.split_once('>').map_or("", |(_, body)| body);
                let _ = write!(
                    out,
                    "<svg class=\"chart\" style=\"--width:{natural}px\" role=\"img\" aria-label=\"{}\" \
                     viewBox=\"{view}\">{body}",
                    self.spoken()
                );
            }
            Image::Png { bytes, width } => {
                let data = base64::engine::general_purpose::STANDARD.encode(bytes);
                let alt = self.spoken();
                let _ = write!(
                    out,
                    "<img alt=\"{alt}\" style=\"width:{width}px\" src=\"data:image/png;base64,{data}\">"
                );
            }
        }
        out.push_str("</div>\n");
        if !self.legend.is_empty() {
            out.push_str("<ul class=\"legend\">");
            for (name, colour) in &self.legend {
                let swatch = hex(*colour);
                let name = escape(name);
                let _ = write!(out, "<li><span style=\"background:{swatch}\"></span>{name}</li>");
            }
            out.push_str("</ul>\n");
        }
        out.push_str("<figcaption>");
        out.push_str(tag);
        if !self.title.is_empty() {
            let _ = write!(out, "<strong>{}.</strong> ", escape(&self.title));
        }
        let _ = writeln!(out, "{}</figcaption>\n</figure>", escape(&self.caption));
        out
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_inline_chart_has_a_role_and_no_namespace() {
        let svg =
            "<svg width=\"9\" height=\"9\" viewBox=\"0 0 9 9\" xmlns=\"http://www.w3.org/2000/svg\">\n</svg>";
        let html = Figure::svg_chart(svg.into(), "c".into(), "a \"b\"".into()).titled("T").to_html("");
        let opening = "<svg class=\"chart\" style=\"--width:9px\" role=\"img\" \
                       aria-label=\"T. a &quot;b&quot;\" viewBox=\"0 0 9 9\">";
        assert!(html.contains(opening), "{html}");
        assert!(!html.contains("http"), "{html}");
        assert!(html.contains("<figcaption><strong>T.</strong> c</figcaption>"), "{html}");
    }
}
