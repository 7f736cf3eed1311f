//! No input panics, overflows the stack, or is read twice for every level of its nesting.

use pcrd::desired::sql::{FormatError, Level, Reading, SchemaErrors, format, read};
use proptest::prelude::*;

use crate::server::KITCHEN_SINK;

/// What must hold for whatever text.
#[track_caller]
fn check(sql: &str) {
    let Reading { schema, problems, warnings } = read(sql);
    for problem in problems.iter().chain(&warnings) {
        assert!(!problem.labels.is_empty(), "{problem:?}");
        for label in &problem.labels {
            assert!(sql.get(label.span.clone()).is_some(), "{problem:?} points outside of {sql:?}");
        }
    }
    // Formatted, it is shown the same problems or says the same; a second time there is nothing to do.
    match format(sql) {
        Ok(formatted) => assert_eq!(format(&formatted).unwrap(), formatted, "{sql:?}"),
        Err(FormatError::Problems(found)) => assert_eq!(found, problems),
        Err(FormatError::Changed) => panic!("changed: {sql:?}"),
    }
    let refused = schema.statements.iter().filter(|statement| statement.level == Level::Refused).count();
    assert!(refused == 0 || !problems.is_empty(), "{refused} refused and nothing said: {sql:?}");
    for table in &schema.tables {
        for column in &table.columns {
            assert!(sql.get(column.span.clone()).is_some() && !column.span.is_empty());
        }
    }
    if !problems.is_empty() {
        let errors = SchemaErrors::new("x.sql", sql, problems);
        let mut out = String::new();
        miette::JSONReportHandler::new().render_report(&mut out, &errors).unwrap();
    }
}

const WORDS: &[&str] = &[
    "CREATE",
    "TABLE",
    "t",
    "(",
    ")",
    ",",
    ";",
    "a",
    "int",
    "NOT",
    "NULL",
    "DEFAULT",
    "'x'",
    "CASE",
    "WHEN",
    "END",
    "[",
    "]",
    "--",
    "/*",
    "*/",
    "\n",
    "$$",
    "$x$",
    "\"",
    "'",
    "E'",
    "\\",
    "::",
    "ALTER",
    "ADD",
    "CONSTRAINT",
    "PRIMARY KEY",
    "CHECK",
    "-- pcrd: renamed_from x\n",
    "-- pcrd: drops\n",
    "\\connect",
    "COPY t FROM stdin;",
    "\\.",
    "1",
    "é",
    "\u{feff}",
    "\0",
    "COMMENT ON TABLE t IS",
    "CREATE INDEX ON t (a)",
    "SET search_path =",
    "PARTITION OF",
    "GENERATED ALWAYS AS",
    "ENUM",
    "U&\"",
    "BEGIN ATOMIC",
    "FUNCTION",
    "interval",
    "year",
    "COLLATE",
    "REFERENCES",
    "{",
    "$1",
    ".",
    "..",
    "\r",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 400, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_text(sql in "\\PC{0,200}") {
        check(&sql);
    }

    #[test]
    fn any_words(words in proptest::collection::vec(proptest::sample::select(WORDS), 0..60)) {
        check(&words.join(" "));
        check(&words.concat());
    }

    /// A table with one token deleted, doubled or exchanged with its neighbour.
    #[test]
    fn mutations(at in 0..100_000_usize, how in 0..3) {
        let tokens: Vec<&str> = KITCHEN_SINK.split_inclusive([' ', '\n', '(', ')', ',', ';']).collect();
        let at = at % (tokens.len() - 1);
        let mut mutated = tokens.clone();
        match how {
            0 => { mutated.remove(at); }
            1 => mutated.insert(at, tokens[at]),
            _ => mutated.swap(at, at + 1),
        }
        // The whole file would be read each time: the neighbourhood is enough.
        let from = at.saturating_sub(150);
        let to = (at + 150).min(mutated.len());
        check(&mutated[from..to].concat());
    }
}

