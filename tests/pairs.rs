//! Every file of `tests/pairs/` is a source, the schema that is wanted of it, and the ALTERs that would have done it by
//! hand. Each is planned from its SQL, run between two servers, and compared with both. No Rust per case.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};

use pcrd::catalog::{Catalog, ReplicaIdentity, Table};
use pcrd::diff::differences;
use pcrd::pg::{client, introspect};
use tokio_postgres::Client;

use crate::support::{TestPair, connect_to, run, sorted_copy};

/// What a file says.
#[derive(Debug, Default)]
struct Case {
    name: String,
    /// What it is about: the words behind `-- kinds:` in the first line.
    kinds: Vec<String>,
    source: String,
    desired: String,
    /// What the target is to look like, where a directive or the source's names make it another than `desired`.
    direct: String,
    by_hand: String,
    config: String,
    refused: Vec<String>,
}

fn cases() -> Vec<Case> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pairs");
    let mut files: Vec<PathBuf> = std::fs::read_dir(root).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let only = std::env::var("PCRD_PAIR").unwrap_or_default();
    let cases = files.iter().map(|path| case(path));
    cases.filter(|case| only.split(',').any(|part| case.name.contains(part))).collect()
}

fn case(path: &Path) -> Case {
    let mut case = Case { name: path.file_stem().unwrap().to_string_lossy().into_owned(), ..Case::default() };
    let text = std::fs::read_to_string(path).unwrap();
    let first = text.lines().next().and_then(|line| line.strip_prefix("-- kinds: "));
    let (kinds, about) = first.and_then(|line| line.split_once(". ")).unwrap_or_default();
    assert!(!about.is_empty(), "{}: the first line is `-- kinds: one, two. What it shows.`", case.name);
    case.kinds = kinds.split(", ").map(str::to_owned).collect();
    let mut section = "";
    for line in text.lines() {
        if let Some(name) = line.strip_prefix("-- [").and_then(|rest| rest.strip_suffix(']')) {
            section = ["source", "desired", "direct", "by hand", "config", "refused"]
                .into_iter()
                .find(|known| *known == name)
                .unwrap_or_else(|| panic!("{}: no section [{name}]", path.display()));
            continue;
        }
        let into = match section {
            "source" => &mut case.source,
            "desired" => &mut case.desired,
            "direct" => &mut case.direct,
            "by hand" => &mut case.by_hand,
            "config" => &mut case.config,
            "refused" => {
                case.refused.extend(Some(line.trim_start_matches("-- ").to_owned()).filter(|line| !line.is_empty()));
                continue;
            }
            _ => continue,
        };
        into.push_str(line);
        into.push('\n');
    }
    assert!(!case.source.is_empty() && !case.desired.is_empty(), "{}: nothing to do", case.name);
    assert!(case.refused.is_empty() != case.by_hand.is_empty(), "{}: by hand, or refused", case.name);
    case
}

/// Every kind of change that a desired schema can ask for.
const KINDS: [&str; 40] = [
    "add",
    "array",
    "backfill",
    "check",
    "checked",
    "collation",
    "comment",
    "composite",
    "compression",
    "computed",
    "default",
    "domain",
    "drop",
    "dump",
    "enum",
    "exclude",
    "fk",
    "generated",
    "graph",
    "identity",
    "index",
    "jsonb",
    "key",
    "lossy",
    "merge",
    "move",
    "names",
    "not_null",
    "options",
    "order",
    "quoted",
    "rename",
    "sequence",
    "serial",
    "split",
    "storage",
    "table_rename",
    "unique",
    "using",
    "widen",
];

#[test]
fn every_kind_of_change_has_its_pairs() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/pairs");
    let cases: Vec<Case> = std::fs::read_dir(root).unwrap().map(|entry| case(&entry.unwrap().path())).collect();
    let (refused, accepted): (Vec<&Case>, Vec<&Case>) = cases.iter().partition(|case| !case.refused.is_empty());
    let unknown: Vec<&Case> =
        cases.iter().filter(|case| case.kinds.iter().any(|kind| !KINDS.contains(&kind.as_str()))).collect();
    assert!(unknown.is_empty(), "kinds that the list does not have: {unknown:?}");
    assert!(cases.len() >= 150, "{} pairs", cases.len());
    assert!(refused.len() >= 30, "{} refusals", refused.len());
    assert!(accepted.iter().filter(|case| case.kinds.len() >= 3).count() >= 40, "pairs of three kinds and more");
    for kind in KINDS {
        let n_cases = accepted.iter().filter(|case| case.kinds.iter().any(|own| own == kind)).count();
        assert!(n_cases >= 5, "{n_cases} accepted pairs of kind {kind}");
    }
}

