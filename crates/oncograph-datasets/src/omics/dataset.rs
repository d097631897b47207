use super::folder::remarks;
use super::{
    GeneSets, OmicsCohort, OmicsCovariate, OmicsOutcomes, OmicsPhantomConfig, SampleTypes, brca_with,
    gbmlgg_with, rat, read_bioplex, read_map, read_trrust,
};
use crate::Result;
use oncograph_core::Table;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::Path;

/// A public cohort with molecular tables.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum OmicsCollection {
    /// TCGA-BRCA, [`brca`](super::brca).
    Brca,
    /// TCGA GBM and LGG, [`gbmlgg`](super::gbmlgg).
    Gbmlgg,
    /// Acetaminophen in rats, [`rat`].
    Rat,
}

/// Edges by the names of the columns that they join.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NamedNetwork {
    /// The table that edges start from.
    pub from: String,
    /// The table that they end in.
    pub to: String,
    /// Names of two columns.
    pub pairs: Vec<(String, String)>,
}

/// How the columns of a table of antibodies belong to genes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Antibodies {
    /// From an antibody to the genes whose products it binds.
    pub genes: BTreeMap<String, Vec<String>>,
    /// Genes that interact.
    pub pairs: Vec<(String, String)>,
}

/// Named gene sets of one source.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetCollection {
    /// The source, for example `KEGG 2011`.
    pub name: String,
    /// Name and genes of each set.
    pub sets: Vec<(String, Vec<String>)>,
}

/// A cohort with what is known of how its columns belong together.
///
/// # Example
/// ```
/// use oncograph_datasets::omics::{OmicsDataset, OmicsPhantomConfig};
///
/// let dataset = OmicsDataset::phantom(&OmicsPhantomConfig::new(20, 1))?;
/// assert!(dataset.phantom);
/// assert_eq!(dataset.cohort.ids().len(), 20);
/// assert_eq!(dataset.networks.len(), 3);
/// # Ok::<(), oncograph_datasets::Error>(())
/// ```
#[derive(Debug, Clone)]
pub struct OmicsDataset {
    /// The name, for reports.
    pub name: String,
    /// Whether the patients were generated.
    pub phantom: bool,
    /// Patients, tables and outcomes.
    pub cohort: OmicsCohort,
    /// Networks between columns.
    pub networks: Vec<NamedNetwork>,
    /// The genes of the proteins' antibodies, where proteins were measured by antibodies.
    pub antibodies: Option<Antibodies>,
    /// Gene sets by source.
    pub sets: Vec<SetCollection>,
    /// Where each patient was treated; empty where nothing is known of it.
    pub centres: Vec<String>,
    /// Which type of cancer each patient has; empty where nothing is known of it, or where all have one.
    pub cancer_types: Vec<String>,
}

/// The least probability of interaction of a BioPlex edge.
const LEAST_SCORE: f64 = 0.7;

impl OmicsDataset {
    /// A public cohort from the folder that holds its tables, networks and gene sets; `idh` is the table of Ceccarelli et
    /// al. 2016, for [`OmicsCollection::Gbmlgg`].
    ///
    /// Beside the tables that [`brca`](super::brca) and [`gbmlgg`](super::gbmlgg) read, `root` holds `BioPlex_293T_Network_10K_Dec_2019.tsv.gz`,
    /// `trrust_rawdata.human.tsv`, `rppa_antibody_to_gene.tsv`, `go_bp_10_300.gmt.gz`, `kegg_2011_hsa.gmt` and
    /// `ReactomePathways.gmt`; none of them is read for [`OmicsCollection::Rat`]. Centres are the tissue source sites of
    /// TCGA's barcodes. Of a patient's samples the primary tumour's counts: see [`OmicsDataset::open_with`].
    ///
    /// # Errors
    /// Errors of the files and their columns.
    pub fn open(root: &Path, collection: OmicsCollection, idh: Option<&Path>) -> Result<Self> {
        Self::open_with(root, collection, idh, &SampleTypes::default())
    }

