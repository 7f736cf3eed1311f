//! The operator's programs around the switch: each run when it should be, the one that moves the clients at most once,
//! whatever dies meanwhile, and never with both sides taking writes.

use std::path::Path;
use std::time::{Duration, Instant};

use pcrd::exec::failpoint;

use crate::migration::{Migration, Running, Said};
use crate::stage::Stage;
use crate::support::{TestPair, run, text};

pub const DDL: &str = "CREATE TABLE items (id integer PRIMARY KEY, note text);
    INSERT INTO items SELECT n, 'item ' || n FROM generate_series(1, 200) AS n; ANALYZE items";
pub const TABLES: &str = "    - { name: items, columns: { id: { type: bigint } } }\n";
pub const HOOKS: &str = "before_fence: [./hook.sh, before], switch: [./hook.sh, one, 'two words'], after_switch: [./hook.sh], \
                     abort: [./hook.sh], timeout: 20";
/// Writes down that it was called, then does what a file of its name says.
pub const PROGRAM: &str = "#!/bin/sh\necho \"$PCRD_HOOK\" >> calls\n\
                       if [ -e \"$PCRD_HOOK.sh\" ]; then . \"./$PCRD_HOOK.sh\"; fi\n";

/// A plan with these hooks, in YAML, and the program that they all run.
pub async fn stage(pair: &TestPair, name: &str, hooks: &str) -> Stage {
    let stage = Stage::new(pair, name, DDL, TABLES, "").await;
    plan_with(&stage.migration, &format!("cutover: {{ fence_timeout: 60, hooks: {{ {hooks} }} }}"));
    write_program(stage.migration.dir.path(), "hook.sh", PROGRAM);
    stage
}

/// Compiles the plan anew with this line for the cutover.
pub fn plan_with(migration: &Migration, cutover: &str) {
    config_with(migration, cutover);
    std::fs::remove_file(migration.dir.path().join("plan.json")).unwrap();
    migration.plan();
}

fn config_with(migration: &Migration, cutover: &str) {
    let path = migration.dir.path().join("pcrd.config.yml");
    let config = std::fs::read_to_string(&path).unwrap();
    let (head, _) = config.split_once("cutover:").unwrap();
    std::fs::write(&path, format!("{head}{cutover}\n")).unwrap();
}

pub fn write_program(dir: &Path, name: &str, text: &str) {
    use std::os::unix::fs::PermissionsExt;
    let path = dir.join(name);
    std::fs::write(&path, text).unwrap();
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
}

pub fn does(stage: &Stage, hook: &str, what: &str) {
    std::fs::write(stage.migration.dir.path().join(format!("{hook}.sh")), what).unwrap();
}

pub fn does_nothing(stage: &Stage, hook: &str) {
    std::fs::remove_file(stage.migration.dir.path().join(format!("{hook}.sh"))).unwrap();
}

/// The hooks that were called, in order.
pub fn calls(stage: &Stage) -> String {
    let text = std::fs::read_to_string(stage.migration.dir.path().join("calls")).unwrap_or_default();
    text.lines().collect::<Vec<_>>().join(" ")
}

pub fn count(stage: &Stage, hook: &str) -> usize {
    calls(stage).split(' ').filter(|call| *call == hook).count()
}

pub fn until_file(stage: &Stage, name: &str) {
    let began = Instant::now();
    while !stage.migration.dir.path().join(name).exists() {
        assert!(began.elapsed() < Duration::from_secs(60), "{name} never came");
        std::thread::sleep(Duration::from_millis(10));
    }
}

pub fn wait(running: Running) -> Said {
    tokio::task::block_in_place(|| running.finish())
}

pub fn command(stage: &Stage, args: &[&str], failpoints: &str) -> Said {
    wait(stage.migration.start(args, failpoints))
}

#[track_caller]
pub fn assert_code(said: &Said, code: Option<i32>) {
    assert_eq!(said.code, code, "{}\n{}", said.lines.join("\n"), said.stderr);
}

