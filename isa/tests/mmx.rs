//! Instructions on MMX registers: each form is modelled and agrees with the host's processor, and the registers are those of
//! the x87 unit.
#![allow(clippy::unwrap_used, reason = "tests")]

#[cfg(target_arch = "x86_64")]
mod silicon_simd;

use iced_x86::{Code, CpuidFeature, Encoder, Instruction, OpCodeOperandKind, OpKind, Register};
use isa::cpu::Stop;
use isa::decode;
use isa::engine::{CodeCache, Run};
use isa::event::Vector;
use isa::flat::FlatMachine;
use isa::state::Slot;

/// A code of iced-x86, with its operand in a register or in memory.
#[derive(Clone, Copy, Debug)]
struct MmxForm {
    code: Code,
    in_memory: bool,
}

const FEATURES: [CpuidFeature; 4] =
    [CpuidFeature::MMX, CpuidFeature::SSE, CpuidFeature::SSE2, CpuidFeature::SSSE3];

/// All forms in 64-bit mode that use MMX registers, but for the conversions of floating-point numbers.
fn all() -> Vec<MmxForm> {
    use OpCodeOperandKind as K;
    let has = |code: Code, kinds: &[K]| code.op_code().op_kinds().iter().any(|kind| kinds.contains(kind));
    let in_scope = |code: &Code| {
        code.op_code().mode64()
            && code.cpuid_features().iter().all(|feature| FEATURES.contains(feature))
            && has(*code, &[K::mm_or_mem, K::mm_reg, K::mm_rm])
            && !format!("{code:?}").starts_with("Cvt")
    };
    let forms = |code| {
        let memory = has(code, &[K::mem, K::mm_or_mem, K::r32_or_mem, K::r64_or_mem, K::seg_rDI]);
        let register = !has(code, &[K::mem, K::seg_rDI]);
        let form = |in_memory| MmxForm { code, in_memory };
        [(register, form(false)), (memory, form(true))]
    };
    Code::values().filter(in_scope).flat_map(forms).filter(|(is_one, _)| *is_one).map(|(_, f)| f).collect()
}

impl MmxForm {
    /// On MM1, MM2, XMM3, RBX and \[RDI\].
    fn encode(self, immediate: u8) -> Vec<u8> {
        use OpCodeOperandKind as K;
        let mut instruction = Instruction::default();
        instruction.set_code(self.code);
        let mut mm = [Register::MM1, Register::MM2].into_iter();
        for (operand, &kind) in (0..).zip(self.code.op_code().op_kinds()) {
            match kind {
                K::mm_or_mem | K::r32_or_mem | K::r64_or_mem | K::mem if self.in_memory => {
                    instruction.set_op_kind(operand, OpKind::Memory);
                    instruction.set_memory_base(Register::RDI);
                }
                K::mm_or_mem | K::mm_reg | K::mm_rm => {
                    instruction.set_op_register(operand, mm.next().unwrap());
                }
                K::xmm_reg | K::xmm_rm => instruction.set_op_register(operand, Register::XMM3),
                K::r32_or_mem | K::r32_reg => instruction.set_op_register(operand, Register::EBX),
                K::r64_or_mem | K::r64_reg => instruction.set_op_register(operand, Register::RBX),
                K::imm8 => {
                    instruction.set_op_kind(operand, OpKind::Immediate8);
                    instruction.set_immediate8(immediate);
                }
                K::seg_rDI => instruction.set_op_kind(operand, OpKind::MemorySegRDI),
                other => panic!("{self:?} has an operand {other:?}"),
            }
        }
        let mut encoder = Encoder::new(64);
        encoder.encode(&instruction, 0).unwrap_or_else(|error| panic!("{self:?}: {error}"));
        encoder.take_buffer()
    }
}

/// Where the memory operands are.
const DATA: usize = 0x2000;

fn machine(code: &[u8]) -> FlatMachine {
    let mut machine = FlatMachine::with_code(code);
    machine.state.set_slot(Slot::Rdi, FlatMachine::BASE + DATA as u64);
    machine
}

fn run(machine: &mut FlatMachine) -> Run {
    CodeCache::new().run(machine, 1)
}

#[test]
fn every_form_on_mmx_registers_is_modelled() {
    let forms = all();
    for form in &forms {
        let bytes = form.encode(1);
        let decoded = iced_x86::Decoder::new(64, &bytes, 0).decode();
        assert!(decode::is_modelled(&decoded), "{form:?}");
    }
    assert!(forms.len() > 150, "only {} forms", forms.len());
}

#[test]
fn registers_are_the_physical_x87_registers_which_become_valid_from_number_0() {
    let mut machine = machine(&[0x0f, 0xfc, 0xca]); // paddb mm1,mm2
    let x87 = &mut machine.state.x87;
    x87.status = 0x2800 | 0x4700; // TOP is 5; the condition codes stay
    x87.tag = 0x20;
    x87.st = core::array::from_fn(|number| ((number as u128) << 64) | (0x0101 * (number as u128)));
    assert_eq!(run(&mut machine).executed, 1);
    let x87 = &machine.state.x87;
    assert_eq!((x87.status, x87.tag), (0x4700, 0xff));
    // Physical register i was ST(i - 5).
    let old = |number: u128| (number + 3) % 8;
    for (number, content) in (0..).zip(x87.st) {
        let expected = match number {
            1 => (0xffff << 64) | (0x0101 * (old(1) + old(2))),
            _ => (old(number) << 64) | (0x0101 * old(number)),
        };
        assert_eq!(content, expected, "{number}");
    }
}

