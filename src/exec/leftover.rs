//! A slot or a publication that has the name the plan wants: whose it is, what it costs, and how to be rid of it. Never
//! used as if it were ours.

use tokio_postgres::error::SqlState;

use super::ExecError;
use super::context::Run;
use super::preflight::{Failure, Fix};
use crate::ledger::LedgerError;
use crate::ledger::migration::{self, Migration};
use crate::pg::client::Client;
use crate::plan::End;
use crate::sql;

/// The slot's name is taken.
///
/// # Errors
/// A statement that failed.
pub async fn slot(run: &Run, target: &Client, source: &Client) -> Result<Option<Failure>, ExecError> {
    let name = run.plan.settings.slot.as_str();
    let row = source
        .query_opt(
            "SELECT s.plugin::text, s.database::text, s.slot_type, s.active_pid, a.application_name, a.client_addr::text, \
             a.usename::text, pg_catalog.pg_wal_lsn_diff(pg_catalog.pg_current_wal_lsn(), s.restart_lsn)::int8, \
             pg_catalog.to_jsonb(s)->>'wal_status' \
             FROM pg_catalog.pg_replication_slots s LEFT JOIN pg_catalog.pg_stat_activity a ON a.pid = s.active_pid \
             WHERE s.slot_name = $1",
            &[&name],
        )
        .await
        .map_err(ExecError::source("look for a slot of the plan's name"))?;
    let Some(row) = row else { return Ok(None) };
    let makers = makers(run, target, |known| known.slot == name).await?;
    if makers.iter().any(|known| known.id == run.id && known.state == "running") {
        return Ok(None);
    }
    let fences = fences(source, &makers).await?;
    let (plugin, database): (Option<String>, Option<String>) = (row.get(0), row.get(1));
    let mut about = vec![match (plugin, database) {
        (Some(plugin), Some(database)) => format!("{plugin} of the database {}", ident(&database)),
        _ => row.get::<_, String>(2),
    }];
    let reader: Option<i32> = row.get(3);
    let application: Option<String> = row.get(4);
    match reader {
        Some(pid) => {
            let mut who = format!("read by pid {pid}");
            if let Some(name) = application.as_deref().filter(|name| !name.is_empty()) {
                who.push_str(&format!(" ({name})"));
            }
            if let Some(user) = row.get::<_, Option<String>>(6) {
                who.push_str(&format!(" as {}", ident(&user)));
            }
            if let Some(address) = row.get::<_, Option<String>>(5) {
                who.push_str(&format!(" from {address}"));
            }
            about.push(who);
        }
        None => about.push("read by nobody".to_owned()),
    }
    if let Some(bytes) = row.get::<_, Option<i64>>(7) {
        about.push(format!("{bytes} bytes of log are kept for it"));
    }
    if let Some(status) = row.get::<_, Option<String>>(8).filter(|status| status != "reserved") {
        about.push(format!("its log is {status}"));
    }
    let drop = format!("SELECT pg_drop_replication_slot({})", sql::literal(name));
    let by_hand = match reader {
        Some(_) => format!("Stop its reader, then run {drop}; or set migrate.replication_slot."),
        None => format!("If nobody needs it, run {drop}; or set migrate.replication_slot."),
    };
    Ok(Some(Failure {
        id: "leftover_slot",
        on: End::Source,
        found: format!(
            "a replication slot named {name} exists and is not this plan's ({}); {}",
            about.join("; "),
            attributed(&makers, application.as_deref(), &fences)
        ),
        fix: Fix::Words(command(&makers, application.as_deref()).unwrap_or(by_hand)),
    }))
}

