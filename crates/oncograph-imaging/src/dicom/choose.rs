//! Which images of a folder are one volume.

use super::frames::{DISCRIMINATORS, Image};
use super::header::Header;
use super::options::SeriesOptions;
use crate::error::{Error, Result};
use oncograph_core::AtFile;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The headers of the requested series, or of the only one, without localizers and screenshots where there are other
/// images; `notes` tells what is left out.
pub(super) fn choose(
    path: &Path,
    headers: Vec<Header>,
    options: &SeriesOptions,
    notes: &mut Vec<String>,
) -> Result<Vec<Header>> {
    let mut groups: BTreeMap<String, Vec<Header>> = BTreeMap::new();
    for header in headers {
        groups.entry(header.series_uid.clone()).or_default().push(header);
    }
    let found: Vec<(String, usize)> = groups.iter().map(|(uid, g)| (uid.clone(), g.len())).collect();
    let none = |detail: String| Error::from(AtFile::new(path, detail));
    if let Some(uid) = &options.series_uid {
        let series = groups.remove(uid);
        let series = series.ok_or_else(|| none(format!("no image of series {uid}; found {found:?}")))?;
        return Ok(without_apart(series, notes));
    }
    let only_apart = |group: &[Header]| group.iter().all(Header::is_apart);
    if groups.len() > 1 && !groups.values().all(|g| only_apart(g)) {
        let apart = groups.extract_if(.., |_, group| only_apart(group)).flat_map(|(_, group)| group);
        note_apart(&apart.collect::<Vec<_>>(), notes);
    }
    if groups.len() > 1 {
        return Err(Error::SeveralSeries { path: path.to_owned(), found });
    }
    let series = groups.into_values().next().ok_or_else(|| none("no DICOM image".to_owned()))?;
    Ok(without_apart(series, notes))
}

fn without_apart(series: Vec<Header>, notes: &mut Vec<String>) -> Vec<Header> {
    let (apart, kept): (Vec<Header>, Vec<Header>) = series.into_iter().partition(Header::is_apart);
    if kept.is_empty() {
        return apart;
    }
    note_apart(&apart, notes);
    kept
}

fn note_apart(apart: &[Header], notes: &mut Vec<String>) {
    if let Some(first) = apart.first() {
        let file = first.path.display();
        notes.push(format!(
            "{} localizers or secondary captures are part of no volume and are left out, e.g. {file}",
            apart.len()
        ));
    }
}

/// The images with the requested values.
pub(super) fn select(images: Vec<Image>, options: &SeriesOptions) -> Result<Vec<Image>> {
    let mut kept = images;
    for (keyword, value) in &options.select {
        let Some(place) = DISCRIMINATORS.iter().position(|d| d == keyword) else { continue };
        let (chosen, others): (Vec<Image>, Vec<Image>) =
            kept.into_iter().partition(|image| is_value(&image.traits[place], value));
        if let (true, Some(first)) = (chosen.is_empty(), others.first()) {
            let detail = format!("no image with {keyword} {value}; there are {}", values(&others, place));
            let files: Vec<PathBuf> = vec![first.file.path.clone()];
            return Err(Error::Series { series: first.file.series_uid.clone(), detail, files });
        }
        kept = chosen;
    }
    Ok(kept)
}

/// Whether a stated value is the wanted one: as text, as a number, or as one of several values.
fn is_value(stated: &str, wanted: &str) -> bool {
    let number = |text: &str| text.trim().parse::<f64>().ok();
    stated.eq_ignore_ascii_case(wanted)
        || matches!((number(stated), number(wanted)), (Some(a), Some(b)) if a == b)
        || stated.split('\\').any(|part| part.eq_ignore_ascii_case(wanted))
}

/// Values with the number of images that have each.
fn values(images: &[Image], place: usize) -> String {
    let mut counts: BTreeMap<&str, usize> = BTreeMap::new();
    for image in images {
        *counts.entry(&image.traits[place]).or_default() += 1;
    }
    let name = |value: &str| if value.is_empty() { "none".to_owned() } else { value.to_owned() };
    let listed: Vec<String> =
        counts.iter().take(6).map(|(value, n)| format!("{} ({n} images)", name(value))).collect();
    let more = if counts.len() > listed.len() { ", ..." } else { "" };
    format!("{}{more}", listed.join(", "))
}

