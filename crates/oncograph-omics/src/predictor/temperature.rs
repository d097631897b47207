use oncograph_study::{Answer, Target};

/// Known patients below which nothing is fitted.
const LEAST: usize = 10;

/// Bounds of ln T.
const BOUND: f64 = 3.0;

/// The temperature T that makes probabilities likeliest on patients that the network was not trained on: logits are divided by it
/// (M-24). 1 changes nothing, above 1 the network was too sure. `None` where too few are known for it.
///
/// # Reference
/// Guo et al., *On calibration of modern neural networks*, ICML 2017, section 4.2.
pub(crate) fn temperature(target: &Target, patients: &[usize], answers: &[Answer]) -> Option<f64> {
    let known: Vec<(usize, &Vec<f64>)> = patients
        .iter()
        .zip(answers)
        .filter(|(p, _)| target.known(**p))
        .filter_map(|(p, answer)| match answer {
            Answer::Probabilities(all) => Some((*p, all)),
            _ => None,
        })
        .collect();
    if known.len() < LEAST {
        return None;
    }
    // Convex in 1/T, so that there is one minimum.
    let loss = |log: f64| -> f64 {
        known.iter().map(|(p, all)| loss_of(target, *p, &scaled(target, all, log.exp()))).sum()
    };
    let (mut low, mut high) = (-BOUND, BOUND);
    for _ in 0..100 {
        let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if loss(a) <= loss(b) { high = b } else { low = a }
    }
    Some(f64::midpoint(low, high).exp())
}

/// Probabilities whose logits are divided by a temperature.
pub(crate) fn scaled(target: &Target, probabilities: &[f64], temperature: f64) -> Vec<f64> {
    match target {
        Target::Labels { .. } => tempered_labels(probabilities, temperature),
        _ => tempered_classes(probabilities, temperature),
    }
}

/// The same of events that may come together.
pub(super) fn tempered_labels(probabilities: &[f64], temperature: f64) -> Vec<f64> {
    let one = |p: &f64| {
        let p = p.clamp(f64::EPSILON, 1.0 - f64::EPSILON);
        1.0 / (1.0 + (-(p / (1.0 - p)).ln() / temperature).exp())
    };
    probabilities.iter().map(one).collect()
}

/// The same of classes of which one is true.
pub(super) fn tempered_classes(probabilities: &[f64], temperature: f64) -> Vec<f64> {
    let most = probabilities.iter().copied().fold(f64::MIN_POSITIVE, f64::max);
    let powers = probabilities.iter().map(|p| (p / most).powf(1.0 / temperature));
    let powers: Vec<f64> = powers.collect();
    let sum: f64 = powers.iter().sum();
    powers.into_iter().map(|p| p / sum).collect()
}

/// The negative log likelihood of what is known of a patient.
fn loss_of(target: &Target, patient: usize, probabilities: &[f64]) -> f64 {
    let log = |p: f64| -p.max(f64::MIN_POSITIVE).ln();
    match target {
        Target::Classes { classes, .. } => classes[patient].map_or(0.0, |c| log(probabilities[c])),
        Target::Labels { labels, .. } => {
            let own = labels[patient].iter().zip(probabilities);
            own.map(|(yes, p)| yes.map_or(0.0, |yes| log(if yes { *p } else { 1.0 - p }))).sum()
        }
        Target::Survival(_) => 0.0,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_overconfident_network_is_cooled_to_the_share_that_is_right() {
        // Right in 15 of 20, and 0.99 sure of it each time.
        let classes = (0..20usize).map(|p| Some(usize::from(!p.is_multiple_of(4)))).collect();
        let target = Target::Classes { names: vec!["a".into(), "b".into()], classes };
        let answers: Vec<Answer> = (0..20).map(|_| Answer::Probabilities(vec![0.01, 0.99])).collect();
        let all: Vec<usize> = (0..20).collect();
        let t = temperature(&target, &all, &answers).unwrap();
        let p = scaled(&target, &[0.01, 0.99], t);
        assert!((p[1] - 0.75).abs() < 1e-6 && (p[0] + p[1] - 1.0).abs() < 1e-12, "{t}: {p:?}");
        assert!(t > 1.0);
        let labels = (0..20usize).map(|p| vec![Some(!p.is_multiple_of(4)), None]).collect();
        let target = Target::Labels { names: vec!["a".into(), "b".into()], labels };
        let answers: Vec<Answer> = (0..20).map(|_| Answer::Probabilities(vec![0.99, 0.5])).collect();
        let t = temperature(&target, &all, &answers).unwrap();
        assert!((scaled(&target, &[0.99], t)[0] - 0.75).abs() < 1e-6);
        assert_eq!(temperature(&target, &all[..9], &answers[..9]), None);
        assert_eq!(tempered_classes(&[0.2, 0.3, 0.5], 1.0), [0.2, 0.3, 0.5]);
    }
}
