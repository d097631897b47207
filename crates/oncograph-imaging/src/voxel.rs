//! The numbers that a volume can hold.

mod sealed {
    /// What the file formats need of a number type.
    pub trait Stored: Sized {
        /// NIfTI-1 datatype code.
        const NIFTI_CODE: i16;
        /// False for the floating types.
        const INTEGER: bool;
        /// Bytes of one value.
        const BYTES: usize = size_of::<Self>();
        /// Appends the values in little-endian order.
        fn extend_le(values: &[Self], out: &mut Vec<u8>);
        /// Appends the values of bytes in that order, or in big-endian order.
        fn extend_from_bytes(bytes: &[u8], big: bool, out: &mut Vec<Self>);
    }
}

/// A number that a [`Volume`](crate::Volume) can hold: `u8`, `i8`, `u16`, `i16`, `u32`, `i32`, `f32`, `f64`.
///
/// Transforms compute in `f64` and come back through [`from_f64`](Voxel::from_f64).
pub trait Voxel:
    Copy + Default + PartialOrd + Send + Sync + std::fmt::Debug + sealed::Stored + 'static
{
    /// The type's name, e.g. `i16`.
    const NAME: &'static str;

    /// The value as `f64` (exact for every type here).
    fn to_f64(self) -> f64;

    /// The nearest value of this type: integers round half away from zero and saturate, NaN becomes 0.
    ///
    /// This is how `scipy.ndimage` writes interpolated values into a signed integer array.
    fn from_f64(value: f64) -> Self;

    /// False for NaN and infinities.
    fn is_finite(self) -> bool {
        true
    }
}

/// Rounds half away from zero; by integer arithmetic, because `f64::round` is a library call on plain x86-64.
#[inline]
fn round_to_i64(value: f64) -> i64 {
    let whole = value as i64;
    let rest = value - whole as f64;
    whole.saturating_add(i64::from(rest >= 0.5) - i64::from(rest <= -0.5))
}

macro_rules! stored {
    ($t:ident, $code:literal, $integer:literal) => {
        impl sealed::Stored for $t {
            const NIFTI_CODE: i16 = $code;
            const INTEGER: bool = $integer;
            fn extend_le(values: &[Self], out: &mut Vec<u8>) {
                out.extend(values.iter().flat_map(|v| v.to_le_bytes()));
            }
            fn extend_from_bytes(bytes: &[u8], big: bool, out: &mut Vec<Self>) {
                let (words, _) = bytes.as_chunks::<{ size_of::<$t>() }>();
                if big {
                    out.extend(words.iter().map(|w| $t::from_be_bytes(*w)));
                } else {
                    out.extend(words.iter().map(|w| $t::from_le_bytes(*w)));
                }
            }
        }
    };
}

macro_rules! integers {
    ($($t:ident = $code:literal),*) => {$(
        stored!($t, $code, true);
        impl Voxel for $t {
            const NAME: &'static str = stringify!($t);
            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline]
            fn from_f64(value: f64) -> Self {
                round_to_i64(value).clamp(i64::from($t::MIN), i64::from($t::MAX)) as $t
            }
        }
    )*};
}

macro_rules! floats {
    ($($t:ident = $code:literal),*) => {$(
        stored!($t, $code, false);
        impl Voxel for $t {
            const NAME: &'static str = stringify!($t);
            #[inline]
            fn to_f64(self) -> f64 {
                f64::from(self)
            }
            #[inline]
            fn from_f64(value: f64) -> Self {
                value as $t
            }
            #[inline]
            fn is_finite(self) -> bool {
                $t::is_finite(self)
            }
        }
    )*};
}

integers!(u8 = 2, i8 = 256, u16 = 512, i16 = 4, u32 = 768, i32 = 8);
floats!(f32 = 16, f64 = 64);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_round_half_away_from_zero_and_saturate() {
        assert_eq!(i16::from_f64(2.5), 3);
        assert_eq!(i16::from_f64(-2.5), -3);
        assert_eq!(i16::from_f64(0.499_999_999_999_999_94), 0);
        assert_eq!(u8::from_f64(-0.4), 0);
        assert_eq!(u8::from_f64(300.0), 255);
        assert_eq!(i32::from_f64(-1e300), i32::MIN);
        assert_eq!(u32::from_f64(f64::INFINITY), u32::MAX);
        assert_eq!(i32::from_f64(f64::NAN), 0);
        assert!(!Voxel::is_finite(f32::NAN) && !Voxel::is_finite(f64::INFINITY) && Voxel::is_finite(1_u8));
    }
}
