use super::command_line;
use super::process::begun_by;
use crate::{Error, Result};
use oncograph_core::{Argument, AtFile};
use oncograph_train::RunDir;
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Map, Value};
use std::path::{Path, PathBuf};

/// The file of a run that holds every setting of it.
const CONFIG: &str = "config.json";

/// The entries of that file that name the program, and how it was called.
const PROGRAM: &str = "program";
const COMMAND: &str = "command";

/// Settings with the name of their program before them.
#[derive(Serialize)]
struct Named<'a, C> {
    program: &'a str,
    command: String,
    #[serde(flatten)]
    config: &'a C,
}

/// The run that a program goes on with, or a new one: its settings, its folder and whether it is new.
///
/// `resume` is `--resume`: `Some(None)` means the newest run below `root` that has settings, whose name goes to standard error. A
/// new run writes its settings first, with the name of the `program` and the command line, which [`command_line`] gives again after it
/// is resumed.
///
/// # Errors
/// If there is no run to resume or it has no settings, or those of another program; an error of `settings` or of writing.
pub fn open_run<C: Serialize + DeserializeOwned, E: From<Error>>(
    program: &str,
    root: &Path,
    resume: Option<&Option<PathBuf>>,
    settings: impl FnOnce() -> std::result::Result<C, E>,
) -> std::result::Result<(C, RunDir, bool), E> {
    let Some(which) = resume else {
        let config = settings()?;
        let run = RunDir::create(root).map_err(Error::from)?;
        match serde_json::to_value(&config).map_err(Error::system)?.is_object() {
            true => {
                let command = command_line(program);
                run.write_json(CONFIG, &Named { program, command, config: &config })
            }
            false => run.write_json(CONFIG, &config),
        }
        .map_err(Error::from)?;
        return Ok((config, run, true));
    };
    let (config, run) = resumed(program, root, which.as_deref())?;
    let begun: Value = run.read_json(CONFIG).map_err(Error::from)?.unwrap_or_default();
    if let Some(command) = begun.get(COMMAND).and_then(Value::as_str) {
        begun_by(command);
    }
    Ok((config, run, false))
}

fn resumed<C: Serialize + DeserializeOwned>(
    program: &str,
    root: &Path,
    which: Option<&Path>,
) -> Result<(C, RunDir)> {
    let run = match which {
        Some(path) => RunDir::open(path)?,
        None => {
            let none = || AtFile::new(root, "there is no run to resume");
            let run = RunDir::latest_with(root, CONFIG)?.ok_or_else(none)?;
            eprintln!("resuming {}", run.path().display());
            run
        }
    };
    let path = run.file(CONFIG);
    if !path.exists() {
        return Err(AtFile::new(run.path(), format!("not a run, it has no {CONFIG}")).into());
    }
    Ok((read_config(program, &path)?, run))
}

/// Settings of a program from the `config.json` of a run.
///
/// # Errors
/// [`AtFile`] with the path, if it cannot be read or holds something else, such as the settings of another program, or a setting
/// that does not exist: a misspelt one would else be replaced by its default.
pub fn read_config<C: Serialize + DeserializeOwned>(program: &str, path: &Path) -> Result<C> {
    let bytes = std::fs::read(path).map_err(|e| AtFile::new(path, e))?;
    let mut given: Value = serde_json::from_slice(&bytes).map_err(|e| AtFile::new(path, e))?;
    let other = given.as_object_mut().and_then(|entries| {
        entries.remove(COMMAND);
        entries.remove(PROGRAM)
    });
    if let Some(other) = other.as_ref().and_then(Value::as_str).filter(|other| *other != program) {
        return Err(AtFile::new(path, format!("settings of the program {other}, not of {program}")).into());
    }
    let at = |e: serde_json::Error| AtFile::new(path, format!("not the settings of {program}: {e}"));
    let config: C = serde_json::from_value(given.clone()).map_err(at)?;
    let known = serde_json::to_value(&config).map_err(at)?;
    if let Some((name, there)) = unknown(&given, &known, "") {
        let cause = format!("there is no setting `{name}`; there are {}", there.join(", "));
        return Err(AtFile::new(path, cause).into());
    }
    Ok(config)
}

