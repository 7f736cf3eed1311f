//! `pcrd verify`.

use std::num::NonZeroU64;

use crate::catalog::QualifiedName;
use crate::cli::command::skip::by;
use crate::cli::confirm::confirm;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::events::show_events;
use crate::cli::executor::{
    Job, answer, current, ended, executor_alive, executor_comes_back, explain, failed, plan_of, quiet_run,
    run_plan_with,
};
use crate::config::Config;
use crate::exec::apply::Until;
use crate::exec::context::Run;
use crate::exec::verify::{Asked, Wish, repair, standalone};
use crate::ledger::cutover::{self, CutoverState};
use crate::ledger::migration::Migration;
use crate::pg::client::Client;
use crate::plan::{Phase, Plan};
use crate::ui::number::grouped;
use crate::ui::table;
use crate::verify::{Report, TableReport};

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Compare only about so many rows of each table, and say so; without it every row
    #[arg(long, value_name = "N")]
    pub sample_size: Option<NonZeroU64>,
    /// Only this table (may be repeated)
    #[arg(short, long = "table", value_name = "TABLE", value_parser = QualifiedName::parse_or_public)]
    pub tables: Vec<QualifiedName>,
    /// Every row of both ends as of one position of the source's log, tables without a key included; both servers keep old row
    /// versions for as long as it takes, and it is given up for who would change a table
    #[arg(long, conflicts_with_all = ["sample_size", "repair"])]
    pub one_moment: bool,
    /// SHA-256 instead of the fast hash
    #[arg(long)]
    pub paranoid: bool,
    /// Delete the target's rows that differ and copy them again, then compare again; asks first
    #[arg(long)]
    pub repair: bool,
    /// Why rows are repaired; stands in the ledger and in every report
    #[arg(long, value_name = "TEXT", requires = "repair")]
    pub reason: Option<String>,
    /// Do not ask before a repair
    #[arg(short, long)]
    pub yes: bool,
    /// Show the values of rows that differ
    #[arg(long)]
    pub show_values: bool,
    /// No effect: verification is the same before and after the cutover
    #[arg(long)]
    pub post_cutover: bool,
}

/// Compares all rows: in the running executor, or, after the cutover, by itself.
pub async fn run(ctx: &Context, args: &VerifyArgs) -> Result<Exit, CommandError> {
    if args.post_cutover {
        ctx.note("--post-cutover has no effect: verification is the same before and after the cutover");
    }
    let (config, ledger, found) = current(ctx).await?;
    let mut wish = Wish {
        tables: args.tables.iter().map(ToString::to_string).collect(),
        sample_size: match args.one_moment {
            true => None,
            false => args.sample_size.map(NonZeroU64::get).or(config.verify.sample_size),
        },
        one_moment: args.one_moment,
        paranoid: args.paranoid,
        show_values: args.show_values,
        repair: None,
    };
    let is_alive = match args.repair {
        // Beside one that is about to begin again there must be no other.
        true => executor_comes_back(ctx, &ledger, &found).await?,
        false => executor_alive(&ledger, &found).await?,
    };
    if args.repair {
        may_be_repaired(&ledger, &found, args, is_alive).await?;
        let question = "Delete the rows of the target that differ, and copy them again from the source?";
        if !confirm(ctx, question, args.yes).await? {
            ctx.note("nothing was done");
            return Ok(Exit::Done);
        }
        let reason = args.reason.as_deref().map(str::trim).filter(|reason| !reason.is_empty());
        let reason = reason.unwrap_or("no reason was given").to_owned();
        wish = Wish { sample_size: None, repair: Some(Asked { by: by(), reason }), ..wish };
        if !is_alive {
            return alone(ctx, &config, &ledger, &found, wish).await;
        }
    }
    let mut report = if is_alive {
        let answer = answer(ctx, &ledger, &found, "verify", Some(&wish.to_request())).await?.ok_or_else(ended)?;
        // The executor answers with a report; with a sentence when it is stopping.
        serde_json::from_str(&answer.text).map_err(|_| CommandError::new(Exit::Failed, answer.text))?
    } else {
        let plan = plan_of(ctx, &config, &found.id)?;
        if wish.sample_size.is_some() {
            ctx.note("after the cutover every row is compared: both ends are at rest for it");
        }
        by_itself(ctx, &config, plan, &wish).await?
    };
    if !args.tables.is_empty() {
        report = only(report, &args.tables)?;
    }
    if ctx.json {
        let text = serde_json::to_string(&report).map_err(|error| CommandError::new(Exit::Failed, error))?;
        ctx.data(&text)?;
    } else {
        ctx.data(&text(&report))?;
    }
    for note in &report.notes {
        ctx.note(note);
    }
    Ok(match report.differences().0 {
        0 if report.found_nothing() => Exit::Done,
        // Nothing differs, and not everything could be compared.
        0 => Exit::Failed,
        _ => Exit::Different,
    })
}

