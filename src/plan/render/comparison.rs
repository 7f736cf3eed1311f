//! A comparison of two plans for people.

use crate::plan::compare::{Comparison, Difference, Happened, StepDifference};
use crate::plan::render::amount::counted;
use crate::plan::render::escape::{Place, code, escape, fenced};
use crate::plan::render::markdown::COMMENT_BYTES_MAX;

/// For a terminal.
pub fn text(comparison: &Comparison) -> String {
    if comparison.is_empty() {
        return format!("{}\n", same(comparison));
    }
    let mut out = format!("Plan {} -> {}\n", short(&comparison.before), short(&comparison.after));
    for section in &comparison.sections {
        out.push_str(&format!("\n{}:\n", section.name));
        for difference in &section.differences {
            out.push_str(&format!("  {}\n", line(difference, |text| escape(text, Place::Terminal))));
        }
    }
    if !comparison.steps.is_empty() {
        out.push_str("\nsteps:\n");
    }
    for step in &comparison.steps {
        out.push_str(&format!("  {} {}{}\n", sign(step.happened), escape(&step.step.0, Place::Terminal), also(step)));
        let diff = escape(step.statements.as_deref().unwrap_or_default(), Place::Lines);
        out.extend(diff.lines().map(|line| format!("      {line}\n")));
    }
    out.push_str(&format!("\n{}\n", summary(comparison)));
    out
}

/// For a comment on a pull request; sections that do not fit are left out and named.
pub fn markdown(comparison: &Comparison) -> String {
    let head = format!(
        "<!-- pcrd:diff -->\n### pcrd plan {} → {}\n\n",
        code(short(&comparison.before)),
        code(short(&comparison.after))
    );
    if comparison.is_empty() {
        return format!("{head}{}\n", same(comparison));
    }
    let mut out = format!("{head}{}\n", summary(comparison));
    let mut left_out = Vec::new();
    let sections = comparison.sections.iter().map(|section| {
        let lines: String = section
            .differences
            .iter()
            .map(|difference| format!("{}\n", line(difference, |text| escape(text, Place::Terminal))))
            .collect();
        (section.name.to_owned(), format!("\n#### {}\n\n{}", section.name.replace('_', " "), fenced("diff", &lines)))
    });
    let steps = comparison.steps.iter().map(|step| {
        let title = format!("{} {}", sign(step.happened), step.step);
        let body = match &step.statements {
            Some(diff) => fenced("diff", diff),
            None => format!("{}\n", also(step).trim_start()),
        };
        let summary = escape(&format!("{title}{}", also(step)), Place::Html);
        (title, format!("\n<details><summary><code>{summary}</code></summary>\n\n{body}\n</details>\n"))
    });
    const ROOM_FOR_THE_REST: usize = 200;
    for (_, part) in sections.chain(steps) {
        if out.len() + part.len() + ROOM_FOR_THE_REST <= COMMENT_BYTES_MAX {
            out.push_str(&part);
        } else {
            left_out.push(part.len());
        }
    }
    if !left_out.is_empty() {
        let parts = counted(left_out.len(), "part");
        out.push_str(&format!("\n{parts} left out, because a comment has no room: `pcrd diff BEFORE AFTER`\n"));
    }
    out
}

fn same(comparison: &Comparison) -> String {
    let id = short(&comparison.after);
    if comparison.before == comparison.after {
        format!("No differences: both are plan {id}.")
    } else {
        // What is digested and not compared is the id alone.
        format!("No differences between plan {} and plan {id}.", short(&comparison.before))
    }
}

fn summary(comparison: &Comparison) -> String {
    let of = |happened| comparison.steps.iter().filter(|step| step.happened == happened).count();
    let elsewhere: usize = comparison.sections.iter().map(|section| section.differences.len()).sum();
    format!(
        "{} added, {} removed, {} changed; {} elsewhere.",
        counted(of(Happened::Added), "step"),
        of(Happened::Removed),
        of(Happened::Changed),
        counted(elsewhere, "difference"),
    )
}

fn line(difference: &Difference, show: impl Fn(&str) -> String) -> String {
    let at = show(&difference.at);
    match (&difference.before, &difference.after) {
        (None, Some(after)) => format!("+ {at}: {}", show(after)),
        (Some(before), None) => format!("- {at}: {}", show(before)),
        (before, after) => {
            let text = |value: &Option<String>| show(value.as_deref().unwrap_or_default());
            format!("~ {at}: {} -> {}", text(before), text(after))
        }
    }
}

fn sign(happened: Happened) -> char {
    match happened {
        Happened::Added => '+',
        Happened::Removed => '-',
        Happened::Changed => '~',
    }
}

fn also(step: &StepDifference) -> String {
    if step.also.is_empty() { String::new() } else { format!("  ({} changed)", step.also.join(", ")) }
}

fn short(id: &str) -> &str {
    const DIGITS: usize = 8;
    let digits = id.strip_prefix("sha256:").unwrap_or(id);
    digits.get(..DIGITS).unwrap_or(digits)
}
