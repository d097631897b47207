//! PyTorch checkpoints of any age, and what else lies in their place.

mod archive;
mod legacy;
mod pickle;
mod view;
mod weights;

use archive::Archive;
use candle_core::{Result, Tensor, bail};
use std::collections::HashMap;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use weights::{Weights, weights};

/// Named tensors of a file, and what a user should know of where they were.
pub(crate) struct Found {
    pub tensors: HashMap<String, Tensor>,
    pub notes: Vec<String>,
}

/// Reads a file of either format.
pub(crate) fn read(path: &Path) -> Result<Found> {
    let start = start(path)?;
    if legacy::is_legacy(&start) {
        let (object, storages) = legacy::read(&std::fs::read(path)?)?;
        let found = fitting(weights(&object)?, path)?;
        let tensor = |view: &view::View| match storages.get(&view.storage) {
            Some(storage) => view.tensor(storage),
            None => bail!("storage {} is absent", view.storage),
        };
        let tensors = found.tensors.iter().map(|(name, view)| Ok((name.clone(), tensor(view)?)));
        return Ok(Found { tensors: tensors.collect::<Result<_>>()?, notes: found.notes });
    }
    if !start.starts_with(b"PK\x03\x04") {
        bail!("neither a zip archive nor a pickle of PyTorch")
    }
    let mut archive = match Archive::open(File::open(path)?) {
        Ok(archive) => archive,
        // The directory of an archive is its end.
        Err(error) if error.to_string().to_lowercase().contains("eocd") => {
            bail!("cut off after {} bytes: the end of the archive is missing", std::fs::metadata(path)?.len())
        }
        Err(error) => return Err(error),
    };
    let found = fitting(weights(&archive.object()?)?, path)?;
    let tensors = found.tensors.iter().map(|(name, view)| Ok((name.clone(), archive.tensor(view)?)));
    Ok(Found { tensors: tensors.collect::<Result<_>>()?, notes: found.notes })
}

/// How many times their file tensors may be that share storages or repeat rows.
const SHARED: u64 = 4;
/// Bytes of tensors that need no such reason.
const FEW: u64 = 64 << 20;

/// The tensors, where they can come out of a file of this size: one number, repeated, may be called a tensor of any size.
fn fitting(found: Weights, path: &Path) -> Result<Weights> {
    let (held, mut all) = (std::fs::metadata(path)?.len(), 0_u64);
    for (name, view) in &found.tensors {
        all = all.saturating_add(view.bytes() as u64);
        if all > SHARED.saturating_mul(held).saturating_add(FEW) {
            bail!("{name} of {:?} numbers: tensors of {all} bytes in a file of {held}", view.shape)
        }
    }
    Ok(found)
}

/// The first bytes of a file.
fn start(path: &Path) -> Result<Vec<u8>> {
    let mut bytes = vec![];
    File::open(path)?.take(512).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// What a file is that is certainly no checkpoint.
pub(crate) fn other_than_weights(path: &Path) -> Result<Option<&'static str>> {
    let start = start(path)?;
    Ok(if start.is_empty() { Some("an empty file") } else { oncograph_core::stand_in(&start) })
}

