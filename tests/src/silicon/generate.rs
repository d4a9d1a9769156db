//! Random cases.

use super::draft::{Case, Content, Draft};
use super::forms::{self, Catalogue, Form};
use super::mode::Mode;
use super::plan::Plan;
use super::random::Random;
use super::shared::{CODE_SIZE, HLT, SIZE};
use iced_x86::{Mnemonic, OpCodeOperandKind as K, Register};
use isa::registers::{Gpr, Registers, X87};

/// Most instructions of a sequence.
const LONGEST: u64 = 8;

/// Operands that are tried for an instruction.
const ATTEMPTS: usize = 16;

/// Chooses forms and values.
pub(crate) struct Generator {
    pub(crate) catalogue: Catalogue,
    mode: Mode,
    /// Register-only arithmetic, whose flags the engine may leave out when they are overwritten.
    arithmetic: Vec<Form>,
    /// Jcc, before which a comparison may become one with it.
    jumps: Vec<Form>,
    next_focus: usize,
}

/// The content of memory before every case of a batch.
pub(crate) fn pristine(seed: u64) -> Vec<u8> {
    let mut random = Random(seed);
    let mut memory = vec![HLT; SIZE];
    for chunk in memory[CODE_SIZE..].chunks_exact_mut(8) {
        chunk.copy_from_slice(&random.lanes().to_le_bytes());
    }
    memory
}

impl Generator {
    pub(crate) fn new(mode: Mode) -> Self {
        let catalogue = Catalogue::of_host(mode);
        let select = |wanted: fn(&Form) -> bool| catalogue.forms.iter().copied().filter(wanted).collect();
        let arithmetic = select(|form| !form.in_memory && is_arithmetic(form.code.mnemonic()));
        let jumps = select(|form| form.code.is_jcc_short_or_near());
        Self { catalogue, mode, arithmetic, jumps, next_focus: 0 }
    }

    /// The next case: every form has its turn.
    pub(crate) fn case(&mut self, random: Random) -> Case {
        let focus = self.catalogue.forms[self.next_focus % self.catalogue.forms.len()];
        self.next_focus += 1;
        self.case_of(focus, random)
    }

    fn case_of(&self, focus: Form, mut random: Random) -> Case {
        let forms = self.choose_forms(focus, &mut random);
        let registers = registers(&mut random, self.mode);
        let mut plan = Plan::new(random, self.mode, registers, forms.len());
        prepare(&mut plan, &forms);
        let mut contents = Vec::new();
        let mut code_registers = Vec::new();
        let mut drafts = Vec::new();
        for &form in &forms {
            if let Some(draft) = (0..ATTEMPTS).find_map(|_| forms::build_exact(form, &mut plan)) {
                aim(&draft, &mut plan, &mut code_registers, &mut contents);
                fill_operand(form, &mut plan, &mut contents);
                drafts.push(draft);
            }
            plan.advance();
        }
        let start = start(&mut plan.random, self.mode);
        contents.retain(|&(address, _)| (self.mode.data()..self.mode.end() - 8).contains(&address));
        contents.truncate(16);
        let mode = self.mode;
        let mut case = Case { drafts, mode, start, registers: plan.registers, code_registers, contents };
        // A form without operands that can be encoded here leaves the sequence shorter.
        case.truncate(case.drafts.len());
        case
    }

    fn choose_forms(&self, focus: Form, random: &mut Random) -> Vec<Form> {
        let length = 1 + random.index(usize::try_from(LONGEST).unwrap_or(1));
        let place = random.index(length);
        let simple = random.chance(30);
        let mut forms: Vec<Form> = (0..length)
            .map(|number| match number {
                _ if number == place => focus,
                _ if number > 0 && random.chance(12) => random.pick(&self.jumps),
                _ if simple => random.pick(&self.arithmetic),
                _ => random.pick(&self.catalogue.forms),
            })
            .collect();
        // A comparison stands before its jump.
        if focus.code.is_jcc_short_or_near() && place > 0 {
            forms[place - 1] = random.pick(&self.arithmetic);
        }
        forms
    }
}

