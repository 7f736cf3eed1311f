//! Local clusters of all versions we support, and the helpers the other tests lean on.

#![allow(clippy::unwrap_used)]

mod support;

use pcrd::pg::local::{Cluster, find_binaries, installed_majors};
use support::{TestPair, connect_to, rows, run, sorted_copy, text};

/// The oldest and the newest are what breaks first; `dev/test` fetches them.
#[tokio::test]
async fn servers_of_the_oldest_and_the_newest_version_decode_changes() {
    for major in [10, 18] {
        let cluster = Cluster::start_with(major, &[("fsync", "off")]).unwrap();
        let client = connect_to(&cluster, "postgres").await;
        assert_eq!(text(&client, "SHOW wal_level").await, "logical");
        let version: u32 = text(&client, "SHOW server_version_num").await.parse().unwrap();
        assert_eq!(version / 10_000, major);
        run(&client, "CREATE TABLE t (id int PRIMARY KEY)").await;
        run(&client, "SELECT pg_create_logical_replication_slot('s', 'test_decoding')").await;
        run(&client, "INSERT INTO t VALUES (7)").await;
        let changes = rows(&client, "SELECT data FROM pg_logical_slot_get_changes('s', NULL, NULL)").await;
        assert_eq!(changes[1][0].as_deref(), Some("table public.t: INSERT: id[integer]:7"), "version {major}");
    }
}

#[tokio::test]
async fn acknowledged_rows_survive_a_crash() {
    let mut pair = TestPair::durable(15, 15);
    let client = connect_to(&pair.source, "postgres").await;
    run(&client, "CREATE TABLE t (id int PRIMARY KEY); INSERT INTO t SELECT generate_series(1, 100)").await;
    pair.source.kill_immediate().unwrap();
    pair.source.resume().unwrap();
    let client = connect_to(&pair.source, "postgres").await;
    assert_eq!(text(&client, "SELECT count(*) FROM t").await, "100");
}

#[tokio::test]
async fn a_sorted_copy_tells_equal_from_unequal() {
    let cluster = Cluster::start_with(15, &[("fsync", "off")]).unwrap();
    let client = connect_to(&cluster, "postgres").await;
    let copy = |sql| sorted_copy(&client, sql);
    assert_eq!(copy("VALUES (1, 'b'), (2, NULL)").await, copy("VALUES (2, NULL), (1, 'b')").await);
    assert_ne!(copy("VALUES (1, NULL)").await, copy("VALUES (1, '')").await);
    assert_ne!(copy("VALUES (1), (1)").await, copy("VALUES (1)").await);
}

#[test]
fn installed_majors_are_those_that_are_found() {
    for major in installed_majors() {
        assert_eq!(find_binaries(major).unwrap().major, major);
    }
}