/// Whether a file is of the safetensors format, whatever it is called: the length of a header, and the header.
pub(crate) fn is_safetensors(path: &Path) -> Result<bool> {
    Ok(start(path)?.get(8) == Some(&b'{'))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;
    use zip::ZipWriter;
    use zip::write::SimpleFileOptions;

    /// `{"state_dict": {"model.a.weight": t, "model.a.bias": u}, "epoch": 3, ...}` with `t` \[3, 2\] one and 3 numbers apart, and `u`
    /// \[2\] the last two of six, as pickles of the protocols 2 and 4 by CPython 3.11.
    const PICKLES: [&[u8]; 2] = [
        b"\x80\x02}q\x00(X\x0a\x00\x00\x00state_dictq\x01ccollections\x0aOrderedDict\x0aq\x02)Rq\x03(X\x0e\x00\x00\x00model.a.weightq\x04ctorch._utils\x0a_rebuild_tensor_v2\x0aq\x05((X\x07\x00\x00\x00storageq\x06ctorch\x0aFloatStorage\x0aq\x07X\x01\x00\x00\x000q\x08X\x03\x00\x00\x00cpuq\x09K\x06tq\x0aQK\x00K\x03K\x02\x86q\x0bK\x01K\x03\x86q\x0c\x89h\x02)Rq\x0dtq\x0eRq\x0fX\x0c\x00\x00\x00model.a.biasq\x10h\x05((h\x06h\x07h\x08h\x09K\x06tq\x11QK\x04K\x02\x85q\x12K\x01\x85q\x13\x89h\x02)Rq\x14tq\x15Rq\x16uX\x05\x00\x00\x00epochq\x17K\x03X\x02\x00\x00\x00lrq\x18]q\x19(G?\xb9\x99\x99\x99\x99\x99\x9a\x88NeX\x03\x00\x00\x00rngq\x1ac_codecs\x0aencode\x0aq\x1bX\x02\x00\x00\x00\x00\x01q\x1cX\x06\x00\x00\x00latin1q\x1d\x86q\x1eRq\x1fu.",
        b"\x80\x04\x95\x15\x01\x00\x00\x00\x00\x00\x00}\x94(\x8c\x0astate_dict\x94\x8c\x0bcollections\x94\x8c\x0bOrderedDict\x94\x93\x94)R\x94(\x8c\x0emodel.a.weight\x94\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\x93\x94((\x8c\x07storage\x94\x8c\x05torch\x94\x8c\x0cFloatStorage\x94\x93\x94\x8c\x010\x94\x8c\x03cpu\x94K\x06t\x94QK\x00K\x03K\x02\x86\x94K\x01K\x03\x86\x94\x89h\x04)R\x94t\x94R\x94\x8c\x0cmodel.a.bias\x94h\x09((h\x0ah\x0dh\x0eh\x0fK\x06t\x94QK\x04K\x02\x85\x94K\x01\x85\x94\x89h\x04)R\x94t\x94R\x94u\x8c\x05epoch\x94K\x03\x8c\x02lr\x94]\x94(G?\xb9\x99\x99\x99\x99\x99\x9a\x88Ne\x8c\x03rng\x94C\x02\x00\x01\x94u.",
    ];

    fn archive(path: &Path, pickle: &[u8], others: &[(&str, &[u8])]) {
        let mut zip = ZipWriter::new(File::create(path).unwrap());
        let values: Vec<u8> = (0..6u8).flat_map(|v| f32::from(v).to_le_bytes()).collect();
        for (name, bytes) in [("data.pkl", pickle), ("data/0", &values)].iter().chain(others) {
            zip.start_file(format!("c/{name}"), SimpleFileOptions::default()).unwrap();
            zip.write_all(bytes).unwrap();
        }
        zip.finish().unwrap();
    }

    #[test]
    fn weights_of_every_protocol_and_stride() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.pth");
        for pickle in [PICKLES[0].to_vec(), PICKLES[1].to_vec(), [&[0x80, 5], &PICKLES[1][2..]].concat()] {
            archive(&path, &pickle, &[("byteorder", b"little")]);
            let found = read(&path).unwrap();
            assert_eq!(found.tensors.len(), 2);
            let values = |name: &str| found.tensors[name].flatten_all().unwrap().to_vec1::<f32>().unwrap();
            assert_eq!(values("model.a.weight"), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
            assert_eq!(values("model.a.bias"), [4.0, 5.0]);
            assert_eq!(found.notes, Vec::<String>::new());
        }
    }

    #[test]
    fn what_is_no_checkpoint_is_told_apart() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("c.pth");
        let error = || crate::Checkpoint::read(&path).unwrap_err().to_string();
        archive(&path, PICKLES[0], &[]);
        let whole = std::fs::read(&path).unwrap();
        for (bytes, says) in [
            (&b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 9\n"[..], "Git LFS pointer"),
            (b"<!DOCTYPE html><html>", "a web page"),
            (b"", "an empty file"),
            (b"not a checkpoint", "neither a zip archive nor a pickle"),
            (&whole[..whole.len() / 2], "cut off after"),
        ] {
            std::fs::write(&path, bytes).unwrap();
            let error = error();
            assert!(
                error.starts_with(&path.display().to_string()) && error.contains(says),
                "{says}: {error}"
            );
        }
        archive(&path, PICKLES[0], &[("byteorder", b"big")]);
        assert!(error().contains("highest byte first"));
        archive(&path, PICKLES[0], &[("code/__torch__.py", b"")]);
        assert!(error().contains("TorchScript"));
        archive(&path, &PICKLES[0][..40], &[]);
        assert!(!error().is_empty());
    }
}
