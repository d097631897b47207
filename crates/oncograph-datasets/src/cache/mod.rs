//! A store of computed features, so that training never needs to read images twice.
//!
//! An entry's name is a hash of everything that determines its content: the bytes of the input files, the
//! configuration as JSON, and a version of the code that computes it. A changed input is therefore another entry, and
//! nothing ever has to be invalidated.

mod content;
mod key;

pub use content::ContentHash;
pub use key::CacheKey;

use crate::error::{Error, Result};
use oncograph_core::write_file;
use safetensors::tensor::{Dtype, SafeTensors, TensorView};
use std::collections::{BTreeMap, HashMap};
use std::path::{Path, PathBuf};

/// A block of numbers with its shape, row-major (the last index runs fastest).
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Array {
    /// Size along each axis; empty for a single number.
    pub shape: Vec<usize>,
    /// The numbers.
    pub data: Vec<f32>,
}

/// What the cache stores under a key: named arrays and named texts.
#[derive(Debug, Clone, Default, PartialEq)]
#[non_exhaustive]
pub struct Features {
    /// Arrays by name.
    pub arrays: BTreeMap<String, Array>,
    /// Texts by name, e.g. the identifier of the subject or a list of missing structures.
    pub metadata: BTreeMap<String, String>,
}

impl Features {
    /// Nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// Adds an array.
    ///
    /// # Errors
    /// A number of values other than the product of the shape.
    pub fn array(mut self, name: impl Into<String>, shape: &[usize], data: Vec<f32>) -> Result<Self> {
        let expected = shape.iter().try_fold(1_usize, |n, s| n.checked_mul(*s));
        if expected != Some(data.len()) {
            let expected = format!("the product of the shape {shape:?}");
            return Err(Error::argument(
                "Features::array",
                "data",
                expected,
                format!("{} values", data.len()),
            ));
        }
        self.arrays.insert(name.into(), Array { shape: shape.to_vec(), data });
        Ok(self)
    }

    /// Adds a text.
    pub fn text(mut self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.metadata.insert(name.into(), value.into());
        self
    }

    /// Writes them to a file outside of a cache, whole or not at all; `kind` is what the file is, by which
    /// [`Features::read`] knows it.
    ///
    /// # Errors
    /// As [`FeatureCache::put`].
    pub fn write(&self, path: impl AsRef<Path>, kind: &str) -> Result<()> {
        Ok(write_file(path.as_ref(), &encode(self, kind)?)?)
    }

    /// Reads a file of this kind.
    ///
    /// # Errors
    /// A file that cannot be read, is damaged, or of another kind.
    pub fn read(path: impl AsRef<Path>, kind: &str) -> Result<Self> {
        let path = path.as_ref();
        let bytes = std::fs::read(path).map_err(|e| Error::io("read", path, e))?;
        decode(&bytes, kind).map_err(|e| Error::format(path, "safetensors", e))
    }
}

/// A folder of entries, `<first two digits>/<key>.safetensors`.
///
/// Entries appear complete or not at all, so several processes may share a folder.
///
/// # Example
/// ```
/// use oncograph_datasets::cache::{CacheKey, FeatureCache, Features};
///
/// let folder = tempfile::tempdir()?;
/// let ct = folder.path().join("ct.nii.gz");
/// std::fs::write(&ct, "voxels")?;
/// let cache = FeatureCache::open(folder.path().join("cache"))?;
/// let key = CacheKey::new(&[&ct], &("resnet18", 128), "1")?;
/// let compute = || Features::new().array("liver", &[2, 2], vec![0.0, 1.0, 2.0, 3.0]);
/// let first = cache.get_or_compute(&key, compute)?;
/// assert_eq!(cache.get(&key)?, Some(first.clone()));
/// // Not computed a second time.
/// assert_eq!(cache.get_or_compute(&key, compute)?, first);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct FeatureCache {
    root: PathBuf,
}

