//! Debug exceptions on a whole machine: which instructions meet a breakpoint, and where the exception comes.

use super::run;

/// Where the code of a row begins; the handlers are at 7D00H and above.
const BODY: usize = 0x80;
const DEBUG: usize = 0x100;
const BREAKPOINT: usize = 0x1c0;
const UNDEFINED: usize = 0x1e0;

/// Sends what the manual's handler would look at: the low byte of IP, DR6 in two bytes; then clears DR6.
const HANDLER: [u8; 34] = [
    0x55, 0x89, 0xe5, 0x66, 0x50, 0x52, // push bp / mov bp,sp / push eax / push dx
    0xba, 0xf8, 0x03, 0x8a, 0x46, 0x02, 0xee, // mov dx,3f8h / mov al,[bp+2] / out dx,al
    0x0f, 0x21, 0xf0, 0xee, 0x88, 0xe0, 0xee, // mov eax,dr6 / out dx,al / mov al,ah / out dx,al
    0x66, 0x31, 0xc0, 0x0f, 0x23, 0xf0, // xor eax,eax / mov dr6,eax
    0x90, 0x90, 0x90, // room for mov dr7,eax
    0x5a, 0x66, 0x58, 0x5d, 0xcf, // pop dx / pop eax / pop bp / iret
];
/// Sends BBH.
const BREAKPOINT_HANDLER: [u8; 11] = [0x50, 0x52, 0xba, 0xf8, 0x03, 0xb0, 0xbb, 0xee, 0x5a, 0x58, 0xcf];
/// Sends CCH and exits.
const UNDEFINED_HANDLER: [u8; 8] = [0xba, 0xf8, 0x03, 0xb0, 0xcc, 0xee, 0xe6, 0xf4];
/// mov al,0 / out f4h,al
const EXIT: [u8; 4] = [0xb0, 0, 0xe6, 0xf4];

/// What DR0 and DR7 say, and what CR4 gets beside.
struct Armed {
    dr0: u32,
    dr7: u32,
    cr4: u8,
}

/// What a guest sends that runs `body` at 0:7C80H.
fn sent(armed: &Armed, body: &[u8]) -> Vec<u8> {
    let mut code = Vec::new();
    for (vector, handler) in [(1_u16, DEBUG), (3, BREAKPOINT), (6, UNDEFINED)] {
        for (at, value) in [(4 * vector, 0x7c00 + handler as u16), (4 * vector + 2, 0)] {
            code.extend([0xc7, 0x06]); // mov word [at],value
            code.extend([at, value].iter().flat_map(|word| word.to_le_bytes()));
        }
    }
    code.extend([0x0f, 0x20, 0xe0, 0x66, 0x83, 0xc8, armed.cr4, 0x0f, 0x22, 0xe0]); // or cr4,..
    for (value, register) in [(armed.dr0, 0xc0), (armed.dr7, 0xf8)] {
        code.extend([0x66, 0xb8]); // mov eax,value / mov drN,eax
        code.extend(value.to_le_bytes());
        code.extend([0x0f, 0x23, register]);
    }
    let jump = BODY - code.len() - 2;
    code.extend([0xeb, jump as u8]);
    let mut handler = HANDLER;
    if armed.dr7 >> 16 & 3 == 0 && armed.dr7 & 3 != 0 {
        // IRET with 16-bit operands cannot set RF: the breakpoint goes.
        handler[26..29].copy_from_slice(&[0x0f, 0x23, 0xf8]);
    }
    let pieces: [(usize, &[u8]); 5] = [
        (BODY, body),
        (BODY + body.len(), &EXIT),
        (DEBUG, &handler),
        (BREAKPOINT, &BREAKPOINT_HANDLER),
        (UNDEFINED, &UNDEFINED_HANDLER),
    ];
    for (at, piece) in pieces {
        code.resize(at, 0x90);
        code.extend(piece);
    }
    let (report, sent) = run(&code, 10_000);
    assert!(report.stop.code.is_some(), "{report:?} {sent:02x?}");
    sent
}

/// Breakpoint 0, enabled by G0: on execution, on a write and on any access of two bytes, on I/O, and none.
const EXECUTION: u32 = 0x402;
const WRITE: u32 = 0x5_0402;
const ACCESS: u32 = 0x7_0402;
const IO: u32 = 0x6_0402;
const NONE: u32 = 0x400;

