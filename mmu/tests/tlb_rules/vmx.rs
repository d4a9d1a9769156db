//! VMX transitions, INVVPID, INVEPT, EPT violations, EPTP switching and SMM.

use super::check::{any_vpid, check, guest, guest_with_ept, root};
use super::common::Numbers;
use super::random::Universe;
use mmu::operation::{Entry, Invept, Invvpid, Operation, Paging, Registers, Smm, VmxOperation};

fn invvpid(numbers: &mut Numbers, universe: &Universe) -> (Registers, Operation) {
    let registers = root(numbers, universe);
    (registers, Operation::Invvpid(universe.invvpid(numbers)))
}

#[test]
fn tlb_vmx_entry_novpid() {
    check("TLB.VMX.ENTRY_NOVPID", |n, u| {
        (root(n, u), Operation::VmEntry(Entry { vpid: None, ..u.entry(n) }))
    });
}

#[test]
fn tlb_vmx_exit_novpid() {
    check("TLB.VMX.EXIT_NOVPID", |n, u| (guest(n, u, None), Operation::VmExit(u.exit(n))));
}

#[test]
fn tlb_invvpid_0() {
    check("TLB.INVVPID.0", |n, u| {
        let (vpid, address) = (1 + n.below(2) as u16, u.address(n));
        (root(n, u), Operation::Invvpid(Invvpid::Address { vpid, address }))
    });
}

#[test]
fn tlb_invvpid_1() {
    check("TLB.INVVPID.1", |n, u| {
        (root(n, u), Operation::Invvpid(Invvpid::Context { vpid: 1 + n.below(2) as u16 }))
    });
}

#[test]
fn tlb_invvpid_2() {
    check("TLB.INVVPID.2", |n, u| (root(n, u), Operation::Invvpid(Invvpid::All)));
}

#[test]
fn tlb_invvpid_3() {
    check("TLB.INVVPID.3", |n, u| {
        (root(n, u), Operation::Invvpid(Invvpid::ContextButGlobals { vpid: 1 + n.below(2) as u16 }))
    });
}

#[test]
fn tlb_invvpid_psc() {
    check("TLB.INVVPID.PSC", invvpid);
}

#[test]
fn tlb_invept_1() {
    check("TLB.INVEPT.1", |n, u| {
        let eptp = n.pick(&u.eptps) ^ n.below(1 << 12);
        (root(n, u), Operation::Invept(Invept::Context { eptp }))
    });
}

#[test]
fn tlb_invept_2() {
    check("TLB.INVEPT.2", |n, u| (root(n, u), Operation::Invept(Invept::All)));
}

fn violation(numbers: &mut Numbers, universe: &Universe) -> (Registers, Operation) {
    let vpid = any_vpid(numbers);
    let registers = guest_with_ept(numbers, universe, vpid);
    let guest_physical = numbers.pick(&universe.guest_physical);
    let linear = (numbers.below(4) > 0).then(|| universe.address(numbers));
    (registers, Operation::EptViolation { guest_physical, linear })
}

#[test]
fn tlb_eptv_gphys() {
    check("TLB.EPTV.GPHYS", violation);
}

#[test]
fn tlb_eptv_combined() {
    check("TLB.EPTV.COMBINED", violation);
}

#[test]
fn tlb_vmfunc_eptp_novpid() {
    check("TLB.VMFUNC.EPTP_NOVPID", |n, u| {
        let eptp = n.pick(&u.eptps);
        (guest_with_ept(n, u, None), Operation::EptpSwitch { eptp })
    });
}

#[test]
fn tlb_smm_smi_default() {
    check("TLB.SMM.SMI_DEFAULT", |n, u| {
        let vpid = any_vpid(n);
        let registers = guest(n, u, vpid);
        (n.pick(&[registers, Registers::root(registers.paging)]), Operation::Smi)
    });
}

#[test]
fn tlb_smm_rsm_default() {
    check("TLB.SMM.RSM_DEFAULT", |n, u| {
        let interrupted = u.guest(n);
        let smm = Smm::Default { interrupted, pdptes: [0; 4] };
        let registers = Registers { smm, ..Registers::outside(Paging::default()) };
        (registers, Operation::Rsm(u.paging(n)))
    });
}

#[test]
fn tlb_smm_smm_exit() {
    check("TLB.SMM.SMM_EXIT", |n, u| {
        let vpid = any_vpid(n);
        (guest(n, u, vpid), Operation::SmmVmExit(u.paging(n)))
    });
}

#[test]
fn tlb_smm_return() {
    check("TLB.SMM.RETURN", |n, u| {
        let executive = n.pick(&[VmxOperation::Root, VmxOperation::NonRoot { vpid: Some(1), eptp: None }]);
        let registers = Registers { smm: Smm::Monitor { executive }, ..root(n, u) };
        (registers, Operation::SmmReturn(u.entry(n)))
    });
}

#[test]
fn tlb_smm_activate() {
    check("TLB.SMM.ACTIVATE", |n, u| {
        let registers = root(n, u);
        let Paging { cr3, cr4, efer, .. } = registers.paging;
        let changed = [
            registers.paging,
            Paging { cr3: cr3 ^ 0x3000, ..registers.paging },
            Paging { cr3: cr3 ^ 0x18, ..registers.paging },
            Paging { cr4: cr4 ^ Paging::PSE, ..registers.paging },
            Paging { cr4: cr4 ^ Paging::PAE, efer: efer ^ Paging::LME ^ Paging::LMA, ..registers.paging },
        ];
        (registers, Operation::SmmActivate(n.pick(&changed)))
    });
}
