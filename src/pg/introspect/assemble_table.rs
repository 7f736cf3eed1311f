//! Rows of one table → [`Table`]. Pure.

use std::collections::BTreeMap;

use super::assemble::{ident, qualified, sorted};
use super::error::IntrospectError;
use super::row::{
    ColumnRow, ColumnStatsRow, ConstraintRow, ElementRow, IndexRow, Pair, PolicyRow, StatisticsRow, TableRow,
    TriggerRow,
};
use crate::catalog::{
    Align, Column, ColumnType, Compression, Constraint, ConstraintKind, Generated, Ident, Identity, Index,
    IndexElement, Key, Persistence, Policy, PolicyCommand, QualifiedName, References, ReplicaIdentity, Statistics,
    StatisticsDef, StatisticsKind, Stats, Storage, Table, TableKind, Trigger, TypeKind,
};

/// Rows by the oid of their table.
pub(super) struct Parts {
    columns: BTreeMap<u32, Vec<ColumnRow>>,
    column_stats: BTreeMap<u32, Vec<ColumnStatsRow>>,
    indexes: BTreeMap<u32, Vec<IndexRow>>,
    constraints: BTreeMap<u32, Vec<ConstraintRow>>,
    statistics: BTreeMap<u32, Vec<StatisticsRow>>,
    triggers: BTreeMap<u32, Vec<TriggerRow>>,
    policies: BTreeMap<u32, Vec<PolicyRow>>,
}

impl Parts {
    pub(super) fn group(
        (columns, column_stats): (Vec<ColumnRow>, Vec<ColumnStatsRow>),
        (indexes, constraints, statistics): (Vec<IndexRow>, Vec<ConstraintRow>, Vec<StatisticsRow>),
        (triggers, policies): (Vec<TriggerRow>, Vec<PolicyRow>),
    ) -> Self {
        Self {
            columns: by_table(columns, |row| row.table_oid),
            column_stats: by_table(column_stats, |row| row.table_oid),
            indexes: by_table(indexes, |row| row.table_oid),
            constraints: by_table(constraints, |row| row.table_oid),
            statistics: by_table(statistics, |row| row.table_oid),
            triggers: by_table(triggers, |row| row.table_oid),
            policies: by_table(policies, |row| row.table_oid),
        }
    }
}

fn by_table<T>(rows: Vec<T>, table_oid: impl Fn(&T) -> u32) -> BTreeMap<u32, Vec<T>> {
    let mut grouped: BTreeMap<u32, Vec<T>> = BTreeMap::new();
    for row in rows {
        grouped.entry(table_oid(&row)).or_default().push(row);
    }
    grouped
}

/// The rows of one table, taken out. A table may have none of a family.
fn take<T>(parts: &mut BTreeMap<u32, Vec<T>>, oid: u32) -> Vec<T> {
    parts.remove(&oid).unwrap_or_default()
}

pub(super) fn table(row: TableRow, parts: &mut Parts) -> Result<(QualifiedName, Table), IntrospectError> {
    let name = qualified(Pair(row.schema.clone(), row.name.clone()), "table")?;
    let shown = name.to_string();
    let stats = stats(&row, take(&mut parts.column_stats, row.oid), &shown)?;
    let mut columns = Vec::new();
    for column_row in take(&mut parts.columns, row.oid) {
        columns.push(column(column_row, &shown)?);
    }
    let mut primary_index = None;
    let mut indexes = BTreeMap::new();
    for index_row in take(&mut parts.indexes, row.oid) {
        let is_primary = index_row.is_primary;
        let (index_name, index) = index(index_row, &shown)?;
        if is_primary {
            primary_index = Some(index_name.clone());
        }
        indexes.insert(index_name, index);
    }
    let mut constraints = BTreeMap::new();
    for constraint_row in take(&mut parts.constraints, row.oid) {
        let (constraint_name, constraint) = constraint(constraint_row, &shown)?;
        constraints.insert(constraint_name, constraint);
    }
    let of_it = take(&mut parts.statistics, row.oid).into_iter().map(|row| statistics(row, &shown));
    let statistics = of_it.collect::<Result<_, _>>()?;
    let mut triggers = BTreeMap::new();
    for trigger in take(&mut parts.triggers, row.oid) {
        let TriggerRow { name, definition, enabled, extension, .. } = trigger;
        let trigger_name = ident(name, "trigger of", &shown)?;
        let extension = extension.map(|name| ident(name, "the extension of a trigger of", &shown)).transpose()?;
        triggers.insert(trigger_name, Trigger { definition, enabled, extension });
    }
    let mut policies = BTreeMap::new();
    for row in take(&mut parts.policies, row.oid) {
        let (policy_name, policy) = policy(row, &shown)?;
        policies.insert(policy_name, policy);
    }
    let replica_identity = replica_identity(&row, &shown)?;
    let mut children = pairs(row.children, "table")?;
    children.sort();
    let table = Table {
        kind: table_kind(&row.kind, &shown)?,
        persistence: persistence(&row.persistence, &shown)?,
        columns,
        primary_key: primary_key(&indexes, primary_index)?,
        replica_identity,
        indexes,
        statistics,
        constraints,
        triggers,
        parents: pairs(row.parents, "table")?,
        children,
        partition_key: row.partition_key,
        partition_bound: row.partition_bound,
        policies,
        row_security: row.row_security,
        row_security_forced: row.row_security_forced,
        reloptions: sorted(row.reloptions),
        owner: ident(row.owner, "the owner of", &shown)?,
        grants: sorted(row.grants),
        comment: row.comment,
        subscribed: row.subscribed,
        stats,
    };
    Ok((name, table))
}

