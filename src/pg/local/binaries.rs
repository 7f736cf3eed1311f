//! Where the server programs of a major version are.

use std::path::{Path, PathBuf};
use std::process::Command;

/// The programs (`initdb`, `postgres`, `pg_ctl`, sometimes the clients) of one major version.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Binaries {
    /// The `bin` directory.
    pub dir: PathBuf,
    /// The major version, e.g. 15.
    pub major: u32,
}

/// Why a local server could not be found, started or stopped.
#[derive(Debug, thiserror::Error)]
pub enum LocalError {
    /// No programs of this major version.
    #[error("no PostgreSQL {major} server programs in {}: run `dev/postgres fetch {major}`", list(tried))]
    NotFound {
        /// The major version.
        major: u32,
        /// Where we looked.
        tried: Vec<PathBuf>,
    },
    /// A file operation failed.
    #[error("failed to {action} {}", path.display())]
    File {
        /// What was tried, as a verb.
        action: &'static str,
        /// On what.
        path: PathBuf,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A program could not be started.
    #[error("failed to run {program}")]
    Spawn {
        /// The program.
        program: String,
        /// Why it failed.
        source: std::io::Error,
    },
    /// A program ended with an error.
    #[error("{program} failed ({status}): {output}")]
    Failed {
        /// The program.
        program: String,
        /// Its exit status.
        status: String,
        /// What it said, or the end of the server's log.
        output: String,
    },
    /// The server neither started nor stopped in time.
    #[error("the server in {} did not {action} within {seconds} s: {output}", data.display())]
    Timeout {
        /// `start` or `stop`.
        action: &'static str,
        /// The data directory.
        data: PathBuf,
        /// The limit.
        seconds: u64,
        /// The end of the server's log.
        output: String,
    },
    /// Every port of the range is taken.
    #[error("no free port between {first} and {last} on 127.0.0.1")]
    NoPort {
        /// First port tried.
        first: u16,
        /// Last port tried.
        last: u16,
    },
    /// We are root, servers refuse to be, and there is no other user.
    #[error("servers do not run as root, and this system has neither a user `postgres` nor `nobody`")]
    NoUser,
    /// The shared directory for clusters belongs to somebody else.
    #[error("{} belongs to another user: remove it or set PCRD_LOCAL_DIR", .0.display())]
    Foreign(PathBuf),
}

fn list(paths: &[PathBuf]) -> String {
    paths.iter().map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

impl LocalError {
    pub(super) fn file(action: &'static str, path: &Path, source: std::io::Error) -> Self {
        Self::File { action, path: path.to_owned(), source }
    }
}

/// Finds the server programs of `major`: the Debian place first, then what `dev/postgres fetch` has put into
/// `$PCRD_POSTGRES_DIR`, `.cache/postgres` below the working directory,
/// `/var/cache/pcrd`, or the user's cache directory.
pub fn find_binaries(major: u32) -> Result<Binaries, LocalError> {
    let tried = places(major);
    match tried.iter().find(|dir| dir.join("postgres").is_file() && dir.join("initdb").is_file()) {
        Some(dir) => Ok(Binaries { dir: dir.clone(), major }),
        None => Err(LocalError::NotFound { major, tried }),
    }
}

/// Returns the major versions from 10 to 18 that [`find_binaries`] finds, ascending.
#[must_use]
pub fn installed_majors() -> Vec<u32> {
    (10..=18).filter(|major| find_binaries(*major).is_ok()).collect()
}

fn places(major: u32) -> Vec<PathBuf> {
    let mut places = vec![PathBuf::from(format!("/usr/lib/postgresql/{major}/bin"))];
    let below = |root: PathBuf| root.join(major.to_string()).join("bin");
    if let Some(root) = std::env::var_os("PCRD_POSTGRES_DIR") {
        places.push(below(root.into()));
    }
    // Absolute: the servers run with another working directory.
    if let Ok(here) = std::env::current_dir() {
        places.push(below(here.join(".cache/postgres")));
    }
    // Where `dev/postgres` goes if it is root and the servers' user cannot enter the working directory.
    places.push(below("/var/cache/pcrd/postgres".into()));
    let cache = std::env::var_os("XDG_CACHE_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cache")));
    if let Some(cache) = cache {
        places.push(below(cache.join("pcrd/postgres")));
    }
    places
}

impl Binaries {
    /// Returns the path of one program, e.g. `postgres`.
    #[must_use]
    pub fn program(&self, name: &str) -> PathBuf {
        self.dir.join(name)
    }

    /// Returns what `postgres --version` prints, e.g. `postgres (PostgreSQL) 15.18 (Debian 15.18-0+deb12u1)`.
    pub fn version(&self) -> Result<String, LocalError> {
        run(Command::new(self.program("postgres")).arg("--version"))
    }
}

/// Runs a program to its end and returns its standard output without the last newline.
pub(super) fn run(command: &mut Command) -> Result<String, LocalError> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().map_err(|source| LocalError::Spawn { program: program.clone(), source })?;
    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).trim_end().to_owned();
    if output.status.success() {
        return Ok(text(&output.stdout));
    }
    Err(LocalError::Failed {
        program,
        status: output.status.to_string(),
        output: format!("{} {}", text(&output.stderr), text(&output.stdout)).trim().to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_missing_major_says_how_to_get_it() {
        let error = find_binaries(9).unwrap_err().to_string();
        assert!(error.starts_with("no PostgreSQL 9 server programs in /usr/lib/postgresql/9/bin, "), "{error}");
        assert!(error.ends_with("run `dev/postgres fetch 9`"), "{error}");
    }
}
