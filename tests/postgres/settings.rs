//! Settings of roles and databases that change what values look like, what names mean, and how long anything may take:
//! the migration is exact all the same.

use tokio_postgres::Client;

use crate::migration::Migration;
use crate::support::{TestPair, connect_to, run, sorted_copy, text};

/// Setting, value, first major that knows it, last one.
const SETTINGS: &[(&str, &str, u32, u32)] = &[
    ("DateStyle", "German, DMY", 10, 99),
    ("IntervalStyle", "sql_standard", 10, 99),
    ("TimeZone", "Pacific/Kiritimati", 10, 99),
    ("extra_float_digits", "-15", 10, 99),
    ("bytea_output", "escape", 10, 99),
    ("client_encoding", "LATIN1", 10, 99),
    ("lc_monetary", "C", 10, 99),
    ("xmlbinary", "hex", 10, 99),
    ("xmloption", "document", 10, 99),
    ("array_nulls", "off", 10, 99),
    ("transform_null_equals", "on", 10, 99),
    ("standard_conforming_strings", "off", 10, 18),
    ("backslash_quote", "off", 10, 99),
    ("quote_all_identifiers", "on", 10, 99),
    ("row_security", "on", 10, 99),
    ("default_transaction_isolation", "serializable", 10, 99),
    ("default_transaction_read_only", "on", 10, 99),
    ("default_transaction_deferrable", "on", 10, 99),
    ("statement_timeout", "1s", 10, 99),
    ("lock_timeout", "100ms", 10, 99),
    ("idle_in_transaction_session_timeout", "1s", 10, 99),
    ("idle_session_timeout", "1s", 14, 99),
    ("transaction_timeout", "1s", 17, 99),
    ("wal_sender_timeout", "1s", 12, 99),
    ("synchronous_commit", "off", 10, 99),
    ("exit_on_error", "on", 10, 99),
    ("default_with_oids", "on", 10, 11),
    ("gin_fuzzy_search_limit", "1", 10, 99),
    ("work_mem", "64kB", 10, 99),
    ("enable_indexscan", "off", 10, 99),
    ("check_function_bodies", "off", 10, 99),
    ("client_min_messages", "error", 10, 99),
];

