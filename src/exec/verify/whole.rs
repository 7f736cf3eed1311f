//! Comparison of tables whose rows have no key in an order that both ends share: as multisets, by buckets of the hash.

use std::collections::BTreeMap;

use super::ranges::{Compared, DIFFERENCES_MAX};
use super::sides::{Sides, Subject, failed};
use crate::exec::ExecError;
use crate::sql::Side;
use crate::sql::hash::{self, Keys, Rows};
use crate::verify::RowDigest;

const BUCKETS: u32 = 1024;
/// Wrong buckets are read up to this many rows, and at least one of them.
const BAD_ROWS_MAX: u64 = 100_000;

/// Digest of each bucket: rows and sums of two hashes.
pub type Buckets = BTreeMap<i32, (u64, [String; 2])>;

/// The buckets of one side.
pub async fn buckets(sides: &Sides<'_>, side: Side) -> Result<Buckets, ExecError> {
    let Subject { projection, frozen, digest, .. } = sides.subject;
    let inner = hash::buckets(projection, frozen, digest, side, BUCKETS)?;
    let query = format!(
        "SELECT b, c, CAST(x AS pg_catalog.text), CAST(y AS pg_catalog.text) FROM ({inner}) AS sums(b, c, x, y)"
    );
    let rows = sides.client(side).query(&query, &[]).await.map_err(failed(side, sides.doing(side)))?;
    Ok(rows.iter().map(|row| (row.get(0), (row.get::<_, i64>(1) as u64, [row.get(2), row.get(3)]))).collect())
}

/// Compares a whole table. Both sides must be at rest, or in transactions whose snapshots show the same rows.
pub async fn compare(sides: &Sides<'_>) -> Result<Compared, ExecError> {
    let (source, target) = tokio::try_join!(buckets(sides, Side::Source), buckets(sides, Side::Target))?;
    judge(sides, &source, &target).await
}

/// Compares buckets that were read before, and reads the rows of those that differ.
pub async fn judge(sides: &Sides<'_>, source: &Buckets, target: &Buckets) -> Result<Compared, ExecError> {
    let bad: Vec<i32> = source
        .keys()
        .chain(target.keys().filter(|bucket| !source.contains_key(bucket)))
        .copied()
        .filter(|bucket| source.get(bucket) != target.get(bucket))
        .collect();
    let count = |buckets: &Buckets| buckets.values().map(|(rows, _)| rows).sum();
    let mut compared = Compared { rows_source: count(source), rows_target: count(target), differences: Vec::new() };
    if bad.is_empty() {
        return Ok(compared);
    }
    let mut rows = 0;
    let size = |buckets: &Buckets, bucket: &i32| buckets.get(bucket).map_or(0, |(rows, _)| *rows);
    let read_now: Vec<i32> = bad
        .into_iter()
        .take_while(|bucket| {
            let before = rows;
            rows += size(source, bucket).max(size(target, bucket));
            before == 0 || rows <= BAD_ROWS_MAX
        })
        .collect();
    // A row that changed is in one bucket on the source and in another on the target: rows of all wrong buckets are
    // matched together.
    let (here, there) = tokio::try_join!(read(sides, Side::Source, &read_now), read(sides, Side::Target, &read_now))?;
    compared.differences = sides.differences(here, there);
    compared.differences.truncate(DIFFERENCES_MAX);
    if compared.differences.is_empty() {
        return Err(ExecError::Step {
            step: format!("verify_table:{}", sides.subject.projection.target),
            reason: "the digests of a table differ but not those of its rows; one of the ends changed meanwhile"
                .to_owned(),
        });
    }
    Ok(compared)
}

async fn read(sides: &Sides<'_>, side: Side, wanted: &[i32]) -> Result<Vec<RowDigest>, ExecError> {
    let Subject { projection, frozen, digest, .. } = sides.subject;
    let predicate = hash::bucket_predicate(projection, frozen, digest, side, wanted, BUCKETS)?;
    let rows = Rows { side, predicate: Some(&predicate), keys: Keys::All };
    sides.read_rows(side, &sides.row_digests(rows)?, &[]).await
}
