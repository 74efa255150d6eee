use std::convert::Infallible;

use uuid::Uuid;

use super::*;

fn key(byte: u8) -> Credential {
    let issued = ApiKey::issue(|buffer| {
        buffer.fill(byte);
        Ok::<_, Infallible>(())
    });
    Credential::try_from(issued.unwrap().reveal().to_owned()).unwrap()
}

fn server(text: &str) -> ServerUrl {
    text.parse().unwrap()
}

fn store() -> (tempfile::TempDir, Store) {
    let folder = tempfile::tempdir().unwrap();
    let store = Store::new(folder.path().join("config/toolroom"));
    (folder, store)
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

fn set_mode(path: &Path, mode: u32) {
    fs::set_permissions(path, fs::Permissions::from_mode(mode)).unwrap();
}

#[test]
fn what_is_kept_comes_back_and_is_its_owners_alone() {
    let (_folder, store) = store();
    assert_eq!(store.load().unwrap(), Credentials::default());
    let (a, b) = (server("https://a.test"), server("https://b.test"));
    let workspace = WorkspaceId::from_uuid(Uuid::from_u128(7));
    let mut credentials = Credentials::default();
    credentials.keep_key(&a, key(1), false);
    credentials.keep_key(&b, key(2), false);
    credentials.choose_workspace(&b, Some(workspace));
    store.save(&credentials).unwrap();

    let loaded = store.load().unwrap();
    assert_eq!(loaded, credentials);
    assert_eq!(loaded.default_server(), Some(&a), "the first one");
    assert_eq!(loaded.of(&b).unwrap().key, Some(key(2)));
    assert_eq!(loaded.of(&b).unwrap().workspace, Some(workspace));
    assert_eq!(mode(&store.path()), 0o600);
    assert_eq!(mode(store.path().parent().unwrap()), 0o700);
    let files = fs::read_dir(store.path().parent().unwrap()).unwrap();
    assert_eq!(files.count(), 1, "nothing is left beside it");
}

#[test]
fn a_file_or_folder_that_is_open_to_others_is_refused() {
    let (_folder, store) = store();
    let mut credentials = Credentials::default();
    credentials.keep_key(&ServerUrl::local().unwrap(), key(1), false);
    store.save(&credentials).unwrap();
    for open in [0o640, 0o604, 0o620, 0o644] {
        set_mode(&store.path(), open);
        let error = store.load().unwrap_err().to_string();
        assert!(error.contains("chmod 600"), "{error}");
    }
    set_mode(&store.path(), 0o600);
    let folder = store.path().parent().unwrap().to_path_buf();
    set_mode(&folder, 0o770);
    assert!(store.load().unwrap_err().to_string().contains("chmod 700"));
    assert!(store.save(&credentials).is_err());
    set_mode(&folder, 0o755);
    assert_eq!(store.load().unwrap(), credentials);
}

#[test]
fn a_damaged_file_is_told_without_its_keys() {
    let (_folder, store) = store();
    store.save(&Credentials::default()).unwrap();
    let secret = key(1);
    let cut = &secret.expose()[..60];
    for damaged in [
        format!("[[servers]]\nurl = \"https://a.test\"\nkey = \"{cut}\"\n"),
        format!("[[servers]]\nurl = \"https://a.test\"\nkey = {cut}\n"),
        format!("[[servers]]\nurl = \"https://a.test\"\nkay = \"{cut}\"\n"),
        format!("[[servers]]\nurl = \"https://{cut}@a.test\"\n"),
    ] {
        fs::write(store.path(), &damaged).unwrap();
        let error = format!("{:#}", store.load().unwrap_err());
        assert!(
            error.contains("line ") && !error.contains(&cut[20..]),
            "{error}"
        );
    }
}

#[test]
fn a_new_key_takes_the_place_of_the_old_one_and_of_its_workspace() {
    let a = ServerUrl::local().unwrap();
    let mut credentials = Credentials::default();
    credentials.keep_key(&a, key(1), false);
    credentials.choose_workspace(&a, Some(WorkspaceId::DEFAULT));
    credentials.keep_key(&a, key(2), false);
    assert_eq!(credentials.of(&a).unwrap().key, Some(key(2)));
    assert_eq!(credentials.of(&a).unwrap().workspace, None);
}

#[test]
fn what_is_forgotten_is_no_default_either() {
    let (a, b) = (server("https://a.test"), server("https://b.test"));
    let mut credentials = Credentials::default();
    credentials.keep_key(&a, key(1), false);
    credentials.keep_key(&b, key(2), true);
    assert_eq!(credentials.default_server(), Some(&b));
    assert!(credentials.forget(&b) && !credentials.forget(&b));
    assert_eq!(credentials.default_server(), None);
    assert!(credentials.of(&a).is_some());
}

#[test]
fn a_workspace_can_be_chosen_without_a_key() {
    let local = ServerUrl::local().unwrap();
    let mut credentials = Credentials::default();
    credentials.choose_workspace(&local, Some(WorkspaceId::DEFAULT));
    assert!(credentials.of(&local).unwrap().key.is_none());
    assert_eq!(credentials.default_server(), None);
    credentials.choose_workspace(&local, None);
    assert_eq!(credentials, Credentials::default());
}

#[test]
fn only_keys_and_tokens_are_taken() {
    let read = |text: &str| Credential::read(text.as_bytes());
    let whole = key(1);
    assert_eq!(read(&format!("{}\n", whole.expose())).unwrap(), whole);
    assert!(read("eyJhbGciOiJIUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln_-").is_ok());
    let mut mistyped = whole.expose().to_owned();
    mistyped.replace_range(20..21, "#");
    let long = format!("a.b.{}", "c".repeat(CREDENTIAL_BYTES));
    for other in ["", "hunter2", "a.b", "a..b.", "a.b.c d", &mistyped, &long] {
        let error = read(other).unwrap_err().to_string();
        assert!(!error.contains("hunter2"), "{error}");
    }
    assert!(!format!("{whole:?}").contains(&whole.expose()[16..]));
}

#[test]
fn the_folder_is_where_xdg_says() {
    let path = |text: &'static str| Some(Path::new(text));
    let told = |config, home| folder(config, home).map(|p| p.display().to_string());
    assert_eq!(told(path("/c"), path("/h")).unwrap(), "/c/toolroom");
    assert_eq!(told(None, path("/h")).unwrap(), "/h/.config/toolroom");
    assert_eq!(told(path("c"), path("/h")).unwrap(), "/h/.config/toolroom");
    assert_eq!(told(None, None), None);
}
