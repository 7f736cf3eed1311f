//! Rights that a role has beyond what docs/rights.md says it needs: advice, each with the statement that takes it away.

use std::collections::BTreeSet;

use super::ExecError;
use super::context::Run;
use super::preflight::{Failure, Fix};
use crate::catalog::Ident;
use crate::pg::client::Client;
use crate::plan::{End, Op};
use crate::sql;

/// Predefined roles whose membership is not told: they show what sessions wait for, and end those that the operator
/// says are to be ended. Of a managed service's own, see docs/rights.md.
const USEFUL: &[&str] = &["pg_monitor", "pg_read_all_settings", "pg_read_all_stats", "pg_stat_scan_tables"];
/// `cutover --terminate-after` ends sessions of others.
const USEFUL_ON_SOURCE: &[&str] = &["pg_signal_backend"];

/// What the role of each end may do and need not.
///
/// # Errors
/// A statement that failed.
pub async fn rights(run: &Run, target: &Client, source: &Client) -> Result<Vec<Failure>, ExecError> {
    let mut surplus = of_role(run, End::Source, source).await?;
    surplus.extend(granted_tables(run, source).await?);
    surplus.extend(of_role(run, End::Target, target).await?);
    Ok(surplus)
}

/// The name of a table as `sql::name` writes it. Tables are found by joins: `regclass` would need USAGE on their schemas.
const NAME: &str = "pg_catalog.concat('\"', pg_catalog.replace(n.nspname::text, '\"', '\"\"'), '\".\"', \
                    pg_catalog.replace(c.relname::text, '\"', '\"\"'), '\"')";

async fn rows(on: End, client: &Client, query: &str, names: &[String]) -> Result<Vec<tokio_postgres::Row>, ExecError> {
    let doing = "look for rights beyond the work";
    match on {
        End::Source => client.query(query, &[&names]).await.map_err(ExecError::source(doing)),
        End::Target => client.query(query, &[&names]).await.map_err(ExecError::target(doing)),
    }
}

async fn of_role(run: &Run, on: End, client: &Client) -> Result<Vec<Failure>, ExecError> {
    let names = source_tables(run);
    let query = format!(
        "SELECT u.rolname::text, u.rolsuper, u.oid = 10, u.rolcreatedb, u.rolcreaterole, u.rolbypassrls, u.rolreplication, \
         EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
           WHERE {NAME} = ANY ($1::text[]) AND c.relrowsecurity AND c.relforcerowsecurity) \
         FROM pg_catalog.pg_roles u WHERE u.rolname = current_user"
    );
    let found = rows(on, client, &query, &names).await?;
    let Some(role) = found.first() else { return Ok(Vec::new()) };
    let user = quoted(role.get(0));
    let mut surplus = Vec::new();
    let mut tell = |id, found: String, fix: Fix| surplus.push(Failure { id, on, found, fix });
    if role.get(1) {
        // Before PG 15 only a superuser may silence triggers on the target, and a superuser may do the rest anyway.
        if on == End::Target && client.server_version_num < 150_000 {
            return Ok(surplus);
        }
        let found = format!("role {user} is a superuser");
        if role.get(2) {
            // The cluster would be left without one.
            tell("superuser", found, "Log in as a role of its own: docs/rights.md has the statements.".into());
            return Ok(surplus);
        }
        tell("superuser", found, Fix::Statement(format!("ALTER ROLE {user} NOSUPERUSER")));
    }
    let forces =
        run.plan.steps.iter().any(|step| matches!(&step.op, Op::SetRowSecurity(op) if op.enabled && op.forced));
    let policies = match on {
        End::Source => role.get(7),
        End::Target => forces,
    };
    // The way back reads the target's log.
    let goes_back = run.plan.settings.cutover.reverse.is_some();
    for (has, attribute, may) in [
        (role.get(3), "CREATEDB", "create databases"),
        (role.get(4), "CREATEROLE", "create roles and grant them"),
        (role.get::<_, bool>(5) && !policies, "BYPASSRLS", "read and write past every policy"),
        (role.get::<_, bool>(6) && on == End::Target && !goes_back, "REPLICATION", "read the whole log of the cluster"),
    ] {
        if has {
            let fix = Fix::Statement(format!("ALTER ROLE {user} NO{attribute}"));
            tell("superfluous_right", format!("role {user} may {may}"), fix);
        }
    }
    surplus.extend(memberships(run, on, client, &user).await?);
    Ok(surplus)
}

