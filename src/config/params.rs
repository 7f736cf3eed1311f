//! Connection parameters under libpq's names: what parts, URIs, `key=value` strings and service files all lower to.

use std::fmt;
use std::net::IpAddr;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use crate::desired::problem::{did_you_mean, shown};
use crate::pg::conninfo::{ChannelBinding, RootCert, SslMode};

/// libpq's parameters that pcrd understands.
pub const NAMES: [&str; 12] = [
    "host",
    "port",
    "dbname",
    "user",
    "password",
    "passfile",
    "service",
    "sslmode",
    "sslrootcert",
    "sslcert",
    "sslkey",
    "channel_binding",
];

/// What is known of a connection so far. `Debug` shows no secret.
#[derive(Debug, Clone, Default)]
pub struct Params {
    /// Host name, address, or socket directory.
    pub host: Option<String>,
    /// Port.
    pub port: Option<u16>,
    /// Database.
    pub database: Option<String>,
    /// Role.
    pub user: Option<String>,
    /// Password given with the parameters.
    pub password: Option<SecretString>,
    /// A `.pgpass` file.
    pub passfile: Option<PathBuf>,
    /// A section of the service file.
    pub service: Option<String>,
    /// TLS mode.
    pub sslmode: Option<SslMode>,
    /// Trust anchors.
    pub root_cert: Option<RootCert>,
    /// Client certificate.
    pub cert: Option<PathBuf>,
    /// Its key.
    pub key: Option<PathBuf>,
    /// Channel binding.
    pub channel_binding: Option<ChannelBinding>,
}

/// Why parameters cannot be used. Never repeats a value: it could be a password in the wrong place.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum ParamError {
    /// No such parameter, or one that pcrd would have to ignore.
    #[error("the connection parameter `{name}` is not supported{}", suffix(.help))]
    Unknown {
        /// The parameter.
        name: String,
        /// Did-you-mean.
        help: Option<String>,
    },
    /// Given twice.
    #[error("the connection parameter `{0}` is given twice")]
    Twice(&'static str),
    /// Not a value of this parameter.
    #[error("the connection parameter `{name}` must be {expected}")]
    Bad {
        /// The parameter.
        name: &'static str,
        /// What it takes.
        expected: &'static str,
    },
    /// Not a URI or `key=value` string.
    #[error("{0}")]
    Form(&'static str),
}

impl Params {
    /// `user@host:port/database`, for people; never a password.
    pub fn shown(&self) -> String {
        let text = |part: &Option<String>| part.clone().unwrap_or_default();
        let port = self.port.map_or_else(String::new, |port| format!(":{port}"));
        format!("{}@{}{port}/{}", text(&self.user), text(&self.host), text(&self.database))
    }
}

/// libpq's other parameters: their names may be repeated in a message. Any other word could be a piece of a password.
const REFUSED: [&str; 22] = [
    "hostaddr",
    "connect_timeout",
    "client_encoding",
    "options",
    "application_name",
    "fallback_application_name",
    "keepalives",
    "keepalives_idle",
    "keepalives_interval",
    "keepalives_count",
    "tcp_user_timeout",
    "replication",
    "gssencmode",
    "krbsrvname",
    "requirepeer",
    "require_auth",
    "sslcrl",
    "sslpassword",
    "sslcompression",
    "sslnegotiation",
    "target_session_attrs",
    "load_balance_hosts",
];

/// The parameter of this name.
///
/// # Errors
/// Parameters that pcrd does not understand: it would have to ignore them.
pub fn known_name(name: &str) -> Result<&'static str, ParamError> {
    if let Some(known) = NAMES.into_iter().find(|known| *known == name) {
        return Ok(known);
    }
    let help = did_you_mean(name, &NAMES);
    let repeatable = REFUSED.contains(&name) || help.is_some();
    Err(ParamError::Unknown { name: if repeatable { shown(name) } else { "…".to_owned() }, help })
}

fn suffix(help: &Option<String>) -> String {
    help.as_ref().map(|help| format!(": {help}")).unwrap_or_default()
}

impl Params {
    /// Sets a parameter by libpq's name. Relative paths are relative to `base`.
    ///
    /// # Errors
    /// An unknown parameter, one that is set already, or a value out of range.
    pub fn set(&mut self, name: &str, value: &str, base: &Path) -> Result<(), ParamError> {
        let name = known_name(name)?;
        if value.is_empty() || value.contains('\0') {
            return Err(ParamError::Bad { name, expected: "not empty and without NUL bytes" });
        }
        let path = || base.join(value);
        match name {
            "host" => put(&mut self.host, name, host(value)?),
            "port" => put(&mut self.port, name, port(value)?),
            "dbname" => put(&mut self.database, name, value.to_owned()),
            "user" => put(&mut self.user, name, value.to_owned()),
            "password" => put(&mut self.password, name, SecretString::from(value)),
            "passfile" => put(&mut self.passfile, name, path()),
            "service" => put(&mut self.service, name, value.to_owned()),
            "sslmode" => put(&mut self.sslmode, name, sslmode(value)?),
            "sslrootcert" => put(&mut self.root_cert, name, root_cert(value, base)),
            "sslcert" => put(&mut self.cert, name, path()),
            "sslkey" => put(&mut self.key, name, path()),
            _ => put(&mut self.channel_binding, "channel_binding", channel_binding(value)?),
        }
    }

