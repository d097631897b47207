//! Finding the files of a scan by their names.

use super::ScanName;
use crate::{Error, Result};
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// The files of one scan: four sequences, and a segmentation and the fractional anisotropy where there are such.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct GliomaFiles {
    /// What the names of the files begin with.
    pub id: String,
    /// T1, contrast T1, T2, FLAIR.
    pub sequences: [PathBuf; 4],
    /// The segmentation, where there is one.
    pub segmentation: Option<PathBuf>,
    /// The fractional anisotropy of diffusion MRI, where there is one.
    pub anisotropy: Option<PathBuf>,
}

/// The scans of a folder.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct GliomaFolder {
    /// Those with all of their sequences, in the order of their paths.
    pub scans: Vec<GliomaFiles>,
    /// The others: the folder and what is wrong.
    pub faults: Vec<String>,
}

/// The endings of the sequences in the order of [`GliomaFiles::sequences`]: BraTS to 2021, BraTS from 2023, three spellings of
/// the TCGA collections, and UCSF-PDGM, corrected for the bias field.
pub(super) const ENDINGS: [[&str; 4]; 6] = [
    ["_t1", "_t1ce", "_t2", "_flair"],
    ["-t1n", "-t1c", "-t2w", "-t2f"],
    ["_t1", "_t1c", "_t2", "_fla"],
    ["_t1", "_t1Gd", "_t2", "_flair"],
    ["_t1", "_t1c", "_t2", "_flair"],
    ["_t1_bias", "_t1c_bias", "_t2_bias", "_flair_bias"],
];

/// In the order in which they are preferred: of the TCGA collections the segmentation that a person corrected.
const SEGMENTATIONS: [&str; 5] =
    ["_seg", "-seg", "_tumor_segmentation", "_GlistrBoost_ManuallyCorrected", UNCORRECTED];
/// The ending of the segmentations that nobody corrected.
const UNCORRECTED: &str = "_GlistrBoost";

const ANISOTROPIES: [&str; 3] = ["_dti_eddy_fa", "_fa", "-fa"];

const NAMES: [&str; 4] = ["T1", "contrast T1", "T2", "FLAIR"];

/// Folders within folders that are looked into: `BraTS2021_TrainingSet/TCGA-GBM/BraTS2021_00001`.
const DEPTH: usize = 4;

/// What stands before the ending of a name, and the file.
type Found<'a> = (&'a str, &'a Path);

/// The NIfTI files of a folder without their extensions.
pub(super) struct Listing {
    folder: PathBuf,
    files: Vec<(String, PathBuf)>,
}

impl Listing {
    pub fn of(folder: &Path) -> Result<Self> {
        let io = |source| Error::io("read", folder, source);
        let mut files = vec![];
        for entry in std::fs::read_dir(folder).map_err(io)? {
            let path = entry.map_err(io)?.path();
            let name = name(&path);
            let lower = name.to_ascii_lowercase();
            let cut = [".nii.gz", ".nii"].iter().find_map(|end| Some(lower.strip_suffix(end)?.len()));
            // macOS keeps what it knows of a file in `._` and its name.
            let stem =
                cut.and_then(|cut| name.get(..cut)).filter(|_| path.is_file() && !name.starts_with('.'));
            if let Some(stem) = stem {
                files.push((stem.to_owned(), path));
            }
        }
        files.sort();
        Ok(Listing { folder: folder.into(), files })
    }

    pub fn names(&self) -> String {
        self.files.iter().map(|(_, path)| name(path)).collect::<Vec<_>>().join(", ")
    }

    /// The files of each scan: all of them, unless the names of the sequences begin in several ways and one sequence is there
    /// more than once.
    fn scans(self) -> Vec<Self> {
        let mut of_ending: BTreeMap<String, BTreeSet<&str>> = BTreeMap::new();
        for (stem, _) in &self.files {
            // The longest: `_t1c_bias` also ends a name of which `_bias` is a part.
            let fits = ENDINGS.as_flattened().iter().filter_map(|end| Some((before(stem, end)?, end)));
            if let Some((cut, end)) = fits.min() {
                of_ending.entry(end.to_ascii_lowercase()).or_default().insert(&stem[..cut]);
            }
        }
        let starts: BTreeSet<String> = of_ending.values().flatten().map(|s| (*s).to_owned()).collect();
        match of_ending.values().map(BTreeSet::len).max() {
            None => vec![],
            Some(1) => vec![self],
            Some(_) => {
                let of = |start: &String| {
                    let own = |stem: &str| {
                        let longest = starts.iter().filter(|s| is_start(stem, s)).max_by_key(|s| s.len());
                        longest == Some(start)
                    };
                    let files = self.files.iter().filter(|(stem, _)| own(stem)).cloned().collect();
                    Listing { folder: self.folder.clone(), files }
                };
                starts.iter().map(of).collect()
            }
        }
    }

