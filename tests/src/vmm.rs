//! A small VMM that is assembled in code, with one guest: for tests of VMX from the inside.
//!
//! The VMM runs in 64-bit mode in the lowest 4 GiB, which are mapped to themselves; so is the guest at first, behind an EPT
//! that maps the same memory to itself. What a test gives is the code of the guest, the code that runs after each VM
//! exit, and changes of the VMCS. The VMM tells values by sending them to the serial port, 8 bytes each.

use crate::serial::Serial;
use iced_x86::IcedError;
use iced_x86::code_asm::*;
use isa::address::HostPhysicalAddress;
use std::error::Error;
use vmx::controls::{
    EntryControls, PinBasedControls, PrimaryExitControls, PrimaryProcessorControls,
    SecondaryProcessorControls as Secondary,
};
use vmx::field::Encoding;
use vmx::sample::{Guest, Sample};
use vmx::vmcs::{REVISION_IDENTIFIER, Vmcs};
use vmxsim::load::{FlatMode, Image, LoadOptions, Piece, Protocol, Start, load};
use vmxsim::machine::report::RunReport;
use vmxsim::machine::{Go, Machine, MachineOptions};

/// Where the VMM begins, and where it goes on after a VM exit.
const VMM: u64 = 0x10_0000;
const AFTER_EXIT: u64 = 0x10_1000;
/// The VMXON region, the VMCS, and the pointers to them.
const VMXON: u64 = 0x11_0000;
const VMCS: u64 = 0x11_1000;
const POINTERS: u64 = 0x11_2000;
/// The stacks of the VMM and of the guest end here.
const STACK: u64 = 0x12_0000;
const GUEST_STACK: u64 = 0x13_0000;
/// Where the guest begins.
pub(crate) const GUEST: u64 = 0x20_0000;
/// The EPT PML4 table; its EPT page-directory-pointer table follows.
pub(crate) const EPT: u64 = 0x14_0000;
/// What the VMM stops with when it could not enter the guest.
pub(crate) const NOT_ENTERED: u32 = 0x3f;

/// A guest, its VMM, and the VMCS between them.
pub(crate) struct Vmm {
    /// The VMCS, complete but for the changes that a test makes.
    pub(crate) vmcs: Vmcs,
    guest: Vec<u8>,
    after_exit: Vec<u8>,
    /// More bytes in memory.
    pub(crate) pieces: Vec<(u64, Vec<u8>)>,
}

/// Assembles code for an address.
///
/// # Errors
///
/// Those of the assembler.
pub(crate) fn assemble(
    at: u64,
    code: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
) -> Result<Vec<u8>, IcedError> {
    let mut assembler = CodeAssembler::new(64)?;
    code(&mut assembler)?;
    assembler.assemble(at)
}

/// Sends a field of the VMCS.
///
/// # Errors
///
/// Those of the assembler.
pub(crate) fn tell(a: &mut CodeAssembler, field: Encoding) -> Result<(), IcedError> {
    a.mov(edx, field.raw())?;
    a.vmread(rbx, rdx)?;
    send(a)
}

/// Sends RBX; RAX, RCX and RDX are used.
///
/// # Errors
///
/// Those of the assembler.
pub(crate) fn send(a: &mut CodeAssembler) -> Result<(), IcedError> {
    let mut next = a.create_label();
    a.mov(edx, 0x3f8)?;
    a.mov(ecx, 8)?;
    a.set_label(&mut next)?;
    a.mov(eax, ebx)?;
    a.out(dx, al)?;
    a.shr(rbx, 8)?;
    a.dec(ecx)?;
    a.jne(next)
}

/// Ends the run.
///
/// # Errors
///
/// Those of the assembler.
pub(crate) fn stop(a: &mut CodeAssembler, code: u32) -> Result<(), IcedError> {
    a.mov(eax, code)?;
    a.out(0xf4, eax)
}

