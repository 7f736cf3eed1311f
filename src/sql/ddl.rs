//! DDL of the target's tables, sequences, constraints and comments. Names are always quoted and schema-qualified.

use std::collections::BTreeMap;

use crate::catalog::{
    Column, ColumnRef, Compression, Ident, Key, Partition, PartitionBy, Partitioning, QualifiedName, ReplicaIdentity,
    Sequence, Storage,
};
use crate::sql::{ident, literal, name};

/// `CREATE SCHEMA`; one that exists is somebody else's.
pub fn create_new_schema(schema: &Ident) -> String {
    format!("CREATE SCHEMA {}", ident(schema))
}

/// `CREATE SCHEMA`; one that exists is as good.
pub fn create_schema(schema: &Ident) -> String {
    format!("CREATE SCHEMA IF NOT EXISTS {}", ident(schema))
}

/// `CREATE TABLE` with its key, followed by what only ALTER TABLE can say on every supported version, and by its partitions:
/// they are created with what the table has by then.
pub fn create_table(
    table: &QualifiedName,
    columns: &[Column],
    key: Option<&Key>,
    identities: &BTreeMap<Ident, Sequence>,
    reloptions: &[String],
    partitioning: Option<&Partitioning>,
) -> Vec<String> {
    let mut lines: Vec<String> = columns.iter().map(|column| column_line(column, identities)).collect();
    lines.extend(key.map(|key| format!("CONSTRAINT {} {}", ident(&key.name), primary_key(key))));
    let body = if lines.is_empty() { String::new() } else { format!("\n  {}\n", lines.join(",\n  ")) };
    let by = partition_by(partitioning.map(|whole| &whole.by));
    let mut statements = vec![format!("CREATE TABLE {} ({body}){by}{}", name(table), with_options(reloptions))];
    statements.extend(columns.iter().flat_map(|column| column_settings(table, column)));
    statements.extend(partitioning.iter().flat_map(|whole| &whole.partitions).map(create_partition));
    statements
}

/// `CREATE TABLE … PARTITION OF …`.
pub fn create_partition(partition: &Partition) -> String {
    format!(
        "CREATE TABLE {} PARTITION OF {} {}{}{}",
        name(&partition.name),
        name(&partition.of),
        partition.bound,
        partition_by(partition.by.as_ref()),
        with_options(&partition.reloptions)
    )
}

/// What creates a partition beside those who write to the table: an empty table that is then attached, for which its parent
/// is locked against nobody who reads or writes.
pub fn attach_partition(partition: &Partition) -> [String; 2] {
    let (own, of) = (name(&partition.name), name(&partition.of));
    let by = partition_by(partition.by.as_ref());
    let like = "INCLUDING ALL EXCLUDING COMMENTS EXCLUDING INDEXES EXCLUDING IDENTITY EXCLUDING STATISTICS";
    [
        format!("CREATE TABLE {own} (LIKE {of} {like}){by}{}", with_options(&partition.reloptions)),
        format!("ALTER TABLE {of} ATTACH PARTITION {own} {}", partition.bound),
    ]
}

/// ` PARTITION BY …`, or nothing.
fn partition_by(by: Option<&PartitionBy>) -> String {
    by.map_or_else(String::new, |by| format!(" PARTITION BY {} ({})", by.method.word(), list(&by.columns)))
}

/// What of a column does not stand in CREATE TABLE: `ALTER TABLE … SET STORAGE`, `SET STATISTICS` and `SET (n_distinct=…)`.
pub fn column_settings(table: &QualifiedName, column: &Column) -> Vec<String> {
    let altered = format!("ALTER TABLE ONLY {} ALTER COLUMN {} SET", name(table), ident(&column.name));
    let storage = column.storage.map(|storage| format!("{altered} STORAGE {}", storage_word(storage)));
    let statistics = column.statistics_target.map(|target| format!("{altered} STATISTICS {target}"));
    let options = (!column.options.is_empty()).then(|| format!("{altered}{}", options_list(&column.options)));
    [storage, statistics, options].into_iter().flatten().collect()
}