    /// As [`OmicsDataset::open`], with samples of TCGA of the given types.
    ///
    /// # Errors
    /// Errors of the files and their columns.
    pub fn open_with(
        root: &Path,
        collection: OmicsCollection,
        idh: Option<&Path>,
        types: &SampleTypes,
    ) -> Result<Self> {
        let (cohort, name) = match collection {
            OmicsCollection::Brca => (brca_with(root, types)?, "TCGA-BRCA"),
            OmicsCollection::Gbmlgg => (gbmlgg_with(root, idh, types)?, "TCGA GBM and LGG"),
            OmicsCollection::Rat => (rat(root)?, "acetaminophen in rats"),
        };
        let mut dataset = OmicsDataset {
            name: name.into(),
            phantom: false,
            centres: tissue_source_sites(cohort.ids()),
            cohort,
            networks: vec![],
            antibodies: None,
            sets: vec![],
            cancer_types: vec![],
        };
        if collection != OmicsCollection::Rat {
            dataset.read_human_networks(root)?;
        }
        dataset.cohort.notes.extend(remarks(&dataset.cohort));
        Ok(dataset)
    }

    fn read_human_networks(&mut self, root: &Path) -> Result<()> {
        let interactions = read_bioplex(root.join("BioPlex_293T_Network_10K_Dec_2019.tsv.gz"), LEAST_SCORE)?;
        let regulation = read_trrust(root.join("trrust_rawdata.human.tsv"))?;
        let genes = read_map(root.join("rppa_antibody_to_gene.tsv"), "antibody", "genes")?;
        let pairs = [interactions, regulation].concat();
        self.networks = vec![NamedNetwork { from: "gene".into(), to: "gene".into(), pairs: pairs.clone() }];
        self.antibodies = Some(Antibodies { genes, pairs });
        for (name, file) in [
            ("GO:BP", "go_bp_10_300.gmt.gz"),
            ("KEGG 2011", "kegg_2011_hsa.gmt"),
            ("Reactome", "ReactomePathways.gmt"),
        ] {
            let read = GeneSets::read(root.join(file))?;
            self.cohort.notes.extend(read.notes);
            let sets =
                read.sets.into_iter().map(|(name, about, genes)| (label(name, &about), genes)).collect();
            self.sets.push(SetCollection { name: name.into(), sets });
        }
        Ok(())
    }

    /// A generated cohort with its true networks and pathways; half of the patients come from centre A, a third from B,
    /// the rest from C.
    ///
    /// # Errors
    /// As [`OmicsPhantomConfig::validate`].
    pub fn phantom(config: &OmicsPhantomConfig) -> Result<Self> {
        config.validate()?;
        let genes = config.gene_names();
        let proteins: Vec<String> = (1..=config.proteins).map(|p| format!("P{p:05}")).collect();
        let [gg, gp, pp] = config.edges();
        let network = |from: &str, to: &str, pairs: &[(u32, u32)], a: &[String], b: &[String]| NamedNetwork {
            from: from.into(),
            to: to.into(),
            pairs: pairs.iter().map(|(i, j)| (a[*i as usize].clone(), b[*j as usize].clone())).collect(),
        };
        let networks = vec![
            network("gene", "gene", &gg, &genes, &genes),
            network("gene", "protein", &gp, &genes, &proteins),
            network("protein", "protein", &pp, &proteins, &proteins),
        ];
        let named = |(name, role, genes): (String, String, Vec<String>)| (format!("{name} ({role})"), genes);
        let sets = config.gene_sets().sets.into_iter().map(named).collect();
        let centre = |p: usize| ["A", "A", "A", "B", "B", "C"][p % 6].to_string();
        Ok(OmicsDataset {
            name: "phantom cohort".into(),
            phantom: true,
            cohort: phantom_cohort(config, genes, proteins)?,
            networks,
            antibodies: None,
            sets: vec![SetCollection { name: "planted pathways".into(), sets }],
            centres: (0..config.patients).map(centre).collect(),
            cancer_types: vec![],
        })
    }
}

