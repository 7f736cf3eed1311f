//! Rights that the switch gives, where something comes between: autovacuum, programs that take rights away on the source,
//! executors that die, and code of others under an old name.

use crate::given_rights::{STATE, assert_code, login, outcome, staged, words};
use crate::hooks::{command, does, plan_with, until_file, wait, write_program};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, rows, run, text};

const PROGRAM: &str = "#!/bin/sh\nif [ -e \"$PCRD_HOOK.sh\" ]; then . \"./$PCRD_HOOK.sh\"; fi\n";
const GIVE_UP: [&str; 5] = ["cutover", "--yes", "--switch-happened", "no", "--open-source"];

fn with_hook(stage: &Stage, hook: &str) {
    plan_with(
        &stage.migration,
        &format!("cutover: {{ fence_timeout: 60, hooks: {{ {hook}: [./hook.sh], timeout: 60 }} }}"),
    );
    write_program(stage.migration.dir.path(), "hook.sh", PROGRAM);
}

/// It gives way for whoever waits as long as the server takes to look for deadlocks, and to nobody else.
#[tokio::test(flavor = "multi_thread")]
async fn autovacuum_keeps_no_owner_from_its_table() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "vacuumed").await;
    run(&stage.source, "INSERT INTO app.items SELECT g, repeat('x', 300) FROM generate_series(1000, 21000) g").await;
    let mut apply = stage.start("");
    apply.wait_for("\"ready\":true");
    for setting in [
        "autovacuum_naptime = '1s'",
        "autovacuum_vacuum_cost_delay = '100ms'",
        "autovacuum_vacuum_cost_limit = 1",
        "autovacuum_vacuum_threshold = 0",
        "autovacuum_vacuum_scale_factor = 0",
    ] {
        run(&stage.target, &format!("ALTER SYSTEM SET {setting}")).await;
    }
    run(&stage.target, "SELECT pg_reload_conf()").await;
    run(&stage.target, "UPDATE app.items SET note = note").await;
    let busy = "SELECT count(*) > 0 FROM pg_stat_progress_vacuum WHERE relid = 'app.items'::regclass";
    stage.until_target(busy).await;
    let said = wait(stage.migration.start(&["cutover", "--maintenance-confirmed"], ""));
    assert_code(&said, Some(0));
    wait(apply).assert_switched();
    let owner = "SELECT pg_get_userbyid(relowner) FROM pg_class WHERE oid = 'app.items'::regclass";
    assert_eq!(text(&stage.target, owner).await, "app_owner");
    let status = stage.migration.ok(&["status"]);
    assert!(!status.contains("ALARM"), "{status}");
}

