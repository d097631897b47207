//! `oncograph-metrics` against scikit-survival, lifelines, statsmodels, scikit-learn, scipy and MONAI; the Cox loss
//! of `oncograph-losses` with them.

use super::{Operation, Outcome};
use crate::fixture::{Fixture, unsupported};
use candle_core::Tensor;
use libtest_mimic::Failed;
use oncograph_metrics as m;

pub const OPERATIONS: &[Operation] = &[
    Operation {
        name: "cindex",
        reference: "sksurv.metrics.concordance_index_censored, lifelines.utils.concordance_index",
        items: &["oncograph_metrics::concordance_with_tolerance"],
        run: cindex,
    },
    Operation {
        name: "cox",
        reference: "statsmodels.duration.hazard_regression.PHReg",
        items: &[
            "oncograph_metrics::cox_log_likelihood",
            "oncograph_metrics::CoxModel",
            "oncograph_losses::cox",
        ],
        run: cox,
    },
    Operation {
        name: "logrank",
        reference: "sksurv.compare.compare_survival, lifelines.statistics.multivariate_logrank_test",
        items: &["oncograph_metrics::log_rank_with"],
        run: logrank,
    },
    Operation {
        name: "survival_ipcw",
        reference: "sksurv.metrics.concordance_index_ipcw, brier_score, cumulative_dynamic_auc, \
                    sksurv.nonparametric",
        items: &[
            "oncograph_metrics::concordance_ipcw",
            "oncograph_metrics::brier_score",
            "oncograph_metrics::dynamic_auc",
            "oncograph_metrics::KaplanMeier",
            "oncograph_metrics::CensoringDistribution",
            "oncograph_metrics::NelsonAalen",
        ],
        run: survival_ipcw,
    },
    Operation {
        name: "roc_auc",
        reference: "sklearn.metrics.roc_curve, precision_recall_curve, confusion_matrix",
        items: &[
            "oncograph_metrics::RocCurve",
            "oncograph_metrics::PrecisionRecallCurve",
            "oncograph_metrics::Confusion",
        ],
        run: roc,
    },
    Operation {
        name: "multiclass_metrics",
        reference: "sklearn.metrics",
        items: &[
            "oncograph_metrics::MulticlassConfusion",
            "oncograph_metrics::roc_auc_one_vs_rest",
            "oncograph_metrics::roc_auc_one_vs_one",
        ],
        run: multiclass,
    },
    Operation {
        name: "nonparametric_tests",
        reference: "scipy.stats",
        items: &[
            "oncograph_metrics::mann_whitney_with",
            "oncograph_metrics::welch_t_with",
            "oncograph_metrics::wilcoxon_with",
            "oncograph_metrics::kruskal_wallis",
            "oncograph_metrics::pearson_with",
            "oncograph_metrics::spearman_with",
            "oncograph_metrics::kendall_with",
        ],
        run: nonparametric,
    },
    Operation {
        name: "hypergeom_bh",
        reference: "scipy.stats.hypergeom, fisher_exact; statsmodels.stats.multitest.multipletests",
        items: &[
            "oncograph_metrics::hypergeometric_enrichment",
            "oncograph_metrics::fisher_exact",
            "oncograph_metrics::adjust_p_values",
        ],
        run: hypergeometric,
    },
    Operation {
        name: "seg_metrics",
        reference: "monai.metrics",
        items: &["oncograph_metrics::Overlap", "oncograph_metrics::surface_distances"],
        run: segmentation,
    },
];

/// A value that may be undefined, as the peers' NaN.
fn or_nan(value: Option<f64>) -> f64 {
    value.unwrap_or(f64::NAN)
}

/// Compares the numbers that the case has; a case need not hold all of them.
fn those_present(f: &Fixture, numbers: &[(&str, f64)]) -> Outcome {
    for (path, value) in numbers {
        if f.scalars(path).is_ok() {
            f.close_scalar(path, *value)?;
        }
    }
    Ok(())
}

