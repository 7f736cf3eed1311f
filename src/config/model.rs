//! The config as commands use it: checked, with all defaults filled in.

use std::path::PathBuf;

use crate::catalog::{Fingerprint, Ident, QualifiedName};
use crate::config::endpoint::Endpoint;
use crate::desired::{At, DesiredSchema};
use crate::plan::{Comparison, Cutover, FenceKind, Hooks, OnDdl, Pooler, Reverse, ThrottleLimits};

/// `pcrd.config.yml`. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file, as given.
    pub file_name: String,
    /// The file's text with every secret masked, byte for byte as long: spans point into it.
    pub text: String,
    /// Digest of the file; of `text` when the file holds a password.
    pub digest: Fingerprint,
    /// Where rows come from.
    pub source: Endpoint,
    /// Where rows go; commands that only read the source do without.
    pub target: Option<Endpoint>,
    /// The migration.
    pub migrate: MigrateSettings,
    /// `analyze.tables`; the migrated tables when not given.
    pub analyze_tables: Option<Vec<At<QualifiedName>>>,
    /// Verification.
    pub verify: VerifySettings,
    /// Cutover.
    pub cutover: CutoverSettings,
}

/// `migrate`.
#[derive(Debug, Clone)]
pub struct MigrateSettings {
    /// Replication slot: `[a-z0-9_]`, 1 to 63 bytes.
    pub slot: Ident,
    /// Publication: `[a-z0-9_]`, 1 to 63 bytes.
    pub publication: Ident,
    /// The operator's journal (SQLite).
    pub checkpoint_db: PathBuf,
    /// Rows of the first chunk.
    pub batch_size: u64,
    /// True when the file sets `batch_size`: then it is also the cap.
    pub batch_size_set: bool,
    /// Lag below which the migration is ready for cutover.
    pub lag_threshold_bytes: u64,
    /// Rows a second for the backfill; `None` is no limit.
    pub max_rows_per_second: Option<u64>,
    /// Bytes a second for the backfill; `None` is no limit.
    pub max_bytes_per_second: Option<u64>,
    /// Limits at which the copy slows down by itself.
    pub throttle: ThrottleLimits,
    /// What becomes of the run when a table of the source gets another column.
    pub on_ddl: OnDdl,
    /// Copy workers, when the file sets them.
    pub workers: Option<u32>,
    /// Files or globs of the desired schema in SQL, relative to the working directory.
    pub schema: Vec<At<PathBuf>>,
    /// The wanted changes.
    pub desired: DesiredSchema,
}

/// `verify`.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct VerifySettings {
    /// When set, `verify` samples this many rows a table instead of reading all, and says so.
    pub sample_size: Option<u64>,
    /// What every comparison keeps to.
    pub comparison: Comparison,
}

/// `cutover`. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct CutoverSettings {
    /// Safety margin of sequences.
    pub sequence_buffer: u64,
    /// Wait for the stream before the fence, in seconds.
    pub lag_drain_timeout_s: u64,
    /// Bound of everything between fence and switch, in milliseconds.
    pub fence_timeout_ms: u64,
    /// What stops the writers.
    pub fence: FenceKind,
    /// The operator's programs around the switch.
    pub hooks: Hooks,
    /// The pooler that holds the clients, of the fence that has one.
    pub pgbouncer: Option<PoolerSettings>,
    /// The way back, when it is asked for.
    pub reverse: Option<Reverse>,
}

impl CutoverSettings {
    /// What of it the plan shows and runs.
    pub fn planned(&self) -> Cutover {
        let pgbouncer = self
            .pgbouncer
            .as_ref()
            .map(|pooler| Pooler { admin: pooler.admin.params.shown(), databases: pooler.databases.clone() });
        Cutover { fence: self.fence, hooks: self.hooks.clone(), pgbouncer, reverse: self.reverse.clone() }
    }
}

/// `cutover.pgbouncer`. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct PoolerSettings {
    /// The admin console.
    pub admin: Endpoint,
    /// Databases of pgbouncer whose clients are held.
    pub databases: Vec<Ident>,
}
