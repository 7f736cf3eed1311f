//! Many small tables into an empty database: pcrd and `pgcopydb clone`.

use std::fmt::Write;

use crate::backfill::pgcopydb;
use crate::machine::measure;
use crate::report::Report;
use crate::work::{Servers, configure, connect, done, pcrd, text};

const ROWS: u64 = 100;

pub(crate) async fn run(tables: u64, rounds: usize) -> Report {
    let servers = Servers::start(0).await;
    let source = connect(&servers.source, "postgres").await;
    let mut make = String::from("DROP TABLE listings, marker;");
    let mut config = String::from("\n");
    for n in 1..=tables {
        writeln!(
            make,
            "CREATE TABLE t{n} (id integer PRIMARY KEY, name text NOT NULL, price numeric(12,2), at timestamp DEFAULT now()); \
             INSERT INTO t{n} SELECT g, 'name ' || g, g, now() FROM generate_series(1, {ROWS}) AS g; \
             CREATE INDEX ON t{n} (name);"
        )
        .unwrap();
        writeln!(config, "    - name: t{n}\n      columns:\n        id: {{ type: bigint }}").unwrap();
    }
    source.batch_execute(&make).await.unwrap();
    source.batch_execute("VACUUM ANALYZE").await.unwrap();
    let mut report = Report::new("manytables", "tables", tables, "pgcopydb clone");
    report.note(format!("{tables} tables of {ROWS} rows with a key and an index; PostgreSQL 15 to 15"));
    report.note(
        "pcrd widens the keys, builds the indexes, and has a slot at its end; pgcopydb copies as it is".to_owned(),
    );
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for turn in 0..2 {
            if (round + turn) % 2 == 0 {
                with_pcrd(&servers, &mut report, &config).await;
            } else {
                servers.fresh("of_pgcopydb").await;
                let dir = tempfile::tempdir().unwrap();
                let measured = measure(&servers.source, &servers.target, &mut pgcopydb(&servers, dir.path()));
                assert_copied(&servers, "of_pgcopydb", tables).await;
                report.add("pgcopydb clone", measured);
            }
        }
    }
    report
}

async fn with_pcrd(servers: &Servers, report: &mut Report, config: &str) {
    servers.fresh("of_pcrd").await;
    let dir = tempfile::tempdir().unwrap();
    configure(dir.path(), servers, "of_pcrd", config);
    let mut command = pcrd(dir.path(), &["apply", "plan.json", "--yes", "--through", "catchup"]);
    let measured = measure(&servers.source, &servers.target, &mut command);
    assert_copied(servers, "of_pcrd", report.amount()).await;
    done(&mut pcrd(dir.path(), &["abort", "--yes"]));
    report.add("pcrd", measured);
}

async fn assert_copied(servers: &Servers, database: &str, tables: u64) {
    let target = connect(&servers.target, database).await;
    let rows = "SELECT sum((xpath('/row/n/text()', query_to_xml(format('SELECT count(*) AS n FROM %I', relname), false, true, '')))[1]::text::int) \
                FROM pg_class WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace";
    assert_eq!(text(&target, rows).await, (tables * ROWS).to_string(), "{database}");
    let indexes = "SELECT count(*) FROM pg_index AS i JOIN pg_class AS c ON c.oid = i.indexrelid WHERE relnamespace = 'public'::regnamespace";
    assert_eq!(text(&target, indexes).await, (tables * 2).to_string(), "{database}");
}
