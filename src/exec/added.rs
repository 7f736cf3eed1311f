//! Columns that came to tables of the source while they were migrated: recorded, and added to the target where the plan
//! says so. Whoever notices one ends the attempt; the next one begins here, while nothing is copied and nothing applied.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::additive::{ADDITIVE, Facts, facts, proof, type_trouble};
use super::context::Run;
use super::table::{self, TableTask};
use super::{ExecError, admission, failpoint, witness};
use crate::casts::CastClass;
use crate::catalog::{Column, QualifiedName, Table};
use crate::ledger::added::{self, AddedColumn};
use crate::ledger::chunk;
use crate::pg::client::Client;
use crate::pg::introspect;
use crate::plan::{End, OnDdl, Op, Plan};
use crate::projection::format::copy_format;
use crate::projection::{ColumnValue, CopyFormat, ProjectedColumn, Projection, SourceColumn};
use crate::sql;

/// The tables of the source beside the plan's and what the ledger has.
#[derive(Debug, Default)]
pub struct Look {
    /// Columns that nobody has recorded, each proven to be additive.
    new: Vec<AddedColumn>,
    /// Columns that stayed behind and are gone.
    gone: Vec<AddedColumn>,
}

/// Compares the tables of the source with the plan and with what was added to them.
///
/// # Errors
/// [`ExecError::Stale`] for every difference that is not an additive one, or that the plan does not let pass.
pub async fn look(run: &Run, ledger: &Client, source: &Client, known: &[AddedColumn]) -> Result<Look, ExecError> {
    if run.plan.settings.on_ddl.is_stop() {
        return admission::check_source_drift(run, source).await.map(|()| Look::default());
    }
    let names: Vec<QualifiedName> = run.plan.source.tables.keys().cloned().collect();
    let found = introspect::tables(source, &names).await?;
    let mut look = Look::default();
    for (name, before) in &run.plan.source.tables {
        let stale = |difference: String| ExecError::Stale { what: name.to_string(), difference };
        let after = found.tables.get(name).ok_or_else(|| stale("it is gone from the source".to_owned()))?;
        let (planned, extra) = apart(before, after);
        let changed = admission::drift(before, &planned);
        if !changed.is_empty() {
            return Err(stale(format!("{changed}; {ADDITIVE}")));
        }
        let mut known: Vec<&AddedColumn> = known.iter().filter(|known| &known.table == name).collect();
        let numbers: Vec<i16> = known.iter().map(|known| known.attnum).collect();
        let facts = if extra.is_empty() { BTreeMap::new() } else { facts(source, name).await? };
        // Gone between the two queries: the next look will say so.
        let extra = extra.into_iter().filter_map(|column| Some((column, facts.get(&column.name)?)));
        let mut new = Vec::new();
        for (column, facts) in extra {
            match known.iter().position(|known| known.attnum == facts.attnum) {
                Some(at) => same(known.swap_remove(at), column, facts).map_err(stale)?,
                None => new.push((column, facts)),
            }
        }
        for gone in known.into_iter().filter(|known| known.dropped_at.is_none()) {
            if gone.followed {
                return Err(stale(format!(
                    "column {} is gone, which the target has too; {ADDITIVE}",
                    gone.column.name
                )));
            }
            look.gone.push(gone.clone());
        }
        let follows = run.plan.settings.on_ddl == OnDdl::FollowAdditive;
        if let Some((column, _)) = new.first()
            && follows
            && witness::has_lost(run, ledger, source, name, &numbers).await?
        {
            let new = &column.name;
            return Err(stale(format!(
                "a column was added and is gone again, before column {new} came: changes of both look alike; {ADDITIVE}"
            )));
        }
        for (column, facts) in new {
            look.new.push(admissible(run, (ledger, source), name, column, facts).await?);
        }
    }
    Ok(look)
}

