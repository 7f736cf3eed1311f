//! Row security: once the target is open each role sees there what it sees on the source, and nobody more before or after.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use tokio::task::JoinHandle;
use tokio_postgres::Client;

use crate::given_rights::{assert_code, login, outcome, words};
use crate::hooks::{command, does, plan_with, wait, write_program};
use crate::stage::Stage;
use crate::support::{TestPair, connect, connect_to, rows, run, text};

const GIVE_UP: [&str; 5] = ["cutover", "--yes", "--switch-happened", "no", "--open-source"];

const ROLES: &str = r#"CREATE ROLE app LOGIN; CREATE ROLE "rea der;--" LOGIN; CREATE ROLE app_owner LOGIN; CREATE ROLE "public ""x" LOGIN;"#;

/// What policies call, on both ends.
const CALLED: &str = r#"
CREATE SCHEMA app; GRANT USAGE ON SCHEMA app TO PUBLIC;
CREATE FUNCTION app."me;--"(integer, text) RETURNS text LANGUAGE sql STABLE AS 'SELECT current_user::text';"#;

/// `docs` has something of everything, forced on the owner too; `notes` what applications write most; `closed` hides all.
const SOURCE: &str = r#"
CREATE TABLE app."Do cs" (id integer PRIMARY KEY, "Ten ant" text NOT NULL, "user" text, level integer, total integer);
INSERT INTO app."Do cs" SELECT g, 't' || g % 5, CASE g % 3 WHEN 0 THEN 'app' WHEN 1 THEN 'rea der;--' ELSE 'app_owner' END, g % 7, g
  FROM generate_series(1, 700) g;
CREATE POLICY "te""nant;-- x" ON app."Do cs" TO app USING ("Ten ant" IN ('t1', 't2') OR "user" = current_user)
  WITH CHECK ("Ten ant" IN ('t1', 't2') AND level < 5);
CREATE POLICY readers ON app."Do cs" FOR SELECT TO "rea der;--", app_owner USING ("user" = app."me;--"(id, "Ten ant") OR "Ten ant" = 't4');
CREATE POLICY low ON app."Do cs" AS RESTRICTIVE FOR SELECT USING (level <> 6 AND "Do cs".level IS NOT NULL);
CREATE POLICY no_zero ON app."Do cs" AS RESTRICTIVE FOR UPDATE TO PUBLIC USING (total > 10) WITH CHECK (total > 20);
CREATE POLICY added ON app."Do cs" FOR INSERT TO "rea der;--" WITH CHECK ("user" = 'rea der;--');
CREATE POLICY removed ON app."Do cs" FOR DELETE TO app_owner USING (id < 3);
ALTER TABLE app."Do cs" ENABLE ROW LEVEL SECURITY; ALTER TABLE app."Do cs" FORCE ROW LEVEL SECURITY;
CREATE TABLE app.notes (id integer PRIMARY KEY, owner text, body text);
INSERT INTO app.notes SELECT g, CASE WHEN g % 2 = 0 THEN 'app' ELSE 'rea der;--' END, g FROM generate_series(1, 500) g;
CREATE POLICY own ON app.notes USING ((SELECT app."me;--"(1, 'x')) = owner AND owner <> 'notes.owner');
ALTER TABLE app.notes ENABLE ROW LEVEL SECURITY;
CREATE TABLE app.closed (id integer PRIMARY KEY); INSERT INTO app.closed VALUES (1);
ALTER TABLE app.closed ENABLE ROW LEVEL SECURITY;
CREATE TABLE app.inert (id integer PRIMARY KEY); INSERT INTO app.inert VALUES (1);
CREATE POLICY nothing ON app.inert AS RESTRICTIVE USING (false);
GRANT ALL ON ALL TABLES IN SCHEMA app TO app, "rea der;--"; GRANT SELECT ON app.notes, app.inert TO PUBLIC;
ALTER TABLE app."Do cs" OWNER TO app_owner; ALTER TABLE app.notes OWNER TO app_owner;
ALTER TABLE app.closed OWNER TO app_owner; ALTER TABLE app.inert OWNER TO app_owner;"#;

const TABLES: &str = "    - name: app.\"Do cs\"\n      target: app.\"Pa pers\"\n      \
     columns: {total: {type: bigint}, 'Ten ant': {rename: 'ten \"ant;--'}, user: {rename: whose}}\n    \
     - {name: app.notes, target: app.remarks, columns: {owner: {rename: whose}}}\n    - app.closed\n    - app.inert";

