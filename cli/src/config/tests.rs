use super::*;

const GOOD: &str = r#"
[topology]
store = "sqlite:state/topology.db"

[keyspaces.zebra]
database = "zebra_db"
[[keyspaces.zebra.servers]]
type = "primary"
address = "127.0.0.1:13401"
user = "shunt"
password_file = "secret"
[[keyspaces.zebra.servers]]
type = "rdonly"
address = "unix:/run/mysqld.sock"
user = "shunt"
alias = "spare"

[keyspaces.ape]
database = "ape"
[[keyspaces.ape.servers]]
type = "primary"
address = "db.example"
user = "shunt"
password_env = "SHUNT_TEST_NO_SUCH_VARIABLE"
tls = "verify-identity"

[throttle]
threads_running_max = "off"
"#;

fn parse(text: &str) -> Result<Config> {
    Config::parse(text, Path::new("/etc/shunt/shunt.toml"))
}

#[test]
fn a_good_file_is_understood() {
    let config = parse(GOOD).unwrap();
    assert_eq!(config.topology, Path::new("/etc/shunt/state/topology.db"));
    let names: Vec<&str> = config.keyspaces.iter().map(|k| k.name.as_str()).collect();
    assert_eq!(names, ["zebra", "ape"], "the file's order is kept");
    let zebra = config.keyspace("zebra").unwrap();
    assert_eq!(zebra.database, "zebra_db");
    assert_eq!(zebra.primary().unwrap().alias, "zone1-0000000100");
    assert_eq!(zebra.of_type(ServerType::Rdonly).next().unwrap().alias, "spare");
    let ape = config.keyspace("ape").unwrap().primary().unwrap();
    assert_eq!(ape.alias, "zone1-0000000200");
    assert_eq!(ape.tls, TlsMode::VerifyIdentity);
    assert_eq!(config.throttle.threads_running_max, Threshold::OFF);
    assert_eq!(config.throttle.interval_ms, Throttle::default().interval_ms);
    assert_eq!(config.serve, Serve::default());
}

#[test]
fn an_empty_file_has_all_defaults() {
    let config = parse("").unwrap();
    assert_eq!(config.topology, Path::new("/etc/shunt/shunt-topology.db"));
    assert!(config.keyspaces.is_empty());
    let error = config.keyspace("commerce").unwrap_err().to_string();
    assert_eq!(error, "/etc/shunt/shunt.toml: there is no keyspace \"commerce\" (there are: none)");
}

#[test]
fn passwords_are_read_only_when_used() {
    let dir = tempfile::tempdir().unwrap();
    let config = Config::parse(GOOD, &dir.path().join("shunt.toml")).unwrap();
    let zebra = config.keyspace("zebra").unwrap().primary().unwrap();
    let error = zebra.connection().unwrap_err().to_string();
    assert!(error.contains("shunt.toml:11: ") && error.contains("cannot be read"), "{error}");
    std::fs::write(dir.path().join("secret"), "s3cret\n").unwrap();
    assert_eq!(zebra.connection().unwrap().password.expose(), "s3cret");
    let ape = config.keyspace("ape").unwrap().primary().unwrap();
    let error = ape.connection().unwrap_err().to_string();
    assert!(error.contains("shunt.toml:24: "), "{error}");
    assert!(error.contains("SHUNT_TEST_NO_SUCH_VARIABLE is not set"), "{error}");
}

/// One keyspace with one server and more lines in it; the lines begin at line 7.
fn keyspace_with(lines: &str) -> String {
    format!(
        "[keyspaces.k]\ndatabase = \"d\"\n[[keyspaces.k.servers]]\ntype = \"primary\"\n\
         address = \"h:1\"\nuser = \"u\"\n{lines}\n"
    )
}

