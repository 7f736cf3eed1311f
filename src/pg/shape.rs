//! What must stay as it is while rows of a table are copied, as one line of text that is cheap to ask for.
//!
//! Names of indexes and storage files are left out: they may change without changing what a copy reads.

use std::fmt::Write;
use std::sync::LazyLock;

use crate::catalog::{Column, Ident, Index, Persistence, ReplicaIdentity, Table, TableKind};

/// Gives the shape of the table with schema `$1` and name `$2` (both text) as one row with one text column; `missing`
/// when there is no such table. Does not depend on session settings.
pub const SHAPE_SQL: &str = include_str!("queries/shape.sql");

/// The same of many tables at once, in their order: `$1` schemas, `$2` names (both `text[]`).
pub static SHAPES_SQL: LazyLock<String> = LazyLock::new(|| {
    let one = SHAPE_SQL.trim_end().replace("$1::text", "w.schema").replace("$2::text", "w.name");
    let tables = "ROWS FROM (pg_catalog.unnest($1::text[]), pg_catalog.unnest($2::text[])) WITH ORDINALITY AS w (schema, name, at)";
    format!("SELECT (\n{one}\n) FROM {tables} ORDER BY w.at")
});

/// Renders the line that [`SHAPE_SQL`] gives for a table that has not changed.
pub fn expected_shape(table: &Table) -> String {
    let kind = match table.kind {
        TableKind::Table => 'r',
        TableKind::Partitioned => 'p',
        TableKind::Foreign => 'f',
        TableKind::View => 'v',
        TableKind::MaterializedView => 'm',
    };
    let persistence = match table.persistence {
        Persistence::Permanent => 'p',
        Persistence::Unlogged => 'u',
        Persistence::Temporary => 't',
    };
    let columns = table.columns.iter().map(column).collect::<Vec<_>>().join(", ");
    let identity = match &table.replica_identity {
        ReplicaIdentity::Default => "d".to_owned(),
        ReplicaIdentity::Full => "f".to_owned(),
        ReplicaIdentity::Nothing => "n".to_owned(),
        ReplicaIdentity::Index(name) => {
            format!("i({})", table.indexes.get(name).map_or_else(String::new, |index| names(index_columns(index))))
        }
    };
    let key = table.primary_key.as_ref().map_or_else(String::new, |key| {
        format!("({}){}", names(key.columns.iter()), if key.deferrable { " deferrable" } else { "" })
    });
    format!(
        "kind={kind}{persistence} rls={}{} columns=({columns}) identity={identity} key={key} parents={} children={}",
        u8::from(table.row_security),
        u8::from(table.row_security_forced),
        table.parents.len(),
        if table.kind == TableKind::Partitioned { 0 } else { table.children.len() },
    )
}

/// True when both lines say the same of what a stream of changes has: from whom rows are hidden does not matter to it.
pub fn is_sent_alike(one: &str, other: &str) -> bool {
    let parts = |line: &str| {
        let (before, after) = line.split_once(" rls=")?;
        Some((before.to_owned(), after.get(2..)?.to_owned()))
    };
    one == other || parts(one).is_some_and(|one| parts(other) == Some(one))
}

fn column(column: &Column) -> String {
    let ty = &column.ty;
    let mut text = format!("{} {}.{} {}", quoted(&column.name), quoted(&ty.schema), quoted(&ty.name), ty.typmod);
    if let Some(collation) = &column.collation {
        write!(text, " collate {}.{}", quoted(&collation.schema), quoted(&collation.name))
            .expect("writing to a string does not fail");
    }
    if column.not_null {
        text.push_str(" not null");
    }
    if let Some(generated) = &column.generated {
        text.push_str(if generated.stored { " stored" } else { " virtual" });
    }
    text
}

fn index_columns(index: &Index) -> impl Iterator<Item = &Ident> {
    index.elements.iter().filter_map(|element| element.column.as_ref())
}

fn names<'a>(idents: impl Iterator<Item = &'a Ident>) -> String {
    idents.map(quoted).collect::<Vec<_>>().join(", ")
}

/// As `to_json` writes it: one line whatever is in the name.
fn quoted(name: &Ident) -> String {
    serde_json::Value::from(name.as_str()).to_string()
}

#[cfg(test)]
mod tests {
    use super::is_sent_alike;

    #[test]
    fn row_security_alone_makes_no_other_stream() {
        let line = |rls: &str, columns: &str| format!("kind=rp rls={rls} columns=({columns}) identity=d");
        let name = "\"a rls=00\" text";
        assert!(is_sent_alike(&line("00", name), &line("11", name)) && is_sent_alike("missing", "missing"));
        assert!(!is_sent_alike(&line("00", name), &line("00", "\"a rls=11\" text")));
        assert!(!is_sent_alike(&line("00", name), "missing") && !is_sent_alike("missing", &line("00", name)));
    }
}
