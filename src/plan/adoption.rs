//! What of the work that was done for one plan holds for another. Plans are compared by what they do, never by their text.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::drift::explain_drift;
use crate::catalog::{Column, Ident, Index, QualifiedName, ReplicaIdentity, Sequence, Table};
use crate::plan::taken_back::{owners, taken_back};
use crate::plan::{CommentTarget, CreateSequence, End, Op, Plan, Step, StepId};
use crate::projection::{CopyOrder, Projection, RowIdentity};
use crate::sql;

/// Why a run cannot go on under another plan. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAdoptable {
    /// The plans are for different databases.
    #[error("the new plan is for another {0}: {1}")]
    Server(End, String),
    /// The slot or the publication has another name.
    #[error("the {what} is {after} in the new plan, and the run has {before}")]
    Name {
        /// `replication slot` or `publication`.
        what: &'static str,
        /// In the plan of the run.
        before: Ident,
        /// In the new plan.
        after: Ident,
    },
    /// Values would be read or written in another form.
    #[error("the session settings are not those of the run: {0}")]
    Session(String),
    /// Not the same tables.
    #[error("the new plan does not migrate the same tables: {0}")]
    Tables(String),
    /// A table whose rows were, or are to be, read under the slot's snapshot.
    #[error(
        "{table} would have to be copied again ({why}), and it is copied whole under the snapshot of the slot, which is gone; \
         if only the order differs, `copy: by_key` for it keeps the rows"
    )]
    CopiedWhole {
        /// Target table.
        table: QualifiedName,
        /// What differs.
        why: String,
    },
    /// The source may not be the writer any more.
    #[error("a cutover has begun: its state is {0}")]
    Cutover(String),
    /// Somebody else's foreign key keeps a table of the run from being dropped.
    #[error(
        "{table} would have to be copied again, and the foreign key {constraint}, which this run did not create, refers to it"
    )]
    Reference {
        /// Target table.
        table: QualifiedName,
        /// `table.constraint`.
        constraint: String,
    },
    /// Somebody else's foreign key keeps a key of the target from being taken back.
    #[error(
        "the new plan has a key of {table} otherwise, and the foreign key {constraint}, which this run did not create, needs it"
    )]
    ReferenceToKey {
        /// Target table.
        table: QualifiedName,
        /// `table.constraint`.
        constraint: String,
    },
    /// What somebody else has put on a table of the target would go with it.
    #[error(
        "a table of the target would be dropped and created otherwise, and what this run did not make on it would be lost: {0}"
    )]
    WouldLose(String),
    /// The server has no room for the locks of all tables that start again.
    #[error(
        "{tables} tables start again in one transaction, and the {end} has no room for its locks: \
         max_locks_per_transaction is {max} there"
    )]
    Locks {
        /// Which end.
        end: End,
        /// Tables that start again.
        tables: usize,
        /// The setting.
        max: String,
    },
    /// There is no such run.
    #[error("plan {0} is not under way on this target")]
    NotRunning(String),
}

