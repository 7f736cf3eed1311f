//! What an operator may change of a running copy with `throttle`, and finds again after a restart.

use super::context::Run;
use crate::ledger::{LedgerError, migration};
use crate::pg::client::Client;
use crate::plan::Signal;

/// The most workers that a config may ask for too.
const WORKERS_MAX: u64 = 256;

/// Something that `throttle` changes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// Rows a second; 0 is no limit.
    Rows,
    /// Bytes a second; 0 is no limit.
    Bytes,
    /// Rows a second of a comparison; 0 is no limit.
    Compared,
    /// Workers.
    Workers,
    /// The limit of a signal; 0 switches it off.
    Signal(Signal),
}

impl Limit {
    /// The word in a request, and the setting in the ledger.
    pub fn key(self) -> &'static str {
        match self {
            Self::Rows => "rows_per_second",
            Self::Bytes => "bytes_per_second",
            Self::Compared => "verify_rows_per_second",
            Self::Workers => "workers",
            Self::Signal(signal) => signal.key(),
        }
    }

    /// What it is called in an error.
    fn name(self) -> &'static str {
        match self {
            Self::Rows => "limit of rows a second",
            Self::Bytes => "limit of bytes a second",
            Self::Compared => "limit of rows compared a second",
            Self::Workers => "number of workers",
            Self::Signal(signal) => signal.key(),
        }
    }

    fn all() -> impl Iterator<Item = Self> {
        [Self::Rows, Self::Bytes, Self::Compared, Self::Workers].into_iter().chain(Signal::ALL.map(Self::Signal))
    }

    fn read(self, text: &str) -> Result<u64, String> {
        let number: u64 = text.parse().map_err(|error| format!("`{text}`: {error}"))?;
        match self {
            Self::Workers if !(1..=WORKERS_MAX).contains(&number) => {
                Err(format!("{number} workers: there may be 1 to {WORKERS_MAX}"))
            }
            _ => Ok(number),
        }
    }

    fn set(self, run: &Run, number: u64) {
        let limit = Some(number).filter(|number| *number > 0);
        match self {
            Self::Rows => run.throttle.set_rows_per_second(limit),
            Self::Bytes => run.throttle.set_bytes_per_second(limit),
            Self::Compared => run.throttle.set_compared_per_second(limit),
            Self::Workers => run.throttle.set_workers(usize::try_from(number).unwrap_or(1)),
            Self::Signal(signal) => run.throttle.set_signal(signal, number),
        }
    }

    fn in_words(self, number: u64) -> String {
        match (self, number) {
            (Self::Rows, 0) => "no limit of rows a second".to_owned(),
            (Self::Rows, _) => format!("at most {number} rows a second"),
            (Self::Bytes, 0) => "no limit of bytes a second".to_owned(),
            (Self::Bytes, _) => format!("at most {number} bytes a second"),
            (Self::Compared, 0) => "no limit of rows compared a second".to_owned(),
            (Self::Compared, _) => format!("at most {number} rows compared a second"),
            (Self::Workers, _) => format!("{number} at work at a time"),
            (Self::Signal(signal), 0) => format!("{} is not heeded", signal.key()),
            (Self::Signal(signal), _) => format!("{} is {number}", signal.key()),
        }
    }
}

/// The request for these changes.
pub fn request(changes: &[(Limit, u64)]) -> String {
    changes.iter().map(|(limit, number)| format!("{}={number}", limit.key())).collect::<Vec<_>>().join(" ")
}

/// Reads `KEY=N` words; a number alone is rows a second, as older programs ask.
///
/// # Errors
/// What is not understood.
pub fn changes(request: &str) -> Result<Vec<(Limit, u64)>, String> {
    let words: Vec<&str> = request.split_whitespace().collect();
    if words.is_empty() {
        return Err("throttle needs something to change".to_owned());
    }
    let change = |word: &&str| {
        let (key, number) = word.split_once('=').unwrap_or(("rows_per_second", word));
        let limit = Limit::all().find(|limit| limit.key() == key).ok_or_else(|| format!("`{key}` is no limit"))?;
        Ok((limit, limit.read(number)?))
    };
    words.iter().map(change).collect()
}

/// Does what a request asks, and remembers it; the answer says what holds now, an `Err` inside why not.
pub async fn change(run: &Run, ledger: &Client, request: &str) -> Result<Result<String, String>, LedgerError> {
    let changes = match changes(request) {
        Ok(changes) => changes,
        Err(why) => return Ok(Err(why)),
    };
    let mut said = Vec::new();
    for (limit, number) in changes {
        migration::set_setting(ledger, &run.id, limit.key(), Some(&number.to_string())).await?;
        limit.set(run, number);
        said.push(limit.in_words(number));
    }
    Ok(Ok(said.join(", ")))
}

/// Finds what was changed before.
///
/// # Errors
/// A value that cannot be read: it does not become a default.
pub async fn restore(run: &Run, ledger: &Client) -> Result<(), LedgerError> {
    for limit in Limit::all() {
        if let Some(text) = migration::setting(ledger, &run.id, limit.key()).await? {
            let number = limit.read(&text).map_err(|why| LedgerError::Damaged { what: limit.name(), why })?;
            limit.set(run, number);
        }
    }
    run.throttle.set_paused(migration::setting(ledger, &run.id, "paused").await?.is_some());
    super::throttle::forget(ledger, &run.id).await
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_read_back() {
        let wanted = [(Limit::Rows, 5), (Limit::Workers, 2), (Limit::Signal(Signal::WalRetained), 0)];
        assert_eq!(request(&wanted), "rows_per_second=5 workers=2 wal_retained_bytes=0");
        assert_eq!(changes(&request(&wanted)).unwrap(), wanted);
        assert_eq!(changes("700").unwrap(), [(Limit::Rows, 700)], "as older programs ask");
        for wrong in ["", "many", "rows_per_second=-1", "rows=5", "workers=0", "workers=257", "workers="] {
            assert!(changes(wrong).is_err(), "{wrong}");
        }
    }
}
