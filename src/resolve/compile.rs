//! The way from the user's wishes to a whole target.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use crate::catalog::{Catalog, Column, Ident, QualifiedName, ReplicaIdentity, Table, TableKind, TypeDef};
use crate::desired::check::MERGED;
use crate::desired::{DesiredSchema, Order};
use crate::findings::rules::{CONSTRAINT_NOT_VALID, SCHEMA_UNVERIFIED};
use crate::projection::{ComputedColumn, Projection, RowIdentity, SourceColumn, copy_format};
use crate::resolve::accept::accept;
use crate::resolve::column::{Columns, columns};
use crate::resolve::error::{ResolveError, ResolveErrorKind};
use crate::resolve::report::Report;
use crate::resolve::scope::{Scope, scope};
use crate::resolve::sequence::SequenceNames;
use crate::resolve::types::missing_labels;
use crate::resolve::{
    Extract, ResolveOptions, Resolved, ResolvedSequence, ResolvedTable, ResolvedView, SourceView, back, check,
    constraint, copying, encoding, ends, filter, hazard, index, marks, merge, others, partitioning, partitions, policy,
    rights, rows, sequence, split, statistics, tables, trigger, view, whole,
};

/// Makes the desired schema whole. All errors of all tables at once.
///
/// # Errors
/// Whatever makes a plan impossible. Hazards that a user may accept are findings, not errors.
pub fn resolve(
    desired: &DesiredSchema,
    source: &Catalog,
    target: &Catalog,
    options: &ResolveOptions,
) -> Result<Resolved, Vec<ResolveError>> {
    let mut report = Report::default();
    let same = (&source.server.system_identifier, source.server.database_oid)
        == (&target.server.system_identifier, target.server.database_oid);
    if same {
        let kind = ResolveErrorKind::SameDatabase(source.server.database.clone());
        report.errors.push(ResolveError::new(kind).help("point `target` at another cluster or database"));
    }
    let mut scopes: Vec<Scope<'_>> = desired
        .tables
        .iter()
        .filter_map(|table| {
            let n_errors = report.errors.len();
            let scope = scope(table, source, target, &mut report);
            report.belong(n_errors, table.origin);
            scope
        })
        .collect();
    split::settle(&mut scopes, &mut report);
    let n_errors = report.errors.len();
    merge::settle(&mut scopes, &mut report);
    if report.errors.len() == n_errors {
        unique_targets(&scopes, &mut report);
    }
    partitions::settle(&scopes, options.goes_back, &mut report);
    let sequence_names = sequence::names(&scopes, source, desired);
    let made: Vec<Made> = scopes
        .iter()
        .enumerate()
        .map(|(number, scope)| {
            let n_errors = report.errors.len();
            let mut columns = columns(scope, options, &sequence_names.of(number), &mut report);
            columns.filter = filter::filter(scope, &mut report);
            merge::constant_column(scope, &mut columns);
            if columns.projected.is_empty() && report.errors.is_empty() {
                // COPY and INSERT have no form for it, and without a value one row is like another.
                let kind = ResolveErrorKind::NotOrdinary {
                    table: scope.desired.source.value.clone(),
                    what: "a table without a column whose values could be copied",
                    rule: None,
                };
                report.errors.push(ResolveError::new(kind).at(&scope.desired.source.span));
            }
            let (wanted, carried) = both_tables(scope, &mut columns, &mut report);
            report.belong(n_errors, scope.desired.origin);
            Made { columns, wanted, carried }
        })
        .collect();
    if !report.errors.is_empty() {
        return Err(report.errors);
    }
    let mut made = made;
    let mut wanted: BTreeMap<QualifiedName, Table> =
        scopes.iter().zip(&made).map(|(scope, made)| (scope.target_name.clone(), made.wanted.clone())).collect();
    let sequences = sequence::sequences(&scopes, source, desired, &sequence_names, &wanted, &mut report);
    for (scope, made) in scopes.iter().zip(&mut made) {
        let mut foreign = constraint::foreign_keys(scope, &scopes, &wanted, &mut report);
        partitioning::without_unfit(scope, &mut foreign, &mut report);
        made.wanted.constraints.extend(foreign.clone());
        if let Some(carried) = made.carried.as_mut() {
            carried.constraints.extend(constraint::carried_foreign_keys(scope, &scopes));
        }
        if let Some(table) = wanted.get_mut(scope.target_name) {
            table.constraints.extend(foreign);
        }
    }
    let sides: Vec<whole::Sides<'_>> = scopes
        .iter()
        .zip(&made)
        .map(|(scope, made)| {
            let carried = made.carried.as_ref().unwrap_or(&made.wanted);
            whole::Sides { scope, columns: &made.columns, carried, wanted: &made.wanted }
        })
        .collect();
    report.checks.extend(sides.iter().flat_map(|side| whole::orphan_checks(side, &sides)));
    let mut tables = Vec::new();
    for (scope, made) in scopes.iter().zip(made) {
        let n_errors = report.errors.len();
        tables.push(resolved_table(desired, options, scope, made, &mut report));
        report.belong(n_errors, scope.desired.origin);
    }
    split::judge(&tables, &mut report);
    split::unique_names(&tables, &sequences, &mut report);
    ends::of_servers(&scopes, source, target, options.unfenced, &mut report);
    hazard::of_existing(&scopes, target, &mut report);
    filter::filtered_parents(&scopes, &mut report);
    let triggers = trigger::triggers(&scopes, (source, target), desired.carry, &mut report);
    let policies = policy::policies(&scopes, &tables, (source, target), desired.carry);
    let statistics = statistics::statistics(&scopes, target, desired.carry, &mut report);
    let views = view::views(&scopes, (source, target), desired.carry, &mut report);
    let marks = marks::marks(&scopes, &tables, options.goes_back, &mut report);
    hazard::of_dependents(&scopes, source, (&triggers, &policies, &views), &mut report);
    let made = triggers.functions.keys().collect();
    others::others(&scopes, (source, target), (&made, &sequences), &mut report);
    partitions::findings(&scopes, source, &mut report);
    partitioning::unique_names(&scopes, &tables, &mut report);
    partitioning::findings(&scopes, &tables, &mut report);
    merge::join(&scopes, &mut tables, &mut report);
    for (scope, table) in scopes.iter().zip(&tables) {
        back::find(scope, table, options.goes_back, &mut report);
    }
    let rights = rights::rights(
        &scopes,
        (&tables, &sequences, &views),
        (source, target),
        (desired.carry, &policies),
        &mut report,
    );
    report.findings.sort_by(|left, right| (&left.address, &left.code).cmp(&(&right.address, &right.code)));
    report.not_carried.sort();
    report.not_carried.dedup();
    accept(desired, options, &mut report);
    split::without_accepted_gaps(&mut report);
    if !report.errors.is_empty() {
        return Err(report.errors);
    }
    Ok(Resolved {
        source: Extract {
            functions: triggers.definitions(source),
            ..source_extract(&scopes, (source, target), &sequence_names, (report.types.clone(), &views))
        },
        target: target_extract(&scopes, target, &sequences),
        schemas: missing_schemas(
            &scopes,
            target,
            &sequences,
            report
                .types
                .iter()
                .flat_map(|(name, def)| def.makes(name))
                .chain(views.carried.iter().map(|one| &one.name)),
        ),
        tables,
        sequences,
        statistics,
        views: views.carried,
        marks,
        functions: triggers.functions,
        triggers: triggers.carried,
        row_security: policies.carried,
        rights,
        not_carried: report.not_carried,
        findings: report.findings,
        checks: report.checks,
        notes: report.notes,
    })
}

