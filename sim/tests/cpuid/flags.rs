//! Where the manual has the flags, said a second time.

use vmxsim::cpuid::Register;

/// The flags of each register from bit 0 on, as the tables of the manual list them; `-` where a bit is no flag.
pub(super) const FLAGS: [(u32, u32, Register, &str); 12] = [
    (
        1,
        0,
        Register::Ecx,
        "SSE3, PCLMULQDQ, DTES64, MONITOR, DS-CPL, VMX, SMX, EIST, TM2, SSSE3, CNXT-ID, SDBG, FMA, CMPXCHG16B, \
         xTPR Update Control, PDCM, -, PCID, DCA, SSE4.1, SSE4.2, x2APIC, MOVBE, POPCNT, TSC-Deadline, AESNI, XSAVE, \
         OSXSAVE, AVX, F16C, RDRAND, -",
    ),
    (
        1,
        0,
        Register::Edx,
        "FPU, VME, DE, PSE, TSC, MSR, PAE, MCE, CX8, APIC, -, SEP, MTRR, PGE, MCA, CMOV, PAT, PSE-36, PSN, CLFSH, -, \
         DS, ACPI, MMX, FXSR, SSE, SSE2, SS, HTT, TM, -, PBE",
    ),
    (6, 0, Register::Eax, "DTHERM, Turbo Boost, ARAT"),
    (6, 0, Register::Ecx, "APERFMPERF"),
    (
        7,
        0,
        Register::Ebx,
        "FSGSBASE, IA32_TSC_ADJUST, SGX, BMI1, HLE, AVX2, FDP_EXCPTN_ONLY, SMEP, BMI2, ERMS, INVPCID, RTM, RDT-M, \
         Deprecates FPU CS and FPU DS, MPX, RDT-A, AVX512F, AVX512DQ, RDSEED, ADX, SMAP, AVX512_IFMA, -, CLFLUSHOPT, \
         CLWB, Intel Processor Trace, AVX512PF, AVX512ER, AVX512CD, SHA, AVX512BW, AVX512VL",
    ),
    (
        7,
        0,
        Register::Ecx,
        "PREFETCHWT1, AVX512_VBMI, UMIP, PKU, OSPKE, WAITPKG, AVX512_VBMI2, CET_SS, GFNI, VAES, VPCLMULQDQ, \
         AVX512_VNNI, AVX512_BITALG, TME_EN, AVX512_VPOPCNTDQ, -, LA57, -, -, -, -, -, RDPID, KL, BUS_LOCK_DETECT, \
         CLDEMOTE, -, MOVDIRI, MOVDIR64B, ENQCMD, SGX_LC, PKS",
    ),
    (
        7,
        0,
        Register::Edx,
        "-, SGX-KEYS, AVX512_4VNNIW, AVX512_4FMAPS, FSRM, UINTR, -, -, AVX512_VP2INTERSECT, SRBDS_CTRL, MD_CLEAR, \
         RTM_ALWAYS_ABORT, -, RTM_FORCE_ABORT, SERIALIZE, Hybrid, TSXLDTRK, -, PCONFIG, Architectural LBRs, CET_IBT, \
         -, AMX-BF16, AVX512_FP16, AMX-TILE, AMX-INT8, IBRS and IBPB, STIBP, L1D_FLUSH, IA32_ARCH_CAPABILITIES, \
         IA32_CORE_CAPABILITIES, SSBD",
    ),
    (
        7,
        1,
        Register::Eax,
        "-, -, -, -, AVX-VNNI, AVX512_BF16, LASS, CMPCCXADD, -, -, FZLRM, FSRS, FSRCS, -, -, -, -, FRED, LKGS, \
         WRMSRNS, -, AMX-FP16, HRESET, AVX-IFMA, -, -, LAM, MSRLIST",
    ),
    (0xd, 1, Register::Eax, "XSAVEOPT, XSAVEC, XGETBV with ECX = 1, XSAVES, XFD"),
    (0x8000_0001, 0, Register::Ecx, "LAHF/SAHF, -, -, -, -, LZCNT, -, -, PREFETCHW"),
    (
        0x8000_0001,
        0,
        Register::Edx,
        "-, -, -, -, -, -, -, -, -, -, -, SYSCALL, -, -, -, -, -, -, -, -, NX, -, -, -, -, -, Page1GB, RDTSCP, -, LM",
    ),
    (0x8000_0007, 0, Register::Edx, "-, -, -, -, -, -, -, -, Invariant TSC"),
];
