//! MXCSR as programs see it: exception flags that gather in the host's register, LDMXCSR and STMXCSR, FXSAVE and
//! FXRSTOR.
#![allow(clippy::unwrap_used, reason = "tests")]

#[allow(dead_code, reason = "shared with other tests")]
mod float_support;
#[cfg(target_arch = "x86_64")]
#[allow(dead_code, reason = "shared with other tests")]
mod silicon_simd;
#[allow(dead_code, reason = "shared with other tests")]
mod simd_forms;

use core::hint::black_box;
use float_support::Random;
use isa::address::{HostPhysicalAddress, LinearAddress};
use isa::cpu::{Cpu, Stop, Stopped};
use isa::decode::{self, FlagsNeeded};
use isa::engine::CodeCache;
use isa::event::Exception;
use isa::flat::FlatMachine;
use isa::record::Record;
use isa::registers::{Registers, X87};
use isa::state::State;
use isa::width::Scalar;
use simd_forms::{Choice, RegisterOrMemory, SimdForm};

const RDI: usize = 7;
/// Where the memory operands are.
const DATA: usize = 0x3000;
const AT_DATA: u64 = FlatMachine::BASE + DATA as u64;
const END: u64 = FlatMachine::BASE + FlatMachine::SIZE;

/// `ldmxcsr [rdi]`
const LDMXCSR: [u8; 3] = [0x0f, 0xae, 0x17];
/// `stmxcsr [rdi+4]`
const STMXCSR: [u8; 4] = [0x0f, 0xae, 0x5f, 0x04];
const FXSAVE: [u8; 3] = [0x0f, 0xae, 0x07];
const FXSAVE64: [u8; 4] = [0x48, 0x0f, 0xae, 0x07];
const FXRSTOR: [u8; 3] = [0x0f, 0xae, 0x0f];
const FXRSTOR64: [u8; 4] = [0x48, 0x0f, 0xae, 0x0f];
/// `divss xmm0,xmm1`
const DIVSS: [u8; 4] = [0xf3, 0x0f, 0x5e, 0xc1];
const HLT: u8 = 0xf4;

