//! The files of a folder, told apart by their content.

use super::attributes::{Attributes, name_of};
use super::header::{self, Header};
use super::part10::{self, Until};
use crate::error::{Error, Result};
use dicom_dictionary_std::{tags, uids};
use oncograph_core::AtFile;
use rayon::prelude::*;
use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

/// A series of images that a folder holds.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
pub struct SeriesSummary {
    /// SeriesInstanceUID.
    pub series_uid: String,
    /// Modality, e.g. `CT`.
    pub modality: String,
    /// SeriesDescription, possibly empty.
    pub description: String,
    /// Number of images: slices, or the frames of enhanced objects, localizers and screenshots among them.
    pub images: usize,
    /// How many of them are localizers (ImageType LOCALIZER) or secondary captures, which are part of no volume.
    pub localizers: usize,
}

/// What the files of a folder are.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct FolderContents {
    /// The image series, by SeriesInstanceUID.
    pub series: Vec<SeriesSummary>,
    /// DICOM Segmentation objects (SEG), label maps among them.
    pub segmentations: Vec<PathBuf>,
    /// RT structure sets: contours, which are not read.
    pub structure_sets: Vec<PathBuf>,
    /// Files that belong to the images by their name, but cannot be read, with the cause.
    pub unreadable: Vec<(PathBuf, String)>,
}

/// What the files of a folder are (its own files, not those of folders within), by their content: names and extensions do not
/// matter. Only the beginning of each file is read.
///
/// # Errors
/// A folder that cannot be listed. Files that cannot be read are part of the result.
///
/// # Example
/// ```no_run
/// let found = oncograph_imaging::dicom::survey("patient_1")?;
/// println!("{} series, {} SEG", found.series.len(), found.segmentations.len());
/// # Ok::<(), oncograph_imaging::Error>(())
/// ```
pub fn survey(folder: impl AsRef<Path>) -> Result<FolderContents> {
    let (objects, unreadable) = read_all(folder.as_ref(), |path, start| {
        let object = part10::parse_header(path, start, Until::Identity)?;
        let class = part10::class_of(&object);
        if header::is_segmentation(&class) {
            return Ok(Object::Segmentation(path.to_owned()));
        }
        if class == uids::RT_STRUCTURE_SET_STORAGE {
            return Ok(Object::StructureSet(path.to_owned()));
        }
        // The rows are the last that is read; what has none is no image, or one whose reading will say so.
        Ok(Header::of(object, path)?.map_or(Object::Other, |h| Object::Image(Box::new(h))))
    })?;
    let mut contents = FolderContents { unreadable, ..Default::default() };
    let mut series: BTreeMap<String, SeriesSummary> = BTreeMap::new();
    for object in objects {
        match object {
            Object::Segmentation(path) => contents.segmentations.push(path),
            Object::StructureSet(path) => contents.structure_sets.push(path),
            Object::Image(header) => {
                let summary = series.entry(header.series_uid.clone()).or_insert_with(|| SeriesSummary {
                    series_uid: header.series_uid.clone(),
                    modality: header.modality.clone(),
                    description: header.description.clone(),
                    images: 0,
                    localizers: 0,
                });
                summary.images = summary.images.saturating_add(header.frames());
                let apart = if header.is_apart() { header.frames() } else { 0 };
                summary.localizers = summary.localizers.saturating_add(apart);
            }
            Object::Other => {}
        }
    }
    contents.series = series.into_values().collect();
    Ok(contents)
}

/// The image series of a folder, by SeriesInstanceUID.
///
/// # Errors
/// A folder that cannot be listed or a damaged DICOM file in it.
pub fn list_series(folder: impl AsRef<Path>) -> Result<Vec<SeriesSummary>> {
    let found = survey(folder)?;
    refuse_or_note(&found.unreadable, false)?;
    Ok(found.series)
}

/// Files that cannot be read, with the cause.
type Unreadable = Vec<(PathBuf, String)>;

enum Object {
    Image(Box<Header>),
    Segmentation(PathBuf),
    StructureSet(PathBuf),
    Other,
}

/// The headers of all images in a folder, by file name; of one that has none itself, those that its DICOMDIR refers to.
pub(super) fn headers(folder: &Path, skip_unreadable: bool) -> Result<(Vec<Header>, Unreadable)> {
    let (found, unreadable) = read_all(folder, |path, start| read_one(path, start, skip_unreadable))?;
    let headers: Vec<Header> = found.into_iter().flatten().collect();
    if !headers.is_empty() || !unreadable.is_empty() {
        return Ok((headers, unreadable));
    }
    let referenced = directory(folder)?;
    let read = |path: &PathBuf| read_one(path, part10::start_of(path)?, skip_unreadable);
    let results: Vec<Result<Option<Header>>> = referenced.par_iter().map(read).collect();
    Ok((results.into_iter().filter_map(Result::transpose).collect::<Result<_>>()?, vec![]))
}

