use crate::{Error, Result};
use oncograph_core::{FollowUp, Seed};
use rand::Rng;
use rand_distr::{Distribution, StandardNormal};
use serde::{Deserialize, Serialize};

/// A generated cohort with a planted signal. **Phantom data**: nothing in it was measured on anybody.
///
/// Four fifths of the genes form pathways, whose genes share a latent activity `a` and are joined in the network; so do
/// proteins in modules. What is measured of one is `0.7 a` and noise, more of it where a patient's sample is worse: one
/// gene carries little information on its pathway, and the size of all genes' values reflects the sample's quality. A pathway
/// is dysregulated where `|a|` is large, up or down; the burden of the genes is the mean of `|a|` over pathways, likewise that
/// of the proteins.
///
/// The log hazard is a weighted sum of the activity of one pathway, of one module, of a laboratory value, of both burdens,
/// and of the *product* of the burdens, which is in no single modality and in no sum of predictions from single ones. The
/// burdens are in no single gene and, being even, in no linear model: they take an average over true neighbours.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[non_exhaustive]
pub struct OmicsPhantomConfig {
    /// Patients.
    pub patients: usize,
    /// Genes; 120.
    pub genes: usize,
    /// Proteins; 60.
    pub proteins: usize,
    /// Laboratory values; 12.
    pub labs: usize,
    /// Genes per pathway and proteins per module; 12.
    pub pathway: usize,
    /// The share of patients that lack proteins; 0.15.
    pub missing: f64,
    /// How much of the risk is planted, against noise of size 1; 1.5.
    pub strength: f64,
    /// The seed.
    pub seed: u64,
}

impl OmicsPhantomConfig {
    /// A cohort of this many patients.
    pub fn new(patients: usize, seed: u64) -> Self {
        OmicsPhantomConfig {
            patients,
            genes: 120,
            proteins: 60,
            labs: 12,
            pathway: 12,
            missing: 0.15,
            strength: 1.5,
            seed,
        }
    }

    /// Sets the numbers of genes, proteins and laboratory values.
    pub fn sizes(mut self, genes: usize, proteins: usize, labs: usize) -> Self {
        self.genes = genes;
        self.proteins = proteins;
        self.labs = labs;
        self
    }

    /// Sets how much of the risk is planted.
    pub fn strength(mut self, strength: f64) -> Self {
        self.strength = strength;
        self
    }

    /// Sets the share of patients without proteins.
    pub fn missing(mut self, missing: f64) -> Self {
        self.missing = missing;
        self
    }

    /// Checks the ranges.
    ///
    /// # Errors
    /// [`Error::Argument`] with the first field that is out of range.
    pub fn validate(&self) -> Result<()> {
        const OP: &str = "OmicsPhantomConfig";
        let least = 2 * self.pathway.max(1);
        if self.patients == 0 || self.pathway == 0 {
            return Err(Error::argument(OP, "patients and pathway", "at least 1", 0));
        }
        if self.genes < least || self.proteins < least || self.labs == 0 {
            let got = format!("{}, {}, {}", self.genes, self.proteins, self.labs);
            return Err(Error::argument(
                OP,
                "genes, proteins, labs",
                format!("at least {least}, {least}, 1"),
                got,
            ));
        }
        if !(0.0..1.0).contains(&self.missing) {
            return Err(Error::argument(OP, "missing", "in [0, 1)", self.missing));
        }
        Ok(())
    }

    /// Pathways of genes.
    pub fn pathways(&self) -> usize {
        (self.genes * 4 / 5 / self.pathway).max(2)
    }

    /// Modules of proteins.
    pub fn modules(&self) -> usize {
        (self.proteins * 4 / 5 / self.pathway).max(2)
    }

    /// Patient `p`, drawn from a separate random stream, so that a cohort of any size is made row by row.
    ///
    /// # Errors
    /// As [`OmicsPhantomConfig::validate`].
    pub fn patient(&self, p: usize) -> Result<OmicsPhantom> {
        self.validate()?;
        let seed = Seed::new(self.seed).stream("omics phantom").at(p as u64);
        let mut rng = seed.rng();
        let mut normal = |scale: f64| scale * Distribution::<f64>::sample(&StandardNormal, &mut rng);
        let activity: Vec<f64> = (0..self.pathways()).map(|_| normal(1.0)).collect();
        let module: Vec<f64> = (0..self.modules()).map(|_| normal(1.0)).collect();
        let mut measured = |count: usize, latent: &[f64]| -> Vec<f32> {
            // How bad the sample is.
            let noise = 0.51f64.sqrt() * normal(0.4).exp();
            let one = |g: usize| latent.get(g / self.pathway).map_or(0.0, |a| 0.7 * a) + normal(noise);
            (0..count).map(one).map(|x| x as f32).collect()
        };
        let (genes, proteins) = (measured(self.genes, &activity), measured(self.proteins, &module));
        let labs: Vec<f32> = (0..self.labs).map(|_| normal(1.0) as f32).collect();
        let age = 60.0 + normal(10.0);
        let lab = f64::from(labs[0]);
        let (g, p) = (burden(&activity), burden(&module));
        let planted = 0.2 * (activity[0] + module[0] + lab) + 0.6 * (g + p) + 0.9 * g * p;
        let risk = self.strength * planted + normal(0.5);
        let severity = [0.5 * lab + 0.7 * p, 0.5 * lab + 0.7 * g].map(|s| self.strength * s + normal(0.5));
        let response =
            self.strength * (0.4 * activity[1] + 0.4 * lab + 0.5 * (g + p) + 0.5 * g * p) + normal(0.5);
        let mut rng = seed.stream("outcome").rng();
        let uniform: f64 = rng.random_range(1e-9..1.0);
        let years = (-uniform.ln() / 0.25 / risk.exp()).min(40.0);
        let follow_up = rng.random_range(1.0..12.0);
        Ok(OmicsPhantom {
            age,
            sex: rng.random_bool(0.5),
            genes,
            labs,
            proteins: (!rng.random_bool(self.missing)).then_some(proteins),
            survival: FollowUp::years(years.min(follow_up).max(0.01), years <= follow_up)?,
            response: usize::from(response > -0.7) + usize::from(response > 0.7),
            toxicity: severity.map(|s| s > 0.5),
        })
    }

