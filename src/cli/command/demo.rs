//! `pcrd demo`.

use std::path::Path;

use crate::cli::context::Context;
use crate::cli::database::{conninfo, load_config};
use crate::cli::demo_run;
use crate::cli::error::{CommandError, Exit};
use crate::demo;
use crate::pg::conninfo::Conninfo;
use crate::plan::End;
use crate::ui::number::grouped;

/// The commands of `demo`.
#[derive(Debug, clap::Subcommand)]
pub enum DemoCommand {
    /// Start two local clusters below ./.pcrd-demo, or find them running
    Up,
    /// Create the three tables on the source; touches only an empty database, or one marked as demo
    Setup,
    /// Fill the tables, the same way every time
    Seed(SeedArgs),
    /// All of it: clusters, rows, a writer, the migration, the cutover, a summary
    Run(RunArgs),
    /// Remove what setup and migrations left in both databases; touches only those marked as demo
    Reset,
    /// Stop the clusters and remove ./.pcrd-demo
    Down,
}

/// Arguments of `demo seed`.
#[derive(Debug, clap::Args)]
pub struct SeedArgs {
    /// Listings; users and agents in proportion
    #[arg(long, default_value_t = 50_000)]
    pub rows: u32,
    /// The same number gives the same rows
    #[arg(long, default_value_t = 42)]
    pub seed: u32,
}

/// Arguments of `demo run`.
#[derive(Debug, clap::Args)]
pub struct RunArgs {
    /// Listings; users and agents in proportion
    #[arg(long, default_value_t = 200_000)]
    pub rows: u32,
    /// The same number gives the same rows
    #[arg(long, default_value_t = 42)]
    pub seed: u32,
    /// Writes a second, all clients together
    #[arg(long, default_value_t = 330, value_parser = clap::value_parser!(u32).range(1..))]
    pub writes: u32,
    /// Clients that write
    #[arg(long, default_value_t = 6, value_parser = clap::value_parser!(u32).range(1..))]
    pub clients: u32,
}

/// Runs a command of the demo.
pub async fn run(ctx: &Context, command: &DemoCommand) -> Result<Exit, CommandError> {
    match command {
        DemoCommand::Run(args) => demo_run::run(ctx, args).await,
        // The others are short, and each of their transactions is whole or undone: a signal may drop them.
        other => tokio::select! {
            outcome = short(ctx, other) => outcome,
            () = ctx.shutdown.requested() => Err(CommandError::interrupted()),
        },
    }
}

async fn short(ctx: &Context, command: &DemoCommand) -> Result<Exit, CommandError> {
    let here = Path::new(".");
    match command {
        DemoCommand::Up => {
            let demo = demo::up(here).await?;
            ctx.data(&format!(
                "source: PostgreSQL {} on port {}\ntarget: PostgreSQL {} on port {}\nconfig: {}",
                demo.source_major,
                demo.source.port,
                demo.target_major,
                demo.target.port,
                demo.config.display()
            ))?;
            ctx.note(
                "next: pcrd demo run; or step by step: pcrd demo setup, pcrd demo seed, pcrd plan -c the config above",
            );
        }
        DemoCommand::Setup => {
            let (source, target) = ends(ctx)?;
            // Also the target's mark is what lets `reset` empty it later.
            if let Some(target) = target {
                demo::mark(&target).await?;
            }
            demo::setup(&source).await?;
            ctx.note("the tables users, agents and listings are there; next: pcrd demo seed");
        }
        DemoCommand::Seed(args) => {
            let seeded = demo::seed(&ends(ctx)?.0, args.rows, args.seed).await?;
            let count = |n: i64| grouped(n.unsigned_abs());
            ctx.data(&format!(
                "{} users, {} agents, {} listings",
                count(seeded.users),
                count(seeded.agents),
                count(seeded.listings)
            ))?;
        }
        DemoCommand::Reset => {
            let (source, target) = ends(ctx)?;
            demo::reset(&source).await?;
            if let Some(target) = target {
                demo::reset(&target).await?;
            }
            ctx.note("the tables and what migrations left are gone; next: pcrd demo setup");
        }
        DemoCommand::Down => {
            demo::down(here)?;
            ctx.note("the clusters are stopped and their directory is removed");
        }
        DemoCommand::Run(args) => return demo_run::run(ctx, args).await,
    }
    Ok(Exit::Done)
}

/// The databases of the config; without a config file, those of `demo up`.
fn ends(ctx: &Context) -> Result<(Conninfo, Option<Conninfo>), CommandError> {
    if !ctx.config.exists() {
        let demo = demo::find(Path::new("."))?;
        return Ok((demo.source, Some(demo.target)));
    }
    let config = load_config(ctx)?;
    let target = match &config.target {
        Some(_) => Some(conninfo(ctx, &config, End::Target)?),
        None => None,
    };
    Ok((conninfo(ctx, &config, End::Source)?, target))
}
