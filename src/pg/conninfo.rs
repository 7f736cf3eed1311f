//! One set of connection settings for SQL, TLS and replication alike.

use std::path::PathBuf;

use secrecy::SecretString;

/// Where a database is and how to get in. `Debug` shows no secret.
#[derive(Debug, Clone)]
pub struct Conninfo {
    /// Host name, address, or socket directory (starts with `/`).
    pub host: String,
    /// Port.
    pub port: u16,
    /// Database.
    pub database: String,
    /// Role.
    pub user: String,
    /// Password, when one was found.
    pub password: Option<SecretString>,
    /// TLS.
    pub tls: Tls,
    /// Who reads does it slowly, and a server on the same machine may not run far ahead.
    pub small_segments: bool,
}

/// TLS settings, with libpq's meaning.
#[derive(Debug, Clone, Default)]
pub struct Tls {
    /// Mode.
    pub mode: SslMode,
    /// `sslrootcert`: a PEM file, or the system's store.
    pub root_cert: Option<RootCert>,
    /// `sslcert`.
    pub cert: Option<PathBuf>,
    /// `sslkey`.
    pub key: Option<PathBuf>,
    /// `channel_binding`.
    pub channel_binding: ChannelBinding,
}

/// `sslmode`. The config decides the default; `Disable` is only for loopback and sockets.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum SslMode {
    /// No TLS.
    #[default]
    Disable,
    /// TLS if the server has it.
    Prefer,
    /// TLS, certificate not checked (unless `sslrootcert` is given: then as `VerifyCa`, as libpq does).
    Require,
    /// TLS, chain checked.
    VerifyCa,
    /// TLS, chain and host name checked.
    VerifyFull,
}

/// Trust anchors.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RootCert {
    /// `sslrootcert=system`.
    System,
    /// A PEM file.
    File(PathBuf),
}

/// `channel_binding`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum ChannelBinding {
    /// Never.
    Disable,
    /// If offered.
    #[default]
    Prefer,
    /// Always.
    Require,
}
