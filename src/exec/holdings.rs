//! Owners and grants of objects as a server has them now.

use std::collections::{BTreeMap, BTreeSet};

use tokio_postgres::GenericClient;

use crate::catalog::{ColumnRef, GrantTarget, Holding, Holdings, Ident, QualifiedName};
use crate::sql;

const RELATIONS: &str = "SELECT n, pg_catalog.pg_get_userbyid(c.relowner)::text, coalesce(c.relacl::text[], '{}') \
     FROM pg_catalog.unnest($1::text[]) AS n JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(n)";
const COLUMNS: &str = "SELECT n, a.attname::text, a.attacl::text[] FROM pg_catalog.unnest($1::text[]) AS n \
     JOIN pg_catalog.pg_attribute a ON a.attrelid = pg_catalog.to_regclass(n) \
     WHERE a.attnum > 0 AND NOT a.attisdropped AND a.attacl IS NOT NULL";
const SCHEMAS: &str = "SELECT n.nspname::text, pg_catalog.pg_get_userbyid(n.nspowner)::text, coalesce(n.nspacl::text[], '{}') \
     FROM pg_catalog.pg_namespace n WHERE n.nspname = ANY ($1::text[])";

/// Reads those of the objects that are there, and for each table those of its columns that have grants of their own.
pub(super) async fn read(
    client: &impl GenericClient,
    objects: &BTreeSet<GrantTarget>,
) -> Result<Holdings, tokio_postgres::Error> {
    let mut found = Holdings::new();
    let (mut relations, mut schemas) = (BTreeMap::new(), Vec::new());
    for object in objects {
        match object {
            GrantTarget::Schema(name) => schemas.push(name.as_str()),
            GrantTarget::Table(name) => _ = relations.insert(sql::name(name), object.clone()),
            GrantTarget::Sequence(name) => _ = relations.insert(sql::name(name), object.clone()),
            GrantTarget::Column(at) => {
                _ = relations.insert(sql::name(&at.table), GrantTarget::Table(at.table.clone()));
            }
        }
    }
    let names: Vec<&str> = relations.keys().map(String::as_str).collect();
    for row in client.query(RELATIONS, &[&names]).await? {
        let Some(object) = relations.get(row.get::<_, &str>(0)) else { continue };
        insert(&mut found, object.clone(), row.get(1), &row.get::<_, Vec<String>>(2));
    }
    if relations.values().any(|object| matches!(object, GrantTarget::Table(_))) {
        for row in client.query(COLUMNS, &[&names]).await? {
            let Some(GrantTarget::Table(table)) = relations.get(row.get::<_, &str>(0)) else { continue };
            let Some(owner) = owner(&found, table) else { continue };
            let Ok(column) = Ident::new(row.get::<_, String>(1)) else { continue };
            let at = ColumnRef { table: table.clone(), column };
            found.insert(GrantTarget::Column(at), Holding::of(&owner, &row.get::<_, Vec<String>>(2)));
        }
    }
    for object in objects {
        let GrantTarget::Column(at) = object else { continue };
        if let (Some(owner), false) = (owner(&found, &at.table), found.contains_key(object)) {
            found.insert(object.clone(), Holding { owner, grants: Vec::new() });
        }
    }
    if !schemas.is_empty() {
        for row in client.query(SCHEMAS, &[&schemas]).await? {
            let Ok(name) = Ident::new(row.get::<_, String>(0)) else { continue };
            insert(&mut found, GrantTarget::Schema(name), row.get(1), &row.get::<_, Vec<String>>(2));
        }
    }
    Ok(found)
}

fn owner(found: &Holdings, table: &QualifiedName) -> Option<Ident> {
    found.get(&GrantTarget::Table(table.clone())).map(|own| own.owner.clone())
}

/// A role whose name no plan can have owns nothing that a plan is about.
fn insert(found: &mut Holdings, object: GrantTarget, owner: String, grants: &[String]) {
    if let Ok(owner) = Ident::new(owner) {
        found.insert(object, Holding::of(&owner, grants));
    }
}
