//! TLS with libpq's meaning of `sslmode`, on rustls.

use std::fs;
use std::io;
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{CertificateError, ClientConfig, RootCertStore};
use sha2::{Digest, Sha256, Sha384, Sha512};
use x509_cert::der::Decode;
use x509_cert::der::oid::ObjectIdentifier;
use x509_cert::der::oid::db::rfc5912;

use super::conninfo::{RootCert, SslMode, Tls};
use super::verifier::{Check, ServerVerifier};

/// Why there is no encrypted connection.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// The server answered "no" to the request for TLS.
    #[error("the server does not offer TLS, and the connection's `sslmode` demands it")]
    NotOffered,
    /// A Unix socket has no TLS.
    #[error("a Unix socket has no TLS; set `sslmode: disable` for it")]
    UnixSocket,
    /// Settings that contradict each other or are incomplete.
    #[error("{0}")]
    Settings(&'static str),
    /// A file cannot be used.
    #[error("cannot use {}: {reason}", .path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// The server's certificate is for another host.
    #[error("the server's certificate is not valid for the host that was asked for: {0}")]
    WrongHost(String),
    /// The certificate is not signed by a trusted authority.
    #[error("the server's certificate is not signed by an authority in `sslrootcert`")]
    UnknownIssuer,
    /// The certificate is one of an authority (`CA:TRUE`), and not itself in `sslrootcert`.
    #[error(
        "the server's certificate is marked as an authority's (CA:TRUE), which is accepted only if `sslrootcert` holds \
         that very certificate"
    )]
    AuthorityAsServer,
    /// The certificate has expired, or is not valid yet.
    #[error("the server's certificate is not valid at this time: {0}")]
    Expired(String),
    /// A certificate of X.509 version 1, as a plain `openssl x509 -req` makes it.
    #[error(
        "the server's certificate is of X.509 version 1, which is refused; issue it anew with an extension, for \
         instance `openssl x509 -req -extfile <(echo subjectAltName=DNS:HOST)`"
    )]
    VersionOne,
    /// Another failure of the handshake.
    #[error("the TLS handshake failed: {0}")]
    Handshake(String),
}

impl From<&rustls::Error> for TlsError {
    fn from(error: &rustls::Error) -> Self {
        match error {
            rustls::Error::InvalidCertificate(
                CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. },
            ) => Self::WrongHost(error.to_string()),
            rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer) => Self::UnknownIssuer,
            rustls::Error::InvalidCertificate(
                CertificateError::Expired
                | CertificateError::ExpiredContext { .. }
                | CertificateError::NotValidYet
                | CertificateError::NotValidYetContext { .. },
            ) => Self::Expired(error.to_string()),
            // The two kinds of refusal that rustls only has as text.
            rustls::Error::InvalidCertificate(CertificateError::Other(other)) => match other.0.to_string().as_str() {
                "UnsupportedCertVersion" => Self::VersionOne,
                "CaUsedAsEndEntity" => Self::AuthorityAsServer,
                _ => Self::Handshake(error.to_string()),
            },
            other => Self::Handshake(other.to_string()),
        }
    }
}

/// The client side of TLS for these settings; `None` when they ask for none.
///
/// # Errors
/// Files that are missing, unreadable, not PEM, or a key that others can read; contradictions.
pub fn client_config(tls: &Tls) -> Result<Option<ClientConfig>, TlsError> {
    if tls.mode == SslMode::Disable {
        return Ok(None);
    }
    let provider = Arc::new(ring::default_provider());
    let verifier = ServerVerifier::new(check(tls)?, provider.signature_verification_algorithms);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::Handshake(error.to_string()))?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(verifier));
    let config = match (&tls.cert, &tls.key) {
        (None, None) => builder.with_no_client_auth(),
        (Some(cert), Some(key)) => builder
            .with_client_auth_cert(certificates(cert)?, private_key(key)?)
            .map_err(|error| TlsError::File { path: key.clone(), reason: error.to_string() })?,
        _ => return Err(TlsError::Settings("`sslcert` and `sslkey` come together")),
    };
    Ok(Some(config))
}

/// The host as rustls wants it.
pub(super) fn server_name(host: &str) -> Result<ServerName<'static>, TlsError> {
    ServerName::try_from(host.to_owned()).map_err(|_| TlsError::WrongHost(format!("`{host}` is no host name")))
}

