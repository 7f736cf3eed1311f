//! Everything at random on the target after the switch, with executors that die meanwhile; then back. `PCRD_FULL=1` makes it
//! long; `PCRD_SEED` repeats one.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use rand::rngs::StdRng;
use rand::{Rng, SeedableRng};
use tokio::task::JoinSet;

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, run, text};
use crate::way_back::{ROLE, assert_code, refusal, staged, switched, wait};

/// `born` tells which row it was: those that the source had have something in the columns that the target drops.
const DDL: &str = "CREATE TABLE items (id serial PRIMARY KEY, n integer NOT NULL, cents integer, kind text NOT NULL DEFAULT 'new', note text, born text NOT NULL, big text);
    INSERT INTO items (n, cents, kind, note, born, big) SELECT 0, g * 10, 'of o' || g, repeat('x', g % 50), 'o' || g,
      CASE WHEN g % 3 = 0 THEN (SELECT string_agg(md5((g + i)::text), '') FROM generate_series(1, 100) AS i) END FROM generate_series(1, 3000) AS g;
    CREATE TABLE orders (shop integer, code text COLLATE \"C\", active boolean NOT NULL, n smallint, memo text, born text NOT NULL, big text, PRIMARY KEY (shop, code));
    INSERT INTO orders SELECT CASE WHEN g % 5 = 0 THEN 1000 ELSE 0 END + g % 7, 'c' || g, g % 5 <> 0, g, 'of o' || g, 'o' || g,
      CASE WHEN g % 2 = 0 THEN (SELECT string_agg(md5((g + i)::text), '') FROM generate_series(1, 100) AS i) END FROM generate_series(1, 2000) AS g;
    CREATE TABLE logs (id bigint PRIMARY KEY, t text, origin text DEFAULT 'new', born text NOT NULL);
    INSERT INTO logs SELECT g, 'log', 'of o' || g, 'o' || g FROM generate_series(1, 300) AS g; ANALYZE";
const TABLES: &str = "    - name: items
      optimize_column_order: true
      columns:
        id: { type: bigint }
        n: { rename: count, type: bigint }
        cents: { rename: price, type: \"numeric(12,2)\", using: cents / 100.0, reverse: \"(price * 100)::int\" }
        kind: { drop: true }
        big: { rename: large }
      add_columns:
        - { name: region, type: text, default: \"'eu'\", not_null: true }
    - name: orders
      where: active
      columns: { shop: { type: bigint }, n: { type: integer }, memo: { drop: true } }
    - { name: logs, columns: { origin: { drop: true } } }
";
const CUTOVER: &str = "accept:
  - { code: DELETES_DATA, address: public.items.kind, reason: test }
  - { code: DELETES_DATA, address: public.orders.memo, reason: test }
  - { code: DELETES_DATA, address: public.logs.origin, reason: test }
cutover: { fence_timeout: 60, reverse: { user: goes_back } }";
/// Shops that are nowhere on the target.
const LEFT_OUT: &str =
    "SELECT count(*) || md5(string_agg(o::text, ',' ORDER BY shop, code)) FROM orders AS o WHERE shop >= 1000";
const BIG: &str = "(SELECT string_agg(md5(random()::text || i), '') FROM generate_series(1, 100) AS i)";

fn items(random: &mut StdRng) -> String {
    let n = random.random_range(1..=3_300);
    let other = random.random_range(1..=3_900);
    let fresh = random.random_range(100_000..1_000_000);
    let big = if random.random_bool(0.3) { BIG } else { "NULL" };
    let new = format!("INSERT INTO items (id, count, price, born, large) VALUES ({other}, 1, {n}.25, 'n', {big})");
    let step = |from: u32, to: u32| format!("UPDATE items SET id = {to} WHERE id = {from}");
    match random.random_range(0..100) {
        0..12 => format!("{new} ON CONFLICT DO NOTHING"),
        12..20 => format!("{new} ON CONFLICT (id) DO UPDATE SET count = items.count + 1"),
        20..35 => format!("UPDATE items SET count = count + 1, note = 'n' || count WHERE id = {n}"),
        35..42 => format!("UPDATE items SET price = price + 1.01, region = 'us' WHERE id = {n}"),
        42..50 => format!("UPDATE items SET large = {BIG} WHERE id = {n}"),
        50..58 => format!("DELETE FROM items WHERE id = {n}"),
        58..72 => format!("{} AND NOT EXISTS (SELECT FROM items WHERE id = {other})", step(n, other)),
        72..78 => format!("{}; {}; {}", step(n, fresh), step(other, n), step(fresh, other)),
        78..84 => format!("DELETE FROM items WHERE id = {other}; {new}; UPDATE items SET count = 7 WHERE id = {other}"),
        84..92 => format!("UPDATE items SET count = count + 1 WHERE id BETWEEN {n} AND {}", n + 40),
        92..96 => format!(
            "INSERT INTO items (id, count, born) SELECT g, 0, 'n' FROM generate_series({other}, {}) AS g ON CONFLICT DO NOTHING",
            other + 30
        ),
        _ => format!("DELETE FROM items WHERE id BETWEEN {n} AND {}", n + 10),
    }
}

fn orders(random: &mut StdRng) -> String {
    let (n, other) = (random.random_range(1..=2_000), random.random_range(1..=2_400));
    let is = |n: u32| format!("shop = {} AND code = 'c{n}'", n % 7);
    let big = if random.random_bool(0.5) { BIG } else { "NULL" };
    match random.random_range(0..100) {
        0..25 => format!(
            "INSERT INTO orders (shop, code, active, n, born, big) VALUES ({}, 'c{other}', {}, 1, 'n', {big}) ON CONFLICT DO NOTHING",
            other % 7,
            random.random_bool(0.5)
        ),
        25..45 => format!("UPDATE orders SET active = NOT active, n = (n + 1) % 30000 WHERE {}", is(n)),
        45..55 => format!("UPDATE orders SET big = {big} WHERE {}", is(n)),
        55..70 => format!("DELETE FROM orders WHERE {}", is(n)),
        70..90 => format!(
            "UPDATE orders SET shop = {}, code = 'c{other}' WHERE {} AND NOT EXISTS (SELECT FROM orders WHERE {})",
            other % 7,
            is(n),
            is(other)
        ),
        _ => format!("UPDATE orders SET n = 0 WHERE shop = {}", n % 7),
    }
}

fn logs(random: &mut StdRng) -> String {
    let n = random.random_range(1..=400);
    let insert = format!(
        "INSERT INTO logs (id, t, born) SELECT g, 'more', 'n' FROM generate_series({n}, {}) AS g ON CONFLICT DO NOTHING",
        n + random.random_range(0..40)
    );
    match random.random_range(0..100) {
        0..50 => insert,
        50..75 => format!("UPDATE logs SET t = t || '!' WHERE id BETWEEN {n} AND {}", n + 20),
        75..90 => format!("DELETE FROM logs WHERE id BETWEEN {n} AND {}", n + 15),
        _ => format!("{insert}; TRUNCATE logs; {insert}"),
    }
}

fn transaction(random: &mut StdRng) -> String {
    let mut sql = "BEGIN".to_owned();
    for _ in 0..random.random_range(1..5) {
        let change = match random.random_range(0..10) {
            0..5 => items(random),
            5..8 => orders(random),
            _ => logs(random),
        };
        match random.random_range(0..100) {
            0..8 => sql.push_str(&format!("; SAVEPOINT s; {change}; ROLLBACK TO s")),
            8..14 => sql.push_str(&format!("; SAVEPOINT s; {change}; RELEASE s")),
            _ => sql.push_str(&format!("; {change}")),
        }
    }
    sql.push_str(if random.random_bool(0.05) { "; ROLLBACK" } else { "; COMMIT" });
    sql
}

struct Load {
    tasks: JoinSet<()>,
    commits: Arc<AtomicU64>,
    rest_ms: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
}

impl Load {
    async fn start(pair: &TestPair, database: &str, seed: u64) -> Self {
        let (commits, rest_ms) = (Arc::new(AtomicU64::new(0)), Arc::new(AtomicU64::new(3)));
        let (mut tasks, stop) = (JoinSet::new(), Arc::new(AtomicBool::new(false)));
        for writer in 0..3 {
            let client = connect_to(&pair.target, database).await;
            let (commits, rest_ms, stop) = (Arc::clone(&commits), Arc::clone(&rest_ms), Arc::clone(&stop));
            let mut random = StdRng::seed_from_u64(seed.wrapping_add(writer));
            tasks.spawn(async move {
                while !stop.load(Ordering::Relaxed) {
                    match client.batch_execute(&transaction(&mut random)).await {
                        Ok(()) => {
                            commits.fetch_add(1, Ordering::Relaxed);
                        }
                        Err(error) if error.code().is_some_and(|code| code.code() == "25006") => return,
                        // Conflicts between writers are part of the game.
                        Err(_) => run(&client, "ROLLBACK").await,
                    }
                    tokio::time::sleep(Duration::from_millis(rest_ms.load(Ordering::Relaxed))).await;
                }
            });
        }
        Self { tasks, commits, rest_ms, stop }
    }

    async fn end(mut self) -> u64 {
        self.stop.store(true, Ordering::Relaxed);
        while self.tasks.join_next().await.is_some() {}
        self.commits.load(Ordering::Relaxed)
    }
}

/// The source is what the target makes of it, and has kept all that the target does not know.
async fn assert_gone_back(stage: &Stage, left_out: &str) {
    stage
        .assert_equal(
            "SELECT id, n, (cents / 100.0)::numeric(12,2), note, born, big FROM items",
            "SELECT id, count, price, note, born, large FROM items",
        )
        .await;
    let orders = "SELECT shop, code, active, n, born, big FROM orders WHERE shop < 1000";
    stage.assert_equal(orders, orders).await;
    stage.assert_equal("SELECT id, t, born FROM logs", "SELECT id, t, born FROM logs").await;
    assert_eq!(text(&stage.source, LEFT_OUT).await, left_out);
    for (table, column, new) in [("items", "kind", "'new'"), ("orders", "memo", "NULL"), ("logs", "origin", "'new'")] {
        let kept = format!("CASE WHEN born LIKE 'o%' THEN 'of ' || born ELSE {new} END");
        let wrong = format!("SELECT count(*) FROM {table} WHERE {column} IS DISTINCT FROM {kept}");
        assert_eq!(text(&stage.source, &wrong).await, "0", "{table}.{column}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn whatever_the_target_writes_goes_back() {
    let lasts = Duration::from_secs(if std::env::var_os("PCRD_FULL").is_some() { 900 } else { 12 });
    let seed = std::env::var("PCRD_SEED").map_or_else(|_| rand::rng().random(), |text| text.parse().unwrap());
    println!("PCRD_SEED={seed}");
    let mut random = StdRng::seed_from_u64(seed);
    let pair = TestPair::start(15, 17);
    let stage = staged(&pair, "random", &format!("{ROLE}; {DDL}"), TABLES, CUTOVER).await;
    let left_out = text(&stage.source, LEFT_OUT).await;
    let mut running = switched(&stage);
    let load = Load::start(&pair, "random", seed).await;
    let (begun, mut killed) = (Instant::now(), 0);
    while begun.elapsed() < lasts {
        tokio::time::sleep(Duration::from_millis(random.random_range(500..3_000))).await;
        tokio::task::block_in_place(|| running.kill());
        killed += 1;
        running = stage.start("");
        tokio::task::block_in_place(|| running.wait_for("changes of the target go back"));
    }
    load.rest_ms.store(50, Ordering::Relaxed);
    tokio::time::sleep(Duration::from_secs(2)).await;
    // Executors that die every two seconds leave much to be sent back: until then the rollback is refused, and may be asked again.
    for _ in 0..10 {
        let said = tokio::task::block_in_place(|| stage.migration.run(&["rollback", "--yes"]));
        if said.status.success() {
            break;
        }
        let why = String::from_utf8_lossy(&said.stderr).into_owned();
        assert!(why.contains("not ready within") && why.contains("the target takes writes"), "{why}");
    }
    assert_code(&wait(running), Some(0));
    let commits = load.end().await;
    assert_eq!(refusal(&stage.target, "DELETE FROM items").await.as_deref(), Some("25006"));
    assert_gone_back(&stage, &left_out).await;
    let survived = "SELECT (SELECT count(*) FROM items WHERE born LIKE 'o%') || ' and ' || (SELECT count(*) FROM orders WHERE born LIKE 'o%')";
    println!("{commits} commits, {killed} executors killed, {} rows of before", text(&stage.source, survived).await);
    assert!(commits > 100 && killed > 0);
    stage.migration.ok(&["cleanup", "--yes"]);
}
