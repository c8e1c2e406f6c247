//! The terminal of the progress bar, written without blocking.
//!
//! A terminal can be stopped (Ctrl-S), or its connection be slow. What it does not take is buffered; of the pictures
//! that follow, only the latest is kept.

use std::fs::File;
use std::io::{self, IsTerminal, Write};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use indicatif::TermLike;
use rustix::fs::{Mode, OFlags};

/// The width of a terminal that does not report one.
const USUAL_WIDTH: u16 = 80;

/// Standard error, if it is a terminal.
#[derive(Clone, Debug)]
pub struct Terminal {
    shared: Arc<Mutex<Shared>>,
}

#[derive(Debug)]
struct Shared {
    /// Opened again, because the non-blocking flag of the inherited descriptor is shared with other programs.
    file: File,
    /// The picture that is being drawn.
    picture: Vec<u8>,
    /// The rest of a picture that was written in part, or the next whole one.
    waiting: Vec<u8>,
    /// The latest whole picture after that.
    latest: Vec<u8>,
}

impl Terminal {
    /// `None` if standard error is no terminal with a movable cursor, or cannot be opened without blocking.
    pub fn stderr() -> Option<Terminal> {
        let is_dumb = std::env::var_os("TERM").is_none_or(|name| name.is_empty() || name == "dumb");
        if is_dumb || !io::stderr().is_terminal() {
            return None;
        }
        let flags = OFlags::WRONLY | OFlags::NONBLOCK | OFlags::NOCTTY | OFlags::CLOEXEC;
        let file = File::from(rustix::fs::open("/proc/self/fd/2", flags, Mode::empty()).ok()?);
        Some(Terminal::on(file))
    }

    fn on(file: File) -> Terminal {
        let shared = Shared { file, picture: Vec::new(), waiting: Vec::new(), latest: Vec::new() };
        Terminal { shared: Arc::new(Mutex::new(shared)) }
    }

    /// Writes buffered pictures until a write would block; returns whether all were written.
    pub fn catch_up(&self) -> bool {
        self.lock().write()
    }

    fn lock(&self) -> MutexGuard<'_, Shared> {
        self.shared.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn put(&self, text: &str) {
        self.lock().picture.extend_from_slice(text.as_bytes());
    }

    fn put_move(&self, count: usize, direction: char) {
        if count > 0 {
            self.put(&format!("\x1b[{count}{direction}"));
        }
    }
}

impl Shared {
    fn write(&mut self) -> bool {
        loop {
            while !self.waiting.is_empty() {
                match self.file.write(&self.waiting) {
                    Ok(bytes) => drop(self.waiting.drain(..bytes)),
                    Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => return false,
                    // The terminal is closed.
                    Err(_) => self.waiting.clear(),
                }
            }
            if self.latest.is_empty() {
                return true;
            }
            std::mem::swap(&mut self.waiting, &mut self.latest);
        }
    }
}

impl TermLike for Terminal {
    fn width(&self) -> u16 {
        let size = rustix::termios::tcgetwinsize(self.lock().file.as_fd());
        size.ok().map(|size| size.ws_col).filter(|width| *width > 0).unwrap_or(USUAL_WIDTH)
    }

    fn move_cursor_up(&self, n: usize) -> io::Result<()> {
        self.put_move(n, 'A');
        Ok(())
    }

    fn move_cursor_down(&self, n: usize) -> io::Result<()> {
        self.put_move(n, 'B');
        Ok(())
    }

    fn move_cursor_right(&self, n: usize) -> io::Result<()> {
        self.put_move(n, 'C');
        Ok(())
    }

    fn move_cursor_left(&self, n: usize) -> io::Result<()> {
        self.put_move(n, 'D');
        Ok(())
    }

    fn write_line(&self, text: &str) -> io::Result<()> {
        self.put(text);
        self.put("\n");
        Ok(())
    }

    fn write_str(&self, text: &str) -> io::Result<()> {
        self.put(text);
        Ok(())
    }

    fn clear_line(&self) -> io::Result<()> {
        self.put("\r\x1b[2K");
        Ok(())
    }

    /// Ends a picture.
    fn flush(&self) -> io::Result<()> {
        let mut shared = self.lock();
        let picture = std::mem::take(&mut shared.picture);
        shared.latest = picture;
        shared.write();
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::fd::OwnedFd;

    use super::*;

    #[test]
    fn a_held_terminal_keeps_the_latest_picture_only() {
        let (mut reader, writer) = io::pipe().unwrap();
        rustix::io::ioctl_fionbio(&writer, true).unwrap();
        let terminal = Terminal::on(File::from(OwnedFd::from(writer)));
        let picture = |letter: char| {
            terminal.clear_line().unwrap();
            terminal.write_str(&letter.to_string().repeat(5000)).unwrap();
            terminal.flush().unwrap();
        };
        // A pipe takes 64 KiB.
        ('a'..='z').for_each(picture);
        assert!(!terminal.catch_up());
        {
            let shared = terminal.lock();
            assert!(shared.waiting.len() + shared.latest.len() <= 2 * 5005);
        }
        let mut seen = vec![0; 30_000];
        reader.read_exact(&mut seen).unwrap();
        assert!(terminal.catch_up());
        drop(terminal);
        reader.read_to_end(&mut seen).unwrap();
        let seen = String::from_utf8(seen).unwrap();
        let letters: Vec<_> = seen.split("\r\x1b[2K").skip(1).collect();
        assert!(letters.iter().all(|picture| picture.len() == 5000), "whole pictures");
        assert!(letters.len() < 20 && letters.last().unwrap().starts_with('z'));
    }

    #[test]
    fn a_terminal_that_is_gone_takes_everything() {
        let (reader, writer) = io::pipe().unwrap();
        drop(reader);
        let terminal = Terminal::on(File::from(OwnedFd::from(writer)));
        terminal.write_line("x").unwrap();
        terminal.move_cursor_up(1).unwrap();
        terminal.flush().unwrap();
        assert!(terminal.catch_up());
        assert_eq!(terminal.width(), USUAL_WIDTH);
    }
}
