//! Loading one subject's CT and masks onto the grid of the CT.

use super::structure::Structure;
use crate::error::{Error, Result};
use oncograph_imaging::dicom::SeriesOptions;
use oncograph_imaging::nifti::ReadOptions;
use oncograph_imaging::seg::{DecodeOptions, DecodedSegment};
use oncograph_imaging::{Mask, ResampleOptions, Volume, dicom, nifti, resample, seg};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Where a subject's images are.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub enum ImageFiles {
    /// The original collection: a folder with the CT slices and a DICOM SEG object.
    Dicom {
        /// Folder of the CT series.
        ct: PathBuf,
        /// The SEG file, if there is one.
        seg: Option<PathBuf>,
        /// SeriesInstanceUID of the CT and its number of images, where `metadata.csv` lists them or where the folder holds
        /// other images as well.
        series: Option<(String, usize)>,
        /// Files in other folders of the subject that cannot be read, with the cause.
        unreadable: Vec<(PathBuf, String)>,
    },
    /// A CT and one mask for each structure.
    Nifti {
        /// The CT in Hounsfield units.
        ct: PathBuf,
        /// The masks.
        masks: BTreeMap<Structure, PathBuf>,
        /// Images in the same folder that are named after no structure.
        unknown: Vec<PathBuf>,
    },
    /// Files of which it is not clear which are meant; loading them is an error.
    Unclear {
        /// Where they are.
        path: PathBuf,
        /// Why.
        cause: String,
    },
}

/// One subject of a cohort.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SubjectFiles {
    /// Identifier, as in the clinical table.
    pub id: String,
    /// Its images; `None` where only the clinical table is present.
    pub images: Option<ImageFiles>,
}

/// What to let pass when images are loaded. The default is strict.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
#[non_exhaustive]
pub struct LoadOptions {
    /// Pass over segments and mask files that are no [`Structure`], with a warning, instead of failing.
    pub skip_unknown_labels: bool,
    /// Treat a mask without voxels as missing, with a warning, instead of failing.
    pub empty_as_missing: bool,
    /// How a DICOM series is read: which acquisition, how even, without unreadable files.
    pub series: SeriesOptions,
    /// Whether a SEG object on another grid than the CT is resampled.
    pub segmentation: DecodeOptions,
}

impl LoadOptions {
    /// Strict loading.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets [`skip_unknown_labels`](Self::skip_unknown_labels).
    pub fn skip_unknown_labels(mut self, skip: bool) -> Self {
        self.skip_unknown_labels = skip;
        self
    }

    /// Sets [`empty_as_missing`](Self::empty_as_missing).
    pub fn empty_as_missing(mut self, missing: bool) -> Self {
        self.empty_as_missing = missing;
        self
    }

    /// Sets [`series`](Self::series); of several series the one is found by itself.
    pub fn series(mut self, options: SeriesOptions) -> Self {
        self.series = options;
        self
    }

    /// Sets [`segmentation`](Self::segmentation).
    pub fn segmentation(mut self, options: DecodeOptions) -> Self {
        self.segmentation = options;
        self
    }
}

/// One subject's images, all on the CT's grid.
#[derive(Debug, Clone, PartialEq)]
#[non_exhaustive]
pub struct CrlmImages {
    /// CT in Hounsfield units.
    pub ct: Volume<f32>,
    /// One binary mask for each structure; they overlap.
    pub masks: BTreeMap<Structure, Mask>,
    /// [`Structure::EXPECTED`] that are absent.
    pub missing: Vec<Structure>,
    /// Remarks that have to be shown beside results: files that were left out, masks that were resampled.
    pub notes: Vec<String>,
}

/// The CT, the masks, and what is to be remarked.
type Loaded = (Volume<f32>, BTreeMap<Structure, Mask>, Vec<String>);

impl CrlmImages {
    /// The tumours, in order.
    pub fn tumors(&self) -> impl Iterator<Item = (Structure, &Mask)> {
        self.masks.iter().filter(|(s, _)| s.is_tumor()).map(|(s, m)| (*s, m))
    }

    /// The union of the tumours; an empty mask where there is none.
    pub fn tumor_union(&self) -> Mask {
        let mut union = Mask::from(self.ct.grid()).with_frame(self.ct.frame().clone());
        for (_, mask) in self.tumors() {
            for (u, m) in union.as_mut_slice().iter_mut().zip(mask.as_slice()) {
                *u |= u8::from(*m != 0);
            }
        }
        union
    }
}