fn table_kind(relkind: &str, table: &str) -> Result<TableKind, IntrospectError> {
    Ok(match relkind {
        "r" => TableKind::Table,
        "p" => TableKind::Partitioned,
        "f" => TableKind::Foreign,
        "v" => TableKind::View,
        "m" => TableKind::MaterializedView,
        other => return Err(unknown(table, "relkind", other)),
    })
}

fn persistence(relpersistence: &str, table: &str) -> Result<Persistence, IntrospectError> {
    Ok(match relpersistence {
        "p" => Persistence::Permanent,
        "u" => Persistence::Unlogged,
        "t" => Persistence::Temporary,
        other => return Err(unknown(table, "relpersistence", other)),
    })
}

fn replica_identity(row: &TableRow, table: &str) -> Result<ReplicaIdentity, IntrospectError> {
    Ok(match row.replica_identity.as_str() {
        "d" => ReplicaIdentity::Default,
        "f" => ReplicaIdentity::Full,
        "n" => ReplicaIdentity::Nothing,
        // The server keeps the code when the index is dropped, and then logs no old keys.
        "i" => match &row.replica_identity_index {
            Some(index) => ReplicaIdentity::Index(ident(index.clone(), "the replica identity of", table)?),
            None => ReplicaIdentity::Nothing,
        },
        other => return Err(unknown(table, "relreplident", other)),
    })
}

fn primary_key(indexes: &BTreeMap<Ident, Index>, name: Option<Ident>) -> Result<Option<Key>, IntrospectError> {
    let Some(name) = name else { return Ok(None) };
    let index = &indexes[&name];
    let mut columns = Vec::with_capacity(index.elements.len());
    for element in &index.elements {
        let Some(column) = &element.column else {
            return Err(IntrospectError::Missing { object: format!("primary key {name}"), part: "column" });
        };
        columns.push(column.clone());
    }
    Ok(Some(Key { columns, include: index.include.clone(), deferrable: !index.immediate, name }))
}

fn stats(row: &TableRow, columns: Vec<ColumnStatsRow>, table: &str) -> Result<Option<Stats>, IntrospectError> {
    let (Some(table_bytes), Some(index_bytes)) = (row.table_bytes, row.index_bytes) else { return Ok(None) };
    let mut column_widths = BTreeMap::new();
    let mut null_ppm = BTreeMap::new();
    let mut correlation_ppm = BTreeMap::new();
    for column in columns {
        let name = ident(column.name, "column of", table)?;
        column_widths.insert(name.clone(), column.width);
        correlation_ppm.extend(column.correlation_ppm.map(|ppm| (name.clone(), ppm)));
        null_ppm.insert(name, column.null_ppm);
    }
    Ok(Some(Stats {
        rows_estimate: row.rows_estimate,
        table_bytes,
        index_bytes,
        column_widths,
        null_ppm,
        correlation_ppm,
    }))
}

