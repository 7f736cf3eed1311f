//! The flags and commands.

use std::path::PathBuf;

use clap::{Parser, Subcommand, ValueEnum};

use super::command;
use super::error::Exit;

/// Changes the shape of PostgreSQL tables while the application keeps running: compiles a reviewed plan, then copies,
/// streams, verifies and cuts over between two live clusters.
#[derive(Debug, Parser)]
#[command(name = "pcrd", version, after_help = Exit::table(), max_term_width = 120)]
pub struct Cli {
    /// Flags of every command.
    #[command(flatten)]
    pub global: Global,
    /// The command.
    #[command(subcommand)]
    pub command: Option<Command>,
}

/// Flags of every command.
#[derive(Debug, clap::Args)]
pub struct Global {
    /// Config file
    #[arg(short, long, global = true, value_name = "FILE", default_value = "pcrd.config.yml")]
    pub config: PathBuf,
    /// State file (SQLite) instead of the config's `state`
    #[arg(long, global = true, value_name = "FILE")]
    pub state: Option<PathBuf>,
    /// Colours on the terminal
    #[arg(long, global = true, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,
    /// One JSON object a line for events, one document for reports; errors as JSON on stderr
    #[arg(long, global = true)]
    pub json: bool,
    /// Say more; alone, without a command: print the version
    #[arg(short, long, global = true, action = clap::ArgAction::Count)]
    pub verbose: u8,
    /// Say only failures and results
    #[arg(short, long, global = true)]
    pub quiet: bool,
}

/// When to use colours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ColorChoice {
    /// On a terminal, unless `NO_COLOR` is set
    Auto,
    /// Always
    Always,
    /// Never
    Never,
}

/// The commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Check the config, or a desired schema in SQL, without a database
    Validate(command::validate::ValidateArgs),
    /// Format desired schemas in SQL, without a database
    Fmt(command::fmt::FmtArgs),
    /// Save the catalog of a database, for planning without one, or as a desired schema to edit
    Inspect(command::inspect::InspectArgs),
    /// Report what the order of columns costs
    Analyze(command::analyze::AnalyzeArgs),
    /// Compile the config into a plan and show what would happen
    Plan(command::plan::PlanArgs),
    /// Show a plan file, without a database
    Show(command::show::ShowArgs),
    /// Prove a plan file to be what it says, and hold it against a policy, without a database
    Audit(command::audit::AuditArgs),
    /// Say what changed between two plan files, without a database
    Diff(command::diff::DiffArgs),
    /// Draw the graph of a plan's steps, without a database
    Graph(command::graph::GraphArgs),
    /// Say what a finding means, and what to do instead
    Explain(command::explain::ExplainArgs),
    /// List what the target needs besides rows, and what of it is there
    Readiness(command::readiness::ReadinessArgs),
    /// Run a plan, or go on with it; stops at the gate before the cutover
    Apply(command::apply::ApplyArgs),
    /// Plan and apply in one, with the original's flags
    Migrate(command::migrate::MigrateArgs),
    /// Fence the source, drain, verify, and make the target the database
    Cutover(command::cutover::CutoverArgs),
    /// After the switch: fence the target, let its last changes go back, and make the source the database again
    Rollback(command::rollback::RollbackArgs),
    /// After the switch: end the way back
    Finalize(command::rollback::FinalizeArgs),
    /// Give a migration up: remove what its plan created
    Abort(command::abort::AbortArgs),
    /// After the cutover: remove slot and publication
    Cleanup(command::cleanup::CleanupArgs),
    /// Pause the copy; the stream goes on
    Pause(command::pause::PauseArgs),
    /// Let a paused copy go on
    Resume(command::pause::PauseArgs),
    /// Limit a running copy
    Throttle(command::throttle::ThrottleArgs),
    /// Leave one streamed change out that the target refuses, for good and with a reason
    Skip(command::skip::SkipArgs),
    /// Compare all rows of both databases
    Verify(command::verify::VerifyArgs),
    /// Say where the migration stands
    Status(command::status::StatusArgs),
    /// Try it out: two local clusters, three tables, a writer
    #[command(subcommand)]
    Demo(command::demo::DemoCommand),
    /// Print a completion script for a shell
    Completions(command::completions::CompletionsArgs),
    /// Print the manual page
    Man(command::man::ManArgs),
    /// Print the JSON Schema of a file format
    Schema(command::schema::SchemaArgs),
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        <Cli as clap::CommandFactory>::command().debug_assert();
    }
}
