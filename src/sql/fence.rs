//! The write fence on the source, and the guard against TRUNCATE on PG 10.

use std::collections::BTreeSet;

use crate::catalog::{Ident, QualifiedName};
use crate::sql::publication::TRUNCATE_SINCE;
use crate::sql::{ident, literal, name, with_partitions};

/// Statement triggers take PROCEDURE before PG 11 and still do later; FUNCTION is the word since.
fn execute(source_major: u32) -> &'static str {
    if source_major >= 11 { "FUNCTION" } else { "PROCEDURE" }
}

/// Objects that the fence needs and that may stand long before it: schema, lease row, trigger function.
pub fn prepare() -> Vec<String> {
    vec![
        "CREATE SCHEMA IF NOT EXISTS \"pcrd\"".to_owned(),
        "CREATE TABLE IF NOT EXISTS \"pcrd\".\"fence\" (\"migration\" text PRIMARY KEY, \"until\" timestamptz NOT NULL, \
         \"epoch\" bigint NOT NULL DEFAULT 0)".to_owned(),
        FUNCTION.to_owned(),
    ]
}

/// SECURITY DEFINER, because the writers have no right to read and lock the lease row, and must pass once it expired.
/// While the lease runs writes are refused; once it has expired the row is read again under lock, so that a renewal
/// cannot slip between reading and writing. No lease row is no permission: a transaction with an older snapshot than
/// the fence does not see it.
const FUNCTION: &str = r#"CREATE OR REPLACE FUNCTION "pcrd"."fence"() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER SET search_path = pg_catalog, pg_temp AS $pcrd$
DECLARE
  lease timestamptz;
BEGIN
  SELECT "until" INTO lease FROM "pcrd"."fence" WHERE "migration" = TG_ARGV[0];
  IF lease IS NOT NULL AND pg_catalog.clock_timestamp() >= lease THEN
    SELECT "until" INTO lease FROM "pcrd"."fence" WHERE "migration" = TG_ARGV[0] FOR SHARE;
  END IF;
  IF lease IS NULL OR pg_catalog.clock_timestamp() < lease THEN
    RAISE EXCEPTION 'writes to % are stopped: the table is moving to another cluster', TG_TABLE_NAME
      USING ERRCODE = '25006', DETAIL = 'pcrd migration ' || TG_ARGV[0];
  END IF;
  RETURN NULL;
END
$pcrd$"#;

/// The lock, in one order for everybody; of those in `partitioned`, their partitions too.
pub fn lock(tables: &[QualifiedName], partitioned: &BTreeSet<&QualifiedName>) -> String {
    format!("LOCK TABLE {} IN SHARE ROW EXCLUSIVE MODE", listed(tables, partitioned))
}

/// Keeps the tables and their triggers as they are until the transaction ends; readers and writers pass. No partition can come to those in
/// `partitioned`, nor to those in `inner`, which are partitioned partitions.
pub fn hold(tables: &[QualifiedName], partitioned: &BTreeSet<&QualifiedName>, inner: &[QualifiedName]) -> String {
    let hold =
        format!("SET LOCAL lock_timeout = '1s'; LOCK TABLE {} IN ROW EXCLUSIVE MODE", listed(tables, partitioned));
    let parents: Vec<QualifiedName> = partitioned.iter().copied().chain(inner).cloned().collect();
    if parents.is_empty() {
        return hold;
    }
    format!("{hold}; LOCK TABLE {} IN SHARE UPDATE EXCLUSIVE MODE", listed(&parents, &BTreeSet::new()))
}

/// Tables as LOCK TABLE takes them.
pub fn listed(tables: &[QualifiedName], partitioned: &BTreeSet<&QualifiedName>) -> String {
    tables.iter().map(|table| with_partitions(table, partitioned.contains(table))).collect::<Vec<_>>().join(", ")
}

/// A fence table that an earlier version made has no epoch.
pub fn add_epoch() -> &'static str {
    "DO $$ BEGIN PERFORM pg_catalog.set_config('lock_timeout', '5s', true); \
     ALTER TABLE \"pcrd\".\"fence\" ADD COLUMN IF NOT EXISTS \"epoch\" bigint NOT NULL DEFAULT 0; END $$"
}

