//! How code is reached: a number for each code segment and mode, so that links between blocks name theirs.

use crate::cpu::Cpu;
use crate::mode::{CodeContext, CodeMode, CodeSize};

/// The code segments and modes that links were made under, each with a number.
pub(super) struct Contexts {
    pub(super) current: CodeContext,
    /// Its number.
    pub(super) number: u64,
    /// Those with a number, by number.
    known: Vec<CodeContext>,
}

/// Numbers of code contexts.
const CONTEXTS: usize = 256;

/// Whether the numbers of before hold.
#[derive(PartialEq, Eq)]
pub(super) enum Selected {
    AsBefore,
    AfterLoss,
}

impl Default for Contexts {
    fn default() -> Self {
        let current = CodeContext { mode: CodeMode::LONG, base: 0, limit: u64::MAX };
        Self { current, number: 0, known: vec![current] }
    }
}

impl Contexts {
    /// Makes a context the current one.
    pub(super) fn select(&mut self, context: CodeContext) -> Selected {
        self.current = context;
        if let Some(number) = self.known.iter().position(|known| *known == context) {
            self.number = number as u64;
            return Selected::AsBefore;
        }
        let full = self.known.len() == CONTEXTS;
        if full {
            self.known.clear();
        }
        self.number = self.known.len() as u64;
        self.known.push(context);
        if full { Selected::AfterLoss } else { Selected::AsBefore }
    }

    /// RIP, after it was made to wrap as EIP does outside 64-bit mode.
    pub(super) fn wrap<C: Cpu>(&self, cpu: &mut C) -> u64 {
        let rip = cpu.state().rip();
        if self.current.mode.size == CodeSize::Bits64 || rip >> 32 == 0 {
            return rip;
        }
        cpu.state_mut().set_rip(rip & 0xffff_ffff);
        rip & 0xffff_ffff
    }
}
