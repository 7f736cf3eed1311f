//! Writers that do everything to a table at random, and a server on which commits become visible late.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use pcrd::pg::conninfo::Conninfo;
use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;
use tokio_postgres::Client;

use crate::support::{TestPair, connect_to, run, try_connect};

/// A kind of key: how the n-th key is written in SQL.
#[derive(Debug, Clone, Copy)]
pub struct KeyKind {
    pub name: &'static str,
    /// Columns of the key in the table's definition.
    pub columns: &'static str,
    /// Names of the key columns.
    pub names: &'static str,
    /// SQL for the n-th key, with `$n` for the number.
    pub nth: &'static str,
    /// A cast of one key column to a wider type, as YAML under `columns:`.
    pub widen: &'static str,
    /// More about the table, as YAML of it.
    pub options: &'static str,
    /// PRIMARY KEY, or REPLICA IDENTITY FULL without.
    pub has_key: bool,
    /// What stands behind the columns, and statements that create partitions.
    pub partitions: [&'static str; 2],
}

pub const INT: KeyKind = KeyKind {
    name: "int",
    columns: "id integer",
    names: "id",
    nth: "$n",
    widen: "id: { type: bigint }",
    options: "",
    has_key: true,
    partitions: ["", ""],
};
pub const BIGINT: KeyKind = KeyKind {
    name: "bigint",
    columns: "id bigint",
    names: "id",
    nth: "($n::bigint * 4294967311 - 9000000000)",
    widen: "id: { rename: key_id }",
    options: "",
    has_key: true,
    partitions: ["", ""],
};
pub const UUID: KeyKind = KeyKind {
    name: "uuid",
    columns: "id uuid",
    names: "id",
    nth: "md5($n::text)::uuid",
    widen: "id: {}",
    options: "",
    has_key: true,
    partitions: ["", ""],
};
pub const TEXT: KeyKind = KeyKind {
    name: "text",
    columns: "id text COLLATE \"C\"",
    names: "id",
    nth: "('k é ''' || md5($n::text))",
    widen: "id: {}",
    options: "",
    has_key: true,
    partitions: ["", ""],
};
pub const COLLATED: KeyKind = KeyKind {
    name: "collated text",
    columns: "id text COLLATE \"en-x-icu\"",
    names: "id",
    nth: "('k é ''' || md5($n::text))",
    widen: "id: {}",
    options: "",
    has_key: true,
    partitions: ["", ""],
};
/// In the order of the heap, under one snapshot, although the key has an order.
pub const BY_BLOCKS: KeyKind = KeyKind { name: "uuid by blocks", options: "      copy: by_blocks\n", ..UUID };
pub const COMPOSITE: KeyKind = KeyKind {
    name: "composite",
    columns: "a smallint, b uuid",
    names: "a, b",
    nth: "($n % 7)::smallint, md5($n::text)::uuid",
    widen: "a: { type: integer }",
    options: "",
    has_key: true,
    partitions: ["", ""],
};
pub const KEYLESS: KeyKind = KeyKind {
    name: "no key",
    columns: "id integer",
    names: "id",
    nth: "$n",
    widen: "id: { type: bigint }",
    options: "",
    has_key: false,
    partitions: ["", ""],
};

/// At two levels, by range and by hash, with a default; the columns of one are in another order, beside one that is gone.
pub const PARTITIONED: KeyKind = KeyKind {
    name: "partitioned",
    options: "      partitions: none\n",
    partitions: [
        "PARTITION BY RANGE (id)",
        "CREATE TABLE items_odd (at timestamptz, gone text, big text, price numeric(10,2), legacy text, n integer NOT NULL, \
           id integer NOT NULL); \
         ALTER TABLE items_odd DROP COLUMN gone; \
         ALTER TABLE items ATTACH PARTITION items_odd FOR VALUES FROM (MINVALUE) TO (100); \
         CREATE TABLE items_hashed PARTITION OF items FOR VALUES FROM (100) TO (1000) PARTITION BY HASH (id); \
         CREATE TABLE items_h0 PARTITION OF items_hashed FOR VALUES WITH (MODULUS 2, REMAINDER 0); \
         CREATE TABLE items_h1 PARTITION OF items_hashed FOR VALUES WITH (MODULUS 2, REMAINDER 1); \
         CREATE TABLE items_rest PARTITION OF items DEFAULT;",
    ],
    ..INT
};

/// The same tree, and the target has it too.
pub const SPLIT_UP: KeyKind = KeyKind { name: "split_up", options: "", ..PARTITIONED };

impl KeyKind {
    pub fn key(&self, n: u32) -> String {
        self.nth.replace("$n", &n.to_string())
    }

