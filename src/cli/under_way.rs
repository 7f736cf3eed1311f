//! A run that is under way while somebody plans again: what it has made counts as not there, so that the new plan can go on
//! with it.

use std::collections::BTreeMap;

use crate::catalog::{Catalog, Ident, QualifiedName};
use crate::cli::catalogs::Seen;
use crate::cli::context::Context;
use crate::cli::database::{connect, load_config};
use crate::cli::error::{CommandError, Exit};
use crate::cli::executor::{failed, plan_of};
use crate::config::Config;
use crate::ledger::migration::{self, Migration};
use crate::ledger::step::{self, StepState};
use crate::ledger::unreadable;
use crate::pg::client::Client;
use crate::plan::adoption;
use crate::plan::{End, Plan};
use crate::projection::{CopyOrder, RowIdentity};

/// A run that is under way.
#[derive(Debug)]
pub struct UnderWay {
    /// Its row.
    pub found: Migration,
    /// Its plan. Without it, in another directory than the run's, there is nothing to compare with.
    pub before: Option<Plan>,
    /// Source tables of which the stream has what it cannot read, with the reason.
    pub unreadable: BTreeMap<QualifiedName, String>,
}

impl UnderWay {
    /// The order in which it copies the rows of each table, by source and target.
    pub fn orders(&self) -> BTreeMap<(QualifiedName, QualifiedName), CopyOrder> {
        let projections = self.before.iter().flat_map(|plan| &plan.projections);
        projections
            .filter_map(|projection| match &projection.identity {
                RowIdentity::OrderedKey { copy, .. } => {
                    Some(((projection.source.clone(), projection.target.clone()), copy.clone()))
                }
                RowIdentity::Key { .. } | RowIdentity::FullRow => None,
            })
            .collect()
    }
}

/// The plan of the run that `apply --adopt` goes on with; the new one itself when it has the run already.
///
/// # Errors
/// No run is under way, or its plan is not in the journal.
pub async fn plan_under_way(ctx: &Context, plan: &Plan) -> Result<Plan, CommandError> {
    let config = load_config(ctx)?;
    let ledger = connect(ctx, &config, End::Target, "command").await?;
    let slot = plan.settings.slot.as_str();
    let running = if migration::exists(&ledger).await.map_err(failed)? {
        migration::list(&ledger).await.map_err(failed)?.into_iter().filter(|found| found.state == "running").collect()
    } else {
        Vec::new()
    };
    let targets = plan.targets();
    let server = &plan.source.server;
    let is_of_source = |found: &Migration| {
        found.source_system == server.system_identifier && found.source_database_oid == server.database_oid
    };
    // A slot of this name on another source has nothing to do with it; whose tables these are, the run must be compared with.
    let is_ours = |found: &&Migration| {
        found.slot == slot && is_of_source(found) || found.tables.iter().any(|table| targets.contains(&table))
    };
    let Some(found) = running.iter().find(|found| found.id == plan.id.0).or(running.iter().find(is_ours)) else {
        let text = "--adopt: no run with this plan's tables or slot is under way on this target";
        return Err(
            CommandError::new(Exit::Blocked, text).with_next("pcrd status; pcrd apply without --adopt begins one")
        );
    };
    if found.id == plan.id.0 { Ok(plan.clone()) } else { plan_of(ctx, &config, &found.id) }
}

