//! Functions that triggers call, as a server has them now.

use std::collections::{BTreeMap, BTreeSet};

use super::ExecError;
use super::context::Run;
use crate::catalog::{GrantTarget, QualifiedName};
use crate::ledger::given::Before;
use crate::pg::client::Client;
use crate::plan::Op;
use crate::plan::triggers::{Functions, is_function};
use crate::sql;
use crate::sql::function::drop_function;

const FUNCTIONS: &str = "SELECT n, pg_catalog.pg_get_functiondef(p.oid) FROM pg_catalog.unnest($1::text[]) AS n \
     JOIN pg_catalog.pg_proc p ON p.oid = pg_catalog.to_regprocedure(n || '()') \
     JOIN pg_catalog.pg_language l ON l.oid = p.prolang AND l.lanname = 'plpgsql'";

/// Reads those of these functions that are there.
pub(super) async fn read(
    client: &Client,
    names: &BTreeSet<&QualifiedName>,
) -> Result<Functions, tokio_postgres::Error> {
    let mut found = Functions::new();
    if names.is_empty() {
        return Ok(found);
    }
    let names: BTreeMap<String, &QualifiedName> = names.iter().map(|name| (sql::name(name), *name)).collect();
    let asked: Vec<&str> = names.keys().map(String::as_str).collect();
    for row in client.query(FUNCTIONS, &[&asked]).await? {
        if let Some(name) = names.get(row.get::<_, &str>(0)) {
            found.insert((*name).clone(), row.get(1));
        }
    }
    Ok(found)
}

/// How a function that was there before is recorded with its schema.
pub(super) fn part(function: &QualifiedName) -> String {
    format!("function {function}")
}

/// Drops what a cutover that is given up has made. One that something of others calls by now stays, and is named: nothing of
/// the plan calls it any more.
pub(super) async fn drop_made(run: &Run, ledger: &Client, recorded: &[Before]) -> Result<(), ExecError> {
    let made: Vec<_> = run
        .plan
        .steps
        .iter()
        .filter_map(|step| if let Op::CreateFunction(op) = &step.op { Some(op) } else { None })
        .collect();
    let names: BTreeSet<&QualifiedName> = made.iter().map(|op| &op.name).collect();
    let now = read(ledger, &names).await.map_err(ExecError::target("look for functions"))?;
    for op in made {
        let of_schema = recorded.iter().find(|one| one.object == GrantTarget::Schema(op.name.schema.clone()));
        let is_ours = of_schema.is_some_and(|one| !one.parts.contains(&part(&op.name)))
            && now.get(&op.name).is_some_and(|text| is_function(op, text));
        if !is_ours {
            continue;
        }
        let text = format!("SET lock_timeout = '2s'; {}; RESET lock_timeout", drop_function(&op.name));
        match ledger.batch_execute(&text).await {
            Ok(()) => {}
            Err(error) if error.as_db_error().is_some() => {
                let said = error.as_db_error().map_or("", |said| said.message());
                run.note(format!("function {}() stays on the target: {said}", op.name));
                ledger.batch_execute("RESET lock_timeout").await.map_err(ExecError::target("set lock_timeout"))?;
            }
            Err(error) => return Err(ExecError::target("drop functions")(error)),
        }
    }
    Ok(())
}
