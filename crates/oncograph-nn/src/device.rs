//! Which device a program computes on, by its name on the command line, and what can keep it from doing so.

#[cfg(feature = "cuda")]
mod cuda;

#[cfg(feature = "cuda")]
pub(crate) use cuda::with_memory;

use crate::{Error, Result};
use candle_core::Device;
use oncograph_core::Argument;
use std::fmt::{Display, Formatter};
use std::str::FromStr;

/// Where tensors are and operations run, as it is named on a command line: `cpu`, `cuda` or `cuda:N`.
///
/// # Example
/// ```
/// use oncograph_nn::DeviceSpec;
///
/// # fn main() -> oncograph_nn::Result<()> {
/// assert_eq!("cuda".parse::<DeviceSpec>()?, DeviceSpec::Cuda(0));
/// assert!("cpu".parse::<DeviceSpec>()?.open()?.is_cpu());
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum DeviceSpec {
    /// The processors of this machine.
    #[default]
    Cpu,
    /// The GPU of this number, as NVIDIA's driver counts them.
    Cuda(usize),
}

impl DeviceSpec {
    /// Opens the device.
    ///
    /// A GPU is opened once per process, whoever asks: its tensors share one stream, so that every thread may use what
    /// another has made, and they do without the events that several streams need. Memory that is freed stays with the
    /// process until it ends.
    ///
    /// # Errors
    /// [`Error::Device`] says what is missing: the feature, the driver, the GPU, kernels that fit it, or memory.
    pub fn open(self) -> Result<Device> {
        match self {
            DeviceSpec::Cpu => Ok(Device::Cpu),
            #[cfg(feature = "cuda")]
            DeviceSpec::Cuda(ordinal) => Ok(cuda::open(ordinal)?),
            #[cfg(not(feature = "cuda"))]
            DeviceSpec::Cuda(_) => Err(DeviceError::NotBuilt.into()),
        }
    }
}

impl FromStr for DeviceSpec {
    type Err = Error;

    fn from_str(text: &str) -> Result<Self> {
        let bad = || Argument::new("device", "name", "cpu, cuda or cuda:N", text);
        match text.split_once(':') {
            None if text == "cpu" => Ok(DeviceSpec::Cpu),
            None if text == "cuda" => Ok(DeviceSpec::Cuda(0)),
            // `parse` would take a sign, too.
            Some(("cuda", number)) if number.bytes().all(|b| b.is_ascii_digit()) => {
                Ok(DeviceSpec::Cuda(number.parse().map_err(|_| bad())?))
            }
            _ => Err(bad().into()),
        }
    }
}

impl Display for DeviceSpec {
    fn fmt(&self, f: &mut Formatter<'_>) -> std::fmt::Result {
        match self {
            DeviceSpec::Cpu => f.write_str("cpu"),
            DeviceSpec::Cuda(ordinal) => write!(f, "cuda:{ordinal}"),
        }
    }
}

/// Why a program cannot compute on a GPU, or cannot go on with it.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DeviceError {
    /// The program is for the CPU alone.
    #[error(
        "this program was built without CUDA: install NVIDIA's toolkit (12.0 or later) and build it with \
         `--features cuda`"
    )]
    NotBuilt,
    /// NVIDIA's driver is absent, or too old for the toolkit that the program was built with.
    #[error(
        "NVIDIA's driver does not start ({cause}): `nvidia-smi` says whether it is installed and its version"
    )]
    NoDriver {
        /// The driver's own words.
        cause: String,
    },
    /// The driver runs and shows no GPU.
    #[error("NVIDIA's driver finds no GPU; CUDA_VISIBLE_DEVICES chooses which ones a program sees")]
    NoGpu,
    /// The number of a GPU that is not there.
    #[error("there is no cuda:{ordinal}: the driver finds {count} GPU{}, cuda:0{}", plural(*count), up_to(*count))]
    NoSuchGpu {
        /// The number that was asked for.
        ordinal: usize,
        /// How many GPUs there are.
        count: usize,
    },
    /// The driver does not take the kernels that the program was built with.
    #[error(
        "{gpu} has compute capability {major}.{minor} and does not run the kernels of this program ({cause}): build \
         with CUDA_COMPUTE_CAP={major}{minor}, and with a toolkit that is not newer than the driver"
    )]
    Kernels {
        /// The name of the GPU.
        gpu: String,
        /// The first number of its compute capability.
        major: i32,
        /// The second number.
        minor: i32,
        /// The driver's own words.
        cause: String,
    },
    /// The memory of the GPU is full.
    #[error("{what} needs {} of the GPU's memory: {} of {} are free", mib(*asked), mib(*free), mib(*total))]
    OutOfMemory {
        /// The operation or the data.
        what: String,
        /// How many bytes it asked for.
        asked: usize,
        /// How many bytes are free, by the driver's count.
        free: usize,
        /// How many bytes there are.
        total: usize,
    },
    /// Another error of the driver or of one of CUDA's libraries.
    #[error(transparent)]
    Driver(candle_core::Error),
}

fn plural(count: usize) -> &'static str {
    if count == 1 { "" } else { "s" }
}

fn up_to(count: usize) -> String {
    if count > 1 { format!(" to cuda:{}", count - 1) } else { String::new() }
}

fn mib(bytes: usize) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_and_written() {
        for (text, spec) in
            [("cpu", DeviceSpec::Cpu), ("cuda", DeviceSpec::Cuda(0)), ("cuda:12", DeviceSpec::Cuda(12))]
        {
            assert_eq!(text.parse::<DeviceSpec>().unwrap(), spec);
            assert_eq!(spec.to_string().parse::<DeviceSpec>().unwrap(), spec);
        }
        for text in
            ["", "tpu", "cuda:", "cuda:x", "cuda:-1", "cuda:+1", "cpu:0", "CUDA", "cuda:99999999999999999999"]
        {
            let error = text.parse::<DeviceSpec>().unwrap_err().to_string();
            assert_eq!(error, format!("device: name must be cpu, cuda or cuda:N, got {text}"));
        }
    }

    #[test]
    fn each_error_says_what_to_do() {
        let text = |error: DeviceError| Error::from(error).to_string();
        assert!(text(DeviceError::NotBuilt).contains("--features cuda"));
        let one = DeviceError::NoSuchGpu { ordinal: 3, count: 1 };
        assert_eq!(text(one), "there is no cuda:3: the driver finds 1 GPU, cuda:0");
        let four = DeviceError::NoSuchGpu { ordinal: 4, count: 4 };
        assert_eq!(text(four), "there is no cuda:4: the driver finds 4 GPUs, cuda:0 to cuda:3");
        let old = DeviceError::Kernels { gpu: "Old".into(), major: 7, minor: 5, cause: "209".into() };
        assert!(text(old).contains("CUDA_COMPUTE_CAP=75"));
        let full =
            DeviceError::OutOfMemory { what: "conv3d".into(), asked: 3 << 20, free: 1 << 19, total: 8 << 20 };
        assert_eq!(text(full), "conv3d needs 3.0 MiB of the GPU's memory: 0.5 MiB of 8.0 MiB are free");
    }

    #[cfg(not(feature = "cuda"))]
    #[test]
    fn a_program_without_the_feature_says_so() {
        let error = DeviceSpec::Cuda(0).open().unwrap_err();
        assert!(matches!(error, Error::Device(DeviceError::NotBuilt)));
    }
}
