//! Who may run this plan, and against what: identity, lock, drift, ownership. Nothing is written before all of it holds.

use super::ExecError;
use super::added;
use super::adopt;
use super::context::Run;
use super::failpoint;
use crate::catalog::{QualifiedName, Server, Table, TypeDef, drift};
use crate::ledger::{LedgerError, adoption, lock, migration, step};
use crate::pg::client::Client;
use crate::pg::introspect;
use crate::plan::adoption::NotAdoptable;
use crate::plan::{Check, End, Op};

/// How long the locks of a dead executor may outlive it.
pub(super) const LOCK_PATIENCE: std::time::Duration = std::time::Duration::from_secs(2);

/// Checks everything, then registers this executor; gives its epoch.
pub async fn admit(run: &Run, ledger: &mut Client, source: &Client) -> Result<i64, ExecError> {
    check_identity(End::Source, &run.plan.source.server, source).await?;
    check_identity(End::Target, &run.plan.target.server, ledger).await?;
    let targets: Vec<QualifiedName> = run.plan.targets().into_iter().cloned().collect();
    take_lock(run, ledger, source, &targets).await?;
    failpoint::hit("setup.after-lock")?;
    let registration = registration(run, targets);
    let known = if migration::exists(ledger).await? {
        if let Some(before) = &run.adopts {
            let goes_on = before.id != run.plan.id && is_running(ledger, &run.id).await?;
            if !goes_on {
                check_type_drift(run, source).await?;
                adopt::adopt(run, before, ledger, source, &registration).await?;
            }
        }
        let known = migration::find(ledger, &run.id).await?;
        if known.as_ref().is_some_and(|known| known.state == "replaced")
            && let Some(by) = adoption::successor(ledger, &run.id).await?
        {
            return Err(LedgerError::Replaced { id: run.id.clone(), by }.into());
        }
        if let Some(owner) = migration::owner_of(ledger, &registration).await? {
            return Err(ExecError::Busy {
                what: format!(
                    "these tables or this slot (plan {owner}); finish it, go on with its work under this plan with \
                     `pcrd apply --adopt`, or run `pcrd abort` for it first"
                ),
            });
        }
        known
    } else if let Some(before) = &run.adopts {
        return Err(NotAdoptable::NotRunning(before.id.0.clone()).into());
    } else {
        None
    };
    if known.as_ref().is_some_and(|known| matches!(known.state.as_str(), "cut_over" | "cleaned" | "rolled_back")) {
        return Err(LedgerError::Finished(run.id.clone()).into());
    }
    let begun = known.as_ref().is_some_and(|known| known.state == "running");
    if run.only_goes_on && !begun {
        let state = known.map_or("unknown".to_owned(), |known| known.state.replace('_', " "));
        let reason = format!("the migration is {state} by now, not running, and nothing was begun again");
        return Err(ExecError::Step { step: "cutover".to_owned(), reason });
    }
    // What was begun may have a fence to take down or to complete, whatever else has changed: `apply` looks at that
    // first, and at the drift after it. What was given up begins afresh: nothing that was looked at then counts.
    if !begun {
        added::look(run, ledger, source, &[]).await?;
        check_type_drift(run, source).await?;
    }
    let created = match &known {
        Some(_) => step::all(ledger, &run.id).await?,
        None => std::collections::BTreeMap::new(),
    };
    check_target(run, ledger, &created).await?;
    if !begun {
        super::preflight::check(run, ledger, source).await?;
        data_checks(run, |_| true).await?;
    }
    migration::create_ledger(ledger).await?;
    Ok(migration::take_over(ledger, &registration).await?)
}

/// Registers this executor for the rest of a cutover whose source cannot be asked; gives its epoch.
pub(super) async fn admit_without_source(run: &Run, ledger: &Client) -> Result<i64, ExecError> {
    check_identity(End::Target, &run.plan.target.server, ledger).await?;
    let targets: Vec<QualifiedName> = run.plan.targets().into_iter().cloned().collect();
    let began = std::time::Instant::now();
    while let Err(table) = lock::take(ledger, &targets).await? {
        lock::release_all(ledger).await?;
        if began.elapsed() > LOCK_PATIENCE {
            return Err(ExecError::Busy { what: table.to_string() });
        }
        run.sleep(std::time::Duration::from_millis(100)).await?;
    }
    Ok(migration::take_over(ledger, &registration(run, targets)).await?)
}