    /// The file whose name has this ending, in small or in capital letters.
    fn file(&self, ending: &str) -> Result<Option<Found<'_>>> {
        let mut found =
            self.files.iter().filter_map(|(s, path)| Some((&s[..before(s, ending)?], path.as_path())));
        let first = found.next();
        if let (Some((_, a)), Some((_, b))) = (first, found.next()) {
            return Err(self.refuse(format!("{} and {} both end in {ending}", name(a), name(b))));
        }
        Ok(first)
    }

    /// The one file whose name has this word, such as the mask of patient 355 of BraTS 2020, `W39_1998.09.19_Segm.nii`; none
    /// where there are several.
    fn with_word(&self, word: &str) -> Option<PathBuf> {
        let mut found = self.files.iter().filter(|(stem, _)| stem.to_ascii_lowercase().contains(word));
        found.next().filter(|_| found.next().is_none()).map(|(_, path)| path.clone())
    }

    /// The first of some endings that a file has.
    fn any(&self, endings: &[&str]) -> Result<Option<PathBuf>> {
        for ending in endings {
            if let Some((_, path)) = self.file(ending)? {
                return Ok(Some(path.into()));
            }
        }
        Ok(None)
    }

    fn refuse(&self, detail: String) -> Error {
        Error::at(&self.folder, detail)
    }

    /// The files of the one scan.
    fn files(&self, segmentation: Option<&str>) -> Result<GliomaFiles> {
        let mut best = (0, [None; 4], &ENDINGS[0]);
        for endings in &ENDINGS {
            let mut found: [Option<Found>; 4] = [None; 4];
            for (place, ending) in found.iter_mut().zip(endings) {
                *place = self.file(ending)?;
            }
            let count = found.iter().flatten().count();
            if count > 0 && count >= best.0 {
                best = (count, found, endings);
            }
        }
        let (_, found, endings) = best;
        let Some((id, _)) = found.iter().flatten().next() else {
            return Err(self.refuse("no sequences".into()));
        };
        let absent: Vec<String> = (0..4)
            .filter(|i| found[*i].is_none())
            .map(|i| format!("{} ({id}{}.nii.gz)", NAMES[i], endings[i]))
            .collect();
        let [Some(t1), Some(contrast), Some(t2), Some(flair)] = found else {
            return Err(self.refuse(format!("missing: {}", absent.join(", "))));
        };
        let segmentation = match segmentation {
            None => self.any(&SEGMENTATIONS)?.or_else(|| self.with_word("seg")),
            Some(ending) => {
                let ending = ending.trim_start_matches(['_', '-']);
                let found = self.any(&[&format!("_{ending}"), &format!("-{ending}")])?;
                let missing = || self.refuse(format!("missing: segmentation {id}_{ending}.nii.gz"));
                Some(found.ok_or_else(missing)?)
            }
        };
        Ok(GliomaFiles {
            id: (*id).to_owned(),
            sequences: [t1, contrast, t2, flair].map(|(_, path)| path.into()),
            segmentation,
            anisotropy: self.any(&ANISOTROPIES)?,
        })
    }
}

/// Where an ending begins, in small or in capital letters.
fn before(stem: &str, ending: &str) -> Option<usize> {
    let cut = stem.len().checked_sub(ending.len())?;
    let end = stem.get(cut..)?;
    (cut > 0 && end.eq_ignore_ascii_case(ending)).then_some(cut)
}

/// Whether the name of a file is that of a scan with something behind it.
fn is_start(stem: &str, start: &str) -> bool {
    stem.strip_prefix(start).is_some_and(|rest| rest.starts_with(['_', '-']))
}

