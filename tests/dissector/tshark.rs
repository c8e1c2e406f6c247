//! tshark with the project's dissector: a capture of the loopback, and questions to a capture file.

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, channel};
use std::time::Duration;

/// How long one marker may take to show up before the next is sent.
const MARKER_WAIT: Duration = Duration::from_millis(300);
/// The field that tshark adds where a script raised an error.
const SCRIPT_FAULT: &str = "_ws.lua.error";
/// For what tshark has not read yet.
const KERNEL_BUFFER_MIB: &str = "64";
/// Markers sent before the capture is given up.
const MARKERS_MAX: usize = 100;

/// Whether tshark is there; says so where it is not.
pub fn installed() -> bool {
    let found = Command::new("tshark").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if found.is_err() {
        // Not eprintln: the test harness would keep it to itself.
        let _ = writeln!(std::io::stderr(), "skipped: tshark is not installed");
    }
    found.is_ok()
}

fn with_dissector(port: &str) -> Command {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tools/loteria.lua");
    let mut command = Command::new("tshark");
    command.arg("-X").arg(format!("lua_script:{}", script.display()));
    command.arg("-d").arg(format!("tcp.port=={port},loteria")).stdin(Stdio::null());
    // A busy machine with several processors takes segments out of order even on its loopback, and sends some again.
    command.args(["-o", "tcp.reassemble_out_of_order:TRUE"]);
    command
}

/// A running capture of everything that goes to or from one port of the loopback.
pub struct Capture {
    child: Child,
    lines: Receiver<String>,
    file: PathBuf,
}

impl Capture {
    /// Starts it; `None`, and why, where this machine does not let us capture. `mark` makes the hub's
    /// clients send a line: the capture runs once it has seen one.
    pub fn start(port: &str, file: PathBuf, mark: impl Fn(&str)) -> Option<Capture> {
        let mut command = with_dissector(port);
        command
            .args(["-i", "lo", "-B", KERNEL_BUFFER_MIB, "-f", &format!("tcp port {port}"), "-P", "-l", "-w"])
            .arg(&file);
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().expect("tshark starts");
        let stdout = BufReader::new(child.stdout.take().expect("it is piped"));
        let (sender, lines) = channel();
        std::thread::spawn(move || {
            for line in stdout.split(b'\n').map_while(Result::ok) {
                if sender.send(String::from_utf8_lossy(&line).into_owned()).is_err() {
                    return;
                }
            }
        });
        let mut capture = Capture { child, lines, file };
        if capture.sees("start of capture", mark) {
            return Some(capture);
        }
        let mut why = String::new();
        let _ = capture.child.kill();
        if let Some(mut stderr) = capture.child.stderr.take() {
            let _ = stderr.read_to_string(&mut why);
        }
        let why = why.trim().replace('\n', ", ");
        let _ = writeln!(std::io::stderr(), "skipped: tshark captures nothing on the loopback here: {why}");
        None
    }

    /// Sends markers until one comes out of the capture; false when none does, or tshark ended. Any of them will do:
    /// where tshark is behind by more than the wait for one, the newest is never the one that it shows.
    fn sees(&mut self, marker: &str, mark: impl Fn(&str)) -> bool {
        for _ in 0..MARKERS_MAX {
            mark(marker);
            while let Ok(line) = self.lines.recv_timeout(MARKER_WAIT) {
                if line.contains(marker) {
                    return true;
                }
            }
            if !matches!(self.child.try_wait(), Ok(None)) {
                return false;
            }
        }
        false
    }

    /// Ends the capture once everything up to now is in its file.
    pub fn stop(mut self, port: &str, mark: impl Fn(&str)) -> Trace {
        assert!(self.sees("end of capture", mark), "the capture ended early");
        let pid = self.child.id().to_string();
        let asked = Command::new("kill").args(["-INT", &pid]).status().expect("kill runs");
        assert!(asked.success(), "tshark was gone before it was asked to stop");
        self.child.wait().expect("tshark ends");
        Trace { file: std::mem::take(&mut self.file), port: port.to_owned() }
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        // Either may fail because it has ended already, which is what is wanted.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A capture file, and the hub's port in it.
pub struct Trace {
    /// Any format that tshark reads.
    pub file: PathBuf,
    /// The hub's.
    pub port: String,
}

impl Trace {
    /// What the dissector says of every packet that it takes part in, as these fields; read in one pass, and
    /// then in two, as Wireshark's window reads: both have to say the same, and neither may trip the script.
    pub fn read(&self, fields: &[&'static str]) -> Table {
        let fields = [fields, &[SCRIPT_FAULT]].concat();
        let filter = format!("loteria || {SCRIPT_FAULT}");
        let mut arguments = vec!["-Y", &filter, "-T", "fields", "-E", "aggregator=^"];
        arguments.extend(fields.iter().flat_map(|field| ["-e", *field]));
        let once = self.tshark(&arguments);
        assert_eq!(once, self.tshark(&[&["-2"], &arguments[..]].concat()), "in one pass and in two");
        let cells = |line: &str| line.split('\t').map(str::to_owned).collect();
        let table = Table { fields, rows: once.lines().map(cells).collect() };
        assert_eq!(table.values(SCRIPT_FAULT), [""; 0], "the script has a fault: {once}");
        table
    }

    /// Whether the capture has all packets: none is missing before one that is there.
    pub fn is_whole(&self) -> bool {
        self.tshark(&["-Y", "tcp.analysis.lost_segment || tcp.analysis.ack_lost_segment"]).is_empty()
    }

    fn tshark(&self, arguments: &[&str]) -> String {
        let output = with_dissector(&self.port).arg("-r").arg(&self.file).args(arguments).output();
        let output = output.expect("tshark runs");
        let err = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success() && !err.contains("Lua"), "tshark {arguments:?}: {err}");
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

/// Packets, and what some fields hold in each.
#[derive(Debug)]
pub struct Table {
    fields: Vec<&'static str>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn column(&self, field: &str) -> usize {
        self.fields.iter().position(|known| *known == field).unwrap_or_else(|| panic!("{field} was not asked for"))
    }

    /// The packets in which `field` holds `value`, perhaps among others.
    pub fn with(&self, field: &str, value: &str) -> Table {
        let column = self.column(field);
        let rows = self.rows.iter().filter(|row| row[column].split('^').any(|cell| cell == value));
        Table { fields: self.fields.clone(), rows: rows.cloned().collect() }
    }

    /// The packets in which `field` holds nothing.
    pub fn without(&self, field: &str) -> Table {
        let column = self.column(field);
        let rows = self.rows.iter().filter(|row| row[column].is_empty());
        Table { fields: self.fields.clone(), rows: rows.cloned().collect() }
    }

    /// All values of `field`, in order; a packet may hold none, or several.
    pub fn values(&self, field: &str) -> Vec<&str> {
        let column = self.column(field);
        let cells = self.rows.iter().flat_map(|row| row[column].split('^'));
        cells.filter(|cell| !cell.is_empty()).collect()
    }

    /// How often `field` holds `value`.
    pub fn count(&self, field: &str, value: &str) -> usize {
        self.values(field).iter().filter(|found| **found == value).count()
    }
}
