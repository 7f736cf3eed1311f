//! What the way back needs of both servers, looked at before writes stop.

use crate::catalog::Ident;
use crate::exec::ExecError;
use crate::exec::context::Run;
use crate::exec::table_policies;
use crate::pg::client::Client;
use crate::plan::{OnDdl, Op, ProbeBack};
use crate::sql;
use crate::sql::publication::MESSAGES_SINCE;

fn refused(reason: String) -> ExecError {
    ExecError::CutoverAborted { reason: format!("the way back cannot be taken: {reason}") }
}

/// The target can send its changes.
pub(super) async fn of_target(run: &Run, target: &Client, has_slot: bool) -> Result<(), ExecError> {
    let major = run.plan.target.server.major();
    if major < MESSAGES_SINCE {
        return Err(refused(format!("it needs a target of PostgreSQL {MESSAGES_SINCE} or later, this is {major}")));
    }
    if run.plan.settings.on_ddl == OnDdl::FollowAdditive {
        let reason = "`migrate.on_ddl: follow_additive` may have given the target columns that the plan does not know";
        return Err(refused(reason.to_owned()));
    }
    let row = target
        .query_one(
            "SELECT current_setting('wal_level'), current_setting('max_replication_slots')::int8 - \
             (SELECT count(*) FROM pg_catalog.pg_replication_slots)",
            &[],
        )
        .await
        .map_err(ExecError::target("look at the target's settings"))?;
    let (wal_level, free): (String, i64) = (row.get(0), row.get(1));
    if wal_level != "logical" {
        return Err(refused(format!("the target has wal_level = {wal_level}, and it needs logical (and a restart)")));
    }
    if free < 1 && !has_slot {
        return Err(refused(
            "all replication slots of the target are taken: raise max_replication_slots there".to_owned(),
        ));
    }
    Ok(())
}

/// The role may log in and write, and is nobody's but pcrd's: whoever else came in as it would pass the fence.
pub(super) async fn of_role(run: &Run, source: &Client) -> Result<(), ExecError> {
    let Some(user) = role(run) else { return Ok(()) };
    let row = source
        .query_opt(
            "SELECT r.rolcanlogin, (SELECT min(c.oid::regclass::text) FROM pg_catalog.pg_class c WHERE c.relowner = r.oid \
               AND c.relpersistence <> 't'), \
             (SELECT min(o.rolname::text) FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles o \
               ON o.oid = CASE WHEN m.member = r.oid THEN m.roleid ELSE m.member END \
               WHERE r.oid IN (m.member, m.roleid) AND left(o.rolname, 3) <> 'pg_' \
               AND coalesce((to_jsonb(m)->>'set_option')::bool OR (to_jsonb(m)->>'inherit_option')::bool, true)) \
             FROM pg_catalog.pg_roles r WHERE r.rolname = $1",
            &[&user],
        )
        .await
        .map_err(ExecError::source("look at the role of the way back"))?;
    let quoted = sql::ident(&Ident::new(user).map_err(|error| refused(error.to_string()))?);
    let Some(row) = row else {
        return Err(refused(format!("the source has no role {user}: CREATE ROLE {quoted} LOGIN")));
    };
    if !row.get::<_, bool>(0) {
        return Err(refused(format!("role {user} may not log in: ALTER ROLE {quoted} LOGIN")));
    }
    if let Some(owned) = row.get::<_, Option<String>>(1) {
        return Err(refused(format!("role {user} owns {owned}: the fence lets it pass, so it must be nobody else's")));
    }
    if let Some(other) = row.get::<_, Option<String>>(2) {
        return Err(refused(format!(
            "role {user} is a member of {other}, or {other} is one of it: the fence lets it pass, so it must stand alone"
        )));
    }
    // So that no trigger of the source fires for a row that comes back.
    let may_set = match source.server_version_num {
        150_000.. => "pg_catalog.has_parameter_privilege(oid, 'session_replication_role', 'SET')",
        _ => "rolsuper",
    };
    let query = format!("SELECT {may_set} FROM pg_catalog.pg_roles WHERE rolname = $1");
    let row =
        source.query_one(&query, &[&user]).await.map_err(ExecError::source("look at the role of the way back"))?;
    if !row.get::<_, bool>(0) {
        let mend = match source.server_version_num {
            150_000.. => format!("GRANT SET ON PARAMETER session_replication_role TO {quoted}"),
            _ => format!("before PostgreSQL 15 only a superuser may: ALTER ROLE {quoted} SUPERUSER"),
        };
        return Err(refused(format!("role {user} may not set session_replication_role on the source: {mend}")));
    }
    let names: Vec<String> = written(run).map(sql::name).collect();
    let rows = source
        .query(
            "SELECT t FROM pg_catalog.unnest($2::text[]) AS t WHERE NOT (pg_catalog.has_table_privilege($1, t, 'SELECT') AND \
             pg_catalog.has_table_privilege($1, t, 'INSERT') AND pg_catalog.has_table_privilege($1, t, 'UPDATE') AND \
             pg_catalog.has_table_privilege($1, t, 'DELETE')) ORDER BY 1",
            &[&user, &names],
        )
        .await
        .map_err(ExecError::source("look at the rights of the role of the way back"))?;
    if !rows.is_empty() {
        let lacking: Vec<String> = rows.iter().map(|row| row.get(0)).collect();
        let grant = format!("GRANT SELECT, INSERT, UPDATE, DELETE ON {} TO {quoted}", lacking.join(", "));
        return Err(refused(format!("role {user} may not write to the source's tables: {grant}")));
    }
    if let Some((table, _)) = hidden(run, source).await? {
        return Err(refused(format!(
            "row-level security hides rows of {table} from role {user}: ALTER ROLE {quoted} BYPASSRLS"
        )));
    }
    of_sequences(run, source, (user, &quoted)).await
}

