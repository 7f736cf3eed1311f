//! Which signals of the throttle the roles may not see.

use super::ExecError;
use super::context::Run;
use super::preflight::{Failure, Fix};
use crate::pg::client::Client;
use crate::plan::{End, Signal};
use crate::sql;

/// The signals of one end that the plan wants to be heeded and the role may not see, with the grant. `asked` chooses
/// between those whose limit the config sets, and those that have one by default.
pub async fn hidden(run: &Run, end: End, client: &Client, asked: bool) -> Result<Option<Failure>, ExecError> {
    let limits = &run.plan.settings.throttle;
    let is_wanted = |signal: &Signal| {
        let watched = signal.end() == end && signal.needs_monitor() && limits.limit(*signal).is_some();
        watched && limits.said(*signal).is_some() == asked
    };
    let keys: Vec<&str> = Signal::ALL.into_iter().filter(is_wanted).map(Signal::key).collect();
    if keys.is_empty() {
        return Ok(None);
    }
    let query = "SELECT pg_catalog.pg_has_role('pg_read_all_stats', 'USAGE'), current_user::text";
    let failed = |error: tokio_postgres::Error| ExecError::Postgres {
        side: end,
        doing: "preflight".to_owned(),
        error: error.into(),
    };
    let row = client.query_one(query, &[]).await.map_err(failed)?;
    if row.get(0) {
        return Ok(None);
    }
    let user = crate::catalog::Ident::new(row.get::<_, String>(1))
        .map_err(|error| ExecError::Stale { what: "role name".to_owned(), difference: error.to_string() })?;
    let user = sql::ident(&user);
    let so = if asked { "" } else { ", so the copy does not heed it" };
    Ok(Some(Failure {
        id: "monitor_right",
        on: end,
        found: format!("role {user} may not see what migrate.throttle watches ({}){so}", keys.join(", ")),
        fix: Fix::Statement(format!("GRANT pg_monitor TO {user}")),
    }))
}
