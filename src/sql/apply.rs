//! Statements that apply one change of the stream. Parameters are values of source columns in text form; casts and
//! expressions run on the target over a typed row of them, the same expressions that COPY runs on the source.
//!
//! Every statement must affect exactly one row (`INSERT 0 1`, `UPDATE 1`, `DELETE 1`, `SELECT 1`); anything else means
//! that the target is not what the stream believes.

use std::collections::BTreeSet;

use crate::catalog::Ident;
use crate::projection::{Filter, Projection, RowIdentity};
use crate::sql::expr::{Frozen, ProjectionError, Value, commas, equals, key_values, position, target_table, values};
use crate::sql::filter::only_belonging;
use crate::sql::part::and_own;
use crate::sql::{ident, name};

/// SQL and what goes into `$1`, `$2`, ….
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Statement {
    /// The text. The type of each parameter is in it (`$1::integer`).
    pub sql: String,
    /// One entry per parameter.
    pub params: Vec<Param>,
}

/// A value of the change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub struct Param {
    /// Tuple of the change.
    pub tuple: Tuple,
    /// Position in `Projection::source_columns`.
    pub column: usize,
}

/// The two tuples of a change.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Tuple {
    /// `N`.
    New,
    /// `K` or `O`.
    Old,
}

/// Which old tuple an UPDATE brought.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum OldTuple {
    /// None: the key did not change.
    None,
    /// `K`: the key columns alone; its other columns are not NULL but unknown.
    Key,
    /// `O`: the whole row (REPLICA IDENTITY FULL).
    Full,
}

/// The shape of an UPDATE: statements are the same for all changes of one shape.
#[derive(Debug, Clone, Copy)]
pub struct UpdateShape<'a> {
    /// Per source column: the new tuple has its value (false: unchanged TOAST).
    pub sent: &'a [bool],
    /// The old tuple.
    pub old: OldTuple,
    /// The key's value differs between the tuples.
    pub key_changed: bool,
}

/// How an UPDATE is applied.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Update {
    /// One statement.
    Statement(Statement),
    /// The key is GENERATED ALWAYS AS IDENTITY, which UPDATE cannot set: first `delete`, then `insert`.
    DeleteInsert {
        /// Removes the old row.
        delete: Statement,
        /// Adds the new one.
        insert: Statement,
    },
    /// A value needs a source column that was not sent: read the row again from the source.
    ReRead,
}

/// A table to apply changes to.
#[derive(Debug, Clone, Copy)]
pub struct Applied<'a> {
    /// The projection.
    pub projection: &'a Projection,
    /// Values of frozen defaults.
    pub frozen: &'a Frozen,
    /// Target columns that are GENERATED ALWAYS AS IDENTITY: UPDATE cannot set them.
    pub identity_always: &'a BTreeSet<Ident>,
}

/// Adds the new tuple.
pub fn insert(applied: Applied<'_>) -> Result<Statement, ProjectionError> {
    let mut params = Params::default();
    let sql = insert_sql(applied, &mut params, &|_| Tuple::New)?;
    Ok(Statement { sql, params: params.0 })
}

fn insert_sql(
    applied: Applied<'_>,
    params: &mut Params,
    tuple: &dyn Fn(usize) -> Tuple,
) -> Result<String, ProjectionError> {
    let values = values(applied.projection, applied.frozen)?;
    let row = params.row(applied.projection, values.iter(), tuple)?;
    Ok(format!(
        "INSERT INTO {} ({}) OVERRIDING SYSTEM VALUE SELECT {} FROM {row}",
        name(&applied.projection.target),
        commas(values.iter().map(|value| ident(value.target))),
        commas(values.iter().map(|value| value.sql.clone())),
    ))
}

/// Removes the row of the old tuple.
pub fn delete(applied: Applied<'_>) -> Result<Statement, ProjectionError> {
    let mut params = Params::default();
    let row = find_row(applied, &mut params, &|_| Tuple::Old, None)?;
    let sql = format!("DELETE FROM {} AS t USING {} WHERE {}", target_table(applied.projection), row.from, row.found);
    Ok(Statement { sql, params: params.0 })
}

