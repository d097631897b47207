//! Opening a cohort: which layout a folder has, and which subject has which files.

use super::clinical::ClinicalTable;
use super::clinical_reader::looks_clinical;
use super::load::{ImageFiles, SubjectFiles, name_of};
use super::phantom::{GENERATED, MARKER};
use super::structure::Structure;
use super::tcia::{self, entries, subfolders};
use crate::error::{Error, Result};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// How a cohort lies on disk.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Layout {
    /// The original collection: DICOM series, with or without `metadata.csv`.
    Tcia,
    /// `ROOT/<id>/ct.nii.gz` and `ROOT/<id>/<structure>.nii.gz`.
    Nifti,
    /// The clinical table alone.
    ClinicalOnly,
}

/// A cohort on disk: the clinical table and the files of each of its patients, in the table's order.
///
/// # Example
/// ```no_run
/// use oncograph_datasets::crlm::{CrlmCohort, LoadOptions, Structure};
///
/// let cohort = CrlmCohort::open("Colorectal-Liver-Metastases")?;
/// for subject in cohort.subjects.iter().filter(|s| s.images.is_some()) {
///     let images = subject.load(&LoadOptions::new())?;
///     let liver = images.masks[&Structure::Liver].foreground_volume() / 1000.0;
///     println!("{}: liver {liver:.0} ml, {} tumours", subject.id, images.tumors().count());
/// }
/// # Ok::<(), oncograph_datasets::Error>(())
/// ```
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CrlmCohort {
    /// The folder.
    pub root: PathBuf,
    /// Its layout.
    pub layout: Layout,
    /// The clinical table.
    pub clinical: ClinicalTable,
    /// The subjects, one for each row of the table.
    pub subjects: Vec<SubjectFiles>,
    /// Subjects with images that are not in the table; they are left out.
    pub without_clinical: Vec<String>,
    /// True where the folder was written by [`write_phantom`](super::write_phantom): reports must state it.
    pub phantom: bool,
}

impl CrlmCohort {
    /// Opens a folder, finding out its layout and its clinical table.
    ///
    /// The table is `clinical.csv`, else the one workbook, else the one other table (CSV, TSV, Parquet) with a `Patient-ID` column in
    /// the folder or in `clinical/` within it. Files of images are located, not read.
    ///
    /// # Errors
    /// An empty or unknown folder, no clinical table or several, both layouts at once, no subject in common
    /// between images and table, and what [`ClinicalTable::read`] reports.
    pub fn open(root: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        match find_table(root)? {
            Some(table) => Self::open_with(root, &table),
            None => Err(no_table(root)?),
        }
    }

    /// Opens a folder of images with a clinical table from elsewhere.
    ///
    /// # Errors
    /// As [`CrlmCohort::open`].
    pub fn open_with(root: impl AsRef<Path>, table: impl AsRef<Path>) -> Result<Self> {
        let root = root.as_ref();
        let clinical = ClinicalTable::read(table)?;
        let (layout, mut files) = find_images(root, &clinical.ids())?;
        let subjects = take_images(root, &clinical.path, &clinical.ids(), &mut files)?;
        let without_clinical: Vec<String> = files.into_keys().collect();
        if !without_clinical.is_empty() {
            let subjects = without_clinical.join(", ");
            tracing::warn!(root = %root.display(), subjects, "images without a row in the clinical table");
        }
        // A copy without the marker has the generated table still.
        let phantom = root.join(MARKER).is_file() || clinical.patients.iter().any(|p| p.notes == GENERATED);
        Ok(Self { root: root.to_owned(), layout, clinical, subjects, without_clinical, phantom })
    }
}

