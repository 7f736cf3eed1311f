//! Owners and grants on the target, settled before the fence: nobody else can write there while rows are copied and
//! compared, and the pause in which writes stop does not grow with them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Instant;

use tokio_postgres::GenericClient;

use super::engine::Engine;
use super::preflight::{Failure, Fix};
use super::steps::Steps;
use super::{ExecError, failpoint};
use crate::catalog::{GrantTarget, Ident, OwnerTarget, Right};
use crate::pg::client::Client;
use crate::plan::{End, Grant, Op, Plan, SetOwner, Step};
use crate::sql;

/// Carries out every step that the target does not show as done, whatever the ledger says: the owner of a table that a new
/// plan has given back takes along what was granted to it.
///
/// # Errors
/// [`ExecError::CutoverAborted`] when the server does not do it, and what the server says.
pub async fn settle(engine: &mut Engine) -> Result<(), ExecError> {
    let run = Arc::clone(&engine.run);
    let mut steps = Steps::read(&run, &engine.ledger).await?;
    for step in run.plan.steps.iter().filter(|step| matches!(step.op, Op::SetOwner(_) | Op::Grant(_))) {
        run.stop_check()?;
        let failed = || ExecError::target(format!("step {}", step.id));
        let is_known = steps.done(&step.id);
        let began = Instant::now();
        if !is_known {
            steps.start(&engine.ledger, step).await?;
            failpoint::hit("rights.before-effect")?;
        }
        // A reader of the target must not keep the stream waiting behind this for as long as it reads.
        let transaction = engine.ledger.transaction().await.map_err(failed())?;
        transaction.batch_execute("SET LOCAL lock_timeout = '10s'").await.map_err(failed())?;
        let has_effect = carry_out(&transaction, step).await.map_err(failed())?;
        transaction.commit().await.map_err(failed())?;
        if !has_effect {
            return Err(ExecError::CutoverAborted { reason: format!("step {}: {WITHOUT_EFFECT}", step.id) });
        }
        if !is_known {
            failpoint::hit("rights.after-effect")?;
            steps.succeed(&engine.ledger, step, began).await?;
        }
    }
    Ok(())
}

/// GRANT by a role that may not is a warning, and nothing more.
pub(super) const WITHOUT_EFFECT: &str = "the role may not grant this, and the server has granted nothing";

/// Runs the statements unless it is so already. False when they have changed nothing.
pub(super) async fn carry_out(client: &impl GenericClient, step: &Step) -> Result<bool, tokio_postgres::Error> {
    if is_so(client, &step.op).await? {
        return Ok(true);
    }
    for statement in step.statements.iter().filter(|statement| statement.on == End::Target) {
        client.batch_execute(&statement.sql).await?;
    }
    is_so(client, &step.op).await
}

async fn is_so(client: &impl GenericClient, op: &Op) -> Result<bool, tokio_postgres::Error> {
    match op {
        Op::SetOwner(op) => {
            let row = client.query_opt(&sql::rights::owner(&op.on), &[]).await?;
            Ok(row.is_some_and(|row| row.get::<_, &str>(0) == op.owner.as_str()))
        }
        Op::Grant(op) => {
            let rows = client.query(&sql::rights::held(&op.on, op.to.as_ref()), &[]).await?;
            let held: Vec<(&str, bool)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
            let has = |right: &Right| held.iter().any(|(word, _)| *word == right.word());
            Ok(op.rights.iter().all(has) && op.grantable.iter().all(|right| held.contains(&(right.word(), true))))
        }
        _ => Ok(true),
    }
}

