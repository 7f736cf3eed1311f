//! One server process on one data directory.

use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use secrecy::{ExposeSecret, SecretString};

use super::binaries::{Binaries, LocalError, run};
use super::home::{RunAs, init, make_dir};
use crate::pg::conninfo::{Conninfo, Tls};
use crate::sql::literal;

/// A loaded machine with two cores takes seconds where an idle one takes a tenth.
const START_LIMIT: Duration = Duration::from_secs(60);
const STOP_LIMIT: Duration = Duration::from_secs(20);
const POLL: Duration = Duration::from_millis(5);

/// A server's directory: `data`, `log` and its Unix socket. It outlives this value; [`super::Cluster`] does not.
#[derive(Debug)]
pub struct Server {
    binaries: Binaries,
    user: RunAs,
    dir: PathBuf,
    port: u16,
    /// Reaped on stop; a server that another process started has none.
    child: Option<Child>,
}

impl Server {
    /// Creates a data directory in `dir` (which must not hold one), open to those who know the password of `postgres`,
    /// and writes its settings. Starts nothing.
    pub fn create(
        dir: &Path,
        binaries: Binaries,
        port: u16,
        password: &SecretString,
        settings: &[(&str, &str)],
    ) -> Result<Self, LocalError> {
        let server = Self::at(dir, binaries, port)?;
        make_dir(&server.dir)?;
        server.user.own(&server.dir)?;
        let file = server.dir.join("initial-password");
        write_secret(&file, password).map_err(|source| LocalError::file("write", &file, source))?;
        server.user.own(&file)?;
        let made = init(&server.binaries, server.user, &server.data_dir(), Some(&file));
        std::fs::remove_file(&file).map_err(|source| LocalError::file("remove", &file, source))?;
        made?;
        server.configure(settings)?;
        Ok(server)
    }

    /// Names a server whose directory exists already.
    pub fn at(dir: &Path, binaries: Binaries, port: u16) -> Result<Self, LocalError> {
        let dir = std::path::absolute(dir).map_err(|source| LocalError::file("resolve", dir, source))?;
        Ok(Self { binaries, user: RunAs::choose()?, dir, port, child: None })
    }

    /// Appends to `postgresql.conf`: what logical replication needs, then `settings`; the last one wins.
    pub(super) fn configure(&self, settings: &[(&str, &str)]) -> Result<(), LocalError> {
        let port = self.port.to_string();
        let sockets = self.dir.display().to_string();
        let base = [
            ("port", port.as_str()),
            ("listen_addresses", "127.0.0.1"),
            ("unix_socket_directories", sockets.as_str()),
            ("wal_level", "logical"),
            ("max_wal_senders", "20"),
            ("max_replication_slots", "20"),
            ("max_prepared_transactions", "10"),
            ("max_connections", "100"),
            // Many servers share the machine.
            ("shared_buffers", "32MB"),
            ("log_line_prefix", "%m [%p] %q%u@%d/%a "),
            ("logging_collector", "off"),
            ("timezone", "UTC"),
        ];
        let mut text = String::from("\n# pcrd\n");
        for (name, value) in base.iter().chain(settings) {
            text.push_str(&format!("{name} = {}\n", literal(value)));
        }
        let path = self.data_dir().join("postgresql.conf");
        let mut file = std::fs::File::options()
            .append(true)
            .open(&path)
            .map_err(|source| LocalError::file("open", &path, source))?;
        file.write_all(text.as_bytes()).map_err(|source| LocalError::file("write", &path, source))
    }

    /// Starts the server and returns when it takes connections.
    pub fn start(&mut self) -> Result<(), LocalError> {
        let log = self.log_path();
        let out = std::fs::File::options()
            .create(true)
            .append(true)
            .open(&log)
            .map_err(|source| LocalError::file("open", &log, source))?;
        let error = out.try_clone().map_err(|source| LocalError::file("open", &log, source))?;
        let program = self.binaries.program("postgres");
        let mut command = self.user.command(&program);
        command.arg("-D").arg(self.data_dir()).stdin(Stdio::null()).stdout(out).stderr(error);
        // Its own group: Ctrl-C in the terminal is for us, we then stop the server in order.
        std::os::unix::process::CommandExt::process_group(&mut command, 0);
        for name in ["PGDATA", "PGPORT", "PGHOST", "PGOPTIONS"] {
            command.env_remove(name);
        }
        let mut child = command
            .env("LC_ALL", "C")
            .spawn()
            .map_err(|source| LocalError::Spawn { program: program.display().to_string(), source })?;
        let begun = Instant::now();
        loop {
            let ended = child.try_wait().map_err(|source| LocalError::file("wait for", &program, source))?;
            if let Some(status) = ended {
                let (program, status) = (program.display().to_string(), status.to_string());
                return Err(LocalError::Failed { program, status, output: self.log_end() });
            }
            if self.is_ready(child.id()) {
                self.child = Some(child);
                return Ok(());
            }
            if begun.elapsed() > START_LIMIT {
                self.child = Some(child);
                let timeout = self.timeout("start", START_LIMIT);
                self.stop_with("QUIT")?;
                return Err(timeout);
            }
            std::thread::sleep(POLL);
        }
    }

