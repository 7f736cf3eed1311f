//! CREATE TRIGGER: the server's own text in parts, with other names of columns, and written again.

use std::collections::BTreeMap;

use crate::catalog::{Firing, Ident, NameError, QualifiedName, TriggerDef, TriggerEvent, TriggerTiming};
use crate::sql::rewrite::skip_type_or_collation;
use crate::sql::token::{Token, TokenError, TokenKind, tokens};
use crate::sql::{ident, literal, name};

/// Before, the word was PROCEDURE.
const FUNCTION_SINCE: u32 = 11;

/// Why a definition is not taken apart.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TriggerError {
    /// It cannot even be read token by token.
    #[error("its definition cannot be read: {0}")]
    Tokens(#[from] TokenError),
    /// A name that is none here.
    #[error("its definition cannot be read: {0}")]
    Name(#[from] NameError),
    /// It goes on otherwise than known forms do.
    #[error("pcrd does not know every part of `{0}`")]
    Unknown(String),
    /// `FROM table`.
    #[error("it is a constraint trigger FROM another table")]
    From,
    /// It needs a column that the target does not have.
    #[error("it needs column {0}, which the target does not have")]
    Dropped(Ident),
}

/// Takes apart what `pg_get_triggerdef` writes with an empty search_path.
pub fn parse(definition: &str) -> Result<TriggerDef, TriggerError> {
    let list = tokens(definition)?;
    Cursor { text: definition, list: &list, at: 0 }.trigger()
}

/// `CREATE TRIGGER`.
pub fn create(table: &QualifiedName, trigger: &Ident, def: &TriggerDef, major: u32) -> String {
    let constraint = if def.constraint.is_some() { "CONSTRAINT " } else { "" };
    let when = if def.before { "BEFORE" } else { "AFTER" };
    let of: Vec<String> = def.columns.iter().map(ident).collect();
    let event = |event: &TriggerEvent| match event {
        TriggerEvent::Update if !of.is_empty() => format!("UPDATE OF {}", of.join(", ")),
        other => other.word().to_owned(),
    };
    let events = def.events.iter().map(event).collect::<Vec<_>>().join(" OR ");
    let mut sql = format!("CREATE {constraint}TRIGGER {} {when} {events} ON {}", ident(trigger), name(table));
    if let Some(timing) = def.constraint {
        sql.push(' ');
        sql.push_str(timing.words());
    }
    if def.old_table.is_some() || def.new_table.is_some() {
        sql.push_str(" REFERENCING");
        for (word, transition) in [("OLD", &def.old_table), ("NEW", &def.new_table)] {
            if let Some(transition) = transition {
                sql.push_str(&format!(" {word} TABLE AS {}", ident(transition)));
            }
        }
    }
    sql.push_str(if def.each_row { " FOR EACH ROW" } else { " FOR EACH STATEMENT" });
    if let Some(condition) = &def.condition {
        sql.push_str(&format!(" WHEN ({condition})"));
    }
    let word = if major >= FUNCTION_SINCE { "FUNCTION" } else { "PROCEDURE" };
    let arguments = def.arguments.iter().map(|text| literal(text)).collect::<Vec<_>>().join(", ");
    sql.push_str(&format!(" EXECUTE {word} {}({arguments})", name(&def.function)));
    sql
}

/// The statement that makes a new trigger fire as that; none for what it does by itself.
pub fn set_firing(table: &QualifiedName, trigger: &Ident, firing: Firing) -> Option<String> {
    let words = firing.words()?;
    Some(format!("ALTER TABLE {} {words} TRIGGER {}", name(table), ident(trigger)))
}

/// `DROP TRIGGER`.
pub fn drop_trigger(table: &QualifiedName, trigger: &Ident) -> String {
    format!("DROP TRIGGER {} ON {}", ident(trigger), name(table))
}

/// With other names of columns. Every column of the table is in `renames`, or is dropped.
///
/// # Errors
/// The first column that is dropped.
pub fn renamed(def: &TriggerDef, renames: &BTreeMap<Ident, Ident>) -> Result<TriggerDef, TriggerError> {
    let new = |column: &Ident| renames.get(column).cloned().ok_or_else(|| TriggerError::Dropped(column.clone()));
    let columns = def.columns.iter().map(new).collect::<Result<_, _>>()?;
    let mut condition = None;
    if let Some(text) = &def.condition {
        let list = tokens(text)?;
        let (mut out, mut copied) = (String::with_capacity(text.len()), 0);
        for place in columns_of_rows(&list) {
            let token = &list[place];
            let Some(column) = token.name().and_then(|name| Ident::new(name).ok()) else { continue };
            out.push_str(&text[copied..token.start]);
            out.push_str(&ident(&new(&column)?));
            copied = token.end;
        }
        out.push_str(&text[copied..]);
        condition = Some(out);
    }
    Ok(TriggerDef { columns, condition, ..def.clone() })
}

/// True when one is the other under other names of columns.
pub fn is_alike_but_for_columns(one: &TriggerDef, other: &TriggerDef) -> bool {
    let bare = |def: &TriggerDef| TriggerDef { columns: Vec::new(), condition: None, ..def.clone() };
    let condition = |def: &TriggerDef| def.condition.as_deref().map(without_columns).transpose();
    bare(one) == bare(other)
        && one.columns.len() == other.columns.len()
        && condition(one).is_ok_and(|one| condition(other).is_ok_and(|other| one == other))
}

/// True when both are the same trigger: the second as a server has it that was given the first. It writes brackets and casts
/// of its own.
pub fn is_same(given: &TriggerDef, found: &TriggerDef) -> bool {
    let bare = |def: &TriggerDef| TriggerDef { condition: None, ..def.clone() };
    let condition = |def: &TriggerDef| def.condition.as_deref().map(loosely).transpose();
    bare(given) == bare(found) && condition(given).is_ok_and(|given| condition(found).is_ok_and(|found| given == found))
}

/// Every token, but for names of columns of OLD and NEW.
fn without_columns(text: &str) -> Result<Vec<String>, TokenError> {
    let list = tokens(text)?;
    let columns = columns_of_rows(&list);
    let shown = |(place, token): (usize, &Token)| match columns.contains(&place) {
        true => "?".to_owned(),
        false => text[token.start..token.end].to_owned(),
    };
    Ok(list.iter().enumerate().map(shown).collect())
}

/// Names and constants in their order, without brackets, quotes and casts.
pub(crate) fn loosely(text: &str) -> Result<Vec<String>, TokenError> {
    let list = tokens(text)?;
    let (mut found, mut at) = (Vec::new(), 0);
    while at < list.len() {
        if list[at].is("::")
            && let Some(after) = skip_type_or_collation(&list, at)
        {
            at = after;
            continue;
        }
        match &list[at].kind {
            TokenKind::Symbol(symbol) if matches!(symbol.as_str(), "(" | ")") => {}
            TokenKind::Word(name) | TokenKind::Quoted(name) => found.push(name.clone()),
            TokenKind::Text(value) => found.push(format!("'{value}")),
            TokenKind::Number | TokenKind::Symbol(_) => found.push(text[list[at].start..list[at].end].to_owned()),
        }
        at += 1;
    }
    Ok(found)
}

/// Where names of columns stand behind OLD and NEW, under which alone a condition reads them.
fn columns_of_rows(list: &[Token]) -> Vec<usize> {
    let is = |at: usize, symbol: &str| list.get(at).is_some_and(|token| token.is(symbol));
    let (mut found, mut at) = (Vec::new(), 0);
    while at < list.len() {
        if let Some(after) = skip_type_or_collation(list, at) {
            at = after;
            continue;
        }
        let is_row = matches!(list[at].name(), Some("old" | "new")) && (at == 0 || !is(at - 1, "."));
        let is_column = is_row && is(at + 1, ".") && list.get(at + 2).is_some_and(|token| token.name().is_some());
        // A schema may have the name, too.
        if is_column && !is(at + 3, "(") {
            found.push(at + 2);
        }
        at += if is_column { 3 } else { 1 };
    }
    found
}

struct Cursor<'t> {
    text: &'t str,
    list: &'t [Token],
    at: usize,
}

