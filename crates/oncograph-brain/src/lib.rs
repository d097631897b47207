//! Glioma: what turns four MRI sequences, the surface of the tumour and a brain network into vectors that can be
//! compared.
//!
//! - [`ImageEncoder`]: the tumour image to u^I.
//! - [`NetworkEncoder`]: regions and tracts to u^B.
//!
//! # Reference
//! *Multi-modal contrastive learning with a population graph for IDH genotype*, arXiv 2203.10852. What it leaves open
//! is a field of a configuration with the decision's number (G-01 to G-37) in its documentation.

mod error;
mod image_encoder;
mod network_encoder;

pub use error::{Error, Result};
pub use image_encoder::{ImageEncoder, ImageEncoderConfig, ImageHead};
pub use network_encoder::{NetworkEncoder, NetworkEncoderConfig};

// The examples of the README are compiled and run as doctests.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct ReadmeExamples;
