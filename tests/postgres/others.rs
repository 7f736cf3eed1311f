//! What a schema has that no table is: where a pattern chooses its tables, what is not carried is listed by name.

use crate::stage::Stage;
use crate::support::{TestPair, run};

const SOURCE: &str = r#"
CREATE SCHEMA app; CREATE SCHEMA elsewhere;
CREATE TYPE app.used AS ENUM ('a'); CREATE TYPE app.unused AS (x integer); CREATE DOMAIN app."un;used" AS text;
CREATE TABLE app.items (id serial PRIMARY KEY, of app.used, n integer);
CREATE SEQUENCE app.free; CREATE SEQUENCE app.drawn; ALTER TABLE app.items ALTER n SET DEFAULT nextval('app.drawn');
CREATE FUNCTION app."f;"(integer, app.used) RETURNS integer LANGUAGE plpgsql AS 'BEGIN RETURN (SELECT count(*) FROM app.items); END';
CREATE FUNCTION app.there(integer) RETURNS integer LANGUAGE sql AS 'SELECT 1'; CREATE FUNCTION app.there(text) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION app.fires() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE FUNCTION app.fires_not() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END';
CREATE TRIGGER fires BEFORE INSERT ON app.items FOR EACH ROW EXECUTE PROCEDURE app.fires();
CREATE FUNCTION app.of_items(app.items) RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE AGGREGATE app.total(integer) (SFUNC = int4pl, STYPE = integer);
CREATE OPERATOR app.@@@ (PROCEDURE = int4pl, LEFTARG = integer, RIGHTARG = integer);
CREATE COLLATION app.own (LOCALE = 'C'); CREATE TEXT SEARCH CONFIGURATION app.words (COPY = simple);
CREATE FUNCTION elsewhere.other() RETURNS integer LANGUAGE sql AS 'SELECT 1';
CREATE FUNCTION public.watch() RETURNS event_trigger LANGUAGE plpgsql AS 'BEGIN END';
CREATE EVENT TRIGGER "wa tch" ON ddl_command_end EXECUTE PROCEDURE public.watch(); ALTER EVENT TRIGGER "wa tch" DISABLE;
CREATE EXTENSION citext SCHEMA app; SELECT lo_create(0);
"#;

const TARGET: &str =
    "CREATE SCHEMA app; CREATE FUNCTION app.there(integer) RETURNS integer LANGUAGE sql AS 'SELECT 2';";

fn left(stage: &Stage) -> Vec<String> {
    let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
    let plan: serde_json::Value = serde_json::from_str(&plan).unwrap();
    let all = plan["plan"]["not_carried"].as_array().unwrap().iter();
    all.map(|left| format!("{} {}", left["kind"].as_str().unwrap(), left["name"].as_str().unwrap())).collect()
}

async fn is_listed(majors: (u32, u32), name: &str) {
    let pair = TestPair::start(majors.0, majors.1);
    let stage = Stage::with_target(&pair, name, SOURCE, TARGET, "    - 'app.*'", "").await;
    assert_eq!(
        left(&stage),
        [
            "aggregate app.total(integer)",
            "collation app.own",
            "event trigger \"wa tch\"",
            "function app.\"f;\"(integer,app.used)",
            "function app.fires_not()",
            "function app.of_items(app.items)",
            "function app.there(text)",
            "large objects all of the database",
            "operator app.@@@(integer,integer)",
            "owner type app.used",
            "sequence app.free",
            "text search configuration app.words",
            "type app.\"un;used\"",
            "type app.unused",
        ]
    );
    // Who names the table has chosen no schema.
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap().replace("- 'app.*'", "- app.items");
    std::fs::write(&path, config).unwrap();
    stage.migration.plan();
    assert_eq!(left(&stage), ["function app.of_items(app.items)", "owner type app.used"]);
    run(&stage.source, "DROP EVENT TRIGGER \"wa tch\"").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_schema_has_besides_is_listed() {
    is_listed((15, 17), "others").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_schema_of_10_has_besides_is_listed() {
    is_listed((10, 15), "others_of_10").await;
}
