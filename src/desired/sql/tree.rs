//! What a desired SQL file says: its tables with everything that was folded into them, and every statement with its level.

use std::collections::BTreeMap;
use std::ops::Range;

use super::directive::Directives;
use crate::catalog::{Ident, Persistence, QualifiedName};
use crate::desired::At;

/// A whole file.
#[derive(Debug, Clone, Default)]
pub struct SqlSchema {
    /// Tables of every kind, in the order of the file.
    pub tables: Vec<SqlTable>,
    /// Sequences that have a statement of their own.
    pub sequences: Vec<SqlSequence>,
    /// Enums: labels in order.
    pub enums: BTreeMap<QualifiedName, At<Vec<String>>>,
    /// Domains.
    pub domains: BTreeMap<QualifiedName, SqlDomain>,
    /// Every statement (every action of an ALTER TABLE), in the order of the file. Nothing is left out.
    pub statements: Vec<Statement>,
}

/// One statement, or one action of an ALTER TABLE.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// Where it stands.
    pub span: Range<usize>,
    /// Kind in words: `table`, `grant`, `view`.
    pub what: &'static str,
    /// What becomes of it.
    pub level: Level,
}

/// What becomes of a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Part of a table's description.
    Managed,
    /// Must exist on the target.
    Prerequisite,
    /// Read, listed, and left to others.
    NotCarried,
    /// Tells how the file is to be read (`SET`, psql lines).
    Setting,
    /// An error was reported for it.
    Refused,
}

impl Level {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Managed, Self::Prerequisite, Self::NotCarried, Self::Setting, Self::Refused];

    /// The word in reports.
    pub fn word(self) -> &'static str {
        match self {
            Self::Managed => "managed",
            Self::Prerequisite => "prerequisite",
            Self::NotCarried => "not carried",
            Self::Setting => "setting",
            Self::Refused => "refused",
        }
    }
}

/// A table.
#[derive(Debug, Clone)]
pub struct SqlTable {
    /// Name; the schema is that of `search_path` when none was written.
    pub name: At<QualifiedName>,
    /// The CREATE TABLE, without semicolon.
    pub span: Range<usize>,
    /// Schemas in which unqualified names of types and functions are looked for.
    pub search_path: Vec<Ident>,
    /// UNLOGGED or TEMPORARY.
    pub persistence: Persistence,
    /// What pcrd cannot migrate about the table; empty for one it can. Such a table is not managed.
    pub unsupported: Vec<At<Unsupported>>,
    /// Columns in the order of the file; those of a partition are its parent's.
    pub columns: Vec<SqlColumn>,
    /// Constraints of columns and table, in the order of the file; NOT NULL is a property of columns.
    pub constraints: Vec<SqlConstraint>,
    /// Indexes that are no constraint's.
    pub indexes: Vec<SqlIndex>,
    /// `RANGE (created)` of a partitioned table.
    pub partition_by: Option<At<String>>,
    /// Of a partition.
    pub partition_of: Option<PartitionOf>,
    /// Storage parameters (`fillfactor=70`), in the order of the file.
    pub options: Vec<At<String>>,
    /// Tablespace.
    pub tablespace: Option<At<Ident>>,
    /// Access method.
    pub access_method: Option<At<Ident>>,
    /// Replica identity, when the file sets it.
    pub replica_identity: Option<At<crate::catalog::ReplicaIdentity>>,
    /// Index of CLUSTER ON.
    pub cluster_on: Option<At<Ident>>,
    /// Comment.
    pub comment: Option<At<String>>,
    /// Comments on constraints that the file does not name: by the name that PostgreSQL gives them.
    pub comments: Vec<(Ident, At<String>)>,
    /// What `-- pcrd:` says of the table.
    pub directives: Directives,
}

/// Kinds of tables that pcrd does not migrate.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Unsupported {
    /// INHERITS: the table is also part of another.
    Inherits,
    /// OF a composite type.
    OfType,
    /// LIKE another table.
    Like,
    /// TEMPORARY.
    Temporary,
    /// CREATE TABLE … AS.
    AsQuery,
}

impl Unsupported {
    /// The words in SQL.
    pub fn word(self) -> &'static str {
        match self {
            Self::Inherits => "INHERITS",
            Self::OfType => "OF type",
            Self::Like => "LIKE",
            Self::Temporary => "TEMPORARY",
            Self::AsQuery => "AS query",
        }
    }
}

/// Which part of which table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PartitionOf {
    /// The partitioned table.
    pub parent: At<QualifiedName>,
    /// `FOR VALUES …` or `DEFAULT`.
    pub bound: At<String>,
    /// By ATTACH PARTITION: the table has columns of its own. (Else they are the parent's.)
    pub attached: bool,
}

