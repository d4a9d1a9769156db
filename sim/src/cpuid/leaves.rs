//! The leaves of CPUID, in the order of the SDM's table (SDM Vol. 2A, CPUID, "Information Returned by CPUID").

use super::feature::{Features, Register};
use super::{Clock, Dynamic, Feature, Model, Signature, Vendor, amd};

/// The first extended leaf.
const EXTENDED: u32 = 0x8000_0000;

/// The highest extended leaf.
const HIGHEST_EXTENDED: u32 = 0x8000_0008;

/// The bytes of a cache line, which CLFLUSH and MONITOR also work on.
pub(super) const LINE_SIZE: u32 = 64;

/// The legacy region and the header of an XSAVE area (SDM Vol. 1, 13.4).
const XSAVE_START: u32 = 512 + 64;

/// XCR0 bits 0 and 1: x87 and SSE state.
const X87_AND_SSE: u32 = 0b11;

/// The state component of PKRU, and its place and size in an XSAVE area.
const PKRU: u32 = 9;
const PKRU_OFFSET: u32 = 2688;
const PKRU_SIZE: u32 = 8;

/// A cache of leaf 4.
pub(super) struct Cache {
    kind: u32,
    level: u32,
    pub(super) kib: u32,
    pub(super) ways: u32,
    shared: bool,
}

/// The caches, by subleaf of leaf 4. Kinds: 1 data, 2 instructions, 3 unified.
pub(super) const CACHES: [Cache; 4] = [
    Cache { kind: 1, level: 1, kib: 32, ways: 8, shared: false },
    Cache { kind: 2, level: 1, kib: 32, ways: 8, shared: false },
    Cache { kind: 3, level: 2, kib: 2048, ways: 16, shared: false },
    Cache { kind: 3, level: 3, kib: 16384, ways: 16, shared: true },
];

pub(super) fn answer(model: &Model, leaf: u32, subleaf: u32, dynamic: &Dynamic) -> [u32; 4] {
    let highest = highest_basic(model);
    let leaf = match leaf {
        ..EXTENDED if leaf <= highest => leaf,
        EXTENDED..=HIGHEST_EXTENDED => leaf,
        _ => highest,
    };
    let answer =
        if leaf < EXTENDED { basic(model, leaf, subleaf, dynamic) } else { extended(model, leaf, dynamic) };
    match model.vendor {
        Vendor::Intel => answer,
        Vendor::Amd => amd::answer(model, leaf, dynamic, answer),
    }
}

fn highest_basic(model: &Model) -> u32 {
    if model.clock.is_some() {
        0x16
    } else if model.has(Feature::Xsave) {
        0xd
    } else {
        0xb
    }
}

fn basic(model: &Model, leaf: u32, subleaf: u32, dynamic: &Dynamic) -> [u32; 4] {
    match leaf {
        0 => vendor(model.vendor, highest_basic(model)),
        1 => version(model, dynamic),
        // The one descriptor says that leaf 4 describes the caches.
        2 => [0xff01, 0, 0, 0],
        4 => cache(subleaf, dynamic),
        5 => monitor(model),
        6 => model.features.flags(6, 0),
        7 => structured(&model.features, subleaf, dynamic),
        0xb => topology(subleaf, dynamic),
        0xd if model.has(Feature::Xsave) => extended_state(model, subleaf, dynamic),
        0x15 => model.clock.map_or([0; 4], time_stamp_counter),
        0x16 => model.clock.map_or([0; 4], frequencies),
        _ => [0; 4],
    }
}

fn extended(model: &Model, leaf: u32, dynamic: &Dynamic) -> [u32; 4] {
    match leaf {
        EXTENDED => [HIGHEST_EXTENDED, 0, 0, 0],
        0x8000_0001 => extended_features(&model.features, dynamic),
        0x8000_0002..=0x8000_0004 => brand(&model.brand, leaf - 0x8000_0002),
        0x8000_0006 => [0, 0, level2(), 0],
        0x8000_0008 => address_widths(model),
        _ => model.features.flags(leaf, 0),
    }
}

/// The highest leaf of its kind, and the vendor's name in EBX, EDX and ECX.
pub(super) fn vendor(vendor: Vendor, highest: u32) -> [u32; 4] {
    let (words, _) = vendor.name().as_bytes().as_chunks::<4>();
    let word = |index: usize| words.get(index).map_or(0, |word| u32::from_le_bytes(*word));
    [highest, word(0), word(2), word(1)]
}

/// Sets or clears the flag of a feature in the registers of its leaf.
fn put(registers: &mut [u32; 4], feature: Feature, value: bool) {
    let bit = feature.bit();
    let (register, mask) = (&mut registers[bit.register as usize], 1 << bit.bit);
    *register = if value { *register | mask } else { *register & !mask };
}

pub(super) fn version(model: &Model, dynamic: &Dynamic) -> [u32; 4] {
    let mut registers = model.features.flags(1, 0);
    put(&mut registers, Feature::Apic, model.has(Feature::Apic) && dynamic.apic_enabled);
    put(&mut registers, Feature::Osxsave, model.has(Feature::Xsave) && dynamic.osxsave);
    put(&mut registers, Feature::Htt, processors(dynamic) > 1);
    let line = if model.has(Feature::Clfsh) { LINE_SIZE / 8 } else { 0 };
    let count = addressable(dynamic).min(0xff);
    registers[Register::Eax as usize] = signature(model.signature);
    registers[Register::Ebx as usize] = (dynamic.apic_id & 0xff) << 24 | count << 16 | line << 8;
    registers
}

