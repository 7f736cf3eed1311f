//! Source tables of which the stream has what the run cannot read: changes under another shape or name. Where the catalog fits
//! the plan again, only this tells that such a table must start again.

use tokio_postgres::{Client, GenericClient};

use super::LedgerError;
use crate::catalog::QualifiedName;
use crate::replay::Lsn;

/// A description in the stream that is not that of the plan's table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Unreadable {
    /// Source table, by the plan's name.
    pub table: QualifiedName,
    /// Oid of the relation that the stream describes.
    pub relation: u32,
    /// Where the transaction commits that the description came with. Zero for a relation that was in the table's place before
    /// it was started again.
    pub lsn: Lsn,
    /// What differs.
    pub why: String,
}

/// Records one, unless another executor has taken the migration over.
pub async fn put(client: &impl GenericClient, id: &str, epoch: i64, one: &Unreadable) -> Result<(), LedgerError> {
    client
        .execute(
            "INSERT INTO pcrd.unreadable (migration, tbl, relation, lsn, why) \
             SELECT id, $3, $4, $5::text::pg_lsn, $6 FROM pcrd.migration WHERE id = $1 AND epoch = $2 \
             ON CONFLICT (migration, tbl, relation) DO UPDATE SET lsn = excluded.lsn, why = excluded.why, at = excluded.at",
            &[
                &id,
                &epoch,
                &one.table.to_string(),
                &i64::from(one.relation),
                &one.lsn.to_string(),
                &one.why,
            ],
        )
        .await?;
    Ok(())
}

/// Those that the stream still has before it: what was applied is behind it, and of a table that was started again since it
/// counts for nothing. Nothing in a ledger of a version that recorded none.
pub async fn in_force(client: &Client, id: &str) -> Result<Vec<(QualifiedName, String)>, LedgerError> {
    let row = client.query_one("SELECT pg_catalog.to_regclass('pcrd.unreadable') IS NOT NULL", &[]).await?;
    if !row.get::<_, bool>(0) {
        return Ok(Vec::new());
    }
    let rows = client
        .query(
            "SELECT u.tbl, u.why FROM pcrd.unreadable u JOIN pcrd.progress p ON p.migration = u.migration \
             LEFT JOIN pcrd.restarted r ON r.migration = u.migration AND r.tbl = u.tbl \
             WHERE u.migration = $1 AND u.lsn >= p.applied_lsn AND (r.lsn IS NULL OR u.lsn >= r.lsn) ORDER BY u.tbl, u.lsn",
            &[&id],
        )
        .await?;
    rows.iter()
        .map(|row| {
            let table = row.get::<_, String>(0).parse();
            Ok((table.map_err(|why| LedgerError::damaged("unreadable table", why))?, row.get(1)))
        })
        .collect()
}

/// Such a record as the reason to copy the table again.
pub fn reason(why: &str) -> String {
    format!("the change stream has it otherwise: {why}")
}

/// All oids that the stream had, or may have, for each table, with the table's name.
pub async fn relations(client: &Client, id: &str) -> Result<Vec<(String, u32)>, LedgerError> {
    let rows = client.query("SELECT tbl, relation FROM pcrd.unreadable WHERE migration = $1", &[&id]).await?;
    rows.iter()
        .map(|row| {
            let oid = u32::try_from(row.get::<_, i64>(1));
            Ok((row.get(0), oid.map_err(|why| LedgerError::damaged("unreadable table", why))?))
        })
        .collect()
}

/// Forgets what was in the stream of an earlier slot.
pub async fn forget(client: &Client, id: &str) -> Result<(), LedgerError> {
    client.execute("DELETE FROM pcrd.unreadable WHERE migration = $1", &[&id]).await?;
    Ok(())
}
