//! The guest loops as software of a whole machine: 64-bit mode, 4-KByte pages, and the timer of the local APIC ticking.

use crate::loops::Loop;
use crate::machine::CODE;
use iced_x86::IcedError;
use iced_x86::code_asm::*;
use isa::address::HostPhysicalAddress;
use std::error::Error;
use vmxsim::load::{FlatMode, Image, LoadOptions, Loaded, Piece, Protocol, Start, load};
use vmxsim::machine::report::{RunReport, StopKind};
use vmxsim::machine::{Machine, MachineOptions};

/// Ticks of the clock between two interrupts: at one instruction a tick, a thousand instructions in a microsecond, as
/// if a kernel had a timer of 10 kHz.
const PERIOD: u32 = 100_000;
const MEMORY: u64 = 512 << 20;
/// What runs before the loop, on the page in front of it.
const PROLOGUE: u64 = CODE - 0x1000;
const IDT: u64 = CODE - 0x2000;
/// How often the timer has ticked.
const TICKS: u64 = CODE - 0x2100;
const STACK: u64 = CODE - 0x3000;
const TABLES: u64 = 0x1900_0000;
const LOCAL_APIC: u64 = 0xfee0_0000;
const VECTOR: u8 = 0x20;
const DEBUG_EXIT: u32 = 0xf4;

/// Runs a loop as the only software of a machine.
///
/// # Errors
///
/// Those of the machine; also a run that ends otherwise than it should.
pub fn run(guest: &Loop) -> Result<RunReport, Box<dyn Error>> {
    let options = MachineOptions { memory: MEMORY, ..MachineOptions::default() };
    let loaded = image(guest, &options)?;
    let mut machine = Machine::new(&options, &loaded, Box::new(std::io::sink()))?;
    let report = machine.run(None, |_, _| vmxsim::machine::Go::On);
    if report.stop.kind == StopKind::DebugExit {
        Ok(report)
    } else {
        Err(format!("{} ended with {:?}", guest.name, report.stop).into())
    }
}

/// The image in RAM, on page tables of its own.
fn image(guest: &Loop, options: &MachineOptions) -> Result<Loaded, Box<dyn Error>> {
    let (mut bytes, handler) = prologue(guest.iterations)?;
    bytes.resize(0x1000, 0xcc);
    bytes.extend_from_slice(&guest.code);
    // The HLT of the loop waits for the next tick.
    bytes.extend_from_slice(&[0xe6, DEBUG_EXIT as u8]); // out 0xf4,al
    let image = Image { name: guest.name.to_owned(), bytes };
    let protocol = Protocol::Flat { address: PROLOGUE, mode: FlatMode::Long };
    let mut loaded = load(&image, &LoadOptions { protocol, ..LoadOptions::new(options.memory_map()?) })?;
    let Start::Long { cr3: root, code, .. } = &mut loaded.start else {
        return Err("no 64-bit start".into());
    };
    *root = HostPhysicalAddress(TABLES);
    let idt = idt(handler, code.selector);
    for (address, bytes) in [(IDT, idt), (TABLES, tables())] {
        loaded.pieces.push(Piece { address: HostPhysicalAddress(address), bytes, zeros: 0 });
    }
    Ok(loaded)
}

/// The code that starts the timer and goes to the loop, and the address of the handler.
fn prologue(iterations: u64) -> Result<(Vec<u8>, u64), IcedError> {
    let mut a = CodeAssembler::new(64)?;
    let (mut handler, mut descriptor, mut start) = (a.create_label(), a.create_label(), a.create_label());
    a.jmp(start)?;
    a.set_label(&mut descriptor)?;
    a.dw(&[0xfff])?;
    a.dq(&[IDT])?;
    a.set_label(&mut handler)?;
    a.push(rax)?;
    a.inc(qword_ptr(TICKS))?;
    a.mov(eax, LOCAL_APIC as u32)?;
    a.mov(dword_ptr(rax + 0xb0), 0)?;
    a.pop(rax)?;
    a.iretq()?;
    a.set_label(&mut start)?;
    a.mov(rsp, STACK)?;
    a.lidt(ptr(descriptor))?;
    a.mov(rax, cr4)?;
    a.or(eax, 0x600)?; // OSFXSR, OSXMMEXCPT
    a.mov(cr4, rax)?;
    a.mov(ebx, LOCAL_APIC as u32)?;
    for (register, value) in
        [(0xf0, 0x1ff), (0x3e0, 0xb), (0x320, 0x2_0000 | u32::from(VECTOR)), (0x380, PERIOD)]
    {
        a.mov(dword_ptr(rbx + register), value)?;
    }
    a.mov(r15, iterations)?;
    a.xor(ecx, ecx)?;
    a.sti()?;
    a.jmp(CODE)?;
    let options = iced_x86::BlockEncoderOptions::RETURN_NEW_INSTRUCTION_OFFSETS;
    let assembled = a.assemble_options(PROLOGUE, options)?;
    let handler = assembled.label_ip(&handler)?;
    Ok((assembled.inner.code_buffer, handler))
}

/// An IDT whose gates all lead to one handler.
fn idt(handler: u64, selector: u16) -> Vec<u8> {
    let low = handler & 0xffff | u64::from(selector) << 16 | 0x8e00 << 32 | (handler >> 16 & 0xffff) << 48;
    (0..256).flat_map(|_| [low, handler >> 32]).flat_map(u64::to_le_bytes).collect()
}

/// Page tables that map memory to itself in pages of 4 KByte, and the local APIC in one of 2 MByte.
fn tables() -> Vec<u8> {
    const ENTRIES: u64 = 512;
    const PRESENT_WRITABLE: u64 = 3;
    let table = |number: u64| (TABLES + number * 0x1000) | PRESENT_WRITABLE;
    let pages = MEMORY >> 12;
    let mut entries = vec![0; (4 * ENTRIES + pages) as usize];
    let mut put = |table: u64, index: u64, value| entries[(table * ENTRIES + index) as usize] = value;
    put(0, 0, table(1));
    put(1, 0, table(2));
    put(1, LOCAL_APIC >> 30, table(3));
    put(3, LOCAL_APIC >> 21 & 511, LOCAL_APIC | 1 << 7 | 1 << 4 | PRESENT_WRITABLE);
    for page in 0..pages {
        put(2, page / ENTRIES, table(4 + page / ENTRIES));
        put(4 + page / ENTRIES, page % ENTRIES, page << 12 | PRESENT_WRITABLE);
    }
    entries.iter().flat_map(|entry: &u64| entry.to_le_bytes()).collect()
}
