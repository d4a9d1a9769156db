//! The guest loops that engines are compared on.
//!
//! Each starts at [`CODE`] with the number of iterations in R15 and ends in front of its last
//! byte, a HLT. A loop executes the same instructions on every engine, so one that cannot count them is timed against
//! the count of one that can.

use crate::machine::{CODE, DATA, DATA_BYTES};
use iced_x86::IcedError;
use iced_x86::code_asm::*;

/// A loop with its name.
pub struct Loop {
    /// What it exercises.
    pub name: &'static str,
    /// Its code.
    pub code: Vec<u8>,
    /// Iterations that take some tenths of a second.
    pub iterations: u64,
}

/// All loops.
///
/// # Errors
///
/// Those of the assembler.
pub fn all() -> Result<Vec<Loop>, IcedError> {
    Ok(vec![
        Loop { name: "register-only", code: assemble(register_only)?, iterations: 20_000_000 },
        Loop { name: "mixed", code: assemble(mixed)?, iterations: 8_000_000 },
        Loop { name: "sse2", code: assemble(sse2)?, iterations: 8_000_000 },
        Loop { name: "tlb-thrashing", code: assemble(tlb_thrashing)?, iterations: 200 },
    ])
}

/// Puts the body into a loop of R15 iterations; `prologue` of the body runs once.
fn assemble(
    body: fn(&mut CodeAssembler, &mut CodeLabel) -> Result<(), IcedError>,
) -> Result<Vec<u8>, IcedError> {
    let mut a = CodeAssembler::new(64)?;
    let mut again = a.create_label();
    body(&mut a, &mut again)?;
    a.dec(r15)?;
    a.jne(again)?;
    a.hlt()?;
    a.assemble(CODE)
}

fn register_only(a: &mut CodeAssembler, again: &mut CodeLabel) -> Result<(), IcedError> {
    a.set_label(again)?;
    a.add(rax, rcx)?;
    a.xor(rdx, rax)?;
    a.lea(rbx, ptr(rax + rdx * 2))?;
    a.sub(rsi, rbx)?;
    a.shl(rdx, 3)?;
    a.mov(rdi, rsi)?;
    a.and(edx, 0x00ff_ffff)?;
    a.imul_2(rdi, rbx)
}

/// Loads, stores, calls and branches that go both ways.
fn mixed(a: &mut CodeAssembler, again: &mut CodeLabel) -> Result<(), IcedError> {
    let (mut skip, mut function, mut start) = (a.create_label(), a.create_label(), a.create_label());
    a.mov(rsi, DATA)?;
    a.jmp(start)?;
    a.set_label(&mut function)?;
    a.push(rbx)?;
    a.lea(rdx, ptr(rdx + rcx))?;
    a.xor(rdx, rax)?;
    a.pop(rbx)?;
    a.ret()?;
    a.set_label(again)?;
    a.mov(rax, qword_ptr(rsi + rcx * 8))?;
    a.set_label(&mut start)?;
    a.add(rax, rdx)?;
    a.mov(qword_ptr(rsi + rcx * 8 + 0x8000), rax)?;
    a.call(function)?;
    a.test(eax, 1)?;
    a.je(skip)?;
    a.inc(ebx)?;
    a.add(qword_ptr(rsi + 0x1_0000), rbx)?;
    a.set_label(&mut skip)?;
    a.add(ecx, 1)?;
    a.and(ecx, 1023)
}

fn sse2(a: &mut CodeAssembler, again: &mut CodeLabel) -> Result<(), IcedError> {
    a.mov(rsi, DATA)?;
    a.mov(eax, 3)?;
    a.cvtsi2sd(xmm4, eax)?;
    a.unpcklpd(xmm4, xmm4)?;
    a.set_label(again)?;
    a.movdqa(xmm0, ptr(rsi + rcx))?;
    a.paddd(xmm0, xmm1)?;
    a.pxor(xmm1, xmm0)?;
    a.pshufd(xmm2, xmm0, 0x1b)?;
    a.movapd(xmm5, xmm4)?;
    a.mulpd(xmm5, xmm4)?;
    a.addpd(xmm3, xmm5)?;
    a.movdqa(ptr(rsi + rcx + 0x4000), xmm2)?;
    a.add(ecx, 16)?;
    a.and(ecx, 0x3ff0)
}

/// One load and one store on each page of more pages than any TLB holds.
fn tlb_thrashing(a: &mut CodeAssembler, again: &mut CodeLabel) -> Result<(), IcedError> {
    let mut inside = a.create_label();
    a.set_label(again)?;
    a.mov(rsi, DATA)?;
    a.mov(ecx, u32::try_from(DATA_BYTES / 0x1040 - 1).unwrap_or(0))?;
    a.set_label(&mut inside)?;
    a.mov(rax, qword_ptr(rsi))?;
    a.add(rax, rcx)?;
    a.mov(qword_ptr(rsi + 8), rax)?;
    a.add(rsi, 0x1040)?;
    a.dec(ecx)?;
    a.jne(inside)
}