fn cindex(f: &Fixture) -> Outcome {
    let (time, event) = (f.values("in.time")?, f.flags("in.event")?);
    let survival = m::Survival::new(&time, &event)?;
    let c = m::concordance_with_tolerance(&survival, &f.values("in.risk")?, f.number("tied_tol", 1e-8))?;
    those_present(
        f,
        &[
            ("cindex", c.index),
            ("lifelines_cindex", c.index),
            ("concordant", c.concordant as f64),
            ("discordant", c.discordant as f64),
            ("tied_risk", c.tied_risk as f64),
            ("tied_time", c.tied_time as f64),
        ],
    )
}

fn cox(f: &Fixture) -> Outcome {
    let (time, event) = (f.values("in.time")?, f.flags("in.event")?);
    let survival = m::Survival::new(&time, &event)?;
    let (eta, x) = (f.values("in.eta")?, f.values("in.X")?);
    let columns = x.len() / time.len();
    f.described_by_shapes(&["n", "p"]);
    let x = m::Covariates::new(&x, columns)?;
    let events = survival.events() as f64;
    for (name, ties, loss_ties) in [
        ("breslow", m::Ties::Breslow, oncograph_losses::Ties::Breslow),
        ("efron", m::Ties::Efron, oncograph_losses::Ties::Efron),
    ] {
        let out = format!("out.loglik.{name}");
        if !f.has(&out) {
            continue;
        }
        let value = m::cox_log_likelihood(&survival, &eta, ties)?;
        f.close(&out, &[value.log_likelihood])?;
        f.close_to_scale(&format!("grad.eta.{name}"), &value.gradient, 1e-9)?;
        let by_beta: Vec<f64> = (0..columns)
            .map(|c| value.gradient.iter().enumerate().map(|(i, g)| g * x.row(i)[c]).sum())
            .collect();
        f.close_to_scale(&format!("grad.beta.{name}"), &by_beta, 1e-9)?;
        let model = m::CoxModel::fit(&survival, &x, &m::CoxConfig::new().ties(ties))?;
        let path = |key: &str| format!("{name}/{key}");
        those_present(
            f,
            &[
                (&path("loglik"), value.log_likelihood),
                (&path("statsmodels_loglike"), value.log_likelihood),
                (&path("mean_nll_per_event"), -value.log_likelihood / events),
                (&path("fitted_loglik"), model.log_likelihood),
            ],
        )?;
        f.close_scalars(&path("fitted_beta"), &model.coefficients)?;
        f.close_scalars(&path("fitted_se"), &model.standard_error)?;

        // The loss is the negative mean over events.
        let risk = f.var("in.eta")?;
        let loss = oncograph_losses::cox(&risk, &time, &event, loss_ties)?;
        let scaled = (loss * -events)?;
        f.close(&out, &[scaled.to_scalar::<f64>()?])?;
        let gradient = scaled.backward()?.get(&risk).map(Tensor::to_vec1::<f64>).ok_or("no gradient")??;
        f.close_to_scale(&format!("grad.eta.{name}"), &gradient, 1e-9)?;
    }
    Ok(())
}

