//! Values of the command line, the environment, `config.ini` and the defaults, each recorded with its source.

use std::collections::{BTreeMap, BTreeSet};
use std::ffi::OsString;
use std::fmt::Display;
use std::path::Path;

use ini::Ini;

use super::ini_lines::{line_of_the_last, lines_of_keys};
use super::misspelt::{misspelt, nearest_key};
use super::{ConfigError, without_mark};

/// The section whose keys have no prefix in the environment.
pub const DEFAULT_SECTION: &str = "DEFAULT";

/// A lookup in the command line, then the environment, then a file, then the default.
#[derive(Debug)]
pub struct Settings {
    file: Ini,
    path: String,
    environment: fn(&str) -> Option<OsString>,
    /// Values of the command line: section, key, flag and value.
    flags: Vec<(&'static str, &'static str, &'static str, String)>,
    known: BTreeSet<(String, String)>,
    chosen: Vec<Chosen>,
}

/// A value as it was chosen.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Chosen {
    /// Section of the file.
    pub section: &'static str,
    /// Key.
    pub key: &'static str,
    /// The text that was read.
    pub value: String,
    /// The flag, `environment`, the file's path, or `default`.
    pub source: String,
}

impl Settings {
    /// Reads the file at `path`. A missing file counts as empty, unless it was `asked_for` on the command line.
    ///
    /// # Errors
    /// A file that cannot be read, or is no INI file.
    pub fn load(path: &Path, asked_for: bool) -> Result<Settings, ConfigError> {
        let name = path.display().to_string();
        match std::fs::read_to_string(path) {
            Ok(text) => Settings::parse(&name, &text),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound && !asked_for => Settings::parse(&name, ""),
            Err(error) if error.kind() == std::io::ErrorKind::InvalidData => {
                Err(ConfigError(format!("{name}: is not UTF-8 text; save it in that encoding")))
            }
            Err(error) => Err(ConfigError(format!("{name}: {error}"))),
        }
    }

    /// As [`load`](Self::load), of a file called `name` that holds `text`.
    ///
    /// # Errors
    /// A text that is no INI file, or that has a key twice.
    pub fn parse(name: &str, text: &str) -> Result<Settings, ConfigError> {
        let text = normal_lines(without_mark(text));
        let file = Ini::load_from_str_noescape(&text).map_err(|error| refused(name, &text, &error))?;
        refuse_broken_keys(name, &text, &file)?;
        Ok(Settings {
            file,
            path: name.to_owned(),
            environment: |name| std::env::var_os(name),
            flags: Vec::new(),
            known: BTreeSet::new(),
            chosen: Vec::new(),
        })
    }

    /// Gives `key` the value of a flag of the command line, which goes before all others.
    pub fn set_flag(&mut self, section: &'static str, key: &'static str, flag: &'static str, value: String) {
        self.flags.push((section, key, flag, value));
    }

    /// The variables of `names` that are misspelt names of keys looked up so far, each with the nearest one.
    pub fn misspelt(&self, names: impl IntoIterator<Item = String>) -> Vec<(String, String)> {
        let known: Vec<String> = self.known.iter().map(|(section, key)| variable_of(section, key)).collect();
        misspelt(names, &known)
    }

    /// The value of `key`, parsed by `parse`, whose error describes the expected value. An empty value in the
    /// environment counts as absent.
    ///
    /// # Errors
    /// An invalid value: the message names the key and its source.
    pub fn get<T, E: Display>(
        &mut self,
        section: &'static str,
        key: &'static str,
        default: &str,
        parse: impl FnOnce(&str) -> Result<T, E>,
    ) -> Result<T, ConfigError> {
        self.known.insert((section.to_ascii_uppercase(), key.to_ascii_uppercase()));
        let name = variable_of(section, key);
        let flag = self.flags.iter().rfind(|flag| (flag.0, flag.1) == (section, key));
        let from_environment = (self.environment)(&name).filter(|value| !value.is_empty()).map(OsString::into_string);
        let from_environment = from_environment.transpose().map_err(|value| {
            ConfigError(format!(
                "environment: {name} = '{}': must be UTF-8",
                value.display().to_string().escape_debug()
            ))
        })?;
        let (value, source, label) = match (flag, from_environment, self.in_file(section, key)) {
            (Some((_, _, name, value)), ..) => (value.clone(), (*name).to_owned(), (*name).to_owned()),
            (None, Some(value), _) => (value, "environment".to_owned(), format!("environment: {name}")),
            (None, None, Some(value)) => (value, self.path.clone(), format!("{}: [{section}] {key}", self.path)),
            (None, None, None) => (default.to_owned(), "default".to_owned(), key.to_owned()),
        };
        let value = value.trim().to_owned();
        let parsed =
            parse(&value).map_err(|error| ConfigError(format!("{label} = '{}': {error}", value.escape_debug())))?;
        self.chosen.push(Chosen { section, key, value, source });
        Ok(parsed)
    }

