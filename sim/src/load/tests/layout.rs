use super::super::layout::{Direction, Layout, Ram, Window};
use super::*;

#[test]
fn memory_beyond_the_hole_continues_behind_it() {
    let map = MemoryMap::new(HOLE_START + MEBIBYTE).unwrap();
    assert_eq!((map.low_end(), map.end()), (HOLE_START, HOLE_END + MEBIBYTE));
    for (start, bytes, ram) in [
        (0, 0xa_0000, true),
        (0x9_ffff, 2, false),
        (0xd_ffff, 2, false),
        (0xe_0000, HOLE_START - 0xe_0000, true),
        (HOLE_START - 1, 2, false),
        (HOLE_END - 1, 2, false),
        (HOLE_END, MEBIBYTE, true),
        (HOLE_END, MEBIBYTE + 1, false),
        (u64::MAX, 2, false),
    ] {
        assert_eq!(map.is_ram(start, bytes), ram, "{start:#x} {bytes:#x}");
    }
}

#[test]
fn a_region_takes_the_place_of_what_was_there() {
    let region =
        Region { start: HostPhysicalAddress(0x20_0000), bytes: 0x1000, kind: RegionKind::AcpiReclaimable };
    let map = MemoryMap::new(4 * MEBIBYTE).unwrap().with(region).unwrap();
    let above: Vec<_> = map.regions()[3..].iter().map(|r| (r.start.0, r.end(), r.kind)).collect();
    assert_eq!(
        above,
        [
            (0x10_0000, 0x20_0000, RegionKind::Usable),
            (0x20_0000, 0x20_1000, RegionKind::AcpiReclaimable),
            (0x20_1000, 0x40_0000, RegionKind::Usable),
        ]
    );
    let mut layout = Layout::new(&map);
    assert!(layout.reserve(Place::Kernel, 0x1f_ffff, 2, Ram::Usable).is_err(), "not usable throughout");
    assert!(layout.reserve(Place::Kernel, 0x1f_ffff, 2, Ram::Any).is_ok());
}

#[test]
fn sizes_that_cannot_be_are_refused() {
    for bytes in [0, 4096, 2 * MEBIBYTE - 4096, 2 * MEBIBYTE + 1, (1 << 45) + 4096, u64::MAX] {
        assert!(MemoryMap::new(bytes).is_err(), "{bytes:#x}");
    }
    let empty = Region { start: HostPhysicalAddress(0), bytes: 0, kind: RegionKind::Reserved };
    let endless = Region { start: HostPhysicalAddress(1), bytes: u64::MAX, kind: RegionKind::Reserved };
    for region in [empty, endless] {
        assert!(MemoryMap::new(2 * MEBIBYTE).unwrap().with(region).is_err(), "{region:?}");
    }
}

#[test]
fn room_is_taken_from_both_ends_around_what_lies_there() {
    let map = MemoryMap::new(2 * MEBIBYTE).unwrap();
    let mut layout = Layout::new(&map);
    layout.reserve(Place::Kernel, 0x10_0000, 0x1001, Ram::Usable).unwrap();
    layout.reserve(Place::Initrd, 0x1f_f000, 1, Ram::Usable).unwrap();
    let window = |direction| Window { from: 0x10_0000, below: 1 << 32, align: 0x1000, direction };
    let up = layout.room(Place::Payload, 5, window(Direction::Up)).unwrap();
    let down = layout.room(Place::Payload, 5, window(Direction::Down)).unwrap();
    assert_eq!((up, down), (0x10_2000, 0x1f_e000));
    let error = layout.room(Place::Payload, MEBIBYTE, window(Direction::Up)).unwrap_err();
    assert!(matches!(error.problem, Problem::NoRoom { .. }));
}
