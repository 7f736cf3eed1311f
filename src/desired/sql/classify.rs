//! Which kind of statement this is, by its first words. A statement that pcrd understands is parsed by its own rule and
//! nothing else, so one that does not parse is an error and never passes as something unknown.

use crate::desired::problem::ProblemKind;

use super::tree::Level;

/// What to do with a statement.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Class {
    CreateTable,
    CreateIndex,
    CreateSequence,
    CreateEnum,
    CreateType,
    CreateDomain,
    CreateSchema,
    CreateExtension,
    AlterTable,
    AlterIndex,
    AlterSequence,
    Comment,
    Set,
    SetConfig,
    Reset,
    /// SET ROLE and the like: nothing that matters here.
    OtherSetting,
    /// A view: ALTER TABLE and CREATE INDEX may name it.
    Relation(&'static str),
    /// Read over.
    Opaque(&'static str, Level),
    Refused(Refusal),
}

/// Why a statement has no place in a desired schema.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    Data,
    Script,
    Transaction,
    Query,
    Unknown,
}

impl Refusal {
    pub(super) fn kind(self) -> ProblemKind {
        match self {
            Self::Data | Self::Query => ProblemKind::SqlData,
            Self::Script => ProblemKind::SqlScript,
            Self::Transaction | Self::Unknown => ProblemKind::SqlRefused,
        }
    }

    pub(super) fn label(self) -> &'static str {
        match self {
            Self::Data => "this is data",
            Self::Script => "this is a step of a migration",
            Self::Transaction => "this runs something",
            Self::Query => "this is a query",
            Self::Unknown => "not a statement that pcrd knows",
        }
    }

    pub(super) fn help(self) -> &'static str {
        match self {
            Self::Data | Self::Query => "a desired schema has no rows: make the file with `pg_dump --schema-only`",
            Self::Script => {
                "pcrd wants the final state, not the way there: edit the CREATE statement; a new name is said by \
                 `-- pcrd: renamed_from old_name`, a column that goes by `-- pcrd: drops column_name` on its table"
            }
            Self::Transaction => "remove the statement: pcrd decides what runs when",
            Self::Unknown => "remove the statement, or correct its first words",
        }
    }
}

/// Decides by the first words, in lower case; names and other lexemes are empty strings.
pub(super) fn classify(words: &[&str]) -> Class {
    use Class::{Opaque, Refused, Relation};
    use Level::NotCarried;
    match words {
        ["create", rest @ ..] => create(rest),
        ["alter", rest @ ..] => alter(rest),
        ["comment", "on", what, ..] => match *what {
            "table" | "column" | "constraint" | "index" | "sequence" => Class::Comment,
            "access" | "aggregate" | "cast" | "collation" | "conversion" | "database" | "domain" | "event"
            | "extension" | "foreign" | "function" | "language" | "large" | "materialized" | "operator" | "policy"
            | "procedural" | "procedure" | "publication" | "role" | "routine" | "rule" | "schema" | "server"
            | "statistics" | "subscription" | "tablespace" | "text" | "transform" | "trigger" | "type" | "view" => {
                Opaque("comment", NotCarried)
            }
            _ => Refused(Refusal::Unknown),
        },
        ["set", "session" | "local", "authorization" | "characteristics" | "role" | "time", ..]
        | ["set", "role" | "names" | "time" | "constraints" | "transaction" | "xml" | "catalog", ..]
        | ["reset", "role" | "session" | "time" | "transaction", ..] => Class::OtherSetting,
        ["reset", ..] => Class::Reset,
        ["set", ..] => Class::Set,
        ["select", "pg_catalog", "set_config", ..] | ["select", "set_config", ..] => Class::SetConfig,
        ["select" | "with" | "values" | "table" | "show" | "explain", ..] => Refused(Refusal::Query),
        ["grant", ..] => Opaque("grant", NotCarried),
        ["revoke", ..] => Opaque("revoke", NotCarried),
        ["security", "label", ..] => Opaque("security label", NotCarried),
        ["import", "foreign", "schema", ..] => Relation("foreign schema"),
        ["copy" | "insert" | "update" | "delete" | "merge" | "truncate" | "refresh", ..] => Refused(Refusal::Data),
        ["drop", ..] => Refused(Refusal::Script),
        [
            "begin" | "start" | "commit" | "end" | "rollback" | "abort" | "savepoint" | "release" | "do" | "call"
            | "lock" | "vacuum" | "analyze" | "analyse" | "cluster" | "reindex" | "checkpoint" | "notify" | "listen"
            | "unlisten" | "prepare" | "execute" | "deallocate" | "discard" | "load" | "declare" | "fetch" | "move"
            | "close" | "reassign",
            ..,
        ] => Refused(Refusal::Transaction),
        _ => Refused(Refusal::Unknown),
    }
}

