//! Times one case of [`oncograph_tests::bench`]; `cargo xtask bench` runs all of them beside the peers.

use anyhow::{Context, Result};
use clap::Parser;
use oncograph_alloc::Recycling;
use oncograph_nn::{DeviceSpec, Precision, with_precision};
use oncograph_tests::bench::{Settings, cases};
use std::path::PathBuf;

#[global_allocator]
static ALLOCATOR: Recycling = Recycling::new();

/// Time one case and print its wall and processor seconds and peak memory as JSON.
#[derive(Parser)]
#[command(name = "bench")]
struct Arguments {
    /// The case; without one their names are listed.
    case: Option<String>,
    /// Where the files that cases read lie, and where inputs and results are written for the peer.
    #[arg(long, value_name = "DIR", default_value = "target/bench")]
    dir: PathBuf,
    /// Runs that count; one more comes before them.
    #[arg(long, default_value_t = 5)]
    runs: usize,
    /// How long short work is repeated, in seconds.
    #[arg(long, default_value_t = 2.0)]
    seconds: f64,
    /// Where the work is done: cpu, cuda or cuda:N, which needs the feature `cuda`.
    #[arg(long, default_value = "cpu")]
    device: DeviceSpec,
    /// What products are computed in: f32, tf32 or bf16; all but f32 need a GPU.
    #[arg(long, default_value_t = Precision::F32)]
    precision: Precision,
    /// Inputs so small that only the way is tested.
    #[arg(long)]
    tiny: bool,
}

fn main() -> Result<()> {
    let arguments = Arguments::parse();
    let Some(name) = arguments.case else {
        cases().iter().for_each(|case| println!("{}", case.name));
        return Ok(());
    };
    let all = cases();
    let case = all.iter().find(|c| c.name == name).with_context(|| format!("{name}: no such case"))?;
    let settings = Settings {
        dir: arguments.dir,
        runs: arguments.runs,
        seconds: arguments.seconds,
        device: arguments.device.open()?,
        tiny: arguments.tiny,
    };
    arguments.precision.check_device(&settings.device)?;
    let measured = with_precision(arguments.precision, || case.run(&settings));
    let measured = measured.with_context(|| name.clone())?;
    println!("{}", serde_json::to_string(&measured)?);
    Ok(())
}
