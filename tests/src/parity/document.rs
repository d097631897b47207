//! `docs/parity.md`: what each public layer, loss and metric is held to.

use super::{Operation, operation, operations};
use crate::fixture::Verdict;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::path::Path;

/// The crates whose layers, losses, metrics and models must have a line.
const CRATES: [&str; 9] =
    ["nn", "encoder", "gnn", "losses", "metrics", "spatiotemporal", "brain", "omics", "explain"];

/// Public items without a case: what they are held to instead, by tests beside the code.
const OTHERS: &[(&str, &str, &str)] = &[
    (
        "nn",
        "Dropout",
        "share of zeros and scale of the rest; torch.nn.Dropout in expectation, other random numbers",
    ),
    (
        "nn",
        "LayerNorm",
        "torch.nn.LayerNorm through `transformer_encoder_layer_*`; finite differences in f64",
    ),
    ("nn", "Mlp", "by hand; torch_geometric.nn.MLP's names"),
    ("nn", "conv3d", "torch.nn.functional.conv3d through `conv3d_*`"),
    ("nn", "conv3d_with", "every algorithm against the definition on odd sizes"),
    ("nn", "conv_transpose3d", "torch.nn.functional.conv_transpose3d through `conv_transpose3d_*`"),
    ("nn", "pad3d", "torch.nn.functional.pad through `conv3d_*` with padding modes; by hand"),
    ("nn", "adaptive_max_pool3d_with_indices", "torch.nn.functional.adaptive_max_pool3d; by hand"),
    ("nn", "gather_reduce", "torch_geometric's messages through `sage_*`; by hand, finite differences"),
    (
        "nn",
        "gather_reduce_weighted",
        "torch_geometric's messages through `gcn_*`, `gat_*`; by hand, finite differences",
    ),
    ("nn", "segment_reduce", "torch_geometric.utils.scatter through `gcn_*`; by hand, finite differences"),
    (
        "nn",
        "BlockedConv3d",
        "the definition of convolution on odd sizes, every instruction set; `r3d18_*` through the folded network",
    ),
    (
        "nn",
        "propagate",
        "the composed form, values and gradients (`one_pass`); torch_geometric through `sage_*`, `gcn_*`",
    ),
    (
        "nn",
        "graph_attention",
        "the composed form, values and gradients (`one_pass`); torch_geometric through `gat_*`",
    ),
    (
        "nn",
        "graph_attention_v2",
        "the composed form, values and gradients (`one_pass`); torch_geometric through `gatv2_*`",
    ),
    (
        "nn",
        "edge_conditioned",
        "the composed form, values and gradients (`one_pass`); torch_geometric through `nnconv_*`",
    ),
    ("nn", "row_linear", "`linear`, through the layers above"),
    ("nn", "row_linear_onto", "the composed form, values and gradients; torch_geometric through `sage_*`"),
    ("nn", "with_loop_rows", "by the fills of `gat_edge_attr*`, `gatv2_edge_attr*`"),
    ("nn", "linear", "torch.nn.Linear through every layer"),
    ("nn", "linear_no_bias", "torch.nn.Linear(bias=False) through every layer"),
    ("nn", "add_relu", "relu of the sum; finite differences"),
    ("nn", "relu", "torch.relu through every model; gradient 0 at 0 by hand"),
    ("nn", "softmax", "torch.softmax through `mha_*`; finite differences"),
    ("nn", "log_sum_exp", "torch.logsumexp through `losses_*`; finite differences"),
    ("nn", "unit_rows", "torch.cosine_similarity through `info_nce*`; finite differences"),
    ("nn", "log_softmax", "torch.log_softmax through `losses_*`; finite differences"),
    ("gnn", "Sequential", "torch.nn.Sequential through `nnconv_*`, `attentional_aggregation_*`"),
    ("gnn", "Aggregator", "torch_geometric.nn.aggr through `sage_*`; by hand"),
    ("encoder", "FoldedVideoResNet", "the unfolded network, in each `r3d18_*` and `r2plus1d18_*` case"),
    ("encoder", "FoldedMonaiResNet", "the unfolded network, in each `monai_resnet*` case"),
    ("encoder", "SelfBuiltCnn", "no published numbers: shapes, gradients"),
    ("encoder", "fold_stem", "the same values on an image repeated in three channels"),
    ("losses", "mse", "torch.nn.MSELoss through `losses_*`; by hand"),
    ("losses", "censored_hinge", "the formula, by hand"),
    ("losses", "cosine_alignment", "the formula, by hand"),
    ("losses", "discrete_hazard", "the formula, by hand; finite differences"),
    ("losses", "survival_curve", "the formula, by hand"),
    ("losses", "predicted_time", "the definition, by hand"),
    ("losses", "temporal_consistency", "the formula, by hand"),
    ("metrics", "average_precision", "sklearn.metrics.average_precision_score through `roc_auc_*`"),
    ("metrics", "bootstrap", "known intervals of a mean; the same bits for any number of threads"),
    ("metrics", "bootstrap_difference", "known differences"),
    ("metrics", "brier_loss", "sklearn.metrics.brier_score_loss, by hand"),
    ("metrics", "calibration_curve", "sklearn.calibration.calibration_curve, by hand"),
    ("metrics", "calibration_slope", "logistic regression's own optimum"),
    ("metrics", "chi_squared_independence", "scipy.stats.chi2_contingency, printed values"),
    ("metrics", "concordance", "sksurv.metrics.concordance_index_censored, lifelines through `cindex_*`"),
    ("metrics", "decision_curve", "Vickers' formula, by hand"),
    ("metrics", "delong_interval", "the definition by pairs; pROC's published example"),
    ("metrics", "delong_test", "the definition by pairs"),
    ("metrics", "dynamic_auc_varying", "`dynamic_auc` where risks do not vary"),
    ("metrics", "expected_calibration_error", "by hand"),
    ("metrics", "log_loss", "sklearn.metrics.log_loss, by hand"),
    ("metrics", "log_rank", "lifelines through `logrank`"),
    ("metrics", "kendall", "scipy.stats.kendalltau through `nonparametric_tests`"),
    ("metrics", "pearson", "scipy.stats.pearsonr through `nonparametric_tests`"),
    ("metrics", "spearman", "scipy.stats.spearmanr through `nonparametric_tests`"),
    ("metrics", "mann_whitney", "scipy.stats.mannwhitneyu through `nonparametric_tests`"),
    ("metrics", "welch_t", "scipy.stats.ttest_ind(equal_var=False) through `nonparametric_tests`"),
    ("metrics", "wilcoxon", "scipy.stats.wilcoxon through `nonparametric_tests`"),
    ("metrics", "mean_absolute_error", "by hand"),
    ("metrics", "mean_squared_error", "by hand"),
    ("metrics", "multiclass_log_loss", "sklearn.metrics.log_loss through `multiclass_metrics`"),
    ("metrics", "permutation_test", "all permutations of a small sample"),
    ("metrics", "r_squared", "by hand"),
    ("metrics", "restricted_mean", "the area under a curve by hand"),
    ("metrics", "roc_auc", "sklearn.metrics.roc_auc_score through `roc_auc_*`"),
    (
        "metrics",
        "roc_auc_one_vs_one_averaged",
        "sklearn.metrics.roc_auc_score(multi_class='ovo') through `multiclass_metrics`",
    ),
    ("metrics", "survival_calibration", "by hand"),
    ("metrics", "survival_decision_curve", "dcurves.dca with a time, printed values"),
    ("metrics", "time_adjacent_accuracy", "the definition, by hand"),
    (
        "metrics",
        "CoxLassoPath",
        "the Karush-Kuhn-Tucker conditions at each penalty, by hand; `CoxModel` where there is almost none. \
         scikit-survival's CoxnetSurvivalAnalysis minimises the same, without a case",
    ),
    ("metrics", "LogisticRegression", "the gradient at the maximum is the penalty's"),
    ("metrics", "dice", "monai.metrics.DiceMetric through `seg_metrics`"),
    ("metrics", "jaccard", "monai.metrics.MeanIoU through `seg_metrics`"),
    ("encoder", "DenseNet", "parameter count of monai.networks.nets.DenseNet121; gradient coverage"),
    (
        "nn",
        "assemble",
        "on CUDA: the tests of `oncograph_spatiotemporal`'s operation on the device; a study on both devices",
    ),
    ("nn", "level_gradient", "as `assemble`"),
    ("nn", "cox", "on CUDA: `oncograph_losses` on the CPU, in f32 and f64"),
    (
        "losses",
        "cox_in_cohort",
        "the formula, by hand; finite differences; `cox` where the batch is the cohort",
    ),
    ("losses", "uncertainty_weighted", "the formula, by hand; finite differences"),
    ("losses", "cross_view", "the formula, by hand, with a negative value; finite differences"),
    ("losses", "bi_level", "its terms, by hand; finite differences"),
    ("brain", "Autoencoder", "parameter counts of the paper; the contract"),
    ("brain", "AutoencoderLearner", "a loss that falls"),
    (
        "brain",
        "GliomaNet",
        "parameter counts of the paper; cached gradients against the whole batch; gradient coverage of every switch",
    ),
    (
        "brain",
        "PopulationClassifier",
        "parameter count of the paper; the contract; inductive predictions that others do not move",
    ),
    (
        "brain",
        "published_class_sizes",
        "the paper's rows: one pair of class sizes fits most; known counts of one row",
    ),
    ("brain", "published_counts", "as `published_class_sizes`"),
    ("brain", "sample_positions", "by hand"),
    ("brain", "sample_voxels", "by hand"),
    ("brain", "z_score_within", "by hand"),
    ("omics", "Fused", "importances that add up to 1; absent modalities"),
    ("omics", "Heads", "through the network: outputs per task and patient"),
    (
        "omics",
        "InterModality",
        "parameter count of the article; torch.nn.MultiheadAttention and TransformerEncoderLayer through `mha_*`, `transformer_*`",
    ),
    (
        "omics",
        "IntraModality",
        "torch_geometric.nn.GATConv through `gat_*`; a batch equals its patients one by one",
    ),
    ("omics", "NodeEmbedding", "torch.nn.Linear on rows of a diagonal matrix"),
    ("omics", "fed_avg", "by hand; one site is local training bit for bit"),
    (
        "omics",
        "federate",
        "one site against `fit`, bit for bit; kills after every step; a head without labels at one site",
    ),
    ("omics", "traffic", "the size of the parameters"),
    ("omics", "late_fusion", "the mean, by hand"),
    ("omics", "risk", "the sign, by hand"),
    ("omics", "task_loss", "`oncograph_losses`; masked labels and absent events by hand"),
    ("explain", "cam_point_correlation", "ranks by hand"),
    (
        "explain",
        "over_representation",
        "gseapy.enrich, scipy.stats.hypergeom and Benjamini-Hochberg on Reactome, to 1e-10",
    ),
    (
        "explain",
        "prerank",
        "gseapy.prerank: scores, curves and leading edges to 1e-10, the rest within its Monte Carlo error",
    ),
    ("explain", "rank_stability", "equal and reversed rankings"),
    ("explain", "compare_tracts", "by hand"),
    ("explain", "tract_density", "by hand"),
    ("spatiotemporal", "mask_numbers", "boxes and discs by hand"),
    ("spatiotemporal", "image_features", "the definition, by hand"),
    ("spatiotemporal", "TimeScale", "the least and the largest time; times without a range are refused"),
    (
        "spatiotemporal",
        "ImageScaler",
        "means, variances and logarithms by hand; patients that do not touch the fit",
    ),
    ("spatiotemporal", "StgPipeline", "patients that do not touch the fit"),
    (
        "spatiotemporal",
        "missing_nodes",
        "nothing missing scores as the study does; two draws differ; the shares and draws that it lists",
    ),
    (
        "spatiotemporal",
        "occlusions",
        "all inputs score as the study does; each missing input changes predictions",
    ),
    (
        "spatiotemporal",
        "attribution_summary",
        "attributions: sums beside the risks of the network itself on an average patient; means, ranges and shares by hand",
    ),
    (
        "spatiotemporal",
        "nested_stg",
        "the networks of a bundle are those that each fold chose; what candidates may not change",
    ),
    ("spatiotemporal", "write_attributions", "the lines of a node, one per patient"),
    (
        "spatiotemporal",
        "risk_by_step",
        "`monotone_risk`: the mean over steps is the risk; a study without steps has none",
    ),
    (
        "spatiotemporal",
        "audit_tables",
        "the sizes, the impossible row and the whole-year rows that the specification found by hand",
    ),
    ("spatiotemporal", "constant_rows", "four patients by hand"),
    ("spatiotemporal", "parameter_ratios", "the networks themselves, counted"),
    ("omics", "OmicsPipeline", "one patient alone as in the cohort; patients that do not touch the fit"),
];

