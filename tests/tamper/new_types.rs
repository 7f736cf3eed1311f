//! Types are created as the source has them, and no others.

use pcrd::catalog::{QualifiedName, TypeDef};
use pcrd::plan::{CreateType, Op, Plan, problems};

use super::{assert_refused, ops, plan, rebuilt};

#[test]
fn no_type_is_made_otherwise_than_it_is() {
    let case = || plan("types_that_come_along");
    assert_eq!(problems(&case()), []);
    let altered = |change: &dyn Fn(&mut TypeDef)| {
        let plan = case();
        let mut all = ops(&plan);
        for op in &mut all {
            if let Op::CreateType(create) = op {
                change(&mut create.def);
            }
        }
        rebuilt(plan, all)
    };
    let refused =
        |plan: Plan, name: &str| assert_refused(plan, &format!("type {name} is not created as it is on the source"));
    let more_labels = altered(&|def| {
        if let TypeDef::Enum(labels) = def {
            labels.push("angry".to_owned());
        }
    });
    refused(more_labels, "public.mood");
    let checks_nothing = altered(&|def| {
        if let TypeDef::Domain { checks, .. } = def {
            checks.clear();
        }
    });
    refused(checks_nothing, "public.label");
    let plan = case();
    let mut all = ops(&plan);
    let name: QualifiedName = "public.smuggled".parse().unwrap();
    all.push(Op::CreateType(CreateType { name, def: TypeDef::Enum(Vec::new()) }));
    refused(rebuilt(plan, all), "public.smuggled");
}

/// One statement for a type, and nothing behind it.
#[test]
fn nothing_hides_in_a_type() {
    let plan = plan("types_that_come_along");
    for (from, to) in [
        ("'sad'", "'sad'); DROP TABLE x; CREATE TYPE y AS ENUM ('a'"),
        ("CHECK ((length(VALUE) > 1))", "CHECK ((length(VALUE) > 1)) CHECK (evil())"),
        ("SUBTYPE_DIFF", "SUBTYPE_OPCLASS"),
        ("\"float8mi\"", "\"other\""),
        ("COLLATE \"pg_catalog\".\"C\"", ""),
    ] {
        let mut changed = plan.clone();
        let statements = changed.steps.iter_mut().flat_map(|step| &mut step.statements);
        let found = statements.filter(|statement| statement.sql.contains(from));
        assert_eq!(found.map(|statement| statement.sql = statement.sql.replace(from, to)).count(), 1, "{from}");
        assert!(!problems(&changed).is_empty(), "{from} to {to}");
    }
}
