//! Triggers of users, in parts.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::is_false;
use super::{Ident, QualifiedName};

/// A user trigger.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Trigger {
    /// `pg_get_triggerdef`.
    pub definition: String,
    /// `tgenabled`: O origin, A always, R replica, D disabled.
    pub enabled: char,
    /// The extension that it belongs to, or goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Ident>,
}

/// What a trigger does, without its name and its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerDef {
    /// BEFORE; otherwise AFTER.
    #[serde(default, skip_serializing_if = "is_false")]
    pub before: bool,
    /// What it fires on, as PostgreSQL lists it.
    pub events: Vec<TriggerEvent>,
    /// UPDATE OF these; of all when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Ident>,
    /// CONSTRAINT TRIGGER, and when it fires.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub constraint: Option<TriggerTiming>,
    /// REFERENCING OLD TABLE AS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub old_table: Option<Ident>,
    /// REFERENCING NEW TABLE AS.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub new_table: Option<Ident>,
    /// FOR EACH ROW; otherwise FOR EACH STATEMENT.
    #[serde(default, skip_serializing_if = "is_false")]
    pub each_row: bool,
    /// WHEN, without its brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub condition: Option<String>,
    /// What it calls.
    pub function: QualifiedName,
    /// Arguments of the call.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub arguments: Vec<String>,
}

/// What a trigger fires on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "PostgreSQL's own words")]
pub enum TriggerEvent {
    Insert,
    Delete,
    Update,
    Truncate,
}

/// When a constraint trigger fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TriggerTiming {
    /// NOT DEFERRABLE.
    NotDeferrable,
    /// DEFERRABLE INITIALLY IMMEDIATE.
    Immediate,
    /// DEFERRABLE INITIALLY DEFERRED.
    Deferred,
}

/// In which sessions a trigger fires.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Firing {
    /// In those that are no replicas.
    Origin,
    /// In all.
    Always,
    /// In those that apply what was replicated.
    Replica,
    /// In none.
    Disabled,
}

/// A function that a trigger can call.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct TriggerFunction {
    /// `pg_get_functiondef`, where it is written in PL/pgSQL.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub definition: Option<String>,
    /// Owner.
    pub owner: Ident,
    /// Grants, as `pg_proc.proacl` items, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub grants: Vec<String>,
    /// The extension that it belongs to, or goes with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub extension: Option<Ident>,
}

/// What a function in PL/pgSQL is that triggers call, without its name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct FunctionDef {
    /// What stands between the language and the body, as the server writes it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub attributes: String,
    /// The body.
    pub body: String,
}

impl TriggerEvent {
    /// Its word in SQL.
    pub fn word(self) -> &'static str {
        match self {
            Self::Insert => "INSERT",
            Self::Delete => "DELETE",
            Self::Update => "UPDATE",
            Self::Truncate => "TRUNCATE",
        }
    }
}

impl TriggerTiming {
    /// Its words in SQL.
    pub fn words(self) -> &'static str {
        match self {
            Self::NotDeferrable => "NOT DEFERRABLE",
            Self::Immediate => "DEFERRABLE INITIALLY IMMEDIATE",
            Self::Deferred => "DEFERRABLE INITIALLY DEFERRED",
        }
    }
}

impl Firing {
    /// `tgenabled`.
    pub fn of(code: char) -> Option<Self> {
        [Self::Origin, Self::Always, Self::Replica, Self::Disabled].into_iter().find(|one| one.code() == code)
    }

    /// As `tgenabled` has it.
    pub fn code(self) -> char {
        match self {
            Self::Origin => 'O',
            Self::Always => 'A',
            Self::Replica => 'R',
            Self::Disabled => 'D',
        }
    }

    /// What ALTER TABLE calls it; nothing for what a new trigger has.
    pub fn words(self) -> Option<&'static str> {
        match self {
            Self::Origin => None,
            Self::Always => Some("ENABLE ALWAYS"),
            Self::Replica => Some("ENABLE REPLICA"),
            Self::Disabled => Some("DISABLE"),
        }
    }
}