/// Public functions that compute no layer, loss or metric.
const HELPERS: &[&str] = &[
    "save_tensors",
    "propagate_fits",
    "edge_conditioned_fits",
    "patient_graph",
    "patient_schema",
    "brain_schema",
    "predict",
    "preprocess",
    "feature_matrix",
    "random_rotation",
    "cam_volume",
    "kept_tracts",
    "mirrored_mean",
    "complete_edges",
    "consecutive_edges",
    // Convolutions in it are held to f32, and on CUDA devices to the CPU, by the tests of kernels.
    "with_precision",
    // What tests ask about CUDA devices.
    "by_host",
    "without_cudnn",
    // candle's own operations with the CPU's result on every device, held to it in `tests/cuda`.
    "above",
    "clamp",
    "leaky_relu",
    "matmul",
    "maximum",
    "mean",
    "minimum",
    "on_host",
    "ones",
    "rows_at",
    "select_rows",
    "sum",
    "to_dtype",
    "where_else",
    // Images and points that are prepared for a network.
    "crop_grid",
    "place_on_atlas",
    "prepare_images",
    "surface_points",
    // Studies: what is trained, and scores by the rule of the study.
    "late_fusion_jobs",
    "missing_rows",
    "missing_sequences",
    "modality_grid",
    "node_drop_curve",
    "published_variants",
    "switched_variants",
    // Tables, figures and model cards.
    "glioma_connectome",
    "glioma_model_card",
    "missing_structures",
    "parameter_table",
    "population_figure",
    "slices_figure",
    "slices_with_masks",
    "stage_costs",
    "stg_model_card",
    // Files.
    "write_bundle",
    "write_glioma_bundle",
    "write_stg_bundle",
];

