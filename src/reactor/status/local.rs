//! The Unix socket of the status service: a file that only its owner may open.

use std::fs;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};

use mio::net::UnixListener;
use rustix::fs::{Mode, fchmod};
use socket2::{Domain, SockAddr, Socket, Type};

/// The file's permissions: its owner's alone.
const MODE: u32 = 0o600;

/// The longest path of a socket on Linux, without the zero at its end (unix(7)).
const PATH_BYTES_MAX: usize = 107;

/// Why the socket cannot be made.
#[derive(Debug, thiserror::Error)]
pub(super) enum LocalError {
    #[error("a file that is not a socket has this name")]
    NotASocket,
    #[error("another program listens there")]
    InUse,
    #[error("the path has more than 107 bytes")]
    TooLong,
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// The listening socket; its file is removed at the end.
#[derive(Debug)]
pub(super) struct LocalListener {
    pub(super) socket: UnixListener,
    path: PathBuf,
    /// Device and inode of the file: what another program has put in its place is not removed.
    file: (u64, u64),
}

impl LocalListener {
    /// Listens at `path`, in the place of a socket to which nothing listens any more.
    ///
    /// # Errors
    /// Something else is there, or as the system says.
    pub(super) fn bind(path: &Path, backlog: i32) -> Result<LocalListener, LocalError> {
        if path.as_os_str().len() > PATH_BYTES_MAX {
            return Err(LocalError::TooLong);
        }
        let address = SockAddr::unix(path)?;
        remove_stale(path, &address)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.set_nonblocking(true)?;
        // Linux makes the file with the mode of the socket (unix_bind in the kernel's net/unix/af_unix.c): it is never open to
        // others, whatever the umask is. Other systems refuse this.
        let _ = fchmod(&socket, Mode::from_raw_mode(MODE));
        socket.bind(&address)?;
        let metadata = fs::symlink_metadata(path)?;
        let listener = LocalListener {
            socket: UnixListener::from_std(OwnedFd::from(socket.try_clone()?).into()),
            path: path.to_owned(),
            file: (metadata.dev(), metadata.ino()),
        };
        if metadata.permissions().mode() & 0o777 != MODE {
            // Before anyone can connect.
            fs::set_permissions(path, fs::Permissions::from_mode(MODE))?;
        }
        socket.listen(backlog)?;
        Ok(listener)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for LocalListener {
    fn drop(&mut self) {
        let is_ours = fs::symlink_metadata(&self.path).is_ok_and(|it| (it.dev(), it.ino()) == self.file);
        if is_ours {
            let _ = fs::remove_file(&self.path);
        }
    }
}

/// Removes the socket of a program that has ended without doing so.
fn remove_stale(path: &Path, address: &SockAddr) -> Result<(), LocalError> {
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(metadata) if !metadata.file_type().is_socket() => return Err(LocalError::NotASocket),
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    // A program whose queue is full is there, and is not waited for.
    probe.set_nonblocking(true)?;
    match probe.connect(address) {
        Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => Ok(fs::remove_file(path)?),
        Ok(()) => Err(LocalError::InUse),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(LocalError::InUse),
        Err(error) => Err(error.into()),
    }
}
