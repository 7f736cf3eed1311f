//! The SQL of every op: what reading a plan derives again and compares.

use crate::catalog::{Ident, OwnerTarget, QualifiedName};
use crate::plan::rename::names_back;
use crate::plan::{CommentTarget, End, Op, Plan, Statement};
use crate::projection::{ColumnValue, Projection};
use crate::sql::{
    self, Frozen, ProjectionError, chunk, copy, ddl, ddl_type, fence, function, policy, publication, rights,
    statistics, trigger, view,
};

/// Why an op has no statements.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum StatementError {
    /// A copy without its projection.
    #[error("no projection makes the rows of {0}")]
    NoProjection(crate::catalog::QualifiedName),
    /// The projection cannot be rendered.
    #[error(transparent)]
    Projection(#[from] ProjectionError),
}

/// Statements that the op runs, in order. `$name` stands for what only the run knows.
pub fn statements(op: &Op, plan: &Plan) -> Result<Vec<Statement>, StatementError> {
    let major = plan.source.server.major();
    Ok(match op {
        Op::CreateLedger(_) => target(["CREATE SCHEMA IF NOT EXISTS \"pcrd\"".to_owned()]),
        Op::GuardTruncate(op) => source(fence::guard_truncate(&op.tables, &plan.partitioned(), major)),
        Op::CreatePublication(op) => {
            source([publication::create(&op.publication, &op.tables, via_root(&op.tables, plan), major)])
        }
        Op::CreateSlot(op) => {
            let partitioned = plan.partitioned();
            let lock = |table: &QualifiedName| chunk::lock_for_reading(table, partitioned.contains(table));
            let locks = plan.sources().into_iter().map(lock);
            source(locks.chain([publication::create_slot(&op.slot)]))
        }
        Op::CreateSchema(op) => target([match op.must_be_new {
            true => ddl::create_new_schema(&op.schema),
            false => ddl::create_schema(&op.schema),
        }]),
        Op::CreateType(op) => target(ddl_type::create_type(&op.name, &op.def, ddl_type::QUOTED)),
        Op::CreateSequence(op) => target([ddl::create_sequence(&op.name, &op.sequence)]),
        Op::CreateTable(op) => {
            let (key, partitioning) = (op.key.as_ref(), op.partitioning.as_ref());
            target(ddl::create_table(&op.name, &op.columns, key, &op.identities, &op.reloptions, partitioning))
        }
        Op::FreezeDefaults(op) => {
            let columns: Vec<_> = op.columns.iter().map(|c| (&c.column, c.ty.as_str(), c.default.as_str())).collect();
            target([ddl::freeze(&columns)])
        }
        Op::CopyTable(op) => {
            let lists: Result<Vec<_>, _> = plan.onto(&op.table).map(copy_statements).collect();
            let list = lists?.concat();
            if list.is_empty() {
                return Err(StatementError::NoProjection(op.table.clone()));
            }
            list
        }
        Op::StreamChanges(op) => source([publication::start(&op.slot, &op.publication, major)]),
        Op::CreateIndex(op) => target([op.statement.clone()]),
        Op::CreateView(op) => target(view::create(&op.name, &op.def)),
        Op::CreateStatistics(op) => {
            let set = op.def.target.map(|number| statistics::set_target(&op.name, number));
            target([statistics::create(&op.name, &op.table, &op.def)].into_iter().chain(set))
        }
        Op::ClusterOn(op) => target([ddl::cluster_on(&op.table, &op.index)]),
        Op::SetReplicaIdentity(op) => target([ddl::replica_identity(&op.table, &op.identity)]),
        Op::AddConstraint(op) => target([ddl::add_constraint(&op.table, &op.name, &op.definition, op.not_valid)]),
        Op::ValidateConstraint(op) => target([ddl::validate_constraint(&op.table, &op.name)]),
        Op::SetComment(op) => target([ddl::comment(&comment_target(&op.on), &op.text)]),
        Op::AnalyzeTable(op) if op.freeze => target([ddl::vacuum(&op.table)]),
        Op::AnalyzeTable(op) => target([ddl::analyze(&op.table)]),
        // Comparison queries depend on the chunks' bounds; `verify` renders them through the projection.
        Op::VerifyTable(_) | Op::Drain(_) | Op::VerifyFinal(_) => Vec::new(),
        Op::CreateFunction(op) => target([function::create(&op.name, &op.def)]),
        Op::CreateTrigger(op) => {
            let create = trigger::create(&op.table, &op.name, &op.def, plan.target.server.major());
            let firing = trigger::set_firing(&op.table, &op.name, op.firing);
            target([create].into_iter().chain(firing))
        }
        Op::CreatePolicy(op) => target([policy::create(&op.table, &op.name, &op.def)]),
        Op::SetRowSecurity(op) => {
            let enable = op.enabled.then(|| policy::enable(&op.table));
            target(enable.into_iter().chain(op.forced.then(|| policy::force(&op.table))))
        }
        Op::SetOwner(op) => {
            let partitions = op.partitions.iter().map(|one| OwnerTarget::Table(one.clone()));
            target([op.on.clone()].into_iter().chain(partitions).map(|on| rights::set_owner(&on, &op.owner)))
        }
        Op::Grant(op) => {
            let some =
                [(&op.rights, false), (&op.grantable, true)].into_iter().filter(|(rights, _)| !rights.is_empty());
            target(some.map(|(list, grantable)| rights::grant(&op.on, op.to.as_ref(), list, grantable)))
        }
        Op::Fence(op) => {
            let during = [fence::lock(&op.tables, &plan.partitioned()), fence::lease()].into_iter();
            let sentinel = (major >= publication::MESSAGES_SINCE).then(fence::sentinel);
            let refuses = plan.settings.cutover.fence.refuses();
            let passes = plan.settings.cutover.passes();
            let triggers = fence::triggers(&op.tables, &plan.partitioned(), major, passes);
            let triggers = triggers.into_iter().filter(|_| refuses);
            source(fence::prepare().into_iter().chain(during).chain(triggers).chain(sentinel))
        }
        Op::SetSequence(op) => target([ddl::set_sequence(&op.target)]),
        Op::SetDefault(op) => target([ddl::set_default(&op.column, &op.default)]),
        Op::Switch(_) => source([fence::make_permanent()]),
        Op::RenameSource(op) => source(op.tables.iter().map(|table| fence::rename(&table.from, &table.to))),
        Op::PublishBack(op) => {
            target([publication::create(&op.publication, &op.tables, false, plan.target.server.major())])
        }
        Op::CreateBackSlot(op) => target([publication::create_slot_now(&op.slot)]),
        Op::ProbeBack(_) => target([publication::probe()]),
        Op::ArmBack(op) => target([publication::advance_slot(&op.slot)]),
        Op::StreamBack(op) => target([publication::start(&op.slot, &op.publication, plan.target.server.major())]),
        Op::DropBackSlot(op) => target([publication::drop_slot(&op.slot)]),
        Op::DropBackPublication(op) => target([publication::drop(&op.publication)]),
        Op::DropSlot(op) => source([publication::drop_slot(&op.slot)]),
        Op::DropPublication(op) => source([publication::drop(&op.publication)]),
        Op::DropFence(op) => source(
            names_back(&plan.settings, &op.tables)
                .iter()
                .map(|table| fence::rename(&table.renamed(), &table.from.name))
                .chain(fence::drop_triggers(&op.tables))
                .chain(fence::drop_guard(&op.tables))
                .chain(fence::drop_schema()),
        ),
    })
}

