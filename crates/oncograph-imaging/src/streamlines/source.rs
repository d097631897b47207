use crate::error::{Error, Result};
use oncograph_core::AtFile;
use std::fs::File;
use std::io::{BufRead, BufReader, Read, Seek, SeekFrom};
use std::path::Path;

/// The bytes of a file, of which it is known how many are left.
pub(super) struct Source<'p> {
    pub path: &'p Path,
    file: BufReader<File>,
    /// Bytes of the file.
    pub length: u64,
    /// Bytes that are not read yet.
    pub left: u64,
}

impl<'p> Source<'p> {
    pub fn open(path: &'p Path) -> Result<Self> {
        let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
        let length = file.metadata().map_err(|e| Error::io("read", path, e))?.len();
        Ok(Source { path, file: BufReader::with_capacity(1 << 18, file), length, left: length })
    }

    /// The first bytes, which stay unread.
    ///
    /// # Errors
    /// A file that is something else altogether.
    pub fn start(&mut self) -> Result<&[u8]> {
        let start = self.file.fill_buf().map_err(|e| Error::io("read", self.path, e))?;
        let instead = match start {
            [] => Some("an empty file"),
            [0x1f, 0x8b, ..] => Some("packed by gzip: unpack it"),
            _ => oncograph_core::stand_in(start),
        };
        match instead {
            Some(what) => Err(AtFile::new(self.path, what).into()),
            None => Ok(start),
        }
    }

    /// The next bytes, or `None` where fewer are left.
    pub fn take<const N: usize>(&mut self) -> Result<Option<[u8; N]>> {
        let Some(left) = self.left.checked_sub(N as u64) else { return Ok(None) };
        let mut bytes = [0; N];
        self.file.read_exact(&mut bytes).map_err(|e| Error::io("read", self.path, e))?;
        self.left = left;
        Ok(Some(bytes))
    }

    /// The next line without its end, of at most `longest` bytes; `None` where none of them ends it.
    pub fn line(&mut self, longest: u64) -> Result<Option<String>> {
        let mut bytes = vec![];
        let read = self.file.by_ref().take(longest).read_until(b'\n', &mut bytes);
        self.left = self.left.saturating_sub(read.map_err(|e| Error::io("read", self.path, e))? as u64);
        Ok((bytes.pop() == Some(b'\n')).then(|| String::from_utf8_lossy(&bytes).trim().to_owned()))
    }

    /// Passes over bytes, of which there must be as many.
    pub fn skip(&mut self, bytes: u64) -> Result<()> {
        let io = |e| Error::io("read", self.path, e);
        self.left = self.left.saturating_sub(bytes);
        self.file.seek_relative(bytes.try_into().unwrap_or(i64::MAX)).map_err(io)
    }

    /// Goes on at a byte of the file.
    pub fn seek(&mut self, at: u64) -> Result<()> {
        self.file.seek(SeekFrom::Start(at)).map_err(|e| Error::io("read", self.path, e))?;
        self.left = self.length.saturating_sub(at);
        Ok(())
    }
}