/// True when the source takes writes; anything but the fence that refuses them is an error.
pub async fn is_open(stage: &Stage) -> bool {
    match stage.source.batch_execute("INSERT INTO items SELECT max(id) + 1, 'late' FROM items").await {
        Ok(()) => true,
        Err(error) => {
            assert_eq!(error.code().unwrap().code(), "25006");
            false
        }
    }
}

async fn state(stage: &Stage) -> String {
    text(&stage.target, "SELECT state FROM pcrd.migration").await
}

/// The target is the database, has everything, and is the only one that takes writes.
pub async fn assert_switched(stage: &Stage) {
    assert_eq!(state(stage).await, "cut_over", "{}", stage.name);
    assert!(!is_open(stage).await, "{}: the source takes writes after the switch", stage.name);
    stage.assert_equal("SELECT id::bigint, note FROM items", "SELECT id, note FROM items").await;
}

/// Through the cutover, into doubt: the switch hook has done something and failed.
async fn into_doubt(stage: &Stage, behaviour: &str) {
    does(stage, "switch", behaviour);
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("whether the clients were moved is not known"), "{}", said.stderr);
    assert!(said.stderr.contains("--switch-happened yes"), "{}", said.stderr);
    assert!(!is_open(stage).await);
    does_nothing(stage, "switch");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_runs_at_its_moment_with_what_it_needs_and_no_password() {
    let pair = TestPair::start(15, 15);
    let mut stage = stage(&pair, "moments", HOOKS).await;
    for name in ["PGPASSWORD", "PCRD_SOURCE_PASSWORD", "OF_THE_OPERATOR"] {
        stage.migration.environment.push((name.to_owned(), "canary".to_owned()));
    }
    for hook in ["before_fence", "after_switch"] {
        does(&stage, hook, "env > \"env.$PCRD_HOOK\"\n");
    }
    let held = "env > env.switch; printf '<%s>' \"$@\" > arguments; touch switching\n\
                while [ ! -e go ]; do sleep 0.02; done\n";
    does(&stage, "switch", held);
    let running = stage.start_through("");
    tokio::task::block_in_place(|| until_file(&stage, "switching"));
    // The target has everything and the source is closed for good before a client is moved.
    assert!(!is_open(&stage).await);
    assert_eq!(text(&stage.source, "SELECT until::text FROM pcrd.fence").await, "infinity");
    assert_eq!(text(&stage.target, "SELECT state FROM pcrd.cutover").await, "sequences_set");
    stage.assert_equal("SELECT id::bigint, note FROM items", "SELECT id, note FROM items").await;
    let dir = stage.migration.dir.path();
    std::fs::write(dir.join("go"), "").unwrap();
    assert_code(&wait(running), Some(0));
    assert_eq!(calls(&stage), "before_fence switch after_switch");
    assert_eq!(std::fs::read_to_string(dir.join("arguments")).unwrap(), "<one><two words>");
    let id = text(&stage.target, "SELECT id FROM pcrd.migration").await;
    for hook in ["before_fence", "switch", "after_switch"] {
        let env = std::fs::read_to_string(dir.join(format!("env.{hook}"))).unwrap();
        let (source, target) = (pair.source.port(), pair.target.port());
        for line in [
            format!("PCRD_HOOK={hook}"),
            "PCRD_DIRECTION=forward".to_owned(),
            format!("PCRD_FROM_PORT={source}"),
            format!("PCRD_TO_PORT={target}"),
            format!("PCRD_MIGRATION={id}"),
            "PCRD_SOURCE_HOST=127.0.0.1".to_owned(),
            format!("PCRD_SOURCE_PORT={source}"),
            format!("PCRD_TARGET_PORT={target}"),
            "PCRD_TARGET_DATABASE=moments".to_owned(),
        ] {
            assert!(env.lines().any(|found| found == line), "{hook}: no {line} in\n{env}");
        }
        assert!(!env.contains("canary"), "{hook}:\n{env}");
    }
    let kept = "SELECT string_agg(hook || ' ' || outcome, ', ' ORDER BY number) FROM pcrd.hook";
    let kept = text(&stage.target, kept).await;
    assert_eq!(kept, "before_fence succeeded, switch succeeded, after_switch succeeded");
    assert_switched(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plan_shows_them_and_another_config_runs_none() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "shown", HOOKS).await;
    let shown = stage.migration.ok(&["show", "plan.json"]);
    assert!(shown.contains("switch: runs [\"./hook.sh\",\"one\",\"two words\"], at most 20 s"), "{shown}");
    for hooks in ["switch: [./hook.sh, other]", "before_fence: [./hook.sh]", ""] {
        let cutover =
            if hooks.is_empty() { "cutover: {}".to_owned() } else { format!("cutover: {{ hooks: {{ {hooks} }} }}") };
        config_with(&stage.migration, &cutover);
        let said = wait(stage.start_through(""));
        assert_code(&said, Some(4));
        assert!(said.stderr.contains("no program runs that the config does not name"), "{}", said.stderr);
    }
    assert_eq!(calls(&stage), "");
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_before_the_fence_leaves_the_source_open() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "before", HOOKS).await;
    does(&stage, "before_fence", "echo password=canary; echo the pool is closed >&2; exit 3\n");
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("the before_fence hook failed: ended with exit status 3"), "{}", said.stderr);
    assert!(said.stderr.contains("the pool is closed"), "{}", said.stderr);
    assert!(!said.stderr.contains("canary") && !said.lines.join("").contains("canary"), "{}", said.stderr);
    assert!(is_open(&stage).await);
    assert_eq!(text(&stage.source, "SELECT count(*) FROM pg_trigger WHERE tgname = 'pcrd_fence'").await, "0");
    // It may have done half of its work, so it is undone too.
    assert_eq!(calls(&stage), "before_fence abort");
    does_nothing(&stage, "before_fence");
    assert_code(&wait(stage.start_through("")), Some(0));
    assert_eq!(calls(&stage), "before_fence abort before_fence switch after_switch");
    assert_switched(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn one_that_is_missing_is_known_before_anything_is_stopped() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "missing", "before_fence: [./hook.sh], switch: [/no/such/program]").await;
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("/no/such/program"), "{}", said.stderr);
    assert!(is_open(&stage).await);
    assert_eq!(calls(&stage), "");
}

