//! The plan file's types. `body` is digested; `evidence` is for people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::catalog::name::IDENT_BYTES_MAX;
use crate::catalog::{Fingerprint, Ident, QualifiedName, SchemaRights, Sequence, Server, Table, TypeDef};
pub use crate::diff::{Action, Change};
use crate::plan::cutover::Cutover;
use crate::plan::op::Op;
use crate::plan::throttle::ThrottleLimits;
use crate::projection::{Back, Projection};
pub use crate::resolve::{Accepted, Check, CheckPredicate, Finding, NotCarried, RowBytes, Severity, SourceView};

/// The format this build writes and reads.
pub const FORMAT: &str = "pcrd.plan/1";

/// `plan.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct PlanFile {
    /// Everything that is digested and executed.
    pub plan: Plan,
    /// Sizes, estimates and check results at plan time; `apply` ignores it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub evidence: Option<Evidence>,
}

/// `sha256:…` of the canonical JSON of the plan without its id.
pub type PlanId = Fingerprint;

/// The reviewed, digested plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Plan {
    /// [`FORMAT`].
    pub format: String,
    /// Digest of the rest.
    pub id: PlanId,
    /// Version of pcrd that wrote it.
    pub tool: String,
    /// Input files and their digests.
    pub inputs: Vec<Input>,
    /// The source at plan time.
    pub source: Side,
    /// The target at plan time.
    pub target: Side,
    /// Every choice that is not per table.
    pub settings: Settings,
    /// What changes, for people and for diffs.
    pub changes: Vec<Change>,
    /// How rows are made, one per table.
    pub projections: Vec<Projection>,
    /// How they go back after the switch, in the order of the projections, where that is asked for.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub back: Vec<Back>,
    /// What depends on the tables and stays behind.
    pub not_carried: Vec<NotCarried>,
    /// Hazards.
    pub findings: Vec<Finding>,
    /// Validation queries.
    pub checks: Vec<Check>,
    /// The graph.
    pub steps: Vec<Step>,
}

/// An input file.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Input {
    /// File name without directories.
    pub name: String,
    /// Its digest.
    pub sha256: Fingerprint,
}

/// One end at plan time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Side {
    /// Identity of the cluster.
    pub server: Server,
    /// Digest of `tables`, `sequences` and `types`.
    pub fingerprint: Fingerprint,
    /// Structure of every table that the plan reads (source) or found (target).
    pub tables: BTreeMap<QualifiedName, Arc<Table>>,
    /// Sequences that the plan reads.
    pub sequences: BTreeMap<QualifiedName, Sequence>,
    /// Owners and grants of the schemas of these, where the plan reads them; of the source.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub schemas: BTreeMap<Ident, SchemaRights>,
    /// Types that the plan creates on the target as they are here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub types: BTreeMap<QualifiedName, TypeDef>,
    /// Functions that the plan creates on the target as they are here: `pg_get_functiondef`.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub functions: BTreeMap<QualifiedName, String>,
    /// Views that the plan makes on the target, as they are here.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub views: BTreeMap<QualifiedName, SourceView>,
}

/// Choices that hold for the whole plan.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Settings {
    /// Replication slot.
    pub slot: Ident,
    /// Publication.
    pub publication: Ident,
    /// Rows of the first chunk.
    pub batch_size: u64,
    /// True when the config set `batch_size`: then it is also the cap.
    pub batch_size_is_cap: bool,
    /// Copy workers, when the config sets them; otherwise the machine that runs the plan decides.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub workers: Option<u32>,
    /// Rows a second for the backfill, all workers together; `None` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows_per_second: Option<u64>,
    /// Bytes a second for the backfill, all workers together; `None` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_bytes_per_second: Option<u64>,
    /// How rows are compared.
    #[serde(default, skip_serializing_if = "Comparison::is_default")]
    pub comparison: Comparison,
    /// Limits at which the copy slows down by itself.
    #[serde(default, skip_serializing_if = "ThrottleLimits::is_default")]
    pub throttle: ThrottleLimits,
    /// Lag below which the gate opens.
    pub lag_threshold_bytes: u64,
    /// Safety margin of sequences.
    pub sequence_buffer: u64,
    /// Wait for the stream before the fence, in seconds.
    pub lag_drain_timeout_s: u64,
    /// Bound of everything between fence and switch, in milliseconds.
    pub fence_timeout_ms: u64,
    /// Session settings of every connection.
    pub session: BTreeMap<String, String>,
    /// What becomes of the run when a table of the source gets another column.
    #[serde(default, skip_serializing_if = "OnDdl::is_stop")]
    pub on_ddl: OnDdl,
    /// What stops the writers at the cutover, and the operator's programs around the switch.
    #[serde(default, skip_serializing_if = "Cutover::is_default")]
    pub cutover: Cutover,
}

