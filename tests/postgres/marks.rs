//! Statistics objects, the index that CLUSTER takes and the replica identity go along under the target's names; what
//! cannot is listed by name with the reason.

use crate::stage::Stage;
use crate::support::{TestPair, rows, run, text};

const SOURCE: &str = r#"
CREATE TABLE "Or ders" (id integer PRIMARY KEY, "Na me" text, total integer NOT NULL, plain integer, gone integer);
INSERT INTO "Or ders" SELECT g, g % 7, g, g % 3, g FROM generate_series(1, 500) g;
CREATE UNIQUE INDEX "by;total" ON "Or ders" (total);
ALTER TABLE "Or ders" CLUSTER ON "by;total";
ALTER TABLE "Or ders" REPLICA IDENTITY USING INDEX "by;total";
CREATE TABLE whole (id integer PRIMARY KEY, a integer); ALTER TABLE whole REPLICA IDENTITY FULL;
ALTER TABLE whole CLUSTER ON whole_pkey;
CREATE TABLE moved (id integer PRIMARY KEY, a integer, b integer);
CREATE SCHEMA apart;
CREATE STATISTICS "sta""t;s" (ndistinct, dependencies) ON "Na me", total FROM "Or ders";
COMMENT ON STATISTICS "sta""t;s" IS 'it''s';
CREATE STATISTICS on_gone (dependencies) ON gone, total FROM "Or ders";
CREATE STATISTICS apart.ab (ndistinct) ON a, b FROM moved;
CREATE STATISTICS ab (ndistinct) ON a, b FROM moved;"#;

const TABLES: &str = "    - name: '\"Or ders\"'\n      key: [total]\n      columns: {id: {type: bigint}, 'Na me': {rename: 'new \"name;--'}, gone: {drop: true}}\n    - whole\n    - {name: moved, target: shop.moved, columns: {b: {rename: c}}}";

/// What the target has of it, with how much ANALYZE has collected.
const OBJECTS: &str = "SELECT pg_get_statisticsobjdef(s.oid), obj_description(s.oid, 'pg_statistic_ext') \
    FROM pg_statistic_ext s JOIN pg_namespace n ON n.oid = stxnamespace ORDER BY nspname, stxname";

const MARKS: &str = "SELECT c.relname, c.relreplident::text, r.relname, k.relname FROM pg_class c \
    LEFT JOIN pg_index ri ON ri.indrelid = c.oid AND ri.indisreplident LEFT JOIN pg_class r ON r.oid = ri.indexrelid \
    LEFT JOIN pg_index ki ON ki.indrelid = c.oid AND ki.indisclustered LEFT JOIN pg_class k ON k.oid = ki.indexrelid \
    WHERE c.relname IN ('Or ders', 'whole', 'moved') ORDER BY 1";

fn left(stage: &Stage) -> Vec<String> {
    let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let word = |left: &serde_json::Value, field: &str| left[field].as_str().unwrap().to_owned();
    let line =
        |left: &serde_json::Value| format!("{} {}: {}", word(left, "kind"), word(left, "name"), word(left, "why"));
    let kinds = ["statistics", "clustered index", "replica identity"];
    let all = plan["plan"]["not_carried"].as_array().unwrap().iter();
    all.filter(|left| kinds.contains(&left["kind"].as_str().unwrap())).map(line).collect()
}

/// One line a row.
async fn lines(client: &tokio_postgres::Client, query: &str) -> Vec<String> {
    let line = |row: Vec<Option<String>>| {
        row.into_iter().map(|value| value.unwrap_or_else(|| "NULL".to_owned())).collect::<Vec<_>>().join("|")
    };
    rows(client, query).await.into_iter().map(line).collect()
}

async fn count(stage: &Stage, query: &str) -> String {
    text(&stage.target, &format!("SELECT count(*)::text FROM {query}")).await
}