fn cases() -> u64 {
    std::env::var("VMXSIM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(1000)
}

/// A machine in which all registers are in use, with RDI at the data and `code` before HLT.
fn machine(code: &[u8], mxcsr: u32, random: &mut Random) -> FlatMachine {
    let mut machine = FlatMachine::with_code(&[code, &[HLT]].concat());
    let mut registers = Registers {
        gpr: std::array::from_fn(|_| random.next()),
        xmm: std::array::from_fn(|_| random.vector()),
        rip: FlatMachine::BASE,
        mxcsr,
        ..Registers::default()
    };
    registers.gpr[RDI] = AT_DATA;
    machine.state = State::from(&registers);
    for byte in &mut machine.memory_mut()[DATA..] {
        *byte = random.next().to_le_bytes()[0];
    }
    machine
}

/// Executes the code of a machine one handler after another, without a run of the engine, so that each operation
/// leaves its flags in the guest's MXCSR.
fn one_by_one(machine: &mut FlatMachine, code: &[u8]) -> Option<Stop> {
    let mut decoder = iced_x86::Decoder::with_ip(64, code, 0, 0);
    for instruction in &mut decoder {
        let record = decode::record::<FlatMachine>(&instruction, instruction.ip16(), FlagsNeeded::Yes);
        if let Err(stop) = (record.handler)(machine, &record) {
            return Some(*stop);
        }
    }
    None
}

/// Register forms, memory forms and instructions that look at MXCSR, in any order.
fn sequence(forms: &[SimdForm], random: &mut Random) -> Vec<u8> {
    let mut code = Vec::new();
    for _ in 0..=random.below(24) {
        match random.below(8) {
            0 => code.extend(STMXCSR),
            1 => code.extend(LDMXCSR),
            2 if random.below(4) == 0 => code.extend([FXSAVE, FXRSTOR][random.below(2)]),
            _ => {
                let choice = Choice {
                    xmm: [random.below(16), random.below(16)],
                    gpr: random.pick(&[0, 1, 3, 6, 9]),
                    immediate: u8::try_from(random.below(256)).unwrap(),
                    ..Choice::SIMPLE
                };
                code.extend(random.pick(forms).encode(choice));
            }
        }
    }
    code
}

#[test]
fn flags_that_gather_lazily_are_those_of_each_operation() {
    let mut random = Random(1);
    let forms = float_support::all();
    for _ in 0..cases() {
        let code = sequence(&forms, &mut random);
        let mxcsr = random.mxcsr();
        let mut lazy = machine(&code, mxcsr, &mut random);
        let loaded = random.mxcsr();
        lazy.memory_mut()[DATA..DATA + 4].copy_from_slice(&loaded.to_le_bytes());
        // FXRSTOR usually finds a value without reserved bits.
        lazy.memory_mut()[DATA + 24..DATA + 28].copy_from_slice(&random.mxcsr().to_le_bytes());
        let mut exact = lazy.clone();
        let run = CodeCache::new().run(&mut lazy, 1000);
        let stop = one_by_one(&mut exact, &code);
        assert_eq!(run.stop.filter(|&stop| stop != Stop::Halt), stop, "{code:x?}");
        let (mut lazy_registers, exact_registers) = (lazy.state.registers(), exact.state.registers());
        lazy_registers.rip = exact_registers.rip;
        assert_eq!(lazy_registers, exact_registers, "{code:x?} {mxcsr:#x} {loaded:#x}");
        assert!(lazy.memory() == exact.memory(), "{code:x?}");
    }
}

#[test]
fn flags_of_the_simulator_itself_do_not_reach_the_guest() {
    let _ = black_box(black_box(1.0_f64) / black_box(3.0));
    let mut machine = machine(&[0x90], 0x1f80, &mut Random(2));
    CodeCache::new().run(&mut machine, 10);
    assert_eq!(machine.state.mxcsr, 0x1f80);
}

#[test]
fn a_run_with_a_budget_leaves_exact_flags() {
    let mut machine = machine(&[DIVSS, DIVSS].concat(), 0x1f80, &mut Random(3));
    (machine.state.xmm[0], machine.state.xmm[1]) = (0x3f80_0000, 0x4040_0000);
    let run = CodeCache::new().run(&mut machine, 1);
    assert_eq!((run.executed, run.stop), (1, None));
    assert_eq!(machine.state.mxcsr, 0x1fa0);
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "the host's MXCSR is read")]
fn host_mxcsr() -> u32 {
    let mut mxcsr = 0_u32;
    // SAFETY: stores to a local variable.
    unsafe { core::arch::asm!("stmxcsr [{}]", in(reg) &raw mut mxcsr) };
    mxcsr
}

#[cfg(target_arch = "x86_64")]
#[test]
fn the_host_has_its_mxcsr_back_after_a_run() {
    for guest in [0x1f80, 0xffff, 0] {
        let _ = black_box(black_box(1.0_f64) / black_box(3.0));
        let before = host_mxcsr();
        assert_eq!(before, 0x1fa0);
        let mut machine = machine(&[DIVSS, DIVSS].concat(), guest, &mut Random(4));
        machine.state.xmm[1] = 0;
        CodeCache::new().run(&mut machine, 10);
        assert_eq!(host_mxcsr(), before, "guest {guest:#x}");
    }
}

/// An observed machine whose observer computes with floating point.
struct Observed(FlatMachine);

impl Cpu for Observed {
    const OBSERVED: bool = true;

    fn state(&self) -> &State {
        &self.0.state
    }
    fn state_mut(&mut self) -> &mut State {
        &mut self.0.state
    }
    fn read<S: Scalar>(&mut self, at: LinearAddress) -> Result<S, Stopped> {
        let _ = black_box(black_box(1.0_f64) / black_box(3.0));
        self.0.read(at)
    }
    fn write<S: Scalar>(&mut self, at: LinearAddress, value: S) -> Result<(), Stopped> {
        self.0.write(at, value)
    }
    fn modify<S: Scalar>(
        &mut self,
        at: LinearAddress,
        compute: impl FnOnce(&mut State, S) -> S,
    ) -> Result<(), Stopped> {
        self.0.modify(at, compute)
    }
    fn translate_fetch(&mut self, at: LinearAddress) -> Result<HostPhysicalAddress, Stopped> {
        self.0.translate_fetch(at)
    }
    fn code_bytes(&mut self, at: HostPhysicalAddress, into: &mut [u8]) {
        self.0.code_bytes(at, into);
    }
    fn fetch_epoch(&self) -> u64 {
        self.0.fetch_epoch()
    }
    fn code_cached(&mut self, page: HostPhysicalAddress) {
        self.0.code_cached(page);
    }
    fn code_dropped(&mut self, page: HostPhysicalAddress) {
        self.0.code_dropped(page);
    }
    fn cpuid(&mut self, leaf: u32, subleaf: u32) -> Result<[u32; 4], Stopped> {
        self.0.cpuid(leaf, subleaf)
    }
    fn time_stamp_counter(&mut self) -> Result<u64, Stopped> {
        self.0.time_stamp_counter()
    }
    fn time_stamp_auxiliary(&mut self) -> Result<u32, Stopped> {
        self.0.time_stamp_auxiliary()
    }
    fn random(&mut self) -> Result<u64, Stopped> {
        self.0.random()
    }
    fn before(&mut self, _: &Record<Self>, _: u64) -> Result<(), Stopped> {
        let _ = black_box(black_box(f64::MAX) * black_box(3.0));
        Ok(())
    }
    fn after(&mut self, _: &Record<Self>) -> Result<(), Stopped> {
        let _ = black_box(black_box(f64::MIN_POSITIVE) / black_box(3.0));
        Ok(())
    }
}

