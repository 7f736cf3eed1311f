//! Config, desired schema and catalogs → plan, with errors that point into the files.

use std::collections::BTreeMap;
use std::fmt;

use miette::{Diagnostic, NamedSource, SourceCode};

use crate::catalog::{Catalog, QualifiedName};
use crate::config::Config;
use crate::desired::{Acceptance, Origin};
use crate::pg::session::PINNED;
use crate::plan::{FenceKind, Input, Plan, Settings, build, check};
use crate::projection::CopyOrder;
use crate::resolve::error::ResolveError;
use crate::resolve::selection::choose;
use crate::resolve::{NotCarried, ResolveOptions, Resolved, resolve};

use super::catalogs::Seen;
use super::desired::{desired, new_types_of, normalise};
use super::error::{CommandError, Exit};
use super::schema_files::{SchemaFiles, file_name};
use super::views;

/// Everything that keeps a plan from being made, as far as it stands in one file.
#[derive(Debug)]
struct ResolveErrors {
    errors: Vec<ResolveError>,
    source: NamedSource<String>,
    /// Errors of other files.
    others: Vec<Self>,
}

impl fmt::Display for ResolveErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let n_errors = self.errors.len() + self.others.iter().map(|other| other.errors.len()).sum::<usize>();
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
        Some(Box::new(own.chain(self.others.iter().map(|other| other as &dyn Diagnostic))))
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

/// What a plan is made from besides config, schema and catalogs.
#[derive(Debug, Default)]
pub struct Beside {
    /// Findings accepted on the command line.
    pub allow: Vec<Acceptance>,
    /// Orders in which a run that is under way copies its tables, by source and target.
    pub orders: BTreeMap<(QualifiedName, QualifiedName), CopyOrder>,
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
    beside: Beside,
) -> Result<Compiled, CommandError> {
    let mut wanted = desired(config, source, target).await?;
    let chosen = {
        let ignored = wanted.files.iter().flat_map(SchemaFiles::ignored).collect();
        choose(&mut wanted.schema, source, &ignored)
    };
    let chosen = chosen.map_err(|errors| refusal(config, wanted.files.as_ref(), errors))?;
    if wanted.schema.tables.is_empty() {
        let text = match &wanted.files {
            Some(files) => format!("{} has no table to migrate", files.paths()),
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
        schema_lines: wanted.files.as_ref().map_or_else(Vec::new, SchemaFiles::lines),
        allow: beside.allow,
        orders: beside.orders,
        unfenced: Some(config.cutover.fence).filter(|fence| !fence.refuses()).map(FenceKind::word),
        goes_back: config.cutover.reverse.is_some(),
    };
    let mut resolved = resolve(&wanted.schema, source, &target.catalog, &options)
        .map_err(|errors| refusal(config, wanted.files.as_ref(), errors))?;
    let why = "the desired schema has it, and pcrd does not build it yet";
    let left = wanted.left.into_iter();
    resolved.not_carried.extend(left.map(|(kind, name)| NotCarried {
        kind: kind.to_owned(),
        name,
        why: why.to_owned(),
    }));
    if let Some(client) = &target.client {
        normalise(client, &mut resolved).await?;
    }
    let types = new_types_of(&resolved)?;
    let of_views = views::read_by_target(target.client.as_ref(), &mut resolved, &types).await?;
    // A view that goes along, or stays for a better reason, is not left for having no rows.
    let is_known = |left: &NotCarried| {
        let is_same = |one: &NotCarried| one.kind == left.kind && one.name == left.name;
        resolved.views.iter().any(|view| view.source.to_string() == left.name)
            || resolved.not_carried.iter().any(is_same)
    };
    let of_patterns: Vec<NotCarried> = chosen.left.into_iter().filter(|left| !is_known(left)).collect();
    resolved.not_carried.extend(of_patterns);
    resolved.not_carried.sort();
    let mut inputs = vec![Input { name, sha256: config.digest.clone() }];
    inputs.extend(wanted.files.iter().flat_map(SchemaFiles::inputs));
    let notes = [wanted.notes, chosen.notes, of_views, std::mem::take(&mut resolved.notes)].concat();
    // As large as the plan will be.
    drop((wanted.schema, wanted.files));
    let plan = build(&resolved, &settings, &inputs).map_err(|error| CommandError::new(Exit::Failed, error))?;
    // What `apply` would refuse is said now, and not after the review.
    check(&plan).map_err(|error| {
        CommandError::new(Exit::Failed, format!("pcrd made a plan that is not sound, which is its own defect: {error}"))
    })?;
    Ok(Compiled { resolved, plan, notes })
}

/// Errors as the files' own.
pub fn refusal(config: &Config, files: Option<&SchemaFiles>, errors: Vec<ResolveError>) -> CommandError {
    let written = |error: &ResolveError| error.span.is_some() || error.kind.is_acceptance();
    let exit = if errors.iter().any(written) { Exit::Usage } else { Exit::Blocked };
    let mut by_file: BTreeMap<(Origin, usize), Vec<ResolveError>> = BTreeMap::new();
    for mut error in errors {
        let place = match (error.origin, files) {
            (Origin::Schema, Some(files)) => {
                let (_, _, start) = files.file(error.span.as_ref().map_or(0, |span| span.start));
                error.span = error.span.map(|span| span.start - start..span.end - start);
                (Origin::Schema, start)
            }
            _ => (Origin::Config, 0),
        };
        by_file.entry(place).or_default().push(error);
    }
    let places = by_file.into_iter().map(|((origin, start), errors)| {
        let source = match (origin, files) {
            (Origin::Schema, Some(files)) => {
                let (path, text, _) = files.file(start);
                NamedSource::new(path, text.to_owned()).with_language("sql")
            }
            _ => NamedSource::new(&config.file_name, config.text.clone()).with_language("yaml"),
        };
        ResolveErrors { errors, source, others: Vec::new() }
    });
    let mut places = places.collect::<Vec<_>>().into_iter();
    match places.next() {
        Some(first) => CommandError::diagnostic(exit, ResolveErrors { others: places.collect(), ..first }),
        None => CommandError::new(exit, "no plan can be made"),
    }
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
        comparison: config.verify.comparison,
        throttle: migrate.throttle,
        lag_threshold_bytes: migrate.lag_threshold_bytes,
        sequence_buffer: config.cutover.sequence_buffer,
        lag_drain_timeout_s: config.cutover.lag_drain_timeout_s,
        fence_timeout_ms: config.cutover.fence_timeout_ms,
        session,
        on_ddl: migrate.on_ddl,
        cutover: config.cutover.planned(),
    }
}
