//! Keys while `up` shows logs on a terminal: `w` watches files or leaves off,
//! `d` leaves the services running in the background.

use std::io::Read;

use tokio::sync::{mpsc, watch};

use crate::terminal::KeyByKey;
use crate::ui::{Ui, palette};

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wish {
    /// Watch files, or not.
    Watch,
    /// Go away, and let the services run.
    Detach,
}

/// The keys, and the terminal in the mode for them.
pub(super) struct Menu {
    keys: mpsc::Receiver<u8>,
    ui: Ui,
    /// Files are watched.
    watching: watch::Sender<bool>,
    _mode: KeyByKey,
}

impl Menu {
    /// Takes the keys over, where there are some; `None`: this is no terminal,
    /// or another process has it.
    pub(super) fn open(ui: Ui, watching: watch::Sender<bool>) -> Option<Menu> {
        let mode = KeyByKey::enter()?;
        let (to, keys) = mpsc::channel(8);
        // It may block for ever, which must not keep this process alive.
        std::thread::spawn(move || {
            let mut stdin = std::io::stdin().lock();
            let mut key = [0];
            while matches!(stdin.read(&mut key), Ok(1)) && to.blocking_send(key[0]).is_ok() {}
        });
        let menu = Menu {
            keys,
            ui,
            watching,
            _mode: mode,
        };
        menu.show();
        Some(menu)
    }

    /// Waits for a key that means something. Cancel-safe.
    pub(super) async fn wish(&mut self) -> Wish {
        loop {
            match self.keys.recv().await {
                Some(b'w' | b'W') => return Wish::Watch,
                Some(b'd' | b'D') => return Wish::Detach,
                Some(b'\r' | b'\n' | b'h' | b'H' | b'?') => self.show(),
                Some(_) => {}
                None => std::future::pending().await,
            }
        }
    }

    /// Begins to watch, or leaves off.
    pub(super) fn toggle_watch(&self) {
        let on = !*self.watching.borrow();
        self.ui.note(match on {
            true => "watching files (w: leave off)",
            false => "files are not watched any more",
        });
        self.watching.send_replace(on);
    }

    fn show(&self) {
        let paint = self.ui.err;
        let key = |name| paint.paint(palette::STRONG, name);
        let watch = match *self.watching.borrow() {
            true => "watch no longer",
            false => "watch files",
        };
        self.ui.note(format_args!(
            "{} {watch}   {} leave it running   {} stop",
            key("w"),
            key("d"),
            key("Ctrl-C")
        ));
    }
}
