//! Processor models: what CPUID answers, as data (SDM Vol. 2A, CPUID).
//!
//! A model is a TOML file. Those of the program lie in `sim/cpus`; [`Model::select`] knows them by name and reads
//! any other file whose path ends in `.toml`. A file is refused as a whole, with the key and the value, if anything in
//! it is unknown, missing or not offered.
//!
//! ```toml
//! name = "example"
//! description = "What it stands for"
//! vendor = "GenuineIntel"                # or "AuthenticAMD"; may be left out
//! brand = "vmxsim example processor"     # at most 47 ASCII characters
//! features = ["FPU", "TSC", "MSR"]       # the names of the SDM; Feature lists them
//!
//! [signature]
//! family = 6                             # 0 to 270
//! model = 143                            # 0 to 15; for families 6 and 15 and above, 0 to 255
//! stepping = 8                           # 0 to 15
//!
//! [address-widths]
//! physical = 46                          # MAXPHYADDR, 36 to 52; the linear width follows from LM and LA57
//!
//! [clock]                                # may be left out: leaves 15H and 16H are then not there
//! core-crystal-hz = 1000000000           # also the frequency of the APIC timer
//! tsc-hz = 1000000000
//! ```
//!
//! A file may say `base = "kvm-unit"` and then only what differs from that model; its `features`, if it has any, take the
//! place of the base's. `add-features` and `remove-features` change the one or the other.
//!
//! ```
//! use vmxsim::cpuid::{Feature, Model};
//!
//! let text = r#"
//!     base = "kvm-unit"
//!     name = "untagged"
//!     description = "No process-context identifiers"
//!     remove-features = ["PCID", "INVPCID"]
//! "#;
//! let untagged = Model::from_toml(text, "untagged.toml")?;
//! assert!(!untagged.has(Feature::Pcid) && untagged.has(Feature::Smep));
//! # Ok::<(), vmxsim::cpuid::ModelError>(())
//! ```
//!
//! | model | what |
//! |---|---|
//! | `minimal` | little more than a 64-bit Linux kernel insists on |
//! | `kvm-unit` | everything that is offered, for test suites |
//! | `server` | a current Xeon by its signature and brand string, with everything that is offered |
//! | `amd` | an EPYC, whose system calls work as AMD's manual has them |
//!
//! [`Feature`] is the table of feature flags; a feature that the simulator does not model is not offered, and the table
//! says why. Caches and topology (one package, one logical processor a core) are the same in
//! all models; leaf 0AH is 0, as without performance monitoring.
//!
//! ```
//! use vmxsim::cpuid::{Dynamic, Feature, Model};
//!
//! let model = Model::select("minimal")?;
//! let [eax, ebx, ecx, edx] = model.cpuid(0, 0, &Dynamic::default());
//! assert!(eax >= 0xb);
//! assert_eq!([ebx, edx, ecx].map(u32::to_le_bytes).concat(), b"GenuineIntel");
//! assert!(model.has(Feature::Sse2) && !model.has(Feature::Avx));
//! # Ok::<(), vmxsim::cpuid::ModelError>(())
//! ```

mod amd;
mod error;
mod feature;
mod file;
mod leaves;
mod needs;
mod shipped;
mod table;
mod vendor;

pub use error::{ModelError, Problem};
pub use feature::{Bit, Feature, Offered, Register};
pub use vendor::Vendor;

use feature::Features;

/// A processor model whose values have been checked.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Model {
    name: String,
    description: String,
    vendor: Vendor,
    brand: [u8; 48],
    signature: Signature,
    physical_address_width: u8,
    clock: Option<Clock>,
    features: Features,
}

