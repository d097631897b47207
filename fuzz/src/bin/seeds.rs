//! Writes what the targets begin with: `seeds OUT [CASES]...`, a folder of each target in `OUT`.
//!
//! The files of the folders `CASES` go to the targets that read their kind; of the formats that are our own, small valid files
//! are made here.

use candle_core::Device;
use oncograph_brain::{GliomaConfig, GliomaPreset, GliomaSource, GliomaTablesConfig};
use oncograph_datasets::cache::Features;
use oncograph_datasets::glioma::GliomaPhantomConfig;
use oncograph_datasets::omics::{OmicsDataset, OmicsPhantomConfig};
use oncograph_fuzz::series;
use oncograph_imaging::{Mask, seg};
use oncograph_omics::{OmicsPreset, OmicsStudyCohort, OmicsSystem, write_bundle};
use oncograph_report::ModelCard;
use oncograph_spatiotemporal::{StgPreset, StgSystemConfig};
use oncograph_study::{Constant, ScoreOptions, Study};
use oncograph_train::RunDir;
use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};

type Result<T> = std::result::Result<T, Box<dyn std::error::Error>>;

/// Larger files slow a fuzzer down more than they tell it.
const LARGEST: usize = 1 << 18;

fn main() -> Result<()> {
    let mut arguments = std::env::args_os().skip(1).map(PathBuf::from);
    let out = arguments.next().ok_or("seeds OUT [CASES]...")?;
    for cases in arguments {
        of_cases(&cases, &out)?;
    }
    segmentations(&out)?;
    tractograms(&out)?;
    checkpoints(&out)?;
    configs(&out)?;
    bundles(&out)
}

/// Writes a seed of a target under the hash of its content, so that none is there twice.
fn write(out: &Path, target: &str, content: &[u8]) -> Result<()> {
    if content.len() <= LARGEST {
        let folder = out.join(target);
        std::fs::create_dir_all(&folder)?;
        std::fs::write(folder.join(blake3::hash(content).to_hex().as_str()), content)?;
    }
    Ok(())
}

/// A streamline of two points, once in each format.
fn tractograms(out: &Path) -> Result<()> {
    let points = |values: &[f32]| values.iter().flat_map(|v| v.to_le_bytes()).collect::<Vec<u8>>();
    let header = b"mrtrix tracks\ndatatype: Float32LE\ncount: 1\nfile: . 58\nEND\n";
    let numbers = [1.0, 2.0, 3.0, 4.0, 5.0, 6.0];
    let ends = [[f32::NAN; 3], [f32::INFINITY; 3]];
    write(out, "streamlines", &[&header[..], &points(&numbers), &points(ends.as_flattened())].concat())?;
    let mut trk = vec![0; 1000];
    let mut put = |at: usize, bytes: &[u8]| trk[at..at + bytes.len()].copy_from_slice(bytes);
    put(0, b"TRACK\0");
    put(6, &[10, 0, 10, 0, 10, 0]);
    put(12, &points(&[2.0; 3]));
    for k in 0..4 {
        put(440 + 20 * k, &points(&[1.0]));
    }
    put(948, b"RAS");
    for (at, value) in [(988, 1_i32), (992, 2), (996, 1000)] {
        put(at, &value.to_le_bytes());
    }
    trk.extend(2_i32.to_le_bytes());
    trk.extend(points(&numbers));
    write(out, "streamlines", &trk)
}

