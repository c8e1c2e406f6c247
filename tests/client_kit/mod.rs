//! What the client's tests share: the real client in a folder of its own, and a hub that does as it is told.

#![allow(dead_code, reason = "each test file uses its own part")]
#![allow(clippy::unwrap_used, clippy::panic, reason = "a test that panics has failed")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use socket2::{Domain, SockRef, Socket, Type};

/// Nothing that these tests wait for takes so long, unless it never comes.
pub const PATIENCE: Duration = Duration::from_secs(60);

/// A client that is about to be started.
pub struct Start {
    command: Command,
    stderr: Stdio,
    folder: tempfile::TempDir,
}

/// A client in an empty folder, without any environment of its own, talkative.
pub fn client() -> Start {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_client"));
    command.current_dir(folder.path()).env_clear().env("CLI_LOG_LEVEL", "DEBUG");
    Start { command, stderr: Stdio::piped(), folder }
}

impl Start {
    pub fn env(mut self, name: &str, value: &str) -> Start {
        self.command.env(name, value);
        self
    }

    pub fn hub(self, address: SocketAddr) -> Start {
        self.env("CLI_SERVER_ADDRESS", &address.to_string())
    }

    /// The same, run by another program.
    pub fn under(mut self, wrapper: &[&str]) -> Start {
        let mut command = Command::new(wrapper[0]);
        command.args(&wrapper[1..]).arg(self.command.get_program()).args(self.command.get_args());
        command.current_dir(self.folder.path()).env_clear().env("PATH", std::env::var_os("PATH").unwrap_or_default());
        for (name, value) in self.command.get_envs() {
            command.env(name, value.unwrap());
        }
        self.command = command;
        self
    }

    pub fn stdin(mut self, stdin: Stdio) -> Start {
        self.command.stdin(stdin);
        self
    }

    pub fn arg(mut self, argument: &str) -> Start {
        self.command.arg(argument);
        self
    }

    pub fn file(self, name: &str, text: &str) -> Start {
        let path = self.folder.path().join(name);
        std::fs::create_dir_all(path.parent().unwrap()).unwrap();
        std::fs::write(path, text).unwrap();
        self
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    pub fn start(mut self) -> Client {
        let mut child = self.command.stdout(Stdio::piped()).stderr(self.stderr).spawn().unwrap();
        let log = Arc::new(Log::default());
        let (stdout, reader) = (child.stdout.take().unwrap(), Arc::clone(&log));
        std::thread::spawn(move || reader.follow(stdout));
        Client { child, log, _folder: self.folder }
    }

    /// Where its standard error goes, unless the test reads it.
    pub fn stderr(mut self, stderr: Stdio) -> Start {
        self.stderr = stderr;
        self
    }

    /// Starts it with this standard output, of which the test's log sees nothing.
    pub fn start_unread(mut self, stdout: Stdio) -> Client {
        let child = self.command.stdout(stdout).stderr(self.stderr).spawn().unwrap();
        // The command keeps the test's copy of the descriptor, which would count as a reader's or writer's.
        drop(self.command);
        let log = Arc::new(Log::default());
        log.state.lock().unwrap().1 = true;
        Client { child, log, _folder: self.folder }
    }

    /// Runs it to its end.
    pub fn run(self) -> Ended {
        self.start().end()
    }
}

/// A running client; it is killed when dropped.
pub struct Client {
    child: Child,
    log: Arc<Log>,
    _folder: tempfile::TempDir,
}

#[derive(Default)]
struct Log {
    state: Mutex<(String, bool)>,
    changed: Condvar,
}

impl Log {
    fn follow(&self, stdout: impl Read) {
        for line in BufReader::new(stdout).lines() {
            let Ok(line) = line else { break };
            let mut state = self.state.lock().unwrap();
            state.0.push_str(&line);
            state.0.push('\n');
            self.changed.notify_all();
        }
        self.state.lock().unwrap().1 = true;
        self.changed.notify_all();
    }
}

/// How a client ended.
#[derive(Debug)]
pub struct Ended {
    pub code: Option<i32>,
    pub signal: Option<i32>,
    pub log: String,
    pub errors: String,
}

impl Client {
    /// Waits until the log has this text.
    pub fn wait_for(&self, text: &str) {
        let until = Instant::now() + PATIENCE;
        let mut state = self.log.state.lock().unwrap();
        while !state.0.contains(text) {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!state.1 && !left.is_zero(), "the client did not say {text:?}; it said:\n{}", state.0);
            state = self.log.changed.wait_timeout(state, left).unwrap().0;
        }
    }

    pub fn signal(&self, name: &str) {
        let status = Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status().unwrap();
        assert!(status.success(), "kill -{name}");
    }

