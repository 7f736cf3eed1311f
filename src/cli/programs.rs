//! Programs of the operator's, and the pooler: a plan file comes from elsewhere, and must not bring its own.

use super::context::Context;
use super::error::{CommandError, Exit};
use crate::config::endpoint::PasswordWish;
use crate::config::{Config, Environment};
use crate::pg::conninfo::Conninfo;
use crate::plan::Plan;

/// The plan runs what the config of this machine names, and nothing else.
///
/// # Errors
/// It does not.
pub fn check_programs(config: &Config, plan: &Plan) -> Result<(), CommandError> {
    if plan.settings.cutover == config.cutover.planned() {
        return Ok(());
    }
    let text = format!(
        "the plan's fence, hooks, pgbouncer or way back are not those of {}: no program runs that the config does not name",
        config.file_name
    );
    Err(CommandError::new(Exit::Stale, text)
        .with_next("pcrd show PLAN shows the plan's; mend the config, or pcrd plan and, in a run, pcrd apply --adopt"))
}

/// How the admin console of the config's pooler is reached.
///
/// # Errors
/// Its settings are incomplete or unreadable.
pub fn pooler(ctx: &Context, config: &Config) -> Result<Option<Conninfo>, CommandError> {
    let Some(pooler) = &config.cutover.pgbouncer else { return Ok(None) };
    let resolved = pooler
        .admin
        .resolve_as("cutover.pgbouncer", "PCRD_PGBOUNCER_PASSWORD", &Environment::of_process())
        .map_err(|error| CommandError::diagnostic(Exit::Usage, error))?;
    for warning in &resolved.warnings {
        ctx.warning(warning);
    }
    Ok(Some(resolved.conninfo))
}

/// How the source is reached as the role of the way back.
///
/// # Errors
/// Its settings are incomplete or unreadable.
pub fn way_back(ctx: &Context, config: &Config) -> Result<Option<Conninfo>, CommandError> {
    let Some(reverse) = &config.cutover.reverse else { return Ok(None) };
    let mut endpoint = config.source.clone();
    endpoint.params.user = Some(reverse.user.as_str().to_owned());
    endpoint.params.password = None;
    endpoint.password = PasswordWish::Unsaid;
    let resolved = endpoint
        .resolve_as("cutover.reverse", "PCRD_REVERSE_PASSWORD", &Environment::of_process())
        .map_err(|error| CommandError::diagnostic(Exit::Usage, error))?;
    for warning in &resolved.warnings {
        ctx.warning(warning);
    }
    Ok(Some(resolved.conninfo))
}
