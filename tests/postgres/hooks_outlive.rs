//! A program of the operator's that goes on after its pcrd was killed: nobody decides about it before its end.

use std::time::Duration;

use crate::hooks::{
    HOOKS, assert_code, assert_switched, calls, command, count, dies, does, is_open, stage, until_file, wait,
};
use crate::support::{TestPair, text};

#[tokio::test(flavor = "multi_thread")]
async fn no_word_counts_while_the_switch_still_runs() {
    let pair = TestPair::start(15, 15);
    for (word, code) in [(&["--switch-happened", "yes"][..], 0), (&["--switch-happened", "no", "--open-source"], 5)] {
        let stage = stage(&pair, &format!("word_{code}"), HOOKS).await;
        does(&stage, "switch", "touch switching; while [ ! -e go ]; do sleep 0.02; done; touch moved\n");
        dies(&stage, "hook.switch-started");
        tokio::task::block_in_place(|| until_file(&stage, "switching"));
        let args = [&["cutover", "--yes"], word].concat();
        for args in [&["cutover", "--yes"][..], &args] {
            let said = command(&stage, args, "");
            assert_code(&said, Some(1));
            // The file that it holds is named only while it runs.
            assert!(said.stderr.contains("/pcrd-hook-"), "{args:?}: {}", said.stderr);
            assert!(!is_open(&stage).await, "{args:?}");
        }
        std::fs::write(stage.migration.dir.path().join("go"), "").unwrap();
        tokio::task::block_in_place(|| until_file(&stage, "moved"));
        let said = command(&stage, &args, "");
        if code == 0 {
            assert_code(&said, Some(0));
            assert_switched(&stage).await;
        } else {
            assert!(is_open(&stage).await, "{}", said.stderr);
        }
        assert_eq!(count(&stage, "switch"), 1);
        stage.end().await;
    }
}

/// What undoes the work of a program must not meet it.
#[tokio::test(flavor = "multi_thread")]
async fn the_one_that_undoes_waits_for_what_it_undoes() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "undo", HOOKS).await;
    does(&stage, "before_fence", "touch stopping; while [ ! -e go ]; do sleep 0.02; done; echo over >> calls\n");
    dies(&stage, "hook.before-fence-started");
    tokio::task::block_in_place(|| until_file(&stage, "stopping"));
    let running = stage.start_through("");
    tokio::time::sleep(Duration::from_secs(3)).await;
    assert_eq!(calls(&stage), "before_fence");
    std::fs::write(stage.migration.dir.path().join("go"), "").unwrap();
    assert_code(&wait(running), Some(0));
    assert!(calls(&stage).starts_with("before_fence over abort before_fence over switch"), "{}", calls(&stage));
    assert_switched(&stage).await;
}

/// The switch is made: what runs still behind it is no reason to call it given up.
#[tokio::test(flavor = "multi_thread")]
async fn the_one_after_the_switch_undoes_nothing() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "after", &HOOKS.replace("timeout: 20", "timeout: 3")).await;
    does(&stage, "after_switch", "touch telling; while [ ! -e go ]; do sleep 0.02; done\n");
    dies(&stage, "hook.after-switch-started");
    tokio::task::block_in_place(|| until_file(&stage, "telling"));
    let said = wait(stage.start_through(""));
    assert_code(&said, Some(0));
    let all = format!("{}{}", said.lines.join("\n"), said.stderr);
    assert!(all.contains("ALARM: the after_switch hook was not called") && !all.contains("given up"), "{all}");
    assert_switched(&stage).await;
    assert_eq!(count(&stage, "after_switch"), 1);
    std::fs::write(stage.migration.dir.path().join("go"), "").unwrap();
}

/// An executor that lost its sessions while the program ran writes down how that ended: not over what the operator has said since.
#[tokio::test(flavor = "multi_thread")]
async fn an_executor_that_was_away_does_not_take_the_word_back() {
    let pair = TestPair::start(15, 15);
    let stage = stage(&pair, "away", HOOKS).await;
    let away = stage.start_through("hook.switch-ended=1*sleep(12000)");
    stage.until_target("SELECT count(*) > 0 FROM pcrd.hook WHERE hook = 'switch'").await;
    tokio::task::block_in_place(|| until_file(&stage, "calls"));
    while count(&stage, "switch") == 0 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    tokio::time::sleep(Duration::from_millis(500)).await;
    stage.end_sessions().await;
    let open = ["--state", stage.copy_journal(), "cutover", "--yes", "--switch-happened", "no", "--open-source"];
    assert_code(&command(&stage, &open, ""), Some(0));
    assert!(is_open(&stage).await);
    let said = wait(away);
    assert!(said.code != Some(0), "{}", said.stderr);
    let outcome = "SELECT string_agg(outcome, ' ' ORDER BY number) FROM pcrd.hook WHERE hook = 'switch'";
    assert_eq!(text(&stage.target, outcome).await, "given_up", "{}", said.stderr);
    assert!(is_open(&stage).await);
    assert_code(&command(&stage, &["cutover", "--yes"], ""), Some(0));
    assert_eq!(count(&stage, "switch"), 2, "once in each attempt");
    assert_switched(&stage).await;
}