    /// Of a key that was looked up and does not count by what other keys say: it is not among the chosen values.
    pub(super) fn leave_out(&mut self, section: &str, key: &str) {
        self.chosen.retain(|chosen| (chosen.section, chosen.key) != (section, key));
    }

    /// Every value so far, in the order of lookup.
    pub fn chosen(&self) -> &[Chosen] {
        &self.chosen
    }

    /// Where the value of a key comes from that was looked up: as [`Chosen::source`].
    pub fn source(&self, section: &str, key: &str) -> &str {
        let chosen = self.chosen.iter().find(|chosen| (chosen.section, chosen.key) == (section, key));
        chosen.map_or("default", |chosen| &chosen.source)
    }

    /// The file's keys that were never looked up, as `[SECTION] KEY`.
    pub fn unknown(&self) -> Vec<String> {
        let sections = self.file.iter().map(|(section, keys)| (section.unwrap_or(DEFAULT_SECTION), keys));
        let keys = sections.flat_map(|(section, keys)| keys.iter().map(move |(key, _)| (section, key)));
        keys.filter(|(section, key)| !self.known.contains(&(section.to_ascii_uppercase(), key.to_ascii_uppercase())))
            .map(|(section, key)| format!("[{section}] {key}"))
            .collect()
    }

    /// Whether the key, as [`unknown`](Self::unknown) has it, would be known with the other engine.
    pub fn needs_postgres(&self, unknown: &str) -> bool {
        let name = unknown.to_ascii_uppercase();
        let is_read = self.known.iter().any(|(section, _)| section == "POSTGRES");
        !is_read && (name.starts_with("[POSTGRES] ") || name == "[LOTTERY] DRAW")
    }

    /// The keys of [`unknown`](Self::unknown), each with the key that may have been meant: the key of this name in another
    /// section, else the nearest one.
    pub fn unknown_and_meant(&self) -> Vec<(String, Option<String>)> {
        let known: Vec<String> = self.known.iter().map(|(section, key)| format!("[{section}] {key}")).collect();
        let meant = |unknown: &str| {
            let (_, name) = unknown.rsplit_once("] ")?;
            let elsewhere = known
                .iter()
                .find(|known| known.rsplit_once("] ").is_some_and(|(_, other)| other.eq_ignore_ascii_case(name)));
            elsewhere.map(String::as_str).or_else(|| nearest_key(unknown, known.iter().map(String::as_str)))
        };
        let with_meant = |key: String| {
            let meant = meant(&key).map(str::to_owned);
            (key, meant)
        };
        self.unknown().into_iter().map(with_meant).collect()
    }

    /// Sections and keys are case-insensitive, as keys are in Python's configparser. Keys before any section belong to
    /// the default one.
    pub(super) fn in_file(&self, section: &str, key: &str) -> Option<String> {
        let sections =
            self.file.iter().filter(|(name, _)| name.unwrap_or(DEFAULT_SECTION).eq_ignore_ascii_case(section));
        let mut keys = sections.flat_map(|(_, keys)| keys.iter());
        keys.find(|(name, _)| name.eq_ignore_ascii_case(key)).map(|(_, value)| value.to_owned())
    }
}

/// The variable of a key.
fn variable_of(section: &str, key: &str) -> String {
    if section == DEFAULT_SECTION { key.to_owned() } else { format!("{section}_{key}") }
}

/// The error of a line that is no key and value.
const NO_VALUE: &str = "must be KEY = value, but there is no '='";

/// The text with line ends of LF and without indentation: the INI crate takes an indented comment for a part of the
/// next key.
pub(super) fn normal_lines(text: &str) -> String {
    let text = text.replace("\r\n", "\n").replace('\r', "\n");
    text.split_inclusive('\n').map(|line| line.trim_start_matches(|c: char| c.is_whitespace() && c != '\n')).collect()
}

/// A parse error of the INI crate as a message. The crate reports an unexpected end at the end of the text; the message
/// names the line of the last key instead.
fn refused(name: &str, text: &str, error: &ini::ParseError) -> ConfigError {
    let (line, reason) = match error.msg.strip_suffix("but found EOF.") {
        Some(expected) if expected.contains("'='") => (line_of_the_last(text), NO_VALUE),
        Some(expected) if expected.contains("']'") => (line_of_the_last(text), "the section's name must end with ']'"),
        Some(_) => (line_of_the_last(text), "the value has a quote that is never closed"),
        None if error.msg == "missing key" => (error.line, "there is no key before the '='"),
        None if error.msg.contains("']'") => (error.line, "the section's name must end with ']'"),
        None => (error.line, &*error.msg),
    };
    ConfigError(format!("{name}:{line}: {reason}"))
}

