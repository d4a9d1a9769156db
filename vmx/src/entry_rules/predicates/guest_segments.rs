//! Checks of guest segment registers and descriptor-table registers (SDM 29.3.1.2, 29.3.1.3).

use super::host::HIGH;
use super::{Entry, predicates};
use crate::entry_rules::Subject;
use crate::entry_rules::question::rights::{DB, G, L, P, S, UNUSABLE};
use crate::field::Encoding as E;
use isa::control::Cr0;

/// The lists of this file.
pub(super) const LISTS: &[&[Entry]] = &[
    CS,
    SS,
    DS,
    ES,
    FS,
    GS,
    TR,
    LDTR,
    TABLES,
    V86_CS,
    V86_SS,
    V86_DS,
    V86_ES,
    V86_FS,
    V86_GS,
    CODE_OR_DATA,
    DATA_DS,
    DATA_ES,
    DATA_FS,
    DATA_GS,
    ANY_CS,
    ANY_SS,
    ANY_DS,
    ANY_ES,
    ANY_FS,
    ANY_GS,
    ANY_TR,
    ANY_LDTR,
];

/// TI of a selector.
const TI: u64 = 4;

/// Bits 31:17 of access rights.
const UPPER: u64 = 0xfffe_0000;

/// Access rights of every segment of a virtual-8086 guest.
const VIRTUAL_8086_RIGHTS: u64 = 0xf3;

/// Any of bits 11:0 of a limit is 0, so that it does not count pages.
const fn needs_g_0(s: &Subject, limit: E) -> bool {
    s.bits(limit, 11, 0) != 0xfff
}

/// Any of bits 31:20 of a limit is 1, so that it cannot count bytes.
const fn needs_g_1(s: &Subject, limit: E) -> bool {
    s.is_set(limit, 0xfff0_0000)
}

const fn code(s: &Subject, types: &[u64]) -> bool {
    let mut next = 0;
    while next < types.len() {
        if s.segment_type(E::GUEST_CS_AR) == types[next] {
            return true;
        }
        next += 1;
    }
    false
}

/// A code segment, which has no need to be readable.
const CODE: u64 = 1 << 3;

const CS: &[Entry] = predicates! { s;
    "GUEST.SEG.CS_BASE_HI", s.intel_64() => s.is_clear(E::GUEST_CS_BASE, HIGH);
    "GUEST.SEG.CS_TYPE", !s.virtual_8086_guest() && !s.unrestricted() => code(s, &[9, 11, 13, 15]);
    "GUEST.SEG.CS_TYPE_URG", !s.virtual_8086_guest() && s.unrestricted() => code(s, &[3, 9, 11, 13, 15]);
    "GUEST.SEG.CS_DPL_TYPE3", !s.virtual_8086_guest() && code(s, &[3]) => s.dpl(E::GUEST_CS_AR) == 0;
    "GUEST.SEG.CS_DPL_NONCONF", !s.virtual_8086_guest() && code(s, &[9, 11])
        => s.dpl(E::GUEST_CS_AR) == s.dpl(E::GUEST_SS_AR);
    "GUEST.SEG.CS_DPL_CONF", !s.virtual_8086_guest() && code(s, &[13, 15])
        => s.dpl(E::GUEST_CS_AR) <= s.dpl(E::GUEST_SS_AR);
    "GUEST.SEG.CS_DB_L", !s.virtual_8086_guest() && s.ia_32e_guest() && s.is_set(E::GUEST_CS_AR, L)
        => s.is_clear(E::GUEST_CS_AR, DB);
};