/// What fails after the switch or while giving up is said, and changes nothing.
#[tokio::test(flavor = "multi_thread")]
async fn one_that_fails_when_all_is_done_is_only_told() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "late", HOOKS).await;
    does(&stage, "before_fence", "exit 1\n");
    does(&stage, "abort", "echo still closed; exit 1\n");
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(1));
    assert!(said.stderr.contains("the abort hook failed: ended with exit status 1"), "{}", said.stderr);
    assert!(is_open(&stage).await);
    does_nothing(&stage, "before_fence");
    does(&stage, "after_switch", "exit 1\n");
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(0));
    assert!(said.lines.join("\n").contains("the after_switch hook failed"), "{}", said.lines.join("\n"));
    assert_switched(&stage).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_in_doubt_is_never_made_again_without_a_word() {
    let pair = TestPair::start(15, 15);
    for (name, behaviour) in [("fails", "exit 1\n"), ("hangs", "sleep 600\n"), ("dies", "kill -9 $$\n")] {
        let hooks = if name == "hangs" { HOOKS.replace("timeout: 20", "timeout: 1") } else { HOOKS.to_owned() };
        let stage = stage(&pair, name, &hooks).await;
        into_doubt(&stage, behaviour).await;
        for args in [
            ["--json", "apply", "plan.json", "--yes"].as_slice(),
            &["--json", "apply", "plan.json", "--yes", "--through", "cutover"],
            &["cutover", "--yes"],
            &["abort", "--yes"],
        ] {
            let said = command(&stage, args, "");
            assert_code(&said, Some(1));
            assert!(said.stderr.contains("--switch-happened"), "{name} {args:?}: {}", said.stderr);
            assert!(!is_open(&stage).await, "{name} {args:?}");
        }
        assert_eq!(calls(&stage), "before_fence switch", "{name}");
        let status = stage.migration.ok(&["status"]);
        assert!(status.contains("the switch hook"), "{status}");
        let said = command(&stage, &["cutover", "--yes", "--switch-happened", "yes"], "");
        assert_code(&said, Some(0));
        assert_eq!(calls(&stage), "before_fence switch after_switch", "{name}");
        assert_switched(&stage).await;
        // Nothing is in doubt any more.
        let said = command(&stage, &["cutover", "--yes", "--switch-happened", "no"], "");
        assert_code(&said, Some(1));
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_switch_that_did_not_happen_is_made_again_or_given_up() {
    let pair = TestPair::start(15, 15);
    let again = stage(&pair, "again", HOOKS).await;
    let said = command(&again, &["apply", "plan.json", "--yes", "--through", "verify"], "");
    assert_code(&said, Some(0));
    assert_code(&command(&again, &["cutover", "--yes", "--switch-happened", "no"], ""), Some(64));
    into_doubt(&again, "exit 1\n").await;
    assert_code(&command(&again, &["cutover", "--yes", "--switch-happened", "yes", "--open-source"], ""), Some(64));
    assert_code(&command(&again, &["cutover", "--yes", "--switch-happened", "no"], ""), Some(0));
    assert_eq!(calls(&again), "before_fence switch switch after_switch");
    assert_switched(&again).await;

    let given_up = stage(&pair, "given_up", HOOKS).await;
    into_doubt(&given_up, "exit 1\n").await;
    let said = command(&given_up, &["cutover", "--yes", "--switch-happened", "no", "--open-source"], "");
    assert_code(&said, Some(0));
    assert_eq!(calls(&given_up), "before_fence switch abort");
    assert!(is_open(&given_up).await);
    assert_eq!(state(&given_up).await, "running");
    // What was written meanwhile is there after the next attempt.
    assert_code(&wait(given_up.start_through("")), Some(0));
    assert_eq!(calls(&given_up), "before_fence switch abort before_fence switch after_switch");
    assert_switched(&given_up).await;

    let aborted = stage(&pair, "aborted", HOOKS).await;
    into_doubt(&aborted, "exit 1\n").await;
    let said = command(
        &aborted,
        &["cutover", "--yes", "--switch-happened", "no", "--open-source"],
        "hook.switch-given-up=return(kill)",
    );
    assert_code(&said, None);
    assert_code(&command(&aborted, &["abort", "--yes"], ""), Some(0));
    assert!(is_open(&aborted).await);
    assert_eq!(calls(&aborted), "before_fence switch abort");
}

/// Asked from another terminal, both terminals hear of it.
#[tokio::test(flavor = "multi_thread")]
async fn who_asks_a_running_executor_hears_of_the_doubt() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "asked", HOOKS).await;
    does(&stage, "switch", "exit 7\n");
    let mut running = stage.start("");
    running.wait_for("\"type\":\"gate\",\"ready\":true");
    for said in [command(&stage, &["cutover", "--yes"], ""), wait(running)] {
        assert_code(&said, Some(1));
        assert!(said.stderr.contains("exit status 7") && said.stderr.contains("is not known"), "{}", said.stderr);
    }
    assert!(!is_open(&stage).await);
}

