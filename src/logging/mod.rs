//! Log lines: `2024-08-21 22:11:15 INFO     action: x | result: y | key: value`, or the same as JSON.
//!
//! This module owns the format of a line, the names of the levels and the escaping of values. The caller passes the
//! writer, which may drop lines instead of blocking. Logging never fails: a line that cannot be written is lost, and
//! the program goes on.

mod json;
mod output;

use std::fmt::{self, Display, Write as _};
use std::io::{self, Write};
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Mutex, OnceLock};
use std::time::{SystemTime, UNIX_EPOCH};

use env_logger::{Builder, Logger, Target};
use log::{Level, LevelFilter, Log, Metadata, Record};

pub use output::{Flow, LogOutput, say_on_stderr};

/// The target of the lines that a level of CRITICAL still shows: `log::error!(target: logging::CRITICAL, …)`.
///
/// The `log` crate has no such level, so the target marks these lines.
pub const CRITICAL: &str = "loteria::critical";

/// The targets that are shown. The lines of other crates do not have the project's format.
const OWN_TARGETS: [&str; 3] = ["loteria", "server", "client"];

/// The lowest level that is shown. The names are those of Python's `logging`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum LogLevel {
    /// Details for debugging.
    Debug,
    /// Events of normal work.
    Info,
    /// Events that an operator should look at.
    Warning,
    /// Failures.
    Error,
    /// Failures that end the program.
    Critical,
}

impl LogLevel {
    /// Every level, the lowest first.
    pub const ALL: [LogLevel; 5] =
        [LogLevel::Debug, LogLevel::Info, LogLevel::Warning, LogLevel::Error, LogLevel::Critical];

    /// The level with this name, in upper or lower case; `None` for any other text.
    pub fn from_name(name: &str) -> Option<LogLevel> {
        LogLevel::ALL.into_iter().find(|level| level.name().eq_ignore_ascii_case(name))
    }

    /// The level's name in the configuration and in the lines.
    pub fn name(self) -> &'static str {
        match self {
            LogLevel::Debug => "DEBUG",
            LogLevel::Info => "INFO",
            LogLevel::Warning => "WARNING",
            LogLevel::Error => "ERROR",
            LogLevel::Critical => "CRITICAL",
        }
    }

    fn of(metadata: &Metadata<'_>) -> LogLevel {
        match metadata.level() {
            Level::Error if metadata.target() == CRITICAL => LogLevel::Critical,
            Level::Error => LogLevel::Error,
            Level::Warn => LogLevel::Warning,
            Level::Info => LogLevel::Info,
            Level::Debug | Level::Trace => LogLevel::Debug,
        }
    }
}

impl Display for LogLevel {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}

/// How a line is written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Format {
    /// `2024-08-21 22:11:15 INFO     action: x | result: y | key: value`.
    #[default]
    Text,
    /// A JSON object a line, with the same keys and `time` (RFC 3339) and `level`.
    Json,
}

/// A value made safe for a line: each `|`, line break or control character is shown as `.`.
///
/// Every text from a peer, a file or the environment is wrapped in it before it is logged.
#[derive(Clone, Copy, Debug)]
pub struct Value<T>(pub T);

impl<T: Display> Display for Value<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(Cleaner(f), "{}", self.0)
    }
}

struct Cleaner<'a, 'f>(&'a mut fmt::Formatter<'f>);

impl fmt::Write for Cleaner<'_, '_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        for (place, clean) in text.split(breaks_a_line).enumerate() {
            if place > 0 {
                self.0.write_char('.')?;
            }
            self.0.write_str(clean)?;
        }
        Ok(())
    }
}

/// `1234567` as `1,234,567`.
pub fn grouped(number: u64) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() * 4 / 3);
    for (place, digit) in digits.chars().enumerate() {
        if place > 0 && (digits.len() - place).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

/// U+2028 and U+2029 are not control characters, but programs that read logs break lines at them.
fn breaks_a_line(c: char) -> bool {
    c == '|' || c.is_control() || matches!(c, '\u{2028}' | '\u{2029}')
}

/// Sends every line of `level` and above to `out`, each in one `write_all` and a `flush`. Only the first call in a
/// process has an effect.
///
/// `out` is called with a lock held and must not log. If it returns an error, the line is lost.
pub fn init(level: LogLevel, format: Format, out: Box<dyn Write + Send>) {
    let logger = Leveled::new(level, format, out);
    let shown = Arc::clone(&logger.level);
    if log::set_boxed_logger(Box::new(logger)).is_ok() && LEVEL.set(shown).is_ok() {
        set_level(level);
    }
}

/// Shows lines of `level` and above from here on. Without effect before [`init`].
pub fn set_level(level: LogLevel) {
    let Some(shown) = LEVEL.get() else { return };
    shown.store(level as u8, Ordering::Relaxed);
    // What no level shows is not even formatted.
    log::set_max_level(match level {
        LogLevel::Debug => LevelFilter::Debug,
        LogLevel::Info => LevelFilter::Info,
        LogLevel::Warning => LevelFilter::Warn,
        LogLevel::Error | LogLevel::Critical => LevelFilter::Error,
    });
}

/// The level that is shown; `None` before [`init`].
pub fn level() -> Option<LogLevel> {
    let shown = LEVEL.get()?.load(Ordering::Relaxed);
    LogLevel::ALL.into_iter().find(|level| *level as u8 == shown)
}

/// The level of the logger of [`init`].
static LEVEL: OnceLock<Arc<AtomicU8>> = OnceLock::new();

/// A logger whose level can change.
struct Leveled {
    logger: Logger,
    /// A [`LogLevel`].
    level: Arc<AtomicU8>,
}

impl Leveled {
    fn new(level: LogLevel, format: Format, out: Box<dyn Write + Send>) -> Leveled {
        Leveled { logger: logger(format, out), level: Arc::new(AtomicU8::new(level as u8)) }
    }
}

impl Log for Leveled {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        LogLevel::of(metadata) as u8 >= self.level.load(Ordering::Relaxed) && self.logger.enabled(metadata)
    }

    fn log(&self, record: &Record<'_>) {
        if self.enabled(record.metadata()) {
            self.logger.log(record);
        }
    }

    fn flush(&self) {
        self.logger.flush();
    }
}

