//! `pcrd readiness`.

use std::path::PathBuf;

use crate::cli::catalogs::see;
use crate::cli::compile::{Beside, compile};
use crate::cli::context::Context;
use crate::cli::database::load_config;
use crate::cli::error::{CommandError, Exit};
use crate::cli::manifest::{Item, Status, manifest};
use crate::plan::End;
use crate::ui::table;

/// Arguments of `readiness`.
#[derive(Debug, clap::Args)]
pub struct ReadinessArgs {
    /// Use a saved catalog instead of the source
    #[arg(long, value_name = "FILE")]
    pub source_catalog: Option<PathBuf>,
    /// Use a saved catalog instead of the target
    #[arg(long, value_name = "FILE")]
    pub target_catalog: Option<PathBuf>,
}

/// Lists what the target needs besides rows, and what of it is there.
pub async fn run(ctx: &Context, args: &ReadinessArgs) -> Result<Exit, CommandError> {
    let config = load_config(ctx)?;
    let source = see(ctx, &config, End::Source, args.source_catalog.as_deref(), "readiness").await?;
    let target = see(ctx, &config, End::Target, args.target_catalog.as_deref(), "readiness").await?;
    let compiled = compile(&config, &source.catalog, &target, Beside::default()).await?;
    let items = manifest(&compiled.plan, &target.catalog);
    if ctx.json {
        let text = serde_json::to_string(&items).map_err(|error| CommandError::new(Exit::Failed, error))?;
        ctx.data(&text)?;
    } else {
        ctx.data(&text(&items, ctx.verbose > 0))?;
    }
    Ok(Exit::Done)
}

fn text(items: &[Item], verbose: bool) -> String {
    let rows: Vec<Vec<String>> = items
        .iter()
        .map(|item| {
            let detail = match item.status {
                Status::NeedsReview => item.detail.clone(),
                Status::Present | Status::Planned if verbose => item.detail.clone(),
                Status::Present | Status::Planned => String::new(),
            };
            vec![item.status.to_string(), item.kind.clone(), item.address.clone(), detail]
        })
        .collect();
    let mut text = table::render(&["status", "kind", "object", ""], &rows, &[]);
    let count = |status| items.iter().filter(|item| item.status == status).count();
    text.push_str(&format!(
        "\n{} present, {} planned, {} to review by you\n",
        count(Status::Present),
        count(Status::Planned),
        count(Status::NeedsReview)
    ));
    text
}