impl SubjectFiles {
    /// A subject that is not part of a cohort on disk, for example one new patient.
    pub fn new(id: impl Into<String>, images: Option<ImageFiles>) -> Self {
        Self { id: id.into(), images }
    }

    /// Loads the CT and the masks onto the CT's grid.
    ///
    /// Planes of a SEG object go to the slices that they lie on; one on another grid is an error unless
    /// [`LoadOptions::segmentation`] resamples it. NIfTI masks that cover another box or another grid are laid onto the CT by
    /// their position in the patient, nearest neighbour. Absent structures are listed in [`CrlmImages::missing`], what was
    /// left out or resampled in [`CrlmImages::notes`].
    ///
    /// # Errors
    /// Names subject, file and cause: no images at all; a file that is truncated or has no orientation; NaN or
    /// infinite voxels; a series with fewer images than `metadata.csv` lists; a SEG of another series or of another
    /// frame of reference; an unknown or repeated label; an empty mask, or one that lies outside the CT.
    pub fn load(&self, options: &LoadOptions) -> Result<CrlmImages> {
        let (ct, masks, notes) = match &self.images {
            None => {
                let detail = "only the clinical table is present, there are no images to load";
                return Err(Error::subject(&self.id, Path::new(""), detail));
            }
            Some(ImageFiles::Unclear { path, cause }) => {
                return Err(Error::subject(&self.id, path, cause));
            }
            Some(ImageFiles::Nifti { ct, masks, unknown }) => {
                for path in unknown {
                    self.unknown(path, &name_of(path), options)?;
                }
                self.load_nifti(ct, masks, options)?
            }
            Some(ImageFiles::Dicom { ct, seg, series, unreadable }) => {
                let left_out = self.left_out(unreadable, options)?;
                let mut loaded = self.load_dicom(ct, seg.as_deref(), series.as_ref(), options)?;
                loaded.2.extend(left_out);
                loaded
            }
        };
        let missing = Structure::EXPECTED.into_iter().filter(|s| !masks.contains_key(s)).collect();
        Ok(CrlmImages { ct, masks, missing, notes })
    }

    fn image<T>(&self, result: oncograph_imaging::Result<T>) -> Result<T> {
        result.map_err(|source| Error::Image { subject: self.id.clone(), source: Box::new(source) })
    }

    fn load_nifti(
        &self,
        path: &Path,
        files: &BTreeMap<Structure, PathBuf>,
        options: &LoadOptions,
    ) -> Result<Loaded> {
        let (ct, remarks) = self.image(nifti::read_noted::<f32>(path, &ReadOptions::new()))?;
        let mut notes = about(path, remarks);
        let mut masks = BTreeMap::new();
        for (structure, path) in files {
            let (read, remarks) = self.image(nifti::read_noted::<u8>(path, &ReadOptions::new()))?;
            notes.extend(about(path, remarks));
            let same = read.grid().approx_eq(ct.grid(), 1e-3);
            if !same {
                let remark =
                    "the mask has another grid than the CT and was brought onto it by nearest neighbour";
                notes.extend(about(path, vec![remark.into()]));
            }
            let mask = match same {
                // The CT's own frame: the two files may describe theirs in different words.
                true => Mask::new(ct.grid().clone(), ct.frame().clone(), read.as_slice().to_vec())?,
                false => self
                    .image(resample(&read, ct.grid(), &ResampleOptions::label()))?
                    .with_frame(ct.frame().clone()),
            };
            let mask = mask.map(|v| u8::from(v != 0));
            if mask.count() > 0 {
                masks.insert(*structure, mask);
            } else if read.count() > 0 {
                return Err(Error::subject(&self.id, path, "the mask lies outside the CT"));
            } else {
                self.empty(path, *structure, options)?;
            }
        }
        Ok((ct, masks, notes))
    }