/// Whether `line`, in either format, has the level DEBUG.
pub fn is_debug(line: &[u8]) -> bool {
    let has = |before: &str, level: &[u8]| line.get(before.len()..).is_some_and(|rest| rest.starts_with(level));
    has("2024-08-21 22:11:15 ", b"DEBUG ")
        || line.first() == Some(&b'{') && has("{\"time\":\"2024-08-21T22:11:15Z\",\"level\":", b"\"DEBUG\"")
}

/// A logger of the lines of all levels.
fn logger(format: Format, out: Box<dyn Write + Send>) -> Logger {
    let clock = Mutex::new(Stamp::default());
    let mut builder = Builder::new();
    builder.target(Target::Pipe(out)).format(move |line, record| {
        let mut stamp = clock.lock().map_err(|_| io::ErrorKind::Other)?;
        let level = LogLevel::of(record.metadata());
        match format {
            Format::Text => writeln!(line, "{} {level:8} {}", stamp.now(), record.args()),
            Format::Json => {
                let time = stamp.now().replacen(' ', "T", 1) + "Z";
                json::write(line, &time, level.name(), &record.args().to_string())
            }
        }
    });
    builder.filter_level(LevelFilter::Off).filter_module(CRITICAL, LevelFilter::Error);
    for target in OWN_TARGETS {
        builder.filter_module(target, LevelFilter::Debug);
    }
    builder.build()
}

/// Date and time as text, formatted once a second: a busy server writes many lines in one second.
#[derive(Default)]
struct Stamp {
    second: Option<i64>,
    text: String,
}

impl Stamp {
    fn now(&mut self) -> &str {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        self.at(i64::try_from(since.as_secs()).unwrap_or(i64::MAX))
    }

