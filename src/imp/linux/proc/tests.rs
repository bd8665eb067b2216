use super::*;

#[test]
fn a_line_of_proc_net_tcp_is_understood() {
    let v4 =
        "   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000  1000        0 26453 1";
    let socket = parse_line(v4).unwrap();
    assert_eq!(socket.local, "127.0.0.1:8080".parse().unwrap());
    assert_eq!((socket.state, socket.uid, socket.inode), (SocketState::Listening, 1000, 26_453));
    let v6 = "  1: 00000000000000000000000001000000:1F91 00000000000000000000000000000000:0000 06 \
              00000000:00000000 03:00000BB8 00000000     0        0 0 3";
    let socket = parse_line(v6).unwrap();
    assert_eq!(socket.local, "[::1]:8081".parse().unwrap());
    assert_eq!((socket.state, socket.inode), (SocketState::TimeWait, 0));
    assert_eq!(socket.expires, Duration::from_secs(30));
}

#[test]
fn lines_that_are_none_are_passed_over() {
    for line in
        ["", "  sl  local_address rem_address   st", "0: 0100007F 0 0A", "0: xx:yy 0:0 0A 0:0 0:0 0 0 0 0"]
    {
        assert!(parse_line(line).is_none(), "{line:?}");
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

/// A process from its id, its parent's, and when it started.
fn process(pid: u32, parent: u32, started: u64) -> Origin {
    Origin { pid, parent, started: Duration::from_secs(started) }
}

#[test]
fn descent_decides_whose_a_process_is() {
    // init (1) ← shell (10) ← nextest (20) ← this test (30).
    let ours = [process(30, 20, 100), process(20, 10, 50), process(10, 1, 10), process(1, 0, 0)];
    let judge = |theirs: &[Origin]| judge(theirs, &ours);
    let child = process(40, 30, 110);
    assert_eq!(judge(&[&[child], &ours[..]].concat()), Identity::Ours);
    let grandchild = process(41, 40, 111);
    assert_eq!(judge(&[&[grandchild, child], &ours[..]].concat()), Identity::Ours);
    assert_eq!(judge(&ours), Identity::Ours, "this process itself");
    let other_test = process(31, 20, 105);
    assert_eq!(judge(&[&[other_test], &ours[1..]].concat()), Identity::Stranger);
    let its_child = process(50, 31, 120);
    assert_eq!(judge(&[&[its_child, other_test], &ours[1..]].concat()), Identity::Stranger);
    let older_service = process(5, 1, 5);
    assert_eq!(judge(&[&[older_service], &ours[3..]].concat()), Identity::Stranger);
    let daemon = process(60, 1, 130);
    assert_eq!(judge(&[&[daemon], &ours[3..]].concat()), Identity::Unknown, "perhaps a child of ours once");
    assert_eq!(judge(&ours[1..]), Identity::Stranger, "our own parent");
    assert_eq!(judge(&[]), Identity::Unknown, "gone already");
}

#[test]
fn a_child_of_process_1_may_be_ours_if_it_is_younger() {
    let ours = [process(30, 1, 100), process(1, 0, 0)];
    assert_eq!(judge(&[process(31, 1, 105), process(1, 0, 0)], &ours), Identity::Unknown);
    assert_eq!(judge(&[process(29, 1, 95), process(1, 0, 0)], &ours), Identity::Stranger);
}

#[test]
fn this_process_is_ours() {
    assert_eq!(identify(std::process::id()), Identity::Ours);
    let own = origin(std::process::id()).unwrap();
    assert_eq!(own.pid, std::process::id());
    assert!(lineage(own.pid).len() >= 2);
}