/// The lease row; `$migration`, `$until` and `$epoch` are known at the fence. No row is written over what is permanent, nor
/// over what a later executor has raised.
pub fn lease() -> String {
    "INSERT INTO \"pcrd\".\"fence\" (\"migration\", \"until\", \"epoch\") VALUES ($migration, $until, $epoch) \
     ON CONFLICT (\"migration\") DO UPDATE SET \"until\" = EXCLUDED.\"until\", \"epoch\" = EXCLUDED.\"epoch\" \
     WHERE \"fence\".\"until\" <> 'infinity' AND \"fence\".\"epoch\" <= EXCLUDED.\"epoch\""
        .to_owned()
}

/// One trigger per table, firing for every session but those that `passes` has logged in to: who only takes that role on
/// (SET ROLE) does not pass.
pub fn triggers(
    tables: &[QualifiedName],
    in_trees: &BTreeSet<&QualifiedName>,
    source_major: u32,
    passes: Option<&Ident>,
) -> Vec<String> {
    let when = passes.map_or_else(String::new, |role| format!(" WHEN (session_user <> {})", literal(role.as_str())));
    let each = |table: &QualifiedName| {
        let alone = alone(table, in_trees.contains(table));
        let table = name(table);
        [
            format!(
                "CREATE TRIGGER \"pcrd_fence\" BEFORE INSERT OR UPDATE OR DELETE OR TRUNCATE ON {table} \
                 FOR EACH STATEMENT{when} EXECUTE {} \"pcrd\".\"fence\"($migration)",
                execute(source_major)
            ),
            format!("ALTER TABLE {alone} ENABLE ALWAYS TRIGGER \"pcrd_fence\""),
        ]
    };
    tables.iter().flat_map(each).collect()
}

/// A table as ALTER TABLE takes it for its triggers. Of one with partitions ("in a tree") some servers alter those of the
/// partitions too, by the same name (13 before 13.8, 14 before 14.5), and fail where they have none: statement triggers are not
/// cloned.
fn alone(table: &QualifiedName, in_tree: bool) -> String {
    if in_tree { with_partitions(table, false) } else { name(table) }
}

/// The sentinel that proves the drain; the nonce is secret until then.
pub fn sentinel() -> String {
    "SELECT pg_catalog.pg_logical_emit_message(true, 'pcrd', $sentinel)".to_owned()
}

/// Removes the fence's triggers.
pub fn drop_triggers(tables: &[QualifiedName]) -> Vec<String> {
    tables.iter().map(|table| format!("DROP TRIGGER IF EXISTS \"pcrd_fence\" ON {}", name(table))).collect()
}

/// Another name in the same schema.
pub fn rename(from: &QualifiedName, to: &Ident) -> String {
    format!("ALTER TABLE {} RENAME TO {}", name(from), ident(to))
}

/// Makes the lease permanent; no row means that it had expired, or is another executor's, and the attempt is void.
pub fn make_permanent() -> String {
    "UPDATE \"pcrd\".\"fence\" SET \"until\" = 'infinity' WHERE \"migration\" = $migration AND \"epoch\" = $epoch \
     AND \"until\" > pg_catalog.clock_timestamp()"
        .to_owned()
}

/// The guard that refuses TRUNCATE where the stream would not show it.
pub fn guard_truncate(tables: &[QualifiedName], in_trees: &BTreeSet<&QualifiedName>, source_major: u32) -> Vec<String> {
    let why = if source_major >= TRUNCATE_SINCE {
        "the target would not hear of it"
    } else {
        "this server does not replicate it"
    };
    let mut statements = vec![
        "CREATE SCHEMA IF NOT EXISTS \"pcrd\"".to_owned(),
        format!(
            "CREATE OR REPLACE FUNCTION \"pcrd\".\"refuse_truncate\"() RETURNS trigger LANGUAGE plpgsql \
             SET search_path = pg_catalog, pg_temp AS $pcrd$ BEGIN \
             RAISE EXCEPTION 'TRUNCATE of % is refused while it is being migrated: {why}', TG_TABLE_NAME \
             USING ERRCODE = '25006'; END $pcrd$"
        ),
    ];
    for table in tables {
        let alone = alone(table, in_trees.contains(table));
        let table = name(table);
        statements.push(format!(
            "CREATE TRIGGER \"pcrd_no_truncate\" BEFORE TRUNCATE ON {table} FOR EACH STATEMENT EXECUTE PROCEDURE \"pcrd\".\"refuse_truncate\"()"
        ));
        statements.push(format!("ALTER TABLE {alone} ENABLE ALWAYS TRIGGER \"pcrd_no_truncate\""));
    }
    statements
}

