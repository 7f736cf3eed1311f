//! Alignment, padding, packing: the bytes of a heap tuple as `heap_form_tuple` lays it out.

#![deny(clippy::disallowed_types, clippy::disallowed_methods)]

use crate::casts::builtin::builtin;
use crate::catalog::{Column, ColumnType, Ident, Stats, Storage};

/// Bytes of `HeapTupleHeaderData` without the null bitmap.
const HEADER_BYTES: u64 = 23;
/// `MAXIMUM_ALIGNOF` on the platforms that PostgreSQL is run on.
const MAX_ALIGN: u64 = 8;
/// A varlena of up to this many bytes, its header of one byte included, is stored unaligned.
const SHORT_VARLENA_BYTES_MAX: u64 = 127;
/// Bytes of a line pointer: every row takes one in its page, besides its tuple.
pub const LINE_POINTER_BYTES: u64 = 4;
/// Above so many search states the columns are packed greedily.
const SEARCH_STATES_MAX: usize = 100_000;

/// What the layout needs to know of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cell {
    /// Alignment in bytes, for values that are aligned.
    align: u64,
    /// Bytes of an average value that is not NULL, its header included.
    bytes: u64,
    /// Length depends on the value.
    variable: bool,
    /// NULL in most rows: takes no room in a typical one.
    mostly_null: bool,
    /// Can be NULL: the tuple may have a bitmap.
    nullable: bool,
}

impl Cell {
    /// A column, with statistics of the column that its values come from, if there are any.
    pub fn new(column: &Column, stats: Option<(&Stats, &Ident)>) -> Self {
        let width = stats.and_then(|(stats, name)| stats.column_widths.get(name)).copied();
        let null_ppm = stats.and_then(|(stats, name)| stats.null_ppm.get(name)).copied();
        let cell = Self::of_type(&column.ty, width);
        let own = if column.ty.is_builtin() { builtin(column.ty.name.as_str()).map(|row| row.storage) } else { None };
        let plain = column.storage.or(own) == Some(Storage::Plain);
        Self {
            align: if plain { type_align(&column.ty) } else { cell.align },
            mostly_null: null_ppm.is_some_and(|ppm| ppm > 500_000),
            nullable: !column.not_null && null_ppm != Some(0),
            ..cell
        }
    }

    /// A value of a type that is never NULL. `width` is `pg_stats.avg_width`, which counts the header.
    pub fn of_type(ty: &ColumnType, width: Option<u32>) -> Self {
        let variable = ty.len < 0;
        let bytes = match u64::try_from(ty.len) {
            Ok(len) => len,
            Err(_) => width.map_or_else(|| guess(ty), u64::from).max(1),
        };
        let short = variable && bytes <= SHORT_VARLENA_BYTES_MAX;
        Self { align: if short { 1 } else { type_align(ty) }, bytes, variable, mostly_null: false, nullable: false }
    }
}

fn type_align(ty: &ColumnType) -> u64 {
    match ty.align {
        crate::catalog::Align::Char => 1,
        crate::catalog::Align::Short => 2,
        crate::catalog::Align::Int => 4,
        crate::catalog::Align::Double => 8,
    }
}

/// Average bytes of a variable-length value of which there are no statistics.
fn guess(ty: &ColumnType) -> u64 {
    let limit = u64::try_from(ty.typmod - 4).unwrap_or(0);
    match ty.name.as_str() {
        "bpchar" if limit > 0 => limit + 1,
        "varchar" if limit > 0 => limit.div_ceil(2).min(64) + 1,
        "numeric" => 9,
        "inet" | "cidr" => 7,
        "json" | "jsonb" | "xml" | "bytea" => 128,
        _ => 33,
    }
}

fn up(offset: u64, align: u64) -> u64 {
    offset.next_multiple_of(align)
}

/// Bytes of the data area when cells follow one another in this order.
fn data_bytes<'a>(cells: impl Iterator<Item = &'a Cell>) -> u64 {
    cells.filter(|cell| !cell.mostly_null).fold(0, |offset, cell| up(offset, cell.align) + cell.bytes)
}