fn create(words: &[&str]) -> Class {
    use Class::{Opaque, Refused, Relation};
    use Level::{NotCarried, Prerequisite};
    let not_carried = |what| Opaque(what, NotCarried);
    match words {
        ["table", ..]
        | ["unlogged" | "temp" | "temporary", "table", ..]
        | ["global" | "local", "temp" | "temporary", "table", ..] => Class::CreateTable,
        ["index", ..] | ["unique", "index", ..] => Class::CreateIndex,
        ["sequence", ..] | ["unlogged" | "temp" | "temporary", "sequence", ..] => Class::CreateSequence,
        ["type", rest @ ..] => match rest.iter().position(|word| *word == "as") {
            Some(at) if rest.get(at + 1) == Some(&"enum") => Class::CreateEnum,
            _ => Class::CreateType,
        },
        ["domain", ..] => Class::CreateDomain,
        ["schema", ..] => Class::CreateSchema,
        ["extension", ..] => Class::CreateExtension,
        ["collation", ..] => Opaque("collation", Prerequisite),
        ["or", "replace", rest @ ..] => match rest {
            ["table" | "index" | "sequence" | "type" | "schema" | "or", ..] => Refused(Refusal::Unknown),
            _ => create(rest),
        },
        ["view", ..] | ["recursive" | "temp" | "temporary", "view", ..] => Relation("view"),
        ["temp" | "temporary", "recursive", "view", ..] => Relation("view"),
        ["materialized", "view", ..] => Relation("materialized view"),
        ["foreign", "table", ..] => Relation("foreign table"),
        ["foreign", "data", "wrapper", ..] => not_carried("foreign data wrapper"),
        ["function", ..] => not_carried("function"),
        ["procedure", ..] => not_carried("procedure"),
        ["aggregate", ..] => not_carried("aggregate"),
        ["operator", ..] => not_carried("operator"),
        ["cast", ..] => not_carried("cast"),
        ["trigger", ..] | ["constraint", "trigger", ..] => not_carried("trigger"),
        ["event", "trigger", ..] => not_carried("event trigger"),
        ["rule", ..] => not_carried("rule"),
        ["policy", ..] => not_carried("policy"),
        ["statistics", ..] => not_carried("statistics"),
        ["publication", ..] => not_carried("publication"),
        ["subscription", ..] => not_carried("subscription"),
        ["text", "search", ..] => not_carried("text search"),
        ["server", ..] => not_carried("server"),
        ["user", "mapping", ..] => not_carried("user mapping"),
        ["language", ..] | ["trusted" | "procedural", ..] => not_carried("language"),
        ["transform", ..] => not_carried("transform"),
        ["conversion", ..] | ["default", "conversion", ..] => not_carried("conversion"),
        ["access", "method", ..] => not_carried("access method"),
        ["role" | "user" | "group", ..] => not_carried("role"),
        ["tablespace", ..] => not_carried("tablespace"),
        ["database", ..] => not_carried("database"),
        _ => Refused(Refusal::Unknown),
    }
}

fn alter(words: &[&str]) -> Class {
    use Class::{Opaque, Refused};
    use Level::{NotCarried, Prerequisite};
    let has = |pair: [&str; 2]| words.windows(2).any(|found| found == pair);
    let not_carried = |what| Opaque(what, NotCarried);
    match words {
        ["table", "all", ..] => Refused(Refusal::Script),
        ["table", ..] => Class::AlterTable,
        ["index", ..] => Class::AlterIndex,
        ["sequence", ..] => Class::AlterSequence,
        ["default", "privileges", ..] => not_carried("default privileges"),
        _ if has(["owner", "to"]) => not_carried("owner"),
        _ if has(["rename", "to"]) || has(["set", "schema"]) => Refused(Refusal::Script),
        ["domain", rest @ ..] if rest.contains(&"add") => Opaque("domain", Prerequisite),
        ["type" | "domain" | "extension" | "collation" | "schema", ..] => Refused(Refusal::Script),
        ["view", ..] => not_carried("view"),
        ["materialized", "view", ..] => not_carried("materialized view"),
        ["foreign", "table", ..] => not_carried("foreign table"),
        ["foreign", "data", ..] => not_carried("foreign data wrapper"),
        ["function" | "procedure" | "routine" | "aggregate", ..] => not_carried("function"),
        ["operator", ..] => not_carried("operator"),
        ["trigger", ..] => not_carried("trigger"),
        ["event", "trigger", ..] => not_carried("event trigger"),
        ["rule", ..] => not_carried("rule"),
        ["policy", ..] => not_carried("policy"),
        ["statistics", ..] => not_carried("statistics"),
        ["publication", ..] => not_carried("publication"),
        ["subscription", ..] => not_carried("subscription"),
        ["text", "search", ..] => not_carried("text search"),
        ["server", ..] => not_carried("server"),
        ["user", "mapping", ..] => not_carried("user mapping"),
        ["language", ..] | ["procedural", "language", ..] => not_carried("language"),
        ["role" | "user" | "group", ..] => not_carried("role"),
        ["database", ..] => not_carried("database"),
        ["tablespace", ..] => not_carried("tablespace"),
        ["large", "object", ..] => not_carried("large object"),
        _ => Refused(Refusal::Unknown),
    }
}
