//! What is read in a statement, beyond what the kitchen sink can compare with a server.

use pcrd::catalog::{Persistence, QualifiedName, ReplicaIdentity};
use pcrd::desired::sql::{ConstraintKind, Level, Reading, SqlSchema, SqlTable, Unsupported, read};

#[track_caller]
pub(crate) fn good(sql: &str) -> SqlSchema {
    let Reading { schema, problems, .. } = read(sql);
    assert!(problems.is_empty(), "{sql}\n{problems:#?}");
    schema
}

#[track_caller]
fn table(sql: &str) -> SqlTable {
    let mut schema = good(sql);
    assert_eq!(schema.tables.len(), 1, "{sql}");
    schema.tables.remove(0)
}

#[test]
fn defaults_end_where_the_next_constraint_begins() {
    for (written, default, not_null) in [
        ("1", "1", false),
        ("1 NOT NULL", "1", true),
        ("NULL NOT NULL", "NULL", true),
        ("'a'::text NOT NULL", "'a'::text", true),
        ("'a'::character varying(10) COLLATE \"C\" NOT NULL", "'a'::character varying(10)", true),
        ("now() CHECK (a IS NOT NULL)", "now()", false),
        ("- 1 + 2 * 3 NOT NULL", "- 1 + 2 * 3", true),
        ("f(1, g(2))[1].x NOT NULL", "f(1, g(2))[1].x", true),
        ("1 IS NOT DISTINCT FROM 2 NOT NULL", "1 IS NOT DISTINCT FROM 2", true),
        (
            "CASE WHEN a AND NOT b THEN CASE c WHEN 1 THEN 2 END END NOT NULL",
            "CASE WHEN a AND NOT b THEN CASE c WHEN 1 THEN 2 END END",
            true,
        ),
        ("interval '1 day' day NOT NULL", "interval '1 day' day", true),
        ("date '2024-01-01' UNIQUE", "date '2024-01-01'", false),
        ("ARRAY[1, 2]::integer[] NOT NULL", "ARRAY[1, 2]::integer[]", true),
        ("'1'::timestamp with time zone NOT NULL", "'1'::timestamp with time zone", true),
        ("CURRENT_TIMESTAMP(3) NOT NULL", "CURRENT_TIMESTAMP(3)", true),
        ("(a -- ) \n) NOT NULL", "(a -- ) \n)", true),
        ("1 OPERATOR(pg_catalog.+) 2 NOT NULL", "1 OPERATOR(pg_catalog.+) 2", true),
        ("$x$ NOT NULL $x$ -- behind\n", "$x$ NOT NULL $x$", false),
        ("left('abc', 1) NOT NULL", "left('abc', 1)", true),
    ] {
        let table = table(&format!("CREATE TABLE t (a text DEFAULT {written}, b integer)"));
        let column = &table.columns[0];
        assert_eq!(column.default.as_ref().unwrap().value, default, "{written}");
        assert_eq!((column.not_null, table.columns.len()), (not_null, 2), "{written}");
    }
}

#[test]
fn spans_cover_what_was_written_and_no_more() {
    let sql = "CREATE TABLE s.t ( -- head\n  a numeric(1,2) -- type\n  DEFAULT 1 /* c */ , -- behind\n  b \"B\".x\n);";
    let table = table(sql);
    let at = |span: &std::ops::Range<usize>| &sql[span.clone()];
    assert_eq!(at(&table.name.span), "s.t");
    assert_eq!(at(&table.columns[0].ty.span), "numeric(1,2)");
    assert_eq!(at(&table.columns[0].default.as_ref().unwrap().span), "1");
    assert_eq!(at(&table.columns[0].span), "a numeric(1,2) -- type\n  DEFAULT 1");
    assert_eq!(at(&table.columns[1].ty.span), "\"B\".x");
    assert_eq!(at(&table.span), &sql[..sql.len() - 1]);
}

#[test]
fn names_are_folded_and_cut_as_postgresql_does() {
    let long = "x".repeat(62);
    let sql = format!("CREATE TABLE \"My\".Tab (ID int, \"ID\" int, ÄB int, {long}éé int)");
    let reading = read(&sql);
    assert!(reading.problems.is_empty(), "{:?}", reading.problems);
    let table = &reading.schema.tables[0];
    assert_eq!(table.name.value, QualifiedName::new("My", "tab").unwrap());
    let names: Vec<&str> = table.columns.iter().map(|column| column.name.value.as_str()).collect();
    assert_eq!(names, ["id", "ID", "Äb", long.as_str()]);
    let [warning] = reading.warnings.as_slice() else { panic!("{:?}", reading.warnings) };
    assert!(warning.message.contains("has 66 bytes"), "{}", warning.message);
}

