//! The statements of a projection, run on a real server: copy, ranges, stream changes and digests agree.
#![allow(clippy::unwrap_used)]

use std::collections::{BTreeMap, BTreeSet};

use bytes::BytesMut;
use futures_util::{SinkExt as _, TryStreamExt as _};
use pcrd::casts::{CastClass, typename};
use pcrd::catalog::{ColumnType, Ident, QualifiedName};
use pcrd::pg::local::Cluster;
use pcrd::projection::{
    ColumnValue, CopyFormat, CopyOrder, KeyColumn, KeyOrder, ProjectedColumn, Projection, RowIdentity, SourceColumn,
};
use pcrd::sql::apply::{Applied, OldTuple, Statement, Tuple, Update, UpdateShape, delete, insert, update};
use pcrd::sql::hash::{Digest, Keys, RowHash, Rows, buckets, chunk, rows as detail};
use pcrd::sql::range::{Counted, KeyRange, Side, key_predicate, next_key, range_predicate};
use pcrd::sql::{Frozen, check, copy, with_partitions};
use tokio_postgres::types::{Format, IsNull, ToSql, Type};
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

#[path = "sql/brackets.rs"]
mod brackets;

/// A value in PostgreSQL's text form, as the stream delivers it.
#[derive(Debug)]
struct Text(Option<String>);

impl ToSql for Text {
    fn to_sql(&self, _: &Type, out: &mut BytesMut) -> Result<IsNull, Box<dyn std::error::Error + Sync + Send>> {
        match &self.0 {
            Some(text) => {
                out.extend_from_slice(text.as_bytes());
                Ok(IsNull::No)
            }
            None => Ok(IsNull::Yes),
        }
    }
    fn accepts(_: &Type) -> bool {
        true
    }
    fn encode_format(&self, _: &Type) -> Format {
        Format::Text
    }
    tokio_postgres::types::to_sql_checked!();
}

async fn server() -> (Cluster, Client) {
    let cluster = Cluster::start_with(15, &[("fsync", "off")]).unwrap();
    let client = connect(&cluster).await;
    (cluster, client)
}

async fn connect(cluster: &Cluster) -> Client {
    let info = cluster.conninfo("postgres");
    let text = format!(
        "host={} port={} user={} dbname={} options='-c search_path= -c TimeZone=UTC -c extra_float_digits=3'",
        info.host, info.port, info.user, info.database
    );
    let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
    tokio::spawn(connection);
    client
}

async fn query(client: &Client, sql: &str) -> Vec<Vec<Option<String>>> {
    let messages = client.simple_query(sql).await.unwrap_or_else(|e| panic!("{sql}\n{e:?}"));
    messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
            _ => None,
        })
        .collect()
}

fn ty(text: &str) -> ColumnType {
    typename::parse(text, &BTreeMap::new()).unwrap()
}

fn id(text: &str) -> Ident {
    Ident::new(text).unwrap()
}

/// `(source name, source type)` and `(target name, target type, expression, reads)`.
fn projection(
    source: &[(&str, &str)],
    target: &[(&str, &str, &str, &[&str])],
    identity: RowIdentity,
    format: CopyFormat,
) -> Projection {
    Projection {
        source: QualifiedName::new("a\"b", "src; --").unwrap(),
        target: QualifiedName::new("public", "Tgt\n").unwrap(),
        source_columns: source.iter().map(|(n, t)| SourceColumn { name: id(n), ty: ty(t) }).collect(),
        identity,
        format,
        format_reason: String::new(),
        columns: target
            .iter()
            .map(|(name, to, sql, reads)| ProjectedColumn {
                target: id(name),
                ty: ty(to),
                value: if reads.is_empty() {
                    ColumnValue::Frozen { default: (*sql).to_owned() }
                } else {
                    ColumnValue::Expr { sql: (*sql).to_owned(), reads: reads.iter().map(|r| id(r)).collect() }
                },
                class: CastClass::Custom,
                inverse: None,
            })
            .collect(),
        computed: Vec::new(),
        part: None,
        partitioned: false,
        onto_partitions: false,
        filter: None,
    }
}

