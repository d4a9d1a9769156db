//! Where in a Rust source there is code, and not a comment, a string, an attribute or a test.

use std::ops::Range;

/// A source and which bytes of it are code.
pub(crate) struct Source<'a> {
    pub(crate) text: &'a str,
    code: Vec<bool>,
}

impl<'a> Source<'a> {
    pub(crate) fn new(text: &'a str) -> Self {
        let mut code = vec![true; text.len()];
        let mut at = 0;
        while at < text.len() {
            match skip(&text[at..]) {
                Some(length) => {
                    code[at..at + length].fill(false);
                    at += length;
                }
                None => at += char_length(&text[at..]),
            }
        }
        let mut source = Self { text, code };
        source.exclude_tests();
        source
    }

    /// What stands after `#[cfg(test)]` belongs to tests, up to the end of the item.
    fn exclude_tests(&mut self) {
        let tests: Vec<usize> = self.text.match_indices("#[cfg(test)]").map(|(at, _)| at).collect();
        for at in tests {
            let rest = &self.text[at..];
            let end = match (rest.find('{'), rest.find(';')) {
                (Some(brace), semicolon) if semicolon.is_none_or(|semicolon| brace < semicolon) => {
                    self.closing(at + brace).map_or(self.text.len(), |close| close + 1)
                }
                (_, Some(semicolon)) => at + semicolon,
                _ => self.text.len(),
            };
            self.code[at..end].fill(false);
        }
    }

    pub(crate) fn is_code(&self, range: &Range<usize>) -> bool {
        self.code[range.clone()].iter().all(|&code| code)
    }

    /// The places where a text stands in code.
    pub(crate) fn find<'b>(&'b self, wanted: &'b str) -> impl Iterator<Item = Range<usize>> + 'b {
        self.text
            .match_indices(wanted)
            .map(|(at, found)| at..at + found.len())
            .filter(|range| self.is_code(range))
    }

    /// The bracket that closes the one at `open`.
    pub(crate) fn closing(&self, open: usize) -> Option<usize> {
        let bytes = self.text.as_bytes();
        let closer = match bytes[open] {
            b'(' => b')',
            b'{' => b'}',
            _ => return None,
        };
        let mut depth = 0_usize;
        for at in open..bytes.len() {
            if !self.code[at] {
                continue;
            }
            if bytes[at] == bytes[open] {
                depth += 1;
            } else if bytes[at] == closer {
                depth -= 1;
                if depth == 0 {
                    return Some(at);
                }
            }
        }
        None
    }

    /// The number of the line, from 1.
    pub(crate) fn line(&self, at: usize) -> usize {
        self.text[..at].matches('\n').count() + 1
    }
}

fn char_length(text: &str) -> usize {
    text.chars().next().map_or(1, char::len_utf8)
}

/// The length of the comment, string, character or attribute that a text begins with.
fn skip(text: &str) -> Option<usize> {
    if text.starts_with("//") {
        return Some(text.find('\n').unwrap_or(text.len()));
    }
    if text.starts_with("#[") || text.starts_with("#![") {
        return text.find("]\n").map(|end| end + 1);
    }
    if let Some(string) = text.strip_prefix('"') {
        return Some(quoted(string, '"') + 1);
    }
    // A lifetime is no character.
    let character = text.strip_prefix('\'')?;
    let escaped = character.starts_with('\\');
    let length = if escaped { quoted(character, '\'') } else { char_length(character) + 1 };
    (escaped || character[char_length(character)..].starts_with('\'')).then_some(length + 1)
}

/// The length up to and with the closing quote.
fn quoted(text: &str, quote: char) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices() {
        match c {
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            _ if c == quote => return at + 1,
            _ => {}
        }
    }
    text.len()
}

#[cfg(test)]
mod tests {
    use super::Source;

    #[test]
    fn only_code_is_code() {
        let text = "a == b; // a == c\nlet s = \"x == \\\" == y\"; 'x'; fn f<'a>() { d == e }\n#[cfg(test)]\nmod t { f == g }\nh == i";
        let found: Vec<&str> =
            Source::new(text).find("==").map(|range| &text[range.start - 2..range.end + 2]).collect();
        assert_eq!(found, ["a == b", "d == e", "h == i"]);
    }
}
