use std::collections::HashMap;
use std::fs;

use super::*;

const PROTOCOLS: [&str; 3] = ["binary", "text", "native"];

/// Loads `yaml` as the configuration file, with these variables.
fn load(yaml: &str, env: &[(&str, &str)]) -> Result<ClientConfig, String> {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("c.yaml");
    fs::write(&path, yaml).unwrap();
    let env: HashMap<_, _> = env.iter().copied().collect();
    let read = |name: &str| env.get(name).map(|value| (*value).to_owned()).ok_or(VarError::NotPresent);
    let directory = format!("{}/", dir.path().display());
    ClientConfig::load(Some(&path), &[], &read, &PROTOCOLS).map_err(|error| error.to_string().replace(&directory, ""))
}

#[test]
fn an_empty_file_gives_the_defaults() {
    let config = load("", &[]).unwrap();
    assert_eq!((config.id, config.server_address.as_str()), (1, "localhost:12345"));
    assert_eq!(
        (config.address_from.as_str(), config.winners, config.empty, config.check),
        ("default", None, false, true)
    );
    assert_eq!((config.loop_amount, config.loop_period), (5, Duration::from_secs(5)));
    assert_eq!((config.log_level, config.batch_max_amount), (LogLevel::Info, 62));
    assert_eq!((config.mode, config.protocol.as_str()), (Mode::Auto, DEFAULT_PROTOCOL));
    assert_eq!((config.data, config.linger), (PathBuf::from(".data/agency-1.csv"), Duration::ZERO));
    assert_eq!(config.answer_timeout, Duration::from_secs(60));
    assert_eq!((config.patience, config.bet, config.warnings.len()), (Duration::from_secs(300), None, 0));
}

#[test]
fn the_file_that_ships_says_the_defaults_and_nothing_unknown() {
    let shipped = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("config.yaml")).unwrap();
    assert_eq!(load(&shipped, &[]), load("", &[]));
    // Its commented lines must hold known keys and their defaults, too.
    let whole: String = shipped
        .lines()
        .map(|line| {
            let key = line.strip_prefix('#').filter(|rest| !rest.starts_with(' '));
            format!("{}\n", key.unwrap_or(line))
        })
        .collect();
    let said = load(&whole, &[]).map(|config| ClientConfig { address_from: "default".to_owned(), ..config });
    assert_eq!(said, load("", &[]));
}

#[test]
fn the_environment_beats_the_file_and_an_empty_value_does_not() {
    let yaml = "id: 2\nserver: {address: 'a:1'}\nloop: {amount: 7, period: 2s}\nlog: {level: debug}\n\
                batch: {maxAmount: '10'}\nmode: echo\nprotocol: text\ndata: /d/{id}.csv\nlinger: 1s\nanswer: {timeout: 2s}\npatience: 3s\n";
    let file = load(yaml, &[("CLI_ID", ""), ("CLI_LOOP_AMOUNT", "")]).unwrap();
    assert_eq!((file.id, file.server_address.as_str(), file.loop_amount), (2, "a:1", 7));
    assert_eq!(
        (file.loop_period, file.log_level, file.batch_max_amount),
        (Duration::from_secs(2), LogLevel::Debug, 10)
    );
    assert_eq!((file.mode, file.protocol.as_str()), (Mode::Echo, "text"));
    assert_eq!((file.data, file.linger), (PathBuf::from("/d/2.csv"), Duration::from_secs(1)));
    assert_eq!((file.answer_timeout, file.patience), (Duration::from_secs(2), Duration::from_secs(3)));

    let env = load(
        yaml,
        &[
            ("CLI_ID", "3"),
            ("CLI_SERVER_ADDRESS", "[::1]:9"),
            ("CLI_LOOP_AMOUNT", "0"),
            ("CLI_LOOP_PERIOD", "150ms"),
            ("CLI_LOG_LEVEL", "ERROR"),
            ("CLI_BATCH_MAXAMOUNT", "1"),
            ("CLI_MODE", "agency"),
            ("CLI_PROTOCOL", "binary"),
            ("CLI_DATA", "bets-{id}"),
            ("CLI_LINGER", "1m30s"),
            ("CLI_ANSWER_TIMEOUT", "2m"),
            ("CLI_PATIENCE", "1h"),
        ],
    )
    .unwrap();
    assert_eq!((env.id, env.host_and_port(), env.loop_amount), (3, ("::1", 9), 0));
    assert_eq!(
        (env.loop_period, env.log_level, env.batch_max_amount),
        (Duration::from_millis(150), LogLevel::Error, 1)
    );
    assert_eq!((env.mode, env.protocol.as_str()), (Mode::Agency, "binary"));
    assert_eq!((env.data, env.linger), (PathBuf::from("bets-3"), Duration::from_secs(90)));
    assert_eq!((env.answer_timeout, env.patience), (Duration::from_secs(120), Duration::from_secs(3600)));
}

