//! Owners and grants given by a role that is no superuser: it owns the database and is a member of the owners, no more.

use crate::given_rights::{assert_code, login, outcome};
use crate::hooks::{command, does, plan_with, wait, write_program};
use crate::stage::Stage;
use crate::support::{TestPair, rows, run, text};

const GIVE_UP: [&str; 5] = ["cutover", "--yes", "--switch-happened", "no", "--open-source"];
const PROGRAM: &str = "#!/bin/sh\nif [ -e \"$PCRD_HOOK.sh\" ]; then . \"./$PCRD_HOOK.sh\"; fi\n";
const MAJORS: [(u32, &str); 3] = [
    (15, "GRANT app_owner, boss TO mover"),
    (16, "GRANT app_owner, boss TO mover WITH INHERIT TRUE, SET TRUE"),
    (18, "GRANT app_owner, boss TO mover WITH INHERIT TRUE, SET TRUE"),
];
/// Owners, what others have of tables and their schemas, and who may create there.
const STATE: &str = "SELECT c.oid::regclass, pg_get_userbyid(relowner), (SELECT string_agg(a::text, ' ') FROM aclexplode(relacl) a \
     WHERE grantee <> relowner), coalesce(nspacl, acldefault('n', nspowner))::text, has_schema_privilege('app_owner', n.oid, 'CREATE') \
     FROM pg_class c JOIN pg_namespace n ON n.oid = relnamespace WHERE relname IN ('items', 'things', 'items_id_seq') ORDER BY 1";

/// Tables in `public`, where from 15 on only the database's owner may create, and in a schema that the plan makes.
async fn staged(pair: &TestPair, name: &str, member: &str) -> Stage {
    let on_source = "CREATE ROLE app LOGIN; CREATE ROLE app_owner LOGIN; CREATE ROLE boss; \
        CREATE TABLE items (id serial PRIMARY KEY, note text); INSERT INTO items (note) SELECT g FROM generate_series(1, 300) g; \
        ALTER TABLE items OWNER TO app_owner; GRANT SELECT, INSERT, UPDATE ON items TO app; GRANT USAGE ON items_id_seq TO app; \
        CREATE SCHEMA fresh AUTHORIZATION boss; GRANT USAGE ON SCHEMA fresh TO app_owner, app; \
        CREATE TABLE fresh.things (id integer PRIMARY KEY, note text); ALTER TABLE fresh.things OWNER TO app_owner; \
        INSERT INTO fresh.things SELECT g, g FROM generate_series(1, 300) g; GRANT SELECT ON fresh.things TO app";
    let on_target = format!(
        "CREATE ROLE app LOGIN; CREATE ROLE app_owner LOGIN; CREATE ROLE boss; CREATE ROLE mover LOGIN REPLICATION; {member}; \
         ALTER DATABASE \"{name}\" OWNER TO mover; GRANT SET ON PARAMETER session_replication_role TO mover"
    );
    let stage = Stage::with_target(pair, name, on_source, &on_target, "    - items\n    - fresh.things", "").await;
    as_mover(&stage);
    stage
}

/// Another role plans and applies on the target.
fn as_mover(stage: &Stage) {
    let path = stage.migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    let (before, after) = config.split_once("target:").unwrap();
    std::fs::write(&path, format!("{before}target:{}", after.replacen("user: postgres", "user: mover", 1))).unwrap();
}

async fn assert_given(stage: &Stage, pair: &TestPair) {
    let owners = "SELECT string_agg(DISTINCT pg_get_userbyid(relowner), ',') FROM pg_class WHERE relname IN ('items', 'things', 'items_id_seq')";
    assert_eq!(text(&stage.target, owners).await, "app_owner");
    let may = "SELECT has_schema_privilege('app_owner', 'public', 'CREATE'), has_schema_privilege('app_owner', 'fresh', 'CREATE')";
    assert_eq!(rows(&stage.target, may).await, [[Some("f".to_owned()), Some("f".to_owned())]]);
    let app = login(pair, &stage.name, "app").await;
    assert_eq!(outcome(&app, "INSERT INTO items (note) VALUES ('app'); SELECT FROM fresh.things").await, "00000");
    assert_eq!(outcome(&app, "DELETE FROM items").await, "42501");
}

