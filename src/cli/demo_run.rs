//! `pcrd demo run`: the whole job on two local clusters while an application writes.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

use serde::Serialize;

use crate::config;
use crate::demo::{self, Checked, Demo, Load, Side, Summary, Writer};
use crate::exec::apply::{Outcome, Until};
use crate::exec::event::{Event, EventKind};
use crate::plan::estimate::Throughput;
use crate::ui::number::{bytes, duration_ms, grouped};

use super::command::demo::RunArgs;
use super::command::plan::{PlanFormat, rendered};
use super::context::Context;
use super::error::{CommandError, Exit};
use super::executor::{Job, run_plan_with};
use super::output::write_plan;
use super::planning::{Wishes, make};

/// The application writes for this long before the plan is made and after the switch.
const ALONE: Duration = Duration::from_secs(2);

/// Runs the demo and prints its summary.
pub async fn run(ctx: &Context, args: &RunArgs) -> Result<Exit, CommandError> {
    let demo = demo::up(Path::new(".")).await?;
    let ctx = &Context { config: demo.config.clone(), state: None, ..ctx.clone() };
    ctx.note(&format!(
        "source: PostgreSQL {} on port {}; target: PostgreSQL {} on port {}",
        demo.source_major, demo.source.port, demo.target_major, demo.target.port
    ));
    // A finished or broken run before this one leaves its tables, slot and ledger.
    demo::setup(&demo.source).await?;
    demo::reset(&demo.source).await?;
    demo::reset(&demo.target).await?;
    demo::setup(&demo.source).await?;
    let seeded = demo::seed(&demo.source, args.rows, args.seed).await?;
    ctx.note(&format!("{} listings are there; the writer starts", grouped(seeded.listings.unsigned_abs())));
    let load = Load { clients: args.clients, writes_per_second: args.writes, seed: u64::from(args.seed) };
    let writer = Writer::start(&demo.source, &demo.target, load).await?;
    let mut tally = Tally::default();
    let migrated = migrate(ctx, &demo, &writer, &mut tally).await;
    let failure = writer.failure();
    let summary = writer.stop().await;
    migrated?;
    let summary = summary?;
    if let Some(failure) = failure {
        return Err(CommandError::new(Exit::Failed, format!("the demo's writer stopped: {failure}")));
    }
    let checked = demo::check_acknowledged(&demo.target, Side::Target, &summary).await?;
    let report = Report::new(&tally, &summary, &checked);
    if ctx.json {
        let text = serde_json::to_string(&report).map_err(|error| CommandError::new(Exit::Failed, error))?;
        ctx.data(&text)?;
    } else {
        ctx.data(&report.text())?;
    }
    Ok(if checked.wrong.is_empty() { Exit::Done } else { Exit::Different })
}

async fn migrate(ctx: &Context, demo: &Demo, writer: &Writer, tally: &mut Tally) -> Result<(), CommandError> {
    pause(ctx, ALONE).await?;
    let config = config::load(&demo.config).map_err(|errors| CommandError::diagnostic(Exit::Usage, errors))?;
    let planned = make(ctx, &config, &Wishes::default()).await?;
    if !ctx.json {
        ctx.data(&rendered(&planned.file, PlanFormat::Text, ctx.verbose > 0, Throughput::default()))?;
    }
    planned.refuse_if_blocked("nothing was migrated")?;
    write_plan(&demo.dir.join("plan.json"), &planned.file)?;
    tally.began = Some(Instant::now());
    let heed = |event: &Event| {
        tally.heed(event);
        if matches!(&event.kind, EventKind::Cutover { state } if state == "switched") {
            writer.switch_to(Side::Target);
        }
    };
    match run_plan_with(ctx, &config, Job::new(planned.file.plan, Until::Cutover), heed).await? {
        Outcome::Switched | Outcome::SwitchedAlone => pause(ctx, ALONE).await,
        Outcome::RolledBack | Outcome::Finalized => Ok(()),
        Outcome::GivenUp => Err(CommandError::new(Exit::Failed, "the cutover was given up")),
        Outcome::Reached(phase) => {
            Err(CommandError::new(Exit::Failed, format!("the migration stopped after {phase:?}")))
        }
    }
}

async fn pause(ctx: &Context, time: Duration) -> Result<(), CommandError> {
    tokio::select! {
        () = tokio::time::sleep(time) => Ok(()),
        () = ctx.shutdown.requested() => Err(CommandError::interrupted()),
    }
}

/// What the events said.
#[derive(Debug, Default)]
struct Tally {
    began: Option<Instant>,
    copied: BTreeMap<String, (u64, u64)>,
    first_copy_ms: Option<u64>,
    last_copy_ms: u64,
    verified: BTreeMap<String, u64>,
    lag_bytes_max: u64,
    transactions: u64,
    changes: u64,
    switched_after: Option<Duration>,
}

