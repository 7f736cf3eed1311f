//! One cast: its class, why, and its SQL.

use super::CastClass;
use crate::catalog::ColumnType;
use crate::findings::Rule;
use crate::findings::rules::{LOSSY_CAST, NARROWING_CAST, VERSION_DEPENDENT_CAST};
use crate::sql::literal;

/// Stands for the column in templates. No PostgreSQL text holds it, so no label or zone can contain it.
pub(super) const C: &str = "\0";

/// A change of type that pcrd knows.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cast {
    /// Its class.
    pub class: CastClass,
    /// Why it is in this class.
    pub reason: String,
    /// Rules of the findings that the plan shows.
    pub findings: Vec<&'static Rule>,
    /// Values that pass the checks keep their order (default operator class, collation C), strictly.
    pub order_preserving: bool,
    /// Values that pass the checks stay different from one another.
    pub injective: bool,
    /// The result hangs on the server's major version or time zone data: both ends would not always agree.
    pub version_dependent: bool,
    from: ColumnType,
    to: ColumnType,
    expr: String,
    bad: Vec<(String, String)>,
    silent: bool,
}

/// Rows that a cast would break.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Bad {
    /// True for such a row, never an error; NULL or false for others.
    pub predicate: String,
    /// What is wrong with them: `out of range for integer`.
    pub meaning: String,
}

impl Cast {
    /// Type of the source column.
    pub fn from(&self) -> &ColumnType {
        &self.from
    }

    /// Type of the result.
    pub fn to(&self) -> &ColumnType {
        &self.to
    }

    /// The expression, of exactly the new type, over a quoted column.
    ///
    /// Where PostgreSQL's own cast would round or cut silently, the expression raises instead: the validation query
    /// counts the rows of today, and rows written later must stop the apply, not lose a digit.
    pub fn expr(&self, column_sql: &str) -> String {
        let plain = self.expr.replace(C, column_sql);
        if !self.silent || self.class != CastClass::Checked {
            return plain;
        }
        let bad: Vec<String> = self.bad(column_sql).into_iter().map(|bad| format!("({})", bad.predicate)).collect();
        let message = format!("pcrd: a value of type {} does not fit {}", self.from.sql, self.to.sql);
        // A volatile function: the planner evaluates constant branches of a CASE in advance, whether or not a row
        // takes them, and a row of parameters is constant. No value is in the error's text.
        format!(
            "CASE WHEN {} THEN CAST(CAST(CAST({} || left(CAST(clock_timestamp() AS text), 0) AS pg_catalog.int4) AS text) AS {}) \
             ELSE {plain} END",
            bad.join(" OR "),
            literal(&message),
            self.to.sql,
        )
    }

    /// The rows that must not exist before the cast may run: empty for casts that always fit.
    pub fn bad(&self, column_sql: &str) -> Vec<Bad> {
        self.bad
            .iter()
            .map(|(predicate, meaning)| Bad { predicate: predicate.replace(C, column_sql), meaning: meaning.clone() })
            .collect()
    }
}

/// What a rule says; `finish` makes a [`Cast`] of it.
#[derive(Debug, Clone)]
pub(super) struct Draft {
    pub(super) class: CastClass,
    pub(super) reason: String,
    pub(super) finding: Option<&'static Rule>,
    pub(super) order: bool,
    pub(super) injective: bool,
    pub(super) version: bool,
    /// Template; `None` is a plain CAST.
    pub(super) expr: Option<String>,
    pub(super) bad: Vec<(String, String)>,
    /// PostgreSQL's cast loses without an error.
    pub(super) silent: bool,
}

pub(super) fn widening(reason: impl Into<String>) -> Draft {
    Draft {
        class: CastClass::Widening,
        reason: reason.into(),
        finding: None,
        order: false,
        injective: true,
        version: false,
        expr: None,
        bad: Vec::new(),
        silent: false,
    }
}

/// Checked, or widening when no check is needed after all.
pub(super) fn checked(reason: impl Into<String>, bad: Vec<(String, String)>) -> Draft {
    let class = if bad.is_empty() { CastClass::Widening } else { CastClass::Checked };
    Draft { class, bad, silent: true, ..widening(reason) }
}

/// Lossy; `bad` are rows on which the cast would fail.
pub(super) fn lossy(reason: impl Into<String>, bad: Vec<(String, String)>) -> Draft {
    Draft { class: CastClass::Lossy, bad, injective: false, ..widening(reason) }
}

impl Draft {
    pub(super) fn finish(self, from: &ColumnType, to: &ColumnType) -> Cast {
        let class_finding = match self.class {
            CastClass::Checked => Some(&NARROWING_CAST),
            CastClass::Lossy => Some(&LOSSY_CAST),
            CastClass::Identical | CastClass::Widening | CastClass::Custom => None,
        };
        let version_finding = self.version.then_some(&VERSION_DEPENDENT_CAST);
        Cast {
            class: self.class,
            reason: self.reason,
            findings: class_finding.into_iter().chain(self.finding).chain(version_finding).collect(),
            order_preserving: self.order,
            injective: self.injective,
            version_dependent: self.version,
            from: from.clone(),
            to: to.clone(),
            expr: self.expr.unwrap_or_else(|| format!("CAST({C} AS {})", to.sql)),
            bad: self.bad,
            silent: self.silent,
        }
    }
}