struct Program {
    dir: tempfile::TempDir,
}

impl Program {
    fn new(pair: &TestPair, database: &str, case: &Case) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let end = |port: u16| format!("{{ host: 127.0.0.1, port: {port}, database: {database}, user: postgres }}");
        // What stands at the margin belongs to the top, everything else below `migrate`.
        let (below, top): (Vec<&str>, Vec<&str>) = case.config.lines().partition(|line| line.starts_with(' '));
        let config = format!(
            "source: {}\ntarget: {}\nmigrate:\n  checkpoint_db: ./state.sqlite3\n  schema: ./desired.sql\n  \
             replication_slot: pcrd_{database}\n{}\n{}\ncutover: {{ fence_timeout: 60 }}\n",
            end(pair.source.port()),
            end(pair.target.port()),
            below.join("\n"),
            top.join("\n"),
        );
        std::fs::write(dir.path().join("pcrd.config.yml"), config).unwrap();
        std::fs::write(dir.path().join("desired.sql"), &case.desired).unwrap();
        Self { dir }
    }

    fn run(&self, args: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pcrd"));
        command.current_dir(self.dir.path()).args(args).stdin(Stdio::null());
        for name in ["FAILPOINTS", "PGPASSWORD", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE"] {
            command.env_remove(name);
        }
        command.output().unwrap()
    }
}

fn said(output: &Output) -> String {
    format!("{}{}", String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr))
}

async fn catalog(conninfo: &pcrd::pg::conninfo::Conninfo) -> Catalog {
    let client = client::connect(conninfo, "test").await.unwrap();
    introspect::catalog(&client).await.unwrap()
}

/// All rows of every table, columns in the order of these tables.
async fn rows(client: &Client, tables: &BTreeMap<pcrd::catalog::QualifiedName, Table>) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for (name, table) in tables {
        let columns: Vec<String> = table.columns.iter().map(|column| pcrd::sql::ident(&column.name)).collect();
        let query = format!("SELECT {} FROM {}", columns.join(", "), pcrd::sql::name(name));
        let rows = sorted_copy(client, &query).await;
        all.insert(name.to_string(), String::from_utf8_lossy(&rows).into_owned());
    }
    all
}

async fn create(client: &Client, database: &str) {
    run(client, &format!("CREATE DATABASE {database} TEMPLATE template0")).await;
}

