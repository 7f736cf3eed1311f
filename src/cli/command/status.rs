//! `pcrd status`.

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Repeat every second until interrupted
    #[arg(long)]
    pub watch: bool,
}