/// What would keep the steps from being done, and is better known before the first row is copied.
pub(super) async fn checks(plan: &Plan, target: &Client) -> Result<Vec<Failure>, ExecError> {
    let steps = || plan.steps.iter().map(|step| &step.op);
    let owners: Vec<&SetOwner> =
        steps().filter_map(|op| if let Op::SetOwner(op) = op { Some(op) } else { None }).collect();
    let grants: Vec<&Grant> = steps().filter_map(|op| if let Op::Grant(op) = op { Some(op) } else { None }).collect();
    if owners.is_empty() && grants.is_empty() {
        return Ok(Vec::new());
    }
    let named: BTreeSet<&Ident> =
        owners.iter().map(|op| &op.owner).chain(grants.iter().filter_map(|op| op.to.as_ref())).collect();
    let roles = roles(target, &named).await?;
    let mut failures = Vec::new();
    let mut fail = |id, found: String, fix: Fix| failures.push(Failure { id, on: End::Target, found, fix });
    for role in named.iter().filter(|role| !roles.contains_key(role.as_str())) {
        let found = format!("there is no role {}", sql::ident(role));
        fail("role_missing", found, Fix::Statement(sql::rights::create_role(role, false)));
    }
    let me = current(target).await?;
    for owner in owners.iter().map(|op| &op.owner).collect::<BTreeSet<_>>() {
        let (role, user) = (sql::ident(owner), sql::ident(&me.name));
        let narrow = "or leave the owners with the role that applies: `migrate.carry: [grants]`";
        match roles.get(owner.as_str()) {
            Some(found) if !found.is_ours => {
                let fix = match found.is_superuser {
                    true => Fix::Words(format!("{role} is a superuser: let a superuser apply the plan, {narrow}.")),
                    false => Fix::Statement(format!("GRANT {role} TO {user}")),
                };
                let found =
                    format!("role {user} is not a member of {role} with all its rights, to which tables are to belong");
                fail("owner_membership", found, fix);
            }
            _ => {}
        }
    }
    for (schema, owner) in may_not_create(plan, &owners, &grants, target, &me).await? {
        let (schema, owner) = (sql::ident(&schema), sql::ident(&owner));
        fail(
            "owner_create",
            format!("role {owner}, to which tables are to belong, may not create any in the schema {schema}"),
            Fix::Statement(format!("GRANT CREATE ON SCHEMA {schema} TO {owner}")),
        );
    }
    for grant in &grants {
        let GrantTarget::Schema(schema) = &grant.on else { continue };
        let sets_owner = owners.iter().any(|one| one.on == OwnerTarget::Schema(schema.clone()));
        if sets_owner || is_so(&**target, &Op::Grant((*grant).clone())).await.map_err(failed)? {
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
}

struct Me {
    name: Ident,
    is_superuser: bool,
}

fn failed(error: tokio_postgres::Error) -> ExecError {
    ExecError::target("look at roles and their rights")(error)
}

async fn current(target: &Client) -> Result<Me, ExecError> {
    let query = "SELECT r.rolname::text, r.rolsuper FROM pg_catalog.pg_roles r WHERE r.rolname = current_user";
    let row = target.query_one(query, &[]).await.map_err(failed)?;
    let name = Ident::new(row.get::<_, String>(0))
        .map_err(|error| ExecError::Stale { what: "role name".to_owned(), difference: error.to_string() })?;
    Ok(Me { name, is_superuser: row.get(1) })
}

async fn roles(target: &Client, named: &BTreeSet<&Ident>) -> Result<BTreeMap<String, Role>, ExecError> {
    let names: Vec<&str> = named.iter().map(|role| role.as_str()).collect();
    let set = match target.server_version_num {
        160_000.. => "AND pg_catalog.pg_has_role(r.oid, 'SET')",
        _ => "",
    };
    let query = format!(
        "SELECT r.rolname::text, r.rolsuper, pg_catalog.pg_has_role(r.oid, 'USAGE') {set} FROM pg_catalog.pg_roles r \
         WHERE r.rolname = ANY ($1::text[])"
    );
    let rows = target.query(&query, &[&names]).await.map_err(failed)?;
    Ok(rows.iter().map(|row| (row.get(0), Role { is_superuser: row.get(1), is_ours: row.get(2) })).collect())
}

/// Owners that may not create in the schema of their tables, which PostgreSQL asks of them unless a superuser gives.
async fn may_not_create(
    plan: &Plan,
    owners: &[&SetOwner],
    grants: &[&Grant],
    target: &Client,
    me: &Me,
) -> Result<Vec<(Ident, Ident)>, ExecError> {
    if me.is_superuser {
        return Ok(Vec::new());
    }
    let place = |op: &&SetOwner| match &op.on {
        OwnerTarget::Table(name) | OwnerTarget::Sequence(name) => Some((name.schema.clone(), op.owner.clone())),
        OwnerTarget::Schema(_) => None,
    };
    let is_given = |schema: &Ident, owner: &Ident| {
        let on = GrantTarget::Schema(schema.clone());
        let creates =
            |grant: &&&Grant| grant.rights.iter().chain(&grant.grantable).any(|right| *right == Right::Create);
        owners.iter().any(|one| one.on == OwnerTarget::Schema(schema.clone()) && one.owner == *owner)
            || grants.iter().filter(creates).any(|one| one.on == on && one.to.as_ref().is_none_or(|to| to == owner))
    };
    let mut found = Vec::new();
    for (schema, owner) in owners.iter().filter_map(place).collect::<BTreeSet<_>>() {
        if is_given(&schema, &owner) {
            continue;
        }
        let query = "SELECT pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE') FROM pg_catalog.pg_roles r, pg_catalog.pg_namespace n \
             WHERE r.rolname = $1 AND n.nspname = $2";
        let row = target.query_opt(query, &[&owner.as_str(), &schema.as_str()]).await.map_err(failed)?;
        let is_new = plan.steps.iter().any(|step| matches!(&step.op, Op::CreateSchema(op) if op.schema == schema));
        if row.map_or(is_new, |row| !row.get::<_, bool>(0)) {
            found.push((schema, owner));
        }
    }
    Ok(found)
}
