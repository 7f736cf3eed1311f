//! Statements about statistics objects.

use crate::catalog::{QualifiedName, StatisticsDef};
use crate::sql::{ident, name};

/// `CREATE STATISTICS`, every kind by its word: which ones a server takes by itself depends on its version.
pub fn create(statistics: &QualifiedName, table: &QualifiedName, def: &StatisticsDef) -> String {
    let kinds: Vec<&str> = def.kinds.iter().map(|kind| kind.word()).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    let expressions = def.expressions.iter().map(|expression| format!("({expression})"));
    let parts: Vec<String> = def.columns.iter().map(ident).chain(expressions).collect();
    format!("CREATE STATISTICS {}{kinds} ON {} FROM {}", name(statistics), parts.join(", "), name(table))
}

/// `ALTER STATISTICS … SET STATISTICS`.
pub fn set_target(statistics: &QualifiedName, target: u16) -> String {
    format!("ALTER STATISTICS {} SET STATISTICS {target}", name(statistics))
}
