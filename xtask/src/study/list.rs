//! What the page of results shows, block by block.

use super::claim::Claim::{self, Above, AtLeast, AtMost, Between};

/// A block of the page: some runs of one program, tables of their metrics and what is claimed of them.
pub struct Block {
    /// Its name in the page's markers.
    pub name: &'static str,
    /// The example that runs.
    pub program: &'static str,
    /// The options of all its runs; `DATA` stands for the folder of real data.
    pub options: &'static str,
    /// The options of each run; the first column of the tables where there are several.
    pub runs: &'static [&'static str],
    /// The seeds with which each run is repeated: tables have the mean over them, the smallest and the largest value. None: each
    /// run once, with its intervals.
    pub seeds: &'static [u64],
    /// Where a run writes, if not into a folder of the program's name.
    pub folder: Option<&'static str>,
    /// Files of the folder of real data without which the block is skipped.
    pub needs: &'static [&'static str],
    /// The tables.
    pub tables: &'static [Table],
    /// What must hold in every run.
    pub claims: &'static [Claim],
}

impl Block {
    /// Every run by its own options, and its seed where each is repeated.
    pub fn all_runs(&self) -> Vec<(&'static str, Option<u64>)> {
        let seeds: Vec<Option<u64>> = match self.seeds {
            [] => vec![None],
            seeds => seeds.iter().copied().map(Some).collect(),
        };
        self.runs.iter().flat_map(|run| seeds.iter().map(move |seed| (*run, *seed))).collect()
    }
}

const BLOCK: Block = Block {
    name: "",
    program: "",
    options: "",
    runs: &[""],
    seeds: &[],
    folder: None,
    needs: &[],
    tables: &[],
    claims: &[],
};

/// A table: one row per run and model.
pub struct Table {
    /// Above the table.
    pub caption: &'static str,
    /// The folder of `metrics.csv` within a run.
    pub part: &'static str,
    /// The columns after the model's name.
    pub columns: &'static [Column],
    /// The models, if not all.
    pub models: &'static [&'static str],
}

