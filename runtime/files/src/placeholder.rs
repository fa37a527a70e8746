//! A device without files, for a machine that is booted to be saved: the
//! guest lets go of it before that, so nobody ever asks it anything.

use std::io;
use std::os::unix::net::UnixListener;
use std::path::Path;
use std::sync::{Arc, Mutex};

use vhost::vhost_user::BackendReqHandler;

use crate::keeper::device::{Device, Rings};

/// Serves one VMM's connection on a thread of its own.
#[derive(Debug)]
pub struct Placeholder;

impl Placeholder {
    /// Makes the socket; the device lives as long as the VMM's connection.
    ///
    /// # Errors
    /// The socket cannot be made.
    pub fn listen(socket: &Path) -> io::Result<()> {
        let _ = std::fs::remove_file(socket);
        let listener = UnixListener::bind(socket)?;
        std::thread::spawn(move || {
            let Ok((stream, _)) = listener.accept() else {
                return;
            };
            let device = Arc::new(Mutex::new(Device::new(Nothing)));
            let mut handler = BackendReqHandler::from_stream(stream, device);
            while handler.handle_request().is_ok() {}
        });
        Ok(())
    }
}

struct Nothing;

impl Rings for Nothing {
    fn memory(&mut self, _: &[crate::link::Region], _: &[std::fs::File]) -> io::Result<()> {
        Ok(())
    }

    fn start(
        &mut self,
        _: crate::link::Ring,
        _: u16,
        _: &std::fs::File,
        _: &std::fs::File,
    ) -> io::Result<()> {
        Ok(())
    }

    fn stop(&mut self, _: u32) -> io::Result<u16> {
        Ok(0)
    }
}
