//! What must hold before anything is written: each check with a stable id, what was found, and how to mend it.

use std::collections::BTreeMap;

use serde::Serialize;

use super::ExecError;
use super::context::Run;
use super::lock_headroom::Headroom;
use super::{back, leftover, lock_headroom, may_give, new_types, order, partitions, renamed, sight};
use crate::catalog::QualifiedName;
use crate::catalog::type_def::named;
use crate::pg::client::Client;
use crate::plan::{End, Op, Plan};
use crate::sql;

/// A check that failed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Failure {
    /// Stable id.
    pub id: &'static str,
    /// Which end.
    pub on: End,
    /// What was found.
    pub found: String,
    /// What to do about it.
    pub fix: Fix,
}

/// What mends a failure.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Fix {
    /// In words.
    Words(String),
    /// One statement, by a role that may.
    Statement(String),
}

impl std::fmt::Display for Fix {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Words(text) => f.write_str(text),
            Self::Statement(sql) => write!(f, "Run {sql}."),
        }
    }
}

impl From<&str> for Fix {
    fn from(text: &str) -> Self {
        Self::Words(text.to_owned())
    }
}

/// The statements that mend what statements can, by end, for one script.
pub fn script(failures: &[Failure]) -> String {
    let mut script = String::new();
    for end in [End::Source, End::Target] {
        let statements: Vec<&str> = failures
            .iter()
            .filter(|failure| failure.on == end)
            .filter_map(|failure| match &failure.fix {
                Fix::Statement(sql) => Some(sql.as_str()),
                Fix::Words(_) => None,
            })
            .collect();
        if !statements.is_empty() {
            script.push_str(&format!("-- on the {end}\n{};\n", statements.join(";\n")));
        }
    }
    script
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "[{}] {}: {}. {}", self.id, self.on, self.found, self.fix)
    }
}

/// Runs all checks; fails with everything that is wrong, at once.
pub async fn check(run: &Run, target: &Client, source: &Client) -> Result<(), ExecError> {
    let mut failures = source_checks(run, source).await?;
    // A standby answers otherwise.
    if failures.iter().all(|failure| failure.id != "source_is_primary") {
        failures.extend(leftover::slot(run, target, source).await?);
        failures.extend(leftover::publication(run, target, source).await?);
    }
    failures.extend(target_checks(run, target, source).await?);
    failures.extend(renamed::hindrances(run, source).await?);
    failures.extend(sight::hidden(run, End::Source, source, true).await?);
    failures.extend(sight::hidden(run, End::Target, target, true).await?);
    if failures.is_empty() {
        failures.extend(super::rehearse::rehearse(run, target).await?);
    }
    if failures.is_empty() { Ok(()) } else { Err(ExecError::Preflight(failures)) }
}

/// What is no reason to refuse, but should be known: signals that are not heeded, collations that changed under their indexes.
pub async fn advice(run: &Run, target: &Client, source: &Client) -> Result<Vec<Failure>, ExecError> {
    let mut advice = Vec::new();
    advice.extend(sight::hidden(run, End::Source, source, false).await?);
    advice.extend(sight::hidden(run, End::Target, target, false).await?);
    advice.extend(small_headroom(run, source).await?);
    let names: Vec<String> = run.plan.projections.iter().map(|projection| sql::name(&projection.source)).collect();
    let mut query = "SELECT DISTINCT c.collname::text FROM pg_catalog.pg_attribute a \
         JOIN pg_catalog.pg_collation c ON c.oid = a.attcollation \
         WHERE a.attrelid = ANY ($1::text[]::regclass[]) AND c.collversion <> pg_catalog.pg_collation_actual_version(c.oid)"
        .to_owned();
    if source.server_version_num >= 150_000 {
        query.push_str(
            " UNION SELECT 'default' FROM pg_catalog.pg_database d WHERE d.datname = pg_catalog.current_database() \
             AND d.datcollversion <> pg_catalog.pg_database_collation_actual_version(d.oid)",
        );
    }
    let rows = source.query(&query, &[&names]).await.map_err(ExecError::source("compare collation versions"))?;
    for row in rows {
        let name: String = row.get(0);
        advice.push(Failure {
            id: "collation_version",
            on: End::Source,
            found: format!("collation {name} has another version than its indexes were built with"),
            fix: "Run REINDEX on the source: an index in the wrong order does not find every row.".into(),
        });
    }
    Ok(advice)
}

