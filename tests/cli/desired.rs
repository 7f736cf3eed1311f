//! `migrate.schema`: the desired schema in SQL files, offline.

use crate::environment::Environment;

const PLAN: [&str; 6] = ["plan", "--source-catalog", "source.json", "--target-catalog", "target.json", "--no-evidence"];

const ENDS: &str = "\
source: { host: 127.0.0.1, database: shop, user: pcrd }
target: { host: 127.0.0.1, port: 5433, database: shop, user: pcrd }
";

const USERS: &str = "\
CREATE TABLE users (
  id bigserial PRIMARY KEY,
  active boolean DEFAULT true NOT NULL,
  created_at timestamp DEFAULT now() NOT NULL,
  email varchar(255) NOT NULL UNIQUE,
  full_name text NOT NULL -- pcrd: renamed_from name
);
";

fn environment(migrate: &str) -> Environment {
    let env = Environment::of_case("widen_id_and_pack");
    env.write("pcrd.config.yml", &format!("{ENDS}migrate:\n{migrate}"));
    env
}

#[test]
fn a_table_is_planned_from_sql_without_a_database() {
    let env = environment("  schema: users.sql\n");
    env.write("users.sql", USERS);
    let text = env.run_expecting(0, &PLAN).stdout;
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    for change in ["~ id : integer -> bigint", "> name -> full_name", "~ name : NULL -> NOT NULL"] {
        assert!(words.contains(change), "{change}:\n{text}");
    }
    assert!(words.contains("0 to add, 3 to change, 1 to rename, 0 to drop"), "{text}");
    assert!(!text.contains("constraint users_"), "unnamed constraints take the source's names:\n{text}");
    let valid = env.run_expecting(0, &["validate"]).stdout;
    assert!(valid.contains("1 table to migrate"), "{valid}");
}

#[test]
fn files_and_globs_are_one_schema_and_errors_name_their_file() {
    let env = environment("  schema: [\"tables/*.sql\", more.sql]\n");
    std::fs::create_dir(env.path().join("tables")).unwrap();
    env.write("tables/a.sql", "SELECT pg_catalog.set_config('search_path', '', false);\n");
    env.write("tables/b.sql", USERS);
    env.write("more.sql", "\n\nCREATE TABLE no_such_table (id int);\n");
    let stderr = env.run_expecting(64, &PLAN).stderr;
    assert!(stderr.contains("more.sql:3:14"), "{stderr}");
    assert!(stderr.contains("the source has no table public.no_such_table"), "{stderr}");
    assert!(stderr.contains("-- pcrd: ignore"), "{stderr}");
    env.write("more.sql", "CREATE TABLE x (id int;\n");
    env.write("tables/a.sql", "CREATE TABLE y (id int;\n");
    let stderr = env.run_expecting(64, &["validate"]).stderr;
    assert!(stderr.contains("2 errors in 2 files"), "{stderr}");
    assert!(stderr.contains("tables/a.sql:1:") && stderr.contains("more.sql:1:"), "{stderr}");
}

#[test]
fn a_glob_without_files_is_an_error() {
    let env = environment("  schema: \"nowhere/*.sql\"\n");
    assert!(env.run_expecting(64, &PLAN).stderr.contains("no file matches"));
}

#[test]
fn a_table_in_both_files_shows_both_places() {
    let env = environment("  schema: users.sql\n  tables:\n    - name: users\n");
    env.write("users.sql", USERS);
    let stderr = env.run_expecting(64, &PLAN).stderr;
    assert!(stderr.contains("described in both files: public.users"), "{stderr}");
    assert!(stderr.contains("pcrd.config.yml:6:13") && stderr.contains("users.sql:1:14"), "{stderr}");
}

#[test]
fn a_missing_column_shows_the_lines_to_add() {
    let env = environment("  schema: users.sql\n");
    env.write("users.sql", &USERS.replace(" -- pcrd: renamed_from name", ""));
    let stderr = env.run_expecting(64, &PLAN).stderr;
    let (rename, drop) = (stderr.find("-- pcrd: renamed_from name"), stderr.find("-- pcrd: drops name"));
    assert!(rename.is_some() && rename < drop, "{stderr}");
}