/// What stands before `pg_catalog` in the role's search path: functions, operators, types and relations that lie.
const EVIL: &str = "
CREATE SCHEMA evil;
CREATE FUNCTION evil.never(integer, integer) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION evil.never(bigint, bigint) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT false';
CREATE FUNCTION evil.never(text, text) RETURNS boolean IMMUTABLE LANGUAGE sql AS 'SELECT false';
CREATE OPERATOR evil.= (LEFTARG = integer, RIGHTARG = integer, PROCEDURE = evil.never);
CREATE OPERATOR evil.= (LEFTARG = bigint, RIGHTARG = bigint, PROCEDURE = evil.never);
CREATE OPERATOR evil.= (LEFTARG = text, RIGHTARG = text, PROCEDURE = evil.never);
CREATE OPERATOR evil.>= (LEFTARG = integer, RIGHTARG = integer, PROCEDURE = evil.never);
CREATE FUNCTION evil.hashtextextended(text, bigint) RETURNS bigint IMMUTABLE LANGUAGE sql AS 'SELECT 0::bigint';
CREATE FUNCTION evil.md5(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT ''::text$$;
CREATE FUNCTION evil.md5(bytea) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT ''::text$$;
CREATE FUNCTION evil.lower(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT ''::text$$;
CREATE FUNCTION evil.now() RETURNS timestamptz IMMUTABLE LANGUAGE sql AS $$SELECT '-infinity'::timestamptz$$;
CREATE FUNCTION evil.current_setting(text) RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT ''::text$$;
CREATE FUNCTION evil.float8send(double precision) RETURNS bytea IMMUTABLE LANGUAGE sql AS $$SELECT ''::bytea$$;
CREATE FUNCTION evil.txid_current_snapshot() RETURNS text IMMUTABLE LANGUAGE sql AS $$SELECT '1:1:'::text$$;
CREATE DOMAIN evil.int8 AS pg_catalog.int2;
CREATE DOMAIN evil.text AS pg_catalog.varchar(1);
CREATE DOMAIN evil.regclass AS pg_catalog.text;
CREATE TABLE evil.pg_class (oid pg_catalog.oid);
CREATE TABLE evil.pg_replication_slots (slot_name pg_catalog.name);
CREATE TABLE evil.pg_trigger (oid pg_catalog.oid);
";

const SCHEMA: &str = r#"
CREATE TABLE vals (id integer PRIMARY KEY, f4 real, f8 double precision, fs double precision[], ts timestamp, tz timestamptz,
  d date, ti time, tt timetz, iv interval, b bytea, t text, ts_range tsrange, n numeric, names text[], j jsonb, pt point, pts circle[],
  "günstig😀" text DEFAULT 'ü' NOT NULL, at timestamptz DEFAULT now());
CREATE INDEX ON vals (lower(t));
INSERT INTO vals SELECT g, (random() * 1e38)::real, random() * exp(random() * 700 - 350), ARRAY[random() / 3, NULL],
  '2024-02-03 04:05:06.789'::timestamp + g * interval '1.000001 days', '2024-10-27 00:30:00+00'::timestamptz + g * interval '7 min',
  '2024-12-11'::date - g, '04:05:06.000001', '04:05:06+05:30', make_interval(months => g - 500, days => 3, secs => (-g / 7.0)::double precision),
  decode(md5(g::text), 'hex'), 'x' || g, tsrange(NULL, '2024-02-03'::timestamp + g * interval '1 day'), g / 3.0, ARRAY['NULL', NULL, 'a"b'], NULL,
  point(g / 3.0, -g), ARRAY[circle(point(g / 7.0, 1), g / 3.0)]
  FROM generate_series(1, 2000) g;
"#;

/// Rows at the ends of every type; `%` is the key.
const EXTREMES: &str = r#"
INSERT INTO vals VALUES
 (%1, '3.4028235e38', '1.7976931348623157e308', '{5e-324,0.1,-0}', '4713-01-01 00:00:00 BC', '0044-03-15 12:00:00+01 BC', '4713-01-01 BC', '24:00:00', '23:59:59.999999-15:59',
  '-178000000 years', '\x00ff80415c27', E'𝒳😀\t\n\\ \\N \\.', '[-infinity,infinity]', 'NaN', '{}', '{"a": "\u2028😀"}', '(5e-324,-0)', NULL, E'\\ü''"'),
 (%2, '1.17549435e-38', '5e-324', NULL, '294276-12-31 23:59:59.999999', '294276-12-31 23:59:59.999999+00', '5874897-12-31', '00:00:00', '00:00:00+15:59',
  '-1 year +2 mons -3 days 04:05:06.789', '', '', 'empty', '-0.0000000000000000000000000000000000001', '{NULL,"NULL",null}', '[]', '(0.1,1e308)', '{}', 'x'),
 (%3, 'NaN', '-0', '{Infinity,-Infinity,NaN}', 'infinity', '-infinity', 'infinity', '12:00', '12:00+00', '1 mon -1 day 00:00:00.000001', '\xdeadbeef', '03.02.2024', NULL, '1e100', NULL, NULL, '(NaN,Infinity)', '{"<(0.1,0.2),0.3>"}', 'y'),
 (%4, 0.1, 0.30000000000000004, '{}', '2024-02-03', '2024-02-03 04:05:06+00', '2024-02-03', '12:00', '12:00+00', '00:00:00', NULL, NULL, NULL, 0.1, NULL, 'null', NULL, NULL, 'z')
"#;

fn extremes(from: u32) -> String {
    let mut sql = EXTREMES.to_owned();
    for n in 1..=4 {
        sql = sql.replace(&format!("(%{n},"), &format!("({},", from + n));
    }
    sql
}

/// Sets everything for the role and for the database. Sessions that are open already keep what they have.
async fn spoil(client: &Client, major: u32) {
    let known = SETTINGS.iter().filter(|(_, _, since, until)| (*since..=*until).contains(&major));
    for (name, value, ..) in known {
        for whom in ["ROLE mover", "DATABASE shop"] {
            // The value of a list is a list, not one name.
            let value = if *name == "DateStyle" { (*value).to_owned() } else { format!("'{value}'") };
            run(client, &format!("ALTER {whom} SET {name} = {value}")).await;
        }
    }
    for whom in ["ROLE mover", "DATABASE shop"] {
        run(client, &format!("ALTER {whom} SET search_path = evil, public, pg_catalog")).await;
    }
}

async fn is_exact(source_major: u32, target_major: u32) {
    let pair = TestPair::start(source_major, target_major);
    let mut ends = Vec::new();
    for (cluster, major) in [(&pair.source, source_major), (&pair.target, target_major)] {
        let admin = connect_to(cluster, "postgres").await;
        run(&admin, "CREATE ROLE mover SUPERUSER LOGIN").await;
        run(&admin, "CREATE DATABASE shop").await;
        let client = connect_to(cluster, "shop").await;
        run(&client, "SET extra_float_digits = 3").await;
        run(&client, EVIL).await;
        ends.push((client, major));
    }
    let (target, _) = ends.pop().unwrap();
    let (source, _) = ends.pop().unwrap();
    run(&source, SCHEMA).await;
    run(&source, &extremes(10_000)).await;
    run(&source, "ANALYZE vals").await;
    spoil(&source, source_major).await;
    spoil(&target, target_major).await;

    let end = |port: u16| serde_json::json!({"host": "127.0.0.1", "port": port, "database": "shop", "user": "mover"});
    let config = serde_json::json!({
        "source": end(pair.source.port()), "target": end(pair.target.port()),
        "migrate": {"checkpoint_db": "./state.sqlite3", "batch_size": 300, "max_rows_per_second": 700, "workers": 2, "tables": [
            {"name": "vals", "optimize_column_order": true, "columns": {
                "id": {"type": "bigint"}, "f4": {"type": "double precision"}, "n": {"rename": "amount"}},
             "add_columns": [{"name": "added", "type": "timestamptz", "default": "now()"}]}]},
        "cutover": {"fence_timeout": 60},
    });
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("pcrd.config.yml"), config.to_string()).unwrap();
    let migration = Migration { dir, environment: Vec::new() };
    migration.plan();
    // Longer within a transaction than the role's sessions may be idle.
    let slow = "chunk.after-snapshot=2*sleep(1500);chunk.before-commit=2*sleep(1500)";
    let mut apply = migration.start(&["--json", "apply", "plan.json", "--yes"], slow);
    apply.wait_for("step_progress");
    run(&source, &extremes(20_000)).await;
    run(&source, "UPDATE vals SET f8 = f8 / 3, iv = -iv, tz = tz + interval '1.5 s', t = '𝒳' || coalesce(t, '') WHERE id % 5 = 0").await;
    run(&source, "UPDATE vals SET id = id + 100000 WHERE id % 50 = 1; DELETE FROM vals WHERE id % 50 = 2").await;
    apply.wait_for("\"ready\":true");
    run(&source, &extremes(30_000)).await;
    // Idle for longer than the role's sessions may be.
    tokio::time::sleep(std::time::Duration::from_millis(2500)).await;
    run(&source, "UPDATE vals SET f4 = f4 / 3, names = names || '{NULL}'::text[] WHERE id % 7 = 0").await;
    migration.ok(&["verify"]);
    migration.ok(&["status"]);
    // The first attempts to fence fail, and the session must survive them.
    let writer = connect_to(&pair.source, "shop").await;
    run(&writer, "RESET ALL; SET exit_on_error = off; SET search_path = public; SET idle_in_transaction_session_timeout = 0; SET statement_timeout = 0").await;
    run(&writer, "SET default_transaction_read_only = off; SET default_transaction_isolation = 'read committed'").await;
    let writer = tokio::spawn(async move {
        run(&writer, "BEGIN; UPDATE vals SET t = 'late' WHERE id % 30 = 4").await;
        tokio::time::sleep(std::time::Duration::from_secs(4)).await;
        run(&writer, "COMMIT").await;
    });
    tokio::time::sleep(std::time::Duration::from_millis(500)).await;
    migration.ok(&["cutover", "--maintenance-confirmed"]);
    writer.await.unwrap();
    apply.wait().assert_switched();

    // Before PG 12 the text of a float is another one.
    let query = |id: &str, f4: &str, n: &str| {
        format!(
            "SELECT {id}, float8send({f4}), float8send(f8), array_send(fs), ts, tz, d, ti, tt, iv, b, t, ts_range, {n}, names, j, point_send(pt), array_send(pts), \"günstig😀\", at FROM public.vals"
        )
    };
    let left = sorted_copy(&source, &query("id::bigint", "f4::double precision", "n")).await;
    let right = sorted_copy(&target, &query("id", "f4", "amount")).await;
    assert!(left.len() > 100_000, "{} bytes", left.len());
    assert!(left == right, "{}", first_difference(&left, &right));
    let frozen = "SELECT count(DISTINCT added) || ' ' || bool_and(added > '2020-01-01') FROM public.vals";
    assert_eq!(text(&target, frozen).await, "1 true");
    let spoiled = connect_to(&pair.source, "shop").await;
    assert_eq!(text(&spoiled, "SHOW timezone").await, "Pacific/Kiritimati", "the settings were in force");
    assert_eq!(text(&spoiled, "SELECT 1 = 1").await, "f", "the operators lied");
    migration.ok(&["verify"]);
    migration.ok(&["cleanup", "--yes"]);
}

fn first_difference(left: &[u8], right: &[u8]) -> String {
    let (left, right) = (String::from_utf8_lossy(left).into_owned(), String::from_utf8_lossy(right).into_owned());
    let different = left.lines().zip(right.lines()).find(|(one, other)| one != other);
    format!("{different:#?}")
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_role_and_database_change_nothing_on_15() {
    is_exact(15, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn settings_of_role_and_database_change_nothing_from_10_to_18() {
    is_exact(10, 18).await;
}
