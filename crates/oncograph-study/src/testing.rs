//! A small generated cohort and models of it, for examples and tests.

use crate::audit::DisturbInputs;
use crate::permutation::PermuteOutcomes;
use crate::{Answer, Answers, Cohort, Error, Fitted, Job, Result, StudyResults, System, Target, Task};
use oncograph_core::{FollowUp, Seed, Split};
use oncograph_datasets::scaler::Matrix;
use rand::Rng;

/// Patients with two covariates, of which the first shortens the time to the event; a class and two labels follow it too.
#[derive(Debug, Clone)]
pub struct Toy {
    ids: Vec<String>,
    tasks: Vec<Task>,
    /// The covariate that matters.
    pub x: Vec<f64>,
    noise: Vec<f64>,
    /// A number that rows of one patient share.
    pub groups: Option<Vec<usize>>,
    /// Where each row was treated; may be empty.
    pub centres: Vec<String>,
}

impl Toy {
    /// A cohort of `n` patients; the same for equal `n`.
    pub fn new(n: usize) -> Self {
        let mut rng = Seed::new(7).stream("toy").rng();
        let x: Vec<f64> = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let noise = (0..n).map(|_| rng.random_range(-1.0..1.0)).collect();
        let mut follow_up = |x: &f64| {
            let years = -rng.random::<f64>().max(1e-9).ln() * 3.0 * (-1.5 * x).exp();
            let end: f64 = rng.random_range(1.0..9.0);
            FollowUp::years(years.min(end), years <= end).ok()
        };
        let survival = Target::Survival(x.iter().map(&mut follow_up).collect());
        let mut above = |x: &f64, at: f64| x + rng.random_range(-0.5..0.5) > at;
        let classes: Vec<_> = x.iter().map(|x| Some(usize::from(above(x, 0.0)))).collect();
        let labels = x.iter().map(|x| vec![Some(above(x, 0.3)), Some(above(x, -0.3))]).collect();
        let names = |all: [&str; 2]| all.map(String::from).to_vec();
        Toy {
            ids: (1..=n).map(|i| format!("toy-{i:03}")).collect(),
            tasks: vec![
                Task::new("survival", survival),
                Task::new("response", Target::Classes { names: names(["no", "yes"]), classes }),
                Task::new("toxicity", Target::Labels { names: names(["liver", "skin"]), labels }),
            ],
            x,
            noise,
            groups: None,
            centres: vec![],
        }
    }
}

impl Toy {
    /// The same cohort in which row `to` is a copy of row `from` under its own name.
    pub fn repeated(&self, from: usize, to: usize) -> Self {
        let order: Vec<usize> = (0..self.x.len()).map(|i| if i == to { from } else { i }).collect();
        let task = |t: &Task| Task::new(t.name.clone(), t.target.reordered(&order));
        let of = |v: &[f64]| order.iter().map(|&i| v[i]).collect();
        let tasks = self.tasks.iter().map(task).collect();
        Toy { tasks, x: of(&self.x), noise: of(&self.noise), ..self.clone() }
    }
}

impl Toy {
    /// Censors everybody but the first patients with the event.
    pub fn keep_events(&mut self, most: usize) {
        let Target::Survival(times) = &mut self.tasks[0].target else { return };
        let mut left = most;
        for follow_up in times.iter_mut().flatten().filter(|f| f.event()) {
            match left.checked_sub(1) {
                Some(fewer) => left = fewer,
                None => *follow_up = FollowUp::years(follow_up.in_years(), false).unwrap_or(*follow_up),
            }
        }
    }

    /// Sets the class of every patient by the covariate that matters.
    pub fn set_classes(&mut self, of: impl Fn(f64) -> bool) {
        let of_all = self.x.iter().map(|x| Some(usize::from(of(*x)))).collect();
        if let Target::Classes { classes, .. } = &mut self.tasks[1].target {
            *classes = of_all;
        }
    }
}

impl Cohort for Toy {
    fn ids(&self) -> &[String] {
        &self.ids
    }

    fn tasks(&self) -> &[Task] {
        &self.tasks
    }

    fn design(&self, _train: &[usize]) -> Result<Matrix> {
        let rows = self.x.iter().zip(&self.noise).map(|(x, n)| vec![*x, *n]).collect();
        Ok(Matrix { names: vec!["x".into(), "noise".into()], rows })
    }

    fn groups(&self) -> Option<Vec<usize>> {
        self.groups.clone()
    }

    fn centres(&self) -> Option<&[String]> {
        Some(&self.centres)
    }

    fn fingerprint(&self) -> String {
        format!("{:?}", self.x)
    }
}

impl DisturbInputs for Toy {
    fn disturbed(&self, rows: &[usize]) -> Result<Self> {
        let mut other = self.clone();
        for &row in rows {
            other.x[row] = 3.0 * other.x[row] + 7.0;
            other.noise[row] -= 5.0;
        }
        Ok(other)
    }
}

