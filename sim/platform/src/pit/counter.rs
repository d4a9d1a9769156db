//! One counter of the 8254: what its output and its count are is a function of how many ticks it has counted.

/// The gate input.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) enum Gate {
    Closed,
    Open,
}

/// The modes of the data sheet, by number.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Mode {
    /// 0: the output rises when the count ends.
    InterruptOnTerminalCount,
    /// 1: a rising gate makes the output low until the count ends.
    OneShot,
    /// 2: the output is low for the last tick of each period.
    RateGenerator,
    /// 3: the output is high for the first half of each period.
    SquareWave,
    /// 4: the output is low for one tick when the count ends.
    SoftwareStrobe,
    /// 5: the same, started by a rising gate.
    HardwareStrobe,
}

/// Which bytes of the count are read and written.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Access {
    Low,
    High,
    Both,
}

/// Which byte comes next when both are transferred.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Next {
    Low,
    High,
}

/// What is being counted.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Counting {
    /// Nothing: no count was written, or no gate has risen.
    Idle,
    /// Since the tick at which `counted` had been counted. A tick in the future is the load of the count.
    Running { since: u64, counted: u64 },
    /// The gate is closed after this many.
    Paused { counted: u64 },
}

/// The state of one counter.
#[derive(Clone, Debug)]
pub(super) struct Counter {
    mode: Mode,
    access: Access,
    decimal: bool,
    gate: Gate,
    /// The count that was written: 1 to 65,536.
    reload: u64,
    /// The count that the current period uses.
    period: u64,
    /// A count written during a period of mode 2 or 3, to be used from its end on.
    waiting: bool,
    counting: Counting,
    writing: Next,
    reading: Next,
    low: u8,
    latched: Option<u16>,
    status: Option<u8>,
    /// Bits 0 to 5 of the control word, for the status.
    control: u8,
}

impl Counter {
    /// A counter that was not programmed.
    pub(super) fn new(gate: Gate) -> Self {
        Self {
            mode: Mode::InterruptOnTerminalCount,
            access: Access::Both,
            decimal: false,
            gate,
            reload: 0x1_0000,
            period: 0x1_0000,
            waiting: false,
            counting: Counting::Idle,
            writing: Next::Low,
            reading: Next::Low,
            low: 0,
            latched: None,
            status: None,
            control: 0x30,
        }
    }

    /// What 0 stands for, and where a count that goes on below 0 wraps.
    fn modulus(&self) -> u64 {
        if self.decimal { 10_000 } else { 0x1_0000 }
    }

    /// Whether the counter starts over by itself.
    fn is_periodic(&self) -> bool {
        matches!(self.mode, Mode::RateGenerator | Mode::SquareWave)
    }

    /// How many ticks were counted by `tick`; `None` before the count is loaded.
    fn counted(&self, tick: u64) -> Option<u64> {
        match self.counting {
            Counting::Idle => None,
            Counting::Paused { counted } => Some(counted),
            Counting::Running { since, counted } => tick.checked_sub(since).map(|more| counted + more),
        }
    }

    /// The ticks of a period of mode 3 during which the output is high.
    fn high_half(&self) -> u64 {
        self.period.div_ceil(2)
    }

    /// The output.
    pub(super) fn output(&self, tick: u64) -> bool {
        let counted = self.counted(tick);
        match self.mode {
            Mode::InterruptOnTerminalCount => counted.is_some_and(|counted| counted >= self.period),
            Mode::OneShot => counted.is_none_or(|counted| counted >= self.period),
            Mode::RateGenerator => {
                self.gate == Gate::Closed
                    || counted.is_none_or(|counted| counted % self.period != self.period - 1)
            }
            Mode::SquareWave => {
                self.gate == Gate::Closed
                    || counted.is_none_or(|counted| counted % self.period < self.high_half())
            }
            Mode::SoftwareStrobe | Mode::HardwareStrobe => counted != Some(self.period),
        }
    }