/// A column as it stands in CREATE TABLE.
pub fn column_line(column: &Column, identities: &BTreeMap<Ident, Sequence>) -> String {
    let mut line = format!("{} {}", ident(&column.name), column.ty.sql);
    if let Some(compression) = column.compression {
        line.push_str(match compression {
            Compression::Pglz => " COMPRESSION pglz",
            Compression::Lz4 => " COMPRESSION lz4",
        });
    }
    if let Some(collation) = &column.collation {
        line.push_str(&format!(" COLLATE {}", name(collation)));
    }
    if column.not_null {
        line.push_str(" NOT NULL");
    }
    if let Some(default) = &column.default {
        line.push_str(&format!(" DEFAULT {default}"));
    }
    if let Some(generated) = &column.generated {
        let kind = if generated.stored { "STORED" } else { "VIRTUAL" };
        line.push_str(&format!(" GENERATED ALWAYS AS ({}) {kind}", generated.expr));
    }
    if let Some(identity) = &column.identity {
        let when = if identity.always { "ALWAYS" } else { "BY DEFAULT" };
        let options = identities.get(&column.name).map(sequence_options);
        let options = options.map_or_else(String::new, |options| format!(" {options}"));
        line.push_str(&format!(" GENERATED {when} AS IDENTITY (SEQUENCE NAME {}{options})", name(&identity.sequence)));
    }
    line
}

/// `PRIMARY KEY (…)`.
pub fn primary_key(key: &Key) -> String {
    let include = if key.include.is_empty() { String::new() } else { format!(" INCLUDE ({})", list(&key.include)) };
    format!("PRIMARY KEY ({}){include}", list(&key.columns))
}

/// PostgreSQL's word.
pub(crate) fn storage_word(storage: Storage) -> &'static str {
    match storage {
        Storage::Plain => "PLAIN",
        Storage::External => "EXTERNAL",
        Storage::Main => "MAIN",
        Storage::Extended => "EXTENDED",
    }
}

/// Names in a list.
pub fn list(names: &[Ident]) -> String {
    names.iter().map(ident).collect::<Vec<_>>().join(", ")
}

/// ` WITH (name='value', …)`, or nothing.
pub fn with_options(reloptions: &[String]) -> String {
    let list = options_list(reloptions);
    if list.is_empty() { list } else { format!(" WITH{list}") }
}

/// ` (name='value', …)`, or nothing.
pub fn options_list(reloptions: &[String]) -> String {
    if reloptions.is_empty() {
        return String::new();
    }
    let options = reloptions.iter().map(|option| match option.split_once('=') {
        Some((key, value)) => format!("{}={}", option_name(key), literal(value)),
        None => option_name(option),
    });
    format!(" ({})", options.collect::<Vec<_>>().join(", "))
}

/// `toast.autovacuum_enabled` has a namespace that must stay outside the quotes.
fn option_name(key: &str) -> String {
    key.split('.').map(|part| format!("\"{}\"", part.replace('"', "\"\""))).collect::<Vec<_>>().join(".")
}

/// `CREATE SEQUENCE` with every option and its owner.
pub fn create_sequence(sequence_name: &QualifiedName, sequence: &Sequence) -> String {
    let owner = sequence.owned_by.as_ref().map_or_else(String::new, |owner| format!(" OWNED BY {}", column(owner)));
    format!("CREATE SEQUENCE {} AS {} {}{owner}", name(sequence_name), sequence.ty, sequence_options(sequence))
}

fn sequence_options(sequence: &Sequence) -> String {
    format!(
        "START WITH {} INCREMENT BY {} MINVALUE {} MAXVALUE {} CACHE {} {}",
        sequence.start,
        sequence.increment,
        sequence.min,
        sequence.max,
        sequence.cache,
        if sequence.cycle { "CYCLE" } else { "NO CYCLE" }
    )
}

/// `"schema"."table"."column"`.
pub fn column(column: &ColumnRef) -> String {
    format!("{}.{}", name(&column.table), ident(&column.column))
}

/// `ALTER TABLE … ADD CONSTRAINT`.
pub fn add_constraint(table: &QualifiedName, constraint: &Ident, definition: &str, not_valid: bool) -> String {
    let not_valid = if not_valid { " NOT VALID" } else { "" };
    format!("ALTER TABLE {} ADD CONSTRAINT {} {definition}{not_valid}", name(table), ident(constraint))
}

