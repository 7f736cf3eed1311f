//! `inspect --format sql`: what is written is read without a problem, is run by an empty database, and makes the same
//! tables.

use std::collections::BTreeMap;

use pcrd::catalog::{Catalog, QualifiedName, Table, TableKind, TypeDef};
use pcrd::desired::render::desired_sql;
use pcrd::desired::sql::{SqlSchema, format, read};
use pcrd::pg::introspect;
use pcrd::pg::local::Cluster;

use crate::server::{KITCHEN_SINK, for_the_server};
use crate::support::{connect_to, run};

const ZOO: &str = include_str!("../fixtures/zoo.sql");

/// What the file describes: everything but rights, triggers, row security and statistics.
fn described(table: &Table) -> Table {
    let mut table = table.structure();
    table.triggers.clear();
    table.constraints.retain(|_, own| own.kind != pcrd::catalog::ConstraintKind::Trigger);
    table.indexes.retain(|_, index| index.valid);
    table.grants.clear();
    table.columns.iter_mut().for_each(|column| column.grants.clear());
    table.indexes.values_mut().for_each(|index| index.clustered = false);
    Table {
        statistics: BTreeMap::new(),
        policies: BTreeMap::new(),
        row_security: false,
        row_security_forced: false,
        ..table
    }
}

fn is_written(table: &Table) -> bool {
    matches!(table.kind, TableKind::Table | TableKind::Partitioned)
}

#[track_caller]
fn same(one: &Catalog, other: &Catalog) {
    let tables = |catalog: &Catalog| {
        let tables = catalog.tables.iter().filter(|(_, table)| is_written(table));
        tables.map(|(name, table)| (name.clone(), described(table))).collect::<Vec<_>>()
    };
    let (ours, theirs) = (tables(one), tables(other));
    let names = |tables: &[(QualifiedName, Table)]| tables.iter().map(|(name, _)| name.clone()).collect::<Vec<_>>();
    assert_eq!(names(&ours), names(&theirs));
    for ((name, ours), (_, theirs)) in ours.iter().zip(&theirs) {
        assert_eq!(ours, theirs, "{name}");
    }
    let types = |catalog: &Catalog| {
        catalog.types.clone().into_iter().filter(|(_, def)| !matches!(def, TypeDef::Base)).collect::<Vec<_>>()
    };
    assert_eq!(types(one), types(other));
    let sequences = |catalog: &Catalog| {
        let mut sequences = catalog.sequences.clone();
        sequences.values_mut().for_each(|sequence| sequence.grants.clear());
        sequences
    };
    assert_eq!(sequences(one), sequences(other));
}

/// What was read says which tables, columns, constraints and indexes there are.
#[track_caller]
fn names_everything(schema: &SqlSchema, catalog: &Catalog) {
    for (name, table) in catalog.tables.iter().filter(|(_, table)| is_written(table)) {
        let read = schema.table(name).unwrap_or_else(|| panic!("{name} was not read"));
        if !read.is_managed() {
            continue;
        }
        let columns: Vec<_> = read.columns.iter().map(|column| (column.name.value.clone(), column.not_null)).collect();
        let theirs: Vec<_> = table.columns.iter().map(|column| (column.name.clone(), column.not_null)).collect();
        assert_eq!(columns, theirs, "{name}");
        let mut constraints: Vec<_> =
            read.constraints.iter().map(|own| own.name.as_ref().unwrap().value.clone()).collect();
        constraints.sort();
        let theirs = table.constraints.iter().filter(|(_, own)| own.kind != pcrd::catalog::ConstraintKind::Trigger);
        assert_eq!(constraints, theirs.map(|(name, _)| name.clone()).collect::<Vec<_>>(), "{name}");
        let mut indexes: Vec<_> = read.indexes.iter().map(|index| index.name.as_ref().unwrap().value.clone()).collect();
        indexes.sort();
        let theirs = table.indexes.iter().filter(|(_, index)| index.constraint.is_none() && index.valid);
        assert_eq!(indexes, theirs.map(|(name, _)| name.clone()).collect::<Vec<_>>(), "{name}");
    }
}

