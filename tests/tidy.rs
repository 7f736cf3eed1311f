//! The architecture's rules about the source text, as docs/architecture.md states them. Clippy and the compiler hold
//! the others.

#![allow(clippy::unwrap_used)]

use std::fmt::Write;
use std::path::{Path, PathBuf};

/// Modules in reading order. A module may use those of the lines above and of its own line.
const LEVELS: &[&[&str]] = &[
    &["catalog"],
    &["findings"],
    &["casts", "layout", "projection", "desired", "sql"],
    &["resolve", "diff"],
    &["plan", "audit", "replay", "verify"],
    &["config", "pg", "ledger", "state"],
    &["exec"],
    &["demo"],
    &["ui", "console", "cli"],
];

/// Same inputs, same outputs: no clock, environment, file, network, or order of a hash table.
const PURE: &[&str] = &[
    "catalog",
    "desired",
    "findings",
    "casts",
    "layout",
    "projection",
    "resolve",
    "diff",
    "sql",
    "plan",
    "audit",
    "replay",
    "verify",
    "pg/pgoutput",
    "exec/next",
];

const EFFECTS: &[&str] = &[
    "tokio",
    "rusqlite",
    "rustls",
    "futures_util",
    "indicatif",
    "HashMap",
    "HashSet",
    "RandomState",
    "Instant",
    "SystemTime",
    "std::fs",
    "std::env",
    "std::net",
    "std::process",
    "std::thread",
    "std::sync::Mutex",
    "rand::rng",
];

const LINES_MAX: usize = 500;

/// Files that are still too long. Only ever shortened.
const TOO_LONG: &[&str] = &[];

struct Source {
    /// From the root of the package, such as `src/plan/op.rs`.
    path: String,
    /// Everything.
    text: String,
}

impl Source {
    /// The code that ships: without comments, and without the tests at the end.
    fn code(&self) -> String {
        let end = self.text.find("#[cfg(test)]\nmod tests {").unwrap_or(self.text.len());
        self.text[..end].lines().map(without_comment).collect::<Vec<_>>().join("\n")
    }

    /// `plan/op` for `src/plan/op.rs`, nothing for other directories.
    fn module_path(&self) -> Option<&str> {
        self.path.strip_prefix("src/")?.strip_suffix(".rs")
    }

    fn module(&self) -> Option<&str> {
        self.module_path()?.split('/').next()
    }

    fn is_test(&self) -> bool {
        self.path.starts_with("tests/") || self.path.ends_with("_tests.rs")
    }

    fn is_pure(&self) -> bool {
        self.module_path().is_some_and(|path| {
            PURE.iter().any(|pure| path.strip_prefix(pure).is_some_and(|rest| rest.is_empty() || rest.starts_with('/')))
        })
    }
}

fn without_comment(line: &str) -> &str {
    match line.trim_start().starts_with("//") {
        true => "",
        false => line.split(" // ").next().unwrap(),
    }
}

