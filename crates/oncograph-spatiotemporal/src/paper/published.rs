/// What a row of the paper states of one task.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PublishedScores {
    /// Time-adjacent accuracy: the share predicted within two years.
    pub adjacent: f64,
    /// Squared error, in years² by its heading.
    pub squared: f64,
    /// Absolute error, in years by its heading.
    pub absolute: f64,
}

/// A row of the paper's tables.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Published {
    /// As the paper calls it.
    pub name: &'static str,
    /// Recurrence.
    pub recurrence: PublishedScores,
    /// Overall survival.
    pub survival: PublishedScores,
}

/// A row from its six numbers.
const fn row(name: &'static str, r: [f64; 3], s: [f64; 3]) -> Published {
    Published {
        name,
        recurrence: PublishedScores { adjacent: r[0], squared: r[1], absolute: r[2] },
        survival: PublishedScores { adjacent: s[0], squared: s[1], absolute: s[2] },
    }
}

pub(super) const GCN: Published = row("GCN", [0.4211, 7.4085, 2.3747], [0.5789, 4.6668, 1.8802]);
pub(super) const GAT: Published = row("GAT", [0.3684, 8.0947, 2.5131], [0.6842, 3.7087, 1.6727]);
/// Also the final STG, the row "+Contrastive" and the backbone "3D ResNet18".
pub(super) const STG: Published = row("GraphSAGE", [0.6667, 3.7488, 1.6139], [0.8462, 1.7501, 1.1005]);
pub(super) const SELF_BUILT: Published =
    row("self-built CNN", [0.3590, 11.4129, 2.8758], [0.4359, 7.0232, 2.3117]);
pub(super) const R2PLUS1D: Published = row("R(2+1)D-18", [0.5641, 3.7620, 1.6366], [0.8462, 1.5379, 0.9957]);
pub(super) const SINGLE: Published =
    row("single-modality 3D ResNet18", [0.3750, 392.8506, 53.6125], [0.1000, 666.6192, 82.3114]);
pub(super) const EARLY: Published =
    row("multimodal 3D-CNN, early fusion", [0.5250, 6.6750, 1.8750], [0.3750, 5.6250, 2.0250]);
pub(super) const LATE: Published =
    row("multimodal 3D-ResNet18, late concatenation", [0.6154, 21.3333, 3.1795], [0.2308, 38.2308, 5.3590]);
pub(super) const PLUS_GNN: Published = row("+GNN", [0.3684, 16.4584, 3.4640], [0.2105, 15.5398, 3.5020]);
pub(super) const PLUS_FUSION: Published = row("+Fusion", [0.5263, 4.2416, 1.8593], [0.8947, 2.2525, 1.1983]);
pub(super) const PLUS_RECONSTRUCTION: Published =
    row("+Reconstruction", [0.7895, 2.9332, 1.5193], [0.8421, 2.2868, 1.1060]);
pub(super) const PLUS_DECOUPLING: Published =
    row("+Decoupling", [0.5897, 3.5424, 1.5719], [0.8462, 1.6203, 1.0664]);

/// The twelve distinct rows of the paper's tables 2 to 5.
pub const PUBLISHED_STG: [Published; 12] = [
    GCN,
    GAT,
    STG,
    SELF_BUILT,
    R2PLUS1D,
    SINGLE,
    EARLY,
    LATE,
    PLUS_GNN,
    PLUS_FUSION,
    PLUS_RECONSTRUCTION,
    PLUS_DECOUPLING,
];
