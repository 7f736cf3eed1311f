//! Type names and casts against a real server: what the tables in `casts` claim is asked of PostgreSQL.
#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;

use pcrd::casts::builtin::{BUILTINS, column_type};
use pcrd::casts::{Cast, CastClass, Context, classify, inverse, typename};
use pcrd::catalog::{Align, ColumnType, Ident, QualifiedName, TypeDef, TypeKind};
use pcrd::pg::local::Cluster;
use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

async fn server() -> (Cluster, Client) {
    let cluster = Cluster::start_with(15, &[("fsync", "off")]).unwrap();
    let info = cluster.conninfo("postgres");
    let text = format!(
        "host={} port={} user={} dbname={} options='-c search_path= -c TimeZone=UTC -c extra_float_digits=3'",
        info.host, info.port, info.user, info.database
    );
    let (client, connection) = tokio_postgres::connect(&text, NoTls).await.unwrap();
    tokio::spawn(connection);
    (cluster, client)
}

async fn rows(client: &Client, sql: &str) -> Result<Vec<Vec<Option<String>>>, String> {
    let messages = client.simple_query(sql).await.map_err(|e| match e.as_db_error() {
        Some(db) => format!("{}: {}", db.code().code(), db.message()),
        None => e.to_string(),
    })?;
    Ok(messages
        .into_iter()
        .filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some((0..row.len()).map(|i| row.get(i).map(str::to_owned)).collect()),
            _ => None,
        })
        .collect())
}

const SPELLINGS: &[&str] = &[
    "int",
    "INT4",
    "integer",
    "Integer",
    "bigint",
    "int8",
    "smallint",
    "int2",
    "bool",
    "boolean",
    "text",
    "TEXT",
    "varchar",
    "varchar(10)",
    "character varying",
    "Character  Varying ( 7 )",
    "char",
    "char(3)",
    "character",
    "character(12)",
    "bpchar",
    "bpchar(4)",
    "\"char\"",
    "\"bpchar\"",
    "nchar",
    "nchar(2)",
    "national character(5)",
    "national char varying(5)",
    "nchar varying",
    "char varying(9)",
    "numeric",
    "numeric(12)",
    "numeric(12,2)",
    "numeric(5,-2)",
    "numeric(3, 8)",
    "numeric(1000,1000)",
    "numeric(1000,-1000)",
    "decimal(8,3)",
    "dec",
    "real",
    "float4",
    "float",
    "float(1)",
    "float(24)",
    "float(25)",
    "float(53)",
    "float8",
    "double precision",
    "timestamp",
    "timestamp(3)",
    "timestamp without time zone",
    "timestamp(0) without time zone",
    "timestamp with time zone",
    "timestamp(6) with time zone",
    "timestamptz",
    "timestamptz(2)",
    "time",
    "time(3)",
    "time with time zone",
    "time(1) with time zone",
    "timetz",
    "timetz(4)",
    "timestamp(9)",
    "interval",
    "interval(3)",
    "interval year",
    "interval month",
    "interval day",
    "interval hour",
    "interval minute",
    "interval second",
    "interval second(2)",
    "interval year to month",
    "interval day to hour",
    "interval day to minute",
    "interval day to second",
    "interval day to second(4)",
    "interval hour to minute",
    "interval hour to second(0)",
    "interval minute to second",
    "bit",
    "bit(8)",
    "\"bit\"",
    "bit varying",
    "bit varying(5)",
    "varbit",
    "varbit(6)",
    "uuid",
    "json",
    "jsonb",
    "bytea",
    "name",
    "date",
    "money",
    "inet",
    "cidr",
    "macaddr",
    "macaddr8",
    "xml",
    "oid",
    "point",
    "line",
    "lseg",
    "box",
    "path",
    "polygon",
    "circle",
    "tsvector",
    "tsquery",
    "int4range",
    "int8range",
    "numrange",
    "tsrange",
    "tstzrange",
    "daterange",
    "int4multirange",
    "int8multirange",
    "nummultirange",
    "tsmultirange",
    "tstzmultirange",
    "datemultirange",
    "pg_lsn",
    "xid",
    "xid8",
    "regclass",
    "jsonpath",
    "pg_snapshot",
    "refcursor",
    "int[]",
    "int[3]",
    "int[][]",
    "int array",
    "int ARRAY[4]",
    "text[]",
    "varchar(4)[]",
    "numeric(8,2)[]",
    "timestamptz(3)[]",
    "bit(3)[]",
    "char(2)[]",
    "box[]",
    "int8range[]",
    "int8multirange[]",
    "\"char\"[]",
    "name[]",
    "timetz[]",
    "interval second(1)[]",
    "pg_catalog.int4",
    "pg_catalog.bpchar",
    "pg_catalog.varchar(3)",
    "pg_catalog.timestamptz(3)",
    "pg_catalog.bit(3)",
    "pg_catalog.char",
    "pg_catalog.\"char\"",
    "pg_catalog.numeric(4,1)",
    "_int4",
    "pg_catalog._text",
    "_varchar(3)",
    "public.mood",
    "mood",
    "public.mood[]",
    "public.\"Mixed Case\"",
    "public.\"user\"",
    "public.positive",
    "app.pair",
    "app.span",
    "app.bigspan",
    "public._mood",
    "public.price",
];

