//! What a cutover that is given up takes back on the target: everything that somebody got since rights were given there.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{GrantTarget, Holding, Holdings, Ident, Right};
use crate::plan::rights::creates_schema;
use crate::plan::{Op, Plan};
use crate::sql::rights::{revoke, set_owner};

/// The statements, in order; none when everything is as it was. An owner may have granted more than the plan does, and
/// that goes too; of a schema that was there before the plan only what the plan gives is taken.
pub fn given_back(plan: &Plan, before: &Holdings, now: &Holdings) -> Vec<String> {
    let mut statements = Vec::new();
    for (on, holding) in now {
        let then = before.get(on);
        for to in grantees(holding) {
            let had = then.map(|then| then.granted(to.as_ref())).unwrap_or_default();
            let is_taken = |right: &Right| match on {
                GrantTarget::Schema(schema) if !creates_schema(plan, schema) => of_plan(plan, on, to).contains(right),
                _ => true,
            };
            let has: BTreeMap<Right, bool> =
                holding.granted(to.as_ref()).into_iter().filter(|(right, _)| is_taken(right)).collect();
            let more: Vec<Right> = has.keys().filter(|right| !had.contains_key(right)).copied().collect();
            let may_grant = |(right, grantable): &(&Right, &bool)| **grantable && had.get(right) == Some(&false);
            let option: Vec<Right> = has.iter().filter(may_grant).map(|(right, _)| *right).collect();
            for (rights, is_option) in [(more, false), (option, true)] {
                if !rights.is_empty() {
                    statements.push(revoke(on, to.as_ref(), &rights, is_option));
                }
            }
        }
    }
    // Objects before the schemas in which their owners may create.
    for step in plan.steps.iter().rev() {
        let Op::SetOwner(op) = &step.op else { continue };
        let on = op.on.as_grant_target();
        if let (Some(then), Some(now)) = (before.get(&on), now.get(&on))
            && then.owner != now.owner
        {
            statements.push(set_owner(&op.on, &then.owner));
        }
    }
    statements
}

/// Those who have something, but for the owner: what it has it will have as nobody's.
fn grantees(holding: &Holding) -> BTreeSet<&Option<Ident>> {
    let all = holding.grants.iter().map(|item| &item.grantee);
    all.filter(|to| to.as_ref() != Some(&holding.owner)).collect()
}

fn of_plan(plan: &Plan, on: &GrantTarget, to: &Option<Ident>) -> BTreeSet<Right> {
    let grants = plan.steps.iter().filter_map(|step| match &step.op {
        Op::Grant(grant) if grant.on == *on && grant.to == *to => Some(grant.rights.iter().chain(&grant.grantable)),
        _ => None,
    });
    grants.flatten().copied().collect()
}
