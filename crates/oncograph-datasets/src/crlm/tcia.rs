//! Finding the series in a download of the original collection.

use super::load::{ImageFiles, name_of};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// What a subject has been found to have.
#[derive(Default)]
struct Found {
    ct: Vec<(PathBuf, Option<(String, usize)>)>,
    seg: Vec<PathBuf>,
}

/// Images by subject as `metadata.csv` lists them.
pub(super) fn from_metadata(root: &Path, metadata: &Path) -> Result<BTreeMap<String, ImageFiles>> {
    let bad = |detail: String| Error::format(metadata, "CSV", detail);
    let mut reader =
        csv::ReaderBuilder::new().trim(csv::Trim::All).from_path(metadata).map_err(|e| bad(e.to_string()))?;
    let header: Vec<String> =
        reader.headers().map_err(|e| bad(e.to_string()))?.iter().map(str::to_owned).collect();
    let column = |name: &str| {
        let wanted = name.to_ascii_lowercase();
        let place =
            header.iter().position(|h| h.trim_start_matches('\u{feff}').to_ascii_lowercase() == wanted);
        place.ok_or_else(|| Error::MissingColumn {
            path: metadata.to_owned(),
            sheet: None,
            column: name.to_owned(),
            found: header.clone(),
        })
    };
    let [subject, modality, uid, images, location] = [
        column("Subject ID")?,
        column("Modality")?,
        column("Series UID")?,
        column("Number of Images")?,
        column("File Location")?,
    ];
    let mut subjects: BTreeMap<String, Found> = BTreeMap::new();
    for record in reader.records() {
        let record = record.map_err(|e| bad(e.to_string()))?;
        let cell = |i: usize| record.get(i).unwrap_or_default();
        let row = record.position().map_or(0, |p| p.line() as usize);
        let found = subjects.entry(cell(subject).to_owned()).or_default();
        let refuse = |column: &str, expected: &str, got: &str| Error::Cell {
            path: metadata.to_owned(),
            sheet: None,
            row,
            column: column.into(),
            expected: expected.into(),
            got: got.into(),
        };
        let folder = locate(root, cell(location))
            .ok_or_else(|| refuse("File Location", "a folder below the root", cell(location)))?;
        match cell(modality) {
            "CT" => {
                let count =
                    cell(images).parse().map_err(|_| refuse("Number of Images", "a count", cell(images)))?;
                found.ct.push((folder, Some((cell(uid).to_owned(), count))));
            }
            "SEG" => found.seg.extend(dicom_files(&folder)?),
            other => tracing::warn!(subject = cell(subject), modality = other, "series passed over"),
        }
    }
    Ok(subjects.into_iter().map(|(id, found)| (id, found.only(root))).collect())
}

/// The folder that `File Location` means: relative to the root, or to the folder that holds it; `\` or `/`.
fn locate(root: &Path, location: &str) -> Option<PathBuf> {
    let parts: Vec<&str> = location.split(['/', '\\']).filter(|p| !p.is_empty() && *p != ".").collect();
    if parts.contains(&"..") {
        return None;
    }
    (0..parts.len()).map(|skip| root.join(parts[skip..].iter().collect::<PathBuf>())).find(|p| p.is_dir())
}

/// Images by subject, found by walking the folders: a folder with one DICOM file holds a SEG object, one with
/// several a CT series.
///
/// Subjects lie in the root or in the archive's own folder within it, which is recognised by the identifiers.
pub(super) fn from_folders(root: &Path, ids: &[&str]) -> Result<BTreeMap<String, ImageFiles>> {
    let known = |folder: &PathBuf| ids.contains(&name_of(folder).as_str());
    let mut candidates = Vec::new();
    for folder in subfolders(root)? {
        let inner = if known(&folder) { Vec::new() } else { subfolders(&folder)? };
        match inner.iter().any(known) {
            true => candidates.extend(inner),
            false => candidates.push(folder),
        }
    }
    let mut subjects = BTreeMap::new();
    for folder in candidates {
        let mut found = Found::default();
        collect(&folder, 0, &mut found)?;
        if !found.ct.is_empty() || !found.seg.is_empty() {
            let id = name_of(&folder);
            let files = found.only(&folder);
            if let Some(twice) = subjects.insert(id.clone(), files) {
                let detail = format!("a second folder of this subject; the first has {twice:?}");
                return Err(Error::subject(&id, &folder, detail));
            }
        }
    }
    Ok(subjects)
}

impl Found {
    /// The one CT and the one SEG of a subject. What is unclear is an error of this subject when it is loaded, so that the
    /// faults of all subjects can be told at once.
    fn only(self, root: &Path) -> ImageFiles {
        let list = |what: &str, paths: Vec<&Path>| {
            let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
            ImageFiles::Unclear { path: root.to_owned(), cause: format!("{what}: {}", names.join(", ")) }
        };
        if self.seg.len() > 1 {
            return list("several segmentations", self.seg.iter().map(PathBuf::as_path).collect());
        }
        let seg = self.seg.into_iter().next();
        if self.ct.len() > 1 {
            return list("several CT series", self.ct.iter().map(|c| c.0.as_path()).collect());
        }
        match self.ct.into_iter().next() {
            Some((ct, series)) => ImageFiles::Dicom { ct, seg, series },
            None => ImageFiles::Unclear {
                path: seg.unwrap_or_else(|| root.to_owned()),
                cause: "a segmentation without a CT series".into(),
            },
        }
    }
}

/// How deep series may lie below a subject's folder (study / series in the original).
const DEPTH: usize = 3;

/// Walks a subject's folders.
fn collect(folder: &Path, depth: usize, found: &mut Found) -> Result<()> {
    let mut files = dicom_files(folder)?;
    match files.len() {
        0 => {}
        1 => found.seg.extend(files.pop()),
        _ => found.ct.push((folder.to_owned(), None)),
    }
    if depth < DEPTH {
        for inner in subfolders(folder)? {
            collect(&inner, depth + 1, found)?;
        }
    }
    Ok(())
}

/// The entries of a folder, sorted by name, without hidden ones.
pub(super) fn entries(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
        let hidden = |p: &PathBuf| name_of(p).starts_with('.');
        let mut paths: Vec<PathBuf> = entries.iter().map(|e| e.path()).filter(|p| !hidden(p)).collect();
        paths.sort();
        Ok(paths)
    };
    list().map_err(|e| Error::io("read", folder, e))
}

pub(super) fn subfolders(folder: &Path) -> Result<Vec<PathBuf>> {
    Ok(entries(folder)?.into_iter().filter(|p| p.is_dir()).collect())
}

fn dicom_files(folder: &Path) -> Result<Vec<PathBuf>> {
    let dicom = |p: &PathBuf| p.extension().is_some_and(|e| e.eq_ignore_ascii_case("dcm")) && p.is_file();
    Ok(entries(folder)?.into_iter().filter(dicom).collect())
}
