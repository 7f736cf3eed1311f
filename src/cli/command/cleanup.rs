//! `pcrd cleanup`.

use crate::cli::confirm::confirm;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{current, explain, plan_of, quiet_run};
use crate::exec::cleanup::{self, Wishes};

/// Arguments of `cleanup`.
#[derive(Debug, clap::Args)]
pub struct CleanupArgs {
    /// Drop the migrated source tables too; asks for each table's name
    #[arg(long)]
    pub drop_source: bool,
    /// After a rollback: drop the tables of the target, which are not the database; asks for each table's name
    #[arg(long, conflicts_with = "drop_source")]
    pub drop_target: bool,
    /// Drop this table without asking (may be repeated)
    #[arg(long, value_name = "TABLE")]
    pub yes_drop: Vec<String>,
    /// Let the source's tables take writes again: what is written there from now on is on no other cluster
    #[arg(long)]
    pub open_source: bool,
    /// Writes that came to the source behind a fence that refuses none have been seen to
    #[arg(long)]
    pub late_writes_known: bool,
    /// Do not ask; tables are dropped only by --yes-drop
    #[arg(short, long)]
    pub yes: bool,
}

/// Removes what the plan created and nobody needs any more, after the cutover or a rollback.
pub async fn run(ctx: &Context, args: &CleanupArgs) -> Result<Exit, CommandError> {
    let (config, ledger, found) = current(ctx).await?;
    let plan = plan_of(ctx, &config, &found.id)?;
    drop(ledger);
    if !args.yes_drop.is_empty() && !args.drop_source && !args.drop_target {
        let error = "--yes-drop needs --drop-source, or after a rollback --drop-target";
        return Err(CommandError::new(Exit::Usage, error));
    }
    let mut wishes =
        Wishes { open_source: args.open_source, late_writes_known: args.late_writes_known, ..Wishes::default() };
    let ends = [
        ("source", plan.sources(), args.drop_source, &mut wishes.drop_source),
        ("target", plan.targets(), args.drop_target, &mut wishes.drop_target),
    ];
    for (end, names, is_asked, dropped) in ends {
        for name in names.into_iter().filter(|_| is_asked) {
            let named = args.yes_drop.iter().any(|table| table == &name.to_string());
            let question = format!("Drop {name} on the {end}, with its rows?");
            if named || (!args.yes && confirm(ctx, &question, false).await?) {
                dropped.push(name.clone());
            }
        }
    }
    let run = quiet_run(ctx, &config, plan)?;
    for removed in cleanup::cleanup(&run, &wishes).await.map_err(explain)? {
        ctx.note(&format!("removed: {removed}"));
    }
    Ok(Exit::Done)
}
