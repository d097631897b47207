//! A trained model as a folder of plain data that another machine can predict with.

mod manifest;
mod writer;

pub use manifest::BundledFile;
pub use writer::BundleWriter;

use crate::{Error, ModelIdentity, Result};
use manifest::{MANIFEST, Manifest, list};
use oncograph_core::{Argument, AtFile};
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// A trained model with everything that a prediction needs: configuration, scalers, lists of features, weights, reference
/// patients, model card; the only way a model leaves a run.
///
/// A bundle is a folder. `bundle.json` lists every other file with its length and BLAKE3 hash. [`Bundle::open`] refuses a
/// folder in which a bit was flipped, be it in `bundle.json` itself, a file is missing or not listed, a name leads out of the folder or through a link, or
/// whose format is newer than this program; nothing in it is executed. What is in the files is up to the system that wrote
/// them.
///
/// # Example
/// ```
/// use oncograph_deploy::{Bundle, BundleWriter};
///
/// # let folder = tempfile::tempdir()?;
/// # let path = folder.path().join("model");
/// let mut writer = BundleWriter::create(&path, "mean")?;
/// writer.json("config.json", &3.5)?;
/// writer.finish()?;
///
/// let bundle = Bundle::open(&path)?.of_system("mean")?;
/// assert_eq!(bundle.json::<f64>("config.json")?, 3.5);
///
/// std::fs::write(path.join("config.json"), "3.6")?;
/// assert!(Bundle::open(&path).unwrap_err().to_string().contains("config.json"));
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug, Clone)]
pub struct Bundle {
    root: PathBuf,
    manifest: Manifest,
    hash: String,
}

impl Bundle {
    /// Opens a bundle and checks every file of it.
    ///
    /// # Errors
    /// [`Error::AtFile`] names the file that is missing, damaged, not listed, or not one that a bundle holds.
    pub fn open(path: impl AsRef<Path>) -> Result<Self> {
        let root = path.as_ref();
        let manifest = Manifest::read(root)?;
        let at = |name: &str, cause: &str| Error::from(AtFile::new(root.join(name), cause.to_string()));
        let found = list(root)?;
        for (name, _) in &found {
            if name != MANIFEST && manifest.file(name).is_none() {
                return Err(at(name, "not listed in bundle.json"));
            }
        }
        for file in &manifest.files {
            if !found.iter().any(|(name, _)| *name == file.name) {
                return Err(at(&file.name, "missing, though bundle.json lists it"));
            }
            verified(root, file)?;
        }
        let bytes = std::fs::read(root.join(MANIFEST)).map_err(|e| AtFile::new(root.join(MANIFEST), e))?;
        let hash = blake3::hash(&bytes).to_hex().to_string();
        Ok(Bundle { root: root.to_owned(), manifest, hash })
    }

    /// This bundle, if it is one of the named system.
    ///
    /// # Errors
    /// [`Error::AtFile`] with the system that it is of.
    pub fn of_system(self, system: &str) -> Result<Self> {
        if self.manifest.system == system {
            return Ok(self);
        }
        let cause = format!("a model of the system {}, expected one of {system}", self.manifest.system);
        Err(AtFile::new(&self.root, cause).into())
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.root
    }

    /// The system, for example `stg`.
    pub fn system(&self) -> &str {
        &self.manifest.system
    }

    /// Whether the model was trained on generated patients.
    pub fn phantom(&self) -> bool {
        self.manifest.phantom
    }

    /// The files, without `bundle.json`.
    pub fn files(&self) -> &[BundledFile] {
        &self.manifest.files
    }

    /// Who predicts: the system, the version that trained it, and the hash of the bundle, which changes with any file of it.
    pub fn identity(&self) -> ModelIdentity {
        ModelIdentity {
            name: self.manifest.system.clone(),
            version: format!("oncograph {}", self.manifest.oncograph),
            hash: format!("blake3:{}", self.hash),
        }
    }

    /// The content of a file, checked again.
    ///
    /// # Errors
    /// A name that the bundle does not have, or a file that was changed since it was opened.
    pub fn bytes(&self, name: &str) -> Result<Vec<u8>> {
        let file = self.manifest.file(name).ok_or_else(|| {
            let names: Vec<&str> = self.manifest.files.iter().map(|f| f.name.as_str()).collect();
            Argument::new("Bundle", "name", format!("one of {}", names.join(", ")), name)
        })?;
        verified(&self.root, file)
    }

    /// A value from a JSON file.
    ///
    /// # Errors
    /// As [`Bundle::bytes`], or a file that holds another value.
    pub fn json<T: DeserializeOwned>(&self, name: &str) -> Result<T> {
        let bytes = self.bytes(name)?;
        serde_json::from_slice(&bytes).map_err(|e| AtFile::new(self.root.join(name), e).into())
    }
}

