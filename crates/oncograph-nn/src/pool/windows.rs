use crate::{Error, Result};
use serde::{Deserialize, Serialize};
use std::ops::Range;

/// How a pooling window moves over the volume; arrays are in the order depth, height, width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct Pool3dConfig {
    /// The size of the window.
    pub kernel: [usize; 3],
    /// The step of the window; the kernel.
    pub stride: [usize; 3],
    /// What is added on each side, at most half of the (dilated) kernel; 0.
    pub padding: [usize; 3],
    /// Whether a last window that sticks out is kept; false.
    pub ceil_mode: bool,
    /// The distance of neighbouring elements of a window; maximum only; 1.
    #[serde(default = "no_dilation")]
    pub dilation: [usize; 3],
    /// Whether an average counts the padding as zeros; true.
    pub count_include_pad: bool,
    /// What an average divides by in place of the number of elements.
    #[serde(default)]
    pub divisor_override: Option<usize>,
}

fn no_dilation() -> [usize; 3] {
    [1; 3]
}

impl Pool3dConfig {
    /// Windows of this size side by side.
    pub fn new(kernel: [usize; 3]) -> Self {
        Pool3dConfig {
            kernel,
            stride: kernel,
            padding: [0; 3],
            ceil_mode: false,
            dilation: [1; 3],
            count_include_pad: true,
            divisor_override: None,
        }
    }

    /// Sets the step of the window.
    pub fn stride(mut self, stride: [usize; 3]) -> Self {
        self.stride = stride;
        self
    }

    /// Sets what is added on each side.
    pub fn padding(mut self, padding: [usize; 3]) -> Self {
        self.padding = padding;
        self
    }

    /// Sets whether a last window that sticks out is kept.
    pub fn ceil_mode(mut self, ceil_mode: bool) -> Self {
        self.ceil_mode = ceil_mode;
        self
    }

    /// Sets the distance of neighbouring elements of a window.
    pub fn dilation(mut self, dilation: [usize; 3]) -> Self {
        self.dilation = dilation;
        self
    }

    /// Sets what an average divides by.
    pub fn divisor_override(mut self, divisor_override: Option<usize>) -> Self {
        self.divisor_override = divisor_override;
        self
    }

    /// Sets whether an average counts the padding as zeros.
    pub fn count_include_pad(mut self, count_include_pad: bool) -> Self {
        self.count_include_pad = count_include_pad;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        for (field, values) in [("kernel", self.kernel), ("stride", self.stride), ("dilation", self.dilation)]
        {
            if values.contains(&0) {
                return Err(Error::config("pool3d", field, "at least 1", format!("{values:?}")));
            }
        }
        if self.divisor_override == Some(0) {
            return Err(Error::config("pool3d", "divisor_override", "at least 1", 0));
        }
        let reach = self.reach();
        if (0..3).any(|a| self.padding[a] > reach[a] / 2) {
            let expected = format!("at most half of the kernel {reach:?}");
            return Err(Error::config("pool3d", "padding", expected, format!("{:?}", self.padding)));
        }
        Ok(())
    }

    /// The size of a window from its first to its last element.
    fn reach(&self) -> [usize; 3] {
        std::array::from_fn(|a| self.dilation[a] * self.kernel[a].saturating_sub(1) + 1)
    }
}

/// One window along one axis.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Window {
    /// The input elements from its first to its last.
    pub range: Range<usize>,
    /// The distance of its elements.
    pub step: usize,
    /// How many elements an average divides by.
    pub count: usize,
}

#[cfg(feature = "cuda")]
impl Window {
    /// How many elements it has.
    pub(crate) fn len(&self) -> usize {
        self.range.len().div_ceil(self.step)
    }
}

/// The rule behind the windows along an axis, which kernels of a CUDA device take instead of the list.
#[cfg(feature = "cuda")]
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum WindowsAlong {
    Sliding { reach: usize, stride: usize, pad: usize, step: usize, count_pad: bool },
    Adaptive,
}

/// The windows along the three axes of one pooling.
#[derive(Debug, Clone)]
pub(crate) struct Windows {
    pub input: [usize; 3],
    pub axes: [Vec<Window>; 3],
    #[cfg(feature = "cuda")]
    pub along: [WindowsAlong; 3],
    /// What an average divides by in place of the windows' counts.
    pub divisor: Option<usize>,
}