/// Sets the columns whose source columns were sent, in the row that the old key (or the old row) names.
pub fn update(applied: Applied<'_>, shape: UpdateShape<'_>) -> Result<Update, ProjectionError> {
    let projection = applied.projection;
    // With the whole old row at hand, an unchanged column has its value there.
    let new = |column: usize| if shape.sent[column] { Tuple::New } else { Tuple::Old };
    let key_tuple = if shape.old == OldTuple::None { Tuple::New } else { Tuple::Old };
    let keyless = projection.identity == RowIdentity::FullRow;
    let key = projection.target_key();

    let all = values(projection, applied.frozen)?;
    let mut set: Vec<Value<'_>> = Vec::new();
    let mut guard: Vec<Value<'_>> = Vec::new();
    for value in all.into_iter().filter(|value| !value.reads.is_empty()) {
        let reads: Result<Vec<usize>, ProjectionError> =
            value.reads.iter().map(|column| position(projection, column)).collect();
        let sent = reads?.into_iter().map(|column| shape.sent[column]).collect::<Vec<_>>();
        if !sent.contains(&true) || (!keyless && !shape.key_changed && key.contains(&value.target)) {
            continue;
        }
        if sent.contains(&false) && shape.old != OldTuple::Full {
            return Ok(Update::ReRead);
        }
        if !applied.identity_always.contains(value.target) {
            set.push(value);
        } else if shape.key_changed && key.contains(&value.target) {
            if shape.sent.contains(&false) && shape.old != OldTuple::Full {
                return Ok(Update::ReRead);
            }
            let mut params = Params::default();
            let sql = insert_sql(applied, &mut params, &new)?;
            return Ok(Update::DeleteInsert { delete: delete(applied)?, insert: Statement { sql, params: params.0 } });
        } else {
            guard.push(value);
        }
    }

    let mut params = Params::default();
    let new_row = params.row(projection, set.iter().chain(&guard), &new)?;
    let old_row = find_row(applied, &mut params, &|_| key_tuple, None)?;
    // An identity column that is not the key changes only by SET … = DEFAULT. It cannot be set here; if it changed, the
    // statement must hit no row and stop the apply rather than pass over it.
    let mut found = old_row.found;
    for (number, value) in guard.iter().enumerate() {
        found += &format!(" AND t.{} = n.v{}", ident(value.target), set.len() + number);
    }
    let new_values = set.iter().chain(&guard).enumerate().map(|(number, value)| format!("{} AS v{number}", value.sql));
    let sql = if set.is_empty() && guard.is_empty() {
        format!("SELECT 1 FROM {} AS t, {} WHERE {found} FOR UPDATE OF t", target_table(projection), old_row.from)
    } else if set.is_empty() {
        format!(
            "SELECT 1 FROM {} AS t, (SELECT {} FROM {new_row}) AS n, {} WHERE {found} FOR UPDATE OF t",
            target_table(projection),
            commas(new_values),
            old_row.from,
        )
    } else {
        format!(
            "UPDATE {} AS t SET {} FROM (SELECT {} FROM {new_row}) AS n, {} WHERE {found}",
            target_table(projection),
            commas(set.iter().enumerate().map(|(number, value)| format!("{} = n.v{number}", ident(value.target)))),
            commas(new_values),
            old_row.from,
        )
    };
    Ok(Update::Statement(Statement { sql, params: params.0 }))
}

/// A row to find in `t`: a FROM item and a condition over it.
pub(crate) struct Found {
    pub(crate) from: String,
    pub(crate) found: String,
}

