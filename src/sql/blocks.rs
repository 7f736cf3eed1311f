//! Ranges of a table's blocks: what is read of a table whose key tells nothing.

/// The first major that reads nothing but the blocks of a range.
pub const TID_RANGE_SCANS: u32 = 140_000;

/// A half-open range of blocks. The last one of a table has no end: blocks may have been added since they were counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Blocks {
    /// First block.
    pub lo: u32,
    /// First block after the range.
    pub hi: Option<u32>,
}

/// Cuts a table of so many blocks into ranges of `each` blocks; together they are the whole table, whatever its size is by
/// then.
pub fn cut(blocks: u64, each: u32) -> Vec<Blocks> {
    let count = u32::try_from(blocks.div_ceil(u64::from(each))).unwrap_or(1).max(1);
    let bound = |n: u32| n.saturating_mul(each);
    (0..count).map(|n| Blocks { lo: bound(n), hi: (n + 1 < count).then(|| bound(n + 1)) }).collect()
}

/// The rows of these blocks, or `None` for the whole table. PostgreSQL 14 and later read no other block for it.
pub fn predicate(blocks: Blocks) -> Option<String> {
    let bound = |operator: &str, block: u32| format!("ctid {operator} '({block},0)'::pg_catalog.tid");
    let lo = (blocks.lo > 0).then(|| bound(">=", blocks.lo));
    let hi = blocks.hi.map(|hi| bound("<", hi));
    let parts: Vec<String> = lo.into_iter().chain(hi).collect();
    (!parts.is_empty()).then(|| parts.join(" AND "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_follow_each_other_and_the_last_is_open() {
        for blocks in [0, 1, 99, 100, 101, 200, 4_294_967_294] {
            let ranges = cut(blocks, if blocks > 1_000 { 1_000_000 } else { 100 });
            assert_eq!(ranges[0].lo, 0, "{blocks}");
            assert_eq!(ranges[ranges.len() - 1].hi, None, "{blocks}");
            for pair in ranges.windows(2) {
                assert_eq!(pair[0].hi, Some(pair[1].lo), "{blocks}");
                assert!(pair[0].lo < pair[1].lo, "{blocks}");
            }
        }
        assert_eq!(cut(100, 100).len(), 1);
        assert_eq!(cut(101, 100).len(), 2);
    }

    #[test]
    fn the_whole_table_needs_no_condition() {
        assert_eq!(predicate(Blocks { lo: 0, hi: None }), None);
        assert_eq!(predicate(Blocks { lo: 0, hi: Some(7) }).unwrap(), "ctid < '(7,0)'::pg_catalog.tid");
        assert_eq!(
            predicate(Blocks { lo: 7, hi: Some(9) }).unwrap(),
            "ctid >= '(7,0)'::pg_catalog.tid AND ctid < '(9,0)'::pg_catalog.tid"
        );
        assert_eq!(predicate(Blocks { lo: 7, hi: None }).unwrap(), "ctid >= '(7,0)'::pg_catalog.tid");
    }
}
