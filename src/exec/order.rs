//! Whether both ends order text and enums alike, where an expression of the plan depends on it: the copy evaluates it on
//! the source, the stream on the target.

use std::collections::BTreeSet;

use tokio_postgres::error::SqlState;

use super::ExecError;
use super::preflight::{Failure, Fix};
use crate::casts::CastClass;
use crate::catalog::{QualifiedName, TypeKind};
use crate::pg::client::Client;
use crate::plan::{End, Plan};
use crate::projection::{ColumnValue, Projection};
use crate::sql;
use crate::sql::token::tokens;

/// Functions that give the same under every deterministic collation.
const OF_CHARACTERS: &[&str] = &[
    "texteq",
    "textne",
    "bpchareq",
    "bpcharne",
    "nameeq",
    "namene",
    "nameeqtext",
    "namenetext",
    "texteqname",
    "textnename",
    "array_eq",
    "array_ne",
    "record_eq",
    "record_ne",
    "textlike",
    "textnlike",
    "bpcharlike",
    "bpcharnlike",
    "namelike",
    "namenlike",
    "starts_with",
    "textcat",
    "textanycat",
    "anytextcat",
    "concat",
    "concat_ws",
    "textlen",
    "bpcharlen",
    "length",
    "char_length",
    "character_length",
    "octet_length",
    "bit_length",
    "substr",
    "substring",
    "left",
    "right",
    "btrim",
    "ltrim",
    "rtrim",
    "lpad",
    "rpad",
    "replace",
    "overlay",
    "repeat",
    "reverse",
    "split_part",
    "strpos",
    "position",
    "ascii",
    "md5",
    "translate",
    "quote_literal",
    "quote_ident",
    "text",
    "varchar",
    "bpchar",
    "name",
    "char",
    "coalesce",
    "array_length",
    "cardinality",
    "array_position",
    "array_append",
    "array_cat",
    "array_to_string",
    "string_to_array",
    "jsonb_typeof",
];

/// Functions over the order of an enum's labels.
const OF_LABELS: &[&str] = &["enum_lt", "enum_le", "enum_gt", "enum_ge", "enum_cmp", "enum_smaller", "enum_larger"];

/// How one end compares under a collation.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
struct Rules {
    /// Provider, locale and encoding, in words.
    words: String,
    /// The library's version, where the server knows it.
    version: Option<String>,
    deterministic: bool,
}

impl Rules {
    fn agree(&self, other: &Self) -> bool {
        self.words == other.words
            && self.deterministic == other.deterministic
            && (self.version.is_none() || other.version.is_none() || self.version == other.version)
    }

    fn describe(rules: &BTreeSet<Self>) -> String {
        let words = rules.iter().map(|one| match &one.version {
            Some(version) => format!("{} (version {version})", one.words),
            None => one.words.clone(),
        });
        words.collect::<Vec<_>>().join(" and ")
    }
}

/// A comparison or function call that PostgreSQL has found in an expression.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Call {
    /// Its function; 0 for GREATEST, LEAST and comparisons of rows.
    function: u32,
    /// The collation that it goes by, or 0.
    collation: u32,
    /// The type of GREATEST and LEAST, or 0.
    of_type: u32,
}

