//! Segment loads and far transfers, each against a table of its own over all privilege levels and types.
#![allow(clippy::unwrap_used, reason = "tests")]

mod system_machine;

use isa::segment::{Segment, SegmentRegister};
use isa::state::Slot;
use isa::system::Interruptibility;
use system_machine::*;

/// The descriptor under test is at this index.
const INDEX: u64 = 20;
const SELECTOR: u16 = 0xa0;

/// What is tried: privilege levels, the type with S, and P.
#[derive(Clone, Copy, Debug)]
struct Case {
    cpl: u8,
    rpl: u8,
    dpl: u8,
    kind: u8,
    present: bool,
}

impl Case {
    fn all() -> impl Iterator<Item = Self> {
        (0..4 * 4 * 4 * 32 * 2_u32).map(|n| {
            let field = |shift: u32, mask: u32| u8::try_from(n >> shift & mask).unwrap();
            let present = field(11, 1) == 1;
            Self { cpl: field(0, 3), rpl: field(2, 3), dpl: field(4, 3), kind: field(6, 31), present }
        })
    }

    fn access(self) -> u64 {
        u64::from(self.kind | self.dpl << 5 | u8::from(self.present) << 7)
    }

    fn selector(self) -> u16 {
        SELECTOR | u16::from(self.rpl)
    }

    fn machine(self) -> Machine {
        let mut machine = Machine::protected(self.cpl);
        machine.set_descriptor(INDEX, descriptor(0, 0xf_ffff, self.access(), 0xc));
        machine
    }
}

/// A type by the letters of a pattern: s system, d data, c code; then w writable or r readable, f conforming; - for not.
fn letters(kind: u8) -> &'static str {
    match kind {
        0x00..=0x0f => "s",
        0x10 | 0x11 | 0x14 | 0x15 => "d-",
        0x12 | 0x13 | 0x16 | 0x17 => "dw",
        0x18 | 0x19 => "c--",
        0x1a | 0x1b => "cr-",
        0x1c | 0x1d => "c-f",
        _ => "crf",
    }
}

/// For each type, the condition under which a load succeeds: a text over max(CPL,RPL), CPL, RPL and DPL.
const DATA_LOAD: [(&str, &str); 7] = [
    ("s", "never"),
    ("d-", "max<=dpl"),
    ("dw", "max<=dpl"),
    ("c--", "never"),
    ("cr-", "max<=dpl"),
    ("c-f", "never"),
    ("crf", "always"),
];
const STACK_LOAD: [(&str, &str); 7] = [
    ("s", "never"),
    ("d-", "never"),
    ("dw", "all="),
    ("c--", "never"),
    ("cr-", "never"),
    ("c-f", "never"),
    ("crf", "never"),
];
const JUMP: [(&str, &str); 7] = [
    ("s", "never"),
    ("d-", "never"),
    ("dw", "never"),
    ("c--", "cpl=dpl, rpl<=cpl"),
    ("cr-", "cpl=dpl, rpl<=cpl"),
    ("c-f", "dpl<=cpl"),
    ("crf", "dpl<=cpl"),
];
const RETURN: [(&str, &str); 7] = [
    ("s", "never"),
    ("d-", "never"),
    ("dw", "never"),
    ("c--", "rpl=dpl, rpl>=cpl"),
    ("cr-", "rpl=dpl, rpl>=cpl"),
    ("c-f", "dpl<=rpl, rpl>=cpl"),
    ("crf", "dpl<=rpl, rpl>=cpl"),
];

fn expected(table: &[(&str, &str); 7], case: Case, absent: &'static str) -> Outcome {
    let (_, condition) = table.iter().find(|(kind, _)| *kind == letters(case.kind)).unwrap();
    let Case { cpl, rpl, dpl, .. } = case;
    let holds = condition.split(", ").all(|part| match part {
        "always" => true,
        "never" => false,
        "max<=dpl" => cpl.max(rpl) <= dpl,
        "all=" => cpl == rpl && rpl == dpl,
        "cpl=dpl" => cpl == dpl,
        "rpl=dpl" => rpl == dpl,
        "rpl<=cpl" => rpl <= cpl,
        "rpl>=cpl" => rpl >= cpl,
        "dpl<=cpl" => dpl <= cpl,
        "dpl<=rpl" => dpl <= rpl,
        other => panic!("{other}"),
    });
    match (holds, case.present) {
        (false, _) => Faults("#GP", SELECTOR),
        (true, false) => Faults(absent, SELECTOR),
        (true, true) => Completes,
    }
}