/// The images in a folder by subject, and the layout in which they lie; `ids` are the subjects that are looked for.
///
/// # Errors
/// Both layouts at once, and images in a folder that has neither.
pub(super) fn find_images(root: &Path, ids: &[&str]) -> Result<(Layout, BTreeMap<String, ImageFiles>)> {
    let metadata = root.join("metadata.csv");
    let nifti = nifti_subjects(root, ids)?;
    let dicom = match metadata.is_file() {
        true => tcia::from_metadata(root, &metadata)?,
        false => tcia::from_folders(root, ids, &nifti)?,
    };
    let (layout, mut files) = match (nifti.is_empty(), dicom.is_empty()) {
        (false, false) => {
            let first =
                |files: &BTreeMap<String, ImageFiles>| files.keys().next().cloned().unwrap_or_default();
            let detail = format!(
                "both DICOM series (e.g. of {}) and subjects with NIfTI files (e.g. {}): keep one layout",
                first(&dicom),
                first(&nifti)
            );
            return Err(Error::at(root, detail));
        }
        (false, true) => (Layout::Nifti, nifti),
        (true, false) => (Layout::Tcia, dicom),
        (true, true) => {
            if let Some(path) = tcia::any_image(root, 0)? {
                let detail = format!(
                    "there are images (e.g. {}), but in no known layout: DICOM series belong below {root}/<id>/, NIfTI files are {root}/<id>/ct.nii.gz and {root}/<id>/<structure>.nii.gz",
                    path.display(),
                    root = root.display()
                );
                return Err(Error::at(root, detail));
            }
            return Ok((Layout::ClinicalOnly, BTreeMap::new()));
        }
    };
    // A subject whose images lie elsewhere than those of the others must not pass for one without images.
    for folder in subfolders(root)? {
        let id = name_of(&folder);
        if ids.contains(&id.as_str())
            && !files.contains_key(&id)
            && let Some(path) = tcia::any_image(&folder, 0)?
        {
            let cause = "an image that lies where those of the other subjects do not".to_owned();
            files.insert(id, ImageFiles::Unclear { path, cause });
        }
    }
    Ok((layout, files))
}

/// The subjects of a table with their images, which are taken out of `files`; upper and lower case are alike where that is not
/// ambiguous, as file systems and tables differ in it.
pub(super) fn take_images(
    root: &Path,
    table: &Path,
    ids: &[&str],
    files: &mut BTreeMap<String, ImageFiles>,
) -> Result<Vec<SubjectFiles>> {
    let example = files.keys().next().cloned();
    let take = |id: &&str| {
        let images = files.remove(*id).or_else(|| {
            let alike = |name: &&String| name.eq_ignore_ascii_case(id) && !ids.contains(&name.as_str());
            let mut found = files.keys().filter(alike);
            let name = found.next().filter(|_| found.next().is_none()).cloned()?;
            files.remove(&name)
        });
        SubjectFiles { id: (*id).to_owned(), images }
    };
    let subjects: Vec<SubjectFiles> = ids.iter().map(take).collect();
    match example {
        Some(example) if subjects.iter().all(|s| s.images.is_none()) => {
            let (table, first) = (table.display(), ids.first().copied().unwrap_or_default());
            let detail = format!("no subject with images (e.g. {example}) is in {table} (e.g. {first})");
            Err(Error::at(root, detail))
        }
        _ => Ok(subjects),
    }
}

/// Names of tables, of which workbooks come first: beside one there may be exports of its sheets.
const TABLES: [&[&str]; 2] = [&["xlsx", "xlsm"], &["csv", "tsv", "tab", "parquet", "csv.gz", "tsv.gz"]];

/// The clinical table of a folder, if it has one.
///
/// # Errors
/// Several tables; where there is none, the reason of a table of which not even the header can be read.
pub(super) fn find_table(root: &Path) -> Result<Option<PathBuf>> {
    if !root.is_dir() {
        let source = std::io::Error::new(std::io::ErrorKind::NotFound, "no such folder");
        return Err(Error::io("open", root, source));
    }
    if entries(root)?.is_empty() {
        return Err(Error::at(root, "the folder is empty"));
    }
    let mut unreadable = vec![];
    for folder in [root.to_owned(), root.join("clinical")] {
        let exact = folder.join("clinical.csv");
        if exact.is_file() {
            return Ok(Some(exact));
        }
        if !folder.is_dir() {
            continue;
        }
        for extensions in TABLES {
            let (mut clinical, mut of_kind) = (vec![], tables_of(&folder, extensions)?);
            of_kind.retain(|path| path.is_file());
            for path in of_kind {
                match looks_clinical(&path) {
                    Ok(true) => clinical.push(path),
                    Ok(false) => {}
                    Err(error) => unreadable.push(error),
                }
            }
            if clinical.len() > 1 {
                let names: Vec<String> = clinical.iter().map(|p| name_of(p)).collect();
                let detail = format!("several clinical tables, keep one: {}", names.join(", "));
                return Err(Error::at(&folder, detail));
            }
            if let Some(table) = clinical.pop() {
                return Ok(Some(table));
            }
        }
    }
    if unreadable.len() > 1 {
        let reasons: Vec<String> = unreadable.iter().map(Error::to_string).collect();
        let detail = format!("no clinical table; tables that cannot be read: {}", reasons.join("; "));
        return Err(Error::at(root, detail));
    }
    unreadable.pop().map_or(Ok(None), Err)
}

