//! TLS by rustls, with a certificate that is read anew when its files change.

use std::{
    fmt, fs, io,
    os::unix::fs::MetadataExt as _,
    path::{Path, PathBuf},
    sync::{Arc, Mutex, PoisonError, RwLock},
    time::Duration,
};

use rustls::{
    ServerConfig,
    crypto::{CryptoProvider, aws_lc_rs},
    pki_types::{CertificateDer, PrivateKeyDer, pem::PemObject as _},
    server::{ClientHello, ResolvesServerCert},
    sign::CertifiedKey,
};
use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _},
    net::TcpStream,
    time::MissedTickBehavior,
};
use tokio_rustls::{TlsAcceptor, server::TlsStream};
use tokio_util::sync::CancellationToken;

/// Bytes of a certificate's file, its chain included, and of a key's: a hundred times what is usual.
const MAX_FILE_BYTES: u64 = 1024 * 1024;

/// Between two looks at the files: a renewal is due days before the old certificate ends.
const LOOK_AGAIN: Duration = Duration::from_secs(10);

/// The first byte of every TLS handshake.
const HANDSHAKE: u8 = 0x16;

/// What a client reads that speaks plain HTTP to us.
const PLAIN_REFUSED: &[u8] = b"HTTP/1.1 400 Bad Request\r\n\
    content-type: text/plain; charset=utf-8\r\nconnection: close\r\n\r\n\
    this port speaks HTTPS only; call it with https://\n";

/// Bytes that are still read of such a client, so that it reads our answer and not a reset.
const MAX_DRAINED_BYTES: u64 = 64 * 1024;

/// Why TLS cannot be served.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file that cannot be read.
    #[error("{} cannot be read: {source}", path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// A file that is no certificate's or key's.
    #[error("{} is no file of at most {MAX_FILE_BYTES} bytes", .0.display())]
    NoFile(PathBuf),
    /// A key that every user of the machine can read.
    #[error(
        "the key {} can be read by everybody (mode {mode:04o}): `chmod o-rwx` it, and have a new certificate issued if others use this machine", path.display()
    )]
    Exposed {
        /// The key's file.
        path: PathBuf,
        /// Its permissions.
        mode: u32,
    },
    /// A file without certificates.
    #[error(
        "{} holds no certificate; it must be PEM, the server's own certificate first and those between it and the root after it", .0.display()
    )]
    NoCertificate(PathBuf),
    /// A file without a key.
    #[error("{} holds no private key; it must be PEM, without a passphrase", .0.display())]
    NoKey(PathBuf),
    /// The two do not belong together, or are of a kind that is not served.
    #[error(
        "the certificate {} and the key {} cannot be used together: {source}", certificate.display(), key.display()
    )]
    Unusable {
        /// The certificate's file.
        certificate: PathBuf,
        /// The key's file.
        key: PathBuf,
        /// Why.
        source: rustls::Error,
    },
}

/// What TLS is served with. Cheap to clone.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    certificate: Arc<Certificate>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Tls").field(&self.certificate.file).finish()
    }
}

impl Tls {
    /// Reads a certificate with its chain, and its key, both as PEM.
    ///
    /// # Errors
    /// When they cannot be read, do not belong together, or everybody can read the key.
    pub fn load(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let unusable = |source| TlsError::Unusable {
            certificate: certificate.to_owned(),
            key: key.to_owned(),
            source,
        };
        let seen = (Stamp::of(certificate), Stamp::of(key));
        let loaded = load(certificate, key, &provider)?;
        let certificate = Arc::new(Certificate {
            file: certificate.to_owned(),
            key_file: key.to_owned(),
            provider: Arc::clone(&provider),
            seen: Mutex::new(seen),
            current: RwLock::new(Arc::new(loaded)),
        });
        let mut config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(unusable)?
            .with_no_client_auth()
            .with_cert_resolver(Arc::clone(&certificate) as _);
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            certificate,
        })
    }

    /// Shakes hands with a client. One that speaks plain HTTP is told so.
    pub(super) async fn accept(&self, mut stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let mut first = [0];
        if stream.peek(&mut first).await? == 1 && first[0] != HANDSHAKE {
            stream.write_all(PLAIN_REFUSED).await?;
            stream.shutdown().await?;
            let mut rest = stream.take(MAX_DRAINED_BYTES);
            tokio::io::copy(&mut rest, &mut tokio::io::sink()).await?;
            return Err(io::Error::other("the client speaks no TLS"));
        }
        self.acceptor.accept(stream).await
    }

    /// Reads the files anew when they have changed, until `shutdown`. What cannot be used leaves
    /// what was there.
    pub(super) async fn follow_files(self, shutdown: CancellationToken) {
        let mut looks = tokio::time::interval(LOOK_AGAIN);
        looks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                _ = looks.tick() => {}
            }
            let certificate = Arc::clone(&self.certificate);
            match tokio::task::spawn_blocking(move || certificate.renew()).await {
                Ok(Ok(true)) => tracing::info!("the certificate was read anew"),
                Ok(Err(error)) => {
                    tracing::error!(%error, "the new certificate cannot be used; the old one stays");
                }
                Ok(Ok(false)) | Err(_) => {}
            }
        }
    }
}

