//! When the PDPTE registers are loaded, and from where.

use super::common::{Numbers, cases};
use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress};
use mmu::ept::{EptLevels, EptPermissions};
use mmu::operation::{Entry, Exit, Operation, Paging, Refusal, Registers, Smm, VmxOperation};
use mmu::tables::{EptTables, FrameAllocator};
use mmu::{Fault, PageSize, PagingMode, Privilege, Ram, Translator};

/// Two tables of PDPTEs, 32 bytes each; behind EPT they are a page further on.
const TABLES: [u64; 2] = [0x8020, 0x8040];
const BEHIND_EPT: u64 = 0x1000;

struct Machine {
    ram: Ram,
    ept: EptTables,
    serial: u64,
}

impl Machine {
    fn new() -> Self {
        let ram = Ram::new(0x10000).unwrap();
        let frames = FrameAllocator::new(HostPhysicalAddress(0), 4);
        let mut ept = EptTables::new(&ram, EptLevels::Four, frames).unwrap();
        let (page, host) = (GuestPhysicalAddress(0x8000), HostPhysicalAddress(0x8000 + BEHIND_EPT));
        ept.map(&ram, page, host, 0x1000, PageSize::Size4K, EptPermissions::READ).unwrap();
        Self { ram, ept, serial: 0 }
    }

    /// Puts something new into every table; returns what the first has, without and with EPT.
    fn change(&mut self) {
        self.serial += 1;
        for table in TABLES {
            for behind in [0, BEHIND_EPT] {
                for number in 0..4 {
                    let at = table + behind + 8 * number;
                    self.ram.write(HostPhysicalAddress(at), self.serial << 20 | at << 12 | 1).unwrap();
                }
            }
        }
    }

    fn table(&self, cr3: u64, ept: bool) -> [u64; 4] {
        let table = cr3 & 0xffff_ffe0;
        let table = if ept { table + BEHIND_EPT } else { table };
        [0, 8, 16, 24].map(|offset| self.ram.read::<u64>(HostPhysicalAddress(table + offset)).unwrap())
    }

    fn eptp(&self) -> u64 {
        self.ept.context().root.0 | 0x5e
    }
}

fn pae(numbers: &mut Numbers) -> Paging {
    let cr4 = Paging::PAE | numbers.pick(&[0, Paging::PGE, Paging::SMEP, Paging::PSE]);
    let mut paging = Paging { cr0: Paging::PE | Paging::PG, cr3: numbers.pick(&TABLES), cr4, efer: 0 };
    match numbers.below(6) {
        0 => paging.cr0 &= !Paging::PG,
        1 => paging.cr4 &= !Paging::PAE,
        _ => {}
    }
    paging
}

fn operation(numbers: &mut Numbers, registers: &Registers, eptp: u64) -> Operation {
    let Paging { cr0, cr3, cr4, .. } = registers.paging;
    let entry = Entry {
        vpid: Some(1),
        eptp: numbers.one_in(2).then_some(eptp),
        paging: pae(numbers),
        pdptes: [numbers.next(); 4],
        ..Entry::default()
    };
    match numbers.below(14) {
        0 => Operation::MovToCr0(cr0 ^ numbers.pick(&[Paging::PG, Paging::CD, Paging::NW, Paging::WP, 0])),
        1 => {
            let bits = [Paging::PAE, Paging::PGE, Paging::PSE, Paging::SMEP, Paging::SMAP, 0];
            Operation::MovToCr4(cr4 ^ numbers.pick(&bits))
        }
        2 | 3 => Operation::MovToCr3(numbers.pick(&TABLES)),
        4 => Operation::TaskSwitch { cr3: numbers.pick(&[TABLES[0], TABLES[1], cr3]) },
        5 | 6 => Operation::VmEntry(entry),
        7 => Operation::VmExit(Exit { paging: pae(numbers), ..Exit::default() }),
        8 => Operation::EptpSwitch { eptp },
        9 => Operation::Smi,
        10 => Operation::Rsm(pae(numbers)),
        11 => Operation::SmmVmExit(pae(numbers)),
        12 => Operation::SmmReturn(entry),
        _ => {
            numbers.pick(&[Operation::Invlpg(Default::default()), Operation::VmxOnOff, Operation::CacheFlush])
        }
    }
}

