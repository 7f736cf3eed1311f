//! Keys of rows as arguments: how an error prints one, and how `--key` reads it.

use std::fmt::Write;

use crate::exec::error::Refused;
use crate::ui::text::safe_line;

/// Reads `--key`: a JSON array with the text of each key column, or the bare text of a single one that does not begin
/// with `[`.
///
/// # Errors
/// It begins with `[` and is no such array.
pub fn read(text: &str) -> Result<Vec<String>, String> {
    if !text.starts_with('[') {
        return Ok(vec![text.to_owned()]);
    }
    let of = |value: serde_json::Value| match value {
        serde_json::Value::String(text) => Some(text),
        serde_json::Value::Number(number) if number.is_i64() || number.is_u64() => Some(number.to_string()),
        _ => None,
    };
    let parts: Option<Vec<String>> =
        serde_json::from_str::<Vec<serde_json::Value>>(text).ok().and_then(|all| all.into_iter().map(of).collect());
    parts
        .filter(|parts| !parts.is_empty())
        .ok_or_else(|| "not a JSON array with the text of each key column, such as [\"7\",\"a\"]".to_owned())
}

/// What [`read`] reads as this key, quoted for a shell, in printable ASCII.
pub fn written(key: &[String]) -> String {
    if let [only] = key
        && !only.is_empty()
        && !only.starts_with('-')
        && only.chars().all(|c| c.is_ascii_alphanumeric() || "_.:-".contains(c))
    {
        return only.clone();
    }
    let mut text = String::new();
    for c in serde_json::Value::from(key.to_vec()).to_string().chars() {
        match c {
            // Inside a string of JSON, where alone it can stand.
            '\'' => text.push_str("\\u0027"),
            ' '..='~' => text.push(c),
            _ => {
                for unit in c.encode_utf16(&mut [0; 2]) {
                    write!(text, "\\u{unit:04x}").expect("a String takes any text");
                }
            }
        }
    }
    format!("'{text}'")
}

/// What to do about a row that the target refuses. A key that may not be shown is left to `--show-values`.
pub fn next_of_refused(refused: &Refused, show_values: bool) -> String {
    if refused.lacks_partition {
        return "run the same command again: before anything else it creates the partitions that the source has and the target \
                lacks, and says which statement does where it cannot; nothing is lost meanwhile; pcrd abort gives the migration up"
            .to_owned();
    }
    let mut next =
        "mend what refuses the row on the target, or the row on the source, and run the same command again, which \
                    loses nothing; "
            .to_owned();
    if let Some(key) = refused.to_leave_out() {
        let is_shown = show_values || refused.row == format!(", row ({})", key.join(", "));
        let word = if is_shown { written(key) } else { "KEY".to_owned() };
        let table = format!("'{}'", refused.table.replace('\'', "'\\''"));
        let table = if refused.table.chars().all(|c| c.is_ascii_alphanumeric() || "_.".contains(c)) {
            refused.table.clone()
        } else {
            safe_line(&table).into_owned()
        };
        let lsn = refused.lsn;
        write!(
            next,
            "pcrd skip --lsn {lsn} --table {table} --key {word} --reason '…' leaves this one change out for good"
        )
        .expect("a String takes any text");
        if !is_shown {
            next.push_str(" (pcrd apply with --show-values prints its key)");
        }
        next.push_str("; ");
    }
    next.push_str("pcrd abort gives the migration up");
    next
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pg::error::{PgError, ServerError};
    use crate::replay::Lsn;

    #[test]
    fn a_key_that_is_written_is_read() {
        let keys: [&[&str]; 9] = [
            &["7"],
            &["-7"],
            &[""],
            &["[\"x\"]"],
            &["it's"],
            &["a\nb\u{1b}[31m", "\\"],
            &["1", "2"],
            &["ü😀\u{202e}"],
            &["$(rm) `x` \"q\""],
        ];
        for key in keys {
            let key: Vec<String> = key.iter().map(|text| (*text).to_owned()).collect();
            let text = written(&key);
            assert!(text.chars().all(|c| (' '..='~').contains(&c)), "{text}");
            let bare = text.strip_prefix('\'').and_then(|text| text.strip_suffix('\'')).unwrap_or(&text);
            assert!(!bare.contains('\''), "{text}");
            assert_eq!(read(bare).as_ref(), Ok(&key), "{text}");
        }
        assert_eq!(read("[7, \"a\"]"), Ok(vec!["7".to_owned(), "a".to_owned()]));
        assert_eq!(read("a, b"), Ok(vec!["a, b".to_owned()]));
        for bad in ["[", "[]", "[1.5]", "[null]", "[[\"a\"]]", "[\"a\"] x"] {
            assert!(read(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn a_change_is_left_out_for_what_its_row_is_only() {
        let refused = |sqlstate: &str, key: Option<&str>| Refused {
            end: crate::plan::End::Target,
            kind: "insert",
            table: "public.\"it's\"".to_owned(),
            row: ", row (7)".to_owned(),
            key: key.map(|key| vec![key.to_owned()]),
            constraint: String::new(),
            lsn: Lsn(0x1_0000_00ff),
            error: PgError::Server(Box::new(ServerError::from_fields([(b'C', sqlstate.as_bytes())].into_iter()))),
            beside_reread: false,
            lacks_partition: false,
        };
        let line = "pcrd skip --lsn 1/FF --table 'public.\"it'\\''s\"' --key 7 --reason";
        for code in ["23514", "23505", "22P02", "P0001", "44000", "ZZ123"] {
            assert!(next_of_refused(&refused(code, Some("7")), false).contains(line), "{code}");
        }
        for code in ["53100", "57P01", "40P01", "42501", "XX000"] {
            assert!(!next_of_refused(&refused(code, Some("7")), false).contains("skip"), "{code}");
        }
        assert!(!next_of_refused(&refused("23514", None), true).contains("skip"));
        let homeless = Refused { lacks_partition: true, ..refused("23514", Some("7")) };
        assert!(!next_of_refused(&homeless, true).contains("skip") && homeless.to_read_again().is_none());
        let masked = Refused { row: ", row (…)".to_owned(), ..refused("23514", Some("a'b")) };
        assert!(next_of_refused(&masked, false).contains("--key KEY "));
        assert!(next_of_refused(&masked, true).contains("--key '[\"a\\u0027b\"]' "));
    }
}
