use crate::{Error, Result};
use oncograph_core::AtFile;
use oncograph_train::RunDir;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// The file of a run that holds every setting of it.
const CONFIG: &str = "config.json";

/// The run that a program goes on with, or a new one: its settings, its folder and whether it is new.
///
/// `resume` is `--resume`: `Some(None)` means the latest run below `root`. A new run writes its settings first.
///
/// # Errors
/// If there is no run to resume or it has no settings; an error of `settings` or of writing.
pub fn open_run<C: Serialize + DeserializeOwned, E: From<Error>>(
    root: &Path,
    resume: Option<&Option<PathBuf>>,
    settings: impl FnOnce() -> std::result::Result<C, E>,
) -> std::result::Result<(C, RunDir, bool), E> {
    let Some(which) = resume else {
        let config = settings()?;
        let run = RunDir::create(root).map_err(Error::from)?;
        run.write_json(CONFIG, &config).map_err(Error::from)?;
        return Ok((config, run, true));
    };
    let (config, run) = resumed(root, which.as_deref())?;
    Ok((config, run, false))
}

fn resumed<C: DeserializeOwned>(root: &Path, which: Option<&Path>) -> Result<(C, RunDir)> {
    let run = match which {
        Some(path) => RunDir::open(path)?,
        None => RunDir::latest(root)?.ok_or_else(|| AtFile::new(root, "there is no run to resume"))?,
    };
    let config = run.read_json(CONFIG)?;
    let missing = || AtFile::new(run.path(), format!("not a run, it has no {CONFIG}"));
    Ok((config.ok_or_else(missing)?, run))
}

/// Settings from the `config.json` of a run.
///
/// # Errors
/// [`AtFile`] with the path, if it cannot be read or holds something else.
pub fn read_config<C: DeserializeOwned>(path: &Path) -> Result<C> {
    let bytes = std::fs::read(path).map_err(|e| AtFile::new(path, e))?;
    Ok(serde_json::from_slice(&bytes).map_err(|e| AtFile::new(path, e))?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_is_made_found_and_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let none = open_run::<u32, Error>(root.path(), Some(&None), || Ok(1)).unwrap_err();
        assert!(none.to_string().contains("there is no run to resume"), "{none}");
        let (config, run, new) = open_run::<u32, Error>(root.path(), None, || Ok(7)).unwrap();
        assert_eq!((config, new), (7, true));
        let (again, same, new) = open_run::<u32, Error>(root.path(), Some(&None), || Ok(1)).unwrap();
        assert_eq!((again, same.path(), new), (7, run.path(), false));
        assert_eq!(read_config::<u32>(&run.file("config.json")).unwrap(), 7);
        std::fs::remove_file(run.file("config.json")).unwrap();
        let bare = open_run::<u32, Error>(root.path(), Some(&None), || Ok(1)).unwrap_err();
        assert!(bare.to_string().contains("it has no config.json"), "{bare}");
    }
}
