//! All rules, and how they are looked up.

use crate::findings::rules::{
    COLLATION_DIFFERS, CONSTRAINT_NOT_CARRIED, CONSTRAINT_NOT_VALID, CUTOVER_WRITE_BLOCK, DEFAULT_FROZEN, DELETES_DATA,
    DOMAIN_DIFFERS, ENCODING_DIFFERS, ENUM_VALUE_MISSING, EXTENSION_VERSION, FILTERED_PARENT, FK_OUT_OF_SCOPE,
    FK_TYPE_DIFFERS, FOREIGN_TABLE, GENERATED_RECOMPUTED, IDENTITY_ALWAYS, INDEX_BUILD, INHERITED, INVALID_TEXT,
    IRREVERSIBLE, KEY_COLLAPSES, KEY_DROPPED, KEY_NOT_USABLE, KEY_NULLABLE, KEY_TYPE_CHANGED, LARGE_OBJECTS,
    LOCALE_DEPENDENT_CAST, LONG_SNAPSHOT, LOSSY_CAST, NARROWING_CAST, NO_KEY, NOT_A_TABLE, OWNER_NOT_CARRIED,
    PADDING_STRIPPED, PARTITION_LEAF, PARTITIONED, PARTITIONS_FOLLOWED, PARTITIONS_KEPT, PUBLICATION,
    REPLICA_IDENTITY_CHANGE, ROLE_MISSING, ROW_FILTER, SCHEMA_UNVERIFIED, SEQUENCE_NEW, SEQUENCE_NOT_OWNED,
    SEQUENCE_SHARED, SPLIT_GAP, SUBSCRIPTION, TABLES_MERGED, TARGET_EXISTS, TARGET_GRANTS, TARGET_TOO_OLD, TEMPORARY,
    TOAST_UNCHANGED, TRUNCATE_REFUSED, TYPE_DIFFERS, TYPE_MISSING, TZ_DEPENDENT_CAST, UNLOGGED, UNSUPPORTED_CAST,
    UNTRACKABLE_DEPENDENCY, VERSION_DEPENDENT_CAST, VOLATILE_EXPR, WAL_RETENTION, WRITES_NOT_STOPPED,
};
use crate::findings::{PREFLIGHT, Rule};

/// Every rule, from data to keys, source, cutover, target and what cannot be migrated.
pub static ALL: &[&Rule] = &[
    &DELETES_DATA,
    &ROW_FILTER,
    &SPLIT_GAP,
    &TABLES_MERGED,
    &NARROWING_CAST,
    &LOSSY_CAST,
    &TZ_DEPENDENT_CAST,
    &LOCALE_DEPENDENT_CAST,
    &PADDING_STRIPPED,
    &VERSION_DEPENDENT_CAST,
    &UNSUPPORTED_CAST,
    &VOLATILE_EXPR,
    &DEFAULT_FROZEN,
    &NO_KEY,
    &KEY_NULLABLE,
    &KEY_DROPPED,
    &KEY_NOT_USABLE,
    &KEY_TYPE_CHANGED,
    &KEY_COLLAPSES,
    &REPLICA_IDENTITY_CHANGE,
    &PUBLICATION,
    &TRUNCATE_REFUSED,
    &PARTITIONS_FOLLOWED,
    &PARTITIONS_KEPT,
    &WAL_RETENTION,
    &LONG_SNAPSHOT,
    &CUTOVER_WRITE_BLOCK,
    &WRITES_NOT_STOPPED,
    &IRREVERSIBLE,
    &INDEX_BUILD,
    &GENERATED_RECOMPUTED,
    &IDENTITY_ALWAYS,
    &SCHEMA_UNVERIFIED,
    &SEQUENCE_NEW,
    &SEQUENCE_NOT_OWNED,
    &SEQUENCE_SHARED,
    &LARGE_OBJECTS,
    &ROLE_MISSING,
    &OWNER_NOT_CARRIED,
    &UNTRACKABLE_DEPENDENCY,
    &CONSTRAINT_NOT_CARRIED,
    &CONSTRAINT_NOT_VALID,
    &FK_OUT_OF_SCOPE,
    &FK_TYPE_DIFFERS,
    &FILTERED_PARENT,
    &TARGET_EXISTS,
    &TARGET_GRANTS,
    &TYPE_MISSING,
    &TYPE_DIFFERS,
    &ENUM_VALUE_MISSING,
    &DOMAIN_DIFFERS,
    &EXTENSION_VERSION,
    &COLLATION_DIFFERS,
    &ENCODING_DIFFERS,
    &INVALID_TEXT,
    &TARGET_TOO_OLD,
    &TOAST_UNCHANGED,
    &UNLOGGED,
    &TEMPORARY,
    &FOREIGN_TABLE,
    &NOT_A_TABLE,
    &INHERITED,
    &PARTITIONED,
    &PARTITION_LEAF,
    &SUBSCRIPTION,
];

/// Findings, then the checks before `apply`.
pub fn every() -> impl Iterator<Item = &'static Rule> {
    ALL.iter().chain(PREFLIGHT).copied()
}

/// The rule with this code, in any case.
pub fn by_code(code: &str) -> Option<&'static Rule> {
    every().find(|rule| rule.code.eq_ignore_ascii_case(code))
}

/// The code that is most like this text, when one is.
pub fn nearest(text: &str) -> Option<&'static str> {
    let wanted = text.to_ascii_uppercase();
    let ratio = |rule: &Rule| {
        let code = rule.code.to_ascii_uppercase();
        similar::TextDiff::from_chars(wanted.as_str(), code.as_str()).ratio()
    };
    let best = every().map(|rule| (ratio(rule), rule.code)).filter(|(ratio, _)| *ratio >= 0.6);
    best.max_by(|left, right| left.0.total_cmp(&right.0)).map(|(_, code)| code)
}
