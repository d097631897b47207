use crate::{Error, Result};
use oncograph_imaging::nifti::ReadOptions;
use oncograph_imaging::{Frame, Mask, Volume, nifti};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// What the numbers of a tumour segmentation mean. There is no default: the challenges of 2020 and 2023 differ, and a file
/// does not record which it follows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum LabelConvention {
    /// 1 necrotic and non-enhancing core, 2 oedema, 4 enhancing.
    Brats2020,
    /// 1 necrotic core, 2 oedema, 3 enhancing.
    Brats2023,
    /// The brain tumours of the Medical Segmentation Decathlon: 1 oedema, 2 non-enhancing core, 3 enhancing.
    Decathlon,
}

impl LabelConvention {
    fn enhancing(self) -> u8 {
        match self {
            LabelConvention::Brats2020 => 4,
            LabelConvention::Brats2023 | LabelConvention::Decathlon => 3,
        }
    }

    fn oedema(self) -> u8 {
        match self {
            LabelConvention::Brats2020 | LabelConvention::Brats2023 => 2,
            LabelConvention::Decathlon => 1,
        }
    }

    fn name(self) -> &'static str {
        match self {
            LabelConvention::Brats2020 => "brats_2020 (0, 1, 2, 4)",
            LabelConvention::Brats2023 => "brats_2023 (0, 1, 2, 3)",
            LabelConvention::Decathlon => "decathlon (0, 1 oedema, 2, 3)",
        }
    }
}

/// The part of a tumour that is looked at (decision G-35).
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum TumourLabel {
    /// Everything but oedema; the whole tumour where that is empty, which is flagged.
    #[default]
    Core,
    /// The enhancing part; the core and then the whole tumour where it is empty, which is flagged.
    Enhancing,
    /// Everything.
    Whole,
}

/// The files of one patient: four sequences, and a segmentation and the fractional anisotropy where there are such.
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

/// The images of one patient, on one grid.
#[derive(Debug, Clone)]
pub struct GliomaImages {
    /// The patient.
    pub id: String,
    /// T1, contrast T1, T2, FLAIR.
    pub sequences: [Volume<f32>; 4],
    /// The tumour.
    pub tumour: Mask,
    /// The fractional anisotropy, where there is one; it may lie on another grid.
    pub anisotropy: Option<Volume<f32>>,
    /// Remarks that have to be shown beside results, such as the use of another label than the requested one.
    pub flags: Vec<String>,
}

/// The endings of the sequences in the order of [`GliomaFiles::sequences`]: BraTS to 2021, BraTS from 2023, three spellings of
/// the TCGA collections, and UCSF-PDGM, corrected for the bias field.
const ENDINGS: [[&str; 4]; 6] = [
    ["_t1", "_t1ce", "_t2", "_flair"],
    ["-t1n", "-t1c", "-t2w", "-t2f"],
    ["_t1", "_t1c", "_t2", "_fla"],
    ["_t1", "_t1Gd", "_t2", "_flair"],
    ["_t1", "_t1c", "_t2", "_flair"],
    ["_t1_bias", "_t1c_bias", "_t2_bias", "_flair_bias"],
];

const SEGMENTATIONS: [&str; 3] = ["_seg", "-seg", "_tumor_segmentation"];

const ANISOTROPIES: [&str; 3] = ["_dti_eddy_fa", "_fa", "-fa"];

const NAMES: [&str; 4] = ["T1", "contrast T1", "T2", "FLAIR"];

/// What stands before the ending of a name, and the file.
type Found<'a> = (&'a str, &'a Path);

/// The NIfTI files of a folder without their extensions.
struct Listing {
    folder: PathBuf,
    files: Vec<(String, PathBuf)>,
}

