//! Why a desired schema cannot be had; each points into the user's file where it can.

use std::fmt;
use std::ops::Range;

use miette::{Diagnostic, LabeledSpan};

use crate::casts::Unsupported;
use crate::casts::typename::TypeError;
use crate::catalog::{Ident, QualifiedName};
use crate::desired::Origin;
use crate::findings::{Rule, rules};
use crate::projection::KeyNotInjective;
use crate::sql::expression::ExpressionError;
use crate::sql::token::TokenError;

/// One error, its place and its remedy.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ResolveError {
    /// What is wrong.
    pub kind: Box<ResolveErrorKind>,
    /// The file that `span` is in.
    pub origin: Origin,
    /// Byte range in that file.
    pub span: Option<Range<usize>>,
    /// What to do about it.
    pub help: Option<String>,
}

/// Kinds of errors.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ResolveErrorKind {
    /// No such table.
    #[error("the source has no table {0}")]
    UnknownTable(QualifiedName),
    /// A pattern without a table.
    #[error("no table of the source matches `{0}`")]
    ChoosesNothing(String),
    /// An exclusion without effect.
    #[error("`{0}` excludes nothing: no pattern chooses a table of that name")]
    ExcludesNothing(String),
    /// Wanted and not wanted.
    #[error("{0} has an entry of its own, and is excluded")]
    NamedAndExcluded(QualifiedName),
    /// A table that cannot be migrated (yet).
    #[error("{table} is {what}")]
    NotOrdinary {
        /// The table.
        table: QualifiedName,
        /// `a partitioned table`, ….
        what: &'static str,
        /// What is said of it.
        rule: Option<&'static Rule>,
    },
    /// No such column.
    #[error("{table} has no column {column}")]
    UnknownColumn {
        /// The table.
        table: QualifiedName,
        /// The column.
        column: Ident,
    },
    /// Two target columns with one name.
    #[error("{table} would have two columns {column}")]
    NameTaken {
        /// The target table.
        table: QualifiedName,
        /// The column.
        column: Ident,
    },
    /// A name that the plan would use for two tables.
    #[error("{0} would mean two tables in the plan: one of the source, and a target of another that goes into several")]
    Ambiguous(QualifiedName),
    /// A name in a schema of the target that two tables, indexes or sequences would have.
    #[error("two objects of the target would be called {0}")]
    NameTwice(QualifiedName),
    /// Rows of several sources in one target that could be taken for one another's.
    #[error("{table} cannot be merged into {target}: {why}")]
    NotMerged {
        /// The source table.
        table: QualifiedName,
        /// The target table.
        target: QualifiedName,
        /// Why.
        why: String,
    },
    /// Two source tables into one.
    #[error("two tables would become {0}")]
    TargetTaken(QualifiedName),
    /// A key column is dropped.
    #[error("{table}.{column} is part of the key by which rows are found and cannot be dropped")]
    KeyColumnDropped {
        /// The table.
        table: QualifiedName,
        /// The column.
        column: Ident,
    },
    /// The chosen key cannot find rows.
    #[error("the key ({columns}) of {table} cannot be used: {reason}")]
    KeyNotUsable {
        /// The table.
        table: QualifiedName,
        /// The columns.
        columns: String,
        /// Why.
        reason: String,
        /// What is said of it.
        rule: &'static Rule,
    },
    /// The copy is to go by a key that it cannot go by.
    #[error("{table} cannot be copied by key: {reason}")]
    NotByKey {
        /// The table.
        table: QualifiedName,
        /// Why.
        reason: String,
    },
    /// Two keys could become one.
    #[error(transparent)]
    KeyCollapses(KeyNotInjective),
    /// Publishing the table would make the application's UPDATE and DELETE fail.
    #[error("{table} has {reason}, so its updates and deletes cannot be replicated")]
    NoReplicaIdentity {
        /// The table.
        table: QualifiedName,
        /// Why.
        reason: &'static str,
        /// What is said of it.
        rule: &'static Rule,
    },
    /// Not a type.
    #[error("{at}: {error}")]
    BadType {
        /// Address of the column.
        at: String,
        /// Why.
        error: TypeError,
    },
    /// A cast that pcrd does not know.
    #[error("{at}: {unsupported}")]
    UnsupportedCast {
        /// Address of the column.
        at: String,
        /// Why, with an example of what to write instead.
        unsupported: Unsupported,
    },
    /// An expression that is not a pure function of the row.
    #[error("{at}: the expression calls {function}, whose value changes from call to call")]
    VolatileExpression {
        /// Address of the column.
        at: String,
        /// The function.
        function: String,
    },
    /// A filter that cannot be asked of a row wherever it is.
    #[error("the filter of {table} {what}")]
    FilterUnusable {
        /// Source table.
        table: QualifiedName,
        /// Why not.
        what: String,
    },
    /// A generated column loses what it is made from.
    #[error("{at} is generated from {reads}, which is dropped")]
    GeneratedFromDropped {
        /// Address of the column.
        at: String,
        /// The dropped column.
        reads: Ident,
    },
    /// A generated column takes no wish about its values.
    #[error("{at} is a generated column: {what}")]
    Generated {
        /// Address of the column.
        at: String,
        /// What is not possible.
        what: &'static str,
    },
    /// A NOT NULL column without a value for the rows that exist.
    #[error("{0} is NOT NULL but has neither a default nor a backfill")]
    NoValue(String),
    /// A default that was written for the old values.
    #[error("the default of {0} was written for the old values")]
    DefaultUnclear(String),
    /// No unique index of the target is over the columns by which rows are found.
    #[error("the target's {table} would have no unique index over ({columns}), by which its rows are found")]
    NoKeyIndex {
        /// The target table.
        table: QualifiedName,
        /// Target names of the key's columns.
        columns: String,
    },
    /// An identity column that is no integer.
    #[error("{at} is an identity column; it cannot become {to}")]
    IdentityType {
        /// Address of the column.
        at: String,
        /// Wanted type.
        to: String,
    },
    /// A type that the target lacks.
    #[error("{at} needs the type {ty}, which the target does not have")]
    TypeMissing {
        /// Address of the column.
        at: String,
        /// The type.
        ty: String,
    },
    /// The source takes bytes for characters.
    #[error("{at}: the source is SQL_ASCII, and {why}")]
    Bytewise {
        /// Address of the column or table.
        at: String,
        /// What both ends would see differently.
        why: &'static str,
    },
    /// Another type of the same name.
    #[error("{at}: the type {ty} is not the same on the target: {difference}")]
    TypeDiffers {
        /// Address of the column.
        at: String,
        /// The type.
        ty: String,
        /// How they differ.
        difference: String,
    },
    /// A type that only the server itself writes.
    #[error("{at} is of type {ty}, whose values no server reads back from text")]
    TypeUnreadable {
        /// Address of the column.
        at: String,
        /// The type.
        ty: String,
    },
    /// The target's version lacks something.
    #[error("{at} is {what}, which PostgreSQL {major} does not have")]
    TargetTooOld {
        /// Address.
        at: String,
        /// What it is.
        what: &'static str,
        /// The target's major version.
        major: u32,
    },
    /// Source and target are one database.
    #[error("source and target are the same database ({0})")]
    SameDatabase(String),
    /// An acceptance without a finding.
    #[error("{flag}nothing at {address} has the finding {code} to accept")]
    UnusedAcceptance {
        /// Finding code.
        code: String,
        /// Address.
        address: String,
        /// `--allow CODE@ADDRESS: `, when it came from the command line.
        flag: String,
    },
    /// An acceptance of what cannot be accepted.
    #[error("{flag}{code} at {address} is refused and cannot be accepted")]
    RefusedAcceptance {
        /// Finding code.
        code: String,
        /// Address.
        address: String,
        /// As above.
        flag: String,
    },
    /// Two acceptances of one finding.
    #[error("{flag}{code} at {address} is accepted twice, also at {first}")]
    AcceptedTwice {
        /// Finding code.
        code: String,
        /// Address.
        address: String,
        /// Where it was accepted before.
        first: String,
        /// As above.
        flag: String,
    },
    /// SQL that is not one expression.
    #[error("{at}: `{sql}` is not an expression: {error}")]
    NotAnExpression {
        /// Address.
        at: String,
        /// As written.
        sql: String,
        /// Why.
        error: ExpressionError,
    },
    /// SQL that does not end.
    #[error("{at}: {error}")]
    Sql {
        /// Address.
        at: String,
        /// Why.
        error: TokenError,
    },
}