const REFUSED: &[&str] = &[
    "serial",
    "bigserial",
    "smallserial",
    "setof int",
    "intt",
    "varchar(0)",
    "varchar(-1)",
    "numeric(0)",
    "numeric(1001)",
    "numeric(3,1001)",
    "float(54)",
    "float(0)",
    "bit(0)",
    "int(4)",
    "uuid(3)",
    "text(3)",
    "interval year(3)",
    "interval day to month",
    "interval year to day",
    "pg_catalog.integer",
    "double",
    "",
    "int int",
    "int[",
    "a.b.c",
    "nosuch.mood",
    "timestamp with zone",
    "\"INT\"",
    "int4; drop table t",
    "date(3)",
    "double precision(3)",
];

fn user_types() -> BTreeMap<QualifiedName, TypeDef> {
    let domain = |base: &str| TypeDef::Domain { base: base.to_owned(), not_null: false, checks: BTreeMap::new() };
    let pair = vec![(Ident::new("a").unwrap(), "integer".to_owned())];
    [
        ("public", "mood", TypeDef::Enum(vec!["sad".into(), "ok".into()])),
        ("public", "Mixed Case", TypeDef::Enum(vec!["x".into()])),
        ("public", "user", TypeDef::Enum(vec!["x".into()])),
        ("public", "positive", domain("bigint")),
        ("public", "price", domain("numeric(10,2)")),
        ("app", "pair", TypeDef::Composite(pair)),
        ("app", "span", TypeDef::Range("integer".into())),
        ("app", "bigspan", TypeDef::Range("timestamp without time zone".into())),
    ]
    .into_iter()
    .map(|(schema, name, def)| (QualifiedName::new(schema, name).unwrap(), def))
    .collect()
}

const USER_TYPES_SQL: &str = "CREATE SCHEMA app; CREATE TYPE public.mood AS ENUM ('sad','ok'); \
    CREATE TYPE public.\"Mixed Case\" AS ENUM ('x'); CREATE TYPE public.\"user\" AS ENUM ('x'); \
    CREATE DOMAIN public.positive AS bigint; CREATE DOMAIN public.price AS numeric(10,2); \
    CREATE TYPE app.pair AS (a integer); CREATE TYPE app.span AS RANGE (SUBTYPE = integer); \
    CREATE TYPE app.bigspan AS RANGE (SUBTYPE = timestamp);";

