//! Triggers are as on the source once the target is open, fire for the application, and never for a row that is applied.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;

use crate::given_rights::{assert_code, login, outcome, words};
use crate::hooks::{command, does, plan_with, wait, write_program};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, rows, run, text};

const GIVE_UP: [&str; 5] = ["cutover", "--yes", "--switch-happened", "no", "--open-source"];

/// What triggers call, on both ends, and where that is counted.
const CALLED: &str = r#"
CREATE SCHEMA app; CREATE TABLE app.fired (by text, op text);
CREATE FUNCTION app."it fires;--"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
  INSERT INTO app.fired VALUES (TG_NAME, TG_OP || coalesce(' ' || TG_ARGV[0], ''));
  IF TG_LEVEL = 'ROW' AND TG_OP <> 'DELETE' THEN RETURN NEW; ELSIF TG_LEVEL = 'ROW' THEN RETURN OLD; END IF;
  RETURN NULL;
END $$;"#;
const ROLES: &str = "CREATE ROLE app LOGIN; CREATE ROLE app_owner LOGIN;";

const SOURCE: &str = r#"
CREATE TABLE app."Or ders" (id integer PRIMARY KEY, "Na me" text, total integer);
INSERT INTO app."Or ders" SELECT g, g, g FROM generate_series(1, 500) g;
CREATE TRIGGER plain AFTER INSERT OR UPDATE OF "Na me", id ON app."Or ders" FOR EACH ROW EXECUTE PROCEDURE app."it fires;--"('it''s \ é');
CREATE TRIGGER "a""b;-- old.x" AFTER UPDATE ON app."Or ders" FOR EACH ROW
  WHEN (old."Na me" IS DISTINCT FROM new."Na me" AND new.total > 0) EXECUTE PROCEDURE app."it fires;--"();
CREATE TRIGGER always BEFORE INSERT ON app."Or ders" FOR EACH STATEMENT EXECUTE PROCEDURE app."it fires;--"();
ALTER TABLE app."Or ders" ENABLE ALWAYS TRIGGER always;
CREATE TRIGGER replica AFTER INSERT ON app."Or ders" FOR EACH ROW EXECUTE PROCEDURE app."it fires;--"();
ALTER TABLE app."Or ders" ENABLE REPLICA TRIGGER replica;
CREATE TRIGGER disabled AFTER INSERT ON app."Or ders" FOR EACH ROW EXECUTE PROCEDURE app."it fires;--"();
ALTER TABLE app."Or ders" DISABLE TRIGGER disabled;
CREATE CONSTRAINT TRIGGER checked AFTER DELETE ON app."Or ders" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW
  EXECUTE PROCEDURE app."it fires;--"();
CREATE TRIGGER moved AFTER UPDATE ON app."Or ders" REFERENCING OLD TABLE AS "be""fore" NEW TABLE AS after FOR EACH STATEMENT
  EXECUTE PROCEDURE app."it fires;--"();
CREATE TRIGGER emptied BEFORE TRUNCATE ON app."Or ders" FOR EACH STATEMENT EXECUTE PROCEDURE app."it fires;--"();
ALTER TABLE app."Or ders" OWNER TO app_owner; GRANT USAGE ON SCHEMA app TO app_owner, app;
GRANT SELECT, INSERT, UPDATE, DELETE, TRUNCATE ON app."Or ders" TO app;"#;

const TABLES: &str =
    "    - name: app.\"Or ders\"\n      columns: {id: {type: bigint}, 'Na me': {rename: 'new \"name;--'}}";

/// Everything of triggers but the columns' names: those that the fence needs are pcrd's.
const TRIGGERS: &str = r#"SELECT tgname, tgenabled, tgtype, tgdeferrable, tginitdeferred, encode(tgargs, 'hex'), tgoldtable, tgnewtable,
    (SELECT string_agg(attnum::text, ' ' ORDER BY attnum) FROM pg_attribute WHERE attrelid = tgrelid AND attnum = ANY (tgattr)),
    tgqual IS NOT NULL, tgconstraint <> 0, tgfoid::regproc::text
    FROM pg_trigger WHERE tgrelid = 'app."Or ders"'::regclass AND NOT tgisinternal AND tgname NOT LIKE 'pcrd%'"#;

