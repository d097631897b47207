//! The rows of the page.

/// One case and the bound that it should reach.
pub struct Row {
    /// The case, as `bench` and `bench.py` name it.
    pub case: &'static str,
    /// What is done.
    pub work: &'static str,
    /// Our time divided by the fastest peer's, at most.
    pub target: Option<f64>,
}

const fn row(case: &'static str, work: &'static str, target: f64) -> Row {
    Row { case, work, target: Some(target) }
}

const fn scale(case: &'static str, work: &'static str) -> Row {
    Row { case, work, target: None }
}

/// Every row, in the order of the page; a name's part before `/` is its section.
pub const ROWS: &[Row] = &[
    row("encoder/r3d_18", "r3d_18, inference, 1x1x40x128x128", 0.45),
    row("encoder/r3d_18_batch_6", "r3d_18, inference, batch 6", 0.45),
    row("encoder/r2plus1d_18", "R(2+1)D-18, inference", 0.6),
    row("encoder/monai_resnet18", "MONAI ResNet-18, inference", 0.6),
    row("encoder/r3d_18_training", "r3d_18, training step, batch 2", 0.5),
    scale("encoder/conv_1e5", "convolution 3x3x3, 8 -> 8, 46^3 voxels (1e5)"),
    scale("encoder/conv_1e6", "convolution 3x3x3, 8 -> 8, 100^3 voxels (1e6)"),
    scale("encoder/conv_1e7", "convolution 3x3x3, 8 -> 8, 215^3 voxels (1e7)"),
    scale("graph/sage_forward_1e5", "SAGE, forward, 10k nodes, 100k edges"),
    row("graph/sage_forward", "SAGE, forward", 0.5),
    row("graph/sage_forward_1e7", "SAGE, forward, 1M nodes, 10M edges", 0.5),
    scale("graph/sage_1e5", "SAGE, forward and backward, 10k nodes, 100k edges"),
    row("graph/sage", "SAGE, forward and backward", 0.5),
    row("graph/sage_1e7", "SAGE, forward and backward, 1M nodes, 10M edges", 0.5),
    row("graph/gcn_forward", "GCN, forward", 0.5),
    row("graph/gcn_forward_1e7", "GCN, forward, 1M nodes, 10M edges", 0.5),
    row("graph/gcn", "GCN, forward and backward", 0.5),
    row("graph/gcn_1e7", "GCN, forward and backward, 1M nodes, 10M edges", 0.5),
    scale("graph/gat_1e5", "GAT, 8 heads of 8, 10k nodes, 100k edges"),
    row("graph/gat", "GAT, 8 heads of 8", 0.2),
    row("graph/gat_edges", "GAT, 8 heads of 8, 16 edge attributes", 0.2),
    row("graph/gatv2", "GATv2, 8 heads of 8", 0.2),
    row("graph/gatv2_edges", "GATv2, 8 heads of 8, 16 edge attributes", 0.2),
    row("graph/nnconv_16", "NNConv 16 -> 16, hidden 16", 0.2),
    row("graph/nnconv_64", "NNConv 64 -> 64, hidden 16, 10k nodes, 100k edges", 0.2),
    row("model/stg_full", "STG full, batch 64", 0.8),
    row("model/stg_decoupled", "STG decoupled, batch 64", 0.4),
    row("model/glioma_image", "glioma image encoder, batch 2", 0.6),
    row("model/glioma_geometry", "glioma geometry encoder, batch 20, radius times 1.41 per level", 0.6),
    row("model/glioma_network", "glioma network encoder, batch 20", 0.6),
    row("survival/concordance", "concordance index, 100k subjects", 0.05),
    row("survival/cox_f32", "Cox loss and gradient, 100k subjects, f32", 0.8),
    row("survival/cox_f64", "Cox loss and gradient, 100k subjects, f64", 0.8),
    row("points/fps_1024", "farthest points, 100k to 1024", 0.5),
    row("points/knn_16", "16 nearest neighbours of 100k points", 0.5),
    row("points/radius", "radius graph of 100k points", 0.5),
    row("image/nifti_gz", "NIfTI.gz, 512x512x96, read", 0.5),
    row("image/dicom_series", "DICOM series, 96 slices, read", 0.5),
    row("image/resample_cubic", "512x512x96 to 128x128x40, cubic", 0.5),
    scale("image/resample_1e5", "46^3 voxels (1e5) to half the side, cubic"),
    scale("image/resample_1e6", "100^3 voxels (1e6) to half the side, cubic"),
    scale("image/resample_1e7", "215^3 voxels (1e7) to half the side, cubic"),
    row("image/closing", "closing 3x3x3, 256x256x96", 0.5),
    row("image/histogram_matching", "histogram matching, 512x512x96", 0.5),
    row("image/marching_cubes", "marching cubes, 256x256x96", 0.5),
    row("process/patient", "DICOM series of 96 slices and SEG to report, preset `paper`", 0.2),
];

/// Sections by the first part of a name.
pub const SECTIONS: &[(&str, &str, &str)] = &[
    ("encoder", "Encoders", "f32; batch norm folded where it is inference."),
    (
        "graph",
        "Message passing",
        "One layer, 64 -> 64 on 100k nodes and 1M edges drawn evenly unless stated otherwise; forward and backward with the \
         gradients of features and parameters unless marked forward.",
    ),
    ("model", "Training steps", "Forward, backward and AdamW."),
    ("survival", "Survival", ""),
    ("points", "Points", ""),
    ("image", "Images", "Both sides read the same files and give the same volume, up to `difference`."),
    (
        "process",
        "One new patient, whole process",
        "`stg_crlm --predict` with five networks at the published sizes against `tests/peers/patient.py`, which does the same \
         with pydicom, SciPy, OpenCV, torch and Matplotlib.",
    ),
];
