//! The parts of a pack: the one list to add to.

use super::part::{Need, Part};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// Seconds that all parts together may take.
pub const LIMIT: f64 = 480.0;

/// Seconds that the parts of a group may take together, in the order in which groups run.
const GROUPS: [(&str, f64); 5] =
    [("machine", 30.0), ("tests", 90.0), ("examples", 80.0), ("times", 240.0), ("sanitizer", 80.0)];

/// How much longer the stand-in may take for the example programs, which are not tiny.
const PATIENCE: f64 = 3.0;

/// Seconds by group.
pub fn groups(kind: Kind) -> BTreeMap<String, f64> {
    let seconds = |name: &str, seconds: f64| {
        if name == "examples" && kind.stand_in { PATIENCE * seconds } else { seconds }
    };
    GROUPS.map(|(name, all)| (name.to_string(), seconds(name, all))).into()
}

/// What is measured beside the peers, in one process of theirs.
pub struct Set {
    /// The name.
    pub name: &'static str,
    /// Cases of `bench`, and what the page calls them.
    pub cases: &'static [(&'static str, &'static str)],
    /// What products are computed in, one after the other.
    pub precisions: &'static [&'static str],
    /// Seconds for one of our cases, and for all of the peers'.
    limits: (f64, f64),
}

/// The precision that has no ending in names.
const F32: &str = "f32";

/// What names of parts end in, for a precision.
pub fn ending(precision: &str) -> String {
    if precision == F32 { String::new() } else { format!("-{precision}") }
}

/// All sets, in the order in which they run.
pub const SETS: [Set; 6] = [
    Set {
        name: "images",
        cases: &[
            ("encoder/r3d_18_training", "r3d_18, training step, 2x1x40x128x128"),
            ("encoder/r3d_18_batch_8", "r3d_18, inference, 8x1x40x128x128"),
            ("model/glioma_image", "glioma image encoder, training step, 2x4x120x120x120"),
        ],
        precisions: &[F32, "tf32", "bf16"],
        limits: (20.0, 40.0),
    },
    Set {
        name: "models",
        cases: &[
            ("model/stg_full", "STG full, training step, batch 64"),
            ("model/stg_decoupled", "STG decoupled, training step, batch 64"),
            ("model/omics", "omics, training step, batch 32"),
        ],
        precisions: &[F32],
        limits: (15.0, 40.0),
    },
    Set {
        name: "graphs_1e6",
        cases: &[
            ("graph/sage", "SAGE 64, 1M edges"),
            ("graph/sage_256", "SAGE 256, 1M edges"),
            ("graph/gcn", "GCN 64, 1M edges"),
            ("graph/gcn_256", "GCN 256, 1M edges"),
            ("graph/gat", "GAT 64, 1M edges"),
            ("graph/gat_256", "GAT 256, 1M edges"),
            ("graph/gatv2", "GATv2 64, 1M edges"),
            ("graph/gatv2_256", "GATv2 256, 1M edges"),
            ("graph/nnconv_64_1e6", "NNConv 64, 1M edges"),
        ],
        precisions: &[F32],
        limits: (15.0, 50.0),
    },
    Set {
        name: "graphs_1e7",
        cases: &[
            ("graph/sage_1e7", "SAGE 64, 10M edges"),
            ("graph/gcn_1e7", "GCN 64, 10M edges"),
            ("graph/gat_1e7", "GAT 64, 10M edges"),
            ("graph/gatv2_1e7", "GATv2 64, 10M edges"),
        ],
        precisions: &[F32],
        limits: (25.0, 50.0),
    },
    Set {
        name: "graphs_1e7_256",
        cases: &[
            ("graph/sage_1e7_256", "SAGE 256, 10M edges"),
            ("graph/gcn_1e7_256", "GCN 256, 10M edges"),
            ("graph/gat_1e7_256", "GAT 256, 10M edges"),
            ("graph/gatv2_1e7_256", "GATv2 256, 10M edges"),
        ],
        precisions: &[F32],
        limits: (25.0, 50.0),
    },
    // Last, since it may take all the time that is left; PyG keeps a matrix per edge, for which no GPU has the memory.
    Set {
        name: "nnconv",
        cases: &[
            ("graph/nnconv_256_1e6", "NNConv 256, 1M edges"),
            ("graph/nnconv_64_1e7", "NNConv 64, 10M edges"),
            ("graph/nnconv_256_1e7", "NNConv 256, 10M edges"),
        ],
        precisions: &[F32],
        limits: (25.0, 30.0),
    },
];

