//! Parity of `oncograph-metrics` with scikit-survival, lifelines, statsmodels, scikit-learn and scipy.

use libtest_mimic::{Failed, Trial};
use oncograph_metrics as m;
use safetensors::{Dtype, SafeTensors};
use serde_json::Value;
use std::{fs, path::Path};

type Outcome = Result<(), Failed>;

/// One trial per case of the shared folder that this crate answers.
pub fn trials() -> Vec<Trial> {
    type Run = fn(&Case) -> Outcome;
    let operations: [(&str, Run); 8] = [
        ("cindex", cindex),
        ("cox", cox),
        ("logrank", logrank),
        ("survival_ipcw", survival_ipcw),
        ("roc_auc", roc),
        ("multiclass_metrics", multiclass),
        ("nonparametric_tests", nonparametric),
        ("hypergeom_bh", hypergeometric),
    ];
    let mut trials = Vec::new();
    for (operation, run) in operations {
        let names = names(operation);
        let names = if names.is_empty() { vec![operation.to_string()] } else { names };
        for name in names {
            let file = format!("fixtures/{name}.json");
            let title = format!("metrics::{name}");
            trials.push(oncograph_tests::trial(&title, &[&file], move |root| run(&Case::load(root, &name)?)));
        }
    }
    trials
}

/// The cases of one operation: its name alone or followed by `_`.
fn names(operation: &str) -> Vec<String> {
    let Ok(folder) = fs::read_dir(oncograph_tests::shared_root().join("fixtures")) else {
        return Vec::new();
    };
    let mut names: Vec<String> = folder
        .filter_map(|entry| Some(entry.ok()?.file_name().to_str()?.strip_suffix(".json")?.to_string()))
        .filter(|name| {
            name.strip_prefix(operation).is_some_and(|rest| rest.is_empty() || rest.starts_with('_'))
        })
        .collect();
    names.sort();
    names
}

/// The tensors and numbers of one case.
struct Case {
    json: Value,
    bytes: Vec<u8>,
}

impl Case {
    fn load(root: &Path, name: &str) -> Result<Self, Failed> {
        let folder = root.join("fixtures");
        let json = serde_json::from_str(&fs::read_to_string(folder.join(format!("{name}.json")))?)?;
        Ok(Self { json, bytes: fs::read(folder.join(format!("{name}.safetensors")))? })
    }

    fn tensor(&self, name: &str) -> Result<Vec<f64>, Failed> {
        let file = SafeTensors::deserialize(&self.bytes)?;
        let view = file.tensor(name)?;
        let data = view.data();
        let words = || data.chunks_exact(8).map(|c| <[u8; 8]>::try_from(c).unwrap_or_default());
        match view.dtype() {
            Dtype::F64 => Ok(words().map(f64::from_le_bytes).collect()),
            Dtype::I64 => Ok(words().map(|w| i64::from_le_bytes(w) as f64).collect()),
            Dtype::U8 => Ok(data.iter().map(|b| f64::from(*b)).collect()),
            other => Err(format!("{name} has type {other:?}").into()),
        }
    }

    fn flags(&self, name: &str) -> Result<Vec<bool>, Failed> {
        Ok(self.tensor(name)?.iter().map(|v| *v != 0.0).collect())
    }

    fn indices(&self, name: &str) -> Result<Vec<usize>, Failed> {
        Ok(self.tensor(name)?.iter().map(|v| *v as usize).collect())
    }

    fn number(&self, path: &str) -> Result<f64, Failed> {
        self.json.pointer(path).and_then(Value::as_f64).ok_or_else(|| format!("{path} is absent").into())
    }

    fn numbers(&self, path: &str) -> Result<Vec<f64>, Failed> {
        let values = self.json.pointer(path).and_then(Value::as_array);
        let values = values.ok_or_else(|| Failed::from(format!("{path} is absent")))?;
        values.iter().map(|v| v.as_f64().ok_or_else(|| format!("{path} is not numeric").into())).collect()
    }
}

fn close_to(what: &str, got: f64, expected: f64, tolerance: f64) -> Outcome {
    if (got - expected).abs() <= tolerance * expected.abs().max(1e-300) {
        Ok(())
    } else {
        Err(format!("{what}: got {got:e}, expected {expected:e}").into())
    }
}

fn close(what: &str, got: f64, expected: f64) -> Outcome {
    close_to(what, got, expected, 1e-9)
}

