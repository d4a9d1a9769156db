//! Whose processor a model is.

/// Whose processor a model is: the vendor's name in CPUID, and with it in what the processor behaves unlike the SDM.
#[derive(Clone, Copy, PartialEq, Eq, Hash, Debug, Default)]
pub enum Vendor {
    /// `GenuineIntel`: as the SDM says.
    #[default]
    Intel,
    /// `AuthenticAMD`: as the AMD64 Architecture Programmer's Manual says, as far as it concerns system calls and CPUID.
    Amd,
}

impl Vendor {
    /// All of them.
    pub const ALL: [Self; 2] = [Self::Intel, Self::Amd];

    /// The twelve characters of CPUID, which a model file also writes.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Intel => "GenuineIntel",
            Self::Amd => "AuthenticAMD",
        }
    }

    /// The vendor of this name.
    ///
    /// ```
    /// use vmxsim::cpuid::Vendor;
    /// assert_eq!(Vendor::named("AuthenticAMD"), Some(Vendor::Amd));
    /// assert_eq!(Vendor::named("authenticamd"), None);
    /// ```
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|vendor| vendor.name() == name)
    }
}
