//! Asks the servers whether they understand what the user wrote, before anything is counted or copied.

use std::fmt::Write as _;

use tokio_postgres::error::SqlState;

use crate::casts::CastClass;
use crate::catalog::Ident;
use crate::exec::new_types;
use crate::pg::client::Client;
use crate::pg::error::PgError;
use crate::plan::{End, Plan};
use crate::projection::{ColumnValue, Projection};
use crate::sql::{ident, name};

/// One line for each expression that the server refuses. COPY evaluates them on the source, the stream on the target over
/// a row of the source's types; nothing is evaluated here.
///
/// # Errors
/// The server cannot be asked.
pub async fn refused(client: &Client, end: End, plan: &Plan) -> Result<Vec<String>, PgError> {
    let types = match end {
        End::Source => String::new(),
        End::Target => new_types::script(plan, client).await?,
    };
    if types.is_empty() {
        return refused_by(client, end, plan, false).await;
    }
    // What is tried may need types that the plan creates; none of it is kept.
    let made = client.batch_execute(&format!("BEGIN; SET LOCAL lock_timeout = '5s'; {types}")).await;
    let lines = match made {
        Ok(()) => refused_by(client, end, plan, true).await,
        Err(error) => match error.as_db_error() {
            // Preflight asks for the right, or another server.
            Some(said) if may_not_create(said.code()) => Ok(Vec::new()),
            Some(said) => Ok(vec![format!(
                "the target's server refuses the types that the plan creates: {} (SQLSTATE {})",
                said.message(),
                said.code().code()
            )]),
            None => Err(error.into()),
        },
    };
    client.batch_execute("ROLLBACK").await?;
    lines
}

async fn refused_by(client: &Client, end: End, plan: &Plan, in_transaction: bool) -> Result<Vec<String>, PgError> {
    let mut lines = Vec::new();
    for projection in &plan.projections {
        let columns = projection.columns.iter().filter(|column| column.class == CastClass::Custom);
        let own = columns.filter_map(|column| match &column.value {
            ColumnValue::Expr { sql, reads } => {
                Some((format!("{}.{}", projection.target, column.target), sql.clone(), reads))
            }
            ColumnValue::Frozen { .. } => None,
        });
        let filter = projection.filter.iter();
        let filter = filter
            .map(|filter| (plan.address(projection).to_string(), format!("({}) IS TRUE", filter.sql), &filter.reads));
        for (address, sql, reads) in own.chain(filter) {
            let query = format!("SELECT {sql} FROM {}", rows(end, projection, reads));
            let Err(error) = prepare(client, &query, in_transaction).await? else { continue };
            let Some(said) = error.as_db_error() else { return Err(error.into()) };
            let (message, code) = (said.message(), said.code().code());
            let mut line = format!("{address}: the {end}'s server refuses its expression: {message} (SQLSTATE {code})");
            let lacks_type = said.code() == &SqlState::UNDEFINED_OBJECT && end == End::Source;
            let own = lacks_type.then_some("COPY evaluates it there: create the type on the source too");
            if let Some(hint) = own.or(said.hint()) {
                let _ = write!(line, "; {hint}");
            }
            lines.push(line);
        }
    }
    if end == End::Source {
        for way in plan.back.iter().filter_map(|way| way.projection.as_ref()) {
            lines.extend(refused_back(client, way).await?);
        }
    }
    Ok(lines)
}

fn may_not_create(code: &SqlState) -> bool {
    [SqlState::INSUFFICIENT_PRIVILEGE, SqlState::READ_ONLY_SQL_TRANSACTION].contains(code)
}

/// A transaction goes on if it is refused.
async fn prepare(
    client: &Client,
    query: &str,
    in_transaction: bool,
) -> Result<Result<(), tokio_postgres::Error>, PgError> {
    if in_transaction {
        client.batch_execute("SAVEPOINT pcrd").await?;
    }
    let prepared = client.prepare(query).await.map(|_statement| ());
    if in_transaction {
        client.batch_execute("ROLLBACK TO SAVEPOINT pcrd").await?;
    }
    Ok(prepared)
}

/// The same for the way back, which the source evaluates over a row of the target's types: it must know them all.
async fn refused_back(client: &Client, way: &Projection) -> Result<Vec<String>, PgError> {
    let mut lines = Vec::new();
    for column in &way.columns {
        let ColumnValue::Expr { sql, reads } = &column.value else { continue };
        let query = format!("SELECT {sql} FROM {}", rows(End::Target, way, reads));
        let Err(error) = client.prepare(&query).await else { continue };
        let Some(said) = error.as_db_error() else { return Err(error.into()) };
        let (message, code) = (said.message(), said.code().code());
        let at = format!("{}.{}", way.target, column.target);
        lines.push(format!("{at}: the source's server refuses the way back of it: {message} (SQLSTATE {code})"));
    }
    Ok(lines)
}

fn rows(end: End, projection: &Projection, reads: &[Ident]) -> String {
    match end {
        End::Source => format!("ONLY {}", name(&projection.source)),
        End::Target => {
            let nulls = projection.source_columns.iter().filter(|column| reads.contains(&column.name));
            let nulls = nulls.map(|column| format!("CAST(NULL AS {}) AS {}", column.ty.sql, ident(&column.name)));
            format!("(SELECT {}) AS r", nulls.collect::<Vec<_>>().join(", "))
        }
    }
}