/// The header of an image. Where damaged files are to be left out, the pixels are read as well: those of a truncated file
/// are missing behind a good header.
fn read_one(path: &Path, start: Vec<u8>, whole: bool) -> Result<Option<Header>> {
    let header = Header::of(part10::parse_header(path, start, Until::Pixels)?, path)?;
    if whole && header.is_some() {
        super::pixels::check(path)?;
    }
    Ok(header)
}

/// Whether files that cannot be read are an error, or what to say about them.
pub(super) fn refuse_or_note(unreadable: &[(PathBuf, String)], skip: bool) -> Result<Option<String>> {
    let Some((path, cause)) = unreadable.first() else { return Ok(None) };
    if !skip {
        let others = match unreadable.len() {
            1 => String::new(),
            n => format!(" ({} more files cannot be read)", n - 1),
        };
        let detail = format!("{cause}{others}; to leave such files out, choose skip_unreadable");
        return Err(AtFile::new(path, detail).into());
    }
    let listed: Vec<String> =
        unreadable.iter().take(8).map(|(path, cause)| format!("{}: {cause}", path.display())).collect();
    let more = if unreadable.len() > listed.len() { "; ..." } else { "" };
    let text = listed.join("; ");
    Ok(Some(format!("{} files cannot be read and are left out: {text}{more}", unreadable.len())))
}

/// What `read` makes of every DICOM file of a folder, by name, and the files that should be DICOM and cannot be read.
fn read_all<T: Send>(
    folder: &Path,
    read: impl Fn(&Path, Vec<u8>) -> Result<T> + Sync,
) -> Result<(Vec<T>, Unreadable)> {
    enum File<T> {
        Read(T),
        Damaged(Error),
        Foreign(Vec<u8>),
        Closed(Error),
    }
    let files = list(folder)?;
    let one = |path: &PathBuf| -> Result<File<T>> {
        let start = match part10::start_of(path) {
            Ok(start) => start,
            Err(e) => return Ok(File::Closed(e)),
        };
        if !part10::is_dicom(&start) {
            return Ok(File::Foreign(start));
        }
        Ok(read(path, start).map_or_else(File::Damaged, File::Read))
    };
    // Collected before the first error is taken, so that the same file is named with any number of threads.
    let results: Vec<Result<File<T>>> = files.par_iter().map(one).collect();
    let results = results.into_iter().collect::<Result<Vec<_>>>()?;
    let dicom = files.iter().zip(&results).filter(|(_, r)| matches!(r, File::Read(_) | File::Damaged(_)));
    let extensions: BTreeSet<Option<String>> = dicom.map(|(path, _)| extension(path)).collect();
    let (mut found, mut unreadable) = (vec![], vec![]);
    for (path, result) in files.into_iter().zip(results) {
        match result {
            File::Read(value) => found.push(value),
            File::Damaged(e) => unreadable.push((path.clone(), cause_of(e, &path))),
            File::Foreign(start) if belongs(&path, &start, &extensions) => {
                unreadable.push((path, format!("not a readable DICOM file: {}", part10::why_not(&start))));
            }
            // Such as a link to what was never fetched.
            File::Closed(e) if belongs(&path, &[], &extensions) => {
                unreadable.push((path.clone(), cause_of(e, &path)))
            }
            File::Foreign(_) | File::Closed(_) => {}
        }
    }
    Ok((found, unreadable))
}

/// An error's text without the path before it.
fn cause_of(error: Error, path: &Path) -> String {
    let text = error.to_string();
    let prefix = format!("{}: ", path.display());
    text.strip_prefix(&prefix).map(str::to_owned).unwrap_or(text)
}

/// Whether a file that is not DICOM should be: it is named as DICOM files are, or as those beside it.
fn belongs(path: &Path, start: &[u8], beside: &BTreeSet<Option<String>>) -> bool {
    let extension = extension(path);
    match extension.as_deref() {
        Some("dcm" | "dicom" | "dic" | "ima") => true,
        Some(_) => beside.contains(&extension),
        // Notes and licences have no extension either, but are text.
        None => start.is_empty() || !is_text(start),
    }
}

fn is_text(start: &[u8]) -> bool {
    let start = &start[..start.len().min(1024)];
    let text = match std::str::from_utf8(start) {
        Ok(text) => text,
        Err(e) => std::str::from_utf8(&start[..e.valid_up_to()]).unwrap_or_default(),
    };
    text.len() + 4 > start.len() && text.chars().all(|c| !c.is_control() || c.is_whitespace())
}

/// The extension in small letters; `None` also for the last number of a UID or of a slice.
fn extension(path: &Path) -> Option<String> {
    let extension = path.extension()?.to_str()?;
    let is_number = extension.bytes().all(|b| b.is_ascii_digit());
    (!is_number).then(|| extension.to_ascii_lowercase())
}

