//! The operator's programs around the switch: started without a shell, bounded in time, and written down before and after.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::OpenOptionsExt;
use std::os::unix::process::ExitStatusExt;
use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use rand::Rng;
use rustix::process::{Pid, Signal, kill_process_group};
use secrecy::ExposeSecret;
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::admission::host_name;
use super::context::Run;
use super::{ExecError, failpoint};
use crate::config::redact;
use crate::ledger::LedgerError;
use crate::ledger::hook::{self as calls, Call, CallEnd, Direction, Place};
use crate::pg::client::Client;
use crate::plan::{End, Hook};

/// Of what a program prints, at most so much is looked at, and so many lines are shown: the last ones.
const OUTPUT_BYTES_MAX: u64 = 2_048;
const OUTPUT_LINES_MAX: usize = 8;
/// Between a polite end and the other.
const TERM_GRACE: Duration = Duration::from_secs(2);
/// Attempts to write down what became of a program that has run.
const RECORDS_MAX: u32 = 10;

/// Passwords of fewer bytes are looked for as whole values only.
const SECRET_PART_MIN: usize = 6;
/// Variables of ours that hold passwords.
const SECRET_VARIABLES: [&str; 5] =
    ["PCRD_SOURCE_PASSWORD", "PCRD_TARGET_PASSWORD", "PCRD_PGBOUNCER_PASSWORD", "PCRD_REVERSE_PASSWORD", "PGPASSWORD"];

/// While somebody holds it, a stop that was asked for waits: no program of the operator's is left in the middle.
#[derive(Debug, Clone)]
pub struct Holds(Arc<watch::Sender<usize>>);

impl Default for Holds {
    fn default() -> Self {
        Self(Arc::new(watch::Sender::new(0)))
    }
}

impl Holds {
    /// Holds until the value is dropped.
    pub fn take(&self) -> Hold {
        self.0.send_modify(|n| *n += 1);
        Hold(Arc::clone(&self.0))
    }

    /// Returns once nobody holds it.
    pub async fn released(&self) {
        let mut heard = self.0.subscribe();
        // The sender is ours, so there is always one.
        let _open = heard.wait_for(|n| *n == 0).await;
    }
}

/// See [`Holds`].
#[derive(Debug)]
pub struct Hold(Arc<watch::Sender<usize>>);

impl Drop for Hold {
    fn drop(&mut self) {
        self.0.send_modify(|n| *n -= 1);
    }
}

/// How a call ended, with words for people.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Ended {
    /// Exit status 0.
    Well,
    /// Any other end of a program that was started.
    Badly(String),
    /// It was never started.
    NotStarted(String),
}

impl Ended {
    /// What went wrong, if anything.
    pub fn trouble(&self) -> Option<&str> {
        match self {
            Self::Well => None,
            Self::Badly(why) | Self::NotStarted(why) => Some(why),
        }
    }
}

/// Runs a program of the plan; nothing where it names none. The caller decides whether it may run.
///
/// # Errors
/// The ledger cannot be written, or another executor has the migration: then it was not started, or what became of it is
/// not written down.
pub async fn call(
    run: &Run,
    ledger: &Client,
    (direction, epoch): (Direction, i64),
    hook: Hook,
) -> Result<Option<Ended>, ExecError> {
    let argv = run.plan.settings.cutover.hooks.argv(hook);
    let Some((program, arguments)) = argv.split_first() else { return Ok(None) };
    let _hold = run.holds.take();
    others_ended(run, ledger).await?;
    let [recorded, started, ended, kept] = points(hook);
    let output = match output_file() {
        Ok(output) => output,
        Err(error) => return Ok(Some(Ended::NotStarted(format!("no file for its output could be made: {error}")))),
    };
    let number = calls::begin(ledger, &run.id, (direction, epoch), hook.word(), &output.place()).await?;
    failpoint::hit(recorded)?;
    run.note(format!("the {} hook runs", hook.word()));
    let began = Instant::now();
    let result = start(run, (direction, hook), output, (program, arguments));
    failpoint::hit(started)?;
    let result = match result {
        Ok(process) => wait(run, process).await,
        Err(error) => Ended::NotStarted(format!("`{program}` could not be started: {error}")),
    };
    failpoint::hit(ended)?;
    let (end, words) = match &result {
        Ended::Well => (CallEnd::Succeeded, "ended with exit status 0".to_owned()),
        // What it printed is shown and not kept.
        Ended::Badly(why) => (CallEnd::Failed, why.lines().next().unwrap_or_default().to_owned()),
        Ended::NotStarted(why) => (CallEnd::NotStarted, why.clone()),
    };
    record(run, ledger, number, end, &words).await?;
    failpoint::hit(kept)?;
    let took = began.elapsed().as_millis();
    run.note(match result.trouble() {
        None => format!("the {} hook succeeded in {took} ms", hook.word()),
        Some(why) => format!("the {} hook failed: {why}", hook.word()),
    });
    Ok(Some(result))
}

