//! What the target's tables consist of, as far as it runs code when rows are written: each part with what it is made of.

use std::collections::BTreeSet;

use super::ExecError;
use crate::pg::client::Client;
use crate::plan::Plan;
use crate::sql;

/// In words, each with its table's name. Under an old name may be another thing: hence the numbers and the definitions.
const PARTS: &str = "WITH t AS (SELECT n, c.* FROM pg_catalog.unnest($1::text[]) AS n \
       JOIN (SELECT oid, relrowsecurity, relforcerowsecurity FROM pg_catalog.pg_class) AS c ON c.oid = pg_catalog.to_regclass(n)) \
     SELECT n, pg_catalog.format('table %s', oid) FROM t \
     UNION ALL SELECT n, pg_catalog.format('trigger %s (%s, fires %s): %s', tgname, g.oid, tgenabled, pg_catalog.pg_get_triggerdef(g.oid)) \
       FROM t JOIN pg_catalog.pg_trigger g ON tgrelid = t.oid AND NOT tgisinternal \
     UNION ALL SELECT n, pg_catalog.format('rule %s (%s, works %s): %s', rulename, r.oid, ev_enabled, pg_catalog.pg_get_ruledef(r.oid)) \
       FROM t JOIN pg_catalog.pg_rewrite r ON ev_class = t.oid \
     UNION ALL SELECT n, pg_catalog.format('policy %s (%s, for %s of %s, permissive: %s): %s; %s', polname, p.oid, polcmd, polroles, polpermissive, \
       pg_catalog.pg_get_expr(polqual, polrelid), \
       pg_catalog.pg_get_expr(polwithcheck, polrelid)) FROM t JOIN pg_catalog.pg_policy p ON polrelid = t.oid \
     UNION ALL SELECT n, pg_catalog.format('row security (on: %s, forced: %s)', relrowsecurity, relforcerowsecurity) FROM t \
     UNION ALL SELECT n, pg_catalog.format('constraint %s (%s): %s', conname, k.oid, pg_catalog.pg_get_constraintdef(k.oid)) \
       FROM t JOIN pg_catalog.pg_constraint k ON conrelid = t.oid AND contype <> 'n' \
     UNION ALL SELECT n, pg_catalog.format('constraint %s of %s (%s) refers to it', conname, conrelid::pg_catalog.regclass, k.oid) \
       FROM t JOIN pg_catalog.pg_constraint k ON confrelid = t.oid \
     UNION ALL SELECT n, pg_catalog.format('index %s (%s): %s', i.relname, i.oid, pg_catalog.pg_get_indexdef(i.oid)) \
       FROM t JOIN pg_catalog.pg_index x ON x.indrelid = t.oid JOIN pg_catalog.pg_class i ON i.oid = x.indexrelid \
     UNION ALL SELECT n, pg_catalog.format('column %s (%s) of type %s (%s)', attname, attnum, \
       pg_catalog.format_type(atttypid, atttypmod), atttypid) \
       FROM t JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND attnum > 0 AND NOT attisdropped \
     UNION ALL SELECT n, pg_catalog.format('default of column %s (%s): %s', attname, d.oid, pg_catalog.pg_get_expr(d.adbin, d.adrelid)) FROM t \
       JOIN pg_catalog.pg_attrdef d ON d.adrelid = t.oid JOIN pg_catalog.pg_attribute a ON a.attrelid = t.oid AND a.attnum = d.adnum \
     UNION ALL SELECT n, pg_catalog.format('statistics %s (%s): %s', stxname, s.oid, pg_catalog.pg_get_statisticsobjdef(s.oid)) \
       FROM t JOIN pg_catalog.pg_statistic_ext s ON stxrelid = t.oid \
     UNION ALL SELECT n, pg_catalog.format('child table %s (%s)', inhrelid::pg_catalog.regclass, inhrelid) FROM t JOIN pg_catalog.pg_inherits ON inhparent = t.oid \
     UNION ALL SELECT n, pg_catalog.format('parent table %s (%s)', inhparent::pg_catalog.regclass, inhparent) FROM t JOIN pg_catalog.pg_inherits ON inhrelid = t.oid";

/// The parts of all tables that the plan makes rows for.
pub(super) async fn parts(plan: &Plan, client: &Client) -> Result<BTreeSet<(String, String)>, ExecError> {
    let names: Vec<String> = plan.targets().into_iter().map(sql::name).collect();
    let rows = client.query(PARTS, &[&names]).await.map_err(ExecError::target("look at the target's tables"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}
