//! What `cargo xtask test-cuda` runs: the one list to add to.

/// What of a package runs on a device: its unit tests, and these test targets.
pub struct Package {
    /// The package; it has a feature `cudnn`, with which `cuda` is on.
    pub name: &'static str,
    /// Its test targets, files below `tests/` or `[[test]]` of its manifest.
    pub tests: &'static [&'static str],
}

/// All of them. They are built in one go, so that cargo chooses one set of features for what they share; a target of
/// the same name runs in each package here that has it.
pub(super) static SUITE: [Package; 9] = [
    Package { name: "oncograph-tests-cuda", tests: &["candle", "stand_in"] },
    Package { name: "oncograph-nn", tests: &["contract", "device", "kernels"] },
    Package { name: "oncograph-encoder", tests: &["contract"] },
    Package { name: "oncograph-gnn", tests: &["contract"] },
    Package { name: "oncograph-losses", tests: &[] },
    Package { name: "oncograph-explain", tests: &[] },
    Package { name: "oncograph-spatiotemporal", tests: &["cuda", "options", "stg"] },
    Package { name: "oncograph-brain", tests: &["contract", "cuda", "precision"] },
    Package { name: "oncograph-omics", tests: &["cuda", "net"] },
];

/// All of them, for other tasks.
pub fn suite() -> &'static [Package] {
    &SUITE
}

/// How many of them, from the first on, `--quick` runs.
pub(super) const QUICK: usize = 1;

/// The profile of the root's manifest that everything is built with.
pub const PROFILE: &str = "cuda";

/// Packages whose build scripts call nvcc: they are built again where the stand-in's nvcc or its headers change, of
/// which cargo knows nothing.
pub(super) const KERNELS: [&str; 2] = ["candle-kernels", "oncograph-kernels"];

#[cfg(test)]
mod tests {
    use super::*;

    /// A package that is misspelt, or that lost its feature, would be an error of cargo only where a compiler is found.
    #[test]
    fn every_package_and_target_exists() {
        let root = crate::root().unwrap();
        let metadata = cargo_metadata::MetadataCommand::new()
            .manifest_path(root.join("Cargo.toml"))
            .no_deps()
            .exec()
            .unwrap();
        for Package { name, tests } in &SUITE {
            let package = metadata.packages.iter().find(|p| p.name == *name).expect(name);
            assert!(package.features.contains_key("cudnn"), "{name} has no feature cudnn");
            for test in *tests {
                let found = package.targets.iter().any(|t| t.is_test() && t.name == *test);
                assert!(found, "{name} has no test {test}");
            }
        }
    }
}
