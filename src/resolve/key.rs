//! The key by which rows of a table are found again.

use std::collections::BTreeSet;

use crate::catalog::{Ident, Index, QualifiedName, ReplicaIdentity, Table};
use crate::desired::At;
use crate::findings::{Rule, rules};
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::sql;

/// The index behind the key and its columns, in index order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct RowKey {
    pub(crate) index: Ident,
    pub(crate) columns: Vec<Ident>,
}

/// Chooses the key: the user's, else the primary key, else the replica identity index, else none (whole rows).
/// Whatever it is, the stream must deliver its columns in the old row.
///
/// # Errors
/// When rows could not be found from what the stream delivers; the help has the statement that mends it.
pub(crate) fn row_key(
    name: &QualifiedName,
    table: &Table,
    wanted: Option<&At<Vec<Ident>>>,
) -> Result<Option<RowKey>, ResolveError> {
    let refuse = |reason| {
        let kind =
            ResolveErrorKind::NoReplicaIdentity { table: name.clone(), reason, rule: &rules::REPLICA_IDENTITY_CHANGE };
        let statement = format!("ALTER TABLE {} REPLICA IDENTITY {};", sql::name(name), possible_identity(table));
        Err(ResolveError::new(kind).help(format!("on the source: {statement}")))
    };
    let primary = table.primary_key.as_ref().filter(|key| !key.deferrable);
    let primary = primary.map(|key| RowKey { index: key.name.clone(), columns: key.columns.clone() });
    let delivered: Option<BTreeSet<&Ident>> = match &table.replica_identity {
        ReplicaIdentity::Nothing => return refuse("REPLICA IDENTITY NOTHING"),
        ReplicaIdentity::Full => None,
        ReplicaIdentity::Default => match &primary {
            Some(key) => Some(table_columns(table, &key.columns)),
            None if table.primary_key.is_some() => return refuse("a DEFERRABLE primary key"),
            None => return refuse("no primary key"),
        },
        ReplicaIdentity::Index(index) => {
            let columns = table.indexes.get(index).map(column_names);
            let Some(columns) = columns else { return refuse("a replica identity index that is not there") };
            Some(table_columns(table, &columns))
        }
    };
    let is_delivered = |key: &RowKey| {
        delivered.as_ref().is_none_or(|delivered| key.columns.iter().all(|column| delivered.contains(column)))
    };
    if let Some(wanted) = wanted {
        let key = chosen(name, table, wanted)?;
        if is_delivered(&key) {
            return Ok(Some(key));
        }
        let reason = "the replica identity does not deliver its columns with updates and deletes";
        let using = format!("ALTER TABLE {} REPLICA IDENTITY USING INDEX {};", sql::name(name), sql::ident(&key.index));
        return Err(not_usable(name, wanted, &rules::REPLICA_IDENTITY_CHANGE, reason.to_owned())
            .help(format!("on the source: {using}")));
    }
    if let Some(key) = primary.filter(|key| is_delivered(key)) {
        return Ok(Some(key));
    }
    if let ReplicaIdentity::Index(index) = &table.replica_identity {
        let columns = table.indexes.get(index).map(column_names);
        return Ok(columns.map(|columns| RowKey { index: index.clone(), columns }));
    }
    Ok(None)
}

fn table_columns<'a>(table: &'a Table, names: &[Ident]) -> BTreeSet<&'a Ident> {
    table.columns.iter().map(|column| &column.name).filter(|name| names.contains(name)).collect()
}

fn column_names(index: &Index) -> Vec<Ident> {
    index.elements.iter().filter_map(|element| element.column.clone()).collect()
}

/// The replica identity that the table could have with the least log.
fn possible_identity(table: &Table) -> String {
    let key = table.primary_key.as_ref();
    if key.is_some_and(|key| !key.deferrable) {
        return "DEFAULT".to_owned();
    }
    let not_null =
        |name: &Ident| table.column(name).is_some_and(|column| column.not_null && column.generated.is_none());
    let usable = |name: &Ident, index: &Index| {
        let whole = index.unique && index.immediate && index.valid && index.predicate.is_none();
        whole
            && key.is_none_or(|key| &key.name != name)
            && index.elements.iter().all(|element| element.column.as_ref().is_some_and(not_null))
    };
    let found = table.indexes.iter().find(|(name, index)| usable(name, index));
    found.map_or_else(|| "FULL".to_owned(), |(name, _)| format!("USING INDEX {}", sql::ident(name)))
}

fn not_usable(name: &QualifiedName, wanted: &At<Vec<Ident>>, rule: &'static Rule, reason: String) -> ResolveError {
    let columns = wanted.value.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
    ResolveError::new(ResolveErrorKind::KeyNotUsable { table: name.clone(), columns, reason, rule }).at(&wanted.span)
}

/// The unique index over exactly the columns that the user named.
fn chosen(name: &QualifiedName, table: &Table, wanted: &At<Vec<Ident>>) -> Result<RowKey, ResolveError> {
    for column in &wanted.value {
        let Some(found) = table.column(column) else {
            return Err(not_usable(name, wanted, &rules::KEY_NOT_USABLE, format!("there is no column {column}")));
        };
        if !found.not_null {
            return Err(not_usable(name, wanted, &rules::KEY_NULLABLE, format!("column {column} can be NULL")));
        }
        if found.generated.is_some() {
            let reason = format!("column {column} is generated and not published");
            return Err(not_usable(name, wanted, &rules::KEY_NOT_USABLE, reason));
        }
    }
    let named: BTreeSet<&Ident> = wanted.value.iter().collect();
    let over_these = table.indexes.iter().filter(|(_, index)| {
        let columns = column_names(index);
        columns.len() == index.elements.len() && columns.iter().collect::<BTreeSet<_>>() == named
    });
    let mut reason = "no index is over exactly these columns".to_owned();
    for (index_name, index) in over_these {
        if !index.unique {
            reason = format!("index {index_name} is not unique");
        } else if !index.immediate {
            reason = format!("index {index_name} is deferrable");
        } else if index.predicate.is_some() {
            reason = format!("index {index_name} is partial");
        } else if !index.valid {
            reason = format!("index {index_name} is not valid");
        } else {
            return Ok(RowKey { index: index_name.clone(), columns: column_names(index) });
        }
    }
    Err(not_usable(name, wanted, &rules::KEY_NOT_USABLE, reason))
}
