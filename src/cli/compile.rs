//! Config, desired schema and catalogs → plan, with errors that point into the files.

use std::collections::BTreeMap;
use std::fmt;

use miette::{Diagnostic, NamedSource, SourceCode};

use crate::catalog::Catalog;
use crate::config::Config;
use crate::desired::{Acceptance, Origin};
use crate::pg::session::PINNED;
use crate::plan::{Input, Plan, Settings, build, check};
use crate::resolve::error::ResolveError;
use crate::resolve::{NotCarried, ResolveOptions, Resolved, resolve};

use super::catalogs::Seen;
use super::desired::{SchemaFile, desired, file_name, normalise};
use super::error::{CommandError, Exit};

/// Everything that keeps a plan from being made, as far as it stands in one file.
#[derive(Debug)]
struct ResolveErrors {
    errors: Vec<ResolveError>,
    source: NamedSource<String>,
    /// Errors of the other file.
    other: Option<Box<ResolveErrors>>,
}

impl fmt::Display for ResolveErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_errors = self.errors.len() + self.other.as_ref().map_or(0, |other| other.errors.len());
        match n_errors {
            1 => write!(f, "no plan can be made: there is an error"),
            n_errors => write!(f, "no plan can be made: there are {n_errors} errors"),
        }
    }
}

impl std::error::Error for ResolveErrors {}

impl Diagnostic for ResolveErrors {
    fn source_code(&self) -> Option<&dyn SourceCode> {
        Some(&self.source)
    }

    fn related<'a>(&'a self) -> Option<Box<dyn Iterator<Item = &'a dyn Diagnostic> + 'a>> {
        let own = self.errors.iter().map(|error| error as &dyn Diagnostic);
        Some(Box::new(own.chain(self.other.iter().map(|other| &**other as &dyn Diagnostic))))
    }
}

/// A desired schema made whole, and the plan that brings it about.
#[derive(Debug)]
pub struct Compiled {
    /// The wanted target.
    pub resolved: Resolved,
    /// The plan.
    pub plan: Plan,
    /// What the user should know and no plan says.
    pub notes: Vec<String>,
}

/// Compiles. On a target that is there, a desired schema in SQL is read by its server, in a transaction that is rolled
/// back; else nothing but the arguments is read.
///
/// # Errors
/// Everything that makes a plan impossible, at once; places in the files where there are some.
pub async fn compile(
    config: &Config,
    source: &Catalog,
    target: &Seen,
    allow: Vec<Acceptance>,
) -> Result<Compiled, CommandError> {
    let wanted = desired(config, source, target).await?;
    if wanted.schema.tables.is_empty() {
        let text = match &wanted.file {
            Some(file) => format!("{} has no table to migrate", file.path),
            None => {
                format!("{} lists no tables under `migrate.tables`, and names no `migrate.schema`", config.file_name)
            }
        };
        return Err(CommandError::new(Exit::Usage, text));
    }
    let name = file_name(&config.file_name);
    let settings = settings(config);
    let options = ResolveOptions {
        zone: settings.session["TimeZone"].clone(),
        config_name: name.clone(),
        config_text: config.text.clone(),
        schema_name: wanted.file.as_ref().map_or_else(String::new, |file| file.name.clone()),
        schema_text: wanted.file.as_ref().map_or_else(String::new, |file| file.text.clone()),
        allow,
    };
    let mut resolved = resolve(&wanted.schema, source, &target.catalog, &options)
        .map_err(|errors| refusal(config, wanted.file.as_ref(), errors))?;
    let why = "the desired schema has it, and pcrd does not build it yet";
    let left = wanted.left.into_iter();
    resolved.not_carried.extend(left.map(|(kind, name)| NotCarried {
        kind: kind.to_owned(),
        name,
        why: why.to_owned(),
    }));
    resolved.not_carried.sort();
    if let Some(client) = &target.client {
        normalise(client, &mut resolved).await?;
    }
    let mut inputs = vec![Input { name, sha256: config.digest.clone() }];
    inputs.extend(wanted.file.map(|file| Input { name: file.name, sha256: file.digest }));
    let plan = build(&resolved, &settings, &inputs).map_err(|error| CommandError::new(Exit::Failed, error))?;
    // What `apply` would refuse is said now, and not after the review.
    check(&plan).map_err(|error| {
        CommandError::new(Exit::Failed, format!("pcrd made a plan that is not sound, which is its own defect: {error}"))
    })?;
    Ok(Compiled { resolved, plan, notes: wanted.notes })
}

fn refusal(config: &Config, file: Option<&SchemaFile>, errors: Vec<ResolveError>) -> CommandError {
    let written = |error: &ResolveError| error.span.is_some() || error.kind.is_acceptance();
    let exit = if errors.iter().any(written) { Exit::Usage } else { Exit::Blocked };
    let (of_config, of_schema): (Vec<ResolveError>, Vec<ResolveError>) =
        errors.into_iter().partition(|error| error.origin == Origin::Config);
    let schema = file.filter(|_| !of_schema.is_empty()).map(|file| ResolveErrors {
        errors: of_schema,
        source: NamedSource::new(&file.path, file.text.clone()).with_language("sql"),
        other: None,
    });
    let source = NamedSource::new(&config.file_name, config.text.clone()).with_language("yaml");
    let all = match schema {
        Some(schema) if of_config.is_empty() => schema,
        schema => ResolveErrors { errors: of_config, source, other: schema.map(Box::new) },
    };
    CommandError::diagnostic(exit, all)
}

fn settings(config: &Config) -> Settings {
    let migrate = &config.migrate;
    let session: BTreeMap<String, String> =
        PINNED.iter().map(|&(name, value)| (name.to_owned(), value.to_owned())).collect();
    Settings {
        slot: migrate.slot.clone(),
        publication: migrate.publication.clone(),
        batch_size: migrate.batch_size,
        batch_size_is_cap: migrate.batch_size_set,
        workers: migrate.workers,
        max_rows_per_second: migrate.max_rows_per_second,
        max_bytes_per_second: migrate.max_bytes_per_second,
        lag_threshold_bytes: migrate.lag_threshold_bytes,
        sequence_buffer: config.cutover.sequence_buffer,
        lag_drain_timeout_s: config.cutover.lag_drain_timeout_s,
        fence_timeout_ms: config.cutover.fence_timeout_ms,
        session,
    }
}
