//! What the integration tests share: a real server in a folder of its own, and hand-written clients.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

pub mod machine;

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Nothing that these tests wait for takes so long, unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A finish of agency 2 in `binary`. The hub answers it with one zero.
pub const FINISH: [u8; 12] = [0, 0, 0, 2, 0, 0, 0, 4, 0, 0, 0, 2];

/// A running server; it is killed when dropped.
pub struct Hub {
    pub child: Child,
    pub address: SocketAddr,
    pub folder: Arc<tempfile::TempDir>,
    log: Arc<Log>,
}

#[derive(Default)]
struct Log {
    state: Mutex<(String, bool)>,
    changed: Condvar,
}

/// A server that is about to be started.
pub struct Start {
    command: Command,
    folder: Arc<tempfile::TempDir>,
}

/// A server with an empty store, on a port that the system chooses.
pub fn hub() -> Start {
    in_folder(Arc::new(tempfile::tempdir().expect("a folder for the store")))
}

/// A server of two agencies over one PostgreSQL node at this address.
pub fn hub_over(address: &str, password: &str) -> Start {
    hub()
        .file("password", &format!("{password}\n"))
        .env("LOTTERY_AGENCIES", "2")
        .env("LOTTERY_UNNUMBERED_AGENCIES", "1")
        .env("STORAGE_ENGINE", "postgres")
        .env("POSTGRES_HOSTS", address)
        .env("POSTGRES_PASSWORD_FILE", "password")
        .env("POSTGRES_REPLICAS", "none")
}

/// A server on the store that an earlier one left in `folder`.
pub fn in_folder(folder: Arc<tempfile::TempDir>) -> Start {
    under(&[], folder)
}

/// The same, run by another program: a tracer, or one that sets limits.
pub fn under(wrapper: &[&str], folder: Arc<tempfile::TempDir>) -> Start {
    let server = env!("CARGO_BIN_EXE_server");
    let (program, arguments) = wrapper.split_first().map_or((server, &[][..]), |(first, rest)| (*first, rest));
    let mut command = Command::new(program);
    if !wrapper.is_empty() {
        command.args(arguments).arg(server);
    }
    command.current_dir(folder.path()).env_clear();
    command.env("PATH", std::env::var_os("PATH").unwrap_or_default());
    command.env("SERVER_PORT", "0").env("BIND_ADDRESS", "127.0.0.1").env("RUST_BACKTRACE", "1");
    // The course's backlog of 5 costs a client a second, that of its next SYN, whenever a busy machine has run the test
    // six connections ahead of the hub.
    command.env("SERVER_LISTEN_BACKLOG", "4096");
    command.stderr(Stdio::piped());
    Start { command, folder }
}

impl Start {
    pub fn env(mut self, key: &str, value: &str) -> Start {
        self.command.env(key, value);
        self
    }

    pub fn arg(mut self, argument: &str) -> Start {
        self.command.arg(argument);
        self
    }

    pub fn file(self, name: &str, text: &str) -> Start {
        std::fs::write(self.folder.path().join(name), text).expect("a file in the test's own folder");
        self
    }

    /// Where it will run.
    pub fn folder(&self) -> PathBuf {
        self.folder.path().to_owned()
    }

    /// Anything else about how it is started.
    pub fn with(mut self, change: impl FnOnce(&mut Command)) -> Start {
        change(&mut self.command);
        self
    }

    /// Starts it with this standard output, of which the test sees nothing, and waits until it listens.
    pub fn start_with_output(mut self, stdout: Stdio) -> Hub {
        let mut child = self.command.stdout(stdout).spawn().expect("the server starts");
        pass_errors_on(&mut child);
        // The command keeps the test's copy of the descriptor, which would count as a reader's or writer's.
        drop(self.command);
        let log = Arc::new(Log::default());
        log.state.lock().expect("a new log").1 = true;
        let mut port = None;
        machine::eventually("the server listens", || {
            port = machine::listening_port(child.id());
            port.is_some()
        });
        let address = SocketAddr::from(([127, 0, 0, 1], port.expect("it listens")));
        Hub { child, address, folder: self.folder, log }
    }

    /// Starts it and waits until it listens.
    pub fn start(self) -> Hub {
        self.start_or_end().unwrap_or_else(|(code, log)| panic!("the server ended with {code:?}; it said:\n{log}"))
    }