/// Where an operation takes PDPTEs from.
#[derive(Debug, PartialEq)]
enum Source {
    Kept,
    Memory,
    Given([u64; 4]),
}

/// The list of SDM 5.4.1, and the transitions of 29.3.2.4, 30.5.4 and 34.14.2.
fn source(operation: &Operation, before: &Registers, after: &Registers) -> Source {
    let in_use = |paging: &Paging| {
        paging.cr0 & Paging::PG != 0 && paging.cr4 & Paging::PAE != 0 && paging.efer & Paging::LME == 0
    };
    if !in_use(&after.paging) && !matches!(operation, Operation::Rsm(_)) {
        return Source::Kept;
    }
    let changed = |one: u64, other: u64, bits: u64| (one ^ other) & bits != 0;
    let (old, new) = (&before.paging, &after.paging);
    let cr0 = changed(old.cr0, new.cr0, Paging::CD | Paging::NW | Paging::PG);
    let cr4 = changed(old.cr4, new.cr4, Paging::PAE | Paging::PGE | Paging::PSE | Paging::SMEP);
    let loads = match operation {
        Operation::MovToCr0(_) => cr0,
        Operation::MovToCr4(_) => cr4,
        Operation::MovToCr3(_) | Operation::VmExit(_) | Operation::SmmVmExit(_) => true,
        Operation::TaskSwitch { .. } => old.cr3 != new.cr3,
        Operation::VmEntry(Entry { eptp: Some(_), pdptes, .. }) => return Source::Given(*pdptes),
        Operation::SmmReturn(Entry { eptp: Some(_), pdptes, .. }) if after.eptp().is_some() => {
            return Source::Given(*pdptes);
        }
        Operation::VmEntry(_) | Operation::SmmReturn(_) => true,
        Operation::Rsm(_) => {
            let Smm::Default { pdptes, .. } = before.smm else { panic!("{before:?}") };
            if after.eptp().is_some() {
                return Source::Given(pdptes);
            }
            in_use(new)
        }
        _ => false,
    };
    if loads { Source::Memory } else { Source::Kept }
}

/// The registers after random operations while memory changes all the time; `look` sees each operation.
fn run(seed: u64, mut look: impl FnMut(&Machine, &Operation, &Registers, &Registers)) {
    let (mut machine, mut numbers) = (Machine::new(), Numbers(seed));
    machine.change();
    let mut registers = Registers::root(pae(&mut numbers));
    for _ in 0..100 {
        machine.change();
        let operation = operation(&mut numbers, &registers, machine.eptp());
        let performed = registers.perform(&machine.ram, &operation);
        match performed.refusal {
            None => look(&machine, &operation, &performed.before, &performed.after),
            Some(refusal) => assert_eq!(refusal, Refusal::Mode, "{operation:?}"),
        }
    }
}

#[test]
fn tlb_op_pdpte() {
    let mut loads = 0;
    for seed in 0..u64::from(cases()) {
        run(seed, |machine, operation, before, after| {
            let expected = match source(operation, before, after) {
                Source::Kept if matches!(operation, Operation::Reset | Operation::Init) => [0; 4],
                Source::Kept => before.pdptes,
                Source::Memory => machine.table(after.paging.cr3, after.eptp().is_some()),
                Source::Given(pdptes) => pdptes,
            };
            loads += u32::from(source(operation, before, after) == Source::Memory);
            assert_eq!(after.pdptes, expected, "seed {seed}: {operation:?} {before:?}");
        });
    }
    assert!(loads > 100);
}

