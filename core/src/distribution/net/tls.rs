//! Whom to trust, and what to show: the settings of TLS, one for each host. A host without settings of its own gets the system's certificate authorities.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, SignatureScheme};

use crate::error::{Context, Error, ErrorKind, Result};

/// Files of certificates that are longer are not read.
const MAX_FILE: u64 = 8 << 20;

/// What one host has of its own.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(in crate::distribution) struct Trust {
    /// Certificate authorities beside the system's: files of PEM.
    pub(in crate::distribution) authorities: Vec<PathBuf>,
    /// Certificate and key to show, if the server asks.
    pub(in crate::distribution) client: Option<(PathBuf, PathBuf)>,
    /// Whether any certificate will do.
    pub(in crate::distribution) skip_verify: bool,
}

/// The settings of all hosts of a client. Made on first use, since most of them are never used.
#[derive(Debug, Default)]
pub(in crate::distribution) struct TlsSettings {
    hosts: HashMap<(String, u16), Trust>,
    /// For every host that has none of its own: those that a registry sends its clients to.
    skip_verify: bool,
    made: Mutex<HashMap<(String, u16), Arc<ClientConfig>>>,
}

impl TlsSettings {
    pub(in crate::distribution) fn new(skip_verify: bool) -> TlsSettings {
        TlsSettings { skip_verify, ..TlsSettings::default() }
    }

    /// Gives a host settings of its own.
    pub(in crate::distribution) fn set(&mut self, host: &str, port: u16, trust: Trust) {
        self.hosts.insert((host.to_ascii_lowercase(), port), trust);
    }

    pub(super) fn of(&self, host: &str, port: u16) -> Result<Arc<ClientConfig>> {
        let key = (host.to_ascii_lowercase(), port);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(config) = made.get(&key) {
            return Ok(Arc::clone(config));
        }
        let trust = match self.hosts.get(&key) {
            Some(trust) => trust.clone(),
            None => Trust { skip_verify: self.skip_verify, ..self.neighbour(&key.0) },
        };
        let config = Arc::new(config_of(&trust)?);
        made.insert(key, Arc::clone(&config));
        Ok(config)
    }

    /// A port that nobody gave settings, of a host that has some: a token server beside its registry has a certificate of the same authority. What is shown,
    /// and that any certificate will do, is for the port that it was said of.
    fn neighbour(&self, host: &str) -> Trust {
        let mut trust = Trust::default();
        for (_, other) in self.hosts.iter().filter(|((name, _), _)| name == host) {
            trust.authorities.extend(other.authorities.iter().cloned());
        }
        trust
    }
}

fn config_of(trust: &Trust) -> Result<ClientConfig> {
    let provider = Arc::new(ring::default_provider());
    let bad = |error: rustls::Error| Error::new(ErrorKind::InvalidArgument, format!("TLS settings: {error}"));
    let builder = ClientConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(bad)?;
    let builder = if trust.skip_verify {
        builder.dangerous().with_custom_certificate_verifier(Arc::new(Anybody(provider)))
    } else {
        builder.with_root_certificates(roots(&trust.authorities)?)
    };
    let mut config = match &trust.client {
        None => builder.with_no_client_auth(),
        Some((certificate, key)) => {
            let chain = certificates(certificate)?;
            let key_der = PrivateKeyDer::from_pem_slice(&read(key)?)
                .map_err(|_| unusable(key, "it holds no private key that can be used"))?;
            builder
                .with_client_auth_cert(chain, key_der)
                .map_err(|error| unusable(certificate, &error.to_string()))?
        }
    };
    // What is spoken is said, so that nobody takes it for something else, or us for somebody who has never heard of ALPN.
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(config)
}

/// The system's authorities and those of the files. Certificates of the system that cannot be read are passed over, as everywhere.
fn roots(files: &[PathBuf]) -> Result<RootCertStore> {
    let mut store = RootCertStore::empty();
    store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    for file in files {
        for certificate in certificates(file)? {
            store.add(certificate).map_err(|error| unusable(file, &error.to_string()))?;
        }
    }
    Ok(store)
}

fn certificates(file: &Path) -> Result<Vec<CertificateDer<'static>>> {
    let bytes = read(file)?;
    let found: Vec<CertificateDer<'static>> = CertificateDer::pem_slice_iter(&bytes)
        .collect::<std::result::Result<_, _>>()
        .map_err(|_| unusable(file, "it is no PEM file of certificates"))?;
    if found.is_empty() {
        return Err(unusable(file, "there is no certificate in it"));
    }
    Ok(found)
}

fn read(file: &Path) -> Result<Vec<u8>> {
    crate::distribution::settings::read_file(file, MAX_FILE)
        .and_then(|bytes| bytes.ok_or_else(|| Error::syscall("open", file, libc::ENOENT)))
        .context(|| "reading certificates".into())
}

fn unusable(file: &Path, why: &str) -> Error {
    Error::new(ErrorKind::InvalidArgument, format!("\"{}\" cannot be used for TLS: {why}", file.display()))
        .with_object(file.display().to_string())
}

/// Accepts every certificate, for hosts that are marked so.
#[derive(Debug)]
struct Anybody(Arc<CryptoProvider>);

impl ServerCertVerifier for Anybody {
    fn verify_server_cert(
        &self,
        _: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        Ok(ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls12_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        verify_tls13_signature(message, certificate, signature, &self.0.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.0.signature_verification_algorithms.supported_schemes()
    }
}
