//! Bytes to messages.

use bytes::Bytes;

use super::cursor::Cursor;
use super::message::{
    Begin, Commit, LogicalMessage, Message, OldKind, Origin, Relation, RelationColumn, ReplicaIdentity, Truncate,
    TypeName,
};
use super::tuple::Tuple;

/// `MaxTupleAttributeNumber`: no PostgreSQL row has more columns.
const COLUMNS_MAX: u16 = 1664;

/// Why bytes are no message of protocol version 1.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// No bytes at all.
    #[error("the message is empty")]
    Empty,
    /// The first byte names no message that was asked for.
    #[error("unknown message `{}`", .0.escape_ascii())]
    UnknownMessage(u8),
    /// The message ends too early.
    #[error("the message ends inside {what}")]
    Truncated {
        /// The field.
        what: &'static str,
    },
    /// The message goes on after its last field.
    #[error("{bytes} bytes follow the end of a `{}` message", .tag.escape_ascii())]
    Trailing {
        /// First byte of the message.
        tag: u8,
        /// How many.
        bytes: usize,
    },
    /// A negative length.
    #[error("{what} has length {length}")]
    Length {
        /// The field.
        what: &'static str,
        /// The length.
        length: i32,
    },
    /// A count that no server sends.
    #[error("{count} {what}")]
    Count {
        /// Of what.
        what: &'static str,
        /// How many.
        count: u64,
    },
    /// A one-byte code that is not known.
    #[error("unknown {what} `{}`", .byte.escape_ascii())]
    Code {
        /// The field.
        what: &'static str,
        /// The byte.
        byte: u8,
    },
    /// A name is not UTF-8, although the connection's encoding is.
    #[error("{what} is not UTF-8")]
    NotUtf8 {
        /// The field.
        what: &'static str,
    },
}

/// Reads the payload of one XLogData frame.
///
/// # Errors
/// Any deviation from protocol version 1, including a byte too many; streamed and two-phase transactions too,
/// which pcrd never asks for.
pub fn decode(bytes: Bytes) -> Result<Message, DecodeError> {
    let tag = *bytes.first().ok_or(DecodeError::Empty)?;
    let mut cursor = Cursor::new(bytes);
    cursor.u8("the message's kind")?;
    let message = match tag {
        b'B' => Message::Begin(Begin {
            final_lsn: cursor.lsn("the final position")?,
            commit_ts: cursor.i64("the commit time")?,
            xid: cursor.u32("the transaction id")?,
        }),
        b'C' => Message::Commit(Commit {
            flags: cursor.u8("the commit flags")?,
            commit_lsn: cursor.lsn("the commit position")?,
            end_lsn: cursor.lsn("the end position")?,
            commit_ts: cursor.i64("the commit time")?,
        }),
        b'O' => Message::Origin(Origin {
            commit_lsn: cursor.lsn("the origin's position")?,
            name: cursor.name("the origin's name")?,
        }),
        b'R' => Message::Relation(relation(&mut cursor)?),
        b'Y' => Message::Type(TypeName {
            oid: cursor.u32("the type's id")?,
            schema: schema(&mut cursor)?,
            name: cursor.name("the type's name")?,
        }),
        b'I' => {
            let relation = cursor.u32("the relation's id")?;
            match cursor.u8("the tuple's kind")? {
                b'N' => Message::Insert { relation, new: Tuple::read(&mut cursor)? },
                byte => return Err(DecodeError::Code { what: "tuple kind of an insert", byte }),
            }
        }
        b'U' => update(&mut cursor)?,
        b'D' => {
            let relation = cursor.u32("the relation's id")?;
            let byte = cursor.u8("the tuple's kind")?;
            let kind = old_kind(byte).ok_or(DecodeError::Code { what: "tuple kind of a delete", byte })?;
            Message::Delete { relation, kind, old: Tuple::read(&mut cursor)? }
        }
        b'T' => Message::Truncate(truncate(&mut cursor)?),
        b'M' => Message::Message(LogicalMessage {
            transactional: cursor.u8("the message's flags")? & 1 != 0,
            lsn: cursor.lsn("the message's position")?,
            prefix: cursor.name("the message's prefix")?,
            content: cursor.sized("the message's content")?,
        }),
        other => return Err(DecodeError::UnknownMessage(other)),
    };
    match cursor.remaining() {
        0 => Ok(message),
        bytes => Err(DecodeError::Trailing { tag, bytes }),
    }
}