/// Compares what must be the same before anything else counts.
///
/// # Errors
/// The first difference.
pub fn check(before: &Plan, after: &Plan) -> Result<(), NotAdoptable> {
    for (end, old, new) in [
        (End::Source, &before.source.server, &after.source.server),
        (End::Target, &before.target.server, &after.target.server),
    ] {
        if old.system_identifier != new.system_identifier {
            let text = format!("its system identifier is {}, not {}", new.system_identifier, old.system_identifier);
            return Err(NotAdoptable::Server(end, text));
        }
        if (&old.database, old.database_oid) != (&new.database, new.database_oid) {
            let text = format!(
                "the database is {} (oid {}), not {} (oid {})",
                new.database, new.database_oid, old.database, old.database_oid
            );
            return Err(NotAdoptable::Server(end, text));
        }
    }
    let (old, new) = (&before.settings, &after.settings);
    for (what, before, after) in
        [("replication slot", &old.slot, &new.slot), ("publication", &old.publication, &new.publication)]
    {
        if before != after {
            return Err(NotAdoptable::Name { what, before: before.clone(), after: after.clone() });
        }
    }
    if let Some((name, _)) =
        old.session.iter().chain(&new.session).find(|(name, _)| old.session.get(*name) != new.session.get(*name))
    {
        return Err(NotAdoptable::Session(name.clone()));
    }
    let (old, new) = (pairs(before), pairs(after));
    let said = |word: &str, list: Vec<&(&QualifiedName, &QualifiedName)>| {
        let names: Vec<String> = list.iter().map(|(source, target)| format!("{source} to {target}")).collect();
        if names.is_empty() { None } else { Some(format!("{word} {}", names.join(", "))) }
    };
    let parts = [said("without", old.difference(&new).collect()), said("with", new.difference(&old).collect())];
    let parts: Vec<String> = parts.into_iter().flatten().collect();
    if parts.is_empty() { Ok(()) } else { Err(NotAdoptable::Tables(parts.join(", "))) }
}

fn pairs(plan: &Plan) -> BTreeSet<(&QualifiedName, &QualifiedName)> {
    plan.projections.iter().map(|projection| (&projection.source, &projection.target)).collect()
}

/// Target tables whose rows must be copied again, each with the reason: those that differ in what makes or finds their rows,
/// those of a source table in `broken`, and those that share a source or a sequence with one of them. Both plans migrate the
/// same tables.
pub fn restarted(
    before: &Plan,
    after: &Plan,
    broken: &BTreeMap<QualifiedName, String>,
) -> BTreeMap<QualifiedName, String> {
    let mut found = BTreeMap::new();
    for target in after.targets() {
        if let Some(why) = difference(before, after, target, broken) {
            found.insert(target.clone(), why);
        }
    }
    let groups = groups(before).into_iter().chain(groups(after)).collect::<Vec<_>>();
    loop {
        let touched = groups.iter().find_map(|group| {
            let cause = group.iter().find(|target| found.contains_key(**target))?;
            let other = group.iter().find(|target| !found.contains_key(**target))?;
            Some(((*other).clone(), format!("it belongs together with {cause}")))
        });
        let Some((target, why)) = touched else { return found };
        found.insert(target, why);
    }
}

/// Targets that can only be made together.
fn groups(plan: &Plan) -> Vec<BTreeSet<&QualifiedName>> {
    let of_source = plan.sources().into_iter().map(|source| {
        plan.projections.iter().filter(|projection| &projection.source == source).map(|one| &one.target).collect()
    });
    of_source.chain(of_sequences(plan)).collect()
}

fn of_sequences(plan: &Plan) -> impl Iterator<Item = BTreeSet<&QualifiedName>> {
    plan.steps.iter().filter_map(|step| match &step.op {
        Op::CreateSequence(create) => Some(tables_of(create).collect()),
        _ => None,
    })
}

pub(super) fn tables_of(create: &CreateSequence) -> impl Iterator<Item = &QualifiedName> {
    create.sequence.used_by.iter().chain(&create.sequence.owned_by).map(|at| &at.table)
}

/// Why rows that were copied by one plan are not those that the other would copy.
fn difference(
    before: &Plan,
    after: &Plan,
    target: &QualifiedName,
    broken: &BTreeMap<QualifiedName, String>,
) -> Option<String> {
    for new in after.onto(target) {
        let source = &new.source;
        let old = before.onto(target).find(|old| &old.source == source)?;
        let shapes = [before, after].map(|plan| plan.source.tables.get(source).map(|table| of_rows(table)));
        if let [Some(old), Some(new)] = &shapes
            && let drift = explain_drift(old, new).into_iter().filter(|drift| drift.attribute != "owner")
            && let drift = drift.map(|drift| drift.to_string()).collect::<Vec<_>>()
            && !drift.is_empty()
        {
            return Some(format!("{source} on the source: {}", drift.join("; ")));
        }
        if let Some(why) = broken.get(source) {
            return Some(format!("{source} on the source: {why}"));
        }
        if without_reason(old) != without_reason(new) {
            return Some(format!("its rows are made otherwise: {}", changed(old, new)));
        }
    }
    let (old, new) = (made(before, target), made(after, target));
    let same = old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| is_same(old, new));
    (!same).then(|| "it is created otherwise on the target".to_owned())
}

