//! `pcrd inspect`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::catalog::{Catalog, QualifiedName};
use crate::cli::catalogs::{Seen, see};
use crate::cli::context::Context;
use crate::cli::database::{EndError, load_config};
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::write_private;
use crate::desired::problem::did_you_mean;
use crate::desired::render::desired_sql;
use crate::pg::introspect;
use crate::plan::End;

/// Arguments of `inspect`.
#[derive(Debug, clap::Args)]
pub struct InspectArgs {
    /// Which database
    #[arg(long, value_name = "SIDE", default_value = "source")]
    pub side: Side,
    /// Only these tables, with the types and sequences that they use; may be given several times
    #[arg(short, long, value_name = "SCHEMA.TABLE")]
    pub table: Vec<String>,
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
    /// A desired schema, to edit; reading it again changes nothing
    Sql,
}

impl From<Side> for End {
    fn from(side: Side) -> Self {
        match side {
            Side::Source => Self::Source,
            Side::Target => Self::Target,
        }
    }
}

/// Saves a catalog, or writes it as a desired schema.
pub async fn run(ctx: &Context, args: &InspectArgs) -> Result<Exit, CommandError> {
    let config = load_config(ctx)?;
    let seen = see(ctx, &config, args.side.into(), None, "inspect").await?;
    let catalog = only(seen, args).await?;
    let text = match args.format {
        InspectFormat::Json => {
            let json = serde_json::to_string_pretty(&catalog);
            json.map_err(|error| CommandError::new(Exit::Failed, error))? + "\n"
        }
        InspectFormat::Sql => desired_sql(&catalog),
    };
    match &args.out {
        None => ctx.data(&text)?,
        Some(path) => {
            write_private(path, text.as_bytes())?;
            ctx.note(&format!("{} tables written to {}", catalog.tables.len(), path.display()));
        }
    }
    Ok(Exit::Done)
}

/// The catalog of the tables that were asked for; of all when none was.
async fn only(seen: Seen, args: &InspectArgs) -> Result<Catalog, CommandError> {
    let Some(client) = seen.client.filter(|_| !args.table.is_empty()) else { return Ok(seen.catalog) };
    let mut names = Vec::with_capacity(args.table.len());
    for table in &args.table {
        let name = QualifiedName::parse_or_public(table).map_err(|error| CommandError::new(Exit::Usage, error))?;
        if !seen.catalog.tables.contains_key(&name) {
            let known: Vec<String> = seen.catalog.tables.keys().map(ToString::to_string).collect();
            let close = did_you_mean(&name.to_string(), &known.iter().map(String::as_str).collect::<Vec<_>>());
            let close = close.map_or_else(String::new, |close| format!("; {close}"));
            let message = format!("there is no table {name} in {}{close}", seen.catalog.server.database);
            return Err(CommandError::new(Exit::Usage, message));
        }
        names.push(name);
    }
    introspect::tables(&client, &names).await.map_err(|error| EndError::new(args.side.into(), error).into())
}
