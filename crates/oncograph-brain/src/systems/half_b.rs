use crate::pipeline::GliomaCohort;
use oncograph_core::Split;
use oncograph_study::{Answer, Answers, Baseline, Cohort, Fitted, Inputs, Job, Result, System};

/// A baseline that is fitted on half B alone, as the heads that it is compared with are.
#[derive(Debug, Clone)]
pub struct OnHalfB<B>(pub B);

/// The answers of a fitted [`OnHalfB`] for every row of the cohort.
#[derive(Debug, Clone)]
pub struct HalfBFitted(Answers);

impl<B: Baseline> System for OnHalfB<B> {
    type Data = GliomaCohort;
    type Fitted = HalfBFitted;

    fn fit(&self, data: &GliomaCohort, split: &Split, job: &mut Job<'_>) -> Result<HalfBFitted> {
        let design = data.design(&split.validation)?;
        let all: Vec<usize> = (0..data.ids().len()).collect();
        let inputs = Inputs { design: &design, train: &split.validation, test: &all, seed: job.seed() };
        let mut answers = Answers::new();
        for task in data.tasks() {
            if let Some(rows) = self.0.answer(task, &inputs)? {
                answers.insert(task.name.clone(), rows);
            }
        }
        Ok(HalfBFitted(answers))
    }
}

impl Fitted<GliomaCohort> for HalfBFitted {
    fn answer(&self, _data: &GliomaCohort, rows: &[usize]) -> Result<Answers> {
        let pick = |all: &Vec<Answer>| rows.iter().map(|&i| all[i].clone()).collect();
        Ok(self.0.iter().map(|(task, all)| (task.clone(), pick(all))).collect())
    }
}
