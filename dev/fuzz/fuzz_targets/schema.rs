//! Whatever the text: the reader neither panics nor hangs, points into it, and says why it refuses; what it takes keeps its
//! meaning when it is formatted.
//!
//! `cargo +nightly fuzz run --fuzz-dir dev/fuzz schema dev/fuzz/corpus tests/fixtures -- -dict=dev/fuzz/sql.dict`

#![no_main]

use libfuzzer_sys::fuzz_target;
use pcrd::desired::sql::{FormatError, Level, format, read};

fuzz_target!(|sql: &str| {
    let reading = read(sql);
    for problem in reading.problems.iter().chain(&reading.warnings) {
        assert!(!problem.labels.is_empty());
        assert!(problem.labels.iter().all(|label| sql.get(label.span.clone()).is_some()), "{problem:?}");
    }
    let is_refused = reading.schema.statements.iter().any(|statement| statement.level == Level::Refused);
    assert!(!is_refused || !reading.problems.is_empty(), "refused, and nothing said");
    match format(sql) {
        Ok(formatted) => assert_eq!(format(&formatted).expect("what was written is read"), formatted),
        Err(FormatError::Problems(problems)) => assert_eq!(problems, reading.problems),
        Err(FormatError::Changed) => panic!("formatting changes what the file says"),
    }
});