async fn goes_along(majors: (u32, u32), name: &str) {
    let pair = TestPair::start(majors.0, majors.1);
    let stage = Stage::new(&pair, name, SOURCE, TABLES, "").await;
    let said = left(&stage);
    assert_eq!(
        said,
        [
            "statistics apart.ab: its schema apart is not on the target",
            "statistics public.on_gone: it reads the dropped column gone",
        ]
    );
    // They change no row: neither a plan that waits nor one that runs minds.
    run(&stage.source, "CREATE STATISTICS since (ndistinct) ON id, a FROM whole; CLUSTER \"Or ders\"").await;
    run(&stage.source, "ALTER TABLE \"Or ders\" SET WITHOUT CLUSTER").await;
    stage.cut_over().assert_switched();
    let objects = lines(&stage.target, OBJECTS).await;
    assert_eq!(
        objects,
        [
            "CREATE STATISTICS public.\"sta\"\"t;s\" (ndistinct, dependencies) ON \"new \"\"name;--\", total FROM \"Or ders\"|it's",
            "CREATE STATISTICS shop.ab (ndistinct) ON a, c FROM shop.moved|NULL",
        ]
    );
    let filled =
        if majors.1 >= 12 { "pg_statistic_ext_data" } else { "pg_statistic_ext WHERE stxndistinct IS NOT NULL" };
    assert_ne!(count(&stage, filled).await, "0", "ANALYZE comes after them");
    assert_eq!(
        lines(&stage.target, MARKS).await,
        ["Or ders|i|by;total|by;total", "moved|d|NULL|NULL", "whole|f|NULL|whole_pkey"]
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_clustering_and_identity_go_along() {
    goes_along((15, 15), "marks").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn statistics_clustering_and_identity_go_along_from_10() {
    goes_along((10, 18), "marks_of_10").await;
}

const EXPRESSIONS: &str = r#"
CREATE TABLE t (id integer PRIMARY KEY, n text, "To tal" integer, c integer);
INSERT INTO t SELECT g, g % 7, g, g % 3 FROM generate_series(1, 500) g;
CREATE STATISTICS alone ON lower(n) FROM t;
CREATE STATISTICS mixed (mcv) ON ("To tal" % 10), c, n FROM t;
ALTER STATISTICS mixed SET STATISTICS 321;
CREATE STATISTICS most (mcv) ON n, c FROM t;"#;

const RENAMED: &str = "    - {name: t, columns: {n: {rename: N}, 'To tal': {rename: 'select'}}}";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn expressions_read_the_new_names() {
    let pair = TestPair::start(15, 18);
    let stage = Stage::new(&pair, "marks_read", EXPRESSIONS, RENAMED, "").await;
    assert_eq!(left(&stage), [""; 0]);
    stage.cut_over().assert_switched();
    assert_eq!(
        lines(&stage.target, OBJECTS).await,
        [
            "CREATE STATISTICS public.alone ON lower(\"N\") FROM t|NULL",
            "CREATE STATISTICS public.mixed (mcv) ON \"N\", c, (\"select\" % 10) FROM t|NULL",
            "CREATE STATISTICS public.most (mcv) ON \"N\", c FROM t|NULL",
        ]
    );
    let told = "SELECT stxstattarget::text FROM pg_statistic_ext WHERE stxname = 'mixed'";
    assert_eq!(text(&stage.target, told).await, "321");
    assert_eq!(count(&stage, "pg_statistic_ext_data").await, "3");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_narrows_what_is_carried_has_them_listed() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "marks_left", EXPRESSIONS, RENAMED, "  carry: [owners, grants]\n").await;
    let why = "`migrate.carry` leaves it out";
    let names = ["alone", "mixed", "most"];
    assert_eq!(left(&stage), names.map(|name| format!("statistics public.{name}: {why}")));
    stage.cut_over().assert_switched();
    assert_eq!(lines(&stage.target, OBJECTS).await, [""; 0]);
}

/// What the target says of itself stands when its changes go back, and a plan with a way back can be taken back.
#[tokio::test(flavor = "multi_thread")]
async fn with_a_way_back() {
    use crate::way_back::{CUTOVER, TABLES, stage_of, switched, wait};
    let pair = TestPair::start(15, 17);
    let more = "ALTER TABLE items REPLICA IDENTITY FULL; ALTER TABLE items CLUSTER ON items_pkey; \
                CREATE STATISTICS of_two ON n, note FROM items";
    let stage = stage_of(&pair, "whole", more, TABLES, CUTOVER).await;
    let running = switched(&stage);
    let marks = "SELECT c.relreplident::text, i.indisclustered::text, (SELECT count(*) FROM pg_statistic_ext)::text \
                 FROM pg_class c JOIN pg_index i ON i.indrelid = c.oid AND i.indisprimary WHERE c.relname = 'items'";
    assert_eq!(lines(&stage.target, marks).await, ["f|true|1"]);
    run(
        &stage.target,
        "UPDATE items SET count = count + 1 WHERE id < 20; DELETE FROM items WHERE id = 30; \
        UPDATE items SET id = 300 WHERE id = 31",
    )
    .await;
    stage
        .until_source(
            "SELECT count(*) FILTER (WHERE n = 1) = 19 AND count(*) FILTER (WHERE id IN (30, 31)) = 0 \
        AND count(*) FILTER (WHERE id = 300) = 1 FROM items",
        )
        .await;
    tokio::task::block_in_place(|| stage.migration.ok(&["rollback", "--yes"]));
    let said = wait(running);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let (source, target) = (
        "SELECT id::text, n::text, note FROM items ORDER BY 1",
        "SELECT id::text, count::text, note FROM items ORDER BY 1",
    );
    assert_eq!(lines(&stage.source, source).await, lines(&stage.target, target).await);
}