impl PermuteOutcomes for Toy {
    fn permuted(&self, order: &[usize]) -> Self {
        let task = |t: &Task| Task::new(t.name.clone(), t.target.reordered(order));
        Toy { tasks: self.tasks.iter().map(task).collect(), ..self.clone() }
    }
}

/// Survival by the mean time of the training rows whose covariate is nearest: a system without a network.
#[derive(Debug, Clone, Copy)]
pub struct Nearest;

/// The fitted [`Nearest`]: covariate and years of the training rows.
#[derive(Debug, Clone)]
pub struct NearestFitted(Vec<(f64, f64)>);

/// Neighbours whose times are averaged.
const NEIGHBOURS: usize = 15;

impl System for Nearest {
    type Data = Toy;
    type Fitted = NearestFitted;

    fn fit(&self, data: &Toy, split: &Split, _job: &mut Job<'_>) -> Result<NearestFitted> {
        let Target::Survival(times) = &data.tasks[0].target else { return Err(Error::system("no times")) };
        let row = |&i: &usize| times[i].map(|f| (data.x[i], f.in_years()));
        Ok(NearestFitted(split.train.iter().filter_map(row).collect()))
    }
}

impl Fitted<Toy> for NearestFitted {
    fn answer(&self, data: &Toy, rows: &[usize]) -> Result<Answers> {
        let years = |&i: &usize| {
            let mut near: Vec<(f64, f64)> =
                self.0.iter().map(|(x, years)| ((x - data.x[i]).abs(), *years)).collect();
            near.sort_by(|a, b| a.0.total_cmp(&b.0));
            near.truncate(NEIGHBOURS);
            near.iter().map(|n| n.1).sum::<f64>() / near.len() as f64
        };
        let answer = |i: &usize| Answer::Survival { risk: -years(i), years: Some(years(i)), survival: None };
        Ok(Answers::from([("survival".to_string(), rows.iter().map(answer).collect())]))
    }
}

/// A risk that is the covariate times a number: right for a positive one, wrong for a negative one.
#[derive(Debug, Clone, Copy)]
pub struct Signed(pub f64);

impl System for Signed {
    type Data = Toy;
    type Fitted = Signed;

    fn fit(&self, _data: &Toy, _split: &Split, _job: &mut Job<'_>) -> Result<Signed> {
        Ok(*self)
    }
}

impl Fitted<Toy> for Signed {
    fn answer(&self, data: &Toy, rows: &[usize]) -> Result<Answers> {
        let answer = |&i: &usize| Answer::risk(self.0 * data.x[i]);
        Ok(Answers::from([("survival".to_string(), rows.iter().map(answer).collect())]))
    }
}

/// A system that cannot be fitted.
#[derive(Debug, Clone, Copy)]
pub struct Broken;

impl System for Broken {
    type Data = Toy;
    type Fitted = Signed;

    fn fit(&self, _data: &Toy, _split: &Split, _job: &mut Job<'_>) -> Result<Signed> {
        Err(Error::system("the network is broken"))
    }
}

/// How far two runs of one study are apart, as `|a - b| / max(1, |a|)`: its largest difference in a loss or score of an
/// epoch, and in a number of an answer.
///
/// For a study on two devices. Parameters are not compared: where the true gradient is 0, Adam makes steps of rounding.
///
/// # Errors
/// The first job or answer that only one of them has, or that is of another kind.
pub fn differences(a: &StudyResults, b: &StudyResults) -> std::result::Result<(f64, f64), String> {
    let apart =
        |a: f64, b: f64| if a.is_nan() && b.is_nan() { 0.0 } else { (a - b).abs() / a.abs().max(1.0) };
    let (mut losses, mut answers) = (0f64, 0f64);
    if a.jobs().len() != b.jobs().len() {
        return Err(format!("{} jobs and {}", a.jobs().len(), b.jobs().len()));
    }
    for (x, y) in a.jobs().iter().zip(b.jobs()) {
        let name = x.name();
        if (&name, &x.test, x.history.len()) != (&y.name(), &y.test, y.history.len()) {
            return Err(format!("{name} and {} are other jobs", y.name()));
        }
        for (x, y) in x.history.iter().zip(&y.history) {
            losses = losses.max(apart(x.train_loss, y.train_loss)).max(apart(x.score, y.score));
        }
        for (task, all) in &x.answers {
            let other = y.answers.get(task).filter(|other| other.len() == all.len());
            let Some(other) = other else { return Err(format!("{name}: {task} has other answers")) };
            for (x, y) in all.iter().zip(other) {
                let (x, y) = (x.named(&[]), y.named(&[]));
                if x.iter().map(|n| &n.0).ne(y.iter().map(|n| &n.0)) {
                    return Err(format!("{name}: {task} has answers of another kind"));
                }
                answers = x.iter().zip(&y).fold(answers, |far, (x, y)| far.max(apart(x.1, y.1)));
            }
        }
    }
    Ok((losses, answers))
}
