//! Reports as one self-contained HTML file: tables, charts, image overlays, connectomes and model cards.
//!
//! Plain numbers go in; nothing is trained or loaded here. A [`Report`] is built from [`Section`]s of
//! paragraphs, [`ReportTable`]s and [`Figure`]s; a [`ModelCard`] states what a prediction model is for and what is
//! known about it. Statistics come from `oncograph-metrics`.
//!
//! - [`chart`]: learning curves, Kaplan–Meier curves with numbers at risk, scatter, calibration, ROC, bars,
//!   histograms, enrichment curves and graphs of patients, as SVG.
//! - [`connectome`]: a network drawn on the brain, flat, or on a separate page to turn in a browser.
//! - [`overlay`]: image slices with masks and heat maps, as PNG.
//! - [`palette`]: colours that people with any common colour blindness can tell apart.
//!
//! The report carries a content security policy that forbids every request, has no script, and escapes every
//! string that it is given. The file `examples/report.rs` makes a report with one of everything. Tables also print
//! on a terminal ([`ReportTable::to_text`]) and as Markdown ([`ReportTable::to_markdown`]).

pub mod chart;
pub mod connectome;
mod error;
mod figure;
mod model_card;
pub mod overlay;
pub mod palette;
mod report;
mod table;
mod text;

pub use error::{Error, Result};
pub use figure::Figure;
pub use model_card::ModelCard;
pub use report::{Banner, RESEARCH_ONLY, Report, Section};
pub use table::{Cell, ReportTable};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
