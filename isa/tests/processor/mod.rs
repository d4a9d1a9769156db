//! The smallest machine, the same under an observer, and the processor of the host, side by side.
//!
//! Data is at the same address on all three, so that one set of registers means the same everywhere.
#![allow(dead_code, reason = "each test file uses a part")]

use iced_x86::{Decoder, DecoderOptions};
use isa::cpu::{Cpu, Stop};
use isa::engine::{CodeCache, Run};
use isa::flags::Rflags;
use isa::flat::{FlatMachine, Observed};
use isa::registers::{Gpr, Registers};
use isa::state::State;

/// Where data is.
pub(crate) const DATA: u64 = FlatMachine::BASE + 0x8000;
/// Bytes of data.
pub(crate) const WINDOW: usize = 0x2000;
/// The first address without memory.
pub(crate) const END: u64 = FlatMachine::BASE + FlatMachine::SIZE;
/// Exchanges RSP and R15, which hosts the stack of the test.
pub(crate) const XCHG_R15_RSP: [u8; 3] = [0x49, 0x87, 0xe7];

/// An instruction between two that lend it R15 as stack pointer.
pub(crate) fn on_stack(instruction: &[u8]) -> Vec<u8> {
    [&XCHG_R15_RSP, instruction, &XCHG_R15_RSP].concat()
}

/// How many random cases: more with `VMXSIM_CASES`.
pub(crate) fn cases(usual: usize) -> usize {
    std::env::var("VMXSIM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(usual)
}

/// A small generator of reproducible values (SplitMix64).
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.next() % bound
    }

    pub(crate) fn byte(&mut self) -> u8 {
        self.next().to_le_bytes()[0]
    }

    pub(crate) fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[usize::try_from(self.below(of.len() as u64)).unwrap()]
    }

    /// A value at the edge of an operand size, a small one, or any.
    pub(crate) fn operand(&mut self) -> u64 {
        let edge = 1_u64 << self.pick(&[7, 8, 15, 16, 31, 32, 63]);
        match self.below(4) {
            0 => edge.wrapping_add(self.below(3)).wrapping_sub(1),
            1 => self.below(20).wrapping_sub(10),
            _ => self.next(),
        }
    }
}

/// What code starts from, and what it leaves. RSP is neither given nor compared.
#[derive(Clone, PartialEq, Eq)]
pub(crate) struct Values {
    pub(crate) gpr: [u64; 16],
    pub(crate) rflags: u64,
    /// The bytes at [`DATA`].
    pub(crate) data: Vec<u8>,
}

impl core::fmt::Debug for Values {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        for gpr in Gpr::ALL {
            write!(f, "{} {:#x} ", gpr.name(), self.gpr[gpr as usize])?;
        }
        write!(f, "rflags {:?} data", Rflags::from_bits_truncate(self.rflags))?;
        for (at, chunk) in
            self.data.chunks(16).enumerate().filter(|(_, chunk)| chunk.iter().any(|&b| b != 0)).take(8)
        {
            write!(f, " {:#x}: {chunk:02x?}", 16 * at)?;
        }
        Ok(())
    }
}

impl Values {
    /// Distinct registers, no status flag, and zeros.
    pub(crate) fn new() -> Self {
        let gpr = std::array::from_fn(|number| 0x0101_0101_0101_0101 * (number as u64 + 1));
        let mut values = Self { gpr, rflags: 0x202, data: vec![0; WINDOW] };
        values.gpr[Gpr::Rsp as usize] = 0;
        values
    }

    /// Random registers, status flags and data.
    pub(crate) fn random(random: &mut Random) -> Self {
        let mut values = Self::new();
        values.gpr = std::array::from_fn(|_| random.operand());
        values.gpr[Gpr::Rsp as usize] = 0;
        values.rflags = 0x202 | random.next() & Rflags::STATUS.bits();
        values.data.iter_mut().for_each(|byte| *byte = random.byte());
        values
    }

    pub(crate) fn set(&mut self, gpr: Gpr, value: u64) {
        self.gpr[gpr as usize] = value;
    }

    pub(crate) fn get(&self, gpr: Gpr) -> u64 {
        self.gpr[gpr as usize]
    }

    /// Puts bytes at an offset from [`DATA`].
    pub(crate) fn store(&mut self, offset: usize, bytes: &[u8]) {
        self.data[offset..offset + bytes.len()].copy_from_slice(bytes);
    }

