//! Runs the SQL of the worked plans on a real server: whatever a reviewer reads there is SQL that PostgreSQL takes.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use pcrd::catalog::type_def::in_order;
use pcrd::catalog::{Column, Ident, QualifiedName};
use pcrd::pg::local::Cluster;
use pcrd::plan::{End, Kind, Op, Plan, PlanFile, Step, read};
use pcrd::sql::ddl;
use pcrd::sql::ddl_type::{QUOTED, create_type};
use pcrd::sql::rights::create_role;
use tokio_postgres::{Client, NoTls};

async fn connect(cluster: &Cluster, database: &str, user: Option<&str>) -> Client {
    let info = cluster.conninfo(database);
    let user = user.unwrap_or(&info.user);
    let text = format!("host={} port={} user={user} dbname={database} options='-c search_path='", info.host, info.port);
    let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn run(client: &Client, sql: &str, what: &str) {
    if let Err(error) = client.batch_execute(sql).await {
        let message = error.as_db_error().map_or_else(|| error.to_string(), |db| db.message().to_owned());
        panic!("{what}: {message}\n{sql}");
    }
}

/// The plan in a case's snapshot: also the proof that plans of this format still load.
fn plans() -> BTreeMap<String, Plan> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans");
    let mut plans = BTreeMap::new();
    for case in fs::read_dir(root).unwrap() {
        let case = case.unwrap().path();
        let Ok(snapshot) = fs::read_to_string(case.join("plan.json.snap")) else { continue };
        let json = &snapshot[snapshot.find("\n{").unwrap() + 1..];
        let PlanFile { plan, .. } = read(json).unwrap();
        plans.insert(case.file_name().unwrap().to_str().unwrap().to_owned(), plan);
    }
    assert!(plans.len() >= 4);
    plans
}

fn filled(sql: &str, plan: &Plan, step: &Step) -> String {
    let start = match &step.op {
        Op::SetSequence(op) => op.source.as_ref().map_or(1, |source| plan.source.sequences[source].start),
        _ => 0,
    };
    sql.replace("$value", &start.to_string())
        .replace("$is_called", "true")
        .replace("$migration", "'test'")
        .replace("$epoch", "1")
        .replace("$until", "pg_catalog.clock_timestamp() + interval '2 s'")
        .replace("$sentinel", "'test'")
        .replace("$probe", "'test'")
        .replace("$target_lsn", "pg_catalog.pg_current_wal_lsn()")
}

fn is_runnable(step: &Step, sql: &str) -> bool {
    let by_protocol = ["COPY", "CREATE_REPLICATION_SLOT", "START_REPLICATION", "LOCK TABLE"];
    // What the reverts undo.
    let later = [Kind::DropSlot, Kind::DropBackSlot, Kind::DropBackPublication];
    !later.contains(&step.op.kind()) && !by_protocol.iter().any(|word| sql.starts_with(word))
}

/// Tables as the source has them, without what only matters to rows.
async fn create_source(client: &Client, plan: &Plan) {
    for name in in_order(plan.source.types.keys(), &plan.source.types) {
        run(client, &ddl::create_schema(&name.schema), "source").await;
        for statement in create_type(name, &plan.source.types[name], QUOTED) {
            run(client, &statement, "source").await;
        }
    }
    for (name, table) in &plan.source.tables {
        run(client, &ddl::create_schema(&name.schema), "source").await;
        let plain = |column: &Column| Column { default: None, identity: None, generated: None, ..column.clone() };
        let columns: Vec<Column> = table.columns.iter().map(plain).collect();
        for statement in ddl::create_table(name, &columns, table.primary_key.as_ref(), &BTreeMap::new(), &[], None) {
            run(client, &statement, "source").await;
        }
    }
}

/// Roles that the step names.
fn roles(step: &Step) -> Vec<Ident> {
    match &step.op {
        Op::SetOwner(op) => vec![op.owner.clone()],
        Op::Grant(op) => op.to.iter().cloned().collect(),
        Op::CreatePolicy(op) => op.def.roles.clone(),
        _ => Vec::new(),
    }
}

async fn run_steps(source: &Client, target: &Client, plan: &Plan, wanted: impl Fn(&Step) -> bool) {
    for step in plan.steps.iter().filter(|step| wanted(step)) {
        for statement in step.statements.iter().filter(|statement| is_runnable(step, &statement.sql)) {
            let client = match statement.on {
                End::Source => source,
                End::Target => target,
            };
            run(client, &filled(&statement.sql, plan, step), &step.id.0).await;
        }
    }
}