#[test]
fn a_wrong_value_is_refused_in_one_line_that_names_key_and_place() {
    for (yaml, says) in [
        ("id: 0", "c.yaml: id is '0', not a number"),
        ("id: [1]", "c.yaml: id must be a single value"),
        ("id: {a: 1}", "c.yaml: id must be a single value"),
        ("server: {address: server}", "c.yaml: server.address is 'server', not an address"),
        ("server: {address: 'server:'}", "c.yaml: server.address"),
        ("server: {address: 'server:0'}", "c.yaml: server.address"),
        ("server: {address: 'server:+1'}", "c.yaml: server.address"),
        ("server: {address: 'server:65536'}", "c.yaml: server.address"),
        ("server: {address: '::1:80'}", "c.yaml: server.address"),
        ("server: {address: ':80'}", "c.yaml: server.address"),
        ("server: {address: \"a\\nb:80\"}", "c.yaml: server.address is 'a\\nb:80'"),
        (
            "answer: {timeout: 0s}",
            "c.yaml: answer.timeout is '0s', not a duration such as 150ms, 5s or 1m30s, not zero",
        ),
        ("loop: 5", "c.yaml: loop must be a group of keys, such as loop.amount"),
        ("loop: {amount: -1}", "c.yaml: loop.amount is '-1'"),
        ("loop: {period: 5}", "c.yaml: loop.period is '5', not a duration"),
        ("log: {level: LOUD}", "c.yaml: log.level is 'LOUD', not one of DEBUG"),
        ("batch: {maxAmount: 0}", "c.yaml: batch.maxAmount is '0'"),
        ("mode: both", "c.yaml: mode is 'both', not one of auto"),
        ("protocol: morse", "c.yaml: protocol is 'morse', not one of binary, text, native"),
        ("linger: -1s", "c.yaml: linger is '-1s'"),
        ("winners: list.txt", "c.yaml: winners is 'list.txt', not a file ending in .csv or .json"),
        ("empty: maybe", "c.yaml: empty is 'maybe', not true or false"),
        ("- a list", "c.yaml: must be keys and values"),
        ("id: 1\nid: 2", "c.yaml: the key \"id\" is there twice; keep one of them"),
        ("id: 'x", "c.yaml line 1, column 7: a quote or a bracket that is not closed; write"),
    ] {
        let said = load(yaml, &[]).unwrap_err();
        assert!(said.contains(says) && said.lines().count() == 1, "{yaml}: {said}");
    }
    let said = load("loop: {period: 1s}", &[("CLI_LOOP_PERIOD", "soon")]).unwrap_err();
    assert_eq!(said, "environment: CLI_LOOP_PERIOD is 'soon', not a duration such as 150ms, 5s or 1m30s");
}

