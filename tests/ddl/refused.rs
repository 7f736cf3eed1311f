//! Mistakes: one problem each, all at once, each at its place; and what PostgreSQL refuses is never read as a table.

use miette::{GraphicalReportHandler, GraphicalTheme};
use pcrd::desired::sql::{Level, SchemaErrors, read};
use pcrd::pg::local::Cluster;

use crate::support::{connect_to, run};

fn rendered(sql: &str) -> String {
    let errors = SchemaErrors::new("schema.sql", sql, read(sql).problems);
    let mut out = String::new();
    let handler = GraphicalReportHandler::new_themed(GraphicalTheme::unicode_nocolor()).with_width(100);
    handler.render_report(&mut out, &errors).unwrap();
    out
}

/// (SQL, code after pcrd::schema::, what the first label covers)
const MISTAKES: &[(&str, &str, &str)] = &[
    ("CREATE TABLE t (a text DEFAULT 'x);\nCREATE TABLE u (a int);", "open", "'"),
    ("CREATE TABLE \"t (a int);", "open", "\""),
    ("CREATE TABLE t (a int) /* end", "open", "/*"),
    ("CREATE FUNCTION f() AS $body$ SELECT 1; $$;", "open", "$body$"),
    ("CREATE TABLE t (a int;\nCREATE TABLE u (a int);", "unbalanced", "("),
    ("CREATE TABLE t (a int[);", "unbalanced", ")"),
    ("CREATE TABLE t a int);", "unbalanced", ")"),
    ("CREATE TABLE t (a int) b int);", "unbalanced", ")"),
    ("CREATE TABLE t (a int b int);", "syntax", "b"),
    ("CREATE TABLE t (a int,);", "syntax", ")"),
    ("CREATE TABLE t (a int DEFAULT);", "syntax", ")"),
    ("CREATE TABLE t (a int DEFAULT NOT NULL);", "syntax", "NOT"),
    ("CREATE TABLE t (a int DEFAULT 1 AND 2);", "syntax", "AND"),
    ("CREATE TABLE t (a int DEFERRABLE);", "syntax", "DEFERRABLE"),
    ("CREATE TABLE select (a int);", "syntax", "select"),
    ("CREATE TABLE t (a int) CREATE TABLE u (a int);", "syntax", "CREATE"),
    ("CREATE TABLE t", "syntax", "t"),
    ("CREATE TABLE \"a\0b\" (a int);", "syntax", "\0"),
    ("COMMENT ON TABLE t IS 'a\0b';", "syntax", "\0"),
    ("CREATE TABLE t (a \0 int);", "syntax", "\0"),
    ("CREATE TABLE t (U&\"x\" int);", "syntax", "U&\"x\""),
    ("ALTER TABLE t ADD CONSTRAINT c UNIQUE a;", "syntax", "a"),
    ("CREATE SCHEMA s CREATE TABLE t (a int);", "syntax", "CREATE"),
    ("\\set x y\nCREATE TABLE t (a int);", "psql", "\\set x y"),
    ("CREATE TABLE t (a int)\n\\gset\n;", "psql", "\\gset"),
    ("CREATE TABLE t (a int);\n\\connect other\n", "refused", "\\connect other"),
    ("COPY t (a) FROM stdin;\n1\n'(\n\\.\nCREATE TABLE u (a int);", "data", "COPY t (a) FROM stdin"),
    ("INSERT INTO t VALUES (1);", "data", "INSERT INTO t VALUES (1)"),
    ("SELECT pg_catalog.setval('s', 1, true);", "data", "SELECT pg_catalog.setval('s', 1, true)"),
    ("BEGIN;", "refused", "BEGIN"),
    ("DO $$ BEGIN END $$;", "refused", "DO $$ BEGIN END $$"),
    ("CRATE TABLE t (a int);", "refused", "CRATE TABLE t (a int)"),
    ("DROP TABLE t;", "script", "DROP TABLE t"),
    ("CREATE TABLE t (a int); ALTER TABLE t RENAME TO u;", "script", "RENAME TO u"),
    ("CREATE TABLE t (a int); ALTER TABLE t ADD COLUMN b int;", "script", "ADD COLUMN b int"),
    ("CREATE TABLE t (a int); ALTER TABLE t ALTER a TYPE bigint;", "script", "ALTER a TYPE bigint"),
    ("CREATE TABLE t (a int); ALTER TABLE t ALTER a SET DATA TYPE bigint;", "script", "ALTER a SET DATA TYPE bigint"),
    ("CREATE TABLE t (a int); ALTER TABLE t ALTER a DROP NOT NULL;", "script", "ALTER a DROP NOT NULL"),
    ("CREATE TABLE t (a int); ALTER TABLE t DROP CONSTRAINT x, ADD CHECK (a > 0);", "script", "DROP CONSTRAINT x"),
    ("ALTER TYPE mood ADD VALUE 'x';", "script", "ALTER TYPE mood ADD VALUE 'x'"),
    ("ALTER VIEW v RENAME TO w;", "script", "ALTER VIEW v RENAME TO w"),
    ("ALTER INDEX i RENAME TO j;", "script", "ALTER INDEX i RENAME TO j"),
    ("CREATE SEQUENCE s; ALTER SEQUENCE s RESTART WITH 5;", "script", "ALTER SEQUENCE s RESTART WITH 5"),
    ("SET standard_conforming_strings = off;", "refused", "SET standard_conforming_strings = off"),
    ("SET default_with_oids = true;", "refused", "SET default_with_oids = true"),
    ("SET client_encoding = 'LATIN1'; CREATE TABLE \"é\" ();", "refused", "SET client_encoding = 'LATIN1'"),
    ("CREATE TABLE t (a SETOF int);", "refused", "SETOF int"),
    ("ALTER TABLE nowhere ADD CHECK (true);", "unknown", "nowhere"),
    ("CREATE TABLE orders (a int); CREATE INDEX i ON oders (a);", "unknown", "oders"),
    ("CREATE TABLE t (amount int, PRIMARY KEY (amout));", "unknown", "amout"),
    ("CREATE TABLE t (amount int); CREATE INDEX i ON t (amout);", "unknown", "amout"),
    ("CREATE TABLE t (a int); ALTER TABLE t ALTER b SET STATISTICS 5;", "unknown", "b"),
    ("CREATE TABLE t (a int); COMMENT ON COLUMN t.b IS 'x';", "unknown", "b"),
    ("CREATE TABLE t (a int); ALTER TABLE t CLUSTER ON i;", "unknown", "i"),
    ("CREATE TABLE p (a int); CREATE TABLE t PARTITION OF p DEFAULT;", "unknown", "p"),
    ("CREATE TABLE t (a int); CREATE TABLE t (b int);", "duplicate", "t"),
    ("CREATE TABLE t (a int); CREATE INDEX t ON t (a);", "duplicate", "t"),
    ("CREATE TABLE t (a int, A text);", "duplicate", "A"),
    ("CREATE TABLE t (a int PRIMARY KEY, b int, PRIMARY KEY (b));", "duplicate", "PRIMARY KEY (b)"),
    ("CREATE TABLE t (a int, UNIQUE (a, a));", "duplicate", "a"),
    ("CREATE TABLE t (a int CONSTRAINT c CHECK (a > 0), CONSTRAINT c CHECK (a > 1));", "duplicate", "c"),
    ("CREATE TYPE m AS ENUM ('a', 'a');", "duplicate", "'a'"),
    ("CREATE TABLE t (a int DEFAULT 1 DEFAULT 2);", "contradiction", "2"),
    ("CREATE TABLE t (a int NULL NOT NULL);", "contradiction", "NULL"),
    ("CREATE TABLE t (a int DEFAULT 1 GENERATED ALWAYS AS IDENTITY);", "contradiction", "GENERATED ALWAYS AS IDENTITY"),
    ("CREATE TABLE t (a serial DEFAULT 1);", "contradiction", "serial"),
    ("CREATE TABLE t (a int CHECK (a > 0) DEFERRABLE);", "contradiction", "DEFERRABLE"),
    ("CREATE TABLE t (a int, FOREIGN KEY (a) REFERENCES u (b, c));", "contradiction", "REFERENCES u (b, c)"),
    ("CREATE TABLE t (xmin int);", "name", "xmin"),
    ("SET search_path = ''; CREATE TABLE t (a int);", "name", "t"),
    ("CREATE TABLE a.b.c (a int);", "name", "a.b.c"),
];

