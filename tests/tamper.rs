//! Every part of a plan file, changed: nothing of it may go unnoticed, by `audit` or by what `apply` reads.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeSet;
use std::path::Path;

use pcrd::audit::{Policy, audit};
use pcrd::plan::rules::World;
use pcrd::plan::{
    CreateIndex, Kind, Op, Plan, PlanFile, Step, digest, effects, graph, problems, read, statements, to_json,
};
use serde_json::{Value, json};

#[path = "tamper/back.rs"]
mod back;
#[path = "tamper/merged.rs"]
mod merged;
#[path = "tamper/new_types.rs"]
mod new_types;
#[path = "tamper/partitions.rs"]
mod partitions;
#[path = "tamper/policies.rs"]
mod policies;
#[path = "tamper/rights.rs"]
mod rights;
#[path = "tamper/triggers.rs"]
mod triggers;
#[path = "tamper/views.rs"]
mod views;

/// The plan file of a case, as its snapshot has it.
fn file(case: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans").join(case).join("plan.json.snap");
    let text = std::fs::read_to_string(path).unwrap();
    text[text.find("\n{").unwrap() + 1..].to_owned()
}

fn plan(case: &str) -> Plan {
    read(&file(case)).unwrap().plan
}

/// One place in the tree: names of members and places in arrays.
type Place = Vec<String>;

/// Every place under `plan`, the inner ones too.
fn places(value: &Value, at: &mut Place, found: &mut Vec<Place>) {
    found.push(at.clone());
    let inner: Vec<(String, &Value)> = match value {
        Value::Object(members) => members.iter().map(|(name, value)| (name.clone(), value)).collect(),
        Value::Array(items) => items.iter().enumerate().map(|(n, value)| (n.to_string(), value)).collect(),
        _ => Vec::new(),
    };
    for (name, value) in inner {
        at.push(name);
        places(value, at, found);
        at.pop();
    }
}

fn at<'v>(tree: &'v mut Value, place: &[String]) -> &'v mut Value {
    place.iter().fold(tree, |value, name| match value {
        Value::Object(members) => members.get_mut(name).unwrap(),
        Value::Array(items) => &mut items[name.parse::<usize>().unwrap()],
        _ => unreachable!("a place has its value"),
    })
}

/// What takes the place of a member that stands twice: no name in a plan has it.
const AGAIN: &str = "\u{1}again";

/// The tree with this place changed in every way that there is for its kind, each as text of a file.
fn mutants(tree: &Value, place: &Place) -> Vec<(String, String)> {
    let mut found = Vec::new();
    let mut add = |what: &str, change: &dyn Fn(&mut Value)| {
        let mut changed = tree.clone();
        change(&mut changed);
        if &changed != tree {
            let text = changed.to_string();
            let name = place.last().map(|name| Value::from(name.as_str()).to_string()).unwrap_or_default();
            let text = text.replace(&Value::from(AGAIN).to_string(), &name);
            found.push((format!("{what} /{}", place.join("/")), text));
        }
    };
    match at(&mut tree.clone(), place) {
        Value::String(text) => {
            let longer = format!("{text} ");
            add("longer", &|tree| *at(tree, place) = json!(longer));
            add("retyped", &|tree| *at(tree, place) = json!(7));
        }
        Value::Number(number) => {
            let number = number.as_i64().unwrap();
            add("more", &|tree| *at(tree, place) = json!(number.wrapping_add(1)));
            add("negated", &|tree| *at(tree, place) = json!(-number));
            add("retyped", &|tree| *at(tree, place) = json!(number.to_string()));
        }
        Value::Bool(bool) => {
            let flipped = !*bool;
            add("flipped", &|tree| *at(tree, place) = json!(flipped));
        }
        Value::Null => {}
        Value::Array(items) => {
            let n = items.len();
            add("emptied", &|tree| *at(tree, place) = json!([]));
            for n in 1..n {
                add("reordered", &|tree| at(tree, place).as_array_mut().unwrap().swap(n - 1, n));
            }
        }
        Value::Object(_) => {
            add("emptied", &|tree| *at(tree, place) = json!({}));
            add("extended", &|tree| at(tree, place)["unknown"] = json!(1));
        }
    }
    add("null", &|tree| *at(tree, place) = Value::Null);
    let Some((name, parent)) = place.split_last() else { return found };
    add("deleted", &|tree| match at(tree, parent) {
        Value::Object(members) => drop(members.remove(name)),
        Value::Array(items) => drop(items.remove(name.parse().unwrap())),
        _ => unreachable!("only these have parts"),
    });
    add("duplicated", &|tree| match at(tree, parent) {
        Value::Object(members) => drop(members.insert(AGAIN.to_owned(), members[name].clone())),
        Value::Array(items) => {
            let n: usize = name.parse().unwrap();
            items.insert(n, items[n].clone());
        }
        _ => unreachable!("only these have parts"),
    });
    found
}