pub(super) fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl GliomaFiles {
    /// The files of a scan's folder: `ID_t1.nii.gz` and its like, as in BraTS 2018 to 2024, the TCGA collections and UCSF-PDGM.
    ///
    /// `segmentation` is the ending of the mask's name before `.nii`; where it is `None`, `_seg`, `-seg`, `_tumor_segmentation`,
    /// `_GlistrBoost_ManuallyCorrected`, `_GlistrBoost`, and then the one name with `seg` in it, which may be absent. Hidden files are
    /// passed over.
    ///
    /// # Errors
    /// [`Error::AtFile`] names the sequences that are missing, the requested segmentation, two files with one ending, or several
    /// scans.
    pub fn find(folder: impl AsRef<Path>, segmentation: Option<&str>) -> Result<Self> {
        let folder = folder.as_ref();
        let found: Vec<Listing> = Listing::of(folder)?.scans();
        match &found[..] {
            [] => Err(Error::at(folder, "no sequences")),
            [scan] => scan.files(segmentation),
            several => {
                let names: Vec<String> = several.iter().map(Listing::names).collect();
                Err(Error::at(folder, format!("the files of several scans: {}", names.join("; "))))
            }
        }
    }

    /// The scans of a folder and of the folders within it, such as `HGG` and `LGG` of BraTS 2018; those with some of the sequences
    /// alone, and those whose name another has, are faults. Hidden folders are passed over.
    ///
    /// # Errors
    /// [`Error::AtFile`] if there is no scan, not even a faulty one; a folder that cannot be read.
    pub fn find_all(root: impl AsRef<Path>, segmentation: Option<&str>) -> Result<GliomaFolder> {
        let root = root.as_ref();
        let mut listings = vec![];
        collect(root, DEPTH, &mut listings)?;
        if listings.is_empty() {
            return Err(Error::at(root, "no folder with ID_t1.nii.gz or ID-t1n.nii.gz in it"));
        }
        let (mut found, mut seen) = (GliomaFolder::default(), BTreeMap::new());
        for listing in &listings {
            match listing.files(segmentation) {
                Ok(scan) => match seen.insert(scan.id.clone(), &listing.folder) {
                    None => found.scans.push(scan),
                    Some(first) => found.faults.push(format!(
                        "{}: scan {} is in {} as well",
                        listing.folder.display(),
                        scan.id,
                        first.display()
                    )),
                },
                Err(error) => found.faults.push(error.to_string()),
            }
        }
        Ok(found)
    }

    /// The patient and the time of the scan, by its name.
    pub fn scan_name(&self) -> ScanName {
        ScanName::of(&self.id)
    }

    /// Every file of the scan.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.sequences.iter().chain(&self.segmentation).chain(&self.anisotropy).map(PathBuf::as_path)
    }

    /// Whether the segmentation is one that nobody corrected, though the collection has corrected ones.
    pub(super) fn is_uncorrected(&self) -> bool {
        let stem = self.segmentation.as_deref().map(|path| name(path).to_ascii_lowercase());
        stem.is_some_and(|name| name.split(".nii").next().is_some_and(|s| before(s, UNCORRECTED).is_some()))
    }
}