/// A failover to a late standby has lost the fence: that nobody is kept from the source does not mean that the clients are there.
#[tokio::test(flavor = "multi_thread")]
async fn a_switch_in_doubt_stays_so_when_the_source_has_lost_its_fence() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "lost", HOOKS).await;
    into_doubt(&stage, "exit 1\n").await;
    run(&stage.source, "DROP TRIGGER pcrd_fence ON items; DELETE FROM pcrd.fence").await;
    for args in [["--json", "apply", "plan.json", "--yes"].as_slice(), &["abort", "--yes"]] {
        let said = command(&stage, args, "");
        assert_code(&said, Some(1));
        assert!(said.stderr.contains("--switch-happened"), "{args:?}: {}", said.stderr);
    }
    assert_eq!(calls(&stage), "before_fence switch");
    assert_code(&command(&stage, &["cutover", "--yes", "--switch-happened", "yes"], ""), Some(0));
    assert_eq!(state(&stage).await, "cut_over");
}

/// Ctrl-C does not leave a program in the middle, nor what it has done unsaid.
#[tokio::test(flavor = "multi_thread")]
async fn a_stop_waits_for_the_switch() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "stop", HOOKS).await;
    does(&stage, "switch", "touch switching; while [ ! -e go ]; do sleep 0.02; done\n");
    let running = stage.start_through("");
    tokio::task::block_in_place(|| until_file(&stage, "switching"));
    let pid = running.child.id().to_string();
    assert!(std::process::Command::new("kill").args(["-INT", &pid]).status().unwrap().success());
    // Longer than a stop may take otherwise.
    tokio::time::sleep(Duration::from_secs(5)).await;
    std::fs::write(stage.migration.dir.path().join("go"), "").unwrap();
    assert_code(&wait(running), Some(0));
    assert_eq!(calls(&stage), "before_fence switch after_switch");
    assert_switched(&stage).await;
}

