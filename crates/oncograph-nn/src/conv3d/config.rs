use crate::{Error, Result};
use serde::{Deserialize, Serialize};

/// How the kernel moves over the volume, with PyTorch's defaults; arrays are in the order depth, height, width.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[non_exhaustive]
#[serde(default)]
pub struct Conv3dConfig {
    /// The step of the kernel; 1.
    pub stride: [usize; 3],
    /// Zeros added on each side; 0.
    pub padding: [usize; 3],
    /// The distance of neighbouring kernel elements; 1.
    pub dilation: [usize; 3],
    /// Into how many groups the channels are split that do not see each other; 1.
    pub groups: usize,
}

impl Default for Conv3dConfig {
    fn default() -> Self {
        Conv3dConfig { stride: [1; 3], padding: [0; 3], dilation: [1; 3], groups: 1 }
    }
}

impl Conv3dConfig {
    /// Stride 1, no padding, no dilation, one group.
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets the step of the kernel.
    pub fn stride(mut self, stride: [usize; 3]) -> Self {
        self.stride = stride;
        self
    }

    /// Sets the zeros added on each side.
    pub fn padding(mut self, padding: [usize; 3]) -> Self {
        self.padding = padding;
        self
    }

    /// Sets the distance of neighbouring kernel elements.
    pub fn dilation(mut self, dilation: [usize; 3]) -> Self {
        self.dilation = dilation;
        self
    }

    /// Sets the number of groups.
    pub fn groups(mut self, groups: usize) -> Self {
        self.groups = groups;
        self
    }

    /// Whether every value is in its range.
    ///
    /// # Errors
    /// [`Error::Argument`] names the first value that is not.
    pub fn validate(&self) -> Result<()> {
        for (field, values) in [("stride", self.stride), ("dilation", self.dilation)] {
            if values.contains(&0) {
                return Err(Error::config("conv3d", field, "at least 1", format!("{values:?}")));
            }
        }
        if self.groups == 0 {
            return Err(Error::config("conv3d", "groups", "at least 1", self.groups));
        }
        Ok(())
    }
}

/// How many outputs a padded size has; nothing where the filter reaches beyond it.
fn outputs(padded: usize, reach: usize, stride: usize) -> Option<usize> {
    padded.checked_sub(reach).map(|room| room / stride + 1)
}

/// All sizes of one convolution; channel counts are per group.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(crate) struct Geometry {
    pub batch: usize,
    pub groups: usize,
    pub ci: usize,
    pub co: usize,
    pub input: [usize; 3],
    pub kernel: [usize; 3],
    pub output: [usize; 3],
    pub stride: [usize; 3],
    pub padding: [usize; 3],
    pub dilation: [usize; 3],
}

impl Geometry {
    /// Of `x` \[batch, in, D, H, W\] and `weight` \[out, in / groups, kD, kH, kW\].
    pub(crate) fn new(x: &[usize], weight: &[usize], config: &Conv3dConfig) -> Result<Self> {
        config.validate()?;
        let (&[batch, channels, d, h, w], &[out, ci, kd, kh, kw]) = (x, weight) else {
            return Err(Error::shape("conv3d", "input and weight of rank 5", (x, weight)));
        };
        let groups = config.groups;
        if channels != ci * groups || !out.is_multiple_of(groups) || weight.contains(&0) {
            let expected =
                format!("input [batch, {groups} x {ci}, D, H, W] and outputs that {groups} groups divide");
            return Err(Error::shape("conv3d", expected, (x, weight)));
        }
        let (input, kernel) = ([d, h, w], [kd, kh, kw]);
        let mut output = [0; 3];
        for a in 0..3 {
            let reach = config.dilation[a] * (kernel[a] - 1) + 1;
            let Some(outputs) = outputs(input[a] + 2 * config.padding[a], reach, config.stride[a]) else {
                let expected = format!("a padded size of at least {reach} along dimension {}", a + 2);
                return Err(Error::shape("conv3d", expected, x));
            };
            output[a] = outputs;
        }
        let Conv3dConfig { stride, padding, dilation, .. } = *config;
        Ok(Geometry { batch, groups, ci, co: out / groups, input, kernel, output, stride, padding, dilation })
    }

    /// Whether the outputs are those of the whole input: what a transposed convolution comes from may have fewer.
    #[cfg(feature = "cudnn")]
    pub(crate) fn covers_its_input(&self) -> bool {
        (0..3).all(|a| {
            let reach = self.dilation[a] * (self.kernel[a] - 1) + 1;
            outputs(self.input[a] + 2 * self.padding[a], reach, self.stride[a]) == Some(self.output[a])
        })
    }

    pub(crate) fn in_pixels(&self) -> usize {
        self.input.iter().product()
    }

    pub(crate) fn out_pixels(&self) -> usize {
        self.output.iter().product()
    }

    /// Kernel elements per pair of channels.
    pub(crate) fn taps(&self) -> usize {
        self.kernel.iter().product()
    }

    pub(super) fn out_shape(&self) -> (usize, usize, usize, usize, usize) {
        let [d, h, w] = self.output;
        (self.batch, self.groups * self.co, d, h, w)
    }

    /// The input coordinate that output `o` meets with kernel element `k` along axis `a`, if inside the volume.
    pub(super) fn source(&self, a: usize, o: usize, k: usize) -> Option<usize> {
        let padded = o * self.stride[a] + k * self.dilation[a];
        padded.checked_sub(self.padding[a]).filter(|i| *i < self.input[a])
    }
}
