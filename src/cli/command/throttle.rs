//! `pcrd throttle`.

use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{ask, current};
use crate::exec::limits::{self, Limit};
use crate::plan::Signal;

/// Arguments of `throttle`.
#[derive(Debug, clap::Args)]
#[group(required = true, multiple = true)]
pub struct ThrottleArgs {
    /// Rows a second for the copy, all workers together; 0 is no limit
    #[arg(long, value_name = "N")]
    pub rows_per_second: Option<u64>,
    /// Bytes a second for the copy, all workers together; 0 is no limit
    #[arg(long, value_name = "N")]
    pub bytes_per_second: Option<u64>,
    /// Rows a second for the comparison, all workers together; 0 is no limit
    #[arg(long, value_name = "N")]
    pub verify_rows_per_second: Option<u64>,
    /// Chunks that are copied at a time; a table is laid out once for as many as there are when its copy begins
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..=256))]
    pub workers: Option<u64>,
    /// A limit of `migrate.throttle`, such as source_replica_lag_seconds=30; 0 switches the signal off
    #[arg(long, value_name = "KEY=N", value_parser = limit)]
    pub limit: Vec<(Signal, u64)>,
}

/// Changes the limits of a running copy or comparison. They outlive the executor.
pub async fn run(ctx: &Context, args: &ThrottleArgs) -> Result<Exit, CommandError> {
    let (_config, ledger, found) = current(ctx).await?;
    let named = [
        (Limit::Rows, args.rows_per_second),
        (Limit::Bytes, args.bytes_per_second),
        (Limit::Compared, args.verify_rows_per_second),
        (Limit::Workers, args.workers),
    ];
    let mut changes: Vec<_> = named.into_iter().filter_map(|(limit, number)| Some((limit, number?))).collect();
    changes.extend(args.limit.iter().map(|(signal, number)| (Limit::Signal(*signal), *number)));
    ctx.note(&ask(ctx, &ledger, &found, "throttle", Some(&limits::request(&changes))).await?);
    Ok(Exit::Done)
}

fn limit(text: &str) -> Result<(Signal, u64), String> {
    let keys = || Signal::ALL.map(Signal::key).join(", ");
    let (key, number) = text.split_once('=').ok_or_else(|| format!("write KEY=N; the keys are {}", keys()))?;
    let signal = Signal::of_key(key).ok_or_else(|| format!("the keys are {}", keys()))?;
    Ok((signal, number.parse().map_err(|_| format!("`{number}` is not a whole number"))?))
}
