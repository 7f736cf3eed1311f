//! From an endpoint to connection settings: reads the service file, the password's source and the environment.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use crate::config::endpoint::{Endpoint, SSLMODE_CHOICES, default_sslmode};
use crate::config::environment::{Environment, NotText};
use crate::config::password::{self, PasswordError};
use crate::config::pgpass::NOT_OWNER;
use crate::config::service::{self, ServiceError};
use crate::desired::problem::shown;
use crate::pg::conninfo::{Conninfo, RootCert, SslMode, Tls};
use crate::plan::End;

/// Settings that are ready for a connection, and what was odd on the way.
#[derive(Debug)]
pub struct Resolved {
    /// The settings.
    pub conninfo: Conninfo,
    /// Where the password came from, in words; `None` without one.
    pub password_from: Option<String>,
    /// Things left aside, for people: a `.pgpass` that others can read, …
    pub warnings: Vec<String>,
}

/// Why an endpoint gives no connection settings. Never shows a password.
#[derive(Debug, thiserror::Error, miette::Diagnostic)]
pub enum EndpointError {
    /// Neither the file nor the service says it.
    #[error("{end} has no {what}")]
    #[diagnostic(code(pcrd::config::missing))]
    Missing {
        /// The end, as the config names it.
        end: &'static str,
        /// What is missing.
        what: &'static str,
    },
    /// A connection over the network that does not say how it is protected.
    #[error("{end} is reached over the network at `{}` and has no sslmode", shown(host))]
    #[diagnostic(code(pcrd::config::sslmode_missing), help("{}", SSLMODE_CHOICES))]
    SslmodeMissing {
        /// The end, as the config names it.
        end: &'static str,
        /// The host.
        host: String,
    },
    /// TLS settings of file and service that do not go together.
    #[error("{end}: {why}")]
    #[diagnostic(code(pcrd::config::contradiction))]
    Tls {
        /// The end, as the config names it.
        end: &'static str,
        /// What is wrong.
        why: String,
    },
    /// The client key is readable by others or not at all.
    #[error("sslkey {}: {why}", path.display())]
    #[diagnostic(code(pcrd::config::sslkey), help("chmod 0600 {}", path.display()))]
    Key {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        why: String,
    },
    /// The service file.
    #[error(transparent)]
    #[diagnostic(code(pcrd::config::service))]
    Service(#[from] ServiceError),
    /// The password's source.
    #[error("failed to get the password of {end}: {error}")]
    #[diagnostic(code(pcrd::config::password))]
    Password {
        /// The end, as the config names it.
        end: &'static str,
        /// What failed.
        error: PasswordError,
    },
    /// An environment variable.
    #[error(transparent)]
    #[diagnostic(code(pcrd::config::environment))]
    Environment(#[from] NotText),
}

/// The end as the config names it.
pub fn name(end: End) -> &'static str {
    match end {
        End::Source => "source",
        End::Target => "target",
    }
}

impl Endpoint {
    /// Connection settings, from the file and this process' environment. Commands that talk to people use
    /// [`Endpoint::resolve`], which hands out the warnings as well.
    ///
    /// # Errors
    /// What is missing, unreadable or contradictory.
    pub fn conninfo(&self, end: End) -> Result<Conninfo, EndpointError> {
        Ok(self.resolve(end, &Environment::of_process())?.conninfo)
    }

    /// Connection settings in a given environment. May run `password_command`.
    ///
    /// # Errors
    /// What is missing, unreadable or contradictory.
    pub fn resolve(&self, end: End, environment: &Environment) -> Result<Resolved, EndpointError> {
        let own = match end {
            End::Source => "PCRD_SOURCE_PASSWORD",
            End::Target => "PCRD_TARGET_PASSWORD",
        };
        self.resolve_as(name(end), own, environment)
    }

    /// As [`Endpoint::resolve`], for a server that is neither end; `own` is the variable with its password.
    ///
    /// # Errors
    /// What is missing, unreadable or contradictory.
    pub fn resolve_as(
        &self,
        end: &'static str,
        own: &'static str,
        environment: &Environment,
    ) -> Result<Resolved, EndpointError> {
        const PORT: u16 = 5432;
        let mut warnings = Vec::new();
        let mut params = self.params.clone();
        // The service's password ranks below `.pgpass`, so it must not mix with one that the file itself has.
        let in_file = params.password.take();
        if let Some(service) = params.service.clone() {
            params.fill_from(service::look_up(&service, environment, &mut warnings)?);
        }
        let in_service = params.password.take();
        let missing = |what| EndpointError::Missing { end, what };
        let host = params.host.clone().ok_or_else(|| missing("host"))?;
        let database = params.database.clone().ok_or_else(|| missing("database"))?;
        let user = params.user.clone().ok_or_else(|| missing("user"))?;
        let port = params.port.unwrap_or(PORT);
        let mode = params.sslmode.or_else(|| default_sslmode(&host));
        let mode = mode.ok_or_else(|| EndpointError::SslmodeMissing { end, host: host.clone() })?;
        params.sslmode = Some(mode);
        if let Some(wrong) = params.tls_contradictions().into_iter().next() {
            return Err(EndpointError::Tls { end, why: wrong.why });
        }
        if let Some(key) = &params.key {
            check_key(key)?;
        }
        let known = password::Known {
            host: &host,
            port,
            database: &database,
            user: &user,
            in_file,
            in_service,
            passfile: params.passfile.clone(),
        };
        let password = password::find(own, &self.password, known, environment, &mut warnings)
            .map_err(|error| EndpointError::Password { end, error })?;
        let (password, password_from) = password.map_or((None, None), |(secret, from)| (Some(secret), Some(from)));
        let tls = Tls {
            mode,
            root_cert: params.root_cert.or_else(|| default_root_cert(mode, environment)),
            cert: params.cert,
            key: params.key,
            channel_binding: params.channel_binding.unwrap_or(crate::pg::conninfo::ChannelBinding::Prefer),
        };
        let conninfo = Conninfo { host, port, database, user, password, tls, small_segments: false };
        Ok(Resolved { conninfo, password_from, warnings })
    }
}

/// libpq's default: `~/.postgresql/root.crt`, when it is there.
fn default_root_cert(mode: SslMode, environment: &Environment) -> Option<RootCert> {
    match mode {
        SslMode::Disable | SslMode::Prefer => None,
        SslMode::Require | SslMode::VerifyCa | SslMode::VerifyFull => {
            environment.in_home(".postgresql/root.crt").filter(|path| path.exists()).map(RootCert::File)
        }
    }
}

/// libpq's rule: 0600 or less for one's own key, 0640 or less for root's.
fn check_key(path: &Path) -> Result<(), EndpointError> {
    let wrong = |why| EndpointError::Key { path: path.to_owned(), why };
    let metadata = fs::metadata(path).map_err(|error| wrong(error.to_string()))?;
    let forbidden = if metadata.uid() == 0 { 0o037 } else { NOT_OWNER };
    if metadata.mode() & forbidden != 0 {
        return Err(wrong(format!("others can read it (permissions {:04o})", metadata.mode() & 0o7777)));
    }
    Ok(())
}
