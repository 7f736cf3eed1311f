//! `pcrd diff`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::read_plan;
use crate::plan::Plan;
use crate::plan::compare::compare;
use crate::plan::render::comparison;

/// Arguments of `diff`.
#[derive(Debug, clap::Args)]
pub struct DiffArgs {
    /// The plan that was reviewed
    #[arg(value_name = "BEFORE")]
    pub before: PathBuf,
    /// The plan that takes its place
    #[arg(value_name = "AFTER")]
    pub after: PathBuf,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: DiffFormat,
    /// Exit 2 when the plans differ, 0 when they do the same
    #[arg(long)]
    pub detailed_exitcode: bool,
}

/// How a comparison is printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum DiffFormat {
    /// For people
    Text,
    /// One document
    Json,
    /// A comment for a pull request
    Markdown,
}

/// Compares two plan files; no database is asked.
pub fn run(ctx: &Context, args: &DiffArgs) -> Result<Exit, CommandError> {
    let (before, after) = (read_plan(&args.before)?.plan, read_plan(&args.after)?.plan);
    let differ = print(ctx, &before, &after, args.format)?;
    Ok(if args.detailed_exitcode && differ { Exit::Changes } else { Exit::Done })
}

/// Prints what is different; true when anything is.
pub fn print(ctx: &Context, before: &Plan, after: &Plan, format: DiffFormat) -> Result<bool, CommandError> {
    let found = compare(before, after);
    let format = if ctx.json { DiffFormat::Json } else { format };
    ctx.data(&match format {
        DiffFormat::Text => comparison::text(&found),
        DiffFormat::Json => {
            serde_json::to_string_pretty(&found).map_err(|error| CommandError::new(Exit::Failed, error))?
        }
        DiffFormat::Markdown => comparison::markdown(&found),
    })?;
    Ok(!found.is_empty())
}