    /// Starts it and waits until it listens, or has ended.
    pub fn start_or_end(mut self) -> Result<Hub, (Option<i32>, String)> {
        let mut child = self.command.stdout(Stdio::piped()).spawn().expect("the server starts");
        pass_errors_on(&mut child);
        let log = Arc::new(Log::default());
        let stdout = child.stdout.take().expect("stdout is piped");
        let reader = Arc::clone(&log);
        std::thread::spawn(move || reader.follow(stdout));
        let address = SocketAddr::from(([127, 0, 0, 1], 0));
        let mut hub = Hub { child, address, folder: self.folder, log };
        let Some(line) = hub.line("action: listen | result: success | address: ", 1) else {
            let (status, log) = hub.end();
            return Err((status.code(), log));
        };
        hub.address = line.rsplit("address: ").next().expect("an address").trim().parse().expect("an address");
        Ok(hub)
    }

    /// Runs it to its end: its exit code, standard output and standard error.
    pub fn run(mut self) -> (Option<i32>, String, String) {
        let output = self.command.stdin(Stdio::null()).output().expect("the server starts");
        let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
        (output.status.code(), text(output.stdout), text(output.stderr))
    }
}

/// What a server says on standard error becomes output of its test, which is shown where the test fails: the errors that
/// a test wants would look like failures.
fn pass_errors_on(child: &mut Child) {
    let Some(stderr) = child.stderr.take() else { return };
    std::thread::spawn(move || {
        BufReader::new(stderr).lines().map_while(Result::ok).for_each(|line| eprintln!("{line}"))
    });
}

impl Log {
    fn follow(&self, stdout: impl Read) {
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { break };
            let mut state = self.state.lock().expect("no test panics while it holds the log");
            state.0.push_str(&line);
            state.0.push('\n');
            self.changed.notify_all();
        }
        self.state.lock().expect("no test panics while it holds the log").1 = true;
        self.changed.notify_all();
    }
}

impl Hub {
    /// Everything logged so far.
    pub fn log(&self) -> String {
        self.log.state.lock().expect("the log").0.clone()
    }

    /// Waits for a line that contains `text`, and returns it.
    pub fn wait_for(&self, text: &str) -> String {
        self.wait_for_count(text, 1)
    }

    /// Waits until `count` lines contain `text`, and returns the last.
    pub fn wait_for_count(&self, text: &str, count: usize) -> String {
        let line = self.line(text, count);
        line.unwrap_or_else(|| panic!("the server ended without saying {text:?}; it said:\n{}", self.log()))
    }

    /// The same; `None` where the server ends first.
    fn line(&self, text: &str, count: usize) -> Option<String> {
        let until = Instant::now() + PATIENCE;
        let mut state = self.log.state.lock().expect("the log");
        loop {
            if let Some(line) = state.0.lines().filter(|line| line.contains(text)).nth(count - 1) {
                return Some(line.to_owned());
            }
            if state.1 {
                return None;
            }
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the server did not say {text:?} {count} times; it said:\n{}", state.0);
            state = self.log.changed.wait_timeout(state, left).expect("the log").0;
        }
    }

    pub fn count(&self, text: &str) -> usize {
        self.log().lines().filter(|line| line.contains(text)).count()
    }

