//! Directives: which object they belong to, and that none is lost.

use pcrd::desired::sql::{Directives, SqlOrder, read};

use crate::tables::good;

fn said(directives: &Directives) -> String {
    let mut words = Vec::new();
    if let Some(old) = &directives.renamed_from {
        let schema = old.value.schema.as_ref().map(|schema| format!("{schema}.")).unwrap_or_default();
        words.push(format!("renamed_from {schema}{}", old.value.name));
    }
    words.extend(directives.using.as_ref().map(|using| format!("using {}", using.value)));
    words.extend(directives.backfill.as_ref().map(|backfill| format!("backfill {}", backfill.value)));
    words.extend(directives.filter.as_ref().map(|filter| format!("where {}", filter.value)));
    let names = |names: &[pcrd::desired::At<pcrd::catalog::Ident>]| {
        names.iter().map(|name| name.value.to_string()).collect::<Vec<_>>().join(",")
    };
    words.extend(directives.drops.as_ref().map(|drops| format!("drops {}", names(&drops.value))));
    words.extend(directives.key.as_ref().map(|key| format!("key {}", names(&key.value))));
    words.extend(directives.order.as_ref().map(|order| match order.value {
        SqlOrder::AsWritten => "order as_written".to_owned(),
        SqlOrder::Packed => "order packed".to_owned(),
        SqlOrder::Keep => "order keep".to_owned(),
    }));
    words.extend(directives.vacuum.as_ref().map(|vacuum| format!("vacuum {}", vacuum.value)));
    words.extend(directives.copy.as_ref().map(|copy| format!("copy {}", copy.value.word())));
    words.extend(directives.ignore.as_ref().map(|_| "ignore".to_owned()));
    words.extend(
        directives.accept.iter().map(|accept| format!("accept {}: {}", accept.value.code, accept.value.reason)),
    );
    words.join("; ")
}

/// Every object with directives, and what was said of it.
fn all(sql: &str) -> Vec<String> {
    let mut lines = Vec::new();
    for table in good(sql).tables {
        let mut line = |what: String, directives: &Directives| {
            let said = said(directives);
            if !said.is_empty() {
                lines.push(format!("{what}: {said}"));
            }
        };
        line(table.name.value.name.to_string(), &table.directives);
        for column in &table.columns {
            line(format!("{}.{}", table.name.value.name, column.name.value), &column.directives);
        }
        for (nth, constraint) in table.constraints.iter().enumerate() {
            line(format!("{} constraint {nth}", table.name.value.name), &constraint.directives);
        }
        for (nth, index) in table.indexes.iter().enumerate() {
            line(format!("{} index {nth}", table.name.value.name), &index.directives);
        }
    }
    lines
}