/// The table without the columns that the plan does not have, and those.
fn apart<'a>(before: &Table, after: &'a Table) -> (Table, Vec<&'a Column>) {
    let (planned, extra) =
        after.columns.iter().partition::<Vec<&Column>, _>(|column| before.column(&column.name).is_some());
    (Table { columns: planned.into_iter().cloned().collect(), ..after.structure() }, extra)
}

fn same(known: &AddedColumn, column: &Column, facts: &Facts) -> Result<(), String> {
    if known.default_tree == facts.default_tree && known.column == column.of_rows() {
        return Ok(());
    }
    Err(format!(
        "column {}, which was added while the migration ran, was changed since: it was {}, is {}; {ADDITIVE}",
        known.column.name,
        in_sql(&known.column),
        in_sql(column)
    ))
}

fn in_sql(column: &Column) -> String {
    sql::ddl::column_line(column, &BTreeMap::new())
}

/// The record of a new column that may pass.
async fn admissible(
    run: &Run,
    (ledger, source): (&Client, &Client),
    table: &QualifiedName,
    column: &Column,
    facts: &Facts,
) -> Result<AddedColumn, ExecError> {
    let followed = run.plan.settings.on_ddl == OnDdl::FollowAdditive;
    let proven = match proof(source, column, facts).await? {
        Ok(missing) if followed => match trouble(run, ledger, source, table, column).await? {
            None => Ok(missing),
            Some(why) => Err(format!("but cannot be followed: {why}")),
        },
        Ok(missing) => Ok(missing),
        Err(why) => Err(format!("which is not additive: {why}; {ADDITIVE}")),
    };
    let missing = proven.map_err(|why| ExecError::Stale {
        what: table.to_string(),
        difference: format!("column {} was added ({}), {why}", column.name, in_sql(column)),
    })?;
    Ok(AddedColumn {
        table: table.clone(),
        attnum: facts.attnum,
        column: column.of_rows(),
        default_tree: facts.default_tree.clone(),
        missing,
        followed,
        at: String::new(),
        dropped_at: None,
    })
}

/// The only projection of a table that has one target of its own.
fn alone<'p>(plan: &'p Plan, table: &QualifiedName) -> Option<&'p Projection> {
    let mut of_table = plan.projections.iter().filter(|projection| &projection.source == table);
    of_table.next().filter(|one| one.part.is_none() && of_table.next().is_none())
}

/// Why the target cannot have the column.
async fn trouble(
    run: &Run,
    ledger: &Client,
    source: &Client,
    table: &QualifiedName,
    column: &Column,
) -> Result<Option<String>, ExecError> {
    let Some(projection) = alone(&run.plan, table) else {
        return Ok(Some("its table is split or merged, and nothing says where it belongs".to_owned()));
    };
    let target = &projection.target;
    let is_planned = run.plan.steps.iter().any(|step| match &step.op {
        Op::CreateTable(create) => {
            &create.name == target && create.columns.iter().any(|planned| planned.name == column.name)
        }
        _ => false,
    });
    if is_planned || has_column(ledger, target, column).await? {
        return Ok(Some(format!("the target's table {target} has a column of this name")));
    }
    type_trouble(source, ledger, column).await
}

async fn has_column(target: &Client, table: &QualifiedName, column: &Column) -> Result<bool, ExecError> {
    let query = "SELECT EXISTS (SELECT FROM pg_catalog.pg_attribute WHERE attrelid = pg_catalog.to_regclass($1) \
                 AND attname::text = $2 AND NOT attisdropped)";
    let row = target
        .query_one(query, &[&sql::name(table), &column.name.as_str()])
        .await
        .map_err(ExecError::target("look for a column"))?;
    Ok(row.get(0))
}