#[test]
fn a_mistake_is_one_problem_at_its_place() {
    for (sql, code, place) in MISTAKES {
        let reading = read(sql);
        let [problem] = reading.problems.as_slice() else { panic!("{sql}\n{:#?}", reading.problems) };
        assert_eq!(problem.kind.code(), format!("pcrd::schema::{code}"), "{sql}\n{problem:?}");
        assert_eq!(&sql[problem.labels[0].span.clone()], *place, "{sql}\n{problem:?}");
        assert!(reading.schema.counts()[&Level::Refused] >= 1, "{sql}");
    }
}

#[test]
fn a_mistake_does_not_hide_the_next_statement() {
    for (sql, ..) in
        MISTAKES.iter().filter(|(sql, code, _)| *code != "open" && !sql.contains("BEGIN END") && sql.ends_with(';'))
    {
        let sql = format!("CREATE SCHEMA x; SET search_path = x; {sql} CREATE TABLE sound.table_of_test (a int);");
        let schema = read(&sql).schema;
        let found = schema.tables.iter().any(|table| table.name.value.to_string() == "sound.table_of_test");
        assert!(found, "{sql}");
    }
}

#[test]
fn every_kind_of_error_is_shown() {
    let sql = r#"\set ON_ERROR_STOP on
CREATE TABLE public.orders (
    id bigint NOT NUL,
    total numeric(10,2)
);
CREATE TABLE customers (
    id bigint PRIMARY KEY, -- pcrd: renamed_form cust_id
    name text,
    name text,
    "order" int DEFAULT 1 GENERATED ALWAYS AS IDENTITY,
    UNIQUE (nme)
);
CREATE TABLE broken (a int;
COPY customers FROM stdin;
1	Robert'); DROP TABLE students;--
\.
ALTER TABLE customers RENAME COLUMN name TO title;
ALTER TABLE custmers ADD PRIMARY KEY (id);
DROP VIEW v;
-- pcrd: ignore
CREATE VIEW v AS SELECT 1;
BEGIN;
FROBNICATE;
SET search_path = '';
CREATE TABLE homeless (xmin int);
SELECT 'no end
"#;
    insta::assert_snapshot!(rendered(sql));
}

/// Each statement by itself: PostgreSQL refuses to load it, so it must not be read without a problem. (The other way
/// round is the kitchen sink's.) Expressions in brackets are PostgreSQL's alone to understand, and not here.
const REFUSED_BY_POSTGRESQL: &[&str] = &[
    "CREATE TABLE t (a int NOT)",
    "CREATE TABLE t (a int NOT NULL NULL)",
    "CREATE TABLE t (a int NULL NULL NOT NULL)",
    "CREATE TABLE t (a)",
    "CREATE TABLE t (a int int)",
    "CREATE TABLE t (int)",
    "CREATE TABLE t a int",
    "CREATE TABLE t (a int,, b int)",
    "CREATE TABLE t (,a int)",
    "CREATE TABLE (a int)",
    "CREATE TABLE t (a int) WITH",
    "CREATE TABLE t (a int) WITH ()",
    "CREATE TABLE t (a int) TABLESPACE",
    "CREATE TABLE t (a int) INHERITS ()",
    "CREATE TABLE t (a int) PARTITION BY (a)",
    "CREATE TABLE t t (a int)",
    "CREATE TABLE TABLE t (a int)",
    "TABLE CREATE t (a int)",
    "CREATE CREATE TABLE t (a int)",
    "CREATE UNLOGGED UNLOGGED TABLE t (a int)",
    "CREATE TABLE t (a int DEFAULT 1 2)",
    "CREATE TABLE t (a int DEFAULT 1 +)",
    "CREATE TABLE t (a int DEFAULT a b)",
    "CREATE TABLE t (a int DEFAULT 'a' 'b')",
    "CREATE TABLE t (a int DEFAULT 1::)",
    "CREATE TABLE t (a bool DEFAULT NOT true)",
    "CREATE TABLE t (a bool DEFAULT 1 IN (1))",
    "CREATE TABLE t (a bool DEFAULT 'a' LIKE 'a')",
    "CREATE TABLE t (a bool DEFAULT 1 BETWEEN 0 AND 2)",
    "CREATE TABLE t (a bool DEFAULT 1 IS NULL)",
    "CREATE TABLE t (a timestamp DEFAULT now() AT TIME ZONE 'utc')",
    "CREATE TABLE t (a bool DEFAULT true OR false)",
    "CREATE TABLE t (a int DEFAULT CASE WHEN true THEN 1)",
    "CREATE TABLE t (a int DEFAULT 1 DEFAULT 1)",
    "CREATE TABLE t (a int CHECK)",
    "CREATE TABLE t (a int CHECK a > 0)",
    "CREATE TABLE t (a int CONSTRAINT CHECK (a > 0))",
    "CREATE TABLE t (a int CONSTRAINT c)",
    "CREATE TABLE t (a int, CONSTRAINT c)",
    "CREATE TABLE t (a int PRIMARY)",
    "CREATE TABLE t (a int KEY)",
    "CREATE TABLE t (a int PRIMARY KEY PRIMARY KEY)",
    "CREATE TABLE t (a int PRIMARY KEY (a))",
    "CREATE TABLE t (a int, PRIMARY KEY)",
    "CREATE TABLE t (a int, PRIMARY KEY ())",
    "CREATE TABLE t (a int, PRIMARY KEY (b))",
    "CREATE TABLE t (a int, PRIMARY KEY (a, a))",
    "CREATE TABLE t (a int, PRIMARY KEY (lower(a)))",
    "CREATE TABLE t (a int, UNIQUE (a DESC))",
    "CREATE TABLE t (a int, FOREIGN KEY (a))",
    "CREATE TABLE t (a int, FOREIGN KEY REFERENCES t)",
    "CREATE TABLE t (a int REFERENCES)",
    "CREATE TABLE t (a int PRIMARY KEY, b int REFERENCES t ON DELETE)",
    "CREATE TABLE t (a int PRIMARY KEY, b int REFERENCES t ON DELETE CASCADE ON DELETE CASCADE)",
    "CREATE TABLE t (a int PRIMARY KEY, b int REFERENCES t MATCH PARTIAL)",
    "CREATE TABLE t (a int GENERATED ALWAYS)",
    "CREATE TABLE t (a int GENERATED BY DEFAULT AS (1) STORED)",
    "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY GENERATED ALWAYS AS IDENTITY)",
    "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY NULL)",
    "CREATE TABLE t (a int GENERATED ALWAYS AS IDENTITY (START 1 START))",
    "CREATE TABLE t (a int DEFAULT 1 GENERATED ALWAYS AS (1) STORED)",
    "CREATE TABLE t (a serial GENERATED ALWAYS AS IDENTITY)",
    "CREATE TABLE t (a text COLLATE)",
    "CREATE TABLE t (a text COLLATE \"C\" COLLATE \"C\")",
    "CREATE TABLE t (a text COMPRESSION)",
    "CREATE TABLE t (a text NOT NULL COMPRESSION pglz)",
    "CREATE TABLE t (a int INITIALLY DEFERRED)",
    "CREATE TABLE t (a int NOT NULL DEFERRABLE)",
    "CREATE TABLE t (a int UNIQUE NOT VALID)",
    "CREATE TABLE t (a int, CHECK (a > 0) DEFERRABLE)",
    "CREATE TABLE t (a int, EXCLUDE (a))",
    "CREATE TABLE t (a int, EXCLUDE USING gist (a WITH))",
    "CREATE TABLE t (a int, LIKE)",
    "CREATE TABLE t (a numeric(10,))",
    "CREATE TABLE t (a varchar())",
    "CREATE TABLE t (a int[)",
    "CREATE TABLE t (a int array[])",
    "CREATE TABLE t (a timestamp with zone)",
    "CREATE TABLE t (a interval year to)",
    "CREATE TABLE t (a double)",
    "CREATE TABLE t (a SETOF int)",
    "CREATE TABLE t (a default)",
    "CREATE TABLE t (a int, a text)",
    "CREATE TABLE t (a int, ctid int)",
    "CREATE TABLE left (a int)",
    "CREATE TABLE t (left int)",
    "CREATE TABLE t.a.b.c (a int)",
    "CREATE TABLE t. (a int)",
    "CREATE TABLE \"\" (a int)",
    "CREATE TABLE 1t (a int)",
    "CREATE TABLE t (1a int)",
    "CREATE TABLE t (a int) OF",
    "CREATE TABLE t PARTITION OF",
    "CREATE TABLE t PARTITION OF u FOR VALUES",
    "CREATE TABLE t PARTITION OF nowhere DEFAULT",
    "CREATE TABLE t (a int); CREATE INDEX ON t",
    "CREATE TABLE t (a int); CREATE INDEX ON t ()",
    "CREATE TABLE t (a int); CREATE INDEX i ON t (a) WHERE",
    "CREATE TABLE t (a int); CREATE INDEX i ON t (b)",
    "CREATE TABLE t (a int); CREATE INDEX i ON t (a + 1)",
    "CREATE TABLE t (a int); CREATE INDEX i ON t (a ASC DESC)",
    "CREATE TABLE t (a int); CREATE INDEX s.i ON t (a)",
    "CREATE TABLE t (a int); CREATE INDEX t ON t (a)",
    "CREATE TABLE t (a int); CREATE INDEX IF NOT EXISTS ON t (a)",
    "CREATE TABLE t (a int); ALTER TABLE t",
    "CREATE TABLE t (a int); ALTER TABLE t ADD CONSTRAINT c",
    "CREATE TABLE t (a int); ALTER TABLE t ADD PRIMARY KEY (a),",
    "CREATE TABLE t (a int); ALTER TABLE t ADD PRIMARY KEY (a); ALTER TABLE t ADD PRIMARY KEY (a)",
    "CREATE TABLE t (a int); ALTER TABLE t ADD CONSTRAINT c UNIQUE (b)",
    "CREATE TABLE t (a int); ALTER TABLE t ALTER b SET DEFAULT 1",
    "CREATE TABLE t (a int); ALTER TABLE t ALTER a SET DEFAULT",
    "CREATE TABLE t (a int); ALTER TABLE t ALTER a SET STATISTICS",
    "CREATE TABLE t (a int); ALTER TABLE t REPLICA IDENTITY",
    "CREATE TABLE t (a int); ALTER TABLE t REPLICA IDENTITY USING INDEX nowhere",
    "CREATE TABLE t (a int); ALTER TABLE t CLUSTER ON nowhere",
    "CREATE TABLE t (a int); ALTER TABLE ONLY u ADD CHECK (true)",
    "CREATE TABLE t (a int); COMMENT ON TABLE t 'x'",
    "CREATE TABLE t (a int); COMMENT ON TABLE t IS x",
    "CREATE TABLE t (a int); COMMENT ON COLUMN t.b IS 'x'",
    "CREATE TABLE t (a int); CREATE TABLE t (a int)",
    "CREATE SEQUENCE s START",
    "CREATE SEQUENCE s; CREATE SEQUENCE s",
    "CREATE SEQUENCE s MAXVALUE 99999999999999999999",
    "CREATE SEQUENCE s OWNED BY nowhere.a",
    "ALTER SEQUENCE nowhere OWNED BY NONE",
    "CREATE TYPE m AS ENUM ('a', 'a')",
    "CREATE TYPE m AS ENUM ('a' 'b')",
    "CREATE TYPE m AS ENUM (a)",
    "CREATE DOMAIN d",
    "CREATE DOMAIN d AS int CHECK",
    "SET search_path",
    "CREATE",
    "ALTER",
];

#[tokio::test]
async fn what_postgresql_refuses_is_not_read_silently() {
    let cluster = Cluster::start_with(15, &[("fsync", "off")]).unwrap();
    let client = connect_to(&cluster, "postgres").await;
    let mut silent = Vec::new();
    for sql in REFUSED_BY_POSTGRESQL {
        let loaded = client.batch_execute(&format!("BEGIN; {sql};")).await;
        run(&client, "ROLLBACK").await;
        assert!(loaded.is_err(), "PostgreSQL takes {sql}");
        if read(sql).problems.is_empty() {
            silent.push(*sql);
        }
    }
    // A type that does not exist is no matter of grammar: it is looked for in the catalog.
    silent.retain(|sql| !sql.contains("(a double)"));
    assert!(silent.is_empty(), "{silent:#?}");
}

#[test]
fn control_characters_do_not_reach_the_terminal() {
    let sql = "CREATE TABLE t (\u{1b}[2J \u{9b}x \"a\u{1b}]0;t\u{7}\" int int);\rCREATE\u{1b} x;\r\nDROP \u{7}y";
    let shown = rendered(sql);
    assert!(!shown.contains(['\u{1b}', '\u{7}', '\u{9b}', '\r']), "{shown:?}");
}

#[test]
fn a_file_full_of_mistakes_is_not_shown_in_full() {
    let shown = rendered(&"DROP TABLE t;\n".repeat(500));
    assert!(shown.contains("schema.sql has 500 errors; the first 100 of them"), "{}", &shown[..200]);
    // One line of 1.3 MB: once is enough.
    let shown = rendered(&"DROP TABLE t; ".repeat(100_000));
    assert!(shown.contains("has 100000 errors; the first 1 of them") && shown.len() < 10_000_000);
}
