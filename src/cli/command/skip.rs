//! `pcrd skip`.

use crate::catalog::QualifiedName;
use crate::cli::confirm::confirm;
use crate::cli::context::Context;
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{current, executor_alive, explain, failed, plan_of};
use crate::cli::row_key;
use crate::exec::table::{self, TableTask};
use crate::ledger::migration;
use crate::ledger::skipped::{self, Skipped};
use crate::replay::{KeyValue, Lsn};

/// Arguments of `skip`. The error of a run that a row has stopped prints them.
#[derive(Debug, clap::Args)]
pub struct SkipArgs {
    /// Where the transaction commits on the source, as the error says
    #[arg(long, value_name = "LSN")]
    pub lsn: Lsn,
    /// The target table, as the error says; may be left away where the plan has one
    #[arg(long, value_name = "TABLE")]
    pub table: Option<String>,
    /// The row's key: its text, or a JSON array with the text of each key column
    #[arg(long, value_name = "KEY", allow_hyphen_values = true)]
    pub key: String,
    /// Why the change may be lost; stands in the ledger and in every report
    #[arg(long, value_name = "TEXT")]
    pub reason: String,
    /// Do not ask
    #[arg(short, long)]
    pub yes: bool,
}

/// Records that one change is left out; the next `apply` reads it.
pub async fn run(ctx: &Context, args: &SkipArgs) -> Result<Exit, CommandError> {
    let usage = |text: String| CommandError::new(Exit::Usage, text);
    let reason = args.reason.trim();
    if !reason.chars().any(char::is_alphanumeric) {
        return Err(usage(
            "--reason says nothing: somebody will ask why this row is not what the source has".to_owned(),
        ));
    }
    let key = row_key::read(&args.key).map_err(|why| usage(format!("--key is {why}")))?;
    let (config, ledger, found) = current(ctx).await?;
    if found.state != "running" {
        let text = format!(
            "plan {} is {}: there is no stream to leave a change out of",
            found.id,
            found.state.replace('_', " ")
        );
        return Err(CommandError::new(Exit::Failed, text).with_next("pcrd status"));
    }
    let plan = plan_of(ctx, &config, &found.id)?;
    let tasks = table::tasks(&plan).map_err(explain)?;
    let task = named(&tasks, args.table.as_deref()).map_err(usage)?;
    if !task.is_ordered() {
        let text = format!(
            "{} has no key that pcrd can name a row by: mend what refuses the row on the target, or the row on the source",
            task.name
        );
        return Err(CommandError::new(Exit::Failed, text).with_next("pcrd apply, once it is mended"));
    }
    if key.len() != task.orders.len() {
        let text =
            format!("--key has {} value(s), and the key of {} {} column(s)", key.len(), task.name, task.orders.len());
        return Err(usage(text));
    }
    for (text, &order) in key.iter().zip(&task.orders) {
        KeyValue::parse(order, text).map_err(|error| usage(format!("--key {}: {error}", args.key)))?;
    }
    let question = format!(
        "Leave the change of {}, row ({}), in the transaction that commits at {}, out of the target for good?",
        task.name,
        key.join(", "),
        args.lsn
    );
    if !confirm(ctx, &question, args.yes).await? {
        ctx.note("nothing was done");
        return Ok(Exit::Done);
    }
    // One that an earlier version began lacks the table.
    migration::create_ledger(&ledger).await.map_err(failed)?;
    let entry = Skipped {
        lsn: args.lsn,
        table: task.name.clone(),
        key,
        reason: reason.to_owned(),
        by: by(),
        at: String::new(),
        met_at: None,
    };
    if !skipped::put(&ledger, &found.id, &entry).await.map_err(failed)? {
        let text =
            format!("the stream is past {} (or has not begun): there is nothing to leave out any more", args.lsn);
        return Err(CommandError::new(Exit::Failed, text).with_next("pcrd status"));
    }
    ctx.note("recorded; pcrd apply goes on without this change, and every comparison lists the row with the reason");
    if executor_alive(&ledger, &found).await? {
        ctx.warning("an executor is running: it does not know of this until it is stopped and started again");
    }
    Ok(Exit::Done)
}

/// Who answers for it, for people.
pub(in crate::cli) fn by() -> String {
    let name = |variable: &str| std::env::var(variable).ok().filter(|name| !name.is_empty());
    let user = name("USER").or_else(|| name("LOGNAME")).unwrap_or_else(|| "somebody".to_owned());
    format!("{user}, pid {}", std::process::id())
}

fn named<'t>(tasks: &'t [TableTask], wanted: Option<&str>) -> Result<&'t TableTask, String> {
    let names = || tasks.iter().map(|task| task.name.as_str()).collect::<Vec<_>>().join(", ");
    match (wanted, tasks) {
        (None, [only]) => Ok(only),
        (None, _) => Err(format!("--table is missing: the plan has several, {}", names())),
        (Some(wanted), _) => {
            let name =
                QualifiedName::parse_or_public(wanted).map_or_else(|_| wanted.to_owned(), |name| name.to_string());
            let found = tasks.iter().find(|task| task.name == name);
            found.ok_or_else(|| format!("the plan has no table {wanted}; its tables are {}", names()))
        }
    }
}
