//! `pcrd audit`.

use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::audit::{Policy, Report, audit, policy, render, sarif};
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};

/// Arguments of `audit`.
#[derive(Debug, clap::Args)]
pub struct AuditArgs {
    /// The plan file
    #[arg(value_name = "PLAN")]
    pub plan: PathBuf,
    /// How to report
    #[arg(long, value_name = "FORMAT", default_value = "text")]
    pub format: AuditFormat,
    /// What a plan may do (docs/audit.md)
    #[arg(long, value_name = "FILE")]
    pub policy: Option<PathBuf>,
    /// Fail on warnings too
    #[arg(long, value_name = "LEVEL")]
    pub deny: Option<Denied>,
}

/// How an audit is reported.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum AuditFormat {
    /// For people
    Text,
    /// One document
    Json,
    /// SARIF 2.1.0, for code hosts
    Sarif,
    /// A comment for a pull request
    Markdown,
}

/// What fails besides errors.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Denied {
    /// Warnings
    Warning,
}

/// Audits a plan file; no database is asked.
pub fn run(ctx: &Context, args: &AuditArgs) -> Result<Exit, CommandError> {
    let text = crate::cli::executor::read_plan_text(&args.plan)?;
    let policy = match &args.policy {
        Some(path) => read_policy(path)?,
        None => Policy::default(),
    };
    let mut report = audit(&text, &policy);
    if args.deny == Some(Denied::Warning) {
        report.deny_warnings();
    }
    let format = if ctx.json { AuditFormat::Json } else { args.format };
    ctx.data(&match format {
        AuditFormat::Text => render::text(&report),
        AuditFormat::Json => render::json(&report),
        AuditFormat::Sarif => sarif::sarif(&report, &args.plan.display().to_string()),
        AuditFormat::Markdown => render::markdown(&report),
    })?;
    Ok(exit(&report))
}

fn exit(report: &Report) -> Exit {
    if report.is_edited() {
        Exit::Stale
    } else if report.passed() {
        Exit::Done
    } else {
        Exit::Blocked
    }
}

fn read_policy(path: &Path) -> Result<Policy, CommandError> {
    let name = path.display().to_string();
    let text = std::fs::read_to_string(path)
        .map_err(|error| CommandError::new(Exit::Usage, format!("cannot read policy {name}: {error}")))?;
    policy::parse(&name, &text).map_err(|errors| CommandError::diagnostic(Exit::Usage, errors))
}
