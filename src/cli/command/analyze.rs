//! `pcrd analyze`.

use std::collections::BTreeSet;
use std::path::PathBuf;

use similar::get_close_matches;

use crate::catalog::{Catalog, QualifiedName, Table};
use crate::cli::analysis::{Analysis, Comparison, analyze, compare};
use crate::cli::catalogs::{Seen, see};
use crate::cli::compile::{Beside, compile, refusal};
use crate::cli::context::Context;
use crate::cli::database::load_config;
use crate::cli::error::{CommandError, Exit};
use crate::config::Config;
use crate::plan::End;
use crate::resolve::selection::choose;
use crate::ui::number::{bytes, grouped};
use crate::ui::table;

/// Arguments of `analyze`.
#[derive(Debug, clap::Args)]
pub struct AnalyzeArgs {
    /// Only this table (may be repeated)
    #[arg(short, long = "table", value_name = "TABLE", value_parser = QualifiedName::parse_or_public)]
    pub tables: Vec<QualifiedName>,
    /// Show the source beside the target: the live table, or the planned one
    #[arg(long)]
    pub compare_target: bool,
    /// Use a saved catalog instead of the source
    #[arg(long, value_name = "FILE")]
    pub source_catalog: Option<PathBuf>,
    /// Use a saved catalog instead of the target
    #[arg(long, value_name = "FILE")]
    pub target_catalog: Option<PathBuf>,
}

/// Reports what the order of columns costs.
pub async fn run(ctx: &Context, args: &AnalyzeArgs) -> Result<Exit, CommandError> {
    let config = load_config(ctx)?;
    if args.tables.is_empty() && names_nothing(&config) {
        let text =
            "nothing to analyze: name a table with --table, or in the config under analyze.tables or migrate.tables";
        return Err(CommandError::new(Exit::Usage, text));
    }
    let source = see(ctx, &config, End::Source, args.source_catalog.as_deref(), "analyze").await?.catalog;
    let names = names(&config, args, &source)?;
    let mut found = Vec::new();
    for name in &names {
        found.push((name, find(&source, name)?));
    }
    let (document, text) = if args.compare_target {
        let target = see(ctx, &config, End::Target, args.target_catalog.as_deref(), "analyze").await?;
        let compared = comparisons(&config, &source, &target, &names).await?;
        (serde_json::to_string(&compared), compared.iter().map(comparison_text).collect::<Vec<_>>().join("\n"))
    } else {
        let analyses: Vec<Analysis> = found.iter().map(|(name, table)| analyze(name, table)).collect();
        (serde_json::to_string(&analyses), analyses_text(&analyses))
    };
    let document = document.map_err(|error| CommandError::new(Exit::Failed, error))?;
    ctx.data(if ctx.json { &document } else { &text })?;
    Ok(Exit::Done)
}

fn names_nothing(config: &Config) -> bool {
    let migrated = &config.migrate.desired;
    config
        .analyze_tables
        .as_ref()
        .map_or(migrated.tables.is_empty() && migrated.selection.globs.is_empty(), Vec::is_empty)
}

/// `--table`, else `analyze.tables`, else the migrated tables.
fn names(config: &Config, args: &AnalyzeArgs, source: &Catalog) -> Result<Vec<QualifiedName>, CommandError> {
    let mut names: Vec<QualifiedName> = match (args.tables.is_empty(), &config.analyze_tables) {
        (false, _) => args.tables.clone(),
        (true, Some(listed)) => listed.iter().map(|table| table.value.clone()).collect(),
        (true, None) => {
            let mut desired = config.migrate.desired.clone();
            choose(&mut desired, source, &BTreeSet::new()).map_err(|errors| refusal(config, None, errors))?;
            desired.tables.into_iter().map(|table| table.source.value).collect()
        }
    };
    let mut seen = BTreeSet::new();
    names.retain(|name| seen.insert(name.clone()));
    Ok(names)
}

