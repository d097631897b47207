//! Tests on the shared data and the peers' numbers; see `oncograph_tests`.

mod imaging;
mod metrics;

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let trials = [imaging::trials(), metrics::trials()].into_iter().flatten().collect();
    libtest_mimic::run(&arguments, trials).exit();
}
