//! A directory of its own, no environment but what is set here, a fixed width.

use std::path::Path;

use assert_cmd::Command;

/// A small config that is valid.
pub(crate) const CONFIG: &str = "\
source:
  host: 127.0.0.1
  database: shop
  user: pcrd
target:
  host: 127.0.0.1
  port: 5433
  database: shop
  user: pcrd
migrate:
  tables:
    - name: orders
      columns:
        id:
          type: bigint
";

/// A place to run the program in.
pub(crate) struct Environment {
    dir: tempfile::TempDir,
}

/// What a run said and how it ended.
#[must_use = "look at the exit code or the output"]
pub(crate) struct Ran {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

impl Environment {
    pub(crate) fn new() -> Self {
        Self { dir: tempfile::tempdir().unwrap() }
    }

    /// With the files of a case of `plans/`.
    pub(crate) fn of_case(case: &str) -> Self {
        let env = Self::new();
        let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("plans").join(case);
        for file in ["pcrd.config.yml", "source.json", "target.json"] {
            std::fs::copy(from.join(file), env.path().join(file)).unwrap();
        }
        env
    }

    pub(crate) fn path(&self) -> &Path {
        self.dir.path()
    }

    pub(crate) fn write(&self, name: &str, text: &str) {
        std::fs::write(self.path().join(name), text).unwrap();
    }

    /// The program, not started yet.
    pub(crate) fn command(&self) -> std::process::Command {
        let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_pcrd"));
        command.env_clear().env("COLUMNS", "100").env("HOME", self.path()).current_dir(self.path());
        command
    }

    pub(crate) fn run(&self, args: &[&str]) -> Ran {
        self.run_with(args, "")
    }

    /// Runs with this text on standard input.
    pub(crate) fn run_with(&self, args: &[&str], stdin: &str) -> Ran {
        let mut command = Command::from_std(self.command());
        let output =
            command.args(args).write_stdin(stdin).timeout(std::time::Duration::from_secs(60)).output().unwrap();
        Ran {
            code: output.status.code().expect("the program was killed by a signal or the timeout"),
            stdout: String::from_utf8(output.stdout).unwrap(),
            stderr: String::from_utf8(output.stderr).unwrap(),
        }
    }

    /// Runs and expects this exit code.
    pub(crate) fn run_expecting(&self, code: i32, args: &[&str]) -> Ran {
        let ran = self.run(args);
        assert_eq!(ran.code, code, "{args:?}\nstdout: {}\nstderr: {}", ran.stdout, ran.stderr);
        ran
    }
}