fn column(row: ColumnRow, table: &str) -> Result<Column, IntrospectError> {
    let name = ident(row.name, "column of", table)?;
    let object = || format!("column {name} of {table}");
    let ty = ColumnType {
        schema: ident(row.type_schema, "the type's schema of", &object())?,
        name: ident(row.type_name, "the type of", &object())?,
        typmod: row.typmod,
        sql: row.sql,
        len: row.len,
        align: align(&row.align, &object())?,
        kind: type_kind(&row.kind, &object())?,
    };
    let identity = match row.identity.as_str() {
        "" => None,
        "a" | "d" => {
            let sequence = row
                .identity_sequence
                .ok_or_else(|| IntrospectError::Missing { object: object(), part: "identity sequence" })?;
            Some(Identity { always: row.identity == "a", sequence: qualified(sequence, "sequence")? })
        }
        other => return Err(unknown(&object(), "attidentity", other)),
    };
    let (default, generated) = match (row.generated.as_str(), row.expression) {
        ("", default) => (default, None),
        ("s", Some(expr)) => (None, Some(Generated { expr, stored: true })),
        ("v", Some(expr)) => (None, Some(Generated { expr, stored: false })),
        ("s" | "v", None) => return Err(IntrospectError::Missing { object: object(), part: "generation expression" }),
        (other, _) => return Err(unknown(&object(), "attgenerated", other)),
    };
    Ok(Column {
        ty,
        not_null: row.not_null,
        default,
        identity: identity.map(Box::new),
        generated: generated.map(Box::new),
        collation: row.collation.map(|pair| qualified(pair, "collation")).transpose()?.map(Box::new),
        storage: row.storage.map(|code| storage(&code, &object())).transpose()?,
        compression: row.compression.map(|code| compression(&code, &object())).transpose()?,
        statistics_target: row.statistics_target,
        options: sorted(row.options),
        comment: row.comment,
        grants: sorted(row.grants),
        name,
    })
}

fn align(typalign: &str, column: &str) -> Result<Align, IntrospectError> {
    Ok(match typalign {
        "c" => Align::Char,
        "s" => Align::Short,
        "i" => Align::Int,
        "d" => Align::Double,
        other => return Err(unknown(column, "attalign", other)),
    })
}

fn type_kind(typtype: &str, column: &str) -> Result<TypeKind, IntrospectError> {
    Ok(match typtype {
        "a" => TypeKind::Array,
        "b" => TypeKind::Base,
        "c" => TypeKind::Composite,
        "d" => TypeKind::Domain,
        "e" => TypeKind::Enum,
        "m" => TypeKind::Multirange,
        "p" => TypeKind::Pseudo,
        "r" => TypeKind::Range,
        other => return Err(unknown(column, "typtype", other)),
    })
}

fn storage(attstorage: &str, column: &str) -> Result<Storage, IntrospectError> {
    Ok(match attstorage {
        "p" => Storage::Plain,
        "e" => Storage::External,
        "m" => Storage::Main,
        "x" => Storage::Extended,
        other => return Err(unknown(column, "attstorage", other)),
    })
}

fn compression(attcompression: &str, column: &str) -> Result<Compression, IntrospectError> {
    Ok(match attcompression {
        "p" => Compression::Pglz,
        "l" => Compression::Lz4,
        other => return Err(unknown(column, "attcompression", other)),
    })
}

fn index(row: IndexRow, table: &str) -> Result<(Ident, Index), IntrospectError> {
    let name = ident(row.name, "index of", table)?;
    let object = format!("index {name} of {table}");
    let mut elements = Vec::with_capacity(row.elements.len());
    for element_row in row.elements {
        elements.push(element(element_row, &object)?);
    }
    let index = Index {
        definition: row.definition,
        method: ident(row.method, "the method of", &object)?,
        elements,
        include: idents(row.include, "column of", &object)?,
        unique: row.is_unique,
        nulls_not_distinct: row.nulls_not_distinct,
        immediate: row.immediate,
        valid: row.valid,
        clustered: row.clustered,
        predicate: row.predicate,
        expression_columns: idents(row.expression_columns, "column of", &object)?,
        reloptions: sorted(row.reloptions),
        constraint: row.constraint.map(|constraint| ident(constraint, "the constraint of", &object)).transpose()?,
        comment: row.comment,
    };
    Ok((name, index))
}