/// The files of a folder by name, without hidden ones (`.DS_Store`, and `._1.dcm` of macOS).
fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let list = || -> std::io::Result<Vec<PathBuf>> {
        let entries = std::fs::read_dir(folder)?.collect::<std::io::Result<Vec<_>>>()?;
        let hidden = |p: &PathBuf| p.file_name().is_some_and(|n| n.to_string_lossy().starts_with('.'));
        let files = entries.iter().map(|e| e.path()).filter(|p| !p.is_dir() && !hidden(p));
        let mut files: Vec<PathBuf> = files.collect();
        files.sort();
        Ok(files)
    };
    list().map_err(|e| Error::io("read", folder, e))
}

/// The files that a folder's DICOMDIR refers to; none without one.
fn directory(folder: &Path) -> Result<Vec<PathBuf>> {
    let is_directory = |p: &PathBuf| p.file_name().is_some_and(|n| n.eq_ignore_ascii_case("DICOMDIR"));
    let Some(path) = list(folder)?.into_iter().find(is_directory) else { return Ok(vec![]) };
    let object = part10::parse_header(&path, part10::start_of(&path)?, Until::End)?;
    let a = Attributes::new(&object, &path);
    let mut files = vec![];
    for record in a.items(tags::DIRECTORY_RECORD_SEQUENCE) {
        let parts = record.texts(tags::REFERENCED_FILE_ID);
        if parts.is_empty() || record.text(tags::DIRECTORY_RECORD_TYPE).as_deref() != Some("IMAGE") {
            continue;
        }
        let place = parts.iter().try_fold(folder.to_owned(), |at, part| within(&at, part));
        let detail = || {
            let name = name_of(tags::REFERENCED_FILE_ID);
            AtFile::new(&path, format!("{name}: the file {} is not there", parts.join("/")))
        };
        files.push(place.ok_or_else(detail)?);
    }
    Ok(files)
}

