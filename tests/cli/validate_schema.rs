//! `pcrd validate FILE.sql`.

use insta::assert_snapshot;

use crate::environment::Environment;

#[test]
fn a_schema_is_counted_statement_by_statement() {
    let env = Environment::new();
    env.write("kitchen_sink.sql", include_str!("../fixtures/kitchen_sink.sql"));
    assert_snapshot!(env.run_expecting(0, &["validate", "kitchen_sink.sql"]).stdout);
    env.write("small.sql", "SET lock_timeout = 0;\nCREATE TABLE t (id int);\nGRANT SELECT ON t TO PUBLIC;");
    let ran = env.run_expecting(0, &["--json", "validate", "small.sql"]);
    assert_snapshot!(ran.stdout, @r#"{"file":"small.sql","kinds":{"managed":{"table":1},"not_carried":{"grant":1},"prerequisite":{},"refused":{},"setting":{"setting":1}},"statements":{"managed":1,"not_carried":1,"prerequisite":0,"refused":0,"setting":1},"tables":["public.t"],"valid":true}"#);
}

#[test]
fn errors_of_a_schema_come_with_the_counts() {
    let env = Environment::new();
    env.write("bad.sql", "CREATE TABLE t (id int, id int);\nDROP TABLE u;\nCREATE TABLE v (a int);\n");
    let ran = env.run_expecting(64, &["validate", "bad.sql"]);
    assert_snapshot!(ran.stdout, @r"
    bad.sql has 2 errors: 2 tables in 3 statements
      managed          1  table 1
      refused          2  migration step 1, table 1
    ");
    assert_snapshot!(ran.stderr, @r"
      × bad.sql has 2 errors

    Error: pcrd::schema::duplicate

      × the table has two columns `id`
       ╭─[bad.sql:1:25]
     1 │ CREATE TABLE t (id int, id int);
       ·                 ─┬      ─┬
       ·                  │       ╰── again
       ·                  ╰── first here
     2 │ DROP TABLE u;
       ╰────

    Error: pcrd::schema::script

      × `DROP TABLE u` does not belong in a desired schema
       ╭─[bad.sql:2:1]
     1 │ CREATE TABLE t (id int, id int);
     2 │ DROP TABLE u;
       · ──────┬─────
       ·       ╰── this is a step of a migration
     3 │ CREATE TABLE v (a int);
       ╰────
      help: pcrd wants the final state, not the way there: edit the CREATE statement; a new name is
            said by `-- pcrd: renamed_from old_name`, a column that goes by `-- pcrd: drops
            column_name` on its table
    ");
    let ran = env.run_expecting(64, &["--json", "validate", "bad.sql"]);
    let out: serde_json::Value = serde_json::from_str(&ran.stdout).unwrap();
    assert_eq!((&out["valid"], &out["statements"]["refused"]), (&false.into(), &2.into()));
    let error: serde_json::Value = serde_json::from_str(&ran.stderr).unwrap();
    assert_eq!(error["error"]["related"].as_array().unwrap().len(), 2);
}

#[test]
fn names_that_are_cut_off_are_warned_of() {
    let env = Environment::new();
    env.write("long.sql", &format!("CREATE TABLE t (\n  {} int\n);", "x".repeat(64)));
    let ran = env.run_expecting(0, &["validate", "long.sql"]);
    assert!(ran.stderr.starts_with("warning: long.sql:2: the name"), "{}", ran.stderr);
}

#[test]
fn a_schema_that_cannot_be_read_is_a_usage_error() {
    let env = Environment::new();
    let ran = env.run_expecting(64, &["validate", "absent.sql"]);
    assert!(ran.stderr.contains("cannot read schema file absent.sql"), "{}", ran.stderr);
    std::fs::write(env.path().join("latin.sql"), b"-- a\n-- \xe9\n").unwrap();
    let ran = env.run_expecting(64, &["validate", "latin.sql"]);
    assert!(ran.stderr.contains("not valid UTF-8 (line 2, byte 8)"), "{}", ran.stderr);
}
