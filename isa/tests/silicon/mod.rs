//! Runs instructions on the processor underneath and on the smallest machine, and compares.
//!
//! A stub loads all registers and status flags, executes the bytes under test and stores the registers back. Data is
//! mapped at the addresses that [`FlatMachine`] has, so that memory operands mean the same on both sides.
#![allow(unsafe_code, reason = "executes generated code on memory that it maps")]

use crate::forms::{self, Address, DISPLACEMENT, Encoded, Values};
use iced_x86::{CpuidFeature, Instruction, Mnemonic, OpKind, Register};
use isa::cpu::Stop;
use isa::engine::CodeCache;
use isa::event::Vector;
use isa::flags::Rflags;
use isa::flat::FlatMachine;
use isa::registers::{Gpr, Registers};
use isa::state::State;
use isa::undefined::{self, Destination};
use std::sync::{LazyLock, Mutex, MutexGuard};

/// Where the memory operands of the tests are.
const OPERAND: u64 = FlatMachine::BASE + 0x8000;
/// The base of GS.
const GS_BASE: u64 = 0x4000;
/// What is compared after each instruction: bit strings reach 1 KiB to both sides.
const WINDOW: core::ops::Range<usize> = 0x7b00..0x8600;

/// Values that the stub exchanges with the test: 16 registers before, flags before, 16 registers after, flags after,
/// the stack pointer of the caller.
const BEFORE: usize = 0;
const AFTER: usize = 17;
const CALLER: usize = 34;

/// The real processor.
struct Processor {
    /// One page of exchanged values, and the code in the page after it.
    page: *mut u64,
    memory: *mut u8,
}

// SAFETY: the mappings belong to this value alone, and it is used under a lock.
unsafe impl Send for Processor {}

static PROCESSOR: LazyLock<Mutex<Processor>> = LazyLock::new(|| Mutex::new(Processor::new()));

impl Processor {
    fn new() -> Self {
        let page = map(0, 0x2000).cast();
        let memory = map(FlatMachine::BASE, FlatMachine::SIZE);
        Self { page, memory }
    }

    /// The processor, with the GS base of the calling thread set.
    fn acquire() -> MutexGuard<'static, Self> {
        const ARCH_SET_GS: libc::c_int = 0x1001;
        // SAFETY: on x86-64 Linux no code of the process uses GS.
        let outcome = unsafe { libc::syscall(libc::SYS_arch_prctl, ARCH_SET_GS, GS_BASE) };
        assert_eq!(outcome, 0, "setting the GS base failed");
        PROCESSOR.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    /// Puts `code` between the loading and the storing half of the stub.
    fn load(&mut self, code: &[u8]) {
        let mut stub = Vec::new();
        stub.extend([0x53, 0x55, 0x41, 0x54, 0x41, 0x55, 0x41, 0x56, 0x41, 0x57]); // push rbx rbp r12..r15
        exchange(&mut stub, Exchange::Store, Gpr::Rsp, CALLER);
        exchange(&mut stub, Exchange::Load, Gpr::Rax, BEFORE + 16);
        stub.extend([0x50, 0x9d]); // push rax / popfq
        for gpr in Gpr::ALL {
            exchange(&mut stub, Exchange::Load, gpr, BEFORE + gpr as usize);
        }
        stub.extend(code);
        for gpr in Gpr::ALL {
            exchange(&mut stub, Exchange::Store, gpr, AFTER + gpr as usize);
        }
        exchange(&mut stub, Exchange::Load, Gpr::Rsp, CALLER);
        stub.extend([0x9c, 0x58]); // pushfq / pop rax
        exchange(&mut stub, Exchange::Store, Gpr::Rax, AFTER + 16);
        stub.push(0xfc); // cld
        stub.extend([0x41, 0x5f, 0x41, 0x5e, 0x41, 0x5d, 0x41, 0x5c, 0x5d, 0x5b, 0xc3]); // pop .. / ret
        assert!(stub.len() <= 0x1000);
        self.protect(libc::PROT_READ | libc::PROT_WRITE);
        // SAFETY: the code page is mapped, writable now, and large enough.
        unsafe { core::ptr::copy_nonoverlapping(stub.as_ptr(), self.code(), stub.len()) };
        self.protect(libc::PROT_READ | libc::PROT_EXEC);
    }

