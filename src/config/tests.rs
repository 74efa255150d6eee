use super::*;

pub(super) fn environment(pairs: &[(&str, &str)]) -> Sources {
    Sources {
        environment: pairs
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
        default_file: PathBuf::from("/nonexistent/toolroom.toml"),
        ..Sources::default()
    }
}

fn file(text: &str) -> (tempfile::TempDir, Sources) {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("toolroom.toml");
    std::fs::write(&path, text).unwrap();
    let sources = Sources {
        file: Some(path),
        ..environment(&[])
    };
    (folder, sources)
}

pub(super) fn faults(sources: Sources) -> String {
    Config::load(sources).unwrap_err().to_string()
}

#[test]
fn without_any_source_the_defaults_hold() {
    let (config, _) = Config::load(environment(&[])).unwrap();
    assert_eq!(config.listen, ["127.0.0.1:8000".parse().unwrap()]);
    assert_eq!(config.data_dir, PathBuf::from("toolroom-data"));
    assert!(config.database_url.is_none());
    assert!(!config.auth.required);
}

#[test]
fn a_flag_wins_over_a_variable_and_that_over_the_file() {
    let (_folder, mut sources) =
        file("data_dir = \"file\"\nnode = \"file\"\npublic_url = \"http://file\"");
    sources.environment = environment(&[
        ("TOOLROOM_DATA_DIR", "variable"),
        ("TOOLROOM_NODE", "variable"),
    ])
    .environment;
    sources.flags = vec![(&DATA_DIR, "data-dir", vec!["flag".to_owned()])];
    let (config, shown) = Config::load(sources).unwrap();
    assert_eq!(config.data_dir, PathBuf::from("flag"));
    assert_eq!(config.node, "variable");
    assert_eq!(config.public_url.unwrap().as_str(), "http://file/");
    let origin = |key| {
        shown
            .iter()
            .find(|s| s.key == key)
            .unwrap()
            .origin
            .to_string()
    };
    assert_eq!(origin("data_dir"), "--data-dir");
    assert_eq!(origin("node"), "the variable TOOLROOM_NODE");
    assert_eq!(origin("log.format"), "default");
}

#[test]
fn lists_come_from_commas_in_the_environment_and_arrays_in_the_file() {
    let by_variable = environment(&[("TOOLROOM_EGRESS_ALLOW", "10.0.0.0/8, api.internal:8443")]);
    let (_folder, by_file) = file("[egress]\nallow = [\"10.0.0.0/8\", \"api.internal:8443\"]");
    let (a, _) = Config::load(by_variable).unwrap();
    let (b, _) = Config::load(by_file).unwrap();
    assert_eq!(a.egress_allow.len(), 2);
    assert_eq!(a.egress_allow, b.egress_allow);
}

#[test]
fn every_fault_is_told_with_its_key_and_source() {
    let (_folder, mut sources) = file("lisen = \"127.0.0.1:1\"\n[worker]\nbackground = 0");
    sources.environment = environment(&[
        ("TOOLROOM_LISTEN", "everywhere"),
        ("TOOLROOM_LITSEN", "127.0.0.1:1"),
    ])
    .environment;
    let text = faults(sources);
    assert!(text.contains("no key `lisen`"), "{text}");
    assert!(
        text.contains("`worker.background` (from /") && text.contains("from 1 to 10000, found 0"),
        "{text}"
    );
    assert!(
        text.contains("`listen` (from the variable TOOLROOM_LISTEN)")
            && text.contains("\"everywhere\""),
        "{text}"
    );
    assert!(text.contains("no variable `TOOLROOM_LITSEN`"), "{text}");
}

#[test]
fn what_kubernetes_sets_for_a_service_is_no_fault() {
    let sources = environment(&[
        ("TOOLROOM_SERVICE_HOST", "10.0.0.1"),
        ("TOOLROOM_PORT_8000_TCP_ADDR", "10.0.0.1"),
    ]);
    assert!(Config::load(sources).is_ok());
}

#[test]
fn what_the_commands_of_a_client_read_is_no_fault_and_no_key() {
    let sources = environment(&[
        ("TOOLROOM_SERVER", "https://toolroom.example"),
        ("TOOLROOM_API_KEY", "hunter2"),
    ]);
    let (config, shown) = Config::load(sources).unwrap();
    assert!(!format!("{config:?}{shown:?}").contains("hunter2"));
    assert!(faults(file("server = \"https://toolroom.example\"").1).contains("no key `server`"));
}

