use crate::attribute::{Attributed, attributed};
use crate::{
    FlatNet, MemoryCohort, OmicsModel, OmicsNetConfig, OmicsOutput, OmicsPipeline, Result, SharedGraphs,
    TaskConfig, TaskKind, predict, risk,
};
use candle_core::{DType, Device, Tensor};
use candle_nn::VarBuilder;
use oncograph_study::{Answer, Answers};
use oncograph_train::Parameters;
use std::collections::BTreeMap;

/// A network with the parameters that one task is answered with: those of the epoch that was best for it.
pub(crate) struct TaskModel {
    pub task: TaskConfig,
    pub parameters: Parameters,
    model: Box<dyn OmicsModel>,
    graphs: SharedGraphs,
}

impl TaskModel {
    /// The network of `shape`, or the baseline without a graph, with parameters that take no gradient.
    pub fn new(
        task: TaskConfig,
        (shape, flat): (&OmicsNetConfig, bool),
        graphs: SharedGraphs,
        parameters: Parameters,
        device: &Device,
    ) -> Result<Self> {
        let vb = VarBuilder::from_tensors(parameters.clone(), DType::F32, device);
        let model: Box<dyn OmicsModel> = match flat {
            true => Box::new(FlatNet::new(shape, vb)?),
            false => Box::new(shape.build(vb)?),
        };
        Ok(TaskModel { task, parameters, model, graphs })
    }

    /// As [`OmicsModel::flops`].
    pub fn flops(&self) -> u64 {
        self.model.flops(&self.graphs)
    }
}

/// A trained model: its pipeline, and for each task the network that answers it.
pub(crate) struct TrainedOmics {
    pub pipeline: OmicsPipeline,
    pub models: Vec<TaskModel>,
    /// Patients that are answered at once.
    pub batch: usize,
}

impl TrainedOmics {
    /// The answers for some patients.
    pub fn answers(&self, source: &MemoryCohort, rows: &[usize]) -> Result<Answers> {
        let mut all = Answers::new();
        for m in &self.models {
            let output = predict(m.model.as_ref(), source, &m.graphs, rows, self.batch)?;
            if let Some(answers) = answers_of(&m.task, &output)? {
                all.insert(m.task.name.clone(), answers);
            }
        }
        Ok(all)
    }

    /// The model of a task, or of the first.
    fn model(&self, task: Option<&str>) -> Option<&TaskModel> {
        match task {
            None => self.models.first(),
            Some(task) => self.models.iter().find(|m| m.task.name == task),
        }
    }

    /// The share of each modality in the answer of a task, or of the first, a row per patient; empty for a model without
    /// attention.
    pub fn importance(
        &self,
        source: &MemoryCohort,
        rows: &[usize],
        task: Option<&str>,
    ) -> Result<Vec<Vec<f64>>> {
        let Some(m) = self.model(task) else { return Ok(vec![]) };
        let output = predict(m.model.as_ref(), source, &m.graphs, rows, self.batch)?;
        match &output.importance {
            Some(shares) => Ok(shares.to_dtype(DType::F64)?.to_vec2()?),
            None => Ok(vec![]),
        }
    }

    /// What the values of some patients add to the output of a task, or of the first; `None` without such a task.
    pub fn attributed(
        &self,
        source: &MemoryCohort,
        rows: &[usize],
        task: Option<&str>,
    ) -> Result<Option<Attributed>> {
        self.model(task).map(|m| attributed((m.model.as_ref(), &m.graphs), source, rows, &m.task)).transpose()
    }

    /// Operations of the network's forward pass for one patient, as [`OmicsModel::flops`]; the models of all tasks have one shape.
    pub fn flops(&self) -> u64 {
        self.models.first().map_or(0, TaskModel::flops)
    }

    /// By table and column, the mean magnitude of what the values of some patients add to the first task's output.
    pub fn shares(
        &self,
        source: &MemoryCohort,
        rows: &[usize],
    ) -> Result<BTreeMap<String, Vec<(String, f64)>>> {
        let mut sums: BTreeMap<String, Vec<f64>> = BTreeMap::new();
        for chunk in rows.chunks(self.batch) {
            let Some(attributed) = self.attributed(source, chunk, None)? else { break };
            for row in &attributed.shares {
                let mut at = 0;
                for (name, width) in &attributed.layout {
                    let sum = sums.entry(name.clone()).or_insert_with(|| vec![0.0; *width]);
                    let own = &row[at..at + width];
                    sum.iter_mut().zip(own).for_each(|(s, v)| *s += v.abs() / rows.len() as f64);
                    at += width;
                }
            }
        }
        let named = |(table, sums): (String, Vec<f64>)| {
            let names = self.pipeline.features(&table).iter().cloned();
            (table.clone(), names.zip(sums).collect())
        };
        Ok(sums.into_iter().map(named).collect())
    }

    /// The answers for all subsets of modalities, by which are there; none for a single modality.
    pub fn grid(&self, source: &MemoryCohort, rows: &[usize]) -> Result<Vec<(Vec<String>, Answers)>> {
        let modalities: Vec<_> = self.pipeline.net().active().collect();
        if modalities.len() < 2 {
            return Ok(vec![]);
        }
        let mut grid = vec![];
        for subset in 1..1usize << modalities.len() {
            let (here, gone): (Vec<_>, Vec<_>) =
                modalities.iter().enumerate().partition(|(i, _)| subset >> i & 1 == 1);
            let gone: Vec<&str> = gone.iter().flat_map(|(_, m)| &m.pooled).map(String::as_str).collect();
            let answers = self.answers(&source.clone().without(&gone), rows)?;
            grid.push((here.iter().map(|(_, m)| m.name.clone()).collect(), answers));
        }
        Ok(grid)
    }
}

/// The tensor of a task as risks or probabilities; `None` if the model does not have the task.
fn answers_of(task: &TaskConfig, output: &OmicsOutput) -> Result<Option<Vec<Answer>>> {
    let Some(x) = output.tasks.get(&task.name) else { return Ok(None) };
    let probabilities = |t: Tensor| -> Result<Vec<Answer>> {
        Ok(t.to_dtype(DType::F64)?.to_vec2()?.into_iter().map(Answer::Probabilities).collect())
    };
    Ok(Some(match task.kind {
        TaskKind::Classes(_) => probabilities(oncograph_nn::softmax(x, 1)?)?,
        TaskKind::Labels(_) => probabilities(candle_nn::ops::sigmoid(x)?)?,
        kind => {
            // A model of times predicts years; its risk is their negative (M-20).
            let years = |risk: f64| (kind == TaskKind::SurvivalMse).then_some(-risk);
            let answer = |risk| Answer::Survival { risk, years: years(risk), survival: None };
            risk(kind, x)?.into_iter().map(answer).collect()
        }
    }))
}