#[test]
fn search_path_decides_where_a_name_is() {
    let names =
        |sql: &str| -> Vec<String> { good(sql).tables.iter().map(|table| table.name.value.to_string()).collect() };
    assert_eq!(names("CREATE TABLE t ()"), ["public.t"]);
    assert_eq!(names("SET search_path = a, b; CREATE TABLE t (); CREATE TABLE c.t ()"), ["a.t", "c.t"]);
    assert_eq!(names("SET search_path TO \"$user\", 'B'; CREATE TABLE t ()"), ["\"B\".t"]);
    assert_eq!(names("SELECT pg_catalog.set_config('search_path', 'X, \"Y\"', false); CREATE TABLE t ()"), ["x.t"]);
    assert_eq!(names("SET search_path = a; SET search_path TO DEFAULT; CREATE TABLE t ()"), ["public.t"]);
    assert_eq!(names("SET search_path = a;\n\\connect other\nCREATE TABLE t ()"), ["public.t"]);
    // What exists is found along the path, what is new is created in its first schema.
    let schema = good("CREATE TABLE b.t (a int); SET search_path = a, b; ALTER TABLE t ADD CHECK (a > 0);");
    assert_eq!(schema.tables[0].constraints.len(), 1);
}

#[test]
fn what_is_said_later_is_folded_in() {
    let schema = good(
        "CREATE SEQUENCE s.q INCREMENT BY -1 NO CYCLE; CREATE TABLE s.t (a int, b int, c text);
         ALTER TABLE ONLY s.t ADD CONSTRAINT p PRIMARY KEY (a), ADD UNIQUE (b) DEFERRABLE INITIALLY DEFERRED;
         ALTER SEQUENCE s.q OWNED BY s.t.a; ALTER TABLE s.t ALTER a SET DEFAULT nextval('s.q'), ALTER c SET STORAGE PLAIN;
         ALTER TABLE s.t REPLICA IDENTITY USING INDEX p; ALTER TABLE s.t CLUSTER ON p; ALTER TABLE s.t SET (fillfactor=50);
         COMMENT ON CONSTRAINT p ON s.t IS 'key'; CREATE INDEX i ON s.t (lower(c)); COMMENT ON INDEX s.i IS 'lower';",
    );
    let table = &schema.tables[0];
    assert!(table.columns[0].not_null && !table.columns[1].not_null);
    assert_eq!(table.columns[0].default.as_ref().unwrap().value, "nextval('s.q')");
    assert_eq!(table.columns[2].storage.as_ref().unwrap().value, "plain");
    assert_eq!(table.columns.iter().map(|column| column.name.value.as_str()).collect::<Vec<_>>(), ["a", "b", "c"]);
    assert!(table.constraints[1].initially_deferred && table.constraints[1].deferrable);
    assert_eq!(table.constraints[0].comment.as_ref().unwrap().value, "key");
    assert!(matches!(&table.replica_identity.as_ref().unwrap().value, ReplicaIdentity::Index(i) if i.as_str() == "p"));
    assert_eq!(table.cluster_on.as_ref().unwrap().value.as_str(), "p");
    assert_eq!(table.options[0].value, "fillfactor=50");
    assert_eq!(table.indexes[0].elements[0].text.value, "lower(c)");
    assert_eq!(table.indexes[0].comment.as_ref().unwrap().value, "lower");
    assert_eq!(schema.sequences[0].owned_by.as_ref().unwrap().value.1.as_str(), "a");
    assert_eq!(schema.sequences[0].options.increment, Some(-1));
}

#[test]
fn constraints_keep_their_parts() {
    let table = table(
        "CREATE UNLOGGED TABLE t (a int, b int REFERENCES x.y (z) MATCH FULL ON DELETE SET NULL (b) DEFERRABLE NOT VALID,
         UNIQUE NULLS NOT DISTINCT (a, b) INCLUDE (c) WITH (fillfactor = 3) USING INDEX TABLESPACE ts, c int,
         CONSTRAINT w CHECK (a > 0) NO INHERIT NOT VALID, EXCLUDE USING gist (c WITH =) WHERE (c > 0)) TABLESPACE big",
    );
    let ConstraintKind::ForeignKey(key) = &table.constraints[0].kind else { panic!("{:?}", table.constraints[0]) };
    assert!(key.match_full && table.constraints[0].not_valid && table.constraints[0].deferrable);
    assert_eq!(key.on_delete.as_ref().unwrap().value, "SET NULL (B)");
    assert_eq!((key.table.value.to_string().as_str(), key.references[0].value.as_str()), ("x.y", "z"));
    let ConstraintKind::Unique { key, nulls_not_distinct: true } = &table.constraints[1].kind else { panic!() };
    assert_eq!((key.columns.len(), key.include.len()), (2, 1));
    assert_eq!(table.constraints[1].tablespace.as_ref().unwrap().value.as_str(), "ts");
    assert!(table.constraints[2].no_inherit && table.constraints[2].not_valid);
    let ConstraintKind::Exclude(text) = &table.constraints[3].kind else { panic!() };
    assert_eq!(text.value, "USING gist (c WITH =) WHERE (c > 0)");
    assert_eq!((table.persistence, table.tablespace.unwrap().value.as_str()), (Persistence::Unlogged, "big"));
}