fn registration(run: &Run, tables: Vec<QualifiedName>) -> migration::Registration {
    migration::Registration {
        id: run.id.clone(),
        source_system: run.plan.source.server.system_identifier.clone(),
        source_database_oid: run.plan.source.server.database_oid,
        slot: run.plan.settings.slot.as_str().to_owned(),
        publication: run.plan.settings.publication.as_str().to_owned(),
        tables,
        host: host_name(),
        pid: std::process::id(),
    }
}

async fn is_running(ledger: &Client, id: &str) -> Result<bool, ExecError> {
    Ok(migration::find(ledger, id).await?.is_some_and(|found| found.state == "running"))
}

/// A session whose process was killed ends a moment later; an executor that lives keeps its locks.
pub(super) async fn take_lock(
    run: &Run,
    ledger: &Client,
    source: &Client,
    targets: &[QualifiedName],
) -> Result<(), ExecError> {
    let began = std::time::Instant::now();
    let slot = run.plan.settings.slot.as_str();
    loop {
        let what = match lock::take(ledger, targets).await? {
            Ok(()) if lock::take_slot(source, slot).await? => return Ok(()),
            Ok(()) => format!("slot {slot}"),
            Err(table) => table.to_string(),
        };
        lock::release_all(ledger).await?;
        if began.elapsed() > LOCK_PATIENCE {
            return Err(ExecError::Busy { what });
        }
        run.sleep(std::time::Duration::from_millis(100)).await?;
    }
}

/// Runs these of the plan's validation queries again: rows may have come since it was made.
pub(super) async fn data_checks(run: &Run, wanted: impl Fn(&Check) -> bool) -> Result<(), ExecError> {
    let source = run.connect(End::Source, "checks").await?;
    let mut failing = Vec::new();
    for check in run.plan.checks.iter().filter(|check| wanted(check)) {
        run.stop_check()?;
        let result = super::checks::run(&source, check, false).await.map_err(|error| ExecError::Postgres {
            side: End::Source,
            doing: format!("run {}", check.id),
            error,
        })?;
        for (predicate, count) in check.predicates.iter().zip(&result.failing).filter(|(_, count)| **count > 0) {
            failing.push(format!("{}: {count} of {} rows: {}", predicate.address, result.rows, predicate.meaning));
        }
    }
    if failing.is_empty() { Ok(()) } else { Err(ExecError::Checks(failing)) }
}

/// The name of this machine.
pub fn host_name() -> String {
    std::fs::read_to_string("/proc/sys/kernel/hostname")
        .map_or_else(|_| "unknown".to_owned(), |name| name.trim().to_owned())
}

/// For commands that remove things: what has our names on another server is not ours. Versions may differ: a server may
/// have been upgraded since.
pub(super) async fn check_database(end: End, expected: &Server, client: &Client) -> Result<(), ExecError> {
    same_database(end, expected, &introspect::server(client).await?)
}

async fn check_identity(end: End, expected: &Server, client: &Client) -> Result<(), ExecError> {
    let found = introspect::server(client).await?;
    same_database(end, expected, &found)?;
    if found.major() != expected.major() {
        return Err(differs(end, "major version", &expected.major(), &found.major()));
    }
    Ok(())
}

fn differs(end: End, what: &str, before: &dyn std::fmt::Display, after: &dyn std::fmt::Display) -> ExecError {
    ExecError::Stale {
        what: format!("{end} server"),
        difference: format!("{what} is {after}, the plan was made for {before}"),
    }
}

