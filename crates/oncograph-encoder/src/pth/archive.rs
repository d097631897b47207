//! PyTorch files since version 1.6: a zip archive with a pickle and a file per storage.

use super::pickle;
use super::view::{View, dtype};
use candle_core::pickle::Object;
use candle_core::{Device, Error, Result, Tensor, bail};
use std::collections::HashMap;
use std::fs::File;
use std::io::{BufReader, Read};
use zip::ZipArchive;

pub(super) struct Archive {
    zip: ZipArchive<BufReader<File>>,
    /// The folder within, which is called after the file that was saved.
    folder: String,
    /// Whether it says which byte of a number comes first.
    has_order: bool,
    storages: HashMap<String, Tensor>,
}

impl Archive {
    pub(super) fn open(file: File) -> Result<Self> {
        let zip = ZipArchive::new(BufReader::new(file)).map_err(Error::wrap)?;
        let names: Vec<String> = zip.file_names().filter_map(|name| Some(name.ok()?.into_owned())).collect();
        let folder = names.iter().find_map(|name| name.strip_suffix("data.pkl")).map(str::to_owned);
        let Some(folder) = folder else { bail!("a zip archive without data.pkl: no PyTorch file") };
        if names.iter().any(|name| name.starts_with(&format!("{folder}code/"))) {
            bail!("a TorchScript module and no weights by name: save its `state_dict()`")
        }
        let has_order = names.contains(&format!("{folder}byteorder"));
        Ok(Archive { zip, folder, has_order, storages: HashMap::new() })
    }

    fn read(&mut self, name: &str) -> Result<Vec<u8>> {
        let mut entry = self.zip.by_name(&format!("{}{name}", self.folder)).map_err(Error::wrap)?;
        // The size that the archive claims is not to be trusted with memory.
        let mut bytes = vec![];
        entry.read_to_end(&mut bytes)?;
        Ok(bytes)
    }

    /// What the file describes.
    pub(super) fn object(&mut self) -> Result<Object> {
        if self.has_order {
            let order = self.read("byteorder")?;
            if order != b"little" {
                bail!("numbers with the highest byte first are not read")
            }
        }
        pickle::read(&mut self.read("data.pkl")?.as_slice())
    }

    pub(super) fn tensor(&mut self, view: &View) -> Result<Tensor> {
        if !self.storages.contains_key(&view.storage) {
            let (bytes, dtype) = (self.read(&format!("data/{}", view.storage))?, dtype(&view.class)?);
            let count = bytes.len() / dtype.size_in_bytes();
            let whole = &bytes[..count * dtype.size_in_bytes()];
            let storage = Tensor::from_raw_buffer(whole, dtype, &[count], &Device::Cpu)?;
            self.storages.insert(view.storage.clone(), storage);
        }
        view.tensor(&self.storages[&view.storage])
    }
}