/// The files of a folder whose names end so, without the locks that a spreadsheet program leaves beside an open file.
fn tables_of(folder: &Path, extensions: &[&str]) -> Result<Vec<PathBuf>> {
    let of_kind = |path: &PathBuf| {
        let name = name_of(path).to_ascii_lowercase();
        let ends = |e: &&str| name.strip_suffix(*e).is_some_and(|stem| stem.ends_with('.'));
        extensions.iter().any(ends) && !name.starts_with("~$")
    };
    Ok(entries(folder)?.into_iter().filter(of_kind).collect())
}

/// The error of a folder without a clinical table.
pub(super) fn no_table(root: &Path) -> Result<Error> {
    let all = entries(root)?;
    let names: Vec<String> = all.iter().take(8).map(|p| name_of(p)).collect();
    let detail = format!(
        "no clinical table (clinical.csv, or an .xlsx, .csv, .tsv or .parquet file with a column `Patient-ID`); found {}{}",
        names.join(", "),
        if all.len() > names.len() { " ..." } else { "" }
    );
    Ok(Error::at(root, detail))
}

/// Subjects with `ct.nii.gz` (or `ct.nii`), and those who are looked for whose NIfTI files have other names.
fn nifti_subjects(root: &Path, ids: &[&str]) -> Result<BTreeMap<String, ImageFiles>> {
    let mut subjects = BTreeMap::new();
    for folder in subfolders(root)? {
        let id = name_of(&folder);
        if let Some(files) = ImageFiles::nifti_in(&folder)? {
            subjects.insert(id, files);
        } else if ids.contains(&id.as_str()) {
            let nifti: Vec<String> = entries(&folder)?
                .iter()
                .map(|p| name_of(p))
                .filter(|name| nifti_stem(name).is_some())
                .collect();
            if !nifti.is_empty() {
                let cause = format!("no ct.nii.gz among the images: {}", nifti.join(", "));
                subjects.insert(id, ImageFiles::Unclear { path: folder, cause });
            }
        }
    }
    Ok(subjects)
}

/// A name without `.nii.gz` or `.nii`, in small letters; `None` for other files.
fn nifti_stem(name: &str) -> Option<String> {
    let name = name.to_ascii_lowercase();
    name.strip_suffix(".nii.gz").or_else(|| name.strip_suffix(".nii")).map(str::to_owned)
}

impl ImageFiles {
    /// The images of one subject in a folder, `ct.nii.gz` and `<structure>.nii.gz` in small or capital letters; `None` if
    /// there is no CT, and [`Unclear`](ImageFiles::Unclear) where an image is there twice, as `.nii` and as `.nii.gz` or in
    /// two spellings.
    ///
    /// # Errors
    /// A folder that cannot be listed.
    pub fn nifti_in(folder: impl AsRef<Path>) -> Result<Option<Self>> {
        let folder = folder.as_ref();
        let mut ct = None;
        let mut masks: BTreeMap<Structure, PathBuf> = BTreeMap::new();
        let mut unknown = Vec::new();
        for path in entries(folder)? {
            let Some(stem) = nifti_stem(&name_of(&path)) else { continue };
            let twice = match Structure::from_label(&stem) {
                _ if stem == "ct" => ct.replace(path).is_some(),
                Some(structure) => masks.insert(structure, path).is_some(),
                None => {
                    unknown.push(path);
                    false
                }
            };
            if twice {
                let cause = format!("`{stem}` exists twice, as .nii and as .nii.gz or in two spellings");
                return Ok(Some(ImageFiles::Unclear { path: folder.to_owned(), cause }));
            }
        }
        Ok(ct.map(|ct| ImageFiles::Nifti { ct, masks, unknown }))
    }
}