/// Takes what a run has made out of the target's catalog, and gives the run: none is under way, or this role may not know.
pub async fn hide(ctx: &Context, config: &Config, source: &Catalog, target: &mut Seen) -> Option<UnderWay> {
    let client = target.client.as_ref()?;
    let (found, made) = made(config, source, client).await?;
    let before = plan_of(ctx, config, &found.id).ok();
    let reasons = unreadable::in_force(client, &found.id).await.unwrap_or_default().into_iter();
    let unreadable = reasons.map(|(table, why)| (table, unreadable::reason(&why))).collect();
    let catalog = &mut target.catalog;
    for table in &made.tables {
        catalog.tables.remove(table);
        catalog.views.remove(table);
    }
    // Its partitions go with a table, at every level.
    let mut gone = made.tables.clone();
    while let Some(parent) = gone.pop() {
        let partitions =
            catalog.tables.iter().filter(|(_, one)| one.partition_bound.is_some() && one.parents.contains(&parent));
        let partitions: Vec<QualifiedName> = partitions.map(|(name, _)| name.clone()).collect();
        for partition in partitions {
            catalog.tables.remove(&partition);
            gone.push(partition);
        }
    }
    catalog.sequences.retain(|name, sequence| {
        let of_table = sequence.owned_by.as_ref().is_some_and(|at| made.tables.contains(&at.table));
        !made.sequences.contains(name) && !of_table
    });
    catalog.schemas.retain(|schema| !made.schemas.contains(schema));
    // One that the source has otherwise by now would not be made so again: it counts as the target's, and is compared.
    let planned = before.as_ref().map(|plan| &plan.source.types);
    catalog.types.retain(|name, there| {
        let as_made = planned.map_or(Some(&*there), |planned| planned.get(name));
        let is_as_made =
            as_made.zip(source.types.get(name)).is_some_and(|(made, here)| made == here || made.is_alike(here));
        !made.types.contains(name) || !is_as_made
    });
    Some(UnderWay { found, before, unreadable })
}

#[derive(Debug, Default)]
struct Made {
    tables: Vec<QualifiedName>,
    sequences: Vec<QualifiedName>,
    schemas: Vec<Ident>,
    types: Vec<QualifiedName>,
}

/// Whoever may not read the ledger plans as if there were none: `apply` will say what stands in the way.
async fn made(config: &Config, source: &Catalog, client: &Client) -> Option<(Migration, Made)> {
    if !migration::exists(client).await.ok()? {
        return None;
    }
    let found = migration::list(client).await.ok()?.into_iter().find(|found| {
        found.state == "running"
            && found.slot == config.migrate.slot.as_str()
            && found.source_system == source.server.system_identifier
            && found.source_database_oid == source.server.database_oid
    })?;
    let mut made = Made::default();
    for (step, state) in step::all(client, &found.id).await.ok()? {
        let Some((kind, name)) = step.split_once(':').filter(|_| state == StepState::Succeeded) else { continue };
        match kind {
            "create_table" | "create_view" => made.tables.extend(name.parse::<QualifiedName>()),
            "create_sequence" => made.sequences.extend(name.parse::<QualifiedName>()),
            "create_type" => made.types.extend(name.parse::<QualifiedName>()),
            "create_schema" => made.schemas.extend(Ident::new(name)),
            _ => {}
        }
    }
    Some((found, made))
}

/// Says what becomes of the run under the new plan; false when the plan cannot go on with it.
pub fn announce(ctx: &Context, under_way: &UnderWay, plan: &Plan) -> bool {
    let id = &under_way.found.id;
    if *id == plan.id.0 {
        ctx.note("this is the plan of the run that is under way");
        if under_way.unreadable.is_empty() {
            return true;
        }
    }
    if let Some(before) = &under_way.before
        && let Err(why) = adoption::check(before, plan)
    {
        ctx.note(&format!("plan {id} is under way, and apply --adopt will refuse to go on with it: {why}"));
        return false;
    }
    ctx.note(&format!("plan {id} is under way: pcrd apply --adopt goes on with its work under this plan"));
    let Some(before) = &under_way.before else { return true };
    let again = adoption::restarted(before, plan, &under_way.unreadable);
    for target in plan.targets() {
        match again.get(target) {
            Some(why) => ctx.note(&format!("{target} would start again: {why}")),
            None => ctx.note(&format!("{target} would keep what is done")),
        }
    }
    true
}
