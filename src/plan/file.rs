//! `plan.json`: written in one way, read strictly.

use serde_json::Value;

use crate::plan::check::{CheckError, check};
use crate::plan::strict;
use crate::plan::{FORMAT, PlanFile};

/// Largest file that is read, in bytes.
pub const BYTES_MAX: usize = 64 * 1024 * 1024;

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
    if text.len() > BYTES_MAX {
        return Err(PlanFileError::TooLarge(text.len()));
    }
    let value = strict::parse(text)?;
    let format = value.pointer("/plan/format").and_then(Value::as_str);
    if let Some(found) = format.filter(|format| *format != FORMAT) {
        return Err(PlanFileError::Format { found: found.to_owned() });
    }
    let file: PlanFile = serde_json::from_value(value)?;
    check(&file.plan)?;
    Ok(file)
}
