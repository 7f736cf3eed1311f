//! What a rule is.

use std::collections::BTreeSet;

use crate::catalog::QualifiedName;
use crate::plan::kind::Kind;
use crate::plan::rules::{catchup, cleanup, copy, cutover, prepare, schema};
use crate::plan::{Op, Plan};
use crate::projection::RowIdentity;

/// An ordering rule.
#[derive(Debug)]
pub struct Rule {
    /// Said to the reader of the plan at every edge that it makes.
    pub sentence: &'static str,
    /// Kinds of the earlier step.
    pub earlier: &'static [Kind],
    /// Kinds of the later step.
    pub later: &'static [Kind],
    /// Whether it holds for these two.
    pub when: fn(&World, &Op, &Op) -> bool,
}

/// What rules must know besides the two ops.
#[derive(Debug)]
pub struct World {
    /// Target tables that are copied under the slot's snapshot.
    pub under_slot_snapshot: BTreeSet<QualifiedName>,
}

impl World {
    /// The world of a plan.
    pub fn of(plan: &Plan) -> Self {
        let unordered = |identity: &RowIdentity| match identity {
            RowIdentity::OrderedKey { .. } => false,
            RowIdentity::Key { .. } | RowIdentity::FullRow => true,
        };
        let tables = plan.projections.iter().filter(|projection| unordered(&projection.identity));
        Self { under_slot_snapshot: tables.map(|projection| projection.target.clone()).collect() }
    }
}

/// Every rule, in the order of the phases.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    [prepare::RULES, schema::RULES, copy::RULES, catchup::RULES, cutover::RULES, cleanup::RULES].into_iter().flatten()
}

/// Holds for any two.
pub(crate) fn always(_: &World, _: &Op, _: &Op) -> bool {
    true
}

/// Holds for ops of one table.
pub(crate) fn same_table(_: &World, earlier: &Op, later: &Op) -> bool {
    earlier.table().is_some() && earlier.table() == later.table()
}
