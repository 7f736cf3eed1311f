//! How rows are found again: by a key that pcrd can order, by a key, or by their whole image.

use super::{CopyOrder, KeyColumn, KeyOrder, RowIdentity};
use crate::catalog::{ColumnType, Ident, QualifiedName};

/// A key column on both ends.
#[derive(Debug, Clone, Copy)]
pub struct KeyPart<'a> {
    /// Source column.
    pub source: &'a Ident,
    /// Its type.
    pub source_type: &'a ColumnType,
    /// The source compares its text by bytes ([`is_bytewise`]).
    pub source_bytewise: bool,
    /// Target column.
    pub target: &'a Ident,
    /// Its type.
    pub target_type: &'a ColumnType,
    /// The target compares its text by bytes.
    pub target_bytewise: bool,
    /// The cast keeps the order of values (`Cast::order_preserving`).
    pub order_preserving: bool,
    /// The cast keeps different values different (`Cast::injective`).
    pub injective: bool,
}

/// A key column whose values could become equal on the target.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the key column {column} changes from {from} to {to}, which can make two keys equal")]
pub struct KeyNotInjective {
    /// Source column.
    pub column: Ident,
    /// Old type.
    pub from: String,
    /// New type.
    pub to: String,
}

/// Chooses the identity of a table's rows; an empty slice is a table without a key.
///
/// # Errors
/// When two rows could get the same key on the target: rows would be lost.
pub fn row_identity(key: &[KeyPart<'_>]) -> Result<RowIdentity, KeyNotInjective> {
    if let Some(part) = key.iter().find(|part| !part.injective) {
        return Err(KeyNotInjective {
            column: part.source.clone(),
            from: part.source_type.sql.clone(),
            to: part.target_type.sql.clone(),
        });
    }
    if key.is_empty() {
        return Ok(RowIdentity::FullRow);
    }
    let target = key.iter().map(|part| part.target.clone()).collect();
    let ordered: Result<Vec<KeyColumn>, String> =
        key.iter().map(|part| ordered(part).map(|order| KeyColumn { name: part.source.clone(), order })).collect();
    Ok(match ordered {
        Ok(source) => RowIdentity::OrderedKey { source, target, copy: CopyOrder::ByKey },
        Err(reason) => {
            RowIdentity::Key { source: key.iter().map(|part| part.source.clone()).collect(), target, reason }
        }
    })
}

/// The order of a key column on both ends, or why there is none.
fn ordered(part: &KeyPart<'_>) -> Result<KeyOrder, String> {
    let order = key_order(part.source_type, part.source_bytewise).map_err(|why| format!("{} {why}", part.source))?;
    if !part.order_preserving {
        return Err(format!("{} is ordered otherwise as {}", part.source, part.target_type.sql));
    }
    if order == KeyOrder::TextC && !part.target_bytewise {
        return Err(format!("{} is not compared by bytes on the target", part.target));
    }
    Ok(order)
}

/// The order that Rust can reproduce for a type; the error completes "column …".
pub fn key_order(ty: &ColumnType, bytewise: bool) -> Result<KeyOrder, String> {
    let unknown = || Err(format!("is of type {}, whose order only the server knows", ty.sql));
    if !ty.is_builtin() {
        return unknown();
    }
    match ty.name.as_str() {
        "int2" | "int4" | "int8" | "oid" => Ok(KeyOrder::Int),
        "bool" => Ok(KeyOrder::Bool),
        "uuid" => Ok(KeyOrder::Uuid),
        "bytea" => Ok(KeyOrder::Bytea),
        "date" => Ok(KeyOrder::Date),
        "timestamp" => Ok(KeyOrder::Timestamp),
        "timestamptz" => Ok(KeyOrder::Timestamptz),
        "text" | "varchar" if bytewise => Ok(KeyOrder::TextC),
        "text" | "varchar" => Err("is text that is not compared by its bytes in UTF-8".to_owned()),
        _ => unknown(),
    }
}

/// True when text under this collation compares by bytes in UTF8. `default_is_c` says it of the database's own
/// collation: `datcollate` is not enough from PG 15 on, where the provider may be ICU.
pub fn is_bytewise(collation: Option<&QualifiedName>, default_is_c: bool) -> bool {
    match collation {
        None => default_is_c,
        Some(name) => {
            name.schema.as_str() == "pg_catalog"
                && ["C", "POSIX", "ucs_basic", "pg_c_utf8"].contains(&name.name.as_str())
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;
    use crate::casts::{Context, classify, typename};

    fn identity(key: &[(&str, &str, bool, bool)]) -> Result<RowIdentity, KeyNotInjective> {
        let types = BTreeMap::new();
        let context = Context { zone: "Europe/Berlin", types: &types, oldest_major: 15 };
        let name = Ident::new("k").unwrap();
        let parsed: Vec<(ColumnType, ColumnType)> = key
            .iter()
            .map(|(from, to, _, _)| (typename::parse(from, &types).unwrap(), typename::parse(to, &types).unwrap()))
            .collect();
        let parts: Vec<KeyPart<'_>> = parsed
            .iter()
            .zip(key)
            .map(|((from, to), &(_, _, source_bytewise, target_bytewise))| {
                let cast = classify(from, to, &context).unwrap();
                KeyPart {
                    source: &name,
                    source_type: from,
                    source_bytewise,
                    target: &name,
                    target_type: to,
                    target_bytewise,
                    order_preserving: cast.order_preserving,
                    injective: cast.injective,
                }
            })
            .collect();
        row_identity(&parts)
    }

    #[test]
    fn only_known_orders_are_chunked() {
        let ordered = |key: &[(&str, &str, bool, bool)]| matches!(identity(key), Ok(RowIdentity::OrderedKey { .. }));
        assert!(ordered(&[("integer", "bigint", false, false), ("uuid", "uuid", false, false)]));
        assert!(ordered(&[("text", "varchar(40)", true, true)]));
        assert!(!ordered(&[("text", "text", true, false)]));
        assert!(!ordered(&[("text", "text", false, true)]));
        assert!(!ordered(&[("integer", "text", true, true)]));
        assert!(!ordered(&[("numeric", "numeric", false, false)]));
        // Local times keep neither their order nor, strictly, their distance.
        assert!(!ordered(&[("timestamp", "timestamptz", false, false)]));
        assert_eq!(identity(&[]), Ok(RowIdentity::FullRow));
    }

    #[test]
    fn keys_that_could_merge_are_refused() {
        // B16: a lossy cast of the key merged rows in silence.
        for (from, to) in [("double precision", "real"), ("timestamptz", "timestamp"), ("numeric", "double precision")]
        {
            let error = identity(&[(from, to, false, false)]).unwrap_err();
            assert_eq!(error.to, typename::parse(to, &BTreeMap::new()).unwrap().sql);
        }
    }
}