impl FeatureCache {
    /// Opens a cache, creating its folder.
    ///
    /// # Errors
    /// A folder that cannot be created.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        std::fs::create_dir_all(root).map_err(|e| Error::io("create", root, e))?;
        Ok(Self { root: root.to_owned() })
    }

    /// The file of an entry, whether or not it exists.
    pub fn path(&self, key: &CacheKey) -> PathBuf {
        let hex = key.hex();
        self.root.join(&hex[..2]).join(format!("{hex}.safetensors"))
    }

    /// The stored entry, if there is one.
    ///
    /// # Errors
    /// A file that exists but cannot be read, is damaged, or belongs to another key.
    pub fn get(&self, key: &CacheKey) -> Result<Option<Features>> {
        let path = self.path(key);
        match std::fs::read(&path) {
            Ok(bytes) => {
                decode(&bytes, &key.hex()).map(Some).map_err(|e| Error::format(&path, "safetensors", e))
            }
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => Ok(None),
            Err(e) => Err(Error::io("read", &path, e)),
        }
    }

    /// Stores an entry, replacing the one that is there.
    ///
    /// # Errors
    /// An array whose shape does not fit its data, or a file that cannot be written.
    pub fn put(&self, key: &CacheKey, features: &Features) -> Result<()> {
        let path = self.path(key);
        let bytes = encode(features, &key.hex())?;
        let folder = path.parent().unwrap_or(&self.root);
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        Ok(write_file(&path, &bytes)?)
    }

    /// The stored entry, or the computed one, which is then stored.
    ///
    /// A damaged entry is computed anew and replaced, with a warning.
    ///
    /// # Errors
    /// What `compute` returns, and as [`put`](Self::put).
    pub fn get_or_compute<E: From<Error>>(
        &self,
        key: &CacheKey,
        compute: impl FnOnce() -> Result<Features, E>,
    ) -> Result<Features, E> {
        match self.get(key) {
            Ok(Some(features)) => return Ok(features),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "cache entry is damaged and computed anew"),
        }
        let features = compute()?;
        self.put(key, &features)?;
        Ok(features)
    }
}

/// Names under which the key and a checksum stand beside the user's texts.
const KEY: &str = "oncograph.key";
const SUM: &str = "oncograph.sum";
const USER: &str = "user.";

fn encode(features: &Features, key: &str) -> Result<Vec<u8>> {
    const OP: &str = "FeatureCache::put";
    let blocks: Vec<(&String, &Array, Vec<u8>)> = features
        .arrays
        .iter()
        .map(|(name, array)| (name, array, array.data.iter().flat_map(|v| v.to_le_bytes()).collect()))
        .collect();
    let mut views = Vec::with_capacity(blocks.len());
    for (name, array, bytes) in &blocks {
        let view = TensorView::new(Dtype::F32, array.shape.clone(), bytes)
            .map_err(|e| Error::argument(OP, "arrays", "data that fits the shape", format!("{name}: {e}")))?;
        views.push(((*name).clone(), view));
    }
    let mut metadata: HashMap<String, String> =
        features.metadata.iter().map(|(k, v)| (format!("{USER}{k}"), v.clone())).collect();
    metadata.insert(KEY.to_owned(), key.to_owned());
    metadata.insert(SUM.to_owned(), checksum(features));
    safetensors::serialize(views, Some(metadata))
        .map_err(|e| Error::argument(OP, "features", "serializable", e.to_string()))
}

fn decode(bytes: &[u8], key: &str) -> Result<Features, String> {
    let (_, header) = SafeTensors::read_metadata(bytes).map_err(|e| e.to_string())?;
    let texts = header.metadata().clone().unwrap_or_default();
    if texts.get(KEY).map(String::as_str) != Some(key) {
        return Err("it belongs to another key or is of another kind".to_owned());
    }
    let mut features = Features::new();
    for (name, text) in &texts {
        if let Some(name) = name.strip_prefix(USER) {
            features.metadata.insert(name.to_owned(), text.clone());
        }
    }
    for (name, view) in SafeTensors::deserialize(bytes).map_err(|e| e.to_string())?.iter() {
        if view.dtype() != Dtype::F32 {
            return Err(format!("array `{name}` holds {:?}, not F32", view.dtype()));
        }
        let (values, _) = view.data().as_chunks::<4>();
        let data = values.iter().map(|b| f32::from_le_bytes(*b)).collect();
        features.arrays.insert(name.to_owned(), Array { shape: view.shape().to_vec(), data });
    }
    match texts.get(SUM) == Some(&checksum(&features)) {
        true => Ok(features),
        false => Err("the checksum does not match".to_owned()),
    }
}

