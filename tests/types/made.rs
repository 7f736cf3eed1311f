//! Types that users make: enums, domains, composites in composites, ranges, and arrays of all of them.

use rand::Rng;
use rand::rngs::StdRng;

use crate::matrix::{Column, Matrix};
use crate::pairs::across;
use crate::random::{double, integers, json, moment, numeric, text};
use crate::support::TestPair;

/// On both ends; a user makes them on the target first.
const TYPES: &str = r#"
    CREATE SCHEMA "Ma de";
    CREATE TYPE mood AS ENUM ('ok', 'so so', 'it''s', 'Ünï', 'a,b"c\d', '');
    CREATE DOMAIN positive AS integer CHECK (VALUE > 0);
    CREATE DOMAIN fine AS float8;
    CREATE DOMAIN finer AS fine CHECK (VALUE <> 7);
    CREATE DOMAIN word AS text CHECK (VALUE <> 'no');
    CREATE DOMAIN words AS text[];
    CREATE DOMAIN "Ma de"."Pri ce" AS numeric(10,2);
    CREATE DOMAIN doc AS jsonb;
    CREATE DOMAIN stamp AS timestamptz(3);
    CREATE DOMAIN moody AS mood;
    CREATE TYPE inner_row AS (x float8, y text, z timestamptz[]);
    CREATE TYPE "Ma de".outer_row AS (a inner_row, b inner_row[], c positive, m mood, d float4);
    CREATE TYPE span AS RANGE (subtype = timestamptz);
    CREATE DOMAIN spans AS span;
    CREATE TYPE fine_range AS RANGE (subtype = float8, subtype_diff = float8mi);
    CREATE TYPE mood_range AS RANGE (subtype = mood);
"#;

/// Numbers that the types above do not get on the source.
const NOISE: &str =
    "CREATE TYPE noise_1 AS ENUM ('a'); CREATE DOMAIN noise_2 AS text; CREATE TYPE noise_3 AS (a integer)";

fn made(
    sql: &str,
    values: &[&str],
    random: impl Fn(&mut StdRng) -> String + Send + Sync + 'static,
    compared: &[&str],
) -> Column {
    Column {
        sql: sql.to_owned(),
        values: values.iter().map(|value| (*value).to_owned()).collect(),
        random: Box::new(random),
        compared: compared.iter().map(|sql| (*sql).to_owned()).collect(),
        // Of a domain over an enum or a range no server knows whether two values are equal.
        key: sql != "moody" && sql != "spans",
    }
}