fn of_cases(folder: &Path, out: &Path) -> Result<()> {
    let mut paths = std::fs::read_dir(folder)?.map(|e| Ok(e?.path())).collect::<Result<Vec<_>>>()?;
    paths.sort();
    let mut slices = vec![];
    for path in paths {
        if path.is_dir() {
            of_cases(&path, out)?;
            continue;
        }
        let name = path.file_name().unwrap_or_default().to_string_lossy().to_ascii_lowercase();
        let content = std::fs::read(&path)?;
        let ending =
            name.strip_suffix(".gz").unwrap_or(&name).rsplit('.').next().unwrap_or_default().to_string();
        match ending.as_str() {
            "md" => {}
            "nii" | "hdr" | "img" => write(out, "nifti", &content)?,
            "tck" | "trk" => write(out, "streamlines", &content)?,
            "csv" | "tsv" | "txt" => {
                write(out, "clinical_csv", &content)?;
                write(out, "omics_csv", &content)?;
            }
            "xlsx" => write(out, "clinical_xlsx", &unzipped(&content)?)?,
            "parquet" => write(out, "omics_parquet", &content)?,
            "gmt" => write(out, "gmt", &content)?,
            "pth" | "pt" | "ckpt" | "tar" => write(out, "pth", &unzipped(&content).unwrap_or(content))?,
            "safetensors" => write(out, "safetensors", &content)?,
            "json" => write(out, "fhir", &content)?,
            _ if name.starts_with("seg") => write(out, "seg", &content)?,
            _ => slices.push(content),
        }
    }
    // A series is cut short: three slices stand for all.
    slices.truncate(3);
    if !slices.is_empty() {
        write(out, "dicom", &slices.concat())?;
    }
    Ok(())
}

/// An archive as the parts that the targets make one of; of many storages of numbers the first.
fn unzipped(archive: &[u8]) -> Result<Vec<u8>> {
    let mut zip = zip::ZipArchive::new(Cursor::new(archive))?;
    let mut parts = vec![];
    for i in 0..zip.len() {
        let mut entry = zip.by_index(i)?;
        let name = entry.name()?.into_owned();
        if name.contains("/data/") && !name.ends_with("/data/0") {
            continue;
        }
        parts.extend(format!("\n--- {name}\n").bytes());
        entry.read_to_end(&mut parts)?;
    }
    Ok(parts)
}

/// Two segments on the CT of the target.
fn segmentations(out: &Path) -> Result<()> {
    let ct = series();
    let (grid, frame) = (ct.volume.grid().clone(), ct.volume.frame().clone());
    let mask =
        |least: usize| Mask::from_fn(grid.clone(), frame.clone(), |[i, _, k]| u8::from(i > least && k != 2));
    let segment = |label| seg::NewSegment::new(label, seg::Code::organ(), seg::Code::organ());
    let path = oncograph_fuzz::folder().join("seed.dcm");
    seg::write(
        &path,
        &ct,
        &[(segment("Liver"), mask(2)), (segment("Tumor_1"), mask(9))],
        &seg::WriteOptions::new(),
    )?;
    write(out, "seg", &std::fs::read(path)?)
}

/// `{"state_dict": {"a.weight": t}}` with `t` \[3, 2\] in column order, as protocol 2 has it.
const PICKLE: &[u8] = b"\x80\x02}X\x0a\x00\x00\x00state_dict}X\x08\x00\x00\x00a.weightctorch._utils\x0a_rebuild_tensor_v2\x0a((X\x07\x00\x00\x00storagectorch\x0aFloatStorage\x0aX\x01\x00\x00\x000X\x03\x00\x00\x00cpuK\x06tQK\x00K\x03K\x02\x86K\x01K\x03\x86\x89}tRss.";
/// The same as protocol 4 has it.
const PICKLE_4: &[u8] = b"\x80\x04\x95\x80\x00\x00\x00\x00\x00\x00\x00}\x94\x8c\x0astate_dict\x94}\x94\x8c\x08a.weight\x94\x8c\x0ctorch._utils\x94\x8c\x12_rebuild_tensor_v2\x94\x93\x94((\x8c\x07storage\x94\x8c\x05torch\x94\x8c\x0cFloatStorage\x94\x93\x94\x8c\x010\x94\x8c\x03cpu\x94K\x06t\x94QK\x00K\x03K\x02\x86\x94K\x01K\x03\x86\x94\x89}\x94t\x94R\x94ss.";