/// The publication's name is taken.
///
/// # Errors
/// A statement that failed.
pub async fn publication(run: &Run, target: &Client, source: &Client) -> Result<Option<Failure>, ExecError> {
    const SHOWN: usize = 5;
    let name = &run.plan.settings.publication;
    let row = source
        .query_opt(
            "SELECT pg_catalog.pg_get_userbyid(p.pubowner)::text, p.puballtables, \
             ARRAY(SELECT pg_catalog.format('%I.%I', t.schemaname, t.tablename) FROM pg_catalog.pg_publication_tables t \
               WHERE t.pubname = p.pubname ORDER BY 1) \
             FROM pg_catalog.pg_publication p WHERE p.pubname = $1",
            &[&name.as_str()],
        )
        .await
        .map_err(ExecError::source("look for a publication of the plan's name"))?;
    let Some(row) = row else { return Ok(None) };
    let database = run.plan.source.server.database_oid;
    let makers =
        makers(run, target, |known| known.publication == name.as_str() && known.source_database_oid == database)
            .await?;
    if makers.iter().any(|known| known.id == run.id && known.state == "running") {
        return Ok(None);
    }
    let fences = fences(source, &makers).await?;
    let tables: Vec<String> = row.get(2);
    let mut list = tables.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
    if tables.len() > SHOWN {
        list.push_str(&format!(" and {} more", tables.len() - SHOWN));
    }
    let what = match (row.get::<_, bool>(1), tables.is_empty()) {
        (true, _) => "all tables".to_owned(),
        (false, true) => "no table".to_owned(),
        (false, false) => list,
    };
    let by_hand =
        format!("If no subscriber reads it, run {}; or set migrate.publication.", sql::publication::drop(name));
    Ok(Some(Failure {
        id: "leftover_publication",
        on: End::Source,
        found: format!(
            "a publication named {name} exists and is not this plan's (owner {}; it publishes {what}); {}",
            ident(&row.get::<_, String>(0)),
            attributed(&makers, None, &fences)
        ),
        fix: Fix::Words(command(&makers, None).unwrap_or(by_hand)),
    }))
}

/// Migrations from this source that the ledger of the target knows by such a name, newest first.
async fn makers(run: &Run, target: &Client, wanted: impl Fn(&Migration) -> bool) -> Result<Vec<Migration>, ExecError> {
    let known = match migration::exists(target).await {
        Ok(true) => migration::list(target).await,
        Ok(false) => Ok(Vec::new()),
        Err(error) => Err(error),
    };
    let mut known = match known {
        Ok(known) => known,
        // Somebody else's schema, or one that this role may not read, says nothing; `apply` refuses it by itself.
        Err(LedgerError::Foreign { .. }) => Vec::new(),
        Err(LedgerError::Postgres(error)) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Vec::new(),
        Err(error) => return Err(error.into()),
    };
    known.retain(|known| known.source_system == run.plan.source.server.system_identifier && wanted(known));
    Ok(known)
}

/// Plans whose fence stands on the source, when the target's ledger does not say who made what was found.
async fn fences(source: &Client, makers: &[Migration]) -> Result<Vec<String>, ExecError> {
    // In a schema of somebody else's the table could be a view that runs their code.
    if !makers.is_empty() || migration::foreign_owner(source).await?.is_some() {
        return Ok(Vec::new());
    }
    let doing = "look for fences";
    let there = "SELECT EXISTS (SELECT FROM pg_catalog.pg_class WHERE relkind = 'r' AND oid = pg_catalog.to_regclass('pcrd.fence'))";
    let row = source.query_one(there, &[]).await.map_err(ExecError::source(doing))?;
    if !row.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = source.query("SELECT migration FROM pcrd.fence ORDER BY 1", &[]).await;
    Ok(rows.map_err(ExecError::source(doing))?.iter().map(|row| format!("plan {}", row.get::<_, String>(0))).collect())
}

/// One whose objects should be gone is told of only when there is none that still has them.
fn owner(makers: &[Migration]) -> Option<&Migration> {
    makers.iter().find(|known| matches!(known.state.as_str(), "running" | "cut_over")).or(makers.first())
}

/// The start of the plan's id in the name of a session of ours, such as `pcrd/b4a2…/stream`.
fn plan_of_session(application: Option<&str>) -> Option<&str> {
    application?.strip_prefix("pcrd/")?.split('/').next()
}

fn attributed(makers: &[Migration], application: Option<&str>, fences: &[String]) -> String {
    match (owner(makers), plan_of_session(application)) {
        (None, None) if !fences.is_empty() => {
            format!("this target knows no plan that made it; on this source stands the fence of {}", fences.join(", "))
        }
        (Some(known), _) => format!("made by plan {} ({}), begun at {}", known.id, known.state, known.created_at),
        (None, Some(plan)) => format!("plan {plan}… reads it for a target that is not this one"),
        (None, None) => "no plan that this target knows made it".to_owned(),
    }
}

fn command(makers: &[Migration], application: Option<&str>) -> Option<String> {
    match (owner(makers)?.state.as_str(), plan_of_session(application)) {
        ("running", _) => Some("Run pcrd abort with that plan's config, or go on with pcrd apply.".to_owned()),
        ("cut_over", _) => Some("Run pcrd cleanup with that plan's config.".to_owned()),
        _ => None,
    }
}

/// A name from a server, quoted.
fn ident(name: &str) -> String {
    crate::catalog::Ident::new(name).map_or_else(|error| error.to_string(), |name| sql::ident(&name))
}
