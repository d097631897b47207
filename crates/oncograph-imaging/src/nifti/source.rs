//! The bytes of a file or of a pair of files, compressed or not.

use super::voxels::bytes_of;
use crate::error::{Error, Result};
use flate2::bufread::GzDecoder;
use libdeflater::Decompressor;
use nifti::NiftiHeader;
use oncograph_core::AtFile;
use std::fs::File;
use std::io::{BufRead, BufReader, Cursor, Read};
use std::path::{Path, PathBuf};

/// What a file holds, unpacked.
pub(super) struct Source {
    pub bytes: Box<dyn Read>,
    /// How many bytes these are, where that is known without reading them.
    pub length: Option<u64>,
}

/// Opens a file; gzip is recognised by its first bytes, not by the name.
pub(super) fn open(path: &Path) -> Result<Source> {
    let file = File::open(path).map_err(|e| Error::io("read", path, e))?;
    let mut file = BufReader::with_capacity(1 << 18, file);
    let start = file.fill_buf().map_err(|e| Error::io("read", path, e))?;
    let instead = if start.is_empty() { Some("an empty file") } else { oncograph_core::stand_in(start) };
    if let Some(what) = instead {
        return Err(AtFile::new(path, what).into());
    }
    if start.starts_with(&[0x1f, 0x8b]) {
        return gunzip(file).map_err(|e| Error::io("read", path, e));
    }
    let length = file.get_ref().metadata().ok().map(|file| file.len());
    Ok(Source { bytes: Box::new(file), length })
}

/// The file that holds the header: of a pair the `.hdr`, whichever of the two is given.
pub(super) fn header_file(path: &Path) -> Result<PathBuf> {
    match partner(path, "img", "hdr") {
        None => Ok(path.to_owned()),
        Some(Ok(header)) => Ok(header),
        Some(Err(name)) => {
            let detail =
                format!("the .img of a pair, but there is no {name} beside it, which holds the header");
            Err(AtFile::new(path, detail).into())
        }
    }
}

/// The file with the voxels that belong to the header of a pair.
pub(super) fn image_file(header: &Path) -> Result<PathBuf> {
    match partner(header, "hdr", "img") {
        Some(Ok(image)) => Ok(image),
        found => {
            let name = found.and_then(std::result::Result::err);
            let name = name.unwrap_or_else(|| header.with_extension("img").display().to_string());
            let detail =
                format!("the header of a pair, but there is no {name} beside it, which holds the voxels");
            Err(AtFile::new(header, detail).into())
        }
    }
}

/// For a name that ends in `own` (or `own.gz`), the file of the same name that ends in `other` (or `other.gz`), in small or in
/// capital letters; `Err` is the name that is missing, `None` a name that ends otherwise.
fn partner(path: &Path, own: &str, other: &str) -> Option<std::result::Result<PathBuf, String>> {
    let name = path.file_name()?.to_str()?;
    let lower = name.to_ascii_lowercase();
    let cut = [format!(".{own}"), format!(".{own}.gz")]
        .iter()
        .find_map(|end| lower.ends_with(end.as_str()).then(|| name.len() - end.len()))?;
    let stem = name.get(..cut)?;
    let names = [format!("{stem}.{other}"), format!("{stem}.{other}.gz")];
    let spelled = names.iter().flat_map(|n| [n.clone(), format!("{stem}{}", n[cut..].to_ascii_uppercase())]);
    let found = spelled.map(|name| path.with_file_name(name)).find(|p| p.is_file());
    Some(found.ok_or_else(|| names[0].clone()))
}

/// The most that is decompressed at once; a longer file is decompressed as it is read.
const AT_ONCE: usize = 1 << 30;

/// What a gzip file holds: all at once where that is sure to be the whole of it: libdeflate is faster, and takes nothing less.
fn gunzip(mut file: BufReader<File>) -> std::io::Result<Source> {
    if file.get_ref().metadata()?.len() > AT_ONCE as u64 {
        return Ok(Source { bytes: Box::new(Members::new(file)), length: None });
    }
    let mut bytes = Vec::with_capacity(file.get_ref().metadata()?.len() as usize + 1);
    file.read_to_end(&mut bytes)?;
    Ok(match inflated(&bytes).filter(|all| holds_its_voxels(all)) {
        Some(all) => Source { length: Some(all.len() as u64), bytes: Box::new(Cursor::new(all)) },
        // Several members, or damaged data, whose place the other decoder reports.
        None => Source { bytes: Box::new(Members::new(Cursor::new(bytes))), length: None },
    })
}

/// What a gzip file of a single member holds.
fn inflated(bytes: &[u8]) -> Option<Vec<u8>> {
    let size = u32::from_le_bytes(*bytes.last_chunk()?) as usize;
    // Deflate shrinks by 1032 at most: a damaged size must not reserve more memory than the file can fill.
    if size > AT_ONCE || size / 1032 > bytes.len() {
        return None;
    }
    let mut all = vec![0; size];
    let written = Decompressor::new().gzip_decompress(bytes, &mut all).ok()?;
    (written == size).then_some(all)
}

/// Whether the voxels that the header promises are there: a second member of the same size would be passed over.
fn holds_its_voxels(bytes: &[u8]) -> bool {
    let promised = || {
        let header = NiftiHeader::from_reader(bytes.get(..348)?).ok()?;
        let width = bytes_of(header.data_type().ok()?)?;
        let voxels = header.dim().ok()?.iter().try_fold(1_usize, |n, d| n.checked_mul(usize::from(*d)))?;
        voxels.checked_mul(width)?.checked_add(header.vox_offset.max(0.0) as usize)
    };
    promised().is_some_and(|n| n <= bytes.len())
}

/// The members of a gzip file one after the other, with zeros behind them, with which some writers and tapes fill up a block.
struct Members<R: BufRead> {
    /// `None` at the end.
    member: Option<GzDecoder<R>>,
}

impl<R: BufRead> Members<R> {
    fn new(source: R) -> Self {
        Self { member: Some(GzDecoder::new(source)) }
    }
}

impl<R: BufRead> Read for Members<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        while let Some(member) = &mut self.member {
            let n = member.read(buffer)?;
            if n > 0 || buffer.is_empty() {
                return Ok(n);
            }
            let Some(mut source) = self.member.take().map(GzDecoder::into_inner) else { break };
            loop {
                let rest = source.fill_buf()?;
                let zeros = rest.iter().take_while(|b| **b == 0).count();
                match rest.get(zeros) {
                    None if rest.is_empty() => break,
                    None => source.consume(zeros),
                    Some(0x1f) => {
                        source.consume(zeros);
                        self.member = Some(GzDecoder::new(source));
                        break;
                    }
                    Some(_) => {
                        let detail = "bytes behind the compressed data that are neither gzip nor zero";
                        return Err(std::io::Error::new(std::io::ErrorKind::InvalidData, detail));
                    }
                }
            }
        }
        Ok(0)
    }
}