/// Statements that undo the op while the source is still in charge.
pub fn revert(op: &Op) -> Vec<Statement> {
    match op {
        Op::GuardTruncate(op) => source(fence::drop_guard(&op.tables)),
        Op::CreatePublication(op) => source([publication::drop(&op.publication)]),
        Op::CreateSlot(op) => source([publication::drop_slot(&op.slot)]),
        Op::PublishBack(op) => target([publication::drop(&op.publication)]),
        Op::CreateBackSlot(op) => target([publication::drop_slot(&op.slot)]),
        Op::CreateType(op) => target([ddl::drop(ddl_type::word(&op.def), &op.name)]),
        Op::CreateSequence(op) => target([ddl::drop("SEQUENCE", &op.name)]),
        Op::CreateTable(op) => target([ddl::drop("TABLE", &op.name)]),
        Op::AddConstraint(op) => target([ddl::drop_constraint(&op.table, &op.name)]),
        Op::CreateIndex(op) => {
            let index = crate::catalog::QualifiedName { schema: op.table.schema.clone(), name: op.name.clone() };
            target([ddl::drop("INDEX", &index)])
        }
        Op::CreateStatistics(op) => target([ddl::drop("STATISTICS", &op.name)]),
        Op::CreateView(op) => target([ddl::drop(view::word(&op.def), &op.name)]),
        Op::Fence(op) => source(fence::drop_triggers(&op.tables)),
        Op::SetDefault(op) => target([ddl::drop_default(&op.column)]),
        // What these do is either harmless, undone with the table, or the point of no return.
        Op::CreateLedger(_)
        | Op::CreateSchema(_)
        | Op::FreezeDefaults(_)
        | Op::CopyTable(_)
        | Op::StreamChanges(_)
        | Op::ClusterOn(_)
        | Op::SetReplicaIdentity(_)
        | Op::ValidateConstraint(_)
        | Op::SetComment(_)
        | Op::AnalyzeTable(_)
        | Op::VerifyTable(_)
        | Op::CreateFunction(_)
        | Op::CreateTrigger(_)
        | Op::CreatePolicy(_)
        | Op::SetRowSecurity(_)
        | Op::SetOwner(_)
        | Op::Grant(_)
        | Op::Drain(_)
        | Op::VerifyFinal(_)
        | Op::SetSequence(_)
        | Op::Switch(_)
        | Op::RenameSource(_)
        | Op::ProbeBack(_)
        | Op::ArmBack(_)
        | Op::StreamBack(_)
        | Op::DropBackSlot(_)
        | Op::DropBackPublication(_)
        | Op::DropSlot(_)
        | Op::DropPublication(_)
        | Op::DropFence(_) => Vec::new(),
    }
}

