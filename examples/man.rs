//! The manual pages of `server`, `client` and `loteria`, from the declarations of their arguments.
//!
//! `cargo run --example man -- DIR` (`make man`) writes them into DIR, in the format of man(7). Server and client have a
//! second page each, with the name that `make install` gives them.

#![allow(dead_code, missing_docs, reason = "the declarations are used by the programs")]

#[path = "../src/bin/client/arguments.rs"]
mod client;
#[path = "../src/bin/loteria/arguments.rs"]
mod operator;
#[path = "../src/bin/server/arguments.rs"]
mod server;

use std::io;
use std::path::PathBuf;

use clap::CommandFactory;

fn main() -> io::Result<()> {
    let folder = std::env::args_os().nth(1).map_or(PathBuf::from("target/man"), PathBuf::from);
    std::fs::create_dir_all(&folder)?;
    let installed = [
        server::Arguments::command().name("loteria-server").bin_name("loteria-server"),
        client::Arguments::command().name("loteria-client").bin_name("loteria-client"),
    ];
    let programs = [server::Arguments::command(), client::Arguments::command(), operator::Arguments::command()];
    for program in programs.into_iter().chain(installed) {
        // A page for the program, and one for each of its commands.
        clap_mangen::generate_to(program, &folder)?;
    }
    Ok(())
}
