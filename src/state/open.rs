//! Opening the journal: sound, ours, of this version, and not in use; or moved aside and begun anew.

use std::fs::{self, OpenOptions};
use std::io::ErrorKind;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use rusqlite::{Connection, ErrorCode, OpenFlags};

use super::error::JournalError;
use super::journal::Journal;
use super::lock::{self, beside};
use super::view::JournalView;

/// `pcrd` in ASCII.
pub(super) const APPLICATION_ID: i64 = 0x7063_7264;
/// Raised with every change of the tables.
pub(super) const FORMAT_VERSION: i64 = 1;

const TABLES: &str = "
CREATE TABLE plan (id TEXT PRIMARY KEY, body TEXT NOT NULL) STRICT;
CREATE TABLE step (
    plan TEXT NOT NULL REFERENCES plan(id),
    id TEXT NOT NULL,
    ordinal INTEGER NOT NULL,
    status TEXT NOT NULL CHECK (status IN ('pending', 'started', 'succeeded', 'failed')),
    started_at INTEGER,
    ended_at INTEGER,
    message TEXT,
    PRIMARY KEY (plan, id)
) STRICT;
CREATE TABLE event (
    seq INTEGER PRIMARY KEY,
    plan TEXT NOT NULL REFERENCES plan(id),
    at_ms INTEGER NOT NULL,
    step TEXT,
    body TEXT NOT NULL
) STRICT;
CREATE INDEX event_plan ON event (plan, seq);
CREATE TABLE setting (name TEXT PRIMARY KEY, value TEXT NOT NULL) STRICT;
";

/// A damaged journal was replaced by an empty one.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Rebuilt {
    /// Where the old file is now.
    pub moved_to: PathBuf,
    /// What was wrong with it.
    pub why: String,
}

/// The sentence for the operator.
impl std::fmt::Display for Rebuilt {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Self { moved_to, why } = self;
        write!(
            f,
            "{why}; it was moved to {} and an empty journal was begun: the ledger on the target is the truth",
            moved_to.display()
        )
    }
}

impl Journal {
    /// Opens the journal, or creates it when there is no file. The file is private to its owner.
    ///
    /// # Errors
    /// In use, damaged, another program's, another format version, or not accessible; nothing was changed then.
    pub fn open(path: &Path) -> Result<Self, JournalError> {
        let lock = lock::acquire(path)?;
        Ok(Self::new(open_locked(path)?, lock))
    }

    /// As [`Journal::open`], but a damaged file or one of an older format is moved aside to `<name>.corrupt-N` and an
    /// empty journal takes its place.
    ///
    /// # Errors
    /// In use, another program's database, a newer format, or not accessible.
    pub fn open_or_rebuild(path: &Path) -> Result<(Self, Option<Rebuilt>), JournalError> {
        let lock = lock::acquire(path)?;
        let why = match open_locked(path) {
            Ok(connection) => return Ok((Self::new(connection, lock), None)),
            Err(error @ JournalError::Corrupt { .. }) => error.to_string(),
            Err(error @ JournalError::Version { found, expected, .. }) if found < expected => error.to_string(),
            Err(error) => return Err(error),
        };
        let moved_to = move_aside(path)?;
        Ok((Self::new(open_locked(path)?, lock), Some(Rebuilt { moved_to, why })))
    }
}

impl JournalView {
    /// Opens the journal for reading only, also while another process writes it. `None` when there is no file.
    ///
    /// # Errors
    /// Damaged, another program's, another format version, or not accessible.
    pub fn open(path: &Path) -> Result<Option<Self>, JournalError> {
        match fs::metadata(path) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(JournalError::File { action: "open", path: path.to_owned(), source }),
            Ok(_) => {}
        }
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(path, flags).map_err(|error| sorted(path, error))?;
        check_identity(path, &connection)?;
        Ok(Some(Self::new(connection)))
    }
}

