//! Changes of the target that cannot be made on the source as they were made. No row is removed and added there instead, and
//! none is read again: the columns that the target does not have would lose their values.

use super::ExecError;
use super::table::TableTask;
use crate::catalog::Ident;
use crate::pg::pgoutput::Tuple;
use crate::projection::ColumnValue;
use crate::replay::Lsn;

fn no_way(task: &TableTask, change: &str, why: String, lsn: Lsn) -> ExecError {
    ExecError::NoWayBack { what: format!("{change} of {}", task.source_name()), why, lsn }
}

/// TRUNCATE empties the target's table. Which rows of the source's are its images, and which it never had, no statement
/// can tell: a filter says it of the rows that came, and not of what the target made of them.
pub(super) fn of_truncate(task: &TableTask, lsn: Lsn) -> Result<(), ExecError> {
    if !task.back.is_some_and(|back| back.has_others) {
        return Ok(());
    }
    let why = format!("{} has rows that were left out of the target, and they must stay", task.name);
    Err(no_way(task, "TRUNCATE", why, lsn))
}

/// A value that is made of several columns of which one was not sent. The source does not have it by itself.
pub(super) fn of_unsent(task: &TableTask, new: &Tuple, lsn: Lsn) -> Result<(), ExecError> {
    if task.back.is_none() {
        return Ok(());
    }
    let is_unsent = |name: &Ident| {
        let mut columns = task.projection.source_columns.iter();
        columns.position(|column| &column.name == name).is_some_and(|at| new.is_unsent(at))
    };
    let mixed = task.projection.columns.iter().find_map(|column| match &column.value {
        ColumnValue::Expr { reads, .. } if !reads.iter().all(is_unsent) => {
            reads.iter().find(|read| is_unsent(read)).map(|unsent| (&column.target, unsent))
        }
        ColumnValue::Expr { .. } | ColumnValue::Frozen { .. } => None,
    });
    let why = mixed.map_or_else(
        || "a value was not sent because it did not change".to_owned(),
        |(made, unsent)| {
            format!(
                "{made} is made of {unsent} and of others, and {unsent} is large and was not sent because it did not change; \
                 where the target's table has REPLICA IDENTITY FULL it is"
            )
        },
    );
    Err(no_way(task, "UPDATE of a row", why, lsn))
}

/// Another key of a row whose key is GENERATED ALWAYS on the source, which takes it in new rows only.
pub(super) fn of_key(task: &TableTask, lsn: Lsn) -> ExecError {
    let why = format!("the key of {} is GENERATED ALWAYS, and no UPDATE can set it", task.name);
    no_way(task, "UPDATE of the key", why, lsn)
}