impl Cursor<'_> {
    fn trigger(mut self) -> Result<TriggerDef, TriggerError> {
        self.expect("create")?;
        let is_constraint = self.word("constraint");
        self.expect("trigger")?;
        self.name()?;
        let before = self.word("before");
        if !before {
            self.expect("after")?;
        }
        let (mut events, mut columns) = (Vec::new(), Vec::new());
        loop {
            let all = [TriggerEvent::Insert, TriggerEvent::Delete, TriggerEvent::Update, TriggerEvent::Truncate];
            let event = all.into_iter().find(|event| self.word(&event.word().to_ascii_lowercase()));
            events.push(event.ok_or_else(|| self.unknown())?);
            if event == Some(TriggerEvent::Update) && self.word("of") {
                columns.push(self.name()?);
                while self.symbol(",") {
                    columns.push(self.name()?);
                }
            }
            if !self.word("or") {
                break;
            }
        }
        self.expect("on")?;
        self.qualified()?;
        if self.word("from") {
            return Err(TriggerError::From);
        }
        let constraint = if is_constraint { Some(self.timing()?) } else { None };
        let (mut old_table, mut new_table) = (None, None);
        if self.word("referencing") {
            for (word, transition) in [("old", &mut old_table), ("new", &mut new_table)] {
                if self.word(word) {
                    self.expect("table")?;
                    self.expect("as")?;
                    *transition = Some(self.name()?);
                }
            }
        }
        self.expect("for")?;
        self.expect("each")?;
        let each_row = self.word("row");
        if !each_row {
            self.expect("statement")?;
        }
        let condition = if self.word("when") { Some(self.brackets()?) } else { None };
        self.expect("execute")?;
        if !self.word("function") {
            self.expect("procedure")?;
        }
        let function = self.qualified()?;
        let arguments = self.arguments()?;
        if self.at < self.list.len() {
            return Err(self.unknown());
        }
        Ok(TriggerDef {
            before,
            events,
            columns,
            constraint,
            old_table,
            new_table,
            each_row,
            condition,
            function,
            arguments,
        })
    }

    fn timing(&mut self) -> Result<TriggerTiming, TriggerError> {
        let is_not = self.word("not");
        self.expect("deferrable")?;
        self.expect("initially")?;
        let is_deferred = self.word("deferred");
        if !is_deferred {
            self.expect("immediate")?;
        }
        Ok(match (is_not, is_deferred) {
            (true, _) => TriggerTiming::NotDeferrable,
            (false, true) => TriggerTiming::Deferred,
            (false, false) => TriggerTiming::Immediate,
        })
    }

    /// What stands between brackets.
    fn brackets(&mut self) -> Result<String, TriggerError> {
        let open = self.at;
        if !self.symbol("(") {
            return Err(self.unknown());
        }
        let mut depth = 1_usize;
        while depth > 0 {
            let token = self.list.get(self.at).ok_or_else(|| self.unknown())?;
            depth = if token.is("(") { depth + 1 } else { depth - usize::from(token.is(")")) };
            self.at += 1;
        }
        let inside = self.list[open].end..self.list[self.at - 1].start;
        Ok(self.text[inside].trim().to_owned())
    }

    fn arguments(&mut self) -> Result<Vec<String>, TriggerError> {
        let mut found = Vec::new();
        if !self.symbol("(") {
            return Err(self.unknown());
        }
        while !self.symbol(")") {
            if !found.is_empty() && !self.symbol(",") {
                return Err(self.unknown());
            }
            // The server never writes one with escapes.
            match self.list.get(self.at) {
                Some(Token { kind: TokenKind::Text(value), start, .. }) if self.text[*start..].starts_with('\'') => {
                    found.push(value.clone());
                }
                _ => return Err(self.unknown()),
            }
            self.at += 1;
        }
        Ok(found)
    }

    /// Without a schema it is one of PostgreSQL's own.
    fn qualified(&mut self) -> Result<QualifiedName, TriggerError> {
        let first = self.name()?;
        if !self.symbol(".") {
            return Ok(QualifiedName { schema: Ident::new("pg_catalog")?, name: first });
        }
        Ok(QualifiedName { schema: first, name: self.name()? })
    }

    fn name(&mut self) -> Result<Ident, TriggerError> {
        let found = self.list.get(self.at).and_then(Token::name).ok_or_else(|| self.unknown())?;
        let found = Ident::new(found)?;
        self.at += 1;
        Ok(found)
    }

    fn word(&mut self, word: &str) -> bool {
        let is_there = self.list.get(self.at).and_then(Token::word) == Some(word);
        self.at += usize::from(is_there);
        is_there
    }

    fn symbol(&mut self, symbol: &str) -> bool {
        let is_there = self.list.get(self.at).is_some_and(|token| token.is(symbol));
        self.at += usize::from(is_there);
        is_there
    }

    fn expect(&mut self, word: &str) -> Result<(), TriggerError> {
        if self.word(word) { Ok(()) } else { Err(self.unknown()) }
    }

    fn unknown(&self) -> TriggerError {
        TriggerError::Unknown(self.text.to_owned())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names(pairs: &[(&str, &str)]) -> BTreeMap<Ident, Ident> {
        pairs.iter().map(|(old, new)| (Ident::new(*old).unwrap(), Ident::new(*new).unwrap())).collect()
    }

    #[test]
    fn what_the_server_writes_comes_back_with_other_names() {
        let table = QualifiedName::new("n s", "t").unwrap();
        let name = Ident::new("x\"y").unwrap();
        let renames = names(&[("a", "A b"), ("old", "new"), ("A", "a"), ("c", "c")]);
        let again = |text: &str| create(&table, &name, &renamed(&parse(text).unwrap(), &renames).unwrap(), 15);
        for (text, wanted) in [
            (
                "CREATE TRIGGER \"x\"\"y\" BEFORE INSERT OR UPDATE OF a, \"A\" ON s.t FOR EACH ROW \
                 WHEN (((old.a IS DISTINCT FROM new.\"A\") AND (new.old <> ')'::text) AND old.f(new.c))) \
                 EXECUTE FUNCTION s.\"f)\"('it''s', 'a\\b')",
                "CREATE TRIGGER \"x\"\"y\" BEFORE INSERT OR UPDATE OF \"A b\", \"a\" ON \"n s\".\"t\" FOR EACH ROW \
                 WHEN (((old.\"A b\" IS DISTINCT FROM new.\"a\") AND (new.\"new\" <> ')'::text) AND old.f(new.\"c\"))) \
                 EXECUTE FUNCTION \"s\".\"f)\"('it''s', 'a\\b')",
            ),
            (
                "CREATE TRIGGER t AFTER DELETE OR UPDATE ON s.t REFERENCING OLD TABLE AS o NEW TABLE AS \"N\" FOR EACH STATEMENT \
                 EXECUTE PROCEDURE tsvector_update_trigger()",
                "CREATE TRIGGER \"x\"\"y\" AFTER DELETE OR UPDATE ON \"n s\".\"t\" REFERENCING OLD TABLE AS \"o\" NEW TABLE AS \"N\" \
                 FOR EACH STATEMENT EXECUTE FUNCTION \"pg_catalog\".\"tsvector_update_trigger\"()",
            ),
            (
                "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON s.t DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION s.f()",
                "CREATE CONSTRAINT TRIGGER \"x\"\"y\" AFTER INSERT ON \"n s\".\"t\" DEFERRABLE INITIALLY DEFERRED FOR EACH ROW \
                 EXECUTE FUNCTION \"s\".\"f\"()",
            ),
            (
                "CREATE CONSTRAINT TRIGGER t AFTER UPDATE ON s.t NOT DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW \
                 WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION s.f()",
                "CREATE CONSTRAINT TRIGGER \"x\"\"y\" AFTER UPDATE ON \"n s\".\"t\" NOT DEFERRABLE FOR EACH ROW \
                 WHEN ((old.* IS DISTINCT FROM new.*)) EXECUTE FUNCTION \"s\".\"f\"()",
            ),
        ] {
            assert_eq!(again(text), wanted);
        }
    }

    #[test]
    fn what_is_not_known_is_no_trigger() {
        for text in [
            "CREATE TRIGGER t INSTEAD OF INSERT ON s.v FOR EACH ROW EXECUTE FUNCTION s.f()",
            "CREATE TRIGGER t AFTER INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.f(E'x')",
            "CREATE TRIGGER t AFTER INSERT ON s.t FOR EACH ROW EXECUTE FUNCTION s.f() MORE",
            "CREATE TRIGGER t AFTER INSERT ON s.t FOR EACH ROW WHEN ((new.a) EXECUTE FUNCTION s.f()",
        ] {
            assert!(matches!(parse(text), Err(TriggerError::Unknown(_))), "{text}");
        }
        let from = "CREATE CONSTRAINT TRIGGER t AFTER INSERT ON s.t FROM s.u NOT DEFERRABLE INITIALLY IMMEDIATE FOR EACH ROW \
                    EXECUTE FUNCTION s.f()";
        assert_eq!(parse(from), Err(TriggerError::From));
    }

    #[test]
    fn a_dropped_column_is_named() {
        let gone = Err(TriggerError::Dropped(Ident::new("b").unwrap()));
        let renames = names(&[("a", "a")]);
        for text in [
            "CREATE TRIGGER t AFTER UPDATE OF a, b ON s.t FOR EACH ROW EXECUTE FUNCTION s.f()",
            "CREATE TRIGGER t AFTER UPDATE ON s.t FOR EACH ROW WHEN ((new.b > 0)) EXECUTE FUNCTION s.f()",
        ] {
            assert_eq!(renamed(&parse(text).unwrap(), &renames), gone);
        }
    }

    #[test]
    fn the_same_trigger_is_known_and_another_is_not() {
        let with = |when: &str| {
            let text =
                format!("CREATE TRIGGER t AFTER UPDATE ON s.t FOR EACH ROW WHEN ({when}) EXECUTE FUNCTION s.f()");
            parse(&text).unwrap()
        };
        let given = with("((new.\"Note\")::text <> (old.\"Note\")::text)");
        assert!(is_same(&given, &with("(new.\"Note\" <> old.\"Note\")")));
        assert!(!is_same(&given, &with("(new.\"Note\" = old.\"Note\")")));
        assert!(!is_same(&given, &TriggerDef { before: true, ..given.clone() }));
        let renamed = with("((new.remark)::text <> (old.remark)::text)");
        assert!(is_alike_but_for_columns(&given, &renamed) && !is_same(&given, &renamed));
        assert!(!is_alike_but_for_columns(&given, &with("((new.remark)::text = (old.remark)::text)")));
        assert!(!is_alike_but_for_columns(&given, &with("((new.remark)::text <> (old.remark)::text) OR s.f()")));
    }
}
