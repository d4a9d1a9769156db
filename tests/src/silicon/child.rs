//! The process that executes cases.
//!
//! Every case starts and ends in a signal handler: a case ends at HLT or at a fault, both are signals; the handler
//! stores what the kernel saved, puts the next case's registers in its place and returns. So the state is complete and
//! no instruction of ours runs between a case and its end.
#![allow(unsafe_code, reason = "system calls, and the state of an interrupted context")]

use super::shared::{BASE, CODE_SIZE, HLT, IMAGE, Input, LINE, LINES, Line, Output, SIZE, Shared};
use core::ffi::{c_int, c_void};
use core::ptr::{addr_of_mut, copy_nonoverlapping, null_mut};
use core::sync::atomic::Ordering;

/// Places of the general-purpose registers, in encoding order, in the saved context.
const PLACES: [usize; 16] = [13, 14, 12, 11, 15, 10, 9, 8, 0, 1, 2, 3, 4, 5, 6, 7];
const RIP: usize = 16;
const RFLAGS: usize = 17;
/// CS in the low and SS in the high 16 bits.
const SELECTORS: usize = 18;
const ERROR_CODE: usize = 19;
const VECTOR: usize = 20;
const CR2: usize = 22;
/// Where MXCSR_MASK is in the image: the kernel's business.
const MXCSR_MASK: core::ops::Range<usize> = 28..32;
/// Where the XSAVE header begins after the FXSAVE area.
const XSTATE_BV: usize = 512;
/// Processor time after which a round trip is given up.
const SECONDS: i64 = 2;
/// Lines that must be free before a case.
const LINES_OF_A_CASE: usize = SIZE / LINE;

/// What the handler knows; the child has one thread.
struct Worker {
    shared: *mut Shared,
    /// Registers of the loop that waits for work, while cases run.
    waiting: Option<([i64; 23], [u8; IMAGE])>,
    lines: usize,
    has_bases: bool,
    fs_base: u64,
    gs_base: u64,
}

static mut WORKER: Worker =
    Worker { shared: null_mut(), waiting: None, lines: 0, has_bases: false, fs_base: 0, gs_base: 0 };
static mut STACK: [u8; 1 << 16] = [0; 1 << 16];

/// Whether FS and GS bases can be read and written at user level (bit 1 of AT_HWCAP2).
pub(crate) fn has_bases() -> bool {
    // SAFETY: reads the auxiliary vector.
    unsafe { libc::getauxval(libc::AT_HWCAP2) & 2 != 0 }
}

/// Answers round trips until the parent is gone.
///
/// # Safety
/// Is called in a new process, with the shared memory of `memory` at `shared`.
pub(crate) unsafe fn serve(shared: *mut Shared, memory: c_int, requests: c_int, answers: c_int) -> ! {
    // SAFETY: the process is ours alone, and calls nothing that allocates or locks.
    unsafe {
        let worker = addr_of_mut!(WORKER);
        (*worker).shared = shared;
        (*worker).has_bases = has_bases();
        let mut ready = u8::from(prepare(memory));
        loop {
            if libc::write(answers, (&raw const ready).cast(), 1) != 1 || ready == 0 {
                libc::_exit(1);
            }
            if libc::read(requests, (&raw mut ready).cast(), 1) != 1 {
                libc::_exit(0);
            }
            limit(SECONDS);
            core::arch::asm!("hlt");
            limit(0);
        }
    }
}

/// Maps the area where instructions expect it and installs the handler.
unsafe fn prepare(memory: c_int) -> bool {
    // SAFETY: the addresses are free, or the calls fail.
    unsafe {
        libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL);
        let map = |offset: usize, bytes: usize, protection: c_int| {
            let address = core::ptr::without_provenance_mut(BASE as usize + offset);
            let flags = libc::MAP_SHARED | libc::MAP_FIXED_NOREPLACE;
            libc::mmap(address, bytes, protection, flags, memory, offset as i64) == address
        };
        if !map(0, CODE_SIZE, libc::PROT_READ | libc::PROT_EXEC)
            || !map(CODE_SIZE, SIZE - CODE_SIZE, libc::PROT_READ | libc::PROT_WRITE)
        {
            return false;
        }
        let stack = libc::stack_t { ss_sp: (&raw mut STACK).cast(), ss_flags: 0, ss_size: 1 << 16 };
        if libc::sigaltstack(&raw const stack, null_mut()) != 0 {
            return false;
        }
        // Without it 16-bit code ends the process at its first instruction.
        install_segments();
        let mut action: libc::sigaction = core::mem::zeroed();
        action.sa_sigaction = on_signal as *const () as usize;
        action.sa_flags = libc::SA_SIGINFO | libc::SA_ONSTACK;
        libc::sigemptyset(&raw mut action.sa_mask);
        libc::sigprocmask(libc::SIG_SETMASK, &raw const action.sa_mask, null_mut());
        [libc::SIGSEGV, libc::SIGBUS, libc::SIGILL, libc::SIGFPE, libc::SIGTRAP]
            .into_iter()
            .all(|signal| libc::sigaction(signal, &raw const action, null_mut()) == 0)
    }
}