#[cfg(test)]
mod tests {
    use super::super::load::LoadOptions;
    use super::super::phantom::{PhantomConfig, write_phantom};
    use super::super::testing::Kind;
    use super::*;
    use oncograph_imaging::{Mask, Volume, crop_pad, nifti, resize};

    fn phantom() -> tempfile::TempDir {
        let folder = tempfile::tempdir().unwrap();
        let config = PhantomConfig::new(2, 5).matrix(40).slice_spacing(6.0, 7.5);
        write_phantom(folder.path(), &config, |_, _| ()).unwrap();
        folder
    }

    fn open_error(folder: &Path) -> String {
        CrlmCohort::open(folder).unwrap_err().to_string()
    }

    fn load_error(folder: &Path) -> String {
        CrlmCohort::open(folder).unwrap().subjects[0].load(&LoadOptions::new()).unwrap_err().to_string()
    }

    #[test]
    fn unknown_folders_say_what_was_looked_for() {
        let folder = tempfile::tempdir().unwrap();
        assert!(open_error(&folder.path().join("none")).contains("no such folder"));
        assert!(open_error(folder.path()).contains("empty"));
        std::fs::write(folder.path().join("readme.csv"), "a,b\n1,2\n").unwrap();
        let text = open_error(folder.path());
        assert!(text.contains("no clinical table") && text.contains("readme.csv"), "{text}");
        for name in ["one.csv", "two.csv"] {
            std::fs::write(folder.path().join(name), "Patient-ID\n").unwrap();
        }
        let text = open_error(folder.path());
        assert!(text.contains("several clinical tables") && text.contains("two.csv"), "{text}");
    }

    const HEADER: &str = "Patient-ID,age\nA,1\n";