/// A column of a table.
pub enum Column {
    /// A metric of a task, by their names in `metrics.csv`, with its interval.
    Metric(&'static str, &'static str),
    /// The reference model's lead in the first metric of a task, with its interval.
    Lead(&'static str),
    /// Trained parameters.
    Parameters,
}
use Column::{Lead, Metric, Parameters};

const fn table(caption: &'static str, columns: &'static [Column]) -> Table {
    Table { caption, part: "", columns, models: &[] }
}

const fn part(caption: &'static str, part: &'static str, columns: &'static [Column]) -> Table {
    Table { caption, part, columns, models: &[] }
}

const SEEDS: &[&str] = &["--seed 1", "--seed 2", "--seed 3"];

const fn times(task: &'static str) -> [Column; 6] {
    [
        Metric(task, "C-index"),
        Lead(task),
        Metric(task, "AUC at 3 years"),
        Metric(task, "TAA"),
        Metric(task, "MSE (years²)"),
        Metric(task, "MAE (years)"),
    ]
}
const RECURRENCE: [Column; 6] = times("recurrence");
const SURVIVAL: [Column; 6] = times("survival");
const STG_TABLES: &[Table] = &[table("Recurrence", &RECURRENCE), table("Survival", &SURVIVAL)];

const IDH: &str = "IDH";
const CLASSES: &[Column] = &[
    Metric(IDH, "AUROC"),
    Lead(IDH),
    Metric(IDH, "AUPRC"),
    Metric(IDH, "accuracy"),
    Metric(IDH, "sensitivity"),
    Metric(IDH, "specificity"),
    Metric(IDH, "Brier score"),
];
const FIVE: &[u64] = &[1, 2, 3, 4, 5];
const PLANTED: &[Column] = &[Metric(IDH, "AUROC")];

const PHANTOM_OMICS: &[Column] = &[
    Parameters,
    Metric("survival", "C-index"),
    Lead("survival"),
    Metric("response", "AUROC"),
    Lead("response"),
    Metric("toxicity", "AUROC"),
    Lead("toxicity"),
];

const UCSF: &str = "glioma/UCSF-PDGM-metadata_v2.csv";
const CECCARELLI: &str = "glioma/tcga_lgg_gbm_subtype_ceccarelli2016.csv";

/// What a segmentation gives for nothing, beside the covariates.
const COX_MASKS: &str = "Cox, covariates and mask numbers";
const ALL_BUT_INTERACTION: &str = "--signals shape,density,texture,covariates";
const MASKS_SAY_ALL: &str = "--signals shape,covariates";
const MASKS_SAY_NOTHING: &str = "--signals density,texture";
const COVARIATES_ALONE: &str = "--signals covariates";
const INTERACTION: &str = "--signals interaction";
const RANKED: &[&str] = &["stg", "stg_without_images", COX_MASKS, COX_HU, "random survival forest"];
const SIGNALS: &[Table] = &[Table {
    caption: "C-index within folds, the mean over the seeds (smallest to largest)",
    part: "",
    columns: &[Metric("recurrence", "C-index"), Metric("survival", "C-index")],
    models: RANKED,
}];

/// What the images of the phantom hold beyond the masks.
const COX_HU: &str = "Cox, covariates, mask numbers and intensities";

/// The blocks, in the order of the page.
pub const BLOCKS: &[Block] = &[
    Block {
        name: "stg_phantom",
        program: "stg_crlm",
        runs: SEEDS,
        tables: STG_TABLES,
        claims: &[
            Above("recurrence", "C-index", "stg", "stg_without_images", 0.02),
            Above("survival", "C-index", "stg", "stg_without_images", 0.02),
            Above("recurrence", "C-index", "stg", "constant", 0.1),
            Above("survival", "C-index", "stg", "constant", 0.1),
            Above("recurrence", "C-index", COX_HU, COX_MASKS, 0.02),
            Above("survival", "C-index", COX_HU, COX_MASKS, 0.02),
        ],
        ..BLOCK
    },
    Block {
        name: "stg_signals",
        program: "stg_crlm",
        runs: &[ALL_BUT_INTERACTION, MASKS_SAY_ALL, MASKS_SAY_NOTHING, COVARIATES_ALONE, INTERACTION],
        seeds: &[31, 32, 33, 34, 35],
        tables: SIGNALS,
        claims: &[
            Between(ALL_BUT_INTERACTION, "recurrence", "stg", COX_MASKS, 0.0, 1.0),
            Between(ALL_BUT_INTERACTION, "survival", "stg", COX_MASKS, 0.0, 1.0),
            Between(ALL_BUT_INTERACTION, "recurrence", "stg", "stg_without_images", 0.05, 1.0),
            Between(ALL_BUT_INTERACTION, "survival", "stg", "stg_without_images", 0.05, 1.0),
            Between(MASKS_SAY_ALL, "recurrence", "stg", COX_MASKS, -1.0, 0.01),
            Between(MASKS_SAY_ALL, "survival", "stg", COX_MASKS, -1.0, 0.01),
            Between(MASKS_SAY_NOTHING, "recurrence", "stg", COX_MASKS, 0.05, 1.0),
            Between(MASKS_SAY_NOTHING, "survival", "stg", COX_MASKS, 0.05, 1.0),
            Between(MASKS_SAY_NOTHING, "recurrence", "stg_without_images", "constant", -0.05, 0.05),
            Between(MASKS_SAY_NOTHING, "survival", "stg_without_images", "constant", -0.05, 0.05),
            Between(COVARIATES_ALONE, "recurrence", "stg", "stg_without_images", -1.0, 0.01),
            Between(COVARIATES_ALONE, "survival", "stg", "stg_without_images", -1.0, 0.01),
        ],
        ..BLOCK
    },
    Block {
        name: "stg_tables",
        program: "stg_crlm",
        options: "--seed 1",
        runs: &["--table 2", "--table 3", "--table 4", "--table 5"],
        folder: Some("stg_crlm_tables"),
        tables: STG_TABLES,
        ..BLOCK
    },
    Block {
        name: "stg_real",
        program: "stg_crlm",
        options: "--data DATA/crlm/clinical \
                  --clinical DATA/crlm/clinical/Colorectal-Liver-Metastases-Clinical-data-April-2023.xlsx",
        runs: &["--seed 1", "--seed 2", "--seed 3"],
        needs: &["crlm/clinical/Colorectal-Liver-Metastases-Clinical-data-April-2023.xlsx"],
        tables: STG_TABLES,
        claims: &[
            Above("recurrence", "C-index", "stg_without_images", "constant", 0.09),
            Above("survival", "C-index", "stg_without_images", "constant", 0.09),
        ],
        ..BLOCK
    },
    Block {
        name: "glioma_ucsf",
        program: "glioma_tables",
        options: "DATA/glioma/UCSF-PDGM-metadata_v2.csv",
        needs: &[UCSF],
        tables: &[part("Age and sex", "age_sex", CLASSES), part("With pathology", "pathology", CLASSES)],
        ..BLOCK
    },
    Block {
        name: "glioma_tcga",
        program: "glioma_tables",
        options: "DATA/glioma/tcga_lgg_gbm_subtype_ceccarelli2016.csv",
        needs: &[CECCARELLI],
        tables: &[
            part("Age and sex", "age_sex", CLASSES),
            part("With the Karnofsky score", "pre_operative", CLASSES),
            part("With pathology", "pathology", CLASSES),
        ],
        ..BLOCK
    },
    Block {
        name: "glioma_phantom",
        program: "glioma_idh",
        options: "--table 3",
        seeds: FIVE,
        tables: &[table("Tables 2 and 3 of the paper", CLASSES)],
        ..BLOCK
    },
    Block {
        name: "glioma_encoders",
        program: "glioma_idh",
        options: "--table 4 --ablate",
        seeds: FIVE,
        tables: &[table("Table 4 of the paper, and one decision changed at a time", CLASSES)],
        ..BLOCK
    },
    Block {
        name: "glioma_planted",
        program: "glioma_idh",
        folder: Some("glioma_planted"),
        options: "--planted --patients 160",
        seeds: FIVE,
        tables: &[
            part("Shape", "shape", PLANTED),
            part("Texture", "texture", PLANTED),
            part("Spread along tracts", "tract", PLANTED),
            part("Nothing planted", "none", PLANTED),
        ],
        claims: &[
            AtLeast("shape", "f^P", 0.66),
            AtLeast("shape", "full", 0.66),
            AtMost("shape", "f^B", 0.66),
            AtLeast("texture", "f^I", 0.66),
            AtLeast("texture", "full", 0.66),
            AtMost("texture", "f^P", 0.66),
            AtLeast("tract", "f^B", 0.66),
            AtLeast("tract", "full", 0.66),
            AtMost("tract", "f^I", 0.66),
            AtMost("tract", "f^P", 0.66),
            AtMost("none", "f^I", 0.66),
            AtMost("none", "f^P", 0.66),
            AtMost("none", "f^B", 0.66),
        ],
        ..BLOCK
    },
    Block {
        name: "omics_phantom",
        program: "multimodal_oncology",
        runs: SEEDS,
        tables: &[table("All models", PHANTOM_OMICS)],
        claims: &[
            Above("survival", "C-index", "graph network", "late fusion", 0.02),
            Above("response", "AUROC", "graph network", "late fusion", 0.02),
            Above("toxicity", "AUROC", "graph network", "late fusion", 0.02),
            Above("survival", "C-index", "graph network", "graph network, shuffled edges", 0.02),
            Above("response", "AUROC", "graph network", "graph network, shuffled edges", 0.02),
            Above("toxicity", "AUROC", "graph network", "graph network, shuffled edges", 0.02),
            Above("response", "AUROC", "late fusion", "genomics only", 0.0),
            Above("response", "AUROC", "late fusion", "proteomics only", 0.0),
            Above("response", "AUROC", "late fusion", "clinical only", 0.0),
            Above("toxicity", "AUROC", "late fusion", "genomics only", 0.0),
            Above("toxicity", "AUROC", "late fusion", "proteomics only", 0.0),
            Above("toxicity", "AUROC", "late fusion", "clinical only", 0.0),
        ],
        ..BLOCK
    },
    Block {
        name: "omics_federated",
        program: "multimodal_oncology",
        options: "--federate",
        tables: &[Table {
            caption: "The pooled network, the federations and each centre alone",
            part: "",
            columns: PHANTOM_OMICS,
            models: &[
                "graph network",
                "federated, FedAvg",
                "federated, FedProx",
                "centre A alone",
                "centre B alone",
                "centre C alone",
            ],
        }],
        ..BLOCK
    },
    Block {
        name: "omics_gbmlgg",
        program: "multimodal_oncology",
        options: "--data DATA/omics --cohort gbmlgg --sample-types 01,02 --epochs 30 --batch 128 --patience 10 --repeats 3",
        needs: &["omics/gbmlgg_rppa.csv.gz", "omics/gbmlgg_outcomes.csv"],
        tables: &[table(
            "668 patients",
            &[
                Metric("survival", "C-index"),
                Lead("survival"),
                Metric("response", "AUROC"),
                Lead("response"),
                Metric("idh", "AUROC"),
                Lead("idh"),
                Metric("idh", "balanced accuracy"),
            ],
        )],
        ..BLOCK
    },
    Block {
        name: "omics_rat",
        program: "multimodal_oncology",
        options: "--data DATA/omics --cohort rat --repeats 3",
        needs: &["omics/rat_liver_toxicity_gene.csv.gz"],
        tables: &[table(
            "64 animals",
            &[Metric("toxicity", "AUROC"), Lead("toxicity"), Metric("toxicity", "AUPRC")],
        )],
        ..BLOCK
    },
    Block {
        name: "omics_brca",
        program: "multimodal_oncology",
        options: "--data DATA/omics --cohort brca --repeats 3",
        needs: &["omics/brca_mrna_train.csv.gz", "omics/brca_outcomes.csv"],
        tables: &[table(
            "220 patients",
            &[
                Metric("survival", "C-index"),
                Lead("survival"),
                Metric("subtype", "AUROC"),
                Lead("subtype"),
                Metric("subtype", "balanced accuracy"),
            ],
        )],
        ..BLOCK
    },
];
