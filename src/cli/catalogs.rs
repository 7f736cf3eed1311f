//! Catalogs: from a server, or from a file that `pcrd inspect` wrote.

use std::path::Path;

use crate::catalog::Catalog;
use crate::config::Config;
use crate::pg::client::Client;
use crate::pg::introspect;
use crate::plan::End;

use super::context::Context;
use super::database::{EndError, connect};
use super::error::{CommandError, Exit};

/// The catalog of one end, and the connection to it unless it came from a file.
#[derive(Debug)]
pub struct Seen {
    /// The catalog.
    pub catalog: Catalog,
    /// Open, when the catalog was read from the server.
    pub client: Option<Client>,
}

/// Reads the saved catalog, or connects as `pcrd/<role>` and introspects.
///
/// # Errors
/// No such file, no catalog in it, no connection, or no right to read the system catalogs.
pub async fn see(
    ctx: &Context,
    config: &Config,
    end: End,
    saved: Option<&Path>,
    role: &str,
) -> Result<Seen, CommandError> {
    if let Some(path) = saved {
        return Ok(Seen { catalog: read(path)?, client: None });
    }
    let client = connect(ctx, config, end, role).await?;
    let catalog = introspect::catalog(&client).await.map_err(|error| EndError::new(end, error))?;
    Ok(Seen { catalog, client: Some(client) })
}

/// Reads a saved catalog.
///
/// # Errors
/// The file cannot be read, or holds no catalog of this version.
pub fn read(path: &Path) -> Result<Catalog, CommandError> {
    let refused = |why: String| {
        let text = format!("cannot use the catalog {}: {why}", path.display());
        CommandError::new(Exit::Usage, text).with_next("pcrd inspect --out FILE")
    };
    let text = std::fs::read_to_string(path).map_err(|error| refused(error.to_string()))?;
    serde_json::from_str(&text).map_err(|error| refused(error.to_string()))
}
