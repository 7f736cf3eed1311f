//! `pcrd graph`.

use std::path::PathBuf;

use clap::ValueEnum;
use serde_json::json;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::read_plan;
use crate::plan::Plan;
use crate::plan::render::graph;

/// Arguments of `graph`.
#[derive(Debug, clap::Args)]
pub struct GraphArgs {
    /// The plan file
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// How to draw it
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: GraphFormat,
}

/// How a graph is drawn.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum GraphFormat {
    /// A line a step, with the numbers of those before it
    Text,
    /// Graphviz
    Dot,
    /// Mermaid, as code hosts draw it
    Mermaid,
}

/// Prints the graph; no database is asked.
pub fn run(ctx: &Context, args: &GraphArgs) -> Result<Exit, CommandError> {
    let plan = read_plan(&args.plan)?.plan;
    if ctx.json {
        ctx.data(&document(&plan)?)?;
        return Ok(Exit::Done);
    }
    ctx.data(&match args.format {
        GraphFormat::Text => graph::text(&plan),
        GraphFormat::Dot => graph::dot(&plan),
        GraphFormat::Mermaid => graph::mermaid(&plan),
    })?;
    Ok(Exit::Done)
}

fn document(plan: &Plan) -> Result<String, CommandError> {
    let step = |step: &crate::plan::Step| json!({"id": step.id, "phase": step.phase, "after": step.after});
    let steps: Vec<_> = plan.steps.iter().map(step).collect();
    serde_json::to_string_pretty(&json!({"plan_id": plan.id, "steps": steps}))
        .map_err(|error| CommandError::new(Exit::Failed, error))
}
