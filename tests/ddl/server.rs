//! PostgreSQL as the oracle: what it makes of a file, and what we read in it, are the same.

use std::collections::BTreeMap;

use pcrd::casts::typename;
use pcrd::catalog::{Catalog, Persistence, QualifiedName, ReplicaIdentity, TableKind, TypeDef};
use pcrd::desired::sql::{ConstraintKind, Level, SqlSchema, SqlTable, read};
use pcrd::pg::introspect;
use pcrd::pg::local::Cluster;
use tokio_postgres::Client;

use crate::support::{connect_to, rows, run, text};

pub(crate) const KITCHEN_SINK: &str = include_str!("../fixtures/kitchen_sink.sql");

/// The file without the lines for psql.
pub(crate) fn for_the_server(sql: &str) -> String {
    sql.lines().filter(|line| !line.starts_with('\\')).collect::<Vec<_>>().join("\n")
}

async fn server(major: u32) -> (Cluster, Client) {
    let cluster = Cluster::start_with(major, &[("fsync", "off")]).unwrap();
    let client = connect_to(&cluster, "postgres").await;
    (cluster, client)
}

/// Everything that both sides know of a table, as lines.
fn read_table(schema: &SqlSchema, table: &SqlTable, types: &BTreeMap<QualifiedName, TypeDef>) -> Vec<String> {
    let mut lines = Vec::new();
    for column in schema.columns(table) {
        let ty = typename::parse(&column.ty.value, types).unwrap_or_else(|error| panic!("{:?}: {error}", column.name));
        lines.push(format!(
            "{} {} null={} default={} identity={:?} generated={:?} collation={} storage={:?} compression={:?} comment={:?}",
            column.name.value,
            ty.sql,
            !column.not_null,
            column.has_default(),
            column.identity.as_ref().map(|identity| identity.value.always),
            column.generated.as_ref().map(|generated| generated.value.stored),
            column.collation.is_some(),
            column.storage.as_ref().map(|storage| storage.value.clone()),
            column.compression.as_ref().map(|compression| compression.value.clone()),
            column.comment.as_ref().map(|comment| comment.value.clone()),
        ));
    }
    let mut kinds: BTreeMap<&str, usize> = BTreeMap::new();
    for constraint in &table.constraints {
        let kind = match &constraint.kind {
            ConstraintKind::PrimaryKey(_) | ConstraintKind::UsingIndex { primary: true, .. } => "primary key",
            ConstraintKind::Unique { .. } | ConstraintKind::UsingIndex { .. } => "unique",
            ConstraintKind::ForeignKey(_) => "foreign key",
            ConstraintKind::Check(_) => "check",
            ConstraintKind::Exclude(_) => "exclude",
        };
        *kinds.entry(kind).or_default() += 1;
        if let Some(name) = &constraint.name {
            lines.push(format!(
                "constraint {} valid={} deferrable={} deferred={} comment={}",
                name.value,
                !constraint.not_valid,
                constraint.deferrable,
                constraint.initially_deferred,
                constraint.comment.is_some()
            ));
        }
    }
    lines.push(format!("constraints {kinds:?}"));
    let behind = table.constraints.iter().filter(|constraint| match &constraint.kind {
        ConstraintKind::PrimaryKey(_) | ConstraintKind::Unique { .. } | ConstraintKind::Exclude(_) => true,
        ConstraintKind::UsingIndex { .. } | ConstraintKind::ForeignKey(_) | ConstraintKind::Check(_) => false,
    });
    lines.push(format!("indexes {}", table.indexes.len() + behind.count()));
    lines.push(format!("persistence {:?}", table.persistence));
    let identity = table.replica_identity.as_ref().map_or(ReplicaIdentity::Default, |identity| identity.value.clone());
    lines.push(format!("replica identity {identity:?}"));
    lines.push(format!("comment {:?}", table.comment.as_ref().map(|comment| comment.value.clone())));
    lines.push(format!("partitioned {}", table.partition_by.is_some()));
    lines.push(format!("partition of {:?}", table.partition_of.as_ref().map(|of| of.parent.value.clone())));
    lines.sort_by_key(|line| line.starts_with("constraint "));
    lines
}