#[tokio::test]
async fn every_statement_runs_and_every_revert_undoes() {
    let cluster = Cluster::start_with(15, &[("fsync", "off"), ("wal_level", "logical")]).unwrap();
    let admin = connect(&cluster, "postgres", None).await;
    let roles: BTreeSet<Ident> = plans().values().flat_map(|plan| &plan.steps).flat_map(roles).collect();
    assert!(!roles.is_empty());
    for role in roles {
        run(&admin, &create_role(&role, false), "roles").await;
    }
    for (case, plan) in plans() {
        for end in ["source", "target"] {
            run(&admin, &format!("CREATE DATABASE \"{case}_{end}\""), &case).await;
        }
        let source = connect(&cluster, &format!("{case}_source"), None).await;
        let target = connect(&cluster, &format!("{case}_target"), None).await;
        // Types and operator classes that a plan takes for granted.
        let needed = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans").join(&case).join("prerequisites.sql");
        if let Ok(needed) = fs::read_to_string(needed) {
            for client in [&source, &target] {
                run(client, &needed, &case).await;
            }
        }
        create_source(&source, &plan).await;
        for check in &plan.checks {
            let row = source.query_one(&check.sql, &[]).await.unwrap();
            for count in 0..row.len() {
                assert_eq!(row.get::<_, i64>(count), 0, "{}", check.id);
            }
            for predicate in &check.predicates {
                assert!(source.query(&predicate.sample_sql, &[]).await.unwrap().is_empty());
            }
        }
        run_steps(&source, &target, &plan, |_| true).await;
        for (name, key) in plan.projections.iter().map(|projection| (&projection.target, projection.target_key())) {
            assert_eq!(columns(&target, name).await.len(), target_columns(&plan, name));
            assert!(key.is_empty() || has_unique_index(&target, name).await, "{name} has an index for its key");
        }
        for step in plan.steps.iter().rev() {
            for statement in step.revert.iter().filter(|statement| statement.on == End::Target) {
                run(&target, &statement.sql, &format!("revert of {}", step.id)).await;
            }
        }
        for projection in &plan.projections {
            assert!(columns(&target, &projection.target).await.is_empty());
        }
    }
}

fn target_columns(plan: &Plan, table: &QualifiedName) -> usize {
    let create = plan.steps.iter().find_map(|step| match &step.op {
        Op::CreateTable(op) if &op.name == table => Some(op.columns.len()),
        _ => None,
    });
    create.unwrap()
}

async fn columns(client: &Client, table: &QualifiedName) -> Vec<String> {
    let sql = "SELECT a.attname::text FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relname = $2 AND a.attnum > 0 AND NOT a.attisdropped ORDER BY a.attnum";
    let rows = client.query(sql, &[&table.schema.as_str(), &table.name.as_str()]).await.unwrap();
    rows.iter().map(|row| row.get(0)).collect()
}

async fn has_unique_index(client: &Client, table: &QualifiedName) -> bool {
    let sql = "SELECT count(*) FROM pg_catalog.pg_index i JOIN pg_catalog.pg_class c ON c.oid = i.indrelid \
               JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
               WHERE n.nspname = $1 AND c.relname = $2 AND i.indisunique AND i.indisvalid";
    client.query_one(sql, &[&table.schema.as_str(), &table.name.as_str()]).await.unwrap().get::<_, i64>(0) > 0
}

/// The fence stops a writer without any right on it, and lets it pass once the lease is over.
#[tokio::test]
async fn the_fence_stops_writes_until_its_lease_is_over() {
    let cluster = Cluster::start_with(15, &[("fsync", "off"), ("wal_level", "logical")]).unwrap();
    let admin = connect(&cluster, "postgres", None).await;
    let plan = &plans()["narrowing_cast"];
    create_source(&admin, plan).await;
    run(&admin, "CREATE ROLE writer LOGIN; GRANT INSERT ON public.meters TO writer", "grant").await;
    let writer = connect(&cluster, "postgres", Some("writer")).await;
    let write = "INSERT INTO public.meters (id, label) VALUES ((pg_catalog.random() * 1e9)::int, 'x')";
    run(&writer, write, "before the fence").await;
    run_steps(&admin, &admin, plan, |step| step.op.kind() == Kind::Fence).await;
    let refused = writer.batch_execute(write).await.unwrap_err();
    assert_eq!(refused.code().unwrap().code(), "25006");
    run(&admin, "SET session_replication_role = replica", "admin").await;
    assert_eq!(admin.batch_execute(write).await.unwrap_err().code().unwrap().code(), "25006", "ALWAYS");
    run(&admin, "UPDATE pcrd.fence SET until = pg_catalog.clock_timestamp()", "end of the lease").await;
    run(&writer, write, "after the lease").await;
    run_steps(&admin, &admin, plan, |step| step.op.kind() == Kind::DropFence).await;
    run(&writer, write, "after cleanup").await;
}