    /// The postmaster writes its state to the eighth line of its pid file; `pg_ctl` looks there too.
    fn is_ready(&self, pid: u32) -> bool {
        std::fs::read_to_string(self.pid_path()).is_ok_and(|text| {
            let lines: Vec<&str> = text.lines().collect();
            lines.first().is_some_and(|line| line.trim() == pid.to_string())
                && lines.get(7).is_some_and(|line| line.trim() == "ready")
        })
    }

    /// Stops the server in order (fast shutdown), or by force if that takes too long. No error if it is not running.
    pub fn stop(&mut self) -> Result<(), LocalError> {
        match self.stop_with("INT") {
            // A walsender whose client never reads holds up a fast shutdown for ever.
            Err(LocalError::Timeout { .. }) => self.stop_with("QUIT"),
            other => other,
        }
    }

    /// Crashes the server: no checkpoint, no goodbye to clients, recovery at the next start.
    pub fn kill_immediate(&mut self) -> Result<(), LocalError> {
        self.stop_with("QUIT")
    }

    fn stop_with(&mut self, signal: &str) -> Result<(), LocalError> {
        let Some(pid) = self.pid()? else {
            if let Some(mut child) = self.child.take() {
                child.wait().map_err(|source| LocalError::file("wait for", &self.data_dir(), source))?;
            }
            return Ok(());
        };
        run(Command::new("kill").args(["-s", signal, &pid.to_string()]))?;
        let begun = Instant::now();
        while !self.has_ended(pid)? {
            if begun.elapsed() > STOP_LIMIT {
                return Err(self.timeout("stop", STOP_LIMIT));
            }
            std::thread::sleep(POLL);
        }
        self.child = None;
        Ok(())
    }

    fn has_ended(&mut self, pid: u32) -> Result<bool, LocalError> {
        match &mut self.child {
            Some(child) => {
                let ended = child.try_wait().map_err(|e| LocalError::file("wait for", &self.dir, e))?;
                Ok(ended.is_some())
            }
            // Not just gone: a zombie that its parent has yet to reap has ended too.
            None => Ok(!is_alive(pid) || !self.works_here(pid)),
        }
    }

    /// Returns the process id of the running server, whoever started it.
    pub fn pid(&mut self) -> Result<Option<u32>, LocalError> {
        if let Some(child) = &mut self.child {
            let ended = child.try_wait().map_err(|e| LocalError::file("wait for", &self.dir, e))?;
            return Ok(ended.is_none().then(|| child.id()));
        }
        let path = self.pid_path();
        let text = match std::fs::read_to_string(&path) {
            Ok(text) => text,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(source) => return Err(LocalError::file("read", &path, source)),
        };
        let pid = text.lines().next().and_then(|line| line.trim().parse().ok());
        Ok(pid.filter(|pid| is_alive(*pid) && self.works_here(*pid)))
    }

    /// A pid file outlives a crash, and its number may be another process's by now: a server works in its data directory.
    fn works_here(&self, pid: u32) -> bool {
        let Ok(cwd) = std::fs::read_link(format!("/proc/{pid}/cwd")) else {
            return !Path::new("/proc/self").exists();
        };
        self.data_dir().canonicalize().is_ok_and(|data| data == cwd)
    }

    /// Asks the server to read its settings again.
    pub fn reload(&mut self) -> Result<(), LocalError> {
        match self.pid()? {
            Some(pid) => run(Command::new("kill").args(["-s", "HUP", &pid.to_string()])).map(drop),
            None => Ok(()),
        }
    }

    /// Returns the port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// Returns the data directory.
    #[must_use]
    pub fn data_dir(&self) -> PathBuf {
        self.dir.join("data")
    }

    /// Returns the server's log file.
    #[must_use]
    pub fn log_path(&self) -> PathBuf {
        self.dir.join("log")
    }

    fn pid_path(&self) -> PathBuf {
        self.data_dir().join("postmaster.pid")
    }

    /// Returns connection settings for the superuser, without a password.
    #[must_use]
    pub fn conninfo(&self, database: &str) -> Conninfo {
        Conninfo {
            host: "127.0.0.1".into(),
            port: self.port,
            database: database.into(),
            user: "postgres".into(),
            password: None::<SecretString>,
            tls: Tls::default(),
            small_segments: false,
        }
    }

    pub(super) fn user(&self) -> RunAs {
        self.user
    }

    pub(super) fn binaries(&self) -> &Binaries {
        &self.binaries
    }

    fn timeout(&self, action: &'static str, limit: Duration) -> LocalError {
        LocalError::Timeout { action, data: self.data_dir(), seconds: limit.as_secs(), output: self.log_end() }
    }

    fn log_end(&self) -> String {
        let text = match std::fs::read(self.log_path()) {
            Ok(bytes) => String::from_utf8_lossy(&bytes).into_owned(),
            Err(error) => return format!("(its log cannot be read: {error})"),
        };
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(10)..].join("\n")
    }
}

fn write_secret(path: &Path, secret: &SecretString) -> std::io::Result<()> {
    let mut file = std::fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(secret.expose_secret().as_bytes())
}

fn is_alive(pid: u32) -> bool {
    run(Command::new("kill").args(["-s", "0", &pid.to_string()])).is_ok()
}
