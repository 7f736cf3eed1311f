//! A target with the partitions of its source: they are those of the plan's own table, and their texts say nothing else.

use pcrd::catalog::{Ident, Partition, PartitionMethod, Partitioning, QualifiedName};
use pcrd::plan::{CreateTable, Op, Plan, problems};

use super::{ops, plan, rebuilt};

fn with(change: &dyn Fn(&mut CreateTable)) -> Plan {
    let plan = plan("partitioned_target");
    let mut all = ops(&plan);
    for op in &mut all {
        if let Op::CreateTable(op) = op {
            change(op);
        }
    }
    rebuilt(plan, all)
}

fn with_partitions(change: &dyn Fn(&mut Partitioning)) -> Plan {
    with(&|op| change(op.partitioning.as_mut().unwrap()))
}

fn first(change: &dyn Fn(&mut Partition)) -> Plan {
    with_partitions(&|whole| change(&mut whole.partitions[0]))
}

#[test]
fn a_partition_is_of_its_table_and_says_no_more() {
    assert_eq!(problems(&with(&|_| {})), []);
    let is_refused = |plan: &Plan, what: &str| assert!(!problems(plan).is_empty(), "{what} is taken");
    for bound in [
        "DEFAULT; DROP TABLE x",
        "DEFAULT PARTITION BY LIST (\"id\")",
        "FOR VALUES FROM (pg_sleep(1)) TO (2)",
        "FOR VALUES IN ((SELECT 1))",
        "FOR VALUES FROM (1) TO (2) TABLESPACE elsewhere",
        "",
    ] {
        is_refused(&first(&|one| one.bound = bound.to_owned()), bound);
    }
    let elsewhere = || QualifiedName::new("public", "elsewhere").unwrap();
    is_refused(&first(&|one| one.of = elsewhere()), "a partition of another table");
    is_refused(&first(&|one| one.name = QualifiedName::new("pcrd", "chunk").unwrap()), "a partition in another schema");
    is_refused(&with_partitions(&|whole| whole.partitions.reverse()), "partitions before what they are partitions of");
    is_refused(&with_partitions(&|whole| whole.by.method = PartitionMethod::List), "another method");
    is_refused(&with_partitions(&|whole| whole.by.columns = vec![Ident::new("value").unwrap()]), "another key");
    is_refused(&with(&|op| op.partitioning = None), "one flat table, where the projection has partitions");
    let twice = |whole: &mut Partitioning| {
        let one = whole.partitions[0].clone();
        whole.partitions.push(one);
    };
    is_refused(&with_partitions(&twice), "one partition twice");
}