/// The page, from the outcomes of a folder of cases; an error names public items that have neither a case nor a line.
pub fn document(root: &Path, outcomes: &[(String, Verdict)]) -> Result<String, String> {
    let missing: Vec<String> =
        public_items(root)?.into_iter().filter(|(c, n)| !is_listed(c, n)).map(join).collect();
    if !missing.is_empty() {
        return Err(format!("no case and no line in the list of others: {}", missing.join(", ")));
    }
    let mut cases: BTreeMap<&str, Vec<&(String, Verdict)>> = BTreeMap::new();
    for outcome in outcomes {
        if let Some(operation) = operation(&outcome.0) {
            cases.entry(operation.name).or_default().push(outcome);
        }
    }
    let mut page = String::from(HEAD);
    for operation in operations() {
        let Some(outcomes) = cases.get(operation.name) else { continue };
        row(&mut page, operation, outcomes);
    }
    page.push_str(WITHOUT);
    for (name, item, held) in OTHERS {
        page.push_str(&format!("| `oncograph_{name}::{item}` | {held} |\n"));
    }
    page.push_str(MUTATIONS);
    let table = root.join("tests/mutations.md");
    page.push_str(&std::fs::read_to_string(&table).map_err(|e| format!("{}: {e}", table.display()))?);
    Ok(page)
}

