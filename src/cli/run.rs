//! From the arguments to the exit code.

use std::ffi::OsString;
use std::io::Write;
use std::panic::AssertUnwindSafe;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};

use super::args::{Cli, ColorChoice, Command};
use super::command;
use super::context::{self, Context};
use super::error::{CommandError, Exit};
use super::shutdown::Shutdown;

/// Runs the program with the process's arguments.
pub fn main() -> ExitCode {
    // Points are set by the environment variable FAILPOINTS for as long as this value lives.
    #[cfg(feature = "failpoints")]
    let _failpoints = fail::FailScenario::setup();
    let args: Vec<OsString> = std::env::args_os().collect();
    let cli = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return refused(&error, args.iter().any(|arg| arg == "--json")).into(),
    };
    let (color, json) = (cli.global.color, cli.global.json);
    let outcome = std::panic::catch_unwind(AssertUnwindSafe(|| run(cli))).unwrap_or_else(|panic| {
        let error = crate::exec::ExecError::panic(panic.as_ref());
        Err(super::executor::explain(error))
    });
    match outcome {
        Ok(exit) => exit.into(),
        Err(error) => {
            say(&error.render(context::look(color), json));
            error.exit().into()
        }
    }
}

fn run(cli: Cli) -> Result<Exit, CommandError> {
    let Some(command) = cli.command else {
        return without_command(cli.global.verbose > 0);
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| CommandError::new(Exit::Failed, error))?;
    let outcome = runtime.block_on(async {
        let shutdown = Shutdown::listen().map_err(|error| CommandError::new(Exit::Failed, error))?;
        let ctx = Context::new(&cli.global, shutdown);
        tokio::select! {
            outcome = dispatch(&ctx, &command) => outcome,
            () = ctx.shutdown.requested(), if !command.stops_itself() => Err(CommandError::interrupted()),
        }
    });
    // A thread that still waits for an answer on stdin must not keep the process.
    runtime.shutdown_background();
    outcome
}

impl Command {
    /// True for commands that write to a database and bring themselves to a clean stop; the others are just dropped.
    fn stops_itself(&self) -> bool {
        match self {
            Self::Apply(_)
            | Self::Migrate(_)
            | Self::Demo(_)
            | Self::Cutover(_)
            | Self::Rollback(_)
            | Self::Finalize(_)
            | Self::Abort(_)
            | Self::Cleanup(_) => true,
            Self::Validate(_)
            | Self::Fmt(_)
            | Self::Inspect(_)
            | Self::Analyze(_)
            | Self::Plan(_)
            | Self::Show(_)
            | Self::Audit(_)
            | Self::Diff(_)
            | Self::Graph(_)
            | Self::Explain(_)
            | Self::Readiness(_)
            | Self::Pause(_)
            | Self::Resume(_)
            | Self::Throttle(_)
            | Self::Skip(_)
            | Self::Verify(_)
            | Self::Status(_)
            | Self::Completions(_)
            | Self::Man(_)
            | Self::Schema(_) => false,
        }
    }
}

async fn dispatch(ctx: &Context, command: &Command) -> Result<Exit, CommandError> {
    match command {
        Command::Validate(args) => command::validate::run(ctx, args),
        Command::Fmt(args) => command::fmt::run(ctx, args),
        Command::Inspect(args) => command::inspect::run(ctx, args).await,
        Command::Analyze(args) => command::analyze::run(ctx, args).await,
        Command::Plan(args) => command::plan::run(ctx, args).await,
        Command::Show(args) => command::show::run(ctx, args),
        Command::Audit(args) => command::audit::run(ctx, args),
        Command::Diff(args) => command::diff::run(ctx, args),
        Command::Graph(args) => command::graph::run(ctx, args),
        Command::Explain(args) => command::explain::run(ctx, args),
        Command::Readiness(args) => command::readiness::run(ctx, args).await,
        Command::Apply(args) => command::apply::run(ctx, args).await,
        Command::Migrate(args) => command::migrate::run(ctx, args).await,
        Command::Cutover(args) => command::cutover::run(ctx, args).await,
        Command::Rollback(args) => command::rollback::rollback(ctx, args).await,
        Command::Finalize(args) => command::rollback::finalize(ctx, args).await,
        Command::Abort(args) => command::abort::run(ctx, args).await,
        Command::Cleanup(args) => command::cleanup::run(ctx, args).await,
        Command::Pause(_) => command::pause::run(ctx, "pause").await,
        Command::Resume(_) => command::pause::run(ctx, "resume").await,
        Command::Throttle(args) => command::throttle::run(ctx, args).await,
        Command::Skip(args) => command::skip::run(ctx, args).await,
        Command::Verify(args) => command::verify::run(ctx, args).await,
        Command::Status(args) => command::status::run(ctx, args).await,
        Command::Demo(what) => command::demo::run(ctx, what).await,
        Command::Completions(args) => command::completions::run(ctx, args),
        Command::Man(args) => command::man::run(ctx, args),
        Command::Schema(args) => command::schema::run(ctx, args),
    }
}

/// `pcrd -v` prints the version, as the original did; `pcrd` alone is a usage error that shows the help.
fn without_command(version: bool) -> Result<Exit, CommandError> {
    if version {
        writeln!(std::io::stdout(), "pcrd {}", env!("CARGO_PKG_VERSION")).map_err(CommandError::output)?;
        return Ok(Exit::Done);
    }
    say(&Cli::command().render_help().to_string());
    Ok(Exit::Usage)
}

/// What clap stopped at: help and version are data, everything else is a usage error.
fn refused(error: &clap::Error, json: bool) -> Exit {
    if !error.use_stderr() {
        return match write!(std::io::stdout(), "{}", error.render()) {
            Ok(()) => Exit::Done,
            Err(error) => CommandError::output(error).exit(),
        };
    }
    if json {
        let text = error.render().to_string();
        let text = text.trim().trim_start_matches("error: ").to_owned();
        say(&CommandError::new(Exit::Usage, text).render(context::look(ColorChoice::Never), true));
    } else {
        say(&error.render().to_string());
    }
    Exit::Usage
}

fn say(text: &str) {
    // Nothing better can be done about a stderr that is gone.
    let _ = write!(std::io::stderr(), "{text}");
}