fn is_arithmetic(mnemonic: Mnemonic) -> bool {
    use Mnemonic as M;
    matches!(
        mnemonic,
        M::Add | M::Adc | M::Sub | M::Sbb | M::And | M::Or | M::Xor | M::Cmp | M::Test | M::Inc | M::Dec
    ) || matches!(mnemonic, M::Neg | M::Not | M::Shl | M::Shr | M::Sar | M::Rol | M::Ror | M::Lea | M::Mov)
}

/// Mostly at the start of the code, sometimes so that it crosses into the second page.
fn start(random: &mut Random, mode: Mode) -> u64 {
    match random.below(4) {
        0 => mode.base() + 0x1000 - random.below(80),
        _ => mode.base() + random.below(0x40),
    }
}

fn registers(random: &mut Random, mode: Mode) -> Registers {
    let direction = if random.chance(15) { 0x400 } else { 0 };
    let alignment = if random.chance(10) { 0x4_0000 } else { 0 };
    let bases = super::child::has_bases() && mode == Mode::Bits64;
    let base = |random: &mut Random| if bases { random.below(0x8000) } else { 0 };
    Registers {
        gpr: core::array::from_fn(|number| match mode {
            Mode::Bits64 => random.integer(),
            _ if number < 8 => random.integer() & 0xffff_ffff,
            _ => 0,
        }),
        rip: 0,
        rflags: random.next() & 0x8d5 | 0x202 | direction | alignment,
        fs_base: base(random),
        gs_base: base(random),
        mxcsr: mxcsr(random),
        xmm: core::array::from_fn(|_| random.vector()),
        x87: x87(random),
    }
}

/// Mostly a stack that is partly full, with all exceptions masked.
fn x87(random: &mut Random) -> X87 {
    if random.chance(20) {
        return X87::default();
    }
    let mut word = || u16::try_from(random.next() & 0xffff).unwrap_or(0);
    let (precision_and_rounding, masks, status, tag) = (word() & 0xf00, word() & 0x3f, word(), word());
    let masks = if random.chance(85) { 0x3f } else { masks };
    X87 {
        control: 0x40 | precision_and_rounding | masks,
        // An exception that is not masked would be pending.
        status: status & 0x7f00 | status & masks,
        tag: tag.to_le_bytes()[0],
        st: core::array::from_fn(|_| extended(random)),
        ..X87::default()
    }
}

/// A number in double-extended precision, mostly with an exponent near that of 1.
fn extended(random: &mut Random) -> u128 {
    let significand = match random.below(4) {
        0 => random.integer() | 1 << 63,
        1 => 1 << 63 | random.next() << random.below(64),
        2 => random.next(),
        _ => random.next() | 1 << 63,
    };
    let exponent = match random.below(12) {
        0 => 0,
        1 => 0x7fff,
        2 => random.below(0x8000),
        3 => random.pick(&[1, 2, 70, 0x3fff - 150, 0x3fff - 1074, 0x3fff + 1024, 0x7ffe]),
        4 | 5 => 0x3fff + random.below(64),
        _ => 0x3fff + random.below(10) - 5,
    };
    u128::from(significand) | u128::from(exponent) << 64 | u128::from(random.below(2)) << 79
}

fn mxcsr(random: &mut Random) -> u32 {
    let any = u32::try_from(random.next() & 0xffff).unwrap_or(0);
    match random.below(10) {
        0..5 => 0x1f80,
        5 | 6 => 0x1f80 | any & 0x3f,
        7 | 8 => 0x1f80 | any,
        _ => any,
    }
}

