//! How long each test program of `cargo test` took.
//!
//! Cargo announces a program before it starts it, on standard error; the program lasts until the next announcement.
//! That is also right for a program that is killed, and counts the compilation of documentation tests.

use std::path::Path;
use std::time::{Duration, Instant};

/// How many programs [`Times::print`] names.
const SLOWEST: usize = 10;

/// The programs that have ended and the one that runs.
#[derive(Debug, Default)]
pub struct Times {
    running: Option<(String, Instant)>,
    ended: Vec<(String, Duration)>,
}

impl Times {
    /// Reads a line of cargo's, which arrived `now`.
    pub fn add(&mut self, line: &str, now: Instant) {
        if let Some(name) = announced(line) {
            self.end(now);
            self.running = Some((name, now));
        }
    }

    /// The last program ended `now`.
    pub fn end(&mut self, now: Instant) {
        self.ended.extend(self.running.take().map(|(name, since)| (name, now.duration_since(since))));
    }

    /// Prints the slowest programs, the slowest first.
    pub fn print(&self) {
        for (name, time) in self.slowest() {
            println!("{:8.1} s  {name}", time.as_secs_f64());
        }
    }

    fn slowest(&self) -> Vec<&(String, Duration)> {
        let mut programs: Vec<_> = self.ended.iter().collect();
        programs.sort_by_key(|(_, time)| std::cmp::Reverse(*time));
        programs.truncate(SLOWEST);
        programs
    }
}

/// The program that the line announces: `Running tests/a.rs (target/debug/deps/a-0123456789abcdef)` or `Doc-tests a`.
fn announced(line: &str) -> Option<String> {
    let line = line.trim();
    if let Some(name) = line.strip_prefix("Doc-tests ") {
        return Some(format!("{name} (doc tests)"));
    }
    let (source, program) = line.strip_prefix("Running ")?.strip_suffix(')')?.split_once(" (")?;
    let stem = Path::new(program).file_stem()?.to_str()?;
    let name = stem.rsplit_once('-').map_or(stem, |(name, _)| name);
    Some(format!("{name} ({source})"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_lasts_until_the_next_and_the_slowest_is_first() {
        let start = Instant::now();
        let mut times = Times::default();
        let lines = [
            (0, "   Compiling a v0.1.0"),
            (5, "     Running unittests src/lib.rs (target/debug/deps/a-0123456789abcdef)"),
            (6, "skip x: Running is no announcement"),
            (8, "     Running tests/b.rs (target/debug/deps/b_c-0123456789abcdef)"),
            (20, "   Doc-tests a"),
        ];
        for (second, line) in lines {
            times.add(line, start + Duration::from_secs(second));
        }
        times.end(start + Duration::from_secs(21));
        let seen: Vec<_> = times.slowest().into_iter().map(|(n, t)| (n.as_str(), t.as_secs())).collect();
        assert_eq!(seen, [("b_c (tests/b.rs)", 12), ("a (unittests src/lib.rs)", 3), ("a (doc tests)", 1)]);
    }

    #[test]
    fn ten_are_named() {
        let start = Instant::now();
        let mut times = Times::default();
        (0..15).for_each(|i| times.add("Doc-tests a", start + Duration::from_secs(i * i)));
        times.end(start + Duration::from_secs(15 * 15));
        let seen: Vec<_> = times.slowest().into_iter().map(|(_, time)| time.as_secs()).collect();
        assert_eq!(seen, [29, 27, 25, 23, 21, 19, 17, 15, 13, 11]);
    }
}
