//! What the order of a table's columns costs (`pcrd analyze`).

use schemars::JsonSchema;
use serde::Serialize;

use crate::catalog::{Column, Ident, QualifiedName, Stats, Table};
use crate::layout::{Cell, compat, pack, row_bytes};
use crate::resolve::ResolvedTable;

/// Figures of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Analysis {
    /// The table.
    pub table: String,
    /// `reltuples`; null when the table was never analysed.
    pub rows_estimate: Option<u64>,
    /// Bytes of a typical row now, by the server's own layout and its statistics.
    pub row_bytes: u64,
    /// Bytes of a typical row with the columns packed.
    pub row_bytes_packed: u64,
    /// Columns in the packed order.
    pub packed_order: Vec<String>,
    /// The figures that the original tool printed: no header, every variable-length value four bytes.
    pub compat: CompatFigures,
}

/// See [`crate::layout::Compat`].
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct CompatFigures {
    /// Bytes in the present order.
    pub current: u64,
    /// Bytes in the optimal order.
    pub optimal: u64,
    /// The difference.
    pub saved: u64,
    /// Padding in the present order.
    pub padding: u64,
    /// Padding in the optimal order.
    pub padding_optimal: u64,
}

/// Analyses a table.
pub fn analyze(name: &QualifiedName, table: &Table) -> Analysis {
    let cells: Vec<Cell> =
        table.columns.iter().map(|column| cell(column, table.stats.as_ref(), &column.name)).collect();
    let order = pack(&cells);
    let packed: Vec<Cell> = order.iter().map(|&at| cells[at].clone()).collect();
    let figures = compat(&table.columns.iter().map(|column| &column.ty).collect::<Vec<_>>());
    Analysis {
        table: name.to_string(),
        rows_estimate: table.stats.as_ref().and_then(|stats| stats.rows_estimate),
        row_bytes: row_bytes(&cells),
        row_bytes_packed: row_bytes(&packed),
        packed_order: order.iter().map(|&at| table.columns[at].name.to_string()).collect(),
        compat: CompatFigures {
            current: figures.current,
            optimal: figures.optimal,
            saved: figures.saved(),
            padding: figures.padding,
            padding_optimal: figures.padding_optimal,
        },
    }
}

/// A table of the source beside the one that it becomes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct Comparison {
    /// Source table.
    pub source: String,
    /// Target table.
    pub target: String,
    /// True when the target's table exists; else it is the planned one.
    pub target_exists: bool,
    /// Columns in the target's order, then those that are dropped.
    pub columns: Vec<ColumnPair>,
    /// Bytes of a typical row on the source.
    pub row_bytes: u64,
    /// Bytes of a typical row on the target.
    pub row_bytes_target: u64,
    /// The original tool's figures: bytes of the source's order and of the target's.
    pub compat: (u64, u64),
}

/// A column on both sides.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, JsonSchema)]
pub struct ColumnPair {
    /// Name and type on the source; absent for an added column.
    pub source: Option<(String, String)>,
    /// Name and type on the target; absent for a dropped column.
    pub target: Option<(String, String)>,
    /// `added`, `dropped`, `renamed`, `retyped`, `renamed, retyped`, or empty.
    pub change: String,
}

/// Compares a source table with `target`: the live one, or the planned one.
pub fn compare(source: &Table, resolved: &ResolvedTable, target: &Table, target_exists: bool) -> Comparison {
    let source_of = |name: &Ident| {
        let old = resolved.renames.iter().find(|(_, new)| *new == name).map(|(old, _)| old)?;
        source.column(old)
    };
    let described = |column: &Column| (column.name.to_string(), column.ty.sql.clone());
    let mut columns: Vec<ColumnPair> = target
        .columns
        .iter()
        .map(|column| {
            let from = source_of(&column.name);
            ColumnPair {
                source: from.map(described),
                target: Some(described(column)),
                change: from.map_or_else(|| "added".to_owned(), |from| change(from, column)),
            }
        })
        .collect();
    let is_kept = |column: &Column| resolved.renames.get(&column.name).is_some_and(|new| target.column(new).is_some());
    columns.extend(source.columns.iter().filter(|column| !is_kept(column)).map(|column| ColumnPair {
        source: Some(described(column)),
        target: None,
        change: "dropped".to_owned(),
    }));
    let stats = source.stats.as_ref();
    let source_cells: Vec<Cell> = source.columns.iter().map(|column| cell(column, stats, &column.name)).collect();
    let target_cells: Vec<Cell> = target
        .columns
        .iter()
        .map(|column| {
            source_of(&column.name).map_or_else(|| Cell::new(column, None), |from| cell(column, stats, &from.name))
        })
        .collect();
    let figures = |table: &Table| compat(&table.columns.iter().map(|column| &column.ty).collect::<Vec<_>>()).current;
    Comparison {
        source: resolved.source.to_string(),
        target: resolved.target.to_string(),
        target_exists,
        columns,
        row_bytes: row_bytes(&source_cells),
        row_bytes_target: row_bytes(&target_cells),
        compat: (figures(source), figures(target)),
    }
}

fn cell(column: &Column, stats: Option<&Stats>, stats_of: &Ident) -> Cell {
    Cell::new(column, stats.map(|stats| (stats, stats_of)))
}

fn change(from: &Column, to: &Column) -> String {
    let renamed = (from.name != to.name).then_some("renamed");
    let retyped = (from.ty != to.ty).then_some("retyped");
    renamed.into_iter().chain(retyped).collect::<Vec<_>>().join(", ")
}
