//! Names for the addresses of a guest, from the symbols of an ELF file.

use object::{Object, ObjectSymbol, SymbolKind};

/// How far from its symbol an address may be when the symbol has no size.
const FARTHEST: u64 = 1 << 20;

/// A file that gives no symbols.
#[derive(Debug, thiserror::Error)]
pub enum SymbolsError {
    /// It is no ELF file, or a broken one.
    #[error("cannot read symbols: {0}")]
    File(#[from] object::Error),
    /// There are none in it.
    #[error("there are no symbols of code in it")]
    None,
}

/// The symbols of code, by address.
#[derive(Clone, Default, Debug)]
pub struct Symbols {
    /// Address, size and name.
    sorted: Vec<(u64, u64, String)>,
}

impl Symbols {
    /// The symbols of an ELF file of either class.
    ///
    /// # Errors
    ///
    /// [`SymbolsError`]: the file cannot be read, or has no symbol of code.
    pub fn read(elf: &[u8]) -> Result<Self, SymbolsError> {
        let file = object::File::parse(elf)?;
        let is_code = |kind| matches!(kind, SymbolKind::Text | SymbolKind::Label | SymbolKind::Unknown);
        let named = file.symbols().filter(|symbol| symbol.is_definition() && is_code(symbol.kind()));
        let row = |symbol: object::Symbol<'_, '_>| {
            let name = symbol.name().ok().filter(|name| !name.is_empty())?;
            Some((symbol.address(), symbol.size(), name.to_owned()))
        };
        let mut sorted: Vec<_> = named.filter_map(row).collect();
        sorted.sort();
        if sorted.is_empty() { Err(SymbolsError::None) } else { Ok(Self { sorted }) }
    }

    /// The name of an address: that of the last symbol at or before it, and the distance. None when the symbol ends before
    /// it.
    #[must_use]
    pub fn name(&self, address: u64) -> Option<String> {
        let behind = self.sorted.partition_point(|(start, ..)| *start <= address);
        let (start, size, name) = self.sorted.get(behind.checked_sub(1)?)?;
        let distance = address - start;
        let reach = if *size == 0 { FARTHEST } else { *size };
        match distance {
            0 => Some(name.clone()),
            _ if distance < reach => Some(format!("{name}+{distance:#x}")),
            _ => None,
        }
    }

    /// The same in angle brackets behind a space, or nothing.
    pub(super) fn suffix(&self, address: u64) -> String {
        self.name(address).map_or(String::new(), |name| format!(" <{name}>"))
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_address_has_the_name_of_the_symbol_that_it_is_in() {
        let row = |address, size, name: &str| (address, size, name.to_owned());
        let sorted = vec![row(0x1000, 0x10, "first"), row(0x1010, 0, "label"), row(0x9000, 4, "last")];
        let symbols = Symbols { sorted };
        assert_eq!(symbols.name(0xfff), None);
        assert_eq!(symbols.name(0x1000).unwrap(), "first");
        assert_eq!(symbols.name(0x100f).unwrap(), "first+0xf");
        assert_eq!(symbols.name(0x1fff).unwrap(), "label+0xfef");
        assert_eq!((symbols.name(0x9003).unwrap(), symbols.name(0x9004)), ("last+0x3".to_owned(), None));
        assert_eq!(symbols.suffix(0x9000), " <last>");
    }

    #[test]
    fn this_program_has_symbols_and_text_has_none() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        let symbols = Symbols::read(&own).unwrap();
        assert!(symbols.sorted.iter().any(|(.., name)| name == "main"));
        assert!(matches!(Symbols::read(b"no program"), Err(SymbolsError::File(_))));
    }
}
