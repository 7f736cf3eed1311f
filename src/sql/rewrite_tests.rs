//! What a rename touches, and what it must not.

use std::collections::{BTreeMap, BTreeSet};

use super::rewrite::{columns, functions, is_constant, referenced_table, sequences, sequences_named};
use crate::catalog::{Ident, QualifiedName};

fn id(name: &str) -> Ident {
    Ident::new(name).unwrap()
}

fn rename(sql: &str) -> String {
    let pairs = [
        ("price", "list_price"),
        ("code", "code"),
        ("Mixed \"q\"", "plain"),
        ("year", "y"),
        ("date", "day"),
        ("time", "at_time"),
        ("zone", "z"),
        ("lower", "low"),
        ("end", "finish"),
        ("varying", "v"),
        ("precision", "p"),
        ("escape", "esc"),
        ("C", "c2"),
        ("price_usd", "usd"),
        ("unknown", "u"),
    ];
    let map = pairs.iter().map(|(old, new)| (id(old), id(new))).collect();
    columns(sql, &id("orders"), &map).unwrap().sql
}

#[test]
fn columns_are_renamed_and_nothing_else() {
    for (sql, expected) in [
        ("(price > (0)::numeric)", "(\"list_price\" > (0)::numeric)"),
        ("PRICE + price_usd", "\"list_price\" + \"usd\""),
        ("'price' || code || $$price$$ || E'\\'price'", "'price' || \"code\" || $$price$$ || E'\\'price'"),
        ("lower(code) = lower", "lower(\"code\") = \"low\""),
        ("\"Mixed \"\"q\"\"\" IS NULL", "\"plain\" IS NULL"),
        ("\"Price\" = price", "\"Price\" = \"list_price\""),
        ("EXTRACT(year FROM date) = year", "EXTRACT(year FROM \"day\") = \"y\""),
        (
            "(code)::date = date AND date '2020-01-01' < date",
            "(\"code\")::date = \"day\" AND date '2020-01-01' < \"day\"",
        ),
        ("code::double precision + precision", "\"code\"::double precision + \"p\""),
        ("code::character varying(10) || varying", "\"code\"::character varying(10) || \"v\""),
        ("code::timestamp(3) without time zone > zone", "\"code\"::timestamp(3) without time zone > \"z\""),
        ("code::public.price[] && price", "\"code\"::public.price[] && \"list_price\""),
        ("(date AT TIME ZONE 'UTC'::text) > \"time\"", "(\"day\" AT TIME ZONE 'UTC'::text) > \"at_time\""),
        ("code COLLATE \"C\" < \"C\"", "\"code\" COLLATE \"C\" < \"c2\""),
        (
            "CASE WHEN price IS UNKNOWN THEN 1 ELSE unknown END",
            "CASE WHEN \"list_price\" IS UNKNOWN THEN 1 ELSE \"u\" END",
        ),
        ("\"end\" > 0", "\"finish\" > 0"),
        ("code LIKE price ESCAPE 'x' AND escape", "\"code\" LIKE \"list_price\" ESCAPE 'x' AND \"esc\""),
        ("public.price(price => price)", "public.price(price => \"list_price\")"),
        ("orders.price + public.orders(price)", "\"list_price\" + public.orders(\"list_price\")"),
        ("(code).price.code", "(\"code\").price.code"),
        ("CAST(price AS code)", "CAST(\"list_price\" AS code)"),
        ("price /* price */ -- price\n+ 1", "\"list_price\" /* price */ -- price\n+ 1"),
        ("code OPERATOR(pg_catalog.=) 'x'", "\"code\" OPERATOR(pg_catalog.=) 'x'"),
        ("ARRAY[price, code[1]]", "ARRAY[\"list_price\", \"code\"[1]]"),
    ] {
        assert_eq!(rename(sql), expected, "{sql}");
    }
}

#[test]
fn what_is_read_is_known() {
    let map = [("a", "b"), ("b", "c")].iter().map(|(old, new)| (id(old), id(new))).collect();
    let rewritten = columns("upper(a) || 'b'", &id("t"), &map).unwrap();
    assert_eq!(rewritten.reads, BTreeSet::from([id("a")]));
    assert_eq!(columns("a + b", &id("t"), &map).unwrap().sql, "\"b\" + \"c\"", "a chain is not applied twice");
}

#[test]
fn constants_are_told_from_calls() {
    for sql in [
        "0",
        "-1.5",
        "'eu'::text",
        "'generated'::character varying(20)",
        "(0)::numeric(10,2)",
        "NULL::text",
        "true",
        "'{}'::jsonb",
    ] {
        assert!(is_constant(sql).unwrap(), "{sql}");
    }
    for sql in ["now()", "CURRENT_TIMESTAMP", "'now'::text", "nextval('s'::regclass)", "1 + f(2)", "a", "", "'a' 'b'"] {
        assert!(!is_constant(sql).unwrap(), "{sql}");
    }
}

#[test]
fn functions_are_named() {
    let names = |sql| functions(sql).unwrap().into_iter().map(|(_, name)| name).collect::<Vec<_>>();
    assert_eq!(
        names("coalesce(public.f(now()), CURRENT_DATE) IN (1) AND (a)::numeric(1) > left(b, 1)"),
        ["coalesce", "f", "now", "current_date", "left"]
    );
}

#[test]
fn sequences_follow_their_tables() {
    let map = BTreeMap::from([(QualifiedName::new("public", "S").unwrap(), QualifiedName::new("x", "it's").unwrap())]);
    let sql = "'P'::text || nextval('public.\"S\"'::regclass) || nextval('public.other'::regclass) || 'public.\"S\"'";
    assert_eq!(
        sequences(sql, &map).unwrap(),
        "'P'::text || nextval('\"x\".\"it''s\"'::pg_catalog.regclass) || nextval('public.other'::regclass) || 'public.\"S\"'"
    );
    assert_eq!(sequences_named(sql).unwrap().len(), 2);
}

#[test]
fn the_far_side_of_a_foreign_key() {
    assert_eq!(
        referenced_table("FOREIGN KEY (\"references\") REFERENCES \"a\".\"b c\" (id)"),
        QualifiedName::new("a", "b c").ok()
    );
}
