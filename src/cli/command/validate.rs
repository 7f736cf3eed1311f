//! `pcrd validate`.

use crate::cli::context::Context;
use crate::cli::database::load_config;
use crate::cli::error::{CommandError, Exit};

/// Arguments of `validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {}

/// Reads the config and says what it asks for.
pub fn run(ctx: &Context, _args: &ValidateArgs) -> Result<Exit, CommandError> {
    let config = load_config(ctx)?;
    let tables = &config.migrate.desired.tables;
    if ctx.json {
        let names: Vec<String> = tables.iter().map(|table| table.source.value.to_string()).collect();
        ctx.data(&serde_json::json!({ "valid": true, "file": config.file_name, "tables": names }).to_string())?;
    } else {
        let n_tables = tables.len();
        let plural = if n_tables == 1 { "" } else { "s" };
        ctx.data(&format!("{} is valid: {n_tables} table{plural} to migrate", config.file_name))?;
    }
    Ok(Exit::Done)
}