const FIRED: &str = "SELECT count(*) FROM app.fired";

async fn staged(pair: &TestPair, name: &str) -> Stage {
    let on_source = format!("{ROLES} {CALLED} {SOURCE}");
    let on_target = format!("{ROLES} {CALLED} GRANT USAGE, CREATE ON SCHEMA app TO app_owner");
    Stage::with_target(pair, name, &on_source, &on_target, TABLES, "").await
}

/// Roles are the server's: the second stage of a pair finds them.
async fn staged_again(pair: &TestPair, name: &str) -> Stage {
    let on_target = format!("{CALLED} GRANT USAGE, CREATE ON SCHEMA app TO app_owner");
    Stage::with_target(pair, name, &format!("{CALLED} {SOURCE}"), &on_target, TABLES, "").await
}

fn plan_text(stage: &Stage) -> String {
    std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap()
}

/// Writes to the source until the fence refuses it, and says how often it did.
async fn writer(pair: &TestPair, name: &str) -> (JoinHandle<()>, Arc<AtomicU64>) {
    let client = connect_to(&pair.source, name).await;
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let task = tokio::spawn(async move {
        for n in 1_u64.. {
            let sql = format!(
                r#"INSERT INTO app."Or ders" VALUES ({}, 'w', 1); UPDATE app."Or ders" SET "Na me" = 'w{n}' WHERE id = {};
                   DELETE FROM app."Or ders" WHERE id = {}"#,
                10_000 + n,
                n % 500,
                10_000 + n / 2
            );
            if let Err(error) = client.batch_execute(&sql).await {
                assert_eq!(error.code().map(|code| code.code()), Some("25006"), "{error}");
                return;
            }
            counted.fetch_add(1, Ordering::Relaxed);
            tokio::time::sleep(std::time::Duration::from_millis(2)).await;
        }
    });
    (task, count)
}

async fn assert_same_rows(stage: &Stage) {
    stage
        .assert_equal(
            r#"SELECT id, "Na me", total FROM app."Or ders""#,
            r#"SELECT id, "new ""name;--", total FROM app."Or ders""#,
        )
        .await;
}