/// The server writes `pg_catalog` as an empty string.
fn schema(cursor: &mut Cursor) -> Result<String, DecodeError> {
    let name = cursor.name("the schema's name")?;
    Ok(if name.is_empty() { "pg_catalog".to_owned() } else { name })
}

pub(super) fn column_count(cursor: &mut Cursor) -> Result<u16, DecodeError> {
    let count = cursor.u16("the number of columns")?;
    // Every column takes at least one byte, so a lying count cannot make us allocate.
    if count > COLUMNS_MAX {
        return Err(DecodeError::Count { what: "columns", count: count.into() });
    }
    Ok(count)
}

fn relation(cursor: &mut Cursor) -> Result<Relation, DecodeError> {
    let oid = cursor.u32("the relation's id")?;
    let schema = schema(cursor)?;
    let name = cursor.name("the relation's name")?;
    let replica_identity = match cursor.u8("the replica identity")? {
        b'd' => ReplicaIdentity::Default,
        b'n' => ReplicaIdentity::Nothing,
        b'f' => ReplicaIdentity::Full,
        b'i' => ReplicaIdentity::Index,
        byte => return Err(DecodeError::Code { what: "replica identity", byte }),
    };
    let columns = (0..column_count(cursor)?)
        .map(|_| {
            Ok(RelationColumn {
                is_key: cursor.u8("a column's flags")? & 1 != 0,
                name: cursor.name("a column's name")?,
                type_oid: cursor.u32("a column's type")?,
                typmod: cursor.i32("a column's type modifier")?,
            })
        })
        .collect::<Result<_, _>>()?;
    Ok(Relation { oid, schema, name, replica_identity, columns })
}

fn old_kind(byte: u8) -> Option<OldKind> {
    match byte {
        b'K' => Some(OldKind::Key),
        b'O' => Some(OldKind::Full),
        _ => None,
    }
}

fn update(cursor: &mut Cursor) -> Result<Message, DecodeError> {
    let relation = cursor.u32("the relation's id")?;
    let mut byte = cursor.u8("the tuple's kind")?;
    let mut old = None;
    if let Some(kind) = old_kind(byte) {
        old = Some((kind, Tuple::read(cursor)?));
        byte = cursor.u8("the new tuple's kind")?;
    }
    if byte != b'N' {
        return Err(DecodeError::Code { what: "tuple kind of an update", byte });
    }
    Ok(Message::Update { relation, old, new: Tuple::read(cursor)? })
}

fn truncate(cursor: &mut Cursor) -> Result<Truncate, DecodeError> {
    let count = cursor.u32("the number of tables")?;
    let flags = cursor.u8("the truncate options")?;
    if flags & !3 != 0 {
        return Err(DecodeError::Code { what: "truncate options", byte: flags });
    }
    if u64::from(count) * 4 != cursor.remaining() as u64 {
        return Err(DecodeError::Count { what: "truncated tables", count: count.into() });
    }
    let relations = (0..count).map(|_| cursor.u32("a table's id")).collect::<Result<_, _>>()?;
    Ok(Truncate { cascade: flags & 1 != 0, restart_identity: flags & 2 != 0, relations })
}

#[cfg(test)]
mod tests {
    use bytes::{BufMut, BytesMut};
    use proptest::prelude::*;

    use super::super::tuple::ColumnData;
    use super::*;
    use crate::replay::Lsn;

    fn name(buf: &mut BytesMut, text: &str) {
        buf.put_slice(text.as_bytes());
        buf.put_u8(0);
    }

    fn encode_tuple(buf: &mut BytesMut, tuple: &Tuple) {
        buf.put_u16(tuple.len() as u16);
        for column in tuple.iter() {
            match column {
                ColumnData::Null => buf.put_u8(b'n'),
                ColumnData::UnchangedToast => buf.put_u8(b'u'),
                ColumnData::Text(value) | ColumnData::Binary(value) => {
                    buf.put_u8(if matches!(column, ColumnData::Text(_)) { b't' } else { b'b' });
                    buf.put_i32(value.len() as i32);
                    buf.put_slice(value);
                }
            }
        }
    }

    fn old_byte(kind: OldKind) -> u8 {
        if kind == OldKind::Key { b'K' } else { b'O' }
    }