#[test]
fn an_observer_that_computes_sees_and_leaves_exact_flags() {
    let mut random = Random(5);
    let forms = float_support::all();
    for _ in 0..cases() {
        let code = sequence(&forms, &mut random);
        let mxcsr = random.mxcsr();
        let mut exact = machine(&code, mxcsr, &mut random);
        let mut observed = Observed(exact.clone());
        let run = CodeCache::new().run(&mut observed, 1000);
        let stop = one_by_one(&mut exact, &code);
        assert_eq!(run.stop.filter(|&stop| stop != Stop::Halt), stop, "{code:x?}");
        let mut registers = observed.0.state.registers();
        registers.rip = exact.state.registers().rip;
        assert_eq!(registers, exact.state.registers(), "{code:x?} {mxcsr:#x}");
    }
}

/// Executes one instruction of a machine, which faults and changes nothing.
fn faults(mut machine: FlatMachine, code: &[u8], stop: Stop) {
    let before = machine.clone();
    assert_eq!(one_by_one(&mut machine, code), Some(stop), "{code:x?}");
    assert_eq!(machine.state.registers(), before.state.registers(), "{code:x?}");
    assert!(machine.memory() == before.memory(), "{code:x?}");
}

#[test]
fn a_reserved_bit_of_mxcsr_is_refused_and_changes_nothing() {
    for bit in 16..32 {
        let mut image = machine(&[], 0x1f80, &mut Random(6));
        image.memory_mut()[DATA..DATA + 4].copy_from_slice(&(0x1f80_u32 | 1 << bit).to_le_bytes());
        image.memory_mut()[DATA + 24..DATA + 28].copy_from_slice(&(0x1f80_u32 | 1 << bit).to_le_bytes());
        for code in [&LDMXCSR[..], &FXRSTOR, &FXRSTOR64] {
            faults(image.clone(), code, Stop::GENERAL_PROTECTION);
        }
    }
}

#[test]
fn a_misaligned_or_missing_area_is_refused_and_changes_nothing() {
    for code in [&FXSAVE[..], &FXSAVE64, &FXRSTOR, &FXRSTOR64] {
        let writes = code == FXSAVE || code == FXSAVE64;
        let mut image = machine(&[], 0x1f80, &mut Random(7));
        for (address, at_fault) in [(END - 256, END), (END, END)] {
            image.state.set_slot(isa::state::Slot::Rdi, address);
            let fault = Exception::page_fault(LinearAddress(at_fault), if writes { 6 } else { 4 });
            let mut copy = image.clone();
            let before = copy.clone();
            let Some(Stop::Exception(found)) = one_by_one(&mut copy, code) else { panic!("{code:x?}") };
            assert_eq!((found.vector, found.error_code), (fault.vector, fault.error_code));
            assert!(copy.memory() == before.memory(), "{code:x?}");
            assert_eq!(copy.state.registers(), before.state.registers());
        }
        for offset in 1..16 {
            image.state.set_slot(isa::state::Slot::Rdi, AT_DATA + offset);
            faults(image.clone(), code, Stop::GENERAL_PROTECTION);
        }
    }
}