/// Why it is copied in its order makes no other rows, nor does what is compared besides.
fn without_reason(projection: &Projection) -> Projection {
    let mut projection = projection.clone();
    projection.computed.clear();
    if let RowIdentity::OrderedKey { copy: CopyOrder::ByBlocks { reason }, .. } = &mut projection.identity {
        reason.clear();
    }
    projection
}

/// True when both do the same: owner, grants and comment of the source's sequence are in an op and in no statement of it.
fn is_same(old: &Op, new: &Op) -> bool {
    let mut old = old.clone();
    let carry = |old: &mut Sequence, new: &Sequence| {
        old.owner.clone_from(&new.owner);
        old.grants.clone_from(&new.grants);
        old.comment.clone_from(&new.comment);
    };
    match (&mut old, new) {
        (Op::CreateSequence(old), Op::CreateSequence(new)) => carry(&mut old.sequence, &new.sequence),
        (Op::CreateTable(old), Op::CreateTable(new)) => {
            for (column, sequence) in &mut old.identities {
                if let Some(other) = new.identities.get(column) {
                    carry(sequence, other);
                }
            }
            // What ANALYZE is told changes no row.
            for column in &mut old.columns {
                if let Some(other) = new.columns.iter().find(|other| other.name == column.name) {
                    column.statistics_target = other.statistics_target;
                    column.options.clone_from(&other.options);
                }
            }
            // What came since is created beside those that are there.
            if let (Some(was), Some(is)) = (&mut old.partitioning, &new.partitioning)
                && was.grew_into(is)
            {
                was.clone_from(is);
            }
        }
        _ => {}
    }
    &old == new
}

/// What of a source table decides about its rows and how they are found in the stream.
fn of_rows(table: &Table) -> Table {
    let plain = |column: &Column| Column { default: None, ..column.of_rows() };
    let identity = match &table.replica_identity {
        ReplicaIdentity::Index(name) => table.indexes.get_key_value(name),
        _ => None,
    };
    let indexes: BTreeMap<Ident, Index> =
        identity.into_iter().map(|(name, index)| (name.clone(), Index { clustered: false, ..index.clone() })).collect();
    Table {
        columns: table.columns.iter().map(plain).collect(),
        indexes,
        statistics: BTreeMap::new(),
        constraints: BTreeMap::new(),
        triggers: BTreeMap::new(),
        policies: BTreeMap::new(),
        reloptions: Vec::new(),
        grants: Vec::new(),
        comment: None,
        ..table.structure()
    }
}

fn changed(old: &Projection, new: &Projection) -> String {
    let mut parts = Vec::new();
    for column in &new.columns {
        match old.columns.iter().find(|one| one.target == column.target) {
            None => parts.push(format!("column {} is new", column.target)),
            Some(one) if one != column => parts.push(format!("column {} differs", column.target)),
            Some(_) => {}
        }
    }
    let gone = old.columns.iter().filter(|column| !new.columns.iter().any(|one| one.target == column.target));
    parts.extend(gone.map(|column| format!("column {} is gone", column.target)));
    if old.filter != new.filter {
        parts.push("its filter differs".to_owned());
    }
    if old.identity != new.identity {
        parts.push("its key, or the order in which it is copied, differs".to_owned());
    }
    if parts.is_empty() { "its columns differ".to_owned() } else { parts.join(", ") }
}

