//! Rules on files: where `unsafe` may be, what of candle is not called, no path of one machine, no data from outside
//! the repository, length.

use super::Finding;

/// Lines above which a file should be looked at for a split.
const LONG: usize = 600;

/// Folders that exist on one machine only, in any text: written in pieces, so that this file keeps the rule.
const MACHINE: [&str; 6] = ["home", "Users", "root", "tmp", "work", "mnt"];

/// What library code does not call, and why; measured on candle 0.11 (`docs/design.md` has the list).
const TRAPS: [(&str, &str); 16] = [
    ("Tensor::rand", "candle's CPU generator cannot be seeded; draw from a Seed"),
    ("Var::rand", "candle's CPU generator cannot be seeded; draw from a Seed"),
    (".rand_like(", "candle's CPU generator cannot be seeded; draw from a Seed"),
    (".randn_like(", "candle's CPU generator cannot be seeded; draw from a Seed"),
    ("candle_nn::Dropout", "it cannot be seeded; use oncograph_nn::Dropout"),
    ("ops::dropout", "it cannot be seeded; use oncograph_nn::Dropout"),
    ("softmax_last_dim", "it has no gradient; use oncograph_nn::softmax"),
    ("candle_nn::layer_norm", "no gradient on contiguous input; use oncograph_nn::norm::LayerNorm"),
    ("candle_nn::LayerNorm", "no gradient on contiguous input; use oncograph_nn::norm::LayerNorm"),
    ("candle_nn::rms_norm", "no gradient on contiguous input"),
    ("candle_nn::RmsNorm", "no gradient on contiguous input"),
    ("rotary_emb::rope", "no gradient on contiguous input"),
    (".max_pool2d", "its gradient is scaled by 1/k^2; use oncograph_nn::pool"),
    (".avg_pool2d", "wrong gradient where k does not divide the size; use oncograph_nn::pool"),
    (".upsample_nearest2d", "wrong gradient where the input has another consumer"),
    (".scatter_add(", "wrong gradient of the base; use oncograph_nn::segment"),
];

/// Right in value, and in gradient everywhere but at 0.
const RELU: (&str, &str) = (".relu()", "its gradient at 0 is 1; oncograph_nn::relu has PyTorch's 0");

/// All rules on one file; `file` is its path below the root.
pub(super) fn check(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = machine_paths(file, text);
    if file.ends_with(".rs") {
        let code = code_of(text);
        findings.extend(unsafe_code(file, text, &code));
        findings.extend(traps(file, &code));
        findings.extend(without_cuda(file, &code));
        findings.extend(outside_data(file, text));
        let lines = text.lines().count();
        if lines > LONG {
            findings.push(Finding::warning(file, format!("{lines} lines: can it be split?")));
        }
    }
    findings
}

/// `unsafe` only in the kernels of `oncograph-nn` and in the allocator, in modules that allow it explicitly, each use with
/// its argument.
fn unsafe_code(file: &str, text: &str, code: &str) -> Vec<Finding> {
    let is_word = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    let used = |line: &str| {
        line.match_indices("unsafe").any(|(at, word)| {
            !is_word(line[..at].chars().next_back()) && !is_word(line[at + word.len()..].chars().next())
        })
    };
    let lines: Vec<usize> = code.lines().enumerate().filter(|(_, l)| used(l)).map(|(i, _)| i).collect();
    if lines.is_empty() {
        return vec![];
    }
    let may = ["crates/oncograph-nn/src/", "crates/oncograph-alloc/src/"];
    if !may.iter().any(|place| file.starts_with(place)) || !code.contains("#![allow(unsafe_code)]") {
        let cause = "unsafe outside the kernel modules of oncograph-nn";
        return lines.iter().map(|i| Finding::error(format!("{file}:{}", i + 1), cause)).collect();
    }
    let source: Vec<&str> = text.lines().collect();
    let argued = |at: usize| source[at.saturating_sub(SAFETY_LINES)..=at].iter().any(|l| is_argument(l));
    let bare = lines.into_iter().filter(|&i| !argued(i));
    bare.map(|i| Finding::error(format!("{file}:{}", i + 1), "unsafe without a SAFETY comment")).collect()
}

