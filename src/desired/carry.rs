//! What of the source's objects goes to the target besides rows, columns, indexes and constraints.

use crate::desired::fields::Fields;
use crate::desired::problem::{Problem, ProblemKind};

/// `migrate.carry`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Carry {
    /// Owners of schemas, tables and sequences.
    pub owners: bool,
    /// Grants on them and on columns.
    pub grants: bool,
    /// Triggers.
    pub triggers: bool,
    /// Policies, and row security.
    pub policies: bool,
    /// Statistics objects.
    pub statistics: bool,
    /// Views.
    pub views: bool,
}

impl Default for Carry {
    fn default() -> Self {
        Self { owners: true, grants: true, triggers: true, policies: true, statistics: true, views: true }
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    All,
    None,
    Owners,
    Grants,
    Triggers,
    Policies,
    Statistics,
    Views,
}

/// Kinds that are listed as not carried, whatever is asked for, have no word yet.
const WORDS: [(&str, Option<Kind>); 9] = [
    ("all", Some(Kind::All)),
    ("none", Some(Kind::None)),
    ("owners", Some(Kind::Owners)),
    ("grants", Some(Kind::Grants)),
    ("triggers", Some(Kind::Triggers)),
    ("policies", Some(Kind::Policies)),
    ("comments", None),
    ("statistics", Some(Kind::Statistics)),
    ("views", Some(Kind::Views)),
];

/// Reads `carry`; everything is carried when it is not there.
pub fn read(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> Carry {
    let kinds = fields.choices("carry", &WORDS, problems);
    if fields.entry("carry").is_none() {
        return Carry::default();
    }
    let has = |kind: Kind| kinds.iter().any(|one| one.value == kind);
    if let (Some(none), true) = (kinds.iter().find(|one| one.value == Kind::None), kinds.len() > 1) {
        let message = format!("`{}` has `none` beside other kinds", fields.path_of("carry"));
        problems.push(Problem::at(ProblemKind::Contradiction, none.span.clone(), message, "stands alone"));
    }
    let is_carried = |kind: Kind| has(Kind::All) || has(kind);
    Carry {
        owners: is_carried(Kind::Owners),
        grants: is_carried(Kind::Grants),
        triggers: is_carried(Kind::Triggers),
        policies: is_carried(Kind::Policies),
        statistics: is_carried(Kind::Statistics),
        views: is_carried(Kind::Views),
    }
}
