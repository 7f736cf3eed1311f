//! From the config to open connections, with what was odd on the way said on stderr.

use crate::config::connect::name;
use crate::config::{self, Config, Environment};
use crate::pg::client::{self, Client};
use crate::pg::conninfo::Conninfo;
use crate::plan::End;

use super::context::Context;
use super::error::{CommandError, Exit};

/// A failure that says at which end it happened.
#[derive(Debug, thiserror::Error)]
#[error("{}: {source}", name(*.end))]
pub struct EndError {
    /// The end.
    pub end: End,
    /// What happened.
    pub source: Box<dyn std::error::Error + Send + Sync>,
}

impl EndError {
    /// A failure at one end.
    pub fn new(end: End, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        Self { end, source: source.into() }
    }
}

impl From<EndError> for CommandError {
    fn from(error: EndError) -> Self {
        Self::new(Exit::Failed, error)
    }
}

/// Reads the config.
///
/// # Errors
/// Everything that is wrong with it, each with its place.
pub fn load_config(ctx: &Context) -> Result<Config, CommandError> {
    config::load(&ctx.config).map_err(|errors| CommandError::diagnostic(Exit::Usage, errors))
}

/// Connection settings of one end.
///
/// # Errors
/// The config has no such end, or its settings are incomplete or unreadable.
pub fn conninfo(ctx: &Context, config: &Config, end: End) -> Result<Conninfo, CommandError> {
    let endpoint = match end {
        End::Source => Some(&config.source),
        End::Target => config.target.as_ref(),
    };
    let Some(endpoint) = endpoint else {
        let text = format!("{} has no `target` section, which this command needs", config.file_name);
        return Err(CommandError::new(Exit::Usage, text));
    };
    let resolved = endpoint
        .resolve(end, &Environment::of_process())
        .map_err(|error| CommandError::diagnostic(Exit::Usage, error))?;
    for warning in &resolved.warnings {
        ctx.warning(warning);
    }
    Ok(resolved.conninfo)
}

/// Connects to one end as `pcrd/<role>`.
///
/// # Errors
/// As [`conninfo`], or the server cannot be reached or refuses.
pub async fn connect(ctx: &Context, config: &Config, end: End, role: &str) -> Result<Client, CommandError> {
    let info = conninfo(ctx, config, end)?;
    client::connect(&info, &format!("pcrd/{role}")).await.map_err(|error| EndError::new(end, error).into())
}
