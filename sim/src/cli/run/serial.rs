//! Where the bytes of the serial port go on the host, and who reads along.

use std::io::{self, Write};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

/// Standard output, of which the guest's bytes are seen at once.
pub(super) struct Unbuffered;

impl Write for Unbuffered {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let mut out = io::stdout().lock();
        let written = out.write(bytes)?;
        out.flush()?;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        io::stdout().flush()
    }
}

/// Waits for a text among the bytes that it passes on.
pub(super) struct Awaiting {
    inner: Box<dyn Write + Send>,
    text: Vec<u8>,
    /// The last bytes that were passed on, fewer than the text has.
    tail: Vec<u8>,
    seen: Arc<AtomicBool>,
}

impl Awaiting {
    /// Passes bytes on to `inner`; the flag says whether they contained the text.
    pub(super) fn new(inner: Box<dyn Write + Send>, text: &str) -> (Self, Arc<AtomicBool>) {
        let seen = Arc::new(AtomicBool::new(false));
        let text = text.as_bytes().to_vec();
        (Self { inner, text, tail: Vec::new(), seen: Arc::clone(&seen) }, seen)
    }
}

impl Write for Awaiting {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.tail.extend(&bytes[..written]);
        if self.text.is_empty() || self.tail.windows(self.text.len()).any(|window| window == self.text) {
            self.seen.store(true, Ordering::Relaxed);
        }
        let kept = self.tail.len().min(self.text.len().saturating_sub(1));
        self.tail.drain(..self.tail.len() - kept);
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn a_text_is_seen_however_it_is_cut() {
        for pieces in [&["login:"][..], &["log", "in:"], &["x", "lo", "g", "in", ":", "y"]] {
            let (mut sink, seen) = Awaiting::new(Box::new(io::sink()), "login:");
            for piece in pieces {
                sink.write_all(piece.as_bytes()).unwrap();
            }
            assert!(seen.load(Ordering::Relaxed), "{pieces:?}");
        }
        let (mut sink, seen) = Awaiting::new(Box::new(io::sink()), "login:");
        sink.write_all(b"log in:login").unwrap();
        assert!(!seen.load(Ordering::Relaxed));
    }
}