const SS: &[Entry] = predicates! { s;
    "GUEST.SEG.SS_RPL_CS", !s.virtual_8086_guest() && !s.unrestricted()
        => s.rpl(E::GUEST_SS_SELECTOR) == s.rpl(E::GUEST_CS_SELECTOR);
    "GUEST.SEG.SS_BASE_HI", s.intel_64() && s.usable(E::GUEST_SS_AR) => s.is_clear(E::GUEST_SS_BASE, HIGH);
    "GUEST.SEG.SS_TYPE", !s.virtual_8086_guest() && s.usable(E::GUEST_SS_AR)
        => s.segment_type(E::GUEST_SS_AR) & !4 == 3;
    "GUEST.SEG.SS_DPL_RPL", !s.virtual_8086_guest() && !s.unrestricted()
        => s.dpl(E::GUEST_SS_AR) == s.rpl(E::GUEST_SS_SELECTOR);
    "GUEST.SEG.SS_DPL_ZERO", !s.virtual_8086_guest() && (code(s, &[3]) || !s.guest_cr0(Cr0::PE))
        => s.dpl(E::GUEST_SS_AR) == 0;
    "GUEST.SEG.SS_FRED_DPL", s.guest_fred() => s.dpl(E::GUEST_SS_AR) == 0 || s.dpl(E::GUEST_SS_AR) == 3;
    "GUEST.SEG.SS_FRED_DPL0_L", s.guest_fred() && s.dpl(E::GUEST_SS_AR) == 0 => s.is_set(E::GUEST_CS_AR, L);
    "GUEST.SEG.SS_FRED_DPL3_IOPL", s.guest_fred() && s.dpl(E::GUEST_SS_AR) == 3
        => s.bits(E::GUEST_RFLAGS, 13, 12) == 0;
    "GUEST.SEG.SS_FRED_DPL3_STI", s.guest_fred() && s.dpl(E::GUEST_SS_AR) == 3
        => s.is_clear(E::GUEST_INTERRUPTIBILITY, 1);
};

const DS: &[Entry] = predicates! { s;
    "GUEST.SEG.DS_BASE_HI", s.intel_64() && s.usable(E::GUEST_DS_AR) => s.is_clear(E::GUEST_DS_BASE, HIGH);
};

const ES: &[Entry] = predicates! { s;
    "GUEST.SEG.ES_BASE_HI", s.intel_64() && s.usable(E::GUEST_ES_AR) => s.is_clear(E::GUEST_ES_BASE, HIGH);
};

const FS: &[Entry] = predicates! { s;
    "GUEST.SEG.FS_BASE_CANON", s.intel_64() => s.canonical(E::GUEST_FS_BASE);
};

const GS: &[Entry] = predicates! { s;
    "GUEST.SEG.GS_BASE_CANON", s.intel_64() => s.canonical(E::GUEST_GS_BASE);
};

const TR: &[Entry] = predicates! { s;
    "GUEST.SEG.TR_TI", true => s.is_clear(E::GUEST_TR_SELECTOR, TI);
    "GUEST.SEG.TR_BASE_CANON", s.intel_64() => s.canonical(E::GUEST_TR_BASE);
    "GUEST.SEG.TR_TYPE_32", !s.ia_32e_guest() => s.segment_type(E::GUEST_TR_AR) & !8 == 3;
    "GUEST.SEG.TR_TYPE_64", s.ia_32e_guest() => s.segment_type(E::GUEST_TR_AR) == 11;
    "GUEST.SEG.TR_S", true => s.is_clear(E::GUEST_TR_AR, S);
    "GUEST.SEG.TR_USABLE", true => s.is_clear(E::GUEST_TR_AR, UNUSABLE);
};

const LDTR: &[Entry] = predicates! { s;
    "GUEST.SEG.LDTR_TI", s.usable(E::GUEST_LDTR_AR) => s.is_clear(E::GUEST_LDTR_SELECTOR, TI);
    "GUEST.SEG.LDTR_BASE_CANON", s.intel_64() && s.usable(E::GUEST_LDTR_AR) => s.canonical(E::GUEST_LDTR_BASE);
    "GUEST.SEG.LDTR_TYPE", s.usable(E::GUEST_LDTR_AR) => s.segment_type(E::GUEST_LDTR_AR) == 2;
    "GUEST.SEG.LDTR_S", s.usable(E::GUEST_LDTR_AR) => s.is_clear(E::GUEST_LDTR_AR, S);
};