fn unchanged_if_refused(machine: &Machine, before: &str, outcome: Outcome, case: Case) {
    if outcome != Completes {
        assert_eq!(machine.registers(), before, "{case:?}");
    }
}

#[test]
fn segment_loads_follow_the_table() {
    let loads: [(&[u8], SegmentRegister); 3] = [
        (&[0x8e, 0xd8], SegmentRegister::Ds),
        (&[0x8e, 0xe0], SegmentRegister::Fs),
        (&[0x8e, 0xd0], SegmentRegister::Ss),
    ];
    for case in Case::all() {
        for (code, register) in loads {
            let is_stack = register == SegmentRegister::Ss;
            let expected =
                if is_stack { expected(&STACK_LOAD, case, "#SS") } else { expected(&DATA_LOAD, case, "#NP") };
            let mut machine = case.machine();
            machine.state.set_slot(Slot::Rax, case.selector().into());
            let before = machine.registers();
            assert_eq!(machine.execute(code), expected, "{case:?} {register:?}");
            unchanged_if_refused(&machine, &before, expected, case);
            if expected == Completes {
                let segment = machine.state.segment(register);
                assert_eq!((segment.selector, segment.limit), (case.selector(), u32::MAX));
                let access: u8 = machine.get(GDT + 8 * INDEX + 5);
                assert_eq!(u64::from(access), case.access() | 1, "accessed");
                let shadow = machine.state.system.interruptibility == Interruptibility::MOV_SS;
                assert_eq!(shadow, is_stack);
            }
        }
    }
}

#[test]
fn null_selectors_are_for_data_only_except_in_64_bit_mode_below_level_3() {
    let rows = [
        (Machine::protected(0), 0xd8, 3, Completes),
        (Machine::protected(0), 0xd0, 0, Faults("#GP", 0)),
        (Machine::long(0), 0xd0, 0, Completes),
        (Machine::long(0), 0xd0, 1, Faults("#GP", 0)),
        (Machine::long(2), 0xd0, 2, Completes),
        (Machine::long(3), 0xd0, 3, Faults("#GP", 0)),
    ];
    for (machine, modrm, selector, outcome) in rows {
        let mut machine = machine;
        machine.state.set_slot(Slot::Rax, selector);
        assert_eq!(machine.execute(&[0x8e, modrm]), outcome, "{modrm:#x} {selector}");
    }
}

fn far(opcode: u8, selector: u16) -> Vec<u8> {
    let mut code = vec![opcode, 0x00, 0xc0, 0, 0];
    code.extend(selector.to_le_bytes());
    code
}

#[test]
fn far_jumps_and_calls_to_code_follow_the_table() {
    for case in Case::all().filter(|case| case.kind >= 0x10) {
        for (opcode, pushed) in [(0xea, 0), (0x9a, 8)] {
            let expected = expected(&JUMP, case, "#NP");
            let mut machine = case.machine();
            let before = machine.registers();
            let cs = machine.state.selector(SegmentRegister::Cs);
            assert_eq!(machine.execute(&far(opcode, case.selector())), expected, "{case:?}");
            unchanged_if_refused(&machine, &before, expected, case);
            if expected == Completes {
                let state = &machine.state;
                assert_eq!(state.selector(SegmentRegister::Cs), SELECTOR | u16::from(case.cpl));
                assert_eq!((state.rip(), state.slot(Slot::Rsp)), (0xc000, STACK - pushed));
                assert_eq!(state.system.cpl, case.cpl);
                if pushed != 0 {
                    assert_eq!(machine.words::<u32>(STACK - 8, 2), [u128::from(CODE + 7), cs.into()]);
                }
            }
        }
    }
}