/// Adds to a field of the VMCS.
///
/// # Errors
///
/// Those of the assembler.
pub(crate) fn advance(a: &mut CodeAssembler, field: Encoding, by: i32) -> Result<(), IcedError> {
    a.mov(edx, field.raw())?;
    a.vmread(rbx, rdx)?;
    a.add(rbx, by)?;
    a.vmwrite(rdx, rbx)
}

impl Vmm {
    /// A guest in 64-bit mode at privilege level 0, without EPT, and what its VMM does after a VM exit.
    ///
    /// # Errors
    ///
    /// Those of the assembler.
    pub(crate) fn new(
        guest: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
        after_exit: impl FnOnce(&mut CodeAssembler) -> Result<(), IcedError>,
    ) -> Result<Self, IcedError> {
        let mut vmcs = Sample::of(Guest::Long).vmcs;
        let none = [
            Encoding::ENTRY_MSR_LOAD_COUNT,
            Encoding::EXIT_MSR_LOAD_COUNT,
            Encoding::EXIT_MSR_STORE_COUNT,
            Encoding::GUEST_INTERRUPTIBILITY,
            Encoding::GUEST_PENDING_DEBUG,
            Encoding::CR3_TARGET_COUNT,
            Encoding::EXCEPTION_BITMAP,
            Encoding::INJECTED_EVENT_ID,
            Encoding::CR0_GUEST_HOST_MASK,
            Encoding::CR4_GUEST_HOST_MASK,
        ];
        none.into_iter().for_each(|field| vmcs.write(field, 0));
        let values = [
            (Encoding::GUEST_RIP, GUEST),
            (Encoding::GUEST_RSP, GUEST_STACK),
            (Encoding::HOST_RIP, AFTER_EXIT),
            (Encoding::HOST_RSP, STACK),
            (Encoding::EPTP, EPT | 3 << 3 | 6),
            (Encoding::VPID, 1),
        ];
        values.into_iter().for_each(|(field, value)| vmcs.write(field, value));
        let pin = PinBasedControls::DEFAULT1_BIT_1
            | PinBasedControls::DEFAULT1_BIT_2
            | PinBasedControls::DEFAULT1_BIT_4;
        vmcs.set_controls(pin);
        let optional = PrimaryProcessorControls::from_bits_retain(0x0401_e172);
        vmcs.set_controls(optional | PrimaryProcessorControls::ACTIVATE_SECONDARY_CONTROLS);
        vmcs.set_controls(Secondary::ENABLE_VPID);
        vmcs.set_controls(
            PrimaryExitControls::from_bits_retain(0x3_6dff) | PrimaryExitControls::HOST_ADDRESS_SPACE_SIZE,
        );
        vmcs.set_controls(EntryControls::from_bits_retain(0x11ff) | EntryControls::IA_32E_MODE_GUEST);
        let (guest, after_exit) = (assemble(GUEST, guest)?, assemble(AFTER_EXIT, after_exit)?);
        Ok(Self { vmcs, guest, after_exit, pieces: Vec::new() })
    }

    /// Puts the guest behind an EPT that maps the lowest 4 GiB to themselves in pages of 1 GiB; `entries` replace others
    /// of its tables.
    pub(crate) fn with_ept(&mut self, entries: &[(u64, u64)]) {
        self.vmcs.set_controls(self.vmcs.secondary_processor() | Secondary::ENABLE_EPT);
        let mut tables = vec![0_u64; 1024];
        tables[0] = (EPT + 0x1000) | 7;
        for gigabyte in 0..4 {
            tables[512 + gigabyte] = (gigabyte as u64) << 30 | 0xb7;
        }
        let mut bytes: Vec<u8> = tables.into_iter().flat_map(u64::to_le_bytes).collect();
        for &(at, entry) in entries {
            let at = usize::try_from(at - EPT).unwrap_or(0);
            bytes[at..at + 8].copy_from_slice(&entry.to_le_bytes());
        }
        self.pieces.push((EPT, bytes));
    }

