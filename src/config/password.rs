//! Where passwords come from, in order: the file (when admitted), `password_env`, `password_file`,
//! PCRD_SOURCE_PASSWORD or PCRD_TARGET_PASSWORD, PGPASSWORD, `.pgpass`, the service file, `password_command`.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use secrecy::{SecretString, zeroize::Zeroizing};

use crate::config::endpoint::PasswordWish;
use crate::config::environment::{Environment, NotText};
use crate::config::pgpass::{self, NOT_OWNER, Wanted};

/// A program that asks a person or a server should be done by then.
const COMMAND_TIME_MAX: Duration = Duration::from_secs(60);

/// No password is longer; a file or program that gives more is the wrong one.
const PASSWORD_BYTES_MAX: u64 = 64 * 1024;

/// Why a source that was named gives no password. Never shows one.
#[derive(Debug, thiserror::Error)]
pub enum PasswordError {
    /// `password_env` names a variable that is not set.
    #[error("the environment variable {0} (password_env) is not set")]
    EnvUnset(String),
    /// A variable is not text.
    #[error(transparent)]
    NotText(#[from] NotText),
    /// `password_file` cannot be read.
    #[error("failed to read password_file {}: {error}", path.display())]
    FileUnreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
    /// `password_file` is open to others.
    #[error("password_file {} can be read by others (permissions {mode:04o}); chmod 0600 {}", path.display(), path.display())]
    FileOpen {
        /// The file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// What was read is no password.
    #[error("{from} gave {what}")]
    Unusable {
        /// The source.
        from: String,
        /// What is wrong.
        what: &'static str,
    },
    /// `password_command` could not be started or waited for.
    #[error("failed to run password_command `{program}`: {error}")]
    CommandFailed {
        /// The program, without arguments.
        program: String,
        /// Why.
        error: std::io::Error,
    },
    /// `password_command` reported a failure.
    #[error("password_command `{program}` ended with {status}")]
    CommandStatus {
        /// The program, without arguments.
        program: String,
        /// Its status.
        status: std::process::ExitStatus,
    },
    /// `password_command` hangs.
    #[error("password_command `{program}` was stopped after {} s", COMMAND_TIME_MAX.as_secs())]
    CommandTimeout {
        /// The program, without arguments.
        program: String,
    },
}

/// What is known before the password.
pub struct Known<'a> {
    /// Host.
    pub host: &'a str,
    /// Port.
    pub port: u16,
    /// Database.
    pub database: &'a str,
    /// Role.
    pub user: &'a str,
    /// Password written into the config.
    pub in_file: Option<SecretString>,
    /// Password of the service.
    pub in_service: Option<SecretString>,
    /// `passfile` of the URI or service.
    pub passfile: Option<PathBuf>,
}

/// The first source that has a password, with its name; `own` is the variable of this server. A source that the config
/// names must have one.
pub fn find(
    own: &'static str,
    wish: &PasswordWish,
    known: Known<'_>,
    environment: &Environment,
    warnings: &mut Vec<String>,
) -> Result<Option<(SecretString, String)>, PasswordError> {
    if let Some(password) = known.in_file {
        return Ok(Some((password, "the config file".to_owned())));
    }
    match wish {
        PasswordWish::Env(name) => {
            let value = environment.text(name)?.ok_or_else(|| PasswordError::EnvUnset(name.clone()))?;
            return Ok(Some((SecretString::from(value), format!("environment variable {name}"))));
        }
        PasswordWish::File(path) => {
            return Ok(Some((of_file(path)?, format!("password_file {}", path.display()))));
        }
        PasswordWish::Unsaid | PasswordWish::Command(_) => {}
    }
    for name in [own, "PGPASSWORD"] {
        if let Some(value) = environment.text(name)? {
            return Ok(Some((SecretString::from(value), format!("environment variable {name}"))));
        }
    }
    let passfile = known.passfile.or_else(|| environment.path("PGPASSFILE")).or_else(|| environment.in_home(".pgpass"));
    let wanted = Wanted { host: known.host, port: known.port, database: known.database, user: known.user };
    if let Some(path) = passfile
        && let Some(password) = pgpass::look_up(&path, &wanted, warnings)
    {
        return Ok(Some((password, path.display().to_string())));
    }
    if let Some(password) = known.in_service {
        return Ok(Some((password, "the service file".to_owned())));
    }
    match wish {
        PasswordWish::Command(argv) => Ok(Some((of_command(argv, COMMAND_TIME_MAX)?, "password_command".to_owned()))),
        PasswordWish::Unsaid | PasswordWish::Env(_) | PasswordWish::File(_) => Ok(None),
    }
}

fn of_file(path: &Path) -> Result<SecretString, PasswordError> {
    let unreadable = |error| PasswordError::FileUnreadable { path: path.to_owned(), error };
    let file = fs::File::open(path).map_err(unreadable)?;
    // Of the open file, not of the path: the path could point elsewhere by now.
    let mode = file.metadata().map_err(unreadable)?.mode() & 0o7777;
    if mode & NOT_OWNER != 0 {
        return Err(PasswordError::FileOpen { path: path.to_owned(), mode });
    }
    let mut bytes = Zeroizing::new(Vec::new());
    file.take(PASSWORD_BYTES_MAX + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    password(&bytes, &format!("password_file {}", path.display()))
}

/// Runs a program without a shell; its standard output is the password.
fn of_command(argv: &[String], time_max: Duration) -> Result<SecretString, PasswordError> {
    const POLL: Duration = Duration::from_millis(10);
    let (program, arguments) = argv.split_first().map_or(("", [].as_slice()), |(first, rest)| (first.as_str(), rest));
    let failed = |error| PasswordError::CommandFailed { program: program.to_owned(), error };
    // Standard error is dropped: what a failing password program says may hold what it knows.
    let mut child = Command::new(program)
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .map_err(failed)?;
    let stdout = child.stdout.take();
    let reader = thread::spawn(move || {
        let mut bytes = Zeroizing::new(Vec::new());
        match stdout {
            Some(stdout) => stdout.take(PASSWORD_BYTES_MAX + 1).read_to_end(&mut bytes).map(|_| bytes),
            None => Ok(bytes),
        }
    });
    let deadline = Instant::now() + time_max;
    let timeout = || PasswordError::CommandTimeout { program: program.to_owned() };
    let status = loop {
        if let Some(status) = child.try_wait().map_err(failed)? {
            break status;
        }
        if Instant::now() >= deadline {
            child.kill().map_err(failed)?;
            child.wait().map_err(failed)?;
            return Err(timeout());
        }
        thread::sleep(POLL);
    };
    if !status.success() {
        return Err(PasswordError::CommandStatus { program: program.to_owned(), status });
    }
    // A grandchild may still hold the pipe.
    while !reader.is_finished() {
        if Instant::now() >= deadline {
            return Err(timeout());
        }
        thread::sleep(POLL);
    }
    let bytes = reader.join().map_err(|_| failed(std::io::Error::other("its output could not be read")))?;
    password(&bytes.map_err(failed)?, "password_command")
}

/// One line without its end.
fn password(bytes: &[u8], from: &str) -> Result<SecretString, PasswordError> {
    let unusable = |what| PasswordError::Unusable { from: from.to_owned(), what };
    if bytes.len() as u64 > PASSWORD_BYTES_MAX {
        return Err(unusable("more than a password"));
    }
    let text = std::str::from_utf8(bytes).map_err(|_| unusable("bytes that are not UTF-8"))?;
    let text = text.strip_suffix('\n').unwrap_or(text);
    let text = text.strip_suffix('\r').unwrap_or(text);
    if text.is_empty() {
        return Err(unusable("nothing"));
    }
    if text.contains(['\n', '\0']) {
        return Err(unusable("more than one line, or a NUL byte"));
    }
    Ok(SecretString::from(text))
}

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn run(script: &str, time_max: Duration) -> Result<String, String> {
        let argv = ["sh".to_owned(), "-c".to_owned(), script.to_owned()];
        of_command(&argv, time_max).map(|secret| secret.expose_secret().to_owned()).map_err(|error| error.to_string())
    }

    #[test]
    fn a_command_gives_one_line_or_a_reason() {
        let second = Duration::from_secs(10);
        assert_eq!(run("echo secret", second).unwrap(), "secret");
        assert_eq!(run("printf ' two words \\r\\n'", second).unwrap(), " two words ");
        assert_eq!(
            run("echo canary; echo canary >&2; exit 3", second).unwrap_err(),
            "password_command `sh` ended with exit status: 3"
        );
        assert_eq!(run("true", second).unwrap_err(), "password_command gave nothing");
        assert!(run("printf 'a\\nb\\n'", second).unwrap_err().contains("more than one line"));
        assert!(run("head -c 100000 /dev/zero", second).is_err());
        assert!(run("sleep 30", Duration::from_millis(50)).unwrap_err().contains("was stopped"));
        assert!(run("sleep 5 & exit 0", Duration::from_millis(300)).unwrap_err().contains("was stopped"));
        let absent = of_command(&["/no/such/program".to_owned()], second).unwrap_err().to_string();
        assert!(absent.starts_with("failed to run password_command `/no/such/program`"));
    }
}
