//! What must come of a case, and whether it did.

use super::Outcome;
use anyhow::Result;
use serde::Deserialize;
use serde_json::Value;

/// What must come of a case.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Expected {
    /// Facts, of which those of the reader must have all.
    Facts(Value),
    /// A refusal that holds all of these words, whatever their case.
    Refusal(Vec<String>),
    /// Either.
    FactsOrRefusal(Value, Vec<String>),
    /// It is not run, with the reason.
    NotRun(String),
}

impl Expected {
    /// Whether what a reader gave is what is expected.
    pub fn judge(&self, found: Result<Value>) -> Outcome {
        let refused = |words: &[String], error: &anyhow::Error| {
            let text = format!("{error:#}");
            let lower = text.to_lowercase();
            match words.iter().find(|word| !lower.contains(&word.to_lowercase())) {
                None => Outcome::Passed,
                Some(word) => Outcome::Failed(format!("its refusal does not say {word:?}: {text}")),
            }
        };
        let agrees = |facts: &Value, found: &Value| match differences(facts, found, "").as_slice() {
            [] => Outcome::Passed,
            all => Outcome::Failed(all.join("; ")),
        };
        match (self, found) {
            (Expected::NotRun(why), _) => Outcome::Skipped(why.clone()),
            (Expected::Facts(facts) | Expected::FactsOrRefusal(facts, _), Ok(found)) => agrees(facts, &found),
            (Expected::Refusal(words) | Expected::FactsOrRefusal(_, words), Err(error)) => {
                refused(words, &error)
            }
            (Expected::Facts(_), Err(error)) => Outcome::Failed(format!("refused: {error:#}")),
            (Expected::Refusal(words), Ok(found)) => {
                Outcome::Failed(format!("not refused, with a word of {words:?}: {found}"))
            }
        }
    }
}

/// Where `found` lacks something of `expected`: every key of an object, a list as it is, numbers to a millionth, a text in
/// which a text that begins with `~` stands.
pub fn differences(expected: &Value, found: &Value, place: &str) -> Vec<String> {
    let differs = || vec![format!("{place}: expected {expected}, got {found}")];
    match (expected, found) {
        (Value::Object(one), Value::Object(other)) => one
            .iter()
            .flat_map(|(key, value)| {
                let place = if place.is_empty() { key.clone() } else { format!("{place}.{key}") };
                differences(value, other.get(key).unwrap_or(&Value::Null), &place)
            })
            .collect(),
        (Value::Array(one), Value::Array(other)) if one.len() == other.len() => {
            let both = one.iter().zip(other).enumerate();
            both.flat_map(|(at, (a, b))| differences(a, b, &format!("{place}[{at}]"))).collect()
        }
        (Value::Number(a), Value::Number(b)) => {
            let (a, b) = (a.as_f64().unwrap_or(f64::NAN), b.as_f64().unwrap_or(f64::NAN));
            if (a - b).abs() <= 1e-6 * a.abs().max(1.0) { vec![] } else { differs() }
        }
        (Value::String(part), found) if part.starts_with('~') => {
            let part = part[1..].to_lowercase();
            if found.to_string().to_lowercase().contains(&part) { vec![] } else { differs() }
        }
        (a, b) if a == b => vec![],
        _ => differs(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn facts_are_a_part_of_what_is_found() {
        let found = json!({"shape": [2, 3], "sum": 1.0000001, "notes": ["slice 3 was left out"], "more": 1});
        let none: Vec<String> = vec![];
        assert_eq!(differences(&json!({"shape": [2, 3], "sum": 1.0, "notes": "~SLICE 3"}), &found, ""), none);
        assert_eq!(differences(&json!({"sum": 1.1}), &found, ""), ["sum: expected 1.1, got 1.0000001"]);
        assert_eq!(differences(&json!({"shape": [2]}), &found, "").len(), 1);
        assert_eq!(differences(&json!({"none": 1}), &found, ""), ["none: expected 1, got null"]);
    }

    #[test]
    fn a_refusal_must_say_why() {
        let refusal = Expected::Refusal(vec!["JPEG-LS".into()]);
        let error = |text: &str| Err(anyhow::anyhow!("{text}"));
        assert_eq!(refusal.judge(error("a.dcm: jpeg-ls is not read")), Outcome::Passed);
        assert!(matches!(refusal.judge(error("unreadable")), Outcome::Failed(_)));
        assert!(matches!(refusal.judge(Ok(json!({}))), Outcome::Failed(_)));
    }
}
