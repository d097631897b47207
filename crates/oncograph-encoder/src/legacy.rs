//! PyTorch files from before version 1.6, such as the published MedicalNet weights: a few pickles, then the storages
//! one behind the other. candle reads only the zip format that came later; its pickle reader serves for both.

use candle_core::pickle::{Object, Stack};
use candle_core::{DType, Device, Result, Tensor, bail};
use std::collections::HashMap;
use std::io::{BufRead, Read};

/// The first pickle of every such file: the number 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 15] =
    [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];

pub(crate) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// The named tensors of a file, at the top or under one of `wrappers`.
pub(crate) fn read(bytes: &[u8], wrappers: &[&str]) -> Result<HashMap<String, Tensor>> {
    let Some(mut rest) = bytes.strip_prefix(&MAGIC) else { bail!("not a PyTorch file of the old format") };
    let _protocol = pickle(&mut rest)?;
    let _system = pickle(&mut rest)?;
    let object = pickle(&mut rest)?;
    let keys = pickle(&mut rest)?;
    let mut described = HashMap::new();
    describe(&object, &mut described)?;
    let storages = read_storages(keys, &described, rest)?;
    let weights = weights(object, wrappers);
    let mut tensors = HashMap::new();
    for (name, value) in weights {
        if let (Ok(name), Some(view)) = (name.unicode(), View::of(value)) {
            tensors.insert(name, view.tensor(&storages)?);
        }
    }
    Ok(tensors)
}

fn pickle(rest: &mut impl BufRead) -> Result<Object> {
    let mut stack = Stack::empty();
    stack.read_loop(rest)?;
    stack.finalize()
}

/// The entries of the dictionary that holds tensors.
fn weights(object: Object, wrappers: &[&str]) -> Vec<(Object, Object)> {
    let entries = object.dict().unwrap_or_default();
    for wrapper in wrappers {
        let found = entries.iter().find(|(k, _)| *k == Object::Unicode(wrapper.to_string()));
        if let Some((_, Object::Dict(inner))) = found {
            return inner.clone();
        }
    }
    entries
}

/// The type and number of elements of a storage.
type Description = (DType, usize);

/// Notes every storage that is named anywhere in `object`: all of them lie in the file, also those of an optimizer.
fn describe(object: &Object, found: &mut HashMap<String, Description>) -> Result<()> {
    match object {
        Object::PersistentLoad(id) => {
            let Object::Tuple(id) = id.as_ref() else { bail!("a storage without description") };
            let [_, Object::Class { class_name, .. }, Object::Unicode(key), _, count, ..] = id.as_slice()
            else {
                bail!("a storage with another description: {id:?}")
            };
            let Ok(count) = count.clone().int_or_long() else { bail!("a storage without size: {id:?}") };
            found.insert(key.clone(), (dtype(class_name)?, usize::try_from(count)?));
        }
        Object::Tuple(items) | Object::List(items) => items.iter().try_for_each(|o| describe(o, found))?,
        Object::Dict(entries) => entries.iter().try_for_each(|(_, o)| describe(o, found))?,
        Object::Reduce { args, .. } => describe(args, found)?,
        Object::Build { callable, args } => {
            describe(callable, found)?;
            describe(args, found)?;
        }
        _ => {}
    }
    Ok(())
}

fn dtype(class: &str) -> Result<DType> {
    Ok(match class {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "ByteStorage" => DType::U8,
        other => bail!("unsupported storage type {other}"),
    })
}

fn read_storages(
    keys: Object,
    described: &HashMap<String, Description>,
    mut rest: &[u8],
) -> Result<HashMap<String, Tensor>> {
    let Object::List(keys) = keys else { bail!("no list of storages") };
    let mut storages = HashMap::new();
    for key in keys {
        let Ok(key) = key.unicode() else { bail!("a storage without name") };
        let Some(&(dtype, count)) = described.get(&key) else { bail!("storage {key} is not described") };
        let mut stored = [0; 8];
        rest.read_exact(&mut stored)?;
        if u64::from_le_bytes(stored) != count as u64 {
            bail!("storage {key}: {count} elements expected, got {}", u64::from_le_bytes(stored))
        }
        let len = count.saturating_mul(dtype.size_in_bytes());
        let Some((data, tail)) = rest.split_at_checked(len) else { bail!("storage {key} is cut off") };
        storages.insert(key, Tensor::from_raw_buffer(data, dtype, &[count], &Device::Cpu)?);
        rest = tail;
    }
    Ok(storages)
}

/// A tensor as a view into a storage.
struct View {
    storage: String,
    offset: usize,
    shape: Vec<usize>,
    stride: Vec<usize>,
}

impl View {
    /// `None` for an entry that is not a tensor, such as an epoch number.
    fn of(object: Object) -> Option<View> {
        let (callable, args) = object.reduce().ok()?;
        let (_, class) = callable.class().ok()?;
        let args = args.tuple().ok()?;
        if class == "_rebuild_parameter" {
            return View::of(args.into_iter().next()?);
        }
        if class != "_rebuild_tensor_v2" {
            return None;
        }
        let mut args = args.into_iter();
        let id = args.next()?.persistent_load().ok()?.tuple().ok()?;
        let storage = id.into_iter().nth(2)?.unicode().ok()?;
        let offset = usize::try_from(args.next()?.int_or_long().ok()?).ok()?;
        let shape = Vec::<usize>::try_from(args.next()?).ok()?;
        let stride = Vec::<usize>::try_from(args.next()?).ok()?;
        Some(View { storage, offset, shape, stride })
    }

    fn tensor(&self, storages: &HashMap<String, Tensor>) -> Result<Tensor> {
        let Some(storage) = storages.get(&self.storage) else { bail!("storage {} is absent", self.storage) };
        if self.shape.len() != self.stride.len() {
            bail!("{} dimensions with {} strides", self.shape.len(), self.stride.len())
        }
        let count: usize = self.shape.iter().product();
        let index = |mut i: usize| {
            let mut at = self.offset;
            for (size, stride) in self.shape.iter().zip(&self.stride).rev() {
                at += i % size * stride;
                i /= size;
            }
            at as i64
        };
        let indices: Vec<i64> = (0..count).map(index).collect();
        let indices = Tensor::from_vec(indices, count, &Device::Cpu)?;
        storage.index_select(&indices, 0)?.reshape(self.shape.as_slice())
    }
}
