/// What a unit measures, and how many base units it is.
type Known = (&'static str, &'static str, f64);

/// Units of laboratory values and vital signs, in UCUM; the base units are g/L, mol/L, 1/L, U/L, kg, m, a, % and mm\[Hg\].
const UNITS: &[Known] = &[
    ("g/L", "mass concentration", 1.0),
    ("g/dL", "mass concentration", 10.0),
    ("mg/L", "mass concentration", 1e-3),
    ("mg/dL", "mass concentration", 1e-2),
    ("ug/L", "mass concentration", 1e-6),
    ("ng/mL", "mass concentration", 1e-6),
    ("ug/mL", "mass concentration", 1e-3),
    ("pg/mL", "mass concentration", 1e-9),
    ("mol/L", "amount concentration", 1.0),
    ("mmol/L", "amount concentration", 1e-3),
    ("umol/L", "amount concentration", 1e-6),
    ("nmol/L", "amount concentration", 1e-9),
    ("/L", "number concentration", 1.0),
    ("/uL", "number concentration", 1e6),
    ("10*3/uL", "number concentration", 1e9),
    ("10*9/L", "number concentration", 1e9),
    ("10*6/uL", "number concentration", 1e12),
    ("10*12/L", "number concentration", 1e12),
    ("U/L", "catalytic concentration", 1.0),
    ("U/mL", "catalytic concentration", 1e3),
    ("kU/L", "catalytic concentration", 1e3),
    ("kg", "mass", 1.0),
    ("g", "mass", 1e-3),
    ("[lb_av]", "mass", 0.453_592_37),
    ("m", "length", 1.0),
    ("cm", "length", 1e-2),
    ("mm", "length", 1e-3),
    ("[in_i]", "length", 0.0254),
    ("a", "time", 1.0),
    ("mo", "time", 1.0 / 12.0),
    ("%", "share", 1.0),
    ("1", "share", 100.0),
    ("mm[Hg]", "pressure", 1.0),
    ("kPa", "pressure", 7.500_615_758),
    ("kg/m2", "body mass index", 1.0),
];

/// A value in another unit, by UCUM codes; `None` where the two do not measure the same, or one is not known here. Mass is never
/// turned into amount, which would need the substance.
///
/// # Example
/// ```
/// use oncograph_deploy::fhir::convert;
///
/// assert_eq!(convert(4.1, "g/dL", "g/L"), Some(41.0));
/// assert_eq!(convert(1.2, "10*3/uL", "10*9/L"), Some(1.2));
/// assert_eq!(convert(90.0, "umol/L", "mg/dL"), None);
/// ```
pub fn convert(value: f64, from: &str, to: &str) -> Option<f64> {
    if from == to {
        return Some(value);
    }
    let known = |unit: &str| UNITS.iter().find(|(code, ..)| *code == unit);
    let ((_, a, from), (_, b, to)) = (known(from)?, known(to)?);
    // One factor, so that units of one size change no bit.
    (a == b).then(|| value * (from / to))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_and_back_is_the_same() {
        for (a, kind, _) in UNITS {
            for (b, other, _) in UNITS {
                let there = convert(3.7, a, b);
                assert_eq!(there.is_some(), kind == other, "{a} {b}");
                if let Some(back) = there.and_then(|v| convert(v, b, a)) {
                    assert!((back - 3.7).abs() < 1e-12, "{a} {b}: {back}");
                }
            }
        }
        assert_eq!(convert(1.0, "foot", "m"), None);
    }
}