impl Settings {
    /// The slot on the target from which changes go back.
    pub fn back_slot(&self) -> Ident {
        for_the_way_back(&self.slot)
    }

    /// The publication on the target.
    pub fn back_publication(&self) -> Ident {
        for_the_way_back(&self.publication)
    }
}

/// The name with a suffix, cut where it would be too long: the names of the config are ASCII.
fn for_the_way_back(name: &Ident) -> Ident {
    const SUFFIX: &str = "_back";
    let kept: String = name.as_str().chars().take(IDENT_BYTES_MAX - SUFFIX.len()).collect();
    Ident::new(format!("{kept}{SUFFIX}")).expect("it is no longer than a name may be")
}

/// How rows are compared, wherever they are.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Comparison {
    /// What makes a number of a row.
    #[serde(default)]
    pub hash: HashKind,
    /// Rows a second while the stream goes on, all workers together; `None` is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub max_rows_per_second: Option<u64>,
}

impl Comparison {
    /// True for the default, which plans do not write.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }
}

/// What makes a number of a row.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum HashKind {
    /// The server's own hash, of which two numbers of 64 bits are taken.
    #[default]
    Fast,
    /// SHA-256, cut to 128 bits; MD5 where a server is of PostgreSQL 10.
    Sha256,
}

/// What becomes of the run when a table of the source gets another column. Every other change of a table stops it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OnDdl {
    /// It stops.
    #[default]
    Stop,
    /// It goes on, and the column stays on the source.
    IgnoreAdditive,
    /// It goes on, with the column on the target too.
    FollowAdditive,
}

impl OnDdl {
    /// True for the default, which plans do not write.
    pub fn is_stop(&self) -> bool {
        *self == Self::Stop
    }

    /// What it means for the run, where that is not to stop.
    pub fn meaning(self) -> Option<&'static str> {
        match self {
            Self::Stop => None,
            Self::IgnoreAdditive => {
                Some("a column that comes to a table of the source meanwhile is NOT migrated, and the run goes on")
            }
            Self::FollowAdditive => Some(
                "a column that comes to a table of the source meanwhile is added to the target too, without another review",
            ),
        }
    }

    /// The word of the config.
    pub fn word(self) -> &'static str {
        match self {
            Self::Stop => "stop",
            Self::IgnoreAdditive => "ignore_additive",
            Self::FollowAdditive => "follow_additive",
        }
    }
}

/// `kind:address`, never a position.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
pub struct StepId(pub String);

impl StepId {
    /// What stands before the address: `copy` of `copy:public.orders`.
    pub fn kind(&self) -> &str {
        self.0.split(':').next().unwrap_or_default()
    }
}

impl std::fmt::Display for StepId {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

/// Phases, in order.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum Phase {
    /// Publication, slot, ledger.
    Prepare,
    /// Target objects.
    Schema,
    /// Rows.
    Copy,
    /// Indexes, constraints, statistics while the stream runs.
    Catchup,
    /// Comparison while the stream runs.
    Verify,
    /// Fence to switch.
    Cutover,
    /// The way back.
    Reverse,
    /// Removal of what the plan created.
    Cleanup,
}

/// A node of the graph.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Step {
    /// Identity.
    pub id: StepId,
    /// Phase.
    pub phase: Phase,
    /// What it does.
    pub op: Op,
    /// What must be done before, and by which rule.
    pub after: Vec<After>,
    /// SQL, derived from `op`; `$lo`, `$hi` and the like stand for what only the run knows.
    pub statements: Vec<Statement>,
    /// Locks that it takes.
    pub lock: Vec<Lock>,
    /// How "already done" is recognised.
    pub done_when: String,
    /// How it is undone.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub revert: Vec<Statement>,
}

