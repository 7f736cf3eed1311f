//! Every folder of `plans/` is a case: a config and two catalogs, and what a reviewer would see of them.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};

use pcrd::catalog::Catalog;
use pcrd::config::{self, Config};
use pcrd::desired::sql::{read, written};
use pcrd::plan::render::{Detail, document, markdown, sql, text};
use pcrd::plan::{self, FenceKind, Input, Plan, PlanFile, Settings};
use pcrd::resolve::matching::match_tables;
use pcrd::resolve::{ResolveError, ResolveOptions, resolve, settle_views};

fn cases() -> Vec<PathBuf> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut cases: Vec<PathBuf> = fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    cases.sort();
    assert!(!cases.is_empty());
    cases
}

fn catalog(path: &Path) -> Catalog {
    serde_json::from_str(&fs::read_to_string(path).unwrap())
        .unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn settings(config: &Config) -> Settings {
    let session = [("TimeZone", "UTC"), ("DateStyle", "ISO, YMD"), ("extra_float_digits", "3")];
    Settings {
        slot: config.migrate.slot.clone(),
        publication: config.migrate.publication.clone(),
        batch_size: config.migrate.batch_size,
        batch_size_is_cap: config.migrate.batch_size_set,
        workers: config.migrate.workers,
        max_rows_per_second: config.migrate.max_rows_per_second,
        max_bytes_per_second: config.migrate.max_bytes_per_second,
        comparison: pcrd::plan::Comparison::default(),
        throttle: config.migrate.throttle,
        lag_threshold_bytes: config.migrate.lag_threshold_bytes,
        sequence_buffer: 1_000,
        lag_drain_timeout_s: 300,
        fence_timeout_ms: 10_000,
        session: session.map(|(name, value)| (name.to_owned(), value.to_owned())).into(),
        on_ddl: config.migrate.on_ddl,
        cutover: config.cutover.planned(),
    }
}

fn compile(case: &Path) -> Result<Plan, (String, Vec<ResolveError>)> {
    let text = fs::read_to_string(case.join("pcrd.config.yml")).unwrap();
    let config =
        config::parse("pcrd.config.yml", &text).unwrap_or_else(|errors| panic!("{}: {errors:?}", case.display()));
    let (source, target) = (catalog(&case.join("source.json")), catalog(&case.join("target.json")));
    let unfenced = Some(config.cutover.fence).filter(|fence| !fence.refuses()).map(FenceKind::word);
    let goes_back = config.cutover.reverse.is_some();
    let options = ResolveOptions { config_text: text.clone(), unfenced, goes_back, ..ResolveOptions::default() };
    let mut desired = config.migrate.desired.clone();
    if let Ok(sql) = fs::read_to_string(case.join("desired.sql")) {
        let read = read(&sql);
        assert_eq!(read.problems, [], "{}", case.display());
        let made = written(&read.schema, &target.types).unwrap();
        desired.tables.extend(match_tables(&read.schema, &made.tables, &source, false).unwrap().tables);
        desired.sequences = made.sequences;
    }
    let mut resolved = resolve(&desired, &source, &target, &options).map_err(|errors| (text, errors))?;
    settle_views(&mut resolved, None);
    let inputs = [Input { name: "pcrd.config.yml".to_owned(), sha256: config.digest.clone() }];
    Ok(plan::build(&resolved, &settings(&config), &inputs).unwrap())
}

fn refusals(text: &str, errors: Vec<ResolveError>) -> String {
    let handler = miette::GraphicalReportHandler::new_themed(miette::GraphicalTheme::unicode_nocolor()).with_width(120);
    let render = |error: ResolveError| {
        let mut out = String::new();
        let report =
            miette::Report::new(error).with_source_code(miette::NamedSource::new("pcrd.config.yml", text.to_owned()));
        handler.render_report(&mut out, report.as_ref()).unwrap();
        out
    };
    errors.into_iter().map(render).collect::<Vec<_>>().join("\n")
}

#[test]
fn every_case_shows_what_its_reviewer_would_see() {
    for case in cases() {
        let mut insta = insta::Settings::clone_current();
        insta.set_snapshot_path(&case);
        insta.set_prepend_module_to_snapshot(false);
        insta.set_omit_expression(true);
        insta.bind(|| match compile(&case) {
            Ok(plan) => {
                plan::check(&plan).unwrap();
                let file = PlanFile { plan, evidence: None };
                let json = plan::to_json(&file);
                assert_eq!(plan::read(&json).unwrap(), file, "a plan that was written can be read");
                insta::assert_snapshot!("plan.json", json);
                let document = document(&file.plan, None);
                insta::assert_snapshot!("plan.txt", text(&document, &file.plan, Detail::Everything));
                insta::assert_snapshot!("plan.sql", sql(&file.plan));
                insta::assert_snapshot!("plan.md", markdown(&document, &file.plan));
            }
            Err((text, errors)) => insta::assert_snapshot!("refused", refusals(&text, errors)),
        });
    }
}

#[test]
fn the_same_inputs_give_the_same_bytes() {
    let case = cases().into_iter().find(|case| case.ends_with("widen_id_and_pack")).unwrap();
    let json = || plan::to_json(&PlanFile { plan: compile(&case).unwrap(), evidence: None });
    assert_eq!(json(), json());
    let mut seen = BTreeMap::new();
    for step in compile(&case).unwrap().steps {
        assert!(seen.insert(step.id.clone(), ()).is_none(), "{} stands twice", step.id);
    }
}

/// Whatever byte of the reviewed part changes, the file is refused; white space is not part of it.
#[test]
fn a_plan_with_one_changed_byte_is_refused() {
    let case = cases().into_iter().find(|case| case.ends_with("narrowing_cast")).unwrap();
    let json = plan::to_json(&PlanFile { plan: compile(&case).unwrap(), evidence: None });
    let mut refused = 0;
    for place in 0..json.len() {
        let mut bytes = json.clone().into_bytes();
        bytes[place] ^= if place % 4 == 0 { 0x20 } else { 0x01 };
        let both_blank = [json.as_bytes()[place], bytes[place]].iter().all(u8::is_ascii_whitespace);
        let Ok(text) = String::from_utf8(bytes) else { continue };
        match plan::read(&text) {
            Ok(_) => {
                assert!(both_blank, "byte {place} may change unseen: {:?}", &json[place.saturating_sub(20)..=place]);
            }
            Err(_) => refused += 1,
        }
    }
    assert!(refused > json.len() / 2, "{refused} changes were refused");
}

/// A forger recomputes the digest too: statements must still be what the op renders.
#[test]
fn a_forged_statement_is_refused_with_the_difference() {
    let case = cases().into_iter().find(|case| case.ends_with("narrowing_cast")).unwrap();
    let mut plan = compile(&case).unwrap();
    let step = plan.steps.iter_mut().find(|step| step.id.0.starts_with("copy:")).unwrap();
    step.statements[1].sql.push_str(" -- and more");
    plan.id = plan::digest::id(&plan);
    let error = plan::read(&plan::to_json(&PlanFile { plan, evidence: None })).unwrap_err().to_string();
    assert!(error.contains("+Source: COPY") && error.contains("-- and more"), "{error}");
}

/// Edges are re-derived from the rules, so that a plan cannot lose one.
#[test]
fn a_removed_edge_is_refused() {
    let case = cases().into_iter().find(|case| case.ends_with("narrowing_cast")).unwrap();
    let mut plan = compile(&case).unwrap();
    for step in &mut plan.steps {
        step.after.retain(|after| !after.rule.contains("verified"));
    }
    plan.id = plan::digest::id(&plan);
    assert!(matches!(plan::check(&plan), Err(plan::CheckError::WrongEdges(step)) if step.0 == "fence"));
}

/// Whoever reviews the plan is told of every snapshot that is held for long.
#[test]
fn a_copy_by_blocks_without_its_finding_is_refused() {
    let case = cases().into_iter().find(|case| case.ends_with("copied_by_blocks")).unwrap();
    let mut plan = compile(&case).unwrap();
    plan.findings.retain(|finding| finding.address != "public.scattered");
    plan.id = plan::digest::id(&plan);
    let error = plan::check(&plan).unwrap_err().to_string();
    assert_eq!(error, "public.scattered is copied under one snapshot without the finding that says so");
}

/// The published schema is the one that the types have; `INSTA_UPDATE=always` writes it.
#[test]
fn the_schema_in_the_docs_is_the_types() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/plan.schema.json");
    let schema = format!("{}\n", serde_json::to_string_pretty(&schemars::schema_for!(PlanFile)).unwrap());
    if std::env::var("INSTA_UPDATE").is_ok_and(|update| update == "always") {
        fs::write(&path, &schema).unwrap();
    }
    assert!(fs::read_to_string(&path).unwrap() == schema, "run with INSTA_UPDATE=always");
}

/// Every rule, as a reviewer may read them: a change of order is a change of this list.
#[test]
fn the_rules_are_these() {
    let rules =
        plan::rules::all().map(|rule| format!("{:?} before {:?}: {}\n", rule.earlier, rule.later, rule.sentence));
    let mut insta = insta::Settings::clone_current();
    insta.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots"));
    insta.set_prepend_module_to_snapshot(false);
    insta.set_omit_expression(true);
    insta.bind(|| insta::assert_snapshot!("plan_rules", rules.collect::<String>()));
}