/// Roles to which this one belongs without need: predefined ones with power over the server or its data, superusers,
/// and others that bring nothing of what the work needs.
async fn memberships(run: &Run, on: End, client: &Client, user: &str) -> Result<Vec<Failure>, ExecError> {
    let names = source_tables(run);
    let parameter = match client.server_version_num {
        150_000.. => "pg_catalog.has_parameter_privilege(g.oid, 'session_replication_role', 'SET')",
        _ => "false",
    };
    let schemas: Vec<String> =
        run.plan.projections.iter().map(|one| sql::literal(one.target.schema.as_str())).collect();
    let owners = run.plan.steps.iter().filter_map(|step| match &step.op {
        Op::SetOwner(op) => Some(sql::literal(op.owner.as_str())),
        _ => None,
    });
    let owners: Vec<String> = owners.collect::<BTreeSet<_>>().into_iter().collect();
    let brings_owner = match owners.is_empty() {
        true => "false".to_owned(),
        false => format!(
            "EXISTS (SELECT FROM pg_catalog.pg_roles o WHERE o.rolname IN ({}) AND pg_catalog.pg_has_role(g.oid, o.oid, 'MEMBER'))",
            owners.join(", ")
        ),
    };
    // What the work needs of a membership: on the source the tables' owner, on the target what docs/rights.md grants.
    let useful = match on {
        End::Source => format!(
            "EXISTS (SELECT FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE {NAME} = ANY ($1::text[]) AND pg_catalog.pg_has_role(g.oid, c.relowner, 'MEMBER')) \
             OR EXISTS (SELECT FROM pg_catalog.pg_roles r WHERE r.rolname = 'rds_replication' AND pg_catalog.pg_has_role(g.oid, r.oid, 'MEMBER'))"
        ),
        End::Target => format!(
            "{parameter} OR {brings_owner} OR EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname IN ('pcrd', {}) \
             AND pg_catalog.has_schema_privilege(g.oid, n.oid, 'CREATE')) OR $1::text[] IS NULL",
            schemas.join(", ")
        ),
    };
    // A member of a superuser is one as soon as it says SET ROLE; everything else is asked of roles that are none.
    let query = format!(
        "WITH RECURSIVE u AS (SELECT oid FROM pg_catalog.pg_roles WHERE rolname = current_user), \
         reached AS (SELECT m.roleid, m.member FROM pg_catalog.pg_auth_members m, u WHERE m.member = u.oid \
           UNION SELECT m.roleid, m.member FROM pg_catalog.pg_auth_members m JOIN reached r ON m.member = r.roleid) \
         SELECT DISTINCT g.rolname::text, v.rolname::text, r.member = u.oid, g.rolsuper, \
         g.rolname LIKE 'pg\\_%' AND g.oid < 16384, \
         {useful} OR pg_catalog.has_database_privilege(g.oid, pg_catalog.current_database(), 'CREATE') \
         FROM reached r CROSS JOIN u JOIN pg_catalog.pg_roles g ON g.oid = r.roleid JOIN pg_catalog.pg_roles v ON v.oid = r.member \
         ORDER BY 1, 2"
    );
    let mut surplus = Vec::new();
    for row in rows(on, client, &query, &names).await? {
        let name: &str = row.get(0);
        let (role, member) = (quoted(name), quoted(row.get(1)));
        let (direct, is_super, predefined, needed): (bool, bool, bool, bool) =
            (row.get(2), row.get(3), row.get(4), row.get(5));
        let told_nowhere = USEFUL.contains(&name) || on == End::Source && USEFUL_ON_SOURCE.contains(&name);
        // An ordinary role that another membership brings goes with that one.
        if predefined && (told_nowhere || name == "pg_database_owner")
            || !predefined && !is_super && (needed || !direct)
        {
            continue;
        }
        let mut found = format!("role {user} belongs to {role}");
        if is_super {
            found.push_str(", a superuser");
        }
        if !direct {
            found.push_str(&format!(" through {member}"));
        }
        let fix = match (direct, is_super && on == End::Source) {
            (true, true) => Fix::Words(format!(
                "Run REVOKE {role} FROM {user}, after giving the tables that {role} owns to a role that is no superuser."
            )),
            (true, false) => Fix::Statement(format!("REVOKE {role} FROM {user}")),
            (false, _) => Fix::Words(format!("Take {role} from {member}, or {member} from {user}.")),
        };
        surplus.push(Failure { id: "superfluous_right", on, found, fix });
    }
    Ok(surplus)
}

/// Tables of the source that were granted to the role itself and are not in the plan, one line a schema.
async fn granted_tables(run: &Run, source: &Client) -> Result<Vec<Failure>, ExecError> {
    const SHOWN: usize = 3;
    let query = format!(
        "SELECT u.rolname::text, n.nspname::text, pg_catalog.array_agg(DISTINCT c.relname::text), \
         pg_catalog.array_agg(DISTINCT a.privilege_type::text) \
         FROM pg_catalog.pg_class c JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
         CROSS JOIN LATERAL pg_catalog.aclexplode(c.relacl) a JOIN pg_catalog.pg_roles u ON u.oid = a.grantee \
         WHERE u.rolname = current_user AND c.relowner <> u.oid AND c.relkind IN ('r', 'p', 'v', 'm', 'f') \
         AND n.nspname <> 'pcrd' AND {NAME} <> ALL ($1::text[]) \
         GROUP BY 1, 2 ORDER BY 2"
    );
    let mut surplus = Vec::new();
    for row in rows(End::Source, source, &query, &source_tables(run)).await? {
        let (user, schema) = (quoted(row.get(0)), quoted(row.get(1)));
        let tables: Vec<String> =
            row.get::<_, Vec<String>>(2).iter().map(|name| format!("{schema}.{}", quoted(name))).collect();
        let mut list = tables.iter().take(SHOWN).cloned().collect::<Vec<_>>().join(", ");
        if tables.len() > SHOWN {
            list.push_str(&format!(" and {} more", tables.len() - SHOWN));
        }
        let rights = row.get::<_, Vec<String>>(3).join(", ");
        surplus.push(Failure {
            id: "superfluous_right",
            on: End::Source,
            found: format!("role {user} has {rights} on {list}, which the plan does not move"),
            fix: Fix::Statement(format!("REVOKE ALL ON TABLE {} FROM {user}", tables.join(", "))),
        });
    }
    Ok(surplus)
}

/// The plan's source tables.
fn source_tables(run: &Run) -> Vec<String> {
    run.plan.projections.iter().map(|projection| sql::name(&projection.source)).collect()
}

/// A name from a server, quoted.
fn quoted(name: &str) -> String {
    Ident::new(name).map_or_else(|error| error.to_string(), |name| sql::ident(&name))
}
