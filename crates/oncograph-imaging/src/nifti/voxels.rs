//! Stored numbers, of any type, as voxels of another.

use crate::voxel::Voxel;
use nifti::NiftiType;

/// Bytes of a number; `None` for types that are no single number.
pub(super) fn bytes_of(kind: NiftiType) -> Option<usize> {
    match kind {
        NiftiType::Uint8 | NiftiType::Int8 => Some(1),
        NiftiType::Uint16 | NiftiType::Int16 => Some(2),
        NiftiType::Uint32 | NiftiType::Int32 | NiftiType::Float32 => Some(4),
        NiftiType::Uint64 | NiftiType::Int64 | NiftiType::Float64 => Some(8),
        _ => None,
    }
}

/// Numbers that are off a whole one by no more than this are labels with the noise of floating-point arithmetic.
const LABEL_NOISE: f64 = 1e-3;

/// What was rounded away from values that an integer holds.
#[derive(Default)]
pub(super) struct Noise {
    count: usize,
    most: f64,
}

impl Noise {
    pub fn note(&self) -> Option<String> {
        let (count, most) = (self.count, self.most);
        (count > 0)
            .then(|| format!("{count} values are up to {most:.1e} off a whole number and were rounded"))
    }
}

/// Appends the values of `bytes`; `Err` is the first one that an integer `T` cannot hold.
pub(super) fn decode<T: Voxel>(
    bytes: &[u8],
    kind: NiftiType,
    big: bool,
    scale: Option<(f64, f64)>,
    out: (&mut Vec<T>, &mut Noise),
) -> Result<(), f64> {
    macro_rules! numbers {
        ($t:ty) => {{
            let (words, _) = bytes.as_chunks::<{ size_of::<$t>() }>();
            if big {
                extend(words.iter().map(|w| <$t>::from_be_bytes(*w) as f64), scale, out)
            } else {
                extend(words.iter().map(|w| <$t>::from_le_bytes(*w) as f64), scale, out)
            }
        }};
    }
    match kind {
        NiftiType::Uint8 => numbers!(u8),
        NiftiType::Int8 => numbers!(i8),
        NiftiType::Uint16 => numbers!(u16),
        NiftiType::Int16 => numbers!(i16),
        NiftiType::Uint32 => numbers!(u32),
        NiftiType::Int32 => numbers!(i32),
        NiftiType::Uint64 => numbers!(u64),
        NiftiType::Int64 => numbers!(i64),
        NiftiType::Float32 => numbers!(f32),
        _ => numbers!(f64),
    }
}

fn extend<T: Voxel>(
    values: impl Iterator<Item = f64>,
    scale: Option<(f64, f64)>,
    (out, noise): (&mut Vec<T>, &mut Noise),
) -> Result<(), f64> {
    let mut misfit = None;
    let mut put = |v: f64, exact: f64| {
        let stored = T::from_f64(v);
        if T::INTEGER && stored.to_f64() != v {
            let off = (stored.to_f64() - v).abs();
            if off <= LABEL_NOISE {
                let counts = off > exact;
                noise.count += usize::from(counts);
                noise.most = noise.most.max(if counts { off } else { 0.0 });
            } else {
                misfit = misfit.or(Some(v));
            }
        }
        stored
    };
    match scale {
        None => out.extend(values.map(|v| put(v, 0.0))),
        // Slope and intercept are f32 in the file.
        Some((slope, inter)) => out.extend(values.map(|v| {
            let v = v * slope + inter;
            put(v, 1e-6 * v.abs().max(1.0))
        })),
    }
    misfit.map_or(Ok(()), Err)
}
