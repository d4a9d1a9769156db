//! Addresses that are wider than the processor, or than EPT.
#![allow(clippy::unwrap_used, reason = "tests")]

mod common;

use common::guest::{Behind, Machine, PAGE, all_caches};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress};
use mmu::ept::{EptPermissions, EptTarget, EptViolation};
use mmu::fault::PageFaultReason;
use mmu::operation::{Operation, Paging, Refusal, Registers};
use mmu::{Context, Fault, PageSize, PagingMode};

#[test]
fn an_address_bit_from_maxphyaddr_on_is_reserved_in_every_entry_that_is_walked() {
    for (mode, levels) in [(PagingMode::Pae, 2), (PagingMode::FourLevel, 4), (PagingMode::FiveLevel, 5)] {
        for width in [36, 46, 52] {
            for level in 1..=levels {
                for bit in 32..52 {
                    let mut machine = Machine::new(mode, Behind::Nothing, &all_caches());
                    let context = Context { physical_address_width: width, ..machine.context() };
                    machine.translator.set_context(context);
                    let at = machine.guest_entry(PAGE, level);
                    machine.store(at, machine.load(at) | 1 << bit);
                    let found = machine.access(PAGE, AccessKind::Read);
                    if bit >= u64::from(width) {
                        let Err(Fault::Page(fault)) = found else { panic!("{found:?}") };
                        assert_eq!(fault.reason, PageFaultReason::ReservedBit { level });
                    } else if level == 1 {
                        let host = found.unwrap().translation.host_physical;
                        assert_eq!(host.0 >> bit, 1, "a page may be anywhere in the address space");
                    } else {
                        let Err(Fault::OutsideRam { address }) = found else { panic!("{found:?}") };
                        assert_eq!(address.0 >> bit, 1);
                    }
                }
            }
        }
    }
}

#[test]
fn behind_4_level_ept_an_address_above_48_bits_is_a_violation() {
    for level in 0..=4 {
        for bit in [48, 51] {
            let mut machine =
                Machine::new(PagingMode::FourLevel, Behind::Ept(PageSize::Size4K), &all_caches());
            let high = 1_u64 << bit;
            let mut context = Context { physical_address_width: 52, ..machine.context() };
            // From the page itself up to the root table.
            let (table, offset) = if level == 4 {
                let root = context.cr3.0;
                context.cr3 = GuestPhysicalAddress(root | high);
                (root, PAGE.0 >> 36 & 0xff8)
            } else {
                let at = machine.guest_entry(PAGE, level + 1);
                let entry = machine.load(at);
                machine.store(at, entry | high);
                let offset = if level == 0 { 0x123 } else { PAGE.0 >> (9 * level) & 0xff8 };
                (entry & 0x000f_ffff_ffff_f000, offset)
            };
            machine.translator.set_context(context);
            let Err(Fault::EptViolation(violation)) = machine.access(PAGE.add(0x123), AccessKind::Read)
            else {
                panic!("level {level}")
            };
            let guest_physical = GuestPhysicalAddress(table | high | offset);
            let expected = EptViolation {
                guest_physical,
                linear: Some(PAGE.add(0x123)),
                access: EptPermissions::READ,
                permissions: EptPermissions::empty(),
                ..violation
            };
            assert_eq!(violation, expected);
            assert_eq!(matches!(violation.target, EptTarget::Final(_)), level == 0);
        }
    }
}

#[test]
fn mov_to_cr3_refuses_bits_from_maxphyaddr_on() {
    let ram = mmu::Ram::new(0x1000).unwrap();
    for width in [36, 46, 52] {
        for bit in 12..63 {
            let outside = Registers::outside(Paging::four_level(0));
            let mut registers = Registers { physical_address_width: width, ..outside };
            let before = registers;
            let performed = registers.perform(&ram, &Operation::MovToCr3(1 << bit));
            if bit >= u64::from(width) {
                assert_eq!((performed.refusal, registers), (Some(Refusal::Operand), before));
            } else {
                assert_eq!((performed.refusal, registers.paging.cr3), (None, 1 << bit));
                let context = registers.context(mmu::Privilege::Supervisor);
                let address = HostPhysicalAddress(1 << bit);
                let fault = mmu::paging::walk(&ram, &context, PAGE, AccessKind::Read, &mut ()).unwrap_err();
                assert_eq!(fault, Fault::OutsideRam { address });
            }
        }
    }
}