/// Takes over what was added, each column in one transaction of the target with its record; gives all that is known.
///
/// # Errors
/// As [`look`].
pub async fn adopt(run: &Run, ledger: &mut Client, source: &Client) -> Result<Vec<AddedColumn>, ExecError> {
    let known = added::all(ledger, &run.id).await?;
    let Look { new, gone } = look(run, ledger, source, &known).await?;
    if new.is_empty() && gone.is_empty() && run.came.is_empty() {
        return Ok(known);
    }
    for gone in gone {
        added::dropped(ledger, &run.id, &gone).await?;
        run.note(format!(
            "column {} of {}, which stayed behind, is gone from the source",
            gone.column.name, gone.table
        ));
    }
    let mut tasks = table::tasks(&run.plan)?;
    amend(&mut tasks, &known, run);
    for new in new {
        let task = tasks.iter().find(|task| task.source_name() == &new.table);
        let task = task.ok_or_else(|| ExecError::Stale {
            what: new.table.to_string(),
            difference: format!("column {} was added to a table that is not migrated", new.column.name),
        })?;
        // Rows that were written anew need not have kept their values.
        witness::unbroken(run, ledger, source, task).await?;
        record(run, ledger, &new).await?;
        run.note(match new.followed {
            true => format!("{} was added on the source, and on the target now too", place(&new)),
            false => format!("{} was added on the source, and stays behind", place(&new)),
        });
    }
    let known = added::all(ledger, &run.id).await?;
    let is_known = |table: &QualifiedName, column: &str| {
        known.iter().any(|known| &known.table == table && known.column.name.as_str() == column)
    };
    let lost = run.came.iter().find(|(table, column)| !is_known(table, column));
    match lost {
        Some((table, column)) if run.plan.settings.on_ddl != OnDdl::IgnoreAdditive => Err(ExecError::Stale {
            what: table.to_string(),
            difference: format!("column {column} was added and is gone again; {ADDITIVE}"),
        }),
        _ => Ok(known),
    }
}

async fn record(run: &Run, ledger: &mut Client, new: &AddedColumn) -> Result<(), ExecError> {
    let doing = || format!("add {}", place(new));
    let transaction = ledger.transaction().await.map_err(ExecError::target(doing()))?;
    if let Some(statement) = statement(&run.plan, new) {
        transaction.batch_execute(&statement).await.map_err(ExecError::target(doing()))?;
    }
    added::put(&transaction, &run.id, run.epoch, new).await?;
    failpoint::hit("added.before-commit")?;
    transaction.commit().await.map_err(ExecError::target(doing()))?;
    failpoint::hit("added.after-commit")
}

/// Adds the column to the target's table, where that is there and does not have it: one that is created later gets it then.
fn statement(plan: &Plan, added: &AddedColumn) -> Option<String> {
    let onto = alone(plan, &added.table).filter(|_| added.followed)?;
    let missing = added.missing.as_deref();
    let add = sql::added::add_column(&onto.target, onto.onto_partitions, &added.column, missing);
    Some(format!("SET LOCAL lock_timeout = '5s'; {add}"))
}

/// Adds to the target's tables what was recorded before they were created.
pub async fn complete(run: &Run, ledger: &mut Client, known: &[AddedColumn]) -> Result<(), ExecError> {
    for followed in known.iter().filter(|known| known.followed) {
        let Some(target) = alone(&run.plan, &followed.table).map(|projection| &projection.target) else { continue };
        // ALTER TABLE would lock readers of the target out, even where there is nothing to add.
        if has_column(ledger, target, &followed.column).await? {
            continue;
        }
        let Some(statement) = statement(&run.plan, followed) else { continue };
        let doing = "add followed columns";
        let transaction = ledger.transaction().await.map_err(ExecError::target(doing))?;
        transaction.batch_execute(&statement).await.map_err(ExecError::target(doing))?;
        chunk::hold_epoch(&transaction, &run.id, run.epoch).await?;
        transaction.commit().await.map_err(ExecError::target(doing))?;
    }
    Ok(())
}

