//! `plan.json`: written in one way, read strictly.

use serde::Deserialize;
use serde_json::Value;

use crate::plan::check::{CheckError, check};
use crate::plan::strict;
use crate::plan::{FORMAT, PlanFile};

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

/// Reads and checks a plan; see the module for what is refused.
///
/// # Errors
/// When the file is not exactly what [`to_json`] could have written, white space and order of fields aside.
pub fn read(text: &str) -> Result<PlanFile, PlanFileError> {
    let tree = tree(text)?;
    let file = PlanFile::deserialize(&tree)?;
    check(&file.plan)?;
    check_spelling(&tree, &file)?;
    Ok(file)
}

/// Reads a plan without checking that its parts agree: for whoever wants to know everything that is wrong.
///
/// # Errors
/// When the text is not strict JSON of the plan's types.
pub fn parse(text: &str) -> Result<PlanFile, PlanFileError> {
    let tree = tree(text)?;
    let file = PlanFile::deserialize(&tree)?;
    check_spelling(&tree, &file)?;
    Ok(file)
}

fn tree(text: &str) -> Result<Value, PlanFileError> {
    if text.len() > BYTES_MAX {
        return Err(PlanFileError::TooLarge(text.len()));
    }
    let tree = strict::parse(text)?;
    let format = tree.pointer("/plan/format").and_then(Value::as_str);
    match format.filter(|format| *format != FORMAT) {
        Some(found) => Err(PlanFileError::Format { found: found.to_owned() }),
        None => Ok(tree),
    }
}

/// A member that was left out, or a name in another spelling, reads as the same plan: not what was reviewed.
fn check_spelling(tree: &Value, file: &PlanFile) -> Result<(), PlanFileError> {
    let again = serde_json::to_value(&file.plan)?;
    match difference(tree.get("plan").unwrap_or(&Value::Null), &again) {
        Some(place) => Err(PlanFileError::Spelling { place: format!("plan{place}") }),
        None => Ok(()),
    }
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
