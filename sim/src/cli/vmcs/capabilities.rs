//! The processor on which a VMCS is judged.

use super::entries::{Entries, Key, number};
use crate::cli::report;
use isa::system::Features;
use miette::{Result, miette};
use std::path::Path;
use vmx::capabilities::{Capabilities, NAMES};
use vmx::capability::CapabilityMsr;
use vmx::entry_rules::Limits;

/// The widest addresses of the architecture: with them no bit is reserved that some processor has.
const WIDEST_PHYSICAL_ADDRESS: u8 = 52;
const WIDEST_LINEAR_ADDRESS: u8 = 57;

/// What is known of a processor.
pub(super) struct Processor {
    pub(super) capabilities: Capabilities,
    pub(super) limits: Limits,
}

impl Processor {
    /// The processor with this name, or that of a file.
    pub(super) fn select(name: &str) -> Result<Self> {
        let features = Features::default();
        if let Some(capabilities) = Capabilities::named(name, &features) {
            return Ok(Self { capabilities, limits: Limits::of(&features) });
        }
        let parse: fn(&str) -> Result<Entries<Fact>, String> = match Path::new(name)
            .extension()
            .and_then(|ending| ending.to_str())
        {
            Some("toml") => |text| toml::from_str(text).map_err(|e| e.to_string()),
            Some("json") => |text| serde_json::from_str(text).map_err(|e| e.to_string()),
            _ => {
                let known = NAMES.join(", ");
                return Err(miette!(
                    "no capabilities are named `{name}`; known are {known}, or a file that ends in .toml or .json"
                ));
            }
        };
        let text = std::fs::read_to_string(name).map_err(|e| miette!("{name}: cannot read: {e}"))?;
        let Entries(facts) = parse(&text).map_err(|e| miette!("{name}: {e}"))?;
        Self::of(&facts).map_err(|e| miette!("{name}: {e}"))
    }

    fn of(facts: &[(Fact, u64)]) -> Result<Self> {
        let msrs = facts.iter().filter_map(|(fact, value)| match fact {
            Fact::Msr(msr) => Some((*msr, *value)),
            Fact::PhysicalAddressWidth | Fact::LinearAddressWidth => None,
        });
        let width = |width: Fact, otherwise: u8| {
            let given = facts.iter().find(|(fact, _)| *fact == width);
            given.and_then(|(_, value)| u8::try_from(*value).ok()).unwrap_or(otherwise)
        };
        Ok(Self {
            capabilities: Capabilities::from_msrs(msrs).map_err(report)?,
            limits: Limits::unknown(
                width(Fact::PhysicalAddressWidth, WIDEST_PHYSICAL_ADDRESS),
                width(Fact::LinearAddressWidth, WIDEST_LINEAR_ADDRESS),
            ),
        })
    }
}

/// What a file may say of a processor.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Fact {
    Msr(CapabilityMsr),
    PhysicalAddressWidth,
    LinearAddressWidth,
}

impl Key for Fact {
    const EXPECTED: &'static str = "capability MSRs with values, such as \"IA32_VMX_BASIC\" or \"0x480\"";

    fn parse(text: &str) -> Result<Self, String> {
        let named = |msr: &&CapabilityMsr| msr.name().eq_ignore_ascii_case(text);
        let indexed = || CapabilityMsr::from_index(u32::try_from(number(text)?).ok()?);
        match text {
            "physical-address-width" => Ok(Self::PhysicalAddressWidth),
            "linear-address-width" => Ok(Self::LinearAddressWidth),
            _ => CapabilityMsr::ALL.iter().find(named).copied().or_else(indexed).map(Self::Msr).ok_or_else(|| {
                format!(
                    "`{text}` is no capability MSR; expected a name such as IA32_VMX_BASIC, an index from 0x480 to 0x493, \
                     physical-address-width or linear-address-width"
                )
            }),
        }
    }

    fn accept(&self, value: u64) -> Result<(), String> {
        match self {
            Self::Msr(_) => Ok(()),
            Self::PhysicalAddressWidth if (32..=52).contains(&value) => Ok(()),
            Self::PhysicalAddressWidth => Err(format!("physical addresses have 32 to 52 bits, not {value}")),
            Self::LinearAddressWidth if [32, 48, 57].contains(&value) => Ok(()),
            Self::LinearAddressWidth => Err(format!("linear addresses have 32, 48 or 57 bits, not {value}")),
        }
    }
}
