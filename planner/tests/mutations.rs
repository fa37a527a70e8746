//! The fuzz target's run over mutated stack files, with fixed seeds: whatever is
//! read, nothing panics, and it ends soon.
#![expect(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a test may panic, read files and look at the clock"
)]

#[path = "../fuzz/pipeline.rs"]
#[expect(unreachable_pub, reason = "the fuzzer shares it")]
mod pipeline;

use std::path::Path;
use std::time::{Duration, Instant};

use stack_planner::diagnostic::CATALOG;

/// Mutated inputs of each run.
const RUNS: usize = 4_000;

/// One input must be done in this time, also in a debug build on a busy machine.
const SLOWEST: Duration = Duration::from_secs(5);

/// xorshift64*: the same numbers on every machine.
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_F491_4F6C_DD1D)
    }

    fn below(&mut self, end: usize) -> usize {
        usize::try_from(self.next() >> 33).unwrap() % end.max(1)
    }

    fn pick<'a, T: ?Sized>(&mut self, all: &[&'a T]) -> &'a T {
        all[self.below(all.len())]
    }
}

/// Texts that have a meaning somewhere.
const WORDS: &[&str] = &[
    "services:",
    "image: i",
    "- ",
    ": ",
    "  ",
    "\t",
    "&a ",
    "*a",
    "<<: *a",
    "!reset ",
    "!override ",
    "---\n",
    "${A:?}",
    "${A:-${B}}",
    "$$",
    "null",
    "~",
    "[",
    "]",
    "{",
    "}",
    "\"",
    "'",
    "|\n",
    ">-\n",
    "#",
    "extends: web",
    "include: [a.yaml]",
    "env_file: [.env]",
    "x-a: ",
    "ports: ['1-9:1-9']",
    "depends_on: [web]",
    "99999999999999999999",
    "-1",
    "1e309",
    "\u{0}",
    "\u{feff}",
    "\u{1b}[31m",
    "ä",
    "!!binary ",
    "? ",
    "%YAML 1.1\n",
    "\r\n",
    "0x1F",
    "scale: 3",
    "deploy: {replicas: 2}",
];

fn seeds() -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut paths: Vec<_> = std::fs::read_dir(folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .collect();
    paths.sort();
    let mut seeds: Vec<_> = paths
        .iter()
        .map(|path| std::fs::read(path).unwrap())
        .collect();
    for explanation in CATALOG {
        let blocks = explanation.text.split("```yaml\n").skip(1);
        seeds.extend(blocks.map(|block| block.split("```").next().unwrap().as_bytes().to_vec()));
    }
    seeds
}

fn mutate(seeds: &[Vec<u8>], numbers: &mut Numbers) -> Vec<u8> {
    let seeds: Vec<&[u8]> = seeds.iter().map(Vec::as_slice).collect();
    let mut bytes = numbers.pick(&seeds).to_vec();
    for _ in 0..=numbers.below(6) {
        let at = numbers.below(bytes.len() + 1);
        let lines: Vec<Vec<u8>> = bytes
            .split_inclusive(|byte| *byte == b'\n')
            .map(<[u8]>::to_vec)
            .collect();
        let line = numbers.below(lines.len());
        match numbers.below(9) {
            0 => bytes.insert(at, u8::try_from(numbers.below(256)).unwrap()),
            1 if at < bytes.len() => _ = bytes.remove(at),
            2 if at < bytes.len() => bytes[at] ^= 1 << numbers.below(8),
            3 => drop(bytes.splice(at..at, numbers.pick(WORDS).bytes())),
            4 if !lines.is_empty() => {
                let mut lines = lines;
                let other = numbers.below(lines.len());
                lines.swap(line, other);
                bytes = lines.concat();
            }
            5 if !lines.is_empty() => {
                let mut lines = lines;
                let copy = lines[line].clone();
                lines.insert(line, copy);
                bytes = lines.concat();
            }
            6 if !lines.is_empty() => {
                let mut lines = lines;
                lines.remove(line);
                bytes = lines.concat();
            }
            7 => bytes.truncate(at),
            _ => {
                let other = numbers.pick(&seeds);
                let from = numbers.below(other.len() + 1);
                bytes.truncate(at);
                bytes.extend_from_slice(&other[from..]);
            }
        }
    }
    bytes
}

fn timed(bytes: &[u8]) {
    let start = Instant::now();
    let outcome = std::panic::catch_unwind(|| pipeline::run(bytes));
    let text = String::from_utf8_lossy(bytes);
    assert!(outcome.is_ok(), "with this input:\n{text}");
    assert!(
        start.elapsed() < SLOWEST,
        "{:?} with this input:\n{text}",
        start.elapsed()
    );
}

#[test]
fn nothing_panics_or_hangs() {
    let seeds = seeds();
    let mut numbers = Numbers(0x9E37_79B9_7F4A_7C15);
    seeds.iter().for_each(|seed| timed(seed));
    for _ in 0..RUNS {
        timed(&mutate(&seeds, &mut numbers));
    }
}
