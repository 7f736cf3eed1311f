//! What a table's DDL is on the source and what it becomes, in one spelling so that only changes differ.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{
    Column, Constraint, ConstraintKind, Ident, PartitionBy, Partitioning, QualifiedName, Sequence, Table,
};
use crate::plan::render::escape::{Place, escape};
use crate::plan::{Op, Plan};
use crate::projection::Projection;
use crate::sql::ddl::{add_constraint, create_table, primary_key};
use crate::sql::ddl_index::{create_index, foreign_key, key_constraint, timing};
use crate::sql::partition_key::partition_by;
use crate::sql::rewrite;

/// The DDL of each target table as a unified diff, in the order of the projections; `None` where nothing differs. A target
/// with several sources has it once, with the last of them.
pub fn diffs(plan: &Plan) -> Vec<Option<String>> {
    let mut ops: BTreeMap<&QualifiedName, Vec<&Op>> = BTreeMap::new();
    for step in &plan.steps {
        if let Some(table) = shapes(&step.op) {
            ops.entry(table).or_default().push(&step.op);
        }
    }
    let mut sources: BTreeMap<&QualifiedName, Vec<&QualifiedName>> = BTreeMap::new();
    for projection in &plan.projections {
        sources.entry(&projection.target).or_default().push(&projection.source);
    }
    let none = Vec::new();
    let sequences: BTreeMap<QualifiedName, QualifiedName> =
        plan.source.sequences.keys().map(|name| (name.clone(), name.clone())).collect();
    let diff = |projection: &Projection| {
        let sources = sources.get(&projection.target).filter(|list| list.last() == Some(&&projection.source))?;
        let ddl =
            |name: &&QualifiedName| plan.source.tables.get(*name).map(|table| source(plan, &sequences, name, table));
        let before: String = sources.iter().map(ddl).collect::<Option<_>>()?;
        let after = target(ops.get(&projection.target).unwrap_or(&none));
        let names = sources.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ");
        let header = |end: &str, name: &str| format!("{end} {}", escape(name, Place::Terminal));
        let diff = similar::TextDiff::from_lines(before.as_str(), after.as_str());
        let text = diff
            .unified_diff()
            .header(&header("source", &names), &header("target", &projection.target.to_string()))
            .to_string();
        (before != after).then_some(text)
    };
    plan.projections.iter().map(diff).collect()
}

/// The target table that the op gives its shape.
fn shapes(op: &Op) -> Option<&QualifiedName> {
    match op {
        Op::CreateTable(op) => Some(&op.name),
        Op::CreateIndex(op) => Some(&op.table),
        Op::AddConstraint(op) => Some(&op.table),
        Op::ValidateConstraint(op) => Some(&op.table),
        Op::SetDefault(op) => Some(&op.column.table),
        Op::CreateLedger(_)
        | Op::GuardTruncate(_)
        | Op::CreatePublication(_)
        | Op::CreateSlot(_)
        | Op::CreateSchema(_)
        | Op::CreateType(_)
        | Op::CreateSequence(_)
        | Op::FreezeDefaults(_)
        | Op::CopyTable(_)
        | Op::StreamChanges(_)
        | Op::CreateStatistics(_)
        | Op::CreateView(_)
        | Op::ClusterOn(_)
        | Op::SetReplicaIdentity(_)
        | Op::SetComment(_)
        | Op::AnalyzeTable(_)
        | Op::VerifyTable(_)
        | Op::CreateFunction(_)
        | Op::CreateTrigger(_)
        | Op::CreatePolicy(_)
        | Op::SetRowSecurity(_)
        | Op::SetOwner(_)
        | Op::Grant(_)
        | Op::Fence(_)
        | Op::Drain(_)
        | Op::VerifyFinal(_)
        | Op::SetSequence(_)
        | Op::Switch(_)
        | Op::RenameSource(_)
        | Op::PublishBack(_)
        | Op::CreateBackSlot(_)
        | Op::ProbeBack(_)
        | Op::ArmBack(_)
        | Op::StreamBack(_)
        | Op::DropBackSlot(_)
        | Op::DropBackPublication(_)
        | Op::DropSlot(_)
        | Op::DropPublication(_)
        | Op::DropFence(_) => None,
    }
}