/// Finds the row of a tuple; with a filter, none for a tuple that does not belong.
pub(crate) fn find_row(
    applied: Applied<'_>,
    params: &mut Params,
    tuple: &dyn Fn(usize) -> Tuple,
    filter: Option<&Filter>,
) -> Result<Found, ProjectionError> {
    let projection = applied.projection;
    let mut row_of = |values: &[Value<'_>]| -> Result<String, ProjectionError> {
        let Some(filter) = filter else { return params.row(projection, values.iter(), tuple) };
        let reads = values.iter().flat_map(|value| value.reads).chain(&filter.reads);
        Ok(only_belonging(filter, &params.row_reading(projection, reads, tuple)?))
    };
    if projection.identity != RowIdentity::FullRow {
        let key = key_values(projection)?;
        let row = row_of(&key)?;
        let items = commas(key.iter().enumerate().map(|(number, value)| format!("{} AS k{number}", value.sql)));
        let equal = key
            .iter()
            .enumerate()
            .map(|(number, value)| format!("t.{} {} o.k{number}", ident(value.target), equals(value.ty)));
        return Ok(Found {
            from: format!("(SELECT {items} FROM {row}) AS o"),
            found: equal.collect::<Vec<_>>().join(" AND ") + &and_own(projection, "t."),
        });
    }
    // Image equality also holds for types without `=` and between NULLs. Frozen values are the same in every row.
    let values: Vec<Value<'_>> =
        values(projection, applied.frozen)?.into_iter().filter(|value| !value.frozen).collect();
    let row = row_of(&values)?;
    let items = commas(values.iter().enumerate().map(|(number, value)| format!("{} AS k{number}", value.sql)));
    let here = commas(values.iter().map(|value| format!("r.{}", ident(value.target))));
    let there = commas((0..values.len()).map(|number| format!("o.k{number}")));
    let narrowed: String = values.iter().enumerate().filter_map(|(number, value)| narrowed(value, number)).collect();
    Ok(Found {
        from: format!(
            "(SELECT r.ctid AS at FROM {} AS r, (SELECT {items} FROM {row}) AS o \
             WHERE ROW({here})::record OPERATOR(pg_catalog.*=) ROW({there})::record{narrowed}{} LIMIT 1) AS f",
            target_table(projection),
            and_own(projection, "r."),
        ),
        found: "t.ctid = f.at".to_owned(),
    })
}

/// What follows from equal images, for types whose `=` holds between equal images: image equality cannot use an index,
/// this can. A NULL of the table always stays in: whether the old row has one too is for the images to say.
fn narrowed(value: &Value<'_>, number: usize) -> Option<String> {
    let collation = match value.ty.name.as_str() {
        _ if !value.ty.is_builtin() => return None,
        "int2" | "int4" | "int8" | "oid" | "uuid" | "date" | "timestamp" | "timestamptz" | "numeric" => "",
        // Explicit, or two collations of two columns could conflict. Any that is deterministic will do.
        "text" | "varchar" => " COLLATE pg_catalog.\"default\"",
        _ => return None,
    };
    let column = ident(value.target);
    Some(format!(" AND (r.{column} OPERATOR(pg_catalog.=) o.k{number}{collation} OR r.{column} IS NULL)"))
}

/// Parameters as they come up.
#[derive(Default)]
pub(crate) struct Params(pub(crate) Vec<Param>);

impl Params {
    /// A subquery with one typed row of the source columns that these values read, under their source names.
    fn row<'a>(
        &mut self,
        projection: &Projection,
        values: impl Iterator<Item = &'a Value<'a>>,
        tuple: &dyn Fn(usize) -> Tuple,
    ) -> Result<String, ProjectionError> {
        self.row_reading(projection, values.flat_map(|value| value.reads), tuple)
    }

    /// The same for columns by name.
    pub(crate) fn row_reading<'a>(
        &mut self,
        projection: &Projection,
        columns: impl Iterator<Item = &'a Ident>,
        tuple: &dyn Fn(usize) -> Tuple,
    ) -> Result<String, ProjectionError> {
        let read: Result<BTreeSet<usize>, ProjectionError> =
            columns.map(|column| position(projection, column)).collect();
        let items = read?.into_iter().map(|column| {
            self.0.push(Param { tuple: tuple(column), column });
            let source = &projection.source_columns[column];
            format!("${}::{} AS {}", self.0.len(), source.ty.sql, ident(&source.name))
        });
        Ok(format!("(SELECT {}) AS s", commas(items)))
    }
}
