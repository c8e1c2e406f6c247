//! A simulated disk in memory. Its faults follow from a seed.
//!
//! Every file has a cache image, which reads and writes use, and a durable image, which a power cut leaves. A sync
//! copies the first to the second. A power cut keeps or loses each dirty sector. A failed sync drops some dirty sectors
//! *and marks them clean*, so that the next sync succeeds without them.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;

use loteria::storage::{Disk, File};

use super::image::Image;
use super::random::Random;

/// The files that a store has.
const FILES: [File; 4] = [File::Rows, File::Journal, File::Quarantine, File::Redo];

/// How often each fault happens, in permille of the calls that can have it.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// The machine stops in the middle of a call.
    pub crash: u64,
    /// A sync fails with EIO.
    pub sync_error: u64,
    /// A write fails with EIO.
    pub write_error: u64,
    /// A read fails with EIO.
    pub read_error: u64,
    /// Reads and writes are short.
    pub short: u64,
    /// A call fails with EINTR.
    pub interrupt: u64,
    /// The system keeps cached pages that it was asked to drop.
    pub keep_cache: u64,
    /// The system writes some dirty sectors without a sync.
    pub write_back: u64,
    /// On a disk with limited space, a write fails with ENOSPC although its bytes were written.
    pub late_full: u64,
}

/// A handle on a simulated disk; clones are the same disk.
#[derive(Clone, Debug)]
pub struct SimDisk(Rc<RefCell<State>>);

/// What a store holds of a [`SimDisk`]; dropping it releases the lock.
#[derive(Debug)]
pub struct Mounted {
    disk: SimDisk,
    locked: bool,
}

#[derive(Debug)]
struct State {
    files: [Image; FILES.len()],
    random: Random,
    faults: Faults,
    /// The most bytes that all files together may have.
    space: Option<u64>,
    calls: u64,
    syncs: u64,
    crash_at_call: Option<u64>,
    fail_sync: Option<u64>,
    crashed: bool,
    locked: bool,
    hash: u64,
    /// Messages about the calls since they were last taken; `None` where they are not recorded.
    told: Option<Vec<String>>,
}

impl SimDisk {
    pub fn new(seed: u64) -> SimDisk {
        SimDisk(Rc::new(RefCell::new(State {
            files: Default::default(),
            random: Random::new(seed),
            faults: Faults::default(),
            space: None,
            calls: 0,
            syncs: 0,
            crash_at_call: None,
            fail_sync: None,
            crashed: false,
            locked: false,
            hash: 0,
            told: None,
        })))
    }

    /// The disk as one process sees it.
    pub fn mount(&self) -> Mounted {
        Mounted { disk: self.clone(), locked: false }
    }

    /// Sets the faults of the calls from now on.
    pub fn set_faults(&self, faults: Faults) {
        self.0.borrow_mut().faults = faults;
    }

    /// Limits the bytes of all files together; `None` removes the limit.
    pub fn set_space(&self, space: Option<u64>) {
        self.0.borrow_mut().space = space;
    }

    /// Whether its space is limited.
    pub fn has_limit(&self) -> bool {
        self.0.borrow().space.is_some()
    }

    /// The process dies in call number `call` from now, counted from 0.
    pub fn crash_at_call(&self, call: Option<u64>) {
        let mut state = self.0.borrow_mut();
        state.crash_at_call = call.map(|call| state.calls + call);
    }

    /// Sync number `sync` from now, counted from 0, fails with EIO.
    pub fn fail_sync(&self, sync: Option<u64>) {
        let mut state = self.0.borrow_mut();
        state.fail_sync = sync.map(|sync| state.syncs + sync);
    }

    /// Calls made so far. Those for a name or an id do not count.
    pub fn calls(&self) -> u64 {
        self.0.borrow().calls
    }

    /// Syncs of files made so far.
    pub fn syncs(&self) -> u64 {
        self.0.borrow().syncs
    }

    /// Whether the process is dead.
    pub fn crashed(&self) -> bool {
        self.0.borrow().crashed
    }

    /// A digest of every call and its outcome.
    pub fn trace(&self) -> u64 {
        self.0.borrow().hash
    }

    /// All files' lengths, as a process sees them.
    pub fn used(&self) -> u64 {
        self.0.borrow().used()
    }

    /// Records messages about the calls from now on.
    pub fn tell(&self) {
        self.0.borrow_mut().told = Some(Vec::new());
    }