/// What a policy is, but for the names in its expressions.
const POLICIES: &str = r#"SELECT polname, polcmd, polpermissive, polqual IS NOT NULL, polwithcheck IS NOT NULL,
    (SELECT string_agg(CASE r WHEN 0 THEN 'PUBLIC' ELSE pg_get_userbyid(r) END, ',' ORDER BY pg_get_userbyid(r)) FROM unnest(polroles) r)
    FROM pg_policy UNION ALL SELECT CASE relname WHEN 'Do cs' THEN 'Pa pers' WHEN 'notes' THEN 'remarks' ELSE relname END,
    '*', relrowsecurity, relforcerowsecurity, true, NULL FROM pg_class WHERE relnamespace = 'app'::regnamespace AND relkind = 'r'"#;

const COUNT: &str = "SELECT (SELECT count(*) FROM pg_policy) + (SELECT count(*) FROM pg_class WHERE relrowsecurity)";

async fn staged(pair: &TestPair, name: &str) -> Stage {
    for cluster in [&pair.source, &pair.target] {
        let admin = connect_to(cluster, "postgres").await;
        // Roles are the server's: the second stage of a pair finds them.
        if text(&admin, "SELECT count(*) FROM pg_roles WHERE rolname = 'app'").await == "0" {
            run(&admin, ROLES).await;
        }
    }
    let on_target = format!("{CALLED} GRANT CREATE ON SCHEMA app TO app_owner");
    Stage::with_target(pair, name, &format!("{CALLED} {SOURCE}"), &on_target, TABLES, "").await
}

fn plan_text(stage: &Stage) -> String {
    std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap()
}