fn same_database(end: End, expected: &Server, found: &Server) -> Result<(), ExecError> {
    if found.system_identifier != expected.system_identifier {
        return Err(differs(end, "system identifier", &expected.system_identifier, &found.system_identifier));
    }
    if found.database != expected.database {
        return Err(differs(end, "database", &expected.database, &found.database));
    }
    if found.database_oid != expected.database_oid {
        let what = format!("the oid of database {}, which was created anew,", found.database);
        return Err(differs(end, &what, &expected.database_oid, &found.database_oid));
    }
    Ok(())
}

/// Compares the source tables with the plan's, object by object.
pub async fn check_source_drift(run: &Run, source: &Client) -> Result<(), ExecError> {
    let names: Vec<QualifiedName> = run.plan.source.tables.keys().cloned().collect();
    let found = introspect::tables(source, &names).await?;
    for (name, before) in &run.plan.source.tables {
        let Some(after) = found.tables.get(name) else {
            return Err(ExecError::Stale {
                what: name.to_string(),
                difference: "it is gone from the source".to_owned(),
            });
        };
        let difference = drift(before, &after.structure());
        if !difference.is_empty() {
            return Err(ExecError::Stale { what: name.to_string(), difference });
        }
    }
    Ok(())
}

/// Compares the source's types with those that will be created from the plan. Later a label that is new on the source is no
/// reason to stop before a row has it.
async fn check_type_drift(run: &Run, source: &Client) -> Result<(), ExecError> {
    if run.plan.source.types.is_empty() {
        return Ok(());
    }
    let names: Vec<QualifiedName> = run.plan.source.tables.keys().cloned().collect();
    let found = introspect::tables(source, &names).await?.types;
    let altered = |(name, def): &(&QualifiedName, &TypeDef)| found.get(*name).is_some_and(|found| !is_same(found, def));
    match run.plan.source.types.iter().find(altered) {
        Some((name, _)) => Err(ExecError::Stale {
            what: format!("type {name}"),
            difference: "it was altered on the source since the plan was made".to_owned(),
        }),
        None => Ok(()),
    }
}

/// A range has no multirange on a target that knows none.
fn is_same(found: &TypeDef, planned: &TypeDef) -> bool {
    found == planned || matches!(found, TypeDef::Range(_)) && found.is_alike(planned)
}

/// What differs between two looks at a table, in words; empty when nothing does that could matter.
pub(super) fn drift(before: &Table, after: &Table) -> String {
    let mut drift = drift::explain_drift(before, after);
    // A GRANT changes no row, and preflight may have asked for it.
    drift.retain(|drift| drift.attribute != "grants");
    // Nor does what ANALYZE and CLUSTER are told.
    drift.retain(|drift| {
        let of_analyze = ["statistics target", "options"].contains(&drift.attribute.as_str());
        let is_told = drift.address.starts_with("statistics ")
            || drift.attribute == "clustered"
            || of_analyze && drift.address.starts_with("column ");
        !is_told
    });
    // Nor does a policy that hides nothing.
    let is_inert = !before.row_security && !after.row_security;
    drift.retain(|drift| !(is_inert && drift.address.starts_with("policy ")));
    drift.iter().map(ToString::to_string).collect::<Vec<_>>().join("; ")
}

/// A target table may exist only if this plan created it.
async fn check_target(
    run: &Run,
    ledger: &Client,
    steps: &std::collections::BTreeMap<String, step::StepState>,
) -> Result<(), ExecError> {
    for planned in &run.plan.steps {
        let Op::CreateTable(create) = &planned.op else { continue };
        if steps.get(&planned.id.0) == Some(&step::StepState::Succeeded) {
            continue;
        }
        let partitions = create.partitioning.iter().flat_map(|whole| &whole.partitions).map(|one| &one.name);
        for name in [&create.name].into_iter().chain(partitions) {
            let row = ledger
                .query_one(
                    "SELECT EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
                     WHERE n.nspname = $1 AND c.relname = $2)",
                    &[&name.schema.as_str(), &name.name.as_str()],
                )
                .await
                .map_err(ExecError::target("look for the target table"))?;
            if row.get(0) {
                return Err(ExecError::Stale {
                    what: name.to_string(),
                    difference: "a table of this name exists on the target and this plan did not create it".to_owned(),
                });
            }
        }
    }
    Ok(())
}