fn row(page: &mut String, operation: &Operation, outcomes: &[&(String, Verdict)]) {
    let items: Vec<String> = operation.items.iter().map(|i| format!("`{i}`")).collect();
    let names: Vec<String> = outcomes.iter().map(|(name, _)| format!("`{name}`")).collect();
    let ratio = |verdict: &Verdict| match verdict {
        Verdict::Pass(worst) => worst.ratio,
        _ => f64::INFINITY,
    };
    let worst = outcomes.iter().map(|(_, v)| ratio(v)).fold(0.0, f64::max);
    let (items, names) = (items.join(", "), names.join(", "));
    // Writing into a string cannot fail.
    writeln!(page, "| {items} | {} | {names} | {worst:.2} |", operation.reference).ok();
}

const HEAD: &str = "# Parity

Every public layer, loss and metric, what it is held to, and the case that holds it. Written by

```text
cargo run --release --bin parity -- ../shared/fixtures --docs docs/parity.md
```

A case is compared with the peer's outputs, gradients of inputs and parameters, and buffers, each within
`8 max(tol, 1e-6 max|reference|)`, `tol` the peer's own difference between float32 and float64; statistics within 1e-9
of themselves. A tensor that was not compared, or an option that nobody read, fails the case. The last column is the
largest error of the cases as a share of what is allowed.

