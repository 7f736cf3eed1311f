//! `pcrd fmt`.

use std::io::Read;
use std::path::{Path, PathBuf};

use similar::TextDiff;

use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::output::replace;
use crate::config::schema_file::{read_schema, schema_text};
use crate::desired::sql::{FormatError, SchemaErrors, format};

/// Arguments of `fmt`.
#[derive(Debug, clap::Args)]
pub struct FmtArgs {
    /// Desired schemas in SQL; `-` reads standard input and writes standard output
    #[arg(value_name = "FILE.sql", required = true)]
    pub files: Vec<PathBuf>,
    /// Write nothing; exit 1 if a file is not formatted
    #[arg(long)]
    pub check: bool,
    /// Write nothing; show what would change
    #[arg(long)]
    pub diff: bool,
}

/// A file as it is and as it should be.
struct Formatted<'a> {
    path: &'a Path,
    text: String,
    formatted: String,
}

/// Formats all files or, when one of them cannot be read, none.
pub fn run(ctx: &Context, args: &FmtArgs) -> Result<Exit, CommandError> {
    let mut files = Vec::with_capacity(args.files.len());
    for path in &args.files {
        let text = if is_stdin(path) { read_stdin()? } else { read_schema(path) };
        let text = text.map_err(|error| CommandError::new(Exit::Usage, error))?;
        let formatted = format(&text).map_err(|error| refused(path, &text, error))?;
        files.push(Formatted { path, text, formatted });
    }
    let changed: Vec<&Formatted<'_>> = files.iter().filter(|file| file.text != file.formatted).collect();
    if args.diff {
        changed.iter().try_for_each(|file| ctx.data(&diff(file)))?;
    } else if !args.check {
        for file in &files {
            write(ctx, file)?;
        }
    }
    if ctx.json && !args.files.iter().any(|path| is_stdin(path)) {
        let file = |file: &Formatted<'_>| serde_json::json!({ "file": shown(file.path), "changed": file.text != file.formatted });
        ctx.data(&serde_json::json!({ "files": files.iter().map(file).collect::<Vec<_>>() }).to_string())?;
    }
    if args.check && !changed.is_empty() {
        let names: Vec<String> = changed.iter().map(|file| shown(file.path)).collect();
        let is_are = if names.len() == 1 { "is" } else { "are" };
        let message = format!("{} {is_are} not formatted", names.join(", "));
        return Err(CommandError::new(Exit::Failed, message).with_next(format!("pcrd fmt {}", names.join(" "))));
    }
    Ok(Exit::Done)
}

fn is_stdin(path: &Path) -> bool {
    path == Path::new("-")
}

fn shown(path: &Path) -> String {
    if is_stdin(path) { "standard input".to_owned() } else { path.display().to_string() }
}

fn read_stdin() -> Result<Result<String, crate::config::schema_file::SchemaFileError>, CommandError> {
    let mut bytes = Vec::new();
    let read = std::io::stdin().lock().read_to_end(&mut bytes);
    read.map_err(|error| CommandError::new(Exit::Failed, format!("cannot read standard input: {error}")))?;
    Ok(schema_text("standard input", bytes))
}

fn refused(path: &Path, text: &str, error: FormatError) -> CommandError {
    match error {
        FormatError::Problems(problems) => {
            CommandError::diagnostic(Exit::Usage, SchemaErrors::new(&shown(path), text, problems))
        }
        FormatError::Changed => {
            let message = "formatting would change what the file says, which is a defect of pcrd; it is left as it is";
            CommandError::new(Exit::Failed, format!("{}: {message}", shown(path)))
        }
    }
}

fn write(ctx: &Context, file: &Formatted<'_>) -> Result<(), CommandError> {
    let has_nothing_to_say = if is_stdin(file.path) { file.formatted.is_empty() } else { file.text == file.formatted };
    if has_nothing_to_say {
        return Ok(());
    }
    if is_stdin(file.path) {
        return ctx.data(&file.formatted);
    }
    replace(file.path, file.formatted.as_bytes())?;
    ctx.note(&format!("{} formatted", file.path.display()));
    Ok(())
}

fn diff(file: &Formatted<'_>) -> String {
    let name = shown(file.path);
    let (old, new) = (format!("{name} (as it is)"), format!("{name} (formatted)"));
    TextDiff::from_lines(&file.text, &file.formatted).unified_diff().header(&old, &new).to_string()
}