    /// Waits until the system says that the process is in this state: `T` where it is stopped, `S` where it sleeps.
    #[track_caller]
    pub fn wait_for_state(&self, state: char) {
        let until = Instant::now() + PATIENCE;
        while self.stat()[0] != state.to_string() {
            assert!(Instant::now() < until, "never in state {state}: {:?}", self.stat());
            std::thread::sleep(Duration::from_millis(1));
        }
    }

    /// Waits until it has slept for two seconds, longer than it waits for a reader of its log.
    #[track_caller]
    pub fn wait_until_idle(&self) {
        let until = Instant::now() + PATIENCE;
        let ticks = || self.stat()[11..13].to_vec();
        let mut before = ticks();
        loop {
            std::thread::sleep(Duration::from_secs(2));
            let after = ticks();
            if after == before && self.stat()[0] == "S" {
                return;
            }
            assert!(Instant::now() < until, "never idle");
            before = after;
        }
    }

    /// Its standard input, where that is a pipe.
    pub fn stdin(&mut self) -> ChildStdin {
        self.child.stdin.take().unwrap()
    }

    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// What the system says of the process after its name: its state, its parent, and so on.
    fn stat(&self) -> Vec<String> {
        let stat = std::fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit_once(')').unwrap().1.split_whitespace().map(str::to_owned).collect()
    }

    /// Waits for its end.
    pub fn end(mut self) -> Ended {
        let until = Instant::now() + PATIENCE;
        let mut state = self.log.state.lock().unwrap();
        while !state.1 {
            let left = until.saturating_duration_since(Instant::now());
            assert!(!left.is_zero(), "the client does not end; it said:\n{}", state.0);
            state = self.log.changed.wait_timeout(state, left).unwrap().0;
        }
        let log = state.0.clone();
        drop(state);
        let status = loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                break status;
            }
            assert!(Instant::now() < until, "the client does not end");
            std::thread::sleep(Duration::from_millis(1));
        };
        let mut errors = String::new();
        if let Some(mut stderr) = self.child.stderr.take() {
            stderr.read_to_string(&mut errors).unwrap();
        }
        Ended { code: status.code(), signal: status.signal(), log, errors }
    }
}

impl Drop for Client {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Ended {
    /// The lines, without their times: level, then text.
    pub fn lines(&self) -> Vec<&str> {
        self.log.lines().map(|line| line.get(20..).unwrap_or(line)).collect()
    }

    /// The text of the lines whose action is `action`.
    pub fn said(&self, action: &str) -> Vec<&str> {
        let start = format!("action: {action} | ");
        self.lines().into_iter().filter_map(|line| line.get(9..)).filter(|text| text.starts_with(&start)).collect()
    }
}

/// A hub that a test plays by hand.
pub struct FakeHub {
    socket: Socket,
    pub address: SocketAddr,
}

impl FakeHub {
    /// One that listens.
    pub fn new() -> FakeHub {
        let hub = FakeHub::absent();
        hub.appear();
        hub
    }

    /// One that has an address, where connections are refused until it appears.
    pub fn absent() -> FakeHub {
        let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
        socket.bind(&SocketAddr::from((Ipv4Addr::LOCALHOST, 0)).into()).unwrap();
        let address = socket.local_addr().unwrap().as_socket().unwrap();
        FakeHub { socket, address }
    }

    pub fn appear(&self) {
        self.socket.listen(64).unwrap();
    }

    /// One that neither accepts nor refuses: its queue is full, so that a connection hangs in the making.
    pub fn unresponsive() -> (FakeHub, Vec<Socket>) {
        let hub = FakeHub::absent();
        hub.socket.listen(0).unwrap();
        let pending = (0..4).map(|_| {
            let socket = Socket::new(Domain::IPV4, Type::STREAM, None).unwrap();
            socket.set_nonblocking(true).unwrap();
            let _ = socket.connect(&hub.address.into());
            socket
        });
        let pending = pending.collect();
        (hub, pending)
    }

    pub fn accept(&self) -> Peer {
        let listener: TcpListener = self.socket.try_clone().unwrap().into();
        SockRef::from(&listener).set_read_timeout(Some(PATIENCE)).unwrap();
        let (stream, _) = listener.accept().expect("a client connects");
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        stream.set_nodelay(true).unwrap();
        Peer { stream }
    }
}

/// A client's connection, as its hub sees it.
pub struct Peer {
    stream: TcpStream,
}

impl Peer {
    pub fn read(&mut self, count: usize) -> Vec<u8> {
        let mut bytes = vec![0; count];
        self.stream.read_exact(&mut bytes).expect("the client sends as much");
        bytes
    }

    pub fn u32(&mut self) -> u32 {
        u32::from_be_bytes(self.read(4).try_into().unwrap())
    }

    pub fn line(&mut self) -> String {
        let mut line = Vec::new();
        while !line.ends_with(b"\n") {
            line.extend(self.read(1));
        }
        String::from_utf8(line).unwrap()
    }

    pub fn write(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).unwrap();
    }