/// A column.
#[derive(Debug, Clone)]
pub struct SqlColumn {
    /// Name.
    pub name: At<Ident>,
    /// Definition, from name to last constraint.
    pub span: Range<usize>,
    /// Type, as written; the integer type for a serial column.
    pub ty: At<String>,
    /// Written as `serial`: NOT NULL, with a sequence of its own and a default that calls it.
    pub serial: bool,
    /// Collation, as written.
    pub collation: Option<At<String>>,
    /// NOT NULL of its own, by a key, by identity or by serial.
    pub not_null: bool,
    /// DEFAULT: the expression as written.
    pub default: Option<At<String>>,
    /// GENERATED … AS IDENTITY.
    pub identity: Option<At<SqlIdentity>>,
    /// GENERATED ALWAYS AS (…).
    pub generated: Option<At<SqlGenerated>>,
    /// STORAGE, lower case.
    pub storage: Option<At<String>>,
    /// COMPRESSION, lower case.
    pub compression: Option<At<String>>,
    /// SET STATISTICS.
    pub statistics: Option<At<i64>>,
    /// `SET (n_distinct=…)`.
    pub options: Vec<At<String>>,
    /// Comment.
    pub comment: Option<At<String>>,
    /// What `-- pcrd:` says of the column.
    pub directives: Directives,
}

impl SqlColumn {
    /// True when rows that do not name the column get a value from a DEFAULT.
    pub fn has_default(&self) -> bool {
        self.default.is_some() || self.serial
    }
}

/// Identity of a column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlIdentity {
    /// ALWAYS (else BY DEFAULT).
    pub always: bool,
    /// Options of the sequence behind it.
    pub sequence: SequenceOptions,
}

/// A generated column.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlGenerated {
    /// The expression, without brackets.
    pub expr: String,
    /// STORED (else VIRTUAL, which PostgreSQL 18 also means when neither is written).
    pub stored: bool,
}

/// A constraint.
#[derive(Debug, Clone)]
pub struct SqlConstraint {
    /// Name, when one was written.
    pub name: Option<At<Ident>>,
    /// Its text.
    pub span: Range<usize>,
    /// What it demands.
    pub kind: ConstraintKind,
    /// DEFERRABLE.
    pub deferrable: bool,
    /// INITIALLY DEFERRED.
    pub initially_deferred: bool,
    /// NOT VALID.
    pub not_valid: bool,
    /// NO INHERIT.
    pub no_inherit: bool,
    /// NOT ENFORCED.
    pub not_enforced: bool,
    /// Storage parameters of the index behind it.
    pub options: Vec<At<String>>,
    /// Tablespace of the index behind it.
    pub tablespace: Option<At<Ident>>,
    /// Comment.
    pub comment: Option<At<String>>,
    /// What `-- pcrd:` says of the constraint.
    pub directives: Directives,
}

/// What a constraint demands.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConstraintKind {
    /// PRIMARY KEY.
    PrimaryKey(KeyColumns),
    /// UNIQUE.
    Unique {
        /// Its columns.
        key: KeyColumns,
        /// NULLS NOT DISTINCT.
        nulls_not_distinct: bool,
    },
    /// PRIMARY KEY or UNIQUE over an index that exists.
    UsingIndex {
        /// PRIMARY KEY.
        primary: bool,
        /// The index.
        index: At<Ident>,
    },
    /// FOREIGN KEY.
    ForeignKey(ForeignKey),
    /// CHECK: the expression without brackets.
    Check(At<String>),
    /// EXCLUDE: everything from its access method on, as written.
    Exclude(At<String>),
}

/// Columns of a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct KeyColumns {
    /// Key columns in key order.
    pub columns: Vec<At<Ident>>,
    /// INCLUDE columns.
    pub include: Vec<At<Ident>>,
    /// WITHOUT OVERLAPS on the last column.
    pub without_overlaps: bool,
}

/// A foreign key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ForeignKey {
    /// Referencing columns.
    pub columns: Vec<At<Ident>>,
    /// Referenced table.
    pub table: At<QualifiedName>,
    /// Referenced columns; those of the primary key when empty.
    pub references: Vec<At<Ident>>,
    /// The last column of both sides is a PERIOD.
    pub period: bool,
    /// MATCH FULL.
    pub match_full: bool,
    /// ON DELETE, upper case.
    pub on_delete: Option<At<String>>,
    /// ON UPDATE, upper case.
    pub on_update: Option<At<String>>,
}