/// How far above its use the argument for `unsafe` may stand.
const SAFETY_LINES: usize = 12;

/// A comment that argues why, or the section of the docs that states what a caller must guarantee.
fn is_argument(line: &str) -> bool {
    let line = line.trim_start();
    line.starts_with("//") && (line.contains("SAFETY") || line.contains("# Safety"))
}

/// Functions of candle whose gradient is missing or wrong, or whose draws cannot be repeated.
fn traps(file: &str, code: &str) -> Vec<Finding> {
    let library = file.starts_with("crates/") && file.contains("/src/");
    if !library && !file.starts_with("examples/") {
        return vec![];
    }
    let mut findings = vec![];
    for (i, line) in code.lines().enumerate() {
        let place = format!("{file}:{}", i + 1);
        let called = TRAPS.iter().filter(|(call, _)| line.contains(call));
        findings.extend(called.map(|(call, why)| Finding::error(&place, format!("calls {call}: {why}"))));
        if line.contains(RELU.0) {
            findings.push(Finding::error(&place, format!("calls {}: {}", RELU.0, RELU.1)));
        }
    }
    findings
}

/// Operations of library code that a tensor on CUDA could not pass through.
fn without_cuda(file: &str, code: &str) -> Vec<Finding> {
    if !(file.starts_with("crates/") && file.contains("/src/")) {
        return vec![];
    }
    let mut findings = vec![];
    let mut lines = code.lines().enumerate();
    while let Some((at, line)) = lines.next() {
        if !(line.starts_with("impl") && line.contains("CustomOp") && line.contains(" for ")) {
            continue;
        }
        let mut body = lines.by_ref().map(|(_, line)| line).take_while(|line| *line != "}");
        if !body.any(|line| line.contains("cuda_on_host!(") || line.contains("fn cuda_fwd(")) {
            let cause = "neither cuda_on_host! nor a cuda_fwd of its own";
            findings.push(Finding::error(format!("{file}:{}", at + 1), cause));
        }
    }
    findings
}

/// No absolute path of the machine that something was written on.
fn machine_paths(file: &str, text: &str) -> Vec<Finding> {
    let mut findings = vec![];
    for (i, line) in text.lines().enumerate() {
        for (at, _) in line.match_indices('/') {
            // The rest of a longer path or address starts after a letter, a digit or one of these.
            let inside = |c: char| c.is_alphanumeric() || "./_-~$}*:".contains(c);
            if line[..at].chars().next_back().is_some_and(inside) {
                continue;
            }
            let folder = line[at + 1..].split('/').next().unwrap_or("");
            if MACHINE.contains(&folder) && line[at + 1 + folder.len()..].starts_with('/') {
                findings.push(Finding::error(
                    format!("{file}:{}", i + 1),
                    format!("the path of a machine: below /{folder}"),
                ));
            }
        }
    }
    findings
}

/// A published crate does not look for data outside the repository; only the cross-crate tests do.
fn outside_data(file: &str, text: &str) -> Vec<Finding> {
    if !file.starts_with("crates/") {
        return vec![];
    }
    let reads = |line: &str| line.contains("../shared") || line.contains("ONCOGRAPH_SHARED");
    let lines = text.lines().enumerate().filter(|(_, line)| reads(line));
    let cause = "only tests/ may read data outside the repository";
    lines.map(|(i, _)| Finding::error(format!("{file}:{}", i + 1), cause)).collect()
}

/// The text with comments and what is between quotes blanked out, line by line.
fn code_of(text: &str) -> String {
    let chars: Vec<char> = text.chars().collect();
    let mut out = String::with_capacity(text.len());
    let mut i = 0;
    while i < chars.len() {
        let end = skip(&chars, i);
        if end == i {
            out.push(chars[i]);
            i += 1;
        } else {
            chars[i..end].iter().for_each(|&c| out.push(if c == '\n' { '\n' } else { ' ' }));
            i = end;
        }
    }
    out
}