/// A type as `pg_attribute` and `pg_type` describe it.
async fn column_of(client: &Client, table: &str) -> Vec<Option<String>> {
    let sql = format!(
        "SELECT n.nspname, t.typname, t.typlen, t.typalign, a.atttypmod, pg_catalog.format_type(a.atttypid, a.atttypmod), \
         t.typtype, t.typelem <> 0 AND t.typlen = -1 AND t.typname LIKE '\\_%' FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_type t ON t.oid = a.atttypid \
         JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE a.attrelid = '{table}'::pg_catalog.regclass AND a.attnum = 1"
    );
    rows(client, &sql).await.unwrap().remove(0)
}

fn described(ty: &ColumnType) -> Vec<Option<String>> {
    let align = match ty.align {
        Align::Char => "c",
        Align::Short => "s",
        Align::Int => "i",
        Align::Double => "d",
    };
    let kind = match ty.kind {
        TypeKind::Base | TypeKind::Array => "b",
        TypeKind::Enum => "e",
        TypeKind::Domain => "d",
        TypeKind::Composite => "c",
        TypeKind::Range => "r",
        TypeKind::Multirange => "m",
        TypeKind::Pseudo => "p",
    };
    let array = if ty.kind == TypeKind::Array { "t" } else { "f" };
    [
        ty.schema.as_str().to_owned(),
        ty.name.as_str().to_owned(),
        ty.len.to_string(),
        align.to_owned(),
        ty.typmod.to_string(),
        ty.sql.clone(),
        kind.to_owned(),
        array.to_owned(),
    ]
    .into_iter()
    .map(Some)
    .collect()
}

