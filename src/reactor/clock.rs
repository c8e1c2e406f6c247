//! The only clock: monotonic time since the program began, without the time in which the hub itself stood still.

use std::cell::Cell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use crate::limits;
use crate::storage::{Disk, File};
use crate::timers::Moment;

/// Reads monotonic time; a wall clock that jumps does not matter to it.
#[derive(Debug)]
pub struct Clock {
    origin: Instant,
    /// How long the disks that it watches have been waited for, and not been forgiven.
    waited: Rc<Cell<Duration>>,
}

impl Clock {
    /// Time begins now.
    pub fn start() -> Clock {
        Clock { origin: Instant::now(), waited: Rc::default() }
    }

    /// What time it is.
    pub fn now(&self) -> Moment {
        Moment::after_origin(self.origin.elapsed())
    }

    /// The same disk; how long each call of it takes is noted here. A disk is the only thing that the hub waits for
    /// besides its poll, whatever it is asked for: a commit, a seal, or what an earlier batch was.
    pub fn watch<D: Disk>(&self, disk: D) -> Watched<D> {
        Watched { disk, waited: Rc::clone(&self.waited) }
    }

    /// If the hub has long waited for its disk since it was last asked, that time did not happen: nobody could be
    /// heard, and nobody is timed out for it.
    pub fn forgive(&mut self) {
        let waited = self.waited.take();
        if waited >= limits::STALL {
            self.origin += waited;
        }
    }

    /// From now to `moment`, rounded up: a poll that wakes too early would only be asked to wait again.
    pub fn until(&self, moment: Moment) -> Duration {
        let rest = self.now().until(moment);
        if rest.is_zero() { rest } else { rest + Duration::from_millis(1) }
    }
}

/// A disk of which a [`Clock`] knows how long it was waited for.
#[derive(Debug)]
pub struct Watched<D> {
    disk: D,
    waited: Rc<Cell<Duration>>,
}

impl<D: Disk> Watched<D> {
    fn time<R>(&mut self, call: impl FnOnce(&mut D) -> R) -> R {
        let before = Instant::now();
        let done = call(&mut self.disk);
        self.waited.set(self.waited.get() + before.elapsed());
        done
    }
}

impl<D: Disk> Disk for Watched<D> {
    fn lock(&mut self) -> io::Result<bool> {
        self.time(D::lock)
    }

    fn read_at(&mut self, file: File, offset: u64, buffer: &mut [u8]) -> io::Result<usize> {
        self.time(|disk| disk.read_at(file, offset, buffer))
    }

    fn write_at(&mut self, file: File, offset: u64, bytes: &[u8]) -> io::Result<usize> {
        self.time(|disk| disk.write_at(file, offset, bytes))
    }

    fn write_back(&mut self, file: File, offset: u64, bytes: usize) {
        self.time(|disk| disk.write_back(file, offset, bytes));
    }

    fn sync(&mut self, file: File) -> io::Result<()> {
        self.time(|disk| disk.sync(file))
    }

    fn sync_folder(&mut self) -> io::Result<()> {
        self.time(D::sync_folder)
    }

    fn truncate(&mut self, file: File, len: u64) -> io::Result<()> {
        self.time(|disk| disk.truncate(file, len))
    }

    fn len(&mut self, file: File) -> io::Result<u64> {
        self.time(|disk| disk.len(file))
    }

    fn drop_cache(&mut self, file: File) -> io::Result<()> {
        self.time(|disk| disk.drop_cache(file))
    }

    fn new_store_id(&mut self) -> io::Result<u64> {
        self.time(D::new_store_id)
    }

    fn name(&self, file: File) -> String {
        self.disk.name(file)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn time_in_which_the_hub_waited_for_its_disk_does_not_count() {
        let mut clock = Clock::start();
        let hour = Duration::from_secs(3600);
        clock.origin -= hour;
        let before = clock.now();
        clock.waited.set(limits::STALL / 2);
        clock.forgive();
        assert!(clock.now() >= before, "a moment is nothing to forgive");
        // An hour of which the disk took all.
        clock.origin -= hour;
        clock.waited.set(hour);
        clock.forgive();
        assert!(clock.now() >= before && before.until(clock.now()) < hour / 2);
        clock.forgive();
        assert!(before.until(clock.now()) < hour / 2, "it is forgiven once");
    }
    /// A disk that takes its time.
    struct Slow;

    impl Slow {
        fn wait() {
            std::thread::sleep(limits::STALL);
        }
    }

    impl Disk for Slow {
        fn lock(&mut self) -> io::Result<bool> {
            Ok(true)
        }
        fn read_at(&mut self, _: File, _: u64, _: &mut [u8]) -> io::Result<usize> {
            Slow::wait();
            Ok(0)
        }
        fn write_at(&mut self, _: File, _: u64, bytes: &[u8]) -> io::Result<usize> {
            Slow::wait();
            Ok(bytes.len())
        }
        fn sync(&mut self, _: File) -> io::Result<()> {
            Slow::wait();
            Ok(())
        }
        fn sync_folder(&mut self) -> io::Result<()> {
            Ok(())
        }
        fn truncate(&mut self, _: File, _: u64) -> io::Result<()> {
            Slow::wait();
            Ok(())
        }
        fn len(&mut self, _: File) -> io::Result<u64> {
            Ok(0)
        }
        fn drop_cache(&mut self, _: File) -> io::Result<()> {
            Ok(())
        }
        fn new_store_id(&mut self) -> io::Result<u64> {
            Ok(0)
        }
        fn name(&self, _: File) -> String {
            String::new()
        }
    }

    #[test]
    fn whatever_a_disk_is_asked_for_is_forgiven() {
        let mut clock = Clock::start();
        let mut disk = clock.watch(Slow);
        let calls: [fn(&mut Watched<Slow>); 4] = [
            |disk| drop(disk.read_at(File::Journal, 0, &mut [0])),
            |disk| drop(disk.write_at(File::Rows, 0, b"row")),
            |disk| drop(disk.sync(File::Journal)),
            |disk| drop(disk.truncate(File::Rows, 0)),
        ];
        for call in calls {
            call(&mut disk);
            assert!(clock.waited.get() >= limits::STALL);
            clock.forgive();
            assert!(clock.waited.get().is_zero());
        }
    }
}