impl Tally {
    fn heed(&mut self, event: &Event) {
        match &event.kind {
            EventKind::StepStart => {
                if event.step.as_ref().is_some_and(|step| step.0.starts_with("copy:")) {
                    self.first_copy_ms.get_or_insert(event.at_ms);
                }
            }
            EventKind::CopyProgress { table, rows, bytes, .. } => {
                self.last_copy_ms = event.at_ms;
                self.copied.insert(table.clone(), (*rows, *bytes));
            }
            EventKind::VerifyProgress { table, rows, .. } => {
                // The comparison at the fence counts only the rows that it compares again.
                let verified = self.verified.entry(table.clone()).or_default();
                *verified = (*verified).max(*rows);
            }
            EventKind::Lag { lag_bytes, .. } => self.lag_bytes_max = self.lag_bytes_max.max(*lag_bytes),
            EventKind::Counter { name, value } => match name.as_str() {
                "transactions" => self.transactions = *value,
                "changes" => self.changes = *value,
                _ => {}
            },
            EventKind::Cutover { state } if state == "switched" => {
                self.switched_after = self.began.map(|began| began.elapsed());
            }
            EventKind::Admitted
            | EventKind::StepAlreadyDone
            | EventKind::StepDone { .. }
            | EventKind::StepFailed { .. }
            | EventKind::HeldBack { .. }
            | EventKind::Waiting { .. }
            | EventKind::Gate { .. }
            | EventKind::Cutover { .. }
            | EventKind::Note { .. }
            | EventKind::Summary { .. } => {}
        }
    }
}

/// The summary.
#[derive(Debug, Serialize)]
struct Report {
    rows_copied: u64,
    bytes_copied: u64,
    copy_ms: u64,
    rows_verified: u64,
    migration_ms: u64,
    transactions_streamed: u64,
    changes_streamed: u64,
    lag_bytes_max: u64,
    writes: u64,
    writes_on_target: u64,
    writes_per_second: u64,
    refused_by_fence: u64,
    unknown: u64,
    pause_median_ms: Option<u64>,
    pause_max_ms: Option<u64>,
    listings_compared: usize,
    listings_wrong: Vec<i64>,
}

impl Report {
    fn new(tally: &Tally, summary: &Summary, checked: &Checked) -> Self {
        let ms = |time: Duration| u64::try_from(time.as_millis()).unwrap_or(u64::MAX);
        let writes = summary.on_source.total() + summary.on_target.total();
        Self {
            rows_copied: tally.copied.values().map(|(rows, _)| rows).sum(),
            bytes_copied: tally.copied.values().map(|(_, bytes)| bytes).sum(),
            copy_ms: tally.first_copy_ms.map_or(0, |first| tally.last_copy_ms.saturating_sub(first)),
            rows_verified: tally.verified.values().sum(),
            migration_ms: tally.switched_after.map_or(0, ms),
            transactions_streamed: tally.transactions,
            changes_streamed: tally.changes,
            lag_bytes_max: tally.lag_bytes_max,
            writes,
            writes_on_target: summary.on_target.total(),
            writes_per_second: writes * 1000 / ms(summary.elapsed).max(1),
            refused_by_fence: summary.fenced,
            unknown: summary.unknown,
            pause_median_ms: summary.median_pause().map(ms),
            pause_max_ms: summary.longest_pause().map(ms),
            listings_compared: checked.compared,
            listings_wrong: checked.wrong.clone(),
        }
    }

    fn text(&self) -> String {
        let verdict = match self.listings_wrong.as_slice() {
            [] => {
                format!("all {} listings that it touched are as acknowledged", grouped(self.listings_compared as u64))
            }
            wrong => format!("WRONG: listings {wrong:?} of {}", grouped(self.listings_compared as u64)),
        };
        let pause = match (self.pause_median_ms, self.pause_max_ms) {
            (Some(median), Some(max)) => format!("{median} ms median, {max} ms longest"),
            _ => "not measured: no client followed the switch".to_owned(),
        };
        format!(
            "\nThe target is the database now.\n\
             \x20 copied       {} rows, {} in {} ({} rows/s)\n\
             \x20 streamed     {} transactions, {} changes; {} behind at most\n\
             \x20 verified     {} rows\n\
             \x20 application  {} writes, {} a second, {} of them on the target; {} refused by the fence, {} unanswered\n\
             \x20 write pause  {pause}\n\
             \x20 its own check: {verdict}\n\
             \x20 in all       {} from plan to switch\n",
            grouped(self.rows_copied),
            bytes(self.bytes_copied),
            duration_ms(self.copy_ms),
            grouped(self.rows_copied.saturating_mul(1000) / self.copy_ms.max(1)),
            grouped(self.transactions_streamed),
            grouped(self.changes_streamed),
            bytes(self.lag_bytes_max),
            grouped(self.rows_verified),
            grouped(self.writes),
            grouped(self.writes_per_second),
            grouped(self.writes_on_target),
            grouped(self.refused_by_fence),
            grouped(self.unknown),
            duration_ms(self.migration_ms),
        )
    }
}