/// What stands before the first row is copied.
fn made<'p>(plan: &'p Plan, target: &QualifiedName) -> Vec<&'p Op> {
    let is_of = |op: &&Op| match op {
        Op::CreateTable(_) | Op::FreezeDefaults(_) => op.table() == Some(target),
        Op::CreateSequence(create) => tables_of(create).any(|table| table == target),
        _ => op.builds_key() && op.table() == Some(target),
    };
    plan.steps.iter().map(|step| &step.op).filter(is_of).collect()
}

/// What becomes of the steps that the earlier plan has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Steps {
    /// The new plan finds them done.
    pub kept: BTreeSet<StepId>,
    /// Statements that take back what the new plan does otherwise, in order: foreign keys before what they refer to, objects
    /// of tables that stay, then the tables that are created anew.
    pub undo: Vec<String>,
    /// Tables that are dropped, to be created anew.
    pub dropped: BTreeSet<QualifiedName>,
    /// Tables that start again as they are, without their rows.
    pub emptied: BTreeSet<QualifiedName>,
}

/// The earlier plan's steps that were begun, and those of them that are done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recorded {
    /// Begun, whatever became of them.
    pub begun: BTreeSet<StepId>,
    /// Done.
    pub done: BTreeSet<StepId>,
}

/// Tables that are copied again.
#[derive(Debug, Clone, Copy)]
pub struct Again<'a> {
    /// All of them.
    pub tables: &'a BTreeSet<QualifiedName>,
    /// Those that have become others than the earlier plan created.
    pub altered: &'a BTreeSet<QualifiedName>,
}

/// Indexes and constraints that the new plan has otherwise, or not at all.
pub fn gone<'p>(before: &'p Plan, after: &Plan) -> BTreeSet<(&'p QualifiedName, &'p Ident)> {
    let planned: BTreeMap<&StepId, &Op> = after.steps.iter().map(|step| (&step.id, &step.op)).collect();
    let is_gone = |step: &&'p Step| match &step.op {
        Op::ValidateConstraint(_) => !planned.contains_key(&step.id),
        op => planned.get(&step.id).is_none_or(|new| !is_same(op, new)),
    };
    let name = |step: &'p Step| match &step.op {
        Op::CreateIndex(op) => Some((&op.table, &op.name)),
        Op::AddConstraint(op) => Some((&op.table, &op.name)),
        Op::ValidateConstraint(op) => Some((&op.table, &op.name)),
        _ => None,
    };
    before.steps.iter().filter(is_gone).filter_map(name).collect()
}

