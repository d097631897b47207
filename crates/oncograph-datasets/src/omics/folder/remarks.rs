use super::super::OmicsCohort;
use super::super::features::list;

/// What is odd about a cohort, but may be meant: each a sentence for the page of a report.
pub(in super::super) fn remarks(cohort: &OmicsCohort) -> Vec<String> {
    let mut remarks = covariates(cohort);
    remarks.extend(cohort.tables.iter().filter_map(|(table, (columns, rows))| {
        let rows: Vec<&Vec<f32>> = rows.iter().flatten().collect();
        let missing = |c: &usize| 2 * rows.iter().filter(|r| r[*c].is_nan()).count() > rows.len();
        let names: Vec<&str> = (0..columns.len()).filter(missing).map(|c| columns[c].as_str()).collect();
        (!names.is_empty()).then(|| {
            let (n, of) = (names.len(), columns.len());
            format!(
                "{table}: {n} of {of} columns are missing in more than half of the rows: {}",
                list(&names)
            )
        })
    }));
    let patients = |fits: &dyn Fn(usize) -> bool| -> Vec<&str> {
        (0..cohort.ids().len()).filter(|p| fits(*p)).map(|p| cohort.ids()[p].as_str()).collect()
    };
    let unmeasured = patients(&|p| {
        let images = cohort.images.as_ref().is_some_and(|i| !i.patients[p].is_empty());
        !images && cohort.tables.values().all(|(_, rows)| rows[p].is_none())
    });
    if !unmeasured.is_empty() {
        let n = unmeasured.len();
        remarks.push(format!(
            "{n} patients are in no table of values, covariates are all there is: {}",
            list(&unmeasured)
        ));
    }
    let unknown = patients(&|p| {
        let o = &cohort.outcomes[p];
        o.survival.is_none() && o.classes.is_empty() && o.toxicity.iter().all(Option::is_none)
    });
    if !unknown.is_empty() && unknown.len() < cohort.ids().len() {
        let n = unknown.len();
        remarks.push(format!(
            "Of {n} patients no outcome is known, they are neither trained on nor scored: {}",
            list(&unknown)
        ));
    }
    remarks
}

/// Covariates that are mostly missing or of one value.
fn covariates(cohort: &OmicsCohort) -> Vec<String> {
    let (mut remarks, mut from) = (vec![], 0);
    let patients = cohort.ids().len();
    for covariate in &cohort.coding {
        let width = covariate.columns().len();
        let values: Vec<_> =
            cohort.covariates.rows().map(|row| covariate.decode(&row[from..from + width])).collect();
        from += width;
        let missing = values.iter().filter(|v| v.is_none()).count();
        let mut known = values.iter().flatten();
        let first = known.next();
        if 2 * missing > patients {
            remarks.push(format!(
                "The covariate {} is missing in {missing} of {patients} patients",
                covariate.name
            ));
        }
        if first.is_some_and(|first| patients > 1 && known.all(|v| v == first)) {
            remarks.push(format!(
                "The covariate {} has one value only and no part in any model",
                covariate.name
            ));
        }
    }
    remarks
}
