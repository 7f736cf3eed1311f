//! Triggers: nothing fires on the target by an edited plan that does not fire on its source.

use pcrd::catalog::{Firing, Ident, QualifiedName, TriggerEvent, TriggerTiming};
use pcrd::plan::{CreateFunction, CreateTrigger, Op, Plan, problems};

use super::{assert_refused, ops, plan, rebuilt};

fn with(change: &dyn Fn(&mut CreateTrigger)) -> Plan {
    let plan = plan("triggers");
    let mut all = ops(&plan);
    let triggers = all.iter_mut().filter_map(|op| if let Op::CreateTrigger(op) = op { Some(op) } else { None });
    let audit = |op: &&mut CreateTrigger| op.name.as_str() == "audit";
    change(triggers.into_iter().find(audit).unwrap());
    rebuilt(plan, all)
}

#[test]
fn nothing_fires_that_does_not_fire_on_the_source() {
    assert_eq!(problems(&with(&|_| {})), []);
    let name = |text: &str| Ident::new(text).unwrap();
    let changes: [&dyn Fn(&mut CreateTrigger); 13] = [
        &|op| op.name = name("other"),
        &|op| op.table.name = name("elsewhere"),
        &|op| op.table = QualifiedName::new("sales", "order_lines").unwrap(),
        &|op| op.firing = Firing::Always,
        &|op| op.def.function = QualifiedName::new("public", "theirs").unwrap(),
        &|op| op.def.arguments.push("more".to_owned()),
        &|op| op.def.before = true,
        &|op| op.def.each_row = false,
        &|op| op.def.events.push(TriggerEvent::Insert),
        &|op| op.def.columns.clear(),
        &|op| op.def.constraint = Some(TriggerTiming::Deferred),
        &|op| op.def.condition = None,
        &|op| op.def.condition = op.def.condition.as_ref().map(|text| format!("{text} OR public.theirs()")),
    ];
    for change in changes {
        assert_refused(with(change), "makes a trigger that not every source of the table has");
    }
    // Another column is another name and no more: the server refuses one that is not there.
    assert_eq!(problems(&with(&|op| op.def.columns[0] = name("code"))), []);
}

fn with_function(change: &dyn Fn(&mut CreateFunction)) -> Plan {
    let plan = plan("triggers");
    let mut all = ops(&plan);
    let function = all.iter_mut().find_map(|op| if let Op::CreateFunction(op) = op { Some(op) } else { None });
    change(function.unwrap());
    rebuilt(plan, all)
}

#[test]
fn no_function_is_made_that_is_not_the_source_s() {
    assert_eq!(problems(&with_function(&|_| {})), []);
    let changes: [&dyn Fn(&mut CreateFunction); 4] = [
        &|op| op.name = QualifiedName::new("app", "other").unwrap(),
        &|op| op.def.body.push_str("-- more"),
        &|op| op.def.attributes = "SET search_path TO 'theirs'".to_owned(),
        &|op| op.def.attributes.clear(),
    ];
    for change in changes {
        assert_refused(with_function(change), "makes a function that is not the source's");
    }
    // One that nothing calls.
    let plan = plan("triggers");
    let lost = |op: &Op| matches!(op, Op::CreateTrigger(op) if op.name.as_str() == "lost");
    let all = ops(&plan).into_iter().filter(|op| !lost(op)).collect();
    assert_refused(rebuilt(plan, all), "no trigger of the plan calls");
}

#[test]
fn nothing_hides_in_a_function() {
    for attributes in ["SECURITY DEFINER AS $a$x$a$; DROP TABLE x; --", "AS $a$x$a$; --"] {
        assert_refused(with_function(&|op| op.def.attributes = attributes.to_owned()), "a statement is not the one");
    }
}

/// What is no condition is no part of the statement.
#[test]
fn nothing_hides_in_a_condition() {
    for text in ["true) EXECUTE FUNCTION public.theirs(); --", "true)(", "true) FOR EACH ROW WHEN (true"] {
        assert_refused(with(&|op| op.def.condition = Some(text.to_owned())), "a statement is not the one");
    }
}