/// Column names cross over: the source's `n` is the target's `v`, and the other way round.
fn crossing(format: CopyFormat) -> Projection {
    projection(
        &[("id", "integer"), ("sub\"", "text"), ("v", "numeric(8,2)"), ("n", "character(3)"), ("big", "text")],
        &[
            ("n", "numeric", "CAST(\"v\" AS numeric)", &["v"]),
            ("sub", "text", "\"sub\"\"\"", &["sub\""]),
            ("v", "character varying(9)", "CAST(\"n\" AS character varying(9))", &["n"]),
            ("key", "bigint", "CAST(\"id\" AS bigint)", &["id"]),
            ("big", "text", "\"big\"", &["big"]),
            ("sum", "text", "CAST((\"v\" || coalesce(\"big\", '')) AS text)", &["v", "big"]),
            ("at", "timestamp(3) with time zone", "now()", &[]),
        ],
        RowIdentity::OrderedKey {
            source: vec![
                KeyColumn { name: id("id"), order: KeyOrder::Int },
                KeyColumn { name: id("sub\""), order: KeyOrder::TextC },
            ],
            target: vec![id("key"), id("sub")],
            copy: CopyOrder::ByKey,
        },
        format,
    )
}

const CROSSING_SQL: &str = "CREATE SCHEMA \"a\"\"b\"; \
    CREATE TABLE \"a\"\"b\".\"src; --\" (id integer, \"sub\"\"\" text COLLATE \"C\", v numeric(8,2), n char(3), big text, PRIMARY KEY (id, \"sub\"\"\")); \
    CREATE TABLE public.\"Tgt\n\" (n numeric, sub text COLLATE \"C\", v varchar(9), key bigint GENERATED ALWAYS AS IDENTITY, big text, sum text, \
      at timestamptz(3), PRIMARY KEY (key, sub));";

fn frozen() -> Frozen {
    BTreeMap::from([(id("at"), "'2024-02-29 01:02:03.456+00'".to_owned())])
}

async fn run(client: &Client, statement: &Statement, new: &[Option<&str>], old: &[Option<&str>]) -> u64 {
    let values: Vec<Text> = statement
        .params
        .iter()
        .map(|param| {
            let tuple = if param.tuple == Tuple::New { new } else { old };
            Text(tuple[param.column].map(str::to_owned))
        })
        .collect();
    let prepared = client.prepare(&statement.sql).await.unwrap_or_else(|e| panic!("{}\n{e:?}", statement.sql));
    let params = values.iter().map(|value| value as &(dyn ToSql + Sync));
    client
        .execute_raw(&prepared, params.collect::<Vec<_>>())
        .await
        .unwrap_or_else(|e| panic!("{}\n{values:?}\n{e:?}", statement.sql))
}

async fn copy_over(client: &Client, projection: &Projection, frozen: &Frozen, predicate: Option<&str>) -> u64 {
    let out = copy::copy_out(projection, frozen, predicate).unwrap();
    let stream = client.copy_out(&out).await.unwrap_or_else(|e| panic!("{out}\n{e:?}"));
    let chunks: Vec<bytes::Bytes> = stream.try_collect().await.unwrap();
    let sink = client.copy_in(&copy::copy_in(projection)).await.unwrap();
    futures_util::pin_mut!(sink);
    for bytes in chunks {
        sink.send(bytes).await.unwrap();
    }
    sink.finish().await.unwrap()
}

async fn digests(
    client: &Client,
    projection: &Projection,
    digest: Digest,
    range: KeyRange<'_>,
) -> [Vec<Option<String>>; 2] {
    let mut found = Vec::new();
    for side in [Side::Source, Side::Target] {
        let predicate = range_predicate(projection, side, range).unwrap();
        let rows = Rows { side, predicate: predicate.as_deref(), keys: Keys::All };
        found.push(query(client, &chunk(projection, &frozen(), digest, rows).unwrap()).await.remove(0));
    }
    found.try_into().unwrap()
}

const NONE: &BTreeSet<Ident> = &BTreeSet::new();

