//! A tensor as a view into a storage, however it lies there.

use candle_core::pickle::Object;
use candle_core::{DType, Device, Result, Tensor, bail};

/// How many times its storage a tensor may be: one that repeats a row has a stride of 0.
const REPEATED: usize = 64;

pub(super) fn dtype(class: &str) -> Result<DType> {
    Ok(match class {
        "FloatStorage" => DType::F32,
        "DoubleStorage" => DType::F64,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "ByteStorage" | "BoolStorage" => DType::U8,
        other => bail!("unsupported storage type {other}"),
    })
}

#[derive(Debug, Clone, PartialEq)]
pub(super) struct View {
    /// The key of its storage.
    pub storage: String,
    /// The class of the storage, which tells the type.
    pub class: String,
    offset: usize,
    pub shape: Vec<usize>,
    stride: Vec<usize>,
}

impl View {
    /// `None` for an entry that is not a tensor, such as an epoch number.
    pub(super) fn of(object: &Object) -> Option<View> {
        let Object::Reduce { callable, args } = object else { return None };
        View::of_call(callable, args)
    }

    /// The tensor that a function makes of arguments.
    fn of_call(function: &Object, args: &Object) -> Option<View> {
        let (Object::Class { class_name, .. }, Object::Tuple(args)) = (function, args) else { return None };
        match class_name.as_str() {
            "_rebuild_parameter" => return View::of(args.first()?),
            // The function that is wrapped, the type, its arguments and a state.
            "_rebuild_from_type_v2" => return View::of_call(args.first()?, args.get(2)?),
            "_rebuild_tensor_v2" => {}
            _ => return None,
        }
        let mut args = args.iter().cloned();
        let id = args.next()?.persistent_load().ok()?.tuple().ok()?;
        let mut id = id.into_iter().skip(1);
        let (_, class) = id.next()?.class().ok()?;
        let storage = id.next()?.unicode().ok()?;
        let offset = usize::try_from(args.next()?.int_or_long().ok()?).ok()?;
        let shape = Vec::<usize>::try_from(args.next()?).ok()?;
        let stride = Vec::<usize>::try_from(args.next()?).ok()?;
        Some(View { storage, class, offset, shape, stride })
    }

    /// Bytes of its values.
    pub(super) fn bytes(&self) -> usize {
        let size = dtype(&self.class).map_or(0, |dtype| dtype.size_in_bytes());
        self.shape.iter().fold(size, |n, s| n.saturating_mul(*s))
    }

    /// Its values, contiguous.
    pub(super) fn tensor(&self, storage: &Tensor) -> Result<Tensor> {
        let (shape, stride, held) = (&self.shape, &self.stride, storage.elem_count());
        if shape.len() != stride.len() {
            bail!("{} dimensions with {} strides", shape.len(), stride.len())
        }
        let count = shape.iter().try_fold(1usize, |n, s| n.checked_mul(*s));
        let last = shape.iter().zip(stride).try_fold(self.offset, |at, (size, stride)| {
            size.saturating_sub(1).checked_mul(*stride).and_then(|step| at.checked_add(step))
        });
        let (Some(count), Some(last)) = (count, last) else { bail!("a tensor of {shape:?} numbers") };
        if count == 0 {
            return Tensor::zeros(shape.as_slice(), storage.dtype(), &Device::Cpu);
        }
        if last >= held || count / REPEATED > held {
            bail!("a tensor of {shape:?} numbers {stride:?} apart in a storage of {held}")
        }
        let mut dense = 1;
        let contiguous = shape.iter().zip(stride).rev().all(|(size, stride)| {
            let as_it_is = *size == 1 || *stride == dense;
            dense *= size;
            as_it_is
        });
        if contiguous {
            return storage.narrow(0, self.offset, count)?.reshape(shape.as_slice())?.copy();
        }
        let index = |mut i: usize| {
            let mut at = self.offset;
            for (size, stride) in shape.iter().zip(stride).rev() {
                at += i % size * stride;
                i /= size;
            }
            at as i64
        };
        let indices = Tensor::from_vec((0..count).map(index).collect::<Vec<i64>>(), count, &Device::Cpu)?;
        storage.index_select(&indices, 0)?.reshape(shape.as_slice())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn view(offset: usize, shape: &[usize], stride: &[usize]) -> View {
        let (storage, class) = ("0".into(), "FloatStorage".into());
        View { storage, class, offset, shape: shape.into(), stride: stride.into() }
    }

    #[test]
    fn views_of_every_kind_by_hand() {
        let storage = Tensor::arange(0f32, 12.0, &Device::Cpu).unwrap();
        let values = |v: View| v.tensor(&storage).unwrap().flatten_all().unwrap().to_vec1::<f32>().unwrap();
        assert_eq!(values(view(2, &[2, 3], &[3, 1])), [2.0, 3.0, 4.0, 5.0, 6.0, 7.0]);
        // Transposed, every second, repeated, of one element.
        assert_eq!(values(view(0, &[3, 2], &[1, 3])), [0.0, 3.0, 1.0, 4.0, 2.0, 5.0]);
        assert_eq!(values(view(1, &[4], &[2])), [1.0, 3.0, 5.0, 7.0]);
        assert_eq!(values(view(5, &[3], &[0])), [5.0, 5.0, 5.0]);
        assert_eq!(values(view(11, &[], &[])), [11.0]);
        assert_eq!(values(view(3, &[1, 2, 1], &[77, 1, 99])), [3.0, 4.0]);
        assert_eq!(view(0, &[0, 4], &[4, 1]).tensor(&storage).unwrap().dims(), [0, 4]);
    }

    #[test]
    fn a_view_beyond_its_storage_is_an_error() {
        let storage = Tensor::arange(0f32, 12.0, &Device::Cpu).unwrap();
        for bad in [
            view(7, &[2, 3], &[3, 1]),
            view(0, &[13], &[1]),
            view(0, &[2], &[usize::MAX]),
            view(usize::MAX, &[2], &[1]),
            view(0, &[usize::MAX, 2], &[0, 0]),
            view(0, &[100_000], &[0]),
            view(0, &[2, 2], &[1]),
        ] {
            assert!(bad.tensor(&storage).is_err(), "{bad:?}");
        }
    }
}
