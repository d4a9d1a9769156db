//! SSE instructions other than floating-point arithmetic: each form is modelled, agrees with the host's processor,
//! and leaves everything as it was when it faults.
#![allow(clippy::unwrap_used, reason = "tests")]

#[cfg(target_arch = "x86_64")]
mod silicon_simd;
#[cfg_attr(not(target_arch = "x86_64"), allow(dead_code, reason = "the comparison needs more"))]
mod simd_forms;

use iced_x86::Instruction;
use isa::address::LinearAddress;
use isa::cpu::Stop;
use isa::decode::{self, FlagsNeeded};
use isa::event::Exception;
use isa::flat::FlatMachine;
use isa::registers::Registers;
use isa::state::State;
use simd_forms::{Choice, RegisterOrMemory, SimdForm};

const RDI: usize = 7;
/// The first address without memory.
const END: u64 = FlatMachine::BASE + FlatMachine::SIZE;

/// A small generator (SplitMix64), so that a failure can be repeated.
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ z >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ z >> 31
    }

    fn below(&mut self, bound: usize) -> usize {
        usize::try_from(self.next() % u64::try_from(bound).unwrap()).unwrap()
    }

    fn pick<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// A lane of `bits` bits at a corner of its range.
    fn corner(&mut self, bits: u32) -> u128 {
        let sign = 1_u128 << (bits - 1);
        let near = u128::from(self.next() % 3);
        let any = u128::from(self.next());
        let base = self.pick(&[0, sign, sign << 1, sign >> 1, any]);
        base.wrapping_add(near).wrapping_sub(1) & ((sign << 1) - 1)
    }

    fn vector(&mut self) -> u128 {
        let lanes = |random: &mut Self, bits: u32, lane: fn(&mut Self, u32) -> u128| {
            (0..128 / bits).fold(0, |vector, i| vector | lane(random, bits) << (i * bits))
        };
        match self.below(8) {
            0 => lanes(self, 8, Self::corner),
            1 => lanes(self, 16, Self::corner),
            2 => lanes(self, 32, Self::corner),
            3 => lanes(self, 64, Self::corner),
            4 => u128::from(self.next()) << 64 | u128::from(self.next() % 80),
            5 => u128::from(self.next() % 140),
            // Text with few letters, and zeros that end it.
            6 => lanes(self, 8, |random, _| random.pick(&[0, 0x61, 0x61, 0x61, 0x62, 0x62, 0x63, 0xe1])),
            _ => u128::from(self.next()) << 64 | u128::from(self.next()),
        }
    }
}

/// Executes one instruction in place and returns why it did not complete.
fn execute(machine: &mut FlatMachine, instruction: &Instruction) -> Option<Stop> {
    let record = decode::record::<FlatMachine>(instruction, 0, FlagsNeeded::Yes);
    (record.handler)(machine, &record).err().map(|stop| *stop)
}

#[test]
fn every_form_on_xmm_registers_is_modelled() {
    let forms = simd_forms::all();
    let unmodelled: Vec<_> =
        forms.iter().filter(|form| !decode::is_modelled(&form.instruction(Choice::SIMPLE))).collect();
    assert!(unmodelled.is_empty(), "{unmodelled:#?}");
    assert!(forms.len() > 350, "only {} forms", forms.len());
}

/// The comparison with the processor of the host.
#[cfg(target_arch = "x86_64")]
mod silicon {
    use super::silicon_simd::{Code, Context};
    use super::simd_forms::{self, Addressing, Choice, RegisterOrMemory, SimdForm};
    use super::{Random, execute};
    use iced_x86::{CpuidFeature, Instruction};
    use isa::flat::FlatMachine;
    use isa::registers::Registers;
    use isa::state::State;

    const RSP: usize = 4;
    const RDI: usize = 7;
    /// Where the memory operands of the flat machine are.
    const DATA: usize = 0x2000;