fn logrank(f: &Fixture) -> Outcome {
    let (time, event, group) = (f.values("in.time")?, f.flags("in.event")?, f.indices("in.group")?);
    let weighting = match f.option("weightings").as_str() {
        None => m::LogRankWeight::Equal,
        Some("wilcoxon") => m::LogRankWeight::Gehan,
        Some("tarone-ware") => m::LogRankWeight::TaroneWare,
        Some("peto") => m::LogRankWeight::Peto,
        Some("fleming-harrington") => {
            m::LogRankWeight::FlemingHarrington { p: f.number("p", 1.0), q: f.number("q", 0.0) }
        }
        Some(other) => return Err(unsupported(format_args!("weightings={other}"))),
    };
    let strata = if f.has("in.strata") { Some(f.indices("in.strata")?) } else { None };
    let options = m::LogRankOptions::new().weight(weighting);
    let run = |keep: &[usize]| {
        let time: Vec<f64> = keep.iter().map(|&i| time[i]).collect();
        let event: Vec<bool> = keep.iter().map(|&i| event[i]).collect();
        let group: Vec<usize> = keep.iter().map(|&i| group[i]).collect();
        let strata: Option<Vec<usize>> = strata.as_ref().map(|s| keep.iter().map(|&i| s[i]).collect());
        m::log_rank_with(&m::Survival::new(&time, &event)?, &group, strata.as_deref(), &options)
    };
    let everyone: Vec<usize> = (0..group.len()).collect();
    let mut labels = group.clone();
    labels.sort_unstable();
    labels.dedup();
    let all = run(&everyone)?;
    let k = format!("k{}", labels.len());
    those_present(f, &[(&format!("{k}_chi2"), all.chi_squared), (&format!("{k}_p"), all.p_value)])?;
    for (i, a) in labels.iter().enumerate() {
        for b in &labels[i + 1..] {
            let name = format!("g{a}_vs_g{b}");
            if f.scalars(&format!("{name}_chi2")).is_ok() {
                let keep: Vec<usize> =
                    everyone.iter().copied().filter(|&i| group[i] == *a || group[i] == *b).collect();
                let pair = run(&keep)?;
                those_present(
                    f,
                    &[(&format!("{name}_chi2"), pair.chi_squared), (&format!("{name}_p"), pair.p_value)],
                )?;
            }
        }
    }
    Ok(())
}

fn survival_ipcw(f: &Fixture) -> Outcome {
    let (train_time, train_event) = (f.values("in.train_time")?, f.flags("in.train_event")?);
    let (test_time, test_event) = (f.values("in.test_time")?, f.flags("in.test_event")?);
    let train = m::Survival::new(&train_time, &train_event)?;
    let test = m::Survival::new(&test_time, &test_event)?;
    let (risk, times) = (f.values("in.test_risk")?, f.values("in.times")?);

    let uno = m::concordance_ipcw(&train, &test, &risk, None)?;
    f.close_scalar("ipcw_cindex", uno.index)?;
    let counts = [uno.concordant, uno.discordant, uno.tied_risk, uno.tied_time].map(|c| c as f64);
    f.close_scalars("ipcw_counts", &counts)?;
    if let Some(tau) = f.option("tau").as_f64() {
        let early = m::concordance_ipcw(&train, &test, &risk, Some(tau))?;
        those_present(f, &[("ipcw_cindex_tau", early.index), ("tau", tau)])?;
    }
    let brier = m::brier_score(&train, &test, &f.values("in.test_surv")?, &times)?;
    f.close("out.brier", &brier.score)?;
    f.close_scalar("integrated_brier", or_nan(brier.integrated))?;
    let auc = m::dynamic_auc(&train, &test, &risk, &times)?;
    f.close("out.auc", &auc.auc)?;
    f.close_scalar("mean_auc", auc.mean)?;

    let level = f.number("conf_level", 0.95);
    let curve = m::KaplanMeier::fit(&train, level)?;
    f.close("out.km_time", &curve.time)?;
    f.close("out.km_surv", &curve.survival)?;
    f.close("out.km_ci", &[curve.lower, curve.upper].concat())?;
    let censoring = m::CensoringDistribution::fit(&train)?;
    f.close("out.censor_km_time", &censoring.curve().time)?;
    f.close("out.censor_km", &censoring.curve().survival)?;
    let hazard = m::NelsonAalen::fit(&train, level)?;
    f.close("out.na_time", &hazard.time)?;
    f.close("out.na", &hazard.cumulative_hazard)
}

