//! Whether a server shows as done what the last steps of a cutover do: owners, grants, policies, triggers and what those call.

use std::collections::BTreeSet;

use super::{functions, holdings, table_policies, table_triggers};
use crate::catalog::{GrantTarget, Holdings, OwnerTarget, QualifiedName};
use crate::pg::client::Client;
use crate::plan::policies::{self, Securities};
use crate::plan::triggers::{Functions, Triggers, is_function, is_made};
use crate::plan::{CreatePolicy, CreateTrigger, Op, SetOwner, SetRowSecurity};
use crate::sql;

/// What a server has of these.
#[derive(Debug, Default)]
pub(super) struct Found {
    pub(super) holdings: Holdings,
    /// Of the tables; empty where no step makes any.
    pub(super) triggers: Triggers,
    /// Of the tables; empty where no step is about it.
    pub(super) securities: Securities,
    /// Those that steps make.
    pub(super) functions: Functions,
}

impl Found {
    /// Reads what there is of and on the objects, as far as one of the steps is about it.
    pub(super) async fn read<'o>(
        client: &Client,
        objects: &BTreeSet<GrantTarget>,
        steps: impl Iterator<Item = &'o Op> + Clone,
    ) -> Result<Self, tokio_postgres::Error> {
        let holdings = holdings::read(&**client, objects).await?;
        let triggers = match steps.clone().any(|op| matches!(op, Op::CreateTrigger(_))) {
            true => table_triggers::read(client, objects).await?,
            false => Triggers::new(),
        };
        let securities = match steps.clone().any(|op| matches!(op, Op::CreatePolicy(_) | Op::SetRowSecurity(_))) {
            true => {
                let tables = objects.iter().filter_map(|on| match on {
                    GrantTarget::Table(table) => Some(table),
                    _ => None,
                });
                table_policies::read(client, tables).await?
            }
            false => Securities::new(),
        };
        let made: BTreeSet<&QualifiedName> =
            steps.filter_map(|op| if let Op::CreateFunction(op) = op { Some(&op.name) } else { None }).collect();
        Ok(Self { holdings, triggers, securities, functions: functions::read(client, &made).await? })
    }
}

/// What a step is about.
pub(super) fn on(op: &Op) -> GrantTarget {
    match op {
        Op::CreateFunction(op) => GrantTarget::Schema(op.name.schema.clone()),
        Op::CreateTrigger(op) => GrantTarget::Table(op.table.clone()),
        Op::CreatePolicy(CreatePolicy { table, .. }) | Op::SetRowSecurity(SetRowSecurity { table, .. }) => {
            GrantTarget::Table(table.clone())
        }
        Op::SetOwner(op) => op.on.as_grant_target(),
        Op::Grant(op) => op.on.clone(),
        _ => unreachable!("only these give something"),
    }
}

/// The tables that the step locks against more than their readers.
pub(super) fn locked_tables(op: &Op) -> Vec<String> {
    match op {
        Op::CreateTrigger(CreateTrigger { table, .. })
        | Op::CreatePolicy(CreatePolicy { table, .. })
        | Op::SetRowSecurity(SetRowSecurity { table, .. }) => vec![sql::name(table)],
        Op::SetOwner(SetOwner { on: OwnerTarget::Table(table), partitions, .. }) => {
            [table].into_iter().chain(partitions).map(sql::name).collect()
        }
        _ => Vec::new(),
    }
}

/// True when this is what the step leaves.
pub(super) fn is_so(op: &Op, there: &Found) -> bool {
    match op {
        Op::CreateFunction(op) => return there.functions.get(&op.name).is_some_and(|text| is_function(op, text)),
        Op::CreateTrigger(op) => return is_made(op, &there.triggers),
        Op::CreatePolicy(_) | Op::SetRowSecurity(_) => return policies::is_so(op, &there.securities),
        _ => {}
    }
    let Some(found) = there.holdings.get(&on(op)) else { return false };
    match op {
        Op::SetOwner(op) => found.owner == op.owner,
        Op::Grant(op) => {
            let has = found.granted(op.to.as_ref());
            Some(&found.owner) == op.to.as_ref()
                || (op.rights.iter().all(|right| has.contains_key(right))
                    && op.grantable.iter().all(|right| has.get(right) == Some(&true)))
        }
        _ => true,
    }
}

/// True when the server says that this step of the plan needs nothing, without regard to the ledger.
pub(super) async fn is_done(client: &Client, op: &Op) -> Result<bool, tokio_postgres::Error> {
    let objects = BTreeSet::from([on(op)]);
    Ok(is_so(op, &Found::read(client, &objects, std::iter::once(op)).await?))
}
