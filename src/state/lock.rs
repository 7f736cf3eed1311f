//! One writer per journal: an exclusive lock on a file beside it.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

use super::error::JournalError;

/// Takes `<journal>.lock` for the life of the returned file. The kernel releases it with the process, however that
/// ends, so the file itself stays: removing it would let two processes lock two files of the same name.
pub(super) fn acquire(journal: &Path) -> Result<File, JournalError> {
    let path = beside(journal, ".lock");
    let failed = |action, source| JournalError::File { action, path: path.clone(), source };
    let mut file = OpenOptions::new()
        .read(true)
        .write(true)
        .create(true)
        .truncate(false)
        .mode(0o600)
        .open(&path)
        .map_err(|error| failed("open", error))?;
    match file.try_lock() {
        Ok(()) => {}
        Err(TryLockError::WouldBlock) => {
            let mut text = String::new();
            // Only for the message: a holder that has not written its number yet goes unnamed.
            let pid = file.read_to_string(&mut text).ok().and_then(|_| text.trim().parse().ok());
            return Err(JournalError::InUse { path: journal.to_owned(), pid });
        }
        Err(TryLockError::Error(error)) => return Err(failed("lock", error)),
    }
    file.set_len(0)
        .and_then(|()| file.seek(SeekFrom::Start(0)))
        .and_then(|_| writeln!(file, "{}", std::process::id()))
        .map_err(|error| failed("write", error))?;
    Ok(file)
}

/// `path` with `suffix` after its last component.
pub(super) fn beside(path: &Path, suffix: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(suffix);
    PathBuf::from(name)
}
