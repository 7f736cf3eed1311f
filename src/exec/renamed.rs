//! The other names of the source's tables, where the fence renames: after the switch nobody needs them, and whoever still reads
//! them is to fail. The fence's triggers tell which tables are meant, under whichever name.

use std::time::Duration;

use super::context::Run;
use super::fence;
use super::lock_holders::users;
use super::preflight::{Failure, Fix, quoted};
use super::{ExecError, failpoint};
use crate::catalog::QualifiedName;
use crate::pg::client::Client;
use crate::plan::{End, Op, RenameSource, Renamed};
use crate::sql;

/// Attempts for each table, and what is between them: readers would queue behind a long wait for the lock.
const ATTEMPTS_MAX: u32 = 20;
const LOCK_TIMEOUT: &str = "SET lock_timeout = '300ms'";
const REST: Duration = Duration::from_millis(1_500);

/// Gives the tables their other names; those that have them keep them.
///
/// # Errors
/// [`ExecError::Step`] that names who uses a table that could not be locked.
pub(super) async fn rename(run: &Run) -> Result<(), ExecError> {
    let wanted = tables(run);
    if wanted.is_empty() {
        return Ok(());
    }
    let source = run.connect(End::Source, "rename").await?;
    let fenced = fence::fenced(run, &source).await?;
    for table in wanted {
        if fenced.contains(&table.from) {
            one(run, &source, (&table.from, &table.renamed())).await?;
            failpoint::hit("rename.between-tables")?;
        } else if !fenced.contains(&table.renamed()) {
            run.note(format!("{} has no fence any more under this name, and keeps its name", table.from));
        }
    }
    failpoint::hit("rename.done")
}

/// Gives the tables their names back, before the fence is taken down.
///
/// # Errors
/// As [`rename`].
pub(super) async fn rename_back(run: &Run, source: &Client) -> Result<(), ExecError> {
    let fenced = fence::fenced(run, source).await?;
    for table in tables(run).iter().filter(|table| fenced.contains(&table.renamed())) {
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
        let query = "SELECT pg_catalog.to_regclass($1) IS NOT NULL, NOT pg_catalog.has_schema_privilege(n.oid, 'CREATE'), \
                     current_user::text FROM pg_catalog.pg_namespace n WHERE n.nspname = $2";
        let row = source.query_opt(query, &[&other, &schema]).await.map_err(ExecError::source("preflight"))?;
        let Some(row) = row else { continue };
        let mut fail = |found, fix| failures.push(Failure { id: "other_name", on: End::Source, found, fix });
        if run.plan.partitioned().contains(&table.from) {
            let fix = "Use `cutover.fence: trigger`: what reads a partition by its own name would not fail.".into();
            fail(format!("the partitions of {} would keep their names", table.from), fix);
        }
        if row.get(0) {
            let fix = format!("Rename or drop {}: another migration may have left it.", table.renamed());
            fail(
                format!("{} is to be called {} after the switch, and that is there", table.from, table.to),
                Fix::Words(fix),
            );
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

/// What the table of the plan is called now.
pub(super) async fn current(run: &Run, source: &Client, table: &QualifiedName) -> Result<QualifiedName, ExecError> {
    let Some(renamed) = tables(run).iter().find(|one| one.from == *table).map(Renamed::renamed) else {
        return Ok(table.clone());
    };
    let is_renamed = fence::fenced(run, source).await?.contains(&renamed);
    Ok(if is_renamed { renamed } else { table.clone() })
}

fn tables(run: &Run) -> &[Renamed] {
    let renames = |op| match op {
        &Op::RenameSource(RenameSource { ref tables }) => Some(tables.as_slice()),
        _ => None,
    };
    run.plan.steps.iter().find_map(|step| renames(&step.op)).unwrap_or_default()
}

async fn one(run: &Run, source: &Client, (from, to): (&QualifiedName, &QualifiedName)) -> Result<(), ExecError> {
    let doing = || ExecError::source(format!("rename {from}"));
    source.batch_execute(LOCK_TIMEOUT).await.map_err(doing())?;
    let statement = sql::fence::rename(from, &to.name);
    let mut attempt = 0;
    let renamed = loop {
        attempt += 1;
        run.stop_check()?;
        match source.batch_execute(&statement).await.map_err(doing()) {
            Err(error) if fence::is_lock_trouble(&error) && attempt < ATTEMPTS_MAX => {}
            Err(error) if fence::is_lock_trouble(&error) => {
                let who = users(source, std::slice::from_ref(from)).await?;
                let reason = format!(
                    "{from} could not be renamed in {attempt} attempts: {who}. Writes to it are refused all the same, and the \
                     clients use the target"
                );
                break Err(ExecError::Step { step: "rename_source".to_owned(), reason });
            }
            renamed => break renamed,
        }
        if attempt % 5 == 1 {
            run.waiting(format!("to rename {from} waits for {}", users(source, std::slice::from_ref(from)).await?));
        }
        run.sleep(REST).await?;
    };
    source.batch_execute("RESET lock_timeout").await.map_err(doing())?;
    renamed
}
