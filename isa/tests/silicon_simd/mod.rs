//! Runs single instructions on the processor of an x86-64 host.
#![allow(unsafe_code, reason = "machine code is called")]
#![allow(clippy::unwrap_used, reason = "tests")]

use memmap2::{Mmap, MmapMut};

/// The registers an instruction sees and leaves.
#[repr(C, align(16))]
#[derive(Clone, Debug)]
pub(crate) struct Context {
    /// By number; RSP is neither loaded nor stored.
    pub(crate) gpr: [u64; 16],
    pub(crate) rflags: u64,
    /// Keeps `xmm` where the code below expects it.
    pub(crate) unused: u64,
    pub(crate) xmm: [u128; 16],
}

/// Bytes between the starts of two instructions of [`Code`].
const SLOT: usize = 32;

/// Executable instructions, each followed by a return.
pub(crate) struct Code(Mmap);

impl Code {
    /// Makes instructions executable.
    pub(crate) fn new(instructions: &[Vec<u8>]) -> Self {
        let mut page = MmapMut::map_anon(SLOT * instructions.len().max(1)).unwrap();
        for (slot, bytes) in page.chunks_mut(SLOT).zip(instructions) {
            assert!(bytes.len() < SLOT, "an instruction has at most 15 bytes");
            slot[..bytes.len()].copy_from_slice(bytes);
            slot[bytes.len()] = 0xc3;
        }
        Self(page.make_exec().unwrap())
    }

    /// Executes one of the instructions.
    ///
    /// # Safety
    /// The instruction must leave RSP, the stack and memory that is not the caller's alone, and must not fault.
    pub(crate) unsafe fn run(&self, instruction: usize, context: &mut Context) {
        let code = self.0[SLOT * instruction..].as_ptr();
        // SAFETY: `code` is an executable instruction with a return after it; the caller vouches for its effect.
        unsafe { run(context, code) }
    }
}

/// Loads the registers from `context`, calls `code`, and stores them back.
#[unsafe(naked)]
unsafe extern "sysv64" fn run(context: *mut Context, code: *const u8) {
    core::arch::naked_asm!(
        "push rbx; push rbp; push r12; push r13; push r14; push r15",
        "push rdi; push rsi",
        "movups xmm0, [rdi+144]; movups xmm1, [rdi+160]; movups xmm2, [rdi+176]; movups xmm3, [rdi+192]",
        "movups xmm4, [rdi+208]; movups xmm5, [rdi+224]; movups xmm6, [rdi+240]; movups xmm7, [rdi+256]",
        "movups xmm8, [rdi+272]; movups xmm9, [rdi+288]; movups xmm10, [rdi+304]; movups xmm11, [rdi+320]",
        "movups xmm12, [rdi+336]; movups xmm13, [rdi+352]; movups xmm14, [rdi+368]; movups xmm15, [rdi+384]",
        "push qword ptr [rdi+128]; popfq",
        "mov rax, [rdi]; mov rcx, [rdi+8]; mov rdx, [rdi+16]; mov rbx, [rdi+24]; mov rbp, [rdi+40]",
        "mov rsi, [rdi+48]; mov r8, [rdi+64]; mov r9, [rdi+72]; mov r10, [rdi+80]; mov r11, [rdi+88]",
        "mov r12, [rdi+96]; mov r13, [rdi+104]; mov r14, [rdi+112]; mov r15, [rdi+120]; mov rdi, [rdi+56]",
        "call [rsp]",
        "xchg rdi, [rsp+8]",
        "mov [rdi], rax; mov [rdi+8], rcx; mov [rdi+16], rdx; mov [rdi+24], rbx; mov [rdi+40], rbp",
        "mov [rdi+48], rsi; mov [rdi+64], r8; mov [rdi+72], r9; mov [rdi+80], r10; mov [rdi+88], r11",
        "mov [rdi+96], r12; mov [rdi+104], r13; mov [rdi+112], r14; mov [rdi+120], r15",
        "mov rax, [rsp+8]; mov [rdi+56], rax",
        "pushfq; pop qword ptr [rdi+128]; cld",
        "movups [rdi+144], xmm0; movups [rdi+160], xmm1; movups [rdi+176], xmm2; movups [rdi+192], xmm3",
        "movups [rdi+208], xmm4; movups [rdi+224], xmm5; movups [rdi+240], xmm6; movups [rdi+256], xmm7",
        "movups [rdi+272], xmm8; movups [rdi+288], xmm9; movups [rdi+304], xmm10; movups [rdi+320], xmm11",
        "movups [rdi+336], xmm12; movups [rdi+352], xmm13; movups [rdi+368], xmm14; movups [rdi+384], xmm15",
        "add rsp, 16",
        "pop r15; pop r14; pop r13; pop r12; pop rbp; pop rbx",
        "ret",
    )
}