/// A few numbers in each of the formats for weights.
fn checkpoints(out: &Path) -> Result<()> {
    let values: Vec<u8> = (0..6_u8).flat_map(|v| f32::from(v).to_le_bytes()).collect();
    for pickle in [PICKLE, PICKLE_4] {
        let parts =
            [&b"\n--- c/data.pkl\n"[..], pickle, b"\n--- c/byteorder\nlittle\n--- c/data/0\n", &values];
        write(out, "pth", &parts.concat())?;
    }
    // Before the archives: a magic number, a version, the system, the object, the keys of the storages, and these.
    let (magic, keys) =
        (b"\x80\x02\x8a\x0a\x6c\xfc\x9c\x46\xf9\x20\x6a\xa8\x50\x19.", b"\x80\x02]X\x01\x00\x00\x000a.");
    let legacy =
        [&magic[..], b"\x80\x02M\xe9\x03.", b"\x80\x02}.", PICKLE, keys, &6_u64.to_le_bytes(), &values];
    write(out, "pth", &legacy.concat())?;
    let features = Features::new().array("numbers", &[2, 3], vec![0.5; 6])?.text("id", "P1");
    let path = oncograph_fuzz::folder().join("seed.safetensors");
    features.write(&path, "fuzz")?;
    let bytes = std::fs::read(path)?;
    write(out, "features", &bytes)?;
    write(out, "safetensors", &bytes)?;
    let progress = br#"{"history": [], "best_epoch": null, "plateau": null}"#;
    let tensors = std::collections::HashMap::from([
        ("progress".to_string(), candle_core::Tensor::new(&progress[..], &Device::Cpu)?),
        ("parameters/a".to_string(), candle_core::Tensor::new(&[0.5_f32, 1.0], &Device::Cpu)?),
    ]);
    let path = oncograph_fuzz::folder().join("training.safetensors");
    candle_core::safetensors::save(&tensors, &path)?;
    write(out, "safetensors", &std::fs::read(path)?)
}

fn configs(out: &Path) -> Result<()> {
    for preset in [StgPreset::Paper, StgPreset::Quick] {
        write(out, "config", &serde_json::to_vec(&StgSystemConfig::new(preset))?)?;
    }
    let phantom = GliomaSource::Phantom(GliomaPhantomConfig::new(40, 1));
    write(out, "config", &serde_json::to_vec(&GliomaConfig::preset(GliomaPreset::Quick, phantom, 1))?)?;
    write(out, "config", &serde_json::to_vec(&GliomaTablesConfig::new("table.csv"))?)?;
    write(out, "config", &serde_json::to_vec(&OmicsPreset::Quick.config())?)?;
    write(out, "config", br#"{"id": "P-1", "covariates": {"age": 61}, "tables": {"gene": {"A": 0.4}}}"#)
}

/// The bundle of a network that was hardly trained, and its list of files.
fn bundles(out: &Path) -> Result<()> {
    let dataset = OmicsDataset::phantom(&OmicsPhantomConfig::new(40, 1))?;
    let mut config = OmicsPreset::Quick.for_phantom();
    (config.fit.epochs, config.select, config.net.hidden) = (1, 8, 4);
    let cohort = OmicsStudyCohort::new(dataset, &config)?;
    let (run, system) = (RunDir::create(&oncograph_fuzz::folder())?, OmicsSystem::new(config));
    let study =
        Study::new(&cohort, &run).cross_validation(2, 1).model(system.name(), &system).baseline(Constant);
    let results = study.run()?;
    let scores = results.score(&cohort, &ScoreOptions::default().replicates(10))?;
    let card = ModelCard::new("net", "fuzzing");
    let bundle = write_bundle(&run, &results, &cohort, &system, (&card, &scores))?;
    write(out, "bundle", &std::fs::read(bundle.path().join("bundle.json"))?)?;
    let mut parts = bundle.system().as_bytes().to_vec();
    for file in bundle.files() {
        parts.extend(format!("\n--- {}\n", file.name).bytes());
        parts.extend(bundle.bytes(&file.name)?);
    }
    println!("bundle: {} bytes", parts.len());
    write(out, "bundle", &parts)
}
