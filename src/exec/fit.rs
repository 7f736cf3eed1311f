//! Tuples of the stream beside the table as the run has it: they may be older than a column, or have one that stays behind.

use super::ExecError;
use super::table::TableTask;
use crate::ledger::added::AddedColumn;
use crate::pg::pgoutput::{ColumnData, Tuple};
use crate::plan::{End, OnDdl};

/// What a tuple lacks, or has too much of, at its end.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Fit {
    keep: Option<usize>,
    /// Texts; `None` is NULL.
    pad: Vec<Option<String>>,
}

impl Fit {
    /// The tuple as the table has it. A row that is older than a column has the value there that the server kept for such
    /// rows when the column came.
    pub fn tuple(&self, tuple: &mut Tuple) {
        let Some(keep) = self.keep else { return };
        if self.pad.is_empty() {
            // What stays behind may be large: it is not kept with the rest.
            *tuple = tuple.iter().take(keep).collect();
            return;
        }
        let pad = self
            .pad
            .iter()
            .map(|text| text.as_ref().map_or(ColumnData::Null, |text| ColumnData::Text(text.as_bytes())));
        *tuple = tuple.iter().take(keep).chain(pad).collect();
    }
}

type Announced = (String, u32, i32);

/// How tuples with these columns fit the table; `None` when they do not.
///
/// # Errors
/// [`ExecError::Reshaped`] when there are columns that this attempt does not know.
pub(super) fn fit(task: &TableTask, found: &[Announced]) -> Result<Option<Fit>, ExecError> {
    let is_followed = |name: &str| task.added.iter().any(|added| added.followed && added.column.name.as_str() == name);
    let n_planned = task.published.iter().take_while(|(name, ..)| !is_followed(name)).count();
    let (planned, followed) = task.published.split_at(n_planned);
    if found.get(..n_planned) != Some(planned) {
        return Ok(None);
    }
    let tail = &found[n_planned..];
    let unknown = |columns: &mut dyn Iterator<Item = &Announced>| -> Vec<String> {
        columns.map(|(name, ..)| name.clone()).collect()
    };
    match task.on_ddl {
        OnDdl::Stop => Ok(None),
        OnDdl::IgnoreAdditive => {
            let is_known = |name: &String| {
                task.added.iter().any(|added| added.column.name.as_str() == name) || task.came_and_went.contains(name)
            };
            match unknown(&mut tail.iter().filter(|(name, ..)| !is_known(name))) {
                new if new.is_empty() => Ok(Some(Fit { keep: Some(n_planned), pad: Vec::new() })),
                new => Err(reshaped(task, new)),
            }
        }
        OnDdl::FollowAdditive => {
            let common = tail.iter().zip(followed).take_while(|(here, there)| here == there).count();
            if common == tail.len() {
                let missing = followed[common..].iter().map(|(name, ..)| missing(&task.added, name));
                return Ok(Some(Fit { keep: Some(found.len()), pad: missing.collect() }));
            }
            if common < followed.len() {
                return Ok(None);
            }
            Err(reshaped(task, unknown(&mut tail[common..].iter())))
        }
    }
}

fn missing(added: &[AddedColumn], name: &str) -> Option<String> {
    added.iter().find(|added| added.column.name.as_str() == name)?.missing.clone()
}

fn reshaped(task: &TableTask, columns: Vec<String>) -> ExecError {
    let list: Vec<String> = columns.iter().map(|name| format!("column {name} is new")).collect();
    ExecError::Reshaped { end: End::Source, table: task.source_name().clone(), columns, difference: list.join(", ") }
}
