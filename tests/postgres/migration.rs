//! One migration as an operator runs it: a config file, the program, its events.

use std::collections::BTreeMap;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Output, Stdio};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use crate::support::TestPair;

/// Files and servers of one migration.
pub struct Migration {
    pub dir: tempfile::TempDir,
    /// Extra environment of every call.
    pub environment: Vec<(String, String)>,
}

/// What a finished call of the program said.
#[derive(Debug)]
pub struct Said {
    pub code: Option<i32>,
    pub lines: Vec<String>,
    pub stderr: String,
}

impl Migration {
    /// Writes the config: `tables` is the YAML of `migrate.tables`, `more` stands below `migrate:`.
    pub fn new(pair: &TestPair, tables: &str, more: &str) -> Self {
        Self::between(pair, "postgres", tables, more)
    }

    /// The same between two databases of this name.
    pub fn between(pair: &TestPair, database: &str, tables: &str, more: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let end = |port: u16, database: &str| {
            format!("{{ host: 127.0.0.1, port: {port}, database: {database}, user: postgres }}")
        };
        let config = format!(
            "source: {}\ntarget: {}\nmigrate:\n  checkpoint_db: ./state.sqlite3\n{more}\n  tables:\n{tables}\n\
             cutover: {{ fence_timeout: 60 }}\n",
            end(pair.source.port(), database),
            end(pair.target.port(), database),
        );
        std::fs::write(dir.path().join("pcrd.config.yml"), config).unwrap();
        Self { dir, environment: Vec::new() }
    }

    /// From a desired schema in SQL.
    pub fn of_schema(pair: &TestPair, database: &str, desired: &str, more: &str) -> Self {
        let migration = Self::between(pair, database, "    []\n", &format!("  schema: ./desired.sql\n{more}"));
        let path = migration.dir.path().join("pcrd.config.yml");
        let config = std::fs::read_to_string(&path).unwrap();
        std::fs::write(&path, config.replace("  tables:\n    []\n", "")).unwrap();
        std::fs::write(migration.dir.path().join("desired.sql"), desired).unwrap();
        migration
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_pcrd"));
        command.current_dir(self.dir.path()).args(args).stdin(Stdio::null());
        for name in ["FAILPOINTS", "PGPASSWORD", "PGHOST", "PGPORT", "PGUSER", "PGDATABASE", "PGSERVICE"] {
            command.env_remove(name);
        }
        command.envs(self.environment.iter().map(|(name, value)| (name, value)));
        command
    }

    /// Runs a command to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs a command that must succeed.
    #[track_caller]
    pub fn ok(&self, args: &[&str]) -> String {
        let output = self.run(args);
        let (stdout, stderr) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        assert!(output.status.success(), "pcrd {args:?}: {}\n{stdout}\n{stderr}", output.status);
        stdout.into_owned()
    }

    /// Compiles the plan.
    #[track_caller]
    pub fn plan(&self) {
        self.ok(&["plan", "--out", "plan.json"]);
    }

    /// Starts a command; its events can be read while it runs.
    pub fn start(&self, args: &[&str], failpoints: &str) -> Running {
        let mut command = self.command(args);
        if !failpoints.is_empty() {
            command.env("FAILPOINTS", failpoints);
        }
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, lines) = mpsc::channel();
        let stdout = child.stdout.take().unwrap();
        std::thread::spawn(move || {
            for line in BufReader::new(stdout).lines().map_while(Result::ok) {
                if sender.send(line).is_err() {
                    return;
                }
            }
        });
        let stderr = child.stderr.take().unwrap();
        let (sender, errors) = mpsc::channel();
        std::thread::spawn(move || {
            let text = std::io::read_to_string(stderr).unwrap_or_else(|error| error.to_string());
            // Nobody reads it when the test has failed already.
            let _ = sender.send(text);
        });
        Running { child, lines, errors, seen: Vec::new() }
    }

    /// Runs `apply` through the cutover.
    pub fn cut_over(&self, failpoints: &str) -> Said {
        self.start(&["--json", "apply", "plan.json", "--yes", "--through", "cutover"], failpoints).wait()
    }
}

/// A running call of the program.
pub struct Running {
    pub child: Child,
    lines: mpsc::Receiver<String>,
    errors: mpsc::Receiver<String>,
    seen: Vec<String>,
}

impl Running {
    /// Waits for a line with this text.
    #[track_caller]
    pub fn wait_for(&mut self, text: &str) {
        let until = Instant::now() + Duration::from_secs(120);
        while Instant::now() < until {
            match self.lines.recv_timeout(Duration::from_millis(200)) {
                Ok(line) => {
                    let found = line.contains(text);
                    self.seen.push(line);
                    if found {
                        return;
                    }
                }
                Err(mpsc::RecvTimeoutError::Timeout) => {}
                Err(mpsc::RecvTimeoutError::Disconnected) => break,
            }
        }
        let errors = self.errors.recv_timeout(Duration::from_secs(1)).unwrap_or_default();
        panic!("`{text}` was never said:\n{}\n{errors}", self.seen.join("\n"));
    }

    /// Asks it to stop, as Ctrl-C does.
    pub fn interrupt(self) -> Said {
        self.signal("-INT");
        self.finish()
    }

    /// Sends `-STOP`, `-CONT` or another.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap();
        assert!(sent.success(), "{name}: {sent}");
    }

    /// Ends it as a crash would.
    pub fn kill(mut self) -> Said {
        self.child.kill().unwrap();
        self.wait()
    }

    /// Waits for its end; one that does not come fails the test instead of hanging it.
    #[track_caller]
    pub fn finish(self) -> Said {
        self.wait_at_most(Duration::from_secs(180))
    }

    /// Waits for its end, or kills it and fails.
    #[track_caller]
    pub fn wait_at_most(mut self, limit: Duration) -> Said {
        let until = Instant::now() + limit;
        while self.child.try_wait().unwrap().is_none() {
            if Instant::now() > until {
                let said = self.kill();
                panic!("it did not end within {limit:?}:\n{}\n{}", said.lines.join("\n"), said.stderr);
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        self.wait()
    }

    /// Waits for its end.
    pub fn wait(mut self) -> Said {
        let status = self.child.wait().unwrap();
        let stderr = self.errors.recv_timeout(Duration::from_secs(10)).unwrap_or_default();
        self.seen.extend(self.lines.iter());
        Said { code: status.code(), lines: self.seen, stderr }
    }
}

impl Said {
    /// The counters at the end of the run.
    pub fn counters(&self) -> BTreeMap<String, u64> {
        self.lines
            .iter()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|line| line["type"] == "counter")
            .map(|line| (line["name"].as_str().unwrap().to_owned(), line["value"].as_u64().unwrap()))
            .collect()
    }

    #[track_caller]
    pub fn assert_switched(&self) {
        assert_eq!(self.code, Some(0), "{}\n{}", self.lines.join("\n"), self.stderr);
    }
}