impl ResolveError {
    /// An error without place and remedy.
    pub(crate) fn new(kind: ResolveErrorKind) -> Self {
        Self { kind: Box::new(kind), origin: Origin::Config, span: None, help: None }
    }

    /// With the place where it was written.
    pub(crate) fn at(self, span: &Range<usize>) -> Self {
        Self { span: Some(span.clone()), ..self }
    }

    /// With a remedy.
    pub(crate) fn help(self, help: impl Into<String>) -> Self {
        Self { help: Some(help.into()), ..self }
    }
}

impl fmt::Display for ResolveError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.kind.fmt(f)
    }
}

impl std::error::Error for ResolveError {}

impl ResolveErrorKind {
    /// True for an acceptance that does not fit, in a file or on the command line.
    pub fn is_acceptance(&self) -> bool {
        matches!(self, Self::UnusedAcceptance { .. } | Self::RefusedAcceptance { .. } | Self::AcceptedTwice { .. })
    }

    /// The rule that says more; mistakes of writing have none.
    pub fn rule(&self) -> Option<&'static Rule> {
        match self {
            Self::NotOrdinary { rule, .. } => *rule,
            Self::KeyNotUsable { rule, .. } | Self::NoReplicaIdentity { rule, .. } => Some(rule),
            Self::NotByKey { .. } => Some(&rules::LONG_SNAPSHOT),
            Self::KeyColumnDropped { .. } | Self::NoKeyIndex { .. } => Some(&rules::KEY_DROPPED),
            Self::UnsupportedCast { .. } => Some(&rules::UNSUPPORTED_CAST),
            Self::VolatileExpression { .. } => Some(&rules::VOLATILE_EXPR),
            Self::TypeMissing { .. } => Some(&rules::TYPE_MISSING),
            Self::Bytewise { .. } => Some(&rules::INVALID_TEXT),
            Self::TypeDiffers { .. } | Self::TypeUnreadable { .. } => Some(&rules::TYPE_DIFFERS),
            Self::TargetTooOld { .. } => Some(&rules::TARGET_TOO_OLD),
            Self::UnknownTable(_)
            | Self::ChoosesNothing(_)
            | Self::ExcludesNothing(_)
            | Self::NamedAndExcluded(_)
            | Self::UnknownColumn { .. }
            | Self::FilterUnusable { .. }
            | Self::NameTaken { .. }
            | Self::Ambiguous(_)
            | Self::NameTwice(_)
            | Self::TargetTaken(_)
            | Self::NotMerged { .. }
            | Self::KeyCollapses(_)
            | Self::BadType { .. }
            | Self::GeneratedFromDropped { .. }
            | Self::Generated { .. }
            | Self::NoValue(_)
            | Self::DefaultUnclear(_)
            | Self::IdentityType { .. }
            | Self::SameDatabase(_)
            | Self::UnusedAcceptance { .. }
            | Self::RefusedAcceptance { .. }
            | Self::AcceptedTwice { .. }
            | Self::NotAnExpression { .. }
            | Self::Sql { .. } => None,
        }
    }
}

impl Diagnostic for ResolveError {
    fn code<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.kind.rule().map(|rule| Box::new(rule.code) as Box<dyn fmt::Display>)
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.help.as_ref().map(|help| Box::new(help) as Box<dyn fmt::Display>)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let span = self.span.clone()?;
        Some(Box::new(std::iter::once(LabeledSpan::new(None, span.start, span.len()))))
    }
}

/// The candidate that is most like `wanted`, when one is.
pub(crate) fn did_you_mean<'a, T: fmt::Display + 'a>(
    wanted: &str,
    candidates: impl Iterator<Item = &'a T>,
) -> Option<String> {
    let names: Vec<String> = candidates.map(ToString::to_string).collect();
    let ratio = |name: &String| similar::TextDiff::from_chars(wanted, name.as_str()).ratio();
    let best = names.into_iter().map(|name| (ratio(&name), name)).filter(|(ratio, _)| *ratio >= 0.6);
    best.max_by(|left, right| left.0.total_cmp(&right.0)).map(|(_, name)| format!("did you mean `{name}`?"))
}