/// A file or folder by its name in a DICOMDIR, which is in capital letters; media are often copied in small ones.
fn within(folder: &Path, name: &str) -> Option<PathBuf> {
    let exact = folder.join(name);
    if name.contains(['/', '\\']) || name == ".." {
        return None;
    }
    if exact.exists() {
        return Some(exact);
    }
    let mut entries = std::fs::read_dir(folder).ok()?.filter_map(std::io::Result::ok).map(|e| e.path());
    entries.find(|p| p.file_name().is_some_and(|n| n.eq_ignore_ascii_case(name)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::dicom::testing::{Phantom, deform};
    use crate::dicom::{SeriesOptions, read_series};
    use dicom_core::VR;

    fn phantom() -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let files = Phantom::axial().write(folder.path());
        (folder, files)
    }

    #[test]
    fn a_file_that_cannot_be_read_is_named_or_left_out_with_a_note() {
        type Damage = fn(&Path);
        let cases: [(&str, Damage); 5] = [
            ("empty", |p| std::fs::write(p, []).unwrap()),
            ("HTML", |p| std::fs::write(p, "<html>404</html>").unwrap()),
            ("are 0", |p| std::fs::write(p, [0; 900]).unwrap()),
            ("no DICM mark", |p| std::fs::write(p, [7; 900]).unwrap()),
            ("dcm", |p| {
                let bytes = std::fs::read(p).unwrap();
                std::fs::write(p, &bytes[..bytes.len() - 10]).unwrap();
            }),
        ];
        for (expected, damage) in cases {
            let (folder, files) = phantom();
            damage(&files[4]);
            let text = read_series(folder.path(), &SeriesOptions::new()).unwrap_err().to_string();
            assert!(text.contains(expected) && text.contains(files[4].to_str().unwrap()), "{text}");
            let options = SeriesOptions::new().skip_unreadable(true);
            let series = read_series(folder.path(), &options).unwrap();
            assert_eq!(series.slices.len(), 4);
            let note = &series.notes[0];
            assert!(note.starts_with("1 files cannot be read") && note.contains(files[4].to_str().unwrap()));
            // A hole is no volume, left out or not.
            damage(&files[2]);
            assert!(read_series(folder.path(), &options).unwrap_err().to_string().contains("uneven"));
        }
    }

    #[cfg(unix)]
    #[test]
    fn links_to_what_was_never_fetched_are_named() {
        for name in ["05.dcm", "5"] {
            let (folder, _) = phantom();
            std::os::unix::fs::symlink("../annex/objects/none", folder.path().join(name)).unwrap();
            std::os::unix::fs::symlink("none", folder.path().join("notes.txt")).unwrap();
            let text = read_series(folder.path(), &SeriesOptions::new()).unwrap_err().to_string();
            assert!(text.contains(name) && !text.contains("notes"), "{text}");
            let series = read_series(folder.path(), &SeriesOptions::new().skip_unreadable(true)).unwrap();
            assert_eq!((series.slices.len(), series.notes.len()), (5, 1));
        }
    }

    #[test]
    fn content_decides_and_names_do_not() {
        for name in ["{}", "IM{}", "{}.IMA", "slice.{}", "{}.MR", "{}.DCM"] {
            let (folder, files) = phantom();
            for (k, path) in files.iter().enumerate() {
                std::fs::rename(path, folder.path().join(name.replace("{}", &k.to_string()))).unwrap();
            }
            for (other, text) in
                [("LICENSE", "Free."), ("notes.txt", ""), (".DS_Store", "x"), ("._1.dcm", "x")]
            {
                std::fs::write(folder.path().join(other), text).unwrap();
            }
            std::fs::write(folder.path().join("Thumbs.db"), [0, 1, 2]).unwrap();
            let series = read_series(folder.path(), &SeriesOptions::new()).unwrap();
            assert_eq!((series.slices.len(), series.notes.len()), (5, 0), "{name}");
            // One of them lost.
            std::fs::write(folder.path().join(name.replace("{}", "4")), []).unwrap();
            assert!(read_series(folder.path(), &SeriesOptions::new()).is_err(), "{name}");
        }
    }

    #[test]
    fn objects_in_one_folder_are_told_apart() {
        let (folder, _) = phantom();
        let series = read_series(folder.path(), &SeriesOptions::new()).unwrap();
        let mask = series.volume.map(|_| 1_u8);
        let organ = crate::seg::Code::organ();
        let segment = crate::seg::NewSegment::new("Liver", organ.clone(), organ);
        let seg = folder.path().join("seg");
        crate::seg::write(&seg, &series, &[(segment, mask)], &crate::seg::WriteOptions::new()).unwrap();
        let contours = Phantom::axial().series("1.2.3.7").write(folder.path());
        contours[1..].iter().for_each(|p| std::fs::remove_file(p).unwrap());
        deform(&contours[0], |o| {
            o.put_str(tags::SOP_CLASS_UID, VR::UI, uids::RT_STRUCTURE_SET_STORAGE);
            o.put_str(tags::MODALITY, VR::CS, "RTSTRUCT");
        });
        std::fs::write(folder.path().join("lost.dcm"), []).unwrap();
        let found = survey(folder.path()).unwrap();
        assert_eq!((found.series.len(), found.series[0].images, found.series[0].localizers), (1, 5, 0));
        assert_eq!(found.segmentations, [seg.as_path()]);
        assert_eq!(found.structure_sets, [contours[0].as_path()]);
        assert!(found.unreadable[0].0.ends_with("lost.dcm") && found.unreadable[0].1.contains("empty"));
        assert!(list_series(folder.path()).is_err());
        let text = crate::seg::read(&contours[0]).unwrap_err().to_string();
        assert!(text.contains("RT structure set") && text.contains("dcmrtstruct2nii"), "{text}");
    }

    #[test]
    fn a_directory_stands_for_its_files() {
        let root = tempfile::tempdir().unwrap();
        let inner = root.path().join("images/ct");
        std::fs::create_dir_all(&inner).unwrap();
        let files = Phantom::axial().write(&inner);
        let records = files.iter().map(|path| {
            let mut record = dicom_object::InMemDicomObject::new_empty();
            let name = path.file_name().unwrap().to_str().unwrap();
            record.put_str(tags::DIRECTORY_RECORD_TYPE, VR::CS, "IMAGE");
            record.put_str(tags::REFERENCED_FILE_ID, VR::CS, format!("IMAGES\\CT\\{name}"));
            record
        });
        let records = dicom_core::value::DataSetSequence::from(records.collect::<Vec<_>>());
        let mut object = dicom_object::InMemDicomObject::new_empty();
        object.put(dicom_core::DataElement::new(tags::DIRECTORY_RECORD_SEQUENCE, VR::SQ, records));
        let meta = dicom_object::FileMetaTableBuilder::new()
            .transfer_syntax(uids::EXPLICIT_VR_LITTLE_ENDIAN)
            .media_storage_sop_class_uid(uids::MEDIA_STORAGE_DIRECTORY_STORAGE)
            .media_storage_sop_instance_uid("1.2.3.99");
        object.with_meta(meta).unwrap().write_to_file(root.path().join("DICOMDIR")).unwrap();
        let series = read_series(root.path(), &SeriesOptions::new()).unwrap();
        assert_eq!(series.slices.len(), 5);
        std::fs::remove_file(&files[4]).unwrap();
        let text = read_series(root.path(), &SeriesOptions::new()).unwrap_err().to_string();
        assert!(text.contains("DICOMDIR") && text.contains("is not there"), "{text}");
    }
}
