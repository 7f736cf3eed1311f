//! What becomes of changes of the target on their way back to the source, table by table.

use serde::Serialize;

use crate::plan::Plan;
use crate::projection::{Back, BackColumn};

/// The way back of all tables.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WayBack {
    /// The role on the source as which changes are written.
    pub user: String,
    /// The tables, in the order of the plan.
    pub tables: Vec<WayOfTable>,
}

/// The way back of one table.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct WayOfTable {
    /// Target table.
    pub from: String,
    /// Source table.
    pub to: String,
    /// One sentence a column, without the columns that go back as they are.
    pub lines: Vec<String>,
    /// Columns that go back as they are.
    pub hidden: usize,
}

/// Puts the way back into words; nothing where it is not asked for.
pub(super) fn way_back(plan: &Plan) -> Option<WayBack> {
    let reverse = plan.settings.cutover.reverse.as_ref()?;
    Some(WayBack { user: reverse.user.to_string(), tables: plan.back.iter().map(of_table).collect() })
}

fn of_table(way: &Back) -> WayOfTable {
    let (same, told): (Vec<_>, Vec<_>) = way.columns.iter().partition(|column| is_same(column));
    let mut lines: Vec<String> = way.irreversible.iter().map(|why| format!("irreversible because {why}")).collect();
    lines.extend(told.into_iter().map(|column| {
        let why = column.irreversible.as_ref().map_or_else(String::new, |why| format!(": irreversible because {why}"));
        format!("{} <- {}{why}", column.column, column.gets)
    }));
    lines.extend(way.stays.iter().map(|column| format!("{column} stays on the target")));
    lines.extend(way.ends.iter().map(|change| format!("{change} ends the way back")));
    if way.projection.is_none() {
        lines.push("the first change of a row ends the way back".to_owned());
    }
    WayOfTable { from: way.from.to_string(), to: way.to.to_string(), lines, hidden: same.len() }
}

fn is_same(column: &BackColumn) -> bool {
    column.gets == format!("{}, as it is", column.column)
}
