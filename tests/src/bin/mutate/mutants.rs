//! Small changes of a source, each of which a test should notice.

use crate::source::Source;
use std::ops::Range;

/// One change.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Debug)]
pub(crate) struct Mutant {
    pub(crate) start: usize,
    pub(crate) end: usize,
    pub(crate) with: String,
}

impl Mutant {
    pub(crate) fn apply(&self, text: &str) -> String {
        format!("{}{}{}", &text[..self.start], self.with, &text[self.end..])
    }

    /// The line, and what becomes of its part.
    pub(crate) fn describe(&self, source: &Source<'_>) -> String {
        let start = source.text[..self.start].rfind('\n').map_or(0, |at| at + 1);
        let line = source.text[start..].lines().next().unwrap_or_default().trim();
        let old = source.text[self.start..self.end].split_whitespace().collect::<Vec<_>>().join(" ");
        format!("{}: `{old}` -> `{}` in `{line}`", source.line(self.start), self.with)
    }
}

/// Operators, with the blanks that tell them from other uses.
const OPERATORS: &[(&str, &str)] = &[
    (" == ", " != "),
    (" != ", " == "),
    (" && ", " || "),
    (" || ", " && "),
    (" <= ", " < "),
    (" >= ", " > "),
    (" < ", " <= "),
    (" > ", " >= "),
    (" & ", " | "),
    (" ^ ", " & "),
    (" >> ", " << "),
    (" << ", " >> "),
    (" + ", " - "),
    (" - ", " + "),
    (" += ", " -= "),
];

/// Words, with others of the same type.
const WORDS: &[(&str, &str)] = &[
    ("true", "false"),
    ("false", "true"),
    ("before", "after"),
    ("after", "before"),
    ("Globals::Keep", "Globals::Drop"),
    ("Globals::Drop", "Globals::Keep"),
    ("Structures::All", "Structures::OfAddress"),
    ("Structures::OfAddress", "Structures::All"),
    ("Pcids::All", "Pcids::One(0)"),
    ("Extent::Nothing", "Extent::Everything"),
    ("Extent::Address", "Extent::Everything"),
    ("Extent::Address", "Extent::Nothing"),
    ("Extent::Everything", "Extent::Nothing"),
    ("Extent::Everything", "Extent::Address"),
    ("EptRoots", "Vpids"),
    ("NonzeroVpids", "Vpids"),
    ("all_of", "all_but_globals_of"),
    ("all_but_globals_of", "all_of"),
    ("all_of_pcid", "pcid_of"),
    ("pcid_of", "all_of_pcid"),
    ("changes_cr4", "sets_cr4"),
    ("changes_cr4", "clears_cr4"),
    ("clears_cr4", "changes_cr4"),
    ("sets_cr4", "changes_cr4"),
    ("is_some", "is_none"),
    ("is_none", "is_some"),
];

/// Every mutant of a source, in the order of the text.
pub(crate) fn mutants(source: &Source<'_>) -> Vec<Mutant> {
    let mut found = Vec::new();
    for &(operator, other) in OPERATORS {
        found.extend(source.find(operator).map(|range| mutant(range, other)));
    }
    for &(word, other) in WORDS {
        let whole = source
            .find(word)
            .filter(|range| is_whole_word(source.text, range) && is_used(source.text, range));
        found.extend(whole.map(|range| mutant(range, other)));
    }
    found.extend(negations(source));
    found.extend(numbers(source));
    found.extend(conditions(source));
    found.extend(bodies(source));
    found.extend(statements(source));
    found.extend(arms(source));
    found.sort();
    found.dedup();
    found
}