    /// Runs the VMM until it stops, for at most `limit` instructions.
    ///
    /// # Errors
    ///
    /// Those of the machine.
    pub(crate) fn run(&self, limit: u64) -> Result<Outcome, Box<dyn Error>> {
        let options = MachineOptions { memory: 64 << 20, ..MachineOptions::default() };
        let image = Image { name: "vmm".to_owned(), bytes: prologue()? };
        let protocol = Protocol::Flat { address: VMM, mode: FlatMode::Long };
        let mut loaded = load(&image, &LoadOptions { protocol, ..LoadOptions::new(options.memory_map()?) })?;
        let Start::Long { cr3: root, code, data, gdt, .. } = loaded.start else {
            return Err("no 64-bit start".into());
        };
        let mut vmcs = self.vmcs.clone();
        vmcs.write(Encoding::HOST_CR3, root.0);
        if vmcs.read(Encoding::GUEST_CR3) == Sample::of(Guest::Long).vmcs.read(Encoding::GUEST_CR3) {
            vmcs.write(Encoding::GUEST_CR3, root.0);
        }
        for field in [Encoding::HOST_CS_SELECTOR, Encoding::GUEST_CS_SELECTOR] {
            vmcs.write(field, code.selector.into());
        }
        for field in [Encoding::HOST_SS_SELECTOR, Encoding::GUEST_SS_SELECTOR] {
            vmcs.write(field, data.selector.into());
        }
        for (base, limit) in
            [(Encoding::HOST_GDTR_BASE, None), (Encoding::GUEST_GDTR_BASE, Some(Encoding::GUEST_GDTR_LIMIT))]
        {
            vmcs.write(base, gdt.base.0);
            limit.into_iter().for_each(|field| vmcs.write(field, gdt.limit.into()));
        }
        let header = REVISION_IDENTIFIER.to_le_bytes().to_vec();
        let pointers = [VMXON, VMCS].into_iter().flat_map(u64::to_le_bytes).collect();
        let own = [
            (AFTER_EXIT, self.after_exit.clone()),
            (GUEST, self.guest.clone()),
            (VMXON, header),
            (VMCS, vmcs.to_region().to_vec()),
            (POINTERS, pointers),
        ];
        for (address, bytes) in own.into_iter().chain(self.pieces.iter().cloned()) {
            loaded.pieces.push(Piece { address: HostPhysicalAddress(address), bytes, zeros: 0 });
        }
        let serial = Serial::default();
        let mut machine = Machine::new(&options, &loaded, Box::new(serial.clone()))?;
        let report = machine.run(Some(limit), |_, _| Go::On);
        let bytes = serial.bytes();
        let told = bytes
            .chunks_exact(8)
            .map(|chunk| chunk.iter().rev().fold(0, |value, &byte| value << 8 | u64::from(byte)));
        Ok(Outcome { report, told: told.collect() })
    }
}

/// What came of a run.
pub(crate) struct Outcome {
    /// The report of the machine.
    pub(crate) report: RunReport,
    /// The values that the VMM has sent.
    pub(crate) told: Vec<u64>,
}

/// Enables VMX, and enters the guest.
fn prologue() -> Result<Vec<u8>, IcedError> {
    assemble(VMM, |a| {
        a.mov(rsp, STACK)?;
        a.mov(ecx, 0x3a)?;
        a.mov(eax, 5)?; // locked, VMXON outside SMX operation
        a.xor(edx, edx)?;
        a.wrmsr()?;
        a.mov(rax, cr4)?;
        a.or(eax, 0x2000)?; // VMXE
        a.mov(cr4, rax)?;
        a.mov(rax, cr0)?;
        a.or(eax, 0x20)?; // NE
        a.mov(cr0, rax)?;
        a.vmxon(qword_ptr(POINTERS))?;
        a.vmptrld(qword_ptr(POINTERS + 8))?;
        a.vmlaunch()?;
        tell(a, Encoding::VM_INSTRUCTION_ERROR)?;
        stop(a, NOT_ENTERED)
    })
}
