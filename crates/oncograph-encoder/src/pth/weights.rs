//! Which of the dictionaries in a file are the weights.

use super::view::View;
use candle_core::pickle::Object;
use candle_core::{Result, bail};

/// What trainers call the weights, in the order in which they are taken.
const NAMES: [&str; 9] = [
    "state_dict",
    "model_state_dict",
    "model",
    "network_weights",
    "net",
    "network",
    "weights",
    "params",
    "module",
];

/// Dictionaries in dictionaries are looked at down to here.
const DEPTH: usize = 3;

/// Keys that an error lists.
const LISTED: usize = 5;

/// Named tensors, and what else there was.
pub(super) struct Weights {
    pub tensors: Vec<(String, View)>,
    pub notes: Vec<String>,
}

/// A dictionary with tensors in it, by the keys that lead to it.
struct Dictionary {
    path: Vec<String>,
    tensors: Vec<(String, View)>,
}

impl Dictionary {
    fn name(&self) -> String {
        self.path.join(".")
    }
}

/// The dictionary that is called like weights, else the tensors at the top, else the only dictionary with tensors.
pub(super) fn weights(object: &Object) -> Result<Weights> {
    let Object::Dict(top) = object else { bail!("{}", of_no_dictionary(object)) };
    let mut found = vec![];
    collect(top, &mut vec![], &mut found);
    let rank = |d: &Dictionary| {
        let name = d.path.last()?;
        Some((NAMES.iter().position(|known| known == name)?, d.path.len()))
    };
    let named = (0..found.len()).filter_map(|at| Some((rank(&found[at])?, at))).min();
    let at_top = found.iter().position(|d| d.path.is_empty());
    let chosen = match (named, at_top, found.as_slice()) {
        (Some((_, at)), ..) | (None, Some(at), _) => at,
        (None, None, [_]) => 0,
        (None, None, []) => {
            bail!("no tensors found, at the top or in a dictionary of it; its keys are {}", keys(top))
        }
        (None, None, all) => {
            let all: Vec<String> =
                all.iter().map(|d| format!("{} ({})", d.name(), d.tensors.len())).collect();
            bail!("tensors lie in {}: it is not clear which of them are the weights", all.join(", "))
        }
    };
    let chosen = found.swap_remove(chosen);
    let mut notes = vec![];
    if !chosen.path.is_empty() && chosen.path != ["state_dict"] {
        notes.push(format!("the weights lie under `{}`", chosen.name()));
    }
    for other in &found {
        let (count, name) = (other.tensors.len(), other.name());
        notes.push(match other.path.is_empty() {
            true => format!("{count} tensors beside `{}` are left out: {}", chosen.name(), listed(other)),
            false => format!("`{name}` holds {count} tensors, which are not used"),
        });
    }
    Ok(Weights { tensors: chosen.tensors, notes })
}

fn listed(dictionary: &Dictionary) -> String {
    let names: Vec<&str> = dictionary.tensors.iter().map(|(name, _)| name.as_str()).take(LISTED).collect();
    names.join(", ")
}

fn keys(entries: &[(Object, Object)]) -> String {
    let name = |(key, _): &(Object, Object)| key.clone().unicode().ok();
    let names: Vec<String> = entries.iter().filter_map(name).collect();
    match names.len() {
        0 => "none".into(),
        n if n > LISTED => format!("{} and {} more", names[..LISTED].join(", "), n - LISTED),
        _ => names.join(", "),
    }
}

fn collect(entries: &[(Object, Object)], path: &mut Vec<String>, found: &mut Vec<Dictionary>) {
    let text = |key: &Object| key.clone().unicode().ok();
    let tensors: Vec<(String, View)> =
        entries.iter().filter_map(|(key, value)| Some((text(key)?, View::of(value)?))).collect();
    if !tensors.is_empty() {
        found.push(Dictionary { path: path.clone(), tensors });
    }
    if path.len() == DEPTH {
        return;
    }
    for (key, value) in entries {
        let (Some(key), Object::Dict(inner)) = (text(key), value) else { continue };
        // Moments of parameters are no weights.
        if !key.starts_with("optimizer") {
            path.push(key);
            collect(inner, path, found);
            path.pop();
        }
    }
}

