//! `dev/bench`: pcrd beside its peers, in one run, on one machine.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod backfill;
mod machine;
mod manytables;
mod report;
mod stream;
mod work;

use std::path::PathBuf;

use clap::Parser;
use stream::Backlog;

#[derive(Debug, Parser)]
struct Args {
    #[command(subcommand)]
    what: What,
    /// Rounds; each contender runs once in each
    #[arg(long, default_value_t = 3, global = true)]
    rounds: usize,
    /// Also write all measurements here
    #[arg(long, global = true)]
    json: Option<PathBuf>,
    /// Given by cargo
    #[arg(long, hide = true, global = true)]
    bench: bool,
}

#[derive(Debug, clap::Subcommand)]
enum What {
    /// Copies one table into an empty database
    Backfill {
        /// Rows; 3,000,000 are 1.1 GB
        #[arg(long, default_value_t = 3_000_000)]
        rows: u64,
    },
    /// Drains a backlog of small transactions
    Stream {
        /// Transactions of the backlog
        #[arg(long, default_value_t = 200_000)]
        transactions: u64,
        /// Rows of the table
        #[arg(long, default_value_t = 300_000)]
        rows: u64,
    },
    /// Copies many small tables and builds their indexes
    Manytables {
        /// Tables
        #[arg(long, default_value_t = 1_000)]
        tables: u64,
    },
    /// Follows one transaction that updates every row
    Bigtxn {
        /// Rows
        #[arg(long, default_value_t = 5_000_000)]
        rows: u64,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args = Args::parse();
    let report = match args.what {
        What::Backfill { rows } => backfill::run(rows, args.rounds).await,
        What::Stream { transactions, rows } => stream::run(Backlog::Small(transactions), rows, args.rounds).await,
        What::Manytables { tables } => manytables::run(tables, args.rounds).await,
        What::Bigtxn { rows } => stream::run(Backlog::One, rows, args.rounds).await,
    };
    println!("{}", report.markdown());
    if let Some(path) = args.json {
        std::fs::write(&path, report.json()).unwrap();
    }
}
