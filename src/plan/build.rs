//! Resolved schema → plan.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{
    Column, ColumnRef, Constraint, ConstraintKind, Fingerprint, FunctionDef, Ident, Key, OwnerTarget, PolicyDef,
    QualifiedName, RowSecurity, Sequence, type_def,
};
use crate::diff::{Change, TableDiff, table_changes};
use crate::plan::graph::{Cycle, order};
use crate::plan::rename::rename_source;
use crate::plan::rules::World;
use crate::plan::statements::StatementError;
use crate::plan::whole::frozen;
use crate::plan::{
    AddConstraint, AnalyzeTable, ClusterOn, CommentTarget, CopyTable, CreateFunction, CreateIndex, CreateLedger,
    CreatePolicy, CreatePublication, CreateSchema, CreateSequence, CreateSlot, CreateStatistics, CreateTable,
    CreateTrigger, CreateType, CreateView, Drain, DropFence, DropPublication, DropSlot, FORMAT, Fence, Grant,
    GuardTruncate, Input, Op, Plan, SetComment, SetDefault, SetOwner, SetReplicaIdentity, SetRowSecurity, SetSequence,
    Settings, Side, Step, StreamChanges, Switch, ValidateConstraint, VerifyFinal, VerifyTable, back, digest, effects,
    statements,
};
use crate::resolve::{
    Extract, Resolved, ResolvedGrant, ResolvedMark, ResolvedOwner, ResolvedRowSecurity, ResolvedTable, ResolvedTrigger,
};
use crate::sql::publication::TRUNCATE_SINCE;

