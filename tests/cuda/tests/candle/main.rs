//! candle's operations on the CPU and on CUDA: which are the same, and which are known not to be.
//!
//! The list is the reason for what `oncograph-nn` does by itself on a device. A trap that candle has mended, and an
//! operation that has become one, both fail here: the first is to be moved to [`Case::same`], the second avoided.

mod arithmetic;
mod convolution;
mod empty;
mod indexing;

use candle_core::{DType, Device, Error, Result, Tensor, Var};
use libtest_mimic::{Arguments, Failed, Trial};
use oncograph_tests_cuda::{Values, difference, values};

/// One operation on small tensors.
struct Case {
    name: &'static str,
    expect: Expect,
    run: fn(&Device) -> Result<Tensor>,
}

/// What is known of an operation on CUDA.
#[derive(Clone, Copy)]
enum Expect {
    /// The CPU's numbers.
    Same,
    /// Other numbers than the CPU's, and no error.
    Wrong,
    /// An error or a panic with these words, where the CPU has a result.
    Fails(&'static str),
    /// An error on both.
    FailsOnBoth,
}

/// A launch that the driver refuses: an empty grid, too much shared memory.
const REFUSED: Expect = Expect::Fails("CUDA_ERROR_INVALID_VALUE");

impl Case {
    const fn same(name: &'static str, run: fn(&Device) -> Result<Tensor>) -> Self {
        Case { name, expect: Expect::Same, run }
    }

    const fn trap(name: &'static str, expect: Expect, run: fn(&Device) -> Result<Tensor>) -> Self {
        Case { name, expect, run }
    }

    fn check(&self) -> std::result::Result<(), Failed> {
        let cpu = values(&Device::Cpu, self.run);
        let cuda = values(&Device::new_cuda(0)?, self.run);
        match (self.expect, cpu, cuda) {
            (Expect::Same, Ok(cpu), Ok(cuda)) => match difference(&cpu, &cuda, 1e-5) {
                None => Ok(()),
                Some(difference) => Err(format!("a new trap: {difference}").into()),
            },
            (Expect::Wrong, Ok(cpu), Ok(cuda)) if difference(&cpu, &cuda, 1e-5).is_some() => Ok(()),
            (Expect::Fails(words), Ok(_), Err(cause)) if cause.contains(words) => Ok(()),
            (Expect::FailsOnBoth, Err(_), Err(_)) => Ok(()),
            (expect, cpu, cuda) => {
                let what = if matches!(expect, Expect::Same) { "a new trap" } else { "not the known trap" };
                Err(format!("{what}: CPU: {}; CUDA: {}", shown(&cpu), shown(&cuda)).into())
            }
        }
    }
}

/// An outcome in a few words.
fn shown(outcome: &std::result::Result<Values, String>) -> String {
    match outcome {
        Ok((shape, numbers)) => format!("{shape:?} {:?}", &numbers[..numbers.len().min(4)]),
        Err(cause) => cause.clone(),
    }
}

/// Numbers in [-1, 1] that repeat late.
fn wave(dims: &[usize], d: &Device) -> Result<Tensor> {
    let n = dims.iter().product::<usize>();
    let v: Vec<f64> = (0..n).map(|i| ((i * 7919 % 1009) as f64 * 0.37).sin()).collect();
    Tensor::from_vec(v, dims, &Device::Cpu)?.to_dtype(DType::F32)?.to_device(d)
}

fn var(dims: &[usize], d: &Device) -> Result<Var> {
    Var::from_tensor(&wave(dims, d)?)
}

/// The gradient of a weighted sum of `y`.
fn grad(y: Tensor, v: &Var) -> Result<Tensor> {
    let w = wave(y.dims(), y.device())?;
    (y * w)?.sum_all()?.backward()?.get(v).cloned().ok_or_else(|| Error::Msg("no gradient".into()))
}

fn main() {
    let arguments = Arguments::from_args();
    // Panics are results here.
    std::panic::set_hook(Box::new(|_| {}));
    let cases = [convolution::CASES, indexing::CASES, empty::CASES, arithmetic::CASES];
    let trials = cases.into_iter().flatten().map(|case| Trial::test(case.name, || case.check()));
    libtest_mimic::run(&arguments, trials.collect()).exit();
}
