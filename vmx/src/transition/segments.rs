//! Segment registers and descriptor-table registers (SDM 29.3.2.2, 30.3.2, 30.5.2).

use crate::controls::PrimaryExitControls;
use crate::field::Encoding;
use crate::vmcs::Vmcs;
use isa::segment::{AccessRights, DescriptorTable, Segment, SegmentRegister};
use isa::state::State;

/// Where the parts of a segment register are in the guest-state area.
struct Fields {
    selector: Encoding,
    base: Encoding,
    limit: Encoding,
    rights: Encoding,
}

macro_rules! fields {
    ($selector:ident, $base:ident, $limit:ident, $rights:ident) => {
        Fields {
            selector: Encoding::$selector,
            base: Encoding::$base,
            limit: Encoding::$limit,
            rights: Encoding::$rights,
        }
    };
}

const LDTR: Fields = fields!(GUEST_LDTR_SELECTOR, GUEST_LDTR_BASE, GUEST_LDTR_LIMIT, GUEST_LDTR_AR);
const TR: Fields = fields!(GUEST_TR_SELECTOR, GUEST_TR_BASE, GUEST_TR_LIMIT, GUEST_TR_AR);

/// In the order of [`SegmentRegister::ALL`].
const SEGMENTS: [Fields; 6] = [
    fields!(GUEST_ES_SELECTOR, GUEST_ES_BASE, GUEST_ES_LIMIT, GUEST_ES_AR),
    fields!(GUEST_CS_SELECTOR, GUEST_CS_BASE, GUEST_CS_LIMIT, GUEST_CS_AR),
    fields!(GUEST_SS_SELECTOR, GUEST_SS_BASE, GUEST_SS_LIMIT, GUEST_SS_AR),
    fields!(GUEST_DS_SELECTOR, GUEST_DS_BASE, GUEST_DS_LIMIT, GUEST_DS_AR),
    fields!(GUEST_FS_SELECTOR, GUEST_FS_BASE, GUEST_FS_LIMIT, GUEST_FS_AR),
    fields!(GUEST_GS_SELECTOR, GUEST_GS_BASE, GUEST_GS_LIMIT, GUEST_GS_AR),
];

/// Bits that the access-rights format has: the others are saved as 0.
const RIGHTS: u32 = 0x1_f0ff;

impl Fields {
    fn read(&self, vmcs: &Vmcs) -> Segment {
        Segment {
            selector: vmcs.read16(self.selector),
            base: vmcs.read(self.base),
            limit: vmcs.read32(self.limit),
            rights: AccessRights::from_bits_retain(vmcs.read32(self.rights)),
        }
    }

    fn write(&self, vmcs: &mut Vmcs, segment: &Segment) {
        vmcs.write(self.selector, segment.selector.into());
        vmcs.write(self.base, segment.base);
        vmcs.write(self.limit, segment.limit.into());
        vmcs.write(self.rights, (segment.rights.bits() & RIGHTS).into());
    }
}

/// What an unusable register holds beside its selector: of SS, DS and ES bits 63:32 of the base are 0, SS has bits 3:0 of
/// its base 0 and B = 1 and keeps its DPL; FS and GS keep their bases.
fn without_use(register: SegmentRegister, mut segment: Segment) -> Segment {
    match register {
        SegmentRegister::Cs | SegmentRegister::Fs | SegmentRegister::Gs => {}
        SegmentRegister::Ss => {
            segment.base &= 0xffff_fff0;
            segment.rights |= AccessRights::DEFAULT_BIG;
        }
        SegmentRegister::Ds | SegmentRegister::Es => segment.base &= 0xffff_ffff,
    }
    segment
}

/// Loads the guest's segments; the privilege level is SS.DPL.
pub(super) fn load_guest(vmcs: &Vmcs, state: &mut State) {
    for (register, fields) in SegmentRegister::ALL.into_iter().zip(&SEGMENTS) {
        let segment = fields.read(vmcs);
        let unusable = segment.rights.contains(AccessRights::UNUSABLE);
        state.set_segment(register, if unusable { without_use(register, segment) } else { segment });
    }
    state.system.ldtr = LDTR.read(vmcs);
    state.system.tr = TR.read(vmcs);
    state.system.gdtr = table(vmcs, Encoding::GUEST_GDTR_BASE, Encoding::GUEST_GDTR_LIMIT);
    state.system.idtr = table(vmcs, Encoding::GUEST_IDTR_BASE, Encoding::GUEST_IDTR_LIMIT);
    state.system.cpl = state.rights(SegmentRegister::Ss).dpl();
}

