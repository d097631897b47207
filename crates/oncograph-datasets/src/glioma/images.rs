use super::files::{Listing, name};
use super::labels::{LabelFit, select};
use super::{GliomaFiles, LabelConvention, LabelLook, TumourLabel};
use crate::{Error, Result};
use oncograph_imaging::nifti::ReadOptions;
use oncograph_imaging::{Frame, Mask, Volume, nifti};
use std::path::{Path, PathBuf};

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

impl GliomaFiles {
    /// Reads the scan.
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
            return Err(self.without_segmentation());
        };
        let (labels, notes) = nifti::read_noted::<u8>(path, &ReadOptions::new())?;
        same(path, labels.grid())?;
        let labels = Volume::new(grid.clone(), frame.clone(), labels.into_parts().2)?;
        let doubt = match LabelLook::of(&labels).fit(convention) {
            LabelFit::Doubted(why) => Some(why),
            LabelFit::Fits | LabelFit::Impossible(_) => None,
        };
        let (tumour, mut flags) =
            select(&labels, convention, tumour).map_err(|detail| refuse(path, detail))?;
        flags.extend(remarks);
        if self.is_uncorrected() {
            flags.push(format!("{}: a segmentation that nobody corrected", name(path)));
        }
        flags.extend(notes.into_iter().chain(doubt).map(|note| format!("{}: {note}", name(path))));
        Ok(GliomaImages { id: self.id.clone(), sequences, tumour, anisotropy, flags })
    }

    /// How the labels of the segmentation lie to each other.
    ///
    /// # Errors
    /// No segmentation, or one that cannot be read.
    pub fn labels(&self) -> Result<LabelLook> {
        let path = self.segmentation.as_ref().ok_or_else(|| self.without_segmentation())?;
        Ok(LabelLook::of(&nifti::read_noted::<u8>(path, &ReadOptions::new())?.0))
    }

    fn without_segmentation(&self) -> Error {
        let folder = self.sequences[0].parent().unwrap_or(&self.sequences[0]);
        let listed = Listing::of(folder).map(|listing| listing.names()).unwrap_or_default();
        let detail = format!(
            "patient {} has no segmentation (a name that ends in _seg, or one with seg in it); found {listed}",
            self.id
        );
        Error::at(folder, detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glioma::files::ENDINGS;
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
        let all = GliomaFiles::find_all(root.path(), None).unwrap().scans;
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
    }

    #[test]
    fn what_is_wrong_with_a_patient_is_said_with_its_file() {
        let root = tempfile::tempdir().unwrap();
        let folder = patient(root.path(), [0, 1, 2, 4]);
        let core = |convention| GliomaFiles::find(&folder, None).unwrap().read(convention, TumourLabel::Core);
        let error = core(LabelConvention::Brats2023).unwrap_err().to_string();
        let expected =
            "P1_seg.nii.gz: label 4 does not exist under brats2023 (0, 1, 2, 3): another convention?";
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