fn close_all(what: &str, got: &[f64], expected: &[f64]) -> Outcome {
    if got.len() != expected.len() {
        return Err(format!("{what}: {} values, expected {}", got.len(), expected.len()).into());
    }
    got.iter().zip(expected).enumerate().try_for_each(|(i, (g, e))| close(&format!("{what}[{i}]"), *g, *e))
}

fn some(what: &str, got: Option<f64>, expected: f64) -> Outcome {
    close(what, got.ok_or_else(|| Failed::from(format!("{what} is undefined")))?, expected)
}

fn cindex(case: &Case) -> Outcome {
    let (time, event) = (case.tensor("in.time")?, case.flags("in.event")?);
    let c = m::concordance(&m::Survival::new(&time, &event)?, &case.tensor("in.risk")?)?;
    close("index", c.index, case.number("/scalars/cindex")?)?;
    close("lifelines", c.index, case.number("/scalars/lifelines_cindex")?)?;
    close("concordant", c.concordant as f64, case.number("/scalars/concordant")?)?;
    close("discordant", c.discordant as f64, case.number("/scalars/discordant")?)?;
    close("tied_risk", c.tied_risk as f64, case.number("/scalars/tied_risk")?)?;
    close("tied_time", c.tied_time as f64, case.number("/scalars/tied_time")?)
}

fn cox(case: &Case) -> Outcome {
    let (time, event) = (case.tensor("in.time")?, case.flags("in.event")?);
    let survival = m::Survival::new(&time, &event)?;
    let (eta, x) = (case.tensor("in.eta")?, case.tensor("in.X")?);
    let columns = x.len() / time.len();
    let x = m::Covariates::new(&x, columns)?;
    for (name, ties) in [("breslow", m::Ties::Breslow), ("efron", m::Ties::Efron)] {
        let scalar = |key: &str| case.number(&format!("/scalars/{name}/{key}"));
        let value = m::cox_log_likelihood(&survival, &eta, ties)?;
        close(name, value.log_likelihood, scalar("loglik")?)?;
        let mean = -value.log_likelihood / survival.events() as f64;
        close(name, mean, scalar("mean_nll_per_event")?)?;
        // Entries of the gradient that cancel are held to the scale of its largest.
        let gradient = case.tensor(&format!("grad.eta.{name}"))?;
        let scale = gradient.iter().fold(0.0f64, |a, b| a.max(b.abs()));
        for (g, e) in value.gradient.iter().zip(&gradient) {
            close(&format!("{name} gradient"), g - e + scale, scale)?;
        }
        let model = m::CoxModel::fit(&survival, &x, &m::CoxConfig::new().ties(ties))?;
        close(name, model.log_likelihood, scalar("fitted_loglik")?)?;
        let (beta, se) =
            (case.numbers(&format!("/scalars/{name}/fitted_beta"))?, format!("/scalars/{name}/fitted_se"));
        for (what, got, expected) in
            [("beta", &model.coefficients, beta), ("se", &model.standard_error, case.numbers(&se)?)]
        {
            for (g, e) in got.iter().zip(&expected) {
                close_to(&format!("{name} {what}"), *g, *e, FIT)?;
            }
        }
    }
    Ok(())
}

/// The peer stops its own iteration at this accuracy of the coefficients.
const FIT: f64 = 1e-9;

fn logrank(case: &Case) -> Outcome {
    let (time, event, group) = (case.tensor("in.time")?, case.flags("in.event")?, case.indices("in.group")?);
    let all = m::log_rank(&m::Survival::new(&time, &event)?, &group)?;
    close("chi2", all.chi_squared, case.number("/scalars/k3_chi2")?)?;
    close("p", all.p_value, case.number("/scalars/k3_p")?)?;
    let two: Vec<usize> = (0..group.len()).filter(|&i| group[i] < 2).collect();
    let (time, event): (Vec<f64>, Vec<bool>) = two.iter().map(|&i| (time[i], event[i])).unzip();
    let group: Vec<usize> = two.iter().map(|&i| group[i]).collect();
    let pair = m::log_rank(&m::Survival::new(&time, &event)?, &group)?;
    close("two-group chi2", pair.chi_squared, case.number("/scalars/g0_vs_g1_chi2")?)?;
    close("two-group p", pair.p_value, case.number("/scalars/g0_vs_g1_p")?)
}