/// The same lines from the catalog.
async fn server_table(client: &Client, catalog: &Catalog, name: &QualifiedName, like: &SqlTable) -> Vec<String> {
    let table = &catalog.tables[name];
    let mut lines = Vec::new();
    for column in &table.columns {
        lines.push(format!(
            "{} {} null={} default={} identity={:?} generated={:?} collation={} storage={:?} compression={:?} comment={:?}",
            column.name,
            column.ty.sql,
            !column.not_null,
            column.default.is_some(),
            column.identity.as_ref().map(|identity| identity.always),
            column.generated.as_ref().map(|generated| generated.stored),
            column.collation.is_some(),
            column.storage.map(|storage| format!("{storage:?}").to_lowercase()),
            column.compression.map(|compression| format!("{compression:?}").to_lowercase()),
            column.comment,
        ));
    }
    let oid = format!("'{}.{}'::regclass", name.schema, name.name);
    let sql = format!(
        "SELECT CASE contype WHEN 'p' THEN 'primary key' WHEN 'u' THEN 'unique' WHEN 'f' THEN 'foreign key' \
         WHEN 'c' THEN 'check' WHEN 'x' THEN 'exclude' END, conname, convalidated, condeferrable, condeferred, \
         obj_description(oid, 'pg_constraint') IS NOT NULL FROM pg_constraint WHERE conrelid = {oid} AND contype <> 'n' \
         ORDER BY 2"
    );
    let inherited = format!("SELECT conname FROM pg_constraint WHERE conrelid = {oid} AND coninhcount > 0");
    let inherited = rows(client, &inherited).await;
    let bool_of = |value: &Option<String>| value.as_deref() == Some("t");
    let mut kinds: BTreeMap<String, usize> = BTreeMap::new();
    for row in rows(client, &sql).await {
        let constraint = row[1].clone().unwrap();
        // The names that PostgreSQL chose are not in the file; an attached partition's file has the parent's, too.
        let is_named =
            like.constraints.iter().any(|known| known.name.as_ref().is_some_and(|n| n.value.as_str() == constraint));
        if !is_named && inherited.iter().any(|row| row[0].as_ref() == Some(&constraint)) {
            continue;
        }
        *kinds.entry(row[0].clone().unwrap()).or_default() += 1;
        if is_named {
            lines.push(format!(
                "constraint {} valid={} deferrable={} deferred={} comment={}",
                pcrd::catalog::Ident::new(constraint).unwrap(),
                bool_of(&row[2]),
                bool_of(&row[3]),
                bool_of(&row[4]),
                bool_of(&row[5])
            ));
        }
    }
    lines.push(format!("constraints {kinds:?}"));
    // Indexes that came from the parent's are nobody's statement.
    let sql = format!(
        "SELECT count(*) FROM pg_index i LEFT JOIN pg_inherits h ON h.inhrelid = i.indexrelid \
         WHERE indrelid = {oid} AND (h.inhrelid IS NULL OR i.indexrelid::regclass::text LIKE '%_2024_kind_idx')"
    );
    lines.push(format!("indexes {}", text(client, &sql).await));
    lines.push(format!("persistence {:?}", table.persistence));
    lines.push(format!("replica identity {:?}", table.replica_identity));
    lines.push(format!("comment {:?}", table.comment));
    lines.push(format!("partitioned {}", table.kind == TableKind::Partitioned));
    let parent = table.partition_bound.as_ref().and_then(|_| table.parents.first());
    lines.push(format!("partition of {parent:?}"));
    lines.sort_by_key(|line| line.starts_with("constraint "));
    lines
}

fn sorted(mut lines: Vec<String>) -> Vec<String> {
    // Columns keep their order, constraints have none.
    let columns = lines.iter().take_while(|line| line.contains(" null=")).count();
    lines[columns..].sort();
    lines
}

#[tokio::test]
async fn the_kitchen_sink_means_what_postgresql_makes_of_it() {
    means_what_postgresql_makes_of_it(KITCHEN_SINK).await;
}

/// `pg_dump --schema-only` of 15 over a database that the kitchen sink was loaded into.
#[tokio::test]
async fn so_does_its_dump() {
    means_what_postgresql_makes_of_it(include_str!("../fixtures/kitchen_sink.dump.sql")).await;
}

