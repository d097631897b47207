//! `oncograph-datasets::omics` and the enrichment on real tables, networks and gene sets.

use libtest_mimic::{Failed, Trial};
use oncograph::explain::{EnrichmentConfig, over_representation};
use oncograph_datasets::omics::{
    GeneSets, NamedRows, OmicsCohort, OmicsCollection, OmicsDataset, antibody_edges, brca, gbmlgg,
    gbmlgg_with, rat, read_bioplex, read_map,
};
use std::path::Path;

type Outcome = Result<(), Failed>;

/// The trials of this file.
pub fn trials() -> Vec<Trial> {
    type Run = fn(&Path) -> Outcome;
    let list: [(&str, &[&str], Run); 4] = [
        ("counts", &["data/omics/gbmlgg_rppa.csv.gz", "data/omics/brca_outcomes.csv"], counts),
        ("folders", &["data/omics/gbmlgg_rppa.csv.gz", "data/omics/brca_outcomes.csv"], folders),
        ("antibodies", &["data/omics/BioPlex_293T_Network_10K_Dec_2019.tsv.gz"], antibodies),
        ("enrichment", &["data/omics/ReactomePathways.gmt"], enrichment),
    ];
    let trial = |(name, needs, run): (&str, &[&str], Run)| {
        oncograph_tests::trial(&format!("omics::{name}"), needs, run)
    };
    list.into_iter().map(trial).collect()
}

fn deaths(cohort: &OmicsCohort) -> (usize, usize) {
    let known: Vec<bool> = cohort.outcomes.iter().filter_map(|o| o.survival).map(|s| s.event()).collect();
    (known.len(), known.iter().filter(|e| **e).count())
}

/// The name of a table, its columns, and the bits of each row.
type TableBits = (String, Vec<String>, Vec<Option<Vec<u32>>>);

/// A public cohort that is written as a folder is the same cohort.
fn folders(shared: &Path) -> Outcome {
    let root = shared.join("data/omics");
    for collection in [OmicsCollection::Gbmlgg, OmicsCollection::Brca, OmicsCollection::Rat] {
        let before = OmicsDataset::open(&root, collection, None)?;
        let folder = tempfile::tempdir()?;
        before.write_folder(folder.path())?;
        let after = OmicsDataset::folder(folder.path())?;
        let (a, b) = (&before.cohort, &after.cohort);
        assert_eq!(a.covariates, b.covariates);
        let bits = |c: &OmicsCohort| -> Vec<TableBits> {
            let row = |r: &Option<Vec<f32>>| r.as_ref().map(|r| r.iter().map(|v| v.to_bits()).collect());
            let table = |(name, (columns, rows)): (&String, &NamedRows)| {
                (name.clone(), columns.clone(), rows.iter().map(row).collect())
            };
            c.tables.iter().map(table).collect()
        };
        assert!(bits(a) == bits(b), "{collection:?}: other values");
        assert_eq!((&a.outcomes, &a.classes, &a.events), (&b.outcomes, &b.classes, &b.events));
        assert_eq!((&before.networks, &before.antibodies), (&after.networks, &after.antibodies));
        assert_eq!((&before.centres, before.sets.len()), (&after.centres, after.sets.len()));
    }
    // Who is in the clinical table and in no molecular one is counted.
    let glioma = gbmlgg(&root, None)?;
    let account = &glioma.accounts[0];
    assert_eq!(account.rows, account.used + account.left_out.iter().map(|l| l.1.len()).sum::<usize>());
    assert!(account.used > 600 && account.rows > account.used, "{} of {}", account.used, account.rows);
    Ok(())
}

fn counts(shared: &Path) -> Outcome {
    let root = shared.join("data/omics");
    // Patients of whom only a recurrent tumour was measured count where that is asked for.
    let primary = gbmlgg(&root, None)?;
    assert_eq!((primary.ids().len(), primary.tables["protein"].0.len()), (662, 217));
    let glioma = gbmlgg_with(&root, None, &"01,02".parse()?)?;
    assert_eq!((glioma.ids().len(), glioma.tables["protein"].0.len()), (668, 217));
    let responses = glioma.outcomes.iter().filter(|o| o.classes.contains_key("response")).count();
    assert_eq!(responses, 159);
    let (known, died) = deaths(&glioma);
    assert_eq!((known, died), (662, 275));
    let breast = brca(&root)?;
    assert_eq!((breast.ids().len(), breast.tables["protein"].1.iter().flatten().count()), (220, 150));
    assert_eq!(breast.outcomes.iter().filter(|o| o.classes.contains_key("subtype")).count(), 220);
    let (known, died) = deaths(&breast);
    assert_eq!((known, died), (216, 36));
    let rats = rat(&root)?;
    assert_eq!((rats.ids().len(), rats.tables["gene"].0.len()), (64, 3116));
    Ok(())
}

fn antibodies(shared: &Path) -> Outcome {
    let root = shared.join("data/omics");
    let pairs = read_bioplex(root.join("BioPlex_293T_Network_10K_Dec_2019.tsv.gz"), 0.7)?;
    let map = read_map(root.join("rppa_antibody_to_gene.tsv"), "antibody", "genes")?;
    let names = gbmlgg(&root, None)?.tables["protein"].0.clone();
    let (proteins, codes) = antibody_edges(&names, &map, &["TP53".to_string()], &pairs);
    let place = |n: &str| names.iter().position(|m| m == n).map(|i| i as u32);
    let akt = (place("Akt").ok_or("no Akt")?, place("Akt_pS473").ok_or("no Akt_pS473")?);
    assert!(proteins.contains(&akt) && proteins.len() > 100, "{} edges", proteins.len());
    assert!(!codes.is_empty());
    Ok(())
}

/// Forty genes of a pathway and 28 at random find it first; the numbers are scipy's `hypergeom.sf` and Benjamini and
/// Hochberg's correction of them over the same 333 sets.
fn enrichment(shared: &Path) -> Outcome {
    let read = GeneSets::read(shared.join("data/omics/ReactomePathways.gmt"))?;
    let sets: Vec<(String, Vec<String>)> = read.sets.into_iter().map(|(n, _, g)| (n, g)).collect();
    let mut measured: Vec<String> = sets.iter().flat_map(|s| s.1.clone()).collect();
    measured.sort_unstable();
    measured.dedup();
    let pathway = sets.iter().find(|s| s.0 == "Mitotic Spindle Checkpoint").ok_or("no such pathway")?;
    let mut selected = pathway.1[..40].to_vec();
    selected.extend(measured.iter().step_by(400).cloned());
    let found = over_representation(&selected, &measured, &sets, &EnrichmentConfig::new().sizes(5, 500))?;
    assert_eq!((measured.len(), found.len()), (11194, 333));
    let expected = [
        ("Mitotic Spindle Checkpoint", 8.957618554516627e-68, 2.982886978654037e-65),
        ("Separation of Sister Chromatids", 1.3257829179397696e-58, 2.2074285583697163e-56),
        ("Mitotic Anaphase", 1.8130724422688143e-52, 1.8223497911413842e-50),
    ];
    for (row, (name, p, q)) in found.iter().zip(expected) {
        assert_eq!(row.name, name);
        approx::assert_relative_eq!(row.p_value, p, max_relative = 1e-10);
        approx::assert_relative_eq!(row.q_value, q, max_relative = 1e-10);
    }
    approx::assert_relative_eq!(found[100].p_value, 0.12556461905547456, max_relative = 1e-10);
    Ok(())
}
