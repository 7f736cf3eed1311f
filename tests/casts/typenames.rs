//! Type names mean what the server says.

use pcrd::casts::builtin::{BUILTINS, column_type};
use pcrd::casts::typename;
use pcrd::catalog::{Align, ColumnType, TypeKind};

use crate::server::{USER_TYPES_SQL, column_of, rows, server, server_of, user_types};

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
async fn every_built_in_type_is_as_the_servers_have_it() {
    let sql = "SELECT typname, typlen, typalign, typstorage, pg_catalog.format_type(oid, -1) FROM pg_catalog.pg_type \
        WHERE typnamespace = 'pg_catalog'::pg_catalog.regnamespace";
    for major in pcrd::pg::local::installed_majors() {
        let (_cluster, client) = server_of(major).await;
        let theirs = rows(&client, sql).await.unwrap();
        for row in BUILTINS {
            let name = Some(row.name.to_owned());
            let Some(theirs) = theirs.iter().find(|theirs| theirs[0] == name) else {
                assert!(major < 15, "PG {major} has no {}", row.name);
                continue;
            };
            let align = ["c", "s", "i", "d"][row.align as usize];
            let storage = ["p", "e", "m", "x"][row.storage as usize];
            let ours = [row.name.into(), row.len.to_string(), align.into(), storage.into(), column_type(row, -1).sql];
            assert_eq!(*theirs, ours.map(Some), "PG {major}");
        }
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
