//! IN OUT INS OUTS: permission against a bit-by-bit reading of the bitmap, and effects.

use crate::machine::{DATA, END, Machine, Mode, PORT_VALUE, Random, cases};
use isa::address::LinearAddress;
use isa::cpu::Stop;
use isa::event::Exception;
use isa::segment::{AccessRights, Segment};
use isa::state::Slot;
use isa::system::{Intercepted, Io, IoDirection, PortOperand, Repetition, StringIo};

const TSS: u64 = 0x4000;

/// Whether all ports have a bit of 0 that is inside the limit, together with the byte after the first.
fn is_permitted(machine: &Machine, mode: Mode, cpl: u8, iopl: u8, port: u16, bytes: u16) -> bool {
    if mode == Mode::Real || mode != Mode::Virtual8086 && cpl <= iopl {
        return true;
    }
    let tr = machine.state.system.tr;
    if !matches!(tr.rights.bits() & 0xf, 9 | 11) || tr.limit < 103 {
        return false;
    }
    let at = |offset: u32| machine.memory[(TSS + u64::from(offset)) as usize];
    let base = u32::from(at(102)) | u32::from(at(103)) << 8;
    if base + u32::from(port / 8) + 1 > tr.limit {
        return false;
    }
    (u32::from(port)..u32::from(port) + u32::from(bytes))
        .all(|port| at(base + port / 8) >> (port % 8) & 1 == 0)
}

#[test]
fn ports_are_permitted_by_iopl_or_by_every_bit_of_the_bitmap() {
    let mut random = Random(6);
    let mut outcomes = [0; 2];
    // (code, bytes): in al,dx / in ax,dx / in eax,dx / outsb / insd
    for _ in 0..cases(3000) {
        let mode = random.pick(&Mode::ALL);
        let cpl = random.pick(mode.levels());
        let iopl = random.below(4) as u8;
        let wide: &[u8] = if mode.memory() == 7 { &[0x66] } else { &[] };
        let (code, bytes) = match random.below(4) {
            0 => (vec![0xec], 1),
            1 => ([wide, &[0xed]].concat(), 4),
            2 => ([wide, &[0xef]].concat(), 4),
            _ => (vec![0x6e], 1),
        };
        let mut machine = Machine::new(mode, cpl);
        let flags = machine.state.flags.get() | u64::from(iopl) << 12;
        machine.state.flags.set(flags);
        let kind = random.pick(&[9, 11, 11, 11, 1, 3]);
        let limit = random.pick(&[102, 103, 110, 120, 200, 0x2100]);
        let rights = AccessRights::from_bits_retain(0x80 | kind);
        machine.state.system.tr = Segment { selector: 8, base: TSS, limit, rights };
        machine.store(TSS + 102, &random.pick(&[104_u16, 110, 0xffff]).to_le_bytes());
        for offset in 104..300 {
            let byte = 1_u8.checked_shl(random.below(20) as u32).unwrap_or(0);
            machine.store(TSS + offset, &[byte]);
        }
        let port = random.below(200) as u16;
        machine.state.set_slot(Slot::Rdx, 0xabcd_0000 | u64::from(port));
        let permitted = is_permitted(&machine, mode, cpl, iopl, port, bytes);
        outcomes[usize::from(permitted)] += 1;
        if permitted {
            machine.completes(&code);
            assert_eq!((machine.ports.len(), machine.ports[0].0), (1, port));
        } else {
            machine.refuses(&code, Stop::GENERAL_PROTECTION);
            assert!(machine.ports.is_empty() && machine.intercepted.is_empty());
        }
    }
    assert!(outcomes.iter().all(|&count| count > 500), "{outcomes:?}");
}

#[test]
fn transfers_have_the_width_of_their_operand() {
    let old = 0x1122_3344_5566_7788;
    let value = u64::from(PORT_VALUE);
    for (code, bytes, after) in [
        (&[0xe4, 0x70][..], 1, old & !0xff | value & 0xff),
        (&[0x66, 0xe5, 0x70], 2, old & !0xffff | value & 0xffff),
        (&[0xe5, 0x70], 4, value),
    ] {
        let mut machine = Machine::new(Mode::Long, 0);
        machine.state.set_slot(Slot::Rax, old);
        machine.completes(code);
        assert_eq!((machine.state.slot(Slot::Rax), &machine.ports[..]), (after, &[(0x70, bytes, None)][..]));
        let direction = IoDirection::In;
        let io = Io { direction, port: 0x70, bytes, operand: PortOperand::Immediate, string: None };
        assert_eq!(machine.intercepted, [Intercepted::Io(io)]);
    }
    for (code, bytes, written) in
        [(&[0xee][..], 1, 0x88), (&[0x66, 0xef], 2, 0x7788), (&[0xef], 4, 0x5566_7788)]
    {
        let mut machine = Machine::new(Mode::Long, 0);
        machine.state.set_slot(Slot::Rax, old);
        machine.state.set_slot(Slot::Rdx, 0x3f8);
        machine.completes(code);
        assert_eq!(machine.ports, [(0x3f8, bytes, Some(written))]);
        assert_eq!(machine.state.slot(Slot::Rax), old);
    }
}

