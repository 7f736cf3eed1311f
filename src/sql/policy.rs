//! CREATE POLICY and row security, and which names stand in a policy.

use std::collections::{BTreeMap, BTreeSet};

use crate::catalog::{Ident, PolicyDef, QualifiedName};
use crate::projection::Projection;
use crate::sql::rewrite::{columns, substitute};
use crate::sql::token::{Token, TokenError, tokens};
use crate::sql::trigger::loosely;
use crate::sql::{ident, name};

/// What a column of the target stands for that has no column of the source by itself.
const OF_NOTHING: &str = "?";

/// `CREATE POLICY`.
pub fn create(table: &QualifiedName, policy: &Ident, def: &PolicyDef) -> String {
    let kind = if def.restrictive { "RESTRICTIVE" } else { "PERMISSIVE" };
    let roles = def.roles.iter().map(ident).collect::<Vec<_>>().join(", ");
    let to = if roles.is_empty() { "PUBLIC" } else { &roles };
    let mut sql =
        format!("CREATE POLICY {} ON {} AS {kind} FOR {} TO {to}", ident(policy), name(table), def.command.word());
    for (word, text) in [("USING", &def.using), ("WITH CHECK", &def.check)] {
        if let Some(text) = text {
            sql.push_str(&format!(" {word} ({text})"));
        }
    }
    sql
}

/// `DROP POLICY`.
pub fn drop_policy(table: &QualifiedName, policy: &Ident) -> String {
    format!("DROP POLICY {} ON {}", ident(policy), name(table))
}

/// `ALTER TABLE … ENABLE ROW LEVEL SECURITY`.
pub fn enable(table: &QualifiedName) -> String {
    format!("ALTER TABLE {} ENABLE ROW LEVEL SECURITY", name(table))
}

/// `ALTER TABLE … FORCE ROW LEVEL SECURITY`: for the owner too, once it is enabled.
pub fn force(table: &QualifiedName) -> String {
    format!("ALTER TABLE {} FORCE ROW LEVEL SECURITY", name(table))
}

/// `ALTER TABLE … DISABLE ROW LEVEL SECURITY`.
pub fn disable(table: &QualifiedName) -> String {
    format!("ALTER TABLE {} DISABLE ROW LEVEL SECURITY", name(table))
}

/// `ALTER TABLE … NO FORCE ROW LEVEL SECURITY`.
pub fn no_force(table: &QualifiedName) -> String {
    format!("ALTER TABLE {} NO FORCE ROW LEVEL SECURITY", name(table))
}

/// True when the text has a query that names could come from: every other name in it is one of the table's own columns.
pub fn has_query(text: &str) -> Result<bool, TokenError> {
    let list = tokens(text)?;
    let word = |at: usize| list.get(at).and_then(Token::word);
    for (at, token) in list.iter().enumerate() {
        // `( VALUES …)` and `( WITH …)`.
        if token.is("(") && matches!(word(at + 1), Some("values" | "with" | "table")) {
            return Ok(true);
        }
        if token.word() != Some("select") {
            continue;
        }
        let mut depth = 1_usize;
        for inside in &list[at + 1..] {
            depth = if inside.is("(") { depth + 1 } else { depth - usize::from(inside.is(")")) };
            if depth == 0 {
                break;
            }
            if matches!(inside.word(), Some("from" | "union" | "intersect" | "except")) {
                return Ok(true);
            }
        }
    }
    Ok(false)
}

/// True when the text reads whole rows of the table: no column of them is named.
pub fn has_row(text: &str) -> Result<bool, TokenError> {
    let list = tokens(text)?;
    Ok(list.windows(2).any(|pair| pair[0].is(".") && pair[1].is("*")))
}

/// A policy of the target with the names of the source's columns, each of which has the values of the target's alone.
pub fn as_on_source<'c>(
    def: &PolicyDef,
    projection: &Projection,
    target_columns: impl Iterator<Item = &'c Ident>,
) -> Result<PolicyDef, TokenError> {
    let computed = |column: &Ident| projection.computed.iter().find(|one| one.target == *column).map(|one| &one.source);
    let of = |column: &Ident| projection.only_read(column).or_else(|| computed(column));
    // A column that only the source has is none of the target's.
    let of_source = projection.source_columns.iter().map(|column| (column.name.clone(), OF_NOTHING.to_owned()));
    let of_target =
        target_columns.map(|column| (column.clone(), of(column).map_or_else(|| OF_NOTHING.to_owned(), ident)));
    let names: BTreeMap<Ident, String> = of_source.chain(of_target).collect();
    with(def, |text| Ok(substitute(text, &projection.target.name, &names)?.sql))
}

/// The policy with each column of its table in quotes.
pub fn quoted<'c>(
    def: &PolicyDef,
    table: &Ident,
    own: impl Iterator<Item = &'c Ident>,
) -> Result<PolicyDef, TokenError> {
    let names = own.map(|column| (column.clone(), column.clone())).collect();
    with(def, |text| Ok(columns(text, table, &names)?.sql))
}

fn with(def: &PolicyDef, change: impl Fn(&str) -> Result<String, TokenError>) -> Result<PolicyDef, TokenError> {
    let using = def.using.as_deref().map(&change).transpose()?;
    let check = def.check.as_deref().map(&change).transpose()?;
    Ok(PolicyDef { using, check, ..def.clone() })
}

