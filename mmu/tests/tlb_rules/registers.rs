//! What registers mean for translation, what transitions do to them, and when an operation does not happen.

use super::common::{Numbers, cases};
use super::random::Universe;
use isa::address::{GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::context::Controls;
use mmu::ept::{EptControls, EptLevels};
use mmu::operation::{
    Entry, Exit, Invept, Invpcid, Invvpid, Operation, Paging, Refusal, Registers, Smm, VmxOperation,
};
use mmu::{PagingMode, Privilege, Ram};

const GUEST: VmxOperation = VmxOperation::NonRoot { vpid: Some(1), eptp: Some(0x1001e) };
const HIGH: LinearAddress = LinearAddress(0x8000_0000_0000);

fn ram() -> Ram {
    Ram::new(0x4000).unwrap()
}

fn outside() -> Registers {
    Registers::outside(Paging::four_level(0x1000))
}

fn root() -> Registers {
    Registers::root(Paging::four_level(0x1000))
}

fn guest() -> Registers {
    Registers { vmx: GUEST, ..outside() }
}

#[test]
fn the_paging_mode_follows_from_four_bits() {
    let mode = |pg: bool, pae: bool, lme: bool, la57: bool| {
        let bit = |on: bool, bit: u64| if on { bit } else { 0 };
        let cr4 = bit(pae, Paging::PAE) | bit(la57, Paging::LA57);
        Paging { cr0: bit(pg, Paging::PG), cr3: 0, cr4, efer: bit(lme, Paging::LME) }.mode()
    };
    let (no, yes) = (false, true);
    for (pae, lme, la57) in [(no, no, no), (yes, no, no), (yes, yes, no), (yes, yes, yes)] {
        assert_eq!(mode(no, pae, lme, la57), PagingMode::None);
    }
    assert_eq!(mode(yes, no, no, no), PagingMode::ThirtyTwoBit);
    assert_eq!(mode(yes, yes, no, no), PagingMode::Pae);
    assert_eq!(mode(yes, yes, no, yes), PagingMode::Pae);
    assert_eq!(mode(yes, yes, yes, no), PagingMode::FourLevel);
    assert_eq!(mode(yes, yes, yes, yes), PagingMode::FiveLevel);
}

#[test]
fn a_context_takes_each_control_from_its_bit() {
    let plain = Paging { cr0: Paging::PE | Paging::PG, cr3: 0x1fff, cr4: Paging::PAE, efer: Paging::LME };
    let context = |paging: Paging| Registers::outside(paging).context(Privilege::Supervisor);
    let controls = |paging: Paging| context(paging).controls - Controls::PAGES_1G - Controls::PSE_36;
    assert_eq!(controls(plain), Controls::empty());
    assert_eq!(controls(Paging { cr0: plain.cr0 | Paging::WP, ..plain }), Controls::WRITE_PROTECT);
    assert_eq!(controls(Paging { efer: plain.efer | Paging::NXE, ..plain }), Controls::EXECUTE_DISABLE);
    let by_cr4 = [
        (Paging::PSE, Controls::PAGE_SIZE_EXTENSIONS),
        (Paging::PKE, Controls::PROTECTION_KEYS),
        (Paging::SMEP, Controls::SMEP),
        (Paging::SMAP, Controls::SMAP),
        (Paging::PGE, Controls::GLOBAL_PAGES),
        (Paging::PCIDE, Controls::empty()),
    ];
    for (bit, control) in by_cr4 {
        assert_eq!(controls(Paging { cr4: plain.cr4 | bit, ..plain }), control);
    }
    assert_eq!((context(plain).pcid, context(plain.with_pcids()).pcid), (0, 0xfff));
    assert_eq!(context(plain).cr3, GuestPhysicalAddress(0x1000));
    assert_eq!(context(plain).physical_address_width, 46);
    assert_eq!(context(plain).privilege, Privilege::Supervisor);
    let extended = Registers { tag_word: 5, pdptes: [1, 2, 3, 4], ..Registers::outside(plain) };
    let context = extended.context(Privilege::User);
    assert_eq!((context.tag_word, context.pdptes, context.privilege), (5, [1, 2, 3, 4], Privilege::User));
}

#[test]
fn a_context_takes_ept_from_the_eptp() {
    let ept = |eptp: u64| {
        let vmx = VmxOperation::NonRoot { vpid: None, eptp: Some(eptp) };
        Registers { vmx, ..outside() }.context(Privilege::User).ept.unwrap()
    };
    assert_eq!((ept(0x1001e).root, ept(0x1001e).levels), (HostPhysicalAddress(0x10000), EptLevels::Four));
    assert_eq!(ept(0x10026).levels, EptLevels::Five);
    assert!(!ept(0x1001e).controls.contains(EptControls::ACCESSED_DIRTY));
    assert!(ept(0x1005e).controls.contains(EptControls::ACCESSED_DIRTY));
    assert_eq!(outside().context(Privilege::User).ept, None);
    assert_eq!(root().context(Privilege::User).ept, None);
}

#[test]
fn transitions_go_where_they_go() {
    let ram = ram();
    let paging = Paging::four_level(0x3000);
    let entry = Entry { vpid: Some(9), eptp: None, paging, ..Entry::default() };
    let inside = VmxOperation::NonRoot { vpid: Some(9), eptp: None };
    let after = |registers: Registers, operation: Operation| {
        let performed = registers.clone().perform(&ram, &operation);
        assert_eq!(performed.refusal, None, "{operation:?}");
        performed.after
    };
    assert_eq!(after(outside(), Operation::VmxOnOff), root());
    assert_eq!(after(root(), Operation::VmxOnOff), outside());
    let entered = Registers { vmx: inside, ..Registers::root(paging) };
    assert_eq!(after(root(), Operation::VmEntry(entry)), entered);
    let exit = Exit { paging: root().paging, ..Exit::default() };
    assert_eq!(after(entered, Operation::VmExit(exit)), root());
    let switched = VmxOperation::NonRoot { vpid: Some(1), eptp: Some(0x2001e) };
    let switch = Operation::EptpSwitch { eptp: 0x2001e };
    assert_eq!(after(guest(), switch), Registers { vmx: switched, ..guest() });

    // SMM under the default treatment.
    let interrupted = Registers { pdptes: [7; 4], ..guest() };
    let smm = after(interrupted, Operation::Smi);
    let off = Paging { cr0: Paging::WP, cr3: 0x1000, cr4: 0, efer: 0 };
    let saved = Smm::Default { interrupted: GUEST, pdptes: [7; 4] };
    assert_eq!(smm, Registers { paging: off, vmx: VmxOperation::Outside, smm: saved, ..interrupted });
    let forgotten = Registers { pdptes: [0; 4], ..smm };
    assert_eq!(after(forgotten, Operation::Rsm(interrupted.paging)), interrupted);

    // SMM under the dual-monitor treatment, from a guest and from VMX root operation.
    let monitor = after(guest(), Operation::SmmVmExit(paging));
    let executive = Smm::Monitor { executive: GUEST };
    assert_eq!(monitor, Registers { smm: executive, ..Registers::root(paging) });
    assert_eq!(after(monitor, Operation::SmmReturn(entry)), entered);
    let activated = after(root(), Operation::SmmActivate(paging));
    let executive = Smm::Monitor { executive: VmxOperation::Root };
    assert_eq!(activated, Registers { smm: executive, ..Registers::root(paging) });
    assert_eq!(after(activated, Operation::SmmReturn(entry)), Registers::root(paging));

    let off = Registers::outside(Paging { cr0: 0x6000_0010, ..Paging::default() });
    let wide = Registers { physical_address_width: 52, tag_word: 3, ..guest() };
    let after_reset = Registers { physical_address_width: 52, ..off };
    assert_eq!(after(wide, Operation::Reset), after_reset);
    assert_eq!(after(outside(), Operation::Init), off);
}

#[test]
fn loads_of_registers_change_what_they_load() {
    let ram = ram();
    let after =
        |registers: Registers, operation: Operation| registers.clone().perform(&ram, &operation).after;
    let Paging { cr0, cr4, efer, .. } = outside().paging;
    let paging = |registers: Registers| registers.paging;
    let off = paging(after(outside(), Operation::MovToCr0(cr0 & !Paging::PG)));
    assert_eq!(off, Paging { cr0: cr0 & !Paging::PG, efer: efer & !Paging::LMA, ..outside().paging });
    let on = paging(after(Registers::outside(off), Operation::MovToCr0(cr0)));
    assert_eq!(on, outside().paging, "LMA is back");
    let smap = paging(after(outside(), Operation::MovToCr4(cr4 | Paging::SMAP)));
    assert_eq!(smap, Paging { cr4: cr4 | Paging::SMAP, ..outside().paging });
    let pcids = Registers::outside(outside().paging.with_pcids());
    let moved = after(pcids, Operation::MovToCr3(1 << 63 | 0x2005));
    assert_eq!((moved.paging.cr3, moved.pcid()), (0x2005, 5));
    let written = paging(after(outside(), Operation::WrmsrEfer(Paging::LME)));
    assert_eq!(written.efer, Paging::LME | Paging::LMA, "LMA cannot be written");
    let legacy = Registers::outside(Paging { cr0: Paging::PE, ..Paging::default() });
    assert_eq!(after(legacy, Operation::TaskSwitch { cr3: 0x5000 }).paging.cr3, 0x5000);
}

#[test]
fn an_operation_that_the_processor_refuses_says_why() {
    let refusal =
        |registers: Registers, operation: Operation| registers.clone().perform(&ram(), &operation).refusal;
    let in_smm = |smm| Registers { smm, ..outside() };
    let default = in_smm(Smm::Default { interrupted: VmxOperation::Outside, pdptes: [0; 4] });
    let monitor = Registers { smm: Smm::Monitor { executive: VmxOperation::Root }, ..root() };
    let legacy = Registers::outside(Paging { cr0: Paging::PE, ..Paging::default() });
    let paging = outside().paging;
    let entry = Entry { paging, ..Entry::default() };
    let exit = Operation::VmExit(Exit { paging, ..Exit::default() });
    let violation = Operation::EptViolation { guest_physical: GuestPhysicalAddress(0), linear: None };
    let misconfiguration = Operation::EptMisconfiguration(GuestPhysicalAddress(0));
    let switch = Operation::EptpSwitch { eptp: 0x1e };
    let (invvpid, invept) = (Operation::Invvpid(Invvpid::All), Operation::Invept(Invept::All));
    let plain_guest = Registers { vmx: VmxOperation::NonRoot { vpid: None, eptp: None }, ..outside() };
    let task_switch = Operation::TaskSwitch { cr3: 0 };
    let modes = [
        (invvpid, vec![root()], vec![outside(), guest(), default]),
        (invept, vec![root()], vec![outside(), guest()]),
        (Operation::VmEntry(entry), vec![root()], vec![outside(), guest()]),
        (exit, vec![guest(), plain_guest], vec![outside(), root()]),
        (violation, vec![guest()], vec![outside(), root(), plain_guest]),
        (misconfiguration, vec![guest()], vec![outside(), root(), plain_guest]),
        (switch, vec![guest()], vec![outside(), root(), plain_guest]),
        (task_switch, vec![legacy], vec![outside(), Registers { vmx: GUEST, ..legacy }]),
        (Operation::Init, vec![outside()], vec![root(), guest(), default]),
        (Operation::VmxOnOff, vec![outside(), root()], vec![guest(), default, monitor]),
        (Operation::Smi, vec![outside(), root(), guest()], vec![default, monitor]),
        (Operation::Rsm(paging), vec![default], vec![outside(), root(), guest(), monitor]),
        (Operation::SmmVmExit(paging), vec![root(), guest()], vec![outside(), default, monitor]),
        (Operation::SmmActivate(paging), vec![root()], vec![outside(), guest(), monitor]),
        (
            Operation::SmmReturn(entry),
            vec![monitor],
            vec![outside(), root(), default, Registers { vmx: GUEST, ..monitor }],
        ),
    ];
    for (operation, possible, impossible) in modes {
        for registers in possible {
            assert_eq!(refusal(registers, operation), None, "{operation:?} {registers:?}");
        }
        for registers in impossible {
            assert_eq!(refusal(registers, operation), Some(Refusal::Mode), "{operation:?} {registers:?}");
        }
    }

    let Paging { cr0, cr3, cr4, efer } = paging;
    let pcids = Registers::outside(paging.with_pcids());
    let unpaged = Registers::outside(Paging { cr0: cr0 & !Paging::PG, efer: efer & !Paging::LMA, ..paging });
    let narrow = Registers { paging: Paging { cr4: 0, ..unpaged.paging }, ..unpaged };
    let pae = Registers::outside(Paging { efer: 0, ..paging });
    let address = |pcid, address| Operation::Invpcid(Invpcid::Address { pcid, address });
    let context = |pcid| Operation::Invpcid(Invpcid::Context { pcid });
    let no = Some(Refusal::Operand);
    let operands = [
        (pcids, Operation::MovToCr0(cr0 & !Paging::PG), no),
        (outside(), Operation::MovToCr0(cr0 & !Paging::PG), None),
        (unpaged, Operation::MovToCr0(cr0), None),
        (narrow, Operation::MovToCr0(cr0), no),
        (outside(), Operation::MovToCr3(1 << 63), no),
        (pcids, Operation::MovToCr3(1 << 63), None),
        (outside(), Operation::MovToCr3(1 << 46), no),
        (pcids, Operation::MovToCr3(1 << 46), no),
        (outside(), Operation::MovToCr3((1 << 46) - 1), None),
        (outside(), Operation::MovToCr4(cr4 | Paging::PCIDE), None),
        (outside(), Operation::MovToCr4(cr4 & !Paging::PAE), no),
        (outside(), Operation::MovToCr4(cr4 | Paging::LA57), no),
        (unpaged, Operation::MovToCr4(cr4 | Paging::LA57), None),
        (unpaged, Operation::MovToCr4(0), None),
        (pae, Operation::MovToCr4(0), None),
        (unpaged, Operation::MovToCr4(cr4 | Paging::PCIDE), no),
        (Registers::outside(Paging { cr3: cr3 | 8, ..paging }), Operation::MovToCr4(cr4 | Paging::PCIDE), no),
        (Registers::outside(Paging { cr3: cr3 | 8, ..paging.with_pcids() }), Operation::MovToCr4(cr4), None),
        (outside(), Operation::WrmsrEfer(0), no),
        (outside(), Operation::WrmsrEfer(efer & !Paging::NXE), None),
        (unpaged, Operation::WrmsrEfer(0), None),
        (outside(), context(1), no),
        (outside(), context(0), None),
        (pcids, context(4095), None),
        (pcids, context(4096), no),
        (outside(), address(1, LinearAddress(0)), no),
        (pcids, address(1, LinearAddress(0)), None),
        (pcids, address(1, HIGH), Some(Refusal::NonCanonical)),
        (pcids, Operation::Invpcid(Invpcid::AllWithGlobals), None),
        (outside(), Operation::Invlpg(HIGH), Some(Refusal::NonCanonical)),
        (unpaged, Operation::Invlpg(HIGH), None),
        (
            root(),
            Operation::Invvpid(Invvpid::Address { vpid: 1, address: HIGH }),
            Some(Refusal::NonCanonical),
        ),
        (root(), Operation::Invvpid(Invvpid::Address { vpid: 0, address: HIGH }), Some(Refusal::VpidZero)),
        (root(), Operation::Invvpid(Invvpid::Context { vpid: 0 }), Some(Refusal::VpidZero)),
        (root(), Operation::Invvpid(Invvpid::ContextButGlobals { vpid: 0 }), Some(Refusal::VpidZero)),
        (root(), Operation::VmEntry(Entry { vpid: Some(0), ..entry }), Some(Refusal::VpidZero)),
        (monitor, Operation::SmmReturn(Entry { vpid: Some(0), ..entry }), Some(Refusal::VpidZero)),
    ];
    for (registers, operation, expected) in operands {
        assert_eq!(refusal(registers, operation), expected, "{operation:?} {registers:?}");
    }
}

#[test]
fn what_is_refused_changes_and_removes_nothing() {
    let universe = Universe {
        roots: vec![0x1000, 0x2000],
        eptps: vec![0x1001e],
        linear: vec![LinearAddress(0), HIGH],
        guest_physical: vec![GuestPhysicalAddress(0)],
        legacy: true,
    };
    let (ram, mut refused) = (ram(), 0);
    for seed in 0..u64::from(cases()) * 8 {
        let mut numbers = Numbers(seed);
        let before = universe.registers(&mut numbers);
        let operation = universe.operation(&mut numbers, &before);
        let mut registers = before;
        let performed = registers.perform(&ram, &operation);
        assert_eq!((performed.operation, performed.before, performed.after), (operation, before, registers));
        if performed.refusal.is_some() {
            assert_eq!(before, registers);
            assert!(performed.invalidations.is_empty());
            refused += 1;
        }
    }
    assert!(refused > 100);
}
