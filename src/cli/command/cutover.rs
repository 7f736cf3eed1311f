//! `pcrd cutover`.

/// Arguments of `cutover`.
#[derive(Debug, clap::Args)]
pub struct CutoverArgs {
    /// Do not ask
    #[arg(long, visible_alias = "yes")]
    pub maintenance_confirmed: bool,
    /// Seconds between fence and switch before it is undone
    #[arg(long, value_name = "SECONDS", value_parser = clap::value_parser!(u64).range(1..))]
    pub timeout: Option<u64>,
    /// Terminate sessions that keep the fence waiting for longer than this
    #[arg(long, value_name = "SECONDS")]
    pub terminate_after: Option<u64>,
}
