//! Rights that the switch gives on the target: taken back when it is given up, no more than the source has, and never a
//! reason to keep both ends closed.

use crate::hooks::{command, does, plan_with, wait, write_program};
use crate::migration::Said;
use crate::stage::Stage;
use crate::support::{TestPair, connect, connect_to, rows, run, text};

/// As one line: reports fold long ones.
pub fn words(text: &str) -> String {
    text.split_whitespace().filter(|word| *word != "│").collect::<Vec<_>>().join(" ")
}

const ROLES: &str =
    "CREATE ROLE app LOGIN; CREATE ROLE app_owner LOGIN; CREATE ROLE other LOGIN; CREATE ROLE dropped LOGIN;";
const TABLES: &str = "    - app.items\n    - app.things";

/// Two tables in a schema that the target has already.
pub async fn staged(pair: &TestPair, name: &str) -> Stage {
    let on_source = format!(
        "{ROLES} CREATE SCHEMA app AUTHORIZATION app_owner; SET ROLE app_owner; \
         CREATE TABLE app.items (id integer PRIMARY KEY, note text); CREATE TABLE app.things (id integer PRIMARY KEY, note text); \
         GRANT USAGE ON SCHEMA app TO app; GRANT SELECT, INSERT, UPDATE ON app.items TO app WITH GRANT OPTION; \
         GRANT SELECT ON app.things TO app, dropped; GRANT UPDATE (note) ON app.things TO app; RESET ROLE; \
         INSERT INTO app.items SELECT g, g FROM generate_series(1, 300) g; INSERT INTO app.things SELECT g, g FROM generate_series(1, 300) g"
    );
    let on_target = format!("{ROLES} CREATE SCHEMA app; GRANT USAGE, CREATE ON SCHEMA app TO app_owner");
    Stage::with_target(pair, name, &on_source, &on_target, TABLES, "").await
}

pub async fn login(pair: &TestPair, database: &str, role: &str) -> tokio_postgres::Client {
    let mut conninfo = pair.target.conninfo(database);
    conninfo.user = role.to_owned();
    connect(&conninfo).await
}

/// The SQLSTATE of a statement; `00000` when it succeeds.
pub async fn outcome(client: &tokio_postgres::Client, sql: &str) -> String {
    match client.batch_execute(sql).await {
        Ok(()) => "00000".to_owned(),
        Err(error) => error.code().unwrap().code().to_owned(),
    }
}

#[track_caller]
pub fn assert_code(said: &Said, code: Option<i32>) {
    assert_eq!(said.code, code, "{}\n{}", said.lines.join("\n"), said.stderr);
}

/// Owners, and what others have; who may use the schema.
pub const STATE: &str = "SELECT relname, pg_get_userbyid(relowner), (SELECT string_agg(a::text, ' ') FROM aclexplode(relacl) a \
     WHERE grantee <> relowner), (SELECT string_agg(a::text, ' ') FROM pg_attribute t, aclexplode(attacl) a WHERE attrelid = c.oid), \
     (SELECT nspacl::text FROM pg_namespace WHERE nspname = 'app') FROM pg_class c WHERE relname IN ('items', 'things') ORDER BY 1";

