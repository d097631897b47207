//! Tests on the shared data and the peers' numbers; see `oncograph_tests`.

use libtest_mimic::Arguments;

mod datasets;
mod imaging;
mod metrics;

fn main() {
    let arguments = Arguments::from_args();
    let mut trials = datasets::trials();
    trials.extend(imaging::trials());
    trials.extend(metrics::trials());
    libtest_mimic::run(&arguments, trials).exit();
}
