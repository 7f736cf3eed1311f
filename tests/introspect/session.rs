//! How introspection behaves towards its session, and what it notices.

use pcrd::catalog::drift::explain_drift;
use pcrd::catalog::{QualifiedName, ReplicaIdentity};
use pcrd::pg::introspect;
use pcrd::pg::local::Cluster;
use pcrd::pg::shape::{SHAPE_SQL, expected_shape};
use pcrd::sql;

use crate::support::{connect, connect_to, run, text};
use crate::zoo::{Zoo, chain, table, zoo};

#[tokio::test]
async fn the_number_of_statements_does_not_grow_with_the_tables() {
    let cluster = Cluster::start_with(15, &[("fsync", "off"), ("log_statement", "all")]).unwrap();
    let client = connect_to(&cluster, "postgres").await;
    let statements = || {
        let log = std::fs::read_to_string(cluster.log_path()).unwrap();
        log.lines().filter(|line| line.contains("LOG:  execute") || line.contains("LOG:  statement:")).count()
    };
    let start = statements();
    introspect::catalog(&client).await.unwrap();
    let empty = statements() - start;
    assert!(empty >= 10, "the log is written: {empty}");
    run(
        &client,
        "DO $$ BEGIN FOR n IN 1..1000 LOOP EXECUTE format('CREATE TABLE t%s (id bigserial PRIMARY KEY, a text DEFAULT \
         ''x'' CHECK (a <> ''''), b int REFERENCES t%s)', n, n - 1 + (n = 1)::int); \
         EXECUTE format('CREATE INDEX ON t%s (lower(a)) WHERE b > 0', n); END LOOP; END $$",
    )
    .await;
    let start = statements();
    let catalog = introspect::catalog(&client).await.unwrap();
    assert_eq!(catalog.tables.len(), 1000);
    assert_eq!(catalog.sequences.len(), 1000);
    assert_eq!(statements() - start, empty);
}

#[tokio::test]
async fn settings_of_the_session_do_not_colour_the_catalog() {
    let zoo_server = Zoo::open(15).await;
    let plain = zoo_server.read().await;
    let settings = "SET search_path = zoo; SET TimeZone = 'Asia/Tokyo'; SET DateStyle = 'German'; \
                    SET quote_all_identifiers = on; SET default_transaction_isolation = 'serializable'";
    run(&zoo_server.client, settings).await;
    assert_eq!(zoo_server.read().await, plain);
    assert_eq!(text(&zoo_server.client, "SHOW search_path").await, "zoo", "the session keeps its settings");
    run(&zoo_server.client, "VACUUM zoo.mother").await;
    for (name, table) in &plain.tables {
        let row = zoo_server.client.query_one(SHAPE_SQL, &[&name.schema.as_str(), &name.name.as_str()]).await.unwrap();
        assert_eq!(row.get::<_, String>(0), expected_shape(table), "the shape does not depend on them either");
    }
}

#[tokio::test]
async fn a_role_without_rights_reads_the_same_structure() {
    let zoo_server = Zoo::open(15).await;
    run(&zoo_server.client, "CREATE ROLE nobody LOGIN").await;
    let mut info = zoo_server.cluster.conninfo("postgres");
    info.user = "nobody".into();
    let catalog = introspect::catalog(&connect(&info).await).await.unwrap_or_else(|error| panic!("{}", chain(&error)));
    let full = zoo_server.read().await;
    assert_eq!(catalog.tables.len(), full.tables.len());
    for (name, table) in &full.tables {
        assert_eq!(catalog.tables[name].fingerprint(), table.fingerprint(), "{name}");
    }
    assert_eq!((catalog.types, catalog.sequences), (full.types, full.sequences));
}

#[tokio::test]
async fn an_error_leaves_no_transaction_behind() {
    let zoo_server = Zoo::open(15).await;
    run(&zoo_server.client, "REVOKE ALL ON FUNCTION pg_control_system() FROM PUBLIC; CREATE ROLE nobody LOGIN").await;
    let mut info = zoo_server.cluster.conninfo("postgres");
    info.user = "nobody".into();
    let client = connect(&info).await;
    let error = introspect::server(&client).await.unwrap_err();
    assert!(chain(&error).contains("pg_control_system"), "{}", chain(&error));
    assert_eq!(text(&client, "SELECT 1").await, "1");
    assert_eq!(text(&client, "SHOW transaction_read_only").await, "off");
}

/// Changes that a copy must notice, by the shape line and by the explanation.
#[tokio::test]
async fn drift_is_noticed_and_explained() {
    let zoo_server = Zoo::open(15).await;
    let client = &zoo_server.client;
    run(client, "CREATE TABLE zoo.t (id int PRIMARY KEY, v text, w int)").await;
    let changes = [
        ("ALTER TABLE zoo.t ALTER id TYPE bigint", "column id: type was integer, is bigint"),
        ("ALTER TABLE zoo.t ADD x date", "column x was added: date"),
        ("ALTER TABLE zoo.t DROP w", "column w is gone: integer"),
        ("ALTER TABLE zoo.t RENAME v TO vv", "column vv was added: text"),
        ("ALTER TABLE zoo.t ALTER vv SET NOT NULL", "column vv: not null was nothing, is true"),
        ("ALTER TABLE zoo.t ALTER vv TYPE text COLLATE \"C\"", "column vv: collation was nothing, is pg_catalog.\"C\""),
        ("ALTER TABLE zoo.t REPLICA IDENTITY FULL", "table: replica identity was default, is full"),
        (
            "ALTER TABLE zoo.t DROP CONSTRAINT t_pkey",
            "index t_pkey is gone: CREATE UNIQUE INDEX t_pkey ON zoo.t USING btree (id)",
        ),
        ("ALTER TABLE zoo.t ADD PRIMARY KEY (id, vv)", "constraint t_pkey was added: PRIMARY KEY (id, vv)"),
        ("ALTER TABLE zoo.t ENABLE ROW LEVEL SECURITY", "table: row security was nothing, is true"),
        ("CREATE TABLE zoo.t_child () INHERITS (zoo.t)", "table: children was nothing, is [\"zoo.t_child\"]"),
        ("ALTER TABLE zoo.t SET UNLOGGED", "table: persistence was permanent, is unlogged"),
    ];
    for (change, expected) in changes {
        let before = zoo_server.read().await;
        run(client, change).await;
        let after = zoo_server.read().await;
        let (before, after) = (table(&before, "t"), table(&after, "t"));
        let told: Vec<String> = explain_drift(before, after).iter().map(ToString::to_string).collect();
        assert!(told.iter().any(|line| line == expected), "{change}: {told:#?}");
        assert_ne!(expected_shape(before), expected_shape(after), "{change}");
        assert_eq!(shape(client).await, expected_shape(after), "{change}");
    }
}

