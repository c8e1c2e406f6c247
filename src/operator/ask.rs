//! The commands that ask a running hub once, or listen to it.

use std::io::Write;

use serde::de::DeserializeOwned;

use super::failure::Failure;
use super::http::{Answer, Hub};
use super::screen;
use super::text::clean;
use super::why::sentences;
use crate::logging::LogLevel;
use crate::status::report::{ConnectionList, Report, VERSION};

/// Prints the hub's status: a screen, or as JSON what the hub says.
///
/// # Errors
/// No hub answers, or its answer cannot be understood.
pub fn status(hub: &Hub, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        return raw(hub, "/status.json", out);
    }
    let lines = screen::of_report(&report(hub)?, usize::MAX, usize::MAX);
    put(out, &lines)
}

/// Prints the hub's connections, one a line, or as JSON what the hub says.
///
/// # Errors
/// As [`status`].
pub fn connections(hub: &Hub, json: bool, out: &mut dyn Write) -> Result<(), Failure> {
    if json {
        return raw(hub, "/connections.json", out);
    }
    let list: ConnectionList = fetch(hub, "/connections.json")?;
    put(out, &screen::of_connections(&list))
}

/// Prints why the draw has not been made, a sentence for each agency that it waits for; or when it was made.
///
/// # Errors
/// As [`status`].
pub fn why(hub: &Hub, out: &mut dyn Write) -> Result<(), Failure> {
    put(out, &sentences(&report(hub)?))
}

/// Prints the hub's events, one a line, until the hub ends.
///
/// # Errors
/// As [`status`].
pub fn events(hub: &Hub, out: &mut dyn Write) -> Result<(), Failure> {
    let mut event = Event::default();
    let mut broken = None;
    let refusal = hub.lines("/events", |line| {
        let Some(whole) = event.take(line) else { return true };
        let written = writeln!(out, "{whole}").and_then(|()| out.flush());
        broken = written.err();
        broken.is_none()
    })?;
    match (broken, refusal) {
        (Some(error), _) => Err(Failure::Output(error)),
        (None, Some(answer)) => Err(refused("/events", &answer)),
        (None, None) => Ok(()),
    }
}

/// A server-sent event that is being read (HTML Living Standard, 9.2.6).
#[derive(Debug, Default)]
struct Event {
    name: String,
    data: Vec<String>,
}

impl Event {
    /// Takes a line; the event in one line where the line ends it.
    fn take(&mut self, line: &str) -> Option<String> {
        let (field, value) = line.split_once(':').unwrap_or((line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match field {
            "" if line.is_empty() => {
                let Event { name, data } = std::mem::take(self);
                let named = if name.is_empty() { name } else { format!("{name} ") };
                return (!data.is_empty()).then(|| clean(format!("{named}{}", data.join(" "))));
            }
            "event" => value.clone_into(&mut self.name),
            // What an event has is bounded as a line is.
            "data" if self.data.len() < 64 => self.data.push(value.to_owned()),
            // Comments, ids and times for a reconnection.
            _ => {}
        }
        None
    }
}

/// Prints what the hub says of its health, or whether it is ready. Returns whether it is.
///
/// # Errors
/// As [`status`].
pub fn health(hub: &Hub, ready: bool, out: &mut dyn Write) -> Result<bool, Failure> {
    let path = if ready { "/readyz" } else { "/healthz" };
    let answer = hub.get(path)?;
    match answer.status {
        200 | 503 => {
            writeln!(out, "{}", answer.line()).map_err(Failure::Output)?;
            Ok(answer.status == 200)
        }
        _ => Err(refused(path, &answer)),
    }
}

/// Sets the level of the hub's log.
///
/// # Errors
/// As [`status`]; the hub refuses.
pub fn log_level(hub: &Hub, level: LogLevel, out: &mut dyn Write) -> Result<(), Failure> {
    let answer = hub.post("/log-level", level.name())?;
    match answer.status {
        200..=299 => writeln!(out, "the hub logs {level} and above").map_err(Failure::Output),
        _ => Err(refused("/log-level", &answer)),
    }
}

/// The hub's report.
pub(super) fn report(hub: &Hub) -> Result<Report, Failure> {
    fetch(hub, "/status.json")
}

fn fetch<T: DeserializeOwned>(hub: &Hub, path: &str) -> Result<T, Failure> {
    let answer = hub.get(path)?;
    if answer.status == 200 { parsed(path, &answer) } else { Err(refused(path, &answer)) }
}

/// Prints the body of an answer as it came.
fn raw(hub: &Hub, path: &str, out: &mut dyn Write) -> Result<(), Failure> {
    let mut answer = hub.get(path)?;
    if answer.status != 200 {
        return Err(refused(path, &answer));
    }
    if !answer.body.ends_with(b"\n") {
        answer.body.push(b'\n');
    }
    out.write_all(&answer.body).map_err(Failure::Output)
}

/// The value in an answer, if it is of the version that this program knows.
pub(super) fn parsed<T: DeserializeOwned>(path: &str, answer: &Answer) -> Result<T, Failure> {
    #[derive(serde::Deserialize)]
    struct Versioned {
        version: u32,
    }
    let wrong = |what: String| Failure::Answer(format!("the hub's {path} cannot be read: {}", clean(what)));
    let Versioned { version } = serde_json::from_slice(&answer.body).map_err(|error| wrong(error.to_string()))?;
    if version != VERSION {
        return Err(wrong(format!("it has version {version}, and this loteria reads version {VERSION}")));
    }
    serde_json::from_slice(&answer.body).map_err(|error| wrong(error.to_string()))
}

/// The hub's refusal, in its own words where it has some.
pub(super) fn refused(path: &str, answer: &Answer) -> Failure {
    let (status, line) = (answer.status, answer.line());
    Failure::Answer(if line.is_empty() {
        format!("the hub answers {path} with status {status}")
    } else {
        format!("the hub answers {path} with status {status}: {line}")
    })
}

fn put(out: &mut dyn Write, lines: &[String]) -> Result<(), Failure> {
    let text: String = lines.iter().map(|line| format!("{line}\n")).collect();
    out.write_all(text.as_bytes()).map_err(Failure::Output)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_are_read_as_the_standard_says() {
        let stream = ": hello\n\nevent: bets\ndata: {\"n\":1}\nid: 7\n\ndata:a\ndata:  b\n\nevent: lost\n\nretry: 5\ndata: \u{1b}c\n\n";
        let mut event = Event::default();
        let told: Vec<String> = stream.lines().filter_map(|line| event.take(line)).collect();
        assert_eq!(told, ["bets {\"n\":1}", "a  b", ".c"]);
    }
}