/// The example programs with options under which they are quick.
pub const EXAMPLES: [(&str, &[&str]); 3] = [
    ("stg_crlm", &["--patients", "24", "--size", "4", "16", "--epochs", "2", "--folds", "2"]),
    ("glioma_idh", &["--patients", "60", "--epochs", "1"]),
    ("multimodal_oncology", &["--patients", "60", "--epochs", "2", "--folds", "2"]),
];

/// A test program in the pack.
pub struct Test {
    /// The package.
    pub package: String,
    /// The target; `lib` for unit tests.
    pub target: String,
}

impl Test {
    /// The name of its file.
    pub fn file(&self) -> String {
        format!("{}-{}", self.package, self.target)
    }

    /// Where it stands in the order: kernels and contracts are the first to be known.
    pub fn rank(&self) -> usize {
        let order = ["kernels", "contract", "device", "candle", "stg", "net", "lib"];
        let place = order.iter().position(|name| *name == self.target).unwrap_or(order.len());
        2 * place + usize::from(self.package != "oncograph-nn")
    }
}

/// What the plan depends on.
#[derive(Debug, Clone, Copy)]
pub struct Kind {
    /// Small inputs.
    pub tiny: bool,
    /// Programs of the stand-in.
    pub stand_in: bool,
}

/// All parts for these test programs.
pub fn parts(tests: &[Test], kind: Kind) -> Vec<Part> {
    let mut parts = vec![
        part("versions", "machine", 15.0, vec![words("sh versions.sh")]),
        part("bench-device_copy", "machine", 20.0, vec![bench("device/copy", kind, F32)]),
    ];
    for test in tests {
        let limit = if test.target == "kernels" { 60.0 } else { 30.0 };
        let file = test.file();
        parts.push(part(&format!("test-{file}"), "tests", limit, vec![vec![format!("bin/{file}")]]));
    }
    parts.extend(EXAMPLES.iter().map(|(name, options)| example(name, options, kind)));
    for set in &SETS {
        set.precisions.iter().for_each(|precision| parts.extend(timed(set, kind, precision)));
    }
    if let Some(kernels) = tests.iter().find(|test| test.target == "kernels") {
        for tool in ["memcheck", "racecheck"] {
            let line = format!(
                "compute-sanitizer --tool {tool} --error-exitcode 9 bin/{} --test-threads 1",
                kernels.file()
            );
            let mut part = part(&format!("sanitizer-{tool}"), "sanitizer", 45.0, vec![words(&line)]);
            part.needs = vec![Need::Program("compute-sanitizer".into())];
            parts.push(part);
        }
    }
    parts
}

fn part(name: &str, group: &str, limit: f64, steps: Vec<Vec<String>>) -> Part {
    Part { name: name.into(), group: group.into(), limit, steps, ..Part::default() }
}

fn words(line: &str) -> Vec<String> {
    line.split_whitespace().map(String::from).collect()
}

/// One case of ours.
fn bench(case: &str, kind: Kind, precision: &str) -> Vec<String> {
    let mut line = words(&format!("bin/bench {case} --device cuda --dir work --runs 5 --seconds 0.5"));
    line.extend(kind.tiny.then(|| "--tiny".into()));
    line.extend(["--precision".into(), precision.into()]);
    line
}

/// The program on the CPU and on the GPU, and the comparison of what both wrote.
fn example(name: &str, options: &[&str], kind: Kind) -> Part {
    let run = |device: &str| {
        let mut line = words(&format!("bin/{name} --device {device} --out work/{device}"));
        line.extend(options.iter().map(ToString::to_string));
        line
    };
    let compare = words(&format!("bin/xtask gpu --compare work/cpu/{name} work/cuda/{name}"));
    let limit = if kind.stand_in { PATIENCE * 40.0 } else { 40.0 };
    part(&format!("example-{name}"), "examples", limit, vec![run("cpu"), run("cuda"), compare])
}

