//! What the statements of a step may be: parsed by grammar/plan.pest, and what they name compared with the step. A
//! statement is free text where PostgreSQL's own is (expressions, types, constraints, indexes); nothing may hide there.

use crate::catalog::{Column, ColumnRef, GrantTarget, Ident, OwnerTarget, PartitionBy, QualifiedName, Right, TypeDef};
use crate::plan::rename::names_back;
use crate::plan::shape_grammar::{Rule, ShapeError, parts};
use crate::plan::shape_policy;
use crate::plan::shape_statistics;
use crate::plan::shape_trigger;
use crate::plan::shape_type;
use crate::plan::shape_view;
use crate::plan::statements::via_root;
use crate::plan::{AddConstraint, CommentTarget, CreateTable, End, Grant, Op, Plan, Renamed, Statement, Step};
use crate::projection::{ColumnValue, CopyFormat, Projection};
use crate::sql::ddl_type::{QUOTED, create_type, word};
use crate::sql::{ddl, ident, literal, name, publication};

/// A statement that is none of those that its step may run.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum MisshapenError {
    /// More or fewer statements than the step runs.
    #[error("it has {found} statements, and a step of its kind has {expected}")]
    Number {
        /// In the plan.
        found: usize,
        /// By its op.
        expected: usize,
    },
    /// On the other end.
    #[error("a statement runs on the {0}, where a step of its kind has no such statement: {1}")]
    End(End, String),
    /// Not one statement of that shape.
    #[error("a statement is not the one that a step of its kind runs: {why}: {sql}")]
    Shape {
        /// What does not fit.
        why: ShapeError,
        /// The statement, cut.
        sql: String,
    },
    /// It names or says something else than the step.
    #[error("a statement says {found} where the step has {expected}: {sql}")]
    Says {
        /// In the statement.
        found: String,
        /// In the op.
        expected: String,
        /// The statement, cut.
        sql: String,
    },
}

/// A statement as a step may have it.
pub(super) struct Shape {
    on: End,
    rule: Rule,
    /// What the rule's marked parts must say, in the order of the text.
    says: Vec<String>,
}

/// Compares the statements of a step, and those that undo it, with what its op may run.
///
/// # Errors
/// The first statement that is something else.
pub fn check_shapes(step: &Step, plan: &Plan) -> Result<(), MisshapenError> {
    all(&step.statements, &shapes(&step.op, plan))?;
    all(&step.revert, &reverts(&step.op))
}

/// Compares the statements that create a type with what they may be, before there is a plan.
///
/// # Errors
/// A part of the type that is more than it should be.
pub fn check_new_type(type_name: &QualifiedName, def: &TypeDef) -> Result<(), MisshapenError> {
    let statements = create_type(type_name, def, QUOTED).into_iter().map(|sql| Statement { on: End::Target, sql });
    all(&statements.collect::<Vec<_>>(), &shape_type::new_type(type_name, def))
}

fn all(statements: &[Statement], shapes: &[Shape]) -> Result<(), MisshapenError> {
    if statements.len() != shapes.len() {
        return Err(MisshapenError::Number { found: statements.len(), expected: shapes.len() });
    }
    statements.iter().zip(shapes).try_for_each(|(statement, shape)| one(statement, shape))
}

fn one(statement: &Statement, shape: &Shape) -> Result<(), MisshapenError> {
    let sql = || shortened(&statement.sql);
    if statement.on != shape.on {
        return Err(MisshapenError::End(statement.on, sql()));
    }
    let found = parts(shape.rule, &statement.sql).map_err(|why| MisshapenError::Shape { why, sql: sql() })?;
    let nothing = "nothing";
    for place in 0..found.len().max(shape.says.len()) {
        let found = found.get(place).copied().unwrap_or(nothing);
        let expected = shape.says.get(place).map_or(nothing, |text| text.trim());
        if found != expected {
            let (found, expected) = (shortened(found), shortened(expected));
            return Err(MisshapenError::Says { found, expected, sql: sql() });
        }
    }
    Ok(())
}

