//! What ANALYZE is told of a column goes along under the column's new name; what does not go is listed by name.

use crate::migration::Migration;
use crate::stage::Stage;
use crate::support::{TestPair, run, text};

const SOURCE: &str = r#"
CREATE TABLE "Or ders" (id integer PRIMARY KEY, "Na me" text, total integer, plain integer, gone integer);
INSERT INTO "Or ders" SELECT g, g % 7, g, g, g FROM generate_series(1, 500) g;
ALTER TABLE "Or ders" ALTER "Na me" SET STATISTICS 1234, ALTER "Na me" SET (n_distinct = -0.25, n_distinct_inherited = 7),
  ALTER total SET STATISTICS 0, ALTER gone SET STATISTICS 9;
CREATE INDEX "by na;me" ON "Or ders" (lower("Na me"));
ALTER TABLE "Or ders" CLUSTER ON "by na;me";
CREATE TABLE elsewhere (id integer PRIMARY KEY);"#;

const TABLES: &str = "    - name: '\"Or ders\"'\n      columns: {id: {type: bigint}, 'Na me': {rename: 'new \"name;--'}, gone: {drop: true}}\n    - elsewhere";

const TOLD: &str = r#"SELECT coalesce(string_agg(format('%s %s %s', attname, attstattarget, attoptions), '; ' ORDER BY attname), '')
    FROM pg_attribute WHERE attrelid = '"Or ders"'::regclass AND attnum > 0 AND NOT attisdropped AND (attstattarget >= 0 OR attoptions IS NOT NULL)"#;

async fn goes_along(majors: (u32, u32), name: &str) {
    let pair = TestPair::start(majors.0, majors.1);
    // Older servers have no targets of indexes.
    let of_index = if majors.0 >= 11 { r#"ALTER INDEX "by na;me" ALTER COLUMN 1 SET STATISTICS 321"# } else { "" };
    let stage = Stage::new(&pair, name, &format!("{SOURCE} {of_index}"), TABLES, "").await;
    let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let left: Vec<String> = plan["plan"]["not_carried"]
        .as_array()
        .unwrap()
        .iter()
        .map(|left| format!("{}: {}", left["kind"].as_str().unwrap(), left["name"].as_str().unwrap()))
        .collect();
    let target = r#"statistics target: column 1 of index public."by na;me""#;
    let has = |wanted: &str| left.iter().any(|line| line == wanted);
    assert!(has(target) != of_index.is_empty(), "{left:?}");
    // It changes no row: neither a plan that waits nor one that runs minds it.
    run(&stage.source, r#"ALTER TABLE "Or ders" ALTER plain SET STATISTICS 5, ALTER plain SET (n_distinct = 3)"#).await;
    stage.cut_over().assert_switched();
    let told = text(&stage.target, TOLD).await;
    assert_eq!(told, "new \"name;-- 1234 {n_distinct=-0.25,n_distinct_inherited=7}; total 0 ");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_analyze_is_told_goes_along() {
    goes_along((15, 18), "told").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_analyze_is_told_goes_along_from_10() {
    goes_along((10, 15), "told_of_10").await;
}

/// A whole schema in SQL says it too, and what it does not say is not on the target.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_schema_in_sql_says_what_analyze_is_told() {
    let pair = TestPair::start(15, 18);
    let stage = Stage::new(&pair, "told_in_sql", SOURCE, TABLES, "").await;
    let desired = r#"
CREATE TABLE "Or ders" (id integer PRIMARY KEY, "Na me" text, total integer, plain integer, gone integer);
ALTER TABLE "Or ders" ALTER COLUMN "Na me" SET STATISTICS 77;
ALTER TABLE "Or ders" ALTER COLUMN total SET (n_distinct = '5');
CREATE INDEX "by na;me" ON "Or ders" (lower("Na me"));
CREATE TABLE elsewhere (id integer PRIMARY KEY);"#;
    let of_schema = Migration::of_schema(&pair, "told_in_sql", desired, "  replication_slot: pcrd_told_in_sql\n");
    let said = of_schema.ok(&["plan", "--out", "plan.json"]);
    let said = format!("{said}{}", of_schema.ok(&["show", "plan.json"]));
    assert!(said.contains("STATISTICS 77"), "{said}");
    let stage = Stage { migration: of_schema, ..stage };
    stage.cut_over().assert_switched();
    assert_eq!(text(&stage.target, TOLD).await, "Na me 77 ; total  {n_distinct=5}");
}
