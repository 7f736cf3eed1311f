//! The catalog queries and how one text serves all major versions.

/// A catalog query: its text, and what it reads in words.
pub(super) struct Query {
    pub(super) what: &'static str,
    text: &'static str,
}

pub(super) const SESSION: &str = include_str!("../queries/session.sql");
pub(super) const SERVER: Query = Query { what: "the server", text: include_str!("../queries/server.sql") };
pub(super) const RESOLVE: Query = Query { what: "table names", text: include_str!("../queries/resolve.sql") };
pub(super) const SCHEMAS: Query = Query { what: "schemas", text: include_str!("../queries/schemas.sql") };
pub(super) const ROLES: Query = Query { what: "roles", text: include_str!("../queries/roles.sql") };
pub(super) const DEFAULT_GRANTS: Query =
    Query { what: "default privileges", text: include_str!("../queries/default_grants.sql") };
pub(super) const EXTENSIONS: Query = Query { what: "extensions", text: include_str!("../queries/extensions.sql") };
pub(super) const TYPES: Query = Query { what: "types", text: include_str!("../queries/types.sql") };
pub(super) const TABLES: Query = Query { what: "tables", text: include_str!("../queries/tables.sql") };
pub(super) const COLUMNS: Query = Query { what: "columns", text: include_str!("../queries/columns.sql") };
pub(super) const COLUMN_STATS: Query =
    Query { what: "column statistics", text: include_str!("../queries/column_stats.sql") };
pub(super) const INDEXES: Query = Query { what: "indexes", text: include_str!("../queries/indexes.sql") };
pub(super) const CONSTRAINTS: Query = Query { what: "constraints", text: include_str!("../queries/constraints.sql") };
pub(super) const TRIGGERS: Query = Query { what: "triggers", text: include_str!("../queries/triggers.sql") };
pub(super) const TRIGGER_FUNCTIONS: Query =
    Query { what: "trigger functions", text: include_str!("../queries/trigger_functions.sql") };
pub(super) const POLICIES: Query = Query { what: "policies", text: include_str!("../queries/policies.sql") };
pub(super) const STATISTICS: Query =
    Query { what: "statistics objects", text: include_str!("../queries/statistics.sql") };
pub(super) const FUNCTIONS: Query = Query { what: "functions", text: include_str!("../queries/functions.sql") };
pub(super) const VIEWS: Query = Query { what: "views", text: include_str!("../queries/views.sql") };
pub(super) const OTHERS: Query = Query { what: "other objects", text: include_str!("../queries/others.sql") };
pub(super) const SEQUENCES: Query = Query { what: "sequences", text: include_str!("../queries/sequences.sql") };
pub(super) const DEPENDENTS: Query =
    Query { what: "dependent objects", text: include_str!("../queries/dependents.sql") };

impl Query {
    /// The statement for one major version. Every row comes as one JSON document.
    pub(super) fn statement(&self, major: u32) -> String {
        format!("SELECT pg_catalog.row_to_json(doc)::text FROM (\n{}) AS doc", for_major(self.text, major))
    }
}

/// Keeps the lines that end in `-- N+` from major N on, and those that end in `-- <N` before it.
fn for_major(text: &str, major: u32) -> String {
    let mut kept = String::with_capacity(text.len());
    for line in text.lines() {
        if line_applies(line, major) {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

fn line_applies(line: &str, major: u32) -> bool {
    let Some((_, mark)) = line.rsplit_once("-- ") else { return true };
    if let Some(Ok(since)) = mark.strip_suffix('+').map(str::parse::<u32>) {
        return major >= since;
    }
    if let Some(Ok(until)) = mark.strip_prefix('<').map(str::parse::<u32>) {
        return major < until;
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marked_lines_belong_to_their_majors() {
        let text = "a\nb -- 12+\nc -- <12\n-- 12 is no mark\n";
        assert_eq!(for_major(text, 11), "a\nc -- <12\n-- 12 is no mark\n");
        assert_eq!(for_major(text, 12), "a\nb -- 12+\n-- 12 is no mark\n");
    }
}