impl Windows {
    pub(crate) fn sliding(op: &'static str, dims: &[usize], c: &Pool3dConfig) -> Result<Self> {
        c.validate()?;
        let input = volume(op, dims)?;
        let mut axes = [const { Vec::new() }; 3];
        for a in 0..3 {
            let (kernel, stride, pad, size) = (c.reach()[a], c.stride[a], c.padding[a], input[a]);
            let step = c.dilation[a];
            let Some(room) = (size + 2 * pad).checked_sub(kernel) else {
                let expected = format!("a padded size of at least {kernel} along dimension {}", a + 2);
                return Err(Error::shape(op, expected, dims));
            };
            let mut count = if c.ceil_mode { room.div_ceil(stride) } else { room / stride } + 1;
            // A window must start inside the volume or its left padding.
            if (count - 1) * stride >= size + pad {
                count -= 1;
            }
            axes[a] = (0..count)
                .map(|o| {
                    let (start, end) = (o * stride, (o * stride + kernel).min(size + 2 * pad));
                    // The first element at or behind the volume's start.
                    let skipped = pad.saturating_sub(start).div_ceil(step) * step;
                    let last = end.saturating_sub(pad).min(size);
                    let range = (start + skipped).saturating_sub(pad).min(last)..last;
                    let count = if c.count_include_pad { end - start } else { range.len() };
                    Window { range, step, count }
                })
                .collect();
        }
        Ok(Windows {
            input,
            axes,
            #[cfg(feature = "cuda")]
            along: [0, 1, 2].map(|a| WindowsAlong::Sliding {
                reach: c.reach()[a],
                stride: c.stride[a],
                pad: c.padding[a],
                step: c.dilation[a],
                count_pad: c.count_include_pad,
            }),
            divisor: c.divisor_override,
        })
    }

    /// `output` windows per axis that share the volume: window i covers floor(i n / m) .. ceil((i + 1) n / m).
    pub(super) fn adaptive(op: &'static str, dims: &[usize], output: [usize; 3]) -> Result<Self> {
        let input = volume(op, dims)?;
        if output.contains(&0) || input.contains(&0) {
            return Err(Error::shape(op, "no empty dimension of volume and output", (dims, output)));
        }
        let axes = [0, 1, 2].map(|a| {
            let (n, m) = (input[a], output[a]);
            let window = |i: usize| i * n / m..((i + 1) * n).div_ceil(m);
            (0..m).map(window).map(|range| Window { count: range.len(), step: 1, range }).collect()
        });
        Ok(Windows {
            input,
            axes,
            #[cfg(feature = "cuda")]
            along: [WindowsAlong::Adaptive; 3],
            divisor: None,
        })
    }

    pub(crate) fn output(&self) -> [usize; 3] {
        self.axes.each_ref().map(Vec::len)
    }

    pub(super) fn in_pixels(&self) -> usize {
        self.input.iter().product()
    }

    pub(super) fn out_pixels(&self) -> usize {
        self.output().iter().product()
    }

    /// Every window in the order of the output.
    pub(super) fn each(&self) -> impl Iterator<Item = [&Window; 3]> {
        let [d, h, w] = &self.axes;
        d.iter().flat_map(move |d| h.iter().flat_map(move |h| w.iter().map(move |w| [d, h, w])))
    }

    /// The offsets in one volume of the elements of a window, in memory order.
    pub(super) fn offsets(&self, window: [&Window; 3]) -> impl Iterator<Item = usize> + use<> {
        let [_, height, width] = self.input;
        let [d, h, w] = window.map(|w| (w.range.clone(), w.step));
        d.0.step_by(d.1).flat_map(move |i| {
            let w = w.clone();
            h.0.clone().step_by(h.1).flat_map(move |j| {
                let row = (i * height + j) * width;
                (row + w.0.start..row + w.0.end).step_by(w.1)
            })
        })
    }
}

fn volume(op: &'static str, dims: &[usize]) -> Result<[usize; 3]> {
    match dims {
        [_, _, d, h, w] => Ok([*d, *h, *w]),
        _ => Err(Error::shape(op, "[batch, channels, D, H, W]", dims)),
    }
}