/// Writes to the source until the fence refuses it.
async fn writer(pair: &TestPair, name: &str) -> (JoinHandle<()>, Arc<AtomicU64>) {
    let client = connect_to(&pair.source, name).await;
    let count = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&count);
    let task = tokio::spawn(async move {
        for n in 1_u64.. {
            let sql = format!(
                r#"INSERT INTO app."Do cs" VALUES ({}, 't{}', 'app', 1, 50); UPDATE app."Do cs" SET level = {} WHERE id = {};
                   UPDATE app.notes SET body = 'w{n}' WHERE id = {}"#,
                10_000 + n,
                n % 5,
                n % 7,
                n % 700,
                n % 500
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

async fn on_source(pair: &TestPair, database: &str, role: &str) -> Client {
    let mut conninfo = pair.source.conninfo(database);
    conninfo.user = role.to_owned();
    connect(&conninfo).await
}

/// Everybody sees the same on both ends, and somebody less than all.
async fn assert_same_sight(stage: &Stage, pair: &TestPair) {
    stage.assert_equal(POLICIES, POLICIES).await;
    let seen = [
        (
            r#"SELECT id, "Ten ant", "user", level FROM app."Do cs" ORDER BY 1"#,
            r#"SELECT id, "ten ""ant;--", whose, level FROM app."Pa pers" ORDER BY 1"#,
        ),
        ("SELECT id, owner, body FROM app.notes ORDER BY 1", "SELECT id, whose, body FROM app.remarks ORDER BY 1"),
        ("SELECT id FROM app.closed", "SELECT id FROM app.closed"),
        ("SELECT id FROM app.inert", "SELECT id FROM app.inert"),
    ];
    let all: usize = text(&stage.source, r#"SELECT count(*) FROM app."Do cs""#).await.parse().unwrap();
    for role in ["app", "rea der;--", "app_owner", "public \"x"] {
        let (source, target) = (on_source(pair, &stage.name, role).await, login(pair, &stage.name, role).await);
        for (left, right) in seen {
            let codes = (outcome(&source, left).await, outcome(&target, right).await);
            assert_eq!(codes.0, codes.1, "{role}: {left}");
            if codes.0 == "00000" {
                let found = rows(&target, right).await;
                assert_eq!(rows(&source, left).await, found, "{role}: {left}");
                assert!(found.len() < all, "{role}: {left}");
            }
        }
    }
}

/// What a role may write, which the fenced source does not say.
async fn assert_writes(stage: &Stage, pair: &TestPair) {
    let app = login(pair, &stage.name, "app").await;
    let reader = login(pair, &stage.name, "rea der;--").await;
    let owner = login(pair, &stage.name, "app_owner").await;
    for (client, sql, expected) in [
        (&app, r#"INSERT INTO app."Pa pers" VALUES (-1, 't1', 'x', 1, 1)"#, "00000"),
        (&app, r#"INSERT INTO app."Pa pers" VALUES (-2, 't3', 'x', 1, 1)"#, "42501"),
        (&app, r#"INSERT INTO app."Pa pers" VALUES (-2, 't1', 'x', 5, 1)"#, "42501"),
        (&reader, r#"INSERT INTO app."Pa pers" VALUES (-3, 't1', 'app', 1, 1)"#, "42501"),
        (&reader, r#"INSERT INTO app."Pa pers" VALUES (-3, 't1', 'rea der;--', 1, 1)"#, "00000"),
        (&owner, r#"INSERT INTO app."Pa pers" VALUES (-4, 't1', 'app_owner', 1, 1)"#, "42501"),
        (&app, r#"UPDATE app."Pa pers" SET total = 5 WHERE whose = 'app' AND total = 30"#, "42501"),
        (&app, "INSERT INTO app.remarks VALUES (-1, 'app', 'x')", "00000"),
        (&app, "INSERT INTO app.remarks VALUES (-2, 'other', 'x')", "42501"),
        (&owner, "INSERT INTO app.remarks VALUES (-2, 'other', 'x')", "00000"),
        (&app, "INSERT INTO app.closed VALUES (2)", "42501"),
        (&app, "INSERT INTO app.inert VALUES (2)", "00000"),
    ] {
        assert_eq!(outcome(client, sql).await, expected, "{sql}");
    }
}

async fn everybody_sees_the_same(majors: (u32, u32)) {
    let pair = TestPair::start(majors.0, majors.1);
    let stage = staged(&pair, "same").await;
    let plan = plan_text(&stage);
    assert_eq!(plan.matches("\"id\": \"create_policy:").count(), 8, "{plan}");
    assert_eq!(plan.matches("\"id\": \"set_row_security:").count(), 3);
    let mut apply = stage.start("");
    let (writing, written) = writer(&pair, "same").await;
    apply.wait_for("\"ready\":true");
    assert_eq!(text(&stage.target, COUNT).await, "0", "none before the fence");
    stage.migration.ok(&["verify"]);
    stage.migration.ok(&["cutover", "--maintenance-confirmed"]);
    apply.wait().assert_switched();
    writing.await.unwrap();
    assert!(written.load(Ordering::Relaxed) > 20);
    let status = stage.migration.ok(&["status"]);
    assert!(!status.contains("ALARM"), "{status}");
    assert_same_sight(&stage, &pair).await;
    // All rows are compared, whoever sees them.
    stage.migration.ok(&["verify"]);
    assert_writes(&stage, &pair).await;
    let again = stage.migration.run(&["plan"]);
    let said = [again.stdout, again.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(said[0].contains("No changes.") && !said[1].contains("not as on the source"), "{said:?}");
    stage.migration.ok(&["cleanup", "--yes"]);
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_on_the_target_what_he_sees_on_the_source_on_15() {
    everybody_sees_the_same((15, 15)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn everybody_sees_on_the_target_what_he_sees_on_the_source_from_10_to_18() {
    everybody_sees_the_same((10, 18)).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_dies_over_policies_is_followed_by_one_that_makes_them() {
    let pair = TestPair::start(15, 16);
    for (number, point) in ["rights.before-effect", "rights.before-commit", "rights.after-effect"].iter().enumerate() {
        let name = format!("policy_dies{number}");
        let stage = staged(&pair, &name).await;
        let (writing, _) = writer(&pair, &name).await;
        let said = tokio::task::block_in_place(|| stage.start_through(&format!("{point}=return(kill)")).finish());
        assert_eq!(said.code, None, "{point}: {said:?}");
        writing.await.unwrap();
        let is_given = *point == "rights.after-effect";
        assert_eq!(text(&stage.target, COUNT).await, if is_given { "11" } else { "0" }, "{point}: all or nothing");
        let app = login(&pair, &name, "app").await;
        let seen = outcome(&app, r#"SELECT FROM app."Pa pers""#).await;
        assert_eq!(seen, if is_given { "00000" } else { "42501" }, "{point}");
        wait(stage.start_through("")).assert_switched();
        let status = stage.migration.ok(&["status"]);
        assert!(!status.contains("ALARM"), "{status}");
        assert_same_sight(&stage, &pair).await;
        stage.end().await;
    }
}

/// Before a row is applied again nothing hides any from whoever applies.
#[tokio::test(flavor = "multi_thread")]
async fn row_security_of_a_switch_that_is_given_up_is_taken_back() {
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
    assert_eq!(text(&stage.target, COUNT).await, "11", "the program that moves the clients finds it");
    // One of its own under an old name is the owner's.
    let owner = login(&pair, "given_up", "app_owner").await;
    run(
        &owner,
        r#"DROP POLICY low ON app."Pa pers"; CREATE POLICY low ON app."Pa pers" USING (true);
           ALTER TABLE app."Pa pers" NO FORCE ROW LEVEL SECURITY"#,
    )
    .await;
    assert_code(&command(&stage, &GIVE_UP, "rights.taken-back=return(kill)"), None);
    assert_eq!(text(&stage.target, COUNT).await, "1");
    let app = login(&pair, "given_up", "app").await;
    assert_eq!(outcome(&app, r#"SELECT FROM app."Pa pers""#).await, "42501");
    run(&stage.source, r#"INSERT INTO app."Do cs" VALUES (7000, 't1', 'later', 1, 50)"#).await;
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    assert!(words(&said.stderr).contains("policy low"), "{}", said.stderr);
    run(&stage.target, r#"DROP POLICY low ON app."Pa pers""#).await;
    assert_code(&wait(stage.start_through("")), Some(0));
    does(&stage, "switch", "exit 0\n");
    wait(stage.start_through("")).assert_switched();
    assert_same_sight(&stage, &pair).await;
}

/// It owns the database and is a member of the owner, from whom rows are hidden too.
#[tokio::test(flavor = "multi_thread")]
async fn a_role_without_power_is_told_what_it_needs_to_see_every_row() {
    let pair = TestPair::start(15, 16);
    let stage = staged(&pair, "powerless").await;
    run(
        &stage.target,
        "CREATE ROLE mover LOGIN REPLICATION; GRANT app_owner TO mover WITH INHERIT TRUE, SET TRUE; \
         ALTER DATABASE powerless OWNER TO mover; ALTER SCHEMA app OWNER TO mover; \
         GRANT SET ON PARAMETER session_replication_role TO mover",
    )
    .await;
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    let (before, after) = config.split_once("target:").unwrap();
    std::fs::write(&path, format!("{before}target:{}", after.replacen("user: postgres", "user: mover", 1))).unwrap();
    std::fs::remove_file(stage.migration.dir.path().join("plan.json")).unwrap();
    stage.migration.plan();
    // Known before the first row is copied.
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(3));
    let why = words(&format!("{}\n{}", said.lines.join("\n"), said.stderr));
    assert!(why.contains("row_security") && why.contains("BYPASSRLS") && why.contains("mover"), "{why}");
    assert_eq!(text(&stage.target, "SELECT to_regclass('app.\"Pa pers\"') IS NULL").await, "t");
    run(&stage.target, "ALTER ROLE mover BYPASSRLS").await;
    let (writing, _) = writer(&pair, "powerless").await;
    wait(stage.start_through("")).assert_switched();
    writing.await.unwrap();
    assert_same_sight(&stage, &pair).await;
    stage.migration.ok(&["verify"]);
    // Without it, what is hidden is an error and never a smaller table.
    run(&stage.target, "ALTER ROLE mover NOBYPASSRLS").await;
    let said = wait(stage.migration.start(&["verify"], ""));
    assert!(said.code != Some(0) && words(&said.stderr).contains("row-level security"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_that_the_source_hides_otherwise_by_now_are_shown_to_nobody() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "altered").await;
    let mut apply = stage.start("cutover.after-sequences=sleep(4000)");
    apply.wait_for("\"ready\":true");
    // Known before the fence: nothing is closed for it.
    run(&stage.source, r#"ALTER POLICY readers ON app."Do cs" USING (false)"#).await;
    let said = wait(stage.migration.start(&["cutover", "--maintenance-confirmed"], ""));
    assert!(said.code != Some(0), "{said:?}");
    let why = words(&said.stderr);
    assert!(
        why.contains("Do cs") && (why.contains("are not those of the plan") || why.contains("policy readers")),
        "{why}"
    );
    run(&stage.source, r#"UPDATE app."Do cs" SET total = 50 WHERE id = 1"#).await;
    assert_eq!(text(&stage.target, COUNT).await, "0");
    let back = r#"ALTER POLICY readers ON app."Do cs" USING ("user" = app."me;--"(id, "Ten ant") OR "Ten ant" = 't4')"#;
    run(&stage.source, back).await;
    let asked = stage.migration.start(&["cutover", "--maintenance-confirmed"], "");
    stage.until_target("SELECT state = 'sequences_set' FROM pcrd.cutover").await;
    run(&stage.source, r#"CREATE POLICY also ON app."Do cs" AS RESTRICTIVE USING (level < 2)"#).await;
    assert_code(&wait(asked), Some(0));
    wait(apply).assert_switched();
    let app = login(&pair, "altered", "app").await;
    assert_eq!(outcome(&app, r#"SELECT FROM app."Pa pers""#).await, "42501", "the source shows less by now");
    assert_eq!(outcome(&app, "SELECT FROM app.remarks").await, "00000", "other tables are as they were");
    let owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE relname = 'Pa pers'";
    assert_eq!(text(&stage.target, owner).await, "postgres", "it is forced on the owner too");
    let status = words(&stage.migration.ok(&["status"]));
    assert!(status.contains("ALARM") && status.contains("policies or row security"), "{status}");
    // Whoever has looked at it says so by running the statements.
    let statements =
        rows(&stage.target, "SELECT statement FROM pcrd.not_given WHERE statement IS NOT NULL ORDER BY step DESC")
            .await;
    for statement in statements.into_iter().flatten().flatten() {
        assert!(status.contains(&words(&statement)), "{statement}: {status}");
        run(&stage.target, &statement).await;
    }
    let status = stage.migration.ok(&["status"]);
    assert!(!status.contains("ALARM"), "{status}");
    assert_eq!(outcome(&app, r#"SELECT FROM app."Pa pers""#).await, "00000");
}

/// Changes go back past the policies of both ends, and what is listed as not carried is shown to nobody.
#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_passes_row_security() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "returns").await;
    run(
        &stage.source,
        "CREATE ROLE goes_back LOGIN; GRANT SET ON PARAMETER session_replication_role TO goes_back; \
         GRANT SELECT, INSERT, UPDATE, DELETE ON ALL TABLES IN SCHEMA app TO goes_back; \
         CREATE TABLE app.half (id integer PRIMARY KEY); INSERT INTO app.half VALUES (1); \
         GRANT SELECT ON app.half TO app; GRANT ALL ON app.half TO goes_back; \
         CREATE POLICY kept ON app.half USING (true); \
         CREATE POLICY lost ON app.half AS RESTRICTIVE USING (id IN (SELECT n.id FROM app.notes n)); \
         ALTER TABLE app.half ENABLE ROW LEVEL SECURITY",
    )
    .await;
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, config.replacen("    - app.inert", "    - app.inert\n    - app.half", 1)).unwrap();
    plan_with(&stage.migration, "cutover: { fence_timeout: 60, reverse: { user: goes_back } }");
    let plan = plan_text(&stage);
    for listed in ["it needs table app.notes", "not every policy of the table is carried", "every row"] {
        assert!(plan.contains(listed), "{listed} is not in the plan:\n{plan}");
    }
    assert!(!plan.contains("create_policy:app.half") && !plan.contains("grant:table:app.half"), "{plan}");
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(3));
    let why = words(&said.stderr);
    assert!(why.contains("row_security") && why.contains("BYPASSRLS") && why.contains("goes_back"), "{why}");
    run(&stage.source, "ALTER ROLE goes_back BYPASSRLS").await;
    let mut apply = stage.start_through("");
    tokio::task::block_in_place(|| apply.wait_for("changes of the target go back"));
    let app = login(&pair, "returns", "app").await;
    assert_eq!(outcome(&app, "SELECT FROM app.half").await, "42501");
    run(
        &app,
        r#"INSERT INTO app."Pa pers" VALUES (7000, 't1', 'on the target', 1, 1); DELETE FROM app.remarks WHERE id < 9"#,
    )
    .await;
    assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
    assert_code(&wait(apply), Some(0));
    assert_eq!(text(&stage.source, r#"SELECT count(*) FROM app."Do cs" WHERE id = 7000"#).await, "1");
    assert_eq!(text(&stage.source, "SELECT count(*) FROM app.notes WHERE id < 9").await, "4", "those that it saw");
    stage
        .assert_equal(
            r#"SELECT id, "Ten ant", "user", level, total FROM app."Do cs""#,
            r#"SELECT id, "ten ""ant;--", whose, level, total FROM app."Pa pers""#,
        )
        .await;
    stage.assert_equal("SELECT id, owner, body FROM app.notes", "SELECT id, whose, body FROM app.remarks").await;
    stage.migration.ok(&["cleanup", "--yes"]);
}