/// `ALTER TABLE … DROP CONSTRAINT`.
pub fn drop_constraint(table: &QualifiedName, constraint: &Ident) -> String {
    format!("ALTER TABLE {} DROP CONSTRAINT {}", name(table), ident(constraint))
}

/// `ALTER TABLE … VALIDATE CONSTRAINT`.
pub fn validate_constraint(table: &QualifiedName, constraint: &Ident) -> String {
    format!("ALTER TABLE {} VALIDATE CONSTRAINT {}", name(table), ident(constraint))
}

/// `ALTER TABLE … ALTER COLUMN … SET DEFAULT`.
pub fn set_default(at: &ColumnRef, default: &str) -> String {
    format!("ALTER TABLE {} ALTER COLUMN {} SET DEFAULT {default}", name(&at.table), ident(&at.column))
}

/// `ALTER TABLE … ALTER COLUMN … DROP DEFAULT`.
pub fn drop_default(at: &ColumnRef) -> String {
    format!("ALTER TABLE {} ALTER COLUMN {} DROP DEFAULT", name(&at.table), ident(&at.column))
}

/// `DROP … name`.
pub fn drop(kind: &str, object: &QualifiedName) -> String {
    format!("DROP {kind} {}", name(object))
}

/// `COMMENT ON object IS 'text'`; the object is already SQL.
pub fn comment(object: &str, text: &str) -> String {
    format!("COMMENT ON {object} IS {}", literal(text))
}

/// `COMMENT ON object IS NULL`; the object is already SQL.
pub fn uncomment(object: &str) -> String {
    format!("COMMENT ON {object} IS NULL")
}

/// `ALTER TABLE … CLUSTER ON`.
pub fn cluster_on(table: &QualifiedName, index: &Ident) -> String {
    format!("ALTER TABLE {} CLUSTER ON {}", name(table), ident(index))
}

/// `ALTER TABLE … REPLICA IDENTITY`.
pub fn replica_identity(table: &QualifiedName, identity: &ReplicaIdentity) -> String {
    format!("ALTER TABLE {} REPLICA IDENTITY {}", name(table), identity_words(identity))
}

/// What stands behind REPLICA IDENTITY.
pub fn identity_words(identity: &ReplicaIdentity) -> String {
    match identity {
        ReplicaIdentity::Default => "DEFAULT".to_owned(),
        ReplicaIdentity::Full => "FULL".to_owned(),
        ReplicaIdentity::Nothing => "NOTHING".to_owned(),
        ReplicaIdentity::Index(index) => format!("USING INDEX {}", ident(index)),
    }
}

/// `ANALYZE`.
pub fn analyze(table: &QualifiedName) -> String {
    format!("ANALYZE {}", name(table))
}

/// `VACUUM (FREEZE, ANALYZE)`. How many workers look after the indexes is left to the server, which knows their sizes.
pub fn vacuum(table: &QualifiedName) -> String {
    format!("VACUUM (FREEZE, ANALYZE) {}", name(table))
}

/// `setval` with placeholders for what is read at the fence.
pub fn set_sequence(sequence: &QualifiedName) -> String {
    format!("SELECT pg_catalog.setval({}::pg_catalog.regclass, $value, $is_called)", literal(&name(sequence)))
}

/// Evaluates defaults once.
pub fn freeze(columns: &[(&Ident, &str, &str)]) -> String {
    let values = columns.iter().map(|(column, ty, default)| format!("CAST(({default}) AS {ty}) AS {}", ident(column)));
    format!("SELECT {}", values.collect::<Vec<_>>().join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn options_with_a_namespace() {
        let options = ["fillfactor=70".to_owned(), "toast.autovacuum_enabled=false".to_owned()];
        assert_eq!(with_options(&options), " WITH (\"fillfactor\"='70', \"toast\".\"autovacuum_enabled\"='false')");
    }

    #[test]
    fn hostile_names_stay_names() {
        let table = QualifiedName::new("a\"b", ";--\n").unwrap();
        let constraint = Ident::new("c\"; DROP TABLE x; --").unwrap();
        assert_eq!(
            add_constraint(&table, &constraint, "CHECK (true)", true),
            "ALTER TABLE \"a\"\"b\".\";--\n\" ADD CONSTRAINT \"c\"\"; DROP TABLE x; --\" CHECK (true) NOT VALID"
        );
    }
}