fn shortened(text: &str) -> String {
    const CHARS_MAX: usize = 200;
    match text.char_indices().nth(CHARS_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

fn source(rule: Rule, says: Vec<String>) -> Shape {
    Shape { on: End::Source, rule, says }
}

pub(super) fn target(rule: Rule, says: Vec<String>) -> Shape {
    Shape { on: End::Target, rule, says }
}

fn shapes(op: &Op, plan: &Plan) -> Vec<Shape> {
    let major = plan.source.server.major();
    match op {
        Op::CreateLedger(_) => vec![target(Rule::create_schema, vec![PCRD.to_owned()])],
        Op::GuardTruncate(op) => guard(&op.tables, plan),
        Op::CreatePublication(op) => {
            let mut says = published(&op.publication, &op.tables, major);
            says.extend(via_root(&op.tables, plan).then(|| "publish_via_partition_root = true".to_owned()));
            vec![source(Rule::create_publication, says)]
        }
        Op::CreateSlot(op) => {
            let partitioned = plan.partitioned();
            let lock = |table: &QualifiedName| {
                source(Rule::lock_for_reading, own_rows(table, partitioned.contains(table)).collect())
            };
            let locks = plan.sources().into_iter().map(lock);
            locks.chain([source(Rule::create_slot, vec![ident(&op.slot)])]).collect()
        }
        Op::CreateSchema(op) => {
            let rule = if op.must_be_new { Rule::create_new_schema } else { Rule::create_schema };
            vec![target(rule, vec![ident(&op.schema)])]
        }
        Op::CreateType(op) => shape_type::new_type(&op.name, &op.def),
        Op::CreateTable(op) => new_table(op),
        Op::CreateSequence(op) => {
            let mut says = vec![name(&op.name), op.sequence.ty.clone()];
            says.extend(sequence(&op.sequence));
            says.extend(op.sequence.owned_by.as_ref().map(ddl::column));
            vec![target(Rule::create_sequence, says)]
        }
        Op::FreezeDefaults(op) => {
            let frozen = |column: &crate::plan::FrozenColumn| {
                [format!("({})", column.default), column.ty.clone(), ident(&column.column)]
            };
            vec![target(Rule::freeze, op.columns.iter().flat_map(frozen).collect())]
        }
        Op::CopyTable(op) => plan.onto(&op.table).flat_map(copy).collect(),
        Op::StreamChanges(op) => {
            let says = vec![ident(&op.slot), literal(&ident(&op.publication))];
            vec![source(Rule::start_replication, says)]
        }
        Op::CreateIndex(op) => vec![target(Rule::new_index, vec![ident(&op.name), name(&op.table)])],
        Op::CreateStatistics(op) => shape_statistics::new_statistics(op),
        Op::CreateView(op) => shape_view::new_view(op),
        Op::ClusterOn(op) => vec![target(Rule::set_cluster, vec![name(&op.table), ident(&op.index)])],
        Op::SetReplicaIdentity(op) => {
            vec![target(Rule::replica_identity_of, vec![name(&op.table), ddl::identity_words(&op.identity)])]
        }
        Op::AddConstraint(op) => vec![target(Rule::new_constraint, constraint(op))],
        Op::ValidateConstraint(op) => vec![target(Rule::validate, vec![name(&op.table), ident(&op.name)])],
        Op::SetComment(op) => {
            let mut says = match &op.on {
                CommentTarget::Table(on)
                | CommentTarget::Index(on)
                | CommentTarget::Sequence(on)
                | CommentTarget::Statistics(on) => vec![name(on)],
                CommentTarget::Column(at) => vec![ddl::column(at)],
                CommentTarget::Constraint(at) => vec![ident(&at.column), name(&at.table)],
            };
            says.push(literal(&op.text));
            vec![target(Rule::comment_on, says)]
        }
        Op::AnalyzeTable(op) => {
            let rule = if op.freeze { Rule::vacuum } else { Rule::analyze };
            vec![target(rule, vec![name(&op.table)])]
        }
        Op::VerifyTable(_) | Op::Drain(_) | Op::VerifyFinal(_) => Vec::new(),
        Op::CreateFunction(op) => vec![shape_trigger::new_function(op)],
        Op::CreateTrigger(op) => shape_trigger::new_trigger(op),
        Op::CreatePolicy(op) => vec![shape_policy::new_policy(op)],
        Op::SetRowSecurity(op) => shape_policy::row_security(op),
        Op::SetOwner(op) => {
            let on = match &op.on {
                OwnerTarget::Schema(schema) => ident(schema),
                OwnerTarget::Table(on) | OwnerTarget::Sequence(on) => name(on),
            };
            let all = [on].into_iter().chain(op.partitions.iter().map(name));
            all.map(|on| target(Rule::set_owner, vec![on, ident(&op.owner)])).collect()
        }
        Op::Grant(op) => {
            let some = [(&op.rights, false), (&op.grantable, true)].into_iter().filter(|(list, _)| !list.is_empty());
            some.map(|(list, grantable)| target(Rule::grant_on, grant(op, list, grantable))).collect()
        }
        Op::Fence(op) => fence(&op.tables, plan),
        Op::SetSequence(op) => vec![target(Rule::setval, vec![literal(&name(&op.target))])],
        Op::SetDefault(op) => {
            let [table, column] = column(&op.column);
            vec![target(Rule::new_default, vec![table, column, op.default.clone()])]
        }
        Op::Switch(_) => vec![source(Rule::make_permanent, Vec::new())],
        Op::RenameSource(op) => {
            let says = |table: &Renamed| vec![name(&table.from), ident(&table.to)];
            op.tables.iter().map(|table| source(Rule::rename_table, says(table))).collect()
        }
        Op::PublishBack(op) => {
            let says = published(&op.publication, &op.tables, plan.target.server.major());
            vec![target(Rule::create_publication, says)]
        }
        Op::CreateBackSlot(op) => vec![target(Rule::create_slot_now, vec![literal(op.slot.as_str())])],
        Op::ProbeBack(_) => vec![target(Rule::probe, Vec::new())],
        Op::ArmBack(op) => vec![target(Rule::advance_slot, vec![literal(op.slot.as_str())])],
        Op::StreamBack(op) => {
            vec![target(Rule::start_replication, vec![ident(&op.slot), literal(&ident(&op.publication))])]
        }
        Op::DropBackSlot(op) => vec![target(Rule::drop_slot, vec![literal(op.slot.as_str())])],
        Op::DropBackPublication(op) => vec![target(Rule::drop_publication, vec![ident(&op.publication)])],
        Op::DropSlot(op) => vec![source(Rule::drop_slot, vec![literal(op.slot.as_str())])],
        Op::DropPublication(op) => vec![source(Rule::drop_publication, vec![ident(&op.publication)])],
        Op::DropFence(op) => {
            let says = |table: &Renamed| vec![name(&table.renamed()), ident(&table.from.name)];
            let back = names_back(&plan.settings, &op.tables);
            let back = back.iter().map(|table| source(Rule::rename_table, says(table)));
            let triggers = drop_triggers(FENCE, &op.tables).into_iter().chain(drop_triggers(GUARD, &op.tables));
            back.chain(triggers).chain((0..4).map(|_| source(Rule::drop_of_pcrd, Vec::new()))).collect()
        }
    }
}

fn reverts(op: &Op) -> Vec<Shape> {
    match op {
        Op::GuardTruncate(op) => drop_triggers(GUARD, &op.tables),
        Op::CreatePublication(op) => vec![source(Rule::drop_publication, vec![ident(&op.publication)])],
        Op::CreateSlot(op) => vec![source(Rule::drop_slot, vec![literal(op.slot.as_str())])],
        Op::PublishBack(op) => vec![target(Rule::drop_publication, vec![ident(&op.publication)])],
        Op::CreateBackSlot(op) => vec![target(Rule::drop_slot, vec![literal(op.slot.as_str())])],
        Op::CreateType(op) => dropped(word(&op.def), name(&op.name)),
        Op::CreateSequence(op) => dropped("SEQUENCE", name(&op.name)),
        Op::CreateTable(op) => dropped("TABLE", name(&op.name)),
        Op::AddConstraint(op) => vec![target(Rule::drop_constraint, vec![name(&op.table), ident(&op.name)])],
        Op::CreateIndex(op) => {
            let index = QualifiedName { schema: op.table.schema.clone(), name: op.name.clone() };
            dropped("INDEX", name(&index))
        }
        Op::CreateStatistics(op) => dropped("STATISTICS", name(&op.name)),
        Op::CreateView(op) => shape_view::dropped_view(op),
        Op::Fence(op) => drop_triggers(FENCE, &op.tables),
        Op::SetDefault(op) => vec![target(Rule::drop_default, column(&op.column).to_vec())],
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

const PCRD: &str = "\"pcrd\"";
const FENCE: &str = "\"pcrd_fence\"";
const GUARD: &str = "\"pcrd_no_truncate\"";

fn column(at: &ColumnRef) -> [String; 2] {
    [name(&at.table), ident(&at.column)]
}

fn drop_triggers(trigger: &str, tables: &[QualifiedName]) -> Vec<Shape> {
    tables.iter().map(|table| source(Rule::drop_trigger, vec![trigger.to_owned(), name(table)])).collect()
}

/// A table that is read or locked: by itself, unless it is partitioned.
fn own_rows(table: &QualifiedName, partitioned: bool) -> impl Iterator<Item = String> {
    (!partitioned).then(|| "ONLY".to_owned()).into_iter().chain([name(table)])
}

fn published(publication: &Ident, tables: &[QualifiedName], major: u32) -> Vec<String> {
    let kinds = if major >= publication::TRUNCATE_SINCE {
        "'insert, update, delete, truncate'"
    } else {
        "'insert, update, delete'"
    };
    [ident(publication)].into_iter().chain(tables.iter().map(name)).chain([kinds.to_owned()]).collect()
}

fn dropped(word: &str, name: String) -> Vec<Shape> {
    vec![target(Rule::drop_object, vec![word.to_owned(), name])]
}

/// Per table: the trigger, and that it fires for every session but those of the role that passes.
fn triggers<'a>(
    rule: Rule,
    trigger: &'a str,
    tables: &'a [QualifiedName],
    (plan, passes): (&'a Plan, Option<&'a Ident>),
) -> impl Iterator<Item = Shape> + 'a {
    let partitioned = plan.partitioned();
    tables.iter().flat_map(move |table| {
        // ONLY for those that the others are read without.
        let says = own_rows(table, !partitioned.contains(table)).chain([trigger.to_owned()]);
        let enable = source(Rule::enable_trigger, says.collect());
        let passes = passes.map(|role| literal(role.as_str()));
        [source(rule, [name(table)].into_iter().chain(passes).collect()), enable]
    })
}

fn guard(tables: &[QualifiedName], plan: &Plan) -> Vec<Shape> {
    let schema = source(Rule::create_schema, vec![PCRD.to_owned()]);
    let function = source(Rule::pcrd_function, vec!["\"pcrd\".\"refuse_truncate\"".to_owned()]);
    [schema, function].into_iter().chain(triggers(Rule::guard_trigger, GUARD, tables, (plan, None))).collect()
}

fn fence(tables: &[QualifiedName], plan: &Plan) -> Vec<Shape> {
    let partitioned = plan.partitioned();
    let locked = tables.iter().flat_map(|table| own_rows(table, partitioned.contains(table))).collect();
    let prepare = [
        source(Rule::create_schema, vec![PCRD.to_owned()]),
        source(Rule::fence_table, Vec::new()),
        source(Rule::pcrd_function, vec!["\"pcrd\".\"fence\"".to_owned()]),
        source(Rule::lock_for_fence, locked),
        source(Rule::lease, Vec::new()),
    ];
    let has_messages = plan.source.server.major() >= publication::MESSAGES_SINCE;
    let sentinel = has_messages.then(|| source(Rule::sentinel, Vec::new()));
    let cutover = &plan.settings.cutover;
    let triggers = triggers(Rule::fence_trigger, FENCE, tables, (plan, cutover.passes()));
    let triggers = triggers.filter(|_| cutover.fence.refuses());
    prepare.into_iter().chain(triggers).chain(sentinel).collect()
}

fn new_table(op: &CreateTable) -> Vec<Shape> {
    let mut says = vec![name(&op.name)];
    says.extend(op.columns.iter().flat_map(|column| new_column(op, column)));
    if let Some(key) = &op.key {
        says.push(ident(&key.name));
        says.extend(key.columns.iter().chain(&key.include).map(ident));
    }
    says.extend(op.partitioning.iter().flat_map(|whole| split_by(&whole.by)));
    let settings = |column: &Column| {
        let says = |what: Option<String>| [name(&op.name), ident(&column.name)].into_iter().chain(what).collect();
        let storage = column.storage.map(|storage| ddl::storage_word(storage).to_owned());
        let statistics = column.statistics_target.map(|target| target.to_string());
        let shapes = [
            storage.map(|word| target(Rule::column_storage, says(Some(word)))),
            statistics.map(|number| target(Rule::column_statistics, says(Some(number)))),
            (!column.options.is_empty()).then(|| target(Rule::column_options, says(None))),
        ];
        shapes.into_iter().flatten().collect::<Vec<_>>()
    };
    let partitions = op.partitioning.iter().flat_map(|whole| &whole.partitions).map(|one| {
        let mut says = vec![name(&one.name), name(&one.of), one.bound.clone()];
        says.extend(one.by.iter().flat_map(split_by));
        target(Rule::new_partition, says)
    });
    let settings = op.columns.iter().flat_map(settings);
    [target(Rule::new_table, says)].into_iter().chain(settings).chain(partitions).collect()
}

fn split_by(by: &PartitionBy) -> Vec<String> {
    [by.method.word().to_owned()].into_iter().chain(by.columns.iter().map(ident)).collect()
}

fn new_column(op: &CreateTable, column: &Column) -> Vec<String> {
    let mut says = vec![ident(&column.name), column.ty.sql.clone()];
    says.extend(column.compression.map(|compression| {
        let word = match compression {
            crate::catalog::Compression::Pglz => "pglz",
            crate::catalog::Compression::Lz4 => "lz4",
        };
        word.to_owned()
    }));
    says.extend(column.collation.as_deref().map(name));
    says.extend(column.not_null.then(|| "NOT NULL".to_owned()));
    says.extend(column.default.clone());
    if let Some(generated) = &column.generated {
        says.push(format!("({})", generated.expr));
        says.push(if generated.stored { "STORED" } else { "VIRTUAL" }.to_owned());
    }
    if let Some(identity) = &column.identity {
        says.push(if identity.always { "ALWAYS" } else { "BY DEFAULT" }.to_owned());
        says.push(name(&identity.sequence));
        says.extend(op.identities.get(&column.name).into_iter().flat_map(sequence));
    }
    says
}

fn sequence(sequence: &crate::catalog::Sequence) -> Vec<String> {
    let numbers = [sequence.start, sequence.increment, sequence.min, sequence.max, sequence.cache];
    let flag = if sequence.cycle { "CYCLE" } else { "NO CYCLE" };
    numbers.iter().map(ToString::to_string).chain([flag.to_owned()]).collect()
}

fn grant(op: &Grant, rights: &[Right], grantable: bool) -> Vec<String> {
    let (on, column) = match &op.on {
        GrantTarget::Schema(schema) => (ident(schema), None),
        GrantTarget::Table(on) | GrantTarget::Sequence(on) => (name(on), None),
        GrantTarget::Column(at) => (name(&at.table), Some(ident(&at.column))),
    };
    let mut says = Vec::new();
    for right in rights {
        says.push(right.word().to_owned());
        says.extend(column.clone());
    }
    says.push(on);
    says.push(op.to.as_ref().map_or_else(|| "PUBLIC".to_owned(), ident));
    says.extend(grantable.then(|| "WITH GRANT OPTION".to_owned()));
    says
}

fn constraint(op: &AddConstraint) -> Vec<String> {
    let mut says = vec![name(&op.table), ident(&op.name)];
    says.extend(op.not_valid.then(|| "NOT VALID".to_owned()));
    says
}

fn copy(projection: &Projection) -> Vec<Shape> {
    let format = match projection.format {
        CopyFormat::Binary => "binary",
        CopyFormat::Text => "text",
    };
    let value = |column: &crate::projection::ProjectedColumn| {
        let value = match &column.value {
            ColumnValue::Expr { sql, .. } => sql.clone(),
            ColumnValue::Frozen { .. } => format!("CAST($frozen.{} AS {})", ident(&column.target), column.ty.sql),
        };
        [value, ident(&column.target)]
    };
    let mut out: Vec<String> = projection.columns.iter().flat_map(value).collect();
    out.extend(own_rows(&projection.source, projection.partitioned));
    if projection.is_copied_by_key() {
        let key: Vec<String> = projection.source_key().into_iter().map(ident).collect();
        out.extend(key.iter().chain(&key).cloned());
    }
    out.extend(projection.filter.as_ref().map(|filter| filter.sql.clone()));
    out.push(format.to_owned());
    let columns = projection.columns.iter().map(|column| ident(&column.target));
    let into = [name(&projection.target)].into_iter().chain(columns).chain([format.to_owned()]).collect();
    vec![
        source(Rule::lock_for_reading, own_rows(&projection.source, projection.partitioned).collect()),
        source(Rule::copy_out, out),
        target(Rule::copy_in, into),
    ]
}
