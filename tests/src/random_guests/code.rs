//! Random code that gets further than random bytes do: among them are instructions that touch what a system has.

use vmxsim::load::FlatMode;

/// SplitMix64.
pub(super) struct Random(pub(super) u64);

impl Random {
    pub(super) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (self.0 ^ self.0 >> 30).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ mixed >> 27).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ mixed >> 31
    }

    pub(super) fn below(&mut self, limit: u64) -> u64 {
        self.next() % limit
    }

    pub(super) fn one_of<T: Copy>(&mut self, choices: &[T]) -> T {
        choices[self.below(choices.len() as u64) as usize]
    }

    fn byte(&mut self) -> u8 {
        self.next() as u8
    }

    /// A number that means something rather often.
    fn word(&mut self) -> u32 {
        match self.below(6) {
            0 => self.below(0x100) as u32,
            1 => u32::MAX,
            2 => 1 << self.below(32),
            3 => 0x7000 + self.below(0x6000) as u32,
            4 => {
                self.one_of(&[0xfee0_0000, 0xfec0_0000, 0xfed0_0000, 0xff00_0000, 0xa_0000, 0xffff_fff0])
                    + (self.below(0x400) as u32 & !3)
            }
            _ => self.next() as u32,
        }
    }
}

/// Ports at which something is.
const PORTS: &[u16] = &[
    0x20, 0x21, 0xa0, 0xa1, 0x40, 0x42, 0x43, 0x60, 0x61, 0x64, 0x70, 0x71, 0x80, 0x92, 0xb2, 0xe0, 0xe4,
    0x3f8, 0x3f9, 0x3fb, 0x510, 0x511, 0x600, 0x602, 0x604, 0x608, 0xcf8, 0xcf9, 0xcfc, 0x2000, 0xffff,
];

/// MSRs that exist.
const MSRS: &[u32] = &[
    0x10,
    0x1b,
    0x3b,
    0x174,
    0x175,
    0x176,
    0x1a0,
    0x1d9,
    0x200,
    0x277,
    0x2ff,
    0x400,
    0x6e0,
    0x802,
    0x808,
    0x80b,
    0x80f,
    0x828,
    0x830,
    0x832,
    0x835,
    0x838,
    0x83e,
    0x83f,
    0xc000_0080,
    0xc000_0081,
    0xc000_0082,
    0xc000_0084,
    0xc000_0100,
    0xc000_0102,
    0xc000_0103,
    0xc001_0000,
];

/// Commands of a local APIC: NMI, SMI, INIT, startup and fixed, with shorthands and without.
const COMMANDS: &[u32] =
    &[0x4400, 0x4200, 0x4500, 0x4608, 0x4041, 0x4_4041, 0xc_4500, 0xc_4607, 0x8_4400, 0x4_4200, 0x4_4500];

/// Instructions that touch the system, without operands that matter.
const SYSTEM: &[&[u8]] = &[
    &[0xf4],
    &[0xfa],
    &[0xfb],
    &[0xcf],
    &[0x48, 0xcf],
    &[0x9c],
    &[0x9d],
    &[0xcb],
    &[0xcc],
    &[0xf1],
    &[0x0f, 0xa2],
    &[0x0f, 0x05],
    &[0x0f, 0x07],
    &[0x0f, 0x34],
    &[0x0f, 0x35],
    &[0x0f, 0x31],
    &[0x0f, 0xaa],
    &[0x0f, 0x01, 0xc1],
    &[0x0f, 0x01, 0xd9],
    &[0x0f, 0x01, 0xc8],
    &[0x0f, 0x01, 0xc9],
    &[0x0f, 0x01, 0xd0],
    &[0x0f, 0x01, 0xd1],
    &[0x0f, 0x01, 0xf8],
    &[0x0f, 0x01, 0xca],
    &[0x0f, 0x06],
    &[0x0f, 0x09],
    &[0xf3, 0x90],
    &[0xf3, 0xa4],
    &[0xf3, 0x48, 0xab],
    &[0xf3, 0x6c],
    &[0xf3, 0x6e],
    &[0x0f, 0x20, 0xc0],
    &[0x0f, 0x22, 0xc0],
    &[0x0f, 0x22, 0xd8],
    &[0x0f, 0x22, 0xe0],
    &[0x44, 0x0f, 0x22, 0xc0],
    &[0x0f, 0x23, 0xc0],
    &[0x0f, 0x23, 0xf8],
    &[0x8e, 0xd8],
    &[0x8e, 0xd0],
    &[0x8e, 0xe8],
    &[0x0f, 0x00, 0xd0],
    &[0x0f, 0x00, 0xd8],
    &[0x0f, 0xae, 0x07],
    &[0x0f, 0xae, 0x0f],
    &[0x0f, 0xae, 0x27],
    &[0x0f, 0xae, 0x2f],
];