    /// The count as software sees it.
    fn count(&self, tick: u64) -> u16 {
        let counted = self.counted(tick).unwrap_or(0);
        let value = match self.mode {
            Mode::RateGenerator => self.period - counted % self.period,
            Mode::SquareWave => self.square_wave_count(counted % self.period),
            _ => {
                let modulus = self.modulus();
                (self.period + modulus - counted % modulus) % modulus
            }
        };
        let value = value % self.modulus();
        let value = if self.decimal { to_decimal(value) } else { value };
        (value & 0xffff) as u16
    }

    /// In mode 3 each half counts down by two from the count, or from the count less one when it is odd.
    fn square_wave_count(&self, phase: u64) -> u64 {
        let into = if phase < self.high_half() { phase } else { phase - self.high_half() };
        (self.period & !1).saturating_sub(2 * into)
    }

    /// The phases of a period at which the output changes, in ticks from its start; the second one may be its end.
    fn changes(&self) -> [u64; 2] {
        match self.mode {
            Mode::RateGenerator => [self.period - 1, self.period],
            Mode::SquareWave => [self.high_half(), self.period],
            Mode::InterruptOnTerminalCount | Mode::OneShot => [self.period; 2],
            Mode::SoftwareStrobe | Mode::HardwareStrobe => [self.period, self.period + 1],
        }
    }

    /// The next tick after `tick` at which the output may change.
    pub(super) fn next_change(&self, tick: u64) -> Option<u64> {
        let Counting::Running { since, counted } = self.counting else { return None };
        let done = self.counted(tick).unwrap_or(counted);
        let start = if self.is_periodic() { done - done % self.period } else { 0 };
        let next = self.changes().map(|phase| start + phase).into_iter().find(|change| *change > done)?;
        Some(since + (next - counted))
    }

    /// Takes up a count that waits for the end of the period of mode 2, or of the half period of mode 3.
    pub(super) fn advance(&mut self, tick: u64) {
        if !self.waiting || !self.is_periodic() {
            return;
        }
        let Counting::Running { since, counted } = self.counting else { return };
        let start = counted - counted % self.period;
        let half = start + self.high_half();
        let in_high_half = self.mode == Mode::SquareWave && counted < half;
        let boundary = since + if in_high_half { half } else { start + self.period } - counted;
        if tick >= boundary {
            self.period = self.reload;
            self.waiting = false;
            let counted = if in_high_half { self.high_half() } else { 0 };
            self.counting = Counting::Running { since: boundary, counted };
        }
    }

    /// Loads the written count at the next tick.
    fn load(&mut self, tick: u64) {
        self.period = self.reload;
        self.waiting = false;
        self.counting = match self.gate {
            Gate::Open => Counting::Running { since: tick + 1, counted: 0 },
            Gate::Closed => Counting::Paused { counted: 0 },
        };
    }

    /// A control word: everything but the gate starts anew, or the count is latched.
    pub(super) fn command(&mut self, tick: u64, value: u8) {
        let access = match value >> 4 & 3 {
            0 => return self.latch_count(tick),
            1 => Access::Low,
            2 => Access::High,
            _ => Access::Both,
        };
        let mode = match value >> 1 & 7 {
            0 => Mode::InterruptOnTerminalCount,
            1 => Mode::OneShot,
            2 | 6 => Mode::RateGenerator,
            3 | 7 => Mode::SquareWave,
            4 => Mode::SoftwareStrobe,
            _ => Mode::HardwareStrobe,
        };
        let fresh = Self::new(self.gate);
        *self = Self { access, mode, decimal: value & 1 != 0, control: value & 0x3f, ..fresh };
        self.reload = self.modulus();
        self.period = self.reload;
    }

    /// A byte of the count.
    pub(super) fn write(&mut self, tick: u64, value: u8) {
        match (self.access, self.writing) {
            (Access::Low, _) => self.set_count(tick, u16::from(value)),
            (Access::High, _) => self.set_count(tick, u16::from(value) << 8),
            (Access::Both, Next::Low) => {
                self.low = value;
                self.writing = Next::High;
                if self.mode == Mode::InterruptOnTerminalCount {
                    self.counting = Counting::Idle;
                }
            }
            (Access::Both, Next::High) => {
                self.writing = Next::Low;
                self.set_count(tick, u16::from_le_bytes([self.low, value]));
            }
        }
    }

