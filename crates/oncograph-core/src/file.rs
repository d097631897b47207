//! Files that appear complete or not at all.

use crate::AtFile;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};

/// A file that is written under a temporary name in the same folder and gets its own name when it is whole.
///
/// Until [`WholeFile::finish`] the old file, or none, is there; a crash or a full disk leaves it so. The content is on
/// disk before the name changes and the folder after it, so that a power cut loses neither.
///
/// # Example
/// ```
/// use oncograph_core::WholeFile;
/// use std::io::Write;
///
/// let folder = tempfile::tempdir()?;
/// let path = folder.path().join("metrics.csv");
/// let mut file = WholeFile::create(&path)?;
/// writeln!(file, "model,c_index")?;
/// assert!(!path.exists());
/// file.finish()?;
/// assert_eq!(std::fs::read_to_string(&path)?, "model,c_index\n");
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Debug)]
pub struct WholeFile {
    path: PathBuf,
    writer: BufWriter<tempfile::NamedTempFile>,
}

impl WholeFile {
    /// Opens a temporary file beside `path`.
    ///
    /// # Errors
    /// [`AtFile`] with `path`, if its folder is not there or cannot be written.
    pub fn create(path: impl AsRef<Path>) -> Result<Self, AtFile> {
        let path = path.as_ref();
        let mut builder = tempfile::Builder::new();
        builder.prefix(".writing-");
        // Temporary files are private by default; the result should obey the user's umask like any other file.
        #[cfg(unix)]
        {
            use std::os::unix::fs::PermissionsExt;
            builder.permissions(std::fs::Permissions::from_mode(0o666));
        }
        let file = builder.tempfile_in(folder_of(path)).map_err(|e| at(path, e))?;
        Ok(WholeFile { path: path.to_owned(), writer: BufWriter::with_capacity(1 << 20, file) })
    }

    /// Gives the file its name.
    ///
    /// # Errors
    /// [`AtFile`] with the path; the old file is left as it was.
    pub fn finish(self) -> Result<(), AtFile> {
        let WholeFile { path, writer } = self;
        let file = writer.into_inner().map_err(|e| at(&path, e.into_error()))?;
        file.as_file().sync_all().map_err(|e| at(&path, e))?;
        file.persist(&path).map_err(|e| at(&path, e.error))?;
        sync_folder(folder_of(&path)).map_err(|e| at(&path, e))
    }
}

impl Write for WholeFile {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.writer.write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.writer.flush()
    }
}

fn at(path: &Path, error: std::io::Error) -> AtFile {
    AtFile::new(path, error).during("write")
}

fn folder_of(path: &Path) -> &Path {
    path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new("."))
}

/// A rename is on disk when its folder is. Some file systems cannot sync a folder and return an error, which is no failure.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> std::io::Result<()> {
    match File::open(folder)?.sync_all() {
        Err(e) if matches!(e.kind(), std::io::ErrorKind::InvalidInput | std::io::ErrorKind::Unsupported) => {
            Ok(())
        }
        other => other,
    }
}

#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> std::io::Result<()> {
    Ok(())
}

/// Writes `bytes` to `path`, whole or not at all.
///
/// # Errors
/// [`AtFile`] with the path.
pub fn write_file(path: impl AsRef<Path>, bytes: &[u8]) -> Result<(), AtFile> {
    write_file_with(path, |file| file.write_all(bytes))
}

/// Writes what `fill` writes to `path`, whole or not at all.
///
/// # Errors
/// [`AtFile`] with the path, also for an error of `fill`.
pub fn write_file_with(
    path: impl AsRef<Path>,
    fill: impl FnOnce(&mut WholeFile) -> std::io::Result<()>,
) -> Result<(), AtFile> {
    let path = path.as_ref();
    let mut file = WholeFile::create(path)?;
    fill(&mut file).map_err(|e| at(path, e))?;
    file.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failed_write_leaves_the_old_file_and_nothing_else() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("a.bin");
        write_file(&path, b"old").unwrap();
        let failed = write_file_with(&path, |w| {
            w.write_all(b"half")?;
            Err(std::io::Error::other("disk full"))
        });
        let text = failed.unwrap_err().to_string();
        assert!(text.starts_with("write ") && text.contains("a.bin") && text.contains("disk full"), "{text}");
        drop(WholeFile::create(&path).unwrap());
        assert_eq!(std::fs::read(&path).unwrap(), b"old");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 1);
    }

    #[test]
    fn the_error_names_the_path() {
        let folder = tempfile::tempdir().unwrap();
        let error = write_file(folder.path().join("absent").join("a.html"), b"new").unwrap_err();
        assert!(error.to_string().contains("a.html") && error.is_not_found(), "{error}");
    }

    #[test]
    #[cfg(unix)]
    fn a_written_file_can_be_read_as_the_umask_allows() {
        use std::os::unix::fs::PermissionsExt;
        let folder = tempfile::tempdir().unwrap();
        let (ours, plain) = (folder.path().join("ours"), folder.path().join("plain"));
        write_file(&ours, b"1").unwrap();
        std::fs::write(&plain, b"1").unwrap();
        let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
        assert_eq!(mode(&ours), mode(&plain));
    }
}
