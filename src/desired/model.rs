//! The wanted changes, each with the place where it was written.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use crate::catalog::{Ident, QualifiedName, Sequence, Table};
use crate::desired::carry::Carry;
use crate::desired::selection::Selection;
use crate::desired::sql::Places;

/// A value and the byte range of the file where it stands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct At<T> {
    /// The value.
    pub value: T,
    /// Byte range in the config file.
    pub span: Range<usize>,
}

/// Everything the user wants changed. Tables in the order of the file.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct DesiredSchema {
    /// The tables to migrate.
    pub tables: Vec<DesiredTable>,
    /// Which others are migrated, and which are not.
    pub selection: Selection,
    /// Findings accepted with a reason.
    pub accept: Vec<At<Acceptance>>,
    /// Findings that the desired SQL file accepts.
    pub accept_in_schema: Vec<At<Acceptance>>,
    /// Whether the targets are vacuumed and frozen before the cutover, where a table does not say.
    pub vacuum: bool,
    /// In which order rows are copied, where a table does not say.
    pub copy: CopyWish,
    /// What else goes along.
    pub carry: Carry,
    /// Sequences of the desired SQL file.
    pub sequences: BTreeMap<QualifiedName, Sequence>,
}

/// The file that spans point into.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Origin {
    /// The config.
    #[default]
    Config,
    /// The desired SQL file.
    Schema,
}

/// One table of `migrate.tables`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DesiredTable {
    /// Source table.
    pub source: At<QualifiedName>,
    /// Target table; the same name when not given.
    pub target: Option<At<QualifiedName>>,
    /// Key columns chosen by the user (source names).
    pub key: Option<At<Vec<Ident>>>,
    /// Column order.
    pub order: Order,
    /// Whether the target is vacuumed and frozen before the cutover; as all are when not given.
    pub vacuum: Option<bool>,
    /// In which order rows are copied; as all are when not given.
    pub copy: Option<At<CopyWish>>,
    /// Of a partitioned source: its rows go into one flat table, and not into the same partitions.
    pub flat: bool,
    /// Wishes by source column.
    pub columns: BTreeMap<Ident, At<ColumnWish>>,
    /// The new column that tells the rows of several sources of the target apart; its `backfill` is the constant of this one.
    pub part: Option<At<Ident>>,
    /// Which rows (SQL over source columns); all when there is none.
    pub filter: Option<At<String>>,
    /// New columns, in the order of the file.
    pub add: Vec<At<AddedColumn>>,
    /// The file that says all this.
    pub origin: Origin,
    /// A pattern chose it, not its name.
    pub by_glob: bool,
    /// The whole target table, when a desired SQL file gives it; `None` when only changes are given.
    pub whole: Option<Box<Whole>>,
}

/// A target table as a desired SQL file gives it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Whole {
    /// Its structure, under its target name.
    pub table: Table,
    /// Where its parts stand.
    pub places: Places,
    /// Constraints and indexes whose names the file leaves open.
    pub unnamed: BTreeSet<Ident>,
    /// The target's server has read it, and definitions are as it writes them.
    pub verified: bool,
}

/// Order of the target's columns.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Order {
    /// As on the source, new columns last.
    #[default]
    Keep,
    /// With the least padding (`optimize_column_order: true`).
    Packed,
    /// As in the desired SQL file.
    AsWritten,
}

/// In which order the rows of a table are copied.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum CopyWish {
    /// As the statistics of the source say.
    #[default]
    Auto,
    /// In the order of the key.
    ByKey,
    /// In the order of the blocks.
    ByBlocks,
}

impl CopyWish {
    /// The words of config and directive.
    pub const WORDS: [(&'static str, Option<Self>); 3] =
        [("auto", Some(Self::Auto)), ("by_key", Some(Self::ByKey)), ("by_blocks", Some(Self::ByBlocks))];

    /// The word.
    pub fn word(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::ByKey => "by_key",
            Self::ByBlocks => "by_blocks",
        }
    }
}

/// What is wanted of one source column. All `None`: copied as it is.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct ColumnWish {
    /// New type, as written.
    pub ty: Option<At<String>>,
    /// New name.
    pub rename: Option<At<Ident>>,
    /// Leave the column out of the target.
    pub drop: bool,
    /// Expression over source columns.
    pub using: Option<At<String>>,
    /// Expression back over target columns.
    pub reverse: Option<At<String>>,
    /// NOT NULL or not.
    pub not_null: Option<At<bool>>,
    /// DEFAULT (SQL).
    pub default: Option<At<String>>,
}

/// One entry of `add_columns`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AddedColumn {
    /// Name.
    pub name: At<Ident>,
    /// Type, as written.
    pub ty: At<String>,
    /// DEFAULT (SQL).
    pub default: Option<At<String>>,
    /// Value for existing and streamed rows: expression over source columns.
    pub backfill: Option<At<String>>,
    /// NOT NULL.
    pub not_null: bool,
}

/// One entry of `accept`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Acceptance {
    /// Finding code.
    pub code: String,
    /// Address of the object.
    pub address: String,
    /// Why.
    pub reason: String,
}