    /// Takes a whole count.
    fn set_count(&mut self, tick: u64, written: u16) {
        let value = u64::from(written);
        let value = if self.decimal { from_decimal(value) % 10_000 } else { value };
        self.reload = if value == 0 { self.modulus() } else { value };
        match (self.mode, self.counting) {
            (Mode::OneShot | Mode::HardwareStrobe, _) => self.waiting = true,
            (Mode::RateGenerator | Mode::SquareWave, Counting::Running { since, counted }) => {
                // From here on the end of the running period is near: count from its start.
                let done = (counted + tick.saturating_sub(since)) % self.period;
                self.counting = Counting::Running { since: since.max(tick), counted: done };
                self.waiting = true;
            }
            _ => self.load(tick),
        }
    }

    /// Moves the gate.
    pub(super) fn set_gate(&mut self, tick: u64, gate: Gate) {
        if gate == self.gate {
            return;
        }
        self.gate = gate;
        let done = self.counted(tick);
        match (self.mode, gate) {
            (Mode::OneShot | Mode::HardwareStrobe, Gate::Open) => self.load(tick),
            (Mode::OneShot | Mode::HardwareStrobe, Gate::Closed) => {}
            (Mode::RateGenerator | Mode::SquareWave, Gate::Open) if self.counting != Counting::Idle => {
                self.load(tick);
            }
            (Mode::RateGenerator | Mode::SquareWave, Gate::Open) => {}
            (Mode::RateGenerator | Mode::SquareWave, Gate::Closed) => self.pause(Some(0)),
            (_, Gate::Closed) => self.pause(done),
            (_, Gate::Open) => self.resume(tick),
        }
    }

    /// Stops counting after `counted` ticks, none when the count was not loaded yet.
    fn pause(&mut self, counted: Option<u64>) {
        if self.counting != Counting::Idle {
            self.counting = Counting::Paused { counted: counted.unwrap_or(0) };
        }
    }

    /// Counts on.
    fn resume(&mut self, tick: u64) {
        if let Counting::Paused { counted } = self.counting {
            self.counting = Counting::Running { since: tick, counted };
        }
    }

    /// A byte of the status or of the count, of what is latched first.
    pub(super) fn read(&mut self, tick: u64) -> u8 {
        if let Some(status) = self.status.take() {
            return status;
        }
        let [low, high] = self.latched.unwrap_or_else(|| self.count(tick)).to_le_bytes();
        match (self.access, self.reading) {
            (Access::Low, _) => self.release(low),
            (Access::High, _) => self.release(high),
            (Access::Both, Next::Low) => {
                self.reading = Next::High;
                low
            }
            (Access::Both, Next::High) => {
                self.reading = Next::Low;
                self.release(high)
            }
        }
    }

    /// Gives up a latched count with its last byte.
    fn release(&mut self, byte: u8) -> u8 {
        self.latched = None;
        byte
    }

    /// Latches the count, unless one is latched already.
    pub(super) fn latch_count(&mut self, tick: u64) {
        let count = self.count(tick);
        self.latched.get_or_insert(count);
    }

    /// Latches the status: output, whether a written count is not in use yet, and the control word.
    pub(super) fn latch_status(&mut self, tick: u64) {
        let output = if self.output(tick) { 0x80 } else { 0 };
        let unused = if self.waiting || self.counted(tick).is_none() { 0x40 } else { 0 };
        self.status.get_or_insert(output | unused | self.control);
    }
}

/// The binary-coded decimal digits of a number below 10,000.
fn to_decimal(value: u64) -> u64 {
    [1, 10, 100, 1000].iter().enumerate().map(|(digit, weight)| (value / weight % 10) << (4 * digit)).sum()
}

/// The number that four digits stand for; a digit above 9 counts with its value.
fn from_decimal(digits: u64) -> u64 {
    [1, 10, 100, 1000].iter().enumerate().map(|(digit, weight)| (digits >> (4 * digit) & 15) * weight).sum()
}