/// The first table of the source whose rows are hidden from the role as which changes go back, and the role.
pub async fn hidden(run: &Run, source: &Client) -> Result<Option<(String, Ident)>, ExecError> {
    let Some(user) = role(run).and_then(|user| Ident::new(user).ok()) else { return Ok(None) };
    let found = table_policies::hidden_from(source, user.as_str(), written(run)).await;
    let found = found.map_err(ExecError::source("look for row security of the source"))?;
    Ok(found.map(|table| (table, user)))
}

/// New rows take the default of a column that the target does not have. No statement that writes no row asks for the right.
async fn of_sequences(run: &Run, source: &Client, (user, quoted): (&str, &str)) -> Result<(), ExecError> {
    let mut lacking: Vec<String> = Vec::new();
    for way in run.plan.back.iter().filter_map(|way| way.projection.as_ref()) {
        let written: Vec<&str> = way.columns.iter().map(|column| column.target.as_str()).collect();
        let rows = source
            .query(
                "SELECT DISTINCT pg_catalog.format('%I.%I', n.nspname, s.relname) FROM pg_catalog.pg_attrdef d \
                 JOIN pg_catalog.pg_attribute a ON a.attrelid = d.adrelid AND a.attnum = d.adnum \
                 JOIN pg_catalog.pg_depend p ON p.classid = 'pg_catalog.pg_attrdef'::regclass AND p.objid = d.oid \
                   AND p.refclassid = 'pg_catalog.pg_class'::regclass \
                 JOIN pg_catalog.pg_class s ON s.oid = p.refobjid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = s.relnamespace \
                 WHERE d.adrelid = $2::text::regclass AND a.attname <> ALL ($3::text[]) \
                 AND CASE WHEN s.relkind = 'S' THEN NOT pg_catalog.has_sequence_privilege($1, s.oid, 'USAGE, UPDATE') END",
                &[&user, &sql::name(&way.target), &written],
            )
            .await
            .map_err(ExecError::source("look at the rights of the role of the way back"))?;
        lacking.extend(rows.iter().map(|row| row.get::<_, String>(0)));
    }
    lacking.sort();
    lacking.dedup();
    if lacking.is_empty() {
        return Ok(());
    }
    let grant = format!("GRANT USAGE ON SEQUENCE {} TO {quoted}", lacking.join(", "));
    Err(refused(format!("role {user} may not take the defaults of columns that the target does not have: {grant}")))
}

