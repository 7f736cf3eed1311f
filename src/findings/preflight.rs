//! The checks before `apply`, which need the servers: their ids, as `plan` and `apply` print them in brackets.

use crate::findings::{Rule, Severity};

/// Every check; `type_missing` and `role_missing` are the findings TYPE_MISSING and ROLE_MISSING.
pub static PREFLIGHT: &[&Rule] = &[
    &SOURCE_IS_PRIMARY,
    &WAL_LEVEL,
    &SLOT_HEADROOM,
    &LOCK_HEADROOM,
    &WAL_SENDER_HEADROOM,
    &REPLICATION_RIGHT,
    &CREATE_ON_DATABASE,
    &CREATE_ON_SCHEMA,
    &OWNER_MEMBERSHIP,
    &OWNER_CREATE,
    &SCHEMA_GRANT,
    &SCHEMA_USAGE,
    &SELECT_RIGHT,
    &TABLE_OWNER,
    &OTHER_NAME,
    &ROW_SECURITY,
    &REPLICATION_ROLE,
    &RESERVED_SCHEMA,
    &LEFTOVER_SLOT,
    &LEFTOVER_PUBLICATION,
    &SUBSCRIBED_TABLE,
    &TARGET_IS_PRIMARY,
    &SOURCE_IS_TARGET,
    &ENCODING,
    &FILTER,
    &ORDER_DIFFERS,
    &TEMPORARY_RIGHT,
    &MONITOR_RIGHT,
    &COLLATION_VERSION,
    &SUPERUSER,
    &SUPERFLUOUS_RIGHT,
];

static SOURCE_IS_PRIMARY: Rule = Rule {
    code: "source_is_primary",
    severity: Severity::Refused,
    title: "the source is a standby",
    lock: None,
    effect: "`apply` refuses.",
    why: "Publication, slot and fence are written on the source, and a standby takes no writes.",
    instead: "Connect to the primary.",
};

static WAL_LEVEL: Rule = Rule {
    code: "wal_level",
    severity: Severity::Refused,
    title: "the source's log is not detailed enough",
    lock: None,
    effect: "`apply` refuses.",
    why: "Changes can be decoded from the log only with wal_level = logical.",
    instead: "ALTER SYSTEM SET wal_level = 'logical', and restart the server: plan the restart ahead.",
};

static SLOT_HEADROOM: Rule = Rule {
    code: "slot_headroom",
    severity: Severity::Refused,
    title: "every replication slot is taken",
    lock: None,
    effect: "`apply` refuses.",
    why: "The stream needs a slot of its own.",
    instead: "Drop a slot that nobody needs, or raise max_replication_slots and restart.",
};

static LOCK_HEADROOM: Rule = Rule {
    code: "lock_headroom",
    severity: Severity::Refused,
    title: "the server has no room for the locks of so many partitions",
    lock: None,
    effect: "`apply` refuses.",
    why: "Whoever reads a partitioned table locks each partition and each of its indexes, and a server without room for a lock \
          fails whoever asks for the next one, the application too.",
    instead: "Raise max_locks_per_transaction and restart, or ask for fewer workers.",
};

static WAL_SENDER_HEADROOM: Rule = Rule {
    code: "wal_sender_headroom",
    severity: Severity::Refused,
    title: "every WAL sender is busy",
    lock: None,
    effect: "`apply` refuses.",
    why: "The stream needs a sender for as long as it runs.",
    instead: "Raise max_wal_senders and restart.",
};

static REPLICATION_RIGHT: Rule = Rule {
    code: "replication_right",
    severity: Severity::Refused,
    title: "the role may not replicate",
    lock: None,
    effect: "`apply` refuses.",
    why: "Slots and the stream need the attribute REPLICATION.",
    instead: "Run the statement that the check shows.",
};

static CREATE_ON_DATABASE: Rule = Rule {
    code: "create_on_database",
    severity: Severity::Refused,
    title: "the role may not create in the database",
    lock: None,
    effect: "`apply` refuses.",
    why: "The publication on the source, and the schemas on the target, belong to the database.",
    instead: "Run the statement that the check shows.",
};

static CREATE_ON_SCHEMA: Rule = Rule {
    code: "create_on_schema",
    severity: Severity::Refused,
    title: "the role may not create tables in a schema of the target",
    lock: None,
    effect: "`apply` refuses.",
    why: "The target's tables are created there.",
    instead: "Run the statement that the check shows.",
};

