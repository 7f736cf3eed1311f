//! `pcrd explain`.

use clap::ValueEnum;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::findings::{self, page};

/// Arguments of `explain`.
#[derive(Debug, clap::Args)]
pub struct ExplainArgs {
    /// A finding's code or the id of a check, for example `DELETES_DATA` or `wal_level`; without one, all are listed
    #[arg(value_name = "CODE")]
    pub code: Option<String>,
    /// What to print
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: ExplainFormat,
}

/// How rules are printed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum ExplainFormat {
    /// For people
    Text,
    /// One document
    Json,
}

/// Prints what a finding means; no database is asked.
pub fn run(ctx: &Context, args: &ExplainArgs) -> Result<Exit, CommandError> {
    let json = ctx.json || args.format == ExplainFormat::Json;
    let text = match &args.code {
        None if json => document(&findings::every().collect::<Vec<_>>())?,
        None => page::list(),
        Some(code) => {
            let rule = findings::by_code(code).ok_or_else(|| unknown(code))?;
            if json { document(rule)? } else { page::text(rule) }
        }
    };
    ctx.data(&text)?;
    Ok(Exit::Done)
}

fn document(rules: &impl serde::Serialize) -> Result<String, CommandError> {
    serde_json::to_string_pretty(rules).map_err(|error| CommandError::new(Exit::Failed, error))
}

fn unknown(code: &str) -> CommandError {
    let near = findings::nearest(code);
    let hint = near.map_or_else(String::new, |near| format!("; did you mean {near}?"));
    let next = near.map_or_else(|| "pcrd explain".to_owned(), |near| format!("pcrd explain {near}"));
    CommandError::new(Exit::Usage, format!("there is no finding or check {code}{hint}")).with_next(next)
}