#[test]
fn far_returns_follow_the_table_and_switch_the_stack_outward() {
    for case in Case::all() {
        let expected = expected(&RETURN, case, "#NP");
        let mut machine = case.machine();
        let outer = case.rpl > case.cpl;
        let ss = 16 * case.rpl + 16 + case.rpl;
        let frame = [0xc000, case.selector().into(), 0x1111, 0x2222, 0x9500, ss.into()];
        for (slot, word) in (0..).zip(frame) {
            machine.put(STACK + 4 * slot, word);
            let _: u32 = word;
        }
        let before = machine.registers();
        assert_eq!(machine.execute(&[0xca, 8, 0]), expected, "{case:?}");
        unchanged_if_refused(&machine, &before, expected, case);
        if expected == Completes {
            let state = &machine.state;
            assert_eq!((state.rip(), state.system.cpl), (0xc000, case.rpl));
            assert_eq!(state.selector(SegmentRegister::Cs), case.selector());
            let rsp = if outer { 0x9508 } else { STACK + 16 };
            assert_eq!(state.slot(Slot::Rsp), rsp);
            let ds = state.selector(SegmentRegister::Ds);
            assert_eq!(ds == 0, outer, "{case:?}");
        }
    }
}

/// A gate of a DPL at the selector under test to code of a type and DPL at index 21.
#[test]
fn call_gates_check_gate_and_code_and_copy_parameters() {
    for case in Case::all().filter(|case| case.kind & 3 == 0) {
        for (target_dpl, target) in [(0, 0x9a), (1, 0x9a), (2, 0x9e), (3, 0x9a), (0, 0x1a), (0, 0x92)] {
            for opcode in [0xea, 0x9a] {
                let mut machine = Machine::protected(case.cpl);
                let access = 0xc | u64::from(case.dpl) << 5 | u64::from(case.present) << 7;
                machine.set_descriptor(INDEX, gate(0xa8, 0xc000, access, 2));
                let code = target | u64::from(target_dpl) << 5;
                machine.set_descriptor(21, descriptor(0, 0xf_ffff, code, 0xc));
                machine.put(STACK, 0x2222_2222_1111_1111_u64);
                let before = machine.registers();
                let expected = through_gate(case, target, target_dpl, opcode);
                let outcome = machine.execute(&far(opcode, case.selector()));
                assert_eq!(outcome, expected, "{case:?} {target:#x} {target_dpl}");
                unchanged_if_refused(&machine, &before, expected, case);
                let inner = target & 4 == 0 && target_dpl < case.cpl;
                if expected == Completes && inner {
                    let pushed = machine.words::<u32>(INNER_STACK - 24, 6);
                    let cs = u128::from(8 + 17 * case.cpl);
                    let old = [u128::from(CODE + 7), cs, 0x1111_1111, 0x2222_2222, STACK.into(), cs + 8];
                    assert_eq!(pushed, old);
                    assert_eq!(machine.state.system.cpl, target_dpl);
                    assert_eq!(machine.state.slot(Slot::Rsp), INNER_STACK - 24);
                } else if expected == Completes {
                    assert_eq!(machine.state.system.cpl, case.cpl);
                    let pushed = if opcode == 0x9a { 8 } else { 0 };
                    assert_eq!(machine.state.slot(Slot::Rsp), STACK - pushed);
                }
            }
        }
    }
}

fn through_gate(case: Case, target: u64, target_dpl: u8, opcode: u8) -> Outcome {
    const CODE_SELECTOR: u16 = 0xa8;
    if case.dpl < case.cpl.max(case.rpl) {
        return Faults("#GP", SELECTOR);
    }
    if !case.present {
        return Faults("#NP", SELECTOR);
    }
    let may_go = match (target, opcode) {
        (0x92, _) => false,
        (0x9e, _) | (_, 0x9a) => target_dpl <= case.cpl,
        _ => target_dpl == case.cpl,
    };
    match (may_go, target) {
        // A jump looks at the level after the presence.
        (false, 0x1a) if target_dpl <= case.cpl => Faults("#NP", CODE_SELECTOR),
        (false, _) => Faults("#GP", CODE_SELECTOR),
        (true, 0x1a) => Faults("#NP", CODE_SELECTOR),
        (true, _) => Completes,
    }
}

#[test]
fn transfers_are_atomic() {
    let mut gated = Machine::protected(3);
    gated.set_descriptor(INDEX, gate(8, 0xc000, 0xec, 3));
    is_atomic(&gated, |machine| machine.execute(&far(0x9a, SELECTOR)));
    let mut long = Machine::long(3);
    long.set_descriptor(INDEX, gate(8, 0xc000, 0xec, 0));
    long.put(CODE + 0x100, 0x00a0_0000_0000_u64);
    long.state.set_slot(Slot::Rbx, CODE + 0x100);
    is_atomic(&long, |machine| machine.execute(&[0xff, 0x1b]));
    let mut back = Machine::protected(0);
    for (slot, word) in (0..).zip([0xc000_u32, 0x3b, 0x9500, 0x43]) {
        back.put(STACK + 4 * slot, word);
    }
    is_atomic(&back, |machine| machine.execute(&[0xcb]));
}

