//! `pcrd show`.

use std::path::PathBuf;

use crate::cli::command::plan::{PlanFormat, rendered, throughput};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::read_plan;
use crate::plan::render::text::phase_name;
use crate::plan::{Plan, Step, StepId};

/// Arguments of `show`.
#[derive(Debug, clap::Args)]
pub struct ShowArgs {
    /// The plan file
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// How to print it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: PlanFormat,
    /// Speed of copying for the estimates, in MiB a second
    #[arg(long, value_name = "MIB", value_parser = clap::value_parser!(u64).range(1..=1_000_000))]
    pub throughput: Option<u64>,
    /// Only this step, with everything that is known of it
    #[arg(long, value_name = "ID")]
    pub step: Option<String>,
}

/// Prints a plan; no database is asked.
pub fn run(ctx: &Context, args: &ShowArgs) -> Result<Exit, CommandError> {
    let file = read_plan(&args.plan)?;
    let format = if ctx.json { PlanFormat::Json } else { args.format };
    match &args.step {
        None => ctx.data(&rendered(&file, format, ctx.verbose > 0, throughput(args.throughput)))?,
        Some(id) => ctx.data(&one_step(&file.plan, id, format)?)?,
    }
    Ok(Exit::Done)
}

fn one_step(plan: &Plan, id: &str, format: PlanFormat) -> Result<String, CommandError> {
    let Some(step) = plan.steps.iter().find(|step| step.id.0 == id) else {
        let ids: Vec<&str> = plan.steps.iter().map(|step| step.id.0.as_str()).collect();
        let text = format!("the plan has no step `{id}`; its steps are:\n{}", ids.join("\n"));
        return Err(CommandError::new(Exit::Usage, text));
    };
    match format {
        PlanFormat::Json => serde_json::to_string_pretty(step).map_err(|error| CommandError::new(Exit::Failed, error)),
        PlanFormat::Text => Ok(describe(step)),
        PlanFormat::Sql => Ok(statements(step)),
        PlanFormat::Markdown | PlanFormat::Dot | PlanFormat::Mermaid => {
            Err(CommandError::new(Exit::Usage, "one step is shown as text, json or sql"))
        }
    }
}

fn describe(step: &Step) -> String {
    let StepId(id) = &step.id;
    let mut lines = vec![format!("{id}  ({})", phase_name(step.phase))];
    lines.extend(step.after.iter().map(|after| format!("  after {}: {}", after.step, after.rule)));
    lines.extend(
        step.lock
            .iter()
            .map(|lock| format!("  locks {} on the {}: {}, {}", lock.object, lock.on, lock.mode, lock.held)),
    );
    lines.push(format!("  done when: {}", step.done_when));
    lines.push(statements(step));
    if !step.revert.is_empty() {
        lines.push("-- to undo it:".to_owned());
        lines.extend(step.revert.iter().map(|statement| format!("-- on the {}\n{};", statement.on, statement.sql)));
    }
    crate::ui::text::safe(&lines.join("\n")).into_owned()
}

fn statements(step: &Step) -> String {
    let all: Vec<String> =
        step.statements.iter().map(|statement| format!("-- on the {}\n{};", statement.on, statement.sql)).collect();
    all.join("\n")
}