/// The end of the comment or literal that starts at `i`; `i` where none does.
fn skip(chars: &[char], i: usize) -> usize {
    let at = |j: usize| chars.get(j).copied().unwrap_or('\0');
    match (at(i), at(i + 1)) {
        ('/', '/') => (i..chars.len()).find(|&j| chars[j] == '\n').unwrap_or(chars.len()),
        ('/', '*') => block_comment(chars, i),
        ('"', _) => quoted(chars, i, '"'),
        ('\'', '\\') => quoted(chars, i, '\''),
        ('\'', _) if at(i + 2) == '\'' => i + 3,
        ('r', '"' | '#') if i == 0 || !is_name(chars[i - 1]) || chars[i - 1] == 'b' => raw(chars, i),
        _ => i,
    }
}

fn is_name(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Block comments nest.
fn block_comment(chars: &[char], start: usize) -> usize {
    let (mut depth, mut i) = (0, start);
    while i + 1 < chars.len() {
        match (chars[i], chars[i + 1]) {
            ('/', '*') => (depth, i) = (depth + 1, i + 2),
            ('*', '/') => (depth, i) = (depth - 1, i + 2),
            _ => i += 1,
        }
        if depth == 0 {
            return i;
        }
    }
    chars.len()
}

fn quoted(chars: &[char], start: usize, quote: char) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != quote {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// A raw string, `r#"..."#` with any number of `#`; a raw identifier is none.
fn raw(chars: &[char], start: usize) -> usize {
    let hashes = chars[start + 1..].iter().take_while(|c| **c == '#').count();
    let open = start + 1 + hashes;
    if chars.get(open) != Some(&'"') {
        return start;
    }
    let closes = |j: usize| {
        chars[j] == '"' && chars[j + 1..].iter().take(hashes).filter(|c| **c == '#').count() == hashes
    };
    (open + 1..chars.len()).find(|&j| closes(j)).map_or(chars.len(), |j| j + 1 + hashes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn causes(findings: Vec<Finding>) -> Vec<(String, String)> {
        findings.into_iter().map(|f| (f.file, f.cause)).collect()
    }

    fn unsafe_in(file: &str, text: &str) -> Vec<Finding> {
        unsafe_code(file, text, &code_of(text))
    }

    const KERNEL: &str = "crates/oncograph-nn/src/gemm.rs";

    #[test]
    fn unsafe_is_found_in_code_only() {
        let quiet = "// unsafe\n/* unsafe /* unsafe */ unsafe */\nlet s = \"unsafe \\\" unsafe\"; let c = '\"';\n\
                     let r = r#\"unsafe \" unsafe\"#; fn not_unsafe_at_all() {}\n#![deny(unsafe_code)]\n";
        assert_eq!(unsafe_in("crates/x/src/lib.rs", quiet), []);
        let loud = "fn f<'a>(x: &'a str) {\n    unsafe { g() }\n}\n";
        let found = unsafe_in("crates/x/src/lib.rs", loud);
        assert_eq!(found.len(), 1);
        assert_eq!(found[0].file, "crates/x/src/lib.rs:2");
        assert_eq!(unsafe_in("xtask/src/main.rs", loud).len(), 1);
        // A kernel allows `unsafe` explicitly.
        assert_eq!(unsafe_in(KERNEL, loud).len(), 1);
    }

    #[test]
    fn a_kernel_argues_for_each_use() {
        let argued = "#![allow(unsafe_code)]\n// SAFETY: in range.\nunsafe { a() }\n";
        assert_eq!(unsafe_in(KERNEL, argued), []);
        let documented = "#![allow(unsafe_code)]\n/// # Safety\n/// In range.\nunsafe fn a() {}\n";
        assert_eq!(unsafe_in(KERNEL, documented), []);
        let bare = "#![allow(unsafe_code)]\nunsafe { a() }\n";
        assert_eq!(unsafe_in(KERNEL, bare)[0].cause, "unsafe without a SAFETY comment");
    }

    #[test]
    fn traps_of_candle_are_found_where_they_are_called() {
        let file = "crates/oncograph-gnn/src/a.rs";
        let text = "// Tensor::rand\nlet a = Tensor::randn(0., 1., 3, d)?;\nlet b = x.relu()?;\nlet s = \"Var::rand\";\n";
        let found = traps(file, &code_of(text));
        let seen: Vec<_> = found.iter().map(|f| (f.file.as_str(), f.warning)).collect();
        assert_eq!(
            seen,
            [("crates/oncograph-gnn/src/a.rs:2", false), ("crates/oncograph-gnn/src/a.rs:3", false)]
        );
        // Tests may compare with them.
        assert_eq!(traps("crates/oncograph-gnn/tests/a.rs", &code_of(text)), []);
        for (call, _) in TRAPS {
            assert_eq!(traps(file, call).len(), 1, "{call}");
        }
    }

    #[test]
    fn an_operation_without_a_way_on_cuda_is_found() {
        let with = |line: &str| format!("use x;\nimpl CustomOp1 for Relu {{\n{line}}}\nimpl Relu {{\n}}\n");
        let file = "crates/oncograph-nn/src/a.rs";
        assert_eq!(without_cuda(file, &with("    crate::cuda_on_host!(CustomOp1);\n")), []);
        assert_eq!(without_cuda(file, &with("    fn cuda_fwd(&self) {}\n")), []);
        let found = without_cuda(file, &with("    fn cpu_fwd(&self) {}\n"));
        assert_eq!(found.iter().map(|f| f.file.as_str()).collect::<Vec<_>>(), [format!("{file}:2")]);
        assert_eq!(without_cuda("tests/a.rs", &with("")), []);
    }

    #[test]
    fn a_path_of_a_machine_is_found_in_any_text() {
        for folder in MACHINE {
            let path = format!("see \"/{folder}/someone/x\"");
            assert_eq!(causes(machine_paths("README.md", &path)).len(), 1, "{path}");
            let below = format!("https://x.org/{folder}/y or ../{folder}/z or $X/{folder}/q or a/{folder}/b");
            assert_eq!(machine_paths("README.md", &below), [], "{below}");
        }
        assert_eq!(machine_paths("f", "and/or, 1/2, /// docs, /usr/lib, / root /, /tmpfile/x"), []);
    }

    #[test]
    fn published_crates_read_nothing_outside() {
        let text = "fn a() {}\nlet p = \"../shared/x\";\nvar(\"ONCOGRAPH_SHARED\")\n";
        let found = outside_data("crates/oncograph-nn/tests/a.rs", text);
        assert_eq!(
            found.iter().map(|f| f.file.as_str()).collect::<Vec<_>>(),
            ["crates/oncograph-nn/tests/a.rs:2", "crates/oncograph-nn/tests/a.rs:3"]
        );
        assert_eq!(outside_data("tests/src/lib.rs", text), []);
    }

    #[test]
    fn a_long_file_is_a_warning() {
        let found = check("crates/x/src/a.rs", &"let x = 1;\n".repeat(LONG + 1));
        assert!(found.len() == 1 && found[0].warning);
        assert_eq!(check("crates/x/src/a.rs", &"let x = 1;\n".repeat(LONG)), []);
        assert_eq!(check("CHANGELOG.md", &"x\n".repeat(2 * LONG)), []);
    }

    #[test]
    fn blanking_keeps_lines_and_lifetimes() {
        let text = "a \"b\nc\" 'd' '\\'' &'a r#type r\"e\" f";
        let code = code_of(text);
        assert_eq!(code.lines().count(), text.lines().count());
        assert_eq!(code.split_whitespace().collect::<Vec<_>>(), ["a", "&'a", "r#type", "f"]);
    }
}
