//! Views over what is migrated go along under the target's names, and show there what they show on the source; what cannot go is
//! listed by name with the reason.

use crate::stage::Stage;
use crate::support::{TestPair, connect_to, rows, run, text};

/// Names that are exchanged, quoted or an alias elsewhere; a schema that is named like an alias with a column of the table's name.
const SOURCE: &str = r#"
CREATE SCHEMA app; CREATE SCHEMA "re;po""rts";
CREATE TABLE app.orders (id integer PRIMARY KEY, a integer, b text, app integer, gone integer, at timestamptz DEFAULT now());
INSERT INTO app.orders SELECT g, g % 7, 'b' || g % 5, g % 3, g FROM generate_series(1, 300) g;
CREATE TABLE app."Li nes" ("order" integer REFERENCES app.orders, nr integer, "Qty;" numeric(8,2), PRIMARY KEY ("order", nr));
INSERT INTO app."Li nes" SELECT g % 300 + 1, g, g / 7.0 FROM generate_series(1, 900) g;
CREATE TABLE app.stays (id integer PRIMARY KEY);
CREATE FUNCTION app.twice(integer) RETURNS integer LANGUAGE sql IMMUTABLE AS 'SELECT $1 * 2';
CREATE VIEW app.swapped AS SELECT id, a, b, a AS "a;b", app, 'app.orders' AS text FROM app.orders;
CREATE VIEW app.misleading AS SELECT app.orders FROM app.orders, LATERAL (SELECT 1 AS orders) AS app;
CREATE VIEW app.joined AS SELECT o.id, o.b, count(*) AS n, sum(l."Qty;") AS "Su m"
  FROM app.orders o JOIN app."Li nes" l ON l."order" = o.id GROUP BY o.id;
CREATE VIEW "re;po""rts"."over;" AS WITH q AS (SELECT j.*, row_number() OVER (PARTITION BY b ORDER BY id) AS r FROM app.joined j)
  SELECT q.id, q.r, 'app.orders; ' || q.b AS text, (SELECT max(a) FROM app.orders x WHERE x.id <= q.id) AS most FROM q WHERE r < 20;
CREATE VIEW app.some WITH (security_barrier = true) AS SELECT id, a, b FROM app.orders WHERE a < 5 WITH LOCAL CHECK OPTION;
CREATE VIEW app.whole AS SELECT o.id, row_to_json(o.*) ->> 'id' AS text FROM app.orders o;
COMMENT ON VIEW app.some IS 'it''s; some'; COMMENT ON COLUMN app.some.a IS 'not "b"';
CREATE VIEW app.on_gone AS SELECT id, gone FROM app.orders; CREATE VIEW app.on_that AS SELECT id FROM app.on_gone;
CREATE VIEW app.of_others AS SELECT s.id FROM app.stays s JOIN app.orders o USING (id);
CREATE VIEW app.calls AS SELECT app.twice(a) FROM app.orders; CREATE VIEW app.calls_on AS SELECT * FROM app.calls;
CREATE MATERIALIZED VIEW app."ke;pt" WITH (fillfactor = 70) AS SELECT a, max(b) AS b, count(*) AS n FROM app.orders GROUP BY a;
CREATE UNIQUE INDEX "by;a" ON app."ke;pt" (a); CREATE INDEX ON app."ke;pt" (lower(b)) WHERE n > 1;
COMMENT ON MATERIALIZED VIEW app."ke;pt" IS 'kept';
CREATE MATERIALIZED VIEW app.empty AS SELECT id FROM app.some WITH NO DATA; CREATE VIEW app.elsewhere AS SELECT 1;"#;

const TABLES: &str = "    - name: app.orders\n      target: app.\"Or ders\"\n      columns: {id: {type: bigint}, a: {rename: b}, b: {rename: a}, app: {rename: orders}, gone: {drop: true}}\n    \
                      - {name: 'app.\"Li nes\"', columns: {'Qty;': {rename: \"quantity;--\"}, order: {type: bigint}}}";

const ACCEPT: &str = "accept: [{code: DELETES_DATA, address: app.orders.gone, reason: test}]";

/// Every view of users, with what it is in words.
const VIEWS: &str = "SELECT format('%I.%I', n.nspname, c.relname), coalesce(c.reloptions::text, '-'), \
    coalesce(obj_description(c.oid, 'pg_class'), '-'), coalesce(string_agg(col_description(c.oid, a.attnum), ','), '-') \
    FROM pg_class c JOIN pg_namespace n ON n.oid = c.relnamespace JOIN pg_attribute a ON a.attrelid = c.oid \
    WHERE c.relkind IN ('v', 'm') AND n.nspname !~ '^pg_' AND n.nspname NOT IN ('information_schema', 'pcrd') \
    GROUP BY n.nspname, c.relname, c.oid, c.reloptions ORDER BY 1";