#[test]
fn strings_move_their_pointer_and_their_count() {
    for down in [false, true] {
        let mut machine = Machine::new(Mode::Long, 0);
        let flags = machine.state.flags.get() | u64::from(down) << 10;
        machine.state.flags.set(flags);
        machine.state.set_slot(Slot::Rdx, 0x1f0);
        machine.state.set_slot(Slot::Rcx, 3);
        machine.state.set_slot(Slot::Rdi, DATA);
        machine.completes(&[0xf3, 0x66, 0x6d]); // rep insw
        let step = |from: u64, by: u64| if down { from.wrapping_sub(by) } else { from + by };
        assert_eq!((machine.state.slot(Slot::Rdi), machine.state.slot(Slot::Rcx)), (step(DATA, 6), 0));
        assert_eq!(machine.ports, [(0x1f0, 2, None); 3]);
        let first = usize::try_from(if down { DATA - 4 } else { DATA }).unwrap();
        assert_eq!(machine.memory[first..first + 6], [0x21, 0x43, 0x21, 0x43, 0x21, 0x43]);
        assert_eq!((machine.memory[first - 1], machine.memory[first + 6]), (0, 0));
        machine.state.set_slot(Slot::Rsi, DATA);
        machine.ports.clear();
        machine.completes(&[0x6f]); // outsd
        assert_eq!(machine.state.slot(Slot::Rsi), step(DATA, 4));
        let written = u32::from_le_bytes(machine.memory[0x2000..0x2004].try_into().unwrap());
        assert_eq!(machine.ports, [(0x1f0, 4, Some(written))]);
    }
}

#[test]
fn a_count_of_zero_accesses_nothing() {
    let mut machine = Machine::new(Mode::Long, 0);
    machine.state.set_slot(Slot::Rcx, 0);
    machine.completes(&[0xf3, 0x6c]);
    assert!(machine.ports.is_empty());
}

/// RDI at the end of memory: the port must not be read.
#[test]
fn a_fault_of_memory_comes_before_the_port_is_accessed() {
    let fault = |code| Stop::Exception(Exception::page_fault(LinearAddress(END), code));
    let mut machine = Machine::new(Mode::Long, 0);
    machine.state.set_slot(Slot::Rdi, END);
    machine.state.set_slot(Slot::Rsi, END);
    machine.refuses(&[0x6c], fault(2));
    machine.refuses(&[0x6e], fault(0));
    assert!(machine.ports.is_empty());
    let direction = IoDirection::In;
    let string = StringIo {
        repetition: Repetition::Once,
        address: LinearAddress(END),
        segment: isa::segment::SegmentRegister::Es,
        address_size: 64,
    };
    let io = Io { direction, port: 0x200, bytes: 1, operand: PortOperand::Dx, string: Some(string) };
    assert_eq!(machine.intercepted[0], Intercepted::Io(io), "an exit comes before the fault");
    // Two iterations complete, the third faults.
    machine.state.set_slot(Slot::Rdi, END - 2);
    machine.state.set_slot(Slot::Rcx, 9);
    let run = machine.step(&[0xf3, 0x6c]);
    assert_eq!((run.stop, machine.state.rip()), (Some(fault(2)), 0x1000));
    assert_eq!((machine.state.slot(Slot::Rdi), machine.state.slot(Slot::Rcx)), (END, 7));
    assert_eq!(machine.ports.len(), 2);
}

#[test]
fn a_long_repetition_lets_the_machine_look() {
    let mut machine = Machine::new(Mode::Long, 0);
    machine.state.set_slot(Slot::Rcx, 5000);
    machine.state.set_slot(Slot::Rsi, DATA);
    let run = machine.step(&[0xf3, 0x6e]);
    assert_eq!((run.stop, machine.state.rip()), (Some(Stop::Iteration), 0x1000));
    assert_eq!(machine.ports.len() as u64, 5000 - machine.state.slot(Slot::Rcx));
    assert_eq!(machine.state.slot(Slot::Rsi) - DATA, machine.ports.len() as u64);
}
