//! A row as it arrived: one buffer, and where its values are.

use std::fmt;
use std::sync::Arc;

use bytes::{BufMut, Bytes, BytesMut};
use smallvec::SmallVec;

use super::cursor::Cursor;
use super::decode::{DecodeError, column_count};

/// A value.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ColumnData<'a> {
    /// NULL; in a tuple of `OldKind::Key` also "not part of the key".
    Null,
    /// A stored-out-of-line value that the update did not touch: not sent, and not NULL.
    UnchangedToast,
    /// The output function's text, in the client encoding.
    Text(&'a [u8]),
    /// The send function's bytes.
    Binary(&'a [u8]),
}

/// A row: one value for each column of its `Relation`, in its order. A copy shares the values with the original.
#[derive(Clone, Default)]
pub struct Tuple {
    message: Bytes,
    places: Arc<[Place]>,
}

#[derive(Debug, Clone, Copy)]
struct Place {
    kind: Kind,
    at: u32,
    length: u32,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Kind {
    Null,
    UnchangedToast,
    Text,
    Binary,
}

impl Tuple {
    /// Reads a tuple of the message that the cursor is in.
    pub(super) fn read(cursor: &mut Cursor) -> Result<Self, DecodeError> {
        let count = column_count(cursor)?;
        let mut places: SmallVec<[Place; 32]> = SmallVec::with_capacity(count.into());
        for _ in 0..count {
            let kind = match cursor.u8("a value's kind")? {
                b'n' => Kind::Null,
                b'u' => Kind::UnchangedToast,
                b't' => Kind::Text,
                b'b' => Kind::Binary,
                byte => return Err(DecodeError::Code { what: "value kind", byte }),
            };
            let (at, length) = match kind {
                Kind::Null | Kind::UnchangedToast => (0, 0),
                Kind::Text | Kind::Binary => cursor.extent("a value")?,
            };
            places.push(Place { kind, at, length });
        }
        Ok(Self { message: cursor.message(), places: Arc::from(&places[..]) })
    }

    /// Number of columns.
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// True when it has no columns.
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// The value of a column; `None` past the last one.
    pub fn get(&self, column: usize) -> Option<ColumnData<'_>> {
        self.places.get(column).map(|place| self.value(*place))
    }

    /// All values.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = ColumnData<'_>> {
        self.places.iter().map(|place| self.value(*place))
    }

    /// The text of a column that was sent and is not NULL.
    pub fn text(&self, column: usize) -> Option<&[u8]> {
        match self.get(column) {
            Some(ColumnData::Text(text)) => Some(text),
            _ => None,
        }
    }

    /// The same, sharing the buffer.
    pub fn shared_text(&self, column: usize) -> Option<Bytes> {
        let place = self.places.get(column).filter(|place| place.kind == Kind::Text)?;
        Some(self.message.slice(place.at as usize..(place.at + place.length) as usize))
    }

    /// True when a column's value was not sent since it did not change.
    pub fn is_unsent(&self, column: usize) -> bool {
        self.places.get(column).is_some_and(|place| place.kind == Kind::UnchangedToast)
    }

    /// True when the value of any column was not sent.
    pub fn has_unsent(&self) -> bool {
        self.places.iter().any(|place| place.kind == Kind::UnchangedToast)
    }

    /// Bytes of all values.
    pub fn bytes(&self) -> usize {
        self.places.iter().map(|place| place.length as usize).sum()
    }

    /// The same row; a small one in a buffer of its own, so that it does not keep a whole block of the stream.
    pub fn detached(&self) -> Self {
        const SMALL: usize = 16 * 1024;
        if self.message.len() > SMALL {
            return self.clone();
        }
        Self { message: Bytes::copy_from_slice(&self.message), places: Arc::clone(&self.places) }
    }

    /// The same row, with the values of `other` for the columns for which `takes` is true.
    pub fn with(&self, other: &Self, takes: impl Fn(usize) -> bool) -> Self {
        let value = |(column, own)| if takes(column) { other.get(column).unwrap_or(own) } else { own };
        self.iter().enumerate().map(value).collect()
    }

    fn value(&self, Place { kind, at, length }: Place) -> ColumnData<'_> {
        let bytes = || &self.message[at as usize..(at + length) as usize];
        match kind {
            Kind::Null => ColumnData::Null,
            Kind::UnchangedToast => ColumnData::UnchangedToast,
            Kind::Text => ColumnData::Text(bytes()),
            Kind::Binary => ColumnData::Binary(bytes()),
        }
    }
}

impl<'a> FromIterator<ColumnData<'a>> for Tuple {
    fn from_iter<T: IntoIterator<Item = ColumnData<'a>>>(values: T) -> Self {
        let mut message = BytesMut::new();
        let mut place = |value| {
            let (kind, bytes) = match value {
                ColumnData::Null => (Kind::Null, &[][..]),
                ColumnData::UnchangedToast => (Kind::UnchangedToast, &[][..]),
                ColumnData::Text(bytes) => (Kind::Text, bytes),
                ColumnData::Binary(bytes) => (Kind::Binary, bytes),
            };
            let at = message.len();
            message.put_slice(bytes);
            // A message has at most 1 GB, and so has what is made of two of its tuples.
            Place { kind, at: at as u32, length: bytes.len() as u32 }
        };
        let places = values.into_iter().map(&mut place).collect();
        Self { message: message.freeze(), places }
    }
}

impl PartialEq for Tuple {
    fn eq(&self, other: &Self) -> bool {
        self.iter().eq(other.iter())
    }
}

impl Eq for Tuple {}

impl fmt::Debug for Tuple {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unsent_values_are_taken_from_the_old_row() {
        let text = ColumnData::Text;
        let new: Tuple = [text(b"1"), ColumnData::UnchangedToast, ColumnData::Null, text(b"")].into_iter().collect();
        let old: Tuple = [text(b"0"), text(b"large"), text(b"was"), ColumnData::Null].into_iter().collect();
        assert!(new.has_unsent() && new.is_unsent(1) && !new.is_unsent(0) && !new.is_unsent(9));
        let whole = new.with(&old, |column| new.is_unsent(column));
        assert_eq!(whole, [text(b"1"), text(b"large"), ColumnData::Null, text(b"")].into_iter().collect());
        assert_eq!((whole.len(), whole.bytes(), whole.get(4)), (4, 6, None));
        assert_eq!((whole.text(1), whole.text(2), whole.text(9)), (Some(&b"large"[..]), None, None));
        assert_eq!(whole.shared_text(1), Some(Bytes::from_static(b"large")));
        assert_eq!(whole.shared_text(2), None);
        assert_eq!(whole.detached(), whole);
    }
}