#[tokio::test]
async fn chunks_cover_the_table_once_and_hash_alike() {
    let (_cluster, client) = server().await;
    client.batch_execute(CROSSING_SQL).await.unwrap();
    client
        .batch_execute(
            "INSERT INTO \"a\"\"b\".\"src; --\" SELECT i / 3, chr(65 + i % 3) || E'\\\\N''\\t', i * 1.5, 'x', \
             CASE WHEN i % 5 > 0 THEN repeat('é\\', i) END FROM generate_series(-50, 200) AS i",
        )
        .await
        .unwrap();
    for format in [CopyFormat::Binary, CopyFormat::Text] {
        client.batch_execute("TRUNCATE public.\"Tgt\n\"").await.unwrap();
        let projection = crossing(format);
        let mut lo: Option<Vec<String>> = None;
        let (mut copied, mut chunks) = (0, 0);
        loop {
            let next = next_key(&projection, KeyRange { lo: lo.as_deref(), hi: None }, 40, Counted::All).unwrap();
            let hi: Option<Vec<String>> =
                query(&client, &next).await.pop().map(|row| row.into_iter().map(Option::unwrap).collect());
            let range = KeyRange { lo: lo.as_deref(), hi: hi.as_deref() };
            let predicate = range_predicate(&projection, Side::Source, range).unwrap();
            let rows = copy_over(&client, &projection, &frozen(), predicate.as_deref()).await;
            assert!(rows == 40 || hi.is_none());
            (copied, chunks) = (copied + rows, chunks + 1);
            for hash in [RowHash::Extended, RowHash::Sha256, RowHash::Md5] {
                let digest = Digest { hash, float_text: true };
                let [source, target] = digests(&client, &projection, digest, range).await;
                assert_eq!(source, target);
                assert_eq!(source[0].as_deref(), Some(rows.to_string().as_str()));
            }
            lo = hi;
            if lo.is_none() {
                break;
            }
        }
        assert_eq!((copied, chunks), (251, 7));
        // A NULL that became an empty string, and two rows that swapped a value, are seen.
        let digest = Digest::between(15, 15);
        for harm in [
            "UPDATE public.\"Tgt\n\" SET big = '' WHERE key = 0 AND big IS NULL",
            "UPDATE public.\"Tgt\n\" SET n = CASE WHEN key = 1 THEN 4.5 ELSE n END WHERE key < 3",
            "DELETE FROM public.\"Tgt\n\" WHERE key = 66",
        ] {
            client.batch_execute(&format!("BEGIN; {harm}")).await.unwrap();
            let [source, target] = digests(&client, &projection, digest, KeyRange::default()).await;
            assert_ne!(source, target, "{harm}");
            client.batch_execute("ROLLBACK").await.unwrap();
        }
        let bucketed = |side| buckets(&projection, &frozen(), digest, side, 64).unwrap();
        assert_eq!(query(&client, &bucketed(Side::Source)).await, query(&client, &bucketed(Side::Target)).await);
    }
}

