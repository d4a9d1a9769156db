//! The rows on what accesses cache, under which tag, what they use, and the flags that they set.

use super::common::{Numbers, cases};
use super::world::{KINDS, TABLES, World, ample, held};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::{EptContext, EptPermissions};
use mmu::operation::{Operation, Paging, Registers, Smm, VmxOperation};
use mmu::translation::Translation;
use mmu::{Class, Context, Dimension, Fault, Mapping, Privilege, Ram, Reference, Translator};
use std::collections::HashSet;

/// A 4-KByte page that is not global, the guest-physical page of it in the first guest, and of a table.
const PAGE: LinearAddress = LinearAddress(0x40_0000);
const GUEST_PAGE: GuestPhysicalAddress = GuestPhysicalAddress(0x20_0000);
const PRESENT: u64 = 1;
const WRITE: u64 = 2;
const DIRTY: u64 = 1 << 6;
const EPT_DIRTY: u64 = 1 << 9;

struct Machine {
    world: World,
    translator: Translator,
    eptps: Vec<u64>,
    root: u64,
}

impl Machine {
    fn new() -> Self {
        let world = World::new();
        let (eptps, root) = (world.eptps(), world.guests[0].root().0);
        Self { world, translator: Translator::new(&ample()).unwrap(), eptps, root }
    }

    fn registers(&self, vpid: Option<u16>, eptp: Option<u64>) -> Registers {
        let vmx = VmxOperation::NonRoot { vpid, eptp };
        Registers { vmx, ..Registers::outside(Paging::four_level(self.root)) }
    }

    fn access(
        &mut self,
        context: Context,
        address: LinearAddress,
        kind: AccessKind,
    ) -> Result<Translation, Fault> {
        self.translator.set_context(context);
        Ok(self.translator.translate(&self.world.ram, address, kind, &mut ())?.translation)
    }

    fn read(&mut self, registers: &Registers, address: LinearAddress) -> Result<u64, Fault> {
        let context = registers.context(Privilege::User);
        Ok(self.access(context, address, AccessKind::Read)?.host(address).0)
    }

    /// The references of a read.
    fn references(&mut self, registers: &Registers, address: LinearAddress) -> Vec<Reference> {
        let mut log = vec![];
        self.translator.set_context(registers.context(Privilege::User));
        self.translator.translate(&self.world.ram, address, AccessKind::Read, &mut log).unwrap();
        log
    }

    /// The guest's entry for a page.
    fn leaf(&mut self, address: LinearAddress) -> (HostPhysicalAddress, u64) {
        let leaf = self.world.guests[0].leaf(&self.world.ram, address).unwrap().unwrap();
        (leaf.entry, leaf.value)
    }

    /// The entry of one of the EPTs for a page.
    fn ept_leaf(&mut self, ept: usize, address: GuestPhysicalAddress) -> (HostPhysicalAddress, u64) {
        let leaf = self.world.epts[ept].leaf(&self.world.ram, address).unwrap().unwrap();
        (leaf.entry, leaf.value)
    }

    fn put(&self, (entry, _): (HostPhysicalAddress, u64), value: u64) {
        self.world.ram.write(entry, value).unwrap();
    }
}

/// Registers in every part of VMX operation and SMM, with the VPID that the rule gives them.
fn in_every_mode(numbers: &mut Numbers, world: &World) -> (Registers, u16) {
    let universe = world.universe();
    let registers = universe.registers(numbers);
    let vpid = match (registers.vmx, registers.smm) {
        (VmxOperation::Outside | VmxOperation::Root, _) => 0,
        (VmxOperation::NonRoot { vpid, .. }, _) => vpid.unwrap_or(0),
    };
    (registers, vpid)
}

/// What an access under these registers newly cached.
fn made(machine: &mut Machine, numbers: &mut Numbers, registers: &Registers) -> Option<HashSet<Mapping>> {
    let before = held(&machine.translator);
    let address = machine.world.universe().address(numbers);
    let kind = numbers.pick(&KINDS);
    machine.access(registers.context(Privilege::User), address, kind).ok()?;
    Some(held(&machine.translator).difference(&before).copied().collect())
}