impl Listing {
    fn of(folder: &Path) -> Result<Self> {
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

    /// The file whose name has this ending, in small or in capital letters.
    fn file(&self, ending: &str) -> Result<Option<Found<'_>>> {
        let before = |stem: &str| {
            let cut = stem.len().checked_sub(ending.len())?;
            let end = stem.get(cut..)?;
            (cut > 0 && end.eq_ignore_ascii_case(ending)).then_some(cut)
        };
        let mut found = self.files.iter().filter_map(|(s, path)| Some((&s[..before(s)?], path.as_path())));
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
}

fn name(path: &Path) -> String {
    path.file_name().unwrap_or_default().to_string_lossy().into_owned()
}

impl GliomaFiles {
    /// The files of a patient's folder: `ID_t1.nii.gz` and its like, as in BraTS 2020, BraTS 2023, the TCGA collections and
    /// UCSF-PDGM.
    ///
    /// `segmentation` is the ending of the mask's name before `.nii`; where it is `None`, `_seg`, `-seg`, `_tumor_segmentation`, and
    /// then the one name with `seg` in it, which may be absent. Hidden files are passed over.
    ///
    /// # Errors
    /// [`Error::AtFile`] names the sequences that are missing, the requested segmentation, or two files with one
    /// ending.
    pub fn find(folder: impl AsRef<Path>, segmentation: Option<&str>) -> Result<Self> {
        let listing = Listing::of(folder.as_ref())?;
        let mut best = (0, [None; 4], &ENDINGS[0]);
        for endings in &ENDINGS {
            let mut found: [Option<Found>; 4] = [None; 4];
            for (place, ending) in found.iter_mut().zip(endings) {
                *place = listing.file(ending)?;
            }
            let count = found.iter().flatten().count();
            if count > 0 && count >= best.0 {
                best = (count, found, endings);
            }
        }
        let (_, found, endings) = best;
        let Some((id, _)) = found.iter().flatten().next() else {
            return Err(listing.refuse("no sequences".into()));
        };
        let absent: Vec<String> = (0..4)
            .filter(|i| found[*i].is_none())
            .map(|i| format!("{} ({id}{}.nii.gz)", NAMES[i], endings[i]))
            .collect();
        let [Some(t1), Some(contrast), Some(t2), Some(flair)] = found else {
            return Err(listing.refuse(format!("missing: {}", absent.join(", "))));
        };
        let segmentation = match segmentation {
            None => listing.any(&SEGMENTATIONS)?.or_else(|| listing.with_word("seg")),
            Some(ending) => {
                let ending = ending.trim_start_matches(['_', '-']);
                let found = listing.any(&[&format!("_{ending}"), &format!("-{ending}")])?;
                let missing = || listing.refuse(format!("missing: segmentation {id}_{ending}.nii.gz"));
                Some(found.ok_or_else(missing)?)
            }
        };
        Ok(Self {
            id: (*id).to_owned(),
            sequences: [t1, contrast, t2, flair].map(|(_, path)| path.into()),
            segmentation,
            anisotropy: listing.any(&ANISOTROPIES)?,
        })
    }

    /// The patients of a folder of folders, in the order of the folders' names; folders without any sequence are left out.
    ///
    /// # Errors
    /// [`Error::AtFile`] if there is none; as [`GliomaFiles::find`] for a patient with some of the files.
    pub fn find_all(root: impl AsRef<Path>, segmentation: Option<&str>) -> Result<Vec<Self>> {
        let root = root.as_ref();
        let io = |source| Error::io("read", root, source);
        let mut folders = vec![];
        for entry in std::fs::read_dir(root).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.is_dir() {
                let listing = Listing::of(&path)?;
                let endings: Vec<&str> = ENDINGS.as_flattened().to_vec();
                if listing.any(&endings)?.is_some() {
                    folders.push(path);
                }
            }
        }
        folders.sort();
        if folders.is_empty() {
            return Err(Error::at(root, "no folder with ID_t1.nii.gz or ID-t1n.nii.gz in it"));
        }
        folders.iter().map(|folder| Self::find(folder, segmentation)).collect()
    }

    /// Every file of the patient.
    pub fn paths(&self) -> impl Iterator<Item = &Path> {
        self.sequences.iter().chain(&self.segmentation).chain(&self.anisotropy).map(PathBuf::as_path)
    }