fn left(stage: &Stage) -> Vec<String> {
    let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let all = plan["plan"]["not_carried"].as_array().unwrap().iter();
    let of_views = all.filter(|left| left["kind"].as_str().unwrap().ends_with("view"));
    of_views.map(|left| format!("{}: {}", left["name"].as_str().unwrap(), left["why"].as_str().unwrap())).collect()
}

async fn lines(client: &tokio_postgres::Client, query: &str) -> Vec<String> {
    let line = |row: Vec<Option<String>>| row.into_iter().map(Option::unwrap).collect::<Vec<_>>().join("|");
    rows(client, query).await.into_iter().map(line).collect()
}

/// Writes the acceptances and plans again.
fn accept(stage: &Stage) {
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, format!("{config}{ACCEPT}\n")).unwrap();
    stage.migration.plan();
}

async fn goes_along(majors: (u32, u32), name: &str) {
    let pair = TestPair::start(majors.0, majors.1);
    for cluster in [&pair.source, &pair.target] {
        run(&connect_to(cluster, "postgres").await, &format!("CREATE DATABASE \"{name}\"")).await;
    }
    let (source, target) = (connect_to(&pair.source, name).await, connect_to(&pair.target, name).await);
    run(&source, SOURCE).await;
    let more = format!("  replication_slot: pcrd_{name}\n  lag_threshold_bytes: 33554432\n");
    let migration = crate::migration::Migration::between(&pair, name, TABLES, &more);
    let stage = Stage { name: name.to_owned(), source, target, migration };
    accept(&stage);
    let said = left(&stage);
    assert_eq!(
        said,
        [
            "app.calls: the target's server refuses it: schema \"app\" does not exist (SQLSTATE 3F000)",
            "app.calls_on: it reads app.calls, which is not carried",
            "app.misleading: the target's server refuses it: missing FROM-clause entry for table \"app\" (SQLSTATE 42P01)",
            "app.of_others: it reads app.stays, which is not migrated",
            "app.on_gone: it reads the dropped column app.orders.gone",
            "app.on_that: it reads app.on_gone, which is not carried",
        ]
    );
    stage.cut_over().assert_switched();
    assert_eq!(
        lines(&stage.target, VIEWS).await,
        [
            "\"re;po\"\"rts\".\"over;\"|-|-|-",
            "app.\"ke;pt\"|{fillfactor=70}|kept|-",
            "app.\"some\"|{check_option=local,security_barrier=true}|it's; some|not \"b\"",
            "app.empty|-|-|-",
            "app.joined|-|-|-",
            "app.swapped|-|-|-",
            "app.whole|-|-|-",
        ]
    );
    let indexes = "SELECT string_agg(pg_get_indexdef(indexrelid), '; ' ORDER BY indexrelid) FROM pg_index WHERE indrelid = 'app.\"ke;pt\"'::regclass";
    stage.assert_equal(indexes, indexes).await;
    assert_eq!(
        text(&stage.target, "SELECT string_agg(relname, ',') FROM pg_class WHERE NOT relispopulated").await,
        "empty"
    );
    for view in ["\"re;po\"\"rts\".\"over;\"", "app.\"ke;pt\"", "app.joined", "app.some", "app.swapped", "app.whole"] {
        let query = format!("SELECT * FROM {view}");
        assert_ne!(text(&stage.target, &format!("SELECT count(*) FROM {view}")).await, "0", "{view}");
        stage.assert_equal(&query, &query).await;
    }
    run(&stage.target, "UPDATE app.some SET b = 'new' WHERE id = 3").await;
    assert_eq!(text(&stage.target, "SELECT a FROM app.\"Or ders\" WHERE id = 3").await, "new");
    let broken = stage.target.batch_execute("UPDATE app.some SET a = 9 WHERE id = 3").await.unwrap_err();
    assert_eq!(broken.code().unwrap().code(), "44000", "the check option holds");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_go_along() {
    goes_along((15, 15), "views").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_go_along_from_10() {
    goes_along((10, 18), "views_of_10").await;
}

const SIMPLE: &str = "CREATE TABLE t (id integer PRIMARY KEY, n integer, m integer); INSERT INTO t SELECT g, g, g FROM generate_series(1, 200) g; \
     CREATE TABLE u (id integer PRIMARY KEY, t integer REFERENCES t); INSERT INTO u SELECT g, g FROM generate_series(1, 100) g; \
     CREATE VIEW v AS SELECT id, n FROM t; CREATE VIEW w AS SELECT v.n, u.id FROM v JOIN u ON u.t = v.id;";

const RENAMED: &str = "    - {name: t, columns: {n: {rename: number, type: bigint}}}\n    - u";

const NAMES: &str = "SELECT relname FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relkind = 'v' \
     AND nspname = 'public' ORDER BY 1";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_that_changes_on_the_source_ends_the_attempt() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "views_change", SIMPLE, RENAMED, "").await;
    run(&stage.source, "CREATE OR REPLACE VIEW v AS SELECT id, n, m FROM t").await;
    let said = stage.cut_over();
    assert_ne!(said.code, Some(0));
    assert!(said.stderr.contains("the view public.v on the source is not that of the plan"), "{}", said.stderr);
    run(&stage.source, "INSERT INTO t VALUES (1000, 1, 1); CREATE VIEW later AS SELECT m FROM t").await;
    // The same run goes on under a new plan, which has the new ones.
    tokio::task::block_in_place(|| stage.migration.ok(&["plan", "--out", "new.json"]));
    let args = ["--json", "apply", "new.json", "--adopt", "--yes", "--through", "cutover"];
    tokio::task::block_in_place(|| stage.migration.start(&args, "").finish()).assert_switched();
    assert_eq!(lines(&stage.target, NAMES).await, ["later", "v", "w"]);
    stage.assert_equal("SELECT * FROM v", "SELECT * FROM v").await;
    stage.assert_equal("SELECT * FROM w", "SELECT * FROM w").await;
}

