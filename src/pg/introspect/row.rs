//! One struct per query of `pg/queries`, in the order of its columns.

use serde::Deserialize;

/// Schema and name.
#[derive(Deserialize, Clone)]
pub(super) struct Pair(pub(super) String, pub(super) String);

#[derive(Deserialize)]
pub(super) struct ServerRow {
    pub(super) system_identifier: String,
    pub(super) database: String,
    pub(super) database_oid: u32,
    pub(super) version_num: u32,
    pub(super) encoding: String,
    pub(super) collate: String,
    pub(super) ctype: String,
}

#[derive(Deserialize)]
pub(super) struct OidRow {
    pub(super) oid: u32,
}

#[derive(Deserialize)]
pub(super) struct SchemaRow {
    pub(super) name: String,
    pub(super) owner: String,
    pub(super) grants: Vec<String>,
    pub(super) kept_from: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct RoleRow {
    pub(super) name: String,
    pub(super) login: bool,
    pub(super) current: bool,
    pub(super) out_of_reach: bool,
}

#[derive(Deserialize)]
pub(super) struct DefaultGrantsRow {
    pub(super) role: String,
    pub(super) schema: Option<String>,
    pub(super) kind: char,
    pub(super) grants: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct ExtensionRow {
    pub(super) name: String,
    pub(super) version: String,
    pub(super) schema: String,
    pub(super) members: Vec<Pair>,
}

#[derive(Deserialize)]
pub(super) struct TypeRow {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) labels: Vec<String>,
    pub(super) base: Option<String>,
    pub(super) not_null: bool,
    pub(super) checks: Vec<Pair>,
    pub(super) default: Option<String>,
    pub(super) collation: Option<Pair>,
    pub(super) attributes: Vec<AttributeRow>,
    pub(super) range: Option<RangeRow>,
}

#[derive(Deserialize)]
pub(super) struct AttributeRow {
    pub(super) name: String,
    pub(super) ty: String,
    pub(super) collation: Option<Pair>,
}

#[derive(Deserialize)]
pub(super) struct RangeRow {
    pub(super) subtype: String,
    pub(super) opclass: Option<Pair>,
    pub(super) collation: Option<Pair>,
    pub(super) canonical: Option<Pair>,
    pub(super) subtype_diff: Option<Pair>,
    #[serde(default)]
    pub(super) multirange: Option<Pair>,
}

#[derive(Deserialize)]
pub(super) struct TableRow {
    pub(super) oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) persistence: String,
    pub(super) replica_identity: String,
    pub(super) replica_identity_index: Option<String>,
    pub(super) row_security: bool,
    pub(super) row_security_forced: bool,
    pub(super) reloptions: Vec<String>,
    pub(super) owner: String,
    pub(super) grants: Vec<String>,
    pub(super) comment: Option<String>,
    pub(super) parents: Vec<Pair>,
    pub(super) children: Vec<Pair>,
    pub(super) partition_key: Option<String>,
    pub(super) partition_bound: Option<String>,
    pub(super) subscribed: bool,
    pub(super) table_bytes: Option<u64>,
    pub(super) index_bytes: Option<u64>,
    pub(super) rows_estimate: Option<u64>,
}

