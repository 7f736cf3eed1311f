//! JSON without the freedoms of JSON: no key twice, no deep nesting, no fractions.

use std::collections::BTreeSet;
use std::fmt;

use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::Value;

use crate::plan::canonical::Canonical;

/// Deepest nesting; a plan has about ten levels.
const DEPTH_MAX: usize = 40;

/// Reads one JSON value and nothing after it, into its canonical text. Leaves out one member of the outermost object.
///
/// # Errors
/// On a duplicate key, too deep nesting, a fraction, or text that is not JSON; the error has line and column.
pub(super) fn canonical(text: &str, without: Option<&'static str>) -> Result<Vec<u8>, serde_json::Error> {
    let mut deserializer = serde_json::Deserializer::from_str(text);
    let mut into = Canonical::new(without);
    Strict { depth: 0, into: &mut into }.deserialize(&mut deserializer)?;
    deserializer.end()?;
    Ok(into.into_text())
}

struct Strict<'c> {
    depth: usize,
    into: &'c mut Canonical,
}

impl Strict<'_> {
    fn deeper<E: Error>(&mut self) -> Result<Strict<'_>, E> {
        if self.depth >= DEPTH_MAX {
            return Err(E::custom(format!("nested deeper than {DEPTH_MAX} levels")));
        }
        Ok(Strict { depth: self.depth + 1, into: self.into })
    }

    fn plain<E: Error>(self, value: impl Into<Value>) -> Result<(), E> {
        serde_json::to_writer(self.into, &value.into()).map_err(E::custom)
    }
}

impl<'de> DeserializeSeed<'de> for Strict<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Strict<'_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("JSON of a plan")
    }

    fn visit_unit<E: Error>(self) -> Result<(), E> {
        self.plain(Value::Null)
    }

    fn visit_bool<E: Error>(self, value: bool) -> Result<(), E> {
        self.plain(value)
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<(), E> {
        self.plain(value)
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<(), E> {
        self.plain(value)
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<(), E> {
        Err(E::custom(format!("{value} is not an integer")))
    }

    fn visit_str<E: Error>(self, value: &str) -> Result<(), E> {
        serde_json::to_writer(self.into, value).map_err(E::custom)
    }

    fn visit_seq<A: SeqAccess<'de>>(mut self, mut items: A) -> Result<(), A::Error> {
        let mut deeper = self.deeper()?;
        deeper.into.push(b"[");
        let mut before: &[u8] = b"";
        while items.next_element_seed(Item { before, strict: &mut deeper })?.is_some() {
            before = b",";
        }
        deeper.into.push(b"]");
        Ok(())
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut fields: A) -> Result<(), A::Error> {
        let deeper = self.deeper()?;
        let mut seen = BTreeSet::new();
        deeper.into.begin_object();
        while let Some(key) = fields.next_key::<String>()? {
            deeper.into.begin_key();
            serde_json::to_writer(&mut *deeper.into, &key).map_err(A::Error::custom)?;
            deeper.into.end_key();
            if seen.contains(&key) {
                return Err(A::Error::custom(format!("the key `{key}` stands twice")));
            }
            seen.insert(key);
            fields.next_value_seed(Strict { depth: deeper.depth, into: deeper.into })?;
            deeper.into.end_value();
        }
        deeper.into.end_object();
        Ok(())
    }
}

/// An item of an array, with what stands between it and the one before it.
struct Item<'i, 'c> {
    before: &'static [u8],
    strict: &'i mut Strict<'c>,
}

impl<'de> DeserializeSeed<'de> for Item<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        self.strict.into.push(self.before);
        Strict { depth: self.strict.depth, into: self.strict.into }.deserialize(deserializer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn freedoms_are_refused() {
        for (text, why) in [
            ("{\"a\":1,\"a\":1}", "stands twice"),
            ("{\"a\":{\"b\":1,\"\\u0062\":1}}", "stands twice"),
            ("{\"a\":1.5}", "not an integer"),
            ("{} {}", "trailing"),
            ("{\"a\":01}", "invalid number"),
        ] {
            let error = canonical(text, None).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let deep = format!("{}{}", "[".repeat(DEPTH_MAX + 1), "]".repeat(DEPTH_MAX + 1));
        assert!(canonical(&deep, None).unwrap_err().to_string().contains("nested"));
        let deepest = format!("{}{}", "[".repeat(DEPTH_MAX), "]".repeat(DEPTH_MAX));
        assert!(canonical(&deepest, None).is_ok());
    }
}
