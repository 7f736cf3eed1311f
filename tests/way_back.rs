//! The way back of a plan, on a real server: rows that the target writes become rows of the source as it was.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use pcrd::config;
use pcrd::pg::introspect;
use pcrd::pg::local::Cluster;
use pcrd::plan::{self, End, Op, Plan, Settings};
use pcrd::projection::Projection;
use pcrd::resolve::{ResolveOptions, resolve};
use pcrd::sql::Frozen;
use pcrd::sql::apply::{Applied, OldTuple, Statement, Tuple, Update, UpdateShape, delete, insert, update};
use tokio_postgres::Client;
use tokio_postgres::types::{Format, IsNull, ToSql, Type};

use support::{connect_to, rows, run};

const SOURCE: &str = r#"
CREATE SCHEMA app;
CREATE TABLE app.orders (
  id integer PRIMARY KEY, "cust ref" integer NOT NULL, cents integer NOT NULL, paid boolean NOT NULL DEFAULT false, note text,
  code text NOT NULL, short varchar(3), brief varchar(3), doubled integer GENERATED ALWAYS AS (cents * 2) STORED);
INSERT INTO app.orders VALUES (1, 10, 250, true, 'kept', 'a', 'X', 'x'), (2, 20, 1, true, 'goes', 'b', NULL, NULL);
"#;

const CONFIG: &str = r#"
source: {host: localhost, database: a, user: u}
target: {host: localhost, port: 5433, database: b, user: u}
migrate:
  tables:
    - name: app.orders
      target: shop.sales
      optimize_column_order: true
      columns:
        id: {type: bigint}
        cust ref: {rename: customer, type: bigint}
        cents: {rename: price, type: "numeric(12,2)", using: "cents / 100.0", reverse: "(price * 100)::int"}
        paid: {drop: true}
        note: {drop: true}
        code: {type: varchar(5)}
        short: {type: text, using: lower(short), reverse: upper(short)}
        brief: {type: text}
        doubled: {drop: true}
      add_columns:
        - {name: region, type: text, not_null: true, default: "'eu'"}
accept:
  - {code: DELETES_DATA, address: app.orders.paid, reason: test}
  - {code: DELETES_DATA, address: app.orders.note, reason: test}
  - {code: DELETES_DATA, address: app.orders.doubled, reason: test}
cutover: {reverse: {user: goes_back}}
"#;

fn settings(config: &config::Config) -> Settings {
    Settings {
        slot: config.migrate.slot.clone(),
        publication: config.migrate.publication.clone(),
        batch_size: 10_000,
        batch_size_is_cap: false,
        workers: None,
        max_rows_per_second: None,
        max_bytes_per_second: None,
        comparison: pcrd::plan::Comparison::default(),
        throttle: Default::default(),
        lag_threshold_bytes: 1 << 20,
        sequence_buffer: 1_000,
        lag_drain_timeout_s: 300,
        fence_timeout_ms: 10_000,
        session: BTreeMap::new(),
        on_ddl: plan::OnDdl::Stop,
        cutover: config.cutover.planned(),
    }
}

async fn compile(source: &Client, target: &Client) -> Plan {
    let config = config::parse("pcrd.config.yml", CONFIG).unwrap();
    let (source, target) = (introspect::catalog(source).await.unwrap(), introspect::catalog(target).await.unwrap());
    let options = ResolveOptions { config_text: CONFIG.to_owned(), goes_back: true, ..ResolveOptions::default() };
    let resolved = resolve(&config.migrate.desired, &source, &target, &options)
        .unwrap_or_else(|errors| panic!("{}", errors.iter().map(|error| format!("{error}\n")).collect::<String>()));
    let plan = plan::build(&resolved, &settings(&config), &[]).unwrap();
    plan::check(&plan).unwrap();
    plan
}

/// A value in PostgreSQL's text form, as the stream delivers it.
#[derive(Debug)]
struct Text(Option<String>);

impl ToSql for Text {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
    tokio_postgres::types::to_sql_checked!();
}

/// A row of the target: what the stream has of it.
type Row = Vec<Option<String>>;

struct Back<'a> {
    source: &'a Client,
    target: &'a Client,
    way: &'a Projection,
}