/// `before` makes what the file says must exist. Returns the file.
async fn round_trip(cluster: &Cluster, sql: &str, before: &str) -> String {
    let client = connect_to(cluster, "postgres").await;
    run(&client, "CREATE DATABASE one").await;
    run(&client, "CREATE DATABASE other").await;
    let one = connect_to(cluster, "one").await;
    run(&one, sql).await;
    run(&one, "SET search_path = ''").await;
    let catalog = introspect::catalog(&one).await.unwrap();
    let file = desired_sql(&catalog);
    assert_eq!(file, desired_sql(&catalog));
    let reading = read(&file);
    assert!(reading.problems.is_empty() && reading.warnings.is_empty(), "{:#?}\n{file}", reading.problems);
    names_everything(&reading.schema, &catalog);
    // Only an expression over several lines is PostgreSQL's own layout.
    if !file.contains("\nCASE\n") {
        assert_eq!(format(&file).unwrap(), file);
    }

    let other = connect_to(cluster, "other").await;
    run(&other, before).await;
    run(&other, &file).await;
    let again = introspect::catalog(&other).await.unwrap();
    same(&catalog, &again);
    let statements = |file: &str| file.lines().filter(|line| !line.starts_with("--")).collect::<Vec<_>>().join("\n");
    assert_eq!(statements(&file), statements(&desired_sql(&again)));
    file
}

#[tokio::test]
async fn the_zoo_comes_back_from_its_file() {
    for major in [10, 15, 18] {
        let cluster = Cluster::start_with(major, &[("fsync", "off")]).unwrap();
        let file = round_trip(&cluster, ZOO, "").await;
        let left = [
            "foreign table zoo.foreign_one",
            "grants on sequence zoo.loose",
            "grants on table zoo.everything",
            "materialized view zoo.stored",
            "policy own on zoo.guarded",
            "publication theirs",
            "row security of zoo.guarded",
            "rule quiet on zoo.mother",
            "statistics zoo.related",
            "trigger stamp on zoo.everything",
            "view zoo.cheap",
        ];
        for line in left {
            assert!(file.contains(&format!("\n--   {line}\n")), "{line}: {file}");
        }
    }
}

#[tokio::test]
async fn the_kitchen_sink_comes_back_from_its_file() {
    for major in [15, 18] {
        let cluster = Cluster::start_with(major, &[("fsync", "off")]).unwrap();
        let before = "CREATE SCHEMA app; CREATE COLLATION app.plain (provider = libc, locale = 'C')";
        let file = round_trip(&cluster, &for_the_server(KITCHEN_SINK), before).await;
        assert!(file.contains("\n--   collation app.plain, which must exist before\n"), "{file}");
        if major == 15 {
            insta::assert_snapshot!(
                file.lines().filter(|line| !line.starts_with("-- Desired")).collect::<Vec<_>>().join("\n")
            );
        }
    }
}

/// What an extension brings, the extension makes.
#[tokio::test]
async fn members_of_extensions_are_the_extension_s() {
    let cluster = Cluster::start_with(15, &[("fsync", "off")]).unwrap();
    let sql = "CREATE SCHEMA ext; CREATE EXTENSION citext SCHEMA ext; CREATE EXTENSION cube; CREATE EXTENSION earthdistance; \
               CREATE EXTENSION pg_stat_statements SCHEMA ext; \
               CREATE TABLE places (id serial PRIMARY KEY, name ext.citext UNIQUE, at earth, size cube)";
    let file = round_trip(&cluster, sql, "").await;
    assert!(file.contains("\nCREATE EXTENSION IF NOT EXISTS citext WITH SCHEMA ext;\n"), "{file}");
    assert!(!file.contains("DOMAIN") && !file.contains("pg_stat_statements_info"), "{file}");
}

