//! What a plan builds is what resolving promised: a real source is read, planned, built on a real target, and read again.
#![allow(clippy::unwrap_used)]

mod support;

use std::collections::BTreeMap;

use pcrd::catalog::{Catalog, Column, Constraint, Ident, Index, QualifiedName, Sequence, Table};
use pcrd::config;
use pcrd::pg::introspect;
use pcrd::pg::local::Cluster;
use pcrd::plan::{self, End, Op, Settings, Step};
use pcrd::resolve::{ResolveOptions, Resolved, ResolvedMark, resolve};
use pcrd::sql::rewrite::skeleton;
use tokio_postgres::Client;

const SOURCE: &str = r#"
CREATE SCHEMA app;
CREATE TABLE app.users (id serial PRIMARY KEY, email varchar(200) UNIQUE NOT NULL, "Name" text COLLATE "C",
  made timestamptz NOT NULL DEFAULT now(), gone boolean) WITH (fillfactor = 90);
CREATE SEQUENCE app.tickets INCREMENT BY -5 START WITH -10 CACHE 7;
CREATE TABLE app.orders (
  id bigint GENERATED ALWAYS AS IDENTITY (INCREMENT BY 10 START WITH 5) PRIMARY KEY,
  "user" integer NOT NULL CONSTRAINT "of user" REFERENCES app.users ON DELETE CASCADE DEFERRABLE INITIALLY DEFERRED,
  ticket bigint DEFAULT nextval('app.tickets'),
  total numeric(12,2) NOT NULL DEFAULT 0 CHECK (total >= 0),
  code text NOT NULL DEFAULT 'generated',
  tags text[] DEFAULT '{}',
  doubled numeric GENERATED ALWAYS AS (total * 2) STORED,
  note text, legacy text, during int4range,
  CONSTRAINT "no overlap" EXCLUDE USING gist (during WITH &&) WHERE (total > 0),
  CONSTRAINT codes UNIQUE (code, "user") INCLUDE (note) DEFERRABLE,
  CONSTRAINT sane CHECK (note <> 'total' OR total > 1) NO INHERIT);
ALTER TABLE app.orders ALTER note SET STORAGE EXTERNAL, ALTER note SET COMPRESSION pglz;
ALTER TABLE app.orders ADD CONSTRAINT self FOREIGN KEY (id) REFERENCES app.orders (id) NOT VALID;
CREATE INDEX ON app.orders (lower(code) text_pattern_ops DESC NULLS LAST, (total * 2)) INCLUDE (note) WHERE total > 0;
CREATE UNIQUE INDEX "Quoted idx" ON app.orders ("user" DESC, note COLLATE "POSIX" NULLS FIRST) WITH (fillfactor = 70);
CREATE INDEX gone_idx ON app.orders (legacy);
CREATE INDEX orders_tags ON app.orders USING gin (tags);
CREATE INDEX orders_brin ON app.orders USING brin (total) WITH (pages_per_range = 16);
COMMENT ON TABLE app.orders IS 'the "orders"'; COMMENT ON COLUMN app.orders.total IS 'in '' euro';
COMMENT ON INDEX app.orders_tags IS 'tags'; COMMENT ON CONSTRAINT sane ON app.orders IS 'sane';
COMMENT ON SEQUENCE app.tickets IS 'down';
CREATE TABLE app.keyless (a int, b text); ALTER TABLE app.keyless REPLICA IDENTITY FULL;
"#;

const CONFIG: &str = r#"
source: {host: localhost, database: a, user: u}
target: {host: localhost, port: 5433, database: b, user: u}
migrate:
  tables:
    - name: app.users
      target: shop.people
      columns:
        id: {type: bigint}
        Name: {rename: name}
    - name: app.orders
      target: shop.orders
      optimize_column_order: true
      columns:
        user: {type: bigint, rename: user_id}
        total: {type: "numeric(18,4)", rename: amount}
        note: {rename: "the note"}
        legacy: {drop: true}
      add_columns:
        - {name: seen, type: timestamptz, default: "now()", not_null: true}
        - {name: first, type: text, backfill: "left(code, 1)"}
    - name: app.keyless
      target: shop.keyless
"#;

fn settings() -> Settings {
    Settings {
        slot: Ident::new("pcrd_test").unwrap(),
        publication: Ident::new("pcrd_test").unwrap(),
        batch_size: 10_000,
        batch_size_is_cap: false,
        workers: Some(2),
        max_rows_per_second: None,
        max_bytes_per_second: None,
        comparison: pcrd::plan::Comparison::default(),
        throttle: Default::default(),
        lag_threshold_bytes: 1 << 20,
        sequence_buffer: 1_000,
        lag_drain_timeout_s: 300,
        fence_timeout_ms: 10_000,
        session: BTreeMap::new(),
        on_ddl: pcrd::plan::OnDdl::Stop,
        cutover: Default::default(),
    }
}

fn compile(source: &Catalog, target: &Catalog) -> Resolved {
    let config = config::parse("pcrd.config.yml", CONFIG).unwrap();
    let options = ResolveOptions { config_text: CONFIG.to_owned(), ..ResolveOptions::default() };
    resolve(&config.migrate.desired, source, target, &options)
        .unwrap_or_else(|errors| panic!("{}", errors.iter().map(|error| format!("{error}\n")).collect::<String>()))
}

