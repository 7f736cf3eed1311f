//! Whether a column that came to a table of the source changed nothing else: the proof, from the source's catalog.

use std::collections::BTreeMap;

use super::ExecError;
use crate::catalog::TypeKind::{Array, Base, Enum, Multirange, Range};
use crate::catalog::{Column, Ident, QualifiedName};
use crate::pg::client::Client;
use crate::sql;

/// What additive is, for whoever is told that something is not.
pub const ADDITIVE: &str = "additive is only a new plain column at the end, nullable without a default, or with a \
                            constant default that the server did not rewrite the rows for";

/// From this version on the server keeps the default of a new column for the rows that are there.
const MISSING_SINCE: u32 = 110_000;

/// The nodes of an expression tree that a literal, its cast, and functions of constants leave. A literal of a domain, or of
/// an array or range over one, would run what its owner checks it with.
const TREES: &str = "SELECT a.attname::text, a.attnum, d.adbin::text, pg_catalog.pg_get_expr(d.adbin, d.adrelid), coalesce(NOT EXISTS (\
       SELECT FROM pg_catalog.regexp_matches(d.adbin::text, '\\{([A-Z0-9_]+)', 'g') AS m(node) \
       WHERE node[1] NOT IN ('CONST', 'RELABELTYPE', 'FUNCEXPR', 'ARRAY', 'ARRAYEXPR')) AND NOT EXISTS (\
       SELECT FROM pg_catalog.regexp_matches(d.adbin::text, ':funcid ([0-9]+)', 'g') AS m(id) \
       JOIN pg_catalog.pg_proc p ON p.oid = id[1]::oid \
       WHERE p.provolatile <> 'i' OR p.pronamespace <> 'pg_catalog'::pg_catalog.regnamespace) AND NOT EXISTS (\
       SELECT FROM pg_catalog.regexp_matches(d.adbin::text, ':consttype ([0-9]+)', 'g') AS m(id) \
       JOIN pg_catalog.pg_type t ON t.oid = id[1]::oid \
       WHERE t.typnamespace <> 'pg_catalog'::pg_catalog.regnamespace AND t.typtype <> 'e' \
         AND NOT (t.typtype = 'b' AND t.typelem = 0)), false)";

const FROM: &str = " FROM pg_catalog.pg_attribute a JOIN pg_catalog.pg_class c ON c.oid = a.attrelid \
     JOIN pg_catalog.pg_namespace n ON n.oid = c.relnamespace \
     LEFT JOIN pg_catalog.pg_attrdef d ON d.adrelid = a.attrelid AND d.adnum = a.attnum \
     WHERE n.nspname = $1::text AND c.relname = $2::text AND a.attnum > 0 AND NOT a.attisdropped";

/// What the model of a column does not have.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Facts {
    /// `attnum`.
    pub attnum: i16,
    /// The tree of its default.
    pub default_tree: Option<String>,
    /// The same in SQL.
    default: Option<String>,
    /// It is made of constants.
    is_constant: bool,
    /// What the server kept for the rows that were there when the column came; `None` when it kept nothing.
    kept: Option<Vec<Option<String>>>,
}

/// Reads what the proof needs, by column.
pub async fn facts(source: &Client, table: &QualifiedName) -> Result<BTreeMap<Ident, Facts>, ExecError> {
    // Read as an array of texts: what the type's output function gave.
    let kept = if source.server_version_num >= MISSING_SINCE {
        ", CASE WHEN a.atthasmissing THEN ARRAY(SELECT pg_catalog.unnest(a.attmissingval::text::text[])) END"
    } else {
        ", NULL::text[]"
    };
    let rows = source
        .query(&format!("{TREES}{kept}{FROM}"), &[&table.schema.as_str(), &table.name.as_str()])
        .await
        .map_err(ExecError::source("look at new columns"))?;
    let mut facts = BTreeMap::new();
    for row in rows {
        let name = Ident::new(row.get::<_, String>(0))
            .map_err(|error| ExecError::Stale { what: table.to_string(), difference: error.to_string() })?;
        let found = Facts {
            attnum: row.get(1),
            default_tree: row.get(2),
            default: row.get(3),
            is_constant: row.get(4),
            kept: row.get(5),
        };
        facts.insert(name, found);
    }
    Ok(facts)
}

