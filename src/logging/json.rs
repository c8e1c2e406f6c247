//! A line as a JSON object: `{"time":"2024-08-21T22:11:15Z","level":"INFO","action":"x","result":"y","key":"value"}`.

use std::io::{self, Write};

/// Details whose values stay texts where they are digits only: they are names, lists or peers' words, which need not be.
const TEXTS: [&str; 9] = ["agencias_pendientes", "dni", "error", "file", "ids", "missing", "msg", "reason", "warning"];

/// Writes one line of the form `action: x | result: y | key: value`. A value that is a whole number is one in JSON, too,
/// unless its key has texts; a part without a colon belongs to the value before it.
pub(super) fn write(out: &mut dyn Write, time: &str, level: &str, text: &str) -> io::Result<()> {
    write!(out, "{{\"time\":\"{time}\",\"level\":\"{level}\"")?;
    let mut fields: Vec<(&str, String)> = Vec::new();
    for part in text.split(" | ") {
        match (part.split_once(": "), fields.last_mut()) {
            (Some((key, value)), _) => fields.push((key, value.to_owned())),
            (None, Some((_, value))) => {
                value.push_str(" | ");
                value.push_str(part);
            }
            (None, None) => fields.push(("message", part.to_owned())),
        }
    }
    for (key, value) in fields {
        out.write_all(b",")?;
        string(out, key)?;
        out.write_all(b":")?;
        if is_number(&value) && !TEXTS.contains(&key) {
            out.write_all(value.as_bytes())?;
        } else {
            string(out, &value)?;
        }
    }
    out.write_all(b"}\n")
}

fn string(out: &mut dyn Write, text: &str) -> io::Result<()> {
    Ok(serde_json::to_writer(out, text)?)
}

/// A whole number that every reader of JSON takes as it is: without a leading zero, and of at most 15 digits (RFC 8259, 6).
fn is_number(text: &str) -> bool {
    let digits = text.as_bytes();
    (1..=15).contains(&digits.len())
        && digits.iter().all(u8::is_ascii_digit)
        && (digits[0] != b'0' || digits.len() == 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn line(text: &str) -> String {
        let mut out = Vec::new();
        write(&mut out, "2024-08-21T22:11:15Z", "INFO", text).unwrap();
        String::from_utf8(out).unwrap()
    }

    #[test]
    fn a_line_is_an_object_of_strings_and_numbers() {
        assert_eq!(
            line("action: apuesta_recibida | result: success | cantidad: 62 | agencia: 3 | ip: ::1"),
            "{\"time\":\"2024-08-21T22:11:15Z\",\"level\":\"INFO\",\"action\":\"apuesta_recibida\",\"result\":\"success\",\
             \"cantidad\":62,\"agencia\":3,\"ip\":\"::1\"}\n"
        );
        let object: serde_json::Value = serde_json::from_str(&line(
            "action: x | result: y | dni: 30904465 | a: 007 | b: 0 | c: 1e5 | d: 9999999999999999",
        ))
        .unwrap();
        assert_eq!(object["dni"], "30904465", "a document is a name");
        assert_eq!((&object["a"], &object["b"]), (&"007".into(), &0.into()));
        assert_eq!((&object["c"], &object["d"]), (&"1e5".into(), &"9999999999999999".into()));
    }

    #[test]
    fn any_text_gives_one_line_of_json() {
        let every: String = (0..=0x2100).filter_map(char::from_u32).chain("\u{fffd}\u{10ffff}".chars()).collect();
        for text in [every.as_str(), "", " | ", ": ", "a | b | c: d | e", "action: x | msg: a\"b\\c\n\0", " : | : "] {
            let line = line(text);
            assert_eq!(line.matches('\n').count(), 1, "{line:?}");
            let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(&line).unwrap();
            assert_eq!(object["level"], "INFO");
        }
        let object: serde_json::Value = serde_json::from_str(&line("action: x | msg: a: \"b\" | c")).unwrap();
        assert_eq!(object["msg"], "a: \"b\" | c", "a part without a colon belongs to the value before it");
    }
}