async fn build(client: &Client, steps: &[Step]) {
    for step in steps {
        if matches!(step.op, Op::CopyTable(_) | Op::SetSequence(_)) {
            continue;
        }
        for statement in step.statements.iter().filter(|statement| statement.on == End::Target) {
            if let Err(error) = client.batch_execute(&statement.sql).await {
                let message = error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
                panic!("{}: {message}\n{}", step.id, statement.sql);
            }
        }
    }
}

/// SQL without the freedoms of writing it down: quotes, brackets, `pg_catalog`.
fn same(sql: &str) -> String {
    let parts = skeleton(sql).unwrap().into_iter().filter(|part| !matches!(part.as_str(), "(" | ")"));
    // A regclass constant holds quotes of its own.
    parts.collect::<Vec<_>>().join(" ").replace('"', "")
}

fn comparable(table: &Table) -> Table {
    let column = |column: &Column| {
        let mut column = column.clone();
        column.default = column.default.as_deref().map(same);
        if let Some(generated) = &mut column.generated {
            generated.expr = same(&generated.expr);
        }
        column
    };
    let index = |index: &Index| {
        let mut index = index.clone();
        index.definition = same(&index.definition);
        index.predicate = index.predicate.as_deref().map(same);
        for element in &mut index.elements {
            element.expression = element.expression.as_deref().map(same);
        }
        index
    };
    let constraint = |constraint: &Constraint| {
        let mut constraint = constraint.clone();
        let definition = same(&constraint.definition);
        constraint.definition = definition.trim_end_matches(" not valid").to_owned();
        constraint.expression = constraint.expression.as_deref().map(same);
        if let Some(references) = &mut constraint.references {
            references.actions = references.actions.trim().to_owned();
        }
        constraint
    };
    Table {
        columns: table.columns.iter().map(column).collect(),
        indexes: table.indexes.iter().map(|(name, object)| (name.clone(), index(object))).collect(),
        constraints: table.constraints.iter().map(|(name, object)| (name.clone(), constraint(object))).collect(),
        owner: Ident::new("nobody").unwrap(),
        ..table.structure()
    }
}

fn assert_same<T: std::fmt::Debug>(what: &str, wanted: &T, found: &T) {
    let (wanted, found) = (format!("{wanted:#?}"), format!("{found:#?}"));
    let diff = similar::TextDiff::from_lines(wanted.as_str(), found.as_str());
    assert!(wanted == found, "{what}\n{}", diff.unified_diff().header("resolved", "built"));
}

async fn round_trip(source_major: u32, target_major: u32) {
    let cluster = Cluster::start_with(source_major, &[("fsync", "off"), ("wal_level", "logical")]).unwrap();
    let other = Cluster::start_with(target_major, &[("fsync", "off")]).unwrap();
    let source = support::connect(&cluster.conninfo("postgres")).await;
    // Local clusters are copies of one template and share its system identifier; the database's oid tells them apart.
    support::connect(&other.conninfo("postgres")).await.batch_execute("CREATE DATABASE shop").await.unwrap();
    let target = support::connect(&other.conninfo("shop")).await;
    source.batch_execute(SOURCE).await.unwrap();
    let (from, to) = (introspect::catalog(&source).await.unwrap(), introspect::catalog(&target).await.unwrap());
    let resolved = compile(&from, &to);
    assert!(
        resolved.findings.iter().all(|finding| finding.code != "CONSTRAINT_NOT_CARRIED"),
        "{:#?}",
        resolved.findings
    );
    let left: Vec<&str> =
        resolved.not_carried.iter().filter(|left| left.kind == "index").map(|left| left.name.as_str()).collect();
    assert_eq!(left, ["app.orders.gone_idx"]);
    let plan = plan::build(&resolved, &settings(), &[]).unwrap();
    plan::check(&plan).unwrap();
    build(&target, &plan.steps).await;

    let built = introspect::catalog(&target).await.unwrap();
    for table in &resolved.tables {
        let mut wanted = comparable(&table.wanted);
        for mark in &resolved.marks {
            match mark {
                ResolvedMark::Identity { table: of, identity } if *of == table.target => {
                    wanted.replica_identity = identity.clone();
                }
                ResolvedMark::Clustered { table: of, index } if *of == table.target => {
                    wanted.indexes.get_mut(index).unwrap().clustered = true;
                }
                _ => {}
            }
        }
        assert_same(&table.target.to_string(), &wanted, &comparable(&built.tables[&table.target]));
    }
    for sequence in &resolved.sequences {
        let found = &built.sequences[&sequence.target];
        let comparable = |sequence: &Sequence| Sequence { owner: Ident::new("nobody").unwrap(), ..sequence.clone() };
        assert_same(&sequence.target.to_string(), &comparable(&sequence.wanted), &comparable(found));
    }
    assert!(built.tables.contains_key(&QualifiedName::new("shop", "people").unwrap()));
}

#[tokio::test]
async fn what_is_built_is_what_was_resolved() {
    let newest = pcrd::pg::local::installed_majors().into_iter().max().unwrap();
    for target_major in std::collections::BTreeSet::from([15, newest]) {
        round_trip(15, target_major).await;
    }
}
