//! `cargo bench --bench scale`: how the time of reading, planning and rendering grows with the number of tables, and the
//! memory that it takes.

#![allow(clippy::unwrap_used, clippy::print_stdout)]

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use pcrd::catalog::{Catalog, Ident, QualifiedName, Table};
use pcrd::desired::render::desired_sql;
use pcrd::desired::sql::read;
use pcrd::plan::render::{Detail, document, markdown, text};
use pcrd::plan::{self, Input, PlanFile, Settings};
use pcrd::resolve::{ResolveOptions, resolve};

const TABLES: [usize; 4] = [125, 250, 500, 1_000];
const COLUMNS: usize = 50;

/// A catalog of this many tables, made of the one table of a worked plan.
fn source(tables: usize) -> Catalog {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/plans/narrowing_cast/source.json");
    let mut catalog: Catalog = serde_json::from_str(&std::fs::read_to_string(path).unwrap()).unwrap();
    let (name, table) = catalog.tables.pop_first().unwrap();
    for n in 0..tables {
        let name = QualifiedName { schema: name.schema.clone(), name: Ident::new(format!("t{n}")).unwrap() };
        catalog.tables.insert(name, wide(&table, n));
    }
    catalog
}

fn wide(table: &Table, n: usize) -> Table {
    let mut table = table.clone();
    let last = table.columns.last().unwrap().clone();
    for column in table.columns.len()..COLUMNS {
        let mut more = last.clone();
        more.name = Ident::new(format!("column_{column}")).unwrap();
        table.columns.push(more);
    }
    // Names of keys and indexes are those of relations.
    let renamed = |old: &Ident| Ident::new(format!("t{n}_{}", old.as_str())).unwrap();
    table.indexes = table.indexes.iter().map(|(name, index)| (renamed(name), index.clone())).collect();
    for index in table.indexes.values_mut() {
        index.constraint = index.constraint.as_ref().map(renamed);
    }
    table.constraints = table.constraints.iter().map(|(name, one)| (renamed(name), one.clone())).collect();
    for constraint in table.constraints.values_mut() {
        constraint.index = constraint.index.as_ref().map(renamed);
    }
    if let Some(key) = &mut table.primary_key {
        key.name = renamed(&key.name);
    }
    table
}

fn config(tables: usize) -> String {
    let ends = "source: {host: localhost, database: shop, user: app}\n\
                target: {host: localhost, port: 5433, database: shop, user: app}\nmigrate:\n  tables:\n";
    let table = |n| format!("    - name: t{n}\n      columns:\n        value: {{type: integer, not_null: true}}\n");
    format!("{ends}{}", (0..tables).map(table).collect::<String>())
}

fn settings(config: &pcrd::config::Config) -> Settings {
    Settings {
        slot: config.migrate.slot.clone(),
        publication: config.migrate.publication.clone(),
        batch_size: 10_000,
        batch_size_is_cap: false,
        workers: None,
        max_rows_per_second: None,
        max_bytes_per_second: None,
        comparison: Default::default(),
        throttle: Default::default(),
        lag_threshold_bytes: 1,
        sequence_buffer: 1_000,
        lag_drain_timeout_s: 300,
        fence_timeout_ms: 10_000,
        session: BTreeMap::new(),
        on_ddl: pcrd::plan::OnDdl::Stop,
        cutover: Default::default(),
    }
}

fn timed<T>(times: &mut Vec<(&'static str, Duration)>, what: &'static str, work: impl FnOnce() -> T) -> T {
    let start = Instant::now();
    let made = work();
    times.push((what, start.elapsed()));
    made
}

/// Highest resident memory of the process so far.
fn peak_mb() -> u64 {
    let text = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = text.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse::<u64>().unwrap() / 1_000
}

fn main() {
    let target = concat!(env!("CARGO_MANIFEST_DIR"), "/plans/narrowing_cast/target.json");
    let target: Catalog = serde_json::from_str(&std::fs::read_to_string(target).unwrap()).unwrap();
    println!("| tables of {COLUMNS} columns | what | ms |\n|---|---|---|");
    for tables in TABLES {
        let source = source(tables);
        let text_of_config = config(tables);
        let config = pcrd::config::parse("pcrd.config.yml", &text_of_config).unwrap();
        let mut times = Vec::new();
        let schema = desired_sql(&source);
        println!("| {tables} | KB of SQL | {} |", schema.len() / 1_000);
        timed(&mut times, "parse", || assert!(read(&schema).problems.is_empty()));
        let options = ResolveOptions { config_text: text_of_config, ..ResolveOptions::default() };
        let resolved = timed(&mut times, "resolve", || {
            resolve(&config.migrate.desired, &source, &target, &options).unwrap_or_else(|errors| panic!("{errors:?}"))
        });
        let inputs = [Input { name: "pcrd.config.yml".to_owned(), sha256: config.digest.clone() }];
        let made = timed(&mut times, "plan", || plan::build(&resolved, &settings(&config), &inputs).unwrap());
        let shown = timed(&mut times, "document", || document(&made, None));
        timed(&mut times, "text", || text(&shown, &made, Detail::Everything));
        timed(&mut times, "markdown", || markdown(&shown, &made));
        println!("| {tables} | peak MB until here | {} |", peak_mb());
        let json = timed(&mut times, "write", || plan::to_json(&PlanFile { plan: made, evidence: None }));
        timed(&mut times, "read and check", || plan::read(&json).unwrap());
        let total: Duration = times.iter().map(|(_, time)| *time).sum();
        for (what, time) in times.iter().chain([&("in all", total)]) {
            println!("| {tables} | {what} | {:.0} |", time.as_secs_f64() * 1_000.0);
        }
    }
}
