//! `pcrd validate`.

use insta::assert_snapshot;

use crate::environment::{CONFIG, Environment};

#[test]
fn a_valid_config_is_said_to_be() {
    let env = Environment::new();
    env.write("pcrd.config.yml", CONFIG);
    assert_snapshot!(env.run_expecting(0, &["validate"]).stdout, @"pcrd.config.yml is valid: 1 table to migrate");
    env.write("other.yml", CONFIG);
    assert_snapshot!(env.run_expecting(0, &["--json", "validate", "-c", "other.yml"]).stdout, @r#"{"file":"other.yml","patterns":[],"tables":["public.orders"],"valid":true}"#);
    env.write("all.yml", &CONFIG.replace("tables:", "exclude: [tmp_*]\n  tables:\n    - 'app.*'\n    - '*'"));
    assert_snapshot!(env.run_expecting(0, &["validate", "-c", "all.yml"]).stdout, @"all.yml is valid: 1 table to migrate, and those that the source has of `app.*`, `*`");
}

#[test]
fn every_error_points_at_its_line() {
    let env = Environment::new();
    env.write("pcrd.config.yml", &CONFIG.replace("type:", "tipe:").replace("database: shop", "databse: shop"));
    assert_snapshot!(env.run_expecting(64, &["validate"]).stderr, @r"
      × pcrd.config.yml has 5 errors

    Error: pcrd::config::missing

      × `source.database` is missing
       ╭─[pcrd.config.yml:1:1]
     1 │ source:
       · ───┬──
       ·    ╰── needs `database`
     2 │   host: 127.0.0.1
       ╰────
      help: add a line `database: …`

    Error: pcrd::config::unknown_key

      × `source` has no key `databse`
       ╭─[pcrd.config.yml:3:3]
     2 │   host: 127.0.0.1
     3 │   databse: shop
       ·   ───┬───
       ·      ╰── unknown key
     4 │   user: pcrd
       ╰────
      help: did you mean `database`?

    Error: pcrd::config::missing

      × `target.database` is missing
       ╭─[pcrd.config.yml:5:1]
     4 │   user: pcrd
     5 │ target:
       · ───┬──
       ·    ╰── needs `database`
     6 │   host: 127.0.0.1
       ╰────
      help: add a line `database: …`

    Error: pcrd::config::unknown_key

      × `target` has no key `databse`
       ╭─[pcrd.config.yml:8:3]
     7 │   port: 5433
     8 │   databse: shop
       ·   ───┬───
       ·      ╰── unknown key
     9 │   user: pcrd
       ╰────
      help: did you mean `database`?

    Error: pcrd::config::unknown_key

      × `migrate.tables[].columns.*` has no key `tipe`
        ╭─[pcrd.config.yml:15:11]
     14 │         id:
     15 │           tipe: bigint
        ·           ──┬─
        ·             ╰── unknown key
        ╰────
      help: did you mean `type`?
    ");
    let ran = env.run_expecting(64, &["--json", "validate"]);
    let error: serde_json::Value = serde_json::from_str(ran.stderr.trim_end()).unwrap();
    let places: Vec<&serde_json::Value> =
        error["error"]["related"].as_array().unwrap().iter().map(|problem| &problem["places"][0]["line"]).collect();
    assert_snapshot!(format!("{places:?}"), @"[Number(1), Number(3), Number(5), Number(8), Number(15)]");
}

#[test]
fn no_config_is_a_usage_error() {
    let env = Environment::new();
    assert_snapshot!(env.run_expecting(64, &["validate"]).stderr, @r"
      × pcrd.config.yml has an error

    Error: pcrd::config::not_found

      × config file not found: pcrd.config.yml
      help: name it with --config; the default is pcrd.config.yml in the current directory
    ");
}
