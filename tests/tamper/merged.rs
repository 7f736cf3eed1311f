//! Merged tables: rows of several sources stay told apart, and a reviewer reads how.

use pcrd::catalog::Ident;
use pcrd::plan::{Action, CreateIndex, Op, Plan, problems};
use pcrd::projection::{ColumnValue, Part};

use super::{assert_refused, ops, plan, rebuilt};

fn name(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

#[track_caller]
fn refused(change: &dyn Fn(&mut Plan), why: &str) {
    let mut changed = plan("merge_of_two_sources");
    change(&mut changed);
    let steps = ops(&changed);
    assert_refused(rebuilt(changed, steps), why);
}

/// Rows of several sources stay told apart, in all that the plan does.
#[test]
fn parts_of_a_merged_table_cannot_be_mixed() {
    let part = |plan: &mut Plan, at: usize, change: &dyn Fn(&mut Part)| {
        change(plan.projections[at].part.as_mut().unwrap());
    };
    refused(&|plan| plan.projections.iter_mut().for_each(|one| one.part = None), "stands in two projections");
    refused(&|plan| plan.projections[1].part = None, "not all of its several sources");
    refused(&|plan| part(plan, 1, &|part| part.value = "user".to_owned()), "have the same kind");
    refused(&|plan| part(plan, 1, &|part| part.value = "agents".to_owned()), "do not all get its kind");
    refused(&|plan| part(plan, 0, &|part| part.others.clear()), "would not be looked for");
    refused(&|plan| part(plan, 1, &|part| part.value = "a\0".to_owned()), "is no plain value of kind");
    let mut again = plan("merge_of_two_sources");
    again.projections.push(again.projections[1].clone());
    let found: Vec<String> = problems(&again).iter().map(ToString::to_string).collect();
    assert!(found.contains(&"table public.agents stands in two projections".to_owned()), "{found:?}");
    refused(&|plan| part(plan, 1, &|part| part.column = name("email")), "told apart by different columns");
    let create = |plan: &mut Plan, change: &dyn Fn(&mut pcrd::plan::CreateTable)| {
        for step in &mut plan.steps {
            if let Op::CreateTable(create) = &mut step.op {
                change(create);
            }
        }
    };
    refused(&|plan| create(plan, &|table| table.columns[0].not_null = false), "can be NULL");
    refused(
        &|plan| create(plan, &|table| table.key.as_mut().unwrap().columns.retain(|one| one.as_str() != "kind")),
        "lacks kind",
    );
    refused(
        &|plan| {
            for step in &mut plan.steps {
                if let Op::AddConstraint(add) = &mut step.op {
                    add.definition = add.definition.replace("\"kind\", ", "").replace("(kind, ", "(");
                }
            }
        },
        "lacks kind",
    );
}

/// A unique index keeps the sources apart by the column itself, not by a word that is its name.
#[test]
fn an_index_over_a_merged_table_compares_the_column_itself() {
    let plan = plan("merge_of_two_sources");
    let more = |elements: &str, name: &str| {
        let statement = format!(
            "CREATE UNIQUE INDEX {} ON \"public\".\"people\" USING \"btree\" {elements}",
            pcrd::sql::ident(&self::name(name))
        );
        let (table, name) = (plan.projections[0].target.clone(), self::name(name));
        let mut all = ops(&plan);
        all.push(Op::CreateIndex(CreateIndex { table, name, statement, key: false }));
        rebuilt(plan.clone(), all)
    };
    assert_eq!(problems(&more("(\"email\", \"kind\" DESC) WHERE \"kind\" > ''", "i")), []);
    for (elements, name) in [
        ("(\"email\")", "kind"),
        ("(\"email\") INCLUDE (\"kind\")", "i"),
        ("(\"email\") WHERE \"kind\" = 'user'", "i"),
        ("(\"email\", lower(\"kind\"))", "i"),
        ("(\"email\", (\"kind\" || ''))", "i"),
        ("(\"kind\" COLLATE \"public\".\"mine\", \"email\")", "i"),
        ("(\"kind\" \"public\".\"my_ops\", \"email\")", "i"),
    ] {
        assert_refused(more(elements, name), "it lacks kind");
    }
    for definition in ["UNIQUE (\"email\") INCLUDE (\"kind\")", "EXCLUDE (\"kind\" WITH =)"] {
        let mut all = ops(&plan);
        for op in &mut all {
            if let Op::AddConstraint(add) = op
                && add.definition.starts_with("UNIQUE")
            {
                add.definition = definition.to_owned();
            }
        }
        assert_refused(rebuilt(plan.clone(), all), "it lacks kind");
    }
}

/// The constants of two sources change places in all that the plan does: what a reviewer reads must not stay behind.
#[test]
fn a_reviewer_reads_the_constants_that_rows_get() {
    let swap = |plan: &mut Plan| {
        let values = ["agent", "user"];
        for (projection, value) in plan.projections.iter_mut().zip(values) {
            projection.part.as_mut().unwrap().value = value.to_owned();
            for column in projection.columns.iter_mut().filter(|column| column.target.as_str() == "kind") {
                column.value = ColumnValue::Expr { sql: format!("CAST('{value}' AS text)"), reads: Vec::new() };
            }
        }
        plan.projections[0].part.as_mut().unwrap().others = vec!["user".to_owned()];
    };
    let in_changes = |plan: &mut Plan, swapped: &dyn Fn(&str) -> String| {
        for change in plan.changes.iter_mut().filter(|change| change.address.ends_with(".kind")) {
            change.expr = change.expr.as_deref().map(swapped);
            change.note = change.note.as_deref().map(swapped);
        }
    };
    let swapped = |text: &str| text.replace("'user'", "'x'").replace("'agent'", "'user'").replace("'x'", "'agent'");
    refused(&swap, "does not say what its rows get");
    let told_in_changes = |plan: &mut Plan| {
        swap(plan);
        in_changes(plan, &swapped);
    };
    refused(&told_in_changes, "no finding says");
    let mut told = plan("merge_of_two_sources");
    told_in_changes(&mut told);
    for finding in told.findings.iter_mut().filter(|finding| finding.code == "TABLES_MERGED") {
        finding.message = swapped(&finding.message);
    }
    let steps = ops(&told);
    assert_eq!(problems(&rebuilt(told, steps)), [], "another plan, and it says so");

    let of_kind = |plan: &mut Plan, change: &dyn Fn(&mut pcrd::plan::Change)| {
        plan.changes.iter_mut().filter(|one| one.address == "public.agents.kind").for_each(change);
    };
    let unsaid = "the change of public.agents.kind does not say";
    refused(&|plan| of_kind(plan, &|change| change.note = None), unsaid);
    refused(&|plan| of_kind(plan, &|change| change.expr = None), unsaid);
    refused(&|plan| of_kind(plan, &|change| change.action = Action::Comment), unsaid);
    refused(&|plan| plan.changes.retain(|change| change.address != "public.agents.kind"), unsaid);
    refused(
        &|plan| {
            let mut more = plan.changes.iter().find(|change| change.address == "public.agents.kind").unwrap().clone();
            more.note = Some("something else".to_owned());
            plan.changes.push(more);
        },
        unsaid,
    );
    refused(&|plan| plan.findings.retain(|finding| finding.code != "TABLES_MERGED"), "no finding says");
}