fn quoted(text: &str) -> String {
    format!("\"{}\"", text.replace('\\', r"\\").replace('"', r#"\""#))
}

fn inner(random: &mut StdRng) -> String {
    format!(
        "({},{},{})",
        double(random),
        quoted(&text(random, 200)),
        quoted(&format!("{{\"{}\"}}", moment(random, "+00")))
    )
}

fn label(random: &mut StdRng) -> String {
    ["ok", "so so", "it's", "Ünï", r#"a,b"c\d"#, ""][random.random_range(0..6)].to_owned()
}

fn number_range(random: &mut StdRng) -> String {
    let low = random.random_range(-1e9..1e9_f64);
    format!("[{low},{})", low + 1.0)
}

fn columns(from: u32, to: u32) -> Vec<Column> {
    let own = &["{}"][..];
    // The bytes of an array, or of a row, have the numbers of its types.
    let by_text = &["{}::text"][..];
    let rows = &["({}).x", "({}).y", "({}).z"][..];
    let nested = &[
        "(({}).a).x",
        "(({}).a).y",
        "(({}).a).z",
        "array_dims(({}).b)",
        "(SELECT pg_catalog.array_agg(e.x) FROM pg_catalog.unnest(({}).b) AS e)",
        "(SELECT pg_catalog.array_agg(e.y) FROM pg_catalog.unnest(({}).b) AS e)",
        "({}).c",
        "({}).m",
        "({}).d",
    ][..];
    let of_rows = &[
        "array_dims({})",
        "(SELECT pg_catalog.array_agg(e.x) FROM pg_catalog.unnest({}) AS e)",
        "(SELECT pg_catalog.array_agg(e.y) FROM pg_catalog.unnest({}) AS e)",
    ][..];
    let mut all = vec![
        made("mood", &["ok", "so so", "it's", "Ünï", r#"a,b"c\d"#, ""], label, own),
        made(
            "mood[]",
            &["{}", r#"[-2:0]={"a,b\"c\\d",NULL,ok}"#, "{\"\"}"],
            |r| format!("{{{}}}", quoted(&label(r))),
            by_text,
        ),
        made("positive", &["1", "2147483647"], |r| r.random_range(1..i32::MAX).to_string(), own),
        made("positive[]", &["{}", "[5:6]={1,NULL}"], |r| format!("{{{}}}", r.random_range(1..99)), by_text),
        made("fine", &["0", "-0", "NaN", "0.1", "5e-324"], double, own),
        made("finer", &["0", "-Infinity", "0.30000000000000004"], double, own),
        made("word", &["", r"\N", "a b"], |r| text(r, 400), own),
        made("words", &["{}", "{a,NULL,\"\"}", "[0:0]={x}"], |r| format!("{{{}}}", quoted(&text(r, 50))), own),
        made("\"Ma de\".\"Pri ce\"", &["0", "-99999999.99", "NaN"], |r| format!("{}.5", r.random::<i16>()), own),
        made("\"Ma de\".\"Pri ce\"[]", &["{1.50,NULL}"], |r| format!("{{{}}}", r.random::<i16>()), by_text),
        made("doc", &["{}", "null", r#"{"a": [1, 2]}"#], |r| json(r, false), own),
        made("stamp", &["infinity", "2000-01-01 00:00:00.001+00"], |r| moment(r, "+00"), own),
        made("moody", &["ok", ""], label, own),
        made("inner_row", &["(,,)", r#"(0.1,"a,""b""\\(c)","{infinity,NULL}")"#, "(NaN,\"\",{})"], inner, rows),
        made(
            "inner_row[]",
            &["{}", "{NULL}", r#"[-1:0]={"(1,x,)",NULL}"#],
            |r| format!("{{{}}}", quoted(&inner(r))),
            of_rows,
        ),
        made(
            "\"Ma de\".outer_row",
            &["(,,,,)", r#"("(0.1,"""",)","{""(,\\""\\"",{})"",NULL}",5,"a,b""c\\d",0.1)"#],
            |r| {
                format!(
                    "({},{},{},{},-0)",
                    quoted(&inner(r)),
                    quoted(&format!("{{{}}}", quoted(&inner(r)))),
                    r.random_range(1..99),
                    quoted(&label(r))
                )
            },
            nested,
        ),
        made(
            "span",
            &["empty", "(,)", "(2020-01-01 00:00:00+00,infinity]"],
            |r| format!("[\"{}\",)", moment(r, "+00")),
            own,
        ),
        made("spans", &["empty", "(,2020-01-01 00:00:00+00)"], |r| format!("[\"{}\",)", moment(r, "+00")), own),
        made("fine_range", &["empty", "[-0,0.1)", "(5e-324,Infinity)"], number_range, own),
        made(
            "fine_range[]",
            &["[3:3]={empty}"],
            |r| format!("{{{}}}", quoted(&number_range(r))),
            &[
                "array_dims({})",
                "(SELECT pg_catalog.array_agg(pg_catalog.lower(e)) FROM pg_catalog.unnest({}) AS e)",
                "(SELECT pg_catalog.array_agg(pg_catalog.upper(e)) FROM pg_catalog.unnest({}) AS e)",
            ],
        ),
        made("mood_range", &["empty", "[ok,\"so so\")"], |_| "[ok,ok]".to_owned(), own),
        made(
            "integer[]",
            &["{}", "[-2:0]={1,NULL,3}"],
            |r| format!("{{{}}}", integers(r, 1, 9).replace(' ', ",")),
            own,
        ),
        made("numeric[]", &["{NaN,1.50}"], |r| format!("{{{}}}", numeric(r).chars().take(60).collect::<String>()), own),
    ];
    if from >= 14 && to >= 14 {
        let spans = |r: &mut StdRng| format!("{{[\"{}\",)}}", moment(r, "+00"));
        all.push(made("span_multirange", &["{}", "{(,)}"], spans, own));
        all.push(made("fine_multirange", &["{}", "{[-0,0.1)}"], |r| format!("{{{}}}", number_range(r)), own));
    }
    if from < 12 && to >= 12 {
        // Rows are compared by their text, and 12 writes a float in a composite, a domain or a range otherwise than 10 did.
        all.retain(|column| !["fine", "inner_row", "outer_row"].iter().any(|name| column.sql.contains(name)));
        all.retain(|column| column.sql != "finer");
    }
    if from < 11 {
        all.retain(|column| column.sql != "positive[]" && !column.sql.ends_with("\"Pri ce\"[]"));
    }
    all
}

async fn users(from: u32, to: u32) {
    let pair = TestPair::start(from, to);
    let tables = vec![("made", columns(from, to))];
    let (name, both, on_target) = ("made".to_owned(), TYPES.to_owned(), NOISE.to_owned());
    Matrix { name, both, on_target, tables }.run(&pair, "").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_15_to_15() {
    users(15, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_10_to_15() {
    users(10, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn made_across() {
    for (from, to) in across((13, 18)) {
        println!("{from} to {to}");
        users(from, to).await;
    }
}
