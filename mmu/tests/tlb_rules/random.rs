//! Random registers and operations over a few roots, tags and addresses.
#![allow(dead_code, unreachable_pub, reason = "each test uses a part")]

use super::common::Numbers;
use isa::address::{GuestPhysicalAddress, LinearAddress};
use mmu::Operation;
use mmu::operation::{Entry, Exit, Invept, Invpcid, Invvpid, MsrLoads, Paging, Registers, Smm, VmxOperation};

/// What random operations choose from.
#[derive(Clone, Debug)]
pub struct Universe {
    /// Root tables, as CR3 without a PCID.
    pub roots: Vec<u64>,
    /// EPTPs; some share their EPTRTA.
    pub eptps: Vec<u64>,
    pub linear: Vec<LinearAddress>,
    pub guest_physical: Vec<GuestPhysicalAddress>,
    /// Whether PAE, 32-bit and no paging come about, and 4-level paging goes away.
    pub legacy: bool,
}

impl Universe {
    pub fn address(&self, numbers: &mut Numbers) -> LinearAddress {
        LinearAddress(numbers.pick(&self.linear).0 | numbers.below(1 << 12))
    }

    pub fn cr3(&self, numbers: &mut Numbers, pcids: bool) -> u64 {
        let pcid = if pcids { numbers.below(3) } else { 0 };
        numbers.pick(&self.roots) | pcid
    }

    pub fn paging(&self, numbers: &mut Numbers) -> Paging {
        let mut paging = Paging::four_level(0);
        for (bit, one_in) in [(Paging::PCIDE, 2), (Paging::SMEP, 2), (Paging::PSE, 2)] {
            if numbers.one_in(one_in) {
                paging.cr4 ^= bit;
            }
        }
        if numbers.one_in(4) {
            paging.cr4 ^= Paging::PGE;
        }
        if self.legacy && numbers.one_in(2) {
            paging.cr4 &= !Paging::PCIDE;
            match numbers.below(3) {
                0 => paging.cr0 &= !Paging::PG,
                1 => paging.cr4 &= !Paging::PAE,
                _ => {}
            }
            paging.efer &= !(Paging::LME | Paging::LMA);
        }
        Paging { cr3: self.cr3(numbers, paging.cr4 & Paging::PCIDE != 0), ..paging }
    }

    pub fn guest(&self, numbers: &mut Numbers) -> VmxOperation {
        let vpid = numbers.one_in(2).then(|| 1 + numbers.below(2) as u16);
        let eptp = (!self.eptps.is_empty() && numbers.below(3) > 0).then(|| numbers.pick(&self.eptps));
        VmxOperation::NonRoot { vpid, eptp }
    }

    pub fn registers(&self, numbers: &mut Numbers) -> Registers {
        let mut registers = Registers::outside(self.paging(numbers));
        registers.vmx = match numbers.below(4) {
            0 => VmxOperation::Outside,
            1 => VmxOperation::Root,
            _ => self.guest(numbers),
        };
        if numbers.one_in(4) {
            let (interrupted, pdptes) = (self.guest(numbers), [0; 4]);
            if registers.vmx == VmxOperation::Outside {
                registers.smm = Smm::Default { interrupted, pdptes };
            } else {
                let executive = numbers.pick(&[VmxOperation::Root, interrupted]);
                registers.smm = Smm::Monitor { executive };
            }
        }
        registers
    }

    pub fn entry(&self, numbers: &mut Numbers) -> Entry {
        let paging = self.paging(numbers);
        let VmxOperation::NonRoot { vpid, eptp } = self.guest(numbers) else { unreachable!("a guest") };
        let msr_loads = self.msr_loads(numbers);
        Entry { vpid, eptp, paging, pdptes: [0; 4], msr_loads }
    }

    pub fn exit(&self, numbers: &mut Numbers) -> Exit {
        Exit { paging: self.paging(numbers), msr_loads: self.msr_loads(numbers) }
    }

    fn msr_loads(&self, numbers: &mut Numbers) -> MsrLoads {
        if numbers.one_in(4) { MsrLoads::Flushing } else { MsrLoads::Harmless }
    }

