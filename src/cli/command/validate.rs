//! `pcrd validate`.

use std::fmt::Write;
use std::path::{Path, PathBuf};

use crate::catalog::QualifiedName;
use crate::cli::context::Context;
use crate::cli::database::load_config;
use crate::cli::error::{CommandError, Exit};
use crate::cli::schema_files::schema_files;
use crate::config::schema_file::read_schema;
use crate::desired::problem::Problem;
use crate::desired::sql::{Level, Reading, SchemaErrors, SqlSchema, read};

/// Arguments of `validate`.
#[derive(Debug, clap::Args)]
pub struct ValidateArgs {
    /// A desired schema in SQL, to check instead of the config
    #[arg(value_name = "FILE.sql")]
    pub schema: Option<PathBuf>,
}

/// Reads the config, or one SQL file, and says what it asks for.
pub fn run(ctx: &Context, args: &ValidateArgs) -> Result<Exit, CommandError> {
    match &args.schema {
        Some(path) => validate_schema(ctx, path),
        None => validate_config(ctx),
    }
}

fn validate_schema(ctx: &Context, path: &Path) -> Result<Exit, CommandError> {
    let file = path.display().to_string();
    let text = read_schema(path).map_err(|error| CommandError::new(Exit::Usage, error))?;
    let Reading { schema, problems, warnings } = read(&text);
    for warning in &warnings {
        ctx.warning(&format!("{file}:{}: {}", line_of(&text, warning), warning.message));
    }
    let is_valid = problems.is_empty();
    if ctx.json {
        ctx.data(&schema_json(&file, &schema, is_valid).to_string())?;
    } else {
        ctx.data(&schema_text(&file, &schema, problems.len()))?;
    }
    if is_valid {
        return Ok(Exit::Done);
    }
    Err(CommandError::diagnostic(Exit::Usage, SchemaErrors::new(&file, &text, problems)))
}

fn line_of(text: &str, problem: &Problem) -> usize {
    let at = problem.labels.first().map_or(0, |label| label.span.start);
    text[..at].matches('\n').count() + 1
}

fn schema_text(file: &str, schema: &SqlSchema, problems: usize) -> String {
    let managed = schema.tables.iter().filter(|table| table.is_managed()).count();
    let plural = |count: usize| if count == 1 { "" } else { "s" };
    let verdict = match problems {
        0 => "is valid".to_owned(),
        errors => format!("has {errors} error{}", plural(errors)),
    };
    let mut text =
        format!("{file} {verdict}: {managed} table{} in {} statements", plural(managed), schema.statements.len());
    for (level, count) in schema.counts() {
        if count == 0 {
            continue;
        }
        let kinds: Vec<String> = schema.kinds(level).iter().map(|(what, count)| format!("{what} {count}")).collect();
        let _ = write!(text, "\n  {:<12} {count:>5}  {}", level.word(), kinds.join(", "));
    }
    text
}

fn schema_json(file: &str, schema: &SqlSchema, is_valid: bool) -> serde_json::Value {
    let key = |level: Level| level.word().replace(' ', "_");
    let counts: serde_json::Map<String, serde_json::Value> =
        schema.counts().iter().map(|(level, count)| (key(*level), (*count).into())).collect();
    let kinds: serde_json::Map<String, serde_json::Value> =
        Level::ALL.iter().map(|level| (key(*level), serde_json::json!(schema.kinds(*level)))).collect();
    let managed = schema.tables.iter().filter(|table| table.is_managed());
    let tables: Vec<String> = managed.map(|table| table.name.value.to_string()).collect();
    serde_json::json!({
        "valid": is_valid, "file": file, "tables": tables, "statements": counts, "kinds": kinds,
    })
}

fn validate_config(ctx: &Context) -> Result<Exit, CommandError> {
    let config = load_config(ctx)?;
    let files = schema_files(&config)?;
    let in_config = config.migrate.desired.tables.iter().map(|table| &table.source.value);
    let in_files = files.iter().flat_map(|files| &files.schema().tables);
    let in_files = in_files.filter(|table| table.is_managed() && table.directives.ignore.is_none());
    let tables: Vec<&QualifiedName> = in_config.chain(in_files.map(|table| &table.name.value)).collect();
    for warning in files.iter().flat_map(|files| files.warnings().iter().map(|warning| files.located(warning))) {
        ctx.warning(&warning);
    }
    let patterns = &config.migrate.desired.selection.globs;
    let patterns: Vec<String> = patterns.iter().map(|one| one.glob.value.to_string()).collect();
    if ctx.json {
        let names: Vec<String> = tables.iter().map(ToString::to_string).collect();
        let valid = serde_json::json!({
            "valid": true, "file": config.file_name, "tables": names, "patterns": patterns,
        });
        ctx.data(&valid.to_string())?;
    } else {
        let n_tables = tables.len();
        let plural = if n_tables == 1 { "" } else { "s" };
        let chosen = match patterns.as_slice() {
            [] => String::new(),
            some => format!(", and those that the source has of `{}`", some.join("`, `")),
        };
        ctx.data(&format!("{} is valid: {n_tables} table{plural} to migrate{chosen}", config.file_name))?;
    }
    Ok(Exit::Done)
}
