//! Whether ALTER TABLE has rewritten the rows of a table, told by a row that is older.

use super::ExecError;
use crate::pg::client::Client;

/// So many rows are looked at for one of before.
const ROWS: u32 = 10_000;

/// True when no ALTER TABLE has rewritten the rows of a table since a look at it, whatever else was done: each of them would
/// have the transaction of the rewrite for its own. VACUUM FULL and CLUSTER leave a row its own, so one that is older
/// than the look shows it: transactions below `ended` had ended then. That there is no row shows it (`if_empty`) on the way
/// back only, on both ends: every row is streamed, and a change of a key that meets no row ends that. On the way there deletes
/// of keys that only the rewrite made may belong to chunks that are still to come, and rows of before it to chunks that are done.
pub(super) async fn was_not_rewritten(
    source: &Client,
    table: &str,
    ended: Option<i64>,
    if_empty: bool,
) -> Result<bool, ExecError> {
    let Some(ended) = ended else { return Ok(false) };
    // A row's number of its transaction has 32 bits, of which the half are the past. A server that has not come so far is
    // not the one of that look any more.
    let query = format!(
        "SELECT pg_catalog.txid_snapshot_xmax(pg_catalog.txid_current_snapshot()) - $1::int8 BETWEEN 0 AND 1000000000 AND \
         (SELECT coalesce(pg_catalog.bool_or(pg_catalog.age(r.id) > pg_catalog.age($2::text::xid)), {if_empty}) \
          FROM (SELECT xmin AS id FROM {table} LIMIT {ROWS}) AS r)"
    );
    let id = (ended % (1 << 32)).to_string();
    let row = source.query_one(&query, &[&ended, &id]).await;
    Ok(row.map_err(ExecError::source("look for a row of before"))?.get(0))
}