    fn registers(&self) -> Registers {
        let mut registers =
            Registers { gpr: self.gpr, rflags: self.rflags, rip: FlatMachine::BASE, ..Registers::default() };
        registers.gpr[Gpr::Rsp as usize] = END - 64;
        registers
    }

    fn after(machine: &FlatMachine) -> Self {
        let registers = machine.state.registers();
        let mut gpr = registers.gpr;
        gpr[Gpr::Rsp as usize] = 0;
        let start = usize::try_from(DATA - FlatMachine::BASE).unwrap();
        Self { gpr, rflags: registers.rflags, data: machine.memory()[start..start + WINDOW].to_vec() }
    }
}

/// A machine with `code` and HLT behind it.
pub(crate) fn machine(code: &[u8], values: &Values) -> FlatMachine {
    let mut machine = FlatMachine::with_code(&[code, &[0xf4]].concat());
    let start = usize::try_from(DATA - FlatMachine::BASE).unwrap();
    machine.memory_mut()[start..start + WINDOW].copy_from_slice(&values.data);
    machine.state = State::from(&values.registers());
    machine
}

/// Runs code in the model, plain and observed, which must agree, until something stops it.
pub(crate) fn run_model(code: &[u8], values: &Values) -> (Run, FlatMachine) {
    let mut plain = machine(code, values);
    let mut observed = Observed::new(plain.clone());
    let run = continued(&mut plain);
    let observed_run = continued(&mut observed);
    assert_same_run(&run, &observed_run, code);
    assert_eq!(observed.completed, run.executed, "{}", listing(code));
    assert_same(&plain, &observed.machine, code);
    (run, plain)
}

/// Runs on where an instruction has only asked the machine to look at what it changed.
fn continued<C: Cpu>(machine: &mut C) -> Run {
    let mut code = CodeCache::new();
    let mut run = code.run(machine, 1000);
    while run.stop == Some(Stop::Done) {
        let rest = code.run(machine, 1000);
        run = Run { executed: run.executed + rest.executed, ..rest };
    }
    run
}

/// Two runs ended in the same way. Where a fault would continue has no meaning.
pub(crate) fn assert_same_run(ours: &Run, theirs: &Run, code: &[u8]) {
    let meaning = |run: &Run| match run.stop {
        Some(Stop::Exception(_)) => (run.executed, run.stop, None),
        _ => (run.executed, run.stop, Some(run.next_rip)),
    };
    assert_eq!(meaning(ours), meaning(theirs), "{}", listing(code));
}

/// All registers and all memory are equal.
pub(crate) fn assert_same(plain: &FlatMachine, other: &FlatMachine, code: &[u8]) {
    let (ours, theirs) = (plain.state.registers(), other.state.registers());
    assert_eq!(ours, theirs, "{}", listing(code));
    assert!(plain.memory() == other.memory(), "memory after {}", listing(code));
}

/// What the model leaves at the end of code that nothing stops.
pub(crate) fn in_model(code: &[u8], values: &Values) -> Values {
    let (run, machine) = run_model(code, values);
    assert_eq!(run.stop, Some(Stop::Halt), "{} of {values:?}", listing(code));
    assert_eq!(machine.state().rip(), FlatMachine::BASE + code.len() as u64, "{}", listing(code));
    Values::after(&machine)
}

/// The code as text.
pub(crate) fn listing(code: &[u8]) -> String {
    let instructions = Decoder::new(64, code, DecoderOptions::NONE).into_iter();
    instructions.map(|instruction| format!("{instruction}")).collect::<Vec<_>>().join("; ")
}

/// Asserts that the model and the host's processor (where it is one of these) leave the same, and returns it.
pub(crate) fn agree(code: &[u8], values: &Values) -> Values {
    let ours = in_model(code, values);
    #[cfg(all(target_arch = "x86_64", target_os = "linux"))]
    {
        let theirs = silicon::run(code, values);
        assert!(ours == theirs, "{} of\n{values:?}\nmodel {ours:?}\nprocessor {theirs:?}", listing(code));
    }
    ours
}

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[path = "../silicon_simd/mod.rs"]
mod silicon_simd;

