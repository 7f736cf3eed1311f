//! Functions that triggers call come along as they are on the source, and only if the target lacks them.

use crate::given_rights::{assert_code, login, outcome, words};
use crate::hooks::{command, does, plan_with, wait, write_program};
use crate::stage::Stage;
use crate::support::{TestPair, connect_to, rows, run, text};

const GIVE_UP: [&str; 5] = ["cutover", "--yes", "--switch-happened", "no", "--open-source"];
const ROLES: &str = "CREATE ROLE app LOGIN;";
/// Where what has fired is counted, on both ends.
const COUNTED: &str = "CREATE SCHEMA app; CREATE TABLE app.fired (by text); GRANT USAGE ON SCHEMA app TO app; GRANT INSERT ON app.fired TO app;";
/// The body has what would end a careless quotation.
const SOURCE: &str = r#"
CREATE FUNCTION app."f"";--"() RETURNS trigger LANGUAGE plpgsql SET search_path TO 'app', 'pg temp' AS $q$
BEGIN
  -- $pcrd$ $function$ ''
  INSERT INTO fired VALUES (TG_NAME || ' ''by'' ' || current_user);
  RETURN NEW;
END $q$;
CREATE TABLE app.items (id integer PRIMARY KEY, note text); INSERT INTO app.items SELECT g, g FROM generate_series(1, 300) g;
CREATE TRIGGER one BEFORE INSERT OR UPDATE ON app.items FOR EACH ROW EXECUTE PROCEDURE app."f"";--"();
CREATE TRIGGER two AFTER INSERT ON app.items FOR EACH ROW EXECUTE PROCEDURE app."f"";--"();
GRANT SELECT, INSERT, UPDATE ON app.items TO app;"#;
const DEFINITION: &str =
    r#"SELECT prosrc, proconfig, prosecdef, provolatile FROM pg_proc WHERE oid = 'app."f"";--"()'::regprocedure"#;
const THERE: &str = r#"SELECT count(*) FROM pg_proc WHERE pronamespace = 'app'::regnamespace"#;