/// The content of a file, if it matches the manifest.
fn verified(root: &Path, file: &BundledFile) -> Result<Vec<u8>> {
    let path = root.join(&file.name);
    let bytes = std::fs::read(&path).map_err(|e| AtFile::new(&path, e))?;
    let same = bytes.len() as u64 == file.bytes && blake3::hash(&bytes).to_hex().as_str() == file.blake3;
    match same {
        true => Ok(bytes),
        false => Err(AtFile::new(path, "its content is not that which bundle.json lists").into()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn bundle() -> (tempfile::TempDir, PathBuf) {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("model");
        let mut writer = BundleWriter::create(&path, "toy").unwrap().phantom(true);
        writer.json("config.json", &vec![1.0, 0.1 + 0.2]).unwrap();
        writer.bytes("models/fold-0.safetensors", &[0, 1, 2]).unwrap();
        writer.finish().unwrap();
        (folder, path)
    }

    fn refused(path: &Path) -> String {
        Bundle::open(path).unwrap_err().to_string()
    }

    #[test]
    fn a_moved_bundle_is_the_same() {
        let (folder, path) = bundle();
        let first = Bundle::open(&path).unwrap();
        let moved = folder.path().join("elsewhere");
        std::fs::rename(&path, &moved).unwrap();
        let second = Bundle::open(&moved).unwrap().of_system("toy").unwrap();
        assert_eq!(first.identity(), second.identity());
        assert_eq!(second.json::<Vec<f64>>("config.json").unwrap(), [1.0, 0.1 + 0.2]);
        assert_eq!(second.bytes("models/fold-0.safetensors").unwrap(), [0, 1, 2]);
        assert!(second.phantom());
        assert!(
            second.bytes("models/fold-1.safetensors").unwrap_err().to_string().contains("one of config.json")
        );
        let error = second.of_system("stg").unwrap_err().to_string();
        assert!(error.contains("a model of the system toy, expected one of stg"), "{error}");
    }

    #[test]
    fn an_edited_manifest_is_refused() {
        let (_folder, path) = bundle();
        let manifest = path.join("bundle.json");
        let text = std::fs::read_to_string(&manifest).unwrap();
        std::fs::write(&manifest, text.replace("\"phantom\": true", "\"phantom\": false")).unwrap();
        assert!(refused(&path).contains("bundle.json: changed since it was written"), "{}", refused(&path));
    }

    #[test]
    fn a_flipped_bit_a_missing_file_and_a_foreign_one_are_named() {
        let (_folder, path) = bundle();
        let weights = path.join("models/fold-0.safetensors");
        std::fs::write(&weights, [0, 1, 3]).unwrap();
        assert!(refused(&path).contains("fold-0.safetensors: its content is not"), "{}", refused(&path));
        std::fs::write(&weights, [0, 1, 2]).unwrap();
        std::fs::write(path.join("run.sh"), "").unwrap();
        assert!(refused(&path).contains("run.sh: not listed"), "{}", refused(&path));
        std::fs::remove_file(path.join("run.sh")).unwrap();
        let opened = Bundle::open(&path).unwrap();
        std::fs::remove_file(&weights).unwrap();
        assert!(refused(&path).contains("fold-0.safetensors: missing"), "{}", refused(&path));
        assert!(opened.bytes("models/fold-0.safetensors").is_err());
        std::fs::remove_file(path.join("bundle.json")).unwrap();
        assert!(refused(&path).contains("bundle.json"));
    }

    fn edit(path: &Path, from: &str, to: &str) {
        let manifest = path.join("bundle.json");
        let text = std::fs::read_to_string(&manifest).unwrap();
        assert!(text.contains(from), "{text}");
        std::fs::write(manifest, text.replace(from, to)).unwrap();
    }

    #[test]
    fn a_newer_format_is_named_as_such() {
        let (_folder, path) = bundle();
        edit(&path, "\"format_version\": 1", "\"format_version\": 2, \"news\": true");
        assert!(
            refused(&path).contains("written in format 2, this program reads up to 1"),
            "{}",
            refused(&path)
        );
        let (_folder, path) = bundle();
        edit(&path, "oncograph-bundle", "another");
        assert!(refused(&path).contains("not a bundle"), "{}", refused(&path));
    }

    #[test]
    fn names_stay_inside() {
        for name in
            ["../config.json", "/etc/config.json", "a/../../config.json", "a\\b.json", "C:x.json", ".x.json"]
        {
            let (_folder, path) = bundle();
            edit(&path, "\"config.json\"", &format!("{:?}", name));
            assert!(refused(&path).contains("does not stay inside"), "{name}: {}", refused(&path));
        }
        let (_folder, path) = bundle();
        edit(&path, "\"config.json\"", "\"config.pkl\"");
        assert!(refused(&path).contains("no kind of file"), "{}", refused(&path));
        let (folder, _) = bundle();
        let mut writer = BundleWriter::create(folder.path().join("other"), "toy").unwrap();
        assert!(writer.bytes("../x.json", b"1").is_err());
        assert!(writer.bytes("weights.pth", b"1").is_err());
        assert!(writer.bytes("bundle.json", b"1").is_err());
    }

    #[test]
    #[cfg(unix)]
    fn a_link_is_no_file_of_a_bundle() {
        let (folder, path) = bundle();
        let config = path.join("config.json");
        let outside = folder.path().join("outside.json");
        std::fs::rename(&config, &outside).unwrap();
        std::os::unix::fs::symlink(&outside, &config).unwrap();
        assert!(refused(&path).contains("neither a file nor a folder"), "{}", refused(&path));
    }

    #[test]
    fn a_bundle_is_not_written_over_and_not_left_half() {
        let (folder, path) = bundle();
        assert!(BundleWriter::create(&path, "toy").unwrap_err().to_string().contains("there already"));
        let half = folder.path().join("half");
        let mut writer = BundleWriter::create(&half, "toy").unwrap();
        writer.bytes("a.json", b"1").unwrap();
        assert!(writer.bytes("a.json", b"2").unwrap_err().to_string().contains("twice"));
        drop(writer);
        assert!(!half.exists());
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }
}
