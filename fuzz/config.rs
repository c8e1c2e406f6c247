//! Any text as `config.ini` and as `config.yaml`: it is taken or refused in one line, and what is taken is usable.
//! The body of the fuzz target `config`, and of its short run in the tests.

#[path = "../src/bin/server/options.rs"]
#[allow(dead_code, reason = "not every option is looked at")]
mod options;

use std::env::VarError;
use std::path::Path;

use loteria::agency::protocols;
use loteria::config::client::ClientConfig;
use loteria::config::{ConfigError, Settings, format_duration, parse_duration, parse_size};

/// Runs one input.
pub fn run(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    server(text);
    client(text);
    if let Some(duration) = parse_duration(text) {
        assert_eq!(parse_duration(&format_duration(duration)), Some(duration), "{text:?} written again");
    }
    let _ = parse_size(text);
}

fn server(text: &str) {
    let settings = Settings::parse("config.ini", text);
    let options = settings.and_then(|mut settings| {
        let options = options::Options::read(&mut settings)?;
        Ok((options, settings))
    });
    match options {
        Ok((options, settings)) => {
            assert!(!settings.chosen().is_empty());
            // Each is said in the log.
            settings.unknown();
            let policy = options.policy;
            assert!((1..=1_000_000).contains(&policy.connections_max));
            assert!((8192..=64 * 1024 * 1024).contains(&policy.frame_bytes_max));
            assert!(!policy.idle_timeout.is_zero() && !policy.write_timeout.is_zero());
            assert!(policy.unnumbered_agencies.iter().all(|id| options.roster.contains(*id)));
        }
        Err(error) => one_line(&error, "config.ini"),
    }
}

fn client(text: &str) {
    let nothing = |_: &str| Err(VarError::NotPresent);
    match ClientConfig::parse(Path::new("config.yaml"), text, &nothing, &protocols()) {
        Ok(config) => {
            let (host, port) = config.host_and_port();
            assert!(!host.is_empty() && port > 0 && config.id > 0 && config.batch_max_amount > 0);
            for warning in &config.warnings {
                assert!(!warning.contains(char::is_control), "a warning of more than one line: {warning:?}");
            }
        }
        Err(error) => one_line(&error, ""),
    }
}

fn one_line(error: &ConfigError, file: &str) {
    let line = error.to_string();
    assert!(line.contains(file) && !line.contains(char::is_control), "not one line: {line:?}");
}