fn source(sql: impl IntoIterator<Item = String>) -> Vec<Statement> {
    sql.into_iter().map(|sql| Statement { on: End::Source, sql }).collect()
}

fn target(sql: impl IntoIterator<Item = String>) -> Vec<Statement> {
    sql.into_iter().map(|sql| Statement { on: End::Target, sql }).collect()
}

/// Of whatever partitioned table: the publication has one setting for all of them.
pub(super) fn via_root(tables: &[QualifiedName], plan: &Plan) -> bool {
    let partitioned = plan.partitioned();
    tables.iter().any(|table| partitioned.contains(table))
}

fn copy_statements(projection: &Projection) -> Result<Vec<Statement>, StatementError> {
    let placeholder = |column: &Ident| format!("$frozen.{}", sql::ident(column));
    let frozen: Frozen = projection
        .columns
        .iter()
        .filter(|column| matches!(column.value, ColumnValue::Frozen { .. }))
        .map(|column| (column.target.clone(), placeholder(&column.target)))
        .collect();
    let out = copy::copy_out(projection, &frozen, Some(&chunk::predicate(projection)))?;
    let mut list = source([chunk::lock_for_reading(&projection.source, projection.partitioned), out]);
    list.extend(target([copy::copy_in(projection)]));
    Ok(list)
}

pub(super) fn comment_target(on: &CommentTarget) -> String {
    match on {
        CommentTarget::Table(name) => format!("TABLE {}", sql::name(name)),
        CommentTarget::Column(at) => format!("COLUMN {}", ddl::column(at)),
        CommentTarget::Index(name) => format!("INDEX {}", sql::name(name)),
        CommentTarget::Constraint(at) => format!("CONSTRAINT {} ON {}", sql::ident(&at.column), sql::name(&at.table)),
        CommentTarget::Sequence(name) => format!("SEQUENCE {}", sql::name(name)),
        CommentTarget::Statistics(name) => format!("STATISTICS {}", sql::name(name)),
    }
}
