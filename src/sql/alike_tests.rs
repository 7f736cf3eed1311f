use super::*;

#[test]
fn quotes_blanks_and_needless_brackets_mean_nothing() {
    for (one, other) in [
        ("CHECK ((total >= 0))", "CHECK (\"total\" >= 0)"),
        ("((lower(code)))", "(lower(\"code\"))"),
        ("lower(code)", "((lower(code)))"),
        ("nextval('public.s'::regclass)", "nextval('\"public\".\"s\"'::pg_catalog.regclass)"),
        ("CHECK ((total >= (0)::numeric))", "CHECK (total >= 0::numeric)"),
        ("WHERE (a > 1)", "WHERE a > 1"),
        ("WHERE ((a > 1) AND (b < 2))", "WHERE (a > 1) AND (b < 2)"),
        ("(a IS NOT NULL)", "a IS NOT NULL"),
        ("f((a + b), (c))", "f(a + b, c)"),
        ("((a)::text = 'x'::text)", "a::text='x'::text"),
        ("(a)::timestamp without time zone", "a::timestamp without time zone"),
        ("NOT (a)", "not a"),
        ("a <> 1", "a != 1"),
        ("a >-1", "a > - 1"),
        ("a <- 1", "a < -1"),
        ("$$it's$$", "'it''s'"),
        ("\"type\" = \"Type\"", "type = \"Type\""),
        ("USING btree (\"a\" DESC, ((a + b)))", "USING \"btree\" (a DESC, (a + b))"),
    ] {
        assert!(alike(one, other), "{one} | {other}");
        assert!(alike(other, one), "{other} | {one}");
    }
}

#[test]
fn what_means_something_else_is_not_alike() {
    for (one, other) in [
        ("a > 1", "a > 2"),
        ("\"A\" > 1", "\"a\" > 1"),
        // Constants and names.
        ("a = 'b'", "a = b"),
        ("a = '('", "a = ')'"),
        ("a = '1'", "a = 1"),
        ("\"current_user\" = a", "current_user = a"),
        ("a::\"char\"", "a::char"),
        ("E'\\n'", "'E''\\n'''"),
        // Operators of symbols.
        ("(a + b) * c", "a + (b * c)"),
        ("- (a + b)", "- a + b"),
        ("a @- b", "a @ - b"),
        // Operators of words.
        ("(a = b) IS TRUE", "a = (b IS TRUE)"),
        ("a = (b IS NULL)", "(a = b) IS NULL"),
        ("a = (b ISNULL)", "(a = b) ISNULL"),
        ("a = (b NOTNULL)", "(a = b) NOTNULL"),
        ("(a = b) IN (c)", "a = (b IN (c))"),
        ("(a = b) IN (c)", "a = b IN (c)"),
        ("a || (b LIKE c)", "(a || b) LIKE c"),
        ("a || (b ILIKE c)", "(a || b) ILIKE c"),
        ("a || (b SIMILAR TO c)", "(a || b) SIMILAR TO c"),
        ("(a BETWEEN b AND c) = d", "a BETWEEN b AND (c = d)"),
        ("a = (b BETWEEN c AND d)", "(a = b) BETWEEN c AND d"),
        ("a BETWEEN b AND (c OR d)", "(a BETWEEN b AND c) OR d"),
        ("(a || b) COLLATE \"C\"", "a || (b COLLATE \"C\")"),
        ("(a || b) COLLATE \"C\"", "a || b COLLATE \"C\""),
        ("(a - b) AT TIME ZONE c", "a - (b AT TIME ZONE c)"),
        ("(a AT TIME ZONE b) AT TIME ZONE c", "a AT TIME ZONE (b AT TIME ZONE c)"),
        ("(a, b) OVERLAPS (c, d)", "a, b OVERLAPS (c, d)"),
        ("(a + b)::int", "a + b::int"),
        ("(-1)::text", "-1::text"),
        ("(NOT a) = b", "NOT (a = b)"),
        ("NOT (a AND b)", "NOT a AND b"),
        ("(a OR b) AND c", "a OR (b AND c)"),
        // Brackets that are no grouping.
        ("f(a, b)", "f(a), b"),
        ("f(g(a), b)", "f(g(a, b))"),
        ("f((a, b))", "f(a, b)"),
        ("(a, b) = c", "a, b = c"),
        ("(a).b", "a.b"),
        ("(a)[1]", "a[1]"),
        ("a IN ((SELECT b))", "a IN (SELECT b)"),
        ("f(a)", "f a"),
        ("UNIQUE (a, b)", "UNIQUE (a), b"),
        ("CASE WHEN a THEN (b ELSE c) END", "CASE WHEN a THEN b ELSE c END"),
        ("(a", "a"),
        ("a)", "a"),
        ("(a", "(a)"),
    ] {
        assert!(!alike(one, other), "{one} | {other}");
        assert!(!alike(other, one), "{other} | {one}");
    }
}

/// Every way to put one pair of brackets into an expression of three operands, with every two operators: only those are alike
/// that the server would read as the same.
#[test]
fn a_pair_of_brackets_is_needless_only_where_nothing_could_be_grouped() {
    let operators = [
        "=",
        "+",
        "*",
        "||",
        "AND",
        "OR",
        "IS DISTINCT FROM",
        "LIKE",
        "ILIKE",
        "SIMILAR TO",
        "AT TIME ZONE",
        "COLLATE",
        "::",
    ];
    for one in operators {
        for two in operators {
            let (left, right) = (format!("(a {one} b) {two} c"), format!("a {one} (b {two} c)"));
            let plain = format!("a {one} b {two} c");
            assert!(!alike(&left, &right), "{left} | {right}");
            // A cast is part of its operand.
            assert_eq!(alike(&left, &plain), one == "::", "{left} | {plain}");
            assert!(two == "::" || !alike(&right, &plain), "{right} | {plain}");
            assert!(alike(&format!("({left})"), &left), "{left}");
        }
    }
}

/// Deep and unbalanced texts end as well.
#[test]
fn any_text_has_an_answer() {
    assert!(alike(&format!("{}a{}", "(".repeat(1_000), ")".repeat(1_000)), "a"));
    for text in ["", "(", ")", "()", "(.)", "a.", "::", "a::", "(::)", "'"] {
        assert!(!alike(text, "a"), "{text}");
    }
}