/// Gives the tables of a run the columns that came since the plan.
pub fn amend(tasks: &mut [TableTask], known: &[AddedColumn], run: &Run) {
    for task in tasks {
        let of_table = |known: &&AddedColumn| &known.table == task.source_name() && known.dropped_at.is_none();
        task.added = known.iter().filter(of_table).cloned().collect();
        // A column that is gone again may still be in what the stream has of the past.
        let gone = known.iter().filter(|known| &known.table == task.source_name() && known.dropped_at.is_some());
        task.came_and_went = gone.map(|known| known.column.name.as_str().to_owned()).collect();
        let came = run.came.iter().filter(|(table, _)| table == &task.projection.source);
        task.came_and_went.extend(came.map(|(_, column)| column.clone()));
        let mut source = Table::clone(&task.source);
        source.columns.extend(task.added.iter().map(|added| added.column.clone()));
        task.source = Arc::new(source);
        for added in task.added.iter().filter(|added| added.followed) {
            project(&mut task.projection, &added.column);
        }
    }
}

fn project(projection: &mut Projection, column: &Column) {
    let (name, ty) = (column.name.clone(), column.ty.clone());
    projection.source_columns.push(SourceColumn { name: name.clone(), ty: ty.clone() });
    let value = ColumnValue::Expr { sql: sql::ident(&name), reads: vec![name.clone()] };
    projection.columns.push(ProjectedColumn { target: name, ty, value, class: CastClass::Identical, inverse: None });
    if projection.format == CopyFormat::Binary {
        (projection.format, projection.format_reason) = copy_format(&projection.columns);
    }
}

/// An added column's place, in words.
fn place(added: &AddedColumn) -> String {
    format!("column {} ({}) of table {}", added.column.name, added.column.ty.sql, added.table)
}

/// One line for each column that came while the migration ran: what a decision about the cutover must know.
pub async fn lines(ledger: &Client, id: &str) -> Result<Vec<String>, ExecError> {
    let known = added::all(ledger, id).await?;
    let line = |added: &AddedColumn| match (added.followed, &added.dropped_at) {
        (true, _) => format!("followed: {}, added on the source at {}", place(added), added.at),
        (false, None) => format!("not migrated: {}, added on the source at {}", place(added), added.at),
        (false, Some(gone)) => {
            format!("not migrated: {}, added on the source at {} and gone by {gone}", place(added), added.at)
        }
    };
    Ok(known.iter().map(line).collect())
}

/// Says it.
pub async fn say(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    for line in lines(ledger, &run.id).await? {
        run.note(line);
    }
    Ok(())
}

/// What would have become of the new columns that stopped a run, under other policies.
pub async fn advice(run: &Run, source: &Client, table: &QualifiedName) -> Result<Option<String>, ExecError> {
    let Some(before) = run.plan.source.tables.get(table).filter(|_| run.plan.settings.on_ddl.is_stop()) else {
        return Ok(None);
    };
    let found = introspect::tables(source, std::slice::from_ref(table)).await?;
    let Some(after) = found.tables.get(table) else { return Ok(None) };
    let (planned, extra) = apart(before, after);
    if extra.is_empty() {
        return Ok(None);
    }
    if !admission::drift(before, &planned).is_empty() {
        return Ok(Some(format!("not only columns came; {ADDITIVE}")));
    }
    let facts = facts(source, table).await?;
    for column in extra {
        let Some(facts) = facts.get(&column.name) else { continue };
        if let Err(why) = proof(source, column, facts).await? {
            return Ok(Some(format!("column {} is not additive: {why}; {ADDITIVE}", column.name)));
        }
    }
    Ok(Some(
        "the change is additive: a plan with migrate.on_ddl: follow_additive or ignore_additive would have gone on"
            .to_owned(),
    ))
}

/// Adds [`advice`] to an error that it belongs to.
pub async fn with_advice(run: &Run, error: ExecError) -> ExecError {
    let ExecError::Stale { what, difference } = &error else { return error };
    let Ok(table) = what.parse::<QualifiedName>() else { return error };
    let Ok(source) = run.connect(End::Source, "drift").await else { return error };
    match advice(run, &source, &table).await {
        Ok(Some(advice)) => ExecError::Stale { what: what.clone(), difference: format!("{difference}; {advice}") },
        _ => error,
    }
}