/// Decides about what was begun. `references` are foreign keys to tables that are copied again, and to keys that are gone.
pub fn steps(
    before: &Plan,
    after: &Plan,
    again: Again<'_>,
    references: &BTreeSet<(QualifiedName, Ident)>,
    recorded: &Recorded,
) -> Steps {
    let planned: BTreeMap<&StepId, &Op> = after.steps.iter().map(|step| (&step.id, &step.op)).collect();
    let mut gone = gone(before, after);
    gone.extend(references.iter().map(|(table, name)| (table, name)));
    let is_gone = |op: &Op| match op {
        Op::CreateIndex(op) => gone.contains(&(&op.table, &op.name)),
        Op::AddConstraint(op) => gone.contains(&(&op.table, &op.name)),
        Op::ValidateConstraint(op) => gone.contains(&(&op.table, &op.name)),
        Op::ClusterOn(op) => gone.contains(&(&op.table, &op.index)),
        Op::SetReplicaIdentity(op) => match &op.identity {
            ReplicaIdentity::Index(index) => gone.contains(&(&op.table, index)),
            _ => false,
        },
        Op::SetComment(op) => match &op.on {
            CommentTarget::Constraint(at) => gone.contains(&(&at.table, &at.column)),
            CommentTarget::Index(name) => {
                gone.iter().any(|(table, index)| table.schema == name.schema && **index == name.name)
            }
            CommentTarget::Statistics(name) => {
                let made = |step: &Step| matches!(&step.op, Op::CreateStatistics(op) if &op.name == name);
                let pair = [before, after].map(|plan| plan.steps.iter().find(|step| made(step)).map(|step| &step.op));
                pair[0] != pair[1]
            }
            _ => false,
        },
        _ => false,
    };
    let mut steps = Steps { emptied: emptied(before, after, again, recorded), ..Steps::default() };
    let is_again = |op: &Op| owners(before, op).into_iter().any(|table| again.tables.contains(table));
    let emptied = &steps.emptied;
    let is_anew =
        |op: &Op| owners(before, op).into_iter().any(|table| again.tables.contains(table) && !emptied.contains(table));
    let stands = |op: &Op| is_ground(op) && !is_anew(op);
    for step in before.steps.iter().filter(|step| recorded.begun.contains(&step.id)) {
        // What they read may be made anew; they have no rows of their own.
        if matches!(step.op, Op::CreateView(_)) {
            continue;
        }
        let same = planned.get(&step.id).is_some_and(|new| is_same(&step.op, new));
        if same && !is_gone(&step.op) && (!is_again(&step.op) || stands(&step.op)) {
            steps.kept.insert(step.id.clone());
        }
    }
    let (mut sequences, mut types) = (Vec::new(), Vec::new());
    for step in before.steps.iter().rev() {
        // What is there without a record of its end is not ours.
        let is_done = recorded.done.contains(&step.id);
        match &step.op {
            _ if !recorded.begun.contains(&step.id) || steps.kept.contains(&step.id) => {}
            Op::CreateTable(op) if is_done && is_anew(&step.op) => _ = steps.dropped.insert(op.name.clone()),
            Op::CreateSequence(op) if is_done && is_anew(&step.op) => sequences.push(sql::name(&op.name)),
            Op::CreateType(op) if is_done => types.push(sql::ddl_type::drop_unless_used(&op.name, &op.def)),
            // What they refer to may stay.
            Op::AddConstraint(op) if op.definition.starts_with("FOREIGN KEY") => {
                steps.undo.extend(taken_back(&step.op));
            }
            op if !is_anew(op) => steps.undo.extend(taken_back(op)),
            _ => {}
        }
    }
    if !steps.dropped.is_empty() {
        // Together: they may refer to one another. No CASCADE: what of others depends on them refuses it.
        let names: Vec<String> = steps.dropped.iter().map(sql::name).collect();
        steps.undo.push(format!("DROP TABLE IF EXISTS {}", names.join(", ")));
    }
    if !sequences.is_empty() {
        steps.undo.push(format!("DROP SEQUENCE IF EXISTS {}", sequences.join(", ")));
    }
    steps.undo.extend(types);
    steps
}

/// What a table without rows consists of.
fn is_ground(op: &Op) -> bool {
    matches!(op, Op::CreateTable(_) | Op::CreateSequence(_)) || op.builds_key()
}

/// Tables that both plans create alike need not be created anew, unless they share a sequence with one that must.
fn emptied(before: &Plan, after: &Plan, again: Again<'_>, recorded: &Recorded) -> BTreeSet<QualifiedName> {
    let stands = |target: &&QualifiedName| {
        let (old, new) = (ground(before, target), ground(after, target));
        let same = old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| is_same(old, new));
        same && old.iter().all(|op| recorded.done.contains(&op.id())) && !again.altered.contains(*target)
    };
    let mut emptied: BTreeSet<QualifiedName> = again.tables.iter().filter(stands).cloned().collect();
    let groups: Vec<_> = of_sequences(before).chain(of_sequences(after)).collect();
    loop {
        let is_torn = |group: &&BTreeSet<&QualifiedName>| {
            let n_emptied = group.iter().filter(|target| emptied.contains(**target)).count();
            n_emptied > 0 && n_emptied < group.len()
        };
        let Some(torn) = groups.iter().find(is_torn) else { return emptied };
        emptied.retain(|target| !torn.contains(target));
    }
}

fn ground<'p>(plan: &'p Plan, target: &QualifiedName) -> Vec<&'p Op> {
    made(plan, target).into_iter().filter(|op| is_ground(op)).collect()
}
