//! Tests on the shared data and the peers' numbers; see `oncograph_tests`.

use libtest_mimic::Arguments;

mod metrics;

fn main() {
    let arguments = Arguments::from_args();
    let trials = metrics::trials();
    libtest_mimic::run(&arguments, trials).exit();
}
