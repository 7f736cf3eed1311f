//! A second reader of PostgreSQL's grammar that is not ours: what both take, both read alike, and what it refuses we do not
//! manage. Fixtures, the dumps of `dev/schemas` where they are, and mutations of both.
//!
//! A package of its own: it needs a newer compiler than pcrd, and is in nobody's way.
//!
//! `cargo test --manifest-path dev/oracle/Cargo.toml`

#![allow(clippy::unwrap_used)]

use std::collections::BTreeMap;
use std::ops::Range;

use pcrd::desired::sql::{ConstraintKind, SqlColumn, SqlSchema, SqlTable, read};
use squawk_syntax::SourceFile;
use squawk_syntax::ast::{self, AstNode};

use crate::mutations::{STATEMENTS, expressions, mutations};

#[path = "../../../tests/ddl/mutations.rs"]
mod mutations;

const KITCHEN_SINK: &str = include_str!("../../../tests/fixtures/kitchen_sink.sql");

const DUMP: &str = include_str!("../../../tests/fixtures/kitchen_sink.dump.sql");

/// What the other reader does not know, and PostgreSQL does: an escape string that goes on in the next line.
const UNKNOWN_TO_IT: &str = "COMMENT ON COLUMN app.types.dbl IS E'tab\\t'\n'\\'and\\' ''more''';\n";

/// The file without the lines for psql.
fn for_both(sql: &str) -> String {
    let sql = sql.replace(UNKNOWN_TO_IT, "");
    sql.lines().filter(|line| !line.starts_with('\\')).collect::<Vec<_>>().join("\n")
}

/// What a reader makes of a table, in words.
#[derive(Debug, PartialEq, Eq)]
struct Said {
    name: String,
    columns: Vec<String>,
}

/// Lower case without space, as all spellings of a type or a name are alike then; quoted parts keep their case.
fn squeezed(text: &str) -> String {
    let mut quoted = false;
    text.chars()
        .filter_map(|c| {
            quoted ^= c == '"';
            let keep = quoted || !c.is_whitespace();
            keep.then(|| if quoted { c } else { c.to_ascii_lowercase() })
        })
        .collect()
}

/// A name as it is stored.
fn stored(text: &str) -> String {
    match text.strip_prefix('"').and_then(|rest| rest.strip_suffix('"')) {
        Some(inner) => inner.replace("\"\"", "\""),
        None => text.to_ascii_lowercase(),
    }
}

fn their_column(column: &ast::Column) -> String {
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    let mut collation = String::new();
    let mut hidden = Vec::new();
    for clause in column.clauses() {
        let word = match clause {
            ast::ColumnClause::ColumnConstraint(constraint) => match constraint {
                ast::ColumnConstraint::CheckConstraint(_) => "check",
                ast::ColumnConstraint::DefaultConstraint(_) => "default",
                ast::ColumnConstraint::ExcludeConstraint(_) => "exclude",
                ast::ColumnConstraint::GeneratedConstraint(_) => "generated",
                ast::ColumnConstraint::NotNullConstraint(_) => "not null",
                ast::ColumnConstraint::NullConstraint(_) => continue,
                ast::ColumnConstraint::PrimaryKeyConstraint(_) => "primary key",
                ast::ColumnConstraint::ReferencesConstraint(_) => "references",
                ast::ColumnConstraint::UniqueConstraint(_) => "unique",
            },
            ast::ColumnClause::Collate(collate) => {
                collation = squeezed(&collate.syntax().text().to_string());
                continue;
            }
            _ => continue,
        };
        *words.entry(word).or_default() += 1;
    }
    // Said twice is said once: PostgreSQL makes one index for equal keys.
    words.remove("not null").into_iter().for_each(|_| hidden.push("not null"));
    words.entry("unique").and_modify(|count| *count = 1);
    let ty = column.ty().map(|ty| squeezed(&ty.syntax().text().to_string())).unwrap_or_default();
    let name = column.name().map(|name| stored(&name.syntax().text().to_string())).unwrap_or_default();
    format!("{name} {ty} {collation} {words:?} {hidden:?}")
}

