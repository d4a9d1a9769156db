//! Why a machine cannot be built.

use crate::cpuid::ModelError;

/// Why a machine cannot be built.
#[derive(Debug, thiserror::Error)]
pub enum MachineError {
    /// The processor model.
    #[error(transparent)]
    Model(#[from] ModelError),
    /// The platform.
    #[error(transparent)]
    Platform(#[from] platform::OptionsError),
    /// RAM.
    #[error(transparent)]
    Ram(#[from] mmu::ram::RamError),
    /// A piece of the image outside RAM.
    #[error("the image does not fit in RAM: {0}")]
    Image(#[from] mmu::ram::AccessError),
    /// The TLB.
    #[error(transparent)]
    Tlb(#[from] mmu::tlb::GeometryError),
}
