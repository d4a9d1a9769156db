//! Progress of long work: a bar on a terminal, plain lines elsewhere.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::io::IsTerminal;
use std::time::{Duration, Instant};

/// Whether progress is shown.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Show {
    /// On standard error.
    Yes,
    /// Not at all (`-q`).
    No,
}

const LINE_EVERY: Duration = Duration::from_secs(10);

/// Shows how far some work is, with rate and remaining time.
pub struct Progress {
    kind: Kind,
    unit: &'static str,
    started: Instant,
    total: Option<u64>,
}

enum Kind {
    Bar(ProgressBar),
    Lines { last: Instant },
    Hidden,
}

impl Progress {
    /// Progress of `total` units, or of an unknown number.
    #[must_use]
    pub fn new(show: Show, what: &str, unit: &'static str, total: Option<u64>) -> Self {
        let started = Instant::now();
        let kind = match show {
            Show::No => Kind::Hidden,
            Show::Yes if std::io::stderr().is_terminal() => Kind::Bar(bar(what, unit, total)),
            Show::Yes => Kind::Lines { last: started },
        };
        Self { kind, unit, started, total }
    }

    /// Says that `done` units are done. Cheap enough for every few thousand units.
    pub fn set(&mut self, done: u64) {
        match &mut self.kind {
            Kind::Bar(bar) => bar.set_position(done),
            Kind::Lines { last } if last.elapsed() >= LINE_EVERY => {
                *last = Instant::now();
                let rate = done as f64 / self.started.elapsed().as_secs_f64() / 1e6;
                let share = self.total.map_or(String::new(), |total| format!(" of {total}"));
                eprintln!("{done}{share} {}, {rate:.2} M/s", self.unit);
            }
            Kind::Lines { .. } | Kind::Hidden => {}
        }
    }

    /// Says what goes on, beside a bar.
    pub fn say(&mut self, what: &'static str) {
        if let Kind::Bar(bar) = &self.kind {
            bar.set_message(what);
        }
    }

    /// Ends the display.
    pub fn finish(self) {
        if let Kind::Bar(bar) = self.kind {
            bar.finish_and_clear();
        }
    }
}

fn bar(what: &str, unit: &str, total: Option<u64>) -> ProgressBar {
    let bar = ProgressBar::with_draw_target(total, ProgressDrawTarget::stderr_with_hz(8));
    let template = if total.is_some() {
        format!("{what} {{bar:30}} {{human_pos}}/{{human_len}} {unit}, {{per_sec}}, {{eta}} left {{msg}}")
    } else {
        format!("{what} {{spinner}} {{human_pos}} {unit}, {{per_sec}}, {{elapsed}} {{msg}}")
    };
    // A template that indicatif refuses leaves its default style.
    if let Ok(style) = ProgressStyle::with_template(&template) {
        bar.set_style(style);
    }
    bar
}
