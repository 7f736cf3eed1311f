//! The operator's programs in a rollback: each at its moment and told which way, the one that moves the clients at most once,
//! whatever dies meanwhile, and never with both sides taking writes.

use crate::hooks::{calls, count, does, does_nothing, name_of, points, until_file, write_program};
use crate::stage::Stage;
use crate::support::{TestPair, rows, text};
use crate::way_back::{CLOSED, ROLE, assert_code, assert_refused, command, left_open, refusal, staged, switched, wait};

const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, note text);
    INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 200) AS n; ANALYZE items";
const TABLES: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";
const CUTOVER: &str = "cutover: { fence_timeout: 60, reverse: { user: goes_back }, hooks: { before_fence: [./hook.sh], \
     switch: [./hook.sh, one, 'two words'], after_switch: [./hook.sh], abort: [./hook.sh], timeout: 20 } }";
/// Writes down a call of a rollback, then does what a file of its name says.
const PROGRAM: &str = "#!/bin/sh\nif [ \"$PCRD_DIRECTION\" = forward ]; then exit 0; fi\necho \"$PCRD_HOOK\" >> calls\n\
                       if [ -e \"$PCRD_HOOK.sh\" ]; then . \"./$PCRD_HOOK.sh\"; fi\n";
const ROLLBACK: &[&str] = &["rollback", "--yes"];
const HAPPENED: &[&str] = &["rollback", "--yes", "--switch-happened", "yes"];
const NOT_HAPPENED: &[&str] = &["rollback", "--yes", "--switch-happened", "no"];
const TOUCH: &str = "UPDATE items SET note = note WHERE false";
/// The target is closed, and the source has what came back.
const MOVED: &str = "before_fence switch after_switch";

async fn stage(pair: &TestPair, name: &str) -> Stage {
    let stage = staged(pair, name, &format!("{ROLE}; {DDL}"), TABLES, CUTOVER).await;
    write_program(stage.migration.dir.path(), "hook.sh", PROGRAM);
    stage
}

async fn assert_ends(stage: &Stage, source: Option<&str>, target: Option<&str>) {
    assert_eq!(refusal(&stage.source, TOUCH).await.as_deref(), source, "{}: the source", stage.name);
    assert_eq!(refusal(&stage.target, TOUCH).await.as_deref(), target, "{}: the target", stage.name);
}

async fn assert_back(stage: &Stage) {
    assert_ends(stage, None, CLOSED).await;
    assert_eq!(text(&stage.target, "SELECT state FROM pcrd.migration").await, "rolled_back", "{}", stage.name);
    stage.assert_equal("SELECT id::bigint, note FROM items", "SELECT id, note FROM items").await;
}