    pub fn connect(&self) -> Peer {
        let stream = TcpStream::connect(self.address).expect("the server accepts");
        stream.set_nodelay(true).expect("an open socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("an open socket");
        Peer { stream }
    }

    /// A connection whose dialect is known: its finish of agency 2 is answered.
    pub fn connect_and_speak(&self) -> Peer {
        let mut peer = self.connect();
        peer.send(&FINISH);
        peer.expect(&[0]);
        peer
    }

    /// A peer whose address is `source`, one of this machine's own.
    pub fn connect_from(&self, source: IpAddr) -> Peer {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("a socket");
        socket.bind(&SocketAddr::new(source, 0).into()).expect("an address of this machine");
        socket.connect(&self.address.into()).expect("the server accepts");
        let stream = TcpStream::from(socket);
        stream.set_nodelay(true).expect("an open socket");
        stream.set_read_timeout(Some(PATIENCE)).expect("an open socket");
        Peer { stream }
    }

    pub fn signal(&self, signal: i32) {
        let status = Command::new("kill").arg(format!("-{signal}")).arg(self.child.id().to_string()).status();
        assert!(status.expect("kill runs").success(), "the server is there to be signalled");
    }

    /// Waits for the end; returns the exit status and everything logged.
    pub fn end(mut self) -> (ExitStatus, String) {
        let status = self.child.wait().expect("the server is our child");
        let log = Arc::clone(&self.log);
        let mut state = log.state.lock().expect("the log");
        while !state.1 {
            state = log.changed.wait_timeout(state, PATIENCE).expect("the log").0;
        }
        (status, std::mem::take(&mut state.0))
    }

    /// SIGTERM, and the end.
    pub fn terminate(self) -> (ExitStatus, String) {
        self.signal(15);
        self.end()
    }

    /// Ends it and starts another on the same store.
    pub fn kill(mut self) -> Arc<tempfile::TempDir> {
        let _ = self.child.kill();
        let _ = self.child.wait();
        Arc::clone(&self.folder)
    }

    /// The stored rows, as bytes.
    pub fn rows(&self) -> Vec<u8> {
        std::fs::read(self.folder.path().join("bets.csv")).unwrap_or_default()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

impl Drop for Hub {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// A hand-written client.
pub struct Peer {
    pub stream: TcpStream,
}

impl Peer {
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("the server takes bytes");
    }

    /// Exactly these bytes come next.
    #[track_caller]
    pub fn expect(&mut self, bytes: &[u8]) {
        let mut answer = vec![0; bytes.len()];
        if let Err(error) = self.stream.read_exact(&mut answer) {
            panic!("expected {}: {error}", start_of(bytes));
        }
        assert!(answer == bytes, "expected {}, got {}", start_of(bytes), start_of(&answer));
    }

    pub fn half_close(&mut self) {
        self.stream.shutdown(Shutdown::Write).expect("an open socket");
    }

    /// Everything up to the server's end.
    pub fn rest(&mut self) -> Vec<u8> {
        let mut rest = Vec::new();
        self.stream.read_to_end(&mut rest).expect("the server ends its side");
        rest
    }

    /// Whether nothing has come yet.
    pub fn is_quiet(&mut self) -> bool {
        self.stream.set_nonblocking(true).expect("an open socket");
        let quiet = self.stream.peek(&mut [0]).is_err_and(|error| error.kind() == std::io::ErrorKind::WouldBlock);
        self.stream.set_nonblocking(false).expect("an open socket");
        quiet
    }
}

/// Uploads batches of agency 1 on `number`, one at a time, until the hub ends the connection.
pub fn upload_until_the_end(mut peer: Peer, number: u32) -> JoinHandle<()> {
    std::thread::spawn(move || {
        for document in 1.. {
            let sent = peer.stream.write_all(&binary_batch(1, document, number));
            if sent.is_err() || peer.stream.read_exact(&mut [9]).is_err() {
                return;
            }
        }
    })
}

/// Bytes as a person can read them, if they are not too many.
fn start_of(bytes: &[u8]) -> String {
    let shown = &bytes[..bytes.len().min(200)];
    format!("{} bytes: {}", bytes.len(), shown.escape_ascii())
}

/// The course's bets, where this machine has them.
pub fn course_data() -> Option<PathBuf> {
    let folder = std::env::var_os("LOTERIA_DATA").map_or_else(|| PathBuf::from("../shared/data"), PathBuf::from);
    let found = folder.join("agency-1.csv").exists();
    if !found {
        let _ = writeln!(std::io::stderr(), "skipped: no course data at {} (set LOTERIA_DATA)", folder.display());
    }
    found.then(|| std::fs::canonicalize(&folder).unwrap_or(folder))
}

/// Bytes of a `binary` frame: u32 type, u32 length, body.
pub fn binary(kind: u32, words: &[u32], rest: &[u8]) -> Vec<u8> {
    let mut body: Vec<u8> = words.iter().flat_map(|word| word.to_be_bytes()).collect();
    body.extend(rest);
    let mut frame = kind.to_be_bytes().to_vec();
    frame.extend(u32::try_from(body.len()).unwrap().to_be_bytes());
    frame.extend(body);
    frame
}

/// One bet of a `binary` batch.
pub fn binary_bet(first: &str, last: &str, document: u32, date: u32, number: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    for name in [first, last] {
        bytes.extend(u32::try_from(name.len()).unwrap().to_be_bytes());
        bytes.extend(name.as_bytes());
    }
    [document, date, number].iter().for_each(|word| bytes.extend(word.to_be_bytes()));
    bytes
}

/// A whole `binary` batch of one bet.
pub fn binary_batch(agency: u32, document: u32, number: u32) -> Vec<u8> {
    binary(1, &[agency, 1], &binary_bet("Ana", "Paz", document, 19_990_317, number))
}

/// Whether a file is there.
pub fn exists(path: &Path) -> bool {
    path.exists()
}