    #[test]
    fn a_table_is_found_under_many_names() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("notes.csv"), "a,b\n1,2\n").unwrap();
        for (name, content) in [
            ("Data.CSV", HEADER.as_bytes().to_vec()),
            ("data.tsv", HEADER.replace(',', "\t").into_bytes()),
            ("data.csv", HEADER.replace(',', ";").into_bytes()),
            ("data.csv.gz", crate::tables::testing::gzip(HEADER)),
            // A ragged row is for the reader to refuse.
            ("ragged.csv", format!("{HEADER}B,1,2\n").into_bytes()),
        ] {
            let path = folder.path().join(name);
            std::fs::write(&path, content).unwrap();
            std::fs::write(folder.path().join("~$data.xlsx"), "lock").unwrap();
            assert_eq!(find_table(folder.path()).unwrap(), Some(path.clone()), "{name}");
            std::fs::remove_file(path).unwrap();
        }
        assert_eq!(find_table(folder.path()).unwrap(), None);
    }

    #[test]
    fn the_reason_of_the_only_table_is_the_error() {
        let folder = tempfile::tempdir().unwrap();
        let clinical = folder.path().join("Clinical_data.csv");
        for (content, part) in [
            (
                format!("{HEADER}B,1,2\n").into_bytes(),
                "line 3 has 3 cells, the header 2 (separated by commas)",
            ),
            (HEADER.replace(',', ";").into_bytes(), "no column `sex`"),
            (b"Patient-ID\0,age\n".to_vec(), "zero bytes"),
            (b"<html>".to_vec(), "a web page"),
            (vec![], "there is no header"),
        ] {
            std::fs::write(&clinical, content).unwrap();
            let text = open_error(folder.path());
            assert!(text.contains("Clinical_data.csv") && text.contains(part), "{text} lacks {part}");
        }
        // Two of them, and one beside a table that can be read.
        std::fs::write(folder.path().join("b.xlsx"), "no workbook").unwrap();
        let text = open_error(folder.path());
        assert!(text.contains("Clinical_data.csv") && text.contains("b.xlsx: not a readable xlsx"), "{text}");
        std::fs::write(folder.path().join("c.tsv"), HEADER.replace(',', "\t")).unwrap();
        assert_eq!(find_table(folder.path()).unwrap(), Some(folder.path().join("c.tsv")));
    }

    #[test]
    fn images_and_table_are_matched_by_identifier() {
        let folder = phantom();
        let alone = ImageFiles::nifti_in(folder.path().join("PHANTOM-0001")).unwrap();
        assert_eq!(alone, CrlmCohort::open(folder.path()).unwrap().subjects[0].images);
        assert_eq!(ImageFiles::nifti_in(folder.path()).unwrap(), None);
        std::fs::rename(folder.path().join("PHANTOM-0001"), folder.path().join("X1")).unwrap();
        let cohort = CrlmCohort::open(folder.path()).unwrap();
        assert_eq!(cohort.without_clinical, ["X1"]);
        assert!(cohort.subjects[0].images.is_none() && cohort.subjects[1].images.is_some());
        std::fs::rename(folder.path().join("PHANTOM-0002"), folder.path().join("X2")).unwrap();
        assert!(open_error(folder.path()).contains("e.g. X1"));
        for name in ["X1", "X2"] {
            std::fs::remove_dir_all(folder.path().join(name)).unwrap();
        }
        assert_eq!(CrlmCohort::open(folder.path()).unwrap().layout, Layout::ClinicalOnly);
    }

    #[test]
    fn names_in_any_case_are_known_and_other_images_are_never_passed_over() {
        let folder = phantom();
        let subject = folder.path().join("PHANTOM-0001");
        let whole = CrlmCohort::open(folder.path()).unwrap().subjects[0].load(&LoadOptions::new()).unwrap();
        for (from, to) in
            [("ct.nii.gz", "CT.nii.gz"), ("liver.nii.gz", "Liver.NII.GZ"), ("portal.nii.gz", "PORTAL.nii.GZ")]
        {
            std::fs::rename(subject.join(from), subject.join(to)).unwrap();
        }
        let cohort = CrlmCohort::open(folder.path()).unwrap();
        assert_eq!(cohort.subjects[0].load(&LoadOptions::new()).unwrap(), whole);
        std::fs::write(subject.join("ct.nii"), "twice").unwrap();
        assert!(load_error(folder.path()).contains("exists twice"));
        std::fs::remove_file(subject.join("ct.nii")).unwrap();
        // The folder in other letters than the table.
        let small = folder.path().join("phantom-0001");
        std::fs::rename(&subject, &small).unwrap();
        assert!(CrlmCohort::open(folder.path()).unwrap().subjects[0].images.is_some());
        std::fs::rename(&small, &subject).unwrap();
        // Under another name, then in a folder within: one subject of two, then both.
        std::fs::rename(subject.join("CT.nii.gz"), subject.join("scan.nii.gz")).unwrap();
        let text = load_error(folder.path());
        assert!(text.contains("no ct.nii.gz") && text.contains("scan.nii.gz"), "{text}");
        let nest = |id: &str| {
            let inner = folder.path().join(id).join("session");
            std::fs::create_dir(&inner).unwrap();
            for path in entries(&folder.path().join(id)).unwrap().into_iter().filter(|p| p.is_file()) {
                std::fs::rename(&path, inner.join(name_of(&path))).unwrap();
            }
        };
        nest("PHANTOM-0001");
        let text = load_error(folder.path());
        assert!(text.contains("PHANTOM-0001") && text.contains("lies where"), "{text}");
        nest("PHANTOM-0002");
        let text = open_error(folder.path());
        assert!(text.contains("no known layout") && text.contains(".nii.gz"), "{text}");
        for name in ["PHANTOM-0001", "PHANTOM-0002"] {
            std::fs::remove_dir_all(folder.path().join(name)).unwrap();
        }
        for (name, bytes) in [
            ("a/b/c/scan.nrrd", &b"NRRD"[..]),
            ("x.mha", b"ObjectType"),
            ("ct1/7", &Kind::ct("1.2.3.4").bytes(0)),
        ] {
            let path = folder.path().join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(&path, bytes).unwrap();
            let refused = CrlmCohort::open(folder.path());
            assert!(refused.is_err(), "{name}: {refused:?}");
            std::fs::remove_file(path).unwrap();
        }
        assert_eq!(CrlmCohort::open(folder.path()).unwrap().layout, Layout::ClinicalOnly);
    }

    #[test]
    fn subjects_in_both_layouts_are_refused() {
        let folder = phantom();
        std::fs::remove_dir_all(folder.path().join("PHANTOM-0002")).unwrap();
        Kind::ct("1.2.3.4").write(&folder.path().join("PHANTOM-0002/ct"), "{}", 3);
        let text = open_error(folder.path());
        assert!(text.contains("PHANTOM-0002") && text.contains("keep one layout"), "{text}");
        // What a NIfTI subject was made of may lie beside it.
        std::fs::rename(folder.path().join("PHANTOM-0002"), folder.path().join("PHANTOM-0001/dicom"))
            .unwrap();
        assert_eq!(CrlmCohort::open(folder.path()).unwrap().layout, Layout::Nifti);
    }

    #[test]
    fn masks_of_a_part_or_of_another_grid_are_laid_onto_the_ct() {
        let folder = phantom();
        let subject = CrlmCohort::open(folder.path()).unwrap().subjects.remove(0);
        let whole = subject.load(&LoadOptions::new()).unwrap();
        let path = folder.path().join("PHANTOM-0001/liver.nii.gz");
        let liver: Mask = nifti::read(&path).unwrap();
        let (low, high) = liver.bounding_box().unwrap();
        let shape = std::array::from_fn(|a| high[a] - low[a] + 1);
        nifti::write(&path, &crop_pad(&liver, low.map(|l| l as i64), shape, 0).unwrap()).unwrap();
        let pasted = subject.load(&LoadOptions::new()).unwrap();
        assert_eq!(pasted.masks, whole.masks);
        // Twice as fine: nearest neighbour finds the same voxels again, up to ties.
        let fine = liver.grid().shape().map(|n| 2 * n);
        let options = oncograph_imaging::Interpolation::Nearest;
        nifti::write(&path, &resize(&liver, fine, options).unwrap()).unwrap();
        let resampled = subject.load(&LoadOptions::new()).unwrap();
        let (a, b) = (&resampled.masks[&Structure::Liver], &whole.masks[&Structure::Liver]);
        assert!((a.count() as f64 / b.count() as f64 - 1.0).abs() < 0.1, "{} {}", a.count(), b.count());
    }

    #[test]
    fn unusable_images_are_named() {
        let folder = phantom();
        let subject = folder.path().join("PHANTOM-0001");
        let liver = subject.join("liver.nii.gz");
        let good = std::fs::read(&liver).unwrap();
        let mask: Mask = nifti::read(&liver).unwrap();
        let expect = |parts: &[&str]| {
            let text = load_error(folder.path());
            assert!(
                text.contains("PHANTOM-0001") && parts.iter().all(|p| text.contains(p)),
                "{text}: {parts:?}"
            );
        };
        std::fs::write(&liver, &good[..good.len() / 2]).unwrap();
        expect(&["liver.nii.gz"]);
        nifti::write(&liver, &mask.map(|_| 0_u8)).unwrap();
        expect(&["liver.nii.gz", "no voxels"]);
        let cohort = CrlmCohort::open(folder.path()).unwrap();
        let images = cohort.subjects[0].load(&LoadOptions::new().empty_as_missing(true)).unwrap();
        assert_eq!(images.missing, [Structure::Liver]);
        let (grid, frame, data) = mask.clone().into_parts();
        let mut affine = *grid.affine();
        affine[(0, 3)] += 5000.0;
        let away = oncograph_imaging::Grid::new(grid.shape(), affine).unwrap();
        nifti::write(&liver, &Mask::new(away, frame.clone(), data).unwrap()).unwrap();
        expect(&["liver.nii.gz", "outside the CT"]);
        std::fs::remove_file(&liver).unwrap();
        assert_eq!(cohort.subjects.len(), 2);
        let images = CrlmCohort::open(folder.path()).unwrap().subjects[0].load(&LoadOptions::new()).unwrap();
        assert_eq!(images.missing, [Structure::Liver]);
        std::fs::write(subject.join("tumour_1.nii.gz"), &good).unwrap();
        expect(&["unknown label `tumour_1.nii.gz`"]);
        std::fs::remove_file(subject.join("tumour_1.nii.gz")).unwrap();
        let mut ct: Volume<f32> = nifti::read(subject.join("ct.nii.gz")).unwrap();
        ct.set([1, 2, 3], f32::NAN);
        nifti::write(subject.join("ct.nii.gz"), &ct).unwrap();
        expect(&["ct.nii.gz", "[1, 2, 3]"]);
        std::fs::write(subject.join("ct.nii"), "twice").unwrap();
        assert!(load_error(folder.path()).contains("`ct` exists twice"));
    }
}