#[derive(Deserialize)]
pub(super) struct ColumnRow {
    pub(super) table_oid: u32,
    pub(super) name: String,
    pub(super) type_schema: String,
    pub(super) type_name: String,
    pub(super) typmod: i32,
    pub(super) sql: String,
    pub(super) len: i16,
    pub(super) align: String,
    pub(super) kind: String,
    pub(super) not_null: bool,
    pub(super) identity: String,
    pub(super) generated: String,
    pub(super) expression: Option<String>,
    pub(super) identity_sequence: Option<Pair>,
    pub(super) collation: Option<Pair>,
    pub(super) storage: Option<String>,
    pub(super) compression: Option<String>,
    pub(super) statistics_target: Option<u16>,
    pub(super) options: Vec<String>,
    pub(super) comment: Option<String>,
    pub(super) grants: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct ColumnStatsRow {
    pub(super) table_oid: u32,
    pub(super) name: String,
    pub(super) width: u32,
    pub(super) null_ppm: u32,
    pub(super) correlation_ppm: Option<i32>,
}

#[derive(Deserialize)]
pub(super) struct IndexRow {
    pub(super) table_oid: u32,
    pub(super) name: String,
    pub(super) method: String,
    pub(super) definition: String,
    pub(super) is_primary: bool,
    pub(super) is_unique: bool,
    pub(super) nulls_not_distinct: bool,
    pub(super) immediate: bool,
    pub(super) valid: bool,
    pub(super) clustered: bool,
    pub(super) predicate: Option<String>,
    pub(super) reloptions: Vec<String>,
    pub(super) constraint: Option<String>,
    pub(super) comment: Option<String>,
    pub(super) elements: Vec<ElementRow>,
    pub(super) include: Vec<String>,
    pub(super) expression_columns: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct ElementRow {
    pub(super) column: Option<String>,
    pub(super) expression: Option<String>,
    pub(super) collation: Option<Pair>,
    pub(super) opclass: Option<Pair>,
    /// Absent before PG 13, which has no parameters of operator classes.
    #[serde(default)]
    pub(super) opclass_options: Vec<String>,
    pub(super) descending: bool,
    pub(super) nulls_first: bool,
}

#[derive(Deserialize)]
pub(super) struct ConstraintRow {
    pub(super) table_oid: u32,
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) definition: String,
    pub(super) columns: Vec<String>,
    pub(super) references: Option<Pair>,
    pub(super) referenced_columns: Vec<String>,
    pub(super) actions: Option<String>,
    pub(super) expression: Option<String>,
    pub(super) index: Option<String>,
    pub(super) deferrable: bool,
    pub(super) initially_deferred: bool,
    pub(super) validated: bool,
    pub(super) no_inherit: bool,
    pub(super) comment: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct StatisticsRow {
    pub(super) table_oid: u32,
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) kinds: Vec<char>,
    pub(super) columns: Vec<String>,
    pub(super) expressions: Vec<String>,
    pub(super) expression_columns: Vec<String>,
    pub(super) target: Option<u16>,
    pub(super) owner: String,
    pub(super) comment: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct TriggerRow {
    pub(super) table_oid: u32,
    pub(super) name: String,
    pub(super) definition: String,
    pub(super) enabled: char,
    pub(super) extension: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct PolicyRow {
    pub(super) table_oid: u32,
    pub(super) name: String,
    pub(super) restrictive: bool,
    pub(super) command: char,
    pub(super) roles: Vec<String>,
    pub(super) using: Option<String>,
    pub(super) check: Option<String>,
    pub(super) columns: Vec<String>,
    pub(super) functions: Vec<String>,
    pub(super) others: Vec<String>,
}

#[derive(Deserialize)]
pub(super) struct SignatureRow {
    pub(super) signature: String,
}

#[derive(Deserialize)]
pub(super) struct FunctionRow {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) definition: Option<String>,
    pub(super) owner: String,
    pub(super) grants: Vec<String>,
    pub(super) extension: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct ColumnRefRow {
    pub(super) schema: String,
    pub(super) table: String,
    pub(super) column: String,
}

#[derive(Deserialize)]
pub(super) struct SequenceRow {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) ty: String,
    pub(super) start: i64,
    pub(super) increment: i64,
    pub(super) min: i64,
    pub(super) max: i64,
    pub(super) cache: i64,
    pub(super) cycle: bool,
    pub(super) owned_by: Option<ColumnRefRow>,
    pub(super) used_by: Vec<ColumnRefRow>,
    pub(super) identity: bool,
    pub(super) owner: String,
    pub(super) grants: Vec<String>,
    pub(super) comment: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct DependentRow {
    pub(super) kind: String,
    pub(super) name: String,
    pub(super) table_oid: u32,
}

#[derive(Deserialize)]
pub(super) struct ViewRow {
    pub(super) schema: String,
    pub(super) name: String,
    pub(super) definition: String,
    pub(super) unpopulated: bool,
    /// Schema, relation, and a column of it.
    pub(super) reads: Vec<(String, String, Option<String>)>,
}

#[derive(Deserialize)]
pub(super) struct OtherRow {
    pub(super) kind: String,
    pub(super) schema: Option<String>,
    pub(super) name: String,
}

/// Everything that was read, still as rows.
pub(super) struct Rows {
    pub(super) schemas: Vec<SchemaRow>,
    pub(super) extensions: Vec<ExtensionRow>,
    pub(super) types: Vec<TypeRow>,
    pub(super) tables: Vec<TableRow>,
    pub(super) columns: Vec<ColumnRow>,
    pub(super) column_stats: Vec<ColumnStatsRow>,
    pub(super) indexes: Vec<IndexRow>,
    pub(super) constraints: Vec<ConstraintRow>,
    pub(super) statistics: Vec<StatisticsRow>,
    pub(super) triggers: Vec<TriggerRow>,
    pub(super) policies: Vec<PolicyRow>,
    pub(super) sequences: Vec<SequenceRow>,
    pub(super) dependents: Vec<DependentRow>,
    /// `None` when only some tables are wanted.
    pub(super) roles: Option<Vec<RoleRow>>,
    pub(super) default_grants: Vec<DefaultGrantsRow>,
    /// `None` when only some tables are wanted.
    pub(super) trigger_functions: Option<Vec<FunctionRow>>,
    /// `None` when only some tables are wanted.
    pub(super) functions: Option<Vec<SignatureRow>>,
    pub(super) views: Vec<ViewRow>,
    pub(super) others: Vec<OtherRow>,
}
