//! Every kind of damage on the target is found, with key and column, and nothing is found where nothing is wrong.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use pcrd::casts::{CastClass, typename};
use pcrd::catalog::{ColumnType, Ident, QualifiedName};
use pcrd::exec::verify::ranges::{self, Compared};
use pcrd::exec::verify::sides::{Selection, Sides, Subject};
use pcrd::exec::verify::whole;
use pcrd::pg::client::{self, Client};
use pcrd::pg::local::Cluster;
use pcrd::projection::{
    ColumnValue, CopyFormat, CopyOrder, KeyColumn, KeyOrder, ProjectedColumn, Projection, RowIdentity, SourceColumn,
};
use pcrd::sql::Frozen;
use pcrd::sql::hash::{Digest, RowHash};

const ROWS: i32 = 3_000;

fn ty(text: &str) -> ColumnType {
    typename::parse(text, &BTreeMap::new()).unwrap()
}

fn id(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

/// The target has other types, other names and another order: what is compared is the projection, not the column.
fn projection(identity: RowIdentity) -> Projection {
    let source = [
        ("id", "integer"),
        ("sub", "uuid"),
        ("name", "text"),
        ("code", "character varying(20)"),
        ("flags", "integer"),
        ("x", "double precision"),
        ("amount", "numeric(10,2)"),
        ("doc", "jsonb"),
    ];
    let target = [
        ("x", "double precision", "CAST(\"x\" AS double precision)", "x"),
        ("key", "bigint", "CAST(\"id\" AS bigint)", "id"),
        ("sub", "uuid", "\"sub\"", "sub"),
        ("full name", "text", "\"name\"", "name"),
        ("code", "text", "CAST(\"code\" AS text)", "code"),
        ("flags", "bigint", "CAST(\"flags\" AS bigint)", "flags"),
        ("amount", "numeric(12,2)", "CAST(\"amount\" AS numeric(12,2))", "amount"),
        ("doc", "jsonb", "\"doc\"", "doc"),
    ];
    let mut columns: Vec<ProjectedColumn> = target
        .iter()
        .map(|(name, to, sql, reads)| ProjectedColumn {
            target: id(name),
            ty: ty(to),
            value: ColumnValue::Expr { sql: (*sql).to_owned(), reads: vec![id(reads)] },
            class: CastClass::Widening,
            inverse: None,
        })
        .collect();
    columns.push(ProjectedColumn {
        target: id("moved_at"),
        ty: ty("timestamp with time zone"),
        value: ColumnValue::Frozen { default: "now()".to_owned() },
        class: CastClass::Custom,
        inverse: None,
    });
    Projection {
        source: QualifiedName::new("public", "old").unwrap(),
        target: QualifiedName::new("shop", "New").unwrap(),
        source_columns: source.iter().map(|(name, of)| SourceColumn { name: id(name), ty: ty(of) }).collect(),
        identity,
        format: CopyFormat::Text,
        format_reason: String::new(),
        columns,
        computed: Vec::new(),
        part: None,
        filter: None,
        partitioned: false,
        onto_partitions: false,
    }
}

fn ordered() -> RowIdentity {
    RowIdentity::OrderedKey {
        source: vec![
            KeyColumn { name: id("id"), order: KeyOrder::Int },
            KeyColumn { name: id("sub"), order: KeyOrder::Uuid },
        ],
        target: vec![id("key"), id("sub")],
        copy: CopyOrder::ByKey,
    }
}

fn unordered() -> RowIdentity {
    RowIdentity::Key {
        source: vec![id("id"), id("sub")],
        target: vec![id("key"), id("sub")],
        reason: "for the test".to_owned(),
    }
}

struct Two {
    clusters: [Cluster; 2],
    source: Client,
    target: Client,
    frozen: Frozen,
}

/// A source and a target that hold the same.
async fn two() -> Two {
    let clusters = [(); 2].map(|()| Cluster::start_with(15, &[("fsync", "off")]).unwrap());
    let source = client::connect(&clusters[0].conninfo("postgres"), "test").await.unwrap();
    let target = client::connect(&clusters[1].conninfo("postgres"), "test").await.unwrap();
    // Some values need care: trailing spaces, NULL beside the empty string, a float with 17 digits, separators of rows.
    let values = "i AS id, CAST(lpad(to_hex(i % 7), 32, '0') AS uuid) AS sub, \
        CASE i % 5 WHEN 0 THEN NULL WHEN 1 THEN '' WHEN 2 THEN 'a,b\")(' ELSE 'name ' || i END AS name, \
        CASE i % 3 WHEN 0 THEN NULL ELSE 'code' || (i % 10) END AS code, i AS flags, \
        CAST(i AS double precision) / 10 + 0.1 AS x, CAST(i AS numeric(10,2)) / 4 AS amount, \
        CASE WHEN i % 4 = 0 THEN jsonb_build_object('n', i) END AS doc";
    source
        .batch_execute(&format!(
            "CREATE TABLE public.old (id integer, sub uuid, name text, code varchar(20), flags integer, x float8, \
             amount numeric(10,2), doc jsonb, PRIMARY KEY (id, sub)); \
             INSERT INTO public.old SELECT {values} FROM generate_series(1, {ROWS}) AS i; ANALYZE public.old"
        ))
        .await
        .unwrap();
    target
        .batch_execute(&format!(
            "CREATE SCHEMA shop; CREATE TABLE shop.\"New\" (x float8, key bigint, sub uuid, \"full name\" text, code text, \
             flags bigint, amount numeric(12,2), doc jsonb, moved_at timestamptz); \
             CREATE INDEX ON shop.\"New\" (key, sub); \
             INSERT INTO shop.\"New\" SELECT x, id, sub, name, code, flags, amount, doc, '2024-02-29 01:02:03.4+00' \
             FROM (SELECT {values} FROM generate_series(1, {ROWS}) AS i ORDER BY i DESC) AS v; ANALYZE shop.\"New\""
        ))
        .await
        .unwrap();
    let frozen = BTreeMap::from([(id("moved_at"), "'2024-02-29 01:02:03.4+00'".to_owned())]);
    Two { clusters, source, target, frozen }
}

impl Two {
    fn sides<'a>(&'a self, projection: &'a Projection, digest: Digest) -> Sides<'a> {
        Sides {
            source: &self.source,
            target: &self.target,
            subject: Subject { projection, frozen: &self.frozen, digest, shows_values: false },
        }
    }
}

fn all() -> Selection {
    Selection::Range { lo: None, hi: None }
}

fn key(number: i32) -> Vec<String> {
    vec![number.to_string(), format!("00000000-0000-0000-0000-{:012x}", number % 7)]
}

fn words(compared: &Compared) -> Vec<String> {
    let mut words: Vec<String> = compared.differences.iter().map(ToString::to_string).collect();
    words.sort();
    words
}

fn row(number: i32) -> String {
    format!("row ({})", key(number).join(", "))
}

/// Damage, and what is said of it.
fn damages() -> Vec<(&'static str, &'static str, Vec<String>)> {
    let differs = |number: i32, column: &str| vec![format!("{} differs in {column}", row(number))];
    vec![
        ("one bit", "UPDATE shop.\"New\" SET flags = flags # 1 WHERE key = 1234", differs(1234, "flags")),
        (
            "a row is missing",
            "DELETE FROM shop.\"New\" WHERE key = 1",
            vec![format!("{} is missing on the target", row(1))],
        ),
        (
            "an extra row",
            "INSERT INTO shop.\"New\" SELECT x, 3001, '00000000-0000-0000-0000-000000000005', \"full name\", code, flags, amount, doc, moved_at FROM shop.\"New\" WHERE key = 7",
            vec![format!("{} is on the target only", row(3001))],
        ),
        ("NULL became ''", "UPDATE shop.\"New\" SET \"full name\" = '' WHERE key = 2005", differs(2005, "full name")),
        ("'' became NULL", "UPDATE shop.\"New\" SET \"full name\" = NULL WHERE key = 2006", differs(2006, "full name")),
        (
            "two rows swapped a value",
            "UPDATE shop.\"New\" AS a SET amount = b.amount FROM shop.\"New\" AS b WHERE (a.key, b.key) IN ((10, 2990), (2990, 10))",
            [differs(10, "amount"), differs(2990, "amount")].concat(),
        ),
        ("a trailing space", "UPDATE shop.\"New\" SET code = code || ' ' WHERE key = 2999", differs(2999, "code")),
        (
            "the last digit of a float",
            "UPDATE shop.\"New\" SET x = float8 '0.30000000000000016' WHERE key = 2",
            differs(2, "x"),
        ),
        ("a document", "UPDATE shop.\"New\" SET doc = '{\"n\": 5}' WHERE key = 4", differs(4, "doc")),
        ("a frozen default", "UPDATE shop.\"New\" SET moved_at = now() WHERE key = 77", differs(77, "moved_at")),
        (
            "a row that is there twice",
            "INSERT INTO shop.\"New\" SELECT * FROM shop.\"New\" WHERE key = 1500",
            vec![format!("{} is on the target only", row(1500))],
        ),
        ("two columns", "UPDATE shop.\"New\" SET code = 'z', flags = 0 WHERE key = 3000", differs(3000, "code, flags")),
    ]
}

async fn damaged(two: &Two, damage: &str) {
    two.target.batch_execute("BEGIN").await.unwrap();
    let changed = two.target.execute(damage, &[]).await.unwrap();
    assert!(changed > 0, "{damage} damages nothing");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_damage_is_found_by_key_and_column() {
    let two = two().await;
    let (ranged, bucketed) = (projection(ordered()), projection(unordered()));
    let digest = Digest::between(15, 15);
    for digest in [digest, digest.paranoid(), Digest { hash: RowHash::Md5, float_text: false }] {
        for compared in [
            ranges::compare(&two.sides(&ranged, digest), &all(), &[]).await.unwrap(),
            whole::compare(&two.sides(&bucketed, digest)).await.unwrap(),
        ] {
            assert_eq!((compared.rows_source, compared.rows_target), (ROWS as u64, ROWS as u64));
            assert_eq!(words(&compared), Vec::<String>::new());
        }
        for (name, damage, expected) in damages() {
            damaged(&two, damage).await;
            let by_range = ranges::compare(&two.sides(&ranged, digest), &all(), &[]).await.unwrap();
            assert_eq!(words(&by_range), expected, "{name}, by ranges, {digest:?}");
            let by_bucket = whole::compare(&two.sides(&bucketed, digest)).await.unwrap();
            assert_eq!(words(&by_bucket), expected, "{name}, by buckets, {digest:?}");
            two.target.batch_execute("ROLLBACK").await.unwrap();
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn keys_are_left_out_and_looked_up() {
    let two = two().await;
    let projection = projection(ordered());
    let sides = two.sides(&projection, Digest::between(15, 15));
    damaged(&two, "UPDATE shop.\"New\" SET flags = -1 WHERE key IN (5, 700)").await;
    two.target.batch_execute("DELETE FROM shop.\"New\" WHERE key = 6").await.unwrap();
    let expected = [
        format!("{} differs in flags", row(5)),
        format!("{} is missing on the target", row(6)),
        format!("{} differs in flags", row(700)),
    ];

    // Left out, they are not compared, and the others are.
    let without = ranges::compare(&sides, &all(), &[key(5), key(6), key(700)]).await.unwrap();
    assert_eq!((without.rows_source, without.rows_target), (ROWS as u64 - 3, ROWS as u64 - 3));
    assert_eq!(words(&without), Vec::<String>::new());
    let but_one = ranges::compare(&sides, &all(), &[key(5), key(6)]).await.unwrap();
    assert_eq!(words(&but_one), expected[2..]);
    // A key that neither end has leaves nothing out.
    assert_eq!(
        words(&ranges::compare(&sides, &all(), &[vec!["0".to_owned(), key(0)[1].clone()]]).await.unwrap()),
        expected
    );

    // Ranges hold their first key and not their end.
    for (lo, hi, found) in [(5, 7, 2), (6, 700, 1), (7, 700, 0), (7, 701, 1)] {
        let range = Selection::Range { lo: Some(key(lo)), hi: Some(key(hi)) };
        let compared = ranges::compare(&sides, &range, &[]).await.unwrap();
        assert_eq!((compared.rows_source, compared.differences.len()), ((hi - lo) as u64, found), "{lo}..{hi}");
    }

    // Exactly the keys that were asked for, also when one end or both do not have them.
    let some = |keys: &[i32]| Selection::Keys(keys.iter().map(|number| key(*number)).collect());
    let clean = ranges::compare(&sides, &some(&[1, 2, 3, 9_999]), &[]).await.unwrap();
    assert_eq!((clean.rows_source, clean.rows_target, clean.differences.len()), (3, 3, 0));
    let many: Vec<i32> = (1..=1_500).collect();
    assert_eq!(words(&ranges::compare(&sides, &some(&many), &[]).await.unwrap()), expected);
    let other_than = ranges::compare(&sides, &some(&many), &[key(5), key(6), key(700)]).await.unwrap();
    assert_eq!((other_than.rows_source, other_than.differences.len()), (1_497, 0));
    two.target.batch_execute("ROLLBACK").await.unwrap();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_on_one_end_only_is_no_success() {
    let two = two().await;
    let (ranged, bucketed) = (projection(ordered()), projection(unordered()));
    let digest = Digest::between(15, 15);
    for (client, empty, kind) in [
        (&two.target, "TRUNCATE shop.\"New\"", "missing on the target"),
        (&two.source, "TRUNCATE public.old", "on the target only"),
    ] {
        client.batch_execute(&format!("BEGIN; {empty}")).await.unwrap();
        let by_range = ranges::compare(&two.sides(&ranged, digest), &all(), &[]).await.unwrap();
        let by_bucket = whole::compare(&two.sides(&bucketed, digest)).await.unwrap();
        for compared in [by_range, by_bucket] {
            assert_eq!(compared.differences.len(), ranges::DIFFERENCES_MAX);
            assert!(compared.differences.iter().all(|difference| difference.to_string().contains(kind)));
        }
        client.batch_execute("ROLLBACK").await.unwrap();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn rows_without_a_key_are_a_multiset() {
    let two = two().await;
    let projection = projection(RowIdentity::FullRow);
    let sides = two.sides(&projection, Digest::between(15, 15));
    // Duplicates on both ends are no difference; once more on one end is.
    two.source.batch_execute("ALTER TABLE public.old DROP CONSTRAINT old_pkey").await.unwrap();
    two.source.batch_execute("INSERT INTO public.old SELECT * FROM public.old WHERE id = 9").await.unwrap();
    let twice = "INSERT INTO shop.\"New\" SELECT * FROM shop.\"New\" WHERE key = 9 LIMIT 1";
    let missing = whole::compare(&sides).await.unwrap();
    let (source, target) = (ROWS as u64 + 1, ROWS as u64);
    assert_eq!((missing.rows_source, missing.rows_target), (source, target));
    assert_eq!(missing.differences.len(), 1);
    assert!(words(&missing)[0].ends_with("is missing on the target"), "{:?}", words(&missing));
    two.target.batch_execute(twice).await.unwrap();
    assert!(whole::compare(&sides).await.unwrap().differences.is_empty());
    two.target.batch_execute(twice).await.unwrap();
    let extra = whole::compare(&sides).await.unwrap();
    assert_eq!(extra.differences.len(), 1);
    let at = &extra.differences[0].key[0];
    let ctid = at.strip_prefix("ctid ").unwrap();
    let found =
        two.target.query_one(&format!("SELECT key FROM shop.\"New\" WHERE ctid = '{ctid}'"), &[]).await.unwrap();
    assert_eq!(found.get::<_, i64>(0), 9, "the place that is named has the row");
    two.target.batch_execute("UPDATE shop.\"New\" SET code = 'other' WHERE key = 3").await.unwrap();
    let changed = whole::compare(&sides).await.unwrap();
    // Without a key a changed row is one that is gone and one that came.
    assert_eq!(changed.differences.len(), 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn servers_with_other_encodings_are_compared_in_utf8() {
    let two = two().await;
    let projection = projection(ordered());
    let create = "CREATE DATABASE latin ENCODING 'LATIN1' LC_COLLATE 'C' LC_CTYPE 'C' TEMPLATE template0";
    two.source.batch_execute(create).await.unwrap();
    let latin = client::connect(&two.clusters[0].conninfo("latin"), "test").await.unwrap();
    latin
        .batch_execute(
            "CREATE TABLE public.old (id integer, sub uuid, name text, code varchar(20), flags integer, x float8, \
             amount numeric(10,2), doc jsonb, PRIMARY KEY (id, sub)); \
             INSERT INTO public.old VALUES (1, '00000000-0000-0000-0000-000000000001', 'Zoë', 'ß', 1, 0.1, 1, '{\"ü\": 1}')",
        )
        .await
        .unwrap();
    two.target
        .batch_execute(
            "TRUNCATE shop.\"New\"; INSERT INTO shop.\"New\" VALUES (0.1, 1, '00000000-0000-0000-0000-000000000001', 'Zoë', 'ß', 1, 1, \
             '{\"ü\": 1}', '2024-02-29 01:02:03.4+00')",
        )
        .await
        .unwrap();
    let subject = |digest| Subject { projection: &projection, frozen: &two.frozen, digest, shows_values: false };
    let sides = |digest| Sides { source: &latin, target: &two.target, subject: subject(digest) };
    let digest = Digest::between(15, 15);
    for digest in [digest.paranoid(), Digest { hash: RowHash::Md5, ..digest }] {
        let compared = ranges::compare(&sides(digest), &all(), &[]).await.unwrap();
        assert_eq!((compared.rows_source, compared.differences.len()), (1, 0));
    }
    // The reason: the fast hash is of the bytes.
    assert_eq!(ranges::compare(&sides(digest), &all(), &[]).await.unwrap().differences.len(), 1);
}
