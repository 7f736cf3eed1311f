//! Hazards of source and target as wholes, and of how they differ.

use std::collections::BTreeSet;

use crate::catalog::{Catalog, Ident, Server};
use crate::findings::Severity;
use crate::findings::rules::{
    COLLATION_DIFFERS, CUTOVER_WRITE_BLOCK, ENCODING_DIFFERS, EXTENSION_VERSION, INVALID_TEXT, PUBLICATION,
    TRUNCATE_REFUSED, WAL_RETENTION, WRITES_NOT_STOPPED,
};
use crate::resolve::encoding::SQL_ASCII;
use crate::resolve::report::Report;
use crate::resolve::scope::Scope;
use crate::sql::publication::TRUNCATE_SINCE;

/// Hazards that come with every plan, and those of two servers that are not alike.
pub(crate) fn of_servers(
    scopes: &[Scope<'_>],
    source: &Catalog,
    target: &Catalog,
    unfenced: Option<&str>,
    report: &mut Report,
) {
    let kept = "the slot keeps WAL on the source until cleanup; watch its disk and max_slot_wal_keep_size";
    report.find(&WAL_RETENTION, "source", kept);
    let published = "the tables are published: VACUUM, ANALYZE and index builds of them wait for it, and it for them";
    report.find(&PUBLICATION, "source", published);
    if source.server.major() < TRUNCATE_SINCE {
        let message = "PostgreSQL 10 does not stream TRUNCATE: a trigger refuses it on these tables until cleanup";
        report.find(&TRUNCATE_REFUSED, "source", message);
    }
    let stopped = "writes to these tables are refused from the fence on; if the switch is not reached in time the fence is lifted";
    match unfenced {
        None => report.find(&CUTOVER_WRITE_BLOCK, "source", stopped),
        Some(fence) => {
            let message = format!(
                "`cutover.fence: {fence}` refuses no write: one that comes after the fence is not on the target"
            );
            report.find(&WRITES_NOT_STOPPED, "source", message);
        }
    }
    encodings(&source.server, &target.server, report);
    collations(scopes, &source.server, &target.server, report);
    extensions(scopes, source, target, report);
}

/// As the preflight of `apply` refuses them.
fn encodings(source: &Server, target: &Server, report: &mut Report) {
    let (here, there) = (&source.encoding, &target.encoding);
    if here == SQL_ASCII && there == "UTF8" {
        let message = "the source is SQL_ASCII: all its text must be UTF-8, which a data check proves; text that is written later \
                       and is not would end the stream for good";
        report.find_as(&INVALID_TEXT, Severity::Warning, "source", message);
    } else if here == SQL_ASCII {
        let message = "the source is SQL_ASCII: its texts have no known characters";
        report.find(&INVALID_TEXT, "source", message);
    } else if here != there && there == "UTF8" {
        let message = format!("the source is {here}, the target UTF8: text is converted, and UTF8 has every character");
        report.find_as(&ENCODING_DIFFERS, Severity::Info, "target", message);
    } else if here != there {
        let message = format!("the source is {here}, the target {there}: text that {there} cannot hold stops the copy");
        report.find(&ENCODING_DIFFERS, "target", message);
    }
}

/// Only where a kept column sorts by the database's own collation.
fn collations(scopes: &[Scope<'_>], source: &Server, target: &Server, report: &mut Report) {
    // `C.UTF-8` and `C.utf8` are one.
    let plain = |name: &str| name.replace('-', "").to_ascii_lowercase();
    if plain(&source.collate) == plain(&target.collate) {
        return;
    }
    let follows = |scope: &&Scope<'_>| {
        let mut kept = scope.table.columns.iter().filter(|column| scope.renames.contains_key(&column.name));
        kept.any(|column| column.collation.is_none() && ["text", "varchar", "bpchar"].iter().any(|ty| column.ty.is(ty)))
    };
    let tables: Vec<String> = scopes.iter().filter(follows).map(|scope| scope.name.to_string()).collect();
    if !tables.is_empty() {
        let message = format!(
            "text of {} sorts by {} on the source and by {} on the target",
            tables.join(", "),
            source.collate,
            target.collate
        );
        report.find(&COLLATION_DIFFERS, "target", message);
    }
}

/// Extensions of the source whose schema brings a type or an operator class of these tables.
fn extensions(scopes: &[Scope<'_>], source: &Catalog, target: &Catalog, report: &mut Report) {
    let mut schemas: BTreeSet<&Ident> = BTreeSet::new();
    for scope in scopes {
        let kept = scope.table.columns.iter().filter(|column| scope.renames.contains_key(&column.name));
        schemas.extend(kept.map(|column| &column.ty.schema));
        let elements = scope.table.indexes.values().flat_map(|index| &index.elements);
        schemas.extend(elements.filter_map(|element| Some(&element.opclass.as_ref()?.schema)));
    }
    for (name, here) in &source.extensions {
        if !schemas.contains(&here.schema) || here.schema.as_str() == "pg_catalog" {
            continue;
        }
        let there = match target.extensions.get(name) {
            Some(there) if there.version == here.version => continue,
            Some(there) => format!("{} on the target", there.version),
            None => "not there on the target".to_owned(),
        };
        let message =
            format!("{name} is {} on the source, {there}; these tables use its schema {}", here.version, here.schema);
        report.find(&EXTENSION_VERSION, name, message);
    }
}
