//! `vmxsim explain`.

mod entry;

use super::{Common, Ended};
use clap::Args;
use miette::{Result, miette};
use vmx::controls::{CONTROLS, Control, ControlBit};
use vmx::exit_reason::{Conditionality, EXIT_REASONS, ExitReason, Written};
use vmx::field::{Access, AccessType, Condition, Existence, Field, FieldType, Width};

/// Say what an exit reason, a VM-instruction error, a rule of VM entry, a VMCS field or a control is
///
/// Exit reasons and errors go by number or name, rules by id (the beginning of an id lists rules), VMCS fields by name,
/// symbol or encoding (6802H or 0x6802), controls by name or place (secondary:5).
#[derive(Args)]
#[command(after_help = "\
Examples:
  vmxsim explain 48
  vmxsim explain EPT violation
  vmxsim explain error 7
  vmxsim explain GUEST.SEG.TR_TYPE_64
  vmxsim explain GUEST.CR
  vmxsim explain 0x681e
  vmxsim explain enable VPID
  vmxsim explain pin:3")]
pub(crate) struct ExplainArgs {
    /// What to explain
    #[arg(required = true, value_name = "WORD")]
    words: Vec<String>,
}

/// Carries out `vmxsim explain`.
pub(crate) fn run(args: &ExplainArgs, _: &Common) -> Result<Ended> {
    let question = args.words.join(" ");
    let answers: Vec<String> = exit_reasons(&question)
        .chain(entry::instruction_errors(&question))
        .chain(entry::rules(&question))
        .chain(fields(&question))
        .chain(controls(&question))
        .collect();
    if answers.is_empty() {
        return Err(miette!(
            "nothing is known by `{question}`: no exit reason, VM-instruction error, rule of VM entry, VMCS field or \
             control has this number or name"
        ));
    }
    println!("{}", answers.join("\n\n"));
    Ok(Ended::Done)
}

fn same(a: &str, b: &str) -> bool {
    let plain =
        |text: &str| text.chars().filter(char::is_ascii_alphanumeric).collect::<String>().to_lowercase();
    plain(a) == plain(b)
}

fn exit_reasons(question: &str) -> impl Iterator<Item = String> {
    let number = question.parse::<u16>().ok();
    let asked = move |row: &&ExitReason| Some(row.reason.number()) == number || same(row.name, question);
    EXIT_REASONS.iter().filter(asked).map(exit_reason)
}

fn exit_reason(row: &ExitReason) -> String {
    let when = match row.conditionality {
        Conditionality::Conditional => format!("if the controls ask for it: {}", row.condition),
        Conditionality::Unconditional => "always in VMX non-root operation".to_owned(),
        Conditionality::EntryFailure => "as a failure of VM entry".to_owned(),
        Conditionality::Smm => "under the dual-monitor treatment of SMM".to_owned(),
    };
    let mut text = format!(
        "exit reason {}: {}\n  cause          {}\n  happens        {when}",
        row.reason.number(),
        row.name,
        row.cause
    );
    for control in &row.controls {
        let name = Control::at(*control).map_or("", |control| control.name);
        text += &format!("\n  control        {control} {name}");
    }
    let written = [
        ("qualification", row.exit_qualification),
        ("length", row.instruction_length),
        ("information", row.instruction_information),
        ("linear", row.guest_linear_address),
        ("physical", row.guest_physical_address),
    ];
    for (name, written) in written {
        if let Some(meaning) = meaning(written) {
            text += &format!("\n  {name:<14} {meaning}");
        }
    }
    text
}

fn meaning(written: Written) -> Option<&'static str> {
    match written {
        Written::Unmodified | Written::Undefined => None,
        Written::Cleared => Some("0"),
        Written::Value => Some("written"),
        Written::As(text) => Some(text),
    }
}

fn fields(question: &str) -> impl Iterator<Item = String> {
    let by_encoding = encoding(question).and_then(|number| Field::lookup(number).ok());
    let by_name = Field::by_name(question).map(|field| (field, AccessType::Full));
    by_encoding.or(by_name).into_iter().map(|(field, part)| field_text(field, part))
}

/// Encodings are hexadecimal: 0x6802 or 6802H.
fn encoding(question: &str) -> Option<u64> {
    let digits = question.strip_prefix("0x").or_else(|| question.strip_suffix(['H', 'h']))?;
    u64::from_str_radix(digits, 16).ok()
}

fn field_text(field: &Field, part: AccessType) -> String {
    let part = if part == AccessType::High { ", its upper half" } else { "" };
    let width = match field.width {
        Width::Bits16 => "16 bits",
        Width::Bits32 => "32 bits",
        Width::Bits64 => "64 bits",
        Width::Natural => "natural width",
    };
    let area = match field.field_type {
        FieldType::Control => "control field",
        FieldType::ExitInformation => "VM-exit information",
        FieldType::GuestState => "guest-state area",
        FieldType::HostState => "host-state area",
    };
    let access = match field.access {
        Access::ReadWrite => "VMREAD and VMWRITE",
        Access::ReadOnly => "VMREAD; VMWRITE only where IA32_VMX_MISC[29] = 1",
    };
    let mut text = format!(
        "VMCS field {}{part}\n  symbol         {}\n  encoding       {}\n  holds          {width}, {area}, index {}\n  access         {access}",
        field.name, field.symbol, field.encoding, field.index
    );
    if !field.aliases.is_empty() {
        text += &format!("\n  also called    {}", field.aliases.join(", "));
    }
    if let Existence::AnyOf(conditions) = &field.exists_if {
        for condition in conditions {
            text += &format!("\n  exists if      {}", condition_text(condition));
        }
    }
    if !field.notes.is_empty() {
        text += &format!("\n  note           {}", field.notes);
    }
    text
}

fn condition_text(condition: &Condition) -> String {
    match condition {
        Condition::Control(bit) => {
            let name = Control::at(*bit).map_or("", |control| control.name);
            format!("{bit} {name}")
        }
        other => other.to_string(),
    }
}

fn controls(question: &str) -> impl Iterator<Item = String> {
    let place = question.parse::<ControlBit>().ok();
    let asked = move |control: &&Control| Some(control.position()) == place || same(control.name, question);
    CONTROLS.iter().filter(asked).map(|control| {
        let Control { name, meaning, section, .. } = control;
        let place = control.position();
        let field = control.word.field();
        let word = Field::by_encoding(field).map_or("", |field| field.name);
        format!("control {name}\n  place          {place}, in {word} ({field})\n  when 1         {meaning}\n  section        {section}")
    })
}