#[test]
fn place_decides() {
    let sql = r#"
-- pcrd: renamed_from old_schema."Old T"
-- an ordinary comment
-- pcrd: drops legacy, "Other"
CREATE TABLE t ( -- pcrd: order packed
    -- pcrd: renamed_from ident
    id bigint NOT NULL, -- pcrd: using ident::bigint + 1
    a text /* block */ , -- pcrd: backfill upper(left(code, 2)) || '--;'
    b text -- pcrd: accept NARROWING_CAST reason="checked by hand (\"JIRA-1\")"
    , c text,
    -- pcrd: accept X1 reason="because"
    CONSTRAINT k UNIQUE (a), -- pcrd: accept X2 reason="why not"
    d text
) -- pcrd: key (id, a)
; -- PCRD: where id > 5 AND a <> 'x'

CREATE INDEX i ON t (a); -- pcrd: accept INDEX_BUILD reason="small"
-- pcrd: accept Y reason="later"
ALTER TABLE ONLY t
    ADD CONSTRAINT late CHECK (id > 0);

CREATE TABLE one_line (a int, b int); -- pcrd: ignore
CREATE TABLE frozen (a int); -- pcrd: vacuum on
CREATE TABLE warm (a int); -- pcrd: VACUUM Off
-- pcrd: copy by_blocks
CREATE TABLE heap (a int);
CREATE TABLE either (a int); -- pcrd: copy auto
"#;
    insta::assert_snapshot!(all(sql).join("\n"), @r#"
    t: renamed_from old_schema."Old T"; where id > 5 AND a <> 'x'; drops legacy,"Other"; key id,a; order packed
    t.id: renamed_from ident; using ident::bigint + 1
    t.a: backfill upper(left(code, 2)) || '--;'
    t.b: accept NARROWING_CAST: checked by hand ("JIRA-1")
    t constraint 0: accept X1: because; accept X2: why not
    t constraint 1: accept Y: later
    t index 0: accept INDEX_BUILD: small
    one_line: ignore
    frozen: vacuum true
    warm: vacuum false
    heap: copy by_blocks
    either: copy auto
    "#);
}

#[test]
fn other_tools_are_understood() {
    for written in [
        "-- atlas:renamed_from old",
        "-- @renamed from=old",
        "-- pista:renamed-from old",
        "--pcrd:renamed_from \"old\"",
        "--   PCRD :   renamed_from   OLD  ",
    ] {
        assert_eq!(all(&format!("CREATE TABLE t (\n  a int {written}\n);")), ["t.a: renamed_from old"], "{written}");
    }
    for ignored in
        ["-- squawk-ignore prefer-text", "-- atlas:txmode none", "-- pcrdx: y", "-- see pcrd: no", "-- a pcrd b"]
    {
        assert!(all(&format!("CREATE TABLE t (\n  a int {ignored}\n);")).is_empty(), "{ignored}");
    }
    // In strings there are no comments.
    assert!(
        all("CREATE TABLE t (a text DEFAULT '\n-- pcrd: nonsense\n', b text DEFAULT $$\n-- pcrd: x\n$$)").is_empty()
    );
}

#[test]
fn a_directive_that_would_do_nothing_is_an_error() {
    for (sql, code, place) in [
        ("CREATE TABLE t (a int);\n-- pcrd: ignore", "unattached", "-- pcrd: ignore"),
        ("-- pcrd: ignore", "unattached", "-- pcrd: ignore"),
        ("CREATE TABLE t (\n a int\n -- pcrd: using b\n);", "unattached", "-- pcrd: using b"),
        ("CREATE TABLE t (\n a int DEFAULT (1 +\n-- pcrd: using b\n 1));", "unattached", "-- pcrd: using b"),
        ("-- atlas:renamed_from x\n", "unattached", "-- atlas:renamed_from x"),
        ("-- pcrd: renamed_from x\nCREATE VIEW v AS SELECT 1;", "misplaced", "-- pcrd: renamed_from x"),
        ("SET lock_timeout = 0; -- pcrd: ignore", "misplaced", "-- pcrd: ignore"),
        ("CREATE TABLE t (a int); -- pcrd: using x", "misplaced", "-- pcrd: using x"),
        ("CREATE TABLE t (\na int -- pcrd: drops x\n);", "misplaced", "-- pcrd: drops x"),
        ("CREATE TABLE t (\na int -- pcrd: renamed_from s.x\n);", "misplaced", "-- pcrd: renamed_from s.x"),
        ("CREATE TABLE t (a int); CREATE INDEX ON t (a); -- pcrd: ignore", "misplaced", "-- pcrd: ignore"),
        ("CREATE TABLE t (a int /* pcrd: using b */);", "misplaced", "/* pcrd: using b */"),
        ("CREATE TABLE t (a int); -- pcrd: rename_from x", "unknown", "rename_from"),
        ("CREATE TABLE t (a int); -- pcrd: renamed-from x", "unknown", "renamed-from"),
        ("CREATE TABLE t (a int); -- pcrd:", "unknown", "-- pcrd:"),
        ("CREATE TABLE t (a int); -- pcrd ignore", "unknown", "-- pcrd ignore"),
        ("CREATE TABLE t (\na int -- pcrd: using a, b\n);", "value", "a, b"),
        ("CREATE TABLE t (\na int -- pcrd: using (a\n);", "value", "(a"),
        ("CREATE TABLE t (\na int -- pcrd: using\n);", "value", "-- pcrd: using"),
        ("CREATE TABLE t (a int); -- pcrd: order sideways", "value", "-- pcrd: order sideways"),
        ("CREATE TABLE t (a int); -- pcrd: vacuum", "value", "-- pcrd: vacuum"),
        ("CREATE TABLE t (a int); -- pcrd: copy by_block", "value", "-- pcrd: copy by_block"),
        ("CREATE TABLE t (\na int -- pcrd: vacuum on\n);", "misplaced", "-- pcrd: vacuum on"),
        ("CREATE TABLE t (a int); -- pcrd: key a", "value", "-- pcrd: key a"),
        ("CREATE TABLE t (a int); -- pcrd: drops", "value", "-- pcrd: drops"),
        ("CREATE TABLE t (a int); -- pcrd: ignore please", "value", "-- pcrd: ignore please"),
        ("CREATE TABLE t (a int); -- pcrd: accept", "value", "-- pcrd: accept"),
        ("CREATE TABLE t (a int); -- pcrd: accept reason=\"why\"", "value", "-- pcrd: accept reason=\"why\""),
        ("CREATE TABLE t (a int); -- pcrd: accept \"\" reason=\"why\"", "value", "-- pcrd: accept \"\" reason=\"why\""),
        ("CREATE TABLE t (a int); -- pcrd: accept X", "value", "-- pcrd: accept X"),
        ("CREATE TABLE t (a int); -- pcrd: accept X reason=\" \"", "value", "-- pcrd: accept X reason=\" \""),
        ("CREATE TABLE t (a int); -- pcrd: renamed_from a.b.c", "value", "-- pcrd: renamed_from a.b.c"),
        ("CREATE TABLE t (a int); -- pcrd: drops x, y, x", "duplicate", "x"),
        ("-- pcrd: order keep\nCREATE TABLE t (a int); -- pcrd: order packed", "duplicate", "-- pcrd: order packed"),
        (
            "CREATE TABLE t (\n-- @renamed from=x\na int -- pcrd: renamed_from y\n);",
            "duplicate",
            "-- pcrd: renamed_from y",
        ),
        (
            "-- pcrd: accept A reason=\"1\"\n-- pcrd: accept A reason=\"2\"\nCREATE TABLE t (a int);",
            "duplicate",
            "-- pcrd: accept A reason=\"2\"",
        ),
        ("-- pcrd: ignore\n-- pcrd: order keep\nCREATE TABLE t (a int);", "contradiction", "-- pcrd: order keep"),
        ("-- pcrd: drops a\nCREATE TABLE t (a int);", "contradiction", "a"),
        ("CREATE TABLE t (\n-- pcrd: using b\n-- pcrd: backfill b\na int);", "contradiction", "-- pcrd: backfill b"),
        (
            "CREATE TABLE t (\n-- pcrd: using b\na int GENERATED ALWAYS AS (1) STORED);",
            "contradiction",
            "-- pcrd: using b",
        ),
    ] {
        let problems = read(sql).problems;
        let [problem] = problems.as_slice() else { panic!("{sql}\n{problems:#?}") };
        assert_eq!(problem.kind.code(), format!("pcrd::directive::{code}"), "{sql}\n{problem:?}");
        assert_eq!(&sql[problem.labels[0].span.clone()], place, "{sql}\n{problem:?}");
    }
    // The old name of another column may come back.
    good("-- pcrd: drops a\nCREATE TABLE t (\na int -- pcrd: renamed_from b\n);");
}