fn mutant(range: Range<usize>, with: &str) -> Mutant {
    Mutant { start: range.start, end: range.end, with: with.to_owned() }
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

fn is_whole_word(text: &str, range: &Range<usize>) -> bool {
    !text[..range.start].ends_with(is_word) && !text[range.end..].starts_with(is_word)
}

/// Whether a word is used, and not declared.
fn is_used(text: &str, range: &Range<usize>) -> bool {
    let declared = text[range.end..].starts_with(": ") || text[..range.start].ends_with("fn ");
    !declared && !text[range.end..].starts_with(",\n    /// ")
}

/// `!x` becomes `x`.
fn negations(source: &Source<'_>) -> Vec<Mutant> {
    let starts = |range: &Range<usize>| {
        let operand = source.text[range.end..].starts_with(|c| is_word(c) || c == '(');
        operand && !source.text[..range.start].ends_with(is_word)
    };
    source.find("!").filter(starts).map(|range| mutant(range, "")).collect()
}

/// 0 becomes 1, and 1 becomes 0.
fn numbers(source: &Source<'_>) -> Vec<Mutant> {
    let whole = |range: &Range<usize>| {
        is_whole_word(source.text, range) && !source.text[..range.start].ends_with('.')
    };
    let zero = source.find("0").filter(whole).map(|range| mutant(range, "1"));
    let one = source.find("1").filter(whole).map(|range| mutant(range, "0"));
    zero.chain(one).collect()
}

/// The guards of arms, and the conditions of `if`, always and never hold.
fn conditions(source: &Source<'_>) -> Vec<Mutant> {
    let mut found = Vec::new();
    for range in source.find("if ") {
        let rest = &source.text[range.end..];
        let end = [rest.find(" =>"), rest.find(" {\n"), rest.find(" { ")].into_iter().flatten().min();
        let whole = is_whole_word(source.text, &(range.start..range.end - 1));
        let Some(end) = end.filter(|_| whole && !rest.starts_with("let ")) else { continue };
        let condition = range.end..range.end + end;
        found.extend(["true", "false"].map(|with| mutant(condition.clone(), with)));
    }
    found
}

/// Functions that answer yes or no answer always the same.
fn bodies(source: &Source<'_>) -> Vec<Mutant> {
    let mut found = Vec::new();
    for range in source.find("-> bool {") {
        let open = range.end - 1;
        if let Some(close) = source.closing(open) {
            found.extend(["{ true }", "{ false }"].map(|with| mutant(open..close + 1, with)));
        }
    }
    found
}

/// Calls whose result nobody takes are not made, and assignments neither.
fn statements(source: &Source<'_>) -> Vec<Mutant> {
    let mut found = Vec::new();
    let mut at = 0;
    for line in source.text.split_inclusive('\n') {
        let statement = line.trim();
        let begins = at + line.len() - line.trim_start().len();
        let range = begins..begins + statement.len();
        at += line.len();
        let is_call = statement.ends_with(");") && statement.starts_with(|c: char| c.is_lowercase());
        let is_assignment =
            statement.ends_with(';') && statement.starts_with("self.") && statement.contains(" = ");
        let bound = ["let ", "return", "use "].iter().any(|word| statement.starts_with(word));
        if (is_call || is_assignment) && !bound && source.is_code(&range) {
            found.push(mutant(range, ""));
        }
    }
    found
}

/// Arms that give one invalidation give none.
fn arms(source: &Source<'_>) -> Vec<Mutant> {
    let calls = source.find("one(").filter(|range| is_whole_word(source.text, &(range.start..range.end - 1)));
    let calls = calls.filter(|range| !source.text[..range.start].ends_with("fn "));
    calls
        .filter_map(|range| Some(mutant(range.start..source.closing(range.end - 1)? + 1, "none()")))
        .collect()
}

#[cfg(test)]
mod tests {
    use super::{Source, mutants};

    fn of(text: &str) -> Vec<String> {
        let source = Source::new(text);
        mutants(&source).iter().map(|mutant| mutant.apply(text)).collect()
    }

    #[test]
    fn every_kind_of_change_is_made_once() {
        assert_eq!(of("a == b"), ["a != b"]);
        assert_eq!(of("(true, x)"), ["(false, x)"]);
        assert_eq!(of("let x = !y;"), ["let x = y;"]);
        assert_eq!(of("f(0, a.1, 10)"), ["f(1, a.1, 10)"]);
        assert_eq!(of("A if c =>"), ["A if false =>", "A if true =>"]);
        assert_eq!(of("fn f() -> bool { x }"), ["fn f() -> bool { false }", "fn f() -> bool { true }"]);
        assert_eq!(of("A => one(all(x)),"), ["A => none(),"]);
        assert_eq!(of("\n    self.tags.retire(tag);\n"), ["\n    \n"]);
        assert_eq!(of("let x = f(y);\n"), Vec::<String>::new());
        assert_eq!(of("not_true || // a == b\n"), ["not_true && // a == b\n"]);
    }
}
