//! `migrate.tables` and `accept` of the config, lowered to the wanted changes.

use std::collections::BTreeMap;
use std::ops::Range;

use crate::catalog::Ident;
use crate::catalog::name::{NamePart, split_parts};
use crate::desired::document::{Entry, Kind, Node};
use crate::desired::fields::{Fields, Key, Section, ident_of, table_of, text_of, wrong_type};
use crate::desired::glob::{GlobError, TableGlob};
use crate::desired::problem::{Problem, ProblemKind, shown};
use crate::desired::selection::Globbed;
use crate::desired::{Acceptance, AddedColumn, At, ColumnWish, CopyWish, DesiredTable, Order, Origin};

/// Keys of a table.
pub const TABLE: Section = Section {
    path: "migrate.tables[]",
    keys: &[
        Key::new("name"),
        Key::new("target"),
        Key::new("key"),
        Key::new("order"),
        Key::new("optimize_column_order"),
        Key::new("columns"),
        Key::new("add_columns"),
        Key::new("data"),
        Key::new("where"),
        Key::new("copy"),
        Key::new("vacuum"),
        Key::new("partitions"),
    ],
    hints: &[
        ("primary_key", "did you mean `key`?"),
        ("rename", "a table's new name is `target`"),
        ("schema", "write the schema into the name: `name: schema.table`"),
        ("optimise_column_order", "did you mean `optimize_column_order`?"),
        ("drop_columns", "write `columns: { name: { drop: true } }`"),
    ],
};

/// Keys of a column.
pub const COLUMN: Section = Section {
    path: "migrate.tables[].columns.*",
    keys: &[
        Key::new("type"),
        Key::new("rename"),
        Key::new("drop"),
        Key::new("using"),
        Key::new("reverse"),
        Key::new("not_null"),
        Key::new("default"),
    ],
    hints: &[
        ("backfill", "`backfill` is for `add_columns`; a column that exists has `using`"),
        ("name", "the column's name is the key above; a new name is `rename`"),
        ("nullable", "write `not_null: true` or `not_null: false`"),
    ],
};

/// Keys of a new column.
pub const ADDED: Section = Section {
    path: "migrate.tables[].add_columns[]",
    keys: &[Key::new("name"), Key::new("type"), Key::new("default"), Key::new("backfill"), Key::new("not_null")],
    hints: &[
        ("using", "`using` is for `columns`; a new column has `backfill`"),
        ("reverse", "a new column has no way back: it does not exist on the source"),
        ("nullable", "write `not_null: true` or `not_null: false`"),
    ],
};

/// Keys of an accepted finding.
pub const ACCEPT: Section =
    Section { path: "accept[]", keys: &[Key::new("code"), Key::new("address"), Key::new("reason")], hints: &[] };

