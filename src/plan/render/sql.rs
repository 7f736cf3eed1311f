//! The statements of a plan, step by step.

use crate::plan::render::text::phase_name;
use crate::plan::{End, Plan};

/// Every statement under a comment with its step; for reading, not for psql: `$name` is filled in by the run.
pub fn sql(plan: &Plan) -> String {
    let mut out = format!("-- pcrd plan {}\n", plan.id);
    for check in &plan.checks {
        out.push_str(&format!(
            "\n-- {} on source; every count after the first must be 0\n{};\n",
            comment(&check.id),
            check.sql
        ));
    }
    for step in plan.steps.iter().filter(|step| !step.statements.is_empty()) {
        out.push_str(&format!("\n-- {}: {}\n", phase_name(step.phase), comment(&step.id.0)));
        for statement in &step.statements {
            let end = match statement.on {
                End::Source => "source",
                End::Target => "target",
            };
            out.push_str(&format!("-- on {end}\n{};\n", statement.sql));
        }
    }
    out
}

/// A name with a newline must not end the comment.
fn comment(text: &str) -> String {
    text.replace(['\n', '\r'], " ")
}