impl Back<'_> {
    /// The target's row, as the stream would send it.
    async fn row(&self, key: &str) -> Row {
        let columns: Vec<String> =
            self.way.source_columns.iter().map(|column| pcrd::sql::ident(&column.name)).collect();
        let query =
            format!("SELECT {} FROM {} WHERE id = {key}", columns.join(", "), pcrd::sql::name(&self.way.source));
        rows(self.target, &query).await.remove(0)
    }

    async fn send(&self, statement: &Statement, new: &Row, old: &Row) -> Result<u64, tokio_postgres::Error> {
        let value = |param: &pcrd::sql::apply::Param| {
            let tuple = if param.tuple == Tuple::New { new } else { old };
            Text(tuple[param.column].clone())
        };
        let values: Vec<Text> = statement.params.iter().map(value).collect();
        let prepared = self.source.prepare(&statement.sql).await?;
        let values = values.iter().map(|value| value as &(dyn ToSql + Sync)).collect::<Vec<_>>();
        self.source.execute_raw(&prepared, values).await
    }

    async fn insert(&self, key: &str) -> Result<u64, tokio_postgres::Error> {
        let frozen = Frozen::new();
        let applied = Applied { projection: self.way, frozen: &frozen, identity_always: &BTreeSet::new() };
        let row = self.row(key).await;
        self.send(&insert(applied).unwrap(), &row, &row).await
    }

    /// `old` is the key that the row had.
    async fn update(&self, key: &str, old: Option<&str>) -> Result<u64, tokio_postgres::Error> {
        let frozen = Frozen::new();
        let applied = Applied { projection: self.way, frozen: &frozen, identity_always: &BTreeSet::new() };
        let sent = vec![true; self.way.source_columns.len()];
        let tuple = if old.is_some() { OldTuple::Key } else { OldTuple::None };
        let shape = UpdateShape { sent: &sent, old: tuple, key_changed: old.is_some() };
        let Update::Statement(statement) = update(applied, shape).unwrap() else { panic!("a plain update") };
        let row = self.row(key).await;
        let old = old.map_or_else(|| row.clone(), |old| self.only_key(old));
        self.send(&statement, &row, &old).await
    }

    async fn delete(&self, key: &str) -> Result<u64, tokio_postgres::Error> {
        let frozen = Frozen::new();
        let applied = Applied { projection: self.way, frozen: &frozen, identity_always: &BTreeSet::new() };
        let old = self.only_key(key);
        self.send(&delete(applied).unwrap(), &old, &old).await
    }

    /// The key tuple has nothing but the key.
    fn only_key(&self, key: &str) -> Row {
        let column = |column: &pcrd::projection::SourceColumn| (column.name.as_str() == "id").then(|| key.to_owned());
        self.way.source_columns.iter().map(column).collect()
    }

    async fn on_source(&self) -> Vec<String> {
        let query = "SELECT id, \"cust ref\", cents, paid, note, code, doubled FROM app.orders ORDER BY id";
        let line =
            |row: Row| row.into_iter().map(|value| value.unwrap_or("NULL".to_owned())).collect::<Vec<_>>().join(" ");
        rows(self.source, query).await.into_iter().map(line).collect()
    }
}

/// The target's tables as the plan makes them, with the source's rows.
async fn build(plan: &Plan, source: &Client, target: &Client) {
    for step in plan.steps.iter().filter(|step| matches!(step.op, Op::CreateSchema(_) | Op::CreateTable(_))) {
        for statement in step.statements.iter().filter(|statement| statement.on == End::Target) {
            run(target, &statement.sql).await;
        }
    }
    let projection = &plan.projections[0];
    let out = pcrd::sql::copy::copy_out(projection, &Frozen::new(), None).unwrap();
    let select = out.strip_prefix("COPY (").unwrap().split(") TO STDOUT").next().unwrap();
    for row in rows(source, select).await {
        let columns: Vec<String> = projection.columns.iter().map(|column| pcrd::sql::ident(&column.target)).collect();
        let values: Vec<String> =
            row.iter().map(|value| value.as_deref().map_or("NULL".to_owned(), pcrd::sql::literal)).collect();
        let name = pcrd::sql::name(&projection.target);
        run(target, &format!("INSERT INTO {name} ({}) VALUES ({})", columns.join(", "), values.join(", "))).await;
    }
}

#[tokio::test]
async fn what_the_target_writes_becomes_what_the_source_would_have_written() {
    let cluster = Cluster::start_with(15, &[("fsync", "off")]).unwrap();
    let source = connect_to(&cluster, "postgres").await;
    run(&source, "CREATE DATABASE shop").await;
    let target = connect_to(&cluster, "shop").await;
    run(&source, SOURCE).await;
    let plan = compile(&source, &target).await;
    build(&plan, &source, &target).await;
    let way = plan.back[0].projection.as_ref().unwrap();
    let back = Back { source: &source, target: &target, way };

    run(
        &target,
        "INSERT INTO shop.sales (id, customer, price, code, region) VALUES (3, 30, 9.99, 'c', 'us'); \
         UPDATE shop.sales SET price = 3, code = 'aa' WHERE id = 1; UPDATE shop.sales SET id = 4 WHERE id = 2",
    )
    .await;
    assert_eq!(back.insert("3").await.unwrap(), 1);
    assert_eq!(back.update("1", None).await.unwrap(), 1);
    assert_eq!(back.update("4", Some("2")).await.unwrap(), 1);
    // Dropped columns: the default in a new row, and the old value in one that is there.
    assert_eq!(back.on_source().await, ["1 10 300 t kept aa 600", "3 30 999 f NULL c 1998", "4 20 1 t goes b 2"]);
    assert_eq!(back.delete("1").await.unwrap(), 1);
    assert_eq!(back.delete("1").await.unwrap(), 0, "a change that hits no row is seen");

    // Nothing is cut or rounded in silence: what does not fit is refused by the source.
    for (id, customer, price) in [("5", "3000000000", "1"), ("6", "1", "99999999.99"), ("3000000000", "1", "1")] {
        let values = format!("VALUES ({id}, {customer}, {price}, 'x')");
        run(&target, &format!("INSERT INTO shop.sales (id, customer, price, code) {values}")).await;
        let error = back.insert(id).await.unwrap_err();
        assert!(error.code().is_some_and(|code| code.code().starts_with("22")), "{id}: {error:?}");
    }
    assert_eq!(back.on_source().await, ["3 30 999 f NULL c 1998", "4 20 1 t goes b 2"]);
    for (column, fits) in [("short", "'abc'"), ("brief", "'abc'")] {
        run(&target, &format!("UPDATE shop.sales SET {column} = {fits} WHERE id = 3")).await;
        assert_eq!(back.update("3", None).await.unwrap(), 1);
        run(&target, &format!("UPDATE shop.sales SET {column} = 'abcd' WHERE id = 3")).await;
        let error = back.update("3", None).await.unwrap_err();
        assert!(error.code().is_some_and(|code| code.code().starts_with("22")), "{column}: {error:?}");
        run(&target, &format!("UPDATE shop.sales SET {column} = NULL WHERE id = 3")).await;
    }
}