/// An edge of the graph.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct After {
    /// The earlier step.
    pub step: StepId,
    /// Why.
    pub rule: String,
}

/// Which end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum End {
    /// The source.
    Source,
    /// The target.
    Target,
}

impl End {
    /// The one that this is not.
    pub fn other(self) -> Self {
        match self {
            Self::Source => Self::Target,
            Self::Target => Self::Source,
        }
    }
}

impl std::fmt::Display for End {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::Source => "source",
            Self::Target => "target",
        })
    }
}

/// One SQL statement.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Statement {
    /// Where it runs.
    pub on: End,
    /// The text.
    pub sql: String,
}

/// A lock that a step takes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Lock {
    /// Where.
    pub on: End,
    /// Object.
    pub object: String,
    /// PostgreSQL's name of the mode.
    pub mode: String,
    /// How long: `one chunk`, `milliseconds`, ….
    pub held: String,
}

/// What was seen at plan time.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct Evidence {
    /// When, RFC 3339 in UTC.
    pub at: String,
    /// Rows and bytes by source table.
    pub sizes: BTreeMap<QualifiedName, crate::catalog::Stats>,
    /// Results of the checks.
    pub checks: Vec<CheckResult>,
    /// Bytes per row before and after, by source table; by target table where the source goes into several.
    pub row_bytes: BTreeMap<QualifiedName, RowBytes>,
}

/// Result of one check.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct CheckResult {
    /// [`Check::id`].
    pub id: String,
    /// Rows scanned.
    pub rows: u64,
    /// Bad rows by predicate.
    pub failing: Vec<u64>,
    /// Keys of bad rows, masked unless asked for.
    pub samples: Vec<Vec<String>>,
}

impl Plan {
    /// The source tables, each once, in the order of the projections.
    pub fn sources(&self) -> Vec<&QualifiedName> {
        let mut seen = BTreeSet::new();
        self.projections.iter().map(|projection| &projection.source).filter(|source| seen.insert(*source)).collect()
    }

    /// True when the source table goes into more than one target.
    pub fn is_split(&self, source: &QualifiedName) -> bool {
        self.projections.iter().filter(|projection| &projection.source == source).count() > 1
    }

    /// The table name by which changes, findings and checks speak of a projection: the source's, or the target's where
    /// the source goes into several.
    pub fn address<'a>(&self, projection: &'a Projection) -> &'a QualifiedName {
        if self.is_split(&projection.source) { &projection.target } else { &projection.source }
    }

    /// [`Plan::address`] of every projection, in their order.
    pub fn addresses(&self) -> Vec<&QualifiedName> {
        let mut counts: BTreeMap<&QualifiedName, usize> = BTreeMap::new();
        for projection in &self.projections {
            *counts.entry(&projection.source).or_default() += 1;
        }
        let address = |one: &'_ Projection| counts[&one.source] > 1;
        self.projections.iter().map(|one| if address(one) { &one.target } else { &one.source }).collect()
    }

    /// The target tables, each once, in the order of the projections.
    pub fn targets(&self) -> Vec<&QualifiedName> {
        let mut seen = BTreeSet::new();
        self.projections.iter().map(|projection| &projection.target).filter(|target| seen.insert(*target)).collect()
    }

    /// The source tables that are partitioned.
    pub fn partitioned(&self) -> BTreeSet<&QualifiedName> {
        let partitioned = self.projections.iter().filter(|projection| projection.partitioned);
        partitioned.map(|projection| &projection.source).collect()
    }

    /// True for a target table with partitions.
    pub fn is_split_up(&self, target: &QualifiedName) -> bool {
        self.onto(target).any(|projection| projection.onto_partitions)
    }

    /// True when an index finds rows of the table by this column: the key that it is created with begins with it.
    pub fn is_found_by(&self, table: &QualifiedName, column: &Ident) -> bool {
        self.steps.iter().any(|step| match &step.op {
            Op::CreateTable(op) if &op.name == table => {
                op.key.as_ref().is_some_and(|key| key.columns.first() == Some(column))
            }
            _ => false,
        })
    }

    /// The projections onto this target table: more than one where it has several sources.
    pub fn onto<'p>(&'p self, target: &QualifiedName) -> impl Iterator<Item = &'p Projection> + Clone {
        self.projections.iter().filter(move |projection| &projection.target == target)
    }
}