    /// Reads the patient.
    ///
    /// # Errors
    /// An unreadable file or one with NaN voxels; [`Error::AtFile`] for a sequence on another grid than T1, a label that
    /// the convention does not define, or an empty tumour, each with the file.
    pub fn read(&self, convention: LabelConvention, tumour: TumourLabel) -> Result<GliomaImages> {
        let frame = Frame::described(format!("patient {}", self.id));
        let mut remarks = vec![];
        let mut volume = |path: &PathBuf| {
            let (volume, notes) = nifti::read_noted::<f32>(path, &ReadOptions::new())?;
            remarks.extend(notes.into_iter().map(|note| format!("{}: {note}", name(path))));
            Ok::<_, Error>(volume.with_frame(frame.clone()))
        };
        let [t1, contrast, t2, flair] = &self.sequences;
        let sequences = [volume(t1)?, volume(contrast)?, volume(t2)?, volume(flair)?];
        let anisotropy = self.anisotropy.as_ref().map(&mut volume).transpose()?;
        let refuse = |path: &Path, detail: String| Error::at(path, detail);
        let grid = sequences[0].grid();
        let same = |path: &Path, other: &oncograph_imaging::Grid| {
            if other.approx_eq(grid, 1e-2) {
                return Ok(());
            }
            let describe =
                |g: &oncograph_imaging::Grid| format!("{:?} voxels at {:?} mm", g.shape(), g.origin());
            Err(refuse(
                path,
                format!("lies on another grid than T1: {}, T1 {}", describe(other), describe(grid)),
            ))
        };
        for (path, other) in self.sequences.iter().zip(&sequences).skip(1) {
            same(path, other.grid())?;
        }
        let Some(path) = &self.segmentation else {
            let folder = t1.parent().unwrap_or(t1);
            let listed: Vec<String> = Listing::of(folder)?.files.iter().map(|(_, path)| name(path)).collect();
            let detail = format!(
                "patient {} has no segmentation (a name that ends in _seg, or one with seg in it); found {}",
                self.id,
                listed.join(", ")
            );
            return Err(refuse(folder, detail));
        };
        let (labels, notes) = nifti::read_noted::<u8>(path, &ReadOptions::new())?;
        same(path, labels.grid())?;
        let labels = Volume::new(grid.clone(), frame.clone(), labels.into_parts().2)?;
        let doubt = other_convention(&labels, convention);
        let (tumour, mut flags) =
            select(&labels, convention, tumour).map_err(|detail| refuse(path, detail))?;
        flags.extend(remarks);
        flags.extend(notes.into_iter().chain(doubt).map(|note| format!("{}: {note}", name(path))));
        Ok(GliomaImages { id: self.id.clone(), sequences, tumour, anisotropy, flags })
    }
}

/// The mask of a part of the tumour, and what was taken in its place where it is empty.
fn select(
    labels: &Mask,
    convention: LabelConvention,
    wanted: TumourLabel,
) -> std::result::Result<(Mask, Vec<String>), String> {
    let enhancing = convention.enhancing();
    let oedema = convention.oedema();
    if let Some(label) = labels.as_slice().iter().find(|l| **l > 2 && **l != enhancing) {
        return Err(format!("label {label} does not exist under {}: another convention?", convention.name()));
    }
    let part = |part: TumourLabel| -> Mask {
        labels.map(|l| {
            u8::from(match part {
                TumourLabel::Core => l != 0 && l != oedema,
                TumourLabel::Enhancing => l == enhancing,
                TumourLabel::Whole => l != 0,
            })
        })
    };
    let order = match wanted {
        TumourLabel::Enhancing => &[TumourLabel::Enhancing, TumourLabel::Core, TumourLabel::Whole][..],
        TumourLabel::Core => &[TumourLabel::Core, TumourLabel::Whole],
        TumourLabel::Whole => &[TumourLabel::Whole],
    };
    for candidate in order {
        let mask = part(*candidate);
        if mask.count() > 0 {
            let word = |t: &TumourLabel| format!("{t:?}").to_lowercase();
            let flags = (*candidate != wanted)
                .then(|| format!("no {} tumour: the {} one was taken", word(&wanted), word(candidate)));
            return Ok((mask, flags.into_iter().collect()));
        }
    }
    Err("the tumour is empty".into())
}

/// Oedema encloses the tumour's core: most of the tumour's surface is its. Where what should be core encloses what should be
/// oedema, the numbers seem to follow another convention.
///
/// Counts the faces between a voxel of the tumour and the background; a remark where the non-enhancing core has more than twice
/// as many of them as the oedema has, though both are there, with enough faces for the comparison to mean something.
fn other_convention(labels: &Mask, convention: LabelConvention) -> Option<String> {
    let (oedema, enhancing) = (convention.oedema(), convention.enhancing());
    let outside = faces_to_background(labels);
    let [of_oedema, of_rest] =
        [oedema, if oedema == 1 { 2 } else { 1 }].map(|label| outside[usize::from(label)]);
    let present = |label: u8| labels.as_slice().contains(&label);
    let all = present(1) && present(2) && present(enhancing);
    (all && of_rest > 2 * of_oedema && of_rest >= MEANINGFUL_FACES).then(|| {
        let rest = if oedema == 1 { 2 } else { 1 };
        format!(
            "label {rest} borders on the background more than label {oedema} ({of_rest} faces of voxels, {of_oedema}), but under {} label {oedema} is the oedema, which encloses the rest: do the numbers follow another convention?",
            convention.name()
        )
    })
}