#[tokio::test]
async fn changes_give_the_same_rows_as_copy() {
    let (_cluster, client) = server().await;
    client.batch_execute(CROSSING_SQL).await.unwrap();
    let (projection, frozen) = (crossing(CopyFormat::Binary), frozen());
    let applied = Applied { projection: &projection, frozen: &frozen, identity_always: NONE };
    let always = BTreeSet::from([id("key")]);
    let applied_always = Applied { identity_always: &always, ..applied };
    let all = [true; 5];
    let not_big = [true, true, true, true, false];

    let row = [Some("7"), Some("k"), Some("1.50"), Some("ab "), Some("bíg")];
    assert_eq!(run(&client, &insert(applied).unwrap(), &row, &[]).await, 1);
    let one = |update: Update| match update {
        Update::Statement(statement) => statement,
        other => panic!("{other:?}"),
    };
    // No key change, everything sent: the key is not in SET, so GENERATED ALWAYS does not matter.
    let shape = UpdateShape { sent: &all, old: OldTuple::None, key_changed: false };
    let row = [Some("7"), Some("k"), Some("2.50"), None, Some("bíg")];
    assert_eq!(run(&client, &one(update(applied_always, shape).unwrap()), &row, &[]).await, 1);
    let target = "SELECT key, sub, n, v, big, sum, at FROM public.\"Tgt\n\" ORDER BY key";
    let at = Some("2024-02-29 01:02:03.456+00".to_owned());
    let some = |text: &str| Some(text.to_owned());
    assert_eq!(
        query(&client, target).await,
        [vec![some("7"), some("k"), some("2.50"), None, some("bíg"), some("2.50bíg"), at.clone()]]
    );
    // `sum` reads what was sent and what was not: only the source knows it.
    let shape = UpdateShape { sent: &not_big, old: OldTuple::None, key_changed: false };
    assert_eq!(update(applied, shape).unwrap(), Update::ReRead);
    // With the whole old row it can be made; the key moves. GENERATED ALWAYS takes a delete and an insert.
    let shape = UpdateShape { sent: &not_big, old: OldTuple::Full, key_changed: true };
    let new = [Some("8"), Some("k"), Some("3.50"), Some("c"), None];
    let old = [Some("7"), Some("k"), Some("2.50"), None, Some("bíg")];
    match update(applied_always, shape).unwrap() {
        Update::DeleteInsert { delete, insert } => {
            assert_eq!(run(&client, &delete, &new, &old).await, 1);
            assert_eq!(run(&client, &delete, &new, &old).await, 0);
            assert_eq!(run(&client, &insert, &new, &old).await, 1);
        }
        other => panic!("{other:?}"),
    }
    assert_eq!(
        query(&client, target).await,
        [vec![some("8"), some("k"), some("3.50"), some("c"), some("bíg"), some("3.50bíg"), at.clone()]]
    );
    let shape = UpdateShape { sent: &all, old: OldTuple::Key, key_changed: true };
    let key_only = [Some("8"), Some("k"), None, None, None];
    let new = [Some("9"), Some("z'\\"), Some("3.50"), Some("c"), Some("")];
    assert!(matches!(update(applied_always, shape).unwrap(), Update::DeleteInsert { .. }));
    client.batch_execute("ALTER TABLE public.\"Tgt\n\" ALTER key SET GENERATED BY DEFAULT").await.unwrap();
    let moved = one(update(applied, shape).unwrap());
    assert_eq!(run(&client, &moved, &new, &key_only).await, 1);
    assert_eq!(run(&client, &moved, &new, &key_only).await, 0, "the old key is gone");
    assert_eq!(
        query(&client, target).await,
        [vec![some("9"), some("z'\\"), some("3.50"), some("c"), some(""), some("3.50"), at]]
    );
    assert_eq!(run(&client, &delete(applied).unwrap(), &[], &new).await, 1);
    assert_eq!(query(&client, target).await.len(), 0);
}

#[tokio::test]
async fn one_row_is_read_again_by_its_key() {
    let (_cluster, client) = server().await;
    client.batch_execute(CROSSING_SQL).await.unwrap();
    client
        .batch_execute(
            "INSERT INTO \"a\"\"b\".\"src; --\" SELECT i, 'a''', i, 'x', 'y' FROM generate_series(1, 9) AS i",
        )
        .await
        .unwrap();
    let projection = crossing(CopyFormat::Text);
    let key = ["4".to_owned(), "a'".to_owned()];
    let predicate = key_predicate(&projection, Side::Source, &key).unwrap();
    assert_eq!(copy_over(&client, &projection, &frozen(), Some(&predicate)).await, 1);
    let predicate = key_predicate(&projection, Side::Target, &key).unwrap();
    let found = format!("SELECT key FROM public.\"Tgt\n\" WHERE {predicate}");
    assert_eq!(query(&client, &found).await, [[Some("4".to_owned())]]);
    copy_over(&client, &projection, &frozen(), Some("\"id\" <> 4")).await;

    // Keys as parameters: only these, all but these.
    let digest = Digest::between(15, 15);
    let keys = (vec!["4", "7", "99"], vec!["a'", "a'", "a'"]);
    for (which, expected) in [(Keys::Only, 2_i64), (Keys::Except, 7)] {
        let mut seen = Vec::new();
        for side in [Side::Source, Side::Target] {
            let rows = Rows { side, predicate: None, keys: which };
            let sql = chunk(&projection, &frozen(), digest, rows).unwrap();
            let row =
                client.query_one(&format!("SELECT c.*::text FROM ({sql}) AS c"), &[&keys.0, &keys.1]).await.unwrap();
            let text: String = row.get(0);
            assert!(text.starts_with(&format!("({expected},")), "{text}");
            seen.push(text);
            let sql = detail(&projection, &frozen(), rows).unwrap();
            assert_eq!(client.query(&sql, &[&keys.0, &keys.1]).await.unwrap().len() as i64, expected);
        }
        assert_eq!(seen[0], seen[1]);
    }
}

