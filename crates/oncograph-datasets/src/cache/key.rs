use super::ContentHash;
use crate::error::{Error, Result};
use serde::Serialize;
use std::io::Read;
use std::path::Path;

/// The version of the code: that of the release, which no author of a cached computation can forget to change.
const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// Identifies an entry: BLAKE3 over input files, configuration and code version.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct CacheKey(blake3::Hash);

impl CacheKey {
    /// The key for features computed from these files with this configuration by this version of the code.
    ///
    /// The files' bytes count, in the given order, not their names or times: a copied or renamed data set keeps its
    /// entries. What a file is (which sequence, which structure) therefore belongs into `config` wherever a file may be absent.
    /// `version` is to be changed whenever the computation changes; the version of the release is part of every key besides.
    ///
    /// # Errors
    /// A file that cannot be read, or a configuration that has no JSON form.
    pub fn new<P: AsRef<Path>>(files: &[P], config: &impl Serialize, version: &str) -> Result<Self> {
        Self::of_release(files, config, version, RELEASE)
    }

    /// The key of what depends on no file.
    ///
    /// # Errors
    /// A configuration that has no JSON form.
    pub fn of(config: &impl Serialize, version: &str) -> Result<Self> {
        let none: [&Path; 0] = [];
        Self::new(&none, config, version)
    }

    fn of_release<P: AsRef<Path>>(
        files: &[P],
        config: &impl Serialize,
        version: &str,
        release: &str,
    ) -> Result<Self> {
        let hash = ContentHash::new().text("oncograph feature cache 2").text(release).text(version);
        let hash = files.iter().try_fold(hash.json(config)?, |hash, file| {
            Ok::<_, Error>(hash.bytes(hash_file(file.as_ref())?.as_bytes()))
        })?;
        Ok(Self(hash.finalize()))
    }

    /// The key as 64 hexadecimal digits.
    pub fn hex(&self) -> String {
        self.0.to_hex().to_string()
    }
}

fn hash_file(path: &Path) -> Result<blake3::Hash> {
    let hash = || {
        let mut file = std::fs::File::open(path)?;
        let mut hasher = blake3::Hasher::new();
        let mut buffer = vec![0; 1 << 17];
        loop {
            match file.read(&mut buffer)? {
                0 => return Ok(hasher.finalize()),
                n => hasher.update(&buffer[..n]),
            };
        }
    };
    hash().map_err(|e| Error::io("read", path, e))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::path::PathBuf;

    #[test]
    fn the_key_depends_on_contents_order_configuration_and_version_but_not_on_names() {
        let folder = tempfile::tempdir().unwrap();
        let file = |name: &str, text: &str| {
            std::fs::write(folder.path().join(name), text).unwrap();
            folder.path().join(name)
        };
        let (a, b, copy) = (file("a", "x"), file("b", "y"), file("copy", "x"));
        let key =
            |files: &[&PathBuf], config: &str, version: &str| CacheKey::new(files, &config, version).unwrap();
        let base = key(&[&a, &b], "c", "1");
        assert_eq!(base, key(&[&copy, &b], "c", "1"));
        for other in [
            key(&[&b, &a], "c", "1"),
            key(&[&a], "c", "1"),
            key(&[&a, &b], "d", "1"),
            key(&[&a, &b], "c", "2"),
        ] {
            assert_ne!(base, other);
        }
        let release = CacheKey::of_release(&[&a, &b], &"c", "1", "another").unwrap();
        assert_ne!(base, release);
        let error = CacheKey::new(&[folder.path().join("none")], &1, "1").unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }
}