/// Gives implicit operands values with which the instructions mostly complete.
fn prepare(plan: &mut Plan, forms: &[Form]) {
    let has = |wanted: &dyn Fn(&Form) -> bool| forms.iter().any(wanted);
    let operand =
        |kinds: &[K]| has(&|form: &Form| form.code.op_code().op_kinds().iter().any(|k| kinds.contains(k)));
    let mnemonic = |mnemonics: &[Mnemonic]| has(&|form: &Form| mnemonics.contains(&form.code.mnemonic()));
    if operand(&[K::seg_rSI]) {
        plan.point(Gpr::Rsi as usize);
    }
    if operand(&[K::es_rDI, K::seg_rDI]) {
        plan.point(Gpr::Rdi as usize);
    }
    if operand(&[K::seg_rBX_al]) {
        plan.point(Gpr::Rbx as usize);
    }
    if mnemonic(&[Mnemonic::Leave, Mnemonic::Enter]) {
        plan.point(Gpr::Rbp as usize);
    }
    if operand(&[K::seg_rSI, K::es_rDI])
        || has(&|form: &Form| form.code.is_loop() || form.code.is_jcx_short())
    {
        plan.registers.gpr[Gpr::Rcx as usize] = plan.random.below(20);
    }
    if mnemonic(&[Mnemonic::Div, Mnemonic::Idiv]) && plan.random.chance(70) {
        let sign = plan.random.pick(&[0, 0, 1, u64::MAX]);
        plan.registers.gpr[Gpr::Rdx as usize] = sign;
        plan.registers.gpr[Gpr::Rax as usize] = plan.random.next() >> plan.random.below(64);
        plan.narrow();
    }
    if mnemonic(&[Mnemonic::Pcmpestri, Mnemonic::Pcmpestrm, Mnemonic::Pcmpestri64, Mnemonic::Pcmpestrm64]) {
        plan.registers.gpr[Gpr::Rax as usize] = plan.random.below(40).wrapping_sub(20);
        plan.registers.gpr[Gpr::Rdx as usize] = plan.random.below(40).wrapping_sub(20);
        plan.narrow();
    }
}

/// Lets indirect branches and returns go to an instruction of the sequence.
fn aim(
    draft: &Draft,
    plan: &mut Plan,
    code_registers: &mut Vec<(usize, usize)>,
    contents: &mut Vec<(u64, Content)>,
) {
    let instruction = &draft.instruction;
    let target = Content::AddressOf(plan.target());
    if instruction.mnemonic() == Mnemonic::Ret {
        contents.push((plan.registers.gpr[Gpr::Rsp as usize], target));
    } else if instruction.is_jmp_near_indirect() || instruction.is_call_near_indirect() {
        match (plan.operand, instruction.op0_register()) {
            (Some((address, _)), _) => contents.push((address, target)),
            (None, Register::None) => {}
            (None, register) => code_registers.push((register.number(), plan.target())),
        }
    }
}

/// Puts into memory what makes comparisons equal and control words valid, now and then.
fn fill_operand(form: Form, plan: &mut Plan, contents: &mut Vec<(u64, Content)>) {
    if matches!(form.code.mnemonic(), Mnemonic::Popf | Mnemonic::Popfd | Mnemonic::Popfq) {
        let value = plan.random.next() & if plan.random.chance(80) { 0x24_4ed5 } else { u64::MAX };
        contents.push((plan.registers.gpr[Gpr::Rsp as usize], Content::Number { value, bytes: 8 }));
    }
    let Some((address, _)) = plan.operand else { return };
    let mut put = |at: u64, value: u64| contents.push((at, Content::Number { value, bytes: 8 }));
    let [rax, _, rdx, ..] = plan.registers.gpr;
    match form.code.mnemonic() {
        Mnemonic::Cmpxchg if plan.random.chance(50) => put(address, rax),
        Mnemonic::Cmpxchg8b if plan.random.chance(60) => put(address, rax & 0xffff_ffff | rdx << 32),
        Mnemonic::Cmpxchg16b if plan.random.chance(60) => {
            put(address, rax);
            put(address + 8, rdx);
        }
        Mnemonic::Ldmxcsr if plan.random.chance(80) => put(address, mxcsr(&mut plan.random).into()),
        Mnemonic::Fxrstor | Mnemonic::Fxrstor64 if plan.random.chance(80) => {
            put(address + 24, mxcsr(&mut plan.random).into());
        }
        _ => {}
    }
}
