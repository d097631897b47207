use clap::error::ErrorKind;
use clap::parser::ValueSource;
use clap::{ArgMatches, Command, Parser};
use oncograph_nn::Precision;
use std::path::PathBuf;

/// The options that every study has.
#[derive(Debug, Clone, clap::Args)]
pub struct StudyArgs {
    /// Where runs, caches and generated cohorts are written
    #[arg(long, value_name = "DIR", default_value = "runs")]
    pub out: PathBuf,
    /// Go on with a run that was stopped: its folder, or the newest if none is given
    #[arg(long, value_name = "RUN", num_args = 0..=1, conflicts_with = "config")]
    pub resume: Option<Option<PathBuf>>,
    /// Take every setting from the config.json of a run
    #[arg(long, value_name = "FILE")]
    pub config: Option<PathBuf>,
    /// Seed of every random draw [default: 1]
    #[arg(long)]
    pub seed: Option<u64>,
    /// Device: cpu, cuda or cuda:N
    #[arg(long, default_value = "cpu")]
    pub device: String,
    /// What products are computed in: f32; tf32 (10 bits of mantissa); bf16 (8 bits) in 3D convolutions with tf32 in matrices.
    /// Parameters, activations and sums stay f32. All but f32 need --device cuda
    #[arg(long, default_value_t = Precision::F32)]
    pub precision: Precision,
    /// Folds of the cross-validation [default: 5]
    #[arg(long)]
    pub folds: Option<usize>,
    /// Repetitions of the cross-validation [default: that of the preset, as a rule 1]
    #[arg(long)]
    pub repeats: Option<usize>,
}

/// The options of a program, read from the command line; ends the program as [`Parser::parse`] does.
///
/// An option that changes nothing and yet stands in the report as the command is refused. `--resume` and `--config` take every
/// setting from a run: beside them only `--out` and those in `beside` have an effect. `modes` are further options, for example
/// `predict`, that let the program do something else than train, each with all options that have an effect beside it.
pub fn parse<A: Parser>(beside: &[&str], modes: &[(&str, &[&str])]) -> A {
    let mut command = A::command();
    let matches = command.get_matches_mut();
    if let Some(text) = without_effect(&command, &matches, beside, modes) {
        command.error(ErrorKind::ArgumentConflict, text).exit();
    }
    A::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

/// What is wrong with an option that was typed beside one that takes its effect away.
fn without_effect(
    command: &Command,
    matches: &ArgMatches,
    beside: &[&str],
    modes: &[(&str, &[&str])],
) -> Option<String> {
    let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let of_run = |id| (id, beside, ", which takes every setting from the run");
    let other = modes.iter().map(|(id, all)| (*id, *all, ""));
    let mut active = ["resume", "config"].map(of_run).into_iter().chain(other).filter(|m| typed(m.0));
    active.find_map(|(mode, beside, why)| {
        let allowed = |id: &str| id == mode || id == "out" || beside.contains(&id);
        let name = |option: &clap::Arg| match option.get_long() {
            Some(long) => format!("--{long}"),
            None => option.to_string(),
        };
        let mut options = command.get_arguments();
        let found = options.find(|o| typed(o.get_id().as_str()) && !allowed(o.get_id().as_str()))?;
        Some(format!("{} has no effect beside --{}{why}", name(found), mode.replace('_', "-")))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[derive(Debug, Parser)]
    struct Program {
        #[command(flatten)]
        study: StudyArgs,
        /// Patients.
        #[arg(long)]
        patients: Option<usize>,
        /// A stage.
        #[arg(long)]
        stage: Option<u8>,
        /// No training.
        #[arg(long)]
        predict_one: bool,
    }

    #[test]
    fn an_option_without_effect_is_named() {
        let found = |words: &str| {
            let words = std::iter::once("program").chain(words.split(' '));
            let mut command = Program::command();
            let matches = command.try_get_matches_from_mut(words).unwrap();
            without_effect(&command, &matches, &["stage"], &[("predict_one", &["device"])])
        };
        assert_eq!(found("--seed 3 --patients 4"), None);
        assert_eq!(found("--resume --out runs --stage 2"), None);
        for (words, option, mode) in [
            ("--resume --patients 4", "--patients", "--resume"),
            ("--config c.json --seed 3", "--seed", "--config"),
            ("--config c.json --device cuda", "--device", "--config"),
            ("--resume --precision bf16", "--precision", "--resume"),
            ("--resume --predict-one", "--predict-one", "--resume"),
        ] {
            let expected =
                format!("{option} has no effect beside {mode}, which takes every setting from the run");
            assert_eq!(found(words), Some(expected));
        }
        assert_eq!(found("--predict-one --out runs --device cuda"), None);
        let stage = "--stage has no effect beside --predict-one";
        assert_eq!(found("--predict-one --stage 2").as_deref(), Some(stage));
        let other = Program::try_parse_from(["program", "--precision", "f16"]).unwrap_err().to_string();
        assert!(other.contains("f32, tf32 or bf16"), "{other}");
    }
}
