//! `pcrd apply`.

use std::path::PathBuf;

use clap::ValueEnum;

use crate::plan::Phase;

/// Arguments of `apply`.
#[derive(Debug, clap::Args)]
pub struct ApplyArgs {
    /// The plan file
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
    /// Stop after this phase; without it: at the operator gate before the cutover
    #[arg(long, value_name = "PHASE")]
    pub through: Option<Through>,
}

/// A phase to stop after.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Through {
    /// Publication, slot and ledger
    Prepare,
    /// Target objects
    Schema,
    /// All rows
    Copy,
    /// Indexes and constraints
    Catchup,
    /// Comparison of all rows
    Verify,
    /// The switch
    Cutover,
}

impl From<Through> for Phase {
    fn from(through: Through) -> Self {
        match through {
            Through::Prepare => Self::Prepare,
            Through::Schema => Self::Schema,
            Through::Copy => Self::Copy,
            Through::Catchup => Self::Catchup,
            Through::Verify => Self::Verify,
            Through::Cutover => Self::Cutover,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::{Args, FromArgMatches};

    use super::*;
    use crate::cli::command::{cleanup, cutover, migrate, status, throttle, verify};

    fn parse<A: Args + FromArgMatches>(text: &str) -> Result<A, clap::Error> {
        let command = A::augment_args(clap::Command::new("test"));
        let words = std::iter::once("test").chain(text.split_whitespace());
        A::from_arg_matches(&command.try_get_matches_from(words)?)
    }

    #[test]
    fn the_contracts_flags_are_accepted() {
        let apply: ApplyArgs = parse("plan.json -y --through cutover").unwrap();
        assert_eq!(apply.through.map(Phase::from), Some(Phase::Cutover));
        assert!(parse::<ApplyArgs>("plan.json --through reverse").is_err());
        for flags in ["", "--preflight-only", "--dry-run", "--backfill-only --resume -y --force-overwrite"] {
            parse::<migrate::MigrateArgs>(flags).unwrap();
        }
        assert!(parse::<migrate::MigrateArgs>("--preflight-only --backfill-only").is_err());
        assert!(parse::<migrate::MigrateArgs>("--dry-run").unwrap().preflight_only);
        parse::<cutover::CutoverArgs>("--maintenance-confirmed --timeout 5 --terminate-after 2").unwrap();
        parse::<cleanup::CleanupArgs>("--drop-source").unwrap();
        assert!(parse::<throttle::ThrottleArgs>("").is_err());
        assert_eq!(parse::<throttle::ThrottleArgs>("--rows-per-second 5000").unwrap().rows_per_second, 5000);
        assert!(parse::<status::StatusArgs>("--watch").unwrap().watch);
        let verify: verify::VerifyArgs =
            parse("--sample-size 10 --table a --table s.b --paranoid --repair --show-values --post-cutover").unwrap();
        assert_eq!(verify.tables, ["a", "s.b"]);
        assert!(parse::<verify::VerifyArgs>("--sample-size 0").is_err());
    }
}
