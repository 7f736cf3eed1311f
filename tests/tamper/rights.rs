//! Owners and grants: nobody gets by an edited plan what the plan's source does not give him.

use pcrd::catalog::{GrantTarget, Ident, OwnerTarget, QualifiedName, Right};
use pcrd::plan::{CreateSchema, Grant, Op, Plan, SetOwner, problems};

use super::{assert_refused, ops, plan, rebuilt};

fn name(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

fn with(change: &dyn Fn(&mut Vec<Op>)) -> Plan {
    let plan = plan("owners_and_grants");
    let mut all = ops(&plan);
    change(&mut all);
    rebuilt(plan, all)
}

#[track_caller]
fn refused(change: &dyn Fn(&mut Vec<Op>), why: &str) {
    assert_refused(with(change), why);
}

/// The first grant that fits.
fn grant<'o>(all: &'o mut [Op], fits: &dyn Fn(&Grant) -> bool) -> &'o mut Grant {
    let grants = all.iter_mut().filter_map(|op| if let Op::Grant(grant) = op { Some(grant) } else { None });
    grants.into_iter().find(|grant| fits(grant)).unwrap()
}

fn owner<'o>(all: &'o mut [Op], fits: &dyn Fn(&SetOwner) -> bool) -> &'o mut SetOwner {
    let owners = all.iter_mut().filter_map(|op| if let Op::SetOwner(owner) = op { Some(owner) } else { None });
    owners.into_iter().find(|owner| fits(owner)).unwrap()
}

fn on_table(grant: &Grant) -> bool {
    matches!(grant.on, GrantTarget::Table(_)) && grant.to.is_some()
}

const BEYOND: &str = "gives what the source does not have";
const FOREIGN: &str = "not the plan's";

#[test]
fn nobody_gets_more_than_the_source_gives() {
    assert_eq!(problems(&with(&|_| {})), []);
    refused(&|all| grant(all, &on_table).to = Some(name("intruder")), BEYOND);
    refused(&|all| grant(all, &on_table).rights.push(Right::Truncate), BEYOND);
    refused(
        &|all| {
            let grant = grant(all, &|one| on_table(one) && !one.rights.is_empty());
            let right = grant.rights.remove(0);
            grant.grantable.push(right);
        },
        BEYOND,
    );
    refused(
        &|all| {
            let grant = grant(all, &on_table);
            let right = *grant.rights.iter().chain(&grant.grantable).next().unwrap();
            grant.rights.push(right);
        },
        FOREIGN,
    );
    refused(
        &|all| {
            let column = |one: &Grant| matches!(one.on, GrantTarget::Column(_));
            let to = grant(all, &column).to.clone();
            // Its grant on the table makes place.
            all.retain(|op| !matches!(op, Op::Grant(one) if on_table(one) && one.to == to));
            let grant = grant(all, &column);
            let GrantTarget::Column(at) = grant.on.clone() else { unreachable!("it was found as one") };
            grant.on = GrantTarget::Table(at.table);
        },
        BEYOND,
    );
    refused(
        &|all| {
            let grant = grant(all, &|one| matches!(one.on, GrantTarget::Column(_)));
            let GrantTarget::Column(at) = &mut grant.on else { unreachable!("it was found as one") };
            at.column = name("id");
        },
        BEYOND,
    );
    let schema = |one: &Grant| matches!(one.on, GrantTarget::Schema(_));
    refused(&|all| grant(all, &schema).rights.push(Right::Create), BEYOND);
    refused(&|all| grant(all, &schema).to = None, BEYOND);
    refused(&|all| grant(all, &schema).on = GrantTarget::Schema(name("pcrd")), FOREIGN);
    refused(
        &|all| {
            let more = Grant {
                on: GrantTarget::Schema(name("public")),
                to: None,
                rights: vec![Right::Create],
                grantable: Vec::new(),
            };
            all.push(Op::Grant(more));
        },
        FOREIGN,
    );
    let elsewhere = |all: &mut Vec<Op>| {
        let GrantTarget::Table(table) = &mut grant(all, &on_table).on else { unreachable!("it was found as one") };
        table.name = name("elsewhere");
    };
    refused(&elsewhere, FOREIGN);
}

#[test]
fn nobody_becomes_an_owner_who_is_none_on_the_source() {
    for fits in [
        &(|one: &SetOwner| matches!(one.on, OwnerTarget::Table(_))) as &dyn Fn(&SetOwner) -> bool,
        &|one: &SetOwner| matches!(one.on, OwnerTarget::Schema(_)),
        &|one: &SetOwner| matches!(one.on, OwnerTarget::Sequence(_)),
    ] {
        refused(&|all| owner(all, fits).owner = name("intruder"), BEYOND);
    }
    let table = |one: &SetOwner| matches!(one.on, OwnerTarget::Table(_));
    refused(&|all| owner(all, &table).on = OwnerTarget::Schema(name("public")), FOREIGN);
    refused(
        &|all| {
            let OwnerTarget::Table(table) = &mut owner(all, &table).on else { unreachable!("it was found as one") };
            table.name = name("elsewhere");
        },
        FOREIGN,
    );
    // A schema that the target has is not given away.
    refused(&|all| all.retain(|op| !matches!(op, Op::CreateSchema(_))), FOREIGN);
    let more = |all: &mut Vec<Op>| {
        let set = owner(all, &table);
        let OwnerTarget::Table(of) = &set.on else { unreachable!("it was found as one") };
        let sequence = QualifiedName { schema: of.schema.clone(), name: name("elsewhere") };
        set.sequences.push(sequence);
    };
    refused(&more, FOREIGN);
}

fn create_schema(all: &mut [Op]) -> &mut CreateSchema {
    all.iter_mut().find_map(|op| if let Op::CreateSchema(create) = op { Some(create) } else { None }).unwrap()
}

/// A schema that the target has is somebody's, whatever a plan says of creating it.
#[test]
fn a_schema_is_given_away_only_by_a_plan_that_fails_where_it_is_there() {
    refused(&|all| create_schema(all).must_be_new = false, FOREIGN);
    let public = |must_be_new: bool| {
        move |all: &mut Vec<Op>| {
            let schema = |one: &SetOwner| matches!(one.on, OwnerTarget::Schema(_));
            let own = owner(all, &schema).owner.clone();
            all.push(Op::CreateSchema(CreateSchema { schema: name("public"), must_be_new }));
            all.push(Op::SetOwner(SetOwner {
                on: OwnerTarget::Schema(name("public")),
                owner: own,
                sequences: Vec::new(),
                partitions: Vec::new(),
            }));
        }
    };
    refused(&public(false), FOREIGN);
    // Nothing of it comes from the source either.
    refused(&public(true), BEYOND);
    let created = with(&|_| {}).steps.into_iter().filter(|step| matches!(step.op, Op::CreateSchema(_)));
    for step in created {
        let sql = &step.statements[0].sql;
        assert!(sql.starts_with("CREATE SCHEMA \""), "{sql}");
    }
}