/// Every program of the plan can be found: one that is missing is to be known before anything is stopped.
///
/// # Errors
/// Which one cannot.
pub fn check_programs(run: &Run) -> Result<(), ExecError> {
    for hook in Hook::ALL {
        let Some(program) = run.plan.settings.cutover.hooks.argv(hook).first() else { continue };
        if !is_there(program) {
            let reason = format!("the program of the {} hook, `{program}`, is not there or cannot be run", hook.word());
            return Err(ExecError::CutoverAborted { reason });
        }
    }
    Ok(())
}

fn is_there(program: &str) -> bool {
    use std::os::unix::fs::PermissionsExt;
    let runs = |path: &Path| path.metadata().is_ok_and(|at| at.is_file() && at.permissions().mode() & 0o111 != 0);
    if program.contains('/') {
        return runs(Path::new(program));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| runs(&dir.join(program)))
}

/// Where a run may die: the call is written down, the program is started, it has ended, that is written down.
fn points(hook: Hook) -> [&'static str; 4] {
    match hook {
        Hook::BeforeFence => [
            "hook.before-fence-recorded",
            "hook.before-fence-started",
            "hook.before-fence-ended",
            "hook.before-fence-kept",
        ],
        Hook::Switch => ["hook.switch-recorded", "hook.switch-started", "hook.switch-ended", "hook.switch-kept"],
        Hook::AfterSwitch => [
            "hook.after-switch-recorded",
            "hook.after-switch-started",
            "hook.after-switch-ended",
            "hook.after-switch-kept",
        ],
        Hook::Abort => ["hook.abort-recorded", "hook.abort-started", "hook.abort-ended", "hook.abort-kept"],
    }
}

/// A program that runs. One that is let go of before its end is killed with everything that it started: what undoes its
/// work must not meet it.
struct Process {
    child: Child,
    group: Option<Pid>,
    output: Output,
}