    /// Any operation; many of them are refused in a given state.
    pub fn operation(&self, numbers: &mut Numbers, registers: &Registers) -> Operation {
        let Paging { cr0, cr3, cr4, efer } = registers.paging;
        let pcids = cr4 & Paging::PCIDE != 0;
        let bit = |numbers: &mut Numbers, bits: &[u64]| numbers.pick(bits);
        match numbers.below(31) {
            0 => {
                let paging = if self.legacy { Paging::PG } else { Paging::WP };
                Operation::MovToCr0(cr0 ^ bit(numbers, &[Paging::WP, paging, 0]))
            }
            1..=4 => {
                let no_flush = if pcids { numbers.below(2) << 63 } else { 0 };
                Operation::MovToCr3(self.cr3(numbers, pcids) | no_flush)
            }
            5 | 6 => {
                let paging = if self.legacy { Paging::PAE } else { Paging::SMEP };
                let bits = [Paging::PGE, Paging::PCIDE, Paging::SMEP, Paging::SMAP, Paging::PSE, paging];
                Operation::MovToCr4(cr4 ^ bit(numbers, &bits) ^ bit(numbers, &[0, 0, Paging::SMEP]))
            }
            7 | 8 => Operation::Invlpg(self.address(numbers)),
            9..=11 => Operation::Invpcid(self.invpcid(numbers, pcids)),
            12 => {
                let other = self.cr3(numbers, false);
                Operation::TaskSwitch { cr3: numbers.pick(&[cr3, other]) }
            }
            13 => Operation::PageFault(self.address(numbers)),
            14 | 15 => Operation::Invvpid(self.invvpid(numbers)),
            16 => Operation::Invept(self.invept(numbers)),
            17..=19 => Operation::VmEntry(self.entry(numbers)),
            20 | 21 => Operation::VmExit(self.exit(numbers)),
            22 => Operation::EptViolation {
                guest_physical: numbers.pick(&self.guest_physical),
                linear: numbers.one_in(2).then(|| self.address(numbers)),
            },
            23 => Operation::EptpSwitch { eptp: numbers.pick(&self.eptps) },
            24 => numbers.pick(&[Operation::Smi, Operation::VmxOnOff]),
            25 => Operation::Rsm(self.paging(numbers)),
            26 => Operation::SmmVmExit(self.paging(numbers)),
            27 => Operation::SmmReturn(self.entry(numbers)),
            28 => {
                let other = self.paging(numbers);
                Operation::SmmActivate(numbers.pick(&[registers.paging, other]))
            }
            29 => Operation::WrmsrEfer(efer ^ bit(numbers, &[Paging::NXE, 0])),
            _ => self.rare(numbers),
        }
    }

    fn rare(&self, numbers: &mut Numbers) -> Operation {
        let resets = [Operation::Reset, Operation::Init];
        let mut rare = vec![
            Operation::EptMisconfiguration(self.guest_physical[0]),
            Operation::WrmsrMemoryType,
            Operation::A20,
            Operation::CacheFlush,
            Operation::WriteProtectionKeys,
            Operation::VmcsAccess,
        ];
        if self.legacy {
            rare.extend(resets);
        }
        numbers.pick(&rare)
    }

    pub fn invpcid(&self, numbers: &mut Numbers, pcids: bool) -> Invpcid {
        let pcid = if pcids { numbers.below(3) as u16 } else { 0 };
        match numbers.below(4) {
            0 => Invpcid::Address { pcid, address: self.address(numbers) },
            1 => Invpcid::Context { pcid },
            2 => Invpcid::AllWithGlobals,
            _ => Invpcid::AllButGlobals,
        }
    }

    pub fn invvpid(&self, numbers: &mut Numbers) -> Invvpid {
        let vpid = 1 + numbers.below(2) as u16;
        match numbers.below(4) {
            0 => Invvpid::Address { vpid, address: self.address(numbers) },
            1 => Invvpid::Context { vpid },
            2 => Invvpid::All,
            _ => Invvpid::ContextButGlobals { vpid },
        }
    }

    pub fn invept(&self, numbers: &mut Numbers) -> Invept {
        // Low bits are no part of the tag.
        let eptp = numbers.pick(&self.eptps) ^ numbers.below(1 << 12);
        if numbers.one_in(3) { Invept::All } else { Invept::Context { eptp } }
    }
}