fn sources() -> Vec<Source> {
    fn collect(dir: &Path, found: &mut Vec<PathBuf>) {
        for entry in std::fs::read_dir(dir).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                collect(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = Vec::new();
    collect(&root.join("src"), &mut paths);
    collect(&root.join("tests"), &mut paths);
    paths.sort();
    let read = |path: PathBuf| Source {
        path: path.strip_prefix(root).unwrap().to_str().unwrap().to_owned(),
        text: std::fs::read_to_string(&path).unwrap(),
    };
    let sources: Vec<Source> = paths.into_iter().map(read).collect();
    assert!(sources.len() > 100, "only {} files found", sources.len());
    sources
}

/// Fails with all offences at once.
#[track_caller]
fn none(rule: &str, offences: impl IntoIterator<Item = String>) {
    let mut text = String::new();
    for offence in offences {
        writeln!(text, "  {offence}").unwrap();
    }
    assert!(text.is_empty(), "{rule}:\n{text}");
}

fn contains_word(text: &str, word: &str) -> bool {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_');
    text.match_indices(word)
        .any(|(at, _)| !is_part(text[..at].chars().next_back()) && !is_part(text[at + word.len()..].chars().next()))
}

fn level(module: &str) -> Option<usize> {
    LEVELS.iter().position(|modules| modules.contains(&module))
}

fn used_modules(code: &str) -> Vec<String> {
    let name = |text: &str| text.chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect::<String>();
    let mut used = Vec::new();
    for (at, start) in code.match_indices("crate::") {
        let rest = &code[at + start.len()..];
        match rest.strip_prefix('{') {
            // `use crate::{a::X, b::Y}`: nested braces hold names of one module.
            Some(group) => {
                let mut depth = 1;
                let mut item = String::new();
                for c in group.chars() {
                    match c {
                        '{' => depth += 1,
                        '}' => depth -= 1,
                        _ => {}
                    }
                    if depth == 0 || (depth == 1 && c == ',') {
                        used.push(name(item.trim()));
                        item.clear();
                    } else {
                        item.push(c);
                    }
                    if depth == 0 {
                        break;
                    }
                }
            }
            None => used.push(name(rest)),
        }
    }
    used.retain(|name| !name.is_empty());
    used
}

#[test]
fn the_scanner_sees_what_it_should() {
    let code = "use crate::plan::Op;\nuse crate::{catalog::{Ident, Table}, pg};\nlet x = crate::sql::ident(y);";
    assert_eq!(used_modules(code), ["plan", "catalog", "pg", "sql"]);
    assert!(contains_word("use std::time::Instant;", "Instant") && !contains_word("Instantly", "Instant"));
    assert_eq!(without_comment("  /// HashMap"), "");
}

#[test]
fn modules_use_only_those_above_them() {
    let offences = sources().into_iter().filter(|source| !source.is_test()).flat_map(|source| {
        let module = source.module().unwrap().to_owned();
        used_modules(&source.code()).into_iter().filter_map(move |used| {
            // `crate::Type` and the crate's root files.
            let (Some(from), Some(to)) = (level(&module), level(&used)) else { return None };
            (to > from).then(|| format!("{} uses {used}", source.path))
        })
    });
    none("a module may use only modules above it", offences);
}

#[test]
fn every_module_has_a_level() {
    let offences = sources().into_iter().filter_map(|source| {
        let module = source.module()?;
        (!["lib", "main"].contains(&module) && level(module).is_none()).then(|| source.path.clone())
    });
    none("every module has its place in LEVELS", offences);
}

#[test]
fn pure_modules_have_no_effects() {
    let offences = sources().into_iter().filter(|source| source.is_pure() && !source.is_test()).flat_map(|source| {
        let code = source.code();
        EFFECTS
            .iter()
            .filter(|effect| contains_word(&code, effect))
            .map(|effect| format!("{}: {effect}", source.path))
            .collect::<Vec<_>>()
    });
    none("no clock, environment, file, network or hash table in a pure module", offences);
}

/// Clippy holds the types and functions; this holds that nobody removes the attribute.
#[test]
fn pure_modules_deny_the_types_of_effects() {
    let deny = "#![deny(clippy::disallowed_types, clippy::disallowed_methods)]";
    let roots = sources().into_iter().filter(|source| {
        source.module_path().is_some_and(|path| PURE.contains(&path.strip_suffix("/mod").unwrap_or(path)))
    });
    none("every pure module starts with the attribute", roots.filter(|root| !root.text.contains(deny)).map(|r| r.path));
}

#[test]
fn stored_state_knows_no_op() {
    let offences = sources().into_iter().filter(|source| matches!(source.module(), Some("state" | "ledger" | "pg")));
    let offences = offences.filter(|source| {
        let code = source.code();
        ["plan::op", "plan::Op", "plan::Step,", "plan::Step;", "Op::"].iter().any(|name| code.contains(name))
            || (source.module() == Some("pg") && used_modules(&code).iter().any(|used| used == "plan"))
    });
    none("state and ledger hold ids and positions; pg knows no plan", offences.map(|source| source.path));
}

#[test]
fn only_sql_quotes() {
    let offences = sources().into_iter().filter(|source| !source.is_test()).filter(|source| {
        let code = source.code();
        // The form in which addresses are printed and read is not SQL.
        let allowed = source.module() == Some("sql") || source.path == "src/catalog/name.rs";
        !allowed && (code.contains(r#".replace('"', "\"\"")"#) || code.contains(r#".replace('\'', "''")"#))
    });
    none("names and literals are quoted in sql/ only", offences.map(|source| source.path));
}

#[test]
fn only_the_terminal_prints() {
    let offences = sources().into_iter().filter(|source| !source.is_test()).flat_map(|source| {
        if matches!(source.module(), Some("ui" | "cli")) {
            return Vec::new();
        }
        let code = source.code();
        ["print!", "println!", "eprint!", "eprintln!", "io::stdout", "io::stderr"]
            .iter()
            .filter(|printer| code.contains(*printer))
            .map(|printer| format!("{}: {printer}", source.path))
            .collect()
    });
    none("only ui and cli print", offences);
}

#[test]
fn only_the_command_line_knows_exit_codes() {
    let offences = sources().into_iter().filter(|source| !source.is_test()).filter(|source| {
        let code = source.code();
        source.module() != Some("cli")
            && source.path != "src/main.rs"
            && (contains_word(&code, "ExitCode") || code.contains("process::exit"))
    });
    none("exit codes are decided in cli", offences.map(|source| source.path));
}

#[test]
fn files_are_short() {
    let sources = sources();
    let long = |path: &str| sources.iter().any(|source| source.path == path && source.text.lines().count() > LINES_MAX);
    let offences = sources.iter().filter(|source| long(&source.path) && !TOO_LONG.contains(&source.path.as_str()));
    none("a file has at most 500 lines", offences.map(|source| source.path.clone()));
    none(
        "a file that has become short enough leaves TOO_LONG",
        TOO_LONG.iter().filter(|path| !long(path)).map(|path| (*path).to_owned()),
    );
}

#[test]
fn mod_files_hold_no_logic() {
    let items = ["fn ", "struct ", "enum ", "impl ", "impl<", "trait ", "macro_rules!"];
    let offences = sources().into_iter().filter(|source| source.path.starts_with("src/")).filter_map(|source| {
        let thin = source.path.ends_with("/mod.rs") || source.path == "src/lib.rs";
        let code = source.code();
        let line = code.lines().find(|line| {
            let line = line.trim_start();
            let line = line.strip_prefix("pub ").or_else(|| line.strip_prefix("pub(crate) ")).unwrap_or(line);
            let line = line.strip_prefix("async ").unwrap_or(line);
            items.iter().any(|item| line.starts_with(item))
        })?;
        thin.then(|| format!("{}: {line}", source.path))
    });
    none("a mod.rs declares and re-exports", offences);
}

#[test]
fn main_is_short() {
    let lines = sources().into_iter().find(|source| source.path == "src/main.rs").unwrap().text.lines().count();
    assert!(lines <= 30, "{lines} lines");
}

#[test]
fn names_say_what_is_inside() {
    let vague = ["util", "utils", "helper", "helpers", "common", "misc", "manager", "handler", "service"];
    let offences = sources().into_iter().filter(|source| {
        // A libpq service file is called so by libpq.
        source.path != "src/config/service.rs"
            && source
                .path
                .trim_end_matches(".rs")
                .split('/')
                .any(|part| part.split('_').any(|word| vague.contains(&word)))
    });
    none("a file is named after what is in it", offences.map(|source| source.path));
}

#[test]
fn no_test_is_switched_off() {
    let offences = sources().into_iter().filter(|source| {
        source.path != "tests/tidy.rs" && (source.text.contains("#[ignore") || source.text.contains("#[should_panic"))
    });
    none("a test runs, or is deleted; panics are compared as values", offences.map(|source| source.path));
}

#[test]
fn the_top_level_is_small() {
    let allowed = [
        "Cargo.toml",
        "Cargo.lock",
        "src",
        "grammar",
        "plans",
        "tests",
        "snapshots",
        "dev",
        "docs",
        "README.md",
        "LICENSE",
    ];
    let offences = std::fs::read_dir(env!("CARGO_MANIFEST_DIR")).unwrap().filter_map(|entry| {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let tool = name.starts_with('.') || name == "rustfmt.toml" || name == "target";
        (!tool && !allowed.contains(&name.as_str()) && !name.ends_with(".sqlite3")).then_some(name)
    });
    none("the top level holds what docs/architecture.md lists", offences);
}

/// A reviewer can read an example of everything that a plan can hold.
#[test]
fn every_op_is_in_some_plan() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let op = std::fs::read_to_string(root.join("src/plan/op.rs")).unwrap();
    let body = op.split("pub enum Op {").nth(1).unwrap().split("\n}").next().unwrap();
    let names: Vec<String> = body
        .lines()
        .filter_map(|line| line.trim().split_once('('))
        .filter(|(name, _)| name.chars().all(char::is_alphanumeric))
        .map(|(name, _)| snake(name))
        .collect();
    assert!(names.len() > 20, "{names:?}");
    let mut plans = String::new();
    for case in std::fs::read_dir(root.join("plans")).unwrap() {
        let path = case.unwrap().path().join("plan.json.snap");
        if path.exists() {
            plans += &std::fs::read_to_string(path).unwrap();
        }
    }
    none(
        "every op occurs in some case of plans/",
        names.into_iter().filter(|name| !plans.contains(&format!("\"{name}\""))),
    );
}

fn snake(name: &str) -> String {
    let mut snake = String::new();
    for (n, c) in name.char_indices() {
        if c.is_uppercase() && n > 0 {
            snake.push('_');
        }
        snake.extend(c.to_lowercase());
    }
    snake
}

/// A defect that was seen once is listed with the tests that would see it again.
#[test]
fn every_known_defect_has_a_test_or_a_reason() {
    let page = std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/defects.md")).unwrap();
    let sources = sources();
    let is_test = |file: &str, name: &str| {
        let found = sources.iter().find(|source| source.path == file).and_then(|source| {
            let before = source.text.split(&format!("fn {name}(")).next().filter(|text| *text != source.text)?;
            before.rsplit('\n').nth(1).map(|line| line.trim().starts_with("#[test]") || line.contains("#[tokio::test"))
        });
        found == Some(true)
    };
    let mut offences = Vec::new();
    let numbered = [("B", 40), ("M", 8), ("S", 10)];
    for id in numbered.iter().flat_map(|(letter, last)| (1..=*last).map(move |n| format!("{letter}{n}"))) {
        let rows: Vec<&str> = page.lines().filter(|line| line.starts_with(&format!("| {id} |"))).collect();
        let [row] = rows[..] else {
            offences.push(format!("{id} stands {} times in docs/defects.md", rows.len()));
            continue;
        };
        let named: Vec<_> = row.split('`').skip(1).step_by(2).filter_map(|text| text.rsplit_once("::")).collect();
        offences.extend(
            named
                .iter()
                .filter(|(file, name)| !is_test(file, name))
                .map(|(file, name)| format!("{id}: {file}::{name}")),
        );
        if named.is_empty() && !row.contains("Cannot occur: ") {
            offences.push(format!("{id} has neither a test nor a reason"));
        }
    }
    none("every defect of docs/defects.md has tests that exist, or a reason why it cannot occur", offences);
}