fn survival_ipcw(case: &Case) -> Outcome {
    let (train_time, train_event) = (case.tensor("in.train_time")?, case.flags("in.train_event")?);
    let (test_time, test_event) = (case.tensor("in.test_time")?, case.flags("in.test_event")?);
    let train = m::Survival::new(&train_time, &train_event)?;
    let test = m::Survival::new(&test_time, &test_event)?;
    let (risk, times) = (case.tensor("in.test_risk")?, case.tensor("in.times")?);

    let uno = m::concordance_ipcw(&train, &test, &risk, None)?;
    close("ipcw", uno.index, case.number("/scalars/ipcw_cindex")?)?;
    let counts = [uno.concordant, uno.discordant, uno.tied_risk, uno.tied_time].map(|c| c as f64);
    close_all("ipcw counts", &counts, &case.numbers("/scalars/ipcw_counts")?)?;
    let tau = Some(case.number("/config/tau")?);
    let early = m::concordance_ipcw(&train, &test, &risk, tau)?;
    close("ipcw tau", early.index, case.number("/scalars/ipcw_cindex_tau")?)?;

    let brier = m::brier_score(&train, &test, &case.tensor("in.test_surv")?, &times)?;
    close_all("brier", &brier.score, &case.tensor("out.brier")?)?;
    some("integrated brier", brier.integrated, case.number("/scalars/integrated_brier")?)?;
    let auc = m::dynamic_auc(&train, &test, &risk, &times)?;
    close_all("auc", &auc.auc, &case.tensor("out.auc")?)?;
    close("mean auc", auc.mean, case.number("/scalars/mean_auc")?)?;

    let curve = m::KaplanMeier::fit(&train, 0.95)?;
    close_all("km time", &curve.time, &case.tensor("out.km_time")?)?;
    close_all("km", &curve.survival, &case.tensor("out.km_surv")?)?;
    close_all("km band", &[curve.lower, curve.upper].concat(), &case.tensor("out.km_ci")?)?;
    let censoring = m::CensoringDistribution::fit(&train)?;
    close_all("censoring time", &censoring.curve().time, &case.tensor("out.censor_km_time")?)?;
    close_all("censoring", &censoring.curve().survival, &case.tensor("out.censor_km")?)?;
    let hazard = m::NelsonAalen::fit(&train, 0.95)?;
    close_all("hazard time", &hazard.time, &case.tensor("out.na_time")?)?;
    close_all("hazard", &hazard.cumulative_hazard, &case.tensor("out.na")?)
}

fn roc(case: &Case) -> Outcome {
    let (y, score) = (case.flags("in.y")?, case.tensor("in.score")?);
    let curve = m::RocCurve::new(&y, &score)?;
    let scalar = |key: &str| case.number(&format!("/scalars/{key}"));
    close("auc", curve.auc(), scalar("auc")?)?;
    let weighted = m::RocCurve::weighted(&y, &score, &case.tensor("in.weight")?)?;
    close("weighted auc", weighted.auc(), scalar("auc_weighted")?)?;
    close_all("fpr", &curve.false_positive_rate, &case.tensor("out.fpr")?)?;
    close_all("tpr", &curve.true_positive_rate, &case.tensor("out.tpr")?)?;
    close_all("thresholds", &curve.thresholds, &case.tensor("out.thresholds")?[1..])?;
    let (threshold, j) = curve.youden().ok_or("no Youden threshold")?;
    close("youden threshold", threshold, scalar("youden_threshold")?)?;
    close("youden j", j, scalar("youden_j")?)?;

    let pr = m::PrecisionRecallCurve::new(&y, &score)?;
    close("average precision", pr.average_precision(), scalar("average_precision")?)?;
    close_all("precision", &pr.precision, &case.tensor("out.precision")?)?;
    close_all("recall", &pr.recall, &case.tensor("out.recall")?)?;
    close_all("pr thresholds", &pr.thresholds, &case.tensor("out.pr_thresholds")?)?;

    let c = m::Confusion::at(&y, &score, case.number("/config/threshold")?)?;
    for (name, count) in [("tn", c.tn), ("fp", c.fp), ("fn", c.fn_), ("tp", c.tp)] {
        close(name, count as f64, scalar(name)?)?;
    }
    some("sensitivity", c.sensitivity(), scalar("sensitivity")?)?;
    some("specificity", c.specificity(), scalar("specificity")?)?;
    some("accuracy", c.accuracy(), scalar("accuracy")?)?;
    some("balanced", c.balanced_accuracy(), scalar("balanced_accuracy")?)?;
    some("f1", c.f1(), scalar("f1")?)?;
    some("mcc", c.mcc(), scalar("mcc")?)?;
    some("ppv", c.precision(), scalar("ppv")?)?;
    some("npv", c.negative_predictive_value(), scalar("npv")?)
}