#[test]
fn misaligned_operands_of_16_bytes_fault_and_change_nothing() {
    for form in float_support::all() {
        if form.kind == RegisterOrMemory::Memory && form.memory_bytes() == 16 {
            let mut image = machine(&[], 0x1f80, &mut Random(8));
            image.state.set_slot(isa::state::Slot::Rdi, AT_DATA + 8);
            faults(image, &form.encode(Choice::SIMPLE), Stop::GENERAL_PROTECTION);
        }
    }
}

#[test]
fn an_unmasked_exception_changes_flags_and_nothing_else() {
    let mut machine = machine(&DIVSS, 0x1d80, &mut Random(9));
    (machine.state.xmm[0], machine.state.xmm[1]) = (0x3f80_0000, 0);
    let before = machine.state.registers();
    let run = CodeCache::new().run(&mut machine, 10);
    assert_eq!(run.stop, Some(Stop::exception(isa::event::Vector::SimdFloatingPoint)));
    assert_eq!(machine.state.registers(), Registers { mxcsr: 0x1d84, ..before });
}

/// State whose every bit that FXSAVE stores is in use.
fn x87(random: &mut Random) -> X87 {
    X87 {
        control: 0x27f,
        status: 0x3800,
        tag: 0xa5,
        opcode: 0x5a5,
        instruction_pointer: random.next(),
        data_pointer: random.next(),
        st: std::array::from_fn(|_| random.vector() >> 48),
    }
}

#[test]
fn what_fxsave_stores_fxrstor_restores() {
    for (save, restore, pointers) in
        [(&FXSAVE[..], &FXRSTOR[..], 0xffff_ffff), (&FXSAVE64, &FXRSTOR64, u64::MAX)]
    {
        let mut random = Random(10);
        let mut machine = machine(&[], 0xffbf, &mut random);
        machine.state.x87 = x87(&mut random);
        let before = machine.state.registers();
        let untouched = machine.memory()[DATA + 416..].to_vec();
        assert_eq!(one_by_one(&mut machine, save), None);
        assert!(machine.memory()[DATA + 416..] == untouched);
        machine.state.xmm = [0; 16];
        machine.state.mxcsr = 0x1f80;
        machine.state.x87 = X87::default();
        assert_eq!(one_by_one(&mut machine, restore), None);
        let mut expected = before;
        expected.x87.instruction_pointer &= pointers;
        expected.x87.data_pointer &= pointers;
        assert_eq!(machine.state.registers(), expected);
    }
}

/// The processor restores an area that the model saved, and saves the same area again, but for what it may leave out
/// while no x87 exception is pending (pointers, FOP) and MXCSR_MASK.
#[cfg(target_arch = "x86_64")]
#[test]
#[allow(unsafe_code, reason = "machine code is called")]
fn the_processor_understands_the_area() {
    #[repr(C, align(16))]
    struct Area([u8; 512]);
    let mut random = Random(11);
    for (save, code) in [
        // fxrstor [rdi] / fxsave [rdi+512]
        (&FXSAVE[..], [&FXRSTOR[..], &[0x0f, 0xae, 0x87, 0, 2, 0, 0]].concat()),
        (&FXSAVE64, [&FXRSTOR64[..], &[0x48, 0x0f, 0xae, 0x87, 0, 2, 0, 0]].concat()),
    ] {
        let code = silicon_simd::Code::new(&[code]);
        let mut model = machine(&[], host_mxcsr(), &mut random);
        model.state.x87 = X87 { tag: 0xff, ..x87(&mut random) };
        assert_eq!(one_by_one(&mut model, save), None);
        let mut areas = [Area([0; 512]), Area([0; 512])];
        areas[0].0[..416].copy_from_slice(&model.memory()[DATA..DATA + 416]);
        areas[0].0[..2].copy_from_slice(&0x37f_u16.to_le_bytes());
        let mut context = silicon_simd::Context { gpr: [0; 16], rflags: 2, unused: 0, xmm: [0; 16] };
        context.gpr[RDI] = areas.as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the code reads the first area and writes the second; x87 and MXCSR get values with all exceptions
        // masked, and EMMS follows.
        unsafe {
            code.run(0, &mut context);
            core::arch::asm!("emms");
        }
        let areas = black_box(areas);
        for range in [0..5, 24..28, 32..416] {
            assert_eq!(areas[0].0[range.clone()], areas[1].0[range.clone()], "{range:?}");
        }
        assert_eq!(context.xmm, model.state.xmm);
    }
}