fn of_no_dictionary(object: &Object) -> String {
    let class = |object: &Object| match object {
        Object::Class { module_name, class_name } => Some(format!("{module_name}.{class_name}")),
        _ => None,
    };
    let whole = match object {
        Object::Build { callable, .. } => match callable.as_ref() {
            Object::Reduce { callable, args } => class(callable).or_else(|| class(args)),
            other => class(other),
        },
        Object::Reduce { callable, .. } => class(callable),
        _ => None,
    };
    match whole {
        Some(name) => format!("a whole object of {name} and no weights by name: save its `state_dict()`"),
        None => "no dictionary of weights".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(text: &str) -> Object {
        Object::Unicode(text.into())
    }

    fn tensor() -> Object {
        let class = |m: &str, c: &str| Object::Class { module_name: m.into(), class_name: c.into() };
        let id =
            vec![text("storage"), class("torch", "FloatStorage"), text("0"), text("cpu"), Object::Int(1)];
        let one = || Object::Tuple(vec![Object::Int(1)]);
        let args = vec![Object::PersistentLoad(Box::new(Object::Tuple(id))), Object::Int(0), one(), one()];
        let callable = class("torch._utils", "_rebuild_tensor_v2");
        Object::Reduce { callable: Box::new(callable), args: Box::new(Object::Tuple(args)) }
    }

    fn dictionary<const N: usize>(entries: [(&str, Object); N]) -> Object {
        Object::Dict(entries.into_iter().map(|(key, value)| (text(key), value)).collect())
    }

    fn names(object: &Object) -> (Vec<String>, Vec<String>) {
        let found = weights(object).unwrap();
        (found.tensors.into_iter().map(|(name, _)| name).collect(), found.notes)
    }

    #[test]
    fn weights_are_found_wherever_trainers_put_them() {
        let two = || dictionary([("a", tensor()), ("b", tensor())]);
        let none: Vec<String> = vec![];
        assert_eq!(names(&two()), (vec!["a".into(), "b".into()], none.clone()));
        assert_eq!(names(&dictionary([("epoch", Object::Int(3)), ("state_dict", two())])).1, none);
        let beside = names(&dictionary([("epoch", tensor()), ("state_dict", two())]));
        assert_eq!(beside.0, ["a", "b"]);
        assert_eq!(beside.1, ["1 tensors beside `state_dict` are left out: epoch"]);
        let nnunet = names(&dictionary([("network_weights", two()), ("optimizer_state", two())]));
        assert_eq!(
            nnunet,
            (vec!["a".into(), "b".into()], vec!["the weights lie under `network_weights`".into()])
        );
        let averaged = names(&dictionary([("ema_state_dict", two()), ("state_dict", two())]));
        assert_eq!(averaged.1, ["`ema_state_dict` holds 2 tensors, which are not used"]);
        let deep = dictionary([("checkpoint", dictionary([("model", two())]))]);
        assert_eq!(names(&deep).1, ["the weights lie under `checkpoint.model`"]);
        assert_eq!(
            names(&dictionary([("generator_ema", two())])).1,
            ["the weights lie under `generator_ema`"]
        );
    }

    #[test]
    fn what_is_unclear_is_said_with_its_keys() {
        let one = || dictionary([("a", tensor())]);
        let error = |object: &Object| weights(object).err().unwrap().to_string();
        let two = error(&dictionary([("encoder", one()), ("decoder", one())]));
        assert!(two.contains("encoder (1), decoder (1)"), "{two}");
        let zero = || Object::Int(0);
        let many = [("a", zero()), ("b", zero()), ("c", zero()), ("d", zero()), ("e", zero()), ("f", zero())];
        assert!(error(&dictionary(many)).contains("its keys are a, b, c, d, e and 1 more"));
        let class = Object::Class { module_name: "models".into(), class_name: "Net".into() };
        let module = Object::Build {
            callable: Box::new(Object::Reduce {
                callable: Box::new(class),
                args: Box::new(Object::Tuple(vec![])),
            }),
            args: Box::new(dictionary([])),
        };
        assert!(error(&module).contains("a whole object of models.Net"));
    }
}
