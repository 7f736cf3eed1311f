//! What a publisher says. Names and ids are the publisher's.

use bytes::Bytes;

use super::tuple::Tuple;
use crate::replay::Lsn;

/// One message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Message {
    /// A transaction begins.
    Begin(Begin),
    /// The transaction that began last is complete.
    Commit(Commit),
    /// The transaction was replicated into the publisher from elsewhere.
    Origin(Origin),
    /// The shape of a table; comes before its first change, and again after its shape changed.
    Relation(Relation),
    /// Name of a type that is not built in; comes before the first `Relation` that uses it.
    Type(TypeName),
    /// A new row.
    Insert {
        /// OID of the table, as announced by `Relation`.
        relation: u32,
        /// The row.
        new: Tuple,
    },
    /// A changed row.
    Update {
        /// OID of the table.
        relation: u32,
        /// The old key, only if it changed; the whole old row with `REPLICA IDENTITY FULL`.
        old: Option<(OldKind, Tuple)>,
        /// The row as it is now.
        new: Tuple,
    },
    /// A removed row.
    Delete {
        /// OID of the table.
        relation: u32,
        /// What `old` holds.
        kind: OldKind,
        /// The row's key, or the whole row.
        old: Tuple,
    },
    /// Emptied tables.
    Truncate(Truncate),
    /// `pg_logical_emit_message`.
    Message(LogicalMessage),
}

/// Start of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Begin {
    /// Where the commit record starts; equals `Commit::commit_lsn`.
    pub final_lsn: Lsn,
    /// Microseconds since 2000-01-01 00:00 UTC on the publisher's clock.
    pub commit_ts: i64,
    /// Id of the top-level transaction, without its epoch.
    pub xid: u32,
}

/// End of a transaction.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Commit {
    /// Unused by every server version so far.
    pub flags: u8,
    /// Where the commit record starts.
    pub commit_lsn: Lsn,
    /// Where the commit record ends: the position to confirm and to resume from.
    pub end_lsn: Lsn,
    /// Microseconds since 2000-01-01 00:00 UTC on the publisher's clock.
    pub commit_ts: i64,
}

/// Where a replicated transaction came from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Origin {
    /// Commit position on the origin.
    pub commit_lsn: Lsn,
    /// Name of the origin.
    pub name: String,
}

/// Shape of a table.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Relation {
    /// OID of the table.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Table.
    pub name: String,
    /// What old rows carry.
    pub replica_identity: ReplicaIdentity,
    /// Columns in the order of every tuple; without dropped, generated and unpublished ones.
    pub columns: Vec<RelationColumn>,
}

/// `relreplident`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReplicaIdentity {
    /// The primary key.
    Default,
    /// Nothing.
    Nothing,
    /// The whole row.
    Full,
    /// A named unique index.
    Index,
}

/// A column of a `Relation`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RelationColumn {
    /// Part of the replica identity.
    pub is_key: bool,
    /// Name.
    pub name: String,
    /// OID of the type on the publisher.
    pub type_oid: u32,
    /// `atttypmod`; -1 is none.
    pub typmod: i32,
}

/// Name of a type.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TypeName {
    /// OID on the publisher.
    pub oid: u32,
    /// Schema.
    pub schema: String,
    /// Name.
    pub name: String,
}

/// What an old tuple holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OldKind {
    /// The replica identity's columns; the others are `Null` whatever the row held.
    Key,
    /// Every column.
    Full,
}

/// Emptied tables.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Truncate {
    /// `CASCADE`.
    pub cascade: bool,
    /// `RESTART IDENTITY`.
    pub restart_identity: bool,
    /// OIDs of the tables.
    pub relations: Vec<u32>,
}

/// A message put into the log by a session. Any role may write one: trust only what carries a secret.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LogicalMessage {
    /// Arrives inside its transaction, and only if that commits.
    pub transactional: bool,
    /// Where it stands in the log.
    pub lsn: Lsn,
    /// Prefix.
    pub prefix: String,
    /// Content.
    pub content: Bytes,
}
