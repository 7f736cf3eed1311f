//! Types of the extensions that come with PostgreSQL, and of PostGIS where it is installed.

use rand::Rng;

use crate::builtin::{Type, ty};
use crate::matrix::{Column, Matrix};
use crate::pairs::across;
use crate::random::{text, words};
use crate::support::{TestPair, connect_to, rows};

const NAMES: &[&str] = &["citext", "cube", "hstore", "intarray", "isn", "lo", "ltree", "pg_trgm", "seg", "uuid-ossp"];

/// What can be carried; its values are written as text, because most have no binary form.
pub const CARRIED: &[Type] = &[
    ty("citext", &["", "A", "a", "ß É", r"\N"], |r| text(r, 300)),
    // Numbers that every version writes alike: what is compared is the text.
    ty("cube", &["(0)", "(1, 2),(3, 4)", "(0.5)", "(-123456),(1.25)"], |r| {
        format!("({}, {})", r.random::<i32>(), r.random::<i16>())
    })
    .by_text(),
    ty("ean13", &["0220356483481"], |r| format!("220{:09}?", r.random_range(0..999_999_999))).by_text(),
    ty("hstore", &["", "\"a\"=>NULL", r#""a,\"b"=>"\\", "c"=>"""#], |r| {
        format!("\"{}\"=>\"{}\"", words(r), words(r).repeat(r.random_range(1..40)))
    }),
    ty("isbn", &["0-393-04002-X"], |r| format!("{:09}?", r.random_range(0..999_999_999))).by_text(),
    ty("isbn13", &["978-0-393-04002-9"], |r| format!("978{:09}?", r.random_range(0..999_999_999))).by_text(),
    ty("ismn", &["9790060115615"], |r| format!("M{:08}?", r.random_range(0..99_999_999))).by_text(),
    ty("ismn13", &["979-0-060-11561-5"], |r| format!("9790{:08}?", r.random_range(0..99_999_999))).by_text(),
    ty("issn", &["1436-4522"], |r| format!("{:07}?", r.random_range(0..9_999_999))).by_text(),
    ty("issn13", &["977-1436-452-00-8"], |r| format!("977{:07}00?", r.random_range(0..9_999_999))).by_text(),
    ty("lo", &["0", "4294967295"], |r| r.random::<u32>().to_string()),
    ty("lquery", &["a.*{1,2}.!b|c@*"], |r| format!("a{}.*", r.random::<u16>())).by_text().no_key(),
    ty("ltree", &["", "a.b.c", "Top.Science_1"], |r| format!("a{}.b{}", r.random::<u16>(), r.random::<u16>()))
        .by_text(),
    ty("ltxtquery", &["a & !b*@"], |r| format!("a{}", r.random::<u16>())).by_text().no_key(),
    ty("query_int", &["1&(2|3)", "!1"], |r| format!("{}|{}", r.random_range(0..99), r.random_range(0..99)))
        .by_text()
        .no_key(),
    ty("seg", &["1.5 .. 2.5", "~6.5", "<1", "3 .."], |r| format!("{}", r.random_range(0..99_999))).by_text(),
    ty("upc", &["220356483481"], |r| format!("{:011}?", r.random_range(0..99_999_999_999_i64))).by_text(),
];

/// What only indexes keep.
pub const OF_INDEXES: &[&str] = &["ghstore", "gtrgm", "intbig_gkey", "ltree_gist"];

async fn extensions(from: u32, to: u32) {
    let pair = TestPair::start(from, to);
    let both: String = NAMES.iter().map(|name| format!("CREATE EXTENSION \"{name}\"; ")).collect();
    let tables = vec![("carried", CARRIED.iter().map(|ty| Column::of(ty, from)).collect())];
    let on_target = "CREATE TYPE noise AS ENUM ('a')".to_owned();
    Matrix { name: "extensions".to_owned(), both, on_target, tables }.run(&pair, "").await;
    let source = connect_to(&pair.source, "extensions").await;
    let listed = rows(
        &source,
        "SELECT t.typname FROM pg_type t JOIN pg_depend d ON d.classid = 'pg_type'::regclass AND d.objid = t.oid AND d.deptype = 'e' \
         WHERE NOT EXISTS (SELECT FROM pg_type e WHERE e.typarray = t.oid) AND t.typtype <> 'p' ORDER BY t.typname::text COLLATE \"C\"",
    )
    .await;
    let listed: Vec<String> = listed.into_iter().map(|row| row.into_iter().next().flatten().unwrap()).collect();
    let mut known: Vec<&str> = CARRIED.iter().map(|ty| ty.name).chain(OF_INDEXES.iter().copied()).collect();
    known.sort_unstable();
    assert_eq!(listed, known, "the types of these extensions on PostgreSQL {from}, and those of the table");
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_15_to_15() {
    extensions(15, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_10_to_15() {
    extensions(10, 15).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn extensions_across() {
    for (from, to) in across((13, 18)) {
        println!("{from} to {to}");
        extensions(from, to).await;
    }
}