#[test]
fn tlb_vmfunc_pdpte() {
    let mut switches = 0;
    for seed in 0..u64::from(cases()) {
        run(seed, |_, operation, before, after| {
            if let Operation::EptpSwitch { eptp } = *operation {
                assert_eq!(after.pdptes, before.pdptes);
                assert_eq!(after.eptp(), Some(eptp));
                switches += 1;
            }
        });
    }
    assert!(switches > 100);
}

#[test]
fn a_pdpte_that_cannot_be_loaded_refuses_the_operation() {
    let mut machine = Machine::new();
    machine.change();
    let paging = Paging { cr0: Paging::PE | Paging::PG, cr3: TABLES[0], cr4: Paging::PAE, efer: 0 };
    let mut registers = Registers::outside(paging);
    let load = Operation::MovToCr3(TABLES[1]);
    for bit in [1, 2, 5, 6, 7, 8, 46, 52, 63] {
        let at = HostPhysicalAddress(TABLES[1] + 16);
        machine.ram.write(at, 1_u64 | 1 << bit).unwrap();
        let performed = registers.perform(&machine.ram, &load);
        assert_eq!(performed.refusal, Some(Refusal::Pdpte { number: 2 }), "bit {bit}");
        assert_eq!(registers, Registers::outside(paging));
        assert!(performed.invalidations.is_empty());
        // The bits of an entry that is not present do not matter.
        machine.ram.write(at, 1_u64 << bit).unwrap();
        assert_eq!(registers.clone().perform(&machine.ram, &load).refusal, None, "bit {bit}");
    }
    let vmx = VmxOperation::NonRoot { vpid: None, eptp: Some(machine.eptp()) };
    registers.vmx = vmx;
    let before = registers;
    let performed = registers.perform(&machine.ram, &Operation::MovToCr3(0x9000));
    assert!(matches!(performed.refusal, Some(Refusal::PdpteLoad(Fault::EptViolation(_)))));
    assert_eq!(registers, before);
    // Loads by MOV are reads for EPT, which has the table readable only, and set no dirty flag.
    assert_eq!(registers.perform(&machine.ram, &load).refusal, None);
    let leaf = machine.ept.leaf(&machine.ram, GuestPhysicalAddress(0x8000)).unwrap().unwrap();
    assert_eq!(leaf.value & 0x300, 0x100, "accessed and not dirty");
}

#[test]
fn accesses_use_the_registers_until_an_operation_loads_them() {
    let ram = Ram::new(0x10000).unwrap();
    let write = |at: u64, entry: u64| ram.write(HostPhysicalAddress(at), entry).unwrap();
    // Two page directories, each with a table and a page of its own at linear address 0.
    for (directory, table, page) in [(0x1000, 0x2000, 0xa000), (0x3000, 0x4000, 0xb000)] {
        write(directory, table | 7);
        write(table, page | 7);
    }
    write(TABLES[0], 0x1000 | 1);
    let paging = Paging { cr0: Paging::PE | Paging::PG, cr3: 0, cr4: Paging::PAE, efer: 0 };
    let mut registers = Registers::outside(paging);
    let mut translator = Translator::new(&super::world::ample()).unwrap();
    let mut read = |registers: &Registers| {
        translator.invalidate(mmu::tlb::Invalidation::Everything);
        translator.set_context(registers.context(Privilege::User));
        let found = translator.translate(&ram, Default::default(), AccessKind::Read, &mut ());
        found.map(|found| found.translation.host_physical.0)
    };
    registers.perform(&ram, &Operation::MovToCr3(TABLES[0]));
    assert_eq!(registers.context(Privilege::User).mode, PagingMode::Pae);
    assert_eq!(read(&registers), Ok(0xa000));
    write(TABLES[0], 0x3000 | 1);
    registers.perform(&ram, &Operation::Invlpg(Default::default()));
    registers.perform(&ram, &Operation::MovToCr4(Paging::PAE | Paging::SMAP));
    assert_eq!(read(&registers), Ok(0xa000), "no invalidation of mappings loads the registers");
    registers.perform(&ram, &Operation::MovToCr4(Paging::PAE | Paging::PGE));
    assert_eq!(read(&registers), Ok(0xb000));
}