/// Why no plan can be built. All of these are defects of pcrd, not of the input.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BuildError {
    /// The rules contradict each other.
    #[error(transparent)]
    Cycle(#[from] Cycle),
    /// An op cannot be rendered.
    #[error(transparent)]
    Statement(#[from] StatementError),
}

/// Builds the plan. The same arguments give the same bytes.
pub fn build(resolved: &Resolved, settings: &Settings, inputs: &[Input]) -> Result<Plan, BuildError> {
    let mut plan = Plan {
        format: FORMAT.to_owned(),
        id: Fingerprint(String::new()),
        tool: env!("CARGO_PKG_VERSION").to_owned(),
        inputs: inputs.to_vec(),
        source: side(&resolved.source),
        target: side(&resolved.target),
        settings: settings.clone(),
        changes: resolved.tables.iter().flat_map(|table| changes(resolved, table)).collect(),
        projections: resolved.tables.iter().map(|table| table.projection.clone()).collect(),
        back: Vec::new(),
        not_carried: resolved.not_carried.clone(),
        findings: resolved.findings.clone(),
        checks: resolved.checks.clone(),
        steps: Vec::new(),
    };
    let ops = ops(resolved, settings);
    plan.back = back::ways(&plan, ops.iter());
    let ordered = order(&World::of(&plan), ops)?;
    let step = |(op, after): (Op, _)| -> Result<Step, StatementError> {
        Ok(Step {
            id: op.id(),
            phase: op.phase(),
            after,
            statements: statements::statements(&op, &plan)?,
            lock: effects::locks(&op, &plan),
            done_when: effects::done_when(&op, &plan),
            revert: statements::revert(&op),
            op,
        })
    };
    plan.steps = ordered.into_iter().map(step).collect::<Result<_, _>>()?;
    plan.id = digest::id(&plan);
    Ok(plan)
}

fn side(extract: &Extract) -> Side {
    Side {
        server: extract.server.clone(),
        fingerprint: digest::side(&extract.tables, &extract.sequences, &extract.types),
        types: extract.types.clone(),
        tables: extract.tables.clone(),
        sequences: extract.sequences.clone(),
        schemas: extract.schemas.clone(),
        functions: extract.functions.clone(),
        views: extract.views.clone(),
    }
}

fn changes(resolved: &Resolved, table: &ResolvedTable) -> Vec<Change> {
    let before = resolved.source.tables.get(&table.source);
    before.map_or_else(Vec::new, |before| {
        table_changes(&TableDiff {
            source: &table.source,
            split: table.split,
            target: &table.target,
            before,
            after: &table.wanted,
            carried: table.carried.as_deref(),
            projection: &table.projection,
            renames: &table.renames,
            reasons: &table.reasons,
            packed: table.packed.map(|bytes| (bytes.before, bytes.after)),
            row_bytes: (table.row_bytes.before, table.row_bytes.after),
        })
    })
}

fn ops(resolved: &Resolved, settings: &Settings) -> Vec<Op> {
    let mut sources: Vec<QualifiedName> = resolved.tables.iter().map(|table| table.source.clone()).collect();
    sources.sort();
    sources.dedup();
    let mut targets: Vec<QualifiedName> = resolved.tables.iter().map(|table| table.target.clone()).collect();
    targets.sort();
    targets.dedup();
    let mut seen = BTreeSet::new();
    // What is built belongs to the target, whatever number of sources it has: their `wanted` are the same.
    let built: Vec<&ResolvedTable> = resolved.tables.iter().filter(|table| seen.insert(&table.target)).collect();
    let slot = &settings.slot;
    let publication = &settings.publication;
    let mut ops = vec![Op::CreateLedger(CreateLedger {})];
    let partitioned = resolved.tables.iter().filter(|table| table.projection.partitioned);
    let partitioned = partitioned.map(|table| &table.source).collect();
    ops.extend(guard(&sources, resolved.source.server.major(), &partitioned));
    ops.push(Op::CreatePublication(CreatePublication { publication: publication.clone(), tables: sources.clone() }));
    ops.push(Op::CreateSlot(CreateSlot { slot: slot.clone() }));
    let create_schema = |schema: &Ident| {
        let must_be_new = resolved.rights.is_on_schema(schema);
        Op::CreateSchema(CreateSchema { schema: schema.clone(), must_be_new })
    };
    ops.extend(resolved.schemas.iter().map(create_schema));
    let types = type_def::in_order(resolved.source.types.keys(), &resolved.source.types);
    ops.extend(
        types
            .into_iter()
            .map(|name| Op::CreateType(CreateType { name: name.clone(), def: resolved.source.types[name].clone() })),
    );
    let identities = identities(resolved);
    for table in &built {
        ops.push(create_table(table, &identities));
    }
    for table in &built {
        let onto = resolved.tables.iter().filter(|one| one.target == table.target);
        ops.extend(frozen(onto.map(|one| &one.projection)));
    }
    for sequence in resolved.sequences.iter().filter(|sequence| !sequence.wanted.identity) {
        ops.push(Op::CreateSequence(CreateSequence {
            name: sequence.target.clone(),
            sequence: sequence.wanted.clone(),
        }));
    }
    ops.extend(built.iter().map(|table| Op::CopyTable(CopyTable { table: table.target.clone() })));
    ops.push(Op::StreamChanges(StreamChanges { slot: slot.clone(), publication: publication.clone() }));
    let split = resolved.tables.iter().filter(|table| table.partitioning.is_some());
    let split: BTreeSet<&QualifiedName> = split.map(|table| &table.target).collect();
    for table in &built {
        ops.extend(objects(table, &split));
        ops.extend(comments(table));
    }
    ops.extend(statistics(resolved));
    ops.extend(marks(resolved));
    ops.extend(create_views(resolved));
    ops.extend(resolved.sequences.iter().filter_map(|sequence| {
        let text = sequence.wanted.comment.clone()?;
        Some(Op::SetComment(SetComment { on: CommentTarget::Sequence(sequence.target.clone()), text }))
    }));
    for table in &built {
        let freeze = resolved.tables.iter().any(|one| one.target == table.target && one.vacuum);
        ops.push(Op::AnalyzeTable(AnalyzeTable { table: table.target.clone(), freeze }));
        ops.push(Op::VerifyTable(VerifyTable { table: table.target.clone() }));
    }
    ops.extend(back::ops(settings, &targets));
    ops.push(Op::Fence(Fence { tables: sources.clone() }));
    ops.push(Op::Drain(Drain { slot: slot.clone() }));
    ops.push(Op::VerifyFinal(VerifyFinal { tables: targets }));
    for sequence in &resolved.sequences {
        ops.push(Op::SetSequence(SetSequence {
            source: sequence.source.clone(),
            further: sequence.further.clone(),
            target: sequence.target.clone(),
            columns: sequence_columns(&sequence.wanted),
            buffer: settings.sequence_buffer,
        }));
    }
    ops.extend(built.iter().flat_map(|table| late_defaults(table)));
    let function = |(name, def): (&QualifiedName, &FunctionDef)| {
        Op::CreateFunction(CreateFunction { name: name.clone(), def: def.clone() })
    };
    ops.extend(resolved.functions.iter().map(function));
    ops.extend(resolved.triggers.iter().map(create_trigger));
    for one in &resolved.row_security {
        ops.extend(row_security(one));
    }
    ops.extend(rights(resolved));
    ops.push(Op::Switch(Switch {}));
    ops.extend(rename_source(settings, &sources));
    ops.push(Op::DropFence(DropFence { tables: sources }));
    ops.push(Op::DropSlot(DropSlot { slot: slot.clone() }));
    ops.push(Op::DropPublication(DropPublication { publication: publication.clone() }));
    ops
}

fn statistics(resolved: &Resolved) -> impl Iterator<Item = Op> {
    resolved.statistics.iter().flat_map(|one| {
        let (table, name) = (one.table.clone(), one.name.clone());
        let comment = one
            .comment
            .clone()
            .map(|text| Op::SetComment(SetComment { on: CommentTarget::Statistics(name.clone()), text }));
        let create = Op::CreateStatistics(CreateStatistics { table, name, def: one.def.clone() });
        [create].into_iter().chain(comment)
    })
}

fn create_views(resolved: &Resolved) -> Vec<Op> {
    let mut behind: BTreeMap<&QualifiedName, BTreeSet<&QualifiedName>> = BTreeMap::new();
    let mut ops = Vec::new();
    for one in resolved.views.iter().filter(|view| !view.is_unread) {
        let tables: BTreeSet<&QualifiedName> = one
            .reads
            .iter()
            .flat_map(|read| behind.get(read).cloned().unwrap_or_else(|| BTreeSet::from([read])))
            .collect();
        ops.push(Op::CreateView(CreateView {
            name: one.name.clone(),
            source: one.source.clone(),
            def: one.def.clone(),
            reads: one.reads.iter().cloned().collect(),
            tables: tables.iter().map(|table| (*table).clone()).collect(),
        }));
        behind.insert(&one.name, tables);
    }
    ops
}

fn marks(resolved: &Resolved) -> impl Iterator<Item = Op> {
    resolved.marks.iter().map(|mark| match mark {
        ResolvedMark::Clustered { table, index } => {
            Op::ClusterOn(ClusterOn { table: table.clone(), index: index.clone() })
        }
        ResolvedMark::Identity { table, identity } => {
            Op::SetReplicaIdentity(SetReplicaIdentity { table: table.clone(), identity: identity.clone() })
        }
    })
}

/// Tables of which the stream would not show a TRUNCATE: all of them, or those of whose partitions it would not.
pub(super) fn guard(sources: &[QualifiedName], major: u32, partitioned: &BTreeSet<&QualifiedName>) -> Option<Op> {
    let is_guarded = |table: &&QualifiedName| major < TRUNCATE_SINCE || partitioned.contains(table);
    let tables: Vec<QualifiedName> = sources.iter().filter(is_guarded).cloned().collect();
    if tables.is_empty() { None } else { Some(Op::GuardTruncate(GuardTruncate { tables })) }
}

fn create_trigger(one: &ResolvedTrigger) -> Op {
    let (table, name) = (one.table.clone(), one.name.clone());
    Op::CreateTrigger(CreateTrigger { table, name, def: one.def.clone(), firing: one.firing })
}

fn row_security(one: &ResolvedRowSecurity) -> impl Iterator<Item = Op> {
    let policy = |(name, def): (&Ident, &PolicyDef)| {
        Op::CreatePolicy(CreatePolicy { table: one.table.clone(), name: name.clone(), def: def.clone() })
    };
    let RowSecurity { enabled, forced, policies } = &one.security;
    let set = SetRowSecurity { table: one.table.clone(), enabled: *enabled, forced: *forced };
    policies.iter().map(policy).chain((*enabled || *forced).then_some(Op::SetRowSecurity(set)))
}

fn rights(resolved: &Resolved) -> impl Iterator<Item = Op> {
    let owner = move |one: &ResolvedOwner| {
        let (on, owner, sequences) = (one.on.clone(), one.owner.clone(), one.sequences.clone());
        let of_it = resolved.tables.iter().filter(|table| on == OwnerTarget::Table(table.target.clone()));
        let partitions = of_it.flat_map(|table| &table.partitioning).flat_map(|whole| &whole.partitions);
        let partitions = partitions.map(|partition| partition.name.clone()).collect();
        Op::SetOwner(SetOwner { on, owner, sequences, partitions })
    };
    let grant = |one: &ResolvedGrant| {
        let (on, to) = (one.on.clone(), one.to.clone());
        Op::Grant(Grant { on, to, rights: one.rights.clone(), grantable: one.grantable.clone() })
    };
    resolved.rights.owners.iter().map(owner).chain(resolved.rights.grants.iter().map(grant))
}

fn sequence_columns(sequence: &Sequence) -> Vec<ColumnRef> {
    let columns: BTreeSet<ColumnRef> = sequence.used_by.iter().chain(&sequence.owned_by).cloned().collect();
    columns.into_iter().collect()
}

fn identities(resolved: &Resolved) -> BTreeMap<QualifiedName, Sequence> {
    let of_identity = resolved.sequences.iter().filter(|sequence| sequence.wanted.identity);
    of_identity.map(|sequence| (sequence.target.clone(), sequence.wanted.clone())).collect()
}

/// The primary key stands in CREATE TABLE only when rows are found by it: any other unique index must wait for the
/// last chunk, because rows may hold the same value of it for a while.
fn is_row_key(table: &ResolvedTable, key: &Key) -> bool {
    // CREATE TABLE has no place for the index's storage parameters: then the key is added right behind it.
    let is_plain = table.wanted.indexes.get(&key.name).is_none_or(|index| index.reloptions.is_empty());
    table.key_index.as_ref() == Some(&key.name) && !key.deferrable && is_plain
}

fn create_table(table: &ResolvedTable, identities: &BTreeMap<QualifiedName, Sequence>) -> Op {
    let column = |column: &Column| {
        let default = column.default.clone().filter(|_| !table.late_defaults.contains(&column.name));
        Column { default, comment: None, grants: Vec::new(), ..column.clone() }
    };
    let own = table.wanted.columns.iter().filter_map(|column| {
        let identity = column.identity.as_ref()?;
        Some((column.name.clone(), identities.get(&identity.sequence)?.clone()))
    });
    Op::CreateTable(CreateTable {
        name: table.target.clone(),
        columns: table.wanted.columns.iter().map(column).collect(),
        key: table.wanted.primary_key.clone().filter(|key| is_row_key(table, key)),
        identities: own.collect(),
        reloptions: table.wanted.reloptions.clone(),
        partitioning: table.partitioning.clone(),
    })
}

/// Indexes and constraints, foreign keys last; `split` are the targets with partitions.
fn objects(table: &ResolvedTable, split: &BTreeSet<&QualifiedName>) -> Vec<Op> {
    let wanted = &table.wanted;
    let is_at_partitions = |constraint: &Constraint| {
        let far = constraint.references.as_ref().map(|far| &far.table);
        split.contains(&table.target) || far.is_some_and(|far| split.contains(far))
    };
    let is_key = |name: &Ident| table.key_index.as_ref() == Some(name);
    let in_create_table =
        |name: &Ident| wanted.primary_key.as_ref().is_some_and(|key| &key.name == name && is_row_key(table, key));
    let mut ops: Vec<Op> = wanted
        .indexes
        .iter()
        .filter(|(_, index)| index.constraint.is_none())
        .map(|(name, index)| {
            let statement = index.definition.clone();
            Op::CreateIndex(CreateIndex {
                table: table.target.clone(),
                name: name.clone(),
                statement,
                key: is_key(name),
            })
        })
        .collect();
    let add = |name: &Ident, constraint: &Constraint, not_valid| {
        Op::AddConstraint(AddConstraint {
            table: table.target.clone(),
            name: name.clone(),
            definition: constraint.definition.clone(),
            not_valid,
            key: constraint.index.as_ref().is_some_and(is_key),
        })
    };
    for (name, constraint) in wanted.constraints.iter().filter(|(name, _)| !in_create_table(name)) {
        match constraint.kind {
            ConstraintKind::PrimaryKey | ConstraintKind::Unique | ConstraintKind::Exclude => {
                ops.push(add(name, constraint, false));
            }
            ConstraintKind::Check => ops.push(add(name, constraint, !constraint.validated)),
            ConstraintKind::ForeignKey | ConstraintKind::Trigger => {}
        }
    }
    for (name, constraint) in &wanted.constraints {
        if constraint.kind == ConstraintKind::ForeignKey {
            // Servers before 18 know no NOT VALID there, and validation of one would pass over the partitions.
            let at_once = constraint.validated && is_at_partitions(constraint);
            ops.push(add(name, constraint, !at_once));
            if constraint.validated && !at_once {
                ops.push(Op::ValidateConstraint(ValidateConstraint {
                    table: table.target.clone(),
                    name: name.clone(),
                    references: constraint.references.as_ref().map(|references| references.table.clone()),
                }));
            }
        }
    }
    ops
}

fn comments(table: &ResolvedTable) -> Vec<Op> {
    let wanted = &table.wanted;
    let within = |column: &Ident| ColumnRef { table: table.target.clone(), column: column.clone() };
    let index = |name: &Ident| QualifiedName { schema: table.target.schema.clone(), name: name.clone() };
    let mut list: Vec<(CommentTarget, Option<&String>)> =
        vec![(CommentTarget::Table(table.target.clone()), wanted.comment.as_ref())];
    list.extend(
        wanted.columns.iter().map(|column| (CommentTarget::Column(within(&column.name)), column.comment.as_ref())),
    );
    list.extend(
        wanted.indexes.iter().map(|(name, object)| (CommentTarget::Index(index(name)), object.comment.as_ref())),
    );
    list.extend(
        wanted
            .constraints
            .iter()
            .map(|(name, object)| (CommentTarget::Constraint(within(name)), object.comment.as_ref())),
    );
    let set =
        |(on, text): (CommentTarget, Option<&String>)| Some(Op::SetComment(SetComment { on, text: text?.clone() }));
    list.into_iter().filter_map(set).collect()
}

fn late_defaults(table: &ResolvedTable) -> Vec<Op> {
    let late = table.wanted.columns.iter().filter(|column| table.late_defaults.contains(&column.name));
    late.filter_map(|column| {
        let at = ColumnRef { table: table.target.clone(), column: column.name.clone() };
        Some(Op::SetDefault(SetDefault { column: at, default: column.default.clone()? }))
    })
    .collect()
}