/// A row: name, DR0, DR7, the code, and what is sent. A #DB is sent as IP, B0 with F0H, and BD, BS, BT with 0FH.
type Row = (&'static str, u32, u32, &'static [u8], &'static [u8]);

fn check(rows: &[Row], cr4: u8) {
    for &(name, dr0, dr7, body, expected) in rows {
        assert_eq!(sent(&Armed { dr0, dr7, cr4 }, body), expected, "{name}");
    }
}

#[test]
fn data_breakpoints_trap_behind_the_instruction_that_touches_one_of_their_bytes() {
    let rows: [Row; 9] = [
        ("mov byte [500h],1", 0x500, WRITE, &[0xc6, 0x06, 0, 5, 1], &[0x85, 0xf1, 0x0f]),
        ("mov al,[500h]", 0x500, WRITE, &[0xa0, 0, 5], &[]),
        ("mov al,[500h]", 0x500, ACCESS, &[0xa0, 0, 5], &[0x83, 0xf1, 0x0f]),
        ("inc byte [500h]", 0x500, WRITE, &[0xfe, 0x06, 0, 5], &[0x84, 0xf1, 0x0f]),
        ("mov [4ffh],ax", 0x500, WRITE, &[0xa3, 0xff, 4], &[0x83, 0xf1, 0x0f]),
        ("mov [501h],ax", 0x500, WRITE, &[0xa3, 1, 5], &[0x83, 0xf1, 0x0f]),
        ("mov [502h],ax", 0x500, WRITE, &[0xa3, 2, 5], &[]),
        ("push ax", 0xfffe, WRITE, &[0x50, 0x58], &[0x81, 0xf1, 0x0f]),
        ("int3, whose delivery pushes", 0xfffe, WRITE, &[0xcc], &[0xc0, 0xf1, 0x0f, 0xbb]),
    ];
    check(&rows, 0);
}

#[test]
fn io_breakpoints_trap_behind_the_instruction_with_debugging_extensions_only() {
    let body = &[0xe6, 0x81, 0xe4, 0x82]; // out 81h,al / in al,82h
    check(&[("with", 0x80, IO, body, &[0x82, 0xf1, 0x0f])], 8);
    check(&[("without", 0x80, IO, body, &[])], 0);
}

#[test]
fn a_breakpoint_for_an_instruction_comes_before_it_unless_rf_shields_it() {
    // pushfd / pop eax / or eax,10000h / push eax / push cs / push 7c96h / iretd / nop
    let resume = &[
        0x66, 0x9c, 0x66, 0x58, 0x66, 0x0d, 0, 0, 1, 0, 0x66, 0x50, 0x66, 0x0e, 0x66, 0x68, 0x96, 0x7c, 0, 0,
        0x66, 0xcf, 0x90,
    ];
    let rows: [Row; 2] = [
        ("met", 0x7c82, EXECUTION, &[0x89, 0xc0, 0x90], &[0x82, 0xf1, 0x0f]),
        ("RF is 1", 0x7c96, EXECUTION, resume, &[]),
    ];
    check(&rows, 0);
}

#[test]
fn a_load_of_ss_holds_traps_back_for_one_instruction() {
    // mov ss,[500h] and one more instruction.
    let rows: [Row; 6] = [
        ("nop", 0x500, ACCESS, &[0x8e, 0x16, 0, 5, 0x90, 0x90], &[0x85, 0xf1, 0x0f]),
        ("int3", 0x500, ACCESS, &[0x8e, 0x16, 0, 5, 0xcc], &[0xc0, 0xf1, 0x0f, 0xbb]),
        ("int1", 0x500, ACCESS, &[0x8e, 0x16, 0, 5, 0xf1], &[0x85, 0xf0, 0x0f]),
        ("ud2", 0x500, ACCESS, &[0x8e, 0x16, 0, 5, 0x0f, 0x0b], &[0xcc]),
        ("a breakpoint there", 0x7c84, EXECUTION, &[0x8e, 0x16, 0, 5, 0x90], &[]),
        ("and behind it", 0x7c85, EXECUTION, &[0x8e, 0x16, 0, 5, 0x90], &[0x85, 0xf1, 0x0f]),
    ];
    check(&rows, 0);
}

#[test]
fn single_steps_trap_behind_each_instruction_but_one_that_loads_ss() {
    // pushf / pop ax / or ah,1 / push ax / popf / mov ss,bx / nop / and ah,feh / push ax / popf
    let body = &[0x9c, 0x58, 0x80, 0xcc, 1, 0x50, 0x9d, 0x8e, 0xd3, 0x90, 0x80, 0xe4, 0xfe, 0x50, 0x9d];
    let expected = &[0x8a, 0xf0, 0x4f, 0x8d, 0xf0, 0x4f, 0x8e, 0xf0, 0x4f, 0x8f, 0xf0, 0x4f];
    check(&[("stepped", 0, NONE, body, expected)], 0);
}

#[test]
fn general_detect_faults_before_the_access_even_behind_a_load_of_ss() {
    // mov ss,bx / mov eax,dr0
    check(&[("dr7.gd", 0, 0x2400, &[0x8e, 0xd3, 0x0f, 0x21, 0xc0], &[0x82, 0xf0, 0x2f])], 0);
}