/// What of the expressions that both ends evaluate would come out differently; none when the role may not find out.
/// `types` creates what the target lacks of types.
pub(super) async fn check(
    (plan, types): (&Plan, &str),
    projection: &Projection,
    source: &Client,
    target: &Client,
) -> Result<Option<Vec<Failure>>, ExecError> {
    let mut failures = Vec::new();
    for (what, expression, reads) in expressions(projection) {
        let columns = projection.source_columns.iter().filter(|column| reads.contains(&column.name));
        if !columns.clone().any(|column| is_ordered_by_server(&column.ty)) {
            continue;
        }
        let defined: Vec<String> =
            columns.clone().map(|column| format!("{} {}", sql::ident(&column.name), column.ty.sql)).collect();
        let calls = match calls(target, types, &defined.join(", "), expression).await? {
            Tree::Calls(calls) => calls,
            // What is wrong with it others tell.
            Tree::Refused => continue,
            Tree::NoRight => return Ok(None),
        };
        let names = functions(target, &calls).await?;
        let own_order = |call: &&Call| {
            call.collation != 0
                && !names.iter().any(|(oid, name)| *oid == call.function && OF_CHARACTERS.contains(&name.as_str()))
        };
        let collated: BTreeSet<u32> =
            calls.iter().filter(|call| call.collation != 0).map(|call| call.collation).collect();
        let sensitive: BTreeSet<u32> = calls.iter().filter(own_order).map(|call| call.collation).collect();
        let there = rules(target, End::Target, &collated).await?;
        let here = source_rules(projection, reads, expression, source, target, &collated).await?;
        let is_plain = |rules: &BTreeSet<Rules>| rules.iter().all(|one| one.deterministic);
        let agrees = |one: &BTreeSet<Rules>, other: &BTreeSet<Rules>| {
            one.iter().all(|one| other.iter().any(|other| one.agree(other)))
        };
        let depends = !sensitive.is_empty() || !is_plain(&here) || !is_plain(&there);
        if depends && !(agrees(&here, &there) && agrees(&there, &here)) {
            failures.push(Failure {
                id: "order_differs",
                on: End::Target,
                found: format!(
                    "{what} compares text by {} on the source and by {} on the target, which evaluates it for the stream",
                    Rules::describe(&here),
                    Rules::describe(&there)
                ),
                fix: Fix::Words("Write the collation in the expression, such as COLLATE \"C\", or compare with = only.".to_owned()),
            });
        }
        let orders_labels = |call: &Call| {
            call.function == 0 && call.of_type != 0
                || names.iter().any(|(oid, name)| *oid == call.function && OF_LABELS.contains(&name.as_str()))
        };
        if !calls.iter().any(orders_labels) {
            continue;
        }
        for column in columns.filter(|column| column.ty.kind == TypeKind::Enum) {
            let ty = QualifiedName { schema: column.ty.schema.clone(), name: column.ty.name.clone() };
            if plan.source.types.contains_key(&ty) {
                // It is created in that order.
                continue;
            }
            let (here, there) = (labels(source, End::Source, &ty).await?, labels(target, End::Target, &ty).await?);
            // Labels that only the target has are in no row of the source.
            if !there.iter().filter(|label| here.contains(label)).eq(&here) {
                failures.push(Failure {
                    id: "order_differs",
                    on: End::Target,
                    found: format!("{what} compares labels of {ty}, which are in another order on the target"),
                    fix: Fix::Words("Create the enum on the target with its labels in the source's order.".to_owned()),
                });
            }
        }
    }
    Ok(Some(failures))
}

/// Expressions that a user wrote, with what they are called and read.
fn expressions(projection: &Projection) -> Vec<(String, &str, &[crate::catalog::Ident])> {
    let filter = projection
        .filter
        .iter()
        .map(|filter| (format!("the filter of {}", projection.source), filter.sql.as_str(), filter.reads.as_slice()));
    let values = projection.columns.iter().filter(|column| column.class == CastClass::Custom);
    let values = values.filter_map(|column| match &column.value {
        ColumnValue::Expr { sql, reads } => {
            Some((format!("the value of {}.{}", projection.target, column.target), sql.as_str(), reads.as_slice()))
        }
        ColumnValue::Frozen { .. } => None,
    });
    filter.chain(values).collect()
}

/// Numbers, times and their like have one order everywhere.
fn is_ordered_by_server(ty: &crate::catalog::ColumnType) -> bool {
    match ty.kind {
        TypeKind::Base if ty.is_builtin() => ["text", "varchar", "bpchar", "name"].iter().any(|name| ty.is(name)),
        _ => true,
    }
}

/// What PostgreSQL makes of an expression.
enum Tree {
    Calls(Vec<Call>),
    Refused,
    NoRight,
}

/// Reads an expression over these columns as the target's server does, in a view that is never kept.
async fn calls(target: &Client, types: &str, columns: &str, expression: &str) -> Result<Tree, ExecError> {
    let made = target
        .batch_execute(&format!(
            "BEGIN; {types}CREATE TEMPORARY TABLE \"pcrd_order\" ({columns}) ON COMMIT DROP; \
             CREATE TEMPORARY VIEW \"pcrd_ordered\" AS SELECT ({expression}) AS value FROM pg_temp.\"pcrd_order\""
        ))
        .await;
    let doing = || ExecError::target("read what an expression depends on");
    let tree = match made {
        Ok(()) => {
            let query =
                "SELECT ev_action::text FROM pg_catalog.pg_rewrite WHERE ev_class = 'pg_temp.pcrd_ordered'::regclass";
            let row = target.query_one(query, &[]).await.map_err(doing())?;
            Tree::Calls(calls_of(&row.get::<_, String>(0)))
        }
        Err(error) if error.code() == Some(&SqlState::INSUFFICIENT_PRIVILEGE) => Tree::NoRight,
        Err(error) if error.code().is_some() => Tree::Refused,
        Err(error) => return Err(doing()(error)),
    };
    target.batch_execute("ROLLBACK").await.map_err(ExecError::target("preflight"))?;
    Ok(tree)
}

