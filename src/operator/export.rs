//! `loteria export`: all rows of a draw, as a store of files has them.

use std::fs::{self, File};
use std::io::{self, BufWriter, Write};
use std::path::{Path, PathBuf};
use std::thread;

use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;

use super::failure::Failure;
use super::source::Source;
use super::text::{clean, counted};
use crate::storage::{Waiting, check_rows, export_draw};

/// The name of standard output.
const STDOUT: &str = "-";

/// Writes all rows of the source to `file`, which must not exist, or to `out` where `file` is `-`. From the engine they come by
/// agency and batch; from a store of files in the order in which they were stored. The file has its name only when it is whole.
///
/// # Errors
/// The draw or the store is damaged or cannot be read; the file exists or cannot be written.
pub fn export<N: Waiting>(source: Source<N>, file: &Path, out: &mut dyn Write) -> Result<(), Failure> {
    let name = source.name();
    if file.as_os_str() == STDOUT {
        write_rows(source, &mut BufWriter::new(out), Failure::Output)?;
        return Ok(());
    }
    let failed = |error| Failure::File { file: file.to_owned(), error };
    if fs::symlink_metadata(file).is_ok() {
        return Err(failed(rustix::io::Errno::EXIST.into()));
    }
    let part = PartOf::new(file);
    let bets = part.fill(|rows| write_rows(source, rows, failed), failed)?;
    let bets = counted(bets, "bet", "bets");
    let line = format!("{}: {bets} of {}\n", clean(file.display()), clean(name));
    out.write_all(line.as_bytes()).map_err(Failure::Output)
}

/// Returns how many bets there are.
fn write_rows<N: Waiting>(
    source: Source<N>,
    out: &mut dyn Write,
    failed: impl Fn(io::Error) -> Failure,
) -> Result<u64, Failure> {
    let mut bets = 0;
    match source {
        Source::Files(store) => {
            check_rows(&store, |_, _, row| {
                bets += 1;
                out.write_all(row).map_err(&failed)
            })?;
        }
        Source::Engine(mut reader, _) => {
            bets = export_draw(&mut reader, |rows| out.write_all(rows).map_err(&failed))?;
        }
    }
    out.flush().map_err(failed)?;
    Ok(bets)
}

/// A file that is not whole yet, beside the one that it becomes.
struct PartOf<'a> {
    whole: &'a Path,
    part: PathBuf,
}

impl PartOf<'_> {
    fn new(whole: &Path) -> PartOf<'_> {
        let mut part = whole.as_os_str().to_owned();
        // A name that no other export has, of the same file, or of one that was cut off.
        part.push(format!(".{}.part", std::process::id()));
        PartOf { whole, part: part.into() }
    }

    fn fill<T>(
        &self,
        write: impl FnOnce(&mut dyn Write) -> Result<T, Failure>,
        failed: impl Fn(io::Error) -> Failure,
    ) -> Result<T, Failure> {
        let refused = |error| Failure::File { file: self.part.clone(), error };
        remove_at_signal(self.part.clone()).map_err(refused)?;
        let part = File::create_new(&self.part).map_err(refused)?;
        let mut rows = BufWriter::new(part);
        let filled = write(&mut rows).and_then(|done| {
            rows.get_ref().sync_all().map_err(&failed)?;
            fs::rename(&self.part, self.whole).map_err(&failed)?;
            Ok(done)
        });
        if filled.is_err() {
            let _it_is_of_no_use = fs::remove_file(&self.part);
        }
        filled
    }
}

/// Has a signal that ends the program remove the file first, whatever the program waits for then. A file that was renamed stays.
fn remove_at_signal(part: PathBuf) -> io::Result<()> {
    let mut signals = Signals::new([SIGINT, SIGTERM])?;
    thread::Builder::new().name("signals".to_owned()).spawn(move || {
        if let Some(signal) = signals.forever().next() {
            let _it_may_not_be_there = fs::remove_file(part);
            let _the_signal_ends_the_program = emulate_default_handler(signal);
        }
    })?;
    Ok(())
}