    /// `names = key`.
    pub fn is(&self, n: u32) -> String {
        format!("({}) = ({})", self.names, self.key(n))
    }

    /// Creates the table and fills it.
    pub fn ddl(&self, rows: u32) -> String {
        let key = if self.has_key { format!(", PRIMARY KEY ({})", self.names) } else { String::new() };
        let identity = if self.has_key { "" } else { "ALTER TABLE items REPLICA IDENTITY FULL;" };
        let [by, partitions] = self.partitions;
        format!(
            "CREATE TABLE items ({}, n integer NOT NULL, legacy text, price numeric(10,2), big text, at timestamptz DEFAULT now(){key}) {by}; \
             {partitions} {identity} ALTER TABLE items ALTER COLUMN big SET STORAGE EXTERNAL; \
             INSERT INTO items SELECT {}, 0, 'old', (g % 1000) / 7.0, \
             CASE WHEN g % 3 = 0 THEN repeat(md5(g::text), 100) END FROM generate_series(1, {rows}) g; ANALYZE items",
            self.columns,
            self.nth.replace("$n", "g"),
        )
    }

    /// The YAML of the table.
    pub fn yaml(&self) -> String {
        format!(
            "    - name: items\n{}      optimize_column_order: true\n      columns:\n        {}\n        \
             price: {{ type: \"numeric(14,4)\", rename: exact_price }}\n        legacy: {{ drop: true }}\n      \
             add_columns:\n        - {{ name: added_at, type: timestamptz, default: \"now()\" }}\n",
            self.options, self.widen
        )
    }

    /// The projection of a source row, in words of neither side's pcrd.
    pub fn source_query(&self) -> String {
        format!("SELECT {}, n, price::numeric(14,4), big, at FROM items", self.names)
    }

    /// The same columns of the target.
    pub fn target_query(&self) -> String {
        let names = if self.widen.contains("rename") { "key_id" } else { self.names };
        format!("SELECT {names}, n, exact_price, big, at FROM items")
    }
}

/// Writers that run until they are stopped or fenced.
pub struct Writers {
    tasks: JoinSet<()>,
    canceller: JoinSet<()>,
    stop: Arc<AtomicBool>,
    pub commits: Arc<AtomicU64>,
    rest_ms: Arc<AtomicU64>,
}

impl Writers {
    /// Starts `count` writers over `rows` keys.
    pub async fn start(pair: &TestPair, kind: KeyKind, rows: u32, count: u64, delayed: bool) -> Self {
        Self::start_in(pair, "public", kind, rows, count, delayed).await
    }

    /// The same for the table of another schema.
    pub async fn start_in(
        pair: &TestPair,
        schema: &'static str,
        kind: KeyKind,
        rows: u32,
        count: u64,
        delayed: bool,
    ) -> Self {
        let (stop, commits) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let rest_ms = Arc::new(AtomicU64::new(0));
        let (mut tasks, mut canceller) = (JoinSet::new(), JoinSet::new());
        for seed in 0..count {
            let mut client = connect_to(&pair.source, "postgres").await;
            let server = pair.source.conninfo("postgres");
            let (stop, commits, rest_ms) = (Arc::clone(&stop), Arc::clone(&commits), Arc::clone(&rest_ms));
            tasks.spawn(async move {
                let mut random = StdRng::seed_from_u64(seed);
                let begin = format!("BEGIN; SET LOCAL search_path = {schema};");
                while !stop.load(Ordering::Relaxed) {
                    let sql = transaction(&mut random, kind, rows, delayed).replacen("BEGIN;", &begin, 1);
                    match client.batch_execute(&sql).await {
                        Ok(()) => {
                            commits.fetch_add(1, Ordering::Relaxed);
                        }
                        // Conflicts between writers are part of the game; the fence ends it.
                        Err(error) if error.code().is_some_and(|code| code.code() == "25006") => return,
                        Err(_) => {
                            if client.batch_execute("ROLLBACK").await.is_err() {
                                let Some(again) = reconnect(&server, &stop).await else { return };
                                client = again;
                            }
                        }
                    }
                    let rest = rest_ms.load(Ordering::Relaxed) + random.random_range(0..4);
                    tokio::time::sleep(Duration::from_millis(rest)).await;
                }
            });
        }
        if delayed {
            let mut client = connect_to(&pair.source, "postgres").await;
            let (server, never) = (pair.source.conninfo("postgres"), AtomicBool::new(false));
            canceller.spawn(async move {
                let mut random = StdRng::seed_from_u64(99);
                // Until the last writer has ended: it may wait for a standby that does not exist.
                loop {
                    let cancel = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity WHERE wait_event = 'SyncRep' AND random() < 0.4";
                    if client.batch_execute(cancel).await.is_err() {
                        let Some(again) = reconnect(&server, &never).await else { return };
                        client = again;
                    }
                    tokio::time::sleep(Duration::from_millis(random.random_range(1..8))).await;
                }
            });
        }
        Self { tasks, canceller, stop, commits, rest_ms }
    }

