//! The line of each key in an INI text. The INI crate does not report lines.

/// The lines, from 1, on which the keys of `text` begin, in the order of the text. Comments, sections, quotes and
/// backslashes are parsed as the INI crate does; the crate must have accepted `text`, and its line ends must be LF.
pub fn lines_of_keys(text: &str) -> Vec<usize> {
    let mut lines = Vec::new();
    walk(text, |line, is_key| lines.extend(is_key.then_some(line)));
    lines
}

/// The line, from 1, on which the last key or section of `text` begins: the one that is open if the text ends too soon.
pub fn line_of_the_last(text: &str) -> usize {
    let mut last = 1;
    walk(text, |line, _| last = line);
    last
}

/// Calls `begins` with the line of each key and section, and whether it is a key.
fn walk(text: &str, mut begins: impl FnMut(usize, bool)) {
    let mut walk = Walk { rest: text.chars(), line: 1, next: None };
    walk.step();
    while let Some(next) = walk.next {
        match next {
            ';' | '#' => walk.rest_of_line(),
            '[' => {
                begins(walk.line, false);
                walk.until(&[']']);
                walk.step();
            }
            '=' | ':' => walk.value(),
            c if c.is_whitespace() => walk.step(),
            _ => {
                begins(walk.line, true);
                walk.until(&['=', ':']);
            }
        }
    }
}

struct Walk<'a> {
    rest: std::str::Chars<'a>,
    /// The line of `next`.
    line: usize,
    next: Option<char>,
}

impl Walk<'_> {
    fn step(&mut self) {
        self.line += usize::from(self.next == Some('\n'));
        self.next = self.rest.next();
    }

    fn rest_of_line(&mut self) {
        while self.next.is_some_and(|c| c != '\n') {
            self.step();
        }
    }

    /// Advances to the first of `ends`; a backslash escapes the character after it.
    fn until(&mut self, ends: &[char]) {
        while let Some(c) = self.next.filter(|c| !ends.contains(c)) {
            if c == '\\' {
                self.step();
            }
            self.step();
        }
    }

    /// Advances past a separator and its value: quoted parts, which may have several lines, then the rest of the line.
    fn value(&mut self) {
        self.step();
        while self.next.is_some_and(|c| c.is_whitespace() && c != '\n') {
            self.step();
        }
        while let Some(quote @ ('"' | '\'')) = self.next {
            self.step();
            self.until(&[quote]);
            self.step();
        }
        self.until(&['\n']);
    }
}

#[cfg(test)]
mod tests {
    use ini::Ini;
    use proptest::prelude::*;

    use super::*;
    use crate::config::settings::normal_lines;

    #[test]
    fn keys_are_on_the_lines_on_which_they_begin() {
        let text = "# a = 1\nA = 1\n\n[S]\nB: '1\n2 = 3\n' 4\n[T] C = 5\n;D = 6\nE=\\\nF\nG=";
        assert_eq!(lines_of_keys(text), [2, 5, 8, 10, 12]);
    }

    /// The parts from which the tests compose texts.
    const PARTS: [&str; 16] =
        ["\n", "#", ";", "[", "]", "=", ":", "a", " ", "\"", "'", "\\", "\u{b}", "é", "k = v\n", "[S]\n"];

    proptest! {
        #![proptest_config(ProptestConfig { cases: 10_000, failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn there_are_as_many_as_the_reader_finds(parts in prop::collection::vec(prop::sample::select(&PARTS), 0..40)) {
            let text = normal_lines(&parts.concat());
            if let Ok(file) = Ini::load_from_str_noescape(&text) {
                let keys = file.iter().map(|(_, keys)| keys.iter().count()).sum::<usize>();
                prop_assert_eq!(lines_of_keys(&text).len(), keys, "{:?}", text);
            }
        }
    }
}
