//! The patients of a run, and what a fold's training patients say of them.

use crate::cli::CohortArg;
use crate::config::{RunConfig, Source};
use candle_core::Device;
use oncograph::core::Table;
use oncograph::datasets::omics::{
    GeneSets, OmicsCohort, OmicsOutcomes, OmicsPhantomConfig, OmicsScaler, OmicsScalerConfig, Selection,
    antibody_edges, brca, correlated, gbmlgg, named_edges, rat, read_bioplex, read_map, read_trrust,
};
use oncograph::nn::Seed;
use oncograph::omics::{
    MemoryCohort, ModalityConfig, MultimodalConfig, NodeTypeConfig, SharedGraphs, Target, TaskConfig,
    TaskKind, TypedEdges,
};
use std::collections::BTreeMap;
use std::path::Path;

/// Edges by the names of the nodes that they join.
pub struct Network {
    pub from: &'static str,
    pub to: &'static str,
    pub pairs: Vec<(String, String)>,
}

/// Antibodies to the genes whose products they bind, and pairs of genes that interact.
type Antibodies = (BTreeMap<String, Vec<String>>, Vec<(String, String)>);

/// Named sets of genes.
type Sets = Vec<(String, Vec<String>)>;

/// Everything that cross-validation needs.
pub struct Cohort {
    pub data: OmicsCohort,
    pub networks: Vec<Network>,
    pub antibodies: Option<Antibodies>,
    pub sets: Vec<(String, Sets)>,
    pub tasks: Vec<TaskConfig>,
    pub targets: BTreeMap<String, Target>,
    pub strata: Vec<usize>,
    /// Where each patient was treated; empty where nothing is known of it.
    pub centres: Vec<String>,
    pub phantom: bool,
    pub name: String,
}

impl Cohort {
    pub fn load(config: &RunConfig) -> anyhow::Result<Self> {
        match &config.source {
            Source::Phantom(phantom) => Self::phantom(config, phantom),
            Source::Folder { root, cohort, idh } => Self::folder(config, root, *cohort, idh.as_deref()),
        }
    }

    fn phantom(config: &RunConfig, phantom: &OmicsPhantomConfig) -> anyhow::Result<Self> {
        phantom.validate()?;
        let all = (0..phantom.patients).map(|p| phantom.patient(p)).collect::<Result<Vec<_>, _>>()?;
        let genes = phantom.gene_names();
        let proteins: Vec<String> = (1..=phantom.proteins).map(|p| format!("P{p:05}")).collect();
        let labs: Vec<String> = (1..=phantom.labs).map(|l| format!("L{l:02}")).collect();
        let outcomes = all.iter().map(|p| OmicsOutcomes {
            survival: Some(p.survival),
            response: Some(p.response),
            toxicity: p.toxicity.iter().map(|t| Some(*t)).collect(),
            ..OmicsOutcomes::default()
        });
        let [gg, gp, pp] = phantom.edges();
        let named = |pairs: &[(u32, u32)], a: &[String], b: &[String]| {
            pairs.iter().map(|(i, j)| (a[*i as usize].clone(), b[*j as usize].clone())).collect()
        };
        let networks = vec![
            Network { from: "gene", to: "gene", pairs: named(&gg, &genes, &genes) },
            Network { from: "gene", to: "protein", pairs: named(&gp, &genes, &proteins) },
            Network { from: "protein", to: "protein", pairs: named(&pp, &proteins, &proteins) },
        ];
        let sets =
            phantom.gene_sets().sets.into_iter().map(|(n, role, g)| (format!("{n} ({role})"), g)).collect();
        let data = OmicsCohort {
            covariates: Table::new(
                (1..=phantom.patients).map(|p| format!("PHANTOM-{p:04}")).collect(),
                vec!["age".into(), "sex".into()],
                all.iter().map(|p| vec![Some(p.age), Some(f64::from(u8::from(p.sex)))]).collect(),
            )?,
            outcomes: outcomes.collect(),
            tables: BTreeMap::from([
                ("gene".to_string(), (genes, all.iter().map(|p| Some(p.genes.clone())).collect())),
                ("protein".to_string(), (proteins, all.iter().map(|p| p.proteins.clone()).collect())),
                ("lab".to_string(), (labs, all.iter().map(|p| Some(p.labs.clone())).collect())),
            ]),
            classes: BTreeMap::new(),
            events: vec!["event A".into(), "event B".into()],
            notes: vec!["The risk holds the product of how far the gene pathways and the protein modules are off, up or \
                         down: no single modality shows it, and it takes averages over true neighbours to see."
                .into()],
        };
        let sets = vec![("planted pathways".to_string(), sets)];
        Self::finish(config, data, networks, None, sets, "phantom cohort", true)
    }

