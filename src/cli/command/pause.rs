//! `pcrd pause` and `pcrd resume`.

use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{ask, current};

/// Arguments of `pause` and `resume`.
#[derive(Debug, clap::Args)]
pub struct PauseArgs {}

/// Pauses or resumes the copy; the stream goes on.
pub async fn run(ctx: &Context, kind: &str) -> Result<Exit, CommandError> {
    let (_config, ledger, found) = current(ctx).await?;
    ctx.note(&ask(ctx, &ledger, &found, kind, None).await?);
    Ok(Exit::Done)
}
