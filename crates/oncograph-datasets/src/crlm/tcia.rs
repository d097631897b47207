//! Finding the series in a download of the original collection, by the content of its files.

use super::load::{ImageFiles, name_of};
use crate::error::{Error, Result};
use oncograph_imaging::{dicom, seg};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// What a subject has been found to have.
#[derive(Default)]
struct Found {
    ct: Vec<Ct>,
    /// Modalities of the other image series.
    others: Vec<String>,
    segmentations: Vec<PathBuf>,
    /// RT structure sets, which are refused when they are loaded.
    contours: Vec<PathBuf>,
    unreadable: Vec<(PathBuf, String)>,
    /// SeriesInstanceUID, number of images and folder of the CT series that `metadata.csv` lists.
    listed: Vec<(String, usize, PathBuf)>,
}

/// A CT series.
struct Ct {
    folder: PathBuf,
    uid: String,
    images: usize,
    /// Whether there are other image series in the folder.
    beside_others: bool,
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
    let mut folders: BTreeMap<String, BTreeSet<PathBuf>> = BTreeMap::new();
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
                found.listed.push((cell(uid).to_owned(), count, folder.clone()));
                folders.entry(cell(subject).to_owned()).or_default().insert(folder);
            }
            "SEG" | "RTSTRUCT" => {
                folders.entry(cell(subject).to_owned()).or_default().insert(folder);
            }
            other => tracing::warn!(subject = cell(subject), modality = other, "series passed over"),
        }
    }
    for (subject, folders) in folders {
        let found = subjects.entry(subject).or_default();
        folders.iter().try_for_each(|folder| found.add(folder))?;
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

/// Images by subject, found by walking the folders, whatever the files are called; `taken` are subjects whose images are known
/// already.
///
/// Subjects lie in the root or in the archive's own folder within it, which is recognised by the identifiers.
pub(super) fn from_folders(
    root: &Path,
    ids: &[&str],
    taken: &BTreeMap<String, ImageFiles>,
) -> Result<BTreeMap<String, ImageFiles>> {
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
    for folder in candidates.into_iter().filter(|folder| !taken.contains_key(&name_of(folder))) {
        let mut found = Found::default();
        collect(&folder, 0, &mut found)?;
        // Damaged files in a folder that is nobody's are of no concern.
        if found.has_images() || (known(&folder) && !found.unreadable.is_empty()) {
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
    /// Takes up what lies in a folder.
    fn add(&mut self, folder: &Path) -> Result<()> {
        let contents = dicom::survey(folder)?;
        let several = contents.series.len() > 1;
        for series in contents.series {
            let images = series.images - series.localizers;
            match (images, series.modality.as_str()) {
                (0, _) => {}
                (_, "CT") => self.ct.push(Ct {
                    folder: folder.to_owned(),
                    uid: series.series_uid,
                    images,
                    beside_others: several,
                }),
                (_, other) => self.others.push(other.to_owned()),
            }
        }
        self.segmentations.extend(contents.segmentations);
        self.contours.extend(contents.structure_sets);
        self.unreadable.extend(contents.unreadable);
        Ok(())
    }

    fn has_images(&self) -> bool {
        !(self.ct.is_empty()
            && self.others.is_empty()
            && self.segmentations.is_empty()
            && self.contours.is_empty())
    }

    /// The one CT and the one SEG of a subject. What is unclear is an error of this subject when it is loaded, so that the
    /// faults of all subjects can be told at once.
    fn only(mut self, root: &Path) -> ImageFiles {
        let unclear = |path: &Path, cause: String| ImageFiles::Unclear { path: path.to_owned(), cause };
        let names = |paths: &[PathBuf]| {
            let names: Vec<String> = paths.iter().map(|p| p.display().to_string()).collect();
            names.join(", ")
        };
        if self.segmentations.len() > 1 {
            return unclear(root, format!("several segmentations: {}", names(&self.segmentations)));
        }
        let is_there = |uid: &String| self.ct.iter().any(|ct| &ct.uid == uid);
        if let Some((uid, _, folder)) = self.listed.iter().find(|(uid, ..)| !is_there(uid)) {
            let cause = match self.unreadable.first() {
                Some((path, cause)) => format!("{}: {cause}", path.display()),
                None => format!("metadata.csv lists CT series {uid}, of which there is no image"),
            };
            return unclear(folder, cause);
        }
        // Contours alone: their reader says how to convert them.
        let seg = self.segmentations.pop().or_else(|| self.contours.first().cloned());
        self.narrow(seg.as_deref());
        if self.ct.len() > 1 {
            let series: Vec<String> = self
                .ct
                .iter()
                .map(|ct| format!("{} ({}, {} images)", ct.folder.display(), ct.uid, ct.images))
                .collect();
            return unclear(root, format!("several CT series: {}", series.join(", ")));
        }
        match (self.ct.pop(), seg) {
            (Some(ct), seg) => {
                let listed = self.listed.into_iter().find(|(uid, ..)| *uid == ct.uid);
                let series = match listed {
                    Some((uid, images, _)) => Some((uid, images)),
                    None => ct.beside_others.then_some((ct.uid, ct.images)),
                };
                // Those beside the slices are found again when these are read.
                self.unreadable.retain(|(path, _)| path.parent() != Some(&ct.folder));
                ImageFiles::Dicom { ct: ct.folder, seg, series, unreadable: self.unreadable }
            }
            (None, _) if !self.unreadable.is_empty() => {
                let (path, cause) = self.unreadable.swap_remove(0);
                unclear(&path, cause)
            }
            (None, Some(seg)) => unclear(&seg, "a segmentation without a CT series".into()),
            (None, None) => unclear(root, format!("no CT series; found modality {}", self.others.join(", "))),
        }
    }

    /// Of several CT series, that on which the segmentation was drawn, else those of more than one slice.
    fn narrow(&mut self, seg: Option<&Path>) {
        if self.ct.len() < 2 {
            return;
        }
        let drawn_on = seg.and_then(|path| seg::read(path).ok()).map(|object| object.referenced_series);
        if let Some(series) = drawn_on.filter(|s| self.ct.iter().any(|ct| s.contains(&ct.uid))) {
            self.ct.retain(|ct| series.contains(&ct.uid));
        } else if self.ct.iter().any(|ct| ct.images > 1) {
            self.ct.retain(|ct| ct.images > 1);
        }
    }
}

/// How deep series may lie below a subject's folder (study / series in the original).
const DEPTH: usize = 8;

/// Walks a subject's folders.
fn collect(folder: &Path, depth: usize, found: &mut Found) -> Result<()> {
    found.add(folder)?;
    if depth < DEPTH {
        for inner in subfolders(folder)? {
            collect(&inner, depth + 1, found)?;
        }
    }
    Ok(())
}

/// Formats of volumes that are known by their name, beside DICOM.
const VOLUMES: [&str; 9] = [".nii", ".nii.gz", ".hdr", ".mha", ".mhd", ".nrrd", ".nhdr", ".mgz", ".dcm"];

/// Some image in a folder or below it, in whatever layout.
pub(super) fn any_image(folder: &Path, depth: usize) -> Result<Option<PathBuf>> {
    let named = |path: &PathBuf| {
        let name = name_of(path).to_ascii_lowercase();
        !path.is_dir() && VOLUMES.iter().any(|ending| name.ends_with(ending))
    };
    if let Some(path) = entries(folder)?.into_iter().find(named) {
        return Ok(Some(path));
    }
    let contents = dicom::survey(folder)?;
    if !contents.series.is_empty() {
        return Ok(Some(folder.to_owned()));
    }
    if let Some(path) = contents.segmentations.into_iter().chain(contents.structure_sets).next() {
        return Ok(Some(path));
    }
    if depth < DEPTH {
        for inner in subfolders(folder)? {
            if let Some(path) = any_image(&inner, depth + 1)? {
                return Ok(Some(path));
            }
        }
    }
    Ok(None)
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

#[cfg(test)]
mod tests {
    use super::super::testing::{Kind, STRUCTURE_SET};
    use super::super::{CrlmImages, CrlmPatients, Layout, LoadOptions};
    use super::*;
    use dicom::{SeriesOptions, read_series_files};

    struct Patient {
        root: tempfile::TempDir,
        study: PathBuf,
    }

    impl Patient {
        fn new() -> Self {
            let root = tempfile::tempdir().unwrap();
            let table = "Patient-ID,age\nCASE-1,50\nCASE-2,60\n";
            std::fs::write(root.path().join("clinical.csv"), table).unwrap();
            let study = root.path().join("CASE-1/study");
            Self { root, study }
        }

        /// A SEG of the liver on all of some slices.
        fn segment(&self, slices: &[PathBuf], path: &Path) {
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            let series = read_series_files(slices, &SeriesOptions::new()).unwrap();
            let liver = seg::NewSegment::new("Liver", seg::Code::organ(), seg::Code::organ());
            let mask = series.volume.map(|_| 1_u8);
            seg::write(path, &series, &[(liver, mask)], &seg::WriteOptions::new()).unwrap();
        }

        fn load(&self, options: &LoadOptions) -> std::result::Result<CrlmImages, String> {
            let cohort = CrlmPatients::open(self.root.path()).map_err(|e| e.to_string())?;
            assert_eq!(cohort.layout, Layout::Tcia);
            cohort.subjects[0].load(options).map_err(|e| e.to_string())
        }

        fn loaded(&self) -> CrlmImages {
            let images = self.load(&LoadOptions::new()).unwrap();
            assert_eq!((images.ct.shape(), images.masks.len()), ([4, 3, 5], 1));
            assert!(images.masks.values().all(|m| m.count() == 60));
            images
        }

        fn refused(&self, parts: &[&str]) {
            let text = self.load(&LoadOptions::new()).unwrap_err();
            assert!(parts.iter().all(|p| text.contains(p)), "{text}: {parts:?}");
        }
    }

    #[test]
    fn series_are_found_by_content_under_any_name_and_depth() {
        let places = [("ct", "seg"), (".", "."), ("a/b/c/d", "a/b/e"), ("../other/ct", "seg")];
        for (name, seg) in [("{}.dcm", "s.dcm"), ("{}", "s"), ("IM{}.IMA", "SEG.IMA"), ("1.3.{}", "1.4.1")] {
            for (ct, place) in places {
                let patient = Patient::new();
                std::fs::create_dir_all(&patient.study).unwrap();
                let slices = Kind::ct("1.2.3.4").write(&patient.study.join(ct), name, 5);
                patient.segment(&slices, &patient.study.join(place).join(seg));
                std::fs::write(patient.study.join("LICENSE"), "CC BY").unwrap();
                assert!(patient.loaded().notes.is_empty());
            }
        }
    }

    #[test]
    fn other_objects_are_neither_the_ct_nor_its_segmentation() {
        let patient = Patient::new();
        let slices = Kind::ct("1.2.3.4").write(&patient.study.join("ct"), "{}", 5);
        patient.segment(&slices, &patient.study.join("seg/1"));
        // A localizer and an MR as series of their own, a second localizer beside the slices, contours, one plane of a CT.
        let scout = Kind { image_type: "ORIGINAL\\PRIMARY\\LOCALIZER", ..Kind::ct("1.2.3.50") };
        scout.write(&patient.study.join("scout"), "{}", 1);
        scout.write(&patient.study.join("ct"), "scout{}", 2);
        Kind { modality: "MR", ..Kind::ct("1.2.3.60") }.write(&patient.study.join("mr"), "{}", 3);
        Kind { class: STRUCTURE_SET, modality: "RTSTRUCT", ..Kind::ct("1.2.3.70") }.write(
            &patient.study.join("rt"),
            "{}",
            1,
        );
        Kind::ct("1.2.3.80").write(&patient.study.join("single"), "{}", 1);
        patient.loaded();
        // A second phase: that on which the segmentation was drawn counts; without one, it is not clear.
        Kind::ct("1.2.3.90").write(&patient.study.join("venous"), "{}", 4);
        patient.loaded();
        Kind::ct("1.2.3.91").write(&patient.study.join("ct"), "late{}", 4);
        patient.loaded();
        std::fs::remove_file(patient.study.join("seg/1")).unwrap();
        patient.refused(&["several CT series", "1.2.3.90", "1.2.3.4"]);
    }

    #[test]
    fn contours_alone_are_refused_with_a_way_out_and_an_mr_alone_by_name() {
        let patient = Patient::new();
        Kind::ct("1.2.3.4").write(&patient.study.join("ct"), "{}", 5);
        Kind { class: STRUCTURE_SET, modality: "RTSTRUCT", ..Kind::ct("1.2.3.70") }.write(
            &patient.study.join("rt"),
            "{}",
            1,
        );
        patient.refused(&["CASE-1", "RT structure set", "convert"]);
        let patient = Patient::new();
        Kind { modality: "MR", ..Kind::ct("1.2.3.4") }.write(&patient.study.join("mr"), "{}", 5);
        patient.refused(&["CASE-1", "no CT series", "MR"]);
    }

    #[test]
    fn damaged_files_are_errors_wherever_they_lie() {
        let skip = LoadOptions::new().series(SeriesOptions::new().skip_unreadable(true));
        for lost in ["ct/4", "seg/2.dcm", "ct/5.dcm"] {
            let patient = Patient::new();
            let slices = Kind::ct("1.2.3.4").write(&patient.study.join("ct"), "{}", 5);
            patient.segment(&slices, &patient.study.join("seg/1"));
            std::fs::write(patient.study.join(lost), []).unwrap();
            patient.refused(&["CASE-1", lost, "empty", "skip_unreadable"]);
            let images = patient.load(&skip).unwrap();
            assert!(
                images.notes.iter().any(|n| n.contains(lost) && n.contains("empty")),
                "{:?}",
                images.notes
            );
        }
        // The only segmentation, and the only files of all.
        let patient = Patient::new();
        Kind::ct("1.2.3.4").write(&patient.study.join("ct"), "{}", 5);
        std::fs::create_dir_all(patient.study.join("seg")).unwrap();
        std::fs::write(patient.study.join("seg/1.dcm"), []).unwrap();
        patient.refused(&["seg/1.dcm", "empty"]);
        std::fs::remove_dir_all(patient.study.join("ct")).unwrap();
        patient.refused(&["seg/1.dcm", "empty"]);
    }
}
