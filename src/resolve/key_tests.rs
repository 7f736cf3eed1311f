//! Which key finds rows, and what is refused because no key can.

use crate::casts::builtin::{builtin, column_type};
use crate::catalog::{
    Column, Ident, Index, IndexElement, Key, Persistence, QualifiedName, ReplicaIdentity, Table, TableKind,
};
use crate::desired::At;
use crate::resolve::ResolveErrorKind;
use crate::resolve::key::row_key;

fn id(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

fn column(name: &str, not_null: bool) -> Column {
    Column {
        name: id(name),
        ty: column_type(builtin("int4").unwrap(), -1),
        not_null,
        default: None,
        identity: None,
        generated: None,
        collation: None,
        storage: None,
        compression: None,
        statistics_target: None,
        options: Vec::new(),
        comment: None,
        grants: Vec::new(),
    }
}

fn unique(columns: &[&str]) -> Index {
    let element = |column: &&str| IndexElement {
        opclass_options: Vec::new(),
        column: Some(id(column)),
        expression: None,
        collation: None,
        opclass: None,
        descending: false,
        nulls_first: false,
    };
    Index {
        definition: String::new(),
        method: id("btree"),
        elements: columns.iter().map(element).collect(),
        include: Vec::new(),
        unique: true,
        nulls_not_distinct: false,
        immediate: true,
        valid: true,
        clustered: false,
        predicate: None,
        expression_columns: Vec::new(),
        reloptions: Vec::new(),
        constraint: None,
        comment: None,
    }
}

/// Columns a and b NOT NULL, c not; primary key (a) INCLUDE (b); unique indexes on (b) and (c).
fn table(replica_identity: ReplicaIdentity) -> Table {
    let key = Key { name: id("t_pkey"), columns: vec![id("a")], include: vec![id("b")], deferrable: false };
    let pkey = Index { include: vec![id("b")], ..unique(&["a"]) };
    Table {
        kind: TableKind::Table,
        persistence: Persistence::Permanent,
        columns: vec![column("a", true), column("b", true), column("c", false)],
        primary_key: Some(key),
        replica_identity,
        indexes: [("t_pkey", pkey), ("t_b", unique(&["b"])), ("t_c", unique(&["c"]))]
            .map(|(name, index)| (id(name), index))
            .into(),
        statistics: std::collections::BTreeMap::new(),
        constraints: std::collections::BTreeMap::new(),
        triggers: std::collections::BTreeMap::new(),
        parents: Vec::new(),
        children: Vec::new(),
        partition_key: None,
        partition_bound: None,
        policies: std::collections::BTreeMap::new(),
        row_security: false,
        row_security_forced: false,
        reloptions: Vec::new(),
        owner: id("app"),
        grants: Vec::new(),
        comment: None,
        subscribed: false,
        stats: None,
    }
}

/// The chosen index, or the error with its help.
fn choose(table: &Table, wanted: Option<&[&str]>) -> Result<Option<String>, String> {
    let wanted = wanted.map(|names| At { value: names.iter().map(|name| id(name)).collect(), span: 0..1 });
    let key = row_key(&QualifiedName::new("public", "t").unwrap(), table, wanted.as_ref());
    match key {
        Ok(key) => Ok(key.map(|key| {
            let columns: Vec<&str> = key.columns.iter().map(Ident::as_str).collect();
            format!("{}({})", key.index.as_str(), columns.join(","))
        })),
        Err(error) => Err(match (*error.kind, error.help) {
            (ResolveErrorKind::KeyNotUsable { reason, .. }, _) => reason,
            (kind, help) => format!("{kind}; {}", help.unwrap_or_default()),
        }),
    }
}

#[test]
fn include_columns_are_no_key_columns() {
    assert_eq!(choose(&table(ReplicaIdentity::Default), None), Ok(Some("t_pkey(a)".to_owned())));
}

#[test]
fn the_stream_must_deliver_the_key() {
    let by_b = table(ReplicaIdentity::Index(id("t_b")));
    assert_eq!(choose(&by_b, None), Ok(Some("t_b(b)".to_owned())), "deletes carry b, not the primary key");
    assert!(choose(&by_b, Some(&["a"])).unwrap_err().contains("does not deliver"));
    assert!(choose(&table(ReplicaIdentity::Default), Some(&["b"])).unwrap_err().contains("does not deliver"));
    let full = table(ReplicaIdentity::Full);
    assert_eq!(choose(&full, Some(&["b"])), Ok(Some("t_b(b)".to_owned())));
    assert_eq!(choose(&full, None), Ok(Some("t_pkey(a)".to_owned())));
}

#[test]
fn publishing_must_not_break_the_application() {
    let refused = |table: &Table| choose(table, None).unwrap_err();
    let has = |text: String, identity: &str| {
        let statement = format!("ALTER TABLE \"public\".\"t\" REPLICA IDENTITY {identity};");
        assert!(text.contains(&statement), "{text}");
    };
    has(refused(&table(ReplicaIdentity::Nothing)), "DEFAULT");
    let mut keyless = table(ReplicaIdentity::Default);
    keyless.primary_key = None;
    keyless.indexes.remove(&id("t_pkey"));
    has(refused(&keyless), "USING INDEX \"t_b\"");
    for column in &mut keyless.columns {
        column.not_null = false;
    }
    has(refused(&keyless), "FULL");
    keyless.replica_identity = ReplicaIdentity::Full;
    assert_eq!(choose(&keyless, None), Ok(None), "whole rows");
}

#[test]
fn a_deferrable_key_finds_nothing() {
    let mut deferrable = table(ReplicaIdentity::Default);
    if let Some(key) = &mut deferrable.primary_key {
        key.deferrable = true;
    }
    assert!(choose(&deferrable, None).unwrap_err().contains("DEFERRABLE"));
    deferrable.replica_identity = ReplicaIdentity::Full;
    assert_eq!(choose(&deferrable, None), Ok(None));
}

#[test]
fn a_chosen_key_must_be_one() {
    let reason = |change: fn(&mut Index)| {
        let mut table = table(ReplicaIdentity::Full);
        change(table.indexes.get_mut(&id("t_b")).unwrap());
        choose(&table, Some(&["b"])).unwrap_err()
    };
    assert!(reason(|index| index.unique = false).contains("not unique"));
    assert!(reason(|index| index.immediate = false).contains("deferrable"));
    assert!(reason(|index| index.predicate = Some("b > 0".to_owned())).contains("partial"));
    assert!(reason(|index| index.valid = false).contains("not valid"));
    let full = table(ReplicaIdentity::Full);
    assert!(choose(&full, Some(&["c"])).unwrap_err().contains("NULL"));
    assert!(choose(&full, Some(&["a", "b"])).unwrap_err().contains("no index"));
    assert!(choose(&full, Some(&["d"])).unwrap_err().contains("no column"));
}
