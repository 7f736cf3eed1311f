//! `pcrd explain`, and acceptances on the command line.

use insta::assert_snapshot;
use serde_json::Value;

use crate::environment::Environment;

fn offline<'a>(more: &[&'a str]) -> Vec<&'a str> {
    let plan = ["plan", "--source-catalog", "source.json", "--target-catalog", "target.json"];
    plan.into_iter().chain(more.iter().copied()).collect()
}

#[test]
fn a_code_is_explained() {
    let env = Environment::new();
    assert_snapshot!(env.run_expecting(0, &["explain", "CUTOVER_WRITE_BLOCK"]).stdout, @r#"
    CUTOVER_WRITE_BLOCK: writes are refused during the cutover

    Severity:  warning (to think about; does not block)
    Lock:      SHARE ROW EXCLUSIVE on the source's tables, which the application uses; held: milliseconds; at most 300 ms of waiting an attempt (step `fence`)
    Effect:    From the fence to the switch every write to these tables fails with SQLSTATE 25006; reads go on. If the switch is not reached in time, the fence is lifted and writes pass again.
    Why:       Clients that do not retry show an error for each write.
    Instead:   Cut over at a quiet time, and let clients retry on 25006. `cutover.fence_timeout` bounds the pause.
    Accept:    in the config  accept: [{code: CUTOVER_WRITE_BLOCK, address: …, reason: …}]
               in the SQL     -- pcrd: accept CUTOVER_WRITE_BLOCK reason="…"
               or             pcrd plan --allow 'CUTOVER_WRITE_BLOCK@ADDRESS=REASON'
    "#);
    let index = env.run_expecting(0, &["explain", "index_build"]).stdout;
    assert!(index.contains("which nobody uses before the switch: no hazard"), "{index}");
    let check = env.run_expecting(0, &["explain", "WAL_LEVEL"]).stdout;
    assert!(check.starts_with("wal_level: ") && check.contains("restart the server"), "{check}");
    let refused = env.run_expecting(0, &["explain", "UNLOGGED"]).stdout;
    assert!(refused.contains("cannot be accepted") && !refused.contains("--allow"), "{refused}");
}

#[test]
fn a_code_is_explained_for_programs() {
    let env = Environment::new();
    let json = env.run_expecting(0, &["explain", "PUBLICATION", "--format", "json"]).stdout;
    assert_eq!(env.run_expecting(0, &["--json", "explain", "PUBLICATION"]).stdout, json);
    let rule: Value = serde_json::from_str(&json).unwrap();
    assert_eq!((&rule["code"], &rule["severity"]), (&"PUBLICATION".into(), &"info".into()));
    assert_eq!(rule["lock"]["mode"], "SHARE UPDATE EXCLUSIVE");
    let all: Value = serde_json::from_str(&env.run_expecting(0, &["explain", "--format", "json"]).stdout).unwrap();
    let codes: Vec<&str> = all.as_array().unwrap().iter().map(|rule| rule["code"].as_str().unwrap()).collect();
    assert!(codes.contains(&"PUBLICATION"));

    let list = env.run_expecting(0, &["explain"]).stdout;
    let listed: Vec<&str> = list.lines().map(|line| line.split_whitespace().next().unwrap()).collect();
    assert_eq!(listed, codes, "one a line");
}

#[test]
fn an_unknown_code_is_an_error_with_the_one_that_was_meant() {
    let env = Environment::new();
    assert_snapshot!(env.run_expecting(64, &["explain", "CUTOVER_BLOCK"]).stderr, @r"
      × there is no finding or check CUTOVER_BLOCK; did you mean CUTOVER_WRITE_BLOCK?
    Next: pcrd explain CUTOVER_WRITE_BLOCK
    ");
    assert_snapshot!(env.run_expecting(64, &["explain", "XYZZY"]).stderr, @r"
      × there is no finding or check XYZZY
    Next: pcrd explain
    ");
}

/// The plan records where each was accepted.
#[test]
fn an_acceptance_is_recorded_with_its_place() {
    let env = Environment::of_case("ends_that_differ");
    let json =
        env.run_expecting(0, &offline(&["--format", "json", "--allow", "WAL_RETENTION@source=a big disk"])).stdout;
    assert_snapshot!(accepted(&json), @r"
    LARGE_OBJECTS | public.people.photo | pcrd.config.yml:21 | numbers of another system
    LOSSY_CAST | public.people.salary | pcrd.config.yml:20 | both servers have lc_monetary = C
    WAL_RETENTION | source | --allow | a big disk
    ");
}

/// A usage error: the message names the flag, or points at the line.
#[test]
fn an_acceptance_that_matches_nothing_is_an_error() {
    let env = Environment::of_case("ends_that_differ");
    let flags = [
        "--allow",
        "LOSSY_CAST@public.people.salry=typing error",
        "--allow",
        "LOSSY_CAST@public.people.salary=twice",
        "--allow",
        "NARROWING@public.people.salary=no such code",
    ];
    assert_snapshot!(env.run_expecting(64, &offline(&flags)).stderr, @r"
    × no plan can be made: there are 3 errors

    × --allow LOSSY_CAST@public.people.salry: nothing at public.people.salry has the finding
    │ LOSSY_CAST to accept
    help: did you mean `public.people.salary`?

    × --allow LOSSY_CAST@public.people.salary: LOSSY_CAST at public.people.salary is accepted twice,
    │ also at pcrd.config.yml:20
    help: remove one of the two: only one reason can be recorded

    × --allow NARROWING@public.people.salary: nothing at public.people.salary has the finding
    │ NARROWING to accept
    help: there is no finding NARROWING; did you mean `NARROWING_CAST`?
    ");
    let refused = Environment::of_case("sql_ascii_source");
    let ran = refused.run_expecting(64, &offline(&["--allow", "INVALID_TEXT@source=it will do"]));
    assert!(ran.stderr.contains("INVALID_TEXT at source is refused and cannot be accepted"), "{}", ran.stderr);
}

#[test]
fn a_refusal_names_the_rule_that_says_more() {
    let env = Environment::of_case("refused_odd_tables");
    let ran = env.run_expecting(64, &offline(&["--json"]));
    let error: Value = serde_json::from_str(&ran.stderr).unwrap();
    let related = error["error"]["related"].as_array().unwrap();
    let codes: Vec<&str> = related.iter().map(|error| error["code"].as_str().unwrap()).collect();
    assert_eq!(codes, ["PARTITIONED", "UNLOGGED", "INHERITED", "FOREIGN_TABLE"]);
    for code in codes {
        assert!(env.run_expecting(0, &["explain", code]).stdout.starts_with(code));
    }
}

const DESIRED: &str = "\
CREATE SEQUENCE public.numbers;
CREATE TABLE public.meters (
  id bigint PRIMARY KEY,
  value bigint,
  label text NOT NULL,
  -- pcrd: accept DEFAULT_FROZEN reason=\"old meters have no number\"
  number bigint DEFAULT nextval('public.numbers'),
  token uuid DEFAULT gen_random_uuid() -- pcrd: accept DEFAULT_FROZEN reason=\"one token for old rows\"
);
";

/// A table whose wanted shape is written in SQL.
fn with_schema(desired: &str) -> Environment {
    let env = Environment::of_case("narrowing_cast");
    let config = std::fs::read_to_string(env.path().join("pcrd.config.yml")).unwrap();
    let (ends, _) = config.split_once("  tables:").unwrap();
    env.write("pcrd.config.yml", &format!("{ends}  schema: desired.sql\n"));
    env.write("desired.sql", desired);
    env
}

fn accepted(json: &str) -> String {
    let file: Value = serde_json::from_str(json).unwrap();
    let findings = file["plan"]["findings"].as_array().unwrap();
    let accepted = findings.iter().filter(|finding| !finding["accepted"].is_null()).map(|finding| {
        let (code, address, accepted) = (&finding["code"], &finding["address"], &finding["accepted"]);
        let texts = [code, address, &accepted["at"], &accepted["reason"]].map(|text| text.as_str().unwrap());
        texts.join(" | ")
    });
    accepted.collect::<Vec<_>>().join("\n")
}

#[test]
fn an_acceptance_in_the_desired_schema_is_recorded_with_its_line() {
    let env = with_schema(DESIRED);
    let allow = ["--format", "json", "--allow", "SEQUENCE_NEW@public.numbers=as ordered"];
    let json = env.run_expecting(0, &offline(&allow)).stdout;
    assert_snapshot!(accepted(&json), @r"
    DEFAULT_FROZEN | public.meters.number | desired.sql:6 | old meters have no number
    DEFAULT_FROZEN | public.meters.token | desired.sql:8 | one token for old rows
    SEQUENCE_NEW | public.numbers | --allow | as ordered
    ");
}

#[test]
fn an_acceptance_in_the_desired_schema_that_matches_nothing_points_into_it() {
    let env =
        with_schema(&DESIRED.replace("  value bigint,", "  value bigint, -- pcrd: accept LOSSY_CAST reason=\"no\""));
    assert_snapshot!(env.run_expecting(64, &offline(&[])).stderr, @r#"
     × no plan can be made: there is an error

     × nothing at public.meters.value has the finding LOSSY_CAST to accept
      ╭─[desired.sql:4:17]
    3 │   id bigint PRIMARY KEY,
    4 │   value bigint, -- pcrd: accept LOSSY_CAST reason="no"
      ·                 ──────────────────────────────────────
    5 │   label text NOT NULL,
      ╰────
     help: remove it: this plan has no such finding
    "#);
}