/// The application needs on the target what the operator's program has taken away on the source to stop it.
#[tokio::test(flavor = "multi_thread")]
async fn a_right_that_a_program_took_away_to_stop_writers_is_an_alarm() {
    let pair = TestPair::start(15, 15);
    for (number, point) in
        ["", "cutover.after-permanent=return(kill)", "rights.after-effect=return(kill)"].iter().enumerate()
    {
        let pair = match number {
            0 => &pair,
            // Roles are the server's.
            _ => &TestPair::start(15, 15),
        };
        let stage = staged(pair, &format!("stopped{number}")).await;
        with_hook(&stage, "before_fence");
        does(&stage, "before_fence", "touch called\nwhile [ ! -e go ]; do sleep 0.1; done\n");
        let running = stage.start_through(point);
        tokio::task::block_in_place(|| until_file(&stage, "called"));
        run(&stage.source, "REVOKE INSERT, UPDATE ON app.items FROM app").await;
        std::fs::write(stage.migration.dir.path().join("go"), "").unwrap();
        let said = wait(running);
        match point.is_empty() {
            true => said.assert_switched(),
            false => {
                assert_code(&said, None);
                // What is given already is not reported as gone.
                if point.starts_with("rights.") {
                    run(&stage.source, "REVOKE SELECT ON app.items FROM app").await;
                }
                wait(stage.start_through("")).assert_switched();
            }
        }
        let give = |right: &str| format!(r#"GRANT {right} ON TABLE "app"."items" TO "app" WITH GRANT OPTION"#);
        let status = words(&stage.migration.ok(&["status"]));
        for right in ["INSERT", "UPDATE"] {
            assert!(status.contains("ALARM") && status.contains(&give(right)), "{point}: {status}");
        }
        assert!(!status.contains(&give("SELECT")), "{point}: {status}");
        let app = login(pair, &format!("stopped{number}"), "app").await;
        assert_eq!(outcome(&app, "INSERT INTO app.items VALUES (9000, 'app')").await, "42501");
        run(&stage.target, &give("INSERT")).await;
        assert_eq!(outcome(&app, "INSERT INTO app.items VALUES (9000, 'app')").await, "00000");
        let status = words(&stage.migration.ok(&["status"]));
        assert!(!status.contains(&give("INSERT")) && status.contains(&give("UPDATE")), "{point}: {status}");
    }
}

/// An index, a constraint: the name says nothing of the code that it runs.
#[tokio::test(flavor = "multi_thread")]
async fn code_of_others_under_an_old_name_is_found_when_the_switch_is_given_up() {
    for major in [10, 13, 15, 17, 18] {
        code_under_an_old_name(major).await;
    }
}

async fn code_under_an_old_name(major: u32) {
    let pair = TestPair::start(major, major);
    let roles = "CREATE ROLE app_owner LOGIN;";
    let on_source = format!(
        "{roles} CREATE SCHEMA app AUTHORIZATION app_owner; SET ROLE app_owner; CREATE TABLE app.items (id integer PRIMARY KEY, \
         note text, CONSTRAINT short CHECK (length(note) < 100)); CREATE INDEX by_note ON app.items (note); RESET ROLE; \
         INSERT INTO app.items SELECT g, g FROM generate_series(1, 300) g"
    );
    let on_target = format!("{roles} CREATE SCHEMA app; GRANT USAGE, CREATE ON SCHEMA app TO app_owner");
    let stage = Stage::with_target(&pair, "renamed", &on_source, &on_target, "    - app.items", "").await;
    with_hook(&stage, "switch");
    does(&stage, "switch", "exit 1\n");
    assert_code(&wait(stage.start_through("")), Some(1));
    let owner = login(&pair, "renamed", "app_owner").await;
    run(
        &owner,
        "CREATE FUNCTION app.f(text) RETURNS text IMMUTABLE LANGUAGE plpgsql AS 'BEGIN RETURN $1; END'; DROP INDEX app.by_note; \
         CREATE INDEX by_note ON app.items (app.f(note)); CREATE STATISTICS app.both ON id, note FROM app.items; \
         ALTER TABLE app.items DROP CONSTRAINT short, ADD CONSTRAINT short CHECK (length(app.f(note)) < 100)",
    )
    .await;
    assert_code(&command(&stage, &GIVE_UP, "rights.taken-back=return(kill)"), None);
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    let why = words(&said.stderr);
    for part in ["index by_note", "constraint short", "statistics both"] {
        assert!(why.contains(part), "{major}: {part}: {why}");
    }
    run(&stage.source, "UPDATE app.items SET note = 'later' WHERE id = 1").await;
    assert_code(&wait(stage.start_through("")), Some(1));
    assert_eq!(text(&stage.target, "SELECT note FROM app.items WHERE id = 1").await, "1", "nothing was applied");
    assert_code(&command(&stage, &["abort", "--yes"], ""), Some(0));
}

/// It has opened the source and taken the rights back, and `apply` comes instead of another `abort`.
#[tokio::test(flavor = "multi_thread")]
async fn after_an_abort_that_died_nothing_is_applied_to_code_of_others() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "half_aborted").await;
    with_hook(&stage, "switch");
    does(&stage, "switch", "exit 1\n");
    assert_code(&wait(stage.start_through("")), Some(1));
    let owner = login(&pair, "half_aborted", "app_owner").await;
    run(
        &owner,
        "CREATE FUNCTION app.note() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NEW; END'; \
         CREATE TRIGGER code_of_others BEFORE UPDATE ON app.items FOR EACH ROW EXECUTE FUNCTION app.note()",
    )
    .await;
    assert_code(&command(&stage, &GIVE_UP, "hook.switch-given-up=return(kill)"), None);
    assert_code(&command(&stage, &["abort", "--yes"], "cleanup.after-fence=return(kill)"), None);
    let others = "SELECT count(*) FROM pg_class WHERE relname IN ('items', 'things') AND pg_get_userbyid(relowner) <> 'postgres'";
    assert_eq!(text(&stage.target, others).await, "0");
    run(&stage.source, "UPDATE app.items SET note = 'later' WHERE id = 1").await;
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    assert!(words(&said.stderr).contains("trigger code_of_others"), "{}", said.stderr);
    assert_eq!(text(&stage.target, "SELECT note FROM app.items WHERE id = 1").await, "1", "nothing was applied");
    run(&stage.target, "DROP TRIGGER code_of_others ON app.items").await;
    does(&stage, "switch", "exit 0\n");
    wait(stage.start_through("")).assert_switched();
    assert_eq!(text(&stage.target, "SELECT note FROM app.items WHERE id = 1").await, "later");
    assert!(!rows(&stage.target, STATE).await.is_empty());
}

