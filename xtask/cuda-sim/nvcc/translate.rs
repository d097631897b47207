//! From preprocessed CUDA C++ to C++: the two words that no macro can replace.
//!
//! `__global__` marks a kernel, for which a function is appended that the driver finds by its name; `extern __shared__`
//! declares memory whose size the launch chooses.

use anyhow::{Context, Result};
use std::fmt::Write;

/// The text for the host's compiler.
pub(crate) fn translate(text: &str) -> Result<String> {
    let mut out = String::with_capacity(text.len() + text.len() / 8);
    let mut kernels = vec![];
    // For each brace that is open: whether it belongs to `extern "C"`.
    let mut braces: Vec<bool> = vec![];
    let mut at = 0;
    while let Some(token) = token(&text[at..]) {
        let rest = &text[at + token.len()..];
        at += token.len();
        match token {
            "{" => braces.push(out.trim_end().ends_with("extern \"C\"")),
            "}" => {
                braces.pop();
            }
            "__global__" => {
                // One without a C name is not found by its name on a GPU, either.
                if braces.contains(&true) || out.trim_end().ends_with("extern \"C\"") {
                    kernels.push(kernel_name(rest)?);
                }
                continue;
            }
            "__shared__" => match out.trim_end().strip_suffix("extern") {
                Some(before) => {
                    out.truncate(before.len());
                    let (declaration, _) =
                        rest.split_once(';').context("extern __shared__ without an end")?;
                    out.push_str(&dynamic_shared(declaration)?);
                    at += declaration.len();
                    continue;
                }
                None => {
                    out.push_str("static");
                    continue;
                }
            },
            _ => {}
        }
        out.push_str(token);
    }
    for name in kernels {
        writeln!(
            out,
            "\nextern \"C\" void cudasim_call_{name}(void **args) {{ cudasim::call(&{name}, args); }}"
        )?;
    }
    Ok(out)
}

/// The next piece of the text: a word, a literal between quotes, or one character.
fn token(text: &str) -> Option<&str> {
    let first = text.chars().next()?;
    let end = match first {
        c if is_word(c) => text.find(|c| !is_word(c)).unwrap_or(text.len()),
        '"' | '\'' => quoted(text, first),
        c => c.len_utf8(),
    };
    Some(&text[..end])
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// The length of a literal; a digit separator as in `1'000` is inside of no word here and looks like an open quote,
/// so that a quote which is not closed on its line is one character.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (i, c) in text.char_indices().skip(1) {
        match c {
            '\n' => return 1,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            c if c == quote => return i + 1,
            _ => {}
        }
    }
    1
}

/// The kernel's name: the last word before its parameters.
fn kernel_name(rest: &str) -> Result<String> {
    let (head, _) = rest.split_once('(').context("__global__ without parameters")?;
    let name = head.split_whitespace().next_back().context("__global__ without a name")?;
    Ok(name.to_string())
}

/// `int row[]` becomes a pointer into the memory of the launch.
fn dynamic_shared(declaration: &str) -> Result<String> {
    let cause = || format!("extern __shared__{declaration}: no array without a size");
    let (head, _) = declaration.rsplit_once('[').with_context(cause)?;
    // The memory is aligned more than any attribute may ask.
    let head = match head.find("__attribute__").zip(head.rfind("))")) {
        Some((from, to)) => format!("{}{}", &head[..from], &head[to + 2..]),
        None => head.to_string(),
    };
    let head = head.trim();
    let cut = head.rfind(|c: char| !is_word(c)).with_context(cause)?;
    let (kind, name) = (head[..=cut].trim(), &head[cut + 1..]);
    Ok(format!("{kind} *{name} = ({kind} *)cudasim::dynamic_shared"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kernel_can_be_called_by_its_name() {
        let text = "extern \"C\" __global__ void scale(float *x, int n) { x[n] = '{'; }";
        let out = translate(text).unwrap();
        assert!(out.starts_with("extern \"C\"  void scale(float *x, int n)"), "{out}");
        let call = "extern \"C\" void cudasim_call_scale(void **args) { cudasim::call(&scale, args); }";
        assert_eq!(out.lines().last(), Some(call));
    }

    #[test]
    fn only_kernels_with_a_c_name_are_found() {
        let text = "__global__ void a(int) {}\nextern \"C\" {\n__global__ void b(int) {}\n}\n__global__ void c(int) {}";
        let out = translate(text).unwrap();
        let called: Vec<_> = out.lines().filter(|l| l.contains("cudasim_call_")).collect();
        assert_eq!(called.len(), 1);
        assert!(called[0].contains("cudasim_call_b"));
    }

    #[test]
    fn shared_memory_is_static_or_the_launchs() {
        let out = translate(
            "__shared__ float a[32]; extern __shared__ __attribute__((aligned(16))) unsigned char b[];",
        );
        let want = "static float a[32]; unsigned char *b = (unsigned char *)cudasim::dynamic_shared;";
        assert_eq!(out.unwrap(), want);
        let error = translate("extern __shared__ float b;").unwrap_err().to_string();
        assert_eq!(error, "extern __shared__ float b: no array without a size");
    }

    #[test]
    fn text_between_quotes_stays() {
        let text = "const char *a = \"__global__ \\\" {\"; int b = 1'000; char c = '\\'';\nint __shared__x;";
        assert_eq!(translate(text).unwrap(), text);
    }
}
