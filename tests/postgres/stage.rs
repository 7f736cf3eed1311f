//! A migration in two databases of its own on shared servers, and ways to hold it still at a given point.

use std::time::{Duration, Instant};

use tokio_postgres::Client;

use crate::migration::{Migration, Running, Said};
use crate::support::{TestPair, connect_to, rows, run, sorted_copy, text};

/// How long anything may take before the test fails instead of hanging.
const PATIENCE: Duration = Duration::from_secs(90);

/// Two databases, with a connection to each.
pub struct Stage {
    pub name: String,
    pub source: Client,
    pub target: Client,
    pub migration: Migration,
}

impl Stage {
    /// Creates both databases, runs `ddl` on the source and compiles the plan. `tables` and `more` are YAML.
    pub async fn new(pair: &TestPair, name: &str, ddl: &str, tables: &str, more: &str) -> Self {
        Self::with_target(pair, name, ddl, "", tables, more).await
    }

    /// The same with something on the target that must be there first.
    pub async fn with_target(
        pair: &TestPair,
        name: &str,
        ddl: &str,
        on_target: &str,
        tables: &str,
        more: &str,
    ) -> Self {
        for cluster in [&pair.source, &pair.target] {
            run(&connect_to(cluster, "postgres").await, &format!("CREATE DATABASE \"{name}\"")).await;
        }
        let (source, target) = (connect_to(&pair.source, name).await, connect_to(&pair.target, name).await);
        run(&source, ddl).await;
        run(&target, on_target).await;
        let more = format!("  replication_slot: pcrd_{name}\n  lag_threshold_bytes: 33554432\n{more}");
        let migration = Migration::between(pair, name, tables, &more);
        migration.plan();
        Self { name: name.to_owned(), source, target, migration }
    }

    /// Starts `apply` up to the gate.
    pub fn start(&self, failpoints: &str) -> Running {
        self.migration.start(&["--json", "apply", "plan.json", "--yes"], failpoints)
    }

    /// Starts `apply` through the cutover.
    pub fn start_through(&self, failpoints: &str) -> Running {
        self.migration.start(&["--json", "apply", "plan.json", "--yes", "--through", "cutover"], failpoints)
    }

    /// Runs `apply` through the cutover to its end.
    pub fn cut_over(&self) -> Said {
        tokio::task::block_in_place(|| self.start_through("").finish())
    }

    /// Waits until a query on the target says `t`; the tables of the ledger may not be there yet.
    pub async fn until_target(&self, query: &str) {
        let began = Instant::now();
        while began.elapsed() < PATIENCE {
            let found = self.target.simple_query(query).await;
            if found.is_ok_and(|messages| {
                messages.iter().any(
                    |message| matches!(message, tokio_postgres::SimpleQueryMessage::Row(row) if row.get(0) == Some("t")),
                )
            }) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        panic!("{}: never true on the target: {query}", self.name);
    }

    /// Waits until a query on the source says `t`.
    pub async fn until_source(&self, query: &str) {
        let began = Instant::now();
        while text(&self.source, query).await != "t" {
            assert!(began.elapsed() < PATIENCE, "{}: never true on the source: {query}", self.name);
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    /// Waits until the stream has passed everything that is written now.
    pub async fn until_applied(&self) {
        let lsn = text(&self.source, "SELECT pg_current_wal_insert_lsn()::text").await;
        run(&self.source, "SELECT pg_logical_emit_message(true, 'noise', '')").await;
        self.until_target(&format!("SELECT applied_lsn >= '{lsn}' FROM pcrd.progress")).await;
    }

    /// Copied chunks can be read and none can be committed until the session is dropped or says COMMIT. Must be called
    /// before the first chunk, or between two.
    pub async fn hold_chunks(&self, pair: &TestPair) -> Client {
        self.until_target("SELECT to_regclass('pcrd.chunk') IS NOT NULL").await;
        let holder = connect_to(&pair.target, &self.name).await;
        run(&holder, "BEGIN; LOCK TABLE pcrd.chunk IN SHARE MODE").await;
        holder
    }

    /// Waits until a chunk has been read and waits to be committed.
    pub async fn until_held(&self) {
        self.until_target("SELECT count(*) > 0 FROM pg_locks WHERE relation = 'pcrd.chunk'::regclass AND NOT granted")
            .await;
    }

    /// Compares one query on each side, rows sorted, without any code of pcrd's.
    pub async fn assert_equal(&self, on_source: &str, on_target: &str) {
        let left = sorted_copy(&self.source, on_source).await;
        let right = sorted_copy(&self.target, on_target).await;
        if left != right {
            let show = |bytes: &[u8]| String::from_utf8_lossy(&bytes[..bytes.len().min(2_000)]).into_owned();
            panic!(
                "{}: source and target differ\n--- source\n{}\n--- target\n{}",
                self.name,
                show(&left),
                show(&right)
            );
        }
    }

    /// The counter of the last run.
    pub fn counter(said: &Said, name: &str) -> u64 {
        said.counters().get(name).copied().unwrap_or(0)
    }

    /// Waits for sessions of pcrd's at both ends, and for what they are about to do.
    pub async fn until_at_work(&self) {
        let query = "SELECT count(*) > 0 FROM pg_stat_activity \
                     WHERE datname = current_database() AND application_name LIKE 'pcrd/%'";
        self.until_target(query).await;
        self.until_source(query).await;
        tokio::time::sleep(Duration::from_millis(1_500)).await;
    }

    /// A journal as another machine has it, which nobody else uses.
    pub fn copy_journal(&self) -> &'static str {
        let dir = self.migration.dir.path();
        for end in ["", "-wal", "-shm"] {
            let (from, to) = (format!("state.sqlite3{end}"), format!("other.sqlite3{end}"));
            if dir.join(&from).exists() {
                std::fs::copy(dir.join(from), dir.join(to)).unwrap();
            }
        }
        "other.sqlite3"
    }

    /// Ends all of pcrd's at both ends, and with them what they have locked.
    pub async fn end_sessions(&self) {
        for end in [&self.source, &self.target] {
            let query = "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity \
                         WHERE datname = current_database() AND application_name LIKE 'pcrd/%'";
            assert_ne!(text(end, query).await, "0", "{}", self.name);
        }
    }

    /// Frees the slot, so that many stages fit on one server.
    pub async fn end(&self) {
        let query = format!(
            "SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots \
             WHERE slot_name = 'pcrd_{}' AND NOT active",
            self.name
        );
        rows(&self.source, &query).await;
    }
}