#[tokio::test]
async fn type_names_mean_what_the_server_says() {
    let (_cluster, client) = server().await;
    client.batch_execute(USER_TYPES_SQL).await.unwrap();
    client.batch_execute("SET search_path = public").await.unwrap();
    let users = user_types();
    let mut wrong = Vec::new();
    for (number, spelling) in SPELLINGS.iter().enumerate() {
        let created = rows(&client, &format!("CREATE TABLE public.t{number} (c {spelling})")).await;
        assert!(created.is_ok(), "{spelling}: {created:?}");
        // An empty search_path, as every session of pcrd has it.
        client.batch_execute("SET search_path = ''").await.unwrap();
        let theirs = column_of(&client, &format!("public.t{number}")).await;
        client.batch_execute("SET search_path = public").await.unwrap();
        match typename::parse(spelling, &users) {
            Ok(ty) if described(&ty) == theirs => {}
            Ok(ty) => wrong.push(format!("{spelling}: we say {:?}, the server {theirs:?}", described(&ty))),
            Err(error) => wrong.push(format!("{spelling}: {error}")),
        }
    }
    // What we write is read again as the same type, by us and by the server.
    for spelling in SPELLINGS {
        let Ok(ty) = typename::parse(spelling, &users) else { continue };
        match typename::parse(&ty.sql, &users) {
            Ok(again) if again == ty => {}
            other => wrong.push(format!("{spelling} → {} → {other:?}", ty.sql)),
        }
    }
    for spelling in REFUSED {
        if let Ok(ty) = typename::parse(spelling, &users) {
            wrong.push(format!("{spelling} is taken for {}", ty.sql));
        }
        let refused = rows(&client, &format!("CREATE TEMP TABLE refused (c {spelling})")).await.is_err();
        let only_we = spelling.contains("serial");
        assert!(refused || only_we, "the server takes {spelling}");
        client.batch_execute("DROP TABLE IF EXISTS refused").await.unwrap();
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[tokio::test]
async fn every_built_in_type_is_as_the_server_has_it() {
    let (_cluster, client) = server().await;
    for row in BUILTINS {
        let sql = format!(
            "SELECT typlen, typalign, typstorage, pg_catalog.format_type(oid, -1) FROM pg_catalog.pg_type \
             WHERE typnamespace = 'pg_catalog'::pg_catalog.regnamespace AND typname = '{}'",
            row.name
        );
        let theirs: Vec<String> = rows(&client, &sql).await.unwrap().remove(0).into_iter().flatten().collect();
        let align = ["c", "s", "i", "d"][row.align as usize];
        let storage = ["p", "e", "m", "x"][row.storage as usize];
        assert_eq!(
            theirs,
            [row.len.to_string(), align.into(), storage.into(), column_type(row, -1).sql],
            "{}",
            row.name
        );
    }
}

#[test]
fn unknown_types_name_the_nearest() {
    let message = |text: &str| typename::parse(text, &user_types()).unwrap_err().to_string();
    assert_eq!(message("bigintt"), "there is no type `bigintt`; did you mean `bigint`?");
    assert_eq!(message("timestamptzz"), "there is no type `timestamptzz`; did you mean `timestamptz`?");
    assert_eq!(message("public.moood"), "there is no type `public.moood`; did you mean `public.mood`?");
    assert!(message("serial").contains("write `integer`"));
}

/// Types of the matrix and values at their edges, in text form.
const MATRIX: &[(&str, &[&str])] = &[
    ("smallint", &["0", "1", "-1", "32767", "-32768", "9999"]),
    (
        "integer",
        &["0", "1", "2", "-1", "32768", "-32769", "16777216", "16777217", "16777218", "2147483647", "-2147483648"],
    ),
    (
        "bigint",
        &[
            "0",
            "1",
            "2147483648",
            "-2147483649",
            "4294967295",
            "4294967296",
            "9007199254740992",
            "9007199254740993",
            "9007199254740994",
            "9223372036854775807",
            "-9223372036854775808",
            "9223372036854774784",
            "9223372036854774785",
            "9223371487098961920",
            "-9223372036854775807",
            "16777217",
            "9223371487098961921",
        ],
    ),
    ("oid", &["0", "1", "2147483648", "4294967295"]),
    (
        "real",
        &[
            "0",
            "-0",
            "1",
            "0.1",
            "-1.5",
            "16777216",
            "3.4028235e38",
            "1e-45",
            "NaN",
            "Infinity",
            "-Infinity",
            "32767",
            "2147483648",
        ],
    ),
    (
        "double precision",
        &[
            "0",
            "-0",
            "1",
            "0.1",
            "0.30000000000000004",
            "1.7976931348623157e308",
            "5e-324",
            "1e-46",
            "3.5e38",
            "NaN",
            "Infinity",
            "-Infinity",
            "2147483647",
            "2147483647.5",
            "9223372036854775808",
            "9223372036854774784",
            "-9223372036854775808",
            "123456789.125",
            "1e22",
            "32767.5",
            "-32768.5",
            "999.995",
            "3.4028235677973366e38",
        ],
    ),
    (
        "numeric",
        &[
            "0",
            "1",
            "5.00",
            "1.2345",
            "9.99",
            "9.995",
            "NaN",
            "Infinity",
            "-Infinity",
            "1e30",
            "-1e-20",
            "2147483647.4",
            "9223372036854775808",
            "99999999.99",
            "1e400",
            "-99999999.995",
            "0.1",
        ],
    ),
    ("numeric(12,4)", &["0", "1.2345", "1.2300", "99999999.9999", "-99999999.9900", "NaN", "5"]),
    ("numeric(12,2)", &["9999999999.99", "0.01", "12.30", "NaN"]),
    ("numeric(10,2)", &["99999999.99", "-0.01", "5.00"]),
    ("numeric(3,0)", &["999", "-999", "NaN"]),
    ("numeric(2,2)", &["0.99", "-0.12"]),
    ("numeric(3,8)", &["0.00000999", "-0.00000001"]),
    ("numeric(5,-2)", &["1200", "-9999900"]),
    ("money", &["1.25", "-3"]),
    ("boolean", &["true", "false"]),
    (
        "text",
        &[
            "",
            " ",
            "a",
            "ab ",
            "true",
            "false",
            "yes",
            "0",
            "007",
            "42",
            "-5",
            "+5",
            " 5",
            "-0",
            "2147483648",
            "99999999999999999999",
            "9223372036854775807",
            "1.50",
            "1.5e3",
            "0.005",
            "-0.00",
            "NaN",
            ".5",
            "sad",
            "ok",
            "happy",
            "{\\0}",
            "héllo",
            "日本語日本語",
            "a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
            "2024-02-29",
            "2023-02-29",
            "2024-13-01",
            "1900-02-29",
            "2000-02-29",
            "0000-01-01",
            "0001-01-01",
            "2024-04-31",
            "infinity",
            "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
            "5\n",
            "\\x41",
        ],
    ),
    ("varchar(10)", &["", "abc", "ab  ", "0123456789", "日本語日本語日本語日", "12"]),
    ("varchar", &["", "abc", "ab  ", "0123456789x", "sad"]),
    ("character(10)", &["", "abc", "0123456789", "日本", "12", "sad"]),
    ("character(3)", &["", "abc", "é", "ok"]),
    ("bpchar", &["", "abc ", "0123456789x"]),
    ("name", &["", "x", "a_name"]),
    ("\"char\"", &["a", "Z"]),
    ("varchar(2)", &["", "ab", "  "]),
    ("varchar(40)", &["", "abc", "sad"]),
    (
        "date",
        &[
            "2024-02-29",
            "4714-11-24 BC",
            "5874897-12-31",
            "294276-12-31",
            "294277-01-01",
            "infinity",
            "-infinity",
            "2018-11-04",
            "0001-01-01",
        ],
    ),
    (
        "timestamp",
        &[
            "2024-02-29 12:34:56.789012",
            "2024-03-31 02:30:00",
            "2024-03-31 03:30:00",
            "2024-03-31 01:30:00",
            "2024-10-27 02:30:00",
            "2024-10-27 01:30:00",
            "2024-10-27 03:00:00",
            "infinity",
            "-infinity",
            "294276-12-31 23:59:59.999999",
            "4714-11-24 00:00:00 BC",
            "2024-01-01 00:00:00",
            "2024-01-01 23:59:59.999999",
            "0044-03-15 BC",
        ],
    ),
    ("timestamp(3)", &["2024-02-29 12:34:56.789", "2024-02-29 12:34:56", "infinity"]),
    ("timestamp(0)", &["2024-02-29 12:34:56"]),
    (
        "timestamptz",
        &[
            "2024-02-29 12:34:56.789012+00",
            "2024-10-27 00:30:00+00",
            "2024-10-27 01:30:00+00",
            "2024-03-31 01:30:00+00",
            "infinity",
            "-infinity",
            "294276-12-31 23:59:59.999999+00",
            "4714-11-24 00:00:00+00 BC",
        ],
    ),
    ("timestamptz(0)", &["2024-02-29 12:34:56+00"]),
    ("time", &["00:00:00", "23:59:59.999999", "24:00:00", "12:34:56"]),
    ("time(0)", &["00:00:00", "24:00:00"]),
    ("timetz", &["00:00:00+00", "23:59:59.5-15:59", "12:00:00+05:30"]),
    (
        "interval",
        &[
            "0",
            "1 mon",
            "30 days",
            "1 day -24:00:00",
            "1 year 2 mons 3 days 04:05:06.789",
            "-1 mon +1 day -01:00:00.000001",
            "178000000 years",
        ],
    ),
    ("interval(0)", &["1 day 00:00:01"]),
    ("interval day", &["3 mons 4 days"]),
    ("interval year to month", &["1 year 1 mon"]),
    ("bit(3)", &["101", "000"]),
    ("bit(8)", &["10100000"]),
    ("varbit", &["", "101", "10100000", "1"]),
    ("varbit(3)", &["", "101", "1"]),
    ("varbit(8)", &["", "10100000"]),
    ("uuid", &["a0eebc99-9c0b-4ef8-bb6d-6bb9bd380a11", "00000000-0000-0000-0000-000000000000"]),
    ("bytea", &["\\x", "\\x00ff"]),
    (
        "inet",
        &["10.1.2.3", "10.1.2.3/8", "10.0.0.0/8", "::1", "ffff:ffff:ffff:ffff:ffff:ffff:255.255.255.255/128", "::/0"],
    ),
    ("cidr", &["10.0.0.0/8", "::1/128"]),
    ("macaddr", &["08:00:2b:01:02:03"]),
    ("macaddr8", &["08:00:2b:ff:fe:02:03:04", "08:00:2b:01:02:03:04:05"]),
    ("json", &["{\"b\":1, \"a\":[1.0,null]}", "{\"a\":1,\"a\":2}", "1e5", "{\"x\":\"\\u0000\"}", "\"\\\\u0000\""]),
    ("jsonb", &["{\"b\": 1.50, \"a\": null}", "\"x\"", "[]"]),
    ("xml", &["<a>1</a>", "x"]),
    ("pg_lsn", &["0/0", "FFFFFFFF/FFFFFFFF"]),
    ("public.mood", &["sad", "ok"]),
    ("public.mood2", &["ok", "happy", "{\\0}", "sad"]),
    ("public.positive", &["5", "9223372036854775807"]),
    ("public.price", &["1.50", "99999999.99", "NaN"]),
    ("public.citext", &["abc", "ABC", ""]),
    ("integer[]", &["{}", "{1,NULL,2147483647}", "{{1,2},{3,4}}", "[2:3]={1,2}"]),
    ("bigint[]", &["{9223372036854775807}"]),
    ("real[]", &["{0.1,NaN}"]),
    ("double precision[]", &["{0.1}"]),
    ("varchar(3)[]", &["{abc,\"a b\",NULL}"]),
    ("text[]", &["{a,\"\",NULL}"]),
    ("numeric(5,2)[]", &["{1.25}"]),
    ("numeric(12,2)[]", &["{1.25}"]),
    ("int4range", &["[1,5)", "empty"]),
    ("tsvector", &["'a':1"]),
    ("point", &["(1,2)"]),
];

fn all_types() -> BTreeMap<QualifiedName, TypeDef> {
    let mut types = user_types();
    let labels = ["happy", "{\\0}", "sad", "ok"].map(str::to_owned).to_vec();
    types.insert(QualifiedName::new("public", "mood2").unwrap(), TypeDef::Enum(labels));
    types.insert(QualifiedName::new("public", "citext").unwrap(), TypeDef::Base);
    types
}

/// One row per value: the value, whether it is bad, the result or the error, and whether the way back brings the
/// value again.
const TRY_SQL: &str = "CREATE FUNCTION public.try(sql text) RETURNS text LANGUAGE plpgsql AS \
    $$ DECLARE r text; BEGIN EXECUTE sql INTO r; RETURN coalesce(r, 'NULL'); EXCEPTION WHEN OTHERS THEN RETURN 'ERROR ' || SQLERRM; END $$;
    CREATE FUNCTION public.same(tab text, at int, back text) RETURNS boolean LANGUAGE plpgsql AS
    $$ DECLARE r boolean; BEGIN EXECUTE format('SELECT CAST(%1$s AS text) = CAST(c AS text) FROM %2$s WHERE i = %3$s', back, tab, at) INTO r;
       IF r THEN RETURN true; END IF;
       EXECUTE format('SELECT %1$s = c FROM %2$s WHERE i = %3$s', back, tab, at) INTO r; RETURN r;
       EXCEPTION WHEN OTHERS THEN RETURN false; END $$;";

/// The old value from the result `x`, by another way than the rules where there is one.
fn way_back(cast: &Cast, context: &Context<'_>) -> String {
    let string = |ty: &ColumnType| ["text", "varchar", "bpchar", "name"].iter().any(|name| ty.is(name));
    let (from, to) = (cast.from(), cast.to());
    let numeric = to.is("numeric") || to.name.as_str() == "price";
    match inverse(cast, context) {
        // The spelling with fewer zeros after the point is the same number.
        _ if string(from) && numeric => "CASE WHEN CAST(CAST(c AS text) AS numeric) = x THEN c END".to_owned(),
        _ if from.is("date") && to.is("timestamptz") => format!("CAST((x AT TIME ZONE '{}') AS date)", context.zone),
        Some(back) if !string(to) => back.expr("x"),
        None if to.kind == TypeKind::Array => format!("CAST(x AS {})", from.sql),
        _ => format!("CAST(CAST(x AS text) AS {})", from.sql),
    }
}

#[tokio::test]
async fn casts_do_what_their_class_says() {
    let (_cluster, client) = server().await;
    client.batch_execute(USER_TYPES_SQL).await.unwrap();
    client
        .batch_execute(
            "CREATE TYPE public.mood2 AS ENUM ('happy', '{\\0}', 'sad', 'ok'); CREATE EXTENSION citext SCHEMA public;",
        )
        .await
        .unwrap();
    client.batch_execute(TRY_SQL).await.unwrap();
    let types = all_types();
    let mut wrong = Vec::new();
    let (mut by_class, mut unsupported, mut bad_rows, mut good_rows) = (BTreeMap::new(), 0, 0, 0);
    for (number, (from_text, values)) in MATRIX.iter().enumerate() {
        let from = typename::parse(from_text, &types).unwrap();
        let table = format!("public.m{number}");
        client.batch_execute(&format!("CREATE TABLE {table} (i serial, c {})", from.sql)).await.unwrap();
        for value in *values {
            let sql = format!("INSERT INTO {table} (c) VALUES ({})", pcrd::sql::literal(value));
            client.batch_execute(&sql).await.unwrap_or_else(|e| panic!("{from_text} {value}: {e:?}"));
        }
        client.batch_execute(&format!("INSERT INTO {table} (c) VALUES (NULL)")).await.unwrap();
        for zone in ["UTC", "Europe/Berlin"] {
            for (to_text, _) in MATRIX {
                let to = typename::parse(to_text, &types).unwrap();
                let zoned = [&from, &to].iter().any(|ty| ty.is("timestamptz"));
                if zone != "UTC" && !zoned {
                    continue;
                }
                let context = Context { zone, types: &types, oldest_major: 15 };
                let Ok(cast) = classify(&from, &to, &context) else {
                    unsupported += 1;
                    continue;
                };
                *by_class.entry(cast.class).or_insert(0) += 1;
                let label = format!("{from_text} → {to_text} ({:?}, {zone})", cast.class);
                let bad: Vec<String> =
                    cast.bad("c").into_iter().map(|b| format!("coalesce({}, false)", b.predicate)).collect();
                if (cast.class == CastClass::Checked) == bad.is_empty() && cast.class != CastClass::Lossy {
                    wrong.push(format!("{label}: {} predicates", bad.len()));
                }
                let bad = if bad.is_empty() { "false".to_owned() } else { bad.join(" OR ") };
                let back = way_back(&cast, &context);
                // The way back reads the result under the name x.
                let back = format!("(SELECT {back} FROM (SELECT {} AS x) AS y)", cast.expr("c"));
                let quoted = pcrd::sql::literal;
                let over_table = quoted(&format!("SELECT {} FROM {table} WHERE i = ", cast.expr("c")));
                // As the stream has it: a row of constants, which the planner folds into the expression.
                let before = quoted(&format!("SELECT {} FROM (SELECT CAST(", cast.expr("c")));
                let after = quoted(&format!(" AS {}) AS c) AS s", from.sql));
                let sql = format!(
                    "SELECT CAST(c AS text), {bad}, public.try({over_table} || i), public.same('{table}', i, {}), \
                     public.try({before} || quote_nullable(CAST(c AS text)) || {after}) FROM {table} ORDER BY i",
                    quoted(&back),
                );
                let outcome = match rows(&client, &sql).await {
                    Ok(outcome) => outcome,
                    Err(error) => {
                        wrong.push(format!("{label}: {error}\n   {sql}"));
                        continue;
                    }
                };
                for row in outcome {
                    let value = row[0].clone();
                    let is_bad = row[1].as_deref() == Some("t");
                    let result = row[2].clone().unwrap();
                    let failed = result.starts_with("ERROR");
                    let same = row[3].as_deref() == Some("t") || value.is_none();
                    let shown = format!("{label}: {value:?} → {result}");
                    if row[4] != row[2] && !(failed && row[4].as_ref().unwrap().starts_with("ERROR")) {
                        wrong.push(format!("{shown}, but from constants {:?}", row[4]));
                    }
                    if value.is_none() && (is_bad || result != "NULL") {
                        wrong.push(format!("{shown}: NULL stays NULL"));
                    }
                    match cast.class {
                        CastClass::Identical | CastClass::Widening if failed || !same => {
                            wrong.push(format!("{shown} (back: {same})"));
                        }
                        CastClass::Checked if is_bad != failed => wrong.push(format!("{shown} but bad is {is_bad}")),
                        CastClass::Checked if !is_bad && !same => wrong.push(format!("{shown} passes and is lost")),
                        CastClass::Lossy if !is_bad && failed => wrong.push(format!("{shown} but not bad")),
                        _ => {}
                    }
                    if is_bad { bad_rows += 1 } else { good_rows += 1 }
                }
                // The type of the expression is the wanted one.
                let made =
                    format!("CREATE TABLE public.made AS SELECT {} AS c FROM {table} WHERE false", cast.expr("c"));
                match rows(&client, &made).await {
                    Ok(_) => {
                        let theirs = column_of(&client, "public.made").await;
                        if theirs[1].as_deref() != Some(to.name.as_str()) {
                            wrong.push(format!("{label}: the expression has type {:?}", theirs[5]));
                        }
                        client.batch_execute("DROP TABLE public.made").await.unwrap();
                    }
                    Err(error) => wrong.push(format!("{label}: {error}")),
                }
                // Order and difference survive, where claimed.
                if !matches!(from_text, &"json" | &"xml" | &"point") && !matches!(to_text, &"json" | &"xml" | &"point")
                {
                    let made = format!(
                        "WITH m AS MATERIALIZED (SELECT c, {} AS x FROM {table} WHERE c IS NOT NULL AND NOT ({bad})) \
                         SELECT count(*) FILTER (WHERE a.c < b.c AND NOT a.x < b.x), count(*) FILTER (WHERE a.c <> b.c AND a.x = b.x) FROM m AS a, m AS b",
                        cast.expr("c")
                    );
                    let counts = match rows(&client, &made).await {
                        Ok(mut counts) => counts.remove(0),
                        Err(error) => {
                            wrong.push(format!("{label}: {error}"));
                            continue;
                        }
                    };
                    if cast.order_preserving && counts[0].as_deref() != Some("0") {
                        wrong.push(format!("{label}: order is lost {counts:?}"));
                    }
                    if cast.injective && counts[1].as_deref() != Some("0") {
                        wrong.push(format!("{label}: different values become equal {counts:?}"));
                    }
                }
            }
        }
    }
    let counts = format!("{by_class:?}, unsupported {unsupported}, rows passed {good_rows}, refused {bad_rows}");
    assert!(wrong.is_empty(), "{} wrong of {counts}\n{}", wrong.len(), wrong.join("\n"));
    assert!(bad_rows > 2500 && good_rows > 4000, "{counts}");
}
