use crate::Result;
use oncograph_core::{AtFile, write_file};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::path::{Path, PathBuf};

/// The folder of one run: configuration, metrics, predictions, checkpoints and the report.
///
/// Every file is written whole or not at all, so that a reader never sees half of one.
///
/// # Example
///
/// ```
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use oncograph_train::RunDir;
///
/// let root = tempfile::tempdir()?;
/// let run = RunDir::create(root.path())?;
/// let first: u32 = run.once("fold-0.json", || Ok(7))?;
/// let again: u32 = run.once("fold-0.json", || unreachable!("it is on disk"))?;
/// assert_eq!((first, again), (7, 7));
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct RunDir {
    path: PathBuf,
}

impl RunDir {
    /// A new folder in `root`, named after the time in UTC; `-2`, `-3` ... where several start in one second.
    ///
    /// # Errors
    /// [`crate::Error::AtFile`] with the folder that could not be made.
    pub fn create(root: &Path) -> Result<Self> {
        std::fs::create_dir_all(root).map_err(|e| AtFile::new(root, e))?;
        let stamp = jiff::Timestamp::now().strftime("%Y-%m-%dT%H-%M-%SZ").to_string();
        for attempt in 1.. {
            let name = if attempt == 1 { stamp.clone() } else { format!("{stamp}-{attempt}") };
            let path = root.join(name);
            match std::fs::create_dir(&path) {
                Ok(()) => return Ok(RunDir { path }),
                Err(e) if e.kind() == std::io::ErrorKind::AlreadyExists => {}
                Err(e) => return Err(AtFile::new(path, e).into()),
            }
        }
        unreachable!("an endless range ends in a return")
    }

    /// A run that is there already.
    ///
    /// # Errors
    /// [`crate::Error::AtFile`] if it is not a folder.
    pub fn open(path: &Path) -> Result<Self> {
        let io = |e: std::io::Error| AtFile::new(path, e);
        if !std::fs::metadata(path).map_err(io)?.is_dir() {
            return Err(io(std::io::ErrorKind::NotADirectory.into()).into());
        }
        Ok(RunDir { path: path.into() })
    }

    /// The newest run in `root`, by name, that has the file or folder `with`, if there is one: a run that failed before it wrote
    /// that does not stand in the way of an older one.
    ///
    /// # Errors
    /// [`crate::Error::AtFile`] if `root` is there but cannot be listed.
    pub fn latest_with(root: &Path, with: &str) -> Result<Option<Self>> {
        if !root.exists() {
            return Ok(None);
        }
        let io = |e: std::io::Error| AtFile::new(root, e);
        let mut newest = None;
        for entry in std::fs::read_dir(root).map_err(io)? {
            let path = entry.map_err(io)?.path();
            if path.join(with).exists() && newest.as_ref().is_none_or(|n| *n < path) {
                newest = Some(path);
            }
        }
        Ok(newest.map(|path| RunDir { path }))
    }

    /// The folder.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A file in the folder.
    pub fn file(&self, name: &str) -> PathBuf {
        self.path.join(name)
    }

    /// Makes a folder inside the run's and returns it.
    ///
    /// # Errors
    /// [`crate::Error::AtFile`] with the folder.
    pub fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.path.join(name);
        std::fs::create_dir_all(&path).map_err(|e| AtFile::new(&path, e))?;
        Ok(path)
    }

    /// Writes a file whole or not at all.
    ///
    /// # Errors
    /// [`crate::Error::AtFile`] with the file.
    pub fn write(&self, name: &str, contents: &[u8]) -> Result<()> {
        write_file(self.file(name), contents)?;
        Ok(())
    }

    /// Writes a value as JSON.
    ///
    /// # Errors
    /// [`crate::Error::AtFile`] with the file, also for a value that JSON cannot hold.
    pub fn write_json(&self, name: &str, value: &impl Serialize) -> Result<()> {
        let mut json = serde_json::to_vec_pretty(value).map_err(|e| AtFile::new(self.file(name), e))?;
        json.push(b'\n');
        self.write(name, &json)
    }

    /// Reads what [`RunDir::write_json`] wrote; `None` if there is no such file.
    ///
    /// # Errors
    /// [`crate::Error::AtFile`] with the file.
    pub fn read_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>> {
        let path = self.file(name);
        let bytes = match std::fs::read(&path) {
            Ok(bytes) => bytes,
            Err(e) if e.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(e) => return Err(AtFile::new(path, e).into()),
        };
        Ok(Some(serde_json::from_slice(&bytes).map_err(|e| AtFile::new(path, e))?))
    }

    /// The value in `name` if an earlier, interrupted run left it there, else the value that `compute` gives, which
    /// is then written. The value that is returned has been through JSON either way.
    ///
    /// # Errors
    /// As [`RunDir::read_json`], [`RunDir::write_json`] and `compute`.
    pub fn once<T: Serialize + DeserializeOwned>(
        &self,
        name: &str,
        compute: impl FnOnce() -> Result<T>,
    ) -> Result<T> {
        if let Some(value) = self.read_json(name)? {
            return Ok(value);
        }
        self.write_json(name, &compute()?)?;
        let gone = || AtFile::new(self.file(name), "deleted while it was in use");
        Ok(self.read_json(name)?.ok_or_else(gone)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Error;

    #[test]
    fn runs_of_one_second_do_not_collide_and_the_last_is_found() {
        let root = tempfile::tempdir().unwrap();
        let latest = |root: &Path| RunDir::latest_with(root, "a.json").unwrap();
        assert!(latest(&root.path().join("none")).is_none());
        let [first, second, failed] = [(); 3].map(|()| RunDir::create(root.path()).unwrap());
        assert_ne!(first.path(), second.path());
        assert!(latest(root.path()).is_none());
        first.write("a.json", b"1").unwrap();
        second.write("a.json", b"1").unwrap();
        assert!(failed.path() > second.path());
        assert_eq!(latest(root.path()).unwrap().path(), second.path());
    }

    #[test]
    fn a_failed_write_leaves_the_old_file() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(root.path()).unwrap();
        run.write("a.txt", b"old").unwrap();
        std::fs::create_dir(run.file("folder")).unwrap();
        let error = run.write("folder", b"new").unwrap_err().to_string();
        assert!(error.contains("folder"), "{error}");
        assert_eq!(std::fs::read(run.file("a.txt")).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(run.path()).unwrap().count(), 2, "no temporary file is left");
    }

    #[test]
    fn floats_keep_their_bits_through_json() {
        let root = tempfile::tempdir().unwrap();
        let run = RunDir::create(root.path()).unwrap();
        let values: Vec<f64> = vec![0.1 + 0.2, f64::MIN_POSITIVE, 1.0 / 3.0, -1e300];
        assert_eq!(run.once("v.json", || Ok(values.clone())).unwrap(), values);
        std::fs::write(run.file("w.json"), b"{").unwrap();
        assert!(matches!(run.read_json::<f64>("w.json"), Err(Error::AtFile(e)) if !e.is_not_found()));
    }
}
