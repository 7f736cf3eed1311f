//! Row-level security: which rows of a table a role sees and may write.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::model::is_false;
use super::{Ident, Table};

/// A policy of a table, and what it needs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// AS RESTRICTIVE; otherwise PERMISSIVE.
    #[serde(default, skip_serializing_if = "is_false")]
    pub restrictive: bool,
    /// FOR.
    pub command: PolicyCommand,
    /// TO these, sorted; to everybody when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Ident>,
    /// USING, as `pg_get_expr` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub using: Option<String>,
    /// WITH CHECK, as `pg_get_expr` writes it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
    /// Columns of the table that it reads, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub columns: Vec<Ident>,
    /// Functions that it calls and PostgreSQL does not bring: `schema.name(types)`, sorted.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub functions: Vec<String>,
    /// What else it needs that PostgreSQL, an extension or a type does not bring, in words, sorted: tables, operators, ….
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub others: Vec<String>,
}

/// What a policy does, without its name and its table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PolicyDef {
    /// AS RESTRICTIVE; otherwise PERMISSIVE.
    #[serde(default, skip_serializing_if = "is_false")]
    pub restrictive: bool,
    /// FOR.
    pub command: PolicyCommand,
    /// TO these, sorted; to everybody when there are none.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub roles: Vec<Ident>,
    /// USING, without its brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub using: Option<String>,
    /// WITH CHECK, without its brackets.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub check: Option<String>,
}

/// What a policy is about.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "PostgreSQL's own words")]
pub enum PolicyCommand {
    All,
    Select,
    Insert,
    Update,
    Delete,
}

/// The row security of a table as a server has it.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct RowSecurity {
    /// ENABLE ROW LEVEL SECURITY.
    pub enabled: bool,
    /// FORCE ROW LEVEL SECURITY: also for the owner, once it is enabled.
    pub forced: bool,
    /// What says which rows.
    pub policies: BTreeMap<Ident, PolicyDef>,
}

impl RowSecurity {
    /// Of a table as it was read.
    pub fn of(table: &Table) -> Self {
        let policies = table.policies.iter().map(|(name, policy)| (name.clone(), policy.def()));
        Self { enabled: table.row_security, forced: table.row_security_forced, policies: policies.collect() }
    }
}

impl Policy {
    /// What it does.
    pub fn def(&self) -> PolicyDef {
        let Self { restrictive, command, roles, using, check, .. } = self.clone();
        PolicyDef { restrictive, command, roles, using, check }
    }
}

impl PolicyCommand {
    /// `polcmd`.
    pub fn of(code: char) -> Option<Self> {
        [Self::All, Self::Select, Self::Insert, Self::Update, Self::Delete].into_iter().find(|one| one.code() == code)
    }

    /// As `polcmd` has it.
    pub fn code(self) -> char {
        match self {
            Self::All => '*',
            Self::Select => 'r',
            Self::Insert => 'a',
            Self::Update => 'w',
            Self::Delete => 'd',
        }
    }

    /// Its word in SQL.
    pub fn word(self) -> &'static str {
        match self {
            Self::All => "ALL",
            Self::Select => "SELECT",
            Self::Insert => "INSERT",
            Self::Update => "UPDATE",
            Self::Delete => "DELETE",
        }
    }
}