/// The certificate that clients are shown at present.
struct Certificate {
    file: PathBuf,
    key_file: PathBuf,
    provider: Arc<CryptoProvider>,
    seen: Mutex<(Option<Stamp>, Option<Stamp>)>,
    current: RwLock<Arc<CertifiedKey>>,
}

impl fmt::Debug for Certificate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Certificate").field(&self.file).finish()
    }
}

impl ResolvesServerCert for Certificate {
    fn resolve(&self, _: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        let current = self.current.read().unwrap_or_else(PoisonError::into_inner);
        Some(Arc::clone(&current))
    }
}

impl Certificate {
    /// Reads the files if they are others than those read last, and says whether they were. Files
    /// that are wrong are looked at again only when they change again: a certificate may be there
    /// before its key.
    fn renew(&self) -> Result<bool, TlsError> {
        // Before reading: a change meanwhile shows the next time.
        let found = (Stamp::of(&self.file), Stamp::of(&self.key_file));
        {
            let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
            if *seen == found {
                return Ok(false);
            }
            *seen = found;
        }
        let loaded = load(&self.file, &self.key_file, &self.provider)?;
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        *current = Arc::new(loaded);
        Ok(true)
    }
}

/// What changes with a file's content, place or permissions.
#[derive(PartialEq, Eq)]
struct Stamp {
    inode: u64,
    bytes: u64,
    modified: (i64, i64),
    changed: (i64, i64),
}

impl Stamp {
    /// Of the file that a link leads to; none when there is no file.
    fn of(path: &Path) -> Option<Self> {
        let found = fs::metadata(path).ok()?;
        Some(Self {
            inode: found.ino(),
            bytes: found.size(),
            modified: (found.mtime(), found.mtime_nsec()),
            changed: (found.ctime(), found.ctime_nsec()),
        })
    }
}

fn load(
    certificate: &Path,
    key: &Path,
    provider: &CryptoProvider,
) -> Result<CertifiedKey, TlsError> {
    let (pem, _) = read(certificate)?;
    let chain: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let chain = chain.unwrap_or_default();
    if chain.is_empty() {
        return Err(TlsError::NoCertificate(certificate.to_owned()));
    }
    let (pem, mode) = read(key)?;
    // The owner's group may read it: so keys are handed to services that are not root.
    if mode & 0o007 != 0 {
        return Err(TlsError::Exposed {
            path: key.to_owned(),
            mode,
        });
    }
    let secret =
        PrivateKeyDer::from_pem_slice(&pem).map_err(|_| TlsError::NoKey(key.to_owned()))?;
    CertifiedKey::from_der(chain, secret, provider).map_err(|source| TlsError::Unusable {
        certificate: certificate.to_owned(),
        key: key.to_owned(),
        source,
    })
}

/// A file's content and permissions.
fn read(path: &Path) -> Result<(Vec<u8>, u32), TlsError> {
    let unreadable = |source| TlsError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let found = fs::metadata(path).map_err(unreadable)?;
    if !found.is_file() || found.len() > MAX_FILE_BYTES {
        return Err(TlsError::NoFile(path.to_owned()));
    }
    let content = fs::read(path).map_err(unreadable)?;
    Ok((content, found.mode() & 0o777))
}

#[cfg(test)]
mod tests;
