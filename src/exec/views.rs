//! Views of the source that go along: whether they are still those of the plan, and which have come since.

use std::collections::{BTreeMap, BTreeSet};

use super::ExecError;
use super::context::Run;
use crate::pg::client::Client;
use crate::sql;

const DEFINITIONS: &str = "SELECT n, pg_catalog.pg_get_viewdef(c.oid) FROM pg_catalog.unnest($1::text[]) AS n \
     JOIN pg_catalog.pg_class c ON c.oid = pg_catalog.to_regclass(n) AND c.relkind IN ('v', 'm')";
const OVER_TABLES: &str = "SELECT DISTINCT n.nspname::text, v.relname::text FROM pg_catalog.unnest($1::text[]) AS name \
     JOIN pg_catalog.pg_depend d ON d.refclassid = 'pg_catalog.pg_class'::pg_catalog.regclass \
       AND d.refobjid = pg_catalog.to_regclass(name) AND d.classid = 'pg_catalog.pg_rewrite'::pg_catalog.regclass \
     JOIN pg_catalog.pg_rewrite r ON r.oid = d.objid AND r.rulename = '_RETURN' \
     JOIN pg_catalog.pg_class v ON v.oid = r.ev_class AND v.relkind IN ('v', 'm') \
     JOIN pg_catalog.pg_namespace n ON n.oid = v.relnamespace ORDER BY 1, 2";

/// Refuses when a view of the source shows something else than when the plan was made, or is not there any more: the target's
/// would show what was. Says which views over the tables the plan does not know.
///
/// # Errors
/// [`ExecError::CutoverAborted`] with the first of them.
pub(super) async fn unchanged(run: &Run, source: &Client) -> Result<(), ExecError> {
    let planned = &run.plan.source.views;
    let names: BTreeMap<String, _> = planned.keys().map(|name| (sql::name(name), name)).collect();
    let asked: Vec<&str> = names.keys().map(String::as_str).collect();
    let doing = || ExecError::source("read the views");
    let rows = source.query(DEFINITIONS, &[&asked]).await.map_err(doing())?;
    let found: BTreeMap<&str, &str> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    for (shown, name) in &names {
        let is_so = found
            .get(shown.as_str())
            .is_some_and(|text| text.trim().trim_end_matches(';') == planned[*name].definition);
        if !is_so {
            let reason = format!("the view {name} on the source is not that of the plan: plan anew");
            return Err(ExecError::CutoverAborted { reason });
        }
    }
    let tables: Vec<String> = run.plan.sources().into_iter().map(sql::name).collect();
    let known: BTreeSet<String> = planned
        .keys()
        .map(ToString::to_string)
        .chain(run.plan.not_carried.iter().map(|left| left.name.clone()))
        .collect();
    for row in source.query(OVER_TABLES, &[&tables]).await.map_err(doing())? {
        let (schema, view): (String, String) = (row.get(0), row.get(1));
        let Ok(name) = crate::catalog::QualifiedName::new(schema, view) else { continue };
        if !known.contains(&name.to_string()) {
            run.note(format!(
                "the view {name} came to the source after the plan was made, and the target does not get it"
            ));
        }
    }
    Ok(())
}
