//! TLS 1.2 and 1.3 (SEC-S1): our certificate, read again when it changes; whom we trust.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use parking_lot::RwLock;
use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, aws_lc_rs, verify_tls12_signature, verify_tls13_signature};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use rustls::{ClientConfig, DigitallySignedStruct, RootCertStore, ServerConfig, SignatureScheme};
use sha2::{Digest as _, Sha256};
use sip::Hop;
use tokio::net::TcpStream;
use tokio_rustls::{TlsAcceptor, TlsConnector};

/// How often the files of the certificate are looked at.
const LOOK: Duration = Duration::from_secs(20);

/// Where the certificate is, in PEM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Certificate {
    /// The certificate, and those that lead to its root.
    pub chain: PathBuf,
    /// Its private key.
    pub key: PathBuf,
}

/// What a peer that we connect to must show.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct TlsPeer {
    /// The name in its certificate (RFC 5922); without one its address.
    pub name: Option<String>,
    /// The SHA-256 of its certificate, which then needs neither name nor root.
    pub pin: Option<[u8; 32]>,
}

/// Why TLS cannot be had.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be used.
    #[error("{path}: {what}")]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        what: String,
    },
    /// The certificate and the key do not belong together, or are of a kind that is not spoken.
    #[error("the certificate of {chain} cannot be used with the key of {key}: {why}")]
    Pair {
        /// The certificate.
        chain: PathBuf,
        /// The key.
        key: PathBuf,
        /// What the library said.
        why: rustls::Error,
    },
    /// Nothing but certificates that a pin names can be trusted.
    #[error("no root certificates: {0}; install ca-certificates or set sip.tls.ca")]
    Roots(String),
    /// The library refuses its own defaults.
    #[error(transparent)]
    Library(#[from] rustls::Error),
}

/// What TLS needs.
pub struct Tls {
    server: Option<TlsAcceptor>,
    held: Option<Arc<Held>>,
    provider: Arc<CryptoProvider>,
    roots: Option<Arc<RootCertStore>>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").finish_non_exhaustive()
    }
}

impl Tls {
    /// Reads the certificate, if there is one, and the roots: those in the file `ca`, or else the system's.
    pub fn new(certificate: Option<Certificate>, ca: Option<&Path>) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let held = match certificate {
            Some(certificate) => Some(Arc::new(Held::read(certificate, &provider)?)),
            None => None,
        };
        let server = match &held {
            Some(held) => {
                let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
                    .with_safe_default_protocol_versions()?
                    .with_no_client_auth()
                    .with_cert_resolver(Arc::clone(held) as Arc<dyn ResolvesServerCert>);
                Some(TlsAcceptor::from(Arc::new(config)))
            }
            None => None,
        };
        let roots = roots(ca)?;
        Ok(Self {
            server,
            held,
            provider,
            roots,
        })
    }

    /// Whether there is a certificate to show.
    pub fn can_listen(&self) -> bool {
        self.server.is_some()
    }

    pub(super) fn reload(&self) -> Result<(), TlsError> {
        self.held
            .as_ref()
            .map_or(Ok(()), |held| held.reload(&self.provider))
    }

    /// Looks at the files now and then; ends with the last connection that could use them.
    pub(super) fn watch(&self) {
        let Some(held) = &self.held else { return };
        let (held, provider) = (Arc::downgrade(held), Arc::clone(&self.provider));
        tokio::spawn(async move {
            loop {
                tokio::time::sleep(LOOK).await;
                let Some(held) = held.upgrade() else { return };
                if let Err(error) = held.reload(&provider) {
                    tracing::error!(%error, "the new certificate cannot be used, the old one stays");
                }
            }
        });
    }

    pub(super) async fn accept(
        &self,
        tcp: TcpStream,
    ) -> io::Result<tokio_rustls::server::TlsStream<TcpStream>> {
        match &self.server {
            Some(server) => server.accept(tcp).await,
            None => Err(io::ErrorKind::Unsupported.into()),
        }
    }

    pub(super) async fn connect(
        &self,
        hop: Hop,
        peer: Option<&TlsPeer>,
        tcp: TcpStream,
    ) -> io::Result<tokio_rustls::client::TlsStream<TcpStream>> {
        let name = match peer.and_then(|peer| peer.name.clone()) {
            Some(name) => ServerName::try_from(name).map_err(io::Error::other)?,
            None => ServerName::IpAddress(hop.ip().into()),
        };
        let config = self
            .client(peer.and_then(|peer| peer.pin))
            .map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config))
            .connect(name, tcp)
            .await
    }

    fn client(&self, pin: Option<[u8; 32]>) -> Result<ClientConfig, TlsError> {
        let builder = ClientConfig::builder_with_provider(Arc::clone(&self.provider))
            .with_safe_default_protocol_versions()?;
        let verifier: Arc<dyn ServerCertVerifier> = match (pin, &self.roots) {
            (Some(pin), _) => Arc::new(Pinned {
                pin,
                provider: Arc::clone(&self.provider),
            }),
            (None, Some(roots)) => WebPkiServerVerifier::builder_with_provider(
                Arc::clone(roots),
                Arc::clone(&self.provider),
            )
            .build()
            .map_err(|error| TlsError::Roots(error.to_string()))?,
            (None, None) => return Err(TlsError::Roots("none were found".to_owned())),
        };
        Ok(builder
            .dangerous()
            .with_custom_certificate_verifier(verifier)
            .with_no_client_auth())
    }
}

