//! The terminal that a guest's serial port is connected to.

use nix::sys::termios::{self, SetArg, Termios};
use std::io::{self, IsTerminal, Read};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, channel};

/// Ctrl-], which ends the run when the terminal belongs to the guest.
pub const ESCAPE: u8 = 0x1d;

/// Standard input as the guest's keyboard.
///
/// On a terminal each key goes to the guest as it is pressed, Ctrl-C among them; [`ESCAPE`] ends the run. The terminal
/// is as it was when this is dropped.
pub struct Console {
    keys: Receiver<u8>,
    left: Arc<AtomicBool>,
    before: Option<Termios>,
}

impl Console {
    /// Connects standard input.
    ///
    /// # Errors
    ///
    /// When the terminal refuses raw mode.
    pub fn open() -> io::Result<Self> {
        let before = if io::stdin().is_terminal() { Some(raw_mode()?) } else { None };
        let on_terminal = before.is_some();
        let left = Arc::new(AtomicBool::new(false));
        let (send, keys) = channel();
        let leave = Arc::clone(&left);
        std::thread::spawn(move || {
            for byte in io::stdin().lock().bytes().map_while(Result::ok) {
                if on_terminal && byte == ESCAPE {
                    leave.store(true, Ordering::Relaxed);
                    return;
                }
                if send.send(byte).is_err() {
                    return;
                }
            }
        });
        Ok(Self { keys, left, before })
    }

    /// The next byte that was typed.
    pub fn key(&self) -> Option<u8> {
        self.keys.try_recv().ok()
    }

    /// Whether the escape key was pressed.
    #[must_use]
    pub fn is_left(&self) -> bool {
        self.left.load(Ordering::Relaxed)
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        if let Some(before) = &self.before {
            // A terminal that has gone away needs no mode.
            let _gone = termios::tcsetattr(io::stdin(), SetArg::TCSANOW, before);
        }
    }
}

/// Makes the terminal hand over keys as they are pressed, and returns how it was. Output is still processed, so that a
/// line feed begins a new line.
fn raw_mode() -> io::Result<Termios> {
    let before = termios::tcgetattr(io::stdin())?;
    let mut raw = before.clone();
    termios::cfmakeraw(&mut raw);
    raw.output_flags = before.output_flags;
    termios::tcsetattr(io::stdin(), SetArg::TCSANOW, &raw)?;
    Ok(before)
}