const TABLES: &[Entry] = predicates! { s;
    "GUEST.DT.GDTR_BASE", s.intel_64() => s.canonical(E::GUEST_GDTR_BASE);
    "GUEST.DT.GDTR_LIMIT", true => s.is_clear(E::GUEST_GDTR_LIMIT, 0xffff_0000);
    "GUEST.DT.IDTR_BASE", s.intel_64() => s.canonical(E::GUEST_IDTR_BASE);
    "GUEST.DT.IDTR_LIMIT", true => s.is_clear(E::GUEST_IDTR_LIMIT, 0xffff_0000);
};

/// What a segment of a virtual-8086 guest must be.
macro_rules! virtual_8086 {
    ($name:literal, $selector:ident, $base:ident, $limit:ident, $rights:ident) => {
        predicates! { s;
            concat!("GUEST.SEG.", $name, "_V86_BASE"), s.virtual_8086_guest()
                => s.field(E::$base) == s.field(E::$selector) << 4;
            concat!("GUEST.SEG.", $name, "_V86_LIMIT"), s.virtual_8086_guest() => s.field(E::$limit) == 0xffff;
            concat!("GUEST.SEG.", $name, "_V86_AR"), s.virtual_8086_guest()
                => s.field(E::$rights) == VIRTUAL_8086_RIGHTS;
        }
    };
}

const V86_CS: &[Entry] = virtual_8086!("CS", GUEST_CS_SELECTOR, GUEST_CS_BASE, GUEST_CS_LIMIT, GUEST_CS_AR);
const V86_SS: &[Entry] = virtual_8086!("SS", GUEST_SS_SELECTOR, GUEST_SS_BASE, GUEST_SS_LIMIT, GUEST_SS_AR);
const V86_DS: &[Entry] = virtual_8086!("DS", GUEST_DS_SELECTOR, GUEST_DS_BASE, GUEST_DS_LIMIT, GUEST_DS_AR);
const V86_ES: &[Entry] = virtual_8086!("ES", GUEST_ES_SELECTOR, GUEST_ES_BASE, GUEST_ES_LIMIT, GUEST_ES_AR);
const V86_FS: &[Entry] = virtual_8086!("FS", GUEST_FS_SELECTOR, GUEST_FS_BASE, GUEST_FS_LIMIT, GUEST_FS_AR);
const V86_GS: &[Entry] = virtual_8086!("GS", GUEST_GS_SELECTOR, GUEST_GS_BASE, GUEST_GS_LIMIT, GUEST_GS_AR);

/// What DS, ES, FS and GS must be if they are usable and the guest is not in virtual-8086 mode.
macro_rules! data {
    ($name:literal, $selector:ident, $rights:ident) => {
        predicates! { s;
            concat!("GUEST.SEG.", $name, "_ACCESSED"), !s.virtual_8086_guest() && s.usable(E::$rights)
                => s.is_set(E::$rights, 1);
            concat!("GUEST.SEG.", $name, "_READABLE"),
                !s.virtual_8086_guest() && s.usable(E::$rights) && s.is_set(E::$rights, CODE)
                => s.is_set(E::$rights, 2);
            concat!("GUEST.SEG.", $name, "_DPL_RPL"),
                !s.virtual_8086_guest() && !s.unrestricted() && s.usable(E::$rights)
                    && s.segment_type(E::$rights) <= 11
                => s.dpl(E::$rights) >= s.rpl(E::$selector);
        }
    };
}