    fn encode(message: &Message) -> Bytes {
        let mut buf = BytesMut::new();
        match message {
            Message::Begin(m) => {
                buf.put_u8(b'B');
                buf.put_u64(m.final_lsn.0);
                buf.put_i64(m.commit_ts);
                buf.put_u32(m.xid);
            }
            Message::Commit(m) => {
                buf.put_u8(b'C');
                buf.put_u8(m.flags);
                buf.put_u64(m.commit_lsn.0);
                buf.put_u64(m.end_lsn.0);
                buf.put_i64(m.commit_ts);
            }
            Message::Origin(m) => {
                buf.put_u8(b'O');
                buf.put_u64(m.commit_lsn.0);
                name(&mut buf, &m.name);
            }
            Message::Relation(m) => {
                buf.put_u8(b'R');
                buf.put_u32(m.oid);
                name(&mut buf, &m.schema);
                name(&mut buf, &m.name);
                buf.put_u8(match m.replica_identity {
                    ReplicaIdentity::Default => b'd',
                    ReplicaIdentity::Nothing => b'n',
                    ReplicaIdentity::Full => b'f',
                    ReplicaIdentity::Index => b'i',
                });
                buf.put_u16(m.columns.len() as u16);
                for column in &m.columns {
                    buf.put_u8(column.is_key.into());
                    name(&mut buf, &column.name);
                    buf.put_u32(column.type_oid);
                    buf.put_i32(column.typmod);
                }
            }
            Message::Type(m) => {
                buf.put_u8(b'Y');
                buf.put_u32(m.oid);
                name(&mut buf, &m.schema);
                name(&mut buf, &m.name);
            }
            Message::Insert { relation, new } => {
                buf.put_u8(b'I');
                buf.put_u32(*relation);
                buf.put_u8(b'N');
                encode_tuple(&mut buf, new);
            }
            Message::Update { relation, old, new } => {
                buf.put_u8(b'U');
                buf.put_u32(*relation);
                if let Some((kind, old)) = old {
                    buf.put_u8(old_byte(*kind));
                    encode_tuple(&mut buf, old);
                }
                buf.put_u8(b'N');
                encode_tuple(&mut buf, new);
            }
            Message::Delete { relation, kind, old } => {
                buf.put_u8(b'D');
                buf.put_u32(*relation);
                buf.put_u8(old_byte(*kind));
                encode_tuple(&mut buf, old);
            }
            Message::Truncate(m) => {
                buf.put_u8(b'T');
                buf.put_u32(m.relations.len() as u32);
                buf.put_u8(u8::from(m.cascade) | u8::from(m.restart_identity) << 1);
                m.relations.iter().for_each(|oid| buf.put_u32(*oid));
            }
            Message::Message(m) => {
                buf.put_u8(b'M');
                buf.put_u8(m.transactional.into());
                buf.put_u64(m.lsn.0);
                name(&mut buf, &m.prefix);
                buf.put_i32(m.content.len() as i32);
                buf.put_slice(&m.content);
            }
        }
        buf.freeze()
    }

    fn any_name() -> impl Strategy<Value = String> {
        "[^\0]{1,8}"
    }

    fn any_tuple() -> impl Strategy<Value = Tuple> {
        let column = (0..4_u8, proptest::collection::vec(any::<u8>(), 0..12));
        proptest::collection::vec(column, 0..6).prop_map(|columns| {
            let values = columns.iter().map(|(kind, bytes)| match kind {
                0 => ColumnData::Null,
                1 => ColumnData::UnchangedToast,
                2 => ColumnData::Text(bytes),
                _ => ColumnData::Binary(bytes),
            });
            values.collect()
        })
    }

    fn any_old() -> impl Strategy<Value = (OldKind, Tuple)> {
        (prop_oneof![Just(OldKind::Key), Just(OldKind::Full)], any_tuple())
    }

    fn any_relation() -> impl Strategy<Value = Message> {
        let column = (any::<bool>(), any_name(), any::<u32>(), any::<i32>())
            .prop_map(|(is_key, name, type_oid, typmod)| RelationColumn { is_key, name, type_oid, typmod });
        let identity = prop_oneof![
            Just(ReplicaIdentity::Default),
            Just(ReplicaIdentity::Nothing),
            Just(ReplicaIdentity::Full),
            Just(ReplicaIdentity::Index),
        ];
        (any::<u32>(), any_name(), any_name(), identity, proptest::collection::vec(column, 0..5)).prop_map(
            |(oid, schema, name, replica_identity, columns)| {
                Message::Relation(Relation { oid, schema, name, replica_identity, columns })
            },
        )
    }