    /// From now on they rest between two transactions: a stream that is slower than they were can catch up.
    pub fn slow_down(&self) {
        self.rest_at_least(50);
    }

    /// From now on they rest so long between two transactions, and a little more.
    pub fn rest_at_least(&self, ms: u64) {
        self.rest_ms.store(ms, Ordering::Relaxed);
    }

    /// Ends them all.
    pub async fn stop(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        self.canceller.abort_all();
        self.commits.load(Ordering::Relaxed)
    }
}

/// A server that crashed comes back; `None` once nobody needs the connection any more.
async fn reconnect(server: &Conninfo, stop: &AtomicBool) -> Option<Client> {
    while !stop.load(Ordering::Relaxed) {
        tokio::time::sleep(Duration::from_millis(50)).await;
        if let Ok(client) = try_connect(server).await {
            return Some(client);
        }
    }
    None
}

/// Makes commits of sessions that ask for it wait for a standby that does not exist.
pub async fn delay_visibility(pair: &TestPair) {
    let client = connect_to(&pair.source, "postgres").await;
    run(&client, "ALTER SYSTEM SET synchronous_standby_names = 'nosuch'").await;
    run(&client, "SELECT pg_reload_conf()").await;
}

/// Commits become visible at once again, those that wait too. Nobody cancels their waiting once the writers have ended.
pub async fn see_at_once(pair: &TestPair) {
    let client = connect_to(&pair.source, "postgres").await;
    run(&client, "ALTER SYSTEM RESET synchronous_standby_names").await;
    run(&client, "SELECT pg_reload_conf()").await;
}

fn transaction(random: &mut StdRng, kind: KeyKind, rows: u32, delayed: bool) -> String {
    let wait = if delayed && random.random_bool(0.5) { "on" } else { "local" };
    let mut sql = format!("BEGIN; SET LOCAL synchronous_commit = {wait}");
    for _ in 0..random.random_range(1..4) {
        sql.push_str("; ");
        sql.push_str(&change(random, kind, rows));
    }
    if random.random_bool(0.05) {
        sql.push_str("; SAVEPOINT s; UPDATE items SET n = -1 WHERE ");
        sql.push_str(&kind.is(random.random_range(1..=rows)));
        sql.push_str("; ROLLBACK TO s");
    }
    sql.push_str("; COMMIT");
    sql
}

fn change(random: &mut StdRng, kind: KeyKind, rows: u32) -> String {
    let n = random.random_range(1..=rows);
    let other = random.random_range(1..=rows + rows / 10);
    let fresh = rows * 2 + random.random_range(1..=rows);
    let key_columns = if kind.names.contains(',') { format!("({})", kind.names) } else { kind.names.to_owned() };
    let value = |n: u32| {
        if kind.names.contains(',') { format!("({})", kind.key(n)) } else { kind.key(n) }
    };
    match random.random_range(0..100) {
        0..25 => {
            let conflict = if kind.has_key { "ON CONFLICT DO NOTHING" } else { "" };
            format!(
                "INSERT INTO items ({}, n, legacy, price, big) VALUES ({}, 1, NULL, {n}.25, {}) {conflict}",
                kind.names,
                kind.key(other),
                if random.random_bool(0.3) { "repeat(md5(random()::text), 100)" } else { "NULL" }
            )
        }
        25..50 => format!("UPDATE items SET n = n + 1 WHERE {}", kind.is(n)),
        50..60 => {
            format!("UPDATE items SET big = repeat(md5(random()::text), 100), price = price + 1 WHERE {}", kind.is(n))
        }
        60..75 => format!("DELETE FROM items WHERE {}", kind.is(n)),
        75..92 => {
            let guard = format!("NOT EXISTS (SELECT FROM items WHERE {})", kind.is(other));
            format!("UPDATE items SET {key_columns} = {} WHERE {} AND {guard}", value(other), kind.is(n))
        }
        _ => {
            // Swap two rows by way of a third key.
            let step =
                |from: u32, to: u32| format!("UPDATE items SET {key_columns} = {} WHERE {}", value(to), kind.is(from));
            format!("{}; {}; {}", step(n, fresh), step(other, n), step(fresh, other))
        }
    }
}
