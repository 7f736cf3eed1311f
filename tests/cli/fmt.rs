//! `pcrd fmt`.

use std::os::unix::fs::PermissionsExt;

use insta::assert_snapshot;

use crate::environment::Environment;

const ODD: &str = "create table t(id  int, -- pcrd: renamed_from old\n note text);\n";
const EVEN: &str = "CREATE TABLE t (\n    id int, -- pcrd: renamed_from old\n    note text\n);\n";

#[test]
fn files_are_formatted_in_place_and_keep_their_mode() {
    let env = Environment::new();
    env.write("odd.sql", ODD);
    env.write("even.sql", EVEN);
    let path = env.path().join("odd.sql");
    std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).unwrap();
    let ran = env.run_expecting(0, &["fmt", "odd.sql", "even.sql"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", "note: odd.sql formatted\n"));
    assert_eq!(std::fs::read_to_string(&path).unwrap(), EVEN);
    assert_eq!(path.metadata().unwrap().permissions().mode() & 0o777, 0o640);
    let ran = env.run_expecting(0, &["fmt", "odd.sql", "even.sql"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
}

#[test]
fn check_and_diff_write_nothing() {
    let env = Environment::new();
    env.write("odd.sql", ODD);
    env.write("even.sql", EVEN);
    let ran = env.run_expecting(1, &["fmt", "--check", "odd.sql", "even.sql"]);
    assert_eq!(ran.stdout, "");
    assert!(
        ran.stderr.contains("odd.sql is not formatted") && ran.stderr.contains("pcrd fmt odd.sql"),
        "{}",
        ran.stderr
    );
    assert!(!ran.stderr.contains("even.sql"), "{}", ran.stderr);
    let ran = env.run_expecting(0, &["fmt", "--check", "even.sql"]);
    assert_eq!((ran.stdout.as_str(), ran.stderr.as_str()), ("", ""));
    assert_snapshot!(env.run_expecting(0, &["fmt", "--diff", "odd.sql", "even.sql"]).stdout, @r"
    --- odd.sql (as it is)
    +++ odd.sql (formatted)
    @@ -1,2 +1,4 @@
    -create table t(id  int, -- pcrd: renamed_from old
    - note text);
    +CREATE TABLE t (
    +    id int, -- pcrd: renamed_from old
    +    note text
    +);
    ");
    let ran = env.run_expecting(1, &["--json", "fmt", "--check", "odd.sql", "even.sql"]);
    assert_snapshot!(ran.stdout, @r#"{"files":[{"changed":true,"file":"odd.sql"},{"changed":false,"file":"even.sql"}]}"#);
    assert_eq!(std::fs::read_to_string(env.path().join("odd.sql")).unwrap(), ODD);
}

#[test]
fn a_file_with_errors_is_shown_them_and_no_file_is_touched() {
    let env = Environment::new();
    env.write("odd.sql", ODD);
    env.write("bad.sql", "create table t (id int;\n");
    let ran = env.run_expecting(64, &["fmt", "odd.sql", "bad.sql"]);
    assert!(ran.stderr.contains("bad.sql:1:16"), "{}", ran.stderr);
    assert_eq!(std::fs::read_to_string(env.path().join("odd.sql")).unwrap(), ODD);
    let ran = env.run_expecting(64, &["fmt", "none.sql"]);
    assert!(ran.stderr.contains("none.sql"), "{}", ran.stderr);
    let ran = env.run_expecting(64, &["fmt"]);
    assert!(ran.stderr.contains("FILE.sql"), "{}", ran.stderr);
}

#[test]
fn a_dash_is_standard_input_and_output() {
    let env = Environment::new();
    for (text, status, out) in [(ODD, 0, EVEN), (EVEN, 0, EVEN), ("DROP TABLE t;", 64, ""), ("\n \n", 0, "")] {
        let ran = env.run_with(&["fmt", "-"], text);
        assert_eq!((ran.code, ran.stdout.as_str()), (status, out), "{text}");
    }
}
