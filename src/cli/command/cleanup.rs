//! `pcrd cleanup`.

use crate::cli::confirm::confirm;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{current, explain, plan_of, quiet_run};
use crate::exec::cleanup;

/// Arguments of `cleanup`.
#[derive(Debug, clap::Args)]
pub struct CleanupArgs {
    /// Drop the migrated source tables too; asks for each table's name
    #[arg(long)]
    pub drop_source: bool,
    /// Drop this source table without asking (may be repeated)
    #[arg(long, value_name = "TABLE", requires = "drop_source")]
    pub yes_drop: Vec<String>,
    /// Let the source's tables take writes again: what is written there from now on is on no other cluster
    #[arg(long)]
    pub open_source: bool,
    /// Writes that came to the source behind a fence that refuses none have been seen to
    #[arg(long)]
    pub late_writes_known: bool,
    /// Do not ask; source tables are dropped only by --yes-drop
    #[arg(short, long)]
    pub yes: bool,
}

/// Removes what the plan created on the source, after the cutover.
pub async fn run(ctx: &Context, args: &CleanupArgs) -> Result<Exit, CommandError> {
    let (config, ledger, found) = current(ctx).await?;
    let plan = plan_of(ctx, &config, &found.id)?;
    drop(ledger);
    let mut dropped = Vec::new();
    for name in plan.sources().into_iter().filter(|_| args.drop_source) {
        let named = args.yes_drop.iter().any(|table| table == &name.to_string());
        let question = format!("Drop {name} on the source, with its rows?");
        if named || (!args.yes && confirm(ctx, &question, false).await?) {
            dropped.push(name.clone());
        }
    }
    let run = quiet_run(ctx, &config, plan)?;
    for removed in cleanup::cleanup(&run, &dropped, args.open_source, args.late_writes_known).await.map_err(explain)? {
        ctx.note(&format!("removed: {removed}"));
    }
    Ok(Exit::Done)
}