#[cfg(all(target_arch = "x86_64", target_os = "linux"))]
#[allow(unsafe_code, reason = "machine code is called on memory at a fixed address")]
mod silicon {
    use super::silicon_simd::{Code, Context};
    use super::{DATA, Gpr, Values, WINDOW};
    use std::sync::{LazyLock, Mutex, PoisonError};

    /// The data, which one test at a time may use.
    static MEMORY: LazyLock<Mutex<&'static mut [u8]>> = LazyLock::new(|| {
        // SAFETY: a new mapping of WINDOW bytes that replaces none and is never unmapped.
        unsafe {
            let place = libc::mmap(
                DATA as *mut libc::c_void,
                WINDOW,
                libc::PROT_READ | libc::PROT_WRITE,
                libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | libc::MAP_FIXED_NOREPLACE,
                -1,
                0,
            );
            assert_eq!(place as u64, DATA, "memory at this address");
            Mutex::new(std::slice::from_raw_parts_mut(place.cast(), WINDOW))
        }
    });

    pub(super) fn run(code: &[u8], values: &Values) -> Values {
        let mut memory = MEMORY.lock().unwrap_or_else(PoisonError::into_inner);
        memory.copy_from_slice(&values.data);
        let mut context = Context { gpr: values.gpr, rflags: values.rflags, unused: 0, xmm: [0; 16] };
        let code = Code::new(&[code.to_vec()]);
        // SAFETY: the tests give code that has run in the model without a fault, with memory operands in DATA.
        unsafe { code.run(0, &mut context) };
        context.gpr[Gpr::Rsp as usize] = 0;
        Values { gpr: context.gpr, rflags: context.rflags, data: std::hint::black_box(memory.to_vec()) }
    }
}

/// Where a row may be checked.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
enum Judges {
    ModelAndProcessor,
    ModelOnly,
}

/// A row of a table: code, what it starts from, and what changes. Everything else must stay as it was.
pub(crate) struct Case {
    name: &'static str,
    code: Vec<u8>,
    before: Values,
    after: Values,
    judges: Judges,
}

/// A row with distinct registers, all status flags clear and zeros in memory.
pub(crate) fn case(name: &'static str, code: &[u8]) -> Case {
    let values = Values::new();
    Case {
        name,
        code: code.to_vec(),
        before: values.clone(),
        after: values,
        judges: Judges::ModelAndProcessor,
    }
}

impl Case {
    /// A register before (and after, unless [`Self::then`] says otherwise).
    pub(crate) fn given(mut self, gpr: Gpr, value: u64) -> Self {
        self.before.set(gpr, value);
        self.after.set(gpr, value);
        self
    }

    /// Flags before (and after, unless [`Self::then_flags`] says otherwise).
    pub(crate) fn flags(mut self, flags: Rflags) -> Self {
        self.before.rflags = 0x202 | flags.bits();
        self.after.rflags = self.before.rflags;
        self
    }

    /// Data before, and after.
    pub(crate) fn stored(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.before.store(offset, bytes);
        self.after.store(offset, bytes);
        self
    }

    pub(crate) fn then(mut self, gpr: Gpr, value: u64) -> Self {
        self.after.set(gpr, value);
        self
    }

    pub(crate) fn then_flags(mut self, flags: Rflags) -> Self {
        self.after.rflags = 0x202 | flags.bits();
        self
    }

    pub(crate) fn then_stored(mut self, offset: usize, bytes: &[u8]) -> Self {
        self.after.store(offset, bytes);
        self
    }

    /// For what would disturb the host's process or what hosts differ in.
    pub(crate) fn model_only(mut self) -> Self {
        self.judges = Judges::ModelOnly;
        self
    }

    pub(crate) fn check(self) {
        let found = match self.judges {
            Judges::ModelAndProcessor => agree(&self.code, &self.before),
            Judges::ModelOnly => in_model(&self.code, &self.before),
        };
        assert!(
            found == self.after,
            "{}: {} of\n{:?}\nfound    {found:?}\nexpected {:?}",
            self.name,
            listing(&self.code),
            self.before,
            self.after
        );
    }
}

/// Code stops for `stop` at its first instruction and changes neither registers nor memory.
pub(crate) fn refused(code: &[u8], values: &Values, stop: Stop) {
    let before = machine(code, values);
    let (run, after) = run_model(code, values);
    assert_eq!((run.stop, run.executed), (Some(stop), 0), "{}", listing(code));
    assert_same(&after, &before, code);
}
