//! Files of certificates of authorities, PEM.

use std::path::Path;

use cim_runtime::config::ConfigError;
use tokio_rustls::rustls::RootCertStore;
use tokio_rustls::rustls::pki_types::CertificateDer;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;

/// Reads a file of at least one certificate.
///
/// # Errors
/// The file cannot be read, holds none, or one that is none of an authority.
pub fn read(path: &Path) -> Result<Vec<CertificateDer<'static>>, ConfigError> {
    let pem = std::fs::read(path)
        .map_err(|source| ConfigError::Authorities { path: path.into(), source })?;
    let refuse = |message: String| ConfigError::NoAuthorities { path: path.into(), message };
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| refuse(error.to_string()))?;
    if found.is_empty() {
        return Err(refuse("it has no `-----BEGIN CERTIFICATE-----`".into()));
    }
    let mut roots = RootCertStore::empty();
    for certificate in &found {
        roots.add(certificate.clone()).map_err(|error| refuse(error.to_string()))?;
    }
    Ok(found)
}

/// Returns those that the system trusts.
pub fn system() -> Vec<CertificateDer<'static>> {
    let mut roots = RootCertStore::empty();
    let mut found = rustls_native_certs::load_native_certs().certs;
    // One broken certificate of the system's must not make the others useless.
    found.retain(|certificate| {
        let added = roots.add(certificate.clone());
        added
            .inspect_err(|e| tracing::debug!("a certificate of the system's is left out: {e}"))
            .is_ok()
    });
    found
}

#[cfg(test)]
mod tests {
    use cim_runtime::error::chain;

    use super::*;

    #[test]
    fn a_file_without_a_certificate_is_none() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("ca.pem");
        let error =
            || chain(&read(&path).unwrap_err()).replace(&path.display().to_string(), "FILE");
        let mut errors = vec![error()];
        for text in
            ["", "hello\n", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n"]
        {
            std::fs::write(&path, text).unwrap();
            errors.push(error());
        }
        insta::assert_snapshot!(errors.join("\n"), @"
        cannot read certificates `FILE`: No such file or directory (os error 2)
        `FILE` holds no certificate that can be trusted: it has no `-----BEGIN CERTIFICATE-----`; `tls_ca` is a PEM file of authorities
        `FILE` holds no certificate that can be trusted: it has no `-----BEGIN CERTIFICATE-----`; `tls_ca` is a PEM file of authorities
        `FILE` holds no certificate that can be trusted: invalid peer certificate: BadEncoding; `tls_ca` is a PEM file of authorities
        ");
        let key = rcgen::KeyPair::generate().unwrap();
        let made = rcgen::CertificateParams::default().self_signed(&key).unwrap();
        std::fs::write(&path, made.pem()).unwrap();
        assert_eq!(read(&path).unwrap(), [made.der().clone()]);
    }
}