/// Through a rollback, into doubt.
async fn into_doubt(stage: &Stage, behaviour: &str) {
    does(stage, "switch", behaviour);
    assert_refused(&command(stage, ROLLBACK, ""), "whether the clients were moved is not known");
    assert_ends(stage, None, CLOSED).await;
    does_nothing(stage, "switch");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_runs_at_its_moment_and_is_told_which_way() {
    let pair = TestPair::start(15, 17);
    let mut stage = stage(&pair, "back_moments").await;
    for name in ["PGPASSWORD", "PCRD_REVERSE_PASSWORD", "OF_THE_OPERATOR"] {
        stage.migration.environment.push((name.to_owned(), "canary".to_owned()));
    }
    let shown = stage.migration.ok(&["show", "plan.json"]);
    assert!(shown.contains("[\"./hook.sh\",\"one\",\"two words\"], at most 20 s, in a rollback too"), "{shown}");
    let running = switched(&stage);
    assert_eq!(calls(&stage), "");
    for hook in ["before_fence", "after_switch"] {
        does(&stage, hook, "env > \"env.$PCRD_HOOK\"\n");
    }
    let held = "env > env.switch; printf '<%s>' \"$@\" > arguments; touch switching\n\
                while [ ! -e go ]; do sleep 0.02; done\n";
    does(&stage, "switch", held);
    stage.target.batch_execute("INSERT INTO items VALUES (1000, 'of the target')").await.unwrap();
    let asking = stage.migration.start(ROLLBACK, "");
    tokio::task::block_in_place(|| until_file(&stage, "switching"));
    // The source takes writes, with everything, and the target is closed for good before a client is moved.
    assert_ends(&stage, None, CLOSED).await;
    assert_eq!(text(&stage.target, "SELECT until::text FROM pcrd.fence").await, "infinity");
    stage.assert_equal("SELECT id::bigint, note FROM items", "SELECT id, note FROM items").await;
    let dir = stage.migration.dir.path();
    std::fs::write(dir.join("go"), "").unwrap();
    assert_code(&wait(asking), Some(0));
    assert_code(&wait(running), Some(0));
    assert_eq!(calls(&stage), MOVED);
    assert_eq!(std::fs::read_to_string(dir.join("arguments")).unwrap(), "<one><two words>");
    for hook in ["before_fence", "switch", "after_switch"] {
        let env = std::fs::read_to_string(dir.join(format!("env.{hook}"))).unwrap();
        let (source, target) = (pair.source.port(), pair.target.port());
        for line in [
            format!("PCRD_HOOK={hook}"),
            "PCRD_DIRECTION=back".to_owned(),
            format!("PCRD_SOURCE_PORT={source}"),
            format!("PCRD_TARGET_PORT={target}"),
            format!("PCRD_FROM_PORT={target}"),
            format!("PCRD_TO_PORT={source}"),
            "PCRD_TO_HOST=127.0.0.1".to_owned(),
            "PCRD_TO_DATABASE=back_moments".to_owned(),
        ] {
            assert!(env.lines().any(|found| found == line), "{hook}: no {line} in\n{env}");
        }
        assert!(!env.contains("canary"), "{hook}:\n{env}");
    }
    let kept = rows(&stage.target, "SELECT hook, outcome FROM pcrd.hook ORDER BY number").await;
    let kept: Vec<String> =
        kept.into_iter().map(|row| row.into_iter().flatten().collect::<Vec<_>>().join(" ")).collect();
    assert_eq!(
        kept,
        [
            "before_fence succeeded",
            "switch succeeded",
            "after_switch succeeded",
            "before_fence/back succeeded",
            "switch/back succeeded",
            "after_switch/back succeeded"
        ]
    );
    assert_back(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_before_the_fence_leaves_the_target_open() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "back_before").await;
    let mut running = switched(&stage);
    does(&stage, "before_fence", "echo the pool is closed >&2; exit 3\n");
    does(&stage, "abort", "exit 4\n");
    let said = command(&stage, ROLLBACK, "");
    assert_refused(&said, "the rollback was given up and the target takes writes: the before_fence hook failed");
    assert!(said.stderr.contains("the pool is closed"), "{}", said.stderr);
    assert!(said.stderr.contains("the abort hook failed: ended with exit status 4"), "{}", said.stderr);
    assert_eq!(calls(&stage), "before_fence abort");
    assert_ends(&stage, CLOSED, None).await;
    // Changes go on going back, and the next rollback has them.
    tokio::task::block_in_place(|| running.wait_for("changes of the target go back"));
    stage.target.batch_execute("INSERT INTO items VALUES (1000, 'meanwhile')").await.unwrap();
    does_nothing(&stage, "before_fence");
    assert_code(&command(&stage, ROLLBACK, ""), Some(0));
    assert_code(&wait(running), Some(0));
    assert_eq!(calls(&stage), format!("before_fence abort {MOVED}"));
    assert_back(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_in_doubt_is_never_made_again_without_a_word() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "back_doubt").await;
    left_open(&stage);
    for args in [HAPPENED, NOT_HAPPENED] {
        assert_code(&command(&stage, args, ""), Some(64));
    }
    into_doubt(&stage, "exit 7\n").await;
    for args in [ROLLBACK, &["--json", "apply", "plan.json", "--yes"]] {
        let said = command(&stage, args, "");
        assert_refused(&said, "exit status 7");
        assert!(said.stderr.contains("pcrd rollback --switch-happened yes"), "{args:?}: {}", said.stderr);
        assert_ends(&stage, None, CLOSED).await;
    }
    for args in [&["finalize", "--yes"], &["cleanup", "--yes"], &["abort", "--yes"]] {
        assert_code(&command(&stage, args, ""), Some(1));
        assert_ends(&stage, None, CLOSED).await;
    }
    // What is said of the cutover is not said of the rollback.
    assert_ne!(command(&stage, &["cutover", "--yes", "--switch-happened", "yes"], "").code, Some(0));
    assert_eq!(calls(&stage), "before_fence switch");
    let status = stage.migration.ok(&["status"]);
    assert!(status.contains("the switch hook ended with exit status 7: pcrd rollback --switch-happened"), "{status}");
    does(&stage, "switch", "exit 8\n");
    assert_refused(&command(&stage, NOT_HAPPENED, ""), "exit status 8");
    does_nothing(&stage, "switch");
    assert_refused(&command(&stage, ROLLBACK, ""), "exit status 8");
    assert_code(&command(&stage, HAPPENED, ""), Some(0));
    assert_eq!(calls(&stage), "before_fence switch switch after_switch");
    assert_back(&stage).await;
    assert_code(&command(&stage, HAPPENED, ""), Some(1));
}

/// Asked from another terminal, both terminals hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_a_running_executor_hears_of_the_doubt() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "back_asked").await;
    let running = switched(&stage);
    does(&stage, "switch", "exit 7\n");
    for said in [command(&stage, ROLLBACK, ""), wait(running)] {
        assert_refused(&said, "exit status 7");
        assert!(said.stderr.contains("pcrd rollback --switch-happened yes"), "{}", said.stderr);
    }
    assert_code(&command(&stage, HAPPENED, ""), Some(0));
    assert_back(&stage).await;
}