fn element(row: ElementRow, index: &str) -> Result<IndexElement, IntrospectError> {
    if row.column.is_none() && row.expression.is_none() {
        return Err(IntrospectError::Missing { object: index.to_owned(), part: "column or expression" });
    }
    Ok(IndexElement {
        column: row.column.map(|column| ident(column, "column of", index)).transpose()?,
        expression: row.expression,
        collation: row.collation.map(|pair| qualified(pair, "collation")).transpose()?,
        opclass: row.opclass.map(|pair| qualified(pair, "operator class")).transpose()?,
        opclass_options: sorted(row.opclass_options),
        descending: row.descending,
        nulls_first: row.nulls_first,
    })
}

fn constraint(row: ConstraintRow, table: &str) -> Result<(Ident, Constraint), IntrospectError> {
    let name = ident(row.name, "constraint of", table)?;
    let object = format!("constraint {name} of {table}");
    let kind = match row.kind.as_str() {
        "p" => ConstraintKind::PrimaryKey,
        "u" => ConstraintKind::Unique,
        "f" => ConstraintKind::ForeignKey,
        "c" => ConstraintKind::Check,
        "x" => ConstraintKind::Exclude,
        "t" => ConstraintKind::Trigger,
        other => return Err(unknown(&object, "contype", other)),
    };
    let references = match (row.references, row.actions) {
        (Some(far), Some(actions)) => Some(References {
            table: qualified(far, "table")?,
            columns: idents(row.referenced_columns, "column referenced by", &object)?,
            actions,
        }),
        _ => None,
    };
    let constraint = Constraint {
        kind,
        definition: row.definition,
        columns: idents(row.columns, "column of", &object)?,
        references,
        expression: row.expression,
        index: row.index.map(|index| ident(index, "the index of", &object)).transpose()?,
        deferrable: row.deferrable,
        initially_deferred: row.initially_deferred,
        validated: row.validated,
        no_inherit: row.no_inherit,
        comment: row.comment,
    };
    Ok((name, constraint))
}

fn statistics(row: StatisticsRow, table: &str) -> Result<(QualifiedName, Statistics), IntrospectError> {
    let name = qualified(Pair(row.schema, row.name), "statistics object")?;
    let object = format!("statistics {name} of {table}");
    let mut kinds = Vec::new();
    for kind in row.kinds {
        kinds.push(match kind {
            'd' => StatisticsKind::Ndistinct,
            'f' => StatisticsKind::Dependencies,
            'm' => StatisticsKind::Mcv,
            // Of expressions alone: it comes with each of them.
            'e' => continue,
            other => return Err(unknown(&object, "stxkind", &other.to_string())),
        });
    }
    kinds.sort();
    let def = StatisticsDef {
        kinds,
        columns: idents(row.columns, "column of", &object)?,
        expressions: row.expressions,
        target: row.target,
    };
    let expression_columns = idents(row.expression_columns, "column of", &object)?;
    let owner = ident(row.owner, "the owner of", &object)?;
    Ok((name, Statistics { def, expression_columns, owner, comment: row.comment }))
}

fn policy(row: PolicyRow, table: &str) -> Result<(Ident, Policy), IntrospectError> {
    let name = ident(row.name, "policy of", table)?;
    let object = format!("policy {name} of {table}");
    let mut roles = idents(row.roles, "role of", &object)?;
    roles.sort();
    let mut columns = idents(row.columns, "column of", &object)?;
    columns.sort();
    let policy = Policy {
        restrictive: row.restrictive,
        command: PolicyCommand::of(row.command).ok_or_else(|| unknown(&object, "polcmd", &row.command.to_string()))?,
        roles,
        using: row.using,
        check: row.check,
        columns,
        functions: sorted(row.functions),
        others: sorted(row.others),
    };
    Ok((name, policy))
}

fn idents(names: Vec<String>, what: &str, of: &str) -> Result<Vec<Ident>, IntrospectError> {
    names.into_iter().map(|name| ident(name, what, of)).collect()
}

fn pairs(names: Vec<Pair>, what: &str) -> Result<Vec<QualifiedName>, IntrospectError> {
    names.into_iter().map(|pair| qualified(pair, what)).collect()
}

fn unknown(object: &str, code: &'static str, value: &str) -> IntrospectError {
    IntrospectError::Code { object: object.to_owned(), code, value: value.to_owned() }
}