    fn code(&self) -> *mut u8 {
        self.page.cast::<u8>().wrapping_add(0x1000)
    }

    fn protect(&self, protection: libc::c_int) {
        // SAFETY: the page belongs to this value, and its code is not running.
        let outcome = unsafe { libc::mprotect(self.code().cast(), 0x1000, protection) };
        assert_eq!(outcome, 0, "mprotect failed");
    }

    fn run(&mut self, before: &Registers) -> Registers {
        let mut after = *before;
        // SAFETY: the first page is mapped for data; the stub keeps the calling convention, and the code under
        // test has operands in registers and in the mapped memory only.
        unsafe {
            let values = core::slice::from_raw_parts_mut(self.page, 35);
            values[..16].copy_from_slice(&before.gpr);
            values[16] = before.rflags;
            let stub: extern "C" fn() = core::mem::transmute(self.code());
            stub();
            let values = core::slice::from_raw_parts(self.page, 35);
            after.gpr.copy_from_slice(&values[AFTER..AFTER + 16]);
            after.rflags = values[AFTER + 16];
        }
        after
    }

    fn memory(&mut self) -> &mut [u8] {
        // SAFETY: mapped by this value with this size.
        unsafe { core::slice::from_raw_parts_mut(self.memory, FlatMachine::SIZE as usize) }
    }
}

/// Readable and writable memory, at `address` unless that is 0.
fn map(address: u64, bytes: u64) -> *mut u8 {
    let fixed = if address == 0 { 0 } else { libc::MAP_FIXED_NOREPLACE };
    // SAFETY: a new mapping that replaces none.
    let place = unsafe {
        libc::mmap(
            address as *mut _,
            bytes as usize,
            libc::PROT_READ | libc::PROT_WRITE,
            libc::MAP_PRIVATE | libc::MAP_ANONYMOUS | fixed,
            -1,
            0,
        )
    };
    assert_ne!(place, libc::MAP_FAILED, "mapping memory at {address:#x} failed");
    place.cast()
}

#[derive(Clone, Copy)]
enum Exchange {
    Load,
    Store,
}

/// MOV between a register and an exchanged value, relative to RIP.
fn exchange(stub: &mut Vec<u8>, exchange: Exchange, gpr: Gpr, slot: usize) {
    let number = gpr as u8;
    let opcode = match exchange {
        Exchange::Load => 0x8b,
        Exchange::Store => 0x89,
    };
    stub.extend([0x48 | (number >> 3) << 2, opcode, 5 | (number & 7) << 3]);
    let next = 0x1000 + stub.len() + 4;
    stub.extend((8 * slot as i32 - next as i32).to_le_bytes());
}

