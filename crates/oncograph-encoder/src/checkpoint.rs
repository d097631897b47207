use crate::{Error, Result, pth};
use candle_core::{DType, Device, Tensor};
use oncograph_core::AtFile;
use oncograph_nn::ParamStore;
use std::collections::{BTreeSet, HashMap};
use std::path::Path;

/// Prefixes that wrappers such as `DataParallel`, compilers and trainers put before every name.
const PREFIXES: [&str; 7] =
    ["module.", "_orig_mod.", "backbone.", "model.", "net.", "network.", "_forward_module."];

/// Which names [`Checkpoint::load_into`] set and which it could not.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct LoadReport {
    /// Names whose values were taken over.
    pub loaded: Vec<String>,
    /// Names that the model has and the checkpoint lacks.
    pub missing: Vec<String>,
    /// Names that the checkpoint has and the model lacks.
    pub unexpected: Vec<String>,
    /// `name: model shape, checkpoint shape`.
    pub misshaped: Vec<String>,
}

impl LoadReport {
    /// Whether every name of the model was set and none was left over.
    pub fn is_complete(&self) -> bool {
        self.missing.is_empty() && self.unexpected.is_empty() && self.misshaped.is_empty()
    }
}

/// Weights by name, read from a file.
///
/// # Example
///
/// ```
/// use candle_core::{DType, Device};
/// use oncograph_encoder::{Checkpoint, VideoResNetConfig};
/// use oncograph_nn::{ParamStore, Seed};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let dir = std::env::temp_dir().join(format!("oncograph-checkpoint-{}", std::process::id()));
/// # std::fs::create_dir_all(&dir)?;
/// # let path = dir.join("weights.safetensors");
/// let rgb = ParamStore::new(Seed::new(1));
/// VideoResNetConfig::r3d_18(3).base_width(2).build(rgb.var_builder(DType::F32, &Device::Cpu))?;
/// rgb.save(&path)?;
///
/// // A model for scans with one channel starts from the weights for three.
/// let scan = ParamStore::new(Seed::new(2));
/// VideoResNetConfig::r3d_18(1).base_width(2).build(scan.var_builder(DType::F32, &Device::Cpu))?;
/// let checkpoint = Checkpoint::read(&path)?.fold_stem("stem.0.weight", 1)?;
/// assert!(checkpoint.load_into(&scan)?.is_complete());
/// # std::fs::remove_dir_all(&dir)?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone)]
pub struct Checkpoint {
    tensors: HashMap<String, Tensor>,
    notes: Vec<String>,
}

impl Checkpoint {
    /// Reads a file of safetensors or of PyTorch (`.pth`, `.pt`, `.ckpt`, `.pth.tar`), of the zip format or the one before 1.6, with
    /// pickles of any protocol; the content tells which.
    ///
    /// Inside a PyTorch file the weights may lie at the top or in a dictionary: the first of `state_dict`, `model_state_dict`,
    /// `model`, `network_weights` and the like, else the only one with tensors. Prefixes that every name has, `module.` of
    /// `DataParallel`, `model.` of Lightning and their like, are taken off. What was found where, and what was left out, is in
    /// [`Checkpoint::notes`].
    ///
    /// # Errors
    /// [`Error::AtFile`] with the path and the cause: a pointer of Git LFS, a web page, a file that is cut off, a whole module instead
    /// of weights by name, no tensors (with the keys that there are), or several dictionaries of which it is not clear which
    /// are the weights.
    pub fn read(path: impl AsRef<Path>) -> Result<Self> {
        let path = path.as_ref();
        let at = |e: candle_core::Error| AtFile::new(path, e);
        if let Some(what) = pth::other_than_weights(path).map_err(at)? {
            return Err(AtFile::new(path, format!("not a checkpoint: {what}")).into());
        }
        let (tensors, notes) = if pth::is_safetensors(path).map_err(at)? {
            (candle_core::safetensors::load(path, &Device::Cpu).map_err(at)?, vec![])
        } else {
            let found = pth::read(path).map_err(at)?;
            (found.tensors, found.notes)
        };
        if tensors.is_empty() {
            return Err(AtFile::new(path, "no tensors found").into());
        }
        let mut checkpoint = Checkpoint::from_tensors(tensors);
        checkpoint.notes = notes.into_iter().chain(checkpoint.notes).collect();
        Ok(checkpoint)
    }

