//! `pcrd migrate`: the original's command, as plan and apply in one.

use std::path::PathBuf;

use crate::cli::command::apply::finish;
use crate::cli::command::plan::{PlanFormat, announce_surplus, rendered};
use crate::cli::confirm::confirm;
use crate::cli::context::Context;
use crate::cli::database::{connect, load_config};
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{Job, explain, migrations, plan_of, quiet_run, read_plan, run_plan, state_path};
use crate::cli::output::write_plan;
use crate::cli::planning::{Wishes, make};
use crate::config::Config;
use crate::exec::apply::Until;
use crate::exec::preflight;
use crate::plan::estimate::Throughput;
use crate::plan::{End, Phase, Plan};

/// Arguments of `migrate`.
#[derive(Debug, clap::Args)]
pub struct MigrateArgs {
    /// Plan and check only; change nothing
    #[arg(long, visible_alias = "dry-run", conflicts_with = "backfill_only")]
    pub preflight_only: bool,
    /// Copy the rows, then stop
    #[arg(long)]
    pub backfill_only: bool,
    /// No effect: a run continues by itself
    #[arg(long)]
    pub resume: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// No effect: pcrd drops no table that it did not create
    #[arg(long)]
    pub force_overwrite: bool,
}

/// Plans and applies; goes on with a migration of this config that is not over.
pub async fn run(ctx: &Context, args: &MigrateArgs) -> Result<Exit, CommandError> {
    if args.resume {
        ctx.note("--resume has no effect: a migration that was begun is always continued");
    }
    if args.force_overwrite {
        ctx.warning("--force-overwrite has no effect: pcrd drops no table that it did not create");
    }
    let config = load_config(ctx)?;
    let plan = match unfinished(ctx, &config).await? {
        Some(plan) => {
            ctx.note(&format!("continuing plan {}", plan.id.short()));
            plan
        }
        None => {
            let planned = make(ctx, &config, &Wishes::default()).await?;
            if !ctx.json {
                ctx.data(&rendered(&planned.file, PlanFormat::Text, ctx.verbose > 0, Throughput::default()))?;
            }
            planned.refuse_if_blocked("nothing was written")?;
            if !args.preflight_only {
                write_plan(&saved_plan(ctx, &config), &planned.file)?;
            }
            planned.file.plan
        }
    };
    if args.preflight_only {
        let run = quiet_run(ctx, &config, plan)?;
        let source = run.connect(End::Source, "preflight").await.map_err(explain)?;
        let target = run.connect(End::Target, "preflight").await.map_err(explain)?;
        preflight::check(&run, &target, &source).await.map_err(explain)?;
        for advice in preflight::advice(&run, &target, &source).await.map_err(explain)? {
            ctx.note(&advice.to_string());
        }
        announce_surplus(ctx, &run, &target, &source).await?;
        ctx.note("all preflight checks passed; nothing was written");
        return Ok(Exit::Done);
    }
    if !confirm(ctx, "Proceed with migration?", args.yes).await? {
        ctx.note("nothing was done");
        return Ok(Exit::Done);
    }
    let until = if args.backfill_only { Until::Phase(Phase::Copy) } else { Until::Gate };
    finish(ctx, run_plan(ctx, Job::new(plan, until)).await?)
}

/// The plan of a migration that the target's ledger knows as running: from the journal, or from the file that the
/// first run wrote.
async fn unfinished(ctx: &Context, config: &Config) -> Result<Option<Plan>, CommandError> {
    let ledger = connect(ctx, config, End::Target, "migrate").await?;
    let Some(found) = migrations(config, &ledger).await?.into_iter().find(|found| found.state == "running") else {
        return Ok(None);
    };
    let in_journal = match plan_of(ctx, config, &found.id) {
        Ok(plan) => return Ok(Some(plan)),
        Err(error) => error,
    };
    let path = saved_plan(ctx, config);
    if !path.exists() {
        return Err(in_journal);
    }
    let plan = read_plan(&path)?.plan;
    if plan.id.0 == found.id { Ok(Some(plan)) } else { Err(in_journal) }
}

/// Where `migrate` keeps the plan that it made: beside the state file.
fn saved_plan(ctx: &Context, config: &Config) -> PathBuf {
    state_path(ctx, config).with_extension("plan.json")
}
