//! Before anything begins: whether the role that applies the plan may give the target's objects to their owners, and grant
//! what the plan grants; and whether it sees their rows then.

use std::collections::{BTreeMap, BTreeSet};

use super::ExecError;
use super::is_done::is_done;
use super::preflight::{Failure, Fix};
use super::table_policies::sees_all;
use crate::catalog::{GrantTarget, Ident, OwnerTarget, Right};
use crate::pg::client::Client;
use crate::plan::{CreatePolicy, End, Grant, Op, Plan, SetOwner, SetRowSecurity, rights};
use crate::sql;

/// What would keep the steps from being done, and is better known before the first row is copied.
pub(super) async fn checks(plan: &Plan, target: &Client) -> Result<Vec<Failure>, ExecError> {
    let steps = || plan.steps.iter().map(|step| &step.op);
    let owners: Vec<&SetOwner> =
        steps().filter_map(|op| if let Op::SetOwner(op) = op { Some(op) } else { None }).collect();
    let grants: Vec<&Grant> = steps().filter_map(|op| if let Op::Grant(op) = op { Some(op) } else { None }).collect();
    let policies: Vec<&CreatePolicy> =
        steps().filter_map(|op| if let Op::CreatePolicy(op) = op { Some(op) } else { None }).collect();
    let forced: Vec<&SetRowSecurity> = steps()
        .filter_map(|op| if let Op::SetRowSecurity(op) = op { Some(op) } else { None })
        .filter(|op| op.enabled && op.forced)
        .collect();
    if owners.is_empty() && grants.is_empty() && policies.is_empty() && forced.is_empty() {
        return Ok(Vec::new());
    }
    let named: BTreeSet<&Ident> = owners
        .iter()
        .map(|op| &op.owner)
        .chain(grants.iter().filter_map(|op| op.to.as_ref()))
        .chain(policies.iter().flat_map(|op| &op.def.roles))
        .collect();
    let roles = roles(target, &named).await?;
    let mut failures = Vec::new();
    let mut fail = |id, found: String, fix: Fix| failures.push(Failure { id, on: End::Target, found, fix });
    for role in named.iter().filter(|role| !roles.contains_key(role.as_str())) {
        let found = format!("there is no role {}", sql::ident(role));
        fail("role_missing", found, Fix::Statement(sql::rights::create_role(role, false)));
    }
    let me = current(target).await?;
    if let Some(op) = forced.first()
        && !sees_all(target).await?
    {
        let user = sql::ident(&me.name);
        let found = format!(
            "row-level security will be forced on {} at the switch, and hides its rows from role {user}",
            op.table
        );
        fail("row_security", found, Fix::Statement(format!("ALTER ROLE {user} BYPASSRLS")));
    }
    for owner in owners.iter().map(|op| &op.owner).collect::<BTreeSet<_>>() {
        let Some(role) = roles.get(owner.as_str()).filter(|role| !role.is_ours) else { continue };
        let (name, user) = (sql::ident(owner), sql::ident(&me.name));
        let found = format!("role {user} is not a member of {name} with all its rights, to which tables are to belong");
        for fix in membership(owner, role, &me, target.server_version_num) {
            fail("owner_membership", found.clone(), fix);
        }
    }
    for (schema, owner) in may_not_create(&owners, target, &me).await? {
        let (name, role) = (sql::ident(&schema), sql::ident(&owner));
        let found = format!(
            "role {role}, to which tables are to belong, may not create any in the schema {name}, \
             which it must for the moment of the switch only, and the role that applies the plan may not let it"
        );
        let create = sql::rights::grant(&GrantTarget::Schema(schema), Some(&owner), &[Right::Create], false);
        fail("owner_create", found, Fix::Statement(create));
    }
    for grant in &grants {
        let GrantTarget::Schema(schema) = &grant.on else { continue };
        // What the plan makes is the role's own.
        if rights::creates_schema(plan, schema)
            || is_done(target, &Op::Grant((*grant).clone())).await.map_err(failed)?
        {
            continue;
        }
        for right in grant.rights.iter().chain(&grant.grantable) {
            let query = format!(
                "SELECT EXISTS (SELECT FROM pg_catalog.pg_namespace n WHERE n.nspname = {} \
                 AND NOT pg_catalog.has_schema_privilege(n.oid, '{} WITH GRANT OPTION'))",
                sql::literal(schema.as_str()),
                right.word()
            );
            if target.query_one(&query, &[]).await.map_err(failed)?.get(0) {
                let grantable = grant.grantable.contains(right);
                let statement = sql::rights::grant(&grant.on, grant.to.as_ref(), &[*right], grantable);
                let (schema, user) = (sql::ident(schema), sql::ident(&me.name));
                let found = format!("role {user} may not grant {} on the schema {schema}", right.word());
                fail("schema_grant", found, Fix::Statement(statement));
            }
        }
    }
    Ok(failures)
}