    fn load_dicom(
        &self,
        folder: &Path,
        seg_path: Option<&Path>,
        listed: Option<&(String, usize)>,
        options: &LoadOptions,
    ) -> Result<Loaded> {
        let mut series_options = options.series.clone();
        if let Some((uid, _)) = listed {
            series_options = series_options.series_uid(uid);
        }
        let series = self.image(dicom::read_series(folder, &series_options))?;
        if series.modality != "CT" {
            let detail = format!("the series is of modality {}, not CT", series.modality);
            return Err(Error::subject(&self.id, folder, detail));
        }
        let mut notes = series.notes.clone();
        notes.extend(self.fewer_than_listed(folder, series.slices.len(), listed, options)?);
        let Some(path) = seg_path else { return Ok((series.volume, BTreeMap::new(), notes)) };
        let object = self.image(seg::read(path))?;
        let refers = &object.referenced_series;
        if !refers.is_empty() && !refers.contains(&series.series_uid) {
            let detail = format!(
                "the segmentation belongs to series {}, the CT is series {}",
                refers.join(", "),
                series.series_uid
            );
            return Err(Error::subject(&self.id, path, detail));
        }
        let decoded = self.image(object.decode_onto_series(&series, &options.segmentation))?;
        notes.extend(about(path, remarks_of(&decoded)));
        let mut masks = BTreeMap::new();
        for found in decoded {
            let label = &found.segment.label;
            let Some(structure) = Structure::from_label(label) else {
                self.unknown(path, label, options)?;
                continue;
            };
            if found.is_empty() && found.outside > 0 {
                let detail = format!("segment `{label}` lies outside the CT");
                return Err(Error::subject(&self.id, path, detail));
            }
            if found.is_empty() {
                self.empty(path, structure, options)?;
            } else if masks.insert(structure, found.mask()).is_some() {
                return Err(Error::subject(&self.id, path, format!("two segments are labelled `{label}`")));
            }
        }
        Ok((series.volume, masks, notes))
    }

    /// Refuses another number of images than the one that is listed, or remarks it where some were to be left out.
    fn fewer_than_listed(
        &self,
        folder: &Path,
        count: usize,
        listed: Option<&(String, usize)>,
        options: &LoadOptions,
    ) -> Result<Vec<String>> {
        let Some((_, images)) = listed.filter(|(_, images)| *images != count) else { return Ok(vec![]) };
        // A chosen acquisition has fewer, and so has a series without its unreadable files.
        if options.series.select.is_empty() && !options.series.skip_unreadable {
            let detail =
                format!("{count} images, but metadata.csv lists {images}: the download is incomplete");
            return Err(Error::subject(&self.id, folder, detail));
        }
        Ok(about(folder, vec![format!("{count} of {images} images are used")]))
    }

    /// Refuses unreadable files, or remarks that they are left out.
    fn left_out(&self, unreadable: &[(PathBuf, String)], options: &LoadOptions) -> Result<Vec<String>> {
        match unreadable.first() {
            Some((path, cause)) if !options.series.skip_unreadable => {
                let detail = format!("{cause}; to leave such files out, choose skip_unreadable");
                Err(Error::subject(&self.id, path, detail))
            }
            _ => Ok(unreadable
                .iter()
                .flat_map(|(path, cause)| about(path, vec![format!("left out: {cause}")]))
                .collect()),
        }
    }

    fn empty(&self, path: &Path, structure: Structure, options: &LoadOptions) -> Result<()> {
        if !options.empty_as_missing {
            return Err(Error::subject(&self.id, path, format!("the mask of {structure} has no voxels")));
        }
        tracing::warn!(subject = self.id, path = %path.display(), %structure, "empty mask taken as missing");
        Ok(())
    }

    fn unknown(&self, path: &Path, label: &str, options: &LoadOptions) -> Result<()> {
        if !options.skip_unknown_labels {
            let detail =
                format!("unknown label `{label}` (known: Liver, Liver Remnant, Hepatic, Portal, Tumor_k)");
            return Err(Error::subject(&self.id, path, detail));
        }
        tracing::warn!(subject = self.id, path = %path.display(), label, "unknown label passed over");
        Ok(())
    }
}

/// Remarks with the file that they are about.
/// What has to be said about segments that were laid onto a CT.
fn remarks_of(decoded: &[DecodedSegment]) -> Vec<String> {
    let mut remarks = Vec::new();
    if decoded.iter().any(|found| found.resampled) {
        remarks.push(
            "the segmentation has another grid than the CT and was brought onto it by nearest neighbour"
                .into(),
        );
    }
    for found in decoded.iter().filter(|found| found.outside > 0 && !found.is_empty()) {
        let label = &found.segment.label;
        remarks.push(format!("{} pixels of `{label}` lie outside the CT and are lost", found.outside));
    }
    for found in decoded.iter().filter(|found| found.misreferenced > 0) {
        let (label, planes) = (&found.segment.label, found.misreferenced);
        remarks.push(format!(
            "{planes} planes of `{label}` lie on another slice than the one that they refer to; their position counts"
        ));
    }
    remarks
}

fn about(path: &Path, remarks: Vec<String>) -> Vec<String> {
    remarks.into_iter().map(|remark| format!("{}: {remark}", path.display())).collect()
}

/// The name of a file or folder without its place.
pub(super) fn name_of(path: &Path) -> String {
    path.file_name().map(|n| n.to_string_lossy().into_owned()).unwrap_or_default()
}
