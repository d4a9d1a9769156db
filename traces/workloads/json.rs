//! JSON: a generated document is parsed by recursive descent.
//!
//! Stresses byte-wise branches, UTF-8 and escapes, decimal-to-float conversion (integer multiplies and SSE2), and the
//! allocator: over a thousand small blocks are handed out and taken back. To the TLB it is the common case, a stream
//! through the text and a heap that grows beside it. All of it fits into a first-level TLB: a page is walked for at
//! its first touch and hardly again, so that larger pages help, and more TLB entries do not.
//!
//! Prints `json 3b002085ddf91854`.

use std::fmt::{Display, Formatter, Write};

const RECORDS: usize = 50;

/// Deeper documents are refused, so that no text can exhaust the stack.
const MAX_DEPTH: usize = 64;

/// Knuth's MMIX linear congruential generator; the high bits are the good ones.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
        (self.0 >> 33) % bound
    }
}

enum Value {
    Null,
    Boolean(bool),
    Number(f64),
    String(String),
    Array(Vec<Value>),
    Object(Vec<(String, Value)>),
}

/// Why a text is not JSON; the place of the failure is [`Parser::place`].
enum Error {
    Expected(&'static str),
    BadNumber,
    BadEscape,
    BadText,
    TooDeep,
    TrailingText,
}

impl Display for Error {
    fn fmt(&self, out: &mut Formatter) -> std::fmt::Result {
        match self {
            Self::Expected(what) => write!(out, "{what} was expected"),
            Self::BadNumber => out.write_str("this is not a number"),
            Self::BadEscape => out.write_str("this is not an escape"),
            Self::BadText => out.write_str("the string does not end, or holds a control character"),
            Self::TooDeep => out.write_str("the nesting is too deep"),
            Self::TrailingText => out.write_str("the document goes on after its value"),
        }
    }
}

struct Parser<'a> {
    text: &'a [u8],
    place: usize,
    depth: usize,
}

impl<'a> Parser<'a> {
    /// The whole text as one value, or why and where it is not one.
    fn parse(text: &'a str) -> Result<Value, (Error, usize)> {
        let mut parser = Self { text: text.as_bytes(), place: 0, depth: 0 };
        parser.document().map_err(|error| (error, parser.place))
    }

    fn document(&mut self) -> Result<Value, Error> {
        let value = self.value()?;
        match self.next_token() {
            None => Ok(value),
            Some(_) => Err(Error::TrailingText),
        }
    }

    fn value(&mut self) -> Result<Value, Error> {
        match self.next_token() {
            Some(b'{') => self.nested(Self::object),
            Some(b'[') => self.nested(Self::array),
            Some(b'"') => Ok(Value::String(self.string()?)),
            Some(b'-' | b'0'..=b'9') => Ok(Value::Number(self.number()?)),
            Some(b't') => self.word("true", Value::Boolean(true)),
            Some(b'f') => self.word("false", Value::Boolean(false)),
            Some(b'n') => self.word("null", Value::Null),
            _ => Err(Error::Expected("a value")),
        }
    }

    fn nested(&mut self, parse: fn(&mut Self) -> Result<Value, Error>) -> Result<Value, Error> {
        if self.depth == MAX_DEPTH {
            return Err(Error::TooDeep);
        }
        self.depth += 1;
        self.place += 1;
        let value = parse(self)?;
        self.depth -= 1;
        Ok(value)
    }

    fn array(&mut self) -> Result<Value, Error> {
        let mut items = Vec::new();
        if !self.take(b']') {
            loop {
                items.push(self.value()?);
                if self.take(b']') {
                    break;
                }
                self.expect(b',', "`,` or `]`")?;
            }
        }
        Ok(Value::Array(items))
    }

    fn object(&mut self) -> Result<Value, Error> {
        let mut members = Vec::new();
        if !self.take(b'}') {
            loop {
                if self.next_token() != Some(b'"') {
                    return Err(Error::Expected("a name"));
                }
                let name = self.string()?;
                self.expect(b':', "`:`")?;
                members.push((name, self.value()?));
                if self.take(b'}') {
                    break;
                }
                self.expect(b',', "`,` or `}`")?;
            }
        }
        Ok(Value::Object(members))
    }

    /// From the opening quotation mark to the closing one.
    fn string(&mut self) -> Result<String, Error> {
        let mut string = String::new();
        loop {
            self.place += 1;
            let start = self.place;
            while self.peek().is_some_and(|byte| byte != b'"' && byte != b'\\' && byte >= b' ') {
                self.place += 1;
            }
            let plain = std::str::from_utf8(&self.text[start..self.place]);
            string.push_str(plain.map_err(|_| Error::BadText)?);
            match self.peek() {
                Some(b'"') => break,
                Some(b'\\') => string.push(self.escape()?),
                _ => return Err(Error::BadText),
            }
        }
        self.place += 1;
        Ok(string)
    }

    /// From the backslash to the last character of the escape.
    fn escape(&mut self) -> Result<char, Error> {
        self.place += 1;
        Ok(match self.peek() {
            Some(byte @ (b'"' | b'\\' | b'/')) => char::from(byte),
            Some(b'b') => '\u{8}',
            Some(b'f') => '\u{c}',
            Some(b'n') => '\n',
            Some(b'r') => '\r',
            Some(b't') => '\t',
            Some(b'u') => self.code_point()?,
            _ => return Err(Error::BadEscape),
        })
    }