/// Rejects errors that the INI crate accepts: a repeated key, and a line without `=`, which the crate joins to the next
/// line's key.
fn refuse_broken_keys(name: &str, text: &str, file: &Ini) -> Result<(), ConfigError> {
    let mut seen = BTreeMap::new();
    let keys = file.iter().flat_map(|(section, keys)| keys.iter().map(move |(key, _)| (section, key)));
    for ((section, key), line) in keys.zip(lines_of_keys(text)) {
        let section = section.unwrap_or(DEFAULT_SECTION);
        if key.contains('\n') {
            return Err(ConfigError(format!("{name}:{line}: {NO_VALUE}")));
        }
        if let Some(first) = seen.insert((section.to_ascii_uppercase(), key.to_ascii_uppercase()), line) {
            let (section, key) = (section.escape_debug(), key.escape_debug());
            return Err(ConfigError(format!("{name}: [{section}] {key} is given twice, on lines {first} and {line}")));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn settings(file: &str, environment: fn(&str) -> Option<OsString>) -> Settings {
        Settings { environment, ..Settings::parse("config.ini", file).unwrap() }
    }

    fn number(text: &str) -> Result<u16, std::num::ParseIntError> {
        text.parse()
    }

    #[test]
    fn environment_then_file_then_default() {
        let file = "[DEFAULT]\nserver_port = 1\n[LOTTERY]\nAGENCIES = 2\n";
        let mut from_file = settings(file, |_| None);
        assert_eq!(from_file.get("DEFAULT", "SERVER_PORT", "9", number).unwrap(), 1);
        assert_eq!(from_file.get("LOTTERY", "AGENCIES", "9", number).unwrap(), 2);
        assert_eq!(from_file.get("LOTTERY", "OTHER", "9", number).unwrap(), 9);
        let mut from_environment = settings(file, |name| match name {
            "SERVER_PORT" => Some("7".into()),
            "LOTTERY_AGENCIES" => Some(OsString::new()),
            _ => None,
        });
        assert_eq!(from_environment.get("DEFAULT", "SERVER_PORT", "9", number).unwrap(), 7);
        assert_eq!(from_environment.get("LOTTERY", "AGENCIES", "9", number).unwrap(), 2, "empty counts as absent");
    }

    #[test]
    fn a_flag_goes_before_all_others_and_misspelt_variables_are_told() {
        let mut settings = settings("[LOTTERY]\nAGENCIES = 2\n", |_| Some("3".into()));
        settings.set_flag("LOTTERY", "AGENCIES", "--agencies", "4".to_owned());
        settings.set_flag("DEFAULT", "SERVER_PORT", "--port", "x".to_owned());
        assert_eq!(settings.get("LOTTERY", "AGENCIES", "9", number).unwrap(), 4);
        assert_eq!(settings.chosen()[0].source, "--agencies");
        let error = settings.get("DEFAULT", "SERVER_PORT", "9", number).unwrap_err();
        assert_eq!(error.0, "--port = 'x': invalid digit found in string");
        let names = ["LOTERY_AGENCIES", "SERVER_PORT", "HOME"].map(str::to_owned);
        assert_eq!(settings.misspelt(names), [("LOTERY_AGENCIES".to_owned(), "LOTTERY_AGENCIES".to_owned())]);
    }

    #[test]
    fn a_wrong_value_names_its_key_and_place() {
        let mut settings = settings("[LOTTERY]\nAGENCIES = x\n", |name| (name == "SERVER_PORT").then(|| "y".into()));
        let error = settings.get("LOTTERY", "AGENCIES", "5", number).unwrap_err();
        assert_eq!(error.0, "config.ini: [LOTTERY] AGENCIES = 'x': invalid digit found in string");
        let error = settings.get("DEFAULT", "SERVER_PORT", "5", number).unwrap_err();
        assert_eq!(error.0, "environment: SERVER_PORT = 'y': invalid digit found in string");
        settings.environment = |_| Some("1\n2".into());
        let error = settings.get("DEFAULT", "SERVER_PORT", "5", number).unwrap_err();
        assert_eq!(error.0, "environment: SERVER_PORT = '1\\n2': invalid digit found in string", "one line");
        settings.environment = |_| Some(std::os::unix::ffi::OsStringExt::from_vec(vec![0xff]));
        let error = settings.get("DEFAULT", "SERVER_PORT", "5", number).unwrap_err();
        assert!(error.0.starts_with("environment: SERVER_PORT") && error.0.ends_with("must be UTF-8"), "{}", error.0);
    }

    #[test]
    fn unknown_keys_are_named_and_those_that_may_be_meant() {
        let mut stray = settings("STRAY = 1\n[LOTTERY]\nAGENCIES = 2\nAGENCYS = 3\n", |_| None);
        stray.get("LOTTERY", "AGENCIES", "5", number).unwrap();
        assert_eq!(stray.unknown(), ["[DEFAULT] STRAY", "[LOTTERY] AGENCYS"]);
        let meant = |file: &str| {
            let mut settings = settings(file, |_| None);
            settings.get("LOTTERY", "AGENCIES", "5", number).unwrap();
            settings.get("STORAGE", "PATH", "5", number).unwrap();
            settings.unknown_and_meant().pop().unwrap().1.unwrap_or_default()
        };
        assert_eq!(meant("[LOTTERY]\nAGENCYS = 3\n"), "[LOTTERY] AGENCIES");
        assert_eq!(meant("[lotery]\nAgencies = 3\n"), "[LOTTERY] AGENCIES");
        assert_eq!(meant("path = 3\n"), "[STORAGE] PATH", "the section was forgotten");
        assert_eq!(meant("[LOTTERY]\nNUMBER = 3\n"), "");
    }

    #[test]
    fn a_byte_order_mark_and_other_line_ends_change_nothing() {
        for file in [
            "\u{feff}SERVER_PORT = 7\n[LOTTERY]\nAGENCIES = 2\n",
            "\u{feff}\u{feff}SERVER_PORT = 7\n[LOTTERY]\nAGENCIES = 2\n",
            "\u{feff}[DEFAULT]\r\nSERVER_PORT = 7\r\n[LOTTERY]\r\nAGENCIES = 2\r\n",
            "\u{feff}# ports\n\t# and others\n\tSERVER_PORT = 7\n  [LOTTERY]\n  AGENCIES = 2",
            "SERVER_PORT = 7\r[LOTTERY]\r# how many\rAGENCIES = 2\r",
        ] {
            let mut settings = settings(file, |_| None);
            assert_eq!(settings.get("DEFAULT", "SERVER_PORT", "9", number).unwrap(), 7, "{file:?}");
            assert_eq!(settings.get("LOTTERY", "AGENCIES", "9", number).unwrap(), 2, "{file:?}");
            assert_eq!(settings.unknown(), [""; 0], "{file:?}");
        }
    }

    #[test]
    fn a_key_that_is_given_twice_is_refused_with_both_lines() {
        for (file, said) in [
            ("# ports\nA = 1\n\nA = 1\n", "[DEFAULT] A is given twice, on lines 2 and 4"),
            ("A = 1\n[DEFAULT]\na = 2\n", "[DEFAULT] a is given twice, on lines 1 and 3"),
            ("[S]\nA = 1\nB = 2\n[T]\nA = 1\n[s]\nB : 3\n", "[s] B is given twice, on lines 3 and 7"),
            ("\u{feff}[S]\r\nA = '1\r\nA = 2'\r\nB = 1\r\n  B = 1\r\n", "[S] B is given twice, on lines 4 and 5"),
        ] {
            let error = Settings::parse("config.ini", file).unwrap_err();
            assert_eq!(error.0, format!("config.ini: {said}"));
        }
        assert!(Settings::parse("config.ini", "A = 1\n[S]\nA = 1\n[T]\nA = 1\n").is_ok(), "other sections' keys");
    }

    #[test]
    fn a_line_that_is_no_key_and_value_is_refused() {
        for (file, said) in [
            ("[DEFAULT]\nSERVER_PORT 4321\nSERVER_IP = server\n", "2: must be KEY = value, but there is no '='"),
            ("SERVER_PORT 9\n", "1: must be KEY = value, but there is no '='"),
            ("SERVER_PORT 9", "1: must be KEY = value, but there is no '='"),
            ("[S]\nA = 1\nSERVER_PORT 9\n\n# end\n", "3: must be KEY = value, but there is no '='"),
            ("A = 1\n= 2\n", "2: there is no key before the '='"),
            ("A = 1\n\n  : 2", "3: there is no key before the '='"),
            ("A = 1\n[S\nB = 1\n", "2: the section's name must end with ']'"),
            ("A = 1\nB = \"1\nC = 2\n", "2: the value has a quote that is never closed"),
            ("A = 1\nB = '1\nC = 2\n", "2: the value has a quote that is never closed"),
        ] {
            let error = Settings::parse("config.ini", file).unwrap_err();
            assert_eq!(error.0, format!("config.ini:{said}"), "{file:?}");
        }
    }
}