/// Makes a code and a data segment of 16 bits that cover the area: entries 0 and 1 of the local descriptor table.
unsafe fn install_segments() {
    const DATA: u32 = 0;
    const CODE: u32 = 2;
    const WRITE: c_int = 1;
    for (entry, contents) in [(0, CODE), (1, DATA)] {
        let base = u32::try_from(BASE).unwrap_or(0);
        // Entry, base, limit, and the kind of segment with a bit that says it is usable.
        let description = [entry, base, 0xffff, contents << 1 | 1 << 6];
        // SAFETY: the kernel reads the 16 bytes.
        unsafe { libc::syscall(libc::SYS_modify_ldt, WRITE, description.as_ptr(), 16_usize) };
    }
}

/// The process is killed by SIGVTALRM after this much processor time; 0 takes the limit back.
unsafe fn limit(seconds: i64) {
    let zero = libc::timeval { tv_sec: 0, tv_usec: 0 };
    let timer =
        libc::itimerval { it_interval: zero, it_value: libc::timeval { tv_sec: seconds, tv_usec: 0 } };
    // SAFETY: sets a timer.
    unsafe { libc::setitimer(libc::ITIMER_VIRTUAL, &raw const timer, null_mut()) };
}

extern "C" fn on_signal(_: c_int, _: *mut libc::siginfo_t, context: *mut c_void) {
    // SAFETY: the kernel passes a context; the handler is not entered twice, because all its signals are fatal within it.
    unsafe {
        // A case may have left AC, NT and ID set, which the kernel would take over into the next.
        core::arch::asm!("push 2", "popfq");
        let worker = &mut *addr_of_mut!(WORKER);
        let machine = &mut (*context.cast::<libc::ucontext_t>()).uc_mcontext;
        let image = machine.fpregs.cast::<u8>();
        let shared = worker.shared;
        let mut next = 0;
        if worker.waiting.is_none() {
            start(worker, &machine.gregs, image);
        } else {
            let done = (*shared).done.load(Ordering::Relaxed) as usize;
            finish(worker, done, &machine.gregs, image);
            next = done + 1;
            (*shared).done.store(u32::try_from(next).unwrap_or(0), Ordering::Relaxed);
        }
        let count = (*shared).count.load(Ordering::Relaxed) as usize;
        if next < count && worker.lines + LINES_OF_A_CASE <= LINES {
            let input = &(*shared).inputs[next];
            place_memory(shared, input);
            load(worker, input, &mut machine.gregs, image);
        } else {
            stop(worker, &mut machine.gregs, image);
        }
    }
}

/// Remembers the waiting loop.
unsafe fn start(worker: &mut Worker, gregs: &[i64; 23], image: *const u8) {
    let mut saved = [0; IMAGE];
    // SAFETY: the image has more than IMAGE bytes.
    unsafe {
        copy_nonoverlapping(image, saved.as_mut_ptr(), IMAGE);
        (*worker.shared).done.store(0, Ordering::Relaxed);
        if worker.has_bases {
            (worker.fs_base, worker.gs_base) = bases();
        }
    }
    worker.waiting = Some((*gregs, saved));
    worker.lines = 0;
}

/// Goes back to the waiting loop, after its HLT.
unsafe fn stop(worker: &mut Worker, gregs: &mut [i64; 23], image: *mut u8) {
    let Some((saved, saved_image)) = worker.waiting.take() else { return };
    *gregs = saved;
    gregs[RIP] += 1;
    // SAFETY: as in `load`.
    unsafe {
        put_image(&saved_image, image);
        if worker.has_bases {
            set_bases(worker.fs_base, worker.gs_base);
        }
    }
}

unsafe fn place_memory(shared: *mut Shared, input: &Input) {
    // SAFETY: offsets and lengths come from the parent, which keeps them within the area.
    unsafe {
        let area = addr_of_mut!((*shared).area).cast::<u8>();
        for patch in input.patches.iter().filter(|patch| patch.bytes != 0) {
            let value = patch.value.to_le_bytes();
            copy_nonoverlapping(value.as_ptr(), area.add(patch.offset as usize), patch.bytes as usize);
        }
        let code = area.add(input.code_offset as usize);
        copy_nonoverlapping(input.code.as_ptr(), code, input.code_bytes as usize);
    }
}

