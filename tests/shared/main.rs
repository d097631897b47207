//! Tests on the shared data and the peers' numbers; see `oncograph_tests`.

mod cases;
mod datasets;
mod encoder;
mod imaging;
mod omics;
mod registration;

use libtest_mimic::Arguments;

fn main() {
    let arguments = Arguments::from_args();
    let trials = [
        cases::trials(),
        datasets::trials(),
        encoder::trials(),
        imaging::trials(),
        registration::trials(),
        omics::trials(),
        oncograph_tests::parity::trials(),
    ];
    libtest_mimic::run(&arguments, trials.into_iter().flatten().collect()).exit();
}
