//! The table of feature flags.

use super::feature::Offered::{No, Yes};
use super::feature::Register::{Eax, Ebx, Ecx, Edx};
use super::feature::{Bit, Offered, Row};

const VECTOR: Offered = No("registers wider than 128 bits are not modelled");
const TILE: Offered = No("tile registers are not modelled");
const INSTRUCTION: Offered = No("the instruction is not modelled");
const PERFORMANCE: Offered = No("performance monitoring is not modelled");
const THERMAL: Offered = No("power and temperature are not modelled");
const TRANSACTION: Offered = No("transactional synchronization is not modelled");
const ENCLAVE: Offered = No("enclaves are not modelled");
const MEMORY_ENCRYPTION: Offered = No("memory encryption is not modelled");
const SHADOW_STACK: Offered = No("control-flow enforcement is not modelled");
const SPECULATION: Offered = No("nothing executes speculatively, so there is nothing to control");
const QUALITY: Offered = No("resource directors are not modelled");
const SYSTEM: Offered = No("not modelled");
const X87: Offered = No("the x87 environment keeps pointers and selectors");
const PROCESSORS: Offered = No("it follows the number of processors");
const FOLLOWS_CR4: Offered = No("it follows CR4 and is not a property of the processor");

/// Makes the enumeration and the rows from one list.
macro_rules! features {
    ($($variant:ident $name:literal ($leaf:literal, $subleaf:literal, $register:ident, $bit:literal) $offered:ident
        $text:literal;)+) => {
        /// A feature flag of CPUID (SDM Vol. 2A, CPUID).
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Debug)]
        #[non_exhaustive]
        pub enum Feature {
            $(#[doc = $text] $variant,)+
        }

        /// The rows, in the order of the enumeration.
        pub(super) const ROWS: &[Row] = &[$(Row {
            feature: Feature::$variant,
            name: $name,
            bit: Bit { leaf: $leaf, subleaf: $subleaf, register: $register, bit: $bit },
            offered: $offered,
            text: $text,
        },)+];
    };
}