#[tokio::test]
async fn rows_without_a_key_are_found_by_their_image() {
    let (_cluster, client) = server().await;
    client
        .batch_execute(
            "CREATE SCHEMA \"a\"\"b\"; CREATE TABLE \"a\"\"b\".\"src; --\" (a json, b point, c numeric, d text); \
             CREATE TABLE public.\"Tgt\n\" (a json, p point, c numeric, d text);",
        )
        .await
        .unwrap();
    let projection = projection(
        &[("a", "json"), ("b", "point"), ("c", "numeric"), ("d", "text")],
        &[
            ("a", "json", "\"a\"", &["a"]),
            ("p", "point", "\"b\"", &["b"]),
            ("c", "numeric", "\"c\"", &["c"]),
            ("d", "text", "\"d\"", &["d"]),
        ],
        RowIdentity::FullRow,
        CopyFormat::Text,
    );
    let frozen = Frozen::new();
    let applied = Applied { projection: &projection, frozen: &frozen, identity_always: NONE };
    let twin = [Some("{\"x\": 1}"), Some("(1,2)"), Some("1.50"), None];
    for _ in 0..3 {
        assert_eq!(run(&client, &insert(applied).unwrap(), &twin, &[]).await, 1);
    }
    // 1.5 is not the image of 1.50, and '' is not NULL.
    for other in [[twin[0], twin[1], Some("1.5"), None], [twin[0], twin[1], twin[2], Some("")]] {
        assert_eq!(run(&client, &delete(applied).unwrap(), &[], &other).await, 0);
    }
    assert_eq!(run(&client, &delete(applied).unwrap(), &[], &twin).await, 1);
    let shape = UpdateShape { sent: &[true, false, true, true], old: OldTuple::Full, key_changed: false };
    let Update::Statement(changed) = update(applied, shape).unwrap() else { panic!() };
    let new = [Some("[]"), None, None, Some("d")];
    assert_eq!(run(&client, &changed, &new, &twin).await, 1);
    let mut left = query(&client, "SELECT a, p, c, d FROM public.\"Tgt\n\"").await;
    left.sort();
    let text = |row: [Option<&str>; 4]| row.map(|t| t.map(str::to_owned)).to_vec();
    assert_eq!(left, [text([Some("[]"), Some("(1,2)"), None, Some("d")]), text(twin)]);
}

#[tokio::test]
async fn one_scan_counts_all_bad_rows() {
    let (_cluster, client) = server().await;
    client
        .batch_execute("CREATE SCHEMA s; CREATE TABLE s.t (id int PRIMARY KEY, v int); INSERT INTO s.t SELECT i, nullif(i, 3) FROM generate_series(1, 50) i")
        .await
        .unwrap();
    let table = QualifiedName::new("s", "t").unwrap();
    let bad = ["\"v\" > 30".to_owned(), "\"v\" IS NULL".to_owned(), "false".to_owned()];
    let counts = query(&client, &check::table_check(&with_partitions(&table, false), &bad)).await.remove(0);
    assert_eq!(counts, ["50", "20", "1", "0"].map(|text| Some(text.to_owned())));
    let samples = query(&client, &check::sample(&with_partitions(&table, false), &[&id("id")], &bad[0])).await;
    assert_eq!(samples.len(), 10);
    assert_eq!(
        query(&client, &check::sample(&with_partitions(&table, false), &[&id("id")], &bad[1])).await,
        [[Some("3".to_owned())]]
    );
    assert_eq!(
        query(&client, &check::sample(&with_partitions(&table, false), &[], &bad[1])).await,
        [[Some("(0,3)".to_owned())]]
    );
}

