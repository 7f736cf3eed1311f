//! `pcrd migrate`: the original's command, as plan and apply in one.

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
    /// Drop target tables that are in the way (never without asking, unless --yes)
    #[arg(long)]
    pub force_overwrite: bool,
}
