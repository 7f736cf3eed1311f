//! Comparison of ranges and lists of keys, and the way from a wrong digest to the rows that differ.

use std::collections::BTreeSet;

use super::sides::{KeyTexts, Selection, Sides};
use crate::exec::ExecError;
use crate::sql::Side;
use crate::sql::range::Counted;
use crate::verify::{Difference, DifferenceKind};

/// Ranges of at most this many rows on either side are read row by row …
const ROWS_READ: u64 = 500;
/// … and larger ones are cut into this many.
const CUT: u64 = 16;
/// A range that no key of the source cuts is read all the same up to this many rows.
const ROWS_READ_MAX: u64 = 20_000;
/// More differences than this are not looked for: they would not make the report more useful.
pub const DIFFERENCES_MAX: usize = 1_000;

/// What a comparison of a set of rows gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Compared {
    /// Rows of the source that were compared.
    pub rows_source: u64,
    /// Rows of the target that were compared.
    pub rows_target: u64,
    /// What differs.
    pub differences: Vec<Difference>,
}

/// Where rows differ.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wrong {
    /// The keys.
    pub selection: Selection,
    /// Rows of the end that has more of them.
    pub rows: u64,
}

/// What differs, and where.
#[derive(Debug, Default)]
pub struct Found {
    /// Rows, up to [`DIFFERENCES_MAX`].
    pub differences: Vec<Difference>,
    /// All places, the rows that are not named included.
    pub wrong: Vec<Wrong>,
}

/// Compares a selection without some keys, and names what differs. Both sides must be at rest, or in transactions whose
/// snapshots show the same rows outside of the excluded keys.
pub async fn compare(sides: &Sides<'_>, selection: &Selection, except: &[KeyTexts]) -> Result<Compared, ExecError> {
    let sums = sides.sums(selection, except).await?;
    let differences = if sums.equal() { Vec::new() } else { locate(sides, selection, except).await?.differences };
    if !sums.equal() && differences.is_empty() {
        return Err(ExecError::Step {
            step: format!("verify_table:{}", sides.subject.projection.target),
            reason: "the digests of a range differ but not those of its rows; one of the ends changed meanwhile"
                .to_owned(),
        });
    }
    Ok(Compared { rows_source: sums.source.rows, rows_target: sums.target.rows, differences })
}

/// Cuts a selection whose digests differ until the rows are found.
pub async fn locate(sides: &Sides<'_>, selection: &Selection, except: &[KeyTexts]) -> Result<Found, ExecError> {
    let except_set: BTreeSet<&KeyTexts> = except.iter().collect();
    let mut open = match selection {
        Selection::Range { .. } => vec![selection.clone()],
        Selection::Keys(keys) => {
            let kept: Vec<KeyTexts> = keys.iter().filter(|key| !except_set.contains(key)).cloned().collect();
            kept.chunks(ROWS_READ as usize).map(|keys| Selection::Keys(keys.to_vec())).collect()
        }
    };
    let mut found = Found::default();
    while let Some(part) = open.pop() {
        let sums = sides.sums(&part, except).await?;
        if sums.equal() {
            continue;
        }
        let rows = sums.source.rows.max(sums.target.rows);
        let differences = &mut found.differences;
        match &part {
            Selection::Range { lo, hi } if rows > ROWS_READ => {
                let parts = cut(sides, lo.as_ref(), hi.as_ref(), sums.source.rows).await?;
                if parts.len() > 1 {
                    open.extend(parts);
                    continue;
                }
                if rows <= ROWS_READ_MAX {
                    differences.extend(read(sides, &part, except).await?);
                } else {
                    differences.push(too_many(lo.as_ref(), hi.as_ref(), sums.source.rows, sums.target.rows));
                }
            }
            Selection::Range { .. } | Selection::Keys(_) => differences.extend(read(sides, &part, except).await?),
        }
        found.wrong.push(Wrong { selection: part, rows });
        if found.differences.len() >= DIFFERENCES_MAX {
            found.differences.truncate(DIFFERENCES_MAX);
            // The rest was not looked at: it may differ anywhere.
            if !open.is_empty() {
                let sums = sides.sums(selection, except).await?;
                let rows = sums.source.rows.max(sums.target.rows);
                found.wrong = vec![Wrong { selection: selection.clone(), rows }];
            }
            break;
        }
    }
    Ok(found)
}

async fn cut(
    sides: &Sides<'_>,
    lo: Option<&KeyTexts>,
    hi: Option<&KeyTexts>,
    rows: u64,
) -> Result<Vec<Selection>, ExecError> {
    let step = (rows / CUT).max(1);
    let mut parts = Vec::new();
    let mut from = lo.cloned();
    while (parts.len() as u64) < CUT {
        let Some(next) = sides.key_after(from.as_ref(), hi, step, Counted::Belonging).await? else { break };
        parts.push(Selection::Range { lo: from, hi: Some(next.clone()) });
        from = Some(next);
    }
    parts.push(Selection::Range { lo: from, hi: hi.cloned() });
    Ok(parts)
}

async fn read(sides: &Sides<'_>, part: &Selection, except: &[KeyTexts]) -> Result<Vec<Difference>, ExecError> {
    let (source, target) =
        tokio::try_join!(sides.rows(Side::Source, part, except), sides.rows(Side::Target, part, except))?;
    Ok(sides.differences(source, target))
}

fn too_many(lo: Option<&KeyTexts>, hi: Option<&KeyTexts>, source: u64, target: u64) -> Difference {
    let bound = |key: Option<&KeyTexts>| key.map_or_else(|| "…".to_owned(), |key| key.join(", "));
    let kind = if target > source { DifferenceKind::ExtraOnTarget } else { DifferenceKind::MissingOnTarget };
    let key = vec![format!("from {} to {}: {source} rows on the source, {target} on the target", bound(lo), bound(hi))];
    Difference { key, columns: Vec::new(), kind, values: Vec::new() }
}
