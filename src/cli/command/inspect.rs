//! `pcrd inspect`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::cli::catalogs::see;
use crate::cli::context::Context;
use crate::cli::database::load_config;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::write_private;
use crate::plan::End;

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// Which database
    #[arg(long, value_name = "SIDE", default_value = "source")]
    pub side: Side,
    /// Write to this file (mode 0600) instead of standard output
    #[arg(short, long, value_name = "FILE")]
    pub out: Option<PathBuf>,
    /// Format
    #[arg(long, value_name = "FORMAT", default_value = "json")]
    pub format: InspectFormat,
}

/// A side of the migration.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Side {
    /// Where rows come from
    Source,
    /// Where rows go
    Target,
}

/// How a catalog is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum InspectFormat {
    /// For `plan --source-catalog` and the like
    Json,
}

impl From<Side> for End {
    fn from(side: Side) -> Self {
        match side {
            Side::Source => Self::Source,
            Side::Target => Self::Target,
        }
    }
}

/// Saves a catalog.
pub async fn run(ctx: &Context, args: &InspectArgs) -> Result<Exit, CommandError> {
    let config = load_config(ctx)?;
    let seen = see(ctx, &config, args.side.into(), None, "inspect").await?;
    let InspectFormat::Json = args.format;
    let mut text =
        serde_json::to_string_pretty(&seen.catalog).map_err(|error| CommandError::new(Exit::Failed, error))?;
    text.push('\n');
    match &args.out {
        None => ctx.data(&text)?,
        Some(path) => {
            write_private(path, text.as_bytes())?;
            ctx.note(&format!("{} tables written to {}", seen.catalog.tables.len(), path.display()));
        }
    }
    Ok(Exit::Done)
}