features! {
    Sse3 "SSE3" (1, 0, Ecx, 0) Yes "SSE3 instructions.";
    Pclmulqdq "PCLMULQDQ" (1, 0, Ecx, 1) Yes "PCLMULQDQ.";
    Dtes64 "DTES64" (1, 0, Ecx, 2) PERFORMANCE "64-bit layout of the debug store.";
    Monitor "MONITOR" (1, 0, Ecx, 3) Yes "MONITOR and MWAIT.";
    DsCpl "DS-CPL" (1, 0, Ecx, 4) PERFORMANCE "Debug store qualified by CPL.";
    Vmx "VMX" (1, 0, Ecx, 5) Yes "Virtual-machine extensions.";
    Smx "SMX" (1, 0, Ecx, 6) SYSTEM "Safer-mode extensions.";
    Eist "EIST" (1, 0, Ecx, 7) THERMAL "Enhanced Intel SpeedStep technology.";
    Tm2 "TM2" (1, 0, Ecx, 8) THERMAL "Thermal Monitor 2.";
    Ssse3 "SSSE3" (1, 0, Ecx, 9) Yes "SSSE3 instructions.";
    CnxtId "CNXT-ID" (1, 0, Ecx, 10) SYSTEM "L1 context identifier.";
    Sdbg "SDBG" (1, 0, Ecx, 11) SYSTEM "IA32_DEBUG_INTERFACE.";
    Fma "FMA" (1, 0, Ecx, 12) VECTOR "Fused multiply-add.";
    Cmpxchg16b "CMPXCHG16B" (1, 0, Ecx, 13) Yes "CMPXCHG16B.";
    XtprUpdateControl "xTPR Update Control" (1, 0, Ecx, 14) SYSTEM "Changing IA32_MISC_ENABLE[23].";
    Pdcm "PDCM" (1, 0, Ecx, 15) PERFORMANCE "IA32_PERF_CAPABILITIES.";
    Pcid "PCID" (1, 0, Ecx, 17) Yes "Process-context identifiers.";
    Dca "DCA" (1, 0, Ecx, 18) SYSTEM "Prefetching from a memory-mapped device.";
    Sse41 "SSE4.1" (1, 0, Ecx, 19) Yes "SSE4.1 instructions.";
    Sse42 "SSE4.2" (1, 0, Ecx, 20) Yes "SSE4.2 instructions.";
    X2apic "x2APIC" (1, 0, Ecx, 21) Yes "The x2APIC mode of the local APIC.";
    Movbe "MOVBE" (1, 0, Ecx, 22) Yes "MOVBE.";
    Popcnt "POPCNT" (1, 0, Ecx, 23) Yes "POPCNT.";
    TscDeadline "TSC-Deadline" (1, 0, Ecx, 24) Yes "The TSC-deadline mode of the APIC timer.";
    Aesni "AESNI" (1, 0, Ecx, 25) Yes "AES instructions.";
    Xsave "XSAVE" (1, 0, Ecx, 26) Yes "XSAVE, XRSTOR, XGETBV, XSETBV and XCR0.";
    Osxsave "OSXSAVE" (1, 0, Ecx, 27) FOLLOWS_CR4 "CR4.OSXSAVE is 1.";
    Avx "AVX" (1, 0, Ecx, 28) VECTOR "AVX instructions.";
    F16c "F16C" (1, 0, Ecx, 29) VECTOR "Conversion of 16-bit floating-point numbers.";
    Rdrand "RDRAND" (1, 0, Ecx, 30) Yes "RDRAND.";

    Fpu "FPU" (1, 0, Edx, 0) Yes "x87 floating-point unit.";
    Vme "VME" (1, 0, Edx, 1) Yes "Virtual-8086 mode enhancements.";
    De "DE" (1, 0, Edx, 2) Yes "Debugging extensions: I/O breakpoints.";
    Pse "PSE" (1, 0, Edx, 3) Yes "4-MByte pages.";
    Tsc "TSC" (1, 0, Edx, 4) Yes "RDTSC.";
    Msr "MSR" (1, 0, Edx, 5) Yes "RDMSR and WRMSR.";
    Pae "PAE" (1, 0, Edx, 6) Yes "Physical addresses wider than 32 bits.";
    Mce "MCE" (1, 0, Edx, 7) Yes "Machine-check exception.";
    Cx8 "CX8" (1, 0, Edx, 8) Yes "CMPXCHG8B.";
    Apic "APIC" (1, 0, Edx, 9) Yes "A local APIC; the flag is clear while it is disabled.";
    Sep "SEP" (1, 0, Edx, 11) Yes "SYSENTER and SYSEXIT.";
    Mtrr "MTRR" (1, 0, Edx, 12) Yes "Memory-type range registers.";
    Pge "PGE" (1, 0, Edx, 13) Yes "Global pages.";
    Mca "MCA" (1, 0, Edx, 14) Yes "Machine-check architecture.";
    Cmov "CMOV" (1, 0, Edx, 15) Yes "Conditional moves.";
    Pat "PAT" (1, 0, Edx, 16) Yes "Page attribute table.";
    Pse36 "PSE-36" (1, 0, Edx, 17) Yes "4-MByte pages above 4 GBytes.";
    Psn "PSN" (1, 0, Edx, 18) SYSTEM "Processor serial number.";
    Clfsh "CLFSH" (1, 0, Edx, 19) Yes "CLFLUSH.";
    Ds "DS" (1, 0, Edx, 21) PERFORMANCE "Debug store.";
    Acpi "ACPI" (1, 0, Edx, 22) THERMAL "Thermal monitor and software-controlled clock.";
    Mmx "MMX" (1, 0, Edx, 23) Yes "MMX instructions.";
    Fxsr "FXSR" (1, 0, Edx, 24) Yes "FXSAVE and FXRSTOR.";
    Sse "SSE" (1, 0, Edx, 25) Yes "SSE instructions.";
    Sse2 "SSE2" (1, 0, Edx, 26) Yes "SSE2 instructions.";
    Ss "SS" (1, 0, Edx, 27) SYSTEM "Self-snoop.";
    Htt "HTT" (1, 0, Edx, 28) PROCESSORS "More than one logical processor in the package.";
    Tm "TM" (1, 0, Edx, 29) THERMAL "Thermal monitor.";
    Pbe "PBE" (1, 0, Edx, 31) THERMAL "Pending-break enable.";

    Dtherm "DTHERM" (6, 0, Eax, 0) THERMAL "Digital temperature sensor.";
    TurboBoost "Turbo Boost" (6, 0, Eax, 1) THERMAL "Turbo Boost technology.";
    Arat "ARAT" (6, 0, Eax, 2) Yes "The APIC timer always runs.";
    Aperfmperf "APERFMPERF" (6, 0, Ecx, 0) THERMAL "IA32_MPERF and IA32_APERF.";

    Fsgsbase "FSGSBASE" (7, 0, Ebx, 0) Yes "RDFSBASE, RDGSBASE, WRFSBASE and WRGSBASE.";
    TscAdjust "IA32_TSC_ADJUST" (7, 0, Ebx, 1) Yes "IA32_TSC_ADJUST.";
    Sgx "SGX" (7, 0, Ebx, 2) ENCLAVE "Software guard extensions.";
    Bmi1 "BMI1" (7, 0, Ebx, 3) Yes "First group of bit-manipulation instructions.";
    Hle "HLE" (7, 0, Ebx, 4) TRANSACTION "Hardware lock elision.";
    Avx2 "AVX2" (7, 0, Ebx, 5) VECTOR "AVX2 instructions.";
    FdpExcptnOnly "FDP_EXCPTN_ONLY" (7, 0, Ebx, 6) X87 "x87 data pointer updated on exceptions only.";
    Smep "SMEP" (7, 0, Ebx, 7) Yes "Supervisor-mode execution prevention.";
    Bmi2 "BMI2" (7, 0, Ebx, 8) Yes "Second group of bit-manipulation instructions.";
    Erms "ERMS" (7, 0, Ebx, 9) Yes "Enhanced REP MOVSB and STOSB.";
    Invpcid "INVPCID" (7, 0, Ebx, 10) Yes "INVPCID.";
    Rtm "RTM" (7, 0, Ebx, 11) TRANSACTION "Restricted transactional memory.";
    RdtM "RDT-M" (7, 0, Ebx, 12) QUALITY "Resource-director monitoring.";
    NoFpuCsDs "Deprecates FPU CS and FPU DS" (7, 0, Ebx, 13) X87 "x87 selectors are always 0.";
    Mpx "MPX" (7, 0, Ebx, 14) SYSTEM "Memory-protection extensions.";
    RdtA "RDT-A" (7, 0, Ebx, 15) QUALITY "Resource-director allocation.";
    Avx512f "AVX512F" (7, 0, Ebx, 16) VECTOR "AVX-512 foundation.";
    Avx512dq "AVX512DQ" (7, 0, Ebx, 17) VECTOR "AVX-512 doublewords and quadwords.";
    Rdseed "RDSEED" (7, 0, Ebx, 18) Yes "RDSEED.";
    Adx "ADX" (7, 0, Ebx, 19) Yes "ADCX and ADOX.";
    Smap "SMAP" (7, 0, Ebx, 20) Yes "Supervisor-mode access prevention, CLAC and STAC.";
    Avx512Ifma "AVX512_IFMA" (7, 0, Ebx, 21) VECTOR "AVX-512 integer fused multiply-add.";
    Clflushopt "CLFLUSHOPT" (7, 0, Ebx, 23) Yes "CLFLUSHOPT.";
    Clwb "CLWB" (7, 0, Ebx, 24) Yes "CLWB.";
    ProcessorTrace "Intel Processor Trace" (7, 0, Ebx, 25) SYSTEM "Intel Processor Trace.";
    Avx512pf "AVX512PF" (7, 0, Ebx, 26) VECTOR "AVX-512 prefetch.";
    Avx512er "AVX512ER" (7, 0, Ebx, 27) VECTOR "AVX-512 exponential and reciprocal.";
    Avx512cd "AVX512CD" (7, 0, Ebx, 28) VECTOR "AVX-512 conflict detection.";
    Sha "SHA" (7, 0, Ebx, 29) INSTRUCTION "SHA instructions.";
    Avx512bw "AVX512BW" (7, 0, Ebx, 30) VECTOR "AVX-512 bytes and words.";
    Avx512vl "AVX512VL" (7, 0, Ebx, 31) VECTOR "AVX-512 on shorter vectors.";

    Prefetchwt1 "PREFETCHWT1" (7, 0, Ecx, 0) INSTRUCTION "PREFETCHWT1.";
    Avx512Vbmi "AVX512_VBMI" (7, 0, Ecx, 1) VECTOR "AVX-512 byte permutation.";
    Umip "UMIP" (7, 0, Ecx, 2) Yes "User-mode instruction prevention.";
    Pku "PKU" (7, 0, Ecx, 3) Yes "Protection keys for user-mode pages.";
    Ospke "OSPKE" (7, 0, Ecx, 4) FOLLOWS_CR4 "CR4.PKE is 1.";
    Waitpkg "WAITPKG" (7, 0, Ecx, 5) INSTRUCTION "UMONITOR, UMWAIT and TPAUSE.";
    Avx512Vbmi2 "AVX512_VBMI2" (7, 0, Ecx, 6) VECTOR "AVX-512 byte compression.";
    CetSs "CET_SS" (7, 0, Ecx, 7) SHADOW_STACK "Shadow stacks.";
    Gfni "GFNI" (7, 0, Ecx, 8) INSTRUCTION "Galois-field instructions.";
    Vaes "VAES" (7, 0, Ecx, 9) VECTOR "AES instructions on longer vectors.";
    Vpclmulqdq "VPCLMULQDQ" (7, 0, Ecx, 10) VECTOR "VPCLMULQDQ.";
    Avx512Vnni "AVX512_VNNI" (7, 0, Ecx, 11) VECTOR "AVX-512 dot products.";
    Avx512Bitalg "AVX512_BITALG" (7, 0, Ecx, 12) VECTOR "AVX-512 bit algorithms.";
    TmeEn "TME_EN" (7, 0, Ecx, 13) MEMORY_ENCRYPTION "MSRs of total memory encryption.";
    Avx512Vpopcntdq "AVX512_VPOPCNTDQ" (7, 0, Ecx, 14) VECTOR "AVX-512 population counts.";
    La57 "LA57" (7, 0, Ecx, 16) SYSTEM "57-bit linear addresses and 5-level paging.";
    Rdpid "RDPID" (7, 0, Ecx, 22) Yes "RDPID and IA32_TSC_AUX.";
    Kl "KL" (7, 0, Ecx, 23) INSTRUCTION "Key Locker.";
    BusLockDetect "BUS_LOCK_DETECT" (7, 0, Ecx, 24) SYSTEM "Debug exceptions for bus locks.";
    Cldemote "CLDEMOTE" (7, 0, Ecx, 25) INSTRUCTION "CLDEMOTE.";
    Movdiri "MOVDIRI" (7, 0, Ecx, 27) INSTRUCTION "MOVDIRI.";
    Movdir64b "MOVDIR64B" (7, 0, Ecx, 28) INSTRUCTION "MOVDIR64B.";
    Enqcmd "ENQCMD" (7, 0, Ecx, 29) INSTRUCTION "ENQCMD and ENQCMDS.";
    SgxLc "SGX_LC" (7, 0, Ecx, 30) ENCLAVE "Launch configuration of enclaves.";
    Pks "PKS" (7, 0, Ecx, 31) SYSTEM "Protection keys for supervisor-mode pages.";

    SgxKeys "SGX-KEYS" (7, 0, Edx, 1) ENCLAVE "Attestation of enclaves.";
    Avx5124vnniw "AVX512_4VNNIW" (7, 0, Edx, 2) VECTOR "AVX-512 dot products of four registers.";
    Avx5124fmaps "AVX512_4FMAPS" (7, 0, Edx, 3) VECTOR "AVX-512 multiply-add of four registers.";
    Fsrm "FSRM" (7, 0, Edx, 4) Yes "Fast short REP MOVSB.";
    Uintr "UINTR" (7, 0, Edx, 5) SYSTEM "User interrupts.";
    Avx512Vp2intersect "AVX512_VP2INTERSECT" (7, 0, Edx, 8) VECTOR "AVX-512 intersection.";
    SrbdsCtrl "SRBDS_CTRL" (7, 0, Edx, 9) SPECULATION "Control of special-register buffer sampling.";
    MdClear "MD_CLEAR" (7, 0, Edx, 10) SPECULATION "VERW overwrites buffers.";
    RtmAlwaysAbort "RTM_ALWAYS_ABORT" (7, 0, Edx, 11) TRANSACTION "XBEGIN always aborts.";
    RtmForceAbort "RTM_FORCE_ABORT" (7, 0, Edx, 13) TRANSACTION "IA32_TSX_FORCE_ABORT.";
    Serialize "SERIALIZE" (7, 0, Edx, 14) INSTRUCTION "SERIALIZE.";
    Hybrid "Hybrid" (7, 0, Edx, 15) SYSTEM "Cores of several kinds.";
    Tsxldtrk "TSXLDTRK" (7, 0, Edx, 16) TRANSACTION "Suspending the tracking of loads.";
    Pconfig "PCONFIG" (7, 0, Edx, 18) MEMORY_ENCRYPTION "PCONFIG.";
    ArchitecturalLbrs "Architectural LBRs" (7, 0, Edx, 19) PERFORMANCE "Architectural last-branch records.";
    CetIbt "CET_IBT" (7, 0, Edx, 20) SHADOW_STACK "Indirect-branch tracking.";
    AmxBf16 "AMX-BF16" (7, 0, Edx, 22) TILE "Tile products of bfloat16 numbers.";
    Avx512Fp16 "AVX512_FP16" (7, 0, Edx, 23) VECTOR "AVX-512 on 16-bit floating-point numbers.";
    AmxTile "AMX-TILE" (7, 0, Edx, 24) TILE "Tile registers.";
    AmxInt8 "AMX-INT8" (7, 0, Edx, 25) TILE "Tile products of bytes.";
    IbrsIbpb "IBRS and IBPB" (7, 0, Edx, 26) SPECULATION "IA32_SPEC_CTRL.IBRS and IA32_PRED_CMD.";
    Stibp "STIBP" (7, 0, Edx, 27) SPECULATION "IA32_SPEC_CTRL.STIBP.";
    L1dFlush "L1D_FLUSH" (7, 0, Edx, 28) SPECULATION "IA32_FLUSH_CMD.";
    ArchCapabilities "IA32_ARCH_CAPABILITIES" (7, 0, Edx, 29) SYSTEM "IA32_ARCH_CAPABILITIES.";
    CoreCapabilities "IA32_CORE_CAPABILITIES" (7, 0, Edx, 30) SYSTEM "IA32_CORE_CAPABILITIES.";
    Ssbd "SSBD" (7, 0, Edx, 31) SPECULATION "IA32_SPEC_CTRL.SSBD.";

    AvxVnni "AVX-VNNI" (7, 1, Eax, 4) VECTOR "AVX dot products.";
    Avx512Bf16 "AVX512_BF16" (7, 1, Eax, 5) VECTOR "AVX-512 on bfloat16 numbers.";
    Lass "LASS" (7, 1, Eax, 6) SYSTEM "Linear-address-space separation.";
    Cmpccxadd "CMPCCXADD" (7, 1, Eax, 7) INSTRUCTION "Compare and add.";
    Fzlrm "FZLRM" (7, 1, Eax, 10) SYSTEM "Fast zero-length REP MOVSB.";
    Fsrs "FSRS" (7, 1, Eax, 11) SYSTEM "Fast short REP STOSB.";
    Fsrcs "FSRCS" (7, 1, Eax, 12) SYSTEM "Fast short REP CMPSB and SCASB.";
    Fred "FRED" (7, 1, Eax, 17) SYSTEM "Flexible return and event delivery.";
    Lkgs "LKGS" (7, 1, Eax, 18) INSTRUCTION "LKGS.";
    Wrmsrns "WRMSRNS" (7, 1, Eax, 19) INSTRUCTION "WRMSRNS.";
    AmxFp16 "AMX-FP16" (7, 1, Eax, 21) TILE "Tile products of 16-bit floating-point numbers.";
    Hreset "HRESET" (7, 1, Eax, 22) INSTRUCTION "HRESET.";
    AvxIfma "AVX-IFMA" (7, 1, Eax, 23) VECTOR "AVX integer fused multiply-add.";
    Lam "LAM" (7, 1, Eax, 26) SYSTEM "Linear-address masking.";
    Msrlist "MSRLIST" (7, 1, Eax, 27) INSTRUCTION "RDMSRLIST and WRMSRLIST.";

    Xsaveopt "XSAVEOPT" (0xd, 1, Eax, 0) INSTRUCTION "XSAVEOPT.";
    Xsavec "XSAVEC" (0xd, 1, Eax, 1) INSTRUCTION "XSAVEC and the compacted format.";
    Xgetbv1 "XGETBV with ECX = 1" (0xd, 1, Eax, 2) INSTRUCTION "XGETBV with ECX = 1.";
    Xsaves "XSAVES" (0xd, 1, Eax, 3) INSTRUCTION "XSAVES, XRSTORS and IA32_XSS.";
    Xfd "XFD" (0xd, 1, Eax, 4) TILE "IA32_XFD.";

    LahfSahf "LAHF/SAHF" (0x8000_0001, 0, Ecx, 0) Yes "LAHF and SAHF in 64-bit mode.";
    Lzcnt "LZCNT" (0x8000_0001, 0, Ecx, 5) Yes "LZCNT.";
    Prefetchw "PREFETCHW" (0x8000_0001, 0, Ecx, 8) Yes "PREFETCHW.";
    Syscall "SYSCALL" (0x8000_0001, 0, Edx, 11) Yes
        "SYSCALL and SYSRET; the flag is clear outside 64-bit mode.";
    Nx "NX" (0x8000_0001, 0, Edx, 20) Yes "Execute-disable bit.";
    Page1Gb "Page1GB" (0x8000_0001, 0, Edx, 26) Yes "1-GByte pages.";
    Rdtscp "RDTSCP" (0x8000_0001, 0, Edx, 27) Yes "RDTSCP and IA32_TSC_AUX.";
    Lm "LM" (0x8000_0001, 0, Edx, 29) Yes "Intel 64 architecture.";

    InvariantTsc "Invariant TSC" (0x8000_0007, 0, Edx, 8) Yes "The TSC runs at a constant rate.";
    Wbnoinvd "WBNOINVD" (0x8000_0008, 0, Ebx, 9) INSTRUCTION "WBNOINVD.";
}
