//! The XSAVE area (SDM Vol. 1, 13.4): the legacy region, the header and the extended region.

use crate::cpu::{Stop, Stopped};
use crate::instruction::simd::float_state::{self, AREA, Pointers};
use crate::mode::CodeSize;
use crate::registers::X87 as X87State;
use crate::state::State;
use crate::width::Scalar;
use core::marker::PhantomData;

/// The x87 component.
pub(super) const X87: u64 = 1 << 0;
/// The SSE component.
pub(super) const SSE: u64 = 1 << 1;
/// The PKRU component.
pub(super) const PKRU: u64 = 1 << 9;
/// XCOMP_BV: the compacted format.
pub(super) const COMPACTED: u64 = 1 << 63;
/// Where the header is.
pub(super) const HEADER: u64 = 512;
/// Bytes of the legacy region and the header.
pub(super) const EXTENDED: usize = 576;
/// Bytes of the largest area.
pub(super) const LARGEST: usize = 2696;
/// MXCSR in its initial configuration.
const MXCSR_INITIAL: u32 = 0x1f80;

/// Where components of the extended region are.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(super) struct Layout {
    pkru: u64,
}

/// The offsets that CPUID.0DH gives on processors with all components before PKRU.
pub(super) const STANDARD: Layout = Layout { pkru: 2688 };

/// PKRU is the one component of the extended region: it comes first.
pub(super) const fn compacted(_: u64) -> Layout {
    Layout { pkru: EXTENDED as u64 }
}

impl Layout {
    /// Bytes of an area with these components.
    pub(super) fn end(&self, components: u64) -> usize {
        if components & PKRU == 0 { EXTENDED } else { usize::try_from(self.pkru + 8).unwrap_or(LARGEST) }
    }

    /// Whether something that XRSTOR loads is at this offset.
    pub(super) const fn needs(&self, offset: u64) -> bool {
        offset < AREA as u64 || offset == self.pkru
    }
}

/// The components that are not in their initial configuration.
pub(super) fn in_use(state: &State) -> u64 {
    let mut components = 0;
    if state.x87 != X87State::default() {
        components |= X87;
    }
    if state.mxcsr != MXCSR_INITIAL || xmm(state).iter().any(|&register| register != 0) {
        components |= SSE;
    }
    if state.system.pkru != 0 {
        components |= PKRU;
    }
    components
}

/// The XMM registers that the mode has.
fn xmm(state: &State) -> &[u128] {
    &state.xmm[..xmm_registers(state)]
}

fn xmm_registers(state: &State) -> usize {
    if state.code_size() == CodeSize::Bits64 { 16 } else { 8 }
}

/// What is to be stored.
pub(super) struct Area<P> {
    legacy: [u8; AREA],
    xmm: u64,
    pkru: u32,
    pointers: PhantomData<P>,
}

impl<P: Pointers> Area<P> {
    pub(super) fn of(state: &State) -> Self {
        let xmm = xmm_registers(state) as u64;
        Self { legacy: float_state::image::<P>(state), xmm, pkru: state.system.pkru, pointers: PhantomData }
    }

    /// Offsets and values of the words of some components; MXCSR goes with SSE of `mxcsr`.
    pub(super) fn words(
        &self,
        layout: &Layout,
        components: u64,
        mxcsr: u64,
    ) -> impl Iterator<Item = (u64, u64)> {
        let last = 160 + 16 * self.xmm;
        let belongs = move |offset: u64| match offset {
            24 => mxcsr & SSE != 0,
            0..160 => components & X87 != 0,
            _ => components & SSE != 0 && offset < last,
        };
        let words = self.legacy.chunks_exact(8).zip((0..).step_by(8));
        let legacy = words.map(|(word, offset)| (offset, u64::from_le_slice(word)));
        let pkru = (components & PKRU != 0).then_some((layout.pkru, u64::from(self.pkru)));
        legacy.filter(move |&(offset, _)| belongs(offset)).chain(pkru)
    }
}

/// A header that was checked.
pub(super) struct Header {
    /// XSTATE_BV.
    pub(super) present: u64,
    pub(super) layout: Layout,
}

impl Header {
    /// SDM Vol. 1, 13.8: XSTATE_BV, XCOMP_BV, and what follows.
    pub(super) fn check(words: [u64; 8], xcr0: u64, compaction: bool) -> Result<Self, Stopped> {
        let [present, form, rest @ ..] = words;
        let zero = |words: &[u64]| words.iter().all(|&word| word == 0);
        let (allowed, layout, clean) = if form & COMPACTED == 0 {
            (xcr0, STANDARD, form == 0 && rest[0] == 0)
        } else {
            let components = form & !COMPACTED;
            let valid = compaction && components & !xcr0 == 0 && zero(&rest);
            (components, compacted(components), valid)
        };
        if !clean || present & !allowed != 0 {
            return Err(Stop::GENERAL_PROTECTION.into());
        }
        Ok(Self { present, layout })
    }

    fn is_compacted(&self) -> bool {
        self.layout != STANDARD
    }
}

/// Loads the components that are present and initialises the others.
pub(super) fn restore<P: Pointers>(
    state: &mut State,
    image: &[u8; LARGEST],
    components: u64,
    header: &Header,
) -> Result<(), Stopped> {
    let present = components & header.present;
    let legacy = image.first_chunk::<AREA>().ok_or(Stop::GENERAL_PROTECTION)?;
    let mxcsr = match (components & SSE != 0, present & SSE != 0 || !header.is_compacted()) {
        (true, true) => Some(float_state::without_reserved_bits(u32::from_le_slice(&legacy[24..28]))?),
        (true, false) => Some(MXCSR_INITIAL),
        _ => None,
    };
    if let Some(mxcsr) = mxcsr {
        float_state::set_mxcsr(state, mxcsr);
        let registers = xmm_registers(state);
        for (register, chunk) in state.xmm[..registers].iter_mut().zip(legacy[160..].chunks_exact(16)) {
            *register = if present & SSE == 0 { 0 } else { u128::from_le_slice(chunk) };
        }
    }
    if components & X87 != 0 {
        state.x87 = if present & X87 == 0 { X87State::default() } else { float_state::x87::<P>(legacy) };
    }
    if components & PKRU != 0 {
        let at = usize::try_from(header.layout.pkru).unwrap_or(0);
        state.system.pkru = if present & PKRU == 0 { 0 } else { u32::from_le_slice(&image[at..at + 4]) };
    }
    Ok(())
}
