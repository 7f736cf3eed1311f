//! Types that a plan refuses by their names, and the page that says how each type travels.

use std::fmt::Write;

use pcrd::catalog::{Align, ColumnType, Ident, TypeKind};
use pcrd::projection::format::is_binary_safe;

use crate::builtin::{BUILTIN, Travels, Type};
use crate::extensions::{CARRIED, OF_INDEXES};
use crate::migration::Migration;
use crate::support::{TestPair, connect_to, run};

async fn said_of(pair: &TestPair, name: &str, before: &str, types: &[String]) -> String {
    for cluster in [&pair.source, &pair.target] {
        run(&connect_to(cluster, "postgres").await, &format!("CREATE DATABASE {name}")).await;
        run(&connect_to(cluster, name).await, before).await;
    }
    let columns: String = types.iter().enumerate().map(|(n, ty)| format!(", c{n} {ty}")).collect();
    let source = connect_to(&pair.source, name).await;
    run(&source, &format!("CREATE TABLE items (id integer PRIMARY KEY{columns})")).await;
    let migration =
        Migration::between(pair, name, "    - name: items\n", &format!("  replication_slot: pcrd_{name}\n"));
    let planned = migration.run(&["plan", "--out", "plan.json"]);
    assert!(!planned.status.success(), "it was planned");
    // The lines are broken where the terminal ends.
    let said = String::from_utf8_lossy(&planned.stderr).replace("\n  │ ", " ");
    said.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_server_reads_back() {
    let pair = TestPair::start(15, 15);
    let refused: Vec<&str> = BUILTIN.iter().filter(|ty| ty.travels == Travels::Refused).map(|ty| ty.name).collect();
    assert!(refused.len() >= 7, "{refused:?}");
    let types: Vec<String> = refused
        .iter()
        .chain(OF_INDEXES)
        .flat_map(|ty| [(*ty).to_owned(), format!("{ty}[]")])
        // The catalogs' own have no arrays.
        .filter(|ty| !(ty.starts_with("pg_") && ty.ends_with("[]")))
        .collect();
    let before = "CREATE EXTENSION hstore; CREATE EXTENSION pg_trgm; CREATE EXTENSION ltree; CREATE EXTENSION intarray";
    let said = said_of(&pair, "unreadable", before, &types).await;
    for (n, ty) in types.iter().enumerate() {
        assert!(said.contains(&format!("public.items.c{n} is of type ")), "{ty}: {said}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_the_target_does_not_have() {
    let pair = TestPair::start(10, 15);
    let types: Vec<String> =
        BUILTIN.iter().filter(|ty| ty.travels == Travels::Gone).map(|ty| ty.name.to_owned()).collect();
    assert_eq!(types.len(), 4, "{types:?}");
    let said = said_of(&pair, "gone", "", &types).await;
    for (n, ty) in types.iter().enumerate() {
        assert!(said.contains(&format!("public.items.c{n} needs the type {ty},")), "{ty}: {said}");
    }
}

fn page() -> String {
    let mut page = String::from(
        "# Types\n\nHow the values of each type get to the target, as `tests/types` runs it: by the copy, by the stream, over another \
         value, beside a change\nof another column, and as a key where the type can be one. A table is copied in binary if all its \
         columns can be; the stream is always text.\nTypes of users that the target lacks are created there as they are on the source; others a plan compares \
         them.\n\n| type | of | copied | key |\n|---|---|---|---|\n",
    );
    let rows = BUILTIN.iter().map(|ty| (ty, "PostgreSQL")).chain(CARRIED.iter().map(|ty| (ty, "an extension")));
    for (ty, of) in rows {
        let Type { name, majors, travels, key, .. } = ty;
        let of = match majors {
            (10, 18) => of.to_owned(),
            (10, last) => format!("{of} up to {last}"),
            (first, _) => format!("{of} {first} and later"),
        };
        let copied = match travels {
            Travels::Binary => "binary",
            Travels::Text => "text",
            Travels::ByName => "by the name of what it stands for, which the target must have",
            Travels::Refused => "refused: no server reads it back",
            Travels::Gone => "text; refused where the target has no such type",
        };
        writeln!(page, "| `{name}` | {of} | {copied} | {} |", if *key { "yes" } else { "no" }).unwrap();
    }
    for name in OF_INDEXES {
        writeln!(page, "| `{name}` | an extension | refused: no server reads it back | no |").unwrap();
    }
    page + "\nArrays travel as text. Not possible: a key that is a domain over an enum, a range or an extension's type (no `=` is \
            found for it), and from\nPostgreSQL 10 or 11 to 12 or later floats inside composites, domains, ranges and `cube`, which the \
            two write differently: verification takes\nthem for differences. `information_schema.sql_identifier` from before 12 is \
            refused: later versions cut it off.\n"
}

/// `PCRD_WRITE=1` writes it.
#[test]
fn the_page_of_types() {
    for ty in BUILTIN {
        let column = ColumnType {
            schema: Ident::new("pg_catalog").unwrap(),
            name: Ident::new(ty.name).unwrap(),
            typmod: -1,
            sql: ty.name.to_owned(),
            len: -1,
            align: Align::Int,
            kind: TypeKind::Base,
        };
        assert_eq!(is_binary_safe(&column), ty.travels == Travels::Binary, "{}", ty.name);
    }
    let path = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/types.md");
    if std::env::var_os("PCRD_WRITE").is_some() {
        std::fs::write(&path, page()).unwrap();
    }
    assert_eq!(std::fs::read_to_string(&path).unwrap(), page());
}
