//! Calls of the operator's programs: written before each is started, and after it has ended.

use std::fmt;
use std::str::FromStr;

use tokio_postgres::{Client, Row};

use super::LedgerError;
use crate::replay::Lsn;

/// What became of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CallEnd {
    /// The program said that it succeeded.
    Succeeded,
    /// It failed, was killed, or took too long: what it did is not known.
    Failed,
    /// It could not be started.
    NotStarted,
    /// The operator says that it did its work.
    SaidYes,
    /// The operator says that it did not, and that it may run once more.
    SaidNo,
    /// The operator says that it did not, and wants the source open again.
    GivenUp,
}

const NAMES: [(CallEnd, &str); 6] = [
    (CallEnd::Succeeded, "succeeded"),
    (CallEnd::Failed, "failed"),
    (CallEnd::NotStarted, "not_started"),
    (CallEnd::SaidYes, "said_yes"),
    (CallEnd::SaidNo, "said_no"),
    (CallEnd::GivenUp, "given_up"),
];

impl fmt::Display for CallEnd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(NAMES.iter().find(|(end, _)| end == self).map_or("", |(_, name)| name))
    }
}

impl FromStr for CallEnd {
    type Err = LedgerError;

    fn from_str(text: &str) -> Result<Self, LedgerError> {
        let found = NAMES.iter().find(|(_, name)| *name == text);
        found.map(|(end, _)| *end).ok_or_else(|| LedgerError::damaged("outcome of a hook", text))
    }
}

/// Which way the clients go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Direction {
    /// To the target, in a cutover.
    Forward,
    /// To the source, in a rollback.
    Back,
}

/// Of calls in a rollback, behind the program's name.
const BACK: &str = "/back";

impl Direction {
    /// What programs are told.
    pub fn word(self) -> &'static str {
        match self {
            Self::Forward => "forward",
            Self::Back => "back",
        }
    }

    fn key(self, hook: &str) -> String {
        match self {
            Self::Forward => hook.to_owned(),
            Self::Back => format!("{hook}{BACK}"),
        }
    }
}

/// Where a program runs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Place {
    /// The machine.
    pub host: String,
    /// A file there that is locked as long as the program, or anything that it started, has it open.
    pub output: String,
}

/// A call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Call {
    /// Its number.
    pub number: i64,
    /// What was called.
    pub hook: String,
    /// In which direction.
    pub direction: Direction,
    /// Where.
    pub place: Place,
    /// What became of it; nothing as long as nobody knows.
    pub end: Option<CallEnd>,
    /// In words.
    pub detail: Option<String>,
}

impl Call {
    /// What was called and how it ended, in one line.
    pub fn in_words(&self) -> String {
        let ended = self.detail.as_deref().unwrap_or("was started, and nobody wrote down how it ended");
        let first = ended.lines().next().unwrap_or_default().trim_end_matches([';', ':']);
        format!("the {} hook {}", self.hook, first.trim_end_matches("; it said"))
    }
}

/// Says that a program is about to be started: in the current attempt to cut over, or in a rollback. An executor that was
/// replaced may not. `epoch` is the target's ledger's; of a rollback the one that the source's ledger gave.
///
/// # Errors
/// Another executor has the migration.
pub async fn begin(
    client: &Client,
    migration: &str,
    (direction, epoch): (Direction, i64),
    hook: &str,
    place: &Place,
) -> Result<i64, LedgerError> {
    let from = match direction {
        Direction::Forward => {
            "SELECT m.id, m.epoch, c.attempt, $3, $4, $5 FROM pcrd.migration m JOIN pcrd.cutover c ON c.migration = m.id \
             WHERE m.id = $1 AND m.epoch = $2 FOR SHARE OF m"
        }
        // One that was given up for good has its state before its program runs.
        Direction::Back => {
            "SELECT w.migration, w.epoch, c.attempt, $3, $4, $5 FROM pcrd.way_back w JOIN pcrd.cutover c USING (migration) \
             WHERE w.migration = $1 AND w.epoch = $2 AND w.state IN ('rolling_back', 'finalized') FOR SHARE OF w"
        }
    };
    let insert =
        format!("INSERT INTO pcrd.hook (migration, epoch, attempt, hook, host, output) {from} RETURNING number");
    let row =
        client.query_opt(&insert, &[&migration, &epoch, &direction.key(hook), &place.host, &place.output]).await?;
    row.map(|row| row.get(0)).ok_or(LedgerError::Fenced { epoch, lsn: Lsn(0) })
}

/// Writes down how a call ended, unless somebody has said so in the meantime. Can be repeated.
///
/// # Errors
/// [`LedgerError::Fenced`]: another executor, or the operator, has said something else of it.
pub async fn ended(
    client: &Client,
    (number, epoch): (i64, i64),
    end: CallEnd,
    detail: &str,
) -> Result<(), LedgerError> {
    let first = client
        .execute(
            "UPDATE pcrd.hook SET ended_at = clock_timestamp(), outcome = $2, detail = concat_ws('; ', detail, $3::text) \
             WHERE number = $1 AND outcome IS NULL",
            &[&number, &end.to_string(), &detail],
        )
        .await?;
    if first == 1 {
        return Ok(());
    }
    let same = "SELECT FROM pcrd.hook WHERE number = $1 AND outcome = $2";
    let is_same = client.query_opt(same, &[&number, &end.to_string()]).await?.is_some();
    if is_same { Ok(()) } else { Err(LedgerError::Fenced { epoch, lsn: Lsn(0) }) }
}

/// Says what became of a call, under the executor's locks: the operator's word comes after what the program said.
pub async fn end(client: &Client, number: i64, end: CallEnd, detail: &str) -> Result<(), LedgerError> {
    client
        .execute(
            "UPDATE pcrd.hook SET ended_at = clock_timestamp(), outcome = $2, detail = concat_ws('; ', detail, $3::text) WHERE number = $1",
            &[&number, &end.to_string(), &detail],
        )
        .await?;
    Ok(())
}

const COLUMNS: &str = "SELECT h.number, h.hook, h.host, h.output, h.outcome, h.detail FROM pcrd.hook h";

fn call(row: &Row) -> Result<Call, LedgerError> {
    let end = row.get::<_, Option<String>>(4).map(|text| text.parse()).transpose()?;
    let place = Place { host: row.get(2), output: row.get(3) };
    let hook: String = row.get(1);
    let (hook, direction) = match hook.strip_suffix(BACK) {
        Some(hook) => (hook.to_owned(), Direction::Back),
        None => (hook, Direction::Forward),
    };
    Ok(Call { number: row.get(0), hook, direction, place, end, detail: row.get(5) })
}

/// The last call of this program in this direction, in the current attempt to cut over. A rollback comes behind the last.
pub async fn last(
    client: &Client,
    migration: &str,
    direction: Direction,
    hook: &str,
) -> Result<Option<Call>, LedgerError> {
    let query = format!(
        "{COLUMNS} JOIN pcrd.cutover c ON c.migration = h.migration AND c.attempt = h.attempt \
         WHERE h.migration = $1 AND h.hook = $2 ORDER BY h.number DESC LIMIT 1"
    );
    client.query_opt(&query, &[&migration, &direction.key(hook)]).await?.as_ref().map(call).transpose()
}

/// Calls of any program of which nobody wrote down how they ended, the oldest first.
pub async fn without_end(client: &Client, migration: &str) -> Result<Vec<Call>, LedgerError> {
    let query = format!("{COLUMNS} WHERE h.migration = $1 AND h.ended_at IS NULL ORDER BY h.number");
    client.query(&query, &[&migration]).await?.iter().map(call).collect()
}
