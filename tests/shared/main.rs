//! Tests on the shared data and the peers' numbers; see `oncograph_tests`.

mod imaging;

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let trials = imaging::trials();
    libtest_mimic::run(&arguments, trials).exit();
}
