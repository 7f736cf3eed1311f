//! Timelines: which part of one history a server that was promoted or restored shares with another.

use super::position::Lsn;

/// The text is no timeline history file.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("line `{0}` of the timeline history is not `timeline position reason`")]
pub struct HistoryError(String);

/// Position at which a history left `timeline`; `None` when it never was on it.
///
/// `history` is the content of the server's history file: a line for each timeline that it left, with the position
/// of leaving; comments begin with `#` (PostgreSQL, src/backend/access/transam/timeline.c).
///
/// # Errors
/// A line that is none of these.
pub fn left_at(history: &str, timeline: u32) -> Result<Option<Lsn>, HistoryError> {
    for line in history.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#')) {
        let malformed = || HistoryError(line.to_owned());
        let mut words = line.split_whitespace();
        let parent: u32 = words.next().and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
        let position: Lsn = words.next().and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
        if parent == timeline {
            return Ok(Some(position));
        }
    }
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;

    const HISTORY: &str =
        "1\t0/3000148\tno recovery target specified\n\n# by hand\n2\t16/B374D848\tbefore 2026-01-01\n";

    #[test]
    fn every_ancestor_has_its_point() {
        assert_eq!(left_at(HISTORY, 1).unwrap(), Some(Lsn(0x300_0148)));
        assert_eq!(left_at(HISTORY, 2).unwrap(), Some(Lsn(0x16_B374_D848)));
        assert_eq!(left_at(HISTORY, 3).unwrap(), None);
        assert_eq!(left_at("", 1).unwrap(), None);
    }

    #[test]
    fn what_is_no_history_is_an_error() {
        for text in ["one\t0/1\t", "1", "1\t0x1\tr"] {
            assert_eq!(left_at(text, 9), Err(HistoryError(text.trim().to_owned())), "{text}");
        }
    }
}
