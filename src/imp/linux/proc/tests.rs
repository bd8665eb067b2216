use std::os::fd::AsRawFd;

use super::*;
use crate::near;
use proptest::prelude::*;

#[test]
fn a_line_of_proc_net_tcp_is_understood() {
    let v4 =
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:0000000B 00:00000000 00000000  1000        0 26453 1";
    let socket = parse_line(v4, Type::STREAM).unwrap();
    assert_eq!(socket.local, "127.0.0.1:8080".parse().unwrap());
    assert_eq!((socket.state, socket.queued), (SocketState::Listening, 11));
    assert_eq!((socket.uid, socket.inode), (1000, 26_453));
    let v6 = "  1: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 06 \
              00000000:00000000 03:00000BB8 00000000     0        0 0 3";
    let socket = parse_line(v6, Type::STREAM).unwrap();
    assert_eq!(socket.local, "[::1]:8081".parse().unwrap());
    assert_eq!((socket.state, socket.inode), (SocketState::TimeWait, 0));
    assert_eq!(socket.expires, Duration::from_secs(30));
}

#[test]
fn lines_that_are_none_are_passed_over() {
    for line in
        ["", "  sl  local_address rem_address   st", "0: 0100007F 0 0A", "0: xx:yy 0:0 0A 0:0 0:0 0 0 0 0"]
    {
        assert!(parse_line(line, Type::STREAM).is_none(), "{line:?}");
    }
}

#[test]
fn a_programs_name_may_hold_anything() {
    let rest = "S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 100";
    let origin = parse_stat(&format!("42 (a) b (c)) {rest}")).unwrap();
    assert_eq!(origin, Origin { pid: 42, parent: 7, started: TICK * 4711 });
    for broken in ["", "42", "42 (a) S", "x (a) S 7"] {
        assert_eq!(parse_stat(broken), None, "{broken:?}");
    }
}

#[test]
fn this_process_has_a_lineage_and_one_that_is_gone_has_none() {
    let own: Vec<_> = ancestry(std::process::id()).collect();
    assert!(own.len() >= 2);
    assert_eq!((own[0].pid, own[0].parent), (std::process::id(), own[1].pid));
    assert!(own[0].started >= own[1].started);
    assert_eq!(ancestry(u32::MAX).count(), 0);
}

/// As the kernel prints an address.
fn hex(ip: IpAddr) -> String {
    let words = |bytes: &[u8]| -> String {
        let words = bytes.chunks_exact(4).map(|word| u32::from_ne_bytes(word.try_into().unwrap()));
        words.map(|word| format!("{word:08X}")).collect::<Vec<_>>().concat()
    };
    match ip {
        IpAddr::V4(ip) => words(&ip.octets()),
        IpAddr::V6(ip) => words(&ip.octets()),
    }
}

const LINES: [&str; 2] = [
    "   0: 0100007F:1F90 00000000:0000 0A 00000000:0000000B 00:00000000 00000000  1000        0 26453 1",
    "  1: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 06 00000000:00000000 \
     03:00000BB8 00000000     0        0 0 3",
];
const STAT: &str = "42 (a) b (c)) S 7 1 1 0 -1 4194560 1 2 3 4 5 6 7 8 20 0 1 0 4711 100";

proptest! {
    #[test]
    fn lines_of_proc_are_read_as_the_kernel_writes_them(
        ip: IpAddr, port: u16, uid: u32, inode: u64, queued: u32, ticks: u32, kind in 0..3_usize,
    ) {
        let (state, expected) =
            [("0A", SocketState::Listening), ("07", SocketState::Bound), ("06", SocketState::TimeWait)][kind];
        let line = format!(
            "  12: {}:{port:04X} 0:0 {state} 00000000:{queued:08X} 00:{ticks:08X} 0 {uid} 0 {inode} 1", hex(ip)
        );
        let read = parse_line(&line, Type::STREAM).expect("a line");
        prop_assert_eq!(read.local, SocketAddr::new(ip.to_canonical(), port));
        let figures = (read.state, read.uid, read.inode, read.queued, read.expires);
        prop_assert_eq!(figures, (expected, uid, inode, queued, TICK * ticks));
    }

    #[test]
    fn a_process_may_have_any_name(pid: u32, parent: u32, name: String, ticks: u32) {
        let stat = format!("{pid} ({name}) R {parent} 1 1 0 -1 0 1 2 3 4 5 6 7 8 20 0 1 0 {ticks} 100 2");
        prop_assert_eq!(parse_stat(&stat), Some(Origin { pid, parent, started: TICK * ticks }));
    }

    #[test]
    fn no_line_is_too_odd(line in near::text(&LINES), stat in near::text(&[STAT]), ip in near::text(&["0100007F"])) {
        let _ = (parse_line(&line, Type::STREAM), parse_ip(&ip));
        if let Some(origin) = parse_stat(&stat) {
            prop_assert!(stat.starts_with(&origin.pid.to_string()) || stat.starts_with(['+', '0']));
        }
    }
}

#[test]
fn sockets_of_this_process_are_those_that_its_links_tell() {
    let tcp = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let (unix, _other) = std::os::unix::net::UnixStream::pair().unwrap();
    let file = fs::File::open("/proc/self/stat").unwrap();
    for socket in [tcp.as_raw_fd(), unix.as_raw_fd()] {
        let own = inode_of_own(socket);
        assert!(own.is_some() && own == inode_by_link(std::process::id(), socket), "{own:?}");
    }
    assert_eq!(inode_of_own(file.as_raw_fd()), None);
    assert_eq!(inode_of_own(RawFd::MAX), None);
}
