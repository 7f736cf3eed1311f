//! When the copy slows down by itself: what is watched, and the limits.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::End;

/// Something on a server that the copy must not spoil.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Signal {
    /// Bytes of log that the slot makes the source keep.
    WalRetained,
    /// Bytes that the applied position is behind the source.
    StreamLag,
    /// Seconds that the slowest physical standby of the source is behind it.
    SourceReplicaLag,
    /// Sessions of others at work on the source.
    SourceActiveSessions,
    /// Per cent by which commits on the source take longer than while the copy rests.
    SourceCommitSlowdown,
    /// Seconds that the slowest physical standby of the target is behind it.
    TargetReplicaLag,
}

impl Signal {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::WalRetained,
        Self::StreamLag,
        Self::SourceReplicaLag,
        Self::SourceActiveSessions,
        Self::SourceCommitSlowdown,
        Self::TargetReplicaLag,
    ];

    /// The key below `migrate.throttle`.
    pub const fn key(self) -> &'static str {
        match self {
            Self::WalRetained => "wal_retained_bytes",
            Self::StreamLag => "stream_lag_bytes",
            Self::SourceReplicaLag => "source_replica_lag_seconds",
            Self::SourceActiveSessions => "source_active_sessions",
            Self::SourceCommitSlowdown => "source_commit_slowdown_percent",
            Self::TargetReplicaLag => "target_replica_lag_seconds",
        }
    }

    /// The signal with this key.
    pub fn of_key(key: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|signal| signal.key() == key)
    }

    /// Where it is read.
    pub const fn end(self) -> End {
        match self {
            Self::WalRetained
            | Self::StreamLag
            | Self::SourceReplicaLag
            | Self::SourceActiveSessions
            | Self::SourceCommitSlowdown => End::Source,
            Self::TargetReplicaLag => End::Target,
        }
    }

    /// True when only a member of `pg_read_all_stats` can see it.
    pub const fn needs_monitor(self) -> bool {
        match self {
            Self::WalRetained | Self::StreamLag | Self::SourceCommitSlowdown => false,
            Self::SourceReplicaLag | Self::SourceActiveSessions | Self::TargetReplicaLag => true,
        }
    }

    /// The limit when nothing is said; 0 is none. How many sessions are many depends on the server, so none is assumed.
    pub const fn default_limit(self) -> u64 {
        match self {
            Self::WalRetained => 192 << 20,
            Self::StreamLag => 64 << 20,
            Self::SourceReplicaLag => 10,
            Self::SourceActiveSessions => 0,
            Self::SourceCommitSlowdown => 50,
            Self::TargetReplicaLag => 30,
        }
    }
}

/// The limits that the config sets; 0 switches a signal off.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct ThrottleLimits {
    /// Bytes of log that the slot may keep; absent is 201326592 (192 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub wal_retained_bytes: Option<u64>,
    /// Bytes that the stream may be behind; absent is 67108864 (64 MiB).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stream_lag_bytes: Option<u64>,
    /// Seconds that a physical standby of the source may be behind; absent is 10.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_replica_lag_seconds: Option<u64>,
    /// Sessions at work on the source; absent is no limit.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_active_sessions: Option<u64>,
    /// Per cent by which commits on the source may take longer than while the copy rests; absent is 50.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source_commit_slowdown_percent: Option<u64>,
    /// Seconds that a physical standby of the target may be behind; absent is 30.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target_replica_lag_seconds: Option<u64>,
}

impl ThrottleLimits {
    /// True when the config sets nothing.
    pub fn is_default(&self) -> bool {
        *self == Self::default()
    }

    /// What the config says of a signal.
    pub fn said(&self, signal: Signal) -> Option<u64> {
        match signal {
            Signal::WalRetained => self.wal_retained_bytes,
            Signal::StreamLag => self.stream_lag_bytes,
            Signal::SourceReplicaLag => self.source_replica_lag_seconds,
            Signal::SourceActiveSessions => self.source_active_sessions,
            Signal::SourceCommitSlowdown => self.source_commit_slowdown_percent,
            Signal::TargetReplicaLag => self.target_replica_lag_seconds,
        }
    }

    /// Says something of a signal.
    pub fn set(&mut self, signal: Signal, limit: Option<u64>) {
        let field = match signal {
            Signal::WalRetained => &mut self.wal_retained_bytes,
            Signal::StreamLag => &mut self.stream_lag_bytes,
            Signal::SourceReplicaLag => &mut self.source_replica_lag_seconds,
            Signal::SourceActiveSessions => &mut self.source_active_sessions,
            Signal::SourceCommitSlowdown => &mut self.source_commit_slowdown_percent,
            Signal::TargetReplicaLag => &mut self.target_replica_lag_seconds,
        };
        *field = limit;
    }

    /// The limit that holds; `None` when the signal is off.
    pub fn limit(&self, signal: Signal) -> Option<u64> {
        Some(self.said(signal).unwrap_or(signal.default_limit())).filter(|limit| *limit > 0)
    }
}