/// Whoever made it keeps it: the plan gives rights on schemas that it makes itself.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_that_came_meanwhile_is_not_given_away() {
    let pair = TestPair::start(15, 15);
    let on_source =
        "CREATE ROLE boss; CREATE SCHEMA fresh AUTHORIZATION boss; CREATE TABLE fresh.items (id integer PRIMARY KEY)";
    let stage = Stage::with_target(&pair, "meanwhile", on_source, "CREATE ROLE boss", "    - fresh.items", "").await;
    run(&stage.target, "CREATE SCHEMA fresh").await;
    let said = wait(stage.migration.start(&["apply", "plan.json", "--yes", "--through", "prepare"], ""));
    assert!(said.code != Some(0) && words(&said.stderr).contains("already exists"), "{}", said.stderr);
    let owner = "SELECT pg_get_userbyid(nspowner) FROM pg_namespace WHERE nspname = 'fresh'";
    assert_eq!(text(&stage.target, owner).await, "postgres");
    // One of its own goes with an abort, and the same plan begins afresh.
    run(&stage.target, "DROP SCHEMA fresh").await;
    assert_code(&wait(stage.migration.start(&["apply", "plan.json", "--yes", "--through", "verify"], "")), Some(0));
    assert_code(&command(&stage, &["abort", "--yes"], ""), Some(0));
    assert_eq!(text(&stage.target, "SELECT to_regnamespace('fresh') IS NULL").await, "t");
    stage.cut_over().assert_switched();
    assert_eq!(text(&stage.target, owner).await, "boss");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_schema_made_out_of_public_is_open_to_nobody_and_the_executor_s() {
    let pair = TestPair::start(15, 15);
    let roles = "CREATE ROLE app LOGIN; CREATE ROLE plain LOGIN";
    let on_source = format!(
        "{roles}; CREATE TABLE items (id integer PRIMARY KEY); GRANT SELECT ON items TO app; CREATE SCHEMA own; \
         CREATE TABLE own.things (id integer PRIMARY KEY); GRANT CREATE ON SCHEMA public TO PUBLIC; \
         GRANT USAGE ON SCHEMA public, own TO app WITH GRANT OPTION; GRANT USAGE ON SCHEMA own TO plain"
    );
    let on_target = format!("{roles}; CREATE SCHEMA own; GRANT USAGE ON SCHEMA own TO app, plain");
    let tables = "    - name: items\n      target: moved.items\n    - own.things";
    let stage = Stage::with_target(&pair, "out_of_public", &on_source, &on_target, tables, "").await;
    let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
    for listed in ["pg_database_owner of schema public", "CREATE to PUBLIC on schema public"] {
        assert!(plan.contains(listed), "{listed} is not in the plan:\n{plan}");
    }
    stage.cut_over().assert_switched();
    let of = |schema: &str| {
        format!("SELECT pg_get_userbyid(nspowner) || ' ' || nspacl::text FROM pg_namespace WHERE nspname = '{schema}'")
    };
    let moved = text(&stage.target, &of("moved")).await;
    assert!(
        moved.starts_with("postgres ") && moved.contains(",=U/postgres") && moved.contains("app=U*/postgres"),
        "{moved}"
    );
    // The grant option comes along where the right is there without it.
    let own = text(&stage.target, &of("own")).await;
    assert!(own.contains("app=U*/postgres") && own.contains("plain=U/postgres"), "{own}");
    let app = connect_to(&pair.target, "out_of_public").await;
    run(&app, "SET ROLE app; SELECT count(*) FROM moved.items").await;
}

/// Nothing else of the plan lies there, and applications name the type.
#[tokio::test(flavor = "multi_thread")]
async fn a_schema_made_for_a_type_is_whose_it_was() {
    let pair = TestPair::start(15, 15);
    let roles = "CREATE ROLE app LOGIN; CREATE ROLE boss";
    let on_source = format!(
        "{roles}; CREATE SCHEMA kinds AUTHORIZATION boss; CREATE TYPE kinds.mood AS ENUM ('a', 'b'); \
         GRANT USAGE ON SCHEMA kinds TO app; CREATE SCHEMA there; CREATE TYPE there.label AS ENUM ('c'); GRANT USAGE ON SCHEMA there TO app; \
         CREATE TABLE items (id integer PRIMARY KEY, m kinds.mood, l there.label); GRANT INSERT ON items TO app; \
         INSERT INTO items VALUES (1, 'b', 'c')"
    );
    let on_target = format!("{roles}; CREATE SCHEMA there");
    let stage = Stage::with_target(&pair, "kinds", &on_source, &on_target, "    - items", "").await;
    stage.cut_over().assert_switched();
    let owners = "SELECT string_agg(nspname || ' ' || pg_get_userbyid(nspowner), ', ' ORDER BY nspname) FROM pg_namespace WHERE nspname IN ('kinds', 'there')";
    assert_eq!(text(&stage.target, owners).await, "kinds boss, there postgres");
    let app = login(&pair, "kinds", "app").await;
    assert_eq!(outcome(&app, "INSERT INTO items VALUES (2, 'a'::kinds.mood)").await, "00000");
    // Who may use a schema of the target's own is for the target to say.
    assert_eq!(outcome(&app, "INSERT INTO items VALUES (3, NULL, 'c'::there.label)").await, "42501");
}