    fn folder(config: &RunConfig, root: &Path, which: CohortArg, idh: Option<&Path>) -> anyhow::Result<Self> {
        let (data, name) = match which {
            CohortArg::Brca => (brca(root)?, "TCGA-BRCA"),
            CohortArg::Gbmlgg => (gbmlgg(root, idh)?, "TCGA GBM and LGG"),
            CohortArg::Rat => (rat(root)?, "acetaminophen in rats"),
        };
        if which == CohortArg::Rat {
            return Self::finish(config, data, vec![], None, vec![], name, false);
        }
        let interactions = read_bioplex(root.join("BioPlex_293T_Network_10K_Dec_2019.tsv.gz"), 0.7)?;
        let regulation = read_trrust(root.join("trrust_rawdata.human.tsv"))?;
        let map = read_map(root.join("rppa_antibody_to_gene.tsv"), "antibody", "genes")?;
        let pairs = [interactions, regulation].concat();
        let networks = vec![Network { from: "gene", to: "gene", pairs: pairs.clone() }];
        let mut sets = vec![];
        for (name, file) in [
            ("GO:BP", "go_bp_10_300.gmt.gz"),
            ("KEGG 2011", "kegg_2011_hsa.gmt"),
            ("Reactome", "ReactomePathways.gmt"),
        ] {
            let read = GeneSets::read(root.join(file))?.sets;
            sets.push((name.to_string(), read.into_iter().map(|(n, d, g)| (label(n, &d), g)).collect()));
        }
        Self::finish(config, data, networks, Some((map, pairs)), sets, name, false)
    }

    fn finish(
        config: &RunConfig,
        data: OmicsCohort,
        networks: Vec<Network>,
        antibodies: Option<Antibodies>,
        sets: Vec<(String, Sets)>,
        name: &str,
        phantom: bool,
    ) -> anyhow::Result<Self> {
        let o = &data.outcomes;
        let (mut tasks, mut targets) = (vec![], BTreeMap::new());
        let mut add = |name: &str, kind: TaskKind, target: Target| {
            if (0..target.len()).any(|p| target.known(p)) {
                tasks.push(TaskConfig::new(name, kind));
                targets.insert(name.to_string(), target);
            }
        };
        add("survival", config.survival, Target::Survival(o.iter().map(|o| o.survival).collect()));
        // Response where it has enough of each kind; BRCA's are nearly all complete.
        let responses: Vec<Option<usize>> = o.iter().map(|o| o.response).collect();
        if (0..3).all(|c| responses.iter().filter(|r| **r == Some(c)).count() >= 10) {
            add("response", TaskKind::Classes(3), Target::Class(responses));
        }
        for (task, names) in &data.classes {
            let of = o.iter().map(|o| o.classes.get(task).copied()).collect();
            add(task, TaskKind::Classes(names.len()), Target::Class(of));
        }
        let labels: Vec<Vec<Option<bool>>> = o.iter().map(|o| o.toxicity.clone()).collect();
        if !data.events.is_empty() {
            add("toxicity", TaskKind::Labels(data.events.len()), Target::Labels(labels));
        }
        let stratum = |o: &OmicsOutcomes| {
            let event = o.survival.map_or(2, |s| usize::from(s.event()));
            let class = o.classes.values().next().copied().or(o.response).map_or(0, |c| c + 1);
            let toxic = o.toxicity.first().copied().flatten().map_or(0, |t| 1 + usize::from(t));
            (event * 8 + class) * 3 + toxic
        };
        let strata = o.iter().map(stratum).collect();
        let centres = centres(data.ids(), phantom);
        anyhow::ensure!(!tasks.is_empty(), "{name}: no outcome is known of any patient");
        Ok(Cohort {
            strata,
            centres,
            data,
            networks,
            antibodies,
            sets,
            tasks,
            targets,
            phantom,
            name: name.into(),
        })
    }

    pub fn len(&self) -> usize {
        self.data.ids().len()
    }

    /// What the classes of a task are called.
    pub fn class_names(&self, task: &str) -> Vec<String> {
        let responses = || ["none", "partial", "complete"].map(String::from).to_vec();
        self.data.classes.get(task).cloned().unwrap_or_else(responses)
    }

    /// Modalities and what they are pooled from: genes with proteins and miRNA in one graph, the others alone.
    fn modalities(&self) -> Vec<ModalityConfig> {
        let has = |t: &str| self.data.tables.contains_key(t);
        let mut modalities = vec![];
        if has("gene") {
            let joined: Vec<&str> = ["gene", "protein"].into_iter().filter(|t| has(t)).collect();
            modalities.push(ModalityConfig::new("genomics", joined).pooled(["gene"]));
        }
        let own = [("mirna", "mirna"), ("proteomics", "protein"), ("clinical", "lab")];
        modalities.extend(own.into_iter().filter(|(_, t)| has(t)).map(|(m, t)| ModalityConfig::new(m, [t])));
        modalities
    }
}

