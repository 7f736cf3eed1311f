//! What a rule is.

use std::collections::BTreeSet;

use crate::catalog::{Ident, QualifiedName};
use crate::plan::kind::Kind;
use crate::plan::rules::{catchup, cleanup, copy, cutover, prepare, reverse, schema};
use crate::plan::{Op, Plan};

/// An ordering rule: of two steps of its kinds, one comes before the other when the first gives what the second needs.
/// Looked up rather than compared pair by pair, so that the time does not grow with the square of the steps.
#[derive(Debug)]
pub struct Rule {
    /// Said to the reader of the plan at every edge that it makes.
    pub sentence: &'static str,
    /// Kinds of the earlier step.
    pub earlier: &'static [Kind],
    /// Kinds of the later step.
    pub later: &'static [Kind],
    /// What the earlier step gives.
    pub gives: fn(&World, &Op) -> Vec<Link>,
    /// What the later step waits for.
    pub needs: fn(&World, &Op) -> Vec<Link>,
}

/// What one step has to do with another.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Link {
    /// Every step of the kinds.
    Always,
    /// A schema.
    Schema(Ident),
    /// A type of the target.
    Type(QualifiedName),
    /// A target table.
    Table(QualifiedName),
    /// A sequence.
    Sequence(QualifiedName),
    /// A function.
    Function(QualifiedName),
    /// An index.
    Index(QualifiedName),
    /// A statistics object.
    Statistics(QualifiedName),
    /// A constraint of a table.
    Constraint(QualifiedName, Ident),
    /// The stream of changes.
    Stream,
    /// The end of what is read under the slot's snapshot.
    SlotSnapshot,
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
        let tables = plan.projections.iter().filter(|projection| !projection.is_copied_by_key());
        Self { under_slot_snapshot: tables.map(|projection| projection.target.clone()).collect() }
    }
}

/// Every rule, in the order of the phases.
pub fn all() -> impl Iterator<Item = &'static Rule> {
    let of_phases =
        [prepare::RULES, schema::RULES, copy::RULES, catchup::RULES, cutover::RULES, reverse::RULES, cleanup::RULES];
    of_phases.into_iter().flatten()
}

/// Any two steps of the kinds.
pub(crate) fn always(_: &World, _: &Op) -> Vec<Link> {
    vec![Link::Always]
}

/// Steps of one table.
pub(crate) fn table(_: &World, op: &Op) -> Vec<Link> {
    op.table().cloned().map(Link::Table).into_iter().collect()
}
