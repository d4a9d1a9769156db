//! Checks a recorded trace against itself, without an engine.
//!
//! Memory is built from the pages, patches and stores of the trace, as a replay does. Each instruction must be
//! in that memory, each plain load, pop, return, push and repeated MOVS or STOS must agree with it, and each step
//! must start where the one before ended.

use iced_x86::{Code, Decoder, DecoderOptions, FlowControl, Instruction, Mnemonic, OpKind, Register};
use isa::registers::Registers;
use std::collections::HashMap;
use traces::{Content, Event, Item, Sections, Step, StepKind, TraceReader};

#[derive(Default)]
pub(crate) struct Checked {
    pub(crate) steps: u64,
    pub(crate) taken: u64,
    pub(crate) loads: u64,
    pub(crate) repeats: u64,
    pub(crate) repeated_bytes: u64,
    pub(crate) patches: u64,
    pub(crate) effects: u64,
    pub(crate) execs: u64,
    pub(crate) mnemonics: HashMap<Mnemonic, u64>,
}

#[derive(Default)]
struct Replay {
    pages: HashMap<u64, Vec<u8>>,
    registers: Registers,
    checked: Checked,
}

/// Walks through the trace; a message for the first disagreement.
pub(crate) fn check(path: &std::path::Path) -> Result<Checked, String> {
    let mut reader = TraceReader::open(path).map_err(|error| error.to_string())?;
    let mut replay = Replay::default();
    while let Some(chunk) = reader.next_chunk(Sections::All).map_err(|error| error.to_string())? {
        let mut walk = chunk.walk().ok_or("no steps")?;
        while let Some(item) = walk.next().map_err(|error| error.to_string())? {
            match item {
                Item::Event(index, event) => {
                    replay.event(event).map_err(|error| format!("before step {index}: {error}"))?;
                }
                Item::Step(step) => {
                    replay
                        .step(&step)
                        .map_err(|error| format!("step {} at {:#x}: {error}", step.index, step.rip))?;
                }
            }
        }
    }
    Ok(replay.checked)
}

impl Replay {
    fn event(&mut self, event: Event<'_>) -> Result<(), String> {
        match event {
            Event::Page { address, content, .. } => {
                self.pages.insert(address.page_number(), content.to_vec());
            }
            Event::Patch { address, bytes } => {
                self.checked.patches += 1;
                self.write(address.0, bytes)?;
            }
            Event::Permissions { .. } | Event::Taken(_) => {}
            Event::Effect(registers) => {
                self.checked.effects += 1;
                self.registers = *registers;
            }
            Event::Exec(registers) => {
                self.checked.execs += 1;
                self.pages.clear();
                self.registers = *registers;
            }
        }
        Ok(())
    }

    fn step(&mut self, step: &Step<'_>) -> Result<(), String> {
        let before = self.registers;
        if step.rip != before.rip {
            return Err(format!("the step before ended at {:#x}", before.rip));
        }
        if self.read(step.rip, step.bytes.len())? != step.bytes {
            return Err(format!("memory does not hold {:02x?}", step.bytes));
        }
        let instruction = Decoder::with_ip(64, step.bytes, step.rip, DecoderOptions::NONE).decode();
        if instruction.flow_control() == FlowControl::Next && step.after.rip != instruction.next_ip() {
            return Err(format!("{instruction:?} went on at {:#x}", step.after.rip));
        }
        self.checked.steps += 1;
        self.checked.taken += u64::from(step.kind == StepKind::Taken);
        *self.checked.mnemonics.entry(instruction.mnemonic()).or_default() += 1;
        self.loads(&instruction, &before, step)?;
        self.repeats(&instruction, &before, step.after)?;
        for store in step.stores.iter() {
            match store.content {
                Content::Bytes(bytes) => self.write(store.address, bytes)?,
                Content::Checksum { size, crc32 } => {
                    let found = crc32fast::hash(&self.read(store.address, size as usize)?);
                    if found != crc32 {
                        return Err(format!("{size} stored bytes have checksum {found:#x}, not {crc32:#x}"));
                    }
                }
            }
        }
        self.registers = *step.after;
        Ok(())
    }