/// The switch hook has failed, and the operator says that it moved nobody.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_is_given_up_takes_every_right_back() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "given_up").await;
    plan_with(&stage.migration, "cutover: { fence_timeout: 60, hooks: { switch: [./hook.sh], timeout: 60 } }");
    write_program(
        stage.migration.dir.path(),
        "hook.sh",
        "#!/bin/sh\nif [ -e \"$PCRD_HOOK.sh\" ]; then . \"./$PCRD_HOOK.sh\"; fi\n",
    );
    assert_code(
        &wait(stage.migration.start(&["--json", "apply", "plan.json", "--yes", "--through", "verify"], "")),
        Some(0),
    );
    let before = rows(&stage.target, STATE).await;
    does(&stage, "switch", "touch called\nexit 1\n");
    assert_code(&wait(stage.start_through("")), Some(1));
    assert!(stage.migration.dir.path().join("called").exists());
    // The program that moves the clients finds them able to work.
    let (app, owner) = (login(&pair, "given_up", "app").await, login(&pair, "given_up", "app_owner").await);
    assert_eq!(outcome(&app, "INSERT INTO app.items VALUES (1001, 'app')").await, "00000");
    assert_eq!(outcome(&app, "DELETE FROM app.items WHERE id = 1001").await, "42501");
    run(&owner, "DELETE FROM app.items WHERE id = 1001").await;
    run(&app, "UPDATE app.items SET note = 'only here' WHERE id = 299").await;
    // Rights go on to others, and the owner leaves code of its own.
    run(&app, "GRANT INSERT ON app.items TO other").await;
    run(
        &owner,
        "GRANT DELETE ON app.things TO other; CREATE TABLE app.ran (by text); GRANT ALL ON app.ran TO PUBLIC; \
         CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS \
         'BEGIN INSERT INTO app.ran VALUES (current_user); RETURN NEW; END'; \
         CREATE TRIGGER code_of_others BEFORE INSERT OR UPDATE ON app.items FOR EACH ROW EXECUTE FUNCTION app.note(); \
         ALTER TABLE app.items ENABLE ALWAYS TRIGGER code_of_others",
    )
    .await;
    let give_up = ["cutover", "--yes", "--switch-happened", "no", "--open-source"];
    assert_eq!(command(&stage, &give_up, "rights.taken-back=return(kill)").code, None);
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("trigger code_of_others"), "{}", said.stderr);
    // The source is open, and nothing of what comes there is applied to a table with somebody else's code.
    run(
        &stage.source,
        "UPDATE app.items SET note = 'later' WHERE id % 2 = 0; INSERT INTO app.items VALUES (2000, 'later')",
    )
    .await;
    assert_eq!(rows(&stage.target, STATE).await, before);
    assert_eq!(outcome(&app, "UPDATE app.items SET note = 'lost'").await, "42501");
    assert_code(&wait(stage.start_through("")), Some(1));
    run(&stage.target, "DROP TRIGGER code_of_others ON app.items").await;
    assert_code(&wait(stage.start_through("")), Some(0));
    // Rows that somebody wrote there are found, though the source never touched them.
    let said = wait(stage.start_through(""));
    assert!(said.code != Some(0) && words(&said.stderr).contains("differ"), "{}", said.stderr);
    run(&stage.target, "UPDATE app.items SET note = '299' WHERE id = 299").await;
    does(&stage, "switch", "exit 0\n");
    wait(stage.start_through("")).assert_switched();
    assert_eq!(text(&stage.target, "SELECT count(*) FROM app.ran").await, "0");
    for table in ["app.items", "app.things"] {
        let query = format!("SELECT * FROM {table}");
        stage.assert_equal(&query, &query).await;
    }
    assert_eq!(outcome(&app, "UPDATE app.items SET note = 'app' WHERE id = 1").await, "00000");
    let others = "SELECT has_table_privilege('other', 'app.items', 'INSERT') OR has_table_privilege('other', 'app.things', 'DELETE')";
    assert_eq!(text(&stage.target, others).await, "f");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_abort_behind_the_fence_leaves_nobody_a_right() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "aborted").await;
    plan_with(
        &stage.migration,
        "cutover: { fence_timeout: 60, hooks: { switch: [/bin/sh, -c, 'exit 1'], timeout: 60 } }",
    );
    let schema = "SELECT nspacl::text FROM pg_namespace WHERE nspname = 'app'";
    let before = text(&stage.target, schema).await;
    assert_code(&wait(stage.start_through("")), Some(1));
    assert_ne!(text(&stage.target, schema).await, before, "the rights were given");
    let give_up = ["cutover", "--yes", "--switch-happened", "no", "--open-source"];
    assert_code(&command(&stage, &give_up, "hook.switch-given-up=return(kill)"), None);
    assert_code(&command(&stage, &["abort", "--yes"], ""), Some(0));
    assert_eq!(text(&stage.target, schema).await, before);
    assert_eq!(text(&stage.target, "SELECT count(*) FROM pg_class WHERE relname = 'items'").await, "0");
}

/// Whoever has lost a right, or a table, before the switch does not find it on the target.
#[tokio::test(flavor = "multi_thread")]
async fn what_the_source_has_taken_away_is_not_given() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "less").await;
    let mut apply = stage.start("cutover.after-sequences=sleep(4000)");
    apply.wait_for("\"ready\":true");
    run(&stage.source, "REVOKE INSERT ON app.items FROM app; ALTER TABLE app.things OWNER TO other").await;
    let asked = stage.migration.start(&["cutover", "--maintenance-confirmed"], "");
    // Behind the fence too.
    stage.until_target("SELECT state = 'sequences_set' FROM pcrd.cutover").await;
    run(&stage.source, "REVOKE GRANT OPTION FOR UPDATE ON app.items FROM app").await;
    let said = wait(asked);
    assert_code(&said, Some(0));
    for what in ["app does not have INSERT", "app may not grant UPDATE", "does not belong to app_owner"] {
        assert!(said.stderr.contains(what) || said.lines.join("\n").contains(what), "{what}: {said:?}");
    }
    wait(apply).assert_switched();
    let may = "SELECT has_table_privilege('app', 'app.items', 'SELECT'), has_table_privilege('app', 'app.items', 'INSERT'), \
               has_table_privilege('app', 'app.items', 'UPDATE'), \
               has_table_privilege('app', 'app.items', 'UPDATE WITH GRANT OPTION'), (SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'things')";
    let found: Vec<String> = rows(&stage.target, may).await.remove(0).into_iter().flatten().collect();
    assert_eq!(found, ["t", "f", "t", "f", "postgres"]);
    let status = stage.migration.ok(&["status"]);
    assert!(status.contains("does not belong to app_owner"), "{status}");
    // What was taken away during the cutover may have been taken to stop writers.
    let option = r#"GRANT UPDATE ON TABLE "app"."items" TO "app" WITH GRANT OPTION"#;
    assert!(words(&status).contains(option) && !status.contains("GRANT INSERT"), "{status}");
}