#[test]
fn unknown_keys_are_told_and_keys_without_a_value_are_absent() {
    let config = load("id:\nloop:\n  amout: 3\nserver:\n  adress: x\nverbose: true\n", &[]).unwrap();
    assert_eq!((config.id, config.loop_amount), (1, 5));
    let expected = ["loop.amout; loop.amount is read", "server.adress; server.address is read", "verbose"];
    let expected = expected.map(|key| format!("c.yaml: nothing reads the key {key}"));
    let ends = config.warnings.iter().zip(&expected).all(|(warning, expected)| warning.ends_with(expected));
    assert!(ends && config.warnings.len() == 3, "{:?}", config.warnings);
}

#[test]
fn a_file_that_was_named_must_exist_and_be_a_file() {
    let dir = tempfile::tempdir().unwrap();
    let none = |_: &str| Err(VarError::NotPresent);
    for path in [dir.path().join("absent.yaml"), dir.path().to_owned()] {
        let error = ClientConfig::load(Some(&path), &[], &none, &PROTOCOLS).unwrap_err().to_string();
        assert!(error.starts_with(&path.display().to_string()), "{error}");
    }
    assert!(Yaml::read_if_there(&dir.path().join("absent.yaml")).unwrap().keys().next().is_none());
    assert!(Yaml::read_if_there(dir.path()).is_err(), "a directory in the file's place is a mistake");
}

#[test]
fn a_bet_needs_all_of_its_variables_and_either_name_does() {
    let bet = [
        ("NOMBRE", "Santiago Lionel"),
        ("CLI_APELLIDO", "Lorca"),
        ("DOCUMENTO", "30904465"),
        ("NACIMIENTO", "1999-03-17"),
        ("NUMERO", "7574"),
        ("CLI_NUMERO", "2201"),
    ];
    let fields = load("", &bet).unwrap().bet.unwrap().fields;
    assert_eq!(
        fields.clone().map(|field| field.name),
        ["NOMBRE", "CLI_APELLIDO", "DOCUMENTO", "NACIMIENTO", "CLI_NUMERO"]
    );
    assert_eq!(fields.map(|field| field.value), ["Santiago Lionel", "Lorca", "30904465", "1999-03-17", "2201"]);

    assert_eq!(
        load("", &bet[..3]).unwrap_err(),
        "environment: NACIMIENTO, NUMERO missing: a bet needs all of its variables"
    );
    assert!(load("mode: bet", &[]).unwrap_err().contains("NOMBRE, APELLIDO, DOCUMENTO, NACIMIENTO, NUMERO missing"));
    assert_eq!(load("mode: agency", &bet).unwrap().bet, None);
    assert_eq!(load("", &[("NOMBRE", "")]).unwrap().bet, None);
}

#[test]
fn tls_is_an_authority_alone_or_all_three_files() {
    let authority = load("tls: {ca: a.crt}", &[]).unwrap().tls;
    assert_eq!(authority, Some(TlsPaths { ca: "a.crt".into(), identity: None }));
    let yaml = "tls: {ca: a.crt, cert: b.crt, key: b.key}";
    let identity = Some(("b.crt".into(), "c.key".into()));
    let both = load(yaml, &[("CLI_TLS_KEY", "c.key"), ("CLI_TLS_CA", "")]).unwrap().tls;
    assert_eq!(both, Some(TlsPaths { ca: "a.crt".into(), identity }));
    assert_eq!(load("", &[]).unwrap().tls, None);
    for (yaml, said) in [
        ("tls: {cert: b.crt, key: b.key}", "tls.ca"),
        ("tls: {ca: a.crt, cert: b.crt}", "tls.key"),
        ("tls: {ca: a.crt, key: b.key}", "tls.cert"),
    ] {
        let error = load(yaml, &[]).unwrap_err().to_string();
        assert!(error.contains(said) && error.lines().count() == 1, "{error}");
    }
}

#[test]
fn a_byte_order_mark_is_passed_over() {
    assert_eq!(load("\u{feff}id: 3\n", &[]).unwrap().id, 3);
    assert_eq!(load("\u{feff}id: 3\r\nlog:\r\n  level: DEBUG\r\n", &[]).unwrap().log_level, LogLevel::Debug);
    assert_eq!(load("\u{feff}", &[]), load("", &[]));
    assert_eq!(load("\u{feff}\u{feff}id: 3\n", &[]).unwrap().id, 3);
}