/// The calls in a tree as `pg_rewrite` keeps it: `{OPEXPR :opno 664 :opfuncid 740 … :inputcollid 100 :args (…)}`.
fn calls_of(tree: &str) -> Vec<Call> {
    let mut found = Vec::new();
    for node in tree.split('{') {
        let words: Vec<&str> = node.split_ascii_whitespace().take_while(|word| *word != ":args").collect();
        let value = |name: &str| {
            let at = words.iter().position(|word| *word == name)?;
            words.get(at + 1)?.parse::<u32>().ok()
        };
        match words.first() {
            Some(&"ROWCOMPAREEXPR") => {
                let Some(at) = words.iter().position(|word| *word == ":inputcollids") else { continue };
                // `(o 100 0 100)`
                let oids = words[at + 1..].iter().take_while(|word| !word.starts_with(':'));
                let oids = oids.filter_map(|word| word.trim_matches(['(', ')']).parse().ok());
                found.extend(oids.map(|collation| Call { function: 0, collation, of_type: 1 }));
            }
            Some(_) => {
                let Some(collation) = value(":inputcollid") else { continue };
                let function = value(":opfuncid").or_else(|| value(":funcid")).unwrap_or(0);
                found.push(Call { function, collation, of_type: value(":minmaxtype").unwrap_or(0) });
            }
            None => {}
        }
    }
    found
}

async fn functions(target: &Client, calls: &[Call]) -> Result<Vec<(u32, String)>, ExecError> {
    let oids: Vec<u32> = calls.iter().map(|call| call.function).collect();
    let query = "SELECT oid, proname::text FROM pg_catalog.pg_proc WHERE oid = ANY ($1) \
                 AND pronamespace = 'pg_catalog'::regnamespace";
    let rows = target.query(query, &[&oids]).await.map_err(ExecError::target("name functions"))?;
    Ok(rows.iter().map(|row| (row.get(0), row.get(1))).collect())
}

/// The rules of the source: of the collations that the expression names, and of the columns where it names none.
async fn source_rules(
    projection: &Projection,
    reads: &[crate::catalog::Ident],
    expression: &str,
    source: &Client,
    target: &Client,
    collated: &BTreeSet<u32>,
) -> Result<BTreeSet<Rules>, ExecError> {
    let is_explicit = tokens(expression).is_ok_and(|list| list.iter().any(|token| token.word() == Some("collate")));
    let mut oids = BTreeSet::new();
    if is_explicit {
        let given: Vec<u32> = collated.iter().copied().filter(|oid| *oid != DEFAULT).collect();
        let query = "SELECT n.nspname::text, c.collname::text FROM pg_catalog.pg_collation c \
                     JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace WHERE c.oid = ANY ($1)";
        for row in target.query(query, &[&given]).await.map_err(ExecError::target("name collations"))? {
            let query = "SELECT c.oid FROM pg_catalog.pg_collation c JOIN pg_catalog.pg_namespace n ON n.oid = c.collnamespace \
                         WHERE n.nspname = $1 AND c.collname = $2 AND c.collencoding IN \
                         (-1, (SELECT encoding FROM pg_catalog.pg_database WHERE datname = pg_catalog.current_database()))";
            let names: (String, String) = (row.get(0), row.get(1));
            let rows = source.query(query, &[&names.0, &names.1]).await;
            oids.extend(rows.map_err(ExecError::source("find a collation"))?.iter().map(|row| row.get::<_, u32>(0)));
        }
    }
    if !is_explicit || collated.contains(&DEFAULT) {
        let names: Vec<&str> = reads.iter().map(crate::catalog::Ident::as_str).collect();
        let query = "SELECT DISTINCT attcollation FROM pg_catalog.pg_attribute \
                     WHERE attrelid = $1::text::regclass AND attname = ANY ($2::text[]) AND attcollation <> 0";
        let rows = source.query(query, &[&sql::name(&projection.source), &names]).await;
        oids.extend(
            rows.map_err(ExecError::source("read collations of columns"))?.iter().map(|row| row.get::<_, u32>(0)),
        );
    }
    rules(source, End::Source, &oids).await
}

/// `pg_catalog."default"`.
const DEFAULT: u32 = 100;

