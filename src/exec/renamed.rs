//! The other names of the source's tables, where the fence renames: after the switch nobody needs them, and whoever still reads
//! them is to fail. The fence's triggers tell which tables are meant, under whichever name; where they are gone the ledger does,
//! which knows each table as it was seen last.

use std::time::Duration;

use super::context::Run;
use super::fence;
use super::lock_holders::users;
use super::preflight::{Failure, Fix, quoted};
use super::{ExecError, failpoint, witness};
use crate::catalog::{Ident, QualifiedName};
use crate::pg::client::Client;
use crate::plan::{End, Op, RenameSource, Renamed};
use crate::sql;

/// Attempts for each table, and what is between them: readers would queue behind a long wait for the lock.
const ATTEMPTS_MAX: u32 = 20;
const BEGIN: &str = "BEGIN; SET LOCAL lock_timeout = '300ms'";
const REST: Duration = Duration::from_millis(1_500);

/// Gives the tables their other names; those that have them keep them.
///
/// # Errors
/// A table could not be locked, which names who uses it, or cannot have the name any more.
pub(super) async fn rename(run: &Run) -> Result<(), ExecError> {
    let wanted = tables(run);
    if wanted.is_empty() {
        return Ok(());
    }
    let source = run.connect(End::Source, "rename").await?;
    for table in wanted {
        one(run, &source, (&table.from, &table.renamed())).await?;
        failpoint::hit("rename.between-tables")?;
    }
    failpoint::hit("rename.done")
}

/// Gives the tables their names back, before the fence is taken down.
///
/// # Errors
/// As [`rename`].
pub(super) async fn rename_back(run: &Run, source: &Client) -> Result<(), ExecError> {
    for table in tables(run) {
        one(run, source, (&table.renamed(), &table.from)).await?;
    }
    Ok(())
}

/// Why the tables cannot get their other names: asked before anything begins, since behind the switch it would be late.
///
/// # Errors
/// The source cannot be asked.
pub(super) async fn hindrances(run: &Run, source: &Client) -> Result<Vec<Failure>, ExecError> {
    let mut failures = Vec::new();
    for table in tables(run) {
        let (schema, other) = (table.from.schema.as_str(), sql::name(&table.renamed()));
        // A table's name is its row type's too.
        let query = "SELECT pg_catalog.to_regclass($1) IS NOT NULL OR pg_catalog.to_regtype($1) IS NOT NULL, \
                     NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE'), current_user::text \
                     FROM pg_catalog.pg_namespace n WHERE n.nspname = $2";
        let row = source.query_opt(query, &[&other, &schema]).await.map_err(ExecError::source("preflight"))?;
        let Some(row) = row else { continue };
        let mut fail = |found, fix| failures.push(Failure { id: "other_name", on: End::Source, found, fix });
        if run.plan.partitioned().contains(&table.from) {
            let fix = "Use `cutover.fence: trigger`: what reads a partition by its own name would not fail.".into();
            fail(format!("the partitions of {} would keep their names", table.from), fix);
        }
        if row.get(0) {
            let fix = format!("Rename or drop {}: another migration may have left it.", table.renamed());
            let found = format!("{} is to be called {} after the switch, and that is there", table.from, table.to);
            fail(found, Fix::Words(fix));
        }
        if row.get(1) {
            let (schema, user) = (sql::ident(&table.from.schema), quoted(&row.get::<_, String>(2)));
            fail(
                format!("role {user} may not rename {}: it has no CREATE on schema {schema}", table.from),
                Fix::Statement(format!("GRANT CREATE ON SCHEMA {schema} TO {user}")),
            );
        }
    }
    Ok(failures)
}

/// What the table of the plan is called now, whoever has renamed it; nothing when it is not there. Another table of its name is
/// somebody else's.
///
/// # Errors
/// An end cannot be asked.
pub(super) async fn current(
    run: &Run,
    (ledger, source): (&Client, &Client),
    table: &QualifiedName,
) -> Result<Option<QualifiedName>, ExecError> {
    let Some(oid) = witness::last_oid(run, ledger, table).await? else {
        // Of a plan that no executor has looked at.
        return Ok(fence::fenced(run, source).await?.into_iter().find(|fenced| fenced == table));
    };
    let query = "SELECT n.nspname::text, c.relname::text FROM pg_catalog.pg_class c \
                 JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace WHERE c.oid = $1 AND c.relkind IN ('r', 'p')";
    let row = source.query_opt(query, &[&oid]).await.map_err(ExecError::source(format!("look for {table}")))?;
    let name = |text: String| {
        Ident::new(text).map_err(|error| ExecError::Stale { what: table.to_string(), difference: error.to_string() })
    };
    row.map(|row| Ok(QualifiedName { schema: name(row.get(0))?, name: name(row.get(1))? })).transpose()
}

fn tables(run: &Run) -> &[Renamed] {
    let renames = |op| match op {
        &Op::RenameSource(RenameSource { ref tables }) => Some(tables.as_slice()),
        _ => None,
    };
    run.plan.steps.iter().find_map(|step| renames(&step.op)).unwrap_or_default()
}

/// Renames what has this migration's fence under the first name, and nothing else.
async fn one(run: &Run, source: &Client, (from, to): (&QualifiedName, &QualifiedName)) -> Result<(), ExecError> {
    let doing = || ExecError::source(format!("rename {from}"));
    let mut attempt = 0;
    while fence::fenced(run, source).await?.contains(from) {
        attempt += 1;
        run.stop_check()?;
        source.batch_execute(BEGIN).await.map_err(doing())?;
        let error = match locked(run, source, (from, to)).await {
            Ok(()) => return source.batch_execute("COMMIT").await.map_err(doing()),
            Err(error) => error,
        };
        source.batch_execute("ROLLBACK").await.map_err(doing())?;
        if !fence::is_lock_trouble(&error) {
            return Err(error);
        }
        if attempt == ATTEMPTS_MAX {
            let who = users(source, std::slice::from_ref(from)).await?;
            let reason = format!("{from} could not be renamed in {attempt} attempts: {who}");
            return Err(ExecError::Step { step: "rename_source".to_owned(), reason });
        }
        if attempt % 5 == 1 {
            run.waiting(format!("to rename {from} waits for {}", users(source, std::slice::from_ref(from)).await?));
        }
        run.sleep(REST).await?;
    }
    Ok(())
}

/// Under the lock the name is still that of the fenced table.
async fn locked(run: &Run, source: &Client, (from, to): (&QualifiedName, &QualifiedName)) -> Result<(), ExecError> {
    let doing = || ExecError::source(format!("rename {from}"));
    let lock = format!("LOCK TABLE {} IN ACCESS EXCLUSIVE MODE", sql::name(from));
    source.batch_execute(&lock).await.map_err(doing())?;
    if !fence::fenced(run, source).await?.contains(from) {
        return Ok(());
    }
    source.batch_execute(&sql::fence::rename(from, &to.name)).await.map_err(doing())
}