    /// The text for a Unix time in seconds: UTC, `2024-08-21 22:11:15`.
    fn at(&mut self, second: i64) -> &str {
        if self.second != Some(second) {
            self.second = Some(second);
            self.text.clear();
            let time = jiff::Timestamp::from_second(second).unwrap_or(jiff::Timestamp::MAX);
            let _ = write!(self.text, "{}", time.strftime("%Y-%m-%d %H:%M:%S"));
        }
        &self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Clone, Default)]
    struct Lines(Arc<Mutex<Vec<u8>>>);

    impl Write for Lines {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn log_to(logger: &Leveled, level: Level, target: &str, text: &str) {
        logger.log(&Record::builder().level(level).target(target).args(format_args!("{text}")).build());
    }

    /// The names of the levels that are shown at `level`.
    fn shown_at(level: LogLevel) -> Vec<String> {
        let lines = Lines::default();
        let logger = Leveled::new(level, Format::Text, Box::new(lines.clone()));
        for own in [Level::Trace, Level::Debug, Level::Info, Level::Warn, Level::Error] {
            log_to(&logger, own, "loteria::hub", "action: x");
            log_to(&logger, own, "rustls", "not ours");
        }
        log_to(&logger, Level::Error, CRITICAL, "action: x");
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        text.lines().map(|line| line.split_whitespace().nth(2).unwrap().to_owned()).collect()
    }

    #[test]
    fn a_number_has_a_comma_between_each_three_digits() {
        for (number, text) in [(0, "0"), (999, "999"), (1000, "1,000"), (12_345, "12,345"), (1_234_567, "1,234,567")] {
            assert_eq!(grouped(number), text);
        }
    }

    #[test]
    fn a_level_shows_itself_and_what_is_above_and_only_our_own_lines() {
        assert_eq!(shown_at(LogLevel::Debug), ["DEBUG", "INFO", "WARNING", "ERROR", "CRITICAL"]);
        assert_eq!(shown_at(LogLevel::Info), ["INFO", "WARNING", "ERROR", "CRITICAL"]);
        assert_eq!(shown_at(LogLevel::Warning), ["WARNING", "ERROR", "CRITICAL"]);
        assert_eq!(shown_at(LogLevel::Error), ["ERROR", "CRITICAL"]);
        assert_eq!(shown_at(LogLevel::Critical), ["CRITICAL"]);
    }

    #[test]
    fn the_level_of_a_running_program_changes() {
        let lines = Lines::default();
        let logger = Leveled::new(LogLevel::Warning, Format::Text, Box::new(lines.clone()));
        for (level, shown) in [(LogLevel::Debug, 1), (LogLevel::Critical, 0), (LogLevel::Info, 1)] {
            logger.level.store(level as u8, Ordering::Relaxed);
            log_to(&logger, Level::Info, "server", "action: x");
            let text = std::mem::take(&mut *lines.0.lock().unwrap());
            assert_eq!(text.iter().filter(|byte| **byte == b'\n').count(), shown, "{level}");
        }
    }

    #[test]
    fn a_line_has_time_padded_level_and_text() {
        let lines = Lines::default();
        let logger = Leveled::new(LogLevel::Info, Format::Text, Box::new(lines.clone()));
        log_to(&logger, Level::Info, "server", "action: x | result: success");
        let text = String::from_utf8(lines.0.lock().unwrap().clone()).unwrap();
        let (stamp, rest) = text.split_at(19);
        assert_eq!(rest, " INFO     action: x | result: success\n");
        assert!(jiff::civil::DateTime::strptime("%Y-%m-%d %H:%M:%S", stamp).is_ok(), "{stamp}");
        assert!(!is_debug(text.as_bytes()));
    }

    #[test]
    fn a_line_of_json_has_its_time_as_rfc_3339_has_it() {
        let lines = Lines::default();
        let logger = Leveled::new(LogLevel::Info, Format::Json, Box::new(lines.clone()));
        log_to(&logger, Level::Error, CRITICAL, "action: store | result: fail");
        let line: serde_json::Value = serde_json::from_slice(&lines.0.lock().unwrap()).unwrap();
        assert!(line["time"].as_str().unwrap().parse::<jiff::Timestamp>().is_ok(), "{line}");
        assert_eq!((&line["level"], &line["action"]), (&"CRITICAL".into(), &"store".into()));
    }

    #[test]
    fn a_line_tells_whether_it_is_for_debugging() {
        for format in [Format::Text, Format::Json] {
            let lines = Lines::default();
            let logger = Leveled::new(LogLevel::Debug, format, Box::new(lines.clone()));
            log_to(&logger, Level::Debug, "server", "action: x | result: success");
            assert!(is_debug(&std::mem::take(&mut *lines.0.lock().unwrap())), "{format:?}");
            log_to(&logger, Level::Info, "server", "action: x | result: DEBUG ");
            assert!(!is_debug(&lines.0.lock().unwrap()), "{format:?}");
        }
        assert!(!is_debug(b"DEBUG ") && !is_debug(b""));
    }

    #[test]
    fn the_time_is_utc_and_moves_on() {
        let mut stamp = Stamp::default();
        assert_eq!(stamp.at(1_724_278_275), "2024-08-21 22:11:15");
        assert_eq!(stamp.at(1_724_278_276), "2024-08-21 22:11:16");
        assert_eq!(stamp.at(0), "1970-01-01 00:00:00");
        assert_eq!(stamp.at(i64::MAX), "9999-12-30 22:00:00", "the calendar's last moment, not a failure");
    }

    #[test]
    fn a_writer_that_fails_loses_lines_and_nothing_else() {
        struct Broken;
        impl Write for Broken {
            fn write(&mut self, _: &[u8]) -> io::Result<usize> {
                Err(io::ErrorKind::BrokenPipe.into())
            }
            fn flush(&mut self) -> io::Result<()> {
                Ok(())
            }
        }
        let logger = Leveled::new(LogLevel::Info, Format::Text, Box::new(Broken));
        log_to(&logger, Level::Info, "client", "action: x");
        log_to(&logger, Level::Info, "client", "action: y");
    }

    #[test]
    fn values_cannot_break_a_line() {
        for (value, shown) in [
            ("plain: N°1, ñandú", "plain: N°1, ñandú"),
            ("a|b\r\nc\td\0e\u{7f}f\u{85}g\u{1b}[2J", "a.b..c.d.e.f.g.[2J"),
            ("\u{2028}x\u{2029}", ".x."),
            ("", ""),
        ] {
            assert_eq!(Value(value).to_string(), shown);
        }
        assert_eq!(Value(format_args!("{}|{}", 1, "\n")).to_string(), "1..");
    }

    #[test]
    fn level_names_read_back_in_either_case() {
        for level in LogLevel::ALL {
            assert_eq!(LogLevel::from_name(level.name()), Some(level));
            assert_eq!(LogLevel::from_name(&level.name().to_lowercase()), Some(level));
        }
        for name in ["", "TRACE", "WARN", " INFO", "20"] {
            assert_eq!(LogLevel::from_name(name), None, "{name}");
        }
    }
}