#[test]
fn a_key_that_is_given_twice_is_refused() {
    let said = load("id: 3\nlog:\n  level: INFO\n  level: DEBUG\n", &[]).unwrap_err();
    assert!(said.contains("level"), "{said}");
}

#[test]
fn a_flag_beats_the_environment_and_the_image_s_default_is_the_last() {
    let flags = |pairs: &[(&'static str, &'static str, &str)]| -> Vec<Flag> {
        pairs.iter().map(|(key, name, value)| Flag { key, name, value: (*value).to_owned() }).collect()
    };
    let read = |yaml: &str, given: &[(&'static str, &'static str, &str)], env: &[(&str, &str)]| {
        let env: HashMap<_, _> = env.iter().copied().collect();
        let read = |name: &str| env.get(name).map(|value| (*value).to_owned()).ok_or(VarError::NotPresent);
        let yaml = Yaml::parse(Path::new("c.yaml"), yaml).unwrap();
        ClientConfig::choose(Source { flags: &flags(given), env: &read, yaml }, &PROTOCOLS)
    };
    let id = [("id", "--id", "3"), ("empty", "--empty", "true")];
    let config = read("id: 1\nempty: false\n", &id, &[("CLI_ID", "2")]).unwrap();
    assert_eq!((config.id, config.data, config.empty), (3, PathBuf::from(".data/agency-3.csv"), true));
    let wrong = read("", &[("id", "--id", "x")], &[]).unwrap_err();
    assert_eq!(wrong.0, "--id is 'x', not a number from 1 to 4294967295");

    let image = ("CLI_SERVER_ADDRESS_DEFAULT", "server:12345");
    let flag = [("server.address", "--server", "d:4")];
    for (yaml, given, env, address, from) in [
        ("", &flag[..0], &[image][..], "server:12345", "CLI_SERVER_ADDRESS_DEFAULT"),
        ("server: {address: 'b:2'}", &flag[..0], &[image], "b:2", "c.yaml"),
        ("server: {address: 'b:2'}", &flag[..0], &[image, ("CLI_SERVER_ADDRESS", "c:3")], "c:3", "CLI_SERVER_ADDRESS"),
        ("server: {address: 'b:2'}", &flag, &[image, ("CLI_SERVER_ADDRESS", "c:3")], "d:4", "--server"),
    ] {
        let config = read(yaml, given, env).unwrap();
        assert_eq!((config.server_address.as_str(), config.address_from.as_str()), (address, from));
    }
    assert!(read("", &[], &[("CLI_SERVER_ADDRESS_DEFAULT", "server")]).unwrap_err().0.contains("_DEFAULT is 'server'"));
    assert!(variables().contains(&"CLI_BATCH_MAXAMOUNT".to_owned()) && variables().contains(&"NOMBRE".to_owned()));
}

#[test]
fn an_error_of_syntax_says_where_it_is_what_it_is_and_what_to_do() {
    let how = "write each line as key: value, and the keys of a group below it, indented by two spaces";
    for (yaml, place, what) in [
        ("id: 1\nserver:\n\taddress: a:1\n", "line 3, column 1", "a tab, or another character that may not be there"),
        ("id: 1\nmode: a: b\n", "line 2, column 8", "a second colon in the line, or"),
        ("id: 1\nmode\nloop: 1\n", "line 3, column 1", "a line without a colon behind its key"),
        ("id: 'one\nmode: agency\n", "line 3, column 1", "a quote or a bracket that is not closed"),
    ] {
        let said = load(yaml, &[]).unwrap_err();
        let said = said.split_once("c.yaml").map_or(said.as_str(), |(_, said)| said).trim_start();
        assert!(said.starts_with(place) && said.contains(what) && said.ends_with(how), "{yaml:?}: {said}");
        assert_eq!(said.lines().count(), 1, "{said}");
    }
}
