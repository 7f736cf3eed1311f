//! `pcrd throttle`.

/// Arguments of `throttle`.
#[derive(Debug, clap::Args)]
pub struct ThrottleArgs {
    /// Rows a second for the backfill, all workers together; 0 is no limit
    #[arg(long, value_name = "N")]
    pub rows_per_second: u64,
}
