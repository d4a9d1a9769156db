//! What CPUID tells a recorded program.
//!
//! Programs choose their code by CPUID (SDM Vol. 2A, CPUID). The recorder sees each CPUID before it executes and
//! answers it itself: the host's answer with the bits below kept and all others 0, so that glibc, OpenSSL, zlib
//! and the like choose code that the engine computes. No argument and no environment variable is touched.

/// The four results of CPUID.
#[derive(Clone, Copy, PartialEq, Eq, Debug, Default)]
pub struct CpuidResult {
    /// EAX.
    pub eax: u32,
    /// EBX.
    pub ebx: u32,
    /// ECX.
    pub ecx: u32,
    /// EDX.
    pub edx: u32,
}

/// The bits of one leaf that a program sees under [`Cpuid::ScopeOnly`](crate::Cpuid::ScopeOnly).
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub struct CpuidRow {
    /// The leaf, in EAX.
    pub leaf: u32,
    /// The subleaf, in ECX; `None` for all of them.
    pub subleaf: Option<u32>,
    /// The bits that are kept in EAX, EBX, ECX and EDX.
    pub kept: [u32; 4],
}

const ALL: u32 = u32::MAX;

const fn bits<const N: usize>(list: [u32; N]) -> u32 {
    let mut mask = 0;
    let mut i = 0;
    while i < N {
        mask |= 1 << list[i];
        i += 1;
    }
    mask
}

const fn whole(leaf: u32) -> CpuidRow {
    CpuidRow { leaf, subleaf: None, kept: [ALL; 4] }
}

/// Every leaf that is not all zeros.
pub const SCOPE: [CpuidRow; 20] = [
    whole(0),
    CpuidRow {
        leaf: 1,
        subleaf: None,
        kept: [
            ALL,
            ALL,
            // SSE3 PCLMULQDQ SSSE3 CMPXCHG16B SSE4.1 SSE4.2 MOVBE POPCNT AES RDRAND; not: MONITOR VMX FMA XSAVE
            // OSXSAVE AVX F16C
            bits([0, 1, 9, 13, 19, 20, 22, 23, 25, 30]),
            ALL,
        ],
    },
    whole(2),
    whole(4),
    CpuidRow {
        leaf: 7,
        subleaf: Some(0),
        // FSGSBASE BMI1 SMEP BMI2 RDSEED ADX SMAP; not: HLE AVX2 ERMS RTM AVX512 SHA CLFLUSHOPT; all of ECX and
        // EDX (VAES VPCLMULQDQ GFNI RDPID FSRM ...) and of the further subleaves is 0.
        kept: [0, bits([0, 3, 7, 8, 18, 19, 20]), 0, 0],
    },
    whole(0xb),
    whole(0x15),
    whole(0x16),
    whole(0x1f),
    whole(0x8000_0000),
    CpuidRow {
        leaf: 0x8000_0001,
        subleaf: None,
        kept: [
            ALL,
            ALL,
            // LAHF CmpLegacy LZCNT PREFETCHW TopologyExtensions; not: SSE4A XOP FMA4 TBM MONITORX
            bits([0, 1, 5, 8, 22]),
            // all but MMXEXT, FFXSR, 3DNow and its extensions
            ALL & !bits([22, 25, 30, 31]),
        ],
    },
    whole(0x8000_0002),
    whole(0x8000_0003),
    whole(0x8000_0004),
    whole(0x8000_0005),
    whole(0x8000_0006),
    whole(0x8000_0007),
    CpuidRow { leaf: 0x8000_0008, subleaf: None, kept: [ALL, 0, ALL, 0] },
    whole(0x8000_001d),
    whole(0x8000_001e),
];

/// `host`, the host's answer for `leaf` and `subleaf`, as the program sees it.
#[must_use]
pub fn masked(leaf: u32, subleaf: u32, host: CpuidResult) -> CpuidResult {
    let row = SCOPE.iter().find(|row| row.leaf == leaf && row.subleaf.is_none_or(|only| only == subleaf));
    let [eax, ebx, ecx, edx] = row.map_or([0; 4], |row| row.kept);
    CpuidResult { eax: host.eax & eax, ebx: host.ebx & ebx, ecx: host.ecx & ecx, edx: host.edx & edx }
}

/// What the host's CPUID answers.
#[must_use]
pub fn host(leaf: u32, subleaf: u32) -> CpuidResult {
    let core::arch::x86_64::CpuidResult { eax, ebx, ecx, edx } =
        core::arch::x86_64::__cpuid_count(leaf, subleaf);
    CpuidResult { eax, ebx, ecx, edx }
}

/// The brand string of the host.
#[must_use]
pub fn brand() -> Option<String> {
    if host(0x8000_0000, 0).eax < 0x8000_0004 {
        return None;
    }
    let mut text = Vec::new();
    for leaf in 0x8000_0002..=0x8000_0004 {
        let CpuidResult { eax, ebx, ecx, edx } = host(leaf, 0);
        [eax, ebx, ecx, edx].iter().for_each(|word| text.extend_from_slice(&word.to_le_bytes()));
    }
    let text = String::from_utf8_lossy(&text);
    Some(text.trim_matches(['\0', ' ']).to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const FULL: CpuidResult = CpuidResult { eax: ALL, ebx: ALL, ecx: ALL, edx: ALL };

    #[test]
    fn a_program_sees_no_extension_beyond_the_scope() {
        let one = masked(1, 0, FULL);
        for (bit, name) in [
            (3, "MONITOR"),
            (5, "VMX"),
            (12, "FMA"),
            (26, "XSAVE"),
            (27, "OSXSAVE"),
            (28, "AVX"),
            (29, "F16C"),
        ] {
            assert_eq!(one.ecx >> bit & 1, 0, "{name}");
        }
        let seven = masked(7, 0, FULL);
        for (bit, name) in [(5, "AVX2"), (9, "ERMS"), (16, "AVX512F"), (29, "SHA")] {
            assert_eq!(seven.ebx >> bit & 1, 0, "{name}");
        }
        assert_eq!((seven.eax, seven.ecx, seven.edx), (0, 0, 0));
        assert_eq!(masked(7, 1, FULL), CpuidResult::default());
        assert_eq!(masked(0xd, 0, FULL), CpuidResult::default());
        let extended = masked(0x8000_0001, 0, FULL);
        assert_eq!(extended.ecx & bits([6, 11, 16, 21]), 0, "SSE4A XOP FMA4 TBM");
        assert_eq!(extended.edx >> 30, 0, "3DNow");
    }

    #[test]
    fn a_program_sees_the_extensions_of_the_scope_that_the_host_has() {
        assert_eq!(
            masked(1, 0, FULL).ecx & bits([0, 1, 9, 13, 19, 20, 22, 23, 25]),
            bits([0, 1, 9, 13, 19, 20, 22, 23, 25])
        );
        assert_eq!(masked(7, 0, FULL).ebx & bits([3, 8, 19]), bits([3, 8, 19]));
        assert_eq!(masked(1, 0, CpuidResult::default()), CpuidResult::default());
    }
}
