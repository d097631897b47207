//! The transformer encoder with PyTorch's parameter names.

mod encoder;
mod encoder_layer;

pub use encoder::{TransformerEncoder, TransformerEncoderConfig};
pub use encoder_layer::{TransformerEncoderLayer, TransformerEncoderLayerConfig};