/// Accesses under random registers; every mapping that is made is looked at with the registers that made it.
fn for_each_made(mut look: impl FnMut(&Registers, u16, &Mapping)) {
    let mut looked = 0;
    for seed in 0..u64::from(cases().div_ceil(16)) {
        let (mut machine, mut numbers) = (Machine::new(), Numbers(seed));
        for _ in 0..30 {
            let (registers, vpid) = in_every_mode(&mut numbers, &machine.world);
            for mapping in made(&mut machine, &mut numbers, &registers).unwrap_or_default() {
                look(&registers, vpid, &mapping);
                looked += 1;
            }
        }
    }
    assert!(looked > 100);
}

#[test]
fn tlb_tag_vpid_zero() {
    for_each_made(|registers, vpid, mapping| {
        assert_eq!(registers.vpid(), vpid);
        assert_eq!(registers.context(Privilege::User).vpid, vpid);
        if let Mapping::Translation { space, .. } | Mapping::Structure { space, .. } = mapping {
            assert_eq!(space.vpid, vpid, "{registers:?}");
        }
    });
    // SMM under the default treatment is outside VMX operation, and RSM goes back into the guest.
    let machine = Machine::new();
    let mut registers = machine.registers(Some(7), None);
    let paging = registers.paging;
    assert_eq!(registers.vpid(), 7);
    registers.perform(&machine.world.ram, &Operation::Smi);
    assert!(matches!(registers.smm, Smm::Default { .. }));
    assert_eq!(registers.vpid(), 0);
    registers.perform(&machine.world.ram, &Operation::Rsm(paging));
    assert_eq!(registers.vpid(), 7);
}

#[test]
fn tlb_tag_linear() {
    for_each_made(|registers, _, mapping| {
        assert_eq!(mapping.class() == Class::Linear, registers.eptp().is_none(), "{mapping:?}");
        if mapping.class() == Class::Linear
            && let Mapping::Translation { space, .. } | Mapping::Structure { space, .. } = mapping
        {
            let pcids = registers.paging.cr4 & Paging::PCIDE != 0;
            let pcid = if pcids { registers.paging.cr3 & 0xfff } else { 0 };
            assert_eq!(space.vpid, registers.vpid());
            assert!(mapping.is_global() || u64::from(space.pcid) == pcid, "{mapping:?}");
        }
    });
}

#[test]
fn tlb_tag_gphys() {
    for_each_made(|registers, _, mapping| {
        if mapping.class() == Class::GuestPhysical {
            let eptrta = registers.eptp().unwrap() >> 12 << 12;
            assert_eq!(mapping.ept(), Some(HostPhysicalAddress(eptrta)));
        }
    });
    // Another VPID and PCID use the same guest-physical mappings: no EPT entry is read again.
    let mut machine = Machine::new();
    let first = machine.registers(Some(1), Some(machine.eptps[0]));
    let mut second = machine.registers(Some(2), Some(machine.eptps[0]));
    second.paging = Paging { cr3: second.paging.cr3 | 5, ..second.paging.with_pcids() };
    let ept = |references: &[Reference]| references.iter().any(|it| it.dimension == Dimension::Ept);
    assert!(ept(&machine.references(&first, PAGE)));
    let again = machine.references(&second, PAGE);
    assert!(!again.is_empty() && !ept(&again), "{again:?}");
}

#[test]
fn tlb_tag_combined() {
    for_each_made(|registers, vpid, mapping| {
        let Some(eptp) = registers.eptp() else { return };
        if let Mapping::Translation { space, .. } | Mapping::Structure { space, .. } = mapping {
            assert_eq!(mapping.class(), Class::Combined);
            let eptrta = HostPhysicalAddress(eptp >> 12 << 12);
            assert_eq!((space.vpid, space.ept), (vpid, Some(eptrta)));
            assert!(mapping.is_global() || space.pcid == registers.pcid(), "{mapping:?}");
        }
    });
    // Without paging there is nothing for paging-structure caches.
    let mut machine = Machine::new();
    let mut unpaged = machine.registers(Some(1), Some(machine.eptps[0]));
    unpaged.paging = Paging::default();
    machine.read(&unpaged, LinearAddress(GUEST_PAGE.0)).unwrap();
    let made = held(&machine.translator);
    assert!(made.iter().any(|mapping| matches!(mapping, Mapping::Translation { .. })));
    assert!(!made.iter().any(|mapping| matches!(mapping, Mapping::Structure { .. })));
}

