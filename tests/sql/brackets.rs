//! Text that passes as one expression, between our brackets, on real servers: it must never get out of them.

use pcrd::pg::local::Cluster;
use pcrd::sql::expression::check_expression;
use proptest::strategy::{Strategy as _, ValueTree as _};
use proptest::test_runner::TestRunner;
use tokio_postgres::{Client, SimpleQueryMessage};

/// What tokenizers disagree about.
const PIECES: &[&str] = &[
    "'", "'", "''", "\\", "\\'", "\n", "\r", "\u{b}", " ", "E'", "e'a'", "U&'", "U&\"", "B'", "x'", "N'", "\"", "--",
    "/*", "*/", "$$", "$a$", "$", "$1", "1", "1e", "1e-", ".", "(", ")", "[", "]", ";", ",", " OR ", "true", "''='",
    "||", "a", "é",
];

/// With an escape from the brackets the server has a row, from this query or from another one.
async fn escapes(client: &Client, text: &str) -> bool {
    let found = client.simple_query(&format!("SELECT 1 WHERE false AND ({text}) IS TRUE")).await;
    found.is_ok_and(|messages| messages.iter().any(|message| matches!(message, SimpleQueryMessage::Row(_))))
}

#[tokio::test]
async fn what_passes_cannot_leave_its_brackets() {
    let known = [
        "true) OR (true",
        "true) OR (true) --",
        "'' = E'a'\n'\\' || ') OR (true) --'",
        "'' = E'a' -- b\r'\\' || ') OR (true) --'",
        "'' = e'a'\n-- b\n \t'\\' || ') OR (true) --'",
        "'' = E'a'\n''\n'\\' || ') OR (true) --'",
    ];
    // Before 15 a number may be followed by letters; before 16 a vertical tab is no space.
    for major in [12, 14, 18] {
        let cluster = Cluster::start_with(major, &[("fsync", "off")]).unwrap();
        let client = super::connect(&cluster).await;
        for text in known {
            assert!(escapes(&client, text).await, "{text:?} would show nothing on {major}");
            assert!(check_expression(text).is_err(), "{text:?}");
        }
        let mut runner = TestRunner::deterministic();
        let texts = proptest::collection::vec(proptest::sample::select(PIECES), 1..14);
        let mut passed = 0;
        for _ in 0..60_000 {
            let text = texts.new_tree(&mut runner).unwrap().current().concat();
            if check_expression(&text).is_ok() {
                passed += 1;
                assert!(!escapes(&client, &text).await, "{text:?} on {major}");
                assert!(!escapes(&client, &format!("'' = {text}")).await, "{text:?} on {major}");
            }
        }
        assert!(passed > 1_000, "{passed} of the texts came to the server");
    }
}
