//! `oncograph_imaging::registration` with the installed program, on the two patients of TCGA.

use libtest_mimic::{Failed, Trial};
use oncograph_imaging::registration::{Elastix, ElastixStage, Registrar};
use oncograph_imaging::{Interpolation, Mask, ResampleOptions, Volume, nifti, resample};
use oncograph_metrics::Overlap;
use oncograph_tests::trial;
use std::path::Path;
use std::time::Instant;

const PATIENTS: [&str; 2] = ["TCGA-DU-7294", "TCGA-FG-6692"];

pub fn trials() -> Vec<Trial> {
    let needs = ["data/glioma/TCGA-DU-7294", "data/glioma/TCGA-FG-6692", "data/glioma/templates"];
    let absent = Elastix::new().version().err();
    if let Some(cause) = &absent {
        eprintln!("skip registration::*: {cause}");
    }
    let coarse = trial("registration::affine_at_4_mm", &needs, coarse);
    let full = trial("registration::tcga_to_mni_2_mm", &needs, full);
    let ignored = absent.is_some() || coarse.has_ignored_flag();
    // Two minutes per patient: on demand, for docs/results.md.
    vec![coarse.with_ignored_flag(ignored), full.with_ignored_flag(true)]
}

/// The share of the two brains that they have in common.
fn dice(a: &Mask, b: &Mask) -> Result<f64, Failed> {
    let flags = |m: &Mask| m.as_slice().iter().map(|v| *v != 0).collect::<Vec<_>>();
    Overlap::new(&flags(a), &flags(b))?.dice().ok_or_else(|| "two empty masks".into())
}

fn brain(volume: &Volume<f32>) -> Mask {
    volume.map(|v| u8::from(v != 0.0))
}

fn coarse(root: &Path) -> Result<(), Failed> {
    let glioma = root.join("data/glioma");
    let at = |volume: Volume<f32>, mm: f64| -> Result<Volume<f32>, Failed> {
        let grid = volume.grid().with_spacing([mm; 3])?;
        Ok(resample(&volume, &grid, &ResampleOptions::new(Interpolation::Linear).outside(0.0))?)
    };
    let template = at(nifti::read(glioma.join("templates/MNI152_T1_2mm_brain.nii.gz"))?, 4.0)?;
    let t1 = at(nifti::read(glioma.join("TCGA-DU-7294/TCGA-DU-7294_t1.nii.gz"))?, 4.0)?;
    let folder = tempfile::tempdir()?;
    let out = folder.path().join("registration");
    let transform = Elastix::new().stages([ElastixStage::Affine]).register(&template, &t1, &out)?;
    let moved = transform.apply_labels(&brain(&t1), "brain")?;
    let overlap = dice(&moved, &brain(&template))?;
    if !moved.grid().approx_eq(template.grid(), 1e-6) || overlap < 0.9 {
        return Err(format!("the brains overlap by {overlap}").into());
    }
    for kept in ["version.txt", "commands.txt", "elastix.out", "parameters.0.txt", "brain/transformix.out"] {
        if !out.join(kept).exists() {
            return Err(format!("{kept} is not kept").into());
        }
    }
    // The same input gives the same transform.
    let again = folder.path().join("again");
    Elastix::new().stages([ElastixStage::Affine]).register(&template, &t1, &again)?;
    let parameters = |folder: &Path| -> Result<String, Failed> {
        let text = std::fs::read_to_string(folder.join("TransformParameters.0.txt"))?;
        let line = text.lines().find(|l| l.starts_with("(TransformParameters "));
        line.map(String::from).ok_or_else(|| "no parameters".into())
    };
    if parameters(&out)? != parameters(&again)? {
        return Err("a second run found another transform".into());
    }
    Ok(())
}

fn full(root: &Path) -> Result<(), Failed> {
    let glioma = root.join("data/glioma");
    let template: Volume<f32> = nifti::read(glioma.join("templates/MNI152_T1_2mm_brain.nii.gz"))?;
    for patient in PATIENTS {
        let t1: Volume<f32> = nifti::read(glioma.join(format!("{patient}/{patient}_t1.nii.gz")))?;
        let mask = brain(&t1);
        let nearest = ResampleOptions::new(Interpolation::Nearest);
        let before = dice(&resample(&mask, template.grid(), &nearest)?, &brain(&template))?;
        let folder = tempfile::tempdir()?;
        for (name, stages) in [
            ("affine", vec![ElastixStage::Affine]),
            ("affine, B-splines", vec![ElastixStage::Affine, ElastixStage::BSpline(12)]),
        ] {
            let begun = Instant::now();
            let elastix = Elastix::new().stages(stages);
            let transform = elastix.register(&template, &t1, &folder.path().join(name.replace(", ", "_")))?;
            let after = dice(&transform.apply_labels(&mask, "brain")?, &brain(&template))?;
            println!(
                "{patient}: {name}: Dice of the brains {before:.3} -> {after:.3}, {:.0?}",
                begun.elapsed()
            );
            if after < 0.9 {
                return Err(format!("{patient}: the brains overlap by {after}").into());
            }
        }
    }
    Ok(())
}