fn open_locked(path: &Path) -> Result<Connection, JournalError> {
    let is_new = match OpenOptions::new().write(true).create_new(true).mode(0o600).open(path) {
        Ok(_) => true,
        Err(error) if error.kind() == ErrorKind::AlreadyExists => false,
        Err(source) => return Err(JournalError::File { action: "create", path: path.to_owned(), source }),
    };
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags).map_err(|error| sorted(path, error))?;
    if !is_new {
        check_identity(path, &connection)?;
        check_integrity(path, &connection)?;
    }
    prepare(&connection).map_err(|error| sorted(path, error))?;
    if is_new {
        connection
            .execute_batch(&format!(
                "BEGIN; PRAGMA application_id = {APPLICATION_ID}; PRAGMA user_version = {FORMAT_VERSION}; {TABLES} COMMIT;"
            ))
            .map_err(|error| sorted(path, error))?;
    }
    Ok(connection)
}

fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "journal_mode", "wal")?;
    // A power cut may take the newest records along, never the file: the journal follows the ledger on the target.
    connection.pragma_update(None, "synchronous", "normal")?;
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "trusted_schema", false)
}

fn check_identity(path: &Path, connection: &Connection) -> Result<(), JournalError> {
    let number = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).map_err(|e| sorted(path, e));
    let application_id = number("PRAGMA application_id")?;
    let version = number("PRAGMA user_version")?;
    if application_id == APPLICATION_ID {
        return if version == FORMAT_VERSION {
            Ok(())
        } else {
            Err(JournalError::Version { path: path.to_owned(), found: version, expected: FORMAT_VERSION })
        };
    }
    let n_tables = number("SELECT count(*) FROM sqlite_schema")?;
    let n_original =
        number("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name IN ('metadata', 'batches')")?;
    if application_id == 0 && n_tables == 0 {
        return Err(JournalError::Corrupt { path: path.to_owned(), detail: "the file is empty".to_owned() });
    }
    if application_id == 0 && version == 0 && n_original == 2 {
        return Err(JournalError::Version { path: path.to_owned(), found: 0, expected: FORMAT_VERSION });
    }
    Err(JournalError::Foreign { path: path.to_owned() })
}

fn check_integrity(path: &Path, connection: &Connection) -> Result<(), JournalError> {
    let corrupt = |detail: String| JournalError::Corrupt { path: path.to_owned(), detail };
    let verdict: String =
        connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0)).map_err(|error| sorted(path, error))?;
    if verdict != "ok" {
        return Err(corrupt(verdict));
    }
    // SQLite reads a last page that is cut short as if it ended in zeros, and finds nothing wrong with it.
    let page_bytes: u64 =
        connection.query_row("PRAGMA page_size", [], |row| row.get(0)).map_err(|error| sorted(path, error))?;
    let file_bytes = fs::metadata(path)
        .map_err(|source| JournalError::File { action: "open", path: path.to_owned(), source })?
        .len();
    if file_bytes % page_bytes != 0 {
        return Err(corrupt(format!("{file_bytes} bytes are no whole number of pages")));
    }
    for table in ["plan", "step", "event", "setting"] {
        let found: i64 = connection
            .query_row("SELECT count(*) FROM sqlite_schema WHERE type = 'table' AND name = ?1", [table], |row| {
                row.get(0)
            })
            .map_err(|error| sorted(path, error))?;
        if found != 1 {
            return Err(corrupt(format!("the table `{table}` is missing")));
        }
    }
    Ok(())
}

/// Damage apart from everything else that SQLite reports (disk full, no permission, …).
fn sorted(path: &Path, error: rusqlite::Error) -> JournalError {
    match error.sqlite_error_code() {
        Some(ErrorCode::NotADatabase | ErrorCode::DatabaseCorrupt) => {
            JournalError::Corrupt { path: path.to_owned(), detail: error.to_string() }
        }
        _ => JournalError::Sqlite(error),
    }
}

/// Renames the file and its companions to the first free `<name>.corrupt-N`.
fn move_aside(path: &Path) -> Result<PathBuf, JournalError> {
    let free = (1..).map(|n| beside(path, &format!(".corrupt-{n}"))).find(|candidate| !candidate.exists());
    let moved_to = free.unwrap_or_else(|| beside(path, ".corrupt"));
    for suffix in ["-wal", "-shm", ""] {
        match fs::rename(beside(path, suffix), beside(&moved_to, suffix)) {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound && !suffix.is_empty() => {}
            Err(source) => return Err(JournalError::File { action: "move", path: path.to_owned(), source }),
        }
    }
    Ok(moved_to)
}
