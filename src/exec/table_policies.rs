//! Row security of tables as a server has it now, and roles from which it hides rows.

use std::collections::BTreeMap;

use super::ExecError;
use crate::catalog::{Ident, PolicyCommand, PolicyDef, QualifiedName, RowSecurity};
use crate::pg::client::Client;
use crate::plan::policies::Securities;
use crate::sql;

const POLICIES: &str = "SELECT n, c.relrowsecurity, c.relforcerowsecurity, p.polname::text, NOT p.polpermissive, p.polcmd::text, \
     ARRAY(SELECT pg_catalog.pg_get_userbyid(role)::text FROM pg_catalog.unnest(p.polroles) AS role WHERE role <> 0), \
     pg_catalog.pg_get_expr(p.polqual, p.polrelid), pg_catalog.pg_get_expr(p.polwithcheck, p.polrelid) \
     FROM pg_catalog.unnest($1::text[]) AS n JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(n) \
     LEFT JOIN pg_catalog.pg_policy p ON p.polrelid = c.oid";

/// Of those of the tables that are there. What no plan can name is left out.
pub(super) async fn read<'t>(
    client: &Client,
    tables: impl IntoIterator<Item = &'t QualifiedName>,
) -> Result<Securities, tokio_postgres::Error> {
    let tables: BTreeMap<String, &QualifiedName> = tables.into_iter().map(|table| (sql::name(table), table)).collect();
    let names: Vec<&str> = tables.keys().map(String::as_str).collect();
    let mut found = Securities::new();
    for row in client.query(POLICIES, &[&names]).await? {
        let Some(table) = tables.get(row.get::<_, &str>(0)) else { continue };
        let own: &mut RowSecurity = found.entry((*table).clone()).or_default();
        (own.enabled, own.forced) = (row.get(1), row.get(2));
        let Some(Ok(name)) = row.get::<_, Option<String>>(3).map(Ident::new) else { continue };
        let code = row.get::<_, &str>(5).chars().next();
        let Some(command) = code.and_then(PolicyCommand::of) else { continue };
        let mut roles: Vec<Ident> =
            row.get::<_, Vec<String>>(6).into_iter().filter_map(|role| Ident::new(role).ok()).collect();
        roles.sort();
        let def = PolicyDef { restrictive: row.get(4), command, roles, using: row.get(7), check: row.get(8) };
        own.policies.insert(name, def);
    }
    Ok(found)
}

/// The first of the tables whose rows a role does not all see and write, by name as SQL has it.
pub(super) async fn hidden_from<'t>(
    client: &Client,
    role: &str,
    tables: impl IntoIterator<Item = &'t QualifiedName>,
) -> Result<Option<String>, tokio_postgres::Error> {
    let names: Vec<String> = tables.into_iter().map(sql::name).collect();
    let query = "SELECT n FROM pg_catalog.unnest($1::text[]) AS n JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(n) \
         JOIN pg_catalog.pg_roles r ON r.rolname = $2 \
         WHERE c.relrowsecurity AND NOT r.rolsuper AND NOT r.rolbypassrls \
         AND (c.relforcerowsecurity OR NOT pg_catalog.pg_has_role(r.oid, c.relowner, 'USAGE')) ORDER BY 1 LIMIT 1";
    Ok(client.query_opt(query, &[&names, &role]).await?.map(|row| row.get(0)))
}

/// True when no row security hides anything from the role of the session.
pub(super) async fn sees_all(client: &Client) -> Result<bool, ExecError> {
    let query = "SELECT rolsuper OR rolbypassrls FROM pg_catalog.pg_roles WHERE rolname = current_user";
    let row = client.query_one(query, &[]).await.map_err(ExecError::target("look at the role of the session"))?;
    Ok(row.get(0))
}
