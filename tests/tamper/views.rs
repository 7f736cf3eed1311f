//! Views: none is made by an edited plan that the source does not have over the same tables, and nothing hides in a query.

use pcrd::catalog::{GrantTarget, Ident, Right};
use pcrd::plan::{CreateView, Op, Plan, problems};

use super::{assert_refused, ops, plan, rebuilt};

fn with(name: &str, change: &dyn Fn(&mut CreateView)) -> Plan {
    let plan = plan("views");
    let mut all = ops(&plan);
    let views = all.iter_mut().filter_map(|op| if let Op::CreateView(op) = op { Some(op) } else { None });
    change(views.into_iter().find(|op| op.name.name.as_str() == name).unwrap());
    rebuilt(plan, all)
}

#[test]
fn no_view_is_made_that_is_not_the_source_s() {
    assert_eq!(problems(&with("locals", &|_| {})), []);
    let changes: [&dyn Fn(&mut CreateView); 7] = [
        &|op| op.source.name = Ident::new("other").unwrap(),
        &|op| op.reads = vec!["app.orders".parse().unwrap()],
        &|op| op.reads.push("app.orders".parse().unwrap()),
        &|op| op.reads.clear(),
        &|op| op.tables.clear(),
        &|op| op.def.options.clear(),
        &|op| op.def.definition = "DELETE FROM app.customers RETURNING id".to_owned(),
    ];
    for change in changes {
        let found = problems(&with("locals", change));
        let is_said =
            |error: &pcrd::plan::CheckError| error.to_string().contains("makes a view that the source does not have");
        assert!(found.iter().any(is_said), "{found:?}");
    }
    // Rights on it are those of the source's view.
    let plan = plan("views");
    let mut all = ops(&plan);
    for op in &mut all {
        if let Op::Grant(grant) = op
            && grant.on == GrantTarget::Table("app.locals".parse().unwrap())
        {
            grant.rights.push(Right::Delete);
        }
    }
    assert_refused(
        rebuilt(plan, all),
        "gives what the source does not have: clerk does not have DELETE on table app.locals",
    );
}

#[test]
fn nothing_hides_in_a_query() {
    for text in ["SELECT 1; DROP TABLE x", "SELECT 1 WITH NO DATA; --", "SELECT 1) TO x; --"] {
        for view in ["locals", "cities"] {
            let plan = with(view, &|op| op.def.definition = text.to_owned());
            assert!(!problems(&plan).is_empty(), "{view}: {text}");
        }
    }
    let index = |text: &'static str| {
        with("cities", &move |op| {
            let indexes = &mut op.def.materialized.as_mut().unwrap().indexes;
            indexes.values_mut().for_each(|index| *index = text.to_owned());
        })
    };
    for text in ["DROP TABLE x", "CREATE INDEX \"cities_city\" ON \"app\".\"orders\" USING \"btree\" (id)"] {
        assert!(!problems(&index(text)).is_empty(), "{text}");
    }
}