impl Process {
    fn signal(&self, signal: Signal) {
        if let Some(group) = self.group {
            // A group that is gone is what was wanted.
            let _gone = kill_process_group(group, signal);
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if matches!(self.child.try_wait(), Ok(None)) {
            self.signal(Signal::KILL);
        }
    }
}

fn start(
    run: &Run,
    hook: (Direction, Hook),
    output: Output,
    (program, arguments): (&str, &[String]),
) -> io::Result<Process> {
    let mut command = Command::new(program);
    let (out, err) = (output.file.try_clone()?, output.file.try_clone()?);
    command.args(arguments).stdin(Stdio::null()).stdout(out).stderr(err);
    // Of its own, so that Ctrl-C on the terminal does not end it in the middle, and a timeout ends all of it.
    command.process_group(0);
    environment(run, hook, &mut command);
    let child = command.spawn()?;
    let group = child.id().and_then(|id| i32::try_from(id).ok()).and_then(Pid::from_raw);
    Ok(Process { child, group, output })
}

/// What a program prints. Not a pipe: a program whose pcrd has died must be able to go on to its end; and locked, so that whoever
/// comes after a pcrd that died sees whether it does.
struct Output {
    file: File,
    path: PathBuf,
}

impl Output {
    fn place(&self) -> Place {
        Place { host: host_name(), output: self.path.display().to_string() }
    }
}

impl Drop for Output {
    fn drop(&mut self) {
        // Of a call that has an end nobody asks again.
        let _gone = std::fs::remove_file(&self.path);
    }
}

fn output_file() -> io::Result<Output> {
    let number: u64 = rand::rng().random();
    let path = std::env::temp_dir().join(format!("pcrd-hook-{}-{number:016x}", std::process::id()));
    let file = OpenOptions::new().read(true).append(true).create_new(true).mode(0o600).open(&path)?;
    let output = Output { file, path };
    output.file.lock()?;
    Ok(output)
}

/// Whether the program of a call, or anything that it started, still runs; nothing where that cannot be seen from here.
fn lives(place: &Place) -> Option<bool> {
    if place.host != host_name() {
        return None;
    }
    match File::open(&place.output) {
        // Who died before the program was started has left it too.
        Ok(file) => match file.try_lock() {
            Ok(()) => {
                let _gone = std::fs::remove_file(&place.output);
                Some(false)
            }
            Err(TryLockError::WouldBlock) => Some(true),
            Err(TryLockError::Error(_)) => None,
        },
        Err(error) => (error.kind() == io::ErrorKind::NotFound).then_some(false),
    }
}

/// The program of a call without an end that still runs, in words.
pub fn running(call: &Call) -> Option<String> {
    let Call { hook, direction, place, end: None, .. } = call else { return None };
    let way = if *direction == Direction::Back { " of the way back," } else { "" };
    (lives(place) == Some(true)).then(|| {
        format!("the {hook} hook{way} of an executor that died still runs (what it prints goes to {})", place.output)
    })
}

/// What is to be known of a call without an end whose program cannot be looked for from here.
pub fn elsewhere(call: &Call) -> Option<String> {
    (call.end.is_none() && lives(&call.place).is_none())
        .then(|| format!("whether it still runs can only be seen on {}", call.place.host))
}

/// Waits for programs of executors that died: two at once would undo one another's work.
async fn others_ended(run: &Run, ledger: &Client) -> Result<(), ExecError> {
    let limit = Duration::from_secs(run.plan.settings.cutover.hooks.timeout_s);
    let (began, mut said) = (Instant::now(), false);
    while let Some(why) = calls::without_end(ledger, &run.id).await?.iter().find_map(running) {
        if began.elapsed() >= limit {
            return Err(ExecError::Step { step: "hook".to_owned(), reason: format!("{why}; end it, then try again") });
        }
        if !std::mem::replace(&mut said, true) {
            run.waiting(format!("{why}; waiting for its end for at most {} s", limit.as_secs()));
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// What a program needs to know, and no password: neither ours by name nor one under a name of the operator's.
fn environment(run: &Run, (direction, hook): (Direction, Hook), command: &mut Command) {
    let secrets = secrets(run);
    for (name, value) in std::env::vars_os() {
        let is_secret = value.to_str().is_some_and(|value| secrets.iter().any(|secret| holds(value, secret)));
        if is_secret || name.to_str().is_some_and(|name| SECRET_VARIABLES.contains(&name)) {
            command.env_remove(&name);
        }
    }
    command.env("PCRD_HOOK", hook.word()).env("PCRD_DIRECTION", direction.word()).env("PCRD_MIGRATION", &run.id);
    let (from, to) = match direction {
        Direction::Forward => (&run.source, &run.target),
        Direction::Back => (&run.target, &run.source),
    };
    for (end, info) in [("SOURCE", &run.source), ("TARGET", &run.target), ("FROM", from), ("TO", to)] {
        command
            .env(format!("PCRD_{end}_HOST"), &info.host)
            .env(format!("PCRD_{end}_PORT"), info.port.to_string())
            .env(format!("PCRD_{end}_DATABASE"), &info.database);
    }
}

/// A short password is found only where it stands alone: as a part of something else it may be anything.
fn holds(value: &str, secret: &str) -> bool {
    value == secret || (secret.len() >= SECRET_PART_MIN && value.contains(secret))
}

fn secrets(run: &Run) -> Vec<String> {
    let infos = [Some(&run.source), Some(&run.target), run.pooler.as_ref(), run.back.as_ref()];
    let passwords = infos.into_iter().flatten().filter_map(|info| info.password.as_ref());
    passwords.map(|password| password.expose_secret().to_owned()).filter(|password| !password.is_empty()).collect()
}

async fn wait(run: &Run, mut process: Process) -> Ended {
    let limit = Duration::from_secs(run.plan.settings.cutover.hooks.timeout_s);
    let why = match tokio::time::timeout(limit, process.child.wait()).await {
        Ok(Ok(status)) if status.success() => return Ended::Well,
        Ok(Ok(status)) => ended_with(status),
        Ok(Err(error)) => format!("could not be waited for: {error}"),
        Err(_) => {
            process.signal(Signal::TERM);
            let _late = tokio::time::timeout(TERM_GRACE, process.child.wait()).await;
            // What it started may have stayed.
            process.signal(Signal::KILL);
            let _killed = process.child.wait().await;
            format!("was stopped after {} s", limit.as_secs())
        }
    };
    let output = last_lines(&mut process.output.file, &secrets(run));
    Ended::Badly(if output.is_empty() { why } else { format!("{why}; it said:\n{output}") })
}

fn ended_with(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("ended with exit status {code}"),
        (None, Some(signal)) => format!("was killed by signal {signal}"),
        (None, None) => "ended in an unknown way".to_owned(),
    }
}

/// The end of what a program printed, without anything that looks like a secret.
fn last_lines(file: &mut File, secrets: &[String]) -> String {
    let mut bytes = Vec::new();
    let length = file.seek(SeekFrom::End(0)).unwrap_or(0);
    let is_cut = length > OUTPUT_BYTES_MAX;
    let from = SeekFrom::Start(length.saturating_sub(OUTPUT_BYTES_MAX));
    if file.seek(from).and_then(|_| file.take(OUTPUT_BYTES_MAX).read_to_end(&mut bytes)).is_err() {
        return String::new();
    }
    let mut text = String::from_utf8_lossy(&bytes).into_owned();
    if is_cut {
        // What is left of the first line may be the rest of a secret.
        text = text.split_once('\n').map_or_else(String::new, |(_, rest)| rest.to_owned());
    }
    for secret in secrets {
        text = text.replace(secret.as_str(), "***");
    }
    let text = redact::masked(&text, None);
    let lines: Vec<&str> = text.lines().map(str::trim_end).filter(|line| !line.is_empty()).collect();
    lines[lines.len().saturating_sub(OUTPUT_LINES_MAX)..].join("\n")
}

/// What a program did is not to be forgotten because a connection was lost meanwhile.
async fn record(run: &Run, ledger: &Client, number: i64, end: CallEnd, words: &str) -> Result<(), ExecError> {
    let call = (number, run.epoch);
    let mut result = calls::ended(ledger, call, end, words).await;
    for _ in 1..RECORDS_MAX {
        // An executor that was away for long does not take back what was said of the call meanwhile.
        if matches!(result, Ok(()) | Err(LedgerError::Fenced { .. })) {
            break;
        }
        tokio::time::sleep(Duration::from_millis(500)).await;
        if let Ok(again) = run.connect(End::Target, "record").await {
            result = calls::ended(&again, call, end, words).await;
        }
    }
    Ok(result?)
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use futures_util::FutureExt;

    use super::*;

    fn shown(text: &str, secrets: &[&str]) -> String {
        let mut file = output_file().unwrap();
        file.file.write_all(text.as_bytes()).unwrap();
        last_lines(&mut file.file, &secrets.iter().map(ToString::to_string).collect::<Vec<_>>())
    }

    #[test]
    fn what_is_shown_is_short_and_has_no_secret() {
        assert_eq!(shown("one\n\ntwo \n", &[]), "one\ntwo");
        let said = shown("token canary-1 and\npassword=canary-2\npostgresql://u:canary-3@h/d\n", &["canary-1"]);
        assert!(!said.contains("canary") && said.contains("and"), "{said}");
        let many: String = (0..1_000).map(|n| format!("line {n}\n")).collect();
        assert_eq!(
            shown(&many, &[]).lines().collect::<Vec<_>>(),
            (992..1_000).map(|n| format!("line {n}")).collect::<Vec<_>>()
        );
        let long = format!("{}secret-tail\nend\n", "x".repeat(10_000));
        assert_eq!(shown(&long, &[]), "end");
        assert!(!shown("a\u{1b}[2Jb", &[]).contains('\u{1b}'));
    }

    #[test]
    fn programs_are_found_as_they_are_started() {
        assert!(is_there("sh") && is_there("/bin/sh"));
        assert!(
            !is_there("/no/such/program") && !is_there("no-such-program") && !is_there("/etc/passwd") && !is_there("/")
        );
    }

    #[test]
    fn a_program_that_still_runs_is_seen() {
        let mut output = output_file().unwrap();
        let place = output.place();
        let child = output.file.try_clone().unwrap();
        let mut sleeper = std::process::Command::new("sleep").arg("60").stdout(child).spawn().unwrap();
        // Its pcrd dies, and cannot tidy up.
        output.file = File::open("/dev/null").unwrap();
        std::mem::forget(output);
        assert_eq!(lives(&place), Some(true));
        assert_eq!(lives(&Place { host: "of somebody else".to_owned(), ..place.clone() }), None);
        sleeper.kill().unwrap();
        sleeper.wait().unwrap();
        assert_eq!(lives(&place), Some(false));
        assert!(!Path::new(&place.output).exists());
        assert_eq!(lives(&place), Some(false), "it was removed");
    }

    #[tokio::test]
    async fn a_stop_waits_for_the_last_hold() {
        let holds = Holds::default();
        holds.released().await;
        let (one, two) = (holds.take(), holds.take());
        drop(one);
        assert_eq!(holds.released().now_or_never(), None);
        drop(two);
        holds.released().await;
    }
}
