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
/// `--resume` and `--config` take every setting from a run. An option beside them would change nothing and yet stand in the
/// report as the command, so that it is refused, but for `--out` and those in `beside`.
pub fn parse<A: Parser>(beside: &[&str]) -> A {
    let mut command = A::command();
    let matches = command.get_matches_mut();
    if let Some((option, of_run)) = without_effect(&command, &matches, beside) {
        let text =
            format!("--{option} has no effect beside --{of_run}, which takes every setting from the run");
        command.error(ErrorKind::ArgumentConflict, text).exit();
    }
    A::from_arg_matches(&matches).unwrap_or_else(|error| error.format(&mut command).exit())
}

/// An option that was typed beside one that takes all settings from a run, and the latter.
fn without_effect(
    command: &Command,
    matches: &ArgMatches,
    beside: &[&str],
) -> Option<(String, &'static str)> {
    let typed = |id: &str| matches.value_source(id) == Some(ValueSource::CommandLine);
    let of_run = ["resume", "config"].into_iter().find(|id| typed(id))?;
    let allowed = |id: &str| ["out", "resume", "config"].contains(&id) || beside.contains(&id);
    let mut options = command.get_arguments().map(|option| option.get_id().as_str());
    let found = options.find(|id| typed(id) && !allowed(id));
    Some((found?.replace('_', "-"), of_run))
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
    }

    #[test]
    fn an_option_without_effect_is_named() {
        let found = |words: &str| {
            let words = std::iter::once("program").chain(words.split(' '));
            let mut command = Program::command();
            let matches = command.try_get_matches_from_mut(words).unwrap();
            without_effect(&command, &matches, &["stage"])
        };
        assert_eq!(found("--seed 3 --patients 4"), None);
        assert_eq!(found("--resume --out runs --stage 2"), None);
        assert_eq!(found("--resume --patients 4"), Some(("patients".into(), "resume")));
        assert_eq!(found("--config c.json --seed 3"), Some(("seed".into(), "config")));
        assert_eq!(found("--config c.json --device cuda"), Some(("device".into(), "config")));
        assert_eq!(found("--resume --precision bf16"), Some(("precision".into(), "resume")));
        let other = Program::try_parse_from(["program", "--precision", "f16"]).unwrap_err().to_string();
        assert!(other.contains("f32, tf32 or bf16"), "{other}");
    }
}