unsafe fn load(worker: &Worker, input: &Input, gregs: &mut [i64; 23], image: *mut u8) {
    for (&place, value) in PLACES.iter().zip(input.gpr) {
        gregs[place] = value.cast_signed();
    }
    gregs[RIP] = input.rip.cast_signed();
    gregs[RFLAGS] = input.rflags.cast_signed();
    let [code, stack, data] = input.selectors;
    let kept = gregs[SELECTORS].cast_unsigned() & 0x0000_ffff_ffff_0000;
    gregs[SELECTORS] = (kept | u64::from(code) | u64::from(stack) << 48).cast_signed();
    // SAFETY: 64-bit code does not look at these segments; a selector of the local descriptor table was installed.
    unsafe { core::arch::asm!("mov ds, {0:e}", "mov es, {0:e}", in(reg) u32::from(data)) };
    // SAFETY: the image is the kernel's, which checks it when the handler returns.
    unsafe {
        put_image(&input.image, image);
        if worker.has_bases {
            set_bases(input.fs_base, input.gs_base);
        }
    }
}

unsafe fn put_image(from: &[u8; IMAGE], to: *mut u8) {
    let rest = MXCSR_MASK.end;
    // SAFETY: `to` is an XSAVE area.
    unsafe {
        copy_nonoverlapping(from.as_ptr(), to, MXCSR_MASK.start);
        copy_nonoverlapping(from.as_ptr().add(rest), to.add(rest), IMAGE - rest);
        // x87 and SSE state are not initial, so that they are loaded.
        *to.add(XSTATE_BV) |= 3;
    }
}

/// Stores what a case left and puts the area in order.
unsafe fn finish(worker: &mut Worker, case: usize, gregs: &[i64; 23], image: *const u8) {
    // SAFETY: `case` is below BATCH; the image has more than IMAGE bytes.
    unsafe {
        let shared = worker.shared;
        let output: &mut Output = &mut (*shared).outputs[case];
        output.gpr = PLACES.map(|place| gregs[place].cast_unsigned());
        output.rip = gregs[RIP].cast_unsigned();
        output.rflags = gregs[RFLAGS].cast_unsigned();
        output.vector = gregs[VECTOR].cast_unsigned();
        output.error_code = gregs[ERROR_CODE].cast_unsigned();
        output.address = gregs[CR2].cast_unsigned();
        (output.fs_base, output.gs_base) = if worker.has_bases { bases() } else { (0, 0) };
        copy_nonoverlapping(image, output.image.as_mut_ptr(), IMAGE);
        output.first_line = u32::try_from(worker.lines).unwrap_or(0);
        restore_area(worker);
        output.lines = u32::try_from(worker.lines).unwrap_or(0) - output.first_line;
        let input = &(*shared).inputs[case];
        let code = addr_of_mut!((*shared).area).cast::<u8>().add(input.code_offset as usize);
        code.write_bytes(HLT, input.code_bytes as usize);
    }
}

/// Lists the lines of data that were written, and puts back what was there.
unsafe fn restore_area(worker: &mut Worker) {
    let shared = worker.shared;
    // SAFETY: every range is within the area; a case has a free line for each of its lines.
    unsafe {
        let area = addr_of_mut!((*shared).area).cast::<u8>();
        let pristine = addr_of_mut!((*shared).pristine).cast::<u8>();
        let same = |offset: usize, bytes: usize| {
            libc::memcmp(area.add(offset).cast(), pristine.add(offset).cast(), bytes) == 0
        };
        for page in (CODE_SIZE..SIZE).step_by(4096).filter(|&page| !same(page, 4096)) {
            for offset in (page..page + 4096).step_by(LINE).filter(|&offset| !same(offset, LINE)) {
                let line: *mut Line = &raw mut (*shared).lines[worker.lines];
                (*line).offset = u32::try_from(offset).unwrap_or(0);
                copy_nonoverlapping(area.add(offset), (*line).bytes.as_mut_ptr(), LINE);
                copy_nonoverlapping(pristine.add(offset), area.add(offset), LINE);
                worker.lines += 1;
            }
        }
    }
}

unsafe fn bases() -> (u64, u64) {
    let (fs, gs);
    // SAFETY: has been found to be available.
    unsafe {
        core::arch::asm!("rdfsbase {}", "rdgsbase {}", out(reg) fs, out(reg) gs, options(nomem, nostack))
    };
    (fs, gs)
}

unsafe fn set_bases(fs: u64, gs: u64) {
    // SAFETY: has been found to be available; the handler uses no thread-local storage.
    unsafe {
        core::arch::asm!("wrfsbase {}", "wrgsbase {}", in(reg) fs, in(reg) gs, options(nomem, nostack))
    };
}