pub fn points(family: &str) -> Vec<&'static str> {
    failpoint::ALL.iter().copied().filter(|point| point.starts_with(family)).collect()
}

#[test]
fn every_point_of_the_hooks_is_in_a_test() {
    let families = ["hook.before-fence-", "hook.switch-", "hook.after-switch-", "hook.abort-"];
    let n: usize = families.iter().map(|family| points(family).len()).sum();
    assert_eq!(n, points("hook.").len());
    assert_eq!(points("hook.switch-").len(), SWITCH_POINTS.len() + ANSWER_POINTS.len());
}

const SWITCH_POINTS: [&str; 4] =
    ["hook.switch-recorded", "hook.switch-started", "hook.switch-ended", "hook.switch-kept"];
const ANSWER_POINTS: [&str; 2] = ["hook.switch-answered", "hook.switch-given-up"];

/// The run dies at a point.
pub fn dies(stage: &Stage, point: &str) {
    let said = wait(stage.start_through(&format!("{point}=return(kill)")));
    assert_eq!(said.code, None, "{point} was never reached: {}\n{}", said.lines.join("\n"), said.stderr);
}

pub fn name_of(point: &str) -> String {
    point.replace(['.', '-'], "_")
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_around_the_one_before_the_fence() {
    let pair = TestPair::start(15, 15);
    for point in points("hook.before-fence-") {
        let stage = stage(&pair, &name_of(point), HOOKS).await;
        dies(&stage, point);
        assert!(is_open(&stage).await, "{point}");
        assert_code(&wait(stage.start_through("")), Some(0));
        let calls = calls(&stage);
        assert!(calls.ends_with("abort before_fence switch after_switch"), "{point}: {calls}");
        assert_switched(&stage).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_around_the_switch() {
    let pair = TestPair::start(15, 15);
    for point in SWITCH_POINTS {
        let stage = stage(&pair, &name_of(point), HOOKS).await;
        // A program whose pcrd has died goes on to its end, whatever it prints.
        does(&stage, "switch", "sleep 0.3; echo moving; echo moved >&2; touch moved\n");
        dies(&stage, point);
        assert!(!is_open(&stage).await, "{point}");
        let said = wait(stage.start_through(""));
        if point == "hook.switch-kept" {
            assert_code(&said, Some(0));
        } else {
            assert_code(&said, Some(1));
            assert!(said.stderr.contains("an executor that died"), "{point}: {}", said.stderr);
            assert!(!is_open(&stage).await, "{point}");
            let happened = point != "hook.switch-recorded";
            assert_eq!(count(&stage, "switch"), usize::from(happened), "{point}");
            if happened {
                tokio::task::block_in_place(|| until_file(&stage, "moved"));
            }
            let word = if happened { "yes" } else { "no" };
            assert_code(&command(&stage, &["cutover", "--yes", "--switch-happened", word], ""), Some(0));
        }
        assert_eq!(calls(&stage), "before_fence switch after_switch", "{point}");
        assert_switched(&stage).await;
        stage.end().await;
    }
    for point in ANSWER_POINTS {
        let stage = stage(&pair, &name_of(point), HOOKS).await;
        into_doubt(&stage, "exit 1\n").await;
        let mut args = vec!["cutover", "--yes", "--switch-happened", "no"];
        if point == "hook.switch-given-up" {
            args.push("--open-source");
        }
        assert_code(&command(&stage, &args, &format!("{point}=return(kill)")), None);
        assert!(!is_open(&stage).await, "{point}");
        // The word was given, and holds.
        assert_code(&wait(stage.start_through("")), Some(0));
        if point == "hook.switch-given-up" {
            assert_eq!(calls(&stage), "before_fence switch abort");
            assert!(is_open(&stage).await);
            assert_code(&wait(stage.start_through("")), Some(0));
        } else {
            assert_eq!(calls(&stage), "before_fence switch switch after_switch");
        }
        assert_switched(&stage).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_around_the_one_after_the_switch() {
    let pair = TestPair::start(15, 15);
    for point in points("hook.after-switch-") {
        let stage = stage(&pair, &name_of(point), HOOKS).await;
        dies(&stage, point);
        assert!(!is_open(&stage).await, "{point}");
        assert_code(&wait(stage.start_through("")), Some(0));
        assert_eq!((count(&stage, "switch"), count(&stage, "abort")), (1, 0), "{point}");
        let often = count(&stage, "after_switch");
        let expected = if point.ends_with("recorded") || point.ends_with("kept") { 1..=1 } else { 1..=2 };
        assert!(expected.contains(&often), "{point}: {often}");
        assert_switched(&stage).await;
        stage.end().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_around_the_one_that_undoes() {
    let pair = TestPair::start(15, 15);
    for point in points("hook.abort-") {
        let stage = stage(&pair, &name_of(point), HOOKS).await;
        does(&stage, "before_fence", "exit 1\n");
        dies(&stage, point);
        assert!(is_open(&stage).await, "{point}");
        does_nothing(&stage, "before_fence");
        // One that was started goes on when its pcrd dies.
        let began = Instant::now();
        while !point.ends_with("recorded") && count(&stage, "abort") == 0 {
            assert!(began.elapsed() < Duration::from_secs(60), "{point}: it was never called");
            std::thread::sleep(Duration::from_millis(10));
        }
        let before = count(&stage, "abort");
        assert_code(&wait(stage.start_through("")), Some(0));
        // Whoever dies before the end of giving up does it again.
        assert_eq!(count(&stage, "abort"), before + 1, "{point}");
        assert_eq!(count(&stage, "switch"), 1, "{point}");
        assert_switched(&stage).await;
        stage.end().await;
    }
    // `pcrd abort` owes it as well.
    let stage = stage(&pair, "by_command", HOOKS).await;
    dies(&stage, "cutover.after-drained");
    assert_code(&command(&stage, &["abort", "--yes"], ""), Some(0));
    assert_eq!(calls(&stage), "before_fence abort");
    assert!(is_open(&stage).await);
    run(&stage.source, "DELETE FROM items").await;
}
