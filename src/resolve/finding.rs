//! What resolving finds besides the target: hazards, checks of the data, and what stays behind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::QualifiedName;
pub use crate::findings::Severity;

/// Something that depends on the tables and is not carried.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct NotCarried {
    /// `view`, `trigger`, `policy`, ….
    pub kind: String,
    /// Its name.
    pub name: String,
    /// Why it is listed.
    pub why: String,
}

/// A hazard that the reviewer must know.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Finding {
    /// Stable code, for example `DELETES_DATA`.
    pub code: String,
    /// Object.
    pub address: String,
    /// How bad.
    pub severity: Severity,
    /// What, and what to do.
    pub message: String,
    /// Set when it was accepted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<Accepted>,
}

/// An acceptance.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Accepted {
    /// Why.
    pub reason: String,
    /// `file:line`, or `--allow`.
    pub at: String,
}

/// A validation query: counts rows that break each predicate, in one scan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Check {
    /// `check:public.orders`.
    pub id: String,
    /// Source table.
    pub table: QualifiedName,
    /// One row: total rows, then one count per predicate.
    pub sql: String,
    /// The predicates, in the order of the counts.
    pub predicates: Vec<CheckPredicate>,
}

/// One predicate of a check; the count expected is 0.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckPredicate {
    /// Address of the column.
    pub address: String,
    /// SQL that is true for a bad row.
    pub bad: String,
    /// What a bad row is, in words: `out of range for integer`.
    pub meaning: String,
    /// Query that lists keys of up to ten bad rows.
    pub sample_sql: String,
}
