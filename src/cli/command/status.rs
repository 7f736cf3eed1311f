//! `pcrd status`.

use std::time::Duration;

use crate::cli::context::Context;
use crate::cli::database::conninfo;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{current, explain, failed, plan_of};
use crate::exec::report::{self, Status};
use crate::ledger::migration;
use crate::pg::client;
use crate::plan::End;
use crate::ui::number::grouped;

/// Arguments of `status`.
#[derive(Debug, clap::Args)]
pub struct StatusArgs {
    /// Repeat every second until interrupted
    #[arg(long)]
    pub watch: bool,
}

/// Says where the migration stands.
pub async fn run(ctx: &Context, args: &StatusArgs) -> Result<Exit, CommandError> {
    let (config, ledger, mut found) = current(ctx).await?;
    let source_info = conninfo(ctx, &config, End::Source)?;
    loop {
        // The source may be down: the ledger alone says where the migration stands.
        let source = match client::connect(&source_info, "pcrd/status").await {
            Ok(source) => Some(source),
            Err(error) => {
                ctx.warning(&format!("source: {error}"));
                None
            }
        };
        let plan = plan_of(ctx, &config, &found.id).map_err(|error| error.to_string());
        let plan = plan.as_ref().map_err(String::as_str);
        let status = report::status(&ledger, source.as_ref(), &found, plan).await.map_err(explain)?;
        if ctx.json {
            ctx.data(&serde_json::to_string(&status).map_err(|error| CommandError::new(Exit::Failed, error))?)?;
        } else {
            ctx.data(&text(&status))?;
        }
        if !args.watch {
            return Ok(Exit::Done);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = ctx.shutdown.requested() => return Ok(Exit::Done),
        }
        if let Some(newer) = migration::find(&ledger, &found.id).await.map_err(failed)? {
            found = newer;
        }
    }
}

fn text(status: &Status) -> String {
    let mut lines = vec![
        format!("plan      {}", status.plan),
        format!("state     {} (cutover: {})", status.state.replace('_', " "), status.phase),
        format!(
            "executor  {} on {}, since {}",
            if status.executor.alive { "running" } else { "not running" },
            status.executor.host,
            status.executor.since
        ),
    ];
    for table in &status.tables {
        lines.push(format!("copied    {}: {} rows", table.table, grouped(table.rows_done.unsigned_abs())));
    }
    if let Some(stream) = &status.stream {
        lines.push(format!(
            "stream    applied {}, source {}, lag {} bytes, the slot keeps {} bytes of log",
            stream.applied_lsn,
            stream.source_lsn,
            grouped(stream.lag_bytes),
            grouped(stream.wal_retained_bytes.unsigned_abs())
        ));
    }
    lines.extend(status.held_back.iter().map(|held| format!("held      {held}")));
    lines.extend(status.pace.iter().map(|pace| format!("pace      {pace}")));
    let done = status.steps.iter().filter(|step| step.status == "succeeded").count();
    let of_all = if status.plan_is_known { format!("of {} done", status.steps.len()) } else { "done".to_owned() };
    lines.push(format!("steps     {done} {of_all}"));
    lines.extend(status.adopted.iter().map(|adopted| format!("adopted   {adopted}")));
    lines.extend(status.skipped.iter().map(|skip| format!("skipped   {skip}")));
    lines.extend(status.repaired.iter().map(|repair| format!("repaired  {repair}")));
    lines.extend(status.added_columns.iter().map(|column| format!("column    {column}")));
    lines.extend(status.way_back.iter().map(|way| format!("way back  {way}")));
    lines.extend(status.not_given.iter().map(|line| format!("rights    {line}")));
    lines.extend(status.late_writes.iter().map(|late| format!("late      {late}")));
    if status.ready_for_cutover {
        lines.push("ready     yes; next: pcrd cutover".to_owned());
    } else if status.state == "running" {
        lines.push("ready     no:".to_owned());
        lines.extend(status.blocked_by.iter().map(|reason| format!("          {reason}")));
    }
    lines.join("\n")
}