async fn means_what_postgresql_makes_of_it(file: &str) {
    let (_cluster, client) = server(15).await;
    let sql = for_the_server(file);
    if let Err(error) = client.batch_execute(&sql).await {
        let place = error.as_db_error().and_then(|db| match db.position() {
            Some(tokio_postgres::error::ErrorPosition::Original(at)) => Some(*at as usize),
            _ => None,
        });
        let there = place.map(|at| sql.chars().skip(at.saturating_sub(1)).take(60).collect::<String>());
        panic!("{error:?} at {there:?}");
    }
    // The file sets `search_path`; the rest of the session is ours.
    run(&client, "SET search_path = ''").await;
    let catalog = introspect::catalog(&client).await.unwrap();
    let reading = read(file);
    assert!(reading.problems.is_empty(), "{:#?}", reading.problems);
    let managed: Vec<&SqlTable> = reading.schema.tables.iter().filter(|table| table.is_managed()).collect();
    assert!(managed.len() >= 12, "only {} tables", managed.len());
    for table in &managed {
        let name = &table.name.value;
        let ours = sorted(read_table(&reading.schema, table, &catalog.types));
        let theirs = sorted(server_table(&client, &catalog, name, table).await);
        assert_eq!(ours, theirs, "{name}");
    }
    // Nothing of the server is missing in the file.
    let known: Vec<&QualifiedName> = reading.schema.tables.iter().map(|table| &table.name.value).collect();
    let kinds = [TableKind::Table, TableKind::Partitioned];
    for (name, table) in catalog.tables.iter().filter(|(_, table)| kinds.contains(&table.kind)) {
        assert!(known.contains(&name) || table.persistence == Persistence::Temporary, "{name} was not read");
    }
    let sequences: Vec<_> = catalog
        .sequences
        .iter()
        .filter(|(name, sequence)| !sequence.identity && file.contains(&format!("CREATE SEQUENCE {name}")))
        .map(|(name, sequence)| (name.clone(), sequence.owned_by.as_ref().map(|owner| owner.column.clone())))
        .collect();
    let mut read_sequences: Vec<_> = reading
        .schema
        .sequences
        .iter()
        .map(|sequence| (sequence.name.value.clone(), sequence.owned_by.as_ref().map(|owner| owner.value.1.clone())))
        .collect();
    read_sequences.sort();
    assert_eq!(read_sequences, sequences);
    for (name, labels) in &reading.schema.enums {
        assert_eq!(catalog.types[name], TypeDef::Enum(labels.value.clone()));
    }
    for (name, domain) in &reading.schema.domains {
        let TypeDef::Domain { base, not_null, .. } = &catalog.types[name] else { panic!("{name} is no domain") };
        assert_eq!((&domain.base.value, domain.not_null), (base, *not_null));
    }
}

#[test]
fn every_statement_of_the_kitchen_sink_has_a_level() {
    let reading = read(KITCHEN_SINK);
    assert!(reading.problems.is_empty(), "{:#?}", reading.problems);
    assert!(reading.warnings.is_empty(), "{:#?}", reading.warnings);
    let mut lines = Vec::new();
    for level in Level::ALL {
        for (what, count) in reading.schema.kinds(level) {
            lines.push(format!("{}: {what} {count}", level.word()));
        }
    }
    insta::assert_snapshot!(lines.join("\n"));
}

/// A word can be a column's name exactly where PostgreSQL takes it, quoted or not.
#[tokio::test]
async fn every_keyword_is_a_column_name_where_postgresql_takes_it() {
    for major in [15, 18] {
        let (_cluster, client) = server(major).await;
        let keywords = rows(&client, "SELECT word, catcode FROM pg_get_keywords() ORDER BY word").await;
        assert!(keywords.len() > 400, "{} words", keywords.len());
        for row in keywords {
            let (word, category) = (row[0].clone().unwrap(), row[1].clone().unwrap());
            let bare = format!("CREATE TABLE public.t ({word} integer NOT NULL, x{word} text)");
            let problems = read(&bare).problems;
            let taken = client.batch_execute(&format!("BEGIN; {bare}; ROLLBACK")).await.is_ok();
            if !taken {
                run(&client, "ROLLBACK").await;
            }
            assert_eq!(taken, matches!(category.as_str(), "U" | "C"), "{word} {category}");
            // Reserved since 16, which a file for 15 need not know.
            if word != "system_user" {
                assert_eq!(problems.is_empty(), taken, "{bare}: {problems:?}");
            }
            let quoted =
                read(&format!("CREATE TABLE public.t (\"{word}\" integer NOT NULL, \"{word}2\" text DEFAULT 'a')"));
            assert!(quoted.problems.is_empty(), "{word}: {:?}", quoted.problems);
            let table = &quoted.schema.tables[0];
            assert_eq!(table.columns[0].name.value.as_str(), word);
            assert!(table.columns[0].not_null && table.columns[0].ty.value == "integer" && table.columns.len() == 2);
            // As a type, a table and a constraint, too: never taken for a clause.
            let read_type = read(&format!("CREATE TABLE t (a {word})")).problems.is_empty();
            let parses = client.batch_execute(&format!("BEGIN; CREATE TABLE t (a {word})")).await;
            run(&client, "ROLLBACK").await;
            let syntax = parses.as_ref().err().and_then(|error| error.code().cloned());
            if syntax == Some(tokio_postgres::error::SqlState::SYNTAX_ERROR)
                && !word.starts_with("json")
                && word != "merge_action"
                && word != "system_user"
            {
                assert!(!read_type, "the type {word} was read, and PostgreSQL does not parse it");
            } else if syntax.is_none() {
                assert!(read_type, "the type {word} was not read");
            }
        }
    }
}
