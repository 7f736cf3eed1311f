use crate::refused::{check, top};

#[test]
fn patterns_that_say_nothing() {
    check(vec![
        (top("migrate: { tables: ['a.b.*'] }"), "bad_name", "'a.b.*'", None, "schema.prefix_*"),
        (top("migrate: { tables: ['[a'] }"), "bad_name", "'[a'", None, "`[a` is not a pattern"),
        (top("migrate: { exclude: ['x**y'] }"), "bad_name", "'x**y'", None, "`x**y` is not a pattern"),
        (top("migrate: { tables: [{ name: 'a.*', key: [id] }] }"), "contradiction", "key", None, "an entry of its own"),
        (
            top("migrate: { tables: [{ name: 'a.*', where: x }] }"),
            "contradiction",
            "where",
            None,
            "an entry of its own",
        ),
        (
            top("migrate: { tables: [{ name: 'a.*', target: b.c }] }"),
            "bad_name",
            "b.c",
            None,
            "another schema: `schema.*`",
        ),
        (
            top("migrate: { tables: [{ name: 'a.*', target: '*.*' }] }"),
            "bad_name",
            "'*.*'",
            None,
            "another schema: `schema.*`",
        ),
    ]);
}
