//! `plan.json`: written in one way, read strictly.

use std::io::{self, Write};

use serde::Deserialize;
use serde_json::Value;

use crate::plan::check::{CheckError, check};
use crate::plan::{FORMAT, PlanFile, canonical, strict};

/// Largest file that is read, in bytes.
pub const BYTES_MAX: usize = 256 * 1024 * 1024;

/// Why a file is not a plan that may run.
#[derive(Debug, thiserror::Error)]
pub enum PlanFileError {
    /// The file is larger than any plan.
    #[error("the file has {0} bytes; a plan has at most {BYTES_MAX}")]
    TooLarge(usize),
    /// Not strict JSON, or not the fields of a plan.
    #[error("the file is not a plan: {0}")]
    Json(#[from] serde_json::Error),
    /// Written by another version.
    #[error("the plan has format `{found}`; this pcrd reads {FORMAT}")]
    Format {
        /// `plan.format` of the file.
        found: String,
    },
    /// It reads as a plan, but is not written as one.
    #[error("the plan was edited: {place} is not written as pcrd writes it")]
    Spelling {
        /// Where in the file.
        place: String,
    },
    /// The plan contradicts itself, or was edited.
    #[error(transparent)]
    Check(#[from] CheckError),
}

/// The file's text: indented JSON, fields in the order of the types, newline at the end.
pub fn to_json(file: &PlanFile) -> String {
    let mut text = serde_json::to_string_pretty(file).expect("plan types have only string keys and no floats");
    text.push('\n');
    text
}

/// As [`to_json`], into a file.
///
/// # Errors
/// When the writer fails.
pub fn write_json(file: &PlanFile, mut to: impl Write) -> io::Result<()> {
    serde_json::to_writer_pretty(&mut to, file)?;
    to.write_all(b"\n")
}

/// Reads and checks a plan; see the module for what is refused.
///
/// # Errors
/// When the file is not exactly what [`to_json`] could have written, white space and order of fields aside.
pub fn read(text: &str) -> Result<PlanFile, PlanFileError> {
    let (file, spelling) = parsed(text)?;
    check(&file.plan)?;
    check_spelling(&spelling, &file)?;
    Ok(file)
}

/// Reads a plan without checking that its parts agree: for whoever wants to know everything that is wrong.
///
/// # Errors
/// When the text is not strict JSON of the plan's types.
pub fn parse(text: &str) -> Result<PlanFile, PlanFileError> {
    let (file, spelling) = parsed(text)?;
    check_spelling(&spelling, &file)?;
    Ok(file)
}

/// The file, and the canonical text of its plan as it was found.
fn parsed(text: &str) -> Result<(PlanFile, Vec<u8>), PlanFileError> {
    if text.len() > BYTES_MAX {
        return Err(PlanFileError::TooLarge(text.len()));
    }
    let spelling = strict::canonical(text, Some("evidence"))?;
    let head: Result<Head, _> = serde_json::from_str(text);
    let format = head.ok().and_then(|head| head.plan.format);
    if let Some(found) = format.filter(|format| *format != FORMAT) {
        return Err(PlanFileError::Format { found });
    }
    Ok((serde_json::from_str(text)?, spelling))
}

/// What tells of a file of another version: it may have other fields.
#[derive(Deserialize)]
struct Head {
    plan: PlanHead,
}

#[derive(Deserialize)]
struct PlanHead {
    format: Option<String>,
}

/// A member that was left out, or a name in another spelling, reads as the same plan: not what was reviewed.
fn check_spelling(found: &[u8], file: &PlanFile) -> Result<(), PlanFileError> {
    let expected = canonical::text(file, Some("evidence"));
    if found == expected {
        return Ok(());
    }
    let found: Value = serde_json::from_slice(found)?;
    let expected: Value = serde_json::from_slice(&expected)?;
    Err(PlanFileError::Spelling {
        place: difference(&found, &expected).unwrap_or_default().trim_start_matches('.').to_owned(),
    })
}

/// The first place at which two trees differ.
fn difference(found: &Value, expected: &Value) -> Option<String> {
    match (found, expected) {
        (Value::Object(found), Value::Object(expected)) => {
            let names = found.keys().chain(expected.keys());
            names.into_iter().find_map(|name| match (found.get(name), expected.get(name)) {
                (Some(found), Some(expected)) => difference(found, expected).map(|inner| format!(".{name}{inner}")),
                _ => Some(format!(".{name}")),
            })
        }
        (Value::Array(found), Value::Array(expected)) if found.len() == expected.len() => {
            let mut pairs = found.iter().zip(expected).enumerate();
            pairs.find_map(|(n, (found, expected))| Some(format!("[{n}]{}", difference(found, expected)?)))
        }
        _ => (found != expected).then(String::new),
    }
}