/// Mutants of everything under `plan`, handed to `look` with the name of the change.
fn each_mutant(case: &str, wanted: impl Fn(&Place) -> bool, mut look: impl FnMut(&str, &str)) -> usize {
    let tree: Value = serde_json::from_str(&file(case)).unwrap();
    let mut all = Vec::new();
    places(&tree["plan"], &mut vec!["plan".to_owned()], &mut all);
    let mut seen = 0;
    for place in all.into_iter().filter(wanted) {
        for (what, text) in mutants(&tree, &place) {
            look(&what, &text);
            seen += 1;
        }
    }
    seen
}

/// False for what is inside of a table of the source or target: one plan with all of it is enough.
fn is_no_object(place: &Place) -> bool {
    place.len() <= 4 || !matches!(place[1].as_str(), "source" | "target")
}

fn every_mutant_is_refused(case: &str, wanted: impl Fn(&Place) -> bool) {
    let whole = audit(&file(case), &Policy::default());
    assert!(!whole.is_edited(), "{:?}", whole.entries);
    let seen = each_mutant(case, wanted, |what, text| {
        assert!(read(text).is_err(), "apply would run it: {what}");
        let report = audit(text, &Policy::default());
        assert!(report.is_edited() && !report.passed(), "audit takes it: {what}");
    });
    assert!(seen > 1_000, "{seen} mutants");
}

#[test]
fn every_mutant_of_a_small_plan_is_refused() {
    every_mutant_is_refused("narrowing_cast", |_| true);
}

#[test]
fn every_mutant_of_a_plan_with_hostile_names_is_refused() {
    every_mutant_is_refused("hostile_names", is_no_object);
}

#[test]
fn every_mutant_of_a_plan_without_a_key_is_refused() {
    every_mutant_is_refused("keyless_full", is_no_object);
}

/// Members may stand in any order: the file means the same, and has the same id.
#[test]
fn the_order_of_members_means_nothing() {
    fn reversed(value: &Value) -> String {
        match value {
            Value::Object(members) => {
                let list: Vec<String> =
                    members.iter().rev().map(|(name, value)| format!("{}:{}", json!(name), reversed(value))).collect();
                format!("{{{}}}", list.join(","))
            }
            Value::Array(items) => format!("[{}]", items.iter().map(reversed).collect::<Vec<_>>().join(",")),
            other => other.to_string(),
        }
    }
    let text = file("narrowing_cast");
    let other = reversed(&serde_json::from_str(&text).unwrap());
    assert!(other.starts_with("{\"plan\":{\"tool\""), "{}", &other[..40]);
    assert_eq!(read(&other).unwrap(), read(&text).unwrap());
}

/// With the digests recomputed: what is wrong besides them.
fn forged(text: &str) -> Option<Vec<String>> {
    let mut plan = serde_json::from_str::<PlanFile>(text).ok()?.plan;
    for side in [&mut plan.source, &mut plan.target] {
        side.fingerprint = digest::side(&side.tables, &side.sequences, &side.types);
    }
    plan.id = digest::id(&plan);
    Some(problems(&plan).iter().map(ToString::to_string).collect())
}

/// Whoever recomputes the id can write another plan, but only one that is consistent: every member of a step is refused
/// but what the op alone holds, and of that everything that any statement says.
#[test]
fn a_forger_who_recomputes_the_digests_cannot_touch_a_step() {
    let mut taken = BTreeSet::new();
    for case in ["narrowing_cast", "everything_about_columns", "types_that_come_along"] {
        each_mutant(case, is_no_object, |what, text| {
            if forged(text).is_some_and(|problems| problems.is_empty()) {
                let (change, place) = what.split_once(" /plan/").unwrap();
                let words: Vec<&str> =
                    place.split('/').map(|word| if word.parse::<u32>().is_ok() { "*" } else { word }).collect();
                taken.insert(match words[0] {
                    // `apply` compares these with the servers, object by object.
                    "source" | "target" => words[..2].join("/"),
                    "steps" => format!("{} ({change})", words.join("/")),
                    _ => words.join("/"),
                });
            }
        });
    }
    let mut insta = insta::Settings::clone_current();
    insta.set_snapshot_path(Path::new(env!("CARGO_MANIFEST_DIR")).join("snapshots"));
    insta.set_prepend_module_to_snapshot(false);
    insta.set_omit_expression(true);
    insta.bind(|| {
        let list: Vec<String> = taken.into_iter().collect();
        insta::assert_snapshot!("what_a_forger_may_write", list.join("\n"));
    });
}

