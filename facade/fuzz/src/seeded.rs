//! The targets without a fuzzer: over the corpus, and over inputs that are made of it by chance. The chance is the
//! same each time; a failure prints its seed and the input.

use std::{
    fs,
    panic::{self, AssertUnwindSafe},
    path::{Path, PathBuf},
    time::{Duration, Instant},
};

/// How many inputs are made for a target.
const INPUTS: u64 = 4_000;

/// How long one may take here, unoptimised and on a machine that is busy. libFuzzer's limit is for the rest.
const TIME: Duration = Duration::from_secs(5);

/// The largest input that is made.
const LARGEST: usize = 8 << 10;

type Check = fn(&[u8]);

#[test]
fn any_filter_holds_what_it_must() {
    run("filter", crate::filter::check);
}

#[test]
fn any_path_holds_what_it_must() {
    run("path", crate::path::check);
}

#[test]
fn any_patch_holds_what_it_must() {
    run("patch", crate::patch::check);
}

#[test]
fn any_bulk_request_holds_what_it_must() {
    run("bulk", crate::bulk::check);
}

fn run(target: &str, check: Check) {
    let (corpus, words) = (corpus(target), dictionary(target));
    assert!(!corpus.is_empty() && !words.is_empty());
    for (file, input) in &corpus {
        one(check, input, &file.display());
    }
    for seed in 0..INPUTS {
        let input = Chance(seed).input(&corpus, &words);
        one(check, &input, &format_args!("{target}, seed {seed}"));
    }
}

fn one(check: Check, input: &[u8], what: &dyn std::fmt::Display) {
    let begun = Instant::now();
    let outcome = panic::catch_unwind(AssertUnwindSafe(|| check(input)));
    let shown = input.escape_ascii();
    assert!(outcome.is_ok(), "{what} failed, see above: {shown}");
    assert!(begun.elapsed() < TIME, "{what} took too long: {shown}");
}

fn below(folder: &str, name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join(folder)
        .join(name)
}

fn corpus(target: &str) -> Vec<(PathBuf, Vec<u8>)> {
    let entries = fs::read_dir(below("corpus", target)).unwrap();
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let read = |file: PathBuf| {
        let input = fs::read(&file).unwrap();
        (file, input)
    };
    files.into_iter().map(read).collect()
}

/// The words of a libFuzzer dictionary; its escapes are a backslash before a quote or a backslash.
fn dictionary(target: &str) -> Vec<Vec<u8>> {
    let text = fs::read_to_string(below("dictionaries", &format!("{target}.dict"))).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix('"')?.strip_suffix('"'))
        .map(|word| {
            let mut letters = word.chars();
            let mut read = String::new();
            while let Some(letter) = letters.next() {
                read.extend(if letter == '\\' {
                    letters.next()
                } else {
                    Some(letter)
                });
            }
            read.into_bytes()
        })
        .collect()
}

/// Numbers from a seed (SplitMix64), the same in every version of everything.
struct Chance(u64);

impl Chance {
    fn number(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// A number below `end`; 0 where there is none.
    fn below(&mut self, end: usize) -> usize {
        (self.number() % (end.max(1) as u64)) as usize
    }

    fn of<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        &choices[self.below(choices.len())]
    }

    /// Two places in an input, in order and not far from each other.
    fn range(&mut self, input: &[u8]) -> (usize, usize) {
        let start = self.below(input.len() + 1);
        let length = self.below(input.len() - start + 1).min(1 + self.below(64));
        (start, start + length)
    }

    /// One of the corpus, changed in one to eight places.
    fn input(&mut self, corpus: &[(PathBuf, Vec<u8>)], words: &[Vec<u8>]) -> Vec<u8> {
        let mut input = self.of(corpus).1.clone();
        for _ in 0..=self.below(8) {
            let (start, end) = self.range(&input);
            match self.below(7) {
                0 => {
                    if let Some(byte) = input.get_mut(start) {
                        *byte ^= 1 << self.below(8);
                    }
                }
                1 => {
                    input.drain(start..end);
                }
                2 => {
                    let repeated = input[start..end].repeat(1 + self.below(8));
                    input.splice(start..start, repeated);
                }
                3 => {
                    input.splice(start..end, self.of(words).clone());
                }
                4 => {
                    input.splice(start..start, self.of(words).clone());
                }
                5 => {
                    let other = &self.of(corpus).1;
                    let (from, to) = self.range(other);
                    input.splice(start..end, other[from..to].to_vec());
                }
                _ => {
                    let byte = *self.of(b"\"\\[](){},:. 0-\xc3\xff\n");
                    input.splice(start..end, [byte]);
                }
            }
        }
        input.truncate(LARGEST);
        input
    }
}
