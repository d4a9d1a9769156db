//! The number of references of a walk against the published maxima.
#![allow(clippy::unwrap_used, reason = "tests")]

use isa::address::{AccessKind, GuestPhysicalAddress, HostPhysicalAddress, LinearAddress};
use mmu::ept::{EptLevels, EptPermissions};
use mmu::mmu::Hit;
use mmu::tables::{EptTables, FrameAllocator, Home, PagePermissions, PageTables};
use mmu::{Context, Dimension, EptContext, Geometry, Mmu, PageSize, PagingMode, Ram, Reference};

const TABLE: &str = include_str!("../data/walk_references.csv");
const GUEST_TABLES: u64 = 0x10_0000;
const EPT_TABLES: u64 = 0x20_0000;
const PAGE: LinearAddress = LinearAddress(0x0000_0040_0000_0000);

#[derive(Debug)]
struct Row<'a> {
    guest_page: &'a str,
    host_page: &'a str,
    guest_levels: u64,
    host_levels: u64,
    maximum: u64,
}

fn rows() -> Vec<Row<'static>> {
    let line = |line: &'static str| {
        let cells: Vec<&str> = line.split(',').collect();
        let [guest_page, host_page, n, m, maximum, _] = cells[..] else { panic!("{line}") };
        let [guest_levels, host_levels, maximum] = [n, m, maximum].map(|cell| cell.parse().unwrap());
        Row { guest_page, host_page, guest_levels, host_levels, maximum }
    };
    TABLE.lines().skip(1).map(line).collect()
}

fn size(cell: &str) -> PageSize {
    match cell.split('(').next().unwrap() {
        "4K" => PageSize::Size4K,
        "2M" => PageSize::Size2M,
        "1G" => PageSize::Size1G,
        other => panic!("{other}"),
    }
}

fn five(cell: &str) -> bool {
    cell.ends_with("(LA57)")
}

/// Host pages of one size under everything; `None` natively.
fn ept(ram: &Ram, cell: &str) -> Option<EptContext> {
    if cell == "none (native)" {
        return None;
    }
    let levels = if five(cell) { EptLevels::Five } else { EptLevels::Four };
    let mut tables =
        EptTables::new(ram, levels, FrameAllocator::new(HostPhysicalAddress(EPT_TABLES), 64)).unwrap();
    let bytes = size(cell).bytes().max(0x80_0000);
    tables
        .map(ram, GuestPhysicalAddress(0), HostPhysicalAddress(0), bytes, size(cell), EptPermissions::all())
        .unwrap();
    Some(tables.context())
}

/// A machine with one guest page of the row's size over host pages of the row's size.
fn machine(row: &Row<'_>) -> (Ram, Context) {
    let ram = Ram::new(0x80_0000).unwrap();
    let ept = ept(&ram, row.host_page);
    let mode = if five(row.guest_page) { PagingMode::FiveLevel } else { PagingMode::FourLevel };
    let frames = FrameAllocator::new(GuestPhysicalAddress(GUEST_TABLES), 16);
    let mut tables = PageTables::new(&ram, mode, frames, ept.map_or(Home::Identity, Home::Ept)).unwrap();
    let page = size(row.guest_page);
    let all = PagePermissions::WRITE | PagePermissions::USER;
    tables.map(&ram, PAGE, GuestPhysicalAddress(0), page.bytes(), page, all).unwrap();
    (ram, Context { cr3: tables.root(), ept, ..Context::user(mode) })
}

#[test]
fn each_row_of_the_table_is_the_exact_number_of_references() {
    let rows = rows();
    assert_eq!(rows.len(), 17);
    for row in rows {
        let (ram, context) = machine(&row);
        let mut references = Vec::<Reference>::new();
        mmu::paging::walk(&ram, &context, PAGE, AccessKind::Write, &mut references).unwrap();
        assert_eq!(references.len() as u64, row.maximum, "{row:?}");
        let (n, m) = (row.guest_levels, row.host_levels);
        assert_eq!(row.maximum, n * m + n + m, "{row:?}");
    }
}

#[test]
fn an_observed_miss_reports_the_references_in_the_order_of_the_walk() {
    for row in rows() {
        let (ram, context) = machine(&row);
        let mut mmu = Mmu::<true>::new(ram, &Geometry::functional()).unwrap();
        mmu.set_context(context);
        mmu.read::<u64>(PAGE).unwrap();
        let report = mmu.reports().next().unwrap();
        assert_eq!(report.hit, Hit::Walk);
        assert_eq!(report.references.len() as u64, row.maximum, "{row:?}");
        // For each guest level the EPT levels, then the guest entry; the EPT levels of the page at the end.
        let (n, m) = (row.guest_levels, row.host_levels);
        let root = context.mode.levels();
        let ept_root = context.ept.map_or(0, |ept| ept.levels.count());
        let mut expected = vec![];
        for guest in 0..=n {
            expected.extend((0..m).map(|host| (Dimension::Ept, ept_root - host as u8)));
            if guest < n {
                expected.push((Dimension::Guest, root - guest as u8));
            }
        }
        let order: Vec<_> = report.references.iter().map(|r| (r.dimension, r.level)).collect();
        assert_eq!(order, expected, "{row:?}");
        let counters = mmu.counters();
        assert_eq!((counters.walks, counters.guest_references, counters.ept_references), (1, n, n * m + m));
        mmu.clear_reports();
        mmu.read::<u64>(PAGE).unwrap();
        assert_eq!(
            mmu.reports().map(|report| (report.hit, report.references.len())).collect::<Vec<_>>(),
            [(Hit::L1, 0)]
        );
    }
}