fn our_column(text: &str, column: &SqlColumn, table: &SqlTable) -> String {
    let inside = |span: &Range<usize>| column.span.start <= span.start && span.end <= column.span.end;
    let mut words: BTreeMap<&str, usize> = BTreeMap::new();
    if column.default.as_ref().is_some_and(|default| inside(&default.span)) {
        words.insert("default", 1);
    }
    let is_generated = column.generated.as_ref().is_some_and(|generated| inside(&generated.span));
    if is_generated || column.identity.as_ref().is_some_and(|identity| inside(&identity.span)) {
        words.insert("generated", 1);
    }
    for constraint in table.constraints.iter().filter(|constraint| inside(&constraint.span)) {
        let word = match &constraint.kind {
            ConstraintKind::PrimaryKey(_) => "primary key",
            ConstraintKind::Unique { .. } => "unique",
            ConstraintKind::ForeignKey(_) => "references",
            ConstraintKind::Check(_) => "check",
            ConstraintKind::UsingIndex { .. } | ConstraintKind::Exclude(_) => "of the table",
        };
        *words.entry(word).or_default() += 1;
    }
    // Where the type is written; `ty` holds the integer of a serial.
    let ty = squeezed(&text[column.ty.span.clone()]);
    // Behind a DEFAULT the other reader takes it for a part of the expression, which it is not: DEFAULT takes no COLLATE.
    let is_first = |span: &Range<usize>| column.default.as_ref().is_none_or(|default| span.start < default.span.start);
    let collation = column.collation.as_ref().filter(|collation| inside(&collation.span) && is_first(&collation.span));
    let collation = collation.map(|collation| format!("collate{}", squeezed(&collation.value))).unwrap_or_default();
    let written = squeezed(&text[column.span.clone()]);
    let hidden: Vec<&str> =
        (column.not_null && written.contains("notnull")).then_some("not null").into_iter().collect();
    format!("{} {ty} {collation} {words:?} {hidden:?}", column.name.value.as_str())
}

fn ours(text: &str, schema: &SqlSchema) -> Vec<Said> {
    let tables = schema.tables.iter().filter(|table| table.is_managed());
    tables
        .filter(|table| table.partition_of.as_ref().is_none_or(|of| of.attached))
        .map(|table| {
            let columns = table.columns.iter().map(|column| our_column(text, column, table)).collect();
            Said { name: table.name.value.name.as_str().to_owned(), columns }
        })
        .collect()
}

fn theirs(file: &SourceFile) -> Vec<Said> {
    let tables = file.syntax().descendants().filter_map(ast::CreateTable::cast);
    tables
        .filter_map(|table| {
            let is_ours = table.inherits().is_none() && table.of_type().is_none() && table.partition_of().is_none();
            let is_temporary =
                table.persistence().is_some_and(|kind| squeezed(&kind.syntax().text().to_string()).contains("temp"));
            let args: Vec<ast::TableArg> = table.table_arg_list()?.args().collect();
            let is_like = args.iter().any(|arg| matches!(arg, ast::TableArg::LikeClause(_)));
            let name = table.table_name()?.syntax().text().to_string();
            let name = name.rsplit('.').next().map(|name| stored(name.trim()))?;
            let columns = args.iter().filter_map(|arg| match arg {
                ast::TableArg::Column(column) => Some(their_column(column)),
                _ => None,
            });
            (is_ours && !is_temporary && !is_like).then(|| Said { name, columns: columns.collect() })
        })
        .collect()
}

/// Constraints of tables, and indexes, in the whole file.
fn our_counts(text: &str, schema: &SqlSchema) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::new();
    for constraint in schema.tables.iter().flat_map(|table| &table.constraints) {
        let word = match &constraint.kind {
            ConstraintKind::PrimaryKey(_) | ConstraintKind::UsingIndex { primary: true, .. } => "primary key",
            ConstraintKind::Unique { .. } | ConstraintKind::UsingIndex { .. } => "unique",
            ConstraintKind::ForeignKey(_) => "foreign key",
            ConstraintKind::Check(_) => "check",
            ConstraintKind::Exclude(_) => "exclude",
        };
        *counts.entry(word).or_default() += 1;
    }
    // Of views, too: those are statements without a table.
    let created = schema.statements.iter().filter(|statement| statement.what == "index");
    let indexes = created.filter(|statement| text[statement.span.clone()].starts_with("CREATE")).count();
    counts.insert("index", indexes);
    counts
}

fn their_counts(file: &SourceFile) -> BTreeMap<&'static str, usize> {
    let mut counts = BTreeMap::from([("index", 0)]);
    for node in file.syntax().descendants() {
        let is_of_table =
            || node.ancestors().any(|up| ast::CreateTable::can_cast(up.kind()) || ast::AlterTable::can_cast(up.kind()));
        let word = if ast::PrimaryKeyConstraint::can_cast(node.kind()) {
            "primary key"
        } else if ast::UniqueConstraint::can_cast(node.kind()) {
            "unique"
        } else if ast::ForeignKeyConstraint::can_cast(node.kind()) || ast::ReferencesConstraint::can_cast(node.kind()) {
            "foreign key"
        } else if ast::CheckConstraint::can_cast(node.kind()) {
            "check"
        } else if ast::ExcludeConstraint::can_cast(node.kind()) {
            "exclude"
        } else if ast::CreateIndex::can_cast(node.kind()) {
            *counts.entry("index").or_default() += 1;
            continue;
        } else {
            continue;
        };
        if is_of_table() {
            *counts.entry(word).or_default() += 1;
        }
    }
    counts
}

#[derive(Debug, Default)]
struct Tally {
    same: usize,
    tables: usize,
    both_refuse: usize,
    inside_expressions: usize,
    only_we_refuse: usize,
    wrong: Vec<String>,
}