/// Our cases of a set and directly after them the peers'.
fn timed(set: &Set, kind: Kind, precision: &str) -> Vec<Part> {
    let ending = ending(precision);
    let ours = |(case, _): &(&str, &str)| {
        let name = format!("bench-{}{ending}", case.replace('/', "_"));
        part(&name, "times", set.limits.0, vec![bench(case, kind, precision)])
    };
    let mut parts: Vec<Part> = set.cases.iter().map(ours).collect();
    let device = if kind.stand_in { "cpu" } else { "cuda" };
    let mut line = words("python3 peers/bench.py device");
    line.extend(set.cases.iter().map(|(case, _)| case.to_string()));
    line.extend(words(&format!("--device {device} --dir work --runs 5 --seconds 0.5")));
    line.extend(["--precision".into(), precision.into()]);
    let mut peers = part(&format!("peers-{}{ending}", set.name), "times", set.limits.1, vec![line]);
    let usable =
        if kind.stand_in { "import torch" } else { "import torch; assert torch.cuda.is_available()" };
    peers.needs = vec![Need::Python(usable.into())];
    let inputs =
        |(case, _): &(&str, &str)| PathBuf::from(format!("work/{}.safetensors", case.replace('/', "_")));
    peers.removes = set.cases.iter().map(inputs).collect();
    parts.push(peers);
    parts
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    fn test(package: &str, target: &str) -> Test {
        Test { package: package.into(), target: target.into() }
    }

    #[test]
    fn names_are_unique_and_groups_known() {
        let tests =
            [test("oncograph-nn", "kernels"), test("oncograph-nn", "lib"), test("oncograph-gnn", "lib")];
        let parts = parts(&tests, Kind { tiny: false, stand_in: false });
        let names: BTreeSet<&str> = parts.iter().map(|p| p.name.as_str()).collect();
        assert_eq!(names.len(), parts.len());
        for part in &parts {
            let place = GROUPS.iter().position(|(name, _)| *name == part.group);
            assert!(place.is_some_and(|at| part.limit <= GROUPS[at].1), "{}", part.name);
        }
        let order: Vec<_> =
            parts.iter().map(|p| GROUPS.iter().position(|(name, _)| *name == p.group)).collect();
        assert!(order.is_sorted(), "parts of a group follow each other");
    }

    #[test]
    fn all_groups_together_take_a_little_more_than_the_limit_at_most() {
        let all: f64 = GROUPS.iter().map(|(_, seconds)| seconds).sum();
        assert!((LIMIT..=1.1 * LIMIT).contains(&all), "{all}");
    }

    #[test]
    fn kernels_of_the_lowest_crate_come_first() {
        let mut tests =
            [test("oncograph-gnn", "contract"), test("oncograph-nn", "lib"), test("oncograph-nn", "kernels")];
        tests.sort_by_key(Test::rank);
        assert_eq!(tests[0].file(), "oncograph-nn-kernels");
        assert_eq!(tests[2].file(), "oncograph-nn-lib");
    }

    #[test]
    fn the_peers_read_what_our_cases_wrote_and_the_last_to_read_drops_it() {
        let parts = parts(&[], Kind { tiny: true, stand_in: true });
        let at = |name: &str| parts.iter().position(|p| p.name == name).unwrap();
        assert!(at("bench-graph_sage") < at("peers-graphs_1e6"));
        assert!(parts[at("bench-graph_sage")].steps[0].contains(&"--tiny".to_string()));
        assert!(
            parts[at("peers-graphs_1e6")].removes.contains(&PathBuf::from("work/graph_sage.safetensors"))
        );
        for name in ["bench-encoder_r3d_18_training", "bench-model_glioma_image", "peers-images"] {
            for precision in ["tf32", "bf16"] {
                let line = &parts[at(&format!("{name}-{precision}"))].steps[0];
                assert!(line.ends_with(&["--precision".into(), precision.into()]), "{line:?}");
            }
        }
    }
}
