//! Inputs as the field has them, each read as its folder says.

use libtest_mimic::{Failed, Trial};
use oncograph_tests::cases::{self, Outcome};
use oncograph_tests::{shared_root, trial};
use std::path::{Path, PathBuf};

pub fn trials() -> Vec<Trial> {
    ["fails_today", "reads_right"].into_iter().flat_map(of_folder).collect()
}

fn of_folder(folder: &'static str) -> Vec<Trial> {
    let inside = format!("cases/{folder}");
    let Ok(entries) = std::fs::read_dir(shared_root().join(&inside)) else {
        return vec![trial(&format!("cases::{folder}"), &[inside.as_str()], |_| Ok(()))];
    };
    let mut folders: Vec<_> = entries.filter_map(|e| e.ok().map(|e| e.path())).collect();
    folders.retain(|path| path.is_dir());
    folders.sort();
    let one = |path: PathBuf| {
        let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Trial::test(format!("cases::{folder}::{name}"), move || read(&path))
    };
    folders.into_iter().map(one).collect()
}

fn read(folder: &Path) -> Result<(), Failed> {
    match cases::run(folder, &cases::known()?)? {
        Outcome::Passed => Ok(()),
        Outcome::Skipped(why) => {
            eprintln!("skip {}: {why}", folder.display());
            Ok(())
        }
        Outcome::Failed(why) => Err(why.into()),
        Outcome::Unjudged(found) => Err(format!("nothing is expected of it in tests/cases: {found}").into()),
    }
}