/// A table is made anew under a view of the run's own, and an abort leaves none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_are_taken_away_and_made_again() {
    let pair = TestPair::start(15, 17);
    let stage = Stage::new(&pair, "views_again", SIMPLE, RENAMED, "").await;
    let mut running = stage.start("");
    tokio::task::block_in_place(|| running.wait_for("\"gate\""));
    assert_eq!(lines(&stage.target, NAMES).await, ["v", "w"]);
    run(&stage.source, "ALTER TABLE t ALTER m TYPE bigint; CREATE VIEW later AS SELECT m FROM t").await;
    let said = tokio::task::block_in_place(|| running.finish());
    assert_eq!(said.code, Some(4), "{}", said.stderr);
    tokio::task::block_in_place(|| stage.migration.ok(&["plan", "--out", "new.json"]));
    let args = ["--json", "apply", "new.json", "--adopt", "--yes"];
    let mut running = stage.migration.start(&args, "");
    tokio::task::block_in_place(|| running.wait_for("\"gate\""));
    assert_eq!(lines(&stage.target, NAMES).await, ["later", "v", "w"]);
    tokio::task::block_in_place(|| running.interrupt());
    tokio::task::block_in_place(|| stage.migration.ok(&["abort", "--yes"]));
    let there = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE nspname = 'public'";
    assert_eq!(text(&stage.target, there).await, "0");
}

/// It shows what its owner may see: with another owner on the target it is for nobody else.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_shows_nobody_more_than_on_the_source() {
    let pair = TestPair::start(15, 15);
    for cluster in [&pair.source, &pair.target] {
        let admin = connect_to(cluster, "postgres").await;
        run(&admin, "CREATE ROLE keeper; CREATE ROLE clerk; CREATE ROLE reader").await;
    }
    let ddl = "CREATE SCHEMA s AUTHORIZATION keeper; GRANT USAGE ON SCHEMA s TO clerk, reader; GRANT CREATE ON SCHEMA s TO clerk; \
         SET ROLE keeper; CREATE TABLE s.t (id integer PRIMARY KEY, who text); INSERT INTO s.t SELECT g, 'reader' FROM generate_series(1, 9) g; \
         ALTER TABLE s.t ENABLE ROW LEVEL SECURITY; CREATE POLICY own ON s.t USING (id < 4); GRANT SELECT ON s.t TO clerk; \
         SET ROLE clerk; CREATE VIEW s.few AS SELECT id FROM s.t; GRANT SELECT ON s.few TO reader; RESET ROLE";
    let seen = "SELECT count(*) FROM s.few";
    let carried = Stage::new(&pair, "views_owned", ddl, "    - s.t", "").await;
    carried.cut_over().assert_switched();
    let owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'few'";
    assert_eq!(text(&carried.target, owner).await, "clerk");
    for end in [&carried.source, &carried.target] {
        run(end, "SET ROLE reader").await;
        assert_eq!(text(end, seen).await, "3");
        run(end, "RESET ROLE").await;
    }
    for (name, carry) in
        [("views_ownerless", "[grants, policies, views]"), ("views_unguarded", "[owners, grants, views]")]
    {
        let stage = Stage::new(&pair, name, ddl, "    - s.t", &format!("  carry: {carry}\n")).await;
        stage.cut_over().assert_switched();
        let granted =
            "SELECT count(*) FROM pg_class c, aclexplode(c.relacl) a WHERE relname = 'few' AND grantee <> relowner";
        assert_eq!(text(&stage.target, granted).await, "0", "{carry}");
        let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
        assert!(plan.contains("SELECT to reader on view s.few"), "{carry}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn who_narrows_what_is_carried_has_views_listed() {
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "views_left", SIMPLE, RENAMED, "  carry: [owners, grants]\n").await;
    let why = "`migrate.carry` leaves it out";
    assert_eq!(left(&stage), ["v", "w"].map(|name| format!("public.{name}: {why}")));
    stage.cut_over().assert_switched();
    assert_eq!(lines(&stage.target, NAMES).await, [""; 0]);
}