/// The files of the scans of a folder and of the folders within it.
fn collect(folder: &Path, depth: usize, into: &mut Vec<Listing>) -> Result<()> {
    let own = Listing::of(folder)?.scans();
    // What lies below a scan is not another one.
    let below = own.is_empty() || depth == DEPTH;
    into.extend(own);
    if depth == 0 || !below {
        return Ok(());
    }
    let io = |source| Error::io("read", folder, source);
    let mut folders = vec![];
    for entry in std::fs::read_dir(folder).map_err(io)? {
        let path = entry.map_err(io)?.path();
        if path.is_dir() && !name(&path).starts_with('.') {
            folders.push(path);
        }
    }
    folders.sort();
    folders.iter().try_for_each(|folder| collect(folder, depth - 1, into))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Empty files of these names.
    fn put(root: &Path, names: &[&str]) {
        for name in names {
            let path = root.join(name);
            std::fs::create_dir_all(path.parent().unwrap()).unwrap();
            std::fs::write(path, "").unwrap();
        }
    }

    fn scan(root: &Path, start: &str, endings: &[&str]) {
        let names: Vec<String> = endings.iter().map(|end| format!("{start}{end}.nii.gz")).collect();
        put(root, &names.iter().map(String::as_str).collect::<Vec<_>>());
    }

    const BRATS: [&str; 5] = ["_t1", "_t1ce", "_t2", "_flair", "_seg"];
    const BRATS_2023: [&str; 5] = ["-t1n", "-t1c", "-t2w", "-t2f", "-seg"];
    const TCGA: [&str; 5] = ["_t1", "_t1Gd", "_t2", "_flair", "_GlistrBoost"];
    const UCSF: [&str; 12] = [
        "_T1",
        "_T1_bias",
        "_T1c",
        "_T1c_bias",
        "_T2",
        "_T2_bias",
        "_FLAIR",
        "_FLAIR_bias",
        "_DTI_eddy_FA",
        "_tumor_segmentation",
        "_brain_segmentation",
        "_brain_parenchyma_segmentation",
    ];

    #[test]
    fn scans_of_every_collection_are_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        let ucsf = "u/UCSF-PDGM-0429_FU003d_nifti/UCSF-PDGM-0429_FU003d";
        for (start, endings) in [
            ("HGG/Brats18_TCIA01_186_1/Brats18_TCIA01_186_1", &BRATS[..]),
            ("set/TCGA-GBM/BraTS2021_00000/BraTS2021_00000", &BRATS),
            ("BraTS-GLI-00005-101/BraTS-GLI-00005-101", &BRATS_2023),
            ("TCGA-02-0006/TCGA-02-0006_1996.08.23", &TCGA),
            (ucsf, &UCSF),
        ] {
            scan(root, start, endings);
        }
        let corrected = "TCGA-02-0006/TCGA-02-0006_1996.08.23_GlistrBoost_ManuallyCorrected.nii.gz";
        put(root, &[corrected, ".git/x_t1.nii.gz", "._HGG/x_t1.nii.gz"]);
        let found = GliomaFiles::find_all(root, None).unwrap();
        assert_eq!(found.faults, [""; 0]);
        let ids: Vec<&str> = found.scans.iter().map(|s| s.id.as_str()).collect();
        let expected = [
            "BraTS-GLI-00005-101",
            "Brats18_TCIA01_186_1",
            "TCGA-02-0006_1996.08.23",
            "BraTS2021_00000",
            "UCSF-PDGM-0429_FU003d",
        ];
        assert_eq!(ids, expected);
        let patients: Vec<String> = found.scans.iter().map(|s| s.scan_name().patient).collect();
        assert_eq!(patients[2..], ["TCGA-02-0006", "BraTS2021_00000", "UCSF-PDGM-429"]);
        assert_eq!(found.scans[2].segmentation, Some(root.join(corrected)));
        assert!(!found.scans[2].is_uncorrected());
        let [.., ucsf] = &found.scans[..] else { panic!() };
        assert!(ucsf.sequences[0].ends_with("UCSF-PDGM-0429_FU003d_T1_bias.nii.gz"));
        assert!(
            ucsf.segmentation.as_ref().unwrap().ends_with("UCSF-PDGM-0429_FU003d_tumor_segmentation.nii.gz")
        );
        std::fs::remove_file(root.join(corrected)).unwrap();
        let found = GliomaFiles::find(root.join("TCGA-02-0006"), None).unwrap();
        assert!(found.segmentation.is_some() && found.is_uncorrected());
    }

    #[test]
    fn several_scans_of_one_folder_are_told_apart_by_their_names() {
        let root = tempfile::tempdir().unwrap();
        for start in ["TCGA-02-0006_1996.08.23", "TCGA-02-0006_1997.01.05", "TCGA-02-0009"] {
            scan(root.path(), start, &TCGA);
        }
        let found = GliomaFiles::find_all(root.path(), None).unwrap();
        let ids: Vec<&str> = found.scans.iter().map(|s| s.id.as_str()).collect();
        assert_eq!(ids, ["TCGA-02-0006_1996.08.23", "TCGA-02-0006_1997.01.05", "TCGA-02-0009"]);
        for scan in &found.scans {
            assert!(scan.paths().all(|path| name(path).starts_with(&scan.id)), "{scan:?}");
        }
        let error = GliomaFiles::find(root.path(), None).unwrap_err().to_string();
        assert!(error.contains("the files of several scans"), "{error}");
    }

    #[test]
    fn a_faulty_scan_is_listed_and_the_others_are_found() {
        let root = tempfile::tempdir().unwrap();
        let root = root.path();
        scan(root, "P1/P1", &BRATS);
        scan(root, "P2/P2", &BRATS[..3]);
        scan(root, "copy/P1/P1", &BRATS);
        let found = GliomaFiles::find_all(root, None).unwrap();
        assert_eq!(found.scans.len(), 1);
        let [missing, twice] = &found.faults[..] else { panic!("{:?}", found.faults) };
        assert!(missing.ends_with("P2: missing: FLAIR (P2_flair.nii.gz)"), "{missing}");
        assert!(twice.contains("scan P1 is in") && twice.ends_with("as well"), "{twice}");
        std::fs::create_dir(root.join("empty")).unwrap();
        let error = GliomaFiles::find_all(root.join("empty"), None).unwrap_err().to_string();
        assert!(error.contains("no folder with ID_t1.nii.gz"), "{error}");
        assert!(GliomaFiles::find_all(root.join("none"), None).is_err());
    }
}
