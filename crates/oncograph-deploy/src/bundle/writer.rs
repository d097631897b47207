use super::Bundle;
use super::manifest::{BundledFile, FORMAT, MANIFEST, Manifest, VERSION, check_name};
use crate::Result;
use oncograph_core::{Argument, AtFile, write_file};
use oncograph_report::RESEARCH_ONLY;
use serde::Serialize;
use std::path::{Path, PathBuf};

/// Writes a [`Bundle`]: file by file into a hidden folder beside it, which gets its name when all is there.
#[derive(Debug)]
pub struct BundleWriter {
    path: PathBuf,
    staging: tempfile::TempDir,
    manifest: Manifest,
}

impl BundleWriter {
    /// Begins a bundle of a system at `path`, where nothing may be yet.
    ///
    /// # Errors
    /// [`crate::Error::AtFile`] if something is there already or its folder cannot be written.
    pub fn create(path: impl AsRef<Path>, system: impl Into<String>) -> Result<Self> {
        let path = path.as_ref();
        if path.exists() {
            return Err(AtFile::new(path, "there already").during("write").into());
        }
        let parent = path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."));
        std::fs::create_dir_all(parent).map_err(|e| AtFile::new(parent, e).during("write"))?;
        let mut builder = tempfile::Builder::new();
        builder.prefix(".bundle-");
        // Temporary folders are private by default; the result should obey the user's umask like any other folder.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o777));
        }
        let staging = builder.tempdir_in(parent).map_err(|e| AtFile::new(parent, e).during("write"))?;
        let manifest = Manifest {
            format: FORMAT.into(),
            format_version: VERSION,
            system: system.into(),
            oncograph: env!("CARGO_PKG_VERSION").into(),
            phantom: false,
            notice: RESEARCH_ONLY.into(),
            files: vec![],
            blake3: String::new(),
        };
        Ok(BundleWriter { path: path.to_owned(), staging, manifest })
    }

    /// Sets whether the model was trained on generated patients.
    pub fn phantom(mut self, phantom: bool) -> Self {
        self.manifest.phantom = phantom;
        self
    }

    /// Adds a file.
    ///
    /// # Errors
    /// A name that leads out of the bundle, is there twice or ends as no data does; an error of writing.
    pub fn bytes(&mut self, name: &str, bytes: &[u8]) -> Result<()> {
        let refused =
            |got: String| Argument::new("BundleWriter", "name", "that of a data file inside it", got);
        check_name(name).map_err(refused)?;
        if self.manifest.file(name).is_some() {
            return Err(refused(format!("{name} twice")).into());
        }
        let path = self.staging.path().join(name);
        if let Some(folder) = path.parent() {
            std::fs::create_dir_all(folder).map_err(|e| AtFile::new(folder, e).during("write"))?;
        }
        write_file(&path, bytes)?;
        self.manifest.files.push(BundledFile {
            name: name.into(),
            bytes: bytes.len() as u64,
            blake3: blake3::hash(bytes).to_hex().to_string(),
        });
        Ok(())
    }

    /// Adds a value as JSON.
    ///
    /// # Errors
    /// As [`BundleWriter::bytes`], or a value that JSON cannot hold.
    pub fn json(&mut self, name: &str, value: &impl Serialize) -> Result<()> {
        let mut bytes = serde_json::to_vec_pretty(value).map_err(|e| AtFile::new(self.path.join(name), e))?;
        bytes.push(b'\n');
        self.bytes(name, &bytes)
    }

    /// Adds a file from the disk.
    ///
    /// # Errors
    /// As [`BundleWriter::bytes`], or a file that cannot be read.
    pub fn copy(&mut self, name: &str, from: &Path) -> Result<()> {
        let bytes = std::fs::read(from).map_err(|e| AtFile::new(from, e))?;
        self.bytes(name, &bytes)
    }

    /// Writes the manifest, gives the folder its name and opens the bundle again.
    ///
    /// # Errors
    /// An error of writing; nothing is left then.
    pub fn finish(self) -> Result<Bundle> {
        let BundleWriter { path, staging, mut manifest } = self;
        manifest.files.sort_by(|a, b| a.name.cmp(&b.name));
        manifest.blake3 = manifest.digest().map_err(|cause| AtFile::new(&path, cause))?;
        let mut bytes = serde_json::to_vec_pretty(&manifest).map_err(|e| AtFile::new(&path, e))?;
        bytes.push(b'\n');
        write_file(staging.path().join(MANIFEST), &bytes)?;
        // Where something was put in the meantime, renaming fails and the folder is taken away with `staging`.
        std::fs::rename(staging.path(), &path).map_err(|e| AtFile::new(&path, e).during("write"))?;
        // It has another name now: there is nothing to take away.
        drop(staging.keep());
        Bundle::open(path)
    }
}