#[test]
fn tlb_tag_eptrta_bits() {
    let mut machine = Machine::new();
    let eptp = machine.eptps[0];
    let first = machine.registers(Some(1), Some(eptp));
    let old = machine.read(&first, PAGE).unwrap();
    let leaf = machine.ept_leaf(0, GUEST_PAGE);
    machine.put(leaf, leaf.1 ^ 0x4000);
    // The memory type is no part of the tag: the stale mappings serve.
    let same_tag = machine.registers(Some(1), Some(eptp ^ 6));
    assert_eq!(machine.read(&same_tag, PAGE), Ok(old));
    let other_vpid = machine.registers(Some(2), Some(eptp ^ 6));
    assert_eq!(machine.read(&other_vpid, PAGE), Ok(old), "by the guest-physical mapping");
    let made = held(&machine.translator);
    assert!(made.iter().all(|mapping| mapping.ept() == Some(HostPhysicalAddress(eptp & !0xfff))));
}

/// Makes a present entry one that is never cached.
type Spoil = fn(u64) -> u64;

#[test]
fn tlb_tag_no_notpresent() {
    let spoilers: [(&str, Spoil, bool); 5] = [
        ("not present", |entry| entry & !PRESENT, false),
        ("a reserved bit", |entry| entry | 1 << 50, false),
        ("not present in EPT", |entry| entry & !7, true),
        ("a reserved bit in EPT", |entry| entry | 1 << 50, true),
        ("writable and not readable in EPT", |entry| entry & !PRESENT, true),
    ];
    for (name, spoil, in_ept) in spoilers {
        for level in [1, 2, 3, 4] {
            let mut machine = Machine::new();
            let registers = machine.registers(Some(1), Some(machine.eptps[0]));
            let entry = if in_ept {
                entry_at(&machine.world.ram, machine.eptps[0], level, GUEST_PAGE.0)
            } else {
                entry_at(&machine.world.ram, machine.root, level, PAGE.0)
            };
            machine.put(entry, spoil(entry.1));
            machine.read(&registers, PAGE).expect_err(name);
            assert_eq!(held(&machine.translator), HashSet::new(), "{name} at level {level}");
            machine.put(entry, entry.1);
            assert!(
                machine.read(&registers, PAGE).is_ok(),
                "{name} at level {level}: no invalidation was needed"
            );
        }
    }
}

/// The entry of a level for an address, in tables that EPT, if any, maps to themselves.
fn entry_at(ram: &Ram, root: u64, level: u32, address: u64) -> (HostPhysicalAddress, u64) {
    let mut table = root & !0xfff;
    let mut at = 4;
    loop {
        let entry = HostPhysicalAddress(table + 8 * (address >> (3 + 9 * at) & 0x1ff));
        let value = ram.read::<u64>(entry).unwrap();
        if at == level {
            return (entry, value);
        }
        table = value & 0x000f_ffff_ffff_f000;
        at -= 1;
    }
}

#[test]
fn tlb_use_no_cross() {
    for vpid in [None, Some(1)] {
        let mut machine = Machine::new();
        let with_ept = machine.registers(vpid, Some(machine.eptps[0]));
        let without = machine.registers(vpid, None);
        let linear = machine.read(&without, PAGE).unwrap();
        assert_eq!(linear, GUEST_PAGE.0);
        let combined = machine.read(&with_ept, PAGE).unwrap();
        assert_eq!(combined, 0x80_0000, "the linear mapping of the same VPID and PCID is not used");
        assert_eq!(machine.read(&without, PAGE), Ok(linear));
        // Each class holds its own stale translation.
        let leaf = machine.leaf(PAGE);
        machine.put(leaf, leaf.1 ^ 0x4000);
        assert_eq!(machine.read(&without, PAGE), Ok(linear));
        assert_eq!(machine.read(&with_ept, PAGE), Ok(combined));
        let mut unpaged = without;
        unpaged.paging.cr0 &= !Paging::PG;
        unpaged.vmx = VmxOperation::NonRoot { vpid: Some(9), eptp: None };
        let address = LinearAddress(GUEST_PAGE.0);
        assert_eq!(machine.read(&unpaged, address), Ok(address.0), "no guest-physical mapping is used");
    }
}

