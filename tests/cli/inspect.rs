//! `inspect --format sql`: a desired schema to edit.

use insta::assert_snapshot;
use pcrd::pg::local::Cluster;

use crate::environment::Environment;
use crate::support::{connect_to, run};

const SCHEMA: &str = "
CREATE TYPE mood AS ENUM ('sad', 'ok');
CREATE TABLE customers (id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY, mood mood DEFAULT 'ok' NOT NULL);
CREATE TABLE orders (id serial PRIMARY KEY, customer_id bigint REFERENCES customers, note text);
CREATE INDEX orders_note ON orders (lower(note)) WHERE note <> '';
COMMENT ON COLUMN orders.note IS 'what the customer''s cat said';
CREATE VIEW notes AS SELECT note FROM orders;
";

#[tokio::test(flavor = "multi_thread")]
async fn a_database_is_written_as_a_desired_schema() {
    let cluster = Cluster::start(15).unwrap();
    let client = connect_to(&cluster, "postgres").await;
    run(&client, "CREATE DATABASE shop").await;
    run(&connect_to(&cluster, "shop").await, SCHEMA).await;
    let env = Environment::new();
    let end =
        |name: &str| format!("{name}: {{host: 127.0.0.1, port: {}, database: shop, user: postgres}}\n", cluster.port());
    env.write("pcrd.config.yml", &(end("source") + "migrate: {tables: [{name: orders}]}\n"));

    let file = env.run_expecting(0, &["inspect", "--format", "sql"]).stdout;
    assert_snapshot!(file.replace(file.split(['(', ')']).nth(1).unwrap(), "VERSION"));
    let ran = env.run_expecting(0, &["inspect", "--format", "sql", "--out", "shop.sql"]);
    assert_eq!(ran.stdout, "");
    let checked = env.run_expecting(0, &["validate", "shop.sql"]);
    assert!(checked.stdout.starts_with("shop.sql is valid: 2 tables"), "{}", checked.stdout);

    // Where a database stands that was made of it, it asks for nothing.
    run(&client, "CREATE DATABASE copy").await;
    run(&connect_to(&cluster, "copy").await, &file).await;
    let target = end("target").replace("shop", "copy");
    env.write("plan.yml", &(end("source") + &target + "migrate: {schema: shop.sql}\n"));
    let ran = env.run_expecting(0, &["plan", "-c", "plan.yml", "--detailed-exitcode"]);
    assert!(ran.stdout.starts_with("No changes."), "{}", ran.stdout);
    env.write("shop.sql", &file.replace("    note text,\n", "    note varchar(100),\n"));
    let ran = env.run_expecting(3, &["plan", "-c", "plan.yml", "--detailed-exitcode", "--skip-data-checks"]);
    assert!(ran.stdout.contains("~ note : text -> character varying(100)"), "{}", ran.stdout);

    let one = env.run_expecting(0, &["inspect", "--format", "sql", "--table", "public.orders"]).stdout;
    assert!(one.contains("CREATE TABLE public.orders (") && !one.contains("CREATE TABLE public.customers"), "{one}");
    assert!(!one.contains("mood") && one.contains("CREATE SEQUENCE public.orders_id_seq AS integer;"), "{one}");
    assert!(one.contains("\n--   table public.customers, which public.orders refers to\n"), "{one}");
    env.write("one.sql", &one);
    let checked = env.run_expecting(0, &["validate", "one.sql"]);
    assert!(checked.stdout.starts_with("one.sql is valid: 1 table"), "{}", checked.stdout);
    let ran = env.run_expecting(64, &["inspect", "--format", "sql", "-t", "order"]);
    assert!(
        ran.stderr.contains("there is no table public.order in shop; did you mean `public.orders`?"),
        "{}",
        ran.stderr
    );
}