/// The guard of one partition: its lock, the trigger, and that it fires for everybody. By the publication's name cleanup
/// finds the triggers again, whatever became of the partitions.
pub fn guard_partition(table: &QualifiedName, publication: &Ident) -> [String; 3] {
    let (alone, table) = (alone(table, true), name(table));
    [
        format!("LOCK TABLE {alone} IN SHARE ROW EXCLUSIVE MODE"),
        format!(
            "CREATE TRIGGER \"pcrd_no_truncate\" BEFORE TRUNCATE ON {table} FOR EACH STATEMENT \
             EXECUTE FUNCTION \"pcrd\".\"refuse_truncate\"({})",
            literal(publication.as_str())
        ),
        format!("ALTER TABLE {alone} ENABLE ALWAYS TRIGGER \"pcrd_no_truncate\""),
    ]
}

/// Removes the guard's triggers.
pub fn drop_guard(tables: &[QualifiedName]) -> Vec<String> {
    tables.iter().map(|table| format!("DROP TRIGGER IF EXISTS \"pcrd_no_truncate\" ON {}", name(table))).collect()
}

/// Removes what is left of pcrd on the source; not CASCADE, so that nothing of anybody else goes with it.
pub fn drop_schema() -> Vec<String> {
    vec![
        "DROP FUNCTION IF EXISTS \"pcrd\".\"fence\"()".to_owned(),
        "DROP FUNCTION IF EXISTS \"pcrd\".\"refuse_truncate\"()".to_owned(),
        "DROP TABLE IF EXISTS \"pcrd\".\"fence\"".to_owned(),
        "DROP SCHEMA IF EXISTS \"pcrd\"".to_owned(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(table: &str) -> QualifiedName {
        let ident = |text: &str| Ident::new(text).expect("a name");
        QualifiedName { schema: ident("s"), name: ident(table) }
    }

    /// PostgreSQL 13 before 13.8 and 14 before 14.5 would look for the trigger on each partition, and fail.
    #[test]
    fn triggers_of_tables_in_trees_are_altered_alone() {
        let (flat, root) = (table("flat"), table("root"));
        let tables = [flat, root.clone()];
        let in_trees = BTreeSet::from([&root]);
        let wanted = |trigger: &str| {
            [
                format!("ALTER TABLE \"s\".\"flat\" ENABLE ALWAYS TRIGGER \"{trigger}\""),
                format!("ALTER TABLE ONLY \"s\".\"root\" ENABLE ALWAYS TRIGGER \"{trigger}\""),
            ]
        };
        let altered = |statements: Vec<String>| {
            statements.into_iter().filter(|one| one.starts_with("ALTER TABLE")).collect::<Vec<_>>()
        };
        assert_eq!(altered(triggers(&tables, &in_trees, 13, None)), wanted("pcrd_fence"));
        assert_eq!(altered(guard_truncate(&tables, &in_trees, 13)), wanted("pcrd_no_truncate"));
        let publication = Ident::new("p").expect("a name");
        assert_eq!(
            altered(guard_partition(&root, &publication).to_vec()),
            [&wanted("pcrd_no_truncate")[1]].map(String::as_str)
        );
    }

    /// A plan holds the function's text, and is read by later versions.
    #[test]
    fn the_guard_says_the_same_on_servers_that_do_not_replicate_truncate() {
        let text = |major| guard_truncate(&[], &BTreeSet::new(), major).concat();
        assert!(text(10).contains("while it is being migrated: this server does not replicate it'"));
        assert!(text(13).contains("while it is being migrated: the target would not hear of it'"));
    }
}
