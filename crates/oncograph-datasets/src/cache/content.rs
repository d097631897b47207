use crate::error::{Error, Result};
use serde::Serialize;

/// A hash of content that was read into memory, part by part (BLAKE3). Every part counts with its length, so that no two lists of
/// parts run together to the same bytes.
///
/// # Example
/// ```
/// use oncograph_datasets::cache::ContentHash;
///
/// let of = |parts: [&str; 2]| parts.iter().fold(ContentHash::new(), |hash, part| hash.text(part)).hex();
/// assert_eq!(of(["ab", "c"]), of(["ab", "c"]));
/// assert_ne!(of(["ab", "c"]), of(["a", "bc"]));
/// ```
#[derive(Debug, Clone, Default)]
pub struct ContentHash(blake3::Hasher);

/// Values that are turned into bytes at once.
const BLOCK: usize = 1 << 14;

impl ContentHash {
    /// Of nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds bytes.
    pub fn bytes(mut self, part: &[u8]) -> Self {
        self.0.update(&(part.len() as u64).to_le_bytes()).update(part);
        self
    }

    /// Adds a text.
    pub fn text(self, part: &str) -> Self {
        self.bytes(part.as_bytes())
    }

    /// Adds numbers, bit by bit.
    pub fn floats(mut self, part: &[f32]) -> Self {
        self.0.update(&(part.len() as u64).to_le_bytes());
        for block in part.chunks(BLOCK) {
            let bytes: Vec<u8> = block.iter().flat_map(|v| v.to_le_bytes()).collect();
            self.0.update(&bytes);
        }
        self
    }

    /// Adds numbers of which some may be missing; a missing one is not any number.
    pub fn optional_numbers(self, part: &[Option<f64>]) -> Self {
        let bytes: Vec<u8> = part
            .iter()
            .flat_map(|v| std::iter::once(u8::from(v.is_some())).chain(v.unwrap_or(0.0).to_le_bytes()))
            .collect();
        self.bytes(&bytes)
    }

    /// Adds a value by its JSON.
    ///
    /// # Errors
    /// A value that has no JSON form.
    pub fn json(self, part: &impl Serialize) -> Result<Self> {
        let json = serde_json::to_vec(part)
            .map_err(|e| Error::argument("ContentHash", "part", "serializable as JSON", e))?;
        Ok(self.bytes(&json))
    }

    /// The hash as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.finalize().to_hex().to_string()
    }

    pub(super) fn finalize(&self) -> blake3::Hash {
        self.0.finalize()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_in_a_bit_or_a_boundary_differs() {
        let floats = |a: &[f32], b: &[f32]| ContentHash::new().floats(a).floats(b).hex();
        let long: Vec<f32> = (0..BLOCK + 3).map(|i| i as f32).collect();
        assert_eq!(floats(&long, &[]), floats(&long, &[]));
        assert_ne!(floats(&long, &[]), floats(&[], &long));
        assert_ne!(floats(&long, &[]), floats(&long[..BLOCK + 2], &[]));
        assert_ne!(floats(&[0.0], &[]), floats(&[-0.0], &[]));
        let optional = |part: &[Option<f64>]| ContentHash::new().optional_numbers(part).hex();
        assert_ne!(optional(&[None]), optional(&[Some(0.0)]));
        assert_ne!(optional(&[None, Some(1.0)]), optional(&[Some(1.0), None]));
        assert!(ContentHash::new().json(&std::collections::BTreeMap::from([([1, 2], 3)])).is_err());
    }
}
