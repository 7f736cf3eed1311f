//! How the cutover stops the writers and moves the clients, as the config says it.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::Ident;

/// What stops the writers, and the operator's programs around the switch.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Cutover {
    /// What stops the writers.
    #[serde(default, skip_serializing_if = "FenceKind::is_trigger")]
    pub fence: FenceKind,
    /// The operator's programs.
    #[serde(default, skip_serializing_if = "Hooks::is_empty")]
    pub hooks: Hooks,
    /// The pooler that holds the clients, of the fence that has one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pgbouncer: Option<Pooler>,
    /// The way back, when it is asked for.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reverse: Option<Reverse>,
}

/// After the switch, changes of the target go back to the source until the operator ends that.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Reverse {
    /// The role on the source as which they are written: the only one that the fence lets pass.
    pub user: Ident,
}

impl Cutover {
    /// True for what plans do not write: a trigger and no programs.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// The role that the fence lets pass.
    pub fn passes(&self) -> Option<&Ident> {
        self.reverse.as_ref().map(|reverse| &reverse.user)
    }
}

/// What stops the writers.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum FenceKind {
    /// A trigger that refuses them.
    #[default]
    Trigger,
    /// The same, and after the switch the source's tables get other names: readers fail too.
    Rename,
    /// pgbouncer holds its clients; the trigger refuses the others.
    Pgbouncer,
    /// The operator's program; whoever writes all the same is found out.
    Hooks,
    /// Nothing: the operator says that nobody writes. Whoever does is found out.
    None,
}

impl FenceKind {
    /// True for the default, which plans do not write.
    pub fn is_trigger(&self) -> bool {
        *self == Self::Trigger
    }

    /// The word of the config.
    pub fn word(self) -> &'static str {
        match self {
            Self::Trigger => "trigger",
            Self::Rename => "rename",
            Self::Pgbouncer => "pgbouncer",
            Self::Hooks => "hooks",
            Self::None => "none",
        }
    }

    /// True when a write to the source fails from the fence on.
    pub fn refuses(self) -> bool {
        matches!(self, Self::Trigger | Self::Rename | Self::Pgbouncer)
    }
}

/// Where a pgbouncer is told to hold its clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Pooler {
    /// Its admin console, for people: `user@host:port/database`.
    pub admin: String,
    /// Its databases whose clients are held.
    pub databases: Vec<Ident>,
}

/// Moments at which a program of the operator's runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hook {
    /// Before the fence.
    BeforeFence,
    /// When the source takes no writes any more and the target has everything: moves the clients.
    Switch,
    /// After the target has become the database.
    AfterSwitch,
    /// After a cutover was given up.
    Abort,
}

impl Hook {
    /// In the order in which they run.
    pub const ALL: [Self; 4] = [Self::BeforeFence, Self::Switch, Self::AfterSwitch, Self::Abort];

    /// The word of the config.
    pub fn word(self) -> &'static str {
        match self {
            Self::BeforeFence => "before_fence",
            Self::Switch => "switch",
            Self::AfterSwitch => "after_switch",
            Self::Abort => "abort",
        }
    }
}

/// The operator's programs: program and arguments, run without a shell. Empty where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Hooks {
    /// See [`Hook::BeforeFence`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub before_fence: Vec<String>,
    /// See [`Hook::Switch`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub switch: Vec<String>,
    /// See [`Hook::AfterSwitch`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub after_switch: Vec<String>,
    /// See [`Hook::Abort`].
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub abort: Vec<String>,
    /// How long each may take, in seconds.
    pub timeout_s: u64,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            before_fence: Vec::new(),
            switch: Vec::new(),
            after_switch: Vec::new(),
            abort: Vec::new(),
            timeout_s: 30,
        }
    }
}

impl Hooks {
    /// Program and arguments; empty when there is none.
    pub fn argv(&self, hook: Hook) -> &[String] {
        match hook {
            Hook::BeforeFence => &self.before_fence,
            Hook::Switch => &self.switch,
            Hook::AfterSwitch => &self.after_switch,
            Hook::Abort => &self.abort,
        }
    }

    /// True when there is no program at all.
    pub fn is_empty(&self) -> bool {
        Hook::ALL.iter().all(|hook| self.argv(*hook).is_empty())
    }
}
