//! The mappings of the traced process, from `/proc/PID/maps`.

use crate::format::Permissions;

/// A range of addresses with the same permissions.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub(crate) struct Mapping {
    start: u64,
    end: u64,
    pub(crate) permissions: Permissions,
    /// Other processes may write what this one reads.
    pub(crate) shared: bool,
}

/// All mappings, by address.
#[derive(Default)]
pub(crate) struct Maps(Vec<Mapping>);

impl Maps {
    /// Lines that are not understood are left out.
    pub(crate) fn parse(text: &str) -> Self {
        Self(text.lines().filter_map(mapping).collect())
    }

    pub(crate) fn find(&self, address: u64) -> Option<Mapping> {
        let after = self.0.partition_point(|mapping| mapping.start <= address);
        self.0[..after].last().copied().filter(|mapping| address < mapping.end)
    }
}

fn mapping(line: &str) -> Option<Mapping> {
    let mut fields = line.split_ascii_whitespace();
    let (start, end) = fields.next()?.split_once('-')?;
    let modes = fields.next()?.as_bytes();
    let mut permissions = Permissions::empty();
    permissions.set(Permissions::READ, modes.first() == Some(&b'r'));
    permissions.set(Permissions::WRITE, modes.get(1) == Some(&b'w'));
    permissions.set(Permissions::EXECUTE, modes.get(2) == Some(&b'x'));
    let shared = modes.get(3) == Some(&b's');
    let number = |text| u64::from_str_radix(text, 16).ok();
    Some(Mapping { start: number(start)?, end: number(end)?, permissions, shared })
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    #[test]
    fn an_address_has_the_permissions_of_its_mapping() {
        let maps = Maps::parse(
            "00400000-00401000 r-xp 00000000 fe:00 12 /bin/x\n\
             00401000-00403000 rw-s 00000000 00:00 0\n\
             ffffffffff600000-ffffffffff601000 --xp 00000000 00:00 0 [vsyscall]\n\
             nonsense\n",
        );
        assert_eq!(maps.find(0x3f_ffff), None);
        let code = maps.find(0x40_0fff).unwrap();
        assert_eq!((code.permissions, code.shared), (Permissions::READ | Permissions::EXECUTE, false));
        let shared = maps.find(0x40_1000).unwrap();
        assert_eq!((shared.permissions, shared.shared), (Permissions::READ | Permissions::WRITE, true));
        assert_eq!(maps.find(0x40_3000), None);
        assert_eq!(maps.find(0xffff_ffff_ff60_0800).unwrap().permissions, Permissions::EXECUTE);
    }
}
