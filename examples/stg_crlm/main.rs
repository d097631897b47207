//! STG.
fn main() {}