struct Role {
    is_superuser: bool,
    /// The executor is a member, has its rights, and may give objects to it.
    is_ours: bool,
    /// It was made a member of it, with whatever options.
    is_direct: bool,
}

struct Me {
    name: Ident,
    is_superuser: bool,
    inherits: bool,
}

/// What makes the executor a member that may use the role's rights, and give objects to it.
fn membership(owner: &Ident, role: &Role, me: &Me, version_num: u32) -> Vec<Fix> {
    let (name, user) = (sql::ident(owner), sql::ident(&me.name));
    let narrow = "or leave the owners with the role that applies: `migrate.carry: [grants]`";
    if role.is_superuser {
        return vec![Fix::Words(format!("{name} is a superuser: let a superuser apply the plan, {narrow}."))];
    }
    if owner.as_str() == "pg_database_owner" {
        let words = format!("Only the owner of the database is a member of {name}: let it apply the plan, {narrow}.");
        return vec![Fix::Words(words)];
    }
    if version_num >= 160_000 {
        return vec![Fix::Statement(format!("GRANT {name} TO {user} WITH INHERIT TRUE, SET TRUE"))];
    }
    let grant = (!role.is_direct).then(|| Fix::Statement(format!("GRANT {name} TO {user}")));
    let inherit = (!me.inherits).then(|| Fix::Statement(format!("ALTER ROLE {user} INHERIT")));
    grant.into_iter().chain(inherit).collect()
}

fn failed(error: tokio_postgres::Error) -> ExecError {
    ExecError::target("look at roles and their rights")(error)
}

async fn current(target: &Client) -> Result<Me, ExecError> {
    let query =
        "SELECT r.rolname::text, r.rolsuper, r.rolinherit FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";
    let row = target.query_one(query, &[]).await.map_err(failed)?;
    let name = Ident::new(row.get::<_, String>(0))
        .map_err(|error| ExecError::Stale { what: "role name".to_owned(), difference: error.to_string() })?;
    Ok(Me { name, is_superuser: row.get(1), inherits: row.get(2) })
}

async fn roles(target: &Client, named: &BTreeSet<&Ident>) -> Result<BTreeMap<String, Role>, ExecError> {
    let names: Vec<&str> = named.iter().map(|role| role.as_str()).collect();
    let set = match target.server_version_num {
        160_000.. => "AND pg_catalog.pg_has_role(r.oid, 'SET')",
        _ => "",
    };
    let query = format!(
        "SELECT r.rolname::text, r.rolsuper, pg_catalog.pg_has_role(r.oid, 'USAGE') {set}, \
         EXISTS (SELECT FROM pg_catalog.pg_auth_members m JOIN pg_catalog.pg_roles u ON u.oid = m.member \
           WHERE m.roleid = r.oid AND u.rolname = current_user) FROM pg_catalog.pg_roles r WHERE r.rolname = ANY ($1::text[])"
    );
    let rows = target.query(&query, &[&names]).await.map_err(failed)?;
    let role =
        |row: &tokio_postgres::Row| Role { is_superuser: row.get(1), is_ours: row.get(2), is_direct: row.get(3) };
    Ok(rows.iter().map(|row| (row.get(0), role(row))).collect())
}

/// Owners that may not create in the schema of their tables, which PostgreSQL asks of them unless a superuser gives, and
/// whom the executor may not let. A schema that the plan makes is its own, or its owner's, of whom it is a member.
async fn may_not_create(owners: &[&SetOwner], target: &Client, me: &Me) -> Result<BTreeSet<(Ident, Ident)>, ExecError> {
    let mut found = BTreeSet::new();
    if me.is_superuser {
        return Ok(found);
    }
    let query = "SELECT pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE') \
                 OR pg_catalog.has_schema_privilege(n.oid, 'CREATE WITH GRANT OPTION') \
                 FROM pg_catalog.pg_roles r, pg_catalog.pg_namespace n WHERE r.rolname = $1 AND n.nspname = $2";
    let places: BTreeSet<(&Ident, &Ident)> = owners
        .iter()
        .filter_map(|op| match &op.on {
            OwnerTarget::Table(name) | OwnerTarget::Sequence(name) => Some((&name.schema, &op.owner)),
            OwnerTarget::Schema(_) => None,
        })
        .collect();
    for (schema, owner) in places {
        let row = target.query_opt(query, &[&owner.as_str(), &schema.as_str()]).await.map_err(failed)?;
        if row.is_some_and(|row| !row.get::<_, bool>(0)) {
            found.insert((schema.clone(), owner.clone()));
        }
    }
    Ok(found)
}