#[test]
fn what_newer_versions_have_is_read() {
    let table = table(
        "CREATE TABLE t (id int, valid tsrange, v int GENERATED ALWAYS AS (id + 1) VIRTUAL, w int GENERATED ALWAYS AS (id),
         s text STORAGE EXTERNAL COMPRESSION lz4 COLLATE \"C\", CONSTRAINT nn NOT NULL s,
         PRIMARY KEY (id, valid WITHOUT OVERLAPS), CHECK (id > 0) NOT ENFORCED,
         FOREIGN KEY (id, PERIOD valid) REFERENCES p (id, PERIOD valid))",
    );
    assert!(!table.columns[2].generated.as_ref().unwrap().value.stored);
    assert!(!table.columns[3].generated.as_ref().unwrap().value.stored);
    assert!(table.columns[4].not_null);
    let (storage, compression) = (table.columns[4].storage.clone(), table.columns[4].compression.clone());
    assert_eq!((storage.unwrap().value, compression.unwrap().value), ("external".to_owned(), "lz4".to_owned()));
    assert!(matches!(&table.constraints[0].kind, ConstraintKind::PrimaryKey(key) if key.without_overlaps));
    assert!(table.constraints[1].not_enforced);
    assert!(
        matches!(&table.constraints[2].kind, ConstraintKind::ForeignKey(key) if key.period && key.columns.len() == 2)
    );
}

#[test]
fn tables_that_cannot_be_migrated_are_not_managed() {
    for (sql, why) in [
        ("CREATE TABLE t (a int) INHERITS (p, q)", Unsupported::Inherits),
        ("CREATE TABLE t OF ty", Unsupported::OfType),
        ("CREATE TABLE t (a int, LIKE u INCLUDING ALL)", Unsupported::Like),
        ("CREATE GLOBAL TEMPORARY TABLE t (a int)", Unsupported::Temporary),
        ("CREATE TABLE t (a, b) WITH (fillfactor=10) AS SELECT 1, 2 WITH NO DATA", Unsupported::AsQuery),
        ("CREATE TABLE t AS EXECUTE p(1)", Unsupported::AsQuery),
    ] {
        let schema = good(sql);
        assert_eq!(schema.tables[0].unsupported[0].value, why, "{sql}");
        assert!(!schema.tables[0].is_managed());
        assert_eq!(schema.counts()[&Level::NotCarried], 1, "{sql}");
    }
}

#[test]
fn a_semicolon_ends_a_statement_only_where_it_does_for_psql() {
    let count = |sql: &str| good(sql).statements.len();
    assert_eq!(count("CREATE TABLE \"a;b\" (c text DEFAULT ';' /* ; */); ; CREATE VIEW v AS SELECT $$;$$ -- ;\n;"), 2);
    assert_eq!(
        count(
            "CREATE FUNCTION f() RETURNS int BEGIN ATOMIC SELECT CASE WHEN true THEN 1 END; SELECT 2; END; CREATE TABLE t ()"
        ),
        2
    );
    assert_eq!(count("CREATE OR REPLACE RULE r AS ON INSERT TO t DO ALSO (SELECT 1; SELECT 2); CREATE TABLE u ()"), 2);
    assert_eq!(count("\u{feff}CREATE TABLE t ()\n"), 1);
    assert_eq!(count(""), 0);
}

#[test]
fn keys_that_are_the_same_are_one() {
    let names = |sql: &str| -> Vec<String> {
        let name = |constraint: &pcrd::desired::sql::SqlConstraint| {
            constraint.name.as_ref().map_or("-".to_owned(), |name| name.value.to_string())
        };
        table(sql).constraints.iter().map(name).collect()
    };
    assert_eq!(names("CREATE TABLE t (a int UNIQUE UNIQUE)"), ["-"]);
    assert_eq!(names("CREATE TABLE t (a int CONSTRAINT u UNIQUE PRIMARY KEY)"), ["u"]);
    assert_eq!(names("CREATE TABLE t (a int UNIQUE, CONSTRAINT x UNIQUE (a), UNIQUE (a) DEFERRABLE)"), ["x", "-"]);
    assert_eq!(
        names("CREATE TABLE t (a int UNIQUE, b int UNIQUE, UNIQUE (a, b), CHECK (a > 0), CHECK (a > 0))").len(),
        5
    );
}