/// Without an executor; with `--json` the report is all that is printed.
async fn by_itself(ctx: &Context, config: &Config, plan: Plan, wish: &Wish) -> Result<Report, CommandError> {
    let run = quiet_run(ctx, config, plan)?;
    if ctx.json {
        return standalone(&run, wish).await.map_err(explain);
    }
    show_events(ctx, None, |events| async move {
        let run = Run { events, ..run };
        standalone(&run, wish).await.map_err(explain)
    })
    .await
}

/// Why rows are not to be repaired now.
async fn may_be_repaired(
    ledger: &Client,
    found: &Migration,
    args: &VerifyArgs,
    is_alive: bool,
) -> Result<(), CommandError> {
    if args.sample_size.is_some() {
        let text = "--repair compares every row before and after: leave --sample-size away";
        return Err(CommandError::new(Exit::Usage, text));
    }
    if found.state != "running" {
        let text = format!(
            "plan {} is {}: a repair would take from the target what was written to it since",
            found.id,
            found.state.replace('_', " ")
        );
        return Err(CommandError::new(Exit::Failed, text).with_next("pcrd verify lists what differs; pcrd status"));
    }
    let state = cutover::read(ledger, &found.id).await.map_err(failed)?.state;
    if !is_alive && state != CutoverState::Ready {
        let text = format!("a cutover was broken off ({state}), and what became of it has to be settled first");
        return Err(CommandError::new(Exit::Failed, text).with_next("pcrd apply goes on with it; pcrd status"));
    }
    if !is_alive && !args.tables.is_empty() {
        let text = "no executor is running: a repair then compares every table; leave --table away";
        return Err(CommandError::new(Exit::Usage, text).with_next("or start pcrd apply, and ask while it runs"));
    }
    Ok(())
}

/// Repairs where no executor runs: as one that ends after its comparison.
async fn alone(
    ctx: &Context,
    config: &Config,
    ledger: &Client,
    found: &Migration,
    wish: Wish,
) -> Result<Exit, CommandError> {
    let plan = plan_of(ctx, config, &found.id)?;
    ctx.note("no executor is running: going on with the plan up to its comparison");
    let job = Job { repair: Some(wish), ..Job::new(plan, Until::Phase(Phase::Verify)) };
    run_plan_with(ctx, config, job, |_| ()).await?;
    for line in repair::lines(ledger, &found.id).await.map_err(explain)? {
        ctx.note(&line);
    }
    ctx.note("every row was compared after that, and nothing differs; pcrd apply goes on");
    Ok(Exit::Done)
}

fn only(report: Report, wanted: &[QualifiedName]) -> Result<Report, CommandError> {
    let names: Vec<String> = wanted.iter().map(ToString::to_string).collect();
    if let Some(unknown) = names.iter().find(|name| report.tables.iter().all(|table| &table.table != *name)) {
        return Err(CommandError::new(Exit::Usage, format!("the migration has no table {unknown}")));
    }
    let tables = report.tables.into_iter().filter(|table| names.contains(&table.table)).collect();
    Ok(Report::of(tables, report.notes))
}

fn text(report: &Report) -> String {
    let rows: Vec<Vec<String>> = report
        .tables
        .iter()
        .map(|found| {
            vec![
                found.table.clone(),
                grouped(found.rows_source),
                grouped(found.rows_target),
                format!("{}{}", grouped(found.rows_compared), if found.sampled { " (sampled)" } else { "" }),
                grouped(found.differences.len() as u64),
            ]
        })
        .collect();
    let mut text =
        table::render(&["table", "source rows", "target rows", "compared", "different"], &rows, &[1, 2, 3, 4]);
    for found in &report.tables {
        for difference in &found.differences {
            text.push_str(&format!("{}: {difference}\n", found.table));
        }
        for row in &found.left_out {
            text.push_str(&format!("{}: {row}\n", found.table));
        }
    }
    let left_out: usize = report.tables.iter().map(|found| found.left_out.len()).sum();
    if report.is_sampled() && report.found_nothing() {
        text.push_str("sampled: no difference among the rows that were compared; the others were not looked at\n");
        return text;
    }
    let pending: u64 = report.tables.iter().filter_map(|found| found.keys_pending).sum();
    let but: Vec<String> = [
        (left_out > 0).then(|| format!("for {left_out} row(s) that were skipped on purpose")),
        (pending > 0).then(|| format!("for {pending} key(s) that were being written, which the cutover compares")),
    ]
    .into_iter()
    .flatten()
    .collect();
    text.push_str(&match report.passed {
        true if but.is_empty() => "passed in full\n".to_owned(),
        true => format!("passed, but {}\n", but.join(" and ")),
        false => "NOT passed\n".to_owned(),
    });
    let is_open =
        |found: &&TableReport| found.differences.is_empty() && (found.is_vacuous() || found.keys_pending.is_none());
    for found in report.tables.iter().filter(is_open) {
        text.push_str(&format!(
            "{}: not compared, for it was written all the time; it is compared when writes have stopped, or try again\n",
            found.table
        ));
    }
    text
}