/// A plan of these ops, everything that follows from them recomputed.
fn rebuilt(mut plan: Plan, ops: Vec<Op>) -> Plan {
    let ordered = graph::order(&World::of(&plan), ops).unwrap();
    let step = |(op, after): (Op, _)| Step {
        id: op.id(),
        phase: op.phase(),
        after,
        statements: statements::statements(&op, &plan).unwrap(),
        lock: effects::locks(&op, &plan),
        done_when: effects::done_when(&op, &plan),
        revert: statements::revert(&op),
        op,
    };
    plan.steps = ordered.into_iter().map(step).collect();
    plan.id = digest::id(&plan);
    plan
}

fn ops(plan: &Plan) -> Vec<Op> {
    plan.steps.iter().map(|step| step.op.clone()).collect()
}

#[track_caller]
fn assert_refused(plan: Plan, why: &str) {
    let text = to_json(&PlanFile { plan, evidence: None });
    let error = read(&text).map(drop).unwrap_err().to_string();
    let report = audit(&text, &Policy::default());
    assert!(error.contains(why), "{error}");
    assert!(report.is_edited() && report.entries.iter().any(|entry| entry.message.contains(why)), "{report:?}");
}

/// Left out with all that follows from it: without one of these steps rows could be lost.
#[test]
fn no_step_of_the_protocol_can_be_left_out() {
    for case in ["narrowing_cast", "everything_about_columns", "keyless_full", "way_back", "types_that_come_along"] {
        let plan = plan(case);
        assert_eq!(rebuilt(plan.clone(), ops(&plan)), plan, "rebuilding changes nothing");
        for left in &plan.steps {
            let ops = ops(&plan).into_iter().filter(|op| op.id() != left.id).collect();
            let without = rebuilt(plan.clone(), ops);
            let is_plain = matches!(
                left.op.kind(),
                Kind::CreateSchema
                    | Kind::CreateSequence
                    | Kind::CreateIndex
                    | Kind::AddConstraint
                    | Kind::ValidateConstraint
                    | Kind::SetComment
                    | Kind::CreateFunction
                    | Kind::CreateTrigger
                    | Kind::CreatePolicy
                    | Kind::SetRowSecurity
                    | Kind::SetOwner
                    | Kind::Grant
                    | Kind::SetSequence
                    | Kind::SetDefault
                    | Kind::CreateStatistics
                    | Kind::CreateView
                    | Kind::ClusterOn
                    | Kind::SetReplicaIdentity
            );
            assert_eq!(problems(&without).is_empty(), is_plain, "{case} without {}: {:?}", left.id, problems(&without));
        }
    }
}