/// Detects flipped bits, which the format itself does not.
fn checksum(features: &Features) -> String {
    let mut hasher = blake3::Hasher::new();
    for (name, array) in &features.arrays {
        hasher.update(format!("{name} {:?} ", array.shape).as_bytes());
        let bytes: Vec<u8> = array.data.iter().flat_map(|v| v.to_le_bytes()).collect();
        hasher.update(&bytes);
    }
    hasher.update(format!("{:?}", features.metadata).as_bytes());
    hasher.finalize().to_hex().to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    fn features() -> Features {
        let values = vec![0.5, f32::MIN_POSITIVE, -0.0, 3e38, 1.0, 2.0];
        let one = Features::new().array("ct", &[2, 3], values).unwrap();
        one.array("scalar", &[], vec![7.0])
            .unwrap()
            .array("none", &[0, 4], vec![])
            .unwrap()
            .text("id", "Ä \"1\"")
    }

    fn setup() -> (tempfile::TempDir, FeatureCache, CacheKey) {
        let folder = tempfile::tempdir().unwrap();
        let cache = FeatureCache::open(folder.path().join("cache")).unwrap();
        let input = folder.path().join("in");
        std::fs::write(&input, "abc").unwrap();
        let key = CacheKey::new(&[input], &1, "1").unwrap();
        (folder, cache, key)
    }

    #[test]
    fn entries_round_trip_and_are_computed_once() {
        let (_folder, cache, key) = setup();
        let calls = Cell::new(0);
        let compute = || {
            calls.set(calls.get() + 1);
            Ok::<_, Error>(features())
        };
        assert_eq!(cache.get(&key).unwrap(), None);
        assert_eq!(cache.get_or_compute(&key, compute).unwrap(), features());
        assert_eq!(cache.get_or_compute(&key, compute).unwrap(), features());
        assert_eq!(calls.get(), 1);
        assert!(Features::new().array("a", &[2], vec![1.0]).is_err());
        assert!(Features::new().array("a", &[usize::MAX, 2], vec![1.0]).is_err());
    }

    #[test]
    fn damage_of_every_kind_is_noticed_and_repaired() {
        let (_folder, cache, key) = setup();
        cache.put(&key, &features()).unwrap();
        let path = cache.path(&key);
        let good = std::fs::read(&path).unwrap();
        let mut flipped = good.clone();
        *flipped.last_mut().unwrap() ^= 1;
        let mut header = good.clone();
        header[3] = 0xff;
        for bad in [&good[..good.len() - 5], &good[..4], &[], &flipped, &header] {
            std::fs::write(&path, bad).unwrap();
            let error = cache.get(&key).unwrap_err().to_string();
            assert!(error.contains("safetensors"), "{error}");
            assert_eq!(cache.get_or_compute(&key, || Ok::<_, Error>(features())).unwrap(), features());
            assert_eq!(cache.get(&key).unwrap(), Some(features()));
        }
        // Another key's file under this name.
        let other = CacheKey::new::<&Path>(&[], &2, "1").unwrap();
        std::fs::create_dir_all(cache.path(&other).parent().unwrap()).unwrap();
        std::fs::copy(&path, cache.path(&other)).unwrap();
        assert!(cache.get(&other).unwrap_err().to_string().contains("another key"));
    }

    #[test]
    fn a_failed_computation_stores_nothing() {
        let (_folder, cache, key) = setup();
        let failed = cache.get_or_compute(&key, || Err(Error::argument("f", "x", "y", "z")));
        assert!(failed.is_err());
        assert_eq!(cache.get(&key).unwrap(), None);
    }
}
