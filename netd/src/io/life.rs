//! The life of a VMM that sends datagrams: its sockets do not tell its end, so
//! its process is watched, which the kernel names with the first frame
//! (unix(7), `SO_PASSCRED`; pidfd_open(2)). Elsewhere than on Linux its end
//! shows when a frame cannot be sent.

#[cfg(target_os = "linux")]
pub(super) use imp::{Life, ask_for_sender};
#[cfg(not(target_os = "linux"))]
pub(super) use other::{Life, ask_for_sender};

#[cfg(target_os = "linux")]
mod imp {
    use std::io::IoSliceMut;
    use std::os::fd::{AsFd, AsRawFd, OwnedFd};

    use mio::unix::SourceFd;
    use mio::{Interest, Token};
    use nix::sys::socket::{ControlMessageOwned, MsgFlags, UnixAddr, recvmsg, setsockopt, sockopt};
    use rustix::event::{PollFd, PollFlags, Timespec, poll};
    use rustix::io::Errno;
    use rustix::process::{Pid, PidfdFlags, pidfd_open};

    use super::super::sources::{Source, Sources};
    use crate::ids::PortId;

    /// The process of a VMM.
    #[derive(Debug, Default)]
    pub(in super::super) struct Life {
        // Who sends now has been met.
        known: bool,
        // It is to be watched.
        met: Option<OwnedFd>,
        process: Option<(OwnedFd, Token)>,
    }

    /// Has the kernel name the sender of each datagram, or no more.
    pub(in super::super) fn ask_for_sender(socket: &impl AsFd, ask: bool) {
        if let Err(error) = setsockopt(socket, sockopt::PassCred, &ask) {
            tracing::debug!(%error, "senders cannot be told");
        }
    }

    impl Life {
        /// It is known who sends.
        pub(in super::super) fn is_known(&self) -> bool {
            self.known
        }

        /// Learns who sent the datagram that waits, if one does. It may be from
        /// one who has ended since, or from before senders were told: that is
        /// nobody.
        pub(in super::super) fn meet(&mut self, socket: &(impl AsFd + AsRawFd)) -> bool {
            let mut byte = [0];
            let mut pieces = [IoSliceMut::new(&mut byte)];
            let mut control = nix::cmsg_space!(nix::sys::socket::UnixCredentials);
            let flags = MsgFlags::MSG_PEEK | MsgFlags::MSG_DONTWAIT;
            let fd = socket.as_raw_fd();
            let Ok(message) = recvmsg::<UnixAddr>(fd, &mut pieces, Some(&mut control), flags)
            else {
                return false;
            };
            let sender = message.cmsgs().ok().and_then(|mut all| {
                all.find_map(|control| match control {
                    ControlMessageOwned::ScmCredentials(sender) => Pid::from_raw(sender.pid()),
                    _ => None,
                })
            });
            let Some(sender) = sender else {
                return false;
            };
            match pidfd_open(sender, PidfdFlags::empty()) {
                Ok(process) if is_over(&process) => return false,
                Ok(process) => self.met = Some(process),
                Err(Errno::SRCH) => return false,
                Err(error) => unwatched(&error.into()),
            }
            self.known = true;
            ask_for_sender(socket, false);
            true
        }

        /// Watches who was met, if that is another one.
        pub(in super::super) fn watch(&mut self, id: PortId, sources: &mut Sources) {
            let Some(process) = self.met.take() else {
                return;
            };
            self.unwatch(sources);
            let fd = process.as_raw_fd();
            match sources.add(&mut SourceFd(&fd), Interest::READABLE, Source::Vmm(id)) {
                Ok(token) => self.process = Some((process, token)),
                Err(error) => unwatched(&error),
            }
        }

        /// The process that was watched has ended.
        pub(in super::super) fn has_ended(&mut self, sources: &mut Sources) -> bool {
            let Some((process, _)) = &self.process else {
                return false;
            };
            let ended = is_over(process);
            if ended {
                self.forget(sources);
            }
            ended
        }

        /// Watches nothing any more.
        pub(in super::super) fn forget(&mut self, sources: &mut Sources) {
            self.known = false;
            self.met = None;
            self.unwatch(sources);
        }

        fn unwatch(&mut self, sources: &mut Sources) {
            if let Some((process, token)) = self.process.take() {
                let fd = process.as_raw_fd();
                sources.remove(&mut SourceFd(&fd), token);
            }
        }
    }

    fn is_over(process: &OwnedFd) -> bool {
        let mut wanted = [PollFd::new(process, PollFlags::IN)];
        poll(&mut wanted, Some(&Timespec::default())).is_ok_and(|n| n > 0)
    }

    fn unwatched(error: &std::io::Error) {
        tracing::debug!(%error, "a VMM's process cannot be watched");
    }
}

#[cfg(not(target_os = "linux"))]
mod other {
    use std::os::fd::AsFd;

    use super::super::sources::Sources;
    use crate::ids::PortId;

    /// Nothing is known of a process here.
    #[derive(Debug, Default)]
    pub(in super::super) struct Life;

    pub(in super::super) fn ask_for_sender(_: &impl AsFd, _: bool) {}

    impl Life {
        pub(in super::super) fn is_known(&self) -> bool {
            true
        }

        pub(in super::super) fn meet(&mut self, socket: &impl AsFd) -> bool {
            let mut byte = [std::mem::MaybeUninit::uninit()];
            socket2::SockRef::from(socket).peek(&mut byte).is_ok()
        }

        pub(in super::super) fn watch(&mut self, _: PortId, _: &mut Sources) {}

        pub(in super::super) fn has_ended(&mut self, _: &mut Sources) -> bool {
            false
        }

        pub(in super::super) fn forget(&mut self, _: &mut Sources) {}
    }
}
