//! Every pair of types over values at their edges: classes and predicates keep their word.

use std::collections::BTreeMap;

use pcrd::casts::{Cast, CastClass, Context, classify, inverse, typename};
use pcrd::catalog::{ColumnType, QualifiedName, TypeDef, TypeKind};
use pcrd::sql::literal;
use tokio_postgres::Client;

use crate::server::{USER_TYPES_SQL, column_of, rows, server_of, user_types};
use crate::values::MATRIX;

fn all_types() -> BTreeMap<QualifiedName, TypeDef> {
    let mut types = user_types();
    let labels = ["happy", "{\\0}", "sad", "ok"].map(str::to_owned).to_vec();
    types.insert(QualifiedName::new("public", "mood2").unwrap(), TypeDef::Enum(labels));
    types.insert(QualifiedName::new("public", "citext").unwrap(), TypeDef::Base);
    types
}

/// One row per value: the value, whether it is bad, the result or the error, and whether the way back brings the
/// value again.
const TRY_SQL: &str = "CREATE FUNCTION public.try(sql text) RETURNS text LANGUAGE plpgsql AS \
    $$ DECLARE r text; BEGIN EXECUTE sql INTO r; RETURN coalesce(r, 'NULL'); EXCEPTION WHEN OTHERS THEN RETURN 'ERROR ' || SQLERRM; END $$;
    CREATE FUNCTION public.same(tab text, at int, back text) RETURNS boolean LANGUAGE plpgsql AS
    $$ DECLARE r boolean; BEGIN EXECUTE format('SELECT CAST(%1$s AS text) = CAST(c AS text) FROM %2$s WHERE i = %3$s', back, tab, at) INTO r;
       IF r THEN RETURN true; END IF;
       EXECUTE format('SELECT %1$s = c FROM %2$s WHERE i = %3$s', back, tab, at) INTO r; RETURN r;
       EXCEPTION WHEN OTHERS THEN RETURN false; END $$;";

/// What a run has seen.
#[derive(Debug, Default)]
struct Counts {
    by_class: BTreeMap<CastClass, u32>,
    unsupported: u32,
    passed: u32,
    refused: u32,
}

#[tokio::test]
async fn casts_do_what_their_class_says() {
    let counts = matrix(15).await;
    assert!(counts.refused > 2500 && counts.passed > 4000, "{counts:?}");
}

#[tokio::test]
async fn casts_do_so_on_every_major() {
    for major in pcrd::pg::local::installed_majors() {
        let counts = matrix(major).await;
        assert!(counts.refused > 2000 && counts.passed > 3500, "{major}: {counts:?}");
    }
}

/// Runs every pair on a server of this major. Types and values that it does not have yet are left out.
async fn matrix(major: u32) -> Counts {
    let (_cluster, client) = server_of(major).await;
    client.batch_execute(USER_TYPES_SQL).await.unwrap();
    client.batch_execute("CREATE TYPE public.mood2 AS ENUM ('happy', '{\\0}', 'sad', 'ok')").await.unwrap();
    let citext = client.batch_execute("CREATE EXTENSION citext SCHEMA public").await;
    assert!(citext.is_ok() || major != 15, "{citext:?}");
    client.batch_execute(TRY_SQL).await.unwrap();
    let types = all_types();
    let (mut counts, mut wrong) = (Counts::default(), Vec::new());
    let mut known = Vec::new();
    for (number, (text, values)) in MATRIX.iter().enumerate() {
        let ty = typename::parse(text, &types).unwrap();
        let table = format!("public.m{number}");
        if let Err(error) = client.batch_execute(&format!("CREATE TABLE {table} (i serial, c {})", ty.sql)).await {
            assert_ne!(major, 15, "{text}: {error:?}");
            continue;
        }
        for value in *values {
            let inserted = client.batch_execute(&format!("INSERT INTO {table} (c) VALUES ({})", literal(value))).await;
            assert!(inserted.is_ok() || major < 15, "{text} {value}: {inserted:?}");
        }
        client.batch_execute(&format!("INSERT INTO {table} (c) VALUES (NULL)")).await.unwrap();
        known.push((ty, table));
    }
    for (from, table) in &known {
        for (to, _) in &known {
            let zoned = from.is("timestamptz") || to.is("timestamptz");
            for zone in if zoned { &["UTC", "Europe/Berlin"][..] } else { &["UTC"] } {
                let context = Context { zone, types: &types, oldest_major: major };
                match classify(from, to, &context) {
                    Ok(cast) => check(&client, &cast, &context, table, &mut counts, &mut wrong).await,
                    Err(_) => counts.unsupported += 1,
                }
            }
        }
    }
    assert!(wrong.is_empty(), "PG {major}: {} wrong of {counts:?}\n{}", wrong.len(), wrong.join("\n"));
    counts
}

async fn check(
    client: &Client,
    cast: &Cast,
    context: &Context<'_>,
    table: &str,
    counts: &mut Counts,
    wrong: &mut Vec<String>,
) {
    *counts.by_class.entry(cast.class).or_insert(0) += 1;
    let label = format!("{} → {} ({:?}, {})", cast.from().sql, cast.to().sql, cast.class, context.zone);
    let bad: Vec<String> = cast.bad("c").into_iter().map(|b| format!("coalesce({}, false)", b.predicate)).collect();
    if (cast.class == CastClass::Checked) == bad.is_empty() && cast.class != CastClass::Lossy {
        wrong.push(format!("{label}: {} predicates", bad.len()));
    }
    let bad = if bad.is_empty() { "false".to_owned() } else { bad.join(" OR ") };
    if let Err(error) = check_rows(client, cast, context, table, &bad, &label, counts, wrong).await {
        wrong.push(format!("{label}: {error}"));
    }
    if let Err(error) = check_type(client, cast, table, &label, wrong).await {
        wrong.push(format!("{label}: {error}"));
    }
    let no_equality = |ty: &ColumnType| ["json", "xml", "point"].iter().any(|name| ty.is(name));
    if !no_equality(cast.from())
        && !no_equality(cast.to())
        && let Err(error) = check_order(client, cast, table, &bad, &label, wrong).await
    {
        wrong.push(format!("{label}: {error}"));
    }
}

