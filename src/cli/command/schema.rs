//! `pcrd schema`.

use clap::ValueEnum;
use schemars::schema_for;

use crate::cli::config_schema::config_schema;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::plan::PlanFile;
use crate::ui::json::EventLine;

/// Arguments of `schema`.
#[derive(Debug, clap::Args)]
pub struct SchemaArgs {
    /// The format
    pub format: SchemaFormat,
}

/// What has a schema.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub enum SchemaFormat {
    /// `plan.json`
    Plan,
    /// `pcrd.config.yml`
    Config,
    /// A line of `--json` output
    Events,
}

/// Prints the schema.
pub fn run(ctx: &Context, args: &SchemaArgs) -> Result<Exit, CommandError> {
    let schema = match args.format {
        SchemaFormat::Plan => schema_for!(PlanFile).to_value(),
        SchemaFormat::Config => config_schema(),
        SchemaFormat::Events => schema_for!(EventLine).to_value(),
    };
    let text = serde_json::to_string_pretty(&schema).map_err(|error| CommandError::new(Exit::Failed, error))?;
    ctx.data(&text)?;
    Ok(Exit::Done)
}
