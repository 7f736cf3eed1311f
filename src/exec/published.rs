//! What the publication publishes must be the plan's tables, whole: anything less is a silent gap in the stream.

use super::ExecError;
use super::context::Run;
use crate::pg::client::Client;
use crate::plan::{End, Op};

/// Compares the publication with the plan; a swapped table shows as another name, because the publication holds oids.
pub async fn check(run: &Run, source: &Client) -> Result<(), ExecError> {
    let publication = &run.plan.settings.publication;
    let what = format!("publication {publication} of the {}", run.end(End::Source));
    let stale = |difference: String| ExecError::Stale { what: what.clone(), difference };
    let row = source
        .query_opt(
            "SELECT puballtables, pubinsert AND pubupdate AND pubdelete, coalesce((to_jsonb(p)->>'pubtruncate')::bool, true), \
             coalesce((to_jsonb(p)->>'pubviaroot')::bool, false) FROM pg_catalog.pg_publication p WHERE pubname = $1",
            &[&publication.as_str()],
        )
        .await
        .map_err(ExecError::source("read the publication"))?;
    let Some(row) = row else { return Err(stale("it is gone".to_owned())) };
    if row.get::<_, bool>(0) || !row.get::<_, bool>(1) || !row.get::<_, bool>(2) {
        return Err(stale(
            "it does not publish just the inserts, updates, deletes and truncates of the plan's tables".to_owned(),
        ));
    }
    if row.get::<_, bool>(3) == run.plan.partitioned().is_empty() {
        return Err(stale(
            "publish_via_partition_root is not what the plan has: changes of partitions have another table's name"
                .to_owned(),
        ));
    }
    let rows = source
        .query(
            "SELECT n.nspname::text, c.relname::text, to_jsonb(r)->>'prqual' IS NULL AND to_jsonb(r)->>'prattrs' IS NULL \
             FROM pg_catalog.pg_publication_rel r JOIN pg_catalog.pg_publication p ON p.oid = r.prpubid \
             JOIN pg_catalog.pg_class c ON c.oid = r.prrelid JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
             WHERE p.pubname = $1",
            &[&publication.as_str()],
        )
        .await
        .map_err(ExecError::source("read the publication"))?;
    let mut found: Vec<(String, String)> = rows.iter().map(|row| (row.get(0), row.get(1))).collect();
    found.sort();
    let mut wanted: Vec<(String, String)> = run
        .plan
        .steps
        .iter()
        .filter_map(|step| match &step.op {
            Op::CreatePublication(create) => Some(&create.tables),
            _ => None,
        })
        .flatten()
        .map(|table| (table.schema.as_str().to_owned(), table.name.as_str().to_owned()))
        .collect();
    wanted.sort();
    if found != wanted {
        let names =
            |list: &[(String, String)]| list.iter().map(|(s, t)| format!("{s}.{t}")).collect::<Vec<_>>().join(", ");
        return Err(stale(format!("it publishes [{}], the plan has [{}]", names(&found), names(&wanted))));
    }
    if rows.iter().any(|row| !row.get::<_, bool>(2)) {
        return Err(stale("a table has a row filter or a column list".to_owned()));
    }
    Ok(())
}