/// Code, with what tables and handlers may be read from: half of it is followed by words like table entries.
pub(super) fn bytes(random: &mut Random, mode: FlatMode, length: usize) -> Vec<u8> {
    let mut out = Vec::with_capacity(length + 32);
    while out.len() < length / 2 {
        snippet(random, mode, &mut out);
    }
    while out.len() < length {
        out.extend(entry(random).to_le_bytes());
    }
    out
}

/// Something like an entry of a page, descriptor or vector table.
fn entry(random: &mut Random) -> u64 {
    match random.below(4) {
        0 => random.below(0x400) << 12 | random.below(0x1000) | 1,
        1 => random.below(0x400) << 12 | 0xe7 | random.below(2) << 63,
        2 => 0x00af_9b00_0000_ffff ^ 1 << random.below(64),
        _ => 0x0000_8e00_0008_7000 ^ random.below(0x6000) ^ 1 << random.below(64),
    }
}

fn snippet(random: &mut Random, mode: FlatMode, out: &mut Vec<u8>) {
    match random.below(12) {
        0 | 1 => {
            let count = 1 + random.below(8);
            out.extend((0..count).map(|_| random.byte()));
        }
        2 => port(random, mode, out),
        3 => msr(random, mode, out),
        4 => device(random, mode, out),
        5 => {
            let register = random.below(8) as u8;
            load(random.word(), register, mode, out);
        }
        6 => table(random, mode, out),
        7 | 8 => out.extend(random.one_of(SYSTEM)),
        9 => {
            load(random.word(), 0, mode, out);
            out.extend(random.one_of(SYSTEM));
        }
        10 => out.extend([0xcd, random.byte()]),
        _ => arithmetic(random, out),
    }
}

/// mov register,immediate of 32 bits.
fn load(value: u32, register: u8, mode: FlatMode, out: &mut Vec<u8>) {
    if mode == FlatMode::Real {
        out.push(0x66);
    }
    out.push(0xb8 + register);
    out.extend(value.to_le_bytes());
}

fn port(random: &mut Random, mode: FlatMode, out: &mut Vec<u8>) {
    let port = if random.below(8) == 0 { random.next() as u16 } else { random.one_of(PORTS) };
    if mode != FlatMode::Real {
        out.push(0x66);
    }
    out.push(0xba);
    out.extend(port.to_le_bytes());
    out.extend([0xb0, random.byte()]);
    out.push(random.one_of(&[0xec, 0xed, 0xee, 0xef, 0xee]));
}

fn msr(random: &mut Random, mode: FlatMode, out: &mut Vec<u8>) {
    let index = if random.below(8) == 0 { random.word() } else { random.one_of(MSRS) };
    load(index, 1, mode, out);
    let value = if index == 0x830 { random.one_of(COMMANDS) } else { random.word() };
    load(value, 0, mode, out);
    load(random.below(3) as u32, 2, mode, out);
    out.extend([0x0f, random.one_of(&[0x30, 0x32])]);
}

/// A store to a device's memory, or a load.
fn device(random: &mut Random, mode: FlatMode, out: &mut Vec<u8>) {
    let page =
        random.one_of(&[0xfee0_0000_u32, 0xfee0_0000, 0xfec0_0000, 0xfed0_0000, 0xff00_0000, 0xfec1_0000]);
    let offset = random.below(0x40) as u32 * 16;
    load(page + offset, 3, mode, out);
    let value = if offset == 0x300 { random.one_of(COMMANDS) } else { random.word() };
    load(value, 0, mode, out);
    if mode == FlatMode::Real {
        out.extend([0x66, 0x67]);
    }
    out.extend([random.one_of(&[0x89, 0x8b, 0x01, 0x87, 0x88]), 0x03]);
}

/// LGDT or LIDT of random entries, or a load of CR3 with such a table.
fn table(random: &mut Random, mode: FlatMode, out: &mut Vec<u8>) {
    load(0xa000 + (random.below(3) as u32) * 0x1000, 3, mode, out);
    match random.below(3) {
        0 => out.extend([0x0f, 0x22, 0xdb]),
        which => {
            if mode == FlatMode::Real {
                out.push(0x67);
            }
            out.extend([0x0f, 0x01, if which == 1 { 0x13 } else { 0x1b }]);
        }
    }
}

/// An instruction of the first rows of the map, on registers or memory at EBX.
fn arithmetic(random: &mut Random, out: &mut Vec<u8>) {
    let opcode = random.below(0x40) as u8 & 0xfb;
    let operand = random.one_of(&[0xc0, 0x00, 0x40]) | random.byte() & 0x3f;
    out.extend([opcode, operand, random.byte()]);
}