#[test]
fn secrets_show_neither_in_prints_nor_in_faults_nor_in_debug() {
    let sources = environment(&[("DATABASE_URL", "postgres://u:hunter2@host/db")]);
    let (config, shown) = Config::load(sources).unwrap();
    assert!(!format!("{config:?}{shown:?}").contains("hunter2"));
    let (_folder, sources) = file("master_key = hunter2");
    assert!(!faults(sources).contains("hunter2"));
    let (_folder, sources) = file("master_key = [\"hunter2\"]");
    assert!(!faults(sources).contains("hunter2"));
}

#[test]
fn a_master_key_comes_from_one_place_and_the_next_one_from_another() {
    let file_of = |path: &str| match path {
        "" => None,
        path => Some(std::path::PathBuf::from(path)),
    };
    let path = |source: &MasterKeySource| match source {
        MasterKeySource::File(path) => Some(path.clone()),
        _ => None,
    };
    let (config, _) = Config::load(environment(&[])).unwrap();
    assert_eq!(
        path(&config.master_key),
        file_of("toolroom-data/master.key")
    );
    let next = config.next_master_key.as_ref().and_then(path);
    assert_eq!(next, file_of("toolroom-data/master.key.next"));

    let (_folder, sources) = file("master_key_command = [\"fetch\", \"a b\"]");
    let (config, _) = Config::load(sources).unwrap();
    assert!(config.next_master_key.is_none());
    let command = ("TOOLROOM_MASTER_KEY_COMMAND", "fetch 'a b'");
    let (same, _) = Config::load(environment(&[command])).unwrap();
    for config in [config, same] {
        let MasterKeySource::Command(command) = &config.master_key else {
            panic!("{:?}", config.master_key);
        };
        assert_eq!(
            (command.program.as_str(), &*command.arguments),
            ("fetch", &["a b".to_owned()][..])
        );
    }
    for (variable, other) in [
        ("TOOLROOM_MASTER_KEY", "TOOLROOM_MASTER_KEY_COMMAND"),
        ("TOOLROOM_MASTER_KEY_FILE", "TOOLROOM_MASTER_KEY"),
        (
            "TOOLROOM_NEXT_MASTER_KEY_FILE",
            "TOOLROOM_NEXT_MASTER_KEY_COMMAND",
        ),
    ] {
        let told = faults(environment(&[(variable, "x"), (other, "y")]));
        assert!(told.contains("are both set: remove one"), "{told}");
    }
    assert!(faults(environment(&[("TOOLROOM_MASTER_KEY_COMMAND", "a 'b")])).contains("expected"));
}

#[test]
fn a_mail_server_is_named_whole_and_its_password_never_shown() {
    let url = ("TOOLROOM_SMTP_URL", "smtps://jane:hunter2@mail.example");
    let from = ("TOOLROOM_SMTP_FROM", "toolroom@example.com");
    for (variables, told) in [
        (vec![url], "`smtp.from` is missing"),
        (vec![from], "`smtp.url` is missing"),
        (vec![url, ("TOOLROOM_SMTP_FROM", "nobody")], "`smtp.from`"),
        (
            vec![from, ("TOOLROOM_SMTP_URL", "smtps://x:hunter2@")],
            "`smtp.url`",
        ),
        (
            vec![("TOOLROOM_SMTP_URL", "mail.example.com")],
            "`smtp.url`: expected smtps://",
        ),
    ] {
        let faults = faults(environment(&variables));
        assert!(faults.contains(told), "{faults}");
        assert!(!faults.contains("hunter2"), "{faults}");
    }
    let (config, shown) = Config::load(environment(&[url, from])).unwrap();
    assert!(config.smtp.is_some());
    assert!(!format!("{config:?}{shown:?}").contains("hunter2"));
}

#[test]
fn of_two_variables_for_one_key_the_own_one_wins() {
    let sources = environment(&[
        ("DATABASE_URL", "postgres://a"),
        ("TOOLROOM_DATABASE_URL", "postgresql://b"),
    ]);
    let (config, _) = Config::load(sources).unwrap();
    assert_eq!(config.database_url.unwrap().expose(), "postgresql://b");
}

#[test]
fn a_file_that_was_named_must_be_there() {
    let sources = environment(&[("TOOLROOM_CONFIG", "/nonexistent/t.toml")]);
    assert!(faults(sources).contains("/nonexistent/t.toml cannot be read"));
}

