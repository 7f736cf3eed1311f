//! Which certificates are accepted: rustls' rules, and three kinds beyond them that libpq takes.
//!
//! A certificate that stands in `sslrootcert` itself (self-signed, `CA:TRUE`, as PostgreSQL's own manual makes it), a
//! certificate with no names but its subject's common name, and, with no check asked for, any.

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{verify_server_cert_signed_by_trust_anchor, verify_server_name};
use rustls::crypto::{WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, RootCertStore, SignatureScheme};
use x509_cert::der::Decode;
use x509_cert::der::asn1::{Ia5StringRef, PrintableStringRef, Utf8StringRef};
use x509_cert::der::oid::db::rfc4519::COMMON_NAME;
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;

/// What is checked.
#[derive(Debug)]
pub(super) enum Check {
    /// Nothing: encryption only.
    Nothing,
    /// The chain, and the name too if `name`.
    Chain {
        roots: RootCertStore,
        /// Accepted as they are.
        pinned: Vec<CertificateDer<'static>>,
        name: bool,
    },
}

/// The verifier.
#[derive(Debug)]
pub(super) struct ServerVerifier {
    check: Check,
    algorithms: WebPkiSupportedAlgorithms,
}

impl ServerVerifier {
    pub(super) fn new(check: Check, algorithms: WebPkiSupportedAlgorithms) -> Self {
        Self { check, algorithms }
    }
}

impl ServerCertVerifier for ServerVerifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server: &ServerName<'_>,
        _ocsp: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        let Check::Chain { roots, pinned, name } = &self.check else {
            return Ok(ServerCertVerified::assertion());
        };
        let parsed = ParsedCertificate::try_from(end_entity)?;
        if pinned.iter().any(|known| known == end_entity) {
            in_validity(end_entity, now)?;
        } else {
            verify_server_cert_signed_by_trust_anchor(&parsed, roots, intermediates, now, self.algorithms.all)?;
        }
        if *name {
            verify_server_name(&parsed, server).or_else(|error| common_name(end_entity, server, error))?;
        }
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, certificate, signed, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signed, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

fn parse(certificate: &CertificateDer<'_>) -> Result<x509_cert::Certificate, Error> {
    x509_cert::Certificate::from_der(certificate).map_err(|_| Error::InvalidCertificate(CertificateError::BadEncoding))
}

fn in_validity(certificate: &CertificateDer<'_>, now: UnixTime) -> Result<(), Error> {
    let validity = parse(certificate)?.tbs_certificate.validity;
    let seconds = |time: x509_cert::time::Time| time.to_unix_duration().as_secs();
    if now.as_secs() < seconds(validity.not_before) {
        return Err(Error::InvalidCertificate(CertificateError::NotValidYet));
    }
    if now.as_secs() > seconds(validity.not_after) {
        return Err(Error::InvalidCertificate(CertificateError::Expired));
    }
    Ok(())
}

/// The common name counts only where the certificate names neither a host nor an address otherwise.
fn common_name(certificate: &CertificateDer<'_>, server: &ServerName<'_>, error: Error) -> Result<(), Error> {
    let tbs = parse(certificate)?.tbs_certificate;
    let bad = |_| Error::InvalidCertificate(CertificateError::BadEncoding);
    if let Some((_, names)) = tbs.get::<SubjectAltName>().map_err(bad)?
        && names.0.iter().any(|name| matches!(name, GeneralName::DnsName(_) | GeneralName::IpAddress(_)))
    {
        return Err(error);
    }
    let host = server.to_str();
    let mut attributes = tbs.subject.0.iter().flat_map(|rdn| rdn.0.iter());
    let matches = attributes.any(|attribute| {
        attribute.oid == COMMON_NAME && text(&attribute.value).is_some_and(|pattern| name_matches(pattern, &host))
    });
    if matches { Ok(()) } else { Err(error) }
}

fn text(value: &x509_cert::der::Any) -> Option<&str> {
    Utf8StringRef::try_from(value)
        .map(|s| s.as_str())
        .or_else(|_| PrintableStringRef::try_from(value).map(|s| s.as_str()))
        .or_else(|_| Ia5StringRef::try_from(value).map(|s| s.as_str()))
        .ok()
}

/// `*.example.com` stands for one label in front of the first dot.
fn name_matches(pattern: &str, host: &str) -> bool {
    match pattern.strip_prefix("*.") {
        Some(domain) => {
            let is_address = host.parse::<std::net::IpAddr>().is_ok();
            !is_address
                && domain.contains('.')
                && host
                    .split_once('.')
                    .is_some_and(|(label, rest)| !label.is_empty() && rest.eq_ignore_ascii_case(domain))
        }
        None => pattern.eq_ignore_ascii_case(host),
    }
}

#[cfg(test)]
mod tests {
    use rustls::crypto::ring;
    use rustls::pki_types::pem::PemObject;

    use super::*;
    use crate::pg::tls::TlsError;

    /// `openssl x509 -req -signkey` without extensions; its key was thrown away.
    const VERSION_ONE: &str = "\
-----BEGIN CERTIFICATE-----
MIIBIzCBywIULuYbrHViqn9yCJ4nOkBBT0tzIN4wCgYIKoZIzj0EAwIwFDESMBAG
A1UEAwwJbG9jYWxob3N0MCAXDTI2MTEyMTA1Mjg1OVoYDzIxMjYxMDI4MDUyODU5
WjAUMRIwEAYDVQQDDAlsb2NhbGhvc3QwWTATBgcqhkjOPQIBBggqhkjOPQMBBwNC
AASOxQilL5gjg21izQ/nK1O2TnYbIpR4BET/ybaji+735kB5FNKgEGpBsyin/Fnj
2d+L9r7iqS+4pLmOHEQrDsz7MAoGCCqGSM49BAMCA0cAMEQCIGQkx7Faux/tZ9DT
zQAk94bO4ZotXng6toIXo/iZjPCEAiBk7rWas93vba3OIBGSqdeWMGAOO75Fn59v
dTg5tnnWHQ==
-----END CERTIFICATE-----
";

    #[test]
    fn a_certificate_of_version_one_is_refused_with_the_remedy() {
        let certificate = CertificateDer::from_pem_slice(VERSION_ONE.as_bytes()).unwrap();
        let check = Check::Chain { roots: RootCertStore::empty(), pinned: vec![certificate.clone()], name: false };
        let verifier = ServerVerifier::new(check, ring::default_provider().signature_verification_algorithms);
        let server = ServerName::try_from("localhost").unwrap();
        let error = verifier.verify_server_cert(&certificate, &[], &server, &[], UnixTime::now()).unwrap_err();
        assert!(matches!(TlsError::from(&error), TlsError::VersionOne), "{error:?}");
    }

    #[test]
    fn a_wildcard_is_one_label() {
        assert!(name_matches("DB.example.com", "db.example.com"));
        assert!(name_matches("*.example.com", "db.example.com"));
        assert!(!name_matches("*.example.com", "a.db.example.com"));
        assert!(!name_matches("*.example.com", "example.com"));
        assert!(!name_matches("*.com", "example.com"));
        assert!(!name_matches("*.0.0.1", "127.0.0.1"));
        assert!(!name_matches("db.example.com.evil", "db.example.com"));
    }
}
