//! `dev/bench`: pcrd beside its peers, in one run, on one machine.

#![allow(clippy::unwrap_used, clippy::print_stdout, clippy::print_stderr)]

mod back;
mod backfill;
mod cutover;
mod figures;
mod load;
mod machine;
mod manytables;
mod memory;
mod mixed;
mod pooled;
mod report;
mod stream;
mod verify;
mod work;

use std::path::PathBuf;

use clap::Parser;
use figures::Figures;
use mixed::Wish;
use report::Report;
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
        /// Major version of both servers
        #[arg(long, default_value_t = 15)]
        major: u32,
    },
    /// Copies many small tables and builds their indexes
    Manytables {
        /// Tables
        #[arg(long, default_value_t = 1_000)]
        tables: u64,
    },
    /// Copies while an application works, then follows it: what it costs and how far the target is behind
    Mixed {
        /// Size of the table in GB
        #[arg(long, default_value_t = 2.0)]
        gb: f64,
        /// Transactions a second during the copy
        #[arg(long, default_value_t = 1_000)]
        tps: u64,
        /// Transactions a second that are followed afterwards
        #[arg(long, default_value_t = 2_000)]
        steady_tps: u64,
        /// Length of what has no natural end
        #[arg(long, default_value_t = 30)]
        seconds: u64,
    },
    /// Cuts over again and again under writers: how long they wait, and whether a write is lost
    Cutover {
        /// Rows of the largest table
        #[arg(long, default_value_t = 50_000)]
        rows: u64,
        /// Writes a second
        #[arg(long, default_value_t = 2_000)]
        tps: u64,
        /// Clients that write
        #[arg(long, default_value_t = 24)]
        clients: u64,
        /// And back: a rollback after each of them
        #[arg(long)]
        back: bool,
        /// Between the switch and the rollback
        #[arg(long, default_value_t = 10, requires = "back")]
        seconds: u64,
        /// The clients come through pgbouncer, which holds them: how many errors they see
        #[arg(long)]
        pgbouncer: bool,
    },
    /// Compares every row, beside the same aggregate alone; and what is compared behind the fence
    Verify {
        /// Rows
        #[arg(long, default_value_t = 3_000_000)]
        rows: u64,
        /// Rows that are written between the last comparison and the fence
        #[arg(long, default_value_t = 5_000)]
        keys: u64,
    },
    /// Copies tables with ever larger rows and looks at its memory
    Memory {
        /// Size of the largest table in GB
        #[arg(long, default_value_t = 1.0)]
        gb: f64,
    },
    /// Follows one transaction that updates every row
    Bigtxn {
        /// Rows
        #[arg(long, default_value_t = 5_000_000)]
        rows: u64,
        /// Major version of both servers
        #[arg(long, default_value_t = 15)]
        major: u32,
    },
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let args = Args::parse();
    let of_peers = |report: Report| (report.markdown(), report.json());
    let of_bars = |figures: Figures| (figures.markdown(), figures.json());
    let rounds = args.rounds;
    let (markdown, json) = match args.what {
        What::Backfill { rows } => of_peers(backfill::run(rows, rounds).await),
        What::Stream { transactions, rows, major } => {
            of_peers(stream::run(Backlog::Small(transactions), major, rows, rounds).await)
        }
        What::Manytables { tables } => of_peers(manytables::run(tables, rounds).await),
        What::Bigtxn { rows, major } => of_peers(stream::run(Backlog::One, major, rows, rounds).await),
        What::Mixed { gb, tps, steady_tps, seconds } => {
            of_bars(mixed::run(Wish { gb, tps, steady_tps, seconds }, rounds).await)
        }
        What::Cutover { rows, tps, clients, back, seconds, pgbouncer: true } => {
            let back_after = back.then_some(seconds);
            of_bars(pooled::run(pooled::Wish { rows, tps, clients, back_after }, rounds).await)
        }
        What::Cutover { rows, tps, clients, back: true, seconds, .. } => {
            of_bars(back::run(back::Wish { rows, tps, clients, seconds }, rounds).await)
        }
        What::Cutover { rows, tps, clients, .. } => of_bars(cutover::run(rows, tps, clients, rounds)),
        What::Verify { rows, keys } => of_bars(verify::run(rows, keys, rounds).await),
        What::Memory { gb } => of_bars(memory::run(gb, rounds).await),
    };
    println!("{markdown}");
    if let Some(path) = args.json {
        std::fs::write(&path, json).unwrap();
    }
}
