//! SSE floating point: each form is modelled and agrees with the host's processor in results, flags and exceptions,
//! whether its exception flags gather in the host's MXCSR or not.
#![allow(clippy::unwrap_used, reason = "tests")]
#![cfg_attr(not(target_arch = "x86_64"), allow(dead_code, unused_imports, reason = "there is no silicon"))]

mod float_support;
#[cfg(target_arch = "x86_64")]
#[allow(dead_code, reason = "shared with other tests")]
mod silicon_simd;
#[allow(dead_code, reason = "shared with other tests")]
mod simd_forms;

use float_support::{Random, is_approximation};
use isa::cpu::Stop;
use isa::decode;
use isa::engine::CodeCache;
use isa::event::Vector;
use isa::flat::FlatMachine;
use isa::registers::Registers;
use isa::state::State;
use simd_forms::{Addressing, Choice, RegisterOrMemory, SimdForm};

const RSP: usize = 4;
const RDI: usize = 7;
/// Where the memory operands of the flat machine are.
const DATA: usize = 0x3000;
/// Bytes between the instructions of a form in the flat machine and on silicon.
const SLOT: usize = 32;
/// Instructions that share a page of code.
const CHOICES: usize = 64;

/// Cases for each form: more with `VMXSIM_CASES`.
fn cases() -> usize {
    std::env::var("VMXSIM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2048)
}

fn choice(random: &mut Random) -> Choice {
    Choice {
        xmm: random.pick(&[[1, 2], [0, 3], [4, 0], [9, 14], [15, 6], [5, 5]]),
        gpr: random.pick(&[0, 1, 3, 6, 9, 13]),
        immediate: u8::try_from(random.below(256)).unwrap(),
        addressing: Addressing::Flat,
    }
}

/// What an instruction starts from and what it leaves.
#[derive(Clone, PartialEq, Eq, Debug)]
struct Image {
    gpr: [u64; 16],
    xmm: [u128; 16],
    rflags: u64,
    mxcsr: u32,
    stop: Option<Stop>,
}

impl Image {
    fn new(random: &mut Random) -> Self {
        Self {
            gpr: std::array::from_fn(|_| random.next() >> random.below(64)),
            xmm: std::array::from_fn(|_| random.vector()),
            rflags: random.next() & 0x8d5 | 0x202,
            mxcsr: random.mxcsr(),
            stop: None,
        }
    }
}

/// The memory operand.
#[repr(C, align(16))]
#[derive(Clone, Copy)]
struct Operand([u8; 16]);

const XM: Stop = Stop::exception(Vector::SimdFloatingPoint);

/// The machine that runs a form from its code cache, with one instruction and HLT in each slot.
struct Model {
    machine: FlatMachine,
    cache: CodeCache<FlatMachine>,
}

impl Model {
    fn new(instructions: &[Vec<u8>]) -> Self {
        let mut machine = FlatMachine::with_code(&[]);
        for (slot, bytes) in machine.memory_mut().chunks_mut(SLOT).zip(instructions) {
            slot[..bytes.len()].copy_from_slice(bytes);
            slot[bytes.len()] = 0xf4;
        }
        Self { machine, cache: CodeCache::new() }
    }

    fn run(&mut self, slot: usize, input: &Image, operand: Operand) -> Image {
        let mut registers = Registers {
            gpr: input.gpr,
            xmm: input.xmm,
            rflags: input.rflags,
            mxcsr: input.mxcsr,
            rip: FlatMachine::BASE + (SLOT * slot) as u64,
            ..Registers::default()
        };
        registers.gpr[RDI] = FlatMachine::BASE + DATA as u64;
        self.machine.state = State::from(&registers);
        self.machine.memory_mut()[DATA..DATA + 16].copy_from_slice(&operand.0);
        let run = self.cache.run(&mut self.machine, 2);
        let stop = run.stop.filter(|&stop| stop != Stop::Halt);
        let after = self.machine.state.registers();
        let mut gpr = after.gpr;
        (gpr[RSP], gpr[RDI]) = (0, 0);
        Image { gpr, xmm: after.xmm, rflags: after.rflags, mxcsr: after.mxcsr, stop }
    }
}

#[cfg(target_arch = "x86_64")]
#[allow(unsafe_code, reason = "machine code is called")]
fn on_silicon(
    processor: &float_support::silicon::Processor,
    code: &silicon_simd::Code,
    (slot, length): (usize, usize),
    input: &Image,
    mut operand: Operand,
) -> Image {
    use float_support::silicon::End;
    let mut context =
        silicon_simd::Context { gpr: input.gpr, rflags: input.rflags, unused: 0, xmm: input.xmm };
    context.gpr[RDI] = operand.0.as_mut_ptr().expose_provenance() as u64;
    // SAFETY: the instruction is one of the forms, which read the 16 bytes at RDI at most.
    let (end, mxcsr) = unsafe { processor.run(code, slot, length, input.mxcsr, &mut context) };
    (context.gpr[RSP], context.gpr[RDI]) = (0, 0);
    let stop = (end == End::SimdFloatingPoint).then_some(XM);
    Image { gpr: context.gpr, xmm: context.xmm, rflags: context.rflags, mxcsr, stop }
}

#[test]
fn every_form_on_xmm_registers_is_modelled() {
    let forms = float_support::all();
    let unmodelled: Vec<_> =
        forms.iter().filter(|form| !decode::is_modelled(&form.instruction(Choice::SIMPLE))).collect();
    assert!(unmodelled.is_empty(), "{unmodelled:#?}");
    assert!(forms.len() >= 148, "only {} forms", forms.len());
}

/// With default control the run collects flags lazily, otherwise exactly.
#[cfg(target_arch = "x86_64")]
#[test]
fn every_form_agrees_with_the_processor_under_its_mxcsr() {
    let processor = float_support::silicon::Processor::new();
    for form in float_support::all() {
        if !(cfg!(feature = "portable-float") && is_approximation(form)) {
            agree(&processor, form);
        }
    }
}

#[cfg(target_arch = "x86_64")]
fn agree(processor: &float_support::silicon::Processor, form: SimdForm) {
    let mut random = Random(form.code as u64 * 2 + u64::from(form.kind == RegisterOrMemory::Memory));
    let instructions: Vec<_> = (0..CHOICES).map(|_| form.encode(choice(&mut random))).collect();
    let code = silicon_simd::Code::new(&instructions);
    let mut model = Model::new(&instructions);
    for (slot, bytes) in instructions.iter().enumerate() {
        for _ in 0..cases().div_ceil(CHOICES) {
            let input = Image::new(&mut random);
            let operand = Operand(random.vector().to_le_bytes());
            let expected = on_silicon(processor, &code, (slot, bytes.len()), &input, operand);
            let found = model.run(slot, &input, operand);
            assert_eq!(
                found,
                expected,
                "{form:?} {bytes:x?} {input:#x?} {:#x}",
                u128::from_le_bytes(operand.0)
            );
        }
    }
}
