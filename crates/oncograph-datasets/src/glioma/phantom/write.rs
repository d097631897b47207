use super::{GliomaPhantom, GliomaPhantomConfig};
use crate::error::{Error, Result};
use oncograph_core::{Seed, write_file};
use oncograph_imaging::nifti::{self, WriteOptions};
use rayon::prelude::*;
use std::path::Path;

/// The file that is written last, so that a folder without it is not whole.
const MARK: &str = "PHANTOM.txt";
/// The file with the configuration.
const CONFIG: &str = "phantom.json";
/// Bytes that are mostly noise gain little from more.
const COMPRESSION: u32 = 1;

const NOTICE: &str = "Every image, covariate and label in this folder was generated. Nothing in it was measured on a person.\n";

/// Generates a cohort and writes it in the layout of BraTS 2020, as [`super::super::GliomaFiles`] reads it: a folder for each
/// patient with four sequences, the segmentation and, for the unlabelled, the fractional anisotropy (32-bit floats, so that
/// every value comes back as it was drawn), `idh.csv` with IDH status, age and sex, `phantom.json` with the configuration, and
/// `PHANTOM.txt`. A folder that holds this cohort already is left as it is.
///
/// # Errors
/// As [`GliomaPhantom::new`]; [`Error::AtFile`] for a folder that holds another cohort or cannot be written.
///
/// # Example
/// ```
/// use oncograph_datasets::glioma::{GliomaFiles, GliomaPhantomConfig, GliomaTable, write_glioma_phantom};
///
/// # let folder = tempfile::tempdir()?;
/// let mut config = GliomaPhantomConfig::new(3, 1);
/// (config.unlabelled, config.shape, config.regions, config.tracts) = (1, [16, 18, 16], 10, 12);
/// write_glioma_phantom(folder.path(), &config)?;
/// assert_eq!(GliomaFiles::find_all(folder.path(), None)?.scans.len(), 4);
/// assert_eq!(GliomaTable::read(folder.path().join("idh.csv"))?.with_idh().patients.len(), 3);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn write_glioma_phantom(folder: impl AsRef<Path>, config: &GliomaPhantomConfig) -> Result<()> {
    GliomaPhantom::new(config.clone())?.write(folder, |_| ())
}

impl GliomaPhantom {
    /// Writes the cohort as [`write_glioma_phantom`] does; `done` is called after each patient with how many there are.
    ///
    /// # Errors
    /// As [`write_glioma_phantom`].
    pub fn write(&self, folder: impl AsRef<Path>, done: impl Fn(usize) + Sync) -> Result<()> {
        let (folder, config) = (folder.as_ref(), self.config());
        let json =
            serde_json::to_vec_pretty(config).map_err(|e| Error::at(&folder.join(CONFIG), e.to_string()))?;
        if folder.join(MARK).is_file() {
            return match std::fs::read(folder.join(CONFIG)).is_ok_and(|there| there == json) {
                true => Ok(()),
                false => Err(Error::at(folder, "a phantom of another configuration is here")),
            };
        }
        std::fs::create_dir_all(folder).map_err(|e| Error::io("create", folder, e))?;
        let seed = Seed::new(config.seed).stream("phantom glioma");
        let all: Vec<usize> = (0..config.unlabelled + config.labelled).collect();
        let rows = all.par_iter().map(|&i| {
            let row = self.write_patient(folder, i, seed.at(i as u64))?;
            done(i + 1);
            Ok(row)
        });
        let rows = rows.collect::<Result<Vec<String>>>()?;
        // The columns of the metadata of UCSF-PDGM.
        let table = format!("ID,Sex,Age at MRI,IDH\n{}", rows.concat());
        write_file(folder.join("idh.csv"), table.as_bytes())?;
        write_file(folder.join(CONFIG), &json)?;
        Ok(write_file(folder.join(MARK), NOTICE.as_bytes())?)
    }

    /// Writes one patient's images and returns the row of the table.
    fn write_patient(&self, folder: &Path, index: usize, seed: Seed) -> Result<String> {
        let patient = self.patient(index, seed)?;
        let folder = folder.join(&patient.id);
        std::fs::create_dir_all(&folder).map_err(|e| Error::io("create", &folder, e))?;
        let options = WriteOptions::new().compression(COMPRESSION);
        let file = |ending: &str| folder.join(format!("{}_{ending}.nii.gz", patient.id));
        for (volume, ending) in patient.volumes.iter().zip(["t1", "t1ce", "t2", "flair"]) {
            nifti::write_with(file(ending), volume, &options)?;
        }
        if let Some(fa) = &patient.anisotropy {
            nifti::write_with(file("fa"), fa, &options)?;
        }
        // The whole tumour is its enhancing part: label 4.
        nifti::write_with(file("seg"), &patient.tumour.map(|v| 4 * v), &options)?;
        let idh = match patient.idh {
            Some(true) => "mutated (NOS)",
            Some(false) => "wildtype",
            None => "",
        };
        let sex = if patient.male { "M" } else { "F" };
        Ok(format!("{},{sex},{},{idh}\n", patient.id, patient.age))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::glioma::{GliomaFiles, GliomaTable, LabelConvention, TumourLabel};

    fn small() -> GliomaPhantomConfig {
        let mut config = GliomaPhantomConfig::new(3, 5);
        (config.unlabelled, config.shape, config.regions, config.tracts) = (1, [16, 18, 16], 10, 12);
        config
    }

    #[test]
    fn patients_come_back_bit_for_bit() {
        let folder = tempfile::tempdir().unwrap();
        let phantom = GliomaPhantom::new(small()).unwrap();
        phantom.write(folder.path(), |_| ()).unwrap();
        let table = GliomaTable::read(folder.path().join("idh.csv")).unwrap();
        let bits = |v: &[f32]| v.iter().map(|x| x.to_bits()).collect::<Vec<_>>();
        for (i, files) in GliomaFiles::find_all(folder.path(), None).unwrap().scans.iter().enumerate() {
            let seed = Seed::new(5).stream("phantom glioma").at(i as u64);
            let drawn = phantom.patient(i, seed).unwrap();
            let read = files.read(LabelConvention::Brats2020, TumourLabel::Core).unwrap();
            assert_eq!(read.id, drawn.id);
            for (a, b) in read.sequences.iter().zip(&drawn.volumes) {
                assert_eq!(bits(a.as_slice()), bits(b.as_slice()));
                assert_eq!(a.grid(), &phantom.atlas().grid);
            }
            assert_eq!(read.tumour.as_slice(), drawn.tumour.as_slice());
            assert_eq!(
                read.anisotropy.map(|v| bits(v.as_slice())),
                drawn.anisotropy.map(|v| bits(v.as_slice()))
            );
            let row = &table.patients[i];
            assert_eq!((row.idh, row.age, row.male), (drawn.idh, Some(drawn.age), Some(drawn.male)));
            assert_eq!((row.idh.is_none(), read.flags.is_empty()), (i == 0, true));
        }
    }

    #[test]
    fn another_cohort_is_not_written_over() {
        let folder = tempfile::tempdir().unwrap();
        write_glioma_phantom(folder.path(), &small()).unwrap();
        write_glioma_phantom(folder.path(), &small()).unwrap();
        let other = GliomaPhantomConfig { seed: 6, ..small() };
        let refused = write_glioma_phantom(folder.path(), &other).unwrap_err();
        assert!(refused.to_string().contains("another configuration"), "{refused}");
        // What was killed half-way is written again.
        std::fs::remove_file(folder.path().join(MARK)).unwrap();
        write_glioma_phantom(folder.path(), &other).unwrap();
    }
}