const DATA_DS: &[Entry] = data!("DS", GUEST_DS_SELECTOR, GUEST_DS_AR);
const DATA_ES: &[Entry] = data!("ES", GUEST_ES_SELECTOR, GUEST_ES_AR);
const DATA_FS: &[Entry] = data!("FS", GUEST_FS_SELECTOR, GUEST_FS_AR);
const DATA_GS: &[Entry] = data!("GS", GUEST_GS_SELECTOR, GUEST_GS_AR);

/// What the access rights of any segment register must be, when `$when` holds.
macro_rules! any {
    ($name:literal, $limit:ident, $rights:ident, $s:ident, $when:expr) => {
        predicates! { $s;
            concat!("GUEST.SEG.", $name, "_P"), $when => $s.is_set(E::$rights, P);
            concat!("GUEST.SEG.", $name, "_RSVD_11_8"), $when => $s.is_clear(E::$rights, 0xf00);
            concat!("GUEST.SEG.", $name, "_G0"), $when && needs_g_0($s, E::$limit) => $s.is_clear(E::$rights, G);
            concat!("GUEST.SEG.", $name, "_G1"), $when && needs_g_1($s, E::$limit) => $s.is_set(E::$rights, G);
            concat!("GUEST.SEG.", $name, "_RSVD_31_17"), $when => $s.is_clear(E::$rights, UPPER);
        }
    };
}

const ANY_CS: &[Entry] = any!("CS", GUEST_CS_LIMIT, GUEST_CS_AR, s, !s.virtual_8086_guest());
const ANY_SS: &[Entry] =
    any!("SS", GUEST_SS_LIMIT, GUEST_SS_AR, s, !s.virtual_8086_guest() && s.usable(E::GUEST_SS_AR));
const ANY_DS: &[Entry] =
    any!("DS", GUEST_DS_LIMIT, GUEST_DS_AR, s, !s.virtual_8086_guest() && s.usable(E::GUEST_DS_AR));
const ANY_ES: &[Entry] =
    any!("ES", GUEST_ES_LIMIT, GUEST_ES_AR, s, !s.virtual_8086_guest() && s.usable(E::GUEST_ES_AR));
const ANY_FS: &[Entry] =
    any!("FS", GUEST_FS_LIMIT, GUEST_FS_AR, s, !s.virtual_8086_guest() && s.usable(E::GUEST_FS_AR));
const ANY_GS: &[Entry] =
    any!("GS", GUEST_GS_LIMIT, GUEST_GS_AR, s, !s.virtual_8086_guest() && s.usable(E::GUEST_GS_AR));
const ANY_TR: &[Entry] = any!("TR", GUEST_TR_LIMIT, GUEST_TR_AR, s, true);
const ANY_LDTR: &[Entry] = any!("LDTR", GUEST_LDTR_LIMIT, GUEST_LDTR_AR, s, s.usable(E::GUEST_LDTR_AR));

/// Which descriptors are of code or data: bit S, outside virtual-8086 mode.
const CODE_OR_DATA: &[Entry] = predicates! { s;
    "GUEST.SEG.CS_S", !s.virtual_8086_guest() => s.is_set(E::GUEST_CS_AR, S);
    "GUEST.SEG.SS_S", !s.virtual_8086_guest() && s.usable(E::GUEST_SS_AR) => s.is_set(E::GUEST_SS_AR, S);
    "GUEST.SEG.DS_S", !s.virtual_8086_guest() && s.usable(E::GUEST_DS_AR) => s.is_set(E::GUEST_DS_AR, S);
    "GUEST.SEG.ES_S", !s.virtual_8086_guest() && s.usable(E::GUEST_ES_AR) => s.is_set(E::GUEST_ES_AR, S);
    "GUEST.SEG.FS_S", !s.virtual_8086_guest() && s.usable(E::GUEST_FS_AR) => s.is_set(E::GUEST_FS_AR, S);
    "GUEST.SEG.GS_S", !s.virtual_8086_guest() && s.usable(E::GUEST_GS_AR) => s.is_set(E::GUEST_GS_AR, S);
};