/// Settings changed by a JSON merge patch (RFC 7396): what the patch has replaces what is there, object by object, and `null` takes
/// a value away.
///
/// # Errors
/// A patch that is no object or names a setting that does not exist, or settings that cannot be read with it.
pub fn patched<C: Serialize + DeserializeOwned>(settings: &C, patch: &Value) -> Result<C> {
    const OP: &str = "patched";
    if !patch.is_object() {
        return Err(Argument::new(OP, "patch", "an object of settings", patch).into());
    }
    let mut changed = serde_json::to_value(settings).map_err(Error::system)?;
    merge(&mut changed, patch);
    let changed: C =
        serde_json::from_value(changed).map_err(|e| Argument::new(OP, "patch", "settings", e))?;
    let known = serde_json::to_value(&changed).map_err(Error::system)?;
    match unknown(patch, &known, "") {
        Some((name, there)) => {
            Err(Argument::new(OP, "patch", format!("among {}", there.join(", ")), name).into())
        }
        None => Ok(changed),
    }
}

fn merge(target: &mut Value, patch: &Value) {
    let Value::Object(patch) = patch else {
        *target = patch.clone();
        return;
    };
    if !target.is_object() {
        *target = Value::Object(Map::new());
    }
    let Value::Object(target) = target else { return };
    for (key, value) in patch {
        match value {
            Value::Null => drop(target.remove(key)),
            _ => merge(target.entry(key.clone()).or_insert(Value::Null), value),
        }
    }
}