fn table(vmcs: &Vmcs, base: Encoding, limit: Encoding) -> DescriptorTable {
    DescriptorTable { base: vmcs.read(base), limit: vmcs.read16(limit) }
}

/// Saves the guest's segments. SS.DPL is the privilege level, whatever SS holds.
pub(super) fn save_guest(state: &State, vmcs: &mut Vmcs) {
    for (register, fields) in SegmentRegister::ALL.into_iter().zip(&SEGMENTS) {
        let mut segment = state.segment(register);
        if register == SegmentRegister::Ss {
            let level = AccessRights::from_bits_retain(u32::from(state.system.cpl) << 5);
            segment.rights = (segment.rights - AccessRights::DPL) | level;
        }
        fields.write(vmcs, &segment);
    }
    LDTR.write(vmcs, &state.system.ldtr);
    TR.write(vmcs, &state.system.tr);
    let DescriptorTable { base, limit } = state.system.gdtr;
    vmcs.write(Encoding::GUEST_GDTR_BASE, base);
    vmcs.write(Encoding::GUEST_GDTR_LIMIT, limit.into());
    let DescriptorTable { base, limit } = state.system.idtr;
    vmcs.write(Encoding::GUEST_IDTR_BASE, base);
    vmcs.write(Encoding::GUEST_IDTR_LIMIT, limit.into());
}

/// A data segment of 4 GiB at privilege level 0.
const DATA: u32 = 0xc093;
const CODE_64: u32 = 0xa09b;
const CODE_32: u32 = 0xc09b;
const BUSY_TSS: u32 = 0x8b;
/// The bytes of a task-state segment, less 1.
const TSS_LIMIT: u32 = 0x67;

/// Loads the host's segments: their selectors and some bases are in the VMCS, the rest is the same for every host.
pub(super) fn load_host(vmcs: &Vmcs, state: &mut State) {
    let is_64_bit = vmcs.primary_exit().contains(PrimaryExitControls::HOST_ADDRESS_SPACE_SIZE);
    let flat = |selector, base, rights| Segment {
        selector,
        base,
        limit: u32::MAX,
        rights: AccessRights::from_bits_retain(rights),
    };
    let code = if is_64_bit { CODE_64 } else { CODE_32 };
    let cs = flat(vmcs.read16(Encoding::HOST_CS_SELECTOR), 0, code);
    state.set_segment(SegmentRegister::Cs, cs);
    let data = [
        (SegmentRegister::Es, Encoding::HOST_ES_SELECTOR, 0),
        (SegmentRegister::Ss, Encoding::HOST_SS_SELECTOR, 0),
        (SegmentRegister::Ds, Encoding::HOST_DS_SELECTOR, 0),
        (SegmentRegister::Fs, Encoding::HOST_FS_SELECTOR, vmcs.read(Encoding::HOST_FS_BASE)),
        (SegmentRegister::Gs, Encoding::HOST_GS_SELECTOR, vmcs.read(Encoding::HOST_GS_BASE)),
    ];
    for (register, field, base) in data {
        let selector = vmcs.read16(field);
        let mut segment = flat(selector, base, DATA);
        if selector == 0 {
            segment.rights |= AccessRights::UNUSABLE;
        }
        state.set_segment(register, segment);
    }
    state.system.tr = Segment {
        selector: vmcs.read16(Encoding::HOST_TR_SELECTOR),
        base: vmcs.read(Encoding::HOST_TR_BASE),
        limit: TSS_LIMIT,
        rights: AccessRights::from_bits_retain(BUSY_TSS),
    };
    state.system.ldtr = Segment::UNUSABLE;
    state.system.gdtr = DescriptorTable { base: vmcs.read(Encoding::HOST_GDTR_BASE), limit: 0xffff };
    state.system.idtr = DescriptorTable { base: vmcs.read(Encoding::HOST_IDTR_BASE), limit: 0xffff };
    state.system.cpl = 0;
}
