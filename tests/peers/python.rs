//! The Python clients, run as the programs that they are.

use std::io::Write;
use std::path::Path;
use std::process::{Command, Output};

/// Runs a script of `tests/peers`; `None`, and a message, where there is no Python to run it.
pub fn python(script: &str, arguments: &[&str]) -> Option<Output> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/peers").join(script);
    // -B: nothing compiled is left in the checkout.
    match Command::new("python3").arg("-B").arg(path).args(arguments).output() {
        Ok(output) => Some(output),
        Err(error) => {
            // Not eprintln: the test harness would keep it to itself.
            let _ = writeln!(std::io::stderr(), "skipped: the clients need python3: {error}");
            None
        }
    }
}

/// What a script printed, if it found nothing wrong.
pub fn success(output: &Output) -> String {
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    assert!(output.status.success(), "{}\n{out}\n{err}", output.status);
    out.into_owned()
}