/// How long a run is: `VMXSIM_CASES` multiplies the number of inputs of each encoding.
fn scale() -> u64 {
    std::env::var("VMXSIM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1)
}

/// Compares every form of `mnemonics` over random and corner operands, with live and with dead flags.
pub(crate) fn compare(mnemonics: &[Mnemonic]) {
    let mut processor = Processor::acquire();
    let mut values = Values::new(7);
    for &mnemonic in mnemonics {
        for form in forms::of(mnemonic, 12, &mut values) {
            if !form.instruction.cpuid_features().iter().all(|&feature| is_present(feature)) {
                continue;
            }
            compare_form(&mut processor, &form, &[], &mut values);
            compare_form(&mut processor, &form, &ADD_R15_R14, &mut values);
        }
    }
}

/// Overwrites all flags, so that those of the instruction before are dead.
const ADD_R15_R14: [u8; 3] = [0x4d, 0x01, 0xf7];

fn is_present(feature: CpuidFeature) -> bool {
    match feature {
        CpuidFeature::BMI1 => is_x86_feature_detected!("bmi1"),
        CpuidFeature::BMI2 => is_x86_feature_detected!("bmi2"),
        CpuidFeature::ADX => is_x86_feature_detected!("adx"),
        CpuidFeature::LZCNT => is_x86_feature_detected!("lzcnt"),
        CpuidFeature::POPCNT => is_x86_feature_detected!("popcnt"),
        CpuidFeature::MOVBE => is_x86_feature_detected!("movbe"),
        CpuidFeature::SSE4_2 => is_x86_feature_detected!("sse4.2"),
        _ => true,
    }
}

fn compare_form(processor: &mut Processor, form: &Encoded, suffix: &[u8], values: &mut Values) {
    let code = [form.bytes.as_slice(), suffix].concat();
    processor.load(&code);
    let mut machine = FlatMachine::with_code(&[code.as_slice(), &[0xf4]].concat());
    for byte in &mut machine.memory_mut()[0x1000..] {
        *byte = values.next() as u8;
    }
    processor.memory().copy_from_slice(machine.memory());
    let mut cache = CodeCache::new();
    for _ in 0..60 * scale() {
        let Some(before) = registers(form, values) else { return };
        let operand = values.operand().to_le_bytes();
        machine.memory_mut()[0x8000..0x8008].copy_from_slice(&operand);
        processor.memory()[0x8000..0x8008].copy_from_slice(&operand);
        machine.state = State::from(&before);
        let run = cache.run(&mut machine, 100);
        let ours = machine.state.registers();
        let context = || {
            let name = format!("{} ({code:02x?})", form.instruction);
            format!("{name} with {before:x?}, {operand:02x?} in memory")
        };
        if divide_faults(&form.instruction, &before, u64::from_le_bytes(operand)) {
            assert_eq!(run.stop, Some(Stop::exception(Vector::DivideError)), "{}", context());
            assert_eq!(ours, before, "a divide error changes nothing: {}", context());
            continue;
        }
        assert_eq!(run.stop, Some(Stop::Halt), "{}", context());
        let theirs = processor.run(&before);
        let undefined = undefined::after_with(&form.instruction, &before);
        let skipped = match undefined.destination {
            Destination::Defined => None,
            Destination::Undefined if form.instruction.op0_kind() != OpKind::Register => None,
            Destination::Undefined => Some(form.instruction.op0_register().full_register().number()),
        };
        for gpr in Gpr::ALL.into_iter().filter(|&gpr| Some(gpr as usize) != skipped) {
            let number = gpr as usize;
            assert_eq!(ours.gpr[number], theirs.gpr[number], "{gpr:?} after {}", context());
        }
        if !suffix.is_empty() && skipped.is_some() {
            continue;
        }
        let unclear = if suffix.is_empty() { undefined.flags } else { Rflags::empty() };
        let differing = Rflags::from_bits_truncate(ours.rflags ^ theirs.rflags) - unclear;
        assert!(differing.is_empty(), "{differing:?} after {}", context());
        assert!(machine.memory()[WINDOW] == processor.memory()[WINDOW], "memory after {}", context());
    }
}

/// Registers with which the operand in memory is at [`OPERAND`], or within a KiB of it for a bit string. None if
/// a bit offset is in a register of the address.
fn registers(form: &Encoded, values: &mut Values) -> Option<Registers> {
    let mut registers = Registers { rip: FlatMachine::BASE, gs_base: GS_BASE, ..Registers::default() };
    registers.gpr.fill_with(|| values.operand());
    if values.below(2) == 0 {
        registers.gpr[Gpr::Rcx as usize] = values.count() | values.next() << 8;
    }
    registers.rflags = 0x202 | values.next() & Rflags::STATUS.bits();
    bias_dividend(form, &mut registers, values);
    if is_bit_string(&form.instruction) {
        let offset = form.instruction.op1_register();
        let number = offset.full_register().number();
        let near = values.below(0x4000).wrapping_sub(0x2000);
        let kept = if offset.size() == 8 { 0 } else { values.next() << (8 * offset.size()) };
        let mask = u64::MAX >> (64 - 8 * offset.size());
        registers.gpr[number] = kept | near & mask;
        if [Gpr::Rbx as usize, Gpr::Rsi as usize].contains(&number) {
            return None;
        }
    }
    let index = registers.gpr[Gpr::Rsi as usize];
    let scale = u64::from(form.instruction.memory_index_scale());
    let place = OPERAND.wrapping_sub(DISPLACEMENT.cast_unsigned());
    match form.address {
        None => {}
        Some(Address::Flat) => registers.gpr[3] = place.wrapping_sub(index.wrapping_mul(scale)),
        Some(Address::Gs) => {
            registers.gpr[3] = place.wrapping_sub(index.wrapping_mul(scale)).wrapping_sub(GS_BASE)
        }
        Some(Address::Narrow) => registers.gpr[3] = place | values.next() << 32,
    }
    Some(registers)
}

fn is_bit_string(instruction: &Instruction) -> bool {
    matches!(instruction.mnemonic(), Mnemonic::Bt | Mnemonic::Bts | Mnemonic::Btr | Mnemonic::Btc)
        && instruction.op0_kind() == OpKind::Memory
        && instruction.op1_kind() == OpKind::Register
}

/// Most quotients of random numbers do not fit: makes the upper half of the dividend small.
fn bias_dividend(form: &Encoded, registers: &mut Registers, values: &mut Values) {
    if !matches!(form.instruction.mnemonic(), Mnemonic::Div | Mnemonic::Idiv) {
        return;
    }
    let upper = match values.below(4) {
        0 => 0,
        1 => u64::MAX,
        2 => values.next() >> values.below(64),
        _ => return,
    };
    registers.gpr[Gpr::Rdx as usize] = upper;
    registers.gpr[Gpr::Rax as usize] &= 0xffff_ffff_ffff_00ff;
    registers.gpr[Gpr::Rax as usize] |= (upper & 0xff) << 8;
}

/// Whether a division raises #DE, computed with numbers that are wide enough for everything.
fn divide_faults(instruction: &Instruction, before: &Registers, memory: u64) -> bool {
    if !matches!(instruction.mnemonic(), Mnemonic::Div | Mnemonic::Idiv) {
        return false;
    }
    let (bytes, divisor) = match instruction.op0_kind() {
        OpKind::Register => (instruction.op0_register().size(), read(instruction.op0_register(), before)),
        _ => (instruction.memory_size().size(), memory),
    };
    let bits = 8 * bytes as u32;
    let mask = u128::MAX >> (128 - bits);
    let divisor = u128::from(divisor) & mask;
    let (rax, rdx) = (u128::from(before.gpr[0]), u128::from(before.gpr[2]));
    let dividend = if bits == 8 { rax & 0xffff } else { (rdx & mask) << bits | rax & mask };
    if divisor == 0 {
        return true;
    }
    if instruction.mnemonic() == Mnemonic::Div {
        return dividend / divisor > mask;
    }
    let signed = |value: u128, bits: u32| (value << (128 - bits)).cast_signed() >> (128 - bits);
    let (dividend, divisor) = (signed(dividend, 2 * bits), signed(divisor, bits));
    let limit = 1i128 << (bits - 1);
    dividend.checked_div(divisor).is_none_or(|quotient| quotient < -limit || quotient >= limit)
}

fn read(register: Register, registers: &Registers) -> u64 {
    let value = registers.gpr[register.full_register().number()];
    if matches!(register, Register::AH | Register::CH | Register::DH | Register::BH) {
        value >> 8
    } else {
        value
    }
}