    /// Weights that are in memory already; prefixes as for [`Checkpoint::read`].
    pub fn from_tensors(mut tensors: HashMap<String, Tensor>) -> Self {
        let mut notes = vec![];
        let common = |tensors: &HashMap<String, Tensor>| {
            PREFIXES.into_iter().find(|p| tensors.len() > 1 && tensors.keys().all(|name| name.starts_with(p)))
        };
        while let Some(prefix) = common(&tensors) {
            notes.push(format!("the prefix `{prefix}` of every name was taken off"));
            tensors = tensors.into_iter().map(|(name, t)| (name[prefix.len()..].to_string(), t)).collect();
        }
        Checkpoint { tensors, notes }
    }

    /// Where in the file the weights were, what was taken off their names, and what was left out.
    pub fn notes(&self) -> &[String] {
        &self.notes
    }

    /// The names, in order.
    pub fn names(&self) -> Vec<&str> {
        self.tensors.keys().map(String::as_str).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// One tensor.
    pub fn get(&self, name: &str) -> Option<&Tensor> {
        self.tensors.get(name)
    }

    /// Leaves out every name that begins with `prefix`, for example `fc.` for a trunk.
    pub fn without(mut self, prefix: &str) -> Self {
        self.tensors.retain(|name, _| !name.starts_with(prefix));
        self
    }

    /// Changes the input channels of the convolution `name`; see [`fold_stem`].
    ///
    /// # Errors
    /// As [`fold_stem`], or [`Error::Mismatch`] for a name that the checkpoint lacks.
    pub fn fold_stem(mut self, name: &str, in_channels: usize) -> Result<Self> {
        let Some(weight) = self.tensors.get(name) else {
            let missing = vec![name.to_string()];
            return Err(Error::Mismatch { missing, unexpected: Vec::new(), misshaped: Vec::new() });
        };
        let folded = fold_stem(weight, in_channels)?;
        self.tensors.insert(name.to_string(), folded);
        Ok(self)
    }

    /// Sets every parameter and buffer of `store` that the checkpoint has with the same name and shape.
    ///
    /// What did not fit is in the report and keeps its value; see [`Checkpoint::load_strict`].
    ///
    /// # Errors
    /// An error of candle.
    pub fn load_into(&self, store: &ParamStore) -> Result<LoadReport> {
        let report = self.compare(store);
        for name in &report.loaded {
            if let (Some(var), Some(tensor)) = (store.get(name), self.tensors.get(name)) {
                var.set(&tensor.to_dtype(var.dtype())?.to_device(var.device())?)?;
            }
        }
        Ok(report)
    }

    /// [`Checkpoint::load_into`] that changes nothing unless everything fits.
    ///
    /// # Errors
    /// [`Error::Mismatch`] names every missing, unexpected and mis-shaped entry.
    pub fn load_strict(&self, store: &ParamStore) -> Result<()> {
        let LoadReport { missing, unexpected, misshaped, .. } = self.compare(store);
        if missing.is_empty() && unexpected.is_empty() && misshaped.is_empty() {
            return self.load_into(store).map(|_| ());
        }
        Err(Error::Mismatch { missing, unexpected, misshaped })
    }

    fn compare(&self, store: &ParamStore) -> LoadReport {
        let mut report = LoadReport::default();
        for name in store.names() {
            match (self.tensors.get(&name), store.get(&name)) {
                (Some(t), Some(v)) if t.dims() == v.dims() => report.loaded.push(name),
                (Some(t), Some(v)) => {
                    report.misshaped.push(format!("{name}: {:?}, {:?}", v.dims(), t.dims()))
                }
                // A counter that old checkpoints lack and that the weights do not depend on.
                _ if name.ends_with("num_batches_tracked") => {}
                _ => report.missing.push(name),
            }
        }
        let unexpected = self.names().into_iter().filter(|name| store.get(name).is_none());
        report.unexpected = unexpected.map(String::from).collect();
        report
    }
}

/// The weight of a first convolution for another number of input channels.
///
/// All input channels are summed; for several channels the sum is repeated and divided by their number. A grey image
/// in every channel thus gives the same response as before.
///
/// # Shapes
/// `weight` \[out, in, kD, kH, kW\] gives \[out, in_channels, kD, kH, kW\].
///
/// # Errors
/// [`Error::Shape`] for a weight of another rank, [`Error::Argument`] for no channels.
pub fn fold_stem(weight: &Tensor, in_channels: usize) -> Result<Tensor> {
    if weight.rank() != 5 {
        let expected = "[out, in, kD, kH, kW]".to_string();
        return Err(Error::Shape { op: "fold_stem", expected, got: weight.dims().to_vec() });
    }
    if in_channels == 0 {
        let (expected, got) = ("at least 1".to_string(), "0".to_string());
        return Err(Error::config("fold_stem", "in_channels", expected, got));
    }
    if weight.dims()[1] == in_channels {
        return Ok(weight.clone());
    }
    let sum =
        (weight.to_dtype(DType::F64)?.sum_keepdim(1)? / in_channels as f64)?.to_dtype(weight.dtype())?;
    Ok(sum.repeat((1, in_channels, 1, 1, 1))?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::VideoResNetConfig;
    use oncograph_nn::Seed;
    use oncograph_nn::testing::device;

    fn store(in_channels: usize, seed: u64) -> ParamStore {
        let store = ParamStore::new(Seed::new(seed));
        let config = VideoResNetConfig::r3d_18(in_channels).base_width(1).classes(Some(2));
        config.build(store.var_builder(DType::F32, &device())).unwrap();
        store
    }

    fn values(t: &Tensor) -> Vec<f32> {
        t.flatten_all().unwrap().to_vec1().unwrap()
    }

    #[test]
    fn what_fits_is_loaded_and_the_rest_is_listed() {
        let (from, to) = (store(3, 1), store(1, 2));
        let mut tensors = from.snapshot().unwrap();
        tensors.remove("layer4.1.conv2.0.weight");
        tensors.insert("extra".into(), Tensor::zeros(1, DType::F32, &device()).unwrap());
        let wrapped = tensors.into_iter().map(|(k, v)| (format!("module.{k}"), v)).collect();
        let checkpoint = Checkpoint::from_tensors(wrapped);
        let report = checkpoint.load_into(&to).unwrap();
        assert_eq!(report.missing, ["layer4.1.conv2.0.weight"]);
        assert_eq!(report.unexpected, ["extra"]);
        assert_eq!(report.misshaped, ["stem.0.weight: [1, 1, 3, 7, 7], [1, 3, 3, 7, 7]"]);
        assert_eq!(values(&to.get("fc.weight").unwrap()), values(&from.get("fc.weight").unwrap()));
        let before = values(&store(1, 3).get("fc.weight").unwrap());
        let strict = store(1, 3);
        assert!(matches!(checkpoint.load_strict(&strict), Err(Error::Mismatch { .. })));
        assert_eq!(values(&strict.get("fc.weight").unwrap()), before);
    }

    #[test]
    fn a_folded_stem_answers_a_grey_image_alike() {
        let weight = oncograph_nn::testing::pattern(&[2, 3, 1, 2, 2], 1).unwrap();
        let one = fold_stem(&weight, 1).unwrap();
        let sum = values(&weight.to_dtype(DType::F32).unwrap()).iter().step_by(4).take(3).sum::<f32>();
        assert!((values(&one.to_dtype(DType::F32).unwrap())[0] - sum).abs() < 1e-6);
        let four = fold_stem(&weight, 4).unwrap();
        assert_eq!(four.dims(), [2, 4, 1, 2, 2]);
        let gap = (four.sum_keepdim(1).unwrap() - one).unwrap().abs().unwrap().max_all().unwrap();
        assert!(gap.to_scalar::<f64>().unwrap() < 1e-15);
        assert!(fold_stem(&weight.flatten_all().unwrap(), 1).is_err() && fold_stem(&weight, 0).is_err());
    }

    #[test]
    fn a_file_that_is_not_a_checkpoint_is_named() {
        let path = std::env::temp_dir().join(format!("oncograph-encoder-{}.pth", std::process::id()));
        std::fs::write(&path, b"not a checkpoint").unwrap();
        let error = Checkpoint::read(&path).unwrap_err().to_string();
        std::fs::remove_file(&path).unwrap();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
        assert!(Checkpoint::read("absent.safetensors").is_err());
    }
}