/// Bytes of a typical tuple: header, null bitmap if a column may be NULL, data, rounded up. Without the line pointer.
pub fn row_bytes(cells: &[Cell]) -> u64 {
    let bitmap = if cells.iter().any(|cell| cell.nullable) { (cells.len() as u64).div_ceil(8) } else { 0 };
    up(HEADER_BYTES + bitmap, MAX_ALIGN) + up(data_bytes(cells.iter()), MAX_ALIGN)
}

/// The order (positions in `cells`) with the smallest tuple: columns of fixed length first, without holes between
/// them, then the others in their old order. The old order when that is as small.
///
/// Where a variable-length value ends differs from row to row, so none is used to fill a hole.
pub fn pack(cells: &[Cell]) -> Vec<usize> {
    let (fixed, variable): (Vec<usize>, Vec<usize>) = (0..cells.len()).partition(|&at| !cells[at].variable);
    let kept: Vec<usize> = (0..cells.len()).collect();
    let packed: Vec<usize> = pack_fixed(cells, &fixed).into_iter().chain(variable).collect();
    let size = |order: &[usize]| up(data_bytes(order.iter().map(|&at| &cells[at])), MAX_ALIGN);
    if size(&packed) < size(&kept) { packed } else { kept }
}

/// Columns of the same length and alignment are interchangeable: the search is over how many of each kind are placed.
struct Kind {
    align: u64,
    bytes: u64,
    /// Positions, in the old order.
    columns: Vec<usize>,
}

fn pack_fixed(cells: &[Cell], fixed: &[usize]) -> Vec<usize> {
    let mut kinds: Vec<Kind> = Vec::new();
    for &at in fixed {
        let (align, bytes) = (cells[at].align, cells[at].bytes);
        match kinds.iter_mut().find(|kind| (kind.align, kind.bytes) == (align, bytes)) {
            Some(kind) => kind.columns.push(at),
            None => kinds.push(Kind { align, bytes, columns: vec![at] }),
        }
    }
    // Widest alignment first: for nearly every table that alone leaves no hole.
    kinds.sort_by_key(|kind| std::cmp::Reverse((kind.align, kind.bytes)));
    let sequence = greedy(&kinds);
    let total: u64 = fixed.iter().map(|&at| cells[at].bytes).sum();
    let states = kinds.iter().map(|kind| kind.columns.len() + 1).try_fold(8_usize, |a, b| a.checked_mul(b));
    let sequence = if end_of(&kinds, &sequence) > total && states.is_some_and(|states| states <= SEARCH_STATES_MAX) {
        exact(&kinds)
    } else {
        sequence
    };
    let mut next = vec![0; kinds.len()];
    sequence
        .into_iter()
        .map(|kind| {
            next[kind] += 1;
            kinds[kind].columns[next[kind] - 1]
        })
        .collect()
}

fn end_of(kinds: &[Kind], sequence: &[usize]) -> u64 {
    sequence.iter().fold(0, |offset, &kind| up(offset, kinds[kind].align) + kinds[kind].bytes)
}

/// Places, at each offset, the kind that needs the least padding, the widest of those.
fn greedy(kinds: &[Kind]) -> Vec<usize> {
    let mut left: Vec<usize> = kinds.iter().map(|kind| kind.columns.len()).collect();
    let (mut offset, mut sequence) = (0, Vec::new());
    while let Some(kind) =
        (0..kinds.len()).filter(|&kind| left[kind] > 0).min_by_key(|&kind| up(offset, kinds[kind].align) - offset)
    {
        left[kind] -= 1;
        offset = up(offset, kinds[kind].align) + kinds[kind].bytes;
        sequence.push(kind);
    }
    sequence
}