/// The value that rows older than the column have: as text, `None` for NULL. Or why the column is not additive.
pub async fn proof(
    source: &Client,
    column: &Column,
    facts: &Facts,
) -> Result<Result<Option<String>, String>, ExecError> {
    let refused = |why: &str| Ok(Err(why.to_owned()));
    if column.identity.is_some() {
        return refused("it is an identity column");
    }
    if column.generated.is_some() {
        return refused("it is generated");
    }
    if facts.default != column.default {
        return refused("it is being changed");
    }
    let Some(default) = &column.default else {
        return match (&facts.kept, column.not_null) {
            (Some(_), _) => refused("its default was taken away since"),
            (None, true) => refused("it is NOT NULL without a default"),
            (None, false) => Ok(Ok(None)),
        };
    };
    if !facts.is_constant {
        return Ok(Err(format!("its default {default} is not a constant")));
    }
    let kept = match facts.kept.as_deref() {
        Some([Some(kept)]) => kept.clone(),
        Some(_) => return refused("the value of older rows cannot be told"),
        None => return refused("the server kept no value for older rows: it rewrote them, or the default came later"),
    };
    // The input of any other type may run functions of the user's.
    let safe = match column.ty.kind {
        Base | Enum => true,
        Array | Range | Multirange => column.ty.is_builtin(),
        _ => false,
    };
    if !safe {
        return Ok(Err(format!("the default of a column of type {} is not evaluated", column.ty.sql)));
    }
    let query = format!("SELECT pg_catalog.format('%s', CAST(({default}) AS {}))", column.ty.sql);
    let value: String =
        source.query_one(&query, &[]).await.map_err(ExecError::source("evaluate the default of a new column"))?.get(0);
    if value == kept { Ok(Ok(Some(kept))) } else { refused("its default was changed since") }
}

/// What tells an added column from any other, and its default from another one: name, `attnum`, tree.
pub type Mark = (String, i16, Option<String>);

/// The marks of the columns with these `attnum`s, in their order.
pub async fn marks(source: &Client, table: &QualifiedName, attnums: &[i16]) -> Result<Vec<Mark>, ExecError> {
    let query = format!("SELECT a.attname::text, a.attnum, d.adbin::text{FROM} AND a.attnum = ANY ($3) ORDER BY 2");
    let rows = source
        .query(&query, &[&table.schema.as_str(), &table.name.as_str(), &attnums])
        .await
        .map_err(ExecError::source("look at added columns"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1), row.get(2))).collect())
}

/// Why the target cannot have a column of this type as the source has it.
pub async fn type_trouble(source: &Client, target: &Client, column: &Column) -> Result<Option<String>, ExecError> {
    let ty = &column.ty;
    if let Some(collation) = &column.collation
        && !(collation.schema.as_str() == "pg_catalog" && matches!(collation.name.as_str(), "C" | "POSIX"))
    {
        return Ok(Some(format!("its collation {collation} may be another one on the target")));
    }
    let qualified = sql::name(&QualifiedName { schema: ty.schema.clone(), name: ty.name.clone() });
    if ty.is_builtin()
        && matches!(ty.kind, Base | Array | Range | Multirange)
        && !ty.name.as_str().trim_start_matches('_').starts_with("reg")
    {
        let query = format!("SELECT pg_catalog.to_regtype({}) IS NOT NULL", sql::literal(&qualified));
        let row = target.query_one(&query, &[]).await.map_err(ExecError::target("look for a type"))?;
        return Ok((!row.get::<_, bool>(0)).then(|| format!("the target has no type {}", ty.sql)));
    }
    if ty.kind != Enum {
        return Ok(Some(format!("its type {} is neither built in nor an enum", ty.sql)));
    }
    let labels = format!(
        "SELECT ARRAY(SELECT e.enumlabel::text FROM pg_catalog.pg_enum e \
         WHERE e.enumtypid = pg_catalog.to_regtype({}) ORDER BY e.enumsortorder)",
        sql::literal(&qualified)
    );
    let here = source.query_one(&labels, &[]).await.map_err(ExecError::source("read an enum"))?;
    let there = target.query_one(&labels, &[]).await.map_err(ExecError::target("read an enum"))?;
    let (here, there): (Vec<String>, Vec<String>) = (here.get(0), there.get(0));
    Ok((here != there).then(|| format!("the enum {} has other labels on the target, or is not there", ty.sql)))
}
