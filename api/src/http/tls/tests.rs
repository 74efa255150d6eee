//! Files that are wrong, and files that change.

use std::os::unix::fs::PermissionsExt as _;

use rcgen::{CertifiedKey as Issued, generate_simple_self_signed};

use super::*;

struct Folder(tempfile::TempDir);

impl Folder {
    fn new() -> Self {
        let folder = Self(tempfile::tempdir().unwrap());
        folder.issue();
        folder
    }

    fn certificate(&self) -> PathBuf {
        self.0.path().join("certificate.pem")
    }

    fn key(&self) -> PathBuf {
        self.0.path().join("key.pem")
    }

    /// Writes a new certificate and its key.
    fn issue(&self) {
        let issued = issued();
        fs::write(self.certificate(), issued.cert.pem()).unwrap();
        self.write_key(&issued.signing_key.serialize_pem(), 0o600);
    }

    fn write_key(&self, pem: &str, mode: u32) {
        fs::write(self.key(), pem).unwrap();
        fs::set_permissions(self.key(), fs::Permissions::from_mode(mode)).unwrap();
    }

    fn load(&self) -> Result<Tls, TlsError> {
        Tls::load(&self.certificate(), &self.key())
    }

    fn refusal(&self) -> String {
        self.load().unwrap_err().to_string()
    }
}

fn issued() -> Issued<rcgen::KeyPair> {
    generate_simple_self_signed(["localhost".to_owned()]).unwrap()
}

fn shown(tls: &Tls) -> CertificateDer<'static> {
    let current = tls.certificate.current.read().unwrap();
    current.end_entity_cert().unwrap().clone().into_owned()
}

#[test]
fn what_is_wrong_with_the_files_is_told_with_their_names() {
    let folder = Folder::new();
    fs::write(folder.certificate(), "no certificate").unwrap();
    let told = folder.refusal();
    assert!(
        told.contains("certificate.pem holds no certificate"),
        "{told}"
    );

    fs::remove_file(folder.certificate()).unwrap();
    let told = folder.refusal();
    assert!(told.contains("certificate.pem cannot be read"), "{told}");

    folder.issue();
    let locked =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nAAAA\n-----END ENCRYPTED PRIVATE KEY-----\n";
    folder.write_key(locked, 0o600);
    let told = folder.refusal();
    assert!(told.contains("key.pem holds no private key"), "{told}");

    folder.write_key(&issued().signing_key.serialize_pem(), 0o600);
    let told = folder.refusal();
    assert!(
        told.contains("cannot be used together") && told.contains("KeyMismatch"),
        "{told}"
    );

    fs::remove_file(folder.key()).unwrap();
    fs::create_dir(folder.key()).unwrap();
    assert!(folder.refusal().contains("key.pem is no file"));
}

#[test]
fn a_key_that_everybody_can_read_is_refused() {
    let folder = Folder::new();
    for (mode, good) in [(0o600, true), (0o640, true), (0o644, false), (0o602, false)] {
        fs::set_permissions(folder.key(), fs::Permissions::from_mode(mode)).unwrap();
        match folder.load() {
            Ok(_) => assert!(good, "{mode:o}"),
            Err(error) => assert!(
                !good && error.to_string().contains(&format!("mode {mode:04o}")),
                "{error}"
            ),
        }
    }
}

#[test]
fn nothing_prints_the_key() {
    let folder = Folder::new();
    let printed = format!("{:?}", folder.load().unwrap());
    assert_eq!(printed, format!("Tls({:?})", folder.certificate()));
}

#[test]
fn a_renewed_certificate_is_taken_and_a_bad_one_leaves_the_old() {
    let folder = Folder::new();
    let tls = folder.load().unwrap();
    let first = shown(&tls);
    assert!(!tls.certificate.renew().unwrap(), "nothing has changed");

    // The certificate is there before its key.
    let next = issued();
    fs::write(folder.certificate(), next.cert.pem()).unwrap();
    assert!(tls.certificate.renew().is_err());
    assert_eq!(shown(&tls), first);
    assert!(!tls.certificate.renew().unwrap(), "told once");

    folder.write_key(&next.signing_key.serialize_pem(), 0o600);
    assert!(tls.certificate.renew().unwrap());
    assert_eq!(&shown(&tls), next.cert.der());

    fs::remove_file(folder.key()).unwrap();
    assert!(tls.certificate.renew().is_err());
    assert_eq!(&shown(&tls), next.cert.der());
}