/// Depth costs no stack, and length costs no more than length. A quadratic reader would not come back from these.
#[test]
fn shapes_that_hurt_readers() {
    const N: usize = 20_000;
    let shapes = [
        "(".repeat(N),
        format!("CREATE TABLE t (a int DEFAULT {}1{})", "(".repeat(N), ")".repeat(N)),
        format!("CREATE TABLE t (a int CHECK {}1{})", "([".repeat(90), "])".repeat(90)),
        format!("CREATE TABLE t (a int DEFAULT {} 1", "CASE ".repeat(N)),
        format!("CREATE TABLE t (a int DEFAULT {} 1 {})", "CASE WHEN 1 THEN ".repeat(150), "END ".repeat(150)),
        format!("CREATE TABLE t (a int DEFAULT {} 1 {})", "CASE WHEN 1 THEN ".repeat(150), "END ".repeat(149)),
        format!("CREATE TABLE t (a int DEFAULT {}1)", "- ".repeat(N)),
        "/*".repeat(N),
        format!("CREATE TABLE t ({} {} a int)", "/*".repeat(150), "*/".repeat(150)),
        format!("{}{}", "/*".repeat(N), "*/".repeat(N)),
        "$".repeat(N),
        "$a$ ".repeat(N + 1),
        "$a$b".repeat(N),
        "'".repeat(N + 1),
        "\"".repeat(N + 1),
        ";".repeat(N),
        "\\\n".repeat(N),
        "\\connect x\n".repeat(N),
        "-- pcrd: ignore\n".repeat(N),
        format!("CREATE TABLE t ({}a int)", "-- pcrd: using a\n".repeat(N)),
        format!(
            "-- pcrd: drops {}\nCREATE TABLE t (a int)",
            (0..N).map(|n| format!("c{n},")).collect::<String>() + "z"
        ),
        (0..N).map(|n| format!("-- pcrd: accept C{n} reason=\"x\"\n")).collect::<String>() + "CREATE TABLE t (a int)",
        "DROP TABLE t;".repeat(N),
        "ALTER TABLE t ADD CHECK (true);".repeat(N / 10),
        format!("CREATE TABLE t ({} z int)", (0..3000).map(|n| format!("c{n} int,")).collect::<String>()),
        format!("CREATE TABLE t (a int, {} CHECK (true))", "UNIQUE (a), ".repeat(3000)),
        format!("CREATE TABLE t (a int, UNIQUE ({} a))", "a, ".repeat(3000)),
        format!("CREATE TYPE e AS ENUM ({} 'z')", (0..5000).map(|n| format!("'{n}',")).collect::<String>()),
        format!("CREATE TABLE t (a int); {}", "ALTER TABLE t ADD CONSTRAINT c CHECK (true);".repeat(1500)),
        format!("CREATE TABLE t (a int); {}", "COMMENT ON COLUMN t.b IS 'x';".repeat(1500)),
        format!("CREATE TABLE t (a int); {}", "ALTER TABLE u CLUSTER ON v;".repeat(1500)),
        "COPY t FROM stdin;\n".repeat(N),
        format!("CREATE FUNCTION f() {}", "BEGIN ATOMIC ".repeat(N)),
        "x".repeat(N),
        "x.".repeat(N),
        "1e".repeat(N),
        format!("CREATE TABLE t (a {})", "x.".repeat(N)),
        format!("CREATE TABLE t (a x{})", "[]".repeat(N / 4)),
    ];
    for sql in shapes {
        check(&sql);
    }
}

/// As deep as it may be, on the stack of a test's thread; one more is said at its place.
#[test]
fn the_limit_of_depth_is_a_limit() {
    let nested =
        |depth: usize| format!("CREATE TABLE t (a int CHECK {}1{})", "(".repeat(depth - 1), ")".repeat(depth - 1));
    assert!(read(&nested(200)).problems.is_empty(), "{:?}", read(&nested(200)).problems);
    let problems = read(&nested(201)).problems;
    assert_eq!(problems.len(), 1);
    assert_eq!(problems[0].kind.code(), "pcrd::schema::too_deep");
}