#[test]
fn a_64_bit_call_gate_switches_to_rsp0_with_a_null_stack_segment() {
    let mut machine = Machine::long(3);
    machine.set_descriptor(INDEX, gate(8, 0xc000, 0xec, 0));
    machine.put(CODE + 0x100, 0x00a0_0000_0000_u64);
    machine.state.set_slot(Slot::Rbx, CODE + 0x100);
    assert_eq!(machine.execute(&[0xff, 0x1b]), Completes);
    let pushed = machine.words::<u64>(INNER_STACK - 32, 4);
    assert_eq!(pushed, [u128::from(CODE + 2), 0x3b, STACK.into(), 0x43]);
    assert_eq!(machine.state.selector(SegmentRegister::Ss), 0);
    assert_eq!((machine.state.system.cpl, machine.state.rip()), (0, 0xc000));
}

#[test]
fn descriptors_end_with_their_table() {
    for (limit, outcome) in [(0xa7, Completes), (0xa6, Faults("#GP", SELECTOR))] {
        let mut machine = Machine::protected(0);
        machine.set_descriptor(INDEX, descriptor(0, 0xf_ffff, 0x93, 0xc));
        machine.state.system.gdtr.limit = limit;
        machine.state.set_slot(Slot::Rax, SELECTOR.into());
        assert_eq!(machine.execute(&[0x8e, 0xd8]), outcome);
    }
    let mut machine = Machine::protected(0);
    machine.state.set_slot(Slot::Rax, 0xa4);
    assert_eq!(machine.execute(&[0x8e, 0xd8]), Faults("#GP", 0xa4), "there is no LDT");
}

/// LAR, LSL, VERR and VERW never fault; ZF says whether the selector may be used.
#[test]
fn questions_about_selectors_follow_their_tables() {
    let system = |kind: u8, types: &[u8]| kind < 16 && types.contains(&kind);
    for case in Case::all() {
        let Case { cpl, rpl, dpl, kind, .. } = case;
        let text = letters(kind);
        let reach = cpl.max(rpl) <= dpl || text.ends_with('f');
        let rows: [(&[u8], bool); 4] = [
            (&[0x0f, 0x02, 0xd8], kind >= 16 || system(kind, &[1, 2, 3, 4, 5, 9, 11, 12])),
            (&[0x0f, 0x03, 0xd8], kind >= 16 || system(kind, &[1, 2, 3, 9, 11])),
            (&[0x0f, 0x00, 0xe0], matches!(text, "d-" | "dw" | "cr-" | "crf")),
            (&[0x0f, 0x00, 0xe8], text == "dw"),
        ];
        for (number, (code, answers)) in rows.into_iter().enumerate() {
            let mut machine = case.machine();
            machine.state.set_slot(Slot::Rax, case.selector().into());
            machine.state.set_slot(Slot::Rbx, 7);
            assert_eq!(machine.execute(code), Completes);
            let yes = answers && reach;
            assert_eq!(machine.state.flags.zf(), yes, "{case:?} {code:?}");
            let value = [0x00c0_0000 | case.access() << 8, 0xffff_ffff, 7, 7][number];
            assert_eq!(machine.state.slot(Slot::Rbx), if yes { value } else { 7 }, "{case:?}");
        }
    }
}

#[test]
fn a_return_to_an_outer_level_makes_selectors_null_and_leaves_bases() {
    let mut machine = Machine::long(0);
    let base = 0x1234_5678_9000;
    let segment = machine.state.segment(SegmentRegister::Gs);
    machine.state.set_segment(SegmentRegister::Gs, Segment { base, ..segment });
    for (slot, word) in (0..).zip([0xc000_u64, 0x3b, 0x202, 0x9500, 0x43]) {
        machine.put(STACK + 8 * slot, word);
    }
    assert_eq!(machine.execute(&[0x48, 0xcf]), Completes); // iretq
    assert_eq!(machine.state.segment(SegmentRegister::Gs), Segment { base, ..Segment::UNUSABLE });
    assert_eq!(machine.state.segment(SegmentRegister::Ds), Segment::UNUSABLE);
}
