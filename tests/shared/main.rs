//! Tests on the shared data and the peers' numbers; see `oncograph_tests`.

use libtest_mimic::Arguments;

mod encoder;
mod metrics;
mod nn;

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = metrics::trials();
    trials.extend(encoder::trials());
    trials.extend(nn::trials());
    libtest_mimic::run(&arguments, trials).exit();
}