Cases with other seeds, shapes and options come from `tests/peers/generate.py OUT --seed N` (layers, losses, pools, graphs
of points: PyTorch, PyTorch Geometric, torch-cluster) and `tests/peers/generate_numpy.py OUT --seed N` (statistics and
images: scipy, scikit-learn, scikit-survival, lifelines, statsmodels, MONAI, scikit-image, SimpleITK); `parity OUT` runs
them. Of 2,160 of the former (seeds 1 to 6) two fail: gradients of bipartite attention that are a thousandth of what they are
the difference of, by up to 1.5 times the tolerance. Of 408 of the latter two fail: the volume inside a surface through
noise by 0.53 % (polygons are cut along other diagonals; 0.5 % are allowed), and one voxel of a histogram matching.

Cases of enrichment come from `tests/peers/generate_enrichment.py OUT --seed N --gmt FILE ...` (gseapy, scipy): p-values,
corrected ones, scores, running sums and leading edges are held to 1e-10; what rests on permutations (normalised scores,
p-values, false discovery rates of `prerank`) to six standard errors, the rates loosely, to 0.25 and
the difference of two runs of the peer. Of 26 cases (seeds 1 and 2; Reactome and KEGG among them) none fails.

| item | reference | cases | worst |
|---|---|---|---|
";

const WITHOUT: &str = "
## Without a parity case

Held by tests beside the code.

| item | held to |
|---|---|
";

const MUTATIONS: &str = "
## Mutations

`cargo xtask mutate` makes one mistake at a time and checks that the runner notices.

";

fn join((name, item): (String, String)) -> String {
    format!("oncograph_{name}::{item}")
}

fn is_listed(name: &str, item: &str) -> bool {
    let prefix = format!("oncograph_{name}::");
    let of_case = |path: &&str| path.starts_with(&prefix) && path.split("::").any(|part| part == item);
    HELPERS.contains(&item)
        || OTHERS.iter().any(|(c, n, _)| *c == name && *n == item)
        || operations().flat_map(|o| o.items).any(of_case)
}

/// Public functions, and public types that have a `forward` or a `fit`, of the crates that compute.
fn public_items(root: &Path) -> Result<BTreeSet<(String, String)>, String> {
    let mut items = BTreeSet::new();
    for name in CRATES {
        let mut files = vec![];
        sources(&root.join(format!("crates/oncograph-{name}/src")), &mut files)?;
        for text in files {
            let layers = text.contains("pub fn forward(");
            let mut block = "";
            for line in text.lines() {
                let word = |rest: &str| {
                    rest.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(String::from)
                };
                let function = line.strip_prefix("pub fn ").and_then(word);
                let layer = line.strip_prefix("pub struct ").filter(|_| layers).and_then(word);
                let layer = layer
                    .filter(|n| !["Config", "Output", "Masks", "Pyramid"].iter().any(|end| n.ends_with(end)));
                if line.starts_with("impl") {
                    block = line.strip_prefix("impl ").unwrap_or_default();
                }
                let fitted = line.starts_with("    pub fn fit(") || line.starts_with("    pub fn fit_at(");
                let fitted = fitted
                    .then(|| word(block))
                    .flatten()
                    .filter(|n| !n.ends_with("Config") && text.contains(&format!("\npub struct {n}")));
                items.extend(function.or(layer).or(fitted).map(|item| (name.to_string(), item)));
            }
        }
    }
    Ok(items)
}

/// The texts of the sources below a folder, without those that serve tests.
fn sources(folder: &Path, texts: &mut Vec<String>) -> Result<(), String> {
    let at_folder = |e: std::io::Error| format!("{}: {e}", folder.display());
    let mut entries =
        std::fs::read_dir(folder).map_err(at_folder)?.collect::<Result<Vec<_>, _>>().map_err(at_folder)?;
    entries.sort_by_key(|e| e.file_name());
    for entry in entries {
        let path = entry.path();
        if path.is_dir() && !path.ends_with("testing") {
            sources(&path, texts)?;
        } else if path.extension().is_some_and(|e| e == "rs") {
            texts.push(std::fs::read_to_string(&path).map_err(at_folder)?);
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    /// A new layer, loss or metric cannot be added without the reference that it is held to, nor a line without its item.
    #[test]
    fn everything_public_is_listed() {
        let root = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
        let items = super::public_items(&root).unwrap();
        let missing: Vec<_> = items.iter().filter(|(c, n)| !super::is_listed(c, n)).collect();
        assert!(missing.is_empty(), "{missing:?}");
        let has = |c: &str, n: &str| items.contains(&(c.to_string(), n.to_string()));
        let gone: Vec<_> = super::OTHERS.iter().filter(|(c, n, _)| !has(c, n)).map(|o| o.1).collect();
        assert!(gone.is_empty(), "{gone:?}");
    }
}