/// Where the locks of a run leave less than half of their room to the application.
pub(super) async fn small_headroom(run: &Run, source: &Client) -> Result<Option<Failure>, ExecError> {
    let partitioned = run.plan.partitioned();
    let headroom = lock_headroom::of(source, &partitioned, (run.workers(), &run.session_name(""))).await?;
    Ok(headroom.filter(Headroom::is_small).map(|headroom| Failure {
        id: "lock_headroom",
        on: End::Source,
        found: headroom.found(&partitioned),
        fix: Fix::Words(headroom.fix()),
    }))
}

/// Whether the server lets the current user do something.
async fn ask(client: &Client, end: End, query: &str) -> Result<bool, ExecError> {
    let doing = "preflight".to_owned();
    let row = match end {
        End::Source => client.query_one(query, &[]).await.map_err(ExecError::source(doing))?,
        End::Target => client.query_one(query, &[]).await.map_err(ExecError::target(doing))?,
    };
    Ok(row.get(0))
}

async fn value(client: &Client, query: &str) -> Result<String, ExecError> {
    let row = client.query_one(query, &[]).await.map_err(ExecError::source("preflight"))?;
    Ok(row.get(0))
}

async fn source_checks(run: &Run, source: &Client) -> Result<Vec<Failure>, ExecError> {
    let mut failures = Vec::new();
    let mut fail = |id, found: String, fix: Fix| failures.push(Failure { id, on: End::Source, found, fix });
    if ask(source, End::Source, "SELECT pg_catalog.pg_is_in_recovery()").await? {
        fail("source_is_primary", "the server is a standby".to_owned(), "Connect to the primary.".into());
        // A standby answers the rest differently; one clear failure is enough.
        return Ok(failures);
    }
    let wal_level = value(source, "SELECT pg_catalog.current_setting('wal_level')").await?;
    if wal_level != "logical" {
        fail(
            "wal_level",
            format!("wal_level is {wal_level}"),
            "Run ALTER SYSTEM SET wal_level = 'logical' and restart the server.".into(),
        );
    }
    if ask(
        source,
        End::Source,
        "SELECT (SELECT count(*) FROM pg_catalog.pg_replication_slots) >= pg_catalog.current_setting('max_replication_slots')::int",
    )
    .await?
    {
        fail(
            "slot_headroom",
            "every replication slot is taken".to_owned(),
            "Drop a slot that nobody needs, or raise max_replication_slots and restart.".into(),
        );
    }
    if ask(
        source,
        End::Source,
        "SELECT (SELECT count(*) FROM pg_catalog.pg_stat_replication) >= pg_catalog.current_setting('max_wal_senders')::int",
    )
    .await?
    {
        fail(
            "wal_sender_headroom",
            "every WAL sender is busy".to_owned(),
            "Raise max_wal_senders and restart.".into(),
        );
    }
    let user = sql::ident(&current_user(source).await?);
    let replication = "SELECT rolreplication OR rolsuper OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'rds_replication' \
                       AND pg_catalog.pg_has_role(pg_catalog.pg_roles.oid, r.oid, 'member')) \
                       FROM pg_catalog.pg_roles WHERE rolname = current_user";
    if !ask(source, End::Source, replication).await? {
        fail(
            "replication_right",
            format!("role {user} may not replicate"),
            Fix::Statement(format!("ALTER ROLE {user} REPLICATION")),
        );
    }
    if !ask(source, End::Source, "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')")
        .await?
    {
        fail(
            "create_on_database",
            format!("role {user} may not create a publication"),
            Fix::Statement(format!("GRANT CREATE ON DATABASE {} TO {user}", quoted(&run.plan.source.server.database))),
        );
    }
    let foreign = foreign_schema(source).await?;
    if let Some(what) = foreign {
        fail(
            "reserved_schema",
            format!("the schema pcrd has {what}, which is not pcrd's"),
            "Rename it: pcrd keeps its write fence in the schema pcrd.".into(),
        );
    }
    let partitioned = run.plan.partitioned();
    let headroom = lock_headroom::of(source, &partitioned, (run.workers(), &run.session_name(""))).await?;
    if let Some(headroom) = headroom.filter(Headroom::is_missing) {
        fail("lock_headroom", headroom.found(&partitioned), Fix::Words(headroom.fix()));
    }
    for name in run.plan.sources() {
        let table = sql::literal(&sql::name(name));
        let schema = sql::ident(&name.schema);
        let usage = format!("SELECT pg_catalog.has_schema_privilege({}, 'USAGE')", sql::literal(name.schema.as_str()));
        if !ask(source, End::Source, &usage).await? {
            fail(
                "schema_usage",
                format!("role {user} may not look into the schema {schema}"),
                Fix::Statement(format!("GRANT USAGE ON SCHEMA {schema} TO {user}")),
            );
            // The rest would fail to name the table.
            continue;
        }
        if !ask(source, End::Source, &format!("SELECT pg_catalog.has_table_privilege({table}, 'SELECT')")).await? {
            fail(
                "select_right",
                format!("role {user} may not read {name}"),
                Fix::Statement(format!("GRANT SELECT ON {} TO {user}", sql::name(name))),
            );
        }
        let owner = format!(
            "SELECT r.rolname::text FROM pg_catalog.pg_class c JOIN pg_catalog.pg_roles r ON r.oid = c.relowner \
             WHERE c.oid = {table}::regclass AND NOT pg_catalog.pg_has_role(c.relowner, 'USAGE')"
        );
        if let Some(owner) = source.query_opt(&owner, &[]).await.map_err(ExecError::source("preflight"))? {
            fail(
                "table_owner",
                format!("role {user} does not own {name}, which publishing and fencing it need"),
                Fix::Statement(format!("GRANT {} TO {user}", quoted(owner.get(0)))),
            );
        }
        let others = match partitioned.contains(name) {
            true => partitions::of_other_owners(source, name).await?,
            false => Vec::new(),
        };
        for (partition, owner) in others {
            fail(
                "table_owner",
                format!("role {user} does not own {partition}, a partition of {name}, which fencing it needs"),
                Fix::Statement(format!("GRANT {} TO {user}", quoted(&owner))),
            );
        }
        if ask(source, End::Source, &format!("SELECT pg_catalog.row_security_active({table}::regclass)")).await? {
            fail(
                "row_security",
                format!("row-level security hides rows of {name} from role {user}"),
                Fix::Statement(format!("ALTER ROLE {user} BYPASSRLS")),
            );
        }
        if ask(
            source,
            End::Source,
            &format!("SELECT EXISTS (SELECT FROM pg_catalog.pg_subscription_rel WHERE srrelid = {table}::regclass)"),
        )
        .await?
        {
            fail(
                "subscribed_table",
                format!("a subscription writes {name}; its apply worker passes the write fence"),
                "Drop the subscription before the migration.".into(),
            );
        }
    }
    if let Some((table, role)) = back::hidden(run, source).await? {
        let role = sql::ident(&role);
        fail(
            "row_security",
            format!("row-level security hides rows of {table} from role {role}, as which changes are to go back"),
            Fix::Statement(format!("ALTER ROLE {role} BYPASSRLS")),
        );
    }
    Ok(failures)
}

