//! `pcrd plan` and `pcrd show`, offline: the worked cases of `plans/`.

use std::os::unix::fs::{PermissionsExt, symlink};

use insta::assert_snapshot;

use crate::environment::Environment;

const OFFLINE: [&str; 5] = ["plan", "--source-catalog", "source.json", "--target-catalog", "target.json"];

/// The arguments of an offline plan, and more.
fn offline(more: &[&'static str]) -> Vec<&'static str> {
    OFFLINE.iter().chain(more).copied().collect()
}

#[test]
fn a_plan_is_written_privately_and_shown_again() {
    let env = Environment::of_case("widen_id_and_pack");
    let planned = env.run_expecting(0, &offline(&["--out", "plan.json"]));
    assert_snapshot!(planned.stderr, @"note: to run it: pcrd apply plan.json");
    assert!(planned.stdout.starts_with("pcrd will perform the following actions (plan "), "{}", planned.stdout);
    let mode = std::fs::metadata(env.path().join("plan.json")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);

    assert_eq!(env.run_expecting(0, &["show", "plan.json"]).stdout, planned.stdout);
    let json = env.run_expecting(0, &["show", "plan.json", "--format", "json"]).stdout;
    assert_eq!(json, std::fs::read_to_string(env.path().join("plan.json")).unwrap());
    let sql = env.run_expecting(0, &["show", "plan.json", "--format", "sql"]).stdout;
    assert!(sql.contains("CREATE TABLE \"public\".\"listings\""), "{sql}");
    let step = env.run_expecting(0, &["show", "plan.json", "--step", "switch"]).stdout;
    assert!(step.starts_with("switch  (cutover)\n"), "{step}");
    assert!(env.run_expecting(64, &["show", "plan.json", "--step", "swich"]).stderr.contains("\n  │ switch\n"));
}

#[test]
fn the_same_inputs_give_the_same_plan() {
    let env = Environment::of_case("widen_id_and_pack");
    let first = env.run_expecting(0, &offline(&["--no-evidence", "--format", "json"])).stdout;
    assert_eq!(env.run_expecting(0, &offline(&["--no-evidence", "--json"])).stdout, first);
    assert!(!first.contains("\"evidence\""));
}

#[test]
fn changes_are_told_by_the_exit_code_when_asked_for() {
    let env = Environment::of_case("widen_id_and_pack");
    assert!(!env.run_expecting(2, &offline(&["--detailed-exitcode"])).stdout.is_empty());
}

#[test]
fn a_blocked_plan_exits_3_and_writes_nothing() {
    let env = Environment::of_case("blocked");
    let ran = env.run_expecting(3, &offline(&["--out", "plan.json", "--detailed-exitcode"]));
    assert_snapshot!(ran.stderr, @r"
      × the plan is blocked; no file was written:
      │ TARGET_EXISTS public.children: a relation of this name exists on the target; only an
      │ unfinished run of this plan may continue with it
      │ DEFAULT_FROZEN public.parents.token: gen_random_uuid is evaluated once: every row that exists
      │ or is streamed before the switch gets that one value; new rows get their own from the switch
      │ on; to accept: --allow 'DEFAULT_FROZEN@public.parents.token=why'
      │ ENCODING_DIFFERS target: the source is UTF8, the target LATIN1: text that LATIN1 cannot hold
      │ stops the copy
    Next: pcrd plan, after mending or accepting each of them (pcrd explain CODE says how)
    ");
    assert!(!env.path().join("plan.json").exists());
    let allow = "DEFAULT_FROZEN@public.parents.token=one token is enough";
    let ran = env.run_expecting(3, &offline(&["--allow", allow]));
    assert!(!ran.stderr.contains("DEFAULT_FROZEN"), "{}", ran.stderr);
    assert!(ran.stdout.contains("(accepted: one token is enough)"), "{}", ran.stdout);
    let unused = env.run_expecting(64, &offline(&["--allow", "LOSSY_CAST@public.parents.id=why not"]));
    assert!(unused.stderr.contains("nothing at public.parents.id has the finding LOSSY_CAST"), "{}", unused.stderr);
    assert_eq!(env.run_expecting(64, &offline(&["--allow", "LOSSY_CAST"])).stdout, "");
}

#[test]
fn a_wrong_name_points_into_the_config() {
    let env = Environment::of_case("refused_unknown_names");
    assert_snapshot!(env.run_expecting(64, &OFFLINE).stderr, @r"
      × no plan can be made: there are 2 errors

      × the source has no table public.listing
        ╭─[pcrd.config.yml:12:13]
     11 │   tables:
     12 │     - name: listing
        ·             ───────
     13 │     - name: users
        ╰────
      help: did you mean `public.listings`?

      × public.users has no column emial
        ╭─[pcrd.config.yml:14:17]
     13 │     - name: users
     14 │       columns: {emial: {rename: mail}}
        ·                 ─────
        ╰────
      help: did you mean `email`?
    ");
}

#[test]
fn an_edited_plan_is_refused() {
    let env = Environment::of_case("widen_id_and_pack");
    let _ = env.run_expecting(0, &offline(&["--out", "plan.json"]));
    let text = std::fs::read_to_string(env.path().join("plan.json")).unwrap();
    env.write("edited.json", &text.replacen("\"batch_size\": 10000", "\"batch_size\": 10001", 1));
    for command in [&["show", "edited.json"][..], &["apply", "edited.json", "--yes"]] {
        let ran = env.run_expecting(4, command);
        assert!(ran.stderr.contains("the plan was edited"), "{}", ran.stderr);
    }
}

#[test]
fn a_plan_is_not_written_through_a_link() {
    let env = Environment::of_case("widen_id_and_pack");
    env.write("victim", "precious");
    symlink(env.path().join("victim"), env.path().join("plan.json")).unwrap();
    let ran = env.run_expecting(1, &offline(&["--out", "plan.json"]));
    assert!(ran.stderr.contains("it is a symbolic link"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(env.path().join("victim")).unwrap(), "precious");
}

#[test]
fn apply_asks_for_yes_without_a_terminal() {
    let env = Environment::of_case("widen_id_and_pack");
    let _ = env.run_expecting(0, &offline(&["--out", "plan.json"]));
    let ran = env.run_expecting(64, &["apply", "plan.json"]);
    assert!(ran.stderr.contains("cannot be asked: standard input is not a"), "{}", ran.stderr);
    assert!(ran.stderr.ends_with("Next: the same command with --yes\n"), "{}", ran.stderr);
}

#[test]
fn a_catalog_that_is_none_is_refused() {
    let env = Environment::of_case("widen_id_and_pack");
    env.write("source.json", "{}");
    let ran = env.run_expecting(64, &OFFLINE);
    assert!(ran.stderr.contains("cannot use the catalog source.json: missing field"), "{}", ran.stderr);
}
