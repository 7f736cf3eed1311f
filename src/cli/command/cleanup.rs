//! `pcrd cleanup`.

/// Arguments of `cleanup`.
#[derive(Debug, clap::Args)]
pub struct CleanupArgs {
    /// Drop the migrated source tables too; asks for each table's name
    #[arg(long)]
    pub drop_source: bool,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}
