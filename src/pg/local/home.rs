//! The directory that all local clusters of a user share: templates, port locks, data directories.

use std::fs::{DirBuilder, File};
use std::net::TcpListener;
use std::os::unix::fs::{DirBuilderExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicUsize, Ordering};

use super::binaries::{Binaries, LocalError, run};

/// Below the ephemeral range of Linux, so that no outgoing connection takes a port while a cluster restarts.
const FIRST_PORT: u16 = 20_000;
const LAST_PORT: u16 = 31_999;

/// Who the server processes run as. PostgreSQL refuses to run as root.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum RunAs {
    /// The user of this process.
    Us,
    /// This uid and gid, because this process is root.
    Other(u32, u32),
}

impl RunAs {
    /// Chooses the user: us, or `postgres`, or `nobody`.
    pub(super) fn choose() -> Result<Self, LocalError> {
        if own_uid()? != 0 {
            return Ok(Self::Us);
        }
        for name in ["postgres", "nobody"] {
            let id = |what: &str| run(Command::new("id").args([what, name]));
            if let (Ok(uid), Ok(gid)) = (id("-u"), id("-g"))
                && let (Ok(uid), Ok(gid)) = (uid.parse(), gid.parse())
            {
                return Ok(Self::Other(uid, gid));
            }
        }
        Err(LocalError::NoUser)
    }

    /// Prepares a command that runs as this user.
    pub(super) fn command(self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let mut command = Command::new(program);
        if let Self::Other(uid, gid) = self {
            command.uid(uid).gid(gid);
        }
        // The user may not be allowed into our working directory, and `initdb` complains about that.
        command.current_dir("/");
        command
    }

    /// Gives a path to this user.
    pub(super) fn own(self, path: &Path) -> Result<(), LocalError> {
        match self {
            Self::Us => Ok(()),
            Self::Other(uid, gid) => chown(path, Some(uid), Some(gid))
                .map_err(|source| LocalError::file("change the owner of", path, source)),
        }
    }
}

fn own_uid() -> Result<u32, LocalError> {
    let text = run(Command::new("id").arg("-u"))?;
    text.parse().map_err(|_| LocalError::Failed { program: "id -u".into(), status: "no number".into(), output: text })
}

/// Creates a directory that everybody may enter.
pub(super) fn make_dir(path: &Path) -> Result<(), LocalError> {
    DirBuilder::new()
        .recursive(true)
        .mode(0o755)
        .create(path)
        .map_err(|source| LocalError::file("create", path, source))
}

/// Returns the directory that local servers share, `$PCRD_LOCAL_DIR` or one per user below the system's directory for temporary files.
pub fn shared_dir() -> Result<PathBuf, LocalError> {
    let uid = own_uid()?;
    let root = match std::env::var_os("PCRD_LOCAL_DIR") {
        Some(dir) => dir.into(),
        None => std::env::temp_dir().join(format!("pcrd-local-{uid}")),
    };
    for dir in [root.clone(), root.join("ports"), root.join("clusters"), root.join("templates")] {
        make_dir(&dir)?;
        let found = dir.symlink_metadata().map_err(|source| LocalError::file("inspect", &dir, source))?;
        // The name can be guessed: somebody else's directory would let them replace what our servers run on.
        if found.uid() != uid || !found.is_dir() {
            return Err(LocalError::Foreign(dir));
        }
        // A umask of 077 would keep the server's user out.
        if found.permissions().mode() & 0o777 != 0o755 {
            std::fs::set_permissions(&dir, std::fs::Permissions::from_mode(0o755))
                .map_err(|source| LocalError::file("open up", &dir, source))?;
        }
    }
    Ok(root)
}

fn lock_file(path: &Path) -> Result<File, LocalError> {
    File::options()
        .create(true)
        .truncate(false)
        .write(true)
        .open(path)
        .map_err(|source| LocalError::file("open", path, source))
}

/// A port that is ours for as long as this value lives, also against other test processes.
#[derive(Debug)]
pub(super) struct Port {
    pub(super) number: u16,
    _lock: File,
}

