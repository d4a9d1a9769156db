//! Names with values, in JSON or TOML.

use serde::de::{Deserialize, Deserializer, Error, MapAccess, Visitor};
use std::fmt;
use std::marker::PhantomData;

/// What may stand before a value.
pub(super) trait Key: Sized + PartialEq {
    /// What a file of these keys is, in words.
    const EXPECTED: &'static str;
    /// Reads a key.
    fn parse(text: &str) -> Result<Self, String>;
    /// Whether it can have this value.
    fn accept(&self, value: u64) -> Result<(), String>;
}

/// Keys with values in the order of the file, each key once. Errors come with the place in the file.
pub(super) struct Entries<K>(pub(super) Vec<(K, u64)>);

impl<'de, K: Key> Deserialize<'de> for Entries<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(EntriesVisitor(PhantomData))
    }
}

struct EntriesVisitor<K>(PhantomData<K>);

impl<'de, K: Key> Visitor<'de> for EntriesVisitor<K> {
    type Value = Entries<K>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(K::EXPECTED)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Entries<K>, A::Error> {
        let mut entries: Vec<(K, u64)> = Vec::new();
        while let Some(Named { key, text }) = map.next_key::<Named<K>>()? {
            if entries.iter().any(|(other, _)| *other == key) {
                return Err(A::Error::custom(format!("`{text}` is given twice")));
            }
            let Value(value) = map.next_value()?;
            key.accept(value).map_err(A::Error::custom)?;
            entries.push((key, value));
        }
        Ok(Entries(entries))
    }
}

/// A key as it was written.
struct Named<K> {
    key: K,
    text: String,
}

impl<'de, K: Key> Deserialize<'de> for Named<K> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        let key = K::parse(&text).map_err(D::Error::custom)?;
        Ok(Self { key, text })
    }
}

/// A value: a number, or text.
struct Value(u64);

impl<'de> Deserialize<'de> for Value {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(ValueVisitor)
    }
}

struct ValueVisitor;

impl Visitor<'_> for ValueVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number of 64 bits such as 4096 or \"0x1000\"")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Value, E> {
        Ok(Value(value))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Value, E> {
        u64::try_from(value)
            .map(Value)
            .map_err(|_| E::invalid_value(serde::de::Unexpected::Signed(value), &self))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Value, E> {
        number(text).map(Value).ok_or_else(|| E::invalid_value(serde::de::Unexpected::Str(text), &self))
    }
}

/// A number as text: `4096`, `0x1000` or `1000H`.
pub(super) fn number(text: &str) -> Option<u64> {
    let hexadecimal = text.strip_prefix("0x").or_else(|| text.strip_suffix(['H', 'h']));
    let (digits, base) = hexadecimal.map_or((text, 10), |digits| (digits, 16));
    let only_digits = digits.bytes().all(|digit| digit.is_ascii_alphanumeric());
    u64::from_str_radix(digits, base).ok().filter(|_| only_digits)
}

#[cfg(test)]
mod tests {
    use super::number;

    #[test]
    fn numbers_are_decimal_or_hexadecimal_and_nothing_else() {
        for (text, value) in
            [("0", 0), ("10", 10), ("0x10", 16), ("1fH", 31), ("0xffffffffffffffff", u64::MAX)]
        {
            assert_eq!(number(text), Some(value), "{text}");
        }
        for text in ["", "0x", "H", "+1", "0x+1", "-1", "1f", "0x10000000000000000", "1_000", " 1"] {
            assert_eq!(number(text), None, "{text}");
        }
    }
}