    /// Cases for each form: more with `VMXSIM_CASES`.
    fn cases() -> usize {
        std::env::var("VMXSIM_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(2048)
    }

    impl Random {
        fn general(&mut self) -> u64 {
            match self.below(3) {
                0 => u64::from_ne_bytes((self.next() as i64 % 20).to_ne_bytes()),
                1 => self.pick(&[0, 0x8000_0000, 1 << 63, u64::MAX, 0xffff_fff0, 0x1_0000_0003]),
                _ => self.next(),
            }
        }

        fn choice(&mut self, immediate: u8) -> Choice {
            Choice {
                xmm: self.pick(&[[1, 2], [0, 3], [4, 0], [9, 14], [15, 6], [5, 5], [0, 0], [12, 12]]),
                gpr: self.pick(&[0, 1, 3, 6, 9, 13]),
                immediate,
                addressing: Addressing::Flat,
            }
        }
    }

    /// What an instruction starts from; RDI is set to the address of the operand.
    #[derive(Clone, Debug)]
    struct Input {
        gpr: [u64; 16],
        xmm: [u128; 16],
        rflags: u64,
        memory: Memory,
        /// Where in the memory the operand is.
        offset: usize,
    }

    #[repr(C, align(64))]
    #[derive(Clone, Copy, PartialEq, Eq, Debug)]
    struct Memory([u8; 64]);

    impl Input {
        fn new(random: &mut Random, form: SimdForm) -> Self {
            let mut memory = [0; 64];
            for chunk in memory.chunks_exact_mut(16) {
                chunk.copy_from_slice(&random.vector().to_le_bytes());
            }
            let offset = if form.may_be_misaligned() { random.below(48) } else { 16 * random.below(4) };
            Self {
                gpr: std::array::from_fn(|_| random.general()),
                xmm: std::array::from_fn(|_| random.vector()),
                // Any of the status flags.
                rflags: random.next() & 0x8d5 | 0x202,
                memory: Memory(memory),
                offset,
            }
        }
    }

    /// What it leaves; RSP and RDI are not compared.
    #[derive(Clone, PartialEq, Eq, Debug)]
    struct Outcome {
        gpr: [u64; 16],
        xmm: [u128; 16],
        rflags: u64,
        memory: Memory,
    }

    impl Outcome {
        fn new(mut gpr: [u64; 16], xmm: [u128; 16], rflags: u64, memory: Memory) -> Self {
            (gpr[RSP], gpr[RDI]) = (0, 0);
            Self { gpr, xmm, rflags, memory }
        }
    }

    #[allow(unsafe_code, reason = "machine code is called")]
    fn on_silicon(code: &Code, instruction: usize, input: &Input) -> Outcome {
        let mut memory = input.memory;
        let mut context = Context { gpr: input.gpr, rflags: input.rflags, unused: 0, xmm: input.xmm };
        context.gpr[RDI] = memory.0[input.offset..].as_mut_ptr().expose_provenance() as u64;
        // SAFETY: the instruction is one of the forms, which access the 16 bytes at RDI at most.
        unsafe { code.run(instruction, &mut context) };
        Outcome::new(context.gpr, context.xmm, context.rflags, std::hint::black_box(memory))
    }

    fn in_model(
        machine: &mut FlatMachine,
        instruction: &Instruction,
        addressing: Addressing,
        input: &Input,
    ) -> Outcome {
        let at = FlatMachine::BASE + (DATA + input.offset) as u64;
        let (rdi, fs_base) = match addressing {
            Addressing::Flat => (at, 0x77),
            Addressing::Fs => (0, at),
            Addressing::Edi => (at | 0xdead_beef << 32, 0x77),
        };
        let mut registers = Registers {
            gpr: input.gpr,
            xmm: input.xmm,
            rflags: input.rflags,
            fs_base,
            ..Registers::default()
        };
        registers.gpr[RDI] = rdi;
        machine.state = State::from(&registers);
        machine.memory_mut()[DATA..DATA + 64].copy_from_slice(&input.memory.0);
        assert_eq!(execute(machine, instruction), None, "{instruction} in {addressing:?}");
        let left = machine.state.registers();
        assert_eq!((left.gpr[RSP], left.gpr[RDI]), (input.gpr[RSP], rdi));
        let memory = Memory(machine.memory()[DATA..DATA + 64].try_into().unwrap());
        Outcome::new(left.gpr, left.xmm, left.rflags, memory)
    }

    fn host_has(form: SimdForm) -> bool {
        form.code.cpuid_features().iter().all(|feature| match feature {
            CpuidFeature::AES => is_x86_feature_detected!("aes"),
            CpuidFeature::PCLMULQDQ => is_x86_feature_detected!("pclmulqdq"),
            CpuidFeature::SSE3 => is_x86_feature_detected!("sse3"),
            CpuidFeature::SSSE3 => is_x86_feature_detected!("ssse3"),
            CpuidFeature::SSE4_1 => is_x86_feature_detected!("sse4.1"),
            CpuidFeature::SSE4_2 => is_x86_feature_detected!("sse4.2"),
            _ => true,
        })
    }

    #[test]
    fn every_form_agrees_with_the_processor() {
        for form in simd_forms::all() {
            if host_has(form) {
                agree(form);
            } else {
                println!("skipped, the host lacks it: {form:?}");
            }
        }
    }

    /// Tries a form with every immediate.
    fn agree(form: SimdForm) {
        let mut random = Random(form.code as u64);
        let mut machine = FlatMachine::with_code(&[]);
        let choices: Vec<_> = (0..=255).map(|immediate| random.choice(immediate)).collect();
        let code = Code::new(&choices.iter().map(|&choice| form.encode(choice)).collect::<Vec<_>>());
        let all = [Addressing::Flat, Addressing::Fs, Addressing::Edi];
        let addressings = if form.kind == RegisterOrMemory::Memory { &all[..] } else { &all[..1] };
        for (slot, &choice) in choices.iter().enumerate() {
            let forms: Vec<_> = addressings
                .iter()
                .map(|&addressing| (addressing, form.instruction(Choice { addressing, ..choice })))
                .collect();
            for _ in 0..cases().div_ceil(choices.len()) {
                let input = Input::new(&mut random, form);
                let expected = on_silicon(&code, slot, &input);
                for (addressing, instruction) in &forms {
                    let found = in_model(&mut machine, instruction, *addressing, &input);
                    assert_eq!(found, expected, "{instruction} {addressing:?} {input:#x?}");
                }
            }
        }
    }
}

fn memory_forms() -> impl Iterator<Item = SimdForm> {
    simd_forms::all().into_iter().filter(|form| form.kind == RegisterOrMemory::Memory)
}

/// A machine with all registers and memory in use and RDI at `address`; XMM2, the mask of MASKMOVDQU, selects all.
fn machine_at(address: u64) -> FlatMachine {
    let mut random = Random(address);
    let mut machine = FlatMachine::with_code(&[]);
    let mut registers = Registers {
        gpr: std::array::from_fn(|_| random.next()),
        xmm: std::array::from_fn(|_| random.vector()),
        rflags: 0x8d7,
        ..Registers::default()
    };
    registers.gpr[RDI] = address;
    registers.xmm[2] = u128::MAX;
    machine.state = State::from(&registers);
    machine.memory_mut().iter_mut().for_each(|byte| *byte = random.next().to_le_bytes()[0]);
    machine
}

/// The form with its memory operand at `address` stops for `exception`, and nothing changes.
fn faults(form: SimdForm, address: u64, exception: Exception) {
    let mut machine = machine_at(address);
    let before = machine.clone();
    let stop = execute(&mut machine, &form.instruction(Choice::SIMPLE));
    assert_eq!(stop, Some(Stop::Exception(exception)), "{form:?} at {address:#x}");
    assert_eq!(machine.state.registers(), before.state.registers(), "{form:?} at {address:#x}");
    assert!(machine.memory() == before.memory(), "{form:?} at {address:#x}");
}

#[test]
fn a_misaligned_operand_of_16_bytes_faults_and_changes_nothing() {
    let Stop::Exception(general_protection) = Stop::GENERAL_PROTECTION else { unreachable!() };
    for form in memory_forms().filter(|form| !form.may_be_misaligned()) {
        for address in [FlatMachine::BASE + 1, FlatMachine::BASE + 0xff8, END - 8, END + 4] {
            faults(form, address, general_protection);
        }
    }
}

#[test]
fn an_operand_beyond_memory_faults_and_changes_nothing() {
    for form in memory_forms() {
        let code = if form.writes_memory() { 6 } else { 4 };
        let exception = Exception::page_fault(LinearAddress(END), code);
        faults(form, END, exception);
        if form.may_be_misaligned() && form.memory_bytes() > 1 {
            faults(form, END - form.memory_bytes() as u64 + 1, exception);
            faults(form, END - 1, exception);
        }
    }
}

#[test]
fn an_operand_that_ends_with_memory_is_accessed() {
    for form in memory_forms() {
        let mut machine = machine_at(END - form.memory_bytes() as u64);
        assert_eq!(execute(&mut machine, &form.instruction(Choice::SIMPLE)), None, "{form:?}");
    }
}

#[test]
fn a_mask_that_selects_nothing_touches_no_memory() {
    let form = memory_forms().find(|form| form.code == iced_x86::Code::Maskmovdqu_rDI_xmm_xmm).unwrap();
    let mut machine = machine_at(END);
    machine.state.xmm[2] = u128::from_le_bytes([0x7f; 16]);
    assert_eq!(execute(&mut machine, &form.instruction(Choice::SIMPLE)), None);
}
