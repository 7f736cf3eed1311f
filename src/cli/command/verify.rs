//! `pcrd verify`.

use std::num::NonZeroU64;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Compare this many rows per table instead of all; the report says "sampled"
    #[arg(long, value_name = "N")]
    pub sample_size: Option<NonZeroU64>,
    /// Only this table (may be repeated)
    #[arg(short, long = "table", value_name = "TABLE")]
    pub tables: Vec<String>,
    /// sha256 instead of the fast hash
    #[arg(long)]
    pub paranoid: bool,
    /// Copy ranges that differ again, then compare again
    #[arg(long)]
    pub repair: bool,
    /// Show values of rows that differ
    #[arg(long)]
    pub show_values: bool,
    /// No effect: verification is the same before and after the cutover
    #[arg(long)]
    pub post_cutover: bool,
}