/// The rollback dies at a point.
fn dies(stage: &Stage, point: &str) {
    let said = command(stage, ROLLBACK, &format!("{point}=return(kill)"));
    assert_eq!(said.code, None, "{point} was never reached: {}\n{}", said.lines.join("\n"), said.stderr);
}

async fn killed_at(pair: &TestPair, point: &str) -> Stage {
    let stage = stage(pair, &format!("back_{}", name_of(point))).await;
    left_open(&stage);
    stage.target.batch_execute("INSERT INTO items VALUES (1000, 'of the target')").await.unwrap();
    if point.starts_with("hook.abort-") {
        does(&stage, "before_fence", "exit 1\n");
    }
    dies(&stage, point);
    stage
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_around_the_switch() {
    let pair = TestPair::start(15, 17);
    for point in ["hook.switch-recorded", "hook.switch-started", "hook.switch-ended", "hook.switch-kept"] {
        let stage = killed_at(&pair, point).await;
        assert_ends(&stage, None, CLOSED).await;
        if point == "hook.switch-kept" {
            assert_code(&command(&stage, ROLLBACK, ""), Some(0));
        } else {
            assert_refused(&command(&stage, ROLLBACK, ""), "an executor that died");
            let word = if point == "hook.switch-recorded" { NOT_HAPPENED } else { HAPPENED };
            assert_code(&command(&stage, word, ""), Some(0));
        }
        assert_eq!(calls(&stage), MOVED, "{point}");
        assert_back(&stage).await;
    }
    let stage = stage(&pair, "back_answered").await;
    left_open(&stage);
    into_doubt(&stage, "exit 1\n").await;
    assert_code(&command(&stage, NOT_HAPPENED, "hook.switch-answered=return(kill)"), None);
    // The word was given, and holds.
    assert_code(&command(&stage, ROLLBACK, ""), Some(0));
    assert_eq!(calls(&stage), "before_fence switch switch after_switch");
    assert_back(&stage).await;
}

/// Before anything is decided the rollback is given up first, and the program for that has run when the next one begins.
async fn undone_by(family: &str) {
    let pair = TestPair::start(15, 17);
    for point in points(family) {
        let stage = killed_at(&pair, point).await;
        assert_ends(&stage, CLOSED, None).await;
        std::fs::write(stage.migration.dir.path().join("before_fence.sh"), "").unwrap();
        assert_code(&command(&stage, ROLLBACK, ""), Some(0));
        let called = calls(&stage);
        assert!(called.ends_with(&format!("abort {MOVED}")), "{point}: {called}");
        assert_eq!(count(&stage, "switch"), 1, "{point}: {called}");
        assert_back(&stage).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_around_the_one_before_the_fence() {
    undone_by("hook.before-fence-").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_around_the_one_that_undoes() {
    undone_by("hook.abort-").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_behind_the_switch() {
    let pair = TestPair::start(15, 17);
    for point in points("hook.after-switch-").into_iter().chain(["back.after-moved", "back.after-resume"]) {
        let stage = killed_at(&pair, point).await;
        assert_ends(&stage, None, CLOSED).await;
        assert_code(&command(&stage, ROLLBACK, ""), Some(0));
        assert_eq!((count(&stage, "switch"), count(&stage, "abort")), (1, 0), "{point}");
        let twice = ["hook.after-switch-started", "hook.after-switch-ended"].contains(&point);
        assert!((1..=1 + usize::from(twice)).contains(&count(&stage, "after_switch")), "{point}: {}", calls(&stage));
        assert_back(&stage).await;
    }
}

/// What the operator says outlives a lost session: it is written down before it counts as said.
#[tokio::test(flavor = "multi_thread")]
async fn the_word_outlives_a_lost_session() {
    let pair = TestPair::start(15, 17);
    let stage = stage(&pair, "word_stays").await;
    left_open(&stage);
    // The program cannot be started by the time that it is called.
    does(&stage, "before_fence", "chmod -x hook.sh\n");
    assert_refused(&command(&stage, ROLLBACK, ""), "the switch hook did not run");
    let program = stage.migration.dir.path().join("hook.sh");
    assert!(std::process::Command::new("chmod").arg("+x").arg(program).status().unwrap().success());
    assert_ends(&stage, None, CLOSED).await;
    let moved = stage.migration.start(HAPPENED, "back.after-open=1*sleep(6000)");
    stage.until_at_work().await;
    stage.end_sessions().await;
    assert_code(&wait(moved), Some(0));
    assert_eq!(calls(&stage), "before_fence after_switch", "the operator has moved the clients");
    assert_back(&stage).await;
}