/// They are as on the source, nothing has fired, and they fire for the application.
async fn assert_triggers(stage: &Stage, pair: &TestPair) {
    stage.assert_equal(TRIGGERS, TRIGGERS).await;
    assert_eq!(text(&stage.target, &format!("SELECT count(*) FROM ({TRIGGERS}) t")).await, "8");
    assert_eq!(text(&stage.target, FIRED).await, "0", "{}: a trigger fired for rows that were applied", stage.name);
    assert_same_rows(stage).await;
    let status = stage.migration.ok(&["status"]);
    assert!(!status.contains("ALARM"), "{status}");
    let app = login(pair, &stage.name, "app").await;
    for (sql, fired) in [
        (r#"INSERT INTO app."Or ders" VALUES (-1, 'a', 1)"#, &["always INSERT", "plain INSERT it's \\ é"][..]),
        (
            r#"UPDATE app."Or ders" SET "new ""name;--" = 'b' WHERE id = -1"#,
            &["a\"b;-- old.x UPDATE", "moved UPDATE", "plain UPDATE it's \\ é"],
        ),
        (
            r#"UPDATE app."Or ders" SET total = 0, "new ""name;--" = "new ""name;--" WHERE id = -1"#,
            &["moved UPDATE", "plain UPDATE it's \\ é"],
        ),
        (r#"UPDATE app."Or ders" SET total = 1 WHERE id = -1"#, &["moved UPDATE"]),
        (
            r#"BEGIN; SET CONSTRAINTS ALL IMMEDIATE; DELETE FROM app."Or ders" WHERE id = -1; COMMIT"#,
            &["checked DELETE"],
        ),
        (r#"BEGIN; TRUNCATE app."Or ders"; ROLLBACK"#, &[]),
    ] {
        assert_eq!(outcome(&app, sql).await, "00000", "{sql}");
        let found = rows(&stage.target, "DELETE FROM app.fired RETURNING by || ' ' || op").await;
        let mut found: Vec<String> = found.into_iter().flatten().flatten().collect();
        found.sort();
        assert_eq!(found, fired, "{sql}");
    }
}

async fn fire_for_the_application(source_major: u32, target_major: u32) {
    let pair = TestPair::start(source_major, target_major);
    let stage = staged(&pair, "fires").await;
    assert_eq!(plan_text(&stage).matches("\"id\": \"create_trigger:").count(), 8);
    let mut apply = stage.start("");
    let (writing, written) = writer(&pair, "fires").await;
    apply.wait_for("\"ready\":true");
    let on_target = r#"SELECT count(*) FROM pg_trigger WHERE tgrelid = 'app."Or ders"'::regclass AND NOT tgisinternal"#;
    assert_eq!(text(&stage.target, on_target).await, "0", "none before the fence");
    stage.migration.ok(&["cutover", "--maintenance-confirmed"]);
    apply.wait().assert_switched();
    writing.await.unwrap();
    assert!(written.load(Ordering::Relaxed) > 20);
    assert_triggers(&stage, &pair).await;
    stage.migration.ok(&["cleanup", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_fire_for_the_application_and_for_no_row_that_is_applied_on_15() {
    fire_for_the_application(15, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_fire_for_the_application_and_for_no_row_that_is_applied_from_10_to_18() {
    fire_for_the_application(10, 18).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn triggers_fire_for_the_application_and_for_no_row_that_is_applied_on_10() {
    fire_for_the_application(10, 10).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_dies_over_triggers_is_followed_by_one_that_makes_them() {
    let pair = TestPair::start(15, 16);
    for (number, point) in ["rights.before-effect", "rights.before-commit", "rights.after-effect"].iter().enumerate() {
        let name = format!("trigger_dies{number}");
        let stage = if number == 0 { staged(&pair, &name).await } else { staged_again(&pair, &name).await };
        let (writing, _) = writer(&pair, &name).await;
        let said = tokio::task::block_in_place(|| stage.start_through(&format!("{point}=return(kill)")).finish());
        assert_eq!(said.code, None, "{point}: {said:?}");
        writing.await.unwrap();
        let made = text(&stage.target, &format!("SELECT count(*) FROM ({TRIGGERS}) t")).await;
        assert_eq!(made, if *point == "rights.after-effect" { "8" } else { "0" }, "{point}: all or nothing");
        wait(stage.start_through("")).assert_switched();
        assert_triggers(&stage, &pair).await;
        stage.end().await;
    }
}

/// Before a row is applied again, nothing is left that would fire for it.
#[tokio::test(flavor = "multi_thread")]
async fn triggers_of_a_switch_that_is_given_up_are_dropped() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "given_up").await;
    plan_with(&stage.migration, "cutover: { fence_timeout: 60, hooks: { switch: [./hook.sh], timeout: 60 } }");
    write_program(
        stage.migration.dir.path(),
        "hook.sh",
        "#!/bin/sh\nif [ -e \"$PCRD_HOOK.sh\" ]; then . \"./$PCRD_HOOK.sh\"; fi\n",
    );
    does(&stage, "switch", "exit 1\n");
    assert_code(&wait(stage.start_through("")), Some(1));
    let count = format!("SELECT count(*) FROM ({TRIGGERS}) t");
    assert_eq!(text(&stage.target, &count).await, "8", "the program that moves the clients finds them");
    // The application may have switched one off meanwhile: it is the plan's all the same. One of its own is not.
    let owner = login(&pair, "given_up", "app_owner").await;
    run(
        &owner,
        r#"ALTER TABLE app."Or ders" DISABLE TRIGGER plain; DROP TRIGGER moved ON app."Or ders";
           CREATE TRIGGER moved BEFORE INSERT ON app."Or ders" FOR EACH ROW EXECUTE FUNCTION app."it fires;--"();
           ALTER TABLE app."Or ders" ENABLE ALWAYS TRIGGER moved"#,
    )
    .await;
    assert_code(&command(&stage, &GIVE_UP, "rights.taken-back=return(kill)"), None);
    assert_eq!(text(&stage.target, &count).await, "1");
    run(&stage.source, r#"INSERT INTO app."Or ders" VALUES (7000, 'later', 1)"#).await;
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    assert!(words(&said.stderr).contains("trigger moved"), "{}", said.stderr);
    run(&stage.target, r#"DROP TRIGGER moved ON app."Or ders""#).await;
    assert_code(&wait(stage.start_through("")), Some(0));
    does(&stage, "switch", "exit 0\n");
    wait(stage.start_through("")).assert_switched();
    assert_triggers(&stage, &pair).await;
}

/// It owns the database and is a member of the owner, no more.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_power_makes_triggers_where_it_may_call_the_function() {
    for (major, member) in [
        (15, "GRANT app_owner TO mover"),
        (16, "GRANT app_owner TO mover WITH INHERIT TRUE, SET TRUE"),
        (18, "GRANT app_owner TO mover WITH INHERIT TRUE, SET TRUE"),
    ] {
        let pair = TestPair::start(15, major);
        let stage = staged(&pair, "powerless").await;
        run(
            &stage.target,
            &format!(
                "CREATE ROLE mover LOGIN REPLICATION; {member}; ALTER DATABASE powerless OWNER TO mover; ALTER SCHEMA app OWNER TO mover; \
                 GRANT SET ON PARAMETER session_replication_role TO mover; \
                 REVOKE EXECUTE ON FUNCTION app.\"it fires;--\"() FROM PUBLIC"
            ),
        )
        .await;
        let path = stage.migration.dir.path().join("pcrd.config.yml");
        let config = std::fs::read_to_string(&path).unwrap();
        let (before, after) = config.split_once("target:").unwrap();
        std::fs::write(&path, format!("{before}target:{}", after.replacen("user: postgres", "user: mover", 1)))
            .unwrap();
        std::fs::remove_file(stage.migration.dir.path().join("plan.json")).unwrap();
        stage.migration.plan();
        // Known before the first row is copied.
        let said = wait(stage.start_through(""));
        assert!(said.code != Some(0), "{major}: {said:?}");
        let why = words(&format!("{}\n{}", said.lines.join("\n"), said.stderr));
        assert!(why.contains("permission denied for function app.it fires;--"), "{major}: {why}");
        run(&stage.target, "GRANT EXECUTE ON FUNCTION app.\"it fires;--\"() TO mover").await;
        let (writing, _) = writer(&pair, "powerless").await;
        wait(stage.start_through("")).assert_switched();
        writing.await.unwrap();
        assert_triggers(&stage, &pair).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_is_not_carried_is_listed_with_the_reason() {
    let pair = TestPair::start(15, 15);
    let on_source = format!(
        "{CALLED} CREATE FUNCTION app.only_here() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS 'BEGIN RETURN NEW; END'; \
         CREATE TABLE app.items (id integer PRIMARY KEY, note text, old text); INSERT INTO app.items SELECT g, g, g FROM generate_series(1, 100) g; \
         CREATE TRIGGER kept BEFORE INSERT ON app.items FOR EACH ROW EXECUTE FUNCTION app.\"it fires;--\"(); \
         CREATE TRIGGER lost BEFORE INSERT ON app.items FOR EACH ROW EXECUTE FUNCTION app.only_here(); \
         CREATE TRIGGER of_dropped AFTER UPDATE OF old, note ON app.items FOR EACH ROW EXECUTE FUNCTION app.\"it fires;--\"(); \
         CREATE TRIGGER reads_dropped AFTER UPDATE ON app.items FOR EACH ROW WHEN (new.old <> old.note) EXECUTE FUNCTION app.\"it fires;--\"(); \
         CREATE CONSTRAINT TRIGGER checks AFTER INSERT ON app.items FOR EACH ROW EXECUTE FUNCTION app.only_here(); \
         COMMENT ON TRIGGER kept ON app.items IS 'why'"
    );
    let tables = "    - {name: app.items, columns: {old: {drop: true}}}";
    for cluster in [&pair.source, &pair.target] {
        run(&connect_to(cluster, "postgres").await, "CREATE DATABASE listed").await;
    }
    let (source, target) = (connect_to(&pair.source, "listed").await, connect_to(&pair.target, "listed").await);
    run(&source, &on_source).await;
    run(&target, CALLED).await;
    let migration = crate::migration::Migration::between(&pair, "listed", tables, "  replication_slot: pcrd_listed\n");
    let path = migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    let accept = "accept: [{code: DELETES_DATA, address: app.items.old, reason: test}, \
                  {code: CONSTRAINT_NOT_CARRIED, address: app.items.checks, reason: test}]";
    std::fs::write(&path, format!("{config}{accept}\n")).unwrap();
    migration.plan();
    let stage = Stage { name: "listed".to_owned(), source, target, migration };
    let plan = plan_text(&stage);
    for listed in [
        r#"its function \"app\".\"only_here\"() is not on the target, and not carried: it has the attribute SECURITY. Create it there first"#,
        "it needs column old, which the target does not have",
        "create_trigger:app.items.kept",
        "the target will not check it",
        "trigger kept on app.items",
    ] {
        assert!(plan.contains(listed), "{listed} is not in the plan:\n{plan}");
    }
    for left in ["lost", "of_dropped", "reads_dropped", "checks"] {
        assert!(!plan.contains(&format!("create_trigger:app.items.{left}")), "{left}: {plan}");
    }
    // The function is there, and the trigger goes along.
    run(&stage.target, "CREATE FUNCTION app.only_here() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'")
        .await;
    let config = std::fs::read_to_string(&path).unwrap();
    let kept = config.replace(", {code: CONSTRAINT_NOT_CARRIED, address: app.items.checks, reason: test}", "");
    std::fs::write(&path, kept).unwrap();
    std::fs::remove_file(stage.migration.dir.path().join("plan.json")).unwrap();
    stage.migration.plan();
    assert_eq!(plan_text(&stage).matches("\"id\": \"create_trigger:").count(), 3);
    stage.cut_over().assert_switched();
    let made = "SELECT string_agg(tgname, ' ' ORDER BY tgname) FROM pg_trigger WHERE tgrelid = 'app.items'::regclass AND NOT tgisinternal";
    assert_eq!(text(&stage.target, made).await, "checks kept lost");
    assert_eq!(text(&stage.target, FIRED).await, "0");
}

/// Whoever drops it before the fence needs a new plan; behind it, it is not made, and said.
#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_the_source_has_dropped_meanwhile_is_not_made() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "dropped").await;
    let mut apply = stage.start("cutover.after-sequences=sleep(4000)");
    apply.wait_for("\"ready\":true");
    let asked = stage.migration.start(&["cutover", "--maintenance-confirmed"], "");
    stage.until_target("SELECT state = 'sequences_set' FROM pcrd.cutover").await;
    run(&stage.source, r#"DROP TRIGGER moved ON app."Or ders"; ALTER TABLE app."Or ders" DISABLE TRIGGER plain"#).await;
    assert_code(&wait(asked), Some(0));
    wait(apply).assert_switched();
    let made = format!("SELECT string_agg(tgname, ' ' ORDER BY tgname COLLATE \"C\") FROM ({TRIGGERS}) t");
    assert_eq!(text(&stage.target, &made).await, "a\"b;-- old.x always checked disabled emptied replica");
    let status = words(&stage.migration.ok(&["status"]));
    assert!(status.contains("ALARM") && status.contains("there is no such trigger moved"), "{status}");
    let create = r#"CREATE TRIGGER "plain" AFTER INSERT OR UPDATE OF"#;
    assert!(status.contains(create), "{status}");
    assert_eq!(text(&stage.target, FIRED).await, "0");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_trigger_that_cannot_be_made_is_an_alarm_with_its_statement() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "alarm").await;
    let mut apply = stage.start("cutover.after-permanent=sleep(4000)");
    apply.wait_for("\"ready\":true");
    // Known before the fence: nothing is closed for it.
    run(&stage.target, r#"ALTER FUNCTION app."it fires;--"() RENAME TO elsewhere"#).await;
    let said = wait(stage.migration.start(&["cutover", "--maintenance-confirmed"], ""));
    assert_code(&said, Some(1));
    let why = words(&said.stderr);
    assert!(why.contains("could not be done behind the fence") && why.contains("create_trigger:"), "{why}");
    run(&stage.source, r#"UPDATE app."Or ders" SET total = 2 WHERE id = 1"#).await;
    run(&stage.target, r#"ALTER FUNCTION app.elsewhere() RENAME TO "it fires;--""#).await;

    let asked = stage.migration.start(&["cutover", "--maintenance-confirmed"], "");
    stage.until_target("SELECT state = 'sequences_set' FROM pcrd.cutover").await;
    run(&stage.target, r#"ALTER FUNCTION app."it fires;--"() RENAME TO elsewhere"#).await;
    assert_code(&wait(asked), Some(0));
    wait(apply).assert_switched();
    let app = login(&pair, "alarm", "app").await;
    assert_eq!(outcome(&app, r#"DELETE FROM app."Or ders" WHERE id = 2"#).await, "00000", "the rest was given");
    run(&stage.target, r#"ALTER FUNCTION app.elsewhere() RENAME TO "it fires;--""#).await;
    let status = words(&stage.migration.ok(&["status"]));
    assert!(status.contains("ALARM"), "{status}");
    let statements = rows(&stage.target, "SELECT statement FROM pcrd.not_given ORDER BY step").await;
    assert_eq!(statements.len(), 8, "{statements:?}");
    for statement in statements.into_iter().flatten().flatten() {
        assert!(status.contains(&words(&statement)), "{statement}: {status}");
        run(&stage.target, &statement).await;
    }
    let status = stage.migration.ok(&["status"]);
    assert!(!status.contains("ALARM"), "{status}");
    stage.assert_equal(TRIGGERS, TRIGGERS).await;
}

/// A trigger that would fire for rows that come back is refused before anything is closed; others go back and forth.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_goes_on_beside_triggers() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "returns").await;
    run(
        &stage.source,
        "CREATE ROLE goes_back LOGIN; GRANT SET ON PARAMETER session_replication_role TO goes_back; \
         GRANT USAGE ON SCHEMA app TO goes_back; GRANT SELECT, INSERT, UPDATE, DELETE ON app.\"Or ders\" TO goes_back",
    )
    .await;
    plan_with(&stage.migration, "cutover: { fence_timeout: 60, reverse: { user: goes_back } }");
    let said = wait(stage.start_through(""));
    assert!(said.code != Some(0) && words(&said.stderr).contains("TRIGGER always"), "{said:?}");
    run(
        &stage.source,
        r#"ALTER TABLE app."Or ders" ENABLE TRIGGER always; ALTER TABLE app."Or ders" ENABLE TRIGGER replica;
           DELETE FROM app.fired"#,
    )
    .await;
    assert_code(&wait(stage.migration.start(&["abort", "--yes"], "")), Some(0));
    std::fs::remove_file(stage.migration.dir.path().join("plan.json")).unwrap();
    stage.migration.plan();
    let mut apply = stage.start_through("");
    tokio::task::block_in_place(|| apply.wait_for("changes of the target go back"));
    let app = login(&pair, "returns", "app").await;
    run(&app, r#"INSERT INTO app."Or ders" VALUES (7000, 'on the target', 1)"#).await;
    assert_ne!(text(&stage.target, FIRED).await, "0");
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    assert_code(&wait(apply), Some(0));
    assert_same_rows(&stage).await;
    assert_eq!(text(&stage.source, FIRED).await, "0", "it fired where the row was written, and not again");
    assert_eq!(outcome(&app, r#"INSERT INTO app."Or ders" VALUES (7001, 'later', 1)"#).await, "25006");
    run(&stage.source, r#"INSERT INTO app."Or ders" VALUES (7002, 'home', 1)"#).await;
    assert_ne!(text(&stage.source, FIRED).await, "0");
    stage.migration.ok(&["cleanup", "--yes"]);
}
