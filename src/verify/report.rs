//! The report of a verification.

use std::fmt;

use serde::{Deserialize, Serialize};

/// What a verification found.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Report {
    /// Every table of the plan.
    pub tables: Vec<TableReport>,
    /// No difference, and every table was compared in full, but for the keys that were being written.
    pub passed: bool,
    /// What the reader must know to judge the report.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub notes: Vec<String>,
}

/// One table of a verification.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableReport {
    /// Target table.
    pub table: String,
    /// Rows found on the source.
    pub rows_source: u64,
    /// Rows found on the target.
    pub rows_target: u64,
    /// Ranges compared.
    pub chunks_compared: u64,
    /// Rows of the source that were compared.
    pub rows_compared: u64,
    /// Keys that were being written meanwhile: compared again later, at the latest when writes have stopped. `None`
    /// when that may be any key.
    pub keys_pending: Option<u64>,
    /// Only some rows were looked at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub sampled: bool,
    /// What differs.
    pub differences: Vec<Difference>,
    /// What differs because an operator has left a change of its key out.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub left_out: Vec<OnPurpose>,
}

/// A row that differs because a change of its key was left out.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OnPurpose {
    /// How it differs.
    pub difference: Difference,
    /// Commit position of the last transaction of which a change was left out.
    pub lsn: String,
    /// The operator's reason.
    pub reason: String,
}

impl fmt::Display for OnPurpose {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: skipped on purpose at {} ({})", self.difference, self.lsn, self.reason)
    }
}

/// A row that differs. No value of it but its key.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// The key as the target has it; where the row stands (`ctid (0,1)`) in a table without key. Of a row that comes from
    /// none of several sources also what stands in the column that tells them apart.
    pub key: Vec<String>,
    /// Target columns whose values differ; empty when the row is on one end only.
    pub columns: Vec<String>,
    /// How it differs.
    pub kind: DifferenceKind,
    /// The values, if they were asked for: of the columns that differ, or of a whole row that is on one end only.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub values: Vec<Values>,
}

/// What a column has on both ends, as literals.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Values {
    /// Target column.
    pub column: String,
    /// On the source, as the target should have it; absent when the row is not there.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// On the target.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
}

impl fmt::Display for Values {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (&self.source, &self.target) {
            (Some(source), Some(target)) => {
                write!(f, "{}: {source} on the source, {target} on the target", self.column)
            }
            (one, other) => {
                write!(f, "{} = {}", self.column, one.as_ref().or(other.as_ref()).map_or("", |value| value))
            }
        }
    }
}

/// How a row differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DifferenceKind {
    /// On the source only.
    MissingOnTarget,
    /// On the target only.
    ExtraOnTarget,
    /// On both, with different values.
    DifferentColumns,
}

impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let key = self.key.join(", ");
        match self.kind {
            DifferenceKind::MissingOnTarget => write!(f, "row ({key}) is missing on the target"),
            DifferenceKind::ExtraOnTarget => write!(f, "row ({key}) is on the target only"),
            DifferenceKind::DifferentColumns => write!(f, "row ({key}) differs in {}", self.columns.join(", ")),
        }?;
        for (n, values) in self.values.iter().enumerate() {
            write!(f, "{} {values}", if n == 0 { ";" } else { "," })?;
        }
        Ok(())
    }
}

impl TableReport {
    /// Begins with nothing compared.
    pub fn new(table: &str) -> Self {
        Self { table: table.to_owned(), ..Self::default() }
    }

    /// True when rows were there to compare, and none was: nothing was proven.
    pub fn is_vacuous(&self) -> bool {
        self.rows_source.max(self.rows_target) > 0 && self.rows_compared == 0
    }
}

impl Report {
    /// Judges the tables.
    pub fn of(tables: Vec<TableReport>, notes: Vec<String>) -> Self {
        let report = Self { tables, passed: false, notes };
        let passed = report.found_nothing() && !report.is_sampled();
        Self { passed, ..report }
    }

    /// No difference in what was looked at.
    pub fn found_nothing(&self) -> bool {
        let good =
            |table: &TableReport| table.differences.is_empty() && !table.is_vacuous() && table.keys_pending.is_some();
        self.tables.iter().all(good)
    }

    /// True when only some rows of a table were looked at.
    pub fn is_sampled(&self) -> bool {
        self.tables.iter().any(|table| table.sampled)
    }

    /// Number of differences, and the first few of them in words.
    pub fn differences(&self) -> (u64, String) {
        let all = self.tables.iter().flat_map(|table| table.differences.iter().map(move |d| (&table.table, d)));
        let first = all.clone().take(5).map(|(table, difference)| format!("{table}: {difference}"));
        (all.count() as u64, first.collect::<Vec<_>>().join("; "))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_passes_only_what_was_compared() {
        let table = TableReport {
            table: "public.t".to_owned(),
            rows_source: 10,
            rows_target: 10,
            chunks_compared: 1,
            rows_compared: 10,
            keys_pending: Some(0),
            sampled: false,
            differences: Vec::new(),
            left_out: Vec::new(),
        };
        assert!(Report::of(vec![table.clone()], Vec::new()).passed);
        let vacuous = TableReport { rows_compared: 0, ..table.clone() };
        assert!(!Report::of(vec![table.clone(), vacuous.clone()], Vec::new()).passed);
        let hot = TableReport { keys_pending: Some(10), ..vacuous };
        assert!(!Report::of(vec![hot], Vec::new()).passed, "every key was being written");
        let empty = TableReport { rows_source: 0, rows_target: 0, rows_compared: 0, ..table.clone() };
        assert!(Report::of(vec![empty], Vec::new()).passed);
        assert!(Report::of(vec![TableReport { keys_pending: Some(1), ..table.clone() }], Vec::new()).passed);
        assert!(!Report::of(vec![TableReport { keys_pending: None, ..table.clone() }], Vec::new()).passed);
        let key = vec!["7".to_owned()];
        let sampled = Report::of(vec![TableReport { sampled: true, ..table.clone() }], Vec::new());
        assert!(sampled.found_nothing() && !sampled.passed, "a sample is never passed in full");
        let (columns, kind) = (vec!["v".to_owned()], DifferenceKind::DifferentColumns);
        let difference = Difference { key, columns, kind, values: Vec::new() };
        let report = Report::of(vec![TableReport { differences: vec![difference], ..table }], Vec::new());
        assert!(!report.passed);
        assert_eq!(report.differences(), (1, "public.t: row (7) differs in v".to_owned()));
    }
}
