//! Tests on the shared data and the peers' numbers; see `oncograph_tests`.

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let trials = Vec::new();
    libtest_mimic::run(&arguments, trials).exit();
}