    fn any_message() -> impl Strategy<Value = Message> {
        let lsn = || any::<u64>().prop_map(Lsn);
        prop_oneof![
            (lsn(), any::<i64>(), any::<u32>()).prop_map(|(final_lsn, commit_ts, xid)| Message::Begin(Begin {
                final_lsn,
                commit_ts,
                xid
            })),
            (any::<u8>(), lsn(), lsn(), any::<i64>()).prop_map(|(flags, commit_lsn, end_lsn, commit_ts)| {
                Message::Commit(Commit { flags, commit_lsn, end_lsn, commit_ts })
            }),
            (lsn(), any_name()).prop_map(|(commit_lsn, name)| Message::Origin(Origin { commit_lsn, name })),
            any_relation(),
            (any::<u32>(), any_name(), any_name()).prop_map(|(oid, schema, name)| Message::Type(TypeName {
                oid,
                schema,
                name
            })),
            (any::<u32>(), any_tuple()).prop_map(|(relation, new)| Message::Insert { relation, new }),
            (any::<u32>(), proptest::option::of(any_old()), any_tuple())
                .prop_map(|(relation, old, new)| Message::Update { relation, old, new }),
            (any::<u32>(), any_old()).prop_map(|(relation, (kind, old))| Message::Delete { relation, kind, old }),
            (any::<bool>(), any::<bool>(), proptest::collection::vec(any::<u32>(), 0..5)).prop_map(
                |(cascade, restart_identity, relations)| {
                    Message::Truncate(Truncate { cascade, restart_identity, relations })
                }
            ),
            (any::<bool>(), lsn(), any_name(), proptest::collection::vec(any::<u8>(), 0..20)).prop_map(
                |(transactional, lsn, prefix, content)| {
                    Message::Message(LogicalMessage { transactional, lsn, prefix, content: content.into() })
                }
            ),
        ]
    }

    proptest! {
        #[test]
        fn every_message_reads_back(message in any_message()) {
            prop_assert_eq!(decode(encode(&message)), Ok(message));
        }

        #[test]
        fn no_proper_prefix_is_a_message(message in any_message(), cut in any::<prop::sample::Index>()) {
            let bytes = encode(&message);
            prop_assert!(decode(bytes.slice(..cut.index(bytes.len()))).is_err());
        }

        #[test]
        fn a_byte_too_many_is_refused(message in any_message(), byte in any::<u8>()) {
            let mut bytes = BytesMut::from(&encode(&message)[..]);
            bytes.put_u8(byte);
            prop_assert!(decode(bytes.freeze()).is_err());
        }

        #[test]
        fn noise_never_panics(tag in prop::sample::select(b"BCORYIUDTMSEcA?".to_vec()), mut noise in proptest::collection::vec(any::<u8>(), 0..80)) {
            noise.insert(0, tag);
            let _ = decode(noise.into());
        }
    }

    #[test]
    fn truncate_and_type_are_not_confused() {
        let truncate = decode(Bytes::from_static(b"T\0\0\0\x01\x03\0\0\x40\x01")).unwrap();
        assert_eq!(
            truncate,
            Message::Truncate(Truncate { cascade: true, restart_identity: true, relations: vec![0x4001] })
        );
        let name = decode(Bytes::from_static(b"Y\0\0\x40\x02\0mood\0")).unwrap();
        assert_eq!(
            name,
            Message::Type(TypeName { oid: 0x4002, schema: "pg_catalog".to_owned(), name: "mood".to_owned() })
        );
    }

    #[test]
    fn malformed_messages_are_told_apart() {
        let cases: [(&'static [u8], DecodeError); 8] = [
            (b"", DecodeError::Empty),
            (b"S\0\0\0\x01\x01", DecodeError::UnknownMessage(b'S')),
            (b"A", DecodeError::UnknownMessage(b'A')),
            (b"I\0\0\0\x01K\0\0", DecodeError::Code { what: "tuple kind of an insert", byte: b'K' }),
            (b"I\0\0\0\x01N\xff\xff", DecodeError::Count { what: "columns", count: 65535 }),
            (b"I\0\0\0\x01N\0\x01t\xff\xff\xff\xff", DecodeError::Length { what: "a value", length: -1 }),
            (b"T\xff\xff\xff\xff\0", DecodeError::Count { what: "truncated tables", count: 0xffff_ffff }),
            (b"R\0\0\0\x01p\xff\0t\0d\0\0", DecodeError::NotUtf8 { what: "the schema's name" }),
        ];
        for (bytes, error) in cases {
            assert_eq!(decode(Bytes::from_static(bytes)), Err(error));
        }
    }
}
