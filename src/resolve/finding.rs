//! What resolving finds besides the target: hazards, checks of the data, and what stays behind.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::QualifiedName;
pub use crate::findings::Severity;
use crate::sql::check::{DistinctNulls, duplicates_where, duplicates_where_sample, orphans, orphans_sample};
use crate::sql::with_partitions;

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
    /// What is asked of several rows together; predicates of one row say it themselves.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub among: Option<Among>,
}

/// A condition on several rows.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case", deny_unknown_fields)]
pub enum Among {
    /// No two rows have these values, as a new unique index will demand.
    Unique {
        /// Expressions over source columns.
        values: Vec<String>,
        /// Rows that the index has; all when none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        predicate: Option<String>,
        /// NULLs are the same as each other.
        nulls_not_distinct: bool,
    },
    /// Every row without NULL among these values has its counterpart, as a new foreign key will demand.
    References {
        /// Expressions over source columns.
        values: Vec<String>,
        /// Rows that are migrated; all when none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        near_where: Option<String>,
        /// The other source table.
        far: QualifiedName,
        /// Expressions over its columns.
        far_values: Vec<String>,
        /// Its rows that are migrated; all when none.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        far_where: Option<String>,
        /// The table is partitioned, and read with its partitions.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        near_partitioned: bool,
        /// The other table is.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        far_partitioned: bool,
        /// MATCH FULL: a row with NULL among its values, but not in all of them, is bad too.
        #[serde(default, skip_serializing_if = "std::ops::Not::not")]
        match_full: bool,
    },
}

impl Among {
    /// The check's SQL and that of its sample.
    pub fn sql(&self, table: &QualifiedName) -> (String, String) {
        match self {
            Self::Unique { values, predicate, nulls_not_distinct } => {
                let nulls = if *nulls_not_distinct { DistinctNulls::No } else { DistinctNulls::Yes };
                let (predicate, from) = (predicate.as_deref(), &with_partitions(table, false));
                (
                    duplicates_where(from, values, predicate, nulls),
                    duplicates_where_sample(from, values, predicate, nulls),
                )
            }
            Self::References {
                values,
                near_where,
                far,
                far_values,
                far_where,
                near_partitioned,
                far_partitioned,
                match_full,
            } => {
                let (near, far) = (with_partitions(table, *near_partitioned), with_partitions(far, *far_partitioned));
                let near = (near.as_str(), values.as_slice(), near_where.as_deref());
                let far = (far.as_str(), far_values.as_slice(), far_where.as_deref());
                (orphans(near, far, *match_full), orphans_sample(near, far, *match_full))
            }
        }
    }

    /// Every expression in it.
    pub fn expressions(&self) -> Vec<&String> {
        match self {
            Self::Unique { values, predicate, .. } => values.iter().chain(predicate).collect(),
            Self::References { values, near_where, far_values, far_where, .. } => {
                values.iter().chain(near_where).chain(far_values).chain(far_where).collect()
            }
        }
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    /// A partitioned table has no rows of its own: read alone, every reference to it would be one to no row.
    #[test]
    fn a_foreign_key_reads_the_partitions_of_both_ends() {
        let ident = |text: &str| crate::catalog::Ident::new(text).expect("a name");
        let table = |text| QualifiedName { schema: ident("s"), name: ident(text) };
        let sql = |near_partitioned, far_partitioned| {
            let among = Among::References {
                values: vec!["a".to_owned()],
                near_where: None,
                far: table("far"),
                far_values: vec!["b".to_owned()],
                far_where: None,
                near_partitioned,
                far_partitioned,
                match_full: false,
            };
            let (check, sample) = among.sql(&table("near"));
            check + &sample
        };
        let only = |sql: &str| ["near", "far"].map(|end| sql.matches(&format!("FROM ONLY \"s\".\"{end}\"")).count());
        assert_eq!(only(&sql(false, false)), [2, 2]);
        assert_eq!(only(&sql(false, true)), [2, 0]);
        assert_eq!(only(&sql(true, false)), [0, 2]);
        assert!(sql(true, true).contains("FROM \"s\".\"far\""));
    }
}