fn unique_targets(scopes: &[Scope<'_>], report: &mut Report) {
    let mut taken = BTreeSet::new();
    for scope in scopes {
        if !taken.insert(scope.target_name) && scope.part.is_none() {
            let span = scope.desired.target.as_ref().map_or(&scope.desired.source.span, |target| &target.span);
            report.errors.push(
                ResolveError::new(ResolveErrorKind::TargetTaken(scope.target_name.clone())).at(span).help(MERGED),
            );
        }
    }
}

/// What becomes of one table.
struct Made {
    columns: Columns,
    wanted: Table,
    carried: Option<Table>,
}

/// The target table and, when the file gives it whole, what it is compared with.
fn both_tables(scope: &Scope<'_>, columns: &mut Columns, report: &mut Report) -> (Table, Option<Table>) {
    let Some(given) = scope.whole() else { return (wanted_table(scope, &columns.wanted, report), None) };
    if !given.verified {
        let message = "its definitions are compared as texts";
        report.find(&SCHEMA_UNVERIFIED, scope.target_name, message);
    }
    // What cannot be carried is no loss here: the file says what is wanted.
    let carried = wanted_table(scope, &columns.carried, &mut Report::default());
    let wanted = whole::table(scope, given, columns, &carried);
    let checks = whole::checks(scope, columns, &carried, &wanted, report);
    report.checks.extend(checks);
    for (name, constraint) in &wanted.constraints {
        if !constraint.validated && constraint.kind == crate::catalog::ConstraintKind::Check {
            let message = "it is NOT VALID in the file and stays so on the target";
            report.find(&CONSTRAINT_NOT_VALID, scope.address(name), message);
        }
    }
    (wanted, Some(carried))
}

/// The target table without foreign keys, which need every other table.
fn wanted_table(scope: &Scope<'_>, columns: &[Column], report: &mut Report) -> Table {
    let indexes = index::indexes(scope, report);
    let mut constraints = constraint::constraints(scope, &indexes, report);
    partitioning::without_unfit(scope, &mut constraints, report);
    // A constraint that stays behind takes its index along.
    let indexes: BTreeMap<_, _> = indexes
        .into_iter()
        .filter(|(_, index)| index.constraint.as_ref().is_none_or(|constraint| constraints.contains_key(constraint)))
        .collect();
    Table {
        kind: TableKind::Table,
        children: Vec::new(),
        partition_key: None,
        columns: columns.to_vec(),
        primary_key: constraint::primary_key(scope, &constraints),
        replica_identity: ReplicaIdentity::Default,
        indexes,
        statistics: BTreeMap::new(),
        constraints,
        triggers: BTreeMap::new(),
        policies: BTreeMap::new(),
        row_security: false,
        row_security_forced: false,
        grants: Vec::new(),
        stats: None,
        ..scope.table.clone()
    }
}

fn resolved_table(
    all: &DesiredSchema,
    options: &ResolveOptions,
    scope: &Scope<'_>,
    made: Made,
    report: &mut Report,
) -> ResolvedTable {
    let Made { columns, mut wanted, carried } = made;
    let key_index = whole::key_index(scope, &wanted).unwrap_or_else(|error| {
        report.errors.push(error);
        None
    });
    let packed = (scope.desired.order == Order::Packed).then(|| rows::pack(&mut wanted)).flatten();
    let place = |name: &Ident| wanted.columns.iter().position(|column| &column.name == name);
    let mut projected = columns.projected;
    projected.sort_by_key(|column| place(&column.target));
    let source_columns: Vec<SourceColumn> = scope
        .table
        .columns
        .iter()
        .filter(|column| column.generated.is_none())
        .map(|column| SourceColumn { name: column.name.clone(), ty: column.ty.clone() })
        .collect();
    let (format, format_reason) = copy_format(&projected);
    let identity = rows::identity(scope, &wanted, &columns.order_preserving).unwrap_or_else(|error| {
        report.errors.push(ResolveError::new(ResolveErrorKind::KeyCollapses(error)).at(&scope.desired.source.span));
        RowIdentity::FullRow
    });
    let identity = copying::settle(scope, all.copy, identity, &options.orders, report);
    let projection = Projection {
        source: scope.name.clone(),
        target: scope.target_name.clone(),
        source_columns,
        identity,
        format,
        format_reason,
        columns: projected,
        computed: computed(scope, &wanted),
        filter: columns.filter,
        part: scope.part.clone(),
        partitioned: scope.table.kind == TableKind::Partitioned,
        onto_partitions: partitioning::is_kept(scope),
    };
    let partitioning = partitioning::partitioning(scope, &wanted, &projection, report);
    report.errors.extend(filter::unfit(scope, &projection));
    let mut predicates = columns.predicates;
    predicates.extend(missing_labels(scope, &projection, report));
    predicates.extend(encoding::unreadable(scope, &projection));
    report.errors.extend(encoding::unlike(scope, &projection, &wanted));
    report.checks.extend(check::of_rows(scope.at(), &projection, &predicates));
    if let Some(check) = check::of_key(scope.at(), &projection, &columns.injective, report) {
        report.checks.push(check);
    }
    let table = ResolvedTable {
        source: scope.name.clone(),
        target: scope.target_name.clone(),
        split: scope.split.is_some(),
        row_bytes: rows::row_bytes(scope.table, &wanted),
        wanted,
        projection,
        renames: scope.renames.clone(),
        reasons: columns.reasons,
        key_index,
        carried: carried.map(Box::new),
        verified: scope.whole().is_some_and(|whole| whole.verified),
        late_defaults: columns.late_defaults,
        vacuum: scope.desired.vacuum.unwrap_or(all.vacuum),
        packed,
        partitioning,
    };
    tables::of_table(scope, &table, report);
    table
}

/// Of another type, the source's values are others than those that the target computes. A virtual column has none, and to
/// read it may fail.
fn computed(scope: &Scope<'_>, wanted: &Table) -> Vec<ComputedColumn> {
    let is_kept = |column: &&Column| column.generated.as_ref().is_some_and(|generated| generated.stored);
    let generated = wanted.columns.iter().filter(is_kept);
    generated
        .filter_map(|column| {
            let (source, _) = scope.renames.iter().find(|(_, target)| **target == column.name)?;
            let found = scope.table.column(source)?;
            let is_alike = found.ty == column.ty && found.generated.as_ref().is_none_or(|generated| generated.stored);
            let (target, ty) = (column.name.clone(), column.ty.clone());
            is_alike.then(|| ComputedColumn { source: source.clone(), target, ty })
        })
        .collect()
}

fn source_extract(
    scopes: &[Scope<'_>],
    (source, target): (&Catalog, &Catalog),
    sequence_names: &SequenceNames,
    (types, views): (BTreeMap<QualifiedName, TypeDef>, &view::Views),
) -> Extract {
    let of_types = rights::type_schemas(&types, target);
    let sequences = source.sequences.iter().filter(|(name, _)| sequence_names.all.contains_key(*name));
    let schemas = scopes.iter().map(|scope| &scope.name.schema).chain(sequences.clone().map(|(name, _)| &name.schema));
    let of_views = view::schemas(views, target).map(|(_, origin)| origin);
    let schemas: BTreeSet<&Ident> = schemas.chain(&of_types).chain(of_views).collect();
    let source_view = |one: &ResolvedView| {
        let (found, view) = (source.tables.get(&one.source)?, source.views.get(&one.source)?);
        let view = SourceView {
            definition: view.definition.clone(),
            materialized: one.def.materialized.is_some(),
            options: found.reloptions.clone(),
            owner: found.owner.clone(),
            grants: found.grants.clone(),
            reads: view.reads.keys().cloned().collect(),
        };
        Some((one.source.clone(), view))
    };
    Extract {
        schemas: schemas.into_iter().filter_map(|name| source.schema_rights.get_key_value(name)).map(cloned).collect(),
        server: source.server.clone(),
        tables: scopes.iter().map(|scope| (scope.name.clone(), Arc::new(scope.table.structure()))).collect(),
        sequences: sequences.map(|(name, sequence)| (name.clone(), sequence.clone())).collect(),
        types,
        functions: BTreeMap::new(),
        views: views.carried.iter().filter_map(source_view).collect(),
    }
}

fn cloned<K: Clone, V: Clone>((key, value): (&K, &V)) -> (K, V) {
    (key.clone(), value.clone())
}

fn target_extract(scopes: &[Scope<'_>], target: &Catalog, sequences: &[ResolvedSequence]) -> Extract {
    let tables = scopes.iter().filter_map(|scope| target.tables.get_key_value(scope.target_name));
    let sequences = sequences.iter().filter_map(|sequence| target.sequences.get_key_value(&sequence.target));
    Extract {
        schemas: BTreeMap::new(),
        server: target.server.clone(),
        tables: tables.map(|(name, table)| (name.clone(), Arc::new(table.structure()))).collect(),
        sequences: sequences.map(|(name, sequence)| (name.clone(), sequence.clone())).collect(),
        types: BTreeMap::new(),
        functions: BTreeMap::new(),
        views: BTreeMap::new(),
    }
}

fn missing_schemas<'a>(
    scopes: &'a [Scope<'_>],
    target: &Catalog,
    sequences: &'a [ResolvedSequence],
    types: impl Iterator<Item = &'a QualifiedName>,
) -> Vec<Ident> {
    let needed = scopes.iter().map(|scope| &scope.target_name.schema);
    let needed = needed.chain(sequences.iter().map(|sequence| &sequence.target.schema));
    let needed: BTreeSet<&Ident> = needed.chain(types.map(|name| &name.schema)).collect();
    needed.into_iter().filter(|schema| !target.schemas.contains(schema)).cloned().collect()
}
