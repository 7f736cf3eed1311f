//! The classes of casts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What can happen to a value on its way from the source column to the target column.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CastClass {
    /// Same type and typmod: the same bytes.
    Identical,
    /// Every value of the old type has an equal value in the new one.
    Widening,
    /// Some values do not fit; a validation query counts them, and none may be left.
    Checked,
    /// Values may change and no query proves otherwise; needs acceptance.
    Lossy,
    /// The user wrote the expression (`using:`).
    Custom,
}
