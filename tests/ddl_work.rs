//! The work of the parser grows with the size of a statement, not with its square. Work is counted by pest, not timed.
//! Alone in its binary: the count's limit is one for the whole process.

#![allow(clippy::unwrap_used)]

use std::num::NonZeroUsize;

use pcrd::desired::sql::read;

/// A statement of this size.
type Shape = fn(usize) -> String;

/// The smallest limit of calls under which the text is read to its end.
fn calls(sql: &str) -> usize {
    let runs_out = |limit: usize| {
        pest::set_call_limit(NonZeroUsize::new(limit));
        let problems = read(sql).problems;
        pest::set_call_limit(None);
        problems.iter().any(|problem| problem.message.contains("call limit"))
    };
    let (mut low, mut high) = (1, 1000);
    while runs_out(high) {
        low = high;
        high *= 2;
        assert!(high < 1 << 30, "no end of work");
    }
    while high - low > low / 50 + 1 {
        let middle = low.midpoint(high);
        if runs_out(middle) { low = middle } else { high = middle }
    }
    high
}

#[test]
fn twice_the_size_is_twice_the_work() {
    let shapes: [(&str, Shape); 9] = [
        ("columns", |n| format!("CREATE TABLE t ({} z int)", "c int DEFAULT f(1) NOT NULL, ".repeat(n))),
        ("operators", |n| format!("CREATE TABLE t (a int DEFAULT 1 {})", "+ (1)::numeric(1,2) ".repeat(n))),
        ("brackets", |n| format!("CREATE TABLE t (a int DEFAULT {}1{})", "(".repeat(n), ")".repeat(n))),
        ("brackets that fail", |n| format!("CREATE TABLE t (a int DEFAULT {}{{{})", "(".repeat(n), ")".repeat(n))),
        ("case", |n| {
            format!("CREATE TABLE t (a int DEFAULT {} 1 {})", "CASE WHEN 1 THEN ".repeat(n), "END ".repeat(n))
        }),
        ("case without end", |n| format!("CREATE TABLE t (a int DEFAULT {} 1)", "CASE WHEN 1 THEN ".repeat(n))),
        ("comments", |n| format!("CREATE TABLE t (a int {} NOT NULL)", "/* x */ -- y\n".repeat(n))),
        ("index", |n| format!("CREATE INDEX ON t ({} a) WHERE {} 1", "lower(a), ".repeat(n), "(a) AND ".repeat(n))),
        ("a name that is no type", |n| format!("CREATE TABLE t (a int DEFAULT {}x(1,2))", "x.".repeat(n))),
    ];
    for (what, make) in shapes {
        let (small, large) = (calls(&make(40)), calls(&make(80)));
        assert!(small > 1500, "{what}: {small} calls are no measure");
        assert!(large <= small * 9 / 4 + 200, "{what}: {small} calls for the half, {large} for the whole");
    }
}
