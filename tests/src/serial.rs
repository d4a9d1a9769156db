//! The host's end of a guest's serial port.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{self, Write};
use std::sync::{Arc, Mutex};

/// What the guest sent.
#[derive(Clone, Default)]
pub(crate) struct Serial(Arc<Mutex<Vec<u8>>>);

impl Serial {
    pub(crate) fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }

    /// As text, with lines as hosts end them.
    pub(crate) fn text(&self) -> String {
        String::from_utf8_lossy(&self.bytes()).replace('\r', "")
    }
}

impl Write for Serial {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