/// A pattern that matches a view does not list it as left when it goes along, and lists what reads nothing that is migrated.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pattern_takes_views_along() {
    let pair = TestPair::start(15, 15);
    let ddl = format!("{SIMPLE} CREATE VIEW alone AS SELECT 1");
    let stage = Stage::new(&pair, "views_by_pattern", &ddl, "    - '*'", "").await;
    assert_eq!(
        left(&stage),
        ["public.alone: a view has no rows of its own: it goes along where all that it reads is migrated"]
    );
    stage.cut_over().assert_switched();
    assert_eq!(lines(&stage.target, NAMES).await, ["v", "w"]);
}

/// After a rollback the target's tables go, with the views over them that the plan made.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn views_go_with_the_tables_of_a_target_that_is_given_up() {
    use crate::way_back::{CUTOVER, TABLES, stage_of, switched, wait};
    let pair = TestPair::start(15, 17);
    let more = "CREATE VIEW few AS SELECT id, n FROM items WHERE id < 10; CREATE VIEW fewer AS SELECT n FROM few WHERE id < 5; \
                CREATE MATERIALIZED VIEW kept AS SELECT count(*) FROM few";
    let stage = stage_of(&pair, "given_up_views", more, TABLES, CUTOVER).await;
    let running = switched(&stage);
    let shown = "SELECT (SELECT count(*) FROM few) + (SELECT count(*) FROM fewer) + (SELECT count FROM kept)";
    assert_eq!(text(&stage.target, shown).await, text(&stage.source, shown).await);
    tokio::task::block_in_place(|| stage.migration.ok(&["rollback", "--yes"]));
    let said = wait(running);
    assert_eq!(said.code, Some(0), "{}", said.stderr);
    let args = ["cleanup", "--yes", "--drop-target", "--yes-drop", "public.items"];
    tokio::task::block_in_place(|| stage.migration.ok(&args));
    let left = "SELECT count(*) FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace \
                WHERE nspname = 'public' AND relname IN ('items', 'few', 'fewer', 'kept')";
    assert_eq!([text(&stage.target, left).await, text(&stage.source, left).await], ["0", "4"]);
}

/// A target that does not know `security_invoker` would show every reader what the owner sees.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_view_with_its_readers_rights_stays_where_there_are_none() {
    let ddl = format!("{SIMPLE} CREATE VIEW own WITH (security_invoker = true) AS SELECT id FROM t");
    let pair = TestPair::start(15, 14);
    let stage = Stage::new(&pair, "views_invoker", &ddl, RENAMED, "").await;
    let why =
        "its readers need rights of their own (security_invoker), and the target knows that from PostgreSQL 15 on";
    assert_eq!(left(&stage), [format!("public.own: {why}")]);
    let pair = TestPair::start(15, 15);
    let stage = Stage::new(&pair, "views_invoker", &ddl, RENAMED, "").await;
    assert_eq!(left(&stage), [""; 0]);
    stage.cut_over().assert_switched();
    let options = "SELECT reloptions::text FROM pg_class WHERE relname = 'own'";
    assert_eq!(text(&stage.target, options).await, "{security_invoker=true}");
}

/// What a refusal says is the same in each plan, and names the source's schemas, however many there are.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_names_the_schemas_of_the_source() {
    let pair = TestPair::start(15, 15);
    let of = |number: i32| {
        format!(
            "CREATE SCHEMA s{number:02}; CREATE TABLE s{number:02}.t (id integer PRIMARY KEY, n integer); \
             CREATE FUNCTION of(s{number:02}.t) RETURNS integer LANGUAGE sql AS 'SELECT 1'; \
             CREATE VIEW s{number:02}.v AS SELECT of(t) FROM s{number:02}.t; "
        )
    };
    let ddl: String = (0..12).map(of).collect();
    let table = |number: i32| format!("    - s{number:02}.t\n");
    let tables: String = (0..12).map(table).collect();
    let stage = Stage::new(&pair, "views_refused", &ddl, &tables, "").await;
    let said = left(&stage);
    assert_eq!(said.len(), 12, "{said:#?}");
    for (number, line) in said.iter().enumerate() {
        let said = "the target's server refuses it: function public.of";
        assert_eq!(*line, format!("s{number:02}.v: {said}(s{number:02}.t) does not exist (SQLSTATE 42883)"));
    }
}