async fn rules(client: &Client, end: End, oids: &BTreeSet<u32>) -> Result<BTreeSet<Rules>, ExecError> {
    let of_database = if client.server_version_num >= 150_000 {
        "pg_catalog.pg_database_collation_actual_version(d.oid)"
    } else {
        "NULL::text"
    };
    // Columns come and go with the versions.
    let query = format!(
        "SELECT COALESCE(j ->> 'datlocprovider', j ->> 'collprovider', 'c'), \
                COALESCE(j ->> 'datlocale', j ->> 'daticulocale', j ->> 'colllocale', j ->> 'colliculocale', ''), \
                COALESCE(j ->> 'daticurules', j ->> 'collicurules', ''), \
                COALESCE(j ->> 'datcollate', j ->> 'collcollate', ''), COALESCE(j ->> 'datctype', j ->> 'collctype', ''), \
                COALESCE((j ->> 'collisdeterministic')::boolean, true), version, pg_catalog.getdatabaseencoding()::text \
         FROM (SELECT pg_catalog.to_jsonb(c) AS j, pg_catalog.pg_collation_actual_version(c.oid) AS version \
               FROM pg_catalog.pg_collation c WHERE c.oid = ANY ($1) AND c.oid <> {DEFAULT} \
               UNION ALL SELECT pg_catalog.to_jsonb(d), {of_database} FROM pg_catalog.pg_database d \
               WHERE {DEFAULT} = ANY ($1) AND d.datname = pg_catalog.current_database()) AS found"
    );
    let oids: Vec<u32> = oids.iter().copied().collect();
    let doing = "read how collations compare".to_owned();
    let rows = client.query(&query, &[&oids]).await;
    let rows = match end {
        End::Source => rows.map_err(ExecError::source(doing))?,
        End::Target => rows.map_err(ExecError::target(doing))?,
    };
    let described = rows.iter().map(|row| {
        let text = |at: usize| row.get::<_, String>(at);
        let encoding = text(7);
        let words = words(&text(0), (&text(1), &text(2)), (&text(3), &text(4)));
        // By the byte there is nothing that a library could change.
        let version = if words == "C" { None } else { row.get(6) };
        Rules { words: format!("{words} in {encoding}"), version, deterministic: row.get(5) }
    });
    Ok(described.collect())
}

fn words(provider: &str, (locale, custom): (&str, &str), (collate, ctype): (&str, &str)) -> String {
    // `C.UTF-8` and `C.utf8` are one.
    let plain = |name: &str| match name {
        "POSIX" => "C".to_owned(),
        name => name.replace('-', "").replace("UTF8", "utf8"),
    };
    match provider {
        "i" => format!("ICU {locale}{}{custom}", if custom.is_empty() { "" } else { " with " }),
        "b" => plain(locale),
        _ if plain(collate) == plain(ctype) => plain(collate),
        _ => format!("{} with the letters of {}", plain(collate), plain(ctype)),
    }
}

async fn labels(client: &Client, end: End, ty: &QualifiedName) -> Result<Vec<String>, ExecError> {
    let query = "SELECT e.enumlabel::text FROM pg_catalog.pg_enum e JOIN pg_catalog.pg_type t ON t.oid = e.enumtypid \
                 JOIN pg_catalog.pg_namespace n ON n.oid = t.typnamespace WHERE n.nspname = $1 AND t.typname = $2 \
                 ORDER BY e.enumsortorder";
    let rows = client.query(query, &[&ty.schema.as_str(), &ty.name.as_str()]).await;
    let doing = format!("read the labels of {ty}");
    let rows = match end {
        End::Source => rows.map_err(ExecError::source(doing))?,
        End::Target => rows.map_err(ExecError::target(doing))?,
    };
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_read_from_the_tree() {
        let tree = "({QUERY :targetList ({TARGETENTRY :expr {BOOLEXPR :boolop and :args ({OPEXPR :opno 664 :opfuncid 740 \
                    :opresulttype 16 :opretset false :opcollid 0 :inputcollid 100 :args ({VAR :varno 1} {CONST})} \
                    {FUNCEXPR :funcid 870 :funccollid 100 :inputcollid 100 :args ({VAR})} {MINMAXEXPR :minmaxtype 25 \
                    :minmaxcollid 100 :inputcollid 100 :op 0 :args ({VAR})} {ROWCOMPAREEXPR :rctype 1 :opnos (o 664 97) \
                    :opfamilies (o 1994 1976) :inputcollids (o 100 0) :largs ({VAR}) :rargs ({VAR})})}})})";
        let call = |function, collation, of_type| Call { function, collation, of_type };
        let wanted = [call(740, 100, 0), call(870, 100, 0), call(0, 100, 25), call(0, 100, 1), call(0, 0, 1)];
        assert_eq!(calls_of(tree), wanted);
    }

    #[test]
    fn rules_agree_by_what_is_known() {
        let rules = |words: &str, version: Option<&str>| Rules {
            words: words.to_owned(),
            version: version.map(str::to_owned),
            deterministic: true,
        };
        assert!(rules("en_US.utf8", Some("2.31")).agree(&rules("en_US.utf8", None)));
        assert!(!rules("en_US.utf8", Some("2.31")).agree(&rules("en_US.utf8", Some("2.36"))));
        assert!(!rules("en_US.utf8", None).agree(&rules("C", None)));
        assert_eq!(words("c", ("", ""), ("C.UTF-8", "C.utf8")), "C.utf8");
        assert_eq!(words("c", ("", ""), ("POSIX", "C")), "C");
        assert_eq!(words("b", ("C", ""), ("en_US.UTF-8", "en_US.UTF-8")), "C");
        assert_eq!(words("c", ("", ""), ("C", "de_DE.UTF-8")), "C with the letters of de_DE.utf8");
    }
}
