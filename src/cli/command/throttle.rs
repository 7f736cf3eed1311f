//! `pcrd throttle`.

use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{ask, current};

/// Arguments of `throttle`.
#[derive(Debug, clap::Args)]
pub struct ThrottleArgs {
    /// Rows a second for the backfill, all workers together; 0 is no limit
    #[arg(long, value_name = "N")]
    pub rows_per_second: u64,
}

/// Changes the limit of a running copy.
pub async fn run(ctx: &Context, args: &ThrottleArgs) -> Result<Exit, CommandError> {
    let (_config, ledger, found) = current(ctx).await?;
    let limit = args.rows_per_second.to_string();
    ctx.note(&ask(ctx, &ledger, &found, "throttle", Some(&limit)).await?);
    Ok(Exit::Done)
}