/// What stands where the fence goes and was not made by pcrd: it would be replaced, or dropped by `abort`.
async fn foreign_schema(source: &Client) -> Result<Option<String>, ExecError> {
    if let Some(owner) = crate::ledger::migration::foreign_owner(source).await? {
        return Ok(Some(format!("the owner {owner}")));
    }
    let row = source
        .query_opt(
            "SELECT what FROM (SELECT 'a relation \"fence\"' AS what FROM pg_catalog.pg_class c \
               WHERE c.relnamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pcrd') AND c.relname = 'fence' \
               AND (c.relkind <> 'r' OR ARRAY(SELECT a.attname::text FROM pg_catalog.pg_attribute a WHERE a.attrelid = c.oid \
                 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum) NOT IN ('{migration,until}', '{migration,until,epoch}')) \
             UNION ALL SELECT 'a function ' || p.proname FROM pg_catalog.pg_proc p \
               WHERE p.pronamespace = (SELECT oid FROM pg_catalog.pg_namespace WHERE nspname = 'pcrd') \
               AND p.proname IN ('fence', 'refuse_truncate') AND p.pronargs = 0 \
               AND p.prosrc NOT LIKE '%is moving to another cluster%' AND p.prosrc NOT LIKE '%is refused while it is being migrated%') AS f LIMIT 1",
            &[],
        )
        .await
        .map_err(ExecError::source("look for a foreign schema pcrd"))?;
    Ok(row.map(|row| row.get(0)))
}