fn roc(f: &Fixture) -> Outcome {
    let (y, score) = (f.flags("in.y")?, f.values("in.score")?);
    let curve = m::RocCurve::new(&y, &score)?;
    f.close("out.fpr", &curve.false_positive_rate)?;
    f.close("out.tpr", &curve.true_positive_rate)?;
    // The peer's first threshold is infinite, stored as 1e300.
    let first = f.values("out.thresholds")?.first().copied().filter(|t| *t >= 1e300);
    f.close(
        "out.thresholds",
        &first.into_iter().chain(curve.thresholds.iter().copied()).collect::<Vec<_>>(),
    )?;
    if f.has("in.weight") {
        let weighted = m::RocCurve::weighted(&y, &score, &f.values("in.weight")?)?;
        f.close_scalar("auc_weighted", weighted.auc())?;
    }
    let (threshold, j) = curve.youden().ok_or("no Youden threshold")?;
    let pr = m::PrecisionRecallCurve::new(&y, &score)?;
    f.close("out.precision", &pr.precision)?;
    f.close("out.recall", &pr.recall)?;
    f.close("out.pr_thresholds", &pr.thresholds)?;
    let c = m::Confusion::at(&y, &score, f.number("threshold", 0.5))?;
    those_present(
        f,
        &[
            ("auc", curve.auc()),
            ("youden_threshold", threshold),
            ("youden_j", j),
            ("average_precision", pr.average_precision()),
            ("tn", c.tn as f64),
            ("fp", c.fp as f64),
            ("fn", c.fn_ as f64),
            ("tp", c.tp as f64),
            ("sensitivity", or_nan(c.sensitivity())),
            ("specificity", or_nan(c.specificity())),
            ("accuracy", or_nan(c.accuracy())),
            ("balanced_accuracy", or_nan(c.balanced_accuracy())),
            ("f1", or_nan(c.f1())),
            ("mcc", or_nan(c.mcc())),
            ("ppv", or_nan(c.precision())),
            ("npv", or_nan(c.negative_predictive_value())),
        ],
    )
}

fn multiclass(f: &Fixture) -> Outcome {
    let (y, probability) = (f.indices("in.y")?, f.values("in.prob")?);
    let classes = probability.len() / y.len();
    let c = m::MulticlassConfusion::from_probability(&y, &probability, classes)?;
    let counts: Vec<f64> = c.counts.iter().map(|v| *v as f64).collect();
    f.close("out.confusion", &counts)?;
    let rest = |average| m::roc_auc_one_vs_rest(&y, &probability, classes, average);
    let one = |average| m::roc_auc_one_vs_one_averaged(&y, &probability, classes, average);
    those_present(
        f,
        &[
            ("auc_ovr_macro", rest(m::Average::Macro)?),
            ("auc_ovr_weighted", rest(m::Average::Weighted)?),
            ("auc_ovr_micro", rest(m::Average::Micro)?),
            ("auc_ovo_macro", one(m::Average::Macro)?),
            ("auc_ovo_weighted", one(m::Average::Weighted)?),
            ("kappa", or_nan(c.kappa())),
            ("mcc", or_nan(c.mcc())),
            ("accuracy", c.accuracy()),
            ("balanced_accuracy", c.balanced_accuracy()),
            ("log_loss", m::multiclass_log_loss(&y, &probability, classes)?),
        ],
    )?;
    for (name, average) in
        [("macro", m::Average::Macro), ("micro", m::Average::Micro), ("weighted", m::Average::Weighted)]
    {
        // What the peer counts as 0 (a class that is never predicted) is undefined here.
        let zero = |v: Option<f64>| v.unwrap_or(0.0);
        those_present(
            f,
            &[
                (&format!("f1_{name}"), zero(c.f1(average))),
                (&format!("precision_{name}"), zero(c.precision(average))),
                (&format!("recall_{name}"), zero(c.recall(average))),
            ],
        )?;
    }
    Ok(())
}

/// The alternative hypothesis by scipy's word for it.
fn alternative(word: &str) -> Result<m::Alternative, Failed> {
    match word {
        "two-sided" => Ok(m::Alternative::TwoSided),
        "less" => Ok(m::Alternative::Less),
        "greater" => Ok(m::Alternative::Greater),
        other => Err(unsupported(format_args!("alternative={other}"))),
    }
}