/// By what two images that do not go together could be told apart; nothing where they differ in nothing that is known.
pub(super) fn hint(images: &[Image], one: &Image, other: &Image) -> String {
    let differs = |place: &usize| one.traits[*place] != other.traits[*place];
    let listed: Vec<String> = (0..DISCRIMINATORS.len())
        .filter(differs)
        .map(|place| format!("{} {}", DISCRIMINATORS[place], values(images, place)))
        .collect();
    match listed.is_empty() {
        true => String::new(),
        false => format!("; several volumes in one series? choose one by {}", listed.join(" or by ")),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing::{Phantom, deform};
    use super::super::{SeriesOptions, read_series, read_series_files};
    use dicom_core::VR;
    use dicom_dictionary_std::{tags, uids};
    use dicom_object::InMemDicomObject;
    use std::path::{Path, PathBuf};

    /// A series of which every slice is there twice, the second time changed.
    fn doubled(folder: &Path, change: impl Fn(&mut InMemDicomObject)) {
        for path in Phantom::axial().write(folder) {
            let copy = path.with_extension("second.dcm");
            std::fs::copy(&path, &copy).unwrap();
            deform(&copy, |o| {
                let uid = o.get(tags::SOP_INSTANCE_UID).unwrap().to_str().unwrap().into_owned();
                o.put_str(tags::SOP_INSTANCE_UID, VR::UI, format!("{uid}.2"));
                o.put_str(tags::RESCALE_INTERCEPT, VR::DS, "1000");
                change(o);
            });
        }
    }

    #[test]
    fn volumes_in_one_series_are_named_and_chosen() {
        type Change = fn(&mut InMemDicomObject);
        let cases: [(&str, &str, Change); 6] = [
            ("AcquisitionNumber", "2", |o| {
                o.put_str(tags::ACQUISITION_NUMBER, VR::IS, "2");
            }),
            ("EchoNumbers", "2", |o| {
                o.put_str(tags::ECHO_NUMBERS, VR::IS, "2");
            }),
            ("EchoTime", "4.6", |o| {
                o.put_str(tags::ECHO_TIME, VR::DS, "4.60");
            }),
            ("ImageType", "WATER", |o| {
                o.put_str(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\WATER");
            }),
            ("ConvolutionKernel", "B70f", |o| {
                o.put_str(tags::CONVOLUTION_KERNEL, VR::SH, "B70f");
            }),
            ("TemporalPositionIdentifier", "2", |o| {
                o.put_str(tags::TEMPORAL_POSITION_IDENTIFIER, VR::IS, "2");
            }),
        ];
        for (keyword, value, change) in cases {
            let folder = tempfile::tempdir().unwrap();
            doubled(folder.path(), change);
            let text = read_series(folder.path(), &SeriesOptions::new()).unwrap_err().to_string();
            assert!(
                text.contains("same position") && text.contains(&format!("{keyword} none (5 images)")),
                "{text}"
            );
            let options = SeriesOptions::new().select(keyword, value);
            let series = read_series(folder.path(), &options).unwrap();
            assert_eq!((series.slices.len(), series.volume.as_slice()[0]), (5, 1000.0), "{keyword}");
            let text = read_series(folder.path(), &SeriesOptions::new().select(keyword, "77"));
            assert!(text.unwrap_err().to_string().contains(&format!("no image with {keyword} 77")));
        }
        assert!(SeriesOptions::new().select("PatientName", "x").validate().is_err());
        assert_eq!(
            SeriesOptions::new().acquisition(2),
            SeriesOptions::new().select("AcquisitionNumber", "2")
        );
    }

    #[test]
    fn localizers_and_screenshots_are_left_out_with_a_note() {
        let scout = |path: &PathBuf, series: &str| {
            let copy = path.with_extension(format!("{series}.dcm"));
            std::fs::copy(path, &copy).unwrap();
            deform(&copy, |o| {
                o.put_str(tags::SERIES_INSTANCE_UID, VR::UI, series);
                o.put_str(tags::IMAGE_TYPE, VR::CS, "ORIGINAL\\PRIMARY\\LOCALIZER");
                o.put_str(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "0\\1\\0\\0\\0\\-1");
            });
            copy
        };
        // In the series itself, and as series of their own.
        for (series, others) in [("1.2.3.4", 1), ("1.2.3.50", 1), ("1.2.3.50", 2)] {
            let folder = tempfile::tempdir().unwrap();
            let files = Phantom::axial().write(folder.path());
            (0..others).for_each(|k| drop(scout(&files[k], &format!("{series}{}", ["", "1"][k]))));
            let read = read_series(folder.path(), &SeriesOptions::new()).unwrap();
            assert_eq!(read.slices.len(), 5);
            assert!(read.notes[0].starts_with(&format!("{others} localizers")), "{:?}", read.notes);
        }
        // By itself, a localizer is an image as any other.
        let folder = tempfile::tempdir().unwrap();
        let files = Phantom::axial().write(folder.path());
        let alone = scout(&files[0], "1.2.3.50");
        assert_eq!(read_series_files(&[alone], &SeriesOptions::new()).unwrap().slices.len(), 1);
        // A page of the report in the series.
        deform(&files[4], |o| {
            o.put_str(tags::SOP_CLASS_UID, VR::UI, uids::SECONDARY_CAPTURE_IMAGE_STORAGE);
            o.remove_element(tags::IMAGE_POSITION_PATIENT);
        });
        std::fs::remove_file(alone_in(folder.path())).unwrap();
        let read = read_series(folder.path(), &SeriesOptions::new()).unwrap();
        assert_eq!((read.slices.len(), read.notes.len()), (4, 1));
    }

    fn alone_in(folder: &Path) -> PathBuf {
        let mut files = std::fs::read_dir(folder).unwrap().map(|e| e.unwrap().path());
        files.find(|p| p.to_str().unwrap().contains("1.2.3.50")).unwrap()
    }

    #[test]
    fn planes_of_one_series_are_chosen_by_name() {
        let folder = tempfile::tempdir().unwrap();
        Phantom::axial().write(folder.path());
        let coronal = tempfile::tempdir().unwrap();
        for (k, path) in Phantom::axial().write(coronal.path()).into_iter().enumerate() {
            deform(&path, |o| {
                o.put_str(tags::IMAGE_ORIENTATION_PATIENT, VR::DS, "1\\0\\0\\0\\0\\-1");
                o.put_str(tags::IMAGE_POSITION_PATIENT, VR::DS, format!("0\\{}\\0", 3 * k));
            });
            std::fs::rename(&path, folder.path().join(format!("coronal {k}"))).unwrap();
        }
        let text = read_series(folder.path(), &SeriesOptions::new()).unwrap_err().to_string();
        assert!(
            text.contains("another orientation") && text.contains("Plane axial (5 images), coronal"),
            "{text}"
        );
        for (plane, spacing) in [("axial", 2.5), ("coronal", 3.0)] {
            let options = SeriesOptions::new().select("Plane", plane);
            let series = read_series(folder.path(), &options).unwrap();
            assert_eq!(series.volume.grid().spacing()[2], spacing);
        }
    }

    #[test]
    fn rounded_positions_name_the_tolerance_that_accepts_them() {
        let folder = tempfile::tempdir().unwrap();
        for (k, path) in Phantom::axial().write(folder.path()).into_iter().enumerate() {
            let z = (k as f64 * 0.625 * 10.0).round() / 10.0;
            deform(&path, |o| {
                o.put_str(tags::IMAGE_POSITION_PATIENT, VR::DS, format!("0\\0\\{z}"));
            });
        }
        let text = read_series(folder.path(), &SeriesOptions::new()).unwrap_err().to_string();
        assert!(text.contains("spacing_tolerance 0.17 accepts"), "{text}");
        let options = SeriesOptions::new().spacing_tolerance(0.17);
        let spacing = read_series(folder.path(), &options).unwrap().volume.grid().spacing()[2];
        assert!((spacing - 0.625).abs() < 1e-9, "{spacing}");
    }
}