    /// Reads on to the client's end of the connection: what it still sent.
    pub fn rest(mut self) -> Vec<u8> {
        let mut bytes = Vec::new();
        match self.stream.read_to_end(&mut bytes) {
            Ok(_) => {}
            Err(error) if error.kind() == std::io::ErrorKind::ConnectionReset => {}
            Err(error) => panic!("the client does not close: {error}"),
        }
        bytes
    }

    /// A frame of `binary`: its type and the bytes after its header.
    pub fn binary(&mut self) -> (u32, Vec<u8>) {
        let (kind, length) = (self.u32(), self.u32());
        (kind, self.read(length as usize))
    }

    /// Stores the one batch of a client of `binary`, and its finish; its query is here then.
    pub fn binary_until_the_query(&mut self) {
        self.binary_batch();
        self.write(&[0]);
        assert_eq!(self.binary().0, 2, "a finish");
        self.write(&[0]);
        assert_eq!(self.binary().0, 3, "a query");
    }

    /// A batch of `binary`: the documents of its bets.
    pub fn binary_batch(&mut self) -> Vec<u32> {
        let (kind, body) = self.binary();
        assert_eq!(kind, 1, "a batch");
        assert!(body.len() + 8 <= 8192, "a batch of {} bytes", body.len() + 8);
        let word = |at: usize| u32::from_be_bytes(body[at..at + 4].try_into().unwrap());
        let mut at = 8;
        let mut documents = Vec::new();
        for _ in 0..word(4) {
            for _ in 0..2 {
                at += 4 + word(at) as usize;
            }
            documents.push(word(at));
            at += 12;
        }
        assert_eq!(at, body.len());
        documents
    }

    /// A frame of `native`: its kind and the bytes after it, without the checksum.
    pub fn native(&mut self) -> (u8, Vec<u8>) {
        let length = self.u32() as usize;
        let mut content = self.read(length);
        content.truncate(length - 4);
        (content.remove(0), content)
    }

    /// A batch of `native`: its sequence number and how many bets it has.
    pub fn native_batch(&mut self) -> (u64, u16) {
        let (kind, body) = self.native();
        assert_eq!(kind, 1, "a batch");
        (u64::from_be_bytes(body[..8].try_into().unwrap()), u16::from_be_bytes(body[8..10].try_into().unwrap()))
    }

    /// The hello of `native`, and the welcome back.
    pub fn native_hello(&mut self, agency: u32, next: u64) {
        assert_eq!(self.read(4), [0xB7, b'L', b'N', 1]);
        assert_eq!(self.u32(), agency);
        self.write(&[0xB7, b'L', b'N', 1, 0]);
        self.write(&next.to_be_bytes());
    }

    pub fn native_write(&mut self, kind: u8, body: &[u8]) {
        self.write(&native_frame(kind, body));
    }

    pub fn native_ack(&mut self, next: u64) {
        self.native_write(0x81, &next.to_be_bytes());
    }
}

/// A frame of `native`.
pub fn native_frame(kind: u8, body: &[u8]) -> Vec<u8> {
    let content = [&[kind], body].concat();
    let length = u32::try_from(content.len() + 4).unwrap();
    [&length.to_be_bytes()[..], &content, &crc32c::crc32c(&content).to_be_bytes()].concat()
}

/// Rows of an agency's file, `count` of them, ended by `end`; document 30000001 on, in order.
pub fn rows(count: u32, end: &str) -> String {
    (1..=count).map(|index| format!("Ana,Ibáñez,{},1999-03-17,{}{end}", 30_000_000 + index, index % 10_000)).collect()
}

/// Agency 3 of a hub, with these rows, in batches of ten.
pub fn agency_3(hub: &FakeHub, protocol: &str, rows: &str) -> Start {
    client()
        .hub(hub.address)
        .env("CLI_ID", "3")
        .env("CLI_PROTOCOL", protocol)
        .env("CLI_BATCH_MAXAMOUNT", "10")
        .file(".data/agency-3.csv", rows)
}

/// Finish and query of `binary`, and winners back.
pub fn binary_draw(peer: &mut Peer, winners: &[u32]) {
    assert_eq!(peer.binary(), (2, vec![0, 0, 0, 3]));
    peer.write(&[0]);
    assert_eq!(peer.binary(), (3, vec![0, 0, 0, 3]));
    peer.write(&[0]);
    peer.write(&u32::try_from(winners.len()).unwrap().to_be_bytes());
    winners.iter().for_each(|winner| peer.write(&winner.to_be_bytes()));
}

/// The documents of rows `first` to `last`.
pub fn documents(first: u32, last: u32) -> Vec<u32> {
    (first..=last).map(|index| 30_000_000 + index).collect()
}

/// A run that did all its work, and complained of nothing.
pub fn assert_done(ended: &Ended) {
    assert_eq!((ended.code, ended.errors.as_str()), (Some(0), ""), "{}", ended.log);
    assert!(!ended.log.contains("result: fail"), "{}", ended.log);
}