/// Fewer faces than these say nothing about what encloses what.
const MEANINGFUL_FACES: usize = 100;

/// For each label, the faces between its voxels and those of label 0 or beyond the edge.
fn faces_to_background(labels: &Mask) -> [usize; 256] {
    let mut faces = [0; 256];
    let [nx, ny, nz] = labels.shape();
    let steps = [1, nx, nx * ny];
    for (offset, &label) in labels.as_slice().iter().enumerate().filter(|(_, l)| **l != 0) {
        let index = [offset % nx, offset / nx % ny, offset / (nx * ny)];
        for (axis, (&i, &n)) in index.iter().zip(&[nx, ny, nz]).enumerate() {
            let below = i == 0 || labels.as_slice()[offset - steps[axis]] == 0;
            let above = i + 1 == n || labels.as_slice()[offset + steps[axis]] == 0;
            faces[usize::from(label)] += usize::from(below && n > 1) + usize::from(above && n > 1);
        }
    }
    faces
}

#[cfg(test)]
mod tests {
    use super::*;
    use oncograph_imaging::Grid;

    /// A patient in the layout of 2020 with these labels.
    fn patient(root: &Path, labels: [u8; 4]) -> PathBuf {
        let folder = root.join("P1");
        std::fs::create_dir_all(&folder).unwrap();
        let grid = Grid::axis_aligned([4, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let frame = Frame::described("head");
        for (i, ending) in ENDINGS[0].iter().enumerate() {
            let volume = Volume::filled(grid.clone(), frame.clone(), i as f32);
            nifti::write(folder.join(format!("P1{ending}.nii.gz")), &volume).unwrap();
        }
        let mask = Volume::new(grid, frame, labels.to_vec()).unwrap();
        nifti::write(folder.join("P1_seg.nii.gz"), &mask).unwrap();
        folder
    }

    #[test]
    fn a_patient_is_found_and_read_in_the_order_of_the_sequences() {
        let root = tempfile::tempdir().unwrap();
        patient(root.path(), [0, 1, 2, 4]);
        std::fs::create_dir(root.path().join("notes")).unwrap();
        let all = GliomaFiles::find_all(root.path(), None).unwrap();
        assert_eq!(all.len(), 1);
        let read = all[0].read(LabelConvention::Brats2020, TumourLabel::Core).unwrap();
        let first: Vec<f32> = read.sequences.iter().map(|v| v.as_slice()[0]).collect();
        assert_eq!(first, [0.0, 1.0, 2.0, 3.0]);
        assert_eq!((read.tumour.as_slice(), read.flags.len()), (&[0, 1, 0, 1][..], 0));
        let whole = all[0].read(LabelConvention::Brats2020, TumourLabel::Whole).unwrap();
        assert_eq!(whole.tumour.as_slice(), [0, 1, 1, 1]);
    }

    #[test]
    fn hidden_files_are_passed_over_and_odd_names_are_found() {
        let root = tempfile::tempdir().unwrap();
        let folder = patient(root.path(), [0, 1, 2, 4]);
        for name in ["._P1_t1.nii.gz", "._P1_seg.nii.gz", ".P1_t2.nii.gz"] {
            std::fs::write(folder.join(name), [0, 5, 22, 7]).unwrap();
        }
        let find = || GliomaFiles::find(&folder, None).unwrap();
        let count = |files: &GliomaFiles| {
            files.read(LabelConvention::Brats2020, TumourLabel::Core).unwrap().tumour.count()
        };
        assert_eq!(count(&find()), 2);
        let rename = |from: &str, to: &str| std::fs::rename(folder.join(from), folder.join(to)).unwrap();
        rename("P1_t1.nii.gz", "P1_T1.NII.GZ");
        let names =
            ["P1_seg.nii.gz", "W39_1998.09.19_Segm.nii.gz", "P1-SEGMENTATION.nii.gz", "P1_Seg.nii.gz"];
        for pair in names.windows(2) {
            rename(pair[0], pair[1]);
            assert_eq!(count(&find()), 2, "{}", pair[1]);
        }
        // Two that could be meant, and none: the files are listed.
        rename("P1_Seg.nii.gz", "a_segm.nii.gz");
        std::fs::copy(folder.join("a_segm.nii.gz"), folder.join("b_segm.nii.gz")).unwrap();
        let error = find().read(LabelConvention::Brats2020, TumourLabel::Core).unwrap_err().to_string();
        assert!(
            error.contains("has no segmentation") && error.contains("a_segm.nii.gz, b_segm.nii.gz"),
            "{error}"
        );
    }

    #[test]
    fn labels_of_the_decathlon_have_a_convention_and_others_are_doubted() {
        let root = tempfile::tempdir().unwrap();
        let folder = patient(root.path(), [0, 1, 2, 3]);
        let read =
            |convention, part| GliomaFiles::find(&folder, None).unwrap().read(convention, part).unwrap();
        let core = read(LabelConvention::Decathlon, TumourLabel::Core);
        assert_eq!((core.tumour.as_slice(), core.flags.len()), (&[0, 0, 1, 1][..], 0));
        assert_eq!(read(LabelConvention::Decathlon, TumourLabel::Enhancing).tumour.as_slice(), [0, 0, 0, 1]);
        let name = serde_json::to_string(&LabelConvention::Decathlon).unwrap();
        assert_eq!(name, "\"decathlon\"");
        // Shells of oedema, enhancing part and core, in the numbers of both conventions.
        let shells = |oedema: u8, core: u8| {
            let grid = Grid::axis_aligned([15; 3], [1.0; 3], [0.0; 3]).unwrap();
            Mask::from_fn(grid, Frame::default(), |i| {
                match i.iter().map(|v| v.abs_diff(7)).max().unwrap_or(0) {
                    0..2 => core,
                    2..4 => 3,
                    4..6 => oedema,
                    _ => 0,
                }
            })
        };
        for (labels, convention, doubted) in [
            (shells(2, 1), LabelConvention::Brats2023, false),
            (shells(1, 2), LabelConvention::Decathlon, false),
            (shells(1, 2), LabelConvention::Brats2023, true),
            (shells(2, 1), LabelConvention::Decathlon, true),
            (shells(2, 0), LabelConvention::Decathlon, false),
        ] {
            assert_eq!(other_convention(&labels, convention).is_some(), doubted, "{convention:?}");
        }
    }

    #[test]
    fn what_is_wrong_with_a_patient_is_said_with_its_file() {
        let root = tempfile::tempdir().unwrap();
        let folder = patient(root.path(), [0, 1, 2, 4]);
        let core = |convention| GliomaFiles::find(&folder, None).unwrap().read(convention, TumourLabel::Core);
        let error = core(LabelConvention::Brats2023).unwrap_err().to_string();
        let expected =
            "P1_seg.nii.gz: label 4 does not exist under brats_2023 (0, 1, 2, 3): another convention?";
        assert!(error.ends_with(expected), "{error}");

        patient(root.path(), [0, 2, 2, 0]);
        let fallen_back = core(LabelConvention::Brats2020).unwrap();
        assert_eq!(fallen_back.flags, ["no core tumour: the whole one was taken"]);
        patient(root.path(), [0; 4]);
        let error = core(LabelConvention::Brats2020).unwrap_err().to_string();
        assert!(error.ends_with("P1_seg.nii.gz: the tumour is empty"), "{error}");

        let moved = Grid::axis_aligned([4, 1, 1], [1.0; 3], [5.0, 0.0, 0.0]).unwrap();
        let t2 = folder.join("P1_t2.nii.gz");
        nifti::write(&t2, &Volume::filled(moved, Frame::described("head"), 1f32)).unwrap();
        let error = core(LabelConvention::Brats2020).unwrap_err().to_string();
        assert!(error.contains("P1_t2.nii.gz: lies on another grid than T1"), "{error}");

        std::fs::remove_file(&t2).unwrap();
        let error = GliomaFiles::find(&folder, None).unwrap_err().to_string();
        assert!(error.ends_with("P1: missing: T2 (P1_t2.nii.gz)"), "{error}");
        let error = GliomaFiles::find_all(folder.join("none"), None).unwrap_err().to_string();
        assert!(error.contains("none"), "{error}");
    }

    #[test]
    fn nan_voxels_are_refused() {
        let root = tempfile::tempdir().unwrap();
        let folder = patient(root.path(), [0, 1, 2, 4]);
        let grid = Grid::axis_aligned([4, 1, 1], [1.0; 3], [0.0; 3]).unwrap();
        let broken = Volume::filled(grid, Frame::described("head"), f32::NAN);
        nifti::write(folder.join("P1_flair.nii.gz"), &broken).unwrap();
        let files = GliomaFiles::find(&folder, None).unwrap();
        let error = files.read(LabelConvention::Brats2020, TumourLabel::Core).unwrap_err().to_string();
        assert!(error.contains("P1_flair.nii.gz") && error.contains("not finite"), "{error}");
    }
}
