//! The rows that oblige a processor to nothing: this one removes nothing, or nothing of the classes that they speak
//! of.

use super::check::{Case, Choose, any_vpid, anywhere, guest, guest_with_ept, paging, root, run};
use super::common::cases;
use super::world::World;
use mmu::operation::{Entry, Exit, MsrLoads, Operation, Paging, Registers, VmxOperation};
use mmu::rules::{Obligation, RULES};
use mmu::{Class, Mapping};

/// What stays.
type Stays = fn(&Mapping) -> bool;

const ALL: Stays = |_| true;
const GUEST_PHYSICAL: Stays = |mapping| mapping.class() == Class::GuestPhysical;
const LINEAR: Stays = |mapping| mapping.class() == Class::Linear;

/// The rows with their operation and with what stays.
const ROWS: &[(&str, Choose, Stays)] = &[
    ("TLB.OP.NOT_GPHYS", |n, u| (anywhere(n, u), Operation::Invlpg(u.address(n))), GUEST_PHYSICAL),
    ("TLB.OP.NOT_GPHYS", |n, u| (anywhere(n, u), Operation::PageFault(u.address(n))), GUEST_PHYSICAL),
    ("TLB.OP.NOT_GPHYS", |n, u| (paging(n, u, 0, Paging::PCIDE), Operation::MovToCr3(0)), GUEST_PHYSICAL),
    (
        "TLB.OP.CR3_PCID_NOFLUSH",
        |n, u| {
            let registers = paging(n, u, Paging::PCIDE, 0);
            (registers, Operation::MovToCr3(u.cr3(n, true) | 1 << 63))
        },
        ALL,
    ),
    (
        "TLB.OP.EFER_NXE",
        |n, u| {
            let registers = anywhere(n, u);
            (registers, Operation::WrmsrEfer(registers.paging.efer ^ Paging::NXE))
        },
        ALL,
    ),
    ("TLB.OP.PAT_MTRR", |n, u| (anywhere(n, u), Operation::WrmsrMemoryType), ALL),
    ("TLB.OP.A20", |n, u| (anywhere(n, u), Operation::A20), ALL),
    ("TLB.OP.WBINVD", |n, u| (anywhere(n, u), Operation::CacheFlush), ALL),
    ("TLB.OP.XSAVE_PKRU", |n, u| (anywhere(n, u), Operation::WriteProtectionKeys), ALL),
    (
        "TLB.VMX.ENTRY_VPID",
        |n, u| {
            let vpid = Some(1 + n.below(2) as u16);
            (root(n, u), Operation::VmEntry(Entry { vpid, msr_loads: MsrLoads::Harmless, ..u.entry(n) }))
        },
        ALL,
    ),
    (
        "TLB.VMX.EXIT_VPID",
        |n, u| {
            let msr_loads = MsrLoads::Harmless;
            (guest(n, u, Some(2)), Operation::VmExit(Exit { msr_loads, ..u.exit(n) }))
        },
        ALL,
    ),
    ("TLB.VMX.ENTRY_GPHYS", |n, u| (root(n, u), Operation::VmEntry(u.entry(n))), GUEST_PHYSICAL),
    (
        "TLB.VMX.ENTRY_GPHYS",
        |n, u| {
            let vpid = any_vpid(n);
            (guest(n, u, vpid), Operation::VmExit(u.exit(n)))
        },
        GUEST_PHYSICAL,
    ),
    (
        "TLB.VMX.HOST_PCID",
        |n, u| {
            // CR3 of the host is another than that of the guest.
            let mut exit = Exit { msr_loads: MsrLoads::Harmless, ..u.exit(n) };
            exit.paging.cr3 ^= 0x3000;
            (guest(n, u, Some(1)), Operation::VmExit(exit))
        },
        LINEAR,
    ),
    (
        "TLB.VMX.ENTRY_CR",
        |n, u| {
            // As many control bits change as can.
            let mut entry = Entry { vpid: Some(1), msr_loads: MsrLoads::Harmless, ..u.entry(n) };
            let Registers { paging, .. } = root(n, u);
            entry.paging = Paging { cr0: paging.cr0 ^ Paging::WP, cr4: paging.cr4 ^ Paging::PGE, ..paging };
            entry.paging.cr3 ^= 0x3000;
            (Registers::root(paging), Operation::VmEntry(entry))
        },
        ALL,
    ),
    (
        "TLB.VMX.VMXON_OFF",
        |n, u| {
            let registers = root(n, u);
            let vmx = n.pick(&[VmxOperation::Root, VmxOperation::Outside]);
            (Registers { vmx, ..registers }, Operation::VmxOnOff)
        },
        ALL,
    ),
    ("TLB.VMX.VMCLEAR_PTRLD", |n, u| (anywhere(n, u), Operation::VmcsAccess), ALL),
    ("TLB.INVVPID.NOT_GPHYS", |n, u| (root(n, u), Operation::Invvpid(u.invvpid(n))), GUEST_PHYSICAL),
    ("TLB.INVEPT.NOT_LINEAR", |n, u| (root(n, u), Operation::Invept(u.invept(n))), LINEAR),
    (
        "TLB.EPTV.MISCONFIG",
        |n, u| {
            let vpid = any_vpid(n);
            (guest_with_ept(n, u, vpid), Operation::EptMisconfiguration(n.pick(&u.guest_physical)))
        },
        ALL,
    ),
    (
        "TLB.VMFUNC.EPTP",
        |n, u| (guest_with_ept(n, u, Some(1)), Operation::EptpSwitch { eptp: n.pick(&u.eptps) }),
        ALL,
    ),
];

/// A row about entries that become present, which the test of TLB.TAG.NO_NOTPRESENT shows.
const ELSEWHERE: &str = "TLB.GUIDE.NEW";

#[test]
fn what_need_not_go_stays() {
    let world = World::new();
    for (id, choose, stays) in ROWS {
        for seed in 0..u64::from(cases().div_ceil(32)) {
            let Case { performed, before, after } = run(seed, &world, *choose);
            assert_eq!(performed.refusal, None, "{id}: {performed:?}");
            let lost = before.difference(&after).find(|mapping| stays(mapping));
            assert_eq!(lost, None, "{id}: {performed:?}");
            assert!(after.iter().any(stays));
        }
    }
}

#[test]
fn every_row_that_obliges_to_nothing_is_put_to_the_test() {
    for rule in RULES.iter().filter(|rule| rule.obligation == Obligation::NeedNot) {
        assert!(rule.id == ELSEWHERE || ROWS.iter().any(|(id, ..)| *id == rule.id), "{}", rule.id);
    }
}