async fn staged(pair: &TestPair, name: &str) -> Stage {
    for cluster in [&pair.source, &pair.target] {
        let admin = connect_to(cluster, "postgres").await;
        if text(&admin, "SELECT count(*) FROM pg_roles WHERE rolname = 'app'").await == "0" {
            run(&admin, ROLES).await;
        }
    }
    let stage = Stage::with_target(pair, name, &format!("{COUNTED} {SOURCE}"), COUNTED, "    - app.items", "").await;
    let plan = std::fs::read_to_string(stage.migration.dir.path().join("plan.json")).unwrap();
    assert!(
        plan.contains(r#"create_function:app.\"f\"\";--\""#) && plan.contains("create_trigger:app.items.two"),
        "{plan}"
    );
    stage
}

async fn assert_fires(stage: &Stage, pair: &TestPair) {
    stage.assert_equal(DEFINITION, DEFINITION).await;
    assert_eq!(text(&stage.target, "SELECT count(*) FROM app.fired").await, "0");
    stage.assert_equal("SELECT * FROM app.items", "SELECT * FROM app.items").await;
    let app = login(pair, &stage.name, "app").await;
    assert_eq!(outcome(&app, "INSERT INTO app.items VALUES (-1, 'app')").await, "00000");
    let found = rows(&stage.target, "SELECT by FROM app.fired ORDER BY 1").await;
    let found: Vec<String> = found.into_iter().flatten().flatten().collect();
    assert_eq!(found, ["one 'by' app", "two 'by' app"], "with the rights of whoever writes");
    let status = stage.migration.ok(&["status"]);
    assert!(!status.contains("ALARM"), "{status}");
    let again = stage.migration.run(&["plan"]);
    let said = [again.stdout, again.stderr].map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    assert!(said[0].contains("No changes.") && !said[1].contains("not as on the source"), "{said:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn functions_come_along_and_fire_with_the_rights_of_whoever_writes() {
    for (source, target) in [(15, 15), (10, 18), (10, 10)] {
        let pair = TestPair::start(source, target);
        let stage = staged(&pair, "along").await;
        let mut apply = stage.start("");
        apply.wait_for("\"ready\":true");
        assert_eq!(text(&stage.target, THERE).await, "0", "none before the fence");
        run(&stage.source, "UPDATE app.items SET note = 'u' WHERE id % 3 = 0").await;
        stage.migration.ok(&["cutover", "--maintenance-confirmed"]);
        apply.wait().assert_switched();
        assert_fires(&stage, &pair).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_function_is_made_once_whoever_dies_over_it() {
    let pair = TestPair::start(15, 15);
    for (number, point) in ["rights.before-commit", "rights.after-effect"].iter().enumerate() {
        let stage = staged(&pair, &format!("function_dies{number}")).await;
        let said = wait(stage.start_through(&format!("{point}=return(kill)")));
        assert_code(&said, None);
        let is_made = *point == "rights.after-effect";
        assert_eq!(text(&stage.target, THERE).await, if is_made { "1" } else { "0" }, "{point}");
        wait(stage.start_through("")).assert_switched();
        assert_fires(&stage, &pair).await;
        stage.end().await;
    }
}

/// It goes with the triggers; one that something of others calls by now stays, and keeps nothing from being taken back.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_is_given_up_leaves_no_function() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "function_given_up").await;
    plan_with(&stage.migration, "cutover: { fence_timeout: 60, hooks: { switch: [./hook.sh], timeout: 60 } }");
    write_program(
        stage.migration.dir.path(),
        "hook.sh",
        "#!/bin/sh\nif [ -e \"$PCRD_HOOK.sh\" ]; then . \"./$PCRD_HOOK.sh\"; fi\n",
    );
    for is_called in [false, true] {
        does(&stage, "switch", "exit 1\n");
        assert_code(&wait(stage.start_through("")), Some(1));
        assert_eq!(text(&stage.target, THERE).await, "1");
        if is_called {
            run(
                &stage.target,
                r#"CREATE TABLE app.others (); CREATE TRIGGER others BEFORE INSERT ON app.others FOR EACH ROW EXECUTE FUNCTION app."f"";--"()"#,
            )
            .await;
        }
        let said = command(&stage, &GIVE_UP, "rights.taken-back=return(kill)");
        assert_code(&said, None);
        let verified = stage.migration.start(&["--json", "apply", "plan.json", "--yes", "--through", "verify"], "");
        assert_code(&wait(verified), Some(0));
        assert_eq!(text(&stage.target, THERE).await, if is_called { "1" } else { "0" });
        let triggers = "SELECT count(*) FROM pg_trigger WHERE tgrelid = 'app.items'::regclass AND NOT tgisinternal";
        assert_eq!(text(&stage.target, triggers).await, "0");
        run(&stage.source, "UPDATE app.items SET note = 'later' WHERE id % 5 = 0").await;
    }
    does(&stage, "switch", "exit 0\n");
    wait(stage.start_through("")).assert_switched();
    assert_fires(&stage, &pair).await;
}

/// The target's is the one that is meant for it, and an altered one of the source needs a new plan.
#[tokio::test(flavor = "multi_thread")]
async fn a_function_of_the_target_stays_and_one_that_was_altered_is_not_made() {
    let pair = TestPair::start(15, 15);
    let stage = staged(&pair, "altered").await;
    let mut apply = stage.start("");
    apply.wait_for("\"ready\":true");
    let alter =
        r#"CREATE OR REPLACE FUNCTION app."f"";--"() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN RETURN NULL; END'"#;
    run(&stage.source, alter).await;
    let said = wait(stage.migration.start(&["cutover", "--maintenance-confirmed"], ""));
    assert_code(&said, Some(1));
    assert!(words(&said.stderr).contains("could not be done behind the fence"), "{}", said.stderr);
    run(&stage.source, "UPDATE app.items SET note = 'still open' WHERE id = 1").await;
    assert_eq!(text(&stage.target, THERE).await, "0");
    // Somebody has written it for the target.
    run(&stage.target, &format!("{}; GRANT ALL ON SCHEMA app TO app", alter.replace("RETURN NULL", "RETURN NEW")))
        .await;
    stage.migration.ok(&["cutover", "--maintenance-confirmed"]);
    apply.wait().assert_switched();
    let app = login(&pair, "altered", "app").await;
    assert_eq!(outcome(&app, "INSERT INTO app.items VALUES (-1, 'app')").await, "00000");
    assert_eq!(text(&stage.target, "SELECT count(*) FROM app.fired").await, "0", "it is the target's");
}
