//! The agency: arguments, configuration, exit code.

mod arguments;

use std::process::ExitCode;

use loteria::agency::{Ending, Job, Tls, protocols, run};
use loteria::arguments::{Stop, parse};
use loteria::config::ConfigError;
use loteria::config::client::ClientConfig;
use loteria::logging::{self, LogOutput, say_on_stderr};

use arguments::Arguments;

fn main() -> ExitCode {
    let Arguments { config } = match parse() {
        Ok(arguments) => arguments,
        Err(Stop::Printed) => return ExitCode::SUCCESS,
        Err(Stop::Usage(line)) => return refuse(&line),
    };
    let loaded = ClientConfig::load(config.as_deref(), &|name| std::env::var(name), &protocols());
    let checked = loaded.and_then(|config| {
        let (job, tls) = (Job::new(&config)?, Tls::load(&config)?);
        Ok((config, job, tls))
    });
    let (config, job, tls) = match checked {
        Ok(checked) => checked,
        Err(ConfigError(line)) => return refuse(&line),
    };
    let output = LogOutput::stdout();
    logging::init(config.log_level, logging::Format::Text, Box::new(output.writer()));
    match run(&config, &job, tls.as_ref(), &output) {
        Ending::Done | Ending::Stopped => ExitCode::SUCCESS,
        Ending::Failed => ExitCode::from(1),
    }
}

/// One line, and the exit code of wrong usage or configuration.
fn refuse(line: &str) -> ExitCode {
    say_on_stderr(&format!("client: {}", logging::Value(line)));
    ExitCode::from(2)
}
