//! Views of the target: what a plan makes there, the source has over the tables that the plan migrates. Whether a query with other
//! names is the same query, the target's server has said when the plan was made, and the plan's digest keeps.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::QualifiedName;
use crate::plan::{CreateView, Op, Plan, StepId};
use crate::sql::view::is_one_query;

/// A step that makes a view which is not the source's.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("step {0} makes a view that the source does not have, or that reads something else than there")]
pub struct ViewError(StepId);

/// Every such step.
pub(super) fn problems(plan: &Plan) -> Vec<ViewError> {
    let names: BTreeMap<&QualifiedName, &QualifiedName> = made(plan).map(|op| (&op.source, &op.name)).collect();
    let target_of = |read: &QualifiedName| {
        let of_table = plan.projections.iter().find(|one| one.source == *read).map(|one| &one.target);
        of_table.or_else(|| names.get(read).copied())
    };
    let is_ours = |op: &CreateView| {
        let Some(found) = plan.source.views.get(&op.source) else { return false };
        let reads: Option<BTreeSet<&QualifiedName>> = found.reads.iter().map(target_of).collect();
        let is_so = op.def.options == found.options && op.def.materialized.is_some() == found.materialized;
        let is_so = is_so && tables_behind(plan, op).into_iter().eq(&op.tables);
        is_so && reads.is_some_and(|reads| reads.into_iter().eq(&op.reads)) && is_one_query(&op.def.definition)
    };
    let steps = plan.steps.iter().filter(|step| matches!(&step.op, Op::CreateView(op) if !is_ours(op)));
    steps.map(|step| ViewError(step.id.clone())).collect()
}

/// The views that the plan makes, in the order in which it makes them.
pub fn made(plan: &Plan) -> impl Iterator<Item = &CreateView> {
    plan.steps.iter().filter_map(|step| if let Op::CreateView(op) = &step.op { Some(op) } else { None })
}

/// The view of this name on the target.
pub fn named<'p>(plan: &'p Plan, name: &QualifiedName) -> Option<&'p CreateView> {
    made(plan).find(|op| op.name == *name)
}

/// The tables of the target whose rows a view shows, itself or through others.
fn tables_behind<'p>(plan: &'p Plan, view: &'p CreateView) -> BTreeSet<&'p QualifiedName> {
    let (mut found, mut open, mut seen) = (BTreeSet::new(), vec![view], BTreeSet::new());
    while let Some(view) = open.pop() {
        for read in view.reads.iter().filter(|read| seen.insert(*read)) {
            match named(plan, read) {
                Some(further) => open.push(further),
                None => _ = found.insert(read),
            }
        }
    }
    found
}