/// Runs one case; the error says what is not as it should be.
async fn try_case(pair: &TestPair, number: usize, case: &Case) -> Result<(), String> {
    let (database, direct, by_hand) = (format!("case{number}"), format!("direct{number}"), format!("byhand{number}"));
    let (source, target) = (connect_to(&pair.source, "postgres").await, connect_to(&pair.target, "postgres").await);
    create(&source, &database).await;
    create(&source, &by_hand).await;
    create(&target, &database).await;
    create(&target, &direct).await;
    let own = connect_to(&pair.source, &database).await;
    own.batch_execute(&case.source).await.map_err(|error| format!("[source] {error:?}"))?;
    let prerequisites: String = case
        .desired
        .split_inclusive(";\n")
        .filter(|statement| {
            let code: Vec<&str> = statement.lines().filter(|line| !line.starts_with("--")).collect();
            let code = code.join(" ").trim_start().to_uppercase();
            ["CREATE TYPE", "CREATE DOMAIN", "CREATE EXTENSION"].iter().any(|kind| code.starts_with(kind))
        })
        .collect();
    let there = connect_to(&pair.target, &database).await;
    there.batch_execute(&prerequisites).await.map_err(|error| format!("[desired] types: {error:?}"))?;
    let program = Program::new(pair, &database, case);
    let before_catalog = catalog(&pair.source.conninfo(&database)).await;
    let before = rows(&own, &before_catalog.tables).await;
    let plan = program.run(&["plan", "--out", "plan.json"]);
    if !case.refused.is_empty() {
        let text = said(&plan);
        if plan.status.success() {
            return Err(format!("not refused:\n{text}"));
        }
        let flat = |text: &str| {
            text.replace(['│', '╰', '╭', '─', '×', '├', '▶', '·'], " ").split_whitespace().collect::<Vec<_>>().join(" ")
        };
        let missing: Vec<&String> = case.refused.iter().filter(|wanted| !flat(&text).contains(&flat(wanted))).collect();
        if !missing.is_empty() {
            return Err(format!("refused, but without {missing:?}:\n{text}"));
        }
        if program.dir.path().join("plan.json").exists() {
            return Err("a refused plan was written".to_owned());
        }
        return Ok(());
    }
    if !plan.status.success() {
        return Err(format!("no plan:\n{}", said(&plan)));
    }
    let apply = program.run(&["--json", "apply", "plan.json", "--yes", "--through", "cutover"]);
    if !apply.status.success() {
        return Err(format!("{}\nnot applied:\n{}", said(&plan), said(&apply)));
    }
    let other = connect_to(&pair.target, &direct).await;
    let ddl = if case.direct.is_empty() { &case.desired } else { &case.direct };
    other.batch_execute(ddl).await.map_err(|error| format!("[desired] {error:?}"))?;
    let wanted = catalog(&pair.target.conninfo(&direct)).await;
    let got = catalog(&pair.target.conninfo(&database)).await;
    same_structure(&wanted, &got).map_err(|what| format!("{}\n{what}", said(&plan)))?;
    let hand = connect_to(&pair.source, &by_hand).await;
    hand.batch_execute(&case.source).await.map_err(|error| format!("[source] again: {error:?}"))?;
    hand.batch_execute(&case.by_hand).await.map_err(|error| format!("[by hand] {error:?}"))?;
    let (migrated, altered) = (rows(&there, &wanted.tables).await, rows(&hand, &wanted.tables).await);
    if migrated != altered {
        return Err(format!("{}\nmigrated: {migrated:#?}\nby hand: {altered:#?}", said(&plan)));
    }
    let again = program.run(&["plan"]);
    if !again.status.success() || !said(&again).contains("No changes.") {
        return Err(format!("the second plan is not empty:\n{}", said(&again)));
    }
    let after_catalog = catalog(&pair.source.conninfo(&database)).await;
    if rows(&own, &after_catalog.tables).await != before {
        return Err("rows of the source have changed".to_owned());
    }
    let structure = |catalog: &Catalog| -> BTreeMap<_, Table> {
        let without_fence = |table: &Table| Table { triggers: BTreeMap::new(), ..table.structure() };
        catalog.tables.iter().map(|(name, table)| (name.clone(), without_fence(table))).collect()
    };
    if structure(&before_catalog) != structure(&after_catalog) {
        return Err("the structure of the source has changed".to_owned());
    }
    Ok(())
}

fn same_structure(wanted: &Catalog, got: &Catalog) -> Result<(), String> {
    let names = |catalog: &Catalog| catalog.tables.keys().map(ToString::to_string).collect::<BTreeSet<_>>();
    if names(wanted) != names(got) {
        return Err(format!("tables {:?} instead of {:?}", names(got), names(wanted)));
    }
    for (name, table) in &wanted.tables {
        let found = differences(name, table, &got.tables[name]);
        if !found.is_empty() {
            return Err(format!("{name} is not as wanted: {found:#?}"));
        }
        let plain = |table: &Table| Table { replica_identity: ReplicaIdentity::Default, stats: None, ..table.clone() };
        if plain(table) != plain(&got.tables[name]) {
            return Err(format!("{name}: {:#?}\ninstead of {:#?}", plain(&got.tables[name]), plain(table)));
        }
    }
    if wanted.sequences != got.sequences {
        return Err(format!("sequences {:#?}\ninstead of {:#?}", got.sequences, wanted.sequences));
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 4)]
async fn every_pair_comes_out_as_by_hand() {
    let cases = cases();
    assert!(!cases.is_empty(), "no case of this name");
    let settings = [("fsync", "off"), ("max_replication_slots", "50"), ("max_wal_senders", "50")];
    let pair = TestPair::start_with(15, 15, &settings);
    let next = AtomicUsize::new(0);
    let worker = async || {
        let mut failed = Vec::new();
        loop {
            let number = next.fetch_add(1, Ordering::Relaxed);
            let Some(case) = cases.get(number) else { return failed };
            if let Err(why) = try_case(&pair, number, case).await {
                failed.push(format!("{}: {why}", case.name));
            }
            // A slot that nobody reads keeps WAL and a place.
            let source = connect_to(&pair.source, "postgres").await;
            let slots = format!(
                "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE slot_name = 'pcrd_case{number}' AND NOT active"
            );
            run(&source, &slots).await;
        }
    };
    let (one, two, three, four) = tokio::join!(worker(), worker(), worker(), worker());
    let failed: Vec<String> = one.into_iter().chain(two).chain(three).chain(four).collect();
    assert!(failed.is_empty(), "{} of {} pairs:\n\n{}", failed.len(), cases.len(), failed.join("\n\n"));
}
