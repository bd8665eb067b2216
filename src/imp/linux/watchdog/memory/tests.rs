//! What becomes of a real watchdog is tested by `tests/processes/watchdogs.rs`, in a process that forks nothing else.

use super::*;

fn read_line(line: &str) -> Mapping {
    let mut mapping = Mapping::default();
    line.bytes().for_each(|byte| mapping.read(byte));
    mapping
}

#[test]
fn the_tests_own_are_what_it_may_write_and_no_file_has() {
    for own in [
        "7f0a40000000-7f0a44000000 rw-p 00000000 00:00 0 ",
        "55e0c0ffe000-55e0c1000000 rw-p 00000000 00:00 0                          [heap]",
        "7f0a40000000-7f0a44000000 rwxp 00000000 00:00 0                          [anon: glibc: malloc]",
    ] {
        assert!(read_line(own).is_the_tests(), "{own}");
    }
    for other in [
        "7f0a40000000-7f0a44000000 ---p 00000000 00:00 0 ",
        "7f0a40000000-7f0a44000000 r--p 00000000 00:00 0 ",
        "7f0a40000000-7f0a44000000 rw-s 00000000 00:00 0 ",
        "7f0a40000000-7f0a44000000 rw-s 00000000 00:01 1031                       /dev/zero (deleted)",
        "7f0a40000000-7f0a44000000 rw-p 00012000 fe:00 10                         /usr/lib/x y.so",
        "7ffd40000000-7ffd44000000 rw-p 00000000 00:00 0                          [stack]",
        "7ffd40000000-7ffd40004000 r--p 00000000 00:00 0                          [vvar]",
        "7ffd40004000-7ffd40006000 r-xp 00000000 00:00 0                          [vdso]",
        "",
    ] {
        assert!(!read_line(other).is_the_tests(), "{other}");
    }
    let heap = read_line("55e0c0ffe000-55e0c1000000 rw-p 00000000 00:00 0                          [heap]");
    assert_eq!(heap.start..heap.end, 0x55e0_c0ff_e000..0x55e0_c100_0000);
}

#[test]
fn what_is_in_use_is_cut_out_wherever_it_is() {
    let kept = [10..14, 11..15, 30..34];
    let found = |mapping| {
        let parts = without(mapping, &kept).into_iter().filter(|part| !part.is_empty());
        parts.map(|part| (part.start, part.end)).collect::<Vec<_>>()
    };
    assert_eq!(found(0..100), [(0, 10), (15, 30), (34, 100)]);
    assert_eq!(found(0..10), [(0, 10)]);
    assert_eq!(found(11..14), []);
    assert_eq!(found(14..31), [(15, 30)]);
    assert_eq!(found(16..20), [(16, 20)]);
    assert_eq!(found(32..50), [(34, 50)]);
    assert_eq!(found(50..60), [(50, 60)]);
    assert_eq!(around(5 * KEPT + 1), 4 * KEPT..7 * KEPT);
    assert_eq!((around(0), around(usize::MAX).end), (0..2 * KEPT, usize::MAX));
}