#[test]
fn whoever_could_be_a_stranger_must_be_known() {
    let required = |variables: &[(&str, &str)]| {
        let loaded = Config::load(environment(variables));
        loaded.map(|(config, _)| config.auth.required)
    };
    let shared = ("DATABASE_URL", "postgres://host/db");
    let exposed = ("TOOLROOM_LISTEN", "127.0.0.1:1,0.0.0.0:2");
    let off = ("TOOLROOM_AUTH_REQUIRED", "false");
    assert_eq!(required(&[shared]), Ok(true));
    assert_eq!(required(&[exposed]), Ok(true));
    assert_eq!(required(&[shared, off]), Ok(false));
    assert_eq!(required(&[("TOOLROOM_AUTH_REQUIRED", "true")]), Ok(true));
    let told = faults(environment(&[exposed, off]));
    assert!(told.contains("`auth.required` is false"), "{told}");
}

#[test]
fn tokens_need_an_issuer_an_audience_and_a_key() {
    let secret = ("TOOLROOM_AUTH_SECRET", "0123456789abcdef0123456789abcdef");
    let issuer = ("TOOLROOM_AUTH_ISSUER", "https://id.example");
    let audience = ("TOOLROOM_AUTH_AUDIENCE", "authenticated");
    for (variables, told) in [
        (vec![secret], "`auth.issuer` is missing"),
        (vec![issuer, secret], "`auth.audience` is missing"),
        (vec![issuer, audience], "neither `auth.jwks_url` nor"),
        (
            vec![issuer, audience, ("TOOLROOM_AUTH_SECRET", "short")],
            "at least 32 bytes",
        ),
    ] {
        let faults = faults(environment(&variables));
        assert!(faults.contains(told), "{faults}");
        assert!(!faults.contains(secret.1), "{faults}");
    }
    let (config, _) = Config::load(environment(&[issuer, audience, secret])).unwrap();
    assert_eq!(config.auth.tokens.unwrap().audience, ["authenticated"]);
}

#[test]
fn what_is_no_postgres_is_told_before_anything_waits_for_it() {
    for odd in ["mysql://u:hunter2@host/db", "host:5432/hunter2", "hunter2"] {
        let told = faults(environment(&[("DATABASE_URL", odd)]));
        assert!(
            told.contains("`database_url`") && told.contains("postgres://"),
            "{told}"
        );
        assert!(!told.contains("hunter2"), "{told}");
    }
}

#[test]
fn the_providers_keys_come_over_a_line_that_nobody_can_change() {
    let load = |url| {
        Config::load(environment(&[
            ("TOOLROOM_AUTH_ISSUER", "https://id.example"),
            ("TOOLROOM_AUTH_AUDIENCE", "authenticated"),
            ("TOOLROOM_AUTH_JWKS_URL", url),
        ]))
    };
    for good in [
        "https://id.example/keys",
        "http://localhost:1/keys",
        "http://127.0.0.1:1/keys",
        "http://[::1]:1/keys",
    ] {
        assert!(load(good).is_ok(), "{good}");
    }
    for bad in ["http://id.example/keys", "http://10.0.0.1/keys"] {
        let told = load(bad).unwrap_err().to_string();
        assert!(
            told.contains("`auth.jwks_url`") && told.contains("https://"),
            "{told}"
        );
    }
}

#[test]
fn operators_are_known_by_their_tokens_alone() {
    let operators = ("TOOLROOM_AUTH_OPERATORS", "jane");
    let told = faults(environment(&[operators]));
    assert!(
        told.contains("`auth.operators` is set without `auth.issuer`"),
        "{told}"
    );
    let named = [
        operators,
        ("TOOLROOM_AUTH_ISSUER", "https://id.example"),
        ("TOOLROOM_AUTH_AUDIENCE", "authenticated"),
        ("TOOLROOM_AUTH_SECRET", "0123456789abcdef0123456789abcdef"),
    ];
    let idle = |sources| Config::load(sources).unwrap().0.auth.is_idle();
    assert!(idle(environment(&named)));
    let required = [&named[..], &[("TOOLROOM_AUTH_REQUIRED", "true")]].concat();
    assert!(!idle(environment(&required)));
    assert!(!idle(environment(&[])));
}

#[test]
fn plans_limit_unless_the_operator_says_otherwise() {
    let plans = |sources| Config::load(sources).unwrap().0.limits.plans;
    assert!(plans(environment(&[])));
    assert!(!plans(environment(&[("TOOLROOM_LIMITS_PLANS", "false")])));
    let (_folder, sources) = file("[limits]\nplans = false");
    assert!(!plans(sources));
    let told = faults(environment(&[("TOOLROOM_LIMITS_PLANS", "no")]));
    assert!(told.contains("true or false"), "{told}");
}