    /// `u` and four hexadecimal digits, twice for a surrogate pair.
    fn code_point(&mut self) -> Result<char, Error> {
        let first = self.hexadecimal()?;
        if !(0xd800..0xdc00).contains(&first) {
            return char::from_u32(first).ok_or(Error::BadEscape);
        }
        self.place += 2;
        if self.text.get(self.place - 1..=self.place) != Some(br"\u") {
            return Err(Error::BadEscape);
        }
        let second = self.hexadecimal()?;
        let low = second.checked_sub(0xdc00).filter(|low| *low < 0x400).ok_or(Error::BadEscape)?;
        char::from_u32(0x10000 + ((first - 0xd800) << 10) + low).ok_or(Error::BadEscape)
    }

    fn hexadecimal(&mut self) -> Result<u32, Error> {
        let mut number = 0;
        for _ in 0..4 {
            self.place += 1;
            let digit = self.peek().and_then(|byte| char::from(byte).to_digit(16)).ok_or(Error::BadEscape)?;
            number = number << 4 | digit;
        }
        Ok(number)
    }

    fn number(&mut self) -> Result<f64, Error> {
        let start = self.place;
        self.place += usize::from(self.peek() == Some(b'-'));
        let whole = self.place;
        if self.digits()? > 1 && self.text[whole] == b'0' {
            return Err(Error::BadNumber);
        }
        if self.peek() == Some(b'.') {
            self.place += 1;
            self.digits()?;
        }
        if matches!(self.peek(), Some(b'e' | b'E')) {
            self.place += 1;
            self.place += usize::from(matches!(self.peek(), Some(b'+' | b'-')));
            self.digits()?;
        }
        let text = std::str::from_utf8(&self.text[start..self.place]).map_err(|_| Error::BadText)?;
        text.parse().map_err(|_| Error::BadNumber)
    }

    /// How many digits there are; at least one.
    fn digits(&mut self) -> Result<usize, Error> {
        let start = self.place;
        while self.peek().is_some_and(|byte| byte.is_ascii_digit()) {
            self.place += 1;
        }
        if self.place == start { Err(Error::BadNumber) } else { Ok(self.place - start) }
    }

    fn word(&mut self, word: &'static str, value: Value) -> Result<Value, Error> {
        if !self.text[self.place..].starts_with(word.as_bytes()) {
            return Err(Error::Expected(word));
        }
        self.place += word.len();
        Ok(value)
    }

    fn peek(&self) -> Option<u8> {
        self.text.get(self.place).copied()
    }

    /// The next byte that is not white space; stays on it.
    fn next_token(&mut self) -> Option<u8> {
        while matches!(self.peek(), Some(b' ' | b'\t' | b'\n' | b'\r')) {
            self.place += 1;
        }
        self.peek()
    }

    fn take(&mut self, byte: u8) -> bool {
        let found = self.next_token() == Some(byte);
        self.place += usize::from(found);
        found
    }

    fn expect(&mut self, byte: u8, what: &'static str) -> Result<(), Error> {
        if self.take(byte) { Ok(()) } else { Err(Error::Expected(what)) }
    }
}

/// Measurements of imaginary sensors, with every kind of value, number and escape.
fn document(random: &mut Random) -> String {
    let names = [
        "Zürich \\u2014 am See",
        "caf\\u00e9 \\\"Olé\\\"",
        "tab\\there",
        "C:\\\\logs\\/new\\n",
        "\\ud83d\\ude00 fine",
    ];
    let mut text = String::from("[");
    for record in 0..RECORDS {
        let separator = if record == 0 { "" } else { "," };
        let name = names[random.below(names.len() as u64) as usize];
        let _ = write!(text, "{separator}\n  {{\"id\": {record}, \"name\": \"{name}\", \"samples\": [");
        for _ in 0..4 {
            let (whole, fraction, power) = (random.below(2000), random.below(1 << 30), random.below(40));
            let _ = write!(text, "{}.{fraction}e{}, ", whole as i64 - 1000, power as i64 - 20);
        }
        let (valid, last) = (random.below(2) == 0, random.below(1 << 20));
        let _ = write!(text, "-0.5, {last}], \"valid\": {valid}, \"note\": null, \"tags\": {{}}}}");
    }
    text.push_str("\n]\n");
    text
}

/// What a parsed document comes to; depends on the order of its parts.
fn checksum(value: &Value, sum: u64) -> u64 {
    let mix = |sum: u64, word: u64| (sum ^ word).wrapping_mul(0x100_0000_01b3).rotate_left(23);
    let text = |sum, text: &str| text.bytes().fold(mix(sum, 1), |sum, byte| mix(sum, u64::from(byte)));
    match value {
        Value::Null => mix(sum, 2),
        Value::Boolean(value) => mix(sum, 3 + u64::from(*value)),
        Value::Number(value) => mix(sum, value.to_bits()),
        Value::String(value) => text(sum, value),
        Value::Array(items) => items.iter().fold(mix(sum, 5), |sum, item| checksum(item, sum)),
        Value::Object(members) => {
            members.iter().fold(mix(sum, 6), |sum, (name, value)| checksum(value, text(sum, name)))
        }
    }
}

fn main() {
    let text = document(&mut Random(6));
    let value = Parser::parse(&text).unwrap_or_else(|(error, place)| panic!("byte {place}: {error}"));
    // Half a document is none.
    assert!(Parser::parse(&text[..text.len() / 2]).is_err(), "a truncated document was taken");
    println!("json {:016x}", checksum(&value, 0));
}
