//! The catalogue of findings: every rule is found somewhere, every finding has a rule, and the page in the docs is the
//! rules.

#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use pcrd::findings::{self, ALL, Object, PREFLIGHT, Severity, page};
use pcrd::plan::{self, Plan};

/// Rules that only a desired schema in SQL, or roles of a server, can bring up, and the tests that accept their findings.
const ELSEWHERE: &[(&str, &str)] =
    &[("SEQUENCE_NEW", "tests/cli/explain.rs"), ("OWNER_NOT_CARRIED", "tests/postgres/owners_and_grants.rs")];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Snapshots of this name in the folders of `plans/`, without their heads.
fn snapshots(name: &str) -> Vec<(PathBuf, String)> {
    let mut cases: Vec<PathBuf> =
        fs::read_dir(root().join("plans")).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    let read = |case: PathBuf| {
        let text = fs::read_to_string(case.join(name)).ok()?;
        let body = text.splitn(3, "---\n").nth(2).unwrap().to_owned();
        Some((case, body))
    };
    let found: Vec<_> = cases.into_iter().filter_map(read).collect();
    assert!(!found.is_empty(), "no case has a {name}");
    found
}

fn plans() -> Vec<(PathBuf, Plan)> {
    let plans = snapshots("plan.json.snap");
    plans.into_iter().map(|(case, text)| (case, plan::read(&text).unwrap().plan)).collect()
}

/// Codes that the cases of `plans/` show: of plans, and of refusals (the line over the error).
fn shown() -> BTreeMap<String, PathBuf> {
    let mut shown = BTreeMap::new();
    for (case, plan) in plans() {
        shown.extend(plan.findings.into_iter().map(|finding| (finding.code, case.clone())));
    }
    for (case, text) in snapshots("refused.snap") {
        let is_code = |line: &&str| line.len() > 2 && line.chars().all(|c| c.is_ascii_uppercase() || c == '_');
        shown.extend(text.lines().filter(is_code).map(|code| (code.to_owned(), case.clone())));
    }
    shown
}

#[test]
fn every_rule_is_found_in_some_case_and_every_finding_has_a_rule() {
    let shown = shown();
    let known: BTreeSet<&str> = ALL.iter().map(|rule| rule.code).collect();
    let unknown: Vec<_> = shown.iter().filter(|(code, _)| !known.contains(code.as_str())).collect();
    assert!(unknown.is_empty(), "findings without a rule: {unknown:?}");
    let elsewhere = |code: &str| {
        let test = ELSEWHERE.iter().find(|(rule, _)| *rule == code).map(|(_, test)| *test);
        test.is_some_and(|test| fs::read_to_string(root().join(test)).unwrap().contains(&format!("{code}@")))
    };
    let never: Vec<_> = known.iter().filter(|code| !shown.contains_key(**code) && !elsewhere(code)).collect();
    assert!(never.is_empty(), "rules that no case of plans/ shows: {never:?}");
}

#[test]
fn every_file_of_rules_is_in_the_catalogue() {
    let files: BTreeSet<String> = fs::read_dir(root().join("src/findings/rules"))
        .unwrap()
        .map(|entry| entry.unwrap().path().file_stem().unwrap().to_str().unwrap().to_owned())
        .filter(|name| name != "mod")
        .collect();
    let rules: BTreeSet<String> = ALL.iter().map(|rule| rule.code.to_lowercase()).collect();
    assert_eq!(files, rules);
    assert_eq!(rules.len(), ALL.len(), "a rule stands twice");
    for rule in findings::every() {
        for text in [rule.title, rule.effect, rule.why, rule.instead] {
            assert!(text.len() > 6 && !text.contains("  "), "{}: {text:?}", rule.code);
        }
        assert!(
            rule.title.chars().next().unwrap().is_ascii_alphanumeric() && !rule.title.ends_with('.'),
            "{}",
            rule.code
        );
    }
}

