//! The configuration as an INI text that gives the same values again, for `server --check`.

use std::fmt::Write;

use super::settings::{Chosen, Settings};
use crate::logging::Value;

/// Every value as `KEY = value` under its section, with a comment above it that says where the value comes from.
pub fn written(chosen: &[Chosen]) -> String {
    let mut text = String::new();
    let mut section = "";
    for Chosen { section: of, key, value, source } in chosen {
        if *of != section {
            section = of;
            let gap = if text.is_empty() { "" } else { "\n" };
            let _a_string_takes_it = writeln!(text, "{gap}[{section}]");
        }
        let source = Value(source);
        let _a_string_takes_it = match encoded(value) {
            Some(value) => writeln!(text, "# {source}\n{key} = {value}"),
            None => writeln!(text, "# {source}: no file can have this value of {key}: {}", Value(value)),
        };
    }
    text
}

/// `value` as a file has it; `None` where a file cannot have it, as its line breaks are read as others.
fn encoded(value: &str) -> Option<String> {
    let quoted = match (value.contains('"'), value.contains('\'')) {
        _ if !value.contains('\n') && !value.starts_with(['"', '\'']) => value.to_owned(),
        (false, _) => format!("\"{value}\""),
        (true, false) => format!("'{value}'"),
        // Quoted parts that follow one another are one value.
        (true, true) => format!("\"{}\"", value.replace('"', "\"'\"'\"")),
    };
    let read = Settings::parse("", &format!("K = {quoted}\n")).ok()?;
    (read.in_file(super::DEFAULT_SECTION, "K").as_deref() == Some(value)).then_some(quoted)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn chosen(value: &str) -> Chosen {
        Chosen { section: "STORAGE", key: "PATH", value: value.to_owned(), source: "environment".to_owned() }
    }

    #[test]
    fn each_value_has_its_source_above_it() {
        let text = written(&[chosen("bets.csv"), Chosen { section: "LOG", key: "FORMAT", ..chosen("") }]);
        assert_eq!(text, "[STORAGE]\n# environment\nPATH = bets.csv\n\n[LOG]\n# environment\nFORMAT = \n");
        let text = written(&[chosen("a\r|b")]);
        assert_eq!(text, "[STORAGE]\n# environment: no file can have this value of PATH: a..b\n");
    }

    #[test]
    fn quotes_and_line_breaks_are_kept() {
        for value in ["", "a ; b # c", "'a' b", "\"a", "a\nb", "a\n\"b", "a\n\"b'", "a = b : c", "\\n", "[a]"] {
            assert!(encoded(value).is_some(), "{value:?}");
        }
    }

    /// The parts from which the test composes values.
    const PARTS: [&str; 10] = ["\n", "#", ";", "[", "=", "a", " ", "\"", "'", "\\"];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 2_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn what_is_written_gives_the_same_values(parts in prop::collection::vec(prop::sample::select(&PARTS), 0..12)) {
            let value = parts.concat().trim().to_owned();
            let both = [chosen(&value), Chosen { key: "FSYNC", ..chosen("never") }];
            let read = Settings::parse("", &written(&both)).expect("an INI text");
            let (path, sync) = (read.in_file("STORAGE", "PATH"), read.in_file("STORAGE", "FSYNC"));
            prop_assert_eq!(sync.as_deref(), Some("never"));
            if encoded(&value).is_some() {
                prop_assert_eq!(path, Some(value));
            }
        }
    }
}