/// Takes a free port.
pub(super) fn take_port(root: &Path) -> Result<Port, LocalError> {
    let range = u32::from(LAST_PORT - FIRST_PORT) + 1;
    // Test processes start at different places; the lock decides, this only saves tries.
    let start = std::process::id().wrapping_mul(7) % range;
    for n in 0..range {
        let number = FIRST_PORT + u16::try_from((start + n) % range).unwrap_or(0);
        let Some(lock) = try_lock_port(root, number)? else { continue };
        // Both: without SO_REUSEADDR semantics a wildcard listener would go unnoticed on some systems.
        if TcpListener::bind(("127.0.0.1", number)).is_ok() && TcpListener::bind(("0.0.0.0", number)).is_ok() {
            return Ok(Port { number, _lock: lock });
        }
    }
    Err(LocalError::NoPort { first: FIRST_PORT, last: LAST_PORT })
}

/// Locks a port, or returns nothing if a living process holds it.
pub(super) fn try_lock_port(root: &Path, number: u16) -> Result<Option<File>, LocalError> {
    // Lock files are never removed: removing one would let two processes lock two files of one name.
    let path = root.join("ports").join(number.to_string());
    let file = lock_file(&path)?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(std::fs::TryLockError::WouldBlock) => Ok(None),
        Err(std::fs::TryLockError::Error(source)) => Err(LocalError::file("lock", &path, source)),
    }
}

/// Templates per version.
const TEMPLATES: usize = 3;
static NEXT_TEMPLATE: AtomicUsize = AtomicUsize::new(0);

/// Copies a fresh data directory to `data`. `initdb` runs once per version: it takes ten times as long as the copy.
pub(super) fn fresh_data(root: &Path, binaries: &Binaries, user: RunAs, data: &Path) -> Result<(), LocalError> {
    let key: String = binaries.version()?.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '-' }).collect();
    let key = match user {
        RunAs::Us => key,
        RunAs::Other(uid, _) => format!("{key}-{uid}"),
    };
    // Copies of one template have one system identifier: two clusters of a process must come from two templates.
    let key = format!("{key}-{}", NEXT_TEMPLATE.fetch_add(1, Ordering::Relaxed) % TEMPLATES);
    let template = root.join("templates").join(&key);
    if !template.is_dir() {
        let lock = root.join("templates").join(format!("{key}.lock"));
        let held = lock_file(&lock)?;
        held.lock().map_err(|source| LocalError::file("lock", &lock, source))?;
        if !template.is_dir() {
            let unfinished = root.join("templates").join(format!("{key}.new"));
            if unfinished.exists() {
                std::fs::remove_dir_all(&unfinished).map_err(|e| LocalError::file("remove", &unfinished, e))?;
            }
            make_dir(&unfinished)?;
            user.own(&unfinished)?;
            init(binaries, user, &unfinished, None)?;
            std::fs::rename(&unfinished, &template).map_err(|e| LocalError::file("rename", &unfinished, e))?;
        }
    }
    run(user.command("cp").arg("-a").arg(&template).arg(data)).map(drop)
}

/// Runs `initdb`: superuser `postgres`, UTF-8, collation C, page checksums. Without a password file everybody on this
/// machine may connect as superuser.
pub(super) fn init(
    binaries: &Binaries,
    user: RunAs,
    data: &Path,
    password_file: Option<&Path>,
) -> Result<(), LocalError> {
    let mut command = user.command(binaries.program("initdb"));
    command.args(["-U", "postgres", "-E", "UTF8", "--locale=C", "-k", "-N", "-D"]).arg(data);
    match password_file {
        Some(file) => command.args(["-A", "scram-sha-256", "--pwfile"]).arg(file),
        None => command.args(["-A", "trust"]),
    };
    // A message in the user's language, or a time zone of theirs, has no place in a test.
    run(command.env("LC_ALL", "C").env("TZ", "UTC").env_remove("PGDATA")).map(drop)
}

/// Returns whether the user that servers run as can enter this directory: root's home is closed to `postgres`.
pub fn servers_can_enter(dir: &Path) -> Result<bool, LocalError> {
    let user = RunAs::choose()?;
    if user == RunAs::Us {
        return Ok(true);
    }
    let dir = std::path::absolute(dir).map_err(|source| LocalError::file("resolve", dir, source))?;
    let status = user
        .command("test")
        .arg("-x")
        .arg(&dir)
        .status()
        .map_err(|source| LocalError::Spawn { program: "test".into(), source })?;
    Ok(status.success())
}