/// Changes that move files or names but none of what a copy reads.
#[tokio::test]
async fn a_rewritten_or_reindexed_table_keeps_its_shape() {
    let zoo_server = Zoo::open(15).await;
    let client = &zoo_server.client;
    run(client, "CREATE TABLE zoo.t (id int PRIMARY KEY, v text); INSERT INTO zoo.t SELECT generate_series(1, 10)")
        .await;
    let before = shape(client).await;
    for change in ["VACUUM FULL zoo.t", "REINDEX TABLE zoo.t", "ANALYZE zoo.t", "ALTER INDEX zoo.t_pkey RENAME TO k"] {
        run(client, change).await;
        assert_eq!(shape(client).await, before, "{change}");
    }
    let fingerprint = table(&zoo_server.read().await, "t").fingerprint();
    run(client, "INSERT INTO zoo.t SELECT generate_series(11, 9000)").await;
    run(client, "ANALYZE zoo.t").await;
    assert_eq!(table(&zoo_server.read().await, "t").fingerprint(), fingerprint, "statistics are no structure");
    run(client, "DROP TABLE zoo.t").await;
    assert_eq!(shape(client).await, "missing");
}

async fn shape(client: &tokio_postgres::Client) -> String {
    let name = zoo("t");
    client.query_one(SHAPE_SQL, &[&name.schema.as_str(), &name.name.as_str()]).await.unwrap().get(0)
}

/// An index that is created from what was read is read as the same index.
#[tokio::test]
async fn indexes_survive_their_rebuilding() {
    for major in [15, 18] {
        let zoo_server = Zoo::open(major).await;
        let before = zoo_server.read().await;
        let mut rebuilt = 0;
        for (table, content) in &before.tables {
            for (name, index) in content.indexes.iter().filter(|(_, index)| index.constraint.is_none()) {
                if content.replica_identity == ReplicaIdentity::Index(name.clone()) {
                    continue;
                }
                let qualified = QualifiedName { schema: table.schema.clone(), name: name.clone() };
                run(&zoo_server.client, &format!("DROP INDEX {}", sql::name(&qualified))).await;
                run(&zoo_server.client, &sql::ddl_index::create_index(name, table, index)).await;
                rebuilt += 1;
            }
        }
        assert!(rebuilt >= 6, "{rebuilt}");
        let mut after = zoo_server.read().await;
        for (name, table) in &mut after.tables {
            for (index_name, index) in &mut table.indexes {
                // A comment is a statement of its own.
                index.comment.clone_from(&before.tables[name].indexes[index_name].comment);
                assert_eq!(index, &before.tables[name].indexes[index_name], "{index_name} on {major}");
            }
        }
    }
}

#[tokio::test]
async fn a_subscribed_table_says_so() {
    let cluster = Cluster::start_with(15, &[("fsync", "off")]).unwrap();
    let here = connect_to(&cluster, "postgres").await;
    run(&here, "CREATE TABLE t (id int PRIMARY KEY); CREATE PUBLICATION p FOR TABLE t").await;
    run(&here, "CREATE DATABASE there").await;
    text(&here, "SELECT pg_create_logical_replication_slot('s', 'pgoutput')").await;
    let there = connect_to(&cluster, "there").await;
    run(&there, "CREATE TABLE t (id int PRIMARY KEY)").await;
    let subscribe = format!(
        "CREATE SUBSCRIPTION s CONNECTION 'host=127.0.0.1 port={} user=postgres dbname=postgres' PUBLICATION p \
         WITH (create_slot = false, enabled = false)",
        cluster.port()
    );
    run(&there, &subscribe).await;
    let name = QualifiedName::new("public", "t").unwrap();
    assert!(introspect::catalog(&there).await.unwrap().tables[&name].subscribed);
    assert!(!introspect::catalog(&here).await.unwrap().tables[&name].subscribed);
    run(&there, "ALTER SUBSCRIPTION s SET (slot_name = NONE)").await;
    run(&there, "DROP SUBSCRIPTION s").await;
}

/// Reading sizes waits for nobody for long.
#[tokio::test]
async fn a_locked_table_is_an_error_and_not_a_hang() {
    let cluster = Cluster::start_with(15, &[("fsync", "off")]).unwrap();
    let holder = connect_to(&cluster, "postgres").await;
    run(&holder, "CREATE TABLE t (id int)").await;
    run(&holder, "BEGIN; LOCK TABLE t").await;
    let client = connect_to(&cluster, "postgres").await;
    let error = introspect::catalog(&client).await.unwrap_err();
    assert!(chain(&error).contains("lock timeout"), "{}", chain(&error));
    run(&holder, "ROLLBACK").await;
    introspect::catalog(&client).await.unwrap();
}