/// The ids of the checks before `apply`, as the code has them.
#[test]
fn every_check_before_apply_is_explained_and_every_explained_check_exists() {
    let mut ids = BTreeSet::new();
    for file in ["preflight", "order", "leftover", "may_give", "renamed", "sight", "surplus"] {
        let source = fs::read_to_string(root().join(format!("src/exec/{file}.rs"))).unwrap();
        for before in ["id: ", "fail(", "tell("] {
            let literals = source.split(before).skip(1).filter_map(|rest| rest.trim_start().strip_prefix('"'));
            ids.extend(literals.map(|rest| rest.split('"').next().unwrap().to_owned()));
        }
    }
    let unknown: Vec<&String> = ids.iter().filter(|id| findings::by_code(id).is_none()).collect();
    assert!(unknown.is_empty(), "checks that nothing explains: {unknown:?}");
    let gone: Vec<&str> = PREFLIGHT.iter().map(|rule| rule.code).filter(|id| !ids.contains(*id)).collect();
    assert!(gone.is_empty(), "explained, but never checked: {gone:?}");
}

/// What a rule says of its lock is what the step of a plan says.
#[test]
fn locks_of_rules_are_those_of_steps() {
    let plans = plans();
    for rule in ALL {
        let Some(lock) = rule.lock else { continue };
        if lock.on == Object::TargetTable {
            assert_eq!(
                rule.severity,
                Severity::Info,
                "{}: nobody uses the target's tables before the switch",
                rule.code
            );
        }
        let Some(kind) = lock.step else { continue };
        let steps = plans.iter().flat_map(|(_, plan)| &plan.steps).filter(|step| step.id.kind() == kind);
        let mut n_steps = 0;
        for step in steps {
            let end = if lock.on == Object::TargetTable { plan::End::Target } else { plan::End::Source };
            let first = step.lock.first().unwrap();
            assert_eq!(
                (first.on, first.mode.as_str(), first.held.as_str()),
                (end, lock.mode, lock.held),
                "{}",
                rule.code
            );
            n_steps += 1;
        }
        assert!(n_steps > 0, "{}: no plan has a step {kind}", rule.code);
    }
}

/// Nothing that locks the target only, before the switch, asks for attention.
#[test]
fn a_lock_on_a_table_that_nobody_uses_is_no_hazard() {
    for (case, plan) in plans() {
        for finding in &plan.findings {
            let rule = findings::by_code(&finding.code).unwrap();
            let on_target = rule.lock.is_some_and(|lock| lock.on == Object::TargetTable);
            assert!(!on_target || finding.severity == Severity::Info, "{}: {}", case.display(), finding.code);
        }
    }
}

/// A plan of one simple table says three things, and a hazard is none of what every plan has for the target.
#[test]
fn a_simple_plan_stays_short() {
    let (_, plan) = plans().into_iter().find(|(case, _)| case.ends_with("narrowing_cast")).unwrap();
    let codes: Vec<&str> = plan.findings.iter().map(|finding| finding.code.as_str()).collect();
    let of_casts = codes.iter().filter(|code| code.ends_with("_CAST")).count();
    assert_eq!(codes.len() - of_casts, 3, "{codes:?}");
}

/// `INSTA_UPDATE=always` writes it.
#[test]
fn the_page_in_the_docs_is_the_rules() {
    let path = root().join("docs/findings.md");
    let page = page::markdown();
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(&path, &page).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == page, "run with INSTA_UPDATE=always");
}

#[test]
fn a_code_is_found_in_any_case_and_nearly() {
    assert_eq!(findings::by_code("deletes_data").unwrap().code, "DELETES_DATA");
    assert_eq!(findings::by_code("DELETES"), None);
    assert_eq!(findings::nearest("DELETE_DATA"), Some("DELETES_DATA"));
    assert_eq!(findings::nearest("cutover_writes_block"), Some("CUTOVER_WRITE_BLOCK"));
    assert_eq!(findings::nearest("zzzz"), None);
}