    fn loads(
        &mut self,
        instruction: &Instruction,
        before: &Registers,
        step: &Step<'_>,
    ) -> Result<(), String> {
        let rsp = before.gpr[4];
        let (address, size, value) = match instruction.code() {
            Code::Mov_r64_rm64 if instruction.op1_kind() == OpKind::Memory => {
                (address(instruction, before), 8, gpr(step.after, instruction.op0_register()))
            }
            Code::Mov_r32_rm32 if instruction.op1_kind() == OpKind::Memory => {
                (address(instruction, before), 4, gpr(step.after, instruction.op0_register()))
            }
            Code::Pop_r64 => (rsp, 8, gpr(step.after, instruction.op0_register())),
            Code::Retnq => (rsp, 8, step.after.rip),
            _ => return Ok(()),
        };
        self.checked.loads += 1;
        let mut bytes = [0; 8];
        bytes[..size].copy_from_slice(&self.read(address, size)?);
        let found = u64::from_le_bytes(bytes);
        if found != value {
            return Err(format!(
                "{instruction:?} got {value:#x}, but memory at {address:#x} holds {found:#x}"
            ));
        }
        Ok(())
    }

    /// Carries out a repeated MOVS or STOS.
    fn repeats(
        &mut self,
        instruction: &Instruction,
        before: &Registers,
        after: &Registers,
    ) -> Result<(), String> {
        if !instruction.has_rep_prefix() || !instruction.is_string_instruction() {
            return Ok(());
        }
        self.checked.repeats += 1;
        let size = instruction.memory_size().size();
        self.checked.repeated_bytes += (before.gpr[1] - after.gpr[1]) * size as u64;
        let [rax, rcx, _, _, _, _, mut rsi, mut rdi] = *before.gpr.first_chunk().ok_or("registers")?;
        let advance = if before.rflags >> 10 & 1 != 0 { (size as u64).wrapping_neg() } else { size as u64 };
        let moves = matches!(
            instruction.mnemonic(),
            Mnemonic::Movsb | Mnemonic::Movsw | Mnemonic::Movsd | Mnemonic::Movsq
        );
        let stores = matches!(
            instruction.mnemonic(),
            Mnemonic::Stosb | Mnemonic::Stosw | Mnemonic::Stosd | Mnemonic::Stosq
        );
        for _ in 0..if moves || stores { rcx } else { 0 } {
            let bytes = if moves { self.read(rsi, size)? } else { rax.to_le_bytes()[..size].to_vec() };
            self.write(rdi, &bytes)?;
            (rsi, rdi) = (rsi.wrapping_add(advance), rdi.wrapping_add(advance));
        }
        Ok(())
    }

    fn read(&self, address: u64, size: usize) -> Result<Vec<u8>, String> {
        (0..size as u64)
            .map(|i| {
                let at = address.wrapping_add(i);
                let page =
                    self.pages.get(&(at >> 12)).ok_or(format!("the page of {at:#x} is not in the trace"))?;
                Ok(page[(at & 0xfff) as usize])
            })
            .collect()
    }

    fn write(&mut self, address: u64, bytes: &[u8]) -> Result<(), String> {
        for (at, byte) in (address..).zip(bytes) {
            let page =
                self.pages.get_mut(&(at >> 12)).ok_or(format!("the page of {at:#x} is not in the trace"))?;
            page[(at & 0xfff) as usize] = *byte;
        }
        Ok(())
    }
}

fn gpr(registers: &Registers, register: Register) -> u64 {
    registers.gpr[register.full_register().number()]
}

fn address(instruction: &Instruction, registers: &Registers) -> u64 {
    instruction
        .virtual_address(1, 0, |register, _, _| {
            Some(match register {
                Register::FS => registers.fs_base,
                Register::GS => registers.gs_base,
                Register::ES | Register::CS | Register::SS | Register::DS => 0,
                _ => {
                    let value = gpr(registers, register);
                    if register.size() == 4 { value & 0xffff_ffff } else { value }
                }
            })
        })
        .unwrap_or(0)
}