fn roots(ca: Option<&Path>) -> Result<Option<Arc<RootCertStore>>, TlsError> {
    let mut store = RootCertStore::empty();
    if let Some(path) = ca {
        for certificate in certificates(path)? {
            store.add(certificate).map_err(|error| TlsError::File {
                path: path.to_owned(),
                what: error.to_string(),
            })?;
        }
    } else {
        // A system's bundle may have some that are of no use; the others serve.
        store.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    }
    Ok((!store.is_empty()).then(|| Arc::new(store)))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let fault = |what: String| TlsError::File {
        path: path.to_owned(),
        what,
    };
    let found: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| fault(error.to_string()))?
        .collect::<Result<_, _>>()
        .map_err(|error| fault(error.to_string()))?;
    if found.is_empty() {
        return Err(fault("holds no certificate in PEM".to_owned()));
    }
    Ok(found)
}

/// The certificate in use.
#[derive(Debug)]
struct Held {
    files: Certificate,
    used: RwLock<Used>,
}

#[derive(Debug)]
struct Used {
    key: Arc<CertifiedKey>,
    changed: Option<(SystemTime, SystemTime)>,
}

impl Held {
    fn read(files: Certificate, provider: &CryptoProvider) -> Result<Self, TlsError> {
        let changed = changed(&files);
        let key = Arc::new(certified(&files, provider)?);
        let used = RwLock::new(Used { key, changed });
        Ok(Self { files, used })
    }

    fn reload(&self, provider: &CryptoProvider) -> Result<(), TlsError> {
        let changed = changed(&self.files);
        if self.used.read().changed == changed {
            return Ok(());
        }
        let read = certified(&self.files, provider);
        let mut used = self.used.write();
        // What cannot be used is told of once, not at every look.
        used.changed = changed;
        used.key = Arc::new(read?);
        tracing::info!(file = %self.files.chain.display(), "a new certificate is in use");
        Ok(())
    }
}

impl ResolvesServerCert for Held {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        Some(Arc::clone(&self.used.read().key))
    }
}

fn changed(files: &Certificate) -> Option<(SystemTime, SystemTime)> {
    let time = |path: &Path| path.metadata().and_then(|file| file.modified()).ok();
    Some((time(&files.chain)?, time(&files.key)?))
}

fn certified(files: &Certificate, provider: &CryptoProvider) -> Result<CertifiedKey, TlsError> {
    let chain = certificates(&files.chain)?;
    let key = PrivateKeyDer::from_pem_file(&files.key).map_err(|error| TlsError::File {
        path: files.key.clone(),
        what: error.to_string(),
    })?;
    CertifiedKey::from_der(chain, key, provider).map_err(|why| TlsError::Pair {
        chain: files.chain.clone(),
        key: files.key.clone(),
        why,
    })
}

/// Trusts one certificate, by its digest.
#[derive(Debug)]
struct Pinned {
    pin: [u8; 32],
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _: &[CertificateDer<'_>],
        _: &ServerName<'_>,
        _: &[u8],
        _: UnixTime,
    ) -> Result<ServerCertVerified, rustls::Error> {
        if Sha256::digest(end_entity).as_slice() == self.pin {
            Ok(ServerCertVerified::assertion())
        } else {
            let error = rustls::CertificateError::ApplicationVerificationFailure;
            Err(rustls::Error::InvalidCertificate(error))
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls12_signature(message, certificate, signed, algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signed: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, rustls::Error> {
        let algorithms = &self.provider.signature_verification_algorithms;
        verify_tls13_signature(message, certificate, signed, algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider
            .signature_verification_algorithms
            .supported_schemes()
    }
}
