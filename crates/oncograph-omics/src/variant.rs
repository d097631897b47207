use crate::{OmicsStudyCohort, Result};
use oncograph_study::{Centres, Cohort};
use serde::{Deserialize, Serialize};

/// Patients that a centre has at least; smaller ones count as one.
pub const LEAST_OF_CENTRE: usize = 40;

/// FedProx' `mu`, one of the values that its authors try.
const MU: f64 = 0.01;

/// What an [`crate::OmicsSystem`] trains: the network, or one of the models that it is compared with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum OmicsVariant {
    /// The network.
    Full,
    /// The network on edges at random.
    ShuffledEdges,
    /// Attention over modality vectors without a graph.
    AttentionFusion,
    /// One modality without a graph.
    Unimodal(String),
    /// The network without graph layers.
    WithoutIntra,
    /// The network without attention between modalities.
    WithoutInter,
    /// The network trained without contrast.
    WithoutContrast,
    /// One network for each task.
    SingleTasks,
    /// The network trained by centres in turns, by FedAvg.
    FedAvg,
    /// The network trained by centres in turns, by FedProx.
    FedProx,
    /// The network trained on the patients of one centre alone.
    CentreAlone(String),
}

impl OmicsVariant {
    /// The name of the average of the unimodal models, which [`crate::late_fusion_jobs`] derives.
    pub const LATE_FUSION: &'static str = "late fusion";

    /// The name in tables and files.
    pub fn name(&self) -> String {
        match self {
            OmicsVariant::Full => "graph network".into(),
            OmicsVariant::ShuffledEdges => "graph network, shuffled edges".into(),
            OmicsVariant::AttentionFusion => "attention fusion".into(),
            OmicsVariant::Unimodal(m) => format!("{m} only"),
            OmicsVariant::WithoutIntra => "- intra-modality graphs".into(),
            OmicsVariant::WithoutInter => "- inter-modality fusion".into(),
            OmicsVariant::WithoutContrast => "- contrastive".into(),
            OmicsVariant::SingleTasks => "- multi-task".into(),
            OmicsVariant::FedAvg => "federated, FedAvg".into(),
            OmicsVariant::FedProx => "federated, FedProx".into(),
            OmicsVariant::CentreAlone(centre) => format!("centre {centre} alone"),
        }
    }

    /// The network, its edges shuffled, attention fusion and every modality alone.
    pub fn comparison(cohort: &OmicsStudyCohort) -> Vec<Self> {
        let mut all = vec![OmicsVariant::Full, OmicsVariant::ShuffledEdges];
        let modalities = cohort.modality_names();
        if modalities.len() > 1 {
            all.push(OmicsVariant::AttentionFusion);
        }
        all.extend(modalities.into_iter().map(OmicsVariant::Unimodal));
        all
    }

    /// The network without one of its parts each.
    pub fn ablations() -> Vec<Self> {
        vec![
            OmicsVariant::WithoutIntra,
            OmicsVariant::WithoutInter,
            OmicsVariant::WithoutContrast,
            OmicsVariant::SingleTasks,
        ]
    }

    /// Training across centres and on each alone.
    ///
    /// # Errors
    /// A cohort without two centres of [`LEAST_OF_CENTRE`] patients.
    pub fn federations(cohort: &OmicsStudyCohort) -> Result<Vec<Self>> {
        let mut all = vec![OmicsVariant::FedAvg, OmicsVariant::FedProx];
        all.extend(centres(cohort)?.names.into_iter().map(OmicsVariant::CentreAlone));
        Ok(all)
    }

    /// FedProx' `mu`, 0 in FedAvg, where centres train in turns.
    pub(crate) fn federated(&self) -> Option<f64> {
        match self {
            OmicsVariant::FedAvg => Some(0.0),
            OmicsVariant::FedProx => Some(MU),
            _ => None,
        }
    }

    /// Whether there is no graph.
    pub(crate) fn is_flat(&self) -> bool {
        matches!(self, OmicsVariant::AttentionFusion | OmicsVariant::Unimodal(_))
    }
}

/// The centres of a cohort, the small ones together.
pub(crate) fn centres(cohort: &OmicsStudyCohort) -> Result<Centres> {
    Ok(Centres::new(cohort.centres().unwrap_or_default(), LEAST_OF_CENTRE)?)
}