/// The table as its ops leave it.
fn target(ops: &[&Op]) -> String {
    let mut defaults: BTreeMap<&Ident, &String> = BTreeMap::new();
    let mut validated: BTreeSet<&Ident> = BTreeSet::new();
    for op in ops {
        if let Op::SetDefault(op) = op {
            defaults.insert(&op.column.column, &op.default);
        }
        if let Op::ValidateConstraint(op) = op {
            validated.insert(&op.name);
        }
    }
    let (mut table, mut constraints, mut indexes) = (Vec::new(), BTreeMap::new(), BTreeMap::new());
    for op in ops {
        if let Op::CreateTable(op) = op {
            let with_default = |column: &Column| Column {
                default: defaults
                    .get(&column.name)
                    .map_or_else(|| column.default.clone(), |text| Some((*text).clone())),
                ..column.clone()
            };
            let columns: Vec<Column> = op.columns.iter().map(with_default).collect();
            let root = op.partitioning.as_ref().map(|whole| without_partitions(whole.by.clone()));
            table = create_table(&op.name, &columns, None, &op.identities, &op.reloptions, root.as_ref());
            if let Some(key) = &op.key {
                constraints.insert(&key.name, add_constraint(&op.name, &key.name, &primary_key(key), false));
            }
        }
        if let Op::AddConstraint(op) = op {
            let not_valid = op.not_valid && !validated.contains(&op.name);
            constraints.insert(&op.name, add_constraint(&op.table, &op.name, &op.definition, not_valid));
        }
        if let Op::CreateIndex(op) = op {
            indexes.insert(&op.name, op.statement.clone());
        }
    }
    script(table.into_iter().chain(constraints.into_values()).chain(indexes.into_values()))
}

/// The table as the catalog has it.
fn source(
    plan: &Plan,
    sequences: &BTreeMap<QualifiedName, QualifiedName>,
    name: &QualifiedName,
    table: &Table,
) -> String {
    let respelled = |text: &String| rewrite::sequences(text, sequences).unwrap_or_else(|_| text.clone());
    let columns: Vec<Column> = table
        .columns
        .iter()
        .map(|column| {
            let mut column = Column { default: column.default.as_ref().map(respelled), ..column.clone() };
            if let Some(generated) = &mut column.generated {
                generated.expr = quoted(&generated.expr, &name.name, table);
            }
            column
        })
        .collect();
    let sequence = |column: &Column| {
        let sequence: &Sequence = plan.source.sequences.get(&column.identity.as_ref()?.sequence)?;
        Some((column.name.clone(), sequence.clone()))
    };
    let identities: BTreeMap<Ident, Sequence> = table.columns.iter().filter_map(sequence).collect();
    let constraint = |(constraint_name, constraint): (&Ident, &Constraint)| {
        let definition = definition(name, table, constraint);
        add_constraint(name, constraint_name, &definition, !constraint.validated)
    };
    let root = table.partition_key.as_deref().and_then(partition_by).map(without_partitions);
    let indexes = table.indexes.iter().filter(|(_, index)| index.constraint.is_none()).map(|(index_name, index)| {
        let mut index = index.clone();
        let quoted = |text: &String| quoted(text, &name.name, table);
        index.predicate = index.predicate.as_ref().map(quoted);
        for element in &mut index.elements {
            element.expression = element.expression.as_ref().map(quoted);
        }
        create_index(index_name, name, &index)
    });
    script(
        create_table(name, &columns, None, &identities, &table.reloptions, root.as_ref())
            .into_iter()
            .chain(table.constraints.iter().map(constraint))
            .chain(indexes),
    )
}

/// Partitions are the same on both ends, or told of.
fn without_partitions(by: PartitionBy) -> Partitioning {
    Partitioning { by, partitions: Vec::new() }
}

fn definition(table_name: &QualifiedName, table: &Table, constraint: &Constraint) -> String {
    let timing = timing(constraint.deferrable, constraint.initially_deferred);
    let stored = || constraint.definition.trim_end_matches(" NOT VALID").to_owned();
    match constraint.kind {
        ConstraintKind::PrimaryKey | ConstraintKind::Unique => {
            let primary = constraint.kind == ConstraintKind::PrimaryKey;
            let index = constraint.index.as_ref().and_then(|name| table.indexes.get(name));
            index.map_or_else(stored, |index| {
                key_constraint(primary, index, constraint.deferrable, constraint.initially_deferred)
            })
        }
        ConstraintKind::ForeignKey => constraint.references.as_ref().map_or_else(stored, |far| {
            foreign_key(&constraint.columns, &far.table, &far.columns, &far.actions, timing)
        }),
        ConstraintKind::Check => constraint.expression.as_ref().map_or_else(stored, |expression| {
            let no_inherit = if constraint.no_inherit { " NO INHERIT" } else { "" };
            let not_enforced = if constraint.definition.ends_with("NOT ENFORCED") { " NOT ENFORCED" } else { "" };
            format!("CHECK ({}){no_inherit}{not_enforced}", quoted(expression, &table_name.name, table))
        }),
        ConstraintKind::Exclude => quoted(&constraint.definition, &table_name.name, table),
        ConstraintKind::Trigger => stored(),
    }
}

/// An expression in the spelling that planning gives it; as it is stored when it cannot be read.
fn quoted(sql: &str, name: &Ident, table: &Table) -> String {
    let same = table.columns.iter().map(|column| (column.name.clone(), column.name.clone())).collect();
    rewrite::columns(sql, name, &same).map_or_else(|_| sql.to_owned(), |rewritten| rewritten.sql)
}

fn script(statements: impl Iterator<Item = String>) -> String {
    statements.map(|statement| format!("{statement};\n")).collect()
}