/// The shortest sequence, by dynamic programming: for every number of columns placed of each kind and every offset
/// modulo the widest alignment, the smallest end. Lengths matter only modulo 8, so no state is left out.
fn exact(kinds: &[Kind]) -> Vec<usize> {
    let width = MAX_ALIGN as usize;
    let mut strides = Vec::new();
    let mut states = 1;
    for kind in kinds {
        strides.push(states);
        states *= kind.columns.len() + 1;
    }
    // Per state and offset modulo 8: the end, and the kind placed last with the offset before it.
    let mut best: Vec<Option<(u64, usize, usize)>> = vec![None; states * width];
    best[0] = Some((0, usize::MAX, 0));
    for state in 0..states {
        for before in 0..width {
            let Some((end, _, _)) = best[state * width + before] else { continue };
            for (number, kind) in kinds.iter().enumerate() {
                if state / strides[number] % (kind.columns.len() + 1) == kind.columns.len() {
                    continue;
                }
                let new_end = up(end, kind.align) + kind.bytes;
                let slot = (state + strides[number]) * width + (new_end % MAX_ALIGN) as usize;
                if best[slot].is_none_or(|(known, _, _)| new_end < known) {
                    best[slot] = Some((new_end, number, before));
                }
            }
        }
    }
    let mut state = states - 1;
    let ends = &best[state * width..];
    let last = (0..width).filter_map(|at| ends[at].map(|(end, _, _)| (end, at))).min();
    let mut sequence = Vec::new();
    let mut at = last.map_or(0, |(_, at)| at);
    while let Some((_, kind, before)) = best[state * width + at] {
        if kind == usize::MAX {
            break;
        }
        sequence.push(kind);
        state -= strides[kind];
        at = before;
    }
    sequence.reverse();
    sequence
}

/// The figures that the original tool printed: no tuple header, every variable-length value four aligned bytes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Compat {
    /// Bytes in the present order.
    pub current: u64,
    /// Bytes in the order by alignment, then length.
    pub optimal: u64,
    /// Padding in the present order.
    pub padding: u64,
    /// Padding in the optimal order.
    pub padding_optimal: u64,
}

impl Compat {
    /// Bytes that the optimal order saves.
    pub fn saved(&self) -> u64 {
        self.current.saturating_sub(self.optimal)
    }
}

