//! The agency: arguments, configuration, exit code.

mod arguments;

use std::io::Write;
use std::process::ExitCode;

use loteria::agency::{BetFile, Check, Ending, Job, Tls, protocols, run};
use loteria::arguments::{Stop, parse};
use loteria::config::client::{ClientConfig, variables};
use loteria::config::{ConfigError, misspelt};
use loteria::logging::{self, LogOutput, say_on_stderr};

use arguments::Arguments;

/// Bad rows that `--check` shows at most: a file with one wrong column has as many as it has rows.
const BAD_ROWS_SHOWN: usize = 1000;

fn main() -> ExitCode {
    let arguments: Arguments = match parse() {
        Ok(arguments) => arguments,
        Err(Stop::Printed) => return ExitCode::SUCCESS,
        Err(Stop::Usage(line)) => return refuse(&line),
    };
    let (config, job, tls) = match configure(&arguments) {
        Ok(checked) => checked,
        Err(ConfigError(line)) => return refuse(&line),
    };
    if arguments.check.is_some() {
        warn_of(&config.warnings);
        let checked = check(&config, &job);
        // A name that nothing reads is a warning for an upload; a check is the moment to be strict.
        return if config.warnings.is_empty() { checked } else { ExitCode::from(2) };
    }
    let output = LogOutput::stdout();
    logging::init(config.log_level, logging::Format::Text, Box::new(output.writer()));
    match run(&config, &job, tls.as_ref(), &output) {
        Ending::Done | Ending::Stopped => ExitCode::SUCCESS,
        Ending::Failed => ExitCode::from(1),
        Ending::NoBets => ExitCode::from(2),
        // As a shell has it for SIGINT.
        Ending::Interrupted => ExitCode::from(130),
    }
}

fn configure(arguments: &Arguments) -> Result<(ClientConfig, Job, Option<Tls>), ConfigError> {
    let env = |name: &str| std::env::var(name);
    let loaded = ClientConfig::load(arguments.config.as_deref(), &arguments.flags(), &env, &protocols());
    let mut config = loaded.inspect_err(|_| warn_of(&misspelt_variables().collect::<Vec<_>>()))?;
    config.warnings.extend(misspelt_variables());
    match Tls::load(&config).and_then(|tls| Ok((tls, Job::new(&config)?))) {
        Ok((tls, job)) => Ok((config, job, tls)),
        Err(error) => {
            warn_of(&config.warnings);
            // An upload's advice is --data, which --check does not allow.
            let absent = arguments.check.as_ref().and_then(|file| Some((file, std::fs::metadata(file).err()?)));
            Err(absent.map_or(error, |(file, absent)| ConfigError(format!("--check is '{file}': {absent}"))))
        }
    }
}

/// A warning for each variable that looks like a misspelt one of the client.
fn misspelt_variables() -> impl Iterator<Item = String> {
    let names = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let misspelt = misspelt(names, &variables()).into_iter();
    misspelt.map(|(name, meant)| format!("environment: nothing reads {name}; {meant} is read"))
}

/// Says on standard error what the log would have said: a misspelt name may be the cause of the error that follows.
fn warn_of(warnings: &[String]) {
    for warning in warnings {
        say_on_stderr(&format!("client: warning: {}", logging::Value(warning)));
    }
}

/// Lists the bad rows of the data file, and what is probably wrong with the whole. Exit code 1 if there is a bad row, or
/// no bet.
fn check(config: &ClientConfig, job: &Job) -> ExitCode {
    let Job::Agency { dialect, data } = job else { return refuse("--check needs mode agency") };
    let mut bets = match BetFile::open(data) {
        Ok(bets) => bets,
        Err(error) => return refuse(&error.to_string()),
    };
    let mut check = Check::new(*dialect, BAD_ROWS_SHOWN);
    while check.some(&mut bets, BAD_ROWS_SHOWN) {}
    let is_empty = check.bets() == 0 && check.bad() == 0 && !config.empty;
    let mut lines: Vec<String> = check.described().to_vec();
    if check.not_described() > 0 {
        lines.push(format!("and {}", counted(check.not_described(), "more bad row")));
    }
    lines.extend(check.guesses());
    lines.push(format!("{}, {}", counted(check.bets(), "bet"), counted(check.bad(), "bad row")));
    if is_empty {
        lines.push("there are no bets in it; with --empty the agency finishes without any".to_owned());
    }
    let file = logging::Value(data.display());
    let mut out = std::io::stdout().lock();
    for line in lines {
        // A reader that went away has read what it wanted.
        let _ = writeln!(out, "{file}: {line}");
    }
    if check.bad() > 0 || is_empty { ExitCode::from(1) } else { ExitCode::SUCCESS }
}

/// `1 bet`, `2 bets`.
fn counted(count: u64, one: &str) -> String {
    format!("{count} {one}{}", if count == 1 { "" } else { "s" })
}

/// One line, and the exit code of wrong usage or configuration.
fn refuse(line: &str) -> ExitCode {
    say_on_stderr(&format!("client: {}", logging::Value(line)));
    ExitCode::from(2)
}