#[test]
fn tlb_use_dirty() {
    for seed in 0..u64::from(cases().div_ceil(8)) {
        let (mut machine, mut numbers) = (Machine::new(), Numbers(seed));
        let accessed_dirty = machine.eptps[2];
        let leaves = [PAGE, LinearAddress(0x40_1000), LinearAddress(0xe0_0000)];
        for _ in 0..40 {
            let eptp = numbers.pick(&[None, Some(machine.eptps[1]), Some(accessed_dirty)]);
            let registers = machine.registers(Some(1 + numbers.below(2) as u16), eptp);
            let address = numbers.pick(&leaves);
            let kind = numbers.pick(&KINDS);
            if numbers.one_in(8) {
                // The flag is cleared with the invalidations that this needs.
                let leaf = machine.leaf(address);
                machine.put(leaf, leaf.1 & !DIRTY);
                let ept_leaf = machine.ept_leaf(0, GuestPhysicalAddress(leaf.1 & 0x000f_ffff_ffff_f000));
                machine.put(ept_leaf, ept_leaf.1 & !EPT_DIRTY);
                machine.translator.invalidate(mmu::tlb::Invalidation::Everything);
            }
            machine.access(registers.context(Privilege::User), address, kind).unwrap();
            if kind == AccessKind::Write {
                let (_, value) = machine.leaf(address);
                assert_eq!(value & DIRTY, DIRTY, "seed {seed}");
                if eptp == Some(accessed_dirty) {
                    let page = GuestPhysicalAddress(value & 0x000f_ffff_ffff_f000);
                    assert_eq!(machine.ept_leaf(0, page).1 & EPT_DIRTY, EPT_DIRTY, "seed {seed}");
                }
            }
        }
    }
}

#[test]
fn tlb_seam_tag() {
    let mut machine = Machine::new();
    let (shared, private) = (machine.eptps[1], machine.eptps[0]);
    let context = machine.registers(Some(1), Some(shared)).context(Privilege::User);
    let root = HostPhysicalAddress(private & !0xfff);
    let ept = context.ept.map(|ept| EptContext { tagged_with: Some(root), ..ept });
    machine.access(Context { ept, ..context }, PAGE, AccessKind::Read).unwrap();
    let made = held(&machine.translator);
    assert!(made.iter().any(|mapping| mapping.class() == Class::GuestPhysical));
    assert!(made.iter().all(|mapping| mapping.ept() == Some(root)), "{made:?}");
}

/// Where EPT has the root table of the first guest.
fn table_leaf(machine: &mut Machine) -> (HostPhysicalAddress, u64) {
    machine.ept_leaf(0, GuestPhysicalAddress(TABLES))
}

#[test]
fn tlb_ad_pwalk_dirty() {
    let mut machine = Machine::new();
    let (plain, flags) = (machine.eptps[0], machine.eptps[2]);
    let without = machine.registers(Some(1), Some(plain));
    machine.read(&without, PAGE).unwrap();
    assert_eq!(table_leaf(&mut machine).1 & EPT_DIRTY, 0);
    // A read of the page makes the tables dirty and not the page.
    machine.translator.invalidate(mmu::tlb::Invalidation::Everything);
    let with = machine.registers(Some(1), Some(flags));
    machine.read(&with, PAGE).unwrap();
    for level in 1..=4 {
        let table = entry_at(&machine.world.ram, machine.root, level, PAGE.0).0;
        let leaf = machine.ept_leaf(0, GuestPhysicalAddress(table.0 & !0xfff)).1;
        assert_eq!(leaf & EPT_DIRTY, EPT_DIRTY, "the table of level {level}");
    }
    assert_eq!(machine.ept_leaf(0, GUEST_PAGE).1 & EPT_DIRTY, 0);
    // Tables that EPT does not let be written serve without the flags, and not with them.
    machine.translator.invalidate(mmu::tlb::Invalidation::Everything);
    let leaf = table_leaf(&mut machine);
    machine.put(leaf, leaf.1 & !WRITE);
    assert!(machine.read(&without, PAGE).is_ok(), "the accessed flags are set already");
    machine.translator.invalidate(mmu::tlb::Invalidation::Everything);
    let Err(Fault::EptViolation(violation)) = machine.read(&with, PAGE) else { panic!("no violation") };
    assert_eq!(violation.access, EptPermissions::READ | EptPermissions::WRITE);
    assert_eq!(violation.guest_physical.0 & !0xfff, TABLES);
}
