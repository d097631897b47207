use crate::{Error, Result};
use oncograph_core::AtFile;
use serde::{Deserialize, Serialize};
use std::path::{Component, Path, PathBuf};

/// The name of the format that a manifest must declare; it is checked first.
pub(super) const FORMAT: &str = "oncograph-bundle";
/// The newest version of the format that is read and the one that is written.
pub(super) const VERSION: u32 = 1;
/// The file of a bundle that lists all others.
pub(super) const MANIFEST: &str = "bundle.json";

/// Endings of files that may be in a bundle: data that a reader parses, nothing that is executed.
const ENDINGS: [&str; 5] = ["json", "safetensors", "md", "csv", "nii.gz"];

/// One file of a bundle.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct BundledFile {
    /// Its name below the bundle, with `/` between folders.
    pub name: String,
    /// Its length in bytes.
    pub bytes: u64,
    /// The BLAKE3 hash of its content, 64 hexadecimal digits.
    pub blake3: String,
}

/// The list of a bundle's files, and what wrote it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Manifest {
    pub format: String,
    pub format_version: u32,
    /// The system, for example `stg`.
    pub system: String,
    /// The version of the code that trained the model.
    pub oncograph: String,
    /// Whether the model was trained on generated patients.
    pub phantom: bool,
    pub notice: String,
    pub files: Vec<BundledFile>,
    /// The BLAKE3 hash of this manifest without this entry.
    #[serde(default)]
    pub blake3: String,
}

/// What is read before the rest, so that a newer format is named as such.
#[derive(Deserialize)]
struct Header {
    format: String,
    format_version: u32,
}

impl Manifest {
    /// Reads and checks a manifest; no file that it lists is looked at yet.
    pub fn read(root: &Path) -> Result<Self> {
        let path = root.join(MANIFEST);
        let at = |cause: String| Error::from(AtFile::new(&path, cause));
        let bytes = std::fs::read(&path).map_err(|e| AtFile::new(&path, e))?;
        let header: Header = serde_json::from_slice(&bytes).map_err(|e| at(format!("not a bundle: {e}")))?;
        if header.format != FORMAT {
            return Err(at(format!("not a bundle: its format is {:?}", header.format)));
        }
        if header.format_version > VERSION {
            let got = header.format_version;
            return Err(at(format!(
                "written in format {got}, this program reads up to {VERSION}: update it"
            )));
        }
        let manifest: Manifest = serde_json::from_slice(&bytes).map_err(|e| at(format!("damaged: {e}")))?;
        for (i, file) in manifest.files.iter().enumerate() {
            check_name(&file.name).map_err(&at)?;
            if manifest.files[..i].iter().any(|f| f.name == file.name) {
                return Err(at(format!("lists {} twice", file.name)));
            }
        }
        if manifest.blake3 != manifest.digest().map_err(&at)? {
            return Err(at("changed since it was written".into()));
        }
        Ok(manifest)
    }

    /// The hash of everything else in the manifest: nothing of it, such as whether the model is one of generated patients, may
    /// be edited.
    pub fn digest(&self) -> std::result::Result<String, String> {
        let rest = Manifest { blake3: String::new(), ..self.clone() };
        let bytes = serde_json::to_vec(&rest).map_err(|e| e.to_string())?;
        Ok(blake3::hash(&bytes).to_hex().to_string())
    }

    pub fn file(&self, name: &str) -> Option<&BundledFile> {
        self.files.iter().find(|f| f.name == name)
    }
}

/// A name that stays inside the bundle and ends as data does.
pub(super) fn check_name(name: &str) -> std::result::Result<(), String> {
    let inside = |path: &Path| path.components().all(|c| matches!(c, Component::Normal(_)));
    let plain = !name.is_empty() && !name.contains(['\\', ':', '\0']) && inside(Path::new(name));
    if !plain || name == MANIFEST || name.split('/').any(|part| part.is_empty() || part.starts_with('.')) {
        return Err(format!("the name {name:?} does not stay inside a bundle"));
    }
    match ENDINGS.iter().any(|e| name.strip_suffix(e).is_some_and(|n| n.ends_with('.'))) {
        true => Ok(()),
        false => Err(format!("{name} is no kind of file that a bundle holds: {}", ENDINGS.join(", "))),
    }
}

/// All files below a folder by their names in a bundle, and what is neither file nor folder.
pub(super) fn list(root: &Path) -> Result<Vec<(String, PathBuf)>> {
    let (mut found, mut folders) = (vec![], vec![(String::new(), root.to_path_buf())]);
    while let Some((prefix, folder)) = folders.pop() {
        for entry in std::fs::read_dir(&folder).map_err(|e| AtFile::new(&folder, e))? {
            let entry = entry.map_err(|e| AtFile::new(&folder, e))?;
            let path = entry.path();
            let name = format!("{prefix}{}", entry.file_name().to_string_lossy());
            let kind = entry.file_type().map_err(|e| AtFile::new(&path, e))?;
            if kind.is_dir() {
                folders.push((format!("{name}/"), path));
            } else if kind.is_file() {
                found.push((name, path));
            } else {
                return Err(
                    AtFile::new(&path, "neither a file nor a folder, which a bundle does not hold").into()
                );
            }
        }
    }
    found.sort();
    Ok(found)
}
