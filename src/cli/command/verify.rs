//! `pcrd verify`.

use std::num::NonZeroU64;

use crate::catalog::QualifiedName;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{answer, current, executor_alive, explain, plan_of, quiet_run};
use crate::exec::verify::{Wish, standalone};
use crate::ui::number::grouped;
use crate::ui::table;
use crate::verify::Report;

/// Arguments of `verify`.
#[derive(Debug, clap::Args)]
pub struct VerifyArgs {
    /// Compare only about so many rows of each table, and say so; without it every row
    #[arg(long, value_name = "N")]
    pub sample_size: Option<NonZeroU64>,
    /// Only this table (may be repeated)
    #[arg(short, long = "table", value_name = "TABLE", value_parser = QualifiedName::parse_or_public)]
    pub tables: Vec<QualifiedName>,
    /// SHA-256 instead of the fast hash
    #[arg(long)]
    pub paranoid: bool,
    /// Not yet: copy ranges that differ again, then compare again
    #[arg(long)]
    pub repair: bool,
    /// Show the values of rows that differ
    #[arg(long)]
    pub show_values: bool,
    /// No effect: verification is the same before and after the cutover
    #[arg(long)]
    pub post_cutover: bool,
}

/// Compares all rows: in the running executor, or, after the cutover, by itself.
pub async fn run(ctx: &Context, args: &VerifyArgs) -> Result<Exit, CommandError> {
    if args.repair {
        return Err(CommandError::new(Exit::Usage, "--repair is not yet supported"));
    }
    if args.post_cutover {
        ctx.note("--post-cutover has no effect: verification is the same before and after the cutover");
    }
    let (config, ledger, found) = current(ctx).await?;
    let wish = Wish {
        tables: args.tables.iter().map(ToString::to_string).collect(),
        sample_size: args.sample_size.map(NonZeroU64::get).or(config.verify.sample_size),
        paranoid: args.paranoid,
        show_values: args.show_values,
    };
    let mut report = if executor_alive(&ledger, &found).await? {
        let answer = answer(ctx, &ledger, &found, "verify", Some(&wish.to_request())).await?;
        // The executor answers with a report; with a sentence when it is stopping.
        serde_json::from_str(&answer.text).map_err(|_| CommandError::new(Exit::Failed, answer.text))?
    } else {
        let plan = plan_of(ctx, &config, &found.id)?;
        if wish.sample_size.is_some() {
            ctx.note("after the cutover every row is compared: both ends are at rest for it");
        }
        standalone(&quiet_run(ctx, &config, plan)?, &wish).await.map_err(explain)?
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
    Ok(if report.found_nothing() { Exit::Done } else { Exit::Different })
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
    text.push_str(&match (report.passed, left_out) {
        (true, 0) => "passed in full\n".to_owned(),
        (true, _) => format!("passed, but for {left_out} row(s) that were skipped on purpose\n"),
        (false, _) => "NOT passed\n".to_owned(),
    });
    text
}
