//! Of several reasons for an exception, the one that the manual has first (SDM Vol. 3A, table 7-2).

use super::run;

/// Where the code of a row begins.
const BODY: usize = 0x100;
/// Where the handlers are, of 4 bytes each.
const HANDLERS: usize = 0x180;
/// What a guest exits with when there was no exception.
const NONE: u32 = 0xff;

/// The first exception that `body` meets, after `setup`: vector n exits with n.
fn first(setup: &[u8], body: &[u8]) -> u32 {
    // xor di,di / mov cx,32 / mov ax,7d80h / next: stosw / mov [di],cs / add di,2 / add ax,4 / loop next
    let mut code = vec![
        0x31, 0xff, 0xb9, 32, 0, 0xb8, 0x80, 0x7d, 0xab, 0x8c, 0x0d, 0x83, 0xc7, 2, 0x83, 0xc0, 4, 0xe2, 0xf5,
    ];
    code.extend(setup);
    code.extend([0xe9, 0, 0]); // jmp body
    let jump = (BODY - code.len()) as u16;
    let at = code.len() - 2;
    code[at..].copy_from_slice(&jump.to_le_bytes());
    code.resize(BODY, 0x90);
    code.extend(body);
    code.extend([0xb0, 0xff, 0xe6, 0xf4]); // mov al,ffh / out f4h,al
    code.resize(HANDLERS, 0x90);
    for vector in 0..32 {
        code.extend([0xb0, vector, 0xe6, 0xf4]); // mov al,vector / out f4h,al
    }
    let (report, _) = run(&code, 1000);
    report.stop.code.unwrap_or_else(|| panic!("{report:?}"))
}

/// A change of CR0 or CR4: mov eax,crN / or eax,imm8 / mov crN,eax.
fn control(register: u8, bits: u8) -> Vec<u8> {
    let modrm = 0xc0 | register << 3;
    vec![0x0f, 0x20, modrm, 0x66, 0x83, 0xc8, bits, 0x0f, 0x22, modrm]
}

const MP: u8 = 1 << 1;
const EM: u8 = 1 << 2;
const TS: u8 = 1 << 3;
const NE: u8 = 1 << 5;
const OSFXSR: u16 = 1 << 9;

/// CR4.OSFXSR: mov eax,200h / mov cr4,eax
fn sse() -> Vec<u8> {
    let [low, high] = OSFXSR.to_le_bytes();
    vec![0x66, 0xb8, low, high, 0, 0, 0x0f, 0x22, 0xe0]
}

/// fninit / push 0 / mov bp,sp / fldcw [bp] / fldz / fldz: the next division leaves an exception pending.
const PENDING: [u8; 13] = [0xdb, 0xe3, 0x6a, 0, 0x89, 0xe5, 0xd9, 0x6e, 0, 0xd9, 0xee, 0xd9, 0xee];

/// mov eax,7d00h / mov dr0,eax / mov eax,402h / mov dr7,eax: a breakpoint at the body.
const BREAKPOINT: [u8; 18] =
    [0x66, 0xb8, 0, 0x7d, 0, 0, 0x0f, 0x23, 0xc0, 0x66, 0xb8, 2, 4, 0, 0, 0x0f, 0x23, 0xf8];

#[test]
fn the_first_of_two_reasons_is_the_manuals() {
    let pending = [&control(0, NE)[..], &PENDING, &[0xde, 0xf9]].concat();
    let sse_unavailable = [sse(), control(0, TS)].concat();
    let forbidden_segment = &[0xbb, 0xff, 0xff]; // mov bx,ffffh: two bytes there are beyond the limit
    let rows: [(&str, &[u8], &[u8], u32); 19] = [
        ("nothing", &[], &[0x90], NONE),
        ("breakpoint before the opcode", &BREAKPOINT, &[0x0f, 0x0b], 1),
        ("breakpoint before LOCK", &BREAKPOINT, &[0xf0, 0x90], 1),
        ("too long before the opcode", &[], &[[0x66; 15].as_slice(), &[0x0f, 0x0b]].concat(), 13),
        ("opcode before availability: LOCK", &control(0, TS), &[0xf0, 0xd9, 0xc0], 6),
        ("opcode before the operand: LOCK", forbidden_segment, &[0xf0, 0x8b, 0x07], 6),
        (
            "x87 unavailable before its operand",
            &[&control(0, TS)[..], forbidden_segment].concat(),
            &[0xd9, 0x07],
            7,
        ),
        (
            "x87 unavailable before a pending exception",
            &[&pending[..], &control(0, TS)].concat(),
            &[0xd9, 0xc0],
            7,
        ),
        (
            "a pending exception before the operand",
            &[&pending[..], forbidden_segment].concat(),
            &[0xd9, 0x07],
            16,
        ),
        (
            "WAIT unavailable before a pending exception",
            &[&pending[..], &control(0, MP | TS)].concat(),
            &[0x9b],
            7,
        ),
        ("the operand before the division", forbidden_segment, &[0xf7, 0x37], 13),
        ("the division", &[], &[0x31, 0xdb, 0xf7, 0xf3], 0),
        ("SSE: CR4.OSFXSR before CR0.TS", &control(0, TS), &[0x0f, 0x28, 0xc1], 6),
        ("SSE: CR0.EM before CR0.TS", &[sse(), control(0, EM | TS)].concat(), &[0x0f, 0x28, 0xc1], 6),
        (
            "SSE: CR0.TS before the operand",
            &[&sse_unavailable[..], forbidden_segment].concat(),
            &[0x0f, 0x28, 0x07],
            7,
        ),
        (
            "SSE: a misaligned operand",
            &[&sse()[..], forbidden_segment].concat(),
            &[0x0f, 0x28, 0x47, 0x02],
            13,
        ),
        ("MMX: CR0.EM before CR0.TS", &control(0, EM | TS), &[0x0f, 0xfc, 0xc1], 6),
        (
            "MMX: CR0.TS before a pending exception",
            &[&pending[..], &control(0, TS)].concat(),
            &[0x0f, 0xfc, 0xc1],
            7,
        ),
        (
            "MMX: a pending exception before the operand",
            &[&pending[..], forbidden_segment].concat(),
            &[0x0f, 0xfc, 0x07],
            16,
        ),
    ];
    for (name, setup, body, expected) in rows {
        assert_eq!(first(setup, body), expected, "{name}");
    }
}
