//! Training across sites whose patients do not leave them.

mod average;
mod proximal;
mod rounds;

pub use average::fed_avg;
pub use rounds::{FederationConfig, Site, federate, traffic};