/// An index.
#[derive(Debug, Clone)]
pub struct SqlIndex {
    /// Name, when one was written. The schema is the table's.
    pub name: Option<At<Ident>>,
    /// The statement.
    pub span: Range<usize>,
    /// UNIQUE.
    pub unique: bool,
    /// ONLY: indexes of partitions are attached.
    pub only: bool,
    /// Access method; btree when none.
    pub method: Option<At<Ident>>,
    /// Key parts.
    pub elements: Vec<IndexElement>,
    /// INCLUDE columns.
    pub include: Vec<At<Ident>>,
    /// NULLS NOT DISTINCT.
    pub nulls_not_distinct: bool,
    /// Storage parameters.
    pub options: Vec<At<String>>,
    /// Tablespace.
    pub tablespace: Option<At<Ident>>,
    /// WHERE.
    pub predicate: Option<At<String>>,
    /// SET STATISTICS by number of the key part, from 1.
    pub statistics: BTreeMap<u32, i64>,
    /// The partitioned index that it is attached to.
    pub attached_to: Option<At<QualifiedName>>,
    /// Comment.
    pub comment: Option<At<String>>,
    /// What `-- pcrd:` says of the index.
    pub directives: Directives,
}

/// One part of an index key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IndexElement {
    /// As written, with operator class and order.
    pub text: At<String>,
    /// The column, when it is one.
    pub column: Option<Ident>,
}

/// A sequence with its own statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlSequence {
    /// Name.
    pub name: At<QualifiedName>,
    /// The statement.
    pub span: Range<usize>,
    /// Options as written.
    pub options: SequenceOptions,
    /// The column of OWNED BY.
    pub owned_by: Option<At<(QualifiedName, Ident)>>,
    /// Comment.
    pub comment: Option<At<String>>,
}

/// Options of a sequence, as written.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct SequenceOptions {
    /// Of an identity column: its name.
    pub name: Option<At<QualifiedName>>,
    /// AS type.
    pub ty: Option<At<String>>,
    /// START WITH.
    pub start: Option<i64>,
    /// INCREMENT BY.
    pub increment: Option<i64>,
    /// MINVALUE.
    pub min: Option<i64>,
    /// MAXVALUE.
    pub max: Option<i64>,
    /// CACHE.
    pub cache: Option<i64>,
    /// CYCLE.
    pub cycle: bool,
}

/// A domain.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SqlDomain {
    /// The statement.
    pub span: Range<usize>,
    /// Base type as written.
    pub base: At<String>,
    /// NOT NULL.
    pub not_null: bool,
    /// DEFAULT.
    pub default: Option<At<String>>,
    /// CHECK constraints: name and expression.
    pub checks: Vec<(Option<At<Ident>>, At<String>)>,
}

impl SqlSchema {
    /// The table of this name.
    pub fn table(&self, name: &QualifiedName) -> Option<&SqlTable> {
        self.tables.iter().find(|table| table.name.value == *name)
    }

    /// The columns that the table has in the end: those of a partition are its parent's, with what the partition says
    /// differently.
    pub fn columns(&self, table: &SqlTable) -> Vec<SqlColumn> {
        // Created before its partitions, so this ends.
        let parent = table.partition_of.as_ref().filter(|of| !of.attached);
        let Some(parent) = parent.and_then(|of| self.table(&of.parent.value)) else { return table.columns.clone() };
        let mut columns = self.columns(parent);
        let key = table.constraints.iter().find_map(SqlConstraint::primary_columns).unwrap_or_default();
        for column in &mut columns {
            column.not_null |= key.contains(&column.name.value);
            if let Some(own) = table.column(&column.name.value) {
                column.not_null |= own.not_null;
                column.default = own.default.clone().or(column.default.take());
                column.generated = own.generated.clone().or(column.generated.take());
                column.directives = own.directives.clone();
            }
            column.comment = table.column(&column.name.value).and_then(|own| own.comment.clone());
        }
        columns
    }

    /// How many statements have each level.
    pub fn counts(&self) -> BTreeMap<Level, usize> {
        let mut counts: BTreeMap<Level, usize> = Level::ALL.into_iter().map(|level| (level, 0)).collect();
        for statement in &self.statements {
            *counts.entry(statement.level).or_default() += 1;
        }
        counts
    }

    /// How many statements of this level there are of each kind.
    pub fn kinds(&self, level: Level) -> BTreeMap<&'static str, usize> {
        let mut kinds = BTreeMap::new();
        for statement in self.statements.iter().filter(|statement| statement.level == level) {
            *kinds.entry(statement.what).or_default() += 1;
        }
        kinds
    }
}

impl SqlConstraint {
    /// The columns of a primary key, which are NOT NULL by it.
    pub fn primary_columns(&self) -> Option<Vec<Ident>> {
        match &self.kind {
            ConstraintKind::PrimaryKey(key) => Some(key.columns.iter().map(|column| column.value.clone()).collect()),
            _ => None,
        }
    }
}

impl SqlTable {
    /// True for a table that pcrd can migrate.
    pub fn is_managed(&self) -> bool {
        self.unsupported.is_empty()
    }

    /// The column of this name.
    pub fn column(&self, name: &Ident) -> Option<&SqlColumn> {
        self.columns.iter().find(|column| column.name.value == *name)
    }
}
