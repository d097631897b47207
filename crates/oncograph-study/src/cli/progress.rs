use crate::JobProgress;
use indicatif::{ProgressBar, ProgressStyle};
use std::collections::HashMap;
use std::sync::Mutex;

/// A bar on standard error, silent where that is no terminal.
pub fn progress_bar(steps: u64, what: &str) -> ProgressBar {
    let style = ProgressStyle::with_template("{prefix:>18} {wide_bar} {pos}/{len} {msg} [{elapsed}]");
    let bar = ProgressBar::new(steps).with_prefix(what.to_string());
    match style {
        Ok(style) => bar.with_style(style),
        Err(_) => bar,
    }
}

/// A model with its repetition and fold.
type Place = (String, (usize, usize));

/// A bar over the epochs of all jobs of a study, for [`crate::Study::on_progress`].
#[derive(Debug)]
pub struct StudyProgress {
    bar: ProgressBar,
    epochs: u64,
    /// Epochs of each job that the bar has counted.
    seen: Mutex<HashMap<Place, u64>>,
}

impl StudyProgress {
    /// A bar over `jobs` jobs of at most `epochs` epochs.
    pub fn new(jobs: usize, epochs: usize) -> Self {
        let bar = progress_bar((jobs * epochs) as u64, "training");
        StudyProgress { bar, epochs: epochs as u64, seen: Mutex::default() }
    }

    /// Moves the bar; a job that is done counts as all of its epochs.
    pub fn update(&self, progress: &JobProgress<'_>) {
        let Ok(mut seen) = self.seen.lock() else { return };
        let counted = seen.entry((progress.model.to_string(), progress.place)).or_default();
        let now = match progress.epoch {
            Some(record) => {
                let fold = progress.place.1 + 1;
                self.bar.set_message(format!("{} fold {fold} loss {:.4}", progress.model, record.score));
                (*counted + 1).min(self.epochs)
            }
            None => self.epochs,
        };
        self.bar.inc(now - *counted);
        *counted = now;
    }

    /// Takes the bar away.
    pub fn finish(&self) {
        self.bar.finish_with_message("");
    }
}