/// A statement that is what its op says, and still not what a step of its kind may do.
#[test]
fn nothing_hides_in_free_text() {
    let plan = plan("everything_about_columns");
    let table = plan.projections[0].target.clone();
    let name = pcrd::catalog::Ident::new("smuggled").unwrap();
    let on = pcrd::sql::name(&table);
    let index = |statement: &str| {
        let index = CreateIndex {
            table: table.clone(),
            name: name.clone(),
            statement: statement.replace("$t", &on),
            key: false,
        };
        let mut all = ops(&plan);
        all.push(Op::CreateIndex(index));
        rebuilt(plan.clone(), all)
    };
    let good = index("CREATE INDEX \"smuggled\" ON $t USING \"btree\" (\"id\" DESC, (1 + 1)) WHERE \"id\" > 0");
    assert_eq!(problems(&good), []);
    for bad in [
        "DROP TABLE $t",
        "CREATE INDEX \"smuggled\" ON $t USING \"btree\" (\"id\"); DROP TABLE $t",
        "CREATE INDEX \"other\" ON $t USING \"btree\" (\"id\")",
        "CREATE INDEX \"smuggled\" ON \"public\".\"elsewhere\" USING \"btree\" (\"id\")",
        "CREATE INDEX CONCURRENTLY \"smuggled\" ON $t USING \"btree\" (\"id\")",
        "CREATE INDEX \"smuggled\" ON $t USING \"btree\" (\"id\") WHERE true; --",
        "/* CREATE INDEX */ DO $x$ BEGIN END $x$",
    ] {
        assert_refused(index(bad), "a statement");
    }
    let with = |change: &dyn Fn(&mut Op)| {
        let mut all = ops(&plan);
        all.iter_mut().for_each(change);
        rebuilt(plan.clone(), all)
    };
    for default in
        ["0, \"more\" text", "0) ; DROP TABLE x; --", "0 CHECK (false)", "0 NOT NULL", "(SELECT 1) PRIMARY KEY"]
    {
        let changed = with(&|op| {
            if let Op::CreateTable(op) = op {
                let column = op.columns.iter_mut().find(|column| column.default.is_some()).unwrap();
                column.default = Some(default.to_owned());
            }
        });
        assert_refused(changed, "a statement");
    }
    let changed = with(&|op| {
        if let Op::CreateTable(op) = op {
            op.columns[0].ty.sql = "integer DEFAULT 7".to_owned();
        }
    });
    assert_refused(changed, "a statement");
    let more = |sql: &str| {
        let mut changed = plan.clone();
        let column = changed.projections[0].columns.iter_mut().find_map(|column| match &mut column.value {
            pcrd::projection::ColumnValue::Expr { sql, .. } => Some(sql),
            pcrd::projection::ColumnValue::Frozen { .. } => None,
        });
        *column.unwrap() = sql.to_owned();
        let all = ops(&changed);
        rebuilt(changed, all)
    };
    // To the server one string, up to the third quote of the second line.
    let continued = "E'a'\n'\\' || ') AS \"x\" FROM \"secret\" --'";
    for sql in ["1 UNION SELECT 2", "1 AS \"x\" FROM \"secret\" --", "1) TO PROGRAM 'rm' --", "1, 2", continued] {
        assert_refused(more(sql), "");
        assert!(!problems(&more(sql)).is_empty());
    }
}

/// The data checks run on the source before anything else: their SQL follows from their predicates.
#[test]
fn a_check_runs_only_what_its_predicates_make() {
    let plan = plan("narrowing_cast");
    let mut changed = plan.clone();
    changed.checks[0].sql = "SELECT pg_catalog.pg_terminate_backend(1)".to_owned();
    changed.id = digest::id(&changed);
    assert_refused(changed, "is not what its table and predicates make");
    let mut changed = plan;
    changed.checks[0].predicates[0].sample_sql.push_str("; DROP TABLE x");
    changed.id = digest::id(&changed);
    assert_refused(changed, "is not what its table and predicates make");
}

/// Values that are not copied are said to be dropped, by a change and by a finding.
#[test]
fn a_loss_cannot_be_hidden() {
    let plan = plan("widen_id_and_pack");
    let mut changed = plan.clone();
    changed.changes.retain(|change| change.action != pcrd::plan::Action::Drop);
    changed.id = digest::id(&changed);
    assert_refused(changed, "lists no drop of it");
    let mut changed = plan;
    changed.findings.retain(|finding| finding.code != "DELETES_DATA");
    changed.id = digest::id(&changed);
    assert_refused(changed, "left out without the finding that says so");
}

/// Rows that none of several targets takes are counted, unless somebody accepts that they stay behind.
#[test]
fn a_gap_between_targets_cannot_be_hidden() {
    let plan = plan("split_by_rows_and_columns");
    let changed = |change: &dyn Fn(&mut Plan)| {
        let mut changed = plan.clone();
        change(&mut changed);
        changed.id = digest::id(&changed);
        changed
    };
    let is_gap = |check: &pcrd::plan::Check| check.id == "split:app.lines";
    assert_refused(changed(&|plan| plan.findings.retain(|one| one.code != "SPLIT_GAP")), "app.lines is left out");
    assert_refused(changed(&|plan| plan.checks.retain(|check| !is_gap(check))), "neither counted nor accepted");
    let less = changed(&|plan| {
        let check = plan.checks.iter_mut().find(|check| is_gap(check)).unwrap();
        check.sql = check.sql.replace(" AND ", " AND false AND ");
    });
    assert_refused(less, "the SQL of split:app.lines is not what");
    // A filter that two of them share says twice the same.
    let twice = changed(&|plan| plan.projections[1].target = plan.projections[0].target.clone());
    assert!(!problems(&twice).is_empty());
}
