//! What can be checked of the three papers without their data: which class sizes the tables of the glioma paper are possible
//! with, and whether networks of the published sizes have the published numbers of parameters.

use candle_core::{DType, Device};
use candle_nn::VarBuilder;
use clap::Parser;
use oncograph_brain::{
    AutoencoderConfig, GliomaNetConfig, PUBLISHED, PopulationClassifierConfig, TractEncoderConfig,
    published_class_sizes, published_counts,
};
use oncograph_nn::{ParamStore, Seed};
use oncograph_omics::OmicsNetConfig;
use oncograph_report::{Cell, ReportTable};
use oncograph_spatiotemporal::{EdgeMode, Stg, StgConfig};
use oncograph_study::cli::program;
// Its allocator keeps big blocks for the next network.
use allocator as _;
use std::process::ExitCode;

/// Check what the papers print against what is possible, and the sizes of our networks against the published ones.
#[derive(Debug, Parser)]
#[command(name = "paper_audit", version)]
struct Args {}

fn main() -> ExitCode {
    Args::parse();
    program(|| {
        class_sizes();
        println!("{}", parameters()?.to_text());
        anyhow::Ok(())
    })
}

/// The class sizes that the printed shares of tables 2 to 4 are possible with.
fn class_sizes() {
    let found = published_class_sizes();
    let Some(&(_, positives, negatives)) = found.first() else { return };
    let header = ["Positive", "Negative", "All", "Rows of 21"];
    let table = ReportTable::new("Glioma: class sizes by the published rows that they fit", header);
    let sizes = found
        .iter()
        .take(5)
        .fold(table, |table, (fits, p, n)| table.row([p, n, &(p + n), fits].map(|v| Cell::count(*v))));
    println!("{}", sizes.to_text());
    let header = ["Table", "Row", "AUC", "ACC", "SEN", "SPE", "True positives", "True negatives"];
    let caption = format!("Every row with {positives} positives and {negatives} negatives");
    let rows = PUBLISHED.iter().fold(ReportTable::new(caption, header), |table, r| {
        let counts = published_counts(r, positives, negatives);
        let count = |n: Option<usize>| n.map_or_else(|| Cell::missing("does not close"), Cell::count);
        let first = [Cell::count(usize::from(r.table)), Cell::text(r.row)];
        let shares = [r.auc, r.accuracy, r.sensitivity, r.specificity].map(|v| Cell::number(v, 3));
        let counts = [counts.map(|c| c.true_positives), counts.map(|c| c.true_negatives)].map(count);
        table.row(first.into_iter().chain(shares).chain(counts))
    });
    let total = positives + negatives;
    println!("{}", rows.to_text());
    println!(
        "{positives} of the {total} test patients are \"positive\", yet about 74 % of the cohort are wild types: the printed \
         sensitivity is recall of wild types. The text counts 117 test patients, the rows {total}.\n"
    );
}

/// How many parameters a network has in all, or those whose names begin as given or, after a `!`, do not.
fn count<T, E: std::error::Error + Send + Sync + 'static>(
    begins: &str,
    build: impl FnOnce(VarBuilder) -> Result<T, E>,
) -> anyhow::Result<usize> {
    let store = ParamStore::new(Seed::new(0));
    build(store.var_builder(DType::F32, &Device::Cpu))?;
    let counted = store.trainable().into_iter().filter(|(name, _)| match begins.strip_prefix('!') {
        Some(other) => !name.starts_with(other),
        None => name.starts_with(begins),
    });
    Ok(counted.map(|(_, v)| v.elem_count()).sum())
}

/// The numbers of parameters that follow from the published widths, and ours.
fn parameters() -> anyhow::Result<ReportTable> {
    let net = GliomaNetConfig::default();
    let (image, tracts) = (net.image.clone(), TractEncoderConfig::default());
    // Section 11 of the specification of STG counts neither the backbones nor the clinical layer.
    let stg = |config: StgConfig| count("!nodes.", |vb| Stg::new(&config.edge_mode(EdgeMode::Ignore), vb));
    let decoupled = StgConfig::decoupled(22).hidden(128).lstm_hidden(128);
    let rows = [
        ("STG: full, h = 512", 6_307_474, stg(StgConfig::full(22).hidden(512))?),
        ("STG: decoupled, h = k = 128", 1_358_995, stg(decoupled)?),
        ("multi-modal: literal", 5_992_068, count("", |vb| OmicsNetConfig::literal().build(vb))?),
        (
            "glioma: autoencoder of regions",
            21_778_672,
            count("", |vb| AutoencoderConfig::default().build(vb))?,
        ),
        ("glioma: encoder of tracts, MRI", 10_887_344, count("mri.", |vb| tracts.build(vb))?),
        ("glioma: encoder of tracts, FA", 1_620_144, count("fa.", |vb| tracts.build(vb))?),
        ("glioma: f^I", 7_006_176, count("", |vb| image.build(vb))?),
        ("glioma: population graph", 49_473, count("", |vb| PopulationClassifierConfig::new(96).build(vb))?),
    ];
    let table =
        ReportTable::new("Parameters at the published widths", ["Network", "By hand", "Ours", "Equal"]);
    Ok(rows.into_iter().fold(table, |table, (name, expected, ours)| {
        let equal = if expected == ours { "yes" } else { "no" };
        table.row([Cell::text(name), Cell::count(expected), Cell::count(ours), Cell::text(equal)])
    }))
}