fn start_of(text: &str) -> &str {
    text.char_indices().nth(1000).map_or(text, |(at, _)| &text[..at])
}

fn compare(text: &str, tally: &mut Tally) {
    let reading = read(text);
    let parse = SourceFile::parse(text);
    let errors = parse.errors();
    match (reading.problems.is_empty(), errors.is_empty()) {
        (true, true) => {
            let (ours, theirs) = (ours(text, &reading.schema), theirs(&parse.tree()));
            let lines = |said: &[Said]| {
                let column = |table: &Said, column: &String| format!("{}: {column}", table.name);
                said.iter()
                    .flat_map(|table| table.columns.iter().map(|c| column(table, c)).collect::<Vec<_>>())
                    .collect()
            };
            let (our_lines, their_lines): (Vec<String>, Vec<String>) = (lines(&ours), lines(&theirs));
            if ours != theirs {
                let differing: Vec<_> =
                    our_lines.iter().zip(&their_lines).filter(|(one, other)| one != other).collect();
                let counts = (ours.len(), theirs.len());
                tally.wrong.push(format!("{}\n  tables {counts:?}, ours and theirs {differing:#?}", start_of(text)));
            }
            tally.tables += ours.len();
            tally.same += 1;
        }
        (true, false) => {
            let managed = reading.schema.tables.iter().filter(|table| table.is_managed());
            let opaque: Vec<Range<usize>> = managed.flat_map(expressions).collect();
            let inside = |at: usize| opaque.iter().any(|span| span.start <= at && at <= span.end + 2);
            let is_managed = reading.schema.tables.iter().any(SqlTable::is_managed);
            if errors.iter().any(|error| inside(usize::from(error.range().start()))) {
                tally.inside_expressions += 1;
            } else if is_managed {
                tally.wrong.push(format!("{}\n  is read, they say {:?}", start_of(text), errors.first()));
            }
        }
        (false, true) => tally.only_we_refuse += 1,
        (false, false) => tally.both_refuse += 1,
    }
}

fn dumps() -> Vec<(String, String)> {
    let mut dumps = vec![
        ("kitchen_sink.sql".to_owned(), for_both(KITCHEN_SINK)),
        ("kitchen_sink.dump.sql".to_owned(), for_both(DUMP)),
    ];
    let root = std::env::var("PCRD_SCHEMAS_DIR")
        .unwrap_or(concat!(env!("CARGO_MANIFEST_DIR"), "/../../.cache/schemas").to_owned());
    let found = std::fs::read_dir(root).into_iter().flatten().map(|entry| entry.unwrap().path().join("dump.sql"));
    for path in found.filter(|path| path.exists()) {
        dumps.push((path.display().to_string(), std::fs::read_to_string(&path).unwrap()));
    }
    dumps
}

#[test]
fn whole_files_are_read_alike() {
    for (name, text) in dumps() {
        let mut tally = Tally::default();
        compare(&text, &mut tally);
        assert!(tally.wrong.is_empty() && tally.same == 1, "{name}: {}", tally.wrong.join("\n"));
        let (ours, theirs) = (our_counts(&text, &read(&text).schema), their_counts(&SourceFile::parse(&text).tree()));
        assert_eq!(ours, theirs, "{name}");
    }
}

#[test]
fn mutations_are_read_alike_or_refused() {
    let mut tally = Tally::default();
    for sql in STATEMENTS.iter().flat_map(|statement| mutations(statement)) {
        compare(&sql, &mut tally);
    }
    // The statements of files, cut and mutated token by token.
    for (_, text) in dumps() {
        let spans: Vec<Range<usize>> = read(&text)
            .schema
            .tables
            .iter()
            .filter(|table| table.is_managed())
            .map(|table| table.span.clone())
            .collect();
        // Each kind of table comes often; the widest would take all the time.
        for span in spans.into_iter().filter(|span| span.len() < 1500).take(12) {
            let sql = tokens(&text[span]);
            mutations(&sql).iter().for_each(|sql| compare(sql, &mut tally));
        }
    }
    assert!(tally.wrong.is_empty(), "{} of them:\n{}", tally.wrong.len(), tally.wrong.join("\n"));
    assert!(tally.both_refuse > 1000 && tally.same > 1000, "{tally:?}");
    assert!(tally.inside_expressions * 20 < tally.both_refuse, "{tally:?}");
}

/// With one space between tokens, as `mutations` wants it; tokens with a space inside are left as one word each.
fn tokens(sql: &str) -> String {
    let file = SourceFile::parse(sql);
    let tokens = file.syntax_node().descendants_with_tokens().filter_map(|element| element.into_token());
    let tokens = tokens.map(|token| token.text().to_owned()).filter(|text| !text.trim().is_empty());
    tokens.filter(|text| !text.starts_with("--")).collect::<Vec<_>>().join(" ")
}