/// `tls-server-end-point` of RFC 5929: the certificate's digest by its own signature's hash, MD5 and SHA-1 raised to
/// SHA-256. `None` if the signature has no hash of its own (Ed25519).
pub(super) fn end_point_digest(certificate: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let parsed = x509_cert::Certificate::from_der(certificate).ok()?;
    let sha256: [ObjectIdentifier; 4] = [
        rfc5912::SHA_1_WITH_RSA_ENCRYPTION,
        rfc5912::SHA_256_WITH_RSA_ENCRYPTION,
        rfc5912::ECDSA_WITH_SHA_256,
        rfc5912::MD_5_WITH_RSA_ENCRYPTION,
    ];
    let algorithm = parsed.signature_algorithm.oid;
    if sha256.contains(&algorithm) {
        Some(Sha256::digest(certificate).to_vec())
    } else if [rfc5912::SHA_384_WITH_RSA_ENCRYPTION, rfc5912::ECDSA_WITH_SHA_384].contains(&algorithm) {
        Some(Sha384::digest(certificate).to_vec())
    } else if [rfc5912::SHA_512_WITH_RSA_ENCRYPTION, rfc5912::ECDSA_WITH_SHA_512].contains(&algorithm) {
        Some(Sha512::digest(certificate).to_vec())
    } else {
        None
    }
}

fn check(tls: &Tls) -> Result<Check, TlsError> {
    let full = tls.mode == SslMode::VerifyFull;
    match (&tls.root_cert, tls.mode) {
        (None, SslMode::VerifyCa | SslMode::VerifyFull) => {
            Err(TlsError::Settings("`sslmode: verify-…` needs `sslrootcert`: a PEM file, or `system`"))
        }
        (None, _) => Ok(Check::Nothing),
        // Anybody gets a certificate from a public authority: without the name it proves nothing.
        (Some(RootCert::System), SslMode::VerifyFull) => {
            let loaded = rustls_native_certs::load_native_certs();
            let mut roots = RootCertStore::empty();
            let (usable, _) = roots.add_parsable_certificates(loaded.certs);
            if usable == 0 {
                return Err(TlsError::Settings("the system's certificate store is empty or unreadable"));
            }
            Ok(Check::Chain { roots, pinned: Vec::new(), name: true })
        }
        (Some(RootCert::System), _) => Err(TlsError::Settings("`sslrootcert: system` needs `sslmode: verify-full`")),
        (Some(RootCert::File(path)), _) => {
            let pinned = certificates(path)?;
            let mut roots = RootCertStore::empty();
            // A certificate that is no valid anchor can still be the server's own.
            roots.add_parsable_certificates(pinned.iter().cloned());
            Ok(Check::Chain { roots, pinned, name: full })
        }
    }
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let file = |reason: String| TlsError::File { path: path.to_owned(), reason };
    let pem = fs::read(path).map_err(|error| file(error.to_string()))?;
    let found: Vec<_> = CertificateDer::pem_slice_iter(&pem)
        .collect::<Result<_, _>>()
        .map_err(|error| file(format!("not a PEM file: {error}")))?;
    if found.is_empty() { Err(file("it holds no PEM certificate".to_owned())) } else { Ok(found) }
}

/// libpq's rule: 0600 for one's own key, 0640 for a key of root.
fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, TlsError> {
    let file = |reason: &str| TlsError::File { path: path.to_owned(), reason: reason.to_owned() };
    let io = |error: io::Error| TlsError::File { path: path.to_owned(), reason: error.to_string() };
    let metadata = fs::metadata(path).map_err(io)?;
    let others = if metadata.uid() == 0 { 0o037 } else { 0o077 };
    if metadata.permissions().mode() & others != 0 {
        return Err(file("other users can read the key; `chmod 600` it"));
    }
    let pem = fs::read(path).map_err(io)?;
    if pem.windows(9).any(|window| window == b"ENCRYPTED") {
        return Err(file("the key is encrypted; decrypt it with `openssl pkey`"));
    }
    PrivateKeyDer::from_pem_slice(&pem).map_err(|error| file(&format!("no private key in PEM: {error}")))
}