/// The first key of `given` that `known` lacks, with its place, and the keys that are there; entries that are null are none.
fn unknown(given: &Value, known: &Value, place: &str) -> Option<(String, Vec<String>)> {
    match (given, known) {
        (Value::Object(given), Value::Object(known)) => given.iter().find_map(|(key, value)| {
            let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
            match known.get(key) {
                Some(known) => unknown(value, known, &place),
                None if value.is_null() => None,
                None => Some((place, known.keys().cloned().collect())),
            }
        }),
        (Value::Array(given), Value::Array(known)) => {
            let pairs = given.iter().zip(known).enumerate();
            pairs.into_iter().find_map(|(i, (given, known))| unknown(given, known, &format!("{place}[{i}]")))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_setting_that_does_not_exist_is_named() {
        #[derive(Debug, Default, PartialEq, Serialize, serde::Deserialize)]
        #[serde(default)]
        struct Inner {
            rate: f64,
            clip: Option<f64>,
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("config.json");
        let read = |text: &str| {
            std::fs::write(&path, text).unwrap();
            read_config::<Vec<Inner>>("p", &path)
        };
        let rest = Inner { rate: 2.0, clip: None };
        assert_eq!(read(r#"[{"rate": 2, "clip": null, "gone": null}]"#).unwrap(), [rest]);
        let error = read(r#"[{"rate": 1}, {"rates": 2}]"#).unwrap_err().to_string();
        assert!(
            error.contains("config.json: there is no setting `[1].rates`; there are clip, rate"),
            "{error}"
        );
    }

    /// The cases of RFC 7396, appendix A.
    #[test]
    fn patches_are_merged_as_the_standard_says() {
        for (target, patch, expected) in [
            (r#"{"a":"b"}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"b":"c"}"#, r#"{"a":"b","b":"c"}"#),
            (r#"{"a":"b"}"#, r#"{"a":null}"#, r#"{}"#),
            (r#"{"a":"b","b":"c"}"#, r#"{"a":null}"#, r#"{"b":"c"}"#),
            (r#"{"a":["b"]}"#, r#"{"a":"c"}"#, r#"{"a":"c"}"#),
            (r#"{"a":"c"}"#, r#"{"a":["b"]}"#, r#"{"a":["b"]}"#),
            (r#"{"a":{"b":"c"}}"#, r#"{"a":{"b":"d","c":null}}"#, r#"{"a":{"b":"d"}}"#),
            (r#"{"a":[{"b":"c"}]}"#, r#"{"a":[1]}"#, r#"{"a":[1]}"#),
            (r#"["a","b"]"#, r#"["c","d"]"#, r#"["c","d"]"#),
            (r#"{"a":"b"}"#, r#"["c"]"#, r#"["c"]"#),
            (r#"{"a":"foo"}"#, "null", "null"),
            (r#"{"a":"foo"}"#, r#""bar""#, r#""bar""#),
            (r#"{"e":null}"#, r#"{"a":1}"#, r#"{"e":null,"a":1}"#),
            ("[1,2]", r#"{"a":"b","c":null}"#, r#"{"a":"b"}"#),
            ("{}", r#"{"a":{"bb":{"ccc":null}}}"#, r#"{"a":{"bb":{}}}"#),
        ] {
            let [mut target, patch, expected] =
                [target, patch, expected].map(|text| serde_json::from_str::<Value>(text).unwrap());
            merge(&mut target, &patch);
            assert_eq!(target, expected, "{patch}");
        }
    }

    #[test]
    fn a_patch_of_what_does_not_exist_is_refused() {
        #[derive(Debug, Clone, PartialEq, Serialize, serde::Deserialize)]
        struct Settings {
            rate: f64,
            clip: Option<f64>,
        }
        let settings = Settings { rate: 0.5, clip: Some(1.0) };
        let of = |patch: &str| patched(&settings, &serde_json::from_str(patch).unwrap());
        assert_eq!(of(r#"{"rate": 2}"#).unwrap(), Settings { rate: 2.0, ..settings.clone() });
        assert_eq!(of(r#"{"clip": null}"#).unwrap(), Settings { clip: None, ..settings.clone() });
        let error = |patch: &str| of(patch).unwrap_err().to_string();
        assert!(error(r#"{"rats": 2}"#).contains("among clip, rate, got rats"));
        assert!(error(r#"{"rate": "x"}"#).contains("must be settings") && error("[1]").contains("an object"));
    }

    #[test]
    fn a_run_is_made_found_and_refused_by_name() {
        let root = tempfile::tempdir().unwrap();
        let none = open_run::<u32, Error>("p", root.path(), Some(&None), || Ok(1)).unwrap_err();
        assert!(none.to_string().contains("there is no run to resume"), "{none}");
        let (config, run, new) = open_run::<u32, Error>("p", root.path(), None, || Ok(7)).unwrap();
        assert_eq!((config, new), (7, true));
        let (again, same, new) = open_run::<u32, Error>("p", root.path(), Some(&None), || Ok(1)).unwrap();
        assert_eq!((again, same.path(), new), (7, run.path(), false));
        assert_eq!(read_config::<u32>("p", &run.file("config.json")).unwrap(), 7);
        std::fs::remove_file(run.file("config.json")).unwrap();
        let named = Some(run.path().to_path_buf());
        let bare = open_run::<u32, Error>("p", root.path(), Some(&named), || Ok(1)).unwrap_err();
        assert!(bare.to_string().contains("it has no config.json"), "{bare}");
    }

    #[test]
    fn a_run_of_another_program_is_said_to_be_that() {
        #[derive(Debug, PartialEq, Serialize, serde::Deserialize)]
        struct One {
            rate: f64,
        }
        #[derive(Debug, Serialize, serde::Deserialize)]
        struct Other {
            size: usize,
        }
        let root = tempfile::tempdir().unwrap();
        let (_, run, _) = open_run::<_, Error>("one", root.path(), None, || Ok(One { rate: 0.1 })).unwrap();
        let path = run.file(CONFIG);
        assert_eq!(read_config::<One>("one", &path).unwrap(), One { rate: 0.1 });
        let error = read_config::<Other>("other", &path).unwrap_err().to_string();
        assert!(error.ends_with("config.json: settings of the program one, not of other"), "{error}");
        // As runs were written that had no name in them.
        std::fs::write(&path, r#"{"rate": 0.1}"#).unwrap();
        assert_eq!(read_config::<One>("one", &path).unwrap(), One { rate: 0.1 });
        let error = read_config::<Other>("other", &path).unwrap_err().to_string();
        assert!(error.contains("not the settings of other: missing field `size`"), "{error}");
        // A run that failed before it had settings is not the newest.
        RunDir::create(root.path()).unwrap();
        let again = open_run::<One, Error>("one", root.path(), Some(&None), || unreachable!()).unwrap();
        assert_eq!(again.1.path(), run.path());
    }
}
