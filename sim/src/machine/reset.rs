//! How processors begin: reset, INIT and the startup IPI (SDM Vol. 3A, 10.1.1 and 10.4).

use super::logical::Logical;
use crate::load::{ControlStart, SegmentStart, Start, TableRegister};
use isa::control::{Cr0, Cr4, Efer};
use isa::flags::Rflags;
use isa::segment::{AccessRights, DescriptorTable, Segment, SegmentRegister};
use isa::state::{Slot, State};
use isa::system::debug::Dr6;
use isa::system::{Activity, System};
use mmu::operation::Paging;

/// The signature that reset and INIT leave in EDX.
const SIGNATURE: u64 = 0x000a_0600;

impl Logical {
    /// The state after power-on: at FFFFFFF0H in real-address mode.
    pub(super) fn power_on(&mut self) {
        let features = self.core.state.system.features;
        self.core.state = State::default();
        self.core.state.system = System::reset();
        self.core.state.system.features = features;
        self.real_address_mode(0xf000, 0xffff_0000, 0xfff0);
    }

    fn real_address_mode(&mut self, selector: u16, base: u64, ip: u64) {
        let state = &mut self.core.state;
        for register in SegmentRegister::ALL {
            state.set_segment(register, Segment::real(0));
        }
        let code = AccessRights::from_bits_retain(0x9b);
        state.set_segment(SegmentRegister::Cs, Segment { selector, base, limit: 0xffff, rights: code });
        state.set_slot(Slot::Rdx, SIGNATURE);
        state.flags.set(Rflags::RESERVED_1.bits());
        state.set_rip(ip);
    }

    /// INIT: as reset, but for what it leaves alone; every processor but the first then waits for a startup IPI.
    pub(super) fn initialize(&mut self) {
        self.core.outside.take(|signals| signals.init = false);
        self.core.outside.initialize();
        self.debug_trap = Dr6::empty();
        let (kept, features) = (self.core.state.clone(), self.core.state.system.features);
        let is_first = self.core.outside.number.0 == 0;
        self.core.state.system = System::reset();
        let system = &mut self.core.state.system;
        system.features = features;
        system.cr0 |= kept.system.cr0 & (Cr0::CD | Cr0::NW);
        system.msrs = kept.system.msrs;
        system.smbase = kept.system.smbase;
        system.tsc_aux = kept.system.tsc_aux;
        system.system_call = kept.system.system_call;
        self.clear_registers();
        self.real_address_mode(0xf000, 0xffff_0000, 0xfff0);
        if !is_first {
            self.core.state.system.activity = Activity::WaitForSipi;
        }
        self.core.reset_translation();
    }

    /// A startup IPI: the vector is the page where execution begins.
    pub(super) fn start_up(&mut self) {
        let Some(Some(vector)) = self.core.outside.take(|signals| signals.start_up.take()) else { return };
        self.core.state.system.activity = Activity::Active;
        let selector = u16::from(vector) << 8;
        self.real_address_mode(selector, u64::from(selector) << 4, 0);
    }

    /// Puts the first processor where an image begins.
    pub(super) fn start(&mut self, start: &Start) {
        let ControlStart { cr0, cr3, cr4, efer } = start.control();
        let state = &mut self.core.state;
        state.system.cr0 = Cr0::from_bits_retain(cr0);
        state.system.cr3 = cr3;
        state.system.cr4 = Cr4::from_bits_retain(cr4);
        state.system.efer = Efer::from_bits_retain(efer);
        self.core.translation.paging = Paging { cr0, cr3, cr4, efer };
        self.clear_registers();
        match *start {
            Start::Real { cs, ip } => self.real_address_mode(cs, u64::from(cs) << 4, ip.into()),
            Start::Protected { eip, eax, ebx, esi, code, data, gdt, task } => {
                self.flat(code, data, gdt);
                if let Some(task) = task {
                    self.core.state.system.tr = segment(task);
                }
                self.set([(Slot::Rax, eax.into()), (Slot::Rbx, ebx.into()), (Slot::Rsi, esi.into())]);
                self.core.state.set_rip(eip.into());
            }
            Start::Long { rip, rsi, cr3: _, code, data, gdt } => {
                self.flat(code, data, Some(gdt));
                self.set([(Slot::Rsi, rsi)]);
                self.core.state.set_rip(rip);
            }
        }
    }

    fn set<const N: usize>(&mut self, registers: [(Slot, u64); N]) {
        registers.into_iter().for_each(|(slot, value)| self.core.state.set_slot(slot, value));
    }

    fn clear_registers(&mut self) {
        self.set(Slot::GENERAL.map(|slot| (slot, 0)));
    }

    /// The segments of a boot protocol.
    fn flat(&mut self, code: SegmentStart, data: SegmentStart, gdt: Option<TableRegister>) {
        let state = &mut self.core.state;
        for register in SegmentRegister::ALL {
            state.set_segment(register, segment(data));
        }
        state.set_segment(SegmentRegister::Cs, segment(code));
        if let Some(TableRegister { base, limit }) = gdt {
            state.system.gdtr = DescriptorTable { base: base.0, limit };
        }
    }
}

fn segment(start: SegmentStart) -> Segment {
    let SegmentStart { selector, base, limit, access } = start;
    Segment { selector, base, limit, rights: AccessRights::from_bits_retain(access.into()) }
}