/// The tissue source sites of TCGA's barcodes; the phantom's patients come from three places, half of them from one.
fn centres(ids: &[String], phantom: bool) -> Vec<String> {
    if phantom {
        let place = |p: usize| ["A", "A", "A", "B", "B", "C"][p % 6].to_string();
        return (0..ids.len()).map(place).collect();
    }
    let site = |id: &String| Some(id.strip_prefix("TCGA-")?.split('-').next()?.to_string());
    ids.iter().map(site).collect::<Option<_>>().unwrap_or_default()
}

/// Names of GO and KEGG are numbers; their descriptions say what they are.
fn label(name: String, description: &str) -> String {
    if name.starts_with("GO:") { format!("{name} {description}") } else { name }
}

/// What is fitted on a fold's training patients, and the tensors and graphs that come of it.
pub struct Prepared {
    pub model: MultimodalConfig,
    pub source: MemoryCohort,
    pub graphs: SharedGraphs,
    /// Patient features followed by each table's, missing tables as zeros: what Cox and forests are given.
    pub flat: Vec<Vec<f64>>,
    pub scalers: BTreeMap<String, OmicsScaler>,
}

impl Prepared {
    pub fn fit(config: &RunConfig, cohort: &Cohort, train: &[usize]) -> anyhow::Result<Self> {
        let covariates = &cohort.data.covariates;
        let row = |row: &[Option<f64>]| row.iter().map(|v| v.map_or(f32::NAN, |v| v as f32)).collect();
        let rows: Vec<Option<Vec<f32>>> = covariates.rows().map(|r| Some(row(r))).collect();
        let all = OmicsScalerConfig::new(0).select(Selection::All);
        let scaler = OmicsScaler::fit(covariates.columns(), &rows, train, &all)?;
        let patient: Vec<Vec<f32>> = rows.iter().flatten().map(|r| scaler.transform(r)).collect();
        let mut source = MemoryCohort::new(&patient, &Device::Cpu)?;
        let mut flat: Vec<Vec<f64>> =
            patient.iter().map(|r| r.iter().map(|v| f64::from(*v)).collect()).collect();
        let (mut scalers, mut node_types, mut edges) = (BTreeMap::new(), vec![], vec![]);
        for (name, (features, rows)) in &cohort.data.tables {
            let scaler = OmicsScaler::fit(features, rows, train, &OmicsScalerConfig::new(config.select))?;
            let scaled: Vec<Option<Vec<f32>>> =
                rows.iter().map(|r| r.as_ref().map(|r| scaler.transform(r))).collect();
            for (all, row) in flat.iter_mut().zip(&scaled) {
                match row {
                    Some(row) => all.extend(row.iter().map(|v| f64::from(*v))),
                    None => all.extend(std::iter::repeat_n(0.0, scaler.features.len())),
                }
            }
            // Tables whose columns no database joins: correlations in the training rows.
            let known = matches!(name.as_str(), "gene" | "protein") && !cohort.networks.is_empty();
            if !known {
                let seen: Vec<Vec<f32>> = train.iter().filter_map(|&i| scaled[i].clone()).collect();
                edges.push(TypedEdges::new(name, name, correlated(&seen, 0.3, 10)));
            }
            let mut node_type = NodeTypeConfig::diag(name, scaler.features.len());
            node_type.input = config.net.node_input;
            node_types.push(node_type);
            source = source.with(name, &scaled)?;
            scalers.insert(name.clone(), scaler);
        }
        edges.extend(known_edges(config, cohort, &scalers));
        let model =
            config.model(scaler.features.len(), node_types, cohort.modalities(), cohort.tasks.clone());
        let graphs = SharedGraphs::new(&model, &edges)?;
        Ok(Prepared { model, source, graphs, flat, scalers })
    }

    /// The same nodes with edges at random.
    pub fn shuffled(&self, seed: Seed) -> SharedGraphs {
        self.graphs.shuffle_edges(seed)
    }
}

fn known_edges(
    config: &RunConfig,
    cohort: &Cohort,
    scalers: &BTreeMap<String, OmicsScaler>,
) -> Vec<TypedEdges> {
    let names = |t: &str| scalers.get(t).map(|s| &s.features[..]);
    let mut edges = vec![];
    for n in &cohort.networks {
        let between = n.from != n.to;
        if let (Some(from), Some(to)) = (names(n.from), names(n.to))
            && (config.net.union || !between)
        {
            edges.push(TypedEdges::new(n.from, n.to, named_edges(&n.pairs, from, to)));
        }
    }
    if let (Some((map, pairs)), Some(antibodies)) = (&cohort.antibodies, names("protein")) {
        let genes = names("gene").unwrap_or_default();
        let (proteins, codes) = antibody_edges(antibodies, map, genes, pairs);
        edges.push(TypedEdges::new("protein", "protein", proteins));
        if !genes.is_empty() && config.net.union {
            edges.push(TypedEdges::new("gene", "protein", codes));
        }
    }
    edges
}