    /// The messages since they were last taken.
    pub fn take_told(&self) -> Vec<String> {
        self.0.borrow_mut().told.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Gives a file, as a process sees it, to `look`.
    pub fn peek<R>(&self, file: File, look: impl FnOnce(&[u8]) -> R) -> R {
        look(&self.0.borrow().files[file as usize].cache)
    }

    /// A file as a process sees it.
    pub fn cache(&self, file: File) -> Vec<u8> {
        self.0.borrow().files[file as usize].cache.clone()
    }

    /// Changes a file both on the disk and in the cache.
    pub fn tamper(&self, file: File, change: impl Fn(&mut Vec<u8>)) {
        let mut state = self.0.borrow_mut();
        let image = &mut state.files[file as usize];
        change(&mut image.cache);
        change(&mut image.durable);
        (image.exists, image.named) = (true, true);
    }

    /// Changes a file on the disk only; the cache keeps its old bytes.
    pub fn tamper_behind_memory(&self, file: File, change: impl Fn(&mut Vec<u8>)) {
        change(&mut self.0.borrow_mut().files[file as usize].durable);
    }

    /// A file after a power cut that loses everything that was not synced.
    pub fn durable(&self, file: File) -> Vec<u8> {
        self.0.borrow().files[file as usize].durable.clone()
    }

    /// The process is dead; what it wrote is still in the system's cache. The next process may start.
    pub fn kill(&self) {
        let mut state = self.0.borrow_mut();
        state.crashed = false;
        state.crash_at_call = None;
        state.locked = false;
    }

    /// The machine is dead; what was not synced may be lost, sector by sector. The next process may start.
    pub fn power_cut(&self) {
        self.kill();
        let mut state = self.0.borrow_mut();
        let State { files, random, .. } = &mut *state;
        for image in files {
            image.power_cut(random);
        }
        state.say(|| "power cut".to_owned());
    }

    /// An independent copy of the disk as it is.
    pub fn fork(&self) -> SimDisk {
        let state = self.0.borrow();
        let fork = SimDisk::new(0);
        {
            let mut copy = fork.0.borrow_mut();
            copy.files = state.files.clone();
            copy.random = state.random.clone();
            copy.space = state.space;
        }
        fork
    }
}

fn error(kind: io::ErrorKind) -> io::Error {
    kind.into()
}

/// EIO, for which std has no kind.
fn input_output_error() -> io::Error {
    io::Error::from_raw_os_error(5)
}

impl State {
    fn used(&self) -> u64 {
        self.files.iter().map(|image| image.cache.len() as u64).sum()
    }

    fn note(&mut self, what: u64) {
        self.hash = (self.hash ^ what).wrapping_mul(0x0100_0000_01b3).rotate_left(17);
    }

    fn say(&mut self, words: impl FnOnce() -> String) {
        if let Some(told) = &mut self.told {
            told.push(words());
        }
    }

    /// Counts one call of `kind`; returns whether the process dies in it.
    fn call(&mut self, kind: u64, file: File) -> io::Result<bool> {
        if self.crashed {
            return Err(error(io::ErrorKind::BrokenPipe));
        }
        let now = self.calls;
        self.calls += 1;
        self.note(kind << 8 | file as u64);
        if self.random.chance(self.faults.interrupt) && kind <= 1 {
            return Err(error(io::ErrorKind::Interrupted));
        }
        if self.random.chance(self.faults.write_back) {
            let State { files, random, .. } = self;
            let image = &mut files[random.index(FILES.len())];
            image.write_back(random);
        }
        self.crashed = self.crash_at_call == Some(now) || self.random.chance(self.faults.crash);
        Ok(self.crashed)
    }

    /// How many of `len` bytes a call handles.
    fn some_of(&mut self, len: usize) -> usize {
        if len > 1 && self.random.chance(self.faults.short) { 1 + self.random.index(len) } else { len }
    }

    fn read(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        if self.call(0, file)? {
            return Err(error(io::ErrorKind::BrokenPipe));
        }
        if self.random.chance(self.faults.read_error) {
            self.say(|| format!("a read of {file:?} fails"));
            return Err(input_output_error());
        }
        let want = self.some_of(buffer.len());
        let cache = &self.files[file as usize].cache;
        let start = usize::try_from(offset).unwrap().min(cache.len());
        let len = want.min(cache.len() - start);
        buffer[..len].copy_from_slice(&cache[start..start + len]);
        self.note(len as u64);
        Ok(len)
    }

    fn write(&mut self, file: File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let result = self.try_write(file, offset, bytes);
        self.say(|| format!("write {} bytes at {offset} of {file:?}: {result:?}", bytes.len()));
        result
    }