fn multiclass(case: &Case) -> Outcome {
    let (y, probability) = (case.indices("in.y")?, case.tensor("in.prob")?);
    let classes = probability.len() / y.len();
    let scalar = |key: &str| case.number(&format!("/scalars/{key}"));
    let c = m::MulticlassConfusion::from_probability(&y, &probability, classes)?;
    let counts: Vec<f64> = c.counts.iter().map(|v| *v as f64).collect();
    close_all("confusion", &counts, &case.tensor("out.confusion")?)?;
    some("f1 macro", c.f1(m::Average::Macro), scalar("f1_macro")?)?;
    some("f1 weighted", c.f1(m::Average::Weighted), scalar("f1_weighted")?)?;
    some("kappa", c.kappa(), scalar("kappa")?)?;
    close("balanced", c.balanced_accuracy(), scalar("balanced_accuracy")?)?;
    close("log loss", m::multiclass_log_loss(&y, &probability, classes)?, scalar("log_loss")?)?;
    let rest = m::roc_auc_one_vs_rest(&y, &probability, classes, m::Average::Macro)?;
    close("one vs rest", rest, scalar("auc_ovr_macro")?)?;
    close("one vs one", m::roc_auc_one_vs_one(&y, &probability, classes)?, scalar("auc_ovo_macro")?)
}

fn nonparametric(case: &Case) -> Outcome {
    let (a, b, c) = (case.tensor("in.a")?, case.tensor("in.b")?, case.tensor("in.c")?);
    let correlation = |r: m::Correlation| [r.coefficient, r.p_value];
    let test = |t: m::TestResult| [t.statistic, t.p_value];
    for (name, got) in [
        ("mannwhitney", test(m::mann_whitney(&a, &b)?)),
        ("welch", test(m::welch_t(&a, &b)?)),
        ("wilcoxon", test(m::wilcoxon(&a, &c)?)),
        ("pearson", correlation(m::pearson(&a, &c)?)),
        ("spearman", correlation(m::spearman(&a, &c)?)),
        ("kendall_b", correlation(m::kendall(&a, &c)?)),
    ] {
        close_all(name, &got, &case.numbers(&format!("/scalars/{name}"))?)?;
    }
    Ok(())
}

fn hypergeometric(case: &Case) -> Outcome {
    let (overlap, size) = (case.tensor("in.overlap")?, case.tensor("in.set_size")?);
    let (universe, drawn) = (case.number("/config/universe")? as u64, case.number("/config/drawn")? as u64);
    let (mut p, mut fisher) = (Vec::new(), Vec::new());
    for (&k, &set) in overlap.iter().zip(&size) {
        let (k, set) = (k as u64, set as u64);
        p.push(m::hypergeometric_enrichment(k, set, drawn, universe)?);
        // A set that is the whole universe leaves an empty column, which Fisher's test refuses.
        if set < universe && set > 0 {
            let table = [[k, set - k], [drawn - k, universe - set - (drawn - k)]];
            fisher.push(m::fisher_exact(table, m::Alternative::Greater)?.p_value);
        } else {
            fisher.push(1.0);
        }
    }
    close_all("p", &p, &case.tensor("out.p")?)?;
    close_all("fisher", &fisher, &case.tensor("out.fisher_greater_p")?)?;
    let bh = m::adjust_p_values(&p, m::Correction::BenjaminiHochberg)?;
    close_all("bh", &bh, &case.tensor("out.bh_q")?)?;
    let alpha = case.number("/config/alpha")?;
    if bh.iter().map(|q| *q <= alpha).ne(case.flags("out.bh_reject")?) {
        return Err("other hypotheses are rejected".into());
    }
    close_all("by", &m::adjust_p_values(&p, m::Correction::BenjaminiYekutieli)?, &case.tensor("out.by_q")?)?;
    close_all("holm", &m::adjust_p_values(&p, m::Correction::Holm)?, &case.tensor("out.holm")?)?;
    close_all(
        "bonferroni",
        &m::adjust_p_values(&p, m::Correction::Bonferroni)?,
        &case.tensor("out.bonferroni")?,
    )
}