/// A column of every type that may travel in binary, and values at its edges.
const BINARY: &[(&str, &[&str])] = &[
    ("bit(9)", &["101010101"]),
    ("boolean", &["t", "f"]),
    ("character(4)", &["é", ""]),
    ("bytea", &["\\x00ff5c", ""]),
    ("\"char\"", &["a"]),
    ("cidr", &["10.0.0.0/8", "::1/128"]),
    ("date", &["4714-11-24 BC", "5874897-12-31", "infinity", "-infinity"]),
    ("real", &["NaN", "-0", "1e-45", "3.4028235e38", "-Infinity"]),
    ("double precision", &["NaN", "-0", "5e-324", "1.7976931348623157e308", "Infinity", "0.1"]),
    ("inet", &["10.1.2.3/8", "::ffff:1.2.3.4"]),
    ("smallint", &["-32768"]),
    ("integer", &["-2147483648"]),
    ("bigint", &["-9223372036854775808", "9223372036854775807"]),
    ("interval", &["1 year 2 mons -3 days 04:05:06.789", "-178000000 years"]),
    ("json", &["{\"b\":1, \"a\":[1.0,null]}"]),
    ("jsonb", &["{\"b\": 1.50, \"a\": [true, \"\\u00e9\"]}", "[]"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:01:02:03:04:05"]),
    ("name", &["x"]),
    ("numeric", &["NaN", "0", "0.000", "1e400", "-1e-300", "12345678901234567890.1234567890"]),
    ("numeric(12,2)", &["-0.01", "9999999999.99"]),
    ("oid", &["4294967295"]),
    ("pg_lsn", &["FFFFFFFF/FFFFFFFF"]),
    ("text", &["", "\\N", "é日本\t\n\\"]),
    ("time", &["24:00:00", "23:59:59.999999"]),
    ("timestamp", &["4714-11-24 00:00:00 BC", "294276-12-31 23:59:59.999999", "infinity"]),
    ("timestamptz", &["4714-11-24 00:00:00+00 BC", "-infinity", "2024-02-29 12:00:00.000001+00"]),
    ("timetz", &["23:59:59.5-15:59"]),
    ("uuid", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11"]),
    ("bit varying", &["", "10101"]),
    ("character varying(5)", &["日本語日本"]),
];

#[tokio::test]
async fn the_binary_form_is_the_same_on_every_major() {
    for (text, _) in BINARY {
        assert!(pcrd::projection::format::is_binary_safe(&ty(text)), "{text}");
    }
    let mut seen: Option<(u32, Vec<Vec<u8>>)> = None;
    for major in pcrd::pg::local::installed_majors() {
        let cluster = Cluster::start_with(major, &[("fsync", "off")]).unwrap();
        let client = connect(&cluster).await;
        let mut wires = Vec::new();
        for (number, (text, values)) in BINARY.iter().enumerate() {
            let table = format!("public.b{number}");
            client.batch_execute(&format!("CREATE TABLE {table} (c {text})")).await.unwrap();
            for value in *values {
                let insert = format!("INSERT INTO {table} VALUES ({})", pcrd::sql::literal(value));
                client.batch_execute(&insert).await.unwrap_or_else(|e| panic!("{major} {text} {value}: {e:?}"));
            }
            let out = format!("COPY (SELECT c FROM {table}) TO STDOUT WITH (FORMAT binary)");
            let chunks: Vec<bytes::Bytes> = client.copy_out(&out).await.unwrap().try_collect().await.unwrap();
            let wire = chunks.concat();
            // What went out comes in as the same text.
            client.batch_execute(&format!("CREATE TABLE {table}_in (c {text})")).await.unwrap();
            let sink = client.copy_in(&format!("COPY {table}_in FROM STDIN WITH (FORMAT binary)")).await.unwrap();
            futures_util::pin_mut!(sink);
            sink.send(bytes::Bytes::from(wire.clone())).await.unwrap();
            sink.finish().await.unwrap();
            let texts = |table: &str| format!("SELECT CAST(c AS text) FROM {table}");
            assert_eq!(query(&client, &texts(&table)).await, query(&client, &texts(&format!("{table}_in"))).await);
            wires.push(wire);
        }
        match &seen {
            None => seen = Some((major, wires)),
            Some((other, theirs)) => {
                for ((text, _), (ours, theirs)) in BINARY.iter().zip(wires.iter().zip(theirs)) {
                    assert_eq!(ours, theirs, "{text} on {major} and {other}");
                }
            }
        }
    }
    assert!(seen.is_some());
}