fn find<'c>(source: &'c Catalog, name: &QualifiedName) -> Result<&'c Table, CommandError> {
    source.tables.get(name).ok_or_else(|| {
        let known: Vec<String> = source.tables.keys().map(ToString::to_string).collect();
        let known: Vec<&str> = known.iter().map(String::as_str).collect();
        let wanted = name.to_string();
        let near = get_close_matches(wanted.as_str(), &known, 1, 0.6);
        let hint = near.first().map_or_else(String::new, |near| format!("; did you mean `{near}`?"));
        CommandError::new(Exit::Usage, format!("the source has no table {name}{hint}"))
    })
}

async fn comparisons(
    config: &Config,
    source: &Catalog,
    target: &Seen,
    names: &[QualifiedName],
) -> Result<Vec<Comparison>, CommandError> {
    let compiled = compile(config, source, target, Beside::default()).await?;
    let mut found = Vec::new();
    for name in names {
        let mut resolved = compiled.resolved.tables.iter().filter(|table| &table.source == name).peekable();
        if resolved.peek().is_none() {
            let text = format!("{name} is not under migrate.tables, so there is no target to compare it with");
            return Err(CommandError::new(Exit::Usage, text));
        }
        for resolved in resolved {
            let live = target.catalog.tables.get(&resolved.target);
            found.push(compare(find(source, name)?, resolved, live.unwrap_or(&resolved.wanted), live.is_some()));
        }
    }
    Ok(found)
}

fn analyses_text(analyses: &[Analysis]) -> String {
    let rows: Vec<Vec<String>> = analyses
        .iter()
        .map(|found| {
            let saved = found.row_bytes - found.row_bytes_packed;
            let total = found.rows_estimate.map_or_else(|| "not known".to_owned(), |rows| bytes(rows * saved));
            vec![
                found.table.clone(),
                found.rows_estimate.map_or_else(|| "not known".to_owned(), grouped),
                format!("{} B", found.row_bytes),
                format!("{} B", found.row_bytes_packed),
                format!("{saved} B ({})", share(saved, found.row_bytes)),
                total,
            ]
        })
        .collect();
    let mut text = String::from("Typical row, as PostgreSQL lays it out (header and statistics included):\n");
    text.push_str(&table::render(&["table", "rows", "now", "packed", "saved", "in all"], &rows, &[1, 2, 3, 4, 5]));
    let rows: Vec<Vec<String>> = analyses
        .iter()
        .map(|found| {
            let figures = &found.compat;
            vec![
                found.table.clone(),
                format!("{} B", figures.current),
                format!("{} B", figures.optimal),
                format!("{} B ({})", figures.saved, share(figures.saved, figures.current)),
                format!("{} B -> {} B", figures.padding, figures.padding_optimal),
            ]
        })
        .collect();
    text.push_str("\nColumn widths alone (no header, variable-length values as 4 B):\n");
    text.push_str(&table::render(&["table", "current", "optimal", "saved", "padding"], &rows, &[1, 2, 3, 4]));
    for found in analyses.iter().filter(|found| found.row_bytes_packed < found.row_bytes) {
        let order = found.packed_order.join(", ");
        text.push_str(&format!("\npacked order of {}: {order}", found.table));
    }
    crate::ui::text::safe(&text).into_owned()
}

fn comparison_text(found: &Comparison) -> String {
    let side = |column: &Option<(String, String)>| match column {
        Some((name, ty)) => format!("{name} {ty}"),
        None => String::new(),
    };
    let rows: Vec<Vec<String>> =
        found.columns.iter().map(|pair| vec![side(&pair.source), side(&pair.target), pair.change.clone()]).collect();
    let kind = if found.target_exists { "exists" } else { "planned" };
    let mut text = format!("{} => target:{} ({kind})\n", found.source, found.target);
    text.push_str(&table::render(&["source", "target", "change"], &rows, &[]));
    text.push_str(&format!(
        "typical row: {} B -> {} B; column widths alone: {} B -> {} B\n",
        found.row_bytes, found.row_bytes_target, found.compat.0, found.compat.1
    ));
    crate::ui::text::safe(&text).into_owned()
}

/// `19.2 %`.
fn share(part: u64, whole: u64) -> String {
    let per_mille = (part * 1000 + whole / 2) / whole.max(1);
    format!("{}.{} %", per_mille / 10, per_mille % 10)
}
