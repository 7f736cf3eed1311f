//! JSON in one form: no white space, keys sorted. Written as it comes, without a tree: a plan of a thousand tables has
//! millions of values.

use std::borrow::Cow;
use std::cell::RefCell;
use std::cmp::Ordering;
use std::io::{self, Write};
use std::ops::Range;
use std::rc::Rc;

use serde::Serialize;
use serde_json::ser::{Formatter, Serializer};

/// The text of a value; without one member of the outermost object, when that is named.
pub(super) fn text<T: Serialize>(value: &T, without: Option<&'static str>) -> Vec<u8> {
    let shared = Shared(Rc::new(RefCell::new(Canonical::new(without))));
    value
        .serialize(&mut Serializer::with_formatter(shared.clone(), shared.clone()))
        .expect("plan types have only string keys and no floats");
    shared.0.take().text
}

/// A text that is being written.
#[derive(Debug, Default)]
pub(super) struct Canonical {
    text: Vec<u8>,
    /// The members so far of each object that is not complete.
    open: Vec<Vec<Member>>,
    without: Option<&'static str>,
    spare: Vec<u8>,
}

#[derive(Debug, Clone)]
struct Member {
    /// Where its key stands, with its quotes.
    key: Range<usize>,
    end: usize,
}

impl Canonical {
    /// Leaves out one member of the outermost object.
    pub(super) fn new(without: Option<&'static str>) -> Self {
        Self { without, ..Self::default() }
    }

    /// What was written.
    pub(super) fn into_text(self) -> Vec<u8> {
        self.text
    }

    /// A value that is no object and no array, or a part of one.
    pub(super) fn push(&mut self, bytes: &[u8]) {
        self.text.extend_from_slice(bytes);
    }

    pub(super) fn begin_object(&mut self) {
        self.text.push(b'{');
        self.open.push(Vec::new());
    }

    pub(super) fn begin_key(&mut self) {
        let Some(members) = self.open.last_mut() else { return };
        if !members.is_empty() {
            self.text.push(b',');
        }
        let start = self.text.len();
        members.push(Member { key: start..start, end: start });
    }

    pub(super) fn end_key(&mut self) {
        if let Some(member) = self.open.last_mut().and_then(|members| members.last_mut()) {
            member.key.end = self.text.len();
        }
        self.text.push(b':');
    }

    pub(super) fn end_value(&mut self) {
        if let Some(member) = self.open.last_mut().and_then(|members| members.last_mut()) {
            member.end = self.text.len();
        }
    }

    pub(super) fn end_object(&mut self) {
        let mut members = self.open.pop().expect("an object that ends has begun");
        let text = &self.text;
        let compare = |one: &Member, other: &Member| key_order(&text[one.key.clone()], &text[other.key.clone()]);
        let unwanted = self.without.filter(|_| self.open.is_empty());
        let is_unwanted = |member: &Member| unwanted.is_some_and(|name| unescaped(&text[member.key.clone()]) == name);
        let is_whole = !members.iter().any(is_unwanted);
        if !is_whole || !members.is_sorted_by(|one, other| compare(one, other).is_le()) {
            let start = members[0].key.start;
            members.retain(|member| !is_unwanted(member));
            members.sort_by(compare);
            self.spare.clear();
            self.spare.extend_from_slice(&self.text[start..]);
            self.text.truncate(start);
            for (number, member) in members.iter().enumerate() {
                if number > 0 {
                    self.text.push(b',');
                }
                self.text.extend_from_slice(&self.spare[member.key.start - start..member.end - start]);
            }
        }
        self.text.push(b'}');
    }
}

impl Write for Canonical {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.push(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// The order of keys as texts, given as JSON.
fn key_order(one: &[u8], other: &[u8]) -> Ordering {
    if one.contains(&b'\\') || other.contains(&b'\\') {
        return unescaped(one).cmp(&unescaped(other));
    }
    // Without the quotes, which are no part of the key and not the least of characters.
    one[1..one.len() - 1].cmp(&other[1..other.len() - 1])
}

fn unescaped(key: &[u8]) -> Cow<'_, str> {
    serde_json::from_slice(key).expect("a key is a JSON string")
}

/// For serde_json, which asks a formatter where objects begin and end and has a writer for everything else.
#[derive(Clone)]
struct Shared(Rc<RefCell<Canonical>>);

impl Write for Shared {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.borrow_mut().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

impl Formatter for Shared {
    fn begin_object<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.0.borrow_mut().begin_object();
        Ok(())
    }

    fn begin_object_key<W: ?Sized + Write>(&mut self, _writer: &mut W, _first: bool) -> io::Result<()> {
        self.0.borrow_mut().begin_key();
        Ok(())
    }

    fn begin_object_value<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.0.borrow_mut().end_key();
        Ok(())
    }

    fn end_object_value<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.0.borrow_mut().end_value();
        Ok(())
    }

    fn end_object<W: ?Sized + Write>(&mut self, _writer: &mut W) -> io::Result<()> {
        self.0.borrow_mut().end_object();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Map, Value};

    use super::*;

    /// In reverse order, as no map of serde_json gives them.
    struct Backwards<'v>(&'v Value);

    impl Serialize for Backwards<'_> {
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            match self.0 {
                Value::Object(fields) => {
                    serializer.collect_map(fields.iter().rev().map(|(key, value)| (key, Backwards(value))))
                }
                Value::Array(items) => serializer.collect_seq(items.iter().map(Backwards)),
                other => other.serialize(serializer),
            }
        }
    }

    fn value() -> impl Strategy<Value = Value> {
        let key = "[ !\"a-c\\\\\n\u{1}\u{7f}ä\u{ffff}\u{1f600}]{0,3}";
        let leaf = prop_oneof![
            Just(Value::Null),
            any::<bool>().prop_map(Value::from),
            any::<i64>().prop_map(Value::from),
            any::<u64>().prop_map(Value::from),
            key.prop_map(Value::from)
        ];
        leaf.prop_recursive(4, 40, 6, move |inner| {
            prop_oneof![
                proptest::collection::vec(inner.clone(), 0..5).prop_map(Value::Array),
                proptest::collection::btree_map(key, inner, 0..6)
                    .prop_map(|fields| Value::Object(fields.into_iter().collect::<Map<_, _>>())),
            ]
        })
    }

    proptest! {
        #[test]
        fn whatever_the_order_the_text_is_the_one_with_sorted_keys(value in value()) {
            // serde_json sorts by the keys' bytes unless told otherwise by a feature.
            prop_assert_eq!(String::from_utf8(text(&Backwards(&value), None)).unwrap(), value.to_string());
            prop_assert_eq!(String::from_utf8(text(&value, None)).unwrap(), value.to_string());
        }

        #[test]
        fn one_member_of_the_outermost_object_is_left_out(mut inner in value()) {
            let value = serde_json::json!({"z": {"id": 1}, "id": inner.take(), "a": 1});
            prop_assert_eq!(text(&Backwards(&value), Some("id")), b"{\"a\":1,\"z\":{\"id\":1}}".to_vec());
        }
    }
}
