use crate::{Error, Result};
use oncograph_core::AtFile;
use oncograph_datasets::crlm::{CrlmCohort, PhantomConfig, PhantomSignals, write_phantom};
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};

/// Where the images and the clinical table of a cohort come from.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum CrlmSource {
    /// A folder of the user's.
    Folder {
        /// The folder of the images.
        root: PathBuf,
        /// The clinical table, where it is not in that folder.
        clinical: Option<PathBuf>,
    },
    /// A generated cohort.
    Phantom(PhantomConfig),
}

impl CrlmSource {
    /// A generated cohort that shows within minutes what a system can do: scans of 128 x 128 voxels in slices of 2.5 to
    /// 7.5 mm, and outcomes that depend strongly on what the images show.
    pub fn phantom(patients: usize, seed: u64) -> Self {
        let config = PhantomConfig::new(patients, seed).matrix(128).slice_spacing(2.5, 7.5).strength(2.0);
        CrlmSource::Phantom(config)
    }

    /// Sets what the outcomes of a generated cohort depend on; a folder stays as it is.
    pub fn signals(mut self, signals: PhantomSignals) -> Self {
        if let CrlmSource::Phantom(config) = &mut self {
            config.signals = signals;
        }
        self
    }

    /// Opens the folder, or generates the phantom in `folder` by `threads` threads unless it is there already;
    /// `on_patient` is given how many generated patients are done.
    ///
    /// # Errors
    /// As [`CrlmCohort::open`] and [`write_phantom`].
    pub fn open(
        &self,
        folder: &Path,
        threads: usize,
        on_patient: impl Fn(usize) + Sync,
    ) -> Result<CrlmCohort> {
        match self {
            CrlmSource::Folder { root, clinical: Some(table) } => Ok(CrlmCohort::open_with(root, table)?),
            CrlmSource::Folder { root, clinical: None } => Ok(CrlmCohort::open(root)?),
            CrlmSource::Phantom(phantom) => {
                std::fs::create_dir_all(folder).map_err(|e| AtFile::new(folder, e).during("write"))?;
                let pool = rayon::ThreadPoolBuilder::new().num_threads(threads.max(1)).build();
                let pool = pool
                    .map_err(|e| Error::config("CrlmSource", "threads", "as many as the system gives", e))?;
                pool.install(|| write_phantom(folder, phantom, |done, _| on_patient(done)))?;
                Ok(CrlmCohort::open(folder)?)
            }
        }
    }
}