/// Nobody but pcrd has logged in as the role: the fence would let it pass. Who comes later passes too: its password is pcrd's
/// alone.
pub(super) async fn nobody_else(run: &Run, source: &Client) -> Result<(), ExecError> {
    let Some(user) = role(run) else { return Ok(()) };
    let rows = source
        .query(
            "SELECT pid, application_name FROM pg_catalog.pg_stat_activity WHERE usename = $1 \
             AND datname = pg_catalog.current_database() AND application_name NOT LIKE 'pcrd/%' ORDER BY pid",
            &[&user],
        )
        .await
        .map_err(ExecError::source("look for sessions of the role of the way back"))?;
    if rows.is_empty() {
        return Ok(());
    }
    let name = |row: &tokio_postgres::Row| match row.get::<_, &str>(1) {
        "" => format!("pid {}", row.get::<_, i32>(0)),
        name => format!("pid {} ({name})", row.get::<_, i32>(0)),
    };
    let who = rows.iter().map(name).collect::<Vec<_>>().join(", ");
    Err(refused(format!("{who} of the source has logged in as role {user}, which the fence lets pass: end it")))
}

/// What fires for the session of the way back too would change its rows on their way in.
pub(super) async fn of_tables(run: &Run, source: &Client) -> Result<(), ExecError> {
    firing(run, source).await?.map_or(Ok(()), |found| Err(refused(found)))
}

/// The same after the switch: it can be undone, so that nothing is closed for it.
pub(super) async fn no_trigger(run: &Run, source: &Client) -> Result<(), ExecError> {
    let stops = |found: String| ExecError::Step {
        step: "stream_back".to_owned(),
        reason: format!("on the source {found}; nothing goes back until then"),
    };
    firing(run, source).await?.map_or(Ok(()), |found| Err(stops(found)))
}

/// What fires, and how to keep it from that.
async fn firing(run: &Run, source: &Client) -> Result<Option<String>, ExecError> {
    let names: Vec<String> = written(run).map(sql::name).collect();
    let row = source
        .query_opt(
            "SELECT what, pg_catalog.quote_ident(name), of::text FROM ( \
               SELECT 'TRIGGER' AS what, t.tgname::text AS name, t.tgrelid::regclass AS of FROM pg_catalog.pg_trigger t \
               WHERE NOT t.tgisinternal AND t.tgenabled IN ('A', 'R') AND t.tgname NOT IN ('pcrd_fence', 'pcrd_no_truncate') \
               UNION ALL SELECT 'RULE', r.rulename::text, r.ev_class::regclass FROM pg_catalog.pg_rewrite r \
               WHERE r.ev_type <> '1' AND r.ev_enabled IN ('A', 'R')) AS found \
             WHERE of = ANY ($1::text[]::regclass[]) ORDER BY 3, 2 LIMIT 1",
            &[&names],
        )
        .await
        .map_err(ExecError::source("look for triggers that fire for the way back"))?;
    let Some(row) = row else { return Ok(None) };
    let (what, name, table): (String, String, String) = (row.get(0), row.get(1), row.get(2));
    Ok(Some(format!(
        "{what} {name} of {table} fires for rows that come back too, and may make others of them: \
         ALTER TABLE {table} ENABLE {what} {name}"
    )))
}

/// The role of the plan.
pub(super) fn role(run: &Run) -> Option<&str> {
    run.plan.steps.iter().find_map(|step| match &step.op {
        Op::ProbeBack(ProbeBack { user }) => Some(user.as_str()),
        _ => None,
    })
}

/// Tables of the source that are written to.
pub(super) fn written(run: &Run) -> impl Iterator<Item = &crate::catalog::QualifiedName> {
    run.plan.back.iter().filter(|way| way.projection.is_some()).map(|way| &way.to)
}