/// Computes the original tool's figures.
pub fn compat(types: &[&ColumnType]) -> Compat {
    let cell = |ty: &&ColumnType| {
        let variable = ty.len < 0;
        (variable, if variable { 4 } else { type_align(ty) }, u64::try_from(ty.len).unwrap_or(4))
    };
    let cells: Vec<(bool, u64, u64)> = types.iter().map(cell).collect();
    let mut sorted = cells.clone();
    sorted.sort_by_key(
        |&(variable, align, bytes)| {
            if variable { (true, 0, 0) } else { (false, u64::MAX - align, u64::MAX - bytes) }
        },
    );
    let end = |cells: &[(bool, u64, u64)]| cells.iter().fold(0, |offset, &(_, align, bytes)| up(offset, align) + bytes);
    let raw: u64 = cells.iter().map(|&(_, _, bytes)| bytes).sum();
    let (current, optimal) = (end(&cells), end(&sorted));
    Compat { current, optimal, padding: current - raw, padding_optimal: optimal - raw }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;

    use super::*;
    use crate::casts::typename::parse;

    fn types(text: &str) -> Vec<ColumnType> {
        text.split(';').map(|ty| parse(ty, &BTreeMap::new()).unwrap()).collect()
    }

    fn figures(text: &str) -> (u64, u64, u64, u64) {
        let types = types(text);
        let found = compat(&types.iter().collect::<Vec<_>>());
        assert_eq!(found.saved(), found.current - found.optimal);
        (found.current, found.optimal, found.padding, found.padding_optimal)
    }

    #[test]
    fn the_original_s_figures_of_the_demo() {
        let listings = "integer;boolean;numeric(12,2);smallint;boolean;timestamp;integer;boolean;real;double precision;\
            smallint;timestamp;smallint;boolean;double precision;varchar(255);varchar(100);char(2);varchar(10);integer;varchar(20)";
        assert_eq!(figures(listings), (104, 84, 22, 2));
        let users = "integer;timestamp;varchar(255);varchar(100);varchar(100);varchar(20)";
        let (current, optimal, _, _) = figures(users);
        assert_eq!((current, optimal), (32, 28));
        let agents = "integer;varchar(100);varchar(255);varchar(20);timestamp;varchar(50);real";
        let (current, optimal, _, _) = figures(agents);
        assert_eq!((current, optimal), (32, 32));
    }

    fn cells(text: &str) -> Vec<Cell> {
        types(text).iter().map(|ty| Cell::of_type(ty, None)).collect()
    }

    #[test]
    fn tuples_have_a_header_and_round_up() {
        assert_eq!(row_bytes(&cells("integer")), 24 + 8);
        assert_eq!(row_bytes(&cells("integer;bigint")), 24 + 16);
        assert_eq!(row_bytes(&cells("smallint;bigint;smallint;bigint")), 24 + 32);
        // A bitmap for eight columns fits into the header's padding, one for nine does not.
        let nullable = |n: usize| vec![Cell { nullable: true, ..cells("boolean").remove(0) }; n];
        assert_eq!(row_bytes(&nullable(8)), 24 + 8);
        assert_eq!(row_bytes(&nullable(9)), 32 + 16);
        // Short values are not aligned, long ones are.
        let text = |width| Cell::of_type(&types("text")[0], Some(width));
        assert_eq!(row_bytes(&[cells("boolean").remove(0), text(7)]), 24 + 8);
        assert_eq!(row_bytes(&[cells("boolean").remove(0), text(200)]), 24 + 208);
        // 12 aligned to 8, and 6 aligned to 4.
        assert_eq!(row_bytes(&cells("timetz;timetz")), 24 + 32);
        assert_eq!(row_bytes(&cells("macaddr;smallint;integer")), 24 + 16);
    }

    #[test]
    fn packing_keeps_an_order_that_is_as_good() {
        assert_eq!(pack(&cells("integer;text;integer")), [0, 1, 2]);
        assert_eq!(pack(&cells("boolean;bigint;boolean;bigint")), [1, 3, 0, 2]);
        assert_eq!(pack(&cells("boolean;bigint;text;smallint;bigint")), [1, 4, 3, 0, 2]);
    }

    const KINDS: &[&str] = &[
        "bigint", "integer", "smallint", "boolean", "uuid", "timetz", "macaddr", "macaddr8", "tid", "point", "name",
        "interval", "lseg",
    ];

    fn permutations(items: &[usize]) -> Vec<Vec<usize>> {
        if items.is_empty() {
            return vec![Vec::new()];
        }
        let mut all = Vec::new();
        for at in 0..items.len() {
            let mut rest = items.to_vec();
            let first = rest.remove(at);
            all.extend(permutations(&rest).into_iter().map(|tail| [vec![first], tail].concat()));
        }
        all
    }

    fn sized(cells: &[Cell], order: &[usize]) -> u64 {
        row_bytes(&order.iter().map(|&at| cells[at].clone()).collect::<Vec<_>>())
    }

    proptest! {
        #[test]
        fn no_order_of_fixed_columns_is_smaller(kinds in proptest::collection::vec(0..KINDS.len(), 0..7)) {
            let text = kinds.iter().map(|&kind| KINDS[kind]).collect::<Vec<_>>();
            let cells = if text.is_empty() { Vec::new() } else { cells(&text.join(";")) };
            let packed = sized(&cells, &pack(&cells));
            for order in permutations(&(0..cells.len()).collect::<Vec<_>>()) {
                prop_assert!(packed <= sized(&cells, &order), "{text:?} {order:?}");
            }
        }

        #[test]
        fn packing_permutes_and_never_grows(kinds in proptest::collection::vec((0..KINDS.len() + 3, 1_u32..300), 0..60)) {
            let cells: Vec<Cell> = kinds
                .iter()
                .map(|&(kind, width)| Cell::of_type(&types(KINDS.get(kind).unwrap_or(&"text"))[0], Some(width)))
                .collect();
            let order = pack(&cells);
            let mut sorted = order.clone();
            sorted.sort_unstable();
            prop_assert_eq!(sorted, (0..cells.len()).collect::<Vec<_>>());
            prop_assert!(sized(&cells, &order) <= row_bytes(&cells));
        }
    }
}