    fn try_write(&mut self, file: File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        let dies = self.call(1, file)?;
        if self.random.chance(self.faults.write_error) {
            return Err(input_output_error());
        }
        let offset = usize::try_from(offset).unwrap();
        let mut len = self.some_of(bytes.len());
        if dies {
            len = self.random.index(len + 1);
        }
        if let Some(space) = self.space {
            let free = usize::try_from(space.saturating_sub(self.used())).unwrap();
            let fits = self.files[file as usize].cache.len() + free;
            len = len.min(fits.saturating_sub(offset));
            if len == 0 && !bytes.is_empty() && !dies {
                return Err(error(io::ErrorKind::StorageFull));
            }
        }
        self.files[file as usize].write(offset, &bytes[..len]);
        self.note(len as u64);
        if self.space.is_some() && self.random.chance(self.faults.late_full) {
            // To make room, the system first writes all that is dirty.
            self.files.iter_mut().for_each(|image| image.flush(|_| true));
            return Err(error(io::ErrorKind::StorageFull));
        }
        if dies { Err(error(io::ErrorKind::BrokenPipe)) } else { Ok(len) }
    }

    fn sync(&mut self, file: File) -> io::Result<()> {
        let result = self.try_sync(file);
        self.say(|| format!("sync {file:?}: {result:?}"));
        result
    }

    fn try_sync(&mut self, file: File) -> io::Result<()> {
        let dies = self.call(2, file)?;
        let fails = self.fail_sync == Some(self.syncs) || self.random.chance(self.faults.sync_error);
        self.syncs += 1;
        let State { files, random, .. } = self;
        let image = &mut files[file as usize];
        if dies {
            image.write_back(random);
            return Err(error(io::ErrorKind::BrokenPipe));
        }
        if fails {
            image.flush(|_| random.chance(500));
            return Err(input_output_error());
        }
        image.flush(|_| true);
        Ok(())
    }
}

impl Disk for Mounted {
    fn lock(&mut self) -> Result<bool, (File, io::Error)> {
        let mut state = self.disk.0.borrow_mut();
        if state.call(3, File::Rows).map_err(|error| (File::Rows, error))? {
            return Err((File::Rows, error(io::ErrorKind::BrokenPipe)));
        }
        let free = !state.locked || self.locked;
        state.locked = true;
        self.locked |= free;
        Ok(free)
    }

    fn read_at(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.disk.0.borrow_mut().read(file, offset, buffer)
    }

    fn write_at(&mut self, file: File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.disk.0.borrow_mut().write(file, offset, bytes)
    }

    fn write_back(&mut self, file: File, _: u64, _: usize) {
        let mut state = self.disk.0.borrow_mut();
        if !state.crashed {
            let State { files, random, .. } = &mut *state;
            files[file as usize].write_back(random);
        }
    }

    fn sync(&mut self, file: File) -> io::Result<()> {
        self.disk.0.borrow_mut().sync(file)
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        let mut state = self.disk.0.borrow_mut();
        if state.call(4, File::Rows)? {
            return Err(error(io::ErrorKind::BrokenPipe));
        }
        for image in &mut state.files {
            image.named = image.exists;
        }
        Ok(())
    }

    fn truncate(&mut self, file: File, len: u64) -> io::Result<()> {
        let mut state = self.disk.0.borrow_mut();
        let dies = state.call(5, file)?;
        if !dies || state.random.chance(500) {
            state.files[file as usize].truncate(usize::try_from(len).unwrap());
        }
        state.say(|| format!("cut {file:?} to {len} bytes, dies: {dies}"));
        if dies { Err(error(io::ErrorKind::BrokenPipe)) } else { Ok(()) }
    }

    fn len(&mut self, file: File) -> io::Result<u64> {
        let mut state = self.disk.0.borrow_mut();
        if state.call(6, file)? {
            return Err(error(io::ErrorKind::BrokenPipe));
        }
        Ok(state.files[file as usize].cache.len() as u64)
    }

    fn drop_cache(&mut self, file: File) -> io::Result<()> {
        let mut state = self.disk.0.borrow_mut();
        if state.call(7, file)? {
            return Err(error(io::ErrorKind::BrokenPipe));
        }
        let keep_cache = state.faults.keep_cache;
        if !state.random.chance(keep_cache) {
            state.files[file as usize].forget();
        }
        Ok(())
    }

    fn new_store_id(&mut self) -> io::Result<u64> {
        Ok(self.disk.0.borrow_mut().random.next())
    }

    fn name(&self, file: File) -> String {
        ["bets.csv", "bets.csv.journal", "bets.csv.quarantine", "bets.csv.redo"][file as usize].to_owned()
    }
}

impl Drop for Mounted {
    fn drop(&mut self) {
        if self.locked {
            self.disk.0.borrow_mut().locked = false;
        }
    }
}
