//! What a run trains, and what the modalities of a cohort are called.

use crate::cohort::Cohort;
use crate::config::RunConfig;
use crate::federation;

/// The name of the network in tables.
pub const FULL: &str = "graph network";
/// The control whose edges are at random.
pub const SHUFFLED: &str = "graph network, shuffled edges";
/// Attention over modality vectors without a graph.
pub const ATTENTION: &str = "attention fusion";
/// The average of the unimodal models.
pub const LATE: &str = "late fusion";

/// What is trained.
#[derive(Debug, Clone, PartialEq)]
pub enum Variant {
    Full,
    Shuffled,
    Attention,
    Unimodal(String),
    NoIntra,
    NoInter,
    NoContrast,
    /// One model for one task.
    Single(String),
    /// All centres in turns, by FedAvg.
    FedAvg,
    /// All centres in turns, by FedProx.
    FedProx,
    /// One centre's patients only.
    Alone(String),
}

impl Variant {
    /// FedProx' `mu`, 0 in FedAvg, where centres train in turns.
    pub fn federated(&self) -> Option<f64> {
        match self {
            Variant::FedAvg => Some(0.0),
            Variant::FedProx => Some(federation::MU),
            _ => None,
        }
    }

    pub fn name(&self) -> String {
        match self {
            Variant::Full => FULL.into(),
            Variant::Shuffled => SHUFFLED.into(),
            Variant::Attention => ATTENTION.into(),
            Variant::Unimodal(m) => format!("{m} only"),
            Variant::NoIntra => "- intra-modality graphs".into(),
            Variant::NoInter => "- inter-modality fusion".into(),
            Variant::NoContrast => "- contrastive".into(),
            Variant::Single(_) => "- multi-task".into(),
            Variant::FedAvg => "federated, FedAvg".into(),
            Variant::FedProx => "federated, FedProx".into(),
            Variant::Alone(centre) => format!("centre {centre} alone"),
        }
    }
}

/// What the run trains.
///
/// # Errors
/// A federation without centres, or a model of `config` that the cohort does not have, with those that it has.
pub fn variants(config: &RunConfig, cohort: &Cohort) -> anyhow::Result<Vec<Variant>> {
    let mut all = vec![Variant::Full, Variant::Shuffled];
    let modalities = modality_names(cohort);
    if modalities.len() > 1 {
        all.push(Variant::Attention);
    }
    all.extend(modalities.into_iter().map(Variant::Unimodal));
    if config.ablate {
        all.extend([Variant::NoIntra, Variant::NoInter, Variant::NoContrast]);
        all.extend(cohort.tasks.iter().map(|t| Variant::Single(t.name.clone())));
    }
    if config.federate {
        all.extend([Variant::FedAvg, Variant::FedProx]);
        all.extend(federation::centres(cohort)?.0.into_iter().map(Variant::Alone));
    }
    for name in &config.models {
        let names: Vec<String> = all.iter().map(Variant::name).collect();
        anyhow::ensure!(names.contains(name), "--model {name}: expected some of {}", names.join(", "));
    }
    all.retain(|v| *v == Variant::Full || config.models.is_empty() || config.models.contains(&v.name()));
    Ok(all)
}

/// The modalities of a cohort, by the order of importances.
pub fn modality_names(cohort: &Cohort) -> Vec<String> {
    let names = [("gene", "genomics"), ("mirna", "mirna"), ("protein", "proteomics"), ("lab", "clinical")];
    names
        .into_iter()
        .filter(|(t, _)| cohort.data.tables.contains_key(*t))
        .map(|(_, m)| m.to_string())
        .collect()
}

/// The node type that a modality is pooled from.
pub fn pooled_type(modality: &str) -> &'static str {
    match modality {
        "genomics" => "gene",
        "mirna" => "mirna",
        "proteomics" => "protein",
        _ => "lab",
    }
}
