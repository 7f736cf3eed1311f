//! Key values in the order that the source's index has them.

use crate::projection::KeyOrder;

use super::timestamp;

/// One value of a key column. Values of one column have one variant, so the derived order is the column's.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum KeyValue {
    /// Integers, oids, booleans, days and microseconds.
    Int(i64),
    /// Bytes: uuid, bytea, text in collation C.
    Bytes(Box<[u8]>),
}

/// The values of all key columns, in key order.
pub type Key = Vec<KeyValue>;

/// A value that is not of its column's type: the stream or the ledger is not what the plan says.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a key value is not a valid {order:?}")]
pub struct KeyError {
    /// The order that the column should have.
    pub order: KeyOrder,
}

impl KeyValue {
    /// Reads the text that PostgreSQL writes under the pinned session settings.
    pub fn parse(order: KeyOrder, text: &str) -> Result<Self, KeyError> {
        let bad = KeyError { order };
        let int = |value: Option<i64>| value.map(KeyValue::Int).ok_or_else(|| bad.clone());
        match order {
            KeyOrder::Int => text.parse().map(KeyValue::Int).map_err(|_| bad),
            KeyOrder::Bool => match text {
                "t" | "true" => Ok(Self::Int(1)),
                "f" | "false" => Ok(Self::Int(0)),
                _ => Err(bad),
            },
            KeyOrder::Uuid => {
                let digits: String = text.chars().filter(|c| *c != '-').collect();
                hex(&digits).filter(|bytes| bytes.len() == 16).map(|b| Self::Bytes(b.into())).ok_or(bad)
            }
            KeyOrder::Bytea => text.strip_prefix("\\x").and_then(hex).map(|bytes| Self::Bytes(bytes.into())).ok_or(bad),
            KeyOrder::Date => int(timestamp::date(text)),
            KeyOrder::Timestamp => int(timestamp::timestamp(text, "")),
            KeyOrder::Timestamptz => int(timestamp::timestamp(text, "+00")),
            KeyOrder::TextC => Ok(Self::Bytes(text.as_bytes().into())),
        }
    }
}

impl KeyValue {
    /// The text that [`KeyValue::parse`] reads, valid as PostgreSQL input.
    pub fn text(&self, order: KeyOrder) -> Result<String, KeyError> {
        let bad = KeyError { order };
        let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
        match (order, self) {
            (KeyOrder::Int, Self::Int(value)) => Ok(value.to_string()),
            (KeyOrder::Bool, Self::Int(value)) => Ok(if *value == 0 { "f" } else { "t" }.to_owned()),
            (KeyOrder::Date, Self::Int(days)) => Ok(timestamp::write_date(*days)),
            (KeyOrder::Timestamp, Self::Int(micros)) => Ok(timestamp::write_timestamp(*micros, "")),
            (KeyOrder::Timestamptz, Self::Int(micros)) => Ok(timestamp::write_timestamp(*micros, "+00")),
            (KeyOrder::Uuid, Self::Bytes(bytes)) => Ok(hex(bytes)),
            (KeyOrder::Bytea, Self::Bytes(bytes)) => Ok(format!("\\x{}", hex(bytes))),
            (KeyOrder::TextC, Self::Bytes(bytes)) => String::from_utf8(bytes.to_vec()).map_err(|_| bad),
            _ => Err(bad),
        }
    }
}

fn hex(digits: &str) -> Option<Vec<u8>> {
    let nibble = |byte: u8| (byte as char).to_digit(16);
    if !digits.len().is_multiple_of(2) {
        return None;
    }
    digits.as_bytes().chunks(2).map(|pair| Some((nibble(pair[0])? * 16 + nibble(pair[1])?) as u8)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sorted(order: KeyOrder, texts: &[&str]) -> bool {
        texts.iter().map(|text| KeyValue::parse(order, text).unwrap()).is_sorted_by(|a, b| a < b)
    }

    #[test]
    fn values_have_the_order_of_the_server() {
        assert!(sorted(KeyOrder::Int, &["-9223372036854775808", "-1", "0", "2", "10", "9223372036854775807"]));
        assert!(sorted(KeyOrder::Bool, &["f", "t"]));
        assert!(sorted(KeyOrder::Bytea, &["\\x", "\\x00", "\\x0001", "\\x01", "\\xff"]));
        assert!(sorted(KeyOrder::TextC, &["", "A", "B", "a", "a ", "aa", "é", "\u{10000}"]));
        assert!(sorted(
            KeyOrder::Uuid,
            &[
                "00000000-0000-0000-0000-000000000001",
                "10000000-0000-0000-0000-000000000000",
                "a0000000-0000-0000-0000-000000000000"
            ]
        ));
        assert!(sorted(
            KeyOrder::Date,
            &["-infinity", "0044-03-15 BC", "1999-12-31", "2000-01-01", "10000-01-01", "infinity"]
        ));
        assert!(sorted(KeyOrder::Timestamptz, &["2000-01-01 00:00:00+00", "2000-01-01 00:00:00.1+00"]));
    }

    #[test]
    fn a_value_reads_its_own_text() {
        for (order, text) in [
            (KeyOrder::Int, "-5"),
            (KeyOrder::Bool, "t"),
            (KeyOrder::Bytea, "\\x00ff"),
            (KeyOrder::Uuid, "a0000000-0000-0000-0000-000000000001"),
            (KeyOrder::Date, "0044-03-15 BC"),
            (KeyOrder::Timestamptz, "infinity"),
            (KeyOrder::TextC, "it's é"),
        ] {
            let value = KeyValue::parse(order, text).unwrap();
            assert_eq!(KeyValue::parse(order, &value.text(order).unwrap()).unwrap(), value);
        }
    }

    #[test]
    fn other_texts_are_errors() {
        for (order, text) in [
            (KeyOrder::Int, "1.0"),
            (KeyOrder::Bool, "yes"),
            (KeyOrder::Uuid, "00"),
            (KeyOrder::Bytea, "abc"),
            (KeyOrder::Bytea, "\\x0"),
            (KeyOrder::Date, "tomorrow"),
        ] {
            assert!(KeyValue::parse(order, text).is_err(), "{order:?} {text}");
        }
    }
}
