//! Lets an owner create in the schema of its tables while a transaction gives them to it, as PostgreSQL asks of whoever
//! becomes an owner. Nobody else sees the right: the transaction takes it away again.

use std::collections::BTreeSet;

use crate::catalog::{GrantTarget, Ident, OwnerTarget, Right};
use crate::pg::client::Client;
use crate::plan::{Op, SetOwner};
use crate::sql::rights::{grant, revoke};

/// Of the schemas `s` and roles `o`, those where the role may not create and the executor may let it. A superuser's gifts
/// ask for nothing.
const LACKING: &str = "SELECT DISTINCT s, o FROM ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) AS x (s, o) \
     JOIN pg_catalog.pg_namespace n ON n.nspname = s JOIN pg_catalog.pg_roles r ON r.rolname = o \
     JOIN pg_catalog.pg_roles me ON me.rolname = current_user \
     WHERE NOT me.rolsuper AND NOT pg_catalog.has_schema_privilege(r.oid, n.oid, 'CREATE') \
     AND pg_catalog.has_schema_privilege(n.oid, 'CREATE WITH GRANT OPTION') ORDER BY 1, 2";

/// The steps' statements as one text, for a transaction in which the schemas have their owners and grants already.
pub(super) async fn with_create(
    client: &Client,
    steps: impl Iterator<Item = (&Op, &str)>,
) -> Result<String, tokio_postgres::Error> {
    let (ops, all): (Vec<&Op>, Vec<&str>) = steps.unzip();
    let owned: BTreeSet<(&Ident, &Ident)> = ops.into_iter().filter_map(place).collect();
    if owned.is_empty() {
        return Ok(all.join("; "));
    }
    let (schemas, roles): (Vec<&str>, Vec<&str>) =
        owned.into_iter().map(|(schema, role)| (schema.as_str(), role.as_str())).unzip();
    let (mut before, mut after) = (Vec::new(), Vec::new());
    for row in client.query(LACKING, &[&schemas, &roles]).await? {
        let (Ok(schema), Ok(role)) = (Ident::new(row.get::<_, String>(0)), Ident::new(row.get::<_, String>(1))) else {
            continue;
        };
        let on = GrantTarget::Schema(schema);
        before.push(grant(&on, Some(&role), &[Right::Create], false));
        after.push(revoke(&on, Some(&role), &[Right::Create], false));
    }
    let all = before.iter().map(String::as_str).chain(all).chain(after.iter().map(String::as_str));
    Ok(all.collect::<Vec<_>>().join("; "))
}

/// The schema in which a role is to own something.
fn place(op: &Op) -> Option<(&Ident, &Ident)> {
    match op {
        Op::SetOwner(SetOwner { on: OwnerTarget::Table(name) | OwnerTarget::Sequence(name), owner, .. }) => {
            Some((&name.schema, owner))
        }
        _ => None,
    }
}