#[test]
fn every_error_names_file_and_line() {
    let second = |server_type: &str, more: &str| {
        keyspace_with(&format!(
            "[[keyspaces.k.servers]]\ntype = \"{server_type}\"\naddress = \"h:2\"\nuser = \"u\"\n{more}"
        ))
    };
    let cases: &[(String, &str)] = &[
        (
            "\n[topolgy]\n".into(),
            "2: unknown field `topolgy`, expected one of `topology`, `keyspaces`, `throttle`, `serve`, `hooks`, `gateway`",
        ),
        ("[topology]\nstore = \"etcd:x\"\n".into(), "2: topology.store is not \"sqlite:<path>\""),
        ("[topology]\nstore = \"sqlite:\"\n".into(), "2: topology.store is not \"sqlite:<path>\""),
        (
            "[throttle]\n\ninterval_ms = 0\n".into(),
            "3: invalid value: integer `0`, expected a nonzero u64",
        ),
        (
            "[throttle]\nthreads_running_max = \"of\"\n".into(),
            "2: \"of\" is neither a whole number from 0 on nor \"off\"",
        ),
        (
            "[throttle]\nthreads_running_max = -1\n".into(),
            "2: expected a whole number from 0 on, or \"off\"",
        ),
        ("[serve]\npol_ms = 1\n".into(), "2: unknown field `pol_ms`, expected `poll_ms`"),
        ("[serve]\npoll_ms = 1\npoll_ms = 2\n".into(), "3: duplicate key"),
        ("[serve\n".into(), "1: unclosed table, expected `]`"),
        ("[keyspaces.k]\n".into(), "1: missing field `database`"),
        ("[keyspaces.k]\ndatabase = \"\"\n".into(), "2: database is empty"),
        (
            "\n[keyspaces.k]\ndatabase = \"d\"\n".into(),
            "2: keyspace \"k\" has 0 servers of type \"primary\", not one",
        ),
        (
            "[keyspaces.\"a.b\"]\ndatabase = \"d\"\n".into(),
            "1: keyspace \"a.b\" has an empty name, or one with a dot, @, / or backquote",
        ),
        (second("primary", ""), "1: keyspace \"k\" has 2 servers of type \"primary\", not one"),
        (
            second("master", ""),
            "8: unknown variant `master`, expected one of `primary`, `replica`, `rdonly`",
        ),
        (
            second("replica", "alias = \"zone1-0000000100\""),
            "11: alias \"zone1-0000000100\" is empty or not unique",
        ),
        (
            keyspace_with("pasword_env = \"X\""),
            "7: unknown field `pasword_env`, expected one of `type`, `address`, `user`, `password_env`, `password_file`, `tls`, `tls_ca`, `alias`",
        ),
        (
            keyspace_with("password_env = \"X\"\npassword_file = \"y\""),
            "8: password_env and password_file exclude each other",
        ),
        (
            keyspace_with("tls = \"always\""),
            "7: unknown variant `always`, expected one of `disabled`, `preferred`, `required`, `verify-ca`, `verify-identity`",
        ),
        (
            keyspace_with("tls_ca = \"ca.pem\""),
            "7: tls_ca is looked at only with tls = \"verify-ca\" or \"verify-identity\"",
        ),
        (keyspace_with("").replace("h:1", "h:x"), "5: \"h:x\" is not host:port or unix:/path"),
        (keyspace_with("").replace("user = \"u\"", ""), "3: missing field `user`"),
    ];
    for (text, message) in cases {
        let error = parse(text).expect_err(text);
        assert_eq!(error.to_string(), format!("/etc/shunt/shunt.toml:{message}"), "in\n{text}");
        assert_eq!(error.kind(), shunt_engine::ErrorKind::Usage);
    }
}

#[test]
fn a_gateway_lets_nobody_in_without_a_password() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("shunt.toml");
    std::fs::write(folder.path().join("empty"), "\n").unwrap();
    std::fs::write(folder.path().join("full"), "secret\r\n").unwrap();
    let told = |users: &str| {
        let text = format!(
            "[topology]\nstore = \"sqlite:t\"\n[keyspaces.k]\ndatabase = \"d\"\n[[keyspaces.k.servers]]\n\
             type = \"primary\"\naddress = \"h:1\"\nuser = \"u\"\n[gateway]\nlisten = \"127.0.0.1:0\"\n{users}"
        );
        Config::parse(&text, &file).unwrap().gateway()
    };
    let user = |password: &str| format!("[[gateway.users]]\nname = \"app\"\n{password}\n");
    for (users, what) in [
        (String::new(), "[gateway] has no users"),
        (user(""), "\"app\" has no password"),
        (user("password_file = \"empty\""), "\"app\" has no password"),
        (user("backend_user = \"b\"\nbackend_password_file = \"full\""), "has no password"),
    ] {
        let error = told(&users).unwrap_err();
        assert!(error.to_string().contains(what), "{error}");
        assert_eq!(error.kind(), shunt_engine::ErrorKind::Usage);
    }
    let config = told(&user("password_file = \"full\"")).unwrap();
    assert_eq!(config.users[0].password.expose(), "secret");
}

#[test]
fn the_gateway_is_checked() {
    let users = "[[gateway.users]]\nname = \"app\"\n";
    let with = |keys: &str, users: &str| {
        parse(&format!("{GOOD}\n[gateway]\nlisten = \"127.0.0.1:15306\"\n{keys}\n{users}"))
    };
    assert!(with("held_max = 5\ndefault_auth = \"caching_sha2_password\"", users).is_ok());
    assert!(parse(GOOD).unwrap().gateway().is_err(), "there is none");
    for (keys, users, what) in [
        ("tls_cert = \"a.pem\"", users, "tls_cert and tls_key go together"),
        ("tls_required = true", users, "tls_required needs"),
        ("held_max = 0", users, "nonzero"),
        ("nosuch = 1", users, "unknown field"),
        ("", &users.repeat(2), "not unique"),
        ("", "[[gateway.users]]\nname = \"a\"\nbackend_password_env = \"X\"\n", "backend_user"),
        ("listen_port = 1", users, "unknown field"),
    ] {
        let error = with(keys, users).unwrap_err().to_string();
        assert!(error.starts_with("/etc/shunt/shunt.toml:") && error.contains(what), "{error}");
    }
}