    /// Fills what is not set from `other`: a service file gives way to what the config says.
    pub fn fill_from(&mut self, other: Self) {
        fn fill<T>(slot: &mut Option<T>, value: Option<T>) {
            if slot.is_none() {
                *slot = value;
            }
        }
        fill(&mut self.host, other.host);
        fill(&mut self.port, other.port);
        fill(&mut self.database, other.database);
        fill(&mut self.user, other.user);
        fill(&mut self.password, other.password);
        fill(&mut self.passfile, other.passfile);
        fill(&mut self.service, other.service);
        fill(&mut self.sslmode, other.sslmode);
        fill(&mut self.root_cert, other.root_cert);
        fill(&mut self.cert, other.cert);
        fill(&mut self.key, other.key);
        fill(&mut self.channel_binding, other.channel_binding);
    }

    /// The pairs of TLS parameters that contradict each other, and why.
    pub fn tls_contradictions(&self) -> Vec<TlsContradiction> {
        let mut found = Vec::new();
        if self.cert.is_some() != self.key.is_some() {
            let (there, missing) = if self.cert.is_some() { ("sslcert", "sslkey") } else { ("sslkey", "sslcert") };
            found.push(TlsContradiction { key: there, why: format!("`{there}` needs `{missing}` beside it") });
        }
        if self.root_cert == Some(RootCert::System) && self.sslmode.is_some_and(|mode| mode != SslMode::VerifyFull) {
            let why = "`sslrootcert: system` trusts every public authority and so needs `sslmode: verify-full`";
            found.push(TlsContradiction { key: "sslrootcert", why: why.to_owned() });
        }
        if self.channel_binding == Some(ChannelBinding::Require) && self.sslmode == Some(SslMode::Disable) {
            let why = "`channel_binding: require` needs TLS, and `sslmode` is `disable`";
            found.push(TlsContradiction { key: "channel_binding", why: why.to_owned() });
        }
        found
    }
}

/// Two TLS parameters that do not go together.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TlsContradiction {
    /// The parameter to point at.
    pub key: &'static str,
    /// What is wrong.
    pub why: String,
}

impl fmt::Display for TlsContradiction {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.why)
    }
}

/// True for sockets and addresses that never leave the machine.
pub fn is_local(host: &str) -> bool {
    host.starts_with('/')
        || host.eq_ignore_ascii_case("localhost")
        || host.parse::<IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
}

fn put<T>(slot: &mut Option<T>, name: &'static str, value: T) -> Result<(), ParamError> {
    if slot.is_some() {
        return Err(ParamError::Twice(name));
    }
    *slot = Some(value);
    Ok(())
}

fn host(value: &str) -> Result<String, ParamError> {
    let bad = |expected| Err(ParamError::Bad { name: "host", expected });
    if value.starts_with('/') {
        return Ok(value.to_owned());
    }
    if value.contains(',') {
        return bad("one host: a migration has one primary at each end");
    }
    if value.contains('@') {
        return bad("a host name; an `@` in a user name or password is written `%40`");
    }
    if value.contains('/') || value.chars().any(|c| c.is_whitespace() || c.is_control()) {
        return bad("a host name, an address, or a socket directory that starts with `/`");
    }
    Ok(value.to_owned())
}

fn port(value: &str) -> Result<u16, ParamError> {
    let digits = value.bytes().all(|byte| byte.is_ascii_digit());
    match value.parse::<u16>() {
        Ok(port) if digits && port > 0 => Ok(port),
        _ => Err(ParamError::Bad { name: "port", expected: "a number between 1 and 65535" }),
    }
}

fn sslmode(value: &str) -> Result<SslMode, ParamError> {
    let expected = "one of disable, prefer, require, verify-ca, verify-full";
    SSLMODES
        .iter()
        .find(|(word, _)| *word == value)
        .map(|(_, mode)| *mode)
        .ok_or(ParamError::Bad { name: "sslmode", expected })
}

/// The words of `sslmode`. libpq's `allow` is left out: it starts in plaintext and upgrades only when refused.
pub const SSLMODES: [(&str, SslMode); 5] = [
    ("disable", SslMode::Disable),
    ("prefer", SslMode::Prefer),
    ("require", SslMode::Require),
    ("verify-ca", SslMode::VerifyCa),
    ("verify-full", SslMode::VerifyFull),
];

/// The words of `channel_binding`.
pub const CHANNEL_BINDINGS: [(&str, ChannelBinding); 3] =
    [("disable", ChannelBinding::Disable), ("prefer", ChannelBinding::Prefer), ("require", ChannelBinding::Require)];

fn channel_binding(value: &str) -> Result<ChannelBinding, ParamError> {
    let expected = "one of disable, prefer, require";
    let found = CHANNEL_BINDINGS.iter().find(|(word, _)| *word == value);
    found.map(|(_, binding)| *binding).ok_or(ParamError::Bad { name: "channel_binding", expected })
}

fn root_cert(value: &str, base: &Path) -> RootCert {
    if value == "system" { RootCert::System } else { RootCert::File(base.join(value)) }
}