/// What a lock or a role that is gone keeps from being given is an alarm; the target opens all the same.
#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_given_is_an_alarm_with_its_statement() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "alarm").await;
    let mut apply = stage.start("cutover.after-permanent=sleep(4000)");
    apply.wait_for("\"ready\":true");
    let reader = connect_to(&pair.target, "alarm").await;
    run(&reader, "BEGIN; SELECT FROM app.items LIMIT 1").await;
    // Known before the fence: nothing is closed for it.
    let said = wait(stage.migration.start(&["cutover", "--maintenance-confirmed"], ""));
    assert_code(&said, Some(1));
    let why = words(&said.stderr);
    assert!(why.contains("could not be done behind the fence") && why.contains("it is held by pid"), "{why}");
    run(&reader, "COMMIT").await;
    run(&stage.source, "UPDATE app.items SET note = 'still open' WHERE id = 1").await;

    let asked = stage.migration.start(&["cutover", "--maintenance-confirmed"], "");
    stage.until_target("SELECT state = 'sequences_set' FROM pcrd.cutover").await;
    run(&reader, "BEGIN; SELECT FROM app.items LIMIT 1").await;
    run(&stage.target, "DROP ROLE dropped").await;
    let said = wait(asked);
    assert_code(&said, Some(0));
    wait(apply).assert_switched();
    let heard = words(&format!("{}\n{}", said.lines.join("\n"), said.stderr));
    let owner = r#"ALTER TABLE "app"."items" OWNER TO "app_owner""#;
    for line in [owner, r#"GRANT SELECT ON TABLE "app"."things" TO "dropped""#] {
        assert!(heard.contains(line), "{line}: {heard}");
        let status = stage.migration.ok(&["status"]);
        assert!(status.contains("ALARM") && status.contains(line), "{line}: {status}");
    }
    let app = login(&pair, "alarm", "app").await;
    assert_eq!(outcome(&app, "INSERT INTO app.items VALUES (5000, 'app')").await, "00000", "the rest was given");
    run(&reader, "COMMIT").await;
    run(&stage.target, owner).await;
    let status = stage.migration.ok(&["status"]);
    assert!(!status.contains(owner) && status.contains("dropped"), "{status}");
    assert_eq!(outcome(&app, "UPDATE app.items SET note = 'app' WHERE id = 1").await, "00000");
    let own = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'items'";
    assert_eq!(text(&stage.target, own).await, "app_owner");
}

/// The tables of the target are the owner's, and changes go back from them all the same.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_goes_on_from_tables_that_belong_to_others() {
    for end in ["rollback", "finalize"] {
        let pair = TestPair::start(15, 15);
        let stage = staged(&pair, end).await;
        run(
            &stage.source,
            "CREATE ROLE goes_back LOGIN; GRANT SET ON PARAMETER session_replication_role TO goes_back; \
             GRANT USAGE ON SCHEMA app TO goes_back; GRANT SELECT, INSERT, UPDATE, DELETE ON app.items, app.things TO goes_back",
        )
        .await;
        plan_with(&stage.migration, "cutover: { fence_timeout: 60, reverse: { user: goes_back } }");
        let mut apply = stage.start_through("");
        tokio::task::block_in_place(|| apply.wait_for("changes of the target go back"));
        let app = login(&pair, end, "app").await;
        run(
            &app,
            "INSERT INTO app.items VALUES (7000, 'on the target'); UPDATE app.things SET note = 'new' WHERE id = 7",
        )
        .await;
        assert_code(&command(&stage, &[end, "--yes"], ""), Some(0));
        assert_code(&wait(apply), Some(0));
        for table in ["app.items", "app.things"] {
            let query = format!("SELECT * FROM {table}");
            stage.assert_equal(&query, &query).await;
        }
        let write = "INSERT INTO app.items VALUES (7001, 'later')";
        assert_eq!(outcome(&app, write).await, if end == "rollback" { "25006" } else { "00000" });
        stage.migration.ok(&["cleanup", "--yes"]);
    }
}
