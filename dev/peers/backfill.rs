//! One table into an empty database: pcrd, `psql COPY | psql COPY` with two streams, `pgcopydb clone`.

use std::path::Path;
use std::process::Command;

use crate::machine::measure;
use crate::report::Report;
use crate::work::{PROJECTION, Servers, WANTED, connect, done, pcrd, plan, text, uri};

pub(crate) async fn run(rows: u64, rounds: usize) -> Report {
    let servers = Servers::start(rows).await;
    let source = connect(&servers.source, "postgres").await;
    let bytes = text(&source, "SELECT pg_relation_size('listings')").await;
    let mut report = Report::new("backfill", "rows", rows, "psql, COPY to COPY");
    report.note(format!("one table of {rows} rows, {bytes} bytes on disk; PostgreSQL 15 to 15"));
    report.note("pcrd and psql convert, rename, drop, add and reorder columns, with the key in place; pgcopydb copies as it is and builds the key afterwards".to_owned());
    eprintln!("warming up");
    // What a new server does once is nobody's work: memory touched for the first time, segments of the log.
    let mut warm = Report::new("warm", "rows", rows, "");
    with_psql(&servers, &mut warm, rows).await;
    for round in 1..=rounds {
        eprintln!("round {round} of {rounds}");
        for turn in 0..3 {
            match (round + turn) % 3 {
                0 => with_pcrd(&servers, &mut report, rows).await,
                1 => with_psql(&servers, &mut report, rows).await,
                _ => with_pgcopydb(&servers, &mut report, rows).await,
            }
        }
    }
    report
}

async fn assert_rows(servers: &Servers, database: &str, rows: u64) {
    let target = connect(&servers.target, database).await;
    assert_eq!(text(&target, "SELECT count(*) FROM listings").await, rows.to_string(), "{database}");
}

async fn with_pcrd(servers: &Servers, report: &mut Report, rows: u64) {
    servers.fresh("of_pcrd").await;
    let dir = tempfile::tempdir().unwrap();
    plan(dir.path(), servers, "of_pcrd");
    let mut command = pcrd(dir.path(), &["apply", "plan.json", "--yes", "--through", "copy"]);
    let measured = measure(&servers.source, &servers.target, &mut command);
    assert_rows(servers, "of_pcrd", rows).await;
    done(&mut pcrd(dir.path(), &["abort", "--yes"]));
    report.add("pcrd", measured);
}

/// Two streams, each over half of the pages.
async fn with_psql(servers: &Servers, report: &mut Report, rows: u64) {
    servers.fresh("of_psql").await;
    connect(&servers.target, "of_psql").await.batch_execute(WANTED).await.unwrap();
    let source = connect(&servers.source, "postgres").await;
    let pages: u64 = text(&source, "SELECT pg_relation_size('listings') / current_setting('block_size')::int8")
        .await
        .parse()
        .unwrap();
    let stream = |from: u64, to: u64| {
        format!(
            "/usr/lib/postgresql/15/bin/psql -X -q -d {} -c \"COPY (SELECT {PROJECTION} FROM listings WHERE ctid >= '({from},0)' AND ctid < '({to},0)') TO STDOUT (FORMAT binary)\" \
             | /usr/lib/postgresql/15/bin/psql -X -q -d {} -c \"COPY listings FROM STDIN (FORMAT binary)\"",
            uri(&servers.source, "postgres"),
            uri(&servers.target, "of_psql")
        )
    };
    let half = pages / 2;
    let script = format!(
        "set -o pipefail; ({}) & first=$!; ({}) & second=$!; wait $first && wait $second",
        stream(0, half),
        stream(half, pages + 1)
    );
    let measured = measure(
        &servers.source,
        &servers.target,
        Command::new("bash").args(["-c", &script]).env("PGOPTIONS", "-c TimeZone=UTC"),
    );
    assert_rows(servers, "of_psql", rows).await;
    report.add("psql, COPY to COPY", measured);
}

async fn with_pgcopydb(servers: &Servers, report: &mut Report, rows: u64) {
    servers.fresh("of_pgcopydb").await;
    let dir = tempfile::tempdir().unwrap();
    let measured = measure(&servers.source, &servers.target, &mut pgcopydb(servers, dir.path()));
    assert_rows(servers, "of_pgcopydb", rows).await;
    report.add("pgcopydb clone", measured);
}

/// Clones the source into the database `of_pgcopydb`.
pub(crate) fn pgcopydb(servers: &Servers, dir: &Path) -> Command {
    let mut command = Command::new("pgcopydb");
    command
        .args(["clone", "--no-owner", "--no-acl", "--skip-extensions", "--table-jobs", "2", "--index-jobs", "2"])
        .args(["--split-tables-larger-than", "200MB"])
        .args(["--source", &uri(&servers.source, "postgres"), "--target", &uri(&servers.target, "of_pgcopydb")])
        .arg("--dir")
        .arg(dir.join("work"))
        .env("PATH", format!("/usr/lib/postgresql/15/bin:{}", std::env::var("PATH").unwrap()));
    command
}