#[expect(clippy::too_many_arguments)]
async fn check_rows(
    client: &Client,
    cast: &Cast,
    context: &Context<'_>,
    table: &str,
    bad: &str,
    label: &str,
    counts: &mut Counts,
    wrong: &mut Vec<String>,
) -> Result<(), String> {
    // The way back reads the result under the name x.
    let back = format!("(SELECT {} FROM (SELECT {} AS x) AS y)", way_back(cast, context), cast.expr("c"));
    let over_table = literal(&format!("SELECT {} FROM {table} WHERE i = ", cast.expr("c")));
    // As the stream has it: a row of constants, which the planner folds into the expression.
    let before = literal(&format!("SELECT {} FROM (SELECT CAST(", cast.expr("c")));
    let after = literal(&format!(" AS {}) AS c) AS s", cast.from().sql));
    let sql = format!(
        "SELECT CAST(c AS text), {bad}, public.try({over_table} || i), public.same('{table}', i, {}), \
         public.try({before} || quote_nullable(CAST(c AS text)) || {after}) FROM {table} ORDER BY i",
        literal(&back),
    );
    for row in rows(client, &sql).await? {
        let value = row[0].clone();
        let is_bad = row[1].as_deref() == Some("t");
        let (result, folded) = (row[2].clone().unwrap(), row[4].clone().unwrap());
        let failed = result.starts_with("ERROR");
        let same = row[3].as_deref() == Some("t") || value.is_none();
        let shown = format!("{label}: {value:?} → {result}");
        if folded != result && !(failed && folded.starts_with("ERROR")) {
            wrong.push(format!("{shown}, but from constants {folded}"));
        }
        if value.is_none() && (is_bad || result != "NULL") {
            wrong.push(format!("{shown}: NULL stays NULL"));
        }
        match cast.class {
            CastClass::Identical | CastClass::Widening if failed || !same => {
                wrong.push(format!("{shown} (back: {same})"));
            }
            CastClass::Checked if is_bad != failed => wrong.push(format!("{shown} but bad is {is_bad}")),
            CastClass::Checked if !is_bad && !same => wrong.push(format!("{shown} passes and is lost")),
            CastClass::Lossy if !is_bad && failed => wrong.push(format!("{shown} but not bad")),
            _ => {}
        }
        *(if is_bad { &mut counts.refused } else { &mut counts.passed }) += 1;
    }
    Ok(())
}

/// The expression has the wanted type.
async fn check_type(
    client: &Client,
    cast: &Cast,
    table: &str,
    label: &str,
    wrong: &mut Vec<String>,
) -> Result<(), String> {
    let sql = format!("CREATE TABLE public.made AS SELECT {} AS c FROM {table} WHERE false", cast.expr("c"));
    rows(client, &sql).await?;
    let theirs = column_of(client, "public.made").await;
    if theirs[1].as_deref() != Some(cast.to().name.as_str()) {
        wrong.push(format!("{label}: the expression has type {:?}", theirs[5]));
    }
    rows(client, "DROP TABLE public.made").await.map(drop)
}

/// Order and difference survive, where claimed.
async fn check_order(
    client: &Client,
    cast: &Cast,
    table: &str,
    bad: &str,
    label: &str,
    wrong: &mut Vec<String>,
) -> Result<(), String> {
    // OFFSET 0: bad rows must be gone before the expression runs (MATERIALIZED is PG 12's word).
    let sql = format!(
        "WITH good AS (SELECT c FROM {table} WHERE c IS NOT NULL AND NOT ({bad}) OFFSET 0), \
         m AS (SELECT c, {} AS x FROM good OFFSET 0) \
         SELECT count(*) FILTER (WHERE a.c < b.c AND NOT a.x < b.x), \
         count(*) FILTER (WHERE a.c <> b.c AND a.x = b.x) FROM m AS a, m AS b",
        cast.expr("c")
    );
    let found = rows(client, &sql).await?.remove(0);
    if cast.order_preserving && found[0].as_deref() != Some("0") {
        wrong.push(format!("{label}: order is lost {found:?}"));
    }
    if cast.injective && found[1].as_deref() != Some("0") {
        wrong.push(format!("{label}: different values become equal {found:?}"));
    }
    Ok(())
}

/// The old value from the result `x`, by another way than the rules where there is one.
fn way_back(cast: &Cast, context: &Context<'_>) -> String {
    let string = |ty: &ColumnType| ["text", "varchar", "bpchar", "name"].iter().any(|name| ty.is(name));
    let (from, to) = (cast.from(), cast.to());
    let numeric = to.is("numeric") || to.name.as_str() == "price";
    match inverse(cast, context) {
        // The spelling with fewer zeros after the point is the same number.
        _ if string(from) && numeric => "CASE WHEN CAST(CAST(c AS text) AS numeric) = x THEN c END".to_owned(),
        _ if from.is("date") && to.is("timestamptz") => format!("CAST((x AT TIME ZONE '{}') AS date)", context.zone),
        Some(back) if !string(to) => back.expr("x"),
        None if to.kind == TypeKind::Array => format!("CAST(x AS {})", from.sql),
        _ => format!("CAST(CAST(x AS text) AS {})", from.sql),
    }
}
