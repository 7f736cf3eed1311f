//! Triggers of tables as a server has them now.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{GrantTarget, Ident, Trigger};
use crate::pg::client::Client;
use crate::plan::triggers::Triggers;
use crate::sql;

const TRIGGERS: &str = "SELECT n, g.tgname::text, pg_catalog.pg_get_triggerdef(g.oid), g.tgenabled::text, \
     (SELECT pg_catalog.min(e.extname::text) FROM pg_catalog.pg_depend d \
       JOIN pg_catalog.pg_extension e ON e.oid = d.refobjid \
       WHERE d.classid = 'pg_catalog.pg_trigger'::pg_catalog.regclass AND d.objid = g.oid \
       AND d.refclassid = 'pg_catalog.pg_extension'::pg_catalog.regclass AND d.deptype IN ('e', 'x')) \
     FROM pg_catalog.unnest($1::text[]) AS n \
     JOIN pg_catalog.pg_trigger g ON g.tgrelid = pg_catalog.to_regclass(n) AND NOT g.tgisinternal";

/// Reads those of the tables among the objects. One whose name no plan can have is left out.
pub(super) async fn read(client: &Client, objects: &BTreeSet<GrantTarget>) -> Result<Triggers, tokio_postgres::Error> {
    let tables: BTreeMap<String, _> = objects
        .iter()
        .filter_map(|object| match object {
            GrantTarget::Table(table) => Some((sql::name(table), table)),
            _ => None,
        })
        .collect();
    let names: Vec<&str> = tables.keys().map(String::as_str).collect();
    let mut found = Triggers::new();
    for row in client.query(TRIGGERS, &[&names]).await? {
        let Some(table) = tables.get(row.get::<_, &str>(0)) else { continue };
        let Ok(name) = Ident::new(row.get::<_, String>(1)) else { continue };
        let enabled = row.get::<_, &str>(3).chars().next().unwrap_or(' ');
        let extension = row.get::<_, Option<String>>(4).and_then(|name| Ident::new(name).ok());
        found.insert(((*table).clone(), name), Trigger { definition: row.get(2), enabled, extension });
    }
    Ok(found)
}
