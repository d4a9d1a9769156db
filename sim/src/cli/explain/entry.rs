//! Explains why VM entries and VMX instructions fail: the rules of VM entry, and VM-instruction errors.

use super::same;
use vmx::entry_rules::{Modelled, RULES, Refusal, Rule};
use vmx::error_number::{INSTRUCTION_ERRORS, InstructionError, InstructionErrorRow};

/// The rule with this id, or those whose ids begin with these parts (`GUEST.CR`).
pub(super) fn rules(question: &str) -> Option<String> {
    if let Some(rule) = Rule::by_id(question) {
        return Some(rule_text(rule));
    }
    let beginning = format!("{}.", question.trim_end_matches('.').to_ascii_uppercase());
    let lines: Vec<_> = RULES
        .iter()
        .filter(|rule| rule.id.starts_with(&beginning))
        .map(|rule| format!("{}\n  {}", rule.id, rule.sentence()))
        .collect();
    (!lines.is_empty()).then(|| lines.join("\n"))
}

fn rule_text(rule: &Rule) -> String {
    let Rule { id, section, subject, when, must, refused_as, counterexample, notes, .. } = rule;
    let mut text = format!(
        "rule {id}\n  about          {subject}\n  when           {when}\n  must           {must}\n  \
         refused as     {refused_as}\n  section        {section}"
    );
    for field in &rule.fields {
        if let Some(field) = vmx::field::Field::by_encoding(*field) {
            text += &format!("\n  judges         {} ({})", field.name, field.encoding);
        }
    }
    let state = rule.state.iter().map(ToString::to_string);
    text.extend(state.map(|state| format!("\n  looks at       {state}")));
    if !counterexample.is_empty() {
        text += &format!("\n  counterexample {counterexample}");
    }
    if rule.modelled == Modelled::No {
        text += "\n  checked        never: the processor does not have what it is about";
    }
    if !notes.is_empty() {
        text += &format!("\n  note           {notes}");
    }
    text
}

/// The VM-instruction error with this number, `error 7`, or name.
pub(super) fn instruction_errors(question: &str) -> impl Iterator<Item = String> {
    let number = number(question);
    let asked = move |row: &&InstructionErrorRow| Some(row.number) == number || same(row.name, question);
    // The numbers that are not assigned all have the same name.
    INSTRUCTION_ERRORS.iter().filter(asked).take(1).map(error_text)
}

/// `7`, `error 7`, `instruction error 7`, `VM-instruction error 7`.
fn number(question: &str) -> Option<u32> {
    let (words, digits) = question.trim().rsplit_once([' ', '-']).unwrap_or(("", question));
    let is_error = ["", "error", "instruction error", "VM-instruction error"];
    is_error.iter().any(|error| same(error, words)).then(|| digits.parse().ok())?
}

fn error_text(row: &InstructionErrorRow) -> String {
    let InstructionErrorRow { number, name, instructions, notes } = row;
    let mut text = format!("VM-instruction error {number}: {name}");
    if !instructions.is_empty() {
        text += &format!("\n  stored by      {}", instructions.join(", "));
    }
    let refused = InstructionError::from_number(*number).map(Refusal::VmFailValid);
    let rules: Vec<_> = RULES.iter().filter(|rule| Some(rule.refused_as) == refused).collect();
    match rules[..] {
        [] => {}
        [one] => text += &format!("\n  rule           {}", one.id),
        [first, ..] => {
            let family = first.id.split('.').next().unwrap_or_default();
            text += &format!(
                "\n  rules          {}, such as {}; `explain {family}` lists them",
                rules.len(),
                first.id
            );
        }
    }
    if !notes.is_empty() {
        text += &format!("\n  note           {notes}");
    }
    text
}

#[cfg(test)]
mod tests {
    use super::{instruction_errors, number, rules};
    use vmx::entry_rules::RULES;
    use vmx::error_number::InstructionError;

    #[test]
    fn every_rule_and_every_error_is_explained() {
        for rule in RULES.iter() {
            let text = rules(rule.id).unwrap_or_default();
            assert!(text.contains(rule.id) && text.contains(rule.must), "{}", rule.id);
        }
        for error in InstructionError::ALL {
            for question in [format!("error {}", error.number()), error.row().name.to_owned()] {
                let texts: Vec<_> = instruction_errors(&question).collect();
                assert_eq!(texts.len(), 1, "{question}");
                assert!(texts[0].contains(error.row().name), "{question}");
            }
        }
    }

    #[test]
    fn the_beginning_of_an_id_lists_its_rules_and_half_a_part_lists_none() {
        let listed = rules("guest.cr").unwrap_or_default();
        let count = RULES.iter().filter(|rule| rule.id.starts_with("GUEST.CR.")).count();
        assert_eq!(listed.lines().count(), 2 * count);
        assert_eq!([rules("GUEST.C"), rules("")], [None, None]);
    }

    #[test]
    fn an_error_is_asked_for_by_number_with_or_without_the_word() {
        for question in ["7", "error 7", "Error-7", "instruction error 7", "VM-instruction error 7"] {
            assert_eq!(number(question), Some(7), "{question}");
        }
        for question in ["exit 7", "pin:7", "error", "error x", ""] {
            assert_eq!(number(question), None, "{question}");
        }
    }
}