#[test]
fn a_pending_exception_comes_before_the_memory_operand_and_nothing_changes() {
    for form in all() {
        let mut machine = machine(&form.encode(1));
        machine.state.x87.control = 0x37e;
        machine.state.x87.status = 0xb881;
        machine.state.set_slot(Slot::Rdi, 0);
        let before = machine.state.registers();
        assert_eq!(run(&mut machine).stop, Some(Stop::exception(Vector::FloatingPoint)), "{form:?}");
        assert_eq!(machine.state.registers(), before, "{form:?}");
    }
}

#[test]
fn a_fault_of_the_memory_operand_changes_nothing() {
    for form in all().into_iter().filter(|form| form.in_memory) {
        let mut machine = machine(&form.encode(1));
        machine.state.x87.status = 0x3800;
        machine.state.x87.st[3] = u128::MAX;
        machine.state.set_slot(Slot::Rdi, 0);
        // The mask of MASKMOVQ.
        machine.state.x87.st = [u128::MAX; 8];
        let before = machine.state.registers();
        assert!(matches!(run(&mut machine).stop, Some(Stop::Exception(_))), "{form:?}");
        assert_eq!(machine.state.registers(), before, "{form:?}");
    }
}

/// The comparison with the processor of the host.
#[cfg(target_arch = "x86_64")]
mod silicon {
    use super::silicon_simd::{self, Context};
    use super::{DATA, MmxForm, all, machine};
    use isa::engine::CodeCache;
    use isa::registers::Registers;
    use isa::state::State;

    /// SplitMix64, often with corners of lanes.
    struct Random(u64);

    impl Random {
        fn next(&mut self) -> u64 {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let z = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            let z = (z ^ z >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^ z >> 31
        }

        fn value(&mut self) -> u64 {
            const CORNERS: [u64; 8] = [
                0x8000_7fff_8000_7fff,
                0x8080_7f7f_00ff_0180,
                0x8000_0000_7fff_ffff,
                0xffff_0000_ffff_ffff,
                0,
                7,
                16,
                64,
            ];
            match self.next() % 4 {
                0 => CORNERS[(self.next() % 8) as usize],
                1 => CORNERS[(self.next() % 8) as usize].wrapping_add(self.next() & 0x0001_0001_0001_0001),
                _ => self.next(),
            }
        }
    }

    /// The form between moves of MM1 and MM2 from and to XMM1 and XMM2, and EMMS.
    fn program(form: MmxForm, immediate: u8) -> Vec<u8> {
        let into = [0xf2, 0x0f, 0xd6, 0xc9, 0xf2, 0x0f, 0xd6, 0xd2];
        let out_of = [0xf3, 0x0f, 0xd6, 0xc9, 0xf3, 0x0f, 0xd6, 0xd2, 0x0f, 0x77];
        [&into[..], &form.encode(immediate), &out_of].concat()
    }

    #[test]
    fn each_form_agrees_with_the_processor() {
        const CASES: usize = 200;
        let mut random = Random(1);
        for form in all() {
            for _ in 0..CASES {
                let immediate = (random.next() % 20) as u8;
                let code = program(form, immediate);
                let mut context = Context { gpr: [0; 16], rflags: 0x202, unused: 0, xmm: [0; 16] };
                context.gpr[3] = random.value();
                context.xmm[1] = random.value().into();
                context.xmm[2] = random.value().into();
                context.xmm[3] = u128::from(random.next()) << 64 | u128::from(random.value());
                let mut data = [random.value(), random.value()];
                let (simulated, stored) = simulate(&code, &context, &data);
                context.gpr[7] = data.as_mut_ptr() as u64;
                let silicon = silicon_simd::Code::new(std::slice::from_ref(&code));
                // SAFETY: the instruction writes to `data` at most.
                #[allow(unsafe_code, reason = "machine code is called")]
                unsafe {
                    silicon.run(0, &mut context);
                }
                let found = (simulated.gpr[3], simulated.xmm, stored);
                assert_eq!(found, (context.gpr[3], context.xmm, data), "{form:?} {immediate}");
            }
        }
    }

    fn simulate(code: &[u8], context: &Context, data: &[u64; 2]) -> (Registers, [u64; 2]) {
        let mut machine = machine(code);
        let old = machine.state.registers();
        let mut gpr = context.gpr;
        gpr[7] = old.gpr[7];
        machine.state = State::from(&Registers { gpr, xmm: context.xmm, ..old });
        for (chunk, value) in machine.memory_mut()[DATA..].chunks_exact_mut(8).zip(data) {
            chunk.copy_from_slice(&value.to_le_bytes());
        }
        let run = CodeCache::new().run(&mut machine, 6);
        assert_eq!((run.executed, run.stop), (6, None));
        let word = |at: usize| u64::from_le_bytes(machine.memory()[at..at + 8].try_into().unwrap());
        (machine.state.registers(), [word(DATA), word(DATA + 8)])
    }
}
