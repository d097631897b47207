//! PyTorch files from before version 1.6, such as the published MedicalNet weights: a few pickles, then the storages
//! one behind the other. candle reads only the zip format that came later.

use super::pickle;
use super::view::dtype;
use candle_core::pickle::Object;
use candle_core::{DType, Device, Result, Tensor, bail};
use std::collections::HashMap;
use std::io::Read;

/// The first pickle of every such file: the number 0x1950a86a20f9469cfc6c.
const MAGIC: [u8; 15] =
    [0x80, 0x02, 0x8a, 0x0a, 0x6c, 0xfc, 0x9c, 0x46, 0xf9, 0x20, 0x6a, 0xa8, 0x50, 0x19, 0x2e];

pub(super) fn is_legacy(bytes: &[u8]) -> bool {
    bytes.starts_with(&MAGIC)
}

/// What a file describes, and its storages by their keys.
pub(super) fn read(bytes: &[u8]) -> Result<(Object, HashMap<String, Tensor>)> {
    let Some(mut rest) = bytes.strip_prefix(&MAGIC) else { bail!("not a PyTorch file of the old format") };
    let _protocol = pickle::read(&mut rest)?;
    let _system = pickle::read(&mut rest)?;
    let object = pickle::read(&mut rest)?;
    let keys = pickle::read(&mut rest)?;
    let mut described = HashMap::new();
    describe(&object, &mut described)?;
    let storages = read_storages(keys, &described, rest)?;
    Ok((object, storages))
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
                bail!("a storage with another description")
            };
            let Ok(count) = count.clone().int_or_long() else { bail!("storage {key} has no size") };
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