fn signature(signature: Signature) -> u32 {
    let (family, model) = (u32::from(signature.family), u32::from(signature.model));
    let (base, extended) = (family.min(0xf), family.saturating_sub(0xf));
    extended << 20 | (model >> 4) << 16 | base << 8 | (model & 0xf) << 4 | u32::from(signature.stepping)
}

pub(super) fn processors(dynamic: &Dynamic) -> u32 {
    dynamic.processors.max(1)
}

/// The bits of an APIC ID that tell the logical processors of the package apart.
pub(super) fn identifier_bits(dynamic: &Dynamic) -> u32 {
    u32::BITS - (processors(dynamic) - 1).leading_zeros()
}

/// The APIC IDs that are set aside for the package.
pub(super) fn addressable(dynamic: &Dynamic) -> u32 {
    1_u32.checked_shl(identifier_bits(dynamic)).unwrap_or(u32::MAX)
}

fn cache(subleaf: u32, dynamic: &Dynamic) -> [u32; 4] {
    const SELF_INITIALIZING: u32 = 1 << 8;
    let Some(cache) = CACHES.get(subleaf as usize) else { return [0; 4] };
    let cores = addressable(dynamic).min(64) - 1;
    let sharing = if cache.shared { addressable(dynamic).min(4096) - 1 } else { 0 };
    let sets = cache.kib * 1024 / LINE_SIZE / cache.ways;
    let eax = cores << 26 | sharing << 14 | SELF_INITIALIZING | cache.level << 5 | cache.kind;
    [eax, (cache.ways - 1) << 22 | (LINE_SIZE - 1), sets - 1, 0]
}

/// The sizes of a line, break events of masked interrupts, and one state of class C1.
fn monitor(model: &Model) -> [u32; 4] {
    if model.has(Feature::Monitor) { [LINE_SIZE, LINE_SIZE, 0b11, 0x10] } else { [0; 4] }
}

fn structured(features: &Features, subleaf: u32, dynamic: &Dynamic) -> [u32; 4] {
    let mut registers = features.flags(7, subleaf);
    if subleaf == 0 {
        registers[Register::Eax as usize] = u32::from(features.flags(7, 1) != [0; 4]);
        put(&mut registers, Feature::Ospke, features.contains(Feature::Pku) && dynamic.ospke);
    }
    registers
}

fn topology(subleaf: u32, dynamic: &Dynamic) -> [u32; 4] {
    const SMT: u32 = 1;
    const CORE: u32 = 2;
    match subleaf {
        0 => [0, 1, SMT << 8, dynamic.apic_id],
        1 => [identifier_bits(dynamic), processors(dynamic) & 0xffff, CORE << 8 | 1, dynamic.apic_id],
        _ => [0, 0, subleaf & 0xff, dynamic.apic_id],
    }
}

fn extended_state(model: &Model, subleaf: u32, dynamic: &Dynamic) -> [u32; 4] {
    let pkru = u32::from(model.has(Feature::Pku)) << PKRU;
    let size =
        |components: u32| if components >> PKRU & 1 == 0 { XSAVE_START } else { PKRU_OFFSET + PKRU_SIZE };
    match subleaf {
        0 => [X87_AND_SSE | pkru, size(dynamic.xcr0 as u32 & pkru), size(pkru), 0],
        1 => model.features.flags(0xd, 1),
        PKRU if pkru != 0 => [PKRU_SIZE, PKRU_OFFSET, 0, 0],
        _ => [0; 4],
    }
}

/// The TSC is the core crystal clock times EBX / EAX.
fn time_stamp_counter(clock: Clock) -> [u32; 4] {
    let divisor = greatest_common_divisor(clock.core_crystal_hz, clock.tsc_hz);
    [clock.core_crystal_hz / divisor, clock.tsc_hz / divisor, clock.core_crystal_hz, 0]
}

const fn greatest_common_divisor(a: u32, b: u32) -> u32 {
    if b == 0 { a } else { greatest_common_divisor(b, a % b) }
}

/// Base, maximum and bus frequency in MHz.
fn frequencies(clock: Clock) -> [u32; 4] {
    let mhz = |hz: u32| (hz / 1_000_000) & 0xffff;
    [mhz(clock.tsc_hz), mhz(clock.tsc_hz), mhz(clock.core_crystal_hz), 0]
}

fn extended_features(features: &Features, dynamic: &Dynamic) -> [u32; 4] {
    let mut registers = features.flags(0x8000_0001, 0);
    put(&mut registers, Feature::Syscall, features.contains(Feature::Syscall) && dynamic.in_64_bit_mode);
    registers
}

/// The 16 characters of the brand string that this part returns.
fn brand(brand: &[u8; 48], part: u32) -> [u32; 4] {
    let (words, _) = brand.as_chunks::<4>();
    let start = part as usize * 4;
    std::array::from_fn(|index| words.get(start + index).map_or(0, |word| u32::from_le_bytes(*word)))
}

/// The L2 cache: line size, the encoding of 16 ways, and KBytes.
const fn level2() -> u32 {
    const SIXTEEN_WAYS: u32 = 8;
    CACHES[2].kib << 16 | SIXTEEN_WAYS << 12 | LINE_SIZE
}

fn address_widths(model: &Model) -> [u32; 4] {
    let mut registers = model.features.flags(0x8000_0008, 0);
    registers[Register::Eax as usize] =
        u32::from(model.linear_address_width()) << 8 | u32::from(model.physical_address_width);
    registers
}