static SCHEMA_USAGE: Rule = Rule {
    code: "schema_usage",
    severity: Severity::Refused,
    title: "the role may not look into a schema of the source",
    lock: None,
    effect: "`apply` refuses.",
    why: "Its tables cannot be named.",
    instead: "Run the statement that the check shows.",
};

static SELECT_RIGHT: Rule = Rule {
    code: "select_right",
    severity: Severity::Refused,
    title: "the role may not read a table of the source",
    lock: None,
    effect: "`apply` refuses.",
    why: "The copy reads every row.",
    instead: "Run the statement that the check shows.",
};

static TABLE_OWNER: Rule = Rule {
    code: "table_owner",
    severity: Severity::Refused,
    title: "the role does not own a table of the source",
    lock: None,
    effect: "`apply` refuses.",
    why: "Only the owner may publish a table and put the fence on it.",
    instead: "Run the statement that the check shows, for the time of the migration.",
};

static OTHER_NAME: Rule = Rule {
    code: "other_name",
    severity: Severity::Refused,
    title: "a table of the source cannot get the name that it is to have after the switch",
    lock: None,
    effect: "`apply` refuses.",
    why: "`cutover.fence: rename` renames the source's tables once the target is open, when a failure could not be mended in time.",
    instead: "Grant what the check shows, or rename what has the name; or use `cutover.fence: trigger`.",
};

static ROW_SECURITY: Rule = Rule {
    code: "row_security",
    severity: Severity::Refused,
    title: "row-level security hides rows from the role",
    lock: None,
    effect: "`apply` refuses.",
    why: "Hidden rows would be missing, and nothing would be compared with them: on the target when they are hidden on the source, on the \
          way back when they are hidden from the role that writes there, and after the switch where the target hides them from its owner.",
    instead: "Give the role BYPASSRLS for the time of the migration.",
};

static REPLICATION_ROLE: Rule = Rule {
    code: "replication_role",
    severity: Severity::Refused,
    title: "the role may not silence triggers on the target",
    lock: None,
    effect: "`apply` refuses.",
    why: "Foreign keys and triggers of the target would fire for every row that the stream writes.",
    instead: "From PG 15 on, run the statement that the check shows; before, use a superuser on the target.",
};

static RESERVED_SCHEMA: Rule = Rule {
    code: "reserved_schema",
    severity: Severity::Refused,
    title: "the schema pcrd is somebody else's",
    lock: None,
    effect: "`apply` refuses.",
    why: "pcrd keeps its fence and its ledger in a schema of that name, and removes it at the end.",
    instead: "Rename the schema.",
};

static LEFTOVER_SLOT: Rule = Rule {
    code: "leftover_slot",
    severity: Severity::Refused,
    title: "a slot of the plan's name exists",
    lock: None,
    effect: "`apply` refuses.",
    why: "It may be another tool's, and keeps log from another position.",
    instead: "Drop it if nobody reads it, or set `migrate.replication_slot`.",
};

static LEFTOVER_PUBLICATION: Rule = Rule {
    code: "leftover_publication",
    severity: Severity::Refused,
    title: "a publication of the plan's name exists",
    lock: None,
    effect: "`apply` refuses.",
    why: "It may be another tool's, and publish other tables.",
    instead: "Drop it if nobody uses it, or set `migrate.publication`.",
};

static SUBSCRIBED_TABLE: Rule = Rule {
    code: "subscribed_table",
    severity: Severity::Refused,
    title: "a subscription writes a table of the source",
    lock: None,
    effect: "`apply` refuses.",
    why: "The subscription's worker passes the write fence.",
    instead: "Drop the subscription, or migrate from the server that it reads.",
};

static TARGET_IS_PRIMARY: Rule = Rule {
    code: "target_is_primary",
    severity: Severity::Refused,
    title: "the target is a standby",
    lock: None,
    effect: "`apply` refuses.",
    why: "A standby takes no writes.",
    instead: "Connect to the primary.",
};

static SOURCE_IS_TARGET: Rule = Rule {
    code: "source_is_target",
    severity: Severity::Refused,
    title: "source and target are the same database",
    lock: None,
    effect: "`apply` refuses.",
    why: "The tables would meet themselves.",
    instead: "Give the target a database of its own.",
};

static ENCODING: Rule = Rule {
    code: "encoding",
    severity: Severity::Refused,
    title: "the target's encoding cannot hold every text",
    lock: None,
    effect: "`apply` refuses.",
    why: "A character that the target lacks stops the copy.",
    instead: "Create the target's database with the source's encoding or with UTF8.",
};