    /// Gene–gene, gene–protein and protein–protein edges: all pairs within a pathway or module, and a tenth as many
    /// between genes at random.
    #[allow(clippy::type_complexity)] // three lists of pairs
    pub fn edges(&self) -> [Vec<(u32, u32)>; 3] {
        let within = |groups: usize| {
            let pairs = (0..groups).flat_map(|g| {
                let first = g * self.pathway;
                (0..self.pathway)
                    .flat_map(move |i| (i + 1..self.pathway).map(move |j| (first + i, first + j)))
            });
            pairs.map(|(a, b)| (a as u32, b as u32)).collect::<Vec<_>>()
        };
        let mut genes = within(self.pathways());
        let mut rng = Seed::new(self.seed).stream("omics phantom edges").rng();
        for _ in 0..genes.len() / 10 {
            let (a, b) = (rng.random_range(0..self.genes as u32), rng.random_range(0..self.genes as u32));
            if a != b {
                genes.push((a, b));
            }
        }
        let codes = (0..self.genes.min(self.proteins) as u32).map(|i| (i, i)).collect();
        [genes, codes, within(self.modules())]
    }

    /// The genes' names: `G001` and so on, so that nobody takes them for real ones.
    pub fn gene_names(&self) -> Vec<String> {
        (1..=self.genes).map(|g| format!("G{g:05}")).collect()
    }

    /// The planted pathways as gene sets, the one that acts on survival first.
    pub fn gene_sets(&self) -> super::GeneSets {
        let names = self.gene_names();
        let set = |p: usize| {
            let genes = names[p * self.pathway..(p + 1) * self.pathway].to_vec();
            let role = match p {
                0 => "planted: survival",
                1 => "planted: response",
                _ => "planted: burden",
            };
            (format!("PHANTOM_PATHWAY_{}", p + 1), role.to_string(), genes)
        };
        super::GeneSets { sets: (0..self.pathways()).map(set).collect(), notes: vec![] }
    }
}

/// The mean magnitude of some activities, with mean 0 and variance 1 over patients.
fn burden(activity: &[f64]) -> f64 {
    let mean = (2.0 / std::f64::consts::PI).sqrt();
    let sum: f64 = activity.iter().map(|a| a.abs() - mean).sum();
    sum / (activity.len() as f64 * (1.0 - mean * mean)).sqrt()
}

/// One generated patient.
#[derive(Debug, Clone, PartialEq)]
pub struct OmicsPhantom {
    /// Years.
    pub age: f64,
    /// One of two.
    pub sex: bool,
    /// Expression.
    pub genes: Vec<f32>,
    /// Expression; `None` where the patient has no sample.
    pub proteins: Option<Vec<f32>>,
    /// Laboratory values.
    pub labs: Vec<f32>,
    /// The time to death, in years.
    pub survival: FollowUp,
    /// 0 none, 1 partial, 2 complete.
    pub response: usize,
    /// Two adverse events.
    pub toxicity: [bool; 2],
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn patients_do_not_depend_on_each_other_and_the_signal_is_there() {
        let config = OmicsPhantomConfig::new(400, 1);
        config.validate().unwrap();
        let seventh = |config: &OmicsPhantomConfig| config.patient(7).unwrap();
        assert_eq!(seventh(&config), seventh(&OmicsPhantomConfig::new(8, 1)));
        assert_ne!(seventh(&config).genes, seventh(&OmicsPhantomConfig::new(8, 2)).genes);
        let all: Vec<_> = (0..400).map(|p| config.patient(p).unwrap()).collect();
        let deaths = all.iter().filter(|p| p.survival.event()).count();
        assert!((150..380).contains(&deaths), "{deaths}");
        let mean = |e: bool| {
            let values: Vec<f64> =
                all.iter().filter(|p| p.survival.event() == e).map(|p| f64::from(p.labs[0])).collect();
            values.iter().sum::<f64>() / values.len() as f64
        };
        assert!(mean(true) > mean(false) + 0.1);
        let absent = all.iter().filter(|p| p.proteins.is_none()).count();
        assert!((30..90).contains(&absent), "{absent}");
        let bad = OmicsPhantomConfig::new(1, 1).sizes(5, 60, 1);
        assert!(bad.validate().is_err() && bad.patient(0).is_err());
    }
}