fn nonparametric(f: &Fixture) -> Outcome {
    let (a, b, c) = (f.values("in.a")?, f.values("in.b")?, f.values("in.c")?);
    let side = alternative(f.text("alternative", "two-sided"))?;
    let options = m::TestOptions::new()
        .alternative(side)
        .continuity(f.bool("use_continuity", true))
        .equal_variances(f.bool("equal_var", false));
    let signed = m::TestOptions::new().alternative(side).continuity(f.bool("correction", false));
    let correlation = |r: m::Correlation| [r.coefficient, r.p_value];
    let test = |t: m::TestResult| [t.statistic, t.p_value];
    for (name, got) in [
        ("mannwhitney", test(m::mann_whitney_with(&a, &b, &options)?)),
        ("welch", test(m::welch_t_with(&a, &b, &options)?)),
        ("wilcoxon", test(m::wilcoxon_with(&a, &c, &signed)?)),
        ("kruskal", test(m::kruskal_wallis(&[&a, &b, &c])?)),
        ("pearson", correlation(m::pearson_with(&a, &c, side)?)),
        ("spearman", correlation(m::spearman_with(&a, &c, side)?)),
        ("kendall_b", correlation(m::kendall_with(&a, &c, side)?)),
    ] {
        if f.scalars(name).is_ok() {
            f.close_scalars(name, &got)?;
        }
    }
    Ok(())
}

fn hypergeometric(f: &Fixture) -> Outcome {
    let (overlap, size) = (f.indices("in.overlap")?, f.indices("in.set_size")?);
    let (universe, drawn) = (f.usize("universe")? as u64, f.usize("drawn")? as u64);
    let side = alternative(f.text("alternative", "greater"))?;
    let (mut p, mut fisher) = (Vec::new(), Vec::new());
    for (&k, &set) in overlap.iter().zip(&size) {
        let (k, set) = (k as u64, set as u64);
        p.push(m::hypergeometric_enrichment(k, set, drawn, universe)?);
        // A set that is empty or everything leaves an empty column, which Fisher's test refuses.
        let proper = 0 < set && set < universe;
        let table = [[k, set - k], [drawn - k, (universe + k).saturating_sub(set + drawn)]];
        fisher.push(if proper { m::fisher_exact(table, side)?.p_value } else { 1.0 });
    }
    f.close("out.p", &p)?;
    f.close("out.fisher_greater_p", &fisher)?;
    let bh = m::adjust_p_values(&p, m::Correction::BenjaminiHochberg)?;
    f.close("out.bh_q", &bh)?;
    let alpha = f.number("alpha", 0.05);
    let reject: Vec<f64> = bh.iter().map(|q| f64::from(u8::from(*q <= alpha))).collect();
    f.close("out.bh_reject", &reject)?;
    f.close("out.by_q", &m::adjust_p_values(&p, m::Correction::BenjaminiYekutieli)?)?;
    f.close("out.holm", &m::adjust_p_values(&p, m::Correction::Holm)?)?;
    f.close("out.bonferroni", &m::adjust_p_values(&p, m::Correction::Bonferroni)?)
}

fn segmentation(f: &Fixture) -> Outcome {
    let (p, t) = (f.flags("in.pred")?, f.flags("in.target")?);
    let [a, b, c] = f.tensor("in.pred")?.dims()[..] else { return Err("no volume".into()) };
    let spacing: [f64; 3] = match f.option("spacing") {
        serde_json::Value::Null => [1.0; 3],
        serde_json::Value::Number(n) => [n.as_f64().ok_or("no number")?; 3],
        list => serde_json::from_value(list.clone())?,
    };
    let overlap = m::Overlap::new(&p, &t)?;
    let voxels = m::surface_distances(&p, &t, [a, b, c], [1.0; 3])?;
    let metric = m::surface_distances(&p, &t, [a, b, c], spacing)?;
    // The peer answers in single precision.
    for (name, value) in [
        ("dice", or_nan(overlap.dice())),
        ("jaccard", or_nan(overlap.jaccard())),
        ("hausdorff", voxels.hausdorff()),
        ("hd95", voxels.hausdorff_percentile(95.0)?),
        ("asd", voxels.average()),
        ("assd", voxels.average_symmetric()),
        ("hausdorff_spacing", metric.hausdorff()),
        ("hd95_spacing", metric.hausdorff_percentile(95.0)?),
        ("asd_spacing", metric.average()),
        ("assd_spacing", metric.average_symmetric()),
    ] {
        if let Ok(expected) = f.scalars(name) {
            f.compare(&format!("scalars/{name}"), &[value], &expected, |e| 1e-6 * e.abs().max(1e-3));
        }
    }
    Ok(())
}