static FILTER: Rule = Rule {
    code: "filter",
    severity: Severity::Refused,
    title: "the target does not take the filter of a table",
    lock: None,
    effect: "`apply` refuses.",
    why: "The filter is asked of a row on both ends and at any time, and must say the same: the target tries it as the \
          condition of an index, which must be immutable and about one row, and rolls that back.",
    instead: "Write `where:` without functions and casts that depend on settings or the time, with types and functions that \
              the target has too; a moment as a literal.",
};

static ORDER_DIFFERS: Rule = Rule {
    code: "order_differs",
    severity: Severity::Refused,
    title: "the two ends order the values of an expression differently",
    lock: None,
    effect: "`apply` refuses.",
    why: "The copy evaluates `where:` and `using:` on the source, the stream on the target. Where they compare text by its \
          order or change its case, the collations must have provider, locale, encoding and (where the server knows it) \
          version in common; where they compare an enum, the labels must be in the same order. A row that one end keeps \
          could be left out by the other. Equality under a deterministic collation is the same everywhere.",
    instead: "Name the collation in the expression, such as `code COLLATE \"C\" < 'n'`; create the enum's labels in the \
              source's order.",
};

static TEMPORARY_RIGHT: Rule = Rule {
    code: "temporary_right",
    severity: Severity::Refused,
    title: "the role cannot try an expression on the target",
    lock: None,
    effect: "`apply` refuses.",
    why: "The target tries `where:` and `using:` on an empty temporary table, which is never kept.",
    instead: "Run the GRANT that the check shows.",
};

static MONITOR_RIGHT: Rule = Rule {
    code: "monitor_right",
    severity: Severity::Warning,
    title: "the role may not see standbys or sessions",
    lock: None,
    effect: "It is told, and the copy goes on without heeding them. Where the config sets a limit for one of them, `apply` \
             refuses.",
    why: "The lag of standbys and the sessions of others are shown to members of pg_monitor only.",
    instead: "Run the GRANT that the check shows, or set the limit to 0.",
};

static COLLATION_VERSION: Rule = Rule {
    code: "collation_version",
    severity: Severity::Warning,
    title: "a collation changed under its indexes",
    lock: None,
    effect: "It is told, and `apply` goes on.",
    why: "After an update of the C library or ICU an index may be in the wrong order: it does not find every row, and \
          lets duplicates in.",
    instead: "REINDEX the text indexes on the source, then ALTER COLLATION … REFRESH VERSION.",
};

static SUPERUSER: Rule = Rule {
    code: "superuser",
    severity: Severity::Warning,
    title: "the role is a superuser",
    lock: None,
    effect: "It is told, and `apply` goes on.",
    why: "A mistake of a superuser has no bounds.",
    instead: "Use a role of its own; docs/rights.md has the statements.",
};

static SUPERFLUOUS_RIGHT: Rule = Rule {
    code: "superfluous_right",
    severity: Severity::Warning,
    title: "the role may do more than the work needs",
    lock: None,
    effect: "It is told, and `apply` goes on.",
    why: "What is not allowed cannot go wrong.",
    instead: "Run the script that the check shows.",
};

static OWNER_MEMBERSHIP: Rule = Rule {
    code: "owner_membership",
    severity: Severity::Refused,
    title: "the role may not give tables to their owner",
    lock: None,
    effect: "`apply` refuses.",
    why: "Only a member gives an object to a role, and the rows must still be written when the tables belong to it.",
    instead: "Run the GRANT that the check shows, or leave the owners out with `migrate.carry: [grants]`.",
};

static OWNER_CREATE: Rule = Rule {
    code: "owner_create",
    severity: Severity::Refused,
    title: "an owner may not create in the schema of its tables, and the role may not let it",
    lock: None,
    effect: "`apply` refuses.",
    why: "Unless a superuser gives it, an object is given only to a role that could have made it.",
    instead: "Run the GRANT that the check shows, and take it back after the switch; or plan again, and the owner is listed as not carried.",
};

static SCHEMA_GRANT: Rule = Rule {
    code: "schema_grant",
    severity: Severity::Refused,
    title: "the role may not grant rights on a schema of the target",
    lock: None,
    effect: "`apply` refuses.",
    why: "The schema is somebody else's, and without the right the application finds no table in it.",
    instead: "Let the schema's owner run the GRANT that the check shows.",
};