/// Reads `migrate.tables`: what is said of single tables, and of all that a pattern chooses. What is wrong goes to `problems`;
/// the rest comes back as far as it could be read.
pub fn tables(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> (Vec<DesiredTable>, Vec<Globbed>) {
    let (mut tables, mut globs) = (Vec::new(), Vec::new());
    let items = match fields.entry("tables") {
        Some(Entry { value: node @ Node { kind: Kind::Scalar { .. }, .. }, key }) => {
            Some(At { value: std::slice::from_ref(node), span: key.span.clone() })
        }
        _ => fields.list("tables", problems),
    };
    let Some(list) = items else { return (tables, globs) };
    for node in list.value {
        let place = item_place(node, &list.span);
        if let Kind::Scalar { text, .. } = &node.kind {
            let name = At { value: text.clone(), span: place };
            if TableGlob::is_glob(text) {
                globs.extend(glob_of(name, TableGlob::parse, problems).map(Globbed::new));
            } else {
                tables.extend(table_of(name, problems).map(DesiredTable::as_it_is));
            }
            continue;
        }
        let Some(fields) = Fields::open(node, &TABLE, place, problems) else { continue };
        match fields.entry("name").map(|entry| &entry.value.kind) {
            Some(Kind::Scalar { text, .. }) if TableGlob::is_glob(text) => globs.extend(globbed(&fields, problems)),
            _ => tables.extend(table(&fields, problems)),
        }
    }
    (tables, globs)
}

/// What is said of all tables that a pattern chooses.
fn globbed(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> Option<Globbed> {
    for single in ["key", "columns", "add_columns", "where"] {
        let Some(entry) = fields.entry(single) else { continue };
        let message = format!("`{single}` is about one table, and the name is a pattern");
        let problem = Problem::at(ProblemKind::Contradiction, entry.key.span.clone(), message, "of which table?");
        problems.push(problem.help("give that table an entry of its own; no pattern takes it then"));
    }
    fields.choice("data", &[("copy", Some(())), ("none", None)], problems);
    let glob = glob_of(fields.text("name", problems)?, TableGlob::parse, problems);
    let target_schema = fields.text("target", problems).and_then(|text| target_schema(text, problems));
    Some(Globbed {
        target_schema,
        order: order(fields, problems),
        copy: fields.choice("copy", &CopyWish::WORDS, problems),
        flat: flat(fields, problems),
        vacuum: fields.boolean("vacuum", problems).map(|vacuum| vacuum.value),
        ..Globbed::new(glob?)
    })
}

/// Reads `migrate.exclude`.
pub fn excluded(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> Vec<At<TableGlob>> {
    let texts = fields.text_or_texts("exclude", problems);
    texts.into_iter().filter_map(|text| glob_of(text, TableGlob::parse_everywhere, problems)).collect()
}

fn glob_of(
    text: At<String>,
    parse: fn(&str) -> Result<TableGlob, GlobError>,
    problems: &mut Vec<Problem>,
) -> Option<At<TableGlob>> {
    match parse(&text.value) {
        Ok(value) => Some(At { value, span: text.span }),
        Err(error) => {
            let problem = Problem::at(ProblemKind::BadName, text.span, error.to_string(), "not a usable pattern");
            problems.push(problem.help("write `schema.*`, `schema.prefix_*`, `*.table`, or `*` for every table; `?` is any one character, and what is in double quotes stands for itself"));
            None
        }
    }
}

fn target_schema(text: At<String>, problems: &mut Vec<Problem>) -> Option<At<Ident>> {
    match split_parts(&text.value).as_deref() {
        Ok([schema, NamePart { text: all, quoted: false }])
            if all == "*" && (schema.quoted || !schema.text.contains('*')) =>
        {
            ident_of(At { value: schema.text.clone(), span: text.span }, problems)
        }
        _ => {
            let message = "a pattern's `target` is another schema: `schema.*`";
            problems.push(Problem::at(ProblemKind::BadName, text.span, message, "not `schema.*`"));
            None
        }
    }
}

/// Reads `accept`. Accepting the same finding twice is a problem: one of the reasons would be lost.
pub fn acceptances(list: &At<&[Node]>, problems: &mut Vec<Problem>) -> Vec<At<Acceptance>> {
    let mut accepted: Vec<At<Acceptance>> = Vec::new();
    for node in list.value {
        let span = item_place(node, &list.span);
        let Some(fields) = Fields::open(node, &ACCEPT, span.clone(), problems) else { continue };
        let code = fields.required_text("code", problems);
        let address = fields.required_text("address", problems);
        let reason = fields.required_text("reason", problems);
        let (Some(code), Some(address), Some(reason)) = (code, address, reason) else { continue };
        let twin = accepted.iter().find(|other| other.value.code == code.value && other.value.address == address.value);
        if let Some(twin) = twin {
            let message = format!("`{}` at `{}` is accepted twice", shown(&code.value), shown(&address.value));
            let problem = Problem::at(ProblemKind::Contradiction, span, message, "again");
            problems.push(problem.and(twin.span.clone(), "first here").help("keep one entry with one reason"));
            continue;
        }
        let value = Acceptance { code: code.value, address: address.value, reason: reason.value };
        accepted.push(At { value, span });
    }
    accepted
}

fn item_place(node: &Node, list: &Range<usize>) -> Range<usize> {
    if node.span.is_empty() { list.clone() } else { node.span.clone() }
}

fn table(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> Option<DesiredTable> {
    if fields.entry("name").is_none() {
        fields.missing("name", problems);
    }
    let source = fields.table("name", problems);
    let target = fields.table("target", problems);
    let key = key(fields, problems);
    let order = order(fields, problems);
    fields.choice("data", &[("copy", Some(())), ("none", None)], problems);
    let filter = fields.text("where", problems);
    let copy = fields.choice("copy", &CopyWish::WORDS, problems);
    let vacuum = fields.boolean("vacuum", problems).map(|vacuum| vacuum.value);
    let columns = match fields.entry("columns") {
        Some(entry) => columns(entry, problems),
        None => BTreeMap::new(),
    };
    let add = match fields.list("add_columns", problems) {
        Some(list) => list.value.iter().filter_map(|node| added(node, &list.span, problems)).collect(),
        None => Vec::new(),
    };
    Some(DesiredTable {
        part: None,
        source: source?,
        target,
        key,
        order,
        filter,
        copy,
        vacuum,
        flat: flat(fields, problems),
        columns,
        add,
        origin: Origin::Config,
        by_glob: false,
        whole: None,
    })
}

/// `partitions: none`; `same` is what is done anyway.
fn flat(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> bool {
    let words = [("same", Some(false)), ("none", Some(true))];
    fields.choice("partitions", &words, problems).is_some_and(|flat| flat.value)
}

fn key(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> Option<At<Vec<Ident>>> {
    let list = fields.texts("key", problems)?;
    if list.value.is_empty() {
        // Items that were no text have been reported; an empty list has not.
        if fields.entry("key").is_some_and(|entry| matches!(&entry.value.kind, Kind::List(items) if items.is_empty())) {
            let problem = Problem::at(ProblemKind::BadValue, list.span, "`key` has no columns", "empty");
            problems.push(problem.help("name the columns that identify a row, or remove the line"));
        }
        return None;
    }
    let mut columns: Vec<At<Ident>> = Vec::new();
    for text in list.value {
        let Some(column) = ident_of(text, problems) else { continue };
        if let Some(first) = columns.iter().find(|other| other.value == column.value) {
            let message = format!("the key names `{}` twice", shown(column.value.as_str()));
            let problem = Problem::at(ProblemKind::Contradiction, column.span, message, "again");
            problems.push(problem.and(first.span.clone(), "first here"));
            continue;
        }
        columns.push(column);
    }
    Some(At { value: columns.into_iter().map(|column| column.value).collect(), span: list.span })
}

fn order(fields: &Fields<'_>, problems: &mut Vec<Problem>) -> Order {
    let order = fields.choice("order", &[("keep", Some(Order::Keep)), ("packed", Some(Order::Packed))], problems);
    let optimize = fields.boolean("optimize_column_order", problems);
    let optimized = |on| if on { Order::Packed } else { Order::Keep };
    match (order, optimize) {
        (Some(order), Some(optimize)) => {
            if order.value != optimized(optimize.value) {
                let message = "`order` and `optimize_column_order` contradict each other";
                let problem = Problem::at(ProblemKind::Contradiction, order.span, message, "says one thing");
                let help = "`optimize_column_order: true` is `order: packed`; keep one of the two lines";
                problems.push(problem.and(optimize.span, "says the other").help(help));
            }
            order.value
        }
        (Some(order), None) => order.value,
        (None, Some(optimize)) => optimized(optimize.value),
        (None, None) => Order::default(),
    }
}

fn columns(entry: &Entry, problems: &mut Vec<Problem>) -> BTreeMap<Ident, At<ColumnWish>> {
    let path = "migrate.tables[].columns";
    let Kind::Map(entries) = &entry.value.kind else {
        let problem = wrong_type(entry.place(), path, "a map of columns", entry.value.kind.name());
        problems.push(problem.help("write `columns: { id: { type: bigint } }`"));
        return BTreeMap::new();
    };
    let mut wishes = BTreeMap::new();
    for column in entries {
        let name = ident_of(column.key.clone(), problems);
        let wish = wish(column, problems);
        if let (Some(name), Some(wish)) = (name, wish) {
            wishes.insert(name.value, At { value: wish, span: column.key.span.clone() });
        }
    }
    wishes
}

fn wish(column: &Entry, problems: &mut Vec<Problem>) -> Option<ColumnWish> {
    let name = shown(&column.key.value);
    match &column.value.kind {
        Kind::Null => return Some(ColumnWish::default()),
        Kind::Scalar { text, .. } => {
            let message = format!("what is wanted of column `{name}` must be a map, not a single value");
            let place = column.place();
            let help = format!("write `{name}: {{ type: {} }}`", shown(text));
            problems.push(Problem::at(ProblemKind::WrongType, place, message, "expected a map").help(help));
            return None;
        }
        Kind::List(_) | Kind::Map(_) => {}
    }
    let fields = Fields::open(&column.value, &COLUMN, column.key.span.clone(), problems)?;
    let drop = fields.boolean("drop", problems);
    let wish = ColumnWish {
        ty: fields.text("type", problems),
        rename: fields.ident("rename", problems),
        drop: drop.as_ref().is_some_and(|drop| drop.value),
        using: fields.text("using", problems),
        reverse: fields.text("reverse", problems),
        not_null: fields.boolean("not_null", problems),
        default: fields.text("default", problems),
    };
    if let Some(drop) = drop.filter(|drop| drop.value) {
        for other in ["type", "rename", "using", "reverse", "not_null", "default"] {
            if let Some(entry) = fields.entry(other) {
                let message = format!("column `{name}` is dropped and also has `{other}`");
                let problem = Problem::at(ProblemKind::Contradiction, entry.key.span.clone(), message, "never used");
                problems.push(problem.and(drop.span.clone(), "dropped here").help("remove one of the two lines"));
            }
        }
    } else if wish.reverse.is_some()
        && fields.entry("using").is_none()
        && fields.entry("type").is_none()
        && let Some(reverse) = fields.entry("reverse")
    {
        let message = format!("column `{name}` has `reverse` but nothing to reverse");
        let problem = Problem::at(ProblemKind::Contradiction, reverse.key.span.clone(), message, "the way back");
        problems
            .push(problem.help("`reverse` undoes `using` or a change of `type`; add one of them or remove `reverse`"));
    }
    Some(wish)
}

fn added(node: &Node, list: &Range<usize>, problems: &mut Vec<Problem>) -> Option<At<AddedColumn>> {
    let span = item_place(node, list);
    let fields = Fields::open(node, &ADDED, span.clone(), problems)?;
    for required in ["name", "type"] {
        if fields.entry(required).is_none() {
            fields.missing(required, problems);
        }
    }
    let name = fields.ident("name", problems);
    let ty = fields.text("type", problems);
    // The original takes `default: null` for "no default".
    let default = fields
        .entry("default")
        .filter(|entry| !matches!(entry.value.kind, Kind::Null))
        .and_then(|entry| text_of(entry, &fields.path_of("default"), problems));
    let backfill = fields.text("backfill", problems);
    let not_null = fields.boolean("not_null", problems).is_some_and(|not_null| not_null.value);
    let value = AddedColumn { name: name?, ty: ty?, default, backfill, not_null };
    Some(At { value, span })
}