async fn current_user(client: &Client) -> Result<crate::catalog::Ident, ExecError> {
    let name = value(client, "SELECT current_user::text").await?;
    crate::catalog::Ident::new(name)
        .map_err(|error| ExecError::Stale { what: "role name".to_owned(), difference: error.to_string() })
}

pub(super) async fn target_checks(run: &Run, target: &Client, source: &Client) -> Result<Vec<Failure>, ExecError> {
    let mut failures = Vec::new();
    let mut fail = |id, found: String, fix: Fix| failures.push(Failure { id, on: End::Target, found, fix });
    if ask(target, End::Target, "SELECT pg_catalog.pg_is_in_recovery()").await? {
        fail("target_is_primary", "the server is a standby".to_owned(), "Connect to the primary.".into());
        return Ok(failures);
    }
    let headroom = lock_headroom::of_target(target, &run.plan, (run.workers(), &run.session_name(""))).await?;
    if let Some(headroom) = headroom.filter(Headroom::is_missing) {
        let tables = run.plan.projections.iter().filter(|one| one.onto_partitions).map(|one| &one.target).collect();
        fail("lock_headroom", headroom.found(&tables), Fix::Words(headroom.fix()));
    }
    let (one, other) = (&run.plan.source.server, &run.plan.target.server);
    if one.system_identifier == other.system_identifier && one.database_oid == other.database_oid {
        fail(
            "source_is_target",
            "source and target are the same database".to_owned(),
            "Give the target its own database on another cluster.".into(),
        );
    }
    let user = sql::ident(&current_user(target).await?);
    if !ask(target, End::Target, "SELECT pg_catalog.has_database_privilege(pg_catalog.current_database(), 'CREATE')")
        .await?
    {
        fail(
            "create_on_database",
            format!("role {user} may not create schemas"),
            Fix::Statement(format!("GRANT CREATE ON DATABASE {} TO {user}", quoted(&run.plan.target.server.database))),
        );
    }
    let schemas = run.plan.projections.iter().map(|one| &one.target.schema);
    let schemas: std::collections::BTreeSet<_> = schemas.chain(types_of(&run.plan).map(|name| &name.schema)).collect();
    for schema in schemas {
        // A schema that is not there will be ours.
        let missing = format!(
            "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace WHERE nspname = {} \
             AND NOT (pg_catalog.has_schema_privilege(oid, 'CREATE') AND pg_catalog.has_schema_privilege(oid, 'USAGE')))",
            sql::literal(schema.as_str())
        );
        if ask(target, End::Target, &missing).await? {
            let schema = sql::ident(schema);
            fail(
                "create_on_schema",
                format!("role {user} may not create tables in the schema {schema}"),
                Fix::Statement(format!("GRANT USAGE, CREATE ON SCHEMA {schema} TO {user}")),
            );
        }
    }
    if let Err(error) = target.batch_execute("BEGIN; SET LOCAL session_replication_role = replica; ROLLBACK").await {
        target.batch_execute("ROLLBACK").await.map_err(ExecError::target("preflight"))?;
        let code = error.code().map_or("", |code| code.code()).to_owned();
        fail(
            "replication_role",
            format!("role {user} may not set session_replication_role ({code})"),
            match run.plan.target.server.major() {
                15.. => Fix::Statement(format!("GRANT SET ON PARAMETER session_replication_role TO {user}")),
                _ => "Use a superuser: before PG 15 nobody else can be given this right.".into(),
            },
        );
    }
    let encoding = |client| value(client, "SELECT pg_catalog.getdatabaseencoding()::text");
    let (from, to) = (encoding(source).await?, encoding(target).await?);
    if from != to && to != "UTF8" {
        fail(
            "encoding",
            format!("the source's encoding is {from}, the target's is {to}"),
            "Create the target database with the source's encoding or with UTF8.".into(),
        );
    }
    if from == "SQL_ASCII" && to != "UTF8" {
        fail(
            "encoding",
            "the source's encoding is SQL_ASCII: its texts have no known characters".to_owned(),
            "Create the target database with UTF8, or convert the source database first.".into(),
        );
    }
    let types = new_types::script(&run.plan, target).await.map_err(ExecError::target("look for the plan's types"))?;
    for projection in &run.plan.projections {
        let Some(test) = sql::filter::test(projection) else { continue };
        let test = test.map_err(ExecError::Projection)?;
        let found = target.batch_execute(&format!("BEGIN; {types}{}; ROLLBACK", test.join("; "))).await;
        if let Err(error) = found {
            target.batch_execute("ROLLBACK").await.map_err(ExecError::target("preflight"))?;
            if error.code() == Some(&tokio_postgres::error::SqlState::INSUFFICIENT_PRIVILEGE) {
                let fix = temporary(&run.plan, &user);
                let found = format!("role {user} may not try the filter of {}", run.plan.address(projection));
                fail("temporary_right", found, fix);
                continue;
            }
            fail(
                "filter",
                format!(
                    "the filter of {} cannot be used: {}",
                    run.plan.address(projection),
                    crate::pg::error::PgError::from(error)
                ),
                "It must be an immutable condition over the row, with types and functions that the target has too."
                    .into(),
            );
        }
    }
    let mut is_missing: BTreeMap<QualifiedName, bool> = BTreeMap::new();
    for step in &run.plan.steps {
        let Op::CreateTable(create) = &step.op else { continue };
        for column in &create.columns {
            // By name, not as SQL: `to_regtype` reads no modifier before PG 16, and a name may have parentheses.
            let ty = QualifiedName { schema: column.ty.schema.clone(), name: column.ty.name.clone() };
            // Asked once, not once for each of a thousand tables' columns.
            if !is_missing.contains_key(&ty) {
                let query = format!("SELECT pg_catalog.to_regtype({}) IS NULL", sql::literal(&sql::name(&ty)));
                is_missing.insert(ty.clone(), ask(target, End::Target, &query).await?);
            }
            if is_missing.get(&ty) == Some(&true) && !is_created(&run.plan, &column.ty.sql) {
                fail(
                    "type_missing",
                    format!("type {} of {}.{} does not exist", column.ty.sql, create.name, column.name),
                    "Create it on the target first.".into(),
                );
            }
        }
    }
    for projection in &run.plan.projections {
        let Some(found) = order::check((&run.plan, &types), projection, source, target).await? else {
            // Told of the filter already.
            if failures.iter().all(|failure| failure.id != "temporary_right") {
                let found = format!("role {user} may not try the expressions of {}", projection.source);
                let fix = temporary(&run.plan, &user);
                failures.push(Failure { id: "temporary_right", on: End::Target, found, fix });
            }
            continue;
        };
        failures.extend(found);
    }
    failures.extend(may_give::checks(&run.plan, target).await?);
    Ok(failures)
}

/// True when the plan creates the type of this name, or that of which it is an array or the multirange.
fn is_created(plan: &Plan, ty: &str) -> bool {
    named(ty).is_some_and(|name| types_of(plan).any(|own| *own == name))
}

/// Names of the types that the plan creates.
fn types_of(plan: &Plan) -> impl Iterator<Item = &QualifiedName> {
    plan.source.types.iter().flat_map(|(name, def)| def.makes(name))
}

fn temporary(plan: &Plan, user: &str) -> Fix {
    Fix::Statement(format!("GRANT TEMPORARY ON DATABASE {} TO {user}", quoted(&plan.target.server.database)))
}

/// The name of a database or role for SQL. It came from a server, so it is a name.
pub(super) fn quoted(name: &str) -> String {
    crate::catalog::Ident::new(name).map_or_else(|error| error.to_string(), |name| sql::ident(&name))
}
