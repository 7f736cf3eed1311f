//! Policies: nobody sees on the target by an edited plan what he does not see on its source.

use pcrd::catalog::{Ident, PolicyCommand, QualifiedName};
use pcrd::plan::{CreatePolicy, Op, Plan, SetRowSecurity, problems};

use super::{assert_refused, ops, plan, rebuilt};

fn name(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

fn changed(change: &dyn Fn(&mut Vec<Op>)) -> Plan {
    let plan = plan("row_security");
    let mut all = ops(&plan);
    change(&mut all);
    rebuilt(plan, all)
}

fn with(policy: &str, change: &dyn Fn(&mut CreatePolicy)) -> Plan {
    changed(&|all| {
        let mut policies = all.iter_mut().filter_map(|op| if let Op::CreatePolicy(op) = op { Some(op) } else { None });
        change(policies.find(|op| op.name.as_str() == policy).unwrap());
    })
}

const OTHER: &str = "makes a policy that not every source of the table has";

#[test]
fn no_policy_is_made_that_the_source_does_not_have() {
    assert_eq!(problems(&with("mine", &|_| {})), []);
    let changes: [&dyn Fn(&mut CreatePolicy); 12] = [
        &|op| op.name = name("other"),
        &|op| op.table.name = name("elsewhere"),
        &|op| op.table = QualifiedName::new("app", "closed").unwrap(),
        &|op| op.def.restrictive = true,
        &|op| op.def.command = PolicyCommand::All,
        &|op| op.def.roles.clear(),
        &|op| op.def.roles.push(name("intruder")),
        &|op| op.def.using = None,
        &|op| op.def.check = None,
        &|op| op.def.using = Some("true".to_owned()),
        &|op| op.def.using = op.def.using.as_ref().map(|text| format!("{text} OR true")),
        // Another column hides other rows.
        &|op| op.def.using = op.def.using.as_ref().map(|text| text.replace("\"owner\"", "\"tenant_id\"")),
    ];
    for change in changes {
        assert_refused(with("mine", change), OTHER);
    }
    assert_refused(with("low", &|op| op.def.restrictive = false), OTHER);
    assert_refused(
        with("by tenant", &|op| op.def.using = op.def.using.as_ref().map(|text| text.replace("tenant_id", "Tenant"))),
        OTHER,
    );
}

/// The rest of them would show more, or less.
#[test]
fn a_table_gets_all_of_it_or_none() {
    let part = "and not all that its sources have";
    for policy in ["by tenant", "all of it", "low", "new", "mine", "gone"] {
        let lost = |op: &Op| matches!(op, Op::CreatePolicy(op) if op.name.as_str() == policy);
        assert_refused(changed(&|all| all.retain(|op| !lost(op))), part);
    }
    let set = |op: &Op| matches!(op, Op::SetRowSecurity(op) if op.table.name.as_str() == "papers");
    assert_refused(changed(&|all| all.retain(|op| !set(op))), part);
    // Without any of it nobody else has rights.
    let of_papers = |op: &Op| match op {
        Op::CreatePolicy(op) => op.table.name.as_str() == "papers",
        op => set(op),
    };
    assert_refused(changed(&|all| all.retain(|op| !of_papers(op))), "not the plan's");
    let open = |op: &Op| of_papers(op) || matches!(op, Op::Grant(_)) && op.table().is_some();
    assert_eq!(problems(&changed(&|all| all.retain(|op| !open(op)))), []);
    let more = SetRowSecurity { table: QualifiedName::new("app", "inert").unwrap(), enabled: true, forced: false };
    assert_refused(changed(&|all| all.push(Op::SetRowSecurity(more.clone()))), "is not as on every source");
    let weaker = |op: &mut Op| {
        if let Op::SetRowSecurity(op) = op {
            op.forced = false;
        }
    };
    assert_refused(changed(&|all| all.iter_mut().for_each(weaker)), "is not as on every source");
}

#[test]
fn nothing_hides_in_a_policy() {
    for text in ["true) WITH CHECK (true", "true); DROP TABLE x; --", "true)(", "(true"] {
        let edited = with("mine", &|op| op.def.using = Some(text.to_owned()));
        assert_refused(edited, "a statement is not the one");
    }
}