#[tokio::test(flavor = "multi_thread")]
async fn an_owner_is_let_create_for_the_moment_only_and_a_switch_is_given_up() {
    for (major, member) in MAJORS {
        let pair = TestPair::start(15, major);
        let stage = staged(&pair, "without_power", member).await;
        plan_with(&stage.migration, "cutover: { fence_timeout: 60, hooks: { switch: [./hook.sh], timeout: 60 } }");
        write_program(stage.migration.dir.path(), "hook.sh", PROGRAM);
        let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
        assert!(
            plan.contains("set_owner:table:public.items") && !plan.contains("OWNER_NOT_CARRIED"),
            "{major}: {plan}"
        );
        let verified = stage.migration.start(&["--json", "apply", "plan.json", "--yes", "--through", "verify"], "");
        assert_code(&wait(verified), Some(0));
        let before = rows(&stage.target, STATE).await;
        does(&stage, "switch", "exit 1\n");
        assert_code(&wait(stage.start_through("")), Some(1));
        assert_given(&stage, &pair).await;
        let owner = login(&pair, &stage.name, "app_owner").await;
        run(
            &owner,
            "GRANT DELETE ON fresh.things TO app; DELETE FROM items WHERE note = 'app'; SELECT setval('items_id_seq', 300)",
        )
        .await;
        assert_code(&command(&stage, &GIVE_UP, "rights.taken-back=return(kill)"), None);
        let said = wait(stage.migration.start(&["--json", "apply", "plan.json", "--yes", "--through", "verify"], ""));
        assert_code(&said, Some(0));
        assert_eq!(rows(&stage.target, STATE).await, before, "{major}");
        run(&stage.source, "UPDATE items SET note = 'later' WHERE id % 3 = 0").await;
        does(&stage, "switch", "exit 0\n");
        wait(stage.start_through("")).assert_switched();
        for table in ["items", "fresh.things"] {
            let query = format!("SELECT * FROM {table}");
            stage.assert_equal(&query, &query).await;
        }
        assert_given(&stage, &pair).await;
        stage.migration.ok(&["cleanup", "--yes"]);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn the_way_back_goes_on_without_power() {
    for (major, member) in MAJORS {
        let pair = TestPair::start(15, major);
        let stage = staged(&pair, "back_without", member).await;
        run(
            &stage.source,
            "CREATE ROLE goes_back LOGIN; GRANT SET ON PARAMETER session_replication_role TO goes_back; \
             GRANT USAGE ON SCHEMA fresh TO goes_back; GRANT SELECT, INSERT, UPDATE, DELETE ON items, fresh.things TO goes_back; \
             GRANT SELECT, UPDATE ON items_id_seq TO goes_back",
        )
        .await;
        plan_with(&stage.migration, "cutover: { fence_timeout: 60, reverse: { user: goes_back } }");
        let mut apply = stage.start_through("");
        tokio::task::block_in_place(|| apply.wait_for("changes of the target go back"));
        assert_given(&stage, &pair).await;
        let owner = login(&pair, &stage.name, "app_owner").await;
        run(&owner, "UPDATE fresh.things SET note = 'new' WHERE id = 7; DELETE FROM items WHERE id = 9").await;
        assert_code(&command(&stage, &["rollback", "--yes"], ""), Some(0));
        assert_code(&wait(apply), Some(0));
        for table in ["items", "fresh.things"] {
            let query = format!("SELECT * FROM {table}");
            stage.assert_equal(&query, &query).await;
        }
        stage.migration.ok(&["cleanup", "--yes"]);
    }
}

/// What a catalog says of roles comes from every major alike.
#[tokio::test(flavor = "multi_thread")]
async fn whom_nothing_can_be_given_is_known_on_every_major() {
    for major in [10, 13, 15, 17, 18] {
        let pair = TestPair::start(major, major);
        let on_source = "CREATE ROLE near LOGIN; CREATE ROLE far LOGIN; CREATE ROLE kept LOGIN; CREATE ROLE let_in LOGIN; \
            CREATE SCHEMA app; CREATE TABLE app.a (id integer PRIMARY KEY); ALTER TABLE app.a OWNER TO near; \
            CREATE TABLE app.b (id integer PRIMARY KEY); ALTER TABLE app.b OWNER TO far; \
            CREATE SCHEMA shut; CREATE TABLE shut.c (id integer PRIMARY KEY); ALTER TABLE shut.c OWNER TO kept; \
            CREATE TABLE shut.d (id integer PRIMARY KEY); ALTER TABLE shut.d OWNER TO let_in";
        let member = if major >= 16 { " WITH INHERIT TRUE, SET TRUE" } else { "" };
        let on_target = format!(
            "CREATE ROLE near LOGIN; CREATE ROLE far LOGIN; CREATE ROLE kept LOGIN; CREATE ROLE let_in LOGIN; CREATE ROLE mover LOGIN; \
             GRANT near, kept, let_in TO mover{member}; GRANT CREATE ON DATABASE known TO mover; \
             CREATE SCHEMA app AUTHORIZATION mover; CREATE SCHEMA shut; GRANT USAGE, CREATE ON SCHEMA shut TO let_in; \
             GRANT USAGE ON SCHEMA shut TO kept"
        );
        let tables = "    - app.a\n    - app.b\n    - shut.c\n    - shut.d";
        let stage = Stage::with_target(&pair, "known", on_source, &on_target, tables, "").await;
        as_mover(&stage);
        std::fs::remove_file(stage.migration.dir.path().join("plan.json")).unwrap();
        stage.migration.plan();
        let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
        for (what, is_there) in [
            ("set_owner:table:app.a", true),
            ("set_owner:table:app.b", false),
            ("set_owner:table:shut.c", false),
            ("set_owner:table:shut.d", true),
            ("far of table app.b", true),
            ("kept of table shut.c", true),
            (r#"Run GRANT CREATE ON SCHEMA \"shut\" TO \"kept\" there"#, true),
            (r#"GRANT \"far\" TO \"mover\""#, true),
        ] {
            assert_eq!(plan.contains(what), is_there, "{major}: {what}:\n{plan}");
        }
    }
}
