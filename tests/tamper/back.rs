//! The way back follows from the plan, and what cannot go back is named.

use pcrd::plan::Plan;

use super::{assert_refused, ops, plan, rebuilt};

#[track_caller]
fn refused(change: &dyn Fn(&mut Plan), why: &str) {
    let mut changed = plan("way_back");
    change(&mut changed);
    let steps = ops(&changed);
    assert_refused(rebuilt(changed, steps), why);
}

#[test]
fn nobody_writes_another_way_back() {
    let other = "the way back is not that of the plan's projections and tables";
    refused(&|plan| plan.back.clear(), other);
    refused(&|plan| plan.back.swap(0, 1), other);
    refused(&|plan| plan.back[0].irreversible = Some("nobody wants it".to_owned()), other);
    refused(&|plan| plan.back[0].columns[0].gets = "what it was".to_owned(), other);
    refused(&|plan| plan.back[0].projection.as_mut().unwrap().columns.truncate(2), other);
    refused(
        &|plan| plan.projections[0].columns[0].inverse = Some("1); DROP TABLE t; --".to_owned()),
        "the way back of",
    );
    refused(&|plan| plan.settings.cutover.reverse = None, "is not what the plan's tables and settings ask for");
}

#[test]
fn what_cannot_go_back_cannot_be_hidden() {
    let unfound = "is left out without the finding that says so";
    for place in ["public.orders.weight", "public.visits.agent", "public.visits.host"] {
        let is_it = |one: &pcrd::plan::Finding| one.code == "IRREVERSIBLE" && one.address == place;
        assert!(plan("way_back").findings.iter().any(is_it), "{place}");
        refused(&|plan| plan.findings.retain(|one| !is_it(one)), unfound);
        let quieter = |plan: &mut Plan| {
            plan.findings.iter_mut().filter(|one| is_it(one)).for_each(|one| one.severity = pcrd::plan::Severity::Info);
        };
        refused(&quieter, unfound);
    }
}