/// True when both are the same policy: the second as a server has it that was given the first. It writes brackets, casts and
/// the table's name before columns as it likes.
pub fn is_same(given: &PolicyDef, found: &PolicyDef, table: &Ident) -> bool {
    let roles = |def: &PolicyDef| def.roles.iter().cloned().collect::<BTreeSet<Ident>>();
    let bare = |text: &Option<String>| text.as_deref().map(|text| loosely(&without_table(text, table)?)).transpose();
    let alike = |given: &Option<String>, found: &Option<String>| {
        bare(given).is_ok_and(|given| bare(found).is_ok_and(|found| given == found))
    };
    given.restrictive == found.restrictive
        && given.command == found.command
        && roles(given) == roles(found)
        && alike(&given.using, &found.using)
        && alike(&given.check, &found.check)
}

/// Without `table.` before columns, as it stands inside of a query.
fn without_table(text: &str, table: &Ident) -> Result<String, TokenError> {
    let list = tokens(text)?;
    let is = |at: usize, symbol: &str| list.get(at).is_some_and(|token| token.is(symbol));
    let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
    for (at, token) in list.iter().enumerate() {
        let is_name = token.name() == Some(table.as_str()) && (at == 0 || !is(at - 1, "."));
        // A schema may have the name, too.
        if is_name && is(at + 1, ".") && !is(at + 3, "(") && !is(at + 3, ".") {
            out.push_str(&text[copied..token.start]);
            copied = list[at + 1].end;
        }
    }
    out.push_str(&text[copied..]);
    Ok(out)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::catalog::PolicyCommand;

    fn id(text: &str) -> Ident {
        Ident::new(text).unwrap()
    }

    fn using(text: &str) -> PolicyDef {
        let command = PolicyCommand::All;
        PolicyDef { restrictive: false, command, roles: Vec::new(), using: Some(text.to_owned()), check: None }
    }

    #[test]
    fn every_part_is_written() {
        let table = QualifiedName::new("app", "Do cs").unwrap();
        assert_eq!(
            create(&table, &id("mine;--"), &using("a = b")),
            "CREATE POLICY \"mine;--\" ON \"app\".\"Do cs\" AS PERMISSIVE FOR ALL TO PUBLIC USING (a = b)"
        );
        let def = PolicyDef {
            restrictive: true,
            command: PolicyCommand::Update,
            roles: vec![id("a"), id("b\"c")],
            check: Some("true".to_owned()),
            ..using("a")
        };
        assert_eq!(
            create(&table, &id("p"), &def),
            "CREATE POLICY \"p\" ON \"app\".\"Do cs\" AS RESTRICTIVE FOR UPDATE TO \"a\", \"b\"\"c\" USING (a) WITH CHECK (true)"
        );
    }

    #[test]
    fn queries_that_read_from_somewhere_are_known() {
        for none in [
            "a = 1",
            "(tenant = ( SELECT current_setting('x'::text) AS current_setting))",
            "(\"select\" = 'SELECT a FROM b')",
            "(EXTRACT(year FROM a) = 1 AND ( SELECT app.me() AS me) = b)",
            "(a IS DISTINCT FROM b)",
            "(at > '2020-01-01 00:00:00+00'::timestamp with time zone)",
        ] {
            assert_eq!(has_query(none), Ok(false), "{none}");
        }
        for some in [
            "(a IN ( SELECT b.a FROM app.b))",
            "EXISTS ( SELECT FROM app.b)",
            "( SELECT 1 UNION SELECT 2) = a",
            "a IN ( VALUES (1), (2))",
            "a = ( WITH x AS (SELECT 1) SELECT 1)",
            "a = ( SELECT (EXTRACT(year FROM b)) AS x)",
        ] {
            assert_eq!(has_query(some), Ok(true), "{some}");
        }
    }

    #[test]
    fn whole_rows_are_known() {
        for row in ["(docs.* IS NOT NULL)", "app.f(\"Do cs\".*)"] {
            assert_eq!(has_row(row), Ok(true), "{row}");
        }
        assert_eq!(has_row("((a * 1.5) > 2.) AND (b = '.*')"), Ok(false));
    }

    #[test]
    fn the_same_policy_is_known_and_another_is_not() {
        let docs = id("docs");
        let given = using("((\"owner\")::text = ( SELECT f(\"tenant\") AS f)) AND docs.f(\"owner\")");
        let found = using("((owner = ( SELECT f(docs.tenant) AS f)) AND docs.f(owner))");
        assert!(is_same(&given, &found, &docs));
        assert!(!is_same(&given, &found, &id("other")));
        assert!(!is_same(&given, &PolicyDef { restrictive: true, ..given.clone() }, &docs));
        assert!(!is_same(&given, &PolicyDef { command: PolicyCommand::Select, ..given.clone() }, &docs));
        assert!(!is_same(&given, &PolicyDef { roles: vec![docs.clone()], ..given.clone() }, &docs));
        assert!(!is_same(&given, &PolicyDef { check: given.using.clone(), ..given.clone() }, &docs));
        assert!(!is_same(&given, &PolicyDef { using: None, check: given.using.clone(), ..given.clone() }, &docs));
        assert!(!is_same(&given, &using("\"tenant\" = \"owner\""), &docs));
    }
}