/// What CPUID shows of the state of a logical processor and of the machine around it.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Dynamic {
    /// The APIC ID of the logical processor that executes CPUID.
    pub apic_id: u32,
    /// The logical processors of the package; 0 counts as 1.
    pub processors: u32,
    /// IA32_APIC_BASE\[11\]: the local APIC is enabled (SDM Vol. 3A, 12.4.3).
    pub apic_enabled: bool,
    /// CR4.OSXSAVE.
    pub osxsave: bool,
    /// CR4.PKE.
    pub ospke: bool,
    /// XCR0.
    pub xcr0: u64,
    /// The logical processor is in 64-bit mode: outside of it, no SYSCALL is shown.
    pub in_64_bit_mode: bool,
}

/// Family, model and stepping as software computes them, the extended parts included.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Signature {
    /// The family: 6 for most processors.
    pub family: u16,
    /// The model.
    pub model: u8,
    /// The stepping.
    pub stepping: u8,
}

/// The clocks of leaf 15H.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug)]
pub struct Clock {
    /// The core crystal clock in Hz, which is also the frequency of the APIC timer before its divider.
    pub core_crystal_hz: u32,
    /// The TSC in Hz.
    pub tsc_hz: u32,
}

impl Model {
    /// The model of this name, or that of a file whose path ends in `.toml`.
    ///
    /// # Errors
    ///
    /// [`ModelError`]: there is no such name, or the file cannot be read or is refused.
    ///
    /// ```
    /// use vmxsim::cpuid::{Model, ModelError};
    /// assert_eq!(Model::select("kvm-unit")?.name(), "kvm-unit");
    /// assert!(matches!(Model::select("none.toml"), Err(ModelError::Read { .. })));
    /// # Ok::<(), ModelError>(())
    /// ```
    pub fn select(name_or_path: &str) -> Result<Self, ModelError> {
        file::select(name_or_path)
    }

    /// Reads a model file. `file` names it in errors and is not opened.
    ///
    /// # Errors
    ///
    /// [`ModelError`] says which key is wrong, with its value, or where the text is not what is expected.
    pub fn from_toml(text: &str, file: &str) -> Result<Self, ModelError> {
        file::read(text, file)
    }

    /// The names of the models that are part of the program.
    pub fn known() -> impl Iterator<Item = &'static str> {
        shipped::names()
    }

    /// The short name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// What it stands for.
    #[must_use]
    pub fn description(&self) -> &str {
        &self.description
    }

    /// Whose processor it is.
    #[must_use]
    pub const fn vendor(&self) -> Vendor {
        self.vendor
    }

    /// Family, model and stepping.
    #[must_use]
    pub const fn signature(&self) -> Signature {
        self.signature
    }

    /// The clocks of leaf 15H, if the model has it.
    #[must_use]
    pub const fn clock(&self) -> Option<Clock> {
        self.clock
    }

    /// Whether the processor has a feature.
    #[must_use]
    pub const fn has(&self, feature: Feature) -> bool {
        self.features.contains(feature)
    }

    /// The features, in the order of the table.
    pub fn features(&self) -> impl Iterator<Item = Feature> {
        Feature::all().filter(|feature| self.has(*feature))
    }

    /// MAXPHYADDR: the bits of a physical address (SDM Vol. 3A, 5.1.4).
    #[must_use]
    pub const fn physical_address_width(&self) -> u8 {
        self.physical_address_width
    }

    /// The bits of a linear address: 57 with LA57, otherwise 48, and 32 without Intel 64 architecture.
    #[must_use]
    pub const fn linear_address_width(&self) -> u8 {
        match (self.has(Feature::Lm), self.has(Feature::La57)) {
            (false, _) => 32,
            (true, false) => 48,
            (true, true) => 57,
        }
    }

    /// EAX, EBX, ECX and EDX of CPUID with these values in EAX (`leaf`) and ECX (`subleaf`).
    ///
    /// A leaf above the highest basic one, or above the highest extended one, answers as the highest basic leaf does;
    /// a leaf below that the model does not have answers 0. IA32_MISC_ENABLE changes nothing.
    #[must_use]
    pub fn cpuid(&self, leaf: u32, subleaf: u32, dynamic: &Dynamic) -> [u32; 4] {
        leaves::answer(self, leaf, subleaf, dynamic)
    }
}