/// Identity columns, defaults and keys of partitions and of children are what PostgreSQL says of each.
#[tokio::test]
async fn partitions_and_children_keep_what_is_their_own() {
    for major in [12, 15, 18] {
        let cluster = Cluster::start_with(major, &[("fsync", "off")]).unwrap();
        let sql = "CREATE TABLE far (k int PRIMARY KEY); \
             CREATE TABLE whole (k int NOT NULL, at date NOT NULL, note text DEFAULT 'a' CHECK (note <> ''), far int, \
                 twice int GENERATED ALWAYS AS (k * 2) STORED, CONSTRAINT to_far FOREIGN KEY (far) REFERENCES far, \
                 CONSTRAINT whole_key PRIMARY KEY (k, at)) PARTITION BY RANGE (at); \
             CREATE INDEX whole_note ON whole (lower(note)) WHERE k > 0; \
             CREATE TABLE old_one (at date NOT NULL, k int NOT NULL, note text DEFAULT 'b' NOT NULL CHECK (note <> ''), far int, \
                 twice int GENERATED ALWAYS AS (k * 2) STORED, extra_dropped int); \
             ALTER TABLE old_one DROP extra_dropped; \
             ALTER TABLE old_one RENAME CONSTRAINT old_one_note_check TO whole_note_check; \
             CREATE INDEX an_old_name ON old_one (lower(note)) WHERE k > 0; \
             ALTER TABLE old_one REPLICA IDENTITY FULL; \
             ALTER TABLE whole ATTACH PARTITION old_one FOR VALUES FROM (MINVALUE) TO ('2020-01-01'); \
             CREATE TABLE \"New;\n--One\" PARTITION OF whole FOR VALUES FROM ('2020-01-01') TO (MAXVALUE) PARTITION BY HASH (k); \
             CREATE TABLE leaf PARTITION OF \"New;\n--One\" FOR VALUES WITH (MODULUS 1, REMAINDER 0) WITH (fillfactor = 50); \
             CREATE TABLE mother (a int DEFAULT 1 CHECK (a > 0), b text NOT NULL, c int GENERATED ALWAYS AS (a + 1) STORED); \
             CREATE TABLE father (a int DEFAULT 1, d int); \
             CREATE TABLE child (e int PRIMARY KEY, b text DEFAULT 'mine') INHERITS (mother, father); \
             ALTER TABLE child ADD CHECK (b <> '') NO INHERIT; \
             COMMENT ON COLUMN child.a IS 'inherited'; CREATE INDEX child_b ON child (b, a)";
        let file = round_trip(&cluster, sql, "").await;
        assert!(file.contains("INHERITS (public.mother, public.father)"), "{file}");
    }
}

/// Words of every category, as names of everything, on the newest server: no quote is missing.
#[tokio::test]
async fn every_keyword_is_quoted_where_it_must_be() {
    let cluster = Cluster::start_with(18, &[("fsync", "off")]).unwrap();
    let client = connect_to(&cluster, "postgres").await;
    let words = crate::support::rows(&client, "SELECT word FROM pg_get_keywords() ORDER BY word").await;
    let words: Vec<String> = words.into_iter().map(|row| row[0].clone().unwrap()).collect();
    assert!(words.len() > 480, "{}", words.len());
    let columns: Vec<String> = words.iter().map(|word| format!("\"{word}\" int")).collect();
    let mut sql = format!("CREATE SCHEMA \"select\"; CREATE TABLE \"select\".\"table\" ({});", columns.join(", "));
    for word in &words {
        sql.push_str(&format!(
            "CREATE TABLE \"{word}\" (\"{word}\" int CONSTRAINT \"{word}_k\" CHECK (\"{word}\" > 0), b int \
             CONSTRAINT \"{word}_p\" PRIMARY KEY); CREATE SEQUENCE \"{word}_s\" OWNED BY \"{word}\".b;"
        ));
    }
    round_trip(&cluster, &sql, "").await;
}

/// `--table`: parents that were not asked for are listed, and what remains stands alone.
#[tokio::test]
async fn some_tables_stand_alone() {
    let cluster = Cluster::start_with(18, &[("fsync", "off")]).unwrap();
    let client = connect_to(&cluster, "postgres").await;
    let sql = "CREATE TABLE mother (a int, b text); CREATE TABLE child (c int) INHERITS (mother); \
               CREATE TABLE whole (id int GENERATED ALWAYS AS IDENTITY, k int) PARTITION BY LIST (k); \
               CREATE TABLE part PARTITION OF whole FOR VALUES IN (1); CREATE TABLE far (id int PRIMARY KEY); \
               CREATE TABLE near (far int REFERENCES far, mood int)";
    run(&client, sql).await;
    let names = ["child", "part", "near"].map(|name| QualifiedName::new("public", name).unwrap());
    let catalog = introspect::tables(&client, &names).await.unwrap();
    let file = desired_sql(&catalog);
    let reading = read(&file);
    assert!(reading.problems.is_empty(), "{:#?}\n{file}", reading.problems);
    names_everything(&reading.schema, &catalog);
    assert!(reading.schema.tables.iter().all(|table| table.is_managed() && table.partition_of.is_none()), "{file}");
    for line in [
        "mother, which public.child is a part of",
        "whole, which public.part is a part of",
        "far, which public.near refers to",
    ] {
        assert!(file.contains(&format!("\n--   table public.{line}\n")), "{file}");
    }
}
