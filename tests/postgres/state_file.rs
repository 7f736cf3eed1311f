//! The state file is lost, damaged or from yesterday: the ledger on the target is the truth, and the same command goes
//! on with it.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::migration::Migration;
use crate::support::{TestPair, connect_to, run, sorted_copy};
use crate::writers::{INT, Writers};

const ROWS: u32 = 2_000;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Damage {
    /// The file and what SQLite keeps beside it.
    DeletedAll,
    /// The file alone.
    Deleted,
    TruncatedToNothing,
    TruncatedToHalf,
    PageZeroed,
    OlderCopy,
    /// With the newer log of SQLite beside it.
    OlderCopyWithNewerLog,
}

fn beside(state: &Path, suffix: &str) -> PathBuf {
    let mut name = state.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}

impl Damage {
    fn do_to(self, state: &Path) {
        let remove_logs = || {
            for suffix in ["-wal", "-shm"] {
                let _absent = fs::remove_file(beside(state, suffix));
            }
        };
        // What SQLite would do at the next opening: then there are pages to damage.
        let merge = || {
            let connection = rusqlite::Connection::open(state).unwrap();
            let _row: i64 = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0)).unwrap();
        };
        match self {
            Self::DeletedAll => {
                fs::remove_file(state).unwrap();
                remove_logs();
            }
            Self::Deleted => fs::remove_file(state).unwrap(),
            Self::TruncatedToNothing => fs::write(state, "").unwrap(),
            Self::TruncatedToHalf => {
                merge();
                let bytes = fs::read(state).unwrap();
                assert!(bytes.len() > 8192);
                fs::write(state, &bytes[..bytes.len() / 2]).unwrap();
            }
            Self::PageZeroed => {
                merge();
                let mut bytes = fs::read(state).unwrap();
                let page = bytes.len() / 4096 / 2 * 4096;
                bytes[page..page + 4096].fill(0);
                fs::write(state, bytes).unwrap();
            }
            Self::OlderCopy => {
                remove_logs();
                fs::copy(beside(state, ".old"), state).unwrap();
            }
            Self::OlderCopyWithNewerLog => {
                fs::copy(beside(state, ".old"), state).unwrap();
            }
        }
    }
}

/// Kills the executor once it has said `at`, damages the state file, and runs the same command.
async fn damaged(damage: Damage, at: &str, rows_per_second: u32) {
    let pair = TestPair::start(15, 15);
    let source = connect_to(&pair.source, "postgres").await;
    run(&source, &INT.ddl(ROWS)).await;
    run(&source, "CREATE INDEX items_n ON items (n)").await;
    let more = format!(
        "  batch_size: 100\n  workers: 2\n  lag_threshold_bytes: 33554432\n  max_rows_per_second: {rows_per_second}"
    );
    let migration = Migration::new(&pair, &INT.yaml(), &more);
    migration.plan();
    let state = migration.dir.path().join("state.sqlite3");
    // An older copy: the plan is in it, and the first step.
    let _ = migration.ok(&["apply", "plan.json", "--yes", "--through", "prepare"]);
    fs::copy(&state, beside(&state, ".old")).unwrap();
    let writers = Writers::start(&pair, INT, ROWS, 2, false).await;
    let mut running = migration.start(&["--json", "apply", "plan.json", "--yes"], "");
    running.wait_for(at);
    tokio::time::sleep(Duration::from_millis(500)).await;
    running.kill();
    damage.do_to(&state);
    let again = migration.start(&["--json", "apply", "plan.json", "--yes", "--through", "cutover"], "");
    let said = tokio::task::block_in_place(|| again.wait_at_most(Duration::from_secs(120)));
    writers.stop().await;
    assert_eq!(said.code, Some(0), "{damage:?}: {}\n{}", said.lines.join("\n"), said.stderr);
    let replaced = said.lines.iter().any(|line| line.contains("the ledger on the target is the truth"));
    let must_be = matches!(damage, Damage::TruncatedToNothing | Damage::TruncatedToHalf | Damage::PageZeroed);
    assert!(
        replaced || said.stderr.contains("the ledger on the target is the truth") || !must_be,
        "{damage:?}: {}",
        said.stderr
    );
    let target = connect_to(&pair.target, "postgres").await;
    let left = sorted_copy(&source, &INT.source_query()).await;
    assert!(left == sorted_copy(&target, &INT.target_query()).await, "{damage:?}: source and target differ");
    // What was begun anew is complete: the plan and its steps can be read from it.
    let _ = migration.ok(&["verify"]);
    let _ = migration.ok(&["cleanup", "--yes"]);
    println!("{damage:?} after {at}: {} bytes equal", left.len());
}

async fn during_the_copy(damage: Damage) {
    damaged(damage, "\"step_progress\"", 500).await;
}

async fn while_streaming(damage: Damage) {
    damaged(damage, "\"type\":\"gate\",\"ready\":true", 100_000).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn deleted() {
    during_the_copy(Damage::DeletedAll).await;
    during_the_copy(Damage::Deleted).await;
    while_streaming(Damage::DeletedAll).await;
    while_streaming(Damage::Deleted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn truncated() {
    during_the_copy(Damage::TruncatedToNothing).await;
    during_the_copy(Damage::TruncatedToHalf).await;
    while_streaming(Damage::TruncatedToNothing).await;
    while_streaming(Damage::TruncatedToHalf).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn with_a_page_of_zeros() {
    during_the_copy(Damage::PageZeroed).await;
    while_streaming(Damage::PageZeroed).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn replaced_by_an_older_copy() {
    during_the_copy(Damage::OlderCopy).await;
    during_the_copy(Damage::OlderCopyWithNewerLog).await;
    while_streaming(Damage::OlderCopy).await;
    while_streaming(Damage::OlderCopyWithNewerLog).await;
}
