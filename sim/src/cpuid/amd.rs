//! What AMD's processors answer otherwise (AMD64 Architecture Programmer's Manual, Vol. 3, appendix E).

use super::feature::Register;
use super::leaves::{CACHES, Cache, LINE_SIZE, addressable, identifier_bits, processors};
use super::{Dynamic, Feature, Model};

/// The flags of leaf 1, EDX, that stand in leaf 80000001H as well.
const REPEATED: u32 = 0x0183_f3ff;
/// Leaf 80000001H, ECX: the logical processors of the package are cores.
const CORES_ONLY: u32 = 1 << 1;

/// The answer of AMD's processors, given what Intel's say.
pub(super) fn answer(model: &Model, leaf: u32, dynamic: &Dynamic, intel: [u32; 4]) -> [u32; 4] {
    let [eax, _, ecx, edx] = intel;
    match leaf {
        // Descriptors and parameters of caches, which have other leaves here.
        2 | 4 => [0; 4],
        0x8000_0000 => super::leaves::vendor(model.vendor, eax),
        0x8000_0001 => {
            let version = super::leaves::version(model, dynamic);
            let cores = if processors(dynamic) > 1 { CORES_ONLY } else { 0 };
            let repeated = version[Register::Edx as usize] & REPEATED;
            [version[Register::Eax as usize], 0, ecx | cores, edx | repeated | syscall(model)]
        }
        0x8000_0005 => [0, 0, level1(&CACHES[0]), level1(&CACHES[1])],
        0x8000_0006 => [0, 0, ecx, level3()],
        0x8000_0008 => {
            let cores = (addressable(dynamic).min(256) - 1).min(processors(dynamic) - 1);
            [eax, intel[1], identifier_bits(dynamic).min(15) << 12 | cores, edx]
        }
        _ => intel,
    }
}

/// The flag of SYSCALL is there in every mode.
fn syscall(model: &Model) -> u32 {
    u32::from(model.has(Feature::Syscall)) << Feature::Syscall.bit().bit
}

/// A cache of the first level: KBytes, ways, lines per tag and the size of a line.
const fn level1(cache: &Cache) -> u32 {
    cache.kib << 24 | cache.ways << 16 | 1 << 8 | LINE_SIZE
}

/// The L3 cache: units of 512 KBytes, the encoding of 16 ways, lines per tag and the size of a line.
const fn level3() -> u32 {
    const SIXTEEN_WAYS: u32 = 8;
    (CACHES[3].kib / 512) << 18 | SIXTEEN_WAYS << 12 | 1 << 8 | LINE_SIZE
}