fn phantom_cohort(
    config: &OmicsPhantomConfig,
    genes: Vec<String>,
    proteins: Vec<String>,
) -> Result<OmicsCohort> {
    let all = (0..config.patients).map(|p| config.patient(p)).collect::<Result<Vec<_>>>()?;
    let labs: Vec<String> = (1..=config.labs).map(|l| format!("L{l:02}")).collect();
    let outcomes = all.iter().map(|p| OmicsOutcomes {
        survival: Some(p.survival),
        classes: BTreeMap::from([("response".to_string(), p.response)]),
        toxicity: p.toxicity.iter().map(|t| Some(*t)).collect(),
    });
    Ok(OmicsCohort {
        covariates: Table::new(
            (1..=config.patients).map(|p| format!("PHANTOM-{p:04}")).collect(),
            vec!["age".into(), "sex".into()],
            all.iter().map(|p| vec![Some(p.age), Some(f64::from(u8::from(p.sex)))]).collect(),
        )?,
        outcomes: outcomes.collect(),
        tables: BTreeMap::from([
            ("gene".to_string(), (genes, all.iter().map(|p| Some(p.genes.clone())).collect())),
            ("protein".to_string(), (proteins, all.iter().map(|p| p.proteins.clone()).collect())),
            ("lab".to_string(), (labs, all.iter().map(|p| Some(p.labs.clone())).collect())),
        ]),
        coding: OmicsCovariate::numbers(["age", "sex"]),
        classes: vec![("response".into(), ["none", "partial", "complete"].map(String::from).to_vec())],
        events: vec!["event A".into(), "event B".into()],
        notes: vec![
            "The risk holds the product of how far the gene pathways and the protein modules are off, up or \
                     down: no single modality shows it, and it takes averages over true neighbours to see."
                .into(),
        ],
        ..OmicsCohort::default()
    })
}

/// The tissue source sites of TCGA's barcodes; nothing if one of the identifiers is no barcode.
fn tissue_source_sites(ids: &[String]) -> Vec<String> {
    let site = |id: &String| Some(id.strip_prefix("TCGA-")?.split('-').next()?.to_string());
    ids.iter().map(site).collect::<Option<_>>().unwrap_or_default()
}

/// Names of GO are numbers; their descriptions are shown with them.
fn label(name: String, description: &str) -> String {
    if name.starts_with("GO:") { format!("{name} {description}") } else { name }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn centres_are_the_second_part_of_a_barcode_or_nothing() {
        let ids = ["TCGA-02-0001", "TCGA-DU-1234"].map(String::from);
        assert_eq!(tissue_source_sites(&ids), ["02", "DU"]);
        assert!(tissue_source_sites(&[ids.to_vec(), vec!["rat 1".into()]].concat()).is_empty());
        assert_eq!(label("GO:0001".into(), "mitosis"), "GO:0001 mitosis");
    }

    #[test]
    fn a_phantom_has_names_for_all_of_its_edges() {
        let dataset = OmicsDataset::phantom(&OmicsPhantomConfig::new(7, 1)).unwrap();
        let columns = |table: &str| &dataset.cohort.tables[table].0;
        for network in &dataset.networks {
            assert!(!network.pairs.is_empty());
            let known = |(a, b): &(String, String)| {
                columns(&network.from).contains(a) && columns(&network.to).contains(b)
            };
            assert!(network.pairs.iter().all(known));
        }
        assert_eq!(dataset.centres, ["A", "A", "A", "B", "B", "C", "A"]);
        assert!(OmicsDataset::phantom(&OmicsPhantomConfig::new(0, 1)).is_err());
    }
}
